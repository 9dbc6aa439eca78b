"""`processor topics` on a real broker: what it creates is what `run` needs, and it changes nothing unasked."""

import socket

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from processor.domain.output_topics import CO_PARTITIONED, FixedOutput
from processor.domain.record import EventName
from processor.errors import DependencyError, TopicConfigError, UsageError
from processor.kafka.local.kafka import local_kafka
from processor.kafka.topic_admin import create_topics, grow_topics, inspect_topics
from processor.settings import FixedTopic, InputTopic, KafkaSettings, Settings, TopicSettings
from tests.support.clients import create_topic, logged

pytestmark = pytest.mark.kafka

STREAMS = (EventName("LOAN_REPAYMENT"),)


@pytest.fixture
def settings(bootstrap_servers: str, topic_prefix: str) -> Settings:
    """An installation of its own."""
    return Settings(
        tenant="northbank",
        kafka=KafkaSettings(bootstrap_servers=bootstrap_servers),
        topics=TopicSettings(prefix=topic_prefix),
    )


def make_topic(settings: Settings, name: str, *, partitions: int = 1, **config: str) -> None:
    """A topic that somebody else created."""
    admin = AdminClient(logged({"bootstrap.servers": settings.bootstrap_servers}))
    properties = {key.replace("_", "."): value for key, value in config.items()}
    new = NewTopic(name, num_partitions=partitions, replication_factor=1, config=properties)
    create_topic(admin, new)


def test_a_check_creates_nothing(settings: Settings) -> None:
    """A look at a broker without our topics finds them all missing, also the second time."""
    inspect_topics(settings, stream_events=STREAMS)
    report = inspect_topics(settings, stream_events=STREAMS)

    assert {} == report.existing
    assert ["is missing"] * 13 == [difference.what for difference in report.differences]


def test_created_topics_are_as_planned(settings: Settings) -> None:
    """After `create_topics` nothing differs, every topic is as planned, and a second call creates nothing."""
    first = create_topics(settings, stream_events=STREAMS, partitions=4)
    second = create_topics(settings, stream_events=STREAMS, partitions=4)

    assert () == first.differences == second.differences
    assert {topic.name for topic in first.plan} == set(first.created)
    assert () == second.created
    assert [4, 4, 4, 4, 4, 4, 4, 1, 1, 1, 1, 1, 3] == [first.existing[topic.name].partitions for topic in first.plan]
    for topic in first.plan:
        assert topic.config == {name: first.existing[topic.name].config[name] for name in topic.config}


def test_missing_topics_follow_the_existing_events_topic(settings: Settings) -> None:
    """Partitions and the dead letters' limit come from the events' topic that producers already have."""
    make_topic(
        settings, settings.topic(InputTopic.EVENTS), partitions=2, max_message_bytes="3000000", retention_ms="86400000"
    )

    report = create_topics(settings, stream_events=())

    assert () == report.differences
    roles: tuple[FixedTopic, ...] = (InputTopic.EVENTS, *CO_PARTITIONED)

    assert {2} == {report.existing[settings.topic(role)].partitions for role in roles}
    assert 3_065_536 == report.existing[settings.topic(FixedOutput.DEAD_LETTERS)].max_message_bytes


def test_dead_letters_follow_the_brokers_own_limit(topic_prefix: str) -> None:
    """Where a broker lets new topics take more than Kafka's default, the dead letters created beside them take more."""
    with local_kafka(extra={"message.max.bytes": "3000000"}) as kafka:
        settings = Settings(
            tenant="northbank",
            kafka=KafkaSettings(bootstrap_servers=kafka.bootstrap_servers),
            topics=TopicSettings(prefix=topic_prefix),
        )
        report = create_topics(settings, stream_events=())

    assert () == report.differences
    assert 3_000_000 == report.existing[settings.topic(InputTopic.EVENTS)].max_message_bytes
    assert 3_065_536 == report.existing[settings.topic(FixedOutput.DEAD_LETTERS)].max_message_bytes


def test_create_does_not_change_existing_topics(settings: Settings) -> None:
    """A co-partitioned topic that does not fit is reported, with what to do, and left as it is."""
    make_topic(settings, settings.topic(FixedOutput.STATUS), partitions=1)

    report = create_topics(settings, stream_events=(), partitions=3)

    assert 1 == report.existing[settings.topic(FixedOutput.STATUS)].partitions
    (partitions, retention) = [d for d in report.differences if d.topic == settings.topic(FixedOutput.STATUS)]
    assert "`processor topics --grow 3 --yes`" == partitions.hint
    assert retention.what.startswith("keeps records for 7 days, ")


def test_another_number_of_partitions_is_refused(settings: Settings) -> None:
    """--partitions does not silently mean nothing for events that exist."""
    make_topic(settings, settings.topic(InputTopic.EVENTS), partitions=2)

    with pytest.raises(UsageError) as caught:
        create_topics(settings, stream_events=(), partitions=6)

    assert (f"{settings.topic(InputTopic.EVENTS)} has 2 partitions, not 6\nhint: `processor topics --grow 6`") == str(
        caught.value
    )


def test_growing_without_yes_is_a_dry_run(settings: Settings) -> None:
    """Without --yes the steps are shown, outputs first and events last, and nothing is done."""
    create_topics(settings, stream_events=STREAMS, partitions=2)

    growth = grow_topics(settings, partitions=5, yes=False)

    assert not growth.done
    assert [*map(settings.topic, CO_PARTITIONED), settings.topic(InputTopic.EVENTS)] == [
        name for name, _, _ in growth.steps
    ]
    assert {(2, 5)} == {(now, then) for _, now, then in growth.steps}
    assert 2 == inspect_topics(settings, stream_events=()).existing[settings.topic(InputTopic.EVENTS)].partitions


def test_growing_leaves_streams_unchanged(settings: Settings) -> None:
    """After --yes nothing differs; the streams keep the number they were created with; growing again does nothing."""
    create_topics(settings, stream_events=STREAMS, partitions=2)

    growth = grow_topics(settings, partitions=5, stream_events=STREAMS, yes=True)
    report = inspect_topics(settings, stream_events=STREAMS)

    assert growth.done
    assert () == report.differences
    assert [5, 5, 5, 5, 5, 5, 5, 1, 1, 1, 1, 1, 2] == [report.existing[topic.name].partitions for topic in report.plan]
    assert () == grow_topics(settings, partitions=5, yes=True).steps


def test_shrinking_is_refused(settings: Settings) -> None:
    """Kafka cannot take partitions away, and the error says so before any request to the broker."""
    create_topics(settings, stream_events=(), partitions=2)

    with pytest.raises(UsageError, match=r"has 2 partitions, more than 1\nhint: Kafka cannot take partitions away"):
        grow_topics(settings, partitions=1, yes=True)


def test_growing_is_refused_while_a_topic_is_missing(settings: Settings) -> None:
    """Nothing is grown while a co-partitioned topic is missing: the events would be left without it."""
    make_topic(settings, settings.topic(InputTopic.EVENTS), partitions=2)

    with pytest.raises(TopicConfigError, match="topics are missing"):
        grow_topics(settings, partitions=4, yes=True)


def test_no_broker_is_a_dependency_error(topic_prefix: str) -> None:
    """Exit 3 and a hint, within the time-out of one request."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        servers = f"127.0.0.1:{closed.getsockname()[1]}"
        settings = Settings(kafka=KafkaSettings(bootstrap_servers=servers), topics=TopicSettings(prefix=topic_prefix))
        with pytest.raises(DependencyError, match=r"no response from .*\nhint: check PROCESSOR_KAFKA__BOOT"):
            inspect_topics(settings, stream_events=())
