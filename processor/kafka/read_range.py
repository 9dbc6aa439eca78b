"""Read a range of a partition, outside of any group."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from processor.domain.record import Topic
from processor.errors import UnavailableError
from processor.kafka.clients import standalone_consumer
from processor.kafka.errors import (
    AUTHORIZATION_ERRORS,
    FETCH_ADVICE,
    error_of,
    fetch_error_text,
    is_partition_error,
    raise_if_unauthorized,
)
from processor.settings import Settings

OPEN_TRANSACTION_TIMEOUT_S: Final = 30.0


class UnpackError(UnavailableError):
    """A batch cannot be unpacked; `str` names its place."""


@contextmanager
def open_reader(settings: Settings, *, hint: str, isolation: str = "read_committed") -> Iterator[Consumer]:
    """A consumer outside of the group, for `read_range`. UnavailableError and AuthorizationError for the broker's."""
    reader = standalone_consumer(settings, isolation=isolation, more={"enable.partition.eof": True})
    try:
        yield reader
    except KafkaException as exception:
        raise_if_unauthorized(error_of(exception), hint=hint)
        raise UnavailableError(f"topics cannot be read: {exception}") from exception
    finally:
        reader.close()


def read_range(reader: Consumer, topic: Topic, partition: int, low: int, end: int) -> Iterator[Message]:
    """The records at offsets [low, end) of a partition; blocks. UnavailableError when nothing comes for 30 s or the
    broker does not give them, UnpackError for a batch that cannot be unpacked."""
    if low >= end:
        return
    reader.assign([TopicPartition(topic, partition, low)])
    while True:
        message = reader.poll(OPEN_TRANSACTION_TIMEOUT_S)
        if message is None:
            raise UnavailableError(f"{topic}[{partition}] cannot be read to its end: a transaction is open there")
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            if error.code() in AUTHORIZATION_ERRORS or not is_partition_error(message):
                raise KafkaException(error)
            cause = fetch_error_text(message)
            raise UnpackError(cause) if error.code() in FETCH_ADVICE else UnavailableError(cause)
        offset = message.offset()
        assert offset is not None, "a record and an end have their offset"
        if error is None and offset < end:
            yield message
        next_offset = offset if error is not None else offset + 1
        if next_offset >= end:
            return
