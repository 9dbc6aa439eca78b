"""Questions that may take long, asked beside the loop, and how long to wait before the next."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def back_off_s(times: int, *, first_s: float, longest_s: float) -> float:
    """How long to wait after `times` failures in a row before: doubled for each, up to the longest, however many."""
    return float(min(longest_s, first_s * 2 ** min(times, 32)))


def call_in_thread(question: Callable[[], T], *, name: str) -> "Future[T]":
    """Ask in a thread of its own. Never blocks; whatever `question` raises is raised by the future's result.

    A daemon thread, where an executor's would be waited for when the process ends: a broker that does not answer must
    not hold up a stop.
    """
    future: Future[T] = Future()

    def answer() -> None:
        try:
            future.set_result(question())
        except BaseException as exception:
            future.set_exception(exception)

    threading.Thread(target=answer, name=name, daemon=True).start()
    return future
