"""Outputs between our values and the fields of their schemas, and outputs read back from their bytes. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any, Final

from processor.domain.channel import Channel
from processor.domain.message import Communicationmessage, Decision, MessageStatus, SkippedTemplate, State, StreamEvent
from processor.domain.notification import (
    Actor,
    Attachment,
    AuditEvent,
    AuditOwner,
    Notification,
    NotificationAccount,
    NotificationCategory,
    NotificationContact,
    NotificationStatus,
    NotificationUser,
)
from processor.domain.outcome import SourceOutcome
from processor.domain.output_topics import DECISION, MESSAGE, NOTIFICATION, STATUS, STREAM_EVENT
from processor.domain.reasons import DecisionReason, FailureReason
from processor.domain.record import Headers, RecordPosition, SchemaId
from processor.wire.avro_reader import read_avro
from processor.wire.json_codec import JSON, json_decoder, parse_json
from processor.wire.scalars import ContentError
from processor.wire.schema import Record, Schemas, Type

if TYPE_CHECKING:
    from processor.wire.schema import SchemaOf

# ---------------------------------------------------------------------------------------------------------------------
# To the fields of a schema

_MESSAGE_FIELDS: Final = tuple(one.name for one in fields(Communicationmessage))
_STATUS_FIELDS: Final = tuple((one.name.rstrip("_"), one.name) for one in fields(MessageStatus))
_METADATA: Final = ("eid", "event_type", "occurred_at", "content_type", "category")
_DECLINED_FIELDS: Final = ("templateId", "templateVersion", "reason", "detail", "encodedKey")


def message_fields(message: Communicationmessage) -> dict[str, Any]:
    """The 21 fields."""
    return {name: getattr(message, name) for name in _MESSAGE_FIELDS}


def status_fields(status: MessageStatus) -> dict[str, Any]:
    """`from_` is `from` on the wire."""
    made = {wire: getattr(status, name) for wire, name in _STATUS_FIELDS}
    made["source"] = _fields_of_place(status.source)
    return made


def stream_event_fields(event: StreamEvent) -> dict[str, Any]:
    """The first five go under `metadata`."""
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
        "source": _fields_of_place(decision.source),
        "setVersion": decision.setVersion,
        "correlationId": decision.correlationId,
        "at": decision.at,
        "reasons": [{name: getattr(reason, name) for name in _DECLINED_FIELDS} for reason in decision.reasons],
    }


def notification_fields(notification: Notification) -> dict[str, Any]:
    """The published shape: a batch is its id, and no attachments are null."""
    return {
        **{name: getattr(notification, name) for name in ("id", "href", "status", "subject", "body")},
        "batch": {"id": notification.batch},
        "contact": asdict(notification.contact),
        "account": notification.account and asdict(notification.account),
        "category": notification.category and asdict(notification.category),
        "attachments": [asdict(one) for one in notification.attachments] or None,
        "audit": {name: asdict(event) for name, event in notification.audit.items()},
    }


def _fields_of_place(place: RecordPosition) -> dict[str, Any]:
    return {"topic": place.topic, "partition": place.partition, "offset": place.offset}


FIELDS: Final[Mapping[type, Callable[[Any], dict[str, Any]]]] = {  # an output's type -> how it becomes fields
    Communicationmessage: message_fields,
    MessageStatus: status_fields,
    StreamEvent: stream_event_fields,
    Decision: decision_fields,
    Notification: notification_fields,
}


# ---------------------------------------------------------------------------------------------------------------------
# And back


def read_message(
    value: bytes, headers: Headers, *, schemas: Schemas, schema_of: "SchemaOf | None" = None
) -> Communicationmessage:
    """A record of `communications.messages`, in either form. `schema_of` knows a registry's ids; None: ours only.

    ValueError, here and below, for bytes that are no such record.
    """
    given = _read(value, headers, MESSAGE, schemas, schema_of)
    return Communicationmessage(**given | _enums(given, failureReason=FailureReason, state=State, type=Channel))


def read_status(
    value: bytes, headers: Headers, *, schemas: Schemas, schema_of: "SchemaOf | None" = None
) -> MessageStatus:
    """A record of `communications.status`."""
    given = _read(value, headers, STATUS, schemas, schema_of)
    given |= _enums(given, **{"from": State}, to=State, type=Channel, failureReason=FailureReason)
    given["source"] = RecordPosition(**given["source"])
    given["lookupMissing"] = tuple(given["lookupMissing"])
    return MessageStatus(**{name: given[wire] for wire, name in _STATUS_FIELDS})


def read_stream_event(
    value: bytes, headers: Headers, *, schemas: Schemas, schema_of: "SchemaOf | None" = None
) -> StreamEvent:
    """A record of a stream's topic."""
    given = _read(value, headers, STREAM_EVENT, schemas, schema_of)
    return StreamEvent(**given.pop("metadata"), **given)


def read_notification(
    value: bytes, headers: Headers, *, schemas: Schemas, schema_of: "SchemaOf | None" = None
) -> Notification:
    """A record of `notifications.messages`."""
    given = _read(value, headers, NOTIFICATION, schemas, schema_of)
    contact, account, category = given["contact"], given["account"], given["category"]
    user = contact["user"]
    return Notification(
        **{name: given[name] for name in ("id", "href", "subject", "body")},
        batch=given["batch"]["id"],
        contact=NotificationContact(**contact | {"user": user and NotificationUser(**user)}),
        account=account and NotificationAccount(**account),
        status=NotificationStatus(given["status"]),
        category=category and NotificationCategory(**category),
        attachments=tuple(Attachment(**one) for one in given["attachments"] or ()),
        audit={
            name: AuditEvent(event["at"], Actor(**event["by"]), event["of"] and AuditOwner(**event["of"]))
            for name, event in given["audit"].items()
        },
    )


def read_decision(value: bytes, headers: Headers, *, schemas: Schemas, schema_of: "SchemaOf | None" = None) -> Decision:
    """A record of `communications.decisions`. ValueError also for a reason of a newer version."""
    given = _read(value, headers, DECISION, schemas, schema_of)
    given["source"] = RecordPosition(**given["source"])
    given["reasons"] = tuple(
        SkippedTemplate(**reason | {"reason": DecisionReason(reason["reason"])}) for reason in given["reasons"]
    )
    return Decision(**given)


_OF_SOURCE: Final = frozenset(("eventId", "source", "at", "sequence", "reasons"))


def source_outcome_reader(
    name: str, *, schemas: Schemas, schema_of: "SchemaOf | None" = None
) -> Callable[[bytes, Headers], SourceOutcome]:
    """A function that reads of STATUS or DECISION records only what they say of their source, so that it also reads
    those of newer versions.

    ValueError for bytes that are no such record; what `schema_of` raises (UnavailableError) passes through.
    """
    ours = schemas.outputs[name].type
    wanted = replace(ours, fields=tuple(field for field in ours.fields if field.name in _OF_SOURCE))
    schema_of = schema_of or schemas.local_schema

    def read(value: bytes, headers: Headers) -> SourceOutcome:
        given = _read_as(wanted, value, headers, name, schema_of)
        passed = all(reason["reason"] != DecisionReason.TENANT_DISABLED for reason in given.get("reasons", ()))
        event_id = given["eventId"] if passed else None
        return SourceOutcome(
            RecordPosition(**given["source"]), given["at"], event_id, later=given.get("sequence", 1) > 1
        )

    return read


def _enums(given: Mapping[str, Any], **kinds: Callable[[str], Any]) -> dict[str, Any]:
    return {name: None if given[name] is None else kind(given[name]) for name, kind in kinds.items()}


def _read(value: bytes, headers: Headers, name: str, schemas: Schemas, schema_of: "SchemaOf | None") -> dict[str, Any]:
    return _read_as(schemas.outputs[name].type, value, headers, name, schema_of or schemas.local_schema)


def _read_as(ours: Record, value: bytes, headers: Headers, name: str, schema_of: "SchemaOf") -> dict[str, Any]:
    """By the header `content-type`, as it is written; else by the frame's id."""
    fields_read: dict[str, Any]
    try:
        if ("content-type", JSON.encode()) in headers:
            fields_read = json_decoder(ours)(parse_json(value))
        else:
            fields_read = read_avro(value, 5, _writer(value, name, schema_of), ours)
    except ContentError as error:
        raise ValueError(f"not a {name}: {error.detail}") from error
    return fields_read


def _writer(value: bytes, name: str, schema_of: "SchemaOf") -> Type:
    if len(value) < 5 or value[0] != 0:
        raise ContentError("no frame")
    schema_id = SchemaId(int.from_bytes(value[1:5], "big"))
    try:
        writer = schema_of(schema_id)
    except KeyError:
        raise ContentError(f"no schema has id {schema_id}") from None
    if writer.type is None or writer.name != name:
        raise ContentError(f"written as {writer.name or writer.problem}")
    return writer.type
