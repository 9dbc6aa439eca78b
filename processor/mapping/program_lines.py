"""The programs of plans as lines, for people who want to know what a plan does. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from processor.domain.value_format import PATTERN_ARGUMENT
from processor.mapping.text_plan import CustomFieldOperation, FieldOperation, Operation, TextProgram
from processor.wire.scan_program import (
    Choice,
    Default,
    Entries,
    Form,
    Group,
    Items,
    Kept,
    Leaf,
    Node,
    ScanProgram,
    Whole,
)


@dataclass(frozen=True, slots=True)
class ScanLine:
    """One step of a scan: which bytes it accepts, in words.

    `depth`: within how many records, arrays and maps. `field`: the writer's name of it; empty for an item of an array,
    a value of a map, and what the record lacks. `slot`: where it is kept; None: it is only checked. `values`: what is
    read from there, as paths of our own names, joined by dots.
    """

    depth: int
    field: str
    accepts: str
    slot: int | None = None
    values: tuple[str, ...] = ()


_Values = Mapping[int, tuple[str, ...]]
"""By the identity of a source, the paths that are read from it."""


def scan_lines(program: ScanProgram) -> Iterator[ScanLine]:
    """The steps of a program, in the order of a record's bytes; behind them what the record lacks, and is read all the
    same."""
    paths: dict[int, list[str]] = {}
    for path, place in program.places.items():
        paths.setdefault(id(place.source), []).append(".".join(path))
    values = {source: tuple(sorted(found)) for source, found in paths.items()}
    assert isinstance(program.root, Group), "a writer's schema is a record"
    yield from _fields(program.root, 0, values)
    for path, place in sorted(program.places.items()):
        if isinstance(place.source, Default):
            value = "null" if place.source.value is None else str(place.source.value)
            yield ScanLine(0, "", f"nothing: {value}", values=(".".join(path),))


def _fields(group: Group, depth: int, values: _Values) -> Iterator[ScanLine]:
    for name, node in zip(group.names or [""] * len(group.nodes), group.nodes, strict=True):
        yield from _lines(node, ScanLine(depth, name, ""), values)


def _lines(node: Node, start: ScanLine, values: _Values) -> Iterator[ScanLine]:
    """`start` has what is known before: depth, name, and whether null is accepted too."""

    def line(accepts: str, slot: int | None = None) -> ScanLine:
        return replace(start, accepts=start.accepts + accepts, slot=slot, values=values.get(id(node), ()))

    item = ScanLine(start.depth + 1, "", "")
    match node:
        case Leaf():
            yield line(_form(node), node.slot)
        case Group():
            yield line("record" if node.nodes else "no bytes")
            yield from _fields(node, start.depth + 1, values)
        case Kept():
            yield line("record", node.slot)
            yield from _fields(node.node, start.depth + 1, values)
        case Choice():
            if node.value is None:
                yield line("null")
            else:
                yield from _lines(node.value, line("null or " if node.accepts_null else "not null: "), values)
        case Items():
            yield line("array of", node.slot)
            yield from _lines(node.item, item, values)
        case Entries():
            yield line("map of", node.slot)
            for branch in [branch for branch in node.branches if branch is not None]:
                yield from _lines(branch, item, values)
        case Whole():
            yield line("read by the reference", node.slot)


def _form(leaf: Leaf) -> str:
    """What a value has to be."""
    if leaf.form is Form.SYMBOL:
        return f"one of {', '.join(symbol for symbol in leaf.symbols if symbol is not None)}"
    if leaf.form is Form.FIXED:
        return f"{leaf.size_bytes} bytes"
    if leaf.decimal is not None:
        return f"decimal of {leaf.decimal.precision} digits, {leaf.decimal.scale} behind the point"
    return leaf.form.value


@dataclass(frozen=True, slots=True)
class TextLine:
    """One step of a text. `text` is written as it is; or `value` says in words what is, escaped for `context`."""

    text: str = ""
    value: str = ""
    context: str = ""


def text_lines(program: TextProgram) -> Iterator[TextLine]:
    """The steps of a program, in their order; no empty text."""
    first, *others = program.constants
    if first:
        yield TextLine(first)
    for operation, constant in zip(program.operations, others, strict=True):
        yield TextLine(value=_value(operation), context=operation.context)
        if constant:
            yield TextLine(constant)


def _value(operation: Operation) -> str:
    match operation:
        case CustomFieldOperation(field):
            return f"custom field {' or '.join(field.keys)}"
        case FieldOperation(path, kind, currencies):
            words = [f"{kind} {'.'.join(path)}"]
            if currencies:
                words.append(f"currency {' or '.join('.'.join(currency) for currency in currencies)}")
            if operation.format is not None:
                function = operation.format.function
                words.append(f"{function}, {PATTERN_ARGUMENT[function]}={operation.format.pattern}")
            return ", ".join(words)
