"""Whether a template's body is the document it claims to be, whatever its values: rule T12, before any event exists."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final
from xml.etree import ElementTree as ET
from xml.parsers import expat

from processor.domain.channel import ContentType
from processor.domain.diagnostic import Diagnostic, Location, Severity
from processor.domain.placeholders import PlaceholderType
from processor.domain.template import (
    CustomField,
    CustomFieldPlaceholder,
    FieldPath,
    NamedPlaceholder,
    Segment,
    Text,
)
from processor.mapping.render import RenderFailure, render
from processor.mapping.table_formats import TABLE_COLUMNS
from processor.mapping.values import Scope
from processor.templates.html_scanner import Misplacement, place_placeholders, unescape_attribute
from processor.templates.rules import RuleCode

# With samples a body grows; the work of a check ends here, for a body of nothing but tables too.
DOCUMENT_LIMIT_CHARACTERS: Final = 8_000_000
_SHOWN_CHARACTERS: Final = 60  # in front of a placeholder


def check_document(body: tuple[Segment, ...], content: ContentType, families: Iterable[str]) -> Iterator[Diagnostic]:
    """What is wrong with the document that `body` gives; nothing for plain text. Linear in its length.

    JSON and XML must parse with a sample for every placeholder and with none, and each text among the samples, full of
    quotes and brackets, must be read back unharmed. HTML always parses. In all three no placeholder may stand where its
    value cannot be escaped, and in HTML none where it would choose what a link leads to. A body that passes gives a
    document for any event: what is escaped stays within its string, and where `null` is a value any JSON value is one.
    """
    families = tuple(families)
    match content:
        case ContentType.TEXT:
            return
        case ContentType.HTML:
            _, misplaced = place_placeholders(body)
            for at, placeholder, why in misplaced:
                if why is not Misplacement.UNESCAPABLE or any(_is_text(placeholder, family) for family in families):
                    written = _with_context(body, at)
                    yield _error(f"{why.format(placeholder)}; here: {written}", excerpt=written)
            yield from map(_error, sorted(set(_check_html_encoding(body))))
        case ContentType.JSON | ContentType.XML:
            messages = {message for family in families for message in _check_parsed(body, content, family)}
            yield from map(_error, sorted(messages))


def _error(message: str, *, excerpt: str = "") -> Diagnostic:
    """Without an excerpt it is about the whole document."""
    return Diagnostic(message=message, code=RuleCode.DOCUMENT, location=Location(excerpt=excerpt))


def _with_context(body: tuple[Segment, ...], at: int) -> str:
    """The placeholder at `at` with what stands before it on its line, by which people find it; cut in front."""
    before = "".join(map(str, body[max(at - 5, 0) : at]))
    return before[-_SHOWN_CHARACTERS:].rpartition("\n")[2].lstrip() + str(body[at])


def check_hosts(body: tuple[Segment, ...]) -> Iterator[Diagnostic]:
    """Values in the host of an address in plain text, of which readers' programs make a link: warnings. Only where an
    author wrote the scheme can it be seen."""
    for at, (before, placeholder) in enumerate(pairwise(body), start=1):
        if (
            isinstance(before, str)
            and not isinstance(placeholder, str)
            and _HOST_IN_TEXT.search(before[-_LONGEST_HOST_CHARACTERS:])
        ):
            written = _with_context(body, at)
            what = f"{placeholder} stands in the host of an address: an event would choose where readers are led"
            yield replace(_error(f"{what}; here: {written}", excerpt=written), severity=Severity.WARNING)


_HOST_IN_TEXT: Final = re.compile(r"https?://[^\s/?#]*\Z", re.IGNORECASE)
_LONGEST_HOST_CHARACTERS: Final = 300  # with scheme and user


def _check_parsed(body: tuple[Segment, ...], content: ContentType, family: str) -> Iterator[str]:
    for sampled in (True, False):
        texts, probe, fields = _build_probe(body, family) if sampled else ({}, body, {})
        rendered = render(
            Text(None, probe), Scope(family, fields, UTC), strict=False, limit_characters=DOCUMENT_LIMIT_CHARACTERS
        )
        if isinstance(rendered, RenderFailure):
            yield f"body cannot be rendered: {rendered.detail}"
            continue
        try:
            read = _READERS[content](rendered.body)
        except _MalformedError as error:
            when = "with a sample of each value" if sampled else "when every value is missing"
            yield f"body is not {content.name} {when}: {error}"
            continue
        if content is ContentType.XML:
            yield from _check_xml_declaration(rendered.body)
        found = set(_PROBE_PATTERN.findall(read))
        yield from (_NOT_READ_BACK[content].format(name) for text, name in texts.items() if text not in found)


_NOT_READ_BACK: Final[Mapping[ContentType, str]] = {
    ContentType.JSON: "{} stands where its value cannot be read back",
    ContentType.XML: "{} stands in a comment, a CDATA section or an instruction, where its value cannot be escaped",
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


def _build_probe(body: tuple[Segment, ...], family: str) -> tuple[dict[str, str], tuple[Segment, ...], dict[str, Any]]:
    """Text -> its placeholder; `body` with a value of its own for each placeholder; and those values."""
    texts: dict[str, str] = {}
    probe: list[Segment] = []
    samples: dict[str, Any] = {}
    tables: dict[str, Any] = {}
    for number, segment in enumerate(body):
        key = str(number)
        match segment:
            case str():
                probe.append(segment)
            case NamedPlaceholder() if segment.paths[family].type is PlaceholderType.TABLE:
                path = segment.paths[family].path
                row: dict[str, Any] = {}
                for column in TABLE_COLUMNS[path]:
                    _set_path(row, column.path, _SAMPLES[column.type])
                _set_path(tables, path, [row, dict.fromkeys(row)])
                probe.append(segment)
            case NamedPlaceholder():
                kind = segment.paths[family].type
                samples[key] = _SAMPLES[kind]
                if _is_text(segment, family):
                    samples[key] = _escape_torture_text(number)
                    texts[samples[key]] = str(segment)
                probe.append(replace(segment, paths={family: FieldPath(("customFields", key), kind)}))
            case CustomFieldPlaceholder():
                samples[key] = _escape_torture_text(number)
                texts[samples[key]] = str(segment)
                probe.append(CustomFieldPlaceholder(CustomField(segment.field.name, (key,)), segment.context))
    return texts, tuple(probe), {**tables, "customFields": samples}


def _is_text(placeholder: NamedPlaceholder | CustomFieldPlaceholder, family: str) -> bool:
    """Whether its value is text that a producer wrote, or holds such; enums are open lists, so theirs are too."""
    return isinstance(placeholder, CustomFieldPlaceholder) or (
        family in placeholder.paths and placeholder.paths[family].type in _TEXTS
    )


_TEXTS: Final = (PlaceholderType.STRING, PlaceholderType.ENUM, PlaceholderType.TABLE)


def _escape_torture_text(number: int) -> str:
    return f"A{number} \"B\" <C> & 'D' \\ {{E}}"


_PROBE_PATTERN: Final = re.compile(r"A[0-9]+ \"B\" <C> & 'D' \\ \{E\}")


def _set_path(fields: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    for step in path[:-1]:
        fields = fields.setdefault(step, {})
    fields[path[-1]] = value


# ------------------------------------------------------------------------------------------------------------ readers


def _read_json(body: str) -> str:
    """All strings of the document. NaN and Infinity, which Python's parser takes, are not JSON."""

    def reject_constant(name: str) -> float:
        raise _MalformedError(f"{name} is not JSON")

    try:
        document = json.loads(body, parse_constant=reject_constant)
    except json.JSONDecodeError as error:
        raise _MalformedError(
            f"{error.msg.lower()}{_describe_position(body, error.lineno, error.colno - 1)}"
        ) from error
    except (RecursionError, ValueError) as error:
        raise _MalformedError("nested too deeply, or a number of too many digits") from error
    return "\x00".join(_strings(document))


def _strings(document: object) -> Iterator[str]:
    # Not by recursion: the parser lets pass what is nested as deeply as Python allows, and we are some calls down.
    pending = [document]
    while pending:
        match pending.pop():
            case str() as text:
                yield text
            case list() as items:
                pending.extend(items)
            case dict() as members:
                yield from members
                pending.extend(members.values())


def _read_xml(body: str) -> str:
    """All text and attribute values of the document. A document type could define entities that grow without bound."""
    if re.search(r"<!(DOCTYPE|ENTITY)", body):
        raise _MalformedError("a document type is not allowed")
    try:
        root = ET.fromstring(body)  # noqa: S314  the author's own text, without entities
    except ET.ParseError as error:
        raise _MalformedError(f"{error.msg.partition(':')[0]}{_describe_position(body, *error.position)}") from error
    return "\x00".join(
        piece for node in root.iter() for piece in (node.text or "", node.tail or "", *node.attrib.values())
    )


def _check_xml_declaration(body: str) -> Iterator[str]:
    """What a well-formed document says of itself and is not. The parser above reads text, whatever encoding it names.

    In XML 1.1 some characters are written in another way, and common parsers refuse it.
    """
    if body.startswith("\ufeff"):
        yield "body begins with a byte order mark, which readers of a text refuse: leave it out"
    declarations: list[tuple[str, str | None]] = []
    parser = expat.ParserCreate("UTF-8")
    parser.XmlDeclHandler = lambda version, encoding, _standalone: declarations.append((version, encoding))
    parser.Parse(body[: body.find("?>") + 2].encode(), False)
    for version, encoding in declarations:
        if version != "1.0":
            yield f"the XML declaration says version {version!r}; bodies are XML 1.0"
        if encoding is not None and encoding.lower() != "utf-8":
            yield f"the XML declaration says encoding {encoding!r}; bodies are UTF-8"


_READERS: Final[Mapping[ContentType, Callable[[str], str]]] = {
    ContentType.JSON: _read_json,
    ContentType.XML: _read_xml,
}


def _describe_position(body: str, line: int, column: int) -> str:
    """Where in the body, with what stands there; empty when there is nothing to show."""
    lines = body.split("\n")
    around = lines[line - 1][max(column - 20, 0) : column + 20] if line <= len(lines) else ""
    return f" at line {line}, near {around!r}" if around.strip() else f" at line {line}"


# --------------------------------------------------------------------------------------------------------------- HTML

# Each begins where the last one cannot go on, so that all of them together are linear.
_META: Final = re.compile(r"""<meta(?=[\s/])((?:[^"'<>]|"[^"<]*"|'[^'<]*')*)""", re.IGNORECASE)
_META_ATTRIBUTE: Final = re.compile(r"""(?<![^\s"'<>/=])([^\s"'<>/=]+)\s*=\s*("[^"]*"|'[^']*'|[^\s"'>]+)""")
_CHARSET: Final = re.compile(r"""charset\s*=\s*["']?([^\s;"']*)""", re.IGNORECASE)
_XML_ENCODING: Final = re.compile(r"""\s*<\?xml\s[^<>]*?\bencoding\s*=\s*["']([^"'<>]*)["'][^<>]*""")
_UTF_8: Final = frozenset(("utf-8", "utf8"))  # of its labels (Encoding Standard, section 4.2) those that anybody uses


def _check_html_encoding(body: tuple[Segment, ...]) -> Iterator[str]:
    """Where the document says another encoding than that of a mail: as a reader looks for it (HTML Standard, section
    13.2.3.2), and in comments too, for some read conditional ones."""
    text = "".join(map(str, body))
    if declared := _XML_ENCODING.match(text):
        yield from _other_encoding(declared.group(), declared[1])
    for meta in _META.finditer(text):
        attributes = {
            name.lower(): unescape_attribute(value.strip("\"'")) for name, value in _META_ATTRIBUTE.findall(meta[1])
        }
        encoding = attributes.get("charset")
        if encoding is None and attributes.get("http-equiv", "").lower() == "content-type":
            charset = _CHARSET.search(attributes.get("content", ""))
            encoding = charset and charset[1]
        if encoding is not None:
            yield from _other_encoding(meta.group(), encoding)


def _other_encoding(piece: str, encoding: str) -> Iterator[str]:
    if encoding.strip().lower() not in _UTF_8:
        yield f"{piece.strip():.200}> says {encoding.strip() or 'no encoding'}; mails are UTF-8"
