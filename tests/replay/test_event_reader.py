"""Which events are read, and that no other is."""

import random
from itertools import pairwise

import pytest

from processor.replay.event_range import EventRange
from processor.replay.event_reader import read_events, spans
from tests.support.events import repayment
from tests.support.installation import create_installation


@pytest.mark.parametrize("seed", range(30))
def test_spans_have_all_that_is_wanted(seed: int) -> None:
    """Each wanted offset is in exactly one span; spans begin and end with one, and none bridges a longer gap."""
    rng = random.Random(seed)
    events, density = EventRange(0, 100, 400), rng.choice((0, 0.01, 0.2, 0.9, 1))
    wanted = {offset for offset in range(90, 410) if rng.random() < density}
    max_gap = rng.choice((1, 5, 50))

    found = list(spans(events, wanted.__contains__, max_gap=max_gap))

    inside = sorted(wanted & set(range(100, 400)))
    assert inside == [offset for span in found for offset in span if offset in wanted]
    assert all(span[0] in wanted and span[-1] in wanted for span in found)
    assert all(after[0] - before[-1] > max_gap for before, after in pairwise(found))
    for span in found:
        gaps = [second - first for first, second in pairwise(offset for offset in span if offset in wanted)]
        assert max(gaps, default=1) <= max_gap


@pytest.mark.kafka
def test_only_what_is_wanted_is_read(bootstrap_servers: str, topic_prefix: str) -> None:
    """Records by their offsets, with gaps between that are skipped."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(number) for number in range(30)])
    wanted = {0, 2, 11, 29}

    ranges = list(spans(EventRange(0, 0, 30), wanted.__contains__, max_gap=3))
    records = list(read_events(installation.settings, 0, ranges, wanted.__contains__))

    assert [range(3), range(11, 12), range(29, 30)] == ranges
    assert sorted(wanted) == [record.position.offset for record in records]
    assert all(record.value for record in records)
