"""A typo in an event's name: wherever such a name is taken the nearest event is named, by one rule."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from processor.cli import check, explain, preview, templates
from processor.demo.produce import RejectedLine, classify, decode_lines
from processor.domain.catalogue import EVENTS, nearest_event
from processor.errors import UsageError
from processor.registry.schema_files import load_schemas
from processor.settings import Settings, load_settings
from processor.wire.wire_format import WireFormat
from tests.cli.commands import run_command
from tests.support.builders import sample

TEMPLATE = """\
id = "note"
version = 1
name = "Note"
type = "SMS"
event = ["LOAN_REPAYMENT", "LOAN_CREATED"]
target = "LOANS"
recipient = "CLIENT"
subscription = "OPT_OUT"
body = "{ACCOUNT_ID}"
"""


def error_of(call: Callable[[], object]) -> str:
    """What a command says of its arguments."""
    with pytest.raises(UsageError) as caught:
        call()
    return str(caught.value)


def settings(folder: Path, **fields: Any) -> Settings:
    """Settings of one bank with this folder of templates."""
    return Settings(tenant="northbank", templates_dir=folder, **fields)


def diagnostics(folder: Path, text: str) -> str:
    """What `check` says of this template."""
    (folder / "note.toml").write_text(text)
    return "\n".join(str(diagnostic) for diagnostic in check.check(settings(folder)).diagnostics)


def of_a_template(folder: Path, name: str) -> str:
    return diagnostics(folder, TEMPLATE.replace('["LOAN_REPAYMENT", "LOAN_CREATED"]', json.dumps(name)))


def of_a_condition(folder: Path, name: str) -> str:
    return diagnostics(folder, f'{TEMPLATE}[[condition]]\nfield = "EVENT"\noperator = "EQUALS"\nvalue = "{name}"\n')


def of_a_list_in_a_condition(folder: Path, name: str) -> str:
    text = f'field = "EVENT"\noperator = "IN"\nvalues = ["LOAN_REPAYMENT", "{name}"]\n'
    return diagnostics(folder, f"{TEMPLATE}[[condition]]\n{text}")


def of_a_sample(folder: Path, name: str) -> str:
    (folder / "event.json").write_text(json.dumps(sample("loan-repayment") | {"event": name}))
    text = '[[sample]]\nname = "a"\nevent = "event.json"\nexpected.state = "QUEUED"\n'
    return diagnostics(folder, TEMPLATE + text)


def of_explain(folder: Path, name: str) -> str:
    diagnostics(folder, TEMPLATE)
    return error_of(lambda: run_command(explain.command, settings(folder), events=[name]))


def of_preview(folder: Path, name: str) -> str:
    diagnostics(folder, TEMPLATE)
    return error_of(lambda: run_command(preview.command, settings(folder), template="note", event=name))


def of_placeholders(folder: Path, name: str) -> str:
    return error_of(lambda: run_command(templates.command, settings(folder), placeholders=name))


def of_a_new_template(folder: Path, name: str) -> str:
    return error_of(lambda: run_command(templates.command, settings(folder), new="a", event=name, channel="SMS"))


def of_a_line_of_events(folder: Path, name: str) -> str:  # noqa: ARG001  as the others
    line = json.dumps(sample("loan-repayment") | {"event": name}).encode()
    (found,) = classify(
        decode_lines([(1, line)], load_schemas()), load_schemas(), format=WireFormat.AVRO, limit_bytes=1_000_000
    )
    assert isinstance(found, RejectedLine)
    return found.detail


def of_an_override(folder: Path, name: str) -> str:  # noqa: ARG001  as the others
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROCESSOR_CHANNELS__OVERRIDES", json.dumps({name: {"EMAIL": True}}))
        return error_of(load_settings)


PLACES = [
    of_a_template,
    of_a_condition,
    of_a_list_in_a_condition,
    of_a_sample,
    of_explain,
    of_preview,
    of_placeholders,
    of_a_new_template,
    of_a_line_of_events,
    of_an_override,
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
@pytest.mark.parametrize("name", ["LOAN_REPAYMET", "loan-repayment ", "REPAYMENT", "LoanRepayment"])
def test_the_nearest_event_is_named(tmp_path: Path, place: Callable[[Path, str], str], name: str) -> None:
    """Misspelt, in part or otherwise written: one event is named, never all of them."""
    text = place(tmp_path, name)

    assert "did you mean LOAN_REPAYMENT?" in text
    assert sum(event in text for event in EVENTS) <= 3


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
@pytest.mark.parametrize("name", ["QQQ", "x" * 5000])
def test_a_name_like_no_event(tmp_path: Path, place: Callable[[Path, str], str], name: str) -> None:
    """Nothing is guessed, and no list of all names is shown."""
    text = place(tmp_path, name)

    assert "did you mean" not in text
    assert sum(event in text for event in EVENTS) <= 2


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("ARREARS", "ACCOUNT_IN_ARREARS"),
        ("password", "PORTAL_PASSWORD_RESET"),
        ("ACCOUNT_AUTHORIZATION_HOLD_CREATED", "ACCOUNT_AUTHORISATION_HOLD_CREATED"),
        ("CARDS_AUTHORISATION_HOLD_AMOUNT_DECRESED", "CARDS_AUTHORISATION_HOLD_AMOUNT_DECREASED"),
        ("interest applied", "DEPOSIT_INTEREST_APPLIED"),
        ("loan.disbursement", "LOAN_DISBURSEMENT"),
        ("", ""),
        ("_", ""),
        ("QQQ", ""),
    ],
)
def test_nearest_event(name: str, event: str) -> None:
    """By its words, whatever stands between them, else by its letters."""
    assert event == nearest_event(name)


def test_every_event_is_nearest_to_itself() -> None:
    """Also in small letters, with hyphens, and with a letter too few."""
    for event in EVENTS:
        assert [event] * 3 == [nearest_event(name) for name in (event, event.lower().replace("_", "-"), event[:-1])]


def test_a_condition_that_names_events_in_another_case(tmp_path: Path) -> None:
    """As EQUALS and IN compare; only an operator that looks at case needs the event's own spelling."""
    small = of_a_condition(tmp_path, "loan_repayment")
    exact = diagnostics(
        tmp_path,
        f'{TEMPLATE}[[condition]]\nfield = "EVENT"\noperator = "EQUALS_CASE_SENSITIVE"\nvalue = "loan_repayment"\n',
    )

    assert "is no event" not in small
    assert "did you mean LOAN_REPAYMENT?" in exact
