"""The table of events says what `events.csv` and the schema files say, both ways."""

import csv
from pathlib import Path
from typing import Any

import pytest
from fastavro.schema import load_schema

from processor.domain.catalogue import EVENTS, FAMILIES, ORDERING_KEYS, EventRow, Holder, Target, ordering_key
from processor.domain.channel import Channel
from processor.domain.record import EventName

TOP = Path(__file__).parents[2]
SHARED = ("eventId", "event", "occurredAt", "tenant", "correlationId", "actor")


def reference() -> list[dict[str, str]]:
    """The lines of `events.csv`."""
    with (TOP / "tests" / "domain" / "events.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def reference_rows() -> list[EventRow]:
    """The domain events of `events.csv`, as the catalogue would write them."""
    channels = ("email", "sms", "web_hook", "event_stream", "task")
    return [
        EventRow(
            event=EventName(row["event"]),
            family=row["family"],
            target=Target(row["target"]),
            stream_name=row["stream_name"],
            channels=frozenset(Channel(name.upper()) for name in channels if row[name] == "y"),
            ordering_key=row["ordering_key"],
        )
        for row in reference()
        if row["domain_event"] == "true"
    ]


def family_schema(record: str) -> dict[str, Any]:
    schema = load_schema(str(TOP / "schemas" / "events" / f"{record}.avsc"))
    assert isinstance(schema, dict)
    return schema


def test_every_domain_event_is_a_row() -> None:
    """The catalogue has the domain events of `events.csv` and no others, and each of their columns."""
    expected = reference_rows()

    assert {row.event: row for row in expected} == dict(EVENTS)
    assert len(expected) == len(EVENTS)


def test_manual_and_do_nothing_are_no_events() -> None:
    """MANUAL and DO_NOTHING are names of the published enum, and no row: on input they are UNKNOWN_EVENT."""
    names = [row["event"] for row in reference()]

    assert len(EVENTS) + 2 == len(names) == len(set(names))
    assert {"MANUAL", "DO_NOTHING"} == set(names) - set(EVENTS)


def test_a_record_is_named_after_its_family() -> None:
    """`loan_account` is banking.events.LoanAccountEvent."""
    expected = {name: f"banking.events.{name.title().replace('_', '')}Event" for name in FAMILIES}

    assert expected == {name: family.record for name, family in FAMILIES.items()}


def test_schema_files_are_the_families() -> None:
    """Each family has one schema file, and each schema file of an event is a family."""
    files = {path.stem for path in (TOP / "schemas" / "events").glob("banking.events.*Event.avsc")}

    assert {family.record for family in FAMILIES.values()} == files


@pytest.mark.parametrize("name", FAMILIES)
def test_enum_symbols_match_the_catalogue(name: str) -> None:
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
def test_no_number_of_an_event_is_a_float(name: str) -> None:
    """No number of an event is a float or a double: money would be rounded."""
    text = str(family_schema(FAMILIES[name].record))

    assert "'double'" not in text
    assert "'float'" not in text


HOLDERS = {  # rule -> the fields of its families, and whether they may be null
    Holder.CLIENT: {"client": False},
    Holder.GROUP: {"group": False},
    Holder.CLIENT_OR_GROUP: {"client": True, "group": True},
    Holder.AT_MOST_ONE: {"client": True, "group": True},
    Holder.NONE: {},
}


@pytest.mark.parametrize("name", FAMILIES)
def test_holder_rule_matches_the_nullable_fields(name: str) -> None:
    """A required holder is not nullable; where there are two fields, both are."""
    fields = {field["name"]: field for field in family_schema(FAMILIES[name].record)["fields"]}
    nullable = {who: isinstance(fields[who]["type"], list) for who in ("client", "group") if who in fields}

    assert HOLDERS[FAMILIES[name].holder] == nullable
    assert tuple(nullable) == FAMILIES[name].holder.fields


def test_events_that_may_lack_a_holder() -> None:
    """An order may have no holder; journal entries and the core's own work never have one."""
    assert ["order"] == [name for name, family in FAMILIES.items() if family.holder is Holder.AT_MOST_ONE]
    assert ["journal_entry", "background"] == [n for n, family in FAMILIES.items() if family.holder is Holder.NONE]


def test_every_ordering_key_has_paths() -> None:
    """Each row's word is in the table of paths, and no path is left over."""
    assert {row.ordering_key for row in EVENTS.values()} == set(ORDERING_KEYS)


@pytest.mark.parametrize(
    ("event", "fields", "expected"),
    [
        ("CLIENT_CREATED", {"client": {"encodedKey": "c1"}}, "c1"),
        ("LOAN_REPAYMENT", {"account": {"encodedKey": "a1"}, "client": {"encodedKey": "c1"}}, "a1"),
        ("SAVINGS_DEPOSIT", {"account": {"encodedKey": "a2"}, "group": {"encodedKey": "g1"}}, "a2"),
        ("GROUP_CREATED", {"group": {"encodedKey": "g1"}}, "g1"),
        ("GROUP_ACTIVITY", {"group": {"encodedKey": "g1"}, "subject": {"encodedKey": "s1"}}, "g1"),
        ("CARD_DEPOSIT_REVERSAL", {"account": {"encodedKey": "a1"}, "client": {"encodedKey": "c1"}}, "a1"),
        (
            "CREDIT_ARRANGEMENT_ACCOUNT_ADDED",
            {"creditArrangement": {"encodedKey": "l1"}, "account": {"encodedKey": "a1"}},
            "l1",
        ),
        ("PAYMENT_ORDER_ACTIVITY", {"order": {"encodedKey": "o1"}, "account": {"encodedKey": "a1"}}, "a1"),
        ("PAYMENT_ORDER_ACTIVITY", {"order": {"encodedKey": "o1"}, "account": None}, "o1"),
        ("JOURNAL_ENTRY_ADJUSTED", {"journalEntry": {"encodedKey": "j2", "originalKey": "j1"}}, "j1"),
        ("JOURNAL_ENTRY_ADDED", {"journalEntry": {"encodedKey": "j1", "originalKey": None}}, "j1"),
        ("END_OF_DAY_PROCESSING_COMPLETED", {"tenant": "t1", "process": {"encodedKey": "p1"}}, "t1"),
    ],
)
def test_ordering_key(event: str, fields: dict[str, Any], expected: str) -> None:
    """Each by the first of its paths that has a value: a transaction by its account."""
    assert expected == ordering_key(EventName(event), fields)


@pytest.mark.parametrize("fields", [{}, {"account": None}, {"account": {}}, {"account": {"encodedKey": None}}])
def test_no_ordering_key(fields: dict[str, Any]) -> None:
    """An event without a value on any of its paths is refused, not keyed by nothing."""
    with pytest.raises(ValueError, match="LOAN_REPAYMENT has no ordering key"):
        ordering_key(EventName("LOAN_REPAYMENT"), fields)
