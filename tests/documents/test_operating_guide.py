"""The guide for operators: its commands, settings, grants and answers are those of the program."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from processor import errors
from processor.cli.main import exit_code
from processor.kafka.local.kafka import local_kafka
from processor.kafka.local.ports import free_ports
from processor.observability.metrics import metrics_table
from processor.settings import load_settings, settings_table
from tests.documents.pages import GUIDES, ROOT, snippets, typed_lines
from tests.documents.walkthrough import section, type_line
from tests.support.clients import logged
from tests.support.waiting import wait_until

PAGE = GUIDES / "operating.md"
TEXT = PAGE.read_text()
(SETTINGS_FILE,) = snippets(PAGE, "toml")
PAGES = [GUIDES / f"{name}.md" for name in ("operating", "consuming", "reference-tables")]


# ---------------------------------------------------------------------------------------------- from nothing to running


@contextmanager
def running(line: str, address: str) -> Iterator[None]:
    """`processor run …` in a process of its own that is ready; it is stopped with SIGTERM, and has to end with 0."""
    words = [sys.executable, "-m", "processor", *shlex.split(line)[1:]]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: is_ready(address), timeout_s=60)
            yield
            process.terminate()
            assert 0 == process.wait(15)
        finally:
            process.kill()


def is_ready(address: str) -> bool:
    """Whether /ready responds with 200."""
    try:
        return httpx.get(f"http://{address}/ready").is_success
    except httpx.HTTPError:
        return False


@pytest.mark.kafka
@pytest.mark.process
def test_the_commands(
    bootstrap_servers: str,
    topic_prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each ends with 0, typed one after the other, but a dry run, which ends with 1; `run` becomes ready as shown, and
    each command of the list of questions runs."""
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    monkeypatch.setenv("PROCESSOR_TENANT", "northbank")
    monkeypatch.setenv("PROCESSOR_KAFKA__BOOTSTRAP_SERVERS", bootstrap_servers)
    monkeypatch.setenv("PROCESSOR_TOPICS__PREFIX", topic_prefix)
    monkeypatch.setenv("PROCESSOR_HTTP__PORT", str(port))
    monkeypatch.setenv("PROCESSOR_STATE_DIR", str(tmp_path))
    codes = {}
    shown = []
    for line in typed_lines(PAGE):
        if line.startswith("processor run"):
            with running(line, address):
                shown.append(httpx.get(f"http://{address}/ready").text)
        else:
            codes[line], _ = type_line(line, monkeypatch, capsys)
    questions = [command for command in question_commands() if not command.startswith("processor run")]
    found = {command: type_line(command, monkeypatch, capsys)[0] for command in questions}

    assert {"processor topics --grow 12": 1} == {line: code for line, code in codes.items() if code}
    assert 2 == len(shown)
    assert any(shown[0] in text for text in snippets(PAGE, "text"))
    assert set(found.values()) <= {0, 1, errors.InputError.exit_code}, found


def question_commands() -> list[str]:
    """The commands of the list of questions."""
    return re.findall(r"^\| [^|]+ \| `(processor [^`]+)` \| ", section(TEXT, "When something is wrong"), re.MULTILINE)


def test_the_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is taken as it is, and a table of the environment replaces its own."""
    file = tmp_path / "processor.toml"
    file.write_text(SETTINGS_FILE)
    monkeypatch.setenv("PROCESSOR_CONFIG", str(file))
    (of_environment,) = re.findall(r"^PROCESSOR_KAFKA__COMMON=(.*)$", TEXT, re.MULTILINE)

    settings = load_settings()
    assert ("northbank", "0.0.0.0") == (settings.tenant, settings.http.host)  # noqa: S104  as the document has it
    assert tomllib.loads(SETTINGS_FILE)["kafka"]["common"] == settings.kafka.common
    monkeypatch.setenv("PROCESSOR_KAFKA__COMMON", '{"security.protocol": "SSL"}')
    assert {"security.protocol": "SSL"} == load_settings().kafka.common
    monkeypatch.setenv("PROCESSOR_KAFKA__COMMON", of_environment)
    assert settings.kafka.common.keys() == load_settings().kafka.common.keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_settings_and_metrics_that_guides_name(page: Path) -> None:
    """Each PROCESSOR_… is a setting, and each processor_… a metric."""
    text = page.read_text().replace("PROCESSOR_SERVICE_HOST", "").replace("`PROCESSOR_PORT`", "")
    settings = {row.variable for row in settings_table()}
    metrics = {row.name for row in metrics_table()}

    assert set() == set(re.findall(r"\bPROCESSOR_\w+", text)) - settings
    assert set() == set(re.findall(r"\bprocessor_[a-z_]+", text)) - metrics


# ---------------------------------------------------------------------------------------------- when something is wrong


def test_exit_codes() -> None:
    """The table has every exit code that an error of ours has, and 0 and 1."""
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.FatalError)]

    assert {0, 1} | {kind.exit_code for kind in kinds} == documented


def test_reasons_of_ready() -> None:
    """The words of each reason that the guide lists stand in a text of the program."""
    code = "\n".join(path.read_text() for path in sorted((ROOT / "processor").rglob("*.py")))
    listed = re.findall(
        r"^\| (`.*`) \| ", TEXT.partition("### What /ready says")[2].partition("\n### ")[0], re.MULTILINE
    )
    reasons = [reason for cell in listed for reason in re.findall("`(.+?)`", cell)]
    words = [part for reason in reasons for part in re.split(r"\b(?:N|ID|KEY|TOPIC|OFFSET)\b|…", reason)]

    assert len(reasons) > 13
    assert [] == [part for part in words if part.strip(" :,") and part.strip(" :,") not in code]


# --------------------------------------------------------------------------------------------------------------- grants

PASSWORD = "secret"
Grant = tuple[ResourceType, ResourcePatternType, str, AclOperation]


def grants() -> Mapping[str, frozenset[Grant]]:
    """The guide's table: the grants of each command."""
    lines = section(TEXT, "Security").partition("| Resource |")[2].partition("\n\n")[0].splitlines()
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    found: dict[str, set[Grant]] = {}
    for column, heading in enumerate(head):
        for command in re.findall("`(.+?)`", heading):
            found[command] = {
                (*resource, operation)
                for row in rows
                for resource in resources(row[0])
                for operation in map(AclOperation.__getitem__, filter(None, row[column + 1].split(", ")))
            }
    return {command: frozenset(granted) for command, granted in found.items()}


def resources(cell: str) -> list[tuple[ResourceType, ResourcePatternType, str]]:
    """The resources that the first cell of a row names."""
    kind = {
        "topic": ResourceType.TOPIC,
        "topics": ResourceType.TOPIC,
        "group": ResourceType.GROUP,
        "transactional ids": ResourceType.TRANSACTIONAL_ID,
    }[cell.partition(" `")[0]]
    return [
        (kind, ResourcePatternType.PREFIXED if name.endswith("*") else ResourcePatternType.LITERAL, name.rstrip("*"))
        for name in re.findall("`(.+?)`", cell)
    ]


def user_of(command: str) -> str:
    """Who calls a command, and has its grants alone."""
    return re.sub(r"\W+", "-", command)


@pytest.fixture(scope="module")
def guarded_broker() -> Iterator[tuple[str, str]]:
    """A broker that allows nothing but what is granted: its address for everything, and that for users."""
    plain, controller, sasl = free_ports(3)
    host = "127.0.0.1"
    clients = f"BROKER://{host}:{plain},SASL://{host}:{sasl}"
    users = " ".join(f'user_{user_of(command)}="{PASSWORD}"' for command in grants())
    extra = {
        "listeners": f"{clients},CONTROLLER://{host}:{controller}",
        "advertised.listeners": clients,
        "controller.quorum.voters": f"1@{host}:{controller}",
        "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl.plain.sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule required "
        f"{users};",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    with local_kafka(port=plain, extra=extra):
        yield f"{host}:{plain}", f"{host}:{sasl}"


def give(servers: str, user: str, granted: frozenset[Grant]) -> None:
    """Grant what a command needs."""
    admin = AdminClient(logged({"bootstrap.servers": servers}))
    rules = [
        AclBinding(kind, name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
        for kind, pattern, name, operation in granted
    ]
    for created in admin.create_acls(rules).values():
        created.result(10)


def call_as(user: str, line: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of a command that a user calls."""
    properties: dict[str, Any] = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": user,
        "sasl.password": PASSWORD,
    }
    monkeypatch.setenv("PROCESSOR_KAFKA__COMMON", json.dumps(properties))
    return exit_code(shlex.split(line))


STEPS = (  # column of the table, what is typed, its exit code
    ("topics --create", "topics --create --partitions 1", 0),
    ("produce", "produce --count 20", 0),
    ("run", "run --until-end", 0),
    ("produce", "produce --count 5 --seed 2", 0),
    ("positions", "positions --to end --yes --because skipped", 0),
    ("replay", "replay --partition 0", 1),
    ("replay", "replay --partition 0 --yes", 0),
    ("redrive", "redrive", 0),
    ("redrive", "redrive --yes", 1),
    ("explain", "explain --at 0:1", 0),
    ("dead-letters", "dead-letters", 1),
    ("topics --grow", "topics --grow 2 --yes", 0),
)


@pytest.mark.kafka
@pytest.mark.process
def test_grants(
    guarded_broker: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With what the table grants, and nothing else, each command does its work."""
    everything, servers = guarded_broker
    monkeypatch.chdir(tmp_path)
    for name, value in (("TENANT", "northbank"), ("KAFKA__BOOTSTRAP_SERVERS", servers), ("HTTP__PORT", "0")):
        monkeypatch.setenv(f"PROCESSOR_{name}", value)
    monkeypatch.setenv("PROCESSOR_STATE_DIR", str(tmp_path / "state"))
    for command, granted in grants().items():
        give(everything, user_of(command), granted)
    for command, line, code in STEPS:
        assert code == call_as(user_of(command), line, monkeypatch), (line, capsys.readouterr().err)
        if command == "topics --create":
            producer = Producer(logged({"bootstrap.servers": everything}))
            producer.produce("banking.events", b"no event", "key", 0)
            assert 0 == producer.flush(30)

    assert grants().keys() == {command for command, _, _ in STEPS}
