"""Milliseconds from an event's scheduled time of sending to the arrival of its status at a `read_committed` reader.

Sent by schedule, so a contender or a sender that falls behind does not flatter the figures. All contenders keep the
order of a partition: the n-th status of a partition is that of its n-th event.
"""

import math
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import Consumer, TopicPartition

from processor.domain.ids import encoded_key
from processor.domain.record import TemplateId, Topic
from tests.bench.latency import Latencies, percentiles
from tests.bench.lineup import PreparedRun
from tests.bench.load import Load, event_id, event_producer
from tests.bench.observed import ContenderError, ObservedProcess, running
from tests.support.builders import TENANT
from tests.support.clients import logged
from tests.support.installation import Installation

TEMPLATE: Final = TemplateId("loan-repayment-stream")
FIRST_ARRIVAL_TIMEOUT_S: Final = 120.0
SETTLE_S: Final = 5.0  # a second worker joins after the first one has begun
LATE_S: Final = 15.0
TICK_S: Final = 0.0005
FIXED: Final = "fixed"  # the same rate for all contenders
HALF: Final = "half"  # of the events a second that the contender does at most


@dataclass(frozen=True, slots=True)
class Stretch:
    """Events sent at one rate, FIXED or HALF: those of `warm_s`, which are not measured, then those of `seconds`."""

    load: str
    rate: float
    warm_s: float
    seconds: float

    @property
    def count(self) -> int:
        """How many events are sent."""
        return round(self.rate * (self.warm_s + self.seconds))


@dataclass(slots=True)
class Arrivals:
    """The arrivals of statuses so far: each partition's times, and the key of its last one."""

    times: list[list[float]]
    last_keys: list[bytes] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(map(len, self.times))

    def of(self, number: int) -> float:
        """When the status of an event arrived."""
        offset, partition = divmod(number, len(self.times))
        return self.times[partition][offset]


class ArrivalRun:
    """A contender that is running, to which events are sent, and the arrivals of their statuses. `sent`: how many."""

    def __init__(self, installation: Installation, load: Load, consumer: Consumer, process: ObservedProcess) -> None:
        self._installation, self._load = installation, load
        self._consumer, self._process = consumer, process
        self.arrivals = Arrivals([[] for _ in range(load.partitions)], [b""] * load.partitions)
        self.sent = 0

    def send_first(self, timeout_s: float) -> None:
        """Send one event to each partition, and wait until all is settled. ContenderError where a status is missing."""
        load, servers, events = self._load, self._installation.servers, self._installation.events
        at_once = Stretch("at once", rate=1e6, warm_s=0, seconds=load.partitions / 1e6)
        send_events(load, servers, events, at_once, first=0, begin=time.time())
        self.sent = load.partitions
        self._read_until(time.time() + timeout_s)
        if self.is_behind:
            raise ContenderError(f"no status in {timeout_s:.0f} s: {self._process.last_lines()}")
        time.sleep(SETTLE_S)

    def send(self, stretch: Stretch) -> float:
        """Send a stretch, and read until all of its statuses have arrived, or are LATE_S late: then it `is_behind`.
        Gives when the first event was scheduled, in seconds since the epoch."""
        begin = time.time() + 1
        sender = multiprocessing.Process(
            target=send_events,
            args=(self._load, self._installation.servers, self._installation.events, stretch),
            kwargs={"first": self.sent, "begin": begin},
        )
        sender.start()
        self.sent += stretch.count
        self._read_until(begin + stretch.count / stretch.rate + LATE_S)
        sender.join()
        return begin

    def last_lines(self) -> str:
        """What the contender wrote last."""
        return self._process.last_lines()

    @property
    def is_behind(self) -> bool:
        """Whether statuses of events that were sent are missing."""
        return self.arrivals.count < self.sent

    def _read_until(self, until: float) -> None:
        read_statuses(self._consumer, self.arrivals, self.sent, self._process, until=until)


@contextmanager
def arrival_run(
    run: PreparedRun, load: Load, *, first_timeout_s: float = FIRST_ARRIVAL_TIMEOUT_S
) -> Iterator[ArrivalRun]:
    """Start a contender that has made its first statuses. It ends with the block. Raises ContenderError where it does
    nothing."""
    consumer = status_reader(run.installation)
    try:
        with running(run) as process:
            started = ArrivalRun(run.installation, load, consumer, process)
            started.send_first(first_timeout_s)
            yield started
    finally:
        consumer.close()


def measure_arrivals(run: PreparedRun, load: Load, stretches: Sequence[Stretch]) -> list[Latencies | None]:
    """Latencies of each stretch, one after the other; None where the contender fell behind, and for what would follow.

    Raises ContenderError where it ends, does nothing, or answers with another event's key.
    """
    measured: list[Latencies | None] = [None] * len(stretches)
    with arrival_run(run, load) as started:
        for index, stretch in enumerate(stretches):
            first, begin = started.sent, started.send(stretch)
            if started.is_behind:
                return measured
            warm = round(stretch.rate * stretch.warm_s)
            measured[index] = percentiles(
                [started.arrivals.of(first + at) - (begin + at / stretch.rate) for at in range(warm, stretch.count)]
            )
    if not run.contender.copies:
        _check_keys(started.arrivals, load)
    return measured


def status_reader(installation: Installation) -> Consumer:
    """A `read_committed` consumer at the beginning of every partition of the statuses, which has nothing yet."""
    consumer = Consumer(
        logged(
            {
                "bootstrap.servers": installation.servers,
                "group.id": "bench-reader",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 100,
                "fetch.queue.backoff.ms": 1,
            }
        )
    )
    consumer.assign([TopicPartition(installation.status, at, 0) for at in range(installation.partitions)])
    return consumer


def send_events(load: Load, servers: str, topic: Topic, stretch: Stretch, *, first: int, begin: float) -> None:
    """Send event `first` + i of a stretch i / rate seconds after `begin`. Runs in a process of its own."""
    producer = event_producer(servers, linger_ms=1)
    sent = 0
    while sent < stretch.count:
        due = min(stretch.count, math.floor((time.time() - begin) * stretch.rate) + 1)
        for number in range(first + sent, first + due):
            key, value = load.key_and_value(number)
            producer.produce(topic, value, key, number % load.partitions)
        sent = max(sent, due)
        producer.poll(0)
        time.sleep(TICK_S)
    assert producer.flush(30) == 0


def read_statuses(
    consumer: Consumer, arrivals: Arrivals, count: int, process: ObservedProcess, *, until: float
) -> None:
    """Read until `count` statuses have arrived in all, or until that time."""
    while arrivals.count < count and time.time() < until:
        # A call for many records waits all of its time for more of them: up to 10 ms that would be the reader's own.
        messages = consumer.consume(1, 0.01)
        messages += consumer.consume(1000, 0) if messages else []
        now = time.time()
        for message in messages:
            assert message.error() is None, message.error()
            partition = message.partition() or 0
            arrivals.times[partition].append(now)
            arrivals.last_keys[partition] = message.key() or b""
        if not messages:
            process.check()


def _check_keys(arrivals: Arrivals, load: Load) -> None:
    """The last status of each partition is that of its last event: nothing was doubled or lost on the way."""
    for partition, key in enumerate(arrivals.last_keys):
        number = (len(arrivals.times[partition]) - 1) * load.partitions + partition
        expected = encoded_key(TENANT, event_id(number), TEMPLATE, recipient="")
        if key.decode() != expected:
            raise ContenderError(
                f"the last status of partition {partition} has another key than that of event {number}"
            )
