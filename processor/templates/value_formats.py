"""FORMAT and FORMAT_DATE for their authors: what cannot be written, what is nearly always a mistake (T22), and what was
probably meant. Pure."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from html import unescape
from typing import Any, Final

from processor.domain.language import parse_tag
from processor.domain.placeholders import PlaceholderType
from processor.domain.text import did_you_mean
from processor.domain.value_format import (
    ARGUMENTS,
    FORMATTED_TYPES,
    PATTERN_ARGUMENT,
    PATTERN_LIMIT_CHARACTERS,
    FormatFunction,
    ValueFormat,
    notation_for,
    parse_format,
)
from processor.mapping.format import format_value
from processor.templates.patterns import suggest_date_pattern, suggest_number_pattern

_SAMPLES: Final[Mapping[PlaceholderType, Any]] = {  # a mistake shows: an afternoon at the end of a year, and thousands
    PlaceholderType.MONEY: Decimal("1234.5"),
    PlaceholderType.DECIMAL: Decimal("4.5"),
    PlaceholderType.INTEGER: 1234,
    PlaceholderType.DATE: date(2025, 12, 29),
    PlaceholderType.TIMESTAMP: datetime(2025, 12, 29, 15, 44, 6, tzinfo=UTC),
}


def format_error(value_format: ValueFormat, kinds: Iterable[PlaceholderType]) -> str:
    """Why values of one of `kinds` cannot have this format; empty when all can."""
    for kind in sorted(set(kinds)):
        if kind not in FORMATTED_TYPES[value_format.function]:
            words = ", ".join(sorted(FORMATTED_TYPES[value_format.function]))
            return f"{value_format.function} is for {words}, and this is {kind}"
        try:
            text = _write_sample(value_format, kind, currency="EUR")
        # What Babel raises for a field that there is not; one that it lists and does not write is None.
        except (ValueError, KeyError, AttributeError, TypeError, ArithmeticError):
            text = str(None)
        if str(None) in text and str(None) not in value_format.pattern:
            return f"{value_format.pattern!r} cannot be written of a {kind}"
    return ""


def format_doubt(value_format: ValueFormat, kind: PlaceholderType, *, locale: str) -> tuple[str, str]:
    """What a pattern writes that its author hardly meant, and a hint with what was meant; empty for none (T22).

    `value_format` fits `kind` (see `format_error`); `locale` is the tag that it was made for.
    """
    pattern, reasons = _suggest_pattern(value_format.function, value_format.pattern, kind, locale)
    if not reasons:
        return "", ""
    sample = _SAMPLES[kind]
    sample_text = sample.isoformat().replace("+00:00", "Z") if isinstance(sample, date) else str(sample)
    currency = "EUR" if kind is PlaceholderType.MONEY else None
    text = _write_sample(value_format, kind, currency=currency)
    hint = ""
    if meant := _parse_fitting(value_format.function, pattern, kind, locale):
        hint = f"did you mean {pattern}, which writes {_write_sample(meant, kind, currency=currency)!r}?"
    return f"writes {text!r} of {sample_text}: {'; '.join(reasons)}", hint


def digits_doubt(value_format: ValueFormat, kind: PlaceholderType, *, locale: str) -> tuple[str, str]:
    """The same of a body that systems read: digits that hardly any of them takes, unless the tag names them."""
    language = parse_tag(locale)
    text = _write_sample(value_format, kind, currency="EUR")
    notation = value_format.notation
    if language is None or language.keywords or not set(notation.digits.values()) & set(text):
        return "", ""
    what = f"writes {text!r} in {locale}, and systems read the digits 0 to 9"
    return what, f"{locale}-u-nu-latn writes those; {locale}-u-nu-{notation.system} says that people read this"


def suggest_format(function: FormatFunction, arguments: str, kind: PlaceholderType, *, locale: str) -> str:
    """A hint for arguments that are no format, or none of `kind`: the pattern probably meant; empty for none."""
    found = ARGUMENTS.fullmatch(arguments)
    other = FormatFunction.DATE if function is FormatFunction.NUMBER else FormatFunction.NUMBER
    if found and found["key"] == PATTERN_ARGUMENT[other] and kind in FORMATTED_TYPES[other]:
        return f"write {other}{{{arguments}}}"
    if found is None or kind not in FORMATTED_TYPES[function] or len(found["pattern"]) > PATTERN_LIMIT_CHARACTERS:
        return ""
    pattern, reasons = _suggest_pattern(function, found["pattern"], kind, locale)
    return did_you_mean(pattern) if reasons and _parse_fitting(function, pattern, kind, locale) else ""


def _suggest_pattern(
    function: FormatFunction, pattern: str, kind: PlaceholderType, locale: str
) -> tuple[str, tuple[str, ...]]:
    """The pattern that was probably meant, and why, in pieces of a sentence; none when it is as it should be."""
    decoded = unescape(pattern)
    entities = ("a character reference is text",) if decoded != pattern else ()
    if function is FormatFunction.DATE:
        meant, reasons = suggest_date_pattern(decoded)
        return meant, entities + reasons
    try:
        meant, reasons = suggest_number_pattern(decoded, kind, notation_for(locale).locale)
    except ValueError:
        return pattern, ()
    return meant, entities + reasons


def _parse_fitting(function: FormatFunction, pattern: str, kind: PlaceholderType, locale: str) -> ValueFormat | None:
    """The format of `pattern`, None when it is none of `kind`."""
    try:
        _, value_format = parse_format(function, f"A,{PATTERN_ARGUMENT[function]}={pattern}", locale=locale)
    except ValueError:
        return None
    return None if format_error(value_format, [kind]) else value_format


def _write_sample(value_format: ValueFormat, kind: PlaceholderType, *, currency: str | None) -> str:
    return format_value(_SAMPLES[kind], kind, value_format, currency=currency, time_zone=UTC)
