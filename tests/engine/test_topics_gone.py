"""A topic that is deleted while the engine runs is named at once; the same process goes on when it is there again."""

import time
from collections import Counter

import pytest

from processor.domain.output_topics import FixedOutput, StreamOutput
from processor.domain.record import EventName, Topic
from processor.engine import completion
from processor.engine.loop import run
from processor.errors import StalledError
from processor.kafka.local.kafka import local_kafka
from processor.kafka.topic_admin import create_topics, grow_topics
from processor.kafka.topic_plan import Role
from tests.support.events import repayment
from tests.support.installation import Installation, create_installation
from tests.support.processes import process, ready
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]


def topic_of(installation: Installation, role: Role) -> Topic:
    """The topic of that role; `stream` is the one of LOAN_REPAYMENT."""
    return (
        installation.settings.stream_topic(EventName("LOAN_REPAYMENT"))
        if role is StreamOutput.STREAM
        else installation.settings.topic(role)
    )


def reasons(address: str) -> str:
    return "; ".join(ready(address)["reasons"])


OUTPUTS: dict[Role, int] = {  # records of an event
    FixedOutput.MESSAGES: 2,
    FixedOutput.STATUS: 2,
    FixedOutput.NOTIFICATIONS: 1,
    StreamOutput.STREAM: 1,
}


@pytest.mark.parametrize("role", [*OUTPUTS, FixedOutput.DEAD_LETTERS])
def test_an_output_topic_that_is_deleted(bootstrap_servers: str, topic_prefix: str, role: Role) -> None:
    """/ready names topic and command within seconds; created again, the same process goes on, and each event has its
    outputs once in every topic."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    topic = topic_of(installation, role)
    installation.produce_events([repayment(n) for n in range(20)])
    with process(installation) as (running, address):
        wait_until(lambda: installation.committed() == [20])
        installation.delete_topic(topic)
        installation.produce_events([repayment(n) for n in range(20, 60)])
        installation.produce_values([b"\x07 no event"])
        deleted_at = time.monotonic()
        wait_until(lambda: f"topics are missing: {topic}" in reasons(address))
        assert time.monotonic() - deleted_at < 14
        response = ready(address)
        installation.create_topics()
        wait_until(lambda: installation.committed() == [61])
        wait_until(lambda: ready(address)["ready"])
        assert running.poll() is None

    assert not response["ready"]
    assert "`processor topics --create` creates what is missing" in response["reasons"][0]
    for output, each in OUTPUTS.items():
        events = 40 if output is role else 60
        read = installation.read(topic_of(installation, output))
        assert each * events == len(read), output
        if output is not StreamOutput.STREAM:
            assert each * events == len({message.key() for message in read}), output
    assert 1 == len(installation.read(installation.settings.topic(FixedOutput.DEAD_LETTERS)))


def test_an_output_topic_that_comes_back_smaller(bootstrap_servers: str, topic_prefix: str) -> None:
    """Created again with one partition of two: the second partition's events wait, topic and command are named; grown,
    the same process publishes them, once."""
    installation = create_installation(bootstrap_servers, topic_prefix, partitions=2)
    status = installation.settings.topic(FixedOutput.STATUS)
    with process(installation) as (_, address):
        wait_until(lambda: ready(address)["ready"])
        installation.delete_topic(status)
        installation.create_topic(status, 1)
        installation.produce_events([repayment(n) for n in range(20)], partition=1)
        wait_until(
            lambda: (
                f"{installation.events} has 2 partitions, but {status} has 1; hint: `processor topics --grow 2"
                in reasons(address)
            )
        )
        grow_topics(installation.settings, partitions=2, yes=True)
        wait_until(lambda: installation.committed([1]) == [20])
        wait_until(lambda: ready(address)["ready"])

    assert {2} == set(Counter(status["eventId"] for status in installation.read_statuses(1)).values())
    assert 40 == len(
        {message.key() for message in installation.read(installation.settings.topic(FixedOutput.MESSAGES), 1)}
    )


def test_a_stream_that_comes_back_with_other_partitions(bootstrap_servers: str, topic_prefix: str) -> None:
    """A stream's partition is the source's modulo its own number, which is the one that it has now."""
    installation = create_installation(bootstrap_servers, topic_prefix, partitions=3)
    stream = topic_of(installation, StreamOutput.STREAM)
    with process(installation) as (_, address):
        wait_until(lambda: ready(address)["ready"])
        installation.produce_events([repayment(n) for n in range(3)], partition=2)
        wait_until(lambda: installation.committed([2]) == [3])
        installation.delete_topic(stream)
        installation.produce_events([repayment(n) for n in range(3, 9)], partition=2)
        wait_until(lambda: f"topics are missing: {stream}" in reasons(address))
        installation.create_topic(stream, 2)
        wait_until(lambda: installation.committed([2]) == [9])

    assert [6, 0] == [len(installation.read(stream, partition)) for partition in range(2)]


def test_until_end_names_the_topic(bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 3 after a minute without progress says what it waited for."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(n) for n in range(5)])
    status = installation.settings.topic(FixedOutput.STATUS)

    def delete(step: str) -> None:
        if step == "mapped" and not deleted:
            deleted.append(step)
            installation.delete_topic(status)
            monkeypatch.setattr(completion, "STALL_TIMEOUT_S", 5.0)

    deleted: list[str] = []
    with pytest.raises(
        StalledError, match=rf"at 0 of 5; the last batch was not committed: .*missing: {status}; hint: "
    ):
        run(installation.settings, until_end=True, on_step=delete)
    assert [0] == installation.committed()


def test_a_start_waits_for_a_deleted_topic(bootstrap_servers: str, topic_prefix: str) -> None:
    """A partition that is assigned while an output topic is missing waits for it, and says so; the process stays."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    status = installation.settings.topic(FixedOutput.STATUS)
    with process(installation) as (running, address):
        wait_until(lambda: ready(address)["ready"])
        installation.delete_topic(status)
        installation.grow_topic(installation.events, 2)
        wait_until(
            lambda: f"partition 1: its start is not known yet: topics are missing: {status}; hint:" in reasons(address)
        )
        create_topics(installation.settings, stream_events=installation.templates.stream_events())
        grow_topics(installation.settings, partitions=2, yes=True)
        installation.produce_events([repayment(n) for n in range(20)], partition=1)
        wait_until(lambda: installation.committed([1]) == [20])
        assert running.poll() is None

    assert 40 == len(installation.read_statuses(1))


def test_no_client_of_ours_creates_a_topic() -> None:
    """A broker that creates topics by itself gives one with one partition and its own retention: no request
    of ours causes that. The deleted topic stays away until it is created as planned."""
    with local_kafka(extra={"auto.create.topics.enable": "true"}) as kafka:
        installation = create_installation(kafka.bootstrap_servers, "auto.", partitions=2)
        status = installation.settings.topic(FixedOutput.STATUS)
        with process(installation) as (_, address):
            wait_until(lambda: ready(address)["ready"])
            installation.delete_topic(status)
            installation.produce_events([repayment(n) for n in range(20)], partition=1)
            wait_until(lambda: f"topics are missing: {status}" in reasons(address))
            time.sleep(8)  # some transactions, and a refresh of the metadata
            assert status not in installation.admin().list_topics(timeout=10).topics
            installation.create_topics()
            wait_until(lambda: installation.committed([1]) == [20])
            wait_until(lambda: ready(address)["ready"])

        assert 2 == len(installation.admin().list_topics(timeout=10).topics[status].partitions)
        assert 40 == len(installation.read_statuses(1))
