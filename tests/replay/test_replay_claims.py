"""`processor replay` against what happened meanwhile: templates, rows, topics and positions that changed, and input of
all kinds. Each claim is compared with what a plain reader finds (plain_reader.py), whose keys an oracle computes."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition

from processor.cli import replay as command
from processor.engine.step import Step, StepHook
from processor.errors import DeferredSchemaError, InputError, TopicConfigError, UnavailableError, UsageError
from processor.replay.operation import OperationOptions, run_operation
from processor.replay.replay import ReplayCommand
from processor.replay.request import ReplayRequest
from processor.replay.selection import Selection
from tests.replay.plain_reader import created, dead, decided, once, progress_states
from tests.replay.test_anchor import delete_before
from tests.replay.test_replay import LATER, NOTE, replay_as_json, run_replay, skip
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
    return command._command_line(typed)


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
