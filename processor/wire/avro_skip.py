"""Fields of a writer that the reader does not have: skipped, with the same checks of lengths, counts and indexes.

A value that is nested over MAX_LEVELS deep, as a recursive record's may be, is an invalid event. Values without bytes
take no time, however many of them a schema has.
"""

from typing import Any, Final

from processor.wire.avro_binary import Cursor, Read, map_reader, read_blocks
from processor.wire.errors import ContentError, quote_name
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
    min_size_bytes,
)
from processor.wire.schema_parser import MAX_LEVELS

Plans = dict[tuple[Type, Type | None], "Read | ContentError | None"]
"""Readers of one writer's records: by (writer, reader), or by (writer, None) where the record is skipped. The error
where the two cannot be resolved; None while a reader is being built.

A record that is named in many places is resolved once; else a short schema could take for ever.
"""

_SCALARS: Final[dict[str, Read]] = {
    "null": lambda _: None,
    "boolean": Cursor.read_boolean,
    "int": Cursor.read_int,
    "date": Cursor.read_int,
    "float": lambda cursor: cursor.read(4),
    "double": lambda cursor: cursor.read(8),
    "bytes": Cursor.read_bytes,
    "string": Cursor.read_bytes,
    "uuid": Cursor.read_bytes,
}


def skipper(writer: Type, plans: Plans) -> Read:
    """Reads past a value of `writer`. Texts are not checked to be UTF-8, but for the keys of maps."""
    if min_size_bytes(writer) == 0:
        return lambda _: None
    match writer:
        case Scalar():
            return _SCALARS.get(writer.kind, Cursor.read_long)
        case DecimalBytes():
            return Cursor.read_bytes
        case Fixed():
            size = writer.size
            return lambda cursor: cursor.read(size)
        case Enum():
            return _skip_symbol(len(writer.symbols))
        case Array():
            return _one_level_deeper(_skip_array(writer.items, plans))
        case Map():
            return _one_level_deeper(map_reader(skipper(writer.values, plans)))
        case Union():
            return _skip_union(writer, plans)
        case Record():
            return _skip_record(writer, plans)
        case Recursive():
            return _skip_recursive(writer, plans)


def _skip_symbol(symbol_count: int) -> Read:
    """Only the number is kept: one enum of many symbols may be named by many fields."""

    def read(cursor: Cursor) -> None:
        index = cursor.read_long()
        if not 0 <= index < symbol_count:
            raise ContentError(f"symbol {index} of an enum of {symbol_count}")

    return read


def _skip_array(items: Type, plans: Plans) -> Read:
    min_item_bytes, read_item = min_size_bytes(items), skipper(items, plans)

    def read_items(cursor: Cursor, count: int) -> None:
        for number in range(count):
            try:
                read_item(cursor)
            except ContentError as error:
                raise error.at(f"[{number}]") from None

    def read_nothing(_: Cursor, _count: int) -> None:
        """Items without bytes take no time, however many there are."""

    return lambda cursor: read_blocks(cursor, min_item_bytes, read_items if min_item_bytes else read_nothing)


def _skip_union(writer: Union, plans: Plans) -> Read:
    branches = [skipper(branch, plans) for branch in writer.branches]

    def read(cursor: Cursor) -> Any:
        index = cursor.read_long()
        if not 0 <= index < len(branches):
            raise ContentError(f"branch {index} of a union of {len(branches)}")
        return branches[index](cursor)

    return read


def _skip_record(writer: Record, plans: Plans) -> Read:
    plan = plans.get((writer, None))
    if callable(plan):
        return plan
    plans[writer, None] = None
    fields = [
        (quote_name(field.name), skipper(field.type, plans)) for field in writer.fields if min_size_bytes(field.type)
    ]

    def read(cursor: Cursor) -> None:
        name = ""
        try:
            for name, step in fields:  # noqa: B007  the error needs the name
                step(cursor)
        except ContentError as error:
            raise error.at(name) from None

    plans[writer, None] = plan = _one_level_deeper(read)
    return plan


def _skip_recursive(writer: Recursive, plans: Plans) -> Read:
    record = writer.definition
    if (record, None) not in plans:
        skipper(record, plans)

    def read(cursor: Cursor) -> Any:
        plan = plans[record, None]
        assert callable(plan)
        return plan(cursor)

    return read


def _one_level_deeper(read: Read) -> Read:
    def read_deeper(cursor: Cursor) -> None:
        if cursor.levels >= MAX_LEVELS:
            raise ContentError(f"nested over {MAX_LEVELS} levels")
        cursor.levels += 1
        read(cursor)
        cursor.levels -= 1

    return read_deeper
