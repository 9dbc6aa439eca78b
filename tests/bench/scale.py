"""How the cost of an event grows: `python -m tests.bench.scale`, for example with `--only partitions --rounds 2`.

Ours alone, over a backlog of the simple load with one thing changed at a time: templates of the event, other templates
in the set, bytes of the body, partitions (with large and with small batches), workers. A broker of its own; a JSON line
for each run, and a table in docs/performance.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

from processor.domain.record import Topic
from processor.kafka.local.kafka import local_kafka
from processor.registry.schema_files import load_schemas
from processor.templates.load import read_templates, require_usable
from processor.wire.reader_schemas import Schemas
from tests.bench.installations import Workbench, create_bench_installation, remove_outputs
from tests.bench.lineup import Contender, find_contenders
from tests.bench.load import EVENT, TEMPLATES, simple_load
from tests.bench.mix_rounds import PLANNED
from tests.bench.observed import ContenderError
from tests.bench.raw import Line, RawFigures, output_folder
from tests.bench.report import PERFORMANCE, write_report
from tests.bench.rounds import EVENTS_AGE_S, prepare_run, shuffled
from tests.bench.template_files import write_many
from tests.bench.throughput import measure_throughput
from tests.support.builders import TENANT

TEMPLATE: Final = "loan-repayment-stream"
PARTITIONS: Final = 6
WARM_S: Final = 2.0  # plans are made, and nothing of ours is compiled while it runs
SMALL_BATCH: Final = {"PROCESSOR_MAX_BATCH_RECORDS": "200"}


@dataclass(frozen=True, slots=True)
class Point:
    """One size of one thing; all else is as in the simple load. `body_bytes` are added to the template's own."""

    event_templates: int = 1
    other_templates: int = 0
    body_bytes: int = 0
    partitions: int = PARTITIONS
    workers: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)


SCALES: Final[Mapping[str, Mapping[int, Point]]] = {
    "templates of the event": {count: Point(event_templates=count) for count in (1, 2, 5, 10, 20)},
    "other templates": {count: Point(other_templates=count) for count in (0, 100, 1_000)},
    "body bytes": {size: Point(body_bytes=size) for size in (0, 1_000, 4_000, 16_000, 64_000)},
    "partitions": {count: Point(partitions=count) for count in (6, 24, 96)},
    "partitions, small batches": {count: Point(partitions=count, environment=SMALL_BATCH) for count in (6, 24, 96)},
    "workers": {count: Point(workers=count) for count in (1, 2)},
}
"""What is changed -> its sizes."""


def write_templates(folder: Path, point: Point) -> None:
    """The template of the simple load, as often as the event has templates, and such of other events."""
    write_many(folder, point.other_templates)
    for file in folder.glob(f"{EVENT.lower().replace('_', '-')}-*"):  # of many, one in as many as there are events
        file.unlink()
    text = (TEMPLATES / f"{TEMPLATE}.toml").read_text()
    before, body, behind = text.partition("""body = '{""")
    assert body, f"the template has another body: {text}"
    if point.body_bytes:
        text = f"""{before}{body}"filler":"{"x" * point.body_bytes}",{behind}"""
    for number in range(point.event_templates):
        name = f"{TEMPLATE}-{number}"
        own = text.replace(f'id = "{TEMPLATE}"', f'id = "{name}"').replace(
            "Loan repayments", f"Loan repayments {number}"
        )
        (folder / f"{name}.toml").write_text(own)


class ScaleBench:
    """Runs points on one broker, each over the events that its number of partitions has."""

    def __init__(
        self, servers: str, folder: Path, schemas: Schemas, *, events: int, seconds: float, prefix: str = "scale"
    ) -> None:
        """`prefix` begins the names of the events' topics; `folder` keeps templates and logs."""
        self._prefix = prefix
        self._servers = servers
        self._folder = folder
        self._schemas = schemas
        self._events = events
        self._seconds = seconds
        self._planted: set[Topic] = set()

    def run(self, point: Point, *, name: str) -> Line:
        """The figures of one run; `error` says why it has none."""
        bench, events = self._bench(point, name), Topic(f"{self._prefix}-{point.partitions}.events")
        installation = create_bench_installation(bench, name, events=events, partitions=point.partitions)
        self._plant(events, point.partitions)
        contender, command = _contender(point)
        try:
            run = prepare_run(bench, contender, command, installation)
            return asdict(measure_throughput(run, planted=self._events, seconds=self._seconds))
        except ContenderError as error:
            return {"error": str(error)}
        finally:
            remove_outputs(installation)

    def _bench(self, point: Point, name: str) -> Workbench:
        templates_dir = self._folder / f"templates-{name}"
        templates_dir.mkdir()
        write_templates(templates_dir, point)
        templates = require_usable(read_templates(templates_dir, tenant=TENANT, schemas=self._schemas))
        return Workbench(self._servers, self._schemas, templates, templates_dir, self._folder)

    def _plant(self, events: Topic, partitions: int) -> None:
        if events in self._planted:
            return
        begin_ms = round(1000 * (time.time() - EVENTS_AGE_S))
        load = simple_load(self._schemas, partitions=partitions, begin_ms=begin_ms)
        load.plant(self._servers, events, count=self._events)
        self._planted.add(events)


def _contender(point: Point) -> tuple[Contender, Sequence[str]]:
    """The fastest of ours."""
    names = [PLANNED[0].replace("-1", f"-{point.workers}")]
    ((contender, command),) = find_contenders(names, build=False)[0].items()
    changed = replace(contender, warm_s=WARM_S, environment={**contender.environment, **point.environment})
    return changed, command


def scale_rounds(bench: ScaleBench, scales: Sequence[str], *, rounds: int) -> Iterator[Line]:
    """A line for each size and round, all in another order each time."""
    points = [(scale, size) for scale in scales for size in SCALES[scale]]
    for number in range(rounds):
        for scale, size in shuffled(points, number):
            figures = bench.run(SCALES[scale][size], name=f"{number}-{[*SCALES].index(scale)}-{size}")
            yield {"round": number, "scale": scale, "size": size, **figures}


def main() -> None:
    """Print a line of JSON for each run, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SCALES, default=list(SCALES), help="what is changed")
    parser.add_argument("--rounds", type=int, default=3, help="each has a run for each size")
    parser.add_argument("--events", type=int, default=1_000_000, help="in the backlog of each number of partitions")
    parser.add_argument("--seconds", type=float, default=5, help="that are measured, behind the warm-up")
    parser.add_argument("--out", type=output_folder, default=PERFORMANCE, help="folder of raw figures and page")
    args = parser.parse_args()
    figures = RawFigures("scale", args.out, vars(args))
    with local_kafka() as kafka, tempfile.TemporaryDirectory(prefix="processor-bench-") as folder:
        bench = ScaleBench(
            kafka.bootstrap_servers, Path(folder), load_schemas(), events=args.events, seconds=args.seconds
        )
        for line in scale_rounds(bench, args.only, rounds=args.rounds):
            figures.keep(line)
    write_report(args.out)


if __name__ == "__main__":
    main()
