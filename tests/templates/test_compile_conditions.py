"""Conditions as authors write them: which operators are for which types, and what is wrong with one."""

import pytest

from processor.domain.diagnostic import Diagnostic
from processor.domain.record import EventName
from processor.domain.template import OperandType, Operator
from processor.templates.compile_conditions import OPERATORS, compile_condition

REPAYMENT = {"loan_transaction": EventName("LOAN_REPAYMENT")}
FIELDS = {  # a field of each type that placeholders have
    OperandType.STRING: "ACCOUNT_NAME",
    OperandType.ENUM: "ACCOUNT_STATE",
    OperandType.NUMBER: "NUMBER_OF_INSTALLMENTS",
    OperandType.BIG_DECIMAL: "INTEREST_RATE",
    OperandType.MONEY: "TRANSACTION_AMOUNT",
    OperandType.DATE: "TRANSACTION_DATE",
    OperandType.DATE_TIME: "ENTRY_DATE",
    OperandType.TABLE: "REPAYMENT_SCHEDULE",
}


def diagnostics(field: str, operator: str, **operands: str | list[str]) -> list[Diagnostic]:
    """What is wrong with a condition."""
    texts = {name: [value] if isinstance(value, str) else value for name, value in operands.items()}
    compiled, found = compile_condition(field, Operator(operator), texts, families=REPAYMENT)
    assert (compiled is None) == bool(found)
    return list(found)


# ------------------------------------------------------------------------------------------------- operators and types

TEXTS = "STRING ENUM"
NUMBERS = "NUMBER BIG_DECIMAL MONEY"
TIMES = "DATE DATE_TIME"
LEGAL = {  # as the source publishes them; our fields have no KEY, LONG and PERCENT
    "EQUALS": f"{TEXTS} BOOLEAN {NUMBERS}",
    "EQUALS_CASE_SENSITIVE": f"{TEXTS} BOOLEAN {NUMBERS}",
    "DIFFERENT_THAN": f"{TEXTS} BOOLEAN {NUMBERS}",
    "MORE_THAN": NUMBERS,
    "LESS_THAN": NUMBERS,
    "BETWEEN": f"{NUMBERS} {TIMES}",
    "ON": TIMES,
    "AFTER": TIMES,
    "BEFORE": TIMES,
    "BEFORE_INCLUSIVE": TIMES,
    "STARTS_WITH": "STRING",
    "STARTS_WITH_CASE_SENSITIVE": "STRING",
    "IN": TEXTS,
    "TODAY": TIMES,
    "THIS_WEEK": TIMES,
    "THIS_MONTH": TIMES,
    "THIS_YEAR": TIMES,
    "LAST_DAYS": TIMES,
    "EMPTY": f"{TEXTS} BOOLEAN {NUMBERS} {TIMES} TABLE",
    "NOT_EMPTY": f"{TEXTS} BOOLEAN {NUMBERS} {TIMES} TABLE",
}
COUNTS = {"BETWEEN": 2, "TODAY": 0, "THIS_WEEK": 0, "THIS_MONTH": 0, "THIS_YEAR": 0, "EMPTY": 0, "NOT_EMPTY": 0}


def test_operators_are_the_reference() -> None:
    """There are the 20 published operators, each for the types that the reference says, with as many operands."""
    assert {name: set(types.split()) for name, types in LEGAL.items()} == {
        operator.value: {kind.value for kind in spec.types} for operator, spec in OPERATORS.items()
    }
    assert {name: COUNTS.get(name, 1) for name in LEGAL} == {
        operator.value: len(spec.operands) for operator, spec in OPERATORS.items()
    }
    assert len(Operator) == 20
    assert OPERATORS[Operator.IN].operands == ("values",)


@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("operator", LEGAL)
def test_an_operator_is_for_some_types(operator: str, kind: OperandType) -> None:
    """A field takes the operators of its type; any other is refused, naming the type and what it takes."""
    field = FIELDS[kind]
    operand = {
        OperandType.DATE: "2026-03-14",
        OperandType.DATE_TIME: "2026-03-14",
        OperandType.STRING: "a",
        OperandType.ENUM: "a",
    }.get(kind, "1")
    operand = "1" if operator == "LAST_DAYS" else operand
    texts: dict[str, str | list[str]] = dict.fromkeys(OPERATORS[Operator(operator)].operands, operand)
    found = diagnostics(field, operator, **texts)

    if kind in LEGAL[operator].split():
        assert [] == found
    else:
        legal = ", ".join(name for name, types in LEGAL.items() if kind in types.split())
        what = f"{operator} is not for {field}, which is {kind}"
        assert [("operator", what, f"one of: {legal}")] == [
            (diagnostic.location.field, diagnostic.message, diagnostic.hint) for diagnostic in found
        ]


# --------------------------------------------------------------------------------------------------------- diagnostics


@pytest.mark.parametrize(
    ("field", "operator", "operands", "key", "what", "hint"),
    [
        ("ACCOUNT_IDD", "EMPTY", {}, "field", "unknown placeholder {ACCOUNT_IDD} (family loan_transaction)", ""),
        ("{ACCOUNT_ID}", "EMPTY", {}, "field", "field '{ACCOUNT_ID}' has braces", "write ACCOUNT_ID"),
        ("CF:", "EMPTY", {}, "field", "field 'CF:': a custom field needs a name", 'as in "CF:CLIENT:Segment"'),
        ("ACCOUNT_ID", "EQUALS", {}, "operator", "EQUALS needs `value`", "it takes `value`"),
        (
            "TOTAL_BALANCE",
            "BETWEEN",
            {"value": "1"},
            "operator",
            "BETWEEN needs `second_value`",
            "it takes `value` and",
        ),
        ("ACCOUNT_ID", "IN", {"values": []}, "operator", "IN needs `values`", "it takes `values`"),
        ("ACCOUNT_ID", "EMPTY", {"value": "1"}, "value", "EMPTY does not take `value`", "it takes no operand"),
        ("TOTAL_BALANCE", "EQUALS", {"value": "1,5"}, "value", "not a decimal number: '1,5'", "a number, as in 100"),
        ("ACCOUNT_ID", "EQUALS", {"value": ""}, "value", "an empty text, which nothing equals", "for no value write"),
        (
            "TRANSACTION_DATE",
            "ON",
            {"value": "14.3.26"},
            "value",
            "not a date as YYYY-MM-DD: '14.3.26'",
            "a day, as in",
        ),
        ("TRANSACTION_DATE", "ON", {"value": "2026-02-30"}, "value", "no such date: '2026-02-30'", "a day, as in"),
        (
            "ENTRY_DATE",
            "AFTER",
            {"value": "2026-03-14T09:00:00"},
            "value",
            "not an RFC 3339 time with an offset: '2026-03-14T09:00:00'",
            "a day, as in 2026-03-14, or a moment with its offset",
        ),
        ("TRANSACTION_DATE", "LAST_DAYS", {"value": "0"}, "value", "not a whole number from 1 to 36500: '0'", ""),
        (
            "TOTAL_BALANCE",
            "BETWEEN",
            {"value": "5", "second_value": "4.9"},
            "second_value",
            "`second_value` is less than `value`: nothing is between them",
            "",
        ),
        ("CF:x", "MORE_THAN", {"value": "a"}, "value", "not a decimal number: 'a'", "a number, as in 100 or 12.5"),
        (
            "CF:x",
            "ON",
            {"value": "a"},
            "value",
            "not a date as YYYY-MM-DD: 'a'",
            "a day, as in 2026-03-14, or a moment",
        ),
        ("CF:x", "EQUALS", {"value": ""}, "value", "no value can be compared with ''", "true or false; a number"),
        (
            "CF:x",
            "BETWEEN",
            {"value": "5", "second_value": "2026-03-14"},
            "value",
            "no value can be compared with '5' and '2026-03-14'",
            "a number, as in 100 or 12.5; a day",
        ),
        (
            "CF:x",
            "BETWEEN",
            {"value": "5", "second_value": "4"},
            "second_value",
            "`second_value` is less than `value`: nothing is between them",
            "",
        ),
    ],
)
def test_diagnostics_of_a_condition(
    field: str, operator: str, operands: dict[str, str | list[str]], key: str, what: str, hint: str
) -> None:
    """What is wrong with a condition is said with the field of the file that it is about, and how it is right."""
    (diagnostic,) = diagnostics(field, operator, **operands)

    assert (key, what) == (diagnostic.location.field, diagnostic.message)
    assert diagnostic.hint.startswith(hint)


def test_all_diagnostics_at_once() -> None:
    """A field that is not there, an operand too few and one too many are named together."""
    assert ["field", "operator", "values"] == [
        diagnostic.location.field for diagnostic in diagnostics("NOBODY", "EQUALS", values=["a", "b"])
    ]
