"""The engine: poll, map, publish and commit as one, again and again.

The journey of a record: `EventConsumer.poll` gives it, `map_record` makes its outcome,
`TransactionalPublisher.publish` puts the outcome's outputs and the partition's position into one transaction. The
consumer is never polled inside an open transaction, so no rebalance meets one.
"""

import gc
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from itertools import chain
from traceback import format_tb
from typing import TypeVar
from zoneinfo import ZoneInfo

import structlog
from confluent_kafka import KafkaException, Producer

from processor.background import back_off_s
from processor.domain.event import SourceEvent
from processor.domain.outcome import Deferred, Outcome, Processed, Rejected
from processor.domain.output_topics import OutputTopics
from processor.domain.record import OutRecord, RecordPosition, Topic
from processor.engine.circuit_breaker import CircuitBreakers
from processor.engine.consumer import EventConsumer, PolledRecord
from processor.engine.instance_id import transactional_id
from processor.engine.output_scan import published_template_sets
from processor.engine.partition import AssignedPartition
from processor.engine.publisher import NotCommitted, TransactionalPublisher, TransactionResult
from processor.engine.start_offsets import StartOffsetResolver, parse_start_policy
from processor.engine.startup_guard import HOLD_S, LastRecords, StartupGuard
from processor.engine.status import SCHEMA_REFUSED, EngineStatus
from processor.engine.step import Step, StepHook
from processor.errors import (
    DependencyError,
    FatalError,
    InternalError,
    StalledError,
    TopicConfigError,
    UnavailableError,
)
from processor.kafka.clients import (
    Admin,
    CoordinatorMonitor,
    OnFailure,
    consumer_properties,
    create_admin,
    create_consumer,
    create_producer,
    producer_properties,
)
from processor.kafka.errors import BROKER_HINT, NoResponseError, error_of
from processor.kafka.topic_state import TopicWatch, read_output_topics, topic_differences
from processor.mapping.context import DraftRules, MappingContext
from processor.mapping.decode import decode_record
from processor.mapping.map import map_event
from processor.mapping.reference import Reference
from processor.mapping.rejections import error_place, refuse_outputs, reject_for_error
from processor.observability.signals import Shutdown, ShutdownRequested, shutdown_signals
from processor.registry.client import schemas_by_id
from processor.registry.schema_files import load_schemas
from processor.registry.subjects import with_registered_ids
from processor.settings import Settings
from processor.tables.reader import ReferenceTables
from processor.templates.reload import TemplateReloader
from processor.wire.encode import output_encoder
from processor.wire.schema import SchemaOf
from processor.wire.template_sets import template_set_records

log = structlog.get_logger()

T = TypeVar("T")

STALL_TIMEOUT_S = 60.0  # `--until-end` without progress
IDLE_COMMIT_S = 1.0
ASK_GROUP_S = 1.0
PROGRESS_LOG_INTERVAL_S = 5.0  # `--until-end` says how far it is
RESTORE_POLL_INTERVAL_S = 0.02
MAPPING_S = 0.5  # of one turn, then what is mapped is published; the record under way is finished first
TRACEBACK_FRAMES = 20  # the innermost, of an error while mapping
KEPT_VALUE_BYTES = 65_536  # a larger value is let go once its record is mapped: 150 MB would end the holding back
HELD_BYTES = 64_000_000  # most that is held in memory while the first records are nearly all bad
GC_EVERY_OBJECTS = 50_000  # a batch of some hundred records; the default of 700 took a fifth of the mapping's time
BROKER_STARTUP_TIMEOUT_S = 15.0  # patience with a broker that does not answer at start


@dataclass(frozen=True, slots=True)
class ProcessedRecord:
    """One mapped record: its outcome, and the assignment it was polled under."""

    partition: AssignedPartition
    outcome: Processed | Rejected

    @property
    def output_bytes(self) -> int:
        """What it adds to its transaction."""
        return sum(out.size_bytes for out in self.outcome.outputs)

    @property
    def held_bytes(self) -> int:
        """What it keeps in memory."""
        return self.outcome.record.size_bytes + self.output_bytes


def run(
    settings: Settings,
    *,
    until_end: bool = False,
    start_from: str | None = None,
    on_step: StepHook = lambda _step: None,
    status: EngineStatus | None = None,
) -> None:
    """Map events until SIGTERM or SIGINT, or with `until_end` until every partition has reached the end it had.

    Blocks. `start_from` is the text of `--start-from`; `on_step` is called at each step; `status` is what health,
    readiness and metrics show. Raises a FatalError for every end that is not clean (errors.py).
    """
    own_schemas = load_schemas(settings.schemas_dir)
    time_zone = ZoneInfo(settings.time_zone)
    reloads = TemplateReloader(
        settings, own_schemas, lambda templates: read_output_topics(create_admin(settings), settings, templates)
    )
    start_policy = parse_start_policy(start_from)
    progress = status or EngineStatus.unobserved()

    def layout(client: Admin | None = None, *, require_partitions: bool = False) -> OutputTopics:
        return read_output_topics(
            client or create_admin(settings), settings, reloads.templates, require_partitions=require_partitions
        )

    with (
        transactional_id(settings) as tid,
        shutdown_signals() as shutdown,
        ExitStack() as held,
        suppress(ShutdownRequested),
    ):
        brokers = settings.bootstrap_servers
        first_layout = retry_until_available(lambda: layout(require_partitions=True), shutdown, server=brokers)
        schemas = retry_until_available(
            lambda: with_registered_ids(settings, own_schemas),
            shutdown,
            server=str(settings.schema_registry.url),
            hint="check PROCESSOR_SCHEMA_REGISTRY__URL",
        )
        log.info("starting", transactional_id=tid, group=settings.group_id, template_set=reloads.templates.digest)

        def make(layout: OutputTopics, on_failure: OnFailure) -> Producer:
            properties = producer_properties(
                settings,
                transactional_id=tid,
                largest_record_bytes=layout.dead_letters.limit_bytes + 1024,
                smallest_limit_bytes=min(topic.limit_bytes for topic in layout.outputs),
            )
            return create_producer(properties, on_failure=on_failure)

        publisher = TransactionalPublisher(
            make,
            transactional_id=tid,
            timeout_s=settings.transaction_timeout_ms / 1000,
            must_stop=shutdown.deadline_passed,
            on_step=on_step,
        )
        # Before joining: what a dead instance of our name left open is ended, so that nobody waits for it.
        publisher.reset_producer(first_layout, between_attempts=lambda: None)
        written = retry_until_available(
            lambda: published_template_sets(settings, first_layout), shutdown, server=brokers
        )
        reloads.hold_to(written.texts)
        tables = retry_until_available(
            lambda: ReferenceTables(settings, name=tid, metrics=progress.metrics), shutdown, server=brokers
        )
        held.callback(tables.close)
        restore_tables(tables, shutdown, progress, until_end=until_end)
        tables.tell_unknown_categories(reloads.templates)

        context = MappingContext(
            tenant=settings.required_tenant,
            schemas=schemas,
            templates=reloads.templates,
            layout=first_layout,
            encode=output_encoder(
                schemas, output_format=settings.output.format, stream_format=settings.output.stream_format
            ),
            draft_rules=DraftRules(
                time_zone=time_zone,
                sms_region=settings.sms.region,
                disabled_channels=frozenset(settings.channels.disabled),
                reference=Reference(
                    rows=tables.get,
                    missing_row=settings.reference.missing_row,
                    category_by_family=settings.message.category_by_family,
                ),
            ),
            statuses=settings.message.statuses,
            actor=settings.message.actor,
            key_check=settings.key_check,
            decisions=settings.decisions,
            max_event_bytes=settings.max_event_bytes,
        )
        starts = StartOffsetResolver(
            settings,
            layout=layout,
            context=context,
            schemas_of_outputs=schemas_by_id(settings, schemas),
            start_policy=start_policy,
        )
        retry_until_available(starts.prepare, shutdown, server=brokers)
        properties = consumer_properties(settings)
        coordinator = CoordinatorMonitor() if properties.get("group.protocol") == "consumer" else None
        consumer = create_consumer(properties, coordinator=coordinator)
        intake = EventConsumer(
            settings,
            consumer,
            starts,
            on_rebalance=progress.rebalanced,
            on_deferred=progress.waited,
            coordinator=coordinator,
        )
        progress.watch(starts)
        # What is there by now stays; the collector need not look at it again, nor at each few objects of a batch.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_EVERY_OBJECTS, 10, 10)
        engine = Engine(
            settings,
            context,
            schemas_by_id(settings, schemas),
            lambda require_partitions: layout(require_partitions=require_partitions),
            TopicWatch(lambda: topic_differences(create_admin(settings), settings, reloads.templates)),
            reloads,
            tables,
            written.keys,
            intake,
            publisher,
            progress,
            shutdown,
            on_step,
        )
        try:
            if until_end:
                engine.run_until(retry_until_available(starts.end_offsets, shutdown, server=brokers), starts)
            else:
                engine.run()
        finally:
            progress.stopping()
            publisher.close()
            leave(intake)


@dataclass(frozen=True, slots=True)
class Refused:
    """The broker's words about a record's outputs. `bare`: it refused its dead letter too, which then has no bytes."""

    words: str
    bare: bool


class Engine:
    """The loop. Owns no client; `run` above joins the parts and takes them apart."""

    def __init__(
        self,
        settings: Settings,
        context: MappingContext,
        schema_of: SchemaOf,
        layout: Callable[[bool], OutputTopics],
        topics: TopicWatch,
        reloads: TemplateReloader,
        tables: ReferenceTables,
        published_template_sets: Collection[str],
        intake: EventConsumer,
        publisher: TransactionalPublisher,
        progress: EngineStatus,
        shutdown: Shutdown,
        on_step: StepHook,
    ) -> None:
        self._settings = settings
        self._context = context
        self._schema_of = schema_of
        self._layout = layout
        self._topics = topics
        self._reloads = reloads
        self._tables = tables
        self._written_sets = set(published_template_sets)
        self._intake = intake
        self._publisher = publisher
        self._progress = progress
        self._shutdown = shutdown
        self._on_step = on_step
        self._events: Topic = settings.topic("events")
        self._first_records = StartupGuard(settings.max_rejected_ratio)
        self._last_records = LastRecords(settings.max_rejected_ratio)
        self._most_records = settings.max_batch_records
        self._backlog: deque[PolledRecord] = deque()  # polled and not mapped yet, in order
        self._suspect: RecordPosition | None = None  # mapping raised an error for it; it is mapped once more, alone
        self._refused: dict[RecordPosition, Refused] = {}  # records whose outputs the broker refused
        self._breakers = CircuitBreakers()
        self._idle_commit_at = 0.0
        self._failures = 0  # transactions in a row that did not commit
        self._failure: NotCommitted | None = None  # the last of them
        self._until_end = False
        self._gives_up_at = math.inf  # under `--until-end`, on the monotonic clock

    def run(self) -> None:
        """Until a shutdown is requested."""
        while not self._shutdown.requested:
            self.turn()

    def run_until(self, end_offsets: dict[int, int], starts: StartOffsetResolver) -> None:
        """Until our partitions have committed what they held when they were assigned, or a shutdown is requested.

        A member without partitions is done when the whole group has reached `end_offsets`.
        """
        last_seen: object = None
        positions: dict[int, int] = {}
        ask_at = time.monotonic()
        tell_at = ask_at + PROGRESS_LOG_INTERVAL_S
        self._until_end = True
        self._gives_up_at = time.monotonic() + STALL_TIMEOUT_S
        while not self._shutdown.requested:
            self.turn()
            partitions = self._intake.partitions.values()
            if partitions and all(partition.has_reached_target for partition in partitions):
                self._first_records.refuse((), at_end=True)  # what a hold in vain let through
                log.info("reached the end", partitions=len(partitions))
                return
            if not partitions and time.monotonic() >= ask_at:  # others work, or nobody has told us yet
                ask_at = time.monotonic() + ASK_GROUP_S
                with suppress(UnavailableError):
                    positions = starts.positions(end_offsets)
                if all(positions.get(number, -1) >= end for number, end in end_offsets.items()):
                    log.info("reached the end", partitions=0)
                    return
            if partitions and time.monotonic() >= tell_at and all(partition.is_started for partition in partitions):
                tell_at = time.monotonic() + PROGRESS_LOG_INTERVAL_S
                left = sum(max(0, p.target_offset - max(0, p.committed_offset)) for p in partitions)
                log.info("catching up", records_left=left)
            seen = sorted((p.number, p.next_offset, p.committed_offset) for p in partitions) or positions
            if seen != last_seen:
                last_seen, self._gives_up_at = seen, time.monotonic() + STALL_TIMEOUT_S
            self._give_up_in_time()

    def _give_up_in_time(self) -> None:
        """Raise StalledError when `--until-end` has made no progress for too long; asked while a broker is away too."""
        if time.monotonic() > self._gives_up_at:
            raise StalledError(f"no progress for {STALL_TIMEOUT_S:.0f} s: {self._stalled()}", hint=STALL_HINT)

    def _stay_alive(self) -> None:
        self._intake.poll_heartbeat()
        self._give_up_in_time()

    def turn(self) -> None:
        """Poll, map what came until it fills a transaction or `MAPPING_S` is over, and publish that.

        The rest is left for the next turn, so that the group hears from us in time, however much there is to map.
        """
        self._tables.check()
        self._progress.degraded("tables", self._tables.degraded)
        self._watch_topics()
        # Before the poll: should it fail, all partitions are sought. The poll then gives our membership as it is now.
        if not self._commit_initial_offsets() and self._shutdown.deadline_passed():
            return
        self._take_templates()
        if self._shutdown.deadline_passed():
            return
        self._poll()
        self._on_step(Step.POLLED)
        self._progress.observe(
            self._intake.partitions, member=self._intake.is_member, assigned_once=self._intake.was_ever_assigned
        )
        if not self._backlog:
            self._progress.nothing_left()
            self._idle()
            return
        current = self._hold(self._map())
        if self._shutdown.requested and self._first_records.holds_back(outcomes_of(current)):
            return  # a shutdown does not let it through
        self._on_step(Step.MAPPED)
        if self._intake.group_metadata is None:
            if current:
                self._recover(NOT_A_MEMBER, current)
            return
        self._first_records.refuse(outcomes_of(current), at_end=self._polled_to_the_end())
        for piece in cut(current, records=self._most_records, output_bytes=self._settings.max_batch_bytes):
            if not self._publish(piece):
                return
        self._idle()  # a partition may be quiet while its neighbours are busy

    def _hold(self, done: list[ProcessedRecord]) -> list[ProcessedRecord]:
        """`done` and, while the first records are few and nearly all bad, what can be mapped of the next polls.

        While more is polled, partitions may be revoked or sought: what was mapped of them is left out, and does not
        count for what is judged. Blocks for 5 s at most; less when a shutdown is requested, or when nothing more can
        come under `--until-end`.
        """
        held_until = time.monotonic() + HOLD_S
        while True:
            done = [record for record in done if self._intake.is_current(record.partition)]
            if not self._first_records.holds_back(outcomes_of(done)) or self._shutdown.requested:
                return done
            if time.monotonic() >= held_until or self._polled_to_the_end():
                return done
            if sum(record.held_bytes for record in done) >= HELD_BYTES:
                return done
            self._poll()
            done += self._map()

    def _polled_to_the_end(self) -> bool:
        """Whether, under `--until-end`, no more records of our partitions are to come."""
        partitions = self._intake.partitions.values()
        if not self._until_end or self._backlog or not partitions:
            return False
        return all(p.is_started and self._intake.position(p) >= p.target_offset for p in partitions)

    def _watch_topics(self) -> None:
        """Say in /ready what is wrong with the topics, before it costs a batch or an outcome."""
        found = self._topics.poll()
        if found is None:
            return
        self._progress.topics_differ(found)
        template_sets = self._context.layout.template_sets.name
        if any(each.topic == template_sets and each.what == "is missing" for each in found):
            self._written_sets.clear()  # a set that is written twice is the same record twice

    def _take_templates(self) -> None:
        """Go on with templates that were changed, if they are whole: all that was mapped is published here."""
        fresh = self._reloads.poll()
        self._progress.templates(
            self._reloads.templates.digest, refused=self._reloads.refused, suspended=self._breakers.open()
        )
        if fresh is None:
            return
        if fresh.layout != self._context.layout:  # the producer's limits follow the topics
            self._publisher.reset_producer(fresh.layout, between_attempts=self._stay_alive)
            self._go_to_committed()
        self._context = replace(self._context, templates=fresh.templates, layout=fresh.layout)
        self._tables.tell_unknown_categories(fresh.templates)
        self._breakers.reloaded({template.id: template.version for template in fresh.templates.templates})
        self._first_records = StartupGuard(self._settings.max_rejected_ratio)

    def _commit_initial_offsets(self) -> bool:
        """Commit the start offsets of partitions without a position, before any of it is mapped.

        In one commit, once every start offset is resolved: `--start-from` decides for a group without any position, and
        with half of them committed it would have some. False when they could not be committed.
        """
        partitions = self._intake.partitions.values()
        starts = {partition: partition.start_offset for partition in partitions if partition.needs_initial_commit}
        if not starts or self._intake.group_metadata is None or any(p.is_resolving for p in partitions):
            return True
        return self._commit_positions(starts)

    def _poll(self) -> None:
        """Poll for a batch; while some of the last one is left, only so that the group hears from us."""
        if self._backlog:
            self._backlog += self._intake.poll(1, wait=False)
        else:
            self._backlog += self._intake.poll(self._most_records)

    def _map(self) -> list[ProcessedRecord]:
        """Outcomes of the backlog's first records, in order: no more than fill a transaction or take `MAPPING_S`.

        A record that has to wait cuts its partition there. One for which mapping has raised an error ends what is
        mapped: it is mapped once more by the next call, alone.
        """
        done: list[ProcessedRecord] = []
        output_bytes, until = 0, time.monotonic() + MAPPING_S
        while self._backlog and len(done) < self._most_records and output_bytes < self._settings.max_batch_bytes:
            polled = self._backlog.popleft()
            partition, record = polled.partition, polled.record
            if not self._intake.is_current(partition):
                continue
            suspect = record.place == self._suspect
            outcome = None if suspect and done else self._process(polled)
            if outcome is None:
                self._backlog.appendleft(polled)
                self._suspect = record.place
                break
            if isinstance(outcome, Deferred):
                self._wait(polled, outcome)
                continue
            if isinstance(outcome, Processed) and self._settings.circuit_breaker == "on":
                self._breakers.saw(outcome)
            if len(record.value or b"") > KEPT_VALUE_BYTES:  # nobody reads it any more; its outputs have what is kept
                outcome = replace(outcome, record=replace(record, value=None))
            done.append(ProcessedRecord(partition, outcome))
            output_bytes += done[-1].output_bytes
            if suspect or time.monotonic() >= until:
                break
        return done

    def _wait(self, polled: PolledRecord, wait: Deferred) -> None:
        """Cut the partition at a record: what was polled of it from there on will be polled again."""
        offset = polled.record.place.offset
        self._intake.pause_and_retry(polled.partition, offset, wait.cause, schema_refused=wait.schema_refused)
        self._backlog = deque(other for other in self._backlog if other.partition is not polled.partition)
        self._progress.waited(SCHEMA_REFUSED if wait.schema_refused else wait.cause)

    def _process(self, polled: PolledRecord) -> Outcome | None:
        """What becomes of one record; None when this has raised an error, and the record is to be mapped once more.

        Such an error does not stop the process, which would meet the same record at every start. Raises what the
        reference tables raise of the disk, and what the registry's client raises.
        """
        record = polled.record
        decoded: SourceEvent | Outcome | None = None
        try:
            decoded = decode_record(record, self._context, schema_of=self._schema_of)
            return self._map_decoded(polled, decoded)
        except Exception as error:
            if isinstance(error, FatalError) and not isinstance(error, InternalError):
                raise
            if record.place != self._suspect:
                log.warning("mapping raised an error; once more", place=str(record.place), error=error_place(error))
                return None
            # Neither the error's text nor `log.exception`: either may quote the event.
            frames = "".join(format_tb(error.__traceback__, -TRACEBACK_FRAMES))
            fields = {"place": str(record.place), "error": error_place(error), "traceback": frames}
            log.error("mapping raised an error", **fields)  # noqa: TRY400  as said above
            self._progress.mapping_failed()
            event = decoded.event if isinstance(decoded, SourceEvent) else None
            return reject_for_error(record, event, self._context, error)

    def _map_decoded(self, polled: PolledRecord, decoded: SourceEvent | Outcome) -> Outcome:
        """The outcome of a decoded record. Its event is remembered for the records that follow, unless this raises."""
        refused = self._refused.get(polled.record.place)
        if not isinstance(decoded, SourceEvent):
            return decoded if refused is None else self._refuse_outputs(decoded, refused)
        deduplication, seen = polled.partition.deduplication, decoded.seen
        outcome: Outcome
        if refused is None:
            duplicate_of = deduplication.first_seen(seen)
            suspended = self._breakers.suspended()
            outcome = map_event(decoded, self._context, suspended=suspended, duplicate_of=duplicate_of)
        else:
            outcome = self._refuse_outputs(decoded, refused)
        deduplication.remember(seen)
        return outcome

    def _refuse_outputs(self, decoded: SourceEvent | Outcome, refused: Refused) -> Outcome:
        detail = f"the broker refused its outputs: {refused.words}"
        return refuse_outputs(decoded, self._context, detail=detail, drop_value=refused.bare)

    def _publish(self, piece: Sequence[ProcessedRecord]) -> bool:
        """One transaction; False when it did not commit, and the partitions went back to what is committed."""
        outcomes = outcomes_of(piece)
        next_offsets = {record.partition: record.outcome.record.place.offset + 1 for record in piece}
        next_offsets = {  # the consumer's position where no more of it was polled
            partition: self._intake.position(partition) if partition.next_offset == offset else offset
            for partition, offset in next_offsets.items()
        }
        began = time.monotonic()
        failure = self._publisher.publish(
            chain(self._unwritten_set(), *(outcome.outputs for outcome in outcomes)),
            {(self._events, partition.number): offset for partition, offset in next_offsets.items()},
            self._intake.group_metadata,
        )
        if failure is not None:
            self._recover(failure, piece)
            return False
        self._committed(next_offsets)
        self._written_sets.add(self._context.templates.digest)
        self._first_records.committed(outcomes)
        self._last_records.committed(outcomes)
        self._progress.other_tenants(self._last_records.foreign_share, self._last_records.degraded())
        for outcome in outcomes:
            self._refused.pop(outcome.record.place, None)
        self._most_records = min(self._settings.max_batch_records, 2 * self._most_records)
        self._progress.committed(outcomes, seconds=time.monotonic() - began)
        return True

    def _unwritten_set(self) -> tuple[OutRecord, ...]:
        """The templates in use, to be kept with the first outcomes that they make; nothing once they are."""
        templates = self._context.templates
        if templates.digest in self._written_sets:
            return ()
        return template_set_records(templates, self._context.layout.template_sets)

    def _committed(self, next_offsets: dict[AssignedPartition, int]) -> None:
        self._failures = 0
        self._failure = None
        for partition, offset in next_offsets.items():
            partition.mark_committed(offset)

    def _recover(self, failure: NotCommitted, piece: Sequence[ProcessedRecord]) -> None:
        """The one way back, whatever went wrong: a new producer of the same id, then to what the group committed."""
        layout_before, fault = self._context.layout, ""
        if failure.concerns_topics or failure.is_record_error:
            fault = self._refresh_layout(require_partitions=failure.concerns_topics)
            failure = replace(failure, detail=fault or failure.detail)
        self._failure = failure
        log.warning("transaction not committed", error=failure.error, detail=failure.detail, records=len(piece))
        self._progress.not_committed(failure)
        self._on_step(Step.RECOVERING)
        searching = False
        if failure.is_record_error and not fault:
            searching = self._context.layout != layout_before or self._find_refused(failure, piece)
        self._publisher.reset_producer(self._context.layout, between_attempts=self._stay_alive)
        self._on_step(Step.RECOVERED)
        if not searching:
            self._back_off()
        if self._go_to_committed():
            self._on_step(Step.SOUGHT)

    def _refresh_layout(self, *, require_partitions: bool) -> str:
        """Go on with the output topics as they are now; which of them are missing or too small, in words.

        `require_partitions`: fewer partitions than the events have are a fault too; else the events may have been grown
        before the outputs. Empty when nothing is wrong, and when the broker does not answer: the next failure tries
        again. When a topic's limit was lowered, mapping itself finds with the new one what is too large, and the other
        templates of the record are published.
        """
        try:
            fresh = self._layout(require_partitions)
        except TopicConfigError as error:
            return str(error).replace("\n", "; ")
        except UnavailableError as unavailable:
            log.warning("the topics cannot be read again", cause=str(unavailable))
            return ""
        if fresh != self._context.layout:
            self._context = replace(self._context, layout=fresh)
        return ""

    def _go_to_committed(self) -> bool:
        """Send each partition to what the group has committed, and drop what was polled; False when a stop did not let
        it."""
        self._backlog.clear()
        while not self._shutdown.deadline_passed():
            try:
                self._intake.rewind()
            except KafkaException as exception:
                log.warning("waiting for the broker", step="committed", error=error_of(exception).name())
                self._stay_alive()
                time.sleep(0.2)
            else:
                return True
        return False

    def _find_refused(self, failure: NotCommitted, piece: Sequence[ProcessedRecord]) -> bool:
        """Halve the batch down to the one record whose outputs the broker refuses; that one is dead. True: got on."""
        if len(piece) > 1:
            self._most_records = len(piece) // 2
        elif piece:
            place, letters = piece[0].outcome.record.place, self._context.layout.dead_letters
            if place in self._refused and self._refused[place].bare:
                raise TopicConfigError(
                    f"the broker refuses even the dead letter of {place} without its bytes: {failure.detail}",
                    hint=f"compare the configuration of {letters.name} with `processor topics`",
                )
            self._refused[place] = Refused(f"{failure.error}: {failure.detail}", bare=place in self._refused)
        return bool(piece)

    def _back_off(self) -> None:
        """After the second failure in a row, and longer after each; the group is told that we are alive."""
        wait_s = 0.0 if self._failures == 0 else back_off_s(self._failures, first_s=0.1, longest_s=5.0)
        until = time.monotonic() + wait_s
        self._failures += 1
        while time.monotonic() < until and not self._shutdown.requested:
            self._stay_alive()
            time.sleep(0.05)

    def _idle(self) -> None:
        """Commit positions that moved past markers of the input's transactions, where nothing is left to be mapped."""
        now = time.monotonic()
        if now < self._idle_commit_at or self._intake.group_metadata is None:
            return
        self._idle_commit_at = now + IDLE_COMMIT_S
        moved = {}
        busy = {polled.partition for polled in self._backlog}
        for partition in self._intake.partitions.values():
            if not partition.is_usable or partition in busy:
                continue
            position = self._intake.position(partition)
            partition.mark_polled(position)
            if position > max(partition.committed_offset, partition.start_offset):
                moved[partition] = position
        if moved:
            self._commit_positions(moved)

    def _commit_positions(self, positions: dict[AssignedPartition, int]) -> bool:
        """A transaction of positions alone; False when it did not commit."""
        failure = self._publisher.publish(
            (),
            {(self._events, partition.number): offset for partition, offset in positions.items()},
            self._intake.group_metadata,
        )
        if failure is not None:
            self._recover(failure, ())
            return False
        self._committed(positions)
        return True

    def _stalled(self) -> str:
        behind = [
            f"{self._events}[{p.number}] at {p.committed_offset} of {p.target_offset}"
            + (f" ({p.cause})" if p.cause else "")
            for p in self._intake.partitions.values()
            if not p.has_reached_target
        ]
        if self._failure is not None:
            behind.append(f"the last batch was not committed: {self._failure.error}: {self._failure.detail}")
        return "; ".join(behind) or "no partition was assigned"


NOT_A_MEMBER = NotCommitted(
    error="UNKNOWN_MEMBER_ID",
    detail="the group has shut us out",
    is_record_error=False,
    result=TransactionResult.ABORTED,
)

STALL_HINT = (
    "an open transaction in the input holds back its readers until it ends or times out; `processor topics` shows "
    "whether the output topics have every partition of the events"
)


def outcomes_of(done: Sequence[ProcessedRecord]) -> list[Processed | Rejected]:
    """The outcomes, in order."""
    return [record.outcome for record in done]


def cut(done: Sequence[ProcessedRecord], *, records: int, output_bytes: int) -> Iterator[Sequence[ProcessedRecord]]:
    """Consecutive pieces. Each ends with the record that makes it `records` records or `output_bytes` of outputs."""
    piece: list[ProcessedRecord] = []
    size = 0
    for record in done:
        piece.append(record)
        size += record.output_bytes
        if len(piece) >= records or size >= output_bytes:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def retry_until_available(call: Callable[[], T], shutdown: Shutdown, *, server: str, hint: str = BROKER_HINT) -> T:
    """What `call` returns, once `server`, a broker or registry that may just be starting, responds.

    Blocks. Raises ShutdownRequested, and DependencyError with `hint` when it does not respond for 15 s.
    """
    deadline = time.monotonic() + BROKER_STARTUP_TIMEOUT_S
    while True:
        shutdown.raise_if_requested()
        try:
            return call()
        except UnavailableError as unavailable:
            if time.monotonic() > deadline:
                raise DependencyError(
                    f"no response from {server} for {BROKER_STARTUP_TIMEOUT_S:.0f} s: {unavailable}",
                    hint=unavailable.hint if isinstance(unavailable, NoResponseError) else hint,
                ) from unavailable
            time.sleep(0.2)


def restore_tables(
    tables: ReferenceTables, shutdown: Shutdown, status: EngineStatus, *, until_end: bool = False
) -> None:
    """Block until the reference tables are as they were at the start: who must not be written to is known before the
    first event is mapped. Logs every 5 s how far it is. Raises ShutdownRequested.

    An open transaction in their topics is waited for; under `until_end` for a minute, then StalledError.
    """
    tables.start()
    left, moved_at = "", time.monotonic()
    log_at = moved_at + PROGRESS_LOG_INTERVAL_S
    while not tables.caught_up:
        shutdown.raise_if_requested()
        tables.check()
        now = time.monotonic()
        if (left_now := tables.left()) != left:
            left, moved_at = left_now, now
        status.starting(f"reference tables, records to read: {left}")
        if now >= log_at:
            log_at = now + PROGRESS_LOG_INTERVAL_S
            log.info("reading the reference tables", records_left=left)
        if until_end and now - moved_at > STALL_TIMEOUT_S:
            raise StalledError(
                f"no progress for {STALL_TIMEOUT_S:.0f} s with the reference tables: {left}", hint=STALL_HINT
            )
        time.sleep(RESTORE_POLL_INTERVAL_S)


def leave(intake: EventConsumer, *, patience_s: float = 3.0) -> None:
    """Leave the group; a broker that does not answer is not waited for."""
    leaving = threading.Thread(target=intake.close, name="leave", daemon=True)
    leaving.start()
    leaving.join(patience_s)
    if leaving.is_alive():
        log.warning("the broker did not answer when leaving the group")
