"""A template's text, parsed: literals and placeholders, and all that is wrong with its placeholders. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Final, Literal
from unicodedata import name as name_of

from processor.domain.channel import ContentType
from processor.domain.diagnostic import Diagnostic, Location
from processor.domain.placeholders import ENTITIES, MANUAL, PLACEHOLDERS, PlaceholderType, placeholders_of
from processor.domain.record import EventName
from processor.domain.template import (
    CustomField,
    CustomFieldPlaceholder,
    EscapeContext,
    FieldPath,
    NamedPlaceholder,
    Segment,
)
from processor.domain.text import closest_match, did_you_mean, nfc
from processor.domain.value_format import FormatFunction, parse_format
from processor.templates.diagnostics import MAX_DIAGNOSTICS_PER_TEXT, Diagnostics, error, warning
from processor.templates.disguises import Disguise, find_disguises, normalize_custom_field
from processor.templates.rules import RuleCode
from processor.templates.value_formats import digits_doubt, format_doubt, format_error, suggest_format

Families = Mapping[str, EventName]
"""Each family of a template's events, with one of those events to name in a diagnostic."""

_rows_of = cache(placeholders_of)


# ------------------------------------------------------------------------------------------------------------- tokens


class _TokenKind(StrEnum):
    """What a piece of a text is; all but LITERAL are groups of `_TOKEN`."""

    LITERAL = "literal"
    FUNCTION = "function"  #: `FORMAT{…}` and the like.
    DOUBLE = "double"  #: `{{NAME}}`: another system's, which fills in what we send it.
    CUSTOM_FIELD = "custom"  #: `{CF:…}`
    NAME = "name"  #: `{NAME}`


@dataclass(frozen=True, slots=True)
class _Token:
    """`text` as it stands, from `start` to `end`; `value` is the function's or placeholder's name without braces."""

    kind: _TokenKind
    text: str
    value: str
    start: int
    end: int


_TOKEN: Final = re.compile(
    r"\b(?P<function>FORMAT|FORMAT_DATE|IN_WORDS_[A-Z]+)\{[^{}\n]*\}"
    r"|\{\{(?P<double>[A-Z][A-Z0-9_]*|CF:[^{}\n]*)\}\}"
    r"|\{CF:(?P<custom>[^{}\n]*)\}"
    r"|\{(?P<name>[A-Z][A-Z0-9_]*)\}"
)


def _tokens(text: str) -> Iterator[_Token]:
    """`text` in pieces, none of them empty. Linear in its length."""
    end = 0
    for match in _TOKEN.finditer(text):
        if match.start() > end:
            yield _literal(text, end, match.start())
        end = match.end()
        kind = _TokenKind(match.lastgroup or "")
        yield _Token(kind, match.group(), match[kind], match.start(), end)
    if end < len(text):
        yield _literal(text, end, len(text))


def _literal(text: str, start: int, end: int) -> _Token:
    return _Token(_TokenKind.LITERAL, text[start:end], "", start, end)


# ------------------------------------------------------------------------------------------------------------- parsing


def parse(
    text: str,
    content: ContentType | Literal[EscapeContext.URL],
    *,
    families: Families,
    locale: str = "en",
) -> tuple[tuple[Segment, ...], Diagnostics]:
    """`text` cut into literals and placeholders, and all that is wrong with its placeholders. Linear in its length.

    `locale` is the language that FORMAT and FORMAT_DATE write. Any brace that is not a placeholder is text, so JSON
    bodies need no escape. Diagnostics have the piece of text that they are about as their excerpt.
    """
    segments: list[Segment] = []
    diagnostics: list[Diagnostic] = []
    json_state = _JsonState()
    suggestions = _Suggestions(families)
    for token in _tokens(text):
        context = json_state.context if content is ContentType.JSON else _CONTEXTS[content]
        if token.kind not in (_TokenKind.LITERAL, _TokenKind.DOUBLE):
            diagnostics += _check_surroundings(text, token)
            if content is ContentType.JSON and json_state.escaping:
                message = "a backslash before a placeholder would swallow the value's first character"
                diagnostics.append(_wrong(message, token.text))
        segment: Segment | None
        match token.kind:
            case _TokenKind.LITERAL | _TokenKind.DOUBLE:
                segment, found = (
                    token.text,
                    [_disguise_diagnostic(disguise, families) for disguise in find_disguises(token.text)],
                )
            case _TokenKind.FUNCTION:
                segment, found = _parse_function(token, context, families, locale, suggestions)
            case _TokenKind.NAME:
                segment, found = _parse_name(text, token, context, families, suggestions)
            case _TokenKind.CUSTOM_FIELD:
                segment, found = _parse_custom_field(token, context, families)
        diagnostics += found
        if segment is not None:
            segments.append(segment)
        if isinstance(segment, str) and content is ContentType.JSON:
            json_state.read(segment)
    if content is EscapeContext.URL:
        segments = list(_mark_path(segments))
    return tuple(segments), tuple(diagnostics)


def _wrong(message: str, excerpt: str, hint: str = "") -> Diagnostic:
    """An error of a placeholder: T13."""
    return error(message, code=RuleCode.PLACEHOLDER, excerpt=excerpt, hint=hint)


def first_placeholder(text: str) -> str | None:
    """The first placeholder in `text` as it stands there, else what looks like one (T21); None when there is none."""
    found = _PLACEHOLDER.search(text)
    return found.group() if found else next((disguise.token for disguise in find_disguises(text)), None)


_PLACEHOLDER: Final = re.compile(r"\{(CF:[^{}\n]*|[A-Z][A-Z0-9_]*)\}")
_CONTEXTS: Final[Mapping[ContentType | EscapeContext, EscapeContext]] = {
    EscapeContext.URL: EscapeContext.URL,
    ContentType.TEXT: EscapeContext.TEXT,
    ContentType.XML: EscapeContext.XML,
    ContentType.HTML: EscapeContext.HTML,
}


def _mark_path(url: Iterable[Segment]) -> Iterable[Segment]:
    """`url` with the context URL_PATH for its placeholders up to the query or fragment."""
    in_path = True
    for segment in url:
        if isinstance(segment, str):
            in_path = in_path and not re.search(r"[?#]", segment)
            yield segment
        else:
            yield replace(segment, context=EscapeContext.URL_PATH) if in_path else segment


_FUNCTION_BEFORE: Final = re.compile(r"\b(FORMAT(?:_DATE)?|IN_WORDS_[A-Z]+)\{?\Z", re.IGNORECASE)
_LOOK_BACK_CHARACTERS: Final = 40


def _check_surroundings(text: str, token: _Token) -> list[Diagnostic]:
    """A placeholder that is one, with something around it that shows what was meant by both."""
    if (
        token.kind is _TokenKind.FUNCTION
        and text[max(token.start - 1, 0) : token.start] == "{"
        and text[token.end : token.end + 1] == "}"
    ):
        message, written, meant = "the braces around it are text", f"{{{token.text}}}", token.text
        return [error(message, code=RuleCode.DISGUISED_PLACEHOLDER, excerpt=written, hint=f"write {meant}")]
    start = max(token.start - _LOOK_BACK_CHARACTERS, 0)
    if token.kind is _TokenKind.NAME and (function := _FUNCTION_BEFORE.search(text, start, token.start)):
        written, meant = f"{function.group()}{token.text}", f"{function[1].upper()}{{{token.value},…}}"
        message = "what stands before the brace is text"
        return [error(message, code=RuleCode.DISGUISED_PLACEHOLDER, excerpt=written, hint=f"write {meant}")]
    return []


# ------------------------------------------------------------------------------------------------------ names of fields


def _parse_name(
    text: str, token: _Token, context: EscapeContext, families: Families, suggestions: "_Suggestions"
) -> tuple[NamedPlaceholder, list[Diagnostic]]:
    """`{NAME}`. One with a name that no family has is a segment too, so that what stands around it is checked."""
    paths, unknown = field_paths(token.value, families)
    segment = NamedPlaceholder(token.value, context, paths)
    if unknown is not None:
        return segment, [suggestions.add_to(unknown, token.value)]
    after_dollar = text[max(token.start - 1, 0) : token.start] == "$"
    if after_dollar and paths and not any(path.type in _AMOUNTS for path in paths.values()):
        message, hint = "a dollar sign stands before its value", f"write {token.text}"
        code = RuleCode.FORMAT_PATTERN
        return segment, [warning(message, code=code, excerpt=f"${token.text}", hint=hint)]
    return segment, []


_AMOUNTS: Final = frozenset((PlaceholderType.MONEY, PlaceholderType.DECIMAL, PlaceholderType.INTEGER))


def field_paths(name: str, families: Families) -> tuple[Mapping[str, FieldPath], Diagnostic | None]:
    """Where each of `families` keeps the value of placeholder `name`, or what is wrong with the name."""
    paths = {}
    for family, event in families.items():
        rows = _rows_of(family)
        if name not in rows:
            # A name that another event of the template has is only out of place, not misspelt.
            elsewhere = any(name in _rows_of(other) for other in families)
            what = f"{event} has no placeholder {{{name}}}" if elsewhere else f"unknown placeholder {{{name}}}"
            return {}, _wrong(f"{what} (family {family})", f"{{{name}}}")
        row = rows[name]
        paths[family] = FieldPath(row.path, row.type, _currency_paths(row.path, row.type))
    return paths, None


def nearest_placeholder(name: str, families: Families) -> str:
    """The placeholder that an unknown `name` probably means; empty for none, and for a name that a family has."""
    missing = [family for family in families if name not in _rows_of(family)]
    if not missing or len(missing) < len(families):
        return ""
    known = tuple(_rows_of(missing[0]))
    return closest_match(name, known) or closest_match(name.upper(), known)


class _Suggestions:
    """Hints with the nearest names. Each takes a millisecond, so a text has so many of them as are shown."""

    def __init__(self, families: Families) -> None:
        self._families = families
        self._hints: dict[str, str] = {}

    def add_to(self, unknown: Diagnostic, name: str) -> Diagnostic:
        """`unknown` with its hint."""
        if name not in self._hints and len(self._hints) < MAX_DIAGNOSTICS_PER_TEXT:
            near = nearest_placeholder(name, self._families)
            self._hints[name] = did_you_mean(f"{{{near}}}" if near else "")
        return replace(unknown, hint=self._hints.get(name, ""))


def _currency_paths(path: tuple[str, ...], kind: PlaceholderType) -> tuple[tuple[str, ...], ...]:
    """Paths to the currency of the amount at `path`: of its own record, else of the account.

    Amounts in the original currency have only that one. The rows of a table have the account's.
    """
    if kind is PlaceholderType.TABLE:
        return (("account", "currencyCode"),)
    if kind is not PlaceholderType.MONEY:
        return ()
    if path[-1] == "originalAmount":
        return ((*path[:-1], "originalCurrencyCode"),)
    return ((*path[:-1], "currencyCode"), ("account", "currencyCode"))


# ----------------------------------------------------------------------------------------------------------- functions


def _parse_function(
    token: _Token, context: EscapeContext, families: Families, locale: str, suggestions: "_Suggestions"
) -> tuple[NamedPlaceholder | None, list[Diagnostic]]:
    """`FORMAT{NAME,…}`; no segment when its format is none."""
    if token.value.startswith("IN_WORDS_"):
        return None, [_wrong(f"{token.value} is not supported: numbers are not written in words", token.text)]
    function = FormatFunction(token.value)
    arguments = token.text[len(function) + 1 : -1]
    paths, unknown = field_paths(arguments.partition(",")[0], families)
    kinds = sorted({path.type for path in paths.values()})
    kind = kinds[0] if kinds else _USUAL_TYPE[function]
    try:
        name, value_format = parse_format(function, arguments, locale=locale)
    except ValueError as failure:
        hint = suggest_format(function, arguments, kind, locale=locale)
        return None, [_wrong(str(failure), token.text, hint)]
    if unknown is not None:
        # The name alone: so it stands in the text.
        unknown = replace(unknown, location=Location(excerpt=name))
        return None, [suggestions.add_to(unknown, name)]
    if message := format_error(value_format, kinds):
        hint = suggest_format(function, arguments, kind, locale=locale)
        return None, [_wrong(message, token.text, hint)]
    if context is EscapeContext.URL:
        segment = NamedPlaceholder(name, context, paths, value_format.with_ascii_digits())
    else:
        segment = NamedPlaceholder(name, context, paths, value_format)
    message, hint = format_doubt(value_format, kind, locale=locale)
    if not message and context in _FOR_SYSTEMS:
        message, hint = digits_doubt(value_format, kind, locale=locale)
    doubt = warning(message, code=RuleCode.FORMAT_PATTERN, excerpt=token.text, hint=hint)
    return segment, [doubt] if message else []


_USUAL_TYPE: Final[Mapping[FormatFunction, PlaceholderType]] = {
    FormatFunction.NUMBER: PlaceholderType.MONEY,
    FormatFunction.DATE: PlaceholderType.TIMESTAMP,
}
_FOR_SYSTEMS: Final = frozenset((EscapeContext.JSON_STRING, EscapeContext.JSON_VALUE, EscapeContext.XML))


# ------------------------------------------------------------------------------------------------------- custom fields

_CUSTOM_HINT: Final = "write {CF:FIELD}, {CF:ENTITY:FIELD} or {CF:ENTITY:FIELD:INDEX}; entities: " + ", ".join(ENTITIES)


def _parse_custom_field(
    token: _Token, context: EscapeContext, families: Families
) -> tuple[CustomFieldPlaceholder | None, list[Diagnostic]]:
    if MANUAL in families:
        message = "a template that a person sends has no custom fields: there is no event"
        return None, [_wrong(message, token.text)]
    try:
        field = parse_custom_field(token.value)
    except ValueError as failure:
        return None, [_wrong(str(failure), token.text, _custom_hint(token.value))]
    return CustomFieldPlaceholder(field, context), list(check_spelling(token.value, token.text, "{{CF:{}}}"))


def parse_custom_field(name: str) -> CustomField:
    """What stands after `CF:`, with the keys to look up, in order. ValueError says what is wrong with it.

    ENTITY:FIELD or ENTITY:FIELD:INDEX when it begins with an entity's name, else the whole is a field that is searched
    in all entities. Without INDEX a grouped field means its entry 1.
    """
    needs_nfc = not name.isascii()
    entity, *rest = nfc(name).split(":")
    if not name.strip():
        raise ValueError("a custom field needs a name")
    if "{" in name or "}" in name:
        raise ValueError("a custom field's name has no braces")
    if entity not in ENTITIES:
        if rest:
            raise ValueError(f"{entity!r} is not an entity of custom fields")
        keys = tuple(key for each in ENTITIES for key in (f"{each}:{entity}", f"{each}:{entity}:1"))
        return CustomField(name, keys, needs_nfc)
    match rest:
        case [field] if field.strip():
            return CustomField(name, (f"{entity}:{field}", f"{entity}:{field}:1"), needs_nfc)
        case [field, index] if field.strip() and re.fullmatch(r"[1-9][0-9]{0,8}", index):
            return CustomField(name, (f"{entity}:{field}:{index}",), needs_nfc)
        case [_, _]:
            raise ValueError("INDEX is a whole number from 1")
        case [] | [_]:
            raise ValueError("names an entity but no field of it")
        case _:
            raise ValueError("too many colons")


def check_spelling(field: str, excerpt: str, shape: str) -> Diagnostics:
    """What is wrong with a custom field that an event would have to spell in the same odd way; as a rule nothing.

    `excerpt` is how it stands in its text, `shape` how one is written there.
    """
    meant = normalize_custom_field(field)
    if meant is None or meant == nfc(field):
        return ()
    # With a colon of another kind no entity is named at all. A name may hold whatever a bank has put into it.
    other_colons = meant.count(":") != field.count(":")
    what = "looks like another custom field" if other_colons else _ODD_FIELD
    hint, code = f"write {shape.format(meant)}", RuleCode.DISGUISED_PLACEHOLDER
    make = error if other_colons else warning
    return (make(what, code=code, excerpt=excerpt, hint=hint),)


_ODD_FIELD: Final = "a custom field that no event has, unless it is spelt so"


def _custom_hint(field: str) -> str:
    meant = normalize_custom_field(field)
    try:
        parse_custom_field(meant or "")
    except ValueError:
        return _CUSTOM_HINT
    return f"write {{CF:{meant}}}"


# ----------------------------------------------------------------------------------------------------------- disguises


def _disguise_diagnostic(disguise: Disguise, families: Families) -> Diagnostic:
    """T21, with what was probably meant. An error, but for double braces, which other systems fill in."""
    what = "double braces are text, not a placeholder" if disguise.doubled else "looks like a placeholder and is text"
    odd = [sign for sign in dict.fromkeys(disguise.token) if not sign.isascii() and sign not in disguise.meant]
    if odd:
        what += f"; it has {', '.join(f'U+{ord(sign):04X} {name_of(sign, str())}'.strip() for sign in odd[:3])}"
    hint = f"write {disguise.meant}"
    missing = [event for family, event in families.items() if disguise.name and disguise.name not in _rows_of(family)]
    if missing:
        what += f"; {missing[0]} has no placeholder {{{disguise.name}}}"
        hint = f"{{{disguise.name}}} is for events of {', '.join(_families_with(disguise.name or ''))}"
    make = warning if disguise.doubled else error
    return make(what, code=RuleCode.DISGUISED_PLACEHOLDER, excerpt=disguise.token, hint=hint)


def _families_with(name: str) -> list[str]:
    return sorted({family for row in PLACEHOLDERS if row.name == name for family in row.families})


# ---------------------------------------------------------------------------------------------------------------- JSON


class _JsonState:
    """Whether a point in a JSON text is inside the quotes of a string. Grammar itself is checked by a parser (T12)."""

    _INSIDE: Final = re.compile(r'\\u[0-9A-Fa-f]{4}|\\[^u]|[^"\\]+|"|\\.{0,5}', re.DOTALL)

    def __init__(self) -> None:
        self.inside = False
        self.escaping = False

    @property
    def context(self) -> EscapeContext:
        return EscapeContext.JSON_STRING if self.inside else EscapeContext.JSON_VALUE

    def read(self, piece: str) -> None:
        self.escaping = False
        at = 0
        while at < len(piece):
            if not self.inside:
                quote = piece.find('"', at)
                if quote < 0:
                    return
                self.inside, at = True, quote + 1
                continue
            match = self._INSIDE.match(piece, at)
            if match is None:
                raise AssertionError("the expression matches any character")
            at = match.end()
            if match.group() == '"':
                self.inside = False
            # A backslash at the end, or \u with too few digits: what follows would belong to the escape.
            self.escaping = at == len(piece) and re.fullmatch(r"\\(u[0-9A-Fa-f]{0,3})?", match.group()) is not None
