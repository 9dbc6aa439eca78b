"""`processor explain`: what each template makes of an event, or why not, as people and machines read it."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from processor.cli import explain
from processor.errors import UsageError
from processor.settings import Settings
from processor.templates.load import SHIPPED
from tests.cli.commands import run_command
from tests.support.builders import SMS_HEAD, changed, sample

CONDITIONAL = (
    SMS_HEAD.replace("version = 1", "version = 7")
    + """\
match = "ANY"
body = "{ACCOUNT_ID}"

[[condition]]
field = "TRANSACTION_AMOUNT"
operator = "MORE_THAN"
value = 500

[[condition]]
field = "CF:CLIENT:Segment"
operator = "EQUALS"
value = "Private"
"""
)


def run_explain(capsys: pytest.CaptureFixture[str], *arguments: str, **fields: Any) -> tuple[int, list[str]]:
    """Exit code and lines for people."""
    code = run_command(explain.command, Settings(**{"tenant": "northbank", **fields}), events=arguments)
    return code, capsys.readouterr().out.splitlines()


def test_messages_that_would_be_created(capsys: pytest.CaptureFixture[str]) -> None:
    """The name of an event gives its sample; each template says what it makes, and to whom."""
    code, lines = run_explain(capsys, "ACCOUNT_IN_ARREARS")
    event_id, holder = "70a92334-8f0f-59e0-9e9c-a468c3b5248a", 'Women\'s "Sunrise" circle <Porto>'

    assert 0 == code
    assert [
        f"the sample of ACCOUNT_IN_ARREARS: ACCOUNT_IN_ARREARS {event_id}, keyed by 8a8e867d5b1a4c0e015b1a60aa330001",
        "  account-in-arrears-task v1 TASK: made",
        f"    QUEUED to soneill: LN-317002 (Bakery oven) is 271.20 EUR overdue. Holder: {holder}",
    ] == lines[:3]


def test_each_condition_with_its_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a template that makes nothing each condition is shown with the value it compared; that is no failure."""
    (tmp_path / "note.toml").write_text(CONDITIONAL)
    code, lines = run_explain(capsys, str(SHIPPED / "samples" / "loan-repayment.json"), templates_dir=tmp_path)

    assert 0 == code
    assert [
        "  note v7 SMS: CONDITION_FALSE",
        "    none of them holds; condition 1: TRANSACTION_AMOUNT MORE_THAN 500; the value is 218.24",
        "    conditions, ANY of them:",
        "      no  TRANSACTION_AMOUNT MORE_THAN 500; the value is 218.24",
        "      no  CF:CLIENT:Segment EQUALS 'Private'; the value is 'Retail'",
    ] == lines[1:6]


def test_no_template_and_another_tenant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What keeps all templates from being applied is shown; without a tenant the event's own is taken."""
    (tmp_path / "note.toml").write_text(CONDITIONAL)
    code, lines = run_explain(capsys, "CLIENT_REJECTED", templates_dir=tmp_path)
    assert (0, "  no message, NO_TEMPLATE: no template names CLIENT_REJECTED") == (code, lines[1])

    path = str(SHIPPED / "samples" / "loan-repayment.json")
    code, lines = run_explain(capsys, path, tenant="southbank")
    assert "  no message, TENANT_DISABLED: tenant northbank; this installation is for southbank" == lines[1]

    code, lines = run_explain(capsys, path, tenant=None)
    assert "  loan-repayment-email v1 EMAIL: made" == lines[1]


def test_events_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines are events by themselves; what is none would be a dead letter, and ends with 1."""
    good, bad = sample("loan-repayment"), changed(sample("loan-repayment"), {"event": "LOAN_REPAYED"})
    (tmp_path / "events.jsonl").write_text(f"{json.dumps(good)}\n\n{json.dumps(bad)}\n")
    code, lines = run_explain(capsys, str(tmp_path / "events.jsonl"))

    assert 1 == code
    assert lines[0].startswith(f"{tmp_path}/events.jsonl:1: LOAN_REPAYMENT ")
    detail = "event: 'LOAN_REPAYED' is not known; did you mean LOAN_REPAYMENT?"
    assert [f"{tmp_path}/events.jsonl:3: dead letter, UNKNOWN_EVENT: {detail}"] == [
        line for line in lines if "dead letter" in line
    ]


def test_an_event_on_many_lines_from_stdin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A pretty-printed event is one event."""
    text = json.dumps(sample("loan-repayment"), indent=2).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    code, lines = run_explain(capsys, "-")

    assert 0 == code
    assert lines[0].startswith("stdin: LOAN_REPAYMENT ")


def test_control_characters_of_an_event_are_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters of an event are shown as a replacement character."""
    event = changed(sample("savings-deposit-client"), {"account.id": "\x1b[31mLN"})  # it stays in an SMS
    (tmp_path / "event.json").write_text(json.dumps(event))
    _, lines = run_explain(capsys, str(tmp_path / "event.json"))

    assert any("\ufffd[31mLN" in line for line in lines)
    assert not any("\x1b" in line for line in lines)


def test_a_failed_template_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A template that cannot be rendered for the event ends with 1, and says why."""
    text = CONDITIONAL.partition("match")[0] + 'strict = true\nbody = "{GROUP_NAME}"\n'
    (tmp_path / "note.toml").write_text(text)
    code, lines = run_explain(capsys, "LOAN_REPAYMENT", templates_dir=tmp_path)

    assert 1 == code
    assert ["  note v7 SMS: failed, MISSING_VALUE", "    no value: {GROUP_NAME}"] == lines[1:3]


@pytest.mark.parametrize("option", ["OPT_IN", "OPT_OUT"])
def test_unread_reference_tables_are_mentioned(tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    """No reference table is read, so a holder may have opted in: the text says so, as for messages that are made."""
    text = CONDITIONAL.partition("match")[0].replace("OPT_OUT", option) + 'body = "{ACCOUNT_ID}"\n'
    (tmp_path / "note.toml").write_text(text)
    code, lines = run_explain(capsys, "LOAN_REPAYMENT", templates_dir=tmp_path)

    assert (0, "note v7 SMS") == (code, lines[1].strip().rpartition(":")[0])
    assert lines[-1].startswith("not looked at: the reference tables")


def test_explanation_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """One object, with the same results."""
    code = run_command(explain.command, Settings(tenant="northbank"), events=["ACCOUNT_IN_ARREARS"], as_json=True)
    result = json.loads(capsys.readouterr().out)
    (event,) = result["events"]
    task, email = event["templates"]

    assert 0 == code
    assert "loan-arrears-email" == email["template"]
    assert ("ACCOUNT_IN_ARREARS", None, False) == (event["event"], event["reason"], event["deadLetter"])
    assert ("account-in-arrears-task", "MADE", False) == (task["template"], task["outcome"], task["failed"])
    assert 32 == len(task["encodedKey"])


@pytest.mark.parametrize(
    ("argument", "what", "hint"),
    [
        ("LOAN_REPAYMET", "LOAN_REPAYMET is neither an event's name nor a file", "did you mean LOAN_REPAYMENT?"),
        ("no/such.json", "no/such.json is neither an event's name nor a file: No such file", "name a file of JSON"),
    ],
)
def test_an_argument_that_is_neither_event_nor_file(argument: str, what: str, hint: str) -> None:
    """An argument that is neither is an error with a hint."""
    with pytest.raises(UsageError) as caught:
        run_command(explain.command, Settings(tenant="northbank"), events=[argument])

    assert str(caught.value).startswith(what)
    assert f"hint: {hint}" in str(caught.value)


def test_an_empty_file(tmp_path: Path) -> None:
    """Nothing to explain is an error, not silence."""
    (tmp_path / "empty.json").write_text("\n")
    with pytest.raises(UsageError, match=r"has no event"):
        run_command(explain.command, Settings(tenant="northbank"), events=[str(tmp_path / "empty.json")])


def test_unknown_fields_of_an_event(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is a warning on stderr, once for a file; stdout stays as it is."""
    event = changed(sample("loan-repayment"), {"transaction.amonut": "1"})
    (tmp_path / "one.json").write_text(json.dumps(event, indent=1))
    (tmp_path / "two.jsonl").write_text(f"{json.dumps(event)}\n{json.dumps(event)}\n")
    arguments = [str(tmp_path / "one.json"), str(tmp_path / "two.jsonl")]
    assert 0 == run_command(explain.command, Settings(tenant="northbank"), events=arguments, as_json=True)
    printed = capsys.readouterr()

    assert 3 == len(json.loads(printed.out)["events"])
    text = "warning: unknown field transaction.amonut; did you mean amount?"
    assert [f"{arguments[0]}: {text}", f"{arguments[1]}:1: {text}"] == printed.err.splitlines()


def test_secrets_are_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A link to set a password is its addressee's alone."""
    text = """
id = "reset"
version = 1
name = "Reset"
type = "SMS"
event = "PORTAL_PASSWORD_RESET"
target = "CLIENT"
recipient = "CLIENT"
subscription = "OPT_OUT"
body = "Reset: {PASSWORD_URL}"
"""
    (tmp_path / "reset.toml").write_text(text)
    run_command(explain.command, Settings(tenant="northbank", templates_dir=tmp_path), events=["PORTAL_PASSWORD_RESET"])
    assert "Reset: ***" in capsys.readouterr().out
