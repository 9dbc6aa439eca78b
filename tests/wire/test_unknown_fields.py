"""Fields of a JSON event that its schema does not have: found at any depth, with the nearest name that it has."""

import json
from typing import Any

import pytest

from processor.domain.catalogue import EVENTS
from processor.domain.record import EventName
from processor.shipped import sample as sample_of
from processor.wire.decode import event_and_unknown_fields, event_from_json
from tests.support.builders import changed, sample, schemas

BULK = sample_of(EventName("CARDS_AUTHORISATION_HOLD_IN_BULK_CREATED"))


def found(event: Any) -> list[str]:
    """What is expected of the event's unknown fields."""
    data = event if isinstance(event, bytes) else json.dumps(event).encode()
    event, unknown_fields = event_and_unknown_fields(data, schemas())
    assert event_from_json(data, schemas()) == event
    return [str(field) for field in unknown_fields]


def respelt(event: dict[str, Any], path: str, name: str) -> dict[str, Any]:
    """The event with another name for the field at a dotted path; a number is an item of a list."""
    result = changed(event, {})
    *way, last = path.split(".")
    node: Any = result
    for step in way:
        node = node[int(step) if step.isdigit() else step]
    node[name] = node.pop(last)
    return result


@pytest.mark.parametrize(
    ("event", "path", "name", "expected"),
    [
        (sample("loan-repayment"), "client", "cleint", "unknown field cleint; did you mean client?"),
        (sample("loan-repayment"), "eventId", "event_id", "unknown field event_id; did you mean eventId?"),
        (
            sample("loan-repayment"),
            "client.emailAddress",
            "email",
            "unknown field client.email; did you mean emailAddress?",
        ),
        (
            sample("loan-repayment"),
            "client.emailAddress",
            "EMAIL_ADDRESS",
            "unknown field client.EMAIL_ADDRESS; did you mean emailAddress?",
        ),
        (sample("loan-repayment"), "client.mobilePhone", "fax", "unknown field client.fax"),
        (sample("loan-repayment"), "eventId", "eventID", "unknown field eventID; did you mean eventId?"),
        (
            sample("loan-repayment"),
            "transaction.amount",
            "amonut",
            "unknown field transaction.amonut; did you mean amount?",
        ),
        (
            sample("loan-repayment"),
            "account.product.name",
            "nmae",
            "unknown field account.product.nmae; did you mean name?",
        ),
        (BULK, "holds.0.amount", "Amount", "unknown field holds[].Amount; did you mean amount?"),
        (BULK, "holds.2.card.token", "tokne", "unknown field holds[].card.tokne; did you mean token?"),
        (
            sample("savings-deposit"),
            "group.members.0.client.id",
            "qqq",
            "unknown field group.members[].client.qqq",
        ),
        (
            sample("loan-repayment"),
            "transaction.amount",
            "amo unt",
            "unknown field transaction.'amo unt'; did you mean",
        ),
    ],
)
def test_unknown_fields_at_any_depth(event: dict[str, Any], path: str, name: str, expected: str) -> None:
    """In records within records and in items of lists, with where it is and what was probably meant."""
    (text,) = found(respelt(event, path, name))

    assert text.startswith(expected)
    assert ("did you mean" in expected) == ("did you mean" in text)


@pytest.mark.parametrize("event", EVENTS)
def test_samples_have_no_unknown_fields(event: EventName) -> None:
    """Of every event, whatever custom fields it has."""
    assert [] == found(sample_of(event))


def test_custom_fields_may_have_any_name() -> None:
    """Their names are the bank's own."""
    assert [] == found(changed(sample("loan-repayment"), {"customFields": {"CLIENT:Anything": "x", "amonut": "y"}}))


def test_a_field_of_many_items_is_reported_once() -> None:
    """However many items of a list have it."""
    event = changed(BULK, {})
    for hold in event["holds"]:
        hold["amonut"] = "1"

    assert ["unknown field holds[].amonut; did you mean amount?"] == found(event)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (respelt(sample("loan-repayment"), "eventId", "evntId"), ["unknown field evntId; did you mean eventId?"]),
        (changed(sample("loan-repayment"), {"transaction": "none", "client": [1]}), []),
        (sample("loan-repayment") | {"acount": None}, ["unknown field acount; did you mean account?"]),
        (changed(sample("loan-repayment"), {"event": "LOAN_REPAID"}), []),
        (b"{", []),
        (b"[]", []),
        (b'{"event": 7}', []),
        (b'{"event": "LOAN_REPAYMENT", "\\ud800": 1}', ["unknown field '\\ud800'"]),
    ],
)
def test_unknown_fields_of_invalid_events(event: Any, expected: list[str]) -> None:
    """What is no event has none; one that is invalid still shows which field was probably meant."""
    assert expected == found(event)


def test_very_many_unknown_fields() -> None:
    """A hundred of them are enough, however long."""
    event = changed(sample("loan-repayment"), {}) | {f"{number}{'x' * 1000}": 1 for number in range(1000)}
    texts = found(event)

    assert 100 == len(texts)
    assert max(map(len, texts)) < 100
