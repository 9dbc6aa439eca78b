"""`--until-end`: when it is complete, and when it has stalled."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress

import structlog

from processor.engine.partition import AssignedPartition
from processor.errors import UnavailableError

log = structlog.get_logger()

STALL_TIMEOUT_S = 60.0  # without progress
GROUP_POSITIONS_INTERVAL_S = 1.0
PROGRESS_LOG_INTERVAL_S = 5.0

STALL_HINT = (
    "an open transaction in the input holds back its readers until it ends or times out; `processor topics` shows "
    "whether the output topics have every partition of the events"
)


class CompletionWatch:
    """Follows the assigned partitions up to what they held when they were assigned. Not thread-safe.

    A member without partitions follows the group's positions up to `end_offsets`, read once a second by
    `group_positions`; UnavailableError of it leaves those known before.
    """

    def __init__(
        self,
        end_offsets: Mapping[int, int],
        group_positions: Callable[[Iterable[int]], dict[int, int]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._end_offsets = end_offsets
        self._group_positions = group_positions
        self._clock = clock
        now = clock()
        self._positions: dict[int, int] = {}
        self._read_positions_at = now
        self._log_at = now + PROGRESS_LOG_INTERVAL_S
        self._last_progress: object = None
        self._stalled_at = now + STALL_TIMEOUT_S

    @property
    def is_stalled(self) -> bool:
        """Whether `update` has seen no progress for a minute."""
        return self._clock() > self._stalled_at

    def update(self, partitions: Collection[AssignedPartition]) -> bool:
        """Whether all is committed; else note progress, and log how far it is every 5 s."""
        if partitions:
            if all(partition.has_reached_target for partition in partitions):
                return True
            self._log_progress(partitions)
        elif self._has_group_reached_end():  # others work, or no assignment has come yet
            return True
        progress = sorted((p.number, p.next_offset, p.committed_offset) for p in partitions) or self._positions
        if progress != self._last_progress:
            self._last_progress, self._stalled_at = progress, self._clock() + STALL_TIMEOUT_S
        return False

    def _has_group_reached_end(self) -> bool:
        now = self._clock()
        if now < self._read_positions_at:
            return False
        self._read_positions_at = now + GROUP_POSITIONS_INTERVAL_S
        with suppress(UnavailableError):
            self._positions = self._group_positions(self._end_offsets)
        return all(self._positions.get(number, -1) >= end for number, end in self._end_offsets.items())

    def _log_progress(self, partitions: Collection[AssignedPartition]) -> None:
        now = self._clock()
        if now >= self._log_at and all(partition.is_started for partition in partitions):
            self._log_at = now + PROGRESS_LOG_INTERVAL_S
            left = sum(max(0, p.target_offset - max(0, p.committed_offset)) for p in partitions)
            log.info("catching up", records_left=left)
