"""Templates: their text cut into segments, their files read whole or refused with all that is wrong."""

import csv
import json
import os
import re
import time
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.domain.catalogue import EVENTS
from processor.domain.channel import Channel, ContentType
from processor.domain.record import EventName
from processor.domain.template import (
    CustomFieldPlaceholder,
    EscapeContext,
    Match,
    NamedPlaceholder,
    OperandType,
    Text,
    template_set,
)
from processor.errors import UsageError
from processor.mapping.render import Rendered, render
from processor.mapping.values import Scope
from processor.templates.document import check_document
from processor.templates.load import SHIPPED, read_templates, require_usable
from processor.templates.policy import TemplatePolicy
from processor.templates.text import parse
from tests.support.builders import TENANT, make_email, make_template, schemas, shipped_templates, templates_directory
from tests.support.laws import examples, size
from tests.support.template_files import SMS, STREAM, attachment, condition, diagnostics, load_files, manual, toml

REPAYMENT = {"loan_transaction": EventName("LOAN_REPAYMENT")}
DEPOSIT = {"deposit_transaction": EventName("SAVINGS_DEPOSIT")}

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


# -------------------------------------------------------------------------------------------------------------- parsing


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", ["plain"]),
        ("{ACCOUNT_ID}", ["<ACCOUNT_ID>"]),
        ("a {ACCOUNT_ID} b", ["a ", "<ACCOUNT_ID>", " b"]),
        ("{ACCOUNT_ID}{ACCOUNT_NAME}", ["<ACCOUNT_ID>", "<ACCOUNT_NAME>"]),
        ('{"a": {"b": {TOTAL_BALANCE}}}', ['{"a": {"b": ', "<TOTAL_BALANCE>", "}}"]),
        ("{{ACCOUNT_ID}}", ["{{ACCOUNT_ID}}"]),
        ("{ account } {} { ACCOUNTS }", ["{ account } {} { ACCOUNTS }"]),
        ("{CF:Bank Account}", ["<CF:Bank Account>"]),
        ("{CF:CLIENT:Bank Account:12}", ["<CF:CLIENT:Bank Account:12>"]),
        ("{CF:Имя}", ["<CF:Имя>"]),
        ("{", ["{"]),
        ("", []),
    ],
)
def test_text_is_cut_at_placeholders(text: str, expected: list[str]) -> None:
    """A placeholder is one brace around a name in capitals; any other brace is text."""
    segments, diagnostics = parse(text, ContentType.TEXT, families=REPAYMENT)

    assert expected == [segment if isinstance(segment, str) else f"<{str(segment)[1:-1]}>" for segment in segments]
    assert [] == [diagnostic for diagnostic in diagnostics if diagnostic.is_error]


@given(st.text(alphabet='{}"\\ACF:_x1\n<', max_size=80))
def test_no_text_is_lost(text: str) -> None:
    """Whatever braces a text has, its segments written one after the other are the text again."""
    for content in ContentType:
        segments, diagnostics = parse(text, content, families=REPAYMENT)
        if not [diagnostic for diagnostic in diagnostics if diagnostic.is_error]:
            assert text == "".join(map(str, segments))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"a": "{ACCOUNT_ID}", "b": {ACCOUNT_ID}}', [EscapeContext.JSON_STRING, EscapeContext.JSON_VALUE]),
        ('["\\"{ACCOUNT_ID}", {ACCOUNT_ID}]', [EscapeContext.JSON_STRING, EscapeContext.JSON_VALUE]),
        ('["\\\\", {ACCOUNT_ID}, "\\u0022{ACCOUNT_ID}"]', [EscapeContext.JSON_VALUE, EscapeContext.JSON_STRING]),
    ],
)
def test_context_within_json(body: str, expected: list[EscapeContext]) -> None:
    """A placeholder knows whether it stands between quotes, escaped ones in the text around it notwithstanding."""
    segments, _ = parse(body, ContentType.JSON, families=REPAYMENT)

    assert expected == [segment.context for segment in segments if isinstance(segment, NamedPlaceholder)]


def test_one_name_two_families() -> None:
    """A template for events of two families finds a placeholder where each of them keeps it."""
    families = {"client": EventName("CLIENT_CREATED"), **DEPOSIT}
    (segment,), diagnostics = parse("{ENCODED_KEY}", ContentType.TEXT, families=families)

    assert isinstance(segment, NamedPlaceholder)
    assert () == diagnostics
    assert {"client": ("client", "encodedKey"), "deposit_transaction": ("account", "encodedKey")} == {
        family: source.path for family, source in segment.paths.items()
    }


@pytest.mark.parametrize(
    ("text", "content", "what", "hint"),
    [
        ("{ACCOUNT_IDD}", ContentType.TEXT, "unknown placeholder {ACCOUNT_IDD}", ""),
        ("{PENALTY_AMOUNT}", ContentType.TEXT, "SAVINGS_DEPOSIT has no placeholder {PENALTY_AMOUNT}", ""),
        ("{{ACCOUNT_ID}}", ContentType.TEXT, "double braces are text, not a placeholder", "write {ACCOUNT_ID}"),
        (
            "Dear {ACCOUNT_NAME, welcome",
            ContentType.TEXT,
            "looks like a placeholder and is text",
            "write {ACCOUNT_NAME}",
        ),
        ("{account_id}", ContentType.TEXT, "looks like a placeholder and is text", "write {ACCOUNT_ID}"),
        ("IN_WORDS_INTEGER{TOTAL_BALANCE}", ContentType.TEXT, "IN_WORDS_INTEGER is not supported", ""),
        ("{CF:}", ContentType.TEXT, "a custom field needs a name", "write {CF:FIELD}"),
        ("{CF:CLIENT}", ContentType.TEXT, "names an entity but no field of it", "write {CF:FIELD}"),
        ("{CF:CLIENT:}", ContentType.TEXT, "names an entity but no field of it", "write {CF:FIELD}"),
        ("{CF:CLIENT:a:0}", ContentType.TEXT, "INDEX is a whole number from 1", "write {CF:FIELD}"),
        ("{CF:CLIENT:a:1:2}", ContentType.TEXT, "too many colons", "write {CF:FIELD}"),
        ("{CF:CLINT:a}", ContentType.TEXT, "'CLINT' is not an entity of custom fields", "write {CF:FIELD}"),
        ('"\\{ACCOUNT_ID}"', ContentType.JSON, "a backslash before a placeholder", ""),
        ('"\\u00{ACCOUNT_ID}"', ContentType.JSON, "a backslash before a placeholder", ""),
    ],
)
def test_diagnostics_of_a_text(text: str, content: ContentType, what: str, hint: str) -> None:
    """What is no placeholder though it was meant as one is said, with the right spelling where there is one."""
    families = {**REPAYMENT, **DEPOSIT} if "PENALTY" in text else DEPOSIT
    _, diagnostics = parse(text, content, families=families)

    assert [what] == [diagnostic.message[: len(what)] for diagnostic in diagnostics]
    assert diagnostics[0].hint.startswith(hint)


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
    """What a template asks of an event is part of a set's digest: by what it means, not by how TOML spells it."""

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


def test_a_sample_whose_conditions_do_not_hold(tmp_path: Path) -> None:
    """T19: a sample whose event a condition leaves out says which, and the value it met."""
    (tmp_path / "event.json").write_text((SHIPPED / "samples" / "loan-repayment.json").read_text())
    sample = '[[sample]]\nname = "a"\nevent = "event.json"\nexpected.state = "QUEUED"\n'
    conditions = condition('field = "TRANSACTION_AMOUNT"\noperator = "MORE_THAN"\nvalue = 500')
    (diagnostic,) = load_files(tmp_path, note=toml(conditions + sample)).diagnostics

    told = "CONDITION_FALSE: condition 1: TRANSACTION_AMOUNT MORE_THAN 500; the value is 218.24"
    assert f"sample 'a' makes no message: {told}" == diagnostic.message


def test_manual_templates_are_loaded_and_passed_over(tmp_path: Path) -> None:
    """A template that a person sends is checked with its own placeholders, and belongs to no event of a record."""
    loaded = load_files(tmp_path, note=manual(body="<p>{RECIPIENT_NAME} {BRANCH_NAME} {CURRENT_DATE_TIME}</p>"))

    assert () == loaded.diagnostics
    assert loaded.templates is not None
    assert ["note"] == [template.id for template in loaded.templates.templates]
    assert [] == [event for event in EVENTS if loaded.templates.for_event(event)]


def test_what_manual_templates_may_be_is_the_reference() -> None:
    """The channels of MANUAL are those of the domain reference's table."""
    with (Path(__file__).parents[1] / "domain" / "events.csv").open(encoding="utf-8", newline="") as lines:
        (row,) = (row for row in csv.DictReader(lines) if row["event"] == "MANUAL")
    channels = ("email", "sms", "web_hook", "event_stream", "task")

    assert {"EMAIL", "SMS"} == {name.upper() for name in channels if row[name] == "y"}


def test_trigger_days_of_a_reminder(tmp_path: Path) -> None:
    """T17: with REPAYMENT_REMINDER alone `trigger_days` is no diagnostic, from -365 to 365."""
    for days in (-365, 0, 365):
        found = diagnostics(tmp_path, toml(event="REPAYMENT_REMINDER", trigger_days=days))

        assert [] == [diagnostic for diagnostic in found if diagnostic.code == "T17"]


def test_all_of_a_condition_at_once(tmp_path: Path) -> None:
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


def test_shipped_templates_are_whole() -> None:
    """The shipped templates have no diagnostic, not even a warning, and every one has a sample that passes."""
    loaded = read_templates(None, tenant=TENANT, schemas=schemas())

    assert () == loaded.diagnostics
    assert loaded.templates is not None
    assert {template.id for template in loaded.templates.templates} == {
        run.template for run in loaded.samples if run.passed
    }
    assert set(Channel) == {template.type for template in loaded.templates.templates}


def test_cells_of_the_channels(tmp_path: Path) -> None:
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


def test_samples_do_not_depend_on_the_time_zone() -> None:
    """The shipped samples pass in any time zone, so that an installation's own does not stop it.

    These two are the ends: at no moment do both have the same day, so no sample shows the day of a moment.
    """
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        loaded = read_templates(None, tenant=TENANT, schemas=schemas(), time_zone=ZoneInfo(zone))

        assert all(run.passed for run in loaded.samples)


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
            "",
            "no.json cannot be read",
            13,
            "",
        ),
    ],
)
def test_rules(tmp_path: Path, text: str, rule: str, what: str, line: int | None, hint: str) -> None:
    """Each mistake in a file is found, at its line, by its rule, with a hint where there is something to say."""
    found = diagnostics(tmp_path, text)
    first = next((diagnostic for diagnostic in found if diagnostic.message.startswith(what)), None)

    assert first is not None, found
    assert (rule, line) == (first.code, first.location.line)
    assert first.hint.startswith(hint)


@pytest.mark.parametrize(
    ("body", "content", "what"),
    [
        ('{"a": {ACCOUNT_ID}', "application/json", "body is not JSON with a sample of each value: expecting ','"),
        ('{"a": 1{NUMBER_OF_INSTALLMENTS}}', "application/json", "body is not JSON when every value is missing"),
        ("{{ACCOUNT_ID}: 1}", "application/json", "body is not JSON when every value is missing"),
        ("[-{TOTAL_BALANCE}]", "application/json", "body is not JSON when every value is missing"),
        ("[NaN]", "application/json", "body is not JSON with a sample of each value: NaN is not JSON"),
        ("\ufeff[]", "application/json", "body is not JSON with a sample of each value: unexpected utf-8 bom"),
        ("[" * 100_000, "application/json", "body is not JSON with a sample of each value: nested too deeply"),
        ("<a>{ACCOUNT_NAME}", "application/xml", "body is not XML with a sample of each value: no element found"),
        ("<a b={ACCOUNT_NAME}/>", "application/xml", "body is not XML with a sample of each value: not well-formed"),
        ("<{ACCOUNT_NAME}/>", "application/xml", "body is not XML with a sample of each value"),
        ("<a><!-- {ACCOUNT_NAME} --></a>", "application/xml", "{ACCOUNT_NAME} stands in a comment"),
        ("<a><![CDATA[{CF:x}]]></a>", "application/xml", "{CF:x} stands in a comment, a CDATA section"),
        (
            '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
            "application/xml",
            "body is not XML with a sample of each value: a",
        ),
        ('<a b="{REPAYMENT_SCHEDULE}"/>', "application/xml", "body is not XML with a sample of each value"),
        (
            "<script>f('{ACCOUNT_NAME}')</script>",
            "text/html",
            "{ACCOUNT_NAME} stands where its value cannot be escaped",
        ),
        ("<style>{ACCOUNT_NAME}</style>", "text/html", "{ACCOUNT_NAME} stands where"),
        ("<!-- {ACCOUNT_NAME} -->", "text/html", "{ACCOUNT_NAME} stands where"),
        ("<a href={ACCOUNT_NAME}>", "text/html", "{ACCOUNT_NAME} stands where"),
        ("<a title='x' ONCLICK = \"f('{ACCOUNT_NAME}')\">", "text/html", "{ACCOUNT_NAME} stands where"),
        ("<{ACCOUNT_NAME}>", "text/html", "{ACCOUNT_NAME} stands where"),
        ("<p {ACCOUNT_NAME}>", "text/html", "{ACCOUNT_NAME} stands where"),
        ("<SCRIPT src='a>b'>{ACCOUNT_NAME}</SCRIPT>", "text/html", "{ACCOUNT_NAME} stands where"),
        ("<a onclick=\"f('{ACCOUNT_NAME}')\">", "text/html", "{ACCOUNT_NAME} stands where"),
        ("<p>{ACCOUNT_NAME}</p><script>{ACCOUNT_NAME}</script>", "text/html", "{ACCOUNT_NAME} stands where"),
        ('<a href="{ACCOUNT_NAME}">', "text/html", "{ACCOUNT_NAME} stands where"),
        ('<a href=" {ACCOUNT_NAME}/x">', "text/html", "{ACCOUNT_NAME} stands where"),
        ('<a href="java{ACCOUNT_NAME}">', "text/html", "{ACCOUNT_NAME} stands where"),
        ('<a href="java&#115;{ACCOUNT_NAME}">', "text/html", "{ACCOUNT_NAME} stands where"),
        ("<a href=\"javascript:f('{ACCOUNT_NAME}')\">", "text/html", "{ACCOUNT_NAME} stands where"),
        ("<img SRC='{CF:x}'>", "text/html", "{CF:x} stands where"),
        ('<iframe srcdoc="<p>{ACCOUNT_NAME}">', "text/html", "{ACCOUNT_NAME} stands where"),
        ('<p style="color: {CF:x}">', "text/html", "{CF:x} stands where"),
    ],
)
def test_documents(tmp_path: Path, body: str, content: str, what: str) -> None:
    """T12: a body that is not what it claims to be, or where a value could not be escaped, is refused."""
    channel = "EMAIL" if content == "text/html" else "EVENT_STREAM"
    found = diagnostics(tmp_path, toml(type=channel, content_type=content, body=body))

    assert ["T12"] == sorted({diagnostic.code for diagnostic in found if diagnostic.is_error}), found
    assert any(diagnostic.message.startswith(what) for diagnostic in found), found


@pytest.mark.parametrize(
    "body",
    [
        "{ACCOUNT_NAME}",
        "a < b {ACCOUNT_NAME}",
        "<!-- a --><!--><!doctype html>{ACCOUNT_NAME}",
        "<!-- a --!>{ACCOUNT_NAME}",
        "<script>'</p>' < 1</script >{ACCOUNT_NAME}",
        "<style a='>'>p {}</STYLE><p>{ACCOUNT_NAME}",
        "<p title='{ACCOUNT_NAME}' class=\"a>b {CF:x}\" lang=en>{ACCOUNT_NAME}</p>",
        "<title>{ACCOUNT_NAME}</title><textarea><script>{ACCOUNT_NAME}</textarea>{CF:x}",
        "<script>var total = {TOTAL_BALANCE};</script>",
        "<br/>{ACCOUNT_NAME}<img src='x'/>{ACCOUNT_NAME}",
        '<a href="https://a.example/{ACCOUNT_NAME}?b={CF:x}">',
        '<a href="/a/{ACCOUNT_NAME}"><a href="#{CF:x}"><a href="mailto:{CF:x}">',
    ],
)
def test_places_in_html_that_are_safe(tmp_path: Path, body: str) -> None:
    """Text, quoted attributes, and numbers anywhere, behind whatever comes before."""
    assert [] == diagnostics(tmp_path, toml(body=body))


@pytest.mark.parametrize(
    ("declaration", "what"),
    [
        ('<?xml version="1.0" encoding="UTF-16"?>', "says encoding 'UTF-16'"),
        ("<?xml version='1.0' encoding='iso-8859-1' standalone='no'?>", "says encoding 'iso-8859-1'"),
        ('<?xml  version = "1.0"\n encoding\t= "Latin1" ?>', "says encoding 'Latin1'"),
        ('<?xml version="1.0" encoding="US-ASCII"?>', "says encoding 'US-ASCII'"),
        ('<?xml version="1.0" encoding="UTF8"?>', "says encoding 'UTF8'"),  # no name of UTF-8 (IANA character sets)
        ('<?xml version="1.0" encoding="UTF-{NUMBER_OF_INSTALLMENTS}"?>', "says encoding 'UTF-7'"),
        ('<?xml version="1.1"?>', "says version '1.1'"),
        ('<?xml version="1.1" encoding="UTF-16"?>', "says version '1.1'"),
        ('<?xml version="1.{NUMBER_OF_INSTALLMENTS}"?>', "says version '1.7'"),
        ('<?xml version="1.0" encoding="{CF:x}"?>', "body is not XML with a sample of each value"),
        ('<?xml version="1.0" {ACCOUNT_NAME}?>', "body is not XML with a sample of each value"),
        ('<?xml encoding="UTF-8"?>', "body is not XML with a sample of each value"),
        (' <?xml version="1.0"?>', "body is not XML with a sample of each value"),
        ('\n<?xml version="1.0"?>', "body is not XML with a sample of each value"),
        ('<!-- a --><?xml version="1.0"?>', "body is not XML with a sample of each value"),
        ('\ufeff<?xml version="1.0" encoding="UTF-8"?>', "body begins with a byte order mark"),
        ("\ufeff", "body begins with a byte order mark"),
        ('\ufeff<?xml version="1.0" encoding="UTF-16"?>', "says encoding 'UTF-16'"),
    ],
)
def test_xml_that_says_it_is_something_else(tmp_path: Path, declaration: str, what: str) -> None:
    """T12: bodies are UTF-8 and XML 1.0; readers believe a declaration, and refuse the body or read other letters."""
    body = declaration + "<a>{ACCOUNT_NAME}</a>"
    text = toml(type="EVENT_STREAM", content_type="application/xml", body=body)
    found = [diagnostic for diagnostic in diagnostics(tmp_path, text) if diagnostic.is_error]

    assert {"T12"} == {diagnostic.code for diagnostic in found}
    assert any(what in diagnostic.message for diagnostic in found), found


def test_what_another_file_or_language_says_is_read_too(tmp_path: Path) -> None:
    """A declaration in a file of its own, behind a byte order mark that an editor put there, and in a locale."""
    (tmp_path / "body.xml").write_bytes(b'\xef\xbb\xbf<?xml version="1.0" encoding="UTF-16"?><a/>')
    text = toml(
        'body_file = "body.xml"\n[locale."pt"]\nbody = \'<?xml version="1.0" encoding="latin1"?><a/>\'',
        type="EVENT_STREAM",
        content_type="application/xml",
        without=("body",),
    )

    assert [
        ("T12", "body.xml: the XML declaration says encoding 'UTF-16'; bodies are UTF-8"),
        ("T12", "the XML declaration says encoding 'latin1'; bodies are UTF-8"),
    ] == sorted(
        (diagnostic.code, diagnostic.message) for diagnostic in diagnostics(tmp_path, text) if diagnostic.is_error
    )


@pytest.mark.parametrize(
    "declaration",
    [
        "",
        '<?xml version="1.0"?>',
        '<?xml version="1.0" encoding="UTF-8"?>\n',
        "<?xml version='1.0' encoding='utf-8' standalone='yes'?>",
        '<?xml version="1.0" standalone="no" ?>',
        '<?xml-stylesheet href="a.xsl" encoding="UTF-16"?>',
        '<?xml version="1.0"?><!-- <?xml encoding="UTF-16"?> -->',
    ],
)
def test_xml_that_says_it_is_utf_8(tmp_path: Path, declaration: str) -> None:
    """Or nothing."""
    body = declaration + "<a>{ACCOUNT_NAME}</a>"
    text = toml(type="EVENT_STREAM", content_type="application/xml", body=body)

    assert [] == [diagnostic for diagnostic in diagnostics(tmp_path, text) if diagnostic.is_error]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ('<meta charset="windows-1252">', '<meta charset="windows-1252"> says windows-1252'),
        ("<META CharSet = iso-8859-1 />", "says iso-8859-1"),
        ("<meta\n name='x'\n charset='utf-16'>", "says utf-16"),
        ('<meta charset="&#108;atin1">', "says latin1"),
        ('<meta charset="{CF:x}">', "says {CF:x}"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-1">', "says iso-8859-1"),
        ("<meta content='text/html;charset = \"Shift_JIS\"' http-equiv=content-type>", "says Shift_JIS"),
        ('<meta http-equiv="content-type" content="text/html; charset={ACCOUNT_NAME}">', "says {ACCOUNT_NAME}"),
        ('<!--[if mso]><meta charset="windows-1252"><![endif]-->', "says windows-1252"),
        ('<?xml version="1.0" encoding="iso-8859-1"?><!doctype html>', "says iso-8859-1"),
        ('<p>a</p><meta charset="utf-8"><meta charset="latin1">', "says latin1"),
    ],
)
def test_html_that_says_it_is_something_else(tmp_path: Path, body: str, what: str) -> None:
    """T12: mails are UTF-8 and say so; a reader who believes the document would show other letters."""
    found = [
        diagnostic
        for diagnostic in diagnostics(tmp_path, toml(body=body + "<p>{ACCOUNT_NAME}</p>"))
        if diagnostic.is_error
    ]

    assert ["T12"] == [diagnostic.code for diagnostic in found]
    assert what in found[0].message


@pytest.mark.corpus
@pytest.mark.parametrize(
    "body",
    [
        '<meta charset="utf-8">',
        "<META CHARSET=UTF8>",
        '<meta http-equiv="Content-Type" content="text/html; charset=UTF-8">',
        '<meta http-equiv="Content-Type" content="text/html">',
        '<meta name="description" content="a text; charset=latin1">',
        "<meta name='viewport' content='width=device-width'> charset=latin1 <p>",
        "<p>&lt;meta charset=latin1&gt;</p>",
        '<metadata charset="latin1">',
        '<form accept-charset="latin1">',
        '<?xml version="1.0" encoding="utf-8"?><html>',
        "<meta charset='utf-8" + " <meta" * 50_000,
        f"<meta {'a' * 300_000}>",
        f"<meta {'a ' * 150_000}>",
        f"<meta {'=' * 300_000}>",
    ],
)
def test_html_that_says_it_is_utf_8(tmp_path: Path, body: str) -> None:
    """Or nothing, or something about another resource; found in a time that is linear in the body."""
    began = time.process_time()
    found = [diagnostic for diagnostic in diagnostics(tmp_path, toml(body=body)) if diagnostic.is_error]

    assert [] == found
    assert 5 > time.process_time() - began


def test_a_misspelt_placeholder_hides_no_unsafe_place(tmp_path: Path) -> None:
    """Both are said at once."""
    found = diagnostics(
        tmp_path, toml(type="EMAIL", content_type="text/html", body='<a href="{CF:x}">{ACCOUNT_IDD}</a>')
    )

    assert {"T12", "T13"} == {diagnostic.code for diagnostic in found if diagnostic.is_error}


JSON_VALUES = [
    "1",
    "-1",
    '"a"',
    '"a {ACCOUNT_ID} \\" b"',
    "{ACCOUNT_ID}",
    "{TOTAL_BALANCE}",
    '{"{CF:x}": {CF:x}}',
    '{"a": [{ACCOUNT_ID}, "{CF:x}"]}',
    '"{TOTAL_BALANCE}{CF:x}"',
]


@settings(max_examples=examples(250))
@given(
    values=st.lists(st.sampled_from(JSON_VALUES), max_size=5),
    slip=st.tuples(st.integers(0, 60), st.sampled_from(["", "", *'"{}[]:,1-\\ ', "{ACCOUNT_ID}"])),
    value=st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.none(),
)
def test_a_body_that_passes_is_json_for_any_value(values: list[str], slip: tuple[int, str], value: str | None) -> None:
    """What T12 lets pass is parsed back whatever the values are, so that nothing needs to parse it again."""
    text = f"[{', '.join(values)}]"
    body = text[: slip[0]] + slip[1] + text[slip[0] :]
    segments, diagnostics = parse(body, ContentType.JSON, families=REPAYMENT)
    if any(diagnostic.is_error for diagnostic in diagnostics) or list(
        check_document(segments, ContentType.JSON, REPAYMENT)
    ):
        return
    fields = {"account": {"id": value, "totalBalance": None}, "customFields": {"LOAN:x": value}}
    result = render(
        Text(None, segments), Scope("loan_transaction", fields, ZoneInfo("UTC")), strict=False, limit_characters=1000
    )

    assert isinstance(result, Rendered)
    json.loads(result.body)


def test_line_of_a_placeholder_in_a_long_body(tmp_path: Path) -> None:
    """A diagnostic within a body of several lines stands at the line of its placeholder."""
    text = toml('body = """\n<p>\n{ACCOUNT_ID}\n{NOBODY}</p>\n"""\n', without=("body",))

    assert [(13, "unknown placeholder {NOBODY} (family loan_transaction)")] == [
        (diagnostic.location.line, diagnostic.message) for diagnostic in diagnostics(tmp_path, text)
    ]


def test_a_terminal_obeys_no_diagnostic(tmp_path: Path) -> None:
    """Control characters of a file are shown as a replacement character."""
    text = toml('body = "{CF:\\u001b[31m:x}"', without=("body",))

    assert ["{CF:\ufffd[31m:x}: '\\x1b[31m' is not an entity of custom fields"] == [
        diagnostic.message for diagnostic in diagnostics(tmp_path, text)
    ]


def test_everything_at_once(tmp_path: Path) -> None:
    """Findings of all files come together, sorted by file and line, and nothing is loaded; the text names each."""
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
    assert "5 findings, nothing loaded" in str(raised.value)
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


@pytest.mark.parametrize(
    ("sample", "what"),
    [
        ('expected.body = "<p>Home"', "sample 'a': body is not as expected"),
        ('expected.subject = "About"', "sample 'a': subject is not as expected"),
        ('expected.destination = "a@b"', "sample 'a': destination is not as expected"),
        ('expected.state = "FAILED"', "sample 'a': state is not as expected"),
        ('expected.state = "HAPPY"', "unknown state 'HAPPY'"),
        ("expected = {}", "sample 'a' expects nothing"),
    ],
)
def test_samples_are_tests(tmp_path: Path, sample: str, what: str) -> None:
    """T19: a sample that renders otherwise is a diagnostic that shows both texts; the template is not loaded."""
    (tmp_path / "event.json").write_text((SHIPPED / "samples" / "loan-repayment.json").read_text())
    loaded = load_files(tmp_path, note=toml(f'[[sample]]\nname = "a"\nevent = "event.json"\n{sample}'))

    assert what in [diagnostic.message.splitlines()[0] for diagnostic in loaded.diagnostics], loaded.diagnostics
    assert ["T19"] == sorted({diagnostic.code for diagnostic in loaded.diagnostics})
    assert (None, [False]) == (loaded.templates, [run.passed for run in loaded.samples])


@pytest.mark.parametrize(
    ("event", "what"),
    [
        ("client-created.json", "is a CLIENT_CREATED, which this template is not for"),
        ("savings-deposit.json", "is a SAVINGS_DEPOSIT, which this template is not for"),
        ("broken.json", "is no event: INVALID_EVENT"),
    ],
)
def test_samples_need_an_event_of_the_template(tmp_path: Path, event: str, what: str) -> None:
    """T19: a sample's file must hold an event that the template is for."""
    source = SHIPPED / "samples" / event
    (tmp_path / event).write_text(source.read_text() if source.exists() else '{"event": "LOAN_REPAYMENT"}')
    sample = f'[[sample]]\nname = "a"\nevent = "{event}"\nexpected.state = "QUEUED"'
    (diagnostic,) = load_files(tmp_path, note=toml(sample)).diagnostics

    assert what in diagnostic.message
    assert ("T19", 13) == (diagnostic.code, diagnostic.location.line)


OPTED_IN = '[[sample]]\nname = "a"\nevent = "event.json"\n'


@pytest.mark.parametrize("fields", [{}, SMS, STREAM], ids=["EMAIL", "SMS", "EVENT_STREAM"])
@pytest.mark.parametrize("option", ["OPT_IN", "OPT_OUT"])
@pytest.mark.parametrize("subscribed", ["", "subscribed = true\n"], ids=["by default", "as it says"])
def test_the_holder_of_a_sample_is_subscribed(
    tmp_path: Path, fields: dict[str, Any], option: str, subscribed: str
) -> None:
    """T19: whatever the template's option and channel, a sample shows the message of a holder who wants it."""
    (tmp_path / "event.json").write_text((SHIPPED / "samples" / "loan-repayment.json").read_text())
    state = "SENT" if fields is STREAM else "QUEUED"
    sample = f'{OPTED_IN}{subscribed}expected.state = "{state}"'
    loaded = load_files(tmp_path, note=toml(sample, subscription=option, **fields))

    assert ((), [True]) == (loaded.diagnostics, [run.passed for run in loaded.samples])


@pytest.mark.parametrize("option", ["OPT_IN", "OPT_OUT"])
def test_a_sample_of_a_holder_who_is_not_subscribed(tmp_path: Path, option: str) -> None:
    """T19: with `subscribed = false` a sample without `expected` passes when there is no message; with it, it fails."""
    (tmp_path / "event.json").write_text((SHIPPED / "samples" / "loan-repayment.json").read_text())
    nobody = f"{OPTED_IN}subscribed = false\n"
    loaded = load_files(tmp_path, note=toml(nobody, subscription=option))
    assert ((), [True]) == (loaded.diagnostics, [run.passed for run in loaded.samples])

    (diagnostic,) = load_files(
        tmp_path, note=toml(f'{nobody}expected.state = "QUEUED"', subscription=option)
    ).diagnostics
    assert "sample 'a' makes no message: NOT_SUBSCRIBED: the holder opted out" == diagnostic.message
    assert ("T19", "leave `expected` out where no message is right") == (diagnostic.code, diagnostic.hint)


def test_a_sample_that_should_make_no_message_and_does(tmp_path: Path) -> None:
    """T19: an event without a holder needs no subscription, so nothing keeps its message back."""
    (tmp_path / "event.json").write_text((SHIPPED / "events" / "END_OF_DAY_PROCESSING_COMPLETED.json").read_text())
    about = {"event": "END_OF_DAY_PROCESSING_COMPLETED", "target": "BACKGROUND_PROCESS", "body": '"{EVENT_ID}"'}
    text = toml(f"{OPTED_IN}subscribed = false", **(STREAM | about))
    (diagnostic,) = load_files(tmp_path, note=text).diagnostics

    assert "sample 'a' makes a message, though its holder is not subscribed" == diagnostic.message
    assert ("T19", "an event without a holder needs no subscription") == (diagnostic.code, diagnostic.hint)


@pytest.mark.parametrize(
    ("event", "fields", "got"),
    [
        (
            "loan-repayment-no-address",
            'expected.state = "QUEUED"',
            "got      'FAILED', MISSING_EMAIL_RECIPIENT_ADDRESS: the recipient has no e-mail address",
        ),
        (
            "loan-repayment-no-address",
            'expected.destination = "bo@example.com"',
            "got      nothing, MISSING_EMAIL_RECIPIENT_ADDRESS: the recipient has no e-mail address",
        ),
        ("loan-repayment", 'expected.state = "FAILED"', "got      'QUEUED'"),
        ("loan-repayment-no-address", 'expected.subject = "?"', "got      'About LN-300001'"),
    ],
)
def test_a_sample_says_why_a_message_failed(tmp_path: Path, event: str, fields: str, got: str) -> None:
    """T19: beside a state or destination that is not as expected stands the reason, as `preview` has it."""
    (tmp_path / "event.json").write_text((SHIPPED / "samples" / f"{event}.json").read_text())
    (diagnostic,) = load_files(tmp_path, note=toml(f"{OPTED_IN}{fields}")).diagnostics

    assert got == diagnostic.message.splitlines()[-1].strip()


def test_unknown_fields_of_a_sample(tmp_path: Path) -> None:
    """T19: nothing reads them, so each is a warning, once for an event that samples share; the samples pass."""
    event = json.loads((SHIPPED / "samples" / "loan-repayment.json").read_text())
    event["transaction"]["amonut"] = event["transaction"]["amount"]
    (tmp_path / "event.json").write_text(json.dumps(event))
    two = "".join(f'[[sample]]\nname = "{name}"\nevent = "event.json"\nexpected.state = "QUEUED"\n' for name in "ab")
    loaded = load_files(tmp_path, note=toml(two))
    (diagnostic,) = loaded.diagnostics

    assert ("T19", 13, True) == (diagnostic.code, diagnostic.location.line, diagnostic.is_warning)
    assert "event.json has an unknown field transaction.amonut" == diagnostic.message
    assert "did you mean amount?" == diagnostic.hint
    assert loaded.templates
    assert [True, True] == [run.passed for run in loaded.samples]


def test_a_sample_says_why_its_template_failed(tmp_path: Path) -> None:
    """T19: reason and detail of a template that fails for the sample's event."""
    (tmp_path / "event.json").write_text((SHIPPED / "samples" / "loan-repayment.json").read_text())
    text = toml(f'{OPTED_IN}expected.state = "QUEUED"', strict=True, body="<p>{GROUP_NAME}</p>")
    (diagnostic,) = load_files(tmp_path, note=text).diagnostics

    assert "sample 'a' makes no message: MISSING_VALUE: no value: {GROUP_NAME}" == diagnostic.message


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
def test_what_authors_slip_on(tmp_path: Path, text: str, what: str, hint: str) -> None:
    """The hint says what to write instead, and guesses nothing far-fetched."""
    (tmp_path / "event.json").write_text((SHIPPED / "samples" / "loan-repayment.json").read_text())
    found = next(
        (diagnostic for diagnostic in diagnostics(tmp_path, text) if diagnostic.message.startswith(what)), None
    )

    assert found, diagnostics(tmp_path, text)
    assert hint == found.hint


@pytest.mark.parametrize(
    ("event", "hint"),
    [
        ("repayment.json", "did you mean events/repayment.json?"),
        ("event/repayment.json", "did you mean events/repayment.json?"),
        ("events/repaymnet.json", "did you mean events/repayment.json?"),
        ("LOAN_REPAYMENT", "a JSON event, in a file that is named relative to the templates' folder"),
        ("nothing/of/this", "a JSON event, in a file that is named relative to the templates' folder"),
    ],
)
def test_the_event_of_a_sample_is_found_elsewhere(tmp_path: Path, event: str, hint: str) -> None:
    """A file of that name in another folder below, or of a name like it, is what was meant."""
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "repayment.json").write_text("{}")
    (diagnostic,) = diagnostics(tmp_path, toml(f'[[sample]]\nname = "a"\nevent = "{event}"\nexpected.state = "SENT"'))

    assert (f"{event} cannot be read: No such file or directory", hint) == (diagnostic.message, diagnostic.hint)


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


def test_the_same_mistake_is_counted(tmp_path: Path) -> None:
    """It is one diagnostic, at the first line; how often it is there says that there is more to look for."""
    link = '<a href="{CF:x}">x</a>'
    body = ("body = '''", "{account id}", "{ACCOUNT_IDD}", link, "{account id} {ACCOUNT_IDD}", link, "{CF:}'''")
    found = diagnostics(tmp_path, toml("\n".join(body), without=("body",)))

    assert [(11, 2), (12, 2), (13, 2), (16, 0)] == [
        (diagnostic.location.line, 2 * diagnostic.message.endswith(" (2 times)"))
        for diagnostic in found
        if diagnostic.is_error
    ]


def test_the_line_of_a_misspelt_name_with_a_form(tmp_path: Path) -> None:
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


def test_samples_of_a_template_that_is_off(tmp_path: Path) -> None:
    """T19: the samples of an inactive template show what it would do, so that it can be tried before it goes live."""
    (tmp_path / "event.json").write_text((SHIPPED / "samples" / "loan-repayment.json").read_text())
    sample = '[[sample]]\nname = "a"\nevent = "event.json"\nexpected.body = "<p>Home improvement</p>"'

    assert () == load_files(tmp_path, note=toml(sample, active=False)).diagnostics


def test_a_sample_of_nobody(tmp_path: Path) -> None:
    """T19: a sample whose event makes no message says why."""
    (tmp_path / "event.json").write_text((SHIPPED / "samples" / "loan-repayment.json").read_text())
    text = toml(
        '[[sample]]\nname = "a"\nevent = "event.json"\nexpected.state = "QUEUED"', target="GROUP", recipient="GROUP"
    )
    (diagnostic,) = load_files(tmp_path, note=text).diagnostics

    assert (
        "sample 'a' makes no message: TARGET_MISMATCH: target GROUP, but the holder is a client" == diagnostic.message
    )


def test_a_file_outside_is_not_read(tmp_path: Path) -> None:
    """A template names no file outside of its directory, by a link neither."""
    (tmp_path / "secret").write_text("secret")
    inside = tmp_path / "templates"
    inside.mkdir()
    (inside / "link").symlink_to(tmp_path / "secret")

    for name in ("../secret", str(tmp_path / "secret"), "link"):
        found = diagnostics(inside, toml(without=("body",), body_file=name))
        assert [f"{name} is outside of the templates' directory"] == [diagnostic.message for diagnostic in found]


def test_what_is_no_file(tmp_path: Path) -> None:
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


ASKING = toml(
    condition('field = "TOTAL_BALANCE"\noperator = "BETWEEN"\nvalue = 0.1\nsecond_value = "1000"')
    + condition('field = "CF:LOAN:x"\noperator = "EQUALS"\nvalue = true')
    + condition('field = "ENTRY_DATE"\noperator = "AFTER"\nvalue = 2026-03-14T09:00:00+01:00')
    + condition('field = "TENANT"\noperator = "IN"\nvalues = ["a", 1, 2.5]'),
    id="loan-repayment-stream",
    match="ANY",
)


@settings(max_examples=examples(150), deadline=None)
@given(
    file=st.sampled_from([(SHIPPED / "loan-repayment-stream.toml").read_text(), ASKING]),
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


def test_custom_placeholder_keys() -> None:
    """A custom field without entity and entry is looked for in all entities, each ungrouped first, then entry 1."""
    (placeholder,), _ = parse("{CF:x}", ContentType.TEXT, families=REPAYMENT)

    assert isinstance(placeholder, CustomFieldPlaceholder)
    assert ("TRANSACTION:x", "TRANSACTION:x:1", "LOAN:x", "LOAN:x:1") == placeholder.field.keys[:4]
    assert 18 == len(placeholder.field.keys)
