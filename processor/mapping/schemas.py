"""Avro schemas as values: ours, a writer's, and which id is whose. Pure; `processor.schema_files` reads the files.

A schema text becomes a tree of the types below once; reading and writing are then planned from two trees
(`avro_form`, `json_form`). fastavro checks the text and writes Avro.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final

from fastavro.schema import SchemaParseException, parse_schema

from processor.model.catalogue import EVENTS, FAMILIES
from processor.model.messages import Communicationmessage
from processor.model.records import EventName, SchemaGuid, SchemaId

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


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """`default` is the schema's JSON value; NO_DEFAULT: the field is required. `aliases` are names it had before."""

    name: str
    type: "Type"
    default: object = NO_DEFAULT
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """`name` is the full name."""

    name: str
    fields: tuple[Field, ...]

    @property
    def namespace(self) -> str:
        """The full name without its last part."""
        return self.name.rpartition(".")[0]


Type = Scalar | DecimalBytes | Fixed | Enum | Array | Map | Union | Record


def is_null(type_: Type) -> bool:
    """Whether this is Avro's null."""
    return isinstance(type_, Scalar) and type_.kind == "null"


class SchemaError(Exception):
    """A schema text that is no Avro schema, or one that we do not read; `str(error)` says what is wrong."""


_PRIMITIVES: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_LOGICAL: Final = frozenset(  # an unknown logical type is its underlying one, says Avro
    {("string", "uuid"), ("int", "date"), ("long", "timestamp-millis"), ("long", "timestamp-micros")}
)
_FOREIGN_FAULTS: Final = (SchemaParseException, AttributeError, KeyError, RecursionError, TypeError, ValueError)


def parse(text: str, references: Sequence[str] = ()) -> tuple[Any, Type]:
    """The schema as fastavro holds it, and as a tree. `references`: texts that `text` names, each after those it names.

    SchemaError for anything that is not an Avro schema, names what it does not define, or contains itself (events are
    trees of a fixed depth: nothing that we read is recursive).
    """
    named: dict[str, Any] = {}
    types: dict[str, Type | None] = {}
    parsed: Any = None
    for one in (*references, text):
        try:
            parsed = parse_schema(json.loads(one), named)
            type_ = _tree(parsed, types)
        except _FOREIGN_FAULTS as error:  # fastavro raises any of these for a text that is JSON but no schema
            raise SchemaError(f"{type(error).__name__}: {error}"[:300]) from error
    return parsed, type_


def _tree(schema: Any, types: dict[str, Type | None]) -> Type:
    """`schema` as fastavro normalises it: names are full. `types` has None for a name whose definition is open."""
    if isinstance(schema, list):
        return Union(tuple(_tree(branch, types) for branch in schema))
    if isinstance(schema, str):
        if schema in _PRIMITIVES:
            return Scalar(schema)
        known = types[schema]
        if known is None:
            raise SchemaError(f"{schema} contains itself")
        return known
    kind = schema["type"]
    match kind:
        case "array":
            return Array(_tree(schema["items"], types))
        case "map":
            return Map(_tree(schema["values"], types))
        case "record" | "error" | "enum" | "fixed":
            name = schema["name"]
            types[name] = None
            types[name] = made = _named(kind, name, schema, types)
            return made
        case "bytes" if schema.get("logicalType") == "decimal":
            return DecimalBytes(int(schema["precision"]), int(schema.get("scale", 0)))
        case str() if kind in _PRIMITIVES:
            logical = schema.get("logicalType")
            return Scalar(logical if (kind, logical) in _LOGICAL else kind)
        case _:
            return _tree(kind, types)


def _named(kind: str, name: str, schema: Mapping[str, Any], types: dict[str, Type | None]) -> Type:
    if kind == "enum":
        return Enum(name, tuple(schema["symbols"]), schema.get("default"))
    if kind == "fixed":
        return Fixed(name, int(schema["size"]))
    return Record(
        name,
        tuple(
            Field(
                one["name"],
                _tree(one["type"], types),
                one.get("default", NO_DEFAULT),
                tuple(one.get("aliases", ())),
            )
            for one in schema["fields"]
        ),
    )


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
    """A schema that exists, perhaps, and has been refused for so long that it counts as unknown."""

    def __init__(self, wanted: SchemaId | SchemaGuid, detail: str) -> None:
        super().__init__(wanted)
        self.detail = detail


def schema_name(wanted: SchemaId | SchemaGuid) -> str:
    """For a detail: `id 7`, or `GUID` and its 32 hexadecimal digits."""
    return f"GUID {wanted.hex()}" if isinstance(wanted, bytes) else f"id {wanted}"


def writer_schema(text: str, references: Sequence[str] = ()) -> WriterSchema:
    """Never raises: a schema in another language, or one that cannot be read, has a `problem`.

    `references` are the texts of the schemas that `text` names, each after those that it names itself.
    """
    try:
        _, type_ = parse(text, references)
    except SchemaError as error:
        return WriterSchema(text, "", None, f"not an Avro schema that can be read: {error}")
    if not isinstance(type_, Record):
        return WriterSchema(text, "", None, "not a record")
    return WriterSchema(text, type_.name, type_)


# ---------------------------------------------------------------------------------------------------------------------
# Ours


@dataclass(frozen=True, slots=True, eq=False)
class OwnSchema:
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

    families: Mapping[str, OwnSchema]
    by_event: Mapping[EventName, OwnSchema]
    outputs: Mapping[str, OwnSchema]
    local: Mapping[SchemaId, WriterSchema]

    def local_schema(self, schema_id: SchemaId | SchemaGuid) -> WriterSchema:
        """The schema of an id of `ids.json`, earlier versions too. KeyError for any other; GUIDs are a registry's."""
        return self.local[schema_id]  # type: ignore[index]  # a GUID is bytes, and so never among the keys


MESSAGE: Final = "communications.Communicationmessage"
STATUS: Final = "communications.MessageStatus"
STREAM_EVENT: Final = "communications.StreamEvent"
DECISION: Final = "communications.Decision"
NOTIFICATION: Final = "notifications.Message"
OUTPUTS: Final = (MESSAGE, STATUS, STREAM_EVENT, DECISION, NOTIFICATION)
_ENVELOPE: Final = ("eventId", "event", "occurredAt", "tenant", "correlationId", "actor")


def schemas_of(
    texts: Mapping[str, str], ids_text: str, history: Mapping[str, str] = MappingProxyType({})
) -> tuple[Schemas | None, tuple[str, ...]]:
    """Our schemas from the texts of their files, and all findings; None when there is one.

    `texts`: full name -> text, shared records among them; `ids_text`: `ids.json`, name -> id; `history`: id -> text of
    an earlier version, self-contained.
    """
    findings: list[str] = []
    definitions = _definitions(texts, findings)
    ids = _ids(ids_text, findings)
    own: dict[str, OwnSchema] = {}
    for name in (*(family.record for family in FAMILIES.values()), *OUTPUTS):
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
            own[name] = OwnSchema(name, ids[name], text, type_, parsed)
    findings += (f"ids.json: {name} has an id and no schema" for name in ids if name not in texts)
    local = {schema.id: writer_schema(schema.text) for schema in own.values()}
    local |= _earlier(history, local, findings)
    if findings:
        return None, tuple(findings)
    families = {family.record: own[family.record] for family in FAMILIES.values()}
    by_event = {event: families[FAMILIES[row.family].record] for event, row in EVENTS.items()}
    outputs = {name: own[name] for name in OUTPUTS}
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
