"""What of an events partition is in its outputs already: read back from statuses, decisions and dead letters."""

from collections.abc import Callable, Iterator

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from processor.engine.clients import error_of, headers_of, plain_reader, refuse_unauthorised
from processor.errors import RefusedInputError
from processor.mapping.encode import dead_letter_of
from processor.mapping.lookups import UnavailableError
from processor.mapping.outputs import decision_of, status_of
from processor.mapping.schemas import Schemas
from processor.model.layout import Layout, OutputTopic
from processor.model.records import Place, Topic
from processor.settings import Settings

PATIENCE_S = 30.0
REQUEST_S = 10.0


def highest_source(
    settings: Settings,
    schemas: Schemas,
    layout: Layout,
    partition: int,
    *,
    range_of: Callable[[Topic], tuple[int, int]],
    first_is_enough: bool,
) -> int | None:
    """The highest source offset of `partition` found in its twins; None when no record there has it as its source.

    Reads as `read_committed` up to the high watermark, so open transactions are waited for: `range_of` a topic gives
    the first offset of `partition` there and the end, as `read_uncommitted` has it. With `first_is_enough` the first
    hit is returned, not the highest. Blocks while it reads; raises UnavailableError when nothing comes for 30 s,
    NotAllowedError when a twin must not be read, and RefusedInputError for a record that cannot be read: what it stands
    for would be published again.
    """
    events = settings.topic("events")
    highest: int | None = None
    reader = plain_reader(settings, more={"enable.partition.eof": True})
    try:
        for topic in (layout.status, layout.decisions, layout.dead_letters):
            for message in _all(reader, topic, partition, *range_of(topic.name)):
                source = _source(message, topic, layout, schemas)
                if source is not None and (source.topic, source.partition) == (events, partition):
                    highest = max(source.offset, -1 if highest is None else highest)
                    if first_is_enough:
                        return highest
    except KafkaException as exception:
        refuse_unauthorised(
            error_of(exception),
            hint=f"grant READ on {layout.status.name}, {layout.decisions.name} and {layout.dead_letters.name}",
        )
        raise UnavailableError(f"reading outputs: {exception}") from exception
    finally:
        reader.close()
    return highest


def written_sets(settings: Settings, layout: Layout) -> frozenset[str]:
    """The keys that the topic of template sets has, below any open transaction; blocks while it reads. A set that is
    written twice is the same record twice.

    Raises NotAllowedError when reading is refused, UnavailableError when the broker does not answer.
    """
    reader = plain_reader(settings, more={"enable.partition.eof": True})
    topic = layout.template_sets
    try:
        low, high = reader.get_watermark_offsets(TopicPartition(topic.name, 0), REQUEST_S)
        return frozenset(
            (message.key() or b"").decode(errors="replace") for message in _all(reader, topic, 0, low, high)
        )
    except KafkaException as exception:
        refuse_unauthorised(error_of(exception), hint=f"grant READ on {topic.name}")
        raise UnavailableError(f"reading template sets: {exception}") from exception
    finally:
        reader.close()


def _all(reader: Consumer, topic: OutputTopic, partition: int, low: int, high: int) -> Iterator[Message]:
    if low >= high:
        return
    reader.assign([TopicPartition(topic.name, partition, low)])
    while True:
        message = reader.poll(PATIENCE_S)
        if message is None:
            raise UnavailableError(f"{topic.name}[{partition}] cannot be read to its end: a transaction is open there")
        error = message.error()
        if error is None:
            yield message
        elif not _at_end(message):
            raise KafkaException(error)
        (at,) = reader.position([TopicPartition(topic.name, partition)])
        end = message.offset() if error is not None else at.offset
        if end is not None and end >= high:
            return


def _at_end(message: Message) -> bool:
    error = message.error()
    return error is not None and error.name() == "_PARTITION_EOF"


def _source(message: Message, topic: OutputTopic, layout: Layout, schemas: Schemas) -> Place | None:
    """The source that the record's value or, for a dead letter, its headers name."""
    value = message.value()
    try:
        if topic is layout.dead_letters:
            return dead_letter_of(key=message.key(), value=value, headers=headers_of(message)).place
        if not value:
            return None
        read = status_of if topic is layout.status else decision_of
        return read(value, headers_of(message), schemas=schemas).source
    except ValueError as error:
        raise RefusedInputError(
            f"{topic.name}[{message.partition()}]@{message.offset()} cannot be read, so nobody can say which events "
            f"were published: {error}",
            hint="a newer version may have written it; `--start-from beginning`, `end` or a time starts without asking",
        ) from error
