"""Readers of the demo's outputs: one that notes when each becomes readable, and one of everything to the end."""

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition

from processor.errors import DependencyError, InternalError
from processor.kafka.clients import create_admin, standalone_consumer
from processor.settings import Settings

REQUEST_TIMEOUT_S: Final = 30.0


class OutputWatcher:
    """Reads the outputs as they become readable, in a thread, and notes when. Read committed, like any consumer."""

    def __init__(self, settings: Settings, topics: Sequence[str]) -> None:
        self.count = 0
        self.last_at = time.monotonic()  #: when the latest output was read
        self.kept_since = self.last_at
        self._is_keeping = False
        self._kept: list[tuple[float, Message]] = []
        self._failure: KafkaError | None = None
        self._stop = threading.Event()
        self._consumer = standalone_consumer(settings)
        self._consumer.assign(_all_partitions(settings, topics))
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)

    def __enter__(self) -> "OutputWatcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def keep(self) -> None:
        """From now on keep what is read."""
        self.kept_since = time.monotonic()
        self._is_keeping = True

    def kept_messages(self) -> Sequence[tuple[float, Message]]:
        """What was kept, each with the monotonic time at which it was read."""
        return self._kept

    def check(self) -> None:
        """Raise KafkaException when the thread ended by an error."""
        if self._failure is not None:
            raise KafkaException(self._failure)

    def _watch(self) -> None:
        while not self._stop.is_set():
            first = self._consumer.poll(0.1)
            if first is None:
                continue
            at = time.monotonic()
            # poll returns at once when there is something; what else is there came with it.
            messages = [first, *self._consumer.consume(1_000, timeout=0)]
            failure = next((error for message in messages if (error := message.error()) is not None), None)
            if failure is not None:
                self._failure = failure
                return
            if self._is_keeping:
                self._kept += [(at, message) for message in messages]
            self.last_at = at
            self.count += len(messages)


def read_all(settings: Settings, topics: Sequence[str]) -> Iterator[Message]:
    """Every committed record of `topics` from the first to the last there is now; each partition in its order.

    Blocks while the broker responds; KafkaException, or DependencyError when nothing comes for 30 s.
    """
    partitions = _all_partitions(settings, topics)
    consumer = standalone_consumer(settings, more={"enable.partition.eof": True})
    try:
        consumer.assign(partitions)
        remaining = len(partitions)
        while remaining:
            message = consumer.poll(REQUEST_TIMEOUT_S)
            if message is None:
                raise DependencyError(f"no record for {REQUEST_TIMEOUT_S:.0f} s while reading {', '.join(topics)}")
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                remaining -= 1
            else:
                raise KafkaException(error)
    finally:
        consumer.close()


def _all_partitions(settings: Settings, topics: Sequence[str]) -> list[TopicPartition]:
    with create_admin(settings) as client:
        existing = client.list_topics(timeout=REQUEST_TIMEOUT_S).topics
    return [
        TopicPartition(topic, partition, OFFSET_BEGINNING)
        for topic in topics
        for partition in existing[topic].partitions
    ]


def topic_of(message: Message) -> str:
    """The topic of a record that was read."""
    return str(message.topic())


def position_of(message: Message) -> tuple[int, int]:
    """Partition and offset of a record that was read or delivered."""
    partition, offset = message.partition(), message.offset()
    if partition is None or offset is None:
        raise InternalError("a record without a position")
    return partition, offset
