"""`processor topics`: what exists, what is missing, what differs; creates what is missing and grows what is too small.

Nothing that exists is ever changed, but for `--grow --yes`, and nothing is deleted.
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
from processor.errors import AuthorizationError, DependencyError, TopicConfigError, UsageError
from processor.kafka.clients import AUTHORIZATION_ERRORS, Admin, admin, error_of, unreachable
from processor.kafka.topic_plan import (
    DEFAULT_PARTITIONS,
    KAFKA_DEFAULT_BYTES,
    Difference,
    ExistingTopic,
    PlannedTopic,
    differences,
    planned_topics,
)
from processor.kafka.topic_state import existing_topics
from processor.settings import Settings

_REQUEST_S: Final = 10.0
_VISIBLE_S: Final = 15.0  # a new topic is known to every broker only after its metadata went round
_BROKERS_REPLICATION: Final = -1  # the broker's default.replication.factor (KIP-464)

ORDER_ADVICE: Final = (
    "an account may change its partition, and order holds within a partition only: stop the producers, let `run` reach "
    "the end of every partition, then grow"
)


@dataclass(frozen=True, slots=True)
class Report:
    """The topics of the plan as they are."""

    plan: tuple[PlannedTopic, ...]
    existing: Mapping[Topic, ExistingTopic]
    differences: tuple[Difference, ...]
    created: tuple[Topic, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """One object for machines."""
        return {
            "topics": [self._topic_json(topic) for topic in self.plan],
            "created": list(self.created),
            "differences": [{"topic": d.topic, "what": d.what, "hint": d.hint} for d in self.differences],
        }

    def _topic_json(self, planned: PlannedTopic) -> dict[str, Any]:
        actual = self.existing.get(planned.name)
        return {
            "name": planned.name,
            "role": planned.role,
            "exists": actual is not None,
            "partitions": actual.partitions if actual else planned.partitions,
            "config": {name: (actual.config if actual else planned.config).get(name) for name in _SHOWN},
        }


@dataclass(frozen=True, slots=True)
class Growth:
    """Topics and the number of partitions that each is to get, in the order in which it is done: events last."""

    steps: tuple[tuple[Topic, int, int], ...]  #: (topic, partitions now, partitions then)
    done: bool

    def as_json(self) -> dict[str, Any]:
        """One object for machines."""
        return {
            "grown": self.done,
            "topics": [{"name": name, "from": now, "to": then} for name, now, then in self.steps],
            "order": ORDER_ADVICE,
        }


_SHOWN: Final = ("cleanup.policy", "retention.ms", "max.message.bytes")


def look(settings: Settings, *, stream_events: Iterable[EventName], partitions: int | None = None) -> Report:
    """What exists and what differs from the plan. Blocks for two requests.

    `partitions` is what the events ought to have; None takes what they have. Raises UsageError when the events exist
    with another number, DependencyError when the broker does not answer or refuses.
    """
    with _asked(settings) as asker:
        return _look(asker, settings, stream_events=tuple(stream_events), partitions=partitions)


def create(settings: Settings, *, stream_events: Iterable[EventName], partitions: int | None = None) -> Report:
    """Create what is missing; then as `look`. Blocks until every topic of the plan can be seen, 15 s at most.

    Without `partitions` the twins get as many as the events have, or all of them `DEFAULT_PARTITIONS`.
    """
    events = tuple(stream_events)
    with _asked(settings) as asker:
        created: list[Topic] = []
        # The events first: what the dead letters must be able to hold follows from the limit they get.
        for wanted in (lambda topic: topic.role == "events", lambda _topic: True):
            report = _look(asker, settings, stream_events=events, partitions=partitions)
            missing = [topic for topic in report.plan if topic.name not in report.existing and wanted(topic)]
            created += _create(asker, missing)
        report = _look(asker, settings, stream_events=events, partitions=partitions)
        return Report(report.plan, report.existing, report.differences, tuple(created))


def grow(settings: Settings, *, partitions: int, stream_events: Iterable[EventName] = (), yes: bool) -> Growth:
    """Give events and twins `partitions` partitions, the events last; streams stay as they were created.

    Without `yes` nothing is done. Growing cannot be undone. Raises UsageError for fewer partitions than there are,
    TopicConfigError when a topic is missing.
    """
    with _asked(settings) as asker:
        report = _look(asker, settings, stream_events=tuple(stream_events), partitions=None)
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
                _wait(asker.create_partitions([NewPartitions(name, then)], request_timeout=_REQUEST_S))
                _until_visible(asker, {name: then})
        return Growth(steps, done=yes)


def _look(asker: Admin, settings: Settings, *, stream_events: tuple[EventName, ...], partitions: int | None) -> Report:
    names = [
        topic.name for topic in planned_topics(settings, partitions=DEFAULT_PARTITIONS, stream_events=stream_events)
    ]
    existing = existing_topics(asker, names)
    events = existing.get(settings.topic("events"))
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
        events_bytes=events.max_message_bytes if events else KAFKA_DEFAULT_BYTES,
    )
    return Report(plan, existing, differences(plan, existing))


def _create(asker: AdminClient, missing: list[PlannedTopic]) -> list[Topic]:
    if not missing:
        return []
    new = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions,
            replication_factor=_BROKERS_REPLICATION,
            config=topic.config,
        )
        for topic in missing
    ]
    created = _wait(asker.create_topics(new, request_timeout=_REQUEST_S), already=KafkaError.TOPIC_ALREADY_EXISTS)
    _until_visible(asker, {topic.name: 1 for topic in missing})
    return created


def _wait(answers: Mapping[str, Any], *, already: int | None = None) -> list[Topic]:
    """The topics of which the request was carried out; `already` is the error that means somebody else was faster."""
    done = []
    for name, future in answers.items():
        try:
            future.result()
        except KafkaException as exception:
            if error_of(exception).code() != already:
                raise
        else:
            done.append(Topic(name))
    return done


def _until_visible(asker: AdminClient, partitions: Mapping[Topic, int]) -> None:
    deadline = time.monotonic() + _VISIBLE_S
    while True:
        topics = asker.list_topics(timeout=_REQUEST_S).topics
        unseen = [name for name, least in partitions.items() if not _ready(topics.get(name), least)]
        if not unseen:
            return
        if time.monotonic() > deadline:
            raise DependencyError(
                f"created, but not to be seen after {_VISIBLE_S:.0f} s: {', '.join(unseen)}",
                hint="look at the broker's log; `processor topics` verifies",
            )
        time.sleep(0.1)


def _ready(topic: Any, least: int) -> bool:
    """Whether the topic has its partitions, and each of them a leader."""
    return (
        topic is not None
        and topic.error is None
        and len(topic.partitions) >= least
        and all(partition.leader >= 0 for partition in topic.partitions.values())
    )


@contextmanager
def _asked(settings: Settings) -> Iterator[Admin]:
    """An admin client; turns what it raises inside the block into the errors of the process."""
    asker = admin(settings)
    try:
        yield asker
    except KafkaException as exception:
        error = error_of(exception)
        if error.code() in AUTHORIZATION_ERRORS:
            raise AuthorizationError(
                f"not allowed: {error.name()}: {error.str()}",
                hint="grant CREATE, ALTER, DESCRIBE and DESCRIBE_CONFIGS on our topics",
            ) from exception
        raise unreachable(settings, asker, error) from exception
