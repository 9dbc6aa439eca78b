"""Outputs as bytes: golden files of each in both formats, and everything comes back as it went."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest
from fastavro import schemaless_reader
from hypothesis import given, settings

from processor.domain.channel import Channel
from processor.domain.ids import eid
from processor.domain.message import Communicationmessage, Decision, MessageStatus, SkippedTemplate, State, StreamEvent
from processor.domain.notification import (
    Actor,
    Attachment,
    AuditEvent,
    AuditOwner,
    Notification,
    NotificationAccount,
    NotificationCategory,
    NotificationContact,
    NotificationStatus,
    NotificationUser,
)
from processor.domain.reasons import DecisionReason, FailureReason
from processor.domain.record import EncodedKey, RecordPosition, SchemaGuid, SchemaId, TemplateId, Topic
from processor.wire.encode import EncodedValue, OutputEncoder, encode_event
from processor.wire.json_codec import format_decimal, format_millis, format_timestamp
from processor.wire.output_fields import read_decision, read_message, read_stream_event
from processor.wire.schema import WriterSchema
from processor.wire.schema_parser import parse_writer_schema
from processor.wire.wire_format import WireFormat
from tests.support.output_readers import read_notification, read_status
from tests.support.output_values import DECISIONS, MESSAGES, NOTIFICATIONS, STATUSES, STREAM_EVENTS
from tests.support.wire import GOLDEN, JSON_HEADERS, SCHEMAS, golden_bytes, golden_event, golden_json

AVRO = OutputEncoder(SCHEMAS, output_format=WireFormat.AVRO, stream_format=WireFormat.AVRO)
JSON = OutputEncoder(SCHEMAS, output_format=WireFormat.JSON, stream_format=WireFormat.JSON)


def millis(text: str) -> int:
    """A time of a golden file."""
    moment = datetime.fromisoformat(text)
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000


EMAIL = Communicationmessage(
    body="<p>Dear Ines,</p><p>we received your payment of 218.24 EUR for LN-204417 on 2026-03-14.</p>",
    clientKey="8a8e867d5b1a4c0e015b1a5f3c0a0001",
    creationDate=millis("2026-03-14T09:26:53.702Z"),
    destination="ines.duarte@example.com",
    encodedKey=EncodedKey("f7057037637ada1e806489eb4bfde71d"),
    event="LOAN_REPAYMENT",
    loanAccountKey="8a8e867d5b1a4c0e015b1a60aa110001",
    numRetries=1,
    referenceId="<3.f7057037637ada1e806489eb4bfde71d@mail.northbank.example>",
    repaymentKey="8a8e867d5b1a4c0e015b1a60aa110003",
    sendDate=millis("2026-03-14T09:27:26.118Z"),
    state=State.SENT,
    subject="Payment received: LN-204417",
    templateKey="669636edeb622057521a33d995e00f4c",
    type=Channel.EMAIL,
)
BODY = '{"account": "SV-880031", "amount": "100.00", "balance": "1250.75", "purpose": "Tractor"}'
STREAM = Communicationmessage(
    body=BODY,
    creationDate=millis("2026-03-14T10:02:11.090Z"),
    depositAccountKey="8a8e867d5b1a4c0e015b1a60bb220001",
    destination="mrn.event.northbank.streamingapi.savings_deposit",
    encodedKey=EncodedKey("e0d96d82587221510afb1c6032ce0ded"),
    event="SAVINGS_DEPOSIT",
    groupKey="8a8e867d5b1a4c0e015b1a5f3c0b0001",
    numRetries=0,
    sendDate=millis("2026-03-14T10:02:11.090Z"),
    state=State.SENT,
    templateKey="07f39cb9fbc0d69f2f072dd330121b55",
    type=Channel.EVENT_STREAM,
)
STATUS = MessageStatus(
    encodedKey=EncodedKey("f7057037637ada1e806489eb4bfde71d"),
    tenant="northbank",
    event="LOAN_REPAYMENT",
    type=Channel.EMAIL,
    sequence=1,
    from_=None,
    to=State.FAILED,
    at=millis("2026-03-14T09:26:53.702Z"),
    numRetries=0,
    failureReason=FailureReason.MISSING_EMAIL_RECIPIENT_ADDRESS,
    failureCause="no e-mail address",
    final=True,
    eventId="7f1d2c52-6a0e-4d0f-9b57-2f4f0c6a9e11",
    templateId=TemplateId("loan-repayment-email"),
    templateVersion=3,
    setVersion="0123456789abcdef0123456789abcdef",
    source=RecordPosition(Topic("banking.events"), 4, 129),
    correlationId="branch-17-000412",
)
STREAM_EVENT = StreamEvent(
    eid=eid(EncodedKey("e0d96d82587221510afb1c6032ce0ded")),
    event_type="mrn.event.northbank.streamingapi.savings_deposit",
    occurred_at=millis("2026-03-14T10:02:11.004Z"),
    content_type="application/json",
    category="DATA",
    body=BODY,
    template_name="Deposit received",
)
DECISION = Decision(
    eventId="c0a5a1de-53a1-4f43-8b1f-1c9f2f5b7a20",
    event="SAVINGS_DEPOSIT",
    tenant="northbank",
    source=RecordPosition(Topic("banking.events"), 0, 77),
    setVersion="0123456789abcdef0123456789abcdef",
    correlationId=None,
    at=millis("2026-03-14T10:02:11.090Z"),
    reasons=(
        SkippedTemplate(
            templateId=TemplateId("deposit-sms"),
            templateVersion=2,
            reason=DecisionReason.NO_RECIPIENT,
            detail="the account has no credit officer",
        ),
        SkippedTemplate(
            templateId=TemplateId("deposit-mail"),
            templateVersion=1,
            reason=DecisionReason.NOT_SUBSCRIBED,
            detail="opted out",
            encodedKey=EncodedKey("0a" * 16),
        ),
    ),
)

BY = Actor("UR-0000-0000-0000", "Processor")
NOTIFICATION = Notification(
    id="MSG-2451-6431-7421-7501",
    href="/v1/notifications/messages/MSG-2451-6431-7421-7501",
    batch="MST-8769-2774-8402",
    contact=NotificationContact(
        id="CTT-4410-0093-7715",
        href="/v1/notifications/contacts/CTT-4410-0093-7715",
        name="Ines Duarte",
        email="ines.duarte@example.com",
        user=NotificationUser(
            id="USR-5520-1187",
            href="/accounts/users/USR-5520-1187",
            name="Ines Duarte",
            email="ines.duarte@example.com",
        ),
    ),
    account=NotificationAccount(
        id="ACC-7031-2205",
        href="/accounts/accounts/ACC-7031-2205",
        type="Client",
        status="Enabled",
        name="Northbank Retail",
        logo="/accounts/accounts/ACC-7031-2205/logo.png",
    ),
    status=NotificationStatus.SENT,
    subject="Payment received: LN-204417",
    category=NotificationCategory(
        id="NTC-3300-0041",
        href="/v1/notifications/categories/NTC-3300-0041",
        name="Loan payments",
        shortDescription="Payments received, reversed or overdue.",
    ),
    body="<p>Dear Ines,</p><p>we received your payment of 218.24 EUR for LN-204417 on 2026-03-14.</p>",
    audit={
        "created": AuditEvent(
            at=millis("2026-03-14T09:26:53.702Z"),
            by=BY,
            of=AuditOwner(
                id="ACC-7031-2205",
                href="/accounts/accounts/ACC-7031-2205",
                name="Northbank Retail",
                icon="/accounts/accounts/ACC-7031-2205/logo.png",
            ),
        ),
        "queued": AuditEvent(at=millis("2026-03-14T09:26:53.702Z"), by=BY),
        "sent": AuditEvent(at=millis("2026-03-14T09:27:26.118Z"), by=BY),
        "updated": AuditEvent(at=millis("2026-03-14T09:27:26.118Z"), by=BY),
    },
)
PLAIN_NOTIFICATION = Notification(
    id="MSG-0000-0000-0000-0001",
    href="/v1/notifications/messages/MSG-0000-0000-0000-0001",
    batch="MST-0000-0000-0002",
    contact=NotificationContact(id="CTT-0000-0000-0003", href="/v1/notifications/contacts/x", name="Bo"),
    status=NotificationStatus.DISCARDED,
    body="Your card is on its way",
    attachments=(
        Attachment(
            id="ATT-1150-0093-2201",
            name="Terms",
            contentType="application/pdf",
            fileSize=20_480,
            fileName="terms.pdf",
            href="/v1/attachments/ATT-1150-0093-2201",
        ),
    ),
    audit={"created": AuditEvent(at=1, by=replace(BY, icon="/icon.png"))},
)

Encode = Callable[[OutputEncoder], EncodedValue]
OUTPUTS: list[tuple[str, Encode]] = [
    ("Communicationmessage.email", lambda to: to(EMAIL)),
    ("Communicationmessage.stream", lambda to: to(STREAM)),
    ("MessageStatus", lambda to: to(STATUS)),
    ("StreamEvent", lambda to: to(STREAM_EVENT)),
    ("Decision", lambda to: to(DECISION)),
    ("Message", lambda to: to(NOTIFICATION)),
    ("Message.sms", lambda to: to(PLAIN_NOTIFICATION)),
]


@pytest.mark.parametrize(("name", "encode"), OUTPUTS, ids=[name for name, _ in OUTPUTS])
def test_avro_is_as_the_golden_file(name: str, encode: Encode) -> None:
    """Byte for byte as derived by hand from Avro's specification: frame, branches, milliseconds; no header."""
    assert (golden_bytes(name), ()) == encode(AVRO)


@pytest.mark.parametrize(("name", "encode"), OUTPUTS, ids=[name for name, _ in OUTPUTS])
def test_json_is_as_the_golden_file(name: str, encode: Encode) -> None:
    """As the domain's examples: null absent, times with `Z` and three digits, in the schema's order; one header."""
    value, headers = encode(JSON)

    assert json.dumps(golden_json(name), separators=(",", ":"), ensure_ascii=False).encode() == value
    assert (("content-type", b"application/json"),) == headers


def test_every_golden_file_is_compared() -> None:
    """None lies there unread."""
    names = {path.name.partition(".avro")[0].removesuffix(".json") for path in GOLDEN.iterdir()}

    assert {name for name, _ in OUTPUTS} == {name for name in names if not name.startswith("event.")}


@pytest.mark.parametrize(("name", "encode"), OUTPUTS, ids=[name for name, _ in OUTPUTS])
def test_another_library_reads_our_avro(name: str, encode: Encode) -> None:
    """fastavro, with the schema of the frame's id, reads the values of the JSON golden file."""
    value, _ = encode(AVRO)
    schema = next(output for output in SCHEMAS.outputs.values() if output.frame == value[:5])
    read = schemaless_reader(BytesIO(value[5:]), schema.parsed, None)

    assert golden_json(name) == plain(read)


def plain(value: Any) -> Any:
    """Fields of fastavro as our JSON has them."""
    match value:
        case dict():
            return {name: plain(inner) for name, inner in value.items() if inner is not None}
        case list():
            return [plain(item) for item in value]
        case datetime():
            return format_timestamp(value)[:-1].ljust(23, "0") + "Z"
        case int() | str():
            return value
        case _:
            return str(value)


def test_streams_have_a_format_of_their_own() -> None:
    """By default JSON for streams and Avro for the others; each can be the other."""
    default, turned = (
        OutputEncoder(SCHEMAS),
        OutputEncoder(SCHEMAS, output_format=WireFormat.JSON, stream_format=WireFormat.AVRO),
    )

    assert (AVRO(EMAIL), AVRO(STATUS)) == (default(EMAIL), default(STATUS))
    assert (AVRO(DECISION), JSON(STREAM_EVENT)) == (
        default(DECISION),
        default(STREAM_EVENT),
    )
    assert (JSON(EMAIL), AVRO(STREAM_EVENT)) == (
        turned(EMAIL),
        turned(STREAM_EVENT),
    )


# ---------------------------------------------------------------------------------------------------------------------
# There and back


@pytest.mark.parametrize("to", [AVRO, JSON], ids=["avro", "json"])
@settings(deadline=None)
@given(notification=NOTIFICATIONS)
def test_a_notification_is_read_back(to: OutputEncoder, notification: Notification) -> None:
    """The deepest of the outputs, any values, both formats."""
    assert notification == read_notification(*to(notification), schemas=SCHEMAS)


@pytest.mark.parametrize("to", [AVRO, JSON], ids=["avro", "json"])
@settings(deadline=None)
@given(message=MESSAGES, status=STATUSES, stream_event=STREAM_EVENTS, decision=DECISIONS)
def test_what_is_encoded_is_read_back(
    to: OutputEncoder,
    message: Communicationmessage,
    status: MessageStatus,
    stream_event: StreamEvent,
    decision: Decision,
) -> None:
    """Each output, any values, both formats: equal to what went in, enums included."""
    assert message == read_message(*to(message), schemas=SCHEMAS)
    assert status == read_status(*to(status), schemas=SCHEMAS)
    assert stream_event == read_stream_event(*to(stream_event), schemas=SCHEMAS)
    assert decision == read_decision(*to(decision), schemas=SCHEMAS)


def test_outputs_are_read_by_registry_ids() -> None:
    """The same value under an id of a registry, whose schema is requested."""
    ours = SCHEMAS.outputs["communications.Communicationmessage"]
    registered: dict[SchemaId | SchemaGuid, WriterSchema] = {SchemaId(12): parse_writer_schema(ours.text)}
    value = b"\x00\x00\x00\x00\x0c" + AVRO(EMAIL)[0][5:]

    assert EMAIL == read_message(value, (), schemas=SCHEMAS, schema_of=registered.__getitem__)


def test_a_decision_of_the_version_before_is_read() -> None:
    """It says nothing of reasons that were left out: none. By its frame's id, and in JSON."""
    avro, _ = AVRO(DECISION)
    json_value, headers = JSON(DECISION)
    before = (2_000_000_004).to_bytes(4, "big")

    assert DECISION == read_decision(b"\x00" + before + avro[5:-1], (), schemas=SCHEMAS)
    assert DECISION == read_decision(json_value.replace(b',"reasonsLeftOut":0', b""), headers, schemas=SCHEMAS)


def test_a_record_of_another_namespace_is_no_output() -> None:
    """The full name counts, not only its end."""
    other = parse_writer_schema(
        SCHEMAS.outputs["communications.Decision"].text.replace('"communications"', '"elsewhere"')
    )

    with pytest.raises(ValueError, match=r"written as elsewhere\.Decision"):
        read_decision(*AVRO(DECISION), schemas=SCHEMAS, schema_of=lambda _: other)


def test_a_failure_of_a_newer_version_is_other() -> None:
    """The enum's default: a reader of today reads the records of tomorrow."""
    ours = SCHEMAS.outputs["communications.Communicationmessage"]
    newer = parse_writer_schema(ours.text.replace('"MESSAGING_EXCEPTION"', '"NEWER_REASON","MESSAGING_EXCEPTION"'))
    value, _ = AVRO(replace(EMAIL, failureReason=FailureReason.MESSAGING_EXCEPTION))
    read = read_message(value, (), schemas=SCHEMAS, schema_of=lambda _: newer)

    assert FailureReason.OTHER == read.failureReason


@pytest.mark.parametrize(
    "value",
    [b"", b"\x00\x77\x35\x94", b"{}", b"\x00\x00\x00\x00\x07x", AVRO(STATUS)[0], AVRO(EMAIL)[0][:-1]],
)
def test_values_that_are_no_message_are_refused(value: bytes) -> None:
    """ValueError, with a word on why."""
    with pytest.raises(ValueError, match=r"not a communications\.Communicationmessage: "):
        read_message(value, (), schemas=SCHEMAS)


def test_a_json_value_without_a_required_field_is_refused() -> None:
    """ValueError names the field."""
    with pytest.raises(ValueError, match="sequence: is missing"):
        read_status(JSON(STATUS)[0].replace(b'"sequence":1,', b""), JSON_HEADERS, schemas=SCHEMAS)


# ---------------------------------------------------------------------------------------------------------------------
# Text of values


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (1_773_480_413_702, "2026-03-14T09:26:53.702Z"),
        (-62_135_596_800_000, "0001-01-01T00:00:00.000Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_times_have_three_digits(value: int, text: str) -> None:
    """Also before 1970. Outside of the years 1 to 9999 an output has no time."""
    assert text == format_millis(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("218.2400000000", "218.24"),
        ("100.0000000000", "100"),
        ("0E-10", "0"),
        ("1E-10", "0.0000000001"),
        ("-9999999999999999999999999999.9999999999", "-9999999999999999999999999999.9999999999"),
    ],
)
def test_decimals_have_no_exponent(value: str, text: str) -> None:
    """All digits, none after the last that counts."""
    assert text == format_decimal(Decimal(value))


@pytest.mark.parametrize(
    ("micros", "text"),
    [(0, "2026-03-14T09:26:53Z"), (589_793, "2026-03-14T09:26:53.589793Z"), (500_000, "2026-03-14T09:26:53.5Z")],
)
def test_times_of_an_event_keep_their_microseconds(micros: int, text: str) -> None:
    """As many digits as there are."""
    assert text == format_timestamp(datetime(2026, 3, 14, 9, 26, 53, micros, tzinfo=UTC))


@pytest.mark.parametrize("form", WireFormat)
def test_an_event_is_written_in_both_formats(form: WireFormat) -> None:
    """JSON says so in its header; Avro in the frame's id."""
    value, headers = encode_event(golden_event().fields, SCHEMAS, format=form)

    assert {WireFormat.AVRO: (), WireFormat.JSON: JSON_HEADERS}[form] == headers
    assert value.startswith({WireFormat.AVRO: bytes.fromhex("0077359468"), WireFormat.JSON: b'{"eventId":"7f1d'}[form])


def test_an_event_in_json_is_as_the_domain_writes_it() -> None:
    """The domain's example comes out as it went in, with times and amounts in their shortest form."""
    value, _ = encode_event(golden_event().fields, SCHEMAS, format=WireFormat.JSON)

    assert golden_json("event.LOAN_REPAYMENT") == json.loads(value)
