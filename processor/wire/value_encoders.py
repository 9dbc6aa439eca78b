"""Single values as the bytes that stand in an output, in each format. Pure.

`encode_value` takes any value as the fields of an output have it. The encoders of ENCODERS are for what is put into a
planned output (`output_plan.py`), where each nanosecond counts: texts are given as UTF-8, as one text stands in several
outputs, lists as their encoded items.
https://avro.apache.org/docs/1.12.0/specification/ , "Binary Encoding".
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, Final, NamedTuple

from processor.wire.json_codec import format_millis, json_bytes
from processor.wire.schema import Array, Enum, Map, Record, Scalar, Type, Union, is_null
from processor.wire.wire_format import WireFormat

# ---------------------------------------------------------------------------------------------------------------------
# Avro

# Two bytes of a number have 14 of its bits. They are looked up: a length is one look-up, a time of today three.
_PAIR_BITS: Final = 14
_PAIR: Final = 2**_PAIR_BITS - 1
_LAST_PAIR: Final = tuple(
    bytes((bits,)) if bits < 0x80 else bytes((bits & 0x7F | 0x80, bits >> 7)) for bits in range(_PAIR + 1)
)
_PAIR_BEFORE: Final = tuple(bytes((bits & 0x7F | 0x80, bits >> 7 | 0x80)) for bits in range(_PAIR + 1))
_LENGTHS: Final = _LAST_PAIR[::2]  # zig-zag doubles a number that is not negative
_END: Final = b"\x00"  # of the blocks of an array or map


def avro_long(number: int) -> bytes:
    """A zig-zag number; an int and a time in milliseconds too. OverflowError for one of more than 64 bits."""
    bits = number << 1 if number >= 0 else ~(number << 1)
    if bits <= _PAIR:
        return _LAST_PAIR[bits]
    second = bits >> _PAIR_BITS
    if second <= _PAIR:
        return _PAIR_BEFORE[bits & _PAIR] + _LAST_PAIR[second]
    third = second >> _PAIR_BITS
    if third <= _PAIR:
        return _PAIR_BEFORE[bits & _PAIR] + _PAIR_BEFORE[second & _PAIR] + _LAST_PAIR[third]
    if bits >> 64:
        raise OverflowError(f"{number} has more than 64 bits")
    pairs = []
    while bits > _PAIR:
        pairs.append(_PAIR_BEFORE[bits & _PAIR])
        bits >>= _PAIR_BITS
    return b"".join((*pairs, _LAST_PAIR[bits]))


def avro_text(utf8: bytes) -> bytes:
    """A text's length in bytes, and its bytes."""
    try:
        return _LENGTHS[len(utf8)] + utf8
    except IndexError:
        return avro_long(len(utf8)) + utf8


def avro_boolean(value: bool) -> bytes:
    """One byte."""
    return b"\x01" if value else b"\x00"


def avro_array(items: Sequence[bytes]) -> bytes:
    """The encoded items of an array, or entries of a map, as one block."""
    return b"".join((avro_long(len(items)), *items, _END)) if items else _END


# ---------------------------------------------------------------------------------------------------------------------
# JSON, as `json_bytes` writes it

_MINUTE_MS: Final = 60_000
_SECOND_MS: Final = 1_000
_SECONDS: Final = tuple(b"%02d." % second for second in range(60))
_MILLISECONDS: Final = tuple(b'%03dZ"' % millisecond for millisecond in range(_SECOND_MS))


@lru_cache(4096)  # records lie in the order of their times, more or less
def _json_minute(minutes: int) -> bytes:
    """A time in minutes since 1970 as text up to its seconds."""
    return b'"' + format_millis(minutes * _MINUTE_MS)[:-7].encode()


def json_time(millis: int) -> bytes:
    """UTC with `Z` and three digits. OverflowError outside of the years 1 to 9999."""
    minutes, rest = divmod(millis, _MINUTE_MS)
    seconds, milliseconds = divmod(rest, _SECOND_MS)
    return _json_minute(minutes) + _SECONDS[seconds] + _MILLISECONDS[milliseconds]


def json_text(utf8: bytes) -> bytes:
    """In quotes, escaped."""
    return encode_basestring(utf8.decode()).encode()


def json_long(number: int) -> bytes:
    """Decimal digits."""
    return b"%d" % number


def json_boolean(value: bool) -> bytes:
    """`true` or `false`."""
    return b"true" if value else b"false"


def json_array(items: Sequence[bytes]) -> bytes:
    """The encoded items of an array."""
    return b"[%b]" % b",".join(items)


# ---------------------------------------------------------------------------------------------------------------------
# Either


class ValueEncoders(NamedTuple):
    """How one format writes values of each type: UTF-8, whole numbers, milliseconds since 1970, encoded items."""

    text: Callable[[bytes], bytes]
    long: Callable[[int], bytes]
    time: Callable[[int], bytes]
    boolean: Callable[[bool], bytes]
    array: Callable[[Sequence[bytes]], bytes]

    def text_or_null(self, text: str | None) -> bytes | None:
        """A text that is not UTF-8 yet; None, as `Hole.fill` takes it, for null."""
        return None if text is None else self.text(text.encode())


ENCODERS: Final[Mapping[WireFormat, ValueEncoders]] = {
    WireFormat.AVRO: ValueEncoders(avro_text, avro_long, avro_long, avro_boolean, avro_array),
    WireFormat.JSON: ValueEncoders(json_text, json_long, json_time, json_boolean, json_array),
}


def encode_value(type_: Type, value: Any, wire_format: WireFormat) -> bytes:
    """Any value of a type that outputs have, as their fields have it: text as str, None for null."""
    return _avro_bytes(type_, value) if wire_format is WireFormat.AVRO else json_bytes(type_, value)


def branch_index(union: Union, *, null: bool) -> bytes:
    """What stands before a value of a union of null and one type."""
    return avro_long(next(index for index, branch in enumerate(union.branches) if is_null(branch) is null))


_SCALARS: Final[Mapping[str, Callable[[Any], bytes]]] = {
    "boolean": avro_boolean,
    "int": avro_long,
    "long": avro_long,
    "timestamp-millis": avro_long,
    "string": lambda text: avro_text(text.encode()),
    "uuid": lambda text: avro_text(text.encode()),
}


def _avro_bytes(type_: Type, value: Any) -> bytes:
    match type_:
        case Record():
            return b"".join(_avro_bytes(field.type, value[field.name]) for field in type_.fields)
        case Array():
            return avro_array([_avro_bytes(type_.items, item) for item in value])
        case Map():
            return avro_array(
                [avro_text(name.encode()) + _avro_bytes(type_.values, inner) for name, inner in value.items()]
            )
        case Union() if type_.nullable is not None:
            index = branch_index(type_, null=value is None)
            return index if value is None else index + _avro_bytes(type_.nullable, value)
        case Enum():
            return avro_long(type_.symbols.index(value))
        case Scalar() if type_.kind in _SCALARS:
            return _SCALARS[type_.kind](value)
        case _:
            raise ValueError(f"no output has a {type_}")
