"""Builders and strategies for tests of the wire: records, events in JSON and Avro, bytes by hand."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st

from processor.domain.event import Event, Fields
from processor.domain.record import EventName, Headers, RecordPosition, SchemaGuid, SchemaId, SourceRecord, Topic
from processor.registry.schema_files import load_schemas
from processor.wire.decode import DecodeFailure, decode, event_from_json
from processor.wire.encode import encode_event
from processor.wire.reader_schemas import ReaderSchema
from processor.wire.scalars import decimal_from_unscaled
from processor.wire.schema import Array, DecimalBytes, Enum, Map, Record, Scalar, Type, Union, WriterSchema
from processor.wire.schema_parser import parse_writer_schema
from processor.wire.wire_format import WireFormat

SCHEMAS: Final = load_schemas()
DOMAIN: Final = Path(__file__).parent.parent / "domain"
GOLDEN: Final = Path(__file__).parent.parent / "golden"
JSON_HEADERS: Final[Headers] = (("content-type", b"application/json"),)


def golden_json(name: str) -> Any:
    """A golden file's JSON value."""
    return json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))


def golden_bytes(name: str) -> bytes:
    """A golden file's bytes: hexadecimal digits, and comments after `#`."""
    lines = (GOLDEN / f"{name}.avro.hex").read_text("utf-8").splitlines()
    return bytes.fromhex("".join(line.partition("#")[0] for line in lines))


def raw_record(value: bytes | None, headers: Headers = (), *, key: bytes | None = b"key") -> SourceRecord:
    """A record of the events' topic."""
    return SourceRecord(RecordPosition(Topic("banking.events"), 3, 41), 1_773_480_413_702, key, value, headers)


def json_record(value: object) -> SourceRecord:
    """A record with `value` as JSON; bytes and text as they are."""
    data = value if isinstance(value, bytes) else (value if isinstance(value, str) else json.dumps(value)).encode()
    return raw_record(data, JSON_HEADERS)


def decode_with(record: SourceRecord, *, writers: Mapping[int, WriterSchema] | None = None) -> Event | DecodeFailure:
    """Decode a record with the shipped schemas, and with `writers` by their ids."""

    def schema_of(schema_id: SchemaId | SchemaGuid) -> WriterSchema:
        if writers and schema_id in writers:
            return writers[schema_id]  # type: ignore[index]  # a GUID is never among them
        return SCHEMAS.local_schema(schema_id)

    return decode(record, schemas=SCHEMAS, schema_of=schema_of)


def decode_failure(record: SourceRecord, *, writers: Mapping[int, WriterSchema] | None = None) -> DecodeFailure:
    """The failure of a record that cannot be decoded; an event fails the test."""
    decoded = decode_with(record, writers=writers)
    assert isinstance(decoded, DecodeFailure), decoded
    return decoded


def golden_event(name: str = "LOAN_REPAYMENT", **changed: object) -> Event:
    """An event of the domain's examples, with top-level fields of the JSON form changed; None leaves one out."""
    fields = golden_json(f"event.{name}") | changed
    event = event_from_json({name: value for name, value in fields.items() if value is not None}, SCHEMAS)
    assert isinstance(event, Event), event
    return event


def golden_avro(name: str = "LOAN_REPAYMENT", **changed: object) -> bytes:
    """The framed Avro bytes of such an event."""
    return encode_event(golden_event(name, **changed).fields, SCHEMAS, format=WireFormat.AVRO)[0]


def reader_schema(name: str = "LOAN_REPAYMENT") -> ReaderSchema:
    """The schema of an event's family."""
    return SCHEMAS.by_event[EventName(name)]


def varint(number: int) -> bytes:
    """Avro's zig-zag varint."""
    remaining, data = (number << 1) ^ (number >> 63), bytearray()
    while remaining > 0x7F:
        data.append(remaining & 0x7F | 0x80)
        remaining >>= 7
    return bytes((*data, remaining))


def changed_schema(change: Callable[[dict[str, Any]], object], name: str = "LOAN_REPAYMENT") -> WriterSchema:
    """A writer's schema: that of an event's family after `change` has changed its JSON."""
    schema = json.loads(reader_schema(name).text)
    change(schema)
    return parse_writer_schema(json.dumps(schema))


def field_of(schema: dict[str, Any], name: str) -> dict[str, Any]:
    """A field of a record schema's JSON."""
    found: dict[str, Any] = next(field for field in schema["fields"] if field["name"] == name)
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Strategies: any value of a schema

_KEYS = st.integers(0, 2**128 - 1).map(lambda number: f"{number:032x}")
_MICROS = st.datetimes(timezones=st.just(UTC))
_SCALARS: Final[Mapping[str, st.SearchStrategy[Any]]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "string": st.text(max_size=12),
    "uuid": st.uuids().map(str),
    "date": st.dates(),
    "timestamp-micros": _MICROS,
    "timestamp-millis": st.integers(-62_135_596_800_000, 253_402_300_799_999),
}


def values(type_: Type) -> st.SearchStrategy[Any]:
    """Any value of a type, as reading gives it."""
    match type_:
        case Scalar():
            return _SCALARS[type_.kind]
        case DecimalBytes():
            most = 10**type_.precision - 1
            return st.integers(-most, most).map(lambda number: decimal_from_unscaled(number, type_))
        case Enum():
            return st.sampled_from(type_.symbols)
        case Array():
            return st.lists(values(type_.items), max_size=2)
        case Map():
            return st.dictionaries(st.text(max_size=8), values(type_.values), max_size=3)
        case Union():
            return st.one_of(*(values(branch) for branch in type_.branches))
        case Record():
            return st.fixed_dictionaries({field.name: _field(field.name, field.type) for field in type_.fields})
        case _:
            raise AssertionError(type_)


def _field(name: str, type_: Type) -> st.SearchStrategy[Any]:
    if isinstance(type_, Scalar) and type_.kind == "string":
        if name == "encodedKey":
            return _KEYS
        if name == "tenant":
            return st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)
    return values(type_)


SUBJECTS: Final = {  # event -> kind of its subject, and the field that has it
    "CLIENT_ACTIVITY": ("CLIENT", "client"),
    "GROUP_ACTIVITY": ("GROUP", "group"),
    "LOAN_ACCOUNT_ACTIVITY": ("LOAN", "account"),
    "SAVINGS_ACCOUNT_ACTIVITY": ("DEPOSIT", "account"),
}


@st.composite
def events_of(draw: st.DrawFn, schema: ReaderSchema) -> Fields:
    """Any event of a family that keeps the family's rules: one holder, hold or holds, a subject that is there."""
    fields: dict[str, Any] = draw(values(schema.type))
    types = {
        field.name: field.type.nullable if isinstance(field.type, Union) else field.type for field in schema.type.fields
    }

    def drawn(name: str) -> Any:
        type_ = types[name]
        assert type_ is not None
        return draw(values(type_))

    if {"client", "group"} <= types.keys():
        holder = draw(st.sampled_from(["client", "group"]))
        fields |= {"client": None, "group": None, holder: drawn(holder)}
    if "holds" in types:
        hold = drawn("hold")
        bulk = fields["event"] == "CARDS_AUTHORISATION_HOLD_IN_BULK_CREATED"
        fields |= {"hold": None, "holds": [hold]} if bulk else {"hold": hold, "holds": []}
    if "subject" in types:
        kind, name = SUBJECTS[fields["event"]]
        entity = drawn(name) | ({"kind": kind} if name == "account" else {"encodedKey": f"{0:032x}"})
        alone = {} if name == "account" else {"client": None, "group": None}
        fields |= {**alone, name: entity, "subject": {"kind": kind, "encodedKey": entity["encodedKey"], "id": None}}
    return fields
