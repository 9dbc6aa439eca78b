"""Avro's binary form, read strictly: a plan is made once from the writer's and the reader's schema, and run for each
record. Pure.

Not fastavro's reader, because that accepts broken bytes as values: an enum index of -1 is its last symbol (another
event), a union index of -1 its last branch, a decimal of another scale keeps its digits, and no error names a field.
https://avro.apache.org/docs/1.12.0/specification/ ; tests compare this reader with fastavro's on good bytes.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from processor.domain.reasons import Reason
from processor.wire.avro_binary import Cursor, Read, map_reader, read_blocks
from processor.wire.avro_skip import Plans, skipper
from processor.wire.errors import ContentError, quote_name
from processor.wire.scalars import (
    TextCheck,
    date_from_days,
    decimal_from_unscaled,
    default_value,
    parse_uuid,
    text_check,
    timestamp_from_micros,
    unknown_symbol_reason,
)
from processor.wire.schema import (
    NO_DEFAULT,
    Array,
    DecimalBytes,
    Enum,
    Field,
    Fixed,
    Map,
    Record,
    Recursive,
    Scalar,
    Type,
    Union,
    is_null,
    min_size_bytes,
)


@lru_cache(maxsize=1024)  # as many as schemas of the registry are kept
def avro_reader(writer: Type, reader: Type) -> Read:
    """How bytes written with `writer` become a value of `reader`, by Avro's schema resolution.

    Never raises itself: where `writer` cannot become `reader`, reading raises ContentError INCOMPATIBLE_SCHEMA.
    Two choices beyond the specification: decimals, dates and times must be the same logical type on both sides (a value
    of another scale or unit would be misread), and a map that has a key twice is refused.
    """
    try:
        return resolve(writer, reader, {})
    except ContentError as error:
        return _raising(error)


def read_avro(data: bytes, at: int, writer: Type, reader: Type) -> Any:
    """The one value that stands in `data` from `at` to its end. ContentError when it is not one, or not only one."""
    cursor = Cursor(data, at)
    value = avro_reader(writer, reader)(cursor)
    if cursor.remaining_bytes:
        raise ContentError(f"{cursor.remaining_bytes} bytes left over")
    return value


# ---------------------------------------------------------------------------------------------------------------------
# Resolution


def _incompatible(what: str) -> ContentError:
    return ContentError(what, Reason.INCOMPATIBLE_SCHEMA)


def _raising(error: ContentError) -> Read:
    """Reads nothing: for schemas that are incompatible, and for a branch of a writer's union that the reader lacks."""

    def read(_: Cursor) -> Any:
        raise error.copy()

    return read


_SCALARS: Final[dict[str, Read]] = {
    "null": lambda _: None,
    "boolean": Cursor.read_boolean,
    "int": Cursor.read_int,
    "long": Cursor.read_long,
    "string": Cursor.read_text,
    "uuid": lambda cursor: parse_uuid(cursor.read_text()),
    "date": lambda cursor: date_from_days(cursor.read_int()),
    "timestamp-micros": lambda cursor: timestamp_from_micros(cursor.read_long()),
    "timestamp-millis": Cursor.read_long,  # the times of outputs stay milliseconds
}
_PROMOTED: Final = {("int", "long"), ("bytes", "string"), ("bytes", "uuid"), ("string", "uuid"), ("uuid", "string")}


def resolve(writer: Type, reader: Type, plans: Plans) -> Read:
    """`avro_reader`, but raises ContentError INCOMPATIBLE_SCHEMA itself where nothing of `writer` could be read."""
    match writer, reader:
        case Recursive(), _:
            return resolve(writer.definition, reader, plans)
        case Union(), _:
            return _from_union(writer, reader, plans)
        case _, Union():
            return _into_union(writer, reader, plans)
        case Scalar(), Scalar() if writer.kind == reader.kind:
            return _SCALARS[reader.kind]
        case Scalar(), Scalar() if (writer.kind, reader.kind) in _PROMOTED:
            return _SCALARS[reader.kind if reader.kind != "long" else "int"]
        case DecimalBytes(), DecimalBytes() if (writer.precision, writer.scale) == (reader.precision, reader.scale):
            return lambda cursor: decimal_from_unscaled(_unscaled(cursor.read_bytes()), reader)
        case Enum(), Enum() if short_name(writer.name) == short_name(reader.name):
            return _enum(writer, reader, Reason.INVALID_EVENT)
        case Array(), Array():
            return _array(writer.items, resolve(writer.items, reader.items, plans))
        case Map(), Map():
            return map_reader(resolve(writer.values, reader.values, plans))
        case Record(), Record() if short_name(writer.name) == short_name(reader.name):
            return _record_once(writer, reader, plans)
        case _:
            raise _incompatible(f"{describe_type(writer)} cannot be read as {describe_type(reader)}")


def _record_once(writer: Record, reader: Record, plans: Plans) -> Read:
    plan = plans.get((writer, reader))
    if plan is None:
        try:
            plan = _record(writer, reader, plans)
        except ContentError as error:
            plan = error
        plans[writer, reader] = plan
    if isinstance(plan, ContentError):
        raise plan.copy()
    return plan


def _unscaled(data: bytes) -> int:
    if not data:
        raise ContentError("a decimal of no bytes")
    return int.from_bytes(data, "big", signed=True)


def short_name(name: str) -> str:
    """A full name without its namespace, by which Avro compares names."""
    return name.rpartition(".")[2]


def describe_type(type_: Type) -> str:
    """A type for a detail."""
    match type_:
        case Scalar():
            return type_.kind
        case DecimalBytes():
            return f"decimal({type_.precision},{type_.scale})"
        case Enum() | Record() | Fixed() | Recursive():
            return quote_name(type_.name)
        case Union():
            return "union"
        case Array():
            return "array"
        case Map():
            return "map"


# ---------------------------------------------------------------------------------------------------------------------
# Unions


def _from_union(writer: Union, reader: Type, plans: Plans) -> Read:
    branches: list[Read] = []
    errors: list[ContentError] = []
    for branch in writer.branches:
        try:
            branches.append(resolve(branch, reader, plans))
        except ContentError as error:  # matters only for records that use this branch
            errors.append(error)
            branches.append(_raising(error))
    if len(errors) == len(branches):
        raise errors[-1] if errors else _incompatible("a union of nothing")

    def read(cursor: Cursor) -> Any:
        index = cursor.read_long()
        if not 0 <= index < len(branches):
            raise ContentError(f"branch {index} of a union of {len(branches)}")
        return branches[index](cursor)

    if len(branches) != 2 or not is_null(writer.branches[0]):
        return read
    null, value = branches

    def read_nullable(cursor: Cursor) -> Any:
        """The same for ["null", T], which most fields are: one byte, 0 or 2, says which."""
        data, at = cursor.data, cursor.at
        if at < len(data):
            if data[at] == 0:
                cursor.at = at + 1
                return null(cursor)
            if data[at] == 2:
                cursor.at = at + 1
                return value(cursor)
        return read(cursor)

    return read_nullable


def _into_union(writer: Type, reader: Union, plans: Plans) -> Read:
    return resolve(writer, branch_for(writer, reader, plans), plans)


def branch_for(writer: Type, reader: Union, plans: Plans) -> Type:
    """The branch of `reader` that takes values of `writer`, no union: the one of the same type, else the first that it
    can be promoted to. ContentError INCOMPATIBLE_SCHEMA where there is none."""
    for branch in reader.branches:
        if _is_same_type(writer, branch):
            return branch
    for branch in reader.branches:
        try:
            resolve(writer, branch, plans)
        except ContentError:  # the next one may be compatible
            continue
        return branch
    raise _incompatible(f"{describe_type(writer)} is not among the union's types")


def _is_same_type(writer: Type, reader: Type) -> bool:
    match writer, reader:
        case Scalar(), Scalar():
            return writer.kind == reader.kind
        case Enum() | Record(), Enum() | Record():
            return type(writer) is type(reader) and short_name(writer.name) == short_name(reader.name)
        case _:
            return type(writer) is type(reader)


# ---------------------------------------------------------------------------------------------------------------------
# Enums, arrays, records


def _enum(writer: Enum, reader: Enum, unknown: Reason) -> Read:
    known = frozenset(reader.symbols)
    symbols = [symbol if symbol in known else reader.default for symbol in writer.symbols]

    def read(cursor: Cursor) -> str:
        index = cursor.read_long()
        if not 0 <= index < len(symbols):
            raise ContentError(f"symbol {index} of an enum of {len(symbols)}")
        symbol = symbols[index]
        if symbol is None:
            raise ContentError(f"{quote_name(writer.symbols[index])} is not known", unknown)
        return symbol

    return read


def _array(items: Type, read_item: Read) -> Read:
    min_item_bytes = min_size_bytes(items)
    if min_item_bytes == 0:
        raise _incompatible("an array whose items take no bytes")

    def read(cursor: Cursor) -> list[Any]:
        values: list[Any] = []

        def read_items(cursor: Cursor, count: int) -> None:
            for _ in range(count):
                try:
                    values.append(read_item(cursor))
                except ContentError as error:
                    raise error.at(f"[{len(values)}]") from None

        read_blocks(cursor, min_item_bytes, read_items)
        return values

    return read


def _with_check(read: Read, check: TextCheck) -> Read:
    return lambda cursor: check(read(cursor))


def _field(writer: Type, owner: Record, name: str, reader: Type, plans: Plans) -> Read:
    if isinstance(writer, Enum) and isinstance(reader, Enum) and short_name(writer.name) == short_name(reader.name):
        return _enum(writer, reader, unknown_symbol_reason(owner, name))
    read = resolve(writer, reader, plans)
    check = text_check(owner, name) if isinstance(reader, Scalar) and reader.kind == "string" else None
    return read if check is None else _with_check(read, check)


def _record(writer: Record, reader: Record, plans: Plans) -> Read:
    steps: list[tuple[str, Read, bool]] = []  # in the writer's order: name, reader, whether the value is kept
    missing = {field.name: field for field in reader.fields}
    reader_names = map_field_names(writer, reader)
    for field in writer.fields:
        name = reader_names.get(field.name)
        target = None if name is None else missing.pop(name, None)
        try:
            if target is None:
                steps.append((quote_name(field.name), skipper(field.type, plans), False))
            else:
                steps.append((target.name, _field(field.type, reader, target.name, target.type, plans), True))
        except ContentError as error:
            raise error.at(quote_name(field.name)) from None
    for field in missing.values():
        if field.default is NO_DEFAULT:
            raise _incompatible("the writer has no such field, and ours has no default").at(field.name)
    names = [field.name for field in reader.fields]
    if names == [name for name, _, _ in steps]:
        return _same_layout_record([(name, step) for name, step, _ in steps])
    return _resolved_record(steps, list(missing.values()), names)


def map_field_names(writer: Record, reader: Record) -> dict[str, str]:
    """The writer's name of each field that the reader has -> the reader's: the same, or one of which it is an alias."""
    writer_names = {field.name for field in writer.fields}
    names = {field.name: field.name for field in reader.fields}
    for field in reader.fields:
        if field.name not in writer_names:
            names |= {alias: field.name for alias in field.aliases if alias not in names}
    return names


def _same_layout_record(steps: Sequence[tuple[str, Read]]) -> Read:
    """A record whose writer has the reader's fields in the reader's order: nearly all records."""

    def read(cursor: Cursor) -> dict[str, Any]:
        values: dict[str, Any] = {}
        name = ""
        try:
            for name, step in steps:
                values[name] = step(cursor)
        except ContentError as error:
            raise error.at(name) from None
        return values

    return read


def _resolved_record(steps: Sequence[tuple[str, Read, bool]], missing: Sequence[Field], names: Sequence[str]) -> Read:
    """Any other record: fields that the reader lacks are skipped, those in `missing` get their default."""
    is_in_order = list(names) == [name for name, _, is_kept in steps if is_kept]

    def read(cursor: Cursor) -> dict[str, Any]:
        values: dict[str, Any] = {}
        name = ""
        try:
            for name, step, is_kept in steps:
                value = step(cursor)
                if is_kept:
                    values[name] = value
        except ContentError as error:
            raise error.at(name) from None
        if is_in_order:
            return values
        for field in missing:
            values[field.name] = default_value(field.type, field.default)
        return {name: values[name] for name in names}

    return read
