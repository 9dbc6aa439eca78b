"""`processor replay` against what happened meanwhile: templates, rows, topics and positions that changed, and input of
all kinds. Each claim is compared with what a plain reader finds (plain_reader.py), whose keys an oracle computes."""

import re
import secrets
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from processor.cli import replay as command
from processor.cli.past_options import command_text
from processor.domain.event import SourceEvent
from processor.domain.operation import OperationId
from processor.domain.operation_record import OperationState, ProgressRecord
from processor.domain.output_topics import FixedOutput, OutputTopic
from processor.domain.record import SchemaGuid, SchemaId, SourceRecord
from processor.domain.reference import Table
from processor.engine import mapping_parts
from processor.engine.publisher import NotCommitted, TransactionResult
from processor.engine.step import Step, StepHook
from processor.errors import (
    DeferredSchemaError,
    DependencyError,
    InputError,
    TopicConfigError,
    UnavailableError,
    UsageError,
)
from processor.mapping.decode_record import decode_record
from processor.mapping.event_plan import EventPlan
from processor.mapping.event_plans import EventPlans, make_at_once
from processor.mapping.map import map_event
from processor.mapping.options import WrittenDecisions
from processor.mapping.scanned_event import ScannedEvent
from processor.replay import operation, past_mapper, past_publisher
from processor.replay.operation import OperationOptions, run_operation
from processor.replay.plan import read_plan
from processor.replay.replay import ReplayCommand
from processor.replay.request import ReplayRequest
from processor.replay.selection import Selection
from processor.settings import Settings
from processor.wire.json_codec import JSON_HEADERS
from processor.wire.operations import progress_out_record
from processor.wire.schema import SchemaOf, WriterSchema
from tests.cli.commands import run_command
from tests.engine.test_fetch_errors import SMALLER, produce_150_mb_batch, with_consumer
from tests.replay.plain_reader import created, dead, decided, once, progress_states, read_status
from tests.replay.test_anchor import delete_before
from tests.replay.test_replay import LATER, NOTE, replay_as_json, run_replay, skip
from tests.support.builders import TENANT, make_progress
from tests.support.clients import logged
from tests.support.events import repayment
from tests.support.installation import Installation, create_installation
from tests.support.reference_rows import BLOCKED, CLIENT, INES
from tests.support.terminal import pretend_terminal

pytestmark = pytest.mark.kafka


@pytest.fixture
def installation(
    bootstrap_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Installation:
    """One partition, and one template, `note`."""
    return make_installation(bootstrap_servers, topic_prefix, tmp_path, monkeypatch)


def make_installation(
    servers: str, prefix: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> Installation:
    """With a templates directory and a state folder of its own."""
    pretend_terminal(monkeypatch, 300)
    templates = folder / "templates"
    templates.mkdir()
    (templates / "note.toml").write_text(NOTE)
    return create_installation(servers, prefix, templates_dir=templates, state_dir=folder / "state", **settings)


def write_template(installation: Installation, name: str, text: str | None) -> None:
    """Put a template into the directory, or remove it."""
    assert installation.settings.templates_dir is not None
    file = installation.settings.templates_dir / f"{name}.toml"
    if text is None:
        file.unlink()
    else:
        file.write_text(text)


class Killed(BaseException):
    """Raised where a process would be killed: nothing handles it. Its producer is gone with what it had open."""


def kill_at(step: Step, *, nth: int = 1) -> StepHook:
    """Raises Killed when a transaction with outputs reaches `step` for the nth time."""
    left = nth

    def hook(reached: Step) -> None:
        nonlocal left
        left -= reached is step
        if reached is step and left == 0:
            raise Killed

    return hook


def killed(installation: Installation, step: Step = Step.BEGUN, *, nth: int = 1, **selection: Any) -> str:
    """Kill a replay at a step; its operation."""
    typed: dict[str, Any] = {"partition": list(selection["partitions"])} if "partitions" in selection else {}
    asked = ReplayRequest(command=command_line(**typed), selection=Selection(**selection))
    options = OperationOptions(yes=True, by="ada")
    with pytest.raises(Killed):
        run_operation(installation.settings, ReplayCommand(asked), options, on_step=kill_at(step, nth=nth))
    for partition in selection.get("partitions", (0,)):
        (operation, state) = progress_states(installation, partition)[-1]
        assert state == "UNDER_WAY"
    return operation


def command_line(**typed: Any) -> str:
    """As the command has it of these options."""
    return command_text(typed, left_out=frozenset())


# ---------------------------------------------------------------------------------------------------------------------
# What was replayed once


def test_a_template_that_came_after_a_replay(installation: Installation) -> None:
    """The events that were replayed did not have it: as after `run`, it is for --include-new."""
    skip(installation, [repayment(number) for number in range(3)])
    assert 0 == run_replay(installation, yes=True)
    write_template(installation, "later", LATER)

    assert 0 == run_replay(installation)
    assert 0 == run_replay(installation, yes=True)
    assert once(range(3)) == created(installation)
    assert 1 == run_replay(installation, include_new=["later"])
    assert 0 == run_replay(installation, include_new=["later"], yes=True)
    assert once(range(3)) + once(range(3), "later") == created(installation)


def test_what_a_filtered_replay_left_out(installation: Installation) -> None:
    """Templates that its set had, and that it was not to apply, are missing as before."""
    write_template(installation, "later", LATER)
    skip(installation, [repayment(number) for number in range(3)])
    assert 0 == run_replay(installation, template=["later"], offsets="1:", yes=True)
    assert once([1, 2], "later") == created(installation)

    assert 0 == run_replay(installation, yes=True)
    assert once(range(3)) + once(range(3), "later") == created(installation)
    assert 0 == run_replay(installation)


# ---------------------------------------------------------------------------------------------------------------------
# An operation that goes on


def test_a_position_that_was_set_back_since(installation: Installation) -> None:
    """What lies behind it now is `run`'s again: the same command goes on up to the position alone."""
    skip(installation, [repayment(number) for number in range(10)])
    killed(installation)
    installation.set_position(4)

    assert 0 == run_replay(installation, yes=True)
    assert once(range(4)) == created(installation)
    installation.run()
    assert once(range(10)) == created(installation)
    assert 0 == run_replay(installation)


def test_events_that_expired_since(installation: Installation) -> None:
    """The same command goes on with those that are left."""
    skip(installation, [repayment(number) for number in range(10)])
    operation = killed(installation)
    delete_before(installation, installation.events, 4)

    assert 0 == run_replay(installation, yes=True)
    assert once(range(4, 10)) == created(installation)
    assert (operation, "DONE") == progress_states(installation)[-1]


def set_positions(installation: Installation, *offsets: int, first: int = 0) -> None:
    """Of partitions `first` and on."""
    consumer = Consumer(logged({"bootstrap.servers": installation.servers, "group.id": installation.group}))
    positions = [TopicPartition(installation.events, number, offset) for number, offset in enumerate(offsets, first)]
    consumer.commit(offsets=positions, asynchronous=False)
    consumer.close()


def test_an_operation_keeps_to_its_partitions(
    bootstrap_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--resume goes on with what was asked for then, not with all partitions."""
    installation = make_installation(bootstrap_servers, topic_prefix, tmp_path, monkeypatch, partitions=2)
    for partition in range(2):
        installation.produce_events([repayment(number) for number in range(3)], partition=partition)
    set_positions(installation, 3, 3)
    operation = killed(installation, partitions=(0,))

    assert 0 == run_replay(installation, resume=operation, yes=True)
    assert (once(range(3)), Counter()) == (created(installation), created(installation, 1))
    assert [] == progress_states(installation, 1)


def test_a_redrive_with_the_same_options_is_not_gone_on_with(installation: Installation) -> None:
    """Its id is another kind's, and so is what it asked for."""
    skip(installation, [repayment(number) for number in range(4)])
    redrive = make_progress(
        operation=OperationId("redrive-20261129T075501Z-3f2a91c0"),
        state=OperationState.STOPPED,
        first_offset=0,
        next_offset=0,
        end_offset=2,
        request={"command": command_line()},
    )
    plant_operation(installation, redrive)

    assert 0 == run_replay(installation, yes=True)
    assert once(range(4)) == created(installation)
    assert ["redrive", "replay", "replay"] == [name.partition("-")[0] for name, _ in progress_states(installation)]


def plant_operation(installation: Installation, progress: ProgressRecord) -> None:
    """A progress record, as its process wrote it just now."""
    out = progress_out_record(progress, OutputTopic(installation.operations, 1, 999_000))
    plant(installation, installation.operations, out.value, key=out.key)


def plant(installation: Installation, topic: str, value: bytes | None, *, key: bytes | None = b"key") -> None:
    """A record on any topic."""
    producer = Producer(logged({"bootstrap.servers": installation.servers}))
    producer.produce(topic, value, key, 0, headers=list(JSON_HEADERS))
    assert producer.flush(30) == 0


def test_counts_of_an_operation_are_of_all_its_processes(installation: Installation) -> None:
    """What a killed process had committed is counted, and what it had not is counted once."""
    settings = installation.settings.model_copy(update={"max_batch_records": 2})
    installation = replace(installation, settings=settings)
    skip(installation, [repayment(number) for number in range(10)])
    killed(installation, Step.PRODUCED, nth=3)

    assert 0 == run_replay(installation, yes=True)
    assert once(range(10)) == created(installation)
    (*_, last) = installation.read_operations()
    assert ("DONE", 10, {"messages": 10, "decisions": 0, "deadLetters": 0}) == tuple(
        last[name] for name in ("state", "next", "counts")
    )


# ---------------------------------------------------------------------------------------------------------------------
# Records that cannot be read, or not now


def with_failing_schemas(monkeypatch: pytest.MonkeyPatch, fails: Callable[[int], bool], error: Exception) -> None:
    """The look-up of a schema raises `error` in its nth call, from 1 on, where `fails(n)`."""
    monkeypatch.setattr(EventPlans, "scan", lambda *_args, **_options: None)  # which asks once for all records
    calls = 0
    blocking = operation._blocking

    def failing(schema_of: SchemaOf) -> SchemaOf:
        inner = blocking(schema_of)

        def look_up(schema_id: SchemaId | SchemaGuid) -> WriterSchema:
            nonlocal calls
            calls += 1
            if fails(calls):
                raise error
            return inner(schema_id)

        return look_up

    monkeypatch.setattr(operation, "_blocking", failing)


@pytest.mark.parametrize("error", [DeferredSchemaError("refused"), KeyError(7)], ids=["refused", "unknown"])
def test_an_event_whose_id_could_not_be_searched(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It was sent twice, and its schema is refused or unknown while ids are read, and served a moment later: it is
    left, as it may have its message elsewhere; so it has, says the next call."""
    installation.produce_events([repayment(1)])
    installation.run()
    skip(installation, [repayment(1), repayment(2)])
    with_failing_schemas(monkeypatch, lambda call: call == 2, error)  # 1: the sample

    assert 1 == run_replay(installation, yes=True)
    assert Counter({(0, 1, "note"): 1, (2, 2, "note"): 1}) == created(installation)
    assert 0 == run_replay(installation, yes=True)
    assert Counter({(1, "ALREADY_CREATED"): 1}) == decided(installation)


def test_a_registry_that_is_gone_while_ids_are_read(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written; the same command goes on when it is back."""
    installation.produce_events([repayment(1)])
    installation.run()
    skip(installation, [repayment(1)])
    with_failing_schemas(monkeypatch, lambda call: call == 2, UnavailableError("no response from the registry"))

    with pytest.raises(DependencyError, match="no response from the registry\nhint: "):
        run_replay(installation, yes=True)
    assert 0 == run_replay(installation, yes=True)
    assert Counter({(1, "ALREADY_CREATED"): 1}) == decided(installation)
    assert ["STOPPED", "DONE"] == [state for _, state in progress_states(installation) if state != "UNDER_WAY"]


def test_a_record_whose_reading_raises(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever one record makes our code raise, it is that record's dead letter, and costs no other one its outcome."""

    def decode_or_raise(record: SourceRecord, *arguments: Any, **named: Any) -> Any:
        if record.position.offset == 1:
            raise RecursionError(record.value)
        return decode_record(record, *arguments, **named)

    monkeypatch.setattr(past_mapper, "decode_record", decode_or_raise)
    skip(installation, [repayment(number) for number in range(3)])

    assert 0 == run_replay(installation, yes=True)
    assert (once([0, 2]), Counter({(1, "MAPPING_ERROR"): 1})) == (created(installation), dead(installation))
    assert 0 == run_replay(installation)


def test_an_event_whose_mapping_raises(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `run` does it: a dead letter, and no word of the event on screen or in the log."""

    def map_or_raise(source: SourceEvent, *arguments: Any, **named: Any) -> Any:
        if source.record.position.offset == 1:
            raise ValueError(f"of {source.event.fields}")
        return map_event(source, *arguments, **named)

    monkeypatch.setattr(past_mapper, "map_event", map_or_raise)
    skip(installation, [repayment(number) for number in range(3)])

    assert 0 == run_replay(installation, yes=True)
    assert (once([0, 2]), Counter({(1, "MAPPING_ERROR"): 1})) == (created(installation), dead(installation))
    assert not {"Ines", "Duarte", "351910000001"} & set(re.findall(r"\w+", "".join(capsys.readouterr())))


def test_a_plan_is_not_gone_on_with_without_it(installation: Installation, tmp_path: Path) -> None:
    """--resume alone would do more than was reviewed."""
    skip(installation, [repayment(number) for number in range(4)])
    plan = tmp_path / "plan.jsonl"
    assert 1 == run_replay(installation, offsets="0:3", save_plan=plan)
    lines = plan.read_text().splitlines()
    plan.write_text("\n".join([*lines[:1], *lines[1:3]]) + "\n")  # the reviewer left one out
    with pytest.raises(InputError, match="is missing more now than the plan has"):
        run_replay(installation, plan=plan, yes=True)
    plan.write_text("\n".join(lines) + "\n")
    asked = replace(read_plan(plan).request, command=command_line(plan=plan))
    options = OperationOptions(yes=True, by="ada")
    with pytest.raises(Killed):
        run_operation(
            installation.settings, ReplayCommand(asked, plan=read_plan(plan)), options, on_step=kill_at(Step.PRODUCED)
        )
    (going_on, _) = progress_states(installation)[-1]

    with pytest.raises(UsageError, match="this operation does a plan, and nothing else\nhint: name its file with"):
        run_replay(installation, resume=going_on, yes=True)
    assert 0 == run_replay(installation, plan=plan, yes=True)
    assert (going_on, "DONE") == progress_states(installation)[-1]
    assert once(range(3)) == created(installation)


# ---------------------------------------------------------------------------------------------------------------------
# What is typed


@pytest.mark.parametrize("option", ["by", "because", "client", "account"])
def test_text_that_is_no_text(option: str) -> None:
    """Bytes that are not UTF-8 could not be kept with the operation: refused before anything is read."""
    with pytest.raises(UsageError, match=rf"--{option} is not UTF-8: 'x\\udcff'"):
        run_command(command.command, Settings(tenant=TENANT), **{option: "x\udcff"})


# ---------------------------------------------------------------------------------------------------------------------
# Templates and rows that changed


def test_a_template_that_changed_since(installation: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    """Existence is by event and template: with another recipient, edited and reverted, renamed, or removed and added
    again, nobody is written to once more; not by --include-new either, as the set of then had it."""
    installation.produce_events([repayment(number) for number in range(3)])
    installation.run()
    edits: list[dict[str, str | None]] = [
        {"note": NOTE.replace("version = 7", "version = 8").replace('"CLIENT"', '"CREDIT_OFFICER"')},
        {"note": NOTE.replace("version = 7", "version = 9").replace("Paid", "Got")},
        {"note": NOTE.replace("version = 7", "version = 10")},
        {"later": LATER},
        {"note": None},
        {"note": NOTE},
        {"later": None},
    ]
    for edit in edits:
        for name, text in edit.items():
            write_template(installation, name, text)
        code, found = replay_as_json(capsys, installation)
        assert (0, 0, 3) == (code, found["events"], found["withOutcome"]), edit
    assert 0 == run_replay(installation, include_new=["note"], yes=True)
    write_template(installation, "memo", NOTE.replace('"note"', '"memo"'))
    write_template(installation, "note", None)
    assert 0 == run_replay(installation, yes=True)
    assert once(range(3)) == created(installation)


def test_a_template_that_was_gone_for_a_while(installation: Installation) -> None:
    """Removed and added again: what was mapped meanwhile did not have it, and gets it by --include-new alone."""
    write_template(installation, "later", LATER)
    for text in (LATER, None, LATER):
        if text != LATER or installation.committed() != [-1001]:
            write_template(installation, "later", text)
        begin = max(0, *installation.committed())
        installation.produce_events([repayment(number) for number in range(begin, begin + 2)])
        installation.run()
    before = created(installation)
    assert once(range(6)) + once([0, 1, 4, 5], "later") == before

    assert 0 == run_replay(installation, yes=True)
    assert before == created(installation)
    assert 0 == run_replay(installation, include_new=["later"], yes=True)
    assert once(range(6)) + once(range(6), "later") == created(installation)
    assert 0 == run_replay(installation, include_new=["later"])


def client(number: int) -> dict[str, str]:
    """Fields of another client."""
    return {"encodedKey": f"{number:032x}", "id": f"C-{number}"}


def test_consents_that_changed_since(installation: Installation) -> None:
    """Who was written to is not written to again, whatever the rows say now; who was left out stays so, until an
    operator names the reason; who was skipped gets what the rows of today say."""
    write_template(installation, "note", NOTE.replace("OPT_OUT", "OPT_IN"))

    def rows(subscribed: Mapping[int, bool], blocked: Mapping[int, bool]) -> None:
        for number, value in subscribed.items():
            row = {"subscribed": value, "at": "2026-03-14T09:26:53Z"}
            installation.produce_row(Table.SUBSCRIPTIONS, f"{client(number)['encodedKey']}:note", row)
        for number, value in blocked.items():
            row = {**(BLOCKED if value else INES), "id": f"CTT-1000-0000-{number:04}"}
            installation.produce_row(Table.CONTACTS, client(number)["encodedKey"], row)

    rows({1: True, 2: False, 3: True, 4: True}, {3: False, 4: True})
    events = [repayment(number, **client(1 + number % 4)) for number in range(8)]
    installation.produce_events(events[:4])
    installation.run()
    assert {0: 1, 2: 1} == messages_by_offset(installation)
    assert Counter({(1, "NOT_SUBSCRIBED"): 1, (3, "CONTACT_BLOCKED"): 1}) == decided(installation)
    rows({1: False, 2: True}, {3: True, 4: False})
    skip(installation, events[4:])

    assert 0 == run_replay(installation, yes=True)
    assert {0: 1, 2: 1, 5: 1, 7: 1} == messages_by_offset(installation)
    then = Counter({(1, "NOT_SUBSCRIBED"): 1, (3, "CONTACT_BLOCKED"): 1})
    assert then + Counter({(4, "NOT_SUBSCRIBED"): 1, (6, "CONTACT_BLOCKED"): 1}) == decided(installation)
    assert 0 == run_replay(installation, include_decided=["NOT_SUBSCRIBED"], yes=True)
    assert {0: 1, 1: 1, 2: 1, 5: 1, 7: 1} == messages_by_offset(installation)
    assert 0 == run_replay(installation, include_decided=["NOT_SUBSCRIBED"])


def messages_by_offset(installation: Installation) -> dict[int, int]:
    """How many messages each event has, to whomever."""
    return dict(sorted(Counter(status["source"]["offset"] for status in installation.read_statuses()).items()))


# ---------------------------------------------------------------------------------------------------------------------
# The input, and where it lies


def test_an_event_that_was_sent_again_after_20_000_others(installation: Installation) -> None:
    """Far outside of the deduplication window: its message exists, so it gets none."""
    installation.produce_events([repayment(1)])
    installation.run()
    installation.produce_values([b"\0"] * 20_000)
    skip_to = 20_002
    installation.produce_events([repayment(1)])
    installation.set_position(skip_to)

    assert 0 == run_replay(installation, offsets="20001:", yes=True)
    assert Counter({(0, 1, "note"): 1}) == created(installation)
    assert Counter({(20_001, "ALREADY_CREATED"): 1}) == decided(installation)


def with_short_window(installation: Installation) -> Installation:
    """`run` maps an event that is sent again after another one."""
    deduplication = installation.settings.deduplication.model_copy(update={"records": 1})
    return replace(installation, settings=installation.settings.model_copy(update={"deduplication": deduplication}))


def test_a_new_template_for_an_event_that_was_sent_twice(installation: Installation) -> None:
    """Beyond the deduplication window: one of its records was mapped when the template was there, or neither was. It
    makes one message of the event, whichever record is replayed."""
    installation = with_short_window(installation)
    installation.produce_events([repayment(number) for number in (0, 1, 2, 1)])
    installation.run()
    write_template(installation, "later", LATER)
    installation.produce_events([repayment(0)])
    installation.run()

    assert 0 == run_replay(installation, include_new=["later"], yes=True)

    later = {place: count for place, count in created(installation).items() if place[2] == "later"}
    assert {(4, 0, "later"): 1, (1, 1, "later"): 1, (2, 2, "later"): 1} == later
    assert Counter({(0, "ALREADY_CREATED"): 1, (3, "ALREADY_CREATED"): 1}) == decided(installation)
    assert 0 == run_replay(installation, include_new=["later"])


def test_a_decision_on_an_event_that_was_sent_twice(installation: Installation) -> None:
    """Skipped for one of its records, and mapped for the other one: the decision stays."""
    installation = with_short_window(installation)
    write_template(installation, "note", NOTE + "active = false\n")
    installation.produce_events([repayment(number) for number in (0, 1)])
    installation.run()
    write_template(installation, "note", NOTE.replace("version = 7", "version = 8"))
    installation.produce_events([repayment(0)])
    installation.run()

    assert 0 == run_replay(installation, include_decided=["INACTIVE"], yes=True)

    assert Counter({(2, 0, "note"): 1, (1, 1, "note"): 1}) == created(installation)
    assert 0 == run_replay(installation, include_decided=["INACTIVE"])


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_reissue_of_an_event_that_was_sent_twice(installation: Installation, is_killed: bool) -> None:
    """`run` has written to the person twice; the reissue does it once, also where it was killed between the two."""
    settings = with_short_window(installation).settings.model_copy(update={"max_batch_records": 1})
    installation = replace(installation, settings=settings)
    installation.produce_events([repayment(number) for number in (0, 1, 0)])
    installation.run()
    reissue: dict[str, Any] = {"reissue": True, "because": "wrong amount", "yes": True}
    if is_killed:
        run = partial(operation.run_operation, on_step=kill_at(Step.BEGUN, nth=3))
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            patch.setattr(operation, "run_operation", run)
            run_replay(installation, **reissue)

    assert 0 == run_replay(installation, **reissue)

    statuses = [read_status(message) for message in installation.read(installation.status)]
    assert {0: 2, 1: 2, 2: 1} == Counter(status["source"]["offset"] for status in statuses)
    assert 4 == len({status["encodedKey"] for status in statuses})


def test_records_of_all_kinds(installation: Installation) -> None:
    """What `run` gave its outcome is left: rejected, empty, of another tenant, and where a template failed. The same
    kinds that were skipped get the outcomes that `run` would have given them; markers and aborted records get none."""
    strict = NOTE.replace('"note"', '"strict"').replace('"Note"', '"Strict"') + "strict = true\n"
    write_template(installation, "strict", strict.replace("{TRANSACTION_AMOUNT}", "{CF:LOAN:Absent}"))

    def produce(first: int) -> None:
        """Seven offsets: five records, an event that is aborted, and two markers."""
        producer = Producer(
            logged({"bootstrap.servers": installation.servers, "transactional.id": f"{installation.prefix}core"})
        )
        producer.init_transactions(30)
        other = {**repayment(first + 3), "tenant": "southbank"}
        values = [installation.encode(repayment(first))[0], b"broken", None, installation.encode(other)[0]]
        key = installation.encode(repayment(first))[1]
        producer.begin_transaction()
        for value in values:
            producer.produce(installation.events, value, key, 0)
        producer.commit_transaction(30)
        producer.begin_transaction()
        producer.produce(installation.events, installation.encode(repayment(99))[0], key, 0)
        producer.flush(30)
        producer.abort_transaction(30)

    produce(0)
    installation.run()
    assert [7] == installation.committed()
    produce(7)
    installation.set_position(14)

    def expected_after(*firsts: int) -> tuple[Counter[Any], ...]:
        return (
            once(firsts),
            Counter({(first + at, reason): 1 for first in firsts for at, reason in DEAD}),
            Counter({(first + at, reason): 1 for first in firsts for at, reason in DECIDED}),
        )

    assert expected_after(0) == (created(installation), dead(installation), decided(installation))
    assert 0 == run_replay(installation, yes=True)
    assert expected_after(0, 7) == (created(installation), dead(installation), decided(installation))
    assert 0 == run_replay(installation, yes=True)
    assert expected_after(0, 7) == (created(installation), dead(installation), decided(installation))


DEAD = ((0, "TEMPLATE_FAILED"), (1, "BAD_FRAME"))
DECIDED = ((2, "EMPTY_RECORD"), (3, "TENANT_DISABLED"))


def test_records_whose_time_lies_outside(installation: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    """The range of offsets is the broker's; records within it of another time are counted, and left to a replay that
    does not name the time."""
    now_ms = int(time.time() * 1000)
    minutes = [-60, -30, -90, -29, -28, -10]
    producer = Producer(logged({"bootstrap.servers": installation.servers}))
    for number, minute in enumerate(minutes):
        value, key = installation.encode(repayment(number))
        producer.produce(installation.events, value, key, 0, timestamp=now_ms + minute * 60_000)
    assert producer.flush(30) == 0
    installation.set_position(len(minutes))

    code, found = replay_as_json(capsys, installation, from_="40m", to="15m", yes=True)
    assert (0, {"OUTSIDE_TIME": 1}, 3) == (code, found["nothingToPublish"], found["events"])
    assert once([1, 3, 4]) == created(installation)
    assert 0 == run_replay(installation, yes=True)
    assert once(range(6)) == created(installation)


def test_filters_one_after_the_other(installation: Installation) -> None:
    """In any combination and order each event and template gets its message once, and a last replay without filters the
    rest."""
    write_template(installation, "later", LATER)
    events = [repayment(number, **client(number % 3)) for number in range(12)]
    for number, event in enumerate(events):
        event["account"] |= {"id": f"LN-{number % 2}"}
        if number % 4 == 3:
            event["event"] = "LOAN_REPAYMENT_REVERSAL"
    skip(installation, events)
    everything = Counter(
        {(number, template): 1 for number in range(12) if number % 4 != 3 for template in ("note", "later")}
    )
    filters: list[tuple[dict[str, Any], Callable[[int, str], bool]]] = [
        ({"template": ["later"], "account": "LN-1"}, lambda number, name: name == "later" and number % 2 == 1),
        ({"client": "C-1", "offsets": "3:"}, lambda number, _: number % 3 == 1 and number >= 3),
        ({"event": ["LOAN_REPAYMENT"], "template": ["note"]}, lambda _, name: name == "note"),
        ({"event": ["LOAN_REPAYMENT_REVERSAL"]}, lambda _number, _name: False),
        ({}, lambda _number, _name: True),
    ]
    done: set[tuple[int, str]] = set()
    for options, selects in filters:
        assert 0 == run_replay(installation, yes=True, **options)
        done |= {pair for pair in everything if selects(*pair)}
        found = Counter((status["source"]["offset"], status["templateId"]) for status in installation.read_statuses())
        assert Counter(dict.fromkeys(done, 1)) == found, options
    assert everything == found
    assert Counter({(number, "NO_TEMPLATE"): 1 for number in (3, 7, 11)}) == decided(installation)
    assert 0 == run_replay(installation)


def test_a_position_that_was_set_back_before(installation: Installation) -> None:
    """`run` has mapped some events twice by then: nothing of them is missing, and skipped ones are."""
    installation.produce_events([repayment(number) for number in range(6)])
    installation.run()
    installation.set_position(3)
    installation.run()
    twice = once(range(6)) + once([3, 4, 5])
    assert twice == created(installation)
    skip(installation, [repayment(number) for number in range(6, 8)])

    assert 0 == run_replay(installation, yes=True)
    assert twice + once([6, 7]) == created(installation)


def test_a_range_past_the_retention_of_events(installation: Installation) -> None:
    """Offsets that are gone are refused, with those that can be named; a time before them begins with what is there."""
    skip(installation, [repayment(number) for number in range(6)])
    delete_before(installation, installation.events, 4)

    with pytest.raises(InputError, match=r"begins at offset 4: earlier ones are gone\nhint: --offsets 4:6") as refused:
        run_replay(installation, offsets="2:6", yes=True)
    with pytest.raises(InputError, match="earlier ones are gone\nhint: nothing of that range is kept"):
        run_replay(installation, offsets="1:3", yes=True)
    assert refused.value.exit_code == 5
    assert [] == progress_states(installation)
    assert 0 == run_replay(installation, from_="9d", yes=True)
    assert once([4, 5]) == created(installation)


def test_partitions_that_were_added_meanwhile(installation: Installation) -> None:
    """Those that the group has no position in are refused, and named, before anything is written to any; the others
    can be replayed."""
    skip(installation, [repayment(number) for number in range(3)])
    installation.grow_topic(installation.events, 2)
    with pytest.raises(TopicConfigError, match=r"partitions(.|\n)*hint: `processor topics --grow`"):
        run_replay(installation, yes=True)
    for topic in (*installation.outputs, installation.operations):
        if not topic.startswith(f"{installation.prefix}mrn."):
            installation.grow_topic(topic, 2)
    installation.produce_events([repayment(3)], partition=1)

    with pytest.raises(InputError, match=r"has no position in \S+\[1\]: what `run` has not reached is not in the past"):
        run_replay(installation, yes=True)
    assert (Counter(), []) == (created(installation), progress_states(installation))
    assert 0 == run_replay(installation, partition=[0], yes=True)
    assert once(range(3)) == created(installation)


# ---------------------------------------------------------------------------------------------------------------------
# The outputs


@pytest.mark.parametrize("form", ["avro", "json"])
def test_both_forms_of_outputs(
    bootstrap_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """What exists is read, and what is missing written, in either."""
    output = {"format": form}
    installation = make_installation(bootstrap_servers, topic_prefix, tmp_path, monkeypatch, output=output)
    installation.produce_events([repayment(number) for number in range(3)])
    installation.run()
    skip(installation, [repayment(number) for number in (3, 4, 1)])

    assert 1 == run_replay(installation)
    assert 0 == run_replay(installation, yes=True)
    assert once(range(5)) == created(installation)
    assert 0 == run_replay(installation)
    assert 1 == len(installation.read(installation.decisions))


def test_a_template_set_that_is_not_kept(installation: Installation) -> None:
    """Whether it had a template is unknown: refused for --include-new, and of no matter for all else."""
    installation.produce_events([repayment(number) for number in range(3)])
    installation.run()
    write_template(installation, "later", LATER)
    skip(installation, [repayment(3)])
    (key,) = installation.template_set_keys()
    plant(installation, installation.settings.topic(FixedOutput.TEMPLATE_SETS), None, key=key.encode())

    for yes in (False, True):
        with pytest.raises(InputError, match=f"template set {key}, which is not kept(.|\n)*hint: take a later range"):
            run_replay(installation, include_new=["later"], yes=yes)
    assert once(range(3)) == created(installation)
    assert 0 == run_replay(installation, offsets="3:", include_new=["later"], yes=True)
    assert 0 == run_replay(installation, yes=True)
    assert once(range(4)) + once([3], "later") == created(installation)


def test_a_plan_whose_decision_would_be_a_message(installation: Installation, tmp_path: Path) -> None:
    """The row of a table has changed since the review, and people would be written to whom the plan left out: exit code
    5, and nothing is written; a new plan has the messages."""
    installation.produce_row(Table.CONTACTS, CLIENT, BLOCKED)
    skip(installation, [repayment(0)])
    plan, new = tmp_path / "plan.jsonl", tmp_path / "new.jsonl"
    assert 1 == run_replay(installation, save_plan=plan)
    installation.produce_row(Table.CONTACTS, CLIENT, INES)

    with pytest.raises(InputError, match=r"@0 makes messages now that the plan has not: note\nhint: nothing was"):
        run_replay(installation, plan=plan, yes=True)
    assert ([], []) == (installation.read_statuses(), progress_states(installation))
    assert 1 == run_replay(installation, save_plan=new)
    assert 0 == run_replay(installation, plan=new, yes=True)
    assert once([0]) == created(installation)


def test_a_wrong_tenant(installation: Installation) -> None:
    """A misspelt setting would give every event a decision that stands for all templates for ever: exit code 5, and
    nothing is written of any."""
    skip(installation, [repayment(number) for number in range(12)])
    misspelt = replace(installation, settings=installation.settings.model_copy(update={"tenant": "nothbank"}))

    assert 1 == run_replay(misspelt)
    with pytest.raises(
        InputError, match=r"12 of the first 12 records are of another tenant(.|\n)*PROCESSOR_TENANT"
    ) as no:
        run_replay(misspelt, yes=True)
    assert 5 == no.value.exit_code
    assert [] == installation.read_decisions()
    assert 0 == run_replay(installation, yes=True)
    assert once(range(12)) == created(installation)


def test_a_record_that_is_no_template_set(installation: Installation) -> None:
    """Their topic keeps it for ever: no replay ends for it, as `run` does not."""
    plant(installation, installation.settings.topic(FixedOutput.TEMPLATE_SETS), b"no set")
    installation.produce_events([repayment(0)])
    installation.run()
    write_template(installation, "later", LATER)
    skip(installation, [repayment(1)])

    assert 0 == run_replay(installation, include_new=["later"], yes=True)

    assert once([0, 1]) + once([0, 1], "later") == created(installation)


@pytest.mark.parametrize("name", [FixedOutput.STATUS, FixedOutput.DECISIONS])
def test_an_output_that_cannot_be_read(installation: Installation, name: FixedOutput) -> None:
    """It may be an event's outcome, so nothing behind it is missing for sure: exit code 5, and its place."""
    installation.produce_events([repayment(0)])
    installation.run()
    skip(installation, [repayment(1)])
    topic = installation.settings.topic(name)
    plant(installation, topic, b'{"newer": true}')

    for yes in (False, True):
        with pytest.raises(InputError, match=rf"{topic}\[0\]@\d+ cannot be read(.|\n)*hint: a newer version may") as no:
            run_replay(installation, yes=yes)
        assert no.value.exit_code == 5
    assert 1 == len(installation.read(installation.messages))


def test_an_operation_that_cannot_be_read(installation: Installation) -> None:
    """Somebody may be at work: exit code 5, before anything is touched."""
    skip(installation, [repayment(0)])
    plant(installation, installation.operations, b'{"kind": "PROGRESS", "state": "NEWER"}')

    for yes in (False, True):
        with pytest.raises(InputError, match=r"operations\[0\]@0 cannot be read(.|\n)*hint: a newer version") as no:
            run_replay(installation, yes=yes)
        assert no.value.exit_code == 5
    assert [] == installation.read_statuses()


def test_an_event_whose_schema_is_refused(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The registry refuses it, and serves others: it is left and counted, with exit code 1, and costs no other one its
    outcome; the same command makes up for it when it is served."""
    with_failing_schemas(monkeypatch, lambda call: call in (2, 5), DeferredSchemaError("refused"))
    skip(installation, [repayment(number) for number in range(3)])

    code, found = replay_as_json(capsys, installation, yes=True)
    assert (1, {"DEFERRED": 1}) == (code, found["nothingToPublish"])
    assert once([0, 2]) == created(installation)
    assert 0 == run_replay(installation, yes=True)
    assert once(range(3)) == created(installation)


def test_outputs_that_the_broker_refuses(installation: Installation) -> None:
    """A compacted topic takes no record without a key: the batch is halved down to that one, which is a dead letter;
    the others are published, once."""
    installation.configure(installation.decisions, "cleanup.policy", "compact")
    installation.produce_events([repayment(number) for number in range(3)])
    plant(installation, installation.events, b"", key=None)
    installation.produce_events([repayment(number) for number in range(4, 7)])
    installation.set_position(7)

    assert 0 == run_replay(installation, yes=True)
    assert once([0, 1, 2, 4, 5, 6]) == created(installation)
    assert Counter({(3, "OUTPUT_REFUSED"): 1}) == dead(installation)
    assert "DONE" == progress_states(installation)[-1][1]
    assert 0 == run_replay(installation)


def test_a_refused_event_is_named(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its dead letter has id, name and set, as one of `run`: by these it is found, and counts in the window."""
    publish = past_publisher.PastPublisher.publish

    def refuse_messages(self: past_publisher.PastPublisher, written: past_publisher.Written, next_offset: int) -> None:
        if written.messages:
            failure = NotCommitted("INVALID_RECORD", "no", is_record_error=True, result=TransactionResult.ABORTED)
            raise past_publisher.RefusedRecordsError(failure)
        publish(self, written, next_offset)

    skip(installation, [repayment(0)])
    with monkeypatch.context() as patch:
        patch.setattr(past_publisher.PastPublisher, "publish", refuse_messages)
        assert 0 == run_replay(installation, yes=True)

    assert Counter({(0, "OUTPUT_REFUSED"): 1}) == dead(installation)
    (letter,) = installation.read(installation.dead_letters)
    headers = dict(letter.headers() or [])
    expected = (repayment(0)["eventId"].encode(), b"LOAN_REPAYMENT", installation.template_set_keys()[0].encode())
    assert expected == tuple(headers.get(f"dl.{name}") for name in ("event_id", "event", "set_version"))


def test_a_batch_that_cannot_be_unpacked(installation: Installation) -> None:
    """`positions` was set behind it: exit code 3, with its place, and what is to be done, as it will not pass by
    itself; offsets beside it are replayed."""
    installation.produce_events([repayment(0)])
    produce_150_mb_batch(installation, installation.events)
    installation.produce_events([repayment(2)])
    installation.set_position(3)
    limited = replace(installation, settings=with_consumer(installation, SMALLER).settings)

    with pytest.raises(
        DependencyError, match=r"events\[0\]@1 cannot be read(.|\n)*hint: it fails until(.|\n)*--offsets"
    ):
        run_replay(limited, yes=True)
    assert 0 == run_replay(limited, offsets=":1", yes=True)
    assert 0 == run_replay(limited, offsets="2:", yes=True)
    assert once([0, 2]) == created(installation)


def test_progress_that_the_broker_refuses(installation: Installation) -> None:
    """Nothing can be written then: exit code 3, with the topic and what to do, and no internal error."""
    skip(installation, [repayment(0)])
    installation.limit(installation.operations, 1_200)

    with pytest.raises(DependencyError, match=r"operations does not take the record of(.|\n)*hint: raise its max.mess"):
        run_replay(installation, yes=True, because=secrets.token_urlsafe(700))  # it is not made smaller by compression
    assert 0 == run_replay(installation, yes=True, because="x")
    assert once([0]) == created(installation)


def test_a_topic_that_is_missing(installation: Installation) -> None:
    """Exit code 2, and how to create it, before anything is written."""
    skip(installation, [repayment(0)])
    for topic in (installation.notifications, installation.operations):
        installation.delete_topic(topic)
        with pytest.raises(TopicConfigError, match=rf"{topic}(.|\n)*hint: .*`processor topics --create`") as missing:
            run_replay(installation, yes=True)
        assert missing.value.exit_code == 2
    installation.create_topics()
    assert 0 == run_replay(installation, yes=True)
    assert once([0]) == created(installation)


NO_ROOM = """
import resource, sys
from processor.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
main()
"""


@pytest.mark.process
@pytest.mark.parametrize("yes", [False, True])
def test_a_disk_without_room(installation: Installation, yes: bool) -> None:
    """For the local store of the reference tables: what happened, what to do, exit code 3, and nothing is written; with
    room the same command does it all."""
    skip(installation, [repayment(number) for number in range(3)])
    installation.produce_row(Table.CONTACTS, client(1)["encodedKey"], INES)
    settings = installation.settings
    environment = {
        **installation.env(),
        "PROCESSOR_OUTPUT__FORMAT": "json",
        "PROCESSOR_TEMPLATES_DIR": str(settings.templates_dir),
        "PROCESSOR_STATE_DIR": str(settings.state_dir),
    }
    words = [sys.executable, "-c", NO_ROOM, "replay", *(["--yes"] if yes else [])]
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert 3 == ended.returncode, ended.stderr
    *_, what, hint = ended.stderr.splitlines()
    assert what.startswith("no room on the disk for the local store in /")
    assert hint.startswith("hint: make room there, or set PROCESSOR_STATE_DIR")
    assert "Traceback" not in ended.stderr
    assert ([], []) == (installation.read_statuses(), progress_states(installation))
    assert 0 == run_replay(installation, yes=True)
    assert once(range(3)) == created(installation)


def test_resume_takes_no_other_selection(installation: Installation) -> None:
    """What was asked for then is gone on with; other options would be left unread."""
    skip(installation, [repayment(number) for number in range(3)])
    going_on = killed(installation)

    with pytest.raises(UsageError, match="--resume goes on with what was asked for then\nhint: leave out the options"):
        run_replay(installation, resume=going_on, offsets="1:2", yes=True)
    assert 0 == run_replay(installation, resume=going_on, yes=True)
    assert once(range(3)) == created(installation)


def test_a_slow_replay_is_seen_to_be_alive(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a low rate no minute passes without a word of it, and its events come one by one, not at once."""
    monkeypatch.setattr(past_publisher, "HEARTBEAT_INTERVAL_S", 0.3)
    skip(installation, [repayment(number) for number in range(3)])

    assert 0 == run_replay(installation, rate=1, yes=True)
    progress = [record for record in installation.read_operations() if record["state"] == "UNDER_WAY"]
    times = [datetime.fromisoformat(record["at"]).timestamp() for record in progress]
    assert max(later - earlier for earlier, later in pairwise(times)) < 1
    assert {0, 1, 2, 3} == {record["next"] for record in progress}
    sent = [message.timestamp()[1] for message in installation.read(installation.status)]
    assert sent[-1] - sent[0] > 1_500


@pytest.mark.parametrize("is_killed", [True, False])
def test_a_reissue_is_known_behind_other_operations(installation: Installation, is_killed: bool) -> None:
    """The same command goes on with it, or is refused, whatever was done to the partition since: nobody gets another
    message of the same reissue."""
    settings = installation.settings.model_copy(update={"max_batch_records": 2})
    installation = replace(installation, settings=settings)
    installation.produce_events([repayment(number) for number in range(6)])
    installation.run()
    reissue: dict[str, Any] = {"reissue": True, "because": "wrong amount", "yes": True}
    if is_killed:
        run = partial(operation.run_operation, on_step=kill_at(Step.BEGUN, nth=2))
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            patch.setattr(operation, "run_operation", run)
            run_replay(installation, **reissue)
    else:
        assert 0 == run_replay(installation, **reissue)
    (begun, _) = progress_states(installation)[-1]
    assert 0 == run_replay(installation, yes=True, take_over=True)  # of what is missing: nothing
    installation.produce_events([repayment(6)])
    installation.run()

    if is_killed:
        assert 0 == run_replay(installation, **reissue)
        assert begun == progress_states(installation)[-1][0]
    else:
        with pytest.raises(UsageError, match=f"operation {begun} has done this very reissue"):
            run_replay(installation, **reissue)

    messages = Counter(read_status(message)["source"]["offset"] for message in installation.read(installation.status))
    assert {**dict.fromkeys(range(6), 2), 6: 1} == messages


def test_progress_of_other_operations_takes_no_memory(installation: Installation) -> None:
    """What a slow replay has said of itself in 90 days is read, and not kept."""
    skip(installation, [repayment(0)])
    out = progress_out_record(
        make_progress(state=OperationState.DONE), OutputTopic(installation.operations, 1, 999_000)
    )
    producer = Producer(logged({"bootstrap.servers": installation.servers}))
    for _ in range(20_000):
        producer.produce(out.topic, out.value, out.key, 0, headers=list(out.headers))
    assert producer.flush(30) == 0

    tracemalloc.start()
    try:
        assert 1 == run_replay(installation)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 23_000_000


def test_a_reissue_of_a_time_without_decisions(installation: Installation) -> None:
    """It is for messages that exist: what a missing outcome would prove is of no matter."""
    settings = installation.settings.model_copy(update={"decisions": WrittenDecisions.OFF})
    installation.produce_events([repayment(number) for number in range(2)])
    replace(installation, settings=settings).run()
    with pytest.raises(InputError, match="a missing outcome proves nothing"):
        run_replay(installation, yes=True)

    assert 0 == run_replay(installation, reissue=True, because="wrong amount", yes=True)
    assert {0: 2, 1: 2} == messages_by_offset(installation)


def test_events_that_were_created_again_and_are_fewer(installation: Installation) -> None:
    """The group's position lies behind their end: exit code 5 at once, and no word of an open transaction."""
    installation.produce_events([repayment(number) for number in range(3)])
    installation.run()
    installation.delete_topic(installation.events)
    installation.create_topics()
    installation.produce_events([repayment(9)])
    installation.set_position(3)  # the broker had forgotten it with the topic

    for yes in (False, True):
        with pytest.raises(
            InputError, match=r"position in .* is 3, and it ends at offset 1: it holds another log"
        ) as no:
            run_replay(installation, yes=yes)
        assert no.value.exit_code == 5
    assert once(range(3)) == created(installation)


def test_an_event_whose_plan_raises(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `run` does it: the reference makes its messages."""
    map_templates, raised = EventPlan.map_templates, list[int]()

    def map_or_raise(self: EventPlan, source: ScannedEvent, *arguments: Any, **named: Any) -> Any:
        if source.record.position.offset == 1:
            raised.append(1)
            raise ValueError("a bug")
        return map_templates(self, source, *arguments, **named)

    monkeypatch.setattr(EventPlan, "map_templates", map_or_raise)
    monkeypatch.setattr(mapping_parts, "call_in_thread", lambda make, **_name: make_at_once(make))
    skip(installation, [repayment(number) for number in range(3)])

    assert 0 == run_replay(installation, yes=True)
    assert (once([0, 1, 2]), Counter()) == (created(installation), dead(installation))
    assert raised
