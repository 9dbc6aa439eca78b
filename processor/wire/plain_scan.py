"""Runs scan programs with regular expressions. Pure.

Values of a known form that stand behind each other are one expression; an array or a map, and a record with one in it,
are steps between two. Each choice in an expression is atomic, and the alternatives of one begin with different bytes or
are tried once, so none backtracks: a record that does not match costs no more than one that does.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import itemgetter
from typing import Any, Final

from processor.wire.avro_binary import Cursor
from processor.wire.errors import ContentError
from processor.wire.scalars import (
    check_card_token,
    date_from_days,
    decimal_from_unscaled,
    timestamp_from_micros,
)
from processor.wire.scan_program import (
    MAX_TEXT_BYTES,
    Choice,
    Default,
    Entries,
    Form,
    Group,
    Items,
    Kept,
    Leaf,
    Node,
    Place,
    ScanProgram,
    Whole,
)
from processor.wire.schema import DecimalBytes

Slots = tuple[Any, ...]
"""By slot, the bytes of a value, its length in front of it where it has one; None: it, or a record around it, is
missing."""

Scan = Callable[[bytes, int], Slots | None]
"""The slots of the record that stands in the bytes from an index to their end; None: refused."""

_Step = Callable[[bytes, int, list[Any]], int]
"""Adds slots, and gives the index behind what it has read; -1: refused."""

_REFUSED: Final = -1
_MAX_COUNT: Final = 63  # of an array's or a map's one block, so that it is one byte


def plain_scan(program: ScanProgram) -> Scan:
    """The program as a function. To make it takes a tenth of a second, as expressions are compiled; it raises
    nothing."""
    run = _steps(program.root)
    check_texts = _text_check(program.text_slots)
    token_slots = program.token_slots

    def scan(data: bytes, at: int) -> Slots | None:
        found: list[Any] = []
        if run(data, at, found) != len(data) or not check_texts(found):
            return None
        if token_slots and not all(_is_token(found[slot]) for slot in token_slots):
            return None
        return tuple(found)

    return scan


# ---------------------------------------------------------------------------------------------------------------------
# Steps


def _steps(node: Node) -> _Step:
    """What reads a node. Adds exactly as many slots as the node has, in their order."""
    steps = list(_parts(node))
    if len(steps) == 1:
        return steps[0]

    def run(data: bytes, at: int, found: list[Any]) -> int:
        for step in steps:
            at = step(data, at, found)
            if at < 0:
                return _REFUSED
        return at

    return run


def _parts(node: Node) -> Iterable[_Step]:
    """Consecutive nodes that expressions can read are one step."""
    pending: list[bytes] = []

    def flush() -> Iterable[_Step]:
        if pending:
            yield _expression_step(b"".join(pending))
            pending.clear()

    for part in _flat(node):
        expression = _expression(part, keeps=True)
        if expression is not None:
            pending.append(expression)
            continue
        yield from flush()
        match part:
            case Items():
                yield _items_step(part)
            case Entries():
                yield _entries_step(part)
            case Whole():
                yield _value_step(part)
            case Choice():
                yield _choice_step(part)
            case Kept():
                yield _kept_step(part)
            case _:
                raise AssertionError("a group is flat, and an expression reads any leaf")
    yield from flush()


def _flat(node: Node) -> Iterable[Node]:
    if isinstance(node, Group):
        for inner in node.nodes:
            yield from _flat(inner)
    else:
        yield node


def _expression_step(expression: bytes) -> _Step:
    match_at = re.compile(expression, re.DOTALL).match

    def step(data: bytes, at: int, found: list[Any]) -> int:
        matched = match_at(data, at)
        if matched is None:
            return _REFUSED
        found += matched.groups()
        return matched.end()

    return step


def _choice_step(choice: Choice) -> _Step:
    """A union of null and something with an array in it."""
    null_byte, value_byte = _branch_bytes(choice)
    assert choice.value is not None, "null alone is an expression"
    run, missing = _steps(choice.value), [None] * _slot_count(choice.value)

    def step(data: bytes, at: int, found: list[Any]) -> int:
        branch = data[at : at + 1]
        if branch == value_byte:
            return run(data, at + 1, found)
        if branch != null_byte or not choice.accepts_null:
            return _REFUSED
        found += missing
        return at + 1

    return step


def _value_step(
    node: Items | Entries | Whole, find_end: Callable[[bytes, int], int] = lambda _data, _at: _REFUSED
) -> _Step:
    """A value up to where `find_end` finds its end; where that refuses it, what reads the value does."""
    read, is_kept = node.read, node.slot is not None

    def step(data: bytes, at: int, found: list[Any]) -> int:
        end = find_end(data, at)
        if end < 0:
            end = _read_past(read, data, at)
        if is_kept:
            found.append(data[at:end])
        return end

    return step


def _items_step(items: Items) -> _Step:
    """Items by their expression; where one of them is refused, or texts are not ASCII, by what reads the values."""
    expression = _expression(items.item, keeps=False)
    by_count: dict[int, re.Pattern[bytes]] = {}

    def find_end(data: bytes, at: int) -> int:
        if data[at : at + 1] == b"\x00":
            return at + 1
        if expression is None or at >= len(data) or data[at] & 0x81:
            return _REFUSED
        count = data[at] >> 1
        pattern = by_count.get(count)
        if pattern is None:
            pattern = by_count[count] = re.compile(b"(?:%b){%d}\x00" % (expression, count), re.DOTALL)
        matched = pattern.match(data, at + 1)
        return _REFUSED if matched is None else matched.end()

    return _value_step(items, find_end)


def _entries_step(entries: Entries) -> _Step:
    """Entries one by one, as their keys have to be different; where one is refused, by what reads the values."""
    alternatives = []
    for index, branch in enumerate(entries.branches):
        expression = None if branch is None else _expression(branch, keeps=False, keeps_text=True)
        if expression is not None:
            alternatives.append(re.escape(bytes([2 * index])) + expression)
    match_entry = re.compile(b"(%b)(?>%b)" % (_TEXT, b"|".join(alternatives)), re.DOTALL).match
    return _value_step(entries, lambda data, at: _end_of_entries(data, at, match_entry))


def _end_of_entries(data: bytes, at: int, match_entry: Callable[[bytes, int], re.Match[bytes] | None]) -> int:
    if at >= len(data) or data[at] & 0x81:
        return _REFUSED
    count, at = data[at] >> 1, at + 1
    if count == 0:
        return at
    keys, texts = [], []
    for _ in range(count):
        matched = match_entry(data, at)
        if matched is None:
            return _REFUSED
        key, *values = matched.groups()
        keys.append(key)
        texts += values
        at = matched.end()
    if data[at : at + 1] != b"\x00" or len(set(keys)) < count or not _is_utf8([*keys, *texts]):
        return _REFUSED
    return at + 1


def _kept_step(kept: Kept) -> _Step:
    """A record with an array in it. Its slot is in front of those of its values."""
    run = _steps(kept.node)

    def step(data: bytes, at: int, found: list[Any]) -> int:
        slot = len(found)
        found.append(None)
        end = run(data, at, found)
        found[slot] = data[at:end]
        return end

    return step


def _read_past(read: Callable[[Cursor], Any], data: bytes, at: int) -> int:
    cursor = Cursor(data, at)
    try:
        read(cursor)
    except ContentError:
        return _REFUSED
    return cursor.at


def _slot_count(node: Node) -> int:
    match node:
        case Group():
            return sum(map(_slot_count, node.nodes))
        case Choice():
            return 0 if node.value is None else _slot_count(node.value)
        case Kept():
            return 1 + _slot_count(node.node)
        case _:
            return 0 if node.slot is None else 1


# ---------------------------------------------------------------------------------------------------------------------
# Expressions


def _lengths(first: int, last: int, content: Callable[[int], bytes]) -> Iterable[bytes]:
    """An alternative for each length in bytes, with the length in front: zig-zag, in one byte up to 63, in two above
    that."""
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


_TEXT: Final = _one_of(_lengths(0, MAX_TEXT_BYTES, _any_bytes))
_ASCII_TEXT: Final = _one_of(_lengths(0, MAX_TEXT_BYTES, _ascii_bytes))
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
    Form.TEXT: _TEXT,
    Form.CARD_TOKEN: _TEXT,
    Form.BYTES: _TEXT,
    Form.KEY: b"@" + _HEX + b"{32}",
    Form.UUID: b"H%b{8}-%b{4}-%b{4}-%b{4}-%b{12}" % (_HEX, _HEX, _HEX, _HEX, _HEX),
    Form.TENANT: _one_of(_lengths(1, 63, _tenant)),
}


def _expression(node: Node, *, keeps: bool, keeps_text: bool = False) -> bytes | None:
    """The expression of a node; None where it takes steps.

    With `keeps` each slot is a group. Without, a text has to be ASCII, as nobody looks at it again; with `keeps_text`
    it is a group, of a node that has one at most.
    """
    match node:
        case Leaf():
            return _leaf(node, keeps=keeps, keeps_text=keeps_text)
        case Group():
            inner = [_expression(part, keeps=keeps) for part in node.nodes]
            return None if None in inner else b"".join(part for part in inner if part is not None)
        case Choice():
            return _choice(node, keeps=keeps)
        case Kept():
            inner_of_kept = _expression(node.node, keeps=keeps)
            return None if inner_of_kept is None else b"(%b)" % inner_of_kept
        case _:
            return None


def _leaf(leaf: Leaf, *, keeps: bool, keeps_text: bool) -> bytes:
    match leaf.form:
        case Form.DECIMAL:
            assert leaf.decimal is not None
            expression = _one_of(_lengths(1, _max_decimal_bytes(leaf.decimal), _any_bytes))
        case Form.SYMBOL:
            known = [index for index, symbol in enumerate(leaf.symbols) if symbol is not None]
            expression = _one_of(re.escape(_varint(index)) for index in known) if known else b"(?!)"
        case Form.FIXED:
            expression = _any_bytes(leaf.size_bytes)
        case Form.TEXT | Form.CARD_TOKEN if not keeps and not keeps_text:
            expression = _ASCII_TEXT if leaf.form is Form.TEXT else b"(?!)"
        case form:
            expression = _EXPRESSIONS[form]
    is_group = (keeps and leaf.slot is not None) or (keeps_text and leaf.form is Form.TEXT)
    return b"(%b)" % expression if is_group else expression


def _choice(choice: Choice, *, keeps: bool) -> bytes | None:
    null_byte, value_byte = map(re.escape, _branch_bytes(choice))
    alternatives = [null_byte] if choice.accepts_null else []
    if choice.value is not None:
        inner = _expression(choice.value, keeps=keeps)
        if inner is None:
            return None
        alternatives.append(value_byte + inner)
    return _one_of(alternatives) if alternatives else b"(?!)"


def _branch_bytes(choice: Choice) -> tuple[bytes, bytes]:
    """Of null and of the value."""
    return bytes([2 * choice.null_index]), bytes([2 * (1 - choice.null_index)])


def _max_decimal_bytes(type_: DecimalBytes) -> int:
    """So many bytes hold no number of more digits than the type has."""
    return max(count for count in range(1, 64) if count == 1 or 2 ** (8 * count - 1) < 10**type_.precision)


def _varint(number: int) -> bytes:
    """Not negative, below 8,192."""
    return bytes([2 * number]) if number < 64 else bytes([2 * number & 0x7F | 0x80, 2 * number >> 7])


# ---------------------------------------------------------------------------------------------------------------------
# What is left to be checked


def _text_check(slots: tuple[int, ...]) -> Callable[[list[Any]], bool]:
    """Whether all texts are UTF-8."""
    match len(slots):
        case 0:
            return lambda _found: True
        case 1:
            (slot,) = slots
            return lambda found: _is_utf8([found[slot]])
        case _:
            texts_of = itemgetter(*slots)
            return lambda found: _is_utf8(texts_of(found))


def _is_utf8(texts: Iterable[bytes | None]) -> bool:
    """Whether each of these texts is UTF-8; its length is in front of it. A length of two bytes is not ASCII, so where
    there is one, or a letter that is not, lengths make way for line breaks: a text may not end with what the next one
    begins with."""
    present = [text for text in texts if text is not None]
    if b"".join(present).isascii():
        return True
    try:
        b"\n".join([text[1:] if text[0] < 0x80 else text[2:] for text in present]).decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_token(text: bytes | None) -> bool:
    if text is None:
        return True
    try:
        check_card_token(text_of_slot(text))
    except ContentError:
        return False
    return True


# ---------------------------------------------------------------------------------------------------------------------
# Values of slots


def read_long(raw: bytes) -> int:
    """A zig-zag number."""
    number = 0
    for byte in reversed(raw):
        number = number << 7 | byte & 0x7F
    return number >> 1 ^ -(number & 1)


def text_of_slot(raw: bytes) -> str:
    """A text, or what is written as one: a key, a uuid, a tenant."""
    return (raw[1:] if raw[0] < 0x80 else raw[2:]).decode()


def unscaled_of_slot(raw: bytes) -> int:
    """A decimal's whole number."""
    return int.from_bytes(raw[1:], "big", signed=True)


VALUES: Final[Mapping[Form, Callable[[bytes], Any]]] = {  # form -> the value that `avro_reader` gives of a slot
    Form.BOOLEAN: lambda raw: raw == b"\x01",
    Form.INT: read_long,
    Form.LONG: read_long,
    Form.DATE: lambda raw: date_from_days(read_long(raw)),
    Form.TIMESTAMP: lambda raw: timestamp_from_micros(read_long(raw)),
    Form.TEXT: text_of_slot,
    Form.KEY: text_of_slot,
    Form.UUID: text_of_slot,
    Form.TENANT: text_of_slot,
    Form.CARD_TOKEN: text_of_slot,
}


def value_reader(place: Place) -> Callable[[Slots], Any]:
    """How the value of a wanted path is read from slots: as `avro_reader` gives it; None where it is missing."""
    match place.source:
        case Default(default):
            value = _within(default, place.rest)
            return lambda _slots: value
        case Leaf() as leaf:
            assert leaf.slot is not None, "a wanted value is kept"
            return _of_slot(leaf.slot, _value_of(leaf))
        case source:
            assert source.slot is not None, "a wanted value is kept"
            read = source.read
            inner = _of_slot(source.slot, lambda raw: read(Cursor(raw)))
            return inner if not place.rest else lambda slots: _within(inner(slots), place.rest)


def _value_of(leaf: Leaf) -> Callable[[bytes], Any]:
    match leaf.form:
        case Form.DECIMAL:
            assert leaf.decimal is not None
            return partial(_decimal, leaf.decimal)
        case Form.SYMBOL:
            return {_varint(index): symbol for index, symbol in enumerate(leaf.symbols)}.__getitem__
        case form:
            return VALUES[form]


def _decimal(type_: DecimalBytes, raw: bytes) -> Any:
    return decimal_from_unscaled(unscaled_of_slot(raw), type_)


def _of_slot(slot: int, value_of: Callable[[bytes], Any]) -> Callable[[Slots], Any]:
    def read(slots: Slots) -> Any:
        raw = slots[slot]
        return None if raw is None else value_of(raw)

    return read


def _within(value: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        if value is None:
            return None
        value = value.get(step)
    return value
