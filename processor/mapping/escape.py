"""How a text is escaped for where it stands in its document, and in links; and texts in one line."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Final
from unicodedata import decimal, normalize
from urllib.parse import quote

from processor.domain.template import EscapeContext

SUBJECT_LIMIT_CHARACTERS: Final = 255

_NOT_IN_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production 2
# Readers drop it in text (HTML Standard, section 13.2.6.4.7), and in attributes they read U+FFFD (13.2.5).
_NOT_IN_HTML: Final = re.compile("\x00")
_REPLACEMENT: Final = "\ufffd"
_MARKUP: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;", "\r": "&#13;"}
# A parser turns a bare tab or line break within an attribute into a space; as a character reference it stays.
_XML_ESCAPES: Final = str.maketrans(_MARKUP | {"\t": "&#9;", "\n": "&#10;"})
_HTML_ESCAPES: Final = str.maketrans(_MARKUP)
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


class EscapeError(Exception):
    """A text that cannot stand in a link; `str(error)` says in what it would be something else.

    It does not show the text, which may be secret.
    """


def escape(text: str, context: EscapeContext) -> tuple[str, int]:
    """`text` as it stands in `context`, and how many of its characters are U+FFFD, as the document cannot carry them.

    Raises EscapeError for a text that a reader of the link would take for more than it is, encoded or not.
    """
    replaced = 0
    unwritable = _UNWRITABLE.get(context)
    if unwritable is not None:
        text, replaced = unwritable.subn(_REPLACEMENT, text)
    return ESCAPES[context](text), replaced


def one_line(text: str) -> str:
    """`text` with control characters and line breaks as spaces."""
    return _LINE_OR_CONTROL.sub(" ", text)


def subject_line(text: str) -> str:
    """`text` as one line: control characters and line breaks become spaces, cut at 255 characters."""
    return one_line(text)[:SUBJECT_LIMIT_CHARACTERS]


def holds_control(text: str) -> bool:
    """Whether `text` has a control character or a line break, which no address has."""
    return _LINE_OR_CONTROL.search(text) is not None


def _as_is(text: str) -> str:
    return text


def _json_string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _json_value(text: str) -> str:
    """Outside of quotes a placeholder is a whole JSON value: text has its own quotes."""
    return json.dumps(text, ensure_ascii=False)


def _html(text: str) -> str:
    return text.translate(_HTML_ESCAPES)


def _xml(text: str) -> str:
    return text.translate(_XML_ESCAPES)


def _percent_encoded(text: str) -> str:
    """For a part of an address; nothing is left of it that HTML would escape."""
    return quote(text, safe="")


def _path_step(text: str) -> str:
    if text in (".", ".."):
        raise EscapeError("a step of a link's path is `.` or `..`, which lead to another path")
    return quote(text, safe="")


def _mail_address(text: str) -> str:
    text = text.strip(" ")  # as a message's destination is
    if not _MAIL_ADDRESS.fullmatch(text):
        raise EscapeError("the address of a mailto: link is not one address")
    return quote(text, safe="@")


def _mail_address_part(text: str) -> str:
    if not _MAIL_ADDRESS_PART.fullmatch(text):
        raise EscapeError("the address of a mailto: link is no part of one address")
    return quote(text, safe="")


def _mail_header(text: str) -> str:
    return quote(one_line(text), safe="")


def _mail_body(text: str) -> str:
    return quote(_LINE_END.sub("\r\n", text), safe="")


def _phone(text: str) -> str:
    """A number as RFC 3966 writes it: ASCII digits, and hyphens for separators that it does not have."""
    text = text.strip(" ")  # as a message's destination is
    if not _PHONE.fullmatch(text):
        raise EscapeError("a tel: or sms: link is no phone number")
    plain = normalize("NFKC", text)
    if "+" in plain:
        # A zero in brackets is for callers from within the country: behind its code it makes another number.
        plain = plain.lstrip("( ").replace("(0)", "")
    return "".join(str(decimal(sign)) if sign.isdecimal() else sign if sign in _PHONE_SIGNS else "-" for sign in plain)


_UNWRITABLE: Final[Mapping[EscapeContext, re.Pattern[str]]] = {  # context -> what its kind of document cannot carry
    EscapeContext.HTML: _NOT_IN_HTML,
    EscapeContext.XML: _NOT_IN_XML,
}

ESCAPES: Final[Mapping[EscapeContext, Callable[[str], str]]] = {
    EscapeContext.TEXT: _as_is,
    EscapeContext.JSON_STRING: _json_string,
    EscapeContext.JSON_VALUE: _json_value,
    EscapeContext.HTML: _html,
    EscapeContext.XML: _xml,
    EscapeContext.URL: _percent_encoded,
    EscapeContext.URL_PATH: _percent_encoded,
    EscapeContext.HTML_URL: _percent_encoded,
    EscapeContext.HTML_STEP: _path_step,
    EscapeContext.MAIL_ADDRESS: _mail_address,
    EscapeContext.MAIL_ADDRESS_PART: _mail_address_part,
    EscapeContext.MAIL_HEADER: _mail_header,
    EscapeContext.MAIL_BODY: _mail_body,
    EscapeContext.PHONE: _phone,
}
