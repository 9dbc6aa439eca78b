"""The window's claims: what was told before, within both bounds, however often the records are read again."""

from hypothesis import given
from hypothesis import strategies as st

from processor.domain.event import Identity
from processor.domain.record import RecordPosition, Topic
from processor.engine.deduplication import DeduplicationWindow

DAY_MS = 86_400_000


def place(offset: int) -> RecordPosition:
    return RecordPosition(Topic("banking.events"), 0, offset)


def identity(event: str = "e1") -> Identity:
    return Identity("northbank", event)


def window(*told: tuple[int, int, str], records: int = 10) -> DeduplicationWindow:
    """A window that has seen `told`: (offset, time, event)."""
    made = DeduplicationWindow(records=records, age_ms=DAY_MS)
    for offset, at, event in told:
        made.remember(place(offset), at, identity(event))
    return made


def test_the_oldest_place_in_the_window_is_named() -> None:
    """With several earlier records of an event, the answer is the oldest."""
    assert place(3) == window((3, 0, "e1"), (4, 0, "e1")).first_seen(place(5), 0, identity())


def test_the_edge_by_records() -> None:
    """Offsets [o - records, o) count: the one exactly `records` back does, the one before does not."""
    told = window((3, 0, "e1"))

    assert place(3) == told.first_seen(place(13), 0, identity())
    assert told.first_seen(place(14), 0, identity()) is None


def test_the_edge_by_age() -> None:
    """A record that is exactly the age older counts; a millisecond more, and it does not."""
    told = window((3, 0, "e1"))

    assert place(3) == told.first_seen(place(5), DAY_MS, identity())
    assert told.first_seen(place(5), DAY_MS + 1, identity()) is None


def test_an_old_time_does_not_hide_a_newer_one() -> None:
    """Record times need not be in order: a place that is too old by time does not end the search."""
    assert place(4) == window((3, 0, "e1"), (4, DAY_MS, "e1")).first_seen(place(5), DAY_MS + 1, identity())


def test_another_tenant_is_another_event() -> None:
    """The same event id of another tenant is not a repeat."""
    assert window((3, 0, "e1")).first_seen(place(5), 0, Identity("southbank", "e1")) is None


def test_records_are_not_repeats_of_themselves() -> None:
    """A record read again after a rewind does not find itself, nor what lies after it."""
    assert window((3, 0, "e1"), (5, 0, "e1")).first_seen(place(3), 0, identity()) is None


def test_no_window_no_repeat() -> None:
    """With a bound of 0 records nothing is a repeat."""
    assert window((3, 0, "e1"), records=0).first_seen(place(4), 0, identity()) is None


STREAM = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 5), st.sampled_from(["a", "b", "c"])), max_size=40)


@given(stream=STREAM, rewinds=st.lists(st.integers(0, 60), max_size=5), records=st.integers(0, 12))
def test_rewinds_do_not_change_any_answer(stream: list[tuple[int, int, str]], rewinds: list[int], records: int) -> None:
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
        found = tested.first_seen(place(o), at, identity(event))
        assert expected[o] == (found.offset if found else None)
        tested.remember(place(o), at, identity(event))
        position += 1
        if pending and o >= pending[0]:
            tested.forget_from(log[committed][0])
            position = committed
            pending.pop(0)
        elif o % 2:
            committed = position
            tested.forget_before(o + 1)
