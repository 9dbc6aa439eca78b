"""Generated events are deterministic, follow from each other, and look like real ones."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from processor.demo.generate import events
from processor.domain.catalogue import EVENTS, FAMILIES, Holder, ordering_key
from processor.domain.record import EventName
from processor.registry.schema_files import load_schemas
from processor.wire.decode import DecodeFailure, event_from_json

Json = dict[str, Any]


@pytest.fixture(scope="module")
def generated() -> list[Json]:
    return list(events(3_000))


def by_account(generated: list[Json]) -> Iterator[list[Json]]:
    """The events of each account, in their order."""
    accounts: dict[str, list[Json]] = {}
    for event in generated:
        if "account" in event:
            accounts.setdefault(event["account"]["encodedKey"], []).append(event)
    yield from accounts.values()


def test_the_same_arguments_give_the_same_events(generated: list[Json]) -> None:
    """Nothing but the arguments decides what is generated, and a shorter run is the beginning of a longer one."""
    assert generated[:500] == list(events(500))


def test_event_ids_differ() -> None:
    """No event id occurs twice, nor in another seed or tenant."""
    runs = [events(200), events(200, seed=2), events(200, tenant="southbank")]
    ids = [event["eventId"] for run in runs for event in run]

    assert len(ids) == len(set(ids))


def test_every_event_is_generated(generated: list[Json]) -> None:
    """3,000 events hold each of the 26 names of the three families that the ledger has, and no other."""
    ledger = {"client", "loan_transaction", "deposit_transaction"}
    expected = {event for event, row in EVENTS.items() if row.family in ledger}

    assert 26 == len(expected)
    assert expected == {event["event"] for event in generated}


def test_every_generated_event_can_be_decoded(generated: list[Json]) -> None:
    """What is generated fits the schemas: none of it would be a dead letter."""
    schemas = load_schemas()
    failures = [found for event in generated if isinstance(found := event_from_json(event, schemas), DecodeFailure)]

    assert not failures


def test_accounts_have_one_holder(generated: list[Json]) -> None:
    """A client's event has its client; an account's has a client or a group, never both; both kinds occur."""
    holders = {"client" if "client" in event else "group" for event in generated if "account" in event}

    assert holders == {"client", "group"}
    for event in generated:
        rule = FAMILIES[EVENTS[EventName(event["event"])].family].holder
        assert ["client"] if rule is Holder.CLIENT else len({"client", "group"} & event.keys()) == 1


def test_transaction_ids_grow(generated: list[Json]) -> None:
    """Within an account the transaction's id, a number, grows with every event: order can be read from the events."""
    for history in by_account(generated):
        ids = [int(event["transaction"]["id"]) for event in history]

        assert sorted(set(ids)) == ids


def test_balances_follow_from_each_other(generated: list[Json]) -> None:
    """An account's balance before an event is the one that its event before showed, and is never negative."""
    for history in by_account(generated):
        for earlier, later in pairwise(history):
            assert earlier["account"]["totalBalance"] == later["account"]["openingBalance"]
        assert min(Decimal(event["account"]["totalBalance"]) for event in history) >= 0


def test_a_reversal_links_an_earlier_transaction(generated: list[Json]) -> None:
    """A transaction that links another links one that its account booked before, for the same amount."""
    linking = 0
    for history in by_account(generated):
        booked: dict[str, str] = {}
        for transaction in (event["transaction"] for event in history):
            if "linkedTransactionKey" in transaction:
                linking += 1
                assert transaction["amount"] == booked[transaction["linkedTransactionKey"]]
            booked[transaction["encodedKey"]] = transaction["amount"]

    assert linking > 100


def test_an_ended_account_has_no_more_events(generated: list[Json]) -> None:
    """Write-off, reschedule and refinance are an account's last events."""
    for history in by_account(generated):
        assert all(event["account"]["state"] == "ACTIVE" for event in history[:-1])


def test_time_never_goes_back(generated: list[Json]) -> None:
    """occurredAt grows along the run, from the start on."""
    times = [event["occurredAt"] for event in generated]

    assert sorted(times) == times


def test_a_start_in_another_zone_is_the_same_moment() -> None:
    """A start in another zone is the same moment."""
    start = datetime(2026, 5, 1, 12, tzinfo=UTC)
    elsewhere = start.astimezone(timezone(timedelta(hours=5)))

    assert list(events(5, start=start)) == list(events(5, start=elsewhere))


def test_generated_data_is_varied(generated: list[Json]) -> None:
    """Missing addresses, languages, deposit fees, other scripts, quotes and brackets in texts all occur."""
    clients = [event["client"] for event in generated if "client" in event]
    text = str(generated)

    assert any("emailAddress" not in client for client in clients)
    assert any("language" not in client for client in clients)
    assert any(e["event"] == "FEE_CHARGED" and e["account"]["kind"] == "DEPOSIT" for e in generated)
    assert all(piece in text for piece in ("山田", "Đặng", "<counter 3>", '"thanks"', "&", "line one\\nline two"))
    assert {"JPY", "KWD", "EUR", "USD"} == {e["account"]["currencyCode"] for e in generated if "account" in e}


def test_a_group_has_no_custom_fields_of_a_client(generated: list[Json]) -> None:
    """For a group that holds the account there are no CLIENT entries."""
    groups = [event["customFields"] for event in generated if "group" in event and "customFields" in event]

    assert groups
    assert not any(name.startswith("CLIENT:") for fields in groups for name in fields)


def test_every_event_has_an_ordering_key(generated: list[Json]) -> None:
    """Each event has an ordering key, of the width of an encodedKey."""
    assert {32} == {len(ordering_key(EventName(event["event"]), event)) for event in generated}


def test_the_requested_number_of_accounts() -> None:
    """A single account works too; it has events until it ends, then another one takes its place."""
    keys = [event["account"]["encodedKey"] for event in events(200, accounts=1) if "account" in event]

    assert keys == sorted(keys, key=list(dict.fromkeys(keys)).index)


@pytest.mark.parametrize(
    "wrong",
    [{"count": -1}, {"count": 1, "accounts": 0}, {"count": 1, "start": datetime(2026, 1, 1)}],  # noqa: DTZ001
)
def test_invalid_arguments_are_refused(wrong: dict[str, Any]) -> None:
    """A negative count, no account and a naive start are refused at once, before the first event."""
    with pytest.raises(ValueError, match="got: "):
        events(**wrong)
