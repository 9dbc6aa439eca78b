"""The consumer's side by itself, on a real broker: what waits, what is revoked, what comes back."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from processor.engine.consumer import EventConsumer, PolledRecords
from processor.engine.loop import run
from processor.engine.start_offsets import StartOffset, StartOffsetResolver
from processor.errors import DependencyError, InputError
from processor.kafka.clients import consumer_properties, create_consumer
from processor.settings import Settings
from tests.support.clients import logged
from tests.support.events import repayment
from tests.support.installation import Installation, create_installation, start_offset_resolver
from tests.support.waiting import wait_until

pytestmark = pytest.mark.kafka


@contextmanager
def joined_consumer(installation: Installation) -> Iterator[EventConsumer]:
    """An event consumer that has joined its group."""
    client = create_consumer(consumer_properties(installation.settings))
    event_consumer = EventConsumer(
        installation.settings,
        client,
        start_offset_resolver(installation),
        on_rebalance=lambda _event, _count: None,
    )
    try:
        yield event_consumer
    finally:
        event_consumer.close()


def poll_records(event_consumer: EventConsumer, count: int, *, timeout_s: float = 30) -> list[PolledRecords]:
    """So many usable records; fewer when they do not come in time."""
    found: list[PolledRecords] = []
    deadline = time.monotonic() + timeout_s
    while sum(len(polled.records) for polled in found) < count and time.monotonic() < deadline:
        found += event_consumer.poll(100)
        for partition in event_consumer.partitions.values():
            if partition.needs_initial_commit:  # the engine's part: it commits the start with its producer
                at = TopicPartition(event_consumer._events, partition.number, partition.start_offset)
                event_consumer._consumer.commit(offsets=[at], asynchronous=False)
                partition.mark_committed(partition.start_offset)
    return found


def subscribe(member: Consumer, event_consumer: EventConsumer, topic: str) -> None:
    """Join again, as the event consumer did."""
    member.subscribe([topic], on_assign=event_consumer._on_assign, on_revoke=event_consumer._on_revoke)


def offsets(found: list[PolledRecords]) -> list[int]:
    return [record.position.offset for polled in found for record in polled.records]


def test_a_deferred_record_is_polled_again_with_all_behind_it(bootstrap_servers: str, topic_prefix: str) -> None:
    """Cut at offset 1 of 3: 1 and 2 are handed out again, 0 is not."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(n) for n in range(3)])
    with joined_consumer(installation) as event_consumer:
        first = poll_records(event_consumer, 3)
        event_consumer.pause_and_retry(first[0].partition, 1, "a test")

        assert [0, 1, 2] == offsets(first)
        assert [1, 2] == offsets(poll_records(event_consumer, 2))


def test_a_partition_revoked_while_paused_comes_back_unpaused(bootstrap_servers: str, topic_prefix: str) -> None:
    """Revoked while it waits and assigned again, it is read from its position: librdkafka would keep it paused."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(n) for n in range(3)])
    with joined_consumer(installation) as event_consumer:
        (first, *_) = poll_records(event_consumer, 3)
        for _ in range(9):  # a long back-off, so that it is not resumed meanwhile
            event_consumer.pause_and_retry(first.partition, 1, "a test")
        member = event_consumer._consumer
        member.unsubscribe()
        event_consumer.poll(1)
        assert not event_consumer.partitions
        member.subscribe(
            [installation.events], on_assign=event_consumer._on_assign, on_revoke=event_consumer._on_revoke
        )

        assert [0, 1, 2] == offsets(poll_records(event_consumer, 3))


def test_a_fetcher_that_has_ended_is_assigned_again(bootstrap_servers: str, topic_prefix: str) -> None:
    """After an error of its offset librdkafka's fetcher takes no seek; the partition would be silent for ever."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(n) for n in range(3)])
    with joined_consumer(installation) as event_consumer:
        (first, *_) = poll_records(event_consumer, 3)
        event_consumer._consumer.seek(TopicPartition(installation.events, 0, 1_000))
        with pytest.raises(InputError, match="is gone"):
            for _ in range(100):
                event_consumer.poll(100)
        first.partition.rewind(1)

        assert [1, 2] == offsets(poll_records(event_consumer, 2))


@dataclass
class EarlyStartResolver:
    """In the place of StartOffsetResolver: resolves before the consumer's own connection has had any response."""

    first: int  #: of partition 0; all others are empty
    after_s: float

    def resolve(self, partition: int) -> StartOffset:
        time.sleep(self.after_s)
        offset = self.first if partition == 0 else 0
        return StartOffset(offset=offset, target_offset=offset, needs_initial_commit=False)


def test_a_late_response_does_not_move_the_start() -> None:
    """On a slow connection no late response to a request of the assignment moves the consumer on, past records."""
    slow = Producer({"test.mock.num.brokers": 1, "test.mock.broker.rtt": 200, "bootstrap.servers": "mock"})
    broker = next(iter(slow.list_topics("banking.events", timeout=10).brokers.values()))
    for number in range(20):
        slow.produce("banking.events", str(number), "key", 0)
        assert slow.flush(30) == 0  # a batch for each, and a fetch for each batch
    kafka = {"bootstrap_servers": f"{broker.host}:{broker.port}", "consumer": {"fetch.message.max.bytes": "1"}}
    settings = Settings(kafka=kafka, group="early")  # type: ignore[arg-type]
    member = create_consumer(consumer_properties(settings))
    member.assign([TopicPartition("banking.events", 0, 0)])  # so that its connections are there
    assert member.consume(1, 10)
    member.unassign()
    event_consumer = EventConsumer(
        settings,
        member,
        cast(StartOffsetResolver, EarlyStartResolver(5, 0.05)),
        on_rebalance=lambda _kind, _count: None,
    )
    try:
        found = [polled for polled in poll_records(event_consumer, 15, timeout_s=20) if polled.partition.number == 0]
    finally:
        event_consumer.close()

    assert list(range(5, 20)) == offsets(found)


def test_a_revoked_partition_is_not_current(bootstrap_servers: str, topic_prefix: str) -> None:
    """What was polled under an assignment that is over may not be published, also when the partition came back."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(0)])
    with joined_consumer(installation) as event_consumer:
        (first,) = poll_records(event_consumer, 1)
        assert event_consumer.is_current(first.partition)
        member = event_consumer._consumer
        member.unsubscribe()
        event_consumer.poll(1)

        assert not event_consumer.is_current(first.partition)

        member.subscribe(
            [installation.events], on_assign=event_consumer._on_assign, on_revoke=event_consumer._on_revoke
        )
        (again,) = poll_records(event_consumer, 1)

        assert not event_consumer.is_current(first.partition)
        assert event_consumer.is_current(again.partition)


def test_without_a_membership_there_is_no_group_metadata(bootstrap_servers: str, topic_prefix: str) -> None:
    """A transaction that names no member would never be fenced, so none is begun."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    with joined_consumer(installation) as event_consumer:
        assert event_consumer.group_metadata is None

        installation.produce_events([repayment(0)])
        poll_records(event_consumer, 1)

        assert event_consumer.group_metadata is not None


def test_a_group_of_another_application(bootstrap_servers: str, topic_prefix: str) -> None:
    """Its members share out partitions otherwise, so the group admits no member of ours: exit 3 names the setting."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    other = Consumer(
        logged(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": installation.settings.group_id,
                "partition.assignment.strategy": "range",
            }
        )
    )
    try:
        other.subscribe([installation.events])
        wait_until(lambda: other.poll(0.1) is None and bool(other.assignment()))

        with pytest.raises(
            DependencyError, match=r"(?s)INCONSISTENT_GROUP_PROTOCOL.*\nhint: .*PROCESSOR_GROUP"
        ) as ended:
            run(installation.settings)
    finally:
        other.close()
    assert 3 == ended.value.exit_code
