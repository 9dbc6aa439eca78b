"""`processor preview TEMPLATE`: a template's text beside the message it makes, and the value of each placeholder.
`processor preview --programs`: how plans map an event (`preview_programs.py`).

The exit code is 1 when the template makes no message of the event, or when the event has no plan.
"""

import tempfile
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from processor.cli import output
from processor.cli.output import FINDINGS_EXIT_CODE, JsonOption, print_json
from processor.domain.text import closest_match, did_you_mean
from processor.errors import UsageError
from processor.screen import Column, Listing, Screen

if TYPE_CHECKING:
    from processor.domain.event import Event
    from processor.domain.template import Template
    from processor.settings import Settings
    from processor.templates.load import LoadResult
    from processor.templates.preview import Preview
    from processor.wire.reader_schemas import Schemas

EXAMPLE: Final = "processor preview loan-repayment-email --open"
PROGRAMS_EXAMPLE: Final = "processor preview --programs --event LOAN_REPAYMENT"

ProgramsOption = Annotated[
    bool,
    typer.Option(
        "--programs",
        help="Show how plans map an event instead: the scan of its records, and the texts of TEMPLATE or, without one, "
        f"of all of the event's templates. `{PROGRAMS_EXAMPLE}`.",
    ),
]
WriterOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="With --programs: the schema that a producer writes with, .avsc; not set: our own."
    ),
]


def command(
    template: Annotated[str | None, typer.Argument(metavar="TEMPLATE", help="The template's id.")] = None,
    event: Annotated[
        str | None,
        typer.Option(
            metavar="EVENT", help="A file of one JSON event, - for stdin, or an event's name; with --programs a name."
        ),
    ] = None,
    sample: Annotated[
        str | None, typer.Option(metavar="NAME", help="One of the template's samples; not set: its first.")
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the HTML body to a file.")] = None,
    browser: Annotated[bool, typer.Option("--open", help="Show the HTML body in the browser.")] = False,
    programs: ProgramsOption = False,
    writer: WriterOption = None,
    as_json: JsonOption = False,
) -> int:
    """Show a template beside the message that it makes of an event.

    With --programs how plans map an event. No connection is opened. The exit code is 1 when there is no message.
    """
    if event is not None and sample is not None:
        raise UsageError("--event and --sample are two events", hint="keep one of them")
    if programs and (sample is not None or html is not None or browser):
        raise UsageError(
            "--programs shows no message, so it goes without --sample, --html and --open", hint=f"`{PROGRAMS_EXAMPLE}`"
        )
    if writer is not None and not programs:
        raise UsageError("--writer goes with --programs", hint="add --programs, or leave --writer out")
    if template is None and not (programs and event is not None):
        raise UsageError("preview needs a template", hint=f"`{EXAMPLE}`, or `{PROGRAMS_EXAMPLE}`")
    from processor.mapping.draft import Draft
    from processor.registry.schema_files import load_schemas
    from processor.templates.load import load_templates
    from processor.templates.preview import preview_template

    settings = output.load_quiet_settings()
    schemas = load_schemas(settings.schemas_dir)
    loaded = load_templates(settings, schemas)
    found = None if template is None else _find_template(loaded, template)
    if programs:
        return _show_programs(found, event, writer, loaded, settings=settings, schemas=schemas, as_json=as_json)
    assert found is not None
    if event is not None:
        source = _event_of_argument(event, found, schemas, tenant=settings.tenant)
    else:
        source = _event_of_sample(sample, found, loaded, schemas, tenant=settings.tenant)
    preview = preview_template(found, source.where, source.event, settings, subscribed=source.subscribed)
    if html is not None or browser:
        _show_html(preview, html, browser=browser)
    if as_json:
        print_json(_as_json(preview))
    else:
        _print(preview)
    return 0 if isinstance(preview.result, Draft) else FINDINGS_EXIT_CODE


def _show_programs(
    template: "Template | None",
    event: str | None,
    writer: Path | None,
    loaded: "LoadResult",
    *,
    settings: "Settings",
    schemas: "Schemas",
    as_json: bool,
) -> int:
    from processor.cli.preview_programs import show_programs
    from processor.templates.load import require_usable

    if template is not None:
        _refuse_manual(template)
    templates = require_usable(loaded)
    return show_programs(template, event, writer, templates, settings=settings, schemas=schemas, as_json=as_json)


def _find_template(loaded: "LoadResult", name: str) -> "Template":
    """The template; UsageError for one that is not there or cannot be rendered. Other templates may be broken."""
    for template in loaded.renderable:
        if template.id == name:
            return template
    errors = [
        diagnostic
        for diagnostic in loaded.diagnostics
        if diagnostic.is_error and diagnostic.location.file == f"{name}.toml"
    ]
    if errors:
        raise UsageError(f"{name} cannot be rendered\n" + "\n".join(map(str, errors)), hint="fix it first")
    near = closest_match(name, (template.id for template in loaded.renderable))
    hint = did_you_mean(near, otherwise="`processor templates` lists them")
    raise UsageError(f"no template {name!r} in {loaded.directory}", hint=hint)


@dataclass(frozen=True, slots=True)
class _PreviewEvent:
    """An event to preview with, what it is called, and whether its holder has opted in."""

    where: str
    event: "Event"
    subscribed: bool = True


def _event_of_argument(argument: str, template: "Template", schemas: "Schemas", *, tenant: str | None) -> _PreviewEvent:
    from processor.cli.event_arguments import read_events
    from processor.wire.decode import DecodeFailure

    _refuse_manual(template)
    named, *_ = read_events(argument, schemas, tenant=tenant)
    event = named.event
    if isinstance(event, DecodeFailure):
        raise UsageError(f"{named.where} is no event: {event.reason}: {event.detail}", hint="fix it first")
    if event.name not in template.events:
        raise UsageError(f"{template.id} is not for {event.name}", hint=f"it is for {', '.join(template.events)}")
    return _PreviewEvent(named.where, event)


def _event_of_sample(
    name: str | None, template: "Template", loaded: "LoadResult", schemas: "Schemas", *, tenant: str | None
) -> _PreviewEvent:
    """Of the template's sample `name`, or of its first; where it has none, the shipped sample of its first event."""
    from processor.cli.event_arguments import read_events
    from processor.wire.decode import DecodeFailure

    _refuse_manual(template)
    samples = [
        (run.name, run.event, run.subscribed)
        for run in loaded.samples
        if run.template == template.id and run.event is not None
    ]
    if name is not None and name not in [sample for sample, _, _ in samples]:
        hint = f"its samples: {', '.join(sample for sample, _, _ in samples) or 'none'}"
        raise UsageError(f"{template.id} has no sample {name!r}", hint=hint)
    for sample, event, subscribed in samples:
        if name is None or sample == name:
            return _PreviewEvent(f"sample {sample!r}", event, subscribed)
    named, *_ = read_events(template.events[0], schemas, tenant=tenant)
    if isinstance(named.event, DecodeFailure):
        what = f"{named.where} is no event with these schemas: {named.event.detail}"
        raise UsageError(what, hint="name one by --event")
    return _PreviewEvent(named.where, named.event)


def _refuse_manual(template: "Template") -> None:
    from processor.domain.placeholders import MANUAL

    if MANUAL in template.events:
        raise UsageError(f"{template.id} is for what a person sends, without an event", hint="preview another template")


def _show_html(preview: "Preview", path: Path | None, *, browser: bool) -> None:
    """Write the HTML body to `path`, or to a temporary file, and show it with `browser`. Nothing without a message."""
    from processor.domain.channel import ContentType
    from processor.mapping.draft import Draft

    if not isinstance(preview.result, Draft):
        return
    if preview.template.content_type is not ContentType.HTML:
        what = f"{preview.template.id} is {preview.template.content_type}, not HTML"
        raise UsageError(what, hint="--html and --open are for bodies in HTML")
    body = f'<!doctype html><meta charset="utf-8">{preview.result.rendered.body}'
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


def _print(preview: "Preview") -> None:
    screen = Screen()
    template = preview.template
    language = f" in {preview.locale}" if template.texts else ""
    what = f"{template.id} v{template.version}, {template.type}{language}"
    screen.line(f"{what}, of {preview.event.name}: {preview.where}")
    texts = Listing((Column(""), Column("template", prose=True), Column("message", prose=True)), separated=True)
    for name, source, message in preview.parts():
        texts.add(name, source, message)
    screen.listing(texts)
    properties = Listing((Column(""), Column("", prose=True)))
    for name, text in _properties(preview):
        properties.add(name, text)
    screen.listing(properties)
    values = Listing((Column("placeholder"), Column("value", prose=True)))
    for name, value in preview.values.items():
        values.add(name, "no value" if value is None else value)
    screen.listing(values)
    screen.line(_verdict(preview))


def _properties(preview: "Preview") -> Iterator[tuple[str, str]]:
    """Name and text of what goes with the message and is no part of its text."""
    if preview.title:
        yield "title", preview.title
    if request := preview.request():
        login = f", user {request['username']}, password in {request['passwordEnv']}" if request["username"] else ""
        yield "method", request["method"]
        yield "content type", request["contentType"]
        yield "authorization", f"{request['authorization']}{login}"
        yield from ((f"header {name}", value) for name, value in request["headers"].items())


def _verdict(preview: "Preview") -> str:
    from processor.domain.message import FailedTemplate
    from processor.mapping.draft import Draft

    result = preview.result
    if isinstance(result, Draft):
        return f"{result.state}{result.failure_text}" + (f", to {result.destination}" if result.destination else "")
    if isinstance(result, FailedTemplate):
        return f"failed, {result.reason}: {result.detail}"
    would = "; above is what it would say" if preview.rendered is not None else ""
    return f"no message, {result.reason}: {result.detail}{would}"


def _as_json(preview: "Preview") -> dict[str, Any]:
    from processor.mapping.draft import Draft
    from processor.templates.explain import MADE

    result = preview.result
    message = result if isinstance(result, Draft) else None
    return {
        "template": preview.template.id,
        "version": preview.template.version,
        "type": preview.template.type,
        "event": preview.event.name,
        "eventId": preview.event.id,
        "eventSource": preview.where,
        "locale": preview.locale,
        "parts": {name: {"template": source, "message": text} for name, source, text in preview.parts()},
        "title": preview.title,
        "request": preview.request(),
        "values": preview.values,
        "outcome": MADE if isinstance(result, Draft) else result.reason,
        "detail": None if isinstance(result, Draft) else result.detail,
        "state": message and message.state,
        "destination": message and message.destination,
        "failureReason": message and message.failure_reason,
        "failureCause": message and message.failure_cause,
    }
