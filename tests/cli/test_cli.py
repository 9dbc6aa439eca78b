"""The command line as its users meet it: texts on stderr, results on stdout, and the exit codes."""

import json
import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import httpx
import pytest

from processor.cli.main import exit_code, parser
from processor.domain.record import EventName
from processor.errors import UsageError
from processor.kafka.local.jars import kafka_jars
from processor.kafka.topic_admin import create_topics
from processor.settings import KafkaSettings, Settings, TopicSettings
from processor.tables.reader import store_folder

pytestmark = pytest.mark.process

COMMANDS = (
    *("demo", "run", "topics", "produce", "kafka"),
    *("check", "preview", "explain", "dead-letters", "redrive", "replay", "positions"),
    *("templates", "schemas", "settings"),
)


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This environment without any setting of the program, and with these."""
    clean = {name: value for name, value in os.environ.items() if not name.upper().startswith("PROCESSOR_")}
    return clean | {f"PROCESSOR_{name}": value for name, value in settings.items()}


def processor(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "processor", *arguments],
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@contextmanager
def running(*arguments: str, **settings: str) -> Iterator["subprocess.Popen[str]"]:
    """A command in the background; killed if the test leaves it running."""
    process = subprocess.Popen(
        [sys.executable, "-m", "processor", *arguments],
        env=environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    """`--help` says what it does and shows a command line that can be typed."""
    done = processor(command, "--help")

    assert (0, "") == (done.returncode, done.stderr)
    assert f"Usage: processor {command}" in done.stdout
    assert re.search(rf"Example: .*processor {command}", done.stdout)


def test_version() -> None:
    """One line, for reports of bugs."""
    done = processor("--version")

    assert (0, f"processor {version('processor')}\n", "") == (done.returncode, done.stdout, done.stderr)


def test_help_is_shown_without_a_command() -> None:
    """`processor` alone shows the commands, as `--help` does."""
    alone, with_help = processor(), processor("--help")

    assert (0, with_help.stdout) == (alone.returncode, alone.stdout)
    assert all(re.search(rf"^  {command} ", alone.stdout, re.MULTILINE) for command in COMMANDS)


def test_help_is_quick() -> None:
    """It loads no Kafka client, settings, Avro or validators: the modules show it, however slow the machine."""
    code = "import sys; from processor.cli import main; main.exit_code(['run', '--help']); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = done.stdout.splitlines()[-1]
    assert "'typer'" in loaded
    slow = ("confluent_kafka", "pydantic_settings", "fastavro", "phonenumbers", "email_validator")
    assert [] == [name for name in slow if f"'{name}'" in loaded]


def test_every_command_is_tested() -> None:
    """A new command needs a row here."""
    assert set(COMMANDS) == {c.name or c.callback.__name__ for c in parser.registered_commands if c.callback}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--bogus"], "no such option: --bogus\nhint: `processor --help` shows what there is\n"),
        (["run", "--bogus"], "no such option: --bogus\nhint: `processor run --help` shows what there is\n"),
        (
            ["produce", "--samples", "--count", "3"],
            "produce needs one of --file, --samples and --count\nhint: `processor produce --samples`\n",
        ),
        (["produce"], "produce needs one of --file, --samples and --count\nhint: `processor produce --samples`\n"),
        (["produce", "--samples", "--seed", "1"], "--seed makes sense with --count alone\nhint: leave it out\n"),
        (["topics", "--grow", "3", "--create"], "--grow stands alone\nhint: create first, grow then\n"),
        (
            ["replay", "--offsets", "9:3"],
            "--offsets 9:3 is empty: B is the first offset that is not taken, and above A\n",
        ),
        (
            ["replay", "--from", "1h", "--to", "2h"],
            "--from is not before --to: no time lies between\nhint: exchange the two\n",
        ),
        (
            ["replay", "--event", "LOAN_REPAYMET"],
            "--event LOAN_REPAYMET is no event; did you mean LOAN_REPAYMENT?\n",
        ),
        (
            ["replay", "--include-decided", "CONDITION_FALS"],
            (
                "--include-decided CONDITION_FALS is not a reason that can change; did you mean CONDITION_FALSE?\n"
                "hint: CHANNEL_DISABLED, CONDITION_FALSE, INACTIVE, NOT_SUBSCRIBED, NO_RECIPIENT\n"
            ),
        ),
        (["replay", "--rate", "0"], "--rate takes a number above 0\nhint: --rate 100 is a hundred events a second\n"),
        (
            ["replay", "--resume", "replay-20261129T075501Z-3f2a91c0"],
            "--resume goes with --yes\nhint: a dry run begins nothing, and has nothing to go on with\n",
        ),
        (
            ["topics", "--yes"],
            "--yes goes with --grow\nhint: --create creates what is missing and changes nothing else\n",
        ),
    ],
)
def test_a_wrong_command_line_is_explained(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, the error and a hint on stderr, nothing on stdout."""
    code = exit_code(arguments)

    assert (2, "", text) == (code, *capsys.readouterr())


def test_wrong_settings_are_a_usage_error() -> None:
    """Every command meets them before anything else, with exit 2 and all of them at once."""
    done = processor("check", TENNANT="x", HTTP__PORT="http")

    assert (2, "") == (done.returncode, done.stdout)
    assert [
        "PROCESSOR_TENNANT in the environment is not a setting",
        "hint: did you mean PROCESSOR_TENANT?",
        (
            "PROCESSOR_HTTP__PORT='http' in the environment: input should be a valid integer, "
            "unable to parse string as an integer"
        ),
        "hint: Port of /health, /ready and /metrics; 0: a free one, which is printed. Default: 8080",
    ] == done.stderr.splitlines()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "PROCESSOR_TENANT is not set\nhint: name the bank, as in PROCESSOR_TENANT=northbank\n"),
        (
            {"TENANT": "northbank"},
            (
                "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS is not set\n"
                "hint: `processor kafka` starts a local broker and prints where it listens\n"
            ),
        ),
    ],
)
def test_run_names_missing_settings_once(settings: dict[str, str], text: str) -> None:
    """Once, by the supervisor too, before any worker is started."""
    for arguments in (["run"], ["run", "--workers", "2"]):
        done = processor(*arguments, **settings)

        assert (2, "", text) == (done.returncode, done.stdout, done.stderr)


def test_an_invalid_start_from_is_reported_once() -> None:
    """Not by each worker."""
    done = processor(
        "run", "--workers", "3", "--start-from", "yesterday", TENANT="n", KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1"
    )

    assert 2 == done.returncode
    assert 1 == done.stderr.count("yesterday")


def test_a_port_in_use_stops_run() -> None:
    """Exit 2 with the port, before anything is consumed."""
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        occupied.listen()
        port = str(occupied.getsockname()[1])
        done = processor("run", TENANT="northbank", KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1", HTTP__PORT=port)

    assert (2, "") == (done.returncode, done.stdout)
    assert f"cannot listen on 127.0.0.1:{port}: address already in use\nhint: PROCESSOR_HTTP__PORT" in done.stderr


def test_topics_without_a_broker_is_a_dependency_error() -> None:
    """Exit 3 and where to look."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        servers = f"127.0.0.1:{closed.getsockname()[1]}"
        done = processor("topics", TENANT="northbank", KAFKA__BOOTSTRAP_SERVERS=servers)

    assert (3, "") == (done.returncode, done.stdout)
    assert "hint: check PROCESSOR_KAFKA__BOOTSTRAP_SERVERS" in done.stderr


def test_settings_are_shown_with_value_source_and_meaning() -> None:
    """For people: two lines a setting; a secret is masked."""
    done = processor("settings", MAX_STALL_S="30", SCHEMA_REGISTRY__PASSWORD="hunter2")

    assert (0, "") == (done.returncode, done.stderr)
    assert (
        "PROCESSOR_MAX_STALL_S = 30  (environment)\n"
        "    Seconds without progress until a partition with lag makes the process unready. Default: 60\n"
    ) in done.stdout
    assert "PROCESSOR_SCHEMA_REGISTRY__PASSWORD = **********  (environment)\n" in done.stdout
    assert "hunter2" not in done.stdout


def test_settings_as_json_are_one_object() -> None:
    """stdout's only line."""
    done = processor("settings", "--json", TENANT="northbank")

    rows = {row["variable"]: row for row in json.loads(done.stdout)["settings"]}
    assert 1 == done.stdout.count("\n")
    assert {
        "variable": "PROCESSOR_TENANT",
        "name": "tenant",
        "value": "northbank",
        "default": None,
        "source": "environment",
        "meaning": "The bank that this installation serves; required by run.",
    } == rows["PROCESSOR_TENANT"]


@pytest.mark.parametrize(
    "command", [("settings",), ("templates",), ("preview", "loan-repayment-email"), ("schemas", "check")]
)
def test_a_closed_output_pipe_ends_a_command_quietly(command: tuple[str, ...]) -> None:
    """`processor settings | head -1` ends quietly, with the code of a broken pipe; so do commands that print tables."""
    with running(*command) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdout = None
        _, errors = process.communicate(timeout=60)

    assert (128 + signal.SIGPIPE, "") == (process.returncode, errors)


def test_an_internal_error_is_logged_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 70 for an unforeseen exception; stdout stays clean."""

    def broken(**_: object) -> int:
        raise ZeroDivisionError("unforeseen")

    monkeypatch.setattr("processor.settings.settings_table", broken)
    code = exit_code(["settings"])

    output, errors = capsys.readouterr()
    assert (70, "") == (code, output)
    assert "internal error" in errors
    assert "ZeroDivisionError: unforeseen" in errors


def test_an_interrupt_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C on a command that does not handle it ends as a shell expects."""

    def interrupted(**_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("processor.settings.settings_table", interrupted)

    assert 130 == exit_code(["settings"])


@pytest.fixture
def installation(bootstrap_servers: str, topic_prefix: str) -> dict[str, str]:
    """The variables of an installation with topics of its own."""
    settings = Settings(
        tenant="northbank",
        kafka=KafkaSettings(bootstrap_servers=bootstrap_servers),
        topics=TopicSettings(prefix=topic_prefix),
    )
    streams = ("LOAN_REPAYMENT", "LOAN_REPAYMENT_REVERSAL", "SAVINGS_DEPOSIT")
    create_topics(settings, stream_events=map(EventName, streams), partitions=2)
    return {
        "TENANT": "northbank",
        "KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers,
        "TOPICS__PREFIX": topic_prefix,
        "HTTP__PORT": "0",
        "LOG__FORMAT": "json",
    }


def printed_address(process: "subprocess.Popen[str]") -> str:
    """The address that a process with port 0 prints."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("http="), line
    return "http://" + line.removeprefix("http=").strip()


def ready(address: str, *, within_s: float = 60) -> None:
    """Wait until /ready says 200."""
    deadline = time.monotonic() + within_s
    with httpx.Client(timeout=5, trust_env=False) as client:
        while (response := client.get(f"{address}/ready")).status_code != 200:
            assert time.monotonic() < deadline, response.text
            time.sleep(0.2)


@pytest.mark.kafka
def test_the_exit_code_of_topics_says_if_changes_remain(bootstrap_servers: str, topic_prefix: str) -> None:
    """1 while something is missing, 0 once it is created; a growth without `--yes` is a dry run, and still to do: 1."""
    variables = {
        "TENANT": "northbank",
        "KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers,
        "TOPICS__PREFIX": topic_prefix,
    }
    missing = processor("topics", **variables)
    created = processor("topics", "--create", "--partitions", "2", "--json", **variables)
    verified = processor("topics", **variables)
    grown = processor("topics", "--grow", "3", **variables)

    assert (1, 0, 0, 1) == tuple(done.returncode for done in (missing, created, verified, grown))
    assert "hint: `processor topics --create` creates what is missing" in missing.stdout
    assert f"{topic_prefix}banking.events" in json.loads(created.stdout)["created"]
    assert f"would grow {topic_prefix}banking.events from 2 to 3 partitions\norder: " in grown.stdout
    assert "hint: nothing was changed" in grown.stdout


@pytest.mark.kafka
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", [[], ["--workers", "2"]])
def test_a_running_processor_is_ready_and_stops_cleanly(
    installation: dict[str, str], number: signal.Signals, workers: list[str]
) -> None:
    """Port 0 is printed; ready once assigned; a signal ends it with 0 within 10 s, and its log is JSON throughout."""
    with running("run", *workers, **installation) as process:
        address = printed_address(process)
        ready(address)
        health = httpx.get(f"{address}/health", trust_env=False)
        asked_at = time.monotonic()
        process.send_signal(number)
        output, errors = process.communicate(timeout=20)
        took_s = time.monotonic() - asked_at

    assert 200 == health.status_code
    assert (0, "") == (process.returncode, output), errors
    assert took_s < 10
    assert all(json.loads(line)["event"] for line in errors.splitlines() if line.startswith("{"))


@pytest.mark.kafka
def test_a_killed_worker_is_replaced_and_events_are_mapped(installation: dict[str, str]) -> None:
    """SIGKILL costs one restart that can be seen; what is produced afterwards is mapped, and the whole stops with 0."""
    variables = installation | {"KAFKA__CONSUMER": '{"session.timeout.ms": 6000}'}
    with running("run", "--workers", "2", **variables) as process:
        address = printed_address(process)
        ready(address)
        with httpx.Client(base_url=address, timeout=5, trust_env=False) as client:
            os.kill(pid_of_a_worker(process), signal.SIGKILL)
            produced = processor("produce", "--count", "200", **variables)
            deadline = time.monotonic() + 60
            while (mapped := counter_total(client.get("/metrics").text, "processor_records_total")) < 200:
                assert time.monotonic() < deadline, mapped
                time.sleep(0.2)
            restarts = counter_total(client.get("/metrics").text, "processor_worker_restarts_total")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)

    assert 0 == produced.returncode
    assert 1 == restarts
    assert 0 == process.returncode


def counter_total(text: str, name: str) -> float:
    """The sum of a counter over all its labels."""
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name}{{"))


def pid_of_a_worker(supervisor: "subprocess.Popen[str]") -> int:
    """The pid of one child."""
    children = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children").read_text().split()
    return int(children[0])


@pytest.mark.kafka
@pytest.mark.parametrize("workers", [[], ["--workers", "2"]])
def test_until_end_exits_with_0(installation: dict[str, str], workers: list[str]) -> None:
    """One process or several, once everything that was there is mapped."""
    processor("produce", "--count", "50", **installation)
    done = processor("run", "--until-end", *workers, **installation)

    assert 0 == done.returncode, done.stderr


QUIET = (  # commands that connect to nothing, and that have a character outside of ASCII to show
    ("--help",),
    ("run", "--help"),
    ("explain", "LOAN_REPAYMENT"),
    ("explain", "LOAN_REPAYMENT", "--json"),
    ("preview", "loan-repayment-email"),
    ("preview", "loan-repayment-email", "--json"),
    ("templates",),
    ("templates", "--placeholders", "LOAN_REPAYMENT"),
    ("templates", "--placeholders", "LOAN_REPAYMENT", "--json"),
    ("check",),
    ("settings",),
    ("settings", "--json"),
)


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_output_in_any_encoding(encoding: str) -> None:
    """Characters that stdout's encoding has not are replaced, in every command, and JSON stays JSON."""
    for arguments in QUIET if encoding == "ascii" else (("explain", "LOAN_REPAYMENT"), ("settings",)):
        done = subprocess.run(
            [sys.executable, "-m", "processor", *arguments],
            env=environment({"TENANT": "northbank", "GROUP": "größe€"}) | {"PYTHONIOENCODING": encoding},
            capture_output=True,
            timeout=100,
            check=False,
        )
        assert (0, b"") == (done.returncode, done.stderr), arguments
        if "--json" in arguments:
            json.loads(done.stdout.decode("ascii"))


def test_errors_in_any_encoding() -> None:
    """Of stderr too: the text comes, and its exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "processor", "explain", "größe€"],
        env=environment({}) | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"},
        capture_output=True,
        timeout=100,
        check=False,
    )

    assert 2 == done.returncode
    assert b"is neither an event's name nor a file" in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_nothing_is_written_to_closed_streams(tmp_path: Path, closed: str) -> None:
    """A command does its work without them, and no file that it opens gets their numbers."""
    done = subprocess.run(
        [
            "sh",
            "-c",
            f'"{sys.executable}" -m processor templates --new note --event LOAN_REPAYMENT --type SMS {closed}',
        ],
        env=environment({"TEMPLATES_DIR": str(tmp_path)}),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert 'id = "note"' in (tmp_path / "note.toml").read_text()


def test_time_zones_need_no_tz_database_of_the_system() -> None:
    """The tz database comes with the program: bare machines and slim images have none."""
    done = subprocess.run(
        [sys.executable, "-m", "processor", "check"],
        env=environment({"TIME_ZONE": "Europe/Berlin"}) | {"PYTHONTZPATH": ""},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert (0, "") == (done.returncode, done.stderr)


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a container with a number for a user: exit 2, and what to set."""

    def closed(number: int) -> NoReturn:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", closed)
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(UsageError, match=r"no home directory\nhint: set PROCESSOR_STATE_DIR to"):
        store_folder(Settings(), "me")
    with pytest.raises(UsageError, match=r"no home directory\nhint: set HOME, or PROCESSOR_KAFKA_HOME"):
        kafka_jars(environ={})
    assert Path("/x/tables") == store_folder(Settings(state_dir=Path("/x")), "me").parent
