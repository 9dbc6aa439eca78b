"""Texts that were changed under the same version between two runs, on a real broker: nothing starts with them."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from confluent_kafka import Producer
from structlog.testing import capture_logs

from processor.domain.output_topics import FixedOutput
from processor.engine.output_scan import published_template_sets
from processor.errors import UsageError
from processor.kafka.clients import create_admin
from processor.kafka.topic_state import read_output_topics
from processor.templates.load import SHIPPED
from processor.templates.used_texts import text_digest
from tests.support.builders import TENANT
from tests.support.clients import logged
from tests.support.events import repayment
from tests.support.installation import Installation, create_installation

pytestmark = pytest.mark.kafka
TEXT = (SHIPPED / "loan-repayment-email.toml").read_text().partition("[[sample]]")[0]
HOOK = """\
id = "hook"
version = 1
name = "Hook"
type = "WEB_HOOK"
event = "FEE_APPLIED"
target = "LOANS"
content_type = "application/json"
subscription = "OPT_OUT"
body = '{"account": "{ACCOUNT_ID}"}'
[webhook]
url = "https://hooks.example.com/"
headers = { X-Token = "one" }
"""


def write(directory: Path, subject: str, *, version: int = 1, more: str = "") -> None:
    """The shipped e-mail with this subject."""
    directory.mkdir(exist_ok=True)
    text = TEXT.replace("version = 1", f"version = {version}").replace("Payment received", subject)
    assert subject in text
    (directory / "loan-repayment-email.toml").write_text(text + more)


def installation_with_message(servers: str, prefix: str, directory: Path) -> Installation:
    """An installation with one template, which has made a message of one event."""
    write(directory, "First")
    installation = create_installation(servers, prefix, templates_dir=directory)
    installation.produce_events([repayment(0)])
    installation.run()
    assert [1] == installation.committed()
    return installation


def state(installation: Installation) -> list[object]:
    """All that a run could have changed: positions and outputs."""
    topics = map(installation.settings.topic, FixedOutput)
    return [installation.committed(), [len(installation.read(topic)) for topic in topics]]


def subjects(installation: Installation) -> list[str]:
    """Those of all messages."""
    return [
        json.loads(record.value() or b"")["subject"]
        for record in installation.read(installation.settings.topic(FixedOutput.MESSAGES))
    ]


def test_another_text_of_the_same_version_does_not_start(
    bootstrap_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    """With the words and the hint of a refused reload, before anything is committed; a raised version starts, and so do
    both texts that were used under their versions."""
    installation = installation_with_message(bootstrap_servers, topic_prefix, tmp_path / "templates")
    installation.produce_events([repayment(1)])
    before = state(installation)
    write(tmp_path / "templates", "Second")
    with pytest.raises(UsageError) as refused:
        installation.run()
    assert (2, before) == (refused.value.exit_code, state(installation))
    assert (
        "loan-repayment-email has other content under version 1, which was used before\n"
        "hint: raise its version, or undo the change"
    ) == str(refused.value)

    for number, (subject, version) in enumerate([("Second", 2), ("First", 1), ("Second", 2)], start=2):
        write(tmp_path / "templates", subject, version=version)
        installation.run()
        installation.produce_events([repayment(number)])
    assert ["First", "Second", "First", "Second"] == [subject.partition(":")[0] for subject in subjects(installation)]
    for subject, version in (("Third", 1), ("Third", 2)):
        write(tmp_path / "templates", subject, version=version)
        with pytest.raises(UsageError, match=f"under version {version}"):
            installation.run()


def test_run_exits_with_2(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """So do its workers."""
    installation = installation_with_message(bootstrap_servers, topic_prefix, tmp_path / "templates")
    installation.produce_events([repayment(1)])
    before = state(installation)
    write(tmp_path / "templates", "Second")
    environment = {
        "PATH": "/usr/bin:/bin",
        "PROCESSOR_TENANT": TENANT,
        "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS": installation.servers,
        "PROCESSOR_TOPICS__PREFIX": installation.settings.topics.prefix,
        "PROCESSOR_TEMPLATES_DIR": str(tmp_path / "templates"),
        "PROCESSOR_STATE_DIR": str(tmp_path / "state"),
        "PROCESSOR_OUTPUT__FORMAT": "json",
        "PROCESSOR_HTTP__PORT": "0",
    }
    for more in ([], ["--workers", "2"]):
        command = [sys.executable, "-m", "processor", "run", "--until-end", *more]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

        assert 2 == ended.returncode, ended.stderr
        assert (
            "has other content under version 1, which was used before\nhint: raise its version, or undo the change"
            in ended.stderr
        )
    assert before == state(installation)


def test_fields_that_a_version_does_not_cover(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """Samples, comments, the order of fields, and the values of a webhook's headers, which may be secrets."""
    directory = tmp_path / "templates"
    installation = installation_with_message(bootstrap_servers, topic_prefix, directory)
    (directory / "hook.toml").write_text(HOOK)
    installation.produce_events([repayment(1)])
    installation.run()
    sample = (SHIPPED / "samples" / "loan-repayment.json").read_bytes()
    (directory / "sample.json").write_bytes(sample)
    write(
        directory,
        "First",
        more='# a comment\n[[sample]]\nname = "s"\nevent = "sample.json"\nexpected.state = "QUEUED"\n',
    )
    identity, _, rest = HOOK.partition("\n")
    head, table, webhook = rest.replace('"one"', '"two"').partition("[webhook]")
    (directory / "hook.toml").write_text(f"{head}{identity}\n{table}{webhook}")
    installation.produce_events([repayment(2)])
    installation.run()

    assert [3] == installation.committed()
    assert 3 == len(installation.template_set_keys())  # the set's version has the values of headers in it
    (directory / "hook.toml").write_text(HOOK.replace("X-Token", "X-Other"))
    with pytest.raises(UsageError, match="hook has other content under version 1"):
        installation.run()


def produce_template_sets(installation: Installation, records: Iterable[tuple[str, bytes | None]]) -> None:
    """Records on the topic of template sets: key, value."""
    producer = Producer(logged({"bootstrap.servers": installation.servers}))
    for key, value in records:
        producer.produce(installation.settings.topic(FixedOutput.TEMPLATE_SETS), value, key, 0)
    assert producer.flush(30) == 0


def test_foreign_records_are_skipped(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """They are skipped with one warning; a set of a later version of this program is read as far as it is known."""
    directory = tmp_path / "templates"
    installation = installation_with_message(bootstrap_servers, topic_prefix, directory)
    (own,) = installation.read(installation.settings.topic(FixedOutput.TEMPLATE_SETS))
    newer = json.loads(own.value() or b"")
    newer["brand_new"] = True
    (template,) = newer["templates"]
    template["content"] = json.dumps(json.loads(template["content"]) | {"brand_new": {"x": 1}})
    foreign = [
        b"\xff",
        b"null",
        b"{",
        b'{"templates": {}}',
        b'{"templates": [{"id": "a", "version": 1, "content": "[]"}]}',
    ]
    produce_template_sets(installation, [(f"foreign-{number}", value) for number, value in enumerate(foreign)])
    produce_template_sets(installation, [("newer", json.dumps(newer).encode())])
    output_topics = read_output_topics(
        create_admin(installation.settings), installation.settings, installation.templates
    )
    with capture_logs() as logs:
        written = published_template_sets(installation.settings, output_topics)

    (line,) = (line for line in logs if line["event"] == "invalid template sets ignored")
    assert (5, installation.settings.topic(FixedOutput.TEMPLATE_SETS)) == (line["records"], line["topic"])
    assert {(own.key() or b"").decode(), "newer"} == set(written.keys)
    assert {("loan-repayment-email", 1): {text_digest(template["content"])}} == written.texts
    installation.produce_events([repayment(1)])
    installation.run()
    assert [2] == installation.committed()


def test_a_deleted_set_is_written_again(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """Deleted by a null value: its texts are free again, and the process that uses it writes it again."""
    directory = tmp_path / "templates"
    installation = installation_with_message(bootstrap_servers, topic_prefix, directory)
    first = installation.template_set_keys()
    write(directory, "Second")
    produce_template_sets(installation, [(first[0], None)])
    installation.produce_events([repayment(1)])
    installation.run()
    assert [2] == installation.committed()
    second = installation.template_set_keys()[-1]
    produce_template_sets(installation, [(second, None)])
    installation.produce_events([repayment(2)])
    installation.run()

    assert [*first, first[0], second, second, second] == installation.template_set_keys()


def test_an_old_process_that_still_writes_its_set(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """While a new version is rolled out, both are written, in any order: each process starts again with its own."""
    directory = tmp_path / "templates"
    installation = installation_with_message(bootstrap_servers, topic_prefix, directory)
    (old,) = installation.read(installation.settings.topic(FixedOutput.TEMPLATE_SETS))
    write(directory, "Second", version=2)
    installation.produce_events([repayment(1)])
    installation.run()
    produce_template_sets(installation, [((old.key() or b"").decode(), old.value())])
    for subject, version in (("Second", 2), ("First", 1)):
        write(directory, subject, version=version)
        installation.run()

    assert [2] == installation.committed()
