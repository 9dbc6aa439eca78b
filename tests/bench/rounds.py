"""Rounds of runs: each contender once in a round, in a new order each time, its outputs compared before it counts."""

import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from processor.domain.record import Topic
from tests.bench.compare_outputs import Kind, ReferenceOutputs, read_outputs
from tests.bench.installations import (
    Workbench,
    create_bench_installation,
    output_topics,
    remove_outputs,
)
from tests.bench.lineup import BULK, Contender, PreparedRun
from tests.bench.load import Load
from tests.bench.observed import ContenderError, PositionReader
from tests.bench.throughput import measure_throughput

COMPARED_EVENTS: Final = 2_000
EVENTS_AGE_S: Final = 7_200  # of the first planted event: none is in the future, and none expires

Line = dict[str, Any]  # a run's figures, or why it has none, as the raw results have it
Commands = Mapping[Contender, Sequence[str]]


@dataclass(frozen=True, slots=True)
class ThroughputPlan:
    """How throughput is measured."""

    rounds: int
    events: int
    partitions: int
    seconds: float


def throughput_rounds(bench: Workbench, commands: Commands, plan: ThroughputPlan) -> Iterator[Line]:
    """A line for each run; `error` or `difference` says why it has no figures."""
    events = Topic("bench.events")
    load = Load(bench.schemas, partitions=plan.partitions, begin_ms=round(1000 * (time.time() - EVENTS_AGE_S)))
    reference = ReferenceOutputs(
        load, schemas=bench.schemas, templates=bench.templates, events=events, count=COMPARED_EVENTS
    )
    planted = False
    for number in range(plan.rounds):
        for contender in shuffled(commands, number):
            installation = create_bench_installation(
                bench, f"{number}-{contender.name}", events=events, partitions=plan.partitions
            )
            if not planted:
                load.plant(bench.servers, events, count=plan.events)
                planted = True
            run = PreparedRun(
                contender=contender,
                command=commands[contender],
                installation=installation,
                schemas=bench.folder,
                pace=BULK,
                sizes=reference.sizes,
                log=bench.folder / f"{number}-{contender.name}.log",
            )
            line: Line = {"round": number, "contender": contender.name}
            try:
                figures = measure_throughput(run, planted=plan.events, seconds=plan.seconds)
                if difference := outputs_difference(run, reference):
                    line["difference"] = difference
                else:
                    line |= asdict(figures)
            except ContenderError as error:
                line["error"] = str(error)
            yield line
            remove_outputs(installation)


def shuffled(contenders: Iterable[Contender], number: int) -> list[Contender]:
    """The order of a round."""
    order = list(contenders)
    random.Random(number).shuffle(order)
    return order


def outputs_difference(run: PreparedRun, reference: ReferenceOutputs, *, all_events: bool = False) -> str | None:
    """The first difference of a run's outputs from the expected ones; None: there is none.

    `all_events`: the events of the reference are all that there are, so each must be there and nothing else.
    """
    topics, installation = output_topics(run.installation), run.installation
    with PositionReader(installation) as reader:
        positions = reader.positions()
    counts = reference.counts(positions)
    records = read_outputs(installation.servers, topics, counts, one_more=all_events)
    if run.contender.copies:
        return reference.copy_difference(records, counts, sizes=run.sizes)
    return reference.difference(records, counts, stream=topics[Kind.STREAM])
