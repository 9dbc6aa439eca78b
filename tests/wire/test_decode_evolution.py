"""Records of other writers' schemas: resolved against the reader's, or refused with the reason."""

import json
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.domain.event import Event
from processor.domain.reasons import Reason
from processor.registry.schema_files import load_schemas, shipped_schemas
from processor.wire.decode import decode, event_from_json
from processor.wire.schema import WriterSchema
from processor.wire.schema_parser import parse_writer_schema
from tests.support.builders import changed
from tests.support.laws import examples
from tests.support.wire import (
    changed_schema,
    decode_failure,
    decode_with,
    events_of,
    field_of,
    golden_avro,
    golden_event,
    golden_json,
    raw_record,
    reader_schema,
    varint,
)

Json = dict[str, Any]
WRITER_ID = 9


def write_example(writer: WriterSchema, **changed: object) -> bytes:
    """The LOAN_REPAYMENT example, or fields in its place, framed as `writer` writes it."""
    buffer = BytesIO(b"\x00\x00\x00\x00\x09")
    buffer.seek(5)
    fields = {**golden_event().fields, "customFields": {"LOAN:A": "x"}, **changed}
    schemaless_writer(buffer, parse_schema(json.loads(writer.text)), fields)
    return buffer.getvalue()


def read(writer: WriterSchema, **changed: object) -> Event:
    event = decode_with(raw_record(write_example(writer, **changed)), writers={WRITER_ID: writer})
    assert isinstance(event, Event), event
    return event


def without(schema: Json, name: str) -> None:
    schema["fields"] = [field for field in schema["fields"] if field["name"] != name]


def add(schema: Json, at: int, name: str, type_: object) -> None:
    schema["fields"].insert(at, {"name": name, "type": type_})


def account_of(schema: Json) -> Json:
    found: Json = field_of(schema, "account")["type"]
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Resolved


def test_a_field_added_since_has_its_default() -> None:
    """An old writer did not know `schedule`: its records have an empty one, in the reader's order."""
    old = changed_schema(lambda schema: without(schema, "schedule"))
    event = read(old)

    assert [] == event.fields["schedule"]
    assert list(golden_event().fields) == list(event.fields)


def test_fields_may_stand_in_another_order() -> None:
    """A writer's order is its own; the event is the same."""
    turned = changed_schema(lambda schema: schema["fields"].insert(12, schema["fields"].pop(0)))

    assert golden_event(customFields={"LOAN:A": "x"}) == read(turned)
    assert list(golden_event().fields) == list(read(turned).fields)


EXTRAS: list[tuple[object, object]] = [
    ("null", None),
    ("boolean", True),
    ("int", -5),
    ("long", 2**62),
    ("float", 1.5),
    ("double", 2.5),
    ("bytes", b"\xff\x00"),
    ("string", "new"),
    ({"type": "fixed", "name": "Four", "size": 4}, b"four"),
    ({"type": "fixed", "name": "Money", "size": 9, "logicalType": "decimal", "precision": 20, "scale": 2}, b"\x00" * 9),
    ({"type": "enum", "name": "Colour", "symbols": ["RED", "BLUE"]}, "BLUE"),
    ({"type": "array", "items": {"type": "map", "values": "double"}}, [{"a": 1.0}, {}]),
    ({"type": "map", "values": ["null", "string", "long"]}, {"a": None, "b": "x", "c": 5}),
    ({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}, b"\x05"),
    ({"type": "long", "logicalType": "local-timestamp-micros"}, 5),
    ({"type": "record", "name": "New", "fields": [{"name": "a", "type": "string"}, {"name": "b", "type": "int"}]},
     {"a": "x", "b": 1}),
    (["null", "banking.events.common.User"], None),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "value"), EXTRAS, ids=[json.dumps(type_)[:40] for type_, _ in EXTRAS])
@pytest.mark.parametrize("at", [6, 12], ids=["middle", "end"])
def test_unknown_fields_are_skipped(type_: object, value: object, at: int) -> None:
    """A newer writer's field of any type, in the middle or at the end, changes nothing for us."""
    newer = changed_schema(lambda schema: add(schema, at, "new", type_))

    assert golden_event(customFields={"LOAN:A": "x"}) == read(newer, new=value)


@pytest.mark.parametrize(
    ("type_", "by", "detail"),
    [
        (["null", "string"], varint(2), "new: branch 2 of a union of 2"),
        (["null", "string"], varint(-1), "new: branch -1 of a union of 2"),
        (["null", "string"], varint(1) + varint(-3), "new: a length of -3"),
        ("bytes", varint(2**62), "new: cut short: 4611686018427387904 bytes announced"),
        ("boolean", b"\x02", "new: a boolean of 2"),
        ("int", varint(2**31), "new: 2147483648 does not fit in 32 bits"),
        ({"type": "enum", "name": "Colour", "symbols": ["RED"]}, varint(-1), "new: symbol -1 of an enum of 1"),
        ({"type": "array", "items": "double"}, varint(100), "new: 100 items announced"),
        ({"type": "map", "values": "null"}, varint(-1) + varint(99), "new: a block of 99 bytes"),
        ({"type": "record", "name": "New", "fields": [{"name": "a", "type": "string"}]}, varint(-1), "new.a: a length"),
        ({"type": "fixed", "name": "Four", "size": 4}, b"", "new: cut short: 4 bytes announced, 1 left"),
    ],
)  # fmt: skip
def test_skipped_fields_are_checked_too(type_: object, by: bytes, detail: str) -> None:
    """A field that we do not know is still bytes to get past: none of its lengths and indexes is followed blindly."""
    newer = changed_schema(lambda schema: add(schema, 13, "new", type_))
    value = b"\x00\x00\x00\x00\x09" + golden_avro(customFields={})[5:-1] + by + b"\x00"
    failure = decode_failure(raw_record(value), writers={WRITER_ID: newer})

    assert Reason.INVALID_EVENT == failure.reason
    assert failure.detail.startswith(detail)


def test_a_required_field_may_be_written_as_nullable() -> None:
    """A union is read by the branch that was written; only a record whose branch the reader lacks is refused."""
    loose = changed_schema(lambda schema: field_of(schema, "tenant").update(type=["null", "string"]))

    assert "northbank" == read(loose).tenant
    failure = decode_failure(raw_record(write_example(loose, tenant=None)), writers={WRITER_ID: loose})
    assert (Reason.INCOMPATIBLE_SCHEMA, "tenant: null cannot be read as string") == (failure.reason, failure.detail)


def test_a_nullable_record_that_does_not_fit_is_named_by_its_field() -> None:
    """The records that leave it null are read; one that has it is refused, each time with the whole path."""
    poor = changed_schema(lambda schema: without(field_of(schema, "actor")["type"][1], "username"))

    client = {**golden_event().fields["client"], "creditOfficer": None}

    assert None is read(poor, actor=None, client=client).fields["actor"]
    for _ in range(2):
        failure = decode_failure(raw_record(write_example(poor)), writers={WRITER_ID: poor})
        assert Reason.INCOMPATIBLE_SCHEMA == failure.reason
        assert "actor.username: the writer has no such field, and ours has no default" == failure.detail


def test_a_nullable_field_may_be_written_as_required() -> None:
    """One branch of the reader's is enough; text may come as bytes."""
    tight = changed_schema(lambda schema: field_of(schema, "correlationId").update(type="bytes", default=""))

    assert "abc" == read(tight, correlationId=b"abc").correlation_id


def test_custom_fields_keep_their_types_from_a_narrower_writer() -> None:
    """A writer with two kinds of values only: each is read as the kind it was, not as the first that would do."""
    narrow = changed_schema(
        lambda schema: field_of(schema, "customFields")["type"].update(
            values=[{"type": "long", "logicalType": "timestamp-micros"}, {"type": "int", "logicalType": "date"}]
        )
    )
    at = golden_event().occurred_at

    assert {"LOAN:B": at, "LOAN:A": at.date()} == read(
        narrow, customFields={"LOAN:A": ("int", at.date()), "LOAN:B": ("long", at)}
    ).fields["customFields"]


def test_java_writers_annotate_strings() -> None:
    """Java's own form of a string type is a string."""
    string = '{"type":"string","avro.java.string":"String"}'
    text = (
        reader_schema()
        .text.replace('"type":"string"}', f'"type":{string}}}')
        .replace('["null","string"]', f'["null",{string}]')
    )
    java = parse_writer_schema(text)

    assert golden_event(customFields={"LOAN:A": "x"}) == read(java)


@settings(deadline=None, max_examples=examples(25), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_resolution_agrees_with_fastavro(data: st.DataObject) -> None:
    """Fields left out and added at will: what we read is what fastavro's resolution reads."""
    schema = reader_schema("SAVINGS_DEPOSIT")
    dropped = data.draw(st.lists(st.sampled_from(["correlationId", "branch", "centre"]), unique=True))
    extras = data.draw(st.lists(st.sampled_from(EXTRAS[:8]), max_size=3))
    changed_json: Json = json.loads(schema.text)
    for name in dropped:
        without(changed_json, name)
    for number, (type_, _) in enumerate(extras):
        add(changed_json, data.draw(st.integers(0, len(changed_json["fields"]))), f"new{number}", type_)
    writer = parse_writer_schema(json.dumps(changed_json))
    parsed = parse_schema(changed_json)
    fields = {**data.draw(events_of(schema)), "customFields": {}}
    fields |= {f"new{number}": value for number, (_, value) in enumerate(extras)}
    buffer = BytesIO()
    schemaless_writer(buffer, parsed, {name: value for name, value in fields.items() if name not in dropped})

    ours = decode_with(raw_record(b"\x00\x00\x00\x00\x09" + buffer.getvalue()), writers={WRITER_ID: writer})
    theirs = schemaless_reader(BytesIO(buffer.getvalue()), parsed, schema.parsed)

    assert isinstance(ours, Event), ours
    assert json.dumps(theirs, default=str, sort_keys=True) == json.dumps(ours.fields, default=str, sort_keys=True)


# ---------------------------------------------------------------------------------------------------------------------
# Refused

Change = Callable[[Json], object]


def with_symbol(symbol: str) -> WriterSchema:
    return changed_schema(lambda schema: field_of(schema, "event")["type"]["symbols"].append(symbol))


@pytest.mark.parametrize("name", ["LOAN_FORGIVEN", "MANUAL", "DO_NOTHING"])
def test_an_event_of_a_newer_writer_is_unknown(name: str) -> None:
    """Never read as some other event; the events that we know are read from the same writer."""
    newer = with_symbol(name)
    failure = decode_failure(raw_record(write_example(newer, event=name)), writers={WRITER_ID: newer})

    assert (Reason.UNKNOWN_EVENT, f"event: {name} is not known") == (failure.reason, failure.detail)
    assert "LOAN_REPAYMENT" == read(newer).name


def test_an_unknown_symbol_of_another_enum_is_an_invalid_event() -> None:
    """Only the event's name is an unknown event."""
    newer = changed_schema(lambda schema: field_of(account_of(schema), "kind")["type"]["symbols"].append("CARD"))
    account = {**golden_event().fields["account"], "kind": "CARD"}
    failure = decode_failure(raw_record(write_example(newer, account=account)), writers={WRITER_ID: newer})

    assert (Reason.INVALID_EVENT, "account.kind: CARD is not known") == (failure.reason, failure.detail)


AMOUNT = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 2}


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (lambda schema: without(schema, "tenant"), "tenant: the writer has no such field"),
        (lambda schema: field_of(schema, "tenant").update(type="long"), "tenant: long cannot be read as string"),
        (lambda schema: field_of(account_of(schema), "kind").update(type="string"), "account.kind: string cannot be"),
        (
            lambda schema: field_of(field_of(schema, "transaction")["type"], "amount").update(type=AMOUNT),
            "transaction.amount: decimal(38,2) cannot be read as decimal(38,10)",
        ),
        (
            lambda schema: field_of(schema, "occurredAt")["type"].update(logicalType="timestamp-millis"),
            "occurredAt: timestamp-millis cannot be read as timestamp-micros",
        ),
        (
            lambda schema: field_of(schema, "correlationId").update(type=["null", "double"]),
            None,  # null can be read, a double cannot: checked record by record
        ),
        (
            lambda schema: field_of(schema, "schedule").update(type={"type": "array", "items": "null"}),
            "schedule: null cannot be read as banking.events.common.InstallmentDue",
        ),
        (lambda schema: schema.update(name="LoanEvent"), "'banking.events.LoanEvent' is not a family of events"),
        (lambda schema: schema.update(namespace="test"), "'test.LoanTransactionEvent' is not a family of events"),
    ],
)  # fmt: skip
def test_a_schema_that_does_not_resolve_is_incompatible(change: Change, detail: str | None) -> None:
    """Whatever the record holds, and with the field that does not fit."""
    writer = changed_schema(change)
    record = raw_record(b"\x00\x00\x00\x00\x09" + b"\x00" * 400)
    failure = decode_failure(record, writers={WRITER_ID: writer})

    if detail is None:
        assert Reason.INVALID_EVENT == failure.reason
        return
    assert Reason.INCOMPATIBLE_SCHEMA == failure.reason
    assert failure.detail.startswith(detail)


SELF = '{"type": "record", "name": "ClientEvent", "fields": [{"name": "a", "type": ["null", "ClientEvent"]}]}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "5",
        '"string"',
        '"nothing"',
        '{"type": "record"}',
        '{"type": "record", "name": "A", "fields": 5}',
        '{"type": "record", "name": "A", "fields": [{"name": "x", "type": "Unknown"}]}',
        '{"type": "enum", "name": "A", "symbols": ["1"]}',
        '{"type": "bytes", "logicalType": "decimal", "precision": "x"}',
        '{"type": {"type": {"type": "string"}}}',
        'syntax = "proto3"; message A {}',
        "[" * 100_000,
        '{"type": "array", "items": ' * 20_000,
        SELF,
    ],
)
def test_an_invalid_avro_schema_is_incompatible(text: str) -> None:
    """A registry holds other languages too, and broken schemas: the record's failure, not the program's."""
    failure = decode_failure(raw_record(b"\x00\x00\x00\x00\x09\x02"), writers={WRITER_ID: parse_writer_schema(text)})

    assert Reason.INCOMPATIBLE_SCHEMA == failure.reason
    assert len(failure.detail) < 500


def test_a_schema_may_have_references() -> None:
    """A registry gives the schemas that a schema refers to beside it."""
    user = field_of(json.loads(reader_schema().text), "actor")["type"][1]
    text = reader_schema().text.replace(json.dumps(user, separators=(",", ":")), '"banking.events.common.User"', 1)
    with_reference = parse_writer_schema(text, (json.dumps(user),))
    self_contained = parse_writer_schema(reader_schema().text)

    assert parse_writer_schema(text).error
    assert golden_event(customFields={"LOAN:A": "x"}) == decode_with(
        raw_record(write_example(self_contained)), writers={WRITER_ID: with_reference}
    )


def test_a_renamed_field_is_found_by_its_old_name(tmp_path: Path) -> None:
    """In Avro and in JSON, when the new name is not there; beside the new one the old name is a field unknown to us."""
    folder = tmp_path / "schemas"
    shutil.copytree(shipped_schemas(), folder)
    product = folder / "events" / "banking.events.common.Product.avsc"
    schema = json.loads(product.read_text())
    field_of(schema, "name").update(name="title", aliases=["label", "name"])
    product.write_text(json.dumps(schema))
    ours = load_schemas(folder)
    in_json = golden_json("event.LOAN_REPAYMENT")
    record = raw_record(write_example(parse_writer_schema(reader_schema().text)))
    by_avro = decode(
        record, schemas=ours, schema_of=lambda _: parse_writer_schema(reader_schema().text), max_event_bytes=1_000_000
    )
    by_json = event_from_json(in_json, ours)
    both = event_from_json(changed(in_json, {"account.product.title": "New"}), ours)

    assert ["Home improvement loan", "Home improvement loan", "New"] == [
        event.fields["account"]["product"]["title"] for event in (by_avro, by_json, both) if isinstance(event, Event)
    ]
