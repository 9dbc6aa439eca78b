"""The history that the checker reads: whole topics with either isolation, their end offsets, a group's positions."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from tests.support.read_to_end import partition_counts, read_topics

UNAVAILABLE_TIMEOUT_S = 30.0
T = TypeVar("T")


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


def read(
    servers: str, topics: Sequence[str], *, isolation: str = "read_committed", values: bool = True
) -> list[StoredRecord]:
    """All that a reader of `isolation` sees on `topics` now, in order within each partition. Blocks.

    Without `values` they are None, as they may be large.
    """
    return [_to_stored_record(message, values=values) for message in read_topics(servers, topics, isolation=isolation)]


def _to_stored_record(message: Message, *, values: bool) -> StoredRecord:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    if topic is None or partition is None or offset is None:
        raise AssertionError("a record that was read has a position")
    return StoredRecord(
        topic,
        partition,
        offset,
        message.timestamp()[1],
        _bytes(message.key()),
        _bytes(message.value()) if values else None,
        tuple((name, _bytes(value) or b"") for name, value in _header_pairs(message.headers())),
    )


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
