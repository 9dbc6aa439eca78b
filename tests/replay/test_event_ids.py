"""The ids that an operation on the past has met, in the order of the events' offsets."""

from dataclasses import replace
from typing import Final
from uuid import UUID

from processor.domain.event import SourceEvent
from processor.domain.record import RecordPosition
from processor.engine.deduplication import DeduplicationWindow
from processor.replay.event_ids import EventIds
from processor.replay.event_offsets import EventOffsets
from tests.support.builders import TENANT, make_context, make_record, make_source

RECORDS: Final = 10
FIRST: Final = make_source(make_record(), make_context())


def event_at(offset: int, number: int) -> SourceEvent:
    """An event with an id of this number."""
    position = FIRST.record.position._replace(offset=offset)
    return replace(
        FIRST,
        record=FIRST.record._replace(position=position),
        event=replace(FIRST.event, id=str(UUID(int=number))),
    )


def test_the_window_keeps_what_later_events_can_repeat() -> None:
    """No more than its records, however long the range; an id behind it is still found at its first record."""
    window = DeduplicationWindow(records=RECORDS, age_ms=1)
    position = FIRST.record.position
    ids = EventIds(
        {}, EventOffsets(), window, tenant=TENANT, place=(position.topic, position.partition), operation=None
    )
    for offset in range(1_000):
        ids.remember(event_at(offset, offset))

    assert len(window) <= RECORDS + 1
    assert RecordPosition(position.topic, position.partition, 990) == ids.duplicate_of(event_at(1_000, 990))
    assert ids.duplicate_of(event_at(1_000, 989)) is None
    assert RecordPosition(position.topic, position.partition, 989) == ids.found_at(event_at(1_000, 989))
