"""Where the values of a record stand in its bytes: a program for a writer's and a reader's schema. Pure.

A program is run over a record's bytes without making its values (`plain_scan`). It accepts the record or refuses it,
and never says why: what it refuses is read by `avro_reader`, whose verdict counts. What it accepts, `avro_reader` reads
as the same values. It may refuse what is valid and rare: numbers and lengths in more bytes than they need, texts over
MAX_TEXT_BYTES, decimals near the end of their precision, uuids in capitals.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from processor.wire.avro_binary import Cursor, Read
from processor.wire.avro_reader import branch_for, map_field_names, resolve, short_name
from processor.wire.avro_skip import Plans, skipper
from processor.wire.errors import ContentError
from processor.wire.scalars import TextCheck, check_card_token, check_key, check_tenant, default_value, text_check
from processor.wire.schema import (
    NO_DEFAULT,
    Array,
    DecimalBytes,
    Enum,
    Fixed,
    Map,
    Record,
    Scalar,
    Type,
    Union,
    is_null,
    min_size_bytes,
)

MAX_TEXT_BYTES: Final = 255  # of a text that a program accepts
MAX_SYMBOLS: Final = 8_192  # of an enum: their indexes have two bytes at most
MAX_ALTERNATIVES: Final = 100_000
"""In one program: the lengths that each text may have, and the symbols of each enum. An expression of so many takes
about two seconds and 100 MB to make; a short schema may have one enum of many symbols in many fields."""

REFUSED: Final = -1
"""Instead of the index behind what was read."""

Path = tuple[str, ...]
"""Names of the reader's fields, from the record inwards."""


class NotPlannedError(Exception):
    """There is no program for these schemas; `str(error)` says why, naming fields and types of the schemas."""


class Form(StrEnum):
    """What the bytes of a value have to be."""

    BOOLEAN = "boolean"
    INT = "int"
    LONG = "long"
    DATE = "date"
    TIMESTAMP = "timestamp"  #: Microseconds since 1970.
    DECIMAL = "decimal"
    SYMBOL = "symbol"  #: Of an enum.
    TEXT = "text"  #: Any UTF-8.
    KEY = "key"  #: 32 hexadecimal digits.
    UUID = "uuid"
    TENANT = "tenant"
    CARD_TOKEN = "card token"  # noqa: S105  a form
    BYTES = "bytes"  #: Any, of a field that the reader does not have.
    FIXED = "fixed"  #: So many bytes, of such a field.


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """One value. `slot`: where it is kept, with its length in front where it has one; None: it is only checked.

    `decimal` is the type of a DECIMAL, `size_bytes` the size of a FIXED. `symbols` are those of the writer's enum, of a
    SYMBOL, as the reader calls them; None for one that it does not know.
    """

    form: Form
    slot: int | None = None
    decimal: DecimalBytes | None = None
    symbols: tuple[str | None, ...] = ()
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Values that stand behind each other: the fields of a record. `names`: how the writer calls each, for people."""

    nodes: tuple["Node", ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """A union of null, its branch `null_index` (0 or 1), and a `value`. None, or null where `accepts_null` is false: a
    record that has this branch is refused."""

    null_index: int
    accepts_null: bool
    value: "Node | None"


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """An array. `read` makes its list, also where the program of an `item` refuses one. `slot` has all of its bytes."""

    item: "Node"
    read: Read
    slot: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """A map whose values are a union; `branches` by the writer's index, None: such a value is refused.

    `read` makes its dict; `slot` has all of its bytes.
    """

    branches: tuple["Node | None", ...]
    read: Read
    slot: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """Anything else: `read` reads it, or reads past it. `slot` has its bytes."""

    read: Read
    slot: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """A record of which `slot` has all bytes; `read` makes a dict of them."""

    node: Group
    read: Read
    slot: int


Node = Leaf | Group | Choice | Items | Entries | Whole | Kept


@dataclass(frozen=True, slots=True, eq=False)
class Default:
    """The value of a field that the writer does not have; `is_conditional`: where the record around it is there."""

    value: Any
    is_conditional: bool = False


Source = Leaf | Items | Entries | Whole | Kept | Default
"""What a value is read from."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where the value of a path is found: in a slot as `source` has it there, and by `rest` within that value."""

    source: Source
    rest: Path = ()


@dataclass(frozen=True, slots=True, eq=False)
class ScanProgram:
    """`places` has each wanted path that leads to a value.

    Slots are numbered from 0 in the order of a record's bytes; a record that is kept has its slot before its values'.
    """

    root: Node
    places: Mapping[Path, Place]


def scan_program(writer: Type, reader: Record, wanted: Collection[Path]) -> ScanProgram:
    """The program for records that are written with `writer` and read with `reader`; it keeps the values of `wanted`.

    A path may lead into a record that is missing; then its value is missing too. NotPlannedError for schemas that
    cannot be resolved; for a wanted value whose field the writer lacks in a record that may be missing, if its default
    is not null; for a key, tenant or card token that its writer has a union of several types for; and for more than
    MAX_SYMBOLS or MAX_ALTERNATIVES.
    """
    planner = _Planner(frozenset(wanted))
    try:
        resolve(writer, reader, {})
        root = planner.node(writer, reader, ())
    except ContentError as error:
        raise NotPlannedError(error.detail) from error
    places = {path: place for path in wanted if (place := planner.place(path)) is not None}
    return ScanProgram(root, places)


_LONG_LEAF: Final = Leaf(Form.LONG)
_FORMS: Final[Mapping[str, Form]] = {  # kind of the reader's scalar -> form
    "boolean": Form.BOOLEAN,
    "int": Form.INT,
    "long": Form.LONG,
    "timestamp-millis": Form.LONG,
    "string": Form.TEXT,
    "uuid": Form.UUID,
    "date": Form.DATE,
    "timestamp-micros": Form.TIMESTAMP,
}
_SKIPPED_FORMS: Final[Mapping[str, Leaf]] = {  # kind of the writer's scalar -> how it is passed
    "boolean": Leaf(Form.BOOLEAN),
    "int": Leaf(Form.INT),
    "date": Leaf(Form.INT),
    "float": Leaf(Form.FIXED, size_bytes=4),
    "double": Leaf(Form.FIXED, size_bytes=8),
    "bytes": Leaf(Form.BYTES),
    "string": Leaf(Form.BYTES),
    "uuid": Leaf(Form.BYTES),
}
_OF_ALTERNATIVES: Final = frozenset((Form.TEXT, Form.CARD_TOKEN, Form.BYTES, Form.SYMBOL))
_CHECKED_FORMS: Final[Mapping[TextCheck, Form]] = {
    check_key: Form.KEY,
    check_tenant: Form.TENANT,
    check_card_token: Form.CARD_TOKEN,
}


@dataclass
class _Planner:
    wanted: frozenset[Path]
    slot_count: int = 0
    found: dict[Path, Source] = field(default_factory=dict)
    plans: Plans = field(default_factory=dict)
    alternative_count: int = 0
    in_items: int = 0  #: Within an array nothing is kept: its bytes are.
    in_choices: int = 0  #: Within a union a record may be missing, and then has no default either.

    def place(self, path: Path) -> Place | None:
        """Of a path whose value, or a value around it, was met; None: it leads nowhere."""
        for length in range(len(path), 0, -1):
            source = self.found.get(path[:length])
            if source is None or (isinstance(source, Kept) and length < len(path)):
                continue
            if isinstance(source, Default) and source.is_conditional and source.value is not None:
                raise NotPlannedError(f"{'.'.join(path)} has a default in a record that may be missing")
            return Place(source, path[length:])
        return None

    def node(self, writer: Type, reader: Type, path: Path, form: Form | None = None) -> Node:
        """What reads `writer` as the value of `path`. `form`: the one that its text must have."""
        match writer, reader:
            case Union(), _:
                return self._choice(writer, reader, path, form)
            case _, Union():
                return self.node(writer, branch_for(writer, reader, self.plans), path, form)
            case Scalar("null"), Scalar("null"):
                self.found[path] = Default(None)
                return Group(())
            case Scalar("int"), Scalar("long"):
                return self._leaf(Form.INT, path)
            case Scalar(), Scalar():
                return self._leaf(form or _FORMS[reader.kind], path)
            case DecimalBytes(), DecimalBytes():
                return self._leaf(Form.DECIMAL, path, decimal=reader)
            case Enum(), Enum():
                known = frozenset(reader.symbols)
                symbols = tuple(symbol if symbol in known else reader.default for symbol in writer.symbols)
                return self._leaf(Form.SYMBOL, path, symbols=symbols)
            case Array(), Array():
                return self._items(writer, reader, path)
            case Map(), Map():
                return self._entries(writer, reader, path)
            case Record(), Record() if short_name(writer.name) == short_name(reader.name):
                return self._record(writer, reader, path)
            case _:
                return self._whole(resolve(writer, reader, self.plans), path)

    def _slot(self, *, is_kept: bool) -> int | None:
        if not is_kept or self.in_items:
            return None
        self.slot_count += 1
        return self.slot_count - 1

    def _is_wanted(self, path: Path) -> bool:
        return any(wanted[: len(path)] == path for wanted in self.wanted)

    def _leaf(
        self, form: Form, path: Path, *, decimal: DecimalBytes | None = None, symbols: tuple[str | None, ...] = ()
    ) -> Leaf:
        leaf = self._count(Leaf(form, self._slot(is_kept=path in self.wanted), decimal, symbols))
        self._note(path, leaf)
        return leaf

    def _count(self, leaf: Leaf) -> Leaf:
        """Add the alternatives of `leaf`, and give it back. NotPlannedError where they become too many."""
        self.alternative_count += len(leaf.symbols) or MAX_TEXT_BYTES if leaf.form in _OF_ALTERNATIVES else 1
        if self.alternative_count > MAX_ALTERNATIVES or len(leaf.symbols) > MAX_SYMBOLS:
            raise NotPlannedError(
                f"too many texts, or enums of too many symbols: over {MAX_ALTERNATIVES} lengths and symbols in all, or "
                f"{MAX_SYMBOLS} symbols of one enum"
            )
        return leaf

    def _note(self, path: Path, source: Source) -> None:
        if not self.in_items:
            self.found[path] = source

    def _choice(self, writer: Union, reader: Type, path: Path, form: Form | None) -> Node:
        nulls = [index for index, branch in enumerate(writer.branches) if is_null(branch)]
        if len(writer.branches) != 2 or len(nulls) != 1:
            if form is not None:  # what `resolve` gives does not check it
                raise NotPlannedError(f"{'.'.join(path)} is a {form}, and by its writer one of several types")
            return self._whole(resolve(writer, reader, self.plans), path)
        (null_index,) = nulls
        null, value = writer.branches[null_index], writer.branches[1 - null_index]
        accepts_null = _is_resolved(null, reader, self.plans)
        if not _is_resolved(value, reader, self.plans):
            self._note(path, Default(None))
            return Choice(null_index, accepts_null, None)
        self.in_choices += 1
        node = self.node(value, reader, path, form)
        self.in_choices -= 1
        return Choice(null_index, accepts_null, node)

    def _items(self, writer: Array, reader: Array, path: Path) -> Items:
        read = resolve(writer, reader, self.plans)
        slot = self._slot(is_kept=self._is_wanted(path))
        self.in_items += 1
        item = self.node(writer.items, reader.items, (*path, "[]"))
        self.in_items -= 1
        items = Items(item, read, slot)
        self._note(path, items)
        return items

    def _entries(self, writer: Map, reader: Map, path: Path) -> Entries | Whole:
        read = resolve(writer, reader, self.plans)
        if not isinstance(writer.values, Union):
            return self._whole(read, path)
        slot = self._slot(is_kept=self._is_wanted(path))
        self.in_items += 1
        branches = tuple(
            self.node(branch, reader.values, (*path, "[]")) if _is_resolved(branch, reader.values, self.plans) else None
            for branch in writer.values.branches
        )
        self.in_items -= 1
        entries = Entries(branches, read, slot)
        self._note(path, entries)
        return entries

    def _whole(self, read: Read, path: Path) -> Whole:
        whole = Whole(read, self._slot(is_kept=self._is_wanted(path)))
        self._note(path, whole)
        return whole

    def _record(self, writer: Record, reader: Record, path: Path) -> Group | Kept:
        slot = self._slot(is_kept=path in self.wanted)
        fields = list(self._fields(writer, reader, path))
        group = Group(tuple(node for _, node in fields), tuple(name for name, _ in fields))
        if slot is None:
            return group
        kept = Kept(group, resolve(writer, reader, self.plans), slot)
        self._note(path, kept)
        return kept

    def _fields(self, writer: Record, reader: Record, path: Path) -> Iterator[tuple[str, Node]]:
        names = map_field_names(writer, reader)
        missing = {reader_field.name: reader_field for reader_field in reader.fields}
        for writer_field in writer.fields:
            name = names.get(writer_field.name)
            target = None if name is None else missing.pop(name, None)
            if target is None:
                for node in self._skipped(writer_field.type):
                    yield writer_field.name, node
                continue
            is_text = isinstance(target.type, Scalar) and target.type.kind == "string"
            check = text_check(reader, target.name) if is_text else None
            form = None if check is None else _CHECKED_FORMS[check]
            yield writer_field.name, self.node(writer_field.type, target.type, (*path, target.name), form)
        for absent in missing.values():
            assert absent.default is not NO_DEFAULT, "the schemas were resolved"
            value = default_value(absent.type, absent.default)
            self._note((*path, absent.name), Default(value, is_conditional=self.in_choices > 0))

    def _skipped(self, writer: Type) -> Iterator[Node]:
        """What passes a field that the reader does not have."""
        if min_size_bytes(writer) == 0:
            return
        match writer:
            case Scalar():
                yield self._count(_SKIPPED_FORMS.get(writer.kind, _LONG_LEAF))
            case DecimalBytes():
                yield self._count(Leaf(Form.BYTES))
            case Fixed():
                yield Leaf(Form.FIXED, size_bytes=writer.size)
            case Enum():
                yield self._count(Leaf(Form.SYMBOL, symbols=writer.symbols))
            case Union() if writer.nullable is not None and min_size_bytes(writer.nullable):
                nodes = tuple(self._skipped(writer.nullable))
                yield Choice(next(i for i, b in enumerate(writer.branches) if is_null(b)), True, Group(nodes))
            case _:
                yield Whole(skipper(writer, self.plans), None)


def end_of(read: Read, data: bytes, at: int) -> int:
    """The index behind a value that the reference reads; REFUSED: it is invalid."""
    cursor = Cursor(data, at)
    try:
        read(cursor)
    except ContentError:
        return REFUSED
    return cursor.at


def _is_resolved(writer: Type, reader: Type, plans: Plans) -> bool:
    try:
        resolve(writer, reader, plans)
    except ContentError:
        return False
    return True
