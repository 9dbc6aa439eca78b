"""A real terminal of any width: what a command writes to it."""

import fcntl
import os
import pty
import struct
import subprocess
import tempfile
import termios
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

_ROWS = 50
_TIMEOUT_S = 120.0
_OF_A_TERMINAL = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TERM")


class Finished(NamedTuple):
    """A command that has ended: its exit code, all that it wrote to the terminal, and stderr, which is none."""

    code: int
    screen: str
    errors: str


def run_on_terminal(
    command: Sequence[str], *, columns: int, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Finished:
    """Run `command` with stdin and stdout on a terminal of so many columns, until it ends; killed after 2 minutes.

    `environment` is added to that of this process, whose own terminal does not count.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in _OF_A_TERMINAL}
    variables = {**inherited, "TERM": "xterm-256color", **(environment or {})}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, columns, 0, 0))
    written = b""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            ["timeout", "--kill-after=5", str(_TIMEOUT_S), *command],
            stdin=theirs,
            stdout=theirs,
            stderr=errors,
            env=variables,
            cwd=cwd,
        )
        os.close(theirs)
        with suppress(OSError):  # how a terminal ends whose last writer has left
            while chunk := os.read(ours, 65_536):
                written += chunk
        os.close(ours)
        code = process.wait()
        errors.seek(0)
        return Finished(code, written.decode(errors="replace").replace("\r\n", "\n"), errors.read().decode())


def pretend_terminal(patch: pytest.MonkeyPatch, columns: int) -> None:
    """Have commands that are called within this process write as on a terminal of so many columns, without styles."""
    for name, value in (("TTY_COMPATIBLE", "1"), ("TERM", "dumb"), ("COLUMNS", str(columns))):
        patch.setenv(name, value)
