"""Which offsets are looked at, on a real partition."""

import time
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from processor.errors import InputError
from processor.kafka.clients import create_admin
from processor.replay.event_range import EventRange, resolve_range
from processor.replay.selection import Selection
from tests.support.events import repayment
from tests.support.installation import Installation, create_installation

pytestmark = pytest.mark.kafka


@pytest.fixture
def installation(bootstrap_servers: str, topic_prefix: str) -> Installation:
    """Offsets 2 to 9; 0 and 1 are gone. From `BREAK` on they were written a while later."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(number) for number in range(BREAK)])
    time.sleep(0.01)  # no record of the first part is as late as one of the second
    installation.produce_events([repayment(number) for number in range(BREAK, 10)])
    admin = create_admin(installation.settings)
    gone = TopicPartition(installation.events, 0, 2)
    admin.delete_records([gone])[gone].result(10)
    return installation


BREAK = 6
POSITION = 8  # of the group


def range_of(installation: Installation, *, position: int | None = POSITION, **selected: Any) -> tuple[int, int]:
    """First and end for this selection."""
    admin = create_admin(installation.settings)
    found = resolve_range(installation.settings, admin, Selection(**selected), 0, position=position)
    assert isinstance(found, EventRange)
    return found.first, found.end


def test_ranges(installation: Installation) -> None:
    """By offset and by time, never beyond the group's position; a time without records leaves nothing."""
    break_ms = next(event.timestamp()[1] for event in installation.read(installation.events) if event.offset() == BREAK)

    assert (2, 8) == range_of(installation)
    assert (3, 5) == range_of(installation, first_offset=3, end_offset=5)
    assert (3, 8) == range_of(installation, first_offset=3)
    assert (2, 8) == range_of(installation, end_offset=8)
    assert (BREAK, 8) == range_of(installation, from_ms=break_ms)
    assert (2, BREAK) == range_of(installation, to_ms=break_ms)
    assert (BREAK, 7) == range_of(installation, first_offset=3, end_offset=7, from_ms=break_ms)
    assert (3, BREAK) == range_of(installation, first_offset=3, end_offset=7, to_ms=break_ms)
    first, end = range_of(installation, from_ms=break_ms + 60_000)
    assert first == end


@pytest.mark.parametrize(
    ("position", "selected", "text"),
    [
        (None, {}, r"has no position in .*events\[0\].*\nhint: start `run`"),
        (1, {}, "position in .* is 1, and it begins at offset 2"),
        (8, {"first_offset": 1}, r"begins at offset 2: earlier ones are gone\nhint: --offsets 2:$"),
        (8, {"first_offset": 0, "end_offset": 5}, r"gone\nhint: --offsets 2:5$"),
        (8, {"end_offset": 9}, r"position in .* is 8: later events are `run`'s\nhint: --offsets 2:8"),
        (8, {"first_offset": 4, "end_offset": 9}, r"\nhint: --offsets 4:8"),
        (8, {"first_offset": 9}, r"\nhint: --offsets 2:8"),
    ],
)
def test_ranges_that_are_refused(
    installation: Installation, position: int | None, selected: dict[str, int], text: str
) -> None:
    """Beyond retention or the group's position: exit 5, and the hint is a range that can be taken."""
    with pytest.raises(InputError, match=text) as refused:
        range_of(installation, position=position, **selected)
    assert refused.value.exit_code == 5
