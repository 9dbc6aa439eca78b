"""The commands and snippets of the guides about senders, dead letters and replays, typed one after the other."""

import json
import shlex
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from processor.cli.main import exit_code
from processor.domain.output_topics import FixedOutput, OutputTopic
from processor.domain.record import EventName, OutRecord
from processor.domain.template import template_set
from processor.shipped import sample
from processor.wire.template_sets import template_set_records
from tests.documents.pages import GUIDES, snippets, typed_lines
from tests.support.builders import SMS_HEAD
from tests.support.clients import logged
from tests.support.events import repayment
from tests.support.installation import create_installation


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
    (snippet,) = snippets(GUIDES / "sending.md", "python")
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
    lines = [line.removeprefix("processor ") for line in typed_lines(GUIDES / "dead-letters.md")]
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
    lines = [line.removeprefix("processor ") for line in typed_lines(GUIDES / "replaying.md")]
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
