"""The engine: poll, decode, map, publish and commit as one, again and again.

The journey of a record: `EventConsumer.poll` gives it, `decode_record` makes its event, the deduplication window of its
partition says whether that is a duplicate, `map_event` makes its outcome, and `TransactionalPublisher.publish` puts the
outcome's outputs and the partition's position into one transaction. The consumer is never polled inside an open
transaction, so no rebalance meets one.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from itertools import chain, islice, repeat, takewhile
from traceback import format_tb

import structlog
from confluent_kafka import KafkaException

from processor.background import back_off_s
from processor.domain.event import SeenEvent, SourceEvent
from processor.domain.outcome import (
    BatchOutcome,
    Deferred,
    MappingPath,
    Outcome,
    PlannedMessages,
    PlannedRun,
    Processed,
)
from processor.domain.record import OutRecord, RecordPosition, SourceRecord
from processor.engine import completion
from processor.engine.batch import ProcessedRecords, outcomes_of, record_count_of, split_batch
from processor.engine.circuit_breaker import CircuitBreakers
from processor.engine.completion import STALL_HINT, CompletionWatch
from processor.engine.consumer import PolledRecords
from processor.engine.instance_id import claim_transactional_id
from processor.engine.mapping_parts import retry_until_available
from processor.engine.partition import AssignedPartition
from processor.engine.publisher import NotCommitted, TransactionResult
from processor.engine.startup import EngineParts, RunContext, connect, load_local_parts
from processor.engine.startup_guard import MAX_HOLD_S, RecentRecords, StartupGuard
from processor.engine.status import SCHEMA_REFUSED, EngineStatus
from processor.engine.step import Step, StepHook
from processor.errors import FatalError, InternalError, StalledError, TopicConfigError, UnavailableError
from processor.kafka.errors import error_of
from processor.mapping.decode_record import decode_record
from processor.mapping.map import map_event
from processor.mapping.plan_observer import PlanRefusal
from processor.mapping.rejections import error_place, refuse_outputs, reject_for_error
from processor.observability.signals import ShutdownRequested, shutdown_signals
from processor.settings import InputTopic, Settings, Switch
from processor.wire.template_sets import template_set_records

log = structlog.get_logger()

MAX_RUN_RECORDS = 500  # of one partition, mapped as one run, before the client gets their outputs
MAX_AHEAD_RECORDS = 64  # scanned ahead, or mapped, by one call; the time is looked at between two of them
MAX_SCANNED_AHEAD_BYTES = 262_144  # what a pass scans and has no time to map, the next one scans again
PROCESSING_TIME_S = 0.5  # of one pass, then what is processed is published; the call under way is finished first
IDLE_COMMIT_INTERVAL_S = 1.0
TRACEBACK_FRAMES = 20  # the innermost, of an error while mapping
MAX_KEPT_VALUE_BYTES = 65_536  # a larger value is let go once its record is mapped: 150 MB would end the holding back
MAX_HELD_BYTES = 64_000_000  # in memory, while the first records are nearly all bad
RETRY_BACKOFF_S, MAX_RETRY_BACKOFF_S = 0.1, 5.0  # after transactions that did not commit
HEARTBEAT_INTERVAL_S = 0.05  # while waiting for that
REWIND_RETRY_INTERVAL_S = 0.2

NOT_A_MEMBER = NotCommitted(
    error="UNKNOWN_MEMBER_ID",
    detail="the group has shut us out",
    is_record_error=False,
    result=TransactionResult.ABORTED,
)


def run(
    settings: Settings,
    *,
    until_end: bool = False,
    start_from: str | None = None,
    on_step: StepHook = lambda _step: None,
    status: EngineStatus | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Map events until SIGTERM or SIGINT, or with `until_end` until every partition has reached the end it had.

    Blocks. `start_from` is the text of `--start-from`; `on_step` is called at each step; `status` is what health,
    readiness and metrics show; `clock` (seconds, never back) says when a record ASSIGNED is a day old. Raises a
    FatalError for every end that is not clean (errors.py).
    """
    local = load_local_parts(settings, start_from=start_from)
    with (
        claim_transactional_id(settings) as transactional_id,
        shutdown_signals() as shutdown,
        ExitStack() as stack,
        suppress(ShutdownRequested),
    ):
        context = RunContext(transactional_id, shutdown, status or EngineStatus.unobserved(), on_step, until_end, clock)
        parts = connect(local, context, stack)
        loop = Loop(parts)
        if until_end:
            loop.run_until(
                retry_until_available(parts.start_offsets.end_offsets, shutdown, server=settings.bootstrap_servers)
            )
        else:
            loop.run()


@dataclass(frozen=True, slots=True)
class RefusedOutputs:
    """A record's outputs that the broker refused, with its words.

    `drop_value`: it refused the dead letter too, which then goes without the record's value.
    """

    error_text: str
    drop_value: bool


@dataclass(slots=True)
class _Room:
    """What a pass may still process: so many records, about so many bytes of outputs, and until when."""

    records: int
    output_bytes: int
    until: float

    @property
    def is_left(self) -> bool:
        return self.records > 0 and self.output_bytes > 0

    @property
    def is_time_over(self) -> bool:
        return time.monotonic() >= self.until

    def take(self, outcome: BatchOutcome) -> None:
        """What was processed."""
        self.records -= outcome.record_count
        self.output_bytes -= outcome.output_bytes


class Loop:
    """The loop. Owns no client: `connect` joins the parts, and closes them."""

    def __init__(self, parts: EngineParts) -> None:
        self._settings = parts.settings
        self._shutdown = parts.shutdown
        self._status = parts.status
        self._on_step = parts.on_step
        self._context = parts.mapping.context
        self._schema_of = parts.mapping.schema_of
        self._read_topics = parts.read_topics
        self._topic_watch = parts.topic_watch
        self._reloader = parts.reloader
        self._tables = parts.mapping.tables
        self._start_offsets = parts.start_offsets
        self._consumer = parts.consumer
        self._publisher = parts.publisher
        self._assigned_records = parts.assigned_records
        self._garbage = parts.garbage
        self._events = parts.settings.topic(InputTopic.EVENTS)
        self._published_sets = set(parts.mapping.published.keys)
        self._guard = StartupGuard(parts.settings.max_rejected_ratio)
        self._recent = RecentRecords(parts.settings.max_rejected_ratio)
        self._breakers = CircuitBreakers()
        self._suspends_templates = parts.settings.circuit_breaker is Switch.ON
        self._max_records = parts.settings.max_batch_records  #: Of one transaction; halved to find a refused record.
        self._backlog: deque[PolledRecords] = deque()  #: Polled and not mapped yet, in order.
        self._published_ahead = 0  #: How many outcomes of the batch under way are in the transaction under way.
        self._began_ahead_at = 0.0  #: When that transaction was begun.
        self._suspect: RecordPosition | None = None  #: Mapping raised an error for it; it is mapped once more, alone.
        self._refused: dict[RecordPosition, RefusedOutputs] = {}
        self._idle_commit_at = 0.0
        self._failure_count = 0  #: Transactions in a row that did not commit.
        self._failure: NotCommitted | None = None  #: The last of them.
        self._completion: CompletionWatch | None = None  #: Under `--until-end`.

    def run(self) -> None:
        """Until a shutdown is requested."""
        while not self._shutdown.requested:
            self.run_once()

    def run_until(self, end_offsets: Mapping[int, int]) -> None:
        """Until our partitions have committed what they held when they were assigned, or a shutdown is requested.

        A member without partitions is done when the whole group has reached `end_offsets`.
        """
        self._completion = CompletionWatch(end_offsets, self._start_offsets.positions)
        while not self._shutdown.requested:
            self.run_once()
            partitions = self._consumer.partitions.values()
            if self._completion.update(partitions):
                if partitions:
                    self._guard.check((), at_end=True)  # what was held back in vain and let through
                log.info("reached the end", partitions=len(partitions))
                return
            self._raise_if_stalled()

    def run_once(self) -> None:
        """Poll, process what came until it fills a transaction or `PROCESSING_TIME_S` is over, and publish that.

        The rest is left for the next pass, so that the group hears from us in time, however much there is to process.
        """
        self._garbage.collect()  # no batch is there now
        self._check_dependencies()
        # Before the poll: should it fail, all partitions are sought. The poll then gives our membership as it is now.
        self._commit_initial_offsets()
        if not self._shutdown.deadline_passed():
            self._apply_reload()
        if self._shutdown.deadline_passed():
            return
        self._poll()
        self._on_step(Step.POLLED)
        self._update_status()
        if not self._backlog:
            self._status.clear_failure()
            self._commit_idle_positions()
            return
        batch = self._hold_back(self._process_backlog())
        if self._shutdown.requested and self._guard.should_wait(outcomes_of(batch)):
            return  # a shutdown does not let it through
        self._on_step(Step.MAPPED)
        if self._publish_batch(batch):
            self._commit_idle_positions()  # a partition may be quiet while its neighbours are busy

    # --- around the records ---

    def _check_dependencies(self) -> None:
        """Show in /ready what is wrong with the tables and topics, before it costs a batch or an outcome."""
        self._tables.check()
        self._status.set_degraded("tables", self._tables.degraded)
        differences = self._topic_watch.poll()
        if differences is None:
            return
        self._status.set_topic_differences(differences)
        template_sets = self._context.output_topics.template_sets.name
        if any(difference.topic == template_sets and difference.is_missing for difference in differences):
            self._published_sets.clear()  # a set that is published twice is the same record twice

    def _apply_reload(self) -> None:
        """Use the templates that were reloaded, if any were; all that was mapped with the former ones is published."""
        reload = self._reloader.take_reload()
        self._status.set_templates(
            self._reloader.templates.digest, refused=self._reloader.refused, suspended=self._breakers.open_breakers()
        )
        if reload is None:
            return
        if reload.output_topics != self._context.output_topics:  # the producer's limits follow the topics
            self._publisher.reset_producer(reload.output_topics, between_attempts=self._heartbeat)
            self._rewind()
        self._context = replace(self._context, templates=reload.templates, output_topics=reload.output_topics)
        self._tables.log_unknown_categories(reload.templates)
        self._breakers.reset_changed({template.id: template.version for template in reload.templates.templates})
        self._guard = StartupGuard(self._settings.max_rejected_ratio)

    def _commit_initial_offsets(self) -> None:
        """Commit the start offsets of partitions without a position, before any of it is mapped.

        In one commit, once every start offset is resolved: `--start-from` decides for a group without any position, and
        with half of them committed it would have some. Those that could not be committed are tried again.
        """
        partitions = self._consumer.partitions.values()
        starts = {partition: partition.start_offset for partition in partitions if partition.needs_initial_commit}
        is_resolving = any(partition.is_resolving for partition in partitions)
        if starts and self._consumer.group_metadata is not None and not is_resolving:
            self._commit_positions(starts)

    def _update_status(self) -> None:
        self._status.update(
            self._consumer.partitions,
            is_member=self._consumer.is_member,
            was_ever_assigned=self._consumer.was_ever_assigned,
        )

    def _heartbeat(self) -> None:
        self._consumer.poll_heartbeat()
        self._raise_if_stalled()

    def _raise_if_stalled(self) -> None:
        """Raise StalledError when `--until-end` has made no progress for too long, be it for want of a broker."""
        if self._completion is None or not self._completion.is_stalled:
            return
        reasons = [
            f"{self._events}[{partition.number}] at {partition.committed_offset} of {partition.target_offset}"
            + (f" ({partition.cause})" if partition.cause else "")
            for partition in self._consumer.partitions.values()
            if not partition.has_reached_target
        ]
        if self._failure is not None:
            reasons.append(f"the last batch was not committed: {self._failure.error}: {self._failure.detail}")
        raise StalledError(
            f"no progress for {completion.STALL_TIMEOUT_S:.0f} s: {'; '.join(reasons) or 'no partition was assigned'}",
            hint=STALL_HINT,
        )

    # --- from poll to outcome ---

    def _poll(self) -> None:
        """Poll for a batch; while some of the last one is left, only so that the group hears from us."""
        if self._backlog:
            self._backlog += self._consumer.poll(1, wait=False)
        else:
            self._backlog += self._consumer.poll(self._max_records)

    def _hold_back(self, batch: list[ProcessedRecords]) -> list[ProcessedRecords]:
        """`batch` and, while the first records are few and nearly all bad, what can be processed of the next polls.

        While more is polled, partitions may be revoked or sought: what was processed of them is left out, and does not
        count for the guard. Blocks for 5 s at most; less when a shutdown is requested, or when nothing more can come
        under `--until-end`.
        """
        held_until = time.monotonic() + MAX_HOLD_S
        while self._guard.should_wait(outcomes_of(batch)) and not self._shutdown.requested:
            if time.monotonic() >= held_until or self._has_polled_to_the_end():
                break
            if sum(processed.outcome.memory_bytes for processed in batch) >= MAX_HELD_BYTES:
                break
            self._poll()
            batch += self._process_backlog()
            batch = [processed for processed in batch if self._consumer.is_current(processed.partition)]
        return batch

    def _has_polled_to_the_end(self) -> bool:
        """Whether, under `--until-end`, no more records of our partitions are to come."""
        partitions = self._consumer.partitions.values()
        if self._completion is None or self._backlog or not partitions:
            return False
        return all(
            partition.is_started and self._consumer.position(partition) >= partition.target_offset
            for partition in partitions
        )

    def _process_backlog(self) -> list[ProcessedRecords]:
        """Outcomes of the backlog's first records, in order: no more than fill a transaction or take
        `PROCESSING_TIME_S`.

        A record that is deferred cuts its partition there. One for which mapping has raised an error ends the batch: it
        is mapped once more by the next call, alone.
        """
        batch: list[ProcessedRecords] = []
        scanned = deque[SourceEvent | None]()
        room = _Room(self._max_records, self._settings.max_batch_bytes, time.monotonic() + PROCESSING_TIME_S)
        while self._backlog and room.is_left:
            if not scanned:
                run = self._map_run(room)
                if run is not None:
                    batch.append(run)
                    room.take(run.outcome)
                    if room.is_time_over:
                        break
                    self._publish_ahead(batch)
                    continue
                scanned = self._scan_ahead()
            (partition, record), event = self._take_record(), scanned.popleft()
            if not self._consumer.is_current(partition):
                continue
            is_suspect = self._suspect is not None and record.position == self._suspect
            outcome = None if is_suspect and batch else self._process(partition, record, event)
            if outcome is None:
                self._backlog.appendleft(PolledRecords(partition, deque([record])))
                self._suspect = record.position
                break
            if isinstance(outcome, Deferred):
                self._defer(partition, outcome)
                scanned.clear()  # records of the partition are gone from the backlog
                continue
            if self._suspends_templates and isinstance(outcome, Processed):
                self._breakers.record(outcome)
            if len(record.value or b"") > MAX_KEPT_VALUE_BYTES:  # no longer read; the outputs have what is kept
                outcome = replace(outcome, record=record._replace(value=None))
            batch.append(ProcessedRecords(partition, outcome))
            room.take(outcome)
            if is_suspect:
                self._suspect = None
                break
            if room.is_time_over:
                break
        return batch

    def _take_record(self) -> tuple[AssignedPartition, SourceRecord]:
        """Take the backlog's first record off it."""
        first = self._backlog[0]
        record = first.records.popleft()
        if not first.records:
            self._backlog.popleft()
        return first.partition, record

    def _publish_ahead(self, batch: Sequence[ProcessedRecords]) -> None:
        """Let the client send what is processed of a batch while the rest is: only where nothing more can hold it back,
        so that it becomes one transaction, as it is."""
        is_whole = self._guard.is_complete and not self._failure_count and not self._refused
        if is_whole and self._backlog and self._consumer.group_metadata is not None:
            if not self._published_ahead:
                self._began_ahead_at = time.monotonic()
            for processed in batch[self._published_ahead :]:
                self._publisher.publish_ahead(processed.outcome.outputs)
                if isinstance(processed.outcome, PlannedRun):
                    processed.outcome.outputs.clear()  # the client has copied them
            self._published_ahead = len(batch)

    def _map_run(self, room: _Room) -> ProcessedRecords | None:
        """The backlog's first records that plans map at once, of one partition, as many as there is room for; None:
        the first of them has to be processed by itself.

        That is so of a duplicate too, of one for which mapping raised an error, of one whose outputs were refused, and
        of one with a message by a template whose circuit breaker is open.
        """
        context, partition, waiting = self._context, self._backlog[0].partition, self._backlog[0].records
        plans, singly = context.plans, {*self._refused, *([] if self._suspect is None else [self._suspect])}
        if plans is None or not self._consumer.is_current(partition):
            return None
        run, window = PlannedRun(plans.path, waiting[0].position), partition.deduplication
        is_open = self._breakers.open_templates

        def admit(seen: SeenEvent, made: PlannedMessages) -> bool:
            must_be_probed = is_open and any(template in is_open for template, _ in made.templates)
            return not must_be_probed and window.remember_new(seen)

        limit = min(room.records, MAX_RUN_RECORDS)
        while waiting and run.record_count < limit and run.output_bytes < room.output_bytes:
            records = list(islice(waiting, min(limit - run.record_count, MAX_AHEAD_RECORDS)))
            if singly:
                records = list(takewhile(lambda record: record.position not in singly, records))
            taken = plans.write(records, context, run, admit=admit, limit_bytes=room.output_bytes)
            for _ in range(taken):
                waiting.popleft()
            if not records or taken < len(records) or room.is_time_over:
                break
        if not waiting:
            self._backlog.popleft()
        if not run.record_count:
            return None
        if self._suspends_templates:
            for made, count in run.messages.items():
                for template, version in made.templates:
                    self._breakers.record_messages(template, version, count)
        return ProcessedRecords(partition, run)

    def _scan_ahead(self) -> deque[SourceEvent | None]:
        """The event of each of the backlog's first records that a plan scans at once; None: it has to be decoded. At
        least one record.

        To scan some and then to map them by expressions and closures takes less time than to scan and map one after the
        other: the code of each step fits into the processor's caches, that of both does not. The native part is small,
        and maps what it can in runs, for which the next record is looked at again.
        """
        plans = self._context.plans
        limit = MAX_AHEAD_RECORDS if plans is not None and plans.path is MappingPath.PLAIN else 1
        ahead: list[SourceRecord] = []
        size_bytes = 0
        for record in islice(chain.from_iterable(polled.records for polled in self._backlog), limit):
            ahead.append(record)
            size_bytes += len(record.value or b"")
            if size_bytes >= MAX_SCANNED_AHEAD_BYTES:
                break
        return deque(repeat(None, len(ahead)) if plans is None else plans.scan_ahead(ahead, self._context))

    def _defer(self, partition: AssignedPartition, deferred: Deferred) -> None:
        """Cut the partition at a record: what was polled of it from there on will be polled again."""
        offset = deferred.record.position.offset
        self._consumer.pause_and_retry(partition, offset, deferred.cause, schema_refused=deferred.schema_refused)
        self._backlog = deque(polled for polled in self._backlog if polled.partition is not partition)
        self._status.count_deferred(SCHEMA_REFUSED if deferred.schema_refused else deferred.cause)

    def _process(
        self, partition: AssignedPartition, record: SourceRecord, scanned: SourceEvent | None
    ) -> Outcome | None:
        """What becomes of one record; None when this has raised an error, and the record is to be mapped once more.

        `scanned` is its event, where that is there already. An error does not stop the process, which would meet the
        same record at every start. Raises what the reference tables raise of the disk, and what the registry's client
        raises.
        """
        context = self._context
        if record.position == self._suspect:
            if context.plans is not None:
                context.plans.refuse(PlanRefusal.ERROR)
            context, scanned = replace(context, plans=None), None  # the fault may be a plan's; the reference has none
        decoded: SourceEvent | Outcome | None = scanned
        try:
            decoded = scanned or decode_record(record, context, schema_of=self._schema_of)
            return self._map_decoded(partition, record, decoded)
        except Exception as error:
            if isinstance(error, FatalError) and not isinstance(error, InternalError):
                raise
            if record.position != self._suspect:
                log.warning("mapping retried after error", position=str(record.position), error=error_place(error))
                return None
            # Neither the error's text nor `log.exception`: either may quote the event.
            frames = "".join(format_tb(error.__traceback__, -TRACEBACK_FRAMES))
            fields = {"position": str(record.position), "error": error_place(error), "traceback": frames}
            log.error("mapping raised an error", **fields)  # noqa: TRY400  as said above
            self._status.count_mapping_error()
            event = decoded.event if isinstance(decoded, SourceEvent) else None
            return reject_for_error(record, event, self._context, error)

    def _map_decoded(
        self, partition: AssignedPartition, record: SourceRecord, decoded: SourceEvent | Outcome
    ) -> Outcome:
        """The outcome of a decoded record. Its event is remembered for the records that follow, unless this raises."""
        refused = self._refused.get(record.position) if self._refused else None
        if not isinstance(decoded, SourceEvent):
            return decoded if refused is None else self._refuse_outputs(decoded, refused)
        deduplication, seen = partition.deduplication, decoded.seen
        outcome: Outcome
        if refused is None:
            earlier = deduplication.first_seen(seen)
            duplicate_of = None if earlier is None else decoded.record.position._replace(offset=earlier)
            suspended = self._breakers.suspended_now()
            outcome = map_event(decoded, self._context, suspended=suspended, duplicate_of=duplicate_of)
        else:
            outcome = self._refuse_outputs(decoded, refused)
        deduplication.remember(seen)
        return outcome

    def _refuse_outputs(self, decoded: SourceEvent | Outcome, refused: RefusedOutputs) -> Outcome:
        detail = f"the broker refused its outputs: {refused.error_text}"
        return refuse_outputs(decoded, self._context, detail=detail, drop_value=refused.drop_value)

    # --- from outcome to commit ---

    def _publish_batch(self, batch: Sequence[ProcessedRecords]) -> bool:
        """Publish `batch`, in as many transactions as its size needs; False when one did not commit."""
        if self._consumer.group_metadata is None:
            if batch:
                self._recover(NOT_A_MEMBER, batch)
            return False
        self._guard.check(outcomes_of(batch), at_end=self._has_polled_to_the_end())
        if self._published_ahead:  # no more than fits into one
            return self._publish(batch)
        chunks = split_batch(batch, max_records=self._max_records, max_output_bytes=self._settings.max_batch_bytes)
        return all(self._publish(chunk) for chunk in chunks)

    def _publish(self, chunk: Sequence[ProcessedRecords]) -> bool:
        """One transaction; False when it did not commit, and the partitions went back to what is committed."""
        outcomes, ahead = outcomes_of(chunk), self._published_ahead
        self._published_ahead = 0
        next_offsets = self._next_offsets(chunk)
        began = self._began_ahead_at if ahead else time.monotonic()
        assigned = self._assigned_records.due(next_offsets, self._context)
        outputs = chain.from_iterable([outcome.outputs for outcome in outcomes[ahead:]])
        failure = self._publisher.publish(
            chain(assigned, self._unpublished_set(), outputs),
            {(self._events, partition.number): offset for partition, offset in next_offsets.items()},
            self._consumer.group_metadata,
        )
        if failure is not None:
            self._recover(failure, chunk)
            return False
        self._mark_committed(next_offsets)
        self._published_sets.add(self._context.templates.digest)
        self._guard.record(outcomes)
        self._recent.record(outcomes)
        self._status.set_other_tenants(self._recent.other_tenants_ratio, self._recent.degraded())
        if self._refused:
            for outcome in outcomes:
                self._refused.pop(outcome.last, None)  # one that was refused is no run's
        self._max_records = min(self._settings.max_batch_records, 2 * self._max_records)
        self._status.count_committed(outcomes, seconds=time.monotonic() - began)
        return True

    def _next_offsets(self, chunk: Sequence[ProcessedRecords]) -> dict[AssignedPartition, int]:
        """Where each partition goes on: behind its last record, or at the consumer's position where no more of it was
        polled."""
        next_offsets = {processed.partition: processed.outcome.last.offset + 1 for processed in chunk}
        return {
            partition: self._consumer.position(partition) if partition.next_offset == offset else offset
            for partition, offset in next_offsets.items()
        }

    def _unpublished_set(self) -> tuple[OutRecord, ...]:
        """The templates in use, to be kept with the first outcomes that they make; nothing once they are."""
        templates = self._context.templates
        if templates.digest in self._published_sets:
            return ()
        return template_set_records(templates, self._context.output_topics.template_sets)

    def _commit_idle_positions(self) -> None:
        """Commit positions that moved past markers of the input's transactions, where nothing is left to be mapped."""
        now = time.monotonic()
        if now < self._idle_commit_at or self._consumer.group_metadata is None:
            return
        self._idle_commit_at = now + IDLE_COMMIT_INTERVAL_S
        moved = {}
        busy = {polled.partition for polled in self._backlog}
        for partition in self._consumer.partitions.values():
            if not partition.is_usable or partition in busy:
                continue
            position = self._consumer.position(partition)
            partition.mark_polled(position)
            if position > max(partition.committed_offset, partition.start_offset):
                moved[partition] = position
        if moved:
            self._commit_positions(moved)

    def _commit_positions(self, positions: Mapping[AssignedPartition, int]) -> None:
        """A transaction of positions alone, but for the records ASSIGNED that are due."""
        failure = self._publisher.publish(
            self._assigned_records.due(positions, self._context),
            {(self._events, partition.number): offset for partition, offset in positions.items()},
            self._consumer.group_metadata,
            is_batch=False,
        )
        if failure is not None:
            self._recover(failure, ())
        else:
            self._mark_committed(positions)

    def _mark_committed(self, next_offsets: Mapping[AssignedPartition, int]) -> None:
        self._failure_count = 0
        self._failure = None
        for partition, offset in next_offsets.items():
            partition.mark_committed(offset)

    # --- back to what is committed ---

    def _recover(self, failure: NotCommitted, chunk: Sequence[ProcessedRecords]) -> None:
        """The one way back, whatever went wrong: a new producer of the same id, then to what the group committed."""
        topics_before, topic_error = self._context.output_topics, ""
        if failure.concerns_topics or failure.is_record_error:
            topic_error = self._refresh_topics(require_partitions=failure.concerns_topics)
            failure = replace(failure, detail=topic_error or failure.detail)
        self._failure = failure
        log.warning(
            "transaction not committed", error=failure.error, detail=failure.detail, records=record_count_of(chunk)
        )
        self._status.count_failure(failure)
        self._on_step(Step.RECOVERING)
        is_searching = False
        if failure.is_record_error and not topic_error:
            is_searching = self._context.output_topics != topics_before or self._isolate_refused_record(failure, chunk)
        self._publisher.reset_producer(self._context.output_topics, between_attempts=self._heartbeat)
        self._on_step(Step.RECOVERED)
        if not is_searching:
            self._back_off()
        if self._rewind():
            self._on_step(Step.SOUGHT)

    def _refresh_topics(self, *, require_partitions: bool) -> str:
        """Go on with the output topics as they are now; which of them are missing or too small, in words.

        `require_partitions`: fewer partitions than the events have are an error too; else the events may have been
        grown before the outputs. Empty when nothing is wrong, and when the broker does not respond: the next failure
        tries again. When a topic's limit was lowered, mapping itself finds with the new one what is too large, and the
        other templates of the record are published.
        """
        try:
            topics = self._read_topics(require_partitions=require_partitions)
        except TopicConfigError as error:
            return str(error).replace("\n", "; ")
        except UnavailableError as unavailable:
            log.warning("topic limits unavailable", cause=str(unavailable))
            return ""
        if topics != self._context.output_topics:
            self._context = replace(self._context, output_topics=topics)
        return ""

    def _isolate_refused_record(self, failure: NotCommitted, chunk: Sequence[ProcessedRecords]) -> bool:
        """Halve the batch down to the one record whose outputs the broker refuses; that one becomes a dead letter.

        False for a transaction without records.
        """
        count = record_count_of(chunk)
        if count > 1:
            self._max_records = count // 2
        elif chunk:
            position, dead_letters = chunk[0].outcome.last, self._context.output_topics.dead_letters
            before = self._refused.get(position)
            if before is not None and before.drop_value:
                raise TopicConfigError(
                    f"the broker refuses even the dead letter of {position} without its bytes: {failure.detail}",
                    hint=f"compare the configuration of {dead_letters.name} with `processor topics`",
                )
            self._refused[position] = RefusedOutputs(
                f"{failure.error}: {failure.detail}", drop_value=before is not None
            )
        return bool(chunk)

    def _back_off(self) -> None:
        """After the second failure in a row, and longer after each; the group hears from us meanwhile."""
        wait_s = 0.0
        if self._failure_count > 0:
            wait_s = back_off_s(self._failure_count, first_s=RETRY_BACKOFF_S, longest_s=MAX_RETRY_BACKOFF_S)
        until = time.monotonic() + wait_s
        self._failure_count += 1
        while time.monotonic() < until and not self._shutdown.requested:
            self._heartbeat()
            time.sleep(HEARTBEAT_INTERVAL_S)

    def _rewind(self) -> bool:
        """Send each partition to what the group has committed, and drop what was polled; False when the deadline of a
        shutdown passed before."""
        self._backlog.clear()
        while not self._shutdown.deadline_passed():
            try:
                self._consumer.rewind()
            except KafkaException as exception:
                log.warning("waiting for the broker", step="committed", error=error_of(exception).name())
                self._heartbeat()
                time.sleep(REWIND_RETRY_INTERVAL_S)
            else:
                return True
        return False
