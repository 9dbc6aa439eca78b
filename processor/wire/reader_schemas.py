"""The schemas that events and outputs are read with. Pure; `registry/schema_files.py` reads the files."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final

from processor.domain.catalogue import EVENTS, FAMILIES, Family
from processor.domain.message import Communicationmessage
from processor.domain.output_topics import MESSAGE, OUTPUTS
from processor.domain.record import EventName, SchemaGuid, SchemaId
from processor.wire.framing import frame
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
)
from processor.wire.schema_parser import SchemaError, full_name, parse_schema, parse_writer_schema

FIRST_LOCAL_ID: Final = 2_000_000_000  #: Ids of `schemas/ids.json` start here, so that they never meet a registry's.
_LAST_ID: Final = 2**31 - 1
OUTPUT_SCHEMAS: Final = tuple(spec.schema for spec in OUTPUTS.values() if spec.schema is not None)


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
        """The 5 bytes before each Avro value."""
        return frame(self.id)


@dataclass(frozen=True, slots=True, eq=False)
class Schemas:
    """All reader schemas: of families by the full name of their record, and by event; of outputs by their full name.

    `local` has each id of `ids.json`, and those of earlier versions.
    """

    families: Mapping[str, ReaderSchema]
    by_event: Mapping[EventName, ReaderSchema]
    outputs: Mapping[str, ReaderSchema]
    local: Mapping[SchemaId, WriterSchema]

    def local_schema(self, schema_id: SchemaId | SchemaGuid) -> WriterSchema:
        """The schema of an id of `ids.json`, earlier versions too. KeyError for any other; GUIDs are a registry's."""
        return self.local[schema_id]  # type: ignore[index]  # a GUID is bytes, and so never among the keys


def build_schemas(
    texts: Mapping[str, str], ids_text: str, history: Mapping[str, str] = MappingProxyType({})
) -> tuple[Schemas | None, tuple[str, ...]]:
    """The schemas of these texts, and what is wrong with the texts; None when anything is.

    `texts`: full name -> text, shared records among them; `ids_text`: `ids.json`, name -> id; `history`: id -> text of
    an earlier version, self-contained.
    """
    definitions, errors = _parse_definitions(texts)
    ids, id_errors = _parse_ids(ids_text)
    errors += id_errors
    built: dict[str, ReaderSchema] = {}
    for name in (*(family.record for family in FAMILIES.values()), *OUTPUT_SCHEMAS):
        if name not in texts:
            errors.append(f"{name}: there is no {name}.avsc")
        elif name in definitions and name not in ids:
            errors.append(f"ids.json: no id for {name}")
        elif name in definitions:
            schema, schema_errors = _build_schema(name, ids[name], definitions)
            errors += schema_errors
            built |= {} if schema is None else {name: schema}
    errors += (f"ids.json: {name} has an id and no schema" for name in ids if name not in texts)
    current = {schema.id: parse_writer_schema(schema.text) for schema in built.values()}
    earlier, history_errors = _parse_history(history, current)
    errors += history_errors
    return (None, tuple(errors)) if errors else (_schemas(built, current | earlier), ())


def _schemas(built: Mapping[str, ReaderSchema], local: Mapping[SchemaId, WriterSchema]) -> Schemas:
    families = {family.record: built[family.record] for family in FAMILIES.values()}
    return Schemas(
        families=MappingProxyType(families),
        by_event=MappingProxyType({event: families[FAMILIES[row.family].record] for event, row in EVENTS.items()}),
        outputs=MappingProxyType({name: built[name] for name in OUTPUT_SCHEMAS}),
        local=MappingProxyType(dict(local)),
    )


# ---------------------------------------------------------------------------------------------------------------------
# From the texts of files. Each function gives its result, as far as there is one, and what is wrong.


def _parse_definitions(texts: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Full name -> schema as JSON, of the texts that are JSON and define what their file's name says."""
    definitions, errors = {}, []
    for name, text in texts.items():
        try:
            schema = json.loads(text)
        except (ValueError, RecursionError) as error:
            errors.append(f"{name}: not JSON: {error}")
            continue
        defined = full_name(schema, "") if isinstance(schema, dict) and "name" in schema else "no named type"
        if defined == name:
            definitions[name] = schema
        else:
            errors.append(f"{name}: the file defines {defined}")
    return definitions, errors


def _parse_ids(text: str) -> tuple[dict[str, SchemaId], list[str]]:
    try:
        numbers = json.loads(text)
    except ValueError as error:
        return {}, [f"ids.json: not JSON: {error}"]
    if not isinstance(numbers, dict):
        return {}, ["ids.json: not an object of schema name -> id"]
    ids: dict[str, SchemaId] = {}
    errors = []
    for name, number in numbers.items():
        if type(number) is not int or not FIRST_LOCAL_ID <= number <= _LAST_ID:
            errors.append(f"ids.json: {name}: an id is a whole number from {FIRST_LOCAL_ID} to {_LAST_ID}")
        elif number in ids.values():
            errors.append(f"ids.json: {name}: id {number} is another schema's")
        else:
            ids[name] = SchemaId(number)
    return ids, errors


def _parse_history(
    history: Mapping[str, str], current: Mapping[SchemaId, WriterSchema]
) -> tuple[dict[SchemaId, WriterSchema], list[str]]:
    earlier: dict[SchemaId, WriterSchema] = {}
    errors = []
    for number, text in history.items():
        schema = parse_writer_schema(text)
        if not number.isascii() or not number.isdigit() or not FIRST_LOCAL_ID <= int(number) <= _LAST_ID:
            errors.append(f"history: {number}: a file is named by its id, from {FIRST_LOCAL_ID} up")
        elif SchemaId(int(number)) in current:
            errors.append(f"history: {number} is the id of a current schema")
        elif schema.error:
            errors.append(f"history: {number}: {schema.error}")
        else:
            earlier[SchemaId(int(number))] = schema
    return earlier, errors


def _build_schema(
    name: str, schema_id: SchemaId, definitions: Mapping[str, Any]
) -> tuple[ReaderSchema | None, list[str]]:
    try:
        text = _inline_references(name, definitions)
        parsed, type_ = parse_schema(text)
    except SchemaError as error:
        return None, [f"{name}: {error}"]
    if not isinstance(type_, Record):
        return None, [f"{name}: not a record"]
    errors = [f"{name}: {error}" for error in (*_unsupported_types(type_, ""), *_contract_violations(type_))]
    return ReaderSchema(name, schema_id, text, type_, parsed), errors


def _inline_references(name: str, definitions: Mapping[str, Any]) -> str:
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
        inlined = dict(schema)
        if "name" in inlined and inlined.get("type") in ("record", "enum", "fixed"):
            defined.add(full_name(inlined, namespace))
            namespace = full_name(inlined, namespace).rpartition(".")[0]
        for part in ("type", "items", "values"):
            if part in inlined:
                inlined[part] = inline(inlined[part], namespace)
        if isinstance(inlined.get("fields"), list):
            inlined["fields"] = [inline(field_schema, namespace) for field_schema in inlined["fields"]]
        return inlined

    return json.dumps(inline(definitions[name], ""), separators=(",", ":"))


# ---------------------------------------------------------------------------------------------------------------------
# What a reader schema has to be

_ENVELOPE: Final = ("eventId", "event", "occurredAt", "tenant", "correlationId", "actor")
SUPPORTED_KINDS: Final = frozenset(
    {"boolean", "int", "long", "string", "uuid", "date", "timestamp-millis", "timestamp-micros"}
)


def _contract_violations(record: Record) -> Iterator[str]:
    """What keeps a record from being what the catalogue and the messages say it is."""
    family = next((family for family in FAMILIES.values() if family.record == record.name), None)
    if family is not None:
        yield from _family_violations(family, record)
    elif record.name == MESSAGE and [field.name for field in record.fields] != [
        field.name for field in fields(Communicationmessage)
    ]:
        yield f"its fields are not the {len(fields(Communicationmessage))} published ones, in their order"


def _family_violations(family: Family, record: Record) -> Iterator[str]:
    names = [field.name for field in record.fields]
    if (*names[: len(_ENVELOPE)], names[-1]) != (*_ENVELOPE, "customFields"):
        yield f"its fields begin with {', '.join(_ENVELOPE)} and end with customFields"
    expected = [event for event, row in EVENTS.items() if row.family == family.name]
    symbols = next((field.type.symbols for field in record.fields if isinstance(field.type, Enum)), ())
    if expected != list(symbols):
        differences = ", ".join(sorted(set(expected) ^ set(symbols))) or "their order"
        yield f"its events are not those of the catalogue: {differences}"


def _unsupported_types(type_: Type, path: str) -> Iterator[str]:
    """Each place in a reader schema that has a type without a JSON form."""
    match type_:
        case Record():
            for record_field in type_.fields:
                yield from _unsupported_types(record_field.type, f"{path}.{record_field.name}".lstrip("."))
        case Array():
            yield from _unsupported_types(type_.items, f"{path}[]")
        case Map():
            yield from _unsupported_types(type_.values, f"{path}{{}}")
        case Recursive():
            yield f"{path}: {type_.name} contains itself"
        case Union():
            inner = type_.nullable
            if inner is not None:
                yield from _unsupported_types(inner, path)
            elif not all(map(_is_custom_value, type_.branches)):
                yield f"{path}: a union is null and one type, or custom field values"
        case Scalar() if type_.kind not in SUPPORTED_KINDS:
            yield f"{path}: {type_.kind} is not among the types of events"
        case Fixed():
            yield f"{path}: fixed is not among the types of events"
        case _:
            pass


def _is_custom_value(type_: Type) -> bool:
    """Whether a value of this type can be distinguished from the others of a custom field."""
    return isinstance(type_, DecimalBytes) or (
        isinstance(type_, Scalar) and type_.kind in {"null", "boolean", "string", "date", "timestamp-micros"}
    )
