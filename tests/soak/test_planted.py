"""What is planted is what `run` writes; and a bound that a dry run misses is found."""

from typing import Any

import pytest

from processor.domain.event import Event
from processor.wire.encode import OutputEncoder, encode_event
from processor.wire.wire_format import WireFormat
from tests.soak.planted import DryRun, Planted, best_of, findings, growth
from tests.soak.planted_records import UNREADABLE_INTERVAL, PlantedRecords, outputs_that_tell
from tests.support.builders import EVENTS_TOPIC, make_context, schemas
from tests.support.wire import decode_with

OFFSETS = (*range(0, 2_500, 61), UNREADABLE_INTERVAL - 1, 2 * UNREADABLE_INTERVAL - 1)


def test_planted_records_are_those_of_run() -> None:
    """Each event is what its encoder writes, with an id of its own, and its outputs are what mapping makes of it."""
    context = make_context(encode=OutputEncoder(schemas()))
    records = PlantedRecords(context, EVENTS_TOPIC, begin_ms=1_773_480_413_000)
    ids, topics = set(), set()
    for offset in OFFSETS:
        source = records.event(offset)
        event = decode_with(source)
        if isinstance(event, Event):
            ids.add(event.id)
            assert source.value == encode_event(event.fields, schemas(), format=WireFormat.AVRO)[0]
        assert outputs_that_tell(source, context) == list(records.outputs(source))
        topics |= {output.topic for output in records.outputs(source)}

    assert len(OFFSETS) - 2 == len(ids)
    assert {context.output_topics.status.name, context.output_topics.decisions.name} < topics
    assert context.output_topics.dead_letters.name in topics


def dry_run(offsets: int, **changed: Any) -> DryRun:
    """One within all bounds."""
    planted = Planted(offsets=offsets, statuses=2 * offsets)
    values: dict[str, Any] = {
        "planted": planted,
        "exit_code": 0,
        "found": 0,
        "seconds": offsets / 10_000,
        "cpu_s": 1.0,
        "examined_s": 1.0,
        "mapped_s": 0.0,
        "peak_mb": 100 + offsets * 2 / 1e6,
        "run_events_per_s": 2_000.0,
    }
    return DryRun(**values | changed)


def test_the_best_of_several_dry_runs() -> None:
    """The fastest, and the smallest peak."""
    slow, fast = dry_run(500_000, seconds=50.0, peak_mb=101.0), dry_run(500_000, seconds=40.0, peak_mb=120.0)

    assert (40.0, 101.0) == (best_of([slow, fast]).seconds, best_of([slow, fast]).peak_mb)


@pytest.mark.parametrize(
    "changed",
    [{"seconds": 400.0}, {"peak_mb": 301.0}, {"peak_mb": 110.0}, {"found": 1}, {"exit_code": 1}],
)
def test_bounds_of_a_dry_run(changed: dict[str, Any]) -> None:
    """Speed, memory, its growth, and what is found."""
    small = dry_run(500_000)

    assert [] == list(findings([small, dry_run(2_000_000)]))
    assert 2.0 == pytest.approx(growth(small, dry_run(2_000_000)))
    assert list(findings([small, dry_run(2_000_000, **changed)]))
