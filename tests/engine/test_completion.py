"""When `--until-end` is complete, and when it has stalled, by a clock of the test."""

from collections.abc import Iterable
from concurrent.futures import Future

from structlog.testing import capture_logs

from processor.engine.completion import PROGRESS_LOG_INTERVAL_S, STALL_TIMEOUT_S, CompletionWatch
from processor.engine.deduplication import DeduplicationWindow
from processor.engine.partition import AssignedPartition
from processor.engine.start_offsets import StartOffset
from processor.errors import UnavailableError


class Watched:
    """A watch with its clock, and the group's positions; None: the broker does not respond."""

    def __init__(self, **end_offsets: int) -> None:
        self.now = 0.0
        self.positions: dict[int, int] | None = {}
        self.reads = 0
        ends = {int(number.removeprefix("p")): end for number, end in end_offsets.items()}
        self.watch = CompletionWatch(ends, self._read, clock=lambda: self.now)

    def _read(self, _partitions: Iterable[int]) -> dict[int, int]:
        self.reads += 1
        if self.positions is None:
            raise UnavailableError("no broker")
        return self.positions

    def update(self, *partitions: AssignedPartition, after_s: float = 0.0) -> bool:
        self.now += after_s
        return self.watch.update(partitions)


def partition(committed: int, *, target: int) -> AssignedPartition:
    started = AssignedPartition(0, DeduplicationWindow(records=0, age_ms=0), Future())
    started.resolve(StartOffset(committed, target, needs_initial_commit=False))
    return started


def test_complete_when_every_partition_has_reached_its_target() -> None:
    """What was written since the assignment does not count; a partition without a start offset is not complete."""
    done, behind = partition(5, target=5), partition(4, target=5)
    unresolved = AssignedPartition(1, DeduplicationWindow(records=0, age_ms=0), Future())
    watched = Watched(p0=9)

    assert watched.update(done)
    assert not watched.update(done, behind)
    assert not watched.update(done, unresolved)

    behind.mark_committed(5)

    assert watched.update(done, behind)


def test_without_partitions_the_group_has_to_reach_the_end() -> None:
    """Read once a second, not in every pass; positions that cannot be read now are those known before."""
    watched = Watched(p0=3, p1=0)
    watched.positions = {0: 2, 1: 0}
    assert not watched.update()
    assert not watched.update(after_s=0.5)
    assert 1 == watched.reads
    watched.positions = None
    assert not watched.update(after_s=0.5)
    watched.positions = {0: 3}
    assert not watched.update(after_s=1)  # nothing is committed in partition 1, not even its start
    watched.positions = {0: 3, 1: 0}

    assert watched.update(after_s=1)
    assert 4 == watched.reads


def test_stalled_a_minute_after_the_last_progress() -> None:
    """A poll, a commit, an assignment or a position of the group is progress; nothing else is."""
    behind = partition(1, target=9)
    watched = Watched(p0=9)
    watched.update(after_s=STALL_TIMEOUT_S - 1)
    watched.update(behind)
    watched.update(behind, after_s=STALL_TIMEOUT_S - 1)
    behind.mark_polled(3)
    watched.update(behind)
    watched.update(behind, after_s=STALL_TIMEOUT_S - 1)
    behind.mark_committed(3)
    watched.update(behind)
    watched.update(behind, after_s=STALL_TIMEOUT_S)
    in_time = watched.watch.is_stalled
    watched.update(behind, after_s=0.1)
    too_late = watched.watch.is_stalled
    watched.positions = {0: 4}
    watched.update()

    assert [False, True, False] == [in_time, too_late, watched.watch.is_stalled]


def test_progress_is_logged_every_five_seconds() -> None:
    """How many records are left, once every start offset is known."""
    first, second = partition(2, target=10), partition(9, target=10)
    unresolved = AssignedPartition(1, DeduplicationWindow(records=0, age_ms=0), Future())
    watched = Watched(p0=10)
    with capture_logs() as logs:
        watched.update(first, unresolved, after_s=PROGRESS_LOG_INTERVAL_S)
        watched.update(first, second)
        watched.update(first, second, after_s=1)
        first.mark_committed(8)
        watched.update(first, second, after_s=PROGRESS_LOG_INTERVAL_S)

    assert [("catching up", 9), ("catching up", 3)] == [(line["event"], line["records_left"]) for line in logs]
