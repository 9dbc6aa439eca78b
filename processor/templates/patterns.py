"""Patterns of numbers and dates that are nearly always a mistake (T22), and what was probably meant. Pure.

What a pattern means is CLDR's: https://unicode.org/reports/tr35/tr35-dates.html#Date_Field_Symbol_Table and
https://unicode.org/reports/tr35/tr35-numbers.html#Number_Format_Patterns . The mistakes are those of other notations:
of spreadsheets in other languages, of strftime, of .NET and JavaScript, and of a decimal comma.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from babel import Locale
from babel.dates import PATTERN_CHARS

from processor.domain.placeholders import PlaceholderType
from processor.domain.value_format import BEFORE_NUMBER_BEHIND, POSITIVE_NEGATIVE

Reasons = tuple[str, ...]  #: Why a pattern is doubted, one piece of a sentence each; empty when it is not.

_MAX_ROUNDS: Final = 6  # one mistake may hide another

# ------------------------------------------------------------------------------------------------------------ numbers

_MORE_OF_NUMBER: Final = re.compile(r"((?:[^#0';¤%‰]|'[^A-Za-z#0']*')*[#0][#0,.]*)+")  # more of a number behind it
_PERCENT_SIGN: Final = re.compile(r"('[^']*')|([%‰])")
_APOSTROPHE: Final = re.compile("(?<=[#0])['’](?=[#0])")  # that groups digits, as in Switzerland
_TEXT_OR_SIGN: Final = re.compile(  # text in quotes, a sign of a currency, or words
    "('[^']*')|((?:[A-Z]{1,3})?[$£¥\u20a0-\u20cf\ufdfc\uffe1\uffe5])|([^\\W\\d_]+(?:[. ]+[^\\W\\d_]+)*\\.?)"
)
_MYRIAD_LANGUAGES: Final = frozenset(("zh", "ja", "ko"))  # languages that count by ten thousand
_LAKH_REGIONS: Final = frozenset(("IN", "PK", "BD", "NP", "LK", "BT"))  # regions that count in lakhs, 12,34,567


def suggest_number_pattern(pattern: str, kind: PlaceholderType, locale: Locale) -> tuple[str, Reasons]:
    """The numericPattern that was probably meant, and why; the same and nothing when it is as it should be."""
    reasons: dict[str, None] = {}
    if pattern.count("'") % 2:
        pattern = _APOSTROPHE.sub(",", pattern)
        if pattern.count("'") % 2:
            return pattern, ()  # nobody knows where a quote should end
        reasons["only a comma groups digits"] = None
    pattern = _fix_signs(pattern, kind, reasons)
    for _ in range(_MAX_ROUNDS):
        before, pattern = pattern, _fix_halves(pattern, kind, locale, reasons)
        if pattern == before:
            break
    return pattern, tuple(reasons)


def _fix_signs(pattern: str, kind: PlaceholderType, reasons: dict[str, None]) -> str:
    """The pattern with quotes around words and `¤` for an amount's currency. None of what is replaced is a pattern."""

    def replace_word(found: re.Match[str]) -> str:
        quoted, sign, word = found.groups()
        if quoted:
            return quoted
        if kind is PlaceholderType.MONEY and (sign or re.fullmatch("[A-Z]{3}", word)):
            return "¤" if sign else "¤¤"
        return f"'{found.group()}'"

    meant = _TEXT_OR_SIGN.sub(replace_word, pattern)
    if meant == pattern or meant.count("''") > pattern.count("''"):  # two of them are an apostrophe
        return pattern
    reasons["text stands in quotes, and ¤ for the currency"] = None
    return meant


def _fix_halves(pattern: str, kind: PlaceholderType, locale: Locale, reasons: dict[str, None]) -> str:
    positive, negative = _halves(pattern)
    if negative and (more := _halves(negative))[1]:
        reasons["a pattern has two parts, for positive and negative values, and no third"] = None
        negative = more[0]
    # Of the second part only what is around its number counts.
    parts = (_fix_half(positive, kind, locale, reasons), _fix_half(negative, kind, locale, {}))
    return ";".join(part for part in parts if part)


def _halves(pattern: str) -> tuple[str, str]:
    found = POSITIVE_NEGATIVE.fullmatch(pattern)
    return (found[1], found[2]) if found else (pattern, "")


def _fix_half(text: str, kind: PlaceholderType, locale: Locale, reasons: dict[str, None]) -> str:
    found = BEFORE_NUMBER_BEHIND.fullmatch(text)
    if found is None or not found[2]:
        return text
    before, number, behind = found.groups()
    if further := _MORE_OF_NUMBER.match(behind):
        reasons[f"only a comma groups digits, and what stands behind {number} is text"] = None
        number += re.sub("[^#0,.]+", ",", further.group())
        behind = behind[further.end() :]
    if ended := re.fullmatch("(.*[#0])([.,]+)", number):
        reasons[f"{ended[2]} at the end of a number is not written"] = None
        number, behind = ended[1], f"'{ended[2]}'{behind}"
    number, why = _fix_digits(number, locale)
    if why:
        reasons[why] = None
    if any(sign for _, sign in _PERCENT_SIGN.findall(before + behind)):
        value = "is in percent already" if kind is PlaceholderType.DECIMAL else f"is no fraction but {_A_KIND[kind]}"
        reasons[f"% multiplies by 100 and ‰ by 1000, and the value {value}"] = None
        before, behind = (
            _PERCENT_SIGN.sub(lambda place: place[1] or f"'{place[2]}'", part) for part in (before, behind)
        )
    if kind is not PlaceholderType.MONEY and "¤" in re.sub("'[^']*'", "", before + behind):
        reasons[f"the value is {_A_KIND[kind]} without a currency, so ¤ stays ¤"] = None
        before, behind = re.sub("¤+[ \u00a0]*", "", before), re.sub("[ \u00a0]*¤+", "", behind)
    return before + number + behind


_A_KIND: Final[Mapping[PlaceholderType, str]] = {
    PlaceholderType.MONEY: "an amount",
    PlaceholderType.DECIMAL: "a decimal",
    PlaceholderType.INTEGER: "a whole number",
}


def _fix_digits(number: str, locale: Locale) -> tuple[str, str]:
    """Digits, commas and points as they were probably meant, and why; empty when they are as they should be."""
    *integer, last = re.split("[,.]", number)
    signs = re.findall("[,.]", number)
    grouped = "#,##0"
    if not signs:
        return _zeros_last(number), "" if "0#" not in number else "0 stands on the wrong side of #"
    if ("," in signs and "." in signs and signs != sorted(signs)) or signs.count(".") > 1:
        # A comma behind a point, or two points: signs of another language.
        whole = len(last) == 3 and set(signs) == {"."} and len(integer[-1]) <= 3
        meant = grouped if whole else f"{grouped}.{last}"
        return meant, "in patterns the point is the decimal sign of every language, and the comma groups digits"
    if "," not in signs:
        if last == "##0" and integer[0] in ("#", "##", "###"):
            return grouped, "in patterns the point is the decimal sign of every language, and the comma groups digits"
        meant = f"{_zeros_last(integer[0])}.{_zeros_first(last)}"
        return meant, "" if meant == number else "0 stands on the wrong side of #"
    groups, decimals = (integer, f".{last}") if "." in signs else ([*integer, last], "")
    primary, secondary = len(groups[-1]), {len(group) for group in groups[1:-1]}
    if (primary < 3 or "0#" in last) and not decimals:
        # A decimal comma: 0,00
        meant = f"{grouped}.{last}" if len(groups) > 2 else f"{_zeros_last(groups[0])}.{_zeros_first(last)}"
        return (
            meant,
            f"the comma groups digits, here by {primary}; the point is the decimal sign of every language",
        )
    if "0#" in "".join(groups) or "#0" in decimals:
        return f"{grouped}{_zeros_first(decimals)}", "0 stands on the wrong side of #"
    if "".join(groups).count("0") > 3:
        return f"{grouped}{decimals}", "small values get zeros in front"
    if primary == 4 and locale.language in _MYRIAD_LANGUAGES and secondary <= {4}:
        return number, ""
    if primary != 3 or not secondary <= {2, 3}:
        return f"{grouped}{decimals}", f"digits are grouped by {primary}"
    if 2 in secondary and not _groups_by_two(locale):
        return f"{grouped}{decimals}", f"digits are grouped by two, as {locale.english_name} does not"
    return number, ""


def _zeros_first(places: str) -> str:
    return "".join(sorted(places, key=".0#".index))


def _zeros_last(places: str) -> str:
    return "".join(sorted(places, key="#0".index))


def _groups_by_two(locale: Locale) -> bool:
    """Whether 12,34,567 is how people write there; of English without a region nobody knows where it is read."""
    by_two = locale.decimal_formats[None].grouping[1] == 2
    return by_two or locale.territory in _LAKH_REGIONS or (locale.language, locale.territory) == ("en", None)


# -------------------------------------------------------------------------------------------------------------- dates

_PIECE: Final = re.compile(r"'(?:[^']|'')*'|([A-Za-z])\1*|[^A-Za-z']+|'")
_STRFTIME: Final = re.compile("%[-_]?([A-Za-z])")
_OF_STRFTIME: Final[Mapping[str, str]] = dict(
    zip(
        "demyYbBaAHIMSpjZFT",
        "dd d MM yy yyyy MMM MMMM EEE EEEE HH hh mm ss a DDD z yyyy-MM-dd HH:mm:ss".split(" "),  # noqa: SIM905  # a row
        strict=True,
    )
)
# Short words all of whose letters are parts of a date. Others hold a letter that is none.
_WORDS: Final = frozenset(("de", "da", "das", "des", "dem", "du", "am", "um", "au", "as", "ad"))
_LETTERS: Final = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff"  # Latin ones, as of às and år
_OTHER_QUOTES: Final = re.compile(f"(?:''|[‘’‚‛“”„´`\"])([{_LETTERS}. ]+)(?:''|[‘’‚‛“”„´`\"])")
_WORD: Final = re.compile(rf"'(?:[^']|'')*'|\ba las?\b|[{_LETTERS}]+")
_QUOTED_PART: Final = re.compile("(?<![A-Za-z])(?:dd|MM{1,3}|yy(?:yy)?|EEEE?|HH|hh|mm|ss)(?![A-Za-z])")
_HOURS: Final = frozenset("hHkK")
_DAYS: Final = frozenset("dDyYuE")  # what a month stands beside
_MONTHS: Final = frozenset("ML")


def suggest_date_pattern(pattern: str) -> tuple[str, Reasons]:
    """The datePattern that was probably meant, and why; the same and nothing when it is as it should be."""
    reasons: dict[str, None] = {}
    for _ in range(_MAX_ROUNDS):
        before, pattern = pattern, _fix_fields(_quote_words(pattern, reasons), reasons)
        if pattern == before:
            break
    return pattern, tuple(reasons)


def _quote_words(pattern: str, reasons: dict[str, None]) -> str:
    """The pattern with quotes around words, and none around parts of a date."""
    if _STRFTIME.search(pattern):
        reasons["% is text"] = None
        pattern = _STRFTIME.sub(lambda found: _OF_STRFTIME.get(found[1], found[1]), pattern)

    def quote_word(found: re.Match[str]) -> str:
        if all(_is_field(word) for word in re.findall(f"[{_LETTERS}]+", found[1])):
            return found.group()
        reasons["text stands in quotes like these: ' '"] = None
        return f"'{found[1]}'"

    pattern = _OTHER_QUOTES.sub(quote_word, pattern)

    def replace_word(found: re.Match[str]) -> str:
        text = found.group()
        if text.startswith("'"):
            if _QUOTED_PART.search(text):
                reasons["what stands in quotes is text"] = None
                text = _QUOTED_PART.sub(lambda part: f"'{part.group()}'", text).replace("''", "")
            return text
        if text == "Do":  # of JavaScript: 14th
            reasons["Do is no part of a date"] = None
            return "d"
        if not _is_field(text) and not re.fullmatch("[^A-Za-z]+", text):
            reasons[f"{text} is no part of a date, and text stands in quotes"] = None
            return f"'{text}'"
        return text

    return _WORD.sub(replace_word, pattern)


def _is_field(text: str) -> bool:
    """Whether letters may be parts of a date, and are no word of some language."""
    letters = set(text)
    wordlike = len(letters) > 1 and text[1:].islower() and not letters <= PATTERN_CHARS.keys()
    return text.isascii() and not (text in _WORDS or wordlike or " " in text)


def _fix_fields(pattern: str, reasons: dict[str, None]) -> str:
    pieces = [found.group() for found in _PIECE.finditer(pattern)]
    places = [at for at, piece in enumerate(pieces) if piece[0].isascii() and piece[0].isalpha()]
    letters = "".join(pieces[at][0] for at in places)
    for number, at in enumerate(places):
        field = pieces[at]
        start = places[number - 1] + 1 if number else 0
        right, why = _fix_field(_Field(field, letters, number, "".join(pieces[start:at])))
        if why:
            reasons[f"{field} is {why}"] = None
            pieces[at] = right
            letters = letters[:number] + right[0] + letters[number + 1 :]
    return "".join(pieces)


@dataclass(frozen=True, slots=True)
class _Field:
    """A part of a date's pattern among the others.

    `letters` has a letter for each part, this one's at `at`; those before it are as they were meant. `between` is the
    text in front of it.
    """

    text: str
    letters: str
    at: int
    between: str

    @property
    def length(self) -> int:
        return len(self.text)

    @property
    def before(self) -> str:
        """The letter of the part in front of it; empty for the first."""
        return self.letters[self.at - 1 : self.at] if self.at else ""

    @property
    def after(self) -> str:
        """The letter of the part behind it; empty for the last."""
        return self.letters[self.at + 1 : self.at + 2]

    @property
    def has_hours(self) -> bool:
        return self.has_any(_HOURS)

    def has_any(self, letters: Collection[str]) -> bool:
        """Whether a part of the pattern is one of `letters`."""
        return any(letter in letters for letter in self.letters)


def _fix_field(field: _Field) -> tuple[str, str]:
    """A part of a date as it was probably meant, and what it is instead; empty when it is as it should be."""
    if field.text[0] in "YyuDdmMec":
        return _fix_day_field(field)
    if field.text[0] in "hKkHSsaA":
        return _fix_time_field(field)
    return _fix_foreign_field(field)


def _fix_day_field(field: _Field) -> tuple[str, str]:
    """A part of a day: years, months, days."""
    letters, length, before, after = field.letters, field.length, field.before, field.after
    match field.text[0]:
        case "Y" if "w" not in letters:
            return "y" * length, "the year of the week"
        case "y" | "u" if "w" in letters and "Y" not in letters and not field.has_any("MLdDQqm"):
            return "Y" * length, "the year of the calendar, and weeks are those of the year of the week"
        case "D" if "d" not in letters and (
            field.has_any(_MONTHS)
            or ("m" in letters and not field.has_hours)  # minutes that are meant to be the month
            or (length <= 2 and not field.has_any("yYu"))
        ):
            return "d" * min(length, 2), "the day of the year"
        case "d" if length > 2:
            return "E" * min(length, 4), "no part of a date"
        case "m" if length > 2:
            return "M" * length, "no part of a date"
        case "m" if before not in _HOURS and after != "s" and {before, after} & _DAYS and not _has_month(letters):
            return "M" * length, "the minutes"
        case "M" if length <= 2 and before in _HOURS and (":" in field.between or after not in _DAYS):
            return "m" * length, "the month"
        case "e" | "c" if length <= 2 and field.has_any("dML"):
            return "EEE", "the number of the day in its week"
        case _:
            return field.text, ""


def _fix_time_field(field: _Field) -> tuple[str, str]:
    """A part of a time of day."""
    letters, length, before = field.letters, field.length, field.before
    has_half = field.has_any("abBAt")  # A and t are meant to be a
    match field.text[0]:
        case "h" if length == 1 and before in _HOURS:
            return "'h'", "an hour, and text stands in quotes"
        case "h" | "K" if not has_half:
            return "H" * length, "the hour of twelve, and nothing says which half of the day"
        case "k":
            return ("h" if has_half else "H") * length, "the hour from 1 to 24"
        case "H" if "a" in letters:
            return "h" * length, "the hour of 24 beside a half of the day"
        case "S" if "s" not in letters and length <= 2 and before == "m":
            return "s" * length, "a fraction of a second"
        case "s" if before in _HOURS and not field.has_any("mM"):
            return "m" * length, "the seconds"
        case "a" | "A" as letter if not field.has_hours and length in (2, 4):
            return "y" * length, "the half of the day" if letter == "a" else "the milliseconds of the day"
        case "a" if not field.has_hours:
            return f"'{field.text}'", "the half of the day, of which no hour is there"
        case "A" if field.has_hours and "a" not in letters:
            return "a", "the milliseconds of the day"
        case _:
            return field.text, ""


def _fix_foreign_field(field: _Field) -> tuple[str, str]:
    """A letter of other notations: of PHP, of other languages."""
    length, has_hours = field.length, field.has_hours
    match field.text[0]:
        case "F" if not field.has_any(_MONTHS) and field.has_any("dDj"):  # of PHP
            return "MMMM", "the number of the weekday in its month"
        case "r" if length > 1:  # of Polish
            return "y" * length, "no part of a date"
        case "g" if length <= 2 and field.has_any(_MONTHS) and not field.has_any("dDE"):
            return "d" * length, "no part of a date"
        case "G" | "g" as letter if length <= 2 and not has_hours and not field.has_any("dDE") and field.has_any("Aa"):
            return "d" * length, "the era" if letter == "G" else "no part of a date"
        case "J" | "j":
            return ("y" if length > 2 or field.has_any("Tt") else "d") * length, "no part of a date"
        case "T" | "t" if field.has_any("Jjy") and not has_hours and "d" not in field.letters[: field.at]:
            return "d" * min(length, 2), "no part of a date"
        case "t" if has_hours:
            return "a", "no part of a date"
        case "f":
            return "S" * length, "no part of a date"
        case letter if letter not in PATTERN_CHARS and length == 1:
            return f"'{field.text}'", "no part of a date, and text stands in quotes"
        case _:
            return field.text, ""


def _has_month(letters: str) -> bool:
    """Whether a month is there; one behind the hour is meant to be minutes."""
    return any(letter in _MONTHS and letters[at - 1 : at] not in _HOURS for at, letter in enumerate(letters))
