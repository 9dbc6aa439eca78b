"""A template file as its author writes it: fields, their types, and the JSON Schema of both."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

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

    subject: str | None = Field(default=None, description="The subject; left out, it is not compared.")
    body: str | None = Field(default=None, description="The body; left out, it is not compared.")
    destination: str | None = Field(default=None, description="The address or number; left out, it is not compared.")
    state: str | None = Field(
        default=None, description="QUEUED or FAILED, for a stream event SENT; left out, it is not compared."
    )


class SampleSection(Section):
    """One `[[sample]]`. `subscribed`: whether the event's holder is, whatever the template's option."""

    name: str = Field(description="What `check` and `preview --sample` call it.")
    event: str = Field(description="File of one event in JSON, in the folder of the templates.")
    subscribed: bool = Field(
        default=True, description="Whether the holder is subscribed, whatever the template's `subscription`."
    )
    expected: ExpectedSection = Field(
        default=ExpectedSection(),
        description="What the message has; left out with `subscribed = false`, where there is none.",
    )


class AttachmentSection(Section):
    """One `[[attachment]]`. `href` is never empty where it is left out."""

    id: str = Field(description="Its id, as in ATT-1150-0093-2201.")
    name: str = Field(description="Its name.")
    content_type: str = Field(description="Its media type.")
    file_size: int = Field(description="Its size in bytes.")
    file_name: str = Field(description="The name of its file.")
    href: str = Field(default="", description="Where it is found; left out, it is made of the id.")

    @model_validator(mode="before")
    @classmethod
    def _with_href(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and "href" not in raw and isinstance(raw.get("id"), str):
            return {**raw, "href": attachment_href(raw["id"])}
        return raw


class LocaleSection(Section):
    """One `[locale.TAG]`: the texts in another language."""

    subject: str | None = Field(default=None, description="The subject in this language.")
    body: str | None = Field(default=None, description="The body in this language.")
    body_file: str | None = Field(default=None, description="A UTF-8 file with it, instead of `body`.")


class WebhookSection(Section):
    """The `[webhook]`."""

    url: str | None = Field(default=None, description="The address. A placeholder may stand behind the host only.")
    request_type: str = Field(default=RequestType.POST.value, description="The method.")
    headers: dict[str, str] = Field(default={}, description="Headers that are the same for all messages.")
    authorization: str = Field(default=Authorization.NONE.value, description="How the caller is known.")
    username: str | None = Field(default=None, description="The user of BASIC_AUTHORIZATION.")
    password_env: str | None = Field(default=None, description="The environment variable that holds its password.")


class ConditionSection(Section):
    """One `[[condition]]`."""

    field: str | None = Field(default=None, description="A placeholder's name without braces, or a custom field, CF:….")
    operator: str | None = Field(default=None, description="How it is compared.")
    value: Any = Field(default=None, description="The operand of most operators.")
    second_value: Any = Field(default=None, description="The upper end of BETWEEN.")
    values: list[Any] | None = Field(default=None, description="The operands of IN.")

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

    id: str | None = Field(default=None, description="Its id, 1 to 63 of a-z, 0-9 and -, which the file is called by.")
    key: str | None = Field(
        default=None, description="Its encoded key, 32 hexadecimal digits; left out, it is made of the id."
    )
    version: int | None = Field(
        default=None, description="Raised with each change but of comments, samples and values of headers."
    )
    name: str | None = Field(default=None, description="Its name, for people; the title of a TASK.")
    type: str | None = Field(default=None, description="The channel.")
    event: str | list[str] | None = Field(
        default=None, description="The event or events that it makes messages of; MANUAL with trigger MANUAL."
    )
    target: str | None = Field(default=None, description="What the events are about.")
    recipient: str | None = Field(default=None, description="Whom an EMAIL, SMS or TASK is for.")
    recipient_role: str | None = Field(default=None, description="The role, of recipient GROUP_ROLE.")
    recipient_field: str | None = Field(
        default=None, description="The custom field with the address, of recipient CUSTOM_FIELD."
    )
    subject: str | None = Field(default=None, description="The subject of an EMAIL.")
    body: str | None = Field(default=None, description="The text.")
    body_file: str | None = Field(default=None, description="A UTF-8 file with the text, instead of `body`.")
    content_type: str | None = Field(
        default=None,
        description="The media type of the body; left out, an EMAIL is text/html.",
    )
    webhook: WebhookSection | None = Field(default=None, description="How a WEB_HOOK is called.")
    category: str | None = Field(default=None, description="The id of its category, which a contact may have left.")
    attachment: list[AttachmentSection] = Field(default=[], description="Files that go with an EMAIL.")
    trigger: str = Field(default="AUTOMATIC", description="Whether an event makes the message, or a person sends it.")
    trigger_days: int | None = Field(
        default=None, description="Days until a REPAYMENT_REMINDER's instalment is due, negative behind it."
    )
    match: str = Field(default=Match.ALL.value, description="Whether all of the conditions have to be true, or any.")
    condition: list[ConditionSection] = Field(default=[], description="What has to be true of the event.")
    subscription: str | None = Field(
        default=None, description="Whether holders get it unless they opted out, or only if they opted in."
    )
    active: bool = Field(default=True, description="False switches it off, in a new version.")
    strict: bool = Field(
        default=False, description="Whether a missing value fails the message, instead of being left empty."
    )
    default_locale: str = Field(default="en", description="The language of the text above, a tag of BCP 47.")
    locale: dict[str, LocaleSection] = Field(default={}, description="The same text in other languages, by tag.")
    sample: list[SampleSection] = Field(default=[], description="Events beside what the template makes of them.")

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
        _narrow(properties, name, _enum(words))
    names = {"enum": [*EVENTS, MANUAL]}
    several = {"type": "array", "items": names, "minItems": 1, "uniqueItems": True}
    _narrow(properties, "event", {"anyOf": [names, several]})
    _narrow(properties, "id", {"type": "string", "pattern": f"^{ID_PATTERN}$"})
    _narrow(properties, "version", {"type": "integer", "minimum": 1, "maximum": VERSION_LIMIT})
    _narrow(schema["$defs"][ConditionSection.__name__]["properties"], "operator", _enum(Operator))
    webhook = schema["$defs"][WebhookSection.__name__]["properties"]
    _narrow(webhook, "request_type", _enum(RequestType))
    _narrow(webhook, "authorization", _enum(Authorization))
    return schema


def _narrow(properties: dict[str, Any], name: str, values: dict[str, Any]) -> None:
    """Have the property take `values` instead of any text or number."""
    kept = ("default", "description") if properties[name].get("default") is not None else ("description",)
    properties[name] = {**{key: properties[name][key] for key in kept}, **values}


def _enum(words: Iterable[str]) -> dict[str, Any]:
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
