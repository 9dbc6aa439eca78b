"""Which offsets prove something: compared with a plain replay of who mapped what."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest

from processor.domain.operation import OperationId
from processor.domain.operation_record import (
    AssignedRecord,
    Operation,
    OperationState,
    OtherOperation,
    PositionsRecord,
)
from processor.replay.assigned_stretches import Stretch, assigned_stretches, largest_provable, unprovable_ranges
from tests.support.builders import make_progress


def assigned(offset: int, decisions: str = "all") -> AssignedRecord:
    return AssignedRecord(
        partition=0,
        offset=offset,
        start_from=None,
        set_version="v1",
        decisions=decisions,
        instance="host-a",
        version="0.1",
    )


def unprovable(
    records: list[AssignedRecord], first: int, end: int, *, reaches_back: bool = True
) -> list[tuple[int, int]]:
    return list(unprovable_ranges(assigned_stretches(records), first, end, reaches_back=reaches_back))


def test_a_stretch_ends_where_the_next_one_begins() -> None:
    records: list[Operation] = [assigned(0), OtherOperation("LATER"), assigned(100, "off"), assigned(250)]

    stretches = assigned_stretches(records)

    assert stretches == (Stretch(0, 100, "all"), Stretch(100, 250, "off"), Stretch(250, None, "all"))


def test_a_position_that_was_set_back_ends_its_stretch_where_it_is_known_to_have_reached() -> None:
    assert assigned_stretches([assigned(100), assigned(0)]) == (Stretch(0, None, "all"),)
    assert assigned_stretches([assigned(0), assigned(500), assigned(200)]) == (
        Stretch(0, 500, "all"),
        Stretch(200, None, "all"),
    )


def moved(from_offset: int, to_offset: int) -> PositionsRecord:
    return PositionsRecord(
        partition=0, from_offset=from_offset, to_offset=to_offset, by="ada", because="a test", at_ms=0
    )


def test_a_position_that_a_person_set_ends_a_stretch_where_it_was() -> None:
    """Events that were skipped while decisions were off are known to have been skipped; and what was mapped with them
    off is not taken for mapped once more where the second pass did not come that far."""
    skipped: list[Operation] = [assigned(0, "off"), moved(60, 100), assigned(100)]
    back_and_forth: list[Operation] = [
        assigned(0, "off"),
        moved(60, 10),
        assigned(10),
        moved(15, 60),
        moved(60, 100),
        assigned(100),
    ]

    assert (Stretch(0, 60, "off"), Stretch(100, None, "all")) == assigned_stretches(skipped)
    assert (Stretch(0, 60, "off"), Stretch(10, 15, "all"), Stretch(100, None, "all")) == assigned_stretches(
        back_and_forth
    )


def test_a_position_that_the_broker_refused_ends_nothing() -> None:
    """The group was active, and came to where a person wanted to set it by itself; who had set it before did."""
    refused = OperationId("positions-20261129T075501Z-3f2a91c0")
    move = replace(moved(60, 100), operation=refused)
    stopped = make_progress(operation=refused, state=OperationState.STOPPED)
    records: list[Operation] = [assigned(0, "off"), move, stopped, assigned(100)]

    assert (Stretch(0, 100, "off"), Stretch(100, None, "all")) == assigned_stretches(records)
    records = [assigned(0, "off"), moved(60, 100), move, stopped, assigned(100)]
    assert (Stretch(0, 60, "off"), Stretch(100, None, "all")) == assigned_stretches(records)
    records = [assigned(0, "off"), move, make_progress(operation=refused, state=OperationState.DONE), assigned(100)]
    assert (Stretch(0, 60, "off"), Stretch(100, None, "all")) == assigned_stretches(records)


def test_a_position_whose_commit_failed_ends_nothing() -> None:
    """`run` goes on where it was, and says so a day later."""
    assert assigned_stretches([assigned(0, "off"), moved(60, 100), assigned(90, "off")]) == (
        Stretch(0, 90, "off"),
        Stretch(90, None, "off"),
    )
    assert assigned_stretches([assigned(0, "off"), moved(60, 100)]) == (Stretch(0, None, "off"),)


@pytest.mark.parametrize("decisions", ["off", "unexpected", "some-of-them"])
def test_what_was_mapped_without_all_decisions_proves_nothing(decisions: str) -> None:
    records = [assigned(0), assigned(100, decisions), assigned(250)]

    assert unprovable(records, 0, 400) == [(100, 250)]
    assert unprovable(records, 120, 240) == [(120, 240)]
    assert unprovable(records, 0, 100) == []


def test_what_was_mapped_once_more_with_all_decisions_is_provable() -> None:
    assert unprovable([assigned(0, "off"), assigned(500, "off"), assigned(200)], 0, 600) == [(0, 200)]


def test_what_nobody_mapped_was_skipped_unless_records_have_expired() -> None:
    assert unprovable([assigned(300)], 0, 400) == []
    assert unprovable([assigned(300)], 0, 400, reaches_back=False) == [(0, 300)]
    assert unprovable([], 0, 400, reaches_back=False) == [(0, 400)]
    assert unprovable([], 7, 7, reaches_back=False) == []


@pytest.mark.parametrize("seed", range(200))
def test_ranges_are_those_of_a_look_at_each_offset(seed: int) -> None:
    rng = random.Random(seed)
    words = ["all", "off"]
    records = [assigned(rng.randrange(60), rng.choice(words)) for _ in range(rng.randint(0, 6))]
    first, reaches_back = rng.randrange(40), rng.random() < 0.5
    end = first + rng.randrange(40)
    proven, mapped = set[int](), set[int]()
    for index, record in enumerate(records):
        until = records[index + 1].offset if index + 1 < len(records) else 200
        offsets = range(record.offset, until)
        mapped |= set(offsets)
        proven |= set(offsets) if record.decisions == "all" else set()
    expected = {o for o in range(first, end) if o not in proven and (o in mapped or not reaches_back)}

    found = unprovable(records, first, end, reaches_back=reaches_back)

    assert {offset for low, high in found for offset in range(low, high)} == expected
    assert all(before[1] < after[0] for before, after in pairwise(found))


def test_the_largest_provable_part_is_named() -> None:
    assert largest_provable([(10, 20), (50, 60)], 0, 100) == (60, 100)
    assert largest_provable([(10, 20)], 0, 30) == (20, 30)
    assert largest_provable([], 5, 9) == (5, 9)
    assert largest_provable([(0, 10)], 0, 10) is None
