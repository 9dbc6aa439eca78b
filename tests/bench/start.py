"""From the start to the first commit with many templates, beside `processor check` of the same set, in turn.

For example `python -m tests.bench.start --templates 100 --rounds 3`; starts a broker of its own and removes all it
wrote. The templates are for all events and channels, without samples, so a check has nothing to render. The events are
those of the mix, and are there before the start. A JSON line for each round, and a table in docs/performance.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from processor.domain.record import Topic
from processor.kafka.local.kafka import local_kafka
from processor.registry.schema_files import load_schemas
from processor.templates.load import read_templates, require_usable
from tests.bench.installations import Workbench, create_bench_installation, remove_outputs
from tests.bench.mix import mix_load
from tests.bench.mix_rounds import PLANNED, prepare_ours
from tests.bench.observed import PositionReader, running, wait_for_position
from tests.bench.raw import Line, RawFigures, output_folder
from tests.bench.report import PERFORMANCE, write_report
from tests.bench.rounds import EVENTS_AGE_S
from tests.bench.template_files import write_many
from tests.support.builders import TENANT
from tests.support.installation import Installation

PARTITIONS: Final = 2  # of each of some eighty topics
EVENTS: Final = 20_000
CHECK_TIMEOUT_S: Final = 300.0
START_TIMEOUT_S: Final = 300.0


@contextmanager
def many_templates(servers: str, count: int) -> Iterator[Workbench]:
    """What the runs share, for the length of the block."""
    schemas = load_schemas()
    with tempfile.TemporaryDirectory(prefix="processor-bench-") as folder:
        templates_dir = Path(folder) / "templates"
        templates_dir.mkdir()
        write_many(templates_dir, count)
        templates = require_usable(read_templates(templates_dir, tenant=TENANT, schemas=schemas))
        yield Workbench(servers, schemas, templates, templates_dir, Path(folder))


def start_rounds(bench: Workbench, *, name: str, rounds: int, events: int) -> Iterator[Line]:
    """A line for each round, in seconds; every second one begins with the check."""
    topic = Topic(f"{name}.events")
    load = mix_load(bench.schemas, partitions=PARTITIONS, begin_ms=round(1000 * (time.time() - EVENTS_AGE_S)))
    for number in range(rounds):
        installation = create_bench_installation(bench, f"{name}-{number}", events=topic, partitions=PARTITIONS)
        if number == 0:
            load.plant(bench.servers, topic, count=events)
        steps = {"check_s": _check, "first_commit_s": _start}
        seconds = {
            figure: round(steps[figure](bench, installation), 2) for figure in sorted(steps, reverse=number % 2 == 1)
        }
        yield {"round": number, "templates": len(bench.templates.templates), **seconds}
        remove_outputs(installation)


def _check(_bench: Workbench, installation: Installation) -> float:
    """How long `processor check` takes. CalledProcessError when it finds an error."""
    began = time.monotonic()
    subprocess.run(
        (sys.executable, "-P", "-m", "processor", "check"),
        env=installation.env(),
        stdout=subprocess.DEVNULL,
        timeout=CHECK_TIMEOUT_S,
        check=True,
    )
    return time.monotonic() - began


def _start(bench: Workbench, installation: Installation) -> float:
    """How long `processor run` takes to its first commit of events."""
    with PositionReader(installation) as reader:
        reader.positions()  # the coordinator has the group now
        began = time.monotonic()
        with running(prepare_ours(bench, PLANNED[0], installation)) as process:
            wait_for_position(reader, process, 1, timeout_s=START_TIMEOUT_S, interval_s=0.02)
            return time.monotonic() - began


def main() -> None:
    """Print a line of JSON for each round, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=int, default=500, help="in the set, in turn for each event and channel")
    parser.add_argument("--rounds", type=int, default=5, help="each has one check and one start")
    parser.add_argument("--out", type=output_folder, default=PERFORMANCE, help="folder of raw figures and page")
    args = parser.parse_args()
    figures = RawFigures("start", args.out, vars(args))
    with local_kafka() as kafka, many_templates(kafka.bootstrap_servers, args.templates) as bench:
        for line in start_rounds(bench, name="start", rounds=args.rounds, events=EVENTS):
            figures.keep(line)
    write_report(args.out)


if __name__ == "__main__":
    main()
