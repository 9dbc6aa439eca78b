"""Signals while a block runs."""

import os
import signal
import threading
import time

import pytest

from processor.observability import signals
from processor.observability.signals import Shutdown, ShutdownRequested, shutdown_signals, signal_handlers


@pytest.mark.parametrize("number", signals.SHUTDOWN_SIGNALS)
def test_a_signal_requests_a_shutdown(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadline passes after its time, not at once; the handlers from before come back."""
    before = signal.getsignal(number)
    seen: list[bool] = []
    with shutdown_signals() as shutdown:
        seen.append(shutdown.requested)
        os.kill(os.getpid(), number)
        until = time.monotonic() + 5
        while not shutdown.requested and time.monotonic() < until:
            time.sleep(0.01)
        seen += [shutdown.requested, shutdown.deadline_passed()]
        monkeypatch.setattr(signals, "SHUTDOWN_TIMEOUT_S", 0.0)
        seen.append(shutdown.deadline_passed())

    assert [False, True, False, True] == seen

    assert before == signal.getsignal(number)


def test_only_a_requested_shutdown_raises() -> None:
    """Startup checks between its steps; code that handles errors does not take the request for one."""
    shutdown = Shutdown()
    shutdown.raise_if_requested()
    shutdown.request()

    with pytest.raises(ShutdownRequested):
        shutdown.raise_if_requested()
    assert not issubclass(ShutdownRequested, Exception)


def test_what_a_handler_raises_unwinds_the_block() -> None:
    """For the named signals alone."""
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), signal_handlers(interrupt, signal.SIGTERM):
        assert before[1] == signal.getsignal(signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    assert before == (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT))


def test_outside_the_main_thread_nothing_is_installed() -> None:
    """Python would raise ValueError there."""
    requested: list[bool] = []

    def block() -> None:
        with shutdown_signals() as shutdown, signal_handlers(shutdown.request):
            requested.append(shutdown.requested)

    thread = threading.Thread(target=block)
    thread.start()
    thread.join(5)

    assert [False] == requested
