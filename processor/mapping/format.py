"""FORMAT and FORMAT_DATE: a value written as a language writes it. Pure.

Digits and signs are the language's own, which Babel leaves as they are in ASCII. A number is rounded half to even, and
what is then zero has no minus; a pattern with `¤` has the amount's own currency.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal, localcontext
from typing import Any, Final

from babel import Locale
from babel.dates import DateTimeFormat
from babel.numbers import get_currency_name, get_currency_symbol

from processor.domain.placeholders import PlaceholderType
from processor.domain.value_format import DateFormat, NumberFormat, ValueFormat

_NONZERO: Final = re.compile("[1-9]")
_CURRENCY: Final = re.compile("[A-Z]{3}")
_NO_CURRENCY: Final = "XXX"  # ISO 4217: no currency is involved; shown as ¤
# More than any value (38) and pattern (100) have together, so that only the pattern rounds.
_PRECISION_DIGITS: Final = 200


def format_value(
    value: Any, kind: PlaceholderType, value_format: ValueFormat, *, currency: str | None, time_zone: tzinfo
) -> str:
    """The value's text. A timestamp is written as the clocks of `time_zone` show it; a date of one is its day there.

    A `currency` that is no code of ISO 4217, three capitals, is written as none is (XXX). An event's may be any text,
    and Babel puts it into the pattern sign by sign: of 7 KB of `¤` it makes gigabytes.
    ValueError or ArithmeticError for a value that cannot be written so: the week of the last days of the year 9999.
    """
    compiled = value_format.compiled
    if isinstance(compiled, DateFormat):
        if kind is not PlaceholderType.TIMESTAMP:
            return _write_date(compiled, day_of(value, time_zone))
        try:
            return _write_date(compiled, value.astimezone(time_zone))
        except OverflowError:  # in the first or last hours that a datetime can hold
            return _write_date(compiled, value.astimezone(UTC))
    code = currency if currency is not None and _CURRENCY.fullmatch(currency) else _NO_CURRENCY
    return _write_number(compiled, value, code)


def day_of(value: date, time_zone: tzinfo) -> date:
    """A date as it is; of a timestamp its day in `time_zone`."""
    if not isinstance(value, datetime):
        return value
    try:
        return value.astimezone(time_zone).date()
    except OverflowError:  # in the first or last hours that a datetime can hold
        return value.date()


def _write_number(number_format: NumberFormat, value: Decimal | int, currency: str) -> str:
    """Babel writes the digits of a number without its sign; all around them is written here."""
    locale = number_format.notation.locale
    with localcontext() as context:
        context.prec = _PRECISION_DIGITS
        amount = abs(Decimal(value)).scaleb(number_format.scale)
        number = number_format.number.apply(amount, locale, numbering_system=number_format.notation.system)
        # What is rounded to zero has no sign, as `{NAME}` has none.
        is_negative = value < 0 and _NONZERO.search(number)
        before, behind = number_format.negative if is_negative else number_format.positive
        digits = number.translate(number_format.digits) if number_format.digits else number
        # Which name a currency has (EUR: euro, euros) is reckoned with the amount, which is as long as the others.
        return "".join(
            piece if isinstance(piece, str) else _write_currency(piece, currency, amount, locale)
            for piece in (*before, digits, *behind)
        )


def _write_currency(width: int, code: str, amount: Decimal, locale: Locale) -> str:
    match width:
        case 1:
            return get_currency_symbol(code, locale)
        case 2:
            return code
        case _:
            return get_currency_name(code, amount, locale)


def _write_date(date_format: DateFormat, value: date) -> str:
    locale, digits = date_format.locale, date_format.digits
    return date_format.pattern % (_DateWithDigits(value, locale, digits) if digits else _DateFields(value, locale))


class _DateFields(DateTimeFormat):
    """The fields of a date. Where a language has no word for noon or midnight (`b`), it is am or pm, as UTS 35 allows:
    Babel raises ValueError there, and only at these two minutes of a day."""

    def format_period(self, char: str, num: int) -> str:
        try:
            return super().format_period(char, num)
        except ValueError:
            return super().format_period("a", num)


class _DateWithDigits(_DateFields):
    """The fields of a date with a language's own digits. Names and what ISO 8601 writes stay as they are."""

    def __init__(self, value: date, locale: Locale, digits: Mapping[int, str]) -> None:
        super().__init__(value, locale)
        self._digits = digits

    def __getitem__(self, name: str) -> str:
        text = super().__getitem__(name)
        numeric = len(name) <= 2 if name[0] in "MLQqec" else name[0] in "yYuwWdDFghHKkmsSAO" or name == "ZZZZ"
        return text.translate(self._digits) if numeric else text
