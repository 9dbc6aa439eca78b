"""Conditions of templates, evaluated on an event; `templates/compile_conditions.py` compiles them. Pure.

A missing value is null, an empty text or a table without rows: EMPTY and DIFFERENT_THAN are true of it, no others are.
What cannot be compared is false: a custom field has the type of its value, so its condition is compiled for each type
that its operands fit, and is false for a value of another type, DIFFERENT_THAN too.
"""

import operator as compare
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

from processor.domain.event import value_at
from processor.domain.placeholders import SECRETS, PlaceholderType
from processor.domain.template import Condition, CustomField, Match, OperandType, Operator
from processor.domain.text import nfc, quote
from processor.mapping.format import day_of
from processor.mapping.values import Scope, currency_of, custom_value, custom_value_text, text_of, type_of

VALUE_LIMIT_CHARACTERS: Final = 64
NO_VALUE: Final = "there is no value"
MASKED_VALUE: Final = "its value is secret"

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

COMPARE: Final[Mapping[Operator, Callable[[Any, Any], bool]]] = {  # value, operand -> whether it is true
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

PERIODS: Final[Mapping[Operator, Callable[[date], Any]]] = {  # the period that a day is in, compared with today's
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
    return describe_false(number, condition, describe_value(condition, scope), match=match, count=len(conditions))


def describe_false(number: int, condition: Condition, value: str, *, match: Match, count: int) -> str:
    """Why `count` conditions are not met: the first false one, its number and its value, as `describe_value` has it."""
    none = "none of them holds; " if match is Match.ANY and count > 1 else ""
    return f"{none}condition {number}: {condition}; {value}"


def describe_value(condition: Condition, scope: Scope) -> str:
    """The value of a condition's field, for people: cut, and never that of a secret."""
    value, kind = _value(condition, scope)
    if kind is None:
        return NO_VALUE
    if isinstance(condition.field, CustomField):
        return describe_text(custom_value_text(value, scope.time_zone), kind, condition)
    path = condition.field[scope.family]
    if kind is OperandType.TABLE:
        return describe_rows(len(value))
    if path.path in SECRETS:
        return MASKED_VALUE
    text = text_of(value, path.type, currency=currency_of(path, scope.fields), time_zone=scope.time_zone)
    return describe_text(text, kind, condition)


def describe_rows(count: int) -> str:
    """A table that has `count` rows."""
    return f"it has {count} {'row' if count == 1 else 'rows'}"


def describe_text(text: str, kind: OperandType, condition: Condition) -> str:
    """A value of type `kind` by its text, and whether `condition` cannot compare such a value."""
    text = quote(text, VALUE_LIMIT_CHARACTERS) if kind in TEXT_TYPES else text
    unfit = "" if kind in condition.operands else f", a {kind}, which cannot be compared so"
    return f"the value is {text}{unfit}"


def _value(condition: Condition, scope: Scope) -> tuple[Any, OperandType | None]:
    """The value of a condition's field and its type, None when it is missing."""
    if isinstance(condition.field, CustomField):
        value = custom_value(condition.field, scope.fields)
        kind = custom_kind(value)
    else:
        path = condition.field[scope.family]
        value, kind = value_at(path.path, scope.fields), OPERAND_TYPES[path.type]
    return value, None if is_missing(value, kind) else kind


def custom_kind(value: Any) -> OperandType:
    """What a custom field's value is to a condition."""
    return OperandType.BOOLEAN if isinstance(value, bool) else OPERAND_TYPES[type_of(value)]


def is_missing(value: Any, kind: OperandType) -> bool:
    """Whether a value of type `kind` is null, an empty text or a table without rows."""
    return value is None or (kind in TEXT_TYPES and value == "") or (kind is OperandType.TABLE and not value)


def _compare(operator: Operator, value: Any, kind: OperandType, operands: tuple[Any, ...], scope: Scope) -> bool:
    """Whether the comparison of a value, which is there and of a fitting type, is true."""
    if operator in PERIODS:
        period = PERIODS[operator]
        return bool(period(day_of(value, scope.time_zone)) == period(_today(scope)))
    if operator is Operator.LAST_DAYS:
        return is_in_last_days(day_of(value, scope.time_zone), _today(scope), int(operands[0]))
    if operator is Operator.BETWEEN:
        low, high = operands
        return bool(_coerce(low, value, scope) >= low and _coerce(high, value, scope) <= high)
    if kind in TEXT_TYPES:
        value = text_key(operator)(str(value))
    (operand,) = operands
    return COMPARE[operator](_coerce(operand, value, scope), operand)


def is_in_last_days(day: date, today: date, count: int) -> bool:
    """Whether `day` is one of the last `count` days, of which today is the last."""
    return 0 <= (today - day).days < count


def comparable_text(text: str, operator: Operator) -> str:
    """A text as `operator` compares it."""
    return text_key(operator)(text)


def text_key(operator: Operator) -> Callable[[str], str]:
    """What makes of a text what `operator` compares."""
    return _fold if operator in CASE_INSENSITIVE else nfc


def _fold(text: str) -> str:
    return nfc(text).casefold()


def _coerce(operand: Any, value: Any, scope: Scope) -> Any:
    """`value` as it is compared with `operand`: against a day a timestamp is its own day."""
    return day_of(value, scope.time_zone) if is_day(operand) else value


def is_day(operand: Any) -> bool:
    """Whether an operand is a day, not a moment."""
    return isinstance(operand, date) and not isinstance(operand, datetime)


def _today(scope: Scope) -> date:
    return day_of(scope.fields["occurredAt"], scope.time_zone)
