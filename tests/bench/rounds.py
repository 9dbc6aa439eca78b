"""Rounds of runs: each contender once in a round, in a new order each time, its outputs compared before it counts."""

import random
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import chain, repeat
from pathlib import Path
from typing import Final, TypeVar

from processor.domain.record import Topic
from processor.registry.schema_files import load_schemas
from tests.bench.arrival import FIXED, HALF, Stretch, measure_arrivals
from tests.bench.compare_outputs import Kind, ReferenceOutputs, read_outputs
from tests.bench.installations import (
    Workbench,
    create_bench_installation,
    output_topics,
    remove_outputs,
)
from tests.bench.lineup import BULK, PROMPT, Contender, PreparedRun, write_schemas
from tests.bench.load import TEMPLATES, Load, bench_templates, simple_load
from tests.bench.observed import ContenderError, PositionReader, running, wait_for_position
from tests.bench.raw import Line
from tests.bench.throughput import measure_throughput
from tests.support.installation import Installation

COMPARED_EVENTS: Final = 2_000
LATER_WARM_S: Final = 2.0
HIGHEST_LOAD: Final = 0.9
"""Of what a contender does at most: above it, its latency is that of a queue."""
EVENTS_AGE_S: Final = 86_400  # of the first planted event: none is in the future, and none expires

T = TypeVar("T")
Commands = Mapping[Contender, Sequence[str]]
SMOKE_TIMEOUT_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class ThroughputPlan:
    """How throughput is measured."""

    rounds: int
    events: int
    partitions: int
    seconds: float


@contextmanager
def workbench(servers: str) -> Iterator[Workbench]:
    """What all runs on a broker share, for the length of the block."""
    schemas = load_schemas()
    with tempfile.TemporaryDirectory(prefix="processor-bench-") as folder:
        write_schemas(Path(folder), schemas)
        yield Workbench(servers, schemas, bench_templates(schemas), TEMPLATES, Path(folder))


def throughput_rounds(bench: Workbench, commands: Commands, plan: ThroughputPlan) -> Iterator[Line]:
    """A line for each run; `error` or `difference` says why it has no figures."""
    events = Topic("bench.events")
    load = _load(bench, plan.partitions)
    reference = reference_outputs(bench, load, events)
    planted = False
    for number in range(plan.rounds):
        for contender in shuffled(commands, number):
            installation = create_bench_installation(
                bench, f"{number}-{contender.name}", events=events, partitions=plan.partitions
            )
            if not planted:
                load.plant(bench.servers, events, count=plan.events)
                planted = True
            run = prepare_run(bench, contender, commands[contender], installation, reference.sizes)
            line: Line = {"round": number, "contender": contender.name}
            try:
                figures = measure_throughput(run, planted=plan.events, seconds=plan.seconds)
                compared, difference = compare(run, reference)
                line |= {"compared": compared} | (asdict(figures) if difference is None else {"difference": difference})
            except ContenderError as error:
                line["error"] = str(error)
            yield line
            remove_outputs(installation)


def _load(bench: Workbench, partitions: int) -> Load:
    return simple_load(bench.schemas, partitions=partitions, begin_ms=round(1000 * (time.time() - EVENTS_AGE_S)))


def reference_outputs(bench: Workbench, load: Load, events: Topic) -> ReferenceOutputs:
    """What the reference path makes of the first events."""
    return ReferenceOutputs(
        load, schemas=bench.schemas, templates=bench.templates, events=events, count=COMPARED_EVENTS
    )


def prepare_run(
    bench: Workbench,
    contender: Contender,
    command: Sequence[str],
    installation: Installation,
    sizes: Sequence[int] = (),
) -> PreparedRun:
    """A run over a backlog; `sizes` are for what copies."""
    log = bench.folder / f"{installation.group}.log"
    return PreparedRun(contender, command, installation, bench.folder, BULK, sizes, log)


def shuffled(runs: Iterable[T], number: int) -> list[T]:
    """The order of a round."""
    order = list(runs)
    random.Random(number).shuffle(order)
    return order


def compare(run: PreparedRun, reference: ReferenceOutputs, *, all_events: bool = False) -> tuple[int, str | None]:
    """How many events' outputs were compared with the expected ones, and the first difference; None: there is none.

    As far as the group has come in each partition. `all_events`: the events of the reference are all that there are, so
    nothing may follow.
    """
    installation, topics = run.installation, output_topics(run.installation)
    with PositionReader(installation) as reader:
        counts = reference.counts(reader.positions())
    compared = sum(count for (kind, _), count in counts.items() if kind is Kind.STATUS)
    if not compared:
        return 0, "nothing is committed"
    records = read_outputs(installation.servers, topics, counts, one_more=all_events)
    if run.contender.copies:
        return compared, reference.copy_difference(records, counts, sizes=run.sizes)
    return compared, reference.difference(records, counts, stream=topics[Kind.STREAM])


@dataclass(frozen=True, slots=True)
class LatencyPlan:
    """How latency is measured: at `rate` and at half of what each contender does at most, `maxima`, by its name."""

    rounds: int
    partitions: Sequence[int]
    rate: float
    maxima: Mapping[str, float]
    seconds: float


def latency_rounds(bench: Workbench, commands: Commands, plan: LatencyPlan) -> Iterator[Line]:
    """A line for each contender, round and rate; `error` says why it has no figures."""
    for partitions in plan.partitions:
        load = _load(bench, partitions)
        sizes = reference_outputs(bench, load, Topic("bench.events")).sizes
        for number in range(plan.rounds):
            for contender in shuffled(commands, number):
                stretches = stretches_of(contender, plan)
                name = f"{partitions}p{number}-{contender.name}"
                events = Topic(f"bench-{name}.events")
                installation = create_bench_installation(bench, name, events=events, partitions=partitions)
                run = replace(prepare_run(bench, contender, commands[contender], installation, sizes), pace=PROMPT)
                where = {"round": number, "contender": contender.name, "partitions": partitions}
                for stretch, figures in _arrivals(run, load, stretches):
                    yield {**where, "load": stretch.load, "rate": stretch.rate, **figures}
                remove_outputs(installation, events)


def stretches_of(contender: Contender, plan: LatencyPlan) -> list[Stretch]:
    """The first one has the longer warm-up. The fixed rate is left out where it is near to what the contender can."""
    maximum = plan.maxima.get(contender.name)
    rates = {}
    if maximum is None or plan.rate < HIGHEST_LOAD * maximum:
        rates[FIXED] = plan.rate
    if maximum is not None:
        rates[HALF] = round(maximum / 2)
    warm_s = chain((contender.warm_s,), repeat(LATER_WARM_S))
    return [
        Stretch(load, rate, warm_s=warm, seconds=plan.seconds)
        for (load, rate), warm in zip(rates.items(), warm_s, strict=False)
    ]


def _arrivals(run: PreparedRun, load: Load, stretches: Sequence[Stretch]) -> Iterator[tuple[Stretch, Line]]:
    try:
        measured = measure_arrivals(run, load, stretches)
    except ContenderError as error:
        yield from ((stretch, {"error": str(error)}) for stretch in stretches)
        return
    for stretch, latencies in zip(stretches, measured, strict=True):
        yield stretch, {"error": "it fell behind"} if latencies is None else asdict(latencies)


def smoke(bench: Workbench, commands: Commands, *, name: str, partitions: int = 2) -> Iterator[Line]:
    """Run all contenders beside each other over the first events, to their end; all outputs are compared.

    A line for each with an `error`, a `difference`, or the number of events.
    """
    events = Topic(f"{name}.events")
    load = _load(bench, partitions)
    reference = reference_outputs(bench, load, events)
    runs: list[PreparedRun] = []
    for contender, command in commands.items():
        installation = create_bench_installation(
            bench, f"{name}-{contender.name}", events=events, partitions=partitions
        )
        runs.append(prepare_run(bench, contender, command, installation, reference.sizes))
    load.plant(bench.servers, events, count=COMPARED_EVENTS)
    errors = run_beside_each_other(runs, COMPARED_EVENTS)
    for run in runs:
        line: Line = {"contender": run.contender.name}
        if run.contender in errors:
            line["error"] = errors[run.contender]
        else:
            compared, difference = compare(run, reference, all_events=True)
            line |= {"events": compared} if difference is None else {"difference": difference}
        yield line


def run_beside_each_other(runs: Sequence[PreparedRun], count: int) -> dict[Contender, str]:
    """Run all at once until each has committed `count` events, and end them; what became of those that have not."""
    errors = {}
    with ExitStack() as stack:
        processes = [stack.enter_context(running(run)) for run in runs]
        for run, process in zip(runs, processes, strict=True):
            try:
                with PositionReader(run.installation) as reader:
                    wait_for_position(reader, process, count, timeout_s=SMOKE_TIMEOUT_S)
            except ContenderError as error:
                errors[run.contender] = str(error)
    return errors
