"""The reference tables in mapping: rows as their owners write them, what each says, and what a missing one means."""

import json
import tracemalloc
from collections.abc import Mapping
from typing import Any

import pytest

from processor.domain.event import Event
from processor.domain.message import FailedTemplate, SkippedTemplate
from processor.domain.outcome import Processed
from processor.domain.reasons import DecisionReason, TemplateReason
from processor.domain.reference import Account, Category, Contact, ContactUser, SubscriptionRow, Table
from processor.domain.template import Subscription, Template
from processor.mapping.options import MissingRow
from processor.mapping.reference import CACHED_ROW_LIMIT_BYTES, InvalidRow, Reference, parse_row
from tests.support.builders import (
    TENANT,
    make_context,
    make_email,
    make_event,
    make_record,
    make_sms,
    make_task,
    make_template,
    map_record,
    reasons,
    reasons_and_details,
)

CLIENT = make_event().fields["client"]["encodedKey"]
LOAN = make_event().fields["account"]["encodedKey"]
NTC = "NTC-3300-0041"

# As the Message of the published example has them.
INES = {
    "id": "CTT-4410-0093-7715",
    "name": "Ines M. Duarte",
    "email": "ines@elsewhere.example",
    "user": {"id": "USR-5520-1187", "name": "Ines Duarte", "email": "ines.duarte@example.com"},
    "status": "Active",
    "optOuts": [],
}
PAYMENTS = {"id": NTC, "name": "Loan payments", "shortDescription": "Payments received.", "optOutAllowed": True}
NORTHBANK = {
    "id": "ACC-7031-2205",
    "type": "Client",
    "status": "Enabled",
    "name": "Northbank Retail",
    "logo": "/accounts/accounts/ACC-7031-2205/logo.png",
    "disabledCategories": [],
}
ALL = {f"contacts {CLIENT}": INES, f"categories {NTC}": PAYMENTS, f"accounts {TENANT}": NORTHBANK}


def reference(rows: Mapping[str, Any], **rules: Any) -> Reference:
    """Tables with these rows: `"table key"` -> its value, bytes as they are."""

    def find(table: Table, key: str) -> bytes | None:
        value = rows.get(f"{table} {key}")
        return value if value is None or isinstance(value, bytes) else json.dumps(value).encode()

    return Reference(rows=find, **rules)


def outcome(*templates: Template, event: Event | None = None, tables: Reference) -> Processed:
    """What becomes of a repayment."""
    processed = map_record(make_record(event or make_event()), make_context(*templates, reference=tables), frozenset())
    assert isinstance(processed, Processed)
    return processed


def notifications(processed: Processed) -> list[dict[str, Any]]:
    """The Messages that were published."""
    return [json.loads(out.value or b"") for out in processed.outputs if out.topic == "notifications.messages"]


def notification(processed: Processed) -> dict[str, Any]:
    """The one Message that was published."""
    (value,) = notifications(processed)
    return value


# -------------------------------------------------------------------------------------------------------------- rows


@pytest.mark.parametrize(
    ("table", "key", "value", "expected"),
    [
        (
            Table.CONTACTS,
            CLIENT,
            INES | {"status": "Blocked", "blockedReason": "Bounces", "optOuts": [NTC], "more": {"a": 1}},
            Contact(
                id="CTT-4410-0093-7715",
                name="Ines M. Duarte",
                email="ines@elsewhere.example",
                user=ContactUser("USR-5520-1187", "Ines Duarte", "ines.duarte@example.com"),
                blocked=True,
                blocked_reason="Bounces",
                opt_outs=frozenset((NTC,)),
            ),
        ),
        (Table.CONTACTS, CLIENT, {"id": "CTT-1000-2000", "name": "A"}, Contact(id="CTT-1000-2000", name="A")),
        (Table.CATEGORIES, NTC, {}, Category(id=NTC)),
        (
            Table.CATEGORIES,
            NTC,
            PAYMENTS | {"optOutAllowed": False},
            Category(id=NTC, name="Loan payments", short_description="Payments received.", opt_out_allowed=False),
        ),
        (
            Table.ACCOUNTS,
            TENANT,
            NORTHBANK | {"disabledCategories": [NTC]},
            Account(
                id="ACC-7031-2205",
                type="Client",
                status="Enabled",
                name="Northbank Retail",
                logo="/accounts/accounts/ACC-7031-2205/logo.png",
                disabled_categories=frozenset((NTC,)),
            ),
        ),
        (Table.SUBSCRIPTIONS, "a:b", {"subscribed": False, "at": "2026-03-14T09:26:53+01:00"}, SubscriptionRow(False)),
    ],
)
def test_valid_rows(table: Table, key: str, value: Any, expected: object) -> None:
    assert expected == parse_row(table, key, json.dumps(value).encode())


@pytest.mark.parametrize(
    ("table", "value", "error"),
    [
        (Table.CONTACTS, b"", "not JSON: Expecting value at character 0"),
        (Table.CONTACTS, b'{"id": "CTT', "not JSON: Unterminated string starting at at character 7"),
        (Table.CONTACTS, b"\xff", "not UTF-8 at byte 0"),
        (Table.CONTACTS, b"[]", "not an object"),
        (Table.CONTACTS, b"[" * 100_000, "it has 100000 bytes, and a row takes 65536"),
        (Table.CONTACTS, b"[" * 1_000, "nested more than 64 deep"),
        (Table.CONTACTS, b'{"name": "A"}', "id: is missing"),
        (Table.CONTACTS, b'{"id": "CTT-1000-2000", "name": ""}', "name: is empty"),
        (Table.CONTACTS, b'{"id": "17", "name": "A"}', "id: '17' is no id, as in CTT-4410-0093-7715"),
        (Table.CONTACTS, b'{"id": 17, "name": "A"}', "id: text expected, a number given"),
        (
            Table.CONTACTS,
            b'{"id": "CTT-1000-2000", "name": "A", "status": "blocked"}',
            "status: 'blocked' is neither Active nor Blocked",
        ),
        (Table.CONTACTS, b'{"id": "CTT-1000-2000", "name": "A", "status": ""}', "status: '' is neither Active nor"),
        (
            Table.CONTACTS,
            b'{"id": "CTT-1000-2000", "name": "\\ud800"}',
            "name: half of a surrogate pair at character 0",
        ),
        (Table.CONTACTS, b'{"id": "CTT-1000-2000", "name": "A", "user": "U"}', "user: not an object"),
        (
            Table.CONTACTS,
            b'{"id": "CTT-1000-2000", "name": "A", "user": {"id": "USR-1000-2000"}}',
            "user.name: is missing",
        ),
        (
            Table.CONTACTS,
            b'{"id": "CTT-1000-2000", "name": "A", "optOuts": "NTC-1000-2000"}',
            "optOuts: a list of ids expected",
        ),
        (
            Table.CONTACTS,
            b'{"id": "CTT-1000-2000", "name": "A", "name": "B"}',
            "key 'name' occurs twice in one object",
        ),
        (Table.CATEGORIES, b'{"id": "NTC-9999-9999"}', "id: is not the record's key"),
        (Table.CATEGORIES, b'{"optOutAllowed": "no"}', "optOutAllowed: true or false expected, text given"),
        (Table.ACCOUNTS, b'{"id": "ACC-1000-2000", "disabledCategories": [1]}', "disabledCategories: text expected"),
        (Table.SUBSCRIPTIONS, b"{}", "subscribed: is missing"),
        (
            Table.SUBSCRIPTIONS,
            b'{"subscribed": true, "at": "today"}',
            "at: not an RFC 3339 time with an offset: 'today'",
        ),
    ],
)
def test_invalid_rows(table: Table, value: bytes, error: str) -> None:
    """The words that the owner of the table sees in the log and in the dead letter."""
    row = parse_row(table, NTC, value)

    assert isinstance(row, InvalidRow)
    assert row.error.startswith(error)


# ----------------------------------------------------------------------------------------------------------- Message


def test_a_message_with_all_reference_data() -> None:
    """The published Message: contact with user, category and account by their rows, and the account in `created`."""
    processed = outcome(make_email(category=NTC), tables=reference(ALL))
    value = notification(processed)

    assert {
        "id": "CTT-4410-0093-7715",
        "href": "/v1/notifications/contacts/CTT-4410-0093-7715",
        "name": "Ines M. Duarte",
        "email": "ines.duarte@example.com",  # where it really goes; the table says otherwise
        "user": {
            "id": "USR-5520-1187",
            "href": "/accounts/users/USR-5520-1187",
            "name": "Ines Duarte",
            "email": "ines.duarte@example.com",
        },
    } == value["contact"]
    assert {
        "id": NTC,
        "href": f"/v1/notifications/categories/{NTC}",
        "name": "Loan payments",
        "shortDescription": "Payments received.",
    } == value["category"]
    assert {
        "id": "ACC-7031-2205",
        "href": "/accounts/accounts/ACC-7031-2205",
        "type": "Client",
        "status": "Enabled",
        "name": "Northbank Retail",
        "logo": "/accounts/accounts/ACC-7031-2205/logo.png",
    } == value["account"]
    assert {
        "id": "ACC-7031-2205",
        "href": "/accounts/accounts/ACC-7031-2205",
        "name": "Northbank Retail",
        "icon": "/accounts/accounts/ACC-7031-2205/logo.png",
    } == value["audit"]["created"]["of"]
    assert "of" not in value["audit"]["queued"]
    assert () == processed.created[0].status.lookupMissing


def test_an_sms_shows_the_contacts_address() -> None:
    assert "ines@elsewhere.example" == notification(outcome(make_sms(), tables=reference(ALL)))["contact"]["email"]


@pytest.mark.parametrize(
    ("category", "rows", "missing"),
    [
        (NTC, {}, ("contact", "category", "account")),
        (None, {}, ("contact", "account")),
        (NTC, {f"contacts {CLIENT}": INES, f"accounts {LOAN}": NORTHBANK}, ("category",)),
        (NTC, ALL, ()),
    ],
)
def test_missing_reference_data_is_named(category: str | None, rows: dict[str, Any], missing: tuple[str, ...]) -> None:
    """By default the message is made with what there is."""
    (created,) = outcome(make_email(category=category), tables=reference(rows)).created

    assert missing == created.status.lookupMissing
    assert created.notification is not None
    assert category == (created.notification.category and created.notification.category.id)


def test_a_template_fails_where_nothing_may_be_missing() -> None:
    processed = outcome(
        make_email(category=NTC), tables=reference({f"categories {NTC}": PAYMENTS}, missing_row=MissingRow.FAIL)
    )

    assert [
        (TemplateReason.LOOKUP_MISSING, f"no contact of {CLIENT}; no account of {LOAN} or {CLIENT} or {TENANT}")
    ] == reasons_and_details(processed.failed)
    assert () == processed.created


def test_accounts_are_tried_in_their_order() -> None:
    """By the bank account, then by who holds it, then by the tenant."""
    rows = {
        f"accounts {key}": NORTHBANK | {"id": f"ACC-0000-000{number}"}
        for number, key in enumerate((LOAN, CLIENT, TENANT), 1)
    }
    seen = []
    for key in (LOAN, CLIENT, TENANT):
        seen.append(notification(outcome(make_email(), tables=reference(rows)))["account"]["id"])
        del rows[f"accounts {key}"]

    assert ["ACC-0000-0001", "ACC-0000-0002", "ACC-0000-0003"] == seen


def test_the_category_of_a_family() -> None:
    """For a template that names none."""
    tables = reference(ALL, category_by_family={"loan_transaction": NTC, "client": "NTC-0000-0000"})
    named = outcome(make_email(category="NTC-1111-1111"), tables=tables)

    assert "Loan payments" == notification(outcome(make_email(), tables=tables))["category"]["name"]
    assert "NTC-1111-1111" == notification(named)["category"]["id"]


# ----------------------------------------------------------------------------------------------------------- consent


def test_a_blocked_contact() -> None:
    """A decision, and a Discarded Message under the key that the message would have had; no message is sent."""
    tables = reference(ALL | {f"contacts {CLIENT}": INES | {"status": "Blocked", "blockedReason": "asked for it"}})
    processed = outcome(make_email(category=NTC), tables=tables)
    unblocked = outcome(make_email(category=NTC), tables=reference(ALL))
    key = unblocked.created[0].message.encodedKey

    assert (
        SkippedTemplate(
            reason=DecisionReason.CONTACT_BLOCKED,
            detail="contact CTT-4410-0093-7715 is blocked: asked for it",
            templateId=make_email().id,
            templateVersion=1,
            encodedKey=key,
        ),
    ) == processed.skipped
    assert () == processed.created
    assert ["notifications.messages", "communications.decisions"] == [out.topic for out in processed.outputs]
    assert (key or "").encode() == processed.outputs[0].key
    queued, discarded = notification(unblocked), notification(processed)
    assert {"status": "Discarded"} == {
        name: value for name, value in discarded.items() if name != "audit" and value != queued[name]
    }
    assert ["created", "discarded"] == sorted(discarded["audit"])
    assert queued["audit"]["created"] == discarded["audit"]["created"]


@pytest.mark.parametrize(
    ("rows", "detail"),
    [
        ({f"contacts {CLIENT}": INES | {"optOuts": [NTC]}}, f"contact CTT-4410-0093-7715 left category {NTC}"),
        (
            {f"accounts {LOAN}": NORTHBANK | {"disabledCategories": ["NTC-0000-0000", NTC]}},
            f"account ACC-7031-2205 disabled category {NTC}",
        ),
        # A category without a row may be left.
        (
            {f"contacts {CLIENT}": INES | {"optOuts": [NTC]}, f"categories {NTC}": None},
            f"contact CTT-4410-0093-7715 left category {NTC}",
        ),
        (
            {f"contacts {CLIENT}": INES | {"optOuts": [NTC]}, f"categories {NTC}": b"{"},
            f"contact CTT-4410-0093-7715 left category {NTC}",
        ),
    ],
)
def test_an_opted_out_category(rows: dict[str, Any], detail: str) -> None:
    processed = outcome(make_email(category=NTC), make_sms(category=NTC), tables=reference(ALL | rows))

    assert [(DecisionReason.CATEGORY_OPTED_OUT, detail)] * 2 == reasons_and_details(processed.skipped)
    assert ["Discarded", "Discarded"] == [value["status"] for value in notifications(processed)]


@pytest.mark.parametrize(
    "rows",
    [
        {f"contacts {CLIENT}": INES | {"optOuts": [NTC]}, f"categories {NTC}": PAYMENTS | {"optOutAllowed": False}},
        {f"contacts {CLIENT}": INES | {"optOuts": ["NTC-0000-0000"]}},
    ],
)
def test_messages_of_other_categories_are_created(rows: dict[str, Any]) -> None:
    assert 1 == len(outcome(make_email(category=NTC), tables=reference(ALL | rows)).created)


def test_only_messages_need_contact_and_category() -> None:
    """A stream or a task is not a message to the contact."""
    tables = reference({f"contacts {CLIENT}": INES | {"status": "Blocked"}}, missing_row=MissingRow.FAIL)
    processed = outcome(make_template(), make_task(), tables=tables)

    assert 2 == len(processed.created)
    assert [(), ()] == [created.status.lookupMissing for created in processed.created]


@pytest.mark.parametrize(
    ("option", "subscribed", "expected"),
    [
        (Subscription.OPT_OUT, None, None),
        (Subscription.OPT_OUT, True, None),
        (Subscription.OPT_OUT, False, "the holder opted out"),
        (Subscription.OPT_IN, None, "the holder never opted in"),
        (Subscription.OPT_IN, True, None),
        (Subscription.OPT_IN, False, "the holder opted out"),
    ],
)
def test_subscriptions(option: Subscription, subscribed: bool | None, expected: str | None) -> None:
    """Of whatever channel and recipient, the holder decides."""
    template = make_task("officers-task", subscription=option)
    rows = {} if subscribed is None else {f"subscriptions {CLIENT}:officers-task": {"subscribed": subscribed}}
    processed = outcome(template, make_template(), tables=reference(rows))
    skipped = [] if expected is None else [(DecisionReason.NOT_SUBSCRIBED, expected)]

    assert skipped == reasons_and_details(processed.skipped)
    assert (2 if expected is None else 1) == len(processed.created)


@pytest.mark.parametrize(
    ("row", "detail"),
    [
        (f"contacts {CLIENT}", f"the row of contacts for {CLIENT} cannot be read: id: is missing"),
        (f"accounts {LOAN}", f"the row of accounts for {LOAN} cannot be read: id: is missing"),
        (
            f"subscriptions {CLIENT}:loan-repayment-mail",
            f"the row of subscriptions for {CLIENT}:loan-repayment-mail cannot be read: subscribed: is missing",
        ),
    ],
)
def test_a_row_that_cannot_be_read_is_not_a_missing_one(row: str, detail: str) -> None:
    """It may suppress the message: the template fails, and is redriven when the row is corrected."""
    processed = outcome(make_email(), make_template(), tables=reference(ALL | {row: {}}))

    assert (
        FailedTemplate(
            templateId=make_email().id, templateVersion=1, reason=TemplateReason.LOOKUP_MISSING, detail=detail
        ),
    ) == processed.failed
    assert 1 == len(processed.created)


def test_messages_of_a_blocked_contact_are_always_discarded() -> None:
    """Also where nothing may be missing and something is, and while the template is suspended."""
    template = make_email(category=NTC)
    tables = reference({f"contacts {CLIENT}": INES | {"status": "Blocked"}}, missing_row=MissingRow.FAIL)
    suspended = frozenset({(template.id, TemplateReason.LOOKUP_MISSING)})
    for open_breakers in (frozenset(), suspended):
        processed = map_record(make_record(), make_context(template, reference=tables), open_breakers)

        assert isinstance(processed, Processed)
        assert [DecisionReason.CONTACT_BLOCKED] == reasons(processed.skipped)
        (result,) = processed.results
        assert "Discarded" == notification(processed)["status"]
        assert ("category", "account") == result.missing


@pytest.mark.parametrize("rows", [{}, {f"contacts {CLIENT}": {}}])
def test_a_suspended_template_is_suspended_whatever_is_missing(rows: dict[str, Any]) -> None:
    """Else each record with a missing row would count as one of the tries that keep its breaker open."""
    template = make_email()
    suspended = frozenset({(template.id, TemplateReason.LOOKUP_MISSING)})
    context = make_context(template, reference=reference(rows, missing_row=MissingRow.FAIL))
    processed = map_record(make_record(), context, suspended)

    assert isinstance(processed, Processed)
    assert [TemplateReason.TEMPLATE_SUSPENDED] == reasons(processed.failed)


def test_checks_come_in_their_order() -> None:
    """Not subscribed before blocked, blocked before left."""
    rows: dict[str, Any] = ALL | {
        f"contacts {CLIENT}": INES | {"status": "Blocked", "optOuts": [NTC]},
        f"subscriptions {CLIENT}:loan-repayment-mail": {"subscribed": False},
    }
    seen = []
    for _ in range(3):
        processed = outcome(make_email(category=NTC), tables=reference(rows))
        seen += reasons(processed.skipped)
        rows |= {f"subscriptions {CLIENT}:loan-repayment-mail": {"subscribed": True}}
        if len(seen) == 2:
            rows |= {f"contacts {CLIENT}": INES | {"optOuts": [NTC]}}

    assert [
        DecisionReason.NOT_SUBSCRIBED,
        DecisionReason.CONTACT_BLOCKED,
        DecisionReason.CATEGORY_OPTED_OUT,
    ] == seen


def test_large_rows_are_not_kept() -> None:
    """The cache of rows stays small, however large the rows are that are looked up."""
    tracemalloc.start()
    try:
        for number in range(300):
            row = {"id": "CTT-4410-0093-7715", "name": f"{number:060000}"}
            assert isinstance(parse_row(Table.CONTACTS, CLIENT, json.dumps(row).encode()), Contact)
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 1_000_000 > kept_bytes


@pytest.mark.corpus
def test_rows_of_many_short_texts_are_kept_within_bounds() -> None:
    """What weighs much in memory for its bytes: a row of short ids, as large as one that is remembered can be."""
    tracemalloc.start()
    try:
        for number in range(700):
            row = {"id": "CTT-4410-0093-7715", "name": f"{number}", "optOuts": [f"{short:03x}" for short in range(670)]}
            value = json.dumps(row, separators=(",", ":")).encode()
            assert 4_000 < len(value) <= CACHED_ROW_LIMIT_BYTES
            assert isinstance(parse_row(Table.CONTACTS, CLIENT, value), Contact)
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 40_000_000 > kept_bytes
