"""An independent reader: whole topics, with either isolation, and where they end."""

import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

PATIENCE_S = 30.0
T = TypeVar("T")
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class OnLog:
    """A record as it lies on a topic."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]

    @property
    def at(self) -> tuple[str, int, int]:
        """Topic, partition, offset."""
        return (self.topic, self.partition, self.offset)


def partitions_of(servers: str, topics: Sequence[str]) -> dict[str, int]:
    """Topic -> number of partitions, for those of `topics` that exist."""
    found = AdminClient({"bootstrap.servers": servers, "log_level": 2}).list_topics(timeout=30).topics
    return {topic: len(found[topic].partitions) for topic in topics if topic in found}


def read(servers: str, topics: Sequence[str], *, isolation: str = "read_committed", values: bool = True) -> list[OnLog]:
    """All that a reader of `isolation` sees on `topics` now, in order within each partition. Blocks up to 60 s idle.

    Without `values` they are left out, as they may be large.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": f"chaos-reader-{next(_numbers)}",
            "enable.auto.commit": False,
            "isolation.level": isolation,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,
            "fetch.queue.backoff.ms": 5,
            "receive.message.max.bytes": 1_000_000_000,  # a compressed batch may unpack to more than the default
            "log_level": 2,
        }
    )
    places = [
        TopicPartition(topic, partition, OFFSET_BEGINNING)
        for topic, count in partitions_of(servers, topics).items()
        for partition in range(count)
    ]
    left = {(place.topic, place.partition) for place in places}
    records: list[OnLog] = []
    try:
        consumer.assign(places)
        idle = 0
        while left:
            messages = consumer.consume(5_000, 0.2)
            idle = 0 if messages else idle + 1
            if idle > 300:
                raise TimeoutError(f"no end of {sorted(left)}")
            for message in messages:
                topic, partition, offset = message.topic(), message.partition(), message.offset()
                error = message.error()
                if error is not None:
                    if error.name() == "_PARTITION_EOF":
                        left.discard((str(topic), int(partition or 0)))
                    continue
                if topic is None or partition is None or offset is None:
                    raise AssertionError("a record that was read has its place")
                records.append(
                    OnLog(
                        topic,
                        partition,
                        offset,
                        message.timestamp()[1],
                        _bytes(message.key()),
                        _bytes(message.value()) if values else None,
                        tuple((name, _bytes(value) or b"") for name, value in _pairs(message.headers())),
                    )
                )
    finally:
        consumer.close()
    return records


def _pairs(headers: Any) -> Iterable[tuple[str, bytes | None]]:
    return headers or ()  # read headers are always pairs; the client's types also allow what can be written


def _bytes(value: str | bytes | None) -> bytes | None:
    return value if value is None or isinstance(value, bytes) else str(value).encode()


def ends(servers: str, topics: Sequence[str], *, stable: bool = False) -> dict[tuple[str, int], int]:
    """(topic, partition) -> high watermark, or the last stable offset: where a `read_committed` reader ends."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 2})
    asked = {
        TopicPartition(topic, partition): OffsetSpec.latest()
        for topic, count in partitions_of(servers, topics).items()
        for partition in range(count)
    }
    isolation = IsolationLevel.READ_COMMITTED if stable else IsolationLevel.READ_UNCOMMITTED

    def answered() -> dict[tuple[str, int], int]:
        answers = admin.list_offsets(asked, isolation_level=isolation, request_timeout=30)
        return {(at.topic, at.partition): future.result().offset for at, future in answers.items()}

    return _patient(answered)


def group_positions(servers: str, group: str, topic: str) -> Mapping[int, int]:
    """Partition -> what `group` has committed of `topic`; a partition without a position is not in it.

    Asked by a consumer that never joins: librdkafka 2.16.1 crashes in the admin client's question when the group's
    coordinator is just being loaded.
    """
    consumer = Consumer({"bootstrap.servers": servers, "group.id": group, "log_level": 2})
    asked = [TopicPartition(topic, partition) for partition in range(partitions_of(servers, (topic,)).get(topic, 0))]
    try:
        positions = _patient(lambda: consumer.committed(asked, 10))
    finally:
        consumer.close()
    return {at.partition: at.offset for at in positions if at.offset >= 0}


def _patient(question: Callable[[], T]) -> T:
    """The answer of a broker that may just have been woken or started: leaders are elected a moment later."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return question()
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
