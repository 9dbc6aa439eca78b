"""Where in an HTML body each placeholder stands: how its value is escaped there, or why no escape would do."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from html import unescape
from html.entities import html5
from typing import Final
from urllib.parse import unquote

from processor.domain.template import CustomFieldPlaceholder, EscapeContext, NamedPlaceholder, Segment


class Misplacement(StrEnum):
    """Why a value cannot stand where it stands, for people; `{}` is the placeholder."""

    UNESCAPABLE = (  # alone of these it is for text only: a number does no harm there
        "{} stands where its value cannot be escaped: "
        "a comment, a script, a style, an attribute without quotes, or one that holds a script, a style or a document"
    )
    NAME = "{} stands where it would be part of the name of a tag or an attribute"
    UNQUOTED = "{} stands where an address has no quotes around it"
    BARE = (
        "{} is all that an attribute without quotes has, which takes the next attribute for its value when this one is "
        "missing: write quotes around it"
    )
    CHOOSES = (
        "{} stands where it would choose what a link leads to: before it must stand scheme, host and a slash, "
        "as in https://pay.example.com/, or the beginning of a path, as in /pay"
    )
    SCHEME = (
        "{} stands where an address has another scheme than http, https, mailto, tel, sms and cid: "
        "those alone take values"
    )
    BASE = "{} stands in <base>, where it would choose what other links lead to"
    CUT = "{} stands within a character reference or a percent-encoded character: write those whole, as &amp; and %20"
    DOTS = "{} stands beside dots in a step of a link's path, where `.` and `..` lead to another path"
    HEADER = "{} stands where it would choose a header of a link: mailto: has values in addresses, subject and body"


# The attributes that lead or load somewhere: those with a URL in the HTML Standard's index of attributes and in its
# section "Non-conforming features" (what HTML 4 and mail clients know), `href` of SVG 2 and MathML; with any prefix, as
# `xlink:href` of SVG 1.1 and `o:href` of Outlook's VML; on whatever element, as clients take more than the standards;
# and what stands in no standard: `althref` of VML, `action-xhr` and `verify-xhr` of AMP for Email, `pluginspage`.
# Left out are `itemid` and `itemtype`, by which nothing is loaded, and `usemap`, which names a part of the document.
_ADDRESS_ATTRIBUTES: Final = frozenset(
    ("action", "action-xhr", "althref", "background", "cite", "classid", "codebase", "data", "dynsrc", "formaction")
) | frozenset(("href", "icon", "longdesc", "lowsrc", "manifest", "pluginspage", "poster", "src", "urn", "verify-xhr"))
_ADDRESSES_OF_ELEMENTS: Final = frozenset(  # what is an address on these alone
    (("applet", "code"), ("applet", "object"), ("object", "code"), ("param", "value"))
)
_SEVERAL_ADDRESSES: Final = frozenset(("archive", "attributionsrc", "imagesrcset", "ping", "profile", "srcset"))
# An escaped value is a value again behind the attribute: of these it would be a style or a whole document …
_NO_PLAIN_VALUE: Final = frozenset(("style", "srcdoc"))
# … as of the presentation attributes of SVG 2 that take `url(…)`.
_STYLES_OF_SVG: Final = frozenset(
    ("clip-path", "color-profile", "cursor", "fill", "filter", "marker", "marker-end", "marker-mid", "marker-start")
) | frozenset(("mask", "mask-image", "stroke"))
_SELECTING_ATTRIBUTES: Final = ("http-equiv", "attributename")  # attributes that say what another of their tag is
_ANIMATIONS: Final = frozenset(("set", "animate", "animatecolor"))
_ANIMATED: Final = frozenset(("to", "from", "by", "values"))
_BANK_ADDRESSES: Final = frozenset(("PASSWORD_URL",))  # whole addresses, and the bank's own

# Elements whose content is no markup; in the first kind a character reference stays as it is, in the second it does not
# (HTML Standard, section 13.2.5, raw text and RCDATA; noscript as a reader with scripts takes it).
_RAW: Final = frozenset(("script", "style", "xmp", "iframe", "noembed", "noframes", "noscript", "plaintext"))
_ESCAPABLE: Final = frozenset(("textarea", "title"))
_COMMENT_END: Final = re.compile("--!?>")
_DECLARATION_END: Final = re.compile(">")
_TAG_NAME: Final = re.compile(r"</?([A-Za-z][^\t\n\f\r />]*)")
_NOT_SPACE: Final = re.compile(r"[^\t\n\f\r ]")


class _State(StrEnum):
    """The states of the HTML Standard's tokenizer, section 13.2.5, as far as they matter here."""

    TEXT = "text"
    LOST = "lost"  #: Where no value can be escaped: a comment, a script, a declaration.
    ESCAPABLE = "escapable"  #: In an element whose content is text: textarea, title.
    BETWEEN = "between"  #: In a tag, between its attributes.
    NAME = "name"
    AFTER_NAME = "after name"
    BEFORE_VALUE = "before value"
    QUOTED = "quoted"
    UNQUOTED = "unquoted"


class _AttributeKind(StrEnum):
    """What the value of an attribute is to a program that reads the document."""

    TEXT = "text"
    STYLE = "style"  #: A style, a script or a whole document: no escape would do.
    BASE = "base"  #: What other addresses are relative to.
    ADDRESS = "address"
    ADDRESSES = "addresses"  #: Several, apart by blanks or commas.
    REFRESH = "refresh"  #: An address behind a number of seconds.
    VALUES = "values"  #: Of an animation: several addresses, apart by semicolons.


_STATE_ENDS: Final[Mapping[_State, re.Pattern[str]]] = {
    _State.BETWEEN: re.compile(r"[^\t\n\f\r /]"),
    _State.NAME: re.compile(r"[\t\n\f\r />=]"),
    _State.AFTER_NAME: _NOT_SPACE,
    _State.BEFORE_VALUE: _NOT_SPACE,
    _State.UNQUOTED: re.compile(r"[\t\n\f\r >]"),
}
_NAME_LIMIT_CHARACTERS: Final = 100  # longer than any name above

_FOR_PEOPLE: Final = frozenset((EscapeContext.HTML, EscapeContext.MAIL_HEADER, EscapeContext.MAIL_BODY))


def place_placeholders(
    body: tuple[Segment, ...],
) -> tuple[tuple[Segment, ...], tuple[tuple[int, NamedPlaceholder | CustomFieldPlaceholder, Misplacement], ...]]:
    """`body` with the context of each placeholder, and those that stand where their values must not, with their index.

    A scanner and no parser: Python's takes a time that is quadratic in the number of some unfinished constructs.
    """
    placed: list[Segment] = []
    misplaced: list[tuple[int, NamedPlaceholder | CustomFieldPlaceholder, Misplacement]] = []
    placements = _HtmlScanner(body).placements()
    for index, segment in enumerate(body):
        placement = placements.get(index)
        if isinstance(segment, NamedPlaceholder | CustomFieldPlaceholder) and isinstance(placement, EscapeContext):
            segment = replace(segment, context=placement)
            if isinstance(segment, NamedPlaceholder) and segment.format is not None and placement not in _FOR_PEOPLE:
                segment = replace(segment, format=segment.format.with_ascii_digits())
            placed.append(segment)
            continue
        placed.append(segment)
        if isinstance(segment, NamedPlaceholder | CustomFieldPlaceholder) and isinstance(placement, Misplacement):
            misplaced.append((index, segment, placement))
    return tuple(placed), tuple(misplaced)


# ----------------------------------------------------------------------------------------------------------- addresses

Pieces = list[str | int]  #: Literal text, and between it placeholders by their index in the body.
Placement = EscapeContext | Misplacement

_REFERENCE: Final = re.compile(r"&(?:#(?:0*([0-9]++)|[xX]0*([0-9A-Fa-f]++));?|([A-Za-z][A-Za-z0-9]*+)(;|(?!=)))")
_CUT_REFERENCE: Final = re.compile(r"&#?[0-9A-Za-z]*")
_CUT_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]?\Z")
_IGNORED_IN_URL: Final = str.maketrans("", "", "\t\n\r")  # URL Standard, basic URL parser
_BEFORE_URL: Final = "".join(map(chr, range(0x21)))
_HOST_AND_SLASH: Final = re.compile(r"https?://[^/\\?#]+(?=[/?#])", re.IGNORECASE)
_PATH_BEGIN: Final = re.compile(r"(?=/[^/\\]|[?#]|[^:/\\?#]+[/?#])")
_OTHER_SCHEME: Final = re.compile(r"(mailto|tel|sms|cid):", re.IGNORECASE)
_SCHEME_WITHOUT_VALUES: Final = re.compile(r"(?!https?:)[a-z][a-z0-9+.-]*:", re.IGNORECASE)  # RFC 3986, section 3.1
_REFRESH_BEGIN: Final = re.compile(r"[\t\n\f\r ]*[0-9.]+[\t\n\f\r ;,]+(?:url[\t\n\f\r ]*=[\t\n\f\r ]*)?[\"']?", re.I)
_PATH_END: Final = re.compile(r"[?#]")
_STEP_END: Final = re.compile(r"[/\\]")
_DOTS: Final = re.compile(r"(?:\.|%2e){1,2}", re.IGNORECASE)
_BETWEEN_ADDRESSES: Final[Mapping[_AttributeKind, re.Pattern[str]]] = {
    _AttributeKind.ADDRESS: re.compile("(?!)"),
    _AttributeKind.REFRESH: re.compile("(?!)"),
    _AttributeKind.ADDRESSES: re.compile(r"[\s,]+"),
    _AttributeKind.VALUES: re.compile(";"),  # SVG 2, of animations
}
_RECIPIENT_HEADERS: Final = frozenset(("to", "cc", "bcc"))
_TEXT_HEADERS: Final = frozenset(("subject", "in-reply-to", "keywords", "comments"))


def _place_in_address(pieces: Pieces, body: tuple[Segment, ...]) -> Iterator[tuple[int, Placement]]:
    """What each placeholder of one address is. `pieces` as the HTML parser gives them, references replaced."""
    pieces = [piece if isinstance(piece, int) else piece.translate(_IGNORED_IN_URL) for piece in pieces]
    if pieces and isinstance(pieces[0], str):
        pieces[0] = pieces[0].lstrip(_BEFORE_URL)
    pieces = [piece for piece in pieces if piece != ""]
    if not pieces:
        return
    first, *others = pieces
    if isinstance(first, int):
        segment = body[first]
        whole = isinstance(segment, NamedPlaceholder) and segment.name in _BANK_ADDRESSES
        yield first, EscapeContext.HTML if whole else Misplacement.CHOOSES
        behind = others[0] if others else ""
        fixed = whole and isinstance(behind, str) and re.match(r"/[^/\\]|[?#]", behind)
        yield from _place_in_path(others) if fixed else _place_all(others, Misplacement.CHOOSES)
    elif found := _HOST_AND_SLASH.match(first) or _PATH_BEGIN.match(first):
        yield from _place_in_path([first[found.end() :], *others])
    elif found := _OTHER_SCHEME.match(first):
        rest: Pieces = [first[found.end() :], *others]
        match found[1].lower():
            case "mailto":
                yield from _place_in_mailto(rest)
            case "tel":
                yield from _place_all(rest, EscapeContext.PHONE)
            case "sms":
                yield from _place_in_sms(rest)
            case _:
                yield from _place_all(rest, EscapeContext.HTML_URL)
    else:
        other = _SCHEME_WITHOUT_VALUES.match(first)
        yield from _place_all(pieces, Misplacement.SCHEME if other else Misplacement.CHOOSES)


def _place_in_path(pieces: Pieces) -> Iterator[tuple[int, Placement]]:
    """What each placeholder behind the host of a web address is.

    A step of nothing but a value could be `..`, which leads elsewhere.
    """
    path, *behind = _split(pieces, _PATH_END, 1)
    for step in _split(path, _STEP_END):
        fixed = "".join(piece for piece in step if isinstance(piece, str))
        if not fixed:
            yield from _place_all(step, EscapeContext.HTML_STEP)
        else:
            yield from _place_all(step, Misplacement.DOTS if _DOTS.fullmatch(fixed) else EscapeContext.HTML_URL)
    for rest in behind:
        yield from _place_all(rest, EscapeContext.HTML_URL)


def _place_in_mailto(pieces: Pieces) -> Iterator[tuple[int, Placement]]:
    """RFC 6068: recipients, then headers. A value adds neither."""
    recipients, *headers = _split(pieces, re.compile(r"\?"), 1)
    yield from _place_in_recipients(recipients)
    for header in headers:
        for name, value in _fields(header):
            if name in _RECIPIENT_HEADERS:
                yield from _place_in_recipients(value)
            elif name == "body":
                yield from _place_all(value, EscapeContext.MAIL_BODY)
            else:
                yield from _place_all(
                    value, EscapeContext.MAIL_HEADER if name in _TEXT_HEADERS else Misplacement.HEADER
                )


def _place_in_recipients(pieces: Pieces) -> Iterator[tuple[int, Placement]]:
    for recipient in _split(pieces, re.compile(r",|%2c", re.IGNORECASE)):
        whole = not re.search("@|%40", "".join(piece for piece in recipient if isinstance(piece, str)))
        yield from _place_all(recipient, EscapeContext.MAIL_ADDRESS if whole else EscapeContext.MAIL_ADDRESS_PART)


def _place_in_sms(pieces: Pieces) -> Iterator[tuple[int, Placement]]:
    """RFC 5724: numbers, then fields, of which there is one. Some phones want it behind `&` without a `?`."""
    numbers, *fields = _split(pieces, re.compile(r"[?&]"), 1)
    yield from _place_all(numbers, EscapeContext.PHONE)
    for part in fields:
        for name, value in _fields(part):
            yield from _place_all(value, EscapeContext.HTML_URL if name == "body" else Misplacement.HEADER)


def _fields(pieces: Pieces) -> Iterator[tuple[str, Pieces]]:
    """`name=value` behind `&`, the names in lower case and decoded; one that holds a placeholder is empty."""
    for part in _split(pieces, re.compile("&")):
        name, *value = _split(part, re.compile("="), 1)
        if not value or any(isinstance(piece, int) for piece in name):
            yield "", part
        else:
            yield unquote("".join(map(str, name))).strip().lower(), value[0]


def _split(pieces: Pieces, separator: re.Pattern[str], limit: int = 0) -> list[Pieces]:
    """`pieces` cut at each separator in their fixed text, `limit` times if it is not 0; without empty texts."""
    parts: list[Pieces] = [[]]
    for piece in pieces:
        if isinstance(piece, int):
            parts[-1].append(piece)
            continue
        done = limit and len(parts) > limit
        first, *others = [piece] if done else separator.split(piece, max(limit - len(parts) + 1, 0))
        parts[-1].extend([first] if first else [])
        parts.extend([text] if text else [] for text in others)
    return parts


def _place_all(pieces: Pieces, placement: Placement) -> Iterator[tuple[int, Placement]]:
    for piece in pieces:
        if isinstance(piece, int):
            yield piece, placement


def _cut_references(written: Pieces, read: Pieces) -> Iterator[int]:
    """The placeholders before which a character reference or a percent-encoded character has begun: what comes of it
    would depend on the value. `read` is `written` with the character references replaced."""
    for (before, text), piece in zip(zip(written, read, strict=True), written[1:], strict=False):
        if isinstance(before, str) and isinstance(text, str) and isinstance(piece, int):
            reference = before[max(before.rfind("&"), 0) :]
            if _CUT_REFERENCE.fullmatch(reference) or _CUT_ESCAPE.search(text.translate(_IGNORED_IN_URL)):
                yield piece


def unescape_attribute(text: str) -> str:
    """`text` of an attribute with its character references replaced, as HTML reads them in attributes: one without
    semicolon stays before `=` and letters, as `&copy=1` in an address."""
    return _REFERENCE.sub(_character, text)


def _character(found: re.Match[str]) -> str:
    decimal, hexadecimal, name, semicolon = found.groups()
    if name is not None:
        return html5.get(name + semicolon, found.group())
    # Python reads no number of thousands of digits; none of over seven is a character.
    digits = decimal or f"x{hexadecimal}"
    return "\ufffd" if len(digits) > 8 else unescape(f"&#{digits};")


# ------------------------------------------------------------------------------------------------------------- scanner


@dataclass(slots=True)
class _Attribute:
    """An attribute of a tag as far as it is read. Placeholders of its value stand in `pieces` by their index."""

    name: str
    quoted: bool = False
    pieces: Pieces = field(default_factory=list)

    @property
    def local_name(self) -> str:
        """Without a prefix, as `href` of `xlink:href`."""
        return self.name.rpartition(":")[2]

    @property
    def choice(self) -> str | None:
        """Its value as a parser gives it, in lower case and without a prefix; None when it holds a placeholder."""
        texts = [piece for piece in self.pieces if isinstance(piece, str)]
        if len(texts) < len(self.pieces):
            return None
        return unescape_attribute("".join(texts)).strip().lower().rpartition(":")[2]


class _HtmlScanner:
    """Where in an HTML text each placeholder is. What begins in one literal and ends in a later one is followed."""

    def __init__(self, body: tuple[Segment, ...]) -> None:
        self._body = body
        self._state: _State = _State.TEXT
        self._end = _DECLARATION_END  #: Ends "lost", "escapable" and "quoted".
        self._element = ""  #: Of the tag that we are in or behind: `a`, or `/a`.
        self._attributes: list[_Attribute] = []
        #: Behind `<svg>` or `<math>`, where `<title>` holds markup; for good, as what an end tag ends depends on all
        #: that is open there.
        self._in_svg = False
        #: What the `_SELECTING_ATTRIBUTES` of the tag are; None for one that an event chooses.
        self._selections: dict[str, frozenset[str | None]] = {}
        self._placements: dict[int, Placement] = {}

    def placements(self) -> dict[int, Placement]:
        """What each placeholder of the body is, by its index there."""
        literal: list[str] = []
        for index, segment in enumerate(self._body):
            if isinstance(segment, str):
                literal.append(segment)
                continue
            self._read("".join(literal))
            literal.clear()
            self._add_placeholder(index)
        self._read("".join(literal))
        self._classify_tag()  # one that never ended
        return self._placements

    def _add_placeholder(self, index: int) -> None:
        match self._state:
            case _State.TEXT | _State.ESCAPABLE:
                self._placements[index] = EscapeContext.HTML
            case _State.QUOTED | _State.UNQUOTED:
                self._attributes[-1].pieces.append(index)
            case _State.BEFORE_VALUE:
                self._state = _State.UNQUOTED
                self._attributes[-1].pieces.append(index)
            case _State.LOST:
                self._placements[index] = Misplacement.UNESCAPABLE
            case _:
                self._placements[index] = Misplacement.NAME

    def _read(self, piece: str) -> None:
        """Go on by `piece`, in a time linear in its length."""
        at = 0
        while at < len(piece):
            match self._state:
                case _State.TEXT:
                    at = self._read_text(piece, at)
                case _State.LOST | _State.ESCAPABLE:
                    found = self._end.search(piece, at)
                    if found is None:
                        return
                    # An end tag is left to be read as a tag, for it may hold a `>` within quotes.
                    self._state = _State.TEXT if found.group().endswith(">") else _State.BETWEEN
                    at = found.end()
                case _:
                    at = self._read_tag(piece, at)

    def _read_text(self, piece: str, at: int) -> int:
        start = piece.find("<", at)
        if start < 0:
            return len(piece)
        if piece.startswith("<!--", start):
            # From the first hyphen on: `<!-->` is a whole comment.
            self._state, self._end = _State.LOST, _COMMENT_END
            return start + 2
        if piece.startswith(("<!", "<?"), start):
            self._state, self._end = _State.LOST, _DECLARATION_END
            return start + 2
        name = _TAG_NAME.match(piece, start)
        if name is None and piece.startswith("</", start) and start + 2 < len(piece):
            # No end tag: a comment of its own kind, as `</ p>` and `</3>`.
            self._state, self._end = _State.LOST, _DECLARATION_END
            return start + 2
        # A value right behind `<` or `</` would be the tag's name.
        if name is not None or piece[start : start + 3] in ("<", "</"):
            self._state, self._element = _State.BETWEEN, name.group()[1:].lower() if name else ""
            return name.end() if name else len(piece)
        return start + 1

    def _read_tag(self, piece: str, at: int) -> int:
        """Go on within a tag, to where its present state ends."""
        found = (self._end if self._state == _State.QUOTED else _STATE_ENDS[self._state]).search(piece, at)
        end = len(piece) if found is None else found.start()
        if self._state in (_State.QUOTED, _State.UNQUOTED):
            self._attributes[-1].pieces.append(piece[at:end])
        elif self._state == _State.NAME and len(self._attributes[-1].name) < _NAME_LIMIT_CHARACTERS:
            self._attributes[-1].name += piece[at:end].lower()
        if found is None:
            return end
        mark = found.group()
        match self._state, mark:
            case _State.QUOTED, _:
                self._state = _State.BETWEEN
            case _, ">":
                self._end_tag()
            case _State.BEFORE_VALUE, '"' | "'":
                self._state, self._end = _State.QUOTED, re.compile(mark)
                self._attributes[-1].quoted = True
            case _State.BEFORE_VALUE, _:
                self._state = _State.UNQUOTED
                return end
            case _State.NAME | _State.AFTER_NAME, "=":
                self._state = _State.BEFORE_VALUE
            case _State.UNQUOTED, _:
                self._state = _State.BETWEEN
            case _State.NAME | _State.AFTER_NAME, "/":
                self._state = _State.BETWEEN
            case _State.NAME, _:
                self._state = _State.AFTER_NAME
            case _:
                self._state = _State.NAME
                self._attributes.append(_Attribute(mark.lower()))
        return found.end()

    def _end_tag(self) -> None:
        self._classify_tag()
        element = self._element
        self._in_svg = self._in_svg or element in ("svg", "math")
        if element in _RAW or element in _ESCAPABLE:
            self._state = _State.ESCAPABLE if element in _ESCAPABLE and not self._in_svg else _State.LOST
            self._end = re.compile(f"</{element}(?=[\\t\\n\\f\\r />])", re.IGNORECASE | re.ASCII)
            self._element = f"/{element}"
        else:
            self._state = _State.TEXT

    def _classify_tag(self) -> None:
        with_values = [
            attribute for attribute in self._attributes if any(isinstance(piece, int) for piece in attribute.pieces)
        ]
        if with_values:
            self._selections = {
                name: frozenset(attribute.choice for attribute in self._attributes if attribute.name == name)
                for name in _SELECTING_ATTRIBUTES
            }
        for attribute in with_values:
            self._placements.update(self._classify(attribute))
        self._attributes = []

    def _classify(self, attribute: _Attribute) -> Iterator[tuple[int, Placement]]:
        """What each placeholder in the value of `attribute` is."""
        kind = self._kind(attribute)
        bare = not attribute.quoted and not any(piece for piece in attribute.pieces if isinstance(piece, str))
        is_address = kind not in (_AttributeKind.TEXT, _AttributeKind.STYLE)
        if bare and not is_address and attribute is not self._attributes[-1]:
            yield from _place_all(attribute.pieces, Misplacement.BARE)
            return
        if not is_address:
            plain = attribute.quoted and kind is _AttributeKind.TEXT
            yield from _place_all(attribute.pieces, EscapeContext.HTML if plain else Misplacement.UNESCAPABLE)
            return
        if kind is _AttributeKind.BASE or not attribute.quoted:
            yield from _place_all(
                attribute.pieces, Misplacement.BASE if kind is _AttributeKind.BASE else Misplacement.UNQUOTED
            )
            return
        pieces: Pieces = [unescape_attribute(piece) if isinstance(piece, str) else piece for piece in attribute.pieces]
        if kind is _AttributeKind.REFRESH and isinstance(pieces[0], str) and (begin := _REFRESH_BEGIN.match(pieces[0])):
            pieces[0] = pieces[0][begin.end() :]
        for address in _split(pieces, _BETWEEN_ADDRESSES[kind]):
            yield from _place_in_address(address, self._body)
        yield from ((index, Misplacement.CUT) for index in _cut_references(attribute.pieces, pieces))

    def _kind(self, attribute: _Attribute) -> _AttributeKind:
        """What the value of `attribute` is."""
        name = attribute.local_name
        if attribute.name.startswith("on") or name in _NO_PLAIN_VALUE or name in _STYLES_OF_SVG:
            return _AttributeKind.STYLE
        if (self._element, name) == ("base", "href") or attribute.name == "xml:base":
            return _AttributeKind.BASE
        if (self._element, name) == ("meta", "content"):
            return _AttributeKind.REFRESH if self._may_have_value("http-equiv", {"refresh"}) else _AttributeKind.TEXT
        if self._element in _ANIMATIONS and name in _ANIMATED:
            return self._kind_of_animated(name)
        if name in _SEVERAL_ADDRESSES:
            return _AttributeKind.ADDRESSES
        if name in _ADDRESS_ATTRIBUTES or (self._element, name) in _ADDRESSES_OF_ELEMENTS:
            return _AttributeKind.ADDRESS
        return _AttributeKind.TEXT

    def _kind_of_animated(self, name: str) -> _AttributeKind:
        """What a value is that an animation gives to another attribute."""
        if self._may_have_value("attributename", _STYLES_OF_SVG):
            return _AttributeKind.STYLE
        if not self._may_have_value("attributename", {"href"}):
            return _AttributeKind.TEXT
        return _AttributeKind.VALUES if name == "values" else _AttributeKind.ADDRESS

    def _may_have_value(self, name: str, values: Collection[str]) -> bool:
        """Whether the tag has an attribute `name` whose value is, without a prefix, one of `values` or an event's."""
        choices = self._selections[name]
        return None in choices or any(value in choices for value in values)
