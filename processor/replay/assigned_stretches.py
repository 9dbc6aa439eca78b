"""Under which `PROCESSOR_DECISIONS` each offset of a partition was mapped, as records ASSIGNED say. Pure.

Where decisions were not all written, an event without an outcome may have been skipped by every template, and nobody
can tell it from one that was never mapped.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from processor.domain.operation_record import AssignedRecord, Operation
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

    A stretch ends where the next one begins. After a position was set back it is known to have reached that far alone:
    what it mapped behind that was mapped once more.
    """
    assigned = [record for record in records if isinstance(record, AssignedRecord)]
    ends = [*(record.offset for record in assigned[1:]), None][: len(assigned)]
    return tuple(
        Stretch(record.offset, end, record.decisions)
        for record, end in zip(assigned, ends, strict=True)
        if end is None or end > record.offset
    )


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
