"""Fields of outputs by scan programs: those of `read_avro`, and only of what many have the schema of."""

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.message import State
from processor.domain.output_topics import STATUS
from processor.wire.avro_reader import read_avro
from processor.wire.encode import OutputEncoder
from processor.wire.errors import ContentError
from processor.wire.framing import FRAME_BYTES
from processor.wire.plain_scan import plain_scan
from processor.wire.scan_program import NotPlannedError
from processor.wire.scanned_fields import MAX_SCHEMAS, VALUES_BEFORE_SCAN, FieldsScanner, MakeScan, fields_reader
from processor.wire.schema import Type
from processor.wire.wire_format import WireFormat
from tests.support.builders import make_message_status
from tests.support.executors import SCANS
from tests.support.wire import SCHEMAS

SCHEMA: Final = SCHEMAS.outputs[STATUS].type
READERS: Final = {name: fields_reader(SCHEMA, SCHEMA, make_scan) for name, make_scan in SCANS.items()}


def encoded(**changed: Any) -> bytes:
    """A status in Avro, with its frame."""
    encode = OutputEncoder(SCHEMAS, output_format=WireFormat.AVRO, stream_format=WireFormat.AVRO)
    value, _ = encode(make_message_status(**changed))
    return value


def expected(value: bytes) -> dict[str, Any] | None:
    """What `read_avro` gives; None: it raises."""
    try:
        fields: dict[str, Any] = read_avro(value, FRAME_BYTES, SCHEMA, SCHEMA)
    except ContentError:
        return None
    return fields


@pytest.mark.parametrize("name", SCANS)
@given(
    st.builds(
        encoded,
        eventId=st.text(max_size=300),
        setVersion=st.text(max_size=70),
        sequence=st.integers(1, 2**31 - 1),
        at=st.integers(0, 253_402_300_799_999),
        from_=st.none() | st.sampled_from(State),
        to=st.sampled_from(State),
    )
)
def test_values(name: str, value: bytes) -> None:
    """Equal, or refused where a text is long."""
    found = READERS[name](value)

    assert found == expected(value) or (found is None and len(value) > 450)


@pytest.mark.parametrize("name", SCANS)
@given(st.data())
def test_broken_values(name: str, data: st.DataObject) -> None:
    """With a byte changed, left out or added: nothing is read that `read_avro` refuses, or reads otherwise."""
    value = bytearray(encoded())
    at = data.draw(st.integers(FRAME_BYTES, len(value) - 1))
    value[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    found = READERS[name](bytes(value))

    assert found is None or found == expected(bytes(value))


def scanned(looked_up: list[bytes], make_scan: MakeScan = plain_scan) -> FieldsScanner:
    """Of statuses."""

    def writer_of(value: bytes) -> Type:
        looked_up.append(value[:FRAME_BYTES])
        return SCHEMA

    return FieldsScanner(SCHEMA, writer_of, make_scan)


def test_only_many_are_scanned() -> None:
    """One program for all, once so many were refused."""
    looked_up: list[bytes] = []
    fields, value = scanned(looked_up), encoded()
    found = [fields.read(value) for _ in range(VALUES_BEFORE_SCAN + 3)]

    assert [None] * (VALUES_BEFORE_SCAN + 1) + [expected(value)] * 2 == found
    assert [value[:FRAME_BYTES]] == looked_up


def test_many_schemas() -> None:
    """A topic may hold what names a new schema with each record: nobody counts them all, or makes programs for them."""
    looked_up: list[bytes] = []
    fields, value = scanned(looked_up), encoded()
    for number in range(VALUES_BEFORE_SCAN + 1):
        fields.read(b"\x00\xff\xff" + number.to_bytes(2) + value[FRAME_BYTES:])
        assert len(fields._counts) <= MAX_SCHEMAS
    assert [] == looked_up
    found = [fields.read(value) for _ in range(VALUES_BEFORE_SCAN + 2)]

    assert expected(value) == found[-1]
    assert 1 == len(looked_up)


def test_a_schema_without_a_program() -> None:
    """All of its values are refused, and its writer is not looked up again."""

    def refuse(_program: Any) -> Any:
        raise NotPlannedError("too many texts")

    looked_up: list[bytes] = []
    fields, value = scanned(looked_up, refuse), encoded()
    found = {fields.read(value) is None for _ in range(VALUES_BEFORE_SCAN + 3)}

    assert {True} == found
    assert 1 == len(looked_up)
