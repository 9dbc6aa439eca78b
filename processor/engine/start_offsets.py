"""Where a partition starts: at the group's position, or where nothing is repeated or missed, or not at all."""

import threading
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from enum import StrEnum

import structlog
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from processor.domain.event import SeenEvent, SourceEvent, identity_of
from processor.domain.outcome import Deferred
from processor.domain.output_topics import OutputTopics
from processor.domain.record import SchemaGuid, SchemaId, SourceRecord
from processor.domain.times import parse_time_ms
from processor.engine.output_scan import OutcomeReader
from processor.errors import DeferredSchemaError, InputError, TopicConfigError, UnavailableError, UsageError
from processor.kafka.clients import Admin, Reader, create_admin, source_record, standalone_consumer
from processor.kafka.errors import raise_if_unauthorized, translate_broker_errors
from processor.kafka.offsets import (
    REQUEST_TIMEOUT_S,
    end_offset,
    offset_at_time,
    partition_offset,
    partition_offsets,
)
from processor.kafka.read_range import UnpackError, open_reader, read_range
from processor.mapping.context import MappingContext
from processor.mapping.decode_record import decode_record
from processor.mapping.options import WrittenDecisions
from processor.registry.cache import wait_for_schema
from processor.settings import InputTopic, Settings
from processor.wire.json_codec import format_millis
from processor.wire.schema import SchemaOf, WriterSchema

log = structlog.get_logger()

READ_HINT = "grant DESCRIBE and READ on the events topic and on the group"
MAX_CONCURRENT_LOOKUPS = 8
MAX_REFUSALS_SHOWN = 5  # partitions that the text of an exit names
REGISTRY_TIMEOUT_S = 5.0  # for one schema; then the look-up is put off
POSITION_TIMEOUT_S = 5.0  # the previous owner's transaction may be open; then the look-up is put off


@dataclass(frozen=True, slots=True)
class StartOffset:
    """Where one partition starts. Offsets are of the events topic.

    `offset` is the first to be mapped; `seen` are the events before it that are in its deduplication window, in order.
    `needs_initial_commit`: the group had no position, so this one is to be committed before anything is mapped.
    `start_from`: the policy that chose it, where one did. `target_offset` is the high watermark now.
    """

    offset: int
    target_offset: int
    needs_initial_commit: bool
    seen: tuple[SeenEvent, ...] = ()
    start_from: str | None = None


class StartPolicyKind(StrEnum):
    """The values of `--start-from`; instead of TIME it takes a time itself."""

    BEGINNING = "beginning"
    END = "end"
    OUTPUTS = "outputs"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class StartPolicy:
    """Where the operator has a partition start whose position in the group does not say it. `time_ms`: UTC, of TIME."""

    kind: StartPolicyKind
    time_ms: int = 0

    def __str__(self) -> str:
        """As `--start-from` takes it; a time is in UTC, to the millisecond."""
        return format_millis(self.time_ms) if self.kind is StartPolicyKind.TIME else self.kind


def parse_start_policy(text: str | None) -> StartPolicy | None:
    """Parse `--start-from beginning|end|outputs|TIME`; TIME is RFC 3339 with an offset. Raises UsageError."""
    if text is None:
        return None
    if text in (StartPolicyKind.BEGINNING, StartPolicyKind.END, StartPolicyKind.OUTPUTS):
        return StartPolicy(StartPolicyKind(text))
    time_ms = parse_time_ms(text)
    if time_ms is None:
        raise UsageError(
            f"--start-from takes beginning, end, outputs or a time with its offset, got: {text!r}",
            hint="a time looks like 2026-03-14T09:26:53Z",
        )
    return StartPolicy(StartPolicyKind.TIME, time_ms)


@dataclass(frozen=True, slots=True)
class _Lookup:
    """What one look-up found: the partition holds offsets [low, high), and `outcomes` reads its outputs."""

    admin: Admin
    partition: int
    low: int
    high: int
    outcomes: OutcomeReader


class StartOffsetResolver:
    """Resolves one partition at a time; blocks, so the engine calls it from threads.

    Each call has a client of its own: after a broken connection librdkafka's admin client sends its requests to a
    coordinator that it has given up, for ever (seen with 2.16.1; a new client gets its response at once).
    """

    def __init__(
        self,
        settings: Settings,
        *,
        read_topics: Callable[[Admin], OutputTopics],
        context: MappingContext,
        schemas_of_outputs: SchemaOf,
        start_policy: StartPolicy | None,
    ) -> None:
        """`read_topics` reads the topics as they are now. `schemas_of_outputs` is for this alone: it is called from
        other threads than the loop's."""
        self._settings = settings
        self._events = settings.topic(InputTopic.EVENTS)
        self._read_topics = read_topics
        self._context = replace(context, plans=None)  # plans are for the loop's thread alone
        self._schemas_of_outputs = schemas_of_outputs
        self._registry_lock = threading.Lock()
        self._start_policy = start_policy
        self._policy_partitions: frozenset[int] = frozenset()
        self._end_offsets_admin: Admin | None = None
        # A look-up has two clients with threads and descriptors of their own, and a member may get many partitions.
        self._concurrent_lookups = threading.BoundedSemaphore(MAX_CONCURRENT_LOOKUPS)

    def prepare(self) -> None:
        """Find out for which partitions `--start-from` decides: those that there are, if the group has no position.

        To be called once, before the group is joined: later the group has positions, and a partition without one is
        new to it. Blocks; UnavailableError as `resolve`.
        """
        if self._start_policy is None:
            return
        partitions = self._partitions(self._admin())
        positions = self.positions(partitions)
        if not positions:
            self._policy_partitions = frozenset(partitions)
            return
        log.warning(
            "start-from ignored for positions that the group has",  # but for one that is gone
            start_from=self._start_policy.kind,
            partitions=sorted(positions),
        )
        if new := sorted(set(partitions) - positions.keys()):
            log.warning("start-from ignored for partitions", cause="the group has positions in others", partitions=new)

    def resolve(self, partition: int) -> StartOffset:
        """Where `partition` starts.

        Raises UnavailableError when this cannot be known now (an output topic lacks the partition, a transaction of the
        previous owner is open, the broker does not respond): call it again. Raises InputError when a person has to
        decide.
        """
        with self._concurrent_lookups:
            return self._resolve(partition)

    def _resolve(self, partition: int) -> StartOffset:
        admin = self._admin()
        self._require_output_partition(admin, partition)
        position = self.positions([partition]).get(partition)
        low = self._offset(admin, partition, OffsetSpec.earliest())
        high = self._end_offset(admin, partition)
        outcomes = self._outcome_reader(admin, partition)
        policy: StartPolicy | None = None
        if position is not None and low <= position <= high:
            offset, needs_initial_commit = position, False
        else:
            lookup = _Lookup(admin, partition, low, high, outcomes)
            policy = self._deciding_policy(lookup, position)
            offset, needs_initial_commit = low if policy is None else self._apply_policy(policy, lookup), True
        seen = self._seen_events(outcomes, partition, low=low, end=offset)
        start_from = None if policy is None else str(policy)
        return StartOffset(offset, high, needs_initial_commit=needs_initial_commit, seen=seen, start_from=start_from)

    def _require_output_partition(self, admin: Admin, partition: int) -> None:
        """Raise UnavailableError when an output topic is missing or lacks `partition`."""
        try:
            topics = self._read_topics(admin)
        except TopicConfigError as error:  # deleted since we started: it is waited for, as a missing partition is
            raise UnavailableError(str(error).replace("\n", "; ")) from error
        for topic in topics.co_partitioned:
            if partition >= topic.partitions:
                raise UnavailableError(
                    f"{topic.name} has no partition {partition}; `processor topics` names the command that grows it"
                )

    def _deciding_policy(self, lookup: _Lookup, position: int | None) -> StartPolicy | None:
        """What decides where a partition starts whose `position` in the group is gone, or is none; None: it starts at
        its first offset, which needs no decision. Raises InputError when a person has to decide."""
        if self._start_policy is not None and (position is not None or lookup.partition in self._policy_partitions):
            return self._start_policy
        if position is not None:
            raise InputError(
                f"the group's position in {self._events}[{lookup.partition}] is gone: it is {position}, "
                + _describe_gone(position, low=lookup.low, high=lookup.high),
                hint="`--start-from beginning`, `end` or a time goes on without them; `outputs` goes on after the "
                "last event that was published",
            )
        unsafe = self._unsafe_start_error(lookup)
        if unsafe is None:
            return None
        if self._start_policy is None:
            raise unsafe
        return self._start_policy

    def _apply_policy(self, policy: StartPolicy, lookup: _Lookup) -> int:
        admin, partition = lookup.admin, lookup.partition
        match policy.kind:
            case StartPolicyKind.BEGINNING:
                return lookup.low
            case StartPolicyKind.END:
                # Not the high watermark: what an open transaction holds becomes readable later and is not skipped.
                return self._offset(admin, partition, OffsetSpec.latest())
            case StartPolicyKind.OUTPUTS:
                return self._offset_after_outputs(lookup)
            case StartPolicyKind.TIME:
                return offset_at_time(admin, self._events, partition, policy.time_ms, hint=READ_HINT)

    def _offset_after_outputs(self, lookup: _Lookup) -> int:
        published = lookup.outcomes.highest_published_offset()
        if published is None:
            return lookup.low
        high = self._end_offset(lookup.admin, lookup.partition)
        if published >= high:
            raise InputError(
                f"the outputs hold events of {self._events}[{lookup.partition}] up to offset {published}, and its "
                f"next record gets offset {high}: the topic was created again, its events are other ones",
                hint="`--start-from beginning` maps all that it holds now",
            )
        return max(lookup.low, published + 1)

    def _unsafe_start_error(self, lookup: _Lookup) -> InputError | None:
        """Why a partition without a position must not start at its beginning: its outputs are not empty."""
        try:
            published = lookup.outcomes.any_published_offset()
        except InputError as error:
            return error
        if published is None:
            return None
        return InputError(
            f"group {self._settings.group_id!r} has no position in {self._events}[{lookup.partition}], but its outputs "
            f"hold events of it (offset {published}): starting at the beginning would publish them again",
            hint="`--start-from outputs` goes on after the last one that was published; `beginning` is right where the "
            "topic was created again and holds other events",
        )

    def end_offsets(self) -> dict[int, int]:
        """The high watermark of every partition of the events. Blocks; UnavailableError as `resolve`."""
        admin = self._admin()
        return {partition: self._end_offset(admin, partition) for partition in self._partitions(admin)}

    def last_stable_offsets(self, partitions: list[int]) -> dict[int, int]:
        """The last stable offset of each of `partitions`: what a read_committed reader can reach. Blocks.

        Called every two seconds, one call at a time, so it keeps its client as long as that one gets responses.
        """
        if not partitions:
            return {}
        admin, self._end_offsets_admin = self._end_offsets_admin or self._admin(), None
        request = {TopicPartition(self._events, partition): OffsetSpec.latest() for partition in partitions}
        ends = partition_offsets(admin, request, hint=READ_HINT)
        self._end_offsets_admin = admin
        return {at.partition: offset for at, offset in ends.items()}

    def _partitions(self, admin: Admin) -> list[int]:
        with translate_broker_errors(admin, hint=READ_HINT):
            events = admin.list_topics(self._events, REQUEST_TIMEOUT_S).topics[self._events]
        if events.error is not None:
            raise_if_unauthorized(events.error, hint=READ_HINT)
        if not events.partitions:  # a broker that has just started may not have them yet: no topic is without
            what = "no partitions" if events.error is None else f"{events.error.name()}: {events.error.str()}"
            raise UnavailableError(f"{self._events}: {what}")
        return list(events.partitions)

    def _outcome_reader(self, admin: Admin, partition: int) -> OutcomeReader:
        return OutcomeReader(self._settings, self._context.schemas, partition, schema_of=self._schema_of, admin=admin)

    def _schema_of(self, schema_id: SchemaId | SchemaGuid) -> WriterSchema:
        """The schema of an output, or of a record of the input that left none.

        KeyError also for an id that the registry refuses while it serves others: our ids are known, and a foreign one
        must not hold back a start.

        Waits for the registry: if each new id put off the look-up, reading would start again each time, and the first
        ids would have expired from the cache before the last one is reached.
        """
        try:
            return wait_for_schema(self._schema_now, schema_id, timeout_s=REGISTRY_TIMEOUT_S)
        except DeferredSchemaError:
            raise KeyError(schema_id) from None

    def _schema_now(self, schema_id: SchemaId | SchemaGuid) -> WriterSchema:
        with self._registry_lock:
            return self._schemas_of_outputs(schema_id)

    def _seen_events(self, outcomes: OutcomeReader, partition: int, *, low: int, end: int) -> tuple[SeenEvent, ...]:
        """The events in the deduplication window of the record at `end`, as the outcomes of the records before it say.

        Where not all decisions are written, a record without an outcome made no message, and its event is what its
        value says: that is read from the input.
        """
        first = max(0, end - self._settings.deduplication.records)
        found = outcomes.outcomes_between(first, end)
        seen = {
            offset: SeenEvent(offset, outcome.time_ms, identity_of(self._context.tenant, event_id))
            for offset, outcome in found.items()
            if (event_id := outcome.seen_event_id) is not None
        }
        if self._settings.decisions is not WrittenDecisions.ALL:
            without_outcome = self._events_without_outcome(partition, max(low, first), end, found)
            seen |= {event.offset: event for event in without_outcome}
        return tuple(seen[offset] for offset in sorted(seen))

    def _events_without_outcome(
        self, partition: int, first: int, end: int, found: Collection[int]
    ) -> Iterator[SeenEvent]:
        with closing(self._readable_records(partition, first, end)) as records:
            for record in records:
                if record.position.offset in found:
                    continue
                decoded = decode_record(record, self._context, schema_of=self._schema_of)
                if isinstance(decoded, Deferred):
                    raise UnavailableError(decoded.cause)
                if isinstance(decoded, SourceEvent):
                    yield decoded.seen

    def _readable_records(self, partition: int, first: int, end: int) -> Generator[SourceRecord]:
        """The records at offsets [first, end), without those of a batch that cannot be unpacked: they were never
        mapped, for a person had to set the position behind them.

        Its length is unknown, so it is skipped in steps that double. Records behind it that are skipped too made no
        message, so a repeat of theirs doubles none.
        """
        step = 1
        with open_reader(self._settings, hint=READ_HINT) as reader:
            while first < end:
                try:
                    for message in read_range(reader, self._events, partition, first, end):
                        record = source_record(message, self._events)
                        first, step = record.position.offset + 1, 1
                        yield record
                except UnpackError as error:
                    log.warning("unreadable events before the start ignored", cause=str(error))
                    first, step = first + step, 2 * step
                else:
                    return

    def _admin(self) -> Admin:
        return create_admin(self._settings)

    def positions(self, partitions: Iterable[int]) -> dict[int, int]:
        """The group's position in each of `partitions` that has one. A pending one is waited for, 5 s. Raises as
        `resolve`."""
        return group_positions(self._settings, partitions)

    def _end_offset(self, admin: Admin, partition: int) -> int:
        """The high watermark, above what open transactions hold."""
        return end_offset(admin, self._events, partition, hint=READ_HINT)

    def _offset(self, admin: Admin, partition: int, spec: OffsetSpec) -> int:
        return partition_offset(admin, self._events, partition, spec, hint=READ_HINT)


def _describe_gone(position: int, *, low: int, high: int) -> str:
    """What the partition holds instead of `position`; its records are at offsets [low, high)."""
    holds = f"the partition is empty, its next record gets offset {high}"
    if low < high:
        holds = f"the partition holds offsets {low} to {high - 1}"
    if position >= low:
        return holds
    return f"{holds}; {low - position} {'offset is' if low - position == 1 else 'offsets are'} missing"


def join_refusals(refusals: Sequence[InputError]) -> InputError:
    """One error of those of several partitions, each on its line, the first few; what to do about them only once."""
    lines = [error.what for error in refusals[:MAX_REFUSALS_SHOWN]]
    if more := len(refusals) - len(lines):
        lines.append(f"and {more} more {'partition' if more == 1 else 'partitions'}")
    return InputError("\n".join(lines), hint="; ".join(dict.fromkeys(error.hint for error in refusals)))


def group_positions(settings: Settings, partitions: Iterable[int]) -> dict[int, int]:
    """The group's position in each of `partitions` of the events that has one. A pending one is waited for, 5 s.

    Blocks. UnavailableError when it cannot be known now, AuthorizationError when reading it is refused. Read by a
    consumer that never joins: librdkafka's admin client ends the process (SIGSEGV, seen with 2.16.1) when the
    coordinator responds that it is loading or has moved.
    """
    events = settings.topic(InputTopic.EVENTS)
    reader = standalone_consumer(settings, group=settings.group_id)
    try:
        with translate_broker_errors(reader, hint=READ_HINT):
            positions = _read_positions(reader, [TopicPartition(events, number) for number in partitions])
    finally:
        reader.close()
    for position in positions:
        if position.error is not None:
            raise UnavailableError(f"group position of {events}[{position.partition}]: {position.error.name()}")
    return {position.partition: position.offset for position in positions if position.offset >= 0}


def _read_positions(reader: Reader, partitions: list[TopicPartition]) -> list[TopicPartition]:
    try:
        return reader.committed(partitions, POSITION_TIMEOUT_S)
    except KafkaException as timeout:
        # Where it is not allowed to find the group's coordinator, `committed` times out; only the next poll says why.
        message = reader.poll(0)
        if message is not None and (error := message.error()) is not None:
            raise KafkaException(error) from timeout
        raise
