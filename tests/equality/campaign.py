"""Rounds of records, each with an installation of its own: what plans give is nothing, or what the reference gives.

A round draws two families, evolved writers, templates, a configuration and output formats once, since their
expressions take long to compile; its records are many. Record `number` of a seed depends on nothing but the two and the
size of a round.
"""

import random
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from processor.domain.catalogue import EVENTS, FAMILIES
from processor.domain.event import Event, Fields
from processor.domain.operation import OperationId, PastOperation
from processor.domain.outcome import MappingPath, Outcome, Processed, Rejected
from processor.domain.reasons import DecisionReason
from processor.domain.record import Headers, SchemaGuid, SchemaId
from processor.domain.template import Template, TemplateSet, template_set
from processor.mapping.event_plans import EventPlans
from processor.mapping.plan_observer import PlanRefusal
from processor.mapping.scanned_event import ScannedEvent
from processor.native import NATIVE
from processor.wire.decode import event_from_json
from processor.wire.encode import OutputEncoder
from processor.wire.reader_schemas import Schemas
from processor.wire.schema import WriterSchema
from processor.wire.wire_format import WireFormat
from tests.equality.sources import Sources
from tests.fuzz.avro import avro_bytes, broken_bytes, odd_writers, other_writers
from tests.fuzz.checker import Case, describe_error, map_case, source_record
from tests.fuzz.corpus import FIRST_WRITER_ID, Corpus, ValidRecord
from tests.fuzz.environment import Configuration, Environment, configurations, schemas_of
from tests.fuzz.extreme import extreme_event
from tests.fuzz.mutated import mutated_record
from tests.support.planned import TRACE, check_written, comparable

EXECUTORS: Final = (MappingPath.PLAIN, *(() if NATIVE is None else (MappingPath.NATIVE,)))
FAMILIES_PER_ROUND: Final = 2
OTHER_WRITERS: Final = 2  # of each family of a round
TEMPLATES_PER_EVENT: Final = (1, 1, 2)  # one that fails leaves the others to the reference too
EXTREME_EVENTS: Final = 25  # of each family
SHIPPED_INTERVAL: Final = 4  # rounds; the first of so many has the shipped templates and no odd writer

_WRITTEN_SHARE: Final = 0.5  # the others are valid records whose bytes are mutated
_EXTREME_SHARE: Final = 0.15  # of events that are extreme from the start; most of them are read by the reference
_SHARES: Final = (0.0, 0.01, 0.03, 0.2)  # of an event's values, that are another one's

VALID, ODD, BROKEN = WRITTEN = ("valid", "oddly encoded", "with a broken value")
_WRITTEN_WEIGHTS: Final = (6, 1, 3)
MUTATED: Final = "mutated"
KINDS: Final = (*WRITTEN, MUTATED)

_HEADERS: Final[Headers] = (*TRACE, ("other", None))
_OPERATION: Final = OperationId("replay-20261129T075501Z-3f2a91c0")
_OPERATIONS: Final = (
    *(None, None, None, PastOperation(id=_OPERATION)),
    PastOperation(id=_OPERATION, reissue=True, send_late=True),
)


@dataclass(frozen=True, slots=True)
class Difference:
    """A record of which a plan does not give what it should, and what is wrong; `number` and the seed give it again."""

    number: int
    text: str


@dataclass(slots=True)
class Tally:
    """What came of many records. `slowest_ms`: CPU time of the plan that took most, for record `slowest`."""

    counts: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)
    slowest_ms: float = 0.0
    slowest: int = -1

    def add(self, other: "Tally") -> None:
        """Add another one's."""
        self.counts += other.counts
        self.differences += other.differences
        if other.slowest_ms > self.slowest_ms:
            self.slowest_ms, self.slowest = other.slowest_ms, other.slowest


@dataclass(frozen=True, slots=True)
class Example:
    """A record to be mapped, of one of KINDS. `fields` are its event's, for a VALID one; None: of another kind."""

    case: Case
    kind: str
    fields: Fields | None


class ObservedPlans(EventPlans):
    """Plans that know whether the last record was scanned, and whether one has raised an error."""

    has_scanned = False
    has_raised = False

    def refuse(self, reason: PlanRefusal) -> None:
        """As EventPlans has it."""
        super().refuse(reason)
        self.has_raised = self.has_raised or reason is PlanRefusal.ERROR

    def scan(self, *args: Any, **options: Any) -> ScannedEvent | None:
        """As EventPlans has it."""
        source = super().scan(*args, **options)
        self.has_scanned = source is not None
        return source


class Round:
    """The installation of a round, and its records."""

    def __init__(self, sources: Sources, seed: int, number: int, executors: Sequence[MappingPath] = EXECUTORS) -> None:
        """Takes some tenths of a second; its plain scanners take some seconds, when their first records are met."""
        rng = random.Random(f"{seed}/round/{number}")
        self.seed = seed
        self.plans = {
            executor: ObservedPlans(native=NATIVE if executor is MappingPath.NATIVE else None) for executor in executors
        }
        self.has_shipped_templates = number % SHIPPED_INTERVAL == 0
        families = rng.sample(sorted(FAMILIES), FAMILIES_PER_ROUND)
        schemas = rng.choice(sources.schemas)
        templates = sources.shipped if self.has_shipped_templates else _draw_templates(sources, families, rng)
        self._valid, self._extreme, self._corpus = self._draw_events(sources, schemas, families, rng)
        self._format = rng.choice(tuple(WireFormat))
        self._configuration = self._draw_configuration(schemas, templates, rng)
        self._environment = Environment(self._corpus, (self._configuration,), {}, schemas_of(self._corpus))
        # One for all records: plans are of one context, and are made again for another.
        context = self._configuration.contexts[self._format]
        self._planned = {executor: replace(context, plans=plans) for executor, plans in self.plans.items()}

    def _draw_events(
        self, sources: Sources, schemas: Schemas, families: list[str], rng: random.Random
    ) -> tuple[list[Event], Mapping[str, list[Event]], Corpus]:
        """Ordinary events, extreme ones by their family, and the writers of both with some records."""
        names = {FAMILIES[family].record: family for family in families}
        events = tuple(event for event in sources.events if EVENTS[event["event"]].family in families)
        writers = {name: self._draw_writers(schemas, name, rng) for name in names}
        by_id: dict[SchemaId | SchemaGuid, WriterSchema] = {
            schemas.families[name].id: schemas.local[schemas.families[name].id] for name in names
        }
        by_id |= {
            SchemaId(FIRST_WRITER_ID + at): writer
            for at, writer in enumerate(writer for each in writers.values() for writer in each)
        }
        writers = {name: (schemas.local[schemas.families[name].id], *each) for name, each in writers.items()}
        corpus = Corpus(schemas, events, (), writers, by_id)
        valid = [event for each in events if isinstance(event := event_from_json(each, schemas), Event)]
        extreme = [
            event
            for _ in range(EXTREME_EVENTS * len(families))
            if isinstance(event := event_from_json(extreme_event(corpus, rng)[0], schemas), Event)
        ]
        records = [
            ValidRecord(value_of(event.fields, writer, corpus, rng, VALID), (), event.ordering_key.encode())
            for event in (*valid, *extreme[::8])
            for writer in writers[FAMILIES[event.family].record]
        ]
        by_family = {family: [event for event in extreme if event.family == family] for family in families}
        return valid, by_family, replace(corpus, records=tuple(records))

    def _draw_writers(self, schemas: Schemas, name: str, rng: random.Random) -> tuple[WriterSchema, ...]:
        writers = other_writers(schemas.families[name], rng, count=OTHER_WRITERS)
        if not self.has_shipped_templates and rng.random() < 0.5:
            writers += odd_writers(schemas.families[name], rng, count=1)
        return tuple(writer for writer in writers if writer.type is not None)

    def _draw_configuration(self, schemas: Schemas, templates: TemplateSet, rng: random.Random) -> Configuration:
        """Not one with suspended templates, of which no event is planned; often the ordinary one."""
        ordinary, *drawn = configurations(schemas, templates)
        drawn = [each for each in drawn if not each.suspended]
        configuration = ordinary if rng.random() < 0.4 else rng.choice(drawn)
        context = replace(
            configuration.contexts[self._format],
            encode=OutputEncoder(schemas, output_format=self._format, stream_format=rng.choice(tuple(WireFormat))),
            operation=rng.choice(_OPERATIONS),
        )
        return replace(configuration, contexts={self._format: context})

    def example(self, number: int) -> Example:
        """Record `number` of the seed."""
        rng = random.Random(f"{self.seed}/{number}")
        kind, fields = MUTATED, None
        if rng.random() < _WRITTEN_SHARE:
            kind = rng.choices(WRITTEN, _WRITTEN_WEIGHTS)[0]
            event, fields = self._draw_event(rng)
            writer = rng.choice(self._corpus.writers[FAMILIES[event.family].record])
            value: bytes | None = value_of(fields, writer, self._corpus, rng, kind)
            headers = _HEADERS if rng.random() < 0.1 else ()
            key: bytes | None = event.ordering_key.encode()
        else:
            value, headers, key = mutated_record(self._corpus, rng)
        record = source_record(value, headers, key, rng, number=number)
        case = Case(str(number), record, self._configuration, (self._format,))
        return Example(case, kind, fields if kind == VALID else None)

    def _draw_event(self, rng: random.Random) -> tuple[Event, Fields]:
        """An event, and its fields of which some are an extreme one's, where its family has one in this round: events
        that are extreme may all be invalid."""
        event = rng.choice(self._valid)
        other = rng.choice(self._extreme[event.family] or [event])
        if rng.random() < _EXTREME_SHARE:
            event = other
        return event, crossed(event.fields, other.fields, rng, share=rng.choice(_SHARES))

    def reference(self, example: Example) -> Outcome:
        """What the reference gives."""
        return map_case(example.case, self._configuration.contexts[self._format], self._environment)

    def planned(self, example: Example, executor: MappingPath) -> Outcome:
        """What an installation with plans gives."""
        return map_case(example.case, self._planned[executor], self._environment)

    def check(self, number: int, tally: Tally) -> None:
        """Map a record by the reference and each executor, and count what came of it."""
        example = self.example(number)
        reference = self.reference(example)
        tally.counts[example.kind] += 1
        tally.counts[f"{example.kind}: {_label(reference)}"] += 1
        must_be_accepted = self.has_shipped_templates and is_ordinary(example.fields) and _is_whole(reference)
        tally.counts["ordinary, by shipped templates"] += must_be_accepted
        for executor in self.plans:
            is_accepted = self._check_executor(executor, example, reference, tally)
            if must_be_accepted and is_accepted is False:
                text = f"{executor} refuses an ordinary record of the shipped templates"
                tally.differences.append(Difference(number, text))

    def _check_executor(self, executor: MappingPath, example: Example, reference: Outcome, tally: Tally) -> bool | None:
        """Whether an executor accepts a record; None: it raised an error."""
        number = int(example.case.name)
        began = time.thread_time()
        try:
            planned = self.planned(example, executor)
        except Exception as error:
            tally.differences.append(Difference(number, f"{executor} raised {describe_error(error)}"))
            return None
        took_ms = (time.thread_time() - began) * 1_000
        if took_ms > tally.slowest_ms:
            tally.slowest_ms, tally.slowest = took_ms, number
        if comparable(reference) != comparable(planned):
            tally.differences.append(Difference(number, f"the outcome of {executor} is not the reference's"))
        accepted = self.plans[executor].has_scanned and is_accepted(planned)
        tally.counts[f"{example.kind}: accepted by {executor}"] += accepted
        self._check_written(executor, example, reference, tally)
        return accepted

    def _check_written(self, executor: MappingPath, example: Example, reference: Outcome, tally: Tally) -> None:
        """Check what an executor writes of a record at once, if it does."""
        number, plans = int(example.case.name), self.plans[executor]
        try:
            is_written = check_written(example.case.record, self._planned[executor], reference)
        except AssertionError:
            text = f"what {executor} wrote at once is not the reference's"
            tally.differences.append(Difference(number, text))
            return
        tally.counts[f"{example.kind}: written at once by {executor}"] += is_written
        if plans.has_raised:
            plans.has_raised = False
            tally.differences.append(Difference(number, f"{executor} raised an error while it wrote a record at once"))


def run_round(sources: Sources, seed: int, number: int, numbers: range, executors: Sequence[MappingPath]) -> Tally:
    """Check the records `numbers` of round `number`."""
    tally, round_ = Tally(), Round(sources, seed, number, executors)
    for record_number in numbers:
        round_.check(record_number, tally)
    refused = {reason for plans in round_.plans.values() for reason in plans.refused_schemas.values()}
    for reason in refused:
        tally.counts[f"writers without a plan: {_shape(reason)}"] += 1
    re.purge()  # else expressions of the last rounds fill the memory
    return tally


def _draw_templates(sources: Sources, families: list[str], rng: random.Random) -> TemplateSet:
    """Some generated templates for each event of these families."""
    drawn: dict[str, Template] = {}
    for event, row in EVENTS.items():
        found = sources.generated.get(event, ()) if row.family in families else ()
        drawn |= {
            template.id: template for template in rng.sample(found, min(len(found), rng.choice(TEMPLATES_PER_EVENT)))
        }
    return template_set(drawn.values())


def value_of(fields: Fields, writer: WriterSchema, corpus: Corpus, rng: random.Random, kind: str) -> bytes:
    """The value of a record."""
    assert writer.type is not None
    if kind == BROKEN:
        return corpus.frame_of(writer) + broken_bytes(writer.type, fields, rng)
    return corpus.frame_of(writer) + avro_bytes(writer.type, fields, rng if kind == ODD else None)


# ---------------------------------------------------------------------------------------------------------------------
# Events between two others

_KEPT: Final = frozenset(("event", "tenant", "encodedKey", "kind", "subject", "holds"))
"""What the rules of families and the ordering key read."""
_PRESENT: Final = frozenset(("client", "group", "account", "hold"))
"""Records whose being there they read."""


def crossed(fields: Fields, other: Fields, rng: random.Random, *, share: float) -> dict[str, Any]:
    """A valid event: `fields` with a share of the values of `other`, an event of the same family."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        by = other.get(name)
        if name in _KEPT:
            found[name] = value
        elif isinstance(value, dict) and isinstance(by, dict):
            custom = {key: by[key] for key in by if rng.random() < share} if name == "customFields" else {}
            found[name] = {**value, **custom} if name == "customFields" else crossed(value, by, rng, share=share)
        else:
            found[name] = by if name not in _PRESENT and rng.random() < share else value
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Which records must be accepted

_MAX_TEXT_BYTES: Final = 255
_MAX_DECIMAL: Final = 2**119 // 10**10  # of 15 bytes, with ten digits behind the point
_DATES: Final = (date(17, 1, 1), date(4840, 1, 1))
_MOMENTS: Final = (datetime(829, 1, 1, tzinfo=UTC), datetime(3111, 1, 1, tzinfo=UTC))


def is_ordinary(value: Any) -> bool:
    """Whether decoded fields have nothing rare, which a plan may refuse; None, of a record that was not written as any
    producer would, has."""
    match value:
        case dict():
            return all(map(_is_ordinary_value, value.values()))
        case _:
            return False


def _is_ordinary_value(value: Any) -> bool:
    match value:
        case dict():
            return all(map(_is_ordinary_value, value.values()))
        case list():
            return all(map(_is_ordinary_value, value))
        case str():
            return len(value.encode()) <= _MAX_TEXT_BYTES
        case Decimal():
            return abs(value) < _MAX_DECIMAL
        case datetime():
            return _MOMENTS[0] <= value < _MOMENTS[1]
        case date():
            return _DATES[0] <= value < _DATES[1]
        case _:
            return True


def _is_whole(outcome: Outcome) -> bool:
    """Whether nothing has failed, no character was replaced, and key and tenant are right."""
    return (
        isinstance(outcome, Processed)
        and not outcome.failed
        and outcome.wrong_key is None
        and not any(message.replaced for message in outcome.messages)
        and all(skipped.reason is not DecisionReason.TENANT_DISABLED for skipped in outcome.skipped)
    )


def is_accepted(outcome: Outcome) -> bool:
    """Whether what a scanned event gave came of its plan, as far as one can see: a decision is the same either way."""
    return isinstance(outcome, Processed) and not outcome.created and not outcome.failed


def _label(outcome: Outcome) -> str:
    match outcome:
        case Processed() if outcome.failed:
            return "templates failed"
        case Processed():
            return "messages" if outcome.messages else "no message"
        case Rejected():
            return "rejected"
        case _:
            return "deferred"


def _shape(reason: str) -> str:
    """A reason without the names in it."""
    return re.sub(r"[\w.]*added\d+[\w.]*|^[\w.]+(?= has)|[\w.]+(?=:)", "…", reason)
