"""Records whose Kafka time no reader could show, on a real broker: `occurredAt` counts, also after a restart."""

import io
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, Producer
from fastavro import parse_schema, schemaless_reader

from processor.domain.event import Event
from processor.domain.message import DeadLetter
from processor.domain.output_topics import FixedOutput
from processor.kafka.clients import headers_of
from processor.registry.schema_files import shipped_schemas
from processor.shipped import sample
from processor.wire.dead_letter import read_dead_letter
from processor.wire.decode import event_from_json
from processor.wire.encode import encode_event
from processor.wire.wire_format import WireFormat
from tests.support.clients import logged
from tests.support.installation import Installation, create_installation
from tests.support.waiting import wait_until

pytestmark = pytest.mark.kafka

OCCURRED = datetime(2026, 3, 14, 9, 26, 53, 589_000, tzinfo=UTC)  # of the sample, cut to milliseconds
IN_MICROSECONDS = 1_773_480_413_702_000
A_DAY_LATER = int((OCCURRED + timedelta(hours=24)).timestamp() * 1000)

TEMPLATE = """
id = "repaid"
version = 1
name = "Repaid"
type = "EMAIL"
event = "LOAN_REPAYMENT"
target = "LOANS"
recipient = "CLIENT"
subscription = "OPT_OUT"
strict = true
subject = "Repaid"
body = "<p>{PLACEHOLDER}</p>"
"""


def produce(installation: Installation, records: Iterable[tuple[int, int]]) -> None:
    """Produce a LOAN_REPAYMENT for each (number of the event, Kafka time in ms).

    One that is refused is sent again: on a busy machine the topic's new configuration is in use a moment later.
    """
    producer = Producer(logged({"bootstrap.servers": installation.servers}))

    def is_delivered(value: bytes, key: str, timestamp_ms: int) -> bool:
        errors: list[KafkaError | None] = []
        producer.produce(
            *(installation.events, value, key, 0),
            on_delivery=lambda error, _: errors.append(error),
            timestamp=timestamp_ms,
        )
        assert producer.flush(30) == 0
        return errors == [None]

    for number, timestamp_ms in records:
        event = event_from_json(sample("LOAN_REPAYMENT") | {"eventId": event_id(number)}, installation.schemas)  # type: ignore[arg-type]
        assert isinstance(event, Event), event
        value, _ = encode_event(event.fields, installation.schemas, format=WireFormat.AVRO)
        wait_until(partial(is_delivered, value, event.ordering_key, timestamp_ms))


def event_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def with_any_times(installation: Installation) -> Installation:
    """The broker takes whatever a producer says; by default it refuses what lies more than an hour ahead."""
    installation.configure(installation.events, "message.timestamp.after.max.ms", str(2**63 - 1))
    return installation


def dead_letters(installation: Installation) -> list[DeadLetter]:
    messages = installation.read(installation.settings.topic(FixedOutput.DEAD_LETTERS))
    return [read_dead_letter(key=letter.key(), value=letter.value(), headers=headers_of(letter)) for letter in messages]


def test_outputs_can_be_read(bootstrap_servers: str, topic_prefix: str) -> None:
    """Every reader can show their times, with fastavro and the published schemas."""
    installation = with_any_times(create_installation(bootstrap_servers, topic_prefix, output={"format": "avro"}))
    produce(installation, [(1, IN_MICROSECONDS)])
    installation.run()

    named = installation.settings.topic
    for topic, file, name in (
        (named(FixedOutput.STATUS), "MessageStatus", "at"),
        (named(FixedOutput.MESSAGES), "Communicationmessage", "creationDate"),
    ):
        schema = parse_schema(json.loads((shipped_schemas() / "messages" / f"{file}.avsc").read_text("utf-8")))
        read: list[Any] = [
            schemaless_reader(io.BytesIO((message.value() or b"")[5:]), schema, None)
            for message in installation.read(topic)
        ]
        assert read
        assert {OCCURRED} == {value[name] for value in read}


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("placeholder", ["ACCOUNT_ID", "GROUP_ID"])  # a message; a failed template: the client has none
def test_the_window_counts_from_occurred_at(
    bootstrap_servers: str, topic_prefix: str, tmp_path: Path, placeholder: str, restarted: bool
) -> None:
    """A day later is a repeat, a millisecond more is not; restored from statuses, from dead letters, or not at all."""
    (tmp_path / "repaid.toml").write_text(TEMPLATE.replace("PLACEHOLDER", placeholder), "utf-8")
    installation = with_any_times(create_installation(bootstrap_servers, topic_prefix, templates_dir=tmp_path))
    produce(installation, [(1, IN_MICROSECONDS), (2, IN_MICROSECONDS)])
    if restarted:
        installation.run()
    produce(installation, [(1, A_DAY_LATER), (2, A_DAY_LATER + 1)])
    installation.run()

    repeats = [(decision["eventId"], decision["source"]["offset"]) for decision in installation.read_decisions()]
    offsets = [status["source"]["offset"] for status in installation.read_statuses()]
    offsets += [letter.position.offset for letter in dead_letters(installation)]
    assert [(event_id(1), 2)] == repeats
    assert [0, 1, 3] == offsets


def test_a_dead_letter_keeps_the_time_as_it_was(bootstrap_servers: str, topic_prefix: str) -> None:
    """It is the record, whatever its time."""
    installation = with_any_times(create_installation(bootstrap_servers, topic_prefix))
    producer = Producer(logged({"bootstrap.servers": installation.servers}))
    producer.produce(installation.events, b"\x07", "key", 0, timestamp=IN_MICROSECONDS)
    assert producer.flush(30) == 0
    installation.run()

    assert [IN_MICROSECONDS] == [letter.timestamp_ms for letter in dead_letters(installation)]
