"""Values of the slots that a scan has found, as `avro_reader` would read them. Pure."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, Protocol, TypeVar

from processor.domain.event import value_at
from processor.wire.avro_binary import Cursor
from processor.wire.scalars import EXACT, date_from_days, timestamp_from_micros
from processor.wire.scan_expressions import varint
from processor.wire.scan_program import Default, Form, Leaf, Place
from processor.wire.schema import DecimalBytes

T = TypeVar("T")


class Slots(Protocol):
    """By slot, the bytes of a value, its length in front of it where it has one; None: it, or a record around it, is
    missing."""

    def __getitem__(self, slot: int, /) -> Any: ...

    def __len__(self) -> int: ...


Scan = Callable[[bytes, int], Slots | None]
"""The slots of the record that stands in the bytes from an index to their end; None: refused."""


def read_long(raw: bytes) -> int:
    """A zig-zag number, of any length."""
    number = 0
    for byte in reversed(raw):
        number = number << 7 | byte & 0x7F
    return number >> 1 ^ -(number & 1)


TEXT_FORMS: Final = frozenset((Form.TEXT, Form.KEY, Form.UUID, Form.TENANT, Form.CARD_TOKEN))
"""Forms of texts, and of what is written as one: UTF-8 behind its length, which has two bytes from 64 on."""


def content_of_slot(raw: bytes) -> bytes:
    """A text without its length, in UTF-8."""
    return raw[1:] if raw[0] < 0x80 else raw[2:]


def text_of_slot(raw: bytes) -> str:
    """A text."""
    return (raw[1:] if raw[0] < 0x80 else raw[2:]).decode()


def unscaled_of_slot(raw: bytes) -> int:
    """A decimal without its point: 12.50 of scale 2 is 1250."""
    return int.from_bytes(raw[1:], "big", signed=True)


_VALUES: Final[Mapping[Form, Callable[[bytes], Any]]] = {  # form that is no text, decimal or symbol -> its value
    Form.BOOLEAN: lambda raw: raw == b"\x01",
    Form.INT: read_long,
    Form.LONG: read_long,
    Form.DATE: lambda raw: date_from_days(read_long(raw)),
    Form.TIMESTAMP: lambda raw: timestamp_from_micros(read_long(raw)),
}


def value_reader(place: Place) -> Callable[[Slots], Any]:
    """How the value of a wanted path is read from slots: as `avro_reader` gives it; None where it is missing."""
    match place.source:
        case Default(default):
            value = value_at(place.rest, default)
            return lambda _slots: value
        case Leaf() as leaf:
            return _text_reader(leaf.slot) if leaf.form in TEXT_FORMS else slot_reader(leaf.slot, _value_of(leaf))
        case source:
            read = source.read
            inner = slot_reader(source.slot, lambda raw: read(Cursor(raw)))
            return inner if not place.rest else lambda slots: value_at(place.rest, inner(slots))


def slot_reader(slot: int | None, value_of: Callable[[bytes], T]) -> Callable[[Slots], T | None]:
    """What gives `value_of` the bytes in a slot, which every wanted value has; None where the value is missing."""
    assert slot is not None, "a wanted value is kept"

    def read(slots: Slots) -> T | None:
        raw = slots[slot]
        return None if raw is None else value_of(raw)

    return read


def _text_reader(slot: int | None) -> Callable[[Slots], str | None]:
    """`slot_reader` with `text_of_slot`, which most values are read by: without the calls."""
    assert slot is not None, "a wanted value is kept"

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
            return _VALUES[form]


def _decimal(type_: DecimalBytes) -> Callable[[bytes], Decimal]:
    """As `decimal_from_unscaled`, without a check of the digits: a scan accepts none of more than the type has."""
    exponent = -type_.scale
    return lambda raw: Decimal(unscaled_of_slot(raw)).scaleb(exponent, EXACT)
