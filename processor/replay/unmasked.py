"""The record that a person is about to be shown customers' data: on the operations topic before it is on the screen."""

import socket
from collections.abc import Collection
from typing import Final

from confluent_kafka import KafkaError, Message

from processor.domain.operation_record import UnmaskedRecord
from processor.domain.output_topics import FixedOutput, OutputTopic
from processor.errors import DependencyError, TopicConfigError
from processor.kafka.clients import common_properties, create_admin, create_plain_producer
from processor.kafka.errors import exit_on_broker_errors, raise_if_unauthorized
from processor.kafka.topic_state import describe_topics
from processor.replay.operation_log import now_ms
from processor.settings import Settings
from processor.wire.operations import unmasked_out_record

DELIVERY_TIMEOUT_S: Final = 10.0
_GRACE_S: Final = 2.0  # for the client to give up a delivery that has timed out


def record_unmasked(
    settings: Settings, partitions: Collection[int], *, command: str, by: str, because: str | None = None
) -> None:
    """Record that `by` is shown customers' data of these partitions by `command`. Blocks until the broker has it.

    Whoever calls this shows nothing before it returns. Raises DependencyError when the broker does not respond or does
    not take a record, AuthorizationError when it refuses, TopicConfigError when the topic or its partition is missing.
    """
    if not partitions:
        return
    topic = _operations_topic(settings, max(partitions))
    unmasked = UnmaskedRecord(command=command, by=by, because=because, host=socket.gethostname(), at_ms=now_ms())
    failures: list[KafkaError] = []

    def on_delivery(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failures.append(error)

    producer = create_plain_producer(
        {
            **common_properties(settings),
            **settings.kafka.producer,
            "enable.idempotence": True,
            "message.timeout.ms": int(DELIVERY_TIMEOUT_S * 1000),
        }
    )
    for partition in sorted(partitions):
        out = unmasked_out_record(unmasked, topic, partition=partition)
        producer.produce(
            out.topic, out.value, out.key, out.partition, headers=list(out.headers), on_delivery=on_delivery
        )
    waiting = producer.flush(DELIVERY_TIMEOUT_S + _GRACE_S)
    for failure in failures:
        raise_if_unauthorized(failure, hint=f"grant WRITE on {topic.name}: who sees customers' data is recorded there")
    if failures or waiting:
        cause = f"{failures[0].name()}: {failures[0].str()}" if failures else "the broker did not respond"
        raise DependencyError(
            f"{topic.name} did not take the record of what was to be shown: {cause}",
            hint="nothing is shown; without --unmasked nothing has to be recorded",
        )


def _operations_topic(settings: Settings, highest_partition: int) -> OutputTopic:
    """The topic, which has that partition. Blocks for two requests; raises as `record_unmasked`."""
    name = settings.topic(FixedOutput.OPERATIONS)
    admin = create_admin(settings)
    with exit_on_broker_errors(settings, admin, hint=f"grant DESCRIBE, DESCRIBE_CONFIGS and WRITE on {name}"):
        existing = describe_topics(admin, (name,))
    if name not in existing:
        raise TopicConfigError(f"topics are missing: {name}", hint="`processor topics --create`")
    topic = existing[name]
    if highest_partition >= topic.partitions:
        raise TopicConfigError(
            f"{name} has no partition {highest_partition}", hint="`processor topics` names the command to grow it"
        )
    return OutputTopic(name, topic.partitions, topic.max_message_bytes)
