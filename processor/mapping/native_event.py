"""Whole events that C maps, many in one call (`_native.pyx`): here plans of templates become its programs. Pure.

A program makes a message of each of an event's templates, or says why there is none, or refuses the event: then its
plan says what becomes of it, template by template.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final, Protocol

from processor.domain.catalogue import EVENTS, FAMILIES, Family, Holder, Target
from processor.domain.channel import CHANNELS
from processor.domain.event import SeenEvent
from processor.domain.message import SkippedTemplate
from processor.domain.outcome import PlannedMessages
from processor.domain.output_topics import OutputTopic
from processor.domain.record import LAST_TIME_MS, EventName, Headers, OutRecord, SourceRecord, TemplateId, Topic
from processor.domain.template import Condition, CustomField, Match, Operator, Subscription, Template, Text
from processor.mapping.check_plan import (
    plan_conditions,
    plan_recipient,
    plan_target,
    plan_trigger_days,
    reads_recipient,
)
from processor.mapping.checks import holder_not_subscribed, template_disabled, template_inactive
from processor.mapping.condition_plan import ConditionPlanner
from processor.mapping.conditions import OPERAND_TYPES
from processor.mapping.context import DraftRules, MappingContext
from processor.mapping.draft import event_type
from processor.mapping.draft_plan import PlanDraft, find_destination, text_planner
from processor.mapping.escape import SUBJECT_LIMIT_CHARACTERS
from processor.mapping.native_text import MAX_DIGITS
from processor.mapping.plain_text import subject_text
from processor.mapping.plan_values import RECIPIENT, Path, PlanValues, RecipientValues, Slots, give_none
from processor.mapping.planned_outputs import MessageVariant
from processor.mapping.recipient import KeyField
from processor.mapping.reference import LookupFailedError, no_rows
from processor.native import NativeEvent, NativeOutputs, NativePart, NativeParts
from processor.wire.encode import HEADERS
from processor.wire.scalars import EXACT
from processor.wire.scan_expressions import varint
from processor.wire.scan_program import Form, Leaf, ScanProgram
from processor.wire.slot_values import TEXT_FORMS
from processor.wire.value_encoders import ENCODERS

_NO_SLOT: Final = -1
_LEAST, _MOST = -(2**63), 2**63 - 1  # stand for no bound


class MessageWriters(Protocol):
    """What writes the messages of one template."""

    @property
    def draft(self) -> PlanDraft:
        """What an event comes to; or why it has no message."""

    def native_outputs(self, variant: MessageVariant) -> NativeOutputs | None:
        """Message, status and stream event in C; None: nothing there writes them."""

    def notify(self, values: PlanValues, key_field: KeyField) -> "Notify | None":
        """The `Message`; None for a channel that has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckProgram:
    """A check, by the codes of the native part: that a number in a slot lies within `low` and `high`, that the symbol
    there has a 1 in `symbols`, or what `passes` says of all slots. `passes_missing`: it passes where the slot has no
    value."""

    code: int
    slot: int = 0
    low: int = _LEAST
    high: int = _MOST
    symbols: bytes | None = None
    passes_missing: bool = False
    passes: Callable[[Slots], bool] | None = None


class Notify(Protocol):
    """Writes the `Message` of a message to somebody."""

    def __call__(
        self, slots: Slots, key: str, recipient: str, text: tuple[str | None, str], destination: str, time_ms: int, /
    ) -> tuple[tuple[str, ...], bytes, bytes] | None:
        """The parts that no reference row gave, the same encoded, and the `Message`. `text` is subject and body. None,
        refused: somebody is not to be contacted, or a row is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteProgram:
    """One of those whom a template may address: `key_slot` has their key, -1 for nobody.

    `parts` are body, subject and address in each language, of which `choose_parts` gives the index. `find_destination`
    gets a text's address, if it has one; None, and what it gives is None: the template's own, and refused.
    """

    key_slot: int
    parts: tuple[NativeParts, ...]
    choose_parts: Callable[[Slots], int] | None
    find_destination: Callable[[Slots, str | None], str | None] | None
    notify: Notify | None


RecordProgram = tuple[Topic, int, int, Headers, int]
"""Of an output: topic, its limit in bytes, the partitions of a stream's, else 0, its headers, and how many bytes these
have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateProgram:
    """What one template makes of an event.

    The first of `routes` counts whose recipient is there. `kind_slot` has one of `kind_count` kinds of account;
    `holder_slots` the key of the one who may have opted out, as `is_subscribed` knows. `destination` is a stream's.
    Limits are in characters; a subject that is longer, or may hold what is no text, is what `subject_line` gives.
    `make_outputs` gets the number of a route, and of the kind, -1 for none. Where there is no message, `draft` says
    why, by a `skipped_class`; anything else that it gives is refused.
    """

    name: bytes
    checks: tuple[CheckProgram, ...]
    is_addressed: bool
    routes: tuple[RouteProgram, ...]
    kind_slot: int
    kind_count: int
    holder_slots: tuple[int, ...]
    is_subscribed: Callable[[str], bool] | None
    destination: bytes | None
    none_missing: bytes
    body_limit: int
    subject_limit: int
    subject_line: Callable[[str], str]
    records: tuple[RecordProgram, ...]
    make_outputs: Callable[[int, int], NativeOutputs | None]
    draft: PlanDraft
    skipped_class: type[SkippedTemplate] = SkippedTemplate


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsProgram:
    """What is common to the events of one writer's schema. `places` are the slots of tenant, name, id and time, and of
    the keys of client and group, -1 for none. `is_consistent` and `make_event` get a name's symbol; `propagate` and
    `add_decision` are an EventsMapper's."""

    tenant: bytes
    places: tuple[int, int, int, int, int, int]
    least_holders: int
    most_holders: int
    event_count: int
    seen_class: type[SeenEvent] = SeenEvent
    is_consistent: Callable[[int, Slots], bool] | None
    make_event: Callable[[int], NativeEvent | None]
    max_event_bytes: int
    propagate: Callable[[SourceRecord], Headers | None]
    add_decision: Callable[..., tuple[PlannedMessages, tuple[OutRecord, ...], int] | None]
    last_time_ms: int = LAST_TIME_MS


class NotNativeError(Exception):
    """The events are mapped template by template."""


class EventsMapper(Protocol):
    """What maps the events of one writer's schema."""

    tenant: str
    max_event_bytes: int

    @property
    def rule(self) -> Callable[[EventName, Slots], bool] | None:
        """Whether the values of an event agree, by rules beside its number of holders; None: its family has none."""

    def native_event(self, name: EventName) -> NativeEvent | None:
        """The programs for a name; called once. None: its events are mapped template by template."""

    def propagate(self, record: SourceRecord) -> Headers | None:
        """The headers that outputs carry on, of a record that has some. None, refused: one is malformed, or says how
        the value is read."""

    def add_decision(
        self,
        record: SourceRecord,
        slots: Slots,
        made: PlannedMessages,
        skipped: tuple[SkippedTemplate, ...],
        propagated: Headers,
    ) -> tuple[PlannedMessages, tuple[OutRecord, ...], int] | None:
        """Of a record of which templates were skipped: `made` with the decision's topic and reasons, its records (none
        where the installation writes none), and their bytes. None: refused."""


def events_program(program: ScanProgram, family: Family, mapper: EventsMapper) -> EventsProgram | None:
    """How `mapper` maps the events that `program` scans. None: template by template."""
    try:
        name = _leaf(program, ("event",), {Form.SYMBOL})
        places = (
            _slot(_leaf(program, ("tenant",), TEXT_FORMS)),
            _slot(name),
            _slot(_leaf(program, ("eventId",), TEXT_FORMS)),
            _slot(_leaf(program, ("occurredAt",), {Form.TIMESTAMP})),
            _slot(_leaf(program, ("client", "encodedKey"), TEXT_FORMS)),
            _slot(_leaf(program, ("group", "encodedKey"), TEXT_FORMS)),
        )
    except NotNativeError:
        return None
    if name is None or _NO_SLOT in places[:4]:
        return None
    names = [EventName(symbol or "") for symbol in name.symbols]
    (least, most), rule = _HOLDERS.get(family.holder, (0, 2)), mapper.rule
    return EventsProgram(
        tenant=mapper.tenant.encode(),
        places=places,
        least_holders=least,
        most_holders=most,
        event_count=len(names),
        is_consistent=None if rule is None else lambda symbol, slots: rule(names[symbol], slots),
        make_event=lambda symbol: mapper.native_event(names[symbol]),
        max_event_bytes=mapper.max_event_bytes,
        propagate=mapper.propagate,
        add_decision=mapper.add_decision,
    )


_HOLDERS: Final = {Holder.CLIENT_OR_GROUP: (1, 1), Holder.AT_MOST_ONE: (0, 1)}
"""How many of client and group an event has at least and at most; of others the schema says it."""


def _leaf(program: ScanProgram, path: Path, forms: Collection[Form]) -> Leaf | None:
    """Where a value is; None: no event has it. NotNativeError where it has another form, or more than a slot."""
    place = program.places.get(path)
    if place is None:
        return None
    if not isinstance(place.source, Leaf) or place.source.form not in forms:
        raise NotNativeError
    return place.source


def _slot(leaf: Leaf | None) -> int:
    return _NO_SLOT if leaf is None or leaf.slot is None else leaf.slot


def native_event(
    event: EventName,
    values: PlanValues,
    context: MappingContext,
    key_paths: Sequence[Path],
    writers: Mapping[TemplateId, MessageWriters],
) -> NativeEvent:
    """What maps events of one name; `writers` has an entry for each template. NotNativeError where there is nothing."""
    native, templates = values.native, context.templates.for_event(event)
    if native is None or context.operation is not None or not templates:
        raise NotNativeError
    planners = [
        _TemplatePlanner(template, event, values, context, native, writers[template.id]) for template in templates
    ]
    programs = [planner.program() for planner in planners]

    def make_made(skipped: tuple[int, ...], missing: tuple[str, ...]) -> PlannedMessages:
        made = [(template, programs[at]) for at, template in enumerate(templates) if at not in skipped]
        return PlannedMessages(
            templates=tuple((template.id, template.version) for template, _ in made),
            topics=tuple(record[0] for _, program in made for record in program.records),
            missing=missing,
        )

    key_slots = tuple(slot for path in key_paths if (slot := text_slot(values, path)) != _NO_SLOT)
    return native.make_event([native.make_template(program) for program in programs], key_slots, make_made)


def text_slot(values: PlanValues, path: Path) -> int:
    """The slot of a text, -1 where no event has it. NotNativeError where its text is not all there is of one slot."""
    if values.value(path) is give_none:
        return _NO_SLOT
    leaf = values.leaf(path)
    if leaf is None or leaf.form not in TEXT_FORMS or leaf.slot is None:
        raise NotNativeError
    return leaf.slot


@dataclass(frozen=True, slots=True)
class _TemplatePlanner:
    template: Template
    event: EventName
    values: PlanValues
    context: MappingContext
    native: NativePart
    writers: MessageWriters

    def program(self) -> TemplateProgram:
        template, event, context = self.template, self.event, self.context
        channel, rules, topics = CHANNELS[template.type], context.draft_rules, context.output_topics
        if channel.is_stream and event not in topics.streams:
            raise NotNativeError
        kinds = self.values.leaf(("account", "kind"))
        if kinds is None and self.values.value(("account", "kind")) is not give_none:
            raise NotNativeError
        names = () if kinds is None else kinds.symbols
        routes, fields = self._routes()

        def outputs_of(route: int, kind: int) -> NativeOutputs | None:
            return self.writers.native_outputs(
                MessageVariant(key_field=fields[route], account_kind=None if kind < 0 else names[kind])
            )

        own, limit = HEADERS[context.encode.output_format], channel.text_limit
        records = [_record(topics.messages, own), _record(topics.status, own)]
        if channel.has_notification:
            records.append(_record(topics.notifications, own))
        if channel.is_stream:
            stream = topics.streams[event]
            records.append(_record(stream, HEADERS[context.encode.stream_format], partitions=stream.partitions))
        return TemplateProgram(
            name=template.id.encode(),
            checks=tuple(self._checks()),
            is_addressed=template.recipient is not None,
            routes=routes,
            kind_slot=_NO_SLOT if kinds is None or kinds.slot is None else kinds.slot,
            kind_count=len(names),
            holder_slots=self._holder_slots(),
            is_subscribed=_subscriptions(template, rules),
            destination=event_type(context.tenant, event).encode() if channel.is_stream else None,
            none_missing=ENCODERS[context.encode.output_format].array([]),
            body_limit=0 if limit is None else limit.limit_characters,
            subject_limit=SUBJECT_LIMIT_CHARACTERS,
            subject_line=subject_text,
            records=tuple(records),
            make_outputs=outputs_of,
            draft=self.writers.draft,
        )

    def _routes(self) -> tuple[tuple[RouteProgram, ...], list[KeyField | None]]:
        """The routes of a program, and the message's field for the key of each."""
        template, event, values = self.template, self.event, self.values
        routes, fields = [], list[KeyField | None]()
        for route in plan_recipient(template, event, values, self.context.draft_rules):
            if not isinstance(route.values, RecipientValues):
                raise NotNativeError
            slot = text_slot(values, (*route.values.record, "encodedKey"))
            if slot != _NO_SLOT:
                routes.append(self._route(slot, route.values, route.key_field))
                fields.append(route.key_field)
        if template.recipient is None and FAMILIES[EVENTS[event].family].holder in (Holder.AT_MOST_ONE, Holder.NONE):
            routes.append(self._route(_NO_SLOT, RecipientValues(values), None))
            fields.append(None)
        return tuple(routes), fields

    def _route(self, key_slot: int, values: RecipientValues, key_field: KeyField | None) -> RouteProgram:
        template = self.template
        tags = [None, *template.texts]
        read_language = values.value((RECIPIENT, "language"))

        def choose_parts(slots: Slots) -> int:
            return tags.index(template.text_tag(read_language(slots)))

        find, tenant = find_destination(template, self.event, values, self.context.draft_rules), self.context.tenant

        def find_sendable(slots: Slots, url: str | None) -> str | None:
            found = find(slots, url, tenant)
            return None if found is None or found[1] is not None else found[0]

        return RouteProgram(
            key_slot=key_slot,
            parts=tuple(self._parts(template.text if tag is None else template.texts[tag], values) for tag in tags),
            choose_parts=(lambda slots: tags.index(template.text_tag(read_language(slots))))
            if template.texts
            else None,
            find_destination=None if CHANNELS[template.type].is_stream else find_sendable,
            notify=None if key_field is None else self.writers.notify(values, key_field),
        )

    def _parts(self, text: Text, values: PlanValues) -> NativeParts:
        rules, limit = self.context.draft_rules, self.context.text_limit_characters
        planner = text_planner(self.template, self.event, values, rules, limit_characters=limit)
        return planner.native_parts(text, self.native)

    def _holder_slots(self) -> tuple[int, ...]:
        holder = FAMILIES[EVENTS[self.event].family].holder
        return tuple(text_slot(self.values, (name, "encodedKey")) for name in holder.fields)

    # --- checks ---

    def _checks(self) -> list[CheckProgram]:
        template, event, values, rules = self.template, self.event, self.values, self.context.draft_rules
        if template_inactive(template) is not None or template_disabled(template, rules) is not None:
            return [self._python_check(lambda _slots: False)]
        checks = []
        is_of_account = template.target in (Target.LOANS, Target.SAVINGS)
        target = plan_target(template, event, values)
        if target is not None:
            kinds = values.leaf(("account", "kind")) if is_of_account else None
            checks.append(self._symbol_check(kinds, lambda slots: target(slots) is None))
        days = plan_trigger_days(template, values)
        if days is not None:
            checks.append(self._python_check(lambda slots: days(slots) is None))
        if reads_recipient(template, event):
            raise NotNativeError
        if template.match is Match.ANY and len(template.conditions) > 1:
            conditions = plan_conditions(template, event, values, rules)
            if conditions is not None:
                checks.append(self._python_check(lambda slots: conditions(slots) is None))
        else:
            checks += [self._condition(condition) for condition in template.conditions]
        return checks

    def _condition(self, condition: Condition) -> CheckProgram:
        family = EVENTS[self.event].family
        planner = ConditionPlanner(family, self.values, self.context.draft_rules.time_zone)
        holds = planner.holds(condition)
        if isinstance(condition.field, CustomField):
            return self._python_check(holds)
        path = condition.field[family]
        leaf = self.values.leaf(path.path)
        if leaf is not None and leaf.form is Form.DECIMAL and leaf.decimal is not None and leaf.slot is not None:
            operands = condition.operands.get(OPERAND_TYPES[path.type], ())
            bounds = amount_bounds(condition.operator, operands, leaf.decimal.scale)
            if bounds is not None and leaf.decimal.precision <= MAX_DIGITS:
                return CheckProgram(code=self.native.checks["AMOUNT"], slot=leaf.slot, low=bounds[0], high=bounds[1])
        return self._symbol_check(leaf, holds)

    def _symbol_check(self, leaf: Leaf | None, passes: Callable[[Slots], bool]) -> CheckProgram:
        """A check that reads one enum alone, if `leaf` is one; each of its values is checked now."""
        if leaf is None or leaf.form is not Form.SYMBOL or leaf.slot is None:
            return self._python_check(passes)
        slot = leaf.slot
        symbols = [
            symbol is not None and passes(_OneSlot(slot, varint(index))) for index, symbol in enumerate(leaf.symbols)
        ]
        return CheckProgram(
            code=self.native.checks["SYMBOL"],
            slot=slot,
            symbols=bytes(symbols),
            passes_missing=passes(_OneSlot(slot, None)),
        )

    def _python_check(self, passes: Callable[[Slots], bool]) -> CheckProgram:
        return CheckProgram(code=self.native.checks["PYTHON"], passes=passes)


@dataclass(frozen=True, slots=True)
class _OneSlot:
    """Slots of which one alone may be read."""

    slot: int
    raw: bytes | None

    def __getitem__(self, slot: int) -> bytes | None:
        if slot != self.slot:
            raise AssertionError(f"slot {slot} is read, not {self.slot} alone")
        return self.raw

    def __len__(self) -> int:
        return self.slot + 1


def amount_bounds(operator: Operator, operands: Sequence[Any], scale: int) -> tuple[int, int] | None:
    """Between which numbers without a point an amount of this scale lies where a condition is true of it; None: that
    cannot be said so."""
    if not operands or not all(isinstance(operand, Decimal) for operand in operands):
        return None
    floors = [int(operand.scaleb(scale, EXACT).to_integral_value(ROUND_FLOOR)) for operand in operands]
    ceilings = [int(operand.scaleb(scale, EXACT).to_integral_value(ROUND_CEILING)) for operand in operands]
    if any(abs(number) >= _MOST - 1 for number in (*floors, *ceilings)):
        return None
    match operator:
        case Operator.MORE_THAN:
            return floors[0] + 1, _MOST
        case Operator.LESS_THAN:
            return _LEAST, ceilings[0] - 1
        case Operator.EQUALS:
            return ceilings[0], floors[0]  # none where it has more digits than the scale
        case Operator.BETWEEN:
            return ceilings[0], floors[1]
    return None


def _subscriptions(template: Template, rules: DraftRules) -> Callable[[str], bool] | None:
    """Whether a holder, by key, gets the messages of a template; None: all do."""
    reference = rules.reference
    if reference.rows is no_rows and template.subscription is not Subscription.OPT_IN:
        return None

    def is_subscribed(holder: str) -> bool:
        try:
            return holder_not_subscribed(holder, template, reference) is None
        except LookupFailedError:
            return False

    return is_subscribed


def _record(topic: OutputTopic, headers: Headers, *, partitions: int = 0) -> RecordProgram:
    size_bytes = sum(len(name.encode()) + len(value or b"") for name, value in headers)
    return topic.name, topic.limit_bytes, partitions, headers, size_bytes
