"""What becomes of scanned events of one name: outputs written from slots. No values of event or message are made. Pure.

slots ── for each template: draft plan ──▶ decision, or the records of its message ──▶ the results of `map_event`

A plan gives exactly what the reference gives (`map.py`), or nothing: then the reference maps the whole event.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter

from processor.domain.channel import CHANNELS
from processor.domain.ids import eid
from processor.domain.message import Communicationmessage, SkippedTemplate
from processor.domain.notification import Notification
from processor.domain.outcome import PlannedMessage, TemplateResult
from processor.domain.output_topics import OutputTopic
from processor.domain.reasons import FailureReason
from processor.domain.record import EncodedKey, EventName, Headers, OutRecord, TemplateId
from processor.domain.template import Template
from processor.errors import InternalError
from processor.mapping.context import MappingContext
from processor.mapping.draft import Draft
from processor.mapping.draft_plan import PlannedDraft, plan_draft
from processor.mapping.notification import initial_notification
from processor.mapping.outputs import REPAYMENT_KEYS
from processor.mapping.plan_values import PlanValues, ReadValue
from processor.mapping.planned_outputs import MessageVariant, message_plan, status_plan, stream_event_plan
from processor.mapping.recipient import KeyField, Recipient
from processor.mapping.render import Rendered
from processor.mapping.scanned_event import ScannedEvent
from processor.wire.encode import HEADERS
from processor.wire.output_plan import OutputPlan
from processor.wire.value_encoders import ENCODERS, ValueEncoders

Holes = dict[str, bytes | None]
"""By path, what the holes of an event's outputs take: encoded, None for null."""

_WriteOutput = Callable[[Holes], bytes]
_Variant = tuple[KeyField | None, str | None, FailureReason | None]


class EventPlan:
    """The plan of all templates for events of one name, of one writer's schema."""

    def __init__(self, event: EventName, values: PlanValues, context: MappingContext) -> None:
        """Takes some milliseconds for each template."""
        self._context = context
        self._shared = _SharedHoles(event, values, context)
        self._templates = {
            template.id: _TemplatePlan(template, event, values, context)
            for template in context.templates.for_event(event)
        }

    def map_templates(
        self, source: ScannedEvent, templates: Sequence[TemplateId], context: MappingContext, *, propagated: Headers
    ) -> list[TemplateResult] | None:
        """As TemplatesPlan. `propagated` as for `create_message`."""
        if context is not self._context:
            return None
        shared = self._shared.of(source)
        results = []
        for template in templates:
            result = self._templates[template].map(source, shared, propagated)
            if result is None:
                return None
            results.append(result)
        return results


class _SharedHoles:
    """What of an event stands in the outputs of all of its templates."""

    def __init__(self, event: EventName, values: PlanValues, context: MappingContext) -> None:
        self._encoders = ENCODERS[context.encode.output_format]
        self._read_account = values.value(("account", "encodedKey"))
        self._read_repayment: ReadValue | None = None
        if event in REPAYMENT_KEYS:
            self._read_repayment = values.value(REPAYMENT_KEYS[event])

    def of(self, source: ScannedEvent) -> Holes:
        """By their paths."""
        encoders, position, account = self._encoders, source.record.position, self._read_account(source.slots)
        time, account_key = encoders.time(source.time_ms), _utf8(account)
        holes: Holes = {
            "creationDate": time,
            "sendDate": time,
            "at": time,
            "eventId": source.id.encode(),
            "source.topic": encoders.text(position.topic.encode()),
            "source.partition": encoders.long(position.partition),
            "source.offset": encoders.long(position.offset),
            "correlationId": _text(source.correlation_id, encoders),
            "depositAccountKey": account_key,
            "loanAccountKey": account_key,
        }
        if self._read_repayment is not None:
            holes["repaymentKey"] = _utf8(self._read_repayment(source.slots))
        return holes


class _TemplatePlan:
    """The plan of one template."""

    def __init__(self, template: Template, event: EventName, values: PlanValues, context: MappingContext) -> None:
        self._template, self._event, self._context = template, event, context
        self._draft = plan_draft(
            template,
            event,
            values,
            context.draft_rules,
            limit_characters=context.text_limit_characters,
            reissue=context.reissue,
        )
        self._read_kind = values.value(("account", "kind"))
        self._writers: dict[_Variant, tuple[_WriteOutput, _WriteOutput]] = {}  # of message and status
        self._encoders = ENCODERS[context.encode.output_format]
        operation, channel = context.operation, CHANNELS[template.type]
        added: Headers = () if operation is None else operation.headers
        to_message = added if operation is None or channel.is_stream else operation.message_headers
        form = HEADERS[context.encode.output_format]
        self._added, self._added_to_message = (*added, *form), (*to_message, *form)
        self._stream = None
        if channel.is_stream and event in context.output_topics.streams:
            self._stream = _StreamPlan(template, event, context, added)

    def map(self, source: ScannedEvent, shared: Holes, propagated: Headers) -> TemplateResult | None:
        """None: refused."""
        draft = self._draft(source.slots)
        if draft is None:
            return None
        if isinstance(draft, SkippedTemplate):
            return TemplateResult(skipped=draft)
        if draft.suppressed is not None:
            return self._discard(draft, source, propagated)
        return self._create(draft, source, shared, propagated)

    def _create(
        self, draft: PlannedDraft, source: ScannedEvent, shared: Holes, propagated: Headers
    ) -> TemplateResult | None:
        topics, encoders = self._context.output_topics, self._encoders
        key, body = draft.key.encode(), draft.body.encode()
        missing = draft.missing
        holes: Holes = {
            **shared,
            "body": encoders.text(body),
            "encodedKey": key,
            "destination": _text(draft.destination, encoders),
            "failureCause": _text(draft.failure_cause, encoders),
            "subject": _text(draft.subject, encoders),
            "lookupMissing": encoders.array([encoders.text(part.encode()) for part in missing]),
        }
        if draft.key_field is not None:
            holes[draft.key_field] = _utf8(draft.recipient_key)
        write_message, write_status = self._writers_of(draft, source)
        partition = source.record.position.partition
        message = OutRecord(
            topics.messages.name, partition, key, write_message(holes), (*propagated, *self._added_to_message)
        )
        status = OutRecord(topics.status.name, partition, key, write_status(holes), (*propagated, *self._added))
        outputs = [message, status]
        fits = _fits(message, topics.messages) and _fits(status, topics.status)
        if draft.recipient_data is not None:
            outputs.append(self._notify(draft, source, propagated)[1])
            fits = fits and _fits(outputs[-1], topics.notifications)
        if self._stream is not None:
            outputs.append(self._stream.write(draft.key, body, source, propagated))
            fits = fits and _fits(outputs[-1], self._stream.topic)
        if not fits:
            return None  # the template fails
        template = self._template
        planned = PlannedMessage(
            template.id, template.version, template.type, draft.key, source.id, source.time_ms, draft.destination
        )
        return TemplateResult(planned=planned, outputs=tuple(outputs), missing=missing)

    def _writers_of(self, draft: PlannedDraft, source: ScannedEvent) -> tuple[_WriteOutput, _WriteOutput]:
        """Of message and status, with the fields that this one has."""
        variant = draft.key_field, self._read_kind(source.slots), draft.failure_reason
        writers = self._writers.get(variant)
        if writers is None:
            known = MessageVariant(key_field=variant[0], account_kind=variant[1], failure=variant[2])
            args = self._template, self._event, self._context, known, self._context.encode.output_format
            writers = self._writers[variant] = _writer(message_plan(*args)), _writer(status_plan(*args))
        return writers

    def _discard(self, draft: PlannedDraft, source: ScannedEvent, propagated: Headers) -> TemplateResult | None:
        """The Discarded `Message` of a draft that is suppressed."""
        notification, output = self._notify(draft, source, propagated)
        if not _fits(output, self._context.output_topics.notifications):
            return None
        return TemplateResult(
            skipped=draft.suppressed, discarded=notification, outputs=(output,), missing=draft.missing
        )

    def _notify(self, draft: PlannedDraft, source: ScannedEvent, propagated: Headers) -> tuple[Notification, OutRecord]:
        """The `Message` of a draft, by the reference."""
        if draft.recipient_key is None or draft.key_field is None:
            raise InternalError(f"{self._template.id}: a Message without a recipient")
        context, template = self._context, self._template
        fields = {"name": draft.recipient_name, "emailAddress": draft.recipient_email}
        reference = Draft(
            template=template,
            key=draft.key,
            recipient=Recipient(draft.recipient_key, draft.key_field, fields),
            rendered=Rendered(draft.subject, draft.body),
            destination=draft.destination,
            state=draft.state,
            failure_reason=draft.failure_reason,
            failure_cause=draft.failure_cause,
            recipient_data=draft.recipient_data,
            suppressed=draft.suppressed,
        )
        message = Communicationmessage(
            body=draft.body,
            creationDate=source.time_ms,
            destination=draft.destination,
            encodedKey=draft.key,
            subject=draft.subject,
            type=template.type,
        )
        notification = initial_notification(message, reference, source, statuses=context.statuses, actor=context.actor)
        if notification is None:
            raise InternalError(f"{template.id}: reference data without a Message")
        value, _ = context.encode(notification)
        partition = source.record.position.partition
        output = OutRecord(
            context.output_topics.notifications.name, partition, draft.key.encode(), value, (*propagated, *self._added)
        )
        return notification, output


class _StreamPlan:
    """The stream events of one template, for one event."""

    def __init__(self, template: Template, event: EventName, context: MappingContext, added: Headers) -> None:
        stream_format = context.encode.stream_format
        self.topic: OutputTopic = context.output_topics.streams[event]
        self._encoders = ENCODERS[stream_format]
        self._write = _writer(stream_event_plan(template, event, context, stream_format))
        self._added = (*added, *HEADERS[stream_format])

    def write(self, key: EncodedKey, body: bytes, source: ScannedEvent, propagated: Headers) -> OutRecord:
        """A stream has fewer partitions than the events."""
        value = self._write(
            {
                "metadata.eid": eid(key).encode(),
                "metadata.occurred_at": self._encoders.time(source.occurred_at_ms),
                "body": self._encoders.text(body),
            }
        )
        partition = source.record.position.partition % self.topic.partitions
        return OutRecord(self.topic.name, partition, source.ordering_key.encode(), value, (*propagated, *self._added))


def _utf8(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def _text(text: str | None, encoders: ValueEncoders) -> bytes | None:
    return None if text is None else encoders.text(text.encode())


def _fits(output: OutRecord, topic: OutputTopic) -> bool:
    return output.size_bytes <= topic.limit_bytes


def _writer(plan: OutputPlan) -> _WriteOutput:
    """What fills the holes of a plan, each by its path."""
    write, holes = plan.writer(), plan.holes
    if len(holes) > 1 and all(hole.null is None for hole in holes):
        values_of = itemgetter(*[hole.path for hole in holes])
        return lambda values: write(values_of(values))
    fills = [(hole.path, hole.fill) for hole in holes]
    return lambda values: write(tuple([fill(values[path]) for path, fill in fills]))
