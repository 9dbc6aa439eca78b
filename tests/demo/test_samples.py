"""The shipped samples: one of each event, and a story that holds together."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import processor
from processor.domain.catalogue import EVENTS, ordering_key
from processor.domain.event import Event
from processor.domain.placeholders import PLACEHOLDERS
from processor.domain.record import EventName, RecordPosition, SourceRecord, Topic
from processor.registry.schema_files import load_schemas
from processor.shipped import sample, samples
from processor.wire.decode import decode, event_from_json
from processor.wire.encode import encode_event
from processor.wire.wire_format import WireFormat

SCHEMAS = load_schemas()
FOLDER = Path(processor.__file__).parent / "shipped" / "events"


def test_one_sample_of_each_event() -> None:
    """Each event of the catalogue has its file, named after it, and no file is left over."""
    assert {f"{event}.json" for event in EVENTS} == {path.name for path in FOLDER.iterdir()}
    assert all(event == sample(event)["event"] for event in EVENTS)


def test_no_sample_of_an_unknown_event() -> None:
    """An event that is not in the catalogue is a KeyError, not a path that somebody made up."""
    with pytest.raises(KeyError):
        sample(EventName("../settings"))


def test_samples_are_different_events() -> None:
    """As many event ids as events."""
    assert len(EVENTS) == len({shipped["eventId"] for shipped in samples()})


def test_samples_are_events() -> None:
    """Each sample is read as the event that it is named after, and written as Avro it is read as the same."""
    for shipped in samples():
        event = event_from_json(shipped, SCHEMAS)
        assert isinstance(event, Event), (shipped["event"], event)
        value, headers = encode_event(event.fields, SCHEMAS, format=WireFormat.AVRO)
        record = SourceRecord(RecordPosition(Topic("e"), 0, 0), 0, None, value, headers)

        assert event == decode(record, schemas=SCHEMAS, schema_of=SCHEMAS.local_schema)


def test_samples_are_in_order() -> None:
    """samples() gives all of them as they happened, so that each account's are in order on its partition."""
    shipped = samples()

    assert set(EVENTS) == {event["event"] for event in shipped}
    assert sorted(shipped, key=lambda event: str(event["occurredAt"])) == list(shipped)


NOT_IN_SAMPLES = {"CARD_DEPOSIT_REVERSAL"}  # what it takes back, a refund of long before, is among no samples


def test_amounts_and_ids_of_related_samples_agree() -> None:
    """What a sample takes back or applies again has its amount, and ids of an account's transactions grow with time."""
    booked = {
        shipped["transaction"]["encodedKey"]: shipped["transaction"]
        for shipped in samples()
        if "transaction" in shipped
    }
    last: dict[str, int] = {}
    for shipped in samples():
        if "transaction" not in shipped:
            continue
        transaction, account = shipped["transaction"], shipped["account"]["encodedKey"]
        if shipped["event"] in NOT_IN_SAMPLES:
            assert int(transaction["linkedTransactionId"]) < int(transaction["id"])
            assert transaction["linkedTransactionDate"] < transaction["date"]
        elif "linkedTransactionKey" in transaction:
            linked = booked[transaction["linkedTransactionKey"]]
            assert linked["id"] == transaction["linkedTransactionId"]
            assert linked["date"] == transaction["linkedTransactionDate"]
            assert linked["amount"] == transaction["amount"]
        assert last.get(account, 0) < int(transaction["id"])
        last[account] = int(transaction["id"])


def test_reversals_name_the_reversed_transaction() -> None:
    """Each event that takes something back or applies it again says what."""
    undoing = ("REVERSAL", "REAPPLIED", "FEE_ADJUSTED", "REDUCTION_ADJUSTMENT", "PENALTY_ADJ", "APPLIED_ADJUSTMENT")
    reversals = [
        event for event in samples() if any(word in event["event"] for word in undoing) and "transaction" in event
    ]

    assert 12 == len(reversals)
    assert all("linkedTransactionId" in event["transaction"] for event in reversals)


# Before these, something was booked that no sample shows: the loan was paid out again, the returned debit was paid
# again. LOAN_REPAYMENT is the reference's example, and shows the balance at opening.
AFTER_A_MISSING_EVENT = {"REPAYMENT_REMINDER", "LOAN_REPAYMENT", "FEE_APPLIED"}


def test_balances_follow_from_each_other() -> None:
    """An account's balance before an event is the one that its event before showed."""
    last: dict[str, str] = {}
    for shipped in samples():
        if "account" in shipped:
            account = shipped["account"]
            before = last.get(account["id"], account["openingBalance"])
            assert shipped["event"] in AFTER_A_MISSING_EVENT or before == account["openingBalance"], shipped["event"]
            last[account["id"]] = account["totalBalance"]


def test_holds_reduce_the_available_balance() -> None:
    """An account's available balance is its balance without the debits that are held and pending."""
    held: dict[str, Decimal] = {}
    for shipped in samples():
        if EVENTS[shipped["event"]].family != "authorisation_hold":
            continue
        for hold in (*shipped.get("holds", ()), *([shipped["hold"]] if "hold" in shipped else ())):
            pending = hold["state"] == "PENDING" and hold["direction"] == "DBIT"
            held[hold["encodedKey"]] = Decimal(hold["amount"]) if pending else Decimal(0)
            if "exchangeRate" in hold:
                assert Decimal(hold["amount"]) == Decimal(hold["originalAmount"]) * Decimal(hold["exchangeRate"])
        account = shipped["account"]

        assert sum(held.values()) == Decimal(account["totalBalance"]) - Decimal(account["availableBalance"]), shipped


def test_a_changed_hold_says_what_it_was() -> None:
    """Increased and decreased holds name the amount of the event before, and go the way they say."""
    created, more, less = (
        sample(EventName(f"CARDS_AUTHORISATION_HOLD_{word}"))["hold"]
        for word in ("CREATED", "AMOUNT_INCREASED", "AMOUNT_DECREASED")
    )

    assert (created["amount"], more["amount"]) == (more["previousAmount"], less["previousAmount"])
    assert Decimal(created["amount"]) < Decimal(more["amount"]) > Decimal(less["amount"])


def test_used_and_free_parts_make_the_limit() -> None:
    """The used and the free part of a credit arrangement are the whole of it."""
    arrangements = [shipped["creditArrangement"] for shipped in samples() if "creditArrangement" in shipped]

    assert 9 == len(arrangements)
    for arrangement in arrangements:
        used, free = Decimal(arrangement["consumedAmount"]), Decimal(arrangement["availableAmount"])
        assert used + free == Decimal(arrangement["approvedAmount"])


def test_parts_make_the_total_due() -> None:
    """The parts of what is due, and those of an instalment, are its total."""
    parts = ("principal", "interest", "fee", "penalty")
    for shipped in samples():
        loan = shipped.get("account", {}).get("loan", {})
        if "totalDue" in loan:
            assert Decimal(loan["totalDue"]) == sum(Decimal(loan[f"{part}Due"]) for part in parts), shipped["event"]
        for line in (
            *shipped.get("schedule", ()),
            *([shipped["installment"]] if "installment" in shipped else ()),
        ):
            balances = (Decimal(line.get(f"{part}Balance", "0")) for part in parts)
            assert Decimal(line["totalBalance"]) == sum(balances), shipped["event"]


def test_samples_keep_rules_that_schemas_do_not_check() -> None:
    """What the reference says of an event, and a schema does not: the samples keep it."""
    for shipped in samples():
        event, family = shipped["event"], EVENTS[shipped["event"]].family
        transaction = shipped.get("transaction", {})
        assert shipped["customFields"].keys() & set(shipped) == set()
        assert ("installment" in shipped) == ("triggerDays" in shipped) == (event == "REPAYMENT_REMINDER")
        assert ("previousInterestRate" in shipped.get("account", {})) == (event == "INTEREST_RATE_CHANGED")
        assert ("feeName" in transaction) == (event.startswith(("FEE", "PENALTY")))
        if family in ("loan_account", "deposit_account"):
            assert shipped["account"]["kind"] == ("LOAN" if family == "loan_account" else "DEPOSIT")
        if family == "credit_arrangement":
            assert ("account" in shipped) == event.endswith(("_ADDED", "_REMOVED"))
        if event.startswith("CARDS_"):
            assert all("card" in hold for hold in shipped.get("holds", [shipped.get("hold")]))
        if "account" in shipped:
            assert shipped["account"]["kind"].lower() in shipped["account"]


def test_days_to_due_are_those_of_the_reminder() -> None:
    """From the event's day to the due date."""
    shipped = sample(EventName("REPAYMENT_REMINDER"))
    days = date.fromisoformat(shipped["installment"]["dueDate"]) - date.fromisoformat(shipped["occurredAt"][:10])

    assert shipped["triggerDays"] == days.days


def test_an_adjusted_entry_names_the_one_it_adjusts() -> None:
    """The same amount on the other side of the same account, and so the same partition."""
    added, adjusted = (sample(EventName(f"JOURNAL_ENTRY_{word}")) for word in ("ADDED", "ADJUSTED"))
    first, second = added["journalEntry"], adjusted["journalEntry"]

    assert first["encodedKey"] == second["originalKey"]
    assert first["glAccountCode"] == second["glAccountCode"]
    assert {"DEBIT", "CREDIT"} == {first["direction"], second["direction"]}
    assert first["amount"] == second["amount"]
    assert ordering_key(added["event"], added) == ordering_key(adjusted["event"], adjusted)


def test_ids_and_user_names_agree_across_samples() -> None:
    """Whatever has a key has the same id or user name in every sample."""
    names: dict[str, str] = {}

    def check_nested(value: Any) -> None:
        match value:
            case {"encodedKey": key, **rest} if "id" in rest or "username" in rest:
                name = str(rest.get("id") or rest["username"])
                assert name == names.setdefault(key, name)
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            check_nested(inner)

    for shipped in samples():
        check_nested(shipped)

    assert len(names) == len(set(names.values()))


def test_every_placeholder_has_a_value_somewhere() -> None:
    """Together the samples give each row of the table a value, so that a template can be tried with any of them."""

    def has_value(path: tuple[str, ...], shipped: dict[str, Any]) -> bool:
        value: Any = shipped
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        return value not in (None, [])

    missing = [
        (row.name, row.path)
        for row in PLACEHOLDERS
        if row.path[0] != "recipient"
        and not any(
            row.belongs_to(EVENTS[shipped["event"]].family) and has_value(row.path, shipped) for shipped in samples()
        )
    ]

    assert not missing


def test_parts_make_the_amount() -> None:
    """Principal, interest, fee and penalty of a loan's transaction add up to its amount."""
    for shipped in samples():
        if "principalAmount" in shipped.get("transaction", {}):
            parts = [
                Decimal(shipped["transaction"][f"{part}Amount"]) for part in ("principal", "interest", "fee", "penalty")
            ]

            assert Decimal(shipped["transaction"]["amount"]) == sum(parts)
