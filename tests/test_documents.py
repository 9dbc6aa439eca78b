"""Documents against the code: tables, links, file map, exit codes; the commands of the README are run."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import Producer

from processor import errors
from processor.cli.main import exit_code, parser
from processor.domain.advice import ADVICE, TEMPLATE_ADVICE
from processor.domain.catalogue import EVENTS, FAMILIES, ORDERING_KEYS, ordering_key
from processor.domain.event import value_at
from processor.domain.outcome import Processed
from processor.domain.output_topics import FixedOutput, OutputTopic
from processor.domain.record import EventName, OutRecord
from processor.domain.reference import Table
from processor.domain.template import template_set
from processor.mapping.reference import InvalidRow, parse_row
from processor.registry.schema_files import load_schemas
from processor.shipped import sample
from processor.templates.compile_conditions import OPERATORS
from processor.templates.load import SHIPPED, read_templates, require_usable
from processor.wire.encode import OutputEncoder
from processor.wire.template_sets import template_set_records
from processor.wire.wire_format import WireFormat
from tests.documents import DOCS, PAGES
from tests.support.builders import SMS_HEAD, make_context, make_record, make_template, map_record, schemas
from tests.support.clients import logged
from tests.support.events import repayment
from tests.support.installation import create_installation

ROOT = DOCS.parent
README = (ROOT / "README.md").read_text()
TOML = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
PROSE = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_are_generated_from_the_code(page: Path) -> None:
    """`python -m tests.documents` would change nothing."""
    assert PAGES[page]() == page.read_text()


@pytest.mark.parametrize("document", PROSE, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """Every link to a file of the project finds it."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text())

    assert [] == [link for link in links if not (document.parent / link).exists()]


def test_files_of_the_map_exist() -> None:
    """Every path in the file map of docs/design.md is there."""
    table = (DOCS / "design.md").read_text().partition("## Files")[2].partition("\n## ")[0]
    rows = [line.partition("|")[2].partition("|")[0] for line in table.splitlines() if line.startswith("| `")]
    paths = [path for row in rows for path in re.findall(r"`([^`]+)`", row)]

    assert len(paths) > 10
    assert [] == [path for path in paths if not (ROOT / path).exists()]


def test_the_map_names_every_file() -> None:
    """Each module of the program is named in the row of its folder; a command is one of "one file a command"."""
    table = (DOCS / "design.md").read_text().partition("## Files")[2].partition("\n## ")[0]
    rows = {row.split("`", 2)[1]: row for row in table.splitlines() if row.startswith("| `")}
    commands = {f"{(command.name or '').replace('-', '_')}.py" for command in parser.registered_commands}
    unnamed = []
    for module in sorted((ROOT / "processor").rglob("*.py")):
        path, folder = module.relative_to(ROOT).as_posix(), module.parent.relative_to(ROOT).as_posix()
        is_command = folder == "processor/cli" and module.name in commands
        text = table if folder == "processor" else rows.get(f"{folder}/", "")
        if (
            not is_command
            and not module.name.startswith("__")
            and not {f"`{module.name}`", f"`{path}`"} & set(re.findall(r"`[^`]+`", text))
        ):
            unnamed.append(path)

    assert [] == unnamed


def test_exit_codes_of_the_readme() -> None:
    """The table names every exit code that an error of ours has, and 0 and 1."""
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.FatalError)]

    assert documented == {0, 1} | {kind.exit_code for kind in kinds}


def test_the_template_of_the_readme_is_valid(tmp_path: Path) -> None:
    """It loads, with and without the conditions that are shown below it, so an author can begin with it."""
    snippet, conditions, *_ = TOML
    assert tomllib.loads(snippet)["id"] == "loan-repayment-email"
    for text, expected in ((snippet, 0), (snippet + conditions, 2)):
        (tmp_path / "loan-repayment-email.toml").write_text(text)
        templates = require_usable(read_templates(tmp_path, tenant="northbank", schemas=load_schemas()))
        (template,) = templates.for_event(EventName("LOAN_REPAYMENT"))

        assert ("loan-repayment-email", expected) == (template.id, len(template.conditions))


def test_the_sample_of_the_readme_is_valid(tmp_path: Path) -> None:
    """It passes for the template of the README, also where that is opted in; without a subscription there is none."""
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "loan-repayment.json").write_text((SHIPPED / "samples" / "loan-repayment.json").read_text())
    unsubscribed = TOML[3].partition("expected")[0] + "subscribed = false\n"
    for text in (TOML[0] + TOML[3], TOML[0].replace("OPT_OUT", "OPT_IN") + TOML[3], TOML[0] + unsubscribed):
        (tmp_path / "loan-repayment-email.toml").write_text(text)
        loaded = read_templates(tmp_path, tenant="northbank", schemas=load_schemas())

        assert ((), [True]) == (loaded.diagnostics, [run.passed for run in loaded.samples])


def test_the_webhook_of_the_readme_is_valid(tmp_path: Path) -> None:
    """The shipped webhook, with the README's table instead of its own, loads with the same address pattern."""
    shipped = (SHIPPED / "authorisation-hold-webhook.toml").read_text()
    text = shipped[: shipped.index("[webhook]")] + TOML[2]
    (tmp_path / "authorisation-hold-webhook.toml").write_text(text)
    (template,) = require_usable(read_templates(tmp_path, tenant="northbank", schemas=load_schemas())).templates

    assert template.text.url


def test_reference_rows_of_the_readme() -> None:
    """The row of each table can be read."""
    rows = re.findall(r"^\| `reference\.(\w+)` \|[^|]*\| `(\{.*\})` \|$", README, re.MULTILINE)

    assert [table.value for table in Table] == [table for table, _ in rows]
    for table, value in rows:
        row = parse_row(Table(table), "NTC-3300-0041", value.encode())
        assert not isinstance(row, InvalidRow), row


def key_rules() -> list[tuple[list[str], tuple[tuple[str, ...], ...]]]:
    """README's table of keys: patterns of events' names, none for all others, and the paths of the key."""
    table = README.partition("\n| Event | Key |\n|---|---|\n")[2].partition("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()]
    return [
        (re.findall("`(.+?)`", events), tuple(tuple(path.split(".")) for path in re.findall("`(.+?)`", key)))
        for events, key in rows
    ]


@pytest.mark.parametrize("event", EVENTS)
def test_keys_of_the_readme(event: EventName) -> None:
    """Each event is in exactly one row, and keyed as that says; so is its sample."""
    *named, (no_patterns, others) = key_rules()
    rows = [paths for patterns, paths in named if any(fnmatchcase(event, pattern) for pattern in patterns)]

    assert [] == no_patterns
    assert len(rows) <= 1
    paths = rows[0] if rows else others
    assert ORDERING_KEYS[EVENTS[event].ordering_key] == paths
    (first, *_) = (value for path in paths if (value := value_at(path, sample(event))) is not None)
    assert ordering_key(event, sample(event)) == first


def test_the_consumer_code_of_the_readme(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads a status as it is written to its topic."""
    (snippet,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    avro = OutputEncoder(schemas(), output_format=WireFormat.AVRO, stream_format=WireFormat.JSON)
    outcome = map_record(make_record(), make_context(make_template(), encode=avro), frozenset())
    assert isinstance(outcome, Processed)
    (out,) = (out for out in outcome.outputs if out.topic == "communications.status")
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {"record": SimpleNamespace(value=lambda: out.value)}
    exec(snippet, names)  # noqa: S102  the document's own lines

    assert outcome.created[0].status.encodedKey == names["status"]["encodedKey"]


def test_operators_of_the_readme() -> None:
    """The table has every operator of conditions with the fields of its operands."""
    table = README.partition("| Operator |")[2].partition("\n\n")[0]
    cells = [line.split("|")[1:3] for line in table.splitlines()[2:]]
    documented = {
        name: re.findall("`((?:second_)?values?)`", operands)
        for names, operands in cells
        for name in re.findall("[A-Z_]{2,}", names)
    }

    assert documented == {operator.value: list(rule.operands) for operator, rule in OPERATORS.items()}


def commands() -> list[str]:
    """The console lines of the README that a user types."""
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def test_make_targets_of_the_readme() -> None:
    """Every `make …` that is spoken of is a target with a line of help."""
    targets = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert (
        set(re.findall(r"make ([a-z]+)\b", " ".join(re.findall(r"`[^`]*`", README)) + " ".join(commands()))) <= targets
    )


@pytest.mark.kafka
def test_the_tour_of_the_readme(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """Every `processor` line of the README ends with 0, typed one after the other (on the tests' broker)."""
    tour = [line for line in commands() if line.startswith(".venv/bin/processor") and " kafka" not in line]
    environment = {
        **os.environ,
        "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers,
        "PROCESSOR_TENANT": "northbank",
        "PROCESSOR_TOPICS__PREFIX": topic_prefix,
        "PROCESSOR_HTTP__PORT": "0",
    }
    assert ["topics", "produce", "run", "templates", "preview", "explain"] == [shlex.split(line)[1] for line in tour]
    for line in tour:
        words = [sys.executable, "-m", "processor", *shlex.split(line)[1:]]
        done = subprocess.run(
            words, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False
        )
        assert done.returncode == 0, done.stderr


def publish(servers: str, records: tuple[OutRecord, ...]) -> None:
    """Write these records as they are."""
    producer = Producer(logged({"bootstrap.servers": servers}))
    for record in records:
        producer.produce(record.topic, record.value, record.key, record.partition)
    assert 0 == producer.flush(30)


@pytest.mark.kafka
def test_the_consumer_code_of_the_senders_page(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By templateKey: how each webhook is called, and each task's title, in the newest version, and no secret."""
    monkeypatch.setenv("LEDGER_PASSWORD", "s3cret")
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events(
        [sample(EventName(name)) for name in ("ACCOUNT_AUTHORISATION_HOLD_CREATED", "ACCOUNT_IN_ARREARS")]
    )
    installation.run()
    topic = installation.settings.topic(FixedOutput.TEMPLATE_SETS)
    (task,) = (template for template in installation.templates.templates if template.id == "account-in-arrears-task")
    for version, title in ((7, "Call soon"), (3, "Call")):  # in the order in which the sets came into use
        content = json.dumps(json.loads(task.content) | {"name": title, "version": version})
        changed = template_set([replace(task, version=version, name=title, content=content)])
        publish(installation.servers, template_set_records(changed, OutputTopic(topic, 1, 999_000)))
    (snippet,) = re.findall(r"```python\n(.*?)```", (DOCS / "senders.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(snippet, names)  # noqa: S102  the document's own lines
    templates = names["read_templates"](installation.servers, topic)
    messages = [
        json.loads(record.value() or b"")
        for record in installation.read(installation.settings.topic(FixedOutput.MESSAGES))
    ]
    requests = {
        request["url"].partition("?")[0]: request
        for request in (
            names["request_of"](message, templates) for message in messages if message["type"] == "WEB_HOOK"
        )
    }

    assert len(messages) > 2
    request = requests["https://ledger.example.com/accounts/SV-771204/holds"]
    assert ("POST", "application/json", "northbank") == tuple(
        request[name] for name in ("method", "content_type", "login")
    )
    assert ["X-Source"] == request["header_names"]
    assert ["Call soon"] == [names["title_of"](message, templates) for message in messages if message["type"] == "TASK"]
    assert {template.key for template in installation.templates.templates} == set(templates)
    values = b"".join(record.value() or b"" for record in installation.read(topic))
    assert b"s3cret" not in values
    assert b"X-Source" in values
    assert b'X-Source\\":\\"***' in values
    assert b'":\\"communications\\"' not in values


@pytest.mark.kafka
def test_the_commands_of_the_dead_letters_page(
    bootstrap_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each ends as findings do, typed one after the other; the export has the line that is to be corrected."""
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "note.toml").write_text(SMS_HEAD + 'strict = true\nbody = "Hello {CF:CLIENT:NICKNAME}"\n')
    installation = create_installation(bootstrap_servers, topic_prefix, templates_dir=folder, max_rejected_ratio=1)
    value, _ = installation.encode(sample(EventName("LOAN_REPAYMENT")))
    installation.produce_values([value[:-1] + b"\xff", value])
    installation.run()
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```console\n(.*?)```", (DOCS / "dead-letters.md").read_text(), re.DOTALL)
    lines = [line.removeprefix("$ processor ") for block in blocks for line in block.splitlines()]
    codes = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, text in (installation.env() | {"PROCESSOR_TEMPLATES_DIR": str(folder)}).items():
            patch.setenv(name, text)
        for line in lines:
            codes[line] = exit_code(shlex.split(line))

    assert len(lines) > 7
    assert {1} == set(codes.values()), codes
    (exported,) = (tmp_path / "letters.jsonl").read_text().splitlines()
    assert "INVALID_EVENT" == json.loads(exported)["reason"]


@pytest.mark.kafka
def test_the_commands_of_the_replaying_guide(
    bootstrap_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Typed one after the other, with a template added and one corrected between them, each finds or writes what the
    page says."""
    strict = (
        SMS_HEAD.replace('"note"', '"strict"').replace('"Note"', '"Strict"')
        + 'strict = true\nbody = "Hello {CF:CLIENT:NICKNAME}"\n'
    )
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "strict.toml").write_text(strict)
    installation = create_installation(bootstrap_servers, topic_prefix, templates_dir=folder, max_rejected_ratio=1)
    installation.produce_events([repayment(number) for number in range(360)])
    installation.run()
    installation.produce_events([repayment(number) for number in range(360, 420)])
    (committed,) = installation.committed()
    installation.set_position(committed + 40)
    installation.run()
    (folder / "note.toml").write_text(SMS_HEAD + 'body = "Paid {TRANSACTION_AMOUNT}"\n')
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```console\n(.*?)```", (DOCS / "guides" / "replaying.md").read_text(), re.DOTALL)
    lines = [line.removeprefix("$ processor ") for block in blocks for line in block.splitlines()]
    settings = {
        "PROCESSOR_TEMPLATES_DIR": str(folder),
        "PROCESSOR_STATE_DIR": str(tmp_path / "state"),
        "PROCESSOR_OUTPUT__FORMAT": "json",
    }
    codes = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, text in (installation.env() | settings).items():
            patch.setenv(name, text)
        for line in lines:
            if line.startswith("redrive"):
                (folder / "strict.toml").write_text(
                    strict.replace("strict = true\n", "").replace("version = 1", "version = 2")
                )
            codes[line] = exit_code(shlex.split(line))

    assert {0} == {code for line, code in codes.items() if "--yes" in line}, codes
    assert 1 == codes["replay --partition 0"]
    assert 1 == codes["replay --from 3d --include-new note --template note"]
    assert 1 == codes["redrive --template strict"]
    created = Counter((status["source"]["offset"], status["templateId"]) for status in installation.read_statuses())
    assert {1} == set(created.values())
    assert {"note": 420, "strict": 420} == Counter(template for _, template in created)


def test_advice_of_the_dead_letters_page() -> None:
    """The tables have each reason as the command shows it."""
    page = (DOCS / "dead-letters.md").read_text()
    rows = [
        f"| {reason} | {advice.who} | {advice.when} |" for reason, advice in (*ADVICE.items(), *TEMPLATE_ADVICE.items())
    ]

    assert rows == [
        line for line in page.partition("## Who acts")[2].splitlines() if re.match(r"\| [A-Z_]{5,} \|", line)
    ]


def test_families_of_the_schemas_readme() -> None:
    """The table has each family with its record and the number of its events."""
    rows = re.findall(
        r"^\| `(\w+)` \| `([\w.]+)` \| (\d+) \|", (ROOT / "schemas" / "README.md").read_text(), re.MULTILINE
    )
    counts = Counter(row.family for row in EVENTS.values())

    assert [(family.name, family.record, str(counts[family.name])) for family in FAMILIES.values()] == rows


# ------------------------------------------------------------------------------------------- what is promised is there

NOT_THERE = re.compile(r"(?i)\b(resends?|outbox|(?:run|and|or|by|with) deliver)\b")


def texts_of_the_code() -> Iterator[tuple[str, str]]:
    """Each text in the code that may reach a person: all strings but docstrings, with those of the command line."""
    for path in sorted((ROOT / "processor").rglob("*.py")):
        tree = ast.parse(path.read_text())
        inner = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if path.parent.name != "cli"  # theirs are shown by `--help`
            and isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value


def texts_of_the_files() -> Iterator[tuple[str, str]]:
    """Documents, schemas, and what runs the program, line by line."""
    files = [*PROSE, *(ROOT / "schemas").rglob("*.avsc"), ROOT / "docker-compose.yml", ROOT / "Makefile"]
    for path in files:
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            yield f"{path.relative_to(ROOT)}:{number}", line


def test_texts_name_existing_commands() -> None:
    """No help, hint, log line or document names a command that `processor --help` does not have."""
    commands = {command.name or getattr(command.callback, "__name__", "") for command in parser.registered_commands}
    named = [
        (place, command)
        for place, text in (*texts_of_the_code(), *texts_of_the_files())
        for command in re.findall(r"(?:`|\$ |bin/|=\S+ |Example: )processor ([a-z][a-z-]*)", text)
    ]

    assert {"run", "topics", "check"} <= {command for _, command in named}
    assert [] == [(place, command) for place, command in named if command not in commands]


def test_texts_promise_no_later_features() -> None:
    """No text refers to a feature that does not exist yet."""
    found = [
        (place, words)
        for place, text in (*texts_of_the_code(), *texts_of_the_files())
        if (words := NOT_THERE.findall(text))
    ]

    assert [] == found
