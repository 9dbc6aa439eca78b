"""The steps of the loop, by name: tests kill, freeze and disturb the process there."""

from collections.abc import Callable
from enum import StrEnum


class Step(StrEnum):
    """In the order of a batch; the last three only after a transaction that did not commit."""

    POLLED = "polled"
    MAPPED = "mapped"
    BEGUN = "begun"  #: Of a transaction, as the four that follow.
    PRODUCED = "produced"
    OFFSETS_SENT = "offsets_sent"
    COMMITTING = "committing"
    COMMITTED = "committed"
    RECOVERING = "recovering"
    RECOVERED = "recovered"
    SOUGHT = "sought"


StepHook = Callable[[Step], None]
