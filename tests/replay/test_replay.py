"""`processor replay` on the outputs of real runs: what is missing is written, once, and nothing else."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from processor.cli import replay
from processor.errors import InputError, OperationUnderWayError, UsageError
from processor.mapping.options import WrittenDecisions
from tests.cli.commands import run_command
from tests.support.builders import SMS_HEAD
from tests.support.events import repayment
from tests.support.installation import Installation, create_installation

pytestmark = pytest.mark.kafka

NOTE = SMS_HEAD.replace("version = 1", "version = 7") + 'body = "Paid {TRANSACTION_AMOUNT}"\n'
LATER = NOTE.replace('"note"', '"later"').replace('"Note"', '"Later"')


@pytest.fixture
def installation(
    bootstrap_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Installation]:
    """One template, a store of its own for the tables, and no text that is folded."""
    monkeypatch.setenv("COLUMNS", "300")
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "note.toml").write_text(NOTE)
    yield create_installation(bootstrap_servers, topic_prefix, templates_dir=templates, state_dir=tmp_path / "state")


def run_replay(installation: Installation, **options: Any) -> int:
    """The exit code."""
    return run_command(replay.command, installation.settings, **options)


def replay_as_json(
    capsys: pytest.CaptureFixture[str], installation: Installation, **options: Any
) -> tuple[int, dict[str, Any]]:
    """Exit code and the one partition's object, with the operation's id."""
    capsys.readouterr()
    code = run_replay(installation, as_json=True, **options)
    result = json.loads(capsys.readouterr().out.splitlines()[-1])  # before it: what the tests log
    (partition,) = result["partitions"]
    return code, {**partition, "operation": result["operation"]}


def skip(installation: Installation, events: Sequence[dict[str, Any]]) -> range:
    """Produce events and move the group behind them; their offsets."""
    (begin,) = installation.committed()
    begin = max(begin, 0)
    installation.produce_events(events)
    installation.set_position(begin + len(events))
    return range(begin, begin + len(events))


def created(installation: Installation) -> Counter[tuple[int, str]]:
    """How many messages each offset and template has, of all readers that see committed records alone."""
    return Counter(
        (status["source"]["offset"], status["templateId"])
        for status in installation.read_statuses()
        if status["sequence"] == 1
    )


def test_events_that_were_skipped_get_their_messages_once(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    """The dry run counts them and writes nothing; --yes writes them; then nothing is missing."""
    installation.produce_events([repayment(number) for number in range(10)])
    installation.run()
    skipped = skip(installation, [repayment(number) for number in range(10, 30)])
    installation.produce_events([repayment(number) for number in range(30, 35)])
    installation.run()
    before, positions = created(installation), installation.committed()
    operations = installation.read_operations()

    code, found = replay_as_json(capsys, installation)

    assert (1, 15, 20, 20) == (code, found["withOutcome"], found["withoutOutcome"], found["events"])
    assert [{"template": "note", "channel": "SMS", "age": "under 1 h", "count": 20}] == found["messages"]
    assert (before, operations) == (created(installation), installation.read_operations())
    code, written = replay_as_json(capsys, installation, yes=True)
    assert (0, 20) == (code, written["events"])
    assert before + Counter((offset, "note") for offset in skipped) == created(installation)
    assert positions == installation.committed()
    code, again = replay_as_json(capsys, installation)
    assert (0, 0, 0, 35) == (code, again["events"], len(again["messages"]), again["withOutcome"])
    code, again = replay_as_json(capsys, installation, yes=True)
    assert (0, 0) == (code, again["events"])
    assert before + Counter((offset, "note") for offset in skipped) == created(installation)


def test_what_an_operation_writes_names_it(installation: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    """Its id is on every record, and its progress on operations: under way, then done."""
    skip(installation, [repayment(1), {**repayment(2), "tenant": "southbank"}])

    _, written = replay_as_json(capsys, installation, yes=True, by="ada", because="a test")

    operation = written["operation"]
    for topic in (installation.status, installation.messages, installation.decisions):
        (record,) = installation.read(topic)
        assert operation.encode() == dict(record.headers() or [])["operation"]
    states = [record for record in installation.read_operations() if record["kind"] == "PROGRESS"]
    assert ["UNDER_WAY", "UNDER_WAY", "DONE"] == [record["state"] for record in states]
    assert {operation} == {record["operation"] for record in states}
    assert ("ada", "a test", 2, {"messages": 1, "decisions": 1, "deadLetters": 0}) == tuple(
        states[-1][name] for name in ("by", "because", "next", "counts")
    )


def test_a_template_of_today_for_events_of_then(installation: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    """Only with --include-new, and only for events whose set did not have it."""
    installation.produce_events([repayment(number) for number in range(6)])
    installation.run()
    assert installation.settings.templates_dir is not None
    (installation.settings.templates_dir / "later.toml").write_text(LATER)
    installation.produce_events([repayment(number) for number in range(6, 9)])
    installation.run()
    before = created(installation)
    assert 3 == sum(template == "later" for _, template in before)

    assert 0 == run_replay(installation)
    code, found = replay_as_json(capsys, installation, include_new=["later"])

    assert (1, [{"template": "later", "channel": "SMS", "age": "under 1 h", "count": 6}]) == (code, found["messages"])
    assert 0 == run_replay(installation, include_new=["later"], yes=True)
    assert before + Counter((offset, "later") for offset in range(6)) == created(installation)
    assert 0 == run_replay(installation, include_new=["later"])
    assert 0 == run_replay(installation, include_new=["note"])
