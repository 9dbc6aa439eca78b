"""The producer of events: what a sender of the input topic needs, with keys on the partitions where Java puts them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import ConfigResource, ResourceType

from processor.domain.record import Headers, Topic
from processor.errors import AuthorizationError, TopicConfigError
from processor.kafka.clients import (
    AUTHORIZATION_ERRORS,
    admin,
    common_properties,
    error_of,
    plain_producer,
    refuse_hidden,
    unreachable,
)
from processor.settings import Settings

_REQUEST_TIMEOUT_S: Final = 10.0


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
    return plain_producer(
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
    with admin(settings) as client:
        try:
            # All topics: a request for one by name could create it, where the broker's auto.create.topics is on.
            if topic not in client.list_topics(timeout=_REQUEST_TIMEOUT_S).topics:
                refuse_hidden(client, [topic], within_s=_REQUEST_TIMEOUT_S)
                raise TopicConfigError(f"there is no topic {topic}", hint="`processor topics --create`")
            resource = ConfigResource(ResourceType.TOPIC, topic)
            configs = client.describe_configs([resource], request_timeout=_REQUEST_TIMEOUT_S)
            return int(str(configs[resource].result()["max.message.bytes"].value))
        except KafkaException as exception:
            error = error_of(exception)
            if error.code() in AUTHORIZATION_ERRORS:
                raise AuthorizationError(
                    f"not allowed: {error.name()}: {error.str()}",
                    hint=f"grant WRITE, DESCRIBE and DESCRIBE_CONFIGS on {topic}",
                ) from exception
            raise unreachable(settings, client, error) from exception


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
