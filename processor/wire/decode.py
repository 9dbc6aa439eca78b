"""From a record's bytes to an Event, or to the failure that its dead letter names. Pure.

The reasons in the order in which they are found: EVENT_TOO_LARGE, before anything is parsed; BAD_FRAME, there is no
frame; UNKNOWN_SCHEMA, no schema has the frame's id, or it was refused for long; INCOMPATIBLE_SCHEMA, the schema is
known and cannot be read as a family of events; UNKNOWN_EVENT, the name is not in the catalogue; INVALID_EVENT, all else
in the content.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from processor.domain.catalogue import EVENTS, FAMILIES, nearest_event, ordering_key
from processor.domain.event import Event, Fields
from processor.domain.reasons import DETAIL_LIMIT_CHARACTERS, Reason
from processor.domain.record import EventName, Headers, SchemaGuid, SchemaId, SourceRecord
from processor.domain.text import did_you_mean, quote, truncate
from processor.wire.avro_reader import read_avro
from processor.wire.errors import ContentError
from processor.wire.event_rules import check_event
from processor.wire.framing import CONTENT_TYPE_HEADER, find_schema_id
from processor.wire.json_codec import JSON, json_decoder, parse_json
from processor.wire.reader_schemas import Schemas
from processor.wire.schema import RefusedSchemaError, SchemaOf, WriterSchema, describe_schema_id
from processor.wire.unknown_fields import UnknownField, unknown_fields


@dataclass(frozen=True, slots=True)
class DecodeFailure:
    """Why a record is no event: its dead letter's reason, and a detail of at most 1,000 characters.

    The detail names the field's path and what is wrong there. It holds no text of a field without a required format
    (names, addresses, notes, links): such a field can be secret.
    """

    reason: Reason
    detail: str


def decode(
    record: SourceRecord, *, schemas: Schemas, schema_of: SchemaOf, max_event_bytes: int = 1_048_576
) -> Event | DecodeFailure:
    """The event in `record`. An Avro and a JSON record of the same event give equal events.

    Any bytes give one of the two; only what `schema_of` raises (UnavailableError) passes through. KeyError of
    `schema_of` is UNKNOWN_SCHEMA. A record without a value is BAD_FRAME; the caller checks for it first (EMPTY_RECORD).
    """
    value = record.value or b""
    if len(value) > max_event_bytes:
        return DecodeFailure(Reason.EVENT_TOO_LARGE, f"{len(value)} bytes, at most {max_event_bytes} are read")
    if record.headers_error:
        return DecodeFailure(Reason.BAD_FRAME, f"headers: {record.headers_error}")
    try:
        if _is_json(record.headers):
            fields = _from_json(parse_json(value), schemas)
        else:
            schema_id, start = find_schema_id(value, record.headers)
            fields = _from_avro(value, start, _writer_schema(schema_id, schema_of), schemas)
        return _event(fields)
    except ContentError as error:
        return _failure(error)


def event_from_json(source: Mapping[str, Any] | bytes, schemas: Schemas) -> Event | DecodeFailure:
    """The event of a JSON text, or of a mapping that `json.dumps` can write (decimals as text). For people: where its
    name is unknown, the failure names the nearest."""
    try:
        data = source if isinstance(source, bytes) else json.dumps(source).encode()
    except (TypeError, ValueError) as error:
        return DecodeFailure(Reason.INVALID_EVENT, f"not JSON: {error}"[:DETAIL_LIMIT_CHARACTERS])
    try:
        return _event(_from_json(parse_json(data), schemas, suggest=True))
    except ContentError as error:
        return _failure(error)


def event_from_parsed(value: Any, schemas: Schemas) -> Event | DecodeFailure:
    """The same of a value as `parse_json` gives it."""
    try:
        return _event(_from_json(value, schemas, suggest=True))
    except ContentError as error:
        return _failure(error)


def event_and_unknown_fields(data: bytes, schemas: Schemas) -> tuple[Event | DecodeFailure, tuple[UnknownField, ...]]:
    """What `event_from_json` gives, and the fields of the text that the event's schema does not have; parsed once."""
    unknown: tuple[UnknownField, ...] = ()
    try:
        value = parse_json(data)
        unknown = unknown_fields(value, schemas)
        return _event(_from_json(value, schemas, suggest=True)), unknown
    except ContentError as error:
        return _failure(error), unknown


def _failure(error: ContentError) -> DecodeFailure:
    return DecodeFailure(error.reason, truncate(error.detail, DETAIL_LIMIT_CHARACTERS))


def _is_json(headers: Headers) -> bool:
    """By the last `content-type` header, its value compared without case and parameters; the name without case too."""
    for name, value in reversed(headers):
        if name.lower() == CONTENT_TYPE_HEADER:
            return value is not None and value.split(b";", 1)[0].strip().lower() == JSON.encode()
    return False


def _writer_schema(schema_id: SchemaId | SchemaGuid, schema_of: SchemaOf) -> WriterSchema:
    try:
        return schema_of(schema_id)
    except RefusedSchemaError as refused:
        raise ContentError(f"{describe_schema_id(schema_id)}: {refused.detail}", Reason.UNKNOWN_SCHEMA) from None
    except KeyError:
        raise ContentError(f"no schema has {describe_schema_id(schema_id)}", Reason.UNKNOWN_SCHEMA) from None


def _from_avro(value: bytes, start: int, writer: WriterSchema, schemas: Schemas) -> Fields:
    if writer.type is None:
        raise ContentError(writer.error, Reason.INCOMPATIBLE_SCHEMA)
    schema = schemas.families.get(writer.name)
    if schema is None:
        raise ContentError(f"{quote(writer.name)} is not a family of events", Reason.INCOMPATIBLE_SCHEMA)
    fields: Fields = read_avro(value, start, writer.type, schema.type)
    return fields


def _from_json(value: Any, schemas: Schemas, *, suggest: bool = False) -> Fields:
    """The fields of an event as `parse_json` gives it."""
    if not isinstance(value, dict):
        raise ContentError("not a JSON object")
    name = value.get("event")
    if not isinstance(name, str):
        raise ContentError("is missing" if name is None else "text expected").at("event")
    schema = schemas.by_event.get(EventName(name))
    if schema is None:
        hint = did_you_mean(nearest_event(name) if suggest else "", before="; ")
        raise ContentError(f"{quote(name)} is not known{hint}", Reason.UNKNOWN_EVENT).at("event")
    fields: Fields = json_decoder(schema.type)(value)
    return fields


def _event(fields: Fields) -> Event:
    name = EventName(fields["event"])
    family = FAMILIES[EVENTS[name].family]
    check_event(name, family, fields)
    return Event(
        id=fields["eventId"],
        name=name,
        family=family.name,
        occurred_at=fields["occurredAt"],
        tenant=fields["tenant"],
        correlation_id=fields["correlationId"],
        ordering_key=ordering_key(name, fields),
        fields=fields,
    )
