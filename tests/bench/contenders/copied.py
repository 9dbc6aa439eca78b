"""The limit: three pieces of each event's bytes, copied with the processor's own client, exactly once.

The pieces are as long as the real outputs (BENCH_SIZES); nothing is decoded. With BENCH_TRANSACTIONS=off it is a
consumer and a producer that guarantee nothing, and positions are committed now and then.
`contenders/__init__.py` has the other settings.
"""

import os
import signal
from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

CALL_TIMEOUT_S = 30.0
FIRST_RECORD_TIMEOUT_S = 0.1
BATCH_WAIT_S = 0.005
COMMIT_INTERVAL_MS = 200  # without transactions


def piece(value: bytes, size_bytes: int) -> bytes:
    """The first bytes of `value`, repeated where it is shorter."""
    return (value * -(-size_bytes // len(value)))[:size_bytes]


def create_consumer(*, transactional: bool) -> Consumer:
    """One that always has a batch ready where there is one."""
    return Consumer(
        {
            "bootstrap.servers": os.environ["BENCH_BOOTSTRAP"],
            "group.id": os.environ["BENCH_GROUP"],
            "auto.offset.reset": "earliest",
            "enable.auto.commit": not transactional,
            "auto.commit.interval.ms": COMMIT_INTERVAL_MS,
            "isolation.level": "read_committed",
            "partition.assignment.strategy": "cooperative-sticky",
            "fetch.wait.max.ms": int(os.environ["BENCH_FETCH_WAIT_MS"]),
            "fetch.queue.backoff.ms": 5,
            "queued.min.messages": 100_000,
        }
    )


def create_producer(*, transactional: bool) -> Producer:
    """One whose failed deliveries end the program."""
    properties = {
        "bootstrap.servers": os.environ["BENCH_BOOTSTRAP"],
        "linger.ms": 1,
        "retry.backoff.ms": 10,
        "compression.type": "lz4",
        "queue.buffering.max.messages": 200_000,
        "delivery.report.only.error": True,
        "batch.size": 1_000_000,
        "on_delivery": raise_for_error,
    }
    return Producer({**properties, **({"transactional.id": os.environ["BENCH_GROUP"]} if transactional else {})})


def raise_for_error(error: object, _: Message) -> None:
    """Called for each delivery that failed."""
    raise KafkaException(error)


def poll(consumer: Consumer, limit: int) -> list[Message]:
    """Up to `limit` records: what comes within 5 ms of the first."""
    messages = consumer.consume(1, FIRST_RECORD_TIMEOUT_S)
    if messages:
        messages += consumer.consume(limit - 1, BATCH_WAIT_S)
    return messages


def copy(producer: Producer, messages: Sequence[Message], outputs: Sequence[tuple[str, int]]) -> dict[int, int]:
    """Produce the pieces of these records, each to the partition it came from; the next offset of each partition."""
    positions = {}
    for message in messages:
        if (error := message.error()) is not None:
            raise KafkaException(error)
        value, key, partition, offset = message.value(), message.key(), message.partition(), message.offset()
        assert value and partition is not None and offset is not None
        for topic, size_bytes in outputs:
            while True:
                try:
                    producer.produce(topic, piece(value, size_bytes), key, partition)
                    break
                except BufferError:
                    producer.poll(0.01)
        positions[partition] = offset + 1
    return positions


def run() -> None:
    """Copy until SIGTERM."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    topics = [os.environ[name] for name in ("BENCH_MESSAGES", "BENCH_STATUS", "BENCH_STREAM")]
    outputs = tuple(zip(topics, map(int, os.environ["BENCH_SIZES"].split(",")), strict=True))
    events, batch_records = os.environ["BENCH_EVENTS"], int(os.environ["BENCH_BATCH"])
    transactional = os.environ.get("BENCH_TRANSACTIONS") != "off"
    consumer, producer = create_consumer(transactional=transactional), create_producer(transactional=transactional)
    if transactional:
        producer.init_transactions(CALL_TIMEOUT_S)
    consumer.subscribe([events])
    while not stopped:
        messages = poll(consumer, batch_records)
        if transactional and messages:
            producer.begin_transaction()
            positions = copy(producer, messages, outputs)
            offsets = [TopicPartition(events, partition, position) for partition, position in positions.items()]
            producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), CALL_TIMEOUT_S)
            producer.commit_transaction(CALL_TIMEOUT_S)
        else:
            copy(producer, messages, outputs)
            producer.poll(0)
    producer.flush(CALL_TIMEOUT_S)
    consumer.close()


if __name__ == "__main__":
    run()
