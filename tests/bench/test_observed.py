"""What is seen of a contender's process: its own time and memory, and those of what it has started."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bench.observed import ContenderError, ObservedProcess, process_tree

BUSY = """
import subprocess, sys, time
if len(sys.argv) > 1:
    child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
    print(child.pid, flush=True)
    child.wait()
else:
    kept = b"x" * 50_000_000
    began = time.process_time()
    while time.process_time() < began + 0.3:
        pass
    print("done", flush=True)
    time.sleep(60)
"""


@pytest.mark.process
def test_children_count(tmp_path: Path) -> None:
    """The time and the memory of a child are the contender's; what it has printed explains why it ended."""
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", BUSY, BUSY], stdout=output)
    observed = ObservedProcess(process, log)
    try:
        deadline = time.monotonic() + 60
        while "done" not in log.read_text() and time.monotonic() < deadline:
            observed.check()
            time.sleep(0.05)

        assert [process.pid, int(log.read_text().split()[0])] == process_tree(process.pid)
        assert observed.observe() >= 0.3
        assert observed.peak_mb > 50
    finally:
        for pid in reversed(process_tree(process.pid)):
            os.kill(pid, signal.SIGKILL)
        process.wait()
    with pytest.raises(ContenderError, match=r"it ended with -9: .*\ndone"):
        observed.check()
    assert [process.pid] == process_tree(process.pid)
