"""`processor templates`: the templates there are, the placeholders of an event, a starter template, a JSON Schema."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from processor.cli import output
from processor.cli.output import FINDINGS_EXIT_CODE, JsonOption, print_json, print_line
from processor.domain.text import truncate_line
from processor.errors import UsageError
from processor.screen import Column, Listing, Screen

if TYPE_CHECKING:
    from processor.domain.template import Template
    from processor.settings import Settings

EXAMPLE: Final = "processor templates --new overdue-text --event ACCOUNT_IN_ARREARS --type SMS"

_SAMPLE_LIMIT_CHARACTERS: Final = 80


def command(
    placeholders: Annotated[
        str | None, typer.Option(metavar="EVENT", help="What a template of this event may name, with sample values.")
    ] = None,
    new: Annotated[str | None, typer.Option(metavar="ID", help="Write a starter template, and its sample.")] = None,
    event: Annotated[str | None, typer.Option(metavar="EVENT", help="Of the new template.")] = None,
    channel: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Of the new template.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="The JSON Schema of template files, for editors.")] = False,
    as_json: JsonOption = False,
) -> int:
    """List the templates, or an event's placeholders; start a new one.

    No connection is opened.
    """
    if [placeholders is not None, new is not None, schema].count(True) > 1:
        raise UsageError("--placeholders, --new and --schema exclude each other", hint="keep one of them")
    if (new is None) != (event is None) or (new is None) != (channel is None):
        raise UsageError("--new, --event and --type go together", hint="--new ID --event EVENT --type TYPE")
    if as_json and (new is not None or schema):
        raise UsageError("--json is for lists", hint="leave it out")
    if schema:
        return _print_schema()
    settings = output.load_quiet_settings()
    if placeholders is not None:
        return _list_placeholders(settings, placeholders, as_json=as_json)
    if new is not None and event is not None and channel is not None:
        return _write_new(settings, new, event=event, channel=channel)
    return _list_templates(settings, as_json=as_json)


def _print_schema() -> int:
    from processor.templates.file_model import json_schema

    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
    return 0


def _write_new(settings: "Settings", template_id: str, *, event: str, channel: str) -> int:
    from processor.registry.schema_files import load_schemas
    from processor.templates.authoring import write_starter

    schemas = load_schemas(settings.schemas_dir)
    path = write_starter(settings, schemas, template_id=template_id, event_name=event, channel_name=channel)
    print_line(str(path))
    return 0


def _list_placeholders(settings: "Settings", event: str, *, as_json: bool) -> int:
    from processor.domain.catalogue import EVENTS
    from processor.registry.schema_files import load_schemas
    from processor.templates.authoring import parse_event, placeholder_samples

    row = EVENTS[parse_event(event)]
    samples = [*placeholder_samples(row.event, load_schemas(settings.schemas_dir), settings)]
    if as_json:
        placeholders = [placeholder.as_json() for placeholder in samples]
        print_json({"event": row.event, "family": row.family, "placeholders": placeholders})
        return 0
    columns = (Column("name"), Column("type"), Column("meaning", prose=True), Column("in the sample", prose=True))
    listing = Listing(columns, title=f"Placeholders of {row.event} (family {row.family})")
    for placeholder in samples:
        sample = placeholder.sample
        value = "no value" if sample is None else truncate_line(sample, _SAMPLE_LIMIT_CHARACTERS)
        listing.add(f"{{{placeholder.name}}}", placeholder.type, placeholder.meaning, value)
    screen = Screen()
    screen.listing(listing)
    screen.line("and custom fields: {CF:FIELD}, {CF:ENTITY:FIELD}, {CF:ENTITY:FIELD:INDEX}")
    return 0


def _list_templates(settings: "Settings", *, as_json: bool) -> int:
    """Print the templates that can be rendered, by id; the exit code is that of findings when others cannot."""
    from processor.registry.schema_files import load_schemas
    from processor.templates.load import load_templates

    loaded = load_templates(settings, load_schemas(settings.schemas_dir))
    rows = [_row(template) for template in sorted(loaded.renderable, key=lambda template: template.id)]
    broken = loaded.files - len(rows)
    exit_code = FINDINGS_EXIT_CODE if broken else 0
    if as_json:
        digest = None if loaded.templates is None else loaded.templates.digest
        print_json({"directory": str(loaded.directory), "setVersion": digest, "broken": broken, "templates": rows})
        return exit_code
    columns = (
        Column("id"),
        Column("version", is_number=True, optional=True),
        Column("type"),
        Column("events", prose=True),
        Column("to", optional=True),
        Column("state"),
    )
    listing, screen = Listing(columns, title=f"Templates in {loaded.directory}"), Screen()
    for row in rows:
        state = "" if row["active"] else "switched off"
        events = ", ".join(row["events"])
        listing.add(row["id"], str(row["version"]), row["type"], events, row["recipient"] or "", state)
    screen.listing(listing)
    if broken:
        screen.line(f"{broken} more cannot be used: `processor check` says why")
    return exit_code


def _row(template: "Template") -> dict[str, Any]:
    return {
        "id": template.id,
        "version": template.version,
        "name": template.name,
        "type": template.type.value,
        "events": list(template.events),
        "target": template.target.value,
        "recipient": template.recipient and template.recipient.value,
        "subscription": template.subscription.value,
        "active": template.active,
        "conditions": [str(condition) for condition in template.conditions],
        "locales": [template.default_locale, *template.texts],
        "templateKey": template.key,
    }
