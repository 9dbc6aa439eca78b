"""Conditions of templates as closures over the slots of an event: equal to `conditions.py`, made of its parts. Pure.

A condition's operator and operands are looked at when it is planned; of an event only the value is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from decimal import Decimal
from typing import Any, Final

from processor.domain.placeholders import SECRETS
from processor.domain.record import EPOCH
from processor.domain.template import Condition, CustomField, FieldPath, Match, OperandType, Operator
from processor.mapping.conditions import (
    COMPARE,
    MASKED_VALUE,
    NO_VALUE,
    OPERAND_TYPES,
    PERIODS,
    TEXT_TYPES,
    custom_kind,
    describe_false,
    describe_rows,
    describe_text,
    is_day,
    is_in_last_days,
    is_missing,
    text_key,
)
from processor.mapping.format import day_of
from processor.mapping.plan_values import PlanValues, ReadText, Slots, give_none, read_custom_field
from processor.mapping.values import custom_value_text

Holds = Callable[[Slots], bool]

_Test = Callable[[Any, Slots], bool]
"""Whether a comparison of a value, which is there and of a fitting type, is true."""

# The classes of custom fields' values, as decoding gives them, and what each is to a condition.
_KINDS: Final = {type(value): custom_kind(value) for value in ("", True, Decimal(), EPOCH.date(), EPOCH)}


@dataclass(frozen=True, slots=True)
class ConditionPlanner:
    """Makes closures of conditions for the events of one family. Days are those of `time_zone`."""

    family: str
    values: PlanValues
    time_zone: tzinfo

    def first_false(self, conditions: Sequence[Condition], match: Match) -> ReadText:
        """What `conditions.first_false` gives: None when the conditions are met."""
        planned = [
            (self.holds(condition), self._description(condition, number, match, len(conditions)))
            for number, condition in enumerate(conditions, start=1)
        ]
        match planned:
            case []:
                return give_none
            case [(holds, describe)]:
                return lambda slots: None if holds(slots) else describe(slots)
        return _first_false_of_all(planned) if match is Match.ALL else _first_if_none_holds(planned)

    def holds(self, condition: Condition) -> Holds:
        """Whether `condition` is true of an event."""
        if isinstance(condition.field, CustomField):
            return self._custom_field_holds(condition, condition.field)
        path = condition.field[self.family]
        read, kind = self.values.value(path.path), OPERAND_TYPES[path.type]
        if condition.operator in (Operator.EMPTY, Operator.NOT_EMPTY):
            is_empty = condition.operator is Operator.EMPTY
            return lambda slots: is_missing(read(slots), kind) == is_empty
        test, if_missing = self._test(condition, kind), condition.operator is Operator.DIFFERENT_THAN
        if kind in TEXT_TYPES:

            def text_holds(slots: Slots) -> bool:
                value = read(slots)
                return if_missing if value is None or value == "" else test(value, slots)

            return text_holds

        def value_holds(slots: Slots) -> bool:
            value = read(slots)
            return if_missing if value is None else test(value, slots)

        return value_holds

    def _custom_field_holds(self, condition: Condition, field: CustomField) -> Holds:
        read = read_custom_field(field, self.values)
        if condition.operator in (Operator.EMPTY, Operator.NOT_EMPTY):
            is_empty = condition.operator is Operator.EMPTY
            return lambda slots: (read(slots) in (None, "")) == is_empty
        tests = {kind: self._test(condition, kind) for kind in OperandType}
        by_class = {of_class: tests[kind] for of_class, kind in _KINDS.items()}
        if_missing = condition.operator is Operator.DIFFERENT_THAN

        def holds(slots: Slots) -> bool:
            value = read(slots)
            if value is None or value == "":
                return if_missing
            test = by_class.get(type(value))
            return tests[custom_kind(value)](value, slots) if test is None else test(value, slots)

        return holds

    def _test(self, condition: Condition, kind: OperandType) -> _Test:
        """The comparison with a value of type `kind`, which is false where they cannot be compared."""
        operator, operands = condition.operator, condition.operands.get(kind)
        if operands is None:
            return lambda _value, _slots: False
        if operator in PERIODS or operator is Operator.LAST_DAYS:
            return self._test_with_today(operator, operands)
        if operator is Operator.BETWEEN:
            return self._test_between(*operands)
        compare, (operand,) = COMPARE[operator], operands
        if kind in TEXT_TYPES:
            key = text_key(operator)
            return lambda value, _slots: compare(key(str(value)), operand)
        if is_day(operand):
            time_zone = self.time_zone
            return lambda value, _slots: compare(day_of(value, time_zone), operand)
        return lambda value, _slots: compare(value, operand)

    def _test_with_today(self, operator: Operator, operands: tuple[Any, ...]) -> _Test:
        read_now, time_zone = self.values.value(("occurredAt",)), self.time_zone
        if operator is Operator.LAST_DAYS:
            count = int(operands[0])
            return lambda value, slots: is_in_last_days(
                day_of(value, time_zone), day_of(read_now(slots), time_zone), count
            )
        period = PERIODS[operator]
        return lambda value, slots: bool(period(day_of(value, time_zone)) == period(day_of(read_now(slots), time_zone)))

    def _test_between(self, low: Any, high: Any) -> _Test:
        time_zone, from_day, to_day = self.time_zone, is_day(low), is_day(high)
        if not from_day and not to_day:
            return lambda value, _slots: bool(low <= value <= high)

        def test(value: Any, _slots: Slots) -> bool:
            day = day_of(value, time_zone)
            return bool((day if from_day else value) >= low and (day if to_day else value) <= high)

        return test

    def _description(self, condition: Condition, number: int, match: Match, count: int) -> Callable[[Slots], str]:
        """Why the conditions are not met, for people, where this is the first false one."""
        describe = self._value_description(condition)
        return lambda slots: describe_false(number, condition, describe(slots), match=match, count=count)

    def _value_description(self, condition: Condition) -> Callable[[Slots], str]:
        """What `conditions.describe_value` says."""
        if not isinstance(condition.field, CustomField):
            return self._field_description(condition, condition.field[self.family])
        read, time_zone = read_custom_field(condition.field, self.values), self.time_zone

        def describe(slots: Slots) -> str:
            value = read(slots)
            if value is None or value == "":
                return NO_VALUE
            return describe_text(custom_value_text(value, time_zone), custom_kind(value), condition)

        return describe

    def _field_description(self, condition: Condition, path: FieldPath) -> Callable[[Slots], str]:
        kind, read = OPERAND_TYPES[path.type], self.values.value(path.path)
        if kind is OperandType.TABLE:
            return lambda slots: describe_rows(len(rows)) if (rows := read(slots)) else NO_VALUE
        if path.path in SECRETS:
            return lambda slots: NO_VALUE if is_missing(read(slots), kind) else MASKED_VALUE
        read_text = self.values.text(path.path, path.type, path.currencies)
        return lambda slots: describe_text(text, kind, condition) if (text := read_text(slots)) else NO_VALUE


def _first_false_of_all(planned: Sequence[tuple[Holds, Callable[[Slots], str]]]) -> ReadText:
    def first_false(slots: Slots) -> str | None:
        for holds, describe in planned:
            if not holds(slots):
                return describe(slots)
        return None

    return first_false


def _first_if_none_holds(planned: Sequence[tuple[Holds, Callable[[Slots], str]]]) -> ReadText:
    def first_false(slots: Slots) -> str | None:
        for holds, _ in planned:
            if holds(slots):
                return None
        _, describe = planned[0]
        return describe(slots)

    return first_false
