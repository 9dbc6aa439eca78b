"""Worker processes, each behind a proxy of its own, and the lag of their group."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from tests.soak.history import end_offsets, group_positions
from tests.soak.proxy import Proxy, WrittenRecords
from tests.support.installation import ROOT, Installation

STOP_TIMEOUT_S = 10.0  # the bound of a clean stop
LAG_POLL_S = 0.3
EVENTUALLY_S = 180.0  # for what a busy machine does late; on a quiet one nothing takes ten


@dataclass(frozen=True, slots=True)
class StepSignal:
    """The worker sends itself `signal`, KILL, STOP or TERM, `delay_ms` after it comes by `step` for the nth time."""

    step: str
    nth: int = 1
    delay_ms: int = 0
    signal: str = "KILL"

    @property
    def arguments(self) -> list[str]:
        """For the worker's command line."""
        return ["--step", self.step, "--nth", str(self.nth), "--delay-ms", str(self.delay_ms), "--signal", self.signal]


@dataclass(frozen=True, slots=True)
class WorkerLog:
    """The log of a process of the engine: a file, which stays when that process has ended, or its text."""

    prefix: str  #: Of its installation.
    instance_id: str
    content: Path | str

    @property
    def text(self) -> str:
        """What it has so far."""
        return self.content if isinstance(self.content, str) else self.content.read_text(errors="replace")


_LOGS: list[WorkerLog] = []


def keep_log(installation: Installation, content: Path | str, *, instance_id: str | None = None) -> None:
    """For the checker: the log of a process, with the host's name as its instance id where it has no other."""
    _LOGS.append(WorkerLog(installation.prefix, instance_id or installation.settings.instance_name, content))


def worker_logs(installation: Installation) -> list[WorkerLog]:
    """Of all processes of an installation's engine that this process has started."""
    return [log for log in _LOGS if log.prefix == installation.prefix]


class Worker:
    """One `python -m tests.soak.worker ARGUMENTS`; ends with the block, by SIGKILL if need be; leaves its `log`."""

    def __init__(
        self,
        installation: Installation,
        arguments: Sequence[str] = (),
        *,
        instance_id: str,
        logs: Path | None,
        env: Mapping[str, str],
    ) -> None:
        self.proxy = Proxy(installation.servers, ignored_topic=installation.operations)
        self.instance_id = instance_id
        self._command = (sys.executable, "-m", "tests.soak.worker", *arguments)
        self._installation = installation
        self._extra_env = env
        handle, name = tempfile.mkstemp(prefix=f"{installation.prefix}{instance_id}-", suffix=".log", dir=logs)
        os.close(handle)
        self.log = Path(name)
        keep_log(installation, self.log, instance_id=instance_id)
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.proxy.__enter__()
        env = {
            **self._installation.env(servers=self.proxy.address),
            "PROCESSOR_INSTANCE_ID": self.instance_id,
            **self._extra_env,
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self._command, env=env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.exit_code is None:
            self.kill()
        self.proxy.__exit__(kind, error, trace)

    @property
    def pid(self) -> int:
        """Of the worker."""
        return self._running().pid

    @property
    def exit_code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._running().poll()

    @property
    def log_text(self) -> str:
        """Its log so far."""
        return self.log.read_text(errors="replace")

    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            raise AssertionError("a worker runs inside its block")
        return self.process

    def wait(self, timeout_s: float) -> int | None:
        """Its exit code, or None when it still runs after `timeout_s`."""
        try:
            return self._running().wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> WrittenRecords:
        """SIGKILL; returns what its open transaction had written."""
        os.kill(self.pid, signal.SIGKILL)
        self._running().wait()
        return self.proxy.written()

    def send_kill(self) -> None:
        """SIGKILL without waiting: for an EndTxn fault, from the proxy's thread."""
        os.kill(self.pid, signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    @property
    def is_paused(self) -> bool:
        """Whether it is stopped by a signal."""
        return self.exit_code is None and psutil.Process(self.pid).status() == psutil.STATUS_STOPPED

    def dump_stacks(self) -> None:
        """Make it write its step counts and stacks to its log; waits a second for that."""
        os.kill(self.pid, signal.SIGUSR2)
        os.kill(self.pid, signal.SIGUSR1)
        time.sleep(1)

    def stop(self) -> int | None:
        """SIGTERM; its exit code, or None when it has not ended within 10 s."""
        os.kill(self.pid, signal.SIGTERM)
        return self.wait(STOP_TIMEOUT_S)


def lag(installation: Installation) -> dict[int, int]:
    """Partition -> how far the group is behind the input's end, where it is; without a position it counts from -1."""
    positions = group_positions(installation.servers, installation.group, installation.events)
    return {
        partition: end - positions.get(partition, -1)
        for (_, partition), end in end_offsets(installation.servers, (installation.events,)).items()
        if positions.get(partition, -1) != end
    }


def wait_until_caught_up(
    installation: Installation, timeout_s: float, *, or_else: Callable[[], bool] = lambda: False
) -> bool:
    """Whether the group reached the input's end; it may take long, but no longer than `timeout_s` without progress.

    `or_else`: what ends the waiting too, as True.
    """
    last, deadline = lag(installation), time.monotonic() + timeout_s
    while last and not or_else():
        if time.monotonic() > deadline:
            return False
        time.sleep(LAG_POLL_S)
        if (now := lag(installation)) != last:
            last, deadline = now, time.monotonic() + timeout_s
    return True
