"""`processor run --workers N`: N plain processes, restarted when they die, stopped as one; both ends of what they say.

A worker is `python -m processor run …` with one end of a socket pair. It says there on which port it answers, when it
had its first assignment, and that no restart would mend its end; and it ends when the supervisor's end is closed, which
the system does also for a supervisor that was killed.
"""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
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
from processor.settings import HttpSettings

log = structlog.get_logger()

_LOOK_S: Final = 0.1
_ANSWER_S: Final = 0.8  # under the second that Kubernetes gives a probe by default
_STOP_S: Final = 9.5  # all stop within 10 s; the engine's own patience ends before
_FIRST_BACK_OFF_S: Final = 0.2  # a killed worker's readers go on within 2 s, its start included
_LONGEST_BACK_OFF_S: Final = 30.0
_HEARD_LIMIT_BYTES: Final = 65_536  # read of a worker at once, and the longest line
_LAST_READS: Final = 16  # of an ended worker: more than the system buffers
_SHORTAGES: Final = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})  # shortages that pass
_SETTLED_S: Final = 30.0  # a worker that lived so long begins again with the first back-off
_OUR_FAULT: Final = InternalError.exit_code
_WORLD: Final = DependencyError.exit_code
_USAGE_CODE: Final = UsageError.exit_code


class Told:
    """The worker's end: tells its supervisor, and ends this process when the supervisor is gone."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor` is the one inherited from the supervisor."""
        self._socket = socket.socket(fileno=descriptor)
        self._assigned = False
        threading.Thread(target=self._stop_when_alone, name="supervisor", daemon=True).start()

    def port(self, port: int) -> None:
        """On which port /health, /ready and /metrics are answered."""
        self._say(port=port)

    def assigned(self) -> None:
        """There was an assignment; told once."""
        if not self._assigned:
            self._assigned = True
            self._say(assigned=True)

    def final(self) -> None:
        """The end that follows is one that no restart mends."""
        self._say(final=True)

    def _say(self, **what: Any) -> None:
        with suppress(OSError):  # the supervisor is gone; the thread below sees to that
            self._socket.sendall(json.dumps(what).encode() + b"\n")

    def _stop_when_alone(self) -> None:
        with suppress(OSError):
            while self._socket.recv(1024):
                pass
        log.warning("the supervisor is gone, stopping")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_STOP_S)
        os._exit(_OUR_FAULT)


Command = Callable[[int, int], Sequence[str]]
"""The command line of a worker: from its number and the descriptor of its end."""


def worker_command(*, until_end: bool, start_from: str | None) -> Command:
    """`python -m processor run` with the options that workers share."""
    shared = [sys.executable, "-m", "processor", "run"]
    if until_end:
        shared.append("--until-end")
    if start_from is not None:
        shared += ["--start-from", start_from]
    return lambda number, descriptor: [*shared, "--worker", str(number), "--supervisor", str(descriptor)]


@dataclass(slots=True)
class Worker:
    """One of the N, through all its processes."""

    number: int
    process: "subprocess.Popen[bytes] | None" = None
    ear: socket.socket | None = None
    heard: bytearray = field(default_factory=bytearray)
    port: int | None = None
    was_assigned: bool = False  #: Ever, so that what it was told once is known to work.
    final: bool = False  #: Its process said that no restart would mend its end.
    started_at: float = 0.0
    start_at: float = 0.0  #: Of the next process, while there is none.
    back_off_s: float = 0.0
    last_code: int | None = None
    not_started: str = ""  #: Why its next process could not be made, while there is none.
    done: bool = False

    def listen(self) -> None:
        """Take in what the process has said so far, at most `_HEARD_LIMIT_BYTES`. Does not block.

        Other lines are logged and ignored: a library may write to whatever descriptor it finds.
        """
        if self.ear is None:
            return
        with suppress(BlockingIOError, ConnectionError):
            self.heard += self.ear.recv(_HEARD_LIMIT_BYTES)
        *lines, rest = bytes(self.heard).split(b"\n")
        self.heard = bytearray(rest[-_HEARD_LIMIT_BYTES:])
        others = []
        for line in lines:
            match _parse_line(line):
                case {"port": int(port)} if 0 < port < 65_536 and port is not True:
                    self.port = port
                case {"assigned": True}:
                    self.was_assigned = True
                case {"final": True}:
                    self.final = True
                case _:
                    others.append(line)
        if others:
            log.warning(
                "a worker wrote lines that mean nothing to its supervisor",
                number=self.number,
                count=len(others),
                first=repr(others[0][:100]),
            )

    def ended(self) -> int | None:
        """The exit code of a process that has just ended, a signal as its negative number; None while it runs."""
        if self.process is None or (code := self.process.poll()) is None:
            return None
        for _ in range(_LAST_READS):
            self.listen()
        if self.ear is not None:
            self.ear.close()
        self.process = self.ear = self.port = None
        self.heard.clear()
        self.last_code = code
        return code

    def may_restart(self, code: int) -> bool:
        """Whether another try may mend an end with `code`: a crash, or a world that was there before."""
        return code < 0 or code == _OUR_FAULT or (code == _WORLD and self.was_assigned and not self.final)


def supervise(
    http: HttpSettings,
    *,
    workers: int,
    command: Command,
    until_end: bool,
    listening: Callable[[Server], None] = lambda _server: None,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Run `workers` processes until SIGTERM or SIGINT, or until one ends in a way that no restart mends.

    Blocks; main thread only. The exit code: 0 for a clean stop, or with `until_end` when every worker ended with 0;
    else that of the worker that ended all. After SIGTERM all have ended within 10 s, those that had to be killed make
    the code 70. `listening` is told of the server that answers for all of them. Raises UsageError for a taken port.
    """
    supervisor = _Supervisor(
        [Worker(number) for number in range(1, workers + 1)],
        command=command,
        until_end=until_end,
        environment=dict(os.environ if environment is None else environment),
    )
    server = serve(http.host, http.port, registry=supervisor.registry, ready=supervisor.readiness)
    try:
        with _signals(supervisor.stop):
            listening(server)
            return supervisor.run()
    finally:
        supervisor.kill()
        server.close()
        supervisor.close()


class _Supervisor:
    """The loop, and what it answers on its port. Only the loop changes workers; other threads read them."""

    def __init__(
        self, workers: Sequence[Worker], *, command: Command, until_end: bool, environment: Mapping[str, str]
    ) -> None:
        self._workers = workers
        self._command = command
        self._until_end = until_end
        self._environment = {**environment, "PROCESSOR_HTTP__HOST": "127.0.0.1", "PROCESSOR_HTTP__PORT": "0"}
        self._stopping = False  # no Event: its lock is not for signal handlers
        self._asking = ThreadPoolExecutor(max_workers=max(1, len(workers)), thread_name_prefix="worker-http")
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy has no business between processes of one host
        self.registry = CollectorRegistry()
        self._metrics = Metrics(self.registry, SUPERVISOR)
        self.registry.register(_WorkersMetrics(self._ask_all))

    def stop(self) -> None:
        """Ask for a clean stop, from a signal handler."""
        self._stopping = True

    def run(self) -> int:
        """Until there is an exit code."""
        while not self._stopping:
            for worker in self._workers:
                code = self._look_after(worker)
                if code is not None:
                    return self._stopped(code)
            if all(worker.done for worker in self._workers):
                return 0
            time.sleep(_LOOK_S)
        return self._stopped(0)

    def _look_after(self, worker: Worker) -> int | None:
        """The code with which all have to stop, if this worker says so."""
        worker.listen()
        code = worker.ended()
        if code is not None:
            self._metrics[WORKER_UP].labels(worker=str(worker.number)).set(0)
            if code == 0 and self._until_end:
                worker.done = True
            elif worker.may_restart(code):
                self._restart_later(worker, code)
            else:
                log.info("a worker ended, stopping the others", number=worker.number, code=code)
                return code
        if worker.process is None and not worker.done and time.monotonic() >= worker.start_at:
            try:
                self._start(worker)
            except OSError as error:
                worker.not_started = str(error)
                if error.errno not in _SHORTAGES:
                    log.error(  # noqa: TRY400  a traceback says nothing more
                        "a worker cannot be started, stopping the others", number=worker.number, cause=str(error)
                    )
                    return _USAGE_CODE
                self._back_off(worker)
                log.warning(
                    "a worker cannot be started now, it is tried again",
                    number=worker.number,
                    cause=str(error),
                    after_s=worker.back_off_s,
                )
        return None

    def _restart_later(self, worker: Worker, code: int) -> None:
        self._back_off(worker)
        self._metrics[WORKER_RESTARTS].labels(worker=str(worker.number), code=str(code)).inc()
        log.warning("a worker died, it is started again", number=worker.number, code=code, after_s=worker.back_off_s)

    def _back_off(self, worker: Worker) -> None:
        now = time.monotonic()
        if now - worker.started_at >= _SETTLED_S or worker.back_off_s == 0:
            worker.back_off_s = _FIRST_BACK_OFF_S
        else:
            worker.back_off_s = min(2 * worker.back_off_s, _LONGEST_BACK_OFF_S)
        worker.start_at = now + worker.back_off_s

    def _start(self, worker: Worker) -> None:
        """Make its next process. Raises OSError when the system does not."""
        worker.started_at = time.monotonic()
        ear, mouth = socket.socketpair()
        ear.setblocking(False)
        try:
            worker.process = subprocess.Popen(  # noqa: S603  our own command line
                self._command(worker.number, mouth.fileno()),
                env=self._environment,
                stdin=subprocess.DEVNULL,
                pass_fds=[mouth.fileno()],
            )
        except BaseException:
            ear.close()
            raise
        finally:
            mouth.close()
        worker.ear, worker.final, worker.not_started = ear, False, ""
        self._metrics[WORKER_UP].labels(worker=str(worker.number)).set(1)
        log.info("worker started", number=worker.number, pid=worker.process.pid)

    def _stopped(self, code: int) -> int:
        """Stop all; `code`, or where that is 0 the first code of a worker that did not stop cleanly."""
        self._stopping = True
        codes = [_OUR_FAULT if ended < 0 else ended for ended in self._stop_all()]
        return code or next(filter(None, codes), 0)

    def _stop_all(self) -> Iterator[int]:
        """The code of each; 0 for one that our SIGTERM met before it could handle it."""
        running = [worker.process for worker in self._workers if worker.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + _STOP_S
        for process in running:
            try:
                code = process.wait(max(0.0, deadline - time.monotonic()))
                yield 0 if code == -signal.SIGTERM else code
            except subprocess.TimeoutExpired:
                log.error("a worker did not stop, it is killed", pid=process.pid)  # noqa: TRY400  no traceback of ours
                process.kill()
                yield process.wait()

    def kill(self) -> None:
        """No worker outlives the loop, whatever ended it."""
        for worker in self._workers:
            if worker.process is not None and worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()
            if worker.ear is not None:
                worker.ear.close()

    def close(self) -> None:
        """Give back threads and connections."""
        self._asking.shutdown(wait=False, cancel_futures=True)
        self._session.close()

    def readiness(self) -> Readiness:
        """Ready when every worker that is not done is. Blocks for less than a second."""
        if self._stopping:
            return Readiness(ready=False, reasons=("stopping",))
        answers = dict(self._ask_all("/ready"))
        reasons: list[str] = []
        ready, degraded = True, False
        for worker in self._workers:
            if worker.done:
                continue
            answer = answers.get(worker.number)
            told = _json(answer)
            ready = ready and told is not None and bool(told["ready"])
            degraded = degraded or (told is not None and bool(told["degraded"]))
            reasons += [
                f"worker {worker.number}: {reason}" for reason in (told["reasons"] if told else [_silent(worker)])
            ]
        return Readiness(ready, tuple(reasons), degraded=degraded)

    def _ask_all(self, path: str) -> Iterator[tuple[int, requests.Response]]:
        """The answers of those that answer, by number, asked at once."""
        ports = {worker.number: worker.port for worker in self._workers if worker.port is not None}
        asked = {number: self._asking.submit(self._ask, port, path) for number, port in ports.items()}
        for number, answer in asked.items():
            if (response := answer.result()) is not None:
                yield number, response

    def _ask(self, port: int, path: str) -> requests.Response | None:
        try:
            return self._session.get(f"http://127.0.0.1:{port}{path}", timeout=_ANSWER_S)
        except requests.RequestException:
            return None


def _parse_line(line: bytes) -> object:
    """What a line of JSON says; None when it is no JSON."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _json(answer: requests.Response | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    told: dict[str, Any] = {"ready": False, "degraded": False, "reasons": [], **answer.json()}
    return told


def _silent(worker: Worker) -> str:
    if worker.not_started:
        return f"cannot be started now: {worker.not_started}"
    if worker.process is None:
        return f"ended with {worker.last_code}, is started again"
    return "starting" if worker.port is None else "does not answer"


class _AskAll(Protocol):
    def __call__(self, path: str, /) -> Iterator[tuple[int, requests.Response]]: ...


class _WorkersMetrics(Collector):
    """The workers' metrics as one: each sample with the label `worker`."""

    def __init__(self, ask_all: _AskAll) -> None:
        self._ask_all = ask_all

    def describe(self) -> list[Family]:
        """Nothing: to ask the workers while being registered would be too early."""
        return []

    def collect(self) -> Iterator[Family]:
        """Ask the workers, all at once; one that has no figures is left out."""
        families: dict[str, Family] = {}
        for number, answer in self._ask_all("/metrics"):
            if not answer.ok:
                continue
            for family in text_string_to_metric_families(answer.text):
                merged = families.setdefault(family.name, Family(family.name, family.documentation, family.type))
                for sample in family.samples:
                    merged.add_sample(sample.name, {**sample.labels, "worker": str(number)}, sample.value)
        yield from families.values()


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT ask for a stop while the block runs."""
    before = {number: signal.signal(number, lambda *_: stop()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
