"""What a past operation adds to all that it writes, and what it writes where nothing is missing."""

import json
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.catalogue import EVENTS
from processor.domain.channel import Channel
from processor.domain.ids import eid, notification_id
from processor.domain.message import State
from processor.domain.operation import OperationId, PastOperation
from processor.domain.outcome import Outcome, Processed, Rejected
from processor.domain.reasons import DecisionReason, Reason
from processor.domain.record import EncodedKey, EventName, Headers, OutRecord, RecordPosition, TemplateId
from processor.domain.reference import Table
from processor.domain.template import Subscription
from processor.errors import InternalError
from processor.mapping.already_created import skip_created_event, skip_created_template
from processor.mapping.context import MappingContext
from processor.mapping.decode_record import decode_record
from processor.mapping.map import combine_results, map_event
from processor.mapping.options import KeyCheck
from processor.mapping.reference import Reference
from processor.mapping.rejections import refuse_outputs, reject_for_error
from processor.shipped import sample as shipped_event
from processor.wire.dead_letter import read_dead_letter
from processor.wire.wire_format import WireFormat
from tests.support.builders import (
    EVENTS_TOPIC,
    TENANT,
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
    reasons_and_details,
    schemas,
)
from tests.support.reference_rows import BLOCKED

OPERATION = PastOperation(id=OperationId("replay-20261129T075501Z-3f2a91c0"))
HEADER = ("operation", b"replay-20261129T075501Z-3f2a91c0")
LATE = ("send-late", b"true")
TOPICS = make_output_topics()
TRACE: Headers = (
    ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("correlation-id", b"c-1"),
)
# Of another operation: the event may have been produced again by a copy of an output.
FOREIGN: Headers = (("operation", b"replay-20200101T000000Z-00000000"), ("send-late", b"true"))
PLACE = RecordPosition(EVENTS_TOPIC, 3, 5)

TEMPLATES = (
    make_email("mail"),
    make_sms("text"),
    make_task("task"),
    make_webhook("hook"),
    make_template("stream"),
    make_email("off", active=False),
    make_template("fails", body="{GROUP_ID}", strict=True),
)


def outputs(outcome: Outcome) -> tuple[OutRecord, ...]:
    """All that an outcome publishes."""
    assert isinstance(outcome, Processed | Rejected)
    return outcome.outputs


def every_outcome(context: MappingContext, headers: Headers = ()) -> list[Outcome]:
    """Outcomes with every kind of output: of messages of each channel, of decisions and of dead letters."""
    good = make_record(make_event(), headers=headers)
    source = make_source(good, context)
    strict = replace(context, key_check=KeyCheck.STRICT)
    return [
        map_record(good, context),
        map_record(good, context, duplicate_of=PLACE),
        map_record(make_record(make_event("client-created"), headers=headers), context),
        map_record(make_record(value=b"", headers=headers), context),
        map_record(make_record(make_event(tenant="southbank"), headers=headers), context),
        map_record(make_record(value=b"broken", headers=headers), context),
        map_record(make_record(make_event(), key=None, headers=headers), context),
        map_record(make_record(make_event(), key=b"other", headers=headers), strict),
        refuse_outputs(source, context, detail="INVALID_RECORD", drop_value=False),
        refuse_outputs(source, context, detail="INVALID_RECORD", drop_value=True),
        reject_for_error(good, source.event, context, ValueError("x")),
    ]


def all_outputs(context: MappingContext, headers: Headers = ()) -> list[OutRecord]:
    """The records of `every_outcome`, in order."""
    return [out for outcome in every_outcome(context, headers) for out in outputs(outcome)]


def header_names(out: OutRecord) -> list[str]:
    """The names of an output's headers, in order."""
    return [name for name, _ in out.headers]


# ---------------------------------------------------------------------------------------------------------- operation


@pytest.mark.parametrize("headers", [(), TRACE, (*FOREIGN, *TRACE)], ids=["none", "trace", "foreign"])
def test_each_record_of_a_past_operation_names_it(headers: Headers) -> None:
    """Once, after what is propagated; of a dead letter after its own headers. All else is as `run` writes it."""
    by_run = all_outputs(make_context(*TEMPLATES), headers)
    by_operation = all_outputs(make_context(*TEMPLATES, operation=OPERATION), headers)

    assert {
        TOPICS.messages.name,
        TOPICS.status.name,
        TOPICS.notifications.name,
        TOPICS.streams[EventName("LOAN_REPAYMENT")].name,
        TOPICS.decisions.name,
        TOPICS.dead_letters.name,
    } == {out.topic for out in by_operation}
    assert by_run == [without_operation(out) for out in by_operation]
    for out in by_operation:
        own = (
            out.headers
            if out.topic != TOPICS.dead_letters.name
            else out.headers[header_names(out).index("dl.reason") :]
        )
        assert [HEADER] == [header for header in own if header[0] == "operation"]
        if out.topic == TOPICS.dead_letters.name:
            assert HEADER == out.headers[-1]
        else:
            assert ["operation", "content-type"] == header_names(out)[-2:]


def without_operation(out: OutRecord) -> OutRecord:
    """An output without the last header of this name."""
    at = max(index for index, header in enumerate(out.headers) if header == HEADER)
    return out._replace(headers=(*out.headers[:at], *out.headers[at + 1 :]))


def test_run_writes_no_operation() -> None:
    """Neither header, also where the source has them: they are not propagated. A dead letter keeps the source's."""
    for out in all_outputs(make_context(*TEMPLATES), FOREIGN):
        if out.topic == TOPICS.dead_letters.name and out.value is not None:
            assert FOREIGN == tuple(header for header in out.headers if header[0] in dict(FOREIGN))
            assert header_names(out).index("send-late") < header_names(out).index("dl.reason")
        else:
            assert not {"operation", "send-late"} & set(header_names(out))


def test_a_discarded_message_names_its_operation() -> None:
    """The Message of a blocked contact, whom nobody writes to."""
    tables = Reference(rows=lambda table, _key: json.dumps(BLOCKED).encode() if table is Table.CONTACTS else None)
    context = make_context(make_email(), operation=replace(OPERATION, send_late=True), reference=tables)
    (discarded, decision) = outputs(map_record(make_record(), context))

    assert (TOPICS.notifications.name, TOPICS.decisions.name) == (discarded.topic, decision.topic)
    assert [["operation", "content-type"]] * 2 == [header_names(out) for out in (discarded, decision)]


def test_a_shortened_decision_names_its_operation() -> None:
    """What is propagated is left out where it does not fit, the operation never is."""
    record = make_record(make_event(), headers=(*TRACE, ("tracestate", b"a=" + b"b" * 200)))
    for limit in (700, 600):
        topics = make_output_topics(decisions=limit)
        context = make_context(
            *(make_email(f"off-{number}", active=False) for number in range(20)),
            output_topics=topics,
            operation=OPERATION,
        )
        (out,) = outputs(map_record(record, context))

        assert out.size_bytes <= limit
        assert ["operation", "content-type"] == header_names(out)


@given(
    name=st.sampled_from(list(EVENTS)), form=st.sampled_from(WireFormat), send_late=st.booleans(), headers=st.booleans()
)
def test_a_past_operation_makes_the_same_messages(
    name: EventName, form: WireFormat, send_late: bool, headers: bool
) -> None:
    """The shipped templates, each event, both formats: keys and values are those of `run`."""
    record = make_record(make_event(shipped_event(name)), headers=TRACE if headers else ())
    by_run = outputs(map_record(record, make_context(form=form)))
    by_operation = outputs(
        map_record(record, make_context(form=form, operation=replace(OPERATION, send_late=send_late)))
    )
    added = {HEADER, LATE}

    assert list(by_run) == [
        out._replace(headers=tuple(header for header in out.headers if header not in added)) for out in by_operation
    ]
    assert all(HEADER in out.headers for out in by_operation)


# ---------------------------------------------------------------------------------------------------------- send-late


def test_send_late_is_on_messages_that_are_sent() -> None:
    """EMAIL, SMS, WEB_HOOK and TASK, FAILED ones too; on no other record, and on none without the option."""
    event = make_event(client__emailAddress=None)
    late = replace(OPERATION, send_late=True)
    outcome = map_record(make_record(event), make_context(*TEMPLATES, operation=late))
    assert isinstance(outcome, Processed)
    is_late = {
        (out.topic, json.loads(out.value or b"")["type"] if out.topic == TOPICS.messages.name else ""): LATE
        in out.headers
        for out in outcome.outputs
        if out.topic != TOPICS.dead_letters.name
    }

    assert State.FAILED in {created.message.state for created in outcome.created}
    assert {channel.value for channel in Channel if channel is not Channel.EVENT_STREAM} == {
        channel for (topic, channel), late in is_late.items() if topic == TOPICS.messages.name and late
    }
    assert not any(late for (topic, _), late in is_late.items() if topic != TOPICS.messages.name)
    assert all(LATE not in out.headers for out in all_outputs(make_context(*TEMPLATES, operation=OPERATION)))
    assert LATE not in all_outputs(make_context(*TEMPLATES, operation=late))[-1].headers


# ------------------------------------------------------------------------------------------------------------ reissue


def test_a_reissue_makes_new_messages() -> None:
    """The operation's id is the fifth part of each key's digest; `eid` and the id of the Message follow from the key.
    Where nothing is made, the decision has the new key too."""
    templates = (make_email("mail"), make_template("stream"), make_email("unwanted", subscription=Subscription.OPT_IN))
    operation = replace(OPERATION, reissue=True)
    outcome = map_record(make_record(), make_context(*templates, operation=operation))
    assert isinstance(outcome, Processed)
    mail, stream = outcome.created
    (unwanted,) = outcome.skipped

    def key(template: str, recipient: str) -> str:
        parts = (TENANT, make_event().id, template, recipient, operation.id)
        return blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()

    client = "8a8e867d5b1a4c0e015b1a5f3c0a0001"
    assert (key("mail", client), key("stream", "")) == (mail.message.encodedKey, stream.message.encodedKey)
    assert key("unwanted", client) == unwanted.encodedKey
    assert mail.notification is not None
    assert stream.stream_event is not None
    assert notification_id(EncodedKey(key("mail", client))) == mail.notification.id
    assert eid(EncodedKey(key("stream", ""))) == stream.stream_event.eid
    assert {key("mail", client).encode(), key("stream", "").encode(), make_event().ordering_key.encode()} == {
        out.key for out in outcome.outputs if out.topic != TOPICS.decisions.name
    }


def test_two_reissues_are_two_messages() -> None:
    """Each operation has its own; the same one again has the same."""
    contexts = [
        make_context(operation=PastOperation(id=OperationId(f"replay-20261129T075501Z-0000000{n}"), reissue=True))
        for n in (1, 1, 2)
    ]
    first, again, other = (outputs(map_record(make_record(), context)) for context in contexts)

    assert first == again
    assert not {out.key for out in first if out.topic == TOPICS.messages.name} & {out.key for out in other}


# ---------------------------------------------------------------------------------------------------- ALREADY_CREATED


def test_an_event_that_was_found_elsewhere() -> None:
    """One decision for the whole record, which names the operation and the place, as a header too; nothing else."""
    context = make_context(*TEMPLATES, operation=OPERATION)
    outcome = skip_created_event(make_source(make_record(headers=TRACE), context), context, found_at=PLACE)
    (out,) = outcome.outputs
    value = json.loads(out.value or b"")

    assert TOPICS.decisions.name == out.topic
    assert [
        {
            "reason": "ALREADY_CREATED",
            "detail": "replay-20261129T075501Z-3f2a91c0 found this event id at banking.events[3]@5",
        }
    ] == value["reasons"]
    assert (*TRACE, HEADER, ("content-type", b"application/json")) == out.headers
    assert (make_event().id, context.templates.digest) == (value["eventId"], value["setVersion"])


def test_a_message_that_exists() -> None:
    """Per template, with its version and key; beside what came of the others in the one decision of the record."""
    context = make_context(*TEMPLATES, operation=OPERATION)
    source = make_source(make_record(), context)
    mapped = map_event(
        source, context, suspended=frozenset(), duplicate_of=None, only=frozenset(map(TemplateId, ("off", "text")))
    )
    found_at = RecordPosition(TOPICS.status.name, 3, 901)
    mail = skip_created_template(TemplateId("mail"), context, version=4, key=EncodedKey("0a" * 16), found_at=found_at)
    outcome = combine_results(source, context, (mail, *mapped.results))
    (decision,) = (out for out in outcome.outputs if out.topic == TOPICS.decisions.name)
    first, second = json.loads(decision.value or b"")["reasons"]

    assert {
        "templateId": "mail",
        "templateVersion": 4,
        "reason": "ALREADY_CREATED",
        "detail": "replay-20261129T075501Z-3f2a91c0 found this template's message at communications.status[3]@901",
        "encodedKey": "0a" * 16,
    } == first
    assert ("off", "INACTIVE") == (second["templateId"], second["reason"])
    assert mapped.results[1].outputs == outcome.results[2].outputs
    assert ["text"] == [created.status.templateId for created in outcome.created]


def test_combined_results_are_what_mapping_gives() -> None:
    """The outcome of a mapping is that of its results."""
    context = make_context(*TEMPLATES, operation=OPERATION)
    for record in (make_record(), make_record(key=b"other"), make_record(headers=(("traceparent", None),))):
        source = make_source(record, context)
        outcome = map_event(source, context, suspended=frozenset(), duplicate_of=None)

        assert outcome == combine_results(source, context, outcome.results)


def test_run_writes_no_already_created() -> None:
    """InternalError: it has no operation to name."""
    context = make_context(*TEMPLATES)
    with pytest.raises(InternalError, match="only a past operation"):
        skip_created_event(make_source(make_record(), context), context, found_at=PLACE)
    with pytest.raises(InternalError, match="only a past operation"):
        skip_created_template(TemplateId("mail"), context, version=1, key=None, found_at=PLACE)

    assert DecisionReason.ALREADY_CREATED == [*DecisionReason][-1]


# ------------------------------------------------------------------------------------------------------- dead letters


def test_a_redriven_dead_letter_keeps_the_sources_headers() -> None:
    """Dead letter, redriven and again a dead letter, thrice: the source's headers are as they were, also one of the
    same name, and each dead letter names the operation that wrote it and no earlier one."""
    source_headers: Headers = (*FOREIGN, *TRACE, ("dl.attempts", b"2"))
    record = make_record(make_event(), headers=source_headers)
    expected: list[Any] = [None, *(OperationId(f"redrive-20261129T07550{n}Z-3f2a91c0") for n in (1, 2, 3))]
    found = []
    for operation in expected:
        past = None if operation is None else PastOperation(id=operation)
        context = make_context(make_template("fails", body="{GROUP_ID}", strict=True), operation=past)
        (out,) = outputs(map_record(record, context))
        letter = read_dead_letter(key=out.key, value=out.value, headers=out.headers)
        found.append(letter.operation)
        assert (record.key, record.value, record.headers) == (letter.key, letter.value, letter.headers)
        record = record._replace(key=letter.key, value=letter.value, headers=letter.headers)

    assert expected == found


def test_a_dead_letter_without_its_bytes_names_its_operation() -> None:
    """Behind `dl.value_bytes`, where the source's headers are left out with the value."""
    context = make_context(operation=OPERATION)
    record = make_record(make_event(), headers=FOREIGN)
    decoded = decode_record(record, context, schema_of=schemas().local_schema)
    rejected = refuse_outputs(decoded, context, detail="INVALID_RECORD", drop_value=True)
    (out,) = outputs(rejected)
    letter = read_dead_letter(key=out.key, value=out.value, headers=out.headers)

    assert ["dl.value_bytes", "operation"] == header_names(out)[-2:]
    assert (Reason.OUTPUT_REFUSED, OPERATION.id, ()) == (letter.reason, letter.operation, letter.headers)


def test_details_of_other_decisions_are_those_of_run() -> None:
    """An operation changes no reason and no detail."""
    by_run, by_operation = (
        map_record(make_record(), make_context(*TEMPLATES, operation=operation)) for operation in (None, OPERATION)
    )
    assert isinstance(by_run, Processed)
    assert isinstance(by_operation, Processed)

    assert reasons_and_details(by_run.skipped) == reasons_and_details(by_operation.skipped)
