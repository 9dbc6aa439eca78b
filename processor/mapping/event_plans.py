"""The plans of an installation, made as writers' schemas are met. Pure.

record ── a frame, and no header that says otherwise ── the scanner of its writer's schema ──▶ ScannedEvent
"""

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

from processor.domain.catalogue import EVENTS
from processor.domain.placeholders import PlaceholderType
from processor.domain.record import EventName, SchemaId, SourceRecord
from processor.mapping.context import MappingContext
from processor.mapping.event_plan import EventPlan
from processor.mapping.plan_values import give_none
from processor.mapping.scanned_event import EventScanner, ScannedEvent
from processor.wire.framing import FRAME_BYTES, GUID_HEADER
from processor.wire.scan_program import NotPlannedError, Path
from processor.wire.schema import SchemaOf, WriterSchema

MAX_SCANNERS: Final = 32
"""Of writers' schemas that are scanned, each with some megabytes of expressions; records of further ones are read."""


Start = Callable[[Callable[[], EventScanner]], "Future[EventScanner]"]
"""Begins to make a scanner."""


def make_at_once(make: Callable[[], EventScanner]) -> "Future[EventScanner]":
    """Blocks until it is made."""
    future: Future[EventScanner] = Future()
    try:
        future.set_result(make())
    except Exception as error:
        future.set_exception(error)
    return future


class EventPlans:
    """Scans records, and has the plans of their templates. Not thread-safe.

    `refused_schemas` says for which writers' schemas there is no plan, and why.
    """

    def __init__(self, start: Start = make_at_once) -> None:
        """`start` may make scanners in other threads; the records of a schema are refused until its own is there."""
        self._start = start
        self._context: MappingContext | None = None
        self._scanners: dict[SchemaId, EventScanner | None] = {}
        self._pending: dict[SchemaId, Future[EventScanner]] = {}
        self.refused_schemas: dict[SchemaId, str] = {}

    def scan(self, record: SourceRecord, context: MappingContext, *, schema_of: SchemaOf) -> ScannedEvent | None:
        """The event of `record`; None: refused, `decode_record` says what becomes of it. May block in `schema_of`,
        whose UnavailableError it raises, and raises once what a fault of ours raises while a scanner is made."""
        value = record.value
        if value is None or not FRAME_BYTES < len(value) <= context.max_event_bytes or value[0] != 0:
            return None
        if record.headers_error or any(_says_otherwise(name) for name, _ in record.headers):
            return None
        if context is not self._context:  # plans are of one set of templates, and of topics as they are
            self._context, self._scanners, self._pending, self.refused_schemas = context, {}, {}, {}
        schema_id = SchemaId(int.from_bytes(value[1:FRAME_BYTES], "big"))
        scanner = self._scanners.get(schema_id)
        if scanner is None and schema_id not in self._scanners:
            scanner = self._find_scanner(schema_id, context, schema_of)
        return None if scanner is None else scanner.scan(record)

    def _find_scanner(self, schema_id: SchemaId, context: MappingContext, schema_of: SchemaOf) -> EventScanner | None:
        """The scanner of a schema that is met for the first time, or was not ready yet."""
        pending = self._pending.get(schema_id)
        if pending is None:
            if len(self._scanners) + len(self._pending) >= MAX_SCANNERS:
                return None
            try:
                writer = schema_of(schema_id)
            except KeyError:  # it may be there later
                return None
            pending = self._pending[schema_id] = self._start(partial(make_scanner, writer, context))
        if not pending.done():
            return None
        self._scanners[schema_id] = None
        try:
            self._scanners[schema_id] = self._pending.pop(schema_id).result()
        except NotPlannedError as error:
            self.refused_schemas[schema_id] = str(error)
        return self._scanners[schema_id]


def make_scanner(writer: WriterSchema, context: MappingContext) -> EventScanner:
    """The scanner of a writer's records, with the plans of their templates. NotPlannedError where there is none."""

    def make_plan(event: EventName, scanner: EventScanner) -> EventPlan:
        return EventPlan(event, scanner.values, context)

    return EventScanner(
        writer,
        context.schemas,
        tenant=context.tenant,
        time_zone=context.draft_rules.time_zone,
        wanted=_wanted_paths(writer, context),
        make_plan=make_plan,
    )


def _wanted_paths(writer: WriterSchema, context: MappingContext) -> frozenset[Path]:
    """What the templates for events of a writer's family read: all that their plans ask for while they are made."""
    wanted = _WantedValues()
    for event in EVENTS:
        if context.schemas.by_event[event].name == writer.name and context.templates.for_event(event):
            EventPlan(event, wanted, context)
    return frozenset(wanted.paths)


class _WantedValues:
    """Notes what is asked for; what it gives is never called."""

    def __init__(self) -> None:
        self.paths: set[Path] = set()

    def value(self, path: Path) -> Callable[[Any], Any]:
        """As PlanValues has it."""
        self.paths.add(path)
        return give_none

    def text(self, path: Path, _kind: PlaceholderType, currencies: tuple[Path, ...]) -> Callable[[Any], str | None]:
        """As PlanValues has it."""
        self.paths.update((path, *currencies))
        return give_none


def _says_otherwise(header: str) -> bool:
    """Whether a header says how the value is to be read."""
    return header == GUID_HEADER or header.lower() == "content-type"
