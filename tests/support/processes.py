"""`processor run` as a process of its own, and what it shows on its port."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.support.installation import Installation


@contextmanager
def process(
    installation: Installation, *options: str, ends_with: int = 0, before: str = "", **environment: str
) -> "Iterator[tuple[subprocess.Popen[bytes], str]]":
    """`processor run` for this installation in a process of its own, which is ended with the block if it has not been;
    and the address of its HTTP server. `before`: code that the process runs first."""
    program = ["-c", f"{before}\nfrom processor.cli.main import main\nmain()"] if before else ["-m", "processor"]
    running = subprocess.Popen(
        [sys.executable, *program, "run", *options],
        env={**installation.env(), "PROCESSOR_OUTPUT__FORMAT": "json", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert running.stdout is not None
        yield running, running.stdout.readline().decode().strip().removeprefix("http=")
        if running.poll() is None:
            running.send_signal(signal.SIGTERM)
        assert ends_with == running.wait(15)
    finally:
        running.kill()
        running.communicate(timeout=15)


def metric(address: str, name: str) -> list[str]:
    """The values of a metric, one for each worker."""
    text = httpx.get(f"http://{address}/metrics").text
    return re.findall(rf"^{name}(?:{{worker=.*}})?( .*)$", text, re.MULTILINE)


def ready(address: str) -> dict[str, Any]:
    """The body of /ready."""
    status: dict[str, Any] = httpx.get(f"http://{address}/ready").json()
    return status
