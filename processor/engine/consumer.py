"""The consumer's side: which partitions are assigned, where each starts, and what was polled and may still be used.

Non-obvious:
1. An assigned partition is fetched only when its start offset is known, from there on. A thread finds it, since the
   previous owner's transaction may be open for seconds. No logical offset is ever assigned: the response to its
   look-up, when late, undoes a seek and skips what lies between, silently.
2. The deduplication window of a partition is there when its start offset is: the same thread restores it from the
   outputs (output_scan.py).
3. An abort does not move the consumer back. `rewind` sends each assigned partition to what the group has committed;
   without it the batch is skipped, silently, until a restart.
4. `consume` may hand out records of a partition that was revoked within the same call; `_add_usable` drops them.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import structlog
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, Message, TopicPartition

from processor.background import call_in_thread
from processor.domain.record import SourceRecord, Topic
from processor.engine.deduplication import DeduplicationWindow
from processor.engine.partition import AssignedPartition
from processor.engine.start_offsets import READ_HINT, StartOffset, StartOffsetResolver, join_refusals
from processor.errors import DependencyError, InputError, InternalError, UnavailableError
from processor.kafka.clients import CoordinatorMonitor, source_record
from processor.kafka.errors import (
    RETRIABLE_CONSUMER_ERRORS,
    error_of,
    fetch_error_text,
    is_partition_error,
    raise_if_unauthorized,
)
from processor.settings import InputTopic, Settings

log = structlog.get_logger()

POLL_TIMEOUT_S = 0.1  # for the first record of a batch
MAX_POLL_BYTES = 16_000_000  # of key, value and headers; more than a second's work
MAX_CONSUME_RECORDS = 500  # of one call, so that MAX_POLL_BYTES is not passed by much; the client's queue has as many
MAX_HEARTBEAT_RECORDS = 10_000  # that a heartbeat drops at most
POSITION_TIMEOUT_S = 5.0
SEEK_TIMEOUT_S = 2.0  # a fetcher that takes no seek for so long has ended

GROUP_HINTS: Mapping[int, str] = {  # error of a group that does not admit this member -> what to do, with {group}
    KafkaError.INCONSISTENT_GROUP_PROTOCOL: "another application uses group {group!r}, or an instance with another "
    "group.protocol or partition.assignment.strategy: give one of them a group of its own with PROCESSOR_GROUP",
    KafkaError.INVALID_SESSION_TIMEOUT: "set session.timeout.ms in PROCESSOR_KAFKA__CONSUMER to what the broker "
    "allows, group.min.session.timeout.ms to group.max.session.timeout.ms",
    KafkaError.GROUP_MAX_SIZE_REACHED: "group {group!r} has as many members as the broker's group.max.size allows",
}


class RebalanceEvent(StrEnum):
    """What happened to partitions of this member."""

    ASSIGNED = "assigned"
    REVOKED = "revoked"
    LOST = "lost"  #: Without a call to give them up: others may have them already.


@dataclass(frozen=True, slots=True)
class PolledRecords:
    """Records of one partition, in order, which may be used as long as `partition` is current. There is at least one;
    who uses them takes them out."""

    partition: AssignedPartition
    records: deque[SourceRecord]


class EventConsumer:
    """The consumer and its assigned partitions. Not thread-safe; callbacks run within `poll` and `poll_heartbeat`."""

    def __init__(
        self,
        settings: Settings,
        consumer: Consumer,
        start_offsets: StartOffsetResolver,
        *,
        on_rebalance: Callable[[RebalanceEvent, int], None],
        on_deferred: Callable[[str], None] = lambda _cause: None,
        coordinator: CoordinatorMonitor | None = None,
    ) -> None:
        """`on_rebalance` gets the event and how many partitions; `on_deferred` gets the cause when the fetch of a
        partition fails; `coordinator`: KIP-848."""
        self._settings = settings
        self._events: Topic = settings.topic(InputTopic.EVENTS)
        self._consumer = consumer
        self._start_offsets = start_offsets
        self._on_rebalance = on_rebalance
        self._on_deferred = on_deferred
        self._coordinator = coordinator
        self.partitions: dict[int, AssignedPartition] = {}
        self.was_ever_assigned = False
        self.is_member = False  #: The group has given us an assignment, be it empty, and we have not lost it since.
        self.group_metadata: Any = None
        """Our membership as it was after the last poll; None when we had none. The broker refuses it if it is outdated.

        Not read later: librdkafka forgets its member id in the background, and a transaction that names no member is
        fenced by nobody (KIP-447 lets it pass).
        """
        consumer.subscribe([self._events], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)

    def poll(self, limit: int, *, wait: bool = True) -> list[PolledRecords]:
        """Up to `limit` usable records, and about `MAX_POLL_BYTES`, waiting at most 0.1 s for the first and the batch's
        time for the others; or without `wait` what is there.

        Raises InputError where a start offset needs a person or a position is gone, AuthorizationError where access is
        refused.
        """
        self._advance_partitions()
        polled: list[PolledRecords] = []
        messages = self._consumer.consume(1, POLL_TIMEOUT_S if wait else 0.0)
        size_bytes = self._add_usable(messages, polled)
        until = time.monotonic() + (self._settings.max_batch_wait_ms / 1000 if wait else 0.0)
        remaining, may_have_more = limit - 1, bool(messages)
        while may_have_more and remaining > 0 and size_bytes < MAX_POLL_BYTES:
            count = min(remaining, MAX_CONSUME_RECORDS)
            messages = self._consumer.consume(count, max(0.0, until - time.monotonic()))
            size_bytes += self._add_usable(messages, polled)
            remaining, may_have_more = remaining - count, len(messages) == count
        self._update_membership()
        return polled

    def _update_membership(self) -> None:
        group_metadata = self._consumer.consumer_group_metadata()
        self.group_metadata = group_metadata if self._consumer.memberid() else None
        if self._coordinator is not None and not self.partitions:
            # With KIP-848 no callback runs for a member that gets no partition.
            self.is_member = bool(self._consumer.memberid()) and self._coordinator.is_up
            self.was_ever_assigned = self.was_ever_assigned or self.is_member

    def poll_heartbeat(self) -> None:
        """Poll within `max.poll.interval.ms`, and drop the records that come: to be followed by `rewind`."""
        for message in self._consumer.consume(MAX_HEARTBEAT_RECORDS, 0):
            error = message.error()
            if error is not None:
                self._on_error(error, message)

    def is_current(self, partition: AssignedPartition) -> bool:
        """Whether `partition` is still the assignment that its records were polled under."""
        return self.partitions.get(partition.number) is partition

    def pause_and_retry(
        self, partition: AssignedPartition, offset: int, cause: str, *, schema_refused: bool = False
    ) -> None:
        """Cut `partition` at `offset`, whose record cannot be processed now; pause it until a back-off is over."""
        self._log_pause(partition, cause)
        partition.pause(offset, cause, schema_refused=schema_refused)
        self._consumer.pause([self._at(partition)])
        self._seek(partition)

    def rewind(self) -> None:
        """Send every started partition to what the group has committed, and find out which starts it has. Blocks;
        raises KafkaException: try again.

        Raises AuthorizationError as `poll`.
        """
        concerned = [p for p in self.partitions.values() if p.is_started or p.needs_initial_commit]
        if not concerned:
            return
        committed_offsets = self._committed_offsets(concerned)
        for partition in concerned:
            if not self.is_current(partition):
                continue
            offset = committed_offsets[partition.number]
            if partition.needs_initial_commit:
                partition.rewind(offset)
                continue
            if offset < 0:
                raise InternalError(f"{self._events}[{partition.number}] was started without a committed position")
            partition.rewind(offset)
            self._seek(partition)

    def _committed_offsets(self, partitions: list[AssignedPartition]) -> dict[int, int]:
        committed_offsets = {}
        try:
            for committed in self._consumer.committed([self._at(p) for p in partitions], POSITION_TIMEOUT_S):
                if committed.error is not None:
                    raise KafkaException(committed.error)
                committed_offsets[committed.partition] = committed.offset
        except KafkaException as exception:
            raise_if_unauthorized(error_of(exception), hint=READ_HINT)
            raise
        return committed_offsets

    def position(self, partition: AssignedPartition) -> int:
        """Where `partition` goes on once all that was polled of it is done.

        That is librdkafka's position, which passes the markers of the input's transactions where the last record + 1
        does not. A seek makes it unknown; while the partition is paused or sought it may lie beyond what was left out.
        """
        if not partition.is_usable:
            return partition.next_offset
        (position,) = self._consumer.position([self._at(partition)])
        return max(partition.next_offset, position.offset)

    def close(self) -> None:
        """Leave the group. Blocks while the broker responds."""
        self._consumer.close()

    # --- rebalances: callbacks of the consumer ---

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        # Accepted, but not fetched yet: the fetcher gets a partition when its start offset is known, from there on. The
        # late response to the look-up of a logical offset (OFFSET_END) would undo a seek and skip what lies before it.
        consumer.incremental_assign([])
        deduplication = self._settings.deduplication
        for topic_partition in assigned:
            number = topic_partition.partition
            window = DeduplicationWindow(records=deduplication.records, age_ms=deduplication.age_s * 1000)
            self.partitions[number] = AssignedPartition(number, window, self._resolve_start(number))
        self.was_ever_assigned = self.is_member = True
        self._on_rebalance(RebalanceEvent.ASSIGNED, len(assigned))

    def _on_revoke(self, _consumer: Consumer, revoked: list[TopicPartition]) -> None:
        self._drop_partitions(RebalanceEvent.REVOKED, revoked)

    def _on_lost(self, _consumer: Consumer, lost: list[TopicPartition]) -> None:
        self.is_member = False
        self._drop_partitions(RebalanceEvent.LOST, lost)

    def _drop_partitions(self, event: RebalanceEvent, gone: list[TopicPartition]) -> None:
        dropped = [p for at in gone if (p := self.partitions.pop(at.partition, None)) is not None]
        fetched = [partition for partition in dropped if partition.is_fetched]
        # librdkafka keeps a pause over a revocation; a partition that is paused now would come back paused.
        self._consumer.resume([self._at(partition) for partition in fetched if partition.is_paused])
        self._consumer.incremental_unassign([self._at(partition) for partition in fetched])
        self._on_rebalance(event, len(gone))

    # --- between two polls ---

    def _resolve_start(self, number: int) -> "Future[StartOffset]":
        return call_in_thread(lambda: self._start_offsets.resolve(number), name=f"start-{number}")

    def _advance_partitions(self) -> None:
        """Use start offsets that were found, look those up again that were not, send the consumer where it has to go.

        Raises InputError when a person has to say where partitions start; for all of them at once, so that one decision
        is enough.
        """
        for partition in list(self.partitions.values()):
            if partition.is_retry_due:
                self._retry(partition)
            elif partition.is_resolving and partition.resolution.done():
                self._finish_resolving(partition)
            if partition.needs_seek and partition.is_started:
                self._seek(partition)
        refusals = [partition.refusal for partition in self.partitions.values() if partition.refusal is not None]
        if refusals and not any(partition.is_resolving for partition in self.partitions.values()):
            raise join_refusals(refusals)

    def _finish_resolving(self, partition: AssignedPartition) -> None:
        try:
            start = partition.resolution.result()
        except UnavailableError as unavailable:
            self._log_pause(partition, str(unavailable))
            partition.postpone(str(unavailable))
        except InputError as refusal:
            partition.refuse(refusal)
        else:
            partition.resolve(start)
            log.info(
                "partition started",
                partition=partition.number,
                offset=start.offset,
                events_in_window=len(start.seen),
                needs_initial_commit=start.needs_initial_commit,
            )

    def _retry(self, partition: AssignedPartition) -> None:
        if partition.is_paused:
            self._consumer.resume([self._at(partition)])
            partition.resume()
        else:
            partition.resolve_again(self._resolve_start(partition.number))

    def _log_pause(self, partition: AssignedPartition, cause: str) -> None:
        if cause != partition.cause:
            log.warning("partition paused", partition=partition.number, cause=cause)

    def _seek(self, partition: AssignedPartition) -> None:
        """Send the consumer to the next offset. Where it cannot go now `_advance_partitions` tries again."""
        at = self._at(partition, partition.next_offset)
        if partition.is_fetched:
            try:
                self._consumer.seek(at)
            except KafkaException as exception:
                # The fetcher has not taken up the assignment yet; or it has ended after an error, for good.
                error = error_of(exception).name()
                if partition.mark_seek_failed() < SEEK_TIMEOUT_S:
                    log.debug("seek postponed", partition=partition.number, error=error)
                    return
                log.warning("partition reassigned after fetch error", partition=partition.number, error=error)
                self._unassign(partition)
        if not partition.is_fetched:
            self._consumer.incremental_assign([at])
        partition.mark_sought()

    def _unassign(self, partition: AssignedPartition) -> None:
        self._consumer.incremental_unassign([self._at(partition)])
        partition.mark_unassigned()

    def _at(self, partition: AssignedPartition, offset: int = OFFSET_INVALID) -> TopicPartition:
        return TopicPartition(self._events, partition.number, offset)

    def _add_usable(self, messages: list[Message], polled: list[PolledRecords]) -> int:
        """Add the records that may be used; how many bytes they have.

        Not those of a partition that is sought, that has no start offset yet, or that is paused: librdkafka skips some
        records behind a batch that could not be read.
        """
        size_bytes = 0
        partition, is_usable = None, False  # of the message before: they come in stretches of one partition
        for message in messages:
            error = message.error()
            if error is not None:
                self._on_error(error, message)
                partition = None  # it may not be usable any more
                continue
            record = source_record(message, self._events)
            _, number, offset = record.position
            if partition is None or partition.number != number:
                partition = self.partitions.get(number)
                is_usable = partition is not None and partition.is_usable
            if partition is None or not is_usable or offset < partition.next_offset:
                continue
            partition.mark_polled(offset + 1)
            size_bytes += record.size_bytes
            if not polled or polled[-1].partition is not partition:
                polled.append(PolledRecords(partition, deque()))
            polled[-1].records.append(record)
        return size_bytes

    def _on_error(self, error: KafkaError, message: Message) -> None:
        raise_if_unauthorized(error, hint=READ_HINT)
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            self._on_position_gone(_require_int(message.partition()), error)
        elif is_partition_error(message):
            self._on_fetch_error(_require_int(message.partition()), fetch_error_text(message))
        elif error.code() in RETRIABLE_CONSUMER_ERRORS:
            log.warning("consumer error", error=error.name(), detail=error.str())
        else:
            raise DependencyError(
                f"the consumer cannot go on: {error.name()}: {error.str()}",
                hint=GROUP_HINTS.get(error.code(), "").format(group=self._settings.group_id),
            )

    def _on_fetch_error(self, number: int, cause: str) -> None:
        """The fetch of one partition failed; it is paused at what is to be polled next, and the others go on."""
        partition = self.partitions.get(number)
        if partition is not None and partition.is_fetched and not partition.is_paused:
            self._on_deferred("fetch error")
            self.pause_and_retry(partition, partition.next_offset, cause)

    def _on_position_gone(self, number: int, error: KafkaError) -> None:
        """The log no longer has the events that are to be mapped next.

        Where the partition is paused or sought it is not our position that is gone: with `check.crcs` librdkafka goes
        on anywhere behind a damaged batch.
        """
        partition = self.partitions.get(number)
        if partition is not None and partition.is_usable:
            raise InputError(
                f"the position {partition.next_offset} of {self._events}[{number}] is gone: {error.str()}",
                hint="start again: `run` says what is missing, and `--start-from` decides",
            )


def _require_int(value: int | None) -> int:
    assert value is not None, "a record that was read has its partition and offset"
    return value
