"""A template as mapping uses it: who is told what, of which events, by which text; and all of them as one set."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from hashlib import blake2b
from typing import Any, Final, Literal
from unicodedata import name as name_of
from unicodedata import normalize

from processor.domain.channel import CHANNELS, Channel, ContentType, RecipientKind
from processor.domain.language import nearest
from processor.domain.notification import Attachment
from processor.domain.placeholders import ENTITIES, MANUAL, PLACEHOLDERS, PlaceholderType, placeholders_of
from processor.domain.record import EventName, TemplateId
from processor.domain.value_format import (
    DATE,
    ValueFormat,
    digits_doubt,
    format_doubt,
    format_error,
    parse_format,
    suggest_format,
)
from processor.templates.disguises import Disguise, disguises, spelt_custom


class Target(StrEnum):
    """What a template is about. Published."""

    CLIENT = "CLIENT"
    GROUP = "GROUP"
    LOANS = "LOANS"
    SAVINGS = "SAVINGS"
    BACKGROUND_PROCESS = "BACKGROUND_PROCESS"
    DATA_ACCESS = "DATA_ACCESS"
    PAYMENT_ORDER = "PAYMENT_ORDER"
    ACCOUNTING = "ACCOUNTING"


class Subscription(StrEnum):
    """Whether a holder of whom nothing is recorded gets the message."""

    OPT_OUT = "OPT_OUT"  #: Yes, until it is said otherwise.
    OPT_IN = "OPT_IN"  #: No, until it is asked for.


class EscapeContext(StrEnum):
    """Where in its document a placeholder stands, and so how its value is escaped there."""

    TEXT = "text"  #: Subject, SMS, plain text: as it is.
    JSON_STRING = "json string"  #: Between the quotes of a JSON string.
    JSON_VALUE = "json value"  #: Outside of quotes: stands for a whole JSON value, null when it is missing.
    XML = "xml"
    HTML = "html"
    URL = "url"  #: Part of the query or fragment of a webhook's address.
    URL_PATH = "url path"  #: Part of its path, which would be another resource's without the value.
    # The rest are places in an address in HTML, which `html_body.py` finds.
    HTML_URL = "html url"  #: Part of an address behind what is fixed of it.
    HTML_STEP = "html step"  #: The same, a whole step of the path or the only thing in one.
    MAIL_ADDRESS = "mail address"  #: The recipient of a mailto: link.
    MAIL_ADDRESS_PART = "mail address part"  #: A part of it, before or behind a fixed `@`.
    MAIL_HEADER = "mail header"  #: The subject of a mailto: link, and its kind.
    MAIL_BODY = "mail body"  #: The body of a mailto: link.
    PHONE = "phone"  #: The number of a tel: or sms: link, or a part of it.


@dataclass(frozen=True, slots=True)
class FieldPath:
    """Where one family keeps a placeholder's value. `currencies`: paths to its currency's code, the first hit counts.

    `path` leads through the event's fields; one that begins with `recipient` through the addressee.
    """

    path: tuple[str, ...]
    type: PlaceholderType
    currencies: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class NamedPlaceholder:
    """A placeholder `{NAME}`, or one with a form of its own. `sources` has each family of the template's events."""

    name: str
    context: EscapeContext
    paths: Mapping[str, FieldPath]
    format: ValueFormat | None = None

    def __str__(self) -> str:
        return f"{{{self.name}}}" if self.format is None else self.format.written(self.name)


@dataclass(frozen=True, slots=True)
class CustomField:
    """A custom field as an author names it. `keys`: where to look in the event's `customFields`, first value wins.

    `keys` are in NFC. `has_forms`: an event may spell them otherwise, with accents as characters of their own.
    """

    name: str
    keys: tuple[str, ...]
    has_forms: bool = False


@dataclass(frozen=True, slots=True)
class CustomFieldPlaceholder:
    """A placeholder `{CF:…}`. Its value's type is known only when the event is there."""

    field: CustomField
    context: EscapeContext

    def __str__(self) -> str:
        return f"{{CF:{self.field.name}}}"


Segment = str | NamedPlaceholder | CustomFieldPlaceholder  #: Literal text, or a placeholder.


class Operator(StrEnum):
    """What a condition asks of a value. Published; what each means is in `conditions.py`."""

    EQUALS = "EQUALS"
    EQUALS_CASE_SENSITIVE = "EQUALS_CASE_SENSITIVE"
    DIFFERENT_THAN = "DIFFERENT_THAN"
    MORE_THAN = "MORE_THAN"
    LESS_THAN = "LESS_THAN"
    BETWEEN = "BETWEEN"
    ON = "ON"
    AFTER = "AFTER"
    BEFORE = "BEFORE"
    BEFORE_INCLUSIVE = "BEFORE_INCLUSIVE"
    STARTS_WITH = "STARTS_WITH"
    STARTS_WITH_CASE_SENSITIVE = "STARTS_WITH_CASE_SENSITIVE"
    IN = "IN"
    TODAY = "TODAY"
    THIS_WEEK = "THIS_WEEK"
    THIS_MONTH = "THIS_MONTH"
    THIS_YEAR = "THIS_YEAR"
    LAST_DAYS = "LAST_DAYS"
    EMPTY = "EMPTY"
    NOT_EMPTY = "NOT_EMPTY"


class OperandType(StrEnum):
    """What a value is to a condition, in the published words as far as our fields have them."""

    STRING = "STRING"
    ENUM = "ENUM"
    BOOLEAN = "BOOLEAN"  #: Of custom fields alone.
    NUMBER = "NUMBER"
    BIG_DECIMAL = "BIG_DECIMAL"
    MONEY = "MONEY"
    DATE = "DATE"
    DATE_TIME = "DATE_TIME"
    TABLE = "TABLE"


class Match(StrEnum):
    """How many of a template's conditions have to hold."""

    ALL = "ALL"
    ANY = "ANY"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition, compiled: what it asks of one field of an event.

    `field` is the placeholder's name with its place in each family, or a custom field. `operands` has them parsed for
    each kind of value that they fit; a value of another kind cannot be compared. `text` is for people.
    """

    field: CustomField | Mapping[str, FieldPath]
    operator: Operator
    operands: Mapping[OperandType, tuple[Any, ...]]
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Text:
    """Subject and body in one language. `subject` is None for all but EMAIL.

    `url` is a WEB_HOOK's address, the same in each language; None for all others.
    """

    subject: tuple[Segment, ...] | None
    body: tuple[Segment, ...]
    url: tuple[Segment, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One template, ready to be rendered. `key` is its templateKey; `name` is what streams call it.

    `text` is in `default_locale`; `texts` has the variants by language tag in lower case with `-`, as in `pt-br`.
    `recipient` is None for EVENT_STREAM and WEB_HOOK. `category` is the id of a subject area that contacts may leave,
    None for none; `attachments` are references. `trigger_days` is None for any. `content` is the file as canonical
    JSON, without samples: what a set's digest is made of. One with trigger MANUAL has the one event MANUAL, which never
    comes on a record.
    """

    id: TemplateId
    key: str
    version: int
    name: str
    type: Channel
    events: tuple[EventName, ...]
    target: Target
    recipient: RecipientKind | None
    recipient_role: str | None
    recipient_field: CustomField | None
    content_type: ContentType
    text: Text
    default_locale: str
    texts: Mapping[str, Text]
    category: str | None
    attachments: tuple[Attachment, ...]
    trigger_days: int | None
    match: Match
    conditions: tuple[Condition, ...]
    subscription: Subscription
    active: bool
    strict: bool
    content: str

    def text_for(self, language: str | None) -> Text:
        """The text for a recipient's language: the nearest that is written, see `languages.py`, else the top level's.

        `language` may be any text; None, and one that nobody has written for, get the top level's.
        """
        if language is None or not self.texts:
            return self.text
        return self.texts.get(nearest(language, (self.default_locale, *self.texts)), self.text)


@dataclass(frozen=True, slots=True)
class TemplateSet:
    """All templates of an installation, by id. `digest` is the setVersion: equal contents, equal digest."""

    templates: tuple[Template, ...]
    by_event: Mapping[EventName, tuple[Template, ...]]
    digest: str

    def for_event(self, event: EventName) -> tuple[Template, ...]:
        """The templates that name `event`, inactive ones too, by id. Empty: NO_TEMPLATE."""
        return self.by_event.get(event, ())

    def stream_events(self) -> frozenset[EventName]:
        """The events that need a stream topic: those that an active EVENT_STREAM template names."""
        return frozenset(
            event
            for template in self.templates
            if template.active and CHANNELS[template.type].is_stream
            for event in template.events
        )


def template_set(templates: Iterable[Template]) -> TemplateSet:
    """The set of `templates`, whose ids are unique. Their order, and so that of their files, changes nothing."""
    ordered = tuple(sorted(templates, key=lambda template: template.id))
    events = sorted({event for template in ordered for event in template.events})
    return TemplateSet(
        templates=ordered,
        by_event={event: tuple(one for one in ordered if event in one.events) for event in events},
        digest=blake2b("\x1e".join(one.content for one in ordered).encode(), digest_size=16).hexdigest(),
    )


# ---------------------------------------------------------------------------------------------------------- parsing

_TOKEN: Final = re.compile(
    r"\b(?P<function>FORMAT|FORMAT_DATE|IN_WORDS_[A-Z]+)\{[^{}\n]*\}"
    r"|\{\{(?P<double>[A-Z][A-Z0-9_]*|CF:[^{}\n]*)\}\}"
    r"|\{CF:(?P<custom>[^{}\n]*)\}"
    r"|\{(?P<name>[A-Z][A-Z0-9_]*)\}"
)
_PLACEHOLDER: Final = re.compile(r"\{(CF:[^{}\n]*|[A-Z][A-Z0-9_]*)\}")
_FUNCTION_BEFORE: Final = re.compile(r"\b(FORMAT(?:_DATE)?|IN_WORDS_[A-Z]+)\{?\Z", re.IGNORECASE)
_rows_of = cache(placeholders_of)


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something wrong with a text. `token` is the piece of text it is about, to find its line; may be empty.

    `nearest` holds names to compare `token`'s name with, empty when that would not help. `fatal` is False for what an
    author should look at and may mean. `rule` is that of the domain's reference, empty for that of the whole text.
    """

    what: str
    token: str
    hint: str = ""
    nearest: tuple[str, ...] = ()
    fatal: bool = True
    rule: str = ""


def parse(
    text: str,
    content: ContentType | Literal[EscapeContext.URL],
    *,
    families: Mapping[str, EventName],
    locale: str = "en",
) -> tuple[tuple[Segment, ...], tuple[Flaw, ...]]:
    """`text` cut into literals and placeholders, and all that is wrong with its placeholders. Linear in its length.

    `families` has each family of the template's events, and one of those events to name in a flaw. `locale` is the
    language that FORMAT and FORMAT_DATE write. Any brace that is not a placeholder is text, so JSON bodies need no
    escape.
    """
    segments: list[Segment] = []
    flaws: list[Flaw] = []
    json_state = _JsonState()

    def literal(piece: str) -> None:
        if piece:
            segments.append(piece)
            json_state.read(piece)
            flaws.extend(disguise_flaw(disguise, families) for disguise in disguises(piece))

    end = 0
    for match in _TOKEN.finditer(text):
        token = match.group()
        literal(text[end : match.start()])
        end = match.end()
        if match["double"]:
            # Unknown names in double braces are another system's, which fills in what we send it.
            flaws.extend(disguise_flaw(disguise, families) for disguise in disguises(token))
            segments.append(token)
            json_state.read(token)
            continue
        context = json_state.context if content is ContentType.JSON else _CONTEXTS[content]
        if flaw := _surrounded(text, match):
            flaws.append(flaw)
        if content is ContentType.JSON and json_state.escaping:
            flaws.append(Flaw("a backslash before a placeholder would swallow the value's first character", token))
        if match["function"]:
            made, flaw = _formed(match["function"], token, context, families, locale)
            segments.extend([made] if made else [])
            flaws.extend([flaw] if flaw else [])
        elif match["name"]:
            paths, flaw = field_paths(match["name"], families)
            flaws.extend([flaw] if flaw else [])
            segments.append(NamedPlaceholder(match["name"], context, paths))
            if (
                text[max(match.start() - 1, 0) : match.start()] == "$"
                and paths
                and not any(map(_is_amount, paths.values()))
            ):
                what = "a dollar sign stands before its value"
                flaws.append(Flaw(what, f"${token}", f"write {token}", fatal=False, rule="T22"))
        elif MANUAL in families:
            flaws.append(Flaw("a template that a person sends has no custom fields: there is no event", token))
        else:
            try:
                segments.append(CustomFieldPlaceholder(parse_custom_field(match["custom"]), context))
            except ValueError as error:
                flaws.append(Flaw(str(error), token, _custom_hint(match["custom"])))
            else:
                flaws.extend(disguised_field(match["custom"], token, "{{CF:{}}}"))
    literal(text[end:])
    if content is EscapeContext.URL:
        segments = list(_path_marked(segments))
    return tuple(segments), tuple(flaws)


def _path_marked(url: Iterable[Segment]) -> Iterable[Segment]:
    """`url` with the context URL_PATH for its placeholders up to the query or fragment."""
    in_path = True
    for segment in url:
        if isinstance(segment, str):
            in_path = in_path and not re.search(r"[?#]", segment)
            yield segment
        else:
            yield replace(segment, context=EscapeContext.URL_PATH) if in_path else segment


_CONTEXTS: Final[Mapping[ContentType | EscapeContext, EscapeContext]] = {
    EscapeContext.URL: EscapeContext.URL,
    ContentType.TEXT: EscapeContext.TEXT,
    ContentType.XML: EscapeContext.XML,
    ContentType.HTML: EscapeContext.HTML,
}
_CUSTOM_HINT: Final = "write {CF:FIELD}, {CF:ENTITY:FIELD} or {CF:ENTITY:FIELD:INDEX}; entities: " + ", ".join(ENTITIES)


def parse_custom_field(name: str) -> CustomField:
    """What stands after `CF:`, with the keys to look up, in order. ValueError says what is wrong with it.

    ENTITY:FIELD or ENTITY:FIELD:INDEX when it begins with an entity's name, else the whole is a field that is searched
    in all entities. Without INDEX a grouped field means its entry 1.
    """
    has_forms = not name.isascii()
    entity, *rest = nfc(name).split(":")
    if not name.strip():
        raise ValueError("a custom field needs a name")
    if "{" in name or "}" in name:
        raise ValueError("a custom field's name has no braces")
    if entity not in ENTITIES:
        if rest:
            raise ValueError(f"{entity!r} is not an entity of custom fields")
        keys = tuple(key for each in ENTITIES for key in (f"{each}:{entity}", f"{each}:{entity}:1"))
        return CustomField(name, keys, has_forms)
    match rest:
        case [field] if field.strip():
            return CustomField(name, (f"{entity}:{field}", f"{entity}:{field}:1"), has_forms)
        case [field, index] if field.strip() and re.fullmatch(r"[1-9][0-9]{0,8}", index):
            return CustomField(name, (f"{entity}:{field}:{index}",), has_forms)
        case [_, _]:
            raise ValueError("INDEX is a whole number from 1")
        case [] | [_]:
            raise ValueError("names an entity but no field of it")
        case _:
            raise ValueError("too many colons")


def nfc(text: str) -> str:
    """`text` in NFC, in which names and words are compared: a letter and its accent are one character, if there is one.

    https://www.unicode.org/reports/tr15/ . Which form is typed depends on the keyboard and the system.
    """
    return text if text.isascii() else normalize("NFC", text)


def first_placeholder(text: str) -> str | None:
    """The first placeholder in `text` as it stands there, else what looks like one (T21); None when there is none."""
    found = _PLACEHOLDER.search(text)
    return found.group() if found else next((disguise.token for disguise in disguises(text)), None)


def field_paths(name: str, families: Mapping[str, EventName]) -> tuple[Mapping[str, FieldPath], Flaw | None]:
    """Where each of `families` keeps `name`, or what is wrong with the name."""
    paths = {}
    for family, event in families.items():
        rows = _rows_of(family)
        if name not in rows:
            # A name that another event of the template has is only out of place, not misspelt.
            elsewhere = any(name in _rows_of(other) for other in families)
            what = f"{event} has no placeholder {{{name}}}" if elsewhere else f"unknown placeholder {{{name}}}"
            return {}, Flaw(f"{what} (family {family})", f"{{{name}}}", nearest=() if elsewhere else tuple(rows))
        row = rows[name]
        paths[family] = FieldPath(row.path, row.type, _currencies(row.path, row.type))
    return paths, None


def _currencies(path: tuple[str, ...], kind: PlaceholderType) -> tuple[tuple[str, ...], ...]:
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


def _formed(
    function: str, token: str, context: EscapeContext, families: Mapping[str, EventName], locale: str
) -> tuple[NamedPlaceholder | None, Flaw | None]:
    """A placeholder with its form, and what is wrong with it; None for a form that is none."""
    if function.startswith("IN_WORDS_"):
        return None, Flaw(f"{function} is not supported: numbers are not written in words", token)
    arguments = token[len(function) + 1 : -1]
    paths, flaw = field_paths(arguments.partition(",")[0], families)
    kinds = sorted({source.type for source in paths.values()})
    kind = kinds[0] if kinds else PlaceholderType.TIMESTAMP if function == DATE else PlaceholderType.MONEY
    try:
        name, value_format = parse_format(function, arguments, locale=locale)
    except ValueError as error:
        return None, Flaw(str(error), token, suggest_format(function, arguments, kind, locale=locale))
    if flaw is not None:
        return None, replace(flaw, token=name)  # as it stands in the text
    if problem := format_error(value_format, kinds):
        return None, Flaw(problem, token, suggest_format(function, arguments, kind, locale=locale))
    made = NamedPlaceholder(
        name, context, paths, value_format.in_address() if context is EscapeContext.URL else value_format
    )
    what, hint = format_doubt(value_format, kind, locale=locale)
    if not what and context in (EscapeContext.JSON_STRING, EscapeContext.JSON_VALUE, EscapeContext.XML):
        what, hint = digits_doubt(value_format, kind, locale=locale)
    return made, Flaw(what, token, hint, fatal=False, rule="T22") if what else None


def _surrounded(text: str, match: re.Match[str]) -> Flaw | None:
    """A placeholder that is one, with something around it that shows what was meant by both."""
    token = match.group()
    if (
        match["function"]
        and text[max(match.start() - 1, 0) : match.start()] == "{"
        and text[match.end() : match.end() + 1] == "}"
    ):
        return Flaw("the braces around it are text", f"{{{token}}}", f"write {token}", rule="T21")
    if match["name"] and (function := _FUNCTION_BEFORE.search(text, max(match.start() - 40, 0), match.start())):
        written = f"{function.group()}{token}"
        meant = f"write {function[1].upper()}{{{match['name']},…}}"
        return Flaw("what stands before the brace is text", written, meant, rule="T21")
    return None


def disguise_flaw(disguise: Disguise, families: Mapping[str, EventName]) -> Flaw:
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
    return Flaw(what, disguise.token, hint, fatal=not disguise.doubled, rule="T21")


def _is_amount(source: FieldPath) -> bool:
    return source.type in (PlaceholderType.MONEY, PlaceholderType.DECIMAL, PlaceholderType.INTEGER)


def _families_with(name: str) -> list[str]:
    return sorted({family for row in PLACEHOLDERS if row.name == name for family in row.families})


def disguised_field(field: str, token: str, shape: str) -> tuple[Flaw, ...]:
    """What is wrong with a custom field that an event would have to spell in the same odd way; as a rule nothing.

    `token` is how it stands in its text, `shape` how one is written there.
    """
    meant = spelt_custom(field)
    if meant is None or meant == nfc(field):
        return ()
    # With a colon of another kind no entity is named at all. A name may hold whatever a bank has put into it.
    fatal = meant.count(":") != field.count(":")
    what = "looks like another custom field" if fatal else "a custom field that no event has, unless it is spelt so"
    return (Flaw(what, token, f"write {shape.format(meant)}", fatal=fatal, rule="T21"),)


def _custom_hint(field: str) -> str:
    meant = spelt_custom(field)
    try:
        parse_custom_field(meant or "")
    except ValueError:
        return _CUSTOM_HINT
    return f"write {{CF:{meant}}}"


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
