"""What operators see of commands on the past: whole screens on terminals of 80 and of 120 columns, and as JSON."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from processor.cli import positions, redrive, replay
from tests.cli.commands import run_command
from tests.replay.test_dead_letters_command import DONE_IT, PLAIN, STRICT, write_templates
from tests.support.events import repayment
from tests.support.installation import Installation, create_installation
from tests.support.terminal import pretend_terminal

pytestmark = pytest.mark.kafka

OPERATION_ID: Final = re.compile(r"(replay|redrive|positions)-\d{8}T\d{6}Z-[0-9a-f]{8}")
LOG_LINE: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[")


@pytest.fixture
def installation(
    bootstrap_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Installation:
    """Three events that one of two templates failed for, four that were skipped, and one that is not mapped yet."""
    monkeypatch.chdir(tmp_path)
    templates = write_templates(tmp_path / "templates", note=STRICT, paid=PLAIN)
    made = create_installation(
        bootstrap_servers, topic_prefix, templates_dir=templates, state_dir=tmp_path / "state", max_rejected_ratio=1
    )
    made.produce_events([repayment(number) for number in range(3)])
    made.run()
    made.produce_events([repayment(number) for number in range(3, 8)])
    made.set_position(7)
    return made


SCREENS: Final = """\
## replay
partition 0, offsets 0 to 6: 3 with outcome, 4 without
  4 events fail in template note: MISSING_VALUE
┏━━━━━━━━━━┳━━━━━━━━━┳━━━━━━━━━━━┳━━━━━━━━━━┓
┃ template ┃ channel ┃ age       ┃ messages ┃
┡━━━━━━━━━━╇━━━━━━━━━╇━━━━━━━━━━━╇━━━━━━━━━━┩
│ paid     │ SMS     │ under 1 h │        4 │
└──────────┴─────────┴───────────┴──────────┘
missing: 4 messages of 4 events
hint: nothing was written; --yes writes it, in about 1 s
## replay --yes
partition 0, offsets 0 to 6: 3 with outcome, 4 without
  4 events fail in template note: MISSING_VALUE
┏━━━━━━━━━━┳━━━━━━━━━┳━━━━━━━━━━━┳━━━━━━━━━━┓
┃ template ┃ channel ┃ age       ┃ messages ┃
┡━━━━━━━━━━╇━━━━━━━━━╇━━━━━━━━━━━╇━━━━━━━━━━┩
│ paid     │ SMS     │ under 1 h │        4 │
└──────────┴─────────┴───────────┴──────────┘
operation REPLAY-ID done: 4 messages of 4 events
## replay again
partition 0, offsets 0 to 6: 7 with outcome, 0 without
nothing is missing
## redrive what fails still
partition 0: 0 would pass, 7 would fail again
  7 fail in template note: MISSING_VALUE
nothing would pass now; `processor dead-letters` says who acts
## redrive
partition 0: 7 would pass, 0 would fail again
would make 7 messages of 7 dead letters
order: what is redriven comes behind the later events of its account: for it, order per account does not hold
hint: nothing was written; --yes redrives them
## redrive --yes
partition 0: 7 passed, 0 failed again
operation REDRIVE-ID done: 7 messages of 7 dead letters
order: what is redriven comes behind the later events of its account: for it, order per account does not hold
## redrive again
partition 0: no open dead letters of the selection
nothing would pass now; `processor dead-letters` says who acts
## positions
group GROUP in EVENTS
┏━━━━━━━━━━━┳━━━━━━┳━━━━┳━━━━━━━━━━━┳━━━━━━━━━━━━━━┓
┃ partition ┃ from ┃ to ┃ events    ┃ outputs hold ┃
┡━━━━━━━━━━━╇━━━━━━╇━━━━╇━━━━━━━━━━━╇━━━━━━━━━━━━━━┩
│ 0         │    7 │  8 │ 1 skipped │ up to 6      │
└───────────┴──────┴────┴───────────┴──────────────┘
hint: skipped events get no outcome; `processor replay` makes up for them
hint: nothing was changed; `--yes --because TEXT` acts
## positions --yes
group GROUP in EVENTS
┏━━━━━━━━━━━┳━━━━━━┳━━━━┳━━━━━━━━━━━┳━━━━━━━━━━━━━━┓
┃ partition ┃ from ┃ to ┃ events    ┃ outputs hold ┃
┡━━━━━━━━━━━╇━━━━━━╇━━━━╇━━━━━━━━━━━╇━━━━━━━━━━━━━━┩
│ 0         │    7 │  8 │ 1 skipped │ up to 6      │
└───────────┴──────┴────┴───────────┴──────────────┘
hint: skipped events get no outcome; `processor replay` makes up for them
old positions saved in POSITIONS-ID.json; `processor positions --file` takes them back
set 1 of 1 positions: operation POSITIONS-ID
## positions again
group GROUP in EVENTS
┏━━━━━━━━━━━┳━━━━━━┳━━━━┳━━━━━━━━┳━━━━━━━━━━━━━━┓
┃ partition ┃ from ┃ to ┃ events ┃ outputs hold ┃
┡━━━━━━━━━━━╇━━━━━━╇━━━━╇━━━━━━━━╇━━━━━━━━━━━━━━┩
│ 0         │    8 │  8 │ stays  │              │
└───────────┴──────┴────┴────────┴──────────────┘
nothing to set: the group is there
"""


def shown(
    capsys: pytest.CaptureFixture[str], installation: Installation, command: Callable[..., int], **options: Any
) -> tuple[int, str]:
    """Exit code, and what is on the screen, without what a test logs and with `REPLAY-ID` for the id of a replay."""
    capsys.readouterr()
    code = run_command(command, installation.settings, **options)
    text = OPERATION_ID.sub(lambda found: f"{found[1].upper()}-ID", capsys.readouterr().out)
    text = text.replace(installation.group, "GROUP").replace(installation.events, "EVENTS")
    return code, "".join(line for line in text.splitlines(keepends=True) if not LOG_LINE.match(line))


def work_of_an_operator(
    capsys: pytest.CaptureFixture[str], installation: Installation, **options: Any
) -> Iterator[tuple[str, int, str]]:
    """A replay, a redrive before and after the template is corrected, and positions: name, exit code and screen."""

    def show(command: Callable[..., int], **more: Any) -> tuple[int, str]:
        return shown(capsys, installation, command, **options, **more)

    yield "replay", *show(replay.command)
    yield "replay --yes", *show(replay.command, yes=True)
    yield "replay again", *show(replay.command)
    yield "redrive what fails still", *show(redrive.command)
    assert installation.settings.templates_dir is not None
    write_templates(installation.settings.templates_dir, note=DONE_IT, paid=PLAIN)
    yield "redrive", *show(redrive.command)
    yield "redrive --yes", *show(redrive.command, yes=True)
    yield "redrive again", *show(redrive.command)
    yield "positions", *show(positions.command, to="8")
    yield "positions --yes", *show(positions.command, to="8", yes=True, by="ada", because="a damaged batch")
    yield "positions again", *show(positions.command, to="8")


EXIT_CODES: Final = [1, 0, 0, 0, 1, 0, 0, 1, 0, 0]


@pytest.mark.parametrize("columns", [80, pytest.param(120, marks=pytest.mark.long)])
def test_screens(
    installation: Installation, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """The same words on both, in the same order; no line is wider than the terminal."""
    pretend_terminal(monkeypatch, columns)
    names, codes, texts = zip(*work_of_an_operator(capsys, installation), strict=True)
    assert EXIT_CODES == list(codes)
    screens = "".join(f"## {name}\n{text}" for name, text in zip(names, texts, strict=True))
    assert SCREENS.split() == screens.split()
    assert columns < 120 or screens == SCREENS
    assert max(len(line) for text in texts for line in text.splitlines()) <= columns


def test_the_same_for_machines(installation: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    """One line of JSON for each, with the same exit code, and what the screen says in it."""
    names, codes, texts = zip(*work_of_an_operator(capsys, installation, as_json=True), strict=True)
    objects = {name: json.loads(text) for name, text in zip(names, texts, strict=True)}

    assert EXIT_CODES == list(codes)
    missing = {"template": "paid", "channel": "SMS", "age": "under 1 h", "count": 4}
    failed = {"template": "note", "reason": "MISSING_VALUE", "count": 4}
    for name, operation in (("replay", None), ("replay --yes", "REPLAY-ID")):
        result, (partition,) = objects[name], objects[name]["partitions"]
        assert (operation, False) == (result["operation"], result["stopped"])
        assert (0, 7, 3, 4) == tuple(
            partition[field] for field in ("firstOffset", "endOffset", "withOutcome", "withoutOutcome")
        )
        assert ([missing], [failed]) == (partition["messages"], partition["failed"])
    assert [] == objects["replay again"]["partitions"][0]["messages"]
    for name, operation, passing, failing in (
        ("redrive what fails still", None, 0, 7),
        ("redrive", None, 7, 0),
        ("redrive --yes", "REDRIVE-ID", 7, 0),
        ("redrive again", None, 0, 0),
    ):
        result, (partition,) = objects[name], objects[name]["partitions"]
        assert (operation, False) == (result["operation"], result["stopped"])
        assert (passing, failing, passing) == (partition["passing"], partition["failing"], partition["messages"])
    for name, operation, begin in (
        ("positions", None, 7),
        ("positions --yes", "POSITIONS-ID", 7),
        ("positions again", None, 8),
    ):
        result, (partition,) = objects[name], objects[name]["partitions"]
        assert (operation is not None, operation) == (result["done"], result["operation"])
        assert (begin, 8, 8 - begin) == (partition["from"], partition["to"], partition["skipped"])
