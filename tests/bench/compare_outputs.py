"""What a contender has written against what the reference path makes of the same events, value by value.

Headers are not compared, nor what follows the first events: it is enough to see that the same work was done.
"""

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import mean
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, TopicPartition
from fastavro import schemaless_reader

from processor.domain.outcome import Processed
from processor.domain.output_topics import MESSAGE, STATUS, STREAM_EVENT, OutputTopic
from processor.domain.record import Topic
from processor.domain.template import TemplateSet
from processor.wire.encode import OutputEncoder
from processor.wire.framing import FRAME_BYTES
from processor.wire.reader_schemas import Schemas
from processor.wire.wire_format import WireFormat
from tests.bench.load import EVENT, Load
from tests.support.builders import make_context, make_output_topics, map_record
from tests.support.clients import logged

READ_TIMEOUT_S: Final = 60.0
LIMIT_BYTES: Final = 999_000
ANY_STREAM: Final = OutputTopic(Topic("bench-00-a-contender.streams.loan_repayment"), 1, LIMIT_BYTES)
"""Its name is about as long as real ones, and is replaced by them."""


class Kind(StrEnum):
    """An output of an event, in the order in which they are published."""

    MESSAGE = "message"
    STATUS = "status"
    STREAM = "stream event"


SCHEMAS: Final[Mapping[Kind, str]] = {Kind.MESSAGE: MESSAGE, Kind.STATUS: STATUS, Kind.STREAM: STREAM_EVENT}

Place = tuple[Kind, int]  # with the partition
KeyAndValue = tuple[bytes | None, bytes | None]
Records = Mapping[Place, Sequence[KeyAndValue]]
Check = Callable[[Kind, "ExpectedOutput", KeyAndValue], str | None]  # what is wrong with a record, if anything


@dataclass(frozen=True, slots=True)
class ExpectedOutput:
    """What the reference path makes of one event, `event` being that event's bytes. Its stream is `ANY_STREAM`."""

    event: bytes
    key: bytes
    value: bytes
    fields: Mapping[str, Any]


class ReferenceOutputs:
    """What the reference path makes of the first events of a load: for each of them one output of each kind."""

    def __init__(self, load: Load, *, schemas: Schemas, templates: TemplateSet, events: Topic, count: int) -> None:
        """The events are those of the topic `events`. Takes a second or two for 2,000."""
        self._schemas = schemas
        partitions = range(load.partitions)
        self._outputs: dict[Place, list[ExpectedOutput]] = {(kind, at): [] for kind in Kind for at in partitions}
        topics = make_output_topics(partitions=load.partitions)
        stream = replace(ANY_STREAM, partitions=load.partitions)
        context = make_context(
            templates=templates,
            output_topics=replace(topics, streams={EVENT: stream}),
            encode=OutputEncoder(schemas, stream_format=WireFormat.AVRO),
        )
        for number in range(count):
            source = load.source_record(number, events)
            outcome = map_record(source, context)
            assert isinstance(outcome, Processed), outcome
            for kind, output in zip(Kind, outcome.outputs, strict=True):
                value = output.value or b""
                expected = ExpectedOutput(
                    source.value or b"", output.key or b"", value, decode_output(kind, value, schemas)
                )
                self._outputs[kind, source.position.partition].append(expected)

    def counts(self, positions: Sequence[int]) -> dict[Place, int]:
        """How many outputs to compare: of the first events, as far as a group has come in each partition."""
        return {place: min(len(outputs), positions[place[1]]) for place, outputs in self._outputs.items()}

    @property
    def sizes(self) -> tuple[int, ...]:
        """The length of the values of each kind, on average."""
        return tuple(
            round(
                mean(
                    len(output.value)
                    for (its, _), outputs in self._outputs.items()
                    if its is kind
                    for output in outputs
                )
            )
            for kind in Kind
        )

    def difference(self, records: Records, counts: Mapping[Place, int], *, stream: Topic) -> str | None:
        """The first difference of a contender's records, whose stream events go to `stream`; None: there is none.

        `counts` says how many there have to be.
        """

        def check(kind: Kind, expected: ExpectedOutput, record: KeyAndValue) -> str | None:
            key, value = record
            if key != expected.key:
                return f"key {key!r}, expected {expected.key!r}"
            try:
                fields = decode_output(kind, value or b"", self._schemas)
            except ValueError as error:
                return str(error)
            changed = {"destination": str(stream)} if kind is Kind.MESSAGE else {}
            return next(value_differences({**expected.fields, **changed}, fields), None)

        return first_difference(self.outputs(counts), records, check)

    def copy_difference(self, records: Records, counts: Mapping[Place, int], *, sizes: Sequence[int]) -> str | None:
        """The same of a contender that copies: a value is the bytes of its event, as often as its length takes."""
        size_of = dict(zip(Kind, sizes, strict=True))

        def check(kind: Kind, expected: ExpectedOutput, record: KeyAndValue) -> str | None:
            size = size_of[kind]
            copied = (expected.event * (size // len(expected.event) + 1))[:size]
            return None if record[1] == copied else f"not the first {size} bytes of its event"

        return first_difference(self.outputs(counts), records, check)

    def outputs(self, counts: Mapping[Place, int]) -> dict[Place, list[ExpectedOutput]]:
        """So many of them, each those of the first events of a partition."""
        return {place: outputs[: counts[place]] for place, outputs in self._outputs.items()}


def first_difference(expected: Mapping[Place, Sequence[ExpectedOutput]], records: Records, check: Check) -> str | None:
    """The first difference that `check` finds, with its place, or a number of records that is not the expected one."""
    for (kind, partition), outputs in expected.items():
        found = records.get((kind, partition), ())
        for offset, (output, record) in enumerate(zip(outputs, found, strict=False)):
            if difference := check(kind, output, record):
                return f"{kind} of event {partition}:{offset}: {difference}"
        if len(found) != len(outputs):
            return f"{len(found)} records of kind {kind} in partition {partition}, expected {len(outputs)}"
    return None


def decode_output(kind: Kind, value: bytes, schemas: Schemas) -> dict[str, Any]:
    """The fields of an output, by fastavro. ValueError for bytes that are none."""
    schema = schemas.outputs[SCHEMAS[kind]]
    if value[:FRAME_BYTES] != schema.frame:
        raise ValueError(f"framed by {value[:FRAME_BYTES].hex()}, expected {schema.frame.hex()}")
    stream = io.BytesIO(value[FRAME_BYTES:])
    try:
        fields = schemaless_reader(stream, schema.parsed, None)
    except (EOFError, IndexError, ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"not Avro: {error!r}") from error
    if rest := stream.read():
        raise ValueError(f"{len(rest)} bytes behind its end")
    assert isinstance(fields, dict)
    return fields


def value_differences(expected: Any, actual: Any, path: str = "") -> Iterator[str]:
    """Where two decoded values differ."""
    if isinstance(expected, dict) and isinstance(actual, dict) and expected.keys() == actual.keys():
        for name in expected:
            yield from value_differences(expected[name], actual[name], f"{path}.{name}".lstrip("."))
    elif expected != actual or type(expected) is not type(actual):
        yield f"{path} is {actual!r}, expected {expected!r}"


def read_outputs(
    servers: str, topics: Mapping[Kind, Topic], counts: Mapping[Place, int], *, one_more: bool = False
) -> dict[Place, list[KeyAndValue]]:
    """So many records of each kind and partition as a `read_committed` reader sees them, or all that there are.

    `one_more`: one record too many is read too, where there is one. Blocks, at most for a minute.
    """
    consumer = Consumer(
        logged(
            {
                "bootstrap.servers": servers,
                "group.id": "bench-compare",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "fetch.queue.backoff.ms": 5,
            }
        )
    )
    place_of = {(topics[kind], partition): (kind, partition) for kind, partition in counts}
    records: dict[Place, list[KeyAndValue]] = {place: [] for place in counts}
    unread = set(counts)
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for topic, partition in place_of])
        deadline = time.monotonic() + READ_TIMEOUT_S
        while unread and time.monotonic() < deadline:
            for message in consumer.consume(1000, 0.1):
                place = place_of[Topic(message.topic() or ""), message.partition() or 0]
                if error := message.error():
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    unread.discard(place)
                elif len(records[place]) < counts[place] + one_more:
                    records[place].append((message.key(), message.value()))
                    if len(records[place]) == counts[place] + one_more:
                        unread.discard(place)
        return records
    finally:
        consumer.close()
