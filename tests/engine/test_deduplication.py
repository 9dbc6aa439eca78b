"""Deduplication: what was seen before, within both bounds, however often the records are read again."""

from hypothesis import given
from hypothesis import strategies as st

from processor.domain.event import Identity, SeenEvent
from processor.domain.record import RecordPosition, Topic
from processor.engine.deduplication import DeduplicationWindow

DAY_MS = 86_400_000


def position_at(offset: int) -> RecordPosition:
    return RecordPosition(Topic("banking.events"), 0, offset)


def seen_event(offset: int, time_ms: int = 0, event: str = "e1", *, tenant: str = "northbank") -> SeenEvent:
    return SeenEvent(position_at(offset), time_ms, Identity(tenant, event))


def window(*events: SeenEvent, records: int = 10) -> DeduplicationWindow:
    """A window that remembers `events`."""
    deduplication = DeduplicationWindow(records=records, age_ms=DAY_MS)
    for event in events:
        deduplication.remember(event)
    return deduplication


def test_the_oldest_position_in_the_window_is_found() -> None:
    """With several earlier records of an event, the oldest is found."""
    assert position_at(3) == window(seen_event(3), seen_event(4)).first_seen(seen_event(5))


def test_limit_of_the_window_by_records() -> None:
    """Offsets [o - records, o) count: the one exactly `records` back does, the one before does not."""
    deduplication = window(seen_event(3))

    assert position_at(3) == deduplication.first_seen(seen_event(13))
    assert deduplication.first_seen(seen_event(14)) is None


def test_limit_of_the_window_by_age() -> None:
    """A record that is exactly the age older counts; a millisecond more, and it does not."""
    deduplication = window(seen_event(3))

    assert position_at(3) == deduplication.first_seen(seen_event(5, DAY_MS))
    assert deduplication.first_seen(seen_event(5, DAY_MS + 1)) is None


def test_an_old_time_does_not_hide_a_newer_one() -> None:
    """Record times need not be in order: a place that is too old by time does not end the search."""
    assert position_at(4) == window(seen_event(3), seen_event(4, DAY_MS)).first_seen(seen_event(5, DAY_MS + 1))


def test_another_tenant_is_another_event() -> None:
    """The same event id of another tenant is not a repeat."""
    assert window(seen_event(3)).first_seen(seen_event(5, tenant="southbank")) is None


def test_records_are_not_repeats_of_themselves() -> None:
    """A record read again after a rewind does not find itself, nor what lies after it."""
    assert window(seen_event(3), seen_event(5)).first_seen(seen_event(3)) is None


def test_no_window_no_repeat() -> None:
    """With a bound of 0 records nothing is a repeat."""
    assert window(seen_event(3), records=0).first_seen(seen_event(4)) is None


STREAM = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 5), st.sampled_from(["a", "b", "c"])), max_size=40)


@given(stream=STREAM, rewinds=st.lists(st.integers(0, 60), max_size=5), records=st.integers(0, 12))
def test_rewinds_do_not_change_what_is_found(
    stream: list[tuple[int, int, str]], rewinds: list[int], records: int
) -> None:
    """What a record finds depends on the log alone: not on commits, rewinds, or how often it was read."""
    log = []
    offset = 0
    for gap, at, event in stream:
        offset += gap
        log.append((offset, at, event))
    expected = {o: next((p for p, _, e in log if o - records <= p < o and e == event), None) for o, _, event in log}

    tested = DeduplicationWindow(records=records, age_ms=DAY_MS)
    pending = list(rewinds)
    committed = 0
    position = 0
    while position < len(log):
        o, at, event = log[position]
        found = tested.first_seen(seen_event(o, at, event))
        assert expected[o] == (found.offset if found else None)
        tested.remember(seen_event(o, at, event))
        position += 1
        if pending and o >= pending[0]:
            tested.forget_from(log[committed][0])
            position = committed
            pending.pop(0)
        elif o % 2:
            committed = position
            tested.forget_before(o + 1)
