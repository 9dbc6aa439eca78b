"""The outputs of one template for one event name, planned: what the reference fills in alike for each event. Pure.

Each plan is made of an output of a draft without content, by the functions that make the outputs of any draft: what
depends on the event or its record is a hole, all else is constant. Which fields are null depends on the event too, so a
plan is of one `MessageVariant`, in which that is known.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from processor.domain.catalogue import EVENTS
from processor.domain.channel import CHANNELS
from processor.domain.event import Event, SourceEvent
from processor.domain.message import SkippedTemplate
from processor.domain.output_topics import DECISION, MESSAGE, NOTIFICATION, STATUS, STREAM_EVENT
from processor.domain.reasons import DecisionReason, FailureReason
from processor.domain.record import EPOCH, EncodedKey, EventName, RecordPosition, SourceRecord, Topic
from processor.domain.template import Template
from processor.mapping.context import MappingContext
from processor.mapping.decisions import decision_of
from processor.mapping.draft import Draft, initial_state
from processor.mapping.notification import initial_notification
from processor.mapping.outputs import REPAYMENT_KEYS, message_of, status_of, stream_event_of
from processor.mapping.recipient import KeyField, Recipient
from processor.mapping.reference import RecipientData
from processor.mapping.render import Rendered
from processor.wire.output_fields import (
    decision_fields,
    message_fields,
    notification_fields,
    skipped_fields,
    status_fields,
    stream_event_fields,
)
from processor.wire.output_plan import OutputPlan, OutputShape, output_plan, part_plan
from processor.wire.schema import Union
from processor.wire.wire_format import WireFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageVariant:
    """What of an event decides which fields of a message's outputs are there.

    `key_field`: the message's field that has the recipient's key; None: no recipient. `account_kind`: of the event's
    account, LOAN or DEPOSIT; None: no account. `failure`: why the message is created FAILED; None: it is not.
    """

    key_field: KeyField | None = None
    account_kind: str | None = None
    failure: FailureReason | None = None


# ---------------------------------------------------------------------------------------------------------------------
# The plans. Holes are in the order of the schema; those that a variant does not have are constant null.

SAME_HOLES: Final = {  # path -> the one by which it is filled: they are never there both, or always equal
    "groupKey": "clientKey",
    "userKey": "clientKey",
    "creationDate": "at",
    "sendDate": "at",
    "depositAccountKey": "loanAccountKey",
}
_SOURCE: Final = frozenset(("source.topic", "source.partition", "source.offset"))


def message_plan(
    template: Template, event: EventName, context: MappingContext, variant: MessageVariant, wire_format: WireFormat
) -> OutputPlan:
    """Of a Communicationmessage. Holes: body, the recipient's key, creationDate, the account's key, destination (a
    stream's is constant; nullable in a variant that failed), encodedKey, failureCause, repaymentKey (nullable where the
    event may have none), sendDate, subject."""
    draft, source = _without_content(template, event, context, variant)
    holes = {"body", *KeyField, "creationDate", "depositAccountKey", "encodedKey", "failureCause", "loanAccountKey"}
    holes |= {"repaymentKey", "sendDate", "subject"}
    nullable = {"repaymentKey"} if _may_lack_repayment(event, context) else set()
    if not CHANNELS[template.type].is_stream:
        holes.add("destination")
    if variant.failure is not None:
        nullable.add("destination")
    shape = _shape(message_fields(message_of(draft, source, context)), holes, nullable)
    return output_plan(context.schemas.outputs[MESSAGE], wire_format, shape)


def status_plan(
    template: Template, event: EventName, context: MappingContext, variant: MessageVariant, wire_format: WireFormat
) -> OutputPlan:
    """Of a MessageStatus. Holes: encodedKey, at, failureCause, eventId, source.topic, source.partition, source.offset,
    lookupMissing (of a channel that has a `Message`), correlationId (nullable)."""
    draft, source = _without_content(template, event, context, variant)
    holes = {"encodedKey", "at", "failureCause", "eventId", *_SOURCE, "correlationId"}
    if CHANNELS[template.type].has_notification:
        holes.add("lookupMissing")
    shape = _shape(status_fields(status_of(draft, source, context)), holes, {"correlationId"})
    return output_plan(context.schemas.outputs[STATUS], wire_format, shape)


def stream_event_plan(
    template: Template, event: EventName, context: MappingContext, wire_format: WireFormat
) -> OutputPlan:
    """Of a StreamEvent. Holes: metadata.eid, metadata.occurred_at, body."""
    draft, source = _without_content(template, event, context, MessageVariant())
    fields = stream_event_fields(stream_event_of(draft, source.event))
    shape = _shape(fields, {"metadata.eid", "metadata.occurred_at", "body"})
    return output_plan(context.schemas.outputs[STREAM_EVENT], wire_format, shape)


def notification_plan(
    template: Template,
    event: EventName,
    context: MappingContext,
    variant: MessageVariant,
    wire_format: WireFormat,
    *,
    discarded: bool = False,
) -> OutputPlan:
    """Of a `Message`, where the channel has one and the variant a recipient. `discarded`: of a suppressed draft.

    Holes: id, href, batch.id, contact.id, contact.href, contact.name, contact.email (nullable), contact.user, account
    and category (nullable, whole), subject, body, and of `audit` created.at, created.of (nullable, whole) and the `at`
    of the status in lower case.
    """
    draft, source = _without_content(template, event, context, variant, suppressed=_SUPPRESSED if discarded else None)
    message = message_of(draft, source, context)
    notification = initial_notification(message, draft, source.event, statuses=context.statuses, actor=context.actor)
    if notification is None:
        raise ValueError(f"{template.id}: channel {template.type} has no Message, or not without a recipient")
    nullable = {"contact.email", "contact.user", "account", "category", "audit.created.of"}
    holes = nullable | {"id", "href", "batch.id", "contact.id", "contact.href", "contact.name", "subject", "body"}
    holes |= {f"audit.{occurrence}.at" for occurrence in notification.audit}
    shape = _shape(notification_fields(notification), holes, nullable)
    audit = OutputShape(map_keys={"audit": tuple(notification.audit)})
    return output_plan(context.schemas.outputs[NOTIFICATION], wire_format, shape | audit)


def decision_plan(event: EventName, context: MappingContext, wire_format: WireFormat) -> OutputPlan:
    """Of a complete Decision about an event. Holes: eventId, source.topic, source.partition, source.offset,
    correlationId (nullable), at, reasons (the array of what `reason_plan` writes)."""
    source = _source_without_content(event, context)
    fields = decision_fields(decision_of(source.record, source.event, (), context))
    shape = _shape(fields, {"eventId", *_SOURCE, "correlationId", "at", "reasons"}, {"correlationId"})
    return output_plan(context.schemas.outputs[DECISION], wire_format, shape)


def reason_plan(skipped: SkippedTemplate, context: MappingContext, wire_format: WireFormat) -> OutputPlan:
    """Of one reason of a Decision, and of all others of the same template and reason. Holes: detail; with a template
    encodedKey (nullable), without one it is about the whole record."""
    is_of_template = skipped.templateId is not None
    fields = skipped_fields(replace(skipped, detail="", encodedKey=_KEY if is_of_template else None))
    shape = _shape(fields, {"detail", "encodedKey"}, {"encodedKey"} if is_of_template else set())
    return part_plan(context.schemas.outputs[DECISION], "reasons", wire_format, shape)


# ---------------------------------------------------------------------------------------------------------------------
# A draft without content, and the shape of what is made of it

_KEY: Final = EncodedKey("0" * 32)
_EVENT_ID: Final = "00000000-0000-0000-0000-000000000000"
_SUPPRESSED: Final = SkippedTemplate(reason=DecisionReason.CONTACT_BLOCKED, detail="")
_SIZED: Final = frozenset(  # keys, uuids and ids for people: each has the size of the one that is put in
    (
        *("clientKey", "depositAccountKey", "encodedKey", "groupKey", "loanAccountKey", "repaymentKey", "userKey"),
        *("eventId", "metadata.eid", "id", "href", "batch.id"),
    )
)


def _without_content(
    template: Template,
    event: EventName,
    context: MappingContext,
    variant: MessageVariant,
    *,
    suppressed: SkippedTemplate | None = None,
) -> tuple[Draft, SourceEvent]:
    """A draft of the variant, of an event that has nothing but keys."""
    recipient = None
    if variant.key_field is not None:
        recipient = Recipient(_KEY, variant.key_field, {"name": "", "emailAddress": ""})
    has_notification = recipient is not None and CHANNELS[template.type].has_notification
    draft = Draft(
        template=template,
        key=_KEY,
        recipient=recipient,
        rendered=Rendered(None if template.text.subject is None else "", ""),
        destination="",
        state=initial_state(template.type, failed=variant.failure is not None),
        failure_reason=variant.failure,
        failure_cause=None if variant.failure is None else "",
        recipient_data=RecipientData(None, None, None, None, {}) if has_notification else None,
        suppressed=suppressed,
    )
    return draft, _source_without_content(event, context, account_kind=variant.account_kind)


def _source_without_content(
    event: EventName, context: MappingContext, *, account_kind: str | None = None
) -> SourceEvent:
    fields: dict[str, Any] = {first: {last: _KEY} for first, last in REPAYMENT_KEYS.values()}
    if account_kind is not None:
        fields["account"] = {"kind": account_kind, "encodedKey": _KEY}
    return SourceEvent(
        SourceRecord(RecordPosition(Topic(""), 0, 0), timestamp_ms=0, key=None, value=None),
        Event(
            id=_EVENT_ID,
            name=event,
            family=EVENTS[event].family,
            occurred_at=EPOCH,
            tenant=context.tenant,
            correlation_id="",
            ordering_key="",
            fields=fields,
        ),
    )


def _may_lack_repayment(event: EventName, context: MappingContext) -> bool:
    """Whether the record that has the event's repaymentKey may be null."""
    record = REPAYMENT_KEYS[event][0] if event in REPAYMENT_KEYS else None
    types = {field.name: field.type for field in context.schemas.by_event[event].type.fields}
    return record is not None and isinstance(types[record], Union)


def _shape(fields: Mapping[str, Any], holes: Collection[str], nullable: Collection[str] = frozenset()) -> OutputShape:
    """What is known of an output with these fields, where `holes` differ. One of them that is null here is always null,
    any other is never, but for those that are nullable."""
    constants, sizes, present = {}, {}, set()
    for path, value in _values(fields, holes):
        if path not in holes or (value is None and path not in nullable):
            constants[path] = value
            continue
        if path in _SIZED:
            sizes[path] = len(value)
        if path not in nullable:
            present.add(path)
    return OutputShape(constants=constants, sizes=sizes, present=frozenset(present))


def _values(fields: Mapping[str, Any], holes: Collection[str], before: str = "") -> Iterator[tuple[str, Any]]:
    """Path and value of each field; of one with holes within it, those of its fields."""
    for name, value in fields.items():
        path = before + name
        if any(hole.startswith(f"{path}.") for hole in holes) and path not in holes:
            yield from _values(value, holes, f"{path}.")
        else:
            yield path, value
