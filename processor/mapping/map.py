"""From one decoded event to its one outcome: each template by itself, and all records that are to be published.

event ── seen before? ── templates ──▶ for each: skipped, failed or created
              │             │
          decision       decision
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Final
from urllib.parse import unquote, urlsplit

from processor.domain.catalogue import EVENTS, Target
from processor.domain.channel import CHANNELS, AddressKind, Channel
from processor.domain.event import Event, SourceEvent
from processor.domain.ids import eid, encoded_key
from processor.domain.message import (
    Communicationmessage,
    FailedTemplate,
    MessageStatus,
    SkippedTemplate,
    State,
    StreamEvent,
)
from processor.domain.notification import Notification, NotificationStatus
from processor.domain.outcome import CreatedMessage, Processed, WrongKey
from processor.domain.output_topics import OutputTopic
from processor.domain.reasons import DecisionReason, FailureReason, Reason, TemplateReason
from processor.domain.record import EncodedKey, EventName, Headers, OutRecord, RecordPosition, SourceRecord
from processor.domain.template import Subscription, Template
from processor.domain.text import truncate
from processor.errors import InternalError
from processor.mapping.address import email_refusal, phone_refusal, user_refusal
from processor.mapping.conditions import first_false
from processor.mapping.context import MappingContext, Suspended
from processor.mapping.decisions import decision_records
from processor.mapping.notification import initial_notification
from processor.mapping.propagation import passed_on
from processor.mapping.recipient import Recipient, holder_of, recipient_of
from processor.mapping.reference import EMPTY_TABLES, Known, LookupFailedError, Reference
from processor.mapping.rejections import DETAIL_LIMIT_CHARACTERS, dead_letter
from processor.mapping.render import Rendered, Scope, Unrendered, holds_control, render, value_at
from processor.wire.encode import dead_letter_record

DESTINATION_LIMIT_CHARACTERS: Final = 1024

REPAYMENT_KEYS: Final[Mapping[str, tuple[str, ...]]] = {  # event -> path of the message's repaymentKey
    "LOAN_REPAYMENT": ("transaction", "encodedKey"),
    "LOAN_REPAYMENT_REVERSAL": ("transaction", "encodedKey"),
    "REPAYMENT_REMINDER": ("installment", "encodedKey"),
}


# --------------------------------------------------------------------------------------------------------- one event


def map_event(
    source: SourceEvent, context: MappingContext, *, suspended: Suspended, duplicate_of: RecordPosition | None
) -> Processed:
    """What becomes of an event. The same arguments give an equal outcome.

    `suspended`: templates whose circuit breaker is open; a message they would create is a failed template instead.
    `duplicate_of`: where the same event lies before this record, within the deduplication window. What the reference
    tables raise passes through; anything else that this raises is a bug, and the record's dead letter
    (`reject_for_error`).
    """
    if duplicate_of is not None:
        reason = SkippedTemplate(reason=DecisionReason.DUPLICATE_EVENT, detail=f"first seen at {duplicate_of}")
        return _processed(source, context, skipped=(reason,))
    templates = context.templates.for_event(source.event.name)
    if not templates:
        detail = f"no template names {source.event.name}"
        return _processed(source, context, skipped=(SkippedTemplate(reason=DecisionReason.NO_TEMPLATE, detail=detail),))
    results = [_made(template, source, context, suspended) for template in templates]
    return _processed(
        source,
        context,
        made=[one for one in results if isinstance(one, _Published | _Withheld)],
        skipped=tuple(
            one.skipped if isinstance(one, _Withheld) else one
            for one in results
            if isinstance(one, SkippedTemplate | _Withheld)
        ),
        failed=tuple(one for one in results if isinstance(one, FailedTemplate)),
    )


# ------------------------------------------------------------------------------------------------------ one template


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A message as one template makes it of one event, before it has a place and a time.

    `state` is QUEUED, FAILED or SENT; `failure_reason` and `failure_cause` are set exactly when it is FAILED. `known`
    is what the reference tables tell of it, for a channel that has a Message. `withheld` is why it is not created
    although it could be: its addressee's portal shows it as Discarded, and nobody is written to.
    """

    template: Template
    key: EncodedKey
    person: Recipient | None
    rendered: Rendered
    destination: str | None
    state: State
    failure_reason: FailureReason | None = None
    failure_cause: str | None = None
    known: Known | None = None
    withheld: SkippedTemplate | None = None

    @property
    def why_failed(self) -> str:
        """Reason and cause for people, after a comma; empty for a message that did not fail."""
        return f", {self.failure_reason}: {self.failure_cause}" if self.failure_reason else ""


def draft(
    template: Template,
    event: Event,
    *,
    time_zone: tzinfo,
    stream: str,
    limit_characters: int,
    sms_region: str | None,
    reference: Reference = EMPTY_TABLES,
    switched_off: Collection[Channel] = (),
    suspended: Collection[TemplateReason] = (),
) -> Draft | SkippedTemplate | FailedTemplate:
    """What `template` makes of `event`: the checks of each template in their order, then rendered, then addressed.

    `stream` is the topic that a stream event goes to. `sms_region` is the region of phone numbers that name none.
    Without `reference` nobody has said anything.
    `switched_off` are channels of the installation. `suspended` has the reasons for which the template's breaker is
    open; it comes after the checks, so that a redrive of the failed ones makes a message of each.
    """

    def skipped(reason: DecisionReason, detail: str, key: EncodedKey | None = None) -> SkippedTemplate:
        return SkippedTemplate(
            reason=reason, detail=detail, templateId=template.id, templateVersion=template.version, encodedKey=key
        )

    channel = CHANNELS[template.type]
    if not template.active:
        return skipped(DecisionReason.INACTIVE, "the template is switched off")
    if template.type in switched_off:
        return skipped(DecisionReason.CHANNEL_DISABLED, f"channel {template.type} is switched off")
    if mismatch := _target_mismatch(template, event):
        return skipped(DecisionReason.TARGET_MISMATCH, mismatch)
    person, scope = scope_of(template, event, time_zone=time_zone)
    if unmet := _unmet(template, scope):
        return skipped(DecisionReason.CONDITION_FALSE, unmet)
    if person is None and template.recipient is not None:
        return skipped(DecisionReason.NO_RECIPIENT, f"the event has no {_whom(template)}")
    addressed = "" if person is None or template.recipient is None else person.key
    key = encoded_key(event.tenant, event.id, template.id, recipient=addressed)
    holder = holder_of(event)
    known = withheld = None
    try:
        if holder is not None and (unsubscribed := _unsubscribed(template, holder.key, reference)):
            return skipped(DecisionReason.NOT_SUBSCRIBED, unsubscribed, key)
        if person is not None and channel.has_notification:
            known = reference.known(
                contact_key=person.key,
                account_keys=_account_keys(event, holder),
                category=template.category,
                family=event.family,
            )
            if unwanted := _unwanted(known):
                withheld = skipped(*unwanted, key)
            elif not suspended:
                reference.require(known)
    except LookupFailedError as failed:
        if not suspended:
            return _failed(template, TemplateReason.LOOKUP_MISSING, str(failed))
    if suspended and withheld is None:
        detail = "suspended, as nearly all of its records failed: " + ", ".join(sorted(suspended))
        return _failed(template, TemplateReason.TEMPLATE_SUSPENDED, detail)

    rendered = render(
        template.text_for(None if person is None else person.language),
        scope,
        strict=template.strict,
        limit_characters=limit_characters,
    )
    if isinstance(rendered, Unrendered):
        return _failed(template, rendered.reason, rendered.detail)
    if channel.is_stream:
        return Draft(template=template, key=key, person=person, rendered=rendered, destination=stream, state=State.SENT)
    raw = None if person is None else person.address
    if channel.address is AddressKind.URL:
        raw = rendered.url
    address, problem = _address(template, raw, sms_region=sms_region)
    limit = channel.text_limit
    if limit is not None and len(rendered.body) > limit.limit_characters:
        too_long = f"{len(rendered.body)} characters; an {template.type} takes {limit.limit_characters}"
        problem = (limit.failure, too_long)
    return Draft(
        template=template,
        key=key,
        person=person,
        rendered=rendered,
        destination=address,
        state=State.FAILED if problem else State.QUEUED,
        failure_reason=problem and problem[0],
        failure_cause=problem and problem[1],
        known=known,
        withheld=withheld,
    )


def scope_of(template: Template, event: Event, *, time_zone: tzinfo) -> tuple[Recipient | None, Scope]:
    """Whom `template` addresses with `event`, and what its placeholders and conditions are looked up in."""
    person = recipient_of(template, event, time_zone=time_zone)
    fields = {**event.fields, "recipient": None if person is None else person.fields}
    return person, Scope(event.family, fields, time_zone)


def _failed(template: Template, reason: TemplateReason, detail: str) -> FailedTemplate:
    return FailedTemplate(
        templateId=template.id,
        templateVersion=template.version,
        reason=reason,
        detail=truncate(detail, DETAIL_LIMIT_CHARACTERS),
    )


def _target_mismatch(template: Template, event: Event) -> str | None:
    """What the event is about instead of the template's target; None when it fits."""
    holder = holder_of(event)
    kind = value_at(("account", "kind"), event.fields)
    match template.target:
        case Target.CLIENT if holder is None or holder.key_field != "clientKey":
            return "target CLIENT, but the holder is a group" if holder else "target CLIENT, but there is no holder"
        case Target.GROUP if holder is None or holder.key_field != "groupKey":
            return "target GROUP, but the holder is a client" if holder else "target GROUP, but there is no holder"
        case Target.LOANS if kind != "LOAN":
            return f"target LOANS, but the account is {kind or 'missing'}"
        case Target.SAVINGS if kind != "DEPOSIT":
            return f"target SAVINGS, but the account is {kind or 'missing'}"
        case _:
            return None


def _unmet(template: Template, scope: Scope) -> str | None:
    """The first thing that the template asks of the event and that is not so; None when it asks for nothing else."""
    days = scope.fields.get("triggerDays")
    if template.trigger_days is not None and days != template.trigger_days:
        return f"trigger_days {template.trigger_days}; the event's are {'missing' if days is None else days}"
    return first_false(template.conditions, template.match, scope)


def _unsubscribed(template: Template, owner: str, reference: Reference) -> str | None:
    """Why the holder does not get what the template tells; None when they do."""
    said = reference.subscribed(owner, template.id)
    if said is None:
        return "the holder never opted in" if template.subscription is Subscription.OPT_IN else None
    return None if said else "the holder opted out"


def _account_keys(event: Event, holder: Recipient | None) -> tuple[str, ...]:
    """By what the customer organisation is looked up, first hit wins: bank account, holder, tenant."""
    account = value_at(("account", "encodedKey"), event.fields)
    keys = (account, None if holder is None else holder.key, event.tenant)
    return tuple(one for one in keys if one is not None)


def _unwanted(known: Known) -> tuple[DecisionReason, str] | None:
    """Why the addressee is not to be written to; None when they are."""
    contact, account, category = known.contact, known.account, known.category_id
    if contact is not None and contact.blocked:
        why = f": {contact.blocked_reason}" if contact.blocked_reason else ""
        return DecisionReason.CONTACT_BLOCKED, truncate(
            f"contact {contact.id} is blocked{why}", DETAIL_LIMIT_CHARACTERS
        )
    if category is None or (known.category is not None and not known.category.opt_out_allowed):
        return None
    if contact is not None and category in contact.opt_outs:
        return DecisionReason.CATEGORY_OPTED_OUT, f"contact {contact.id} left category {category}"
    if account is not None and category in account.disabled_categories:
        return DecisionReason.CATEGORY_OPTED_OUT, f"account {account.id} disabled category {category}"
    return None


def _whom(template: Template) -> str:
    if template.recipient is None:
        raise InternalError(f"{template.id}: a template without recipient lacks one")
    role = f" {template.recipient_role!r}" if template.recipient_role else ""
    return template.recipient.value.lower().replace("_", " ") + role


def _address(
    template: Template, raw: str | None, *, sms_region: str | None
) -> tuple[str | None, tuple[FailureReason, str] | None]:
    """The destination, or None and why there is none. Null is a missing address; what cannot be one is undefined."""
    channel = CHANNELS[template.type]
    if raw is None:
        if channel.missing_address is None:
            raise InternalError(f"{template.id}: a message of channel {template.type} without an address")
        return None, channel.missing_address
    address = raw.strip()
    refusal = _refusal(channel.address, address, sms_region=sms_region)
    return (address, None) if refusal is None else (None, (FailureReason.UNDEFINED_DESTINATION, refusal))


def _refusal(kind: AddressKind, address: str, *, sms_region: str | None) -> str | None:
    """Why nobody can be written to at `address`; None when it is one address."""
    if not address:
        return "the address is blank"
    if len(address) > DESTINATION_LIMIT_CHARACTERS:
        return f"an address of {len(address)} characters; at most {DESTINATION_LIMIT_CHARACTERS}"
    if holds_control(address):
        return "the address holds a control character or a line break"
    match kind:
        case AddressKind.EMAIL:
            return email_refusal(address)
        case AddressKind.PHONE:
            return phone_refusal(address, sms_region)
        case AddressKind.USER:
            return user_refusal(address)
        case AddressKind.URL if _has_dots(address):
            return "a step of the address's path is `.` or `..`"
        case _:
            return None


def _has_dots(url: str) -> bool:
    """Whether a step of the path is `.` or `..`. Who calls it takes such a step away, encoded or not, and many servers
    do so once they have decoded slashes too, so a value would lead to another path of the same host."""
    steps = unquote(urlsplit(url).path).replace("\\", "/").split("/")
    return not {".", ".."}.isdisjoint(steps)


# ----------------------------------------------------------------------------------------------------------- outputs


@dataclass(frozen=True, slots=True)
class _Published:
    birth: CreatedMessage
    outputs: tuple[OutRecord, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        return self.birth.status.lookupMissing


@dataclass(frozen=True, slots=True)
class _Withheld:
    """Declined, and the addressee's portal says so."""

    skipped: SkippedTemplate
    discarded: Notification
    missing: tuple[str, ...]
    outputs: tuple[OutRecord, ...]


def _made(
    template: Template, source: SourceEvent, context: MappingContext, suspended: Suspended
) -> _Published | _Withheld | SkippedTemplate | FailedTemplate:
    """A birth with its records, or why there is none; it fails when a record is larger than its topic takes."""
    record, event = source.record, source.event
    made = draft(
        template,
        event,
        time_zone=context.time_zone,
        stream=_stream_name(template, event, context),
        limit_characters=context.layout.messages.limit_bytes,
        sms_region=context.sms_region,
        reference=context.reference,
        switched_off=context.switched_off,
        suspended=[reason for one, reason in suspended if one == template.id],
    )
    if not isinstance(made, Draft):
        return made
    message = _message(made, source)
    notification = _notification(made, message, event, context)
    birth = None if made.withheld else _birth(made, message, notification, source, context)
    outputs = _outputs_of(birth, notification, made.key, record, event, context)
    for topic, output in outputs:
        if output.size_bytes > topic.limit_bytes:
            detail = f"{output.size_bytes} bytes for {topic.name}, which takes {topic.limit_bytes}"
            return _failed(made.template, TemplateReason.MAX_MESSAGE_SIZE_LIMIT_EXCEEDED, detail)
    records = tuple(output for _, output in outputs)
    if birth is not None:
        return _Published(birth, records)
    if made.withheld is None or notification is None:
        raise InternalError(f"{template.id}: withheld, but it has no Message to say so")
    return _Withheld(made.withheld, notification, _missing(made), records)


def _missing(made: Draft) -> tuple[str, ...]:
    return () if made.known is None else tuple(made.known.missing)


def _message(made: Draft, source: SourceEvent) -> Communicationmessage:
    template, event, now = made.template, source.event, source.time_ms
    kind = value_at(("account", "kind"), event.fields)
    account = value_at(("account", "encodedKey"), event.fields)
    keys = {} if made.person is None else {made.person.key_field: made.person.key}
    return Communicationmessage(
        body=made.rendered.body,
        clientKey=keys.get("clientKey"),
        creationDate=now,
        depositAccountKey=account if kind == "DEPOSIT" else None,
        destination=made.destination,
        encodedKey=made.key,
        event=event.name,
        failureCause=made.failure_cause,
        failureReason=made.failure_reason,
        groupKey=keys.get("groupKey"),
        loanAccountKey=account if kind == "LOAN" else None,
        numRetries=0,
        repaymentKey=value_at(REPAYMENT_KEYS[event.name], event.fields) if event.name in REPAYMENT_KEYS else None,
        sendDate=now if made.state is State.SENT else None,
        state=made.state,
        subject=made.rendered.subject,
        templateKey=template.key,
        type=template.type,
        userKey=keys.get("userKey"),
    )


def _birth(
    made: Draft,
    message: Communicationmessage,
    notification: Notification | None,
    source: SourceEvent,
    context: MappingContext,
) -> CreatedMessage:
    template, event = made.template, source.event
    streamed = CHANNELS[template.type].is_stream
    status = MessageStatus(
        encodedKey=made.key,
        tenant=event.tenant,
        event=event.name,
        type=template.type,
        sequence=1,
        from_=State.QUEUED_FOR_STREAM if streamed else None,
        to=made.state,
        at=source.time_ms,
        numRetries=0,
        failureReason=made.failure_reason,
        failureCause=made.failure_cause,
        final=made.state is not State.QUEUED,
        eventId=event.id,
        templateId=template.id,
        templateVersion=template.version,
        setVersion=context.templates.digest,
        source=source.record.place,
        lookupMissing=_missing(made),
        correlationId=event.correlation_id,
    )
    stream_event = _stream_event(made, event) if streamed else None
    return CreatedMessage(
        message, status, stream_event=stream_event, notification=notification, replaced=made.rendered.replaced
    )


def _notification(
    made: Draft, message: Communicationmessage, event: Event, context: MappingContext
) -> Notification | None:
    if made.known is None or made.person is None:
        return None
    status = context.statuses[made.failure_reason or made.state]
    if made.withheld is not None:
        status = NotificationStatus.DISCARDED
    return initial_notification(
        message, made.template, made.person, event, made.known, status=status, actor=context.actor
    )


def _stream_event(made: Draft, event: Event) -> StreamEvent:
    return StreamEvent(
        eid=eid(made.key),
        event_type=event_type(event.tenant, event.name),
        occurred_at=event.occurred_at_ms,
        content_type=made.template.content_type.value,
        category="DATA",
        body=made.rendered.body,
        template_name=made.template.name,
    )


def event_type(tenant: str, event: EventName) -> str:
    """What consumers of streams see as `event_type`, whatever the topic is called."""
    return f"mrn.event.{tenant}.streamingapi.{EVENTS[event].stream_name}"


def _outputs_of(
    birth: CreatedMessage | None,
    notification: Notification | None,
    encoded_key: EncodedKey,
    record: SourceRecord,
    event: Event,
    context: MappingContext,
) -> tuple[tuple[OutputTopic, OutRecord], ...]:
    """The records of a birth; without one, of a message that is withheld."""
    layout, encode, key = context.layout, context.encode, encoded_key.encode()
    outputs = []
    if birth is not None:
        value, headers = encode(birth.message)
        outputs.append((layout.messages, _out(layout.messages, record, key, value, headers)))
        value, headers = encode(birth.status)
        outputs.append((layout.status, _out(layout.status, record, key, value, headers)))
    if notification is not None:
        value, headers = encode(notification)
        outputs.append((layout.notifications, _out(layout.notifications, record, key, value, headers)))
    if birth is not None and birth.stream_event is not None:
        stream = layout.streams[event.name]
        value, headers = encode(birth.stream_event)
        out = _out(stream, record, event.ordering_key.encode(), value, headers)
        # A stream has fewer partitions than the events, fixed when it was created.
        outputs.append((stream, replace(out, partition=record.place.partition % stream.partitions)))
    return tuple(outputs)


def _out(topic: OutputTopic, record: SourceRecord, key: bytes | None, value: bytes, headers: Headers) -> OutRecord:
    """A record in the partition of its source."""
    return OutRecord(topic.name, record.place.partition, key, value, (*passed_on(record.headers).headers, *headers))


def _stream_name(template: Template, event: Event, context: MappingContext) -> str:
    if not CHANNELS[template.type].is_stream or not template.active:
        return ""
    if event.name not in context.layout.streams:
        raise InternalError(f"{template.id} streams {event.name}, and the layout has no topic for it")
    return context.layout.streams[event.name].name


def _processed(
    source: SourceEvent,
    context: MappingContext,
    *,
    made: Iterable[_Published | _Withheld] = (),
    skipped: tuple[SkippedTemplate, ...] = (),
    failed: tuple[FailedTemplate, ...] = (),
) -> Processed:
    record, event = source.record, source.event
    made = tuple(made)
    outputs = [output for one in made for output in one.outputs]
    outputs += decision_records(record, event, skipped, context)
    if failed:
        detail = "; ".join(f"{template.templateId}: {template.reason}" for template in failed)
        letter = dead_letter(record, Reason.TEMPLATE_FAILED, detail, context, event=event, failed=failed)
        outputs.append(dead_letter_record(letter, topic=context.layout.dead_letters))
    return Processed(
        record=record,
        created=tuple(one.birth for one in made if isinstance(one, _Published)),
        discarded=tuple(one.discarded for one in made if isinstance(one, _Withheld)),
        missing=tuple(part for one in made for part in one.missing),
        skipped=skipped,
        failed=failed,
        outputs=tuple(outputs),
        malformed_headers=passed_on(record.headers).malformed,
        wrong_key=WrongKey(event.name, event.id, event.ordering_key) if source.has_wrong_key else None,
    )
