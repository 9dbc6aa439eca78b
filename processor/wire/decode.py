"""From a record's bytes to an Event, or to the failure that its dead letter names.

The reasons in the order in which they are found: EVENT_TOO_LARGE, before anything is parsed; BAD_FRAME, there is no
frame; UNKNOWN_SCHEMA, no schema has the frame's id, or it was refused for long; INCOMPATIBLE_SCHEMA, the schema is
known and cannot be read as a family of events; UNKNOWN_EVENT, the name is not in the catalogue; INVALID_EVENT, all else
in the content.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from processor.domain.catalogue import EVENTS, FAMILIES, Holder, nearest_event, ordering_key
from processor.domain.event import Event, Fields
from processor.domain.reasons import Reason
from processor.domain.record import EventName, SchemaGuid, SchemaId, SourceRecord
from processor.domain.text import did_you_mean, quote, truncate
from processor.wire.avro_reader import read_avro
from processor.wire.json_codec import JSON, UnknownField, json_decoder, parse_json, unknown_fields
from processor.wire.scalars import ContentError
from processor.wire.schema import RefusedSchemaError, Schemas, WriterSchema, describe_schema_id

if TYPE_CHECKING:
    from processor.wire.schema import SchemaOf

_FRAME_BYTES: Final = 5  # Confluent: magic byte 0, 4-byte id, big-endian
_GUID_HEADER: Final = "__value_schema_id"
_GUID_BYTES: Final = 17  # Confluent: 0x01, then the schema's GUID
_LONGEST_DETAIL: Final = 1_000
_UNKNOWN_SHOWN: Final = 100
# To find the nearest of a name takes up to a millisecond, and an event may be of nothing but unknown fields.
_UNKNOWN_LOOKED_AT: Final = 10_000


@dataclass(frozen=True, slots=True)
class DecodeFailure:
    """Why a record is no event: its dead letter's reason, and a detail of at most 1,000 characters.

    The detail names the field's path and what is wrong there. It holds no text of a field that has no form to keep
    (names, addresses, notes, links): such a field can be secret.
    """

    reason: Reason
    detail: str


def decode(
    record: SourceRecord, *, schemas: Schemas, schema_of: "SchemaOf", max_event_bytes: int = 1_048_576
) -> Event | DecodeFailure:
    """The event that `record` tells. An Avro and a JSON record of the same event give equal events.

    Any bytes give one of the two; only what `schema_of` raises (UnavailableError) passes through. KeyError of
    `schema_of` is UNKNOWN_SCHEMA. No value at all is the caller's to judge first (EMPTY_RECORD); here it is BAD_FRAME.
    """
    value = record.value or b""
    if len(value) > max_event_bytes:
        return DecodeFailure(Reason.EVENT_TOO_LARGE, f"{len(value)} bytes, at most {max_event_bytes} are read")
    if record.headers_error:
        return DecodeFailure(Reason.BAD_FRAME, f"headers: {record.headers_error}")
    try:
        if _is_json(record):
            fields = _from_json(value, schemas)
        else:
            schema_id, at = _frame(record, value)
            fields = _from_avro(value, at, _writer(schema_id, schema_of), schemas)
        return _event(fields)
    except ContentError as error:
        return _fault(error)


def event_from_json(given: Mapping[str, Any] | bytes, schemas: Schemas) -> Event | DecodeFailure:
    """The event of a JSON text, or of a mapping that `json.dumps` can write (decimals as text). For people: where its
    name is none, the fault names the nearest."""
    try:
        data = given if isinstance(given, bytes) else json.dumps(given).encode()
    except (TypeError, ValueError) as error:
        return DecodeFailure(Reason.INVALID_EVENT, f"not JSON: {error}"[:_LONGEST_DETAIL])
    try:
        return _event(_from_json(data, schemas, for_people=True))
    except ContentError as error:
        return _fault(error)


def unknown_fields_in_json(data: bytes, schemas: Schemas) -> tuple[UnknownField, ...]:
    """The fields of an event's JSON text that its schema does not have, each path once and at most a hundred, also when
    the event is invalid. None of a text that names no event."""
    try:
        given = parse_json(data)
    except ContentError:
        return ()
    name = given.get("event") if isinstance(given, dict) else None
    schema = schemas.by_event.get(EventName(name)) if isinstance(name, str) else None
    found = () if schema is None else unknown_fields(schema.type, given)
    return tuple(islice(dict.fromkeys(islice(found, _UNKNOWN_LOOKED_AT)), _UNKNOWN_SHOWN))


def _fault(error: ContentError) -> DecodeFailure:
    return DecodeFailure(error.reason, truncate(error.detail, _LONGEST_DETAIL))


def _is_json(record: SourceRecord) -> bool:
    """By the last `content-type` header, its value compared without case and parameters; the name without case too."""
    for name, value in reversed(record.headers):
        if name.lower() == "content-type":
            return value is not None and value.split(b";", 1)[0].strip().lower() == JSON.encode()
    return False


# ---------------------------------------------------------------------------------------------------------------------
# Avro


def _bad_frame(what: str) -> ContentError:
    return ContentError(what, Reason.BAD_FRAME)


def _frame(record: SourceRecord, value: bytes) -> tuple[SchemaId | SchemaGuid, int]:
    """Which schema the value was written with, and where its bytes begin."""
    for name, guid in reversed(record.headers):
        if name == _GUID_HEADER:
            if guid is None or len(guid) != _GUID_BYTES or guid[0] != 1:
                given = "null" if guid is None else f"{len(guid)} bytes: {guid[:_GUID_BYTES].hex()}"
                raise _bad_frame(f"header {_GUID_HEADER} is not 0x01 and a GUID's 16 bytes, but {given}")
            return SchemaGuid(guid[1:]), 0
    if value.startswith(b"{"):
        raise _bad_frame(f"the value begins with {{ and has no header content-type: {JSON}, so it is not read as JSON")
    if len(value) < _FRAME_BYTES:
        raise _bad_frame(f"{len(value)} bytes, a frame alone has {_FRAME_BYTES}")
    if value[0] != 0:
        raise _bad_frame(f"magic byte 0x{value[0]:02x}, expected 0x00")
    return SchemaId(int.from_bytes(value[1:_FRAME_BYTES], "big")), _FRAME_BYTES


def _writer(schema_id: SchemaId | SchemaGuid, schema_of: "SchemaOf") -> WriterSchema:
    try:
        return schema_of(schema_id)
    except RefusedSchemaError as refused:
        raise ContentError(f"{describe_schema_id(schema_id)}: {refused.detail}", Reason.UNKNOWN_SCHEMA) from None
    except KeyError:
        raise ContentError(f"no schema has {describe_schema_id(schema_id)}", Reason.UNKNOWN_SCHEMA) from None


def _from_avro(value: bytes, at: int, writer: WriterSchema, schemas: Schemas) -> Fields:
    if writer.type is None:
        raise ContentError(writer.problem, Reason.INCOMPATIBLE_SCHEMA)
    schema = schemas.families.get(writer.name)
    if schema is None:
        raise ContentError(f"{quote(writer.name)} is not a family of events", Reason.INCOMPATIBLE_SCHEMA)
    fields: Fields = read_avro(value, at, writer.type, schema.type)
    return fields


# ---------------------------------------------------------------------------------------------------------------------
# JSON


def _from_json(data: bytes, schemas: Schemas, *, for_people: bool = False) -> Fields:
    given = parse_json(data)
    if not isinstance(given, dict):
        raise ContentError("not a JSON object")
    name = given.get("event")
    if not isinstance(name, str):
        raise ContentError("is missing" if name is None else "text expected").at("event")
    schema = schemas.by_event.get(EventName(name))
    if schema is None:
        near = nearest_event(name) if for_people else ""
        hint = did_you_mean(near, before="; ")
        raise ContentError(f"{quote(name)} is not known{hint}", Reason.UNKNOWN_EVENT).at("event")
    fields: Fields = json_decoder(schema.type)(given)
    return fields


# ---------------------------------------------------------------------------------------------------------------------
# Both


def _event(fields: Fields) -> Event:
    name = EventName(fields["event"])
    family = FAMILIES[EVENTS[name].family]
    _check_holder(family.holder, fields)
    if family.name in _RULES:
        _RULES[family.name](name, fields)
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


# ---------------------------------------------------------------------------------------------------------------------
# What a schema cannot say: which fields are set together. Only what would leave an event without its one meaning is
# refused; a value that is merely missing is for the templates that show it.


def _check_holder(holder: Holder, fields: Fields) -> None:
    set_count = sum(fields[one] is not None for one in holder.fields)
    if set_count > 1:
        wanted = "at most one" if holder is Holder.AT_MOST_ONE else "exactly one"
        raise ContentError(f"client, group: {wanted} is the holder, both are set")
    if set_count == 0 and holder is Holder.CLIENT_OR_GROUP:
        raise ContentError("client, group: exactly one is the holder, none is set")


_BULK: Final = "CARDS_AUTHORISATION_HOLD_IN_BULK_CREATED"


def _check_holds(name: EventName, fields: Fields) -> None:
    """One hold, or in bulk a list of at least one; never both, so that each placeholder has one source."""
    hold, holds = fields["hold"] is not None, len(fields["holds"])
    if name == _BULK and (hold or not holds):
        raise ContentError(f"hold, holds: {name} has a list of holds alone, {_given(hold, holds)}")
    if name != _BULK and (holds or not hold):
        raise ContentError(f"hold, holds: {name} has one hold and no list, {_given(hold, holds)}")


def _given(hold: bool, holds: int) -> str:
    return f"given {'hold' if hold else 'no hold'} and {holds} in holds"


_SUBJECTS: Final[Mapping[str, tuple[str, str]]] = {  # event -> kind of its subject, and the field that has it
    "CLIENT_ACTIVITY": ("CLIENT", "client"),
    "GROUP_ACTIVITY": ("GROUP", "group"),
    "LOAN_ACCOUNT_ACTIVITY": ("LOAN", "account"),
    "SAVINGS_ACCOUNT_ACTIVITY": ("DEPOSIT", "account"),
}


def _check_subject(name: EventName, fields: Fields) -> None:
    """The subject is of the event's kind, and the field that has it is set to that very client, group or account."""
    kind, field = _SUBJECTS[name]
    subject, entity = fields["subject"], fields[field]
    if subject["kind"] != kind:
        raise ContentError(f"{name} is about a {kind}, not a {subject['kind']}").at("kind").at("subject")
    if entity is None:
        raise ContentError("is missing, and the subject is one").at(field)
    if entity["encodedKey"] != subject["encodedKey"]:
        raise ContentError(f"not that of {field}").at("encodedKey").at("subject")
    if field == "account" and entity["kind"] != kind:
        raise ContentError(f"{entity['kind']}, and the subject is a {kind}").at("kind").at(field)


_RULES: Final[Mapping[str, Callable[[EventName, Fields], None]]] = {  # family -> its rule
    "authorisation_hold": _check_holds,
    "activity": _check_subject,
}
