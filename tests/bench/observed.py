"""A contender's process seen from outside: its group's position, its processor time, its memory."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tests.bench.backlog import peak_memory_kb
from tests.bench.lineup import PreparedRun, environment
from tests.support.clients import logged
from tests.support.installation import Installation

STOP_TIMEOUT_S: Final = 30.0
LAST_LINES: Final = 15
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class ContenderError(Exception):
    """A contender ended by itself, or did not do in time what it had to."""


class ObservedProcess:
    """A contender's process and its children. Made by `running`."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process = process
        self._log = log
        self._cpu_of: dict[int, float] = {}
        self._peak_kb_of: dict[int, int] = {}

    def check(self) -> None:
        """Raises ContenderError, with its last lines, when it has ended."""
        if (code := self._process.poll()) is not None:
            raise ContenderError(f"it ended with {code}: {self.last_lines()}")

    def last_lines(self) -> str:
        """The end of what it has printed."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-LAST_LINES:])

    def observe(self) -> float:
        """Seconds of processor time so far, of children that have ended too, as they were when last seen."""
        for pid in self.pids():
            self._cpu_of[pid] = max(self._cpu_of.get(pid, 0.0), cpu_s(pid))
            self._peak_kb_of[pid] = max(self._peak_kb_of.get(pid, 0), peak_memory_kb(pid))
        return sum(self._cpu_of.values())

    def pids(self) -> list[int]:
        """Of it and all that it has started, now."""
        return process_tree(self._process.pid)

    @property
    def peak_mb(self) -> float:
        """The sum of the peaks of resident memory that `observe` has seen."""
        return sum(self._peak_kb_of.values()) / 1000


def process_tree(pid: int) -> list[int]:
    """A process and all that it, or its children, have started; empty when it is gone. Linux."""
    pids = [pid]
    for parent in pids:  # grows while it is read
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                pids += map(int, children.read_text().split())
            except OSError:  # the thread has ended
                continue
    return pids


def cpu_s(pid: int) -> float:
    """Seconds of processor time of a process alone; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


@contextmanager
def running(run: PreparedRun) -> Iterator[ObservedProcess]:
    """A contender's process, for the length of the block; then it is ended by SIGTERM, or by force."""
    with run.log.open("wb") as output:
        process = subprocess.Popen(
            run.command,
            env=environment(run),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            yield ObservedProcess(process, run.log)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


class PositionReader:
    """Reads the positions of an installation's group. Closed by the `with` statement."""

    def __init__(self, installation: Installation) -> None:
        # With read_uncommitted: the position of a group whose transaction is open is otherwise waited for.
        self._consumer = Consumer(
            logged(
                {
                    "bootstrap.servers": installation.servers,
                    "group.id": installation.group,
                    "isolation.level": "read_uncommitted",
                }
            )
        )
        self._partitions = [TopicPartition(installation.events, at) for at in range(installation.partitions)]

    def __enter__(self) -> "PositionReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def positions(self) -> list[int]:
        """The position of each partition; 0 where there is none, or the broker does not respond."""
        try:
            return [max(0, at.offset) for at in self._consumer.committed(self._partitions, 2)]
        except KafkaException:
            return [0] * len(self._partitions)

    def committed(self) -> int:
        """How many events are committed in all partitions."""
        return sum(self.positions())


def wait_for_position(
    reader: PositionReader, process: ObservedProcess, count: int, *, timeout_s: float, interval_s: float = 0.1
) -> None:
    """Block until so many events are committed; the position is read every `interval_s` seconds.

    Raises ContenderError when it ends, or does not come so far.
    """
    deadline = time.monotonic() + timeout_s
    while (committed := reader.committed()) < count:
        process.check()
        if time.monotonic() > deadline:
            raise ContenderError(f"{committed} of {count} events after {timeout_s:.0f} s: {process.last_lines()}")
        time.sleep(interval_s)
