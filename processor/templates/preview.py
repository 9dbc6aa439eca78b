"""`processor preview TEMPLATE`: a template's text beside what it becomes, and the value of each placeholder.

The exit code is 1 when the template makes no message of the event.
"""

import json
import sys
import tempfile
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table
from rich.text import Text as Cell

from processor.cli.event_arguments import events_told, masked, printable
from processor.domain.channel import CHANNELS, ContentType
from processor.domain.event import Event
from processor.domain.message import FailedTemplate, SkippedTemplate
from processor.domain.placeholders import MANUAL
from processor.domain.template import CustomFieldPlaceholder, NamedPlaceholder, Segment, Template, Text
from processor.domain.text import closest_match, did_you_mean
from processor.errors import UsageError
from processor.mapping.map import Draft, draft, event_type, scope_of
from processor.mapping.reference import subscriptions_alone
from processor.mapping.render import Rendered, render, value_of
from processor.registry.schema_files import load_schemas
from processor.settings import Settings
from processor.templates.load import BODY_LIMIT_BYTES, LoadResult, load_templates
from processor.wire.decode import Fault
from processor.wire.schema import Schemas
from processor.wire.template_sets import without_secrets

FINDINGS: Final = 1


@dataclass(frozen=True, slots=True)
class Preview:
    """One template with one event. `made` is the message, or why there is none; `values` of the text's placeholders.

    `rendered` is the text, also of a message that is declined; None when a template fails.
    """

    template: Template
    where: str
    event: Event
    text: Text
    values: dict[str, str | None]
    made: Draft | SkippedTemplate | FailedTemplate
    rendered: Rendered | None


def preview(
    settings: Settings,
    *,
    template: str,
    event: str | None,
    sample: str | None,
    html: Path | None,
    browser: bool,
    json_output: bool,
) -> int:
    """Print what `template` makes of an event: of `event` (a name or a file), else of a sample of its own.

    The event's holder is subscribed, unless the sample says otherwise.
    `html` is where its HTML body is written; `browser` shows it. Connects to nothing. Raises UsageError for a template
    that cannot be rendered, with its findings; other templates may be broken.
    """
    schemas = load_schemas(settings.schemas_dir)
    loaded = load_templates(settings, schemas)
    chosen = _template(loaded, template)
    where, told, subscribed = _event(loaded, chosen, schemas, event=event, sample=sample, tenant=settings.tenant)
    shown = _previewed(chosen, where, told, settings, subscribed=subscribed)
    if html is not None or browser:
        _show_html(shown, html, browser=browser)
    if json_output:
        sys.stdout.write(json.dumps(_as_json(shown)) + "\n")
    else:
        _print(shown)
    return 0 if isinstance(shown.made, Draft) else FINDINGS


def _template(loaded: LoadResult, name: str) -> Template:
    found = next((one for one in loaded.renderable if one.id == name), None)
    if found is not None:
        return found
    errors = [
        diagnostic
        for diagnostic in loaded.diagnostics
        if diagnostic.is_error and diagnostic.location.file == f"{name}.toml"
    ]
    if errors:
        raise UsageError(f"{name} cannot be rendered\n" + "\n".join(map(str, errors)), hint="mend it first")
    near = closest_match(name, (template.id for template in loaded.renderable))
    hint = did_you_mean(near, otherwise="`processor templates` lists them")
    raise UsageError(f"no template {name!r} in {loaded.directory}", hint=hint)


def _event(
    loaded: LoadResult,
    template: Template,
    schemas: Schemas,
    *,
    event: str | None,
    sample: str | None,
    tenant: str | None,
) -> tuple[str, Event, bool]:
    """An event to show, what it is called, and whether its holder is subscribed."""
    if MANUAL in template.events:
        raise UsageError(f"{template.id} is for what a person sends, without an event", hint="preview another template")
    if event is not None:
        (told, *_) = events_told(event, schemas, tenant=tenant)
        if isinstance(told.event, Fault):
            raise UsageError(
                f"{told.where} is no event: {told.event.reason}: {told.event.detail}", hint="mend it first"
            )
        if told.event.name not in template.events:
            names = ", ".join(template.events)
            raise UsageError(f"{template.id} is not for {told.event.name}", hint=f"it is for {names}")
        return told.where, told.event, True
    samples = [one for one in loaded.samples if one.template == template.id and one.event is not None]
    if sample is not None:
        known = [one.name for one in samples]
        samples = [one for one in samples if one.name == sample]
        if not samples:
            raise UsageError(
                f"{template.id} has no sample {sample!r}", hint=f"its samples: {', '.join(known) or 'none'}"
            )
    for one in samples:
        if one.event is not None:
            return f"sample {one.name!r}", one.event, one.subscribed
    (told, *_) = events_told(template.events[0], schemas, tenant=tenant)
    if isinstance(told.event, Fault):
        raise UsageError(
            f"{told.where} is no event with these schemas: {told.event.detail}", hint="name one by --event"
        )
    return told.where, told.event, True


def _previewed(template: Template, where: str, event: Event, settings: Settings, *, subscribed: bool) -> Preview:
    event, time_zone = masked(event), ZoneInfo(settings.time_zone)
    person, scope = scope_of(template, event, time_zone=time_zone)
    text = template.text_for(None if person is None else person.language)
    pieces = (*(text.subject or ()), *(text.url or ()), *text.body)
    values = {
        str(one): value_of(one, scope) for one in pieces if isinstance(one, NamedPlaceholder | CustomFieldPlaceholder)
    }
    made = draft(
        template,
        event,
        time_zone=time_zone,
        stream=event_type(event.tenant, event.name),
        limit_characters=BODY_LIMIT_BYTES,
        sms_region=settings.sms.region,
        reference=subscriptions_alone(subscribed),
    )
    rendered = made.rendered if isinstance(made, Draft) else None
    if isinstance(made, SkippedTemplate):  # what it would say is worth seeing all the same
        tried = render(text, scope, strict=template.strict, limit_characters=BODY_LIMIT_BYTES)
        rendered = tried if isinstance(tried, Rendered) else None
    return Preview(template, where, event, text, values, made, rendered)


def _parts(shown: Preview) -> Iterator[tuple[str, str, str]]:
    """Name, source and result of each part of the message."""
    made = shown.rendered
    for name in ("subject", "url", "body"):
        source: tuple[Segment, ...] | None = getattr(shown.text, name)
        if source is not None:
            yield name, "".join(map(str, source)), "" if made is None else getattr(made, name) or ""


def _locale(shown: Preview) -> str:
    """The language of the text that is shown."""
    template = shown.template
    return next((tag for tag, text in template.texts.items() if text is shown.text), template.default_locale)


def _request(template: Template) -> dict[str, Any] | None:
    """How a webhook is called, but for its address; None for the other channels. Values of headers are `***`."""
    webhook = json.loads(without_secrets(template.content))["webhook"]
    if webhook is None:
        return None
    return {
        "method": webhook["request_type"],
        "contentType": template.content_type.value,
        "authorization": webhook["authorization"],
        "username": webhook["username"],
        "passwordEnv": webhook["password_env"],
        "headers": webhook["headers"],
    }


def _title(template: Template) -> str | None:
    return template.name if CHANNELS[template.type].has_title else None


def _beside(template: Template) -> Iterator[tuple[str, str]]:
    """Name and text of what goes with the message and is no part of its text."""
    if title := _title(template):
        yield "title", title
    if request := _request(template):
        login = f", user {request['username']}, password in {request['passwordEnv']}" if request["username"] else ""
        yield "method", request["method"]
        yield "content type", request["contentType"]
        yield "authorization", f"{request['authorization']}{login}"
        yield from ((f"header {name}", value) for name, value in request["headers"].items())


def _show_html(shown: Preview, path: Path | None, *, browser: bool) -> None:
    if not isinstance(shown.made, Draft):
        return
    if shown.template.content_type is not ContentType.HTML:
        what = f"{shown.template.id} is {shown.template.content_type}, not HTML"
        raise UsageError(what, hint="--html and --open are for bodies in HTML")
    body = f'<!doctype html><meta charset="utf-8">{shown.made.rendered.body}'
    if path is None:
        with tempfile.NamedTemporaryFile("w", suffix=".html", encoding="utf-8", delete=False) as file:
            file.write(body)
        path = Path(file.name)
    else:
        try:
            path.write_text(body, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}", hint="name another file") from error
    if browser and not webbrowser.open(path.resolve().as_uri()):
        raise UsageError("no browser could be started", hint=f"the body is in {path}")


# ------------------------------------------------------------------------------------------------------------ printed


def _print(shown: Preview) -> None:
    screen = Console()
    template = shown.template
    language = f" in {_locale(shown)}" if template.texts else ""
    what = f"{template.id} v{template.version}, {template.type}{language}, of {shown.event.name}: {shown.where}"
    screen.print(_cell(what))
    texts = Table(show_lines=True)
    for name in ("", "template", "message"):
        texts.add_column(name, overflow="fold")
    for name, source, result in _parts(shown):
        texts.add_row(name, _cell(source), _cell(result))
    screen.print(texts)
    if beside := list(_beside(template)):
        rows = Table(show_header=False)
        for name, text in beside:
            rows.add_row(_cell(name), _cell(text))
        screen.print(rows)
    if shown.values:
        values = Table()
        values.add_column("placeholder", overflow="fold")
        values.add_column("value", overflow="fold")
        for name, value in shown.values.items():
            values.add_row(_cell(name), Cell("no value", style="dim") if value is None else _cell(value))
        screen.print(values)
    screen.print(_cell(_verdict(shown)), soft_wrap=True)


def _cell(text: str) -> Cell:
    return Cell(printable(text))


def _verdict(shown: Preview) -> str:
    made = shown.made
    if isinstance(made, Draft):
        return f"{made.state}{made.why_failed}" + (f", to {made.destination}" if made.destination else "")
    if isinstance(made, FailedTemplate):
        return f"failed, {made.reason}: {made.detail}"
    would = "; above is what it would say" if shown.rendered is not None else ""
    return f"no message, {made.reason}: {made.detail}{would}"


def _as_json(shown: Preview) -> dict[str, Any]:
    made = shown.made
    return {
        "template": shown.template.id,
        "version": shown.template.version,
        "type": shown.template.type,
        "event": shown.event.name,
        "eventId": shown.event.id,
        "of": shown.where,
        "locale": _locale(shown),
        "parts": {name: {"template": source, "message": result} for name, source, result in _parts(shown)},
        "title": _title(shown.template),
        "request": _request(shown.template),
        "values": shown.values,
        "outcome": "MADE" if isinstance(made, Draft) else made.reason,
        "detail": None if isinstance(made, Draft) else made.detail,
        "state": made.state if isinstance(made, Draft) else None,
        "destination": made.destination if isinstance(made, Draft) else None,
        "failureReason": made.failure_reason if isinstance(made, Draft) else None,
        "failureCause": made.failure_cause if isinstance(made, Draft) else None,
    }
