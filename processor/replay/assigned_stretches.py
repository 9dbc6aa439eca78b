"""Under which `PROCESSOR_DECISIONS` each offset of a partition was mapped, as records ASSIGNED say. Pure.

Where decisions were not all written, an event without an outcome may have been skipped by every template, and nobody
can tell it from one that was never mapped.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from processor.domain.operation_record import (
    AssignedRecord,
    Operation,
    OperationState,
    PositionsRecord,
    ProgressRecord,
)
from processor.mapping.options import WrittenDecisions


@dataclass(frozen=True, slots=True)
class Stretch:
    """Source offsets [first, end) that one process mapped; `end` is None where it is not known to have ended.
    `decisions` as the record has it, a word of a newer version too."""

    first: int
    end: int | None
    decisions: str

    def __contains__(self, offset: int) -> bool:
        return offset >= self.first and (self.end is None or offset < self.end)


def assigned_stretches(records: Iterable[Operation]) -> tuple[Stretch, ...]:
    """The stretches of one partition's records, which come in the order in which they were written.

    A stretch ends where the next one begins, or at the position from which a person set the group to there, unless that
    one's progress says that the broker refused it: the group may have come there by itself. After a
    position was set back without a record it is known to have reached that far alone: what it mapped behind that was
    mapped once more.
    """
    found: list[Stretch] = []
    assigned: AssignedRecord | None = None
    moves: list[PositionsRecord] = []  # the commit may have failed, which the next assignment shows
    for record in records:
        match record:
            case PositionsRecord():
                moves.append(record)
            case ProgressRecord(operation=refused, state=OperationState.STOPPED):
                moves = [move for move in moves if move.operation != refused]
            case AssignedRecord():
                if assigned is not None:
                    end = _left_at(moves, record.offset)
                    found.append(Stretch(assigned.offset, end, assigned.decisions))
                assigned, moves = record, []
    if assigned is not None:
        found.append(Stretch(assigned.offset, None, assigned.decisions))
    return tuple(stretch for stretch in found if stretch.end is None or stretch.end > stretch.first)


def _left_at(moves: Iterable[PositionsRecord], offset: int) -> int:
    """Where the group was when `moves`, one after the other, set it to `offset`; `offset` itself where they did not."""
    left_at, at = offset, -1
    for move in moves:
        left_at, at = left_at if at == move.from_offset else move.from_offset, move.to_offset
    return left_at if at == offset else offset


def unprovable_ranges(
    stretches: Sequence[Stretch], first: int, end: int, *, reaches_back: bool
) -> tuple[tuple[int, int], ...]:
    """Those parts [low, high) of source offsets [first, end), in order, of which a missing outcome proves nothing.

    An offset is provable that was mapped once while all decisions were written, or that no stretch has: such an event
    was skipped. That counts only if the records `reach back`, so that none has expired.
    """
    borders = {first, end}
    for stretch in stretches:
        borders |= {border for border in (stretch.first, stretch.end) if border is not None and first < border < end}
    ordered = sorted(borders)
    found: list[tuple[int, int]] = []
    for low, high in pairwise(ordered):
        if _is_provable([stretch for stretch in stretches if low in stretch], reaches_back=reaches_back):
            continue
        if found and found[-1][1] == low:
            low = found.pop()[0]
        found.append((low, high))
    return tuple(found)


def largest_provable(unprovable: Sequence[tuple[int, int]], first: int, end: int) -> tuple[int, int] | None:
    """The longest part of [first, end) that has none of `unprovable`, the later one of two; None: there is none."""
    starts = [first, *(high for _, high in unprovable)]
    ends = [*(low for low, _ in unprovable), end]
    parts = [(low, high) for low, high in zip(starts, ends, strict=True) if low < high]
    return max(parts, key=lambda part: (part[1] - part[0], part[0]), default=None)


def _is_provable(stretches: Sequence[Stretch], *, reaches_back: bool) -> bool:
    if not stretches:
        return reaches_back
    return any(stretch.decisions == WrittenDecisions.ALL for stretch in stretches)
