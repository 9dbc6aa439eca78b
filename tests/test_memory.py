"""How many heaps the C library makes for the threads of a process."""

import ctypes
import subprocess
import sys
from typing import Final

import pytest

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
