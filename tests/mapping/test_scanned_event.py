"""Scanned events: refused, or what `decode_record` makes of the record; each value and text as the reference has it."""

from collections.abc import Callable, Iterator
from datetime import UTC, tzinfo
from decimal import Decimal
from functools import cache
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.domain.catalogue import EVENTS, FAMILIES
from processor.domain.channel import ContentType
from processor.domain.event import Event, SourceEvent, value_at
from processor.domain.placeholders import PlaceholderType, placeholders_of
from processor.domain.record import EventName, SchemaId, SourceRecord
from processor.domain.template import FieldPath, NamedPlaceholder
from processor.mapping.decode_record import decode_record
from processor.mapping.plan_observer import PlanRefusal
from processor.mapping.scanned_event import EventScanner, ScannedEvent, ScanRules, TemplatesPlan
from processor.mapping.values import currency_of, money_text, text_of
from processor.shipped import sample
from processor.templates.text import parse
from processor.wire.decode import event_from_json
from processor.wire.framing import parse_frame
from tests.support.builders import TENANT, make_context, make_record
from tests.support.executors import native_in_use
from tests.support.laws import examples
from tests.support.planned import avro_record
from tests.support.wire import SCHEMAS, events_of
from tests.wire.test_decode_mutated import MUTATIONS, valid_avro

pytestmark = pytest.mark.usefixtures("executor")

CONTEXT: Final = make_context()
ZONE: Final = ZoneInfo("America/Lima")


@cache
def field_paths(family: str) -> tuple[FieldPath, ...]:
    """Of all placeholders of a family, but for those of a recipient."""
    event = next(name for name, row in EVENTS.items() if row.family == family)
    found = []
    for name in placeholders_of(family):
        segments, _ = parse(f"{{{name}}}", ContentType.TEXT, families={family: event})
        for segment in segments:
            assert isinstance(segment, NamedPlaceholder)
            if segment.paths[family].path[0] != "recipient":
                found.append(segment.paths[family])
    return tuple(found)


def scanner(family: str, time_zone: tzinfo = UTC) -> EventScanner:
    """Of a family's own schema, and all that its placeholders read."""
    return _scanner(family, time_zone, native_in_use() is not None)


@cache
def _scanner(family: str, time_zone: tzinfo, _is_native: bool) -> EventScanner:
    schema = SCHEMAS.families[FAMILIES[family].record]
    wanted = {path for source in field_paths(family) for path in (source.path, *source.currencies)}

    def make_plan(event: EventName, _scanner: EventScanner) -> TemplatesPlan:
        raise AssertionError(f"{event} is not mapped here")

    return EventScanner(
        SCHEMAS.local[schema.id],
        SCHEMAS,
        ScanRules(tenant=TENANT, time_zone=time_zone, max_event_bytes=1_048_576, native=native_in_use()),
        wanted=wanted,
        make_plan=make_plan,
    )


def record_of(value: bytes) -> SourceRecord:
    """With the ordering key of its event, if it has one."""
    record = make_record(value=value)
    decoded = decode_record(record, CONTEXT, schema_of=SCHEMAS.local_schema)
    return record._replace(key=decoded.event.ordering_key.encode()) if isinstance(decoded, SourceEvent) else record


def check_equal(scanned: ScannedEvent | PlanRefusal, record: SourceRecord) -> bool:
    """Whether it was not refused: then it is the event of the record."""
    if isinstance(scanned, PlanRefusal):
        return False
    source = decode_record(record, CONTEXT, schema_of=SCHEMAS.local_schema)
    assert isinstance(source, SourceEvent), source
    assert (source.event, source.time_ms, source.seen, source.has_wrong_key) == (
        scanned.event,
        scanned.time_ms,
        scanned.seen,
        scanned.has_wrong_key,
    )
    assert (source.event.name, source.event.id, source.event.ordering_key) == (
        scanned.name,
        scanned.id,
        scanned.ordering_key,
    )
    return True


def event_of(name: EventName) -> Event:
    """A sample."""
    event = event_from_json({**sample(name), "tenant": TENANT}, SCHEMAS)
    assert isinstance(event, Event), event
    return event


@pytest.mark.parametrize("name", EVENTS)
def test_each_sample_is_scanned(name: EventName) -> None:
    """And is the same event."""
    event = event_of(name)
    record = avro_record(event.fields)

    assert check_equal(scanner(event.family).scan(record), record)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=examples(40), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_texts_of_any_event(family: str, data: st.DataObject) -> None:
    """Of each placeholder, in a zone that is not UTC; and each value."""
    fields = {**data.draw(events_of(SCHEMAS.families[FAMILIES[family].record])), "tenant": TENANT}
    record = avro_record(fields)
    scanned = scanner(family, ZONE).scan(record)
    if not check_equal(scanned, record):
        return
    assert isinstance(scanned, ScannedEvent)
    for path, read in readers(family):
        value = value_at(path.path, fields)
        currency = currency_of(path, fields)
        text = None if value is None else text_of(value, path.type, currency=currency, time_zone=ZONE)
        assert text == read(scanned.slots), path


@cache
def readers(family: str) -> list[tuple[FieldPath, Callable[[Any], Any]]]:
    """How the text of each placeholder that is no table is read."""
    values = scanner(family, ZONE).values
    return [
        (source, values.text(source.path, source.type, source.currencies))
        for source in field_paths(family)
        if source.type is not PlaceholderType.TABLE
    ]


AMOUNTS = ("0", "0.5", "-0.5", "12", "12.3", "12.34", "12.345", "-100", "1234567890123.0000000001", "9.9999999999")


@pytest.mark.parametrize("currency", ["EUR", "JPY", "KWD", "CLF", "eur", ""])
def test_money_has_the_digits_of_its_currency(currency: str) -> None:
    """At least so many, without zeros behind them."""
    event = event_of(EventName("LOAN_REPAYMENT"))
    read = next(read for source, read in readers(event.family) if source.path == ("transaction", "amount"))
    expected, found = [], []
    for text in AMOUNTS:
        amount = Decimal(text).quantize(Decimal("1e-10"))
        account = {**event.fields["account"], "currencyCode": currency}
        fields = {**event.fields, "account": account}
        fields["transaction"] = {**event.fields["transaction"], "amount": amount, "currencyCode": currency}
        scanned = scanner(event.family, ZONE).scan(avro_record(fields))
        assert isinstance(scanned, ScannedEvent)
        expected.append(money_text(amount, currency))
        found.append(read(scanned.slots))

    assert expected == found


@settings(max_examples=examples(1_000), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_broken_records(data: st.DataObject) -> None:
    """Refused, or the same event."""
    corpus = valid_avro()
    value = data.draw(st.sampled_from(MUTATIONS))(data, data.draw(st.sampled_from(corpus)), corpus)
    for family, schema in families():
        if value.startswith(schema):
            record = record_of(value)
            check_equal(scanner(family).scan(record), record)


def families() -> Iterator[tuple[str, bytes]]:
    """With the frame of each."""
    for name, family in FAMILIES.items():
        yield name, SCHEMAS.families[family.record].frame


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"tenant": "southbank"}, None),
        ({"client": None}, b"8a8e867d5b1a4c0e9f3d2a7b6c1e4f01"),
        ({}, b"another"),
    ],
    ids=["another tenant", "no holder", "another key"],
)
def test_what_is_left_to_others(changes: dict[str, Any], key: bytes | None) -> None:
    """Records with an outcome of their own, or that are counted."""
    event = event_of(EventName("LOAN_REPAYMENT"))

    assert scanner(event.family).scan(avro_record(event.fields, key=key, **changes)) is PlanRefusal.CHECK


def test_the_schema_of_the_frame() -> None:
    """The records of the tests are of the schema that the scanner is for."""
    record = avro_record(event_of(EventName("LOAN_REPAYMENT")).fields)
    assert record.value is not None

    assert SchemaId(SCHEMAS.by_event[EventName("LOAN_REPAYMENT")].id) == parse_frame(record.value)
