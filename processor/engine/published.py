"""What became of the records of an events partition, as its outputs say: statuses, decisions and dead letters.

A function of the outputs alone, never of what can be decoded today: a schema that comes or goes, or another key check,
changes nothing of what was published.

Non-obvious: outputs of one source partition lie in the order of their sources (a later status of a message would not),
so a topic is read from its end back to the first that is old enough. A position that was set back by a person begins a
second pass behind the first; reading on until an older source is found takes in both.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from processor.engine.clients import (
    AUTHORISATION,
    FETCH_ADVICE,
    error_of,
    fetch_fault,
    headers_of,
    is_of_partition,
    plain_reader,
    refuse_unauthorised,
)
from processor.errors import RefusedInputError
from processor.mapping.encode import dead_letter_source
from processor.mapping.lookups import SchemaOf, UnavailableError
from processor.mapping.outputs import source_reader
from processor.mapping.schemas import DECISION, STATUS, Schemas
from processor.model.layout import Layout, OutputTopic
from processor.model.outcome import SourceOutcome
from processor.model.records import Headers, Topic
from processor.settings import Settings

log = structlog.get_logger()

OPEN_TRANSACTION_TIMEOUT_S: Final = 30.0
REQUEST_S: Final = 10.0
CHUNK_OFFSETS: Final = 20_000  # read back at first: a window of 10,000 with a message and a marker each; then doubled

RangeOf = Callable[[Topic], tuple[int, int]]
"""The first offset of the partition in a topic, and its end as `read_uncommitted` has it. Blocks."""


class UnpackError(UnavailableError):
    """A batch cannot be unpacked; `str` names its place."""


class OutcomeReader:
    """Reads the outputs of one events partition. Blocks in each method; for use by one thread.

    All methods read as `read_committed` up to the end that `range_of` gives, so open transactions are waited for. They
    raise UnavailableError when nothing comes for 30 s, a batch cannot be unpacked or the broker does not answer, and
    NotAllowedError when reading an output is refused.
    """

    def __init__(
        self,
        settings: Settings,
        schemas: Schemas,
        layout: Layout,
        partition: int,
        *,
        schema_of: SchemaOf,
        range_of: RangeOf,
    ) -> None:
        """`schema_of` also finds schemas of outputs that were registered after we started."""
        self._settings = settings
        self._events = settings.topic("events")
        self._partition = partition
        self._range_of = range_of
        self._topics = (layout.status, layout.decisions, layout.dead_letters)
        self._dead_letters = layout.dead_letters.name
        status = source_reader(STATUS, schemas=schemas, schema_of=schema_of)
        decision = source_reader(DECISION, schemas=schemas, schema_of=schema_of)
        self._read: Mapping[Topic, Callable[[bytes, Headers], SourceOutcome]] = {
            layout.status.name: status,
            layout.decisions.name: decision,
            layout.dead_letters.name: lambda _value, headers: dead_letter_source(headers),
        }

    def highest_offset(self, *, first_is_enough: bool) -> int | None:
        """The highest source offset that is found; None when no output has a record of the partition as its source.

        With `first_is_enough` the first one is returned, not the highest. Raises RefusedInputError for a record that
        cannot be read: what it stands for would be published again.
        """
        highest: int | None = None
        with self._reader() as reader:
            for topic in self._topics:
                for message in read_range(reader, topic.name, self._partition, *self._range_of(topic.name)):
                    outcome = self._outcome(message)
                    if outcome is not None:
                        highest = max(outcome.source.offset, -1 if highest is None else highest)
                        if first_is_enough:
                            return highest
        return highest

    def between(self, first: int, end: int) -> dict[int, SourceOutcome]:
        """By source offset, in order, what became of the records at offsets [first, end).

        Where outputs differ (a record that was mapped again after a position was set back), one that has an event wins.
        A record that cannot be read is passed over and logged: it is none of ours, or of a version that cannot be read
        yet, and one foreign record must not keep a partition from being mapped.
        """
        found: dict[int, SourceOutcome] = {}
        if first >= end:
            return found
        with self._reader() as reader:
            for topic in self._topics:
                for outcome in self._back_to(first, topic, reader):
                    offset = outcome.source.offset
                    if first <= offset < end and (offset not in found or found[offset].event_id is None):
                        found[offset] = outcome
        return dict(sorted(found.items()))

    def _back_to(self, first: int, topic: OutputTopic, reader: Consumer) -> Iterator[SourceOutcome]:
        """All outcomes of `topic` from the end back to one of a source before `first`; in pieces, not in order."""
        low, end = self._range_of(topic.name)
        size = CHUNK_OFFSETS
        while low < end:
            begin = max(low, end - size)
            oldest: int | None = None
            for message in read_range(reader, topic.name, self._partition, begin, end):
                try:
                    outcome = self._outcome(message)
                except RefusedInputError as unreadable:
                    log.error("output cannot be read", cause=str(unreadable))  # noqa: TRY400  the cause is its text
                    continue
                if outcome is not None and not outcome.later:
                    oldest = outcome.source.offset if oldest is None else oldest
                    yield outcome
            if oldest is not None and oldest < first:
                return
            end, size = begin, 2 * size

    def _outcome(self, message: Message) -> SourceOutcome | None:
        """What a record says of its source; None when that is not of our partition. RefusedInputError: not readable."""
        topic, value = Topic(message.topic() or ""), message.value()
        try:
            headers = headers_of(message)
            if not value and topic != self._dead_letters:
                return None
            outcome = self._read[topic](value or b"", headers)
        except ValueError as error:
            raise RefusedInputError(
                f"{topic}[{message.partition()}]@{message.offset()} cannot be read, so nobody can say which events "
                f"were published: {error}",
                hint="a newer version may have written it; `--start-from beginning`, `end` or a time starts without "
                "asking",
            ) from error
        ours = (outcome.source.topic, outcome.source.partition) == (self._events, self._partition)
        return outcome if ours else None

    @contextmanager
    def _reader(self) -> Iterator[Consumer]:
        names = ", ".join(topic.name for topic in self._topics)
        with open_reader(self._settings, hint=f"grant READ on {names}") as reader:
            yield reader


def written_sets(settings: Settings, layout: Layout) -> frozenset[str]:
    """The keys of the template sets that were written, below any open transaction. Blocks while it reads.

    A set that is written twice is the same record twice, so where a batch cannot be unpacked reading ends with a
    warning, and later sets are written again.
    Raises NotAllowedError when reading is refused, UnavailableError when the broker does not answer.
    """
    topic = layout.template_sets
    keys: set[str] = set()
    with open_reader(settings, hint=f"grant READ on {topic.name}") as reader:
        low, high = reader.get_watermark_offsets(TopicPartition(topic.name, 0), REQUEST_S)
        try:
            for message in read_range(reader, topic.name, 0, low, high):
                keys.add((message.key() or b"").decode(errors="replace"))
        except UnpackError as unreadable:
            log.warning("template sets are read in part", cause=str(unreadable))
    return frozenset(keys)


@contextmanager
def open_reader(settings: Settings, *, hint: str) -> Iterator[Consumer]:
    """A consumer outside of the group, for `read_range`. UnavailableError and NotAllowedError for the broker's."""
    reader = plain_reader(settings, more={"enable.partition.eof": True})
    try:
        yield reader
    except KafkaException as exception:
        refuse_unauthorised(error_of(exception), hint=hint)
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
            if error.code() in AUTHORISATION or not is_of_partition(message):
                raise KafkaException(error)
            fault = fetch_fault(message)
            raise UnpackError(fault) if error.code() in FETCH_ADVICE else UnavailableError(fault)
        offset = message.offset()
        assert offset is not None, "a record and an end have their offset"
        if error is None and offset < end:
            yield message
        next_offset = offset if error is not None else offset + 1
        if next_offset >= end:
            return
