"""Outputs between values and the fields of their schemas, and outputs read back from their bytes. Pure."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, fields, replace
from functools import partial
from typing import Any, Final

from processor.domain.channel import Channel
from processor.domain.message import (
    Communicationmessage,
    Decision,
    MessageStatus,
    SkippedTemplate,
    State,
    StreamEvent,
)
from processor.domain.notification import Notification
from processor.domain.operation import OPERATION_HEADER
from processor.domain.outcome import DecisionOutcome, SkippedReason, StatusOutcome
from processor.domain.output_topics import DECISION, MESSAGE, STATUS, STREAM_EVENT
from processor.domain.reasons import DecisionReason, FailureReason
from processor.domain.record import Headers, RecordPosition
from processor.wire.avro_reader import read_avro
from processor.wire.errors import ContentError
from processor.wire.framing import FRAME_BYTES, parse_frame
from processor.wire.json_codec import JSON_HEADERS, json_decoder, parse_json
from processor.wire.reader_schemas import Schemas
from processor.wire.scanned_fields import FieldsScanner, MakeScan
from processor.wire.schema import Array, Enum, Record, SchemaOf, Type, describe_schema_id

# ---------------------------------------------------------------------------------------------------------------------
# To the fields of a schema

_MESSAGE_FIELDS: Final = tuple(field.name for field in fields(Communicationmessage))
STATUS_FIELDS: Final = tuple((field.name.rstrip("_"), field.name) for field in fields(MessageStatus))
"""Of MessageStatus, name on the wire and in Python: `from_` is `from` on the wire."""
_METADATA: Final = ("eid", "event_type", "occurred_at", "content_type", "category")
_SKIPPED_FIELDS: Final = ("templateId", "templateVersion", "reason", "detail", "encodedKey")


def message_fields(message: Communicationmessage) -> dict[str, Any]:
    """All fields, in the published order."""
    return {name: getattr(message, name) for name in _MESSAGE_FIELDS}


def status_fields(status: MessageStatus) -> dict[str, Any]:
    """All fields, by their names on the wire."""
    values = {wire_name: getattr(status, name) for wire_name, name in STATUS_FIELDS}
    values["source"] = _position_fields(status.source)
    return values


def stream_event_fields(event: StreamEvent) -> dict[str, Any]:
    """Those that say what the body is go under `metadata`."""
    return {
        "metadata": {name: getattr(event, name) for name in _METADATA},
        "body": event.body,
        "template_name": event.template_name,
    }


def decision_fields(decision: Decision) -> dict[str, Any]:
    """One record for each source record, with all its reasons."""
    return {
        "eventId": decision.eventId,
        "event": decision.event,
        "tenant": decision.tenant,
        "source": _position_fields(decision.source),
        "setVersion": decision.setVersion,
        "correlationId": decision.correlationId,
        "at": decision.at,
        "reasons": [skipped_fields(reason) for reason in decision.reasons],
        "reasonsLeftOut": decision.reasonsLeftOut,
    }


def skipped_fields(skipped: SkippedTemplate) -> dict[str, Any]:
    """One of the reasons of a decision."""
    return {name: getattr(skipped, name) for name in _SKIPPED_FIELDS}


def notification_fields(notification: Notification) -> dict[str, Any]:
    """The published shape: a batch is its id, and no attachments are null."""
    return {
        **{name: getattr(notification, name) for name in ("id", "href", "status", "subject", "body")},
        "batch": {"id": notification.batch},
        "contact": asdict(notification.contact),
        "account": notification.account and asdict(notification.account),
        "category": notification.category and asdict(notification.category),
        "attachments": [asdict(attachment) for attachment in notification.attachments] or None,
        "audit": {name: asdict(event) for name, event in notification.audit.items()},
    }


def _position_fields(position: RecordPosition) -> dict[str, Any]:
    return {"topic": position.topic, "partition": position.partition, "offset": position.offset}


FIELDS: Final[Mapping[type, Callable[[Any], dict[str, Any]]]] = {  # an output's type -> how it becomes fields
    Communicationmessage: message_fields,
    MessageStatus: status_fields,
    StreamEvent: stream_event_fields,
    Decision: decision_fields,
    Notification: notification_fields,
}


# ---------------------------------------------------------------------------------------------------------------------
# And back. Each takes a record's value and headers, in either form. ValueError for bytes that are no such record.


def read_message(
    value: bytes, headers: Headers, *, schemas: Schemas, schema_of: SchemaOf | None = None
) -> Communicationmessage:
    """A record of `communications.messages`. `schema_of` knows a registry's ids; None: those of `ids.json` alone."""
    values = read_fields(value, headers, MESSAGE, schemas=schemas, schema_of=schema_of)
    return Communicationmessage(**values | parse_enums(values, failureReason=FailureReason, state=State, type=Channel))


def read_stream_event(
    value: bytes, headers: Headers, *, schemas: Schemas, schema_of: SchemaOf | None = None
) -> StreamEvent:
    """A record of a stream's topic."""
    values = read_fields(value, headers, STREAM_EVENT, schemas=schemas, schema_of=schema_of)
    return StreamEvent(**values.pop("metadata"), **values)


def read_decision(value: bytes, headers: Headers, *, schemas: Schemas, schema_of: SchemaOf | None = None) -> Decision:
    """A record of `communications.decisions`. ValueError also for a reason of a newer version."""
    values = read_fields(value, headers, DECISION, schemas=schemas, schema_of=schema_of)
    values["source"] = RecordPosition(**values["source"])
    values["reasons"] = tuple(
        SkippedTemplate(**reason | {"reason": DecisionReason(reason["reason"])}) for reason in values["reasons"]
    )
    return Decision(**values)


_STATUS_OUTCOME_FIELDS: Final = frozenset(
    ("encodedKey", "event", "sequence", "to", "at", "eventId", "templateId", "setVersion", "source")
)
_DECISION_OUTCOME_FIELDS: Final = frozenset(
    ("eventId", "event", "source", "setVersion", "at", "reasons", "reasonsLeftOut")
)
_SKIPPED_OUTCOME_FIELDS: Final = frozenset(("templateId", "reason", "detail"))
_MORE_TEMPLATES: Final = re.compile(r"and (\d{1,9}) more templates", re.ASCII)
"""The last detail of a decision that was shortened before there was `reasonsLeftOut`."""


def source_outcome_reader(
    name: str, *, schemas: Schemas, schema_of: SchemaOf | None = None, make_scan: MakeScan | None = None
) -> Callable[[bytes, Headers], StatusOutcome | DecisionOutcome]:
    """A function that reads of STATUS or DECISION records only what they say of their source, so that it also reads
    those of newer versions: a state or reason that is not known is None.

    ValueError for bytes that are no such record; what `schema_of` raises (UnavailableError) passes through.
    `make_scan` makes the scan of a schema that many Avro records have; None: `read_avro` reads each. With it the
    function keeps state, and is for one thread.
    """
    schema_of = schema_of or schemas.local_schema
    full_reader = schemas.outputs[name].type
    read_fields_of, names = _OUTCOME_READERS[name]
    reader = _lenient_part(full_reader, names)
    scanner = None if make_scan is None else FieldsScanner(reader, partial(_writer_type, name, schema_of), make_scan)

    def read(value: bytes, headers: Headers) -> StatusOutcome | DecisionOutcome:
        values = None
        if scanner is not None and JSON_HEADERS[0] not in headers:
            values = scanner.read(value)
        if values is None:
            values = _read_as(reader, value, headers, name, schema_of)
        return read_fields_of(values, headers)

    return read


def _operation_of(headers: Headers) -> str | None:
    """The id of the replay or redrive that wrote an output, by that output's own headers; None: `run` wrote it."""
    for name, text in headers:
        if name == OPERATION_HEADER:
            return (text or b"").decode(errors="replace")
    return None


def _status_outcome(values: Mapping[str, Any], headers: Headers) -> StatusOutcome:
    return StatusOutcome(
        RecordPosition(**values["source"]),
        values["at"],
        values["eventId"],
        values["event"],
        values["setVersion"],
        _operation_of(headers) if headers else None,
        values["encodedKey"],
        values["templateId"],
        _STATES.get(values["to"]),
        later=values["sequence"] > 1,
    )


def _decision_outcome(values: Mapping[str, Any], headers: Headers) -> DecisionOutcome:
    reasons = tuple(map(_skipped_reason, values["reasons"]))
    shortened = _MORE_TEMPLATES.fullmatch(reasons[-1].detail) if reasons else None
    return DecisionOutcome(
        RecordPosition(**values["source"]),
        values["at"],
        values["eventId"],
        values["event"],
        values["setVersion"],
        _operation_of(headers) if headers else None,
        reasons,
        values.get("reasonsLeftOut") or (int(shortened[1]) if shortened else 0),
    )


def _skipped_reason(values: Mapping[str, Any]) -> SkippedReason:
    reason = _DECISION_REASONS.get(values["reason"])
    detail = values["detail"] if reason is not None else f"{values['reason']}: {values['detail']}"
    return SkippedReason(reason, detail, values["templateId"])


_STATES: Final = {state.value: state for state in State}
_DECISION_REASONS: Final = {reason.value: reason for reason in DecisionReason}
_OUTCOME_READERS: Final[
    Mapping[str, tuple[Callable[[Mapping[str, Any], Headers], StatusOutcome | DecisionOutcome], frozenset[str]]]
] = {
    STATUS: (_status_outcome, _STATUS_OUTCOME_FIELDS),
    DECISION: (_decision_outcome, _DECISION_OUTCOME_FIELDS),
}


def _lenient_part(record: Record, names: Collection[str]) -> Record:
    """`record` with those of its fields that `names` has, whose enums are "" for a symbol that is not known."""
    return replace(
        record,
        fields=tuple(replace(field, type=_lenient(field.type)) for field in record.fields if field.name in names),
    )


def _lenient(type_: Type) -> Type:
    match type_:
        case Enum():
            return replace(type_, default="")
        case Array(items=Record() as items):
            return Array(_lenient_part(items, _SKIPPED_OUTCOME_FIELDS))
        case _:
            return type_


def parse_enums(values: Mapping[str, Any], **enums: Callable[[str], Any]) -> dict[str, Any]:
    """Those of `values` that are named by `enums`, as members; null stays None. ValueError for an unknown symbol."""
    return {name: None if values[name] is None else enum(values[name]) for name, enum in enums.items()}


def read_fields(
    value: bytes, headers: Headers, name: str, *, schemas: Schemas, schema_of: SchemaOf | None
) -> dict[str, Any]:
    """The fields of an output, by the full name of its schema."""
    return _read_as(schemas.outputs[name].type, value, headers, name, schema_of or schemas.local_schema)


def _read_as(reader: Record, value: bytes, headers: Headers, name: str, schema_of: SchemaOf) -> dict[str, Any]:
    """By the header `content-type`, as it is written; else by the frame's id."""
    values: dict[str, Any]
    try:
        if JSON_HEADERS[0] in headers:
            values = json_decoder(reader)(parse_json(value))
        else:
            values = read_avro(value, FRAME_BYTES, _writer_type(name, schema_of, value), reader)
    except ContentError as error:
        raise ValueError(f"not a {name}: {error.detail}") from error
    return values


def _writer_type(name: str, schema_of: SchemaOf, value: bytes) -> Type:
    schema_id = parse_frame(value)
    try:
        writer = schema_of(schema_id)
    except KeyError:
        raise ContentError(f"no schema has {describe_schema_id(schema_id)}") from None
    if writer.type is None or writer.name != name:
        raise ContentError(f"written as {writer.name or writer.error}")
    return writer.type
