"""What plans report: why the reference maps a record, and which schemas have plans."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest

from processor.domain.catalogue import Target
from processor.domain.outcome import MappingPath, Processed
from processor.domain.reasons import TemplateReason
from processor.domain.record import EventName, RecordPosition, SourceRecord, TemplateId
from processor.mapping.context import MappingContext, Suspended
from processor.mapping.decode_record import decode_record
from processor.mapping.event_plans import MAX_SCANNERS, EventPlans
from processor.mapping.plan_observer import PlanRefusal
from processor.mapping.scanned_event import EventScanner
from tests.support.builders import EVENTS_TOPIC, make_context, make_event, make_record, make_template, map_record
from tests.support.planned import RecordedReports, avro_record
from tests.support.wire import SCHEMAS

REPAYMENT = make_event()
SCHEMA_ID = SCHEMAS.by_event[EventName("LOAN_REPAYMENT")].id


def observed_context(*templates: Any, **fields: Any) -> tuple[MappingContext, RecordedReports]:
    """A context with plans, and what is reported of them."""
    observer = RecordedReports()
    return make_context(*templates, plans=EventPlans(observer=observer), **fields), observer


def path_of(record: SourceRecord, context: MappingContext, **options: Any) -> MappingPath | None:
    """By what the record was mapped; None for one that has no event."""
    outcome = map_record(record, context, **options)
    return outcome.path if isinstance(outcome, Processed) else None


def test_a_planned_record_is_not_refused() -> None:
    """Also where none of its templates makes a message; its schema is reported once."""
    context, observer = observed_context(make_template(), make_template("skips", target=Target.SAVINGS))
    only_skips = frozenset((TemplateId("skips"),))

    assert MappingPath.PLAIN == path_of(avro_record(), context)
    assert MappingPath.PLAIN == path_of(avro_record(), context, only=only_skips)
    assert ([], [SCHEMA_ID]) == (observer.refusals, observer.ready)


LONG_NAME = {**REPAYMENT.fields["client"], "fullName": "x" * 300}


@pytest.mark.parametrize(
    ("record", "reason", "path"),
    [
        (make_record(REPAYMENT), PlanRefusal.FORM, MappingPath.REFERENCE),
        (avro_record(headers=(("content-type", b"avro/binary"),)), PlanRefusal.FORM, MappingPath.REFERENCE),
        (avro_record()._replace(value=b"{}"), PlanRefusal.FORM, None),
        (avro_record()._replace(value=b"\x00\x00\x00\x00\x01\x00"), PlanRefusal.SCHEMA, None),
        (avro_record()._replace(value=(avro_record().value or b"")[:-1]), PlanRefusal.RECORD, None),
        (avro_record(client=LONG_NAME), PlanRefusal.RECORD, MappingPath.REFERENCE),
        (avro_record(tenant="southbank"), PlanRefusal.CHECK, MappingPath.REFERENCE),
        (avro_record(key=b"another"), PlanRefusal.CHECK, MappingPath.REFERENCE),
    ],
    ids=["JSON", "header", "no frame", "unknown schema", "cut", "long text", "tenant", "key"],
)
def test_records_that_are_refused(record: SourceRecord, reason: PlanRefusal, path: MappingPath | None) -> None:
    """Each for one reason; the reference makes the outcome."""
    context, observer = observed_context()

    assert path == path_of(record, context)
    assert [reason] == observer.refusals


def test_what_is_scanned_ahead_is_refused_once() -> None:
    """When it is mapped."""
    context, observer = observed_context()
    assert MappingPath.PLAIN == path_of(avro_record(), context)
    wrong_key = avro_record(key=b"another")
    assert context.plans is not None

    assert [None] == list(context.plans.scan_ahead([wrong_key], context))
    assert [] == observer.refusals
    assert MappingPath.REFERENCE == path_of(wrong_key, context)
    assert [PlanRefusal.CHECK] == observer.refusals


def test_duplicates_and_records_without_a_value_are_no_refusals() -> None:
    """No plan maps them; what becomes of the whole record is the reference's."""
    context, observer = observed_context()

    assert MappingPath.REFERENCE == path_of(avro_record(), context, duplicate_of=RecordPosition(EVENTS_TOPIC, 0, 0))
    assert MappingPath.REFERENCE == path_of(avro_record()._replace(value=None), context)
    assert [] == observer.refusals


def test_a_template_that_fails_refuses_the_event() -> None:
    """All templates of it are the reference's then."""
    strict = make_template("strict", body="{TRANSACTION_COMMENT}", strict=True)
    context, observer = observed_context(make_template(), strict)
    record = avro_record(transaction={**REPAYMENT.fields["transaction"], "comment": None})

    assert MappingPath.REFERENCE == path_of(record, context)
    assert [PlanRefusal.TEMPLATE] == observer.refusals


def test_a_suspended_template_refuses_its_own_events() -> None:
    """Those of other templates are planned."""
    context, observer = observed_context(make_template())

    def suspended(template: str) -> Suspended:
        return frozenset([(TemplateId(template), TemplateReason.MISSING_VALUE)])

    assert MappingPath.PLAIN == path_of(avro_record(), context, suspended=suspended("another"))
    assert [] == observer.refusals
    (template,) = context.templates.templates
    assert MappingPath.REFERENCE == path_of(avro_record(), context, suspended=suspended(template.id))
    assert [PlanRefusal.SUSPENDED] == observer.refusals


def test_schemas_whose_plan_is_made_elsewhere() -> None:
    """Their records wait for nothing."""
    started = list[tuple[Callable[[], EventScanner], Future[EventScanner]]]()

    def start(make: Callable[[], EventScanner]) -> "Future[EventScanner]":
        started.append((make, Future()))
        return started[-1][1]

    observer = RecordedReports()
    context = make_context(plans=EventPlans(start, observer=observer))
    assert MappingPath.REFERENCE == path_of(avro_record(), context)
    assert ([PlanRefusal.PENDING], []) == (observer.refusals, observer.ready)
    ((make, future),) = started
    future.set_result(make())

    assert MappingPath.PLAIN == path_of(avro_record(), context)
    assert ([PlanRefusal.PENDING], [SCHEMA_ID]) == (observer.refusals, observer.ready)


def test_schemas_without_a_plan() -> None:
    """Are reported once, with the reason, and again with other templates."""
    strange = replace(SCHEMAS.local[SCHEMA_ID], name="bank.Something")
    reported = (SCHEMA_ID, "bank.Something is not a family of events")
    context, observer = observed_context()
    for _ in range(2):
        decode_record(avro_record(), context, schema_of=lambda _id: strange)
    assert [PlanRefusal.SCHEMA] * 2 == observer.refusals
    assert ([reported], []) == (observer.refused_schemas, observer.ready)

    other = replace(context, templates=make_context(make_template()).templates)
    decode_record(avro_record(), other, schema_of=lambda _id: strange)

    assert [reported] * 2 == observer.refused_schemas


def test_more_schemas_than_may_have_a_plan() -> None:
    """The records of the last one are refused for that."""
    context, observer = observed_context()
    value = avro_record().value or b""
    for number in range(1, MAX_SCANNERS + 2):
        framed = avro_record()._replace(value=b"\x00" + number.to_bytes(4, "big") + value[5:])
        decode_record(framed, context, schema_of=lambda _id: SCHEMAS.local[SCHEMA_ID])

    assert [PlanRefusal.SCHEMA_LIMIT] == observer.refusals
