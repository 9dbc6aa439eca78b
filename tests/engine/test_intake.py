"""The consumer's side by itself, on a real broker: what waits, what is revoked, what comes back."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import TopicPartition

from processor.engine.clients import consumer, consumer_properties
from processor.engine.intake import Intake, Polled
from processor.engine.start import Starts
from processor.engine.topics import read_layout
from tests.engine.installation import Installation, installation
from tests.engine.test_run import repayment

pytestmark = pytest.mark.kafka


@contextmanager
def intake_of(made: Installation) -> Iterator[Intake]:
    """An intake that has joined its group."""
    starts = Starts(
        made.settings,
        layout=lambda admin: read_layout(admin, made.settings, made.templates),
        schemas=made.schemas,
        answer=None,
    )
    made_consumer = consumer(consumer_properties(made.settings))
    intake = Intake(made.settings, made_consumer, starts, rebalanced=lambda _kind, _count: None)
    try:
        yield intake
    finally:
        intake.close()


def polled(intake: Intake, count: int, *, patience_s: float = 30) -> list[Polled]:
    """So many usable records; fewer when they do not come in time."""
    found: list[Polled] = []
    deadline = time.monotonic() + patience_s
    while len(found) < count and time.monotonic() < deadline:
        found += intake.poll(100)
        for owned in intake.owned.values():
            if owned.chosen:  # the engine's part: it commits the start with its producer
                at = TopicPartition(intake._events, owned.partition, owned.start)
                intake._consumer.commit(offsets=[at], asynchronous=False)
                owned.chosen = False
    return found


def offsets(records: list[Polled]) -> list[int]:
    return [one.record.place.offset for one in records]


def test_a_record_that_waits_comes_again_with_all_behind_it(bootstrap_servers: str, topic_prefix: str) -> None:
    """Cut at offset 1 of 3: 1 and 2 are handed out again, 0 is not."""
    made = installation(bootstrap_servers, topic_prefix)
    made.tell([repayment(n) for n in range(3)])
    with intake_of(made) as intake:
        first = polled(intake, 3)
        intake.wait(first[0].owned, 1, "a test")

        assert [0, 1, 2] == offsets(first)
        assert [1, 2] == offsets(polled(intake, 2))


def test_a_partition_that_left_while_it_waited_comes_back_unpaused(bootstrap_servers: str, topic_prefix: str) -> None:
    """Revoked while it waits and assigned again, it is read from its position: librdkafka would keep it paused."""
    made = installation(bootstrap_servers, topic_prefix)
    made.tell([repayment(n) for n in range(3)])
    with intake_of(made) as intake:
        (first, *_) = polled(intake, 3)
        for _ in range(9):  # a long back-off, so that nobody resumes it meanwhile
            intake.wait(first.owned, 1, "a test")
        member = intake._consumer
        member.unsubscribe()
        intake.poll(1)
        assert not intake.owned
        member.subscribe([made.events], on_assign=intake._on_assign, on_revoke=intake._on_revoke)

        assert [0, 1, 2] == offsets(polled(intake, 3))


def test_a_revoked_partition_is_not_current(bootstrap_servers: str, topic_prefix: str) -> None:
    """What was polled under an assignment that is over may not be published, also when the partition came back."""
    made = installation(bootstrap_servers, topic_prefix)
    made.tell([repayment(0)])
    with intake_of(made) as intake:
        (first,) = polled(intake, 1)
        assert intake.is_current(first.owned)
        member = intake._consumer
        member.unsubscribe()
        intake.poll(1)

        assert not intake.is_current(first.owned)

        member.subscribe([made.events], on_assign=intake._on_assign, on_revoke=intake._on_revoke)
        (again,) = polled(intake, 1)

        assert not intake.is_current(first.owned)
        assert intake.is_current(again.owned)


def test_without_a_membership_there_is_no_group(bootstrap_servers: str, topic_prefix: str) -> None:
    """A transaction that names no member would be fenced by nobody, so none is begun."""
    made = installation(bootstrap_servers, topic_prefix)
    with intake_of(made) as intake:
        assert intake.group is None

        made.tell([repayment(0)])
        polled(intake, 1)

        assert intake.group is not None
