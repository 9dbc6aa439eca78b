"""Programs as lines: each step of a scan and of a text, in words."""

import json
from collections.abc import Collection
from typing import Any

from processor.mapping.program_lines import ScanLine, TextLine, scan_lines, text_lines
from processor.mapping.text_plan import text_program
from processor.wire.scan_program import Path, scan_program
from processor.wire.schema import Record
from processor.wire.schema_parser import parse_type
from tests.support.builders import make_email


def record(*fields: dict[str, Any]) -> Record:
    """The schema of a record with these fields."""
    type_ = parse_type(json.dumps({"type": "record", "name": "R", "fields": fields}))
    assert isinstance(type_, Record)
    return type_


def lines_of(fields: list[dict[str, Any]], wanted: Collection[Path] = (), *, reader: Any = None) -> list[ScanLine]:
    """The lines of a program for a record with these fields, which is read as the same or as one with `reader`."""
    return list(scan_lines(scan_program(record(*fields), record(*(reader or fields)), wanted)))


AMOUNT = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 10}
INNER = {"type": "record", "name": "Inner", "fields": [{"name": "day", "type": {"type": "int", "logicalType": "date"}}]}


def test_values() -> None:
    """Each with its name, what it has to be, its slot, and what is read from there."""
    fields: list[dict[str, Any]] = [
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["LOAN", "DEPOSIT"]}},
        {"name": "amount", "type": AMOUNT},
        {"name": "count", "type": "int"},
        {"name": "flag", "type": ["null", "boolean"]},
        {"name": "late", "type": ["int", "null"]},
    ]

    assert [
        ScanLine(0, "kind", "one of LOAN, DEPOSIT"),
        ScanLine(0, "amount", "decimal of 38 digits, 10 behind the point", 0, ("amount",)),
        ScanLine(0, "count", "int"),
        ScanLine(0, "flag", "null or boolean"),
        ScanLine(0, "late", "null or int", 1, ("late",)),
    ] == lines_of(fields, [("amount",), ("late",)])


def test_records_arrays_and_maps() -> None:
    """What is in them stands under them."""
    fields: list[dict[str, Any]] = [
        {"name": "inner", "type": ["null", INNER]},
        {"name": "days", "type": {"type": "array", "items": "Inner"}},
        {"name": "custom", "type": {"type": "map", "values": ["null", "long"]}},
        {"name": "counts", "type": {"type": "map", "values": "long"}},
    ]

    assert [
        ScanLine(0, "inner", "null or record"),
        ScanLine(1, "day", "date", 0, ("inner.day",)),
        ScanLine(0, "days", "array of", 1, ("days",)),
        ScanLine(1, "", "record"),
        ScanLine(2, "day", "date"),
        ScanLine(0, "custom", "map of"),
        ScanLine(1, "", "no bytes"),
        ScanLine(1, "", "long"),
        ScanLine(0, "counts", "read by the reference"),
    ] == lines_of(fields, [("inner", "day"), ("days",)])


def test_a_record_that_is_read_as_a_whole() -> None:
    """Has a slot of its own."""
    fields = [{"name": "inner", "type": INNER}]

    assert [ScanLine(0, "inner", "record", 0, ("inner",)), ScanLine(1, "day", "date")] == lines_of(fields, [("inner",)])


def test_schemas_of_other_versions() -> None:
    """The writer's names, what we do not have, what must not be null, and what only we have."""
    writer: list[dict[str, Any]] = [
        {"name": "old", "type": "int"},
        {"name": "gone", "type": {"type": "fixed", "name": "F", "size": 12}},
        {"name": "some", "type": ["null", "int"]},
    ]
    reader = [
        {"name": "new", "aliases": ["old"], "type": "int"},
        {"name": "some", "type": "int"},
        {"name": "added", "type": "int", "default": 7},
        {"name": "unset", "type": ["null", "int"], "default": None},
    ]

    assert [
        ScanLine(0, "old", "int", 0, ("new",)),
        ScanLine(0, "gone", "12 bytes"),
        ScanLine(0, "some", "not null: int"),
        ScanLine(0, "", "nothing: 7", values=("added",)),
        ScanLine(0, "", "nothing: null", values=("unset",)),
    ] == lines_of(writer, [("new",), ("added",), ("unset",)], reader=reader)


def test_a_text() -> None:
    """What is fixed and what stands for each placeholder, with its context; no empty line."""
    body = "<p>{TRANSACTION_AMOUNT}{CF:LOAN:Risk Score} FORMAT_DATE{TRANSACTION_DATE,datePattern=d MMMM}"
    program = text_program(make_email(body=body).text.body, "loan_transaction")

    assert [
        TextLine("<p>"),
        TextLine(
            value="money transaction.amount, currency transaction.currencyCode or account.currencyCode", context="html"
        ),
        TextLine(value="custom field LOAN:Risk Score or LOAN:Risk Score:1", context="html"),
        TextLine(" "),
        TextLine(value="date transaction.date, FORMAT_DATE, datePattern=d MMMM", context="html"),
    ] == list(text_lines(program))
