"""The value of a record as JSON for a person to read and edit, even where it is no valid event. Pure."""

import json
import re
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from processor.domain.placeholders import VALUE_MASK
from processor.domain.record import TENANT_PATTERN, Headers
from processor.wire.avro_reader import read_avro
from processor.wire.errors import ContentError
from processor.wire.framing import find_schema_id
from processor.wire.json_codec import Number, json_bytes, parse_json
from processor.wire.reader_schemas import Schemas
from processor.wire.schema import Array, Map, Record, Scalar, SchemaOf, Type, Union

_TOKEN_OR_SPACE: Final = re.compile(r'("(?:[^"\\]|\\.)*+")|[ \t\r\n]+')

# C1, line and paragraph separators, and what turns the direction of writing; JSON itself escapes what is below a space.
_CONTROL: Final = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def event_json(value: bytes, headers: Headers, *, schemas: Schemas, schema_of: SchemaOf) -> str | None:
    """The event as `processor produce --file` takes it, in one line; None where the bytes give none.

    A value that is a JSON object, with or without the header that says so, is given as it was written, without white
    space between its tokens. An Avro value is read by its schema without the checks of `decode`: a key, a tenant or a
    holder that is refused there can be corrected only where it can be read. `schema_of` as in `decode`: what it raises
    but KeyError passes through.
    """
    try:
        if isinstance(parse_json(value), dict):
            return escape_controls(_TOKEN_OR_SPACE.sub(r"\1", value.decode()))
    except ContentError:
        pass
    try:
        schema_id, start = find_schema_id(value, headers)
        writer = schema_of(schema_id)
        family = schemas.families.get(writer.name)
        if writer.type is None or family is None:
            return None
        fields = read_avro(value, start, writer.type, _unchecked(family.type))
        return escape_controls(json_bytes(family.type, fields).decode())
    except (ContentError, KeyError, ValueError, OverflowError):
        return None


def escape_controls(text: str) -> str:
    """An equal JSON text without characters that a terminal or an editor obeys: they stand in its strings alone."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


@lru_cache(maxsize=64)  # as many as there are families, and more
def _unchecked(type_: Type) -> Type:
    """The same type with texts that may be anything: a text in a union of its own is read without a field's check."""
    match type_:
        case Scalar("string" | "uuid"):
            return Union((Scalar("string"),))
        case Record():
            return replace(type_, fields=tuple(replace(field, type=_unchecked(field.type)) for field in type_.fields))
        case Array():
            return Array(_unchecked(type_.items))
        case Map():
            return Map(_unchecked(type_.values))
        case Union():
            return Union(tuple(map(_unchecked_branch, type_.branches)))
        case _:
            return type_


def _unchecked_branch(type_: Type) -> Type:
    """A branch, which no check of a field reaches, so texts stay: a union in a union is none."""
    return type_ if isinstance(type_, Scalar) else _unchecked(type_)


_UNMASKED: Final = {  # fields that say which event it is -> what they hold; anything else there is masked too
    "event": re.compile(r"[A-Z][A-Z_]{1,63}"),
    "eventId": re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
    "occurredAt": re.compile(r"\d{4}-\d\d-\d\dT[\d:.]{5,20}(Z|[+-]\d\d:\d\d)", re.ASCII),
    "tenant": TENANT_PATTERN,
}


def indented_event(text: str) -> str:
    """What `event_json` gives, over many lines; its numbers as they are written."""
    return _indented(parse_json(text.encode()), 0)


def masked_event(text: str) -> dict[str, Any]:
    """What `event_json` gives, with `***` in place of all but which event it is."""
    fields: dict[str, Any] = parse_json(text.encode())
    return {name: value if _says_which(name, value) else _masked(value) for name, value in fields.items()}


def _says_which(name: str, value: Any) -> bool:
    return name in _UNMASKED and isinstance(value, str) and _UNMASKED[name].fullmatch(value) is not None


def _masked(value: Any) -> Any:
    match value:
        case dict():
            return {name: _masked(inner) for name, inner in value.items()}
        case list():
            return [_masked(inner) for inner in value]
        case _:
            return VALUE_MASK


def _indented(value: Any, depth: int) -> str:
    """The text of a JSON value; numbers as they were written."""
    inner, outer = "  " * (depth + 1), "  " * depth
    match value:
        case dict() if value:
            fields = [f"{inner}{json.dumps(name)}: {_indented(field, depth + 1)}" for name, field in value.items()]
            return "{\n" + ",\n".join(fields) + f"\n{outer}}}"
        case list() if value:
            return "[\n" + ",\n".join(inner + _indented(item, depth + 1) for item in value) + f"\n{outer}]"
        case Number():
            return value.text
        case _:
            return json.dumps(value, ensure_ascii=False)
