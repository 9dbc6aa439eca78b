"""The dead letters of an events partition: what each is about, and whether what it lacks was made since.

There is no mark and no state of its own: a dead letter is done when the outputs say so. Of the records with one source
the newest counts. "Later" is by Kafka timestamps, the one order that holds between topics: so hosts whose clocks differ
by more than the time between two passes over a record can make a dead letter look open that is done, or the reverse.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple, TypeVar

from confluent_kafka import Message

from processor.domain.message import DeadLetter
from processor.domain.outcome import DecisionOutcome, SourceOutcome, StatusOutcome
from processor.domain.output_topics import FixedOutput
from processor.domain.reasons import Reason, TemplateReason
from processor.domain.record import (
    LAST_TIME_MS,
    NO_TIME_MS,
    EventName,
    RecordPosition,
    SourceRecord,
    TemplateId,
    Topic,
)
from processor.engine.output_scan import PROGRESS_INTERVAL_OFFSETS, OnProgress, OutcomeReader, WrittenOutcome
from processor.kafka.clients import Admin, create_admin, headers_of
from processor.kafka.errors import exit_on_broker_errors
from processor.kafka.offsets import partition_extent
from processor.kafka.read_range import open_reader, read_range
from processor.replay.event_range import EventRange
from processor.replay.event_reader import spans
from processor.replay.output_access import (
    blocking_schema_of,
    exit_when_unavailable,
    partition_counts,
    require_partition,
)
from processor.settings import InputTopic, Settings
from processor.wire.dead_letter import dead_letter_outcome, omitted_value_bytes, read_dead_letter
from processor.wire.event_json import event_json
from processor.wire.reader_schemas import Schemas

PARKED_ATTEMPTS: Final = 5  # from which on a dead letter is left alone, unless somebody names it
READ_HINT: Final = "grant DESCRIBE and READ on the dead letters' topic, and on the events and the other outputs"


class DeadLetterState(StrEnum):
    """Where a dead letter stands."""

    OPEN = "open"  #: A template that it lists, or the record, has no later outcome.
    PARKED = "parked"  #: The same, after PARKED_ATTEMPTS attempts or more.
    DONE = "done"  #: All that it lists has a later outcome.


class FailedPair(NamedTuple):
    """A template that failed, and why."""

    template: TemplateId
    reason: TemplateReason


class OlderFailure(NamedTuple):
    """A template that an older dead letter of the same source lists, written at `written_ms`, and the newest does not:
    a redrive or a replay of other templates has failed since."""

    failed: FailedPair
    written_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterEntry:
    """What is kept in memory of a dead letter: some 400 bytes, equal texts once.

    `partition` and `offset` are on the topic of dead letters, `written_ms` is when it was written there. `source` is
    the record that it is about, None where that cannot be read; `is_of_events`: a record of the events, not one of
    another topic, whose outputs say nothing of it. `time_ms` is the source's time; where that is none, when the dead
    letter was written. `reason` is None where the headers cannot be read, OTHER for one of a newer version.

    `failed` are the templates it lists, none for a record that is rejected as a whole; where a past operation rejected
    a record of which templates had failed, it is these that it still lacks. Where they had no room
    (`is_complete` is false) others failed too, so it is never done. `older` are those that only an older dead letter of
    the source lists. `open_failed` are those of both without a later outcome.
    `value_bytes` is the length of a value that the
    dead letter had to leave out; None: it holds it.
    """

    partition: int
    offset: int
    written_ms: int
    source: RecordPosition | None
    is_of_events: bool
    time_ms: int
    reason: Reason | None
    failed: tuple[FailedPair, ...] = ()
    is_complete: bool = True
    is_of_operation: bool = False
    attempts: int = 1
    event: EventName | None = None
    set_version: str | None = None
    value_bytes: int | None = None
    state: DeadLetterState = DeadLetterState.OPEN
    older: tuple[OlderFailure, ...] = ()
    open_failed: tuple[FailedPair, ...] = ()

    @property
    def listed(self) -> tuple[FailedPair, ...]:
        """The templates that it lists, and those that only older ones list."""
        return (*self.failed, *(older.failed for older in self.older)) if self.older else self.failed

    @property
    def needs_attention(self) -> bool:
        """Whether it is not done."""
        return self.state is not DeadLetterState.DONE


@dataclass(frozen=True, slots=True)
class StoredDeadLetter:
    """A dead letter with its bytes. `letter` is None where its headers cannot be read, and `error` says why.

    `record` is its source as `run` read it; of a dead letter that cannot be read, the record as it lies there.
    """

    entry: DeadLetterEntry
    record: SourceRecord
    letter: DeadLetter | None
    error: str = ""

    @property
    def reason(self) -> str:
        """The reason's code; empty where it cannot be read."""
        return "" if self.letter is None else self.letter.reason.value

    @property
    def detail(self) -> str:
        """What is wrong, in words; of a newer version's with its word in front."""
        return self.error if self.letter is None else self.letter.detail


# ---------------------------------------------------------------------------------------------------------------------
# For commands: what cannot be read ends them


def list_dead_letters(
    settings: Settings, schemas: Schemas, partitions: Collection[int] = (), *, on_progress: OnProgress | None = None
) -> tuple[DeadLetterEntry, ...]:
    """The dead letters of `partitions`, none: of all that the events have, with their states. Blocks while it reads.

    Raises UsageError for a partition that there is not, TopicConfigError for topics that are missing or too small,
    DependencyError when broker or registry do not respond, AuthorizationError when they refuse.
    """
    admin = create_admin(settings)
    schema_of = blocking_schema_of(settings, schemas)
    entries: list[DeadLetterEntry] = []
    with exit_on_broker_errors(settings, admin, hint=READ_HINT), exit_when_unavailable(settings):
        counts = partition_counts(admin, settings)
        wanted = sorted(set(partitions)) or range(counts[settings.topic(InputTopic.EVENTS)])
        for partition in wanted:
            require_partition(settings, counts, partition)
        for partition in wanted:
            outputs = OutcomeReader(settings, schemas, partition, schema_of=schema_of, admin=admin)
            entries += read_dead_letters(settings, partition, outputs, admin=admin, on_progress=on_progress)
    return tuple(entries)


def fetch_dead_letters(settings: Settings, entries: Iterable[DeadLetterEntry]) -> Iterator[StoredDeadLetter]:
    """The same with their bytes, partition by partition, one at a time; raises as `list_dead_letters`."""
    by_partition: dict[int, list[DeadLetterEntry]] = {}
    for entry in entries:
        by_partition.setdefault(entry.partition, []).append(entry)
    admin = create_admin(settings)
    with exit_on_broker_errors(settings, admin, hint=READ_HINT), exit_when_unavailable(settings):
        for partition, of_partition in sorted(by_partition.items()):
            yield from read_stored(settings, partition, of_partition)


def event_text_of(settings: Settings, schemas: Schemas) -> Callable[[StoredDeadLetter], str | None]:
    """How the value of a dead letter becomes JSON for people (`event_json`); None where its bytes give none.

    May wait for a schema; DependencyError when the registry does not respond.
    """
    schema_of = blocking_schema_of(settings, schemas)

    def event_text(stored: StoredDeadLetter) -> str | None:
        record = stored.record
        return event_json(record.value, record.headers, schemas=schemas, schema_of=schema_of) if record.value else None

    return event_text


# ---------------------------------------------------------------------------------------------------------------------
# What there is, and its state


def read_dead_letters(
    settings: Settings,
    partition: int,
    outputs: OutcomeReader,
    *,
    admin: Admin,
    on_progress: OnProgress | None = None,
    strict: bool = False,
) -> tuple[DeadLetterEntry, ...]:
    """The newest dead letter of each source in a partition, in the order in which they were written, with its state.
    `outputs` are those of the same partition.

    Reads the partition's dead letters from their begin, then statuses and decisions from the oldest of them on, up to
    the ends of now; open transactions are waited for, 30 s without progress at most. Keeps nothing but the entries.
    An output that cannot be read is ignored and logged, so what it stands for may look open; if `strict`, it is an
    InputError. Blocks; raises UnavailableError when nothing comes or the broker does not respond, AuthorizationError
    when it refuses.
    """
    entries = newest_entries(_read_entries(settings, partition, admin, on_progress))
    oldest_ms = min((entry.written_ms for entry in entries if entry.is_of_events), default=None)
    if oldest_ms is None:
        return with_states(entries, ())
    topics = {settings.topic(output) for output in (FixedOutput.STATUS, FixedOutput.DECISIONS)}
    begins = {topic: offset for topic, offset in outputs.offsets_at(oldest_ms).items() if topic in topics}
    with closing(outputs.written_from(begins, on_progress=on_progress, strict=strict)) as written:
        return with_states(entries, written)


def newest_entries(entries: Iterable[DeadLetterEntry]) -> tuple[DeadLetterEntry, ...]:
    """The last entry of each source, in the order of their offsets; entries without a source are all kept.

    One that lists templates takes over what only its predecessors list, so that nothing that failed is forgotten.
    """
    newest: dict[RecordPosition | int, DeadLetterEntry] = {}
    for entry in entries:
        key: RecordPosition | int = entry.offset if entry.source is None else entry.source
        before = newest.pop(key, None)  # a dict keeps the place of a key that is set again
        newest[key] = entry if before is None else _with_older(entry, before)
    return tuple(newest.values())


def _with_older(entry: DeadLetterEntry, before: DeadLetterEntry) -> DeadLetterEntry:
    """`entry` with what only the dead letter before it lists; a rejected record has all templates anyway, but for one
    that an operation tried for those that had failed: it had its outcome of the others."""
    if entry.is_of_operation and not entry.failed and entry.time_ms == before.time_ms:  # the same record, not its log's
        return replace(entry, failed=before.failed, is_complete=before.is_complete, older=before.older)
    listed = {failed.template for failed in entry.failed}
    older = (*before.older, *(OlderFailure(failed, before.written_ms) for failed in before.failed))
    kept = tuple(failure for failure in older if listed and failure.failed.template not in listed)
    return replace(entry, older=kept) if kept else entry


def with_states(entries: Iterable[DeadLetterEntry], written: Iterable[WrittenOutcome]) -> tuple[DeadLetterEntry, ...]:
    """The entries, one for each source, with the states that follow from the outputs, whatever the order of those."""
    entries = tuple(entries)
    by_offset = {entry.source.offset: entry for entry in entries if entry.is_of_events and entry.source is not None}
    covered: dict[int, int] = {}  # source offset -> a bit for each template listed, in their order, or one for all
    for time_ms, outcome in written:
        offset = outcome.source.offset
        entry = by_offset.get(offset)
        if entry is not None:
            covered[offset] = covered.get(offset, 0) | _covers(entry, time_ms, outcome)
    return tuple(
        replace(entry, state=_state(entry, covered), open_failed=_open_failed(entry, covered)) for entry in entries
    )


def _covers(entry: DeadLetterEntry, time_ms: int, outcome: SourceOutcome) -> int:
    """Which of the templates that a dead letter lists `outcome`, written at `time_ms`, is about: a bit each, then those
    of older ones; of a rejected record the one. Only what was written after a template failed counts."""
    match outcome:
        case StatusOutcome():
            named = {outcome.template_id}
            is_for_all = False
        case DecisionOutcome():
            named = {skipped.template_id for skipped in outcome.reasons if skipped.template_id is not None}
            is_for_all = any(skipped.template_id is None for skipped in outcome.reasons)
        case _:
            return 0
    bits = 0
    if time_ms >= entry.written_ms:
        if is_for_all or not entry.failed:
            bits = (1 << max(1, len(entry.failed))) - 1
        else:
            bits = sum(1 << index for index, failed in enumerate(entry.failed) if failed.template in named)
    for index, older in enumerate(entry.older, start=len(entry.failed)):
        if time_ms >= older.written_ms and (is_for_all or older.failed.template in named):
            bits |= 1 << index
    return bits


def _all_bits(entry: DeadLetterEntry) -> int:
    return (1 << max(1, len(entry.failed)) + len(entry.older)) - 1


def _open_failed(entry: DeadLetterEntry, covered: Mapping[int, int]) -> tuple[FailedPair, ...]:
    """Those of its templates, and of older dead letters', that have no later outcome."""
    bits = covered.get(entry.source.offset, 0) if entry.is_of_events and entry.source is not None else 0
    left = tuple(failed for index, failed in enumerate(entry.listed) if not bits >> index & 1)
    return entry.failed if left == entry.failed else left  # equal values once


def _state(entry: DeadLetterEntry, covered: Mapping[int, int]) -> DeadLetterState:
    can_be_done = entry.is_of_events and entry.is_complete
    if can_be_done and entry.source is not None and covered.get(entry.source.offset, 0) == _all_bits(entry):
        return DeadLetterState.DONE
    return DeadLetterState.PARKED if entry.attempts >= PARKED_ATTEMPTS else DeadLetterState.OPEN


# ---------------------------------------------------------------------------------------------------------------------
# Read from the topic


def _read_entries(
    settings: Settings, partition: int, admin: Admin, on_progress: OnProgress | None
) -> Iterator[DeadLetterEntry]:
    topic = settings.topic(FixedOutput.DEAD_LETTERS)
    events = settings.topic(InputTopic.EVENTS)
    extent = partition_extent(admin, topic, partition, hint=READ_HINT)
    shared, total = _Shared(), extent.end - extent.first
    report = on_progress or (lambda _done, _total: None)
    with open_reader(settings, hint=READ_HINT) as reader:
        for count, message in enumerate(read_range(reader, topic, partition, extent.first, extent.end)):
            if count % PROGRESS_INTERVAL_OFFSETS == 0:
                report((message.offset() or 0) - extent.first, total)
            yield _entry(message, events, shared)
    report(total, total)


def _entry(message: Message, events: Topic, shared: "_Shared") -> DeadLetterEntry:
    """What is kept of a record; one that cannot be read has neither source nor reason."""
    partition, offset = message.partition() or 0, message.offset() or 0
    written_ms = _time_or(message.timestamp()[1], NO_TIME_MS)
    try:
        headers = headers_of(message)
        outcome = dead_letter_outcome(headers)
        value_bytes = omitted_value_bytes(headers)
    except ValueError:
        return DeadLetterEntry(
            partition=partition,
            offset=offset,
            written_ms=written_ms,
            source=None,
            is_of_events=False,
            time_ms=written_ms,
            reason=None,
        )
    source = outcome.source
    return DeadLetterEntry(
        partition=partition,
        offset=offset,
        written_ms=written_ms,
        source=RecordPosition(shared(source.topic), source.partition, source.offset),
        is_of_events=(source.topic, source.partition) == (events, partition),
        time_ms=_time_or(outcome.time_ms, written_ms),
        reason=outcome.reason,
        failed=shared(tuple(FailedPair(TemplateId(str(each.templateId)), each.reason) for each in outcome.failed)),
        is_complete=outcome.is_complete,
        is_of_operation=outcome.operation is not None,
        attempts=outcome.attempts,
        event=None if outcome.event is None else shared(EventName(outcome.event)),
        set_version=None if outcome.set_version is None else shared(outcome.set_version),
        value_bytes=value_bytes,
    )


def _time_or(time_ms: int, otherwise_ms: int) -> int:
    """A time that can be shown."""
    return time_ms if 0 <= time_ms <= LAST_TIME_MS else otherwise_ms


_T = TypeVar("_T")


class _Shared:
    """Gives equal values as one: the dead letters of a cause have the same event and the same templates."""

    def __init__(self) -> None:
        self._values: dict[object, object] = {}

    def __call__(self, value: _T) -> _T:
        shared: _T = self._values.setdefault(value, value)  # type: ignore[assignment]  # an equal value of its type
        return shared


def read_stored(settings: Settings, partition: int, entries: Iterable[DeadLetterEntry]) -> Iterator[StoredDeadLetter]:
    """The entries' dead letters of one partition with their bytes, in the order in which they were written.

    One at a time is in memory. What the topic no longer has is left out. Blocks; raises as `read_dead_letters`.
    """
    wanted = {entry.offset: entry for entry in entries}
    if not wanted:
        return
    topic = settings.topic(FixedOutput.DEAD_LETTERS)
    with open_reader(settings, hint=READ_HINT) as reader:
        for offsets in spans(EventRange(partition, min(wanted), max(wanted) + 1), wanted.__contains__):
            for message in read_range(reader, topic, partition, offsets.start, offsets.stop):
                entry = wanted.get(message.offset() or 0)
                if entry is not None:
                    yield _stored(message, entry, topic)


def _stored(message: Message, entry: DeadLetterEntry, topic: Topic) -> StoredDeadLetter:
    key, value = message.key(), message.value()
    try:
        headers = headers_of(message)
        letter = read_dead_letter(key=key, value=value, headers=headers)
        omitted_value_bytes(headers)  # as where the entry was made
    except ValueError as error:
        place = RecordPosition(topic, entry.partition, entry.offset)
        return StoredDeadLetter(entry, SourceRecord(place, entry.written_ms, key, value), None, str(error))
    record = SourceRecord(letter.position, letter.timestamp_ms, key, value, letter.headers)
    return StoredDeadLetter(entry, record, letter)
