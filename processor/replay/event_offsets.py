"""Event ids and their offsets, for as many events as one search takes: an id, which is a uuid, is kept as 16 bytes."""

from collections.abc import Iterator, Mapping
from typing import Final
from uuid import UUID


class EventOffsets(Mapping[str, int]):
    """By event id the offset at which it was first met or, once an operation has made the event's outcome, the offset
    of that outcome.

    One dict for both, as there are up to two million; some 140 bytes an event.
    """

    def __init__(self) -> None:
        self._offsets: dict[bytes, int] = {}  # those with an outcome negative: ~offset

    def __getitem__(self, event_id: str) -> int:
        offset = self._offsets[_uuid_bytes(event_id)]
        return offset if offset >= 0 else ~offset

    def __contains__(self, event_id: object) -> bool:
        return isinstance(event_id, str) and _uuid_bytes(event_id) in self._offsets

    def __iter__(self) -> Iterator[str]:
        return (str(UUID(bytes=key)) for key in self._offsets)

    def __len__(self) -> int:
        return len(self._offsets)

    def note(self, event_id: str, offset: int) -> None:
        """An event was met at this offset. Nothing changes where it was met before, or has its outcome."""
        self._offsets.setdefault(_uuid_bytes(event_id), offset)

    def note_outcome(self, event_id: str, offset: int) -> None:
        """The event has its outcome at this offset. Nothing changes where it has one."""
        key = _uuid_bytes(event_id)
        if self._offsets.get(key, offset) >= 0:
            self._offsets[key] = ~offset

    def outcome_offset(self, event_id: str) -> int | None:
        """The offset of the event's outcome; None: it has none yet, or the id is not one of these."""
        offset = self._offsets.get(_uuid_bytes(event_id), 0)
        return ~offset if offset < 0 else None


_UUID_BYTES: Final = 16
_UUID_CHARACTERS: Final = 36


def _uuid_bytes(event_id: str) -> bytes:
    """The 16 bytes of an event's id, which is a uuid in lower case. Of any other text at least 17 bytes, so that it is
    equal to no id."""
    try:
        key = bytes.fromhex(event_id.replace("-", ""))
    except ValueError:
        key = b""
    if len(key) == _UUID_BYTES and len(event_id) == _UUID_CHARACTERS:
        return key
    return event_id.encode().ljust(_UUID_BYTES + 1)
