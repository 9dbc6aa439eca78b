"""Fields of an event's JSON that its schema does not have: nothing reads them, and perhaps another was meant. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, Final

from processor.domain.record import EventName
from processor.domain.text import closest_match, did_you_mean
from processor.wire.errors import quote_name
from processor.wire.reader_schemas import Schemas
from processor.wire.schema import Array, Map, Record, Type, Union

_REPORT_LIMIT_COUNT: Final = 100
# The closest name takes up to a millisecond to find, and an event may consist of unknown fields alone.
_SEARCH_LIMIT_COUNT: Final = 10_000
_NAME_LIMIT_CHARACTERS: Final = 100  # of what is compared with a schema's names
_MIN_PREFIX_CHARACTERS: Final = 3


@dataclass(frozen=True, slots=True)
class UnknownField:
    """`path` is as in the detail of a dead letter, items of a list sharing one: `holds[].amonut`. `nearest` is a name
    that the schema has in its place, or empty."""

    path: str
    nearest: str

    def __str__(self) -> str:
        hint = did_you_mean(self.nearest, before="; ")
        return f"unknown field {self.path}{hint}"


def unknown_fields(value: Any, schemas: Schemas) -> tuple[UnknownField, ...]:
    """The fields of an event, as `parse_json` gives it, that its schema does not have: each path once and at most a
    hundred, also when the event is invalid. None of a value that names no event."""
    name = value.get("event") if isinstance(value, dict) else None
    schema = schemas.by_event.get(EventName(name)) if isinstance(name, str) else None
    if schema is None:
        return ()
    found = islice(_unknown_fields(schema.type, value), _SEARCH_LIMIT_COUNT)
    return tuple(islice(dict.fromkeys(found), _REPORT_LIMIT_COUNT))


def _unknown_fields(type_: Type, value: Any, path: str = "") -> Iterator[UnknownField]:
    """Those of a value of `parse_json`, whatever else is wrong with it. Any key of a map is known."""
    match type_:
        case Union():
            if type_.nullable is not None:
                yield from _unknown_fields(type_.nullable, value, path)
        case Array() if isinstance(value, list):
            for item in value:
                yield from _unknown_fields(type_.items, item, f"{path}[]")
        case Map() if isinstance(value, dict):
            for item in value.values():
                yield from _unknown_fields(type_.values, item, f"{path}[…]")
        case Record() if isinstance(value, dict):
            fields = {name: field for field in type_.fields for name in (field.name, *field.aliases)}
            for name, inner in value.items():
                inner_path = f"{path}.{quote_name(name)}".lstrip(".")
                if name in fields:
                    yield from _unknown_fields(fields[name].type, inner, inner_path)
                else:
                    yield UnknownField(inner_path, _nearest(name[:_NAME_LIMIT_CHARACTERS], tuple(fields)))


@lru_cache(maxsize=1024)
def _nearest(name: str, fields: tuple[str, ...]) -> str:
    # Programs in other languages write EMAIL_ADDRESS or email_address, and people a part of a name.
    by_lower_case = {field.lower(): field for field in fields}
    plain = re.sub("[_ -]", "", name.lower())
    longer = (field for field in by_lower_case if len(plain) >= _MIN_PREFIX_CHARACTERS and field.startswith(plain))
    nearest = closest_match(plain, by_lower_case) or next(longer, "")
    return by_lower_case.get(nearest, "")
