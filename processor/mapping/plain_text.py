"""Runs the programs of `text_plan.py` as closures. Pure.

A closure gives None, refused, for whatever the reference (`render.py`) fails or counts: a missing value under `strict`
or in a path, a text over the limit, one that cannot stand where it should, a character that becomes U+FFFD. It refuses
too a text that is long for its number of placeholders, so that no event makes it write more than the reference would.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any, Final

from processor.domain.placeholders import PlaceholderType
from processor.domain.template import EscapeContext, Text
from processor.mapping.escape import SUBJECT_LIMIT_CHARACTERS, EscapeError, escape, subject_line
from processor.mapping.format import format_value
from processor.mapping.native_text import TextLimits, native_text
from processor.mapping.plan_values import PlanValues, ReadText, ReadValue, Slots, first_of, read_custom_field
from processor.mapping.table_formats import TABLE_COLUMNS, TABLE_FORMATS
from processor.mapping.text_plan import (
    ALPHABETS,
    CONTEXTS,
    CustomFieldOperation,
    FieldOperation,
    Operation,
    TextProgram,
    text_program,
)
from processor.mapping.values import custom_value_text
from processor.native import NativePart, NativeParts, NativeText

Parts = tuple[str | None, str, str | None]
"""Subject, body and address of a message, as `Rendered` has them."""

# Of a value, before it is escaped: its share of the limit, and what an ordinary text has where the limit is low.
_SHORT_TEXT_CHARACTERS: Final = 256

_Write = Callable[[Slots], str]
_WriteValue = Callable[[Any, Slots], str]
_EscapeText = Callable[[str], str]


class _RefusedError(Exception):
    """The reference has to write this text, or to say what is wrong with it."""


# ------------------------------------------------------------------------------------------------------------- escapes


def _as_is(text: str) -> str:
    return text


def _json_string(text: str) -> str:
    return encode_basestring(text)[1:-1]


def _unless_unchanged(context: EscapeContext) -> _EscapeText:
    """The reference's escape, for texts that do not stand in `context` as they are."""
    unchanged = CONTEXTS[context].unchanged
    if unchanged is None:
        raise AssertionError(f"nothing says which texts are the same in {context}")
    matches = unchanged.fullmatch

    def escape_text(text: str) -> str:
        return text if matches(text) is not None else _escape(text, context)

    return escape_text


def _escape(text: str, context: EscapeContext) -> str:
    if not text and context is EscapeContext.URL_PATH:
        raise _RefusedError
    try:
        escaped, replaced = escape(text, context)
    except EscapeError:
        raise _RefusedError from None
    if replaced:
        raise _RefusedError
    return escaped


PLAIN_ESCAPES: Final[Mapping[EscapeContext, _EscapeText]] = {
    EscapeContext.TEXT: _as_is,
    EscapeContext.JSON_STRING: _json_string,
    EscapeContext.JSON_VALUE: encode_basestring,
    EscapeContext.XML: _unless_unchanged(EscapeContext.XML),
    EscapeContext.HTML: _unless_unchanged(EscapeContext.HTML),
    EscapeContext.URL: _unless_unchanged(EscapeContext.URL),
    EscapeContext.URL_PATH: _unless_unchanged(EscapeContext.URL_PATH),
    EscapeContext.HTML_URL: _unless_unchanged(EscapeContext.HTML_URL),
    EscapeContext.HTML_STEP: _unless_unchanged(EscapeContext.HTML_STEP),
    EscapeContext.MAIL_ADDRESS: _unless_unchanged(EscapeContext.MAIL_ADDRESS),
    EscapeContext.MAIL_ADDRESS_PART: _unless_unchanged(EscapeContext.MAIL_ADDRESS_PART),
    EscapeContext.MAIL_HEADER: _unless_unchanged(EscapeContext.MAIL_HEADER),
    EscapeContext.MAIL_BODY: _unless_unchanged(EscapeContext.MAIL_BODY),
    EscapeContext.PHONE: _unless_unchanged(EscapeContext.PHONE),
}


# ---------------------------------------------------------------------------------------------------------------- texts


def subject_text(subject: str) -> str:
    """A subject as it was written, as it is sent."""
    if subject.isprintable() and len(subject) <= SUBJECT_LIMIT_CHARACTERS:
        return subject
    return subject_line(subject)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPlanner:
    """Makes closures of the texts of one template, for the events of one family.

    `limit_characters` is the reference's, of each text: of subject and address too.
    """

    family: str
    values: PlanValues
    time_zone: tzinfo
    strict: bool
    limit_characters: int

    def parts(self, text: Text) -> Callable[[Slots], Parts | None]:
        """Subject, body and address. None: refused."""
        write_body = self.text(text_program(text.body, self.family))
        write_subject = None if text.subject is None else self.text(text_program(text.subject, self.family))
        write_url = None if text.url is None else self.text(text_program(text.url, self.family))

        def write(slots: Slots) -> Parts | None:
            body = write_body(slots)
            if body is None:
                return None
            subject = url = None
            if write_subject is not None:
                subject = write_subject(slots)
                if subject is None:
                    return None
                subject = subject_text(subject)
            if write_url is not None:
                url = write_url(slots)
                if url is None:
                    return None
            return subject, body, url

        return write

    def text(self, program: TextProgram) -> ReadText:
        """The text that a program writes. None: refused."""
        if not program.operations:
            (constant,) = program.constants
            text = constant if len(constant) <= self.limit_characters else None
            return lambda _slots: text
        native = self.values.native
        if native is not None:
            return self._native_text(program, native)
        layout = "%s".join(constant.replace("%", "%%") for constant in program.constants)
        writers, limits = self._writers(program), self._limits(program)

        def write(slots: Slots) -> str | None:
            try:
                text = layout % tuple([writer(slots) for writer in writers])
            except _RefusedError:
                return None
            return text if len(text) <= limits.text else None

        return write

    def native_parts(self, text: Text, native: NativePart) -> NativeParts:
        """What C writes body, subject and address with."""
        body, subject, url = [
            None if segments is None else self._native_text(text_program(segments, self.family), native)
            for segments in (text.body, text.subject, text.url)
        ]
        assert body is not None
        return body, subject, url

    def _native_text(self, program: TextProgram, native: NativePart) -> NativeText:
        writers, limits = self._writers(program), self._limits(program)
        return native_text(program, writers, self.values, native, limits, refused=_RefusedError)

    def _limits(self, program: TextProgram) -> TextLimits:
        count = len(program.operations)
        share = max(self.limit_characters // max(count, 1), _SHORT_TEXT_CHARACTERS)
        # What becomes shorter when it is escaped needs room before, too.
        shortened_count = sum(CONTEXTS[operation.context].may_shorten for operation in program.operations)
        limit = self.limit_characters - shortened_count * _SHORT_TEXT_CHARACTERS
        return TextLimits(share, limit, strict=self.strict)

    def _writers(self, program: TextProgram) -> tuple[_Write, ...]:
        share = self._limits(program).value
        return tuple([self._writer(operation, share) for operation in program.operations])

    def _writer(self, operation: Operation, share: int) -> _Write:
        """What stands for a placeholder; raises _RefusedError. `share`: so long may its value be."""
        context = CONTEXTS[operation.context]
        missing = None if self.strict else context.missing
        limit = _SHORT_TEXT_CHARACTERS if context.may_shorten else share
        escape_text = PLAIN_ESCAPES[operation.context]
        match operation:
            case CustomFieldOperation():
                read = read_custom_field(operation.field, self.values)
                return _written(read, self._write_custom(operation, _within(limit, escape_text)), missing)
            case FieldOperation(type=PlaceholderType.TABLE):
                read = self.values.value(operation.path)
                return _written(read, self._write_table(operation, _within(limit, escape_text)), missing)
            case FieldOperation(format=None):
                text = self.values.text(operation.path, operation.type, operation.currencies)
                is_kept = ALPHABETS[operation.type] in context.keeps
                return _kept(text, missing) if is_kept else _escaped(text, escape_text, limit, missing)
            case FieldOperation():
                read = self.values.value(operation.path)
                return _written(read, self._write_formatted(operation, _within(limit, escape_text)), missing)

    def _write_custom(self, operation: CustomFieldOperation, escape_text: _EscapeText) -> _WriteValue:
        time_zone, is_json_value = self.time_zone, operation.context is EscapeContext.JSON_VALUE

        def write(value: Any, _slots: Slots) -> str:
            if type(value) is str:
                return escape_text(value)
            text = custom_value_text(value, time_zone)
            return text if is_json_value and isinstance(value, bool | Decimal) else escape_text(text)

        return write

    def _write_formatted(self, operation: FieldOperation, escape_text: _EscapeText) -> _WriteValue:
        kind, value_format, time_zone = operation.type, operation.format, self.time_zone
        read_currency = first_of([self.values.value(path) for path in operation.currencies])
        if value_format is None:
            raise AssertionError(f"{operation.path} has no format")

        def write(value: Any, slots: Slots) -> str:
            try:
                text = format_value(value, kind, value_format, currency=read_currency(slots), time_zone=time_zone)
            except (ValueError, ArithmeticError):
                raise _RefusedError from None
            return escape_text(text)

        return write

    def _write_table(self, operation: FieldOperation, escape_text: _EscapeText) -> _WriteValue:
        columns, table_format = TABLE_COLUMNS[operation.path], TABLE_FORMATS[operation.context]
        read_currency = first_of([self.values.value(path) for path in operation.currencies])
        time_zone, limit = self.time_zone, self.limit_characters

        def write(rows: Any, slots: Slots) -> str:
            lines, room = [], limit
            for line in table_format.lines(
                rows, columns, escape_text, currency=read_currency(slots), time_zone=time_zone
            ):
                room -= len(line)
                if room < 0:
                    raise _RefusedError
                lines.append(line)
            table = table_format.join(lines)
            return escape_text(table) if table_format.escape_whole else table

        return write


def _kept(read: ReadText, missing: str | None) -> _Write:
    """A short text that stands as it is. It is never empty."""
    if missing is not None:
        return lambda slots: read(slots) or missing

    def write(slots: Slots) -> str:
        text = read(slots)
        if text is None:
            raise _RefusedError
        return text

    return write


def _escaped(read: ReadText, escape_text: _EscapeText, limit: int, missing: str | None) -> _Write:
    """A text of at most `limit` characters, escaped."""

    def write(slots: Slots) -> str:
        text = read(slots)
        if text is None:
            if missing is None:
                raise _RefusedError
            return missing
        if len(text) > limit:
            raise _RefusedError
        return escape_text(text)

    return write


def _written(read: ReadValue, write_value: _WriteValue, missing: str | None) -> _Write:
    """A value that takes more than its text to be written."""

    def write(slots: Slots) -> str:
        value = read(slots)
        if value is not None:
            return write_value(value, slots)
        if missing is None:
            raise _RefusedError
        return missing

    return write


def _within(limit: int, escape_text: _EscapeText) -> _EscapeText:
    """`escape_text` for texts of at most `limit` characters."""

    def escape_short(text: str) -> str:
        if len(text) > limit:
            raise _RefusedError
        return escape_text(text)

    return escape_short
