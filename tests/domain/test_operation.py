"""Ids of operations: made of kind, time and chance, and read back."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.operation import RANDOM_BYTES, OperationKind, OperationParts, operation_id, parse_operation_id

BEGAN = datetime(2026, 11, 29, 7, 55, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "began_at", "expected"),
    [
        (OperationKind.REPLAY, BEGAN, "replay-20261129T075501Z-3f2a91c0"),
        (OperationKind.REDRIVE, BEGAN + timedelta(microseconds=999_999), "redrive-20261129T075501Z-3f2a91c0"),
        (
            OperationKind.REPLAY,
            datetime(2026, 11, 29, 1, 25, 1, tzinfo=timezone(timedelta(hours=-6, minutes=-30))),
            "replay-20261129T075501Z-3f2a91c0",
        ),
    ],
    ids=["published", "microseconds", "zone"],
)
def test_an_id_says_what_was_begun_and_when(kind: OperationKind, began_at: datetime, expected: str) -> None:
    """The published example to the letter; the time in UTC, cut to seconds."""
    assert expected == operation_id(kind, began_at, random=bytes.fromhex("3f2a91c0"))


@given(
    kind=st.sampled_from(OperationKind),
    began_at=st.datetimes(timezones=st.timezones()),
    random=st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES),
)
def test_an_id_is_read_back(kind: OperationKind, began_at: datetime, random: bytes) -> None:
    """Kind, second and random part, and from these the same id."""
    in_utc = _in_utc(began_at)
    text = operation_id(kind, in_utc, random=random)
    parts = parse_operation_id(text)

    assert OperationParts(kind, in_utc.replace(microsecond=0), random) == parts
    assert text == parts.id


def _in_utc(time: datetime) -> datetime:
    """The same time, or a nearby one where UTC has none of year 0 or 10000."""
    try:
        return time.astimezone(UTC)
    except OverflowError:
        return time.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "replay",
        "replay-20261129T075501Z",
        "resume-20261129T075501Z-3f2a91c0",
        "Replay-20261129T075501Z-3f2a91c0",
        "replay-20261129T075501Z-3F2A91C0",
        "replay-20261129T075501-3f2a91c0",
        "replay-20261329T075501Z-3f2a91c0",
        "replay-20260229T075501Z-3f2a91c0",
        "replay-20261129T245501Z-3f2a91c0",
        "replay-20261129T075501Z-3f2a91c",
        "replay-20261129T075501Z-3f2a91c00",
        "replay-20261129T075501Z-3f2a91c0\n",
        "replay-２０２６1129T075501Z-3f2a91c0",
        "replay-2026-11-29T07:55:01Z-3f2a91c0",
    ],
)
def test_other_texts_are_no_id(text: str) -> None:
    """ValueError: another kind, a time that is none, a random part of another length, anything before or behind."""
    with pytest.raises(ValueError, match=r"replay|resume|month|day|hour"):
        parse_operation_id(text)
