"""Waiting for what becomes true a moment later."""

import time
from collections.abc import Callable
from typing import Final

POLL_S: Final = 0.05


def becomes_true(condition: Callable[[], object], timeout_s: float, *, every_s: float = POLL_S) -> bool:
    """Whether `condition` became true within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True


def wait_until(condition: Callable[[], object], *, timeout_s: float = 30) -> None:
    """Return when `condition` is true; fails the test when it is not within `timeout_s`."""
    assert becomes_true(condition, timeout_s), f"not true within {timeout_s} s"
