"""SIGTERM and SIGINT: what handles them while a block runs, and how long a shutdown may take."""

import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

log = structlog.get_logger()

SHUTDOWN_SIGNALS = (signal.SIGTERM, signal.SIGINT)
SHUTDOWN_TIMEOUT_S = 5.0  # a call under way may take this long after a signal; all in all a shutdown takes under 10 s
INTERRUPTED_EXIT_CODE: Final = 128 + signal.SIGINT  # as shells have it
FORCED_EXIT_AFTER_S = 8.0  # then the process ends whatever it is blocked in


class ShutdownRequested(BaseException):
    """A signal requests a clean end, exit code 0. Not an Exception, as KeyboardInterrupt is none: it is no error."""


class Shutdown:
    """Whether a shutdown was requested, and since when."""

    def __init__(self) -> None:
        self._requested_at: float | None = None

    @property
    def requested(self) -> bool:
        return self._requested_at is not None

    def request(self) -> None:
        """The deadline runs from the first request on. Any thread may call this."""
        if self._requested_at is None:
            self._requested_at = time.monotonic()

    def deadline_passed(self) -> bool:
        """Whether what is under way has to end now, done or not; what is not committed is simply read again."""
        return self._requested_at is not None and time.monotonic() - self._requested_at > SHUTDOWN_TIMEOUT_S

    def raise_if_requested(self) -> None:
        """Raise ShutdownRequested."""
        if self.requested:
            raise ShutdownRequested


@contextmanager
def signal_handlers(handler: Callable[[], None], *signals: signal.Signals) -> Iterator[None]:
    """Call `handler` in the main thread for each of `signals` (SIGTERM and SIGINT where none is named) while the block
    runs; what it raises unwinds the block. The handlers from before come back. Outside the main thread nothing is
    installed: Python handles signals there alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers: Collection[signal.Signals] = signals or SHUTDOWN_SIGNALS
    before = {number: signal.signal(number, lambda _number, _frame: handler()) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


@contextmanager
def shutdown_signals(*, forced_exit_code: int = 0) -> Iterator[Shutdown]:
    """SIGTERM and SIGINT request a shutdown while the block runs. Outside the main thread nothing is installed.

    A thread handles them, because librdkafka may keep the main thread for longer than any time-out it was given (seen:
    `send_offsets_to_transaction` for 20 s, with a broker that hangs), and Python's handlers run in the main thread
    alone. If the block has not ended by then, the thread ends the process with `forced_exit_code`: what is not
    committed is read again.
    """
    shutdown = Shutdown()
    if threading.current_thread() is not threading.main_thread():
        yield shutdown
        return
    ended = threading.Event()
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)

    def listen() -> None:
        with open(read_end, "rb", buffering=0) as received:  # noqa: PTH123  a descriptor has no path
            if not received.read(1):
                return  # the block ended without a signal
            shutdown.request()
            if not ended.wait(FORCED_EXIT_AFTER_S):
                log.warning("forced shutdown: broker did not respond", after_s=FORCED_EXIT_AFTER_S)
                os._exit(forced_exit_code)

    with signal_handlers(lambda: None):  # the thread learns of a signal; this replaces the default action
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        threading.Thread(target=listen, name="shutdown", daemon=True).start()
        try:
            yield shutdown
        finally:
            ended.set()
            signal.set_wakeup_fd(-1)
            os.close(write_end)
