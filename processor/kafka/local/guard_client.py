"""The owner's end of the guard: starts it, gives it commands, and lets it go."""

import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from processor.errors import DependencyError, InternalError
from processor.kafka.local import guard

_GUARD_EXIT_TIMEOUT_S: Final = 5.0  # for the guard itself, beside the grace that java has


class Guard:
    """A guard process. Leaving the block ends java, within `grace_s` if it does not hang, and removes `folder`."""

    def __init__(self, *, log: Path, folder: Path, grace_s: float) -> None:
        self._log = log
        self._folder = folder
        self._grace_s = grace_s
        self._request_lock = threading.Lock()

    def __enter__(self) -> Self:
        # By its file and isolated (-I, -S): it starts the same whatever this process has for sys.path and environment.
        argv = ["-I", "-S", guard.__file__, str(self._log), str(self._folder), str(self._grace_s)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  our own program
                [sys.executable, *argv],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                umask=0o077,  # the broker's data are people's names and addresses
                start_new_session=True,  # Ctrl-C in the owner's terminal is the owner's alone
            )
        return self

    def request(self, do: str, **arguments: Any) -> dict[str, Any]:
        """The guard's response to one command (`guard.py` lists them). Blocks as long as that takes.

        Raises DependencyError when the guard is gone, and with it its java.
        """
        commands, responses = _pipe(self._process.stdin), _pipe(self._process.stdout)
        with self._request_lock, contextlib.suppress(BrokenPipeError):
            commands.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            commands.flush()
            if line := responses.readline():
                response: dict[str, Any] = json.loads(line)
                return response
        raise DependencyError("the guard of the local Apache Kafka has ended", hint="was it killed? start again")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process as process:  # closes its stdin, the sign to end, and waits
            with contextlib.suppress(BrokenPipeError):
                _pipe(process.stdin).close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self._grace_s + _GUARD_EXIT_TIMEOUT_S)
                return
            process.kill()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise InternalError("the guard was started without pipes")
    return stream
