"""Plain JSON of events and outputs, both ways, by our schemas; not Avro's own JSON encoding. Pure.

Decimals are text or numbers, read exactly; times RFC 3339; absent is null; what the schema does not name is ignored.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from processor.domain.reasons import Reason
from processor.domain.record import EPOCH, Headers
from processor.domain.text import quote
from processor.wire.errors import ContentError
from processor.wire.scalars import (
    EXACT,
    TextCheck,
    default_value,
    parse_date,
    parse_decimal,
    parse_timestamp,
    parse_uuid,
    text_check,
    unknown_symbol_reason,
)
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
    is_null,
)

JSON: Final = "application/json"
JSON_HEADERS: Final[Headers] = (("content-type", JSON.encode()),)  #: Of each record whose value we write as JSON.


@dataclass(frozen=True, slots=True)
class Number:
    """A JSON number as it was written: nothing is rounded, no exponent worked out before it is checked."""

    text: str


# ---------------------------------------------------------------------------------------------------------------------
# From bytes to JSON values

_MAX_DEPTH: Final = 64  # events are 7 deep; the rest is room for fields that are ignored
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
    if data.count(b"{") + data.count(b"[") > _MAX_DEPTH:
        _check_depth(data)
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise ContentError(f"not JSON: {error.msg} at character {error.pos}") from None


def _check_depth(data: bytes) -> None:
    """Counted rather than left to the interpreter's recursion limit, which depends on who calls."""
    depth = 0
    for found in _BRACKETS.finditer(data):
        if found[0] in b"[{":
            depth += 1
            if depth > _MAX_DEPTH:
                raise ContentError(f"nested more than {_MAX_DEPTH} deep")
        elif found[0] in b"]}":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = set(value)
        for name, _ in pairs:
            if name not in names:
                raise ContentError(f"key {quote(name)} occurs twice in one object")
            names.remove(name)
    return value


def _refuse_constant(name: str) -> Any:
    raise ContentError(f"not JSON: {name}")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=Number, parse_int=Number, parse_constant=_refuse_constant
)

# ---------------------------------------------------------------------------------------------------------------------
# From JSON values to values of a schema: scalars

Decode = Callable[[Any], Any]

_MILLISECOND: Final = timedelta(milliseconds=1)
_INTEGER: Final = re.compile(r"-?\d{1,19}", re.ASCII)


def expect_text(value: Any) -> str:
    """A JSON value that has to be text, and text that can be encoded again. ContentError."""
    if not isinstance(value, str):
        raise _type_error("text", value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ContentError(f"half of a surrogate pair at character {error.start}") from None
    return value


def expect_bool(value: Any) -> bool:
    """A JSON value that has to be true or false. ContentError."""
    if not isinstance(value, bool):
        raise _type_error("true or false", value)
    return value


def _expect_integer(value: Any, bits: int) -> int:
    if not isinstance(value, Number):
        raise _type_error("a whole number", value)
    if _INTEGER.fullmatch(value.text) is None or not -(2 ** (bits - 1)) <= int(value.text) < 2 ** (bits - 1):
        raise ContentError(f"not a whole number of {bits} bits: {quote(value.text)}")
    return int(value.text)


def _expect_digits(value: Any) -> str:
    if isinstance(value, Number):
        return value.text
    if isinstance(value, str):
        return value
    raise _type_error("a decimal number", value)


def _decode_millis(value: Any) -> int:
    return (parse_timestamp(expect_text(value)) - EPOCH) // _MILLISECOND


def _type_error(expected: str, value: Any) -> ContentError:
    match value:
        case None:
            return ContentError("is missing")
        case bool():
            actual = "true or false"
        case str():
            actual = "text"
        case Number():
            actual = "a number"
        case list():
            actual = "a list"
        case _:
            actual = "an object"
    return ContentError(f"{expected} expected, {actual} given")


_DECODERS: Final[dict[str, Decode]] = {
    "boolean": expect_bool,
    "int": lambda value: _expect_integer(value, 32),
    "long": lambda value: _expect_integer(value, 64),
    "string": expect_text,
    "uuid": lambda value: parse_uuid(expect_text(value)),
    "date": lambda value: parse_date(expect_text(value)),
    "timestamp-micros": lambda value: parse_timestamp(expect_text(value)),
    "timestamp-millis": _decode_millis,
}

# ---------------------------------------------------------------------------------------------------------------------
# From JSON values to values of a schema: all types


@lru_cache(maxsize=4096)
def json_decoder(type_: Type) -> Decode:
    """How a value of `parse_json` becomes one of `type_`, equal to what Avro gives. ContentError when it does not."""
    match type_:
        case Record():
            return _record_decoder(type_)
        case Array():
            return _array_decoder(json_decoder(type_.items))
        case Map():
            return _map_decoder(json_decoder(type_.values))
        case Union():
            inner = type_.nullable
            return _tagged_decoder(type_) if inner is None else _nullable_decoder(json_decoder(inner))
        case Enum():
            return _enum_decoder(type_, Reason.INVALID_EVENT)
        case DecimalBytes():
            return lambda value: parse_decimal(_expect_digits(value), type_)
        case Scalar():
            return _DECODERS[type_.kind]
        case Fixed() | Recursive():
            raise AssertionError("no reader schema has either: found when they are loaded")


def _nullable_decoder(decode: Decode) -> Decode:
    return lambda value: None if value is None else decode(value)


def _enum_decoder(type_: Enum, unknown: Reason) -> Decode:
    symbols = frozenset(type_.symbols)

    def decode(value: Any) -> str:
        text = expect_text(value)
        if text in symbols:
            return text
        if type_.default is not None:
            return type_.default
        raise ContentError(f"{quote(text)} is not known", unknown)

    return decode


_TAGS: Final = {"date": "date", "timestamp-micros": "timestamp"}
_UNTAGGED: Final = frozenset({"boolean", "string"})


def _tag(branch: Type) -> str:
    return _TAGS[branch.kind] if isinstance(branch, Scalar) else "decimal"


def _tagged_decoder(type_: Union) -> Decode:
    """Custom field values: text and booleans are themselves, `{"decimal": "12.5"}` and so on for the rest."""
    decoders = {
        _tag(branch): json_decoder(branch)
        for branch in type_.branches
        if not is_null(branch) and not (isinstance(branch, Scalar) and branch.kind in _UNTAGGED)
    }

    def decode(value: Any) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return expect_text(value)
        if not isinstance(value, dict) or len(value) != 1 or not value.keys() <= decoders.keys():
            raise ContentError(f"text, true, false, or an object with one of {', '.join(sorted(decoders))} expected")
        ((tag, inner),) = value.items()
        try:
            return decoders[tag](inner)
        except ContentError as error:
            raise error.at(tag) from None

    return decode


def _array_decoder(decode_item: Decode) -> Decode:
    def decode(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise _type_error("a list", value)
        items: list[Any] = []
        try:
            for item in value:
                items.append(decode_item(item))
        except ContentError as error:
            raise error.at(f"[{len(items)}]") from None
        return items

    return decode


def _map_decoder(decode_value: Decode) -> Decode:
    def decode(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _type_error("an object", value)
        values: dict[str, Any] = {}
        name = ""
        try:
            for name, inner in value.items():
                values[expect_text(name)] = decode_value(inner)
        except ContentError as error:
            raise error.at(f"[{name[:60]!r}]") from None
        return values

    return decode


def _with_check(decode: Decode, check: TextCheck) -> Decode:
    return lambda value: check(decode(value))


def _field_decoder(owner: Record, field: Field) -> Decode:
    if isinstance(field.type, Enum):
        return _enum_decoder(field.type, unknown_symbol_reason(owner, field.name))
    decode = json_decoder(field.type)
    is_text = isinstance(field.type, Scalar) and field.type.kind == "string"
    check = text_check(owner, field.name) if is_text else None
    return decode if check is None else _with_check(decode, check)


def _record_decoder(type_: Record) -> Decode:
    steps = [(field.name, _field_decoder(type_, field), field.type, field.default) for field in type_.fields]
    former_names = {field.name: field.aliases for field in type_.fields if field.aliases}

    def decode(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _type_error("an object", value)
        fields: dict[str, Any] = {}
        name = ""
        try:
            for name, decode_field, field_type, default in steps:
                inner = value.get(name)
                if inner is None and name in former_names:
                    inner = next((value[old] for old in former_names[name] if value.get(old) is not None), None)
                if inner is None and default is not NO_DEFAULT:
                    fields[name] = default_value(field_type, default)
                else:
                    fields[name] = decode_field(inner)
        except ContentError as error:
            raise error.at(name) from None
        return fields

    return decode


# ---------------------------------------------------------------------------------------------------------------------
# From values to JSON

Encode = Callable[[Any], Any]


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


def _unchanged(value: Any) -> Any:
    return value


_ENCODERS: Final[dict[str, Encode]] = {
    "date": lambda value: value.isoformat(),
    "timestamp-micros": format_timestamp,
    "timestamp-millis": format_millis,
}


@lru_cache(maxsize=4096)
def json_encoder(type_: Type) -> Encode:
    """How a value of `type_` becomes what `json.dumps` takes. Fields that are null are left out."""
    match type_:
        case Record():
            fields = [(field.name, json_encoder(field.type)) for field in type_.fields]
            return lambda value: {name: encode(value[name]) for name, encode in fields if value[name] is not None}
        case Array():
            encode_item = json_encoder(type_.items)
            return lambda value: [encode_item(item) for item in value]
        case Map():
            encode_value = json_encoder(type_.values)
            return lambda value: {name: encode_value(inner) for name, inner in value.items()}
        case Union():
            inner = type_.nullable
            if inner is None:
                return _encode_tagged
            encode = json_encoder(inner)
            return lambda value: None if value is None else encode(value)
        case DecimalBytes():
            return format_decimal
        case Scalar():
            return _ENCODERS.get(type_.kind, _unchanged)
        case _:
            return _unchanged


def _encode_tagged(value: Any) -> Any:
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
