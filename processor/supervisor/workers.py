"""`processor run --workers N`: N plain processes, restarted when they die, stopped as one.

A worker is `python -m processor run …`, started with the socket pair of `link.py`, over which it reports.
"""

import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol

import requests
import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from processor.errors import DependencyError, InternalError, UsageError
from processor.observability.http import Readiness, Server, serve
from processor.observability.metrics import SUPERVISOR, WORKER_RESTARTS, WORKER_UP, Metrics
from processor.observability.signals import signal_handlers
from processor.settings import HttpSettings
from processor.supervisor.link import SHUTDOWN_TIMEOUT_S, Command, WorkerLink, start_worker

log = structlog.get_logger()

_POLL_INTERVAL_S: Final = 0.1
_HTTP_TIMEOUT_S: Final = 0.8  # under the second that Kubernetes gives a probe by default
_MIN_BACK_OFF_S: Final = 0.2  # a killed worker's readers go on within 2 s, its start included
_MAX_BACK_OFF_S: Final = 30.0
_STABLE_AFTER_S: Final = 30.0  # a worker that ran so long begins again with the first back-off
_READS_AFTER_END: Final = 16  # of an ended worker: more than the system buffers
_PASSING_SHORTAGES: Final = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
_INTERNAL_ERROR_CODE: Final = InternalError.exit_code
_DEPENDENCY_CODE: Final = DependencyError.exit_code
_USAGE_CODE: Final = UsageError.exit_code


@dataclass(slots=True)
class Worker:
    """One of the N, through all its processes."""

    number: int
    process: "subprocess.Popen[bytes] | None" = None
    link: WorkerLink | None = None
    was_assigned: bool = False  #: Ever, so that its settings are known to work.
    no_restart: bool = False  #: Its last process said that a restart would not help.
    started_at: float = 0.0
    start_at: float = 0.0  #: Of the next process, while there is none.
    back_off_s: float = 0.0
    last_code: int | None = None
    start_error: str = ""  #: Why its next process could not be made, while there is none.
    done: bool = False

    @property
    def port(self) -> int | None:
        """Where its process serves /ready and /metrics; None while that is not known."""
        link = self.link
        return None if link is None else link.port

    def read_status(self) -> None:
        """Take in what its process has reported. Does not block."""
        if self.link is not None:
            self.link.read_status()
            self.was_assigned = self.was_assigned or self.link.assigned
            self.no_restart = self.link.no_restart

    def poll_exit_code(self) -> int | None:
        """The exit code of a process that has just ended, a signal as its negative number; None while it runs."""
        if self.process is None or (code := self.process.poll()) is None:
            return None
        for _ in range(_READS_AFTER_END):
            self.read_status()
        if self.link is not None:
            self.link.close()
        self.process = self.link = None
        self.last_code = code
        return code

    def may_restart(self, code: int) -> bool:
        """Whether another try may help after an end with `code`: a crash, or a dependency that was there before."""
        lost_dependency = code == _DEPENDENCY_CODE and self.was_assigned and not self.no_restart
        return code < 0 or code == _INTERNAL_ERROR_CODE or lost_dependency

    def back_off(self) -> None:
        """Set when its next process is started."""
        now = time.monotonic()
        if now - self.started_at >= _STABLE_AFTER_S or self.back_off_s == 0:
            self.back_off_s = _MIN_BACK_OFF_S
        else:
            self.back_off_s = min(2 * self.back_off_s, _MAX_BACK_OFF_S)
        self.start_at = now + self.back_off_s

    def state(self) -> str:
        """Why it gives no readiness, for people."""
        if self.start_error:
            return f"cannot be started now: {self.start_error}"
        if self.process is None:
            return f"ended with {self.last_code}, restarting"
        return "starting" if self.port is None else "does not respond"


def supervise(
    http: HttpSettings,
    *,
    workers: int,
    command: Command,
    until_end: bool,
    on_listening: Callable[[Server], None] = lambda _server: None,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Run `workers` processes until SIGTERM or SIGINT, or until one ends in a way that no restart helps.

    Blocks; main thread only. The exit code: 0 for a clean stop, or with `until_end` when every worker ended with 0;
    else that of the worker that ended all. After SIGTERM all have ended within 10 s, those that had to be killed make
    the code 70. `on_listening` gets the server of all their figures. Raises UsageError for a taken port.
    """
    supervisor = _Supervisor(
        [Worker(number) for number in range(1, workers + 1)],
        command=command,
        until_end=until_end,
        environment=dict(os.environ if environment is None else environment),
    )
    server = serve(http.host, http.port, registry=supervisor.registry, ready=supervisor.readiness)
    try:
        with signal_handlers(supervisor.request_stop):
            on_listening(server)
            return supervisor.run()
    finally:
        supervisor.kill()
        server.close()
        supervisor.close()


class _Supervisor:
    """The loop, and what it serves on its port. Only the loop changes workers; other threads read them."""

    def __init__(
        self, workers: Sequence[Worker], *, command: Command, until_end: bool, environment: Mapping[str, str]
    ) -> None:
        self._workers = workers
        self._command = command
        self._until_end = until_end
        self._environment = {**environment, "PROCESSOR_HTTP__HOST": "127.0.0.1", "PROCESSOR_HTTP__PORT": "0"}
        self._stopping = False  # no Event: its lock is not for signal handlers
        self._http_threads = ThreadPoolExecutor(max_workers=max(1, len(workers)), thread_name_prefix="worker-http")
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy has no business between processes of one host
        self.registry = CollectorRegistry()
        self._metrics = Metrics(self.registry, SUPERVISOR)
        self.registry.register(_WorkersMetrics(self._get_all))

    def request_stop(self) -> None:
        """Request a clean stop, from a signal handler."""
        self._stopping = True

    def run(self) -> int:
        """Until there is an exit code."""
        while not self._stopping:
            for worker in self._workers:
                code = self._handle_end(worker)
                if code is None:
                    code = self._start_if_due(worker)
                if code is not None:
                    return self._stop(code)
            if all(worker.done for worker in self._workers):
                return 0
            time.sleep(_POLL_INTERVAL_S)
        return self._stop(0)

    def _handle_end(self, worker: Worker) -> int | None:
        """The code with which all have to stop, if the worker's process has ended and no restart helps."""
        worker.read_status()
        code = worker.poll_exit_code()
        if code is None:
            return None
        self._metrics[WORKER_UP].labels(worker=str(worker.number)).set(0)
        if code == 0 and self._until_end:
            worker.done = True
        elif worker.may_restart(code):
            worker.back_off()
            self._metrics[WORKER_RESTARTS].labels(worker=str(worker.number), code=str(code)).inc()
            log.warning("worker restarting", number=worker.number, code=code, after_s=worker.back_off_s)
        else:
            log.info("worker ended, stopping all", number=worker.number, code=code)
            return code
        return None

    def _start_if_due(self, worker: Worker) -> int | None:
        """The code with which all have to stop, if the worker's next process can never be started."""
        if worker.process is not None or worker.done or time.monotonic() < worker.start_at:
            return None
        try:
            self._start(worker)
        except OSError as error:
            worker.start_error = str(error)
            if error.errno not in _PASSING_SHORTAGES:
                # A traceback says nothing more.
                log.error("worker cannot start, stopping all", number=worker.number, cause=str(error))  # noqa: TRY400
                return _USAGE_CODE
            worker.back_off()
            log.warning("worker start deferred", number=worker.number, cause=str(error), after_s=worker.back_off_s)
        return None

    def _start(self, worker: Worker) -> None:
        """Start its next process. Raises OSError when the system does not."""
        worker.started_at = time.monotonic()
        process, link = start_worker(self._command, worker.number, environment=self._environment)
        worker.process, worker.link, worker.no_restart, worker.start_error = process, link, False, ""
        self._metrics[WORKER_UP].labels(worker=str(worker.number)).set(1)
        log.info("worker started", number=worker.number, pid=process.pid)

    def _stop(self, code: int) -> int:
        """Stop all; `code`, or where that is 0 the first code of a worker that did not stop cleanly."""
        self._stopping = True
        codes = [_INTERNAL_ERROR_CODE if exit_code < 0 else exit_code for exit_code in self._stop_workers()]
        return code or next(filter(None, codes), 0)

    def _stop_workers(self) -> Iterator[int]:
        """The code of each; 0 for one that our SIGTERM met before it could handle it."""
        running = [worker.process for worker in self._workers if worker.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + SHUTDOWN_TIMEOUT_S
        for process in running:
            try:
                code = process.wait(max(0.0, deadline - time.monotonic()))
                yield 0 if code == -signal.SIGTERM else code
            except subprocess.TimeoutExpired:
                log.error("worker did not stop, killed", pid=process.pid)  # noqa: TRY400  no traceback of ours
                process.kill()
                yield process.wait()

    def kill(self) -> None:
        """No worker outlives the loop, whatever ended it."""
        for worker in self._workers:
            if worker.process is not None and worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()
            if worker.link is not None:
                worker.link.close()

    def close(self) -> None:
        """Give back threads and connections."""
        self._http_threads.shutdown(wait=False, cancel_futures=True)
        self._session.close()

    def readiness(self) -> Readiness:
        """Ready when every worker that is not done is. Blocks for less than a second."""
        if self._stopping:
            return Readiness(ready=False, reasons=("stopping",))
        responses = dict(self._get_all("/ready"))
        reasons: list[str] = []
        ready, degraded = True, False
        for worker in self._workers:
            if worker.done:
                continue
            status = _worker_readiness(worker, responses.get(worker.number))
            ready = ready and bool(status["ready"])
            degraded = degraded or bool(status["degraded"])
            reasons += [f"worker {worker.number}: {reason}" for reason in status["reasons"]]
        return Readiness(ready, tuple(reasons), degraded=degraded)

    def _get_all(self, path: str) -> Iterator[tuple[int, requests.Response]]:
        """The responses of those workers that respond, by number, requested at once."""
        ports = {worker.number: port for worker in self._workers if (port := worker.port) is not None}
        requested = {number: self._http_threads.submit(self._get, port, path) for number, port in ports.items()}
        for number, future in requested.items():
            if (response := future.result()) is not None:
                yield number, response

    def _get(self, port: int, path: str) -> requests.Response | None:
        try:
            return self._session.get(f"http://127.0.0.1:{port}{path}", timeout=_HTTP_TIMEOUT_S)
        except requests.RequestException:
            return None


def _worker_readiness(worker: Worker, response: requests.Response | None) -> dict[str, Any]:
    """The object of a worker's /ready; for a worker that gave none, why."""
    if response is None:
        return {"ready": False, "degraded": False, "reasons": [worker.state()]}
    return {"ready": False, "degraded": False, "reasons": [], **response.json()}


class _GetAll(Protocol):
    def __call__(self, path: str, /) -> Iterator[tuple[int, requests.Response]]: ...


class _WorkersMetrics(Collector):
    """The workers' metrics as one: each sample with the label `worker`."""

    def __init__(self, get_all: _GetAll) -> None:
        self._get_all = get_all

    def describe(self) -> list[Family]:
        """Nothing: a request to the workers while this is registered would be too early."""
        return []

    def collect(self) -> Iterator[Family]:
        """Of all workers at once; one that has no figures is left out."""
        families: dict[str, Family] = {}
        for number, response in self._get_all("/metrics"):
            if not response.ok:
                continue
            for family in text_string_to_metric_families(response.text):
                merged = families.setdefault(family.name, Family(family.name, family.documentation, family.type))
                for sample in family.samples:
                    merged.add_sample(sample.name, {**sample.labels, "worker": str(number)}, sample.value)
        yield from families.values()
