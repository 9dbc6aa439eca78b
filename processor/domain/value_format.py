"""FORMAT and FORMAT_DATE of a template, parsed: a pattern of CLDR and how a language writes it. Pure.

Languages' data and the patterns' meaning are Babel's: https://unicode.org/reports/tr35/tr35-numbers.html and
tr35-dates.html . Values are written in `mapping/format.py`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from babel import Locale
from babel.dates import PATTERN_CHARS, DateTimePattern
from babel.dates import parse_pattern as parse_date_pattern
from babel.numbers import NumberPattern
from babel.numbers import parse_pattern as parse_number_pattern

from processor.domain.language import babel_locale, parse_tag
from processor.domain.placeholders import PlaceholderType

PATTERN_LIMIT_CHARACTERS: Final = 100


class FormatFunction(StrEnum):
    """The two functions of a template's text, spelt as there."""

    NUMBER = "FORMAT"
    DATE = "FORMAT_DATE"


PATTERN_ARGUMENT: Final[Mapping[FormatFunction, str]] = {  # function -> what its pattern is called
    FormatFunction.NUMBER: "numericPattern",
    FormatFunction.DATE: "datePattern",
}
FORMATTED_TYPES: Final[Mapping[FormatFunction, frozenset[PlaceholderType]]] = {  # function -> what it can write
    FormatFunction.NUMBER: frozenset((PlaceholderType.MONEY, PlaceholderType.DECIMAL, PlaceholderType.INTEGER)),
    FormatFunction.DATE: frozenset((PlaceholderType.DATE, PlaceholderType.TIMESTAMP)),
}
_EXAMPLES: Final[Mapping[FormatFunction, str]] = {
    FormatFunction.NUMBER: "FORMAT{TOTAL_BALANCE,numericPattern=#,##0.00}",
    FormatFunction.DATE: "FORMAT_DATE{OCCURRED_AT,datePattern=d MMMM yyyy}",
}

ARGUMENTS: Final = re.compile(r"(?P<name>[A-Z][A-Z0-9_]*),(?P<key>[A-Za-z]+)=(?P<pattern>.+)", re.DOTALL)
POSITIVE_NEGATIVE: Final = re.compile(r"((?:'[^']*'|[^';])*);?(.*)", re.DOTALL)  # the two parts of a number's pattern
BEFORE_NUMBER_BEHIND: Final = re.compile(r"((?:'[^']*'|[^'#0,.])*)([#0,.]*)(.*)", re.DOTALL)  # of one of them
_QUOTED: Final = re.compile(r"'[^']*'")
_AROUND: Final = r"[#0,.;%‰¤+\-() \u00a0\u202f\u061c\u200e\u200f]*"  # also what gives text its direction
_NUMERIC: Final = re.compile(f"{_AROUND}[#0]{_AROUND}")
_AFFIX: Final = re.compile(
    r"(?P<quote>'')|'(?P<text>(?:[^']|'')*)'|(?P<currency>¤{1,3})|(?P<sign>[-+%‰])|(?P<plain>.)", re.DOTALL
)
_SIGNS: Final = {"-": "minusSign", "+": "plusSign", "%": "percentSign", "‰": "perMille"}
_SCALES: Final = {"%": 2, "‰": 3}

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


Affix = tuple[str | int, ...]  #: What stands before or behind a number: text, or how many signs ¤ stand there.


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """A numericPattern, parsed. `positive` and `negative` are what stands before and behind the digits.

    `digits` as in `Notation`; `scale` is the power of ten that % or ‰ multiplies by.
    """

    notation: Notation
    digits: Mapping[int, str]
    number: NumberPattern
    positive: tuple[Affix, Affix]
    negative: tuple[Affix, Affix]
    scale: int


@dataclass(frozen=True, slots=True)
class DateFormat:
    """A datePattern, parsed. `digits` as in `Notation`."""

    locale: Locale
    digits: Mapping[int, str]
    pattern: DateTimePattern


@dataclass(frozen=True, slots=True)
class ValueFormat:
    """How one placeholder's value is written: by a function, its pattern, and a language's notation."""

    function: FormatFunction
    pattern: str
    notation: Notation
    compiled: NumberFormat | DateFormat = field(repr=False, compare=False)

    def source(self, name: str) -> str:
        """As it stands in a template, with the placeholder's name."""
        return f"{self.function}{{{name},{PATTERN_ARGUMENT[self.function]}={self.pattern}}}"

    def with_ascii_digits(self) -> "ValueFormat":
        """The same with the digits 0 to 9, as systems read addresses."""
        return _compile(self.function, self.pattern, Notation(self.notation.locale, "latn"))


def parse_format(function: FormatFunction, arguments: str, *, locale: str) -> tuple[str, ValueFormat]:
    """The placeholder's name and its format, of `NAME,numericPattern=…`. ValueError says what is wrong, for authors."""
    if arguments.startswith("CF:"):
        raise ValueError(
            f"{function} takes no custom field: the type of its value is known only when the event is there"
        )
    found = ARGUMENTS.fullmatch(arguments)
    if found is None or found["key"] != PATTERN_ARGUMENT[function]:
        blanks = " without blanks" if re.search(r"\s", arguments.partition("=")[0]) else ""
        raise ValueError(
            f"{function} takes a name and {PATTERN_ARGUMENT[function]}{blanks}, as in {_EXAMPLES[function]}"
        )
    _check_pattern(function, found["pattern"])
    return found["name"], _compile(function, found["pattern"], notation_for(locale))


def _check_pattern(function: FormatFunction, pattern: str) -> None:
    if len(pattern) > PATTERN_LIMIT_CHARACTERS:
        raise ValueError(f"a pattern of {len(pattern)} characters; at most {PATTERN_LIMIT_CHARACTERS}")
    unquoted = _QUOTED.sub("", pattern)
    if "'" in unquoted:
        raise ValueError(f"{pattern!r} has a quote without its partner")
    if function is FormatFunction.NUMBER:
        if not _NUMERIC.fullmatch(unquoted):
            raise ValueError(f"{pattern!r} is no pattern of a number, as in {_EXAMPLES[function]}")
        return
    letters = set(re.findall("[A-Za-z]", unquoted))
    if not letters:
        raise ValueError(f"{pattern!r} is no pattern of a date, as in {_EXAMPLES[function]}")
    if unknown := sorted(letters - PATTERN_CHARS.keys()):
        raise ValueError(f"{unknown[0]!r} stands for no part of a date; text stands in quotes, as in d 'of' MMMM")


def _compile(function: FormatFunction, pattern: str, notation: Notation) -> ValueFormat:
    compile_pattern = _number_format if function is FormatFunction.NUMBER else _date_format
    return ValueFormat(function, pattern, notation, compile_pattern(pattern, notation))


def _number_format(pattern: str, notation: Notation) -> NumberFormat:
    halves = POSITIVE_NEGATIVE.fullmatch(pattern)
    parts = BEFORE_NUMBER_BEHIND.fullmatch(halves[1]) if halves else None
    if halves is None or parts is None or not _NUMERIC.fullmatch(parts[2]):
        raise ValueError(f"{pattern!r} is no pattern of a number, as in {_EXAMPLES[FormatFunction.NUMBER]}")
    number: NumberPattern = parse_number_pattern(parts[2])
    positive = (_affix(parts[1], notation), _affix(parts[3], notation))
    negative = ((notation.sign("-"), *positive[0]), positive[1])
    if halves[2] and (parts := BEFORE_NUMBER_BEHIND.fullmatch(halves[2])):
        negative = (_affix(parts[1], notation), _affix(parts[3], notation))
    unquoted = _QUOTED.sub("", halves[1])
    scale = next((scale for sign, scale in _SCALES.items() if sign in unquoted), 0)
    return NumberFormat(notation, notation.digits, number, positive, negative, scale)


def _affix(text: str, notation: Notation) -> Affix:
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
                pieces.append(notation.sign(found["sign"]))
            case _:
                pieces.append(found["plain"])
    return tuple(pieces)


def _date_format(pattern: str, notation: Notation) -> DateFormat:
    try:
        return DateFormat(notation.locale, notation.digits, parse_date_pattern(pattern))
    except ValueError as error:
        raise ValueError(f"{pattern!r} cannot be written: {str(error)[:1].lower()}{str(error)[1:]}") from error


def notation_for(tag: str) -> Notation:
    """How the language of `tag` writes, or the nearest that Babel has. ValueError says why there is none.

    The numbering system is the one that CLDR has for the locale, or that of the tag's extension -u-nu-.
    """
    language = parse_tag(tag)
    locale = None if language is None else babel_locale(language)
    if language is None or locale is None:
        raise ValueError(f"nobody knows how {tag!r} writes numbers and dates")
    numbering = re.fullmatch("(?:nu-([a-z0-9]+))?", language.keywords)
    if numbering is None:
        raise ValueError(f"of the extensions of {tag!r} only -u-nu- is supported, which chooses the digits")
    system = numbering[1] or locale.default_numbering_system
    if system not in ZEROS or system not in locale.number_symbols:
        raise ValueError(f"{tag!r} names digits {system!r} that are not supported; one of: {', '.join(ZEROS)}")
    return Notation(locale, system)
