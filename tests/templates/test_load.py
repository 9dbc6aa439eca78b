"""Template files: read whole or refused with all that is wrong, at its line."""

import csv
import json
import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.domain.catalogue import EVENTS
from processor.domain.channel import Channel
from processor.domain.record import EventName
from processor.domain.template import (
    Match,
    OperandType,
    template_set,
)
from processor.errors import UsageError
from processor.templates.load import SHIPPED, read_templates, require_usable
from processor.templates.policy import TemplatePolicy
from tests.support.builders import TENANT, make_email, make_template, schemas, shipped_templates, templates_directory
from tests.support.laws import examples, size
from tests.support.template_files import SMS, STREAM, attachment, condition, diagnostics, load_files, manual, toml

# ---------------------------------------------------------------------------------------------------------- attachments


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        (None, "/v1/notifications/messages/attachments/ATT-1150-0093-2201"),
        ("/terms.pdf", "/terms.pdf"),
        ("https://files.example.com/ATT-1150-0093-2201", "https://files.example.com/ATT-1150-0093-2201"),
    ],
)
def test_where_an_attachment_is(tmp_path: Path, href: str | None, expected: str) -> None:
    """By its id, as the published examples have it; where the file says another place, there."""
    text = attachment(href=href).replace("href = null\n", "")
    templates = load_files(tmp_path, note=toml(text)).templates
    assert templates is not None
    (template,) = templates.templates

    assert [expected] == [attached.href for attached in template.attachments]
    assert [expected] == [attached["href"] for attached in json.loads(template.content)["attachment"]]


def test_an_attachment_without_an_id_has_no_place_either(tmp_path: Path) -> None:
    """Only the missing or misshapen id is a diagnostic."""
    for line in ("", "id = 7\n"):
        text = re.sub(r"(id|href) = .*\n", "", attachment()) + line

        assert ["`attachment[1].id`"] == [
            re.findall(r"`.*`", diagnostic.message)[0] for diagnostic in diagnostics(tmp_path, toml(text))
        ]


# ------------------------------------------------------------------------------------------------------------- the set


def test_digest_is_of_contents() -> None:
    """Another order of the same templates is the same set; another text is another."""
    first, second = make_template("one"), make_template("two")

    assert template_set([first, second]).digest == template_set([second, first]).digest
    assert template_set([first, second]) == template_set([second, first])
    assert template_set([first]).digest != template_set([make_template("one", body="{ACCOUNT_NAME}")]).digest


def test_digest_of_files(tmp_path: Path) -> None:
    """Where a body stands, and which samples go with it, is not part of a set's digest; what it says is."""
    (tmp_path / "body.html").write_text("<p>{ACCOUNT_NAME}</p>")
    sample = '[[sample]]\nname = "a"\nevent = "event.json"\nexpected.state = "QUEUED"'
    (tmp_path / "event.json").write_text((SHIPPED / "samples" / "loan-repayment.json").read_text())

    def digest(text: str) -> str:
        loaded = load_files(tmp_path, note=text)
        assert loaded.templates is not None, loaded.diagnostics
        return loaded.templates.digest

    base = digest(toml())

    assert base == digest(toml(sample))
    assert base == digest(toml(without=("body",), body_file="body.html"))
    assert base != digest(toml(strict=True))
    assert base != digest(toml(version=2))


def test_digest_covers_conditions(tmp_path: Path) -> None:
    """The conditions of a template are part of a set's digest: by what they mean, not by how TOML spells them."""

    def digest(text: str) -> str:
        loaded = load_files(tmp_path, note=text)
        assert loaded.templates is not None, loaded.diagnostics
        return loaded.templates.digest

    def conditions(value: str, operator: str = "MORE_THAN") -> str:
        return toml(condition(f'field = "TOTAL_BALANCE"\noperator = "{operator}"\nvalue = {value}'))

    assert (
        len({digest(toml()), digest(conditions("5")), digest(conditions("6")), digest(conditions("5", "LESS_THAN"))})
        == 4
    )
    assert digest(conditions("5")) == digest(conditions('"5"'))
    assert digest(conditions("5")) != digest(conditions("5").replace("[[cond", 'match = "ANY"\n[[cond'))
    assert digest(conditions("1_000.50")) == digest(conditions('"1000.50"'))


def test_conditions_of_a_file(tmp_path: Path) -> None:
    """Conditions are compiled in their order, with TOML's own numbers, booleans and days, numbers exactly."""
    text = toml(
        condition('field = "TOTAL_BALANCE"\noperator = "BETWEEN"\nvalue = 0.1\nsecond_value = 1_000')
        + condition('field = "CF:LOAN:Insured"\noperator = "EQUALS"\nvalue = true')
        + condition('field = "ENTRY_DATE"\noperator = "AFTER"\nvalue = 2026-03-14T09:00:00+01:00')
        + condition('field = "CLIENT_STATE"\noperator = "IN"\nvalues = ["ACTIVE", "PENDING_APPROVAL"]'),
        match="ANY",
    )
    loaded = load_files(tmp_path, note=text)
    assert loaded.templates is not None, loaded.diagnostics
    (template,) = loaded.templates.templates

    assert Match.ANY is template.match
    assert [
        "TOTAL_BALANCE BETWEEN 0.1, 1000",
        "CF:LOAN:Insured EQUALS 'true'",
        "ENTRY_DATE AFTER 2026-03-14T09:00:00+01:00",
        "CLIENT_STATE IN 'ACTIVE', 'PENDING_APPROVAL'",
    ] == [str(condition) for condition in template.conditions]
    assert {OperandType.MONEY: (Decimal("0.1"), Decimal(1000))} == template.conditions[0].operands
    assert {OperandType.BOOLEAN: (True,), OperandType.STRING: ("true",)} == template.conditions[1].operands


def test_manual_templates_are_loaded_for_no_event(tmp_path: Path) -> None:
    """A template that a person sends is checked with its own placeholders, and belongs to no event of a record."""
    loaded = load_files(tmp_path, note=manual(body="<p>{RECIPIENT_NAME} {BRANCH_NAME} {CURRENT_DATE_TIME}</p>"))

    assert () == loaded.diagnostics
    assert loaded.templates is not None
    assert ["note"] == [template.id for template in loaded.templates.templates]
    assert [] == [event for event in EVENTS if loaded.templates.for_event(event)]


def test_channels_of_manual_templates_match_the_reference() -> None:
    """The channels of MANUAL are those that the source publishes."""
    with (Path(__file__).parents[1] / "domain" / "events.csv").open(encoding="utf-8", newline="") as lines:
        (row,) = (row for row in csv.DictReader(lines) if row["event"] == "MANUAL")
    channels = ("email", "sms", "web_hook", "event_stream", "task")

    assert {"EMAIL", "SMS"} == {name.upper() for name in channels if row[name] == "y"}


def test_trigger_days_of_a_reminder(tmp_path: Path) -> None:
    """T17: with REPAYMENT_REMINDER alone `trigger_days` is no diagnostic, from -365 to 365."""
    for days in (-365, 0, 365):
        found = diagnostics(tmp_path, toml(event="REPAYMENT_REMINDER", trigger_days=days))

        assert [] == [diagnostic for diagnostic in found if diagnostic.code == "T17"]


def test_all_errors_in_conditions_at_once(tmp_path: Path) -> None:
    """T18: everything that is wrong with the conditions of a file is found in one go, with that of the rest."""
    text = toml(
        condition('field = "NOBODY"\noperator = "EQUALS"')
        + condition('field = "TENANT"\noperator = "LAST_DAYS"\nvalue = 0\nvalues = []')
        + condition('field = "NOTHING"\noperator = "EQUALLY"\nval = 1'),
        target="NO",
    )

    assert [
        (6, "unknown target 'NO'"),
        (12, "unknown placeholder {NOBODY} (family loan_transaction)"),
        (13, "EQUALS needs `value`"),
        (16, "LAST_DAYS is not for TENANT, which is STRING"),
        (18, "LAST_DAYS does not take `values`"),
        (20, "unknown placeholder {NOTHING} (family loan_transaction)"),
        (21, "unknown operator 'EQUALLY'"),
        (22, "unknown field `condition[3].val`"),
    ] == [(diagnostic.location.line, diagnostic.message) for diagnostic in diagnostics(tmp_path, text)]


def test_templates_of_an_event() -> None:
    """An event has the templates that name it, by id; streams are needed by active EVENT_STREAM templates alone."""
    both = make_template("both", events=["LOAN_REPAYMENT", "LOAN_DISBURSEMENT"])
    off = make_template("off", active=False, events=["LOAN_REPAYMENT_REVERSAL"])
    templates = template_set([make_email("mail"), both, off])

    assert ("both", "loan-repayment-mail"[-4:]) == tuple(
        template.id for template in templates.for_event(EventName("LOAN_REPAYMENT"))
    )
    assert () == templates.for_event(EventName("CLIENT_CREATED"))
    assert {"LOAN_REPAYMENT", "LOAN_DISBURSEMENT"} == templates.stream_events()


# --------------------------------------------------------------------------------------------------- shipped templates


def test_shipped_templates_have_no_diagnostics() -> None:
    """The shipped templates have no diagnostic, not even a warning, and every one has a sample that passes."""
    loaded = read_templates(None, tenant=TENANT, schemas=schemas())

    assert () == loaded.diagnostics
    assert loaded.templates is not None
    assert {template.id for template in loaded.templates.templates} == {
        run.template for run in loaded.samples if run.passed
    }
    assert set(Channel) == {template.type for template in loaded.templates.templates}


def test_channel_overrides(tmp_path: Path) -> None:
    """T04: an installation's own cells open a channel for an event, and close one."""
    rules = TemplatePolicy(channels_of=lambda row: row.channels ^ {Channel.EMAIL})
    found = read_templates(
        templates_directory(tmp_path, note=toml()), tenant=TENANT, schemas=schemas(), policy=rules
    ).diagnostics

    assert ["LOAN_REPAYMENT is not sent by EMAIL"] == [
        diagnostic.message for diagnostic in found if diagnostic.code == "T04"
    ]


def test_shipped_template_keys() -> None:
    """The derived templateKeys are those of the published examples."""
    keys = {template.id: template.key for template in shipped_templates().templates}

    assert "669636edeb622057521a33d995e00f4c" == keys[make_email("loan-repayment-email").id]
    assert "07f39cb9fbc0d69f2f072dd330121b55" == keys[make_email("savings-deposit-stream").id]


# ------------------------------------------------------------------------------------------------------------ the rules

LONG = "n" * 256


@pytest.mark.parametrize(
    ("text", "rule", "what", "line", "hint"),
    [
        (toml(name=" "), "T01", "name is blank", 3, ""),
        (toml(name=LONG), "T01", "name has 256 characters, at most 255", 3, ""),
        (toml(name="a\nb"), "T01", "name holds a control character", 3, ""),
        (toml(id="Note"), "T02", "id 'Note' is not an id", 1, "1 to 63"),
        (toml(id="other"), "T02", "id 'other' belongs in other.toml", 1, "a file is named by its id"),
        (toml(key="abc"), "T02", "key 'abc' is not 32 hexadecimal digits", 11, ""),
        (toml(version=0), "", "version 0 is not a whole number from 1", 2, ""),
        (toml(version=2**31), "", "version 2147483648 is not a whole number", 2, ""),
        (toml(event="LOAN_REPAYMET"), "T03", "unknown event 'LOAN_REPAYMET'", 5, "did you mean LOAN_REPAYMENT?"),
        (toml(event=[]), "T03", "`event` names no event", 5, ""),
        (toml(event=3), "T03", "`event` must be an event's name or a list of names", 5, ""),
        (toml(event=["LOAN_REPAYMENT", "LOAN_REPAYMENT"]), "T03", "event LOAN_REPAYMENT is named twice", 5, ""),
        (toml(event="DO_NOTHING"), "T03", "event DO_NOTHING never occurs", 5, ""),
        (toml(event="MANUAL"), "T03", "event MANUAL goes with trigger MANUAL", 5, 'trigger = "MANUAL"'),
        (toml(trigger="MANUAL"), "T03", "trigger MANUAL goes with the one event MANUAL, not with 'LOAN_REPAY", 5, ""),
        (toml(event=["MANUAL", "FEE_APPLIED"], trigger="MANUAL"), "T03", "trigger MANUAL goes with the one", 5, ""),
        (toml(event=["MANUAL", "MANUAL"], trigger="MANUAL"), "T03", "event MANUAL is named twice", 5, ""),
        (toml(event="DO_NOTHING", trigger="MANUAL"), "T03", "trigger MANUAL goes with the one event MANUAL", 5, ""),
        (toml(trigger="MANUEL"), "T03", "unknown trigger 'MANUEL'", 11, "did you mean MANUAL?"),
        (manual(**STREAM), "T04", "MANUAL is not sent by EVENT_STREAM", 4, "its channels: EMAIL, SMS"),
        (manual(target="ACCOUNTING"), "T05", "MANUAL is not about ACCOUNTING", 6, "one of: CLIENT, GROUP, LOANS, SAV"),
        (manual(body="{ACCOUNT_ID}"), "T13", "unknown placeholder {ACCOUNT_ID} (family MANUAL)", 10, ""),
        (manual(body="{USER_NAME}"), "T13", "unknown placeholder {USER_NAME} (family MANUAL)", 10, ""),
        (manual(body="{CF:x}"), "T13", "{CF:x}: a template that a person sends has no custom fields", 10, ""),
        (manual(condition("field='TENANT'")), "T18", "a template with trigger MANUAL has no conditions", 12, "leave"),
        (toml(target="LOAN"), "T05", "unknown target 'LOAN'", 6, "did you mean LOANS?"),
        (toml(target="SAVINGS"), "T05", "LOAN_REPAYMENT is not about SAVINGS", 6, "one of: LOANS, CLIENT, GROUP"),
        (toml(recipient="CUSTOMER"), "T06", "unknown recipient 'CUSTOMER'", 7, "did you mean CUSTOM_FIELD?"),
        (toml(target="GROUP"), "T06", "recipient CLIENT does not fit target GROUP", 7, ""),
        (toml(without=("recipient",)), "T06", "`recipient` is missing; type EMAIL needs one", 4, "one of: CLIENT"),
        (toml(**STREAM, recipient="CLIENT"), "T06", "type EVENT_STREAM has no recipient", 10, "leave it out"),
        (toml(recipient="GROUP_ROLE"), "T07", "recipient GROUP_ROLE needs `recipient_role`", 7, ""),
        (toml(recipient_role="x"), "T07", "`recipient_role` goes with recipient GROUP_ROLE only", 11, ""),
        (toml(recipient_field="CF:x"), "T07", "`recipient_field` goes with recipient CUSTOM_FIELD only", 11, ""),
        (toml(recipient="CUSTOM_FIELD"), "T07", "recipient CUSTOM_FIELD needs `recipient_field`", 7, "as in"),
        (toml(recipient="CUSTOM_FIELD", recipient_field="CF:x:y"), "T07", "recipient CUSTOM_FIELD needs", 7, "as in"),
        (toml(subject=" "), "T08", "an EMAIL needs a subject", 8, ""),
        (toml(without=("subject",)), "T08", "an EMAIL needs a subject", None, ""),
        (toml(subject="a\nb"), "T08", "subject is more than one line", 8, ""),
        (toml(**SMS, subject="a"), "T08", "type SMS has no subject", 10, "leave it out"),
        (toml('[locale."pt"]\nbody = "x"'), "T08", "`locale.pt.subject` is missing; an EMAIL needs", 11, ""),
        (toml(body="  \n"), "T09", "`body` is blank", 10, ""),
        (toml(without=("body",)), "T09", "`body` is missing", None, "or name a file"),
        (toml(body_file="x"), "T09", "`body` and `body_file` are both given", 11, "keep one"),
        (toml(without=("body",), body_file="none.html"), "", "none.html cannot be read", 10, ""),
        (toml(without=("body",), body_file="../x"), "", "../x is outside of the templates' directory", 10, "body and"),
        (toml(**SMS, body="x" * 161), "T10", "the fixed text alone has 161 characters", 9, ""),
        (toml(**SMS, body="x" * 1601), "T10", "the fixed text alone has 1601 characters; an SMS takes 1600", 9, ""),
        (toml(**SMS, body="hi \U0001f600"), "T10", "'\U0001f600' may be refused by an SMS gateway", 9, ""),
        (toml(type="EVENT_STREAM"), "T11", "`content_type` is missing; type EVENT_STREAM needs one", 4, "one of: app"),
        (toml(content_type="application/json"), "T11", "content_type 'application/json' is not for type EMAIL", 11, ""),
        (toml(**SMS, content_type="text/plain"), "T11", "type SMS has no content_type", 10, "leave it out"),
        (toml(body="{ACCOUNT_IDD}"), "T13", "unknown placeholder {ACCOUNT_IDD}", 10, "did you mean {ACCOUNT_ID}?"),
        (toml(subject="{ACCOUNT_IDD}"), "T13", "unknown placeholder {ACCOUNT_IDD}", 8, "did you mean {ACCOUNT_ID}?"),
        (toml(type="EMAL"), "", "unknown type 'EMAL'", 4, "did you mean EMAIL?"),
        (toml(type="TASK"), "T06", "a TASK is for a user of the bank, not for recipient CLIENT", 7, "CREDIT_OFFICER"),
        (
            toml(type="TASK", without=("recipient",)),
            "T06",
            "`recipient` is missing; type TASK needs one",
            4,
            "CREDIT_OFFICER",
        ),
        (toml(type="TASK", content_type="text/plain"), "T11", "type TASK has no content_type", 11, "leave it out"),
        (toml(type="TASK"), "T08", "type TASK has no subject", 8, "leave it out"),
        (toml(type="WEB_HOOK"), "T06", "type WEB_HOOK has no recipient", 7, "leave it out"),
        (toml(subscription="OPT"), "", "unknown subscription 'OPT'", 9, ""),
        (toml(subjekt="x"), "", "unknown field `subjekt`", 11, "did you mean subject?"),
        (toml(trigger_days=3), "T17", "trigger_days goes with event REPAYMENT_REMINDER only, not with LOAN_", 11, ""),
        (toml(trigger_days=-366), "T17", "trigger_days -366 is not from -365 to 365", 11, "days until"),
        (toml(f"trigger_days = 0x{'f' * 9000}"), "T17", "trigger_days of 36000 bits is not from", 11, "days until"),
        (toml(f"trigger_days = {'9' * 9000}"), "", "is not TOML that can be read: a number has too many", None, ""),
        (toml(trigger_days="3"), "", "`trigger_days` must be a whole number", 11, ""),
        (toml(match="AL"), "T18", "unknown match 'AL'", 11, "did you mean ALL?"),
        (toml(condition=1), "", "`condition` must be a list", 11, ""),
        (toml(condition=[1]), "", "`condition[1]` must be a table", 11, ""),
        (toml(condition('field = "TENANT"')), "T18", "field `condition[1].operator` is missing", 11, ""),
        (toml(condition('operator = "EMPTY"')), "T18", "field `condition[1].field` is missing", 11, ""),
        (
            toml(condition('field = "TENANT"\noperater = "EMPTY"')),
            "",
            "unknown field `condition[1].operater`",
            13,
            "did",
        ),
        (toml(condition("field = 1")), "", "`condition[1].field` must be text in quotes", 12, ""),
        (
            toml(condition('field = "TENANT"\noperator = "EQUAL"')),
            "T18",
            "unknown operator 'EQUAL'",
            13,
            "did you mean EQUALS?",
        ),
        (
            toml(condition('field = "ACCOUNT_IDD"\noperator = "EMPTY"')),
            "T18",
            "unknown placeholder {ACCOUNT_IDD} (family loan_transaction)",
            12,
            "did you mean ACCOUNT_ID?",
        ),
        (
            toml(condition('field = "{TENANT}"\noperator = "EMPTY"')),
            "T18",
            "field '{TENANT}' has braces",
            12,
            "write TENANT",
        ),
        (
            toml(condition('field = "TENANT"\noperator = "MORE_THAN"\nvalue = 5')),
            "T18",
            "MORE_THAN is not for TENANT, which is STRING",
            13,
            "one of: EQUALS, EQUALS_CASE_SENSITIVE, DIFFERENT_THAN, STARTS_WITH, STARTS_WITH_CASE_SENSITIVE, IN, EMPTY",
        ),
        (
            toml(condition('field = "TENANT"\noperator = "EQUALS"\nvalues = ["a"]')),
            "T18",
            "EQUALS does not take `values`",
            14,
            "it takes `value`",
        ),
        (
            toml(condition('field = "TOTAL_BALANCE"\noperator = "EQUALS"\nvalue = "much"')),
            "T18",
            "not a decimal number: 'much'",
            14,
            "a number, as in 100 or 12.5",
        ),
        (
            toml(condition('field = "TENANT"\noperator = "IN"\nvalues = [\n"a",\n""\n]')),
            "T18",
            "an empty text, which nothing equals",
            14,
            "for no value write operator EMPTY",
        ),
        (
            toml(condition('field = "ENTRY_DATE"\noperator = "AFTER"\nvalue = 2026-03-14T09:00:00')),
            "T18",
            "not an RFC 3339 time with an offset: '2026-03-14T09:00:00'",
            14,
            "a day",
        ),
        (
            toml(condition('field = "TENANT"\noperator = "EQUALS"\nvalue = 09:00:00')),
            "T18",
            "`condition[1].value` must be text, a number, true or false, or a day or moment",
            14,
            "",
        ),
        (
            toml(condition(f'field = "TENANT"\noperator = "IN"\nvalues = {["a"] * 1001}')),
            "T18",
            "`condition[1].values` has 1001 values, at most 1000",
            14,
            "",
        ),
        (
            toml(condition('field = "TENANT"\noperator = "EMPTY"\n') * 101),
            "T18",
            "101 conditions; a template has at most 100",
            11,
            "",
        ),
        (toml("[webhook]\nurl = 'x'"), "", "type EMAIL has no [webhook]", 11, "leave it out"),
        (toml(ordered=False), "", "`ordered` is not supported yet", 11, "leave it out"),
        (toml(category="NTC-1"), "", "category 'NTC-1' is not a category's id", 11, "as in NTC-3300-0041"),
        (toml(**STREAM, category="NTC-3300-0041"), "", "type EVENT_STREAM has no category", 10, "leave it out"),
        (toml(attachment(), **SMS), "", "type SMS has no attachments", 10, "leave them out"),
        (toml(attachment(id="ATT-1")), "", "`attachment[1].id` 'ATT-1' is not an attachment's id", 12, "as in ATT-1"),
        (toml(attachment(file_size=-1)), "", "`attachment[1].file_size` is not a number of bytes", 15, ""),
        (toml(attachment(name=" ")), "", "`attachment[1].name` must be one line of 1 to 1024 characters", 13, ""),
        (toml(attachment(href="a\nb")), "", "`attachment[1].href` must be one line of 1 to 1024", 17, ""),
        (toml(attachment(file_size="1")), "", "`attachment[1].file_size` must be a whole number", 15, ""),
        (toml(attachment(size=1)), "", "unknown field `attachment[1].size`", 18, "did you mean file_size?"),
        (toml(attachment() * 101), "", "101 attachments; a template has at most 100", 11, ""),
        (toml(without=("target",)), "", "field `target` is missing", None, ""),
        (toml(version="1"), "", "`version` must be a whole number", 2, ""),
        (toml(active="yes"), "", "`active` must be true or false", 11, ""),
        (toml(default_locale="e"), "", "default_locale 'e' is not a language tag", 11, ""),
        (toml('[locale."?"]\nsubject = "x"\nbody = "x"'), "", '[locale."?"] is not a language tag', 11, ""),
        (toml('[locale."EN"]\nsubject = "x"\nbody = "x"'), "", '[locale."EN"] is the top level\'s own', 11, "the top"),
        (
            toml('[locale."pt"]\nsubjct = "x"\nsubject = "x"\nbody = "x"'),
            "",
            "unknown field `locale.pt.subjct`",
            12,
            "did you mean subject?",
        ),
        ('id = "x\n', "", "is not TOML: ", 1, ""),
        (toml('[[sample]]\nname = "a"'), "", "field `sample[1].event` is missing", 11, ""),
        (
            toml('[[sample]]\nname = "a"\nevent = "no.json"\nexpected.state = "SENT"'),
            "T19",
            "no.json cannot be read",
            13,
            "",
        ),
    ],
)
def test_mistakes_are_reported_by_their_rule(
    tmp_path: Path, text: str, rule: str, what: str, line: int | None, hint: str
) -> None:
    """Each mistake in a file is found, at its line, by its rule, with a hint where there is something to say."""
    found = diagnostics(tmp_path, text)
    first = next((diagnostic for diagnostic in found if diagnostic.message.startswith(what)), None)

    assert first is not None, found
    assert (rule, line) == (first.code, first.location.line)
    assert first.hint.startswith(hint)


def test_line_of_a_placeholder_in_a_long_body(tmp_path: Path) -> None:
    """A diagnostic within a body of several lines stands at the line of its placeholder."""
    text = toml('body = """\n<p>\n{ACCOUNT_ID}\n{NOBODY}</p>\n"""\n', without=("body",))

    assert [(13, "unknown placeholder {NOBODY} (family loan_transaction)")] == [
        (diagnostic.location.line, diagnostic.message) for diagnostic in diagnostics(tmp_path, text)
    ]


def test_control_characters_in_diagnostics_are_replaced(tmp_path: Path) -> None:
    """Control characters of a file are shown as a replacement character."""
    text = toml('body = "{CF:\\u001b[31m:x}"', without=("body",))

    assert ["{CF:\ufffd[31m:x}: '\\x1b[31m' is not an entity of custom fields"] == [
        diagnostic.message for diagnostic in diagnostics(tmp_path, text)
    ]


def test_all_diagnostics_at_once(tmp_path: Path) -> None:
    """Diagnostics of all files come together, sorted by file and line, and nothing is loaded; the text names each."""
    directory = templates_directory(
        tmp_path, note=toml(name="", event="NO", body="{NO}"), other=toml(id="other", target="NO", version="1", typ="x")
    )
    loaded = read_templates(directory, tenant=TENANT, schemas=schemas())
    with pytest.raises(UsageError) as raised:
        require_usable(read_templates(directory, tenant=TENANT, schemas=schemas()))

    assert loaded.templates is None
    assert [
        ("note.toml", "name is blank"),
        ("note.toml", "unknown event 'NO'"),
        ("other.toml", "`version` must be a whole number"),
        ("other.toml", "unknown target 'NO'"),
        ("other.toml", "unknown field `typ`"),
    ] == [(diagnostic.location.file, diagnostic.message) for diagnostic in loaded.diagnostics]
    assert 5 == len(re.findall(r"^(?:note|other)\.toml:\d+: ", str(raised.value), re.MULTILINE))
    assert "5 errors, nothing loaded" in str(raised.value)
    assert "\nhint: " in str(raised.value)


def test_one_bad_file_loads_nothing(tmp_path: Path) -> None:
    """All or nothing: a good template beside a bad one is not loaded."""
    assert load_files(tmp_path, note=toml(), other=toml(id="other", name="Other", target="NO")).templates is None
    assert load_files(tmp_path, note=toml(), other=toml(id="other", name="Other")).templates is not None


def test_unique_names_ids_and_keys(tmp_path: Path) -> None:
    """T01, T02: no two files share a name (compared without case) or a key."""
    key = "0" * 32
    found = load_files(
        tmp_path, note=toml(key=key), second=toml(id="second", name="NOTE"), third=toml(id="third", name="x", key=key)
    ).diagnostics

    assert [
        ("second.toml", "T01", "name 'NOTE' is also that of note.toml"),
        ("third.toml", "T02", f"key '{key}' is also that of note.toml"),
    ] == [
        (diagnostic.location.file, diagnostic.code, diagnostic.message) for diagnostic in found if diagnostic.is_error
    ]


def test_no_templates_at_all(tmp_path: Path) -> None:
    """A directory without templates, or none at all, is a diagnostic: every event would be left out in silence."""
    for directory in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UsageError, match="PROCESSOR_TEMPLATES_DIR"):
            require_usable(read_templates(directory, tenant=TENANT, schemas=schemas()))


IN_A_SAMPLE = '[[sample]]\nname = "a"\nevent = "event.json"\nexpected.state = "QUEUED"\n'
ABOVE = "fields of the template stand above the first [table]"


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        (toml('[sample]\nname = "a"'), "`sample` must be a list", "write [[sample]], in two brackets"),
        (toml('[condition]\nfield = "EVENT"'), "`condition` must be a list", "write [[condition]], in two brackets"),
        (toml(f"{IN_A_SAMPLE}strict = true"), "unknown field `sample[1].strict`", ABOVE),
        (toml(f'{IN_A_SAMPLE}body = "x"'), "unknown field `sample[1].body`", f"expected.body, or {ABOVE}"),
        (toml(attachment(subscription="x")), "unknown field `attachment[1].subscription`", ABOVE),
        (toml('[locale.pt]\nsubject = "x"\nbody = "x"\nactive = true'), "unknown field `locale.pt.active`", ABOVE),
        (
            toml(f'{IN_A_SAMPLE}expected.title = "x"'),
            "unknown field `sample[1].expected.title`",
            "one of: subject, body, destination, state",
        ),
        (
            toml(f'{IN_A_SAMPLE}qqq = "x"'),
            "unknown field `sample[1].qqq`",
            "one of: name, event, subscribed, expected",
        ),
        (toml(qqq=1), "unknown field `qqq`", "`processor templates --schema` names all fields"),
        (
            toml("[webhook]\nmethod = 'PUT'", **(STREAM | {"type": "WEB_HOOK"})),
            "unknown field `webhook.method`",
            "one of: url, request_type, headers, authorization, username, password_env",
        ),
        (
            toml("[webhook]\nurl = 'https://a.example/'\nusername = 'x'", **(STREAM | {"type": "WEB_HOOK"})),
            "`username` goes with authorization BASIC_AUTHORIZATION only",
            'authorization = "BASIC_AUTHORIZATION"',
        ),
        (
            toml(type="TASK", without=("recipient", "subject")),
            "`recipient` is missing; type TASK needs one",
            "CREDIT_OFFICER",
        ),
        (toml('[locale.pt]\nbody = "x"'), "`locale.pt.subject` is missing; an EMAIL needs a subject", ""),
        (toml('locale.pt.body = "x"'), "`locale.pt.subject` is missing; an EMAIL needs a subject", ""),
        (toml(body_file="note.html", without=("body",)), "note.html cannot be read", ""),
    ],
)
def test_hints_for_common_mistakes(tmp_path: Path, text: str, what: str, hint: str) -> None:
    """The hint says what to write instead, and guesses nothing far-fetched."""
    (tmp_path / "event.json").write_text((SHIPPED / "samples" / "loan-repayment.json").read_text())
    found = next(
        (diagnostic for diagnostic in diagnostics(tmp_path, text) if diagnostic.message.startswith(what)), None
    )

    assert found, diagnostics(tmp_path, text)
    assert hint == found.hint


@pytest.mark.parametrize("type_", ["TASK", "EMAIL", "EVENT_STREAM", "SMS"])
@pytest.mark.parametrize("token", ["{ACCOUNT_ID}", "{CF:CLIENT:Segment}", "{ACCOUNT_IDD}"])
def test_a_name_is_no_text_with_placeholders(tmp_path: Path, type_: str, token: str) -> None:
    """T01: a task's title is the name, which is the same for all; a placeholder would be read as it stands."""
    more = {"TASK": {"recipient": "CREDIT_OFFICER"}, "EVENT_STREAM": STREAM}.get(type_, {})
    without = ("subject",) if type_ in ("TASK", "SMS") else ()
    text = toml(**({"type": type_, "name": f"Review {token}"} | more), without=without)
    (diagnostic,) = diagnostics(tmp_path, text)

    assert ("T01", f"name holds {token}") == (diagnostic.code, diagnostic.message)
    assert "a name is the same for all messages" == diagnostic.hint
    assert 3 == diagnostic.location.line


@pytest.mark.parametrize("field", ["name", "content_type", "file_name", "href"])
def test_an_attachment_is_the_same_for_all(tmp_path: Path, field: str) -> None:
    """No placeholder is replaced in it."""
    (diagnostic,) = diagnostics(tmp_path, toml(attachment(**{field: "a/{ACCOUNT_ID}"})))

    assert f"`attachment[1].{field}` holds {{ACCOUNT_ID}}" == diagnostic.message
    assert "attachments are the same for all messages" == diagnostic.hint


@pytest.mark.parametrize("prefix", ["", "locale.pt."])
def test_diagnostics_in_a_body_file(tmp_path: Path, prefix: str) -> None:
    """They name that file and its line, at the line of the template that names it."""
    (tmp_path / "note.html").write_text('<p>x</p>\n<p>{ACCOUNT_IDD}</p>\n<a href="{ACCOUNT_NAME}">x</a>\n')
    section = '[locale.pt]\nsubject = "x"\nbody_file = "note.html"\n'
    text = toml(section) if prefix else toml(body_file="note.html", without=("body",))
    found = diagnostics(tmp_path, text)
    line = 13 if prefix else 10

    assert {("note.toml", line)} == {(diagnostic.location.file, diagnostic.location.line) for diagnostic in found}
    assert "note.html:2: unknown placeholder {ACCOUNT_IDD} (family loan_transaction)" in [
        diagnostic.message for diagnostic in found
    ]
    assert any(diagnostic.message.startswith("note.html:3: {ACCOUNT_NAME} stands where") for diagnostic in found)


@pytest.mark.parametrize("escaped", [False, True])
def test_the_line_of_a_misplaced_placeholder(tmp_path: Path, escaped: bool) -> None:
    """Each place by itself, at its line, with what stands there, though the name stands elsewhere too; T12."""
    rows = [
        "<p>{ACCOUNT_NAME} {TRANSACTION_AMOUNT}</p>",
        '  <a href="{ACCOUNT_NAME}">x</a>',
        '<p>{ACCOUNT_NAME}</p><img src="//{ACCOUNT_NAME}/x.png">',
        "<!-- {ACCOUNT_NAME} -->",
        '<a href="FORMAT{TRANSACTION_AMOUNT,numericPattern=0.00}">',
    ]
    quotes = '"' * 3 if escaped else "'" * 3
    body = [row.replace('"', '\\"') if escaped else row for row in rows]
    text = toml("\n".join((f"body = {quotes}", *body, quotes)), without=("body",))
    lines = text.splitlines()

    assert [
        (lines.index(body[1]) + 1, '<a href="{ACCOUNT_NAME}'),
        (lines.index(body[2]) + 1, '<p>{ACCOUNT_NAME}</p><img src="//{ACCOUNT_NAME}'),
        (lines.index(body[3]) + 1, "<!-- {ACCOUNT_NAME}"),
        (lines.index(body[4]) + 1, '<a href="FORMAT{TRANSACTION_AMOUNT,numericPattern=0.00}'),
    ] == [
        (diagnostic.location.line, diagnostic.message.partition("; here: ")[2])
        for diagnostic in diagnostics(tmp_path, text)
    ]


def test_repeated_mistakes_are_counted(tmp_path: Path) -> None:
    """It is one diagnostic, at the first line; how often it is there says that there is more to look for."""
    link = '<a href="{CF:x}">x</a>'
    body = ("body = '''", "{account id}", "{ACCOUNT_IDD}", link, "{account id} {ACCOUNT_IDD}", link, "{CF:}'''")
    found = diagnostics(tmp_path, toml("\n".join(body), without=("body",)))

    assert [(11, 2), (12, 2), (13, 2), (16, 0)] == [
        (diagnostic.location.line, 2 * diagnostic.message.endswith(" (2 times)"))
        for diagnostic in found
        if diagnostic.is_error
    ]


def test_the_line_of_a_misspelt_name_with_a_format(tmp_path: Path) -> None:
    body = ("body = '''", "<p>x</p>", "FORMAT{TRANSACTION_AMOUN,numericPattern=0.00}'''")
    text = toml("\n".join(body), without=("body",))
    (found,) = diagnostics(tmp_path, text)

    assert (text.splitlines().index(body[2]) + 1, "did you mean {TRANSACTION_AMOUNT}?") == (
        found.location.line,
        found.hint,
    )


def test_the_line_of_a_host_in_plain_text(tmp_path: Path) -> None:
    body = ("body = '''", "{ACCOUNT_NAME}", "see https://{ACCOUNT_NAME}/'''")
    text = toml("\n".join(body), without=("body",), content_type="text/plain")
    (found,) = diagnostics(tmp_path, text)

    assert ("T12", True, text.splitlines().index(body[2]) + 1) == (found.code, found.is_warning, found.location.line)
    assert found.message.endswith("; here: see https://{ACCOUNT_NAME}")


def test_a_body_file_that_is_blank(tmp_path: Path) -> None:
    """It is named, too."""
    (tmp_path / "note.html").write_text("\n")
    (diagnostic,) = diagnostics(tmp_path, toml(body_file="note.html", without=("body",)))

    assert ("note.html: `body` is blank", 10) == (diagnostic.message, diagnostic.location.line)


def test_a_name_with_braces(tmp_path: Path) -> None:
    """What is no placeholder stays a name."""
    for name in ("Review {draft}", "{}", "a {1}"):
        assert [] == diagnostics(tmp_path, toml(name=name))


def test_a_file_outside_is_not_read(tmp_path: Path) -> None:
    """A template names no file outside of its directory, by a link neither."""
    (tmp_path / "secret").write_text("secret")
    inside = tmp_path / "templates"
    inside.mkdir()
    (inside / "link").symlink_to(tmp_path / "secret")

    for name in ("../secret", str(tmp_path / "secret"), "link"):
        found = diagnostics(inside, toml(without=("body",), body_file=name))
        assert [f"{name} is outside of the templates' directory"] == [diagnostic.message for diagnostic in found]


def test_paths_that_are_no_regular_files(tmp_path: Path) -> None:
    """A name that no file can have, a directory, a loop of links and a pipe are diagnostics, and nothing hangs."""
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "loop").symlink_to("loop")
    for name, what in (
        ("a\0b", "'a\\x00b' is not a"),
        (".", ". is not a file"),
        ("pipe", "pipe is not a"),
        ("loop", ""),
    ):
        found = diagnostics(tmp_path, toml(without=("body",), body_file=name).replace("\0", "\\u0000"))

        assert ["note.toml", "pipe.toml"] == [diagnostic.location.file for diagnostic in found], name
        assert found[0].message.startswith(what)
        assert "is not a file" == found[1].message


N = size(150_000)
HOSTILE_FILES: dict[str, dict[str, Any]] = {
    "conditions": {"rest": condition('field = "NO"\noperator = "NO"') * (N // 5)},
    "operands": {"rest": condition('field = "TENANT"\noperator = "IN"\nvalues = [' + '"", ' * N + "]")},
    "a long operand": {"rest": condition('field = "ENTRY_DATE"\noperator = "ON"\nvalue = "' + "T" * N + '"')},
    "unfinished comments": {"body": "<!--" * N},
    "unfinished tags": {"body": "<a " * N},
    "unfinished attributes": {"body": '<a b="' * N},
    "unfinished scripts": {"body": "<script>" + "</script " * (N // 2)},
    "spaces within braces": {"body": "{a" + " " * (5 * N)},
    "unfinished custom fields": {"body": "{{CF:" * N},
    "unknown placeholders": {"body": "".join(f"{{A{number}}}" for number in range(N // 5))},
    "placeholders": {"body": "{ACCOUNT_ID}" * (N // 5)},
    "disguises": {"body": "".join(f"{{account_id{'.' * (number % 99)}<b{number}>}}" for number in range(N // 20))},
    "custom fields in disguise": {"body": "".join(f"{{CF:CLIENT:a&shy;{number}}}" for number in range(N // 20))},
    "a long word": {"type": "x" * (5 * N)},
    "a long name": {"body": "{" + "A_" * (2 * N) + "}"},
    "nested arrays": {**STREAM, "body": "[" * N},
    "nested arrays that fit": {**STREAM, "body": "[" * 900 + "]" * 900},
    "nested elements": {**STREAM, "content_type": "application/xml", "body": "<a>" * (N // 2) + "</a>" * (N // 2)},
    "tables": {**STREAM, "body": "[" + ",".join(["{REPAYMENT_SCHEDULE}"] * (N // 10)) + "]"},
    "backslashes": {**STREAM, "body": '"' + "\\" * (5 * N) + '"'},
}


@pytest.mark.corpus
@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", HOSTILE_FILES)
def test_hostile_templates(tmp_path: Path, name: str) -> None:
    """No text hangs or breaks the check, and what is shown of it is bounded. The slowest takes seconds, not minutes."""
    found = load_files(tmp_path, note=toml(**HOSTILE_FILES[name])).diagnostics

    assert len(found) <= 60
    assert all(len(str(diagnostic)) < 1000 for diagnostic in found)


TEMPLATE_WITH_CONDITIONS = toml(
    condition('field = "TOTAL_BALANCE"\noperator = "BETWEEN"\nvalue = 0.1\nsecond_value = "1000"')
    + condition('field = "CF:LOAN:x"\noperator = "EQUALS"\nvalue = true')
    + condition('field = "ENTRY_DATE"\noperator = "AFTER"\nvalue = 2026-03-14T09:00:00+01:00')
    + condition('field = "TENANT"\noperator = "IN"\nvalues = ["a", 1, 2.5]'),
    id="loan-repayment-stream",
    match="ANY",
)


@settings(max_examples=examples(150), deadline=None)
@given(
    file=st.sampled_from([(SHIPPED / "loan-repayment-stream.toml").read_text(), TEMPLATE_WITH_CONDITIONS]),
    cut=st.integers(0, 2000),
    inserted=st.binary(max_size=6),
    removed=st.integers(0, 4),
)
def test_any_bytes_of_a_file_end_in_diagnostics_or_a_template(
    tmp_path_factory: pytest.TempPathFactory, file: str, cut: int, inserted: bytes, removed: int
) -> None:
    """A file with some bytes changed is loaded or refused with diagnostics, and never breaks the check itself."""
    text = file.encode()
    at = cut % len(text)
    directory = tmp_path_factory.mktemp("templates")
    (directory / "loan-repayment-stream.toml").write_bytes(text[:at] + inserted + text[at + removed :])
    loaded = read_templates(directory, tenant=TENANT, schemas=schemas())

    assert (loaded.templates is None) == any(diagnostic.is_error for diagnostic in loaded.diagnostics)
