"""How many heaps the C library makes for the threads of a process, and when Python looks for garbage."""

import ctypes
import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator
from typing import Any, Final

import pytest

from processor.memory import (
    FULL_COLLECTION_INTERVAL_S,
    MIN_YOUNG_OBJECTS,
    YOUNG_COLLECTION_INTERVAL_S,
    GarbageCollection,
)
from tests.support.installation import ROOT

HEAPS: Final = """
import ctypes, os, sys, threading
if sys.argv[1] == "one":
    from processor.memory import use_one_heap
    use_one_heap()
together = threading.Barrier(8)
def allocate():
    blocks = [ctypes.create_string_buffer(20_000) for _ in range(20)]
    together.wait(30)
threads = [threading.Thread(target=allocate) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc = ctypes.CDLL(None)
stdout = ctypes.c_void_p.in_dll(libc, "stdout")
libc.malloc_info(0, stdout)
libc.fflush(None)
"""


def heaps(which: str, **environment: str) -> int:
    """How many heaps a process with eight threads has at its end."""
    result = subprocess.run(
        (sys.executable, "-c", HEAPS, which), capture_output=True, text=True, env=environment, cwd=ROOT, check=True
    )
    return result.stdout.count("<heap nr=")


@pytest.mark.process
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="the C library is not glibc")
def test_all_threads_use_one_heap() -> None:
    """Unless the environment says how many there may be."""
    assert heaps("default") > 1
    assert heaps("one") == 1
    assert heaps("one", MALLOC_ARENA_MAX="4") > 1


class Cycle:
    """Garbage: it holds itself."""

    def __init__(self) -> None:
        self.itself = self


def make_garbage(count: int) -> "weakref.ref[Cycle]":
    """So many objects that nobody else holds; a reference to the first."""
    first = weakref.ref(Cycle())
    for _ in range(count - 1):
        Cycle()
    return first


@pytest.fixture
def looks() -> Iterator[list[int]]:
    """The generation of each look for garbage in a test, after which all is as it was."""
    generations: list[int] = []

    def note(phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            generations.append(info["generation"])

    thresholds = gc.get_threshold()
    gc.callbacks.append(note)
    yield generations
    gc.callbacks.remove(note)
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_garbage_is_collected_between_batches(looks: list[int]) -> None:
    """Every few seconds, where there is much that is new; of a batch that has gone nothing is looked at."""
    now = [0.0]
    collection = GarbageCollection(clock=lambda: now[0])
    looks.clear()
    batch = [[number] for number in range(100_000)]
    assert [] == looks

    del batch
    few = make_garbage(10)
    now[0] = YOUNG_COLLECTION_INTERVAL_S
    collection.collect()
    assert [] == looks
    assert few() is not None

    much = make_garbage(MIN_YOUNG_OBJECTS)
    collection.collect()
    assert [1] == looks
    make_garbage(MIN_YOUNG_OBJECTS)
    collection.collect()
    assert [1] == looks
    assert (None, None) == (few(), much())


def test_old_garbage_is_collected_once_a_minute(looks: list[int]) -> None:
    """What was no garbage at the first look, and is now."""
    now = [0.0]
    collection = GarbageCollection(clock=lambda: now[0])
    kept = [[number] for number in range(MIN_YOUNG_OBJECTS)]
    cycle = Cycle()
    old = weakref.ref(cycle)
    now[0] = YOUNG_COLLECTION_INTERVAL_S
    collection.collect()
    del cycle, kept
    make_garbage(MIN_YOUNG_OBJECTS)
    now[0] = 2 * YOUNG_COLLECTION_INTERVAL_S
    collection.collect()
    assert old() is not None

    now[0] = FULL_COLLECTION_INTERVAL_S
    looks.clear()
    collection.collect()
    collection.collect()
    assert [2] == looks
    assert old() is None
