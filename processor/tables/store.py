"""The local store of the reference tables: RocksDB in one folder, which can be deleted.

Non-obvious: rows and the positions behind them are written in one batch, so that a store is never ahead of its
positions, whenever the process is killed. A store that cannot be opened is not repaired but rebuilt.
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

BLOCK_CACHE_BYTES: Final = 32 * 1024 * 1024
WRITE_BUFFER_BYTES: Final = 16 * 1024 * 1024
MAX_OPEN_FILES: Final = 128
FOLDER_HINT: Final = "set PROCESSOR_STATE_DIR to a folder that can be written, for this process alone"

# Of keys and values here, and of what counts as a valid row. A store with another layout is rebuilt.
_LAYOUT_VERSION: Final = b"4"
_LAYOUT_KEY: Final = b"\0form"  # the same in every version
_CURRENT_KEY: Final = b"\0current"
_INVALID_PREFIX: Final = b"\0invalid\0"
_OWNER_MARKER: Final = "processor-reference-tables"  # an empty file that says whose folder it is
_CORRUPT_MARKER: Final = "BROKEN"  # an empty file beside those of RocksDB; the same in every version


@dataclass(frozen=True, slots=True)
class InvalidTableRow:
    """A row whose value or key is invalid: where its record lies, and what is wrong with it."""

    table: Table
    key: bytes
    partition: int
    offset: int
    error: str


@dataclass(frozen=True, slots=True)
class TableRecord:
    """A record of a table. `value` None deletes. `invalid` says what is wrong with its key or value, if anything is."""

    table: Table
    key: bytes
    value: bytes | None
    invalid: InvalidTableRow | None = None


class TableStore:
    """Rows, positions, the topics they came from, and when all of it was last current.

    Thread-safe for reading beside one writer, as RocksDB is. The folder is locked while it is open.
    """

    def __init__(self, folder: Path) -> None:
        """Open the store in `folder`, or create one. Blocks for milliseconds.

        Raises UsageError when it cannot be written, DependencyError when the disk is full.
        """
        self.folder = folder
        try:
            self._rows = self._open()
        except _UnusableStoreError as unusable:
            log.warning("reference table store rebuilt", cause=str(unusable))
            self._rows = self._recreate()

    def reset(self) -> None:
        """Delete all rows. Nothing may read meanwhile."""
        self.close()
        self._rows = self._recreate()

    def get(self, table: Table, key: str) -> bytes | None:
        """The value of a row; None when there is none. As all: DependencyError when the disk does not return it."""
        if table in self._empty:
            return None
        try:  # for each event and template: a context manager would take as long as the look-up
            value: bytes | None = self._rows.get(_row_key(table, key.encode()))
        except Exception as error:
            raise self._disk_error(error) from error
        return value

    def has_rows(self, table: Table) -> bool:
        """Whether a table has any row."""
        with self._translate_disk_errors():
            return _has_rows(self._rows, table)

    def invalid_count(self, table: Table) -> int:
        """How many rows of a table are invalid now."""
        return self._invalid[table]

    def invalid_rows(self, table: Table, *, first: str, limit: int) -> list[InvalidTableRow]:
        """Rows of a table that are invalid now: at most `limit`, in the order of their keys, but that of the key
        `first` before all others."""
        if not self._invalid[table]:
            return []
        first_key = _invalid_key(table, first.encode())
        with self._translate_disk_errors():
            value: bytes | None = self._rows.get(first_key)
            before = [] if value is None else [_parse_invalid_row(first_key, value)]
            others = (row for row in _read_invalid_rows(self._rows, table) if row.key != first.encode())
            return list(islice(chain(before, others), limit))

    def apply(self, rows: Iterable[TableRecord], positions: Mapping[tuple[Table, int], int]) -> bool:
        """Write rows in their order, and the positions behind them, all or nothing.

        True when invalid rows came or went. They are indexed beside the rows, so that they are found after a restart
        without reading all rows.
        """
        batch = WriteBatch(raw_mode=True)
        indexed: dict[bytes, tuple[Table, bool]] = {}
        with self._translate_disk_errors():
            for row in rows:
                key = _row_key(row.table, row.key)
                if row.value is None:
                    batch.delete(key)
                else:
                    batch.put(key, row.value)
                    self._empty.discard(row.table)
                index_key = _invalid_key(row.table, row.key)
                if row.invalid is not None:
                    batch.put(index_key, f"{row.invalid.partition} {row.invalid.offset} {row.invalid.error}".encode())
                    indexed[index_key] = row.table, True
                elif indexed or self._invalid[row.table]:
                    batch.delete(index_key)
                    indexed[index_key] = row.table, False
            was_invalid = {key: self._rows.get(key) is not None for key in indexed}
            for (table, partition), offset in positions.items():
                batch.put(_position_key(table, partition), str(offset).encode())
            self._rows.write(batch)
        for key, (table, is_invalid) in indexed.items():
            self._invalid[table] += is_invalid - was_invalid[key]
        return any(is_invalid or was_invalid[key] for key, (_, is_invalid) in indexed.items())

    def position(self, table: Table, partition: int) -> int | None:
        """The next offset to be read of a partition; None when nothing of it was read."""
        with self._translate_disk_errors():
            value: bytes | None = self._rows.get(_position_key(table, partition))
        return None if value is None else int(value)

    def topic_id(self, table: Table) -> str | None:
        """The id of the topic that a table came from."""
        with self._translate_disk_errors():
            value: bytes | None = self._rows.get(_topic_key(table))
        return None if value is None else value.decode()

    def set_topic_id(self, table: Table, topic_id: str) -> None:
        """Note the topic that a table comes from."""
        with self._translate_disk_errors():
            self._rows.put(_topic_key(table), topic_id.encode())

    def last_current_at(self) -> float | None:
        """When, in seconds since the epoch, it was created or last had all rows: later deletions may be missing."""
        with self._translate_disk_errors():
            value: bytes | None = self._rows.get(_CURRENT_KEY)
        return None if value is None else float(value)

    def mark_current(self, at: float) -> None:
        """Note that the store was created, or had all rows, at that time."""
        with self._translate_disk_errors():
            self._rows.put(_CURRENT_KEY, str(at).encode())

    def mark_corrupt(self) -> None:
        """Have the next start rebuild it."""
        with suppress(OSError):
            (self.folder / _CORRUPT_MARKER).touch()

    @contextmanager
    def _translate_disk_errors(self) -> Iterator[None]:
        """What the library raises, as an error of the disk: it raises nothing narrower than Exception."""
        try:
            yield
        except Exception as error:
            raise self._disk_error(error) from error

    def _disk_error(self, error: Exception) -> DependencyError:
        """What to raise for an error of RocksDB. After one that says so, the store is marked as corrupt."""
        if _is_full(error):
            return _disk_full_error(self.folder, error)
        if "No such file or directory" in str(error):
            return DependencyError(
                f"files of the local store in {self.folder} are gone: {error}",
                hint="restart to rebuild it; no other program may remove files there",
            )
        if not str(error).startswith("Corruption"):
            return DependencyError(f"the local store in {self.folder}: {error}", hint=FOLDER_HINT)
        self.mark_corrupt()
        return DependencyError(
            f"the local store in {self.folder} cannot be read: {error}", hint="restart to rebuild it"
        )

    def close(self) -> None:
        """Blocks until what was written is on the disk. Errors are logged: rows that did not get there are read again,
        and an error that ends the process must not be hidden by that of closing."""
        try:
            self._rows.close()
        except Exception as error:  # the library raises no narrower one
            log.warning("reference table store not closed cleanly", cause=str(error))

    def _recreate(self) -> Rdict:
        try:
            _delete_files(self.folder)
            return self._open()
        except (_UnusableStoreError, OSError) as unusable:
            raise UsageError(f"no local store in {self.folder}: {unusable}", hint=FOLDER_HINT) from unusable

    def _open(self) -> Rdict:
        self._prepare_folder()
        try:
            rows = Rdict(str(self.folder), _options())
        except Exception as error:  # the library raises no narrower one
            _raise_disk_error(self.folder, error)
            raise _UnusableStoreError(str(error)) from error
        try:
            layout = rows.get(_LAYOUT_KEY)
            for key in (_CURRENT_KEY, *map(_topic_key, Table)):  # read at start, and spread over RocksDB's files
                rows.get(key)
            self._empty = {table for table in Table if not _has_rows(rows, table)}  # an unused one costs no look-up
            self._invalid = Counter(row.table for table in Table for row in _read_invalid_rows(rows, table))
            if layout is None:
                rows.put(_LAYOUT_KEY, _LAYOUT_VERSION)
        except Exception as error:
            rows.close()
            _raise_disk_error(self.folder, error)
            raise _UnusableStoreError(str(error)) from error
        if layout not in (None, _LAYOUT_VERSION):
            rows.close()
            raise _UnusableStoreError(f"layout {layout!r}, written by another version")
        return rows

    def _prepare_folder(self) -> None:
        """Create the folder, and make it private. _UnusableStoreError for a store that was marked as corrupt."""
        try:
            make_private(self.folder)
            (self.folder / _OWNER_MARKER).touch()
            for file in self.folder.iterdir():  # of earlier versions; new ones follow the umask of `processor run`
                with suppress(PermissionError):
                    file.chmod(0o600)
        except OSError as error:
            raise folder_error(self.folder, error) from error
        if (self.folder / _CORRUPT_MARKER).exists():
            raise _UnusableStoreError("marked as corrupt by an earlier process")


class _UnusableStoreError(Exception):
    """What is in the folder cannot be used as a store."""


def folder_error(folder: Path, error: OSError) -> FatalError:
    """Why there is no folder for the stores: a full disk may have room later; all else is how it was set up."""
    if _is_full(error):
        return _disk_full_error(folder, error)
    return UsageError(f"no folder for the local store of the reference tables: {error}", hint=FOLDER_HINT)


def _is_full(error: Exception) -> bool:
    return any(word in str(error) for word in ("No space left on device", "Disk quota exceeded", "File too large"))


def _disk_full_error(folder: Path, error: Exception) -> DependencyError:
    return DependencyError(
        f"no room on the disk for the local store in {folder}: {error}",
        hint="make room there, or set PROCESSOR_STATE_DIR to a folder on another disk; the store itself is not harmed",
    )


def _raise_disk_error(folder: Path, error: Exception) -> None:
    """Raise the error of the disk for which RocksDB could not open a store, which is no reason to delete the store."""
    if _is_full(error):
        raise _disk_full_error(folder, error) from error
    if any(word in str(error) for word in ("Permission denied", "Read-only file system")):
        raise UsageError(f"the local store in {folder} cannot be written: {error}", hint=FOLDER_HINT) from error
    if "/LOCK" in str(error):
        raise UsageError(f"{folder} is another process's: {error}", hint=FOLDER_HINT) from error
    if str(error).startswith("IO error") and "No such file or directory" not in str(error):
        raise DependencyError(f"the local store in {folder} cannot be opened: {error}", hint=FOLDER_HINT) from error


def make_private(folder: Path) -> None:
    """Make a folder readable for its owner alone, also one that is there already. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        folder.chmod(0o700)
    except PermissionError as error:  # another user's, or a file system without modes
        log.warning("state folder may be readable by others", folder=str(folder), cause=str(error))


def is_store(folder: Path) -> bool:
    """Whether a folder itself, not what a link leads to, holds a store that this program created."""
    return not folder.is_symlink() and (folder / _OWNER_MARKER).is_file()


def remove_store(folder: Path) -> None:
    """Remove a store, and its folder if nothing else is in it. A store that is open stays. Raises OSError."""
    _delete_files(folder)
    (folder / _OWNER_MARKER).unlink(missing_ok=True)
    folder.rmdir()


def _delete_files(folder: Path) -> None:
    """Delete the files of RocksDB and our marker of a corrupt store, nothing else. OSError when that fails."""
    try:
        Rdict.destroy(str(folder), _options())
    except Exception as error:  # the library raises no narrower one
        raise OSError(str(error)) from error
    (folder / _CORRUPT_MARKER).unlink(missing_ok=True)


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    blocks = BlockBasedOptions()
    blocks.set_bloom_filter(10, block_based=False)  # most keys that are looked up are in no table
    blocks.set_block_cache(Cache(BLOCK_CACHE_BYTES))
    options.set_block_based_table_factory(blocks)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_max_open_files(MAX_OPEN_FILES)
    options.set_keep_log_file_num(2)
    return options


_ROW_PREFIXES: Final = {table: table.value.encode() + b"\0" for table in Table}


def _row_key(table: Table, key: bytes) -> bytes:
    return _ROW_PREFIXES[table] + key


def _invalid_key(table: Table, key: bytes) -> bytes:
    return _INVALID_PREFIX + _row_key(table, key)


def _parse_invalid_row(index_key: bytes, value: bytes) -> InvalidTableRow:
    table, key = index_key.removeprefix(_INVALID_PREFIX).split(b"\0", 1)
    partition, offset, error = value.decode().split(" ", 2)
    return InvalidTableRow(Table(table.decode()), key, int(partition), int(offset), error)


def _has_rows(rows: Rdict, table: Table) -> bool:
    prefix = _row_key(table, b"")
    first = next(iter(rows.keys(from_key=prefix)), b"")
    return isinstance(first, bytes) and first.startswith(prefix)


def _read_invalid_rows(rows: Rdict, table: Table) -> Iterator[InvalidTableRow]:
    """A table's invalid rows, in the order of their keys."""
    prefix = _invalid_key(table, b"")
    for index_key, value in rows.items(from_key=prefix):
        assert isinstance(index_key, bytes)
        if not index_key.startswith(prefix):
            return
        yield _parse_invalid_row(index_key, value)


def _position_key(table: Table, partition: int) -> bytes:
    return f"\0position\0{table.value}\0{partition}".encode()


def _topic_key(table: Table) -> bytes:
    return f"\0topic\0{table.value}".encode()
