"""The sizes of the scale bench are what they say, and one of them runs."""

from pathlib import Path

import pytest

from processor.registry.schema_files import load_schemas
from processor.templates.load import read_templates, require_usable
from tests.bench.load import EVENT
from tests.bench.report import scale_table
from tests.bench.scale import SCALES, Point, ScaleBench, write_templates
from tests.support.builders import TENANT


@pytest.mark.parametrize("point", [Point(), Point(event_templates=3, other_templates=80), Point(body_bytes=5_000)])
def test_templates(point: Point, tmp_path: Path) -> None:
    """Of the event as many as it has, and of others about as many as are asked for."""
    write_templates(tmp_path, point)
    templates = require_usable(read_templates(tmp_path, tenant=TENANT, schemas=load_schemas()))
    own = templates.for_event(EVENT)

    assert point.event_templates == len(own)
    assert point.other_templates * 0.9 <= len(templates.templates) - len(own) <= point.other_templates
    assert point.body_bytes <= len(own[0].content) <= point.body_bytes + 1_000


@pytest.mark.kafka
@pytest.mark.process
def test_a_run(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """One size, over few events: it has figures, or says that there were too few of them."""
    bench = ScaleBench(bootstrap_servers, tmp_path, load_schemas(), events=3_000, seconds=1, prefix=topic_prefix)
    line = bench.run(Point(event_templates=2, partitions=2), name=topic_prefix)

    assert "events_per_s" in line or "too short" in line["error"]


def test_the_table_compares_with_the_first_size() -> None:
    """In the same round."""
    lines = [
        {"round": number, "scale": "partitions", "size": size, "events_per_s": 1_000.0, "cpu_us_per_event": cost}
        for number, size, cost in [(0, 6, 10.0), (0, 24, 20.0), (1, 6, 20.0), (1, 24, 40.0)]
    ]

    assert "| partitions | 24 | 1,000 (1,000–1,000) | 30.0 (20.0–40.0) | 2 (2–2) |" == scale_table(lines)[-1]
    assert {"templates of the event", "other templates", "body bytes", "partitions", "workers"} <= SCALES.keys()
