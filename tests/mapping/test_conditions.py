"""Conditions: each operator on each type, what is missing or cannot be compared, and what is wrong with one."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.placeholders import PlaceholderType, placeholders_of
from processor.domain.record import EventName
from processor.domain.template import Condition, Match, OperandType, Operator
from processor.mapping.conditions import OPERAND_TYPES, first_false, holds
from processor.mapping.values import Scope
from processor.templates.compile_conditions import OPERATORS, compile_condition
from tests.support.builders import make_condition, make_event

REPAYMENT = {"loan_transaction": EventName("LOAN_REPAYMENT")}
NOW = datetime(2026, 3, 14, 23, 30, tzinfo=UTC)  # a Saturday; in Lisbon as in UTC, in Athens already Sunday the 15th
FIELDS = {  # a field of each type that placeholders have, and where its value is
    OperandType.STRING: ("ACCOUNT_NAME", ("account", "name")),
    OperandType.ENUM: ("ACCOUNT_STATE", ("account", "state")),
    OperandType.NUMBER: ("NUMBER_OF_INSTALLMENTS", ("account", "loan", "numberOfInstallments")),
    OperandType.BIG_DECIMAL: ("INTEREST_RATE", ("account", "interestRate")),
    OperandType.MONEY: ("TRANSACTION_AMOUNT", ("transaction", "amount")),
    OperandType.DATE: ("TRANSACTION_DATE", ("transaction", "date")),
    OperandType.DATE_TIME: ("ENTRY_DATE", ("transaction", "entryDate")),
    OperandType.TABLE: ("REPAYMENT_SCHEDULE", ("schedule",)),
}


def scope(value: Any = None, kind: OperandType | None = None, *, zone: tzinfo = UTC, **custom: Any) -> Scope:
    """An event at NOW with `value` in the field of `kind`, and custom fields of the loan."""
    fields: dict[str, Any] = {
        "occurredAt": NOW,
        "customFields": {f"LOAN:{name}": item for name, item in custom.items()},
    }
    if kind is not None:
        node = fields
        *way, last = FIELDS[kind][1]
        for step in way:
            node = node.setdefault(step, {})
        node[last] = value
    return Scope("loan_transaction", fields, zone)


def condition(operator: str, *operands: str, on: OperandType) -> Condition:
    return make_condition(FIELDS[on][0], operator, *operands)


def custom(operator: str, *operands: str) -> Condition:
    return make_condition("CF:LOAN:x", operator, *operands)


def test_fields_are_of_their_types() -> None:
    """The fields that the tests below compare are the placeholders of those types, at those places."""
    rows = placeholders_of("loan_transaction")

    assert {kind: (name, rows[name].path) for kind, (name, _) in FIELDS.items()} == FIELDS
    assert {kind: OPERAND_TYPES[rows[name].type] for kind, (name, _) in FIELDS.items()} == {
        kind: kind for kind in FIELDS
    }
    assert set(PlaceholderType) == OPERAND_TYPES.keys()


DAY = date(2026, 3, 14)
D = Decimal


@pytest.mark.parametrize(
    ("kind", "value", "operator", "operands", "expected"),
    [
        (OperandType.STRING, "Straße", "EQUALS", ["STRASSE"], True),
        (OperandType.STRING, "Straße", "EQUALS", ["STRASS"], False),
        (OperandType.STRING, "Straße", "EQUALS_CASE_SENSITIVE", ["STRASSE"], False),
        (OperandType.STRING, "Straße", "EQUALS_CASE_SENSITIVE", ["Straße"], True),
        (OperandType.STRING, "Ada", "DIFFERENT_THAN", ["ada"], False),
        (OperandType.STRING, "Ada", "DIFFERENT_THAN", ["Adam"], True),
        (OperandType.STRING, "Ada Byron", "STARTS_WITH", ["ADA b"], True),
        (OperandType.STRING, "Ada Byron", "STARTS_WITH", ["da"], False),
        (OperandType.STRING, "Ada Byron", "STARTS_WITH_CASE_SENSITIVE", ["ADA"], False),
        (OperandType.STRING, "Ada Byron", "STARTS_WITH_CASE_SENSITIVE", ["Ada"], True),
        (OperandType.STRING, "Ada", "IN", ["bob", "ADA"], True),
        (OperandType.STRING, "Ada", "IN", ["bob"], False),
        (OperandType.STRING, " ", "EMPTY", [], False),
        (OperandType.STRING, "Ada", "NOT_EMPTY", [], True),
        (OperandType.ENUM, "ACTIVE", "EQUALS", ["active"], True),
        (OperandType.ENUM, "ACTIVE", "EQUALS_CASE_SENSITIVE", ["active"], False),
        (OperandType.ENUM, "ACTIVE", "DIFFERENT_THAN", ["CLOSED"], True),
        (OperandType.ENUM, "ACTIVE", "IN", ["CLOSED", "ACTIVE"], True),
        (OperandType.ENUM, "ACTIVE", "IN", ["CLOSED", "LOCKED"], False),
        (OperandType.ENUM, "ACTIVE", "EMPTY", [], False),
        (OperandType.NUMBER, 24, "EQUALS", ["24"], True),
        (OperandType.NUMBER, 24, "EQUALS", ["24.00"], True),
        (OperandType.NUMBER, 24, "EQUALS_CASE_SENSITIVE", ["23"], False),
        (OperandType.NUMBER, 24, "DIFFERENT_THAN", ["24"], False),
        (OperandType.NUMBER, 24, "MORE_THAN", ["23.5"], True),
        (OperandType.NUMBER, 24, "LESS_THAN", ["24"], False),
        (OperandType.NUMBER, 24, "BETWEEN", ["24", "24"], True),
        (OperandType.NUMBER, 0, "EMPTY", [], False),
        (OperandType.NUMBER, 0, "NOT_EMPTY", [], True),
        (OperandType.BIG_DECIMAL, D("4.5000000000"), "EQUALS", ["4.5"], True),
        (OperandType.BIG_DECIMAL, D("4.5"), "DIFFERENT_THAN", ["4.50"], False),
        (OperandType.BIG_DECIMAL, D("-4.5"), "LESS_THAN", ["-4.4"], True),
        (OperandType.BIG_DECIMAL, D("4.5"), "BETWEEN", ["4.6", "5"], False),
        (OperandType.MONEY, D("218.24"), "EQUALS", ["218.24"], True),
        (
            OperandType.MONEY,
            D("1234567890123456789012345678.0000000001"),
            "EQUALS",
            ["1234567890123456789012345678"],
            False,
        ),
        (
            OperandType.MONEY,
            D("1234567890123456789012345678.0000000001"),
            "MORE_THAN",
            ["1234567890123456789012345678"],
            True,
        ),
        (OperandType.MONEY, D("218.24"), "MORE_THAN", ["218.24"], False),
        (OperandType.MONEY, D("218.24"), "LESS_THAN", ["218.25"], True),
        (OperandType.MONEY, D("218.24"), "BETWEEN", ["218.24", "300"], True),
        (OperandType.MONEY, D("218.24"), "BETWEEN", ["100", "218.24"], True),
        (OperandType.MONEY, D("218.24"), "BETWEEN", ["218.25", "300"], False),
        (OperandType.MONEY, D("218.24"), "NOT_EMPTY", [], True),
        (OperandType.DATE, DAY, "ON", ["2026-03-14"], True),
        (OperandType.DATE, DAY, "ON", ["2026-03-15"], False),
        (OperandType.DATE, DAY, "AFTER", ["2026-03-13"], True),
        (OperandType.DATE, DAY, "AFTER", ["2026-03-14"], False),
        (OperandType.DATE, DAY, "BEFORE", ["2026-03-15"], True),
        (OperandType.DATE, DAY, "BEFORE", ["2026-03-14"], False),
        (OperandType.DATE, DAY, "BEFORE_INCLUSIVE", ["2026-03-14"], True),
        (OperandType.DATE, DAY, "BEFORE_INCLUSIVE", ["2026-03-13"], False),
        (OperandType.DATE, DAY, "BETWEEN", ["2026-03-14", "2026-03-20"], True),
        (OperandType.DATE, DAY, "BETWEEN", ["2026-03-01", "2026-03-14"], True),
        (OperandType.DATE, DAY, "BETWEEN", ["2026-03-15", "2026-03-20"], False),
        (OperandType.DATE, DAY, "NOT_EMPTY", [], True),
        (OperandType.DATE_TIME, NOW, "ON", ["2026-03-14"], True),
        (OperandType.DATE_TIME, NOW, "ON", ["2026-03-15T01:30:00+02:00"], True),
        (OperandType.DATE_TIME, NOW, "ON", ["2026-03-14T23:30:01Z"], False),
        (OperandType.DATE_TIME, NOW, "AFTER", ["2026-03-14"], False),
        (OperandType.DATE_TIME, NOW, "AFTER", ["2026-03-14T23:29:59.999999Z"], True),
        (OperandType.DATE_TIME, NOW, "BEFORE", ["2026-03-14T23:30:00Z"], False),
        (OperandType.DATE_TIME, NOW, "BEFORE_INCLUSIVE", ["2026-03-14T23:30:00Z"], True),
        (OperandType.DATE_TIME, NOW, "BEFORE_INCLUSIVE", ["2026-03-14"], True),
        (OperandType.DATE_TIME, NOW, "BETWEEN", ["2026-03-14", "2026-03-14T23:30:00Z"], True),
        (OperandType.DATE_TIME, NOW, "BETWEEN", ["2026-03-14T23:30:00.000001Z", "2026-03-20"], False),
        (OperandType.TABLE, [{"number": 7}], "EMPTY", [], False),
        (OperandType.TABLE, [{"number": 7}], "NOT_EMPTY", [], True),
    ],
)
def test_what_an_operator_means(
    kind: OperandType, value: Any, operator: str, operands: list[str], expected: bool
) -> None:
    """Each operator on each type that it is for: case, ends of ranges, exact numbers, days and moments."""
    assert expected == holds(condition(operator, *operands, on=kind), scope(value, kind))


@pytest.mark.parametrize("kind", [OperandType.DATE, OperandType.DATE_TIME])
@pytest.mark.parametrize(
    ("operator", "operands", "holding", "failing"),
    [
        ("TODAY", [], ["2026-03-14"], ["2026-03-13", "2026-03-15", "2025-03-14"]),
        ("THIS_WEEK", [], ["2026-03-09", "2026-03-15"], ["2026-03-08", "2026-03-16", "2025-03-14"]),
        ("THIS_MONTH", [], ["2026-03-01", "2026-03-31"], ["2026-02-28", "2026-04-01", "2025-03-14"]),
        ("THIS_YEAR", [], ["2026-01-01", "2026-12-31"], ["2025-12-31", "2027-01-01"]),
        ("LAST_DAYS", ["1"], ["2026-03-14"], ["2026-03-13", "2026-03-15"]),
        ("LAST_DAYS", ["7"], ["2026-03-08", "2026-03-14"], ["2026-03-07", "2026-03-15", "0001-01-01"]),
        ("LAST_DAYS", ["36500"], ["1926-04-09"], ["1926-04-08", "9999-12-31"]),
    ],
)
def test_days_from_today(
    kind: OperandType, operator: str, operands: list[str], holding: list[str], failing: list[str]
) -> None:
    """Periods are those of the event's day, a week from Monday to Sunday; days to come are in no LAST_DAYS."""

    def value(day: str) -> date:
        return date.fromisoformat(day) if kind is OperandType.DATE else datetime.fromisoformat(f"{day}T23:59:59Z")

    compiled = condition(operator, *operands, on=kind)

    assert [True] * len(holding) == [holds(compiled, scope(value(day), kind)) for day in holding]
    assert [False] * len(failing) == [holds(compiled, scope(value(day), kind)) for day in failing]


@pytest.mark.parametrize(
    ("zone", "today", "of_value"),
    [("UTC", "2026-03-14", "2026-03-14"), ("Europe/Athens", "2026-03-15", "2026-03-15")],
)
def test_days_are_those_of_the_time_zone(zone: str, today: str, of_value: str) -> None:
    """Today, and the day of a timestamp, are days in the installation's time zone; a moment is the same everywhere."""
    there = ZoneInfo(zone)
    moment = condition("ON", "2026-03-14T23:30:00Z", on=OperandType.DATE_TIME)

    assert holds(
        condition("TODAY", on=OperandType.DATE), scope(date.fromisoformat(today), OperandType.DATE, zone=there)
    )
    assert holds(condition("ON", of_value, on=OperandType.DATE_TIME), scope(NOW, OperandType.DATE_TIME, zone=there))
    assert holds(moment, scope(NOW, OperandType.DATE_TIME, zone=there))


# -------------------------------------------------------------------------------------------------------------- missing


@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("operator", Operator)
def test_a_missing_value(operator: Operator, kind: OperandType) -> None:
    """Of a value that is not there EMPTY and DIFFERENT_THAN hold, all else does not; an empty text is not there."""
    if kind not in OPERATORS[operator].types:
        return
    operand = {OperandType.DATE: "2026-03-14", OperandType.DATE_TIME: "2026-03-14"}.get(kind, "1")
    count = len(OPERATORS[operator].operands)
    compiled = condition(operator, *["1" if operator == "LAST_DAYS" else operand] * count, on=kind)
    missing = [scope(None, kind), scope()]
    if kind in (OperandType.STRING, OperandType.ENUM):
        missing.append(scope("", kind))
    if kind is OperandType.TABLE:
        missing.append(scope([], kind))

    assert {operator in ("EMPTY", "DIFFERENT_THAN")} == {holds(compiled, each) for each in missing}


# -------------------------------------------------------------------------------------------------------- custom fields


@pytest.mark.parametrize(
    ("value", "operator", "operands", "expected"),
    [
        ("Retail", "EQUALS", ["retail"], True),
        ("Retail", "STARTS_WITH", ["RET"], True),
        ("Retail", "IN", ["Retail", "Corporate"], True),
        (True, "EQUALS", ["true"], True),
        (True, "EQUALS", ["True"], True),
        (True, "EQUALS", ["1"], False),
        (False, "EQUALS_CASE_SENSITIVE", ["true"], False),
        (False, "DIFFERENT_THAN", ["true"], True),
        (False, "NOT_EMPTY", [], True),
        (D("0.83"), "EQUALS", ["0.830"], True),
        (D("0.83"), "MORE_THAN", ["0.8"], True),
        (DAY, "ON", ["2026-03-14"], True),
        (DAY, "TODAY", [], True),
        (NOW, "AFTER", ["2026-03-14T23:29:00Z"], True),
        (NOW, "LAST_DAYS", ["1"], True),
        (NOW, "BETWEEN", ["2026-03-14", "2026-03-14"], True),
        (None, "EMPTY", [], True),
        (None, "DIFFERENT_THAN", ["a"], True),
        (None, "EQUALS", ["a"], False),
    ],
)
def test_a_custom_field_has_the_type_of_its_value(
    value: Any, operator: str, operands: list[str], expected: bool
) -> None:
    """The same condition compares numbers as numbers, days as days and words as words."""
    assert expected == holds(custom(operator, *operands), scope(x=value))


@pytest.mark.parametrize(
    ("value", "operator", "operands", "kind"),
    [
        ("5", "MORE_THAN", ["3"], "STRING"),
        (D("5"), "STARTS_WITH", ["5"], "BIG_DECIMAL"),
        (D("5"), "DIFFERENT_THAN", ["a"], "BIG_DECIMAL"),
        (D("5"), "EQUALS", ["a"], "BIG_DECIMAL"),
        (True, "IN", ["true"], "BOOLEAN"),
        (True, "DIFFERENT_THAN", ["maybe"], "BOOLEAN"),
        (DAY, "EQUALS", ["2026-03-14"], "DATE"),
        (DAY, "AFTER", ["2026-03-13T00:00:00Z"], "DATE"),
        ("2026-03-14", "TODAY", [], "STRING"),
    ],
)
def test_conditions_on_incomparable_values_do_not_hold(
    value: Any, operator: str, operands: list[str], kind: str
) -> None:
    """A value of a type that the operator or its operands are not for: false, DIFFERENT_THAN too, and it is said."""
    compiled = custom(operator, *operands)
    text = first_false([compiled], Match.ALL, scope(x=value)) or ""

    assert not holds(compiled, scope(x=value))
    assert text.endswith(f", a {kind}, which cannot be compared so"), text


# ----------------------------------------------------------------------------------------------------------------- laws

WORDS = st.text(max_size=6)
AMOUNTS = st.decimals(-1000, 1000, places=2)
DAYS = st.dates(date(2024, 1, 1), date(2028, 1, 1))


@given(value=WORDS.filter(bool), operand=WORDS.filter(bool))
def test_equals_ignores_case(value: str, operand: str) -> None:
    """EQUALS is the same for a text and its folded form; DIFFERENT_THAN is its opposite, IN the EQUALS of any."""

    def is_true(operator: str, *operands: str) -> bool:
        return holds(condition(operator, *operands, on=OperandType.STRING), scope(value, OperandType.STRING))

    assert is_true("EQUALS", value)
    assert is_true("EQUALS", operand) == is_true("EQUALS", operand.casefold())
    assert is_true("EQUALS", operand) == (value.casefold() == operand.casefold())
    assert is_true("EQUALS", operand) != is_true("DIFFERENT_THAN", operand)
    assert is_true("IN", operand, "x") == (is_true("EQUALS", operand) or is_true("EQUALS", "x"))
    assert is_true("EQUALS", operand) or not is_true("EQUALS_CASE_SENSITIVE", operand)
    assert is_true("STARTS_WITH", operand) or not is_true("STARTS_WITH_CASE_SENSITIVE", operand)


@given(value=AMOUNTS, ends=st.tuples(AMOUNTS, AMOUNTS).map(sorted))
def test_between_numbers(value: Decimal, ends: list[Decimal]) -> None:
    """BETWEEN is neither less than its first end nor more than its second."""
    low, high = map(str, ends)
    seen = scope(value, OperandType.MONEY)
    outside = holds(condition("LESS_THAN", low, on=OperandType.MONEY), seen) or holds(
        condition("MORE_THAN", high, on=OperandType.MONEY), seen
    )

    assert outside != holds(condition("BETWEEN", low, high, on=OperandType.MONEY), seen)


MOMENTS = st.builds(lambda seconds: NOW + timedelta(seconds=seconds), st.integers(-(10**7), 10**7) | st.integers(-2, 2))


@given(value=MOMENTS, data=st.data())
def test_between_times(value: datetime, data: st.DataObject) -> None:
    """BETWEEN is neither before nor after, for days and moments, in any time zone; BEFORE_INCLUSIVE is not AFTER."""
    times = DAYS.map(date.isoformat) | st.sampled_from([NOW, value]).map(datetime.isoformat)
    low, high = data.draw(times), data.draw(times)
    if ("T" in low) == ("T" in high):
        low, high = sorted((low, high), key=datetime.fromisoformat)
    zone = data.draw(st.sampled_from([UTC, ZoneInfo("Asia/Tokyo"), ZoneInfo("America/Los_Angeles")]))
    seen = scope(value, OperandType.DATE_TIME, zone=zone)

    def is_true(operator: str, *operands: str) -> bool:
        return holds(condition(operator, *operands, on=OperandType.DATE_TIME), seen)

    assert (is_true("BEFORE", low) or is_true("AFTER", high)) != is_true("BETWEEN", low, high)
    assert is_true("BEFORE_INCLUSIVE", low) != is_true("AFTER", low)
    assert is_true("BEFORE_INCLUSIVE", low) == (is_true("BEFORE", low) or is_true("ON", low))


@given(day=DAYS, days=st.integers(1, 400))
def test_last_days(day: date, days: int) -> None:
    """LAST_DAYS n are the n days up to today, in each of them as long as n is large enough; TODAY is LAST_DAYS 1."""
    seen = scope(day, OperandType.DATE)
    expected = NOW.date() - timedelta(days=days) < day <= NOW.date()

    assert expected == holds(condition("LAST_DAYS", str(days), on=OperandType.DATE), seen)
    assert holds(condition("TODAY", on=OperandType.DATE), seen) == holds(
        condition("LAST_DAYS", "1", on=OperandType.DATE), seen
    )


@given(bits=st.lists(st.booleans(), max_size=5))
def test_all_and_any(bits: list[bool]) -> None:
    """ALL is and, ANY is or, and no condition at all is true."""
    compiled = [custom("EQUALS", "true" if bit else "false") for bit in bits]
    seen = scope(x=True)

    assert all(bits) == (first_false(compiled, Match.ALL, seen) is None)
    assert (any(bits) or not bits) == (first_false(compiled, Match.ANY, seen) is None)


ANYTHING: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.text(), st.booleans(), AMOUNTS, st.dates(), st.datetimes(timezones=st.just(UTC))
)


@given(value=ANYTHING, operator=st.sampled_from(Operator), texts=st.lists(WORDS, min_size=2, max_size=2))
def test_a_condition_never_raises(value: Any, operator: Operator, texts: list[str]) -> None:
    """Whatever a custom field holds and operands say, a condition is refused when it is loaded, or is true or false."""
    operands: Mapping[str, list[str]] = {
        name: [text] for name, text in zip(OPERATORS[operator].operands, texts, strict=False)
    }
    compiled, found = compile_condition("CF:LOAN:x", operator, operands, families=REPAYMENT)

    assert (compiled is None) == bool(found)
    if compiled is not None:
        assert holds(compiled, scope(x=value)) == (first_false([compiled], Match.ANY, scope(x=value)) is None)


# -------------------------------------------------------------------------------------------------------- descriptions


@pytest.mark.parametrize(
    ("conditions", "match", "expected"),
    [
        ([("ACCOUNT_ID", "EQUALS", "LN-204417"), ("TRANSACTION_AMOUNT", "LESS_THAN", "500")], "ALL", None),
        (
            [
                ("ACCOUNT_ID", "STARTS_WITH", "LN"),
                ("TRANSACTION_AMOUNT", "MORE_THAN", "500"),
                ("GROUP_NAME", "NOT_EMPTY"),
            ],
            "ALL",
            "condition 2: TRANSACTION_AMOUNT MORE_THAN 500; the value is 218.24",
        ),
        (
            [("GROUP_NAME", "EQUALS", "a"), ("TRANSACTION_AMOUNT", "MORE_THAN", "500")],
            "ANY",
            "none of them holds; condition 1: GROUP_NAME EQUALS 'a'; there is no value",
        ),
        ([("GROUP_NAME", "EQUALS", "a"), ("TRANSACTION_AMOUNT", "MORE_THAN", "5")], "ANY", None),
        (
            [("REPAYMENT_SCHEDULE", "EMPTY")],
            "ALL",
            "condition 1: REPAYMENT_SCHEDULE EMPTY; it has 1 row",
        ),
        (
            [("CLIENT_NAME", "IN", "Ada", "Bob")],
            "ALL",
            "condition 1: CLIENT_NAME IN 'Ada', 'Bob'; the value is 'Ines Duarte'",
        ),
        (
            [("TRANSACTION_DATE", "BETWEEN", "2026-01-01", "2026-01-31")],
            "ALL",
            "condition 1: TRANSACTION_DATE BETWEEN 2026-01-01, 2026-01-31; the value is 2026-03-14",
        ),
        (
            [("CF:LOAN:Insured", "DIFFERENT_THAN", "true")],
            "ANY",
            "condition 1: CF:LOAN:Insured DIFFERENT_THAN 'true'; the value is true",
        ),
    ],
)
def test_the_first_false_condition_is_named(
    conditions: list[tuple[str, ...]], match: str, expected: str | None
) -> None:
    """Of conditions that are not met the first false one is named, counted from 1, with the value that it had."""
    event = make_event("loan-repayment")
    seen = Scope(event.family, event.fields, UTC)

    assert expected == first_false([make_condition(*arguments) for arguments in conditions], Match(match), seen)


def test_long_values_are_truncated() -> None:
    """Of a value, and of the operands, no more than 64 characters are shown."""
    text = first_false(
        [condition("EQUALS", "o" * 100, on=OperandType.STRING)], Match.ALL, scope("v" * 100, OperandType.STRING)
    )

    assert f"condition 1: ACCOUNT_NAME EQUALS '{'o' * 62}…; the value is '{'v' * 64}'…" == text


def test_a_secret_is_never_shown() -> None:
    """A condition on the link to set a password says nothing of it."""
    families = {"portal": EventName("PORTAL_ACTIVATED")}
    compiled = make_condition("PASSWORD_URL", "STARTS_WITH", "http:", families=families)
    seen = Scope("portal", {"passwordUrl": "https://bank.example/secret", "occurredAt": NOW}, UTC)

    assert "condition 1: PASSWORD_URL STARTS_WITH 'http:'; its value is secret" == first_false(
        [compiled], Match.ALL, seen
    )


# -------------------------------------------------------------------------------------------------------------- loading


def test_a_field_of_two_families() -> None:
    """A condition of a template for events of two families finds its field where each of them keeps it."""
    families = {"client": EventName("CLIENT_CREATED"), "deposit_transaction": EventName("SAVINGS_DEPOSIT")}
    compiled = make_condition("ENCODED_KEY", "EQUALS", "k", families=families)
    of_client = Scope("client", {"client": {"encodedKey": "K"}}, UTC)
    of_account = Scope("deposit_transaction", {"account": {"encodedKey": "k"}}, UTC)

    assert [True, True] == [holds(compiled, of_client), holds(compiled, of_account)]
