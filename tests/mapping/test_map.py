"""From a record to its outcome: the order of the checks, one template at a time, and what is published."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from fastavro import schemaless_reader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.domain.catalogue import EVENTS, Target
from processor.domain.channel import Channel, ContentType, RecipientKind
from processor.domain.event import SeenEvent, SourceEvent, identity_of
from processor.domain.ids import contact_id, encoded_key
from processor.domain.message import SkippedTemplate, State
from processor.domain.notification import Actor, Attachment, StatusSet, status_map
from processor.domain.outcome import Deferred, Outcome, Processed, Rejected, TemplateResult, WrongKey
from processor.domain.reasons import DecisionReason, FailureReason, Reason, TemplateReason
from processor.domain.record import EventName, OutRecord, RecordPosition, SchemaId, SourceRecord, TemplateId, Topic
from processor.domain.template import Match, Subscription, Template
from processor.errors import DeferredSchemaError, InternalError, UnavailableError
from processor.mapping.checks import CHECKS
from processor.mapping.context import DraftRules, MappingContext
from processor.mapping.decode_record import decode_record
from processor.mapping.draft import draft_template
from processor.mapping.options import KeyCheck, WrittenDecisions
from processor.mapping.rejections import refuse_outputs
from processor.shipped import sample as shipped_event
from processor.wire.dead_letter import dead_letter_outcome
from processor.wire.encode import OutputEncoder, encode_event
from processor.wire.wire_format import WireFormat
from tests.support.builders import (
    EVENTS_TOPIC,
    TENANT,
    make_condition,
    make_context,
    make_email,
    make_event,
    make_output_topics,
    make_record,
    make_sms,
    make_source,
    make_task,
    make_template,
    make_webhook,
    map_record,
    reasons,
    reasons_and_details,
    sample,
    schemas,
    shipped_templates,
)
from tests.support.laws import examples

MESSAGES = Topic("communications.messages")
STATUS = Topic("communications.status")
NOTIFICATIONS = Topic("notifications.messages")
DECISIONS = Topic("communications.decisions")
DEAD_LETTERS = Topic("communications.dead-letters")
REPAYMENTS = Topic("mrn.event.northbank.streamingapi.loan_repayment")
NONE_SUSPENDED: frozenset[tuple[TemplateId, TemplateReason]] = frozenset()


def outcome_of(
    record: SourceRecord, context: MappingContext, suspended: Any = NONE_SUSPENDED, **options: Any
) -> Processed:
    """The outcome of a record that is read."""
    outcome = map_record(record, context, suspended, **options)
    assert isinstance(outcome, Processed), outcome
    return outcome


def values(outcome: Outcome, topic: Topic) -> list[dict[str, Any]]:
    """The JSON values that an outcome puts on a topic, in order."""
    return [json.loads(out.value or b"") for out in outputs(outcome) if out.topic == topic]


def outputs(outcome: Outcome) -> tuple[OutRecord, ...]:
    """All that an outcome publishes."""
    return () if isinstance(outcome, Deferred) else outcome.outputs


def header(out: OutRecord, name: str) -> str:
    """A header's text."""
    return {key: value or b"" for key, value in out.headers}[name].decode()


# ------------------------------------------------------------------------------------------------------ record times

OCCURRED = "2026-03-14T09:26:53.589Z"  # of the sample, cut to milliseconds
NO_TIMES = [
    -1,  # the record has none
    -(2**63),
    1_773_480_413_702_000,  # in microseconds
    253_402_300_800_000,  # year 10000
    2**63 - 1,
]
TIMES = {"creationDate", "sendDate", "at", "occurred_at", "nextAttemptAt"}


def times(value: Any) -> list[Any]:
    """All that stands in fields of times, at any depth."""
    match value:
        case dict():
            return [time for name, part in value.items() for time in ([part] if name in TIMES else times(part))]
        case list():
            return [time for part in value for time in times(part)]
        case _:
            return []


def avro_values(outcome: Outcome) -> list[Any]:
    """All outputs, as another program reads Avro."""
    by_id = {schema.id: json.loads(schema.text) for schema in schemas().outputs.values()}
    return [
        schemaless_reader(io.BytesIO(out.value[5:]), by_id[SchemaId(int.from_bytes(out.value[1:5], "big"))], None)
        for out in outputs(outcome)
        if out.value and out.value[:1] == b"\0"
    ]


def of_every_output(timestamp_ms: int) -> tuple[SourceRecord, tuple[Template, ...]]:
    """A record with all outputs: messages, statuses, a Message, a stream event, decisions and a failed template."""
    templates = (
        make_email("mail"),
        make_template("stream"),
        make_template("off", active=False),
        make_template("fails", body="{GROUP_ID}", strict=True),
    )
    return make_record(make_event("loan-repayment"), timestamp_ms=timestamp_ms), templates


@pytest.mark.parametrize("timestamp_ms", NO_TIMES)
def test_occurred_at_takes_the_place_of_a_time_that_cannot_be_shown(timestamp_ms: int) -> None:
    """In every output, the same in Avro and in JSON; a dead letter keeps the record's time as it was, and both."""
    record, templates = of_every_output(timestamp_ms)
    source = make_source(record, make_context(*templates))
    in_avro, in_json = (outcome_of(record, make_context(*templates, form=form)) for form in WireFormat)
    (letter,) = (out for out in in_json.outputs if out.topic == DEAD_LETTERS)
    written_times = [
        time for out in in_json.outputs if out is not letter for time in times(json.loads(out.value or b""))
    ]
    read = times(avro_values(in_avro))

    assert {OCCURRED} == set(written_times)
    assert {datetime.fromisoformat(OCCURRED)} == {time for time in read if time is not None}
    assert len(written_times) == len([time for time in read if time is not None]) == 9
    assert [str(timestamp_ms), "1773480413589"] == [header(letter, "dl.timestamp"), header(letter, "dl.occurred_at")]
    assert 1_773_480_413_589 == source.time_ms


@pytest.mark.parametrize(
    ("timestamp_ms", "at"), [(0, "1970-01-01T00:00:00.000Z"), (253_402_300_799_999, "9999-12-31T23:59:59.999Z")]
)
def test_valid_times_are_kept(timestamp_ms: int, at: str) -> None:
    """From 1970 to the end of year 9999, however unlikely; `dl.occurred_at` is there only where it counts."""
    record, templates = of_every_output(timestamp_ms)
    outcome = outcome_of(record, make_context(*templates))
    (letter,) = (out for out in outcome.outputs if out.topic == DEAD_LETTERS)

    assert {at} == {value["at"] for value in values(outcome, STATUS)}
    assert "dl.occurred_at" not in dict(letter.headers)
    assert timestamp_ms == make_source(record, make_context(*templates)).time_ms


@pytest.mark.parametrize("timestamp_ms", NO_TIMES)
def test_deduplication_uses_the_effective_time(timestamp_ms: int) -> None:
    """By the record's own time everything would be a duplicate of it, or nothing."""
    record = make_record(timestamp_ms=timestamp_ms)
    expected = SeenEvent(record.position.offset, 1_773_480_413_589, make_event().identity)

    assert expected == make_source(record, make_context()).seen


@pytest.mark.parametrize("timestamp_ms", NO_TIMES)
def test_a_decision_without_an_event_and_without_a_time(timestamp_ms: int) -> None:
    """Nothing says when it was: the beginning of 1970, which every reader can show. A dead letter says what it was."""
    empty = map_record(make_record(timestamp_ms=timestamp_ms)._replace(value=None), make_context(), NONE_SUSPENDED)
    broken = map_record(make_record(value=b"{", timestamp_ms=timestamp_ms), make_context(), NONE_SUSPENDED)
    foreign = map_record(
        make_record(make_event(tenant="southbank"), timestamp_ms=timestamp_ms), make_context(), NONE_SUSPENDED
    )

    assert ["1970-01-01T00:00:00.000Z"] == [value["at"] for value in values(empty, DECISIONS)]
    assert [OCCURRED] == [value["at"] for value in values(foreign, DECISIONS)]
    assert [str(timestamp_ms)] == [header(out, "dl.timestamp") for out in outputs(broken)]
    assert all("dl.occurred_at" not in dict(out.headers) for out in outputs(broken))


# ------------------------------------------------------------------------------------------------ published examples


def test_published_email() -> None:
    """The published LOAN_REPAYMENT gives its published e-mail, as it is created: QUEUED."""
    record = make_record(make_event("loan-repayment"), timestamp_ms=1_773_480_413_702)
    got = [value for value in values(outcome_of(record, make_context()), MESSAGES) if value["type"] == "EMAIL"]
    expected = {
        "body": "<p>Dear Ines,</p><p>we received your payment of 218.24 EUR for LN-204417 on 2026-03-14.</p>",
        "clientKey": "8a8e867d5b1a4c0e015b1a5f3c0a0001",
        "creationDate": "2026-03-14T09:26:53.702Z",
        "destination": "ines.duarte@example.com",
        "encodedKey": "f7057037637ada1e806489eb4bfde71d",
        "event": "LOAN_REPAYMENT",
        "loanAccountKey": "8a8e867d5b1a4c0e015b1a60aa110001",
        "numRetries": 0,
        "repaymentKey": "8a8e867d5b1a4c0e015b1a60aa110003",
        "state": "QUEUED",
        "subject": "Payment received: LN-204417",
        "templateKey": "669636edeb622057521a33d995e00f4c",
        "type": "EMAIL",
    }

    assert [expected] == got


def test_published_stream_message() -> None:
    """The published SAVINGS_DEPOSIT gives its published stream message, to the letter."""
    record = make_record(make_event("savings-deposit"), timestamp_ms=1_773_482_531_090)
    expected = {
        "body": '{"account": "SV-880031", "amount": "100.00", "balance": "1250.75", "purpose": "Tractor"}',
        "creationDate": "2026-03-14T10:02:11.090Z",
        "depositAccountKey": "8a8e867d5b1a4c0e015b1a60bb220001",
        "destination": "mrn.event.northbank.streamingapi.savings_deposit",
        "encodedKey": "e0d96d82587221510afb1c6032ce0ded",
        "event": "SAVINGS_DEPOSIT",
        "groupKey": "8a8e867d5b1a4c0e015b1a5f3c0b0001",
        "numRetries": 0,
        "sendDate": "2026-03-14T10:02:11.090Z",
        "state": "SENT",
        "templateKey": "07f39cb9fbc0d69f2f072dd330121b55",
        "type": "EVENT_STREAM",
    }

    assert [expected] == values(outcome_of(record, make_context()), MESSAGES)


def test_published_notification() -> None:
    """The Message of the reference's e-mail, as it is created: Queued, without what look-up tables would add."""
    record = make_record(make_event("loan-repayment"), timestamp_ms=1_773_480_413_702)
    happened = {"at": "2026-03-14T09:26:53.702Z", "by": {"id": "UR-0000-0000-0000", "name": "Processor"}}
    contact = contact_id(TENANT, "8a8e867d5b1a4c0e015b1a5f3c0a0001")
    expected = {
        "id": "MSG-2451-6431-7421-7501",
        "href": "/v1/notifications/messages/MSG-2451-6431-7421-7501",
        "batch": {"id": "MST-8769-2774-8402"},
        "contact": {
            "id": contact,
            "href": f"/v1/notifications/contacts/{contact}",
            "name": "Ines Duarte",
            "email": "ines.duarte@example.com",
        },
        "status": "Queued",
        "subject": "Payment received: LN-204417",
        "body": "<p>Dear Ines,</p><p>we received your payment of 218.24 EUR for LN-204417 on 2026-03-14.</p>",
        "audit": {"created": happened, "queued": happened},
    }
    outcome = outcome_of(record, make_context())

    assert [expected] == values(outcome, NOTIFICATIONS)
    assert [(b"f7057037637ada1e806489eb4bfde71d", 3)] == [
        (out.key, out.partition) for out in outcome.outputs if out.topic == NOTIFICATIONS
    ]


def test_notification_of_an_sms_that_failed() -> None:
    """Who was never written to has a Discarded Message, with the event's e-mail address, and a category by its id."""
    template = make_sms(category="NTC-3300-0041", attachments=())
    event = make_event(client__mobilePhone=None)
    (value,) = values(outcome_of(make_record(event), make_context(template)), NOTIFICATIONS)

    assert ("Discarded", "ines.duarte@example.com") == (value["status"], value["contact"]["email"])
    assert {"id": "NTC-3300-0041", "href": "/v1/notifications/categories/NTC-3300-0041"} == value["category"]
    assert {"created", "discarded"} == value["audit"].keys()
    assert not {"subject", "account", "attachments"} & value.keys()


def test_statuses_and_actor_come_from_settings() -> None:
    """What settings say of statuses and of who writes the audit is in each Message; attachments are the template's."""
    attached = Attachment("ATT-1150-0093-2201", "Terms", "application/pdf", 20_480, "terms.pdf", "/terms.pdf")
    context = make_context(
        make_email(attachments=[attached]),
        statuses=status_map(StatusSet.EXTENDED),
        actor=Actor("UR-1111-2222-3333", "Bank", "/i"),
    )
    (value,) = values(outcome_of(make_record(make_event(client__emailAddress=None)), context), NOTIFICATIONS)

    assert "Failed" == value["status"]
    assert {"id": "UR-1111-2222-3333", "name": "Bank", "icon": "/i"} == value["audit"]["failed"]["by"]
    assert [{"fileSize": 20_480, "fileName": "terms.pdf"}] == [
        {name: attachment[name] for name in ("fileSize", "fileName")} for attachment in value["attachments"]
    ]


@pytest.mark.parametrize("template", [make_template(), make_task(), make_webhook()])
def test_channels_to_systems_have_no_notification(template: Any) -> None:
    """Streams, webhooks and tasks have no Message."""
    assert [] == values(outcome_of(make_record(), make_context(template)), NOTIFICATIONS)


# -------------------------------------------------------------------------------------------------- a created message


def test_creation_of_a_stream_message() -> None:
    """Message, status and stream event go out together; the status comes from QUEUED_FOR_STREAM and is final."""
    record = make_record(make_event(), position=RecordPosition(EVENTS_TOPIC, 3, 17), timestamp_ms=1_773_480_413_702)
    outcome = outcome_of(record, make_context(make_template(body="{ACCOUNT_ID}")))
    message, status, stream = outcome.outputs
    key = outcome.created[0].status.encodedKey

    assert [(MESSAGES, 3), (STATUS, 3), (REPAYMENTS, 1)] == [(o.topic, o.partition) for o in outcome.outputs]
    assert [key.encode(), key.encode(), b"8a8e867d5b1a4c0e015b1a60aa110001"] == [message.key, status.key, stream.key]
    assert {
        "encodedKey": key,
        "tenant": "northbank",
        "event": "LOAN_REPAYMENT",
        "type": "EVENT_STREAM",
        "sequence": 1,
        "from": "QUEUED_FOR_STREAM",
        "to": "SENT",
        "at": "2026-03-14T09:26:53.702Z",
        "numRetries": 0,
        "final": True,
        "eventId": "7f1d2c52-6a0e-4d0f-9b57-2f4f0c6a9e11",
        "templateId": "loan-repayment-note",
        "templateVersion": 1,
        "setVersion": make_context(make_template(body="{ACCOUNT_ID}")).templates.digest,
        "source": {"topic": "banking.events", "partition": 3, "offset": 17},
        "lookupMissing": [],
        "correlationId": "branch-17-000412",
    } == json.loads(status.value or b"")
    value = json.loads(stream.value or b"")
    eid = value["metadata"].pop("eid")
    assert eid[14] == "8"
    assert {
        "metadata": {
            "event_type": "mrn.event.northbank.streamingapi.loan_repayment",
            "occurred_at": "2026-03-14T09:26:53.589Z",
            "content_type": "text/plain; charset=UTF-8",
            "category": "DATA",
        },
        "body": "LN-204417",
        "template_name": "loan repayment note",
    } == value


def test_an_outcome_keeps_its_templates_apart() -> None:
    """What came of each template, with the records of its message alone, in the order of the set; decision and dead
    letter are the event's. All of it is published in that order."""
    record, templates = of_every_output(1_773_480_413_702)
    outcome = outcome_of(record, make_context(*templates))
    fails, mail, off, stream = outcome.results

    assert [[], [MESSAGES, STATUS, NOTIFICATIONS], [], [MESSAGES, STATUS, REPAYMENTS]] == [
        [out.topic for out in result.outputs] for result in outcome.results
    ]
    assert fails.failed is not None
    assert off.skipped is not None
    assert ("fails", "off") == (fails.failed.templateId, off.skipped.templateId)
    assert ["mail", "stream"] == [
        result.created.status.templateId for result in (mail, stream) if result.created is not None
    ]
    assert outcome.decision is not None
    assert outcome.dead_letter is not None
    assert (DECISIONS, DEAD_LETTERS) == (outcome.decision.topic, outcome.dead_letter.topic)
    assert (*mail.outputs, *stream.outputs, outcome.decision, outcome.dead_letter) == outcome.outputs


def test_event_type_has_no_prefix() -> None:
    """Under a prefix of topics `destination` is the real topic, and `event_type` what it is everywhere."""
    output_topics = make_output_topics()
    name = Topic(f"demo-1.{REPAYMENTS}")
    topic = replace(output_topics.streams[EventName("LOAN_REPAYMENT")], name=name)
    context = make_context(
        make_template(), output_topics=replace(output_topics, streams={EventName("LOAN_REPAYMENT"): topic})
    )
    outcome = outcome_of(make_record(), context)

    assert [name, REPAYMENTS] == [
        outcome.created[0].message.destination,
        values(outcome, name)[0]["metadata"]["event_type"],
    ]


def test_credit_officer_of_the_account_comes_first() -> None:
    """The officer in charge is the account's, else the holder's."""
    own = {"encodedKey": "8a8e867d5b1a4c0e015b1a5f3c0a0666", "username": "x", "fullName": "X"}
    template = make_email(recipient=RecipientKind.CREDIT_OFFICER, body="{RECIPIENT_NAME}/{RECIPIENT_ID}")
    events = make_event(), make_event(account__creditOfficer=own)

    assert ["Marta Vega/mvega", "X/x"] == [
        outcome_of(make_record(event), make_context(template)).created[0].message.body for event in events
    ]


def test_creation_of_an_email() -> None:
    """An e-mail is created QUEUED, from no state, and is not final."""
    status = outcome_of(make_record(), make_context(make_email())).created[0].status

    assert (None, State.QUEUED, False) == (status.from_, status.to, status.final)


def test_outputs_stay_in_the_partition_of_their_source() -> None:
    """Each output is in its source's partition, streams in that number modulo their count: dead letters as well."""
    templates = make_template(), make_template("broken", body="{GROUP_ID}", strict=True), make_email(active=False)
    record = make_record(position=RecordPosition(EVENTS_TOPIC, 11, 0))
    outcome = outcome_of(record, make_context(*templates, output_topics=make_output_topics(stream_partitions=4)))

    assert {
        (MESSAGES, 11),
        (STATUS, 11),
        (REPAYMENTS, 3),
        (DECISIONS, 11),
        (DEAD_LETTERS, 11),
    } == {(out.topic, out.partition) for out in outcome.outputs}


@pytest.mark.parametrize(
    ("sample_name", "field"), [("loan-repayment", "loanAccountKey"), ("savings-deposit", "depositAccountKey")]
)
def test_account_key_follows_the_kind_of_account(sample_name: str, field: str) -> None:
    """The account's kind, not the event's name, says which account key a message gets, and only one is set."""
    event = make_event(sample_name)
    outcome = outcome_of(make_record(event), make_context())

    for message in values(outcome, MESSAGES):
        assert {field: event.fields["account"]["encodedKey"]} == {
            name: message[name] for name in ("loanAccountKey", "depositAccountKey") if name in message
        }


def test_fee_of_a_deposit_account() -> None:
    """A fee event of a deposit account is for templates with target SAVINGS, and gets depositAccountKey."""
    event = make_event("savings-deposit", event="FEE_APPLIED")
    fee = make_template(events=["FEE_APPLIED"], target=Target.SAVINGS)

    assert ["8a8e867d5b1a4c0e015b1a60bb220001"] == [
        created.message.depositAccountKey for created in outcome_of(make_record(event), make_context(fee)).created
    ]


# ------------------------------------------------------------------------------------------------- order of the checks


def test_checks_come_in_the_contracts_order() -> None:
    """Empty, undecodable, foreign tenant, key, duplicate, no template: the first that applies is the outcome.

    Each record has all the faults that come after its own.
    """
    here = RecordPosition(EVENTS_TOPIC, 3, 5)
    context = make_context(make_template(events=["SAVINGS_DEPOSIT"], target=Target.SAVINGS), key_check=KeyCheck.STRICT)
    foreign = make_event(tenant="southbank")

    def outcome(record: SourceRecord) -> object:
        result = map_record(record, context, duplicate_of=here)
        return reasons(result.skipped) if isinstance(result, Processed) else getattr(result, "reason", None)

    got = [
        outcome(make_record(key=None)._replace(value=None)),
        outcome(make_record(key=None)._replace(value=b"")),
        outcome(make_record(value=b"\x01rubbish", key=None)),
        outcome(make_record(foreign, key=None)),
        outcome(make_record(key=None)),
        outcome(make_record(key=b"other")),
        outcome(make_record()),
    ]

    assert [
        [DecisionReason.EMPTY_RECORD],
        [DecisionReason.EMPTY_RECORD],
        Reason.BAD_FRAME,
        [DecisionReason.TENANT_DISABLED],
        Reason.MISSING_KEY,
        Reason.WRONG_KEY,
        [DecisionReason.DUPLICATE_EVENT],
    ] == got


def test_no_template() -> None:
    """An event that no template names is one decision that names the event."""
    outcome = outcome_of(make_record(make_event("client-created")), make_context(make_template()))

    assert [DecisionReason.NO_TEMPLATE] == reasons(outcome.skipped)
    assert ["no template names CLIENT_CREATED"] == [
        value["reasons"][0]["detail"] for value in values(outcome, DECISIONS)
    ]


def test_a_duplicate_names_the_first_position() -> None:
    """An event that was seen before publishes nothing but a decision that says where the first one is."""
    outcome = outcome_of(make_record(), make_context(), duplicate_of=RecordPosition(EVENTS_TOPIC, 3, 5))

    assert [DECISIONS] == [out.topic for out in outcome.outputs]
    assert "first seen at banking.events[3]@5" == outcome.skipped[0].detail


def test_wrong_key_is_mapped_and_flagged() -> None:
    """Under `warn` a wrong key is a flag; what is published is the same, the stream keyed by the event's own key."""
    right, wrong = (outcome_of(make_record(make_event(), key=key), make_context()) for key in ("", b"other"))

    event = make_event()
    assert right.wrong_key is None
    assert WrongKey(event.name, event.id, event.ordering_key) == wrong.wrong_key
    assert right.outputs == wrong.outputs


def test_deferred_while_the_registry_does_not_respond() -> None:
    """A schema that is not available now defers its record, with the cause."""

    def unavailable(_: object) -> Any:
        raise UnavailableError("registry: no response")

    record = make_record(value=b"\x00\x00\x00\x00\x01rest")

    assert Deferred(record, "registry: no response") == map_record(record, make_context(), schema_of=unavailable)


def refused_outcome(
    record: SourceRecord, context: MappingContext, *, bare: bool = False, schema_of: Any = None
) -> Outcome:
    """The outcome of a record whose outputs the broker refuses."""
    decoded = decode_record(record, context, schema_of=schema_of or schemas().local_schema)
    return refuse_outputs(decoded, context, detail="INVALID_RECORD", drop_value=bare)


def test_refused_outputs_are_a_dead_letter_with_its_event() -> None:
    """OUTPUT_REFUSED with the source's bytes, and without them where these were refused too; it names its event, so
    that a restart finds the event in the deduplication window."""
    event = make_event()
    for bare, value in ((False, make_record(event).value), (True, None)):
        outcome = refused_outcome(make_record(event), make_context(), bare=bare)

        assert isinstance(outcome, Rejected)
        assert Reason.OUTPUT_REFUSED == outcome.reason
        assert [(value, event.id)] == [
            (out.value, dead_letter_outcome(out.headers).seen_event_id) for out in outcome.outputs
        ]


def test_a_refused_dead_letter_keeps_its_reason() -> None:
    """A record that is a dead letter as a whole stays that, without its bytes, and deduplication does not count it."""
    outcome = refused_outcome(make_record(make_event(), key=None), make_context())

    assert isinstance(outcome, Rejected)
    assert Reason.MISSING_KEY == outcome.reason
    assert [(None, None)] == [(out.value, dead_letter_outcome(out.headers).seen_event_id) for out in outcome.outputs]


def test_refused_outputs_of_a_schema_that_is_refused_since() -> None:
    """It is deferred as any record of that schema."""

    def deferred(_: object) -> Any:
        raise DeferredSchemaError("schema id 1 is refused")

    record = make_record(value=b"\x00\x00\x00\x00\x01rest")

    assert Deferred(record, "schema id 1 is refused", schema_refused=True) == refused_outcome(
        record, make_context(), schema_of=deferred
    )


def test_an_internal_error_is_raised() -> None:
    """A stream without a topic is an internal error, and no outcome of the record."""
    context = make_context(make_template(), output_topics=replace(make_output_topics(), streams={}))

    with pytest.raises(InternalError):
        map_record(make_record(), context, NONE_SUSPENDED)


# ------------------------------------------------------------------------------------------------------ named templates


def ids(*names: str) -> frozenset[TemplateId]:
    """Templates by their ids."""
    return frozenset(map(TemplateId, names))


def test_only_named_templates_are_applied() -> None:
    """Results, decision and dead letter are of these alone; `setVersion` stays that of the whole set."""
    record, templates = of_every_output(1_773_480_413_702)
    context = make_context(*templates, make_email("off-too", active=False), make_sms("fails-too", category="NTC-1"))
    outcome = outcome_of(record, context, only=ids("mail", "off", "fails"))
    (decision,) = values(outcome, DECISIONS)
    (letter,) = (out for out in outcome.outputs if out.topic == DEAD_LETTERS)

    assert ["mail"] == [created.status.templateId for created in outcome.created]
    assert ["off"] == [reason["templateId"] for reason in decision["reasons"]]
    assert ["fails"] == [template["templateId"] for template in json.loads(header(letter, "dl.failed"))]
    assert "fails: MISSING_VALUE" == header(letter, "dl.detail")
    assert [MESSAGES, STATUS, NOTIFICATIONS, DECISIONS, DEAD_LETTERS] == [out.topic for out in outcome.outputs]
    assert {context.templates.digest} == {
        decision["setVersion"],
        header(letter, "dl.set_version"),
        outcome.created[0].status.setVersion,
    }


@pytest.mark.parametrize(
    "only",
    [ids(), ids("other"), ids("of-another-event"), ids("off", "other")],
    ids=["none", "unknown", "foreign", "one"],
)
def test_a_named_template_that_is_not_the_events(only: frozenset[TemplateId]) -> None:
    """Of one that the set lacks, or that names other events, nothing comes: no record, and no NO_TEMPLATE, which would
    be said of the whole set. The others are applied."""
    foreign = make_template("of-another-event", events=["SAVINGS_DEPOSIT"], target=Target.SAVINGS)
    outcome = outcome_of(make_record(), make_context(make_email("off", active=False), foreign), only=only)

    assert [DecisionReason.INACTIVE] * ("off" in only) == reasons(outcome.skipped)
    assert [DECISIONS] * ("off" in only) == [out.topic for out in outcome.outputs]


def test_a_duplicate_is_one_whichever_templates_are_named() -> None:
    """DUPLICATE_EVENT is about the record."""
    place = RecordPosition(EVENTS_TOPIC, 3, 5)
    every, named = (
        outcome_of(make_record(), make_context(), duplicate_of=place, only=only) for only in (None, ids("x"))
    )

    assert [DecisionReason.DUPLICATE_EVENT] == reasons(named.skipped)
    assert every == named


# ------------------------------------------------------------------------------------------------- checks of a template


@pytest.mark.parametrize(
    ("sample_name", "template", "reason", "detail"),
    [
        ("loan-repayment", make_email(active=False), DecisionReason.INACTIVE, "the template is switched off"),
        (
            "loan-repayment",
            make_email(target=Target.GROUP, recipient=RecipientKind.GROUP, active=True),
            DecisionReason.TARGET_MISMATCH,
            "target GROUP, but the holder is a client",
        ),
        (
            "savings-deposit",
            make_email(events=["SAVINGS_DEPOSIT"], target=Target.CLIENT),
            DecisionReason.TARGET_MISMATCH,
            "target CLIENT, but the holder is a group",
        ),
        (
            "loan-repayment",
            make_template(target=Target.SAVINGS),
            DecisionReason.TARGET_MISMATCH,
            "target SAVINGS, but the account is LOAN",
        ),
        (
            "savings-deposit",
            make_template(events=["SAVINGS_DEPOSIT"], target=Target.LOANS),
            DecisionReason.TARGET_MISMATCH,
            "target LOANS, but the account is DEPOSIT",
        ),
        (
            "loan-repayment",
            make_template(conditions=[make_condition("TRANSACTION_AMOUNT", "MORE_THAN", "500")]),
            DecisionReason.CONDITION_FALSE,
            "condition 1: TRANSACTION_AMOUNT MORE_THAN 500; the value is 218.24",
        ),
        (
            "loan-repayment",
            make_template(
                match=Match.ANY,
                conditions=[make_condition("GROUP_ID", "NOT_EMPTY"), make_condition("ACCOUNT_STATE", "IN", "CLOSED")],
            ),
            DecisionReason.CONDITION_FALSE,
            "none of them holds; condition 1: GROUP_ID NOT_EMPTY; there is no value",
        ),
        (
            "loan-repayment",
            make_template(trigger_days=-3, conditions=[make_condition("GROUP_ID", "NOT_EMPTY")]),
            DecisionReason.CONDITION_FALSE,
            "trigger_days -3; the event's are missing",
        ),
        (
            "savings-deposit",
            make_email(events=["SAVINGS_DEPOSIT"], target=Target.SAVINGS),
            DecisionReason.NO_RECIPIENT,
            "the event has no client",
        ),
        (
            "savings-deposit",
            make_email(events=["SAVINGS_DEPOSIT"], target=Target.SAVINGS, recipient=RecipientKind.CREDIT_OFFICER),
            DecisionReason.NO_RECIPIENT,
            "the event has no credit officer",
        ),
        (
            "savings-deposit",
            make_email(
                events=["SAVINGS_DEPOSIT"], target=Target.SAVINGS, recipient=RecipientKind.GROUP_ROLE, role="Chair"
            ),
            DecisionReason.NO_RECIPIENT,
            "the event has no group role 'Chair'",
        ),
        (
            "loan-repayment",
            make_template(subscription=Subscription.OPT_IN),
            DecisionReason.NOT_SUBSCRIBED,
            "the holder never opted in",
        ),
    ],
)
def test_a_failed_check_skips_its_template(
    sample_name: str, template: Any, reason: DecisionReason, detail: str
) -> None:
    """A template whose check fails makes nothing but its line in the record's decision."""
    outcome = outcome_of(make_record(make_event(sample_name)), make_context(template))

    assert [DECISIONS] == [out.topic for out in outcome.outputs]
    assert [(reason, detail, template.id, 1)] == [
        (template.reason, template.detail, template.templateId, template.templateVersion)
        for template in outcome.skipped
    ]


def test_a_channel_that_is_switched_off() -> None:
    """Its templates make a decision; the other channels go on."""
    context = make_context(make_email(), make_template(), disabled_channels=frozenset((Channel.EMAIL,)))
    outcome = outcome_of(make_record(), context)

    assert [(DecisionReason.CHANNEL_DISABLED, "channel EMAIL is switched off")] == reasons_and_details(outcome.skipped)
    assert [Channel.EVENT_STREAM] == [created.message.type for created in outcome.created]


def test_conditions_that_hold_change_nothing() -> None:
    """A template whose conditions hold makes what it makes without them; the recipient can be looked at as well."""
    conditions = [
        make_condition("TRANSACTION_AMOUNT", "BETWEEN", "100", "218.24"),
        make_condition("RECIPIENT_LAST_NAME", "EQUALS", "DUARTE"),
        make_condition("CF:LOAN:Insured", "EQUALS", "true"),
        make_condition("OCCURRED_AT", "TODAY"),
    ]
    context = make_context(make_email())
    plain, conditional = (
        outcome_of(make_record(), replace(context, templates=replace(context.templates, by_event={event: (template,)})))
        for event in (EventName("LOAN_REPAYMENT"),)
        for template in (make_email(), make_email(conditions=conditions))
    )

    assert plain.outputs == conditional.outputs
    assert plain.created


@pytest.mark.parametrize(("days", "skipped"), [(3, 0), (-3, 1), (0, 1)])
def test_trigger_days(days: int, skipped: int) -> None:
    """A reminder is made for events of just its distance from the due day, whatever the sign."""
    event = make_event()
    reminder = replace(event, fields={**event.fields, "triggerDays": 3})
    drafted = draft_template(make_email(trigger_days=days), reminder, DraftRules())

    assert skipped == isinstance(drafted, SkippedTemplate)
    if isinstance(drafted, SkippedTemplate):
        assert (DecisionReason.CONDITION_FALSE, f"trigger_days {days}; the event's are 3") == (
            drafted.reason,
            drafted.detail,
        )


def test_the_checks_have_the_references_order() -> None:
    """The list of decisions is closed, in the order in which they are looked for; each that `run` makes per template
    has one check."""
    with (Path(__file__).parents[1] / "domain" / "decision-reasons.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    assert [row["reason"] for row in rows] == [*DecisionReason]
    assert [row["reason"] for row in rows if row["decided per"] == "template"] == [check.reason for check in CHECKS]


def test_checks_of_a_template_come_in_their_order() -> None:
    """With every error at once the first check decides; taking them away one by one, the next does, rendering last."""
    everything: dict[str, Any] = {
        "active": False,
        "target": Target.SAVINGS,
        "conditions": [make_condition("RECIPIENT_NAME", "NOT_EMPTY"), make_condition("TENANT", "EMPTY")],
        "recipient": RecipientKind.GROUP,
        "subscription": Subscription.OPT_IN,
        "strict": True,
        "body": "{GROUP_ID}",
    }
    repairs: list[dict[str, Any]] = [
        {},
        {"active": True},
        {"target": Target.LOANS},
        {"conditions": []},
        {"recipient": RecipientKind.CLIENT},
        {"subscription": Subscription.OPT_OUT},
    ]
    got: list[object] = []
    suspended = {(TemplateId("loan-repayment-mail"), TemplateReason.MISSING_VALUE)}
    off = frozenset((Channel.EMAIL,))
    for repair in repairs:
        everything |= repair
        context = make_context(make_email(**everything), disabled_channels=off)
        outcome = outcome_of(make_record(), context, suspended)
        if everything["active"] and off:
            got += reasons(outcome.skipped)
            off = frozenset()
            outcome = outcome_of(make_record(), make_context(make_email(**everything)), suspended)
        got += reasons(outcome.skipped)
        got += reasons(outcome.failed)
    outcome = outcome_of(make_record(), make_context(make_email(**everything)))
    got += reasons(outcome.failed)

    assert [
        DecisionReason.INACTIVE,
        DecisionReason.CHANNEL_DISABLED,
        DecisionReason.TARGET_MISMATCH,
        DecisionReason.CONDITION_FALSE,
        DecisionReason.NO_RECIPIENT,
        DecisionReason.NOT_SUBSCRIBED,
        TemplateReason.TEMPLATE_SUSPENDED,
        TemplateReason.MISSING_VALUE,
    ] == got


@pytest.mark.parametrize(
    ("event", "template", "key_field", "key", "destination"),
    [
        ("loan-repayment", make_email(), "clientKey", "8a8e867d5b1a4c0e015b1a5f3c0a0001", "ines.duarte@example.com"),
        ("loan-repayment", make_sms(), "clientKey", "8a8e867d5b1a4c0e015b1a5f3c0a0001", "+351910000001"),
        (
            "loan-repayment",
            make_email(recipient=RecipientKind.CREDIT_OFFICER),
            "userKey",
            "8a8e867d5b1a4c0e015b1a5f3c0a0007",
            "m.vega@northbank.example",
        ),
        (
            "savings-deposit",
            make_email(events=["SAVINGS_DEPOSIT"], target=Target.SAVINGS, recipient=RecipientKind.GROUP),
            "groupKey",
            "8a8e867d5b1a4c0e015b1a5f3c0b0001",
            "office@valeverde.example",
        ),
        (
            "savings-deposit",
            make_sms(
                events=["SAVINGS_DEPOSIT"], target=Target.GROUP, recipient=RecipientKind.GROUP_ROLE, role="treasurer"
            ),
            "clientKey",
            "8a8e867d5b1a4c0e015b1a5f3c0a0021",
            "+351910000002",
        ),
        (
            {**sample("loan-repayment"), "customFields": {"CLIENT:Work mail": "ines@work.example"}},
            make_email(recipient=RecipientKind.CUSTOM_FIELD, field="CLIENT:Work mail"),
            "clientKey",
            "8a8e867d5b1a4c0e015b1a5f3c0a0001",
            "ines@work.example",
        ),
        ("loan-repayment", make_task(), "userKey", "8a8e867d5b1a4c0e015b1a5f3c0a0007", "mvega"),
        (
            "loan-repayment",
            make_webhook(url="https://a.example/{ACCOUNT_ID}?to={RECIPIENT_NAME}"),
            "clientKey",
            "8a8e867d5b1a4c0e015b1a5f3c0a0001",
            "https://a.example/LN-204417?to=Ines%20Duarte",
        ),
    ],
)
def test_recipients(event: Any, template: Any, key_field: str, key: str, destination: str) -> None:
    """Each kind of recipient sets exactly one key and gives the address of the channel."""
    (created,) = outcome_of(make_record(make_event(event)), make_context(template)).created

    assert {key_field: key} == {
        name: getattr(created.message, name)
        for name in ("clientKey", "groupKey", "userKey")
        if getattr(created.message, name) is not None
    }
    assert (destination, State.QUEUED) == (created.message.destination, created.message.state)


@pytest.mark.parametrize(
    ("template", "changes", "reason", "destination"),
    [
        (make_email(), {"client__emailAddress": None}, FailureReason.MISSING_EMAIL_RECIPIENT_ADDRESS, None),
        (make_sms(), {"client__mobilePhone": None}, FailureReason.MISSING_SMS_RECIPIENT, None),
        (make_task(), {"client__creditOfficer__username": ""}, FailureReason.UNDEFINED_DESTINATION, None),
        (
            make_webhook(url="https://a.example/{ACCOUNT_NAME}"),
            {"account__name": "n" * 1025},
            FailureReason.UNDEFINED_DESTINATION,
            None,
        ),
        (make_email(), {"client__emailAddress": " "}, FailureReason.UNDEFINED_DESTINATION, None),
        (make_email(), {"client__emailAddress": "a@b.example\r\nBcc: c@d"}, FailureReason.UNDEFINED_DESTINATION, None),
        (make_email(), {"client__emailAddress": "a" * 1025}, FailureReason.UNDEFINED_DESTINATION, None),
        (
            make_sms(body="{ACCOUNT_NAME}"),
            {"account__name": "n" * 1601},
            FailureReason.SMS_TOO_LONG,
            "+351910000001",
        ),
        (
            make_sms(body="{ACCOUNT_NAME}"),
            {"account__name": "n" * 1601, "client__mobilePhone": None},
            FailureReason.SMS_TOO_LONG,
            None,
        ),
    ],
)
def test_unsendable_messages_are_created_failed(
    template: Any, changes: dict[str, Any], reason: FailureReason, destination: str | None
) -> None:
    """The recipient's data wrong: a FAILED message with its reason and cause, in the log, and no dead letter."""
    outcome = outcome_of(make_record(make_event(**changes)), make_context(template))
    (created,) = outcome.created

    value = [NOTIFICATIONS] if template.type in (Channel.EMAIL, Channel.SMS) else []
    assert [MESSAGES, STATUS, *value] == [out.topic for out in outcome.outputs]
    assert (State.FAILED, reason, destination) == (
        created.message.state,
        created.message.failureReason,
        created.message.destination,
    )
    assert created.message.failureCause
    assert (State.FAILED, reason, True) == (created.status.to, created.status.failureReason, created.status.final)


def test_a_webhook_has_no_recipient() -> None:
    """Its encodedKey has no recipient, though its holder is named; the body is a document; TLS and host are fixed."""
    body = '{"id": "{ACCOUNT_ID}"}'
    template = make_webhook(url="https://a.example/{ACCOUNT_ID}", body=body, content_type=ContentType.JSON)
    (created,) = outcome_of(make_record(), make_context(template)).created

    assert encoded_key(TENANT, make_event().id, template.id, recipient="") == created.message.encodedKey
    assert ('{"id": "LN-204417"}', None) == (created.message.body, created.message.subject)
    assert (State.QUEUED, False) == (created.status.to, created.status.final)


@pytest.mark.parametrize(
    ("url", "name", "destination"),
    [
        ("https://a.example/accounts/{ACCOUNT_NAME}/holds", "..", None),
        ("https://a.example/accounts/{ACCOUNT_NAME}", ".", None),
        ("https://a.example/accounts/.{ACCOUNT_NAME}", ".", None),
        ("https://a.example/accounts/%2e{ACCOUNT_NAME}", ".", None),
        ("https://a.example/accounts/{ACCOUNT_NAME}{ACCOUNT_NAME}/x?y", ".", None),
        ("https://a.example/accounts/{ACCOUNT_NAME}/holds", "../admin", None),
        ("https://a.example/accounts/LN-{ACCOUNT_NAME}", "/../../admin", None),
        ("https://a.example/accounts/{ACCOUNT_NAME}", "x\\..\\admin", None),
        ("https://a.example/accounts/{ACCOUNT_NAME}/holds", "LN/../7..", None),
        ("https://a.example/accounts/{ACCOUNT_NAME}", "LN/7..", "https://a.example/accounts/LN%2F7.."),
        ("https://a.example/accounts?of={ACCOUNT_NAME}", "/../x", "https://a.example/accounts?of=%2F..%2Fx"),
        ("https://a.example/accounts/{ACCOUNT_NAME}", "...", "https://a.example/accounts/..."),
        ("https://a.example/accounts/{ACCOUNT_NAME}", "%2e", "https://a.example/accounts/%252e"),
        ("https://a.example/accounts?of={ACCOUNT_NAME}", "..", "https://a.example/accounts?of=.."),
    ],
)
def test_a_value_does_not_lead_to_another_path(url: str, name: str, destination: str | None) -> None:
    """A dot segment is removed by HTTP clients, encoded or not."""
    template = make_webhook(url=url, body="x")
    (created,) = outcome_of(make_record(make_event(account__name=name)), make_context(template)).created

    assert destination == created.message.destination
    assert (None if destination else FailureReason.UNDEFINED_DESTINATION) == created.message.failureReason


def test_a_value_missing_in_an_address_is_missing() -> None:
    """A strict webhook whose address lacks a value fails as its body would."""
    template = make_webhook(url="https://a.example/{GROUP_ID}", body="x", strict=True)
    (failed,) = outcome_of(make_record(), make_context(template)).failed

    assert (TemplateReason.MISSING_VALUE, "no value: {GROUP_ID}") == (failed.reason, failed.detail)


def test_an_sms_of_the_maximum_length_is_created() -> None:
    """1,600 characters are an SMS, counted as code points."""
    event = make_event(account__name="\U0001f600" * 1600)
    (created,) = outcome_of(make_record(event), make_context(make_sms(body="{ACCOUNT_NAME}"))).created

    assert created.message.state is State.QUEUED


def test_a_failing_template_wins_over_a_missing_address() -> None:
    """Rendered first, then addressed: a message that cannot be rendered is a failed template, not a FAILED message."""
    template = make_email(body="{GROUP_ID}", strict=True)
    outcome = outcome_of(make_record(make_event(client__emailAddress=None)), make_context(template))

    assert ([], [TemplateReason.MISSING_VALUE]) == (
        list(outcome.created),
        reasons(outcome.failed),
    )


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("pt-BR", "brasil"),
        ("pt_br", "brasil"),
        ("pt-PT", "portugal"),
        ("pt", "portugal"),
        ("en-GB", "top"),
        ("fr", "top"),
        (None, "top"),
    ],
)
def test_language(language: str | None, expected: str) -> None:
    """Exact tag, then language, then the top level; compared without case, `_` as `-`."""
    template = make_email(body="top", bodies={"pt-br": "brasil", "pt": "portugal"})
    (created,) = outcome_of(make_record(make_event(client__language=language)), make_context(template)).created

    assert expected == created.message.body


def test_the_top_levels_own_language() -> None:
    """A recipient of the top level's exact tag gets it, though a variant has the bare language."""
    template = make_email(body="top", bodies={"pt": "portugal"}, default_locale="pt-BR")
    (created,) = outcome_of(make_record(make_event(client__language="pt-BR")), make_context(template)).created

    assert "top" == created.message.body


# ------------------------------------------------------------------------------------------- failed templates, sizes


def test_one_failed_template_leaves_the_others() -> None:
    """A template that fails costs its own message only, and has one entry in the record's one dead letter."""
    good, bad = make_template("good"), make_template("bad", body="{GROUP_ID}", strict=True)
    record = make_record()
    alone = outcome_of(record, make_context(good))
    with_broken = outcome_of(record, make_context(good, bad))
    letter = with_broken.outputs[-1]

    assert [created.message for created in alone.created] == [created.message for created in with_broken.created]
    assert DEAD_LETTERS == letter.topic
    assert (record.key, record.value) == (letter.key, letter.value)
    assert "TEMPLATE_FAILED" == header(letter, "dl.reason")
    assert "bad: MISSING_VALUE" == header(letter, "dl.detail")
    assert [
        {
            "templateId": "bad",
            "templateVersion": 1,
            "reason": "MISSING_VALUE",
            "detail": "no value: {GROUP_ID}",
        }
    ] == json.loads(header(letter, "dl.failed"))


def test_a_character_that_a_body_cannot_carry() -> None:
    """It becomes U+FFFD, and each message says how many did: an event never changes, so no redrive could repair it."""
    templates = (
        make_template("json", body='{"a": "{ACCOUNT_NAME}"}', content_type=ContentType.JSON),
        make_email("mail", body="{ACCOUNT_NAME}", subject="{ACCOUNT_NAME}"),
        make_template("xml", body="<a>{ACCOUNT_NAME}</a>", content_type=ContentType.XML),
    )
    outcome = outcome_of(make_record(make_event(account__name="a\x00\x01b")), make_context(*templates))

    assert () == outcome.failed
    assert [
        ("json", '{"a": "a\\u0000\\u0001b"}', 0),
        ("mail", "a\ufffd\x01b", 1),
        ("xml", "<a>a\ufffd\ufffdb</a>", 2),
    ] == [(created.status.templateId, created.message.body, created.replaced) for created in outcome.created]


@pytest.mark.parametrize("topic", ["messages", "status", "streams"])
def test_an_output_over_its_topics_limit(topic: str) -> None:
    """A message with one record over its topic's limit is not published at all; smaller ones of the same record are."""
    large, small = make_template("large", body="{ACCOUNT_NAME}" * 20), make_email("small", body="x", subject="x")
    exact = outcome_of(make_record(), make_context(large, small))
    sizes = {out.topic: out.size_bytes for out in exact.outputs[:3]}
    size = dict(zip(("messages", "status", "streams"), sizes.values(), strict=True))[topic]

    def failed(limit: int) -> list[tuple[str, TemplateReason]]:
        context = make_context(large, small, output_topics=make_output_topics(**{topic: limit}))
        return [(template.templateId, template.reason) for template in outcome_of(make_record(), context).failed]

    assert [] == [template for template in failed(size) if template[0] == "large"]
    assert ("large", TemplateReason.MAX_MESSAGE_SIZE_LIMIT_EXCEEDED) in failed(size - 1)


def test_a_text_that_grows_without_end_is_cut_short() -> None:
    """A template that would make 200 MB of one event fails by the size of its text, before it is made."""
    template = make_template(body="{ACCOUNT_NAME}" * 1000)
    record = make_record(make_event(account__name="n" * 200_000))
    (failed,) = outcome_of(record, make_context(template)).failed

    assert TemplateReason.MAX_MESSAGE_SIZE_LIMIT_EXCEEDED == failed.reason
    assert "the text grew over 999000 characters at {ACCOUNT_NAME}" == failed.detail


@pytest.mark.parametrize(
    ("record", "limit"),
    [
        (make_record(make_event(correlationId="c" * 5_000), key=b"8a8e867d5b1a4c0e015b1a60aa110001"), 1_200),
        (make_record(make_event(), headers=(("correlation-id", b"c" * 512),)), 1_000),
        (make_record()._replace(key=b"k" * 5_000, value=b""), 2_000),
    ],
)
def test_a_decision_always_fits(record: SourceRecord, limit: int) -> None:
    """A decision that a producer's own text made too large is cut, and keeps its reason and its place."""
    context = make_context(make_email(active=False), output_topics=make_output_topics(decisions=limit))
    (out,) = outcome_of(record, context).outputs
    value = json.loads(out.value or b"")

    assert out.size_bytes <= limit
    assert {"topic": "banking.events", "partition": 3, "offset": 17} == value["source"]
    assert (1, 0) == (len(value["reasons"]), value["reasonsLeftOut"])


def test_a_decision_of_too_many_templates() -> None:
    """When not even short reasons fit, as many are kept as do; the record says how many it leaves out, and the last
    reason does in words."""
    templates = [make_email(f"off-{number:03}", active=False) for number in range(300)]
    context = make_context(*templates, output_topics=make_output_topics(decisions=4_000))
    outcome = outcome_of(make_record(), context)
    (value,) = values(outcome, DECISIONS)

    assert 300 == len(outcome.skipped)
    assert 1 < len(value["reasons"]) < 300
    assert 300 - len(value["reasons"]) == value["reasonsLeftOut"]
    assert f"and {300 - len(value['reasons'])} more templates" == value["reasons"][-1]["detail"]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (WrittenDecisions.ALL, ["CONDITION_FALSE", "INACTIVE", "NO_RECIPIENT"]),
        (WrittenDecisions.UNEXPECTED, ["NO_RECIPIENT"]),
        (WrittenDecisions.OFF, []),
    ],
)
def test_which_decisions_are_written(setting: WrittenDecisions, expected: list[str]) -> None:
    """`unexpected` leaves out what templates are meant to leave out, `off` all; the outcome has them all the same."""
    off = make_template("off", events=["SAVINGS_DEPOSIT"], target=Target.SAVINGS, active=False)
    nobody = make_sms("to-client", events=["SAVINGS_DEPOSIT"], target=Target.SAVINGS)
    families = {"deposit_transaction": EventName("SAVINGS_DEPOSIT")}
    unless = make_template(
        "if",
        events=["SAVINGS_DEPOSIT"],
        target=Target.SAVINGS,
        conditions=[make_condition("TENANT", "EMPTY", families=families)],
    )
    outcome = outcome_of(
        make_record(make_event("savings-deposit")), make_context(off, nobody, unless, decisions=setting)
    )

    assert 3 == len(outcome.skipped)
    assert expected == [skipped["reason"] for value in values(outcome, DECISIONS) for skipped in value["reasons"]]


def test_decision_record() -> None:
    """The one decision of a record has event, place, set and time, and is keyed by the event id."""
    context = make_context(make_email(active=False))
    (out,) = outcome_of(make_record(), context).outputs

    assert b"7f1d2c52-6a0e-4d0f-9b57-2f4f0c6a9e11" == out.key
    assert {
        "eventId": "7f1d2c52-6a0e-4d0f-9b57-2f4f0c6a9e11",
        "event": "LOAN_REPAYMENT",
        "tenant": "northbank",
        "source": {"topic": "banking.events", "partition": 3, "offset": 17},
        "setVersion": context.templates.digest,
        "correlationId": "branch-17-000412",
        "at": "2026-03-14T09:26:53.702Z",
        "reasons": [
            {
                "templateId": "loan-repayment-mail",
                "templateVersion": 1,
                "reason": "INACTIVE",
                "detail": "the template is switched off",
            }
        ],
        "reasonsLeftOut": 0,
    } == json.loads(out.value or b"")


def test_suspended_template_keeps_its_entry() -> None:
    """A suspended template makes no message but an entry in the dead letter; the others are published."""
    suspended = {(TemplateId("paused"), TemplateReason.MISSING_VALUE)}
    outcome = outcome_of(make_record(), make_context(make_template("paused"), make_template("other")), suspended)

    assert ["other"] == [created.status.templateId for created in outcome.created]
    assert [("paused", TemplateReason.TEMPLATE_SUSPENDED)] == [
        (template.templateId, template.reason) for template in outcome.failed
    ]


# --------------------------------------------------------------------------------------------------------------- laws


def _mutations(valid: bytes) -> st.SearchStrategy[bytes]:
    """`valid` with a few bytes changed, taken out or put in, so that most of it is still what it was."""
    place = st.integers(0, len(valid))
    change = st.tuples(place, st.integers(0, 3), st.binary(max_size=4))

    def apply(changes: list[tuple[int, int, bytes]]) -> bytes:
        data = valid
        for at, taken, put in changes:
            data = data[:at] + put + data[at + taken :]
        return data

    return st.lists(change, max_size=3).map(apply)


AVRO, AVRO_HEADERS = encode_event(make_event().fields, schemas(), format=WireFormat.AVRO)
JSON, JSON_HEADERS = encode_event(make_event().fields, schemas(), format=WireFormat.JSON)
LAWFUL = settings(
    max_examples=examples(200), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@LAWFUL
@given(
    avro=_mutations(AVRO),
    json_text=_mutations(JSON),
    key=st.none() | st.binary(max_size=40),
    timestamp_ms=st.sampled_from([1_773_480_413_702, 0, -1]) | st.integers(-(2**63), 2**63 - 1),
)
def test_any_bytes_end_in_an_outcome(avro: bytes, json_text: bytes, key: bytes | None, timestamp_ms: int) -> None:
    """Mutated bytes, framed or JSON, with any key and time, have an outcome; sent again the same one, ids included."""
    context = make_context(encode=OutputEncoder(schemas()))
    for value, headers in ((avro, AVRO_HEADERS), (json_text, JSON_HEADERS)):
        record = make_record(value=value, headers=headers, key=key, timestamp_ms=timestamp_ms)
        outcome = map_record(record, context, NONE_SUSPENDED)

        assert outcome == map_record(record, context, NONE_SUSPENDED)
        assert isinstance(outcome, Processed | Rejected)
        assert all(0 <= out.size_bytes <= 999_000 for out in outcome.outputs)


@LAWFUL
@given(name=st.text(max_size=30), amount=st.decimals(0, 10**20, places=10))
def test_any_values_give_a_result_in_each_format(name: str, amount: Any) -> None:
    """Whatever text an event's fields hold, every kind of template has a result, in Avro and in JSON."""
    clean = name.encode(errors="replace").decode()
    event = make_event(account__name=clean, client__firstName=clean, transaction__amount=str(amount))
    templates = (
        make_email(
            "mail", body="{ACCOUNT_NAME} {RECIPIENT_FIRST_NAMES} {TRANSACTION_AMOUNT}", subject="{ACCOUNT_NAME}"
        ),
        make_sms("text", body="{ACCOUNT_NAME}"),
        make_template("json", body='{"a": "{ACCOUNT_NAME}", "b": {CLIENT_ID}}', content_type=ContentType.JSON),
        make_template("xml", body='<a b="{ACCOUNT_NAME}">{TRANSACTION_AMOUNT}</a>', content_type=ContentType.XML),
    )
    for form in WireFormat:
        context = make_context(*templates, form=form)
        outcome = outcome_of(make_record(event), context)

        assert 4 == len(outcome.created)
        assert () == outcome.failed


SPLIT_TEMPLATES = (
    make_email("mail", category="NTC-3300-0041"),
    make_sms("text"),
    make_task("task"),
    make_webhook("hook"),
    make_template("stream"),
    make_template("fails", body="{GROUP_ID}", strict=True),
    make_template("fails-too", body="{GROUP_ID}", strict=True),
    make_email("off", active=False),
    make_email("unwanted", subscription=Subscription.OPT_IN),
    make_template("suspended"),
)
SPLIT_SUSPENDED = frozenset(((TemplateId("suspended"), TemplateReason.OTHER),))


@LAWFUL
@given(
    name=st.none() | st.sampled_from(list(EVENTS)),
    numbers=st.lists(st.integers(0, 3), min_size=1, max_size=60),
    form=st.sampled_from(WireFormat),
)
def test_a_split_of_the_templates_gives_what_the_whole_gives(
    name: EventName | None, numbers: list[int], form: WireFormat
) -> None:
    """However a set is split, also into parts without any template of the event: what comes of each template is what
    comes of it among all, the bytes of its records too; reasons of decisions and dead letters are those of the whole.

    With the shipped templates for each event, and with one of each result.
    """
    templates = SPLIT_TEMPLATES if name is None else ()
    context = make_context(*templates, form=form)
    record = make_record(make_event() if name is None else make_event(shipped_event(name)))
    whole = outcome_of(record, context, SPLIT_SUSPENDED)
    names = [template.id for template in context.templates.templates]
    parts = [
        outcome_of(
            record,
            context,
            SPLIT_SUSPENDED,
            only=frozenset(name for name, number in zip(names, cycle(numbers), strict=False) if number == part),
        )
        for part in range(4)
    ]

    assert sorted(whole.results, key=template_of) == sorted(
        (result for part in parts for result in part.results), key=template_of
    )
    assert list(whole.results) == sorted(whole.results, key=template_of)
    assert [bool(part.skipped) for part in parts] == [part.decision is not None for part in parts]
    assert [bool(part.failed) for part in parts] == [part.dead_letter is not None for part in parts]


def template_of(result: TemplateResult) -> str:
    """The template that a result is of."""
    status = None if result.created is None else result.created.status
    (part,) = (part for part in (result.skipped, result.failed, status) if part is not None)
    assert part.templateId is not None
    return part.templateId


_BREAKERS: list[Callable[[], Any]] = [
    lambda: make_email("broken", active=False),
    lambda: make_email("broken", target=Target.SAVINGS),
    lambda: make_email("broken", recipient=RecipientKind.GROUP),
    lambda: make_email("broken", body="{GROUP_ID}", strict=True),
    lambda: make_email("broken", body="{ACCOUNT_NAME}" * 20_000),
    lambda: make_template("broken", body="<a>{GROUP_ID}</a>", content_type=ContentType.XML, strict=True),
    lambda: make_sms("broken", body="x" * 2_000),
]


@pytest.mark.parametrize("broken", _BREAKERS)
def test_a_broken_template_changes_no_output_of_another(broken: Callable[[], Any]) -> None:
    """Messages, statuses and stream events of the others are the same bytes, the digest of the set aside."""
    record = make_record(make_event(account__name="a\x01" * 100))
    others = [make_template("other"), make_email("mail")]
    alone = make_context(*others)
    with_broken = make_context(*others, broken())
    with_broken = replace(with_broken, templates=replace(with_broken.templates, digest=alone.templates.digest))
    mine = {created.status.encodedKey for created in outcome_of(record, alone).created}

    def outputs_of_others(context: MappingContext) -> list[OutRecord]:
        return [
            out
            for out in outcome_of(record, context).outputs
            if (out.key or b"").decode() in mine or (out.topic == REPAYMENTS)
        ]

    assert outputs_of_others(alone) == outputs_of_others(with_broken)
    assert 6 == len(outputs_of_others(alone))


def test_which_records_deduplication_counts() -> None:
    """Those of our tenant with a key, events without template too; none that is empty, foreign or without key."""
    identity = identity_of(TENANT, "7f1d2c52-6a0e-4d0f-9b57-2f4f0c6a9e11")
    context = make_context(make_template(events=["SAVINGS_DEPOSIT"], target=Target.SAVINGS))
    foreign, empty, keyless = (
        make_record(make_event(tenant="southbank")),
        make_record()._replace(value=None),
        make_record(key=None),
    )

    assert identity == make_source(make_record(), context).seen.identity
    for record in (foreign, empty, keyless):
        assert not isinstance(decode_record(record, context, schema_of=schemas().local_schema), SourceEvent)


def test_set_version() -> None:
    """Each status names the set it was mapped with, so that the set can be looked up as it was."""
    outcome = outcome_of(make_record(), make_context())

    assert {shipped_templates().digest} == {created.status.setVersion for created in outcome.created}
