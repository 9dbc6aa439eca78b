"""A bad deployment: right after a start nearly everything is unreadable, or of another tenant. Stop, before the topic
is eaten up. Later a high share of another tenant's records is degraded, no more.

A record without a value says nothing about the deployment: it is not counted.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

from processor.domain.outcome import Deferred, Outcome, Rejected
from processor.domain.reasons import DecisionReason, Reason
from processor.errors import InputError

FEWEST = 100
FEWEST_OF_TENANT = 10  # of another tenant, to degrade, and to stop under `--until-end`: there may be no more records
MOST = 200
DEGRADED_SHARE = 0.5
HOLD_S = 5.0


@dataclass(frozen=True, slots=True)
class Cause:
    """Why one record speaks against the deployment."""

    reason: Reason | DecisionReason
    detail: str

    @property
    def is_tenant(self) -> bool:
        """Whether the record is another tenant's; else it is unreadable."""
        return self.reason is DecisionReason.TENANT_DISABLED


def causes_of(outcomes: Sequence[Outcome]) -> list[Cause | None]:
    """One for each record that has a value; None for one that speaks against nothing."""
    causes: list[Cause | None] = []
    for outcome in outcomes:
        match outcome:
            case Rejected(reason=reason, detail=detail):
                causes.append(Cause(reason, detail))
            case Deferred():
                pass
            case _:
                reasons = {skipped.reason: skipped for skipped in outcome.skipped}
                if foreign := reasons.get(DecisionReason.TENANT_DISABLED):
                    causes.append(Cause(foreign.reason, foreign.detail))
                elif DecisionReason.EMPTY_RECORD not in reasons:
                    causes.append(None)
    return causes


class StartupGuard:
    """Judges the first 200 records after a start or a reload; never fewer than 100, but at the end of the input.

    `share` is the share of unreadable ones and of another tenant's from which the input is refused; 1 switches the
    check off.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._first: list[Cause | None] = []

    def holds_back(self, outcomes: Sequence[Outcome]) -> bool:
        """Whether a batch should wait for more before its commit: too few are judged, and nearly all of it is bad.

        So restarts of a wrong deployment do not eat the topic a hundred records at a time.
        """
        if self._share >= 1 or len(self._first) >= FEWEST:
            return False
        causes = causes_of(outcomes)
        if not causes or len(self._first) + len(causes) >= FEWEST:
            return False
        return len(causes) - causes.count(None) >= self._share * len(causes)

    def refuse(self, outcomes: Sequence[Outcome], *, at_end: bool = False) -> None:
        """Raise InputError when, with `outcomes`, nearly all of the first records are bad.

        `at_end`: the input ends with them, so that ten are enough to find that they are another tenant's.
        """
        if self._share >= 1:
            return
        first = self._with(outcomes)
        bad = [cause for cause in first if cause is not None]
        foreign = sum(cause.is_tenant for cause in bad)
        nearly_all = self._share * len(first)
        if (len(first) >= FEWEST and len(bad) >= nearly_all) or (
            at_end and len(first) >= FEWEST_OF_TENANT and foreign >= nearly_all
        ):
            raise _refused(bad, judged=len(first), open_batch=bool(outcomes))

    def committed(self, outcomes: Sequence[Outcome]) -> None:
        """Count `outcomes`, which are now committed."""
        self._first = self._with(outcomes)

    def _with(self, outcomes: Sequence[Outcome]) -> list[Cause | None]:
        left = MOST - len(self._first)
        return [*self._first, *causes_of(outcomes)[:left]] if left > 0 else self._first


class LastRecords:
    """The last 200 records that were committed: if half of them are another tenant's, /ready is degraded."""

    def __init__(self, share: float) -> None:
        """`share` as for `StartupGuard`: who expects another tenant's records sets 1."""
        self._share = share
        self._last: deque[Cause | None] = deque(maxlen=MOST)

    def committed(self, outcomes: Sequence[Outcome]) -> None:
        """Take in `outcomes`, which are now committed."""
        self._last.extend(causes_of(outcomes[-MOST:]))

    @property
    def foreign_share(self) -> float:
        """The share of records of another tenant, 0 to 1."""
        return len(self._foreign()) / len(self._last) if self._last else 0.0

    def degraded(self) -> tuple[str, ...]:
        """The reason for /ready; none under half, or before ten were seen."""
        foreign = self._foreign()
        if self._share >= 1 or len(self._last) < FEWEST_OF_TENANT or len(foreign) < DEGRADED_SHARE * len(self._last):
            return ()
        reason = (
            f"{len(foreign)} of the last {len(self._last)} records are of another tenant, most often: "
            f"{_most_often(foreign).detail}; check PROCESSOR_TENANT and who writes to the events topic"
        )
        return (reason,)

    def _foreign(self) -> list[Cause]:
        return [cause for cause in self._last if cause is not None and cause.is_tenant]


def _most_often(causes: Sequence[Cause]) -> Cause:
    """The last of the most frequent kind: a reason, or for another tenant which one it is."""
    kinds = [(cause.reason, cause.detail if cause.is_tenant else "") for cause in causes]
    ((most, _),) = Counter(kinds).most_common(1)
    return next(cause for cause, kind in zip(reversed(causes), reversed(kinds), strict=True) if kind == most)


def _refused(bad: Sequence[Cause], *, judged: int, open_batch: bool) -> InputError:
    foreign = sum(cause.is_tenant for cause in bad)
    kinds = " or ".join(
        [*["unreadable"] * (foreign < len(bad)), *["of another tenant"] * (foreign > 0)]  # whichever there are
    )
    most = _most_often(bad)
    if most.is_tenant:
        question = "are PROCESSOR_TENANT and the events topic the right ones"
        passed_over = "passes over another tenant's records all the same, a former tenant's too"
    else:
        question = "is this the right topic, and are these the producers' schemas"
        passed_over = "makes dead letters of them all the same"
    return InputError(
        f"{len(bad)} of the first {judged} records are {kinds}; most often {most.reason}: {most.detail}",
        hint=f"{question}? {'This batch was not committed; ' if open_batch else ''}"
        f"PROCESSOR_MAX_REJECTED_RATIO=1 {passed_over}",
    )
