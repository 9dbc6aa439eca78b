"""The history that the checker reads: whole topics with either isolation, their end offsets, a group's positions."""

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

UNAVAILABLE_TIMEOUT_S = 30.0
T = TypeVar("T")
_reader_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as it is on a topic."""

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


def partition_counts(servers: str, topics: Sequence[str]) -> dict[str, int]:
    """Topic -> number of partitions, for those of `topics` that exist."""
    found = AdminClient({"bootstrap.servers": servers, "log_level": 2}).list_topics(timeout=30).topics
    return {topic: len(found[topic].partitions) for topic in topics if topic in found}


def read(
    servers: str, topics: Sequence[str], *, isolation: str = "read_committed", values: bool = True
) -> list[StoredRecord]:
    """All that a reader of `isolation` sees on `topics` now, in order within each partition.

    Blocks; TimeoutError after 60 s without a record. Without `values` they are None, as they may be large.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": f"soak-reader-{next(_reader_numbers)}",
            "enable.auto.commit": False,
            "isolation.level": isolation,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,
            "fetch.queue.backoff.ms": 5,
            "receive.message.max.bytes": 1_000_000_000,  # a compressed batch may unpack to more than the default
            "log_level": 2,
        }
    )
    positions = [
        TopicPartition(topic, partition, OFFSET_BEGINNING)
        for topic, count in partition_counts(servers, topics).items()
        for partition in range(count)
    ]
    remaining = {(position.topic, position.partition) for position in positions}
    records: list[StoredRecord] = []
    try:
        consumer.assign(positions)
        idle = 0
        while remaining:
            messages = consumer.consume(5_000, 0.2)
            idle = 0 if messages else idle + 1
            if idle > 300:
                raise TimeoutError(f"no end of {sorted(remaining)}")
            for message in messages:
                topic, partition, offset = message.topic(), message.partition(), message.offset()
                error = message.error()
                if error is not None:
                    if error.name() == "_PARTITION_EOF":
                        remaining.discard((str(topic), int(partition or 0)))
                    continue
                if topic is None or partition is None or offset is None:
                    raise AssertionError("a record that was read has a position")
                records.append(
                    StoredRecord(
                        topic,
                        partition,
                        offset,
                        message.timestamp()[1],
                        _bytes(message.key()),
                        _bytes(message.value()) if values else None,
                        tuple((name, _bytes(value) or b"") for name, value in _header_pairs(message.headers())),
                    )
                )
    finally:
        consumer.close()
    return records


def _header_pairs(headers: Any) -> Iterable[tuple[str, bytes | None]]:
    return headers or ()  # read headers are always pairs; the client's types also allow what can be written


def _bytes(value: str | bytes | None) -> bytes | None:
    return value if value is None or isinstance(value, bytes) else str(value).encode()


def end_offsets(servers: str, topics: Sequence[str], *, stable: bool = False) -> dict[tuple[str, int], int]:
    """(topic, partition) -> high watermark, or the last stable offset: where a `read_committed` reader ends."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 2})
    partitions = {
        TopicPartition(topic, partition): OffsetSpec.latest()
        for topic, count in partition_counts(servers, topics).items()
        for partition in range(count)
    }
    isolation = IsolationLevel.READ_COMMITTED if stable else IsolationLevel.READ_UNCOMMITTED

    def list_offsets() -> dict[tuple[str, int], int]:
        futures = admin.list_offsets(partitions, isolation_level=isolation, request_timeout=30)
        return {(at.topic, at.partition): future.result().offset for at, future in futures.items()}

    return _retry_while_unavailable(list_offsets)


def group_positions(servers: str, group: str, topic: str) -> Mapping[int, int]:
    """Partition -> what `group` has committed of `topic`; a partition without a position is not in it.

    By a consumer that never joins: librdkafka 2.16.1 crashes in the admin client's request when the group's
    coordinator is just being loaded.
    """
    consumer = Consumer({"bootstrap.servers": servers, "group.id": group, "log_level": 2})
    partitions = [
        TopicPartition(topic, partition) for partition in range(partition_counts(servers, (topic,)).get(topic, 0))
    ]
    try:
        positions = _retry_while_unavailable(lambda: consumer.committed(partitions, 10))
    finally:
        consumer.close()
    return {at.partition: at.offset for at in positions if at.offset >= 0}


def _retry_while_unavailable(request: Callable[[], T]) -> T:
    """The response of a broker that may just have been resumed or started: leaders are elected a moment later."""
    deadline = time.monotonic() + UNAVAILABLE_TIMEOUT_S
    while True:
        try:
            return request()
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
