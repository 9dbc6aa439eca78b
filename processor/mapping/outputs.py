"""From a draft to the values and records that are published: message, status, `Message`, stream event."""

from collections.abc import Iterator, Mapping
from typing import Final

from processor.domain.channel import CHANNELS
from processor.domain.event import Event, SourceEvent, value_at
from processor.domain.ids import eid
from processor.domain.message import Communicationmessage, MessageStatus, State, StreamEvent
from processor.domain.notification import Notification
from processor.domain.operation import PastOperation
from processor.domain.outcome import CreatedMessage, TemplateResult
from processor.domain.output_topics import OutputTopic, OutputValue
from processor.domain.reasons import TemplateReason
from processor.domain.record import Headers, OutRecord
from processor.errors import InternalError
from processor.mapping.context import MappingContext
from processor.mapping.draft import Draft, event_type, failed_template
from processor.mapping.notification import initial_notification
from processor.mapping.recipient import KeyField

REPAYMENT_KEYS: Final[Mapping[str, tuple[str, ...]]] = {  # event -> path of the message's repaymentKey
    "LOAN_REPAYMENT": ("transaction", "encodedKey"),
    "LOAN_REPAYMENT_REVERSAL": ("transaction", "encodedKey"),
    "REPAYMENT_REMINDER": ("installment", "encodedKey"),
}


def create_message(
    draft: Draft, source: SourceEvent, context: MappingContext, *, propagated: Headers
) -> TemplateResult:
    """The message of a draft with its records; of a suppressed draft the Discarded `Message` alone.

    The template fails when a record is larger than its topic takes. `propagated` are the source's headers that each
    record carries on.
    """
    message = message_of(draft, source, context)
    notification = initial_notification(message, draft, source.event, statuses=context.statuses, actor=context.actor)
    created = None if draft.suppressed else _create(draft, message, notification, source, context)
    records = []
    for topic, key, output in _values(created, notification, draft, source, context):
        value, headers = context.encode(output)
        partition = source.record.position.partition
        if isinstance(output, StreamEvent):  # a stream has fewer partitions than the events, fixed at its creation
            partition %= topic.partitions
        added = () if context.operation is None else _added_headers(output, draft, context.operation)
        record = OutRecord(topic.name, partition, key, value, (*propagated, *added, *headers))
        if record.size_bytes > topic.limit_bytes:
            reason = TemplateReason.MAX_MESSAGE_SIZE_LIMIT_EXCEEDED
            detail = f"{record.size_bytes} bytes for {topic.name}, which takes {topic.limit_bytes}"
            return TemplateResult(failed=failed_template(draft.template, reason, detail))
        records.append(record)
    if created is None and notification is None:
        raise InternalError(f"{draft.template.id}: suppressed, but it has no Message to say so")
    return TemplateResult(
        created=created,
        skipped=draft.suppressed,
        outputs=tuple(records),
        missing=draft.missing,
    )


def _added_headers(output: OutputValue, draft: Draft, operation: PastOperation) -> Headers:
    """What a record carries of the past operation that writes it. A stream event is not sent, so it is never late."""
    is_sent = isinstance(output, Communicationmessage) and not CHANNELS[draft.template.type].is_stream
    return operation.message_headers if is_sent else operation.headers


def _values(
    created: CreatedMessage | None,
    notification: Notification | None,
    draft: Draft,
    source: SourceEvent,
    context: MappingContext,
) -> Iterator[tuple[OutputTopic, bytes, OutputValue]]:
    """Topic, key and value of each record, in the order in which they are published."""
    topics, key = context.output_topics, draft.key.encode()
    if created is not None:
        yield topics.messages, key, created.message
        yield topics.status, key, created.status
    if notification is not None:
        yield topics.notifications, key, notification
    if created is not None and created.stream_event is not None:
        yield topics.streams[source.event.name], source.event.ordering_key.encode(), created.stream_event


def message_of(draft: Draft, source: SourceEvent, context: MappingContext) -> Communicationmessage:
    """The first record of a draft's message."""
    template, event, now = draft.template, source.event, source.time_ms
    kind = value_at(("account", "kind"), event.fields)
    account = value_at(("account", "encodedKey"), event.fields)
    keys = {} if draft.recipient is None else {draft.recipient.key_field: draft.recipient.key}
    return Communicationmessage(
        body=draft.rendered.body,
        clientKey=keys.get(KeyField.CLIENT),
        creationDate=now,
        depositAccountKey=account if kind == "DEPOSIT" else None,
        destination=_stream_topic(draft, event, context) or draft.destination,
        encodedKey=draft.key,
        event=event.name,
        failureCause=draft.failure_cause,
        failureReason=draft.failure_reason,
        groupKey=keys.get(KeyField.GROUP),
        loanAccountKey=account if kind == "LOAN" else None,
        numRetries=0,
        repaymentKey=value_at(REPAYMENT_KEYS[event.name], event.fields) if event.name in REPAYMENT_KEYS else None,
        sendDate=now if draft.state is State.SENT else None,
        state=draft.state,
        subject=draft.rendered.subject,
        templateKey=template.key,
        type=template.type,
        userKey=keys.get(KeyField.USER),
    )


def _stream_topic(draft: Draft, event: Event, context: MappingContext) -> str | None:
    """The real name of a stream event's topic; None for other messages."""
    if not CHANNELS[draft.template.type].is_stream:
        return None
    if event.name not in context.output_topics.streams:
        raise InternalError(f"{draft.template.id} streams {event.name}, and there is no topic for it")
    return context.output_topics.streams[event.name].name


def _create(
    draft: Draft,
    message: Communicationmessage,
    notification: Notification | None,
    source: SourceEvent,
    context: MappingContext,
) -> CreatedMessage:
    is_stream = CHANNELS[draft.template.type].is_stream
    return CreatedMessage(
        message,
        status_of(draft, source, context),
        stream_event=stream_event_of(draft, source.event) if is_stream else None,
        notification=notification,
        replaced=draft.rendered.replaced,
    )


def status_of(draft: Draft, source: SourceEvent, context: MappingContext) -> MessageStatus:
    """The status of its creation, sequence 1."""
    template, event = draft.template, source.event
    return MessageStatus(
        encodedKey=draft.key,
        tenant=event.tenant,
        event=event.name,
        type=template.type,
        sequence=1,
        from_=State.QUEUED_FOR_STREAM if CHANNELS[template.type].is_stream else None,
        to=draft.state,
        at=source.time_ms,
        numRetries=0,
        failureReason=draft.failure_reason,
        failureCause=draft.failure_cause,
        final=draft.state is not State.QUEUED,
        eventId=event.id,
        templateId=template.id,
        templateVersion=template.version,
        setVersion=context.templates.digest,
        source=source.record.position,
        lookupMissing=draft.missing,
        correlationId=event.correlation_id,
    )


def stream_event_of(draft: Draft, event: Event) -> StreamEvent:
    """What its stream carries; for a channel that is one."""
    return StreamEvent(
        eid=eid(draft.key),
        event_type=event_type(event.tenant, event.name),
        occurred_at=event.occurred_at_ms,
        content_type=draft.template.content_type.value,
        category="DATA",
        body=draft.rendered.body,
        template_name=draft.template.name,
    )
