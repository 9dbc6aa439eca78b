"""What an operator selects."""

import pytest

from processor.domain.event import SourceEvent
from processor.domain.record import EventName
from processor.domain.times import parse_time_ms
from processor.errors import UsageError
from processor.replay.selection import Selection, parse_offsets, parse_time, require_order
from tests.support.builders import make_context, make_record, make_source

NOW_MS = 1_800_000_000_000


@pytest.mark.parametrize(
    ("text", "offsets"),
    [("5:9", (5, 9)), ("5:", (5, None)), (":9", (None, 9)), ("0:9223372036854775807", (0, 2**63 - 1))],
)
def test_offsets(text: str, offsets: tuple[int | None, int | None]) -> None:
    """From the first up to, not including, the second; either may be left out."""
    assert offsets == parse_offsets(text)


@pytest.mark.parametrize(
    "text", ["", ":", "5", "9:5", "5:5", "-1:5", "a:b", "1:2:3", " 1:2", "١:٢", "9223372036854775808:", "1" * 20 + ":"]
)
def test_offsets_that_are_none(text: str) -> None:
    """Reversed, empty, negative or not numbers: an error that quotes what was given."""
    with pytest.raises(UsageError, match="--offsets"):
        parse_offsets(text)


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("2h", NOW_MS - 7_200_000),
        ("90s", NOW_MS - 90_000),
        ("3d", NOW_MS - 259_200_000),
        ("2026-03-14T09:26:53Z", 1_773_480_413_000),
        ("2026-03-14T10:26:53.589999+01:00", 1_773_480_413_589),
    ],
)
def test_times(text: str, time_ms: int) -> None:
    """An age, or RFC 3339 with any offset, cut to milliseconds."""
    assert time_ms == parse_time("--from", text, now_ms=lambda: NOW_MS)


@pytest.mark.parametrize("text", ["", "2", "h", "2w", "-2h", "2026-03-14", "2026-03-14T09:26:53", "yesterday", "٢h"])
def test_times_that_are_none(text: str) -> None:
    """A time without its offset is an error: it would be another one on another machine."""
    assert parse_time_ms(text) is None
    with pytest.raises(UsageError, match="--to takes a time with its offset, or an age") as error:
        parse_time("--to", text, now_ms=lambda: NOW_MS)
    assert "2h" in error.value.hint


def test_times_in_the_wrong_order() -> None:
    """Reversed or equal: nothing would be selected."""
    for later in (5, 6):
        with pytest.raises(UsageError, match="--from is not before --to"):
            require_order(later, 5)
    require_order(4, 5)
    require_order(None, 5)


def test_records_by_time() -> None:
    """From the first time on, before the second."""
    selection = Selection(from_ms=10, to_ms=20)

    assert [False, True, True, False] == [selection.includes_time(at) for at in (9, 10, 19, 20)]
    assert Selection().includes_time(0)


def source() -> SourceEvent:
    return make_source(make_record(), make_context())


@pytest.mark.parametrize(
    ("selection", "is_included"),
    [
        (Selection(), True),
        (Selection(events=frozenset({EventName("LOAN_REPAYMENT")})), True),
        (Selection(events=frozenset({EventName("SAVINGS_DEPOSIT")})), False),
        (Selection(client="nobody"), False),
        (Selection(account="nothing"), False),
    ],
)
def test_events_by_content(selection: Selection, is_included: bool) -> None:
    """By name, by client or group, by account: all that are named must fit."""
    assert is_included is selection.includes(source())


def test_events_by_key_or_id() -> None:
    """A client and an account are named by encodedKey or by id."""
    fields = source().event.fields
    for name in ("encodedKey", "id"):
        client, account = str(fields["client"][name]), str(fields["account"][name])

        assert Selection(client=client, account=account).includes(source())
        assert not Selection(client=account).includes(source())
        assert Selection(client=client).looks_into_events
    assert not Selection(from_ms=1).looks_into_events
