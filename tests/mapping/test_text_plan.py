"""Planned texts: what their operations say of types and contexts, and that they are those of the reference or none."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.domain.catalogue import FAMILIES
from processor.domain.channel import ContentType
from processor.domain.placeholders import PlaceholderType, placeholders_of
from processor.domain.record import EventName
from processor.domain.template import (
    CustomFieldPlaceholder,
    EscapeContext,
    FieldPath,
    NamedPlaceholder,
    Segment,
    Text,
)
from processor.domain.value_format import (
    PATTERN_ARGUMENT,
    FormatFunction,
    ValueFormat,
    parse_format,
)
from processor.mapping.escape import EscapeError, escape
from processor.mapping.plain_text import TextPlanner
from processor.mapping.recipient import holder_of
from processor.mapping.render import Rendered, render
from processor.mapping.table_formats import TABLE_COLUMNS
from processor.mapping.text_plan import (
    ALPHABETS,
    CONTEXTS,
    Alphabet,
    CustomFieldOperation,
    FieldOperation,
    TextProgram,
    text_program,
)
from processor.mapping.values import Scope, text_of
from processor.templates.text import field_paths, parse, parse_custom_field
from processor.templates.value_formats import format_error
from tests.support.builders import make_event
from tests.support.laws import examples
from tests.support.plans import FieldValues, any_event

LIMIT = 100_000
ZONES = (UTC, ZoneInfo("Asia/Tokyo"), ZoneInfo("America/Los_Angeles"))


# ---------------------------------------------------------------------------------------------------------- operations


MOMENTS = st.datetimes(timezones=st.just(UTC))
DECIMALS = st.integers(-(10**38) + 1, 10**38 - 1).map(lambda number: Decimal(f"{number}E-10"))
VALUES: Mapping[PlaceholderType, st.SearchStrategy[Any]] = {
    PlaceholderType.MONEY: DECIMALS,
    PlaceholderType.DECIMAL: DECIMALS,
    PlaceholderType.INTEGER: st.integers(-(2**63), 2**63 - 1),
    PlaceholderType.DATE: st.dates() | MOMENTS,
    PlaceholderType.TIMESTAMP: MOMENTS,
}


@given(data=st.data(), kind=st.sampled_from(sorted(VALUES)), zone=st.sampled_from(ZONES))
def test_texts_of_numbers_and_times_stand_as_they_are(data: st.DataObject, kind: PlaceholderType, zone: tzinfo) -> None:
    """Where a context keeps the alphabet of a type, no text of that type is changed, empty, or longer than 50."""
    currency = data.draw(st.sampled_from(["JPY", "CLF", None]))
    text = text_of(data.draw(VALUES[kind]), kind, currency=currency, time_zone=zone)
    keeping = {context for context, operation in CONTEXTS.items() if ALPHABETS[kind] in operation.keeps}

    # Outside of the quotes of JSON the reference writes numbers without escaping them.
    escaped = {context: escape(text, context) for context in keeping - {EscapeContext.JSON_VALUE}}

    assert dict.fromkeys(escaped, (text, 0)) == escaped
    assert 0 < len(text) <= 50
    assert ALPHABETS[kind] is Alphabet.NUMBER or EscapeContext.JSON_VALUE not in keeping


HOSTILE = st.text(
    st.sampled_from("&<>\"'\r\n\t\x00\x7f\x85\u2028\ufffe\ufeff@.,;:/+() -_~%#?aZ09é\u0301٣（日😀\\{}"), max_size=8
)


SIGNS = [chr(code) for code in (*range(0xD800), *range(0xE000, 0x10100))]


@pytest.mark.parametrize("context", EscapeContext)
def test_unchanged_signs_are_unchanged(context: EscapeContext) -> None:
    """A character that a context leaves unchanged is the same when the reference escapes it."""
    unchanged = CONTEXTS[context].unchanged
    kept = [] if unchanged is None else [sign for sign in SIGNS if unchanged.fullmatch(sign)]

    assert [(sign, 0) for sign in kept] == [escape(sign, context) for sign in kept]


@pytest.mark.parametrize("context", EscapeContext)
@given(text=HOSTILE | st.text(max_size=8))
@settings(max_examples=examples(300))
def test_unchanged_texts_are_unchanged(context: EscapeContext, text: str) -> None:
    """So is a whole text, which may mean more than its characters do: `..` is a step to another path."""
    unchanged = CONTEXTS[context].unchanged

    if unchanged is not None and unchanged.fullmatch(text):
        assert (text, 0) == escape(text, context)


@pytest.mark.parametrize("context", EscapeContext)
@given(text=HOSTILE | st.text(max_size=8))
@settings(max_examples=examples(300))
def test_escapes_are_shorter_only_where_they_may_be(context: EscapeContext, text: str) -> None:
    """All others are at least as long as the text, so that what has room escaped had room before."""
    try:
        escaped, _ = escape(text, context)
    except EscapeError:
        return

    assert CONTEXTS[context].may_shorten or len(escaped) >= len(text)


def test_a_program_joins_what_is_fixed() -> None:
    """Its constants stand before, between and behind its operations."""
    event = {"loan_transaction": EventName("LOAN_REPAYMENT")}
    segments, _ = parse('{"a": {{X}} "{ACCOUNT_ID}{CF:LOAN:x}"}', ContentType.TEXT, families=event)

    assert text_program(segments, "loan_transaction") == TextProgram(
        ('{"a": {{X}} "', "", '"}'),
        (
            FieldOperation(("account", "id"), PlaceholderType.STRING, (), EscapeContext.TEXT),
            CustomFieldOperation(parse_custom_field("LOAN:x"), EscapeContext.TEXT),
        ),
    )


# ------------------------------------------------------------------------------------------------------------ equality


def planned_text(
    text: Text, fields: Mapping[str, Any], family: str, *, zone: tzinfo = UTC, strict: bool = False, limit: int = LIMIT
) -> Rendered | None:
    """What the plan of `text` gives."""
    planner = TextPlanner(
        family=family, values=FieldValues(zone), time_zone=zone, strict=strict, limit_characters=limit
    )
    parts = planner.parts(text)(fields)
    return None if parts is None else Rendered(*parts)


def rendered_text(
    text: Text, fields: Mapping[str, Any], family: str, *, zone: tzinfo = UTC, strict: bool = False, limit: int = LIMIT
) -> Rendered | None:
    """What the reference gives; None where it fails, or replaces a character."""
    rendered = render(text, Scope(family, fields, zone), strict=strict, limit_characters=limit)
    return rendered if isinstance(rendered, Rendered) and not rendered.replaced else None


def _format(function: FormatFunction, pattern: str, locale: str) -> ValueFormat:
    return parse_format(function, f"X,{PATTERN_ARGUMENT[function]}={pattern}", locale=locale)[1]


FORMATS = (
    _format(FormatFunction.NUMBER, "¤¤ #,##0.00;(#)", "pt-PT"),
    _format(FormatFunction.NUMBER, "0.0 ¤¤¤", "ar"),
    _format(FormatFunction.DATE, "EEEE, d. MMMM y, w", "de"),
    _format(FormatFunction.DATE, "HH:mm b 'o''clock' yyyy", "hi-u-nu-deva"),
)
FORMATS_OF = {kind: [each for each in FORMATS if not format_error(each, [kind])] for kind in PlaceholderType}
CUSTOM_FIELDS = tuple(
    map(
        parse_custom_field,
        ("CLIENT:Segment", "Segment", "Purpose", "CLIENT:Bank Account:2", "BRANCH:Região", "Risk Score"),
    )
)
LITERALS = ("", " ", "100 % %s %(a)s", '{"a": ', "é\n", "x" * 250)


@st.composite
def any_segment(draw: st.DrawFn, family: str) -> Segment:
    """Literal text, or a placeholder of `family` in any context, sensible there or not."""
    kind = draw(st.sampled_from(["literal", "custom field", "field", "field", "field"]))
    if kind == "literal":
        return draw(st.sampled_from(LITERALS))
    context = draw(st.sampled_from(EscapeContext))
    if kind == "custom field":
        return CustomFieldPlaceholder(draw(st.sampled_from(CUSTOM_FIELDS)), context)
    name = draw(st.sampled_from(sorted(placeholders_of(family))))
    paths, _ = field_paths(name, {family: EventName("")})
    return NamedPlaceholder(name, context, paths, draw(st.sampled_from([None, None, *FORMATS_OF[paths[family].type]])))


@st.composite
def any_text(draw: st.DrawFn, family: str) -> Text:
    """A text of a few segments, with or without subject and address."""
    line = st.lists(any_segment(family), max_size=5).map(tuple)
    return Text(draw(st.none() | line), draw(line), draw(st.none() | line))


@st.composite
def any_fields(draw: st.DrawFn, family: str) -> Mapping[str, Any]:
    """What a scope has of an event of `family`: its holder, if there is one, is the recipient or nobody is."""
    event = draw(any_event(family))
    holder = holder_of(event)
    recipient = None if holder is None else draw(st.sampled_from([holder.fields, None]))
    return {**event.fields, "recipient": recipient}


@given(data=st.data(), family=st.sampled_from(sorted(FAMILIES)), zone=st.sampled_from(ZONES), strict=st.booleans())
@settings(max_examples=examples(120), suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
def test_a_planned_text_is_that_of_the_reference(data: st.DataObject, family: str, zone: tzinfo, strict: bool) -> None:
    """Any placeholders of any family, anywhere: character by character, and refused only where the reference fails or
    replaces a character."""
    text, fields = data.draw(any_text(family)), data.draw(any_fields(family))

    assert rendered_text(text, fields, family, zone=zone, strict=strict) == planned_text(
        text, fields, family, zone=zone, strict=strict
    )


@given(data=st.data(), family=st.sampled_from(sorted(FAMILIES)), limit=st.integers(0, 600))
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
def test_a_planned_text_over_the_limit_is_refused(data: st.DataObject, family: str, limit: int) -> None:
    """Near the limit a plan may refuse more than the reference, and never writes more."""
    text, fields = data.draw(any_text(family)), data.draw(any_fields(family))

    assert planned_text(text, fields, family, limit=limit) in (None, rendered_text(text, fields, family, limit=limit))


@pytest.mark.parametrize("context", EscapeContext)
@given(value=HOSTILE, is_custom=st.booleans(), strict=st.booleans())
@settings(max_examples=examples(300))
def test_hostile_texts(context: EscapeContext, value: str, is_custom: bool, strict: bool) -> None:
    """Whatever a text holds, it stands in each context as the reference writes it, or is refused."""
    field = CustomFieldPlaceholder(CUSTOM_FIELDS[0], context)
    name = NamedPlaceholder("X", context, {"client": FieldPath(("client", "id"), PlaceholderType.STRING)})
    text = Text(None, ("<", field if is_custom else name, ">"))
    fields = {"client": {"id": value}, "customFields": {"CLIENT:Segment": value}}

    assert rendered_text(text, fields, "client", strict=strict) == planned_text(text, fields, "client", strict=strict)


@pytest.mark.parametrize("context", EscapeContext)
@given(value=st.none() | st.booleans() | DECIMALS | st.dates() | MOMENTS | HOSTILE)
@settings(max_examples=examples(100))
def test_custom_fields_of_each_type(context: EscapeContext, value: Any) -> None:
    """A custom field has the type of its value, in each context."""
    text = Text(None, (CustomFieldPlaceholder(CUSTOM_FIELDS[0], context),))
    fields = {"customFields": {"CLIENT:Segment": value}}

    assert rendered_text(text, fields, "client") == planned_text(text, fields, "client")


@pytest.mark.parametrize("context", EscapeContext)
@pytest.mark.parametrize("path", TABLE_COLUMNS)
def test_tables_in_each_context(path: tuple[str, ...], context: EscapeContext) -> None:
    """Both tables, with rows that have markup, money of two currencies and missing values."""
    family = {"schedule": "loan_account", "holds": "authorisation_hold"}[path[0]]
    source = FieldPath(path, PlaceholderType.TABLE, (("account", "currencyCode"),))
    text = Text(None, (NamedPlaceholder("X", context, {family: source}),))
    rows = [
        {"number": 1, "dueDate": date(2026, 3, 1), "totalBalance": Decimal("5"), "externalReferenceId": "a\t<&'\"\n>"},
        {"amount": Decimal("5"), "currencyCode": "TND", "card": {"token": "é"}},
    ]
    found = [
        planned_text(text, fields, family)
        for fields in ({path[0]: rows[:count], "account": {"currencyCode": "JPY"}} for count in range(3))
    ]
    expected = [
        rendered_text(text, fields, family)
        for fields in ({path[0]: rows[:count], "account": {"currencyCode": "JPY"}} for count in range(3))
    ]

    assert expected == found


def text_of_names(*names: str) -> Text:
    """A text for a loan's repayment: these placeholders in text."""
    segments, diagnostics = parse(
        "".join(names), ContentType.TEXT, families={"loan_transaction": EventName("LOAN_REPAYMENT")}
    )
    assert not diagnostics
    return Text(None, segments)


@pytest.mark.parametrize(
    ("length", "count", "is_refused"),
    [
        (256, 1, False),
        (256, 1_000, True),
        (50_000, 2, False),
        (50_001, 2, True),
        (100_000, 1, False),
        (100_001, 1, True),
    ],
)
def test_long_texts(length: int, count: int, is_refused: bool) -> None:
    """A value that is no longer than its share of the limit, or short, is written; of a longer one no copy is made."""
    fields = make_event(account__name="x" * length).fields
    text = text_of_names(*["{ACCOUNT_NAME}"] * count)

    assert is_refused == (planned_text(text, fields, "loan_transaction") is None)


def test_subjects_are_one_line() -> None:
    """Control characters become spaces, and the end is cut, as the reference does."""
    fields = make_event(account__name="a\nb\u2028c\u200b " + "é" * 300).fields
    text = replace(text_of_names("{ACCOUNT_NAME}"), subject=text_of_names("{ACCOUNT_NAME}").body)
    found = planned_text(text, fields, "loan_transaction")

    assert rendered_text(text, fields, "loan_transaction") == found
    assert found is not None
    assert found.subject == "a b c\u200b " + "é" * 248
