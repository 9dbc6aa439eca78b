"""Jars from Maven Central in the user's cache, those of Apache Kafka: fetched once, and again when they are damaged."""

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import ParseError

import platformdirs
from filelock import FileLock

from processor.errors import DependencyError, UsageError
from processor.settings import without_line_end

if TYPE_CHECKING:
    from jgo.maven import Artifact

KAFKA_VERSION: Final = "4.3.0"
_KAFKA: Final = f"Apache Kafka {KAFKA_VERSION}"
#: slf4j-simple writes the broker's log to stderr; its version is the one of the slf4j-api that Kafka 4.3.0 needs.
_KAFKA_COORDINATES: Final = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:1.7.36")

#: Names a folder of jars, or of an unpacked Apache Kafka, that is used as it is: nothing is fetched.
HOME_VARIABLE: Final = "PROCESSOR_KAFKA_HOME"

_MANIFEST: Final = "manifest.json"
_RESPONSE_TIMEOUT_S: Final = 20  # for one response of Maven Central, not for the whole
_PARALLEL_DOWNLOADS: Final = 4

Progress = Callable[[str], None]
Fetch = Callable[[Path, Progress], None]  # puts all jars into an empty folder, or raises


def from_maven_central(folder: Path, progress: Progress, *, name: str, coordinates: Sequence[str]) -> None:
    """Put the jars of `coordinates` and all that runs with them into `folder`; `name` is what people call them.

    Blocks for the download. Raises DependencyError. The Maven repository that jgo needs is a new one inside `folder`:
    jgo 3.2.0 trusts whatever file it finds in a shared one, a half of a download too.
    """
    progress(f"{name}: resolving its jars at Maven Central (once)")
    repository = folder / "repository"
    try:
        artifacts = _artifacts(repository, coordinates)
        with ThreadPoolExecutor(_PARALLEL_DOWNLOADS) as pool:
            for count, jar in enumerate(pool.map(_resolve, artifacts), start=1):
                jar.rename(folder / jar.name)
                progress(f"{name}: {count} of {len(artifacts)} jars fetched")
    except (OSError, RuntimeError, ValueError, AssertionError, ParseError) as error:
        # OSError: the network (jgo uses requests), or the disk. RuntimeError: not found. The others: another file than
        # was requested, such as the page of a proxy that wants a password.
        raise _fetch_error(name, str(error)) from error
    shutil.rmtree(repository)


kafka_from_maven_central: Final[Fetch] = partial(from_maven_central, name=_KAFKA, coordinates=_KAFKA_COORDINATES)


def missing_package(package: str) -> DependencyError:
    """What to raise where `package` is not installed: our container's image is without those of the local Kafka."""
    return DependencyError(
        f"a local Apache Kafka needs the package {package}, which is not installed here",
        hint=f"use the bootstrap servers of another one, or `pip install {package}`",
    )


def _artifacts(repository: Path, coordinates: Sequence[str]) -> "list[Artifact]":
    """All that runs with `coordinates`, each once. `jgo.build` would fetch a Java 11 besides, to find modules."""
    try:
        from jgo.maven import MavenContext  # noqa: PLC0415  not in every installation
    except ModuleNotFoundError as error:
        raise missing_package("jgo") from error
    context = MavenContext(repo_cache=repository, timeout=_RESPONSE_TIMEOUT_S)
    direct, transitive = context.resolver.resolve([context.create_dependency(name) for name in coordinates])
    runtime = [*direct, *(dependency for dependency in transitive if dependency.scope in ("compile", "runtime"))]
    return list({dependency.artifact.filename: dependency.artifact for dependency in runtime}.values())


def _resolve(artifact: "Artifact") -> Path:
    return artifact.resolve()


def kafka_jars(
    *,
    progress: Progress | None = None,
    cache: Path | None = None,
    fetch: Fetch = kafka_from_maven_central,
    environ: Mapping[str, str] = os.environ,
) -> tuple[Path, ...]:
    """The jars of Apache Kafka 4.3.0, absolute, sorted by name: one class path.

    `PROCESSOR_KAFKA_HOME` first; else `cache` (default: the user's cache directory), where every jar is compared with
    the digests written when it was fetched; a folder that is incomplete or damaged is deleted and fetched again. Two
    processes at once are fine: one fetches, the other waits for it. Blocks: 0.1 s when all is there, else as long as
    44 MB take.
    Raises UsageError for a home without Kafka's jars and for a user without a cache directory, DependencyError when
    Maven Central cannot be reached or used.
    """
    if home := without_line_end(environ.get(HOME_VARIABLE, "")):
        return _jars_of_home(Path(home))
    try:
        root = (cache or platformdirs.user_cache_path("processor")).resolve()
    except RuntimeError as error:  # neither HOME nor an entry in the system's list of users, as in some containers
        raise UsageError(
            "no folder for the jars of Apache Kafka: this user has no home directory",
            hint=f"set HOME, or {HOME_VARIABLE} to a folder of jars",
        ) from error
    return cached_jars(root / f"kafka-{KAFKA_VERSION}", fetch, progress or _ignore_progress, name=_KAFKA)


def cached_jars(folder: Path, fetch: Fetch, progress: Progress, *, name: str) -> tuple[Path, ...]:
    """What `fetch` has once put into `folder`, as `kafka_jars` has it; `name` is what people call the jars."""
    return _verified_jars(folder) or _fetch_jars(folder, fetch, progress, name)


def _jars_of_home(home: Path) -> tuple[Path, ...]:
    for folder in (home, home / "libs"):  # an unpacked Apache Kafka keeps its jars in libs/
        jars = tuple(sorted(folder.resolve().glob("*.jar")))
        if any(jar.name.startswith("kafka_2.13-") for jar in jars):
            return jars
    raise UsageError(
        f"{HOME_VARIABLE} has no Kafka: neither {home} nor its libs/ holds a kafka_2.13-*.jar",
        hint=f"name the folder of an unpacked Apache Kafka, or unset {HOME_VARIABLE} to fetch {KAFKA_VERSION}",
    )


def _verified_jars(folder: Path) -> tuple[Path, ...]:
    """The jars of `folder` if each is there with its digest; else none."""
    try:
        digests: dict[str, str] = json.loads((folder / _MANIFEST).read_bytes())
        jars = tuple(folder / name for name in sorted(digests))
        return jars if all(digests[jar.name] == _digest(jar) for jar in jars) else ()
    except (OSError, ValueError, AttributeError, TypeError):
        return ()


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fetch_jars(folder: Path, fetch: Fetch, progress: Progress, name: str) -> tuple[Path, ...]:
    """Fetch into a fresh folder beside `folder`, then put it in place by one rename; under a lock of all processes."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(folder.name + ".lock")):
            if jars := _verified_jars(folder):  # another process has fetched it while we waited for the lock
                return jars
            for stale in (folder, *folder.parent.glob(f"{folder.name}.part-*")):
                shutil.rmtree(stale, ignore_errors=True)
            part = Path(tempfile.mkdtemp(prefix=f"{folder.name}.part-", dir=folder.parent))
            try:
                fetch(part, progress)
                digests = {jar.name: _verified_digest(jar, name) for jar in sorted(part.glob("*.jar"))}
                (part / _MANIFEST).write_text(json.dumps(digests, indent=1))
                part.rename(folder)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise DependencyError(
            f"the cache of {name} cannot be written: {error}",
            hint=f"make {folder.parent} writable, or set {HOME_VARIABLE} to a folder of jars",
        ) from error
    return tuple(folder / name for name in digests)


def _verified_digest(jar: Path, name: str) -> str:
    """The digest of a jar whose every entry has its checksum. Raises DependencyError for another."""
    try:
        with zipfile.ZipFile(jar) as archive:
            if archive.testzip() is None:
                return _digest(jar)
    except zipfile.BadZipFile:
        pass
    raise _fetch_error(name, f"{jar.name} arrived damaged")


def _fetch_error(name: str, why: str) -> DependencyError:
    return DependencyError(
        f"{name} could not be fetched from Maven Central: {why}",
        hint="check the network, the proxy (HTTPS_PROXY) and, behind one that has a certificate of its own, "
        f"REQUESTS_CA_BUNDLE; or set {HOME_VARIABLE} to a folder of Kafka's jars",
    )


def _ignore_progress(_: str) -> None:
    return
