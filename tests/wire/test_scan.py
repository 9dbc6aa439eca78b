"""Scan programs: for any bytes nothing, or exactly what the reader of values gives."""

import json
import random
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.domain.catalogue import FAMILIES
from processor.domain.record import EventName
from processor.shipped import sample
from processor.wire.avro_reader import read_avro
from processor.wire.encode import encode_event
from processor.wire.errors import ContentError
from processor.wire.framing import FRAME_BYTES
from processor.wire.native_scan import native_scan
from processor.wire.plain_scan import plain_scan
from processor.wire.reader_schemas import ReaderSchema
from processor.wire.scan_program import MAX_SYMBOLS, NotPlannedError, Path, scan_program
from processor.wire.schema import Record, Type, Union, WriterSchema
from processor.wire.schema_parser import parse_schema
from processor.wire.slot_values import Slots, value_reader
from processor.wire.wire_format import WireFormat
from tests.support.executors import native_in_use
from tests.support.laws import examples
from tests.support.wire import (
    SCHEMAS,
    changed_schema,
    events_of,
    field_of,
    golden_avro,
    golden_event,
    reader_schema,
    varint,
)
from tests.wire.test_decode_evolution import EXTRAS, account_of, add, without, write_example
from tests.wire.test_decode_mutated import MUTATIONS, valid_avro

pytestmark = pytest.mark.usefixtures("executor")
MISSING: Final = object()


def leaf_paths(type_: Type, path: Path = ()) -> Iterator[Path]:
    """Paths to all values of a record that are no records."""
    inner = type_.nullable or type_ if isinstance(type_, Union) else type_
    if not isinstance(inner, Record):
        yield path
        return
    for field in inner.fields:
        yield from leaf_paths(field.type, (*path, field.name))


class Scanned:
    """A program over all values, or over `wanted`, and how they are read back."""

    def __init__(self, writer: Type, reader: Record, wanted: tuple[Path, ...] = ()) -> None:
        self.wanted = wanted or tuple(leaf_paths(reader))
        program = scan_program(writer, reader, self.wanted)
        native = native_in_use()
        self._scan = plain_scan(program) if native is None else native_scan(program, native)
        self._values = {path: value_reader(program.places[path]) for path in self.wanted}

    def slots(self, data: bytes, at: int = FRAME_BYTES) -> Slots | None:
        """None: refused."""
        return self._scan(data, at)

    def values(self, data: bytes) -> dict[Path, Any] | None:
        """By path."""
        slots = self.slots(data)
        return None if slots is None else {path: read(slots) for path, read in self._values.items()}


def of_family(name: str) -> Scanned:
    """Of a family's own schema."""
    return _of_family(name, native_in_use() is not None)


@cache
def _of_family(name: str, _is_native: bool) -> Scanned:
    schema = SCHEMAS.families[FAMILIES[name].record]
    return Scanned(schema.type, schema.type)


def value_at(path: Path, fields: Any) -> Any:
    """By hand."""
    for step in path:
        if fields is None:
            return None
        fields = fields[step]
    return fields


def family_of(data: bytes) -> ReaderSchema:
    """By the id in its frame."""
    return next(schema for schema in SCHEMAS.families.values() if data.startswith(schema.frame))


def read_or_none(data: bytes, writer: Type, reader: Record) -> Any:
    """The verdict that counts."""
    try:
        return read_avro(data, FRAME_BYTES, writer, reader)
    except ContentError:
        return None


def check_equal(scanned: Scanned, data: bytes, writer: Type, reader: Record) -> bool:
    """Whether it was accepted: then the values are those of the reader."""
    found = scanned.values(data)
    if found is None:
        return False
    fields = read_or_none(data, writer, reader)
    assert fields is not None, data.hex()
    assert {path: value_at(path, fields) for path in scanned.wanted} == found
    return True


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=examples(40), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_event_of_a_family(family: str, data: st.DataObject) -> None:
    """Accepted or not, never another value."""
    schema = SCHEMAS.families[FAMILIES[family].record]
    fields = data.draw(events_of(schema))
    value, _ = encode_event(fields, SCHEMAS, format=WireFormat.AVRO)

    check_equal(of_family(family), value, schema.type, schema.type)


@pytest.mark.parametrize("event", SCHEMAS.by_event)
def test_each_sample_is_accepted(event: EventName) -> None:
    """Ordinary events are not left to the reader of values."""
    from processor.wire.decode import event_from_json  # noqa: PLC0415

    decoded = event_from_json(sample(event), SCHEMAS)
    value, _ = encode_event(decoded.fields, SCHEMAS, format=WireFormat.AVRO)  # type: ignore[union-attr]
    schema = SCHEMAS.by_event[event]

    assert check_equal(of_family(decoded.family), value, schema.type, schema.type)  # type: ignore[union-attr]


@pytest.mark.parametrize("mutate", MUTATIONS)
@settings(max_examples=examples(400), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_broken_bytes(mutate: Callable[..., bytes], data: st.DataObject) -> None:
    """What is accepted is a record."""
    corpus = valid_avro()
    value = mutate(data, data.draw(st.sampled_from(corpus)), corpus)
    try:
        schema = family_of(value)
    except StopIteration:
        return
    family = next(family.name for family in FAMILIES.values() if family.record == schema.name)
    check_equal(of_family(family), value, schema.type, schema.type)


# ---------------------------------------------------------------------------------------------------------------------
# Other writers


def evolved(writer: WriterSchema) -> Scanned:
    """Of LOAN_REPAYMENT's family."""
    assert writer.type is not None
    return Scanned(writer.type, reader_schema().type)


@pytest.mark.parametrize("at", [6, 12], ids=["middle", "end"])
def test_unknown_fields_are_passed(at: int) -> None:
    """A newer writer's fields of any type, in the middle or at the end: by one schema, as each takes long to plan."""

    def add_all(schema: dict[str, Any]) -> None:
        for number, (type_, _) in enumerate(EXTRAS):
            add(schema, at + number, f"new{number}", type_)

    writer = changed_schema(add_all)
    assert writer.type is not None
    value = write_example(writer, **{f"new{number}": value for number, (_, value) in enumerate(EXTRAS)})

    assert check_equal(evolved(writer), value, writer.type, reader_schema().type)


def rename(schema: dict[str, Any], _: Any = None) -> None:
    """The reader has no alias for it: as a field that is new and one that is absent."""
    field_of(account_of(schema), "state")["name"] = "status"


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "without schedule": lambda schema: without(schema, "schedule"),
    "without an optional record": lambda schema: without(schema, "branch"),
    "without custom fields": lambda schema: without(schema, "customFields"),
    "another order": lambda schema: schema["fields"].insert(12, schema["fields"].pop(0)),
    "a nested field less": lambda schema: without(account_of(schema), "state"),
    "a nested field renamed": rename,
    "not nullable": lambda schema: field_of(schema, "correlationId").update(type="string", default=""),
    "nullable and not so in ours": lambda schema: field_of(schema, "tenant").update(type=["null", "string"]),
    "null last": lambda schema: field_of(schema, "correlationId").update(type=["string", "null"], default="x"),
    "text as bytes": lambda schema: field_of(account_of(schema), "id").update(type="bytes"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_writers_of_other_versions(change: Callable[[dict[str, Any]], object]) -> None:
    """Fields moved, removed, renamed, promoted."""
    writer = changed_schema(change)
    assert writer.type is not None
    fields: dict[str, Any] = {"correlationId": "a correlation"}
    if "status" in writer.text:
        fields["account"] = {**golden_event().fields["account"], "status": "ACTIVE"}
    if change is CHANGES["text as bytes"]:
        fields["account"] = {**golden_event().fields["account"], "id": b"LN-1"}

    assert check_equal(evolved(writer), write_example(writer, **fields), writer.type, reader_schema().type)


@pytest.mark.parametrize(
    ("kind", "ordinary", "rare"),
    [
        (
            "date",
            (0, -1, 63, -64, 8_191, -8_192, 2**20 - 1, -712_500),
            (2**20, -719_162, -719_163, -(2**20), 2_932_896, 2_932_897, 2**31 - 1, -(2**31)),
        ),
        (
            "timestamp-micros",
            (0, -1, 2**48, 2**55 - 1, -(2**55)),
            (2**55, 253_402_300_799_999_999, 253_402_300_800_000_000, -62_135_596_800_000_001, 2**63 - 1, -(2**63)),
        ),
    ],
    ids=["date", "timestamp-micros"],
)
def test_days_and_times_at_their_limits(kind: str, ordinary: tuple[int, ...], rare: tuple[int, ...]) -> None:
    """Beyond the years 1 to 9999 there are none; ordinary ones are accepted."""
    base = "int" if kind == "date" else "long"
    schema = {"type": "record", "name": "R", "fields": [{"name": "x", "type": {"type": base, "logicalType": kind}}]}
    _, type_ = parse_schema(json.dumps(schema))
    assert isinstance(type_, Record)
    scanned = Scanned(type_, type_)
    data = {number: bytes(FRAME_BYTES) + varint(number) for number in (*ordinary, *rare)}

    assert {*ordinary} <= {number for number in data if check_equal(scanned, data[number], type_, type_)}


@pytest.mark.parametrize(("number", "accepted"), [(2**31 - 1, True), (-(2**31), True), (2**31, False)])
def test_a_number_that_is_promoted(number: int, accepted: bool) -> None:
    """Has the range of what its writer declares."""
    _, writer = parse_schema('{"type": "record", "name": "R", "fields": [{"name": "x", "type": "int"}]}')
    _, reader = parse_schema('{"type": "record", "name": "R", "fields": [{"name": "x", "type": "long"}]}')
    assert isinstance(reader, Record)
    scanned = Scanned(writer, reader)

    assert accepted == (scanned.slots(varint(number), 0) is not None)
    assert accepted == (read_or_none(bytes(FRAME_BYTES) + varint(number), writer, reader) is not None)


SHIFTED: Final = b"\x06\x04AB"  # of an int and a text: 3, "AB"; behind one byte that is left: of "\x04AB"


def record_of(*fields: tuple[str, Any]) -> Record:
    """A record with fields of these names and types."""
    declared = [{"name": name, "type": type_} for name, type_ in fields]
    _, type_ = parse_schema(json.dumps({"type": "record", "name": "R", "fields": declared}))
    assert isinstance(type_, Record)
    return type_


def test_a_branch_with_an_index_of_two_bytes() -> None:
    """Of a map's values: the second byte is no value."""
    records = [{"type": "record", "name": f"R{number}", "fields": []} for number in range(64)]
    behind = ("n", "int"), ("text", "string")
    writer = record_of(("values", {"type": "map", "values": [*records, "boolean"]}), *behind)
    reader = record_of(("values", {"type": "map", "values": ["null", "boolean"]}), *behind)
    value = bytes(FRAME_BYTES) + b"\x02\x02a" + varint(64) + b"\x00" + b"\x00" + SHIFTED

    assert check_equal(Scanned(writer, reader), value, writer, reader)


BIG: Final[dict[str, Any]] = {
    "type": "enum",
    "name": "Big",
    "symbols": [f"S{number}" for number in range(MAX_SYMBOLS + 1)],
}


def test_a_symbol_with_an_index_of_three_bytes() -> None:
    """Has no program: the third byte is no value."""
    behind = ("n", "int"), ("text", "string")
    writer, reader = record_of(("big", BIG), *behind), record_of(*behind)
    value = bytes(FRAME_BYTES) + varint(MAX_SYMBOLS) + SHIFTED
    assert {"n": 3, "text": "AB"} == read_or_none(value, writer, reader)

    with pytest.raises(NotPlannedError, match="symbols"):
        check_equal(Scanned(writer, reader), value, writer, reader)


@pytest.mark.parametrize("type_", ["string", {**BIG, "symbols": BIG["symbols"][:-1]}], ids=["texts", "symbols"])
def test_a_schema_that_takes_too_long(type_: Any) -> None:
    """Is not planned, as its expression would take gigabytes."""

    def add_many(schema: dict[str, Any]) -> None:
        add(schema, 12, "new0", type_)
        for number in range(1, 400):
            add(schema, 12 + number, f"new{number}", type_ if isinstance(type_, str) else type_["name"])

    writer = changed_schema(add_many)
    assert writer.type is not None

    with pytest.raises(NotPlannedError, match="too many texts"):
        scan_program(writer.type, reader_schema().type, ())


def test_schemas_that_cannot_be_resolved() -> None:
    """There is no program."""
    writer = changed_schema(lambda schema: without(schema, "tenant"))
    assert writer.type is not None

    with pytest.raises(NotPlannedError, match="tenant"):
        scan_program(writer.type, reader_schema().type, ())


@pytest.mark.parametrize(
    ("name", "type_"), [("encodedKey", ["string", "bytes"]), ("encodedKey", ["string"]), ("id", ["string", "bytes"])]
)
def test_a_text_by_a_union_of_several(name: str, type_: list[str]) -> None:
    """One with a format has no program, which would not check it; any other is read as a whole."""
    writer = changed_schema(lambda schema: field_of(account_of(schema), name).update(type=type_))
    assert writer.type is not None
    account = {**golden_event().fields["account"], name: "no key"}
    value = write_example(writer, account=account)
    if name == "encodedKey":
        assert read_or_none(value, writer.type, reader_schema().type) is None
        with pytest.raises(NotPlannedError, match=r"account\.encodedKey is a key"):
            evolved(writer)
    else:
        assert check_equal(evolved(writer), value, writer.type, reader_schema().type)


def test_a_path_that_leads_nowhere() -> None:
    """Has no place."""
    program = scan_program(reader_schema().type, reader_schema().type, [("account", "colour"), ("account", "id")])

    assert [("account", "id")] == list(program.places)


def test_whole_records() -> None:
    """A path to a record gives its fields, also of one with an array in it, and of one that is missing."""
    schema, paths = reader_schema(), (("client",), ("client", "id"), ("group",), ("account", "loan"))
    client, group = golden_event().fields, {**golden_event().fields, "client": None}
    group["group"] = {
        **dict.fromkeys(("emailAddress", "mobilePhone", "language", "state", "creditOfficer")),
        "encodedKey": 32 * "a",
        "id": "G-1",
        "name": "Group",
        "members": [{"role": None, "client": client["client"]}],
    }
    scanned = Scanned(schema.type, schema.type, paths)
    for fields in (client, group):
        value, _ = encode_event(fields, SCHEMAS, format=WireFormat.AVRO)
        assert check_equal(scanned, value, schema.type, schema.type)


# ---------------------------------------------------------------------------------------------------------------------
# Edges


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        ({"correlationId": "x" * 63}, True),
        ({"correlationId": "x" * 64}, True),
        ({"correlationId": "é" * 64}, True),
        ({"correlationId": "x" * 255}, True),
        ({"correlationId": "x" * 256}, "native"),
        ({"correlationId": "é" * 4_095}, "native"),
        ({"correlationId": "x" * 8_192}, False),
        ({"correlationId": ""}, True),
        ({"customFields": {}}, True),
        ({"customFields": {f"LOAN:F{number}": "x" for number in range(63)}}, True),
        ({"customFields": {f"LOAN:F{number}": "x" for number in range(64)}}, True),
        ({"customFields": {"LOAN:Ä": "ö", "LOAN:B": True, "LOAN:C": None}}, True),
    ],
)
def test_lengths_at_their_limits(change: dict[str, Any], accepted: bool | str) -> None:
    """Lengths of one byte and of two. An expression has an alternative for each length, so it has fewer of them."""
    accepted = native_in_use() is not None if accepted == "native" else accepted
    schema = reader_schema()
    value, _ = encode_event({**golden_event().fields, **change}, SCHEMAS, format=WireFormat.AVRO)

    assert accepted == check_equal(of_family("loan_transaction"), value, schema.type, schema.type)


@pytest.mark.parametrize("at", [0, 7, 8, 15, 16, 31])
def test_digits_of_a_key(at: int) -> None:
    """Those of its hexadecimal digits that are just beyond the range, and letters in capitals: any place counts."""
    scanned, key = of_family("loan_transaction"), golden_event().fields["account"]["encodedKey"].encode()
    value, _ = encode_event(golden_event().fields, SCHEMAS, format=WireFormat.AVRO)
    digits = [bytes([byte]) for byte in range(256)]
    accepted = {
        digit for digit in digits if scanned.slots(value.replace(key, key[:at] + digit + key[at + 1 :])) is not None
    }

    assert set(map(str.encode, "0123456789abcdef")) == accepted


def test_a_broken_text_before_a_long_one() -> None:
    """A text that ends in the middle of a letter is refused, though the length of the next one would complete it."""
    fields = {**golden_event().fields, "correlationId": "caf\u00e9"}
    fields["account"] = {**fields["account"], "name": "x" * 64}
    value, _ = encode_event(fields, SCHEMAS, format=WireFormat.AVRO)
    broken = value.replace("caf\u00e9".encode(), b"cafe\xc3")
    assert value != broken

    assert of_family("loan_transaction").slots(value) is not None
    assert of_family("loan_transaction").slots(broken) is None


def test_a_key_that_occurs_twice() -> None:
    """A map is read to its end only when its keys differ."""
    value, _ = encode_event(
        {**golden_event().fields, "customFields": {"LOAN:A": "x", "LOAN:B": "x"}}, SCHEMAS, format=WireFormat.AVRO
    )

    assert of_family("loan_transaction").slots(value) is not None
    assert of_family("loan_transaction").slots(value.replace(b"LOAN:B", b"LOAN:A")) is None


def test_nothing_is_kept_but_what_is_wanted() -> None:
    """Texts are kept to be checked; a number nobody wants is not."""
    schema = reader_schema()
    everything, few = of_family("loan_transaction"), Scanned(schema.type, schema.type, (("eventId",),))
    value = golden_avro()
    all_slots, few_slots = everything.slots(value), few.slots(value)

    assert all_slots is not None and few_slots is not None
    assert len(few_slots) < len(all_slots)
    assert {("eventId",): golden_event().id} == few.values(value)


def test_bytes_that_are_cut() -> None:
    """At each place, and with each byte too much: refused."""
    value, scanned = golden_avro(), of_family("loan_transaction")
    rng = random.Random(1)

    assert [] == [at for at in range(FRAME_BYTES, len(value)) if scanned.slots(value[:at]) is not None]
    assert scanned.slots(value + bytes([rng.randrange(256)])) is None
