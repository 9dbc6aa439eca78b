"""Where the milliseconds go, from an event's scheduled time of sending to a `read_committed` reader, step by step.

For example `python -m tests.bench.steps --rounds 3 --partitions 2 --variants default linger-0`; starts a broker of its
own. Each run is `processor run` as a process of its own, which notes its steps (step_worker.py), under the simple load;
variants of its settings take turns. The steps of an event follow each other without a gap, so their means add up to the
mean of the whole; percentiles do not. A JSON line for each run, and a table in docs/performance.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import mean, quantiles
from typing import Any, Final

from processor.domain.record import Topic
from processor.kafka.local.kafka import local_kafka
from processor.kafka.topic_plan import LOG_APPEND_TIME
from tests.bench.arrival import FIXED, Stretch, arrival_run
from tests.bench.installations import Workbench, create_bench_installation, remove_outputs
from tests.bench.load import Load, simple_load
from tests.bench.mix_rounds import PLANNED, prepare_ours
from tests.bench.observed import ContenderError
from tests.bench.raw import Line, RawFigures, output_folder
from tests.bench.report import PERFORMANCE, write_report
from tests.bench.rounds import workbench
from tests.support.installation import Installation

WARM_S: Final = 5.0  # before what is measured, at the same rate
FIRST_ARRIVAL_TIMEOUT_S: Final = 60.0

STEPS: Final = ("send", "busy", "fetch", "gather", "map", "produce", "offsets", "commit", "read")
"""In their order; docs/performance/README.md says from when to when each is."""

VARIANTS: Final[Mapping[str, Mapping[str, str]]] = {  # name -> settings
    "default": {},
    "batch-wait-0": {"PROCESSOR_MAX_BATCH_WAIT_MS": "0"},
    "batch-wait-1": {"PROCESSOR_MAX_BATCH_WAIT_MS": "1"},
    "batch-wait-20": {"PROCESSOR_MAX_BATCH_WAIT_MS": "20"},
    "linger-0": {"PROCESSOR_KAFKA__PRODUCER": '{"linger.ms": 0}'},
    "linger-5": {"PROCESSOR_KAFKA__PRODUCER": '{"linger.ms": 5}'},
    "fetch-wait-5": {"PROCESSOR_KAFKA__CONSUMER": '{"fetch.wait.max.ms": 5}'},
    "fetch-wait-500": {"PROCESSOR_KAFKA__CONSUMER": '{"fetch.wait.max.ms": 500}'},
    "fetch-backoff-1": {"PROCESSOR_KAFKA__CONSUMER": '{"fetch.queue.backoff.ms": 1}'},
    "no-nagle": {"PROCESSOR_KAFKA__COMMON": '{"socket.nagle.disable": true}'},
    "retry-2": {"PROCESSOR_KAFKA__PRODUCER": '{"retry.backoff.ms": 2}'},
}

EventSteps = dict[str, float]
"""Step -> seconds, of one event."""


def step_rounds(
    bench: Workbench, *, name: str, rounds: int, partitions: Sequence[int], variants: Sequence[str], stretch: Stretch
) -> Iterator[Line]:
    """A line for each run; `error` says why it has no figures."""
    for count in partitions:
        load = simple_load(bench.schemas, partitions=count, begin_ms=0)
        for number in range(rounds):
            order = [*variants]
            random.Random(number).shuffle(order)
            for variant in order:
                run_name = f"{name}-{count}p{number}-{variant}"
                where = {"round": number, "partitions": count, "variant": variant, "rate": stretch.rate}
                events = Topic(f"{run_name}.events")
                installation = create_bench_installation(bench, run_name, events=events, partitions=count)
                try:
                    yield {**where, **measure_steps(bench, installation.with_env(VARIANTS[variant]), load, stretch)}
                except ContenderError as error:
                    yield {**where, "error": str(error)}
                remove_outputs(installation, events)


def measure_steps(bench: Workbench, installation: Installation, load: Load, stretch: Stretch) -> Line:
    """Figures of one run. Raises ContenderError where it ends, or falls behind."""
    installation.configure(installation.events, "message.timestamp.type", LOG_APPEND_TIME)
    file = bench.folder / f"{installation.group}.json"
    run = replace(
        prepare_ours(bench, PLANNED[0], installation),
        command=(sys.executable, "-m", "tests.bench.step_worker", str(file)),
    )
    with arrival_run(run, load, first_timeout_s=FIRST_ARRIVAL_TIMEOUT_S) as started:
        sent, begin = started.sent, started.send(stretch)
        if started.is_behind:
            raise ContenderError(f"{started.arrivals.count} of {started.sent} statuses: {started.last_lines()}")
    batches = json.loads(file.read_text())
    first = sent + round(stretch.rate * stretch.warm_s)
    scheduled = {number: begin + (number - sent) / stretch.rate for number in range(first, sent + stretch.count)}
    events = steps_of(
        batches, load.partitions, scheduled, {number: started.arrivals.of(number) for number in scheduled}
    )
    return {
        "batches": len(batches),
        "records_per_batch": round(mean(len(batch["records"]) for batch in batches), 1),
        "steps": figures_of(events),
    }


def steps_of(
    batches: Sequence[Mapping[str, Any]],
    partitions: int,
    scheduled: Mapping[int, float],
    arrived: Mapping[int, float],
) -> list[EventSteps]:
    """The steps of each event that was scheduled.

    `scheduled` and `arrived`: number of the event -> seconds since the epoch. `batches` as StepTimes has them. Raises
    ContenderError when an event is in none of the batches, or in several.
    """
    events = []
    for batch in batches:
        for partition, offset, appended_ms, since in batch["records"]:
            number = offset * partitions + partition
            if number not in scheduled:
                continue
            appended_at = appended_ms / 1000
            fetch_began_at = max(appended_at, batch["poll"])
            moments = (
                scheduled[number],
                appended_at,
                fetch_began_at,
                max(fetch_began_at, since),
                *(batch[step] for step in ("polled", "mapped", "produced", "offsets_sent", "committed")),
                arrived[number],
            )
            spans = zip(STEPS, pairwise(moments), strict=True)
            events.append({step: after - before for step, (before, after) in spans})
    if len(events) != len(scheduled):
        raise ContenderError(f"{len(events)} of {len(scheduled)} events are in one batch each")
    return events


def figures_of(events: Sequence[EventSteps]) -> dict[str, dict[str, float]]:
    """Step, or `all` for their sum -> `mean`, `p50`, `p99` -> milliseconds. Of two events at least."""
    figures = {}
    for step in (*STEPS, "all"):
        values = [sum(event.values()) if step == "all" else event[step] for event in events]
        cuts = quantiles(values, n=100, method="inclusive")
        named = {"mean": mean(values), "p50": cuts[49], "p99": cuts[98]}
        figures[step] = {name: round(1000 * value, 2) for name, value in named.items()}
    return figures


def main() -> None:
    """Print a line of JSON for each run, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=1_000, help="events a second")
    parser.add_argument("--seconds", type=float, default=15, help="that are measured, behind the warm-up")
    parser.add_argument("--rounds", type=int, default=5, help="each runs all variants on all numbers of partitions")
    parser.add_argument("--partitions", type=int, nargs="+", default=[2, 6], help="of the events")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=["default"], help="settings that take turns")
    parser.add_argument("--out", type=output_folder, default=PERFORMANCE, help="folder of raw figures and page")
    args = parser.parse_args()
    raw = RawFigures("steps", args.out, vars(args))
    stretch = Stretch(FIXED, args.rate, warm_s=WARM_S, seconds=args.seconds)
    with local_kafka() as kafka, workbench(kafka.bootstrap_servers) as bench:
        for line in step_rounds(
            bench,
            name="steps",
            rounds=args.rounds,
            partitions=args.partitions,
            variants=args.variants,
            stretch=stretch,
        ):
            raw.keep(line)
    write_report(args.out)


if __name__ == "__main__":
    main()
