"""Offsets by event id: as a dict of texts has them, in less memory."""

from typing import Final
from uuid import UUID

from processor.replay.event_offsets import EventOffsets

ID: Final = "0192f3c4-0000-7000-8000-00000000000a"


def test_the_first_offset_of_each_id_is_kept() -> None:
    """As of a dict of texts, and so is what is read of it."""
    offsets = EventOffsets()
    offsets.note(ID, 0)
    offsets.note(ID, 5)

    assert {ID: 0} == dict(offsets)
    assert ID in offsets


def test_an_outcome_is_noted_beside_the_offset() -> None:
    """The first one; at offset 0 too, and of an event that was not met before."""
    offsets, other = EventOffsets(), str(UUID(int=1))
    offsets.note(ID, 0)
    assert offsets.outcome_offset(ID) is None

    for offset in (0, 7):
        offsets.note_outcome(ID, offset)
        offsets.note_outcome(other, offset + 3)

    assert (0, 3) == (offsets.outcome_offset(ID), offsets.outcome_offset(other))
    assert {ID: 0, other: 3} == dict(offsets)


def test_another_text_is_no_uuid() -> None:
    """Nor is one of the same digits, or of the same sixteen bytes."""
    offsets = EventOffsets()
    offsets.note(ID, 1)
    offsets.note(str(UUID(bytes=b"a" * 16)), 2)

    for text in ("", "event-id", ID.replace("-", ""), ID.replace("-", "", 1), "é" * 36, "a" * 16, f"{ID}0"):
        assert text not in offsets
        assert offsets.outcome_offset(text) is None
