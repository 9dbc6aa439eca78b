"""The topics of one installation as they should be: names, partitions, configuration; and what differs from that."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from processor.domain.output_topics import CO_PARTITIONED, OUTPUTS, SINGLE, Cleanup, StreamOutput
from processor.domain.record import EventName, Topic
from processor.domain.reference import TABLES, Table
from processor.settings import FixedTopic, InputTopic, Settings

_DAY_MS: Final = 24 * 60 * 60 * 1000
_FOR_EVER: Final = -1
_MISSING: Final = "is missing"

DEFAULT_PARTITIONS: Final = 6

STREAM_PARTITIONS: Final = 3
"""Most partitions of a new stream topic. A commit costs more with each partition it touches, and there is a topic for
each event; a partition of a stream is its source's modulo this, so the number stays what it was at creation."""

DEFAULT_MAX_MESSAGE_BYTES: Final = 1_048_588
"""`max.message.bytes` of a topic where it is not set (org.apache.kafka.server.config.ServerLogConfigs)."""

DEAD_LETTER_ROOM_BYTES: Final = 64 * 1024
"""What a dead letter may weigh beside the event itself: the added headers, `dl.failed` being cut at half of this."""

Role = FixedTopic | StreamOutput


@dataclass(frozen=True, slots=True)
class _TopicDefaults:
    """How one kind of topic is made."""

    cleanup: Cleanup
    retention_days: int
    proof: bool = False  #: Shows that an event had its outcome, so it lives at least as long as events do.


_TOPIC_DEFAULTS: Final[Mapping[Role, _TopicDefaults]] = {
    InputTopic.EVENTS: _TopicDefaults(Cleanup.DELETE, 30),
    **{
        output: _TopicDefaults(spec.cleanup, spec.retention_days, proof=spec.is_proof)
        for output, spec in OUTPUTS.items()
    },
    **dict.fromkeys(Table, _TopicDefaults(Cleanup.COMPACT, 0)),
}

TABLE_PARTITIONS: Final = 1
"""Partitions of a reference topic. Every process reads all of it, so one does: it keeps the rows of a key in the order
in which they were written. With more, a key may have an old row in one partition and its new one, or its deletion, in
another, and nothing says reliably which came last: times are the producers', and compaction takes deletions away."""

MIN_DELETE_RETENTION_MS: Final = 600_000
"""The shortest `delete.retention.ms` of a reference topic. A process notes twice a minute that it has all, and its
local store is used after a restart if it was away for less than half of the time: five minutes; the other half is for
reading.
"""

LOG_APPEND_TIME: Final = "LogAppendTime"
"""The `message.timestamp.type` of new reference topics: the broker's clock, not that of each producer."""


@dataclass(frozen=True, slots=True)
class PlannedTopic:
    """A topic as `processor topics --create` makes it.

    `partitions` is the least for events and co-partitioned topics; a stream may have any number. `max_message_bytes` is
    the least that the topic must take, None where the broker's default will do; `max_partitions` is None without a
    limit.
    """

    name: Topic
    role: Role
    partitions: int
    cleanup: Cleanup
    retention_ms: int
    max_message_bytes: int | None = None
    max_partitions: int | None = None

    @property
    def config(self) -> dict[str, str]:
        """The topic's configuration at creation."""
        config = {"cleanup.policy": self.cleanup.value, "retention.ms": str(self.retention_ms)}
        if self.max_message_bytes is not None:
            config["max.message.bytes"] = str(self.max_message_bytes)
        if self.role in TABLES:
            config["message.timestamp.type"] = LOG_APPEND_TIME
        return config


@dataclass(frozen=True, slots=True)
class ExistingTopic:
    """A topic as it is: number of partitions, and its configuration as the broker reports it."""

    name: Topic
    partitions: int
    config: Mapping[str, str]

    @property
    def retention_ms(self) -> int:
        """How long a record lives; -1 is for ever, which compaction without deletion is too."""
        return int(self.config["retention.ms"]) if "delete" in self.cleanup else _FOR_EVER

    @property
    def delete_retention_ms(self) -> int:
        """How long compaction keeps that a key was deleted."""
        return int(self.config["delete.retention.ms"])

    @property
    def retention_bytes(self) -> int:
        """How many bytes of a partition are kept; -1 is all of them, as with compaction without deletion."""
        return int(self.config.get("retention.bytes", _FOR_EVER)) if "delete" in self.cleanup else _FOR_EVER

    @property
    def cleanup(self) -> frozenset[str]:
        """The policies, in no order."""
        return frozenset(filter(None, self.config["cleanup.policy"].replace(" ", "").split(",")))

    @property
    def max_message_bytes(self) -> int:
        """The largest batch of records, as compressed, that it takes."""
        return int(self.config["max.message.bytes"])


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it must be, and what to do about it. `name`: the topic's property, if it is one."""

    topic: Topic
    what: str
    hint: str
    name: str = ""

    @property
    def is_missing(self) -> bool:
        """Whether there is no such topic."""
        return self.what == _MISSING


def min_dead_letter_bytes(settings: Settings, *, events_bytes: int = DEFAULT_MAX_MESSAGE_BYTES) -> int:
    """The `max.message.bytes` that the dead letters' topic needs, so that the bytes of any event go in untouched.

    `events_bytes` is the `max.message.bytes` of the events' topic, which limits compressed batches;
    PROCESSOR_MAX_EVENT_BYTES limits the event itself. The larger of the two counts, and room for the headers.
    """
    return max(events_bytes, settings.max_event_bytes) + DEAD_LETTER_ROOM_BYTES


def planned_topics(
    settings: Settings,
    *,
    partitions: int,
    stream_events: Iterable[EventName],
    events_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
) -> tuple[PlannedTopic, ...]:
    """Events, co-partitioned topics, template sets, reference tables, the streams by name; two events that share a
    stream's topic give one.

    `partitions` is the number for events and co-partitioned topics. `stream_events` are those that an active
    EVENT_STREAM template uses; `events_bytes` as `min_dead_letter_bytes` has it. Raises UsageError when there are
    streams, the pattern has {tenant} and no tenant is set.
    """
    for_events = min_dead_letter_bytes(settings, events_bytes=events_bytes)
    streams = sorted({settings.stream_topic(event) for event in stream_events})
    return (
        _planned(InputTopic.EVENTS, settings.topic(InputTopic.EVENTS), partitions=partitions),
        *(
            _planned(
                output,
                settings.topic(output),
                partitions=partitions,
                max_message_bytes=for_events if OUTPUTS[output].holds_events else None,
            )
            for output in CO_PARTITIONED
        ),
        *(_planned(output, settings.topic(output), partitions=1) for output in SINGLE),
        *(
            _planned(
                table,
                settings.topic(table),
                partitions=TABLE_PARTITIONS,
                max_partitions=None if settings.reference.keys_are_stable else TABLE_PARTITIONS,
            )
            for table in Table
        ),
        *(_planned(StreamOutput.STREAM, name, partitions=min(partitions, STREAM_PARTITIONS)) for name in streams),
    )


def _planned(
    role: Role,
    name: Topic,
    *,
    partitions: int,
    max_message_bytes: int | None = None,
    max_partitions: int | None = None,
) -> PlannedTopic:
    row = _TOPIC_DEFAULTS[role]
    retention_ms = row.retention_days * _DAY_MS if "delete" in row.cleanup.policies else _FOR_EVER
    return PlannedTopic(name, role, partitions, row.cleanup, retention_ms, max_message_bytes, max_partitions)


def compare_topics(plan: Iterable[PlannedTopic], existing: Mapping[Topic, ExistingTopic]) -> tuple[Difference, ...]:
    """What must be fixed before `run` can keep its promises, in the order of `plan`. Empty: all is well.

    More partitions, a longer retention or a larger limit than planned is no difference, but for the partitions of
    reference tables; neither is a shorter retention of events or streams. Co-partitioned topics are compared with the
    events as they are, not as they were planned.
    """
    plan = tuple(plan)
    events = next((existing.get(topic.name) for topic in plan if topic.role is InputTopic.EVENTS), None)
    found: list[Difference] = []
    for topic in plan:
        actual = existing.get(topic.name)
        if actual is None:
            found.append(Difference(topic.name, _MISSING, "`processor topics --create`"))
        else:
            found += _differences(topic, actual, events)
    return tuple(found)


def _differences(topic: PlannedTopic, actual: ExistingTopic, events: ExistingTopic | None) -> Iterable[Difference]:
    if topic.role in CO_PARTITIONED and events is not None and actual.partitions < events.partitions:
        yield Difference(
            topic.name,
            f"has {_count(actual.partitions)}, fewer than the {events.partitions} of {events.name}",
            f"`processor topics --grow {events.partitions} --yes`",
        )
    if topic.max_partitions is not None and actual.partitions > topic.max_partitions:
        yield Difference(topic.name, several_partitions_text(actual.partitions), ONE_PARTITION_HINT)
    if topic.role in TABLES and actual.config.get("message.timestamp.type") != LOG_APPEND_TIME:
        found = actual.config.get("message.timestamp.type", "no value")
        yield _config_difference(topic.name, "message.timestamp.type", found, LOG_APPEND_TIME)
    if topic.role in TABLES and actual.delete_retention_ms < MIN_DELETE_RETENTION_MS:
        yield Difference(
            topic.name, short_retention_text(actual.delete_retention_ms), longer_retention_hint(topic.name)
        )
    if actual.cleanup != topic.cleanup.policies:
        lost = _lost_by(topic, actual)
        yield _config_difference(
            topic.name, "cleanup.policy", actual.config["cleanup.policy"], topic.cleanup, lost=lost
        )
    if _TOPIC_DEFAULTS[topic.role].proof and events is not None and _is_less(actual.retention_ms, events.retention_ms):
        yield Difference(
            topic.name,
            f"keeps records for {_days(actual.retention_ms)}, {events.name} for {_days(events.retention_ms)}: "
            "an event would outlive the proof of what became of it",
            f"set retention.ms={events.retention_ms} or more on {topic.name}",
            "retention.ms",
        )
    if (
        _TOPIC_DEFAULTS[topic.role].proof
        and events is not None
        and _is_less(actual.retention_bytes, events.retention_bytes)
    ):
        most = "any number of" if events.retention_bytes == _FOR_EVER else str(events.retention_bytes)
        yield Difference(
            topic.name,
            f"keeps {actual.retention_bytes} bytes of a partition, {events.name} {most}: "
            "an event would outlive the proof of what became of it",
            f"set retention.bytes={events.retention_bytes} on {topic.name}",
            "retention.bytes",
        )
    if topic.max_message_bytes is not None and actual.max_message_bytes < topic.max_message_bytes:
        yield _config_difference(
            topic.name, "max.message.bytes", str(actual.max_message_bytes), str(topic.max_message_bytes)
        )


def short_retention_text(delete_retention_ms: int) -> str:
    """What is wrong with a reference topic that keeps deletions for so short a time."""
    return (
        f"has delete.retention.ms={delete_retention_ms}: a process that was away for a moment might miss a deletion "
        "and keep the row for ever"
    )


def longer_retention_hint(topic: Topic) -> str:
    """What to do about it."""
    return f"set delete.retention.ms={MIN_DELETE_RETENTION_MS} or more on {topic}; Kafka's default, {_DAY_MS}, is a day"


ONE_PARTITION_HINT: Final = (
    "create it with one partition and write all rows again; PROCESSOR_REFERENCE__KEYS_ARE_STABLE=true if its producer "
    "has kept each key in one partition ever since"
)


def several_partitions_text(partitions: int) -> str:
    """What is wrong with a reference topic of more than one partition."""
    return (
        f"has {partitions} partitions: where it was grown, an old row of a key may lie in one of them and its new row, "
        "or its deletion, in another, so that people who withdrew would be written to"
    )


def _lost_by(topic: PlannedTopic, actual: ExistingTopic) -> str:
    """What is lost where a topic has this clean-up and not the planned one; empty where nothing is."""
    planned = topic.cleanup.policies
    if "compact" in actual.cleanup - planned:
        if topic.role is InputTopic.EVENTS:
            return "of an account's events all but the last may be gone before they are read"
        return "of the records of a key all but the last are lost, and one without a key is refused"
    return "what was written last long ago is lost" if "delete" in actual.cleanup - planned else ""


def _config_difference(topic: Topic, name: str, actual: str, planned: str, *, lost: str = "") -> Difference:
    what = f"has {name}={actual}, not {planned}" + (f": {lost}" if lost else "")
    return Difference(topic, what, f"set {name}={planned} on {topic}", name)


def _is_less(limit: int, other: int) -> bool:
    """Whether a retention, by time or bytes, is less than another; -1 is without a limit."""
    return limit != _FOR_EVER and (other == _FOR_EVER or limit < other)


def _days(ms: int) -> str:
    return "ever" if ms == _FOR_EVER else f"{ms / _DAY_MS:g} days"


def _count(partitions: int) -> str:
    return "1 partition" if partitions == 1 else f"{partitions} partitions"
