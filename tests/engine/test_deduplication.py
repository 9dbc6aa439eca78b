"""Deduplication: what was seen before, within both bounds, however often the records are read again."""

import tracemalloc
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from processor.domain.event import SeenEvent, identity_of
from processor.engine.deduplication import DeduplicationWindow
from tests.support.laws import examples

DAY_MS = 86_400_000


def seen_event(offset: int, time_ms: int = 0, event: str = "e1", *, tenant: str = "northbank") -> SeenEvent:
    return SeenEvent(offset, time_ms, identity_of(tenant, event))


def window(*events: SeenEvent, records: int = 10) -> DeduplicationWindow:
    """A window that remembers `events`."""
    deduplication = DeduplicationWindow(records=records, age_ms=DAY_MS)
    for event in events:
        deduplication.remember(event)
    return deduplication


def test_the_oldest_position_in_the_window_is_found() -> None:
    """With several earlier records of an event, the oldest is found."""
    assert 3 == window(seen_event(3), seen_event(4)).first_seen(seen_event(5))


def test_limit_of_the_window_by_records() -> None:
    """Offsets [o - records, o) count: the one exactly `records` back does, the one before does not."""
    deduplication = window(seen_event(3))

    assert 3 == deduplication.first_seen(seen_event(13))
    assert deduplication.first_seen(seen_event(14)) is None


def test_limit_of_the_window_by_age() -> None:
    """A record that is exactly the age older counts; a millisecond more, and it does not."""
    deduplication = window(seen_event(3))

    assert 3 == deduplication.first_seen(seen_event(5, DAY_MS))
    assert deduplication.first_seen(seen_event(5, DAY_MS + 1)) is None


def test_an_old_time_does_not_hide_a_newer_one() -> None:
    """Record times need not be in order: a place that is too old by time does not end the search."""
    assert 4 == window(seen_event(3), seen_event(4, DAY_MS)).first_seen(seen_event(5, DAY_MS + 1))


def test_another_tenant_is_another_event() -> None:
    """The same event id of another tenant is not a repeat."""
    assert window(seen_event(3)).first_seen(seen_event(5, tenant="southbank")) is None


def test_records_are_not_repeats_of_themselves() -> None:
    """A record read again after a rewind does not find itself, nor what lies after it."""
    assert window(seen_event(3), seen_event(5)).first_seen(seen_event(3)) is None


def test_no_window_no_repeat() -> None:
    """With a bound of 0 records nothing is a repeat."""
    assert window(seen_event(3), records=0).first_seen(seen_event(4)) is None


def test_an_event_in_the_window_is_small() -> None:
    """At most 400 bytes of memory each, also after many have come and gone; it was a kilobyte."""
    tracemalloc.start()
    try:
        deduplication = DeduplicationWindow(records=5_000, age_ms=DAY_MS)
        for offset in range(20_000):
            deduplication.remember(seen_event(offset, 1_796_000_000_000 + offset, str(UUID(int=offset))))
            if offset % 500 == 0:
                deduplication.forget_before(offset)
        used_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 5_000 < len(deduplication) <= 5_501
    assert used_bytes < 400 * len(deduplication)


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
        assert expected[o] == tested.first_seen(seen_event(o, at, event))
        tested.remember(seen_event(o, at, event))
        position += 1
        if pending and o >= pending[0]:
            tested.forget_from(log[committed][0])
            position = committed
            pending.pop(0)
        elif o % 2:
            committed = position
            tested.forget_before(o + 1)


class ListWindow:
    """A window as a plain list, all of which is looked at each time."""

    def __init__(self, *, records: int, age_ms: int) -> None:
        self.records, self.age_ms = records, age_ms
        self.seen: list[SeenEvent] = []

    def first_seen(self, event: SeenEvent) -> int | None:
        return next(
            (
                earlier.offset
                for earlier in self.seen
                if earlier.identity == event.identity
                and event.offset - self.records <= earlier.offset < event.offset
                and earlier.time_ms >= event.time_ms - self.age_ms
            ),
            None,
        )

    def remember(self, event: SeenEvent) -> None:
        if not self.seen or event.offset > self.seen[-1].offset:
            self.seen.append(event)

    def forget_before(self, offset: int) -> None:
        self.seen = [event for event in self.seen if event.offset >= offset - self.records]

    def forget_from(self, offset: int) -> None:
        self.seen = [event for event in self.seen if event.offset < offset]


CALLS = st.lists(
    st.tuples(
        st.sampled_from(["remember", "remember", "remember", "forget_before", "forget_from"]),
        st.integers(-2, 3),  # from the newest offset
        st.integers(0, 8),  # the record time
        st.sampled_from(["a", "a", "b"]),
    ),
    min_size=10,
    max_size=30,
)


@settings(max_examples=examples(300))
@given(calls=CALLS, records=st.integers(2, 8), age_ms=st.integers(0, 8))
def test_it_is_a_list_of_what_was_remembered(calls: list[tuple[str, int, int, str]], records: int, age_ms: int) -> None:
    """After any calls: what is found, and how many are kept, is what a plain list gives, with several places of one
    event and record times that are not in order."""
    tested = DeduplicationWindow(records=records, age_ms=age_ms)
    expected = ListWindow(records=records, age_ms=age_ms)
    for name, distance, time_ms, event in calls:
        newest = expected.seen[-1].offset if expected.seen else 0
        argument = newest + distance if name.startswith("forget") else seen_event(newest + distance, time_ms, event)
        getattr(expected, name)(argument)
        getattr(tested, name)(argument)

        assert len(expected.seen) == len(tested)
        for at_ms in range(0, 17, 2):
            looked_for = seen_event(newest + 1, at_ms, event)
            assert expected.first_seen(looked_for) == tested.first_seen(looked_for)
