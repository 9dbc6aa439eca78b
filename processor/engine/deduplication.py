"""The window of one partition: which events were told among the records before, and where.

A function of the log alone: it is read back from the input when a partition is assigned, so a restart, a takeover and a
replay all give the same answer.
"""

from collections import deque

from processor.domain.event import Identity
from processor.domain.record import RecordPosition


class DeduplicationWindow:
    """Places of told events, oldest first for each identity. Not thread-safe; belongs to one partition's owner.

    `records` and `age_ms` bound it: an earlier record counts when it lies at offsets [o - records, o) and its record
    time is not more than `age_ms` older. 0 records: nothing is ever a repeat.
    """

    def __init__(self, *, records: int, age_ms: int) -> None:
        self._records = records
        self._age_ms = age_ms
        self._told: deque[tuple[RecordPosition, int, Identity]] = deque()  # by offset
        self._places: dict[Identity, deque[tuple[RecordPosition, int]]] = {}  # by offset

    def __len__(self) -> int:
        return len(self._told)

    def first_seen(self, place: RecordPosition, timestamp_ms: int, identity: Identity) -> RecordPosition | None:
        """The oldest place before `place` within both bounds that told `identity`; None when there is none.

        Record times need not be in order, so the bound of age is asked of each place.
        """
        for earlier, told_ms in self._places.get(identity, ()):
            if place.offset - self._records <= earlier.offset < place.offset and told_ms >= timestamp_ms - self._age_ms:
                return earlier
        return None

    def remember(self, place: RecordPosition, timestamp_ms: int, identity: Identity) -> None:
        """Note that `place` told `identity`. Places come in the order of their offsets; a known one changes nothing."""
        if self._told and place.offset <= self._told[-1][0].offset:
            return
        self._told.append((place, timestamp_ms, identity))
        self._places.setdefault(identity, deque()).append((place, timestamp_ms))

    def forget_before(self, committed: int) -> None:
        """Drop what no record from offset `committed` on can ask for.

        Only what is committed moves this bound: after an abort the records since then are mapped again, and must find
        what they found before.
        """
        while self._told and self._told[0][0].offset < committed - self._records:
            _, _, identity = self._told.popleft()
            places = self._places[identity]
            places.popleft()
            if not places:
                del self._places[identity]

    def forget_from(self, offset: int) -> None:
        """Drop what lies at `offset` or after: these records will be read and remembered again."""
        while self._told and self._told[-1][0].offset >= offset:
            _, _, identity = self._told.pop()
            places = self._places[identity]
            places.pop()
            if not places:
                del self._places[identity]
