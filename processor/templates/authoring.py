"""`processor templates`: what there is, the placeholders of an event, a new template to begin with, a JSON Schema."""

import json
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table
from rich.text import Text as Cell

from processor.cli.event_arguments import MASKED
from processor.domain.catalogue import EVENTS, EventRow, Target, nearest_event
from processor.domain.channel import CHANNELS, AddressKind, Channel, ContentType, RecipientKind
from processor.domain.placeholders import SECRETS, placeholders_of
from processor.domain.record import EventName
from processor.domain.template import EscapeContext, NamedPlaceholder, Subscription, Template
from processor.domain.text import closest_match, did_you_mean, truncate_line
from processor.errors import UsageError
from processor.mapping.map import Draft, draft, event_type
from processor.mapping.recipient import holder_of
from processor.mapping.render import Scope, value_of
from processor.registry.schema_files import load_schemas
from processor.settings import Settings
from processor.shipped import sample
from processor.templates.load import (
    BODY_LIMIT_BYTES,
    ID_HINT,
    SHIPPED,
    is_template_id,
    json_schema,
    load_templates,
    require_usable,
)
from processor.templates.text import field_paths
from processor.wire.decode import Fault, event_of_json
from processor.wire.schema import Schemas

FINDINGS: Final = 1
_SAMPLE_LIMIT_CHARACTERS: Final = 80

W = TypeVar("W", bound=str)


def list_templates(settings: Settings, *, json_output: bool) -> int:
    """Print all templates that can be rendered, by id; 1 when others cannot."""
    loaded = load_templates(settings, load_schemas(settings.schemas_dir))
    ordered = sorted(loaded.renderable, key=lambda one: one.id)
    broken = loaded.files - len(ordered)
    if json_output:
        rows = [_row(one) for one in ordered]
        digest = None if loaded.templates is None else loaded.templates.digest
        told = {"directory": str(loaded.directory), "setVersion": digest, "broken": broken, "templates": rows}
        sys.stdout.write(json.dumps(told) + "\n")
    else:
        table = Table(title=f"Templates in {loaded.directory}", title_justify="left")
        for name in ("id", "version", "type", "events", "to", "state"):
            table.add_column(name, overflow="fold")
        for one in ordered:
            row = _row(one)
            to = row["recipient"] or ""
            state = "" if one.active else "switched off"
            table.add_row(*map(Cell, (one.id, str(one.version), row["type"], ", ".join(one.events), to, state)))
        screen = Console()
        screen.print(table)
        if broken:
            screen.print(Cell(f"{broken} more cannot be used: `processor check` says why"))
    return FINDINGS if broken else 0


def _row(one: Template) -> dict[str, Any]:
    return {
        "id": one.id,
        "version": one.version,
        "name": one.name,
        "type": one.type.value,
        "events": list(one.events),
        "target": one.target.value,
        "recipient": one.recipient and one.recipient.value,
        "subscription": one.subscription.value,
        "active": one.active,
        "conditions": [str(condition) for condition in one.conditions],
        "locales": [one.default_locale, *one.texts],
        "templateKey": one.key,
    }


def list_placeholders(settings: Settings, *, event: str, json_output: bool) -> int:
    """Print what a template of `event` may name, with type, meaning, and the value that the event's sample has."""
    row = EVENTS[_known(event)]
    scope = _sample_scope(row.event, load_schemas(settings.schemas_dir), settings)
    families = {row.family: row.event}
    rows = []
    for name, placeholder in sorted(placeholders_of(row.family).items()):
        paths, _ = field_paths(name, families)
        value = value_of(NamedPlaceholder(name, EscapeContext.TEXT, paths), scope)
        if placeholder.path in SECRETS and value is not None:
            value = MASKED
        rows.append(
            {
                "name": name,
                "type": placeholder.type.value,
                "meaning": placeholder.meaning.removeprefix("(D) "),
                "sample": value,
            }
        )
    if json_output:
        sys.stdout.write(json.dumps({"event": row.event, "family": row.family, "placeholders": rows}) + "\n")
        return 0
    table = Table(title=f"Placeholders of {row.event} (family {row.family})", title_justify="left")
    for column in ("name", "type", "meaning", "in the sample"):
        table.add_column(column, overflow="fold")
    for one in rows:
        shown = (
            Cell("no value", style="dim")
            if one["sample"] is None
            else Cell(truncate_line(str(one["sample"]), _SAMPLE_LIMIT_CHARACTERS))
        )
        table.add_row(Cell(f"{{{one['name']}}}"), one["type"], Cell(str(one["meaning"])), shown)
    screen = Console()
    screen.print(table)
    screen.print(Cell("and custom fields: {CF:FIELD}, {CF:ENTITY:FIELD}, {CF:ENTITY:FIELD:INDEX}"))
    return 0


def print_schema() -> int:
    """Print the JSON Schema of template files, for editors."""
    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
    return 0


def new_template(settings: Settings, *, template_id: str, event: str, channel: str) -> int:
    """Write a template that loads without a finding, and the event of its sample, into the templates' directory.

    Nothing that is there is written over. Raises UsageError when it is, or when `event` is not told by `channel`.
    """
    directory = settings.templates_dir
    if directory is None:
        hint = "name a folder of your own by PROCESSOR_TEMPLATES_DIR"
        raise UsageError("the shipped templates are not yours to add to", hint=hint)
    if not is_template_id(template_id):  # before it is part of any path
        raise UsageError(f"id {template_id!r} is not an id", hint=ID_HINT)
    row, kind = EVENTS[_known(event)], _word(channel, Channel)
    channels = settings.channels.of(row)
    if kind not in channels:
        raise UsageError(f"{event} is not told by {kind}", hint=f"its channels: {', '.join(sorted(channels))}")
    schemas = load_schemas(settings.schemas_dir)
    path, beside = directory / f"{template_id}.toml", directory / "events" / f"{row.event}.json"
    try:
        (directory / "events").mkdir(parents=True, exist_ok=True)
        if not beside.exists():
            beside.write_text(json.dumps(sample(row.event), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        text = _with_sample(_beginning(template_id, row, kind), template_id, beside.read_bytes(), settings, schemas)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UsageError(f"{path} is there already", hint="choose another id") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", hint="check PROCESSOR_TEMPLATES_DIR") from error
    sys.stdout.write(f"{path}\n")
    return 0


def _beginning(template_id: str, row: EventRow, channel: Channel) -> str:
    """A template without a sample, for what the event's own sample is about."""
    told = sample(row.event)
    fields: dict[str, Any] = {
        "id": template_id,
        "version": 1,
        "name": template_id.replace("-", " ").capitalize(),
        "type": channel.value,
        "event": row.event,
        "target": _target(row, told).value,
    }
    spec = CHANNELS[channel]
    if spec.is_for_staff:
        fields["recipient"] = RecipientKind.CREDIT_OFFICER.value
    elif spec.recipients:
        fields["recipient"] = (RecipientKind.CLIENT if "client" in told else RecipientKind.GROUP).value
    if spec.default_content is None:
        fields["content_type"] = ContentType.JSON.value
    fields["subscription"] = Subscription.OPT_OUT.value
    if spec.has_subject:
        fields["subject"] = "About {EVENT_ID}"
    fields["body"] = spec.starter_body
    text = "".join(f"{name} = {_toml(value)}\n" for name, value in fields.items())
    return text + (f"\n[webhook]\nurl = {_toml(_URL)}\n" if spec.address is AddressKind.URL else "")


def _target(row: EventRow, told: Mapping[str, Any]) -> Target:
    """What the event's sample is about, where events of its name may be about more than one thing."""
    if row.target is Target.LOANS and told["account"]["kind"] == "DEPOSIT":
        return Target.SAVINGS
    return Target.GROUP if row.target is Target.CLIENT and "client" not in told else row.target


_URL: Final = "https://hooks.example.com/events/{EVENT_ID}"


def _with_sample(text: str, template_id: str, event: bytes, settings: Settings, schemas: Schemas) -> str:
    """The template with a sample that expects what it gives now, or a comment why it gives nothing.

    UsageError for an id that is none, and for a file beside it that is no event.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"{template_id}.toml").write_text(text, encoding="utf-8")
        loaded = load_templates(settings.model_copy(update={"templates_dir": Path(folder)}), schemas)
    (template,) = require_usable(loaded).templates
    read = event_of_json(event, schemas)
    if isinstance(read, Fault):
        raise UsageError(
            f"events/{template.events[0]}.json is no event: {read.detail}", hint="mend it, or take it away"
        )
    made = draft(
        template,
        read,
        time_zone=ZoneInfo(settings.time_zone),
        stream=event_type(read.tenant, read.name),
        limit_characters=BODY_LIMIT_BYTES,
        sms_region=settings.sms.region,
    )
    if not isinstance(made, Draft):  # as where nobody is the credit officer
        return f"{text}\n# Its event makes no message: {made.reason}: {made.detail}\n"
    expected = {
        "subject": made.rendered.subject,
        "body": made.rendered.body,
        "destination": made.destination,
        "state": made.state.value,
    }
    lines = [f"expected.{name} = {_toml(value)}" for name, value in expected.items() if value is not None]
    head = ["", "[[sample]]", 'name = "as it comes"', f"event = {_toml(f'events/{read.name}.json')}"]
    return text + "\n".join([*head, *lines, ""])


def _toml(value: Any) -> str:
    """A text or whole number as TOML has it: its basic strings are JSON's, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _known(event: str) -> EventName:
    """UsageError with the nearest for a name that is none."""
    if event in EVENTS:
        return EventName(event)
    near = nearest_event(event)
    hint = did_you_mean(near, otherwise=f"each event is a file in {SHIPPED / 'events'}")
    raise UsageError(f"{event!r} is no event", hint=hint)


def _word(given: str, known: Iterable[W]) -> W:
    """The one of `known` that is spelt so. UsageError with the nearest for none."""
    words = {str(one): one for one in known}
    if given in words:
        return words[given]
    near = closest_match(given.upper(), words)
    raise UsageError(
        f"{given!r} is none of {len(words)} known words",
        hint=did_you_mean(near, otherwise=f"one of: {', '.join(words)}"),
    )


def _sample_scope(event: EventName, schemas: Schemas, settings: Settings) -> Scope:
    """What placeholders read in the sample of `event`; the addressee is its holder."""
    read = event_of_json(sample(event), schemas)
    if isinstance(read, Fault):
        raise UsageError(f"the sample of {event} is no event with these schemas: {read.detail}", hint="see the schemas")
    holder = holder_of(read)
    fields = {**read.fields, "recipient": None if holder is None else holder.fields}
    return Scope(read.family, fields, ZoneInfo(settings.time_zone))
