"""How the C library shares memory out to threads."""

import ctypes
import os
from contextlib import suppress
from typing import Final

_M_ARENA_MAX: Final = -8  # glibc, malloc.h


def use_one_heap() -> None:
    """Have all threads allocate from one heap, where the C library is glibc; to be called before there are others.

    By default each thread gets a heap of its own. librdkafka's threads allocate what ours frees, so what is freed is
    kept in heaps that others do not use. Whoever sets MALLOC_ARENA_MAX decides instead.
    """
    if "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(AttributeError, OSError, TypeError):  # another C library, or another system
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
