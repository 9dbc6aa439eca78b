"""The reference tables of this process: a thread reads their topics into the local store, and goes on reading.

Non-obvious:
1. The tables are restored when the end that a `read_uncommitted` reader sees is reached. Rows are read as
   `read_committed`, whose end lies below what a transaction is about to commit.
2. A compacted topic forgets that a row was deleted `delete.retention.ms` after the fact. A store that was away for
   longer might keep for ever a row that nobody else has, so it is rebuilt; so is one of another topic of the same
   name, and one whose position is gone.
"""

import hashlib
import math
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import platformdirs
import structlog
from confluent_kafka import Consumer, IsolationLevel, KafkaError, Message, TopicPartition
from confluent_kafka.admin import OffsetSpec

from processor.background import PeriodicCall, back_off_s
from processor.domain.record import Topic
from processor.domain.reference import Table
from processor.domain.template import TemplateSet
from processor.errors import DependencyError, TopicConfigError, UnavailableError, UsageError
from processor.kafka.clients import create_admin, standalone_consumer
from processor.kafka.errors import (
    RETRIABLE_CONSUMER_ERRORS,
    fetch_error_text,
    is_partition_error,
    raise_if_unauthorized,
)
from processor.observability.metrics import REFERENCE_LAG_RECORDS, REFERENCE_ROWS, Metrics
from processor.settings import Settings
from processor.tables.invalid_rows import InvalidRows, table_record
from processor.tables.store import TableRecord, TableStore, folder_error, is_store, make_private, remove_store
from processor.tables.topics import (
    READ_HINT,
    TablePartition,
    TableTopic,
    check_table_topics,
    describe_table_topics,
    partitions_of,
    read_offsets,
    topic_changes,
    with_topics,
)

log = structlog.get_logger()

POLL_RECORDS: Final = 1_000
POLL_TIMEOUT_S: Final = 0.1
TOPIC_POLL_INTERVAL_S: Final = 30.0
MONOTONIC_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # Linux's goes on during sleep
MAX_CLOCK_STEP_S: Final = 300.0  # back, of the wall clock over a restart: no sign of long absence
CLOSE_TIMEOUT_S: Final = 3.0
RETRY_BACKOFF_S: Final = 0.5  # of a partition that cannot be read; doubled with each failure
MAX_RETRY_BACKOFF_S: Final = 10.0
ABANDONED_AFTER_S: Final = 3_600.0  # beside twice the time that deletions are kept
MAX_NAME_CHARACTERS: Final = 80
STORE_NAME: Final = re.compile(rf"[\w.-]{{1,{MAX_NAME_CHARACTERS}}}-[0-9a-f]{{8}}", re.ASCII)  # as store_folder gives


@dataclass(frozen=True, slots=True)
class _Moment:
    """A point in time, in seconds. Within a process durations are taken from `clock`, which nobody sets; over a restart
    from `wall`, since the epoch."""

    wall: float
    clock: float

    @classmethod
    def now(cls) -> "_Moment":
        return cls(time.time(), time.clock_gettime(MONOTONIC_CLOCK))


@dataclass(frozen=True, slots=True)
class _TopicState:
    """The topics as they were `at` a time: where partitions begin that are new to us, and where all end."""

    at: _Moment
    topics: Mapping[Table, TableTopic]
    first_offsets: Mapping[TablePartition, int]
    end_offsets: Mapping[TablePartition, int]


@dataclass(frozen=True, slots=True)
class _PausedPartition:
    """Why a partition cannot be read on, how often in a row that was tried, and when it is tried again."""

    error: str
    attempts: int
    retry_at: float  #: Infinite while it is being tried.


@dataclass(slots=True)
class _Batch:
    """What one poll gave: records, the positions behind them, and the partitions that failed, with the error."""

    records: list[TableRecord] = field(default_factory=list)
    positions: dict[TablePartition, int] = field(default_factory=dict)
    results: Counter[tuple[Table, str]] = field(default_factory=Counter)
    failed: dict[TablePartition, str] = field(default_factory=dict)


class ReferenceTables:
    """Rows for mapping, kept up to date by a thread of its own. `get` and `check` are for the loop's thread."""

    def __init__(self, settings: Settings, *, name: str, metrics: Metrics) -> None:
        """Read the state of the topics and open the store of the process `name`. Blocks; no row is read before `start`.

        Raises TopicConfigError when a topic is missing or cannot be stored faithfully, UnavailableError when the
        broker does not respond, AuthorizationError when it refuses, UsageError when the store cannot be written,
        DependencyError when the disk is full.
        """
        self._settings = settings
        self._metrics = metrics
        self._admin = create_admin(settings)
        self._topics = describe_table_topics(self._admin, settings)
        check_table_topics(self._topics, settings)
        self._tables = {topic.name: topic.table for topic in self._topics.values()}
        partitions = with_topics(partitions_of(self._topics), self._topics)
        first_offsets = read_offsets(self._admin, partitions, OffsetSpec.earliest())
        self._target_at = _Moment.now()
        self._target_offsets = read_offsets(self._admin, partitions, OffsetSpec.latest())
        folder = store_folder(settings, name)
        _create_root(folder.parent)
        self._store = TableStore(folder)
        self._remove_abandoned(folder)
        self._positions = self._resume(first_offsets)
        self._first_positions = dict(self._positions)
        self._invalid_rows = InvalidRows(self._store, tenant=settings.required_tenant, metrics=metrics)
        self._topic_warnings: tuple[str, ...] = ()
        self._paused: dict[TablePartition, _PausedPartition] = {}
        self._failure: BaseException | None = None
        self._restored = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tables", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def get(self, table: Table, key: str) -> bytes | None:
        """The latest value of a row; a read of the local disk, of microseconds."""
        return self._store.get(table, key)

    def log_unknown_categories(self, templates: TemplateSet) -> None:
        """Log the templates whose category has no row, where the table of categories has any at all (T20)."""
        if not self._store.has_rows(Table.CATEGORIES):
            return
        topic = self._topics[Table.CATEGORIES].name
        unknown = {
            str(template.id): template.category
            for template in templates.templates
            if template.active
            and template.category is not None
            and self.get(Table.CATEGORIES, template.category) is None
        }
        if unknown:
            log.warning("template categories without a reference row", topic=topic, **unknown)

    def check(self) -> None:
        """Raise what ended the thread, if it has ended; the loop calls this in each pass."""
        if self._failure is not None:
            raise self._failure

    @property
    def restored(self) -> bool:
        """Whether all that the topics held at the start is here. `check` raises when that will never be."""
        return self._restored.is_set()

    @property
    def offsets_read(self) -> int:
        """How many offsets this process has read so far."""
        return sum(
            position - self._first_positions.get(partition, position)
            for partition, position in list(self._positions.items())
        )

    def remaining(self) -> str:
        """How many records of which topics are to be read until then, for people."""
        behind = {
            self._topics[table].name: self._target_offsets[table, number] - position
            for (table, number), position in list(self._positions.items())
            if position < self._target_offsets.get((table, number), 0)
        }
        counts = ", ".join(f"{name} {count}" for name, count in sorted(behind.items())) or "none"
        return "; ".join((counts, *self._paused_errors()))

    def close(self) -> None:
        """Stop reading and close the store. Blocks for up to 3 s; a broker that does not respond is not waited for."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            log.warning("reference table consumer did not close in time")
            return
        self._store.close()

    @property
    def degraded(self) -> tuple[str, ...]:
        """What is not as it should be, though the process can go on. Thread-safe."""
        return (*self._topic_warnings, *self._paused_errors(), *self._invalid_rows.reasons)

    def _paused_errors(self) -> tuple[str, ...]:
        return tuple(paused.error for paused in self._paused.copy().values())

    # ------------------------------------------------------------------------------------------------ where to begin

    def _resume(self, first_offsets: Mapping[TablePartition, int]) -> dict[TablePartition, int]:
        """The positions to read from: those of the store, which is reset first if it cannot be used any more."""
        if reason := self._staleness(first_offsets):
            log.warning("reference table store rebuilt", cause=reason)
            self._store.reset()
        current_at = self._store.last_current_at()
        if current_at is None:
            current_at = self._target_at.wall
            self._store.mark_current(current_at)
        self._current_at = self._target_at.clock - max(0.0, self._target_at.wall - current_at)
        for table, topic in self._topics.items():
            self._store.set_topic_id(table, topic.topic_id)
        positions = {}
        for (table, partition), first_offset in first_offsets.items():
            position = self._store.position(table, partition)
            positions[table, partition] = first_offset if position is None else position
        return positions

    def _staleness(self, first_offsets: Mapping[TablePartition, int]) -> str:
        """Why the store cannot be used any more; empty when it can."""
        for table, topic in self._topics.items():
            if self._store.topic_id(table) not in (None, topic.topic_id):
                return f"{topic.name} was deleted and created again"
        for (table, partition), first in first_offsets.items():
            position, end = self._store.position(table, partition), self._target_offsets[table, partition]
            if position is not None and not first <= position <= end:
                return f"its position {position} of {self._topics[table].name}[{partition}] is gone: {first} to {end}"
        current_at = self._store.last_current_at()
        away_s = 0.0 if current_at is None else self._target_at.wall - current_at
        kept_s = self._delete_retention_s(min)
        if -MAX_CLOCK_STEP_S <= away_s < kept_s / 2:  # the other half is for reading
            return ""
        return f"it was away for {away_s / 3600:.1f} h, and deletions are kept for {kept_s / 3600:.1f} h"

    def _delete_retention_s(self, aggregate: Callable[[Iterable[int]], int]) -> float:
        return aggregate(topic.delete_retention_ms for topic in self._topics.values()) / 1000

    def _remove_abandoned(self, own_folder: Path) -> None:
        """Remove the stores beside ours that were not written to for so long that they cannot be used any more: a
        running process writes to its store twice a minute. Containers that are replaced leave one each."""
        oldest = time.time() - 2 * self._delete_retention_s(max) - ABANDONED_AFTER_S
        for folder in own_folder.parent.iterdir():
            if folder == own_folder or not STORE_NAME.fullmatch(folder.name):
                continue
            with suppress(OSError):
                if is_store(folder) and max(file.stat().st_mtime for file in (folder, *folder.iterdir())) < oldest:
                    remove_store(folder)
                    log.info("abandoned reference table store removed", folder=folder.name)

    # ---------------------------------------------------------------------------------------------------- the thread

    def _run(self) -> None:
        try:
            self._follow()
        except BaseException as failure:  # raised again in the loop's thread
            self._failure = failure

    def _follow(self) -> None:
        consumer = standalone_consumer(self._settings, more={"enable.partition.eof": True})
        topic_state: PeriodicCall[_TopicState] = PeriodicCall(
            name="tables-topics", interval_s=TOPIC_POLL_INTERVAL_S, first_after_s=TOPIC_POLL_INTERVAL_S
        )
        try:
            consumer.assign(list(map(self._position, self._positions)))
            self._check_restored()
            while not self._closing.is_set():
                self._retry_paused(consumer)
                self._apply(consumer.consume(POLL_RECORDS, POLL_TIMEOUT_S), consumer)
                if not self.restored:
                    self._check_restored()
                if (polled := topic_state.poll(self._read_topic_state)) is not None:
                    self._apply_topic_state(polled, consumer)
        finally:
            consumer.close()

    def _position(self, partition: TablePartition) -> TopicPartition:
        table, number = partition
        return TopicPartition(self._topics[table].name, number, self._positions[partition])

    def _apply(self, messages: list[Message], consumer: Consumer) -> None:
        """Store what was read, with the positions behind it; a partition that failed is read again later."""
        batch = _Batch()
        for message in messages:
            self._add(message, batch)
        if batch.positions:
            changed = self._store.apply(batch.records, batch.positions)
            self._positions |= batch.positions
            if changed and self.restored:
                self._invalid_rows.update(self._topics)
        for (table, result), count in batch.results.items():
            self._metrics[REFERENCE_ROWS].labels(table=table, result=result).inc(count)
        for partition, error in batch.failed.items():
            self._pause(partition, error, consumer)

    def _add(self, message: Message, batch: _Batch) -> None:
        """Add a record, an end of a partition, or an error to the batch; raise what ends the thread."""
        error = message.error()
        is_end = error is not None and error.code() == KafkaError._PARTITION_EOF
        if error is not None and not is_end:
            self._add_error(error, message, batch)
            return
        table, offset, number = self._tables[Topic(message.topic() or "")], message.offset(), message.partition()
        assert offset is not None and number is not None, "a record and an end have their place"
        if (table, number) in batch.failed:
            return  # behind what could not be read: librdkafka skips some of it
        self._paused.pop((table, number), None)
        if is_end:  # behind the markers that transactions have left
            batch.positions[table, number] = offset
            return
        batch.positions[table, number] = offset + 1
        record, has_key = table_record(table, number, offset, message), message.key() is not None
        if record.invalid is not None and (self.restored or not has_key):  # else a later record may correct it
            self._invalid_rows.log_new(record.invalid, self._topics)
        if has_key:
            batch.records.append(record)
        batch.results[table, "invalid" if record.invalid else "deleted" if record.value is None else "row"] += 1

    def _add_error(self, error: KafkaError, message: Message, batch: _Batch) -> None:
        """Add the partition that cannot be read on to the failed ones; raise what ends the thread."""
        raise_if_unauthorized(error, hint=READ_HINT)
        number = message.partition()
        if number is None or not is_partition_error(message):
            if error.code() not in RETRIABLE_CONSUMER_ERRORS:
                raise DependencyError(f"the reference tables cannot be read: {error.name()}: {error.str()}")
            log.warning("reference table consumer error", error=error.name(), detail=error.str())
            return
        partition = self._tables[Topic(message.topic() or "")], number
        paused = self._paused.get(partition)
        if partition in batch.failed or (paused is not None and paused.retry_at < math.inf):
            return  # of a fetcher that had failed before
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            raise DependencyError(
                f"{message.topic()}[{number}] cannot be read on: {error.name()}: {error.str()}",
                hint="restart to rebuild the local store",
            )
        batch.failed[partition] = fetch_error_text(message)

    def _pause(self, partition: TablePartition, error: str, consumer: Consumer) -> None:
        before = self._paused.get(partition)
        attempts = 0 if before is None else before.attempts
        if before is None or before.error != error:
            log.error("reference table partition paused", cause=error)
        wait_s = back_off_s(attempts, first_s=RETRY_BACKOFF_S, longest_s=MAX_RETRY_BACKOFF_S)
        self._paused[partition] = _PausedPartition(error, attempts + 1, time.monotonic() + wait_s)
        consumer.incremental_unassign([self._position(partition)])

    def _retry_paused(self, consumer: Consumer) -> None:
        """Read on where the time to wait is over. Assigned, not sought: a fetcher that has ended takes no seek."""
        for partition, paused in self._paused.items():
            if time.monotonic() >= paused.retry_at:
                self._paused[partition] = replace(paused, retry_at=math.inf)
                consumer.incremental_assign([self._position(partition)])

    def _has_reached(self, offsets: Mapping[TablePartition, int]) -> bool:
        return all(self._positions[partition] >= offset for partition, offset in offsets.items())

    def _check_restored(self) -> None:
        """Mark the tables as restored once all is here that was there at the start."""
        self._export_lag(self._target_offsets)
        if self._has_reached(self._target_offsets):
            self._mark_current(self._target_at)
            self._invalid_rows.log_all(self._topics)
            self._invalid_rows.update(self._topics)
            self._restored.set()
            log.info("reference tables restored", offsets_read=self.offsets_read)

    def _mark_current(self, at: _Moment) -> None:
        """Note that the store had all that there was `at` that time, unless a deleted row may have been missed."""
        cut_off_s, kept_s = _Moment.now().clock - self._current_at, self._delete_retention_s(min)
        if cut_off_s >= kept_s:
            self._store.mark_corrupt()
            raise DependencyError(
                f"the reference tables could not be read for {cut_off_s / 3600:.1f} h, and deletions are kept for "
                f"{kept_s / 3600:.1f} h",
                hint="restart to rebuild the local store",
            )
        self._current_at = at.clock
        self._store.mark_current(at.wall)

    def _read_topic_state(self) -> _TopicState:
        """Twice a minute, in a thread: the topics as they are, and where they begin and end. Blocks."""
        at = _Moment.now()
        topics = describe_table_topics(self._admin, self._settings)
        partitions = with_topics(partitions_of(topics), topics)
        new = {partition: topic for partition, topic in partitions.items() if partition not in self._positions}
        first_offsets = read_offsets(self._admin, new, OffsetSpec.earliest())
        end_offsets = read_offsets(
            self._admin, partitions, OffsetSpec.latest(), isolation=IsolationLevel.READ_COMMITTED
        )
        return _TopicState(at, topics, first_offsets, end_offsets)

    def _apply_topic_state(self, polled: "Future[_TopicState]", consumer: Consumer) -> None:
        """Read new partitions too, and note how far the store is."""
        try:
            state = polled.result()
        except (UnavailableError, TopicConfigError) as unavailable:
            log.warning("reference topic metadata unavailable", cause=str(unavailable))
            self._topic_warnings = (f"reference topic metadata unavailable: {unavailable}".partition("\n")[0],)
            return
        for table, topic in state.topics.items():
            if topic.topic_id != self._topics[table].topic_id:
                raise DependencyError(
                    f"{topic.name} was deleted and created again", hint="restart to rebuild the local store"
                )
        self._topics = dict(state.topics)
        changes = tuple(topic_changes(self._topics, self._settings))
        for change in changes:
            if change not in self._topic_warnings:
                log.warning("reference topic changed", cause=change)
        self._topic_warnings = changes
        if state.first_offsets:
            self._positions |= state.first_offsets
            consumer.incremental_assign(list(map(self._position, state.first_offsets)))
        self._export_lag(state.end_offsets)
        if self.restored and self._has_reached(state.end_offsets):
            self._mark_current(state.at)

    def _export_lag(self, end_offsets: Mapping[TablePartition, int]) -> None:
        lag = dict.fromkeys(Table, 0)
        for (table, number), end in end_offsets.items():
            lag[table] += max(0, end - self._positions[table, number])
        for table, records in lag.items():
            self._metrics[REFERENCE_LAG_RECORDS].labels(table=table).set(records)


def _create_root(root: Path) -> None:
    try:
        make_private(root)
    except OSError as error:
        raise folder_error(root, error) from error


def store_folder(settings: Settings, name: str) -> Path:
    """The folder of the store of the process `name`, its transactional.id: stable over restarts, used by it alone.

    Raises UsageError where neither the settings nor the user's home say where it is.
    """
    try:
        root = settings.state_dir or platformdirs.user_state_path("processor")
    except RuntimeError as error:  # neither HOME nor an entry in the system's list of users, as in some containers
        raise UsageError(
            "no folder for the local store of the reference tables: this user has no home directory",
            hint="set PROCESSOR_STATE_DIR to a folder that can be written",
        ) from error
    readable = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)[:MAX_NAME_CHARACTERS]
    return root / "tables" / f"{readable}-{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}"
