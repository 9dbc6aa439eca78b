"""`processor templates`: lists, placeholders with values, a template to begin with, the schema for editors."""

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from processor.cli import templates
from processor.domain.catalogue import EVENTS
from processor.domain.placeholders import placeholders_of
from processor.errors import UsageError
from processor.settings import Settings
from processor.templates.file_model import json_schema
from processor.templates.load import SHIPPED, read_templates
from tests.cli.commands import run_command
from tests.support.builders import TENANT, schemas
from tests.support.terminal import pretend_terminal

ALL = [(event, channel.value) for event, row in EVENTS.items() for channel in sorted(row.channels)]


def test_templates_are_listed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each template with its version, type, events and addressee; as JSON with its conditions too."""
    pretend_terminal(monkeypatch, 200)
    assert 0 == run_command(templates.command, Settings(tenant=TENANT))
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line for line in lines if "account-in-arrears-task" in line]
    assert ["account-in-arrears-task", "1", "TASK", "ACCOUNT_IN_ARREARS", "CREDIT_OFFICER", ""] == [
        cell.strip() for cell in row.strip("│").split("│")
    ]

    assert 0 == run_command(templates.command, Settings(tenant=TENANT), as_json=True)
    result = json.loads(capsys.readouterr().out)
    assert sorted(path.stem for path in SHIPPED.glob("*.toml")) == [item["id"] for item in result["templates"]]
    assert (0, 32) == (result["broken"], len(result["setVersion"]))


def test_broken_templates_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be used is not hidden, and ends with 1."""
    (tmp_path / "note.toml").write_text("version = 1")
    assert 1 == run_command(templates.command, Settings(tenant=TENANT, templates_dir=tmp_path))
    assert "1 more cannot be used: `processor check` says why" in capsys.readouterr().out


def test_placeholders_of_an_event(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its family, with what the event's sample has; a name that is none has the nearest."""
    pretend_terminal(monkeypatch, 200)
    assert 0 == run_command(templates.command, Settings(tenant=TENANT), placeholders="ACCOUNT_IN_ARREARS", as_json=True)
    result = json.loads(capsys.readouterr().out)
    values = {item["name"]: item["sample"] for item in result["placeholders"]}
    assert placeholders_of("loan_account").keys() == values.keys()
    assert ("271.20", None) == (values["ARREARS_POSITION"], values["CLIENT_NAME"])

    assert 0 == run_command(templates.command, Settings(tenant=TENANT), placeholders="ACCOUNT_IN_ARREARS")
    assert any("{ARREARS_POSITION}" in line and "271.20" in line for line in capsys.readouterr().out.splitlines())
    with pytest.raises(UsageError, match=r"hint: did you mean ACCOUNT_IN_ARREARS\?"):
        run_command(templates.command, Settings(tenant=TENANT), placeholders="ACCOUNT_IN_AREARS", as_json=True)


def test_secrets_are_masked_in_lists(capsys: pytest.CaptureFixture[str]) -> None:
    """The link that resets a password is masked."""
    run_command(templates.command, Settings(tenant=TENANT), placeholders="PORTAL_PASSWORD_RESET", as_json=True)

    assert "https://" not in capsys.readouterr().out


@pytest.mark.parametrize(("event", "channel"), ALL, ids=str)
def test_a_new_template_is_without_errors(event: str, channel: str, tmp_path: Path) -> None:
    """Of every event, in each of its channels: it loads, and has a sample that passes, or says why there is none."""
    settings = Settings(tenant=TENANT, templates_dir=tmp_path / "mine")
    code = run_command(templates.command, settings, new="begin-here", event=event, channel=channel)
    loaded = read_templates(tmp_path / "mine", tenant=TENANT, schemas=schemas())

    assert 0 == code
    if loaded.samples:
        assert ((), [True]) == (loaded.diagnostics, [run.passed for run in loaded.samples])
    else:
        assert ["no sample"] == [item.message for item in loaded.diagnostics]
        assert "# Its event makes no message: NO_RECIPIENT" in (tmp_path / "mine" / "begin-here.toml").read_text()


def test_existing_files_are_not_overwritten(tmp_path: Path) -> None:
    """A template of that id stays as it is; a sample event that is there is used as it is."""
    settings = Settings(tenant=TENANT, templates_dir=tmp_path)
    run_command(templates.command, settings, new="mine", event="CLIENT_CREATED", channel="SMS")
    before = (tmp_path / "mine.toml").read_text()
    with pytest.raises(UsageError, match=r"mine\.toml is there already"):
        run_command(templates.command, settings, new="mine", event="CLIENT_CREATED", channel="EMAIL")
    assert before == (tmp_path / "mine.toml").read_text()

    event = tmp_path / "events" / "CLIENT_CREATED.json"
    event.write_text(event.read_text().replace('"mobilePhone": "+351', '"mobilePhone": "+49'))
    run_command(templates.command, settings, new="other", event="CLIENT_CREATED", channel="SMS")
    (sample,) = tomllib.loads((tmp_path / "other.toml").read_text())["sample"]
    assert sample["expected"]["destination"].startswith("+49")


@pytest.mark.parametrize(
    ("template_id", "event", "channel", "what"),
    [
        ("a", "CLIENT_CREATED", "EMIAL", "'EMIAL' is none of 5 known words\nhint: did you mean EMAIL?"),
        ("a", "CLIENT_CREATD", "EMAIL", "hint: did you mean CLIENT_CREATED?"),
        (
            "a",
            "END_OF_DAY_PROCESSING_COMPLETED",
            "EMAIL",
            "is not sent by EMAIL\nhint: its channels: EVENT_STR",
        ),
        ("A b", "CLIENT_CREATED", "EMAIL", "id 'A b' is not an id"),
        ("../b", "CLIENT_CREATED", "EMAIL", "id '../b' is not an id"),
    ],
)
def test_mistakes_leave_no_template_behind(
    template_id: str, event: str, channel: str, what: str, tmp_path: Path
) -> None:
    """Each mistake has its words, and leaves no template behind."""
    with pytest.raises(UsageError) as caught:
        run_command(
            templates.command,
            Settings(tenant=TENANT, templates_dir=tmp_path),
            new=template_id,
            event=event,
            channel=channel,
        )

    assert what in str(caught.value)
    assert [] == [*tmp_path.glob("*.toml"), *tmp_path.parent.glob("*.toml")]


def test_the_shipped_folder_is_not_written_to() -> None:
    """Without a folder of one's own there is nothing to add to."""
    with pytest.raises(UsageError, match="PROCESSOR_TEMPLATES_DIR"):
        run_command(templates.command, Settings(tenant=TENANT), new="a", event="CLIENT_CREATED", channel="EMAIL")


def test_the_json_schema_accepts_shipped_templates(capsys: pytest.CaptureFixture[str]) -> None:
    """Every shipped template fits it; it is what the command prints."""
    assert 0 == run_command(templates.command, Settings(), schema=True)
    assert json_schema() == json.loads(capsys.readouterr().out)
    checker = jsonschema.Draft202012Validator(json_schema())
    checker.check_schema(json_schema())
    for path in SHIPPED.glob("*.toml"):
        assert [] == [error.message for error in checker.iter_errors(tomllib.loads(path.read_text()))], path.name


@pytest.mark.parametrize(
    "change",
    [
        {"type": "EMIAL"},
        {"event": "LOAN_REPAYED"},
        {"event": []},
        {"version": 0},
        {"subjekt": "x"},
        {"recipient": "CUSTOMER"},
        {"condition": [{"field": "TENANT", "operator": "EQUAL"}]},
        {"webhook": {"request_type": "GET"}},
        {"sample": [{"name": "a", "event": "a.json", "subscribed": "no"}]},
    ],
)
def test_the_json_schema_rejects_mistakes(change: dict[str, object]) -> None:
    """Misspelt words and unknown fields are marked while one types."""
    good = tomllib.loads((SHIPPED / "loan-repayment-email.toml").read_text())
    checker = jsonschema.Draft202012Validator(json_schema())

    assert checker.is_valid(good)
    assert checker.is_valid(good | {"sample": [{"name": "a", "event": "a.json", "subscribed": False}]})
    assert not checker.is_valid(good | change)
