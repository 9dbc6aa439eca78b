"""Sets the group's positions as planned.

no other operation? ── take `{group}:past-N` of each partition ── has anything changed since the plan? ── save the old
positions ── a record POSITIONS for each, committed ── the commit of all positions, in one request ── done, in a record

Non-obvious: the positions are committed by a client that is no member of the group, which the broker refuses while the
group has members; as a part of a transaction it would accept them. So this commit is not fenced. What keeps operations
on the past away meanwhile is the progress record that is written before the commit, beside POSITIONS, and says that it
is over only after it. Others believe it for a minute, and after MAX_COMMIT_DELAY_S nothing is committed any more.
"""

import os
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from processor.background import call_in_thread
from processor.domain.operation import OperationId
from processor.domain.operation_record import OperationCounts, OperationState, PositionsRecord, ProgressRecord
from processor.domain.record import OutRecord
from processor.engine.output_scan import OutcomeReader
from processor.engine.publisher import NotCommitted, TransactionalPublisher, TransactionResult
from processor.engine.start_offsets import READ_HINT, join_refusals
from processor.engine.startup import create_publisher
from processor.errors import AuthorizationError, DependencyError, InputError, OperationUnderWayError
from processor.kafka.clients import create_admin, standalone_consumer
from processor.kafka.errors import error_of, exit_on_broker_errors, raise_if_unauthorized
from processor.replay.operation_log import newest_progress, now_ms, refuse_other
from processor.replay.output_access import blocking_schema_of, exit_when_unavailable
from processor.replay.positions import (
    Member,
    PositionChange,
    PositionsPlan,
    current_positions,
    members_text,
    republishing_error,
)
from processor.replay.positions_file import SavedPositions, require_unused, save_positions
from processor.settings import Settings
from processor.wire.json_codec import format_millis
from processor.wire.operations import positions_out_record, progress_out_record
from processor.wire.reader_schemas import Schemas

log = structlog.get_logger()

TAKE_TIMEOUT_S: Final = 30.0  # for one transactional id: a transaction of its last holder may have to end first
COMMIT_TIMEOUT_S: Final = 15.0
MAX_COMMIT_DELAY_S: Final = 30.0  # after the first record; others take an operation for dead after 60 s
STOP_HINT: Final = (
    "stop every `processor run` of the group, and wait for a killed one's session to end (10 s, or as long as the "
    "broker says)"
)
AGAIN_HINT: Final = "the same command sets them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorship:
    """Who sets positions, and why. `operation`: the id of a new operation."""

    operation: OperationId
    by: str
    because: str


def saved_positions(plan: PositionsPlan) -> SavedPositions:
    """The positions as they are before anything is changed."""
    return SavedPositions(
        group=plan.group,
        topic=plan.topic,
        saved_at=format_millis(now_ms()),
        positions={change.partition: change.from_offset for change in plan.changes},
    )


def set_positions(
    settings: Settings,
    schemas: Schemas,
    plan: PositionsPlan,
    authorship: Authorship,
    *,
    take_over: bool,
    save_to: Path,
) -> None:
    """Set the positions of a plan that was checked, and save the old ones in a file before. Blocks.

    Nothing is changed unless all of it can be: OperationUnderWayError when the group is active, or another operation on
    the past has one of the partitions (not with `take_over`) or takes it meanwhile; InputError when positions or
    outputs are no longer as planned; UsageError for a file that is there; DependencyError for broker, registry or a
    full disk, AuthorizationError when the broker refuses. Records on operations may be left of a call that failed; the
    same call may be made again.
    """
    old = saved_positions(plan)
    require_unused(save_to, old)
    _refuse_active(plan.group, plan.members)
    admin = create_admin(settings)
    with (
        exit_on_broker_errors(settings, admin, hint=READ_HINT),
        exit_when_unavailable(settings),
        ExitStack() as stack,
    ):
        for change in plan.to_do:
            newest = newest_progress(settings, change.partition, admin=admin)
            is_own = newest is not None and newest.record.request == plan.request.as_json
            own = newest.record.operation if newest is not None and is_own else None
            refuse_other(newest, own=own, now_ms=now_ms(), take_over=take_over)
        publishers = [_take(settings, plan, change.partition, stack) for change in plan.to_do]
        _refuse_changed(settings, schemas, plan)
        save_positions(save_to, old)
        began = time.monotonic()
        for change, publisher in zip(plan.to_do, publishers, strict=True):
            _record(publisher, change, _records(plan, change, authorship))
        if time.monotonic() - began > MAX_COMMIT_DELAY_S:
            raise DependencyError(
                f"the records took longer than {MAX_COMMIT_DELAY_S:.0f} s, and the positions are as they were",
                hint=AGAIN_HINT,
            )
        try:
            commit_positions(settings, plan)
        except (OperationUnderWayError, AuthorizationError):
            _record_end(plan, publishers, authorship, OperationState.STOPPED)  # refused, so nothing comes later
            raise
        _record_end(plan, publishers, authorship, OperationState.DONE)


def _refuse_active(group: str, members: Sequence[Member]) -> None:
    if members:
        raise OperationUnderWayError(
            f"group {group!r} is active, so its positions are its members': {members_text(members)}", hint=STOP_HINT
        )


def _take(settings: Settings, plan: PositionsPlan, partition: int, stack: ExitStack) -> TransactionalPublisher:
    """The transactional id of operations on the past of `partition`, ours until `stack` ends: whoever had it is fenced.

    Raises DependencyError when the broker does not give it within TAKE_TIMEOUT_S, AuthorizationError.
    """
    transactional_id = f"{settings.group_id}:past-{partition}"
    deadline = time.monotonic() + TAKE_TIMEOUT_S

    def check_deadline() -> None:
        if time.monotonic() > deadline:
            raise DependencyError(
                f"{settings.bootstrap_servers} does not give transactional id {transactional_id!r}",
                hint="nothing was changed; the log has the cause",
            )

    publisher = create_publisher(
        settings, transactional_id=transactional_id, must_stop=lambda: False, on_step=lambda _step: None
    )
    stack.callback(publisher.close)
    publisher.reset_producer(plan.topics, between_attempts=check_deadline)
    return publisher


def _refuse_changed(settings: Settings, schemas: Schemas, plan: PositionsPlan) -> None:
    """Raise InputError when positions or outputs are no longer as they were planned with.

    Whoever could have written outputs is gone by now: the group has no members, and the transactional ids are ours.
    """
    positions = current_positions(settings, [change.partition for change in plan.to_do])
    if moved := [change for change in plan.to_do if positions.get(change.partition) != change.from_offset]:
        raise InputError(
            "\n".join(
                f"the group's position in {plan.topic}[{change.partition}] was {change.from_offset} when this began, "
                f"and is {positions.get(change.partition, 'none')}"
                for change in moved
            ),
            hint="nothing was changed; look at the plan again",
        )
    if plan.request.republish:
        return
    admin = create_admin(settings)
    schema_of = blocking_schema_of(settings, schemas)
    refusals = []
    for change in plan.to_do:
        outcomes = OutcomeReader(settings, schemas, change.partition, schema_of=schema_of, admin=admin)
        since = (outcome.source.offset for outcome in outcomes.outcomes_from(change.outputs_end))
        published = max(since, default=-1)
        if published >= change.to_offset:
            refusals.append(republishing_error(plan.topic, change, published))
    if refusals:
        raise join_refusals(refusals)


def _records(plan: PositionsPlan, change: PositionChange, authorship: Authorship) -> tuple[OutRecord, ...]:
    """What is written about a partition before the commit: the new position, and that we are at it."""
    positions = PositionsRecord(
        operation=authorship.operation,
        partition=change.partition,
        from_offset=change.from_offset,
        to_offset=change.to_offset,
        by=authorship.by,
        because=authorship.because,
        at_ms=now_ms(),
    )
    operations = plan.topics.operations
    return (
        positions_out_record(positions, operations),
        progress_out_record(_progress(plan, change, authorship), operations),
    )


def _progress(plan: PositionsPlan, change: PositionChange, authorship: Authorship) -> ProgressRecord:
    """Under way. Its range is what is skipped or comes again; no templates are involved."""
    first, end = sorted((change.from_offset, change.to_offset))
    return ProgressRecord(
        operation=authorship.operation,
        partition=change.partition,
        state=OperationState.UNDER_WAY,
        first_offset=first,
        end_offset=end,
        next_offset=first,
        by=authorship.by,
        because=authorship.because,
        host=socket.gethostname(),
        process_id=os.getpid(),
        set_version="",
        request=plan.request.as_json,
        counts=OperationCounts(),
        at_ms=now_ms(),
    )


def _record(publisher: TransactionalPublisher, change: PositionChange, records: Sequence[OutRecord]) -> None:
    """Publish records about a partition as one. Raises OperationUnderWayError, DependencyError when not committed."""
    failure = publisher.publish(records, {}, None, is_batch=False)
    if failure is None:
        return
    raise _not_recorded(change, failure)


def _not_recorded(change: PositionChange, failure: NotCommitted) -> DependencyError | OperationUnderWayError:
    if failure.result is TransactionResult.FENCED:
        return OperationUnderWayError(
            f"another operation has taken over partition {change.partition}; the positions are as they were",
            hint="wait until it has ended",
        )
    return DependencyError(
        f"the record about partition {change.partition} was not written, and the positions are as they were: "
        f"{failure.error}: {failure.detail}",
        hint=AGAIN_HINT,
    )


def commit_positions(settings: Settings, plan: PositionsPlan) -> None:
    """Commit all positions in one request, as a client that is no member. Blocks, at most COMMIT_TIMEOUT_S.

    Raises OperationUnderWayError when the group got members meanwhile, AuthorizationError, and DependencyError that
    says which positions are set: the broker may take some of a request and refuse others.
    """
    consumer = standalone_consumer(settings, group=settings.group_id)
    wanted = [TopicPartition(plan.topic, change.partition, change.to_offset) for change in plan.to_do]
    # Not closed where the call does not come back: closing would wait for it.
    future = call_in_thread(lambda: consumer.commit(offsets=wanted, asynchronous=False), name="commit")
    try:
        committed = future.result(COMMIT_TIMEOUT_S)
    except TimeoutError as late:
        raise _not_committed(settings, plan, "the broker did not respond") from late
    except KafkaException as exception:
        error = error_of(exception)
        consumer.close()
        raise_if_unauthorized(error, hint=f"grant READ on group {settings.group_id!r} and the events")
        if error.code() == KafkaError.UNKNOWN_MEMBER_ID:
            raise OperationUnderWayError(
                f"group {plan.group!r} became active meanwhile, so the broker refused its positions; they are its "
                "members'",
                hint=STOP_HINT,
            ) from exception
        raise _not_committed(settings, plan, f"{error.name()}: {error.str()}") from exception
    consumer.close()
    if refused := [partition for partition in committed or () if partition.error is not None]:
        causes = ", ".join(f"partition {at.partition}: {at.error.name()}" for at in refused if at.error is not None)
        raise _not_committed(settings, plan, causes)


def _not_committed(settings: Settings, plan: PositionsPlan, cause: str) -> DependencyError:
    """What is set now, where that can be known."""
    try:
        positions = current_positions(settings, [change.partition for change in plan.to_do])
        pairs = ", ".join(f"{number}: {positions.get(number, 'none')}" for number in sorted(positions))
        now = f"the positions are now, by partition: {pairs}"
    except DependencyError:
        now = "what they are now is not known"
    return DependencyError(f"the positions were not all committed: {cause}; {now}", hint=AGAIN_HINT)


def _record_end(
    plan: PositionsPlan,
    publishers: Sequence[TransactionalPublisher],
    authorship: Authorship,
    state: OperationState,
) -> None:
    """Say how it ended, so that nobody waits for it. A failure changes nothing of what was done, and is logged."""
    for change, publisher in zip(plan.to_do, publishers, strict=True):
        progress = _progress(plan, change, authorship)
        next_offset = progress.end_offset if state is OperationState.DONE else progress.first_offset
        ended = replace(progress, state=state, next_offset=next_offset)
        failure = publisher.publish([progress_out_record(ended, plan.topics.operations)], {}, None, is_batch=False)
        if failure is not None:
            log.warning(
                "end of the operation not recorded",
                partition=change.partition,
                cause=f"{failure.error}: {failure.detail}",
                effect="for a minute other operations take it for being under way",
            )
