"""The local copy of the reference tables: RocksDB in one folder, which can be thrown away.

Non-obvious: rows and the positions behind them are written in one batch, so that a copy is never ahead of what it says,
whenever the process is killed. A copy that cannot be opened is not mended but begun anew.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Final

import structlog
from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, WriteBatch

from processor.domain.reference import Table
from processor.errors import DependencyError, FatalError, UsageError

log = structlog.get_logger()

CACHE_BYTES: Final = 32 * 1024 * 1024
BUFFER_BYTES: Final = 16 * 1024 * 1024
MOST_OPEN_FILES: Final = 128
HINT: Final = "PROCESSOR_STATE_DIR names a folder that can be written, for this process alone"

# Of keys and values here, and of what counts as a row that can be read. A copy of another form is built again.
_FORM: Final = b"3"
_FORM_KEY: Final = b"\0form"
_SEEN_KEY: Final = b"\0seen"
_UNREADABLE: Final = b"\0unreadable\0"
_OURS: Final = "processor-reference-tables"  # an empty file that says whose folder it is
_BROKEN: Final = "BROKEN"  # a file beside those of RocksDB


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row whose value or key cannot be read: where its record lies, and what is wrong with it."""

    table: Table
    key: bytes
    partition: int
    offset: int
    fault: str


@dataclass(frozen=True, slots=True)
class TableRecord:
    """A record of a table. `value` None deletes. `unreadable` is set when nobody can read what it holds."""

    table: Table
    key: bytes
    value: bytes | None
    unreadable: UnreadableRow | None = None


class TableStore:
    """Rows, positions, the topics they came from, and when all of it was last seen to be complete.

    Thread-safe for reading beside one writer, as RocksDB is. The folder is locked while it is open.
    """

    def __init__(self, folder: Path) -> None:
        """Open the copy in `folder`, or begin one. Blocks for milliseconds.

        Raises UsageError when it cannot be written, DependencyError when the disk is full.
        """
        self.folder = folder
        try:
            self._rows = self._opened()
        except _UnreadableError as unreadable:
            log.warning("reference table store rebuilt", cause=str(unreadable))
            self._rows = self._anew()

    def begin_anew(self) -> None:
        """Throw all rows away. Nothing may read meanwhile."""
        self.close()
        self._rows = self._anew()

    def get(self, table: Table, key: str) -> bytes | None:
        """The value of a row; None when there is none. As all: DependencyError when the disk does not give it back."""
        with self._disk():
            value: bytes | None = self._rows.get(_row_key(table, key.encode()))
        return value

    def has_rows(self, table: Table) -> bool:
        """Whether a table has any row."""
        prefix = _row_key(table, b"")
        with self._disk():
            first = next(iter(self._rows.keys(from_key=prefix)), b"")
        return isinstance(first, bytes) and first.startswith(prefix)

    def unreadable_count(self, table: Table) -> int:
        """How many rows of a table cannot be read now."""
        return self._unreadable[table]

    def unreadable(self, table: Table, *, first: str, most: int) -> list[UnreadableRow]:
        """Rows of a table that cannot be read now: at most so many, in the order of their keys, but that of the key
        `first` before all others."""
        if not self._unreadable[table]:
            return []
        first_note = _unreadable_key(table, first.encode())
        with self._disk():
            value: bytes | None = self._rows.get(first_note)
            before = [] if value is None else [_unreadable_row(first_note, value)]
            others = (row for row in _unreadable_rows(self._rows, table) if row.key != first.encode())
            return list(islice(chain(before, others), most))

    def apply(self, rows: Iterable[TableRecord], positions: Mapping[tuple[Table, int], int]) -> bool:
        """Write rows in their order, and the positions behind them, all or nothing.

        True when rows came or went that cannot be read. They are noted beside the rows, so that they are known after a
        restart without looking through all rows.
        """
        batch = WriteBatch(raw_mode=True)
        noted: dict[bytes, tuple[Table, bool]] = {}
        with self._disk():
            for row in rows:
                key = _row_key(row.table, row.key)
                if row.value is None:
                    batch.delete(key)
                else:
                    batch.put(key, row.value)
                if row.unreadable is not None:
                    note = _unreadable_key(row.table, row.key)
                    place = f"{row.unreadable.partition} {row.unreadable.offset}"
                    batch.put(note, f"{place} {row.unreadable.fault}".encode())
                    noted[note] = row.table, True
                elif noted or self._unreadable[row.table]:
                    note = _unreadable_key(row.table, row.key)
                    batch.delete(note)
                    noted[note] = row.table, False
            had = {note: self._rows.get(note) is not None for note in noted}
            for (table, partition), offset in positions.items():
                batch.put(_position_key(table, partition), str(offset).encode())
            self._rows.write(batch)
        for note, (table, is_unreadable) in noted.items():
            self._unreadable[table] += is_unreadable - had[note]
        return any(is_unreadable or had[note] for note, (_, is_unreadable) in noted.items())

    def position(self, table: Table, partition: int) -> int | None:
        """The next offset to be read of a partition; None when nothing of it was."""
        with self._disk():
            told: bytes | None = self._rows.get(_position_key(table, partition))
        return None if told is None else int(told)

    def topic(self, table: Table) -> str | None:
        """The identity of the topic that a table came from."""
        with self._disk():
            told: bytes | None = self._rows.get(_topic_key(table))
        return None if told is None else told.decode()

    def is_of(self, table: Table, identity: str) -> None:
        """Note the topic that a table comes from."""
        with self._disk():
            self._rows.put(_topic_key(table), identity.encode())

    def seen(self) -> float | None:
        """Since when, in seconds since the epoch, no deleted row was missed: it was begun, or complete, then."""
        with self._disk():
            told: bytes | None = self._rows.get(_SEEN_KEY)
        return None if told is None else float(told)

    def see(self, at: float) -> None:
        """Note that it was begun, or complete, at that time."""
        with self._disk():
            self._rows.put(_SEEN_KEY, str(at).encode())

    def spoil(self) -> None:
        """Have the next start begin it anew."""
        with suppress(OSError):
            (self.folder / _BROKEN).touch()

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """What the library raises, as a fault of the disk: it raises nothing narrower than Exception."""
        try:
            yield
        except Exception as error:
            if _is_full(error):
                raise _full(self.folder, error) from error
            if "No such file or directory" in str(error):
                raise DependencyError(
                    f"files of the local copy in {self.folder} are gone: {error}",
                    hint="start again: it is built again; nobody else may remove files there",
                ) from error
            if not str(error).startswith("Corruption"):
                raise DependencyError(f"the local copy in {self.folder}: {error}", hint=HINT) from error
            self.spoil()
            raise DependencyError(
                f"the local copy in {self.folder} cannot be read: {error}", hint="start again: it is begun anew"
            ) from error

    def close(self) -> None:
        """Blocks until what is written is on the disk. What goes wrong is logged: rows that did not get there are read
        again, and an error that we end with must not be hidden by that of closing."""
        try:
            self._rows.close()
        except Exception as error:  # the library raises no narrower one
            log.warning("reference table store not closed cleanly", cause=str(error))

    def _anew(self) -> Rdict:
        try:
            _empty(self.folder)
            return self._opened()
        except (_UnreadableError, OSError) as unreadable:
            raise UsageError(f"no local copy in {self.folder}: {unreadable}", hint=HINT) from unreadable

    def _opened(self) -> Rdict:
        try:
            make_private(self.folder)
            (self.folder / _OURS).touch()
            for file in self.folder.iterdir():  # of earlier versions; new ones follow the umask of `processor run`
                with suppress(PermissionError):
                    file.chmod(0o600)
        except OSError as error:
            raise no_folder(self.folder, error) from error
        if (self.folder / _BROKEN).exists():
            raise _UnreadableError("what was read from it was not what was written")
        try:
            rows = Rdict(str(self.folder), _options())
        except Exception as error:  # the library raises no narrower one
            _refuse_disk(self.folder, error)
            raise _UnreadableError(str(error)) from error
        try:
            form = rows.get(_FORM_KEY)
            for known in (_SEEN_KEY, *map(_topic_key, Table)):  # read at start, and spread over RocksDB's files
                rows.get(known)
            self._unreadable = Counter(row.table for table in Table for row in _unreadable_rows(rows, table))
            if form is None:
                rows.put(_FORM_KEY, _FORM)
        except Exception as error:
            rows.close()
            _refuse_disk(self.folder, error)
            raise _UnreadableError(str(error)) from error
        if form not in (None, _FORM):
            rows.close()
            raise _UnreadableError(f"form {form!r}, written by another version")
        return rows


class _UnreadableError(Exception):
    """What is in the folder is no copy of ours."""


def no_folder(folder: Path, error: OSError) -> FatalError:
    """Why there is no folder for the copies: a full disk may have room later; all else is what people chose."""
    if _is_full(error):
        return _full(folder, error)
    return UsageError(f"no folder for the local copy of the reference tables: {error}", hint=HINT)


def _is_full(error: Exception) -> bool:
    return any(word in str(error) for word in ("No space left on device", "Disk quota exceeded", "File too large"))


def _full(folder: Path, error: Exception) -> DependencyError:
    return DependencyError(
        f"no room on the disk for the local copy in {folder}: {error}",
        hint="make room there, or name a folder on another disk by PROCESSOR_STATE_DIR; the copy itself is not harmed",
    )


def _refuse_disk(folder: Path, error: Exception) -> None:
    """Raise the error of the disk that RocksDB could not open a copy for, which is no reason to throw the copy away."""
    if _is_full(error):
        raise _full(folder, error) from error
    if any(word in str(error) for word in ("Permission denied", "Read-only file system")):
        raise UsageError(f"the local copy in {folder} cannot be written: {error}", hint=HINT) from error
    if "/LOCK" in str(error):
        raise UsageError(f"{folder} is another process's: {error}", hint=HINT) from error
    if str(error).startswith("IO error") and "No such file or directory" not in str(error):
        raise DependencyError(f"the local copy in {folder} cannot be opened: {error}", hint=HINT) from error


def make_private(folder: Path) -> None:
    """Make a folder readable for its owner alone, also one that is there already. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        folder.chmod(0o700)
    except PermissionError as error:  # another user's, or a file system without modes
        log.warning("state folder may be readable by others", folder=str(folder), cause=str(error))


def is_copy(folder: Path) -> bool:
    """Whether a folder itself, not what a link leads to, holds a copy that this program made."""
    return not folder.is_symlink() and (folder / _OURS).is_file()


def remove_copy(folder: Path) -> None:
    """Remove a copy, and its folder if nothing else is in it. A copy that a process has open stays. Raises OSError."""
    _empty(folder)
    (folder / _OURS).unlink(missing_ok=True)
    folder.rmdir()


def _empty(folder: Path) -> None:
    """Remove the files of RocksDB and our mark of a spoilt copy, nothing else. OSError when that is not possible."""
    try:
        Rdict.destroy(str(folder), _options())
    except Exception as error:  # the library raises no narrower one
        raise OSError(str(error)) from error
    (folder / _BROKEN).unlink(missing_ok=True)


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    blocks = BlockBasedOptions()
    blocks.set_bloom_filter(10, block_based=False)  # most keys that are asked for are in no table
    blocks.set_block_cache(Cache(CACHE_BYTES))
    options.set_block_based_table_factory(blocks)
    options.set_write_buffer_size(BUFFER_BYTES)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_max_open_files(MOST_OPEN_FILES)
    options.set_keep_log_file_num(2)
    return options


def _row_key(table: Table, key: bytes) -> bytes:
    return table.value.encode() + b"\0" + key


def _unreadable_key(table: Table, key: bytes) -> bytes:
    return _UNREADABLE + _row_key(table, key)


def _unreadable_row(note: bytes, value: bytes) -> UnreadableRow:
    table, key = note.removeprefix(_UNREADABLE).split(b"\0", 1)
    partition, offset, fault = value.decode().split(" ", 2)
    return UnreadableRow(Table(table.decode()), key, int(partition), int(offset), fault)


def _unreadable_rows(rows: Rdict, table: Table) -> Iterator[UnreadableRow]:
    """The notes of a table's unreadable rows, in the order of their keys."""
    prefix = _unreadable_key(table, b"")
    for note, value in rows.items(from_key=prefix):
        assert isinstance(note, bytes)
        if not note.startswith(prefix):
            return
        yield _unreadable_row(note, value)


def _position_key(table: Table, partition: int) -> bytes:
    return f"\0position\0{table.value}\0{partition}".encode()


def _topic_key(table: Table) -> bytes:
    return f"\0topic\0{table.value}".encode()
