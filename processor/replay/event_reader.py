"""Reads those events of a range that have to be looked at, and passes over the others."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import Final

from processor.domain.record import SourceRecord
from processor.engine.start_offsets import READ_HINT
from processor.kafka.clients import Admin, source_record
from processor.kafka.offsets import partition_extent
from processor.kafka.read_range import open_reader, read_range
from processor.replay.event_range import EventRange
from processor.settings import InputTopic, Settings

MAX_GAP_OFFSETS: Final = 1_000
"""Of events that are not wanted, between two that are: read too, as a seek costs more than to fetch them."""


def spans(events: EventRange, is_wanted: Callable[[int], bool], *, max_gap: int = MAX_GAP_OFFSETS) -> Iterator[range]:
    """Ranges of offsets, in order, that have every wanted offset of `events` and begin and end with one."""
    first = last = -1
    for offset in range(events.first, events.end):
        if not is_wanted(offset):
            continue
        if first >= 0 and offset - last > max_gap:
            yield range(first, last + 1)
            first = -1
        if first < 0:
            first = offset
        last = offset
    if first >= 0:
        yield range(first, last + 1)


def read_events(
    settings: Settings, partition: int, ranges: Iterable[range], is_wanted: Callable[[int], bool]
) -> Generator[SourceRecord]:
    """The wanted records at the offsets of `ranges`, in order; outside of any group, aborted ones left out.

    Blocks. UnavailableError and AuthorizationError as `read_range`; UnpackError for a batch that cannot be unpacked.
    """
    events = settings.topic(InputTopic.EVENTS)
    with open_reader(settings, hint=READ_HINT) as reader:
        for offsets in ranges:
            for message in read_range(reader, events, partition, offsets.start, offsets.stop):
                record = source_record(message, events)
                if is_wanted(record.position.offset):
                    yield record


def read_event_at(settings: Settings, admin: Admin, partition: int, offset: int) -> SourceRecord | None:
    """The record at `offset`; None where there is none that can be read now: expired, not written yet, a marker, or
    aborted. Blocks, and raises as `read_events`."""
    extent = partition_extent(admin, settings.topic(InputTopic.EVENTS), partition, hint=READ_HINT)
    if not extent.first <= offset < extent.stable:
        return None
    with closing(read_events(settings, partition, [range(offset, offset + 1)], lambda _offset: True)) as records:
        return next(records, None)
