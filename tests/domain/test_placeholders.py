"""The table of placeholders is that of `placeholders.csv`, and each of its paths is in the schemas, of a type that can
be shown so."""

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fastavro.schema import load_schema

from processor.domain.catalogue import FAMILIES
from processor.domain.placeholders import PLACEHOLDERS, Placeholder, PlaceholderType, placeholders_of

TOP = Path(__file__).parents[2]

STRING = "string"
OPTIONAL = ["null", "string"]
RECIPIENT = {  # the virtual record: what an addressee is made of, in no schema file
    "type": "record",
    "name": "Recipient",
    "fields": [
        {"name": "encodedKey", "type": STRING},
        {"name": "id", "type": OPTIONAL},
        {"name": "name", "type": STRING},
        {"name": "firstName", "type": OPTIONAL},
        {"name": "middleName", "type": OPTIONAL},
        {"name": "lastName", "type": OPTIONAL},
        {"name": "emailAddress", "type": OPTIONAL},
        {"name": "mobilePhone", "type": OPTIONAL},
        {"name": "language", "type": OPTIONAL},
        {"name": "idDocument", "type": ["null", "banking.events.common.IdDocument"]},
    ],
}

FITTING = {  # placeholder type -> Avro types that may hold it
    PlaceholderType.STRING: {"string", "uuid"},
    PlaceholderType.ENUM: {"string", "enum"},
    PlaceholderType.MONEY: {"decimal"},
    PlaceholderType.DECIMAL: {"decimal"},
    PlaceholderType.INTEGER: {"int"},
    PlaceholderType.DATE: {"date", "timestamp-micros"},
    PlaceholderType.TIMESTAMP: {"timestamp-micros"},
    PlaceholderType.TABLE: {"array"},
}


def named_types(schema: Any, found: dict[str, Any]) -> dict[str, Any]:
    """Every record and enum that a loaded schema defines, by full name."""
    if isinstance(schema, list):
        for branch in schema:
            named_types(branch, found)
    elif isinstance(schema, dict):
        if "name" in schema and schema["type"] in ("record", "enum"):
            found[schema["name"]] = schema
        for part in (schema.get("items"), schema.get("values"), *(f["type"] for f in schema.get("fields", ()))):
            named_types(part, found)
    return found


def type_at(path: tuple[str, ...], record: Any, names: dict[str, Any]) -> str:
    """The Avro type, logical if it has one, at the end of `path`; AssertionError when the path leads nowhere."""
    schema = record
    for step in path:
        assert schema["type"] == "record", f"{step} of {path} is in no record"
        (field,) = (field for field in schema["fields"] if field["name"] == step)
        schema = field["type"]
        if isinstance(schema, list):
            (schema,) = (branch for branch in schema if branch != "null")
        if isinstance(schema, str):
            schema = names.get(schema, {"type": schema})
    return str(schema.get("logicalType", schema["type"]))


def test_rows_match_the_reference() -> None:
    """The table has the rows of `placeholders.csv`, in their order, and no others."""
    with (TOP / "tests" / "domain" / "placeholders.csv").open(encoding="utf-8", newline="") as lines:
        expected = [
            Placeholder(
                name=row["name"],
                families=() if row["families"] == "*" else tuple(row["families"].split("|")),
                type=PlaceholderType(row["type"]),
                path=tuple(row["path"].split(".")),
                meaning=row["meaning"].removeprefix("(D) "),
                is_published=not row["meaning"].startswith("(D) "),
            )
            for row in csv.DictReader(lines)
        ]

    assert expected == list(PLACEHOLDERS)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_placeholder_has_one_source(family: str) -> None:
    """No family has two rows of one name: a placeholder has exactly one source."""
    counts = Counter(row.name for row in PLACEHOLDERS if row.belongs_to(family))

    assert {1} == set(counts.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_every_path_walks_through_the_schema(family: str) -> None:
    """Each placeholder of the family leads to a field of its schema, of a type that can be shown as the row says."""
    schema = load_schema(str(TOP / "schemas" / "events" / f"{FAMILIES[family].record}.avsc"))
    names = named_types(schema, {})
    root = {
        "type": "record",
        "fields": [*schema["fields"], {"name": "recipient", "type": RECIPIENT}],  # type: ignore[call-overload,index]
    }

    for name, row in placeholders_of(family).items():
        assert type_at(row.path, root, names) in FITTING[row.type], name


def test_placeholders_depend_on_the_family() -> None:
    """A client's event has no transaction and no account, but its own client and the envelope."""
    names = placeholders_of("client").keys()

    assert {"CLIENT_NAME", "EVENT_ID", "TRANSACTION_COMMENT"} <= names
    assert {"TRANSACTION_AMOUNT", "ACCOUNT_ID"}.isdisjoint(names)


def test_one_name_two_paths() -> None:
    """TRANSACTION_COMMENT is the transaction's comment where there is one, else the note of the change."""
    changes = ("client", "group", "loan_account", "deposit_account", "credit_arrangement", "activity")
    bookings = ("loan_transaction", "deposit_transaction", "card_transaction")
    expected = {
        **dict.fromkeys(changes, ("comment",)),
        **dict.fromkeys(bookings, ("transaction", "comment")),
    }
    rows = {family: placeholders_of(family).get("TRANSACTION_COMMENT") for family in FAMILIES}

    assert expected == {family: row.path for family, row in rows.items() if row}
