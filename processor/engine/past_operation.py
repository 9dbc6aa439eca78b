"""The claim of an operation on the past to its local store: one at a time, and who has it."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from processor.errors import OperationUnderWayError
from processor.settings import Settings
from processor.tables.reader import store_folder
from processor.tables.store import folder_error, make_private
from processor.wire.json_codec import format_timestamp


@contextmanager
def claim_past_store(settings: Settings, operation: str) -> Iterator[str]:
    """The name of the store into which `operation`, by its id, restores its reference tables: `{group}:past`.

    It is another one than those of `run`, whose processes go on meanwhile, and is the operation's alone until the block
    is left. The lock is a file beside the store's folder, freed by the operating system however the process ends; a
    second file says who has it. Does not block. Raises OperationUnderWayError when another operation has it, UsageError
    when the state folder cannot be used, DependencyError when the disk is full.
    """
    name = f"{settings.group_id}:past"
    folder = store_folder(settings, name)
    lock = FileLock(folder.with_name(f"{folder.name}.lock"), timeout=0, mode=0o600)
    holder_file = folder.with_name(f"{folder.name}.holder")
    try:
        make_private(folder.parent)
        lock.acquire()
    except Timeout:
        raise OperationUnderWayError(
            f"{_read_holder(holder_file)} is under way, with the local store in {folder}",
            hint="wait until it has ended; `--take-over` ends it where it has the same partitions, for others set "
            "PROCESSOR_STATE_DIR to another folder",
        ) from None
    except OSError as error:
        raise folder_error(folder, error) from error
    try:
        _write_holder(holder_file, operation)
        yield name
    finally:
        holder_file.unlink(missing_ok=True)
        lock.release()


def _write_holder(file: Path, operation: str) -> None:
    """Replace the file as a whole: somebody may be reading it."""
    since = format_timestamp(datetime.now(UTC).replace(microsecond=0))
    holder = {"operation": operation, "processId": os.getpid(), "host": socket.gethostname(), "since": since}
    new = file.with_suffix(".new")
    try:
        new.write_text(json.dumps(holder))
        new.chmod(0o600)
        new.replace(file)
    except OSError as error:
        raise folder_error(file.parent, error) from error


def _read_holder(file: Path) -> str:
    """Who holds the lock, in words. The file is missing for a moment after the lock was taken."""
    try:
        holder = json.loads(file.read_text())
        return (
            f"operation {holder['operation']} (process {holder['processId']} on host {holder['host']}, "
            f"since {holder['since']})"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return "another operation on the past"
