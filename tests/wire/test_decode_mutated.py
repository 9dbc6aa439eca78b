"""Valid records, a little broken: whatever comes of them is an event or a decode error, never an exception."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.demo.generate import events
from processor.domain.event import Event
from processor.domain.reasons import Reason
from processor.domain.record import Headers, SourceRecord
from processor.wire.decode import DecodeFailure, event_from_json
from processor.wire.encode import encode_event
from processor.wire.wire_format import WireFormat
from tests.support.laws import examples
from tests.support.wire import JSON_HEADERS, SCHEMAS, decode_with, golden_avro, golden_event, golden_json, raw_record

EXAMPLES: Final = max(examples(500), 500)  # fewer would miss the share below by chance
LEAST_PAST_DECODING: Final = 0.20

# How far a record got, in order: each check that it passed.
CHECKS: Final = ("frame", "schema", "form", "fields", "holder")


def passed_checks(result: Event | DecodeFailure) -> int:
    """How many of CHECKS the record passed. `form`: JSON that parses, bytes of which none is missing or left over."""
    if isinstance(result, Event):
        return 5
    match result.reason:
        case Reason.BAD_FRAME | Reason.EVENT_TOO_LARGE:
            return 0
        case Reason.UNKNOWN_SCHEMA:
            return 1
        case Reason.INCOMPATIBLE_SCHEMA:
            return 2
        case _ if result.detail.startswith("client, group:"):
            return 4
        case _ if any(word in result.detail for word in ("not JSON", "not UTF-8", "cut short", "left", "twice")):
            return 2
        case _:
            return 3


def valid_avro() -> list[bytes]:
    """The examples and some generated events, framed; and one without a holder, which only the last check finds."""
    values = [golden_avro(name) for name in ("LOAN_REPAYMENT", "SAVINGS_DEPOSIT")]
    for fields in events(12, seed=7):
        event = event_from_json(fields, SCHEMAS)
        assert isinstance(event, Event), event
        values.append(encode_event(event.fields, SCHEMAS, format=WireFormat.AVRO)[0])
    values.append(encode_event({**golden_event().fields, "client": None}, SCHEMAS, format=WireFormat.AVRO)[0])
    return values


def valid_json() -> list[bytes]:
    """The same events in JSON."""
    examples = [golden_json(f"event.{name}") for name in ("LOAN_REPAYMENT", "SAVINGS_DEPOSIT")]
    without_holder = {name: value for name, value in examples[0].items() if name != "client"}
    values = (*examples, *events(12, seed=7), without_holder)
    return [json.dumps(fields, ensure_ascii=False).encode() for fields in values]


Mutate = Callable[[st.DataObject, bytes, list[bytes]], bytes]


def flip(data: st.DataObject, value: bytes, _: list[bytes]) -> bytes:
    """One bit is another."""
    at, bit = data.draw(st.integers(0, len(value) - 1)), data.draw(st.integers(0, 7))
    return value[:at] + bytes([value[at] ^ 1 << bit]) + value[at + 1 :]


def cut(data: st.DataObject, value: bytes, _: list[bytes]) -> bytes:
    """The end is missing."""
    return value[: data.draw(st.integers(0, len(value)))]


def insert(data: st.DataObject, value: bytes, _: list[bytes]) -> bytes:
    """Something too much, also behind the end."""
    at = data.draw(st.integers(0, len(value)))
    return value[:at] + data.draw(st.binary(min_size=1, max_size=12)) + value[at:]


def splice(data: st.DataObject, value: bytes, others: list[bytes]) -> bytes:
    """The beginning of one record and the end of another."""
    other = data.draw(st.sampled_from(others))
    return value[: data.draw(st.integers(0, len(value)))] + other[data.draw(st.integers(0, len(other))) :]


def overwrite(data: st.DataObject, value: bytes, _: list[bytes]) -> bytes:
    """Some bytes are others of the kind that lengths, counts and indexes are made of."""
    at = data.draw(st.integers(0, len(value) - 1))
    by = data.draw(
        st.sampled_from([b"\x00", b"\x01", b"\x02", b"\x7f", b"\xff\x01", b"\xff" * 9 + b"\x01", b'"', b"}"])
    )
    return value[:at] + by + value[at + len(by) :]


def letter(data: st.DataObject, value: bytes, _: list[bytes]) -> bytes:
    """A lower-case letter or a digit is another: what a text, a key, a number or a name would look like."""
    places = [at for at, byte in enumerate(value) if 97 <= byte <= 122 or 48 <= byte <= 57]
    if not places:
        return value
    at = data.draw(st.sampled_from(places))
    return value[:at] + data.draw(st.sampled_from("abcdef0123456789z")).encode() + value[at + 1 :]


def widen(data: st.DataObject, value: bytes, _: list[bytes]) -> bytes:
    """One more blank at a blank: another value in a text, the same value between JSON's tokens."""
    places = [at for at, byte in enumerate(value) if byte == 32] or [0]
    at = data.draw(st.sampled_from(places))
    return value[:at] + b" " + value[at:]


def nothing(_data: st.DataObject, value: bytes, _: list[bytes]) -> bytes:
    """As it was."""
    return value


MUTATIONS: Final[tuple[Mutate, ...]] = (letter, flip, cut, letter, insert, splice, overwrite, widen, letter, nothing)
GUID: Final[Headers] = (("__value_schema_id", b"\x01" + b"g" * 16),)


def record(data: st.DataObject, form: str, valid: list[bytes]) -> SourceRecord:
    """A valid record after up to two mutations; with JSON's header, a frame, or now and then another's."""
    value = data.draw(st.sampled_from(valid))
    for _ in range(data.draw(st.sampled_from([1, 1, 1, 2]))):
        if value:
            value = data.draw(st.sampled_from(MUTATIONS))(data, value, valid)
    usual: Headers = JSON_HEADERS if form == "json" else ()
    unusual: list[Headers] = [JSON_HEADERS, (), GUID, (("__value_schema_id", b"\x01"),)]
    headers = data.draw(st.sampled_from(unusual)) if data.draw(st.integers(0, 19)) == 0 else usual
    return raw_record(value, headers)


@pytest.mark.parametrize(("form", "valid"), [("avro", valid_avro()), ("json", valid_json())], ids=["avro", "json"])
def test_any_bytes_are_an_event_or_a_decode_error(
    form: str, valid: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """Never an exception, the same result twice, and a fifth of the examples get past decoding."""
    counts: Counter[int] = Counter()
    reasons: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def check_example(data: st.DataObject) -> None:
        broken = record(data, form, valid)
        first = decode_with(broken)
        counts[passed_checks(first)] += 1
        reasons[first.reason if isinstance(first, DecodeFailure) else "event"] += 1
        assert isinstance(first, Event | DecodeFailure)
        assert first == decode_with(broken)
        if isinstance(first, DecodeFailure):
            assert 0 < len(first.detail) <= 1_000
            first.detail.encode()

    check_example()
    total = counts.total()
    shares = [sum(counts[far] for far in range(step, 6)) / total for step in range(1, 6)]
    with capsys.disabled():
        named_shares = ", ".join(f"{name} {share:.0%}" for name, share in zip(CHECKS, shares, strict=True))
        print(f"\n{form}: of {total} examples passed {named_shares}; {dict(reasons.most_common())}")  # noqa: T201

    assert shares[3] >= LEAST_PAST_DECODING, shares
