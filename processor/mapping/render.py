"""From a template's text and an event to what is read: the text of values, escaped for where it stands."""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from typing import Any, Final
from unicodedata import decimal, is_normalized, normalize
from urllib.parse import quote

from processor.domain.placeholders import PlaceholderType
from processor.domain.reasons import TemplateReason
from processor.domain.template import (
    CustomField,
    CustomFieldPlaceholder,
    EscapeContext,
    FieldPath,
    NamedPlaceholder,
    Segment,
    Text,
)
from processor.domain.text import nfc
from processor.mapping.format import day_of, format_value

SUBJECT_LIMIT_CHARACTERS: Final = 255

# Currencies whose ISO 4217 minor unit is not 2: list one of the maintenance agency, SIX, edition of 2024-06-25,
# https://www.six-group.com/en/products-services/financial-information/data-standards.html . Codes without a minor
# unit (metals, XDR, test codes) are left out: 2, as for any code that is not known.
CURRENCY_DIGITS: Final[Mapping[str, int]] = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF"), 0),
    **dict.fromkeys(("UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}


@dataclass(frozen=True, slots=True)
class Scope:
    """What placeholders are looked up in: an event's fields, with the addressee's under `recipient`.

    `time_zone` gives a timestamp its calendar day; timestamps themselves are always written in UTC.
    """

    family: str
    fields: Mapping[str, Any]
    time_zone: tzinfo


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
    """Why a text could not be rendered: the template's fault, or its author's for not expecting such an event."""

    reason: TemplateReason
    detail: str


@dataclass(slots=True)
class _Notes:
    """What is noted while a text is rendered: placeholders without a value, and how many characters were replaced."""

    missing: list[str] = field(default_factory=list)
    replaced: int = 0


class _NoRoomError(Exception):
    """A text is longer than what is left of the limit."""


class _StopRenderingError(Exception):
    def __init__(self, reason: TemplateReason, detail: str) -> None:
        self.unrendered = RenderFailure(reason, detail)


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
            subject = subject_line(_join(text.subject, scope, notes, limit_characters))
        body = _join(text.body, scope, notes, limit_characters)
        url = None if text.url is None else _join(text.url, scope, notes, limit_characters)
    except _StopRenderingError as stop:
        return stop.unrendered
    if strict and notes.missing:
        return RenderFailure(TemplateReason.MISSING_VALUE, "no value: " + ", ".join(dict.fromkeys(notes.missing)))
    return Rendered(subject, body, url, notes.replaced)


def value_of(segment: NamedPlaceholder | CustomFieldPlaceholder, scope: Scope) -> str | None:
    """The text of a placeholder's value as plain text has it; None when it is missing."""
    notes = _Notes()
    text = _written(replace(segment, context=EscapeContext.TEXT), scope, notes, sys.maxsize)
    return None if notes.missing else text


def _join(segments: Iterable[Segment], scope: Scope, notes: _Notes, limit: int) -> str:
    pieces = []
    room = limit
    for segment in segments:
        try:
            piece = segment if isinstance(segment, str) else _written(segment, scope, notes, room)
            room = _room_after(piece, room)
        except _NoRoomError:
            raise _StopRenderingError(
                TemplateReason.MAX_MESSAGE_SIZE_LIMIT_EXCEEDED,
                f"the text grew over {limit} characters at {segment!s:.60}",
            ) from None
        pieces.append(piece)
    return "".join(pieces)


def _room_after(text: str, room: int) -> int:
    """The room that is left behind `text`. _NoRoomError when there is too little for it."""
    if len(text) > room:
        raise _NoRoomError
    return room - len(text)


def _written(segment: NamedPlaceholder | CustomFieldPlaceholder, scope: Scope, notes: _Notes, room: int) -> str:
    """The text of a placeholder; _NoRoomError as soon as it is known to be over `room` characters."""
    if isinstance(segment, CustomFieldPlaceholder):
        value = custom_value(segment.field, scope.fields)
        kind = type_of(value)
        currency = None
    else:
        source = segment.paths[scope.family]
        value = value_at(source.path, scope.fields)
        kind = source.type
        currency = currency_of(source, scope.fields)
    if value is None:
        notes.missing.append(str(segment))
        if segment.context is EscapeContext.URL_PATH:
            return _escaped("", segment, notes, bare=False)
        return "null" if segment.context is EscapeContext.JSON_VALUE else ""
    if isinstance(segment, NamedPlaceholder) and kind is PlaceholderType.TABLE:
        return _table(value, segment, currency, scope, notes, room)
    if isinstance(segment, NamedPlaceholder) and segment.format is not None:
        try:
            text = format_value(value, kind, segment.format, currency=currency, time_zone=scope.time_zone)
        except (ValueError, ArithmeticError) as error:
            shown = text_of(value, kind, currency=None, time_zone=scope.time_zone)
            raise _StopRenderingError(TemplateReason.OTHER, f"{segment} cannot write {shown}: {error!r}") from error
        return _escaped(text, segment, notes, bare=False)
    text = text_of(value, kind, currency=currency, time_zone=scope.time_zone)
    _room_after(text, room)  # escaping never makes it shorter, and may make it twelve times as long
    return _escaped(text, segment, notes, bare=kind in _NUMBERS or isinstance(value, bool))


# ------------------------------------------------------------------------------------------------------------ values


def value_at(path: tuple[str, ...], fields: Mapping[str, Any]) -> Any:
    """The value that `path` leads to; None when it, or a record on the way, is missing."""
    value: Any = fields
    for step in path:
        if value is None:
            return None
        value = value.get(step)
    return value


def custom_value(field: CustomField, fields: Mapping[str, Any]) -> Any:
    """The value of a custom field; None when none of its keys has one.

    Of keys that are the same in NFC the composed one wins, then the first in the event's order that has a value.
    """
    values = fields.get("customFields") or {}
    if field.has_forms:
        values = _composed(values)
    return next((values[key] for key in field.keys if values.get(key) is not None), None)


def _composed(values: Mapping[str, Any]) -> Mapping[str, Any]:
    if all(is_normalized("NFC", key) for key in values):
        return values
    there = {key: value for key, value in values.items() if value is not None}
    firsts = {nfc(key): there[key] for key in reversed(there)}
    return firsts | {key: value for key, value in there.items() if key in firsts}


def custom_text(field: CustomField, fields: Mapping[str, Any], time_zone: tzinfo) -> str | None:
    """The text of a custom field, as a placeholder would show it; None when it has no value."""
    value = custom_value(field, fields)
    return None if value is None else text_of(value, type_of(value), currency=None, time_zone=time_zone)


def text_of(value: Any, kind: PlaceholderType, *, currency: str | None, time_zone: tzinfo) -> str:
    """One value as people and systems read it: exact, without grouping, `.` as point; not yet escaped.

    A date of a timestamp is its day in `time_zone`; a timestamp is UTC to the second, cut. Not for tables.
    """
    match kind:
        case PlaceholderType.MONEY:
            return money_text(value, currency)
        case PlaceholderType.DECIMAL:
            return _decimal_text(value)
        case PlaceholderType.DATE:
            return day_of(value, time_zone).isoformat()
        case PlaceholderType.TIMESTAMP:
            moment: datetime = value.astimezone(UTC).replace(tzinfo=None)
            return moment.isoformat(timespec="seconds") + "Z"
        case _ if isinstance(value, bool):
            return "true" if value else "false"
        case _:
            return str(value)


def money_text(amount: Decimal, currency: str | None) -> str:
    """`amount` with at least its currency's digits after the point (2 if unknown); further ones stay unless zero."""
    digits = CURRENCY_DIGITS.get(currency or "", 2)
    whole, _, fraction = _decimal_text(amount).partition(".")
    fraction = fraction.ljust(digits, "0")
    return f"{whole}.{fraction}" if fraction else whole


def _decimal_text(value: Decimal) -> str:
    # `normalize` and `quantize` round to the context's 28 digits, and ours have 38; formatting does not round.
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def type_of(value: Any) -> PlaceholderType:
    """The type of a custom field's value; booleans are shown as strings. Order matters: a datetime is a date."""
    match value:
        case Decimal():
            return PlaceholderType.DECIMAL
        case datetime():
            return PlaceholderType.TIMESTAMP
        case date():
            return PlaceholderType.DATE
        case _:
            return PlaceholderType.STRING


def currency_of(source: FieldPath, fields: Mapping[str, Any]) -> str | None:
    """The code of an amount's currency, the first of its paths that has one."""
    codes = (value_at(path, fields) for path in source.currencies)
    return next((code for code in codes if code is not None), None)


# ---------------------------------------------------------------------------------------------------------- escaping

_NOT_IN_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production 2
# Readers drop it in text (HTML Standard, section 13.2.6.4.7), and in attributes they read U+FFFD (13.2.5).
_NOT_IN_HTML: Final = "\x00"
_REPLACEMENT: Final = "\ufffd"
_MARKUP: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;", "\r": "&#13;"}
# A parser turns a bare tab or line break within an attribute into a space; as a character reference it stays.
_XML_ESCAPES: Final = str.maketrans(_MARKUP | {"\t": "&#9;", "\n": "&#10;"})
_HTML_ESCAPES: Final = str.maketrans(_MARKUP)
_NUMBERS: Final = frozenset((PlaceholderType.MONEY, PlaceholderType.DECIMAL, PlaceholderType.INTEGER))
_LINE_OR_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LINE_END: Final = re.compile("\r\n?|\n")  # RFC 6068: in a body %0D%0A
# A program that opens a mailto: link decodes it and reads a header of it, where each of these would begin another
# address or end this one, encoded or not; what is left is an address of RFC 5322 without quotes, or a part of one.
_MAIL_ADDRESS_PART: Final = re.compile(r"[^\s\x00-\x20\x7f-\x9f,;:<>()\[\]\\\"@]*")
_MAIL_ADDRESS: Final = re.compile(f"{_MAIL_ADDRESS_PART.pattern}(?:@{_MAIL_ADDRESS_PART.pattern})?")
# What people set between digits of any script (E.123, and as Japan writes): blanks, hyphens, dots, brackets; all can be
# seen.
BETWEEN_DIGITS: Final = " \u00a0\u202f\u3000().\uff08\uff09\uff0e\\-\u2010-\u2015\u2212\u30fc\uff0d"
# What else a dialler reads (`;ext=`, `,` for a pause, `*` and `#`) is no part of a number.
_PHONE: Final = re.compile(rf"[ (\uff08]*+[+\uff0b]?[\d{BETWEEN_DIGITS}/]*+")  # linear: an event holds the text
_PHONE_SIGNS: Final = frozenset("+().-")  # of RFC 3966, beside digits


def _escaped(text: str, segment: NamedPlaceholder | CustomFieldPlaceholder, notes: _Notes, *, bare: bool) -> str:
    match segment.context:
        case EscapeContext.TEXT:
            return text
        case EscapeContext.JSON_STRING:
            return json.dumps(text, ensure_ascii=False)[1:-1]
        case EscapeContext.JSON_VALUE:
            # Outside of quotes a placeholder is a whole JSON value: number or boolean, else text with its own quotes.
            return text if bare else json.dumps(text, ensure_ascii=False)
        case EscapeContext.HTML:
            if _NOT_IN_HTML in text:
                notes.replaced += text.count(_NOT_IN_HTML)
                text = text.replace(_NOT_IN_HTML, _REPLACEMENT)
            return text.translate(_HTML_ESCAPES)
        case EscapeContext.URL:
            return quote(text, safe="")
        case EscapeContext.XML:
            text, replaced = _NOT_IN_XML.subn(_REPLACEMENT, text)
            notes.replaced += replaced
            return text.translate(_XML_ESCAPES)
        case EscapeContext.URL_PATH:
            if not text:
                raise _StopRenderingError(TemplateReason.MISSING_VALUE, f"no value: {segment}")
            return quote(text, safe="")
        case _:
            return _in_link(text, segment)


def _in_link(text: str, segment: NamedPlaceholder | CustomFieldPlaceholder) -> str:
    """`text` within an address in HTML. What is percent-encoded has nothing left that HTML would escape.

    What a reader of the address would take for more than the text, encoded or not, cannot be written; the reason does
    not show it, for it may be secret.
    """
    if segment.context in (EscapeContext.MAIL_ADDRESS, EscapeContext.PHONE):
        text = text.strip(" ")  # as a message's destination is
    match segment.context:
        case EscapeContext.HTML_STEP if text in (".", ".."):
            why = "a step of a link's path is `.` or `..`, which lead to another path"
        case EscapeContext.MAIL_ADDRESS if not _MAIL_ADDRESS.fullmatch(text):
            why = "the address of a mailto: link is not one address"
        case EscapeContext.MAIL_ADDRESS_PART if not _MAIL_ADDRESS_PART.fullmatch(text):
            why = "the address of a mailto: link is no part of one address"
        case EscapeContext.PHONE if not _PHONE.fullmatch(text):
            why = "a tel: or sms: link is no phone number"
        case EscapeContext.MAIL_ADDRESS:
            return quote(text, safe="@")
        case EscapeContext.MAIL_HEADER:
            return quote(_LINE_OR_CONTROL.sub(" ", text), safe="")
        case EscapeContext.MAIL_BODY:
            return quote(_LINE_END.sub("\r\n", text), safe="")
        case EscapeContext.PHONE:
            return _dialled(text)
        case _:
            return quote(text, safe="")
    raise _StopRenderingError(TemplateReason.OTHER, f"{segment} in {why}")


def _dialled(number: str) -> str:
    """`number` as RFC 3966 writes it: ASCII digits, and hyphens for separators that it does not have."""
    plain = normalize("NFKC", number)
    if "+" in plain:
        # A zero in brackets is for callers from within the country: behind its code it makes another number.
        plain = plain.lstrip("( ").replace("(0)", "")
    return "".join(str(decimal(sign)) if sign.isdecimal() else sign if sign in _PHONE_SIGNS else "-" for sign in plain)


def subject_line(text: str) -> str:
    """`text` as one line: control characters and line breaks become spaces, cut at 255 characters."""
    return _LINE_OR_CONTROL.sub(" ", text)[:SUBJECT_LIMIT_CHARACTERS]


def holds_control(text: str) -> bool:
    """Whether `text` has a control character or a line break, which no address has."""
    return _LINE_OR_CONTROL.search(text) is not None


# ------------------------------------------------------------------------------------------------------------ tables


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a table's rows. `path` leads through a row; its last step names the column."""

    path: tuple[str, ...]
    type: PlaceholderType

    @property
    def name(self) -> str:
        """The name of the field."""
        return self.path[-1]


def _columns(**types: PlaceholderType) -> tuple[Column, ...]:
    return tuple(Column((name,), kind) for name, kind in types.items())


TABLES: Final[Mapping[tuple[str, ...], tuple[Column, ...]]] = {  # path -> columns, in order
    ("schedule",): _columns(
        number=PlaceholderType.INTEGER,
        dueDate=PlaceholderType.DATE,
        principalBalance=PlaceholderType.MONEY,
        interestBalance=PlaceholderType.MONEY,
        feeBalance=PlaceholderType.MONEY,
        penaltyBalance=PlaceholderType.MONEY,
        totalBalance=PlaceholderType.MONEY,
    ),
    ("holds",): (
        *_columns(
            externalReferenceId=PlaceholderType.STRING,
            direction=PlaceholderType.ENUM,
            amount=PlaceholderType.MONEY,
            currencyCode=PlaceholderType.STRING,
        ),
        Column(("card", "token"), PlaceholderType.STRING),
    ),
}


def _table(
    rows: Iterable[Mapping[str, Any]],
    segment: NamedPlaceholder,
    currency: str | None,
    scope: Scope,
    notes: _Notes,
    room: int,
) -> str:
    """All rows in the form of the document; money in JSON is a string, as amounts are in the JSON form of events.

    A row with a currency of its own has its money in that one. _NoRoomError at the first row without `room`.
    """
    columns = TABLES[segment.paths[scope.family].path]

    def cells(row: Mapping[str, Any]) -> list[tuple[Column, str | None]]:
        own = row.get("currencyCode") or currency
        return [
            (
                column,
                None if value is None else text_of(value, column.type, currency=own, time_zone=scope.time_zone),
            )
            for column in columns
            for value in (value_at(column.path, row),)
        ]

    def shown(text: str | None) -> str:
        _room_after(text or "", room)
        return "" if text is None else _escaped(text, segment, notes, bare=False)

    def within_room(lines: Iterable[str]) -> list[str]:
        left, kept = room, []
        for line in lines:
            left = _room_after(line, left)
            kept.append(line)
        return kept

    match segment.context:
        case EscapeContext.JSON_VALUE | EscapeContext.JSON_STRING:
            listed = (
                {
                    column.name: int(text) if text is not None and column.type is PlaceholderType.INTEGER else text
                    for column, text in cells(row)
                }
                for row in rows
            )
            document = f"[{', '.join(within_room(json.dumps(row, ensure_ascii=False) for row in listed))}]"
            return (
                document
                if segment.context is EscapeContext.JSON_VALUE
                else json.dumps(document, ensure_ascii=False)[1:-1]
            )
        case EscapeContext.XML:
            lines = (
                "<row>"
                + "".join(f"<{column.name}>{shown(text)}</{column.name}>" for column, text in cells(row))
                + "</row>"
                for row in rows
            )
            return "".join(within_room(lines))
        case EscapeContext.HTML:
            lines = ("<tr>" + "".join(f"<td>{shown(text)}</td>" for _, text in cells(row)) + "</tr>" for row in rows)
            return "<table>" + "".join(within_room(lines)) + "</table>"
        case _:
            # A tab or line break within a cell would make another cell or row of it.
            lines = ("\t".join(_LINE_OR_CONTROL.sub(" ", text or "") for _, text in cells(row)) for row in rows)
            return _escaped("\n".join(within_room(lines)), segment, notes, bare=False)
