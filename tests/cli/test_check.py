"""`processor check`: everything that is wrong, for people and for machines, and its exit code."""

import json
from pathlib import Path
from typing import Any

import pytest

from processor.cli import check, explain, preview
from processor.domain.catalogue import EVENTS, FAMILIES
from processor.errors import UsageError
from processor.registry.schema_files import shipped_schemas
from processor.settings import Settings
from processor.templates.load import SHIPPED
from processor.wire.reader_schemas import OUTPUT_SCHEMAS
from tests.cli.commands import run_command

WRONG = """\
id = "note"
version = 1
name = "Note"
type = "SMS"
event = "LOAN_REPAYMET"
target = "LOANS"
recipient = "CLIENT"
subscription = "OPT_OUT"
body = "{ACCOUNT_IDD}"
"""


def make_settings(**fields: Any) -> Settings:
    """Settings of one bank; neither environment nor file is read."""
    return Settings(**{"tenant": "northbank", **fields})


def test_shipped_files_pass_the_check(capsys: pytest.CaptureFixture[str]) -> None:
    """What is shipped has no error: exit 0, and the text says what was looked at."""
    code = run_command(check.command, make_settings())
    text = capsys.readouterr().out

    assert 0 == code
    assert text.endswith("\nno errors\n")
    assert [
        "settings   valid; tenant northbank, time zone UTC",
        f"schemas    {len(FAMILIES)} families, {len(EVENTS)} events, {len(OUTPUT_SCHEMAS)} outputs",
    ] == text.splitlines()[:2]
    assert "streams    LOAN_REPAYMENT, LOAN_REPAYMENT_REVERSAL, SAVINGS_DEPOSIT" in text.splitlines()


def test_diagnostics_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Diagnostics stand under their file with line, rule and hint; exit 1."""
    (tmp_path / "note.toml").write_text(WRONG)
    code = run_command(check.command, make_settings(templates_dir=tmp_path))
    text = capsys.readouterr().out

    assert 1 == code
    assert [
        "note.toml",
        "     5  T03 unknown event 'LOAN_REPAYMET'",
        "            hint: did you mean LOAN_REPAYMENT?",
        "",
        "1 error; nothing would be loaded",
    ] == text.splitlines()[-5:]


def test_diagnostics_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json stdout is one object that holds the same, and the exit code too."""
    (tmp_path / "note.toml").write_text(WRONG.replace("LOAN_REPAYMET", "LOAN_REPAYMENT"))
    code = run_command(check.command, make_settings(templates_dir=tmp_path), as_json=True)
    (line,) = capsys.readouterr().out.splitlines()
    result = json.loads(line)

    assert (1, False) == (code, result["ok"])
    assert [
        {
            "file": "note.toml",
            "line": 9,
            "rule": "T13",
            "severity": "error",
            "what": "unknown placeholder {ACCOUNT_IDD} (family loan_transaction)",
            "hint": "did you mean {ACCOUNT_ID}?",
        }
    ] == result["diagnostics"]
    assert {"directory": str(tmp_path), "files": 1, "setVersion": None, "streams": []} == result["templates"]


def test_a_warning_does_not_fail_the_check(tmp_path: Path) -> None:
    """A warning is shown and changes no exit code: here no tenant, and a template without a sample."""
    (tmp_path / "note.toml").write_text(
        WRONG.replace("LOAN_REPAYMET", "LOAN_REPAYMENT").replace("ACCOUNT_IDD", "ACCOUNT_ID")
    )
    settings = make_settings(templates_dir=tmp_path, tenant=None)
    checked = check.check(settings)

    assert ["PROCESSOR_TENANT is not set; `run` needs it", "no sample"] == [
        diagnostic.message for diagnostic in checked.diagnostics
    ]
    assert 0 == checked.errors
    assert 0 == run_command(check.command, settings, as_json=True)


def test_schemas_and_templates_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken schemas do not hide what is wrong with templates; samples need schemas and are not run."""
    schemas = tmp_path / "schemas"
    for folder in ("events", "messages"):
        (schemas / folder).mkdir(parents=True)
        for path in (shipped_schemas() / folder).glob("*.avsc"):
            (schemas / folder / path.name).write_bytes(path.read_bytes())
    (schemas / "ids.json").write_text("{}")
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "note.toml").write_text(WRONG)
    settings = make_settings(schemas_dir=schemas, templates_dir=templates)
    checked = check.check(settings)

    assert checked.schemas is None
    assert {str(schemas), "note.toml"} == {diagnostic.location.file for diagnostic in checked.diagnostics}
    assert 1 == run_command(check.command, settings)
    assert "schemas    cannot be used, so no sample was run" in capsys.readouterr().out.splitlines()


def test_a_sample_that_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sample that renders otherwise shows both texts, from a little before where they part."""
    (tmp_path / "samples").mkdir()
    for name in ("savings-deposit", "savings-deposit-client"):
        (tmp_path / "samples" / f"{name}.json").write_bytes((SHIPPED / "samples" / f"{name}.json").read_bytes())
    text = (SHIPPED / "savings-deposit-stream.toml").read_text()
    (tmp_path / "savings-deposit-stream.toml").write_text(text.replace('"amount": "100.00"', '"amount": "100.01"'))
    code = run_command(check.command, make_settings(templates_dir=tmp_path))
    lines = capsys.readouterr().out.splitlines()

    assert 1 == code
    assert "samples    2, 1 not as expected" in lines
    assert [
        """            expected …'1", "amount": "100.01", "balance": "1250.75", "purpose": "Tractor"}'""",
        """            got      …'1", "amount": "100.00", "balance": "1250.75", "purpose": "Tractor"}'""",
    ] == [line for line in lines if "100.0" in line]


def test_check_opens_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """`check` opens no connection: with sockets that fail it says the same."""

    def refuse(*_: object) -> None:
        raise AssertionError("connected")

    monkeypatch.setattr("socket.socket.connect", refuse)

    assert 0 == run_command(check.command, make_settings(kafka={"bootstrap_servers": "127.0.0.1:9"}), as_json=True)


def test_every_command_reports_a_disguised_placeholder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """T21 and its hint are in the text, the JSON, and in what `preview` and `explain` refuse such a template with."""
    text = WRONG.replace("REPAYMET", "REPAYMENT").replace("{ACCOUNT_IDD}", "%7BACCOUNT_ID%7D {ACCOUNT_\u00adID}")
    (tmp_path / "note.toml").write_text(text)
    settings = make_settings(templates_dir=tmp_path)
    run_command(check.command, settings)
    text = capsys.readouterr().out
    run_command(check.command, settings, as_json=True)
    diagnostics = json.loads(capsys.readouterr().out)["diagnostics"]
    with pytest.raises(UsageError) as previewed:
        run_command(preview.command, settings, template="note")
    with pytest.raises(UsageError) as explained:
        run_command(explain.command, settings, events=["LOAN_REPAYMENT"])

    assert "     9  T21 {ACCOUNT_<U+00AD>ID}: looks like a placeholder and is text; it has U+00AD SOFT HYPHEN\n" in text
    assert [(9, "T21", "error", "write {ACCOUNT_ID}")] * 2 == [
        (diagnostic["line"], diagnostic["rule"], diagnostic["severity"], diagnostic["hint"])
        for diagnostic in diagnostics
    ]
    for error in (previewed, explained):
        assert "%7BACCOUNT_ID%7D: looks like a placeholder and is text [T21]\n  hint: write" in str(error.value)
