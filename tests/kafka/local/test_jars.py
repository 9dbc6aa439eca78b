"""The cache of Kafka's jars: complete, or detected and fetched again."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from processor.errors import DependencyError, UsageError
from processor.kafka.local.jars import KAFKA_VERSION, Progress, kafka_jars

pytestmark = pytest.mark.process

#: Without the `PROCESSOR_KAFKA_HOME` that this session may have.
jars_from = partial(kafka_jars, environ={})

FOLDER = f"kafka-{KAFKA_VERSION}"

#: A process that fetches by copying, slowly, and notes each fetch. Arguments: source folder, cache, notes, pause in s.
SLOW_FETCH = """
import shutil, sys, time
from pathlib import Path
from processor.kafka.local.jars import kafka_jars

def copy(folder, progress):
    with open(sys.argv[3], "a") as notes:
        notes.write("fetch\\n")
    for jar in sorted(Path(sys.argv[1]).glob("*.jar")):
        shutil.copy(jar, folder)
        print(jar.name, flush=True)
        time.sleep(float(sys.argv[4]))

kafka_jars(cache=Path(sys.argv[2]), fetch=copy, environ={})
"""


@pytest.fixture(scope="session")
def real_jars() -> tuple[Path, ...]:
    """The jars that this machine has, fetched once for all its sessions."""
    return kafka_jars()


@pytest.fixture
def copy_jars(real_jars: tuple[Path, ...]) -> Callable[[Path, Progress], None]:
    """Fetches what Maven Central would give, from this machine's cache."""

    def copy(folder: Path, progress: Progress) -> None:
        for jar in real_jars:
            shutil.copy(jar, folder)
        progress("copied")

    return copy


def fail_on_fetch(folder: Path, _: Progress) -> None:
    """A fetch that must not happen."""
    raise AssertionError(f"fetched into {folder}")


def test_a_complete_cache_is_used_as_it_is(tmp_path: Path, copy_jars: Callable[[Path, Progress], None]) -> None:
    """What was fetched once is found again without a second fetch."""
    first = jars_from(cache=tmp_path, fetch=copy_jars)

    assert first == jars_from(cache=tmp_path, fetch=fail_on_fetch)
    assert any(jar.name == f"kafka_2.13-{KAFKA_VERSION}.jar" for jar in first)


@pytest.mark.parametrize(
    "harm", ["a jar cut short", "a jar missing", "a byte turned", "no manifest", "half a manifest"]
)
def test_a_broken_cache_is_repaired(tmp_path: Path, copy_jars: Callable[[Path, Progress], None], harm: str) -> None:
    """Whatever is wrong with the cache, the next call gives all jars, whole."""
    jars = jars_from(cache=tmp_path, fetch=copy_jars)
    contents = {jar.name: jar.read_bytes() for jar in jars}
    manifest = tmp_path / FOLDER / "manifest.json"
    match harm:
        case "a jar cut short":
            jars[0].write_bytes(contents[jars[0].name][:1000])
        case "a jar missing":
            jars[0].unlink()
        case "a byte turned":
            jars[0].write_bytes(contents[jars[0].name][:-1] + b"?")
        case "no manifest":
            manifest.unlink()
        case _:
            manifest.write_text(manifest.read_text()[:100])

    assert contents == {jar.name: jar.read_bytes() for jar in jars_from(cache=tmp_path, fetch=copy_jars)}


def test_a_killed_fetch_is_cleaned_up(
    tmp_path: Path, real_jars: tuple[Path, ...], copy_jars: Callable[[Path, Progress], None]
) -> None:
    """A fetch that is SIGKILLed half way leaves no half cache, and its left-over is gone after the next call."""
    killed = _start_fetch(real_jars, tmp_path, pause_s=60)
    assert killed.stdout is not None
    killed.stdout.readline()  # one jar is there
    killed.send_signal(signal.SIGKILL)
    killed.communicate()

    assert len(real_jars) == len(jars_from(cache=tmp_path, fetch=copy_jars))
    assert {FOLDER, f"{FOLDER}.lock"} == {path.name for path in tmp_path.iterdir() if path.suffix != ".notes"}


def test_two_processes_fetch_once(tmp_path: Path, real_jars: tuple[Path, ...]) -> None:
    """Of two processes that find the cache empty, one fetches and the other takes what that one has fetched."""
    both = [_start_fetch(real_jars, tmp_path, pause_s=0.02) for _ in range(2)]

    assert [0, 0] == [process.wait(60) for process in both if process.communicate()]
    assert "fetch\n" == (tmp_path / "fetches.notes").read_text()
    assert len(real_jars) == len(jars_from(cache=tmp_path, fetch=fail_on_fetch))


def test_a_jar_that_arrives_broken_is_refused(tmp_path: Path, copy_jars: Callable[[Path, Progress], None]) -> None:
    """A broken download is an error with a hint, and does not get into the cache."""

    def broken(folder: Path, progress: Progress) -> None:
        copy_jars(folder, progress)
        jar = next(folder.glob("scala-library-*.jar"))
        jar.write_bytes(jar.read_bytes()[:-5000])

    with pytest.raises(DependencyError, match=r"scala-library.* arrived damaged\nhint: "):
        jars_from(cache=tmp_path, fetch=broken)

    assert not (tmp_path / FOLDER).exists()


def test_no_way_to_maven_central(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network the error says what could not be fetched, and how to do without."""
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # the discard port: without a listener
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(
        DependencyError, match=r"(?s)could not be fetched from Maven Central.*hint: .*PROCESSOR_KAFKA_HOME"
    ):
        jars_from(cache=tmp_path)


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    """A cache directory that is a file is a clear error."""
    (tmp_path / "file").touch()

    with pytest.raises(DependencyError, match=r"cannot be written(?s:.*)hint: make "):
        jars_from(cache=tmp_path / "file", fetch=fail_on_fetch)


@pytest.mark.parametrize("below", ["", "libs"])
def test_kafka_home_is_used_as_it_is(tmp_path: Path, real_jars: tuple[Path, ...], below: str) -> None:
    """`PROCESSOR_KAFKA_HOME` may be a folder of jars or an unpacked Apache Kafka; nothing is fetched."""
    home = tmp_path / below
    home.mkdir(exist_ok=True)
    for jar in real_jars:
        (home / jar.name).symlink_to(jar)

    assert [jar.name for jar in real_jars] == [
        jar.name for jar in kafka_jars(fetch=fail_on_fetch, environ={"PROCESSOR_KAFKA_HOME": str(tmp_path)})
    ]


def test_kafka_home_without_kafka(tmp_path: Path) -> None:
    """A home without Kafka is an error that names the variable; the cache is not a silent second choice."""
    with pytest.raises(UsageError, match=r"PROCESSOR_KAFKA_HOME has no Kafka(?s:.*)hint: "):
        kafka_jars(fetch=fail_on_fetch, environ={"PROCESSOR_KAFKA_HOME": str(tmp_path)})


def _start_fetch(jars: tuple[Path, ...], cache: Path, *, pause_s: float) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-c", SLOW_FETCH, str(jars[0].parent), str(cache), str(cache / "fetches.notes")]
    return subprocess.Popen([*argv, str(pause_s)], stdout=subprocess.PIPE, text=True)
