"""Plain JSON of events and outputs, both ways, by our schemas; not Avro's own JSON encoding.

Decimals are text or numbers, read exactly; times RFC 3339; absent is null; what the schema does not name is ignored.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from processor.domain.reasons import Reason
from processor.domain.text import closest_match, did_you_mean, quote
from processor.wire.scalars import (
    EPOCH,
    EXACT,
    Check,
    ContentError,
    default_value,
    parse_date,
    parse_decimal,
    parse_timestamp,
    quote_name,
    text_check,
    unknown_symbol_reason,
    uuid,
)
from processor.wire.schema import (
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
)

JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Number:
    """A JSON number as it was written: nothing is rounded, no exponent worked out before it is checked."""

    text: str


# ---------------------------------------------------------------------------------------------------------------------
# From bytes

_DEEPEST: Final = 64  # events are 7 deep; the rest is room for fields that we ignore
_BRACKETS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


def parse_json(data: bytes) -> Any:
    """The JSON value that `data` holds: dict, list, str, Number, bool or None.

    ContentError for anything else: not UTF-8, a byte order mark, NaN, a key twice in one object, nested too deep.
    """
    if data.startswith(b"\xef\xbb\xbf"):
        raise ContentError("not JSON: it begins with a byte order mark")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ContentError(f"not UTF-8 at byte {error.start}") from None
    if data.count(b"{") + data.count(b"[") > _DEEPEST:
        _refuse_depth(data)
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise ContentError(f"not JSON: {error.msg} at character {error.pos}") from None


def _refuse_depth(data: bytes) -> None:
    """Counted rather than left to the interpreter's recursion limit, which depends on who calls."""
    depth = 0
    for found in _BRACKETS.finditer(data):
        if found[0] in b"[{":
            depth += 1
            if depth > _DEEPEST:
                raise ContentError(f"nested more than {_DEEPEST} deep")
        elif found[0] in b"]}":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = set(made)
        for name, _ in pairs:
            if name not in names:
                raise ContentError(f"key {quote(name)} occurs twice in one object")
            names.remove(name)
    return made


def _no_constant(name: str) -> Any:
    raise ContentError(f"not JSON: {name}")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=Number, parse_int=Number, parse_constant=_no_constant
)

# ---------------------------------------------------------------------------------------------------------------------
# From JSON to values

Take = Callable[[Any], Any]


@lru_cache(maxsize=4096)
def json_decoder(type_: Type) -> Take:
    """How a value of `parse_json` becomes one of `type_`, equal to what Avro gives. ContentError when it does not."""
    match type_:
        case Record():
            return _record(type_)
        case Array():
            return _array(json_decoder(type_.items))
        case Map():
            return _map(json_decoder(type_.values))
        case Union():
            inner = type_.nullable
            return _tagged(type_) if inner is None else _or_null(json_decoder(inner))
        case Enum():
            return _enum(type_, Reason.INVALID_EVENT)
        case DecimalBytes():
            return lambda value: parse_decimal(_digits(value), type_)
        case Scalar():
            return _SCALARS[type_.kind]
        case Fixed() | Recursive():
            raise AssertionError("our schemas have neither: found when they are loaded")


def _wrong(expected: str, value: Any) -> ContentError:
    match value:
        case None:
            given = "null"
        case bool():
            given = "true or false"
        case str():
            given = "text"
        case Number():
            given = "a number"
        case list():
            given = "a list"
        case _:
            given = "an object"
    return ContentError("is missing" if value is None else f"{expected} expected, {given} given")


def expect_text(value: Any) -> str:
    """A JSON value that has to be text, and text that can be written again. ContentError."""
    if not isinstance(value, str):
        raise _wrong("text", value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ContentError(f"half of a surrogate pair at character {error.start}") from None
    return value


def _digits(value: Any) -> str:
    if isinstance(value, Number):
        return value.text
    if isinstance(value, str):
        return value
    raise _wrong("a decimal number", value)


_WHOLE: Final = re.compile(r"-?\d{1,19}", re.ASCII)


def _whole(value: Any, bits: int) -> int:
    if not isinstance(value, Number):
        raise _wrong("a whole number", value)
    if _WHOLE.fullmatch(value.text) is None or not -(2 ** (bits - 1)) <= int(value.text) < 2 ** (bits - 1):
        raise ContentError(f"not a whole number of {bits} bits: {quote(value.text)}")
    return int(value.text)


def expect_bool(value: Any) -> bool:
    """A JSON value that has to be true or false. ContentError."""
    if not isinstance(value, bool):
        raise _wrong("true or false", value)
    return value


def _millis(value: Any) -> int:
    return (parse_timestamp(expect_text(value)) - EPOCH) // _MILLISECOND


_SCALARS: Final[dict[str, Take]] = {
    "boolean": expect_bool,
    "int": lambda value: _whole(value, 32),
    "long": lambda value: _whole(value, 64),
    "string": expect_text,
    "uuid": lambda value: uuid(expect_text(value)),
    "date": lambda value: parse_date(expect_text(value)),
    "timestamp-micros": lambda value: parse_timestamp(expect_text(value)),
    "timestamp-millis": _millis,
}


def _or_null(take: Take) -> Take:
    return lambda value: None if value is None else take(value)


def _enum(type_: Enum, unknown: Reason) -> Take:
    symbols = frozenset(type_.symbols)

    def take(value: Any) -> str:
        text = expect_text(value)
        if text in symbols:
            return text
        if type_.default is not None:
            return type_.default
        raise ContentError(f"{quote(text)} is not known", unknown)

    return take


_TAGS: Final = {"date": "date", "timestamp-micros": "timestamp"}


def _tag(branch: Type) -> str:
    return _TAGS[branch.kind] if isinstance(branch, Scalar) else "decimal"


def _tagged(type_: Union) -> Take:
    """Custom field values: text and booleans stand for themselves, `{"decimal": "12.5"}` and so on for the rest."""
    alone = {"boolean", "string"}
    tags = {
        _tag(branch): json_decoder(branch)
        for branch in type_.branches
        if not is_null(branch) and not (isinstance(branch, Scalar) and branch.kind in alone)
    }

    def take(value: Any) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return expect_text(value)
        if not isinstance(value, dict) or len(value) != 1 or not value.keys() <= tags.keys():
            raise ContentError(f"text, true, false, or an object with one of {', '.join(sorted(tags))} expected")
        ((tag, inner),) = value.items()
        try:
            return tags[tag](inner)
        except ContentError as error:
            raise error.at(tag) from None

    return take


def _array(take_item: Take) -> Take:
    def take(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise _wrong("a list", value)
        made: list[Any] = []
        try:
            for item in value:
                made.append(take_item(item))
        except ContentError as error:
            raise error.at(f"[{len(made)}]") from None
        return made

    return take


def _map(take_value: Take) -> Take:
    def take(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _wrong("an object", value)
        made: dict[str, Any] = {}
        name = ""
        try:
            for name, inner in value.items():
                made[expect_text(name)] = take_value(inner)
        except ContentError as error:
            raise error.at(f"[{name[:60]!r}]") from None
        return made

    return take


def _checked(take: Take, check: Check) -> Take:
    return lambda value: check(take(value))


def _record(type_: Record) -> Take:
    steps: list[tuple[str, Take, Type, object]] = []
    for one in type_.fields:
        if isinstance(one.type, Enum):
            take_field: Take = _enum(one.type, unknown_symbol_reason(type_, one.name))
        else:
            take_field = json_decoder(one.type)
        check = text_check(type_, one.name) if isinstance(one.type, Scalar) and one.type.kind == "string" else None
        steps.append((one.name, take_field if check is None else _checked(take_field, check), one.type, one.default))
    renamed = {one.name: one.aliases for one in type_.fields if one.aliases}

    def take(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _wrong("an object", value)
        made: dict[str, Any] = {}
        name = ""
        try:
            for name, step, field_type, default in steps:
                given = value.get(name)
                if given is None and name in renamed:
                    given = next((value[old] for old in renamed[name] if value.get(old) is not None), None)
                if given is None and default is not NO_DEFAULT:
                    made[name] = default_value(field_type, default)
                else:
                    made[name] = step(given)
        except ContentError as error:
            raise error.at(name) from None
        return made

    return take


# ---------------------------------------------------------------------------------------------------------------------
# Fields that a schema does not have: nothing reads them, and whoever wrote one may have meant another


_NAME_LIMIT_CHARACTERS: Final = 100  # of what is compared with a schema's names


@dataclass(frozen=True, slots=True)
class UnknownField:
    """`path` is as in a fault's detail, items of a list sharing one: `holds[].amonut`. `nearest` is a name that the
    schema has in its place, or empty."""

    path: str
    nearest: str

    def __str__(self) -> str:
        return f"unknown field {self.path}{did_you_mean(self.nearest, before='; ')}"


def unknown_fields(type_: Type, value: Any, path: str = "") -> Iterator[UnknownField]:
    """Of a value of `parse_json`, whatever else is wrong with it. Keys of a map are its own."""
    match type_:
        case Union():
            if type_.nullable is not None:
                yield from unknown_fields(type_.nullable, value, path)
        case Array() if isinstance(value, list):
            for item in value:
                yield from unknown_fields(type_.items, item, f"{path}[]")
        case Map() if isinstance(value, dict):
            for item in value.values():
                yield from unknown_fields(type_.values, item, f"{path}[…]")
        case Record() if isinstance(value, dict):
            fields = {name: field for field in type_.fields for name in (field.name, *field.aliases)}
            for name, inner in value.items():
                below = f"{path}.{quote_name(name)}".lstrip(".")
                if name in fields:
                    yield from unknown_fields(fields[name].type, inner, below)
                else:
                    yield UnknownField(below, _nearest(name[:_NAME_LIMIT_CHARACTERS], tuple(fields)))


@lru_cache(maxsize=1024)
def _nearest(name: str, known: tuple[str, ...]) -> str:
    # Other languages' programs write EMAIL_ADDRESS or email_address, and people a part.
    plain = {field.lower(): field for field in known}
    written = re.sub("[_ -]", "", name.lower())
    begun = [field for field in plain if len(written) > 2 and field.startswith(written)]
    return plain.get(closest_match(written, plain) or next(iter(begun), ""), "")


# ---------------------------------------------------------------------------------------------------------------------
# From values to JSON

Give = Callable[[Any], Any]
_MILLISECOND: Final = timedelta(milliseconds=1)


def format_millis(millis: int) -> str:
    """UTC with `Z` and three digits. OverflowError outside of the years 1 to 9999."""
    moment = EPOCH + timedelta(milliseconds=millis)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def format_timestamp(moment: datetime) -> str:
    """Aware time -> UTC with `Z` and up to six digits: none for a whole second."""
    text = moment.astimezone(UTC).replace(tzinfo=None).isoformat()
    return (text.rstrip("0") if "." in text else text) + "Z"


def format_decimal(value: Decimal) -> str:
    """Plain digits without trailing zeros, never an exponent."""
    return f"{value.normalize(EXACT):f}" if value else "0"


def _same(value: Any) -> Any:
    return value


_GIVEN: Final[dict[str, Give]] = {
    "date": lambda value: value.isoformat(),
    "timestamp-micros": format_timestamp,
    "timestamp-millis": format_millis,
}


@lru_cache(maxsize=4096)
def json_encoder(type_: Type) -> Give:
    """How a value of `type_` becomes what `json.dumps` takes. Fields that are null are left out."""
    match type_:
        case Record():
            fields = [(one.name, json_encoder(one.type)) for one in type_.fields]
            return lambda value: {name: give(value[name]) for name, give in fields if value[name] is not None}
        case Array():
            give_item = json_encoder(type_.items)
            return lambda value: [give_item(item) for item in value]
        case Map():
            give_value = json_encoder(type_.values)
            return lambda value: {name: give_value(inner) for name, inner in value.items()}
        case Union():
            inner = type_.nullable
            if inner is None:
                return _give_tagged
            give = json_encoder(inner)
            return lambda value: None if value is None else give(value)
        case DecimalBytes():
            return format_decimal
        case Scalar():
            return _GIVEN.get(type_.kind, _same)
        case _:
            return _same


def _give_tagged(value: Any) -> Any:
    match value:
        case Decimal():
            return {"decimal": format_decimal(value)}
        case datetime():
            return {"timestamp": format_timestamp(value)}
        case None | bool() | str():
            return value
        case _:
            return {"date": value.isoformat()}


def json_bytes(type_: Type, value: Any) -> bytes:
    """One line of UTF-8, without spaces between tokens."""
    return json.dumps(json_encoder(type_)(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
