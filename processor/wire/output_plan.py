"""An output planned ahead: the bytes that are the same in each, and holes between them. Pure.

For one template and one event nearly all of an output is known before there is a record. A plan is made once of the
output's schema and of what is known (`OutputShape`); filling its holes with encoded values (`value_encoders.py`) gives
exactly the bytes of `OutputEncoder`, frame included. A plan is data; `OutputPlan.writer` is its executor in Python.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import groupby
from typing import Any, Final

from processor.wire.reader_schemas import ReaderSchema
from processor.wire.schema import Array, Enum, Map, Record, Scalar, Type, Union
from processor.wire.value_encoders import avro_long, avro_text, branch_index, encode_value
from processor.wire.wire_format import WireFormat

Write = Callable[[tuple[bytes | None, ...]], bytes]
"""From what a plan's holes take, in their order, to the output's bytes."""
Fill = Callable[[Mapping[str, bytes | None]], bytes]
"""The same from encoded values by path, None for null; there may be more of them than holes."""


class HoleKind(StrEnum):
    """What a hole takes."""

    TEXT = "TEXT"  #: A text as `ValueEncoders.text` writes it.
    SIZED_TEXT = "SIZED_TEXT"  #: The UTF-8 of a text in `OutputShape.sizes`, as it is.
    LONG = "LONG"
    TIME = "TIME"
    BOOLEAN = "BOOLEAN"
    SYMBOL = "SYMBOL"  #: One of an enum's, as `encode_value` writes it.
    WHOLE = "WHOLE"  #: An array, map or record, as `ValueEncoders.array`, `encode_value` or a `part_plan` writes it.


@dataclass(frozen=True, slots=True)
class Hole:
    """A place for a value that differs between outputs. `type` is that of a value that is not null.

    Of a nullable one `null` is what the hole takes for null; `before` and `after` stand around any other value. Where
    a value is never null, `null` is None, and nothing stands around it.
    """

    path: str
    kind: HoleKind
    type: Type = field(repr=False)
    null: bytes | None = None
    before: bytes = b""
    after: bytes = b""

    def fill(self, encoded: bytes | None) -> bytes:
        """What the hole takes for an encoded value, or for null. Needed where it is nullable."""
        if encoded is not None:
            return self.before + encoded + self.after
        assert self.null is not None, f"{self.path} is never null"
        return self.null


Piece = bytes | Hole


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputShape:
    """What is known of an output's fields before there is a value.

    A path has the names on the wire from the output inwards, joined by dots: `source.topic`. `constants` are values as
    `output_fields.py` has them; what else is known of a constant is ignored.
    """

    constants: Mapping[str, Any] = field(default_factory=dict)
    present: frozenset[str] = frozenset()  #: Nullable fields that are never null.
    #: Texts that have always so many bytes when they are not null, none of which JSON escapes: keys, uuids.
    sizes: Mapping[str, int] = field(default_factory=dict)
    #: Maps that always have these keys, in this order.
    map_keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __or__(self, other: "OutputShape") -> "OutputShape":
        """Both; of a path in both what `other` has."""
        return OutputShape(
            constants={**self.constants, **other.constants},
            present=self.present | other.present,
            sizes={**self.sizes, **other.sizes},
            map_keys={**self.map_keys, **other.map_keys},
        )

    @property
    def paths(self) -> frozenset[str]:
        """All of which something is known."""
        return self.present.union(self.constants, self.sizes, self.map_keys)


NOTHING_KNOWN: Final = OutputShape()


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """An output, or a part of one, as constant bytes with holes between them; neighbouring constants are joined.

    In Avro the first one has the frame of `output_plan`. `drops_first_comma`: in JSON, no field is always there, so the
    object may begin with `{,`; this comma is left out.
    """

    type: Record | Map = field(repr=False)
    wire_format: WireFormat
    pieces: tuple[Piece, ...]
    drops_first_comma: bool

    @property
    def holes(self) -> tuple[Hole, ...]:
        """In the order of the schema's fields."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Hole))

    def writer(self) -> Write:
        """The function that fills the holes, in less than a microsecond. TypeError for another number of values,
        or for None."""
        template = b"".join(b"%b" if isinstance(piece, Hole) else piece.replace(b"%", b"%%") for piece in self.pieces)
        write: Write = template.__mod__
        return _without_first_comma(write) if self.drops_first_comma else write

    def filler(self) -> Fill:
        """As `writer`, with a value for each path: encoded, or None for null. KeyError for a path without one."""
        write, fills = self.writer(), [(hole.path, None if hole.null is None else hole.fill) for hole in self.holes]
        return lambda values: write(
            tuple([values[path] if fill is None else fill(values[path]) for path, fill in fills])
        )


def output_plan(schema: ReaderSchema, wire_format: WireFormat, shape: OutputShape = NOTHING_KNOWN) -> OutputPlan:
    """The plan of an output's value, with its frame in Avro.

    ValueError for a path that is not there for certain: no such field, in a record that may be null, in a map whose
    keys are not known; and for a type that no output has.
    """
    return _plan(schema.type, schema.frame if wire_format is WireFormat.AVRO else b"", wire_format, shape)


def part_plan(
    schema: ReaderSchema, path: str, wire_format: WireFormat, shape: OutputShape = NOTHING_KNOWN
) -> OutputPlan:
    """The plan of one value for a WHOLE hole at `path`, without a frame: the record, or one item of the array. Paths of
    `shape` begin there. ValueError as `output_plan`."""
    type_: Type = schema.type
    for name in path.split("."):
        type_ = _field_type(type_, name, path)
        type_ = (type_.nullable or type_) if isinstance(type_, Union) else type_
    return _plan(type_.items if isinstance(type_, Array) else type_, b"", wire_format, shape)


def _plan(type_: Type, frame: bytes, wire_format: WireFormat, shape: OutputShape) -> OutputPlan:
    for path in shape.paths:
        _check_path(path, type_, shape)
    fields = _part(type_, "", shape)
    if not isinstance(fields, _Fields):
        raise ValueError("only what has fields can be planned")  # noqa: TRY004  of a path
    pieces = _avro(fields) if wire_format is WireFormat.AVRO else _json_object(fields)
    drops_first_comma = wire_format is WireFormat.JSON and fields.may_begin_with_comma
    return OutputPlan(fields.type, wire_format, tuple(_joined([frame, *pieces])), drops_first_comma)


def _joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Neighbouring constants as one, none of them empty."""
    for kind, group in groupby(pieces, type):
        if kind is Hole:
            yield from group
        elif constant := b"".join(piece for piece in group if isinstance(piece, bytes)):
            yield constant


def _without_first_comma(write: Write) -> Write:
    def write_without(values: tuple[bytes | None, ...]) -> bytes:
        value = write(values)
        return b"{" + value[2:] if value.startswith(b"{,") else value

    return write_without


# ---------------------------------------------------------------------------------------------------------------------
# The tree of a schema with what is known of it


@dataclass(frozen=True, slots=True)
class _Constant:
    type: Type
    value: Any


@dataclass(frozen=True, slots=True)
class _Open:
    """A value that is not known. `union` is the one of which it is the branch that is not null."""

    path: str
    kind: HoleKind
    type: Type
    size_bytes: int | None
    union: Union | None = None
    is_nullable: bool = False

    @property
    def hole(self) -> Hole:
        """Of a value that is not null."""
        return Hole(self.path, self.kind, self.type)

    @property
    def quote(self) -> bytes:
        """What stands around it in JSON."""
        return b"" if self.size_bytes is None else b'"'


@dataclass(frozen=True, slots=True)
class _Fields:
    """A record, or a map whose keys are known."""

    type: Record | Map
    parts: Mapping[str, "_Part"]
    union: Union | None = None

    @property
    def may_begin_with_comma(self) -> bool:
        """Whether its JSON has fields, none of which is always there."""
        return _first_certain(self) is None and any(not _is_null(part) for part in self.parts.values())


_Part = _Constant | _Open | _Fields

_KINDS: Final[Mapping[str, HoleKind]] = {  # kind of a scalar -> kind of its hole
    "boolean": HoleKind.BOOLEAN,
    "int": HoleKind.LONG,
    "long": HoleKind.LONG,
    "string": HoleKind.TEXT,
    "timestamp-millis": HoleKind.TIME,
    "uuid": HoleKind.TEXT,
}


def _part(type_: Type, path: str, shape: OutputShape) -> _Part:
    if path in shape.constants:
        return _Constant(type_, shape.constants[path])
    match type_:
        case Record():
            fields = {each.name: _part(each.type, _join(path, each.name), shape) for each in type_.fields}
            return _Fields(type_, fields)
        case Map() if path in shape.map_keys:
            if isinstance(type_.values, Union):  # in JSON such a null is not absent
                raise ValueError(f"{path}: a map whose values may be null has no plan")  # noqa: TRY004  of a schema
            return _Fields(type_, {key: _part(type_.values, _join(path, key), shape) for key in shape.map_keys[path]})
        case Union() if type_.nullable is not None and path in shape.present:
            part = _part(type_.nullable, path, shape)
            return part if isinstance(part, _Constant) else replace(part, union=type_)
        case Union() if type_.nullable is not None:
            return replace(_open(type_.nullable, path, shape), union=type_, is_nullable=True)
        case _:
            return _open(type_, path, shape)


def _open(type_: Type, path: str, shape: OutputShape) -> _Open:
    size_bytes = shape.sizes.get(path)
    match type_:
        case Scalar() if type_.kind in _KINDS:
            kind = _KINDS[type_.kind]
        case Enum():
            kind = HoleKind.SYMBOL
        case Array() | Map() | Record():
            kind = HoleKind.WHOLE
        case _:
            raise ValueError(f"{path}: no output has a {type_}")
    if size_bytes is None:
        return _Open(path, kind, type_, None)
    if kind is not HoleKind.TEXT:
        raise ValueError(f"{path} has a size, and is no text")
    return _Open(path, HoleKind.SIZED_TEXT, type_, size_bytes)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _check_path(path: str, type_: Type, shape: OutputShape) -> None:
    """ValueError where `path` may lead nowhere. Within a constant anything is ignored."""
    walked = ""
    for name in path.split("."):
        if walked in shape.constants:
            return
        if isinstance(type_, Union) and walked in shape.present:
            type_ = type_.nullable or type_
        if isinstance(type_, Map) and name not in shape.map_keys.get(walked, ()):
            raise ValueError(f"{path}: {name} is not among the known keys of {walked}")
        type_ = _field_type(type_, name, path)
        walked = _join(walked, name)


def _field_type(type_: Type, name: str, path: str) -> Type:
    match type_:
        case Map():
            return type_.values
        case Record():
            for each in type_.fields:
                if each.name == name:
                    return each.type
    raise ValueError(f"{path}: there is no {name}, or not always")


# ---------------------------------------------------------------------------------------------------------------------
# The pieces in Avro


def _avro(part: _Part) -> Iterator[Piece]:
    match part:
        case _Constant():
            yield encode_value(part.type, part.value, WireFormat.AVRO)
        case _Open():
            before = _avro_branch(part.union) + (b"" if part.size_bytes is None else avro_long(part.size_bytes))
            if part.is_nullable and part.union is not None:
                yield replace(part.hole, null=branch_index(part.union, null=True), before=before)
            else:
                yield before
                yield part.hole
        case _Fields():
            yield _avro_branch(part.union)
            yield from _avro_map(part.parts) if isinstance(part.type, Map) else _avro_record(part.parts)


def _avro_branch(union: Union | None) -> bytes:
    return b"" if union is None else branch_index(union, null=False)


def _avro_record(parts: Mapping[str, _Part]) -> Iterator[Piece]:
    for part in parts.values():
        yield from _avro(part)


def _avro_map(parts: Mapping[str, _Part]) -> Iterator[Piece]:
    """One block, and the end of all."""
    if parts:
        yield avro_long(len(parts))
    for name, part in parts.items():
        yield avro_text(name.encode())
        yield from _avro(part)
    yield b"\x00"


# ---------------------------------------------------------------------------------------------------------------------
# The pieces in JSON. A null field is absent, and so is its comma: what comes before the first field that is always
# there brings the comma behind it, what comes after it the comma before it. Without such a field all bring it before
# them, and the writer takes the first away.


def _json(part: _Part) -> Iterator[Piece]:
    match part:
        case _Constant():
            yield encode_value(part.type, part.value, WireFormat.JSON)
        case _Open():
            yield part.quote
            yield part.hole
            yield part.quote
        case _Fields():
            if part.may_begin_with_comma:
                raise ValueError("a part of an output has no field that is always there")
            yield from _json_object(part)


def _json_object(fields: _Fields) -> Iterator[Piece]:
    parts = {name: part for name, part in fields.parts.items() if not _is_null(part)}
    first_certain = _first_certain(fields)
    is_behind = first_certain is None
    yield b"{"
    for name, part in parts.items():
        comma_before, comma_behind = (b",", b"") if is_behind else (b"", b",")
        label = json.dumps(name, ensure_ascii=False).encode() + b":"
        if name == first_certain:
            is_behind = True
            yield label
            yield from _json(part)
        elif isinstance(part, _Open) and part.is_nullable:
            before, after = comma_before + label + part.quote, part.quote + comma_behind
            yield replace(part.hole, null=b"", before=before, after=after)
        else:
            yield comma_before + label
            yield from _json(part)
    yield b"}"


def _first_certain(fields: _Fields) -> str | None:
    """The name of the first field that is always there."""
    for name, part in fields.parts.items():
        if not _is_null(part) and not (isinstance(part, _Open) and part.is_nullable):
            return name
    return None


def _is_null(part: _Part) -> bool:
    return isinstance(part, _Constant) and part.value is None
