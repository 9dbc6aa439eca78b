"""What becomes of scanned events of one name: outputs written from slots. No values of event or message are made. Pure.

slots ── for each template: draft plan ──▶ skipped, or the records of its message ──▶ the results of `map_event`

A plan gives exactly what the reference gives (`map.py`), or nothing: then the reference maps the whole event.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Final, Protocol

from processor.domain.channel import CHANNELS
from processor.domain.ids import eid
from processor.domain.message import SkippedTemplate, State
from processor.domain.outcome import PlannedMessage, TemplateResult
from processor.domain.output_topics import OutputTopic
from processor.domain.reasons import FailureReason
from processor.domain.record import EncodedKey, EventName, Headers, OutRecord, Topic
from processor.domain.template import Template
from processor.mapping.check_plan import plan_contact
from processor.mapping.context import MappingContext
from processor.mapping.decision_plan import DecisionPlan
from processor.mapping.decisions import reasons_to_write
from processor.mapping.draft_plan import PlannedDraft, plan_draft
from processor.mapping.native_event import Notify, NotNativeError, native_event
from processor.mapping.native_outputs import native_outputs
from processor.mapping.notification_plan import NotificationPlan
from processor.mapping.outputs import REPAYMENT_KEYS
from processor.mapping.plan_values import RECIPIENT, Path, PlanValues, Slots
from processor.mapping.planned_outputs import SAME_HOLES, MessageVariant, message_plan, status_plan, stream_event_plan
from processor.mapping.recipient import KeyField
from processor.mapping.scanned_event import ScannedEvent
from processor.native import NativeEvent, NativeOutputs
from processor.wire.encode import HEADERS
from processor.wire.output_plan import OutputPlan
from processor.wire.value_encoders import ENCODERS

Holes = tuple[Any, ...]
"""What stands in the outputs of one event and template, encoded, in the order of _PATHS; None for what it lacks."""

_WriteOutput = Callable[[Holes], bytes]
_WriteValues = Callable[[bytes, PlannedDraft, ScannedEvent, "_SharedHoles"], Sequence[bytes]]
"""Gives message, status and stream event, if there is one, of a draft with its key in UTF-8."""
_Fill = Callable[[bytes | None], bytes]
_Variant = tuple[KeyField | None, str | None, FailureReason | None]

# First what is a template's own, then what stands in the outputs of all templates of an event.
_OWN: Final = ("body", "encodedKey", "destination", "failureCause", "subject", "lookupMissing", "clientKey")
_SHARED: Final = ("at", "eventId", "source.topic", "source.partition", "source.offset", "correlationId")
_PATHS: Final = (*_OWN, *_SHARED, "loanAccountKey", "repaymentKey")
_INDEXES: Final = {path: index for index, path in enumerate(_PATHS)}
_EVENT_PATHS: Final[Mapping[str, Path]] = {  # path of a hole that is a text of the event -> where it is there
    "eventId": ("eventId",),
    "correlationId": ("correlationId",),
    "loanAccountKey": ("account", "encodedKey"),
}
_FILLED: Final = frozenset(("correlationId", "repaymentKey"))
"""Nullable ones that are filled once an event, for all of its templates; the others are filled for each output."""


class EventValues(PlanValues, Protocol):
    """PlanValues that give texts as outputs take them, too."""

    def utf8(self, path: Path) -> Callable[[Slots], bytes | None]:
        """A text that `path` leads to, in UTF-8."""


class EventPlan:
    """The plan of all templates for events of one name, of one writer's schema."""

    def __init__(self, event: EventName, values: EventValues, context: MappingContext) -> None:
        """Takes some milliseconds for each template."""
        self._event, self._values, self._context = event, values, context
        self._shared = _SharedHoles(event, values, context)
        self._decision = DecisionPlan(event, context)
        self._templates = {
            template.id: _TemplatePlan(template, event, values, context)
            for template in context.templates.for_event(event)
        }

    def map_templates(
        self, source: ScannedEvent, templates: Sequence[Template], context: MappingContext, *, propagated: Headers
    ) -> list[TemplateResult] | None:
        """As TemplatesPlan has it. `propagated` as for `create_message`."""
        if context is not self._context:
            return None
        results = []
        for template in templates:
            plan = self._templates[template.id]
            draft = plan.draft(source.slots)
            if draft is None:
                return None
            result: TemplateResult | None
            if isinstance(draft, SkippedTemplate):
                result = TemplateResult(skipped=draft)
            elif draft.suppressed is not None:
                result = plan.discard(draft, source, propagated)
            else:
                result = plan.create(draft, source, self._shared, propagated)
            if result is None:
                return None
            results.append(result)
        return results

    def native_event(self, key_paths: Sequence[Path]) -> NativeEvent | None:
        """What maps an event in C; None: only `map_templates` does. `key_paths`: where its ordering key is."""
        try:
            return native_event(self._event, self._values, self._context, key_paths, self._templates)
        except NotNativeError:
            return None

    def write_decision(
        self,
        source: ScannedEvent,
        skipped: tuple[SkippedTemplate, ...],
        context: MappingContext,
        *,
        propagated: Headers,
    ) -> OutRecord | None:
        """As TemplatesPlan has it."""
        return self._decision.write(source, skipped, propagated=propagated) if context is self._context else None

    def decide(
        self, source: ScannedEvent, skipped: tuple[SkippedTemplate, ...], propagated: Headers
    ) -> tuple[OutRecord, ...] | None:
        """As TemplatesPlan has it."""
        if not reasons_to_write(skipped, self._context):
            return ()
        decision = self._decision.write(source, skipped, propagated=propagated)
        return None if decision is None else (decision,)


class _SharedHoles:
    """What of an event stands in the outputs of all of its templates."""

    def __init__(self, event: EventName, values: EventValues, context: MappingContext) -> None:
        self._event, self._context = event, context
        self._encoders = ENCODERS[context.encode.output_format]
        self._read_id = values.utf8(_EVENT_PATHS["eventId"])
        self._read_correlation = values.utf8(_EVENT_PATHS["correlationId"])
        self._read_account = values.utf8(_EVENT_PATHS["loanAccountKey"])
        self._read_repayment = values.utf8(REPAYMENT_KEYS[event]) if event in REPAYMENT_KEYS else None
        self._places: dict[int, tuple[bytes, bytes]] = {}  # partition -> topic and partition
        self._fills: tuple[_Fill, _Fill | None] | None = None
        self._last: tuple[ScannedEvent, Holes] | None = None
        self._topics: dict[Topic, bytes] = {}

    def topic(self, source: ScannedEvent) -> bytes:
        """The topic of an event, in UTF-8."""
        topic = source.record.position.topic
        utf8 = self._topics.get(topic)
        if utf8 is None:
            utf8 = self._topics[topic] = topic.encode()
        return utf8

    def of(self, source: ScannedEvent, template: Template) -> Holes:
        """The values from those of _SHARED on, to the end of Holes, found once an event. `template` makes a message of
        it: another may have no outputs to be planned, as an inactive one of a stream without a topic."""
        if self._last is None or self._last[0] is not source:
            self._last = source, self._find(source, template)
        return self._last[1]

    def _find(self, source: ScannedEvent, template: Template) -> Holes:
        encoders, slots, position = self._encoders, source.slots, source.record.position
        place = self._places.get(position.partition)
        if place is None:
            place = encoders.text(position.topic.encode()), encoders.long(position.partition)
            self._places[position.partition] = place
        correlation = self._read_correlation(slots)
        repayment = None if self._read_repayment is None else self._read_repayment(slots)
        if self._fills is None:
            self._fills = self._find_fills(template)
        fill_correlation, fill_repayment = self._fills
        return (
            encoders.time(source.time_ms),
            self._read_id(slots),
            *place,
            encoders.long(position.offset),
            fill_correlation(None if correlation is None else encoders.text(correlation)),
            self._read_account(slots),
            None if fill_repayment is None else fill_repayment(repayment),
        )

    def _find_fills(self, template: Template) -> tuple[_Fill, _Fill | None]:
        """How the holes in _FILLED are filled; they are the same of all templates."""
        args = template, self._event, self._context, MessageVariant(), self._context.encode.output_format
        fills = {hole.path: hole.fill for hole in (*message_plan(*args).holes, *status_plan(*args).holes)}
        return fills["correlationId"], fills.get("repaymentKey")


class _TemplatePlan:
    """The plan of one template."""

    def __init__(self, template: Template, event: EventName, values: EventValues, context: MappingContext) -> None:
        self._template, self._event, self._context = template, event, context
        self.draft = plan_draft(
            template,
            event,
            values,
            context.draft_rules,
            limit_characters=context.text_limit_characters,
            reissue=context.reissue,
        )
        self._read_kind = values.value(("account", "kind"))
        self._values = values
        self._writers: dict[_Variant, _WriteValues] = {}
        self._encoders = ENCODERS[context.encode.output_format]
        self._none_missing = self._encoders.array([])
        self._messages, self._status = context.output_topics.messages, context.output_topics.status
        operation, channel = context.operation, CHANNELS[template.type]
        added: Headers = () if operation is None else operation.headers
        to_message = added if operation is None or channel.is_stream else operation.message_headers
        form = HEADERS[context.encode.output_format]
        self._added, self._added_to_message = (*added, *form), (*to_message, *form)
        self._notification = NotificationPlan(template, event, context) if channel.has_notification else None
        self._stream = None
        if channel.is_stream and event in context.output_topics.streams:
            self._stream = _StreamPlan(template, event, context, added)

    def create(
        self, draft: PlannedDraft, source: ScannedEvent, shared: "_SharedHoles", propagated: Headers
    ) -> TemplateResult | None:
        """The message of a draft, and its records; None: refused, one of them does not fit."""
        key, partition, missing = draft.key.encode(), source.record.position.partition, draft.missing
        values = self._writer_of(draft, source)(key, draft, source, shared)
        to_message, to_status = propagated + self._added_to_message, propagated + self._added
        message = OutRecord(self._messages.name, partition, key, values[0], to_message)
        status = OutRecord(self._status.name, partition, key, values[1], to_status)
        if message.size_bytes > self._messages.limit_bytes or status.size_bytes > self._status.limit_bytes:
            return None  # the template fails
        outputs: tuple[OutRecord, ...] = (message, status)
        if self._notification is not None and draft.recipient_data is not None:
            outputs = (*outputs, self._notification.write(draft, source, propagated=propagated))
            if not _fits(outputs[-1], self._context.output_topics.notifications):
                return None
        if self._stream is not None:
            outputs = (*outputs, self._stream.record(values[2], source, propagated))
            if not _fits(outputs[-1], self._stream.topic):
                return None
        template = self._template
        destination = draft.destination if self._stream is None else self._stream.topic.name
        planned = PlannedMessage(
            template.id, template.version, template.type, draft.key, source.id, source.time_ms, destination
        )
        return TemplateResult(planned=planned, outputs=outputs, missing=missing)

    def _write_natively(
        self, outputs: NativeOutputs, key: bytes, draft: PlannedDraft, source: ScannedEvent, shared: "_SharedHoles"
    ) -> Sequence[bytes]:
        """Message, status and stream event by C."""
        missing, position = draft.missing, source.record.position
        return outputs.write(
            source.slots,
            key,
            draft.body,
            draft.subject,
            draft.destination,
            draft.failure_cause,
            self._encode_missing(missing) if missing else self._none_missing,
            draft.recipient_key,
            shared.topic(source),
            source.time_ms,
            0 if self._stream is None else source.occurred_at_ms,
            position.partition,
            position.offset,
        )

    def _encode_missing(self, missing: Sequence[str]) -> bytes:
        return self._encoders.array([self._encoders.text(part.encode()) for part in missing])

    def _write_holes(
        self,
        write_message: _WriteOutput,
        write_status: _WriteOutput,
        key: bytes,
        draft: PlannedDraft,
        source: ScannedEvent,
        shared: "_SharedHoles",
    ) -> Sequence[bytes]:
        """Message, status and stream event."""
        encoders, missing = self._encoders, draft.missing
        body, text_or_null = draft.body.encode(), encoders.text_or_null
        holes: Holes = (
            encoders.text(body),
            key,
            None if self._stream is not None else text_or_null(draft.destination),
            text_or_null(draft.failure_cause),
            text_or_null(draft.subject),
            self._encode_missing(missing) if missing else self._none_missing,
            None if draft.recipient_key is None else draft.recipient_key.encode(),
            *shared.of(source, self._template),
        )
        values = write_message(holes), write_status(holes)
        return values if self._stream is None else (*values, self._stream.write(draft.key, body, source))

    def _writer_of(self, draft: PlannedDraft, source: ScannedEvent) -> _WriteValues:
        """For outputs with the fields that this one has."""
        variant = draft.key_field, self._read_kind(source.slots), draft.failure_reason
        writer = self._writers.get(variant)
        if writer is None:
            writer = self._writers[variant] = self._make_writer(
                MessageVariant(key_field=variant[0], account_kind=variant[1], failure=variant[2])
            )
        return writer

    def _make_writer(self, variant: MessageVariant) -> _WriteValues:
        native = self.native_outputs(variant)
        if native is not None:
            return partial(self._write_natively, native)
        message, status = self._plan_outputs(variant)
        return partial(self._write_holes, _write_holes(message), _write_holes(status))

    def native_outputs(self, variant: MessageVariant) -> NativeOutputs | None:
        """What writes message, status and stream event in C; None where that does not run plans, or where a text of the
        event that they have is not that of a slot."""
        native = self._values.native
        if native is None:
            return None
        plans = self._plan_outputs(variant)
        paths = {**_EVENT_PATHS, "repaymentKey": REPAYMENT_KEYS.get(self._event, ())}
        return native_outputs(
            plans if self._stream is None else (*plans, self._stream.plan), paths, self._values, native
        )

    def notify(self, values: PlanValues, key_field: KeyField) -> Notify | None:
        """What writes the `Message` to a recipient, to whose fields `values` leads; None for a channel without one."""
        notification, encode_missing = self._notification, self._encode_missing
        if notification is None:
            return None
        find_contact = plan_contact(self._template, self._event, values, self._context.draft_rules)
        read_id = values.value(("eventId",))
        read_name, read_email = values.value((RECIPIENT, "name")), values.value((RECIPIENT, "emailAddress"))
        none_missing = self._none_missing

        def notify(
            slots: Slots, key: str, recipient: str, text: tuple[str | None, str], destination: str, time_ms: int
        ) -> tuple[tuple[str, ...], bytes, bytes] | None:
            data = find_contact(slots, recipient)
            if data is None:
                return None
            draft = PlannedDraft(
                EncodedKey(key),
                recipient,
                key_field,
                *text,
                destination,
                State.QUEUED,
                recipient_data=data,
                recipient_name=read_name(slots),
                recipient_email=read_email(slots),
            )
            missing = draft.missing
            value = notification.write_value(draft, read_id(slots), time_ms)
            return missing, encode_missing(missing) if missing else none_missing, value

        return notify

    def _plan_outputs(self, variant: MessageVariant) -> tuple[OutputPlan, OutputPlan]:
        """Message and status."""
        args = self._template, self._event, self._context, variant, self._context.encode.output_format
        return message_plan(*args), status_plan(*args)

    def discard(self, draft: PlannedDraft, source: ScannedEvent, propagated: Headers) -> TemplateResult | None:
        """The Discarded `Message` of a draft that is suppressed."""
        assert self._notification is not None  # else nothing is suppressed
        output = self._notification.write(draft, source, propagated=propagated)
        if not _fits(output, self._context.output_topics.notifications):
            return None
        return TemplateResult(skipped=draft.suppressed, outputs=(output,), missing=draft.missing)


class _StreamPlan:
    """The stream events of one template, for one event."""

    def __init__(self, template: Template, event: EventName, context: MappingContext, added: Headers) -> None:
        stream_format = context.encode.stream_format
        self.topic: OutputTopic = context.output_topics.streams[event]
        self._encoders = ENCODERS[stream_format]
        self.plan = stream_event_plan(template, event, context, stream_format)
        self._write = self.plan.writer()
        self._added = (*added, *HEADERS[stream_format])

    def write(self, key: EncodedKey, body: bytes, source: ScannedEvent) -> bytes:
        """The value of one."""
        return self._write((eid(key).encode(), self._encoders.time(source.occurred_at_ms), self._encoders.text(body)))

    def record(self, value: bytes, source: ScannedEvent, propagated: Headers) -> OutRecord:
        """A stream has fewer partitions than the events."""
        partition = source.record.position.partition % self.topic.partitions
        return OutRecord(self.topic.name, partition, source.record.key, value, propagated + self._added)


def _fits(output: OutRecord, topic: OutputTopic) -> bool:
    return output.size_bytes <= topic.limit_bytes


def _write_holes(plan: OutputPlan) -> _WriteOutput:
    """As `OutputPlan.filler`, from Holes instead of a dict, which would take longer to make for each message."""
    write = plan.writer()
    indexes = [_INDEXES[SAME_HOLES.get(hole.path, hole.path)] for hole in plan.holes]
    if all(hole.null is None or hole.path in _FILLED for hole in plan.holes):
        values_of = itemgetter(*indexes)  # there are always several
        return lambda values: write(values_of(values))
    fills = [None if hole.path in _FILLED else hole.fill for hole in plan.holes]
    pairs = list(zip(indexes, fills, strict=True))
    return lambda values: write(
        tuple([values[index] if fill is None else fill(values[index]) for index, fill in pairs])
    )
