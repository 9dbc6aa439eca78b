"""A template, compiled: of which events whom it writes to, by which text; and all templates as one set. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Any

from processor.domain.catalogue import Target
from processor.domain.channel import CHANNELS, Channel, ContentType, RecipientKind
from processor.domain.language import nearest_language
from processor.domain.notification import Attachment
from processor.domain.placeholders import PlaceholderType
from processor.domain.record import EventName, TemplateId
from processor.domain.value_format import ValueFormat


class Subscription(StrEnum):
    """Whether a holder without a recorded subscription gets the message."""

    OPT_OUT = "OPT_OUT"  #: Yes, until the holder unsubscribes.
    OPT_IN = "OPT_IN"  #: No, until the holder subscribes.


class EscapeContext(StrEnum):
    """Where in its document a placeholder stands, and so how its value is escaped there."""

    TEXT = "text"  #: Subject, SMS, plain text: as it is.
    JSON_STRING = "json string"  #: Between the quotes of a JSON string.
    JSON_VALUE = "json value"  #: Outside of quotes: stands for a whole JSON value, null when it is missing.
    XML = "xml"
    HTML = "html"
    URL = "url"  #: Part of the query or fragment of a webhook's address.
    URL_PATH = "url path"  #: Part of its path, which would be another resource's without the value.
    # The rest are places in an address in HTML, which `templates/html_scanner.py` finds.
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
    """A placeholder `{NAME}`, or one with a format of its own. `paths` has each family of the template's events."""

    name: str
    context: EscapeContext
    paths: Mapping[str, FieldPath]
    format: ValueFormat | None = None

    def __str__(self) -> str:
        return f"{{{self.name}}}" if self.format is None else self.format.source(self.name)


@dataclass(frozen=True, slots=True)
class CustomField:
    """A custom field as an author names it. `keys`: where to look in the event's `customFields`, first value wins.

    `keys` are in NFC. `needs_nfc`: an event may spell them in another form, with accents as characters of their own.
    """

    name: str
    keys: tuple[str, ...]
    needs_nfc: bool = False


@dataclass(frozen=True, slots=True)
class CustomFieldPlaceholder:
    """A placeholder `{CF:…}`. Its value's type is known only when the event is there."""

    field: CustomField
    context: EscapeContext

    def __str__(self) -> str:
        return f"{{CF:{self.field.name}}}"


Segment = str | NamedPlaceholder | CustomFieldPlaceholder  #: Literal text, or a placeholder.


class Operator(StrEnum):
    """How a condition compares a value. Published; what each means is in `mapping/conditions.py`."""

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
    """One condition, compiled: a comparison of one field of an event.

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
        """The text for a recipient's language: the nearest that there is (`domain/language.py`), else the top level's.

        `language` may be any text; None, and one without a text, get the top level's.
        """
        tag = self.text_tag(language)
        return self.text if tag is None else self.texts[tag]

    def text_tag(self, language: str | None) -> str | None:
        """The tag in `texts` of the text for a recipient's language; None for the top level's."""
        if language is None or not self.texts:
            return None
        tag = nearest_language(language, (self.default_locale, *self.texts))
        return tag if tag in self.texts else None


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
        by_event={event: tuple(template for template in ordered if event in template.events) for event in events},
        digest=blake2b("\x1e".join(template.content for template in ordered).encode(), digest_size=16).hexdigest(),
    )
