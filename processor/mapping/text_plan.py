"""A template's text as a program: what is fixed of it, and one operation for each placeholder. Data, pure.

An executor runs it: `plain_text.py` as closures. To add a type of placeholder or an escape context: a row of ALPHABETS
or CONTEXTS here, and of the table of escapes in each executor; tests fail for each that is missing.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from processor.domain.placeholders import PlaceholderType
from processor.domain.template import (
    CustomField,
    CustomFieldPlaceholder,
    EscapeContext,
    NamedPlaceholder,
    Segment,
)
from processor.domain.value_format import ValueFormat
from processor.mapping.plan_values import Path


class Alphabet(StrEnum):
    """The characters that the texts of a type are made of; all but ANY are ASCII, and at most 50 of them."""

    NUMBER = "number"  #: Digits, and a minus and a point at most.
    DAY = "day"  #: Digits and `-`.
    MOMENT = "moment"  #: Digits, `-`, `:`, `T` and `Z`.
    ANY = "any"


ALPHABETS: Final[Mapping[PlaceholderType, Alphabet]] = {  # type -> what its texts are made of, if without a format
    PlaceholderType.STRING: Alphabet.ANY,
    PlaceholderType.ENUM: Alphabet.ANY,
    PlaceholderType.MONEY: Alphabet.NUMBER,
    PlaceholderType.DECIMAL: Alphabet.NUMBER,
    PlaceholderType.INTEGER: Alphabet.NUMBER,
    PlaceholderType.DATE: Alphabet.DAY,
    PlaceholderType.TIMESTAMP: Alphabet.MOMENT,
    PlaceholderType.TABLE: Alphabet.ANY,
}

_NUMBERS: Final = frozenset((Alphabet.NUMBER,))
_DAYS: Final = frozenset((Alphabet.NUMBER, Alphabet.DAY))
_TIMES: Final = frozenset((Alphabet.NUMBER, Alphabet.DAY, Alphabet.MOMENT))


@dataclass(frozen=True, slots=True)
class ContextOperation:
    """How values stand in a context.

    Texts of the alphabets in `keeps`, and any others that match `unchanged` as a whole, stand there as they are; None:
    of the others none is known to. `missing` stands for a missing value; None: the event is refused. `may_shorten`: a
    text may be shorter when it is escaped.
    """

    keeps: frozenset[Alphabet]
    unchanged: re.Pattern[str] | None = None
    missing: str | None = ""
    may_shorten: bool = False


_UNRESERVED: Final = "[0-9A-Za-z_.~-]"  # RFC 3986 section 2.3
_UNRESERVED_TEXT: Final = re.compile(f"{_UNRESERVED}*+")

CONTEXTS: Final[Mapping[EscapeContext, ContextOperation]] = {
    EscapeContext.TEXT: ContextOperation(_TIMES, re.compile("(?s:.*+)")),
    EscapeContext.JSON_STRING: ContextOperation(_TIMES),
    EscapeContext.JSON_VALUE: ContextOperation(_NUMBERS, missing="null"),
    EscapeContext.XML: ContextOperation(_TIMES, re.compile("[ !#-%(-;=?-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*+")),
    EscapeContext.HTML: ContextOperation(_TIMES, re.compile("[^&<>\"'\r\x00]*+")),
    EscapeContext.URL: ContextOperation(_DAYS, _UNRESERVED_TEXT),
    EscapeContext.URL_PATH: ContextOperation(_DAYS, re.compile(f"{_UNRESERVED}++"), missing=None),
    EscapeContext.HTML_URL: ContextOperation(_DAYS, _UNRESERVED_TEXT),
    EscapeContext.HTML_STEP: ContextOperation(_DAYS, re.compile("[0-9A-Za-z_~-]*+")),  # `.` is no step
    EscapeContext.MAIL_ADDRESS: ContextOperation(
        _DAYS, re.compile(f"{_UNRESERVED}*+(?:@{_UNRESERVED}*+)?+"), may_shorten=True
    ),
    EscapeContext.MAIL_ADDRESS_PART: ContextOperation(_DAYS, _UNRESERVED_TEXT),
    EscapeContext.MAIL_HEADER: ContextOperation(_DAYS, _UNRESERVED_TEXT),
    EscapeContext.MAIL_BODY: ContextOperation(_DAYS, _UNRESERVED_TEXT),
    EscapeContext.PHONE: ContextOperation(_DAYS, re.compile(r"\+?+[0-9.-]*+"), may_shorten=True),
}


@dataclass(frozen=True, slots=True)
class FieldOperation:
    """The value of a field: its text, or what `format` writes of it, escaped for `context`."""

    path: Path
    type: PlaceholderType
    currencies: tuple[Path, ...]
    context: EscapeContext
    format: ValueFormat | None = None


@dataclass(frozen=True, slots=True)
class CustomFieldOperation:
    """The value of a custom field, whose type only the event knows, escaped for `context`."""

    field: CustomField
    context: EscapeContext


Operation = FieldOperation | CustomFieldOperation


@dataclass(frozen=True, slots=True)
class TextProgram:
    """A text: the first of `constants`, then for each operation what it writes and the next constant.

    So there is one constant more than there are operations; each may be empty.
    """

    constants: tuple[str, ...]
    operations: tuple[Operation, ...]


def text_program(segments: Iterable[Segment], family: str) -> TextProgram:
    """The program that writes a text with the values of an event of `family`."""
    constants, operations = [""], list[Operation]()
    for segment in segments:
        match segment:
            case str():
                constants[-1] += segment
            case NamedPlaceholder(context=context, format=value_format):
                source = segment.paths[family]
                operations.append(FieldOperation(source.path, source.type, source.currencies, context, value_format))
                constants.append("")
            case CustomFieldPlaceholder(field=custom_field, context=context):
                operations.append(CustomFieldOperation(custom_field, context))
                constants.append("")
    return TextProgram(tuple(constants), tuple(operations))
