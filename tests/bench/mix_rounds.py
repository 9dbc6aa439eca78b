"""Rounds of the simple load and the mix in turn, ours alone: do records of output cost the same in both?

First both executors map the same events of the mix, and all that they have written is compared, byte by byte.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from processor.domain.record import Topic
from processor.kafka.clients import headers_of
from processor.native import NATIVE
from processor.registry.schema_files import load_schemas
from tests.bench.compare_outputs import Kind
from tests.bench.installations import Workbench, create_bench_installation, remove_outputs
from tests.bench.lineup import Contender, PreparedRun, find_contenders
from tests.bench.load import Load, simple_load
from tests.bench.mix import form_count, mix_context, mix_load, mix_templates, planned_ratio, produce_rows
from tests.bench.observed import ContenderError
from tests.bench.raw import Line
from tests.bench.rounds import (
    EVENTS_AGE_S,
    ThroughputPlan,
    compare,
    prepare_run,
    reference_outputs,
    run_beside_each_other,
    shuffled,
    workbench,
)
from tests.bench.throughput import measure_throughput
from tests.support.installation import Installation
from tests.support.read_to_end import read_topics

PLANNED: Final = ("ours-plain-1",) if NATIVE is None else ("ours-native-1", "ours-plain-1")  # the fastest first
REFERENCE: Final = "ours-reference-1"
SHORT_NAMES: Final = dict(  # of one length, as names of topics stand in outputs
    zip((*PLANNED, REFERENCE), ("plan", "also", "none") if NATIVE else ("plan", "none"), strict=True)
)
CHECKED_EVENTS_PER_FORM: Final = 2
SIMPLE_OUTPUTS: Final = len(Kind)  # of each event of the simple load


@contextmanager
def mix_workbench(servers: str) -> Iterator[Workbench]:
    """What all runs of the mix share, for the length of the block."""
    schemas = load_schemas()
    with tempfile.TemporaryDirectory(prefix="processor-bench-") as folder:
        templates_dir = Path(folder) / "templates"
        templates_dir.mkdir()
        yield Workbench(servers, schemas, mix_templates(templates_dir, schemas), templates_dir, Path(folder))


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two loads. `outputs` are records of output an event, on average over all forms."""

    name: str
    bench: Workbench
    load: Load
    events: Topic
    outputs: float


def mix_rounds(servers: str, plan: ThroughputPlan) -> Iterator[Line]:
    """First a line of the check; then one for each load and round, `error` or `difference` says why it has no figures.

    Nothing follows a check that finds a difference.
    """
    with workbench(servers) as simple_bench, mix_workbench(servers) as mix_bench:
        checked = check_mix(mix_bench, name="check", partitions=plan.partitions)
        yield checked
        if "outputs_per_event" not in checked:
            return
        begin_ms = round(1000 * (time.time() - EVENTS_AGE_S))
        simple = simple_load(simple_bench.schemas, partitions=plan.partitions, begin_ms=begin_ms)
        mix = mix_load(mix_bench.schemas, partitions=plan.partitions, begin_ms=begin_ms)
        sides = {
            "simple": _Side("simple", simple_bench, simple, Topic("simple.events"), SIMPLE_OUTPUTS),
            "mix": _Side("mix", mix_bench, mix, Topic("mix.events"), checked["outputs_per_event"]),
        }
        planted: set[str] = set()
        for number in range(plan.rounds):
            for name in shuffled(sides, number):
                yield {"round": number, "load": name, **_measure(sides[name], plan, number, planted)}


def _measure(side: _Side, plan: ThroughputPlan, number: int, planted: set[str]) -> Line:
    installation = create_bench_installation(
        side.bench, f"{number}-{side.name}", events=side.events, partitions=plan.partitions
    )
    if side.name not in planted:
        side.load.plant(side.bench.servers, side.events, count=plan.events)
        planted.add(side.name)
    run = prepare_ours(side.bench, PLANNED[0], installation)
    try:
        if side.name == "mix":
            produce_rows(installation)
            figures = measure_throughput(run, planted=plan.events, seconds=plan.seconds)
        else:
            figures = measure_throughput(run, planted=plan.events, seconds=plan.seconds)
            _, difference = compare(run, reference_outputs(side.bench, side.load, side.events))
            if difference is not None:
                return {"difference": difference}
    except ContenderError as error:
        return {"error": str(error)}
    finally:
        remove_outputs(installation)
    return {
        "outputs_per_s": round(figures.events_per_s * side.outputs, 1),
        "cpu_us_per_output": round(figures.cpu_us_per_event / side.outputs, 2),
        **asdict(figures),
    }


def prepare_ours(bench: Workbench, contender_name: str, installation: Installation) -> PreparedRun:
    """A run of ours, by its name among the contenders."""
    commands, _ = find_contenders([contender_name], build=False)
    ((contender, command),) = commands.items()
    return prepare_run(bench, contender, command, installation)


# ---------------------------------------------------------------------------------------------------------------------
# The check


def mix_smoke(servers: str, *, name: str) -> Line:
    """The check alone, of a broker that others may use: `name` begins the names of all topics."""
    with mix_workbench(servers) as bench:
        return check_mix(bench, name=name, partitions=2)


def check_mix(bench: Workbench, *, name: str, partitions: int) -> Line:
    """Run all executors over the first events of the mix, to their end; all outputs are compared.

    A line with an `error`, a `difference`, or what was compared: how many events, outputs an event, and the share of
    the events that plans map.
    """
    events, count = Topic(f"{name}.events"), CHECKED_EVENTS_PER_FORM * form_count(partitions)
    load = mix_load(bench.schemas, partitions=partitions, begin_ms=round(1000 * (time.time() - EVENTS_AGE_S)))
    runs = {}
    for contender, short in SHORT_NAMES.items():
        installation = create_bench_installation(bench, f"{name}-{short}", events=events, partitions=partitions)
        produce_rows(installation)
        runs[contender] = prepare_ours(bench, contender, installation)
    load.plant(bench.servers, events, count=count)
    errors: dict[Contender, str] = run_beside_each_other([*runs.values()], count)
    if errors:
        return {"error": "; ".join(errors.values())}
    outputs = {contender: _read_all(run.installation) for contender, run in runs.items()}
    differences = {contender: first_difference(outputs[contender], outputs[REFERENCE]) for contender in PLANNED}
    for run in runs.values():
        remove_outputs(run.installation)
    if any(differences.values()):
        return {"difference": "; ".join(f"{name}: {found}" for name, found in differences.items() if found)}
    context = mix_context(bench.templates, bench.schemas, partitions=partitions)
    return {
        "compared": count,
        "outputs_per_event": sum(map(len, outputs[REFERENCE].values())) / count,
        "planned_ratio": planned_ratio(load, context, form_count(partitions)),
    }


_Place = tuple[str, int]  # the topic's name behind the installation's, and the partition
_Record = tuple[bytes, ...]  # key, value, then names and values of headers


def _read_all(installation: Installation) -> dict[_Place, list[_Record]]:
    """All outputs of an installation's events; where its name stands in them, it is left out."""
    name = installation.group.encode()
    records: dict[_Place, list[_Record]] = {}
    for message in read_topics(installation.servers, installation.outputs):
        parts = [message.key() or b"", message.value() or b""]
        for header, value in headers_of(message):
            parts += [header.encode(), value or b""]
        place = (message.topic() or "").removeprefix(installation.group), message.partition() or 0
        records.setdefault(place, []).append(tuple(part.replace(name, b"*") for part in parts))
    return records


def first_difference(records: dict[_Place, list[_Record]], expected: dict[_Place, list[_Record]]) -> str | None:
    """In words, where the first records differ, and in which part: 0 the key, 1 the value, then headers; None: none
    does."""
    for place in sorted(records.keys() | expected.keys()):
        found, wanted = records.get(place, []), expected.get(place, [])
        where = f"{place[0]}[{place[1]}]"
        for number, (record, other) in enumerate(zip(found, wanted, strict=False)):
            if record != other:
                pairs = enumerate(zip(record, other, strict=False))  # one may have more headers
                part = next((at for at, (ours, theirs) in pairs if ours != theirs), min(len(record), len(other)))
                return f"record {number} of {where}, part {part}: {record[part:][:1]}, expected {other[part:][:1]}"
        if len(found) != len(wanted):
            return f"{len(found)} records of {where}, expected {len(wanted)}"
    return None
