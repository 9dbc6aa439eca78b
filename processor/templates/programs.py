"""The plans of an event's templates as they would be made by `run`, to be looked at: offline, by the same functions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from processor.domain.catalogue import EVENTS
from processor.domain.output_topics import FIXED_OUTPUTS, MAX_RECORD_BYTES, OutputTopic, OutputTopics
from processor.domain.record import EventName
from processor.domain.template import Template, TemplateSet, template_set
from processor.mapping.context import DraftRules, MappingContext
from processor.mapping.event_plans import make_scanner, wanted_paths
from processor.mapping.text_plan import TextProgram, text_program
from processor.settings import Settings
from processor.wire.encode import OutputEncoder
from processor.wire.reader_schemas import Schemas
from processor.wire.scan_program import NotPlannedError, Path, ScanProgram
from processor.wire.schema import WriterSchema


@dataclass(frozen=True, slots=True)
class TemplatePrograms:
    """The programs of a template's texts, by what they are, as in `body` or `body (pt)`, and what all of it reads of an
    event."""

    template: Template
    texts: Mapping[str, TextProgram]
    reads: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class EventPrograms:
    """The programs for an event's records of one writer's schema. `scan` is of all templates for its family; None: they
    have no plan, and `refusal` says why."""

    event: EventName
    writer: WriterSchema
    scan: ScanProgram | None
    refusal: str | None
    templates: tuple[TemplatePrograms, ...]


def event_programs(
    event: EventName,
    writer: WriterSchema,
    templates: TemplateSet,
    *,
    shown: Iterable[Template],
    settings: Settings,
    schemas: Schemas,
) -> EventPrograms:
    """The programs with a set of templates, of which `shown` are for `event`. Takes some tenths of a second."""
    context = _context(templates, settings, schemas)
    programs = tuple(_template_programs(template, event, context) for template in shown)
    try:
        scanner = make_scanner(writer, context)
    except NotPlannedError as error:
        return EventPrograms(event, writer, None, str(error), programs)
    return EventPrograms(event, writer, scanner.program, None, programs)


def _template_programs(template: Template, event: EventName, context: MappingContext) -> TemplatePrograms:
    texts = {}
    for tag, text in (("", template.text), *template.texts.items()):
        for part in ("subject", "url", "body"):
            segments = getattr(text, part)
            if segments is not None and (part != "url" or not tag):  # one address for all languages
                texts[f"{part} ({tag})" if tag else part] = text_program(segments, EVENTS[event].family)
    ours = context.schemas.local[context.schemas.by_event[event].id]
    reads = wanted_paths(ours, replace(context, templates=template_set([template])))
    return TemplatePrograms(template, texts, tuple(sorted(reads)))


def _context(templates: TemplateSet, settings: Settings, schemas: Schemas) -> MappingContext:
    """What plans are made with; of topics as they would be created, without a broker."""
    return MappingContext(
        tenant=settings.tenant or "",
        schemas=schemas,
        templates=templates,
        output_topics=OutputTopics(
            **{name: OutputTopic(settings.topic(name), 1, MAX_RECORD_BYTES) for name in FIXED_OUTPUTS}, streams={}
        ),
        encode=OutputEncoder(
            schemas, output_format=settings.output.format, stream_format=settings.output.stream_format
        ),
        draft_rules=DraftRules(
            time_zone=ZoneInfo(settings.time_zone),
            sms_region=settings.sms.region,
            disabled_channels=frozenset(settings.channels.disabled),
        ),
    )
