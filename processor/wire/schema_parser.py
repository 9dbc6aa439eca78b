"""From a schema's text to its tree. Pure.

A writer's text is held only to what resolution needs; fastavro checks a reader's, and writes Avro by it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastavro.schema import SchemaParseException
from fastavro.schema import parse_schema as fastavro_schema

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
    WriterSchema,
    min_size_bytes,
)


class SchemaError(Exception):
    """A text that is no Avro schema, or one with a type that is not supported; `str(error)` says what is wrong."""


MAX_LEVELS: Final = 64  #: Of records, arrays and maps within each other, in a schema and in what is skipped.
# A level may be four of JSON: a nullable record in a record is {"fields": [{"type": [{
_MAX_JSON_LEVELS: Final = 4 * MAX_LEVELS + 8
_MAX_CHARACTERS: Final = 1_000_000  # of a schema, with those that it names; bounds fields, symbols and branches too
_MAX_DIGITS: Final = 20  # no size, precision or scale has more; int() refuses some thousands
_MAX_ERROR_CHARACTERS: Final = 300
_MAX_MIN_SIZE_BYTES: Final = 2**31  # no value is so long; without a cap, sums of sums grow without bound
_PRIMITIVES: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_LOGICAL: Final = frozenset(  # an unknown logical type is its underlying one, says Avro
    {("string", "uuid"), ("int", "date"), ("long", "timestamp-millis"), ("long", "timestamp-micros")}
)
_FASTAVRO_ERRORS: Final = (SchemaParseException, AttributeError, KeyError, RecursionError, TypeError, ValueError)
_BRACKET_OR_STRING: Final = re.compile(r'"(?:[^"\\]++|\\.)*+\\?(?:"|\Z)|[\[{\]}]', re.DOTALL)


def parse_schema(text: str, references: Sequence[str] = ()) -> tuple[Any, Type]:
    """A reader's schema as fastavro holds it, and as a tree. `references`: texts that `text` names, each after those it
    names.

    SchemaError for anything that is not an Avro schema, or names what it does not define.
    """
    named: dict[str, Any] = {}
    parsed: Any = None
    for part in (*references, text):
        try:
            parsed = fastavro_schema(json.loads(part), named)
        except _FASTAVRO_ERRORS as error:  # fastavro raises any of these for a text that is JSON but no schema
            raise SchemaError(f"{type(error).__name__}: {error}"[:_MAX_ERROR_CHARACTERS]) from error
    return parsed, parse_type(text, references)


def parse_writer_schema(text: str, references: Sequence[str] = ()) -> WriterSchema:
    """Never raises: a schema in another language, or one that cannot be parsed, has an `error`. Held to what resolution
    needs (`parse_type`).

    `references` are the texts of the schemas that `text` names, each after those that it names itself.
    """
    try:
        type_ = parse_type(text, references)
    except SchemaError as error:
        return WriterSchema(text, "", None, f"not an Avro schema that can be read: {error}")
    if not isinstance(type_, Record):
        return WriterSchema(text, "", None, "not a record")
    return WriterSchema(text, type_.name, type_)


def parse_type(text: str, references: Sequence[str] = ()) -> Type:
    """A schema as a tree, held only to what resolution needs and to the bounds above.

    https://avro.apache.org/docs/1.12.0/specification/ , "Schema Resolution": what a writer says of defaults, aliases,
    order and documentation plays no part, nor how it spells names, and a logical type that is invalid or unknown is
    its underlying type. SchemaError for all else; whatever a text may be, nothing else is raised.
    """
    if sum(map(len, (text, *references))) > _MAX_CHARACTERS:
        raise SchemaError(f"over {_MAX_CHARACTERS} characters")
    named: dict[str, Type | None] = {}
    levels: dict[str, int] = {}
    type_: Type | None = None
    for part in (*references, text):
        if _json_levels(part) > _MAX_JSON_LEVELS:
            raise SchemaError(f"nested over {MAX_LEVELS} levels")
        try:
            schema = json.loads(part, parse_int=lambda digits: int(digits) if len(digits) <= _MAX_DIGITS else digits)
        except ValueError as error:
            raise SchemaError(f"not JSON: {error}"[:_MAX_ERROR_CHARACTERS]) from error
        type_, _ = _TypeParser(named, levels).parse(schema, "")
    assert type_ is not None
    return type_


def full_name(schema: Mapping[str, Any], namespace: str) -> str:
    """The name of a record, enum or fixed with its namespace, which may be part of its name."""
    name = str(schema["name"])
    own_namespace = str(schema.get("namespace", namespace))
    return name if "." in name or not own_namespace else f"{own_namespace}.{name}"


def _json_levels(text: str) -> int:
    """How deep lists and objects are nested, whether the text is JSON or not."""
    level = deepest = 0
    for found in _BRACKET_OR_STRING.finditer(text):
        match text[found.start()]:
            case "[" | "{":
                level += 1
                deepest = max(deepest, level)
            case "]" | "}":
                level -= 1
    return deepest


@dataclass(frozen=True, slots=True)
class _TypeParser:
    """From JSON to a tree. `named`: full name -> type, None while its definition is open; `levels`: those of each.

    Each method gives the type, and how many levels of records, arrays and maps it has.
    """

    named: dict[str, Type | None]
    levels: dict[str, int]

    def parse(self, schema: Any, namespace: str) -> tuple[Type, int]:
        match schema:
            case str():
                return self._reference(schema, namespace)
            case list():
                return self._union(schema, namespace)
            case {"type": "array", "items": items}:
                type_, levels = self.parse(items, namespace)
                return Array(type_), _next_level(levels)
            case {"type": "map", "values": values}:
                type_, levels = self.parse(values, namespace)
                return Map(type_), _next_level(levels)
            case {"type": "record" | "error" | "enum" | "fixed" as kind, "name": str() as name}:
                return self._definition(kind, name, schema, namespace)
            case {"type": "bytes", "logicalType": "decimal"}:
                return _decimal(schema), 0
            case {"type": str() as kind} if kind in _PRIMITIVES:
                logical = schema.get("logicalType")
                return Scalar(logical if isinstance(logical, str) and (kind, logical) in _LOGICAL else kind), 0
            case {"type": inner}:
                return self.parse(inner, namespace)
            case _:
                raise SchemaError(f"no type: {json.dumps(schema)[:100]}")

    def _reference(self, name: str, namespace: str) -> tuple[Type, int]:
        """A primitive, or what was defined before: in the namespace at hand, else under the name alone."""
        if name in _PRIMITIVES:
            return Scalar(name), 0
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        full = full if full in self.named else name
        if full not in self.named:
            raise SchemaError(f"{name[:200]!r} is not defined")
        type_ = self.named[full]
        return (Recursive(full, self.named), 0) if type_ is None else (type_, self.levels[full])

    def _union(self, schema: list[Any], namespace: str) -> tuple[Type, int]:
        branches = [self.parse(branch, namespace) for branch in schema]
        if any(isinstance(branch, Union) for branch, _ in branches):
            raise SchemaError("a union within a union")
        return Union(tuple(branch for branch, _ in branches)), max((levels for _, levels in branches), default=0)

    def _definition(self, kind: str, short: str, schema: Mapping[str, Any], namespace: str) -> tuple[Type, int]:
        own_namespace = schema.get("namespace")
        name = full_name(
            {"name": short, "namespace": own_namespace if isinstance(own_namespace, str) else namespace}, ""
        )
        if name in self.named:
            raise SchemaError(f"{name[:200]!r} is defined twice")
        self.named[name] = None
        type_, levels = self._body(kind, name, schema)
        self.named[name], self.levels[name] = type_, levels
        return type_, levels

    def _body(self, kind: str, name: str, schema: Mapping[str, Any]) -> tuple[Type, int]:
        match kind, schema:
            case "enum", {"symbols": list() as symbols} if all(isinstance(symbol, str) for symbol in symbols):
                default = schema.get("default")
                return Enum(name, tuple(symbols), default if isinstance(default, str) else None), 0
            case "fixed", {"size": int() as size} if size >= 0 and not isinstance(size, bool):
                return Fixed(name, size), 0
            case "record" | "error", {"fields": list() as field_schemas}:
                return self._record(name, field_schemas)
            case _:
                raise SchemaError(f"{name[:200]!r} is no {kind}")

    def _record(self, name: str, field_schemas: list[Any]) -> tuple[Type, int]:
        parsed = [self._field(field_schema, name.rpartition(".")[0]) for field_schema in field_schemas]
        fields = tuple(field for field, _ in parsed)
        if len({field.name for field in fields}) < len(fields):
            raise SchemaError(f"{name[:200]!r} has two fields of one name")
        size = min(_MAX_MIN_SIZE_BYTES, sum(min_size_bytes(field.type) for field in fields))
        return Record(name, fields, size), _next_level(max((levels for _, levels in parsed), default=0))

    def _field(self, schema: Any, namespace: str) -> tuple[Field, int]:
        match schema:
            case {"name": str() as name, "type": type_schema}:
                type_, levels = self.parse(type_schema, namespace)
                aliases = schema.get("aliases")
                known_as = tuple(aliases) if isinstance(aliases, list) else ()
                return Field(name, type_, schema.get("default", NO_DEFAULT), known_as), levels
            case _:
                raise SchemaError(f"no field: {json.dumps(schema)[:100]}")


def _decimal(schema: Mapping[str, Any]) -> Type:
    """Bytes where precision and scale are not those of a decimal, as Avro has it."""
    precision, scale = schema.get("precision"), schema.get("scale", 0)
    if type(precision) is int and type(scale) is int and 0 <= scale <= precision and precision > 0:
        return DecimalBytes(precision, scale)
    return Scalar("bytes")


def _next_level(levels: int) -> int:
    if levels >= MAX_LEVELS:
        raise SchemaError(f"nested over {MAX_LEVELS} levels")
    return levels + 1
