"""The main job by the installed command, on a broker from the image that docker-compose.yml names."""

import json
import os
import subprocess
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.container.broker_image import container_broker
from tests.support.clients import logged
from tests.support.read_to_end import read_topics

EVENTS = 24


@pytest.fixture
def broker() -> Iterator[str]:
    """Bootstrap servers of a broker in a container."""
    with container_broker() as servers:
        yield servers


@pytest.mark.container
def test_the_main_job_runs_on_the_image(broker: str) -> None:
    """Every event has an outcome exactly once, each message is created once, and the group is at the input's end."""
    processor(broker, "topics", "--create")
    processor(broker, "produce", "--count", str(EVENTS), "--seed", "7", "--format", "json")
    processor(broker, "run", "--until-end")

    events = [record["eventId"] for record in values(broker, "banking.events")]
    statuses = values(broker, "communications.status")
    decided = {record["eventId"] for record in values(broker, "communications.decisions")}

    assert EVENTS == len(set(events))
    assert set(events) == {status["eventId"] for status in statuses} | decided
    assert {1} == set(Counter((status["eventId"], status["templateId"]) for status in statuses).values())
    assert {1} == {status["sequence"] for status in statuses}
    assert sorted(status["encodedKey"] for status in statuses) == sorted(
        message["encodedKey"] for message in values(broker, "communications.messages")
    )
    assert [] == values(broker, "communications.dead-letters")
    assert ends(broker, "banking.events") == committed(broker, "processor", "banking.events")


def processor(broker: str, *arguments: str) -> None:
    """Run the installed command to its end, with nothing of this shell's settings, and expect exit code 0."""
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith("PROCESSOR_")}
    environment |= {
        "PROCESSOR_TENANT": "northbank",
        "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS": broker,
        "PROCESSOR_OUTPUT__FORMAT": "json",
        "PROCESSOR_HTTP__PORT": "0",
    }
    command = Path(sysconfig.get_path("scripts")) / "processor"
    ended = subprocess.run(
        [command, *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False
    )

    assert (arguments, 0) == (arguments, ended.returncode), ended.stderr


def values(broker: str, topic: str) -> list[dict[str, Any]]:
    """All JSON values of `topic` that a read_committed reader sees, in order within each partition."""
    return [json.loads(message.value() or b"") for message in read_topics(broker, [topic])]


def ends(broker: str, topic: str) -> dict[int, int]:
    """Partition -> high watermark, of the partitions that have records."""
    reader = Consumer(logged({"bootstrap.servers": broker, "group.id": "reader"}))
    try:
        partitions = reader.list_topics(topic, timeout=30).topics[topic].partitions
        marks = {p: reader.get_watermark_offsets(TopicPartition(topic, p), timeout=30) for p in partitions}
        return {partition: high for partition, (low, high) in marks.items() if high > low}
    finally:
        reader.close()


def committed(broker: str, group: str, topic: str) -> dict[int, int]:
    """Partition -> the position that `group` has committed, where it is past the first record."""
    admin = AdminClient(logged({"bootstrap.servers": broker}))
    futures = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
    positions = futures[group].result(timeout=30).topic_partitions or []
    return {p.partition: p.offset for p in positions if p.topic == topic and p.offset > 0}
