"""`processor preview --programs`: how plans map an event, the scan of its records and the texts of its templates.

The exit code is 1 when there is no plan.
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from processor.cli.output import FINDINGS_EXIT_CODE, print_json
from processor.domain.catalogue import EVENTS, nearest_event
from processor.domain.record import EventName
from processor.domain.text import did_you_mean, quote
from processor.errors import UsageError
from processor.screen import Column, Listing, Screen

if TYPE_CHECKING:
    from processor.domain.template import Template, TemplateSet
    from processor.mapping.program_lines import ScanLine, TextLine
    from processor.settings import Settings
    from processor.templates.programs import EventPrograms
    from processor.wire.reader_schemas import Schemas
    from processor.wire.schema import WriterSchema

_TEXT_LIMIT_CHARACTERS: Final = 160  # of fixed text, in a line; JSON has all of it


def show_programs(
    template: "Template | None",
    event: str | None,
    writer_file: Path | None,
    templates: "TemplateSet",
    *,
    settings: "Settings",
    schemas: "Schemas",
    as_json: bool,
) -> int:
    """Print the programs of the templates for `event`, or of `template` alone, for its first event by default; gives
    the exit code.

    UsageError for an event that is none or not the template's, and for a schema that cannot be read or is of another
    family.
    """
    from processor.templates.programs import event_programs

    name = _event_name(event, template)
    ours = schemas.by_event[name]
    writer = schemas.local[ours.id] if writer_file is None else _read_schema(writer_file)
    if writer.name != ours.name and writer.name in schemas.families:
        raise UsageError(
            f"{writer_file} is {writer.name}, and {name} is a {ours.name}", hint="name the schema of the event's family"
        )
    shown = templates.for_event(name) if template is None else (template,)
    programs = event_programs(name, writer, templates, shown=shown, settings=settings, schemas=schemas)
    if as_json:
        print_json(_as_json(programs, settings))
    else:
        _print(programs, settings)
    return FINDINGS_EXIT_CODE if programs.scan is None else 0


def _event_name(event: str | None, template: "Template | None") -> EventName:
    if event is None:
        assert template is not None, "the command needs one of the two"
        return template.events[0]
    if event not in EVENTS:
        raise UsageError(
            f"{event} is no event's name", hint=did_you_mean(nearest_event(event), otherwise="as LOAN_REPAYMENT is one")
        )
    if template is not None and event not in template.events:
        raise UsageError(f"{template.id} is not for {event}", hint=f"it is for {', '.join(template.events)}")
    return EventName(event)


def _read_schema(path: Path) -> "WriterSchema":
    from processor.wire.schema_parser import parse_writer_schema

    try:
        return parse_writer_schema(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise UsageError(f"{path} cannot be read: {reason}", hint="name a file of an Avro schema, .avsc") from error


def _print(programs: "EventPrograms", settings: "Settings") -> None:
    from processor.mapping.program_lines import scan_lines, text_lines

    screen = Screen()
    for note in _notes(programs, settings):
        screen.line(note)
    if programs.scan is not None:
        prose = ("bytes", "read as")
        steps = Listing([Column(name, prose=name in prose) for name in ("field", "bytes", "slot", "read as")])
        for line in scan_lines(programs.scan):
            steps.add(*_scan_row(line))
        screen.listing(steps)
    for each in programs.templates:
        template = each.template
        screen.line(f"{template.id} v{template.version}, {template.type}")
        texts = Listing((Column(""), Column("text", prose=True), Column("as")))
        for part, program in each.texts.items():
            for number, step in enumerate(text_lines(program)):
                texts.add(part if number == 0 else "", *_text_row(step))
        screen.listing(texts)
        screen.line(f"reads {', '.join('.'.join(path) for path in each.reads)}")


def _notes(programs: "EventPrograms", settings: "Settings") -> Iterator[str]:
    from processor.mapping.options import Plan

    yield f"{programs.event}, written as {programs.writer.name or 'what is no schema of records'}"
    if programs.scan is None:
        yield f"no plan, the reference maps all of its records: {programs.refusal}"
    elif settings.plan is Plan.OFF:
        yield "PROCESSOR_PLAN is off: no plan is used"
    if not programs.templates:
        yield f"no template is for {programs.event}"


def _scan_row(step: "ScanLine") -> tuple[str, str, str, str]:
    slot = "" if step.slot is None else str(step.slot)
    return f"{'  ' * step.depth}{step.field or '–'}", step.accepts, slot, ", ".join(step.values)


def _text_row(line: "TextLine") -> tuple[str, str]:
    return (line.value, line.context) if line.value else (quote(line.text, _TEXT_LIMIT_CHARACTERS), "")


def _as_json(programs: "EventPrograms", settings: "Settings") -> dict[str, Any]:
    from processor.engine.executor import choose_executor
    from processor.mapping.program_lines import scan_lines, text_lines

    return {
        "event": programs.event,
        "executor": choose_executor(settings.plan).plan,
        "schema": programs.writer.name or None,
        "refusal": programs.refusal,
        "scan": None if programs.scan is None else [asdict(step) for step in scan_lines(programs.scan)],
        "templates": [
            {
                "template": each.template.id,
                "version": each.template.version,
                "type": each.template.type,
                "reads": [".".join(path) for path in each.reads],
                "texts": {
                    part: [
                        {"text": line.text} if line.text else {"value": line.value, "context": line.context}
                        for line in text_lines(program)
                    ]
                    for part, program in each.texts.items()
                },
            }
            for each in programs.templates
        ],
    }
