"""A bad deployment: right after a start nearly everything is rejected, or of another tenant. Stop, before the topic
is used up. Later a high ratio of another tenant's records is degraded, no more.

A record without a value says nothing about the deployment: it is not counted.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, repeat

from processor.domain.outcome import Deferred, Outcome, PlannedRun, Processed, Rejected
from processor.domain.reasons import DecisionReason, Reason
from processor.errors import InputError

MIN_SAMPLE = 100
MIN_TENANT_SAMPLE = 10  # of another tenant, to degrade, and to stop under `--until-end`: there may be no more records
MAX_SAMPLE = 200
DEGRADED_RATIO = 0.5
MAX_HOLD_S = 5.0  # a batch of mostly bad records, before it is committed all the same


@dataclass(frozen=True, slots=True)
class Cause:
    """Why one record speaks against the deployment."""

    reason: Reason | DecisionReason
    detail: str

    @property
    def is_tenant(self) -> bool:
        """Whether the record is another tenant's; else it is rejected."""
        return self.reason is DecisionReason.TENANT_DISABLED


def causes_of(outcomes: Iterable[Outcome | PlannedRun]) -> Iterator[Cause | None]:
    """One for each record that has a value; None for one that speaks against nothing. Who takes the first few looks at
    no more of `outcomes`."""
    for outcome in outcomes:
        match outcome:
            case Rejected(reason=reason, detail=detail):
                yield Cause(reason, detail)
            case Processed(results=results):
                whole = results[0].skipped if len(results) == 1 else None  # a record as a whole has one result
                if whole is not None and whole.reason is DecisionReason.TENANT_DISABLED:
                    yield Cause(whole.reason, whole.detail)
                elif whole is None or whole.reason is not DecisionReason.EMPTY_RECORD:
                    yield None
            case PlannedRun(record_count=count):
                yield from repeat(None, count)
            case Deferred():
                pass


def refuse_bad_deployment(
    sample: Sequence[Cause | None], max_ratio: float, *, at_end: bool, open_batch: bool = False
) -> None:
    """Raise InputError when nearly all of the first records, `sample`, speak against the deployment. `max_ratio` and
    `at_end` as StartupGuard has them; `open_batch`: the last of them are not committed."""
    if max_ratio >= 1:
        return
    bad = [cause for cause in sample if cause is not None]
    other_tenants = sum(cause.is_tenant for cause in bad)
    nearly_all = max_ratio * len(sample)
    is_bad = len(sample) >= MIN_SAMPLE and len(bad) >= nearly_all
    is_other_tenants = at_end and len(sample) >= MIN_TENANT_SAMPLE and other_tenants >= nearly_all
    if is_bad or is_other_tenants:
        raise _bad_deployment(bad, checked=len(sample), open_batch=open_batch)


class StartupGuard:
    """Checks the first 200 records after a start or a reload; never fewer than 100, but at the end of the input.

    `max_ratio` is the ratio of rejected ones and of another tenant's from which the input is refused; 1 switches the
    check off.
    """

    def __init__(self, max_ratio: float) -> None:
        self._max_ratio = max_ratio
        self._sample: list[Cause | None] = []

    @property
    def is_complete(self) -> bool:
        """Whether no more records are looked at: they may be committed whatever they are."""
        return self._max_ratio >= 1 or len(self._sample) >= MAX_SAMPLE

    def should_wait(self, outcomes: Sequence[Outcome | PlannedRun]) -> bool:
        """Whether a batch should wait for more before its commit: too few are checked, and nearly all of it is bad.

        So restarts of a wrong deployment do not use up the topic a hundred records at a time.
        """
        missing = MIN_SAMPLE - len(self._sample)
        if self._max_ratio >= 1 or missing <= 0:
            return False
        causes = list(islice(causes_of(outcomes), missing))
        if not causes or len(causes) == missing:
            return False
        return len(causes) - causes.count(None) >= self._max_ratio * len(causes)

    def check(self, outcomes: Sequence[Outcome | PlannedRun], *, at_end: bool = False) -> None:
        """Raise InputError when, with `outcomes`, nearly all of the first records are bad.

        `at_end`: the input ends with them, so that ten are enough to find that they are another tenant's.
        """
        refuse_bad_deployment(self._with(outcomes), self._max_ratio, at_end=at_end, open_batch=bool(outcomes))

    def record(self, outcomes: Sequence[Outcome | PlannedRun]) -> None:
        """Add `outcomes`, which are now committed, to the sample."""
        self._sample = self._with(outcomes)

    def _with(self, outcomes: Sequence[Outcome | PlannedRun]) -> list[Cause | None]:
        left = MAX_SAMPLE - len(self._sample)
        return [*self._sample, *islice(causes_of(outcomes), left)] if left > 0 else self._sample


class RecentRecords:
    """The last 200 records that were committed: if half of them are another tenant's, /ready is degraded."""

    def __init__(self, max_ratio: float) -> None:
        """`max_ratio` as for `StartupGuard`: 1 where another tenant's records are expected."""
        self._max_ratio = max_ratio
        self._recent: deque[Cause | None] = deque(maxlen=MAX_SAMPLE)
        self._other_tenants: list[Cause] = []  # of these

    def record(self, outcomes: Sequence[Outcome | PlannedRun]) -> None:
        """Take in `outcomes`, which are now committed."""
        self._recent.extend(causes_of(outcomes[-MAX_SAMPLE:]))
        self._other_tenants = [cause for cause in self._recent if cause is not None and cause.is_tenant]

    @property
    def other_tenants_ratio(self) -> float:
        """The ratio of records of another tenant, 0 to 1."""
        return len(self._other_tenants) / len(self._recent) if self._recent else 0.0

    def degraded(self) -> tuple[str, ...]:
        """The reason for /ready; none under half, or before ten were seen."""
        other_tenants = self._other_tenants
        is_sample = self._max_ratio < 1 and len(self._recent) >= MIN_TENANT_SAMPLE
        if not is_sample or len(other_tenants) < DEGRADED_RATIO * len(self._recent):
            return ()
        reason = (
            f"{len(other_tenants)} of the last {len(self._recent)} records are of another tenant, most often: "
            f"{_most_frequent(other_tenants).detail}; check PROCESSOR_TENANT and who writes to the events topic"
        )
        return (reason,)


def _most_frequent(causes: Sequence[Cause]) -> Cause:
    """The last of the most frequent kind: a reason, or for another tenant which one it is."""
    kinds = [(cause.reason, cause.detail if cause.is_tenant else "") for cause in causes]
    ((most_frequent, _),) = Counter(kinds).most_common(1)
    pairs = zip(reversed(causes), reversed(kinds), strict=True)
    return next(cause for cause, kind in pairs if kind == most_frequent)


def _bad_deployment(bad: Sequence[Cause], *, checked: int, open_batch: bool) -> InputError:
    other_tenants = sum(cause.is_tenant for cause in bad)
    kinds = (["rejected"] if other_tenants < len(bad) else []) + (["of another tenant"] if other_tenants else [])
    example = _most_frequent(bad)
    if example.is_tenant:
        question = "are PROCESSOR_TENANT and the events topic the right ones"
        effect = "passes over another tenant's records all the same, a former tenant's too"
    else:
        question = "is this the right topic, and are these the producers' schemas"
        effect = "makes dead letters of them all the same"
    return InputError(
        f"{len(bad)} of the first {checked} records are {' or '.join(kinds)}; "
        f"most often {example.reason}: {example.detail}",
        hint=f"{question}? {'This batch was not committed; ' if open_batch else ''}"
        f"PROCESSOR_MAX_REJECTED_RATIO=1 {effect}",
    )
