"""Event ids and the offsets they were met at, of as many events as one search takes: a uuid is 16 bytes here."""

from collections.abc import Iterator, Mapping
from typing import Final
from uuid import UUID


class EventOffsets(Mapping[str, int]):
    """The offset of each event id; and of which of them the operation that goes through the events has made the
    outcome. One dict for both, as there are up to two million; some 140 bytes an event."""

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
        """An event is met; that it was met before is not changed."""
        self._offsets.setdefault(_uuid_bytes(event_id), offset)

    def note_outcome(self, event_id: str, offset: int) -> None:
        """The event gets its outcome at this offset; that it has got one already is not changed."""
        key = _uuid_bytes(event_id)
        if self._offsets.get(key, offset) >= 0:
            self._offsets[key] = ~offset

    def outcome_offset(self, event_id: str) -> int | None:
        """Where the event got its outcome; None: it has none yet."""
        offset = self._offsets.get(_uuid_bytes(event_id), 0)
        return ~offset if offset < 0 else None


_UUID_BYTES: Final = 16
_UUID_CHARACTERS: Final = 36


def _uuid_bytes(event_id: str) -> bytes:
    """Of the id of an event that was decoded, which is a uuid in lower case. Any other text is more bytes than that, so
    that it is none of these."""
    try:
        key = bytes.fromhex(event_id.replace("-", ""))
    except ValueError:
        key = b""
    if len(key) == _UUID_BYTES and len(event_id) == _UUID_CHARACTERS:
        return key
    return event_id.encode().ljust(_UUID_BYTES + 1)
