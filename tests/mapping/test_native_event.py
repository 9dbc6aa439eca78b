"""Events that C maps in one call: the outputs of the reference, or nothing at all."""

import gc
import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import cache
from hashlib import blake2b
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.catalogue import Target
from processor.domain.channel import RecipientKind
from processor.domain.event import SeenEvent
from processor.domain.outcome import PlannedMessages, PlannedRun
from processor.domain.record import EventName, OutRecord, SourceRecord
from processor.domain.reference import Table
from processor.domain.template import Match, Operator, Subscription, Template
from processor.mapping.conditions import COMPARE
from processor.mapping.context import AdmitEvent, MappingContext
from processor.mapping.event_plans import EventPlans
from processor.mapping.native_event import amount_bounds
from processor.mapping.options import WrittenDecisions
from processor.mapping.plan_observer import PlanRefusal
from processor.mapping.reference import Reference
from processor.mapping.scanned_event import EventScanner
from processor.mapping.verify_plan import Sample
from processor.native import NATIVE
from processor.templates.load import SHIPPED
from processor.wire.wire_format import WireFormat
from tests.support.builders import (
    make_condition,
    make_context,
    make_email,
    make_event,
    make_output_topics,
    make_sms,
    make_task,
    make_template,
    make_webhook,
    map_record,
)
from tests.support.executors import NEEDS_NATIVE
from tests.support.planned import TRACE, RecordedReports, avro_record, check_written

pytestmark = NEEDS_NATIVE

SAMPLES: Final = {path.stem: json.loads(path.read_text()) for path in (SHIPPED / "events").glob("*.json")}


def with_native(context: MappingContext, **options: Any) -> MappingContext:
    return replace(context, plans=EventPlans(native=NATIVE, **options))


@cache
def shipped(form: WireFormat) -> MappingContext:
    return with_native(make_context(form=form))


def is_written(record: SourceRecord, context: MappingContext) -> bool:
    """Whether it is written at once, when its plan is there; what is written is the reference's."""
    map_record(record, context)
    return check_written(record, context, map_record(record, replace(context, plans=None)))


# ---------------------------------------------------------------------------------------------------------------------
# Which are written


@pytest.mark.parametrize("form", WireFormat)
def test_most_shipped_samples(form: WireFormat) -> None:
    """Not those with a template for a role in a group, or whose message has no address."""
    refused = {name for name, event in SAMPLES.items() if not is_written(record_of(event), shipped(form))}

    assert REFUSED == refused


def record_of(event: Any) -> SourceRecord:
    return avro_record(make_event(event).fields)


REFUSED: Final = {
    *("GROUP_CREATED", "SAVINGS_TRANSACTION_EDITED"),
    *("CREDIT_ARRANGEMENT_DELETED", "DEPOSIT_INTEREST_APPLIED"),
}

CHANNELS: Final[dict[str, Callable[[], Any]]] = {
    "stream": make_template,
    "e-mail": make_email,
    "sms": make_sms,
    "task": make_task,
    "webhook": lambda: make_webhook(url="https://a.example/{ACCOUNT_ID}"),
    "languages": lambda: make_email(bodies={"pt": "Olá {CLIENT_NAME}", "de": "Hallo {CLIENT_NAME}"}),
    "subject": lambda: make_email(subject="{CLIENT_NAME}: {TRANSACTION_AMOUNT} é"),
    "any condition": lambda: make_template(
        match=Match.ANY,
        conditions=[
            make_condition("TRANSACTION_AMOUNT", "LESS_THAN", "0"),
            make_condition("CURRENCY_CODE", "EQUALS", "eur"),
        ],
    ),
    "days": lambda: make_template(trigger_days=None, conditions=[make_condition("TRANSACTION_DATE", "THIS_YEAR")]),
}


@pytest.mark.parametrize("form", WireFormat)
@pytest.mark.parametrize("make", CHANNELS.values(), ids=CHANNELS)
def test_channels(make: Callable[[], Any], form: WireFormat) -> None:
    """Each by itself, and with headers that are carried on."""
    context = with_native(make_context(make(), form=form))

    assert is_written(avro_record(), context)
    assert is_written(avro_record(headers=TRACE), context)


@pytest.mark.parametrize("form", WireFormat)
@pytest.mark.parametrize(
    "occurred_at", ["1969-12-31T23:59:59.999500Z", "1901-03-01T00:00:00Z", "2262-04-11T23:47:16.854999Z"]
)
def test_events_of_other_times(occurred_at: str, form: WireFormat) -> None:
    """Milliseconds are cut, before 1970 too."""
    context = with_native(make_context(make_template(), form=form))

    assert is_written(avro_record(occurredAt=datetime.fromisoformat(occurred_at)), context)


@pytest.mark.parametrize("amount", ["-0.01", "0", "0.01", "99999999.99"])
@pytest.mark.parametrize(("operator", "operand"), [("MORE_THAN", "0"), ("LESS_THAN", "0.01"), ("EQUALS", "0.010")])
def test_amounts_at_the_bounds_of_a_condition(amount: str, operator: str, operand: str) -> None:
    """Of a number with fewer digits than the condition has, too."""
    context = with_native(
        make_context(make_template(conditions=[make_condition("TRANSACTION_AMOUNT", operator, operand)]))
    )
    transaction = {**make_event().fields["transaction"], "amount": Decimal(amount)}

    assert is_written(avro_record(transaction=transaction), context)


def test_what_is_missing_of_one_event_is_not_of_the_next() -> None:
    """An e-mail's contact has no row; then it has one; then, without a row again, nothing is due."""
    rows: list[bytes | None] = [None]
    reference = Reference(rows=lambda table, _key: rows[0] if table is Table.CONTACTS else None)
    template = make_email(conditions=[make_condition("TRANSACTION_AMOUNT", "MORE_THAN", "0")])
    context = with_native(make_context(template, reference=reference))
    nothing_due = avro_record(transaction={**make_event().fields["transaction"], "amount": Decimal(0)})

    assert is_written(avro_record(), context)
    rows[0] = b'{"id": "CTT-4410-0093-7715", "name": "Ines"}'
    assert is_written(avro_record(), context)
    rows[0] = None
    assert is_written(avro_record(), context)
    assert is_written(nothing_due, context)


@pytest.mark.parametrize(("limit", "fits"), [(500_000, True), (160_500, False)])
def test_buffers_of_a_large_message_shrink(limit: int, fits: bool) -> None:
    """Or each text and output of each template would keep what its largest message took. Texts that are empty then are
    written, too."""
    template = make_email(subject="{CORRELATION_ID}", body="{CORRELATION_ID}" * 20)
    context = with_native(make_context(template, output_topics=make_output_topics(limit=limit)))
    large = avro_record(correlationId="x" * 8_000)
    assert is_written(avro_record(), context)

    tracemalloc.start()
    written = is_written(large, context)
    gc.collect()
    kept_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert written == fits
    assert kept_bytes < 100_000
    assert is_written(avro_record(correlationId=None), context)


# ---------------------------------------------------------------------------------------------------------------------
# Which are refused

WRONG: Final[dict[str, SourceRecord]] = {
    "another key": avro_record(key=b"f" * 32),
    "no key": avro_record()._replace(key=None),
    "another tenant": avro_record(tenant="southbank"),
    "no time": avro_record()._replace(timestamp_ms=-1),
    "a malformed header": avro_record(headers=(("traceparent", b"?"),)),
    "headers that cannot be read": avro_record()._replace(headers_error="not UTF-8"),
    "a content type": avro_record(headers=(("Content-Type", b"application/json"),)),
    "no value": avro_record()._replace(value=None),
    "JSON": avro_record()._replace(value=b"{}"),
    "another frame": avro_record()._replace(value=b"\x00\x00\x00\x00\xff" + (avro_record().value or b"")[5:]),
    "a byte less": avro_record()._replace(value=(avro_record().value or b"")[:-1]),
    "a byte more": avro_record()._replace(value=(avro_record().value or b"") + b"\x00"),
}


@pytest.mark.parametrize("record", WRONG.values(), ids=WRONG)
def test_records_that_are_no_ordinary_ones(record: SourceRecord) -> None:
    """They are mapped one by one."""
    context = with_native(make_context(make_template()))

    assert is_written(avro_record(), context)
    assert not is_written(record, context)


SKIPPED: Final[dict[str, Template]] = {
    "inactive": make_template("other", active=False),
    "of a condition that is false": make_template(
        "other", conditions=[make_condition("TRANSACTION_AMOUNT", "LESS_THAN", "0")]
    ),
    "of another target": make_template("other", target=Target.SAVINGS),
    "for those who opted in": make_template("other", subscription=Subscription.OPT_IN),
    "for a group": make_email("other", recipient=RecipientKind.GROUP),
}


@pytest.mark.parametrize("decisions", WrittenDecisions)
@pytest.mark.parametrize("template", SKIPPED.values(), ids=SKIPPED)
def test_templates_that_are_skipped(template: Template, decisions: WrittenDecisions) -> None:
    """The decision follows the other templates' records, if the installation writes one."""
    alone = with_native(make_context(template, decisions=decisions))
    context = with_native(make_context(make_template(), template, make_template("third"), decisions=decisions))

    assert is_written(avro_record(), alone)
    assert is_written(avro_record(headers=TRACE), context)


FAILED: Final[dict[str, Template]] = {
    "whose text lacks a value": make_template("other", body="{GROUP_ID}", strict=True),
    "whose text is too long": make_template("other", body="x" * 3_000),
}


@pytest.mark.parametrize("template", FAILED.values(), ids=FAILED)
def test_one_template_that_fails(template: Template) -> None:
    """Nothing of the event is written at once, not the other template's message either."""
    context = with_native(make_context(make_template(), template, output_topics=make_output_topics(limit=2_500)))

    assert not is_written(avro_record(), context)


def test_a_text_that_is_too_long_for_its_channel() -> None:
    """It is created FAILED; so long in bytes alone, it is not."""
    for body, is_sent in (("é" * 1_600, True), ("x" * 1_601, False)):
        assert is_sent == is_written(avro_record(), with_native(make_context(make_sms(body=body))))


@pytest.mark.parametrize("limits", [{"messages": 200}, {"status": 300}, {"streams": 100}, {"notifications": 300}])
def test_outputs_that_do_not_fit(limits: dict[str, int]) -> None:
    """The template fails."""
    context = with_native(make_context(make_template(), make_email(), output_topics=make_output_topics(**limits)))

    assert not is_written(avro_record(), context)


def test_both_holders_or_none() -> None:
    """A family with exactly one has neither both nor none; decoding rejects them."""
    event = make_event(SAMPLES["SAVINGS_DEPOSIT"])
    client = make_event().fields["client"]
    context = with_native(make_context(make_template(events=["SAVINGS_DEPOSIT"], target=Target.SAVINGS)))
    key = event.ordering_key.encode()

    assert is_written(avro_record(event.fields, key=key), context)
    assert not is_written(avro_record(event.fields, key=key, client=client), context)
    assert not is_written(avro_record(event.fields, key=key, client=None, group=None), context)


def test_a_message_without_an_address() -> None:
    """It is created FAILED, which is left to the plan's closures."""
    context = with_native(make_context(make_email()))
    client = {**make_event().fields["client"], "emailAddress": None}

    assert not is_written(avro_record(client=client), context)


def test_a_decision_that_does_not_fit() -> None:
    """It has to be shortened, which is the reference's."""
    templates = [make_template(f"other-{number}", active=False) for number in range(30)]
    context = with_native(make_context(*templates, output_topics=make_output_topics(limit=2_500)))

    assert not is_written(avro_record(), context)


def test_records_of_the_sample_are_verified_one_by_one() -> None:
    """PROCESSOR_PLAN_VERIFY."""
    context = with_native(make_context(make_template()), sample=Sample(1.0))

    assert not is_written(avro_record(), context)


def test_plans_of_another_context() -> None:
    """They were made for other templates."""
    context = with_native(make_context(make_template()))
    other = replace(make_context(make_email()), plans=context.plans)

    assert is_written(avro_record(), context)
    assert not check_written(avro_record(), other, map_record(avro_record(), context))


def test_an_error_is_reported_and_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is mapped by itself then; if the fault is its own, that raises again."""
    reports = RecordedReports()
    context = with_native(make_context(make_template()), observer=reports)
    map_record(avro_record(), context)

    def fail(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(EventScanner, "write", fail)

    assert not check_written(avro_record(), context, map_record(avro_record(), context))
    assert PlanRefusal.ERROR == reports.refusals[-1]


# ---------------------------------------------------------------------------------------------------------------------
# Runs


def write_run(
    records: list[SourceRecord], *, admit: AdmitEvent = lambda _seen, _made: True, limit_bytes: int = 10**9
) -> tuple[int, PlannedRun]:
    """How many of the records are written, and the run that they became."""
    context = with_native(make_context(make_template()))
    map_record(avro_record(), context)
    assert isinstance(context.plans, EventPlans)
    run = PlannedRun(context.plans.path, records[0].position)
    return context.plans.write(records, context, run, admit=admit, limit_bytes=limit_bytes), run


def placed(offset: int, record: SourceRecord | None = None) -> SourceRecord:
    """A record, a repayment by default, at an offset."""
    record = record or avro_record()
    return record._replace(position=record.position._replace(offset=offset))


def check_run(written: tuple[int, PlannedRun], count: int) -> None:
    """It has the first records and nothing else: message, status and stream event of each."""
    taken, run = written
    assert (count, count, count - 1) == (taken, run.record_count, run.last.offset)
    assert (3 * count, [count]) == (len(run.outputs), [*run.messages.values()])
    assert run.output_bytes == sum(OutRecord(*output).size_bytes for output in run.outputs)


@pytest.mark.parametrize("record", WRONG.values(), ids=WRONG)
def test_a_run_ends_before_what_is_refused(record: SourceRecord) -> None:
    """Of another schema, too, which has a scanner of its own."""
    check_run(write_run([placed(0), placed(1), placed(2, record), placed(3)]), 2)


def test_a_run_ends_with_the_record_that_reaches_the_limit() -> None:
    """The bytes of its outputs count, and those that the run had before."""
    _, alone = write_run([placed(0)])

    check_run(write_run([placed(offset) for offset in range(9)], limit_bytes=2 * alone.output_bytes), 2)
    check_run(write_run([placed(offset) for offset in range(9)], limit_bytes=2 * alone.output_bytes + 1), 3)


def test_a_run_ends_before_what_is_not_admitted() -> None:
    """It was seen before, or has to be mapped by itself."""
    check_run(write_run([placed(offset) for offset in range(9)], admit=lambda seen, _made: seen.offset < 4), 4)


def test_a_run_ends_before_what_raises() -> None:
    """The records before are written."""

    def admit(seen: SeenEvent, _made: PlannedMessages) -> bool:
        return 1 / (5 - seen.offset) > 0

    check_run(write_run([placed(offset) for offset in range(9)], admit=admit), 5)


def test_what_was_made_is_counted() -> None:
    """Of records of which different messages were made, in turn."""
    templates = [
        make_template("first"),
        make_template("second", conditions=[make_condition("TRANSACTION_AMOUNT", "MORE_THAN", "0")]),
    ]
    context = with_native(make_context(*templates, decisions=WrittenDecisions.OFF))
    map_record(avro_record(), context)
    nothing = avro_record(transaction={**make_event().fields["transaction"], "amount": Decimal(0)})
    records = [placed(offset, nothing if offset in (1, 2, 5) else None) for offset in range(7)]
    assert isinstance(context.plans, EventPlans)
    run = PlannedRun(context.plans.path, records[0].position)
    assert 7 == context.plans.write(records, context, run, admit=lambda _seen, _made: True, limit_bytes=10**9)

    assert {("first",): 3, ("first", "second"): 4} == {
        tuple(template for template, _ in made.templates): count for made, count in run.messages.items()
    }


# ---------------------------------------------------------------------------------------------------------------------
# Its parts


@pytest.mark.parametrize("size", [0, 1, 127, 128, 129, 255, 256, 257, 600])
def test_digests(size: int) -> None:
    """BLAKE2b of 16 bytes, of blocks of 128 that are full or not."""
    from processor import _native  # noqa: PLC0415  it may not be there

    data = bytes(byte % 251 for byte in range(size))

    assert blake2b(data, digest_size=16).hexdigest().encode() == _native.hex_digest_of(data)


@given(
    operator=st.sampled_from([Operator.MORE_THAN, Operator.LESS_THAN, Operator.EQUALS]),
    operand=st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=6),
    unscaled=st.integers(-(10**12), 10**12),
    scale=st.integers(0, 8),
)
def test_bounds_of_amounts(operator: Operator, operand: Decimal, unscaled: int, scale: int) -> None:
    """An amount lies within them where the comparison is true, with an operand of any number of digits."""
    bounds = amount_bounds(operator, (operand,), scale)
    assert bounds is not None
    low, high = bounds

    assert COMPARE[operator](Decimal(unscaled).scaleb(-scale), operand) == (low <= unscaled <= high)


def test_bounds_that_cannot_be_said() -> None:
    """Other operators, dates, and numbers that need more than 64 bits."""
    assert amount_bounds(Operator.DIFFERENT_THAN, (Decimal(1),), 2) is None
    assert amount_bounds(Operator.MORE_THAN, (Decimal(10**18),), 2) is None
    assert amount_bounds(Operator.BETWEEN, (Decimal(1), Decimal(3)), 2) == (100, 300)
    assert EventName("LOAN_REPAYMENT") in SAMPLES
