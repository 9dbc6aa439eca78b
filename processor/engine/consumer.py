"""The consumer's side: which partitions are ours, where each starts, and what was polled and may still be used.

Non-obvious:
1. A partition that the group gives us is fetched only when its start is known, from that offset on. A thread asks for
   it, since the previous owner's transaction may be open for seconds. No logical offset is ever assigned: the answer of
   its look-up, when late, undoes a seek and skips what lies between, silently.
2. The window of a partition is there when its start is: the same thread restores it from the outputs (output_scan.py).
3. An abort does not move the consumer back. `rewind` sends each partition we own to what the group has committed;
   without it the batch is skipped, silently, until a restart.
4. `consume` may hand out records of a partition that was revoked within the same call; `_usable` drops them.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from processor.background import back_off_s, call_in_thread
from processor.domain.record import SourceRecord, Topic
from processor.engine.deduplication import DeduplicationWindow
from processor.engine.start_offsets import READ_HINT, StartOffset, StartOffsetResolver, together
from processor.errors import DependencyError, InputError, InternalError, UnavailableError
from processor.kafka.clients import (
    RETRIABLE_CONSUMER_ERRORS,
    CoordinatorMonitor,
    error_of,
    fetch_fault,
    is_of_partition,
    raise_if_unauthorized,
    source_record,
)
from processor.settings import Settings

log = structlog.get_logger()

IDLE_S = 0.1
POLL_BYTES = 16_000_000  # of key, value and headers; more than a second's work
SLICE = 500  # records of one call, so that POLL_BYTES is not passed by much; the client's queue has as many bytes
RETRY_S, LONGEST_RETRY_S = 0.05, 10.0  # first and longest back-off of a partition that waits
FETCHER_S = 2.0  # a fetcher that cannot be sought for so long has ended

GROUP_HINTS: Mapping[int, str] = {  # error of a group that does not take us -> what to do, with {group}
    KafkaError.INCONSISTENT_GROUP_PROTOCOL: "another application uses group {group!r}, or an instance with another "
    "group.protocol or partition.assignment.strategy: give one of them a group of its own with PROCESSOR_GROUP",
    KafkaError.INVALID_SESSION_TIMEOUT: "set session.timeout.ms in PROCESSOR_KAFKA__CONSUMER to what the broker "
    "allows, group.min.session.timeout.ms to group.max.session.timeout.ms",
    KafkaError.GROUP_MAX_SIZE_REACHED: "group {group!r} has as many members as the broker's group.max.size allows",
}


@dataclass(slots=True, eq=False)
class AssignedPartition:
    """One partition, from its assignment until it is revoked. A new assignment is a new Owned."""

    partition: int
    deduplication: DeduplicationWindow
    starting: Future[StartOffset] | None
    refused: InputError | None = None  #: A person has to say where it starts.
    chosen: bool = False  #: The group had no position; its start has to be committed before it is read.
    start: int = -1  #: The first offset to be mapped.
    next: int = -1  #: The next offset that may be polled; a lower one was polled before.
    committed: int = -1
    goal: int = -1  #: The high watermark when it was assigned.
    fetched: bool = False  #: The consumer has it, and fetches it.
    seek_to: int | None = None  #: Where the consumer has still to be sent; until then nothing polled is usable.
    unsought_since: float | None = None  #: Since when the consumer could not be sent there.
    retry_at: float | None = None  #: It waits: paused, or its start could not be found.
    waits: int = 0  #: Waits in a row, for the back-off.
    waited_at: int = -1  #: The offset of the last record that had to wait.
    cause: str = ""  #: Why it waits.
    schema_refused: bool = False  #: It waits for a schema that the registry gives nobody, or not us.
    progressed_at: float = field(default_factory=time.monotonic)

    @property
    def started(self) -> bool:
        """Its start is known, and the group has it."""
        return self.starting is None and not self.chosen

    @property
    def is_asking(self) -> bool:
        """Its start is being asked for, and was not refused or put off yet."""
        return self.starting is not None and self.retry_at is None and self.refused is None

    def progressed(self) -> None:
        """It got on: the next wait begins with a short back-off again."""
        self.progressed_at = time.monotonic()
        self.waits = 0
        self.cause = ""
        self.schema_refused = False


@dataclass(frozen=True, slots=True)
class PolledRecord:
    """A record that may be used as long as `owned` is current."""

    owned: AssignedPartition
    record: SourceRecord


class EventConsumer:
    """The consumer and the partitions it owns. Not thread-safe; callbacks run within `poll` and `stay_alive`."""

    def __init__(
        self,
        settings: Settings,
        consumer: Consumer,
        starts: StartOffsetResolver,
        *,
        rebalanced: Callable[[str, int], None],
        waits: Callable[[str], None] = lambda _cause: None,
        coordinator: CoordinatorMonitor | None = None,
    ) -> None:
        """`rebalanced` gets the kind (assigned, revoked, lost) and how many partitions; `waits` gets the cause when the
        fetch of a partition fails; `coordinator`: KIP-848."""
        self._settings = settings
        self._events: Topic = settings.topic("events")
        self._consumer = consumer
        self._starts = starts
        self._rebalanced = rebalanced
        self._waits = waits
        self._coordinator = coordinator
        self.owned: dict[int, AssignedPartition] = {}
        self.assigned_once = False
        self.member = False  #: The group has given us an assignment, be it empty, and we have not lost it since.
        self.group: Any = None
        """Our membership as it was after the last poll; None when we had none. A broker that knows better refuses it.

        Not asked for later: librdkafka forgets its member id in the background, and a transaction that names no member
        is fenced by nobody (KIP-447 lets it pass).
        """
        consumer.subscribe([self._events], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)

    def poll(self, limit: int, *, wait: bool = True) -> list[PolledRecord]:
        """Up to `limit` usable records, and about `POLL_BYTES`, waiting at most 0.1 s for the first and the batch's
        time for the others; or without `wait` what is there.

        Raises InputError where a start needs a person or a position is gone, AuthorizationError where access is
        refused.
        """
        self._settle()
        messages = self._consumer.consume(1, IDLE_S if wait else 0.0)
        polled = self._usable(messages)
        size = sum(taken.record.size_bytes for taken in polled)
        until = time.monotonic() + (self._settings.max_batch_wait_ms / 1000 if wait else 0.0)
        left, more = limit - 1, bool(messages)
        while more and left > 0 and size < POLL_BYTES:
            count = min(left, SLICE)
            messages = self._consumer.consume(count, max(0.0, until - time.monotonic()))
            require_usable = self._usable(messages)
            size += sum(taken.record.size_bytes for taken in require_usable)
            polled += require_usable
            left, more = left - count, len(messages) == count
        group = self._consumer.consumer_group_metadata()
        self.group = group if self._consumer.memberid() else None
        if self._coordinator is not None and not self.owned:
            # With KIP-848 nobody tells a member that gets no partition.
            self.member = bool(self._consumer.memberid()) and self._coordinator.answers
            self.assigned_once = self.assigned_once or self.member
        return polled

    def stay_alive(self) -> None:
        """Poll, so that the group keeps us, and drop the records that come: to be followed by `rewind`."""
        for message in self._consumer.consume(10_000, 0):
            error = message.error()
            if error is not None:
                self._on_error(error, message)

    def is_current(self, owned: AssignedPartition) -> bool:
        """Whether `owned` is still the assignment that its records were polled under."""
        return self.owned.get(owned.partition) is owned

    def wait(self, owned: AssignedPartition, offset: int, cause: str, *, schema_refused: bool = False) -> None:
        """Cut the partition at `offset`, whose record cannot be judged now; pause it and try again with back-off."""
        if offset > owned.waited_at:  # it got on since: what was mapped may be held back, so no commit has said so
            owned.waits = 0
        owned.waited_at = offset
        owned.deduplication.forget_from(offset)
        owned.next = owned.seek_to = offset
        self._back_off(owned, cause)
        owned.schema_refused = schema_refused
        self._consumer.pause([TopicPartition(self._events, owned.partition)])
        self._seek(owned)

    def rewind(self) -> None:
        """Send every partition we own to what the group has committed. Blocks; raises KafkaException: try again.

        Raises AuthorizationError as `poll`.
        """
        at = [TopicPartition(self._events, o.partition) for o in self.owned.values() if o.started]
        if not at:
            return
        committed = self._committed(at)
        for tp in at:
            owned = self.owned.get(tp.partition)
            if owned is None:
                continue
            offset = committed[tp.partition]
            if offset < 0:
                raise InternalError(f"{self._events}[{tp.partition}] has no committed position, but it was started")
            owned.committed = owned.next = owned.seek_to = offset
            owned.deduplication.forget_from(offset)
            self._seek(owned)

    def _committed(self, at: list[TopicPartition]) -> dict[int, int]:
        committed = {}
        try:
            for tp in self._consumer.committed(at, 5.0):
                if tp.error is not None:
                    raise KafkaException(tp.error)
                committed[tp.partition] = tp.offset
        except KafkaException as exception:
            raise_if_unauthorized(error_of(exception), hint=READ_HINT)
            raise
        return committed

    def position(self, owned: AssignedPartition) -> int:
        """Where `owned` goes on once all that was polled of it is done.

        That is librdkafka's position, which passes the markers of the input's transactions where the last record + 1
        does not. A seek makes it unknown; while the partition waits or is sought it may lie beyond what was left out.
        """
        if owned.retry_at is not None or owned.seek_to is not None:
            return owned.next
        (at,) = self._consumer.position([TopicPartition(self._events, owned.partition)])
        return max(owned.next, at.offset)

    def close(self) -> None:
        """Leave the group. Blocks while the broker answers."""
        self._consumer.close()

    # --- rebalances: callbacks of the consumer ---

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Taken, but not fetched yet: a partition is given to the fetcher when its start is known, at that offset. The
        # late answer to the look-up of a logical offset (OFFSET_END) would undo a seek and skip what lies before it.
        consumer.incremental_assign([])
        for tp in partitions:
            self.owned[tp.partition] = AssignedPartition(
                partition=tp.partition,
                deduplication=DeduplicationWindow(
                    records=self._settings.deduplication.records, age_ms=self._settings.deduplication.age_s * 1000
                ),
                starting=self._ask_start(tp.partition),
            )
        self.assigned_once = self.member = True
        self._rebalanced("assigned", len(partitions))

    def _on_revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._forget("revoked", partitions)

    def _on_lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.member = False
        self._forget("lost", partitions)

    def _forget(self, kind: str, partitions: list[TopicPartition]) -> None:
        gone = [owned for tp in partitions if (owned := self.owned.pop(tp.partition, None)) is not None]
        fetched = [TopicPartition(self._events, owned.partition) for owned in gone if owned.fetched]
        # librdkafka keeps a pause over a revocation; a partition that waits now would come back paused.
        self._consumer.resume([TopicPartition(self._events, o.partition) for o in gone if o.fetched and o.retry_at])
        self._consumer.incremental_unassign(fetched)
        self._rebalanced(kind, len(partitions))

    # --- between two polls ---

    def _ask_start(self, partition: int) -> "Future[StartOffset]":
        return call_in_thread(lambda: self._starts.of(partition), name=f"start-{partition}")

    def _settle(self) -> None:
        """Use starts that were found, ask again for those that were not, send the consumer where it has to go."""
        now = time.monotonic()
        for owned in list(self.owned.values()):
            if owned.retry_at is not None and now >= owned.retry_at:
                self._try_again(owned)
            elif owned.is_asking and owned.starting is not None and owned.starting.done():
                self._started(owned, owned.starting)
            if owned.seek_to is not None and not owned.chosen:
                self._seek(owned)
        refused = [owned.refused for owned in self.owned.values() if owned.refused is not None]
        if refused and not any(owned.is_asking for owned in self.owned.values()):
            raise together(refused)  # all of them, so that one answer does for all

    def _started(self, owned: AssignedPartition, starting: Future[StartOffset]) -> None:
        try:
            start = starting.result()
        except UnavailableError as unavailable:
            self._back_off(owned, str(unavailable))
            return
        except InputError as refused:
            owned.refused = refused
            return
        owned.starting = None
        owned.start = start.offset
        owned.chosen = start.chosen
        owned.committed = -1 if start.chosen else start.offset
        owned.next = owned.seek_to = start.offset
        owned.goal = start.goal
        for event in start.seen:
            owned.deduplication.remember(event)
        owned.progressed()
        log.info(
            "partition starts",
            partition=owned.partition,
            offset=start.offset,
            events_in_window=len(start.seen),
            chosen=start.chosen,
        )

    def _try_again(self, owned: AssignedPartition) -> None:
        owned.retry_at = None
        if owned.starting is not None:
            owned.starting = self._ask_start(owned.partition)
        else:
            self._consumer.resume([TopicPartition(self._events, owned.partition)])
            owned.seek_to = owned.next  # what was fetched before the pause is gone

    def _back_off(self, owned: AssignedPartition, cause: str) -> None:
        owned.retry_at = time.monotonic() + back_off_s(owned.waits, first_s=RETRY_S, longest_s=LONGEST_RETRY_S)
        owned.waits += 1
        if cause != owned.cause:
            log.warning("partition waits", partition=owned.partition, cause=cause)
        owned.cause = cause

    def _seek(self, owned: AssignedPartition) -> None:
        """Send the consumer to `seek_to`. Where it cannot go now `_settle` tries again; `_usable` drops until then."""
        assert owned.seek_to is not None
        at = TopicPartition(self._events, owned.partition, owned.seek_to)
        if owned.fetched:
            try:
                self._consumer.seek(at)
            except KafkaException as exception:
                # The fetcher has not taken up the assignment yet; or it has ended after an error, for good.
                now = time.monotonic()
                owned.unsought_since = owned.unsought_since or now
                if now - owned.unsought_since < FETCHER_S:
                    log.debug("seek later", partition=owned.partition, error=error_of(exception).name())
                    return
                log.warning("fetching anew", partition=owned.partition, error=error_of(exception).name())
                self._unfetch(owned)
        if not owned.fetched:
            self._consumer.incremental_assign([at])
            owned.fetched = True
        owned.seek_to = owned.unsought_since = None

    def _unfetch(self, owned: AssignedPartition) -> None:
        self._consumer.incremental_unassign([TopicPartition(self._events, owned.partition)])
        owned.fetched = False

    def _usable(self, messages: list[Message]) -> list[PolledRecord]:
        polled = []
        for message in messages:
            error = message.error()
            if error is not None:
                self._on_error(error, message)
                continue
            owned = self.owned.get(_number(message.partition()))
            offset = _number(message.offset())
            if owned is None or owned.starting is not None or owned.seek_to is not None or offset < owned.next:
                continue
            if owned.retry_at is not None:
                continue  # behind a batch that could not be read: librdkafka skips some of them
            owned.next = offset + 1
            polled.append(PolledRecord(owned, source_record(message)))
        return polled

    def _on_error(self, error: KafkaError, message: Message) -> None:
        raise_if_unauthorized(error, hint=READ_HINT)
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            self._on_gone(_number(message.partition()), error)
        elif is_of_partition(message):
            self._on_fetch_fault(_number(message.partition()), fetch_fault(message))
        elif error.code() in RETRIABLE_CONSUMER_ERRORS:
            log.warning("consumer", error=error.name(), detail=error.str())
        else:
            raise DependencyError(
                f"the consumer cannot go on: {error.name()}: {error.str()}",
                hint=GROUP_HINTS.get(error.code(), "").format(group=self._settings.group_id),
            )

    def _on_fetch_fault(self, partition: int, fault: str) -> None:
        """The fetch of one partition failed; that one waits at what is to be polled next, and the others go on."""
        owned = self.owned.get(partition)
        if owned is not None and owned.fetched and owned.retry_at is None:
            self._waits("fetch error")
            self.wait(owned, owned.next, fault)

    def _on_gone(self, partition: int, error: KafkaError) -> None:
        """The log no longer has the events that are to be mapped next."""
        owned = self.owned.get(partition)
        if owned is None or owned.starting is not None:
            return
        if owned.retry_at is not None or owned.seek_to is not None:
            return  # not our position: with `check.crcs` librdkafka goes on anywhere behind a damaged batch
        raise InputError(
            f"the position {owned.next} of {self._events}[{partition}] is gone: {error.str()}",
            hint="start again: `run` says what is missing, and `--start-from` answers",
        )


def _number(value: int | None) -> int:
    assert value is not None, "a record that was read has its place"
    return value
