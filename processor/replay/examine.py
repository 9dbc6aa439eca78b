"""What became of each event of a range: one pass over the outputs of its partition.

Nothing is written, and the group is not touched. What cannot be proven is refused, or named: an event is made up for
only where it is certain that it had no outcome.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from processor.domain.outcome import SourceOutcome
from processor.domain.output_topics import FixedOutput
from processor.domain.record import SourceRecord
from processor.engine.output_scan import OnProgress, OutcomeReader
from processor.errors import DeferredSchemaError, InputError
from processor.kafka.clients import Admin
from processor.mapping.context import MappingContext
from processor.replay.anchor import find_begin
from processor.replay.event_range import EventRange
from processor.replay.event_reader import read_events, spans
from processor.replay.index_outcomes import OutcomeIndexer
from processor.replay.outcome_index import OutcomeIndex
from processor.replay.request import ReplayRequest
from processor.settings import InputTopic, Settings
from processor.wire.decode import DecodeFailure, decode
from processor.wire.schema import SchemaOf

_READING_ORDER: Final = (FixedOutput.DECISIONS, FixedOutput.DEAD_LETTERS, FixedOutput.STATUS)
"""As OutcomeIndexer takes them."""

SAMPLE_INTERVAL_OFFSETS: Final = 10_000
"""One event with an outcome in so many is read and compared with what its outcome says."""


@dataclass(frozen=True, slots=True)
class PartitionParts:
    """What an operation reads the past of one partition with. `schema_of` gives writer schemas, and may block."""

    settings: Settings
    admin: Admin
    context: MappingContext
    schema_of: SchemaOf
    outputs: OutcomeReader


@dataclass(frozen=True, slots=True)
class Examination:
    """What became of the events of a range. `shortened` outputs name only some of their templates: the records of these
    count as having all their outcomes."""

    events: EventRange
    index: OutcomeIndex
    shortened: int


def examine(
    parts: PartitionParts,
    events: EventRange,
    request: ReplayRequest,
    *,
    time_ms: int,
    on_progress: OnProgress | None = None,
) -> Examination:
    """Read what became of `events`, the first of which was written at `time_ms`, as far as `request` needs it. Blocks.

    Raises InputError when the outputs do not prove it: they are kept too short, one of them cannot be read, or they are
    those of another log. UnavailableError and AuthorizationError as OutcomeReader.
    """
    index = OutcomeIndex(events.first, events.end)
    begin = find_begin(parts.outputs, events.first, time_ms=time_ms)
    operation = parts.context.operation
    indexer = OutcomeIndexer(
        index,
        request.scope.include_decided,
        reissue=request.reissue,
        operation=None if operation is None else operation.id,
    )
    samples = _Samples(events)
    offsets = {topic: begin.offsets[topic] for topic in map(parts.settings.topic, _READING_ORDER)}
    with closing(parts.outputs.outcomes_from(offsets, on_progress=on_progress)) as outcomes:
        for outcome in outcomes:
            indexer.add(outcome)
            samples.add(outcome)
    _compare_samples(parts, events, samples)
    return Examination(events, index, indexer.shortened)


def first_record(parts: PartitionParts, events: EventRange) -> SourceRecord | None:
    """The first record of the range; None where it has none. Blocks."""
    records = read_events(parts.settings, events.partition, [range(events.first, events.end)], lambda _offset: True)
    with closing(records):
        return next(records, None)


class _Samples:
    """Event ids by offset: of the first outcome that names one in each stretch of the range, and of the last of all."""

    def __init__(self, events: EventRange) -> None:
        self._events = events
        self._first_of_stretch: dict[int, SourceOutcome] = {}
        self._last: SourceOutcome | None = None

    def add(self, outcome: SourceOutcome) -> None:
        offset = outcome.source.offset
        if outcome.event_id is None or not self._events.first <= offset < self._events.end:
            return
        stretch = (offset - self._events.first) // SAMPLE_INTERVAL_OFFSETS
        known = self._first_of_stretch.get(stretch)
        if known is None or offset < known.source.offset:
            self._first_of_stretch[stretch] = outcome
        if self._last is None or offset > self._last.source.offset:
            self._last = outcome

    @property
    def id_by_offset(self) -> dict[int, str]:
        """In the order of the offsets."""
        samples = [*self._first_of_stretch.values(), *([self._last] if self._last is not None else [])]
        return dict(sorted((sample.source.offset, sample.event_id or "") for sample in samples))


def _compare_samples(parts: PartitionParts, events: EventRange, samples: _Samples) -> None:
    """Raise InputError where an event is not the one of which the outputs were made."""
    expected = samples.id_by_offset
    for record in _read_at(parts, events, expected):
        offset = record.position.offset
        event_id = _event_id(parts, record)
        if event_id is not None and event_id != expected[offset]:
            raise _other_log(record.position.topic, events.partition, offset, f"is event {event_id!r}")
        del expected[offset]
    if expected:
        topic = parts.settings.topic(InputTopic.EVENTS)
        raise _other_log(topic, events.partition, next(iter(expected)), "is no record")


def _read_at(parts: PartitionParts, events: EventRange, offsets: dict[int, str]) -> Iterator[SourceRecord]:
    wanted = frozenset(offsets)
    ranges = list(spans(events, wanted.__contains__))
    yield from read_events(parts.settings, events.partition, ranges, wanted.__contains__)


def _event_id(parts: PartitionParts, record: SourceRecord) -> str | None:
    """None for a record that cannot be read today: its schema may be gone."""
    if not record.value:
        return None
    context = parts.context
    try:
        event = decode(
            record, schemas=context.schemas, schema_of=parts.schema_of, max_event_bytes=context.max_event_bytes
        )
    except DeferredSchemaError:
        return None
    return None if isinstance(event, DecodeFailure) else event.id


def _other_log(topic: str, partition: int, offset: int, what: str) -> InputError:
    return InputError(
        f"{topic}[{partition}]@{offset} {what}, and the outputs name another event there: they are of another log",
        hint="was the topic created again, or mirrored? Take a range of which the outputs were made, with --offsets",
    )
