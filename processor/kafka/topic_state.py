"""The topics as they really are, read from the broker: partitions and limits of outputs, and what is wrong with any."""

import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future

import structlog
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from processor.background import call_in_thread
from processor.domain.output_topics import CO_PARTITIONED, FIXED_OUTPUTS, OUTPUTS, OutputTopic, OutputTopics
from processor.domain.record import EventName, Topic
from processor.domain.template import TemplateSet
from processor.errors import AuthorizationError, TopicConfigError, UnavailableError
from processor.kafka.clients import Admin, refuse_hidden, translate_broker_errors
from processor.kafka.topic_plan import (
    DEFAULT_PARTITIONS,
    KAFKA_DEFAULT_BYTES,
    TABLES,
    Difference,
    ExistingTopic,
    differences,
    least_dead_letter_bytes,
    planned_topics,
)
from processor.settings import Settings

log = structlog.get_logger()

REQUEST_S = 10.0
WATCH_S = 30.0
MAX_RECORD_BYTES = 999_000  # the default of the public zalando/nakadi broker, whose interface the streaming API follows
BATCH_OVERHEAD_BYTES = 1_024
CREATE_HINT = "`processor topics` shows what differs, `processor topics --create` creates what is missing"


def read_output_topics(
    admin: Admin, settings: Settings, templates: TemplateSet, *, require_partitions: bool = False
) -> OutputTopics:
    """The output topics with their partitions and limits. Blocks for two requests.

    Raises TopicConfigError when one is missing, when the dead letters could not hold every event, and, with
    `require_partitions`, when one has fewer partitions than the events; else a partition of the events waits for those
    of the outputs. UnavailableError when the broker does not answer, AuthorizationError when it refuses.
    """
    events = settings.topic("events")
    streams = {event: settings.stream_topic(event) for event in sorted(templates.stream_events())}
    fixed = {output: settings.topic(output) for output in FIXED_OUTPUTS}
    co_partitioned = [fixed[output] for output in CO_PARTITIONED]
    wanted = [*fixed.values(), *dict.fromkeys(streams.values())]
    with translate_broker_errors(admin, hint="grant DESCRIBE and DESCRIBE_CONFIGS on our topics"):
        present = partition_counts(admin)
        missing = [name for name in (events, *wanted) if name not in present]
        if missing:
            refuse_hidden(admin, missing, within_s=REQUEST_S)
            raise TopicConfigError(f"topics are missing: {', '.join(missing)}", hint=CREATE_HINT)
        few = [f"{name} has {present[name]}" for name in co_partitioned if present[name] < present[events]]
        if few and require_partitions:
            raise TopicConfigError(
                f"{events} has {present[events]} partitions, but {', '.join(few)}",
                hint=f"`processor topics --grow {present[events]} --yes` grows them, as a message stays in its event's "
                "partition",
            )
        told = topic_configs(admin, [Topic(events), *wanted], "max.message.bytes")
        limits = {topic: int(value) for topic, value in told.items()}
    letters = fixed["dead_letters"]
    needed = least_dead_letter_bytes(settings, events_bytes=limits[Topic(events)])
    if limits[letters] < needed:
        raise TopicConfigError(
            f"{letters} takes {limits[letters]} bytes; to hold any event and its headers it needs {needed}",
            hint=f"set max.message.bytes of {letters} to {needed} or more",
        )

    def topic(name: Topic, *, holds_events: bool = False) -> OutputTopic:
        limit = limits[name] - BATCH_OVERHEAD_BYTES
        return OutputTopic(name, present[name], limit if holds_events else min(MAX_RECORD_BYTES, limit))

    return OutputTopics(
        **{output: topic(name, holds_events=OUTPUTS[output].holds_events) for output, name in fixed.items()},
        streams={EventName(event): topic(name) for event, name in streams.items()},
    )


def topic_configs(admin: AdminClient, topics: Iterable[Topic], name: str) -> dict[Topic, str]:
    """One property of each topic. Blocks; raises what the client raises."""
    resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in dict.fromkeys(topics)]
    futures = admin.describe_configs(resources, request_timeout=REQUEST_S)
    return {Topic(resource.name): future.result(REQUEST_S + 2)[name].value for resource, future in futures.items()}


def partition_counts(admin: AdminClient) -> dict[Topic, int]:
    """How many partitions each topic of the cluster has. Blocks for one request; raises what the client raises.

    All topics are listed: a request for one by name could create it, where the broker's auto.create.topics is on.
    """
    listed = admin.list_topics(timeout=REQUEST_S).topics
    return {Topic(name): len(topic.partitions) for name, topic in listed.items() if topic.error is None}


def existing_topics(admin: Admin, names: Collection[Topic]) -> dict[Topic, ExistingTopic]:
    """Those of `names` that there are, with partitions and configuration. Blocks for two requests; raises what the
    client raises, and AuthorizationError for a topic that we may not see.
    """
    partitions = partition_counts(admin)
    if absent := [name for name in names if name not in partitions]:
        refuse_hidden(admin, absent, within_s=REQUEST_S)
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names if name in partitions]
    if not resources:
        return {}
    futures = admin.describe_configs(resources, request_timeout=REQUEST_S)
    return {
        Topic(resource.name): ExistingTopic(
            Topic(resource.name),
            partitions[Topic(resource.name)],
            {name: str(entry.value) for name, entry in future.result(REQUEST_S + 2).items()},
        )
        for resource, future in futures.items()
    }


def topic_differences(admin: Admin, settings: Settings, templates: TemplateSet) -> tuple[Difference, ...]:
    """What `processor topics` finds wrong with the topics as they are now. Blocks for two requests.

    Of reference topics only their clean-up: what else may be wrong with them is for those who read them (tables.py).
    Raises UnavailableError when the broker does not answer, AuthorizationError when it refuses.
    """
    stream_events = templates.stream_events()
    names = [
        topic.name for topic in planned_topics(settings, partitions=DEFAULT_PARTITIONS, stream_events=stream_events)
    ]
    with translate_broker_errors(admin, hint="grant DESCRIBE and DESCRIBE_CONFIGS on our topics"):
        existing = existing_topics(admin, names)
    events = existing.get(settings.topic("events"))
    plan = planned_topics(
        settings,
        partitions=events.partitions if events else DEFAULT_PARTITIONS,
        stream_events=stream_events,
        events_bytes=events.max_message_bytes if events else KAFKA_DEFAULT_BYTES,
    )
    tables = {settings.topic(table) for table in TABLES}
    return tuple(
        difference
        for difference in differences(plan, existing)
        if difference.topic not in tables or difference.name == "cleanup.policy"
    )


class TopicWatch:
    """Compares the topics with the plan twice a minute, in a thread: anybody may change or delete one at any time."""

    def __init__(self, compare: Callable[[], tuple[Difference, ...]]) -> None:
        """`compare` blocks, and raises UnavailableError when nothing can be said now. Not thread-safe."""
        self._compare = compare
        self._comparison: Future[tuple[Difference, ...]] | None = None
        self._compare_at = 0.0
        self._found: frozenset[Difference] = frozenset()

    def poll(self) -> tuple[Difference, ...] | None:
        """All differences, if a comparison has just ended; else None. Never blocks; what is new is logged."""
        now = time.monotonic()
        if self._comparison is None:
            if now >= self._compare_at:
                self._comparison = call_in_thread(self._compare, name="topics")
            return None
        if not self._comparison.done():
            return None
        ended, self._comparison = self._comparison, None
        self._compare_at = now + WATCH_S
        try:
            found = ended.result()
        except (UnavailableError, AuthorizationError) as unavailable:
            log.warning("topic comparison unavailable", cause=str(unavailable))
            return None
        for difference in found:
            if difference not in self._found:
                log.warning("topic differs", topic=difference.topic, what=difference.what, hint=difference.hint)
        self._found = frozenset(found)
        return found
