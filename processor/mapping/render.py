"""From a template's text and an event to what is read: the values of its placeholders, escaped for where they stand."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from processor.domain.event import value_at
from processor.domain.placeholders import PlaceholderType
from processor.domain.reasons import TemplateReason
from processor.domain.template import (
    CustomFieldPlaceholder,
    EscapeContext,
    NamedPlaceholder,
    Segment,
    Text,
)
from processor.mapping.escape import EscapeError, escape, subject_line
from processor.mapping.format import format_value
from processor.mapping.table_formats import TABLE_COLUMNS, TABLE_FORMATS
from processor.mapping.values import Scope, currency_of, custom_value, text_of, type_of

Placeholder = NamedPlaceholder | CustomFieldPlaceholder

_NUMBERS: Final = frozenset((PlaceholderType.MONEY, PlaceholderType.DECIMAL, PlaceholderType.INTEGER))


@dataclass(frozen=True, slots=True)
class Rendered:
    """A text with its values. `subject` is one line, at most 255 characters; None, as `url`, when the text has none.

    `replaced`: how many characters of values are U+FFFD in the body, as its kind of document cannot carry them.
    """

    subject: str | None
    body: str
    url: str | None = None
    replaced: int = 0


@dataclass(frozen=True, slots=True)
class RenderFailure:
    """Why a text could not be rendered: an error of the template, or an event that its author did not expect."""

    reason: TemplateReason
    detail: str


@dataclass(slots=True)
class _Notes:
    """What is noted while a text is rendered: placeholders without a value, and how many characters were replaced."""

    missing: list[str] = field(default_factory=list)
    replaced: int = 0


class _NoRoomError(Exception):
    """A text is longer than what is left of the limit."""


class _RenderAbortedError(Exception):
    def __init__(self, reason: TemplateReason, detail: str) -> None:
        self.failure = RenderFailure(reason, detail)


def render(text: Text, scope: Scope, *, strict: bool, limit_characters: int) -> Rendered | RenderFailure:
    """Subject, body and address with the event's values. The same arguments give the same text.

    What a value contains is never read as a placeholder: each is written once, escaped for where it stands, and what
    the document cannot carry is U+FFFD, as no redrive would ever find another value in the same event. A missing value
    is empty (null outside the quotes of JSON), or under `strict` MISSING_VALUE with all names. Work and memory
    end at `limit_characters`: a value is escaped, and a table's rows are written, only as far as there is room.
    """
    notes = _Notes()
    try:
        subject = None
        if text.subject is not None:
            subject = subject_line(_concat(text.subject, scope, notes, limit_characters))
        body = _concat(text.body, scope, notes, limit_characters)
        url = None if text.url is None else _concat(text.url, scope, notes, limit_characters)
    except _RenderAbortedError as aborted:
        return aborted.failure
    if strict and notes.missing:
        return RenderFailure(TemplateReason.MISSING_VALUE, "no value: " + ", ".join(dict.fromkeys(notes.missing)))
    return Rendered(subject, body, url, notes.replaced)


def plain_text(placeholder: Placeholder, scope: Scope) -> str | None:
    """The text of a placeholder's value as plain text has it; None when it is missing."""
    notes = _Notes()
    text = _render_placeholder(replace(placeholder, context=EscapeContext.TEXT), scope, notes, sys.maxsize)
    return None if notes.missing else text


def _concat(segments: Iterable[Segment], scope: Scope, notes: _Notes, limit_characters: int) -> str:
    pieces = []
    room = limit_characters
    for segment in segments:
        try:
            piece = segment if isinstance(segment, str) else _render_placeholder(segment, scope, notes, room)
            room = _room_after(piece, room)
        except _NoRoomError:
            raise _RenderAbortedError(
                TemplateReason.MAX_MESSAGE_SIZE_LIMIT_EXCEEDED,
                f"the text grew over {limit_characters} characters at {segment!s:.60}",
            ) from None
        pieces.append(piece)
    return "".join(pieces)


def _room_after(text: str, room: int) -> int:
    """The room that is left behind `text`. _NoRoomError when there is too little for it."""
    if len(text) > room:
        raise _NoRoomError
    return room - len(text)


def _render_placeholder(placeholder: Placeholder, scope: Scope, notes: _Notes, room: int) -> str:
    """The text of a placeholder; _NoRoomError as soon as it is known to be over `room` characters."""
    currency = None
    if isinstance(placeholder, CustomFieldPlaceholder):
        value = custom_value(placeholder.field, scope.fields)
        value_type, value_format = type_of(value), None
    else:
        source = placeholder.paths[scope.family]
        value = value_at(source.path, scope.fields)
        value_type, value_format = source.type, placeholder.format
        currency = currency_of(source, scope.fields)
    if value is None:
        return _render_missing(placeholder, notes)
    if isinstance(placeholder, NamedPlaceholder) and value_type is PlaceholderType.TABLE:
        return _render_table(value, placeholder, currency, scope, notes, room)
    if value_format is not None:
        try:
            text = format_value(value, value_type, value_format, currency=currency, time_zone=scope.time_zone)
        except (ValueError, ArithmeticError) as error:
            shown = text_of(value, value_type, currency=None, time_zone=scope.time_zone)
            detail = f"{placeholder} cannot write {shown}: {error!r}"
            raise _RenderAbortedError(TemplateReason.OTHER, detail) from error
        return _escape(text, placeholder, notes)
    text = text_of(value, value_type, currency=currency, time_zone=scope.time_zone)
    _room_after(text, room)  # escaping never makes it shorter, and may make it twelve times as long
    if placeholder.context is EscapeContext.JSON_VALUE and (value_type in _NUMBERS or isinstance(value, bool)):
        return text
    return _escape(text, placeholder, notes)


def _render_missing(placeholder: Placeholder, notes: _Notes) -> str:
    notes.missing.append(str(placeholder))
    if placeholder.context is EscapeContext.JSON_VALUE:
        return "null"
    return _escape("", placeholder, notes) if placeholder.context is EscapeContext.URL_PATH else ""


def _escape(text: str, placeholder: Placeholder, notes: _Notes) -> str:
    if not text and placeholder.context is EscapeContext.URL_PATH:
        raise _RenderAbortedError(TemplateReason.MISSING_VALUE, f"no value: {placeholder}")
    try:
        escaped, replaced = escape(text, placeholder.context)
    except EscapeError as error:
        raise _RenderAbortedError(TemplateReason.OTHER, f"{placeholder} in {error}") from None
    notes.replaced += replaced
    return escaped


def _render_table(
    rows: Iterable[Mapping[str, Any]],
    placeholder: NamedPlaceholder,
    currency: str | None,
    scope: Scope,
    notes: _Notes,
    room: int,
) -> str:
    """All rows, as the document has tables. _NoRoomError at the first row without `room`."""
    columns = TABLE_COLUMNS[placeholder.paths[scope.family].path]
    table_format = TABLE_FORMATS[placeholder.context]

    def escape_cell(text: str) -> str:
        _room_after(text, room)
        return _escape(text, placeholder, notes)

    lines, left = [], room
    for line in table_format.lines(rows, columns, escape_cell, currency=currency, time_zone=scope.time_zone):
        left = _room_after(line, left)
        lines.append(line)
    table = table_format.join(lines)
    return _escape(table, placeholder, notes) if table_format.escape_whole else table
