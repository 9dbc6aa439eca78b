"""One partition of the events as a state machine, from its assignment until it is revoked.

RESOLVING_OFFSET → RUNNING                                 the group has a position
                 → COMMITTING_START → RUNNING              it has none: the start is committed, then read from
                 → OFFSET_UNAVAILABLE → RESOLVING_OFFSET   it cannot be known now: again after a back-off
                 → OFFSET_REFUSED                          a person has to decide
RUNNING → PAUSED → RUNNING                                 a record is deferred, a fetch failed: after a back-off

Written by this module alone: others call its methods, and read.
"""

import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from processor.background import back_off_s
from processor.engine.deduplication import DeduplicationWindow
from processor.engine.start_offsets import StartOffset
from processor.errors import InputError, InternalError

RETRY_BACKOFF_S, MAX_RETRY_BACKOFF_S = 0.05, 10.0  # after the first failure in a row, and the longest


class PartitionState(StrEnum):
    """What a partition waits for, if for anything."""

    RESOLVING_OFFSET = "RESOLVING_OFFSET"  #: A thread finds its start offset and restores its deduplication window.
    OFFSET_UNAVAILABLE = "OFFSET_UNAVAILABLE"  #: Its start offset cannot be known now; tried again at `retry_at`.
    OFFSET_REFUSED = "OFFSET_REFUSED"  #: A person has to say where it starts.
    COMMITTING_START = "COMMITTING_START"  #: The group has no position: the start is committed before it is read.
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"  #: A record is deferred, or a fetch failed; tried again at `retry_at`.


_STARTED: Final = (PartitionState.RUNNING, PartitionState.PAUSED)
_WAITING: Final = (PartitionState.OFFSET_UNAVAILABLE, PartitionState.PAUSED)


@dataclass(slots=True, eq=False)
class AssignedPartition:
    """A partition under one assignment; a new assignment is a new object. Not thread-safe.

    Offsets are of the events topic; -1 before the start offset is found. `needs_seek` is apart from the state, since a
    paused partition may have to be sought too: until the consumer was sent to `next_offset` nothing polled is usable.
    """

    number: int
    deduplication: DeduplicationWindow
    resolution: Future[StartOffset]
    state: PartitionState = PartitionState.RESOLVING_OFFSET
    refusal: InputError | None = None  #: Why a person has to say where it starts.
    start_offset: int = -1  #: The first to be mapped.
    next_offset: int = -1  #: The next that may be polled; a lower one was polled before.
    start_from: str | None = None  #: The policy that chose it, where one did.
    committed_offset: int = -1
    target_offset: int = -1  #: The high watermark when it was assigned.
    is_fetched: bool = False  #: It is assigned to the consumer's fetcher.
    needs_seek: bool = False
    seek_failing_since: float | None = None
    retry_at: float = 0.0  #: In the two states that wait, on the monotonic clock.
    retry_count: int = 0  #: Retries in a row, for the back-off.
    deferred_offset: int = -1  #: Of the last record that was deferred.
    cause: str = ""  #: Why it waits.
    schema_refused: bool = False  #: It waits for a schema id that the registry refuses, to all or to us.
    recorded_at: float | None = None  #: When its last record ASSIGNED was committed; None before the first.
    recording: tuple[int, float] | None = None  #: Position and time of a transaction under way that has such a record.
    progressed_at: float = field(default_factory=time.monotonic)

    @property
    def is_started(self) -> bool:
        """Its start offset is known, and the group has it."""
        return self.state in _STARTED

    @property
    def is_resolving(self) -> bool:
        """Its start offset is being looked up, and was not refused or put off yet."""
        return self.state is PartitionState.RESOLVING_OFFSET

    @property
    def needs_initial_commit(self) -> bool:
        """The group had no position, and does not have its start offset yet."""
        return self.state is PartitionState.COMMITTING_START

    @property
    def is_paused(self) -> bool:
        return self.state is PartitionState.PAUSED

    @property
    def is_usable(self) -> bool:
        """Whether what is polled of it may be used."""
        return self.state is PartitionState.RUNNING and not self.needs_seek

    @property
    def is_retry_due(self) -> bool:
        """Whether it has waited for long enough."""
        return self.state in _WAITING and time.monotonic() >= self.retry_at

    @property
    def has_reached_target(self) -> bool:
        """All that it held when it was assigned is committed."""
        return self.is_started and self.committed_offset >= self.target_offset

    # --- the start offset ---

    def resolve(self, start: StartOffset) -> None:
        """Its start offset is found; the consumer has to be sent there, once the group has it."""
        self._require(PartitionState.RESOLVING_OFFSET)
        self.state = PartitionState.COMMITTING_START if start.needs_initial_commit else PartitionState.RUNNING
        self.start_offset = self.next_offset = start.offset
        self.committed_offset = -1 if start.needs_initial_commit else start.offset
        self.start_from = start.start_from
        self.target_offset = start.target_offset
        self.needs_seek = True
        for event in start.seen:
            self.deduplication.remember(event)
        self._progress()

    def refuse(self, refusal: InputError) -> None:
        """A person has to say where it starts."""
        self._require(PartitionState.RESOLVING_OFFSET)
        self.state = PartitionState.OFFSET_REFUSED
        self.refusal = refusal

    def postpone(self, cause: str) -> None:
        """Its start offset cannot be known now: to be looked up again after a back-off."""
        self._require(PartitionState.RESOLVING_OFFSET)
        self.state = PartitionState.OFFSET_UNAVAILABLE
        self._back_off(cause)

    def resolve_again(self, resolution: Future[StartOffset]) -> None:
        """The back-off is over."""
        self._require(PartitionState.OFFSET_UNAVAILABLE)
        self.state = PartitionState.RESOLVING_OFFSET
        self.resolution = resolution

    # --- polled, committed, sent back ---

    def mark_polled(self, next_offset: int) -> None:
        """All before `next_offset` was polled."""
        self.next_offset = next_offset

    def mark_recording(self, position: int, now: float) -> None:
        """The transaction that commits `position` has its record ASSIGNED."""
        self.recording = position, now

    def mark_committed(self, offset: int) -> None:
        """The group has `offset` as its position; the next retry begins with a short back-off again."""
        self._require(PartitionState.COMMITTING_START, *_STARTED)
        if self.state is PartitionState.COMMITTING_START:
            self.state = PartitionState.RUNNING
        self.committed_offset = offset
        self._finish_recording(offset)
        self.deduplication.forget_before(offset)
        self._progress()

    def rewind(self, committed_offset: int) -> None:
        """Go back to what the group has committed; the consumer has to be sent there.

        A commit whose response was lost is found here: of the start offset, and of a record ASSIGNED with a position.
        """
        self._require(PartitionState.COMMITTING_START, *_STARTED)
        if self.state is PartitionState.COMMITTING_START:
            if committed_offset == self.start_offset:
                self.mark_committed(committed_offset)
            return
        self.committed_offset = committed_offset
        self._finish_recording(committed_offset)
        self._go_back_to(committed_offset)

    def pause(self, offset: int, cause: str, *, schema_refused: bool = False) -> None:
        """Cut it at `offset`, whose record cannot be processed now, until the back-off is over."""
        self._require(*_STARTED)  # a record that was polled before a fetch failed may be deferred too
        self.state = PartitionState.PAUSED
        if offset > self.deferred_offset:  # it got on since: what was mapped may be held back, without a commit yet
            self.retry_count = 0
        self.deferred_offset = offset
        self._go_back_to(offset)
        self._back_off(cause)
        self.schema_refused = schema_refused

    def resume(self) -> None:
        """The back-off is over. What was fetched before the pause is gone, so the consumer has to be sent back."""
        self._require(PartitionState.PAUSED)
        self.state = PartitionState.RUNNING
        self.needs_seek = True

    # --- the consumer's fetcher ---

    def mark_sought(self) -> None:
        """The consumer fetches it, from `next_offset` on."""
        self.is_fetched = True
        self.needs_seek = False
        self.seek_failing_since = None

    def mark_seek_failed(self) -> float:
        """For how many seconds the consumer could not be sent to `next_offset`."""
        now = time.monotonic()
        self.seek_failing_since = self.seek_failing_since or now
        return now - self.seek_failing_since

    def mark_unassigned(self) -> None:
        """The consumer fetches it no more."""
        self.is_fetched = False

    def _finish_recording(self, committed_offset: int) -> None:
        """Whether its record was committed with its position, or is to be written again."""
        if self.recording is not None and committed_offset >= self.recording[0]:
            self.recorded_at = self.recording[1]
        self.recording = None

    def _go_back_to(self, offset: int) -> None:
        self.next_offset = offset
        self.needs_seek = True
        self.deduplication.forget_from(offset)

    def _back_off(self, cause: str) -> None:
        self.retry_at = time.monotonic() + back_off_s(
            self.retry_count, first_s=RETRY_BACKOFF_S, longest_s=MAX_RETRY_BACKOFF_S
        )
        self.retry_count += 1
        self.cause = cause

    def _progress(self) -> None:
        self.progressed_at = time.monotonic()
        self.retry_count = 0
        self.cause = ""
        self.schema_refused = False

    def _require(self, *states: PartitionState) -> None:
        if self.state not in states:
            raise InternalError(f"partition {self.number} is {self.state}, it has to be {' or '.join(states)}")
