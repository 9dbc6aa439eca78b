"""Avro's binary form, read strictly: a plan is made once from the writer's schema and ours, and run for each record.

Not fastavro's reader, because that takes broken bytes for values: an enum index of -1 is its last symbol (another
event), a union index of -1 its last branch, a decimal of another scale keeps its digits, and no error names a field.
Here each length, count and index is held against the bytes that are left, before anything is made of it.
Rules: https://avro.apache.org/docs/1.12.0/specification/ ; tests hold this reader to fastavro's on good bytes.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

from processor.domain.reasons import Reason
from processor.wire.scalars import (
    Check,
    ContentError,
    day,
    decimal,
    default_value,
    quote_name,
    text_check,
    timestamp,
    unknown_symbol_reason,
    uuid,
)
from processor.wire.schema import (
    MAX_LEVELS,
    NO_DEFAULT,
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
    is_null,
    min_size_bytes,
)

Read = Callable[["Cursor"], Any]


class Cursor:
    """Bytes, and how far they are read. Every method raises ContentError rather than read past the end."""

    __slots__ = ("at", "data", "levels")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at
        self.levels = 0  #: How many levels deep it is in a value that is passed over.

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self.data) - self.at

    def long(self) -> int:
        """A zig-zag number of up to 64 bits, in up to 10 bytes."""
        data, at = self.data, self.at
        try:
            byte = data[at]
            if byte < 0x80:
                self.at = at + 1
                return (byte >> 1) ^ -(byte & 1)
            number, shift = byte & 0x7F, 7
            while True:
                at += 1
                byte = data[at]
                number |= (byte & 0x7F) << shift
                if byte < 0x80:
                    break
                shift += 7
                if shift > 63:
                    raise ContentError("a number of more than 10 bytes")
        except IndexError:
            raise ContentError("cut short") from None
        if number >> 64:
            raise ContentError("a number of more than 64 bits")
        self.at = at + 1
        return (number >> 1) ^ -(number & 1)

    def int32(self) -> int:
        """A number of up to 32 bits."""
        number = self.long()
        if not -(2**31) <= number < 2**31:
            raise ContentError(f"{number} does not fit in 32 bits")
        return number

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count < 0:
            raise ContentError(f"a length of {count}")
        start, end = self.at, self.at + count
        if end > len(self.data):
            raise ContentError(f"cut short: {count} bytes announced, {self.left} left")
        self.at = end
        return self.data[start:end]

    def sized(self) -> bytes:
        """A length, and so many bytes."""
        return self.take(self.long())

    def text(self) -> str:
        """A length, and so many bytes of UTF-8."""
        data, at = self.data, self.at
        if at < len(data) and not data[at] & 0x81:  # a length of one byte, not negative: nearly all texts
            end = at + 1 + (data[at] >> 1)
            if end > len(data):
                raise ContentError(f"cut short: {data[at] >> 1} bytes announced, {len(data) - at - 1} left")
            self.at = end
            taken = data[at + 1 : end]
        else:
            taken = self.sized()
        try:
            return taken.decode()
        except UnicodeDecodeError as error:
            raise ContentError(f"not UTF-8 at byte {error.start} of the text") from None

    def boolean(self) -> bool:
        """One byte, 0 or 1."""
        byte = self.take(1)[0]
        if byte > 1:
            raise ContentError(f"a boolean of {byte}")
        return byte == 1


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
        return _refuse(error)


def read_avro(data: bytes, at: int, writer: Type, reader: Type) -> Any:
    """The one value that stands in `data` from `at` to its end. ContentError when it is not one, or not only one."""
    cursor = Cursor(data, at)
    value = avro_reader(writer, reader)(cursor)
    if cursor.left:
        raise ContentError(f"{cursor.left} bytes left over")
    return value


# ---------------------------------------------------------------------------------------------------------------------
# Resolution


def _incompatible(what: str) -> ContentError:
    return ContentError(what, Reason.INCOMPATIBLE_SCHEMA)


def _refuse(error: ContentError) -> Read:
    """Reads nothing: for schemas that do not fit, and for a branch of a writer's union that ours does not have."""

    def read(_: Cursor) -> Any:
        raise error.copy()

    return read


_SCALARS: Final[dict[str, Read]] = {
    "null": lambda _: None,
    "boolean": Cursor.boolean,
    "int": Cursor.int32,
    "long": Cursor.long,
    "string": Cursor.text,
    "uuid": lambda cursor: uuid(cursor.text()),
    "date": lambda cursor: day(cursor.int32()),
    "timestamp-micros": lambda cursor: timestamp(cursor.long()),
    "timestamp-millis": Cursor.long,  # the times of outputs stay milliseconds
}
_PROMOTED: Final = {("int", "long"), ("bytes", "string"), ("bytes", "uuid"), ("string", "uuid"), ("uuid", "string")}


Plans = dict[tuple[Type, Type | None], "Read | ContentError | None"]
"""Readers of one writer's records: by (writer, reader), or by (writer, None) where the record is passed over. The error
where the two cannot be resolved; None while a reader is being built.

A record that is named in many places is resolved once; else a short schema could take for ever.
"""


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
            return lambda cursor: decimal(_unscaled(cursor.sized()), reader)
        case Enum(), Enum() if short_name(writer.name) == short_name(reader.name):
            return _enum(writer, reader, Reason.INVALID_EVENT)
        case Array(), Array():
            return _array(writer.items, resolve(writer.items, reader.items, plans))
        case Map(), Map():
            return _map(resolve(writer.values, reader.values, plans))
        case Record(), Record() if short_name(writer.name) == short_name(reader.name):
            return _record_once(writer, reader, plans)
        case _:
            raise _incompatible(f"{type_word(writer)} cannot be read as {type_word(reader)}")


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


def _unscaled(taken: bytes) -> int:
    if not taken:
        raise ContentError("a decimal of no bytes")
    return int.from_bytes(taken, "big", signed=True)


def short_name(name: str) -> str:
    """A full name without its namespace, by which Avro compares names."""
    return name.rpartition(".")[2]


def type_word(type_: Type) -> str:
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


def _from_union(writer: Union, reader: Type, plans: Plans) -> Read:
    branches: list[Read] = []
    faults: list[ContentError] = []
    for branch in writer.branches:
        try:
            branches.append(resolve(branch, reader, plans))
        except ContentError as error:  # matters only for records that use this branch
            faults.append(error)
            branches.append(_refuse(error))
    if len(faults) == len(branches):
        raise faults[-1] if faults else _incompatible("a union of nothing")

    def read(cursor: Cursor) -> Any:
        index = cursor.long()
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
    """The branch of the same type, else the first that `writer` can be promoted to."""
    for branch in reader.branches:
        if _alike(writer, branch):
            return resolve(writer, branch, plans)
    for branch in reader.branches:
        try:
            return resolve(writer, branch, plans)
        except ContentError:  # the next one may fit
            continue
    raise _incompatible(f"{type_word(writer)} is not among the union's types")


def _alike(writer: Type, reader: Type) -> bool:
    match writer, reader:
        case Scalar(), Scalar():
            return writer.kind == reader.kind
        case Enum() | Record(), Enum() | Record():
            return type(writer) is type(reader) and short_name(writer.name) == short_name(reader.name)
        case _:
            return type(writer) is type(reader)


def _enum(writer: Enum, reader: Enum, unknown: Reason) -> Read:
    known = frozenset(reader.symbols)
    symbols = [symbol if symbol in known else reader.default for symbol in writer.symbols]

    def read(cursor: Cursor) -> str:
        index = cursor.long()
        if not 0 <= index < len(symbols):
            raise ContentError(f"symbol {index} of an enum of {len(symbols)}")
        symbol = symbols[index]
        if symbol is None:
            raise ContentError(f"{quote_name(writer.symbols[index])} is not known", unknown)
        return symbol

    return read


def _blocks(cursor: Cursor, min_size_bytes: int, read_items: Callable[[Cursor, int], None]) -> None:
    """Avro's blocks: a count and so many items, up to a count of 0; a negative count is followed by a size in bytes.

    An item takes at least `min_size_bytes`, so a count that the bytes left cannot hold is refused at once.
    """
    while count := cursor.long():
        end = None
        if count < 0:
            count = -count
            size = cursor.long()
            if not 0 <= size <= cursor.left:
                raise ContentError(f"a block of {size} bytes, {cursor.left} left")
            end = cursor.at + size
        if count * min_size_bytes > cursor.left:
            raise ContentError(f"{count} items announced, {cursor.left} bytes left")
        read_items(cursor, count)
        if end is not None and cursor.at != end:
            raise ContentError("a block of another size than announced")


def _array(items: Type, read_item: Read) -> Read:
    least = min_size_bytes(items)
    if least == 0:
        raise _incompatible("an array whose items take no bytes")

    def read(cursor: Cursor) -> list[Any]:
        made: list[Any] = []

        def read_items(cursor: Cursor, count: int) -> None:
            for _ in range(count):
                try:
                    made.append(read_item(cursor))
                except ContentError as error:
                    raise error.at(f"[{len(made)}]") from None

        _blocks(cursor, least, read_items)
        return made

    return read


def _map(read_value: Read) -> Read:
    def read(cursor: Cursor) -> dict[str, Any]:
        made: dict[str, Any] = {}

        def read_items(cursor: Cursor, count: int) -> None:
            for _ in range(count):
                name = cursor.text()
                try:
                    if name in made:
                        raise ContentError("occurs twice")
                    made[name] = read_value(cursor)
                except ContentError as error:
                    raise error.at(f"[{name[:60]!r}]") from None

        _blocks(cursor, 1, read_items)
        return made

    return read


def _checked(read: Read, check: Check) -> Read:
    return lambda cursor: check(read(cursor))


def _field(writer: Type, owner: Record, name: str, reader: Type, plans: Plans) -> Read:
    if isinstance(writer, Enum) and isinstance(reader, Enum) and short_name(writer.name) == short_name(reader.name):
        return _enum(writer, reader, unknown_symbol_reason(owner, name))
    read = resolve(writer, reader, plans)
    check = text_check(owner, name) if isinstance(reader, Scalar) and reader.kind == "string" else None
    return read if check is None else _checked(read, check)


def _record(writer: Record, reader: Record, plans: Plans) -> Read:
    wanted = {one.name: one for one in reader.fields}
    ours = map_field_names(writer, reader)
    steps: list[tuple[str, Read, bool]] = []
    for field in writer.fields:
        try:
            if (name := ours.get(field.name)) in wanted and name is not None:
                steps.append((name, _field(field.type, reader, name, wanted.pop(name).type, plans), True))
            else:
                steps.append((quote_name(field.name), _pass_over(field.type, plans), False))
        except ContentError as error:
            raise error.at(quote_name(field.name)) from None
    for field in wanted.values():
        if field.default is NO_DEFAULT:
            raise _incompatible("the writer has no such field, and ours has no default").at(field.name)
    names = [field.name for field in reader.fields]
    in_our_order = names == [name for name, _, kept in steps if kept]
    if names == [name for name, _, _ in steps]:
        return _own_record([(name, step) for name, step, _ in steps])

    def read(cursor: Cursor) -> dict[str, Any]:
        made: dict[str, Any] = {}
        name = ""
        try:
            for name, step, kept in steps:
                value = step(cursor)
                if kept:
                    made[name] = value
        except ContentError as error:
            raise error.at(name) from None
        if in_our_order:
            return made
        for one in wanted.values():
            made[one.name] = default_value(one.type, one.default)
        return {name: made[name] for name in names}

    return read


def map_field_names(writer: Record, reader: Record) -> dict[str, str]:
    """The writer's name of each field that we have -> ours: the same, or one that is an alias of ours."""
    theirs = [one.name for one in writer.fields]
    names = {one.name: one.name for one in reader.fields}
    for one in reader.fields:
        if one.name not in theirs:
            names |= {alias: one.name for alias in one.aliases if alias not in names}
    return names


def _own_record(steps: Sequence[tuple[str, Read]]) -> Read:
    """A record whose writer has our fields in our order: nearly all records."""

    def read(cursor: Cursor) -> dict[str, Any]:
        made: dict[str, Any] = {}
        name = ""
        try:
            for name, step in steps:
                made[name] = step(cursor)
        except ContentError as error:
            raise error.at(name) from None
        return made

    return read


# ---------------------------------------------------------------------------------------------------------------------
# What ours does not have


_PASSED_OVER: Final[dict[str, Read]] = {
    "null": lambda _: None,
    "boolean": Cursor.boolean,
    "int": Cursor.int32,
    "date": Cursor.int32,
    "float": lambda cursor: cursor.take(4),
    "double": lambda cursor: cursor.take(8),
    "bytes": Cursor.sized,
    "string": Cursor.sized,
    "uuid": Cursor.sized,
}


def _pass_over(writer: Type, plans: Plans) -> Read:
    """Reads a field of the writer's that ours does not have. Lengths, counts and indexes are checked, texts are not.

    A value that is nested over 64 levels deep, as a recursive record's may be, is an invalid event. Values without
    bytes take no time, however many of them a schema has.
    """
    if min_size_bytes(writer) == 0:
        return lambda _: None
    match writer:
        case Scalar():
            return _PASSED_OVER.get(writer.kind, Cursor.long)
        case DecimalBytes():
            return Cursor.sized
        case Fixed():
            size = writer.size
            return lambda cursor: cursor.take(size)
        case Enum():
            return _symbol_passed_over(len(writer.symbols))
        case Array():
            return _one_level_deeper(_array_passed_over(writer.items, plans))
        case Map():
            return _one_level_deeper(_map(_pass_over(writer.values, plans)))
        case Union():
            branches = [_pass_over(branch, plans) for branch in writer.branches]

            def one_of(cursor: Cursor) -> Any:
                index = cursor.long()
                if not 0 <= index < len(branches):
                    raise ContentError(f"branch {index} of a union of {len(branches)}")
                return branches[index](cursor)

            return one_of
        case Record():
            return _record_passed_over(writer, plans)
        case Recursive():
            record = writer.definition
            if (record, None) not in plans:
                _pass_over(record, plans)

            def read_recursive(cursor: Cursor) -> Any:
                plan = plans[record, None]
                assert callable(plan)
                return plan(cursor)

            return read_recursive


def _record_passed_over(writer: Record, plans: Plans) -> Read:
    plan = plans.get((writer, None))
    if callable(plan):
        return plan
    plans[writer, None] = None
    fields = [
        (quote_name(field.name), _pass_over(field.type, plans)) for field in writer.fields if min_size_bytes(field.type)
    ]

    def all_of(cursor: Cursor) -> None:
        name = ""
        try:
            for name, step in fields:  # noqa: B007  the error needs the name
                step(cursor)
        except ContentError as error:
            raise error.at(name) from None

    plans[writer, None] = read = _one_level_deeper(all_of)
    return read


def _symbol_passed_over(symbols: int) -> Read:
    """Only the number is kept: one enum of many symbols may be named by many fields."""

    def read(cursor: Cursor) -> None:
        index = cursor.long()
        if not 0 <= index < symbols:
            raise ContentError(f"symbol {index} of an enum of {symbols}")

    return read


def _array_passed_over(items: Type, plans: Plans) -> Read:
    least, read_item = min_size_bytes(items), _pass_over(items, plans)

    def read_items(cursor: Cursor, count: int) -> None:
        for number in range(count):
            try:
                read_item(cursor)
            except ContentError as error:
                raise error.at(f"[{number}]") from None

    def read_nothing(_: Cursor, _count: int) -> None:
        """Items without bytes take no time, however many there are."""

    return lambda cursor: _blocks(cursor, least, read_items if least else read_nothing)


def _one_level_deeper(read: Read) -> Read:
    def one_level_down(cursor: Cursor) -> None:
        if cursor.levels >= MAX_LEVELS:
            raise ContentError(f"nested over {MAX_LEVELS} levels")
        cursor.levels += 1
        read(cursor)
        cursor.levels -= 1

    return one_level_down
