"""Planned outputs of a template against those that are made for each event: the same bytes."""

import json
from collections.abc import Iterator
from datetime import UTC
from typing import Any

import pytest

from processor.domain.channel import RecipientKind
from processor.domain.event import SourceEvent, value_at
from processor.domain.message import Communicationmessage, MessageStatus, SkippedTemplate, StreamEvent
from processor.domain.notification import Notification
from processor.domain.outcome import TemplateResult
from processor.domain.output_topics import DECISION, OutputValue
from processor.domain.reasons import DecisionReason, FailureReason
from processor.domain.record import EventName
from processor.domain.reference import Table
from processor.domain.template import Template
from processor.mapping.context import MappingContext
from processor.mapping.decisions import decision_of
from processor.mapping.map import map_event
from processor.mapping.planned_outputs import (
    MessageVariant,
    decision_plan,
    message_plan,
    notification_plan,
    reason_plan,
    status_plan,
    stream_event_plan,
)
from processor.mapping.recipient import KeyField, recipient_of
from processor.mapping.reference import Reference
from processor.templates.load import SHIPPED
from processor.wire.output_fields import FIELDS, skipped_fields
from processor.wire.output_plan import HoleKind, OutputPlan, part_plan
from processor.wire.value_encoders import encode_value
from processor.wire.wire_format import WireFormat
from tests.support.builders import (
    make_context,
    make_email,
    make_event,
    make_record,
    make_sms,
    make_source,
    make_task,
    make_template,
    make_webhook,
    schemas,
)
from tests.support.output_readers import read_notification
from tests.support.planned_outputs import filled

FOLDERS = ("events", "samples")
EXAMPLES = {path.stem: json.loads(path.read_text()) for folder in FOLDERS for path in (SHIPPED / folder).glob("*.json")}
REPAYMENT = EventName("LOAN_REPAYMENT")
LOAN_OF_A_CLIENT = MessageVariant(key_field=KeyField.CLIENT, account_kind="LOAN")

ROWS: dict[Table, dict[str, Any]] = {
    Table.CONTACTS: {
        "id": "CTT-4410-0093-7715",
        "name": "Ines M. Duarte",
        "email": "ines@elsewhere.example",
        "user": {"id": "USR-5520-1187", "name": "Ines Duarte", "email": "ines.duarte@example.com"},
        "status": "Active",
    },
    Table.ACCOUNTS: {"id": "ACC-7031-2205", "type": "Client", "name": "Northbank Retail"},
    Table.CATEGORIES: {"id": "NTC-3300-0041", "name": "Loan payments"},
}


def tables(**contact: Any) -> Reference:
    """Tables with a row for every key; `contact` are fields of the contacts."""
    rows = ROWS | {Table.CONTACTS: ROWS[Table.CONTACTS] | contact}
    by_table = {table: json.dumps(row).encode() for table, row in rows.items()}
    return Reference(rows=lambda table, _: by_table.get(table), category_by_family={"client": "NTC-3300-0041"})


def outputs(result: TemplateResult) -> Iterator[OutputValue]:
    """What came of a template, as values."""
    created = result.created
    if created is None:
        yield from (
            read_notification(output.value or b"", output.headers, schemas=schemas()) for output in result.outputs
        )
        return
    values = (created.message, created.status, created.stream_event, created.notification)
    yield from (value for value in values if value is not None)


def plan_of(
    output: OutputValue, template: Template, source: SourceEvent, context: MappingContext, form: WireFormat
) -> OutputPlan:
    """The plan of an output."""
    event = source.event.name
    recipient = recipient_of(template, source.event, time_zone=UTC)
    variant = MessageVariant(
        key_field=None if recipient is None else recipient.key_field,
        account_kind=value_at(("account", "kind"), source.event.fields),
        failure=getattr(output, "failureReason", None),
    )
    match output:
        case Communicationmessage():
            return message_plan(template, event, context, variant, form)
        case MessageStatus():
            return status_plan(template, event, context, variant, form)
        case StreamEvent():
            return stream_event_plan(template, event, context, form)
        case Notification():
            discarded = output.status == "Discarded"
            return notification_plan(template, event, context, variant, form, discarded=discarded)
        case _:
            raise AssertionError(output)


def compared(source: SourceEvent, context: MappingContext, form: WireFormat) -> list[str]:
    """The types of all outputs of an event, each of which is written by its plan as without one."""
    outcome = map_event(source, context, suspended=frozenset(), duplicate_of=None)
    types = []
    for template, result in zip(context.templates.for_event(source.event.name), outcome.results, strict=True):
        for output in outputs(result):
            plan = plan_of(output, template, source, context, form)

            assert context.encode(output)[0] == filled(plan, FIELDS[type(output)](output))
            types.append(type(output).__name__)
    return types


@pytest.mark.parametrize("form", WireFormat)
@pytest.mark.parametrize("with_tables", [False, True])
@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_outputs_of_every_event(name: str, with_tables: bool, form: WireFormat) -> None:
    """Of every event, by the shipped templates: what is written by plans is what is written without."""
    context = make_context(form=form, **({"reference": tables()} if with_tables else {}))
    source = make_source(make_record(make_event(EXAMPLES[name])), context)

    assert {"Communicationmessage", "MessageStatus"} <= set(compared(source, context, form))


@pytest.mark.parametrize("form", WireFormat)
@pytest.mark.parametrize(
    ("template", "changes", "failure"),
    [
        (make_email(), {"client__emailAddress": None}, FailureReason.MISSING_EMAIL_RECIPIENT_ADDRESS),
        (make_email(), {"client__emailAddress": "a b"}, FailureReason.UNDEFINED_DESTINATION),
        (make_sms(), {"client__mobilePhone": None}, FailureReason.MISSING_SMS_RECIPIENT),
        (make_sms(body="{RECIPIENT_NAME}"), {"client__fullName": "é" * 1601}, FailureReason.SMS_TOO_LONG),
        (make_task(), {"client__creditOfficer__username": ""}, FailureReason.UNDEFINED_DESTINATION),
        (make_webhook(url="https://a.example/{ACCOUNT_ID}"), {"correlationId": None}, None),
        (make_email(recipient=RecipientKind.CREDIT_OFFICER), {"correlationId": "\U0001f600"}, None),
    ],
)
def test_messages_that_fail(
    template: Template, changes: dict[str, Any], failure: FailureReason | None, form: WireFormat
) -> None:
    """Reason and cause are there, and the destination may be missing; one that is too long has its destination."""
    context = make_context(template, form=form)
    source = make_source(make_record(make_event(**changes)), context)
    (result,) = map_event(source, context, suspended=frozenset(), duplicate_of=None).results

    assert result.created is not None
    assert failure == result.created.message.failureReason
    assert "MessageStatus" in compared(source, context, form)


@pytest.mark.parametrize("form", WireFormat)
def test_a_discarded_message(form: WireFormat) -> None:
    """Of a contact that is blocked the portal alone has a record, by the plan of a suppressed draft."""
    context = make_context(make_email(), form=form, reference=tables(status="Blocked"))
    source = make_source(make_record(), context)

    assert ["Notification"] == compared(source, context, form)


@pytest.mark.parametrize("form", WireFormat)
@pytest.mark.parametrize("changes", [{}, {"correlationId": None}])
def test_decisions(changes: dict[str, Any], form: WireFormat) -> None:
    """Of several templates: one plan for the decision, and one for each reason within it."""
    off = make_template("off", active=False)
    opted_out = make_sms("group-text", recipient=RecipientKind.GROUP)
    context = make_context(off, opted_out, form=form)
    source = make_source(make_record(make_event(**changes)), context)
    outcome = map_event(source, context, suspended=frozenset(), duplicate_of=None)
    decision = decision_of(source.record, source.event, outcome.skipped, context)

    assert outcome.decision is not None
    assert outcome.decision.value == filled(
        decision_plan(source.event.name, context, form), FIELDS[type(decision)](decision)
    )
    assert 2 == len(outcome.skipped)
    for skipped in outcome.skipped:
        plan = reason_plan(skipped, context, form)

        assert encode_value(plan.type, skipped_fields(skipped), form) == filled(plan, skipped_fields(skipped))


@pytest.mark.parametrize("form", WireFormat)
def test_a_decision_about_the_whole_record(form: WireFormat) -> None:
    """Its one reason names no template."""
    context = make_context(make_template(), form=form)
    source = make_source(make_record(), context)
    outcome = map_event(source, context, suspended=frozenset(), duplicate_of=source.record.position)
    (skipped,) = outcome.skipped
    plan = reason_plan(skipped, context, form)
    whole = part_plan(schemas().outputs[DECISION], "reasons", form)

    assert filled(whole, skipped_fields(skipped)) == filled(plan, skipped_fields(skipped))
    assert ["detail"] == [hole.path for hole in plan.holes]


def test_holes_are_what_depends_on_the_event() -> None:
    """All else of the outputs of a stream's template is constant; most holes are never null, keys have their size."""
    context, template = make_context(make_template(), form=WireFormat.AVRO), make_template()
    message = message_plan(template, REPAYMENT, context, LOAN_OF_A_CLIENT, WireFormat.AVRO)
    status = status_plan(template, REPAYMENT, context, LOAN_OF_A_CLIENT, WireFormat.AVRO)
    stream = stream_event_plan(template, REPAYMENT, context, WireFormat.JSON)
    holes = [hole for plan in (message, status, stream) for hole in plan.holes]

    assert [
        *("body", "clientKey", "creationDate", "encodedKey", "loanAccountKey", "repaymentKey", "sendDate"),
        *("encodedKey", "at", "eventId", "source.topic", "source.partition", "source.offset", "correlationId"),
        *("metadata.eid", "metadata.occurred_at", "body"),
    ] == [hole.path for hole in holes]
    assert ["correlationId"] == [hole.path for hole in holes if hole.null is not None]
    assert [
        *("clientKey", "encodedKey", "loanAccountKey", "repaymentKey"),
        *("encodedKey", "eventId"),
        "metadata.eid",
    ] == [hole.path for hole in holes if hole.kind is HoleKind.SIZED_TEXT]


def test_holes_of_a_decision() -> None:
    """Where its record lies, and of each reason the detail and the key."""
    template = make_template()
    context = make_context(template, form=WireFormat.AVRO)
    decision = decision_plan(REPAYMENT, context, WireFormat.AVRO)
    skipped = SkippedTemplate(reason=DecisionReason.CONDITION_FALSE, detail="", templateId=template.id)
    reason = reason_plan(skipped, context, WireFormat.AVRO)

    assert [
        *("eventId", "source.topic", "source.partition", "source.offset", "correlationId", "at", "reasons"),
        *("detail", "encodedKey"),
    ] == [hole.path for plan in (decision, reason) for hole in plan.holes]


def test_holes_of_a_notification() -> None:
    """Whom it is for, what it says and when; what the reference tables have is whole."""
    template = make_email()
    context = make_context(template, form=WireFormat.JSON)
    plan = notification_plan(template, REPAYMENT, context, LOAN_OF_A_CLIENT, WireFormat.JSON)

    assert [
        *("id", "href", "batch.id", "contact.id", "contact.href", "contact.name", "contact.email", "contact.user"),
        *("account", "subject", "category", "body", "audit.created.at", "audit.created.of", "audit.queued.at"),
    ] == [hole.path for hole in plan.holes]
    assert ["id", "href", "batch.id"] == [hole.path for hole in plan.holes if hole.kind is HoleKind.SIZED_TEXT]


@pytest.mark.parametrize("form", WireFormat)
@pytest.mark.parametrize("changes", [{}, {"installment": None}])
def test_a_repayment_key_may_be_missing(changes: dict[str, Any], form: WireFormat) -> None:
    """Of a reminder, whose installment may be null in its schema."""
    context = make_context(make_webhook(events=("REPAYMENT_REMINDER",), body="{ACCOUNT_ID}"), form=form)
    source = make_source(make_record(make_event(EXAMPLES["REPAYMENT_REMINDER"], **changes)), context)

    assert ["Communicationmessage", "MessageStatus"] == compared(source, context, form)


def test_only_a_channel_with_notifications_has_a_plan_of_them() -> None:
    """ValueError: nothing is planned that the reference would not make."""
    template = make_task()

    with pytest.raises(ValueError, match="has no Message"):
        notification_plan(template, REPAYMENT, make_context(template), LOAN_OF_A_CLIENT, WireFormat.AVRO)
