"""Diagnostics of a template file: errors and warnings of its fields, limited to what people read. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, Literal

from processor.domain.diagnostic import Diagnostic, Location, Severity
from processor.domain.text import truncate
from processor.templates.rules import RuleCode

MAX_DIAGNOSTICS_PER_TEXT: Final = 50  # a file of another kind could have as many as it has braces
MESSAGE_LIMIT_CHARACTERS: Final = 800
VALUE_LIMIT_CHARACTERS: Final = 80

Diagnostics = tuple[Diagnostic, ...]
Code = RuleCode | Literal[""]  #: Empty for what no numbered rule says.

CONTROL: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")  # what a terminal would obey


def error(message: str, *, code: Code = "", field: str = "", excerpt: str = "", hint: str = "") -> Diagnostic:
    """What keeps a template from being used."""
    return Diagnostic(message=message, code=code, hint=hint, location=Location(field=field, excerpt=excerpt))


def warning(message: str, *, code: Code = "", field: str = "", excerpt: str = "", hint: str = "") -> Diagnostic:
    """What its author should look at and may mean."""
    location = Location(field=field, excerpt=excerpt)
    return Diagnostic(message=message, code=code, severity=Severity.WARNING, hint=hint, location=location)


def of_text(diagnostics: Iterable[Diagnostic], field: str) -> Iterator[Diagnostic]:
    """Those of one text as those of the field that has it: at most MAX_DIAGNOSTICS_PER_TEXT, each with its excerpt and
    how often it occurs."""
    counts = Counter(diagnostics)
    # Errors first: what is left out must not hide one.
    ordered = sorted(counts, key=lambda diagnostic: diagnostic.is_warning)
    if rest := ordered[MAX_DIAGNOSTICS_PER_TEXT:]:
        message = f"{len(rest)} more like the first {MAX_DIAGNOSTICS_PER_TEXT} of this text"
        yield Diagnostic(message=message, code=rest[0].code, severity=rest[0].severity, location=Location(field=field))
    for diagnostic in ordered[:MAX_DIAGNOSTICS_PER_TEXT]:
        excerpt, message = diagnostic.location.excerpt, diagnostic.message
        if excerpt and excerpt not in message:
            message = f"{one_line(excerpt)}: {message}"
        if excerpt and counts[diagnostic] > 1:  # the line is that of the first
            message += f" ({counts[diagnostic]} times)"
        yield Diagnostic(
            message=message,
            code=diagnostic.code,
            severity=diagnostic.severity,
            hint=diagnostic.hint,
            location=Location(field=field, excerpt=excerpt),
        )


def short(text: str) -> str:
    """A value from a file, cut."""
    return truncate(text, VALUE_LIMIT_CHARACTERS)


def one_line(excerpt: str) -> str:
    """A piece of a text in one line, cut."""
    return short(excerpt.replace("\n", "<U+000A>"))


def whole_number(value: int) -> str:
    """A whole number as text, cut; Python refuses to write one of thousands of digits."""
    return short(str(value)) if value.bit_length() <= 1000 else f"of {value.bit_length()} bits"
