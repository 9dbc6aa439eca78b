"""The topics of an installation: compares what exists with the plan, creates what is missing, grows what is too small.

Nothing that exists is changed, but for partitions that are added by `grow_topics`, and nothing is deleted.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from processor.domain.output_topics import CO_PARTITIONED
from processor.domain.record import EventName, Topic
from processor.errors import DependencyError, TopicConfigError, UsageError
from processor.kafka.clients import Admin, create_admin
from processor.kafka.errors import error_of, exit_on_broker_errors
from processor.kafka.topic_plan import (
    DEFAULT_MAX_MESSAGE_BYTES,
    DEFAULT_PARTITIONS,
    Difference,
    ExistingTopic,
    PlannedTopic,
    compare_topics,
    planned_topics,
)
from processor.kafka.topic_state import describe_topics
from processor.settings import InputTopic, Settings

_REQUEST_TIMEOUT_S: Final = 10.0
_VISIBLE_TIMEOUT_S: Final = 15.0  # a new topic is known to every broker only after its metadata went round
_DEFAULT_REPLICATION_FACTOR: Final = -1  # the broker's default.replication.factor (KIP-464)


@dataclass(frozen=True, slots=True)
class TopicReport:
    """The topics of the plan as they are. `created` are those that this call created."""

    plan: tuple[PlannedTopic, ...]
    existing: Mapping[Topic, ExistingTopic]
    differences: tuple[Difference, ...]
    created: tuple[Topic, ...] = ()


@dataclass(frozen=True, slots=True)
class TopicGrowth:
    """Topics and the number of partitions that each is to get, in the order in which it is done: events last."""

    steps: tuple[tuple[Topic, int, int], ...]  #: (topic, partitions now, partitions then)
    done: bool


def inspect_topics(
    settings: Settings, *, stream_events: Iterable[EventName], partitions: int | None = None
) -> TopicReport:
    """What exists and what differs from the plan. Blocks for two requests.

    `partitions` is what the events topic ought to have; None takes what it has. Raises UsageError when it exists with
    another number, DependencyError when the broker does not respond, AuthorizationError when it refuses.
    """
    with _connect(settings) as admin:
        return _inspect(admin, settings, stream_events=tuple(stream_events), partitions=partitions)


def create_topics(
    settings: Settings, *, stream_events: Iterable[EventName], partitions: int | None = None
) -> TopicReport:
    """Create what is missing; then as `inspect_topics`. Blocks until every topic of the plan is visible, 15 s at most.

    Without `partitions` co-partitioned topics get as many as the events have, or all of them `DEFAULT_PARTITIONS`.
    """
    events = tuple(stream_events)
    with _connect(settings) as admin:
        created: list[Topic] = []
        # The events first: what the dead letters must be able to hold follows from the limit they get.
        for events_only in (True, False):
            report = _inspect(admin, settings, stream_events=events, partitions=partitions)
            missing = [topic for topic in report.plan if topic.name not in report.existing]
            created += _create(
                admin, [topic for topic in missing if topic.role is InputTopic.EVENTS or not events_only]
            )
        report = _inspect(admin, settings, stream_events=events, partitions=partitions)
        return TopicReport(report.plan, report.existing, report.differences, tuple(created))


def grow_topics(
    settings: Settings, *, partitions: int, stream_events: Iterable[EventName] = (), yes: bool
) -> TopicGrowth:
    """Give events and co-partitioned topics `partitions` partitions, the events last; streams stay as they are.

    Without `yes` nothing is done. Growing cannot be undone. Raises UsageError for fewer partitions than there are,
    TopicConfigError when a topic is missing.
    """
    with _connect(settings) as admin:
        report = _inspect(admin, settings, stream_events=tuple(stream_events), partitions=None)
        roles = ("events", *CO_PARTITIONED)
        planned = [topic for topic in report.plan if topic.role in roles]
        if missing := [topic.name for topic in planned if topic.name not in report.existing]:
            raise TopicConfigError(f"topics are missing: {', '.join(missing)}", hint="`processor topics --create`")
        events, *co_partitioned = (report.existing[topic.name] for topic in planned)
        if partitions < events.partitions:
            raise UsageError(
                f"{events.name} has {events.partitions} partitions, more than {partitions}",
                hint="Kafka cannot take partitions away",
            )
        steps = tuple(
            (topic.name, topic.partitions, partitions)
            for topic in (*co_partitioned, events)
            if topic.partitions < partitions
        )
        if yes:
            for name, _, then in steps:
                _await_all(admin.create_partitions([NewPartitions(name, then)], request_timeout=_REQUEST_TIMEOUT_S))
                _await_visible(admin, {name: then})
        return TopicGrowth(steps, done=yes)


def _inspect(
    admin: Admin, settings: Settings, *, stream_events: tuple[EventName, ...], partitions: int | None
) -> TopicReport:
    names = [
        topic.name for topic in planned_topics(settings, partitions=DEFAULT_PARTITIONS, stream_events=stream_events)
    ]
    existing = describe_topics(admin, names)
    events = existing.get(settings.topic(InputTopic.EVENTS))
    if events is not None and partitions is not None and events.partitions != partitions:
        raise UsageError(
            f"{events.name} has {events.partitions} partitions, not {partitions}",
            hint=f"`processor topics --grow {partitions}`"
            if partitions > events.partitions
            else "Kafka cannot take partitions away",
        )
    plan = planned_topics(
        settings,
        partitions=events.partitions if events else partitions or DEFAULT_PARTITIONS,
        stream_events=stream_events,
        events_bytes=events.max_message_bytes if events else DEFAULT_MAX_MESSAGE_BYTES,
    )
    return TopicReport(plan, existing, compare_topics(plan, existing))


def _create(admin: AdminClient, missing: list[PlannedTopic]) -> list[Topic]:
    if not missing:
        return []
    new = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions,
            replication_factor=_DEFAULT_REPLICATION_FACTOR,
            config=topic.config,
        )
        for topic in missing
    ]
    created = _await_all(
        admin.create_topics(new, request_timeout=_REQUEST_TIMEOUT_S), ignore=KafkaError.TOPIC_ALREADY_EXISTS
    )
    _await_visible(admin, {topic.name: 1 for topic in missing})
    return created


def _await_all(requests: Mapping[str, Any], *, ignore: int | None = None) -> list[Topic]:
    """The topics whose request was carried out; the error `ignore` means that another client was faster."""
    done = []
    for name, future in requests.items():
        try:
            future.result()
        except KafkaException as exception:
            if error_of(exception).code() != ignore:
                raise
        else:
            done.append(Topic(name))
    return done


def _await_visible(admin: AdminClient, partitions: Mapping[Topic, int]) -> None:
    deadline = time.monotonic() + _VISIBLE_TIMEOUT_S
    while True:
        topics = admin.list_topics(timeout=_REQUEST_TIMEOUT_S).topics
        invisible = [name for name, count in partitions.items() if not _is_ready(topics.get(name), count)]
        if not invisible:
            return
        if time.monotonic() > deadline:
            raise DependencyError(
                f"created, but not visible after {_VISIBLE_TIMEOUT_S:.0f} s: {', '.join(invisible)}",
                hint="look at the broker's log; `processor topics` verifies",
            )
        time.sleep(0.1)


def _is_ready(topic: Any, partitions: int) -> bool:
    """Whether the topic has at least so many partitions, and each of them a leader."""
    return (
        topic is not None
        and topic.error is None
        and len(topic.partitions) >= partitions
        and all(partition.leader >= 0 for partition in topic.partitions.values())
    )


@contextmanager
def _connect(settings: Settings) -> Iterator[Admin]:
    """An admin client; what it raises inside the block becomes an error of the process."""
    admin = create_admin(settings)
    with exit_on_broker_errors(
        settings, admin, hint="grant CREATE, ALTER, DESCRIBE and DESCRIBE_CONFIGS on our topics"
    ):
        yield admin
