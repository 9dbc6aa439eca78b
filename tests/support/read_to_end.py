"""Reads topics and partitions to their end, as it is when a read begins."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.support.clients import logged

IDLE_TIMEOUT_S: Final = 60.0
POLL_S: Final = 0.2
LEADER_TIMEOUT_S: Final = 10.0
LEADERLESS: Final = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
MAX_FETCH_BYTES: Final = 1_000_000_000  # a compressed batch may expand to more than librdkafka's default


def partition_counts(servers: str, topics: Iterable[str]) -> dict[str, int]:
    """Topic -> number of partitions, for those of `topics` that exist."""
    existing = AdminClient({"bootstrap.servers": servers, "log_level": 2}).list_topics(timeout=30).topics
    return {topic: len(existing[topic].partitions) for topic in topics if topic in existing}


def read_topics(servers: str, topics: Sequence[str], *, isolation: str = "read_committed") -> Iterator[Message]:
    """All that a reader of `isolation` sees now, in order within each partition. Blocks.

    Records after the begin of an open transaction are not among them, for `read_committed`. TimeoutError after 60 s
    without a record.
    """
    counts = partition_counts(servers, topics)
    ends = {(topic, partition): 0 for topic, count in counts.items() for partition in range(count)}
    return _read(servers, ends, isolation=isolation)


def read_partition(servers: str, topic: str, partition: int, *, isolation: str = "read_committed") -> list[Message]:
    """All records of a partition. Blocks, also until transactions that are open there have ended; see `read_topics`."""
    consumer = Consumer(logged({"bootstrap.servers": servers, "group.id": "test-reader"}))
    try:
        high = end_of(consumer, topic, partition)
    finally:
        consumer.close()
    return [*_read(servers, {(topic, partition): high}, isolation=isolation)]


def end_of(consumer: Consumer, topic: str, partition: int) -> int:
    """The high watermark of a partition. Blocks. A topic that was just created has no leader that knows of it at first,
    and the client leaves that to its caller."""
    until = time.monotonic() + LEADER_TIMEOUT_S
    while True:
        try:
            _, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), 10)
        except KafkaException as exception:
            if exception.args[0].code() not in LEADERLESS or time.monotonic() > until:
                raise
            time.sleep(POLL_S)
        else:
            return int(high)


def _read(servers: str, ends: Mapping[tuple[str, int], int], *, isolation: str) -> Iterator[Message]:
    """Partitions from their first record on, up to `ends` at least."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "test-reader",
            "enable.auto.commit": False,
            "isolation.level": isolation,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,  # the broker reports an end when it has waited for more
            "fetch.queue.backoff.ms": 5,
            "receive.message.max.bytes": MAX_FETCH_BYTES,
            "log_level": 2,
        }
    )
    remaining, idle_s = set(ends), 0.0
    try:
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for topic, partition in ends])
        while remaining:
            messages = consumer.consume(5_000, POLL_S)
            idle_s = 0.0 if messages else idle_s + POLL_S
            if idle_s > IDLE_TIMEOUT_S:
                raise TimeoutError(f"no end of {sorted(remaining)}")
            for message in messages:
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    at = (str(message.topic()), message.partition() or 0)
                    if (message.offset() or 0) >= ends[at]:
                        remaining.discard(at)
    finally:
        consumer.close()
