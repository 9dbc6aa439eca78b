"""What an output says of the record that it was made of: each kind, both formats, older and newer versions."""

import json
from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

import pytest

from processor.domain.message import Decision, FailedTemplate, MessageStatus, SkippedTemplate, State
from processor.domain.outcome import DeadLetterOutcome, DecisionOutcome, SkippedReason, SourceOutcome, StatusOutcome
from processor.domain.output_topics import DECISION, STATUS
from processor.domain.reasons import DecisionReason, Reason, TemplateReason
from processor.domain.record import EncodedKey, Headers, RecordPosition, SchemaGuid, SchemaId, TemplateId, Topic
from processor.wire import scanned_fields
from processor.wire.dead_letter import dead_letter_outcome, dead_letter_record
from processor.wire.encode import OutputEncoder
from processor.wire.output_fields import source_outcome_reader
from processor.wire.reader_schemas import Schemas
from processor.wire.schema import Record, WriterSchema
from processor.wire.schema_parser import parse_schema, parse_writer_schema
from processor.wire.wire_format import WireFormat
from tests.support.builders import make_message_status
from tests.support.executors import SCANS
from tests.support.wire import JSON_HEADERS, SCHEMAS
from tests.wire.test_encode_dead_letters import TOPIC, failure, make_letter

SOURCE: Final = RecordPosition(Topic("banking.events"), 4, 129)
TIME_MS: Final = 1_773_480_413_702
SET: Final = "0123456789abcdef0123456789abcdef"
OPERATION: Final = "replay-20261129T075501Z-3f2a91c0"
OF_OPERATION: Final[Headers] = (("operation", OPERATION.encode()),)
FRAME_BYTES: Final = 5
VALUES_BEFORE_SCAN: Final = 1
FORMATS = pytest.mark.parametrize(
    "encode",
    [OutputEncoder(SCHEMAS, output_format=form, stream_format=form) for form in (WireFormat.AVRO, WireFormat.JSON)],
    ids=["avro", "json"],
)


def make_status(**changed: Any) -> MessageStatus:
    """The status of a message that was created of SOURCE."""
    made_of = {"at": TIME_MS, "source": SOURCE, "setVersion": SET, "correlationId": "branch-17"}
    return make_message_status(**{**made_of, **changed})


def make_decision(*reasons: SkippedTemplate, **changed: Any) -> Decision:
    """A decision with these reasons."""
    decision = Decision(
        eventId="7f1d2c52",
        event="LOAN_REPAYMENT",
        tenant="northbank",
        source=SOURCE,
        setVersion=SET,
        correlationId=None,
        at=TIME_MS,
        reasons=reasons,
    )
    return replace(decision, **changed)


def skipped(reason: DecisionReason, detail: str = "so", template: str | None = "deposit-sms") -> SkippedTemplate:
    """Why a template, or without one the record, made no message."""
    return SkippedTemplate(
        reason=reason,
        detail=detail,
        templateId=None if template is None else TemplateId(template),
        templateVersion=2 if template else None,
    )


def read(name: str, value: bytes, headers: Headers = (), **known: Any) -> SourceOutcome:
    """What an output says. Where many are scanned, each says the same, or raises it."""
    expected: SourceOutcome | ValueError
    read_output = source_outcome_reader(name, **{"schemas": SCHEMAS, **known})
    try:
        expected = read_output(value, headers)
    except ValueError as error:
        expected = error
    for make_scan in SCANS.values():
        read_many = source_outcome_reader(name, **{"schemas": SCHEMAS, **known}, make_scan=make_scan)
        for _ in range(VALUES_BEFORE_SCAN + 2):
            try:
                assert expected == read_many(value, headers)
            except ValueError as error:
                assert str(expected) == str(error)
    if isinstance(expected, ValueError):
        raise expected
    return expected


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a scan is made at once."""
    monkeypatch.setattr(scanned_fields, "VALUES_BEFORE_SCAN", VALUES_BEFORE_SCAN)


def read_decision(value: bytes, headers: Headers = (), **known: Any) -> DecisionOutcome:
    """What a decision says."""
    outcome = read(DECISION, value, headers, **known)
    assert isinstance(outcome, DecisionOutcome)
    return outcome


def with_left_out() -> Schemas:
    """Schemas whose decisions have the field `reasonsLeftOut`."""
    ours = SCHEMAS.outputs[DECISION]
    schema = json.loads(ours.text)
    if all(field["name"] != "reasonsLeftOut" for field in schema["fields"]):
        schema["fields"].append({"name": "reasonsLeftOut", "type": "int", "default": 0})
    text = json.dumps(schema)
    parsed, type_ = parse_schema(text)
    assert isinstance(type_, Record)
    newer = replace(ours, text=text, type=type_, parsed=parsed)
    return replace(
        SCHEMAS,
        outputs=MappingProxyType({**SCHEMAS.outputs, DECISION: newer}),
        local=MappingProxyType({**SCHEMAS.local, newer.id: parse_writer_schema(text)}),
    )


def writers(*, ours: str, changed: Callable[[str], str]) -> Callable[[SchemaId | SchemaGuid], WriterSchema]:
    """A newer version of a schema, under any id."""
    newer = parse_writer_schema(changed(SCHEMAS.outputs[ours].text))
    assert newer.error == ""
    return lambda _: newer


@FORMATS
def test_a_status(encode: OutputEncoder) -> None:
    """Its source, event, set, template and state; a creation of `run`."""
    assert StatusOutcome(
        SOURCE,
        TIME_MS,
        "7f1d2c52",
        "LOAN_REPAYMENT",
        SET,
        None,
        EncodedKey("f7" * 16),
        TemplateId("loan-repayment-email"),
        State.QUEUED,
        later=False,
    ) == read(STATUS, *encode(make_status()))


@FORMATS
def test_a_status_after_the_creation(encode: OutputEncoder) -> None:
    """From sequence 2 on it is a later one."""
    later = read(STATUS, *encode(make_status(sequence=2, from_=State.QUEUED, to=State.WAITING)))

    assert isinstance(later, StatusOutcome)
    assert (True, State.WAITING) == (later.later, later.state)


@FORMATS
def test_the_operation_that_wrote_an_output(encode: OutputEncoder) -> None:
    """The header `operation`, beside the others."""
    for name, output in ((STATUS, make_status()), (DECISION, make_decision(skipped(DecisionReason.INACTIVE)))):
        value, headers = encode(output)

        assert OPERATION == read(name, value, (("traceparent", b"00-ab"), *headers, *OF_OPERATION)).operation
        assert read(name, value, headers).operation is None


def test_a_state_of_a_newer_version_is_none() -> None:
    """All else is read; in JSON, and in Avro with a newer schema, which has a field more as well."""
    encoded = {form: OutputEncoder(SCHEMAS, output_format=form, stream_format=form) for form in WireFormat}
    value, headers = encoded[WireFormat.JSON](make_status())
    known = replace(read_status(value, headers), state=None)
    newer = writers(
        ours=STATUS,
        changed=lambda text: text.replace('"QUEUED",', '"DELIVERED",', 1).replace(
            '{"name":"correlationId"', '{"name":"extra","type":"string"},{"name":"correlationId"'
        ),
    )
    avro, _ = encoded[WireFormat.AVRO](make_status())
    correlation = b"\x02\x12branch-17"
    assert avro.endswith(correlation)
    with_extra = avro.removesuffix(correlation) + b"\x02x" + correlation

    assert known == read_status(value.replace(b'"to":"QUEUED"', b'"to":"DELIVERED","extra":1'), headers)
    assert known == read_status(with_extra, (), schema_of=newer)


def read_status(value: bytes, headers: Headers, **known: Any) -> StatusOutcome:
    """What a status says."""
    outcome = read(STATUS, value, headers, **known)
    assert isinstance(outcome, StatusOutcome)
    return outcome


@FORMATS
def test_a_decision(encode: OutputEncoder) -> None:
    """Its reasons, by template and for the whole record, in order."""
    decision = make_decision(
        skipped(DecisionReason.CONDITION_FALSE, "none holds"), skipped(DecisionReason.NO_TEMPLATE, "none", None)
    )

    assert DecisionOutcome(
        SOURCE,
        TIME_MS,
        "7f1d2c52",
        "LOAN_REPAYMENT",
        SET,
        None,
        (
            SkippedReason(DecisionReason.CONDITION_FALSE, "none holds", TemplateId("deposit-sms")),
            SkippedReason(DecisionReason.NO_TEMPLATE, "none"),
        ),
        reasons_left_out=0,
    ) == read(DECISION, *encode(decision))


def test_a_decision_of_a_record_without_an_event() -> None:
    """A tombstone has neither id nor name, in either format."""
    decision = make_decision(skipped(DecisionReason.EMPTY_RECORD, template=None), eventId=None, event=None, tenant=None)
    for form in WireFormat:
        outcome = read_decision(*OutputEncoder(SCHEMAS, output_format=form, stream_format=form)(decision))

        assert (None, None, None) == (outcome.event_id, outcome.event, outcome.seen_event_id)


@FORMATS
def test_a_reason_of_a_newer_version_is_none(encode: OutputEncoder) -> None:
    """Its word goes in front of the detail."""
    value, headers = encode(make_decision(skipped(DecisionReason.NOT_SUBSCRIBED, "opted out")))
    newer = value.replace(b"NOT_SUBSCRIBED", b"SENT_YESTERDAY")

    assert (SkippedReason(None, "SENT_YESTERDAY: opted out", TemplateId("deposit-sms")),) == read_decision(
        newer, headers
    ).reasons


@FORMATS
def test_reasons_that_an_earlier_version_left_out(encode: OutputEncoder) -> None:
    """There the last reason's detail says how many; one of today that says so among others is none of these."""
    last = skipped(DecisionReason.INACTIVE, "and 25 more templates", "z")

    assert 25 == read_decision(*encode(make_decision(skipped(DecisionReason.INACTIVE), last))).reasons_left_out
    assert 0 == read_decision(*encode(make_decision(last, skipped(DecisionReason.INACTIVE)))).reasons_left_out
    assert 0 == read_decision(*encode(make_decision())).reasons_left_out


def test_reasons_left_out() -> None:
    """The field says how many, in both formats; records of before the field have none of it."""
    schemas = with_left_out()
    old = json.loads(encode_json(make_decision(skipped(DecisionReason.INACTIVE))))
    avro, _ = OutputEncoder(SCHEMAS, output_format=WireFormat.AVRO, stream_format=WireFormat.AVRO)(
        make_decision(skipped(DecisionReason.INACTIVE))
    )
    writer = parse_writer_schema(SCHEMAS.outputs[DECISION].text)
    newer_avro = avro if b"reasonsLeftOut" in writer.text.encode() else avro + b"\x00"
    assert newer_avro[-1:] == b"\x00"

    assert (
        7
        == read_decision(
            json.dumps({**old, "reasonsLeftOut": 7}).encode(), JSON_HEADERS, schemas=schemas
        ).reasons_left_out
    )
    assert 7 == read_decision(newer_avro[:-1] + b"\x0e", schemas=schemas).reasons_left_out
    assert 0 == read_decision(json.dumps(old).encode(), JSON_HEADERS, schemas=schemas).reasons_left_out
    assert 0 == read_decision(avro, schemas=schemas, schema_of=lambda _: writer).reasons_left_out


def encode_json(decision: Decision) -> bytes:
    """In JSON."""
    value, _ = OutputEncoder(SCHEMAS, output_format=WireFormat.JSON, stream_format=WireFormat.JSON)(decision)
    return value


def test_which_decisions_count_for_deduplication() -> None:
    """All of an event of ours, whatever was decided; another tenant's is none."""
    counting = {
        reason: read_decision(encode_json(make_decision(skipped(reason))), JSON_HEADERS).seen_event_id is not None
        for reason in DecisionReason
    }

    assert [DecisionReason.TENANT_DISABLED] == [reason for reason, counts in counting.items() if not counts]


@pytest.mark.parametrize("name", [STATUS, DECISION])
@FORMATS
def test_bytes_that_are_no_output(encode: OutputEncoder, name: str) -> None:
    """Cut short, with bytes left over, or of the other kind: ValueError, not a guess."""
    mine, other = make_status(), make_decision(skipped(DecisionReason.INACTIVE))
    if name == DECISION:
        value, headers = encode(other)
        foreign, _ = encode(mine)
        foreign = foreign.replace(b'"source"', b'"place"')
    else:
        value, headers = encode(mine)
        foreign, _ = encode(other)
    for broken in (value[:-1], value + b"\x00", foreign, b""):
        with pytest.raises(ValueError, match=f"not a {name}"):
            read(name, broken, headers)


def test_a_dead_letter_of_failed_templates() -> None:
    """Why each failed, and that the list is complete and the bytes are there."""
    letter = make_letter(
        reason=Reason.TEMPLATE_FAILED,
        failed=(failure(1),),
        attempts=3,
        event_id="e",
        event="LOAN_REPAYMENT",
        set_version=SET,
    )
    outcome = dead_letter_outcome((*dead_letter_record(letter, topic=TOPIC).headers, *OF_OPERATION))

    assert outcome == DeadLetterOutcome(
        SOURCE,
        TIME_MS,
        "e",
        "LOAN_REPAYMENT",
        SET,
        OPERATION,
        reason=Reason.TEMPLATE_FAILED,
        detail=letter.detail,
        failed=(failure(1),),
        is_complete=True,
        attempts=3,
        has_value=True,
    )
    assert "e" == outcome.seen_event_id


def test_a_dead_letter_that_was_shortened() -> None:
    """Neither its list nor its value is whole, and it says so."""
    letter = make_letter(failed=tuple(failure(number, "x" * 900) for number in range(60)))
    outcome = dead_letter_outcome(dead_letter_record(letter, topic=TOPIC, drop_value=True).headers)

    assert (False, False) == (outcome.is_complete, outcome.has_value)
    assert 0 < len(outcome.failed) < 60


def test_headers_of_the_source_say_nothing_of_a_dead_letter() -> None:
    """A producer's own `operation`, and those of a dead letter that was copied to the input."""
    first = dead_letter_record(
        make_letter(failed=tuple(failure(number, "x" * 900) for number in range(60))), topic=TOPIC, drop_value=True
    )
    letter = make_letter(headers=(*first.headers, *OF_OPERATION))
    outcome = dead_letter_outcome(dead_letter_record(letter, topic=TOPIC).headers)

    assert (None, True, True, 2) == (outcome.operation, outcome.is_complete, outcome.has_value, outcome.attempts)


def test_a_dead_letter_of_a_newer_version() -> None:
    """A reason that is not known is OTHER, and no event counts for it."""
    letter = make_letter(event_id="e", failed=(failure(1),))
    headers = tuple(
        (name, (value or b"").replace(b"INVALID_EVENT", b"TOO_LATE").replace(b"MISSING_VALUE", b"TOO_LONG"))
        for name, value in dead_letter_record(letter, topic=TOPIC).headers
    )
    outcome = dead_letter_outcome(headers)

    assert (Reason.OTHER, "e", None) == (outcome.reason, outcome.event_id, outcome.seen_event_id)
    assert [FailedTemplate] == [type(failed) for failed in outcome.failed]
    assert [TemplateReason.OTHER] == [failed.reason for failed in outcome.failed]
