"""Which offsets of a partition an operation on the past looks at."""

from dataclasses import dataclass

from confluent_kafka.admin import OffsetSpec

from processor.engine.start_offsets import READ_HINT
from processor.errors import InputError
from processor.kafka.clients import Admin
from processor.kafka.offsets import end_offset, offset_at_time, partition_offset
from processor.replay.selection import Selection
from processor.settings import InputTopic, Settings


@dataclass(frozen=True, slots=True)
class EventRange:
    """Offsets [first, end) of one partition of the events, all of them before the group's position."""

    partition: int
    first: int
    end: int


def resolve_range(
    settings: Settings, admin: Admin, selection: Selection, partition: int, *, position: int | None
) -> EventRange:
    """The offsets of `partition` that `selection` has; `position` is the group's. May be empty: no record is that new.

    Blocks for up to four requests. Raises InputError where the group has no position, where an offset that the
    operator names is not yet mapped or no longer kept; the text says which offsets can be named. UnavailableError and
    AuthorizationError as `partition_offset`.
    """
    events = settings.topic(InputTopic.EVENTS)
    place = f"{events}[{partition}]"
    low, position = _past_of(settings, admin, partition, position)
    first, end = selection.first_offset, selection.end_offset
    if first is not None and first < low:
        is_gone = end is not None and end <= low
        hint = "nothing of that range is kept" if is_gone else f"--offsets {low}:{end or ''}"
        raise InputError(f"{place} begins at offset {low}: earlier ones are gone", hint=hint)
    if max(first or 0, end or 0) > position:
        from_offset = first if first is not None and first < position else low
        hint = f"--offsets {from_offset}:{position}" if from_offset < position else "none of its events is in the past"
        raise InputError(f"the group's position in {place} is {position}: later events are `run`'s", hint=hint)
    first, end = low if first is None else first, position if end is None else end
    if selection.from_ms is not None:
        first = max(first, offset_at_time(admin, events, partition, selection.from_ms, hint=READ_HINT))
    if selection.to_ms is not None:
        end = min(end, offset_at_time(admin, events, partition, selection.to_ms, hint=READ_HINT))
    return EventRange(partition, first, max(first, end))


def remaining_range(settings: Settings, admin: Admin, events: EventRange, *, position: int | None) -> EventRange:
    """What is still in the past of the range with which an operation began, and kept: `position` is the group's, and
    may have been set back since, so that later events are `run`'s. Blocks for two requests; raises as `resolve_range`.
    """
    if events.first >= events.end:
        return events
    low, position = _past_of(settings, admin, events.partition, position)
    first = max(events.first, low)
    return EventRange(events.partition, first, max(first, min(events.end, position)))


def _past_of(settings: Settings, admin: Admin, partition: int, position: int | None) -> tuple[int, int]:
    """The first offset that the partition holds, and the group's position; InputError where one of them says that there
    is no past."""
    events = settings.topic(InputTopic.EVENTS)
    place = f"{events}[{partition}]"
    low = partition_offset(admin, events, partition, OffsetSpec.earliest(), hint=READ_HINT)
    if position is None:
        raise InputError(
            f"group {settings.group_id!r} has no position in {place}: what `run` has not reached is not in the past",
            hint="start `run`, or check PROCESSOR_GROUP and PROCESSOR_TOPICS__PREFIX",
        )
    if position < low:
        raise InputError(
            f"the group's position in {place} is {position}, and it begins at offset {low}: what it held is gone",
            hint="`processor run` says how to go on",
        )
    if position > (end := end_offset(admin, events, partition, hint=READ_HINT)):
        raise InputError(
            f"the group's position in {place} is {position}, and it ends at offset {end}: it holds another log",
            hint="was the topic created again, or is this another cluster? `processor run` says how to go on",
        )
    return low, position
