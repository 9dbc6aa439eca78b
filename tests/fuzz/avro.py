"""Avro as other producers may write it: by an older or newer schema, in many blocks, with numbers longer than needed.

Its own writer, because fastavro's always writes the usual encoding of a value.
https://avro.apache.org/docs/1.12.0/specification/ , "Binary Encoding".
"""

import json
import random
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from processor.wire.reader_schemas import ReaderSchema
from processor.wire.scalars import EXACT
from processor.wire.schema import (
    Array,
    DecimalBytes,
    Enum,
    Fixed,
    Map,
    Record,
    Recursive,
    Scalar,
    Type,
    Union,
    WriterSchema,
    is_null,
)
from processor.wire.schema_parser import parse_writer_schema
from tests.support.wire import varint

Json = dict[str, Any]

FORMER: Final = "former_"
"""Before a field's name it is what an older writer calls that field, where the reader has an alias for it."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_DAY: Final = date(1970, 1, 1)


def avro_bytes(type_: Type, value: Any, rng: random.Random | None = None) -> bytes:
    """The bytes of `value`, a decoded one, by a writer's type. What it lacks, or has of another type, is
    written as the least value of its type.

    With `rng` the encoding is drawn: arrays and maps in blocks with or without their sizes, decimals and lengths of
    more bytes than needed. The value that is read is the same.
    """
    buffer = bytearray()
    _Writer(buffer, rng).write(type_, value)
    return bytes(buffer)


class _Writer:
    def __init__(self, buffer: bytearray, rng: random.Random | None) -> None:
        self.buffer = buffer
        self.rng = rng

    def odd(self) -> bool:
        """Whether an unusual encoding comes next."""
        return self.rng is not None and self.rng.random() < 0.1

    def varint(self, number: int) -> None:
        """A number, sometimes with a redundant byte."""
        written = varint(number)
        if len(written) < 9 and self.odd():
            written = written[:-1] + bytes((written[-1] | 0x80, 0))
        self.buffer += written

    def sized(self, data: bytes) -> None:
        """A length, and that many bytes."""
        self.varint(len(data))
        self.buffer += data

    def write(self, type_: Type, value: Any) -> None:
        """One value."""
        match type_:
            case Scalar():
                self._scalar(type_.kind, value)
            case DecimalBytes():
                self._decimal(type_, value if isinstance(value, Decimal) else Decimal(0))
            case Fixed():
                self.buffer += bytes(type_.size)
            case Enum():
                self.varint(type_.symbols.index(value) if isinstance(value, str) and value in type_.symbols else 0)
            case Array():
                self._blocks(value if isinstance(value, list) else (), lambda item: self.write(type_.items, item))
            case Map():
                self._blocks(value.items() if isinstance(value, dict) else (), lambda pair: self._entry(type_, pair))
            case Union():
                at = next((at for at, branch in enumerate(type_.branches) if _matches(branch, value)), 0)
                self.varint(at)
                self.write(type_.branches[at], value)
            case Recursive():
                self.write(type_.definition, value)
            case Record():
                self._record(type_, value if isinstance(value, Mapping) else {})

    def _decimal(self, type_: DecimalBytes, value: Decimal) -> None:
        number = int(value.scaleb(type_.scale, EXACT))
        more = 40 if self.odd() else 0
        self.sized(number.to_bytes(number.bit_length() // 8 + 1 + more, "big", signed=True))

    def _entry(self, type_: Map, pair: tuple[str, Any]) -> None:
        key, value = pair
        self.sized(key.encode())
        self.write(type_.values, value)

    def _record(self, type_: Record, values: Mapping[str, Any]) -> None:
        for field in type_.fields:
            name = field.name.removeprefix(FORMER)
            if name in values or self.rng is None:
                self.write(field.type, values.get(name))
            else:
                (levels,) = self.rng.choices((1, 3, 40, 70), (60, 20, 19, 1))  # 64 are read
                self.write(field.type, _unknown_value(field.type, self.rng, levels=levels))

    def _blocks(self, items: Iterable[Any], write: Callable[[Any], None]) -> None:
        remaining = list(items)
        while remaining:
            count = self.rng.choice((1, 2, len(remaining))) if self.odd() and self.rng else len(remaining)
            block, remaining = remaining[:count], remaining[count:]
            if not self.odd():
                self.varint(len(block))
                for item in block:
                    write(item)
                continue
            outer, self.buffer = self.buffer, bytearray()
            for item in block:
                write(item)
            block_bytes, self.buffer = self.buffer, outer
            self.varint(-len(block))
            self.sized(bytes(block_bytes))
        self.varint(0)

    def _scalar(self, kind: str, value: Any) -> None:
        match kind:
            case "null":
                pass
            case "boolean":
                self.buffer.append(bool(value))
            case "float" | "double":
                self.buffer += bytes(4 if kind == "float" else 8)
            case "bytes" | "string":
                self.sized((value if isinstance(value, str) else "").encode())
            case "uuid":
                self.sized((value if isinstance(value, str) else "00000000-0000-4000-8000-000000000000").encode())
            case "date":
                self.varint(((value if type(value) is date else _FIRST_DAY) - _FIRST_DAY).days)
            case "timestamp-micros":
                self.varint(((value if isinstance(value, datetime) else _EPOCH) - _EPOCH) // timedelta(microseconds=1))
            case _:
                self.varint(value if isinstance(value, int) else 0)


def broken_bytes(type_: Type, value: Any, rng: random.Random) -> bytes:
    """As `avro_bytes`, but for a few values that their types do not allow, or only just."""
    buffer = bytearray()
    _BrokenWriter(buffer, rng).write(type_, value)
    return bytes(buffer)


_BROKEN_SHARE: Final = 0.01  # of the values; an event has about a hundred


class _BrokenWriter(_Writer):
    def odd(self) -> bool:
        return False

    def write(self, type_: Type, value: Any) -> None:
        """One value, or something else in its place."""
        assert self.rng is not None
        if self.rng.random() > _BROKEN_SHARE:
            super().write(type_, value)
            return
        match type_:
            case Scalar() if type_.kind in _BROKEN_NUMBERS:
                self.buffer += self.rng.choice(_BROKEN_NUMBERS[type_.kind])
            case Scalar("string" | "bytes" | "uuid"):
                self.buffer += self.rng.choice(_BROKEN_TEXTS)
            case DecimalBytes():
                self.buffer += self.rng.choice(_BROKEN_DECIMALS)
            case Enum():
                self.varint(self.rng.choice((-1, len(type_.symbols), 2**40)))
            case Union():
                self.varint(self.rng.choice((-1, len(type_.branches))))
                self.write(type_.branches[-1], value)
            case Map() if isinstance(value, dict) and value:
                pairs = [*value.items()]
                self._blocks([*pairs, self.rng.choice(pairs)], lambda pair: self._entry(type_, pair))
            case _:
                super().write(type_, value)


def _broken_numbers(*numbers: int) -> tuple[bytes, ...]:
    """These, and encodings of no number or of a small one in more bytes than it needs."""
    return (*map(varint, numbers), b"\x80" * 9 + b"\x02", b"\xff" * 10 + b"\x01", b"\x80\x80\x00")


_BROKEN_NUMBERS: Final[Mapping[str, tuple[bytes, ...]]] = {  # kind -> at its bounds, and beyond
    "boolean": (b"\x02", b"\xff"),
    "int": _broken_numbers(2**31 - 1, 2**31, -(2**31), -(2**31) - 1),
    "long": _broken_numbers(2**63 - 1, -(2**63), 2**31),
    "date": _broken_numbers(2_932_896, 2_932_897, -719_162, -719_163, -(2**20), 2**31),
    "timestamp-micros": _broken_numbers(253_402_300_799_999_999, 253_402_300_800_000_000, -62_135_596_800_000_001),
}


def _sized(data: bytes) -> bytes:
    return varint(len(data)) + data


_BROKEN_TEXTS: Final = (
    *map(_sized, (b"", b"\xff", b"x\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"a" * 31, b"A" * 32, b"z" * 32, b"f" * 33)),
    *map(_sized, (b"0A6C8F5E-1111-4222-8333-444455556666", b"0a6c8f5e11114222833344445555666600", b"4111111111111111")),
    *(varint(-1), varint(2**40), b"\x82\x00x"),
)
_BROKEN_DECIMALS: Final = (
    *map(_sized, (b"", bytes(17), (10**38 - 1).to_bytes(16, "big"), (10**38).to_bytes(16, "big"))),
    *map(_sized, ((-(10**38)).to_bytes(16, "big", signed=True), b"\xff" * 40, b"\x80" + bytes(14))),
)


def _unknown_value(type_: Type, rng: random.Random, *, levels: int) -> Any:
    """A value for a field that the processor's schema does not have; `levels` deep where its type is recursive."""
    match type_:
        case Union():
            return _unknown_value(type_.branches[-1], rng, levels=levels) if levels else None
        case Recursive():
            return _unknown_value(type_.definition, rng, levels=levels - 1)
        case Record():
            return {field.name: _unknown_value(field.type, rng, levels=levels) for field in type_.fields}
        case Array():
            return [None] * rng.choice((0, 1, 1_000))
        case Map():
            return {"a": None, "b": None}
        case _:
            return None


def _matches(branch: Type, value: Any) -> bool:
    """Whether a decoded value is of this branch. A datetime is a date, and a bool an int, so order matters."""
    match value:
        case None:
            return is_null(branch)
        case bool():
            return isinstance(branch, Scalar) and branch.kind == "boolean"
        case str():
            return isinstance(branch, Enum) or (
                isinstance(branch, Scalar) and branch.kind in ("string", "bytes", "uuid")
            )
        case int():
            return isinstance(branch, Scalar) and branch.kind in ("int", "long")
        case Decimal():
            return isinstance(branch, DecimalBytes)
        case datetime():
            return isinstance(branch, Scalar) and branch.kind == "timestamp-micros"
        case date():
            return isinstance(branch, Scalar) and branch.kind == "date"
        case list() | tuple():
            return isinstance(branch, Array)
        case _:
            return isinstance(branch, Record | Recursive | Map)


# ---------------------------------------------------------------------------------------------------------------------
# Writers' schemas


def other_writers(schema: ReaderSchema, rng: random.Random, *, count: int) -> list[WriterSchema]:
    """Schemas of producers that do not use today's: each has fewer, more or other fields, and resolves to `schema`."""
    return [parse_writer_schema(json.dumps(_mutate_schema(json.loads(schema.text), rng))) for _ in range(count)]


def odd_writers(schema: ReaderSchema, rng: random.Random, *, count: int) -> list[WriterSchema]:
    """Schemas that are Avro and do not, or not wholly, become `schema`: some fields have other types."""
    writers = []
    for _ in range(count):
        changed = _mutate_schema(json.loads(schema.text), rng)
        for record in rng.sample(list(_records(changed)), 2):
            _change_type(record, rng)
        writers.append(parse_writer_schema(json.dumps(changed)))
    return writers


def _mutate_schema(schema: Json, rng: random.Random) -> Json:
    """Apply some of the changes after which a schema still resolves to the original."""
    changes = rng.sample(_CHANGES, rng.randint(1, 4))
    for record in list(_records(schema)):
        for change in changes:
            change(record, rng)
    return schema


def _records(schema: Any) -> Iterable[Json]:
    """All records of a schema's JSON, the outer one first."""
    if isinstance(schema, list):
        for branch in schema:
            yield from _records(branch)
    elif isinstance(schema, dict):
        if schema.get("type") == "record":
            yield schema
            for field in schema["fields"]:
                yield from _records(field["type"])
        else:
            for part in ("type", "items", "values"):
                yield from _records(schema.get(part))


def _remove_fields(record: Json, rng: random.Random) -> None:
    """As an older schema: without some optional fields, but with those in which a shared record is defined."""
    record["fields"] = [
        field
        for field in record["fields"]
        if "default" not in field or rng.random() > 0.3 or next(iter(_records(field["type"])), None) is not None
    ]


def _reorder_fields(record: Json, rng: random.Random) -> None:
    """Fields in another order, in which each record is still defined before it is referenced."""
    plain = [
        at for at, field in enumerate(record["fields"]) if isinstance(field["type"], str) and "." not in field["type"]
    ]
    drawn = rng.sample(plain, len(plain))
    fields = list(record["fields"])
    for at, other in zip(plain, drawn, strict=True):
        fields[at] = record["fields"][other]
    record["fields"] = fields


def _add_field(record: Json, rng: random.Random) -> None:
    """As a newer schema: with a field that the original does not have."""
    number = rng.randrange(10**9)
    added = rng.choice(
        (
            {"type": "double"},
            {"type": {"type": "fixed", "name": f"F{number}", "size": 7}},
            {"type": {"type": "array", "items": "null"}},
            {"type": {"type": "map", "values": ["null", "long", "bytes"]}},
            {"type": {"type": "enum", "name": f"E{number}", "symbols": ["A", "B"]}, "default": "B"},
            {"type": ["null", {"type": "record", "name": f"R{number}", "fields": [
                {"name": "again", "type": ["null", f"R{number}"]}, {"name": "note", "type": "string"}]}]},
        )
    )  # fmt: skip
    record["fields"].insert(rng.randint(0, len(record["fields"])), {"name": f"added{number}", **added})


def _rename_fields(record: Json, rng: random.Random) -> None:
    """Call some fields by an alias that the original has for them."""
    for field in record["fields"]:
        if field.get("aliases") and rng.random() < 0.5:
            field["name"] = field.pop("aliases")[0]


def _reorder_unions(record: Json, rng: random.Random) -> None:
    """Branches in another order, in which each record is still defined before it is referenced."""
    for field in record["fields"]:
        schema = field["type"]
        if isinstance(schema, dict) and isinstance(schema.get("values"), list):
            rng.shuffle(schema["values"])
        elif isinstance(schema, list) and "default" in field and rng.random() < 0.5:
            del field["default"]  # it is of the first branch, and the original has it too
            schema.reverse()


def _narrow_numbers(record: Json, rng: random.Random) -> None:
    """Declare some numbers as `int`, which Avro reads as `long`."""
    for field in record["fields"]:
        if field["type"] in ("long", ["null", "long"]) and rng.random() < 0.5:
            field["type"] = "int" if field["type"] == "long" else ["null", "int"]


def _change_type(record: Json, rng: random.Random) -> None:
    """Give another type, in whole or in one of its branches, to a field that contains no record."""
    plain = [field for field in record["fields"] if next(iter(_records(field["type"])), None) is None]
    if not plain:  # an older schema may have none of them yet
        return
    number = rng.randrange(10**9)
    rng.choice(plain)["type"] = rng.choice(
        (
            "int",
            ["null", "int"],
            ["null", "int", "string"],
            ["string", "null", "double"],
            {"type": "array", "items": "string"},
            {"type": "array", "items": "null"},
            {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 2},
            {"type": "fixed", "name": f"X{number}", "size": 4},
            {"type": "enum", "name": f"Y{number}", "symbols": ["LOAN", "DEPOSIT"]},
            {"type": "record", "name": f"Z{number}", "fields": []},
        )
    )


def _write_texts_as_bytes(record: Json, rng: random.Random) -> None:
    """Declare some texts as bytes, which Avro reads as texts."""
    for field in record["fields"]:
        if field["type"] == ["null", "string"] and rng.random() < 0.5:
            field["type"] = ["null", "bytes"]
        elif field["type"] == "string" and rng.random() < 0.3:
            field["type"] = "bytes"


def _add_symbols(record: Json, _dice: random.Random) -> None:
    """Add symbols before and after the original ones, whose indexes move."""
    for field in record["fields"]:
        if isinstance(field["type"], dict) and field["type"].get("type") == "enum":
            field["type"]["symbols"] = ["FIRST_OF_ANOTHER", *field["type"]["symbols"], "LAST_OF_ANOTHER"]


_CHANGES: Final[tuple[Callable[[Json, random.Random], None], ...]] = (
    *(_remove_fields, _reorder_fields, _add_field, _write_texts_as_bytes, _add_symbols),
    *(_rename_fields, _reorder_unions, _narrow_numbers),
)
