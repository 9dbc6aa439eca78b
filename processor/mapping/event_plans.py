"""The plans of an installation, made as writers' schemas are met. Pure.

record ── a frame, and no header that says otherwise ── the scanner of its writer's schema ──▶ ScannedEvent
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import takewhile
from typing import Any, Final

from processor.domain.catalogue import EVENTS
from processor.domain.outcome import MappingPath, PlannedRun
from processor.domain.placeholders import PlaceholderType
from processor.domain.record import EventName, SchemaId, SourceRecord
from processor.mapping.context import AdmitEvent, MappingContext
from processor.mapping.event_plan import EventPlan
from processor.mapping.plan_observer import PlanDifference, PlanObserver, PlanRefusal, Unobserved
from processor.mapping.plan_values import give_none
from processor.mapping.scanned_event import EventScanner, ScannedEvent, ScanRules
from processor.mapping.verify_plan import Sample, event_differences
from processor.native import NativePart
from processor.wire.decode import decode
from processor.wire.framing import FRAME_BYTES, overrides_frame, parse_frame
from processor.wire.scan_program import NotPlannedError, Path
from processor.wire.schema import SchemaOf, WriterSchema

MAX_SCANNERS: Final = 32
"""How many writers' schemas are scanned: each takes some megabytes of expressions. Records of further ones are mapped
by the reference."""

Start = Callable[[Callable[[], EventScanner]], "Future[EventScanner]"]
"""Calls a function, possibly in another thread; the future gets what it returns or raises."""


def make_at_once(make: Callable[[], EventScanner]) -> "Future[EventScanner]":
    """A Start that blocks until the scanner is made."""
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

    def __init__(
        self,
        start: Start = make_at_once,
        *,
        native: NativePart | None = None,
        observer: PlanObserver | None = None,
        sample: Sample | None = None,
    ) -> None:
        """`start` is called for one scanner after the other; the records of a schema are refused until its own is made.
        `native` runs the plans; None: regular expressions and closures do. `sample`: which records the reference reads
        and maps, too; None: none of them."""
        self.path = MappingPath.PLAIN if native is None else MappingPath.NATIVE
        self._native = native
        self._start = start
        self._observer = observer or Unobserved()
        self.sample = sample
        self._context: MappingContext | None = None
        self._scanners: dict[bytes, EventScanner | None] = {}  # by the frame that stands before a value
        self._pending: tuple[bytes, Future[EventScanner]] | None = None  # the one that is made now, by its frame
        self.refused_schemas: dict[SchemaId, str] = {}

    def scan(self, record: SourceRecord, context: MappingContext, *, schema_of: SchemaOf) -> ScannedEvent | None:
        """The event of `record`; None: refused, and the reference says what becomes of it.

        Blocks as `schema_of` does, whose UnavailableError it raises. Raises, once, what was raised while a scanner was
        made, which is a bug; the records of that schema are refused from then on.
        """
        value = record.value
        if value is None or not _may_be_scanned(record, value, context):
            self.refuse(PlanRefusal.FORM)
            return None
        if context is not self._context:  # plans are of one set of templates, and of topics as they are
            self._context, self._scanners, self._pending, self.refused_schemas = context, {}, None, {}
        frame = value[:FRAME_BYTES]
        scanner = self._scanners.get(frame)
        if scanner is None:
            found = self._find_scanner(frame, context, schema_of)
            if isinstance(found, PlanRefusal):
                self.refuse(found)
                return None
            scanner = found
        scanned = scanner.scan(record)
        if isinstance(scanned, PlanRefusal):
            self.refuse(scanned)
            return None
        if self.sample is not None and self.sample.includes(record.position.offset):
            return self._verify(scanned, record, context, schema_of)
        return scanned

    def write(
        self,
        records: list[SourceRecord],
        context: MappingContext,
        run: PlannedRun,
        *,
        admit: AdmitEvent,
        limit_bytes: int,
    ) -> int:
        """As Plans has it."""
        if context is not self._context:
            return 0
        if self.sample is not None:
            includes = self.sample.includes
            records = list(takewhile(lambda record: not includes(record.position.offset), records))
        before, at, frame = run.record_count, 0, b""
        while at < len(records) and run.output_bytes < limit_bytes:
            before_frame, frame = frame, (records[at].value or b"")[:FRAME_BYTES]
            scanner = self._scanners.get(frame)
            if scanner is None or frame == before_frame:  # of no schema that is known, or refused
                break
            try:
                scanner.write(records, at, run, admit, limit_bytes)
            except Exception:  # `scan`, the plan or the loop raises it again, where that is the record's fault
                self.refuse(PlanRefusal.ERROR)
                return run.record_count - before
            at = run.record_count - before
        return at

    def scan_ahead(self, records: Sequence[SourceRecord], context: MappingContext) -> list[ScannedEvent | None]:
        """The event of each record whose scanner is made, and which is not verified. None: `scan` has to be called,
        which reports why a record is refused, and raises. Never blocks, and raises nothing."""
        return [self._scan_if_ready(record, context) if context is self._context else None for record in records]

    def _scan_if_ready(self, record: SourceRecord, context: MappingContext) -> ScannedEvent | None:
        value = record.value
        scanner = None if value is None else self._scanners.get(value[:FRAME_BYTES])
        if scanner is None or value is None or not _may_be_scanned(record, value, context):
            return None
        if self.sample is not None and self.sample.includes(record.position.offset):
            return None
        try:
            scanned = scanner.scan(record)
        except Exception:  # `scan` raises it again, when it is known of which record it is
            return None
        return None if isinstance(scanned, PlanRefusal) else scanned

    def refuse(self, reason: PlanRefusal) -> None:
        """Report that a record is mapped by the reference."""
        self._observer.refused(reason)

    def refuse_difference(self, difference: PlanDifference) -> None:
        """Report that a record that was verified is mapped by the reference, as a plan differs from it."""
        self._observer.differs(difference)
        self.refuse(PlanRefusal.DIFFERENCE)

    def _verify(
        self, scanned: ScannedEvent, record: SourceRecord, context: MappingContext, schema_of: SchemaOf
    ) -> ScannedEvent | None:
        """The event of `record`, unless the reference reads another one or none."""
        event = decode(record, schemas=context.schemas, schema_of=schema_of, max_event_bytes=context.max_event_bytes)
        parts = event_differences(scanned, event)
        if not parts:
            return scanned
        self.refuse_difference(PlanDifference(record.position, scanned.name, (), parts))
        return None

    def _find_scanner(self, frame: bytes, context: MappingContext, schema_of: SchemaOf) -> EventScanner | PlanRefusal:
        """The scanner of a schema that is met for the first time, or was not ready yet; else why it has none now."""
        if frame in self._scanners:
            return PlanRefusal.SCHEMA
        if self._pending is None:
            if sum(scanner is not None for scanner in self._scanners.values()) >= MAX_SCANNERS:
                return PlanRefusal.SCHEMA_LIMIT
            try:
                writer = schema_of(parse_frame(frame))
            except KeyError:  # it may be there later
                return PlanRefusal.SCHEMA
            self._pending = frame, self._start(partial(make_scanner, writer, context, native=self._native))
        self._take_scanner()
        scanner = self._scanners.get(frame)
        if scanner is None:
            return PlanRefusal.SCHEMA if frame in self._scanners else PlanRefusal.PENDING
        return scanner

    def _take_scanner(self) -> None:
        """Take the scanner that was made, where it is done."""
        if self._pending is None or not self._pending[1].done():
            return
        (frame, future), self._pending = self._pending, None
        schema_id, self._scanners[frame] = parse_frame(frame), None
        try:
            self._scanners[frame] = future.result()
        except NotPlannedError as error:
            self.refused_schemas[schema_id] = str(error)
            self._observer.schema_refused(schema_id, str(error))
        else:
            self._observer.schema_ready(schema_id)


def make_scanner(writer: WriterSchema, context: MappingContext, *, native: NativePart | None = None) -> EventScanner:
    """The scanner of a writer's records, with the plans of their templates. NotPlannedError where there is none."""

    def make_plan(event: EventName, scanner: EventScanner) -> EventPlan:
        return EventPlan(event, scanner.values, context)

    return EventScanner(
        writer,
        context.schemas,
        ScanRules(
            tenant=context.tenant,
            time_zone=context.draft_rules.time_zone,
            max_event_bytes=context.max_event_bytes,
            native=native,
        ),
        wanted=wanted_paths(writer, context),
        make_plan=make_plan,
    )


def wanted_paths(writer: WriterSchema, context: MappingContext) -> frozenset[Path]:
    """What the templates for events of a writer's family read: all that their plans ask for while they are made."""
    wanted = _WantedValues()
    for event in EVENTS:
        if context.schemas.by_event[event].name == writer.name and context.templates.for_event(event):
            EventPlan(event, wanted, context)
    return frozenset(wanted.paths)


class _WantedValues:
    """An EventValues that notes the paths of what a plan reads; the functions that it gives are never called."""

    def __init__(self) -> None:
        self.paths: set[Path] = set()

    def value(self, path: Path) -> Callable[[Any], Any]:
        """As PlanValues has it."""
        self.paths.add(path)
        return give_none

    def utf8(self, path: Path) -> Callable[[Any], Any]:
        """As EventValues has it."""
        return self.value(path)

    def text(self, path: Path, _kind: PlaceholderType, currencies: tuple[Path, ...]) -> Callable[[Any], str | None]:
        """As PlanValues has it."""
        self.paths.update((path, *currencies))
        return give_none

    def leaf(self, path: Path) -> None:
        """As PlanValues has it."""
        self.paths.add(path)

    @property
    def native(self) -> None:
        """As PlanValues has it."""


def _may_be_scanned(record: SourceRecord, value: bytes, context: MappingContext) -> bool:
    """Whether it has a frame and no more bytes than an event may, and no header says that it is read otherwise."""
    if not FRAME_BYTES < len(value) <= context.max_event_bytes or value[0] != 0:
        return False
    return not record.headers_error and not overrides_frame(record.headers)
