"""The table of events says what the domain reference and the schema files say, both ways."""

import csv
from pathlib import Path
from typing import Any

import pytest
from fastavro.schema import load_schema

from processor.model.catalogue import EVENTS, FAMILIES, ORDERING_KEYS, EventRow, Holder, ordering_key
from processor.model.messages import Channel
from processor.model.records import EventName

TOP = Path(__file__).parents[2]
SHARED = ("eventId", "event", "occurredAt", "tenant", "correlationId", "actor")


def reference_rows() -> list[EventRow]:
    """Rows of `events.csv` whose family has a schema, as the catalogue would write them."""
    channels = ("email", "sms", "web_hook", "event_stream", "task")
    with (TOP / "tests" / "domain" / "events.csv").open(encoding="utf-8", newline="") as lines:
        return [
            EventRow(
                event=EventName(row["event"]),
                family=row["family"],
                target=row["target"],
                stream_name=row["stream_name"],
                channels=frozenset(Channel(name.upper()) for name in channels if row[name] == "y"),
                ordering_key=row["ordering_key"],
            )
            for row in csv.DictReader(lines)
            if row["family"] in FAMILIES
        ]


def family_schema(record: str) -> dict[str, Any]:
    schema = load_schema(str(TOP / "schemas" / "events" / f"{record}.avsc"))
    assert isinstance(schema, dict)
    return schema


def test_every_event_of_the_families_is_a_row() -> None:
    """The catalogue has the reference's events of these families and no others, and each of their columns."""
    expected = {row.event: row for row in reference_rows()}

    assert expected == dict(EVENTS)


def test_there_are_26_events() -> None:
    """The three families have 3, 14 and 9 events."""
    expected = {"client": 3, "loan_transaction": 14, "deposit_transaction": 9}

    assert expected == {name: sum(row.family == name for row in EVENTS.values()) for name in FAMILIES}


def test_schema_files_are_the_families() -> None:
    """Each family has one schema file, and each schema file of an event is a family."""
    files = {path.stem for path in (TOP / "schemas" / "events").glob("banking.events.*Event.avsc")}

    assert {family.record for family in FAMILIES.values()} == files


@pytest.mark.parametrize("name", FAMILIES)
def test_symbols_are_the_rows(name: str) -> None:
    """A family's enum has its events in the catalogue's order, and no default that could hide an unknown one."""
    event = family_schema(FAMILIES[name].record)["fields"][1]["type"]

    assert [row.event for row in EVENTS.values() if row.family == name] == event["symbols"]
    assert "default" not in event


@pytest.mark.parametrize("name", FAMILIES)
def test_envelope_first_custom_fields_last(name: str) -> None:
    """Every family begins with the six fields of the envelope and ends with its custom fields."""
    names = [field["name"] for field in family_schema(FAMILIES[name].record)["fields"]]

    assert (*SHARED, "customFields") == (*names[:6], names[-1])


@pytest.mark.parametrize("name", FAMILIES)
def test_nothing_of_a_schema_is_floating(name: str) -> None:
    """No number of an event is a float or a double: money would be rounded."""
    text = str(family_schema(FAMILIES[name].record))

    assert "'double'" not in text
    assert "'float'" not in text


@pytest.mark.parametrize("name", FAMILIES)
def test_holder_rule_fits_the_fields(name: str) -> None:
    """CLIENT: a required client, no group. CLIENT_OR_GROUP: both fields, both nullable."""
    fields = {field["name"]: field for field in family_schema(FAMILIES[name].record)["fields"]}
    nullable = {who: isinstance(fields[who]["type"], list) for who in ("client", "group") if who in fields}
    expected = {"client": False} if FAMILIES[name].holder is Holder.CLIENT else {"client": True, "group": True}

    assert expected == nullable


def test_every_word_of_an_ordering_key_has_paths() -> None:
    """Each row's word is in the table of paths, and no path is left over."""
    assert {row.ordering_key for row in EVENTS.values()} == set(ORDERING_KEYS)


@pytest.mark.parametrize(
    ("event", "fields", "expected"),
    [
        ("CLIENT_CREATED", {"client": {"encodedKey": "c1"}}, "c1"),
        ("LOAN_REPAYMENT", {"account": {"encodedKey": "a1"}, "client": {"encodedKey": "c1"}}, "a1"),
        ("SAVINGS_DEPOSIT", {"account": {"encodedKey": "a2"}, "group": {"encodedKey": "g1"}}, "a2"),
    ],
)
def test_ordering_key(event: str, fields: dict[str, Any], expected: str) -> None:
    """A client's event is keyed by the client, a transaction by its account, whoever holds it."""
    assert expected == ordering_key(EventName(event), fields)


@pytest.mark.parametrize("fields", [{}, {"account": None}, {"account": {}}, {"account": {"encodedKey": None}}])
def test_no_ordering_key(fields: dict[str, Any]) -> None:
    """An event without a value on any of its paths is refused, not keyed by nothing."""
    with pytest.raises(ValueError, match="LOAN_REPAYMENT has no ordering key"):
        ordering_key(EventName("LOAN_REPAYMENT"), fields)
