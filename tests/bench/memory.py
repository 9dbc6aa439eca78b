"""Memory over millions of events, for example `python -m tests.bench.memory --events 1000000 --load mix`.

Starts a broker of its own, whose topics keep some megabytes of each partition, and feeds it as fast as the processor
maps, a little ahead of it. A JSON line every few seconds: events committed so far, and resident memory. The last one
says by how many bytes the memory grows with each event: the slope of a line fitted to all but the first quarter. The
peak over a backlog that is there before the start is in the tables of `python -m tests.bench --mix`, and of large
events in the output of `python -m tests.bench.backlog`.
"""

import argparse
import multiprocessing
import re
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Final

from processor.domain.record import Topic
from processor.kafka.local.kafka import local_kafka
from tests.bench.installations import Workbench, create_bench_installation, remove_outputs
from tests.bench.load import Load, event_producer, simple_load
from tests.bench.mix import mix_load, produce_rows
from tests.bench.mix_rounds import PLANNED, mix_workbench, prepare_ours
from tests.bench.observed import ContenderError, ObservedProcess, PositionReader, running
from tests.bench.raw import Line, RawFigures, output_folder
from tests.bench.report import PERFORMANCE, write_report
from tests.bench.rounds import workbench
from tests.support.installation import Installation

PARTITIONS: Final = 6
AHEAD_EVENTS: Final = 60_000  # of the processor: less than what the topic keeps
SEGMENT_BYTES: Final = 16_777_216
RETENTION_BYTES: Final = 67_108_864  # of a partition
RETENTION_CHECK_MS: Final = 5_000
BROKER: Final = {"log.retention.check.interval.ms": str(RETENTION_CHECK_MS)}
STALL_TIMEOUT_S: Final = 120.0
UNSETTLED_SHARE: Final = 0.25  # of the events, the first ones, while windows, caches and pools fill

LOADS: Final = ("simple", "mix")

KeepLine = Callable[[Line], object]


@dataclass(frozen=True, slots=True)
class MemorySample:
    """What was seen at a moment, in seconds from the start."""

    at_s: float
    committed: int
    resident_mb: float


@dataclass(frozen=True, slots=True)
class Growth:
    """Of one run: resident memory behind the first quarter of the events, at the end, and at most.

    `bytes_per_event` is the slope of a line fitted to what follows that quarter.
    """

    bytes_per_event: float
    settled_mb: float
    last_mb: float
    peak_mb: float
    events: int
    seconds: float


def growth(samples: Sequence[MemorySample]) -> Growth:
    """Of at least one sample, in their order. ValueError for fewer than two behind the first quarter."""
    events = samples[-1].committed
    settled = [sample for sample in samples if sample.committed >= UNSETTLED_SHARE * events]
    if len(settled) < 2:
        raise ValueError(f"{len(settled)} samples behind the first quarter of the events: sample more often")
    slope = statistics.linear_regression(
        [sample.committed for sample in settled], [1e6 * sample.resident_mb for sample in settled]
    ).slope
    return Growth(
        bytes_per_event=round(slope, 3),
        settled_mb=settled[0].resident_mb,
        last_mb=settled[-1].resident_mb,
        peak_mb=max(sample.resident_mb for sample in samples),
        events=events,
        seconds=samples[-1].at_s,
    )


def measure_memory(
    bench: Workbench, load: Load, installation: Installation, *, events: int, every_s: float, keep: KeepLine
) -> Growth:
    """Feed `events` to a process, and sample its memory until it has committed them; `keep` gets each sample.

    Raises ContenderError where it ends, or commits nothing for two minutes.
    """
    for topic in (installation.events, *installation.outputs):
        installation.configure(topic, "segment.bytes", str(SEGMENT_BYTES))
        installation.configure(topic, "retention.bytes", str(RETENTION_BYTES))
    committed = multiprocessing.Value("q", 0)
    feeder = multiprocessing.Process(target=feed, args=(load, bench.servers, installation.events, events, committed))
    samples: list[MemorySample] = []
    with PositionReader(installation) as reader, running(prepare_ours(bench, PLANNED[0], installation)) as process:
        feeder.start()
        try:
            began, progressed_at, sampled_at = time.monotonic(), time.monotonic(), 0.0
            while committed.value < events:
                process.check()
                now, position = time.monotonic(), reader.committed()
                if position > committed.value:
                    committed.value, progressed_at = position, now
                if now - progressed_at > STALL_TIMEOUT_S:
                    raise ContenderError(f"{position} of {events} events, and no more: {process.last_lines()}")
                if position and (now - sampled_at >= every_s or position >= events):
                    sampled_at = now
                    samples.append(MemorySample(round(now - began, 1), position, resident_mb(process)))
                    keep(asdict(samples[-1]))
                time.sleep(0.1)
        finally:
            feeder.terminate()
            feeder.join()
    return growth(samples)


def feed(load: Load, servers: str, topic: Topic, count: int, committed: "Synchronized[int]") -> None:
    """Produce the first `count` events, never far ahead of what is committed. Runs in a process of its own."""
    producer = event_producer(servers)
    for number in range(count):
        while number - committed.value > AHEAD_EVENTS:
            producer.poll(0.05)
        key, value = load.key_and_value(number)
        while True:
            try:
                producer.produce(topic, value, key, number % load.partitions)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(120) == 0


def resident_mb(process: ObservedProcess) -> float:
    """Resident memory of a process and its children now."""
    found = (re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text()) for pid in process.pids())
    return round(sum(int(match[1]) for match in found if match) / 1000, 1)


def bench_of(servers: str, load: str) -> AbstractContextManager[Workbench]:
    """What a run of one of LOADS needs."""
    return mix_workbench(servers) if load == "mix" else workbench(servers)


def run_load(bench: Workbench, load_name: str, *, name: str, events: int, every_s: float, keep: KeepLine) -> Line:
    """The growth over one of LOADS, or an `error`; `keep` gets each sample. Events have the time of their sending."""
    topic = Topic(f"{name}.events")
    installation = create_bench_installation(bench, name, events=topic, partitions=PARTITIONS)
    if load_name == "mix":
        produce_rows(installation)
        load = mix_load(bench.schemas, partitions=PARTITIONS, begin_ms=0)
    else:
        load = simple_load(bench.schemas, partitions=PARTITIONS, begin_ms=0)
    try:
        grown = measure_memory(bench, load, installation, events=events, every_s=every_s, keep=keep)
    except ContenderError as error:
        return {"load": load_name, "error": str(error)}
    finally:
        remove_outputs(installation, topic)
    return {"load": load_name, **asdict(grown)}


def main() -> None:
    """Print a line of JSON for each sample, then the growth, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=3_000_000, help="until the process is stopped")
    parser.add_argument("--load", choices=LOADS, default="simple", help="one template, or the forty of the mix")
    parser.add_argument("--every", type=float, default=5, metavar="SECONDS", help="between two samples")
    parser.add_argument("--out", type=output_folder, default=PERFORMANCE, help="folder of raw figures and page")
    args = parser.parse_args()
    raw = RawFigures("memory", args.out, vars(args))
    with local_kafka(extra=BROKER) as kafka, bench_of(kafka.bootstrap_servers, args.load) as bench:
        raw.keep(run_load(bench, args.load, name="memory", events=args.events, every_s=args.every, keep=raw.keep))
    write_report(args.out)


if __name__ == "__main__":
    main()
