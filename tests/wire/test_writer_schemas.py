"""Writers' schemas are held to what resolution needs, and to bounds; what a text makes a parser raise is about it."""

import json
import struct
import time
from io import BytesIO
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_writer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.domain.event import Event
from processor.domain.reasons import Reason
from processor.wire.avro_reader import read_avro
from processor.wire.decode import DecodeFailure
from processor.wire.errors import ContentError
from processor.wire.schema import NO_DEFAULT, Array, DecimalBytes, Enum, Fixed, Map, Record, Scalar, Type, Union
from processor.wire.schema_parser import MAX_LEVELS, parse_type, parse_writer_schema
from tests.support.laws import examples
from tests.support.wire import (
    SCHEMAS,
    decode_with,
    field_of,
    golden_avro,
    golden_event,
    raw_record,
    reader_schema,
    varint,
)

Json = Any
DIGITS_401, DIGITS_5000 = 10**401, "9" * 5_000
TEXT = varint(2) + b"hi"
EIGHT = struct.pack("<d", 2.5)
BRANCH = TEXT * 3 + varint(0)


def with_field(field: Json) -> str:
    """The text of LOAN_REPAYMENT's schema with one more field at the end. A text stands for itself."""
    schema = json.loads(reader_schema().text)
    schema["fields"].append({"name": "added", "type": "null"})
    text = field if isinstance(field, str) else json.dumps(field)
    return json.dumps(schema).replace(json.dumps(schema["fields"][-1]), text)


def decode_example(text: str, value: bytes) -> Event | DecodeFailure:
    """The result for the example event, whose writer has schema `text` and wrote `value` behind the reader's fields."""
    record = raw_record(b"\x00\x00\x00\x00\x09" + golden_avro()[5:] + value)
    return decode_with(record, writers={9: parse_writer_schema(text)})


def decimal_of(base: str = "bytes", **attributes: Json) -> Json:
    return {"name": "added", "type": {"type": base, "logicalType": "decimal", **attributes}}


def added(type_: Json, **attributes: Json) -> Json:
    return {"name": "added", "type": type_, **attributes}


NODE = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
TREE = {
    "type": "record",
    "name": "Tree",
    "fields": [{"name": "v", "type": "int"}, {"name": "children", "type": {"type": "array", "items": "Tree"}}],
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        # defaults
        (added("string", default=None), TEXT),
        (added("string", default=5), TEXT),
        (added("double", default=DIGITS_401), EIGHT),
        ('{"name": "added", "type": "double", "default": ' + DIGITS_5000 + "}", EIGHT),
        ('{"name": "added", "type": "double", "default": -1e99999}', EIGHT),
        (added(["null", "string"], default="second"), varint(1) + TEXT),
        (added(["string", "null"], default=None), varint(0) + TEXT),
        (added({"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]}, default={}), TEXT),
        (added({"type": "enum", "name": "E", "symbols": ["A", "B"]}, default="C"), varint(1)),
        (added({"type": "enum", "name": "E", "symbols": ["A"], "default": "C"}), varint(0)),
        (added({"type": "enum", "name": "E", "symbols": ["A"], "default": 5}), varint(0)),
        # logical types that are invalid or unknown
        (decimal_of(precision=4, scale=6), TEXT),
        (decimal_of(), TEXT),
        (decimal_of(precision=0), TEXT),
        (decimal_of(precision=-3, scale=-5), TEXT),
        (decimal_of(precision=4, scale=-1), TEXT),
        (decimal_of(precision="4"), TEXT),
        (decimal_of(precision=4.0), TEXT),
        (decimal_of(precision=None, scale=None), TEXT),
        (decimal_of(precision=True, scale=True), TEXT),
        (decimal_of("string", precision=4), TEXT),
        (decimal_of("int", precision=4), varint(7)),
        (added({"type": "fixed", "name": "F", "size": 2, "logicalType": "decimal", "precision": 30}), b"hi"),
        (added({"type": "fixed", "name": "F", "size": 11, "logicalType": "duration"}), b"x" * 11),
        (added({"type": "fixed", "name": "F", "size": 3, "logicalType": "uuid"}), b"x" * 3),
        (added({"type": "string", "logicalType": "date"}), TEXT),
        (added({"type": "bytes", "logicalType": "uuid"}), TEXT),
        (added({"type": "long", "logicalType": "timestamp-nanos"}), varint(7)),
        (added({"type": "long", "logicalType": "big-int", "size": "x"}), varint(7)),
        (added({"type": "string", "logicalType": 5}), TEXT),
        (added({"type": "string", "logicalType": ["decimal"]}), TEXT),
        # what describes, orders and renames
        (added("string", aliases=5, doc=5, order="sideways"), TEXT),
        (added("string", aliases=["1 bad", "tenant", None]), TEXT),
        (added({"type": "enum", "name": "E", "aliases": "x", "doc": {}, "symbols": ["A"]}), varint(0)),
        # spelling
        ({"name": "1-über ", "type": "string"}, TEXT),
        ({"name": "", "type": "string"}, TEXT),
        ('{"name": "\\ud800", "type": "string"}', TEXT),
        (added({"type": "enum", "name": "a-b", "symbols": ["1", "", "x y"]}), varint(2)),
        (added({"type": "enum", "name": "E", "symbols": ["A", "A"]}), varint(1)),
        (added({"type": "enum", "name": "E", "namespace": None, "symbols": ["A"]}), varint(0)),
        (added({"type": "enum", "name": "E", "namespace": 5, "symbols": ["A"]}), varint(0)),
        # forms
        (added({"type": {"type": {"type": "string"}}}), TEXT),
        (added({"type": ["null", "string"]}), varint(1) + TEXT),
        (added({"type": "banking.events.common.Branch"}), BRANCH),
        (added("banking.events.common.Branch"), BRANCH),
        (added(["string", "string"]), varint(1) + TEXT),
        (added({"type": "record", "name": "R", "fields": []}), b""),
        (added({"type": "error", "name": "R", "fields": [{"name": "a", "type": "string"}]}), TEXT),
        (added({"type": "array", "items": "null"}), varint(2**62) + varint(2**62) + varint(0)),
        (added({"type": "fixed", "name": "F", "size": 0}), b""),
        (added(NODE), varint(1) * 40 + varint(0)),
        (added(TREE), varint(1) + varint(2) + (varint(7) + varint(0)) * 2 + varint(0)),
        (added("string", unknown=[{"a": 1}]), TEXT),
    ],
)
def test_attributes_that_resolution_ignores(field: Json, value: bytes) -> None:
    """A field that we do not know is skipped, however its schema describes it."""
    assert golden_event() == decode_example(with_field(field), value)


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("tenant", {"default": None}),
        ("tenant", {"default": 5, "aliases": ["x", 5], "order": "up", "doc": []}),
        ("correlationId", {"default": "not null"}),
        ("occurredAt", {"default": DIGITS_401}),
        ("customFields", {"default": []}),
    ],
)
def test_a_writers_defaults_and_aliases_do_not_count(name: str, attributes: Json) -> None:
    """Our own defaults and aliases count, the writer's do not."""
    schema = json.loads(reader_schema().text)
    field_of(schema, name).update(attributes)

    assert golden_event() == decode_example(json.dumps(schema), b"")


def test_an_invalid_decimal_is_bytes() -> None:
    """Skipped as bytes; where the reader has a decimal it cannot be read as one."""
    schema = json.loads(reader_schema().text)
    amount = field_of(field_of(schema, "transaction")["type"], "amount")
    amount["type"] = {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 10}
    failure = decode_example(json.dumps(schema), b"")

    assert isinstance(failure, DecodeFailure)
    assert Reason.INCOMPATIBLE_SCHEMA == failure.reason
    assert "transaction.amount: bytes cannot be read as decimal(38,10)" == failure.detail


def record(name: str, *fields: Json) -> Json:
    return {"type": "record", "name": name, "fields": list(fields)}


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        (added("Nowhere"), "'Nowhere' is not defined"),
        (added({"type": "Nowhere"}), "'Nowhere' is not defined"),
        (added(5), "no type: 5"),
        (added(None), "no type: null"),
        (added({}), "no type: {}"),
        (added({"type": "enum"}), "'enum' is not defined"),
        (added({"type": "enum", "name": "E"}), "'banking.events.E' is no enum"),
        (added({"type": "enum", "name": "E", "symbols": [5]}), "'banking.events.E' is no enum"),
        (added({"type": "enum", "name": 5, "symbols": ["A"]}), "'enum' is not defined"),
        (added({"type": "fixed", "name": "F"}), "'banking.events.F' is no fixed"),
        (added({"type": "fixed", "name": "F", "size": -1}), "'banking.events.F' is no fixed"),
        (added({"type": "fixed", "name": "F", "size": "4"}), "'banking.events.F' is no fixed"),
        (added({"type": "fixed", "name": "F", "size": True}), "'banking.events.F' is no fixed"),
        (
            '{"name": "added", "type": {"type": "fixed", "name": "F", "size": ' + DIGITS_5000 + "}}",
            "'banking.events.F' is no fixed",
        ),
        (added({"type": "array"}), "'array' is not defined"),
        (added({"type": "map", "items": "int"}), "'map' is not defined"),
        (added(record("R") | {"fields": {}}), "'banking.events.R' is no record"),
        (added(record("R", 5)), "no field: 5"),
        (added(record("R", {"name": "a"})), "no field: "),
        (added(record("R", {"type": "int"})), "no field: "),
        (added(record("R", {"name": 5, "type": "int"})), "no field: "),
        (added(record("R", added("int"), added("int"))), "'banking.events.R' has two fields of one name"),
        ({"name": "tenant", "type": "string"}, "'banking.events.LoanTransactionEvent' has two fields of one name"),
        (added(record("LoanTransactionEvent")), "'banking.events.LoanTransactionEvent' is defined twice"),
        (added(record("x.Y", added(record("Y")))), "'x.Y' is defined twice"),
        (added(["null", ["int", "string"]]), "a union within a union"),
        (added({"type": "array", "items": "long"}, name="x" * 1_000_000), "over 1000000 characters"),
    ],
)
def test_invalid_schemas_are_incompatible(field: Json, problem: str) -> None:
    """Its records are INCOMPATIBLE_SCHEMA, and the detail says why."""
    failure = decode_example(with_field(field), b"")

    assert isinstance(failure, DecodeFailure)
    assert Reason.INCOMPATIBLE_SCHEMA == failure.reason
    assert f"not an Avro schema that can be read: {problem}" in failure.detail
    assert len(failure.detail) < 500


# ---------------------------------------------------------------------------------------------------------------------
# Bounds


def arrays(levels: int) -> tuple[str, bytes]:
    """The text of so many arrays in each other, and a value of one item each."""
    text = '{"type": "array", "items": ' * levels + '"int"' + "}" * levels
    return text, varint(1) * levels + varint(7) + varint(0) * levels


def maps(levels: int) -> tuple[str, bytes]:
    text = '{"type": "map", "values": ' * levels + '"int"' + "}" * levels
    return text, (varint(1) + TEXT) * levels + varint(7) + varint(0) * levels


def records(levels: int, before: str = "", behind: str = "") -> tuple[str, bytes]:
    begins = [f'{{"type": "record", "name": "R{level}", "fields": [{{"name": "a", "type": ' for level in range(levels)]
    return before.join(begins) + '"int"' + behind.join(["}]}"] * levels), varint(7)


def nullable_records(levels: int) -> tuple[str, bytes]:
    text, value = records(levels, '["null", ', "]")
    return text, varint(1) * (levels - 1) + value


def named_records(levels: int) -> tuple[str, bytes]:
    """Each names the one before it: the text is flat, and the last is as deep as all together."""
    types = [record(f"R{level}", added(f"R{level - 1}" if level else "int")) for level in range(levels)]
    return json.dumps(types), varint(levels - 1) + varint(7)


DEEP = [arrays, maps, records, nullable_records, named_records]


@pytest.mark.parametrize("nested", DEEP)
def test_64_levels_are_read(nested: Any) -> None:
    """The event itself is the first."""
    text, value = nested(MAX_LEVELS - 1)

    assert golden_event() == decode_example(with_field(f'{{"name": "added", "type": {text}}}'), value)


@pytest.mark.parametrize("levels", [MAX_LEVELS, 350, 9_000])
@pytest.mark.parametrize("nested", DEEP)
def test_more_levels_are_incompatible(nested: Any, levels: int) -> None:
    """Never a matter of how deep Python may go: 350 were parsed, and not read."""
    text, value = nested(levels)
    failure = decode_example(with_field(f'{{"name": "added", "type": {text}}}'), value)

    assert isinstance(failure, DecodeFailure)
    assert Reason.INCOMPATIBLE_SCHEMA == failure.reason
    assert "not an Avro schema that can be read: nested over 64 levels" == failure.detail


@pytest.mark.corpus
@pytest.mark.parametrize(
    "text",
    [
        "[" * 900_000,
        '{"a":' * 180_000,
        '[{"type":' * 100_000,
        '"\\' * 300_000,
        '"' + '\\"' * 400_000,
        '"' + "\\" * 900_001,
        "]" * 900_000,
        '{"type": "enum", "name": "E", "symbols": [' + '"A",' * 240_000 + '"A"]}',
        "[" + '"int",' * 160_000 + '"int"]',
        '{"type": "record", "name": "R", "fields": ['
        + ",".join(f'{{"name":"{number}","type":"int"}}' for number in range(30_000))
        + "]}",
    ],
    ids=lambda text: text[:20],
)
def test_a_large_schema_is_parsed_in_linear_time(text: str) -> None:
    """Whatever it is, it is parsed in time that grows with its length, and without recursion."""
    began = time.thread_time()
    schema = parse_writer_schema(text)
    decode_example(with_field(f'{{"name": "added", "type": {text}}}'), TEXT)

    assert time.thread_time() - began < 5
    assert len(schema.error) < 500


@pytest.mark.parametrize("leaf", ['"int"', '"null"', '{"type": "array", "items": "null"}'])
def test_a_schema_of_exponentially_many_fields(leaf: str) -> None:
    """Sixty records, each with the one before it twice: 2^60 fields, of which each is planned once."""
    types = [f'{{"type": "record", "name": "R0", "fields": [{{"name": "a", "type": {leaf}}}]}}']
    types += [json.dumps(record(f"R{n}", added(f"R{n - 1}"), added(f"R{n - 1}") | {"name": "b"})) for n in range(1, 60)]
    began = time.thread_time()
    text = with_field(f'{{"name": "added", "type": [{", ".join(types)}]}}')
    result = decode_example(text, varint(59))

    assert time.thread_time() - began < 5
    if leaf == '"null"':
        assert golden_event() == result  # a value without bytes takes no time
    else:
        assert isinstance(result, DecodeFailure)
        assert Reason.INVALID_EVENT == result.reason
        assert "cut short" in result.detail


def test_many_records_of_one_name_in_many_namespaces() -> None:
    """Each is resolved once, though a client's user may be any of them."""
    users = [record(f"u{n}.User", added("int")) for n in range(300)]
    clients = [
        record(f"c{n}.Client", {"name": "creditOfficer", "type": [f"u{m}.User" for m in range(300)]})
        for n in range(300)
    ]
    schema = json.loads(reader_schema().text)
    schema["fields"].insert(0, {"name": "users", "type": users})
    field_of(schema, "client")["type"] = clients
    began = time.thread_time()
    failure = decode_example(json.dumps(schema), b"")

    assert time.thread_time() - began < 5
    assert isinstance(failure, DecodeFailure)
    assert Reason.INCOMPATIBLE_SCHEMA == failure.reason


@pytest.mark.parametrize(
    ("type_", "one_more"),
    [(NODE, varint(1)), (TREE, varint(7) + varint(1)), (record("Self", added("Self")), b"")],
)
def test_a_record_within_itself(type_: Json, one_more: bytes) -> None:
    """Skipped as deep as 64 levels; deeper it is an invalid event, and never a matter of how deep Python may go."""
    for times in (200, 10_000):
        failure = decode_example(with_field(added(type_)), one_more * times)

        assert isinstance(failure, DecodeFailure)
        assert (Reason.INVALID_EVENT, True) == (failure.reason, "nested over 64 levels" in failure.detail)


def test_a_record_of_ours_may_be_within_itself() -> None:
    """A newer writer's client names a client: what we do not know of it is skipped."""
    schema = json.loads(reader_schema().text)
    client = field_of(schema, "client")["type"][1]
    client["fields"].append({"name": "guarantor", "type": ["null", "Client"]})
    schema["fields"].append({"name": "other", "type": ["null", "banking.events.common.Client"]})
    client_value = {**golden_event().fields["client"], "guarantor": None}
    value = BytesIO()
    fields = {**golden_event().fields, "client": {**client_value, "guarantor": client_value}, "other": client_value}
    schemaless_writer(value, parse_schema(schema), fields)
    record = raw_record(b"\x00\x00\x00\x00\x09" + value.getvalue())

    assert golden_event() == decode_with(record, writers={9: parse_writer_schema(json.dumps(schema))})


# ---------------------------------------------------------------------------------------------------------------------
# Whatever a text may be

WORDS = st.sampled_from(
    ["record", "enum", "fixed", "array", "map", "int", "string", "bytes", "null", "A", "a.B", "decimal", "\ud800", ""]
)
KEYS = st.sampled_from(
    ["type", "name", "namespace", "fields", "items", "values", "symbols", "size", "logicalType", "precision", "scale",
     "default", "aliases"]
)  # fmt: skip
SCHEMAS_OF_ANY_KIND = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers(-5, 5) | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=30,
)


@settings(deadline=None, max_examples=examples(200), suppress_health_check=list(HealthCheck))
@given(type_=SCHEMAS_OF_ANY_KIND, value=st.binary(max_size=40))
def test_any_schema_gives_an_event_or_a_dead_letter(type_: Json, value: bytes) -> None:
    """An event or a dead letter, whose text can be written; nothing is raised."""
    result = decode_example(with_field(json.dumps(added(type_))), value)
    schema = parse_writer_schema(json.dumps(type_))

    assert schema.type is None or not schema.error
    if isinstance(result, DecodeFailure):
        assert result.detail.encode()


@pytest.mark.parametrize("name", [*SCHEMAS.families, *SCHEMAS.outputs])
def test_both_parsers_read_our_schemas_alike(name: str) -> None:
    """As fastavro has them, with full names, and as our own parser reads their text."""
    schema = SCHEMAS.families.get(name) or SCHEMAS.outputs[name]

    assert shape(parse_type(json.dumps(schema.parsed))) == shape(schema.type)


def shape(type_: Type) -> Json:
    """A tree to be compared."""
    match type_:
        case Record():
            fields = [
                [
                    field.name,
                    shape(field.type),
                    "none" if field.default is NO_DEFAULT else field.default,
                    *field.aliases,
                ]
                for field in type_.fields
            ]
            return [type_.name, *fields]
        case Union():
            return [shape(branch) for branch in type_.branches]
        case Array():
            return {"items": shape(type_.items)}
        case Map():
            return {"values": shape(type_.values)}
        case Enum():
            return [type_.name, type_.default, *type_.symbols]
        case Fixed():
            return [type_.name, type_.size]
        case DecimalBytes():
            return [type_.precision, type_.scale]
        case Scalar():
            return type_.kind
        case _:
            raise AssertionError(type_)


# ---------------------------------------------------------------------------------------------------------------------
# What resolution does


def enum(*symbols: str, default: str | None = None) -> Json:
    return {"type": "enum", "name": "E", "symbols": symbols} | ({} if default is None else {"default": default})


@pytest.mark.parametrize(
    ("writer", "reader", "value", "expected"),
    [
        ("int", "long", varint(7), 7),
        ("bytes", "string", TEXT, "hi"),
        (
            "string",
            {"type": "string", "logicalType": "uuid"},
            varint(36) + golden_event().id.encode(),
            golden_event().id,
        ),
        (enum("A", "B"), enum("A", default="A"), varint(1), "A"),
        (enum("A", "B", default="A"), enum("A", "OTHER", default="OTHER"), varint(1), "OTHER"),
        (enum("B", "A"), enum("A", "B"), varint(0), "B"),
        ({"type": "string", "logicalType": "x"}, "string", TEXT, "hi"),
        (["null", "int", "int"], ["null", "long"], varint(2) + varint(7), 7),
        (["string", "bytes"], "string", varint(1) + TEXT, "hi"),
        (record("x.A", added("int"), {"name": "more", "type": "A"}), record("y.A", added("long")), None, None),
    ],
)
def test_promotion_of_types_and_symbols(writer: Json, reader: Json, value: bytes | None, expected: object) -> None:
    """Numbers and texts are widened, symbols found by name, a symbol that the reader lacks is its default."""
    theirs, ours = parse_type(json.dumps(writer)), parse_type(json.dumps(reader))
    if value is None:
        with pytest.raises(ContentError, match="nested over 64 levels"):
            read_avro(varint(7) * 200, 0, theirs, ours)
    else:
        assert expected == read_avro(value, 0, theirs, ours)


@pytest.mark.parametrize(
    ("writer", "reader", "detail"),
    [
        ("long", "int", "long cannot be read as int"),
        ("float", "long", "float cannot be read as long"),
        ("string", "boolean", "string cannot be read as boolean"),
        (enum("A"), enum("A") | {"name": "F"}, "E cannot be read as F"),
        (
            {"type": "int", "logicalType": "timestamp-millis"},
            {"type": "int", "logicalType": "date"},
            "int cannot be read",
        ),
        ({"type": "enum", "name": "x" * 999, "symbols": []}, "string", "xxx"),
        ({"type": "enum", "name": "\ud800", "symbols": []}, "string", r"'\ud800' cannot"),
    ],
)
def test_schemas_that_cannot_be_resolved(writer: Json, reader: Json, detail: str) -> None:
    """With a detail that can be written, however the writer spells its names."""
    with pytest.raises(ContentError) as refused:
        read_avro(TEXT, 0, parse_type(json.dumps(writer)), parse_type(json.dumps(reader)))

    assert Reason.INCOMPATIBLE_SCHEMA == refused.value.reason
    assert refused.value.detail.startswith((detail, f"'{detail}"))
    assert len(refused.value.detail.encode()) < 200


def test_an_enum_of_many_symbols_is_resolved_in_linear_time() -> None:
    """A symbol that is skipped is not looked for among all the others, which is the square of their number."""
    symbols = ", ".join(f'"S{number}"' for number in range(60_000))
    began = time.thread_time()
    read = decode_example(
        with_field(f'{{"name": "added", "type": {{"type": "enum", "name": "Added", "symbols": [{symbols}]}}}}'),
        varint(59_999),
    )

    assert golden_event() == read
    assert time.thread_time() - began < 1
