"""The records ASSIGNED against two things that know nothing of them: the workers' logs, and the outputs' times.

A worker logs where each of its assignments starts. Positions only advance, and a commit that has a record advances its
partition too, but for the commit of a first start. So of all assignments that start at an offset, one has committed
what lies behind it, if anything has, and that one has a record; beside it there may be that of a first start. A record
comes after all outputs of events before its offset, and before those of all others.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from tests.soak.history import StoredRecord
from tests.soak.workers import WorkerLog

FIELDS = ("kind", "partition", "offset", "startFrom", "setVersion", "decisions", "instance", "version")


@dataclass(frozen=True, slots=True)
class Start:
    """An assignment of a partition, as the log of a worker has it. `is_first`: the group had no position."""

    partition: int
    offset: int
    is_first: bool
    instance_id: str


@dataclass(frozen=True, slots=True)
class OutputTime:
    """When an output of the event at `offset` was produced."""

    partition: int
    offset: int
    timestamp_ms: int


def starts_of(logs: Iterable[WorkerLog]) -> list[Start]:
    """All assignments that came so far that their start was known. A line that a kill has cut is none of them."""
    starts = []
    for log in logs:
        for line in log.text.splitlines():
            if '"partition started"' not in line:
                continue
            try:
                fields = json.loads(line)
            except ValueError:
                continue
            starts.append(Start(fields["partition"], fields["offset"], fields["needs_initial_commit"], log.instance_id))
    return starts


def assignment_findings(
    records: Sequence[StoredRecord],
    starts: Sequence[Start],
    outputs: Sequence[OutputTime],
    positions: Mapping[int, int],
    *,
    decisions: str,
) -> Iterator[str]:
    """What is wrong with `records`, those of the operations topic. `positions` is what the group has committed at last,
    `decisions` the setting."""
    values = [(record, json.loads(record.value or b"{}")) for record in records]
    for record, value in values:
        yield from _field_findings(record, value, starts, decisions=decisions)
        yield from _time_findings(record, value, outputs)
    for partition in sorted({start.partition for start in starts} | {record.partition for record in records}):
        offsets = [value.get("offset", -1) for record, value in values if record.partition == partition]
        of_partition = [start for start in starts if start.partition == partition]
        yield from _count_findings(partition, offsets, of_partition, positions.get(partition))


def _field_findings(
    record: StoredRecord, value: Mapping[str, Any], starts: Iterable[Start], *, decisions: str
) -> Iterator[str]:
    instance_ids = {
        start.instance_id
        for start in starts
        if (start.partition, start.offset) == (record.partition, value.get("offset"))
    }
    if FIELDS != tuple(value) or not re.fullmatch("[0-9a-f]{32}", str(value.get("setVersion"))):
        yield f"{record.at} has other fields: {value}"
    elif value["instance"] not in instance_ids:
        yield f"{record.at} is of no assignment of {value['instance']} at {value['offset']}, but of {instance_ids}"
    expected = ("ASSIGNED", record.partition, None, decisions, version("processor"))
    actual = tuple(value.get(name) for name in ("kind", "partition", "startFrom", "decisions", "version"))
    if expected != actual or record.key != str(record.partition).encode():
        yield f"{record.at} has key {record.key!r} and {actual}, not {expected}"


def _time_findings(record: StoredRecord, value: Mapping[str, Any], outputs: Iterable[OutputTime]) -> Iterator[str]:
    for output in outputs:
        if output.partition != record.partition:
            continue
        is_later = output.offset >= value.get("offset", -1)
        if (is_later and output.timestamp_ms < record.timestamp_ms) or (
            not is_later and output.timestamp_ms > record.timestamp_ms
        ):
            yield f"{record.at} of {value.get('offset')} was produced at {record.timestamp_ms}, and {output}"
            return


def _count_findings(
    partition: int, offsets: Sequence[int], starts: Sequence[Start], position: int | None
) -> Iterator[str]:
    if list(offsets) != sorted(offsets):
        yield f"partition {partition}: the offsets {offsets} go back"
    ends = [start.offset for start in starts] + ([] if position is None else [position])
    for offset in sorted({start.offset for start in starts} | set(offsets)):
        at_offset = [start for start in starts if start.offset == offset]
        has_advanced = any(end > offset for end in ends)
        is_first = any(start.is_first for start in at_offset)
        least = int(has_advanced or (is_first and position is not None))
        most = int(is_first) + int(has_advanced and not all(start.is_first for start in at_offset))
        count = offsets.count(offset)
        if not least <= count <= max(least, most):
            yield f"partition {partition}: {count} records of {offset}, where {at_offset} started and {ends} came after"
