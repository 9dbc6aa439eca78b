"""The contenders side by side, on one broker in one run: `python -m tests.bench`, or `make bench`.

Events a second, processor time an event, time to the first commit and memory over a backlog; then milliseconds from an
event to a `read_committed` reader, at one rate for all and at half of what each does at most. A run counts when its
first outputs are those of the reference path. A line of JSON for each run; raw figures, tables and plots go to
docs/performance. For a quick look: `python -m tests.bench --only copied ours-native-1 --rounds 1 --events 500000`.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any

from processor.kafka.local.kafka import local_kafka
from tests.bench.installations import Workbench
from tests.bench.lineup import CONTENDERS, find_contenders
from tests.bench.mix_rounds import mix_rounds, mix_smoke
from tests.bench.raw import Line, RawFigures, command_line, machine, output_folder, print_line, versions
from tests.bench.report import PERFORMANCE, write_report
from tests.bench.rounds import (
    Commands,
    LatencyPlan,
    ThroughputPlan,
    latency_rounds,
    smoke,
    throughput_rounds,
    workbench,
)

NAMES = tuple(contender.name for contender in CONTENDERS)


def main() -> None:
    """Run what the arguments say. The exit code is 1 when a contender that is here has a run without figures."""
    args = parse_arguments()
    if args.mix:
        sys.exit(run_mix(args))
    commands, not_here = find_contenders(args.only, build=True)
    for name, reason in not_here.items():
        print_line({"contender": name, "not_here": reason})
    with local_kafka() as kafka, workbench(kafka.bootstrap_servers) as bench:
        if args.smoke:
            lines = [print_line(line) for line in smoke(bench, commands, name="smoke")]
        else:
            lines = run(bench, commands, args, not_here)
    sys.exit(lacks_figures(lines))


def parse_arguments() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--smoke", action="store_true", help="keep no figures: each maps 2,000 events, and all outputs are compared"
    )
    parser.add_argument(
        "--mix", action="store_true", help="ours alone: the simple load and the mix (mix.py) in turn, in outputs/s"
    )
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="contenders; not of --mix")
    parser.add_argument("--rounds", type=int, default=5, help="each has a run for each contender, in another order")
    parser.add_argument("--events", type=int, default=3_000_000, help="in the backlog")
    parser.add_argument("--partitions", type=int, default=6, help="of the backlog")
    parser.add_argument("--seconds", type=float, default=10, help="that are measured, behind the warm-up")
    parser.add_argument("--latency-rounds", type=int, default=5, help="0: no latency")
    parser.add_argument("--latency-partitions", type=int, nargs="+", default=(2, 6))
    parser.add_argument("--rate", type=float, default=1_000, help="events a second for latency")
    parser.add_argument("--out", type=output_folder, default=PERFORMANCE, help="folder of raw figures, page and plots")
    return parser.parse_args()


def run(bench: Workbench, commands: Commands, args: argparse.Namespace, not_here: Mapping[str, str]) -> list[Line]:
    """All rounds; what has been measured so far is in the raw figures at any time."""
    raw: dict[str, Any] = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "command": command_line(),
        "machine": machine(),
        "versions": versions(),
        "settings": {name: value for name, value in vars(args).items() if name not in ("out", "smoke", "only")},
        "not_here": not_here,
        "throughput": [],
        "latency": [],
    }
    file = args.out / f"bench-{raw['date']}.json"

    def keep(phase: str, line: Line) -> None:
        raw[phase].append(print_line(line))
        file.write_text(json.dumps(raw, indent=1) + "\n")

    backlog = {contender: command for contender, command in commands.items() if contender.has_throughput}
    for line in throughput_rounds(
        bench, backlog, ThroughputPlan(args.rounds, args.events, args.partitions, args.seconds)
    ):
        keep("throughput", line)
    maxima = most_events_per_s(raw["throughput"])
    plan = LatencyPlan(args.latency_rounds, args.latency_partitions, args.rate, maxima, args.seconds)
    valid = {
        contender: command
        for contender, command in commands.items()
        if contender.name in maxima or not contender.has_throughput
    }
    for line in latency_rounds(bench, valid, plan):
        keep("latency", line)
    write_report(args.out)
    return [*raw["throughput"], *raw["latency"]]


def run_mix(args: argparse.Namespace) -> bool:
    """The mix beside the simple load; whether a run has no figures."""
    with local_kafka() as kafka:
        if args.smoke:
            return lacks_figures([print_line(mix_smoke(kafka.bootstrap_servers, name="smoke"))])
        settings = {name: getattr(args, name) for name in ("rounds", "events", "partitions", "seconds")}
        figures = RawFigures("mix", args.out, settings)
        for line in mix_rounds(kafka.bootstrap_servers, ThroughputPlan(**settings)):
            figures.keep(line)
    write_report(args.out)
    return lacks_figures(figures.lines)


def lacks_figures(lines: Sequence[Line]) -> bool:
    """Whether one of these runs failed, or its outputs differ."""
    return any("error" in line or "difference" in line for line in lines)


def most_events_per_s(lines: Sequence[Line]) -> dict[str, float]:
    """The median of each contender that has had a figure, and never outputs that differ."""
    different = {line["contender"] for line in lines if "difference" in line}
    figures: dict[str, list[float]] = {}
    for line in lines:
        if "events_per_s" in line and line["contender"] not in different:
            figures.setdefault(line["contender"], []).append(line["events_per_s"])
    return {name: median(values) for name, values in figures.items()}


if __name__ == "__main__":
    main()
