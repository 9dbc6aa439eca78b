"""The shipped samples: one of each event, and a story that holds together."""

from decimal import Decimal
from pathlib import Path

import pytest

import processor
from processor.mapping.decode import decode, event_of_json
from processor.mapping.encode import encode_event
from processor.model.catalogue import EVENTS
from processor.model.event import Event
from processor.model.records import EventName, Place, SourceRecord, Topic
from processor.ops.samples import sample, samples
from processor.schema_files import load_schemas

SCHEMAS = load_schemas()
FOLDER = Path(processor.__file__).parent / "samples"


def test_one_sample_of_each_event() -> None:
    """Each event of the catalogue has its file, named after it, and no file is left over."""
    assert {f"{event}.json" for event in EVENTS} == {path.name for path in FOLDER.iterdir()}
    assert all(event == sample(event)["event"] for event in EVENTS)


def test_no_sample_of_an_unknown_event() -> None:
    """An event that is not in the catalogue is a KeyError, not a path that somebody made up."""
    with pytest.raises(KeyError):
        sample(EventName("../settings"))


def test_samples_are_different_events() -> None:
    """26 event ids, 26 happenings."""
    assert len(EVENTS) == len({told["eventId"] for told in samples()})


def test_samples_are_events() -> None:
    """Each sample is read as the event that it is named after, and written as Avro it is read as the same."""
    for told in samples():
        event = event_of_json(told, SCHEMAS)
        assert isinstance(event, Event), (told["event"], event)
        value, headers = encode_event(event.fields, SCHEMAS, format="avro")
        record = SourceRecord(Place(Topic("e"), 0, 0), 0, None, value, headers)

        assert event == decode(record, schemas=SCHEMAS, schema_of=SCHEMAS.local_schema)


def test_samples_are_in_order() -> None:
    """samples() gives all of them as they happened, so that each account's are in order on its partition."""
    told = samples()

    assert set(EVENTS) == {event["event"] for event in told}
    assert sorted(told, key=lambda event: str(event["occurredAt"])) == list(told)


def test_the_story_holds_together() -> None:
    """What a sample takes back or applies again has its amount, and ids of an account's transactions grow with time."""
    booked = {told["transaction"]["encodedKey"]: told["transaction"] for told in samples() if "transaction" in told}
    last: dict[str, int] = {}
    for told in samples():
        if "transaction" not in told:
            continue
        transaction, account = told["transaction"], told["account"]["encodedKey"]
        if "linkedTransactionKey" in transaction:
            linked = booked[transaction["linkedTransactionKey"]]
            assert linked["id"] == transaction["linkedTransactionId"]
            assert linked["date"] == transaction["linkedTransactionDate"]
            assert linked["amount"] == transaction["amount"]
        assert last.get(account, 0) < int(transaction["id"])
        last[account] = int(transaction["id"])


def test_parts_make_the_amount() -> None:
    """Principal, interest, fee and penalty of a loan's transaction add up to its amount."""
    for told in samples():
        if "principalAmount" in told.get("transaction", {}):
            parts = [
                Decimal(told["transaction"][f"{part}Amount"]) for part in ("principal", "interest", "fee", "penalty")
            ]

            assert Decimal(told["transaction"]["amount"]) == sum(parts)
