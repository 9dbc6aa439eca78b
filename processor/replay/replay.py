"""`replay`: give events of the past the outcomes that they miss, and no other.

For each partition: who else is at work? ── (--yes) take the transactional id ── the group's position ── what is missing
(partition_replay.py) ── (--yes) publish it with the progress. A dry run is the same up to the first transaction.
"""

import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final
from zoneinfo import ZoneInfo

import structlog
from prometheus_client import CollectorRegistry

from processor.domain.operation import RANDOM_BYTES, OperationId, OperationKind, PastOperation, operation_id
from processor.domain.operation_record import OperationCounts, OperationState, ProgressRecord
from processor.domain.outcome import Processed, Rejected
from processor.domain.output_topics import FixedOutput, OutputTopic
from processor.domain.record import OutRecord, SchemaGuid, SchemaId
from processor.domain.template import TemplateSet
from processor.domain.text import closest_match, did_you_mean
from processor.engine.mapping_parts import LocalParts, MappingParts, TableRestore, build_mapping, read_server_parts
from processor.engine.output_scan import OutcomeReader
from processor.engine.past_operation import claim_past_store
from processor.engine.start_offsets import READ_HINT, group_positions
from processor.engine.startup import create_publisher
from processor.engine.step import StepHook
from processor.errors import (
    DependencyError,
    FatalError,
    InputError,
    OperationUnderWayError,
    TopicConfigError,
    UnavailableError,
    UsageError,
)
from processor.kafka.clients import Admin, create_admin
from processor.kafka.errors import NoResponseError, exit_on_broker_errors
from processor.kafka.offsets import partition_extent
from processor.kafka.read_range import open_reader, read_range
from processor.kafka.topic_state import describe_topics
from processor.mapping.context import MappingContext
from processor.mapping.options import WrittenDecisions
from processor.mapping.rejections import refuse_outputs
from processor.observability.metrics import Metrics
from processor.observability.signals import Shutdown, ShutdownRequested, shutdown_signals
from processor.registry.cache import wait_for_schema
from processor.registry.schema_files import load_schemas
from processor.replay.event_range import EventRange, resolve_range
from processor.replay.examine import PartitionParts
from processor.replay.operation_log import (
    LoggedOperation,
    describe_under_way,
    is_under_way,
    newest_progress,
    refuse_other,
)
from processor.replay.partition_replay import MappedBatch, OnPhase, PartitionReplay
from processor.replay.past_publisher import PastPublisher, RefusedRecordsError, Written
from processor.replay.report import PartitionReport, ReplayReport
from processor.replay.request import ReplayRequest, parse_request, request_as_json
from processor.replay.set_history import SetHistory, set_history
from processor.settings import InputTopic, Settings
from processor.tables.reader import store_folder
from processor.templates.load import load_templates, require_usable
from processor.wire.schema import SchemaOf, WriterSchema
from processor.wire.template_sets import template_set_records

log = structlog.get_logger()

REGISTRY_TIMEOUT_S: Final = 15.0  # for one schema
PACE_STEP_S: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """How a replay is done. `yes`: it writes; else it is a dry run. `by` is a person, `because` their reason.

    `rate` limits the events that get an outcome a second. `resume` goes on with an operation, by its id.
    """

    yes: bool = False
    by: str = ""
    because: str | None = None
    rate: float | None = None
    take_over: bool = False
    resume: OperationId | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """Who writes, and under which id."""

    id: OperationId
    request: ReplayRequest
    options: ReplayOptions

    def begin(self, events: EventRange, set_version: str) -> ProgressRecord:
        """What it says of itself when it begins with a partition."""
        return ProgressRecord(
            operation=self.id,
            partition=events.partition,
            state=OperationState.UNDER_WAY,
            first_offset=events.first,
            end_offset=events.end,
            next_offset=events.first,
            by=self.options.by,
            because=self.options.because,
            host=socket.gethostname(),
            process_id=os.getpid(),
            set_version=set_version,
            request=request_as_json(self.request),
            counts=OperationCounts(),
            at_ms=now_ms(),
        )


def now_ms() -> int:
    """The time, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One call of the command, and what it works with. `operation` is None for a dry run."""

    settings: Settings
    admin: Admin
    shutdown: Shutdown
    options: ReplayOptions
    request: ReplayRequest
    operation: Operation | None
    mapping: MappingParts
    context: MappingContext
    schema_of: SchemaOf
    history: SetHistory
    began_ms: int
    on_phase: OnPhase
    on_step: StepHook


def replay(
    settings: Settings,
    request: ReplayRequest,
    options: ReplayOptions,
    *,
    on_phase: OnPhase = lambda _what, _done, _total: None,
    on_step: StepHook = lambda _step: None,
) -> ReplayReport:
    """Replay what `request` selects, one partition after the other; without `options.yes` find out what that would
    write. Blocks.

    Raises UsageError for a request that cannot be, InputError for a range that cannot be proven, OperationUnderWayError
    when another operation has a partition, DependencyError when broker or registry do not respond.
    """
    schemas = load_schemas(settings.schemas_dir)
    templates = require_usable(load_templates(settings, schemas))
    local = LocalParts(settings, schemas, ZoneInfo(settings.time_zone), templates)
    admin = create_admin(settings)
    with (
        exit_on_broker_errors(settings, admin, hint=READ_HINT),
        _exit_when_unavailable(settings),
        shutdown_signals() as shutdown,
        ExitStack() as stack,
    ):
        partitions = selected_partitions(settings, admin, request)
        newest = {number: newest_progress(settings, number, admin=admin) for number in partitions}
        operation = _operation(request, options, newest)
        request = request if operation is None else operation.request
        _check(settings, request, options, templates)
        began_ms = now_ms()
        mapping = _build_mapping(local, operation, shutdown, stack)
        session = Session(
            settings=settings,
            admin=admin,
            shutdown=shutdown,
            options=options,
            request=request,
            operation=operation,
            mapping=mapping,
            context=mapping.context if operation is None else _context_of(operation, mapping.context),
            schema_of=_blocking(mapping.schema_of),
            history=read_set_history(settings, mapping.context.output_topics.template_sets),
            began_ms=began_ms,
            on_phase=on_phase,
            on_step=on_step,
        )
        return _replay_all(session, partitions)


@contextmanager
def _exit_when_unavailable(settings: Settings) -> Iterator[None]:
    """DependencyError for what cannot be read now, but for a missing response, which names its cause itself."""
    try:
        yield
    except NoResponseError:
        raise
    except UnavailableError as error:
        raise DependencyError(f"{settings.bootstrap_servers}: {error}", hint="try it again later") from error


# ---------------------------------------------------------------------------------------------------------------------
# Before the first partition


def selected_partitions(settings: Settings, admin: Admin, request: ReplayRequest) -> Sequence[int]:
    """The partitions of the events that `request` selects, in order. Blocks. UsageError for one that there is not."""
    events = settings.topic(InputTopic.EVENTS)
    topics = describe_topics(admin, (events, settings.topic(FixedOutput.OPERATIONS)))
    if missing := [topic for topic in (events, settings.topic(FixedOutput.OPERATIONS)) if topic not in topics]:
        raise TopicConfigError(f"topics are missing: {', '.join(missing)}", hint="`processor topics --create`")
    count = topics[events].partitions
    selected = request.selection.partitions
    if selected is None:
        return range(count)
    if unknown := [number for number in selected if number >= count]:
        raise UsageError(f"{events} has no partition {unknown[0]}", hint=f"it has {count}, from 0 on")
    return sorted(set(selected))


def _operation(
    request: ReplayRequest, options: ReplayOptions, newest: Mapping[int, LoggedOperation[ProgressRecord] | None]
) -> Operation | None:
    """Under which id this call writes; None for a dry run.

    It goes on with an operation that was not done: the one that is named, or the one that the same command began.
    Raises OperationUnderWayError when another one is at work in any of the partitions.
    """
    if not options.yes:
        return None
    records = [logged.record for logged in newest.values() if logged is not None]
    unfinished = [record for record in records if record.state is not OperationState.DONE]
    if options.resume is not None:
        own = next((record for record in unfinished if record.operation == options.resume), None)
        if own is None:
            raise UsageError(
                f"no partition has an unfinished operation {options.resume}",
                hint="a finished one has nothing left to do; `processor replay` without --yes shows what is missing",
            )
    else:
        own = next((record for record in unfinished if record.request.get("command") == request.command), None)
    if own is None:
        _refuse_second_reissue(request, records)
        began_at = datetime.now(UTC)
        operation = Operation(
            operation_id(OperationKind.REPLAY, began_at, random=secrets.token_bytes(RANDOM_BYTES)), request, options
        )
    else:
        operation = Operation(own.operation, _parse_request(own), options)
        log.warning("going on with an operation", operation=own.operation, began_by=own.by)
    for logged in newest.values():
        refuse_other(logged, own=operation.id, now_ms=now_ms(), take_over=options.take_over)
    return operation


def _refuse_second_reissue(request: ReplayRequest, records: Sequence[ProgressRecord]) -> None:
    """Raise UsageError for a reissue that was done just so: who types a command twice may not mean it twice."""
    for record in records:
        if request.reissue and record.state is OperationState.DONE and record.request.get("command") == request.command:
            raise UsageError(
                f"operation {record.operation} has done this very reissue, by {record.by}: people would get it once "
                "more",
                hint="another --because says that this is meant",
            )


def _parse_request(record: ProgressRecord) -> ReplayRequest:
    try:
        return parse_request(record.request)
    except ValueError as error:
        raise UsageError(
            f"operation {record.operation} cannot be gone on with: {error}", hint="another version began it"
        ) from error


def _check(settings: Settings, request: ReplayRequest, options: ReplayOptions, templates: TemplateSet) -> None:
    """Raise UsageError for what cannot be replayed with these settings and templates."""
    if options.yes and settings.decisions is not WrittenDecisions.ALL:
        raise UsageError(
            f"PROCESSOR_DECISIONS is {settings.decisions}: a replay writes decisions, or it would find the same events "
            "missing again",
            hint="set PROCESSOR_DECISIONS=all for it",
        )
    ids = {template.id for template in templates.templates}
    for name in sorted((request.scope.templates or frozenset()) | request.scope.include_new):
        if name not in ids:
            near = did_you_mean(closest_match(name, ids), before="; ")
            raise UsageError(f"there is no template {name!r}{near}", hint="`processor templates` lists them")


def _build_mapping(
    local: LocalParts, operation: Operation | None, shutdown: Shutdown, stack: ExitStack
) -> MappingParts:
    """What is mapped with. The local store of the reference tables is the operation's alone; a dry run beside one has
    a store for itself, which is removed in the end."""
    settings = local.settings
    try:
        name = stack.enter_context(claim_past_store(settings, "a dry run" if operation is None else operation.id))
    except OperationUnderWayError:
        if operation is not None:
            raise
        name = f"{settings.group_id}:past-{os.getpid()}"
        stack.callback(partial(shutil.rmtree, store_folder(settings, name), ignore_errors=True))
    restore = TableRestore(name, Metrics(CollectorRegistry()), on_progress=lambda _text: None, until_end=True)
    return build_mapping(local, read_server_parts(local, shutdown), restore, shutdown=shutdown, stack=stack)


def _context_of(operation: Operation, context: MappingContext) -> MappingContext:
    request = operation.request
    past = PastOperation(id=operation.id, reissue=request.reissue, send_late=request.send_late)
    return replace(context, operation=past)


def _blocking(schema_of: SchemaOf) -> SchemaOf:
    """The same look-up, which waits for a registry that has not responded yet."""

    def blocking(schema_id: SchemaId | SchemaGuid) -> WriterSchema:
        return wait_for_schema(schema_of, schema_id, timeout_s=REGISTRY_TIMEOUT_S)

    return blocking


def read_set_history(settings: Settings, topic: OutputTopic) -> SetHistory:
    """The template sets of the past. Blocks. InputError for a record that is none, UnavailableError as `read_range`."""
    admin, hint = create_admin(settings), f"grant READ on {topic.name}"
    extent = partition_extent(admin, topic.name, 0, hint=hint)
    with open_reader(settings, hint=hint) as reader:
        records = [
            (message.key() or b"", message.value())
            for message in read_range(reader, topic.name, 0, extent.first, extent.stable)
        ]
    try:
        return set_history(records)
    except ValueError as error:
        raise InputError(f"{topic.name} has a record that is no template set: {error}") from error


# ---------------------------------------------------------------------------------------------------------------------
# One partition after the other


def _replay_all(session: Session, partitions: Sequence[int]) -> ReplayReport:
    reports = []
    for partition in partitions:
        if session.shutdown.requested:
            break
        reports.append(_replay_partition(session, partition))
    return ReplayReport(
        tuple(reports),
        operation=None if session.operation is None else session.operation.id,
        set_version=session.context.templates.digest,
        stopped=session.shutdown.requested,
    )


def _replay_partition(session: Session, partition: int) -> PartitionReport:
    newest = newest_progress(session.settings, partition, admin=session.admin)
    if session.operation is None:
        report = _dry_run(session, partition)
        if newest is not None and is_under_way(newest, now_ms=now_ms()):
            report.operation_under_way = describe_under_way(newest)
        return report
    operation, take_over = session.operation, session.options.take_over
    refuse_other(newest, own=operation.id, now_ms=now_ms(), take_over=take_over)
    goes_on = newest is not None and newest.record.operation == operation.id
    if newest is not None and goes_on and newest.record.state is OperationState.DONE:
        return PartitionReport(EventRange(partition, newest.record.end_offset, newest.record.end_offset))
    events = _past_range(newest.record) if newest is not None and goes_on else None
    return _publish_missing(session, partition, events)


def _past_range(record: ProgressRecord) -> EventRange:
    """The range with which the operation began: what it has written by now has its outcome."""
    return EventRange(record.partition, record.first_offset, record.end_offset)


def _dry_run(session: Session, partition: int) -> PartitionReport:
    replay = _partition_replay(session, _resolve(session, partition), session.on_phase)
    replay.prepare(require_proof=False)
    for _batch in replay.batches():
        session.mapping.tables.check()
        session.shutdown.raise_if_requested()
    return replay.report


def _publish_missing(session: Session, partition: int, events: EventRange | None) -> PartitionReport:
    """Take the transactional id of the partition, and publish what its events miss."""
    settings = session.settings
    assert session.operation is not None
    publisher = create_publisher(
        settings,
        transactional_id=f"{settings.group_id}:past-{partition}",
        must_stop=session.shutdown.deadline_passed,
        on_step=session.on_step,
    )
    with closing(publisher):
        topics = session.context.output_topics
        publisher.reset_producer(topics, between_attempts=session.shutdown.raise_if_requested)
        events = events or _resolve(session, partition)
        past = PastPublisher(
            publisher,
            session.operation.begin(events, session.context.templates.digest),
            topics,
            newest_progress=lambda isolation: newest_progress(
                settings, partition, admin=session.admin, isolation=isolation
            ),
            timeout_s=settings.transaction_timeout_ms / 1000,
            now_ms=now_ms,
        )
        past.begin()
        try:
            return _publish_batches(session, past, events)
        except OperationUnderWayError:
            raise
        except (FatalError, UnavailableError):
            with suppress(FatalError, RefusedRecordsError):
                past.finish(OperationState.STOPPED)
            raise


def _publish_batches(session: Session, past: PastPublisher, events: EventRange) -> PartitionReport:
    def on_phase(what: str, done: int, total: int) -> None:
        session.on_phase(what, done, total)
        past.heartbeat()
        session.shutdown.raise_if_requested()

    replay = _partition_replay(session, events, on_phase)
    try:
        _publish_all(session, past, replay)
    except ShutdownRequested:
        past.finish(OperationState.STOPPED)
    else:
        past.finish(OperationState.DONE)
    return replay.report


def _publish_all(session: Session, past: PastPublisher, replay: PartitionReplay) -> None:
    replay.prepare(require_proof=True)
    pace = Pace(session.options.rate)
    is_set_kept = session.context.templates.digest in session.mapping.published.keys
    for batch in replay.batches():
        session.mapping.tables.check()
        if batch.outcomes:
            kept = () if is_set_kept else _set_records(session.context)
            _publish(session, past, batch, kept)
            is_set_kept = True
        past.heartbeat()
        pace.wait(len(batch.outcomes), session.shutdown)
        session.shutdown.raise_if_requested()


def _publish(session: Session, past: PastPublisher, batch: MappedBatch, kept: Sequence[OutRecord]) -> None:
    """Publish a batch; where the broker refuses a record of it, halved down to that one, which is a dead letter."""
    try:
        past.publish(_written(batch.outcomes, kept), batch.next_offset)
    except RefusedRecordsError as refused:
        if len(batch.outcomes) > 1:
            for part in _halves(batch):
                _publish(session, past, part, kept)
            return
        detail = f"the broker refused its outputs: {refused.failure.error}: {refused.failure.detail}"
        outcome = refuse_outputs(batch.outcomes[0], session.context, detail=detail, drop_value=False)
        assert isinstance(outcome, Rejected), "what was mapped is not deferred"
        try:
            past.publish(_written((outcome,), kept), batch.next_offset)
        except RefusedRecordsError:
            outcome = refuse_outputs(batch.outcomes[0], session.context, detail=detail, drop_value=True)
            assert isinstance(outcome, Rejected), "what was mapped is not deferred"
            past.publish(_written((outcome,), kept), batch.next_offset)


def _halves(batch: MappedBatch) -> tuple[MappedBatch, MappedBatch]:
    middle = len(batch.outcomes) // 2
    first, second = batch.outcomes[:middle], batch.outcomes[middle:]
    return MappedBatch(first, first[-1].record.position.offset + 1), MappedBatch(second, batch.next_offset)


def _written(outcomes: Sequence[Processed | Rejected], kept: Sequence[OutRecord]) -> Written:
    processed = [outcome for outcome in outcomes if isinstance(outcome, Processed)]
    return Written(
        [*kept, *(output for outcome in outcomes for output in outcome.outputs)],
        messages=sum(len(outcome.created) for outcome in processed),
        decisions=sum(outcome.decision is not None for outcome in processed),
        dead_letters=len(outcomes) - len(processed) + sum(outcome.dead_letter is not None for outcome in processed),
    )


def _set_records(context: MappingContext) -> Sequence[OutRecord]:
    return template_set_records(context.templates, context.output_topics.template_sets)


def _resolve(session: Session, partition: int) -> EventRange:
    position = group_positions(session.settings, [partition]).get(partition)
    return resolve_range(session.settings, session.admin, session.request.selection, partition, position=position)


def _partition_replay(session: Session, events: EventRange, on_phase: OnPhase) -> PartitionReplay:
    outputs = OutcomeReader(
        session.settings,
        session.context.schemas,
        events.partition,
        schema_of=session.schema_of,
        admin=session.admin,
    )
    return PartitionReplay(
        PartitionParts(session.settings, session.admin, session.context, session.schema_of, outputs),
        session.request,
        events,
        history=session.history,
        now_ms=session.began_ms,
        on_phase=on_phase,
    )


class Pace:
    """Keeps to a rate, in events a second; None: as fast as it goes."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._began = time.monotonic()
        self._count = 0

    def wait(self, count: int, shutdown: Shutdown) -> None:
        """Wait until `count` more events are within the rate; in steps, so that a shutdown is not kept waiting."""
        self._count += count
        if self._rate is None:
            return
        until = self._began + self._count / self._rate
        while (left_s := until - time.monotonic()) > 0 and not shutdown.requested:
            time.sleep(min(left_s, PACE_STEP_S))
