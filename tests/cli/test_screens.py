"""Every command's screen on real terminals of 40, 80 and 120 columns, and without one."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from processor.cli.main import parser
from tests.replay.test_dead_letters_command import PLAIN, STRICT, write_templates
from tests.support.events import repayment
from tests.support.installation import Installation, create_installation
from tests.support.terminal import run_on_terminal

PROGRAM: Final = """\
import json, sys
from processor.cli.main import exit_code
for arguments in json.loads(sys.argv[1]):
    print("\\f" + " ".join(arguments), flush=True)
    exit_code(arguments)
    sys.stdout.flush()
"""
"""Runs command lines one after the other, each behind a form feed."""

HELP: Final = [["--help"], *([command.name or "", "--help"] for command in parser.registered_commands)]
LOCAL: Final = [
    ["templates"],
    ["templates", "--placeholders", "LOAN_REPAYMENT"],
    ["preview", "loan-repayment-email"],
    ["preview", "authorisation-hold-webhook"],
    ["preview", "--programs", "--event", "LOAN_REPAYMENT"],
    ["explain", "LOAN_REPAYMENT", "ACCOUNT_IN_ARREARS"],
    ["check"],
    ["schemas", "check"],
    ["settings"],
]
ON_A_BROKER: Final = [
    ["topics"],
    ["dead-letters"],
    ["dead-letters", "--list"],
    ["dead-letters", "--show", "0:1"],
    ["explain", "--at", "0:1"],
    ["replay"],
    ["redrive"],
    ["positions", "--to", "beginning"],
]
Screens = dict[str, str]


def split_screens(text: str) -> Screens:
    """Command line -> what it wrote, without sequences of the terminal."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    return {command: screen for command, _, screen in (part.partition("\n") for part in plain.split("\f")[1:])}


def screens_on(columns: int, commands: Sequence[Sequence[str]], **environment: str) -> Screens:
    """On a terminal of so many columns."""
    program = [sys.executable, "-c", PROGRAM, json.dumps(commands)]
    return split_screens(run_on_terminal(program, columns=columns, environment=environment).screen)


def screens_without(commands: Sequence[Sequence[str]], **environment: str) -> Screens:
    """Without a terminal."""
    program = [sys.executable, "-c", PROGRAM, json.dumps(commands)]
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("COLUMNS", "TTY_COMPATIBLE", "FORCE_COLOR")
    }
    done = subprocess.run(program, env=inherited | environment, capture_output=True, text=True, check=True, timeout=120)
    return split_screens(done.stdout)


def broken_names(screen: str, without: str) -> list[str]:
    """Words that may be copied, and stand in the output without a terminal, but not whole on this screen."""
    words = set(re.sub(r"[│┃]", " ", screen).split())
    return [word for word in without.split() if re.search(r"[A-Z0-9_.{/-]", word) and word not in words]


def too_wide(screen: str, columns: int) -> list[str]:
    """Lines that the terminal itself would break, but for those that cannot be wrapped: one word, or a command."""
    return [
        line
        for line in screen.splitlines()
        if len(line) > columns and len(line.split()) > 2 and not line.lstrip().startswith(("Example:", "processor "))
    ]


@pytest.mark.process
@pytest.mark.parametrize("columns", [40, 80, 120])
def test_commands_that_open_no_connection(columns: int) -> None:
    """No word is broken, and no line is wider than the terminal. Of the templates a narrow screen may show less."""
    on_terminal, without = screens_on(columns, LOCAL), screens_without(LOCAL)
    ids = [line.split()[0] for line in without["templates"].splitlines()[2:]]
    assert [] == broken_names(on_terminal["templates"], " ".join(ids))
    assert [shlex.join(command) for command in LOCAL] == list(on_terminal) == list(without)
    others = [name for name in without if name != "templates"]
    assert {} == {name: found for name in others if (found := broken_names(on_terminal[name], without[name]))}
    assert {} == {name: found for name, text in on_terminal.items() if (found := too_wide(text, columns))}


@pytest.mark.process
@pytest.mark.parametrize("columns", [40, 80, 120])
def test_help(columns: int) -> None:
    """Summaries and options are whole sentences, no name is broken, and examples stand on one line."""
    screens = screens_on(columns, HELP)
    assert len(HELP) == len(screens) == 16
    for name, screen in screens.items():
        assert "..." not in screen.replace("[ARGS]...", "").replace("[EVENT]...", ""), name
        assert [] == too_wide(screen, columns), name
        options = re.findall(r"(?<![\w-])-(?:-[a-z]+)+-$", screen, re.MULTILINE)
        assert [] == options, name
        assert name == "--help" or re.search(r"^  Example: .*processor ", screen, re.MULTILINE), name


@pytest.mark.process
def test_odd_terminals() -> None:
    """TERM=dumb has no sequences at all, and an encoding without our signs breaks nothing."""
    commands = [["templates"], ["check"]]
    program = [sys.executable, "-c", PROGRAM, json.dumps(commands)]
    dumb = run_on_terminal(program, columns=60, environment={"TERM": "dumb"})
    latin = run_on_terminal(program, columns=120, environment={"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"})

    assert (0, False) == (dumb.code, "\x1b" in dumb.screen)
    assert {} == {name: found for name, text in split_screens(dumb.screen).items() if (found := too_wide(text, 60))}
    assert (0, True) == (latin.code, "loan-repayment-email" in latin.screen)


@pytest.fixture
def installation(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> Installation:
    """Three events that one of two templates failed for, and two that were skipped."""
    folder = write_templates(tmp_path / "templates", note=STRICT, paid=PLAIN)
    made = create_installation(
        bootstrap_servers, topic_prefix, templates_dir=folder, state_dir=tmp_path / "state", max_rejected_ratio=1
    )
    made.produce_events([repayment(number) for number in range(3)])
    made.run()
    made.produce_events([repayment(number) for number in range(3, 5)])
    made.set_position(5)
    return made


def environment_of(installation: Installation) -> Mapping[str, str]:
    """Its settings as variables."""
    settings = installation.settings
    return {
        **{name: value for name, value in installation.env().items() if name.startswith("PROCESSOR_")},
        "PROCESSOR_TEMPLATES_DIR": str(settings.templates_dir),
        "PROCESSOR_STATE_DIR": str(settings.state_dir),
    }


@pytest.mark.kafka
@pytest.mark.process
def test_commands_on_a_broker(installation: Installation) -> None:
    """The same of them, at 40, 80 and 120 columns; a narrow screen leaves out what `topics` says of configuration."""
    environment: Mapping[str, Any] = environment_of(installation)
    without = screens_without(ON_A_BROKER, **environment)
    assert [shlex.join(command) for command in ON_A_BROKER] == list(without)
    assert [] == [name for name, text in without.items() if len(text) < 40]
    for columns in (40, 80, 120):
        on_terminal = screens_on(columns, ON_A_BROKER, **environment)
        topics = [line.split()[0] for line in without["topics"].splitlines()]
        assert [] == broken_names(on_terminal["topics"], " ".join(topics))
        others = [name for name in without if name != "topics"]
        assert {} == {name: found for name in others if (found := broken_names(on_terminal[name], without[name]))}
        assert {} == {name: found for name, text in on_terminal.items() if (found := too_wide(text, columns))}


@pytest.mark.process
def test_placeholders_can_be_searched() -> None:
    """Each placeholder is whole in a line of its own, without a terminal."""
    screens = screens_without([["templates", "--placeholders", "LOAN_ANTICIPATED_DISBURSEMENT"]])
    (text,) = screens.values()
    rows = [line.split()[0] for line in text.splitlines() if line.startswith("{")]

    assert len(rows) > 40
    assert all(re.fullmatch(r"\{[A-Z0-9_]+\}", row) for row in rows)
