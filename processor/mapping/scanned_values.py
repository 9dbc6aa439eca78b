"""The values of a scanned event, and their texts, as the reference path has them. Pure.

A text is made of a slot's bytes at once where that is cheaper than by way of the value.
"""

from collections.abc import Callable
from datetime import date, tzinfo
from typing import Final

from processor.domain.placeholders import PlaceholderType
from processor.mapping.plan_values import ReadText, ReadValue, first_of, give_none
from processor.mapping.values import CURRENCY_DIGITS, DEFAULT_CURRENCY_DIGITS, text_of
from processor.wire.plain_scan import Slots, read_long, unscaled_of_slot, value_reader
from processor.wire.scan_program import Form, Leaf, Path, ScanProgram

_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()


class ScannedValues:
    """How values are read from the slots of one program, by their paths: those that it was made for. One that leads
    nowhere gives None.

    `time_zone` gives a timestamp its day.
    """

    def __init__(self, program: ScanProgram, *, time_zone: tzinfo) -> None:
        self._program = program
        self._time_zone = time_zone

    def value(self, path: Path) -> ReadValue:
        """As `value_at` gives it."""
        place = self._program.places.get(path)
        return give_none if place is None else value_reader(place)

    def micros(self, path: Path) -> Callable[[Slots], int]:
        """Of a timestamp that is always there, in microseconds since 1970."""
        source = self._program.places[path].source
        assert isinstance(source, Leaf) and source.form is Form.TIMESTAMP and source.slot is not None
        slot = source.slot
        return lambda slots: read_long(slots[slot])

    def text(self, path: Path, kind: PlaceholderType, currencies: tuple[Path, ...] = ()) -> ReadText:
        """As `text_of` writes it, not yet escaped; None where the value is missing. Not for tables.

        Money has the digits of the first of `currencies` that has a code.
        """
        place = self._program.places.get(path)
        if place is None:
            return give_none
        source = place.source
        if isinstance(source, Leaf):
            match kind, source.form:
                case PlaceholderType.MONEY, Form.DECIMAL:
                    return self._money(source, currencies)
                case PlaceholderType.DECIMAL, Form.DECIMAL:
                    return _decimal(source)
                case PlaceholderType.DATE, Form.DATE:
                    return _of_slot(source, _date_text)
                case ((PlaceholderType.STRING | PlaceholderType.ENUM), _) if source.form in _TEXTS:
                    return self.value(path)
        return self._by_value(path, kind, currencies)

    def _by_value(self, path: Path, kind: PlaceholderType, currencies: tuple[Path, ...]) -> ReadText:
        value_of, currency_of, time_zone = self.value(path), self._currency(currencies), self._time_zone

        def text(slots: Slots) -> str | None:
            value = value_of(slots)
            if value is None:
                return None
            return text_of(value, kind, currency=currency_of(slots), time_zone=time_zone)

        return text

    def _currency(self, currencies: tuple[Path, ...]) -> ReadText:
        return first_of([self.value(path) for path in currencies])

    def _money(self, leaf: Leaf, currencies: tuple[Path, ...]) -> ReadText:
        assert leaf.slot is not None and leaf.decimal is not None
        slot, scale, currency_of = leaf.slot, leaf.decimal.scale, self._currency(currencies)
        one = 10**scale

        def text(slots: Slots) -> str | None:
            raw = slots[slot]
            if raw is None:
                return None
            number = unscaled_of_slot(raw)
            digits = CURRENCY_DIGITS.get(currency_of(slots) or "", DEFAULT_CURRENCY_DIGITS)
            whole, fraction = divmod(abs(number), one)
            after = f"{fraction:0{scale}d}".rstrip("0").ljust(digits, "0") if fraction else "0" * digits
            sign = "-" if number < 0 else ""
            return f"{sign}{whole}.{after}" if after else f"{sign}{whole}"

        return text


_TEXTS: Final = frozenset((Form.TEXT, Form.KEY, Form.UUID, Form.TENANT, Form.CARD_TOKEN, Form.SYMBOL))


def _of_slot(leaf: Leaf, text_of_raw: Callable[[bytes], str]) -> ReadText:
    assert leaf.slot is not None
    slot = leaf.slot

    def text(slots: Slots) -> str | None:
        raw = slots[slot]
        return None if raw is None else text_of_raw(raw)

    return text


def _date_text(raw: bytes) -> str:
    return date.fromordinal(read_long(raw) + _EPOCH_ORDINAL).isoformat()


def _decimal(leaf: Leaf) -> ReadText:
    assert leaf.decimal is not None
    scale = leaf.decimal.scale
    one = 10**scale

    def text(raw: bytes) -> str:
        number = unscaled_of_slot(raw)
        whole, fraction = divmod(abs(number), one)
        sign = "-" if number < 0 else ""
        after = f".{fraction:0{scale}d}".rstrip("0") if fraction else ""
        return f"{sign}{whole}{after}"

    return _of_slot(leaf, text)
