"""An installation for tests: one tenant's topics with a prefix of its own on the tests' broker.

Its engine runs in the test's process, or as `processor run` with the environment of `env`.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from processor.domain.event import Event
from processor.domain.output_topics import FixedOutput
from processor.domain.record import EventName, Topic
from processor.domain.reference import Table
from processor.domain.template import TemplateSet
from processor.engine.loop import run
from processor.engine.start_offsets import StartOffsetResolver, StartPolicy
from processor.kafka.topic_admin import create_topics
from processor.kafka.topic_state import read_output_topics
from processor.registry.schema_files import load_schemas
from processor.settings import HttpSettings, InputTopic, KafkaSettings, Settings, TopicSettings
from processor.templates.load import read_templates, require_usable
from processor.wire.decode import event_from_json
from processor.wire.encode import encode_event
from processor.wire.reader_schemas import Schemas
from processor.wire.wire_format import WireFormat
from tests.support.builders import TENANT, make_context
from tests.support.clients import create_topic, logged
from tests.support.read_to_end import read_partition
from tests.support.waiting import wait_until

ROOT: Final = Path(__file__).parents[2]
COORDINATOR_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True)
class Installation:
    """One tenant's topics and settings. `env_overrides`: for processes of it, after all else in their environment."""

    settings: Settings
    schemas: Schemas
    templates: TemplateSet
    partitions: int = 1
    env_overrides: Mapping[str, str] = field(default_factory=dict)

    @property
    def servers(self) -> str:
        """The broker's address."""
        return self.settings.bootstrap_servers

    @property
    def prefix(self) -> str:
        """Of all its topics, its group and its transactional ids."""
        return self.settings.topics.prefix

    @property
    def group(self) -> str:
        """The consumer group."""
        return self.settings.group_id

    @property
    def transactional_id(self) -> str:
        """Of the first process of this host."""
        return f"{self.group}:{self.settings.instance_name}:0"

    def with_env(self, overrides: Mapping[str, str]) -> Self:
        """The same installation, with more overrides of its processes' environment."""
        return replace(self, env_overrides={**self.env_overrides, **overrides})

    # Topics

    @property
    def events(self) -> Topic:
        """The input."""
        return self.settings.topic(InputTopic.EVENTS)

    @property
    def messages(self) -> Topic:
        """Messages, as they were created and as they are now."""
        return self.settings.topic(FixedOutput.MESSAGES)

    @property
    def status(self) -> Topic:
        """Transitions of messages."""
        return self.settings.topic(FixedOutput.STATUS)

    @property
    def decisions(self) -> Topic:
        """Why a template created no message."""
        return self.settings.topic(FixedOutput.DECISIONS)

    @property
    def dead_letters(self) -> Topic:
        """Records that could not be processed."""
        return self.settings.topic(FixedOutput.DEAD_LETTERS)

    @property
    def notifications(self) -> Topic:
        """What a recipient's inbox shows."""
        return self.settings.topic(FixedOutput.NOTIFICATIONS)

    @property
    def operations(self) -> Topic:
        """Who did what; no output of a record of the input."""
        return self.settings.topic(FixedOutput.OPERATIONS)

    @property
    def streams(self) -> dict[EventName, Topic]:
        """Event -> its stream's topic, of the events that templates send to streams."""
        return {event: self.settings.stream_topic(event) for event in self.templates.stream_events()}

    @property
    def outputs(self) -> tuple[Topic, ...]:
        """All topics to which transactions write for records of the input."""
        co_partitioned = (self.messages, self.status, self.decisions, self.dead_letters, self.notifications)
        return (*co_partitioned, *self.streams.values())

    def create_topics(self) -> None:
        """As `processor topics --create` does; existing ones must be as planned."""
        report = create_topics(self.settings, stream_events=self.templates.stream_events(), partitions=self.partitions)
        assert not report.differences, report.differences

    def create_topic(self, topic: Topic, partitions: int) -> None:
        """Create one by hand."""
        create_topic(self.admin(), NewTopic(topic, partitions, 1))

    def delete_topic(self, topic: Topic) -> None:
        """Blocks until it is gone."""
        admin = self.admin()
        admin.delete_topics([topic])[topic].result(10)
        wait_until(lambda: topic not in admin.list_topics(timeout=10).topics)

    def grow_topic(self, topic: Topic, partitions: int) -> None:
        """Give one topic more partitions."""
        admin = self.admin()
        admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(10)
        wait_until(lambda: len(admin.list_topics(timeout=10).topics[topic].partitions) == partitions)

    def limit(self, topic: Topic, max_message_bytes: int) -> None:
        """Set a topic's max.message.bytes, as `configure`."""
        self.configure(topic, "max.message.bytes", str(max_message_bytes))

    def configure(self, topic: Topic, name: str, value: str) -> None:
        """Set a property of a topic. Blocks until the broker describes it so: a moment after it has agreed."""
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        admin = self.admin()
        for altered in admin.incremental_alter_configs([resource]).values():
            altered.result(10)

        def described_value() -> Any:
            (described,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
            return described.result(10)[name].value

        wait_until(lambda: described_value() == value)

    def admin(self) -> AdminClient:
        """For what else tests do to topics."""
        return AdminClient(logged({"bootstrap.servers": self.servers}))

    # Records

    def encode(self, fields: Mapping[str, Any]) -> tuple[bytes, str]:
        """Value and key of an event in JSON form, in Avro."""
        event = event_from_json(fields, self.schemas)
        assert isinstance(event, Event), event
        value, _ = encode_event(event.fields, self.schemas, format=WireFormat.AVRO)
        return value, event.ordering_key

    def produce_events(self, events: Iterable[Mapping[str, Any]], *, partition: int = 0) -> None:
        """Produce events, in Avro, to one partition. Blocks until the broker has them."""
        producer = Producer(logged({"bootstrap.servers": self.servers, "linger.ms": 5}))
        for fields in events:
            value, key = self.encode(fields)
            producer.produce(self.events, value, key, partition)
        assert producer.flush(30) == 0

    def produce_values(self, values: Iterable[bytes], *, partition: int = 0) -> None:
        """Produce any bytes to the events, as `produce_events`; their key is `key`."""
        producer = Producer(logged({"bootstrap.servers": self.servers, "linger.ms": 5, "message.max.bytes": 1_048_588}))
        for value in values:
            producer.produce(self.events, value, "key", partition, on_delivery=check_delivery)
        assert producer.flush(30) == 0

    def produce_row(self, table: Table, key: str, value: object, *, partition: int = 0, timestamp_ms: int = 0) -> None:
        """Produce a row of a reference table: bytes as they are, None deletes. Blocks until the broker has it."""
        producer = Producer(logged({"bootstrap.servers": self.servers}))
        data = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
        producer.produce(self.settings.topic(table), data, key, partition, timestamp=timestamp_ms)
        assert producer.flush(30) == 0

    def read(self, topic: str, partition: int = 0) -> list[Message]:
        """All that a `read_committed` reader sees of a partition now."""
        return read_partition(self.servers, topic, partition)

    def read_json(self, topic: str, partition: int = 0) -> list[dict[str, Any]]:
        """The values of a partition of an output topic; the installation writes JSON."""
        return [json.loads(message.value() or b"") for message in self.read(topic, partition)]

    def read_statuses(self, partition: int = 0) -> list[dict[str, Any]]:
        """The status records of a partition."""
        return self.read_json(self.status, partition)

    def read_decisions(self, partition: int = 0) -> list[dict[str, Any]]:
        """The decisions of a partition."""
        return self.read_json(self.decisions, partition)

    def read_operations(self, partition: int = 0) -> list[dict[str, Any]]:
        """What is on the operations topic about a partition."""
        return self.read_json(self.operations, partition)

    def template_set_keys(self) -> list[str]:
        """The keys on the topic of template sets, in order."""
        return [(record.key() or b"").decode() for record in self.read(self.settings.topic(FixedOutput.TEMPLATE_SETS))]

    # The group's positions

    def committed(self, partitions: Sequence[int] = (0,)) -> list[int]:
        """The group's positions; -1001 where it has none. Retries while the coordinator is loading."""
        consumer = Consumer(logged({"bootstrap.servers": self.servers, "group.id": self.group}))
        positions = [TopicPartition(self.events, partition) for partition in partitions]
        deadline = time.monotonic() + COORDINATOR_TIMEOUT_S
        try:
            while True:
                try:
                    return [position.offset for position in consumer.committed(positions, 10)]
                except KafkaException:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.2)
        finally:
            consumer.close()

    def set_position(self, offset: int) -> None:
        """Move the group's position in partition 0, as an operator may while no process runs."""
        consumer = Consumer(logged({"bootstrap.servers": self.servers, "group.id": self.group}))
        consumer.commit(offsets=[TopicPartition(self.events, 0, offset)], asynchronous=False)
        consumer.close()

    # The engine

    def run(self, *, start_from: str | None = None) -> None:
        """Run the engine in this process until the end of the input."""
        run(self.settings, until_end=True, start_from=start_from)

    def env(self, *, servers: str | None = None) -> dict[str, str]:
        """The whole environment of a process of this installation, without other settings of the processor."""
        outside = {name: value for name, value in os.environ.items() if not name.startswith("PROCESSOR_")}
        if home := os.environ.get("PROCESSOR_KAFKA_HOME"):
            outside["PROCESSOR_KAFKA_HOME"] = home
        return {
            **outside,
            "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS": servers or self.servers,
            "PROCESSOR_TOPICS__PREFIX": self.prefix,
            "PROCESSOR_TENANT": self.settings.required_tenant,
            "PROCESSOR_HTTP__PORT": "0",
            **self.env_overrides,
        }

    def command(self, *arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """`processor ARGUMENTS` with this installation's settings, as a person would call it."""
        return subprocess.run(
            (sys.executable, "-m", "processor", *arguments),
            env=self.env(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


def check_delivery(error: KafkaError | None, _message: Message) -> None:
    """Fail where the broker did not take a record; a delivery callback."""
    assert error is None, error


def create_installation(servers: str, prefix: str, *, partitions: int = 1, **settings: Any) -> Installation:
    """With its topics, and nothing in them. `settings` are fields of Settings."""
    schemas = load_schemas()
    templates = require_usable(read_templates(None, tenant=TENANT, schemas=schemas))
    fields: dict[str, Any] = {
        "tenant": TENANT,
        "kafka": KafkaSettings(bootstrap_servers=servers),
        "topics": TopicSettings(prefix=prefix),
        "http": HttpSettings(port=0),
        "output": {"format": "json"},
        **settings,
    }
    installation = Installation(Settings(**fields), schemas, templates, partitions)
    installation.create_topics()
    return installation


def start_offset_resolver(
    installation: Installation, *, start_policy: StartPolicy | None = None
) -> StartOffsetResolver:
    """The resolver of a process that starts now."""
    return StartOffsetResolver(
        installation.settings,
        read_topics=lambda admin: read_output_topics(admin, installation.settings, installation.templates),
        context=make_context(schemas=installation.schemas),
        schemas_of_outputs=installation.schemas.local_schema,
        start_policy=start_policy,
    )
