"""Runs scan programs with regular expressions (`scan_expressions.py`). Pure.

Values of a known form that stand behind each other are one expression; an array or a map, and a record with one in it,
are steps between two.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from operator import itemgetter, methodcaller
from typing import Any, Final

from processor.wire.errors import ContentError
from processor.wire.scalars import check_card_token
from processor.wire.scan_expressions import (
    Expression,
    Texts,
    branch_bytes,
    entries_expression,
    entry_expression,
    expression,
    flatten,
    is_expression,
    items_expression,
)
from processor.wire.scan_program import (
    REFUSED,
    Choice,
    Entries,
    Group,
    Items,
    Kept,
    Node,
    ScanProgram,
    Whole,
    end_of,
)
from processor.wire.slot_values import Scan, Slots, text_of_slot

_Step = Callable[[bytes, int, list[Any]], int]
"""Adds slots, and gives the index behind what it has read; -1: refused."""

_TEXTS_IN_TURN: Final = tuple(Texts)  # to go through an enum takes longer than a match
_MAX_JOINED_ENTRIES: Final = 8  # of a map, by one expression: each number of entries has its own, which grows with it


def plain_scan(program: ScanProgram) -> Scan:
    """The program as a function, which raises nothing.

    Takes a tenth of a second, to compile expressions; those of arrays and maps are compiled when the first record comes
    that has so many items.
    """
    run = _steps(program.root)

    def scan(data: bytes, at: int) -> Slots | None:
        found: list[Any] = []
        return tuple(found) if run(data, at, found) == len(data) else None

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
                return REFUSED
        return at

    return run


def _parts(node: Node) -> Iterable[_Step]:
    """The steps of a node. Consecutive nodes that expressions can read are one."""
    pending: list[Node] = []
    for part in flatten(node):
        if is_expression(part):
            pending.append(part)
            continue
        if pending:
            yield _expression_step(tuple(pending))
            pending.clear()
        yield _step(part)
    if pending:
        yield _expression_step(tuple(pending))


def _step(node: Node) -> _Step:
    match node:
        case Items():
            return _items_step(node)
        case Entries():
            return _entries_step(node)
        case Whole():
            return _value_step(node)
        case Choice():
            return _choice_step(node)
        case Kept():
            return _kept_step(node)
        case _:
            raise AssertionError("a group is flat, and an expression reads any leaf")


def _expression_step(nodes: Sequence[Node]) -> _Step:
    """By the expression for short texts, or by the one for all: first by the one that read the last record."""
    short, every = expression(nodes, Texts.SHORT), expression(nodes, Texts.ALL)
    first = _match_step(short, _are_short_utf8)
    if short == every:
        return first
    second = _when_called(lambda: _match_step(every, _are_utf8))

    def step(data: bytes, at: int, found: list[Any]) -> int:
        nonlocal first, second
        end = first(data, at, found)
        if end < 0:
            end = second(data, at, found)
            if end >= 0:
                first, second = second, first
        return end

    return step


def _when_called(make: Callable[[], _Step]) -> _Step:
    """What `make` gives, made at the first call: to compile an expression takes its time."""
    made: _Step | None = None

    def step(data: bytes, at: int, found: list[Any]) -> int:
        nonlocal made
        made = made or make()
        return made(data, at, found)

    return step


def _match_step(how: Expression, are_utf8: Callable[[Iterable[bytes | None]], bool]) -> _Step:
    match_at = re.compile(how.pattern, re.DOTALL).match
    kept_of, texts_of, tokens_of = map(_groups, (how.kept, how.texts, how.tokens))
    has_texts, has_tokens = bool(how.texts), bool(how.tokens)

    def step(data: bytes, at: int, found: list[Any]) -> int:
        matched = match_at(data, at)
        if matched is None or (has_texts and not are_utf8(texts_of(matched))):
            return REFUSED
        if has_tokens and not _are_tokens(tokens_of(matched)):
            return REFUSED
        found += kept_of(matched)
        return matched.end()

    return step


def _groups(numbers: tuple[int, ...]) -> Callable[[re.Match[bytes]], Sequence[bytes | None]]:
    """What gives these groups of a match."""
    match numbers:
        case ():
            return lambda _matched: ()
        case (number,):
            return lambda matched: (matched[number],)
        case _:
            return methodcaller("group", *numbers)


def _choice_step(choice: Choice) -> _Step:
    """A union of null and something with an array in it."""
    null_byte, value_byte = branch_bytes(choice)
    assert choice.value is not None, "null alone is an expression"
    run, missing = _steps(choice.value), [None] * _slot_count(choice.value)

    def step(data: bytes, at: int, found: list[Any]) -> int:
        branch = data[at : at + 1]
        if branch == value_byte:
            return run(data, at + 1, found)
        if branch != null_byte or not choice.accepts_null:
            return REFUSED
        found += missing
        return at + 1

    return step


def _value_step(
    node: Items | Entries | Whole, find_end: Callable[[bytes, int], int] = lambda _data, _at: REFUSED
) -> _Step:
    """A value up to the end that `find_end` gives; where that refuses it, up to where `node.read` has read it."""
    read, is_kept = node.read, node.slot is not None

    def step(data: bytes, at: int, found: list[Any]) -> int:
        end = find_end(data, at)
        if end < 0:
            end = end_of(read, data, at)
        if is_kept:
            found.append(data[at:end])
        return end

    return step


def _items_step(items: Items) -> _Step:
    """Items by one expression; where it refuses one of them, or has a text that is not ASCII, by `items.read`."""

    @cache
    def match_of(count: int, texts: Texts) -> Callable[[bytes, int], re.Match[bytes] | None]:
        pattern = items_expression(items, count, texts)
        return _match_nothing if pattern is None else re.compile(pattern, re.DOTALL).match

    def find_end(data: bytes, at: int) -> int:
        if data[at : at + 1] == b"\x00":
            return at + 1
        if at >= len(data) or data[at] & 0x81:  # a count of one byte, which is not negative
            return REFUSED
        for texts in _TEXTS_IN_TURN:
            matched = match_of(data[at] >> 1, texts)(data, at + 1)
            if matched is not None:
                return matched.end()
        return REFUSED

    return _value_step(items, find_end)


def _match_nothing(_data: bytes, _at: int) -> None:
    """Of items that take steps."""
    return


def _entries_step(entries: Entries) -> _Step:
    """Entries whose keys are different: all by one expression where they are few and short, else one by one; where one
    is refused, by `entries.read`."""

    @cache
    def match_all_of(count: int) -> Callable[[bytes, int], re.Match[bytes] | None]:
        return re.compile(entries_expression(entries, count), re.DOTALL).match

    @cache
    def match_entry() -> Callable[[bytes, int], re.Match[bytes] | None]:
        return re.compile(entry_expression(entries), re.DOTALL).match

    def find_end(data: bytes, at: int) -> int:
        count = data[at] >> 1 if at < len(data) and not data[at] & 1 else _MAX_JOINED_ENTRIES + 1
        matched = match_all_of(count)(data, at) if count <= _MAX_JOINED_ENTRIES else None
        if matched is None:
            return _end_of_entries(data, at, match_entry())
        keys = matched.groups()
        return matched.end() if len(set(keys)) == count and _are_short_utf8(keys) else REFUSED

    return _value_step(entries, find_end)


def _end_of_entries(data: bytes, at: int, match_entry: Callable[[bytes, int], re.Match[bytes] | None]) -> int:
    """The index behind a map that is one block, entry by entry; -1: refused."""
    if at >= len(data) or data[at] & 0x81:
        return REFUSED
    count, at = data[at] >> 1, at + 1
    if count == 0:
        return at
    keys, texts = [], []
    for _ in range(count):
        matched = match_entry(data, at)
        if matched is None:
            return REFUSED
        key, *values = matched.groups()
        keys.append(key)
        texts += values
        at = matched.end()
    if data[at : at + 1] != b"\x00" or len(set(keys)) < count or not _are_utf8([*keys, *texts]):
        return REFUSED
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


def _slot_count(node: Node) -> int:
    """How many slots a node has: so many are None where a record that may be missing is."""
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
# What is left to be checked


def _are_short_utf8(texts: Iterable[bytes | None]) -> bool:
    """Whether each of these texts is UTF-8, with its length in front of it, which is ASCII, as a line break between two
    is: so the end of one does not count with the begin of the next."""
    return _is_utf8(b"\n".join(filter(None, texts)))


def _are_utf8(texts: Iterable[bytes | None]) -> bool:
    """The same of texts that may be long. The first of a length's two bytes is not ASCII; the last is, and a length of
    one byte is not missed."""
    return _is_utf8(b"\n".join(map(_without_first, filter(None, texts))))


_without_first: Final = itemgetter(slice(1, None))


def _is_utf8(text: bytes) -> bool:
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _are_tokens(texts: Iterable[bytes | None]) -> bool:
    try:
        for text in texts:
            if text is not None:
                check_card_token(text_of_slot(text))
    except ContentError:
        return False
    return True
