"""Avro's binary form: a cursor over its bytes, and the blocks of arrays and maps. Pure.

Each length, count and index is held against the bytes that are left before anything is allocated for it.
https://avro.apache.org/docs/1.12.0/specification/ , "Binary Encoding".
"""

from collections.abc import Callable
from typing import Any

from processor.wire.errors import ContentError

Read = Callable[["Cursor"], Any]


class Cursor:
    """Bytes, and how far they are read. Every method raises ContentError rather than read past the end."""

    __slots__ = ("at", "data", "levels")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at
        self.levels = 0  #: How many levels deep it is in a value that is skipped.

    @property
    def remaining_bytes(self) -> int:
        """Bytes not read yet."""
        return len(self.data) - self.at

    def read_long(self) -> int:
        """A zig-zag number of up to 64 bits, in up to 10 bytes."""
        data, at = self.data, self.at
        try:
            byte = data[at]
            if byte < 0x80:
                self.at = at + 1
                return (byte >> 1) ^ -(byte & 1)
            number, shift = byte & 0x7F, 7
            while True:
                at += 1
                byte = data[at]
                number |= (byte & 0x7F) << shift
                if byte < 0x80:
                    break
                shift += 7
                if shift > 63:
                    raise ContentError("a number of more than 10 bytes")
        except IndexError:
            raise ContentError("cut short") from None
        if number >> 64:
            raise ContentError("a number of more than 64 bits")
        self.at = at + 1
        return (number >> 1) ^ -(number & 1)

    def read_int(self) -> int:
        """A number of up to 32 bits."""
        number = self.read_long()
        if not -(2**31) <= number < 2**31:
            raise ContentError(f"{number} does not fit in 32 bits")
        return number

    def read(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count < 0:
            raise ContentError(f"a length of {count}")
        start, end = self.at, self.at + count
        if end > len(self.data):
            raise ContentError(f"cut short: {count} bytes announced, {self.remaining_bytes} left")
        self.at = end
        return self.data[start:end]

    def read_bytes(self) -> bytes:
        """A length, and so many bytes."""
        return self.read(self.read_long())

    def read_text(self) -> str:
        """A length, and so many bytes of UTF-8."""
        data, at = self.data, self.at
        if at < len(data) and not data[at] & 0x81:  # a length of one byte, not negative: nearly all texts
            end = at + 1 + (data[at] >> 1)
            if end > len(data):
                raise ContentError(f"cut short: {data[at] >> 1} bytes announced, {len(data) - at - 1} left")
            self.at = end
            text = data[at + 1 : end]
        else:
            text = self.read_bytes()
        try:
            return text.decode()
        except UnicodeDecodeError as error:
            raise ContentError(f"not UTF-8 at byte {error.start} of the text") from None

    def read_boolean(self) -> bool:
        """One byte, 0 or 1."""
        byte = self.read(1)[0]
        if byte > 1:
            raise ContentError(f"a boolean of {byte}")
        return byte == 1


def read_blocks(cursor: Cursor, min_item_bytes: int, read_items: Callable[[Cursor, int], None]) -> None:
    """Avro's blocks: a count and so many items, up to a count of 0; a negative count is followed by a size in bytes.

    An item takes at least `min_item_bytes`, so a count that the bytes left cannot hold is refused at once.
    """
    while count := cursor.read_long():
        end = None
        if count < 0:
            count = -count
            size = cursor.read_long()
            if not 0 <= size <= cursor.remaining_bytes:
                raise ContentError(f"a block of {size} bytes, {cursor.remaining_bytes} left")
            end = cursor.at + size
        if count * min_item_bytes > cursor.remaining_bytes:
            raise ContentError(f"{count} items announced, {cursor.remaining_bytes} bytes left")
        read_items(cursor, count)
        if end is not None and cursor.at != end:
            raise ContentError("a block of another size than announced")


def map_reader(read_value: Read) -> Read:
    """Reads text -> value; ContentError for a key that occurs twice."""

    def read(cursor: Cursor) -> dict[str, Any]:
        values: dict[str, Any] = {}

        def read_items(cursor: Cursor, count: int) -> None:
            for _ in range(count):
                name = cursor.read_text()
                try:
                    if name in values:
                        raise ContentError("occurs twice")
                    values[name] = read_value(cursor)
                except ContentError as error:
                    raise error.at(f"[{name[:60]!r}]") from None

        read_blocks(cursor, 1, read_items)
        return values

    return read
