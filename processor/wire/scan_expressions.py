"""Scan programs as regular expressions. Pure.

Each choice in an expression is atomic, and the alternatives of one begin with different bytes or are tried once, so
none backtracks: a record that does not match costs no more than one that does.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from processor.wire.scan_program import MAX_TEXT_BYTES, Choice, Entries, Form, Group, Items, Kept, Leaf, Node
from processor.wire.schema import DecimalBytes

# ---------------------------------------------------------------------------------------------------------------------
# Forms


def _lengths(first: int, last: int, content: Callable[[int], bytes]) -> Iterable[bytes]:
    """An alternative for each number of bytes from `first` to `last`, with the length in front: zig-zag, in one byte up
    to 63, else in two, of which the second is looked at first."""
    for length in range(first, min(last, 63) + 1):
        yield re.escape(bytes([2 * length])) + content(length)
    for second in range(1, 1 + (2 * last >> 7)):
        inner = [
            re.escape(bytes([2 * length & 0x7F | 0x80])) + re.escape(bytes([second])) + content(length)
            for length in range(64 * second, min(last, 64 * second + 63) + 1)
        ]
        yield b"(?=.%b)(?>%b)" % (re.escape(bytes([second])), b"|".join(inner))


def _any_bytes(length: int) -> bytes:
    return b".{%d}" % length if length else b""


def _ascii_bytes(length: int) -> bytes:
    return b"[\x00-\x7f]{%d}" % length if length else b""


def _tenant(length: int) -> bytes:
    return b"[a-z0-9]" + (b"[a-z0-9-]{%d}" % (length - 1) if length > 1 else b"")


def _one_of(alternatives: Iterable[bytes]) -> bytes:
    return b"(?>%b)" % b"|".join(alternatives)


class Texts(IntEnum):
    """Which texts an expression accepts. That of short ones is compiled in a fifth of the time."""

    SHORT = 63
    ALL = MAX_TEXT_BYTES


_TEXTS: Final = {texts: _one_of(_lengths(0, texts.value, _any_bytes)) for texts in Texts}
_ASCII_TEXTS: Final = {texts: _one_of(_lengths(0, texts.value, _ascii_bytes)) for texts in Texts}
_TEXT_FORMS: Final = frozenset((Form.TEXT, Form.CARD_TOKEN, Form.BYTES))
_HEX: Final = b"[0-9a-f]"

# Of dates and times as many bytes as surely fit; the first byte of a number has the sign in its lowest bit.
_EXPRESSIONS: Final[Mapping[Form, bytes]] = {
    Form.BOOLEAN: b"[\x00\x01]",
    Form.INT: _one_of((b"[\x80-\xff]{0,3}+[\x00-\x7f]", b"[\x80-\xff]{4}[\x00-\x0f]")),
    Form.LONG: _one_of((b"[\x80-\xff]{0,8}+[\x00-\x7f]", b"[\x80-\xff]{9}[\x00\x01]")),
    Form.TIMESTAMP: b"[\x80-\xff]{0,7}+[\x00-\x7f]",  # years 829 to 3111
    # One or two bytes: any. Three: after 1970 up to the year 4840; before it from the year 17 on.
    Form.DATE: _one_of(
        (
            b"[\x80-\xff]?+[\x00-\x7f]",
            b"[%b][\x80-\xff][\x00-\x7f]" % re.escape(bytes(range(0x80, 0x100, 2))),
            b"[%b][\x80-\xff][\x00-\x56]" % re.escape(bytes(range(0x81, 0x100, 2))),
        )
    ),
    Form.KEY: b"@" + _HEX + b"{32}",
    Form.UUID: b"H%b{8}-%b{4}-%b{4}-%b{4}-%b{12}" % (_HEX, _HEX, _HEX, _HEX, _HEX),
    Form.TENANT: _one_of(_lengths(1, 63, _tenant)),
}


def _form(leaf: Leaf, texts: Texts) -> bytes:
    match leaf.form:
        case form if form in _TEXT_FORMS:
            return _TEXTS[texts]
        case Form.DECIMAL:
            assert leaf.decimal is not None
            return _one_of(_lengths(1, max_decimal_bytes(leaf.decimal), _any_bytes))
        case Form.SYMBOL:
            known = [index for index, symbol in enumerate(leaf.symbols) if symbol is not None]
            return _one_of(re.escape(varint(index)) for index in known) if known else _NOTHING
        case Form.FIXED:
            return _any_bytes(leaf.size_bytes)
        case form:
            return _EXPRESSIONS[form]


_NOTHING: Final = b"(?!)"


def _choice(choice: Choice, value: bytes | None) -> bytes:
    """`value` is the expression of a value that is not null; None: no such value is accepted."""
    null_byte, value_byte = map(re.escape, branch_bytes(choice))
    alternatives = [null_byte] if choice.accepts_null else []
    if value is not None:
        alternatives.append(value_byte + value)
    return _one_of(alternatives) if alternatives else _NOTHING


def branch_bytes(choice: Choice) -> tuple[bytes, bytes]:
    """The byte that stands before null, and the one that stands before the value."""
    return bytes([2 * choice.null_index]), bytes([2 * (1 - choice.null_index)])


def max_decimal_bytes(type_: DecimalBytes) -> int:
    """How many bytes a decimal may have: whatever is in them is no number of more digits than the type has."""
    return max(count for count in range(1, 64) if count == 1 or 2 ** (8 * count - 1) < 10**type_.precision)


def varint(number: int) -> bytes:
    """A number as its writer writes it: not negative, below 8,192."""
    return bytes([2 * number]) if number < 64 else bytes([2 * number & 0x7F | 0x80, 2 * number >> 7])


# ---------------------------------------------------------------------------------------------------------------------
# Values of which something is kept


@dataclass(frozen=True, slots=True)
class Expression:
    """`pattern`, to be compiled with DOTALL, and what is in its groups, by their numbers.

    `kept` are the slots, in their order. `texts` have to be UTF-8, `tokens` card tokens, which is still to be checked;
    each has its length in front.
    """

    pattern: bytes
    kept: tuple[int, ...]
    texts: tuple[int, ...]
    tokens: tuple[int, ...]


def is_expression(node: Node) -> bool:
    """Whether one expression reads it; else it takes steps."""
    match node:
        case Leaf():
            return True
        case Group():
            return all(map(is_expression, node.nodes))
        case Choice():
            return node.value is None or is_expression(node.value)
        case Kept():
            return is_expression(node.node)
        case _:
            return False


def expression(nodes: Iterable[Node], texts: Texts) -> Expression:
    """The expression of nodes that stand behind each other, all of them expressions."""
    writer = _Writer(texts)
    pattern = writer.write(nodes)
    return Expression(pattern, tuple(writer.kept), tuple(writer.texts), tuple(writer.tokens))


@dataclass(slots=True)
class _Writer:
    """Writes one expression, and keeps the numbers of its groups."""

    accepted: Texts
    groups: int = 0
    kept: list[int] = field(default_factory=list)
    texts: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)

    def write(self, nodes: Iterable[Node]) -> bytes:
        return b"".join(map(self._node, nodes))

    def _node(self, node: Node) -> bytes:
        match node:
            case Leaf():
                return self._leaf(node)
            case Group():
                return self.write(node.nodes)
            case Choice():
                return _choice(node, None if node.value is None else self._node(node.value))
            case Kept():
                return self._group(lambda: self._node(node.node), self.kept)
            case _:
                raise AssertionError("no expression reads it")

    def _leaf(self, leaf: Leaf) -> bytes:
        kinds = [] if leaf.slot is None else [self.kept]
        if leaf.form in (Form.TEXT, Form.CARD_TOKEN):
            kinds.append(self.texts)
        if leaf.form is Form.CARD_TOKEN:
            kinds.append(self.tokens)
        form = _form(leaf, self.accepted)
        return self._group(lambda: form, *kinds) if kinds else form

    def _group(self, write: Callable[[], bytes], *kinds: list[int]) -> bytes:
        """A group around what `write` gives, whose groups have higher numbers."""
        self.groups += 1
        for kind in kinds:
            kind.append(self.groups)
        return b"(%b)" % write()


def flatten(node: Node) -> Iterator[Node]:
    """A group's nodes, and those of the groups in it; any other node itself."""
    if isinstance(node, Group):
        for inner in node.nodes:
            yield from flatten(inner)
    else:
        yield node


# ---------------------------------------------------------------------------------------------------------------------
# Values of arrays and maps, of which nothing is kept


def items_expression(items: Items, count: int, texts: Texts) -> bytes | None:
    """`count` items of an array and its end, where their texts are ASCII; None where an item takes steps.

    Not its count: the caller has read it.
    """
    item = _passed(items.item, texts)
    return None if item is None else b"(?:%b){%d}\x00" % (item, count)


def entries_expression(entries: Entries, count: int) -> bytes:
    """A map of `count` entries, its count and its end with them, where keys and texts have 63 bytes at most, and texts
    are ASCII. The groups are the keys, with their lengths in front."""
    entry = b"(%b)%b" % (_TEXTS[Texts.SHORT], _values(entries, Texts.SHORT, keeps_text=False))
    return b"%b%b%b" % (re.escape(bytes([2 * count])), entry * count, b"\x00" if count else b"")


def entry_expression(entries: Entries) -> bytes:
    """One entry of a map. Its key is a group, and so is its value in each branch that is a text."""
    return b"(%b)%b" % (_TEXTS[Texts.ALL], _values(entries, Texts.ALL, keeps_text=True))


def _values(entries: Entries, texts: Texts, *, keeps_text: bool) -> bytes:
    """The value of an entry, with its branch of the union in front. `keeps_text` as in `_passed`."""
    alternatives = []
    for index, branch in enumerate(entries.branches):
        value = None if branch is None else _passed(branch, texts, keeps_text=keeps_text)
        if value is not None:
            alternatives.append(re.escape(varint(index)) + value)
    return _one_of(alternatives)


def _passed(node: Node, texts: Texts, *, keeps_text: bool = False) -> bytes | None:
    """The expression of a node of which nothing is kept. Its texts are ASCII, as nobody checks them again; with
    `keeps_text` a node that is itself a text is a group, of any bytes. None: it takes steps."""
    match node:
        case Leaf(form=Form.CARD_TOKEN):
            return _NOTHING
        case Leaf(form=Form.TEXT):
            return b"(%b)" % _TEXTS[texts] if keeps_text else _ASCII_TEXTS[texts]
        case Leaf():
            return _form(node, texts)
        case Group():
            inner = [_passed(part, texts) for part in node.nodes]
            return None if None in inner else b"".join(part for part in inner if part is not None)
        case Choice():
            value = None if node.value is None else _passed(node.value, texts)
            return None if value is None and node.value is not None else _choice(node, value)
        case _:
            return None
