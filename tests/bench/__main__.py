"""The contenders side by side, on one broker in one run: `python -m tests.bench`, or `make bench`.

Events a second, processor time an event, time to the first commit and memory over a backlog; then milliseconds from an
event to a `read_committed` reader at two rates. A run counts when its first outputs are those of the reference path.
A line of JSON for each run; raw figures, table and plots go to `--out`. `--smoke` keeps no figures.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Final

from processor.kafka.local.kafka import local_kafka
from processor.registry.schema_files import load_schemas
from tests.bench.backlog import print_json
from tests.bench.installations import Workbench
from tests.bench.lineup import CONTENDERS, find_contenders, write_schemas
from tests.bench.load import bench_templates
from tests.bench.rounds import ThroughputPlan, throughput_rounds

OUT: Final = Path(__file__).parents[2] / "docs" / "performance"


def main() -> None:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = tuple(contender.name for contender in CONTENDERS)
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=10)
    args = parser.parse_args()
    commands, missing = find_contenders(args.only, build=True)
    for name, reason in missing.items():
        print_json({"contender": name, "not here": reason})
    with local_kafka() as kafka, tempfile.TemporaryDirectory(prefix="processor-bench-") as folder:
        schemas = load_schemas()
        bench = Workbench(kafka.bootstrap_servers, schemas, bench_templates(schemas), Path(folder))
        write_schemas(bench.folder, schemas)
        plan = ThroughputPlan(args.rounds, args.events, args.partitions, args.seconds)
        for line in throughput_rounds(bench, commands, plan):
            print_json(line)


if __name__ == "__main__":
    main()
