"""Planned events: whatever the template and the event, the outcome is the reference's, byte for byte."""

import json
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import cache
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.domain.catalogue import FAMILIES
from processor.domain.operation import OperationId, PastOperation
from processor.domain.outcome import Processed
from processor.domain.reasons import TemplateReason
from processor.domain.record import EventName, RecordPosition, SourceRecord, Topic
from processor.mapping.context import MappingContext
from processor.mapping.decode_record import decode_record
from processor.mapping.event_plans import MAX_SCANNERS, EventPlans
from processor.mapping.map import map_event
from processor.mapping.options import WrittenDecisions
from processor.mapping.scanned_event import EventScanner, ScannedEvent
from processor.templates.load import SHIPPED
from processor.wire.wire_format import WireFormat
from tests.support.builders import (
    EVENTS_TOPIC,
    TENANT,
    make_context,
    make_email,
    make_event,
    make_output_topics,
    make_source,
    make_template,
    map_record,
    schemas,
)
from tests.support.executors import native_in_use
from tests.support.laws import examples
from tests.support.planned import TRACE, avro_record, check_written, comparable, is_planned, with_plans
from tests.support.wire import SCHEMAS, changed_schema, events_of, field_of

pytestmark = pytest.mark.usefixtures("executor")

EXAMPLES: Final = {
    path.stem: json.loads(path.read_text())
    for folder in ("events", "samples")
    for path in (SHIPPED / folder).glob("*.json")
}


def check_equal(record: SourceRecord, context: MappingContext, **options: Any) -> bool:
    """Whether the record is planned; its outcome is the reference's in any case, and so is what is written at once."""
    planned_context = context if context.plans else with_plans(context)
    planned = map_record(record, planned_context, **options)
    reference = map_record(record, replace(context, plans=None), **options)
    assert comparable(reference) == comparable(planned)
    if not options:
        check_written(record, planned_context, reference)
    return is_planned(planned)


def context_of(form: WireFormat) -> MappingContext:
    """The shipped templates, with plans."""
    return _context_of(form, native_in_use() is not None)


@cache
def _context_of(form: WireFormat, _is_native: bool) -> MappingContext:
    return with_plans(make_context(form=form))


@pytest.mark.parametrize("form", WireFormat)
@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_shipped_events_and_templates(name: str, form: WireFormat) -> None:
    """Each is planned."""
    event = make_event(EXAMPLES[name])

    assert check_equal(avro_record(event.fields), context_of(form))


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=examples(40), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_event_with_the_shipped_templates(family: str, data: st.DataObject) -> None:
    """Planned or not."""
    fields = {**data.draw(events_of(SCHEMAS.families[FAMILIES[family].record])), "tenant": TENANT}

    check_equal(avro_record(fields), context_of(data.draw(st.sampled_from(list(WireFormat)))))


# ---------------------------------------------------------------------------------------------------------------------
# What else outputs depend on

OPERATION: Final = OperationId("replay-20261129T075501Z-3f2a91c0")
CHANGES: Final[dict[str, dict[str, Any]]] = {
    "a replay": {"operation": PastOperation(id=OPERATION)},
    "a reissue": {"operation": PastOperation(id=OPERATION, reissue=True, send_late=True)},
    "few decisions": {"decisions": WrittenDecisions.UNEXPECTED},
    "no decisions": {"decisions": WrittenDecisions.OFF},
    "small topics": {"output_topics": make_output_topics(limit=600, dead_letters=100_000)},
    "a small stream": {"output_topics": make_output_topics(streams=100)},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("name", ["LOAN_REPAYMENT", "CLIENT_CREATED", "REPAYMENT_REMINDER"])
def test_installations(name: str, changes: dict[str, Any]) -> None:
    """Settings, topics and operations."""
    context = with_plans(make_context(form=WireFormat.AVRO, **changes))

    check_equal(avro_record(make_event(EXAMPLES[name]).fields), context)


def test_headers_that_are_carried_on() -> None:
    """On every output; one that is malformed is counted."""
    fields = make_event().fields

    assert check_equal(avro_record(fields, headers=TRACE), context_of(WireFormat.AVRO))
    assert check_equal(avro_record(fields, headers=(("traceparent", b"?"), *TRACE[1:])), context_of(WireFormat.JSON))


@pytest.mark.parametrize("timestamp_ms", [-1, 2**63 - 1, 0])
def test_records_without_a_time(timestamp_ms: int) -> None:
    """The event's time takes its place."""
    record = avro_record()._replace(timestamp_ms=timestamp_ms)

    assert check_equal(record, context_of(WireFormat.AVRO))


def test_duplicates_and_named_templates() -> None:
    """A duplicate has one decision; who names templates gets these."""
    record, context = avro_record(), context_of(WireFormat.AVRO)
    first = RecordPosition(EVENTS_TOPIC, 3, 1)
    templates = [template.id for template in context.templates.for_event(EventName("LOAN_REPAYMENT"))]

    assert not check_equal(record, context, duplicate_of=first)
    assert check_equal(record, context, only=frozenset(templates[:1]))
    assert not check_equal(record, context, only=frozenset())


def test_suspended_templates() -> None:
    """Are the reference's."""
    record, context = avro_record(), context_of(WireFormat.AVRO)
    template = context.templates.for_event(EventName("LOAN_REPAYMENT"))[0].id

    assert not check_equal(record, context, suspended=frozenset([(template, TemplateReason.MISSING_VALUE)]))


def test_events_without_a_template() -> None:
    """Are scanned too."""
    context = with_plans(make_context(make_template(events=("SAVINGS_DEPOSIT",)), form=WireFormat.AVRO))

    assert not check_equal(avro_record(), context)


def test_streams_of_other_names() -> None:
    """A stream's message goes to its topic, whatever that is called."""
    topics = make_output_topics()
    streams = {event: replace(topic, name=Topic(f"bank-a.{event}")) for event, topic in topics.streams.items()}
    context = make_context(form=WireFormat.AVRO, output_topics=replace(topics, streams=streams))

    assert check_equal(avro_record(make_event().fields), with_plans(context))


def test_a_stream_that_is_switched_off() -> None:
    """Has no topic, so that none of its outputs can be planned; it is the event's first template, and the other one is
    planned all the same."""
    templates = make_template("a-stream", active=False), make_email("mail")
    topics = replace(make_output_topics(), streams={})
    context = make_context(*templates, form=WireFormat.AVRO, output_topics=topics)

    assert check_equal(avro_record(make_event().fields), with_plans(context))


def test_a_template_that_fails() -> None:
    """All of the record's templates are the reference's then."""
    template = make_template(body="{TRANSACTION_COMMENT}", strict=True)
    fields = {**make_event().fields}
    fields["transaction"] = {**fields["transaction"], "comment": None}
    context = with_plans(make_context(template, make_template("second"), form=WireFormat.AVRO))

    assert not check_equal(avro_record(fields), context)


# ---------------------------------------------------------------------------------------------------------------------
# Which records are scanned


def scanned(record: SourceRecord, context: MappingContext) -> bool:
    """Whether a record is scanned; if not, it has the reference's outcome, as in any case."""
    check_equal(record, context)
    return isinstance(decode_record(record, context, schema_of=schemas().local_schema), ScannedEvent)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"headers": (("x", None),)}, True),
        ({"headers": (("Content-Type", b"application/json"),)}, False),
        ({"headers": (("content-type", b"avro/binary"),)}, False),
        ({"headers": (("__value_schema_id", b"\x01" + bytes(16)),)}, False),
        ({"headers_error": "the name of a header is not UTF-8"}, False),
        ({"key": b"another"}, False),
        ({"key": None}, False),
        ({"value": b""}, False),
        ({"value": None}, False),
        ({"value": b"\x00\x00\x00\x00"}, False),
        ({"value": b"\x00\x00\x00\x00\x01\x00"}, False),
        ({"value": b"{}"}, False),
    ],
    ids=str,
)
def test_records_that_are_scanned(change: dict[str, Any], expected: bool) -> None:
    """Those with a frame alone."""
    record = avro_record()._replace(**change)

    assert expected == scanned(record, context_of(WireFormat.AVRO))


def test_an_event_that_is_too_large() -> None:
    """Is not scanned."""
    record = avro_record()
    context = with_plans(make_context(form=WireFormat.AVRO, max_event_bytes=len(record.value or b"") - 1))

    assert not scanned(record, context)


def test_plans_are_of_one_context() -> None:
    """A context with other templates has other plans, whoever made it."""
    record, context = avro_record(), with_plans(make_context(form=WireFormat.AVRO))
    assert check_equal(record, context)

    other = replace(context, templates=make_context(make_template()).templates)
    assert check_equal(record, other)
    assert check_equal(record, context)


def test_a_context_other_than_it_was_scanned_with() -> None:
    """The plan is not for it."""
    record, context = avro_record(), with_plans(make_context(form=WireFormat.AVRO))
    source = make_source(record, context)
    other = with_plans(make_context(make_template(), form=WireFormat.AVRO))

    outcome = map_event(source, other, suspended=frozenset(), duplicate_of=None)

    assert isinstance(source, ScannedEvent)
    assert comparable(map_record(record, replace(other, plans=None))) == comparable(outcome)


def test_many_schemas() -> None:
    """Each that is scanned takes memory, so of the first ones alone; the others are read."""
    writer = SCHEMAS.local[SCHEMAS.by_event[EventName("LOAN_REPAYMENT")].id]
    record, context = avro_record(), with_plans(make_context(form=WireFormat.AVRO))
    value = record.value or b""
    found = []
    for number in range(1, MAX_SCANNERS + 3):
        framed = record._replace(value=b"\x00" + number.to_bytes(4, "big") + value[5:])
        found.append(isinstance(decode_record(framed, context, schema_of=lambda _id: writer), ScannedEvent))

    assert [True] * MAX_SCANNERS + [False] * 2 == found


def test_many_schemas_without_a_plan() -> None:
    """Take no memory, and no place of one that is scanned."""
    record, context = avro_record(make_event().fields), with_plans(make_context(form=WireFormat.AVRO))
    writer = SCHEMAS.local[SCHEMAS.by_event[EventName("LOAN_REPAYMENT")].id]
    strange, value = replace(writer, name="bank.Something"), record.value or b""
    for number in range(1, MAX_SCANNERS + 1):
        framed = record._replace(value=b"\x00" + number.to_bytes(4, "big") + value[5:])
        decode_record(framed, context, schema_of=lambda _id: strange)

    assert scanned(record, context)


def test_schemas_without_a_plan() -> None:
    """Are named with the reason, and tried once."""
    plans = EventPlans(native=native_in_use())
    context = make_context(plans=plans, form=WireFormat.AVRO)
    record = avro_record()
    strange = replace(SCHEMAS.local[SCHEMAS.by_event[EventName("LOAN_REPAYMENT")].id], name="bank.Something")

    for _ in range(2):
        decoded = decode_record(record, context, schema_of=lambda _id: strange)
        assert not isinstance(decoded, ScannedEvent | Processed)
    assert ["bank.Something is not a family of events"] == list(plans.refused_schemas.values())


def test_a_schema_with_several_types_of_times() -> None:
    """Has no plan either, and that is no fault of ours."""
    plans = EventPlans(native=native_in_use())
    context = make_context(plans=plans, form=WireFormat.AVRO)
    timestamp = {"type": "long", "logicalType": "timestamp-micros"}
    writer = changed_schema(lambda schema: field_of(schema, "occurredAt").update(type=["string", timestamp, "null"]))
    record = avro_record(make_event().fields)

    assert not isinstance(decode_record(record, context, schema_of=lambda _id: writer), ScannedEvent)
    assert ["occurredAt is by its writer one of several types"] == list(plans.refused_schemas.values())


def test_scanners_that_are_made_elsewhere() -> None:
    """Until one is there the records of its schema are read."""
    started = list[tuple[Callable[[], EventScanner], Future[EventScanner]]]()

    def start(make: Callable[[], EventScanner]) -> "Future[EventScanner]":
        started.append((make, Future()))
        return started[-1][1]

    context = make_context(plans=EventPlans(start, native=native_in_use()), form=WireFormat.AVRO)
    record = avro_record()
    assert not scanned(record, context)
    assert not scanned(record, context)
    ((make, future),) = started
    future.set_result(make())

    assert scanned(record, context)
    assert check_equal(record, context)


def test_scanners_are_made_one_after_the_other() -> None:
    """So that a start with many schemas leaves the loop its share of the processor."""
    started = list[tuple[Callable[[], EventScanner], Future[EventScanner]]]()

    def start(make: Callable[[], EventScanner]) -> "Future[EventScanner]":
        started.append((make, Future()))
        return started[-1][1]

    context = make_context(plans=EventPlans(start, native=native_in_use()), form=WireFormat.AVRO)
    first, second = avro_record(), avro_record(make_event("client-created").fields)
    for _ in range(2):
        assert not scanned(first, context)
        assert not scanned(second, context)
    ((make, future),) = started
    future.set_result(make())

    assert not scanned(second, context)
    assert scanned(first, context)
    assert not scanned(second, context)
    _, (make, future) = started
    future.set_result(make())
    assert scanned(second, context)


def test_a_fault_of_ours_while_planning() -> None:
    """Is raised once, so that it is seen; then the records of the schema are read."""

    def start(_make: Callable[[], EventScanner]) -> "Future[EventScanner]":
        future: Future[EventScanner] = Future()
        future.set_exception(KeyError("planted"))
        return future

    context = make_context(plans=EventPlans(start, native=native_in_use()), form=WireFormat.AVRO)
    record = avro_record()
    with pytest.raises(KeyError, match="planted"):
        decode_record(record, context, schema_of=schemas().local_schema)

    assert not scanned(record, context)
