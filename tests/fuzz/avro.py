"""Avro as other producers may write it: by an older or newer schema, in many blocks, with numbers longer than needed.

A writer of our own, because fastavro's always writes the one usual form of a value.
https://avro.apache.org/docs/1.12.0/specification/ , "Binary Encoding".
"""

import json
import random
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from processor.wire.scalars import EXACT
from processor.wire.schema import (
    Array,
    DecimalBytes,
    Enum,
    Fixed,
    Map,
    ReaderSchema,
    Record,
    Recursive,
    Scalar,
    Type,
    Union,
    WriterSchema,
    is_null,
    writer_schema,
)
from tests.mapping.wire import long

Json = dict[str, Any]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_DAY: Final = date(1970, 1, 1)


def avro_bytes(type_: Type, value: Any, dice: random.Random | None = None) -> bytes:
    """The bytes of `value`, a decoded one, by a writer's type. What it lacks, or has of another type, is
    written as the least value of its type.

    With `dice` the form is drawn: arrays and maps in blocks with or without their sizes, decimals and lengths of more
    bytes than needed. The value that is read is the same.
    """
    made = bytearray()
    _Writer(made, dice).write(type_, value)
    return bytes(made)


class _Writer:
    def __init__(self, made: bytearray, dice: random.Random | None) -> None:
        self.made = made
        self.dice = dice

    def odd(self) -> bool:
        """Whether an unusual form is written here."""
        return self.dice is not None and self.dice.random() < 0.1

    def long(self, number: int) -> None:
        """A number, now and then with a needless byte."""
        written = long(number)
        if len(written) < 9 and self.odd():
            written = written[:-1] + bytes((written[-1] | 0x80, 0))
        self.made += written

    def sized(self, data: bytes) -> None:
        """A length, and so many bytes."""
        self.long(len(data))
        self.made += data

    def write(self, type_: Type, value: Any) -> None:
        """One value."""
        match type_:
            case Scalar():
                self._scalar(type_.kind, value)
            case DecimalBytes():
                number = int((value if isinstance(value, Decimal) else Decimal(0)).scaleb(type_.scale, EXACT))
                more = 40 if self.odd() else 0
                self.sized(number.to_bytes(number.bit_length() // 8 + 1 + more, "big", signed=True))
            case Fixed():
                self.made += bytes(type_.size)
            case Enum():
                self.long(type_.symbols.index(value) if isinstance(value, str) and value in type_.symbols else 0)
            case Array():
                self._blocks(value if isinstance(value, list) else (), lambda item: self.write(type_.items, item))
            case Map():

                def entry(pair: tuple[str, Any]) -> None:
                    self.sized(pair[0].encode())
                    self.write(type_.values, pair[1])

                self._blocks(value.items() if isinstance(value, dict) else (), entry)
            case Union():
                at = next((at for at, branch in enumerate(type_.branches) if _is_of(branch, value)), 0)
                self.long(at)
                self.write(type_.branches[at], value)
            case Recursive():
                self.write(type_.definition, value)
            case Record():
                given = value if isinstance(value, Mapping) else {}
                for field in type_.fields:
                    if field.name in given or self.dice is None:
                        self.write(field.type, given.get(field.name))
                    else:
                        (levels,) = self.dice.choices((1, 3, 40, 70), (60, 20, 19, 1))  # 64 are read
                        self.write(field.type, _unknown_value(field.type, self.dice, levels=levels))

    def _blocks(self, items: Iterable[Any], write: Callable[[Any], None]) -> None:
        left = list(items)
        while left:
            count = self.dice.choice((1, 2, len(left))) if self.odd() and self.dice else len(left)
            block, left = left[:count], left[count:]
            if not self.odd():
                self.long(len(block))
                for item in block:
                    write(item)
                continue
            within, self.made = self.made, bytearray()
            for item in block:
                write(item)
            written, self.made = self.made, within
            self.long(-len(block))
            self.sized(bytes(written))
        self.long(0)

    def _scalar(self, kind: str, value: Any) -> None:
        match kind:
            case "null":
                pass
            case "boolean":
                self.made.append(bool(value))
            case "float" | "double":
                self.made += bytes(4 if kind == "float" else 8)
            case "bytes" | "string":
                self.sized((value if isinstance(value, str) else "").encode())
            case "uuid":
                self.sized((value if isinstance(value, str) else "00000000-0000-4000-8000-000000000000").encode())
            case "date":
                self.long(((value if type(value) is date else _FIRST_DAY) - _FIRST_DAY).days)
            case "timestamp-micros":
                self.long(((value if isinstance(value, datetime) else _EPOCH) - _EPOCH) // timedelta(microseconds=1))
            case _:
                self.long(value if isinstance(value, int) else 0)


def _unknown_value(type_: Type, dice: random.Random, *, levels: int) -> Any:
    """A value for a field that ours does not have, with so many levels where it contains itself."""
    match type_:
        case Union():
            return _unknown_value(type_.branches[-1], dice, levels=levels) if levels else None
        case Recursive():
            return _unknown_value(type_.definition, dice, levels=levels - 1)
        case Record():
            return {field.name: _unknown_value(field.type, dice, levels=levels) for field in type_.fields}
        case Array():
            return [None] * dice.choice((0, 1, 1_000))
        case Map():
            return {"a": None, "b": None}
        case _:
            return None


def _is_of(branch: Type, value: Any) -> bool:
    """Whether this is the branch of a decoded value. A datetime is a date, and a bool an int, so order matters."""
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


def other_writers(schema: ReaderSchema, dice: random.Random, *, count: int) -> list[WriterSchema]:
    """Schemas of producers that do not use today's: each has fewer, more or other fields, and resolves to `schema`."""
    return [writer_schema(json.dumps(_changed(json.loads(schema.text), dice))) for _ in range(count)]


def odd_writers(schema: ReaderSchema, dice: random.Random, *, count: int) -> list[WriterSchema]:
    """Schemas that are Avro and do not, or not wholly, become `schema`: some fields have other types."""
    made = []
    for _ in range(count):
        changed = _changed(json.loads(schema.text), dice)
        for record in dice.sample(list(_records(changed)), 2):
            _retyped(record, dice)
        made.append(writer_schema(json.dumps(changed)))
    return made


def _changed(schema: Json, dice: random.Random) -> Json:
    """Some of the ways in which a schema may differ and still be read."""
    ways = dice.sample((_shorter, _reordered, _longer, _as_bytes, _more_symbols), dice.randint(1, 3))
    for record in list(_records(schema)):
        for way in ways:
            way(record, dice)
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


def _shorter(record: Json, dice: random.Random) -> None:
    """An older schema: optional fields that it does not have yet, but those in which a shared record is defined."""
    record["fields"] = [
        field
        for field in record["fields"]
        if "default" not in field or dice.random() > 0.3 or next(iter(_records(field["type"])), None) is not None
    ]


def _reordered(record: Json, dice: random.Random) -> None:
    """Fields in another order, where each record still stands in full before it is named."""
    plain = [
        at for at, field in enumerate(record["fields"]) if isinstance(field["type"], str) and "." not in field["type"]
    ]
    drawn = dice.sample(plain, len(plain))
    fields = list(record["fields"])
    for at, other in zip(plain, drawn, strict=True):
        fields[at] = record["fields"][other]
    record["fields"] = fields


def _longer(record: Json, dice: random.Random) -> None:
    """A newer schema: fields that ours does not have."""
    number = dice.randrange(10**9)
    added = dice.choice(
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
    record["fields"].insert(dice.randint(0, len(record["fields"])), {"name": f"added{number}", **added})


def _retyped(record: Json, dice: random.Random) -> None:
    """One field of a record that holds no record is of another type, wholly or in one of its branches."""
    plain = [field for field in record["fields"] if next(iter(_records(field["type"])), None) is None]
    if not plain:  # an older schema may have none of them yet
        return
    number = dice.randrange(10**9)
    dice.choice(plain)["type"] = dice.choice(
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


def _as_bytes(record: Json, dice: random.Random) -> None:
    """Texts written as bytes, which Avro reads as texts."""
    for field in record["fields"]:
        if field["type"] == ["null", "string"] and dice.random() < 0.5:
            field["type"] = ["null", "bytes"]
        elif field["type"] == "string" and dice.random() < 0.3:
            field["type"] = "bytes"


def _more_symbols(record: Json, _dice: random.Random) -> None:
    """Symbols that ours does not have, before and behind those that it has; the others' indexes move."""
    for field in record["fields"]:
        if isinstance(field["type"], dict) and field["type"].get("type") == "enum":
            field["type"]["symbols"] = ["FIRST_OF_ANOTHER", *field["type"]["symbols"], "LAST_OF_ANOTHER"]
