"""Whether a template's body is the document it claims to be, whatever its values: rule T12, before any event exists."""

import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, Literal
from xml.etree import ElementTree as ET
from xml.parsers import expat

from processor.mapping.render import TABLES, Scope, Unrendered, render
from processor.mapping.template import ContentType, Custom, CustomField, Named, Segment, Source, Text
from processor.model.placeholders import PlaceholderType

# With samples a body grows; the work of a check ends here, for a body of nothing but tables too.
LIMIT_CHARACTERS: Final = 8_000_000


def flaws_of_document(body: tuple[Segment, ...], content: ContentType, families: Iterable[str]) -> Iterator[str]:
    """What is wrong with the document that `body` gives, for people; nothing for plain text. Linear in its length.

    JSON and XML must parse with a sample for every placeholder and with none, and each text among the samples, full of
    quotes and brackets, must be read back unharmed. HTML always parses. In all three no placeholder may stand where its
    value cannot be escaped. A body that passes gives a document for any event: what is escaped stays within its string,
    and where `null` is a value any JSON value is one.
    """
    families = tuple(families)
    match content:
        case ContentType.TEXT:
            return
        case ContentType.HTML:
            lost = (one for one in _lost_in_html(body) if any(_is_text(one, family) for family in families))
            yield from sorted({_LOST[content].format(one) for one in lost} | set(_encodings_in_html(body)))
        case ContentType.JSON | ContentType.XML:
            yield from sorted({flaw for family in families for flaw in _flaws_of_parsed(body, content, family)})


def _flaws_of_parsed(body: tuple[Segment, ...], content: ContentType, family: str) -> Iterator[str]:
    for sampled in (True, False):
        texts, probe, fields = _probe(body, family) if sampled else ({}, body, {})
        rendered = render(
            Text(None, probe), Scope(family, fields, UTC), strict=False, limit_characters=LIMIT_CHARACTERS
        )
        if isinstance(rendered, Unrendered):
            yield f"body cannot be rendered: {rendered.detail}"
            continue
        try:
            read = _READERS[content](rendered.body)
        except _MalformedError as error:
            when = "with a sample of each value" if sampled else "when every value is missing"
            yield f"body is not {content.name} {when}: {error}"
            continue
        if content is ContentType.XML:
            yield from _declared_in_xml(rendered.body)
        found = set(_MARKS.findall(read))
        yield from (_LOST[content].format(name) for text, name in texts.items() if text not in found)


_LOST: Final[Mapping[ContentType, str]] = {
    ContentType.JSON: "{} stands where its value cannot be read back",
    ContentType.XML: "{} stands in a comment, a CDATA section or an instruction, where its value cannot be escaped",
    ContentType.HTML: (
        "{} stands where its value cannot be escaped: "
        "a comment, a script, a style, an attribute without quotes, one that holds a script, a style or a document, "
        "or the begin of an address, as in href, where it would choose what a click does"
    ),
}


class _MalformedError(Exception):
    pass


# ------------------------------------------------------------------------------------------------------------ samples

_SAMPLES: Final[Mapping[PlaceholderType, Any]] = {
    PlaceholderType.STRING: "Ada Byron",
    PlaceholderType.ENUM: "ACTIVE",
    PlaceholderType.MONEY: Decimal("120.5"),
    PlaceholderType.DECIMAL: Decimal("4.375"),
    PlaceholderType.INTEGER: 7,
    PlaceholderType.DATE: date(2026, 3, 14),
    PlaceholderType.TIMESTAMP: datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC),
}


def _probe(body: tuple[Segment, ...], family: str) -> tuple[dict[str, str], tuple[Segment, ...], dict[str, Any]]:
    """Text -> its placeholder; `body` with a value of its own for each placeholder; and those values."""
    texts: dict[str, str] = {}
    probe: list[Segment] = []
    samples: dict[str, Any] = {}
    tables: dict[str, Any] = {}
    for number, one in enumerate(body):
        key = str(number)
        match one:
            case str():
                probe.append(one)
            case Named() if one.sources[family].type is PlaceholderType.TABLE:
                path = one.sources[family].path
                row: dict[str, Any] = {}
                for column in TABLES[path]:
                    _put(row, column.path, _SAMPLES[column.type])
                _put(tables, path, [row, dict.fromkeys(row)])
                probe.append(one)
            case Named():
                kind = one.sources[family].type
                samples[key] = _SAMPLES[kind]
                if _is_text(one, family):
                    samples[key] = _tricky(number)
                    texts[samples[key]] = str(one)
                probe.append(replace(one, sources={family: Source(("customFields", key), kind)}))
            case Custom():
                samples[key] = _tricky(number)
                texts[samples[key]] = str(one)
                probe.append(Custom(CustomField(one.field.name, (key,)), one.context))
    return texts, tuple(probe), {**tables, "customFields": samples}


def _is_text(one: Named | Custom, family: str) -> bool:
    """Whether its value is text that a producer wrote; enums are open lists, so theirs are too."""
    return isinstance(one, Custom) or one.sources[family].type in (PlaceholderType.STRING, PlaceholderType.ENUM)


def _tricky(number: int) -> str:
    return f"A{number} \"B\" <C> & 'D' \\ {{E}}"


_MARKS: Final = re.compile(r"A[0-9]+ \"B\" <C> & 'D' \\ \{E\}")


def _put(fields: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    for step in path[:-1]:
        fields = fields.setdefault(step, {})
    fields[path[-1]] = value


# ------------------------------------------------------------------------------------------------------------ readers


def _read_json(body: str) -> str:
    """All strings of the document. NaN and Infinity, which Python's parser takes, are not JSON."""

    def refuse(name: str) -> float:
        raise _MalformedError(f"{name} is not JSON")

    try:
        document = json.loads(body, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise _MalformedError(f"{error.msg.lower()}{_near(body, error.lineno, error.colno - 1)}") from error
    except (RecursionError, ValueError) as error:
        raise _MalformedError("nested too deeply, or a number of too many digits") from error
    return "\x00".join(_strings(document))


def _strings(document: object) -> Iterator[str]:
    # Not by recursion: the parser lets pass what is nested as deeply as Python allows, and we are some calls down.
    waiting = [document]
    while waiting:
        match waiting.pop():
            case str() as text:
                yield text
            case list() as items:
                waiting.extend(items)
            case dict() as members:
                yield from members
                waiting.extend(members.values())


def _read_xml(body: str) -> str:
    """All text and attribute values of the document. A document type could define entities that grow without bound."""
    if re.search(r"<!(DOCTYPE|ENTITY)", body):
        raise _MalformedError("a document type is not allowed")
    try:
        root = ET.fromstring(body)  # noqa: S314  the author's own text, without entities
    except ET.ParseError as error:
        raise _MalformedError(f"{error.msg.partition(':')[0]}{_near(body, *error.position)}") from error
    return "\x00".join(
        piece for node in root.iter() for piece in (node.text or "", node.tail or "", *node.attrib.values())
    )


def _declared_in_xml(body: str) -> Iterator[str]:
    """What a well-formed document says of itself and is not. The parser above reads text, whatever encoding it names.

    In XML 1.1 some characters are written in another way, and common parsers refuse it.
    """
    if body.startswith("\ufeff"):
        yield "body begins with a byte order mark, which readers of a text refuse: leave it out"
    said: list[tuple[str, str | None]] = []
    parser = expat.ParserCreate("UTF-8")
    parser.XmlDeclHandler = lambda version, encoding, _standalone: said.append((version, encoding))
    parser.Parse(body[: body.find("?>") + 2].encode(), False)
    for version, encoding in said:
        if version != "1.0":
            yield f"the XML declaration says version {version!r}; bodies are XML 1.0"
        if encoding is not None and encoding.lower() != "utf-8":
            yield f"the XML declaration says encoding {encoding!r}; bodies are UTF-8"


_READERS: Final[Mapping[ContentType, Callable[[str], str]]] = {
    ContentType.JSON: _read_json,
    ContentType.XML: _read_xml,
}


def _near(body: str, line: int, column: int) -> str:
    """Where in the body, with what stands there; empty when there is nothing to show."""
    lines = body.split("\n")
    around = lines[line - 1][max(column - 20, 0) : column + 20] if line <= len(lines) else ""
    return f" at line {line}, near {around!r}" if around.strip() else f" at line {line}"


# --------------------------------------------------------------------------------------------------------------- HTML

# Elements whose content is no markup; in the first kind a character reference stays as it is, in the second it does not
# (HTML Standard, section 13.2.5, raw text and RCDATA; noscript as a reader with scripts takes it).
_RAW: Final = frozenset(("script", "style", "xmp", "iframe", "noembed", "noframes", "noscript", "plaintext"))
_ESCAPABLE: Final = frozenset(("textarea", "title"))
_TAG_NAME: Final = re.compile(r"</?([A-Za-z][A-Za-z0-9]*)")
_TAG_MARK: Final = re.compile("[\"'>]")
_ATTRIBUTE: Final = re.compile(r"""([^\s"'<>/=]+)\s*=\s*$""")
_LOOK_BACK_CHARACTERS: Final = 200  # far enough for `name = ` before a quote
# An escaped value is a value again behind the attribute: of these it would be a style or a whole document …
_NO_PLAIN_VALUE: Final = frozenset(("style", "srcdoc"))
# … and of these an address, whose scheme (`javascript:`) must not be an event's to choose.
_ADDRESS_ATTRIBUTES: Final = frozenset(
    ("href", "src", "action", "formaction", "xlink:href", "poster", "data", "background", "ping", "srcset", "cite")
)
_FIXED_BEGIN: Final = re.compile(r"\s*(?:(?:https?|mailto|tel|sms|cid):|[^:]*[/?#])", re.IGNORECASE)
_ADDRESSES_OF_OURS: Final = frozenset(("PASSWORD_URL",))
_COMMENT_END: Final = re.compile("--!?>")
_DECLARATION_END: Final = re.compile(">")

# Each begins where the last one cannot go on, so that all of them together are linear.
_META: Final = re.compile(r"""<meta(?=[\s/])((?:[^"'<>]|"[^"<]*"|'[^'<]*')*)""", re.IGNORECASE)
_META_ATTRIBUTE: Final = re.compile(r"""(?<![^\s"'<>/=])([^\s"'<>/=]+)\s*=\s*("[^"]*"|'[^']*'|[^\s"'>]+)""")
_CHARSET: Final = re.compile(r"""charset\s*=\s*["']?([^\s;"']*)""", re.IGNORECASE)
_XML_ENCODING: Final = re.compile(r"""\s*<\?xml\s[^<>]*?\bencoding\s*=\s*["']([^"'<>]*)["'][^<>]*""")
_UTF_8: Final = frozenset(("utf-8", "utf8"))  # of its labels (Encoding Standard, section 4.2) those that anybody uses


def _encodings_in_html(body: tuple[Segment, ...]) -> Iterator[str]:
    """Where the document says another encoding than that of a mail: as a reader looks for it (HTML Standard, section
    13.2.3.2), and in comments too, for some read conditional ones."""
    text = "".join(map(str, body))
    if declared := _XML_ENCODING.match(text):
        yield from _other_encoding(declared.group(), declared[1])
    for meta in _META.finditer(text):
        attributes = {
            name.lower(): html.unescape(value.strip("\"'")) for name, value in _META_ATTRIBUTE.findall(meta[1])
        }
        encoding = attributes.get("charset")
        if encoding is None and attributes.get("http-equiv", "").lower() == "content-type":
            said = _CHARSET.search(attributes.get("content", ""))
            encoding = said and said[1]
        if encoding is not None:
            yield from _other_encoding(meta.group(), encoding)


def _other_encoding(piece: str, encoding: str) -> Iterator[str]:
    if encoding.strip().lower() not in _UTF_8:
        yield f"{piece.strip():.200}> says {encoding.strip() or 'no encoding'}; mails are UTF-8"


def _lost_in_html(body: tuple[Segment, ...]) -> Iterator[Named | Custom]:
    """The placeholders outside of text and of quoted attributes, or in an attribute that holds a script.

    A scanner and no parser: Python's takes a time that is quadratic in the number of some unfinished constructs.
    """
    scan = _HtmlScan()
    for one in body:
        if isinstance(one, str):
            scan.read(one)
        elif not scan.is_safe(whole_address=isinstance(one, Named) and one.name in _ADDRESSES_OF_OURS):
            yield one


class _HtmlScan:
    """Where in an HTML text a point is. What begins in one literal and ends in a later one is followed."""

    def __init__(self) -> None:
        self._where: Literal["text", "tag", "value", "escapable", "lost"] = "text"
        self._until = _DECLARATION_END  #: Ends "value", "escapable" and "lost" …
        self._then: Literal["text", "tag"] = "text"  #: … and this comes after them.
        self._attribute = ""
        self._value = ""  #: What of its value is fixed text, at least its begin.
        self._tag = ""  #: The beginning of the tag that we are in or behind: `<a` or `</a`.

    def is_safe(self, *, whole_address: bool) -> bool:
        """Whether an escaped value can stand here. `whole_address`: it is one, and the bank's own."""
        if self._where != "value":
            return self._where in ("text", "escapable")
        if self._attribute.startswith("on") or self._attribute in _NO_PLAIN_VALUE:
            return False
        if self._attribute in _ADDRESS_ATTRIBUTES and not whole_address:
            return _FIXED_BEGIN.match(html.unescape(self._value)) is not None
        return True

    def read(self, piece: str) -> None:
        """Go on by `piece`, in a time linear in its length."""
        at = 0
        while at < len(piece):
            match self._where:
                case "text":
                    at = self._read_text(piece, at)
                case "tag":
                    at = self._read_tag(piece, at)
                case _:
                    ended = self._until.search(piece, at)
                    if ended is None:
                        if len(self._value) < _LOOK_BACK_CHARACTERS:
                            self._value += piece[at : at + _LOOK_BACK_CHARACTERS]
                        return
                    self._where, at = self._then, ended.end()

    def _read_text(self, piece: str, at: int) -> int:
        start = piece.find("<", at)
        if start < 0:
            return len(piece)
        if piece.startswith("<!--", start):
            # From the first hyphen on: `<!-->` is a whole comment.
            self._where, self._until, self._then = "lost", _COMMENT_END, "text"
            return start + 2
        if piece.startswith(("<!", "<?"), start):
            self._where, self._until, self._then = "lost", _DECLARATION_END, "text"
            return start + 2
        name = _TAG_NAME.match(piece, start)
        # A value right behind `<` or `</` would be the tag's name.
        if name is not None or piece[start:] in ("<", "</"):
            self._where, self._tag = "tag", name.group().lower() if name else ""
            return name.end() if name else len(piece)
        return start + 1

    def _read_tag(self, piece: str, at: int) -> int:
        mark = _TAG_MARK.search(piece, at)
        if mark is None:
            return len(piece)
        if mark.group() == ">":
            element = self._tag[1:]
            self._where = "lost" if element in _RAW else "escapable" if element in _ESCAPABLE else "text"
            # The end tag is left to be read as a tag, for it may hold a `>` within quotes.
            self._until, self._then = re.compile(f"</{element}(?=[\\s/>])", re.IGNORECASE), "tag"
            self._tag = f"</{element}"
        elif attribute := _ATTRIBUTE.search(piece[max(at, mark.start() - _LOOK_BACK_CHARACTERS) : mark.start()]):
            self._where, self._attribute, self._value = "value", attribute[1].lower(), ""
            self._until, self._then = re.compile(mark.group()), "tag"
        return mark.end()
