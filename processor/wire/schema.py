"""Avro schemas as values: ours, a writer's, and which id is whose. Pure; `registry/schema_files.py` reads the files.

A schema text becomes a tree of the types below once; reading and writing are then planned from two trees
(`avro_form`, `json_form`). A writer's text is held only to what resolution needs; fastavro checks ours, and writes
Avro.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final

from fastavro.schema import SchemaParseException, parse_schema

from processor.domain.catalogue import EVENTS, FAMILIES
from processor.domain.message import Communicationmessage
from processor.domain.output_topics import MESSAGE, OUTPUTS
from processor.domain.record import EventName, SchemaGuid, SchemaId

FIRST_LOCAL_ID: Final = 2_000_000_000  #: Ids of `schemas/ids.json` start here, so that they never meet a registry's.
_LAST_ID: Final = 2**31 - 1

# ---------------------------------------------------------------------------------------------------------------------
# The types of a schema. Compared and hashed by identity: one text is parsed once, and plans are cached by type.


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
    """So many bytes. Our schemas have none; a writer's may, in a field that we pass over."""

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
_LEAST_BYTES_CAP: Final = 2**31  # no value is so long; without a cap, sums of sums grow without bound


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """`default` is the schema's JSON value; NO_DEFAULT: the field is required. `aliases` are names it had before."""

    name: str
    type: "Type"
    default: object = NO_DEFAULT
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """`name` is the full name; `min_size_bytes` the fewest bytes that a value takes."""

    name: str
    fields: tuple[Field, ...]
    min_size_bytes: int

    @property
    def namespace(self) -> str:
        """The full name without its last part."""
        return self.name.rpartition(".")[0]


@dataclass(frozen=True, slots=True, eq=False)
class Recursive:
    """A record within its own definition. A writer may have one where we pass it over; ours have none."""

    name: str
    named: "Mapping[str, Type | None]"

    @property
    def definition(self) -> "Type":
        """The record, once the whole text is read."""
        definition = self.named[self.name]
        assert definition is not None, "a text is used when it is read to its end"
        return definition


Type = Scalar | DecimalBytes | Fixed | Enum | Array | Map | Union | Record | Recursive


def min_size_bytes(type_: Type) -> int:
    """The fewest bytes that a value takes; 0: no value takes any. 1 for a recursive record, which may need more."""
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


class SchemaError(Exception):
    """A schema text that is no Avro schema, or one that we do not read; `str(error)` says what is wrong."""


MAX_LEVELS: Final = 64  #: Of records, arrays and maps within each other, in a schema and in what is passed over.
# A level may be four of JSON: a nullable record in a record is {"fields": [{"type": [{
_MAX_JSON_LEVELS: Final = 4 * MAX_LEVELS + 8
_MAX_CHARACTERS: Final = 1_000_000  # of a schema, with those that it names; bounds fields, symbols and branches too
_MAX_DIGITS: Final = 20  # no size, precision or scale has more; int() refuses some thousands
_PRIMITIVES: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_LOGICAL: Final = frozenset(  # an unknown logical type is its underlying one, says Avro
    {("string", "uuid"), ("int", "date"), ("long", "timestamp-millis"), ("long", "timestamp-micros")}
)
_FOREIGN_FAULTS: Final = (SchemaParseException, AttributeError, KeyError, RecursionError, TypeError, ValueError)
_BRACKET_OR_STRING: Final = re.compile(r'"(?:[^"\\]++|\\.)*+\\?(?:"|\Z)|[\[{\]}]', re.DOTALL)


def parse(text: str, references: Sequence[str] = ()) -> tuple[Any, Type]:
    """A schema of ours as fastavro holds it, and as a tree. `references`: texts that `text` names, each after those it
    names.

    SchemaError for anything that is not an Avro schema, or names what it does not define.
    """
    named: dict[str, Any] = {}
    parsed: Any = None
    for part in (*references, text):
        try:
            parsed = parse_schema(json.loads(part), named)
        except _FOREIGN_FAULTS as error:  # fastavro raises any of these for a text that is JSON but no schema
            raise SchemaError(f"{type(error).__name__}: {error}"[:300]) from error
    return parsed, type_of(text, references)


def type_of(text: str, references: Sequence[str] = ()) -> Type:
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
            raise SchemaError(f"not JSON: {error}"[:300]) from error
        type_, _ = _Parser(named, levels).type_of(schema, "")
    assert type_ is not None
    return type_


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
class _Parser:
    """From JSON to a tree. `named`: full name -> type, None while its definition is open; `levels`: those of each."""

    named: dict[str, Type | None]
    levels: dict[str, int]

    def type_of(self, schema: Any, namespace: str) -> tuple[Type, int]:
        """The type, and how many levels of records, arrays and maps it has."""
        match schema:
            case str():
                return self._named(schema, namespace)
            case list():
                branches = [self.type_of(branch, namespace) for branch in schema]
                if any(isinstance(branch, Union) for branch, _ in branches):
                    raise SchemaError("a union within a union")
                return Union(tuple(branch for branch, _ in branches)), max(
                    (levels for _, levels in branches), default=0
                )
            case {"type": "array", "items": items}:
                type_, levels = self.type_of(items, namespace)
                return Array(type_), _one_more(levels)
            case {"type": "map", "values": values}:
                type_, levels = self.type_of(values, namespace)
                return Map(type_), _one_more(levels)
            case {"type": "record" | "error" | "enum" | "fixed" as kind, "name": str() as name}:
                return self._definition(kind, name, schema, namespace)
            case {"type": "bytes", "logicalType": "decimal"}:
                precision, scale = schema.get("precision"), schema.get("scale", 0)
                if type(precision) is int and type(scale) is int and 0 <= scale <= precision and precision > 0:
                    return DecimalBytes(precision, scale), 0
                return Scalar("bytes"), 0
            case {"type": str() as kind} if kind in _PRIMITIVES:
                logical = schema.get("logicalType")
                return Scalar(logical if isinstance(logical, str) and (kind, logical) in _LOGICAL else kind), 0
            case {"type": inner}:
                return self.type_of(inner, namespace)
            case _:
                raise SchemaError(f"no type: {json.dumps(schema)[:100]}")

    def _named(self, name: str, namespace: str) -> tuple[Type, int]:
        """A primitive, or what was defined before: in the namespace at hand, else under the name alone."""
        if name in _PRIMITIVES:
            return Scalar(name), 0
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        full = full if full in self.named else name
        if full not in self.named:
            raise SchemaError(f"{name[:200]!r} is not defined")
        type_ = self.named[full]
        return (Recursive(full, self.named), 0) if type_ is None else (type_, self.levels[full])

    def _definition(self, kind: str, short: str, schema: Mapping[str, Any], namespace: str) -> tuple[Type, int]:
        given = schema.get("namespace")
        name = _full_name({"name": short, "namespace": given if isinstance(given, str) else namespace}, "")
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
            case "record" | "error", {"fields": list() as given}:
                fields, levels = [], 0
                for field_schema in given:
                    field, below = self._field(field_schema, name.rpartition(".")[0])
                    fields.append(field)
                    levels = max(levels, below)
                if len({field.name for field in fields}) < len(fields):
                    raise SchemaError(f"{name[:200]!r} has two fields of one name")
                least = min(_LEAST_BYTES_CAP, sum(min_size_bytes(field.type) for field in fields))
                return Record(name, tuple(fields), least), _one_more(levels)
            case _:
                raise SchemaError(f"{name[:200]!r} is no {kind}")

    def _field(self, schema: Any, namespace: str) -> tuple[Field, int]:
        match schema:
            case {"name": str() as name, "type": given}:
                type_, levels = self.type_of(given, namespace)
                aliases = schema.get("aliases")
                return (
                    Field(
                        name,
                        type_,
                        schema.get("default", NO_DEFAULT),
                        tuple(aliases) if isinstance(aliases, list) else (),
                    ),
                    levels,
                )
            case _:
                raise SchemaError(f"no field: {json.dumps(schema)[:100]}")


def _one_more(levels: int) -> int:
    if levels >= MAX_LEVELS:
        raise SchemaError(f"nested over {MAX_LEVELS} levels")
    return levels + 1


# ---------------------------------------------------------------------------------------------------------------------
# What a record was written with


@dataclass(frozen=True, slots=True, eq=False)
class WriterSchema:
    """The schema that a record was written with, parsed once. `text` is the schema as it was published.

    `type` is None when the schema cannot be used, and `problem` says why: its records are INCOMPATIBLE_SCHEMA.
    """

    text: str
    name: str
    type: Type | None
    problem: str = ""


class RefusedSchemaError(KeyError):
    """The registry has refused a schema, which may exist, for so long that it counts as unknown."""

    def __init__(self, wanted: SchemaId | SchemaGuid, detail: str) -> None:
        super().__init__(wanted)
        self.detail = detail


def describe_schema_id(wanted: SchemaId | SchemaGuid) -> str:
    """For a detail: `id 7`, or `GUID` and its 32 hexadecimal digits."""
    return f"GUID {wanted.hex()}" if isinstance(wanted, bytes) else f"id {wanted}"


def writer_schema(text: str, references: Sequence[str] = ()) -> WriterSchema:
    """Never raises: a schema in another language, or one that cannot be read, has a `problem`. Held to what resolution
    needs (`type_of`).

    `references` are the texts of the schemas that `text` names, each after those that it names itself.
    """
    try:
        type_ = type_of(text, references)
    except SchemaError as error:
        return WriterSchema(text, "", None, f"not an Avro schema that can be read: {error}")
    if not isinstance(type_, Record):
        return WriterSchema(text, "", None, "not a record")
    return WriterSchema(text, type_.name, type_)


# ---------------------------------------------------------------------------------------------------------------------
# Ours


@dataclass(frozen=True, slots=True, eq=False)
class ReaderSchema:
    """A family's or an output's schema. `text` is self-contained JSON, as a registry takes it under subject `name`."""

    name: str
    id: SchemaId
    text: str
    type: Record
    parsed: Any = field(repr=False)  #: as fastavro holds it

    @property
    def frame(self) -> bytes:
        """The 5 bytes before each Avro value: magic byte 0 and the id."""
        return b"\x00" + self.id.to_bytes(4, "big")


@dataclass(frozen=True, slots=True, eq=False)
class Schemas:
    """All of ours. Families are found by the full name of their record, and by event; outputs by the name of theirs."""

    families: Mapping[str, ReaderSchema]
    by_event: Mapping[EventName, ReaderSchema]
    outputs: Mapping[str, ReaderSchema]
    local: Mapping[SchemaId, WriterSchema]

    def local_schema(self, schema_id: SchemaId | SchemaGuid) -> WriterSchema:
        """The schema of an id of `ids.json`, earlier versions too. KeyError for any other; GUIDs are a registry's."""
        return self.local[schema_id]  # type: ignore[index]  # a GUID is bytes, and so never among the keys


OUTPUT_SCHEMAS: Final = tuple(spec.schema for spec in OUTPUTS.values() if spec.schema is not None)
_ENVELOPE: Final = ("eventId", "event", "occurredAt", "tenant", "correlationId", "actor")


def build_schemas(
    texts: Mapping[str, str], ids_text: str, history: Mapping[str, str] = MappingProxyType({})
) -> tuple[Schemas | None, tuple[str, ...]]:
    """Our schemas from the texts of their files, and all findings; None when there is one.

    `texts`: full name -> text, shared records among them; `ids_text`: `ids.json`, name -> id; `history`: id -> text of
    an earlier version, self-contained.
    """
    findings: list[str] = []
    definitions = _definitions(texts, findings)
    ids = _ids(ids_text, findings)
    own: dict[str, ReaderSchema] = {}
    for name in (*(family.record for family in FAMILIES.values()), *OUTPUT_SCHEMAS):
        if name not in definitions:
            if name not in texts:
                findings.append(f"{name}: there is no {name}.avsc")
        elif name not in ids:
            findings.append(f"ids.json: no id for {name}")
        else:
            try:
                text = _self_contained(name, definitions)
                parsed, type_ = parse(text)
            except SchemaError as error:
                findings.append(f"{name}: {error}")
                continue
            if not isinstance(type_, Record):
                findings.append(f"{name}: not a record")
                continue
            findings += (f"{name}: {what}" for what in _unfit(type_))
            own[name] = ReaderSchema(name, ids[name], text, type_, parsed)
    findings += (f"ids.json: {name} has an id and no schema" for name in ids if name not in texts)
    local = {schema.id: writer_schema(schema.text) for schema in own.values()}
    local |= _earlier(history, local, findings)
    if findings:
        return None, tuple(findings)
    families = {family.record: own[family.record] for family in FAMILIES.values()}
    by_event = {event: families[FAMILIES[row.family].record] for event, row in EVENTS.items()}
    outputs = {name: own[name] for name in OUTPUT_SCHEMAS}
    return Schemas(
        MappingProxyType(families), MappingProxyType(by_event), MappingProxyType(outputs), MappingProxyType(local)
    ), ()


def _definitions(texts: Mapping[str, str], findings: list[str]) -> dict[str, Any]:
    """Full name -> schema as JSON, of the texts that are JSON and define what their file's name says."""
    definitions = {}
    for name, text in texts.items():
        try:
            schema = json.loads(text)
        except (ValueError, RecursionError) as error:
            findings.append(f"{name}: not JSON: {error}")
            continue
        given = _full_name(schema, "") if isinstance(schema, dict) and "name" in schema else "no named type"
        if given != name:
            findings.append(f"{name}: the file defines {given}")
            continue
        definitions[name] = schema
    return definitions


def _ids(text: str, findings: list[str]) -> dict[str, SchemaId]:
    try:
        given = json.loads(text)
    except ValueError as error:
        findings.append(f"ids.json: not JSON: {error}")
        return {}
    if not isinstance(given, dict):
        findings.append("ids.json: not an object of schema name -> id")
        return {}
    ids: dict[str, SchemaId] = {}
    for name, number in given.items():
        if type(number) is not int or not FIRST_LOCAL_ID <= number <= _LAST_ID:
            findings.append(f"ids.json: {name}: an id is a whole number from {FIRST_LOCAL_ID} to {_LAST_ID}")
        elif number in ids.values():
            findings.append(f"ids.json: {name}: id {number} is another schema's")
        else:
            ids[name] = SchemaId(number)
    return ids


def _earlier(
    history: Mapping[str, str], local: Mapping[SchemaId, WriterSchema], findings: list[str]
) -> dict[SchemaId, WriterSchema]:
    earlier: dict[SchemaId, WriterSchema] = {}
    for number, text in history.items():
        schema = writer_schema(text)
        if not number.isascii() or not number.isdigit() or not FIRST_LOCAL_ID <= int(number) <= _LAST_ID:
            findings.append(f"history: {number}: a file is named by its id, from {FIRST_LOCAL_ID} up")
        elif SchemaId(int(number)) in local:
            findings.append(f"history: {number} is the id of a current schema")
        elif schema.problem:
            findings.append(f"history: {number}: {schema.problem}")
        else:
            earlier[SchemaId(int(number))] = schema
    return earlier


def _full_name(schema: Mapping[str, Any], namespace: str) -> str:
    name = str(schema["name"])
    space = str(schema.get("namespace", namespace))
    return name if "." in name or not space else f"{space}.{name}"


def _self_contained(name: str, definitions: Mapping[str, Any]) -> str:
    """One schema without references: each shared record stands in full where it is named first, by name after that."""
    defined: set[str] = set()

    def inline(schema: Any, namespace: str) -> Any:
        if isinstance(schema, list):
            return [inline(branch, namespace) for branch in schema]
        if isinstance(schema, str):
            if schema in definitions and schema not in defined:
                return inline(definitions[schema], "")
            return schema
        if not isinstance(schema, dict):
            return schema
        made = dict(schema)
        if "name" in made and made.get("type") in ("record", "enum", "fixed"):
            defined.add(_full_name(made, namespace))
            namespace = _full_name(made, namespace).rpartition(".")[0]
        for part in ("type", "items", "values"):
            if part in made:
                made[part] = inline(made[part], namespace)
        if isinstance(made.get("fields"), list):
            made["fields"] = [inline(one, namespace) for one in made["fields"]]
        return made

    return json.dumps(inline(definitions[name], ""), separators=(",", ":"))


def _unfit(record: Record) -> Iterator[str]:
    """What keeps a record of ours from being read, or from being what the catalogue and the model say it is."""
    yield from _unread(record, "")
    names = [one.name for one in record.fields]
    family = next((row for row in FAMILIES.values() if row.record == record.name), None)
    if family is not None:
        if (*names[: len(_ENVELOPE)], names[-1]) != (*_ENVELOPE, "customFields"):
            yield f"its fields begin with {', '.join(_ENVELOPE)} and end with customFields"
        expected = [event for event, row in EVENTS.items() if row.family == family.name]
        symbols = next((one.type.symbols for one in record.fields if isinstance(one.type, Enum)), ())
        if expected != list(symbols):
            differ = ", ".join(sorted(set(expected) ^ set(symbols))) or "their order"
            yield f"its events are not those of the catalogue: {differ}"
    elif record.name == MESSAGE and names != [one.name for one in fields(Communicationmessage)]:
        yield "its fields are not the 21 published ones, in their order"


_READ: Final = frozenset({"boolean", "int", "long", "string", "uuid", "date", "timestamp-millis", "timestamp-micros"})


def _unread(type_: Type, path: str) -> Iterator[str]:
    """Each place in a schema of ours that has a type for which there is no JSON form."""
    match type_:
        case Record():
            for one in type_.fields:
                yield from _unread(one.type, f"{path}.{one.name}".lstrip("."))
        case Array():
            yield from _unread(type_.items, f"{path}[]")
        case Map():
            yield from _unread(type_.values, f"{path}{{}}")
        case Recursive():
            yield f"{path}: {type_.name} contains itself"
        case Union():
            inner = type_.nullable
            if inner is not None:
                yield from _unread(inner, path)
            elif not all(_stands_alone(branch) for branch in type_.branches):
                yield f"{path}: a union is null and one type, or custom field values"
        case Scalar() if type_.kind not in _READ:
            yield f"{path}: {type_.kind} is not among the types of events"
        case Fixed():
            yield f"{path}: fixed is not among the types of events"
        case _:
            pass


def _stands_alone(type_: Type) -> bool:
    """Whether a value of this type can be told from the others of a custom field."""
    return isinstance(type_, DecimalBytes) or (
        isinstance(type_, Scalar) and type_.kind in {"null", "boolean", "string", "date", "timestamp-micros"}
    )


SchemaOf = Callable[[SchemaId | SchemaGuid], WriterSchema]
"""The writer schema of an id. KeyError: there is no such id (RefusedSchemaError: it is refused, and counts as unknown).
UnavailableError: nobody could say."""
