"""The deduplication window of one partition: which events were seen among the records before, and where.

It is a function of the log alone: restored when a partition is assigned, so that a restart, a takeover and a replay
find the same duplicates.
"""

from collections import deque
from itertools import chain

from processor.domain.event import Identity, SeenEvent


class DeduplicationWindow:
    """Where events were seen, oldest first for each identity. Not thread-safe; belongs to one assigned partition.

    `records` and `age_ms` bound it: an earlier record counts when it lies at offsets [o - records, o) and its record
    time is not more than `age_ms` older. 0 records: nothing is ever a duplicate.
    """

    def __init__(self, *, records: int, age_ms: int) -> None:
        self._records = records
        self._age_ms = age_ms
        self._seen: deque[SeenEvent] = deque()  # by offset
        self._first: dict[Identity, SeenEvent] = {}  # the oldest of each identity
        self._later: dict[Identity, list[SeenEvent]] = {}  # the others, by offset, of the few that have several

    def __len__(self) -> int:
        return len(self._seen)

    def first_seen(self, event: SeenEvent) -> int | None:
        """The lowest offset before `event`, within both bounds, of the same event; None when there is none.

        Record times need not be in order, so the bound of age is checked for each.
        """
        first = self._first.get(event.identity)
        if first is None:
            return None
        oldest_offset, oldest_ms = event.offset - self._records, event.time_ms - self._age_ms
        for earlier in chain((first,), self._later.get(event.identity, ())):
            if oldest_offset <= earlier.offset < event.offset and earlier.time_ms >= oldest_ms:
                return earlier.offset
        return None

    def remember_new(self, event: SeenEvent) -> bool:
        """Add `event`, unless the window has the same one before it; whether it was added."""
        if event.identity in self._first and self.first_seen(event) is not None:
            return False
        self.remember(event)
        return True

    def remember(self, event: SeenEvent) -> None:
        """Add `event`. Events come in the order of their offsets; one that is there already changes nothing."""
        if self._seen and event.offset <= self._seen[-1].offset:
            return
        self._seen.append(event)
        if self._first.setdefault(event.identity, event) is not event:
            self._later.setdefault(event.identity, []).append(event)

    def forget_before(self, committed_offset: int) -> None:
        """Drop what no record from `committed_offset` on can be a duplicate of.

        Only what is committed moves this bound: after an abort the records since then are mapped again, and must find
        what they found before.
        """
        oldest_offset = committed_offset - self._records
        while self._seen and self._seen[0].offset < oldest_offset:
            identity = self._seen.popleft().identity
            later = self._later.get(identity)
            if later is None:
                del self._first[identity]
                continue
            self._first[identity] = later.pop(0)
            if not later:
                del self._later[identity]

    def forget_from(self, offset: int) -> None:
        """Drop what lies at `offset` or after: these records will be read and remembered again."""
        while self._seen and self._seen[-1].offset >= offset:
            identity = self._seen.pop().identity
            later = self._later.get(identity)
            if later is None:
                del self._first[identity]
                continue
            later.pop()
            if not later:
                del self._later[identity]
