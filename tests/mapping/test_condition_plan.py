"""Planned conditions: true of the same events as the reference's, and described by the same words."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.domain.catalogue import EVENTS, FAMILIES
from processor.domain.event import Fields, value_at
from processor.domain.placeholders import placeholders_of
from processor.domain.record import EventName
from processor.domain.template import Condition, Match, OperandType, Operator
from processor.mapping.condition_plan import ConditionPlanner
from processor.mapping.conditions import OPERAND_TYPES, first_false
from processor.mapping.recipient import holder_of
from processor.mapping.values import Scope
from processor.templates.compile_conditions import OPERATORS, compile_condition
from tests.support.builders import make_condition, make_event
from tests.support.laws import examples
from tests.support.plans import FieldValues, any_event

ZONES = (UTC, ZoneInfo("Asia/Tokyo"), ZoneInfo("America/Los_Angeles"))
EVENT_OF_FAMILY = {row.family: name for name, row in EVENTS.items()}  # one of each family

OPERANDS = {  # type -> operands of which some are true of ordinary values, and some of odd ones
    OperandType.STRING: ("a", "A", "0", "STRASSE", "ß", "İ", "é", "e\u0301", " ", "1e3", "true", "2026-03-14"),
    OperandType.ENUM: ("a", "LOAN", "active", "LOAN_REPAYMENT"),
    OperandType.BOOLEAN: ("true", "FALSE"),
    OperandType.NUMBER: ("-1", "0", "3", "100.5"),
    OperandType.BIG_DECIMAL: ("-9999999999999999999999999999.9999999999", "0", "0.0000000001", "1e3"),
    OperandType.MONEY: ("-0.01", "0", "12.5", "9999999999999999999999999999"),
    OperandType.DATE: ("0001-01-01", "2000-01-01", "2026-03-14", "9999-12-31"),
    OperandType.DATE_TIME: ("2000-01-01", "2000-01-01T00:00:00Z", "2026-03-14T23:30:00+09:00", "9999-12-31T23:59:59Z"),
}
CUSTOM_FIELDS = ("CF:CLIENT:Segment", "CF:Segment", "CF:LOAN:Risk Score", "CF:BRANCH:Região")


def first_false_of_plan(
    conditions: Sequence[Condition], match: Match, family: str, fields: Fields, *, zone: tzinfo = UTC
) -> str | None:
    """What the plan of these conditions gives."""
    return ConditionPlanner(family, FieldValues(zone), zone).first_false(conditions, match)(fields)


@st.composite
def any_condition(draw: st.DrawFn, family: str, fields: Fields) -> Condition:
    """A condition of any operator on a placeholder or custom field of `family`; often with the event's own value."""
    operator = draw(st.sampled_from(Operator))
    rows = placeholders_of(family)
    fitting = [name for name, row in rows.items() if OPERAND_TYPES[row.type] in OPERATORS[operator].types]
    field = draw(st.sampled_from([*sorted(fitting), *CUSTOM_FIELDS]))
    if field in rows:
        kind, value = OPERAND_TYPES[rows[field].type], value_at(rows[field].path, fields)
    else:
        kind = draw(st.sampled_from(sorted(OPERATORS[operator].types & OPERANDS.keys()) or [OperandType.STRING]))
        value = next(iter((fields["customFields"] or {}).values()), None)
    own = () if value is None else (value.isoformat() if isinstance(value, date) else str(value),)
    operand = st.sampled_from(
        ["1", "7", "36500"] if operator is Operator.LAST_DAYS else [*OPERANDS.get(kind, ()), *own]
    )
    count = 3 if operator is Operator.IN else 1
    operands = {name: draw(st.lists(operand, min_size=1, max_size=count)) for name in OPERATORS[operator].operands}
    condition, _ = compile_condition(field, operator, operands, families={family: EVENT_OF_FAMILY[family]})
    return (
        make_condition("EVENT_ID", "NOT_EMPTY", families={family: EVENT_OF_FAMILY[family]})
        if condition is None
        else condition
    )


@given(
    data=st.data(), family=st.sampled_from(sorted(FAMILIES)), match=st.sampled_from(Match), zone=st.sampled_from(ZONES)
)
@settings(max_examples=examples(250), suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
def test_planned_conditions_are_those_of_the_reference(
    data: st.DataObject, family: str, match: Match, zone: tzinfo
) -> None:
    """Any operator on any field of any family, alone and with others: the same ones are false, of the same value."""
    event = data.draw(any_event(family))
    holder = holder_of(event)
    fields = {**event.fields, "recipient": None if holder is None else holder.fields}
    conditions = data.draw(st.lists(any_condition(family, fields), max_size=3))

    assert first_false(conditions, match, Scope(family, fields, zone)) == first_false_of_plan(
        conditions, match, family, fields, zone=zone
    )


NOW = datetime(2026, 3, 14, tzinfo=UTC)
MOMENTS = st.integers(-1_500, 1_500).map(lambda minutes: NOW + timedelta(minutes=minutes))
DAYS = st.dates(date(2026, 3, 12), date(2026, 3, 16))
NEAR: dict[OperandType, st.SearchStrategy[Any]] = {  # type -> values that are often equal, or next to each other
    OperandType.STRING: st.sampled_from(["", "a", "A", "ab", "é", "e\u0301", "É", "ß", "SS"]),
    OperandType.BOOLEAN: st.booleans(),
    OperandType.BIG_DECIMAL: st.integers(-2, 2).map(lambda number: Decimal(number) / 10),
    OperandType.DATE: DAYS,
    OperandType.DATE_TIME: MOMENTS,
}


@given(
    data=st.data(),
    operator=st.sampled_from(Operator),
    operand_kind=st.sampled_from(sorted(NEAR)),
    kind=st.sampled_from([None, *sorted(NEAR)]),
    zone=st.sampled_from(ZONES),
)
@settings(max_examples=examples(1_000))
def test_custom_fields_near_their_operands(
    data: st.DataObject, operator: Operator, operand_kind: OperandType, kind: OperandType | None, zone: tzinfo
) -> None:
    """A value of any type with operands of any type: what cannot be compared is false in both, ends of ranges are the
    same, and days are those of the time zone."""
    texts = NEAR[operand_kind].map(lambda value: value.isoformat() if isinstance(value, date) else str(value))
    operand = st.sampled_from(["1", "7"]) if operator is Operator.LAST_DAYS else texts
    operands = {name: [data.draw(operand)] for name in OPERATORS[operator].operands}
    condition, _ = compile_condition(
        "CF:LOAN:x", operator, operands, families={"loan_transaction": EventName("LOAN_REPAYMENT")}
    )
    value = None if kind is None else data.draw(NEAR[kind])
    fields = {"occurredAt": data.draw(MOMENTS), "customFields": {"LOAN:x": value}}

    if condition is not None:
        expected = first_false([condition], Match.ALL, Scope("loan_transaction", fields, zone))

        assert expected == first_false_of_plan([condition], Match.ALL, "loan_transaction", fields, zone=zone)


LATE = datetime(2026, 3, 14, 23, 30, tzinfo=UTC)  # in Tokyo already the 15th
FIELDS: dict[OperandType, tuple[str, list[str], list[Any]]] = {  # type -> a field, operands, values beside them
    OperandType.STRING: ("ACCOUNT_NAME", ["a", "é"], ["", "a", "A", "ab", "e\u0301"]),
    OperandType.ENUM: ("ACCOUNT_STATE", ["a", "B"], ["", "a", "A", "B"]),
    OperandType.NUMBER: ("NUMBER_OF_INSTALLMENTS", ["0", "3"], [-1, 0, 2, 3, 4]),
    OperandType.BIG_DECIMAL: ("INTEREST_RATE", ["0", "4.5"], [Decimal("-0.1"), Decimal("0E-10"), Decimal("4.50")]),
    OperandType.MONEY: ("TRANSACTION_AMOUNT", ["0", "4.5"], [Decimal("0"), Decimal("4.5"), Decimal("4.51")]),
    OperandType.DATE: (
        "TRANSACTION_DATE",
        ["2026-03-14", "2026-03-15"],
        [date(2026, 3, 8), date(2026, 3, 14), date(2026, 3, 15), date(2026, 3, 16)],
    ),
    OperandType.DATE_TIME: (
        "ENTRY_DATE",
        ["2026-03-14", "2026-03-15", "2026-03-14T23:30:00Z", "2026-03-15T09:00:00+09:00"],
        [LATE, LATE + timedelta(minutes=30), LATE + timedelta(days=1), LATE - timedelta(days=1)],
    ),
    OperandType.TABLE: ("REPAYMENT_SCHEDULE", [], [[], [{}], [{}, {}]]),
}


def conditions_on(kind: OperandType, operator: Operator) -> Iterator[Condition]:
    """All conditions of FIELDS by `operator` on the field of type `kind`; none where it is not for that."""
    field, texts, _ = FIELDS[kind]
    if operator is Operator.LAST_DAYS:
        texts = ["1", "7"]
    names = OPERATORS[operator].operands
    for operands in product(texts, repeat=len(names)):
        condition, _ = compile_condition(
            field,
            operator,
            {name: [operand] for name, operand in zip(names, operands, strict=True)},
            families={"loan_transaction": EventName("LOAN_REPAYMENT")},
        )
        if condition is not None:
            yield condition


def fields_with(kind: OperandType, value: Any) -> Fields:
    """An event at LATE with `value` in the field of type `kind`."""
    *way, last = placeholders_of("loan_transaction")[FIELDS[kind][0]].path
    fields: dict[str, Any] = {last: value}
    for step in reversed(way):
        fields = {step: fields}
    return {"occurredAt": LATE, **fields}


@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("operator", Operator)
def test_each_operator_on_each_type(operator: Operator, kind: OperandType) -> None:
    """At, below and above each operand, and without a value; on the days of each time zone."""
    for condition, value, zone in product(conditions_on(kind, operator), [None, *FIELDS[kind][2]], ZONES):
        fields = fields_with(kind, value)
        expected = first_false([condition], Match.ALL, Scope("loan_transaction", fields, zone))

        assert expected == first_false_of_plan([condition], Match.ALL, "loan_transaction", fields, zone=zone)


@pytest.mark.parametrize("url", [None, "", "https://portal.example/secret"])
def test_a_secret_is_not_described(url: str | None) -> None:
    """As the reference does, a plan says of a secret only whether it is there."""
    condition = make_condition(
        "PASSWORD_URL", "STARTS_WITH", "http:", families={"portal": EventName("PORTAL_ACTIVATED")}
    )
    fields = {"passwordUrl": url}
    found = first_false_of_plan([condition], Match.ALL, "portal", fields)

    assert first_false([condition], Match.ALL, Scope("portal", fields, UTC)) == found
    assert found is not None
    assert "secret" not in found.replace("its value is secret", "")


def test_conditions_of_the_samples() -> None:
    """So that equality is not that of constants: one holds, one does not, and the words are there."""
    fields = make_event().fields
    holding = make_condition("TRANSACTION_AMOUNT", "MORE_THAN", "0")
    failing = make_condition("ACCOUNT_ID", "EQUALS", "x")

    assert first_false_of_plan([holding], Match.ALL, "loan_transaction", fields) is None
    assert first_false_of_plan([failing, holding], Match.ANY, "loan_transaction", fields) is None
    assert (
        first_false_of_plan([holding, failing], Match.ALL, "loan_transaction", fields)
        == "condition 2: ACCOUNT_ID EQUALS 'x'; the value is 'LN-204417'"
    )
