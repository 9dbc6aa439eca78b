"""The socket pair between a worker process and its supervisor: both ends, and how a worker is started with it.

The worker writes lines of JSON: on which port it serves, when it had its first assignment, and that a restart would
not help after the end that follows. It ends when the supervisor's end is closed, which the system does also for a
supervisor that was killed.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any, Final

import structlog

from processor.errors import InternalError

log = structlog.get_logger()

SHUTDOWN_TIMEOUT_S: Final = 9.5  # all have stopped within 10 s; the engine's own deadline is before
_READ_LIMIT_BYTES: Final = 65_536  # read of a worker at once, and the longest line

Command = Callable[[int, int], Sequence[str]]
"""The command line of a worker: from its number and the descriptor of its end."""


class SupervisorLink:
    """The worker's end: reports to its supervisor, and ends this process when the supervisor is gone."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor` is the one inherited from the supervisor."""
        self._socket = socket.socket(fileno=descriptor)
        self._assigned = False
        threading.Thread(target=self._stop_when_alone, name="supervisor", daemon=True).start()

    def report_port(self, port: int) -> None:
        """On which port /health, /ready and /metrics are served."""
        self._report(port=port)

    def report_assignment(self) -> None:
        """There was an assignment; only the first call is sent."""
        if not self._assigned:
            self._assigned = True
            self._report(assigned=True)

    def report_no_restart(self) -> None:
        """A restart would not help after the end that follows."""
        self._report(noRestart=True)

    def _report(self, **status: Any) -> None:
        with suppress(OSError):  # the supervisor is gone; the thread below sees to that
            self._socket.sendall(json.dumps(status).encode() + b"\n")

    def _stop_when_alone(self) -> None:
        with suppress(OSError):
            while self._socket.recv(1024):
                pass
        log.warning("supervisor gone, stopping")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(SHUTDOWN_TIMEOUT_S)
        os._exit(InternalError.exit_code)


@dataclass(slots=True)
class WorkerLink:
    """The supervisor's end of one worker process, and what that process has reported."""

    number: int
    supervisor_socket: socket.socket  #: Does not block.
    port: int | None = None
    assigned: bool = False
    no_restart: bool = False
    buffer: bytearray = field(default_factory=bytearray)

    def read_status(self) -> None:
        """Take in what the process has reported so far, at most `_READ_LIMIT_BYTES`. Does not block.

        Other lines are logged and ignored: a library may write to whatever descriptor it finds.
        """
        with suppress(BlockingIOError, ConnectionError):
            self.buffer += self.supervisor_socket.recv(_READ_LIMIT_BYTES)
        *lines, rest = bytes(self.buffer).split(b"\n")
        self.buffer = bytearray(rest[-_READ_LIMIT_BYTES:])
        unknown = []
        for line in lines:
            match _parse_line(line):
                case {"port": int(port)} if 0 < port < 65_536 and port is not True:
                    self.port = port
                case {"assigned": True}:
                    self.assigned = True
                case {"noRestart": True}:
                    self.no_restart = True
                case _:
                    unknown.append(line)
        if unknown:
            log.warning(
                "unknown lines from worker", number=self.number, count=len(unknown), first=repr(unknown[0][:100])
            )

    def close(self) -> None:
        """Close the socket, which ends a worker that still runs."""
        self.supervisor_socket.close()


def _parse_line(line: bytes) -> object:
    """The value of a line of JSON; None when it is no JSON."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def worker_command(*, until_end: bool, start_from: str | None) -> Command:
    """`python -m processor run` with the options that workers share."""
    shared = [sys.executable, "-m", "processor", "run"]
    if until_end:
        shared.append("--until-end")
    if start_from is not None:
        shared += ["--start-from", start_from]
    return lambda number, descriptor: [*shared, "--worker", str(number), "--supervisor", str(descriptor)]


def start_worker(
    command: Command, number: int, *, environment: Mapping[str, str], log_file: IO[bytes] | None = None
) -> "tuple[subprocess.Popen[bytes], WorkerLink]":
    """Start a worker process. Raises OSError when the system does not.

    With a `log_file` its output goes there, and Ctrl-C in the terminal is not for it.
    """
    supervisor_socket, worker_socket = socket.socketpair()
    supervisor_socket.setblocking(False)
    with worker_socket:
        try:
            process = subprocess.Popen(  # noqa: S603  our own command line
                command(number, worker_socket.fileno()),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                pass_fds=[worker_socket.fileno()],
                start_new_session=log_file is not None,
            )
        except BaseException:
            supervisor_socket.close()
            raise
    return process, WorkerLink(number, supervisor_socket)
