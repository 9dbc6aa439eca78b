"""How the C library shares memory out to threads, and when Python looks for garbage."""

import ctypes
import gc
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_M_ARENA_MAX: Final = -8  # glibc, malloc.h

MIN_YOUNG_OBJECTS: Final = 20_000  # that have come and not gone since the last look; of few nothing is to be had
YOUNG_COLLECTION_INTERVAL_S: Final = 5.0  # a look takes its time for all that was polled and waits to be mapped, too
MAX_YOUNG_OBJECTS: Final = 1_000_000  # a batch makes a third at most; with so many Python looks wherever it is
FULL_COLLECTION_INTERVAL_S: Final = 60.0


def use_one_heap() -> None:
    """Have all threads allocate from one heap, where the C library is glibc; to be called before there are others.

    By default each thread gets a heap of its own. librdkafka's threads allocate what ours frees, so what is freed is
    kept in heaps that others do not use. Whoever sets MALLOC_ARENA_MAX decides instead.
    """
    if "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(AttributeError, OSError, TypeError):  # another C library, or another system
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


class GarbageCollection:
    """When Python looks for garbage: between two batches, where nothing of a batch is there to be looked at.

    Garbage are objects in cycles alone, such as an error with its traceback; all others go with their last reference.
    For the loop of a process, which has one of them. Not thread-safe.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """What is there by now stays, and is never looked at again. `clock` is in seconds and never goes back."""
        self._clock = clock
        gc.collect()
        gc.freeze()
        gc.set_threshold(MAX_YOUNG_OBJECTS)
        self._full_collection_at = clock() + FULL_COLLECTION_INTERVAL_S
        self._young_collection_at = clock() + YOUNG_COLLECTION_INTERVAL_S

    def collect(self) -> None:
        """Look at all objects once a minute, and between that every 5 s at those that are new, if they are many.

        To be called while no batch is there. Takes some milliseconds at most.
        """
        now = self._clock()
        if now >= self._full_collection_at:
            self._full_collection_at = now + FULL_COLLECTION_INTERVAL_S
            gc.collect()
        elif now >= self._young_collection_at and gc.get_count()[0] >= MIN_YOUNG_OBJECTS:
            self._young_collection_at = now + YOUNG_COLLECTION_INTERVAL_S
            gc.collect(1)
