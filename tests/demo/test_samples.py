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
    """As many event ids as events: 73 happenings."""
    assert len(EVENTS) == len({told["eventId"] for told in samples()})


def test_samples_are_events() -> None:
    """Each sample is read as the event that it is named after, and written as Avro it is read as the same."""
    for told in samples():
        event = event_from_json(told, SCHEMAS)
        assert isinstance(event, Event), (told["event"], event)
        value, headers = encode_event(event.fields, SCHEMAS, format="avro")
        record = SourceRecord(RecordPosition(Topic("e"), 0, 0), 0, None, value, headers)

        assert event == decode(record, schemas=SCHEMAS, schema_of=SCHEMAS.local_schema)


def test_samples_are_in_order() -> None:
    """samples() gives all of them as they happened, so that each account's are in order on its partition."""
    told = samples()

    assert set(EVENTS) == {event["event"] for event in told}
    assert sorted(told, key=lambda event: str(event["occurredAt"])) == list(told)


NOT_TOLD = {"CARD_DEPOSIT_REVERSAL"}  # what it takes back, a refund of long before, is among no samples


def test_the_story_holds_together() -> None:
    """What a sample takes back or applies again has its amount, and ids of an account's transactions grow with time."""
    booked = {told["transaction"]["encodedKey"]: told["transaction"] for told in samples() if "transaction" in told}
    last: dict[str, int] = {}
    for told in samples():
        if "transaction" not in told:
            continue
        transaction, account = told["transaction"], told["account"]["encodedKey"]
        if told["event"] in NOT_TOLD:
            assert int(transaction["linkedTransactionId"]) < int(transaction["id"])
            assert transaction["linkedTransactionDate"] < transaction["date"]
        elif "linkedTransactionKey" in transaction:
            linked = booked[transaction["linkedTransactionKey"]]
            assert linked["id"] == transaction["linkedTransactionId"]
            assert linked["date"] == transaction["linkedTransactionDate"]
            assert linked["amount"] == transaction["amount"]
        assert last.get(account, 0) < int(transaction["id"])
        last[account] = int(transaction["id"])


def test_reversals_name_what_they_undo() -> None:
    """Each event that takes something back or applies it again says what."""
    undoing = ("REVERSAL", "REAPPLIED", "FEE_ADJUSTED", "REDUCTION_ADJUSTMENT", "PENALTY_ADJ", "APPLIED_ADJUSTMENT")
    told = [one for one in samples() if any(word in one["event"] for word in undoing) and "transaction" in one]

    assert 12 == len(told)
    assert all("linkedTransactionId" in one["transaction"] for one in told)


# Before these, something was booked that no sample tells: the loan was paid out again, the returned debit was paid
# again. LOAN_REPAYMENT is the reference's example, and shows the balance at opening.
AFTER_SOMETHING_UNTOLD = {"REPAYMENT_REMINDER", "LOAN_REPAYMENT", "FEE_APPLIED"}


def test_balances_follow_from_each_other() -> None:
    """An account's balance before an event is the one that its event before showed."""
    last: dict[str, str] = {}
    for told in samples():
        if "account" in told:
            account = told["account"]
            before = last.get(account["id"], account["openingBalance"])
            assert told["event"] in AFTER_SOMETHING_UNTOLD or before == account["openingBalance"], told["event"]
            last[account["id"]] = account["totalBalance"]


def test_what_is_held_cannot_be_used() -> None:
    """An account's available balance is its balance without the debits that are held and pending."""
    held: dict[str, Decimal] = {}
    for told in samples():
        if EVENTS[told["event"]].family != "authorisation_hold":
            continue
        for hold in (*told.get("holds", ()), *([told["hold"]] if "hold" in told else ())):
            pending = hold["state"] == "PENDING" and hold["direction"] == "DBIT"
            held[hold["encodedKey"]] = Decimal(hold["amount"]) if pending else Decimal(0)
            if "exchangeRate" in hold:
                assert Decimal(hold["amount"]) == Decimal(hold["originalAmount"]) * Decimal(hold["exchangeRate"])
        account = told["account"]

        assert sum(held.values()) == Decimal(account["totalBalance"]) - Decimal(account["availableBalance"]), told


def test_a_changed_hold_says_what_it_was() -> None:
    """Increased and decreased holds name the amount that the event before told, and go the way they say."""
    created, more, less = (
        sample(EventName(f"CARDS_AUTHORISATION_HOLD_{word}"))["hold"]
        for word in ("CREATED", "AMOUNT_INCREASED", "AMOUNT_DECREASED")
    )

    assert (created["amount"], more["amount"]) == (more["previousAmount"], less["previousAmount"])
    assert Decimal(created["amount"]) < Decimal(more["amount"]) > Decimal(less["amount"])


def test_a_limit_is_used_or_free() -> None:
    """The used and the free part of a credit arrangement are the whole of it."""
    arrangements = [told["creditArrangement"] for told in samples() if "creditArrangement" in told]

    assert 9 == len(arrangements)
    for one in arrangements:
        used, free = Decimal(one["consumedAmount"]), Decimal(one["availableAmount"])
        assert used + free == Decimal(one["approvedAmount"])


def test_what_is_due_adds_up() -> None:
    """The parts of what is due, and those of an instalment, are its total."""
    parts = ("principal", "interest", "fee", "penalty")
    for told in samples():
        loan = told.get("account", {}).get("loan", {})
        if "totalDue" in loan:
            assert Decimal(loan["totalDue"]) == sum(Decimal(loan[f"{part}Due"]) for part in parts), told["event"]
        for line in (*told.get("schedule", ()), *([told["installment"]] if "installment" in told else ())):
            balances = (Decimal(line.get(f"{part}Balance", "0")) for part in parts)
            assert Decimal(line["totalBalance"]) == sum(balances), told["event"]


def test_rules_of_the_families_that_are_not_refused() -> None:
    """What the reference says of an event, and a schema does not: the samples keep it."""
    for told in samples():
        event, family = told["event"], EVENTS[told["event"]].family
        transaction = told.get("transaction", {})
        assert told["customFields"].keys() & set(told) == set()
        assert ("installment" in told) == ("triggerDays" in told) == (event == "REPAYMENT_REMINDER")
        assert ("previousInterestRate" in told.get("account", {})) == (event == "INTEREST_RATE_CHANGED")
        assert ("feeName" in transaction) == (event.startswith(("FEE", "PENALTY")))
        if family in ("loan_account", "deposit_account"):
            assert told["account"]["kind"] == ("LOAN" if family == "loan_account" else "DEPOSIT")
        if family == "credit_arrangement":
            assert ("account" in told) == event.endswith(("_ADDED", "_REMOVED"))
        if event.startswith("CARDS_"):
            assert all("card" in hold for hold in told.get("holds", [told.get("hold")]))
        if "account" in told:
            assert told["account"]["kind"].lower() in told["account"]


def test_days_to_due_are_those_of_the_reminder() -> None:
    """From the event's day to the due date."""
    told = sample(EventName("REPAYMENT_REMINDER"))
    days = date.fromisoformat(told["installment"]["dueDate"]) - date.fromisoformat(told["occurredAt"][:10])

    assert told["triggerDays"] == days.days


def test_an_adjusted_entry_names_the_one_it_adjusts() -> None:
    """The same amount on the other side of the same account, and so the same partition."""
    added, adjusted = (sample(EventName(f"JOURNAL_ENTRY_{word}")) for word in ("ADDED", "ADJUSTED"))
    first, second = added["journalEntry"], adjusted["journalEntry"]

    assert first["encodedKey"] == second["originalKey"]
    assert first["glAccountCode"] == second["glAccountCode"]
    assert {"DEBIT", "CREDIT"} == {first["direction"], second["direction"]}
    assert first["amount"] == second["amount"]
    assert ordering_key(added["event"], added) == ordering_key(adjusted["event"], adjusted)


def test_one_thing_has_one_name() -> None:
    """Whatever has a key has the same id or user name in every sample."""
    names: dict[str, str] = {}

    def look(value: Any) -> None:
        match value:
            case {"encodedKey": key, **rest} if "id" in rest or "username" in rest:
                name = str(rest.get("id") or rest["username"])
                assert name == names.setdefault(key, name)
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            look(inner)

    for told in samples():
        look(told)

    assert len(names) == len(set(names.values()))


def test_every_placeholder_has_a_value_somewhere() -> None:
    """Together the samples give each row of the table a value, so that a template can be tried with any of them."""

    def has_value(path: tuple[str, ...], told: dict[str, Any]) -> bool:
        value: Any = told
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        return value not in (None, [])

    missing = [
        (row.name, row.path)
        for row in PLACEHOLDERS
        if row.path[0] != "recipient"
        and not any(row.belongs_to(EVENTS[told["event"]].family) and has_value(row.path, told) for told in samples())
    ]

    assert not missing


def test_parts_make_the_amount() -> None:
    """Principal, interest, fee and penalty of a loan's transaction add up to its amount."""
    for told in samples():
        if "principalAmount" in told.get("transaction", {}):
            parts = [
                Decimal(told["transaction"][f"{part}Amount"]) for part in ("principal", "interest", "fee", "penalty")
            ]

            assert Decimal(told["transaction"]["amount"]) == sum(parts)
