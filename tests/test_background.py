"""Back-off, doubled up to a bound, for hours; calls that are repeated in a thread."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Event

import pytest

from processor.background import PeriodicCall, back_off_s


def test_back_off_doubles_up_to_a_bound() -> None:
    """0.05 s, 0.1 s, … and never over 10 s; also after more waits than a float can be doubled."""
    assert [0.05, 0.1, 0.2] == [back_off_s(times, first_s=0.05, longest_s=10) for times in range(3)]
    assert 10 == back_off_s(5_000, first_s=0.05, longest_s=10)


def until_ended(periodic: PeriodicCall[int], call: Callable[[], int]) -> "Future[int]":
    """The next call that ends."""
    while (ended := periodic.poll(call)) is None:
        time.sleep(0.001)
    return ended


def test_a_periodic_call_gives_each_result_once() -> None:
    """A call is made when it is due, in the background of the poller; what it gives or raises is handed over once."""
    release = Event()
    periodic: PeriodicCall[int] = PeriodicCall(name="test", interval_s=0)

    assert periodic.poll(lambda: int(release.wait(10))) is None
    assert periodic.poll(lambda: 2) is None  # the first is still running
    release.set()
    assert 1 == until_ended(periodic, lambda: 2).result()
    assert 2 == until_ended(periodic, lambda: 2).result()
    with pytest.raises(ZeroDivisionError):
        until_ended(periodic, lambda: 1 // 0).result()


def test_a_periodic_call_waits_for_its_interval() -> None:
    """Before the first call, and after the end of each before the next."""
    late: PeriodicCall[int] = PeriodicCall(name="test", interval_s=0, first_after_s=60)
    rare: PeriodicCall[int] = PeriodicCall(name="test", interval_s=60)
    until_ended(rare, lambda: 1)
    calls: list[int] = []

    def call() -> int:
        calls.append(1)
        return 1

    for _ in range(20):
        assert late.poll(call) is None
        assert rare.poll(call) is None
        time.sleep(0.001)

    assert [] == calls
