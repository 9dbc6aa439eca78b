"""Reading what people edit: whole, bounded, and without waiting for what is no file."""

import codecs
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

FILE_LIMIT_BYTES: Final = 16_000_000


class UnfitError(Exception):
    """What is there must not be read. `str` says why, to follow the file's name: `is not a file`."""


def file_bytes(path: Path) -> bytes:
    """The bytes of a file, without a UTF-8 byte order mark, which some editors put first.

    Blocks on the disk only: what is no regular file is refused before it is read, as a pipe may never end. Raises
    UnfitError for that, for more than FILE_LIMIT_BYTES and for an impossible name; OSError as `open` does.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe nobody writes to is opened at once
    except ValueError as error:
        raise UnfitError(f"is not a file's name: {error}") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UnfitError("is not a file")
        if found.st_size > FILE_LIMIT_BYTES:
            raise UnfitError(f"has {found.st_size} bytes; a file is read up to {FILE_LIMIT_BYTES}")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(FILE_LIMIT_BYTES).removeprefix(codecs.BOM_UTF8)
    finally:
        os.close(descriptor)


def file_text(path: Path) -> str:
    """The text of a file, each line ended by a line feed. Raises as `file_bytes`, and UnicodeDecodeError."""
    return file_bytes(path).decode().replace("\r\n", "\n").replace("\r", "\n")


def create_private(path: Path) -> BinaryIO:
    """A new file that only its owner can read, open for writing. FileExistsError where something is there, even a link
    that leads nowhere; other errors as `open` has them, ValueError for an impossible name."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def is_visible(path: Path) -> bool:
    """Whether a file is meant for us: not one that a system or an editor keeps beside others (`._a`, `.#a`)."""
    return not path.name.startswith(".")
