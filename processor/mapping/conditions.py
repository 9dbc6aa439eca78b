"""Conditions of templates: compiled when a file is loaded, asked of each event.

A missing value is null, an empty text or a table without rows: EMPTY and DIFFERENT_THAN hold, nothing else does. What
cannot be compared does not hold: a custom field has the type of its value, so its condition is compiled for each type
that its operands fit, and is false for a value of another type, DIFFERENT_THAN too.
"""

import operator as compare
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from processor.domain.catalogue import EVENTS, nearest_event
from processor.domain.placeholders import SECRETS, PlaceholderType
from processor.domain.record import EventName
from processor.domain.template import (
    Condition,
    CustomField,
    FieldPath,
    Flaw,
    Match,
    OperandType,
    Operator,
    disguised_field,
    field_paths,
    nfc,
    parse_custom_field,
)
from processor.domain.text import did_you_mean, quote, truncate
from processor.domain.value_format import day_of
from processor.mapping.render import Scope, currency_of, custom_value, text_of, type_of, value_at
from processor.templates.disguises import spelt
from processor.wire.scalars import ContentError, date_of_text, decimal_of_text, timestamp_of_text
from processor.wire.schema import DecimalBytes

VALUE_LIMIT_CHARACTERS: Final = 64
DAYS_LIMIT: Final = 36_500  # a hundred years: what lies further back is a slip of the pen

# ------------------------------------------------------------------------------------------------------------ the rules

OPERAND_TYPES: Final[
    Mapping[PlaceholderType, OperandType]
] = {  # what a placeholder is -> what its value is to a condition
    PlaceholderType.STRING: OperandType.STRING,
    PlaceholderType.ENUM: OperandType.ENUM,
    PlaceholderType.MONEY: OperandType.MONEY,
    PlaceholderType.DECIMAL: OperandType.BIG_DECIMAL,
    PlaceholderType.INTEGER: OperandType.NUMBER,
    PlaceholderType.DATE: OperandType.DATE,
    PlaceholderType.TIMESTAMP: OperandType.DATE_TIME,
    PlaceholderType.TABLE: OperandType.TABLE,
}
_CUSTOM_KINDS: Final = (
    OperandType.BOOLEAN,
    OperandType.BIG_DECIMAL,
    OperandType.DATE,
    OperandType.DATE_TIME,
    OperandType.STRING,
)


@dataclass(frozen=True, slots=True)
class OperatorSpec:
    """What an operator takes: the fields of a file that hold its operands, and the kinds of value it is for."""

    operands: tuple[str, ...]
    kinds: frozenset[OperandType]


_TEXT: Final = frozenset((OperandType.STRING, OperandType.ENUM))
_NUMERIC: Final = frozenset((OperandType.NUMBER, OperandType.BIG_DECIMAL, OperandType.MONEY))
_TIME: Final = frozenset((OperandType.DATE, OperandType.DATE_TIME))
_ONE: Final = ("value",)

OPERATORS: Final[Mapping[Operator, OperatorSpec]] = {
    Operator.EQUALS: OperatorSpec(_ONE, _TEXT | _NUMERIC | {OperandType.BOOLEAN}),
    Operator.EQUALS_CASE_SENSITIVE: OperatorSpec(_ONE, _TEXT | _NUMERIC | {OperandType.BOOLEAN}),
    Operator.DIFFERENT_THAN: OperatorSpec(_ONE, _TEXT | _NUMERIC | {OperandType.BOOLEAN}),
    Operator.MORE_THAN: OperatorSpec(_ONE, _NUMERIC),
    Operator.LESS_THAN: OperatorSpec(_ONE, _NUMERIC),
    Operator.BETWEEN: OperatorSpec(("value", "second_value"), _NUMERIC | _TIME),
    Operator.ON: OperatorSpec(_ONE, _TIME),
    Operator.AFTER: OperatorSpec(_ONE, _TIME),
    Operator.BEFORE: OperatorSpec(_ONE, _TIME),
    Operator.BEFORE_INCLUSIVE: OperatorSpec(_ONE, _TIME),
    Operator.STARTS_WITH: OperatorSpec(_ONE, frozenset((OperandType.STRING,))),
    Operator.STARTS_WITH_CASE_SENSITIVE: OperatorSpec(_ONE, frozenset((OperandType.STRING,))),
    Operator.IN: OperatorSpec(("values",), _TEXT),
    Operator.TODAY: OperatorSpec((), _TIME),
    Operator.THIS_WEEK: OperatorSpec((), _TIME),
    Operator.THIS_MONTH: OperatorSpec((), _TIME),
    Operator.THIS_YEAR: OperatorSpec((), _TIME),
    Operator.LAST_DAYS: OperatorSpec(_ONE, _TIME),
    Operator.EMPTY: OperatorSpec((), frozenset(OperandType)),
    Operator.NOT_EMPTY: OperatorSpec((), frozenset(OperandType)),
}

_FOLDING: Final = frozenset((Operator.EQUALS, Operator.DIFFERENT_THAN, Operator.STARTS_WITH, Operator.IN))
"""The operators to which upper and lower case are one, by Unicode case folding."""

_COMPARE: Final[Mapping[Operator, Callable[[Any, Any], bool]]] = {  # value, operand -> whether it holds
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

_PERIODS: Final[Mapping[Operator, Callable[[date], Any]]] = {  # the period of a day; equal when it is that of today
    Operator.TODAY: lambda day: day,
    Operator.THIS_WEEK: lambda day: day.isocalendar()[:2],  # ISO 8601: from Monday
    Operator.THIS_MONTH: lambda day: (day.year, day.month),
    Operator.THIS_YEAR: lambda day: day.year,
}


# -------------------------------------------------------------------------------------------------------------- loading

Flaws = tuple[tuple[str, Flaw], ...]  #: What is wrong with a condition, each with the field of the file it is about.


def compile_condition(
    field: str, operator: Operator | None, operands: Mapping[str, Sequence[str]], *, families: Mapping[str, EventName]
) -> tuple[Condition | None, Flaws]:
    """A condition as a file has it, compiled; or None and all that is wrong with it. Warnings come with either.

    `operands` has those that are given, by their names `value`, `second_value`, `values`, each as text; `operator` is
    None when it was not understood. `families` as for `parse`.
    """
    source, kinds, flaws = _field(field, families)
    if operator is None:
        return None, flaws
    custom = isinstance(source, CustomField)
    flaws = (*flaws, *_miscounted(operator, operands), *(() if custom else _unfit(field, kinds, operator)))
    if source is None or any(flaw.fatal for _, flaw in flaws) or not kinds:
        return None, flaws
    rule = OPERATORS[operator]
    given = [(name, text) for name in rule.operands for text in operands[name]]
    read = {kind: _read(given, kind, operator) for kind in kinds if kind in rule.kinds}
    parsed = {kind: values for kind, (values, misfits) in read.items() if not misfits}
    if custom and not parsed:
        return None, _of_no_kind(given, {kind: misfits for kind, (_, misfits) in read.items()})
    if not custom and len(parsed) < len(read):
        return None, tuple(dict.fromkeys(flaw for _, misfits in read.values() for flaw in misfits))
    if field == "EVENT" and (misspelt := tuple(_of_no_event(given, operator))):
        return None, misspelt
    return Condition(source, operator, parsed, _text(field, operator, given, read)), flaws


def _field(
    field: str, families: Mapping[str, EventName]
) -> tuple[CustomField | Mapping[str, FieldPath] | None, tuple[OperandType, ...], Flaws]:
    """Where the value of a field is, and of which kinds it may be."""
    bare, meant = field.strip("{}"), spelt(field)
    if bare != field:
        return None, (), (("field", Flaw(f"field {quote(field)} has braces", "", f"write {meant or bare[:80]}")),)
    if field.startswith("CF:"):
        name = field.removeprefix("CF:")
        try:
            custom = parse_custom_field(name)
        except ValueError as error:
            return None, (), (("field", Flaw(f"field {quote(field)}: {error}", "", 'as in "CF:CLIENT:Segment"')),)
        return custom, _CUSTOM_KINDS, tuple(("field", flaw) for flaw in disguised_field(name, field, "CF:{}"))
    paths, flaw = field_paths(field, families)
    if flaw is not None:
        if meant:
            flaw = Flaw("looks like a field and is none", field, f"write {meant}", rule="T21")
        return None, (), (("field", flaw),)
    return paths, tuple(dict.fromkeys(OPERAND_TYPES[source.type] for source in paths.values())), ()


def _miscounted(operator: Operator, operands: Mapping[str, Sequence[str]]) -> Flaws:
    """Operands that are missing, and those that the operator does not take."""
    wanted = OPERATORS[operator].operands
    takes = " and ".join(f"`{name}`" for name in wanted) or "no operand"
    missing = [name for name in wanted if not operands.get(name)]
    surplus = [name for name in operands if name not in wanted]
    return (
        *(("operator", Flaw(f"{operator} needs `{name}`", "", f"it takes {takes}")) for name in missing),
        *((name, Flaw(f"{operator} does not take `{name}`", "", f"it takes {takes}")) for name in surplus),
    )


def _unfit(field: str, kinds: Sequence[OperandType], operator: Operator) -> Flaws:
    """An operator that is not for what the field is."""
    unfit = [kind for kind in kinds if kind not in OPERATORS[operator].kinds]
    if not unfit:
        return ()
    legal = ", ".join(one for one in Operator if all(kind in OPERATORS[one].kinds for kind in kinds))
    what = f"{operator} is not for {field}, which is {' and '.join(unfit)}"
    return (("operator", Flaw(what, "", f"one of: {legal}")),)


_FORMS: Final[Mapping[OperandType, str]] = {  # kind -> how its operands are written
    OperandType.STRING: "for no value write operator EMPTY or NOT_EMPTY",
    OperandType.ENUM: "for no value write operator EMPTY or NOT_EMPTY",
    OperandType.BOOLEAN: "true or false",
    OperandType.NUMBER: "a number, as in 100 or 12.5",
    OperandType.BIG_DECIMAL: "a number, as in 100 or 12.5",
    OperandType.MONEY: "a number, as in 100 or 12.5",
    OperandType.DATE: "a day, as in 2026-03-14",
    OperandType.DATE_TIME: "a day, as in 2026-03-14, or a moment with its offset, as in 2026-03-14T09:26:53Z",
    OperandType.TABLE: "",
}
_NUMBER: Final = DecimalBytes(precision=38, scale=10)  # as our fields are


def _read(given: Iterable[tuple[str, str]], kind: OperandType, operator: Operator) -> tuple[tuple[Any, ...], Flaws]:
    """The operands as they are compared with a value of `kind`, and what is wrong with them."""
    values: list[Any] = []
    flaws: list[tuple[str, Flaw]] = []
    for name, text in given:
        try:
            values.append(_operand(text, kind, operator))
        except ContentError as error:
            flaws.append((name, Flaw(error.what, text, "" if operator is Operator.LAST_DAYS else _FORMS[kind])))
    if operator is Operator.IN:
        return (frozenset(values),), tuple(flaws)
    if operator is Operator.BETWEEN and not flaws and type(values[0]) is type(values[1]) and values[0] > values[1]:
        flaws.append(("second_value", Flaw("`second_value` is less than `value`: nothing is between them", "")))
    return tuple(values), tuple(flaws)


def _operand(text: str, kind: OperandType, operator: Operator) -> Any:
    """An operand as it is compared with a value of `kind`. ContentError says what is wrong with it."""
    if operator is Operator.LAST_DAYS:
        if re.fullmatch(r"[1-9][0-9]{0,4}", text) and int(text) <= DAYS_LIMIT:
            return int(text)
        raise ContentError(f"not a whole number from 1 to {DAYS_LIMIT}: {quote(text)}")
    match kind:
        case OperandType.STRING | OperandType.ENUM:
            if not text:
                raise ContentError("an empty text, which nothing equals")
            return _compared_text(text, operator)
        case OperandType.BOOLEAN:
            if text.lower() not in ("true", "false"):
                raise ContentError(f"neither true nor false: {quote(text)}")
            return text.lower() == "true"
        case OperandType.DATE:
            return date_of_text(text)
        case OperandType.DATE_TIME:
            return timestamp_of_text(text) if "T" in text.upper() else date_of_text(text)
        case _:
            return decimal_of_text(text, _NUMBER)


def _of_no_event(given: Iterable[tuple[str, str]], operator: Operator) -> Iterator[tuple[str, Flaw]]:
    """Operands that no event's name equals."""
    for name, text in given:
        if (text.upper() if operator in _FOLDING else text) not in EVENTS:
            near = nearest_event(text)
            yield name, Flaw(f"{quote(text)} is no event", "", did_you_mean(near))


def _of_no_kind(given: Sequence[tuple[str, str]], misfits: Mapping[OperandType, Flaws]) -> Flaws:
    """What to say of operands that fit none of the kinds that a custom field's value may have."""
    ranked = sorted(misfits.values(), key=len)
    nearest = ranked[0]
    if len(ranked) == 1 or len(ranked[1]) > len(nearest):  # all but one of the operands fit, or they are reversed
        return nearest
    told = [flaw for flaws in misfits.values() for flaw in flaws]
    if len({flaw.what for _, flaw in told}) == 1:
        return (told[-1],)
    texts = " and ".join(quote(text) for _, text in given)
    forms = "; ".join(dict.fromkeys(_FORMS[kind] for kind in misfits))
    return ((given[0][0], Flaw(f"no value can be compared with {texts}", "", forms)),)


def _text(field: str, operator: Operator, given: Iterable[tuple[str, str]], kinds: Iterable[OperandType]) -> str:
    quoted = not _TEXT.isdisjoint(kinds)
    operands = ", ".join(repr(text) if quoted else text for _, text in given)
    return f"{field} {operator} {truncate(operands, VALUE_LIMIT_CHARACTERS)}".rstrip()


# ----------------------------------------------------------------------------------------------------------- evaluating


def holds(condition: Condition, scope: Scope) -> bool:
    """Whether `condition` holds for an event. Its day, "today", is that of `occurredAt` in the scope's time zone."""
    value, kind = _value(condition, scope)
    if condition.operator in (Operator.EMPTY, Operator.NOT_EMPTY):
        return (kind is None) == (condition.operator is Operator.EMPTY)
    if kind is None:
        return condition.operator is Operator.DIFFERENT_THAN
    operands = condition.operands.get(kind)
    return operands is not None and _compared(condition.operator, value, kind, operands, scope)


def first_false(conditions: Sequence[Condition], match: Match, scope: Scope) -> str | None:
    """None when the conditions of a template hold, as none at all do; else the first false one, with the value seen.

    Under ANY none of them holds, and the first is named.
    """
    false = [(number, one) for number, one in enumerate(conditions, start=1) if not holds(one, scope)]
    if not false or (match is Match.ANY and len(false) < len(conditions)):
        return None
    number, condition = false[0]
    none = "none of them holds; " if match is Match.ANY and len(conditions) > 1 else ""
    return f"{none}condition {number}: {condition}; {describe_value(condition, scope)}"


def describe_value(condition: Condition, scope: Scope) -> str:
    """The value that a condition was asked of, for people: cut, and never that of a secret."""
    value, kind = _value(condition, scope)
    if kind is None:
        return "there is no value"
    source = None if isinstance(condition.field, CustomField) else condition.field[scope.family]
    if kind is OperandType.TABLE:
        return f"it has {len(value)} {'row' if len(value) == 1 else 'rows'}"
    if source is not None and source.path in SECRETS:
        return "its value is secret"
    text = text_of(
        value,
        type_of(value) if source is None else source.type,
        currency=None if source is None else currency_of(source, scope.fields),
        time_zone=scope.time_zone,
    )
    text = quote(text, VALUE_LIMIT_CHARACTERS) if kind in _TEXT else text
    unfit = "" if kind in condition.operands else f", a {kind}, which cannot be compared so"
    return f"the value is {text}{unfit}"


def _value(condition: Condition, scope: Scope) -> tuple[Any, OperandType | None]:
    """The value of a condition's field and its kind, None when it is missing."""
    if isinstance(condition.field, CustomField):
        value = custom_value(condition.field, scope.fields)
        kind = OperandType.BOOLEAN if isinstance(value, bool) else OPERAND_TYPES[type_of(value)]
    else:
        source = condition.field[scope.family]
        value, kind = value_at(source.path, scope.fields), OPERAND_TYPES[source.type]
    missing = value is None or (kind in _TEXT and value == "") or (kind is OperandType.TABLE and not value)
    return value, None if missing else kind


def _compared(operator: Operator, value: Any, kind: OperandType, operands: tuple[Any, ...], scope: Scope) -> bool:
    """Whether a value that is there and fits holds against the operands."""
    if operator in _PERIODS:
        period = _PERIODS[operator]
        return bool(period(day_of(value, scope.time_zone)) == period(_today(scope)))
    if operator is Operator.LAST_DAYS:
        return 0 <= (_today(scope) - day_of(value, scope.time_zone)).days < int(operands[0])
    if operator is Operator.BETWEEN:
        low, high = operands
        return bool(_like(low, value, scope) >= low and _like(high, value, scope) <= high)
    if kind in _TEXT:
        value = _compared_text(str(value), operator)
    (operand,) = operands
    return _COMPARE[operator](_like(operand, value, scope), operand)


def _compared_text(text: str, operator: Operator) -> str:
    text = nfc(text)
    return text.casefold() if operator in _FOLDING else text


def _like(operand: Any, value: Any, scope: Scope) -> Any:
    """`value` as it is compared with `operand`: against a day a timestamp is its own day."""
    is_day = isinstance(operand, date) and not isinstance(operand, datetime)
    return day_of(value, scope.time_zone) if is_day else value


def _today(scope: Scope) -> date:
    return day_of(scope.fields["occurredAt"], scope.time_zone)
