"""`processor replay` on the outputs of real runs: what is missing is written, once, and nothing else."""

import gc
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from processor.cli import replay
from processor.engine.step import Step
from processor.errors import InputError, UsageError
from processor.mapping.options import WrittenDecisions
from processor.replay import operation
from processor.replay.operation import MappedBatch
from processor.replay.partition_replay import PartitionReplay
from tests.cli.commands import run_command
from tests.support.builders import SMS_HEAD
from tests.support.events import repayment
from tests.support.installation import Installation, create_installation
from tests.support.terminal import pretend_terminal

pytestmark = pytest.mark.kafka

NOTE = SMS_HEAD.replace("version = 1", "version = 7") + 'body = "Paid {TRANSACTION_AMOUNT}"\n'
LATER = NOTE.replace('"note"', '"later"').replace('"Note"', '"Later"')


@pytest.fixture
def installation(
    bootstrap_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Installation]:
    """One template, a store of its own for the tables, and no text that is folded."""
    pretend_terminal(monkeypatch, 300)
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


@pytest.mark.parametrize("yes", [False, True])
def test_a_batch_is_let_go_before_the_next_one_is_made(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, yes: bool
) -> None:
    """A batch may have all that `PROCESSOR_MAX_BATCH_BYTES` lets it have."""
    make_batches, alive = PartitionReplay.batches, list[int]()

    def watch_batches(self: PartitionReplay) -> Iterator[MappedBatch]:
        made = make_batches(self)
        while True:
            try:
                yield next(made)
            except StopIteration:
                return
            alive.append(sum(isinstance(found, MappedBatch) for found in gc.get_objects()))

    monkeypatch.setattr(PartitionReplay, "batches", watch_batches)
    installation = replace(installation, settings=installation.settings.model_copy(update={"max_batch_records": 2}))
    skip(installation, [repayment(number) for number in range(6)])

    run_replay(installation, yes=yes)

    assert {0} == set(alive)


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


class KilledError(BaseException):
    """Ends an operation at once, as a signal does: nothing of it is caught."""


def test_an_operation_goes_on_where_it_was(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command counts on what was committed, as one operation; its position never goes back."""
    settings = installation.settings.model_copy(update={"max_batch_records": 2})
    installation = replace(installation, settings=settings)
    skip(installation, [repayment(number) for number in range(9)])
    left = Counter({Step.COMMITTED: 2, Step.COMMITTING: 4})

    def kill(step: Step) -> None:
        left[step] -= 1
        if left[step] == 0:
            raise KilledError

    for _ in range(2):
        with monkeypatch.context() as patch, pytest.raises(KilledError):
            patch.setattr(operation, "run_operation", partial(operation.run_operation, on_step=kill))
            run_replay(installation, yes=True)
    assert 0 == run_replay(installation, yes=True)

    assert Counter((offset, "note") for offset in range(9)) == created(installation)
    records = [record for record in installation.read_operations() if record["kind"] == "PROGRESS"]
    assert 1 == len({record["operation"] for record in records})
    assert [0, 2, 4, 4, 6, 6, 8, 9] == [record["next"] for record in records if record["state"] != "DONE"]
    assert ("DONE", 9, 9) == (records[-1]["state"], records[-1]["next"], records[-1]["counts"]["messages"])


@pytest.mark.parametrize("reissue", [False, True])
def test_an_operation_that_was_killed_between_two_partitions(
    bootstrap_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reissue: bool
) -> None:
    """The same command goes on with it, and leaves alone what it has done: a reissue is nobody's a second time."""
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "note.toml").write_text(NOTE)
    installation = create_installation(
        bootstrap_servers, topic_prefix, partitions=2, templates_dir=templates, state_dir=tmp_path / "state"
    )
    for partition in (0, 1):
        installation.produce_events([repayment(partition)], partition=partition)
    installation.run()
    options: dict[str, Any] = {"yes": True, "reissue": reissue, "because": "the amount was wrong"}
    run_partition = operation._run_partition

    def kill_before_second(session: Any, command: Any, partition: int, on_phase: Any) -> Any:
        if partition == 1:
            raise KilledError
        return run_partition(session, command, partition, on_phase)

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(operation, "_run_partition", kill_before_second)
        run_replay(installation, **options)
    assert 0 == run_replay(installation, **options)

    records = [record for partition in (0, 1) for record in installation.read_operations(partition)]
    states = [(record["partition"], record["state"]) for record in records if record["kind"] == "PROGRESS"]
    assert 1 == len({record["operation"] for record in records if record["kind"] == "PROGRESS"})
    assert [1, 1] == [states.count((partition, "DONE")) for partition in (0, 1)]
    statuses = [len(installation.read_statuses(partition)) for partition in (0, 1)]
    assert ([2, 2] if reissue else [1, 1]) == statuses
    if reissue:
        with pytest.raises(UsageError, match="has done this very reissue"):
            run_replay(installation, **options)


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


def test_decisions_that_are_reviewed(installation: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    """With --include-decided what was skipped for that reason is mapped with today's set; the same decision once more
    is no change."""
    assert installation.settings.templates_dir is not None
    file = installation.settings.templates_dir / "note.toml"
    condition = '[[condition]]\nfield = "TRANSACTION_AMOUNT"\noperator = "MORE_THAN"\nvalue = 300\n'
    file.write_text(NOTE.replace("version = 7", "version = 6") + condition)
    amounts = [{"amount": amount} for amount in ("100.00", "200.00", "400.00")]
    events = [repayment(number) for number in range(3)]
    for event, amount in zip(events, amounts, strict=True):
        event["transaction"] |= amount
    installation.produce_events(events)
    installation.run()
    assert Counter([(2, "note")]) == created(installation)
    file.write_text(NOTE + condition.replace("300", "150"))

    assert 0 == run_replay(installation)
    code, found = replay_as_json(capsys, installation, include_decided=["CONDITION_FALSE"])

    assert (1, 1, {"SAME_DECISION": 1}) == (code, found["events"], found["nothingToPublish"])
    assert 0 == run_replay(installation, include_decided=["CONDITION_FALSE"], yes=True)
    assert Counter([(1, "note"), (2, "note")]) == created(installation)
    assert 0 == run_replay(installation, include_decided=["CONDITION_FALSE"])


def test_an_event_that_was_sent_twice(installation: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    """One of the two was mapped, before or behind the skipped ones: ALREADY_CREATED. Both were skipped: the second is a
    duplicate within the window, and ALREADY_CREATED outside of it. The dry run says so too."""
    settings = installation.settings.model_copy(
        update={"deduplication": installation.settings.deduplication.model_copy(update={"records": 3})}
    )
    installation = replace(installation, settings=settings)
    installation.produce_events([repayment(1)])
    installation.run()
    skip(installation, [repayment(number) for number in (1, 2, 3, 3, 4, 5, 6, 3)])
    installation.produce_events([repayment(2)])
    installation.run()

    code, found = replay_as_json(capsys, installation)
    assert (1, {"ALREADY_CREATED": 3, "DUPLICATE_EVENT": 1}, {}) == (code, found["decisions"], found["deadLetters"])
    assert 0 == run_replay(installation, yes=True)

    decided = {
        decision["source"]["offset"]: [reason["reason"] for reason in decision["reasons"]]
        for decision in installation.read_decisions()
    }
    assert {
        1: ["ALREADY_CREATED"],
        2: ["ALREADY_CREATED"],
        4: ["DUPLICATE_EVENT"],
        8: ["ALREADY_CREATED"],
    } == decided
    assert {0: 1, 3: 1, 5: 1, 6: 1, 7: 1, 9: 1} == Counter(offset for offset, _ in created(installation).elements())
    assert 0 == run_replay(installation)


def test_events_of_a_time_without_decisions_prove_nothing(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    """The dry run counts them, --yes refuses and names the range that can be proven."""
    silent = replace(
        installation, settings=installation.settings.model_copy(update={"decisions": WrittenDecisions.OFF})
    )
    installation.produce_events([repayment(1)])
    installation.run()
    installation.produce_events([repayment(1), repayment(1)])
    silent.run()
    skip(installation, [repayment(2)])
    installation.produce_events([repayment(3)])
    installation.run()

    code, found = replay_as_json(capsys, installation)

    assert (1, 3, [[1, 4]]) == (code, found["unprovable"], found["unprovableOffsets"])
    with pytest.raises(InputError, match=r"at offsets 1 to 3 a missing outcome proves nothing(.|\n)*--offsets 4:5"):
        run_replay(installation, yes=True)
    assert 0 == run_replay(installation, yes=True, offsets="4:5")
    with pytest.raises(UsageError, match="PROCESSOR_DECISIONS is off"):
        run_replay(silent, yes=True)


def test_outputs_of_another_log_are_noticed(installation: Installation) -> None:
    """The events topic was deleted and created again: its events are other ones than the outputs say."""
    installation.produce_events([repayment(number) for number in range(3)])
    installation.run()
    installation.delete_topic(installation.events)
    installation.create_topics()
    installation.produce_events([repayment(number) for number in range(100, 104)])
    installation.set_position(4)

    with pytest.raises(InputError, match="the outputs name another event there: they are of another log"):
        run_replay(installation)


def test_a_reissue_makes_new_messages_of_those_that_exist(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under new ids, one for each message and never for what has none; the same command again is refused, whatever
    was done since, and so is its dry run."""
    installation.produce_events([repayment(number) for number in range(4)])
    installation.run()
    skip(installation, [repayment(4)])
    keys = {status["encodedKey"] for status in installation.read_statuses()}
    with pytest.raises(UsageError, match="--reissue needs --because"):
        run_replay(installation, reissue=True)

    code, found = replay_as_json(capsys, installation, reissue=True, because="wrong amount", offsets="1:5")

    assert (1, [{"template": "note", "channel": "SMS", "age": "under 1 h", "count": 3}]) == (code, found["messages"])
    wrong = {"reissue": True, "because": "wrong amount", "offsets": "1:5", "yes": True}
    assert 1 == run_replay(installation, **{**wrong, "yes": False})
    assert "1 recipient gets something again by SMS\nwould make 3 messages of 3 events" in capsys.readouterr().out
    assert 0 == run_replay(installation, **wrong)
    assert {(0, "note"): 1, (1, "note"): 2, (2, "note"): 2, (3, "note"): 2} == created(installation)
    assert 4 + 3 == len({status["encodedKey"] for status in installation.read_statuses()} | keys)
    run_replay(installation, offsets=":1", yes=True)  # is the newest operation of the partition now
    for typed in (wrong, {**wrong, "yes": False}):
        with pytest.raises(UsageError, match="has done this very reissue"):
            run_replay(installation, **typed)
    assert 7 == created(installation).total()


def test_a_message_that_may_be_sent_late(installation: Installation) -> None:
    """Says so in a header beside the message, and nowhere else."""
    skip(installation, [repayment(1)])

    run_replay(installation, yes=True, send_late=True)

    (message,), (status,) = installation.read(installation.messages), installation.read(installation.status)
    assert b"true" == dict(message.headers() or [])["send-late"]
    assert "send-late" not in dict(status.headers() or [])


def test_a_plan_is_done_exactly_or_not_at_all(
    installation: Installation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was reviewed is written; what came to be missing since, or other templates, are refused."""
    installation.produce_events([repayment(1)])
    installation.run()
    skip(installation, [repayment(2), repayment(3)])
    file = tmp_path / "plan"
    assert 1 == run_replay(installation, save_plan=file)
    head, *lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [[0, 0, 3]] == head["partitions"]
    planned = {"partition": 0, "templates": ["note"], "messages": ["note"]}
    assert [{**planned, "offset": offset} for offset in (1, 2)] == lines
    assert 0o600 == file.stat().st_mode & 0o777
    skip(installation, [repayment(4)])
    short = tmp_path / "short"
    short.write_text("\n".join(file.read_text().splitlines()[:-1]) + "\n")

    with pytest.raises(InputError, match=r"@2 is missing more now than the plan has: note"):
        run_replay(installation, plan=short, yes=True)
    assert 1 == created(installation).total()
    code, written = replay_as_json(capsys, installation, plan=file, yes=True)

    assert (0, 2) == (code, written["events"])
    assert {(0, "note"): 1, (1, "note"): 1, (2, "note"): 1} == created(installation)
    assert 0 == run_replay(installation, plan=file, yes=True)
    assert 3 == created(installation).total()
    assert installation.settings.templates_dir is not None
    (installation.settings.templates_dir / "later.toml").write_text(LATER)
    with pytest.raises(InputError, match="the plan was made with template set"):
        run_replay(installation, plan=file, yes=True)
    with pytest.raises(UsageError, match="exists"):
        run_replay(installation, save_plan=file)
    with pytest.raises(UsageError, match="--plan says what is replayed"):
        run_replay(installation, plan=file, partition=[0])
    short.write_text("no plan")
    with pytest.raises(UsageError, match="is not a plan"):
        run_replay(installation, plan=short)
