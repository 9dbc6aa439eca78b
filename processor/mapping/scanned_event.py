"""An event whose values are not made: where they stand in its record, and what every step needs of it. Pure.

scan ── event known? ── its family's rules ── tenant ── key ──▶ ScannedEvent

What fails one of these is refused: `decode_record` then says what becomes of the record.
"""

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from itertools import chain
from typing import Final, Protocol

from processor.domain.catalogue import EVENTS, FAMILIES, ORDERING_KEYS, Family, Holder
from processor.domain.event import Event, Fields, SourceEvent
from processor.domain.message import SkippedTemplate
from processor.domain.outcome import PlannedMessages, PlannedRun, TemplateResult
from processor.domain.reasons import DecisionReason
from processor.domain.record import EventName, Headers, OutRecord, SourceRecord, Topic
from processor.domain.template import Template
from processor.errors import InternalError
from processor.mapping.context import AdmitEvent, MappingContext
from processor.mapping.native_event import events_program
from processor.mapping.plan_observer import PlanRefusal
from processor.mapping.plan_values import first_of
from processor.mapping.propagation import propagated_headers
from processor.mapping.scanned_values import ScannedValues
from processor.native import NativeEvent, NativePart
from processor.wire.decode import decode
from processor.wire.errors import ContentError
from processor.wire.event_rules import check_event
from processor.wire.framing import FRAME_BYTES, overrides_frame
from processor.wire.native_scan import native_scan
from processor.wire.plain_scan import plain_scan
from processor.wire.reader_schemas import Schemas
from processor.wire.scan_program import NotPlannedError, Path, scan_program
from processor.wire.schema import WriterSchema
from processor.wire.slot_values import Scan, Slots, value_reader

_ENVELOPE: Final[tuple[Path, ...]] = (("eventId",), ("event",), ("occurredAt",), ("tenant",), ("correlationId",))
_HOLDERS: Final[tuple[Path, ...]] = (("client", "encodedKey"), ("group", "encodedKey"))

Rule = Callable[[EventName, Slots], bool]
"""Whether the values of an event of this name do not contradict each other."""


class TemplatesPlan(Protocol):
    """The plan of all templates for events of one name (`event_plan.py`)."""

    def map_templates(
        self, source: "ScannedEvent", templates: Sequence[Template], context: MappingContext, *, propagated: Headers
    ) -> list[TemplateResult] | None:
        """What comes of each of these templates, in this order; None: refused, as with another context than the one
        that the event was scanned with."""

    def native_event(self, key_paths: Sequence[Path]) -> NativeEvent | None:
        """What maps an event in C; None: only `map_templates` does. `key_paths`: where its ordering key is."""

    def write_decision(
        self,
        source: "ScannedEvent",
        skipped: tuple[SkippedTemplate, ...],
        context: MappingContext,
        *,
        propagated: Headers,
    ) -> OutRecord | None:
        """The decision of all that was skipped; None: refused, or `decision_record` gives none either."""

    def decide(
        self, source: "ScannedEvent", skipped: tuple[SkippedTemplate, ...], propagated: Headers
    ) -> tuple[OutRecord, ...] | None:
        """The one decision that the installation writes of all that was skipped, if it writes one; None: refused."""


class ScannedEvent(SourceEvent):
    """A source event of which the slots were found, and `plan` maps them. Its record has the right key and tenant."""

    # Those of a SourceEvent that each step reads are attributes, which takes less time than a property.
    __slots__ = ("_scanner", "id", "name", "slots", "time_ms")

    def __init__(
        self, record: SourceRecord, slots: Slots, scanner: "EventScanner", name: EventName, event_id: str
    ) -> None:
        self.record = record  # type: ignore[misc]
        self.has_wrong_key = False  # type: ignore[misc]
        self.slots = slots
        self._scanner = scanner
        self.name = name  # type: ignore[misc]
        self.id = event_id  # type: ignore[misc]
        time_ms = record.time_ms
        self.time_ms = self.occurred_at_ms if time_ms is None else time_ms  # type: ignore[misc]

    @property
    def event(self) -> Event:
        """With all its values. Each use reads them again, by the reference."""
        return self._scanner.read_event(self.record)

    @property
    def tenant(self) -> str:
        return self._scanner.tenant

    @property
    def correlation_id(self) -> str | None:
        correlation_id: str | None = self._scanner.read_correlation_id(self.slots)
        return correlation_id

    @property
    def ordering_key(self) -> str:
        return (self.record.key or b"").decode()

    @property
    def occurred_at_ms(self) -> int:
        return self._scanner.read_occurred_at_micros(self.slots) // 1_000

    @property
    def plan(self) -> TemplatesPlan:
        """The plan of its templates."""
        return self._scanner.plan_of(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanRules:
    """How an installation scans: events of `tenant`, of at most so many bytes, whose timestamps have their days in
    `time_zone`; `native` does it, or without it regular expressions."""

    tenant: str
    time_zone: tzinfo
    max_event_bytes: int
    native: NativePart | None = None


class EventScanner:
    """Scans the records of one writer's schema by `program`. `values` reads their slots."""

    def __init__(
        self,
        writer: WriterSchema,
        schemas: Schemas,
        rules: ScanRules,
        *,
        wanted: Collection[Path],
        make_plan: Callable[[EventName, "EventScanner"], TemplatesPlan],
    ) -> None:
        """`wanted` are the paths that templates read, of which the family may lack some. `make_plan` is called once for
        each event's name that is met. Takes some tenths of a second; NotPlannedError where records cannot be scanned.
        """
        schema = schemas.families.get(writer.name)
        if writer.type is None or schema is None:
            raise NotPlannedError(writer.error or f"{writer.name} is not a family of events")
        family = next(family for family in FAMILIES.values() if family.record == schema.name)
        fields = {field.name for field in schema.type.fields}
        keys = {event: ORDERING_KEYS[row.ordering_key] for event, row in EVENTS.items() if row.family == family.name}
        own = {*_ENVELOPE, *_HOLDERS, *_RULE_PATHS.get(family.name, ()), *chain.from_iterable(keys.values())}
        paths = [path for path in sorted(own.union(wanted)) if path[0] in fields]
        program = scan_program(writer.type, schema.type, paths)
        self.program = program
        self.tenant = tenant = rules.tenant
        self.max_event_bytes = rules.max_event_bytes
        native = rules.native
        self.values = ScannedValues(program, time_zone=rules.time_zone, known={("tenant",): tenant}, native=native)
        self._writer = writer
        self._schemas = schemas
        self._is_consistent = _rule_of(family, self.values)
        self.rule = self._is_consistent if family.name in _RULE_PATHS else None
        self._scan: Scan
        if native is None:
            self._scan, self._native_events = plain_scan(program), None
        else:
            self._scan = scan = native_scan(program, native)
            events = events_program(program, family, self)
            self._native_events = None if events is None else native.make_events(scan, events)
        self._name = self.values.value(("event",))
        self._id = self.values.value(("eventId",))
        self._tenant = value_reader(program.places["tenant",])
        self.read_correlation_id = self.values.value(("correlationId",))
        self.read_occurred_at_micros = self.values.micros(("occurredAt",))
        self._make_plan = make_plan
        self._plans: dict[EventName, TemplatesPlan] = {}
        self._made: dict[tuple[PlannedMessages, tuple[Topic, ...], tuple[DecisionReason, ...]], PlannedMessages] = {}
        self._key_paths = keys
        self._key_of = {event: first_of([self.values.utf8(path) for path in key]) for event, key in keys.items()}

    def scan(self, record: SourceRecord) -> ScannedEvent | PlanRefusal:
        """The event of `record`, whose value has a frame of this writer's schema; else RECORD or CHECK, by which it is
        refused."""
        assert record.value is not None
        slots = self._scan(record.value, FRAME_BYTES)
        if slots is None:
            return PlanRefusal.RECORD
        if self._tenant(slots) != self.tenant:
            return PlanRefusal.CHECK
        name: EventName = self._name(slots)
        if not self._is_consistent(name, slots):
            return PlanRefusal.CHECK
        key: bytes | None = self._key_of[name](slots)
        if not key or record.key != key:  # a record with an empty key is MISSING_KEY
            return PlanRefusal.CHECK
        return ScannedEvent(record, slots, self, name, self._id(slots))

    def write(
        self, records: list[SourceRecord], first: int, run: PlannedRun, admit: AdmitEvent, limit_bytes: int
    ) -> None:
        """As `Plans.write`, of the records from index `first` on, which has this schema; stops before one of another.
        Adds nothing without the native part. Where this raises, `run` has the records before."""
        if self._native_events is not None:
            self._native_events.write(records, first, run, admit, limit_bytes)

    def add_decision(
        self,
        record: SourceRecord,
        slots: Slots,
        made: PlannedMessages,
        skipped: tuple[SkippedTemplate, ...],
        propagated: Headers,
    ) -> tuple[PlannedMessages, tuple[OutRecord, ...], int] | None:
        """As EventsMapper has it."""
        source = ScannedEvent(record, slots, self, self._name(slots), self._id(slots))
        decision = self.plan_of(source.name).decide(source, skipped, propagated)
        if decision is None:
            return None
        size_bytes = sum([output.size_bytes for output in decision])
        return self._with_skipped(made, skipped, decision), decision, size_bytes

    def propagate(self, record: SourceRecord) -> Headers | None:
        """As EventsMapper has it."""
        if overrides_frame(record.headers):
            return None
        headers, malformed = propagated_headers(record.headers)
        return None if malformed else headers

    def native_event(self, name: EventName) -> NativeEvent | None:
        """As EventsMapper has it."""
        return self.plan_of(name).native_event(self._key_paths[name]) if name in self._key_paths else None

    def _with_skipped(
        self, made: PlannedMessages, skipped: tuple[SkippedTemplate, ...], decision: tuple[OutRecord, ...]
    ) -> PlannedMessages:
        """The same one each time, since many events share it."""
        topics, reasons = tuple([output.topic for output in decision]), tuple([each.reason for each in skipped])
        with_skipped = self._made.get((made, topics, reasons))
        if with_skipped is None:
            with_skipped = replace(made, topics=(*made.topics, *topics), skipped=reasons)
            self._made[made, topics, reasons] = with_skipped
        return with_skipped

    def plan_of(self, name: EventName) -> TemplatesPlan:
        """The plan of the templates for an event's name."""
        plan = self._plans.get(name)
        if plan is None:
            plan = self._plans[name] = self._make_plan(name, self)
        return plan

    def read_event(self, record: SourceRecord) -> Event:
        """The event of a record that was scanned."""
        event = decode(record, schemas=self._schemas, schema_of=lambda _id: self._writer, max_event_bytes=sys.maxsize)
        if not isinstance(event, Event):
            raise InternalError(f"{record.position} was scanned, and has no event: {event.reason}")
        return event


# ---------------------------------------------------------------------------------------------------------------------
# Rules of families

_SUBJECT: Final[tuple[Path, ...]] = (("subject", "kind"), ("subject", "encodedKey"))
_ACCOUNT: Final[tuple[Path, ...]] = (("account", "encodedKey"), ("account", "kind"))
_HOLDS: Final[tuple[Path, ...]] = (("hold", "encodedKey"), ("holds",))
_RULE_PATHS: Final[Mapping[str, tuple[Path, ...]]] = {  # family with rules beside its holder -> what they read
    "activity": (*_SUBJECT, *_ACCOUNT),
    "authorisation_hold": _HOLDS,
}


def _rule_of(family: Family, values: ScannedValues) -> Rule:
    """The rule of a family, as `check_event` has it."""
    if family.holder not in (Holder.CLIENT_OR_GROUP, Holder.AT_MOST_ONE):
        return lambda _name, _slots: True  # the schema says all of it
    client, group = map(values.value, _HOLDERS)
    has_client, has_group = map(values.is_there, _HOLDERS)
    match family.name:
        case "activity":
            return _checked(family, _activity_fields(values))
        case "authorisation_hold":
            hold, holds = map(values.value, _HOLDS)
            return _checked(
                family,
                lambda slots: {
                    "client": client(slots),
                    "group": group(slots),
                    "hold": hold(slots),
                    "holds": holds(slots),
                },
            )
        case _ if family.holder is Holder.AT_MOST_ONE:
            return lambda _name, slots: not (has_client(slots) and has_group(slots))
        case _:
            return lambda _name, slots: has_client(slots) is not has_group(slots)


def _activity_fields(values: ScannedValues) -> Callable[[Slots], Fields]:
    client, group = map(values.value, _HOLDERS)
    account, account_kind = map(values.value, _ACCOUNT)
    subject_kind, subject = map(values.value, _SUBJECT)
    return lambda slots: {
        "subject": {"kind": subject_kind(slots), "encodedKey": subject(slots)},
        "client": _entity(client(slots)),
        "group": _entity(group(slots)),
        "account": _entity(account(slots), kind=account_kind(slots)),
    }


def _entity(key: str | None, **more: str | None) -> Fields | None:
    return None if key is None else {"encodedKey": key, **more}


def _checked(family: Family, fields_of: Callable[[Slots], Fields]) -> Rule:
    """By the rules themselves, over the fields that they read."""

    def is_consistent(name: EventName, slots: Slots) -> bool:
        try:
            check_event(name, family, fields_of(slots))
        except ContentError:
            return False
        return True

    return is_consistent
