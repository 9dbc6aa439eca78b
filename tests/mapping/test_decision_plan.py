"""Planned decisions: of any reasons the reference's, byte for byte.

Seen to fail with each of these faults: a reason written by the plan of another version; reasons that the installation
leaves out; a decision that does not fit; the set of the context that the event was scanned with; no key of a message
that was not made.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from processor.domain.catalogue import Target
from processor.domain.channel import Channel, RecipientKind
from processor.domain.event import SourceEvent
from processor.domain.operation import OperationId, PastOperation
from processor.domain.outcome import Processed
from processor.domain.reasons import DecisionReason
from processor.domain.record import EncodedKey, RecordPosition, SourceRecord, TemplateId
from processor.domain.reference import Table
from processor.domain.template import Subscription, Template
from processor.mapping.already_created import skip_created_event, skip_created_template
from processor.mapping.context import MappingContext
from processor.mapping.map import combine_results, map_event
from processor.mapping.options import WrittenDecisions
from processor.mapping.reference import Reference
from processor.mapping.scanned_event import ScannedEvent
from processor.wire.output_fields import read_decision
from processor.wire.wire_format import WireFormat
from tests.support.builders import (
    EVENTS_TOPIC,
    make_condition,
    make_context,
    make_email,
    make_event,
    make_output_topics,
    make_sms,
    make_source,
    make_task,
    make_template,
    map_record,
    schemas,
)
from tests.support.planned import TRACE, avro_record, comparable, processed, with_plans, with_plans_alone

pytestmark = pytest.mark.usefixtures("executor")

NTC: Final = "NTC-3300-0041"
BEFORE: Final = RecordPosition(EVENTS_TOPIC, 3, 1)
TEMPLATES: Final[dict[DecisionReason, Template]] = {
    DecisionReason.INACTIVE: make_template("off", active=False),
    DecisionReason.CHANNEL_DISABLED: make_task(),
    DecisionReason.TARGET_MISMATCH: make_template("of-savings", target=Target.SAVINGS),
    DecisionReason.CONDITION_FALSE: make_template(
        "small", conditions=[make_condition("TRANSACTION_AMOUNT", "LESS_THAN", "1")]
    ),
    DecisionReason.NO_RECIPIENT: make_sms(recipient=RecipientKind.GROUP),
    DecisionReason.NOT_SUBSCRIBED: make_template("opt-in", subscription=Subscription.OPT_IN),
    DecisionReason.CATEGORY_OPTED_OUT: make_email(category=NTC),
}
LEFT: Final = json.dumps({"id": "CTT-4410-0093-7715", "name": "Ines", "optOuts": [NTC]}).encode()
RULES: Final[dict[str, Any]] = {
    "disabled_channels": frozenset((Channel.TASK,)),
    "reference": Reference(rows=lambda table, _key: LEFT if table is Table.CONTACTS else None),
}


def context_of(form: WireFormat, *templates: Template, **changes: Any) -> MappingContext:
    """A context with the templates of TEMPLATES, or others, under RULES."""
    return make_context(*(templates or TEMPLATES.values()), form=form, **{**RULES, **changes})


def reasons_written(record: SourceRecord, context: MappingContext, **options: Any) -> list[DecisionReason]:
    """The reasons of a record's decision, which plans alone have written, as the reference does; none without one."""
    outcome = processed(record, with_plans_alone(context), **options)
    assert comparable(map_record(record, context, **options)) == comparable(outcome)
    written = outcome.decision
    if written is None:
        return []
    return [reason.reason for reason in read_decision(written.value or b"", written.headers, schemas=schemas()).reasons]


@pytest.mark.parametrize("form", WireFormat)
@pytest.mark.parametrize("correlation_id", [None, 'c "1" \U0001f600\x7f'])
@pytest.mark.parametrize("written", WrittenDecisions)
def test_all_reasons_of_templates(correlation_id: str | None, form: WireFormat, written: WrittenDecisions) -> None:
    """In one decision, beside a message: those that the installation writes."""
    context = context_of(form, make_template(), *TEMPLATES.values(), decisions=written)
    expected = {
        WrittenDecisions.ALL: set(TEMPLATES),
        WrittenDecisions.UNEXPECTED: {DecisionReason.NO_RECIPIENT, DecisionReason.CATEGORY_OPTED_OUT},
        WrittenDecisions.OFF: set(),
    }
    record = avro_record(make_event(correlationId=correlation_id).fields)

    assert expected[written] == set(reasons_written(record, context))


@pytest.mark.parametrize("form", WireFormat)
def test_reasons_of_the_whole_record(form: WireFormat) -> None:
    """A duplicate, and an event that no template names."""
    record, elsewhere = avro_record(), make_template(events=("SAVINGS_DEPOSIT",))

    assert [DecisionReason.DUPLICATE_EVENT] == reasons_written(record, context_of(form), duplicate_of=BEFORE)
    assert [DecisionReason.NO_TEMPLATE] == reasons_written(record, context_of(form, elsewhere))
    assert [] == reasons_written(record, context_of(form, elsewhere), only=frozenset(("off",)))


@pytest.mark.parametrize("timestamp_ms", [-1, 2**63 - 1, 0])
def test_records_without_a_time(timestamp_ms: int) -> None:
    """The event's time takes its place."""
    record = avro_record()._replace(timestamp_ms=timestamp_ms)

    assert len(TEMPLATES) == len(reasons_written(record, context_of(WireFormat.AVRO)))


# ----------------------------------------------------------------------------------------------------- past operations

OPERATION: Final = PastOperation(id=OperationId("replay-20261129T075501Z-3f2a91c0"))


def outcomes(
    make: Callable[[SourceEvent, MappingContext], Processed], form: WireFormat, *templates: Template
) -> tuple[Processed, Processed]:
    """What an operation makes of an event that was read, and of the same that was scanned, of which plans write all."""
    context, record = context_of(form, *templates, operation=OPERATION), avro_record(headers=TRACE)
    planned = with_plans_alone(context)
    source = make_source(record, planned)
    assert isinstance(source, ScannedEvent)
    return make(make_source(record, context), context), make(source, planned)


@pytest.mark.parametrize("form", WireFormat)
def test_decisions_of_an_operation(form: WireFormat) -> None:
    """Its header stands behind what is carried on."""
    context = context_of(form, operation=OPERATION)

    assert len(TEMPLATES) == len(reasons_written(avro_record(headers=TRACE), context))


@pytest.mark.parametrize("form", WireFormat)
def test_an_event_that_was_found_elsewhere(form: WireFormat) -> None:
    """One reason, ALREADY_CREATED, for the whole record."""
    reference, planned = outcomes(
        lambda source, context: skip_created_event(source, context, found_at=BEFORE), form, make_template()
    )

    assert reference.decision is not None
    assert comparable(reference) == comparable(planned)


@pytest.mark.parametrize("form", WireFormat)
def test_templates_whose_message_exists(form: WireFormat) -> None:
    """Of other versions than the set's, or of none that is known, and of templates that the set lacks."""
    key = EncodedKey("f7" * 16)

    def make(source: SourceEvent, context: MappingContext) -> Processed:
        mapped = map_event(source, context, suspended=frozenset(), duplicate_of=None)
        created = [
            skip_created_template(TemplateId(template), context, version=version, key=known_key, found_at=BEFORE)
            for template, version, known_key in [
                ("off", 1, key),
                ("off", 2, None),
                ("off", None, key),
                ("gone", None, None),
                ("gone", 2, key),
            ]
        ]
        return combine_results(source, context, [*mapped.results, *created])

    reference, planned = outcomes(make, form)

    assert len(TEMPLATES) + 5 == len(reference.skipped)
    assert comparable(reference) == comparable(planned)


# ------------------------------------------------------------------------------------------------------------- refused


def test_a_decision_that_does_not_fit() -> None:
    """Is shortened by the reference; with a byte more the plan writes it."""
    record, context = avro_record(headers=TRACE), context_of(WireFormat.AVRO)
    size = processed(record, context).outputs[-1].size_bytes
    fits, too_large = (
        replace(context, output_topics=make_output_topics(decisions=limit)) for limit in (size, size - 1)
    )
    shortened = processed(record, with_plans(too_large))

    assert len(TEMPLATES) == len(reasons_written(record, fits))
    assert comparable(map_record(record, too_large)) == comparable(shortened)
    assert () == shortened.outputs[-1].headers


def test_another_context_than_the_event_was_scanned_with() -> None:
    """Its set has another digest, which the decision names."""
    record, scanned_with = avro_record(), with_plans(context_of(WireFormat.AVRO))
    other = with_plans(context_of(WireFormat.AVRO, make_template(active=False)))
    source = make_source(record, scanned_with)
    outcome = map_event(source, other, suspended=frozenset(), duplicate_of=BEFORE)

    assert isinstance(source, ScannedEvent)
    assert comparable(map_record(record, replace(other, plans=None), duplicate_of=BEFORE)) == comparable(outcome)
