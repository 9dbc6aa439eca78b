"""A bad deployment is noticed before the topic is eaten up, and a few bad records are not one."""

import pytest

from processor.engine.unreadable import FirstRecords
from processor.errors import RefusedInputError
from processor.model.outcome import Mapped, Unreadable
from processor.model.reasons import Reason
from processor.model.records import Place, SourceRecord, Topic

RECORD = SourceRecord(Place(Topic("banking.events"), 0, 0), 0, None, None)
GOOD = Mapped(RECORD, None, (), (), (), ())
BAD = Unreadable(RECORD, Reason.BAD_FRAME, "magic byte 7", ())


def test_95_of_the_first_hundred_are_refused() -> None:
    """The process stops, and the text says how many, the last fault and what to do."""
    with pytest.raises(RefusedInputError, match=r"(?s)95 of the first 100 .* BAD_FRAME: magic byte 7\nhint: "):
        FirstRecords(0.95).refuse([*[GOOD] * 5, *[BAD] * 95])


@pytest.mark.parametrize("batch", [[BAD] * 99, [*[GOOD] * 6, *[BAD] * 94]], ids=["under a hundred", "94 percent"])
def test_less_is_not_refused(batch: list[Mapped | Unreadable]) -> None:
    """Under a hundred records, or under 95 percent, nothing is refused."""
    FirstRecords(0.95).refuse(batch)


def test_only_the_first_200_are_judged() -> None:
    """Once 200 are judged, no share of unreadable records stops the process: then it is single producers."""
    first = FirstRecords(0.95)
    first.committed([GOOD] * 200)
    first.refuse([BAD] * 10_000)

    assert not first.holds_back([BAD] * 10)


def test_what_was_committed_counts() -> None:
    """60 unreadable committed and 60 more are 120 of 120."""
    first = FirstRecords(0.95)
    first.committed([BAD] * 60)
    with pytest.raises(RefusedInputError):
        first.refuse([BAD] * 60)


def test_a_small_unreadable_batch_is_held_back() -> None:
    """Until a hundred are judged, a batch that is nearly all unreadable waits for more; a good one does not."""
    assert FirstRecords(0.95).holds_back([BAD] * 99)
    assert not FirstRecords(0.95).holds_back([BAD] * 100)
    assert not FirstRecords(0.95).holds_back([GOOD, *[BAD] * 10])
    assert not FirstRecords(0.95).holds_back([])


def test_a_batch_is_held_back_for_itself() -> None:
    """A few good ones before it do not let an unreadable batch through."""
    first = FirstRecords(0.95)
    first.committed([GOOD] * 10)

    assert first.holds_back([BAD] * 20)
    assert not first.holds_back([BAD] * 90)


def test_switched_off() -> None:
    """A share of 1 makes dead letters of everything."""
    first = FirstRecords(1.0)
    first.refuse([BAD] * 200)

    assert not first.holds_back([BAD])
