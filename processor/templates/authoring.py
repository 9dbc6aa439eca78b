"""What authors get to begin with: the placeholders of an event with sample values, and a starter template."""

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

from processor.domain.catalogue import EVENTS, EventRow, Target, nearest_event
from processor.domain.channel import CHANNELS, AddressKind, Channel, ContentType, RecipientKind
from processor.domain.placeholders import SECRETS, VALUE_MASK, placeholders_of
from processor.domain.record import EventName
from processor.domain.template import EscapeContext, NamedPlaceholder, Subscription
from processor.domain.text import closest_match, did_you_mean
from processor.errors import UsageError
from processor.mapping.context import DraftRules
from processor.mapping.draft import Draft, draft_template
from processor.mapping.recipient import holder_of
from processor.mapping.render import plain_text
from processor.mapping.values import Scope
from processor.settings import Settings
from processor.shipped import sample
from processor.templates.file_checks import ID_HINT, is_template_id
from processor.templates.load import SHIPPED, load_templates, require_usable
from processor.templates.text import field_paths
from processor.wire.decode import DecodeFailure, event_from_json
from processor.wire.reader_schemas import Schemas

_WEBHOOK_URL: Final = "https://hooks.example.com/events/{EVENT_ID}"

W = TypeVar("W", bound=str)


@dataclass(frozen=True, slots=True)
class PlaceholderSample:
    """A placeholder that templates of an event may use; `sample` is its value in the shipped sample of the event."""

    name: str
    type: str
    meaning: str
    sample: str | None

    def as_json(self) -> dict[str, Any]:
        """One object for machines."""
        return asdict(self)


def parse_event(name: str) -> EventName:
    """The event of that name. UsageError with the nearest for an unknown one."""
    if name in EVENTS:
        return EventName(name)
    hint = did_you_mean(nearest_event(name), otherwise=f"each event is a file in {SHIPPED / 'events'}")
    raise UsageError(f"{name!r} is no event", hint=hint)


def placeholder_samples(event: EventName, schemas: Schemas, settings: Settings) -> Iterator[PlaceholderSample]:
    """What a template of `event` may name, by name. Secrets are masked."""
    row = EVENTS[event]
    scope = _sample_scope(event, schemas, settings)
    for name, placeholder in sorted(placeholders_of(row.family).items()):
        paths, _ = field_paths(name, {row.family: event})
        value = plain_text(NamedPlaceholder(name, EscapeContext.TEXT, paths), scope)
        if placeholder.path in SECRETS and value is not None:
            value = VALUE_MASK
        yield PlaceholderSample(name, placeholder.type.value, placeholder.meaning, value)


def _sample_scope(event: EventName, schemas: Schemas, settings: Settings) -> Scope:
    """What placeholders read in the sample of `event`; the recipient is its holder."""
    decoded = event_from_json(sample(event), schemas)
    if isinstance(decoded, DecodeFailure):
        what = f"the sample of {event} is no event with these schemas: {decoded.detail}"
        raise UsageError(what, hint="see the schemas")
    holder = holder_of(decoded)
    fields = {**decoded.fields, "recipient": None if holder is None else holder.fields}
    return Scope(decoded.family, fields, ZoneInfo(settings.time_zone))


def write_starter(
    settings: Settings, schemas: Schemas, *, template_id: str, event_name: str, channel_name: str
) -> Path:
    """Write a template that loads without a diagnostic, and the event of its sample, into the templates' directory.

    Gives the template's path. Nothing that exists is overwritten. Raises UsageError when it exists, or where the event
    has no such channel.
    """
    directory = settings.templates_dir
    if directory is None:
        hint = "name a folder of your own by PROCESSOR_TEMPLATES_DIR"
        raise UsageError("the shipped templates are not yours to add to", hint=hint)
    if not is_template_id(template_id):  # before it is part of any path
        raise UsageError(f"id {template_id!r} is not an id", hint=ID_HINT)
    row, channel = EVENTS[parse_event(event_name)], _parse_word(channel_name, Channel)
    channels = settings.channels.of(row)
    if channel not in channels:
        raise UsageError(f"{row.event} is not sent by {channel}", hint=f"its channels: {', '.join(sorted(channels))}")
    path, event_path = directory / f"{template_id}.toml", directory / "events" / f"{row.event}.json"
    try:
        (directory / "events").mkdir(parents=True, exist_ok=True)
        if not event_path.exists():
            event_path.write_text(json.dumps(sample(row.event), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        starter = _starter(template_id, row, channel)
        text = _add_sample(starter, template_id, event_path.read_bytes(), settings, schemas)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UsageError(f"{path} is there already", hint="choose another id") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", hint="check PROCESSOR_TEMPLATES_DIR") from error
    return path


def _starter(template_id: str, row: EventRow, channel: Channel) -> str:
    """A template without a sample, for what the event's own sample is about."""
    event = sample(row.event)
    fields: dict[str, Any] = {
        "id": template_id,
        "version": 1,
        "name": template_id.replace("-", " ").capitalize(),
        "type": channel.value,
        "event": row.event,
        "target": _target(row, event).value,
    }
    spec = CHANNELS[channel]
    if spec.is_for_staff:
        fields["recipient"] = RecipientKind.CREDIT_OFFICER.value
    elif spec.recipients:
        fields["recipient"] = (RecipientKind.CLIENT if "client" in event else RecipientKind.GROUP).value
    if spec.default_content is None:
        fields["content_type"] = ContentType.JSON.value
    fields["subscription"] = Subscription.OPT_OUT.value
    if spec.has_subject:
        fields["subject"] = "About {EVENT_ID}"
    fields["body"] = spec.starter_body
    text = "".join(f"{name} = {_toml(value)}\n" for name, value in fields.items())
    return text + (f"\n[webhook]\nurl = {_toml(_WEBHOOK_URL)}\n" if spec.address is AddressKind.URL else "")


def _target(row: EventRow, event: Mapping[str, Any]) -> Target:
    """What `event` is about, where events of its name may be about more than one thing."""
    if row.target is Target.LOANS and event["account"]["kind"] == "DEPOSIT":
        return Target.SAVINGS
    return Target.GROUP if row.target is Target.CLIENT and "client" not in event else row.target


def _add_sample(text: str, template_id: str, event: bytes, settings: Settings, schemas: Schemas) -> str:
    """The template with a sample that expects what it gives now, or a comment why it gives nothing.

    UsageError for an `event` file that holds no event.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"{template_id}.toml").write_text(text, encoding="utf-8")
        loaded = load_templates(settings.model_copy(update={"templates_dir": Path(folder)}), schemas)
    (template,) = require_usable(loaded).templates
    decoded = event_from_json(event, schemas)
    if isinstance(decoded, DecodeFailure):
        what = f"events/{template.events[0]}.json is no event: {decoded.detail}"
        raise UsageError(what, hint="fix it, or remove it")
    rules = DraftRules(time_zone=ZoneInfo(settings.time_zone), sms_region=settings.sms.region)
    message = draft_template(template, decoded, rules)
    if not isinstance(message, Draft):  # as where nobody is the credit officer
        return f"{text}\n# Its event makes no message: {message.reason}: {message.detail}\n"
    expected = {
        "subject": message.rendered.subject,
        "body": message.rendered.body,
        "destination": message.destination,
        "state": message.state.value,
    }
    lines = [f"expected.{name} = {_toml(value)}" for name, value in expected.items() if value is not None]
    head = ["", "[[sample]]", 'name = "as it comes"', f"event = {_toml(f'events/{decoded.name}.json')}"]
    return text + "\n".join([*head, *lines, ""])


def _toml(value: Any) -> str:
    """A text or whole number as TOML has it: its basic strings are JSON's, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _parse_word(text: str, words: Iterable[W]) -> W:
    """The one of `words` that is spelt so. UsageError with the nearest for none."""
    by_spelling = {str(word): word for word in words}
    if text in by_spelling:
        return by_spelling[text]
    near = closest_match(text.upper(), by_spelling)
    raise UsageError(
        f"{text!r} is none of {len(by_spelling)} known words",
        hint=did_you_mean(near, otherwise=f"one of: {', '.join(by_spelling)}"),
    )
