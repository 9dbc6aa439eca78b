"""Which events are known all the same, or have a message: their event id is that of another record."""

from collections.abc import Callable, Mapping

from processor.domain.event import SeenEvent, SourceEvent, identity_of
from processor.domain.operation import OperationId
from processor.domain.outcome import Processed, TemplateResult
from processor.domain.record import RecordPosition, TemplateId, Topic
from processor.engine.deduplication import DeduplicationWindow
from processor.mapping.already_created import skip_created_template
from processor.mapping.context import MappingContext
from processor.replay.event_offsets import EventOffsets
from processor.replay.known_events import KnownAt, MessageAt, Messages


class EventIds:
    """The ids of one partition's events, met in the order of their offsets.

    An operation that goes on after it was killed finds what it found before: what it has written itself counts as an
    event that it has met, not as one that was known elsewhere.
    """

    def __init__(
        self,
        known: Mapping[str, KnownAt],
        offsets: EventOffsets,
        window: DeduplicationWindow,
        *,
        tenant: str,
        place: tuple[Topic, int],
        operation: OperationId | None,
    ) -> None:
        """`known` are the ids with an outcome at another offset, `offsets` those that were searched for, of which none
        has got its outcome yet; `window` is empty; `place` is topic and partition of the events; `operation` is the one
        that goes on."""
        self._window = window
        self._place = place
        self._offsets = offsets
        own = [(at, event_id) for event_id, at in known.items() if operation is not None and at.operation == operation]
        for at, event_id in sorted(own, key=lambda item: item[0].offset):
            offsets.note_outcome(event_id, at.offset)
            window.remember(SeenEvent(at.offset, at.time_ms, identity_of(tenant, event_id)))
        self._elsewhere = {
            event_id: at.offset for event_id, at in known.items() if offsets.outcome_offset(event_id) is None
        }

    def duplicate_of(self, source: SourceEvent) -> RecordPosition | None:
        """The first event before `source` that has its id, among those that were met and within the window."""
        offset = self._window.first_seen(source.seen)
        return None if offset is None else self._position(offset)

    def found_at(self, source: SourceEvent) -> RecordPosition | None:
        """Another record with the id of `source`, wherever it lies, that has or gets the outcome of the event."""
        event_id, offset = source.id, source.record.position.offset
        other = self._elsewhere.get(event_id, self._offsets.outcome_offset(event_id))
        return None if other is None or other == offset else self._position(other)

    def remember(self, source: SourceEvent) -> None:
        """`source` has got its outcome. What none of the events behind it can be a duplicate of is forgotten."""
        offset = source.record.position.offset
        self._offsets.note_outcome(source.id, offset)
        self._window.remember(source.seen)
        self._window.forget_before(offset)

    def _position(self, offset: int) -> RecordPosition:
        return RecordPosition(self._place[0], self._place[1], offset)


class EventMessages:
    """The messages that events have by whichever of their records: nobody gets one for another record of the event."""

    def __init__(self, messages: Messages, is_kept: Callable[[str], bool]) -> None:
        """`messages` are those that exist; what is made meanwhile is added where `is_kept(event_id)`."""
        self._messages = messages
        self._is_kept = is_kept

    def existing(self, source: SourceEvent, templates: frozenset[TemplateId]) -> list[TemplateId]:
        """Those of `templates` that have made their message of the event, in order."""
        return [template for template in sorted(templates) if (source.id, template) in self._messages]

    def skip(self, source: SourceEvent, template: TemplateId, context: MappingContext) -> TemplateResult:
        """The result of one of them: ALREADY_CREATED, with the message's place and key."""
        message = self._messages[source.id, template]
        found_at = source.record.position._replace(offset=message.offset)
        return skip_created_template(template, context, version=None, key=message.key, found_at=found_at)

    def add(self, outcome: Processed) -> None:
        """Note what an outcome creates. To be called once it is sure to be published."""
        for created in outcome.messages:
            if self._is_kept(created.event_id):
                message = MessageAt(outcome.record.position.offset, created.encoded_key)
                self._messages.setdefault((created.event_id, created.template_id), message)
