"""Read a range of a partition, outside of any group: in order, or from its end back."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from processor.domain.record import RecordPosition, Topic
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

T = TypeVar("T")

_READER_PROPERTIES: Final = {
    "enable.partition.eof": True,
    "fetch.wait.max.ms": 10,  # the end is known when a fetch comes back empty, by default after 500 ms
    "queued.max.messages.kbytes": 4_096,  # of each reader, and start offsets of eight partitions are resolved at once
}
OPEN_TRANSACTION_TIMEOUT_S: Final = 30.0
MAX_CONSUME_RECORDS: Final = 50  # of what is fetched, at once: a batch may unpack to many times its size
METADATA_TIMEOUT_S: Final = 1.0  # no longer than librdkafka waits by itself
_FIRST_NEWEST_OFFSETS: Final = 500  # what is looked for lies near the end, and all that is found is kept
FIRST_CHUNK_OFFSETS: Final = 20_000  # read back at first: 10,000 records with a message and a marker each; then doubled


class UnpackError(UnavailableError):
    """A batch cannot be unpacked; `str` names its place."""


class StalledReadError(UnavailableError):
    """Nothing came for so long. `position` is what would have come next; `description` says it with place and time."""

    def __init__(self, position: RecordPosition, *, waited_s: float, in_transaction: bool) -> None:
        place = f"{position.topic}[{position.partition}]"
        super().__init__(f"{place} cannot be read to its end: a transaction is open there")
        self.position = position
        cause = "a transaction is open there, and was not ended" if in_transaction else "the broker gave no record"
        self.description = f"{position} cannot be read: {cause} for {waited_s:.0f} s"


@contextmanager
def open_reader(settings: Settings, *, hint: str, isolation: str = "read_committed") -> Iterator[Consumer]:
    """A consumer outside of the group, for `read_range`. UnavailableError and AuthorizationError for the broker's."""
    reader = standalone_consumer(settings, isolation=isolation, more=_READER_PROPERTIES)
    try:
        yield reader
    except KafkaException as exception:
        raise_if_unauthorized(error_of(exception), hint=hint)
        raise UnavailableError(f"topics cannot be read: {exception}") from exception
    finally:
        reader.close()


def read_range(reader: Consumer, topic: Topic, partition: int, low: int, end: int) -> Iterator[Message]:
    """The records at offsets [low, end) of a partition; blocks. StalledReadError when nothing comes for 30 s,
    UnavailableError when the broker does not give them, UnpackError for a batch that cannot be unpacked."""
    if low >= end:
        return
    _fetch_metadata(reader, topic)
    reader.assign([TopicPartition(topic, partition, low)])
    next_offset, is_at_end = low, False
    while True:
        messages = _poll(reader)
        if not messages:
            raise StalledReadError(
                RecordPosition(topic, partition, next_offset),
                waited_s=OPEN_TRANSACTION_TIMEOUT_S,
                in_transaction=is_at_end,
            )
        while messages:
            message = messages.popleft()
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
            # Below `end` the end of what can be read now is where a transaction is open.
            next_offset, is_at_end = (offset, True) if error is not None else (offset + 1, False)
            if next_offset >= end:
                return


def _poll(reader: Consumer) -> deque[Message]:
    """What has come, waiting for the first; empty when nothing comes for 30 s."""
    first = reader.poll(OPEN_TRANSACTION_TIMEOUT_S)
    return deque() if first is None else deque([first, *reader.consume(MAX_CONSUME_RECORDS, 0)])


def _fetch_metadata(reader: Consumer, topic: Topic) -> None:
    """Have the reader know the leaders of a topic that it has not read last.

    librdkafka 2.16.1 looks for the leaders of topics that are new to a client once a second, so each of them would wait
    for up to a second. That the broker does not respond shows when the topic is read.
    """
    if all(assigned.topic != topic for assigned in reader.assignment()):
        with suppress(KafkaException):
            reader.list_topics(topic, METADATA_TIMEOUT_S)


def chunks_back(begin: int, end: int, *, first_offsets: int = FIRST_CHUNK_OFFSETS) -> Iterator[tuple[int, int]]:
    """Offsets [begin, end) in ranges [low, high), the last one first, each twice as long as the one before."""
    size = first_offsets
    while begin < end:
        low = max(begin, end - size)
        yield low, end
        end, size = low, 2 * size


def newest_first(
    reader: Consumer,
    topic: Topic,
    partition: int,
    *,
    begin: int,
    end: int,
    read: Callable[[Message], T | None],
) -> Iterator[tuple[RecordPosition, T]]:
    """What `read` makes of the records at offsets [begin, end), with their positions, the newest first.

    Reads back in doubled steps, the first of a few hundred offsets, so what is near the end comes soon; keeps what one
    step found. Records of which `read` makes None are passed over, those without a value too. Blocks and raises as
    `read_range`; what `read` raises passes through, a ValueError with the record's position in front.
    """
    for low, high in chunks_back(begin, end, first_offsets=_FIRST_NEWEST_OFFSETS):
        found: list[tuple[RecordPosition, T]] = []
        for message in read_range(reader, topic, partition, low, high):
            position = RecordPosition(topic, partition, message.offset() or 0)
            try:
                value = read(message) if message.value() else None
            except ValueError as error:
                raise ValueError(f"{position} cannot be read: {error}") from error
            if value is not None:
                found.append((position, value))
        yield from reversed(found)
