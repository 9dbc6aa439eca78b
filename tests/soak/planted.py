"""What a dry run of `processor replay` costs at size: `python -m tests.soak.planted --offsets 500000 2000000`.

On a broker of its own one partition is planted: events, and the outputs that `run` would have written of them, by the
processor's own encoders in Avro and its transactional publisher, a marker behind each transaction, with the record
ASSIGNED, the template set and the group's position. Messages, notifications and streams are left out: a dry run does
not read them. Every thousandth event cannot be decoded and has its dead letter; `--missing` events have no outcome.

At each number of offsets the dry run is a process of its own, of which wall time, processor time and peak of resident
memory are taken; beside it `processor run --until-end` works through a slice of the same events. At last what is
missing is written by `replay --yes`, and the dry run is measured once more. A JSON line for each measurement; then the
figures against the bounds, and what follows for 100 million messages on 12 partitions. The exit code is 1 for a bound
that is missed, or where a dry run does not find what is missing.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Self
from zlib import crc32

from confluent_kafka import Consumer, Producer

from processor.domain.operation_record import AssignedRecord
from processor.domain.output_topics import OutputTopics
from processor.domain.record import OutRecord, SourceRecord
from processor.engine.publisher import TransactionalPublisher
from processor.engine.startup import create_publisher
from processor.kafka.clients import create_admin
from processor.kafka.local.kafka import local_kafka
from processor.kafka.topic_state import read_output_topics
from processor.mapping.context import MappingContext
from processor.settings import HttpSettings
from processor.wire.encode import OutputEncoder
from processor.wire.operations import assigned_out_record
from processor.wire.template_sets import template_set_records
from tests.bench.backlog import peak_memory_kb, position_of
from tests.bench.raw import print_line
from tests.soak.planted_records import EVENTS_PER_S, PlantedRecords
from tests.support.builders import make_context
from tests.support.installation import ROOT, Installation, create_installation

TRANSACTION_EVENTS: Final = 500
FLUSH_TIMEOUT_S: Final = 120.0
RUN_EVENTS: Final = 30_000
COMMAND_TIMEOUT_S: Final = 900.0
POLL_INTERVAL_S: Final = 0.02

# Of the issue that asks for replays.
LEAST_SPEED_UP: Final = 3.0  # of a dry run's events a second over those of `run`
MAX_PEAK_MB: Final = 300.0
MAX_GROWTH_BYTES_PER_OFFSET: Final = 4.0
INSTALLATION_MESSAGES, INSTALLATION_PARTITIONS = 100_000_000, 12


@dataclass(frozen=True, slots=True)
class Planted:
    """What was planted so far."""

    offsets: int = 0
    missing: int = 0
    statuses: int = 0
    decisions: int = 0
    dead_letters: int = 0

    @property
    def outputs(self) -> int:
        """Records that a dry run reads."""
        return self.statuses + self.decisions + self.dead_letters


@dataclass(frozen=True, slots=True)
class CommandCost:
    """Of a process, from its start to its end."""

    exit_code: int
    seconds: float
    cpu_s: float
    peak_mb: float
    output: str


@dataclass(frozen=True, slots=True)
class DryRun:
    """One measurement. `found` are the events without an outcome that the dry run names; `examined_s` and `mapped_s`
    are its own account of its time."""

    planted: Planted
    exit_code: int
    found: int
    seconds: float
    cpu_s: float
    examined_s: float
    mapped_s: float
    peak_mb: float
    run_events_per_s: float

    @property
    def events_per_s(self) -> float:
        """Source offsets a second of the whole process."""
        return self.planted.offsets / self.seconds

    @property
    def speed_up(self) -> float:
        """Over `run`."""
        return self.events_per_s / self.run_events_per_s


class Plant:
    """Plants events and outputs into partition 0 of an installation, in order, each time `extend` is called."""

    def __init__(self, installation: Installation, *, missing: float, offsets: int) -> None:
        """`missing` is the share of events that get no outcome; the last of so many offsets was sent just now."""
        topics = read_output_topics(create_admin(installation.settings), installation.settings, installation.templates)
        self._installation = installation
        self._missing_below = int(missing * 2**32)
        self._context = make_context(
            templates=installation.templates, output_topics=topics, encode=OutputEncoder(installation.schemas)
        )
        begin_ms = time.time_ns() // 1_000_000 - 1_000 * offsets // EVENTS_PER_S
        self.records = PlantedRecords(self._context, installation.events, begin_ms=begin_ms)
        self._producer = _event_producer(installation)
        self._publisher = _publisher(installation, topics)
        self._counts_of = {
            topics.status.name: "statuses",
            topics.decisions.name: "decisions",
            topics.dead_letters.name: "dead_letters",
        }
        self.planted = Planted()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._publisher.close()

    def extend(self, offsets: int) -> None:
        """Plant up to this many offsets, and move the group's position there. Blocks."""
        began = time.monotonic()
        for first in range(self.planted.offsets, offsets, TRANSACTION_EVENTS):
            self._plant(range(first, min(first + TRANSACTION_EVENTS, offsets)))
        flush(self._producer)
        self._installation.set_position(offsets)
        log(f"planted up to {self.planted} in {time.monotonic() - began:.0f} s")

    def _plant(self, offsets: range) -> None:
        """One transaction, as one of `run` that has a backlog."""
        counts = Counter(asdict(self.planted))
        outputs = list(_first_records(self._installation, self._context)) if offsets.start == 0 else []
        for offset in offsets:
            source = self.records.event(offset)
            produce(self._producer, source, source.position.topic)
            if _is_missing(offset, self._missing_below):
                counts["missing"] += 1
                continue
            planted = list(self.records.outputs(source))
            counts.update(self._counts_of[output.topic] for output in planted)
            outputs += planted
        failure = self._publisher.publish(outputs, {}, None)
        if failure is not None:
            raise RuntimeError(f"outputs were not published: {failure}")
        self.planted = Planted(**dict(counts) | {"offsets": offsets.stop})


def _is_missing(offset: int, missing_below: int) -> bool:
    """Spread over the partition without a pattern, the same ones in each call."""
    return crc32(b"%d" % offset) < missing_below


def _event_producer(installation: Installation) -> Producer:
    return Producer(
        {"bootstrap.servers": installation.servers, "linger.ms": 20, "compression.type": "lz4", "log_level": 2}
    )


def produce(producer: Producer, source: SourceRecord, topic: str) -> None:
    """Send an event to partition 0; blocks while the producer's queue is full."""
    while True:
        try:
            producer.produce(topic, source.value, source.key, 0, timestamp=source.timestamp_ms)
        except BufferError:
            producer.poll(0.1)
        else:
            producer.poll(0)
            return


def flush(producer: Producer) -> None:
    """Blocks until the broker has all events."""
    if left := producer.flush(FLUSH_TIMEOUT_S):
        raise TimeoutError(f"{left} events were not delivered")


def _publisher(installation: Installation, topics: OutputTopics) -> TransactionalPublisher:
    publisher = create_publisher(
        installation.settings,
        transactional_id=installation.transactional_id,
        must_stop=lambda: False,
        on_step=lambda _step: None,
    )
    publisher.reset_producer(topics, between_attempts=lambda: None)
    return publisher


def _first_records(installation: Installation, context: MappingContext) -> Iterator[OutRecord]:
    """What the first transaction of `run` has beside outputs: the template set and the record of the assignment."""
    yield from template_set_records(context.templates, context.output_topics.template_sets)
    assigned = AssignedRecord(
        partition=0,
        offset=0,
        start_from=None,
        set_version=context.templates.digest,
        decisions=installation.settings.decisions,
        instance=installation.settings.instance_name,
        version=version("processor"),
    )
    yield assigned_out_record(assigned, context.output_topics.operations)


# ---------------------------------------------------------------------------------------------------------------------
# What is measured


def measure_command(installation: Installation, arguments: Sequence[str], *, state_dir: Path) -> CommandCost:
    """Run `processor ARGUMENTS` to its end."""
    environment = {**installation.env(), "PROCESSOR_STATE_DIR": str(state_dir), "PROCESSOR_LOG__LEVEL": "warning"}
    with tempfile.TemporaryFile() as output:
        began = time.monotonic()
        process = subprocess.Popen(
            (sys.executable, "-m", "processor", *arguments), env=environment, cwd=ROOT, stdout=output
        )
        try:
            while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
                if time.monotonic() - began > COMMAND_TIMEOUT_S:
                    raise TimeoutError(f"{arguments} did not end in {COMMAND_TIMEOUT_S:.0f} s")
                time.sleep(POLL_INTERVAL_S)
            process.returncode = os.waitstatus_to_exitcode(ended[1])
        finally:
            process.kill()
        seconds, usage = time.monotonic() - began, ended[2]
        output.seek(0)
        text = output.read().decode()
    return CommandCost(
        process.returncode,
        round(seconds, 2),
        round(usage.ru_utime + usage.ru_stime, 2),
        round(usage.ru_maxrss / 1_000, 1),
        text,
    )


def measure_dry_run(
    installation: Installation, planted: Planted, *, state_dir: Path, run_events_per_s: float
) -> DryRun:
    """`processor replay --json`."""
    cost = measure_command(installation, ("replay", "--json"), state_dir=state_dir)
    if not cost.output.strip():
        raise RuntimeError(f"the dry run ended with {cost.exit_code}")
    (partition,) = json.loads(cost.output.splitlines()[-1])["partitions"]
    return DryRun(
        planted,
        cost.exit_code,
        partition["withoutOutcome"],
        cost.seconds,
        cost.cpu_s,
        partition["seconds"]["examined"],
        partition["seconds"]["mapped"],
        cost.peak_mb,
        run_events_per_s,
    )


def measure_run(installation: Installation, plant: Plant, *, events: int, state_dir: Path) -> dict[str, float]:
    """`processor run --until-end` over the first of the planted events, in an installation of its own: its events a
    second between its first and its last commit, and its peak of resident memory."""
    producer = _event_producer(installation)
    for offset in range(events):
        produce(producer, plant.records.event(offset), installation.events)
    flush(producer)
    environment = {**installation.env(), "PROCESSOR_STATE_DIR": str(state_dir), "PROCESSOR_LOG__LEVEL": "warning"}
    # With read_uncommitted: the position of a group whose transaction is open is otherwise waited for.
    reader = Consumer(
        {
            "bootstrap.servers": installation.servers,
            "group.id": installation.group,
            "isolation.level": "read_uncommitted",
        }
    )
    engine = subprocess.Popen(
        (sys.executable, "-m", "processor", "run", "--until-end"), env=environment, cwd=ROOT, stdout=subprocess.DEVNULL
    )
    first, last, peak_kb, until = (0.0, 0), (0.0, 0), 0, time.monotonic() + COMMAND_TIMEOUT_S
    try:
        while engine.poll() is None:
            assert time.monotonic() < until, f"`run` is at {last[1]} after {COMMAND_TIMEOUT_S:.0f} s"
            peak_kb = max(peak_kb, peak_memory_kb(engine.pid))
            position = position_of(reader, installation)
            if position > last[1]:
                last = time.monotonic(), position
                first = first if first[1] else last
            time.sleep(POLL_INTERVAL_S)
    finally:
        engine.kill()
        engine.wait()
        reader.close()
    assert (engine.returncode, last[1]) == (0, events), f"`run` ended with {engine.returncode} at {last[1]}"
    per_s = (last[1] - first[1]) / (last[0] - first[0])
    return {"events": events, "eventsPerS": round(per_s, 1), "peakMb": round(peak_kb / 1_000, 1)}


# ---------------------------------------------------------------------------------------------------------------------
# What is printed


def as_json(dry_run: DryRun) -> dict[str, Any]:
    """A line for each measurement."""
    return {
        **asdict(dry_run),
        "eventsPerS": round(dry_run.events_per_s),
        "outputsPerS": round(dry_run.planted.outputs / dry_run.seconds),
        "timesRun": round(dry_run.speed_up, 1),
    }


def findings(dry_runs: Sequence[DryRun]) -> Iterator[str]:
    """Bounds that are missed, and dry runs that do not find what is missing. `dry_runs`: of one share of missing
    events, with more and more offsets."""
    for dry_run in dry_runs:
        planted = dry_run.planted
        name = f"{planted.offsets:,} offsets, {planted.missing:,} missing"
        if (dry_run.exit_code, dry_run.found) != (int(planted.missing > 0), planted.missing):
            yield f"{name}: the dry run ends with {dry_run.exit_code} and finds {dry_run.found:,}"
        if dry_run.speed_up < LEAST_SPEED_UP:
            yield f"{name}: {dry_run.speed_up:.1f} times the speed of `run`, not {LEAST_SPEED_UP:.0f}"
        if dry_run.peak_mb > MAX_PEAK_MB:
            yield f"{name}: {dry_run.peak_mb:.0f} MB, not {MAX_PEAK_MB:.0f}"
    for smaller, larger in grown(dry_runs):
        if (bytes_per_offset := growth(smaller, larger)) > MAX_GROWTH_BYTES_PER_OFFSET:
            yield (
                f"from {smaller.planted.offsets:,} to {larger.planted.offsets:,} offsets: {bytes_per_offset:.1f} bytes "
                f"an offset, not {MAX_GROWTH_BYTES_PER_OFFSET:.0f}"
            )


def grown(dry_runs: Sequence[DryRun]) -> Iterator[tuple[DryRun, DryRun]]:
    """Pairs of one measurement and the next one, where that has more offsets of the same kind."""
    for smaller, larger in pairwise(dry_runs):
        if larger.planted.offsets > smaller.planted.offsets:
            yield smaller, larger


def growth(smaller: DryRun, larger: DryRun) -> float:
    """Bytes of resident memory that each further offset takes."""
    return 1e6 * (larger.peak_mb - smaller.peak_mb) / (larger.planted.offsets - smaller.planted.offsets)


def conclusion(largest: DryRun) -> str:
    """What follows for a large installation, whose partitions are examined one after the other."""
    planted = largest.planted
    per_partition = INSTALLATION_MESSAGES / INSTALLATION_PARTITIONS
    offsets = per_partition * planted.offsets / max(1, planted.statuses)
    seconds = INSTALLATION_PARTITIONS * offsets / largest.events_per_s
    index_mb = 2 * offsets / 1e6
    return (
        f"{INSTALLATION_MESSAGES:,} messages on {INSTALLATION_PARTITIONS} partitions, at {planted.statuses:,} messages "
        f"of {planted.offsets:,} events: {offsets / 1e6:.1f} million offsets each, {seconds / 60:.0f} min in all for "
        f"one process, {index_mb:.0f} MB of index at a time, so about "
        f"{largest.peak_mb + index_mb - 2 * planted.offsets / 1e6:.0f} MB; with partitions shared out to processes of "
        f"several state folders, {seconds / 60 / INSTALLATION_PARTITIONS:.0f} min for each partition"
    )


def table(rows: Sequence[DryRun]) -> str:
    """The figures side by side."""
    head = ("offsets", "missing", "outputs", "seconds", "examined", "mapped", "events/s", "outputs/s", "x run", "MB")
    lines = ["".join(f"{name:>11}" for name in head)]
    for row in rows:
        planted = row.planted
        cells = (
            f"{planted.offsets:,}",
            f"{planted.missing:,}",
            f"{planted.outputs:,}",
            f"{row.seconds:.1f}",
            f"{row.examined_s:.1f}",
            f"{row.mapped_s:.1f}",
            f"{row.events_per_s:,.0f}",
            f"{planted.outputs / row.seconds:,.0f}",
            f"{row.speed_up:.1f}",
            f"{row.peak_mb:.0f}",
        )
        lines.append("".join(f"{cell:>11}" for cell in cells))
    return "\n".join(lines)


def measure(
    servers: str, missing: float, offsets: Sequence[int], *, run_events: int, repeats: int, folder: Path
) -> Iterator[DryRun]:
    """The dry runs of one share of missing events, `offsets` ascending; the best of some for each."""
    name = f"planted-{missing}-"
    installation = _installation(servers, name)
    with Plant(installation, missing=missing, offsets=max(offsets)) as plant:
        for count in offsets:
            plant.extend(count)
            beside = _installation(servers, f"{name}run{count}-")
            run = measure_run(beside, plant, events=min(run_events, count), state_dir=folder)
            print_line({"run": run})
            dry_runs = []
            for _ in range(repeats):
                dry_runs.append(
                    measure_dry_run(installation, plant.planted, state_dir=folder, run_events_per_s=run["eventsPerS"])
                )
                print_line(as_json(dry_runs[-1]))
            yield best_of(dry_runs)
        if missing:
            yield fill(installation, best_of(dry_runs), state_dir=folder)


def best_of(dry_runs: Sequence[DryRun]) -> DryRun:
    """The fastest of several that did the same, with the smallest of their peaks: what the client has fetched ahead
    takes up to some 20 MB, by how busy the machine is, and says nothing of what an offset takes."""
    fastest = min(dry_runs, key=lambda dry_run: dry_run.seconds)
    return replace(fastest, peak_mb=min(dry_run.peak_mb for dry_run in dry_runs))


def fill(installation: Installation, before: DryRun, *, state_dir: Path) -> DryRun:
    """Write what is missing, and measure the dry run again: each template that the operation wrote of takes a bit for
    each offset."""
    cost = measure_command(installation, ("replay", "--yes", "--json"), state_dir=state_dir)
    events_per_s = round(before.planted.missing / cost.seconds, 1)
    print_line({"yes": {"exitCode": cost.exit_code, "seconds": cost.seconds, "eventsPerS": events_per_s}})
    planted = replace(before.planted, missing=0)
    after = measure_dry_run(installation, planted, state_dir=state_dir, run_events_per_s=before.run_events_per_s)
    print_line(as_json(after))
    return after


def _installation(servers: str, prefix: str) -> Installation:
    """One that writes Avro, as is the default."""
    return create_installation(servers, prefix, output={"format": "avro"}, http=HttpSettings(port=0))


def log(text: str) -> None:
    """For people, on stderr."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)  # noqa: T201


def main() -> int:
    """Plant, measure, print."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak.planted", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--offsets", type=int, nargs="+", default=[500_000, 2_000_000])
    parser.add_argument("--missing", type=float, nargs="+", default=[0.0, 0.01], help="shares of events")
    parser.add_argument("--run-events", type=int, default=RUN_EVENTS, help="that `run` is measured on")
    parser.add_argument("--repeats", type=int, default=3, help="of each dry run; the best counts")
    args = parser.parse_args()
    print_line({"machine": f"{os.cpu_count()} cores, {platform.machine()}", "python": platform.python_version()})
    missed: list[str] = []
    rows: list[DryRun] = []
    with local_kafka() as kafka, tempfile.TemporaryDirectory() as folder:
        for missing in args.missing:
            dry_runs = list(
                measure(
                    kafka.bootstrap_servers,
                    missing,
                    sorted(args.offsets),
                    run_events=args.run_events,
                    repeats=args.repeats,
                    folder=Path(folder),
                )
            )
            rows += dry_runs
            missed += findings(dry_runs)
    lines = [table(rows)]
    lines += [
        f"from {smaller.planted.offsets:,} to {larger.planted.offsets:,} offsets: {growth(smaller, larger):.1f} bytes "
        "of resident memory an offset"
        for smaller, larger in grown(rows)
    ]
    lines += [conclusion(max(rows, key=lambda row: row.planted.offsets)), *(f"missed: {text}" for text in missed)]
    print("\n".join(lines))  # noqa: T201
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
