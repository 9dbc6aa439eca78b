"""A bad deployment: nearly everything unreadable right after a start. Stop, before the topic is eaten up."""

from collections.abc import Sequence

from processor.errors import RefusedInputError
from processor.model.outcome import Outcome, Unreadable

FEWEST = 100
MOST = 200
HOLD_S = 5.0


class FirstRecords:
    """Judges the first 200 records after a start or a reload; never fewer than 100.

    `share` is the share of unreadable ones from which the input is refused; 1 switches the check off.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._judged = 0
        self._unreadable = 0

    def holds_back(self, outcomes: Sequence[Outcome]) -> bool:
        """Whether a batch should wait for more before its commit: too few are judged, and nearly all of it is bad.

        So restarts of a wrong deployment do not eat the topic a hundred records at a time.
        """
        if self._share >= 1 or not outcomes or self._judged + len(outcomes) >= FEWEST:
            return False
        unreadable = sum(isinstance(outcome, Unreadable) for outcome in outcomes)
        return unreadable >= self._share * len(outcomes)

    def refuse(self, outcomes: Sequence[Outcome]) -> None:
        """Raise RefusedInputError when, with `outcomes`, nearly all of the first records are unreadable."""
        judged, unreadable = self._with(outcomes)
        if self._share < 1 and judged >= FEWEST and unreadable >= self._share * judged:
            last = next((o for o in reversed(outcomes) if isinstance(o, Unreadable)), None)
            example = f"; the last: {last.reason}: {last.detail}" if last else ""
            raise RefusedInputError(
                f"{unreadable} of the first {judged} records are unreadable{example}",
                hint="is this the right topic, and are these the producers' schemas? This batch was not committed; "
                "PROCESSOR_MAX_UNREADABLE_SHARE=1 makes dead letters of them all the same",
            )

    def committed(self, outcomes: Sequence[Outcome]) -> None:
        """Count `outcomes`, which are now committed."""
        self._judged, self._unreadable = self._with(outcomes)

    def _with(self, outcomes: Sequence[Outcome]) -> tuple[int, int]:
        counted = outcomes[: max(0, MOST - self._judged)]
        return (
            self._judged + len(counted),
            self._unreadable + sum(isinstance(outcome, Unreadable) for outcome in counted),
        )
