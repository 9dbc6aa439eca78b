"""The producer's side by itself: what is dropped is really gone, and what no retry helps against is an error."""

import gc
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from processor.domain.output_topics import OutputTopics
from processor.domain.record import OutRecord, Topic
from processor.engine.loop import run
from processor.engine.publisher import NotCommitted, TransactionalPublisher, TransactionResult
from processor.errors import UsageError
from processor.kafka.local.kafka import local_kafka
from tests.support.clients import create_topic, logged
from tests.support.installation import create_installation
from tests.support.read_to_end import read_topics

TOPICS = cast(OutputTopics, None)  # passed to `make_producer`, which does not use it here


class Failing:
    """In the place of a producer: every commit fails. Says in which thread it ends."""

    def __init__(self, ended: Callable[[str], None]) -> None:
        self._ended = ended

    def __getattr__(self, name: str) -> Any:
        return lambda *_args, **_named: None

    def commit_transaction(self, _timeout_s: float) -> None:
        raise KafkaException(KafkaError(KafkaError._STATE, "a test"))

    def __del__(self) -> None:
        self._ended(threading.current_thread().name)


def test_a_dropped_producer_is_closed_at_once_in_the_background() -> None:
    """No cycle keeps a producer whose transaction failed, with its sockets, until some collection; and its end, which
    may wait for a broker that hangs, is not waited for by the loop."""
    ended: list[str] = []
    publisher = TransactionalPublisher(
        lambda _topics, _failed: cast(Producer, Failing(ended.append)),
        transactional_id="a-test",
        timeout_s=15,
        must_stop=lambda: False,
        on_step=lambda _step: None,
    )
    gc.disable()
    try:
        publisher.reset_producer(TOPICS, between_attempts=lambda: None)
        dropped = weakref.ref(publisher._producer)
        failure = publisher.publish((), {}, None)
        publisher.reset_producer(TOPICS, between_attempts=lambda: None)
        deadline = time.monotonic() + 5
        while dropped() is not None and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        gc.enable()

    assert isinstance(failure, NotCommitted)
    assert dropped() is None
    assert ["discard"] == ended


class Full:
    """In the place of a producer: its queue has room for one record, until it is polled."""

    def __init__(self) -> None:
        self.produced: list[tuple[Any, ...]] = []
        self.has_room = True

    def __getattr__(self, name: str) -> Any:
        return lambda *_args, **_named: None

    def produce(self, *record: Any, headers: list[tuple[str, bytes | None]] | None = None) -> None:
        if not self.has_room:
            raise BufferError
        self.has_room = False
        self.produced.append((*record, headers))

    def poll(self, _timeout_s: float) -> int:
        self.has_room = True
        return 0


def test_a_full_queue_is_waited_for() -> None:
    """What is not taken at once is produced in its place: all records, in order, each once, and headers where it has
    some."""
    producer = Full()
    publisher = TransactionalPublisher(
        lambda _topics, _failed: cast(Producer, producer),
        transactional_id="a-test",
        timeout_s=15,
        must_stop=lambda: False,
        on_step=lambda _step: None,
    )
    publisher.reset_producer(TOPICS, between_attempts=lambda: None)
    headers = (("content-type", b"application/json"), ("operation", None))
    outputs = [OutRecord(Topic("out"), n % 2, b"key", b"%d" % n, headers if n % 3 == 0 else ()) for n in range(10)]

    assert publisher.publish(outputs, {}, None) is None
    assert [
        (output.topic, output.value, output.key, output.partition, list(output.headers) or None) for output in outputs
    ] == producer.produced


@pytest.mark.kafka
def test_a_transaction_without_positions(bootstrap_servers: str, topic_prefix: str) -> None:
    """An operation on the past commits what it publishes, and no positions; a second one of the id fences it."""
    topic = Topic(f"{topic_prefix}out")
    admin = AdminClient(logged({"bootstrap.servers": bootstrap_servers}))
    create_topic(admin, NewTopic(topic, 1, 1))

    def connect() -> TransactionalPublisher:
        properties = logged({"bootstrap.servers": bootstrap_servers, "transactional.id": f"{topic_prefix}past"})
        publisher = TransactionalPublisher(
            lambda _topics, _failed: Producer(properties),
            transactional_id=f"{topic_prefix}past",
            timeout_s=15,
            must_stop=lambda: False,
            on_step=lambda _step: None,
        )
        publisher.reset_producer(TOPICS, between_attempts=lambda: None)
        return publisher

    def publish(on: TransactionalPublisher, value: bytes) -> NotCommitted | None:
        return on.publish([OutRecord(topic, 0, b"key", value, ())], {}, None)

    first = connect()
    assert publish(first, b"1") is None
    second = connect()
    failure = publish(first, b"2")
    assert publish(second, b"3") is None

    assert failure is not None
    assert TransactionResult.FENCED is failure.result
    assert [b"1", b"3"] == [message.value() for message in read_topics(bootstrap_servers, [topic])]


@pytest.mark.kafka
def test_a_time_out_that_the_broker_does_not_allow() -> None:
    """No retry helps: a usage error that names the setting."""
    with local_kafka(extra={"transaction.max.timeout.ms": "10000"}) as kafka:
        installation = create_installation(kafka.bootstrap_servers, "long.")

        with pytest.raises(UsageError, match=r"(?s)transactions of 15000 ms\nhint: set PROCESSOR_TRANSACTION_TIMEOUT"):
            run(installation.settings, until_end=True)
