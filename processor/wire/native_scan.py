"""Runs scan programs in C (`_native.pyx`): here their nodes become its operations. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from processor.native import NativePart, NativeScan
from processor.wire.avro_binary import Read
from processor.wire.scan_expressions import max_decimal_bytes
from processor.wire.scan_program import (
    Choice,
    Entries,
    Form,
    Group,
    Items,
    Kept,
    Leaf,
    Node,
    ScanProgram,
    Whole,
    end_of,
)

_NO_SLOT: Final = -1


class _Operation(NamedTuple):
    """A name of the native part, the slot of a value, and two arguments of its own."""

    name: str
    slot: int = _NO_SLOT
    a: int = 0
    b: int = 0


def native_scan(program: ScanProgram, native: NativePart) -> NativeScan:
    """The program as a function that raises nothing. Its slots take an index, as those of `plain_scan` do."""
    assembler = _Assembler()
    code = [(native.scan_operations[step.name], step.slot, step.a, step.b) for step in assembler.node(program.root)]
    return native.make_scan(code, assembler.slot_count, assembler.symbol_tables, assembler.readers)


@dataclass
class _Assembler:
    slot_count: int = 0
    symbol_tables: list[bytes] = field(default_factory=list)
    readers: list[Callable[[bytes, int], int]] = field(default_factory=list)

    def node(self, node: Node) -> Iterator[_Operation]:
        match node:
            case Leaf():
                yield self._leaf(node)
            case Group():
                for inner in node.nodes:
                    yield from self.node(inner)
            case Choice():
                yield from self._choice(node)
            case Kept():
                slot = self._take(node.slot)
                yield _Operation("KEPT", slot)
                yield from self.node(node.node)
                yield _Operation("KEPT_END", slot)
            case Items():
                slot, item = self._take(node.slot), list(self.node(node.item))
                yield _Operation("ITEMS", slot, self._reader(node.read), len(item))
                yield from item
            case Entries():
                slot, branches = self._take(node.slot), list(self._branches(node))
                yield _Operation("ENTRIES", slot, self._reader(node.read), len(branches))
                yield from branches
            case Whole():
                yield _Operation("WHOLE", self._take(node.slot), self._reader(node.read))

    def _leaf(self, leaf: Leaf) -> _Operation:
        slot = self._take(leaf.slot)
        match leaf.form:
            case Form.DECIMAL:
                assert leaf.decimal is not None
                return _Operation(leaf.form, slot, max_decimal_bytes(leaf.decimal))
            case Form.FIXED:
                return _Operation(leaf.form, slot, leaf.size_bytes)
            case Form.SYMBOL:
                self.symbol_tables.append(bytes(symbol is not None for symbol in leaf.symbols))
                return _Operation(leaf.form, slot, len(self.symbol_tables) - 1, len(leaf.symbols))
            case form:
                return _Operation(form, slot)

    def _choice(self, choice: Choice) -> Iterator[_Operation]:
        first = self.slot_count
        value = [] if choice.value is None else list(self.node(choice.value))
        flags = choice.null_index | choice.accepts_null << 1 | (choice.value is not None) << 2
        count = self.slot_count - first
        yield _Operation("CHOICE", first if count else _NO_SLOT, flags | count << 3, len(value))
        yield from value

    def _branches(self, entries: Entries) -> Iterator[_Operation]:
        for branch in entries.branches:
            value = [] if branch is None else list(self.node(branch))
            yield _Operation("BRANCH", _NO_SLOT, int(branch is not None), len(value))
            yield from value

    def _take(self, slot: int | None) -> int:
        """A node's slot. They are numbered in the order in which nodes are met."""
        if slot is None:
            return _NO_SLOT
        assert slot == self.slot_count
        self.slot_count += 1
        return slot

    def _reader(self, read: Read) -> int:
        self.readers.append(partial(end_of, read))
        return len(self.readers) - 1
