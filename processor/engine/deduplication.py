"""The deduplication window of one partition: which events were seen among the records before, and where.

It is a function of the log alone: restored when a partition is assigned, so that a restart, a takeover and a replay
find the same duplicates.
"""

from collections import deque

from processor.domain.event import Identity, SeenEvent
from processor.domain.record import RecordPosition


class DeduplicationWindow:
    """Where events were seen, oldest first for each identity. Not thread-safe; belongs to one assigned partition.

    `records` and `age_ms` bound it: an earlier record counts when it lies at offsets [o - records, o) and its record
    time is not more than `age_ms` older. 0 records: nothing is ever a duplicate.
    """

    def __init__(self, *, records: int, age_ms: int) -> None:
        self._records = records
        self._age_ms = age_ms
        self._seen: deque[SeenEvent] = deque()  # by offset
        self._by_identity: dict[Identity, deque[SeenEvent]] = {}  # by offset

    def __len__(self) -> int:
        return len(self._seen)

    def first_seen(self, event: SeenEvent) -> RecordPosition | None:
        """The oldest position before `event`, within both bounds, of the same event; None when there is none.

        Record times need not be in order, so the bound of age is checked for each position.
        """
        oldest_offset, oldest_ms = event.position.offset - self._records, event.time_ms - self._age_ms
        for earlier in self._by_identity.get(event.identity, ()):
            if oldest_offset <= earlier.position.offset < event.position.offset and earlier.time_ms >= oldest_ms:
                return earlier.position
        return None

    def remember(self, event: SeenEvent) -> None:
        """Add `event`. Events come in the order of their offsets; one that is there already changes nothing."""
        if self._seen and event.position.offset <= self._seen[-1].position.offset:
            return
        self._seen.append(event)
        self._by_identity.setdefault(event.identity, deque()).append(event)

    def forget_before(self, committed_offset: int) -> None:
        """Drop what no record from `committed_offset` on can be a duplicate of.

        Only what is committed moves this bound: after an abort the records since then are mapped again, and must find
        what they found before.
        """
        while self._seen and self._seen[0].position.offset < committed_offset - self._records:
            identity = self._seen.popleft().identity
            same_events = self._by_identity[identity]
            same_events.popleft()
            if not same_events:
                del self._by_identity[identity]

    def forget_from(self, offset: int) -> None:
        """Drop what lies at `offset` or after: these records will be read and remembered again."""
        while self._seen and self._seen[-1].position.offset >= offset:
            identity = self._seen.pop().identity
            same_events = self._by_identity[identity]
            same_events.pop()
            if not same_events:
                del self._by_identity[identity]
