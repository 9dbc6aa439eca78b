"""One iteration of the soak: what it was and what came of it; and its state while it runs, shared by its threads."""

import contextlib
import math
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.soak.checker import Finding, Kind
from tests.soak.faults import LONG_TRANSACTION_TIMEOUT_MS, TRANSACTION_TIMEOUT_MS, BrokerFaults
from tests.soak.proxy import EndTxnLoss
from tests.soak.scenarios import MARKERS_WRITTEN_S, Environment, Kill
from tests.soak.workers import Worker
from tests.soak.workload import Workload
from tests.support.installation import Installation
from tests.support.waiting import becomes_true

LARGE_BATCH: Final = "batch that decompresses to 150 MB"
ALWAYS_COUNTED: Final = frozenset({Kind.EXIT, Kind.STUCK, Kind.STALLED, Kind.HARNESS, Kind.BYTES, Kind.CONTENT})
"""Findings that a broker which omits abort markers does not explain."""

# A worker of a wrong tenant reads a hundred records before it ends, and has five seconds for them.
WRONG_TENANT_RATE_FACTOR: Final = 4
END_TXN_TIMEOUT_S: Final = 10.0
CANCEL_AFTER_S: Final = 20.0  # beyond the deadline


def registry_label(kind: str) -> str:
    """In the table: a response of the registry."""
    return f"registry: {kind}"


def duplicate_label(name: str) -> str:
    """In the table: a case of `tests.soak.duplicates`."""
    return f"duplicate after a restart: {name}"


@dataclass
class Iteration:
    """Its plan, drawn from its seed, and its results."""

    number: int
    protocol: str
    seed: int
    worker_count: int
    transactional: bool  #: Whether the input's producer is.
    broker_faults: BrokerFaults
    kills: list[Kill] = field(default_factory=list)
    injected: Counter[str] = field(default_factory=Counter)  #: Faults and cases of the environment, by name.
    cut_end_txns: Counter[EndTxnLoss] = field(default_factory=Counter)  #: EndTxn lost with a cut, no kill.
    missed: list[str] = field(default_factory=list)  #: Faults that were not injected in time.
    findings: list[Finding] = field(default_factory=list)
    counts: Mapping[str, int] = field(default_factory=dict)
    aborted: frozenset[tuple[str, int, int]] = frozenset()
    skipped_markers: int = 0  #: Transactions for which the broker's log says that it omitted markers.
    seconds: float = 0.0

    @property
    def transaction_timeout_ms(self) -> int:
        """Of its workers."""
        return TRANSACTION_TIMEOUT_MS if self.broker_faults is BrokerFaults.PAUSE else LONG_TRANSACTION_TIMEOUT_MS

    @property
    def counted_findings(self) -> list[Finding]:
        """The findings, without those of contents if the broker's log says that it omitted markers."""
        return [finding for finding in self.findings if not self.skipped_markers or finding.kind in ALWAYS_COUNTED]

    def as_json(self) -> dict[str, object]:
        """For the report."""
        return {
            "iteration": self.number,
            "protocol": self.protocol,
            "seed": self.seed,
            "workers": self.worker_count,
            "transactionalInput": self.transactional,
            "brokerFaults": self.broker_faults,
            "seconds": round(self.seconds, 1),
            "kills": len(self.kills),
            "injected": dict(self.injected),
            "missed": self.missed,
            "skippedMarkers": self.skipped_markers,
            "countedFindings": len(self.counted_findings),
            "abortedRecords": len(self.aborted),
            "counts": dict(self.counts),
            "findings": [str(finding) for finding in self.findings],
        }


class RunningIteration:
    """An iteration while it runs. Thread-safe: the fault runners, the duplicate sender and the main thread share it."""

    def __init__(
        self,
        environment: Environment,
        installation: Installation,
        iteration: Iteration,
        *,
        workload: Workload,
        deadline: float,
    ) -> None:
        """No fault begins after `deadline` (monotonic)."""
        self.environment, self.installation, self.result = environment, installation, iteration
        self.done = threading.Event()  #: All fault runners have ended.
        self.broker_lock = threading.Lock()  #: Held while the broker is away, or must not be.
        self.broker_away = False
        self.away_at = -math.inf  #: When the broker was last away.
        self._workload = workload
        self._workers: list[Worker] = []
        self._holding = False
        self._deadline = deadline
        self._lock = threading.Lock()

    def broker_was_away(self, within_s: float) -> bool:
        """Whether the broker is away, or was within the last seconds."""
        return self.broker_away or time.monotonic() - self.away_at < within_s

    def deadline_passed(self) -> bool:
        """Whether no further fault is to begin."""
        return time.monotonic() > self._deadline

    def cancelled(self) -> bool:
        """Whether a fault that is being injected is to be given up."""
        return time.monotonic() > self._deadline + CANCEL_AFTER_S

    def start_worker(self, **options: Any) -> Worker:
        """A worker, not entered yet, whose EndTxn requests are held while all are."""
        worker = self.environment.worker(self.installation, **options)
        with self._lock:
            worker.proxy.hold_end_txn = self._holding
            self._workers.append(worker)
        return worker

    def hold_end_txn(self, holding: bool) -> None:
        """Hold all requests that end a transaction, and wait until those before have ended; or let them go."""
        with self._lock:
            self._holding = holding
            for worker in self._workers:
                worker.proxy.hold_end_txn = holding
            proxies = [worker.proxy for worker in self._workers]
        if holding:
            becomes_true(lambda: not any(proxy.end_txn_pending for proxy in proxies), END_TXN_TIMEOUT_S)
            time.sleep(MARKERS_WRITTEN_S)

    def kill_workers(self) -> None:
        """All that run, and let no fault begin: for the end, also of a soak that is interrupted."""
        self._deadline = -math.inf
        with self._lock:
            for worker in self._workers:
                if worker.process is not None and worker.exit_code is None:
                    worker.send_kill()

    def logs(self) -> list[Path]:
        """Of all workers so far."""
        with self._lock:
            return [worker.log for worker in self._workers]

    @contextlib.contextmanager
    def sped_up(self) -> Iterator[None]:
        """A higher rate of the workload, and no fault of the broker, while the block runs."""
        with self.broker_lock, self._workload.sped_up(WRONG_TENANT_RATE_FACTOR):
            yield

    def count(self, name: str) -> None:
        """A fault was injected, or a case of the environment occurred."""
        with self._lock:
            self.result.injected[name] += 1

    def count_kill(self, kill: Kill) -> None:
        """A worker was killed as planned."""
        with self._lock:
            self.result.kills.append(kill)

    def count_cut(self, loss: EndTxnLoss) -> None:
        """An EndTxn was lost as planned, without a kill."""
        with self._lock:
            self.result.cut_end_txns[loss] += 1

    def add_missed(self, text: str) -> None:
        """A fault was not injected, for want of time."""
        with self._lock:
            self.result.missed.append(text)

    def add_finding(self, kind: Kind, detail: str, worker: Worker | None = None) -> None:
        """With the end of the worker's log, if it is about one."""
        log = "" if worker is None else f"\n{worker.log_text[-4_000:]}"
        with self._lock:
            self.result.findings.append(Finding(kind, f"{detail}{log}"))
