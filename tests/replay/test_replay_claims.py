"""`processor replay` against what happened meanwhile: templates, rows, topics and positions that changed, and input of
all kinds. Each claim is compared with what a plain reader finds (plain_reader.py), whose keys an oracle computes."""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from processor.cli import replay as command
from processor.cli.past_options import command_text
from processor.domain.event import SourceEvent
from processor.domain.operation import OperationId
from processor.domain.operation_record import OperationState, ProgressRecord
from processor.domain.output_topics import OutputTopic
from processor.domain.record import SchemaGuid, SchemaId, SourceRecord
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
from processor.mapping.map import map_event
from processor.replay import operation, partition_replay, past_mapper
from processor.replay.operation import OperationOptions, run_operation
from processor.replay.plan import read_plan
from processor.replay.replay import ReplayCommand
from processor.replay.request import ReplayRequest
from processor.replay.selection import Selection
from processor.wire.json_codec import JSON_HEADERS
from processor.wire.operations import progress_out_record
from processor.wire.schema import SchemaOf, WriterSchema
from tests.replay.plain_reader import created, dead, decided, once, progress_states
from tests.replay.test_anchor import delete_before
from tests.replay.test_replay import LATER, NOTE, replay_as_json, run_replay, skip
from tests.support.builders import make_progress
from tests.support.clients import logged
from tests.support.events import repayment
from tests.support.installation import Installation, create_installation

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
    monkeypatch.setenv("COLUMNS", "300")
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
    typed = {"partition": list(selection["partitions"])} if "partitions" in selection else {}
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


def test_an_event_whose_id_could_not_be_searched(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was sent twice, and its schema is refused while ids are read, and served a moment later: it is left, as it may
    have its message elsewhere; so it has, says the next call."""
    installation.produce_events([repayment(1)])
    installation.run()
    skip(installation, [repayment(1), repayment(2)])
    with_failing_schemas(monkeypatch, lambda call: call == 2, DeferredSchemaError("refused"))  # 1: the sample

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

    for module in (partition_replay, past_mapper):
        monkeypatch.setattr(module, "decode_record", decode_or_raise)
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
        command.command(**{option: "x\udcff"})
