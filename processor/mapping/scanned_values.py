"""The values of a scanned event, and their texts, as the reference path has them. Pure.

A text is made of a slot's bytes at once where that is cheaper than by way of the value.
"""

from collections.abc import Callable, Mapping
from datetime import date, tzinfo
from functools import lru_cache
from typing import Any, Final

from processor.domain.placeholders import PlaceholderType
from processor.mapping.plan_values import ReadText, ReadValue, first_of, give_none
from processor.mapping.values import CURRENCY_DIGITS, DEFAULT_CURRENCY_DIGITS, text_of
from processor.native import NativePart
from processor.wire.scan_program import Form, Leaf, NotPlannedError, Path, ScanProgram
from processor.wire.slot_values import (
    TEXT_FORMS,
    Slots,
    content_of_slot,
    read_long,
    slot_reader,
    unscaled_of_slot,
    value_reader,
)
from processor.wire.value_encoders import avro_text

_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()


class ScannedValues:
    """How values are read from the slots of one program, by the paths that it was made for; any other gives None.

    An `EventValues` of `event_plan.py`.
    """

    def __init__(
        self, program: ScanProgram, *, time_zone: tzinfo, known: Mapping[Path, Any], native: NativePart | None = None
    ) -> None:
        """`time_zone` gives a timestamp its day. `known`: values that are the same in all events that are read.
        `native`: what has scanned the slots; None: `plain_scan` has."""
        self.native = native
        self._known = known
        self._program = program
        self._time_zone = time_zone

    def value(self, path: Path) -> ReadValue:
        """As `value_at` gives it."""
        if path in self._known:
            known = self._known[path]
            return lambda _slots: known
        place = self._program.places.get(path)
        return give_none if place is None else value_reader(place)

    def utf8(self, path: Path) -> Callable[[Slots], bytes | None]:
        """Of a text: what `value` gives, in UTF-8."""
        place = self._program.places.get(path)
        if place is not None and isinstance(place.source, Leaf) and place.source.form in TEXT_FORMS:
            return slot_reader(place.source.slot, content_of_slot)
        read = self.value(path)
        return lambda slots: None if (text := read(slots)) is None else str(text).encode()

    def leaf(self, path: Path) -> Leaf | None:
        """As PlanValues has it."""
        place = self._program.places.get(path)
        return place.source if place is not None and isinstance(place.source, Leaf) else None

    def is_there(self, path: Path) -> Callable[[Slots], bool]:
        """Whether `value` is not None."""
        place = self._program.places.get(path)
        if place is not None and isinstance(place.source, Leaf) and (slot := place.source.slot) is not None:
            return lambda slots: slots[slot] is not None
        read = self.value(path)
        return lambda slots: read(slots) is not None

    def micros(self, path: Path) -> Callable[[Slots], int]:
        """Of a timestamp that is always there, in microseconds since 1970. NotPlannedError where its writer has a union
        of several types for it."""
        source = self._program.places[path].source
        if not isinstance(source, Leaf):
            raise NotPlannedError(f"{'.'.join(path)} is by its writer one of several types")
        assert source.form is Form.TIMESTAMP and source.slot is not None
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
                    return slot_reader(source.slot, _date_text)
                case ((PlaceholderType.STRING | PlaceholderType.ENUM), _) if source.form in _STR_FORMS:
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
        slot, scale, read_digits = leaf.slot, leaf.decimal.scale, self._currency_digits(currencies)

        def text(slots: Slots) -> str | None:
            raw = slots[slot]
            if raw is None:
                return None
            number = unscaled_of_slot(raw)
            sign = ""
            if number < 0:
                sign, number = "-", -number
            digits = str(number).zfill(scale + 1)
            point = len(digits) - scale
            fraction = digits[point:].rstrip("0").ljust(read_digits(slots), "0")
            return f"{sign}{digits[:point]}.{fraction}" if fraction else sign + digits[:point]

        return text

    def _currency_digits(self, currencies: tuple[Path, ...]) -> Callable[[Slots], int]:
        """How many digits an amount has behind the point at least: of the first of `currencies` with a code."""
        places = [self._program.places.get(path) for path in currencies]
        sources = [place.source for place in places if place is not None]
        if not all(isinstance(source, Leaf) and source.form is Form.TEXT for source in sources):
            read = self._currency(currencies)
            return lambda slots: CURRENCY_DIGITS.get(read(slots) or "", DEFAULT_CURRENCY_DIGITS)
        code_slots = [source.slot for source in sources if isinstance(source, Leaf) and source.slot is not None]

        def read_digits(slots: Slots) -> int:
            for slot in code_slots:
                code = slots[slot]
                if code is not None:
                    return _DIGITS_OF_CODE.get(code, DEFAULT_CURRENCY_DIGITS)
            return DEFAULT_CURRENCY_DIGITS

        return read_digits


_STR_FORMS: Final = TEXT_FORMS | {Form.SYMBOL}
"""Forms whose value is a str, which is its own text."""

_DIGITS_OF_CODE: Final = {avro_text(code.encode()): digits for code, digits in CURRENCY_DIGITS.items()}


@lru_cache(4096)  # events lie in the order of their dates, more or less
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

    return slot_reader(leaf.slot, text)
