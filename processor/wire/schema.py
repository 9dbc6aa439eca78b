"""Avro schemas as values: a tree of types, and the schema that a record was written with. Pure.

A schema text becomes a tree once (`schema_parser`); reading and writing are then planned from two trees
(`avro_reader`, `json_codec`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from processor.domain.record import SchemaGuid, SchemaId

# Types are compared and hashed by identity: one text is parsed once, and plans are cached by type.


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    """`kind` is an Avro primitive, or one of uuid, date, timestamp-millis, timestamp-micros."""

    kind: str


@dataclass(frozen=True, slots=True, eq=False)
class DecimalBytes:
    """Bytes that hold a whole number, two's complement, big-endian; the value is that number × 10^-scale."""

    precision: int
    scale: int


@dataclass(frozen=True, slots=True, eq=False)
class Fixed:
    """Exactly `size` bytes. Reader schemas have none; a writer's may, in a field that is skipped."""

    name: str
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class Enum:
    """`default` is what an unknown symbol is read as; None: it cannot be read."""

    name: str
    symbols: tuple[str, ...]
    default: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Array:
    """Any number of items."""

    items: "Type"


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """Text -> value."""

    values: "Type"


@dataclass(frozen=True, slots=True, eq=False)
class Union:
    """One of several."""

    branches: tuple["Type", ...]

    @property
    def nullable(self) -> "Type | None":
        """The type T of a union that is null or T; None for any other union."""
        others = [branch for branch in self.branches if not is_null(branch)]
        return others[0] if len(others) == 1 and len(self.branches) == 2 else None


NO_DEFAULT: Final = object()


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """`default` is the schema's JSON value; NO_DEFAULT: the field is required. `aliases` are names it had before."""

    name: str
    type: "Type"
    default: object = NO_DEFAULT
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """`name` is the full name; `min_size_bytes` is the length of its shortest encoding."""

    name: str
    fields: tuple[Field, ...]
    min_size_bytes: int

    @property
    def namespace(self) -> str:
        """The full name without its last part."""
        return self.name.rpartition(".")[0]


@dataclass(frozen=True, slots=True, eq=False)
class Recursive:
    """A record within its own definition. Reader schemas have none; a writer's may, in a field that is skipped."""

    name: str
    named: "Mapping[str, Type | None]"

    @property
    def definition(self) -> "Type":
        """The record, once the whole text is parsed."""
        definition = self.named[self.name]
        assert definition is not None, "a schema is used only after its text is parsed to the end"
        return definition


Type = Scalar | DecimalBytes | Fixed | Enum | Array | Map | Union | Record | Recursive


def min_size_bytes(type_: Type) -> int:
    """The length of the shortest encoding of a value. 1 for a recursive record, which may need more."""
    match type_:
        case Fixed():
            return type_.size
        case Record():
            return type_.min_size_bytes
        case Scalar("float"):
            return 4
        case Scalar("double"):
            return 8
        case _:
            return 0 if is_null(type_) else 1


def is_null(type_: Type) -> bool:
    """Whether this is Avro's null."""
    return isinstance(type_, Scalar) and type_.kind == "null"


# ---------------------------------------------------------------------------------------------------------------------
# The schema of a writer


@dataclass(frozen=True, slots=True, eq=False)
class WriterSchema:
    """The schema that a record was written with, parsed once. `text` is the schema as it was published.

    `type` is None when the schema cannot be used, and `error` says why: its records are INCOMPATIBLE_SCHEMA.
    """

    text: str
    name: str
    type: Type | None
    error: str = ""


class RefusedSchemaError(KeyError):
    """The registry has refused a schema, which may exist, for so long that it counts as unknown."""

    def __init__(self, schema_id: SchemaId | SchemaGuid, detail: str) -> None:
        super().__init__(schema_id)
        self.detail = detail


SchemaOf = Callable[[SchemaId | SchemaGuid], WriterSchema]
"""The writer schema of an id. KeyError: there is no such id (RefusedSchemaError: it is refused, and counts as unknown).
UnavailableError: the registry does not respond."""


def describe_schema_id(schema_id: SchemaId | SchemaGuid) -> str:
    """For a detail: `id 7`, or `GUID` and its 32 hexadecimal digits."""
    return f"GUID {schema_id.hex()}" if isinstance(schema_id, bytes) else f"id {schema_id}"
