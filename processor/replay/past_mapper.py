"""What a past operation makes of an event: only what it is missing, and nothing that the event has elsewhere.

record ── in the time? ── decode ── selected? ── templates to apply? ── id or message elsewhere? ──▶ map_event
"""

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Protocol

import structlog

from processor.domain.event import SourceEvent
from processor.domain.outcome import Deferred, Processed, Rejected
from processor.domain.record import EventName, SourceRecord, TemplateId
from processor.errors import FatalError, InternalError, UnavailableError
from processor.mapping.already_created import skip_created_event
from processor.mapping.context import MappingContext
from processor.mapping.decode_record import decode_record
from processor.mapping.map import combine_results, map_event
from processor.mapping.rejections import error_place, reject_for_error
from processor.replay.event_ids import EventIds, EventMessages
from processor.replay.selection import Selection
from processor.wire.schema import SchemaOf

log = structlog.get_logger()


class NothingToPublish(StrEnum):
    """Why an operation publishes nothing for an event that it has read."""

    HAS_OUTCOMES = "HAS_OUTCOMES"  #: It has one of each template that is looked at.
    OUTSIDE_TIME = "OUTSIDE_TIME"  #: Its offset lies in the range of time, its own time does not.
    NOT_SELECTED = "NOT_SELECTED"  #: It is another event, of another client or account, or has none of the templates.
    SAME_DECISION = "SAME_DECISION"  #: What was decided would be decided once more.
    DEFERRED = "DEFERRED"  #: The registry refuses its schema, and serves others: it stays as it is.
    EXPIRED = "EXPIRED"  #: Its dead letter had no room for its bytes, and the events have them no longer, or others.
    OTHER_TENANT = "OTHER_TENANT"  #: It was mapped for this tenant, and is another's by PROCESSOR_TENANT now.
    OF_RUN = "OF_RUN"  #: The group's position was set back to before it, so that `run` comes to it again.
    TEMPLATE_GONE = "TEMPLATE_GONE"  #: Today's templates have none of those that failed for it.


class TemplatesToApply(Protocol):
    """Says for each offset of a range which of today's templates are to be applied to its event."""

    @property
    def is_limited(self) -> bool:
        """Whether an operator names the templates that are looked at."""

    def may_miss(self, offset: int) -> bool:
        """Whether the event at `offset` has to be read."""

    def has_any(self, offset: int) -> bool:
        """Whether the event at `offset` has any outcome."""

    def of_event(self, offset: int, event: EventName) -> frozenset[TemplateId]:
        """The templates to be applied to `event`, the event at `offset`."""

    def decided(self, offset: int) -> frozenset[TemplateId]:
        """Those whose decision is reviewed: what they decide once more is no change."""


class PastMapper:
    """Maps the events of one partition, in the order of their offsets."""

    def __init__(
        self,
        context: MappingContext,
        *,
        schema_of: SchemaOf,
        selection: Selection,
        templates: TemplatesToApply,
        event_ids: EventIds,
        messages: EventMessages,
    ) -> None:
        """`event_ids` is for events without an outcome, `messages` for further templates of the others."""
        self._context = context
        self._schema_of = schema_of
        self._selection = selection
        self._templates = templates
        self._event_ids = event_ids
        self._messages = messages

    def map(self, record: SourceRecord) -> Processed | Rejected | NothingToPublish:
        """What the operation publishes for `record`, or why that is nothing.

        May block in `schema_of`; raises UnavailableError when the registry does not respond, and what the reference
        tables raise.
        """
        if not self._selection.includes_time(record.timestamp_ms):
            return NothingToPublish.OUTSIDE_TIME
        outcome = map_or_reject(record, self._map, self._context)
        if isinstance(outcome, Processed):
            self._messages.add(outcome)
        return outcome

    def _map(self, record: SourceRecord, context: MappingContext) -> Processed | Rejected | NothingToPublish:
        decoded = decode_now(record, context, schema_of=self._schema_of)
        match decoded:
            case SourceEvent():
                return self._map_event(decoded)
            case NothingToPublish():
                return decoded
            case _:
                return self._whole_record(decoded)

    def _whole_record(self, outcome: Processed | Rejected) -> Processed | Rejected | NothingToPublish:
        """The outcome of a record without an event to be mapped, which stands for all templates."""
        if self._templates.has_any(outcome.record.position.offset):
            return NothingToPublish.HAS_OUTCOMES
        if self._selection.looks_into_events or self._templates.is_limited:
            return NothingToPublish.NOT_SELECTED
        return outcome

    def _map_event(self, source: SourceEvent) -> Processed | NothingToPublish:
        if not self._selection.includes(source):
            return NothingToPublish.NOT_SELECTED
        offset = source.record.position.offset
        templates = self._templates.of_event(offset, source.name)
        if self._templates.has_any(offset):
            if not templates:
                return NothingToPublish.HAS_OUTCOMES
            return self._publish_changes(source, templates)
        if not templates and (self._templates.is_limited or self._context.templates.for_event(source.name)):
            return NothingToPublish.NOT_SELECTED
        return self._map_new(source, templates)

    def _map_new(self, source: SourceEvent, templates: frozenset[TemplateId]) -> Processed:
        """The outcome of an event without any; NO_TEMPLATE where there are no templates."""
        duplicate_of = self._event_ids.duplicate_of(source)
        found_at = self._event_ids.found_at(source)
        if duplicate_of is None and found_at is not None:
            outcome = skip_created_event(source, self._context, found_at=found_at)
        else:
            only = templates or None
            outcome = map_event(source, self._context, suspended=frozenset(), duplicate_of=duplicate_of, only=only)
        self._event_ids.remember(source)
        return outcome

    def _publish_changes(self, source: SourceEvent, templates: frozenset[TemplateId]) -> Processed | NothingToPublish:
        """The outcome of further templates of an event; without what was decided already, and is decided once more.
        One that has made its message of another record of the event is ALREADY_CREATED."""
        existing = self._messages.existing(source, templates)
        only = templates.difference(existing)
        outcome = map_event(source, self._context, suspended=frozenset(), duplicate_of=None, only=only)
        reviewed = self._templates.decided(source.record.position.offset)
        skipped = [self._messages.skip(source, template, self._context) for template in existing]
        results = [
            result
            for result in (*outcome.results, *skipped)
            if result.skipped is None or result.skipped.templateId not in reviewed
        ]
        if not results:
            return NothingToPublish.SAME_DECISION
        return outcome if list(outcome.results) == results else combine_results(source, self._context, results)


def decode_now(
    record: SourceRecord, context: MappingContext, *, schema_of: SchemaOf
) -> SourceEvent | Processed | Rejected | NothingToPublish:
    """What `decode_record` gives, for an operation that waits for no schema: DEFERRED where the registry refuses this
    one and serves others, UnavailableError where it does not respond."""
    decoded = decode_record(record, context, schema_of=schema_of)
    if not isinstance(decoded, Deferred):
        return decoded
    if not decoded.schema_refused:
        raise UnavailableError(decoded.cause)
    return NothingToPublish.DEFERRED


_Outcome = Processed | Rejected | NothingToPublish


def map_or_reject(
    record: SourceRecord, map_record: Callable[[SourceRecord, MappingContext], _Outcome], context: MappingContext
) -> _Outcome:
    """What `map_record` makes of the record and `context`; where it raises twice, a dead letter, as in `run`.

    The second time it gets a context without plans. Raises what a dependency raises.
    """
    try:
        return map_record(record, context)
    except Exception as error:
        if is_of_a_dependency(error):
            raise
        log.warning("mapping retried after error", position=str(record.position), error=error_place(error))
    try:
        return map_record(record, replace(context, plans=None))  # the fault may be a plan's
    except Exception as error:
        if is_of_a_dependency(error):
            raise
        # Neither the error's text nor `log.exception`: either may quote the event.
        fields = {"position": str(record.position), "error": error_place(error)}
        log.error("mapping raised an error", **fields)  # noqa: TRY400
        return reject_for_error(record, None, context, error)


def is_of_a_dependency(error: Exception) -> bool:
    """Whether it says nothing of the record: it would be raised for any."""
    return isinstance(error, UnavailableError) or (
        isinstance(error, FatalError) and not isinstance(error, InternalError)
    )
