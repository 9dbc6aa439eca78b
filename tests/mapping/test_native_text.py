"""Texts that C writes over the slots of a scanned record: those of the reference, or none."""

from collections.abc import Iterator
from datetime import UTC, date, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.domain.catalogue import FAMILIES
from processor.domain.event import Fields
from processor.domain.record import EventName
from processor.domain.template import EscapeContext, NamedPlaceholder, Segment, Text
from processor.mapping.native_text import TextLimits, native_operation
from processor.mapping.plain_text import TextPlanner
from processor.mapping.plan_values import Path, RecipientValues
from processor.mapping.scanned_values import ScannedValues
from processor.mapping.text_plan import CONTEXTS, text_program
from processor.native import NATIVE, NativePart
from processor.templates.text import field_paths
from processor.wire.encode import encode_event
from processor.wire.framing import FRAME_BYTES
from processor.wire.native_scan import native_scan
from processor.wire.scan_program import scan_program
from processor.wire.slot_values import Slots
from processor.wire.wire_format import WireFormat
from tests.mapping.test_text_plan import LIMIT, ZONES, any_text, rendered_text
from tests.support.builders import make_event
from tests.support.executors import NEEDS_NATIVE
from tests.support.laws import examples
from tests.support.wire import SCHEMAS, events_of

pytestmark = NEEDS_NATIVE


def read_paths(text: Text, family: str) -> Iterator[Path]:
    """What a text reads of an event of `family`."""
    for segment in (*(text.subject or ()), *text.body, *(text.url or ())):
        if isinstance(segment, NamedPlaceholder):
            yield from (segment.paths[family].path, *segment.paths[family].currencies)
    yield ("customFields",)


def native() -> NativePart:
    """As it is here."""
    assert NATIVE is not None
    return NATIVE


def scanned(fields: Fields, family: str, paths: set[Path], zone: tzinfo) -> tuple[ScannedValues, Slots]:
    """The values of an event, and its slots."""
    schema = SCHEMAS.families[FAMILIES[family].record]
    value, _ = encode_event(fields, SCHEMAS, format=WireFormat.AVRO)
    names = {field.name for field in schema.type.fields}
    program = scan_program(schema.type, schema.type, [path for path in sorted(paths) if path[0] in names])
    slots = native_scan(program, native())(value, FRAME_BYTES)
    assert slots is not None
    return ScannedValues(program, time_zone=zone, known={}, native=native()), slots


def native_parts(
    text: Text, fields: Fields, family: str, *, zone: tzinfo = UTC, strict: bool = False, limit: int = LIMIT
) -> Any:
    """Subject, body and address of an event without a recipient; None: refused."""
    values, slots = scanned(fields, family, set(read_paths(text, family)), zone)
    planner = TextPlanner(
        family=family, values=RecipientValues(values), time_zone=zone, strict=strict, limit_characters=limit
    )
    return planner.parts(text)(slots)


def parts_of(text: Text, fields: Fields, family: str, **options: Any) -> Any:
    """The same by the reference; None where it fails, or replaces a character."""
    rendered = rendered_text(text, {**fields, "recipient": None}, family, **options)
    return None if rendered is None else (rendered.subject, rendered.body, rendered.url)


@given(data=st.data(), family=st.sampled_from(sorted(FAMILIES)), zone=st.sampled_from(ZONES), strict=st.booleans())
@settings(max_examples=examples(300), suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
def test_any_text_of_any_event(data: st.DataObject, family: str, zone: tzinfo, strict: bool) -> None:
    """In any context, with any limit."""
    text = data.draw(any_text(family))
    fields = data.draw(events_of(SCHEMAS.families[FAMILIES[family].record]))
    options: dict[str, Any] = {"zone": zone, "strict": strict, "limit": data.draw(st.sampled_from([LIMIT, LIMIT, 40]))}
    try:
        found = native_parts(text, fields, family, **options)
    except AssertionError:
        return  # no scan accepts it

    assert found is None or found == parts_of(text, fields, family, **options)


# ---------------------------------------------------------------------------------------------------------------------
# Each operation of C, by a table

NATIVE_CONTEXTS: Final = [context for context in EscapeContext if NATIVE and context.name in NATIVE.escapes]
HOSTILE: Final = (
    *(
        "",
        ".",
        "..",
        "...",
        "a",
        "a b",
        "\x00",
        "\x7f",
        "\ufffe",
        "\uffff",
        "\ufffd",
        "\u2028",
        "é",
        "日本",
        "😀",
        "&&&",
    ),
    "".join(map(chr, range(1, 128))),
    "".join(map(chr, range(128, 0x800, 7))),
    "~-_.!*'();:@&=+$,/?#[]%\"<>",
    "x" * 300,
    "\t\r\n",
)
"""Values of a text."""


def parts_equal(
    name: str, context: EscapeContext, *, change: dict[str, Any], strict: bool = False, limit: int = LIMIT
) -> bool:
    """Whether the text of a placeholder alone is written; it is that of the reference then."""
    paths, _ = field_paths(name, {"loan_transaction": EventName("")})
    segments: tuple[Segment, ...] = ("<", NamedPlaceholder(name, context, paths, None), ">")
    fields, text = {**make_event().fields, **change}, Text(None, segments, None)
    found = native_parts(text, fields, "loan_transaction", strict=strict, limit=limit)
    assert found is None or found == parts_of(text, fields, "loan_transaction", strict=strict, limit=limit)
    return found is not None


def transaction(**change: Any) -> dict[str, Any]:
    """A change of an event."""
    return {"transaction": {**make_event().fields["transaction"], **change}}


@pytest.mark.parametrize("context", EscapeContext)
def test_texts(context: EscapeContext) -> None:
    """In C or not, none is another one; most are written, but for those that are no phone number."""
    written = [value for value in HOSTILE if parts_equal("CORRELATION_ID", context, change={"correlationId": value})]

    assert len(written) > (0 if context is EscapeContext.PHONE else len(HOSTILE) // 3)


@pytest.mark.parametrize("context", EscapeContext)
@pytest.mark.parametrize("strict", [True, False])
def test_a_missing_value(context: EscapeContext, strict: bool) -> None:
    """What stands for it depends on the context; under `strict` nothing does."""
    written = parts_equal("CORRELATION_ID", context, change={"correlationId": None}, strict=strict)

    assert written == (not strict and CONTEXTS[context].missing is not None)


@pytest.mark.parametrize("currency", ["EUR", "JPY", "KWD", "CLF", "XXXX", ""])
@pytest.mark.parametrize(
    "amount",
    [
        0,
        1,
        -1,
        5 * 10**9,
        -(10**10),
        123_450_000_000,
        6 * 10**35 - 1,
        -(10**35) - 7,
        12_000_000_000_000_000_000 * 10**10,
    ],
)
def test_amounts(currency: str, amount: int) -> None:
    """Of ten digits behind the point in the record; of as many as the currency has at least in the text."""
    value = Decimal(f"{amount}E-10")  # scaleb would round to 28 digits
    change = transaction(amount=value, currencyCode=currency)

    for context in (EscapeContext.TEXT, EscapeContext.JSON_VALUE, EscapeContext.MAIL_BODY):
        assert parts_equal("TRANSACTION_AMOUNT", context, change=change)
    assert parts_equal("TAX_PERCENT", EscapeContext.TEXT, change=transaction(taxPercent=value))


@pytest.mark.parametrize(
    "day", ["0020-03-01", "0400-02-29", "1600-12-31", "1900-02-28", "1970-01-01", "2000-02-29", "4000-12-31"]
)
@pytest.mark.parametrize("context", [EscapeContext.TEXT, EscapeContext.JSON_VALUE, EscapeContext.URL])
def test_days(day: str, context: EscapeContext) -> None:
    """With four digits of the year."""
    assert parts_equal("TRANSACTION_DATE", context, change=transaction(date=date.fromisoformat(day)))


@pytest.mark.parametrize("year", [1900, 2000, 2023, 2024, 2100])
def test_first_and_last_days_of_months(year: int) -> None:
    """Of years that have a 29th of February, and that have none."""
    firsts = [date(year, month, 1) for month in range(1, 13)]
    for day in (*firsts, *(first - timedelta(days=1) for first in firsts)):
        assert parts_equal("TRANSACTION_DATE", EscapeContext.TEXT, change=transaction(date=day)), day


@pytest.mark.parametrize("context", EscapeContext)
def test_symbols(context: EscapeContext) -> None:
    """Each is escaped once, when the text is planned."""
    for kind in ("REPAYMENT", "FEE_CHARGED"):
        assert parts_equal("TRANSACTION_TYPE", context, change=transaction(type=kind)) or context not in NATIVE_CONTEXTS


@pytest.mark.parametrize("limit", [2, 301, 302, 303])
def test_the_limit_is_in_characters(limit: int) -> None:
    """Of 300 letters of two bytes, between two signs."""
    written = parts_equal("CORRELATION_ID", EscapeContext.TEXT, change={"correlationId": "é" * 300}, limit=limit)

    assert written == (limit >= 302)


@pytest.mark.parametrize("context", NATIVE_CONTEXTS)
@pytest.mark.parametrize("name", ["CLIENT_NAME", "TRANSACTION_AMOUNT", "TAX_PERCENT", "VALUE_DATE", "TRANSACTION_TYPE"])
def test_what_is_written_in_c(name: str, context: EscapeContext) -> None:
    """Each type that has a text of its own, in each context that C escapes; all else the closures of `plain` write."""
    paths, _ = field_paths(name, {"loan_transaction": EventName("")})
    text = Text(None, (NamedPlaceholder(name, context, paths, None),), None)
    (operation,) = text_program(text.body, "loan_transaction").operations
    read = set(read_paths(text, "loan_transaction"))
    values, _ = scanned(make_event().fields, "loan_transaction", read, UTC)

    assert native_operation(operation, values, native(), TextLimits(100, 100, strict=False)) is not None
