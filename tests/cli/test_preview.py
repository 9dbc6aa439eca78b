"""`processor preview`: a template beside the message it makes, and what keeps it from making one."""

import json
from pathlib import Path
from typing import Any

import pytest

from processor.cli import explain, preview
from processor.domain.record import EventName
from processor.engine.executor import choose_executor
from processor.errors import UsageError
from processor.mapping.options import Plan
from processor.settings import Settings, SmsSettings
from processor.templates.load import SHIPPED, load_templates
from tests.cli.commands import run_command
from tests.support.builders import changed, sample, schemas
from tests.support.terminal import pretend_terminal

MANUAL = """\
id = "note"
version = 1
name = "Note"
type = "SMS"
event = "MANUAL"
trigger = "MANUAL"
target = "CLIENT"
recipient = "CLIENT"
subscription = "OPT_OUT"
body = "{RECIPIENT_NAME}"
"""


def run_preview(template: str = "loan-repayment-email", *, settings: Settings | None = None, **options: Any) -> int:
    """The command with these options."""
    return run_command(preview.command, settings or Settings(tenant="northbank"), template=template, **options)


def test_preview_as_text(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The first sample: template and message side by side, each placeholder with its value, and where it goes."""
    pretend_terminal(monkeypatch, 240)
    code = run_preview()
    text = capsys.readouterr().out

    assert 0 == code
    assert 'loan-repayment-email v1, EMAIL, of LOAN_REPAYMENT: sample "a client\'s repayment"' in text
    (subject,) = [line for line in text.splitlines() if "subject" in line]
    assert ["subject", "Payment received: {ACCOUNT_ID}", "Payment received: LN-204417"] == [
        cell.strip() for cell in subject.strip("│").split("│")
    ]
    assert any("{TRANSACTION_AMOUNT}" in line and "218.24" in line for line in text.splitlines())
    assert text.endswith("QUEUED, to ines.duarte@example.com\n")


def test_json_of_a_webhook(capsys: pytest.CaptureFixture[str]) -> None:
    """One object with each part, the address among them."""
    assert 0 == run_preview("authorisation-hold-webhook", as_json=True)
    result = json.loads(capsys.readouterr().out)

    assert ("MADE", "QUEUED", "PO-88121") == (result["outcome"], result["state"], result["values"]["{HOLD_ID}"])
    assert {
        "template": "https://ledger.example.com/accounts/{ACCOUNT_ID}/holds?reference={HOLD_ID}",
        "message": "https://ledger.example.com/accounts/SV-771204/holds?reference=PO-88121",
    } == result["parts"]["url"]


def hook(tmp_path: Path, table: str, content_type: str = "application/json") -> Settings:
    """A template `hook` with this `[webhook]`, alone in its folder."""
    text = f"""
id = "hook"
version = 1
name = "Hook"
type = "WEB_HOOK"
event = "LOAN_REPAYMENT"
target = "LOANS"
subscription = "OPT_OUT"
content_type = "{content_type}"
body = '"{{ACCOUNT_ID}}"'

[webhook]
url = "https://a.example/{{ACCOUNT_ID}}"
{table}
"""
    (tmp_path / "hook.toml").write_text(text)
    return Settings(tenant="northbank", templates_dir=tmp_path)


BASIC = """
request_type = "PUT"
authorization = "BASIC_AUTHORIZATION"
username = "northbank"
password_env = "HOOK_PASSWORD"
headers = { X-Source = "communications", X-Api-Key = "s3cret" }
"""


def test_how_a_webhook_is_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Method, content type, kind of authorisation and headers, as it is sent; a header's value may be a secret."""
    pretend_terminal(monkeypatch, 120)
    monkeypatch.setenv("HOOK_PASSWORD", "pa55word")
    settings = hook(tmp_path, BASIC, "APPLICATION_JSON")
    assert 0 == run_preview("hook", settings=settings, as_json=True)
    text = capsys.readouterr().out
    assert {
        "method": "PUT",
        "contentType": "application/json",
        "authorization": "BASIC_AUTHORIZATION",
        "username": "northbank",
        "passwordEnv": "HOOK_PASSWORD",
        "headers": {"X-Source": "***", "X-Api-Key": "***"},
    } == json.loads(text)["request"]
    assert "s3cret" not in text
    assert "pa55word" not in text

    assert 0 == run_preview("hook", settings=settings)
    text = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line]
    for row in (
        ["method", "PUT"],
        ["content type", "application/json"],
        ["authorization", "BASIC_AUTHORIZATION, user northbank, password in HOOK_PASSWORD"],
        ["header X-Api-Key", "***"],
    ):
        assert row in rows
    assert "s3cret" not in text


def test_defaults_of_a_webhook(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a file leaves out has its default."""
    assert 0 == run_preview("hook", settings=hook(tmp_path, "", "PLAIN_TEXT"), as_json=True)

    assert {
        "method": "POST",
        "contentType": "text/plain; charset=UTF-8",
        "authorization": "NO_AUTHORIZATION",
        "username": None,
        "passwordEnv": None,
        "headers": {},
    } == json.loads(capsys.readouterr().out)["request"]


def test_only_webhooks_show_a_request(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An e-mail and a stream event are no calls; a task has a title, its template's name."""
    pretend_terminal(monkeypatch, 120)
    for template, title in (
        ("loan-repayment-email", None),
        ("loan-repayment-stream", None),
        ("account-in-arrears-task", "Call about an overdue loan"),
    ):
        assert 0 == run_preview(template, as_json=True)
        read = json.loads(capsys.readouterr().out)
        assert (None, title) == (read["request"], read["title"])
        assert 0 == run_preview(template)
        assert ("title" in capsys.readouterr().out) == (title is not None)


@pytest.mark.parametrize(("name", "language"), [("Ines", "pt"), ("Sakura", "en")])
def test_the_shown_language_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, language: str
) -> None:
    """A template in several languages says which text is shown, the addressee's; one in a single language does not."""
    text = (SHIPPED / "loan-repayment-email.toml").read_text().partition("[[sample]]")[0]
    event = sample("loan-repayment")
    event["client"]["language"] = {"Ines": "pt", "Sakura": "ja"}[name]
    (tmp_path / "event.json").write_text(json.dumps(event))
    (tmp_path / "loan-repayment-email.toml").write_text(f'{text}[locale.pt]\nsubject = "Olá"\nbody = "<p>Olá</p>"\n')
    settings = Settings(templates_dir=tmp_path)
    for as_json in (True, False):
        assert 0 == run_preview(settings=settings, event=str(tmp_path / "event.json"), as_json=as_json)
    line, head, *_ = capsys.readouterr().out.splitlines()

    assert language == json.loads(line)["locale"]
    assert f"EMAIL in {language}, of LOAN_REPAYMENT" in head

    (tmp_path / "loan-repayment-email.toml").write_text(text)
    assert 0 == run_preview(settings=settings, event=str(tmp_path / "event.json"))
    assert "EMAIL, of LOAN_REPAYMENT" in capsys.readouterr().out


def test_a_sample_selected_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    """Another sample than the first, and a message that is created FAILED is shown as such."""
    name = "a client without an e-mail address, and with a name that is markup"
    assert 0 == run_preview(sample=name, as_json=True)
    result = json.loads(capsys.readouterr().out)

    assert ("FAILED", "MISSING_EMAIL_RECIPIENT_ADDRESS", None) == tuple(
        result[key] for key in ("state", "failureReason", "destination")
    )
    assert "<b>Bo</b> & Co" == result["values"]["{RECIPIENT_FIRST_NAMES}"]
    assert "&lt;b&gt;Bo&lt;/b&gt;" in result["parts"]["body"]["message"]


OPT_IN = (SHIPPED / "loan-repayment-email.toml").read_text().partition("[[sample]]")[0].replace("OPT_OUT", "OPT_IN")


@pytest.mark.parametrize(
    ("subscribed", "options", "code", "outcome"),
    [
        ("", {}, 0, "MADE"),
        ("subscribed = true\n", {}, 0, "MADE"),
        ("subscribed = false\n", {}, 1, "NOT_SUBSCRIBED"),
        ("subscribed = false\n", {"event": "LOAN_REPAYMENT"}, 0, "MADE"),
    ],
)
def test_an_opt_in_template_is_shown_to_a_subscribed_holder(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    subscribed: str,
    options: dict[str, Any],
    code: int,
    outcome: str,
) -> None:
    """The holder is subscribed, unless the sample that is shown says otherwise; an event of one's own says nothing."""
    (tmp_path / "event.json").write_text(json.dumps(sample("loan-repayment")))
    text = f'{OPT_IN}[[sample]]\nname = "a"\nevent = "event.json"\n{subscribed}'
    (tmp_path / "loan-repayment-email.toml").write_text(text)
    assert code == run_preview(settings=Settings(templates_dir=tmp_path), as_json=True, **options)

    assert outcome == json.loads(capsys.readouterr().out)["outcome"]


def test_an_event_that_makes_no_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An event that makes no message shows why, and what it would say; it ends with 1."""
    event = changed(sample("loan-repayment"), {"client": None, "group": sample("savings-deposit")["group"]})
    (tmp_path / "event.json").write_text(json.dumps(event, indent=1))
    code = run_preview(event=str(tmp_path / "event.json"))

    text = capsys.readouterr().out

    assert 1 == code
    assert "Payment received: LN-204417" in text
    assert text.endswith("no message, NO_RECIPIENT: the event has no client; above is what it would say\n")


def test_a_template_without_samples_uses_the_shipped_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The shipped sample of its first event."""
    text = (SHIPPED / "loan-repayment-email.toml").read_text().partition("[[sample]]")[0]
    (tmp_path / "loan-repayment-email.toml").write_text(text)
    assert 0 == run_preview(settings=Settings(templates_dir=tmp_path), as_json=True)

    assert "the sample of LOAN_REPAYMENT" == json.loads(capsys.readouterr().out)["eventSource"]


def test_html_to_a_file(tmp_path: Path) -> None:
    """The body as a page that a browser reads as UTF-8."""
    assert 0 == run_preview(html=tmp_path / "body.html")

    page = (tmp_path / "body.html").read_text(encoding="utf-8")
    assert page.startswith('<!doctype html><meta charset="utf-8"><p>Dear Ines,</p>')


def test_html_in_the_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    """--open shows the page; without a browser it says where the page is."""
    opened_pages: list[str] = []

    def open_page(address: str) -> bool:
        opened_pages.append(address)
        return True

    monkeypatch.setattr("webbrowser.open", open_page)
    assert 0 == run_preview(browser=True)
    page = Path(opened_pages[0].removeprefix("file://"))
    assert "<p>Dear Ines,</p>" in page.read_text()
    page.unlink()

    monkeypatch.setattr("webbrowser.open", lambda _address: False)
    with pytest.raises(UsageError, match="no browser could be started\nhint: the body is in ") as caught:
        run_preview(browser=True)
    Path(str(caught.value).rpartition(" ")[2]).unlink()


@pytest.mark.parametrize(
    ("options", "what", "hint"),
    [
        (
            {"template": "loan-repayment-mail"},
            "no template 'loan-repayment-mail' in ",
            "did you mean loan-repayment-email",
        ),
        ({"sample": "x"}, "loan-repayment-email has no sample 'x'", "its samples: a client's repayment, a client"),
        ({"event": "CLIENT_CREATED"}, "loan-repayment-email is not for CLIENT_CREATED", "it is for LOAN_REPAYMENT"),
        ({"event": "nowhere.json"}, "nowhere.json is neither an event's name nor a file", "name a file"),
        ({"template": "loan-repayment-stream", "browser": True}, "loan-repayment-stream is application/", "--html and"),
        ({"html": Path("/no/such/folder/x.html")}, "/no/such/folder/x.html cannot be written", "name another file"),
    ],
)
def test_mistakes_on_the_command_line(options: dict[str, Any], what: str, hint: str) -> None:
    """Each mistake on the command line has its words and a hint."""
    with pytest.raises(UsageError) as caught:
        run_preview(**options)

    assert what in str(caught.value)
    assert f"hint: {hint}" in str(caught.value)


def test_a_broken_template_does_not_block_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A broken one shows its diagnostics; the others can be previewed meanwhile; a manual one has no event."""
    (tmp_path / "note.toml").write_text(MANUAL.replace('recipient = "CLIENT"\n', ""))
    (tmp_path / "other.toml").write_text(MANUAL.replace('id = "note"', 'id = "other"').replace("Note", "Other"))
    settings = Settings(tenant="northbank", templates_dir=tmp_path)
    with pytest.raises(UsageError) as caught:
        run_preview("note", settings=settings)
    assert "note cannot be rendered\nnote.toml:4: `recipient` is missing; type SMS needs one [T06]" in str(caught.value)
    with pytest.raises(UsageError, match="other is for what a person sends"):
        run_preview("other", settings=settings)
    (tmp_path / "loan-repayment-email.toml").write_text(
        (SHIPPED / "loan-repayment-email.toml").read_text().partition("[[sample]]")[0]
    )

    assert 0 == run_preview(settings=settings, event="LOAN_REPAYMENT")
    assert "QUEUED" in capsys.readouterr().out


def test_an_invalid_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is FAILED, and the cause is shown; phone numbers are read in the region that `run` would read them in."""
    template = MANUAL.replace('event = "MANUAL"\ntrigger = "MANUAL"', 'event = "LOAN_REPAYMENT"').replace(
        'target = "CLIENT"', 'target = "LOANS"'
    )
    case = '[[sample]]\nname = "one digit more"\nevent = "event.json"\nexpected.state = "FAILED"\n'
    (tmp_path / "note.toml").write_text(template + case)
    event = changed(sample("loan-repayment"), {"client.mobilePhone": "9100000019"})
    (tmp_path / "event.json").write_text(json.dumps(event))
    portugal = Settings(tenant="northbank", templates_dir=tmp_path, sms=SmsSettings(region="PT"))
    cause = "not a possible phone number: of no country, or of the wrong length for its country"

    assert () == load_templates(portugal, schemas()).diagnostics
    assert 0 == run_preview("note", settings=portugal)
    assert capsys.readouterr().out.endswith(f"FAILED, UNDEFINED_DESTINATION: {cause}\n")
    assert 0 == run_preview("note", settings=portugal, as_json=True)
    read = json.loads(capsys.readouterr().out)
    assert ("FAILED", "UNDEFINED_DESTINATION", cause, None) == tuple(
        read[name] for name in ("state", "failureReason", "failureCause", "destination")
    )
    assert 0 == run_command(explain.command, portugal, events=[str(tmp_path / "event.json")])
    assert f"    FAILED, UNDEFINED_DESTINATION: {cause}: Ines Duarte\n" in capsys.readouterr().out

    anywhere = Settings(tenant="northbank", templates_dir=tmp_path)
    (diagnostic,) = load_templates(anywhere, schemas()).diagnostics
    assert ("T19", "sample 'one digit more': state is not as expected") == (
        diagnostic.code,
        diagnostic.message.partition("\n")[0],
    )


def test_secrets_and_control_characters_are_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A link to set a password is its addressee's alone, and what a terminal would obey is not printed."""
    html = tmp_path / "shown.html"
    result = json.loads((SHIPPED / "events" / "PORTAL_PASSWORD_RESET.json").read_text())
    result["client"]["fullName"] = "X\x1b]0;owned\x07\x1b[2J"
    file = tmp_path / "event.json"
    file.write_text(json.dumps(result))
    for as_json in (False, True):
        assert 0 == run_preview("portal-email", event=str(file), html=html, as_json=as_json)
        text = capsys.readouterr().out

        assert result["passwordUrl"] not in text
        assert "***" in text
        assert "\x1b]0" not in text
    assert result["passwordUrl"] not in html.read_text()


# ---------------------------------------------------------------------------------------------------------------------
# --programs


def show_programs(template: str | None = None, *, settings: Settings | None = None, **options: Any) -> int:
    """The command with --programs and these options."""
    options = {"programs": True, **options}
    return run_command(preview.command, settings or Settings(tenant="northbank"), template=template, **options)


def test_programs_of_an_event(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The scan of its records, field by field, and the texts of each of its templates."""
    pretend_terminal(monkeypatch, 240)
    assert 0 == show_programs(event="LOAN_REPAYMENT")
    text = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line]

    assert text.startswith("LOAN_REPAYMENT, written as banking.events.LoanTransactionEvent\n")
    (event_id,) = [row for row in rows if row[0] == "eventId"]
    assert ["uuid", "eventId"] == [event_id[1], event_id[3]]
    assert ["body", "'<p>Dear '", ""] in rows
    assert any("string recipient.firstName" in row[1] and row[2] == "html" for row in rows)
    for template in ("loan-repayment-email v1, EMAIL", "loan-repayment-stream v1, EVENT_STREAM"):
        assert template in text


def test_programs_of_a_template(capsys: pytest.CaptureFixture[str]) -> None:
    """In JSON; of its first event, and nothing of other templates. The scan is of all templates of the set."""
    assert 0 == show_programs("loan-repayment-email", as_json=True)
    result = json.loads(capsys.readouterr().out)
    (template,) = result["templates"]

    assert ("LOAN_REPAYMENT", None) == (result["event"], result["refusal"])
    assert choose_executor(None).plan == result["executor"]
    assert "loan-repayment-email" == template["template"]
    assert {"subject", "body"} <= template["texts"].keys()
    read = {value for step in result["scan"] for value in step["values"]}
    assert {"eventId", "tenant", "transaction.amount"} <= read
    assert "transaction.amount" in template["reads"]


def test_programs_of_languages(capsys: pytest.CaptureFixture[str]) -> None:
    """Each text by its language."""
    assert 0 == show_programs("savings-created-email", as_json=True)
    (template,) = json.loads(capsys.readouterr().out)["templates"]
    found = next(each for each in load_templates(Settings(), schemas()).renderable if each.id == template["template"])

    tags = ["", *(f" ({tag})" for tag in found.texts)]
    assert len(tags) > 1
    assert {f"{part}{tag}" for part in ("subject", "body") for tag in tags} == template["texts"].keys()


def test_a_schema_without_a_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Why, for each that is no family's, no schema, or lacks what a template reads; the exit code is 1."""
    file = tmp_path / "schema.avsc"
    for text, reason in (
        ('{"type": "record", "name": "bank.Other", "fields": []}', "bank.Other is not a family of events"),
        ("{", "not an Avro schema that can be read"),
    ):
        file.write_text(text)
        assert 1 == show_programs("loan-repayment-email", writer=file, as_json=True)
        result = json.loads(capsys.readouterr().out)
        assert reason in result["refusal"]
        assert result["scan"] is None
        assert 1 == show_programs("loan-repayment-email", writer=file)
        assert f"no plan, the reference maps all of its records: {result['refusal']}" in capsys.readouterr().out


def test_programs_that_are_not_used(capsys: pytest.CaptureFixture[str]) -> None:
    """PROCESSOR_PLAN=off is said."""
    off = Settings(tenant="northbank", plan=Plan.OFF)
    assert 0 == show_programs(event="LOAN_REPAYMENT", settings=off)
    assert "PROCESSOR_PLAN is off: no plan is used" in capsys.readouterr().out


def test_programs_of_nothing(tmp_path: Path) -> None:
    """What is named has to be there."""
    file = tmp_path / "schema.avsc"
    file.write_text(schemas().by_event[EventName("CLIENT_CREATED")].text)
    for options, message in (
        ({}, "preview needs a template"),
        ({"event": "LOAN_REPAYMNT"}, "LOAN_REPAYMNT is no event's name"),
        ({"template": "loan-repayment-email", "event": "CLIENT_CREATED"}, "loan-repayment-email is not for CLIENT_"),
        ({"event": "LOAN_REPAYMENT", "writer": file}, "is banking.events.ClientEvent, and LOAN_REPAYMENT is a banking"),
        ({"event": "LOAN_REPAYMENT", "writer": tmp_path / "none"}, "none cannot be read: No such file"),
        ({"event": "LOAN_REPAYMENT", "browser": True}, "--programs shows no message"),
        ({"template": "loan-repayment-email", "programs": False, "writer": file}, "--writer goes with --programs"),
        ({"event": "LOAN_REPAYMENT", "programs": False}, "preview needs a template"),
    ):
        with pytest.raises(UsageError, match=message):
            show_programs(**options)
