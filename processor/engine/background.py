"""Questions that may take long, asked beside the loop."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def ask(question: Callable[[], T], *, name: str) -> "Future[T]":
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
