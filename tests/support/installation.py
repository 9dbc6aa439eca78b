"""A real installation for tests: topics of its own prefix, events told, the engine run in this process."""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from processor.cli.topics import create
from processor.domain.event import Event
from processor.domain.record import Topic
from processor.domain.template import TemplateSet
from processor.engine.loop import run
from processor.engine.start_offsets import StartOffsetResolver, StartPolicy
from processor.kafka.topic_state import read_output_topics
from processor.registry.schema_files import load_schemas
from processor.settings import HttpSettings, KafkaSettings, Settings, TopicSettings
from processor.templates.load import read_templates, require_usable
from processor.wire.decode import event_of_json
from processor.wire.encode import encode_event
from processor.wire.schema import Schemas
from tests.support.builders import make_lookups

TENANT = "northbank"


@dataclass(frozen=True, slots=True)
class Installation:
    """One tenant's topics on the tests' broker."""

    settings: Settings
    schemas: Schemas
    templates: TemplateSet

    @property
    def events(self) -> Topic:
        """The input topic."""
        return self.settings.topic("events")

    @property
    def servers(self) -> str:
        """Where the broker is."""
        return self.settings.bootstrap_servers

    def tell(self, given: Iterable[dict[str, Any]], *, partition: int = 0) -> None:
        """Produce events, in Avro, to one partition. Blocks until they are there."""
        producer = Producer({"bootstrap.servers": self.servers, "linger.ms": 5})
        for one in given:
            event = event_of_json(one, self.schemas)
            assert isinstance(event, Event), event
            value, headers = encode_event(event.fields, self.schemas, format="avro")
            producer.produce(self.events, value, event.ordering_key, partition, headers=list(headers))
        assert producer.flush(30) == 0

    def put(self, values: Iterable[bytes], *, partition: int = 0) -> None:
        """Produce any bytes to the events, as `tell`; their key is `key`."""
        producer = Producer({"bootstrap.servers": self.servers, "linger.ms": 5, "message.max.bytes": 1_048_588})
        for value in values:
            producer.produce(self.events, value, "key", partition, on_delivery=_delivered)
        assert producer.flush(30) == 0

    def run(self, *, answer: str | None = None) -> None:
        """Run the engine in this process until the end of the input."""
        run(self.settings, until_end=True, answer=answer)

    def read(self, topic: str, partition: int = 0) -> list[Message]:
        """All that a `read_committed` reader sees of a partition now."""
        return read_partition(self.servers, topic, partition)

    def statuses(self, partition: int = 0) -> list[dict[str, Any]]:
        """The status records of a partition; the installation writes JSON."""
        return [json.loads(message.value() or b"") for message in self.read(self.settings.topic("status"), partition)]

    def decisions(self, partition: int = 0) -> list[dict[str, Any]]:
        """The decisions of a partition."""
        topic = self.settings.topic("decisions")
        return [json.loads(message.value() or b"") for message in self.read(topic, partition)]

    def committed(self, partitions: Sequence[int] = (0,)) -> list[int]:
        """The group's positions; -1001 where it has none. A coordinator that is still loading is asked again."""
        reader = Consumer({"bootstrap.servers": self.servers, "group.id": self.settings.group_id})
        wanted = [TopicPartition(self.events, partition) for partition in partitions]
        deadline = time.monotonic() + 30
        try:
            while True:
                try:
                    return [tp.offset for tp in reader.committed(wanted, 10)]
                except KafkaException:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.2)
        finally:
            reader.close()

    def admin(self) -> AdminClient:
        """For what tests do to topics."""
        return AdminClient({"bootstrap.servers": self.servers})

    def limit(self, topic: Topic, max_message_bytes: int) -> None:
        """Set a topic's max.message.bytes, as `configure`."""
        self.configure(topic, "max.message.bytes", str(max_message_bytes))

    def configure(self, topic: Topic, name: str, value: str) -> None:
        """Set a property of a topic. Blocks until the broker tells it: it does a moment after it has agreed."""
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        admin = self.admin()
        for altered in admin.incremental_alter_configs([resource]).values():
            altered.result(10)

        def told() -> Any:
            (described,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
            return described.result(10)[name].value

        until(lambda: told() == value)


def until(seen: Callable[[], bool], *, patience_s: float = 30) -> None:
    """Wait for what comes a moment later."""
    deadline = time.monotonic() + patience_s
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _delivered(error: KafkaError | None, _message: Message) -> None:
    assert error is None, error


def installation(servers: str, prefix: str, *, partitions: int = 1, **settings: Any) -> Installation:
    """Topics created, nothing in them. `settings` are fields of Settings."""
    schemas = load_schemas()
    templates = require_usable(read_templates(None, tenant=TENANT, schemas=schemas))
    given: dict[str, Any] = {
        "tenant": TENANT,
        "kafka": KafkaSettings(bootstrap_servers=servers),
        "topics": TopicSettings(prefix=prefix),
        "http": HttpSettings(port=0),
        "output": {"format": "json"},
        **settings,
    }
    made = Settings(**given)
    create(made, stream_events=templates.stream_events(), partitions=partitions)
    return Installation(made, schemas, templates)


def starts_of(made: Installation, *, answer: StartPolicy | None = None) -> StartOffsetResolver:
    """What finds the starts of partitions, as a process that starts now has it."""
    return StartOffsetResolver(
        made.settings,
        layout=lambda admin: read_output_topics(admin, made.settings, made.templates),
        context=make_lookups(schemas=made.schemas),
        schemas_of_outputs=made.schemas.local_schema,
        answer=answer,
    )


def read_partition(servers: str, topic: str, partition: int, *, isolation: str = "read_committed") -> list[Message]:
    """All records of a partition up to its end as it is now. An open transaction there is waited for."""
    reader = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "test-reader",
            "enable.auto.commit": False,
            "isolation.level": isolation,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,  # the end is told when the broker has waited in vain for more
            "fetch.queue.backoff.ms": 5,
        }
    )
    try:
        _, high = reader.get_watermark_offsets(TopicPartition(topic, partition), 10)
        reader.assign([TopicPartition(topic, partition, 0)])
        found: list[Message] = []
        while True:
            message = reader.poll(30)
            assert message is not None, f"{topic}[{partition}] cannot be read to {high}"
            if message.error() is None:
                found.append(message)
            elif (message.offset() or 0) >= high:
                return found
    finally:
        reader.close()
