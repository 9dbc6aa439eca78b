"""What the operations topic says about one partition: who works on it now, and what was done to it before.

Read outside of any group, and nothing is written. Non-obvious: a `read_uncommitted` reader gets records of transactions
that are open, and of those that were aborted. Both prove that an operation was alive when it wrote them, which is what
keeps a second one away; neither proves that what the record says was published with it. So whoever goes on where a
record says reads it as `read_committed`.
"""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, TypeVar

from confluent_kafka import Message

from processor.domain.operation import OperationId, OperationKind, parse_operation_id
from processor.domain.operation_record import (
    AssignedRecord,
    OperationState,
    OtherOperation,
    PositionsRecord,
    ProgressRecord,
    UnmaskedRecord,
)
from processor.domain.output_topics import FixedOutput
from processor.domain.record import RecordPosition, Topic
from processor.errors import InputError, OperationUnderWayError
from processor.kafka.clients import Admin
from processor.kafka.offsets import partition_extent
from processor.kafka.read_range import newest_first, open_reader, read_range
from processor.settings import Settings
from processor.wire.json_codec import format_millis
from processor.wire.operations import read_operation

UNDER_WAY_MS: Final = 60_000
"""How long a progress record says that its operation is alive: it writes one at least every 10 s."""

UNREADABLE_HINT: Final = "a newer version may have written it; a record leaves the topic with its retention"


def now_ms() -> int:
    """The time, in milliseconds since 1970, as records have it."""
    return time.time_ns() // 1_000_000


KnownOperation = AssignedRecord | ProgressRecord | PositionsRecord | UnmaskedRecord
R = TypeVar("R", bound=KnownOperation)


@dataclass(frozen=True, slots=True)
class LoggedOperation(Generic[R]):
    """A record of the topic with its place and its Kafka timestamp (UTC, milliseconds since 1970)."""

    position: RecordPosition
    time_ms: int
    record: R


def newest_progress(
    settings: Settings,
    partition: int,
    *,
    admin: Admin,
    isolation: str = "read_uncommitted",
    matches: Callable[[ProgressRecord], bool] = lambda _progress: True,
) -> LoggedOperation[ProgressRecord] | None:
    """The newest progress record about `partition` that `matches`, by default of whichever operation; None where there
    is none.

    Read from the end of now back, whoever has a transaction open there. `read_committed` waits for open transactions,
    and gives what an operation may go on from; the default says who is alive, also by a record whose transaction was
    aborted or never ends. Blocks. InputError names a record that cannot be read; UnavailableError when nothing comes
    for 30 s or the broker does not respond, AuthorizationError when it refuses.
    """
    topic, hint = _topic_and_hint(settings)
    extent = partition_extent(admin, topic, partition, hint=hint)
    with open_reader(settings, hint=hint, isolation=isolation) as reader:
        newest = newest_first(
            reader, topic, partition, begin=extent.first, end=extent.end, read=partial(_progress, matches=matches)
        )
        try:
            for position, (time_ms, record) in newest:
                return LoggedOperation(position, time_ms, record)
        except ValueError as error:
            raise InputError(str(error), hint=UNREADABLE_HINT) from error
    return None


def refuse_other(
    newest: LoggedOperation[ProgressRecord] | None, *, own: OperationId | None, now_ms: int, take_over: bool
) -> None:
    """Raise OperationUnderWayError if `newest`, the newest progress of a partition, says that another one is under way.

    `own` is the id that the caller works under, new or gone on with; None: any operation is another one. An operation
    is under way while its record says so and is younger than a minute at `now_ms`: older ones are those of a process
    that was killed. With `take_over` nothing is raised: the caller's `init_transactions` fences the other.
    """
    if newest is None or take_over or newest.record.operation == own or not is_under_way(newest, now_ms=now_ms):
        return
    raise OperationUnderWayError(
        f"{describe_under_way(newest)}, and has partition {newest.record.partition}",
        hint="wait until it has ended; `--take-over` ends it, within seconds, and goes on",
    )


def refuse_positions(newest: LoggedOperation[ProgressRecord] | None, *, now_ms: int) -> None:
    """Raise OperationUnderWayError if `newest` says that `positions` is about to commit the group's positions.

    For an operation that has just got the partition's transactional id, and is about to read the group's position: it
    would be the old one, and the commit that is under way is not fenced (set_positions.py). Not even `--take-over` goes
    on then; within a minute it is over.
    """
    if newest is not None and is_under_way(newest, now_ms=now_ms) and _sets_positions(newest.record.operation):
        raise OperationUnderWayError(
            f"{describe_under_way(newest)}, and is about to set the group's position in partition "
            f"{newest.record.partition}",
            hint="wait for a minute, and call the same command again",
        )


def _sets_positions(operation: OperationId) -> bool:
    try:
        return parse_operation_id(operation).kind is OperationKind.POSITIONS
    except ValueError:
        return False  # of another version


def is_under_way(newest: LoggedOperation[ProgressRecord], *, now_ms: int) -> bool:
    """Whether the operation of a partition's newest progress is alive, as far as that can be known."""
    return newest.record.state is OperationState.UNDER_WAY and now_ms - newest.time_ms < UNDER_WAY_MS


def describe_under_way(newest: LoggedOperation[ProgressRecord]) -> str:
    """Which operation is under way, whose, and where; for people."""
    return f"operation {newest.record.operation} is under way: {_process(newest)}"


def describe_process(newest: LoggedOperation[ProgressRecord]) -> str:
    """Which process of which operation wrote `newest`, whose, and where; for people."""
    return f"operation {newest.record.operation}, {_process(newest)}"


def _process(newest: LoggedOperation[ProgressRecord]) -> str:
    record = newest.record
    return (
        f"by {record.by} on host {record.host} (process {record.process_id}), last seen at "
        f"{format_millis(newest.time_ms)}"
    )


def under_way_as_json(newest: LoggedOperation[ProgressRecord]) -> dict[str, Any]:
    """The same for machines."""
    record = newest.record
    return {
        "operation": record.operation,
        "partition": record.partition,
        "by": record.by,
        "because": record.because,
        "host": record.host,
        "processId": record.process_id,
        "lastSeen": format_millis(newest.time_ms),
    }


def operation_records(
    settings: Settings, partition: int, *, admin: Admin, isolation: str = "read_committed"
) -> Generator[LoggedOperation[KnownOperation]]:
    """All that the topic holds about `partition`, in the order in which it was written, up to the end of now.

    Records of kinds that this version does not know are passed over. By default open transactions are waited for, and
    what was aborted is not seen. Keeps nothing. Blocks and raises as `newest_progress`.
    """
    topic, hint = _topic_and_hint(settings)
    extent = partition_extent(admin, topic, partition, hint=hint)
    with open_reader(settings, hint=hint, isolation=isolation) as reader:
        for message in read_range(reader, topic, partition, extent.first, extent.end):
            position = RecordPosition(topic, partition, message.offset() or 0)
            try:
                record = read_operation(message.value() or b"") if message.value() else None
            except ValueError as error:
                raise InputError(f"{position} cannot be read: {error}", hint=UNREADABLE_HINT) from error
            if record is not None and not isinstance(record, OtherOperation):
                yield LoggedOperation(position, message.timestamp()[1], record)


def _progress(message: Message, *, matches: Callable[[ProgressRecord], bool]) -> tuple[int, ProgressRecord] | None:
    record = read_operation(message.value() or b"")
    return (message.timestamp()[1], record) if isinstance(record, ProgressRecord) and matches(record) else None


def _topic_and_hint(settings: Settings) -> tuple[Topic, str]:
    """The topic, and what to grant."""
    topic = settings.topic(FixedOutput.OPERATIONS)
    return topic, f"grant READ and DESCRIBE on {topic}"
