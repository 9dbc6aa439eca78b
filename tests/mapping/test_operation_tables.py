"""The tables of operations: each type and each context has its row in each of them, or a test here fails.

What a new one takes is in docs/design.md, "Plans".
"""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, get_args

import pytest

from processor.domain.placeholders import PlaceholderType
from processor.domain.template import EscapeContext
from processor.mapping.escape import ESCAPES
from processor.mapping.plain_text import PLAIN_ESCAPES
from processor.mapping.table_formats import TABLE_FORMATS
from processor.mapping.text_plan import ALPHABETS, CONTEXTS
from processor.wire.avro_reader import read_avro
from processor.wire.encode import HEADERS
from processor.wire.output_plan import HoleKind, output_plan
from processor.wire.plain_scan import plain_scan
from processor.wire.reader_schemas import SUPPORTED_KINDS
from processor.wire.scan_program import Form, Leaf, Place, ScanProgram, scan_program
from processor.wire.schema import DecimalBytes, Fixed, Record, Recursive, Scalar, Type
from processor.wire.schema_parser import parse_schema
from processor.wire.slot_values import value_reader
from processor.wire.value_encoders import ENCODERS
from processor.wire.wire_format import WireFormat
from tests.fuzz.avro import avro_bytes
from tests.support.wire import SCHEMAS

TABLES: Final[Mapping[str, tuple[type[StrEnum], Mapping[Any, Any]]]] = {
    "what texts are made of": (PlaceholderType, ALPHABETS),
    "what contexts keep": (EscapeContext, CONTEXTS),
    "escapes of the reference": (EscapeContext, ESCAPES),
    "escapes of plain": (EscapeContext, PLAIN_ESCAPES),
    "tables of the reference": (EscapeContext, TABLE_FORMATS),
    "encoders": (WireFormat, ENCODERS),
    "headers": (WireFormat, HEADERS),
}


def extended(members: type[StrEnum]) -> type[StrEnum]:
    """The same with a member that is new."""
    return StrEnum("Extended", {**{member.name: member.value for member in members}, "NEW": "new"})  # type: ignore[return-value]


def without_row(members: Iterable[StrEnum], table: Mapping[Any, Any]) -> set[str]:
    """Those that a table lacks."""
    return {member.value for member in members if member not in table}


@pytest.mark.parametrize("name", TABLES)
def test_each_has_a_row(name: str) -> None:
    """Also in the plain executor: a new one that only the reference knows is found here."""
    members, table = TABLES[name]

    assert set() == without_row(members, table)
    assert {"new"} == without_row(extended(members), table)


# ---------------------------------------------------------------------------------------------------------------------
# What is scanned, by its form

SKIPPED_FORMS: Final = {Form.BYTES, Form.FIXED}  # of fields that the reader does not have; nobody asks for the value


def leaf(form: StrEnum) -> Leaf:
    """A value of a form, in the first slot."""
    return Leaf(form, 0, DecimalBytes(38, 10), ("A", "B"), 4)  # type: ignore[arg-type]  # a new form is of another enum


def without_expression(forms: Iterable[StrEnum]) -> set[str]:
    """The forms that the plain executor cannot scan."""
    return _failing(forms, lambda form: plain_scan(ScanProgram(leaf(form), {})))


def without_value(forms: Iterable[StrEnum]) -> set[str]:
    """The forms whose values it cannot read."""
    return _failing(forms, lambda form: value_reader(Place(leaf(form))))


def _failing(forms: Iterable[StrEnum], make: Callable[[StrEnum], object]) -> set[str]:
    failing = set()
    for form in forms:
        try:
            make(form)
        except KeyError:
            failing.add(form.value)
    return failing


def test_each_form_has_an_expression_and_a_value() -> None:
    """A new form that the plain executor does not know is found here."""
    assert set() == without_expression(Form)
    assert {form.value for form in SKIPPED_FORMS} == without_value(Form)
    assert {"new"} == without_expression(extended(Form))
    assert {"new"} == without_value(extended(Form)) - without_value(Form)


# ---------------------------------------------------------------------------------------------------------------------
# Types: of values in events and in outputs

TYPES: Final[Mapping[str, tuple[Any, Any]]] = {  # kind -> a schema of it, and a value that is not the least
    "boolean": ("boolean", True),
    "int": ("int", -70),
    "long": ("long", 2**40),
    "string": ("string", "é"),
    "uuid": ({"type": "string", "logicalType": "uuid"}, "0a6c8f5e-1111-4222-8333-444455556666"),
    "date": ({"type": "int", "logicalType": "date"}, date(2026, 3, 14)),
    "timestamp-millis": ({"type": "long", "logicalType": "timestamp-millis"}, 1_773_480_413_702),
    "timestamp-micros": ({"type": "long", "logicalType": "timestamp-micros"}, datetime(2026, 3, 14, 9, tzinfo=UTC)),
    "decimal": ({"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 10}, Decimal("12.5")),
    "enum": ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, "B"),
    "array": ({"type": "array", "items": "string"}, ["x"]),
    "map": ({"type": "map", "values": ["null", "string"]}, {"x": "y"}),
    "union": (["null", "string"], "x"),
    "record": ({"type": "record", "name": "N", "fields": [{"name": "y", "type": "int"}]}, {"y": 7}),
}


def record_of(kind: str) -> Record:
    """A record with one field of a kind."""
    _, type_ = parse_schema(
        json.dumps({"type": "record", "name": "R", "fields": [{"name": "x", "type": TYPES[kind][0]}]})
    )
    assert isinstance(type_, Record)
    return type_


@pytest.mark.parametrize("kind", TYPES)
def test_each_type_of_events_is_scanned(kind: str) -> None:
    """And read from its slot as the reference reads it."""
    type_, value = record_of(kind), {"x": TYPES[kind][1]}
    data = avro_bytes(type_, value)
    program = scan_program(type_, type_, [("x",)])
    slots = plain_scan(program)(data, 0)

    assert value == read_avro(data, 0, type_, type_)
    assert slots is not None
    assert value["x"] == value_reader(program.places["x",])(slots)


def test_each_type_is_one_of_these() -> None:
    """A new one is added to the table here; of the types of schemas two are a writer's alone."""
    types = {type(record_of(kind).fields[0].type) for kind in TYPES}
    scalars = {kind for kind in TYPES if isinstance(record_of(kind).fields[0].type, Scalar)}

    assert SUPPORTED_KINDS == scalars
    assert {Fixed, Recursive} == {*get_args(Type)} - types


@pytest.mark.parametrize("form", WireFormat)
def test_each_kind_of_hole_is_of_some_output(form: WireFormat) -> None:
    """Outputs are where executors are tried, so one of each kind stands in them, or in a plan here."""
    kinds = {hole.kind for schema in SCHEMAS.outputs.values() for hole in output_plan(schema, form).holes}
    missing = set(HoleKind) - kinds - {HoleKind.SIZED_TEXT}  # what is known of a text makes it one

    assert set() == missing
