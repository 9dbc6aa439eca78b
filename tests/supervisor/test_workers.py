"""N processes as one: what restarts, what stops all, and that no worker outlives its supervisor."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

import processor
from processor.errors import UsageError
from processor.observability.http import Server
from processor.settings import HttpSettings
from processor.supervisor.link import Command, worker_command
from processor.supervisor.workers import supervise
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process

FREE_PORT = HttpSettings(port=0)

PRELUDE = """
import os, signal, sys, time
from pathlib import Path
from prometheus_client import CollectorRegistry
from processor.observability.http import Readiness, serve
from processor.observability.metrics import TRANSACTION_DURATION_SECONDS, RECORDS, Metrics
from processor.supervisor.link import SupervisorLink

number, link, seen = int(sys.argv[1]), SupervisorLink(int(sys.argv[2])), Path(sys.argv[3])
attempt = len(list(seen.glob(f"{number}-*"))) + 1
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
(seen / f"{number}-{attempt}").write_text(str(os.getpid()))

def forever():
    while True:
        time.sleep(0.05)
"""


@pytest.fixture
def command(tmp_path: Path) -> Callable[[str], Command]:
    """Workers that run a few lines of Python. Each process leaves a file `{number}-{attempt}` with its pid."""

    script, seen = tmp_path / "worker.py", tmp_path / "seen"
    seen.mkdir()

    def of(lines: str) -> Command:
        script.write_text(PRELUDE + textwrap.dedent(lines))
        return lambda number, descriptor: [sys.executable, str(script), str(number), str(descriptor), str(seen)]

    return of


@pytest.fixture(autouse=True)
def _import_path_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script's own folder is first on its path, not ours."""
    monkeypatch.setenv("PYTHONPATH", str(Path(processor.__file__).parents[1]))


@pytest.fixture(autouse=True)
def _ignore_late_signals() -> Iterator[None]:
    """Outside of `supervise` a SIGTERM of ours must not end the tests."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def started(tmp_path: Path) -> Callable[[], list[str]]:
    """The processes so far, as `{number}-{attempt}`, sorted."""
    return lambda: sorted(path.name for path in (tmp_path / "seen").iterdir() if path.read_text())


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Callable[[str], int]]:
    """The pid of a process. Whatever a failed test has left is killed."""
    yield lambda attempt: int((tmp_path / "seen" / attempt).read_text())
    for path in (tmp_path / "seen").glob("*"):
        with suppress(ProcessLookupError, ValueError):
            os.kill(int(path.read_text()), signal.SIGKILL)


def stop_when(condition: Callable[[], bool], *, timeout_s: float = 60.0) -> threading.Thread:
    """Send ourselves SIGTERM, as a system does to its supervisor, once `condition` holds."""

    def wait() -> None:
        try:
            wait_until(condition, timeout_s=timeout_s)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def has_ended(pid: int) -> bool:
    """Whether the process has ended."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_signal_stops_all_cleanly(
    command: Callable[[str], Command], started: Callable[[], list[str]], pids: Callable[[str], int]
) -> None:
    """SIGTERM ends every worker, and the code is 0."""
    stopper = stop_when(lambda: started() == ["1-1", "2-1", "3-1"])
    code = supervise(FREE_PORT, workers=3, command=command("forever()"), until_end=False)
    stopper.join()

    assert 0 == code
    assert ["1-1", "2-1", "3-1"] == started()
    assert all(has_ended(pids(attempt)) for attempt in started())


@pytest.mark.parametrize("end", ["os._exit(70)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_crashed_worker_is_restarted(
    command: Callable[[str], Command], started: Callable[[], list[str]], end: str
) -> None:
    """An internal error and a signal cost one process of that worker and touch no other."""
    stopper = stop_when(lambda: "2-3" in started())
    code = supervise(
        FREE_PORT, workers=2, command=command(f"if number == 2 and attempt < 3: {end}\nforever()"), until_end=False
    )
    stopper.join()

    assert 0 == code
    assert ["1-1", "2-1", "2-2", "2-3"] == started()


@pytest.mark.parametrize("failure", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE])
def test_a_process_that_cannot_be_created_is_retried(
    command: Callable[[str], Command], started: Callable[[], list[str]], failure: int
) -> None:
    """A system that is short of something for a moment costs that worker time, and no other worker anything."""
    of_script = command("if number == 2 and attempt == 1: os._exit(70)\nforever()")
    tries: list[float] = []

    def failing(number: int, descriptor: int) -> Sequence[str]:
        if "2-1" in started() and number == 2 and len(tries) < 3:
            tries.append(time.monotonic())
            raise OSError(failure, os.strerror(failure))
        return of_script(number, descriptor)

    stopper = stop_when(lambda: "2-2" in started())
    code = supervise(FREE_PORT, workers=2, command=failing, until_end=False)
    stopper.join()

    assert 0 == code
    assert ["1-1", "2-1", "2-2"] == started()
    first, second, third = tries
    assert 0.3 < second - first < third - second


def test_a_supervisor_without_descriptors_starts_workers_later(
    command: Callable[[str], Command], started: Callable[[], list[str]], tmp_path: Path
) -> None:
    """EMFILE for real, of the pair of sockets: no descriptor is left while a worker is to be started again."""
    command("if number == 2 and attempt == 1: time.sleep(0.5); os._exit(70)\nforever()")
    script = tmp_path / "supervisor.py"
    script.write_text(
        textwrap.dedent("""
            import resource, sys, threading, time
            from pathlib import Path
            from processor.supervisor.workers import supervise
            from processor.settings import HttpSettings

            worker, seen = sys.argv[1:]

            def lower():
                while not (Path(seen) / "2-1").exists():
                    time.sleep(0.02)
                limits = resource.getrlimit(resource.RLIMIT_NOFILE)
                resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
                time.sleep(2)
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)

            threading.Thread(target=lower).start()
            command = lambda number, fd: [sys.executable, worker, str(number), str(fd), seen]
            sys.exit(supervise(HttpSettings(port=0), workers=2, command=command, until_end=False))
        """)
    )
    supervisor = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "worker.py"), str(tmp_path / "seen")],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: "2-2" in started())
        supervisor.terminate()
        logged, _ = supervisor.communicate(timeout=20)
    finally:
        supervisor.kill()
        supervisor.wait()

    assert 0 == supervisor.returncode
    assert "Too many open files" in logged
    assert ["1-1", "2-1", "2-2"] == started()


@pytest.mark.parametrize("interpreter", ["/nonexistent/python", "/etc/passwd"])
def test_an_interpreter_that_is_gone_stops_all(
    command: Callable[[str], Command], started: Callable[[], list[str]], tmp_path: Path, interpreter: str
) -> None:
    """No later try helps, a person has to: 2, and the other workers are stopped cleanly, not killed."""
    of_script = command("""
        signal.signal(signal.SIGTERM, lambda *_: ((seen.parent / f"clean-{number}").touch(), sys.exit(0)))
        if number == 2: os._exit(70)
        (seen.parent / "up").touch()
        forever()
    """)

    def missing_later(number: int, descriptor: int) -> Sequence[str]:
        if number == 2 and "2-1" in started():
            wait_until((tmp_path / "up").exists)
            return [interpreter, "x"]
        return of_script(number, descriptor)

    assert 2 == supervise(FREE_PORT, workers=2, command=missing_later, until_end=False)
    assert (tmp_path / "clean-1").exists()


@pytest.mark.parametrize(
    "noise",
    [
        b"\xff\xfe\n",
        b"no json\n",
        b"[1, 2]\n",
        b"null\n",
        b"[" * 60_000 + b"\n",
        b"x" * 3_000_000 + b"\n",
    ],
    ids=["no text", "no JSON", "list", "null", "deep", "endless"],
)
def test_noise_from_a_worker_is_ignored(
    command: Callable[[str], Command], started: Callable[[], list[str]], tmp_path: Path, noise: bytes
) -> None:
    """Lines that are no status (of a library that writes to each descriptor, say) have no effect."""
    (tmp_path / "noise").write_bytes(noise)
    lines = """
        if number == 1 and attempt == 1:
            link._socket.sendall((seen.parent / "noise").read_bytes())
            link.report_assignment()  # without this it is not started again
            sys.exit(3)
        forever()
    """
    stopper = stop_when(lambda: {"1-2", "2-1"} <= set(started()))
    code = supervise(FREE_PORT, workers=2, command=command(lines), until_end=False)
    stopper.join()

    assert 0 == code
    assert ["1-1", "1-2", "2-1"] == started()


@pytest.mark.parametrize("code", [1, 2, 4, 5])
def test_a_permanent_error_stops_all(
    command: Callable[[str], Command], started: Callable[[], list[str]], pids: Callable[[str], int], code: int
) -> None:
    """Settings, fencing, refused input: all stop, and the code is the worker's."""
    lines = f"""
        while len(list(seen.iterdir())) < 2: time.sleep(0.02)
        if number == 1: sys.exit({code})
        forever()
    """

    assert code == supervise(FREE_PORT, workers=2, command=command(lines), until_end=False)
    assert ["1-1", "2-1"] == started()
    assert has_ended(pids("2-1"))


def test_a_lost_dependency_is_retried_only_once_it_was_there(
    command: Callable[[str], Command], started: Callable[[], list[str]]
) -> None:
    """A worker that ends with 3 is started again if it ever had an assignment, in an earlier process too."""
    stopper = stop_when(lambda: "1-4" in started())
    lines = """
        if attempt == 1: link.report_assignment()
        link.report_port(1)
        if attempt < 4: sys.exit(3)
        forever()
    """
    code = supervise(FREE_PORT, workers=1, command=command(lines), until_end=False)
    stopper.join()

    assert 0 == code
    assert "1-4" in started()


def test_a_dependency_that_was_never_there_stops_all(
    command: Callable[[str], Command], started: Callable[[], list[str]]
) -> None:
    """No broker from the start is for a person."""
    assert 3 == supervise(FREE_PORT, workers=1, command=command("sys.exit(3)"), until_end=False)
    assert ["1-1"] == started()


def test_refused_authorisation_is_never_retried(
    command: Callable[[str], Command], started: Callable[[], list[str]]
) -> None:
    """Also not by a worker that had an assignment: somebody took the right away, and has to give it back."""
    lines = "link.report_assignment(); link.report_no_restart(); sys.exit(3)"

    assert 3 == supervise(FREE_PORT, workers=1, command=command(lines), until_end=False)
    assert ["1-1"] == started()


def test_a_worker_that_stalls_stops_all(command: Callable[[str], Command], started: Callable[[], list[str]]) -> None:
    """`--until-end` gives up with 3, though it had an assignment: another try would only begin the minute again."""
    lines = """
        from processor import errors, settings
        from processor.cli.run import run_engine
        from processor.engine import loop as engine

        def run(*_, **__):
            link.report_assignment()
            raise errors.StalledError("no progress for 60 s")

        engine.run = run
        given = settings.Settings(http=settings.HttpSettings(port=0))
        try:
            run_engine(given, until_end=True, start_from=None, supervisor=os.dup(int(sys.argv[2])))
        except errors.StalledError as error:
            sys.exit(error.exit_code)
    """

    assert 3 == supervise(FREE_PORT, workers=1, command=command(lines), until_end=True)
    assert ["1-1"] == started()


def test_until_end_is_over_when_every_worker_is_done(
    command: Callable[[str], Command], started: Callable[[], list[str]]
) -> None:
    """A worker that is done is left, one that crashed is started again, and then all are done: 0."""
    lines = "if number == 1 and attempt == 1: os._exit(70)"

    assert 0 == supervise(FREE_PORT, workers=2, command=command(lines), until_end=True)
    assert ["1-1", "1-2", "2-1"] == started()


def test_a_worker_that_ends_by_itself_stops_all(command: Callable[[str], Command], pids: Callable[[str], int]) -> None:
    """Somebody stopped one worker: without --until-end they end as one, with its 0."""
    lines = """
        while len(list(seen.iterdir())) < 2: time.sleep(0.02)
        if number == 1: sys.exit(0)
        forever()
    """

    assert 0 == supervise(FREE_PORT, workers=2, command=command(lines), until_end=False)
    assert has_ended(pids("2-1"))


def test_a_worker_that_does_not_stop_is_killed_within_ten_seconds(
    command: Callable[[str], Command], pids: Callable[[str], int], tmp_path: Path
) -> None:
    """And the end was not clean: 70."""
    requested_at: list[float] = []

    def ready() -> bool:
        if (tmp_path / "ignores-sigterm").exists():
            requested_at.append(time.monotonic())
        return bool(requested_at)

    stopper = stop_when(ready)
    lines = 'signal.signal(signal.SIGTERM, signal.SIG_IGN)\n(seen.parent / "ignores-sigterm").touch()\nforever()'
    code = supervise(FREE_PORT, workers=1, command=command(lines), until_end=False)
    duration_s = time.monotonic() - requested_at[0]
    stopper.join()

    assert 70 == code
    assert duration_s < 10
    assert has_ended(pids("1-1"))


def test_no_worker_outlives_a_killed_supervisor(
    command: Callable[[str], Command], pids: Callable[[str], int], tmp_path: Path
) -> None:
    """SIGKILL leaves the supervisor no time to send anything; its workers stop all the same, by their own SIGTERM."""
    command("""
        signal.signal(signal.SIGTERM, lambda *_: ((seen.parent / f"clean-{number}").touch(), sys.exit(0)))
        (seen.parent / f"handles-sigterm-{number}").touch()
        forever()
    """)
    script = tmp_path / "supervisor.py"
    script.write_text(
        textwrap.dedent("""
            import sys
            from processor.supervisor.workers import supervise
            from processor.settings import HttpSettings

            worker, seen = sys.argv[1:]
            command = lambda number, fd: [sys.executable, worker, str(number), str(fd), seen]
            sys.exit(supervise(HttpSettings(port=0), workers=2, command=command, until_end=False))
        """)
    )
    supervisor = subprocess.Popen([sys.executable, str(script), str(tmp_path / "worker.py"), str(tmp_path / "seen")])
    wait_until(lambda: len(list(tmp_path.glob("handles-sigterm-*"))) == 2)
    supervisor.kill()
    supervisor.wait()

    wait_until(lambda: has_ended(pids("1-1")) and has_ended(pids("2-1")))
    assert {"clean-1", "clean-2"} == {path.name for path in tmp_path.glob("clean-*")}


SERVING = """
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics[RECORDS].labels(topic="banking.events", outcome="processed").inc(number)
    metrics[TRANSACTION_DURATION_SECONDS].observe(0.03)
    def ready():
        may = number == 1 or (seen.parent / "go").exists()
        return Readiness(may, () if may else ("window is being read",))

    server = serve("127.0.0.1", int(os.environ["PROCESSOR_HTTP__PORT"]), registry=registry, ready=ready)
    link.report_port(server.port)
    forever()
"""


def supervise_and_request(
    supervised: Callable[[Callable[[Server], None]], int], request: Callable[[httpx.Client], None]
) -> int:
    """Run a supervisor, call `request` with a client of its port in another thread, and stop it."""
    failures: list[BaseException] = []

    def on_listening(server: Server) -> None:
        def run_request() -> None:
            try:
                with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=5, trust_env=False) as client:
                    request(client)
            except BaseException as failure:
                failures.append(failure)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=run_request).start()

    code = supervised(on_listening)
    if failures:
        raise failures[0]
    return code


def test_one_port_shows_all_workers(command: Callable[[str], Command], tmp_path: Path) -> None:
    """/metrics has each worker's figures with its number, buckets too; /ready is ready when all are."""
    readiness: list[tuple[int, list[str]]] = []
    scraped: list[str] = []

    def request(client: httpx.Client) -> None:
        wait_until(lambda: client.get("/ready").json()["reasons"] == ["worker 2: window is being read"])
        (tmp_path / "go").touch()
        wait_until(lambda: client.get("/ready").status_code == 200)
        ready = client.get("/ready")
        readiness.append((ready.status_code, ready.json()["reasons"]))
        scraped.append(client.get("/metrics").text)

    def supervised(on_listening: Callable[[Server], None]) -> int:
        return supervise(FREE_PORT, workers=2, command=command(SERVING), until_end=False, on_listening=on_listening)

    assert 0 == supervise_and_request(supervised, request)
    assert [(200, [])] == readiness
    lines = scraped[0].splitlines()
    for number in "12":
        labels = f'outcome="processed",topic="banking.events",worker="{number}"'
        assert f"processor_records_total{{{labels}}} {number}.0" in lines
        assert f'processor_transaction_duration_seconds_bucket{{le="0.05",worker="{number}"}} 1.0' in lines
        assert f'processor_worker_up{{worker="{number}"}} 1.0' in lines
    names = [family.name for family in text_string_to_metric_families(scraped[0])]
    assert len(set(names)) == len(names)


def test_a_frozen_worker_makes_the_supervisor_not_ready(
    command: Callable[[str], Command], tmp_path: Path, pids: Callable[[str], int]
) -> None:
    """It does not respond within a probe's second, and the others' figures are still there."""
    (tmp_path / "go").touch()
    scraped: list[str] = []

    def request(client: httpx.Client) -> None:
        wait_until(lambda: client.get("/ready").status_code == 200)
        os.kill(pids("2-1"), signal.SIGSTOP)
        try:
            started_at = time.monotonic()
            assert ["worker 2: does not respond"] == client.get("/ready").json()["reasons"]
            assert time.monotonic() - started_at < 1
            scraped.append(client.get("/metrics").text)
        finally:
            os.kill(pids("2-1"), signal.SIGCONT)

    def supervised(on_listening: Callable[[Server], None]) -> int:
        return supervise(FREE_PORT, workers=2, command=command(SERVING), until_end=False, on_listening=on_listening)

    supervise_and_request(supervised, request)
    assert 'topic="banking.events",worker="1"' in scraped[0]
    assert 'topic="banking.events",worker="2"' not in scraped[0]


def test_a_taken_port_starts_no_worker(command: Callable[[str], Command]) -> None:
    """Exit 2 before any worker."""
    errors: list[str] = []

    def fail_to_start(_number: int, _descriptor: int) -> list[str]:
        raise AssertionError("a worker was started")

    def again(server: Server) -> None:
        port_in_use = HttpSettings(port=server.port)
        with pytest.raises(UsageError) as caught:
            supervise(port_in_use, workers=1, command=fail_to_start, until_end=False)
        errors.append(str(caught.value))
        os.kill(os.getpid(), signal.SIGTERM)

    supervise(FREE_PORT, workers=1, command=command("forever()"), until_end=True, on_listening=again)

    assert errors[0].startswith("cannot listen on 127.0.0.1:")


def test_workers_get_the_options_of_run() -> None:
    """Each is the same command with its number and its end of the pair."""
    options = worker_command(until_end=True, start_from="outputs")(3, 9)

    assert [sys.executable, "-m", "processor", "run", "--until-end", "--start-from", "outputs"] == list(options[:7])
    assert ["--worker", "3", "--supervisor", "9"] == list(options[7:])
