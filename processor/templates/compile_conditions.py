"""Conditions of templates, compiled when a file is loaded (T18); `mapping/conditions.py` evaluates them. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from processor.domain.catalogue import EVENTS, nearest_event
from processor.domain.diagnostic import Diagnostic, Location
from processor.domain.template import Condition, CustomField, FieldPath, OperandType, Operator
from processor.domain.text import did_you_mean, quote, truncate
from processor.mapping.conditions import (
    CASE_INSENSITIVE,
    OPERAND_TYPES,
    TEXT_TYPES,
    VALUE_LIMIT_CHARACTERS,
    comparable_text,
)
from processor.templates.diagnostics import Diagnostics
from processor.templates.disguises import normalize_field
from processor.templates.rules import RuleCode
from processor.templates.text import (
    Families,
    check_spelling,
    field_paths,
    nearest_placeholder,
    parse_custom_field,
)
from processor.wire.errors import ContentError
from processor.wire.scalars import parse_date, parse_decimal, parse_timestamp
from processor.wire.schema import DecimalBytes

DAYS_LIMIT: Final = 36_500  # a hundred years: what lies further back is a slip of the pen


@dataclass(frozen=True, slots=True)
class OperatorSpec:
    """What an operator takes: the fields of a file that hold its operands, and the types of value it is for."""

    operands: tuple[str, ...]
    types: frozenset[OperandType]


_NUMERIC: Final = frozenset((OperandType.NUMBER, OperandType.BIG_DECIMAL, OperandType.MONEY))
_TIME: Final = frozenset((OperandType.DATE, OperandType.DATE_TIME))
_ONE: Final = ("value",)

OPERATORS: Final[Mapping[Operator, OperatorSpec]] = {
    Operator.EQUALS: OperatorSpec(_ONE, TEXT_TYPES | _NUMERIC | {OperandType.BOOLEAN}),
    Operator.EQUALS_CASE_SENSITIVE: OperatorSpec(_ONE, TEXT_TYPES | _NUMERIC | {OperandType.BOOLEAN}),
    Operator.DIFFERENT_THAN: OperatorSpec(_ONE, TEXT_TYPES | _NUMERIC | {OperandType.BOOLEAN}),
    Operator.MORE_THAN: OperatorSpec(_ONE, _NUMERIC),
    Operator.LESS_THAN: OperatorSpec(_ONE, _NUMERIC),
    Operator.BETWEEN: OperatorSpec(("value", "second_value"), _NUMERIC | _TIME),
    Operator.ON: OperatorSpec(_ONE, _TIME),
    Operator.AFTER: OperatorSpec(_ONE, _TIME),
    Operator.BEFORE: OperatorSpec(_ONE, _TIME),
    Operator.BEFORE_INCLUSIVE: OperatorSpec(_ONE, _TIME),
    Operator.STARTS_WITH: OperatorSpec(_ONE, frozenset((OperandType.STRING,))),
    Operator.STARTS_WITH_CASE_SENSITIVE: OperatorSpec(_ONE, frozenset((OperandType.STRING,))),
    Operator.IN: OperatorSpec(("values",), TEXT_TYPES),
    Operator.TODAY: OperatorSpec((), _TIME),
    Operator.THIS_WEEK: OperatorSpec((), _TIME),
    Operator.THIS_MONTH: OperatorSpec((), _TIME),
    Operator.THIS_YEAR: OperatorSpec((), _TIME),
    Operator.LAST_DAYS: OperatorSpec(_ONE, _TIME),
    Operator.EMPTY: OperatorSpec((), frozenset(OperandType)),
    Operator.NOT_EMPTY: OperatorSpec((), frozenset(OperandType)),
}

_CUSTOM_FIELD_TYPES: Final = (
    OperandType.BOOLEAN,
    OperandType.BIG_DECIMAL,
    OperandType.DATE,
    OperandType.DATE_TIME,
    OperandType.STRING,
)


def compile_condition(
    field: str, operator: Operator | None, operands: Mapping[str, Sequence[str]], *, families: Families
) -> tuple[Condition | None, Diagnostics]:
    """A condition as a file has it, compiled; or None and all that is wrong with it. Warnings come with either.

    `operands` has those of the file, by their names `value`, `second_value`, `values`, each as text; `operator` is None
    when it was not understood. The location of each diagnostic has the condition's field that it is about.
    """
    source, types, diagnostics = _find_field(field, families)
    if operator is None:
        return None, diagnostics
    is_custom = isinstance(source, CustomField)
    diagnostics = (
        *diagnostics,
        *_wrong_operands(operator, operands),
        *(() if is_custom else _unsupported_operator(field, types, operator)),
    )
    if source is None or any(diagnostic.is_error for diagnostic in diagnostics) or not types:
        return None, diagnostics
    spec = OPERATORS[operator]
    texts = [(name, text) for name in spec.operands for text in operands[name]]
    parsed = {kind: _parse_operands(texts, kind, operator) for kind in types if kind in spec.types}
    fitting = {kind: values for kind, (values, errors) in parsed.items() if not errors}
    if is_custom and not fitting:
        return None, _no_matching_type(texts, {kind: errors for kind, (_, errors) in parsed.items()})
    if not is_custom and len(fitting) < len(parsed):
        return None, tuple(dict.fromkeys(error for _, errors in parsed.values() for error in errors))
    if field == "EVENT" and (misspelt := tuple(_unknown_events(texts, operator))):
        return None, misspelt
    return Condition(source, operator, fitting, _source_text(field, operator, texts, parsed)), diagnostics


def _error(field: str, message: str, *, excerpt: str = "", hint: str = "") -> Diagnostic:
    location = Location(field=field, excerpt=excerpt)
    return Diagnostic(message=message, code=RuleCode.CONDITION, hint=hint, location=location)


def _find_field(
    field: str, families: Families
) -> tuple[CustomField | Mapping[str, FieldPath] | None, tuple[OperandType, ...], Diagnostics]:
    """Where the value of a field is, and of which types it may be."""
    bare, meant = field.strip("{}"), normalize_field(field)
    if bare != field:
        return None, (), (_error("field", f"field {quote(field)} has braces", hint=f"write {meant or bare[:80]}"),)
    if field.startswith("CF:"):
        name = field.removeprefix("CF:")
        try:
            custom = parse_custom_field(name)
        except ValueError as error:
            return None, (), (_error("field", f"field {quote(field)}: {error}", hint='as in "CF:CLIENT:Segment"'),)
        odd = check_spelling(name, field, "CF:{}")
        return custom, _CUSTOM_FIELD_TYPES, tuple(_in_field(diagnostic, "field") for diagnostic in odd)
    paths, unknown = field_paths(field, families)
    if unknown is None:
        return paths, tuple(dict.fromkeys(OPERAND_TYPES[path.type] for path in paths.values())), ()
    if meant:
        disguised = _error("field", "looks like a field and is none", excerpt=field, hint=f"write {meant}")
        return None, (), (replace(disguised, code=RuleCode.DISGUISED_PLACEHOLDER),)
    hint = did_you_mean(nearest_placeholder(field, families))
    return None, (), (replace(_in_field(unknown, "field"), code=RuleCode.CONDITION, hint=hint),)


def _in_field(diagnostic: Diagnostic, field: str) -> Diagnostic:
    return replace(diagnostic, location=replace(diagnostic.location, field=field))


def _wrong_operands(operator: Operator, operands: Mapping[str, Sequence[str]]) -> Iterator[Diagnostic]:
    """Operands that are missing, and those that the operator does not take."""
    expected = OPERATORS[operator].operands
    takes = " and ".join(f"`{name}`" for name in expected) or "no operand"
    for name in expected:
        if not operands.get(name):
            yield _error("operator", f"{operator} needs `{name}`", hint=f"it takes {takes}")
    for name in operands:
        if name not in expected:
            yield _error(name, f"{operator} does not take `{name}`", hint=f"it takes {takes}")


def _unsupported_operator(field: str, types: Sequence[OperandType], operator: Operator) -> Iterator[Diagnostic]:
    """An operator that is not for what the field is."""
    unsupported = [kind for kind in types if kind not in OPERATORS[operator].types]
    if unsupported:
        legal = ", ".join(name for name, spec in OPERATORS.items() if all(kind in spec.types for kind in types))
        message = f"{operator} is not for {field}, which is {' and '.join(unsupported)}"
        yield _error("operator", message, hint=f"one of: {legal}")


_HOW_WRITTEN: Final[Mapping[OperandType, str]] = {  # type -> how its operands are written
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


def _parse_operands(
    texts: Iterable[tuple[str, str]], kind: OperandType, operator: Operator
) -> tuple[tuple[Any, ...], Diagnostics]:
    """The operands as they are compared with a value of type `kind`, and what is wrong with them."""
    values: list[Any] = []
    errors: list[Diagnostic] = []
    for name, text in texts:
        try:
            values.append(_parse_operand(text, kind, operator))
        except ContentError as error:
            hint = "" if operator is Operator.LAST_DAYS else _HOW_WRITTEN[kind]
            errors.append(_error(name, error.what, excerpt=text, hint=hint))
    if operator is Operator.IN:
        return (frozenset(values),), tuple(errors)
    if operator is Operator.BETWEEN and not errors and type(values[0]) is type(values[1]) and values[0] > values[1]:
        errors.append(_error("second_value", "`second_value` is less than `value`: nothing is between them"))
    return tuple(values), tuple(errors)


def _parse_operand(text: str, kind: OperandType, operator: Operator) -> Any:
    """An operand as it is compared with a value of type `kind`. ContentError says what is wrong with it."""
    if operator is Operator.LAST_DAYS:
        if re.fullmatch(r"[1-9][0-9]{0,4}", text) and int(text) <= DAYS_LIMIT:
            return int(text)
        raise ContentError(f"not a whole number from 1 to {DAYS_LIMIT}: {quote(text)}")
    match kind:
        case OperandType.STRING | OperandType.ENUM:
            if not text:
                raise ContentError("an empty text, which nothing equals")
            return comparable_text(text, operator)
        case OperandType.BOOLEAN:
            if text.lower() not in ("true", "false"):
                raise ContentError(f"neither true nor false: {quote(text)}")
            return text.lower() == "true"
        case OperandType.DATE:
            return parse_date(text)
        case OperandType.DATE_TIME:
            return parse_timestamp(text) if "T" in text.upper() else parse_date(text)
        case _:
            return parse_decimal(text, _NUMBER)


def _unknown_events(texts: Iterable[tuple[str, str]], operator: Operator) -> Iterator[Diagnostic]:
    """Operands that no event's name equals."""
    for name, text in texts:
        if (text.upper() if operator in CASE_INSENSITIVE else text) not in EVENTS:
            yield _error(name, f"{quote(text)} is no event", hint=did_you_mean(nearest_event(text)))


def _no_matching_type(texts: Sequence[tuple[str, str]], errors: Mapping[OperandType, Diagnostics]) -> Diagnostics:
    """What is wrong with operands that fit none of the types that a custom field's value may have."""
    ranked = sorted(errors.values(), key=len)
    fewest = ranked[0]
    if len(ranked) == 1 or len(ranked[1]) > len(fewest):  # all but one of the operands fit, or they are reversed
        return fewest
    flat = [diagnostic for diagnostics in errors.values() for diagnostic in diagnostics]
    if len({diagnostic.message for diagnostic in flat}) == 1:
        return (flat[-1],)
    quoted = " and ".join(quote(text) for _, text in texts)
    hint = "; ".join(dict.fromkeys(_HOW_WRITTEN[kind] for kind in errors))
    return (_error(texts[0][0], f"no value can be compared with {quoted}", hint=hint),)


def _source_text(field: str, operator: Operator, texts: Iterable[tuple[str, str]], types: Iterable[OperandType]) -> str:
    """The condition for people, cut."""
    is_text = not TEXT_TYPES.isdisjoint(types)
    operands = ", ".join(repr(text) if is_text else text for _, text in texts)
    return f"{field} {operator} {truncate(operands, VALUE_LIMIT_CHARACTERS)}".rstrip()
