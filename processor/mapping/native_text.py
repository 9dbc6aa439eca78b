"""Texts of programs that C writes (`_native.pyx`): here their operations become its own. Pure.

What it has no operation for is written by a closure of `plain_text.py`, between the others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from processor.domain.placeholders import PlaceholderType
from processor.domain.template import EscapeContext
from processor.mapping.escape import EscapeError, escape
from processor.mapping.plan_values import PlanValues
from processor.mapping.text_plan import ALPHABETS, CONTEXTS, FieldOperation, Operation, TextProgram
from processor.mapping.values import CURRENCY_DIGITS, DEFAULT_CURRENCY_DIGITS
from processor.native import NativePart, NativeText
from processor.wire.scan_program import Form, Leaf
from processor.wire.slot_values import TEXT_FORMS

MAX_CURRENCIES: Final = 4  # of one amount
MAX_DIGITS: Final = 38  # of an amount: so many surely fit into a number of 128 bits

_DIGITS_BY_CODE: Final = {code.encode(): digits for code, digits in CURRENCY_DIGITS.items()}


@dataclass(frozen=True, slots=True)
class TextLimits:
    """Of a value before it is escaped, and of the whole text, in characters. `strict`: no value may be missing."""

    value: int
    text: int
    strict: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TextOperation:
    """What stands for one placeholder: what `code` makes of a slot, escaped, or `missing`; None: the event is refused.

    `least_digits` and `code_slots`, those of currencies, are an amount's; `symbols` has the texts of an enum's;
    `writer` is the closure of what C has no operation for. `behind` is the constant that follows.
    """

    code: int
    slot: int = 0
    escape: int = 0
    scale: int = 0
    least_digits: int = 0
    code_slots: tuple[int, ...] = ()
    limit: int = 0
    missing: bytes | None = None
    symbols: tuple[bytes, ...] = ()
    writer: Callable[[Any], str] | None = None
    behind: bytes = b""


def native_text(
    program: TextProgram,
    writers: Sequence[Callable[[Any], str]],
    values: PlanValues,
    native: NativePart,
    limits: TextLimits,
    *,
    refused: type[Exception],
) -> NativeText:
    """The text that a program writes; None: refused. `writers` has a closure for each operation, used where C has none;
    it raises `refused`."""
    before, *constants = [constant.encode() for constant in program.constants]
    operations = []
    for operation, writer, behind in zip(program.operations, writers, constants, strict=True):
        found = native_operation(operation, values, native, limits)
        if found is None:
            found = TextOperation(code=native.text_operations["PYTHON"], writer=writer)
        operations.append(replace(found, behind=behind))
    return native.make_text(before, operations, _DIGITS_BY_CODE, limits.text, refused)


def native_operation(
    operation: Operation, values: PlanValues, native: NativePart, limits: TextLimits
) -> TextOperation | None:
    """What C does for a placeholder; None: it has nothing for it."""
    if not isinstance(operation, FieldOperation) or operation.format is not None:
        return None
    leaf, context = values.leaf(operation.path), operation.context
    if ALPHABETS[operation.type] in CONTEXTS[context].keeps:
        context = EscapeContext.TEXT
    if leaf is None or leaf.slot is None or context.name not in native.escapes:
        return None
    missing = None if limits.strict else CONTEXTS[operation.context].missing
    step = TextOperation(
        code=0,
        slot=leaf.slot,
        escape=native.escapes[context.name],
        limit=limits.value,
        missing=None if missing is None else missing.encode(),
    )
    codes = native.text_operations
    match operation.type, leaf.form:
        case ((PlaceholderType.STRING | PlaceholderType.ENUM), form) if form in TEXT_FORMS:
            return replace(step, code=codes["TEXT"])
        case ((PlaceholderType.STRING | PlaceholderType.ENUM), Form.SYMBOL):
            symbols = _symbol_texts(leaf, context)
            return None if symbols is None else replace(step, code=codes["SYMBOL"], symbols=symbols)
        case PlaceholderType.DATE, Form.DATE:
            return replace(step, code=codes["DAY"])
        case ((PlaceholderType.DECIMAL | PlaceholderType.MONEY), Form.DECIMAL):
            assert leaf.decimal is not None
            if leaf.decimal.precision > MAX_DIGITS:
                return None
            amount = replace(step, code=codes["AMOUNT"], scale=leaf.decimal.scale)
            return amount if operation.type is PlaceholderType.DECIMAL else _of_currency(amount, operation, values)
    return None


def _of_currency(amount: TextOperation, operation: FieldOperation, values: PlanValues) -> TextOperation | None:
    """The amount with the digits of its currency; None where that is not the text of a slot."""
    slots = []
    for path in operation.currencies:
        leaf = values.leaf(path)
        if leaf is None or leaf.form is not Form.TEXT or leaf.slot is None:
            return None
        slots.append(leaf.slot)
    if len(slots) > MAX_CURRENCIES:
        return None
    return replace(amount, least_digits=DEFAULT_CURRENCY_DIGITS, code_slots=tuple(slots))


def _symbol_texts(leaf: Leaf, context: EscapeContext) -> tuple[bytes, ...] | None:
    """The text of each symbol of an enum, escaped; None where one cannot stand in `context` as it is meant."""
    texts = []
    for symbol in leaf.symbols:
        try:
            escaped, replaced = escape(symbol or "", context)
        except EscapeError:
            return None
        if replaced or not symbol:
            return None
        texts.append(escaped.encode())
    return tuple(texts)
