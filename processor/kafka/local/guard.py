"""Stands between an owner and its java: when the owner ends, by SIGKILL too, java ends and its folder is removed.

The owner writes commands to our stdin, one JSON object in a line, and reads one response for each from our stdout:
`{"do": "run", "argv": […]}` → `{"code": N}` once it has ended; `{"do": "start", "argv": […]}` → `{"pid": N}`;
`{"do": "poll"}` → `{"code": N or null}`; `{"do": "end", "grace_s": S}` → `{"code": N or null}`. The end of stdin is the
owner's end. Only the standard library is imported: this file is run by itself, and has to start fast.
"""

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

_RUN_TIMEOUT_S: Final = 60.0
#: A forked child of the owner may hold our stdin open, so we also check whether our parent changed.
_OWNER_CHECK_INTERVAL_S: Final = 0.5
_PR_SET_PDEATHSIG: Final = 1


def main(log: str, folder: str, grace_s: float) -> None:
    """Serve the owner until it ends; then end java, by SIGTERM with `grace_s` if that is not 0, and remove `folder`.

    `log` takes what java writes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the owner to handle
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _exit_by_signal)
    java: subprocess.Popen[bytes] | None = None
    try:
        with Path(log).open("ab") as output:
            response: dict[str, int | None]
            for command in _commands():
                match command["do"]:
                    case "run":
                        java = _spawn(command["argv"], output.fileno())
                        response = {"code": java.wait(_RUN_TIMEOUT_S)}
                    case "start":
                        java = _spawn(command["argv"], output.fileno())
                        response = {"pid": java.pid}
                    case "poll":
                        response = {"code": java.poll() if java else None}
                    case _:
                        response = {"code": _end(java, command["grace_s"])}
                sys.stdout.write(json.dumps(response) + "\n")
                sys.stdout.flush()
    finally:
        _end(java, grace_s)
        shutil.rmtree(folder, ignore_errors=True)


def _commands() -> Iterator[dict[str, Any]]:
    """The owner's commands, until it has ended: its end of the pipe is closed, or we were given to another parent."""
    owner, rest = os.getppid(), b""
    while os.getppid() == owner:
        if not select.select([0], [], [], _OWNER_CHECK_INTERVAL_S)[0]:
            continue
        if not (chunk := os.read(0, 65536)):
            return
        *lines, rest = (rest + chunk).split(b"\n")
        yield from map(json.loads, lines)


def _spawn(argv: list[str], output: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  the owner's command
        argv,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        preexec_fn=_die_with_parent(),  # noqa: PLW1509  this process has one thread
    )


def _die_with_parent() -> Callable[[], None] | None:
    """What java does before it becomes java, so that a SIGKILL of the guard takes it along; Linux only (prctl(2))."""
    if sys.platform != "linux":
        return None
    libc, guard = ctypes.CDLL(None), os.getpid()

    def request_signal() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:  # the guard ended before the request
            os._exit(1)

    return request_signal


def _end(java: "subprocess.Popen[bytes] | None", grace_s: float) -> int | None:
    """End `java`, also a frozen one: SIGTERM, and SIGKILL after `grace_s`; at 0 SIGKILL at once. Its exit code."""
    if java is None:
        return None
    if grace_s > 0 and java.poll() is None:
        java.terminate()
        java.send_signal(signal.SIGCONT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return java.wait(grace_s)
    java.kill()
    return java.wait()


def _exit_by_signal(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
