"""Statuses and notifications read back from their bytes, which only tests do as a whole."""

from processor.domain.channel import Channel
from processor.domain.message import MessageStatus, State
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
from processor.domain.output_topics import NOTIFICATION, STATUS
from processor.domain.reasons import FailureReason
from processor.domain.record import Headers, RecordPosition
from processor.wire.output_fields import STATUS_FIELDS, parse_enums, read_fields
from processor.wire.reader_schemas import Schemas
from processor.wire.schema import SchemaOf


def read_status(
    value: bytes, headers: Headers, *, schemas: Schemas, schema_of: SchemaOf | None = None
) -> MessageStatus:
    """A record of `communications.status`. ValueError for bytes that are no such record."""
    values = read_fields(value, headers, STATUS, schemas=schemas, schema_of=schema_of)
    values |= parse_enums(values, **{"from": State}, to=State, type=Channel, failureReason=FailureReason)
    values["source"] = RecordPosition(**values["source"])
    values["lookupMissing"] = tuple(values["lookupMissing"])
    return MessageStatus(**{name: values[wire_name] for wire_name, name in STATUS_FIELDS})


def read_notification(
    value: bytes, headers: Headers, *, schemas: Schemas, schema_of: SchemaOf | None = None
) -> Notification:
    """A record of `notifications.messages`. ValueError for bytes that are no such record."""
    values = read_fields(value, headers, NOTIFICATION, schemas=schemas, schema_of=schema_of)
    contact, account, category = values["contact"], values["account"], values["category"]
    user = contact["user"]
    return Notification(
        **{name: values[name] for name in ("id", "href", "subject", "body")},
        batch=values["batch"]["id"],
        contact=NotificationContact(**contact | {"user": user and NotificationUser(**user)}),
        account=account and NotificationAccount(**account),
        status=NotificationStatus(values["status"]),
        category=category and NotificationCategory(**category),
        attachments=tuple(Attachment(**attachment) for attachment in values["attachments"] or ()),
        audit={
            name: AuditEvent(event["at"], Actor(**event["by"]), event["of"] and AuditOwner(**event["of"]))
            for name, event in values["audit"].items()
        },
    )
