"""The reference tables as this process has them: a thread reads the four topics into the local copy and keeps up.

Non-obvious:
1. The goal of catching up is the end as `read_uncommitted` gives it. `read_committed`, which rows are read as, ends
   below what a transaction is about to commit.
2. A compacted topic forgets that a row was deleted `delete.retention.ms` after the fact. A copy that was away for
   longer might keep for ever a row that nobody else has, so it is begun anew; so is one of another topic of the same
   name, and one whose position is gone.
"""

import hashlib
import math
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import platformdirs
import structlog
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka import TopicCollection as Topics
from confluent_kafka.admin import OffsetSpec

from processor.background import back_off_s, call_in_thread
from processor.domain.record import Topic
from processor.domain.reference import Table
from processor.domain.template import TemplateSet
from processor.errors import DependencyError, TopicConfigError, UnavailableError, UsageError
from processor.kafka.clients import Admin, create_admin, standalone_consumer
from processor.kafka.errors import (
    RETRIABLE_CONSUMER_ERRORS,
    error_of,
    fetch_error_text,
    is_partition_error,
    raise_if_unauthorized,
    translate_broker_errors,
)
from processor.kafka.topic_plan import (
    LEAST_DELETE_RETENTION_MS,
    ONE_PARTITION_HINT,
    longer_deletions_hint,
    several_partitions,
    short_deletions,
)
from processor.kafka.topic_state import topic_configs
from processor.mapping.reference import ROW_LIMIT_BYTES, fault_of
from processor.observability.metrics import REFERENCE_LAG_RECORDS, REFERENCE_ROWS, REFERENCE_ROWS_INVALID, Metrics
from processor.settings import Settings
from processor.tables.store import TableRecord, TableStore, UnreadableRow, is_copy, make_private, no_folder, remove_copy

log = structlog.get_logger()

REQUEST_S: Final = 10.0
BATCH_RECORDS: Final = 1_000
POLL_S: Final = 0.1
LOOK_S: Final = 30.0
CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # of Linux: goes on while the machine sleeps
CLOCK_STEP_S: Final = 300.0  # that the wall clock was set back by, across a restart: no sign of long absence
CLOSE_S: Final = 3.0
RETRY_S, LONGEST_RETRY_S = 0.5, 10.0  # first and longest back-off of a partition that cannot be read on
FIRST_FAULTS: Final = 20  # unreadable rows that are logged one by one, of each table once it is restored
FAULTS_EVERY: Final = 1_000  # then one in so many
NAMED_ROWS: Final = 5  # unreadable rows of a table that /ready names
READ_HINT: Final = "grant READ, DESCRIBE and DESCRIBE_CONFIGS on the reference topics"
LONGEST_NAME: Final = 80
COPY_NAME: Final = re.compile(rf"[\w.-]{{1,{LONGEST_NAME}}}-[0-9a-f]{{8}}", re.ASCII)  # as copy_folder gives them
TENANT_ROW_CONSEQUENCE: Final = "e-mails and SMS of all who have no nearer row fail"

Partition = tuple[Table, int]


@dataclass(frozen=True, slots=True)
class TableTopic:
    """The topic of a table as it is. `identity` is another one after it was deleted and created again."""

    table: Table
    name: Topic
    identity: str
    partitions: int
    deletions_ms: int  #: How long it keeps that a row was deleted, `delete.retention.ms`.


@dataclass(frozen=True, slots=True)
class _Moment:
    """A point in time, in seconds. Within a process durations are taken from `clock`, which nobody sets; over a restart
    from `wall`, since the epoch."""

    wall: float
    clock: float

    @classmethod
    def now(cls) -> "_Moment":
        return cls(time.time(), time.clock_gettime(CLOCK))


@dataclass(frozen=True, slots=True)
class _Look:
    """The topics as they were `at` a time: where partitions begin that are new to us, and where all end."""

    at: _Moment
    topics: Mapping[Table, TableTopic]
    firsts: Mapping[Partition, int]
    ends: Mapping[Partition, int]


@dataclass(frozen=True, slots=True)
class _Stuck:
    """Why a partition cannot be read on, how often in a row that was tried, and when it is tried again."""

    fault: str
    tries: int
    retry_at: float  #: Infinite while it is being tried.


class ReferenceTables:
    """Rows for mapping, kept up to date by a thread of its own. `get` and `check` are for the loop's thread."""

    def __init__(self, settings: Settings, *, name: str, metrics: Metrics) -> None:
        """Look at the topics and the copy of the process `name`. Blocks; nothing is read before `start`.

        Raises TopicConfigError when a topic is missing or cannot be copied faithfully, UnavailableError when the
        broker does not answer, AuthorizationError when it refuses, UsageError when the copy cannot be written,
        DependencyError when the disk is full.
        """
        self._settings = settings
        self._metrics = metrics
        self._admin = create_admin(settings)
        self._topics = table_topics(self._admin, settings)
        self._refuse_layout()
        self._tables = {one.name: one.table for one in self._topics.values()}
        asked = _partitions(self._topics)
        firsts = self._offsets(asked, OffsetSpec.earliest())
        self._goals_at = _Moment.now()
        self._goals = self._offsets(asked, OffsetSpec.latest())
        folder = copy_folder(settings, name)
        self._make_root(folder.parent)
        self._copy = TableStore(folder)
        self._remove_useless(folder)
        self._positions = self._begin(firsts)
        self._first_positions = dict(self._positions)
        self._faults = 0
        self._changed_topics: tuple[str, ...] = ()
        self._unreadable_reasons: tuple[str, ...] = ()
        self._stuck: dict[Partition, _Stuck] = {}
        self._failure: BaseException | None = None
        self._caught_up = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tables", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def get(self, table: Table, key: str) -> bytes | None:
        """The value of a row as it was last told; a question to the local disk, of microseconds."""
        return self._copy.get(table, key)

    def tell_unknown_categories(self, templates: TemplateSet) -> None:
        """Log the templates whose category has no row, where anybody tells of categories at all (T20)."""
        if not self._copy.has_rows(Table.CATEGORIES):
            return
        named = {one.id: one.category for one in templates.templates if one.active and one.category is not None}
        unknown = {name: category for name, category in named.items() if self.get(Table.CATEGORIES, category) is None}
        if unknown:
            log.warning(
                "template categories without a reference row", topic=self._topics[Table.CATEGORIES].name, **unknown
            )

    def check(self) -> None:
        """Raise what ended the thread, if it has ended; the loop asks at each turn."""
        if self._failure is not None:
            raise self._failure

    @property
    def caught_up(self) -> bool:
        """Whether all that the topics held at the start is here. `check` tells when that will never be."""
        return self._caught_up.is_set()

    @property
    def offsets_read(self) -> int:
        """How many offsets this process has read since it began."""
        return sum(at - self._first_positions.get(one, at) for one, at in list(self._positions.items()))

    def left(self) -> str:
        """How many records of which topics are to be read until then, for people."""
        behind = {
            self._topics[table].name: self._goals[table, n] - at
            for (table, n), at in list(self._positions.items())
            if at < self._goals.get((table, n), 0)
        }
        counts = ", ".join(f"{name} {count}" for name, count in sorted(behind.items())) or "none"
        return "; ".join((counts, *self._stuck_faults()))

    def _stuck_faults(self) -> tuple[str, ...]:
        return tuple(stuck.fault for stuck in self._stuck.copy().values())

    def close(self) -> None:
        """Stop reading and close the copy. Blocks for up to 3 s; a broker that does not answer is not waited for."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            log.warning("reference table consumer did not close in time")
            return
        self._copy.close()

    @property
    def degraded(self) -> tuple[str, ...]:
        """What is not as it should be, though the process can go on; any thread may ask."""
        return (*self._changed_topics, *self._stuck_faults(), *self._unreadable_reasons)

    # ------------------------------------------------------------------------------------------------ where to begin

    def _make_root(self, root: Path) -> None:
        try:
            make_private(root)
        except OSError as error:
            raise no_folder(root, error) from error

    def _refuse_layout(self) -> None:
        for topic in self._topics.values():
            if topic.partitions > 1 and not self._settings.reference.keys_are_stable:
                raise TopicConfigError(f"{topic.name} {several_partitions(topic.partitions)}", hint=ONE_PARTITION_HINT)
            if topic.deletions_ms < LEAST_DELETE_RETENTION_MS:
                hint = longer_deletions_hint(topic.name)
                raise TopicConfigError(f"{topic.name} {short_deletions(topic.deletions_ms)}", hint=hint)

    def _begin(self, firsts: Mapping[Partition, int]) -> dict[Partition, int]:
        """The positions to read from; those of the copy if it can be gone on with."""
        why = self._unusable(firsts)
        if why:
            log.warning("reference table store rebuilt", cause=why)
            self._copy.begin_anew()
        seen = self._copy.seen()
        if seen is None:
            seen = self._goals_at.wall
            self._copy.see(seen)
        self._complete_at = self._goals_at.clock - max(0.0, self._goals_at.wall - seen)
        for table, topic in self._topics.items():
            self._copy.is_of(table, topic.identity)
        begun = {}
        for (table, partition), first in firsts.items():
            position = self._copy.position(table, partition)
            begun[table, partition] = first if position is None else position
        return begun

    def _unusable(self, firsts: Mapping[Partition, int]) -> str:
        """Why the copy cannot be gone on with; empty when it can."""
        for table, topic in self._topics.items():
            if self._copy.topic(table) not in (None, topic.identity):
                return f"{topic.name} was created anew"
        for (table, partition), first in firsts.items():
            position = self._copy.position(table, partition)
            if position is not None and not first <= position <= self._goals[table, partition]:
                last = self._goals[table, partition]
                return f"its position {position} of {self._topics[table].name}[{partition}] is gone: {first} to {last}"
        seen = self._copy.seen()
        away_s = 0.0 if seen is None else self._goals_at.wall - seen
        kept_s = self._deletions_s(min)
        if -CLOCK_STEP_S <= away_s < kept_s / 2:  # the other half is for reading
            return ""
        return f"it was away for {away_s / 3600:.1f} h, and deletions are kept for {kept_s / 3600:.1f} h"

    def _deletions_s(self, of_all: Callable[[Iterable[int]], int]) -> float:
        return of_all(topic.deletions_ms for topic in self._topics.values()) / 1000

    def _remove_useless(self, ours: Path) -> None:
        """Copies beside ours that nobody has written to for so long that nobody can go on with them: a process that
        runs notes twice a minute how far it is. Containers that are created anew leave one each."""
        oldest = time.time() - 2 * self._deletions_s(max) - 3600
        for folder in ours.parent.iterdir():
            if folder == ours or not COPY_NAME.fullmatch(folder.name):
                continue
            with suppress(OSError):
                if is_copy(folder) and max(file.stat().st_mtime for file in (folder, *folder.iterdir())) < oldest:
                    remove_copy(folder)
                    log.info("abandoned reference table store removed", folder=folder.name)

    # ---------------------------------------------------------------------------------------------------- the thread

    def _run(self) -> None:
        try:
            self._follow()
        except BaseException as failure:  # goes up in the loop's thread
            self._failure = failure

    def _follow(self) -> None:
        reader = standalone_consumer(self._settings, more={"enable.partition.eof": True})
        try:
            reader.assign([self._at(one) for one in self._positions])
            self._judge()
            look_at = time.monotonic() + LOOK_S
            looking: Future[_Look] | None = None
            while not self._closing.is_set():
                self._try_again(reader)
                self._take(reader.consume(BATCH_RECORDS, POLL_S), reader)
                if not self._caught_up.is_set():
                    self._judge()
                if looking is not None and looking.done():
                    self._looked(looking, reader)
                    looking = None
                elif looking is None and time.monotonic() >= look_at:
                    look_at = time.monotonic() + LOOK_S
                    looking = call_in_thread(self._look, name="tables-look")
        finally:
            reader.close()

    def _at(self, partition: Partition) -> TopicPartition:
        table, number = partition
        return TopicPartition(self._topics[table].name, number, self._positions[partition])

    def _take(self, messages: list[Message], reader: Consumer) -> None:
        """Copy what was read, with the positions behind it; a partition that failed is read again later."""
        rows: list[TableRecord] = []
        moved: dict[Partition, int] = {}
        results: Counter[tuple[Table, str]] = Counter()
        failed: dict[Partition, str] = {}
        for message in messages:
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                self._note_failure(error, message, failed)
                continue
            table, offset, number = self._tables[Topic(message.topic() or "")], message.offset(), message.partition()
            assert offset is not None and number is not None
            if (table, number) in failed:
                continue  # behind what could not be read: librdkafka skips some of it
            self._stuck.pop((table, number), None)
            if error is not None:  # the end, behind what transactions have left there
                moved[table, number] = offset
                continue
            moved[table, number] = offset + 1
            row, has_key = _copied_row(table, number, offset, message), message.key() is not None
            if row.unreadable is not None and (self.caught_up or not has_key):  # else it may be corrected further on
                self._log_fault(row.unreadable)
            if has_key:
                rows.append(row)
            results[table, "invalid" if row.unreadable else "deleted" if row.value is None else "row"] += 1
        if moved:
            changed = self._copy.apply(rows, moved)
            self._positions |= moved
            if changed and self.caught_up:
                self._show_unreadable()
        for (table, result), count in results.items():
            self._metrics[REFERENCE_ROWS].labels(table=table, result=result).inc(count)
        for partition, fault in failed.items():
            self._retry_later(partition, fault, reader)

    def _note_failure(self, error: KafkaError, message: Message, failed: dict[Partition, str]) -> None:
        """Add to `failed` the partition that cannot be read on; raise what ends the thread."""
        raise_if_unauthorized(error, hint=READ_HINT)
        number = message.partition()
        if number is None or not is_partition_error(message):
            if error.code() not in RETRIABLE_CONSUMER_ERRORS:
                raise DependencyError(f"the reference tables cannot be read: {error.name()}: {error.str()}")
            log.warning("reference table consumer error", error=error.name(), detail=error.str())
            return
        partition = self._tables[Topic(message.topic() or "")], number
        stuck = self._stuck.get(partition)
        if partition in failed or (stuck is not None and stuck.retry_at < math.inf):
            return  # reported by a fetcher that had failed before
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            raise DependencyError(
                f"{message.topic()}[{number}] cannot be read on: {error.name()}: {error.str()}",
                hint="start again: the local copy is built again",
            )
        failed[partition] = fetch_error_text(message)

    def _retry_later(self, partition: Partition, fault: str, reader: Consumer) -> None:
        before = self._stuck.get(partition)
        tries = 0 if before is None else before.tries
        if before is None or before.fault != fault:
            log.error("reference table partition paused", cause=fault)
        wait_s = back_off_s(tries, first_s=RETRY_S, longest_s=LONGEST_RETRY_S)
        self._stuck[partition] = _Stuck(fault, tries + 1, time.monotonic() + wait_s)
        reader.incremental_unassign([self._at(partition)])

    def _try_again(self, reader: Consumer) -> None:
        """Read on where the time to wait is over. Assigned, not sought: a fetcher that has ended takes no seek."""
        for partition, stuck in self._stuck.items():
            if time.monotonic() >= stuck.retry_at:
                self._stuck[partition] = replace(stuck, retry_at=math.inf)
                reader.incremental_assign([self._at(partition)])

    def _log_fault(self, row: UnreadableRow) -> None:
        self._faults += 1
        if self._faults <= FIRST_FAULTS or self._faults % FAULTS_EVERY == 0 or self._is_tenants_account(row):
            self._log_unreadable(row)

    def _log_unreadable(self, row: UnreadableRow) -> None:
        more = {"consequence": TENANT_ROW_CONSEQUENCE} if self._is_tenants_account(row) else {}
        log.error(
            "invalid reference row",
            place=self._place(row),
            key=_shown_key(row),
            fault=row.fault,
            **more,
        )

    def _log_all_unreadable(self) -> None:
        """The rows that cannot be read now that all is here; those that were corrected since are not among them."""
        for table, topic in self._topics.items():
            named = self._unreadable(table, most=FIRST_FAULTS)
            for row in named:
                self._log_unreadable(row)
            if (more := self._copy.unreadable_count(table) - len(named)) > 0:
                log.error("more invalid reference rows", topic=topic.name, rows=more)

    def _show_unreadable(self) -> None:
        """Show in /ready and the metrics which rows cannot be read now."""
        reasons = []
        for table, topic in self._topics.items():
            count = self._copy.unreadable_count(table)
            self._metrics[REFERENCE_ROWS_INVALID].labels(table=table).set(count)
            named = self._unreadable(table, most=NAMED_ROWS)
            for row in named:
                consequence = f": {TENANT_ROW_CONSEQUENCE}" if self._is_tenants_account(row) else ""
                reasons.append(f"{self._place(row)}: the row {_shown_key(row)} cannot be read{consequence}")
            if count > len(named):
                reasons.append(f"{topic.name}: {count - len(named)} more rows cannot be read")
        self._unreadable_reasons = tuple(reasons)

    def _unreadable(self, table: Table, *, most: int) -> list[UnreadableRow]:
        return self._copy.unreadable(table, first=self._settings.required_tenant, most=most)

    def _is_tenants_account(self, row: UnreadableRow) -> bool:
        return row.table == Table.ACCOUNTS and row.key == self._settings.required_tenant.encode()

    def _place(self, row: UnreadableRow) -> str:
        return f"{self._topics[row.table].name}[{row.partition}]@{row.offset}"

    def _judge(self) -> None:
        """Say so once all is here that was there at the start."""
        self._tell_lag(self._goals)
        if all(self._positions[one] >= goal for one, goal in self._goals.items()):
            self._see(self._goals_at)
            self._log_all_unreadable()
            self._show_unreadable()
            self._caught_up.set()
            log.info("reference tables restored", offsets_read=self.offsets_read)

    def _see(self, at: _Moment) -> None:
        """Note that the copy had all that there was `at` that time, unless a deleted row may have been missed."""
        cut_off_s, kept_s = _Moment.now().clock - self._complete_at, self._deletions_s(min)
        if cut_off_s >= kept_s:
            self._copy.spoil()
            raise DependencyError(
                f"the reference tables could not be read for {cut_off_s / 3600:.1f} h, and deletions are kept for "
                f"{kept_s / 3600:.1f} h",
                hint="start again: the local copy is built again",
            )
        self._complete_at = at.clock
        self._copy.see(at.wall)

    def _look(self) -> _Look:
        """Twice a minute, in a thread: the topics as they are, and where they begin and end."""
        at = _Moment.now()
        topics = table_topics(self._admin, self._settings)
        partitions = _partitions(topics)
        firsts = self._offsets([one for one in partitions if one not in self._positions], OffsetSpec.earliest())
        ends = self._offsets(partitions, OffsetSpec.latest(), IsolationLevel.READ_COMMITTED)
        return _Look(at, topics, firsts, ends)

    def _looked(self, looked: Future[_Look], reader: Consumer) -> None:
        """New partitions are taken up, and it is noted how far the copy is."""
        try:
            look = looked.result()
        except (UnavailableError, TopicConfigError) as unavailable:
            log.warning("reference topic metadata unavailable", cause=str(unavailable))
            self._changed_topics = (f"reference topic metadata unavailable: {unavailable}".partition("\n")[0],)
            return
        for table, topic in look.topics.items():
            if topic.identity != self._topics[table].identity:
                raise DependencyError(f"{topic.name} was created anew", hint="start again: the copy is begun anew")
        self._topics = dict(look.topics)
        changes = tuple(self._topic_changes())
        for change in changes:
            if change not in self._changed_topics:
                log.warning("reference topic changed", cause=change)
        self._changed_topics = changes
        if look.firsts:
            self._positions |= look.firsts
            reader.incremental_assign([self._at(one) for one in look.firsts])
        self._tell_lag(look.ends)
        if self.caught_up and all(self._positions[one] >= end for one, end in look.ends.items()):
            self._see(look.at)

    def _topic_changes(self) -> Iterator[str]:
        """What was done to the topics while we ran. Rows are taken in the order in which they come, which is right; a
        copy that is built later would not have that order, so the next start refuses."""
        for topic in self._topics.values():
            if topic.partitions > 1 and not self._settings.reference.keys_are_stable:
                yield (
                    f"{topic.name} was grown to {topic.partitions} partitions: the next start will refuse it; "
                    "`processor topics` says what to do"
                )
            if topic.deletions_ms < LEAST_DELETE_RETENTION_MS:
                yield (
                    f"{topic.name} has delete.retention.ms={topic.deletions_ms} now: the next start will refuse it; "
                    "`processor topics` says what to do"
                )

    def _tell_lag(self, ends: Mapping[Partition, int]) -> None:
        left = dict.fromkeys(Table, 0)
        for (table, number), end in ends.items():
            left[table] += max(0, end - self._positions[table, number])
        for table, records in left.items():
            self._metrics[REFERENCE_LAG_RECORDS].labels(table=table).set(records)

    def _offsets(
        self,
        partitions: Iterable[Partition],
        spec: OffsetSpec,
        isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
    ) -> dict[Partition, int]:
        asked = {TopicPartition(self._topics[table].name, n): (table, n) for table, n in partitions}
        if not asked:
            return {}
        futures = self._admin.list_offsets(
            dict.fromkeys(asked, spec), isolation_level=isolation, request_timeout=REQUEST_S
        )
        with translate_broker_errors(self._admin, hint=READ_HINT):
            return {asked[tp]: future.result(REQUEST_S + 2).offset for tp, future in futures.items()}


def _copied_row(table: Table, partition: int, offset: int, message: Message) -> TableRecord:
    """A record of a table as the copy has it, readable or not: one that cannot be read is no missing row.

    A value that is too large is cut, and still too large. Without a key the record has an empty one, and is unreadable.
    """
    key, value = message.key(), message.value()
    fault = _fault(table, key, value)
    unreadable = UnreadableRow(table, key or b"", partition, offset, fault) if fault else None
    return TableRecord(table, key or b"", None if value is None else value[: ROW_LIMIT_BYTES + 1], unreadable)


def _fault(table: Table, key: bytes | None, value: bytes | None) -> str:
    """What is wrong with a record of a table, for who wrote it; empty when nothing is."""
    if key is None:
        return "it has no key"
    if value is None:
        return ""
    try:
        return fault_of(table, key.decode(), value)
    except UnicodeDecodeError:
        return "its key is not UTF-8"


def _shown_key(row: UnreadableRow) -> str:
    return row.key.decode(errors="replace")[:LONGEST_NAME]


def table_topics(asker: Admin, settings: Settings) -> dict[Table, TableTopic]:
    """The four topics. Blocks for two requests; errors as the constructor's of Tables."""
    names = {table: settings.topic(table.value) for table in Table}
    missing: list[str] = []
    topics = {}
    with translate_broker_errors(asker, hint=READ_HINT):
        for name, described in asker.describe_topics(Topics(list(names.values())), request_timeout=REQUEST_S).items():
            try:
                topics[name] = described.result(REQUEST_S + 2)
            except KafkaException as exception:
                if error_of(exception).code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
                missing.append(name)
        if missing:
            raise TopicConfigError(
                f"topics are missing: {', '.join(missing)}", hint="`processor topics --create` creates what is missing"
            )
        configs = topic_configs(asker, names.values())
    return {
        table: TableTopic(
            table,
            name,
            f"{topics[name].topic_id}",
            len(topics[name].partitions),
            int(configs[name]["delete.retention.ms"]),
        )
        for table, name in names.items()
    }


def _partitions(topics: Mapping[Table, TableTopic]) -> list[Partition]:
    return [(table, number) for table, topic in topics.items() for number in range(topic.partitions)]


def copy_folder(settings: Settings, name: str) -> Path:
    """The folder of the copy of the process `name`, its transactional.id: stable over restarts, used by it alone.

    Raises UsageError where neither the settings nor the user's home say where it is.
    """
    try:
        root = settings.state_dir or platformdirs.user_state_path("processor")
    except RuntimeError as error:  # neither HOME nor an entry in the system's list of users, as in some containers
        raise UsageError(
            "no folder for the local copy of the reference tables: this user has no home directory",
            hint="PROCESSOR_STATE_DIR names a folder that can be written",
        ) from error
    readable = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)[:LONGEST_NAME]
    return root / "tables" / f"{readable}-{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}"
