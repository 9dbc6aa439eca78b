"""The producer of events: what a sender of the input topic needs, with keys on the partitions where Java puts them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from processor.domain.record import Headers, Topic
from processor.errors import TopicConfigError
from processor.kafka.clients import common_properties, create_admin, create_plain_producer
from processor.kafka.errors import error_of, exit_on_broker_errors
from processor.kafka.topic_state import describe_topics
from processor.settings import Settings


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An event as it goes onto its topic."""

    key: bytes
    value: bytes
    headers: Headers


def event_producer(settings: Settings, *, batch_bytes: int, **fixed: Any) -> Producer:
    """A producer of events: idempotent, and its partitioner is Java's, so that producers of both kinds agree on keys.

    `batch_bytes` is what the topic takes: librdkafka does not split a batch that is refused, so one event that is too
    large would take others with it. `fixed` are properties that settings cannot override.
    """
    return create_plain_producer(
        {
            "linger.ms": 5,
            "compression.type": "lz4",
            "message.timeout.ms": 60_000,
            "partitioner": "murmur2_random",
            **common_properties(settings),
            **settings.kafka.producer,
            "message.max.bytes": max(1_000_000, settings.max_event_bytes + 65_536),
            "batch.size": min(1_000_000, batch_bytes),
            "enable.idempotence": True,
            **fixed,
        }
    )


def batch_limit_bytes(settings: Settings, topic: Topic) -> int:
    """The largest batch that `topic` takes. Blocks for two requests.

    Raises TopicConfigError when there is no such topic, DependencyError when no broker responds, AuthorizationError
    when a request is refused.
    """
    hint = f"grant WRITE, DESCRIBE and DESCRIBE_CONFIGS on {topic}"
    with create_admin(settings) as admin, exit_on_broker_errors(settings, admin, hint=hint):
        existing = describe_topics(admin, [topic])
    if topic not in existing:
        raise TopicConfigError(f"there is no topic {topic}", hint="`processor topics --create`")
    return existing[topic].max_message_bytes


def enqueue(
    producer: Producer,
    topic: Topic,
    record: EventRecord,
    *,
    on_delivery: Callable[[KafkaError | None, Message | None], None],
) -> None:
    """Queue one event. Blocks while the producer's queue is full, which ends at the latest when events time out.

    `on_delivery` gets no message for an event that was refused before it was queued.
    """
    while True:
        try:
            producer.produce(topic, record.value, record.key, headers=list(record.headers), on_delivery=on_delivery)
        except BufferError:
            producer.poll(0.1)
        except KafkaException as exception:  # larger than message.max.bytes
            on_delivery(error_of(exception), None)
            return
        else:
            producer.poll(0)
            return


def wait_until(
    due: float, *, while_waiting: Callable[[float], object], stopped: Callable[[], bool] = lambda: False
) -> None:
    """Block until the monotonic clock says `due`, or until `stopped`; `while_waiting` is given seconds to block for."""
    while (remaining := due - time.monotonic()) > 0 and not stopped():
        if remaining > 0.002:
            while_waiting(min(remaining - 0.001, 0.1))
        else:
            time.sleep(remaining)
