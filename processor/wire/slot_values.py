"""Values of the slots that a scan has found. Pure."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from processor.wire.avro_binary import Cursor
from processor.wire.scalars import EXACT, date_from_days, timestamp_from_micros
from processor.wire.scan_expressions import varint
from processor.wire.scan_program import Default, Form, Leaf, Place
from processor.wire.schema import DecimalBytes

Slots = tuple[Any, ...]
"""By slot, the bytes of a value, its length in front of it where it has one; None: it, or a record around it, is
missing."""


def read_long(raw: bytes) -> int:
    """A zig-zag number."""
    number = 0
    for byte in reversed(raw):
        number = number << 7 | byte & 0x7F
    return number >> 1 ^ -(number & 1)


LENGTH_IN_FRONT: Final = frozenset((Form.TEXT, Form.KEY, Form.UUID, Form.TENANT, Form.CARD_TOKEN))
"""Forms of texts, and of what is written as one."""


def content_of_slot(raw: bytes) -> bytes:
    """A text without its length, in UTF-8."""
    return raw[1:] if raw[0] < 0x80 else raw[2:]


def text_of_slot(raw: bytes) -> str:
    """A text."""
    return (raw[1:] if raw[0] < 0x80 else raw[2:]).decode()


def unscaled_of_slot(raw: bytes) -> int:
    """A decimal's whole number."""
    return int.from_bytes(raw[1:], "big", signed=True)


VALUES: Final[Mapping[Form, Callable[[bytes], Any]]] = {  # form -> the value that `avro_reader` gives of a slot
    Form.BOOLEAN: lambda raw: raw == b"\x01",
    Form.INT: read_long,
    Form.LONG: read_long,
    Form.DATE: lambda raw: date_from_days(read_long(raw)),
    Form.TIMESTAMP: lambda raw: timestamp_from_micros(read_long(raw)),
    Form.TEXT: text_of_slot,
    Form.KEY: text_of_slot,
    Form.UUID: text_of_slot,
    Form.TENANT: text_of_slot,
    Form.CARD_TOKEN: text_of_slot,
}


def value_reader(place: Place) -> Callable[[Slots], Any]:
    """How the value of a wanted path is read from slots: as `avro_reader` gives it; None where it is missing."""
    match place.source:
        case Default(default):
            value = _within(default, place.rest)
            return lambda _slots: value
        case Leaf() as leaf:
            assert leaf.slot is not None, "a wanted value is kept"
            return _text_reader(leaf.slot) if leaf.form in LENGTH_IN_FRONT else _of_slot(leaf.slot, _value_of(leaf))
        case source:
            assert source.slot is not None, "a wanted value is kept"
            read = source.read
            inner = _of_slot(source.slot, lambda raw: read(Cursor(raw)))
            return inner if not place.rest else lambda slots: _within(inner(slots), place.rest)


def _text_reader(slot: int) -> Callable[[Slots], str | None]:
    """`text_of_slot` of a slot, without a call."""

    def read(slots: Slots) -> str | None:
        raw: bytes | None = slots[slot]
        if raw is None:
            return None
        return raw[1:].decode() if raw[0] < 0x80 else raw[2:].decode()

    return read


def _value_of(leaf: Leaf) -> Callable[[bytes], Any]:
    match leaf.form:
        case Form.DECIMAL:
            assert leaf.decimal is not None
            return _decimal(leaf.decimal)
        case Form.SYMBOL:
            return {varint(index): symbol for index, symbol in enumerate(leaf.symbols)}.__getitem__
        case form:
            return VALUES[form]


def _decimal(type_: DecimalBytes) -> Callable[[bytes], Decimal]:
    """`decimal_from_unscaled`; a scan accepts none of more digits."""
    exponent = -type_.scale
    return lambda raw: Decimal(unscaled_of_slot(raw)).scaleb(exponent, EXACT)


def _of_slot(slot: int, value_of: Callable[[bytes], Any]) -> Callable[[Slots], Any]:
    def read(slots: Slots) -> Any:
        raw = slots[slot]
        return None if raw is None else value_of(raw)

    return read


def _within(value: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        if value is None:
            return None
        value = value.get(step)
    return value
