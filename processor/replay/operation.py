"""Operations on the past: what all of them do, whatever it is that they find missing.

For each partition: who else is at work? ── (--yes) take the transactional id ── find what is missing (PartitionWork) ──
(--yes) publish it, each transaction with the progress. A dry run is the same up to the first transaction.
"""

import os
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

import structlog
from prometheus_client import CollectorRegistry

from processor.domain.event import SourceEvent
from processor.domain.operation import (
    RANDOM_BYTES,
    OperationId,
    OperationKind,
    PastOperation,
    operation_id,
    parse_operation_id,
)
from processor.domain.operation_record import OperationCounts, OperationState, ProgressRecord
from processor.domain.outcome import Processed, Rejected
from processor.domain.output_topics import FixedOutput
from processor.domain.record import OutRecord, SchemaGuid, SchemaId
from processor.domain.template import TemplateSet
from processor.engine.mapping_parts import LocalParts, MappingParts, TableRestore, build_mapping, read_server_parts
from processor.engine.output_scan import OutcomeReader
from processor.engine.past_operation import claim_past_store
from processor.engine.publisher import TransactionalPublisher
from processor.engine.start_offsets import READ_HINT
from processor.engine.startup import create_publisher
from processor.engine.step import StepHook
from processor.errors import (
    FatalError,
    OperationUnderWayError,
    TopicConfigError,
    UnavailableError,
    UsageError,
)
from processor.kafka.clients import Admin, create_admin
from processor.kafka.errors import exit_on_broker_errors
from processor.kafka.topic_state import describe_topics
from processor.mapping.context import MappingContext
from processor.mapping.decode_record import decode_record
from processor.mapping.options import WrittenDecisions
from processor.mapping.rejections import refuse_outputs
from processor.observability.metrics import Metrics
from processor.observability.signals import INTERRUPTED_EXIT_CODE, Shutdown, ShutdownRequested, shutdown_signals
from processor.registry.cache import wait_for_schema
from processor.registry.schema_files import load_schemas
from processor.replay.event_range import EventRange
from processor.replay.examine import PartitionParts
from processor.replay.operation_log import (
    LoggedOperation,
    describe_under_way,
    is_under_way,
    newest_progress,
    now_ms,
    refuse_other,
    refuse_positions,
)
from processor.replay.output_access import exit_when_unavailable, read_set_history
from processor.replay.past_publisher import PastPublisher, Patience, RefusedRecordsError, Written
from processor.replay.report import OperationReport, PartitionReport
from processor.replay.set_history import SetHistory
from processor.settings import InputTopic, Settings
from processor.tables.reader import store_folder
from processor.templates.load import load_templates, require_usable
from processor.wire.schema import SchemaOf, WriterSchema
from processor.wire.template_sets import template_set_records

log = structlog.get_logger()

REGISTRY_TIMEOUT_S: Final = 15.0  # for one schema
PACE_STEP_S: Final = 0.2
_PARTITION_COUNT: Final = "partitionCount"
"""Kept with what was asked for: the operation is about no partition from this number on, which the topic got since."""
BATCH_TIME_S: Final = 0.25  # of mapping; a batch ends with the record under way then

OnPhase = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""


@dataclass(frozen=True, slots=True)
class MappedBatch:
    """Outcomes to be published as one, in order; none: how far it is. `next_offset`: the first source that is not dealt
    with."""

    outcomes: tuple[Processed | Rejected, ...]
    next_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationOptions:
    """How an operation is done. `yes`: it writes; else it is a dry run. `by` is a person, `because` their reason.

    `rate` limits the events that get an outcome a second. `resume` goes on with an operation, by its id. `take_over`
    ends another one that is under way.
    """

    yes: bool = False
    by: str = ""
    because: str | None = None
    rate: float | None = None
    take_over: bool = False
    resume: OperationId | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """Who writes, and under which id. `request` is what was asked for, as JSON values. `goes_on`: an earlier call began
    it."""

    id: OperationId
    request: Mapping[str, Any]
    options: OperationOptions
    goes_on: bool = False

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
            request=self.request,
            counts=OperationCounts(),
            at_ms=now_ms(),
        )

    def go_on(self, begun: ProgressRecord, set_version: str) -> ProgressRecord:
        """What it says of itself when it goes on where it was, in this process."""
        own = self.begin(EventRange(begun.partition, begun.first_offset, begun.end_offset), set_version)
        return replace(
            own, next_offset=begun.next_offset, counts=begun.counts, because=self.options.because or begun.because
        )


class PartitionWork(Protocol):
    """What an operation does in one partition: first `prepare`, then `batches`, once."""

    @property
    def report(self) -> PartitionReport:
        """What was found so far. `stop_reason`: why it ends early."""

    @property
    def events(self) -> EventRange:
        """The source offsets that it is about."""

    def prepare(self, *, require_proof: bool) -> None:
        """Find out what is missing. Blocks. `require_proof`: what cannot be proven is an InputError."""

    def batches(self) -> Iterator[MappedBatch]:
        """What is to be published, in the order of the events. Blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One call of a command, and what it works with. `operation` is None for a dry run."""

    settings: Settings
    admin: Admin
    shutdown: Shutdown
    options: OperationOptions
    operation: Operation | None
    mapping: MappingParts
    context: MappingContext
    schema_of: SchemaOf
    set_history: Callable[[], SetHistory]  #: The template sets of the past, read by the first call. Blocks.
    began_ms: int
    on_step: StepHook

    @property
    def batch_records(self) -> int:
        """The most records of one batch, so that a low rate is no burst."""
        most = self.settings.max_batch_records
        return most if self.options.rate is None else max(1, min(most, int(self.options.rate)))

    @property
    def operation_id(self) -> OperationId | None:
        """The id under which it writes."""
        return None if self.operation is None else self.operation.id

    def partition_parts(self, partition: int) -> PartitionParts:
        """What the past of one partition is read with."""
        outputs = OutcomeReader(
            self.settings, self.context.schemas, partition, schema_of=self.schema_of, admin=self.admin
        )
        return PartitionParts(self.settings, self.admin, self.context, self.schema_of, outputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRequest:
    """What a command asks of its operation.

    `command` is what was typed, in one order: who types it again goes on with an operation that was not done.
    `partitions`: None: all. `values` is all that was asked for, as JSON values, which progress records keep.
    `reissue` and `send_late` as PastOperation has them.
    """

    kind: OperationKind
    command: str
    partitions: Sequence[int] | None
    values: Mapping[str, Any]
    reissue: bool = False
    send_late: bool = False


class PastCommand(Protocol):
    """What one command brings to its operation."""

    @property
    def request(self) -> PastRequest:
        """What is asked for."""

    @property
    def rehearses(self) -> bool:
        """Whether all partitions are looked at before anything is written."""

    def go_on(self, values: Mapping[str, Any]) -> "PastCommand":
        """The command that an operation began with, by the values that its progress keeps. ValueError."""

    def check(self, templates: TemplateSet) -> None:
        """Raise a FatalError for what cannot be done with these templates."""

    def open(self, session: Session, partition: int, events: EventRange | None, on_phase: OnPhase) -> PartitionWork:
        """The work in one partition; for an operation that goes on, the source offsets with which it began."""


def run_operation(
    settings: Settings,
    command: PastCommand,
    options: OperationOptions,
    *,
    on_phase: OnPhase = lambda _what, _done, _total: None,
    on_step: StepHook = lambda _step: None,
) -> OperationReport:
    """Do what `command` asks for, one partition after the other; without `options.yes` find out what that would write.

    Blocks. Raises UsageError for what cannot be, InputError for what cannot be proven, OperationUnderWayError when
    another operation has a partition, DependencyError when broker or registry do not respond, ShutdownRequested before
    anything was written.
    """
    schemas = load_schemas(settings.schemas_dir)
    templates = require_usable(load_templates(settings, schemas))
    local = LocalParts(settings, schemas, ZoneInfo(settings.time_zone), templates)
    admin = create_admin(settings)
    with (
        exit_on_broker_errors(settings, admin, hint=READ_HINT),
        exit_when_unavailable(settings),
        shutdown_signals(forced_exit_code=INTERRUPTED_EXIT_CODE) as shutdown,
        ExitStack() as stack,
    ):
        partitions = _partitions(settings, admin, command.request.partitions)
        newest = {number: newest_progress(settings, number, admin=admin) for number in partitions}
        begun = _begun_before(settings, admin, command.request, options, newest)
        operation, command = _operation(command, options, begun)
        if operation is not None:  # it may have begun with other ones than were typed now
            partitions = _partitions(settings, admin, command.request.partitions)
            for number in partitions:
                refuse_other(newest.get(number), own=operation.id, now_ms=now_ms(), take_over=options.take_over)
        _check_decisions(settings, options)
        command.check(templates)
        mapping = _build_mapping(local, operation, shutdown, stack)
        session = Session(
            settings=settings,
            admin=admin,
            shutdown=shutdown,
            options=options,
            operation=operation,
            mapping=mapping,
            context=_context_of(operation, command.request, mapping.context),
            schema_of=_blocking(mapping.schema_of),
            set_history=cache(partial(read_set_history, settings, admin, mapping.context.output_topics.template_sets)),
            began_ms=now_ms(),
            on_step=on_step,
        )
        if operation is not None:
            _open_all(session, command, partitions, begun)
        return _run_all(session, command, partitions, on_phase)


# ---------------------------------------------------------------------------------------------------------------------
# Before the first partition


def _partitions(settings: Settings, admin: Admin, selected: Sequence[int] | None) -> Sequence[int]:
    """The selected partitions of the events, in order. UsageError for one that there is not, TopicConfigError where
    operations have none for each."""
    events, operations = settings.topic(InputTopic.EVENTS), settings.topic(FixedOutput.OPERATIONS)
    topics = describe_topics(admin, (events, operations))
    if missing := [topic for topic in (events, operations) if topic not in topics]:
        raise TopicConfigError(f"topics are missing: {', '.join(missing)}", hint="`processor topics --create`")
    count = topics[events].partitions
    if topics[operations].partitions < count:
        raise TopicConfigError(
            f"{operations} has fewer partitions ({topics[operations].partitions}) than {events} ({count})",
            hint="`processor topics --grow`",
        )
    if selected is None:
        return range(count)
    if unknown := [number for number in selected if number >= count]:
        raise UsageError(f"{events} has no partition {unknown[0]}", hint=f"it has {count}, from 0 on")
    return sorted(set(selected))


_Begun = Mapping[int, LoggedOperation[ProgressRecord] | None]
"""By partition, the progress of an operation that a call may go on with."""


def _begun_before(
    settings: Settings, admin: Admin, request: PastRequest, options: OperationOptions, newest: _Begun
) -> _Begun:
    """The progress that says whether a call goes on with an operation, or has been made before. The newest does; but a
    reissue would write to people once more, and one that is named is meant, so of these it is looked for behind what
    other operations have done since. Blocks."""
    if options.resume is None and not request.reissue:
        return newest

    def matches(progress: ProgressRecord) -> bool:
        if options.resume is not None:
            return progress.operation == options.resume
        return _is_of(progress, request.kind) and progress.request.get("command") == request.command

    return {number: newest_progress(settings, number, admin=admin, matches=matches) for number in newest}


def _operation(command: PastCommand, options: OperationOptions, newest: _Begun) -> tuple[Operation | None, PastCommand]:
    """Under which id this call writes, None for a dry run; and with what it began. Raises UsageError for a reissue that
    was done, of a dry run too.

    It goes on with an operation that was not done: the one that is named, or the one that the same command began.
    """
    request = command.request
    own = _unfinished(newest, request, options.resume)
    if own is None:
        _refuse_second(request, [logged.record for logged in newest.values() if logged is not None])
    if not options.yes:
        return None, command
    if own is None:
        asked = {"command": request.command, _PARTITION_COUNT: max(newest, default=-1) + 1, **request.values}
        operation = Operation(_new_id(request.kind), asked, options)
    else:
        operation = Operation(own.operation, own.request, options, goes_on=True)
        command = _go_on(command, own)
        log.warning("going on with an operation", operation=own.operation, began_by=own.by)
    return operation, command


def _unfinished(newest: _Begun, request: PastRequest, resume: OperationId | None) -> ProgressRecord | None:
    """The progress of the operation that is gone on with; None: a new one begins. UsageError where `resume` is none."""
    records = [logged.record for logged in newest.values() if logged is not None]
    unfinished = [
        record
        for record in records
        if _is_of(record, request.kind) and (record.state is not OperationState.DONE or _is_between(record, newest))
    ]
    if resume is None:
        return next((record for record in unfinished if record.request.get("command") == request.command), None)
    for record in unfinished:
        if record.operation == resume:
            return record
    raise UsageError(
        f"no partition has an unfinished operation {resume}",
        hint=f"a finished one has nothing left to do; `processor {request.kind}` without --yes shows what is missing",
    )


def _is_between(done: ProgressRecord, newest: _Begun) -> bool:
    """Whether an operation that is done in one partition was killed before it began with another of those that it is
    about: that one has no progress, or none since the operation began."""
    since_ms = (parse_operation_id(done.operation).began_at.timestamp() + 1) * 1000  # an id has whole seconds
    selected = done.request.get("partitions")
    return any(
        logged is None or (logged.record.operation != done.operation and logged.time_ms < since_ms)
        for partition, logged in newest.items()
        if partition < done.request.get(_PARTITION_COUNT, 0) and (selected is None or partition in selected)
    )


def _is_of(record: ProgressRecord, kind: OperationKind) -> bool:
    """Whether it is an operation of that kind: the options of two commands may read the same."""
    return record.operation.startswith(f"{kind}-")


def _refuse_second(request: PastRequest, records: Sequence[ProgressRecord]) -> None:
    """Raise UsageError for what was done just so: who types a command twice may not mean it twice."""
    for record in records:
        is_done = (
            record.state is OperationState.DONE
            and _is_of(record, request.kind)
            and record.request.get("command") == request.command
        )
        if request.reissue and is_done:
            raise UsageError(
                f"operation {record.operation} has done this very reissue, by {record.by}: people would get it once "
                "more",
                hint="another --because says that this is meant",
            )


def _go_on(command: PastCommand, own: ProgressRecord) -> PastCommand:
    try:
        return command.go_on(own.request)
    except ValueError as error:
        raise UsageError(
            f"operation {own.operation} cannot be gone on with: {error}", hint="another version began it"
        ) from error


def _check_decisions(settings: Settings, options: OperationOptions) -> None:
    if options.yes and settings.decisions is not WrittenDecisions.ALL:
        raise UsageError(
            f"PROCESSOR_DECISIONS is {settings.decisions}: an operation on the past writes decisions, or it would find "
            "the same events missing again",
            hint="set PROCESSOR_DECISIONS=all for it",
        )


def _build_mapping(
    local: LocalParts, operation: Operation | None, shutdown: Shutdown, stack: ExitStack
) -> MappingParts:
    """What is mapped with. The local store of the reference tables is the operation's alone; a dry run, which keeps
    nobody out, has a store for itself, which is removed in the end, and so has what takes over from a process that has
    the store."""
    settings = local.settings
    name = None
    if operation is not None:
        try:
            name = stack.enter_context(claim_past_store(settings, operation.id))
        except OperationUnderWayError:
            if not operation.options.take_over:
                raise
    if name is None:
        name = f"{settings.group_id}:past-{os.getpid()}"
        stack.callback(partial(shutil.rmtree, store_folder(settings, name), ignore_errors=True))
    restore = TableRestore(name, Metrics(CollectorRegistry()), on_progress=lambda _text: None, until_end=True)
    return build_mapping(local, read_server_parts(local, shutdown), restore, shutdown=shutdown, stack=stack)


def _context_of(operation: Operation | None, request: PastRequest, context: MappingContext) -> MappingContext:
    """With an operation's id, which a dry run makes up: it maps as the operation would."""
    past_id = _new_id(request.kind) if operation is None else operation.id
    return replace(context, operation=PastOperation(id=past_id, reissue=request.reissue, send_late=request.send_late))


def _new_id(kind: OperationKind) -> OperationId:
    return operation_id(kind, datetime.now(UTC), random=secrets.token_bytes(RANDOM_BYTES))


def _blocking(schema_of: SchemaOf) -> SchemaOf:
    """The same look-up, which waits for a registry that has not responded yet."""

    def blocking(schema_id: SchemaId | SchemaGuid) -> WriterSchema:
        return wait_for_schema(schema_of, schema_id, timeout_s=REGISTRY_TIMEOUT_S)

    return blocking


# ---------------------------------------------------------------------------------------------------------------------
# One partition after the other


def _open_all(session: Session, command: PastCommand, partitions: Sequence[int], newest: _Begun) -> None:
    """Find out whether the work can begin in each partition, before anything is written to one of them."""
    for partition in partitions:
        logged = newest.get(partition)
        begun = logged.record if logged is not None and logged.record.operation == session.operation_id else None
        if begun is None or begun.state is not OperationState.DONE:
            command.open(session, partition, None if begun is None else _range_of(begun), lambda *_: None)


def _run_all(session: Session, command: PastCommand, partitions: Sequence[int], on_phase: OnPhase) -> OperationReport:
    reports: list[PartitionReport] = []
    if session.operation is not None and command.rehearses:
        for partition in partitions:
            _dry_run(session, command, partition, on_phase)
    for partition in partitions:
        if session.shutdown.requested or any(report.stop_reason for report in reports):
            break
        reports.append(_run_partition(session, command, partition, on_phase))
    return OperationReport(
        tuple(reports),
        operation=session.operation_id,
        set_version=session.context.templates.digest,
        began_ms=session.began_ms,
        stopped=session.shutdown.requested,
    )


def _run_partition(session: Session, command: PastCommand, partition: int, on_phase: OnPhase) -> PartitionReport:
    newest = newest_progress(session.settings, partition, admin=session.admin)
    if session.operation is None:
        report = _dry_run(session, command, partition, on_phase)
        if newest is not None and is_under_way(newest, now_ms=now_ms()):
            report.operation_under_way = describe_under_way(newest)
        return report
    operation, take_over = session.operation, session.options.take_over
    refuse_other(newest, own=operation.id, now_ms=now_ms(), take_over=take_over)
    publisher = create_publisher(
        session.settings,
        transactional_id=f"{session.settings.group_id}:past-{partition}",
        must_stop=session.shutdown.deadline_passed,
        on_step=session.on_step,
    )
    with closing(publisher):
        return _publish_partition(session, command, partition, publisher, on_phase)


def _dry_run(session: Session, command: PastCommand, partition: int, on_phase: OnPhase) -> PartitionReport:
    def on_phase_checked(what: str, done: int, total: int) -> None:
        on_phase(what, done, total)
        session.shutdown.raise_if_requested()

    work = command.open(session, partition, None, on_phase_checked)
    work.prepare(require_proof=command.rehearses)
    for batch in work.batches():
        del batch  # or it would be there while the next one is made
        session.mapping.tables.check()
        session.shutdown.raise_if_requested()
    return work.report


def _publish_partition(
    session: Session,
    command: PastCommand,
    partition: int,
    publisher: TransactionalPublisher,
    on_phase: OnPhase,
) -> PartitionReport:
    """Take the transactional id of the partition, and publish what is missing there."""
    topics, settings, operation = session.context.output_topics, session.settings, session.operation
    assert operation is not None
    patience = Patience()

    def check() -> None:
        session.shutdown.raise_if_requested()
        patience.check()

    publisher.reset_producer(topics, between_attempts=check)
    refuse_positions(newest_progress(settings, partition, admin=session.admin), now_ms=now_ms())
    begun = _begun(session, operation, partition)
    if begun is not None and begun.state is OperationState.DONE:
        return PartitionReport(EventRange(partition, begun.end_offset, begun.end_offset), goes_on=True)
    beats: list[Callable[[], None]] = []

    def on_phase_alive(what: str, done: int, total: int) -> None:
        on_phase(what, done, total)
        for beat in beats:
            beat()
        session.shutdown.raise_if_requested()

    set_version = session.context.templates.digest
    work = command.open(session, partition, None if begun is None else _range_of(begun), on_phase_alive)
    past = PastPublisher(
        publisher,
        operation.begin(work.events, set_version) if begun is None else operation.go_on(begun, set_version),
        topics,
        newest_progress=lambda isolation: newest_progress(
            settings, partition, admin=session.admin, isolation=isolation
        ),
        timeout_s=settings.transaction_timeout_ms / 1000,
        now_ms=now_ms,
    )
    past.begin()
    beats.append(past.heartbeat)
    work.report.goes_on = begun is not None
    _publish_work(session, past, work)
    return work.report


def _begun(session: Session, operation: Operation, partition: int) -> ProgressRecord | None:
    """How far the operation has come there, as was committed: what it wrote last may have been aborted, and so may its
    end. To be asked once nothing under its transactional id is open."""
    if not operation.goes_on:
        return None
    own = newest_progress(
        session.settings,
        partition,
        admin=session.admin,
        isolation="read_committed",
        matches=lambda progress: progress.operation == operation.id,
    )
    return None if own is None else own.record


def _range_of(begun: ProgressRecord) -> EventRange:
    """The source offsets with which an operation began: what it has written by now has its outcome."""
    return EventRange(begun.partition, begun.first_offset, begun.end_offset)


def _publish_work(session: Session, past: PastPublisher, work: PartitionWork) -> None:
    """Publish all of it, and say how it ended."""
    try:
        _publish_batches(session, past, work)
    except ShutdownRequested:
        past.finish(OperationState.STOPPED)
    except OperationUnderWayError:
        raise
    except (FatalError, UnavailableError):
        with suppress(FatalError, RefusedRecordsError):
            past.finish(OperationState.STOPPED)
        raise
    else:
        past.finish(OperationState.STOPPED if work.report.stop_reason else OperationState.DONE)


def _publish_batches(session: Session, past: PastPublisher, work: PartitionWork) -> None:
    work.prepare(require_proof=True)
    pace = Pace(session.options.rate, session.shutdown, past.heartbeat)
    is_set_kept = session.context.templates.digest in session.mapping.published.keys
    for batch in work.batches():
        session.mapping.tables.check()
        if batch.outcomes:
            kept = () if is_set_kept else _set_records(session.context)
            _publish(session, past, batch, kept)
            is_set_kept = True
        past.heartbeat()
        count = len(batch.outcomes)
        del batch  # or it would be there while the next one is made
        pace.wait(count)
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
        decoded = _decode_again(session, batch.outcomes[0])
        outcome = refuse_outputs(decoded, session.context, detail=detail, drop_value=False)
        assert isinstance(outcome, Rejected), "what was mapped is not deferred"
        try:
            past.publish(_written((outcome,), kept), batch.next_offset)
        except RefusedRecordsError:
            outcome = refuse_outputs(decoded, session.context, detail=detail, drop_value=True)
            assert isinstance(outcome, Rejected), "what was mapped is not deferred"
            past.publish(_written((outcome,), kept), batch.next_offset)


def _decode_again(session: Session, outcome: Processed | Rejected) -> SourceEvent | Processed | Rejected:
    """The event of a record that was mapped, so that its dead letter names it; else the outcome as it is."""
    if isinstance(outcome, Rejected):
        return outcome
    decoded = decode_record(outcome.record, session.context, schema_of=session.schema_of)
    return decoded if isinstance(decoded, SourceEvent) else outcome


def _halves(batch: MappedBatch) -> tuple[MappedBatch, MappedBatch]:
    middle = len(batch.outcomes) // 2
    first, second = batch.outcomes[:middle], batch.outcomes[middle:]
    return MappedBatch(first, first[-1].record.position.offset + 1), MappedBatch(second, batch.next_offset)


def _written(outcomes: Sequence[Processed | Rejected], kept: Sequence[OutRecord]) -> Written:
    processed = [outcome for outcome in outcomes if isinstance(outcome, Processed)]
    return Written(
        [*kept, *(output for outcome in outcomes for output in outcome.outputs)],
        messages=sum(len(outcome.messages) for outcome in processed),
        decisions=sum(outcome.decision is not None for outcome in processed),
        dead_letters=len(outcomes) - len(processed) + sum(outcome.dead_letter is not None for outcome in processed),
    )


def _set_records(context: MappingContext) -> Sequence[OutRecord]:
    return template_set_records(context.templates, context.output_topics.template_sets)


class Pace:
    """Keeps to a rate, in events a second; None: as fast as it goes."""

    def __init__(self, rate: float | None, shutdown: Shutdown, heartbeat: Callable[[], None]) -> None:
        self._rate = rate
        self._shutdown = shutdown
        self._heartbeat = heartbeat
        self._began = time.monotonic()
        self._count = 0

    def wait(self, count: int) -> None:
        """Wait until `count` more events are within the rate; in steps, so that others see that we are at work."""
        self._count += count
        if self._rate is None:
            return
        until = self._began + self._count / self._rate
        while (left_s := until - time.monotonic()) > 0 and not self._shutdown.requested:
            time.sleep(min(left_s, PACE_STEP_S))
            self._heartbeat()
