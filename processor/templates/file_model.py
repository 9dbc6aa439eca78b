"""A template file as its author writes it: fields, their types, and the JSON Schema of both."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, model_validator

from processor.domain.catalogue import EVENTS, Target
from processor.domain.channel import Channel, RecipientKind
from processor.domain.placeholders import MANUAL
from processor.domain.template import Match, Operator, Subscription
from processor.mapping.notification import attachment_href
from processor.templates.diagnostics import whole_number
from processor.templates.webhook import Authorization, RequestType

VERSION_LIMIT: Final = 2**31 - 1  # a status carries it as Avro's int
ID_PATTERN: Final = "[a-z0-9][a-z0-9-]{0,62}"


class Section(BaseModel):
    """A table of the file: what is not named here is unknown, and nothing is converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ExpectedSection(Section):
    """What a sample expects; None for what it does not compare."""

    subject: str | None = None
    body: str | None = None
    destination: str | None = None
    state: str | None = None


class SampleSection(Section):
    """One `[[sample]]`. `subscribed`: whether the event's holder is, whatever the template's option."""

    name: str
    event: str
    subscribed: bool = True
    expected: ExpectedSection = ExpectedSection()


class AttachmentSection(Section):
    """One `[[attachment]]`. `href` is never empty where it is left out."""

    id: str
    name: str
    content_type: str
    file_size: int
    file_name: str
    href: str = ""

    @model_validator(mode="before")
    @classmethod
    def _with_href(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and "href" not in raw and isinstance(raw.get("id"), str):
            return {**raw, "href": attachment_href(raw["id"])}
        return raw


class LocaleSection(Section):
    """One `[locale.TAG]`: the texts in another language."""

    subject: str | None = None
    body: str | None = None
    body_file: str | None = None


class WebhookSection(Section):
    """The `[webhook]`."""

    url: str | None = None
    request_type: str = RequestType.POST.value
    headers: dict[str, str] = {}
    authorization: str = Authorization.NONE.value
    username: str | None = None
    password_env: str | None = None


class ConditionSection(Section):
    """One `[[condition]]`."""

    field: str | None = None
    operator: str | None = None
    value: Any = None
    second_value: Any = None
    values: list[Any] | None = None

    @property
    def operands(self) -> dict[str, list[Any]]:
        """The operands that are there, by name."""
        single = {"value": self.value, "second_value": self.second_value}
        operands = {name: [value] for name, value in single.items() if value is not None}
        return operands if self.values is None else {**operands, "values": self.values}

    def canonical(self) -> dict[str, Any]:
        """What it says, whatever TOML types its operands have."""
        operands = {name: [operand_text(value) for value in values] for name, values in self.operands.items()}
        return {"field": self.field, "operator": self.operator, **operands}


class TemplateFile(Section):
    """The fields of a file.

    What is None and must not be has a diagnostic of its own, so that all else can be checked in the same go.
    """

    id: str | None = None
    key: str | None = None
    version: int | None = None
    name: str | None = None
    type: str | None = None
    event: str | list[str] | None = None
    target: str | None = None
    recipient: str | None = None
    recipient_role: str | None = None
    recipient_field: str | None = None
    subject: str | None = None
    body: str | None = None
    body_file: str | None = None
    content_type: str | None = None
    webhook: WebhookSection | None = None
    category: str | None = None
    attachment: list[AttachmentSection] = []
    trigger: str = "AUTOMATIC"
    trigger_days: int | None = None
    match: str = Match.ALL.value
    condition: list[ConditionSection] = []
    subscription: str | None = None
    active: bool = True
    strict: bool = False
    default_locale: str = "en"
    locale: dict[str, LocaleSection] = {}
    sample: list[SampleSection] = []

    @property
    def events(self) -> list[str]:
        """The names under `event`, whether one or a list."""
        return [self.event] if isinstance(self.event, str) else self.event or []


REQUIRED: Final = ("id", "version", "name", "type", "event", "target", "subscription")

CLOSED_LISTS: Final[Mapping[str, Iterable[str]]] = {  # field -> the words it may be
    "type": Channel,
    "target": Target,
    "recipient": RecipientKind,
    "subscription": Subscription,
    "trigger": ("AUTOMATIC", MANUAL),
    "match": Match,
}

# Fields of the domain that no template can use yet. Named here so that nobody looks for a misspelling.
NOT_YET: Final = ("ordered",)

ARRAYS: Final[Mapping[str, type[Section]]] = {  # field -> what each of its tables is
    "attachment": AttachmentSection,
    "condition": ConditionSection,
    "sample": SampleSection,
}


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a template file, by which editors complete and check it.

    It knows shapes and words; what belongs together only `processor check` knows.
    """
    schema = TemplateFile.model_json_schema()
    for section in (schema, *schema["$defs"].values()):
        section.pop("description", None)  # for readers of this module
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Template"
    schema["required"] = list(REQUIRED)
    properties = schema["properties"]
    for name, words in CLOSED_LISTS.items():
        properties[name] = _enum(words)
    names = {"enum": [*EVENTS, MANUAL]}
    properties["event"] = {"anyOf": [names, {"type": "array", "items": names, "minItems": 1, "uniqueItems": True}]}
    properties["id"] = {"type": "string", "pattern": f"^{ID_PATTERN}$"}
    properties["version"] = {"type": "integer", "minimum": 1, "maximum": VERSION_LIMIT}
    condition = schema["$defs"][ConditionSection.__name__]["properties"]
    condition["operator"] = _enum(Operator)
    webhook = schema["$defs"][WebhookSection.__name__]["properties"]
    webhook["request_type"], webhook["authorization"] = _enum(RequestType), _enum(Authorization)
    return schema


def _enum(words: Iterable[str]) -> dict[str, list[str]]:
    return {"enum": [str(word) for word in words]}


@dataclass(frozen=True, slots=True)
class TomlFloat:
    """A TOML number with a point, as it is written: a binary float would change it."""

    text: str


def operand_text(value: Any) -> str | None:
    """An operand of a condition as text, whichever of TOML's types it has; None for one that cannot be compared."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return whole_number(value)
        case TomlFloat(text):
            return text.replace("_", "")
        case date():  # and a date with its time
            return value.isoformat()
        case _:
            return None
