"""Conditions of templates, evaluated on an event; `templates/compile_conditions.py` compiles them. Pure.

A missing value is null, an empty text or a table without rows: EMPTY and DIFFERENT_THAN are true of it, no others are.
What cannot be compared is false: a custom field has the type of its value, so its condition is compiled for each type
that its operands fit, and is false for a value of another type, DIFFERENT_THAN too.
"""

import operator as compare
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

from processor.domain.placeholders import SECRETS, PlaceholderType
from processor.domain.template import Condition, CustomField, Match, OperandType, Operator
from processor.domain.text import nfc, quote
from processor.mapping.format import day_of
from processor.mapping.values import Scope, currency_of, custom_value, text_of, type_of, value_at

VALUE_LIMIT_CHARACTERS: Final = 64

OPERAND_TYPES: Final[Mapping[PlaceholderType, OperandType]] = {  # a placeholder's type -> its value's to a condition
    PlaceholderType.STRING: OperandType.STRING,
    PlaceholderType.ENUM: OperandType.ENUM,
    PlaceholderType.MONEY: OperandType.MONEY,
    PlaceholderType.DECIMAL: OperandType.BIG_DECIMAL,
    PlaceholderType.INTEGER: OperandType.NUMBER,
    PlaceholderType.DATE: OperandType.DATE,
    PlaceholderType.TIMESTAMP: OperandType.DATE_TIME,
    PlaceholderType.TABLE: OperandType.TABLE,
}
TEXT_TYPES: Final = frozenset((OperandType.STRING, OperandType.ENUM))

CASE_INSENSITIVE: Final = frozenset((Operator.EQUALS, Operator.DIFFERENT_THAN, Operator.STARTS_WITH, Operator.IN))
"""The operators that ignore case, by Unicode case folding."""

_COMPARE: Final[Mapping[Operator, Callable[[Any, Any], bool]]] = {  # value, operand -> whether it is true
    Operator.EQUALS: compare.eq,
    Operator.EQUALS_CASE_SENSITIVE: compare.eq,
    Operator.DIFFERENT_THAN: compare.ne,
    Operator.MORE_THAN: compare.gt,
    Operator.LESS_THAN: compare.lt,
    Operator.ON: compare.eq,
    Operator.AFTER: compare.gt,
    Operator.BEFORE: compare.lt,
    Operator.BEFORE_INCLUSIVE: compare.le,
    Operator.STARTS_WITH: str.startswith,
    Operator.STARTS_WITH_CASE_SENSITIVE: str.startswith,
    Operator.IN: lambda value, words: value in words,
}

_PERIODS: Final[Mapping[Operator, Callable[[date], Any]]] = {  # the period that a day is in, compared with today's
    Operator.TODAY: lambda day: day,
    Operator.THIS_WEEK: lambda day: day.isocalendar()[:2],  # ISO 8601: from Monday
    Operator.THIS_MONTH: lambda day: (day.year, day.month),
    Operator.THIS_YEAR: lambda day: day.year,
}


def holds(condition: Condition, scope: Scope) -> bool:
    """Whether `condition` is true of an event. Its day, "today", is that of `occurredAt` in the scope's time zone."""
    value, kind = _value(condition, scope)
    if condition.operator in (Operator.EMPTY, Operator.NOT_EMPTY):
        return (kind is None) == (condition.operator is Operator.EMPTY)
    if kind is None:
        return condition.operator is Operator.DIFFERENT_THAN
    operands = condition.operands.get(kind)
    return operands is not None and _compare(condition.operator, value, kind, operands, scope)


def first_false(conditions: Sequence[Condition], match: Match, scope: Scope) -> str | None:
    """None when the conditions of a template are met, as no conditions are; else the first false one, with its value.

    Under ANY all of them are false, and the first is named.
    """
    numbered = enumerate(conditions, start=1)
    false = [(number, condition) for number, condition in numbered if not holds(condition, scope)]
    if not false or (match is Match.ANY and len(false) < len(conditions)):
        return None
    number, condition = false[0]
    none = "none of them holds; " if match is Match.ANY and len(conditions) > 1 else ""
    return f"{none}condition {number}: {condition}; {describe_value(condition, scope)}"


def describe_value(condition: Condition, scope: Scope) -> str:
    """The value of a condition's field, for people: cut, and never that of a secret."""
    value, kind = _value(condition, scope)
    if kind is None:
        return "there is no value"
    path = None if isinstance(condition.field, CustomField) else condition.field[scope.family]
    if kind is OperandType.TABLE:
        return f"it has {len(value)} {'row' if len(value) == 1 else 'rows'}"
    if path is not None and path.path in SECRETS:
        return "its value is secret"
    text = text_of(
        value,
        type_of(value) if path is None else path.type,
        currency=None if path is None else currency_of(path, scope.fields),
        time_zone=scope.time_zone,
    )
    text = quote(text, VALUE_LIMIT_CHARACTERS) if kind in TEXT_TYPES else text
    unfit = "" if kind in condition.operands else f", a {kind}, which cannot be compared so"
    return f"the value is {text}{unfit}"


def _value(condition: Condition, scope: Scope) -> tuple[Any, OperandType | None]:
    """The value of a condition's field and its type, None when it is missing."""
    if isinstance(condition.field, CustomField):
        value = custom_value(condition.field, scope.fields)
        kind = OperandType.BOOLEAN if isinstance(value, bool) else OPERAND_TYPES[type_of(value)]
    else:
        path = condition.field[scope.family]
        value, kind = value_at(path.path, scope.fields), OPERAND_TYPES[path.type]
    missing = value is None or (kind in TEXT_TYPES and value == "") or (kind is OperandType.TABLE and not value)
    return value, None if missing else kind


def _compare(operator: Operator, value: Any, kind: OperandType, operands: tuple[Any, ...], scope: Scope) -> bool:
    """Whether the comparison of a value, which is there and of a fitting type, is true."""
    if operator in _PERIODS:
        period = _PERIODS[operator]
        return bool(period(day_of(value, scope.time_zone)) == period(_today(scope)))
    if operator is Operator.LAST_DAYS:
        return 0 <= (_today(scope) - day_of(value, scope.time_zone)).days < int(operands[0])
    if operator is Operator.BETWEEN:
        low, high = operands
        return bool(_coerce(low, value, scope) >= low and _coerce(high, value, scope) <= high)
    if kind in TEXT_TYPES:
        value = comparable_text(str(value), operator)
    (operand,) = operands
    return _COMPARE[operator](_coerce(operand, value, scope), operand)


def comparable_text(text: str, operator: Operator) -> str:
    """A text as `operator` compares it."""
    text = nfc(text)
    return text.casefold() if operator in CASE_INSENSITIVE else text


def _coerce(operand: Any, value: Any, scope: Scope) -> Any:
    """`value` as it is compared with `operand`: against a day a timestamp is its own day."""
    is_day = isinstance(operand, date) and not isinstance(operand, datetime)
    return day_of(value, scope.time_zone) if is_day else value


def _today(scope: Scope) -> date:
    return day_of(scope.fields["occurredAt"], scope.time_zone)
