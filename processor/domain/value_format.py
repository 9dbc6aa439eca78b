"""FORMAT and FORMAT_DATE: a value as a language writes it, by a pattern of CLDR. Pure.

Languages' data and the patterns' meaning are Babel's: https://unicode.org/reports/tr35/tr35-numbers.html and
tr35-dates.html . Digits and signs are the language's own, which Babel leaves as they are in ASCII. A number is rounded
half to even, and what is then zero has no minus; a pattern with `¤` has the amount's own currency.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal, localcontext
from html import unescape
from typing import Any, Final

from babel import Locale
from babel.dates import PATTERN_CHARS, DateTimeFormat, DateTimePattern
from babel.dates import parse_pattern as parse_date_pattern
from babel.numbers import NumberPattern, get_currency_name, get_currency_symbol
from babel.numbers import parse_pattern as parse_number_pattern

from processor.domain.language import babel_locale, parse_tag
from processor.domain.placeholders import PlaceholderType
from processor.domain.text import did_you_mean
from processor.templates.patterns import BEFORE_NUMBER_BEHIND, POSITIVE_NEGATIVE, date_meant, number_meant

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
_SAMPLES: Final = {  # values of which a mistake shows: an afternoon at the end of a year, and thousands
    PlaceholderType.MONEY: Decimal("1234.5"),
    PlaceholderType.DECIMAL: Decimal("4.5"),
    PlaceholderType.INTEGER: 1234,
    PlaceholderType.DATE: date(2025, 12, 29),
    PlaceholderType.TIMESTAMP: datetime(2025, 12, 29, 15, 44, 6, tzinfo=UTC),
}
_ARGUMENTS: Final = re.compile(r"(?P<name>[A-Z][A-Z0-9_]*),(?P<key>[A-Za-z]+)=(?P<pattern>.+)", re.DOTALL)
_QUOTED: Final = re.compile(r"'[^']*'")
_AROUND: Final = r"[#0,.;%‰¤+\-() \u00a0\u202f\u061c\u200e\u200f]*"  # also what gives text its direction
_NUMERIC: Final = re.compile(f"{_AROUND}[#0]{_AROUND}")
_AFFIX: Final = re.compile(
    r"(?P<quote>'')|'(?P<text>(?:[^']|'')*)'|(?P<currency>¤{1,3})|(?P<sign>[-+%‰])|(?P<plain>.)", re.DOTALL
)
_SIGNS: Final = {"-": "minusSign", "+": "plusSign", "%": "percentSign", "‰": "perMille"}
_SCALES: Final = {"%": 2, "‰": 3}
_NONZERO: Final = re.compile("[1-9]")
_CURRENCY: Final = re.compile("[A-Z]{3}")
_NO_CURRENCY: Final = "XXX"  # ISO 4217: no currency is involved; shown as ¤
_DIGITS: Final = 200  # more than any value (38) and pattern (100) have together, so that only the pattern rounds

ZEROS: Final[Mapping[str, str]] = {  # CLDR's numbering systems of ten digits in a row -> the first of them
    "adlm": "\U0001e950",
    "arab": "\u0660",
    "arabext": "\u06f0",
    "beng": "\u09e6",
    "cakm": "\U00011136",
    "deva": "\u0966",
    "gujr": "\u0ae6",
    "guru": "\u0a66",
    "hmnp": "\U0001e140",
    "java": "\ua9d0",
    "khmr": "\u17e0",
    "knda": "\u0ce6",
    "laoo": "\u0ed0",
    "latn": "0",
    "mlym": "\u0d66",
    "mong": "\u1810",
    "mtei": "\uabf0",
    "mymr": "\u1040",
    "nkoo": "\u07c0",
    "olck": "\u1c50",
    "orya": "\u0b66",
    "tamldec": "\u0be6",
    "telu": "\u0c66",
    "thai": "\u0e50",
    "tibt": "\u0f20",
    "vaii": "\ua620",
}


@dataclass(frozen=True, slots=True)
class Notation:
    """How a language writes: its data, and the numbering system whose digits and signs it has."""

    locale: Locale
    system: str

    @property
    def digits(self) -> Mapping[int, str]:
        """For `str.translate`: what stands for 0 to 9. Empty for the digits that they are."""
        zero = ord(ZEROS[self.system])
        return {ord("0") + digit: chr(zero + digit) for digit in range(10)} if self.system != "latn" else {}

    def sign(self, sign: str) -> str:
        """How a sign of a pattern is written."""
        symbols = self.locale.number_symbols
        return str(symbols[self.system].get(_SIGNS[sign]) or symbols["latn"].get(_SIGNS[sign], sign))


@dataclass(frozen=True, slots=True)
class ValueFormat:
    """How one placeholder's value is written: by FORMAT or FORMAT_DATE, a pattern, and a language's notation."""

    function: str
    pattern: str
    notation: Notation
    compiled: "_NumberForm | _DateForm" = field(repr=False, compare=False)

    def written(self, name: str) -> str:
        """As it stands in a template, with the placeholder's name."""
        return f"{self.function}{{{name},{_PATTERNS[self.function]}={self.pattern}}}"

    def in_address(self) -> "ValueFormat":
        """The same with the digits 0 to 9, as systems read addresses."""
        return _form(self.function, self.pattern, Notation(self.notation.locale, "latn"))


_Affix = tuple[str | int, ...]  # text, or how many signs ¤ stand there


class _NumberForm:
    """A numericPattern, parsed. Babel writes the digits of a number without its sign; all around them is ours."""

    def __init__(self, pattern: str, notation: Notation) -> None:
        self._notation = notation
        self._digits = notation.digits
        halves = POSITIVE_NEGATIVE.fullmatch(pattern)
        parts = BEFORE_NUMBER_BEHIND.fullmatch(halves[1]) if halves else None
        if halves is None or parts is None or not _NUMERIC.fullmatch(parts[2]):
            raise ValueError(f"{pattern!r} is no pattern of a number, as in {_EXAMPLES[NUMBER]}")
        self._number: NumberPattern = parse_number_pattern(parts[2])
        self._positive = (self._affix(parts[1]), self._affix(parts[3]))
        self._negative = ((notation.sign("-"), *self._positive[0]), self._positive[1])
        if halves[2] and (parts := BEFORE_NUMBER_BEHIND.fullmatch(halves[2])):
            self._negative = (self._affix(parts[1]), self._affix(parts[3]))
        bare = _QUOTED.sub("", halves[1])
        self._scale = next((scale for sign, scale in _SCALES.items() if sign in bare), 0)

    def _affix(self, text: str) -> _Affix:
        pieces: list[str | int] = []
        for found in _AFFIX.finditer(text):
            match found.lastgroup:
                case "quote":
                    pieces.append("'")
                case "text":
                    pieces.append(found["text"].replace("''", "'"))
                case "currency":
                    pieces.append(len(found["currency"]))
                case "sign":
                    pieces.append(self._notation.sign(found["sign"]))
                case _:
                    pieces.append(found["plain"])
        return tuple(pieces)

    def text(self, value: Decimal | int, currency: str) -> str:
        with localcontext() as context:
            context.prec = _DIGITS
            amount = abs(Decimal(value)).scaleb(self._scale)
            number = self._number.apply(amount, self._notation.locale, numbering_system=self._notation.system)
            # What is rounded to zero has no sign, as `{NAME}` has none.
            before, behind = self._negative if value < 0 and _NONZERO.search(number) else self._positive
            pieces = (*before, number.translate(self._digits) if self._digits else number, *behind)
            # Which name a currency has (EUR: euro, euros) is reckoned with the amount, which is as long as the others.
            return "".join(
                piece if isinstance(piece, str) else self._currency(piece, currency, amount) for piece in pieces
            )

    def _currency(self, width: int, code: str, amount: Decimal) -> str:
        match width:
            case 1:
                return get_currency_symbol(code, self._notation.locale)
            case 2:
                return code
            case _:
                return get_currency_name(code, amount, self._notation.locale)


class _DateForm:
    """A datePattern, parsed."""

    def __init__(self, pattern: str, notation: Notation) -> None:
        self._locale = notation.locale
        self._digits = notation.digits
        try:
            self._pattern: DateTimePattern = parse_date_pattern(pattern)
        except ValueError as error:
            raise ValueError(f"{pattern!r} cannot be written: {str(error)[:1].lower()}{str(error)[1:]}") from error

    def text(self, value: date) -> str:
        locale, digits = self._locale, self._digits
        return self._pattern % (_Digits(value, locale, digits) if digits else _Parts(value, locale))


class _Parts(DateTimeFormat):
    """The parts of a date. Where a language has no word for noon or midnight (`b`), it is am or pm, as UTS 35 allows:
    Babel raises ValueError there, and only at these two minutes of a day."""

    def format_period(self, char: str, num: int) -> str:
        try:
            return super().format_period(char, num)
        except ValueError:
            return super().format_period("a", num)


class _Digits(_Parts):
    """The parts of a date with a language's own digits. Names and what ISO 8601 writes stay as they are."""

    def __init__(self, value: date, locale: Locale, digits: Mapping[int, str]) -> None:
        super().__init__(value, locale)
        self._digits = digits

    def __getitem__(self, name: str) -> str:
        text = super().__getitem__(name)
        numeric = len(name) <= 2 if name[0] in "MLQqec" else name[0] in "yYuwWdDFghHKkmsSAO" or name == "ZZZZ"
        return text.translate(self._digits) if numeric else text


def parse_format(function: str, arguments: str, *, locale: str) -> tuple[str, ValueFormat]:
    """The placeholder's name and its form, of `NAME,numericPattern=…`. ValueError says what is wrong."""
    found = _ARGUMENTS.fullmatch(arguments)
    if arguments.startswith("CF:"):
        raise ValueError(
            f"{function} takes no custom field: the type of its value is known only when the event is there"
        )
    if found is None or found["key"] != _PATTERNS[function]:
        blanks = " without blanks" if re.search(r"\s", arguments.partition("=")[0]) else ""
        raise ValueError(f"{function} takes a name and {_PATTERNS[function]}{blanks}, as in {_EXAMPLES[function]}")
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
    return found["name"], _form(function, pattern, notation_for(locale))


def _form(function: str, pattern: str, notation: Notation) -> ValueFormat:
    compiled = _NumberForm(pattern, notation) if function == NUMBER else _DateForm(pattern, notation)
    return ValueFormat(function, pattern, notation, compiled)


def format_error(value_format: ValueFormat, kinds: Iterable[PlaceholderType]) -> str:
    """Why values of one of `kinds` cannot have this form; empty when all can."""
    for kind in sorted(set(kinds)):
        if kind not in _KINDS[value_format.function]:
            words = ", ".join(sorted(_KINDS[value_format.function]))
            return f"{value_format.function} is for {words}, and this is {kind}"
        try:
            text = format_value(_SAMPLES[kind], kind, value_format, currency="EUR", time_zone=UTC)
        # What Babel raises for a field that there is not; one that it lists and does not write is None.
        except (ValueError, KeyError, AttributeError, TypeError, ArithmeticError):
            text = str(None)
        if str(None) in text and str(None) not in value_format.pattern:
            return f"{value_format.pattern!r} cannot be written of a {kind}"
    return ""


def format_doubt(value_format: ValueFormat, kind: PlaceholderType, *, locale: str) -> tuple[str, str]:
    """What a pattern writes that its author hardly meant, and a hint with what was meant; empty for none (T22).

    `form` fits `kind` (see `misfit`); `locale` is the tag that it was made for.
    """
    pattern, reasons = _meant(value_format.function, value_format.pattern, kind, locale)
    if not reasons:
        return "", ""
    sample = _SAMPLES[kind]
    shown = sample.isoformat().replace("+00:00", "Z") if isinstance(sample, date) else str(sample)
    currency = "EUR" if kind is PlaceholderType.MONEY else None
    text = format_value(sample, kind, value_format, currency=currency, time_zone=UTC)
    hint = ""
    if meant := _fitting(value_format.function, pattern, kind, locale):
        better = format_value(sample, kind, meant, currency=currency, time_zone=UTC)
        hint = f"did you mean {pattern}, which writes {better!r}?"
    return f"writes {text!r} of {shown}: {'; '.join(reasons)}", hint


def digits_doubt(value_format: ValueFormat, kind: PlaceholderType, *, locale: str) -> tuple[str, str]:
    """The same of a body that systems read: digits that hardly any of them takes, unless the tag asks for them."""
    language = parse_tag(locale)
    text = format_value(_SAMPLES[kind], kind, value_format, currency="EUR", time_zone=UTC)
    if language is None or language.keywords or not set(value_format.notation.digits.values()) & set(text):
        return "", ""
    what = f"writes {text!r} in {locale}, and systems read the digits 0 to 9"
    return (
        what,
        f"{locale}-u-nu-latn writes those; {locale}-u-nu-{value_format.notation.system} says that people read this",
    )


def suggest_format(function: str, arguments: str, kind: PlaceholderType, *, locale: str) -> str:
    """A hint for arguments that are no form, or none of `kind`: the pattern that was probably meant; empty for none."""
    found = _ARGUMENTS.fullmatch(arguments)
    other = DATE if function == NUMBER else NUMBER
    if found and found["key"] == _PATTERNS[other] and kind in _KINDS[other]:
        return f"write {other}{{{arguments}}}"
    if found is None or kind not in _KINDS[function] or len(found["pattern"]) > PATTERN_LIMIT_CHARACTERS:
        return ""
    pattern, reasons = _meant(function, found["pattern"], kind, locale)
    return did_you_mean(pattern) if reasons and _fitting(function, pattern, kind, locale) else ""


def _meant(function: str, pattern: str, kind: PlaceholderType, locale: str) -> tuple[str, tuple[str, ...]]:
    read = unescape(pattern)
    entities = ("a character reference is text",) if read != pattern else ()
    if function == DATE:
        meant, reasons = date_meant(read)
        return meant, entities + reasons
    try:
        meant, reasons = number_meant(read, kind, notation_for(locale).locale)
    except ValueError:
        return pattern, ()
    return meant, entities + reasons


def _fitting(function: str, pattern: str, kind: PlaceholderType, locale: str) -> ValueFormat | None:
    """The form of `pattern`, None when it is none of `kind`."""
    try:
        _, value_format = parse_format(function, f"A,{_PATTERNS[function]}={pattern}", locale=locale)
    except ValueError:
        return None
    return None if format_error(value_format, [kind]) else value_format


def format_value(
    value: Any, kind: PlaceholderType, value_format: ValueFormat, *, currency: str | None, time_zone: tzinfo
) -> str:
    """The value's text. A timestamp is written as the clocks of `time_zone` show it; a date of one is its day there.

    A `currency` that is no code of ISO 4217, three capitals, is written as none is (XXX). An event's may be any text,
    and Babel puts it into the pattern sign by sign: of 7 KB of `¤` it makes gigabytes.
    ValueError or ArithmeticError for a value that cannot be written so: the week of the last days of the year 9999.
    """
    if isinstance(value_format.compiled, _DateForm):
        if kind is not PlaceholderType.TIMESTAMP:
            return value_format.compiled.text(day_of(value, time_zone))
        try:
            return value_format.compiled.text(value.astimezone(time_zone))
        except OverflowError:  # in the first or last hours that a datetime can hold
            return value_format.compiled.text(value.astimezone(UTC))
    code = currency if currency is not None and _CURRENCY.fullmatch(currency) else _NO_CURRENCY
    return value_format.compiled.text(value, code)


def day_of(value: date, time_zone: tzinfo) -> date:
    """A date as it is; of a timestamp its day in `time_zone`."""
    if not isinstance(value, datetime):
        return value
    try:
        return value.astimezone(time_zone).date()
    except OverflowError:  # in the first or last hours that a datetime can hold
        return value.date()


def notation_for(tag: str) -> Notation:
    """How the language of `tag` writes, or the nearest that Babel has. ValueError says why there is none.

    The numbering system is the one that CLDR has for the locale, or that of the tag's extension -u-nu-.
    """
    language = parse_tag(tag)
    locale = None if language is None else babel_locale(language)
    if language is None or locale is None:
        raise ValueError(f"nobody knows how {tag!r} writes numbers and dates")
    wanted = re.fullmatch("(?:nu-([a-z0-9]+))?", language.keywords)
    if wanted is None:
        raise ValueError(f"of the extensions of {tag!r} only -u-nu- is supported, which chooses the digits")
    system = wanted[1] or locale.default_numbering_system
    if system not in ZEROS or system not in locale.number_symbols:
        raise ValueError(f"{tag!r} names digits {system!r} that are not supported; one of: {', '.join(ZEROS)}")
    return Notation(locale, system)
