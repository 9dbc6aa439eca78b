"""FORMAT and FORMAT_DATE: a value as a language writes it, by a pattern of CLDR. Pure.

Languages' data and the patterns' meaning are Babel's: https://unicode.org/reports/tr35/tr35-numbers.html and
tr35-dates.html . A number is rounded half to even; a pattern with `¤` has the amount's own currency.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal, localcontext
from typing import Any, Final

from babel import Locale, UnknownLocaleError
from babel.dates import PATTERN_CHARS, format_date, format_datetime
from babel.numbers import format_currency, format_decimal

from processor.model.placeholders import PlaceholderType

NUMBER: Final = "FORMAT"
DATE: Final = "FORMAT_DATE"
PATTERN_LIMIT_CHARACTERS: Final = 100

_PATTERNS: Final = {NUMBER: "numericPattern", DATE: "datePattern"}
_KINDS: Final = {
    NUMBER: frozenset((PlaceholderType.MONEY, PlaceholderType.DECIMAL, PlaceholderType.INTEGER)),
    DATE: frozenset((PlaceholderType.DATE, PlaceholderType.TIMESTAMP)),
}
_EXAMPLES: Final = {
    NUMBER: "FORMAT{TOTAL_BALANCE,numericPattern=#,##0.00}",
    DATE: "FORMAT_DATE{OCCURRED_AT,datePattern=d MMMM yyyy}",
}
_SAMPLES: Final = {
    PlaceholderType.MONEY: Decimal("1234.5"),
    PlaceholderType.DECIMAL: Decimal("4.375"),
    PlaceholderType.INTEGER: 7,
    PlaceholderType.DATE: date(2026, 3, 14),
    PlaceholderType.TIMESTAMP: datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC),
}
_ARGUMENTS: Final = re.compile(r"(?P<name>[A-Z][A-Z0-9_]*),(?P<key>[A-Za-z]+)=(?P<pattern>.+)", re.DOTALL)
_QUOTED: Final = re.compile(r"'[^']*'")
_NUMERIC: Final = re.compile(r"[#0,.;%‰¤+\-() \u00a0]*[#0][#0,.;%‰¤+\-() \u00a0]*")
_CURRENCY: Final = re.compile("[A-Z]{3}")
_NO_CURRENCY: Final = "XXX"  # ISO 4217: no currency is involved; shown as ¤
_DIGITS: Final = 200  # more than any value (38) and pattern (100) have together, so that only the pattern rounds


@dataclass(frozen=True, slots=True)
class Form:
    """How one placeholder's value is written: by FORMAT or FORMAT_DATE, a pattern, and a language Babel knows."""

    function: str
    pattern: str
    locale: str

    def written(self, name: str) -> str:
        """As it stands in a template, with the placeholder's name."""
        return f"{self.function}{{{name},{_PATTERNS[self.function]}={self.pattern}}}"


def form_of(function: str, arguments: str, *, locale: str) -> tuple[str, Form]:
    """The placeholder's name and its form, of `NAME,numericPattern=…`. ValueError says what is wrong."""
    found = _ARGUMENTS.fullmatch(arguments)
    if found is None or found["key"] != _PATTERNS[function]:
        raise ValueError(f"{function} takes a name and {_PATTERNS[function]}, as in {_EXAMPLES[function]}")
    pattern = found["pattern"]
    if len(pattern) > PATTERN_LIMIT_CHARACTERS:
        raise ValueError(f"a pattern of {len(pattern)} characters; at most {PATTERN_LIMIT_CHARACTERS}")
    bare = _QUOTED.sub("", pattern)
    if "'" in bare:
        raise ValueError(f"{pattern!r} has a quote without its partner")
    if function == NUMBER and not _NUMERIC.fullmatch(bare):
        raise ValueError(f"{pattern!r} is no pattern of a number, as in {_EXAMPLES[function]}")
    letters = set(re.findall("[A-Za-z]", bare))
    if function == DATE and not letters:
        raise ValueError(f"{pattern!r} is no pattern of a date, as in {_EXAMPLES[function]}")
    if function == DATE and (unknown := sorted(letters - PATTERN_CHARS.keys())):
        raise ValueError(f"{unknown[0]!r} stands for no part of a date; text stands in quotes, as in d 'of' MMMM")
    return found["name"], Form(function, pattern, _known(locale))


def misfit(form: Form, kinds: Iterable[PlaceholderType]) -> str:
    """Why values of one of `kinds` cannot have this form; empty when all can."""
    for kind in sorted(set(kinds)):
        if kind not in _KINDS[form.function]:
            words = ", ".join(sorted(_KINDS[form.function]))
            return f"{form.function} is for {words}, and this is {kind}"
        try:
            text = formatted(_SAMPLES[kind], kind, form, currency="EUR", time_zone=UTC)
        # What Babel raises for a field that there is not; one that it lists and does not write is None.
        except (ValueError, KeyError, AttributeError, TypeError, ArithmeticError):
            text = str(None)
        if str(None) in text and str(None) not in form.pattern:
            return f"{form.pattern!r} cannot be written of a {kind}"
    return ""


def formatted(value: Any, kind: PlaceholderType, form: Form, *, currency: str | None, time_zone: tzinfo) -> str:
    """The value's text. A timestamp is written as the clocks of `time_zone` show it; a date of one is its day there.

    A `currency` that is no code of ISO 4217, three capitals, is written as none is (XXX). An event's may be any text,
    and Babel puts it into the pattern sign by sign: of 7 KB of `¤` it makes gigabytes.
    ValueError or ArithmeticError for a value that cannot be written so: the week of the last days of the year 9999.
    """
    if form.function == DATE:
        if kind is PlaceholderType.TIMESTAMP:
            try:
                return str(format_datetime(value, format=form.pattern, tzinfo=time_zone, locale=form.locale))
            except OverflowError:  # in the first or last hours that a datetime can hold
                return str(format_datetime(value, format=form.pattern, tzinfo=UTC, locale=form.locale))
        return str(format_date(day_of(value, time_zone), format=form.pattern, locale=form.locale))
    with localcontext() as context:
        context.prec = _DIGITS
        if "¤" not in form.pattern:
            return str(format_decimal(value, format=form.pattern, locale=form.locale))
        code = currency if currency is not None and _CURRENCY.fullmatch(currency) else _NO_CURRENCY
        return str(format_currency(value, code, format=form.pattern, locale=form.locale, currency_digits=False))


def day_of(value: date, time_zone: tzinfo) -> date:
    """A date as it is; of a timestamp its day in `time_zone`."""
    if not isinstance(value, datetime):
        return value
    try:
        return value.astimezone(time_zone).date()
    except OverflowError:  # in the first or last hours that a datetime can hold
        return value.date()


def _known(tag: str) -> str:
    """The nearest language that Babel has: the tag's own, else without its region. ValueError for none."""
    for wanted in (tag, re.split("[-_]", tag)[0]):
        try:
            return str(Locale.parse(wanted.replace("-", "_")))
        except (UnknownLocaleError, ValueError):
            continue
    raise ValueError(f"nobody knows how {tag!r} writes numbers and dates")
