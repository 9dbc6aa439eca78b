"""Workers as processes, each behind a proxy of its own."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from tests.chaos.proxy import Proxy, Written
from tests.chaos.reader import ends, group_positions
from tests.chaos.site import ROOT, Site

STARTED_S = 30.0
STOPPED_S = 10.0  # the contract's bound for a clean stop


class Worker:
    """One `python -m tests.chaos.worker`; ends with the block, by SIGKILL if need be. Its log is kept in `log`."""

    def __init__(
        self,
        site: Site,
        *,
        slot: str = "s0",
        step: str | None = None,
        visit: int = 1,
        delay_ms: int = 0,
        step_signal: str = "KILL",
        until_end: bool = False,
        start_from: str | None = None,
        mutant: str | None = None,
        logs: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.proxy = Proxy(site.servers)
        self.slot = slot
        arguments = [sys.executable, "-m", "tests.chaos.worker"]
        if step is not None:
            arguments += ["--step", step, "--visit", str(visit), "--delay-ms", str(delay_ms), "--signal", step_signal]
        if until_end:
            arguments += ["--until-end"]
        if start_from is not None:
            arguments += ["--start-from", start_from]
        if mutant is not None:
            arguments += ["--mutant", mutant]
        self._arguments = arguments
        self._site = site
        self._more = environment or {}
        handle, name = tempfile.mkstemp(prefix=f"{site.prefix}{slot}-", suffix=".log", dir=logs)
        os.close(handle)
        self.log = Path(name)
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.proxy.__enter__()
        environment = self._site.environment(servers=self.proxy.address, slot=self.slot) | self._more
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self._arguments, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.code is None:
            self.kill()
        self.proxy.__exit__(kind, error, trace)

    @property
    def pid(self) -> int:
        """Of the worker."""
        return self._running().pid

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._running().poll()

    @property
    def said(self) -> str:
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

    def kill(self) -> Written:
        """SIGKILL; gives what its open transaction had written."""
        os.kill(self.pid, signal.SIGKILL)
        self._running().wait()
        return self.proxy.written()

    def kill_quietly(self) -> None:
        """SIGKILL without waiting: for a trap, from the proxy's thread."""
        os.kill(self.pid, signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)

    def wake(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    @property
    def frozen(self) -> bool:
        """Whether it is stopped by a signal."""
        return self.code is None and psutil.Process(self.pid).status() == psutil.STATUS_STOPPED

    def explain(self) -> None:
        """Have it write its steps and stacks to its log; waits a second for that."""
        os.kill(self.pid, signal.SIGUSR2)
        os.kill(self.pid, signal.SIGUSR1)
        time.sleep(1)

    def stop(self) -> int | None:
        """SIGTERM; its exit code, or None when it has not ended within the contract's 10 s."""
        os.kill(self.pid, signal.SIGTERM)
        return self.wait(STOPPED_S)


def until(condition: Callable[[], bool], timeout_s: float, *, every_s: float = 0.1) -> bool:
    """Whether `condition` became true within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True


def behind(site: Site) -> dict[int, int]:
    """Partition -> how far the group is behind the input's end; partitions without a position count from -1."""
    positions = group_positions(site.servers, site.group, site.events)
    return {
        partition: end - positions.get(partition, -1)
        for (_, partition), end in ends(site.servers, (site.events,)).items()
        if positions.get(partition, -1) != end
    }


def caught_up(site: Site, timeout_s: float) -> bool:
    """Whether the group reaches the input's end within `timeout_s`."""
    return until(lambda: not behind(site), timeout_s, every_s=0.3)
