"""A partition's states: what may follow what, and what each lets the consumer do."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.event import SeenEvent, identity_of
from processor.engine import partition as module
from processor.engine.deduplication import DeduplicationWindow
from processor.engine.partition import AssignedPartition, PartitionState
from processor.engine.start_offsets import StartOffset
from processor.errors import InputError, InternalError

TRANSITIONS: Mapping[str, Callable[[AssignedPartition], None]] = {
    "resolve": lambda partition: partition.resolve(StartOffset(5, 9, needs_initial_commit=False)),
    "resolve_new": lambda partition: partition.resolve(StartOffset(5, 9, needs_initial_commit=True)),
    "refuse": lambda partition: partition.refuse(InputError("gone")),
    "postpone": lambda partition: partition.postpone("no broker"),
    "resolve_again": lambda partition: partition.resolve_again(Future()),
    "mark_committed": lambda partition: partition.mark_committed(5),
    "rewind": lambda partition: partition.rewind(5),
    "pause": lambda partition: partition.pause(5, "no registry"),
    "resume": lambda partition: partition.resume(),
}

LEGAL: Mapping[tuple[PartitionState, str], PartitionState] = {
    (PartitionState.RESOLVING_OFFSET, "resolve"): PartitionState.RUNNING,
    (PartitionState.RESOLVING_OFFSET, "resolve_new"): PartitionState.COMMITTING_START,
    (PartitionState.RESOLVING_OFFSET, "refuse"): PartitionState.OFFSET_REFUSED,
    (PartitionState.RESOLVING_OFFSET, "postpone"): PartitionState.OFFSET_UNAVAILABLE,
    (PartitionState.OFFSET_UNAVAILABLE, "resolve_again"): PartitionState.RESOLVING_OFFSET,
    (PartitionState.COMMITTING_START, "mark_committed"): PartitionState.RUNNING,
    (PartitionState.COMMITTING_START, "rewind"): PartitionState.COMMITTING_START,
    (PartitionState.RUNNING, "pause"): PartitionState.PAUSED,
    (PartitionState.RUNNING, "mark_committed"): PartitionState.RUNNING,
    (PartitionState.RUNNING, "rewind"): PartitionState.RUNNING,
    (PartitionState.PAUSED, "rewind"): PartitionState.PAUSED,
    (PartitionState.PAUSED, "pause"): PartitionState.PAUSED,
    (PartitionState.PAUSED, "mark_committed"): PartitionState.PAUSED,
    (PartitionState.PAUSED, "resume"): PartitionState.RUNNING,
}


def partition_in(state: PartitionState = PartitionState.RESOLVING_OFFSET) -> AssignedPartition:
    return AssignedPartition(0, DeduplicationWindow(records=10, age_ms=1_000), Future(), state=state)


@pytest.mark.parametrize(("state", "name"), list(product(PartitionState, sorted(TRANSITIONS))))
def test_transitions(state: PartitionState, name: str) -> None:
    """Those of the table lead where it says; any other is an internal error, and changes nothing."""
    partition = partition_in(state)
    if (state, name) in LEGAL:
        TRANSITIONS[name](partition)

        assert LEGAL[state, name] == partition.state
    else:
        with pytest.raises(InternalError, match=f"partition 0 is {state}, it has to be"):
            TRANSITIONS[name](partition)
        assert state == partition.state


@given(names=st.lists(st.sampled_from([*sorted(TRANSITIONS), "mark_sought"]), max_size=30))
def test_records_are_used_only_after_commit_and_seek(names: list[str]) -> None:
    """After any transitions: what is polled may be used only while the group has the start offset, and the consumer was
    sent to the next one since the last time that it had to go back."""
    partition, is_sought = partition_in(), False
    for name in names:
        if name == "mark_sought":
            if partition.is_started:
                partition.mark_sought()
                is_sought = True
        elif (partition.state, name) in LEGAL:
            TRANSITIONS[name](partition)
            is_sought = is_sought and name == "mark_committed"

    assert partition.is_usable == (is_sought and partition.state is PartitionState.RUNNING)
    assert not partition.is_usable or partition.committed_offset >= 0


def test_a_rewind_forgets_events_that_are_read_again() -> None:
    """Paused at a record, or sent back to the committed offset, a partition remembers only the events before it."""
    seen = [SeenEvent(n, 0, identity_of("ours", str(n))) for n in range(5)]
    partition = partition_in()
    partition.resolve(StartOffset(5, 9, needs_initial_commit=False, seen=tuple(seen)))
    assert 5 == len(partition.deduplication)
    partition.pause(4, "no registry")

    assert (4, 4) == (partition.next_offset, len(partition.deduplication))

    partition.rewind(2)

    assert (2, 2, 2) == (partition.next_offset, partition.committed_offset, len(partition.deduplication))


def test_a_start_whose_commit_was_not_answered() -> None:
    """The group says whether it has the start: with it the partition runs, without it the start is committed again."""
    for committed, state in (
        (-1, PartitionState.COMMITTING_START),
        (3, PartitionState.COMMITTING_START),  # the position from before, which is gone
        (5, PartitionState.RUNNING),
    ):
        partition = partition_in()
        partition.resolve(StartOffset(5, 9, needs_initial_commit=True))
        partition.mark_recording(5, 7.0)
        partition.rewind(committed)

        assert (state, partition.start_offset) == (partition.state, 5)
        assert (state is PartitionState.RUNNING) == (partition.recorded_at == 7.0)


def test_a_record_counts_when_its_position_is_committed() -> None:
    """ASSIGNED is in one transaction with a position: the group's position says whether it is there."""
    for committed, recorded_at in ((5, None), (7, None), (8, 7.0), (9, 7.0)):
        partition = partition_in()
        partition.resolve(StartOffset(5, 9, needs_initial_commit=False))
        partition.mark_recording(8, 7.0)
        partition.rewind(committed)
        partition.mark_committed(10)  # of a transaction without such a record

        assert recorded_at == partition.recorded_at
    partition.mark_recording(12, 8.0)
    partition.mark_committed(12)
    assert 8.0 == partition.recorded_at


def test_the_back_off_grows_until_the_partition_makes_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time that the same record is deferred it waits for longer; a commit, or a later record, begins again."""
    monkeypatch.setattr(module, "MAX_RETRY_BACKOFF_S", 1_000.0)
    partition = partition_in(PartitionState.RUNNING)

    def backoff_s(offset: int) -> float:
        now = time.monotonic()
        partition.pause(offset, "no registry")
        partition.resume()
        return partition.retry_at - now

    first, second, third = (backoff_s(5) for _ in range(3))
    assert first < second < third
    assert backoff_s(6) < second
    backoff_s(6)
    partition.mark_committed(6)
    assert backoff_s(6) < second
