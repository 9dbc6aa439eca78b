"""Which transactions carry a record ASSIGNED: the first of each assignment of a partition, and one a day after it.

Without it nobody can tell events that were skipped from those that were mapped while no decisions were written.
"""

import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Final

from processor.domain.operation_record import AssignedRecord
from processor.domain.record import OutRecord
from processor.engine.partition import AssignedPartition
from processor.mapping.context import MappingContext
from processor.settings import Settings
from processor.wire.operations import assigned_out_record

RECORD_INTERVAL_S: Final = 24 * 60 * 60.0  # so that a range of a few days holds one, and operations outlive events


class AssignedRecords:
    """Makes the records of one process."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds and never goes back. Raises UsageError for a host's name that can be no instance id."""
        self._instance = settings.instance_name
        self._decisions = settings.decisions
        self._version = version("processor")
        self._clock = clock

    def due(self, positions: Mapping[AssignedPartition, int], context: MappingContext) -> tuple[OutRecord, ...]:
        """Those that belong into the transaction that commits `positions`, partition -> next offset, of what was mapped
        with `context`. The partitions note it: a transaction that does not commit writes them again."""
        now = self._clock()
        records = []
        for partition, position in positions.items():
            is_first = partition.recorded_at is None
            if partition.recorded_at is not None and now - partition.recorded_at < RECORD_INTERVAL_S:
                continue
            partition.mark_recording(position, now)
            assigned = AssignedRecord(
                partition=partition.number,
                offset=partition.start_offset if is_first else partition.committed_offset,
                start_from=partition.start_from if is_first else None,
                set_version=context.templates.digest,
                decisions=self._decisions,
                instance=self._instance,
                version=self._version,
            )
            records.append(assigned_out_record(assigned, context.output_topics.operations))
        return tuple(records)
