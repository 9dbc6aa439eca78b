"""Calls that may take long, made beside the loop in threads, and how long to wait before the next."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


def back_off_s(failures: int, *, first_s: float, longest_s: float) -> float:
    """How long to wait after `failures` in a row before: doubled for each, up to the longest, however many."""
    return float(min(longest_s, first_s * 2 ** min(failures, 32)))


def call_in_thread(call: Callable[[], T], *, name: str) -> "Future[T]":
    """Make a call in a thread of its own. Never blocks; whatever `call` raises is raised by the future's result.

    A daemon thread, where an executor's would be waited for when the process ends: a broker that does not respond must
    not hold up a stop.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as exception:
            future.set_exception(exception)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


class PeriodicCall(Generic[T]):
    """A call that blocks, made in a thread again and again: `interval_s` after the one before has ended.

    For a loop that must not wait. Not thread-safe.
    """

    def __init__(self, *, name: str, interval_s: float, first_after_s: float = 0.0) -> None:
        self._name = name
        self._interval_s = interval_s
        self._due_at = time.monotonic() + first_after_s
        self._running: Future[T] | None = None

    def poll(self, call: Callable[[], T]) -> "Future[T] | None":
        """The call that has just ended, once; else None. Makes the next `call` when it is due. Never blocks."""
        now = time.monotonic()
        if self._running is None:
            if now >= self._due_at:
                self._running = call_in_thread(call, name=self._name)
            return None
        if not self._running.done():
            return None
        ended, self._running = self._running, None
        self._due_at = now + self._interval_s
        return ended
