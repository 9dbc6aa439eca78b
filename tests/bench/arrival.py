"""Milliseconds from an event's scheduled time of sending to the arrival of its status at a `read_committed` reader.

Sent by schedule, so a contender or a sender that falls behind does not flatter the figures. All contenders keep the
order of a partition: the n-th status of a partition is that of its n-th event.
"""

import math
import multiprocessing
import time
from collections.abc import Sequence
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


def measure_arrivals(run: PreparedRun, load: Load, stretches: Sequence[Stretch]) -> list[Latencies | None]:
    """Latencies of each stretch, one after the other; None where the contender fell behind, and for what would follow.

    Raises ContenderError where it ends, does nothing, or answers with another event's key.
    """
    installation = run.installation
    consumer = status_reader(installation)
    arrivals = Arrivals([[] for _ in range(load.partitions)], [b""] * load.partitions)
    measured: list[Latencies | None] = [None] * len(stretches)
    sent = load.partitions
    try:
        with running(run) as process:
            at_once = Stretch("at once", rate=1e6, warm_s=0, seconds=sent / 1e6)
            send_events(load, installation.servers, installation.events, at_once, first=0, begin=time.time())
            read_statuses(consumer, arrivals, sent, process, until=time.time() + FIRST_ARRIVAL_TIMEOUT_S)
            if arrivals.count < sent:
                raise ContenderError(f"no status in {FIRST_ARRIVAL_TIMEOUT_S:.0f} s: {process.last_lines()}")
            time.sleep(SETTLE_S)
            for index, stretch in enumerate(stretches):
                begin = time.time() + 1
                sender = multiprocessing.Process(
                    target=send_events,
                    args=(load, installation.servers, installation.events, stretch),
                    kwargs={"first": sent, "begin": begin},
                )
                sender.start()
                end = begin + stretch.count / stretch.rate
                read_statuses(consumer, arrivals, sent + stretch.count, process, until=end + LATE_S)
                sender.join()
                if arrivals.count < sent + stretch.count:
                    return measured
                warm = round(stretch.rate * stretch.warm_s)
                measured[index] = percentiles(
                    [arrivals.of(sent + at) - (begin + at / stretch.rate) for at in range(warm, stretch.count)]
                )
                sent += stretch.count
        if not run.contender.copies:
            _check_keys(arrivals, load)
        return measured
    finally:
        consumer.close()


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
