"""Templates of all events: which may be written, and what their messages are about."""

import csv
import json
from pathlib import Path
from typing import Any, Final

import pytest

from processor.domain.catalogue import EVENTS, FAMILIES, Target
from processor.domain.channel import ContentType
from processor.domain.diagnostic import Diagnostic
from processor.domain.event import value_at
from processor.domain.message import State
from processor.domain.outcome import Processed
from processor.domain.placeholders import placeholders_of
from processor.domain.record import EventName
from processor.shipped import sample
from processor.templates.load import read_templates
from tests.support.builders import TENANT, make_context, make_event, make_record, make_template, map_record, schemas
from tests.support.wire import DOMAIN

EITHER: Final = {"CLIENT", "GROUP"}
TARGETS: Final[dict[str, set[str]]] = {  # T05: family -> targets beside the event's own, "where it has that holder"
    "client": {"CLIENT"},
    "group": {"GROUP"},
    "loan_account": EITHER,
    "loan_transaction": EITHER,
    "deposit_account": EITHER,
    "deposit_transaction": EITHER,
    "credit_arrangement": EITHER,
    "authorisation_hold": EITHER,
    "card_transaction": EITHER,
    "activity": EITHER,
    "portal": {"CLIENT"},
    "order": EITHER,
    "journal_entry": set(),
    "background": set(),
}
ON_DEPOSITS_TOO: Final = {
    "INTEREST_RATE_CHANGED",
    "FEE_APPLIED",
    "FEE_CHARGED",
    "FEE_ADJUSTED",
    "FEES_DUE_REDUCED",
    "FEE_REDUCTION_ADJUSTMENT",
    "PENALTY_APPLIED",
    "PENALTY_ADJUSTMENT",
}


def reference() -> list[dict[str, str]]:
    """The lines of `events.csv` that are domain events."""
    with (DOMAIN / "events.csv").open(encoding="utf-8", newline="") as lines:
        return [row for row in csv.DictReader(lines) if row["domain_event"] == "true"]


def toml(event: str, channel: str, target: str) -> str:
    """A template of this event, by this channel, with this target."""
    fields: dict[str, Any] = {"id": "note", "version": 1, "name": "Note", "type": channel, "event": event}
    fields |= {"target": target, "subscription": "OPT_OUT", "body": "{EVENT}"}
    match channel:
        case "EMAIL":
            fields |= {"subject": "{EVENT}", "recipient": "GROUP" if target == "GROUP" else "CLIENT"}
        case "SMS":
            fields |= {"recipient": "GROUP" if target == "GROUP" else "CLIENT"}
        case "EVENT_STREAM":
            fields |= {"content_type": "text/plain; charset=UTF-8"}
    return "\n".join(f"{name} = {json.dumps(value)}" for name, value in fields.items())


def diagnostics(tmp_path: Path, text: str) -> list[Diagnostic]:
    """What is wrong with one template, the missing sample aside."""
    (tmp_path / "note.toml").write_text(text)
    found = read_templates(tmp_path, tenant=TENANT, schemas=schemas()).diagnostics
    return [diagnostic for diagnostic in found if diagnostic.message != "no sample"]


@pytest.mark.parametrize("row", reference(), ids=lambda row: row["event"])
def test_channels_of_templates(tmp_path: Path, row: dict[str, str]) -> None:
    """A template may name any event, by the channels that have a y in `events.csv` (T04)."""
    refused = {
        channel: {diagnostic.code for diagnostic in diagnostics(tmp_path, toml(row["event"], channel, row["target"]))}
        & {"T03", "T04"}
        for channel in ("EMAIL", "SMS", "EVENT_STREAM")
    }

    assert refused == {channel: set() if row[channel.lower()] == "y" else {"T04"} for channel in refused}


@pytest.mark.parametrize("event", EVENTS)
def test_targets_of_templates(tmp_path: Path, event: EventName) -> None:
    """The event's own, CLIENT and GROUP where these can be the holder, SAVINGS for what deposit accounts have (T05)."""
    row = EVENTS[event]
    expected = {row.target} | TARGETS[row.family] | ({"SAVINGS"} if event in ON_DEPOSITS_TOO else set())
    refused = {
        target.value
        for target in Target
        if any(
            diagnostic.code == "T05" for diagnostic in diagnostics(tmp_path, toml(event, "EVENT_STREAM", target.value))
        )
    }

    assert set(Target) - expected == refused


def target_of(event: EventName, fields: dict[str, Any]) -> Target:
    """A target that fits the sample: the event's own, but for a group's credit arrangement and a deposit's fee."""
    target = EVENTS[event].target
    if target is Target.CLIENT and "group" in fields:
        return Target.GROUP
    if target is Target.LOANS and fields["account"]["kind"] == "DEPOSIT":
        return Target.SAVINGS
    return target


REPAYMENTS: Final = {
    "LOAN_REPAYMENT": ("transaction", "encodedKey"),
    "LOAN_REPAYMENT_REVERSAL": ("transaction", "encodedKey"),
    "REPAYMENT_REMINDER": ("installment", "encodedKey"),
}


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_is_mapped(event: EventName) -> None:
    """With each placeholder of its family, by a stream: the message has the keys of holder, account and repayment."""
    fields = sample(event)
    names = placeholders_of(EVENTS[event].family)
    body = "{" + ", ".join(f'"{name}": {{{name}}}' for name in names) + "}"
    template = make_template(body=body, events=[event], target=target_of(event, fields), content_type=ContentType.JSON)
    outcome = map_record(make_record(make_event(fields)), make_context(template), frozenset())

    assert isinstance(outcome, Processed)
    assert ((), ()) == (outcome.skipped, outcome.failed)
    (created,) = outcome.created
    message, account = created.message, fields.get("account", {})
    assert State.SENT is message.state
    assert fields.get("client", {}).get("encodedKey") == message.clientKey
    assert fields.get("group", {}).get("encodedKey") == message.groupKey
    assert message.userKey is None
    assert (account.get("encodedKey") if account.get("kind") == "LOAN" else None) == message.loanAccountKey
    assert (account.get("encodedKey") if account.get("kind") == "DEPOSIT" else None) == message.depositAccountKey
    assert (value_at(REPAYMENTS[event], fields) if event in REPAYMENTS else None) == message.repaymentKey
    rendered = json.loads(message.body or "")
    assert (event, fields["eventId"]) == (rendered["EVENT"], rendered["EVENT_ID"])
    assert names.keys() == rendered.keys()


@pytest.mark.parametrize(
    ("event", "body", "expected"),
    [
        ("GROUP_CREATED", "{GROUP_NAME}, {CENTRE_MEETING_DAY}", "Ribeira net menders & sons, TUESDAY"),
        ("REPAYMENT_REMINDER", "{DAYS_TO_DUE} {PAYMENT_DUE_DATE} {REPAYMENT_TOTAL_BALANCE}", "3 2026-03-14 218.24"),
        ("INTEREST_RATE_CHANGED", "{PREVIOUS_INTEREST_RATE} {INTEREST_RATE} {LOAN_AMOUNT}", "3.0500000001 3.3 713000"),
        ("SAVINGS_CREATED", "{TRANSACTION_DATE} {TRANSACTION_COMMENT}", "2026-03-04 With a card"),
        ("CREDIT_ARRANGEMENT_ACCOUNT_ADDED", "{AVAILABLE_CREDIT_AMOUNT} {ACCOUNT_ID}", "6000.00 LN-205610"),
        (
            "CARDS_AUTHORISATION_HOLD_CREATED",
            "{HOLD_AMOUNT} {HOLD_ORIGINAL_AMOUNT} {MERCHANT_CITY}",
            "86.40 72.00 Tübingen",
        ),
        ("CARDS_AUTHORISATION_HOLD_IN_BULK_CREATED", "{HOLD_AMOUNT}/{CARD_TOKEN}", "/"),
        ("CARD_DEPOSIT_REVERSAL", "{CARD_TOKEN} {MERCHANT_CATEGORY_CODE} {DEBIT_AMOUNT}", "tok-7f3a-zoe-01 5994 25.00"),
        ("LOAN_ACCOUNT_ACTIVITY", "{ACTIVITY_TYPE} {REDRAW_BALANCE}", "LOAN_ACCOUNT_EDITED 1500.00"),
        (
            "PORTAL_PASSWORD_RESET",
            "{PASSWORD_URL}",
            "https://portal.northbank.example/password/reset?for=C-10077&code=sample-not-secret",
        ),
        ("COLLECTION_ORDER_ACTIVITY", "{ORDER_AMOUNT} {RECIPIENT_NAME}{DEBTOR_NAME}", "47.90 Søren Ødegård"),
        ("JOURNAL_ENTRY_ADJUSTED", "{JOURNAL_ENTRY_DIRECTION} {JOURNAL_ENTRY_AMOUNT}", "DEBIT 12.50"),
        ("END_OF_DAY_PROCESSING_COMPLETED", "{STATE} {END_DATE}", "COMPLETED 2026-04-01T00:41:07Z"),
        ("DATA_ACCESS_STATE_CHANGED", "{STATE}{START_DATE}{ENCODED_KEY}", "DISABLED"),
    ],
)
def test_values_of_families(event: EventName, body: str, expected: str) -> None:
    """Texts written by hand from the samples: each family's own placeholders."""
    fields = sample(event)
    template = make_template(body=body, events=[event], target=target_of(event, fields))
    outcome = map_record(make_record(make_event(fields)), make_context(template), frozenset())

    assert isinstance(outcome, Processed)
    assert [expected] == [created.message.body for created in outcome.created]


def test_every_family_has_targets() -> None:
    """The table above is about all families."""
    assert TARGETS.keys() == FAMILIES.keys()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", '{"alone": {HOLDS}, "in": "{HOLDS}"}'),
        ("application/xml", "<holds>{HOLDS}</holds>"),
        ("text/plain; charset=UTF-8", "{HOLDS}"),
    ],
)
def test_a_table_of_holds_in_each_document(tmp_path: Path, content_type: str, body: str) -> None:
    """A template may show a bulk event's holds in any document: it parses with rows, and with none (T12)."""
    plain = toml("CARDS_AUTHORISATION_HOLD_IN_BULK_CREATED", "EVENT_STREAM", "SAVINGS")
    text = plain.replace("text/plain; charset=UTF-8", content_type).replace('"{EVENT}"', json.dumps(body))

    assert [] == diagnostics(tmp_path, text)
