"""A bad deployment is noticed before the topic is consumed, and a few bad records are not one."""

from collections.abc import Sequence
from typing import Any

import pytest

from processor.domain.message import SkippedTemplate
from processor.domain.outcome import Processed, Rejected, TemplateResult
from processor.domain.reasons import DecisionReason, Reason
from processor.domain.record import RecordPosition, SourceRecord, Topic
from processor.engine.startup_guard import RecentRecords, StartupGuard
from processor.errors import InputError

RECORD = SourceRecord(RecordPosition(Topic("banking.events"), 0, 0), 0, None, None)
GOOD = Processed(RECORD, ())
BAD = Rejected(RECORD, Reason.BAD_FRAME, "magic byte 7", ())


def skipped_record(reason: DecisionReason, detail: str) -> Processed:
    """A record that one decision is all of."""
    return Processed(RECORD, (TemplateResult(skipped=SkippedTemplate(reason=reason, detail=detail)),))


FOREIGN = skipped_record(DecisionReason.TENANT_DISABLED, "tenant 'southbank'; this installation is for northbank")
EMPTY = skipped_record(DecisionReason.EMPTY_RECORD, "the record has no value")
UNWANTED = skipped_record(DecisionReason.NO_TEMPLATE, "no template names CLIENT_CREATED")


def test_95_of_the_first_hundred_are_refused() -> None:
    """The process stops, and the text says how many, the last error and what to do."""
    with pytest.raises(InputError, match=r"(?s)95 of the first 100 .* BAD_FRAME: magic byte 7\nhint: "):
        StartupGuard(0.95).check([*[GOOD] * 5, *[BAD] * 95])


@pytest.mark.parametrize("batch", [[BAD] * 99, [*[GOOD] * 6, *[BAD] * 94]], ids=["under a hundred", "94 percent"])
def test_fewer_rejected_records_are_not_refused(batch: list[Processed | Rejected]) -> None:
    """Under a hundred records, or under 95 percent, nothing is refused."""
    StartupGuard(0.95).check(batch)


def test_only_the_first_200_are_checked() -> None:
    """Once 200 are checked, no ratio of rejected records stops the process: then it is single producers."""
    first = StartupGuard(0.95)
    first.record([GOOD] * 200)
    first.check([BAD] * 10_000)

    assert not first.should_wait([BAD] * 10)


def test_committed_records_count() -> None:
    """60 rejected committed and 60 more are 120 of 120."""
    first = StartupGuard(0.95)
    first.record([BAD] * 60)
    with pytest.raises(InputError):
        first.check([BAD] * 60)


def test_a_small_rejected_batch_is_held_back() -> None:
    """Until a hundred are checked, a batch that is nearly all rejected waits for more; a good one does not."""
    assert StartupGuard(0.95).should_wait([BAD] * 99)
    assert not StartupGuard(0.95).should_wait([BAD] * 100)
    assert not StartupGuard(0.95).should_wait([GOOD, *[BAD] * 10])
    assert not StartupGuard(0.95).should_wait([])


def test_good_records_before_a_rejected_batch_do_not_release_it() -> None:
    """A few good ones before it do not let a rejected batch through."""
    first = StartupGuard(0.95)
    first.record([GOOD] * 10)

    assert first.should_wait([BAD] * 20)
    assert not first.should_wait([BAD] * 90)


def test_the_check_can_be_disabled() -> None:
    """A ratio of 1 makes dead letters and decisions of everything, and nothing is degraded by it."""
    first, last = StartupGuard(1.0), RecentRecords(1.0)
    first.check([*[BAD] * 100, *[FOREIGN] * 100], at_end=True)
    last.record([FOREIGN] * 200)

    assert not first.should_wait([BAD])
    assert not first.should_wait([FOREIGN])
    assert () == last.degraded()
    assert 1.0 == last.other_tenants_ratio


def test_another_tenant_is_refused_like_rejected_records() -> None:
    """95 of the first 100; the text names the most frequent tenant and the setting."""
    other = skipped_record(DecisionReason.TENANT_DISABLED, "tenant 'eastbank'; this installation is for northbank")
    expected = r"(?s)95 of the first 100 records are of another tenant; .*TENANT_DISABLED: tenant 'southbank'.*_TENANT"
    with pytest.raises(InputError, match=expected):
        StartupGuard(0.95).check([*[GOOD] * 5, *[FOREIGN] * 60, *[other] * 35])


@pytest.mark.parametrize("good", [UNWANTED, skipped_record(DecisionReason.DUPLICATE_EVENT, "seen before")])
def test_expected_decisions_count_as_good(good: Processed) -> None:
    """An event without a template, or a repeat, speaks against nothing."""
    StartupGuard(0.95).check([good] * 200, at_end=True)

    assert not StartupGuard(0.95).should_wait([good] * 10)


def test_rejected_and_another_tenants_records_add_up() -> None:
    """Half rejected, half another tenant's: nothing of it is ours, and the more frequent kind is named."""
    batch: list[Processed | Rejected] = [*[BAD] * 49, *[FOREIGN] * 51]
    expected = r"100 of the first 100 records are rejected or of another tenant; .*TENANT_DISABLED"
    with pytest.raises(InputError, match=expected):
        StartupGuard(0.95).check(batch)
    assert StartupGuard(0.95).should_wait(batch[1:])


def test_no_more_is_looked_at_than_counts() -> None:
    """Of a batch of thousands the first 200, once they are taken in none of them, and the last 200."""

    class Looked(Sequence[Processed]):
        """Good records, which count how many of them are looked at."""

        def __init__(self, count: int) -> None:
            self.size, self.looked = count, 0

        def __len__(self) -> int:
            return self.size

        def __getitem__(self, index: Any) -> Any:
            if isinstance(index, slice):
                self.looked += len(range(*index.indices(self.size)))
                return [GOOD] * len(range(*index.indices(self.size)))
            if index >= self.size:
                raise IndexError
            self.looked += 1
            return GOOD

    first, last, batch = StartupGuard(0.95), RecentRecords(0.95), Looked(5_000)
    assert not first.should_wait(batch)
    assert 100 == batch.looked
    first.check(batch)
    assert 300 == batch.looked
    first.record(batch)
    assert 500 == batch.looked
    first.check(batch)
    first.record(batch)
    assert not first.should_wait(batch)
    assert 500 == batch.looked
    last.record(batch)
    assert 700 == batch.looked


def test_records_without_a_value_do_not_count() -> None:
    """Tombstones make no wrong tenant right, and none of them is counted."""
    first = StartupGuard(0.95)
    first.check([EMPTY] * 200, at_end=True)
    first.record([EMPTY] * 200)

    assert not first.should_wait([EMPTY] * 10)
    assert first.should_wait([*[EMPTY] * 90, *[FOREIGN] * 90])
    with pytest.raises(InputError, match="100 of the first 100"):
        first.check([*[EMPTY] * 100, *[FOREIGN] * 100])


@pytest.mark.parametrize(
    ("batch", "refused"),
    [
        ([FOREIGN] * 10, True),
        ([FOREIGN] * 9, False),
        ([GOOD, *[FOREIGN] * 9], False),
        ([GOOD, *[FOREIGN] * 19], True),
        ([BAD] * 99, False),
        ([BAD, *[FOREIGN] * 19], True),
        ([BAD] * 2 + [FOREIGN] * 18, False),
    ],
)
def test_at_the_end_ten_of_another_tenant_are_enough(batch: list[Processed | Rejected], refused: bool) -> None:
    """A short range is checked too where it is another tenant's; rejected records may be ones of a few producers."""
    StartupGuard(0.95).check(batch)
    if not refused:
        StartupGuard(0.95).check(batch, at_end=True)
        return
    with pytest.raises(InputError, match="This batch was not committed"):
        StartupGuard(0.95).check(batch, at_end=True)


def test_the_last_200_records_degrade() -> None:
    """From half of them on another tenant's, never under ten; what is older is forgotten."""
    last = RecentRecords(0.95)
    last.record([FOREIGN] * 9)
    assert () == last.degraded()
    last.record([FOREIGN] * 90)
    (reason,) = last.degraded()
    assert reason.startswith("99 of the last 99 records are of another tenant, most often: tenant 'southbank'; ")
    last.record([GOOD] * 102)
    assert () == last.degraded()
    assert 0.49 == last.other_tenants_ratio
    last.record([FOREIGN] * 150)
    (reason,) = last.degraded()
    assert reason.startswith("150 of the last 200 records are of another tenant, most often: tenant 'southbank'; ")
    last.record([*[GOOD] * 150, *[EMPTY] * 40])
    assert () == last.degraded()
    assert 0.25 == last.other_tenants_ratio
