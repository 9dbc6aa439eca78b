"""Records become events, or decode errors with the right reason and the field that is wrong."""

import json
import time
import tracemalloc
from datetime import UTC, date, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest
from fastavro import schemaless_reader, schemaless_writer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.domain.catalogue import FAMILIES
from processor.domain.event import Event, identity_of
from processor.domain.reasons import Reason
from processor.domain.record import SchemaGuid, SchemaId, SourceRecord
from processor.errors import UnavailableError
from processor.wire.avro_reader import read_avro
from processor.wire.decode import DecodeFailure, decode, event_from_json
from processor.wire.encode import encode_event
from processor.wire.errors import ContentError
from processor.wire.reader_schemas import ReaderSchema
from processor.wire.schema import WriterSchema
from processor.wire.schema_parser import parse_schema, parse_writer_schema
from processor.wire.wire_format import WireFormat
from tests.support.laws import examples
from tests.support.wire import (
    JSON_HEADERS,
    SCHEMAS,
    decode_failure,
    decode_with,
    events_of,
    golden_avro,
    golden_event,
    golden_json,
    json_record,
    raw_record,
    reader_schema,
    varint,
)

FAMILY_SCHEMAS = [SCHEMAS.families[family.record] for family in FAMILIES.values()]
EVENT_ID_AT = 5  # the frame, then eventId: a length of 36 in one byte
EVENT_AT = EVENT_ID_AT + 1 + 36


def family_name(schema: ReaderSchema) -> str:
    return schema.name


# ---------------------------------------------------------------------------------------------------------------------
# Good records


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("LOAN_REPAYMENT", "8a8e867d5b1a4c0e015b1a60aa110001"),
        ("SAVINGS_DEPOSIT", "8a8e867d5b1a4c0e015b1a60bb220001"),
    ],
)
def test_an_event_is_the_same_from_avro_and_from_json(name: str, key: str) -> None:
    """The domain's examples give one event, whichever form they come in."""
    from_json = decode_with(json_record(golden_json(f"event.{name}")))
    from_avro = decode_with(raw_record(golden_avro(name)))

    assert isinstance(from_json, Event)
    assert from_json == from_avro
    assert (name, key) == (from_json.name, from_json.ordering_key)


def test_an_event_has_typed_values() -> None:
    """Amounts are exact decimals of ten digits, times aware UTC, days dates; what is absent is None or empty."""
    event = golden_event()

    assert identity_of("northbank", "7f1d2c52-6a0e-4d0f-9b57-2f4f0c6a9e11") == event.identity
    assert ("loan_transaction", "branch-17-000412") == (event.family, event.correlation_id)
    assert datetime(2026, 3, 14, 9, 26, 53, 589793, tzinfo=UTC) == event.occurred_at
    assert "218.2400000000" == str(event.fields["transaction"]["amount"])
    assert date(2026, 4, 14) == event.fields["schedule"][0]["dueDate"]
    assert None is event.fields["group"]
    assert Decimal("0.83") == event.fields["customFields"]["LOAN:Risk Score"]
    assert True is event.fields["customFields"]["LOAN:Insured"]


@pytest.mark.parametrize("schema", FAMILY_SCHEMAS, ids=family_name)
@settings(deadline=None, max_examples=examples(12), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_is_encoded_is_decoded(schema: ReaderSchema, data: st.DataObject) -> None:
    """Any event of any family comes back from Avro and from JSON with the same fields; fastavro agrees."""
    fields = data.draw(events_of(schema))
    avro, _ = encode_event(fields, SCHEMAS, format=WireFormat.AVRO)
    plain, headers = encode_event(fields, SCHEMAS, format=WireFormat.JSON)

    from_avro, from_json = decode_with(raw_record(avro)), decode_with(raw_record(plain, headers))

    assert isinstance(from_avro, Event), from_avro
    assert fields == from_avro.fields
    assert from_avro == from_json
    assert text_of(schemaless_reader(BytesIO(avro[5:]), schema.parsed, None)) == text_of(from_avro.fields)


def text_of(fields: Any) -> str:
    """Fields as text; fastavro gives uuids as UUID, whose text is that of the event."""
    return json.dumps(fields, default=str, sort_keys=True)


@pytest.mark.parametrize(
    "content_type", [b"application/json", b"Application/JSON ; charset=utf-8", b" application/json "]
)
@pytest.mark.parametrize("name", ["content-type", "Content-Type"])
def test_json_is_recognised_by_its_content_type(name: str, content_type: bytes) -> None:
    """Case and parameters do not matter, neither does the case of the header's name."""
    value = json.dumps(golden_json("event.LOAN_REPAYMENT")).encode()

    assert golden_event() == decode_with(raw_record(value, ((name, content_type),)))


def test_the_last_content_type_counts() -> None:
    """As Kafka's own clients take the last of several headers of one name."""
    value = golden_avro()

    assert golden_event() == decode_with(raw_record(value, (*JSON_HEADERS, ("content-type", b"application/avro"))))


def test_a_schema_is_found_by_the_guid_of_a_header() -> None:
    """The value is then bare: no magic byte, no id; and it may begin with any byte."""
    guid = bytes(range(16))
    record = raw_record(golden_avro()[5:], (("__value_schema_id", b"\x01" + guid),))
    requested: list[SchemaId | SchemaGuid] = []

    def schema_of(schema_id: SchemaId | SchemaGuid) -> WriterSchema:
        requested.append(schema_id)
        return SCHEMAS.local_schema(reader_schema().id)

    assert golden_event() == decode(record, schemas=SCHEMAS, schema_of=schema_of)
    assert [guid] == requested


def test_blocks_of_an_array_may_have_a_size() -> None:
    """Avro lets a writer put the size in bytes behind a negative count, and cut an array into several blocks."""
    value = golden_avro(schedule=[], customFields={})
    line = b"\x40" + b"0" * 32 + varint(7) + varint(20_000) + b"\x00" * 8
    blocks = varint(-1) + varint(len(line)) + line + varint(1) + line + b"\x00"

    event = decode_with(raw_record(value[:-2] + blocks + value[-1:]))

    assert isinstance(event, Event)
    assert [7, 7] == [instalment["number"] for instalment in event.fields["schedule"]]


@pytest.mark.parametrize("unscaled", [b"\x00\x00\x64", b"\x64", b"\x00" * 900 + b"\x64"])
def test_a_decimal_may_have_more_bytes_than_it_needs(unscaled: bytes) -> None:
    """Leading sign bytes do not change a number."""
    _, type_ = parse_schema('{"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 10}')

    assert Decimal("1e-8") == read_avro(varint(len(unscaled)) + unscaled, 0, type_, type_)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_decimal_has_up_to_38_digits(sign: int) -> None:
    """The largest of either sign is read, the one beyond is refused."""
    _, type_ = parse_schema('{"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 10}')

    def read(unscaled: int) -> object:
        return read_avro(varint(16) + unscaled.to_bytes(16, "big", signed=True), 0, type_, type_)

    assert Decimal(f"{sign * (10**38 - 1)}e-10") == read(sign * (10**38 - 1))
    with pytest.raises(ContentError, match="more than 38 digits"):
        read(sign * 10**38)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-03-14T09:26:53Z", datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)),
        ("2026-03-14t12:26:53.1234569+03:00", datetime(2026, 3, 14, 9, 26, 53, 123456, tzinfo=UTC)),
        ("1969-12-31T23:59:59.9999999-00:00", datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        ("2026-03-14T00:26:53-23:59", datetime(2026, 3, 15, 0, 25, 53, tzinfo=UTC)),
    ],
)
def test_times_are_rfc_3339_with_any_offset(written: str, read: datetime) -> None:
    """Turned to UTC; digits past microseconds are cut, not rounded."""
    assert read == golden_event(occurredAt=written).occurred_at


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('"218.24"', "218.2400000000"),
        ("218.24", "218.2400000000"),
        ("0.1", "0.1000000000"),
        ("-0", "0E-10"),
        ("0e9999", "0E-10"),
        ("1E+2", "100.0000000000"),
        ("1.5e-9", "1.5E-9"),
        ("12345678901234567890123456.0123456789", "12345678901234567890123456.0123456789"),
        ("-9999999999999999999999999999.9999999999", "-9999999999999999999999999999.9999999999"),
    ],
)
def test_decimals_are_read_exactly(written: str, read: str) -> None:
    """Text or number, with or without an exponent: the digits that were written, none of them through a float."""
    text = json.dumps(golden_json("event.SAVINGS_DEPOSIT")).replace('"amount": "100"', f'"amount": {written}')
    event = decode_with(json_record(text))

    assert isinstance(event, Event), event
    assert Decimal(read) == event.fields["transaction"]["amount"]
    assert -10 == event.fields["transaction"]["amount"].as_tuple().exponent


def test_custom_fields_are_text_boolean_or_tagged() -> None:
    """Each kind of a custom field's value keeps its type; null is a value too."""
    custom_fields = {
        "CLIENT:A": "x", "CLIENT:B": False, "CLIENT:C": {"decimal": 12.5}, "CLIENT:D": {"date": "2026-03-01"},
        "CLIENT:E": {"timestamp": "2026-03-01T08:00:00+01:00"}, "CLIENT:F": None,
    }  # fmt: skip
    read = golden_event(customFields=custom_fields).fields["customFields"]

    assert {
        "CLIENT:A": "x", "CLIENT:B": False, "CLIENT:C": Decimal("12.5"), "CLIENT:D": date(2026, 3, 1),
        "CLIENT:E": datetime(2026, 3, 1, 7, tzinfo=UTC), "CLIENT:F": None,
    } == read  # fmt: skip


def test_unknown_json_fields_are_ignored_and_null_is_absent() -> None:
    """A producer may send more than we know, and write null for what it does not have, lists included."""
    assert golden_event(schedule=None) == decode_with(
        json_record(golden_json("event.LOAN_REPAYMENT") | {"new": {"deep": [1, None]}, "schedule": None, "group": None})
    )


def test_an_event_id_is_lower_case() -> None:
    """So that the same uuid in other case is the same event, from either form."""
    upper = "7F1D2C52-6A0E-4D0F-9B57-2F4F0C6A9E11"
    value = golden_avro().replace(upper.lower().encode(), upper.encode())

    assert golden_event() == golden_event(eventId=upper)
    assert golden_event() == decode_with(raw_record(value))


# ---------------------------------------------------------------------------------------------------------------------
# Each reason


def too_large() -> SourceRecord:
    return raw_record(b"{" + b" " * 1_048_576)


def no_holder() -> SourceRecord:
    fields = golden_json("event.LOAN_REPAYMENT")
    del fields["client"]
    return json_record(fields)


REASONS: list[tuple[Reason, str, SourceRecord]] = [
    (Reason.EVENT_TOO_LARGE, "1048577 bytes, at most 1048576 are read", too_large()),
    (Reason.BAD_FRAME, "begins with {", raw_record(json.dumps(golden_json("event.LOAN_REPAYMENT")).encode())),
    (Reason.BAD_FRAME, "content-type: application/json", raw_record(b"{")),
    (Reason.BAD_FRAME, "magic byte 0x01", raw_record(b"\x01" + golden_avro()[1:])),
    (Reason.BAD_FRAME, "4 bytes", raw_record(b"\x00\x77\x35\x94")),
    (Reason.BAD_FRAME, "0 bytes", raw_record(None)),
    (Reason.BAD_FRAME, "__value_schema_id", raw_record(golden_avro(), (("__value_schema_id", b"\x01short"),))),
    (Reason.BAD_FRAME, "__value_schema_id", raw_record(golden_avro(), (("__value_schema_id", b"\x00" * 17),))),
    (Reason.BAD_FRAME, "null", raw_record(golden_avro(), (("__value_schema_id", None),))),
    (Reason.UNKNOWN_SCHEMA, "no schema has id 7", raw_record(b"\x00\x00\x00\x00\x07" + golden_avro()[5:])),
    (Reason.UNKNOWN_SCHEMA, "GUID 0101", raw_record(b"\x02", (("__value_schema_id", b"\x01" * 17),))),
    (
        Reason.INCOMPATIBLE_SCHEMA,
        "'communications.Decision' is not a family",
        raw_record(SCHEMAS.outputs["communications.Decision"].frame + golden_avro()[5:]),
    ),
    (Reason.UNKNOWN_EVENT, "event: 'LOAN_REPAID'", json_record({"event": "LOAN_REPAID"})),
    (Reason.UNKNOWN_EVENT, "event: 'MANUAL'", json_record(golden_json("event.LOAN_REPAYMENT") | {"event": "MANUAL"})),
    (Reason.UNKNOWN_EVENT, "event: 'DO_NOTHING'", json_record({"event": "DO_NOTHING"})),
    (Reason.INVALID_EVENT, "client, group: exactly one is the holder, none is set", no_holder()),
    (
        Reason.INVALID_EVENT,
        "client, group: exactly one is the holder, both are set",
        json_record(golden_json("event.LOAN_REPAYMENT") | {"group": golden_json("event.SAVINGS_DEPOSIT")["group"]}),
    ),
    (Reason.INVALID_EVENT, "1 bytes left over", raw_record(golden_avro() + b"\x00")),
    (Reason.INVALID_EVENT, "customFields[", raw_record(golden_avro()[:-2])),
    (Reason.INVALID_EVENT, "eventId: cut short", raw_record(golden_avro()[:5])),
]


@pytest.mark.parametrize(("reason", "detail", "record"), REASONS, ids=[f"{r}-{d[:20]}" for r, d, _ in REASONS])
def test_each_decode_error_has_its_reason(reason: Reason, detail: str, record: SourceRecord) -> None:
    """The borders between the reasons, and a detail that says what is wrong and where."""
    failure = decode_failure(record)

    assert reason == failure.reason
    assert detail in failure.detail


def test_every_reason_of_decode_is_reached() -> None:
    """The others are given by who knows the key, the templates or the broker."""
    elsewhere = {
        Reason.MISSING_KEY,
        Reason.WRONG_KEY,
        Reason.TEMPLATE_FAILED,
        Reason.MAPPING_ERROR,
        Reason.OUTPUT_REFUSED,
        Reason.OTHER,
    }

    assert set(Reason) - elsewhere == {reason for reason, _, _ in REASONS}


def test_an_unavailable_registry_is_no_decode_error() -> None:
    """UnavailableError passes through: the record waits."""

    def schema_of(_: SchemaId | SchemaGuid) -> WriterSchema:
        raise UnavailableError("registry is down")

    with pytest.raises(UnavailableError):
        decode(raw_record(golden_avro()), schemas=SCHEMAS, schema_of=schema_of)


def test_the_size_is_checked_before_anything_is_parsed() -> None:
    """Not even the frame of an event that is too large is parsed, and the limit itself is allowed."""
    value = golden_avro()

    def decode_within(limit: int) -> Event | DecodeFailure:
        return decode(raw_record(value), schemas=SCHEMAS, schema_of=SCHEMAS.local_schema, max_event_bytes=limit)

    assert golden_event() == decode_within(len(value))
    assert Reason.EVENT_TOO_LARGE == failure_of(decode_within(len(value) - 1)).reason


def failure_of(result: Event | DecodeFailure) -> DecodeFailure:
    assert isinstance(result, DecodeFailure)
    return result


# ---------------------------------------------------------------------------------------------------------------------
# Bad fields


def with_change(path: str, value: object) -> SourceRecord:
    """The LOAN_REPAYMENT example with the value at a dotted path replaced; `...` takes it away."""
    fields = golden_json("event.LOAN_REPAYMENT")
    *steps, last = path.split(".")
    place: Any = fields
    for step in steps:
        place = place[int(step)] if step.isdigit() else place[step]
    if value is ...:
        del place[last]
    else:
        place[int(last) if last.isdigit() else last] = value
    return json_record(fields)


@pytest.mark.parametrize(
    ("path", "value", "detail"),
    [
        ("eventId", "7f1d2c526a0e4d0f9b572f4f0c6a9e11", "eventId: not a uuid"),
        ("eventId", 7, "eventId: text expected, a number given"),
        ("event", ..., "event: is missing"),
        ("event", ["LOAN_REPAYMENT"], "event: text expected"),
        ("occurredAt", ..., "occurredAt: is missing"),
        ("occurredAt", "2026-03-14 09:26:53", "occurredAt: not an RFC 3339 time"),
        ("occurredAt", "2026-03-14T09:26:53", "occurredAt: not an RFC 3339 time"),
        ("occurredAt", "2026-02-30T09:26:53Z", "occurredAt: no such time"),
        ("occurredAt", "2026-03-14T09:26:60Z", "occurredAt: no such time"),
        ("occurredAt", "2026-03-14T09:26:53+24:00", "occurredAt: no such time"),
        ("occurredAt", "0001-01-01T00:00:00+00:01", "occurredAt: no such time"),
        ("occurredAt", "9999-12-31T23:59:59-00:01", "occurredAt: no such time"),
        ("occurredAt", "2026-03-14T09:26:53.\u0661Z", "occurredAt: not an RFC 3339 time"),
        ("occurredAt", 1_773_480_413, "occurredAt: text expected, a number given"),
        ("tenant", "North Bank", "tenant: not a tenant"),
        ("tenant", "a" * 64, "tenant: not a tenant"),
        ("tenant", "", "tenant: not a tenant"),
        ("tenant", "north\n", "tenant: not a tenant"),
        ("correlationId", 5, "correlationId: text expected, a number given"),
        ("account", "LN-204417", "account: an object expected, text given"),
        ("account.encodedKey", "8A8E867D5B1A4C0E015B1A60AA110001", "account.encodedKey: not a key"),
        ("account.encodedKey", "8a8e", "account.encodedKey: not a key"),
        ("account.kind", "CARD", "account.kind: 'CARD' is not known"),
        ("account.product.id", None, "account.product.id: is missing"),
        ("account.loan.numberOfInstallments", "24", "numberOfInstallments: a whole number expected, text"),
        ("account.loan.numberOfInstallments", True, "numberOfInstallments: a whole number expected, true"),
        ("account.loan.numberOfInstallments", 24.0, "loan.numberOfInstallments: not a whole number of 32"),
        ("account.loan.numberOfInstallments", 2**31, "loan.numberOfInstallments: not a whole number of 32"),
        ("account.loan.disbursementDate", "2025-10-1", "account.loan.disbursementDate: not a date"),
        ("account.loan.disbursementDate", "2025-02-29", "account.loan.disbursementDate: no such date"),
        ("account.loan.disbursementDate", "0000-01-01", "account.loan.disbursementDate: no such date"),
        ("transaction.amount", "218,24", "transaction.amount: not a decimal number"),
        ("transaction.amount", "0.12345678901", "transaction.amount: more than 10 fraction digits"),
        ("transaction.amount", "1.00000000000", "transaction.amount: more than 10 fraction digits"),
        ("transaction.amount", "1" + "0" * 28, "transaction.amount: more than 28 digits before the point"),
        ("transaction.amount", "1e9999", "transaction.amount: more than 28 digits before the point"),
        ("transaction.amount", "1e-9999", "transaction.amount: more than 10 fraction digits"),
        ("transaction.amount", "1e99999999999", "transaction.amount: not a decimal number"),
        ("transaction.amount", "NaN", "transaction.amount: not a decimal number"),
        ("transaction.amount", "Infinity", "transaction.amount: not a decimal number"),
        ("transaction.amount", "1_000", "transaction.amount: not a decimal number"),
        ("transaction.amount", "\u0661", "transaction.amount: not a decimal number"),
        ("transaction.amount", "", "transaction.amount: not a decimal number"),
        ("transaction.amount", "0" * 100, "transaction.amount: not a decimal number"),
        ("transaction.amount", False, "transaction.amount: a decimal number expected, true or false given"),
        ("schedule", {}, "schedule: a list expected, an object given"),
        ("schedule.0.dueDate", 20_000, "schedule[0].dueDate: text expected, a number given"),
        ("schedule.0", None, "schedule[0]: is missing"),
        ("customFields", [], "customFields: an object expected, a list given"),
        ("customFields.LOAN:Insured", 1, "customFields['LOAN:Insured']: text, true, false, or an object with one of"),
        ("customFields.LOAN:Insured", {"decimal": "x"}, "customFields['LOAN:Insured'].decimal: not a decimal number"),
        ("customFields.LOAN:Insured", {"date": None}, "customFields['LOAN:Insured'].date: is missing"),
        ("customFields.LOAN:Insured", {"decimal": "1", "date": "2026-01-01"}, "['LOAN:Insured']: text, true"),
        ("customFields.LOAN:Insured", {"money": "1"}, "['LOAN:Insured']: text, true"),
        ("client.fullName", "\ud800", "client.fullName: half of a surrogate pair at character 0"),
        ("customFields.\udc00", "x", "half of a surrogate pair"),
    ],
)  # fmt: skip
def test_a_bad_field_is_named(path: str, value: object, detail: str) -> None:
    """INVALID_EVENT, with the path of the field and what is wrong there."""
    failure = decode_failure(with_change(path, value))

    assert Reason.INVALID_EVENT == failure.reason
    assert detail in failure.detail


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        (b'\xef\xbb\xbf{"event": "LOAN_REPAYMENT"}', "byte order mark"),
        (b'{"event": "LOAN_REPAYMENT\xff"}', "not UTF-8 at byte 25"),
        (b'{"event": "\xed\xa0\x80"}', "not UTF-8"),
        (b'{"event": "LOAN_REPAYMENT"', "not JSON"),
        (b'{"event": "LOAN_REPAYMENT"} {}', "not JSON: Extra data"),
        (b'{"event": "LOAN_REPAYMENT", "event": "LOAN_REPAYMENT"}', "key 'event' occurs twice"),
        (b'{"event": "LOAN_REPAYMENT", "x": {"y": 1, "y": 2}}', "key 'y' occurs twice"),
        (b'{"event": "LOAN_REPAYMENT", "x": NaN}', "not JSON: NaN"),
        (b'{"event": "LOAN_REPAYMENT", "x": -Infinity}', "not JSON: -Infinity"),
        (b'{"event": "a\tb"}', "not JSON: Invalid control character"),
        (b'["LOAN_REPAYMENT"]', "not a JSON object"),
        (b"null", "not a JSON object"),
        (b" ", "not JSON"),
        (b'{"event": 1}', "event: text expected"),
        (golden_avro(), "not "),
    ],
)
def test_bad_json_is_an_invalid_event(value: bytes, detail: str) -> None:
    """What is not exactly one JSON object in UTF-8, without any key twice, is refused as a whole."""
    failure = decode_failure(json_record(value))

    assert Reason.INVALID_EVENT == failure.reason
    assert detail in failure.detail


def patched(at: int, replaced: int, by: bytes, **changed: Any) -> SourceRecord:
    """The LOAN_REPAYMENT example in Avro with `replaced` bytes at `at` (from the end if negative) replaced."""
    value = golden_avro(**changed)
    start = at if at >= 0 else len(value) + at
    return raw_record(value[:start] + by + value[start + replaced :])


EMPTY: dict[str, Any] = {"schedule": [], "customFields": {}}  # the last two bytes are then the ends of these two
ENTRY = varint(1) + varint(0)  # a block of one entry with an empty key


@pytest.mark.parametrize(
    ("record", "detail"),
    [
        (patched(EVENT_ID_AT, 1, varint(2**62)), "eventId: cut short: 4611686018427387904 bytes announced"),
        (patched(EVENT_ID_AT, 1, varint(-37)), "eventId: a length of -37"),
        (patched(EVENT_ID_AT, 1, b"\xff" * 11), "eventId: a number of more than 10 bytes"),
        (patched(EVENT_ID_AT, 1, b"\xff" * 9 + b"\x7f"), "eventId: a number of more than 64 bits"),
        (patched(EVENT_ID_AT + 1, 1, b"\xff"), "eventId: not UTF-8 at byte 0"),
        (patched(EVENT_AT, 1, varint(-1)), "event: symbol -1 of an enum of 14"),
        (patched(EVENT_AT, 1, varint(14)), "event: symbol 14 of an enum of 14"),
        (patched(EVENT_AT + 1, 8, varint(2**62)), "occurredAt: 4611686018427387904 microseconds"),
        (patched(-2, 1, varint(2**62), **EMPTY), "schedule: 4611686018427387904 items announced, 1 bytes left"),
        (patched(-2, 1, varint(-(2**63)), **EMPTY), "schedule: 9223372036854775808 items announced"),
        (patched(-2, 1, varint(-1) + varint(2**62), **EMPTY), "schedule: a block of 4611686018427387904 bytes"),
        (patched(-2, 1, varint(-1) + varint(-1), **EMPTY), "schedule: a block of -1 bytes"),
        (patched(-1, 1, varint(2**40), **EMPTY), "customFields: 1099511627776 items announced"),
        (patched(-1, 1, ENTRY + varint(6), **EMPTY), "customFields['']: branch 6 of a union of 6"),
        (patched(-1, 1, ENTRY + varint(-1), **EMPTY), "customFields['']: branch -1 of a union of 6"),
        (patched(-1, 1, ENTRY + varint(1) + b"\x02", **EMPTY), "customFields['']: a boolean of 2"),
        (patched(-1, 1, ENTRY + varint(3) + b"\x00", **EMPTY), "customFields['']: a decimal of no bytes"),
        (patched(-1, 1, ENTRY + varint(3) + varint(17) + b"\x7f" * 17, **EMPTY), "more than 38 digits"),
        (patched(-1, 1, ENTRY + varint(4) + varint(2**31 - 1), **EMPTY), "customFields['']: 2147483647 days"),
        (patched(-1, 1, ENTRY + varint(4) + varint(2**31), **EMPTY), "2147483648 does not fit in 32 bits"),
        (patched(-1, 1, ENTRY + varint(5) + varint(-(2**63)), **EMPTY), "-9223372036854775808 microseconds"),
        (patched(-1, 1, varint(2) + (varint(0) + varint(0)) * 2 + b"\x00", **EMPTY), "customFields['']: occurs twice"),
        (patched(-1, 1, varint(-1) + varint(9) + varint(0) * 11, **EMPTY), "a block of another size than announced"),
    ],
)  # fmt: skip
def test_bad_avro_is_an_invalid_event(record: SourceRecord, detail: str) -> None:
    """Lengths, counts and indexes that cannot be are refused at the field that has them, none is followed."""
    failure = decode_failure(record)

    assert Reason.INVALID_EVENT == failure.reason
    assert detail in failure.detail


def hostile() -> dict[str, SourceRecord]:
    """A mebibyte each, made to cost as much as it can."""
    room = 1_048_000
    start = '{"event": "LOAN_REPAYMENT", "x": '
    empty = golden_avro(**EMPTY)
    line = b"\x40" + b"0" * 32 + varint(7) + varint(20_000) + b"\x00" * 8
    fields = b"".join(b"\x0e%07d\x00" % number for number in range(116_000))
    return {
        "deep lists": json_record(start + "[" * room),
        "deep objects": json_record(start + '{"a":' * (room // 5)),
        "brackets in text": json_record(start + '"' + "[" * room),
        "escapes": json_record(start + '"' + "\\" * room),
        "long number": json_record(start + "1" * room + "}"),
        "long amount": with_change("transaction.amount", "1" * room),
        "long time": with_change("occurredAt", "2026-03-14T09:26:53." + "1" * room),
        "many keys": json_record(start + "{" + ",".join(f'"{n:06d}":0' for n in range(95_000)) + ',"000000":0}}'),
        "huge exponent": json_record(start + "1e999999999, " + '"event":1}'),
        "many lines": raw_record(empty[:-2] + varint(23_000) + line * 23_000 + b"\x00\x00over"),
        "many fields": raw_record(empty[:-1] + varint(116_000) + fields + b"\x00over"),
        "many numbers": raw_record(empty[:-1] + b"\xff" * room),
        "long decimal": raw_record(empty[:-1] + ENTRY + varint(3) + varint(room) + b"\x7f" * room + b"\x00"),
    }


@pytest.mark.corpus
@pytest.mark.parametrize("name", hostile())
def test_a_hostile_event_costs_little(name: str) -> None:
    """An event of the largest size is decoded within seconds and 200 MB, whatever it holds."""
    record = hostile()[name]
    tracemalloc.start()
    started = time.process_time()
    try:
        failure = decode_with(record)
    finally:
        seconds = time.process_time() - started
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert isinstance(failure, DecodeFailure)
    assert len(failure.detail) <= 1_000
    assert seconds < 5  # tracemalloc alone slows it several times
    assert peak_bytes < 200_000_000


def test_numbers_are_checked_before_they_are_computed() -> None:
    """An exponent of a thousand million in an ignored field is read as text and skipped."""
    text = json.dumps(golden_json("event.LOAN_REPAYMENT"))[:-1] + ', "x": 1e999999999}'

    assert golden_event() == decode_with(json_record(text))


# ---------------------------------------------------------------------------------------------------------------------
# For produce


def test_events_are_read_from_json_lines_and_from_mappings() -> None:
    """What `produce` checks: a line of a file, or a generated event."""
    fields = golden_json("event.SAVINGS_DEPOSIT")

    assert golden_event("SAVINGS_DEPOSIT") == event_from_json(json.dumps(fields).encode(), SCHEMAS)
    assert golden_event("SAVINGS_DEPOSIT") == event_from_json(fields, SCHEMAS)
    assert "account: is missing" == failure_of(event_from_json(fields | {"account": None}, SCHEMAS)).detail
    assert Reason.INVALID_EVENT == failure_of(event_from_json(fields | {"account": object()}, SCHEMAS)).reason


def test_a_detail_is_bounded() -> None:
    """Long names of a producer's making do not make a long detail."""
    failure = decode_failure(with_change("customFields." + "k" * 5_000, {"decimal": "x" * 5_000}))

    assert len(failure.detail) < 300


def test_fastavro_writes_what_we_read() -> None:
    """A producer on another library: bytes written by fastavro from its own parse of the schema file's text."""
    buffer = BytesIO()
    parsed, _ = parse_schema(reader_schema().text)
    schemaless_writer(buffer, parsed, dict(golden_event(customFields={"LOAN:A": "x"}).fields))
    writer = parse_writer_schema(reader_schema().text)

    read = decode_with(raw_record(b"\x00\x00\x00\x00\x09" + buffer.getvalue()), writers={9: writer})

    assert golden_event(customFields={"LOAN:A": "x"}) == read
