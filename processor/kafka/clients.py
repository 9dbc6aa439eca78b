"""The Kafka clients: the one place where they are created and where librdkafka's properties are chosen."""

import json
from collections.abc import Callable, Mapping
from operator import methodcaller
from typing import Any, Final, TypeVar, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from processor.domain.record import FIRST_ATTEMPT, Headers, RecordPosition, SourceRecord, Topic
from processor.errors import UsageError
from processor.kafka.errors import Connection, error_of
from processor.settings import Settings

Properties = dict[str, Any]
T = TypeVar("T")

SESSION_TIMEOUT_MS: Final = 10_000  # of a reader too: what an operator sets beside it was checked against this
COORDINATOR_SETTLED_MS: Final = 6_000  # heartbeats come every 5 s (group.consumer.heartbeat.interval.ms)

MAX_RECEIVE_BYTES: Final = 1_000_000_000
"""A batch that unpacks to more stops its partition; up to here a record that is too large becomes a dead letter. It is
allocated for such a batch alone: what is fetched ahead is bounded by `queued.max.messages.kbytes`."""


class Admin(AdminClient):
    """An admin client that knows why it has no connection."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        self.connection = Connection("admin", logs_errors=False)
        own: Properties = {**properties, "error_cb": self.connection, "logger": self.connection}
        super().__init__(own)


class Reader(Consumer):
    """A consumer outside of any group, which knows why it has no connection."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        self.connection = Connection("reader", logs_errors=False)
        super().__init__({**properties, "error_cb": self.connection, "logger": self.connection})


def headers_of(message: Message) -> Headers:
    """The headers of a record that was read. Its values are bytes or null, though the client's type says more.

    ValueError when a name is not UTF-8, as Kafka requires: confluent-kafka 2.16.1 then returns with an exception set,
    and must not be called again for the record. Only a call from C notices that at once, as SystemError: Python's own
    calls are let through, and the next one that is checked fails, wherever it is (seen with 3.11.2).
    """
    try:
        headers = _call_headers(message)
    except (SystemError, UnicodeDecodeError) as error:
        raise ValueError("the name of a header is not UTF-8") from error
    return cast(Headers, tuple(headers)) if headers else ()


_call_headers: Final = methodcaller("headers")  # calls from C


_new = tuple.__new__  # in a third of the time of the classes' own, for each record


def source_record(message: Message, topic: Topic) -> SourceRecord:
    """A record of `topic` as it was read; headers that cannot be read become a dead letter.

    The message has a text of its own for the topic, which would be kept, and hashed, with each record.
    """
    headers_error = ""
    try:
        headers = headers_of(message)
    except ValueError as error:
        headers, headers_error = (), str(error)
    partition, offset = message.partition(), message.offset()
    assert partition is not None and offset is not None, "a record that was read has its place"
    position = _new(RecordPosition, (topic, partition, offset))
    fields = (position, message.timestamp()[1], message.key(), message.value(), headers, headers_error, FIRST_ATTEMPT)
    return _new(SourceRecord, fields)


def common_properties(settings: Settings) -> Properties:
    """What every client has: servers, and what people passed through.

    librdkafka's own lines are kept to the critical ones: its errors come to `error_cb`. No request creates a topic: a
    broker that creates topics by itself would use its own defaults.
    """
    return {
        "bootstrap.servers": settings.bootstrap_servers,
        "client.id": "processor",
        "log_level": 2,
        **settings.kafka.common,
        "allow.auto.create.topics": False,  # which a producer does unless it is switched off
    }


def consumer_properties(settings: Settings) -> Properties:
    """The consumer of `run`.

    `fetch.queue.backoff.ms` defaults to a second and costs a factor of three in throughput; the metadata is refreshed
    often, so that a new partition is seen within seconds. The whole group waits for a member that was killed until its
    session ends: 10 s, not the default's 45. `auto.offset.reset=error`: where a partition starts is decided by us
    (engine/start_offsets.py).
    """
    properties: Properties = {
        "fetch.wait.max.ms": 50,
        "fetch.queue.backoff.ms": 5,
        "queued.min.messages": 20_000,
        "queued.max.messages.kbytes": 16_384,
        "topic.metadata.refresh.interval.ms": 10_000,
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": SESSION_TIMEOUT_MS,
        "receive.message.max.bytes": MAX_RECEIVE_BYTES,
        **common_properties(settings),
        **settings.kafka.consumer,
        "group.id": settings.group_id,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
    }
    if properties.get("group.protocol") == "consumer":
        for name in ("partition.assignment.strategy", "session.timeout.ms"):
            del properties[name]  # the broker assigns and ends sessions (KIP-848); librdkafka refuses these settings
    return properties


def producer_properties(
    settings: Settings, *, transactional_id: str, largest_record_bytes: int, smallest_limit_bytes: int
) -> Properties:
    """The producer of one instance. Only failed deliveries are reported: the commit waits for all the others.

    `batch.size` is at most the smallest `max.message.bytes` of our outputs, as librdkafka does not split a batch that
    a topic refuses. `retry.backoff.ms`: a transaction's first request is put off while the markers of the one before
    are written (CONCURRENT_TRANSACTIONS), and librdkafka's 100 ms would be the latency's tail; it doubles with each
    retry. `topic.metadata.propagation.max.ms`: what is sent to a topic that was deleted fails after 2 s, not after the
    whole transaction's time; for a new topic that not every broker knows yet the publisher retries.
    """
    return {
        "linger.ms": 1,
        "retry.backoff.ms": 10,
        "compression.type": "lz4",
        "queue.buffering.max.messages": 200_000,
        "queue.buffering.max.kbytes": 131_072,
        "topic.metadata.refresh.interval.ms": 10_000,
        "topic.metadata.propagation.max.ms": 2_000,
        **common_properties(settings),
        **settings.kafka.producer,
        "transactional.id": transactional_id,
        "transaction.timeout.ms": settings.transaction_timeout_ms,
        "delivery.report.only.error": True,
        "message.max.bytes": largest_record_bytes,
        "batch.size": min(1_000_000, smallest_limit_bytes),
    }


def create_admin(settings: Settings) -> Admin:
    """For requests about topics, offsets and groups; connects with the first. UsageError as `create_consumer`."""
    return _create(Admin, common_properties(settings))


def standalone_consumer(
    settings: Settings,
    *,
    group: str | None = None,
    isolation: str = "read_committed",
    more: Mapping[str, Any] | None = None,
) -> Reader:
    """A consumer that joins no group and commits nothing: for reading topics, and the offsets of `group`."""
    return _create(
        Reader,
        {
            "fetch.queue.backoff.ms": 5,
            "queued.max.messages.kbytes": 16_384,  # instead of 64 MB; what reads a range has less (read_range.py)
            "receive.message.max.bytes": MAX_RECEIVE_BYTES,
            "session.timeout.ms": SESSION_TIMEOUT_MS,
            **common_properties(settings),
            **settings.kafka.consumer,
            "group.protocol": "classic",
            "group.id": group or f"{settings.group_id}-reader",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "isolation.level": isolation,
            **(more or {}),
        },
    )


OnFailure = Callable[[KafkaError, str], None]
"""Called with why a delivery failed, and the topic."""


def create_producer(properties: Mapping[str, Any], *, on_failure: OnFailure) -> Producer:
    """A producer whose failed deliveries come to `on_failure`, within poll and commit. As `create_consumer`."""

    def on_delivery(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            on_failure(error, message.topic() or "")

    return create_plain_producer({**properties, "on_delivery": on_delivery})


def create_plain_producer(properties: Mapping[str, Any]) -> Producer:
    """A producer whose connection errors and own lines are logged. UsageError as `create_consumer`."""
    connection = Connection("producer", logs_errors=True)
    return _create(Producer, {**properties, "error_cb": connection, "logger": connection})


class CoordinatorMonitor:
    """The state of a group's coordinator, from the consumer's statistics, which come within `poll`.

    The only sign of life of a KIP-848 member that gets no partition. A request for the group's members needs an admin
    client, which ends the process (an assertion of librdkafka 2.16.1) while the coordinator is away.
    """

    def __init__(self) -> None:
        self.is_up = False  #: The coordinator is there, and has been for some heartbeats.

    def __call__(self, statistics: str) -> None:
        group = json.loads(statistics).get("cgrp", {})
        self.is_up = group.get("state") == "up" and group.get("stateage", 0) >= COORDINATOR_SETTLED_MS


def create_consumer(properties: Mapping[str, Any], *, coordinator: CoordinatorMonitor | None = None) -> Consumer:
    """The consumer of `run`. Raises UsageError for properties that do not go together."""
    statistics = {"statistics.interval.ms": 1_000, "stats_cb": coordinator} if coordinator is not None else {}
    connection = Connection("consumer", logs_errors=True)
    return _create(Consumer, {**properties, **statistics, "error_cb": connection, "logger": connection})


def _create(kind: Callable[[Properties], T], properties: Properties) -> T:
    try:
        return kind(properties)
    except KafkaException as exception:
        raise UsageError(
            f"librdkafka refuses the properties of the {kind.__name__.lower()}: {error_of(exception).str()}",
            hint="PROCESSOR_KAFKA__COMMON, __CONSUMER and __PRODUCER pass properties on",
        ) from exception
