"""Single values in each format, against the formulas and codecs that are not made for speed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.record import LAST_TIME_MS
from processor.wire.json_codec import format_millis
from processor.wire.schema import DecimalBytes, Scalar, Union
from processor.wire.value_encoders import ENCODERS, encode_value
from processor.wire.wire_format import WireFormat
from tests.support.output_values import TEXTS, TIMES
from tests.support.wire import varint

AVRO = ENCODERS[WireFormat.AVRO]
JSON = ENCODERS[WireFormat.JSON]

INT64 = st.integers(-(2**63), 2**63 - 1)
# Around each number of bytes that a number may take.
BORDERS = [sign * 2**bits + more for bits in (*range(6, 63, 7), 62, 63) for sign in (-1, 1) for more in (-1, 0, 1)]


@given(number=INT64 | st.integers(-20_000, 20_000) | TIMES)
def test_numbers_are_zigzag_in_avro_and_digits_in_json(number: int) -> None:
    """Any of 64 bits."""
    assert varint(number) == AVRO.long(number)
    assert varint(number) == AVRO.time(number)
    assert str(number).encode() == JSON.long(number)


@pytest.mark.parametrize("number", [number for number in BORDERS if -(2**63) <= number < 2**63])
def test_numbers_have_as_few_bytes_as_they_need(number: int) -> None:
    """Around each power of two at which a byte more is needed."""
    assert varint(number) == AVRO.long(number)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**70])
def test_no_number_has_more_than_64_bits(number: int) -> None:
    """As the library that writes Avro has it."""
    with pytest.raises(OverflowError):
        AVRO.long(number)


@given(text=TEXTS)
def test_texts_have_a_length_in_avro_and_quotes_in_json(text: str) -> None:
    """The length is in bytes, and nothing but what has to be is escaped."""
    utf8 = text.encode()

    assert varint(len(utf8)) + utf8 == AVRO.text(utf8)
    assert json.dumps(text, ensure_ascii=False).encode() == JSON.text(utf8)


@given(millis=TIMES)
def test_times_in_json_have_three_digits(millis: int) -> None:
    """As the codec of whole values writes them."""
    assert f'"{format_millis(millis)}"'.encode() == JSON.time(millis)


@pytest.mark.parametrize("millis", [LAST_TIME_MS + 1, -62_135_596_800_001, 2**62])
def test_json_has_no_time_outside_of_the_years_1_to_9999(millis: int) -> None:
    """Readers could not represent it; neither does the codec of whole values."""
    with pytest.raises(OverflowError):
        JSON.time(millis)


@given(items=st.lists(st.binary(max_size=3), max_size=100))
def test_lists_are_one_block(items: list[bytes]) -> None:
    """Items as they are encoded; an empty list is its end alone."""
    block = varint(len(items)) + b"".join(items) if items else b""

    assert block + b"\x00" == AVRO.array(items)
    assert b"[" + b",".join(items) + b"]" == JSON.array(items)


def test_truth_in_both_formats() -> None:
    """A byte, and a word."""
    assert [b"\x00", b"\x01"] == [AVRO.boolean(False), AVRO.boolean(True)]
    assert [b"false", b"true"] == [JSON.boolean(False), JSON.boolean(True)]


@pytest.mark.parametrize(
    "type_", [Scalar("double"), DecimalBytes(38, 10), Union((Scalar("null"), Scalar("string"), Scalar("boolean")))]
)
def test_types_that_no_output_has_are_refused(type_: Scalar | DecimalBytes | Union) -> None:
    """ValueError: a schema of an output that has one has to be planned first."""
    with pytest.raises(ValueError, match="no output has"):
        encode_value(type_, None, WireFormat.AVRO)
