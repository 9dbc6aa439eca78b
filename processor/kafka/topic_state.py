"""The topics as they really are, read from the broker: partitions and limits of outputs, and what is wrong with any."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from processor.background import PeriodicCall
from processor.domain.output_topics import (
    CO_PARTITIONED,
    FIXED_OUTPUTS,
    MAX_RECORD_BYTES,
    OUTPUTS,
    FixedOutput,
    OutputTopic,
    OutputTopics,
)
from processor.domain.record import EventName, Topic
from processor.domain.reference import Table
from processor.domain.template import TemplateSet
from processor.errors import AuthorizationError, TopicConfigError, UnavailableError
from processor.kafka.clients import Admin
from processor.kafka.errors import error_of, translate_broker_errors
from processor.kafka.topic_plan import (
    DEFAULT_MAX_MESSAGE_BYTES,
    DEFAULT_PARTITIONS,
    Difference,
    ExistingTopic,
    compare_topics,
    min_dead_letter_bytes,
    planned_topics,
)
from processor.settings import InputTopic, Settings

log = structlog.get_logger()

CALL_TIMEOUT_S: Final = 10.0
CLIENT_GRACE_S: Final = 2.0  # for the client to end a call that has timed out
COMPARISON_INTERVAL_S: Final = 30.0
BATCH_OVERHEAD_BYTES: Final = 1_024
DESCRIBE_HINT: Final = "grant DESCRIBE and DESCRIBE_CONFIGS on our topics"
CREATE_HINT: Final = "`processor topics` shows what differs, `processor topics --create` creates what is missing"


def read_output_topics(
    admin: Admin, settings: Settings, templates: TemplateSet, *, require_partitions: bool = False
) -> OutputTopics:
    """The output topics with their partitions and limits. Blocks for two requests.

    Raises TopicConfigError when one is missing, when the dead letters could not hold every event, and, with
    `require_partitions`, when one has fewer partitions than the events; else a partition of the events waits for those
    of the outputs. UnavailableError when the broker does not respond, AuthorizationError when it refuses.
    """
    streams = {EventName(event): settings.stream_topic(event) for event in sorted(templates.stream_events())}
    names = [settings.topic(InputTopic.EVENTS), *map(settings.topic, FIXED_OUTPUTS), *dict.fromkeys(streams.values())]
    with translate_broker_errors(admin, hint=DESCRIBE_HINT):
        existing = describe_topics(admin, names)
    if missing := [name for name in names if name not in existing]:
        raise TopicConfigError(f"topics are missing: {', '.join(missing)}", hint=CREATE_HINT)
    if require_partitions:
        _check_partitions(settings, existing)
    _check_dead_letters(settings, existing)
    return OutputTopics(
        **{
            output: _output_topic(existing[settings.topic(output)], holds_events=OUTPUTS[output].holds_events)
            for output in FIXED_OUTPUTS
        },
        streams={event: _output_topic(existing[name]) for event, name in streams.items()},
    )


def _output_topic(topic: ExistingTopic, *, holds_events: bool = False) -> OutputTopic:
    limit = topic.max_message_bytes - BATCH_OVERHEAD_BYTES
    return OutputTopic(topic.name, topic.partitions, limit if holds_events else min(MAX_RECORD_BYTES, limit))


def _check_partitions(settings: Settings, existing: Mapping[Topic, ExistingTopic]) -> None:
    """Raise TopicConfigError when an output has fewer partitions than the events."""
    events = existing[settings.topic(InputTopic.EVENTS)]
    outputs = [existing[settings.topic(output)] for output in CO_PARTITIONED]
    too_few = [f"{topic.name} has {topic.partitions}" for topic in outputs if topic.partitions < events.partitions]
    if too_few:
        raise TopicConfigError(
            f"{events.name} has {events.partitions} partitions, but {', '.join(too_few)}",
            hint=f"`processor topics --grow {events.partitions} --yes` grows them, as a message stays in its event's "
            "partition",
        )


def _check_dead_letters(settings: Settings, existing: Mapping[Topic, ExistingTopic]) -> None:
    """Raise TopicConfigError when the dead letters' topic could not hold every event."""
    events, dead_letters = (
        existing[settings.topic(InputTopic.EVENTS)],
        existing[settings.topic(FixedOutput.DEAD_LETTERS)],
    )
    needed = min_dead_letter_bytes(settings, events_bytes=events.max_message_bytes)
    if dead_letters.max_message_bytes < needed:
        raise TopicConfigError(
            f"{dead_letters.name} takes {dead_letters.max_message_bytes} bytes; to hold any event and its headers it "
            f"needs {needed}",
            hint=f"set max.message.bytes of {dead_letters.name} to {needed} or more",
        )


def describe_topics(admin: Admin, names: Collection[Topic]) -> dict[Topic, ExistingTopic]:
    """Those of `names` that exist, with partitions and configuration. Blocks for two requests; raises what the client
    raises, and AuthorizationError for a topic that we may not see.

    All topics are listed: a request for one by name could create it, where the broker's auto.create.topics is on.
    """
    listed = admin.list_topics(timeout=CALL_TIMEOUT_S).topics
    partitions = {name: len(listed[name].partitions) for name in names if name in listed and listed[name].error is None}
    if missing := [name for name in names if name not in partitions]:
        _raise_if_hidden(admin, missing)
    return {
        name: ExistingTopic(name, partitions[name], config) for name, config in topic_configs(admin, partitions).items()
    }


def topic_configs(admin: AdminClient, names: Iterable[Topic]) -> dict[Topic, dict[str, str]]:
    """All properties of topics. Blocks for one request; raises what the client raises."""
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    if not resources:
        return {}
    futures = admin.describe_configs(resources, request_timeout=CALL_TIMEOUT_S)
    return {
        Topic(resource.name): {
            name: str(entry.value) for name, entry in future.result(CALL_TIMEOUT_S + CLIENT_GRACE_S).items()
        }
        for resource, future in futures.items()
    }


def _raise_if_hidden(admin: Admin, topics: Iterable[Topic]) -> None:
    """Raise AuthorizationError for those of `topics` that we may not see: a broker leaves them out of its list, as if
    there were none. Blocks for one request. Other errors are ignored."""
    hidden = []
    for name, description in admin.describe_topics(TopicCollection([*topics]), request_timeout=CALL_TIMEOUT_S).items():
        try:
            description.result(CALL_TIMEOUT_S + CLIENT_GRACE_S)
        except TimeoutError:
            continue
        except KafkaException as exception:
            if error_of(exception).code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                hidden.append(name)
    if hidden:
        raise AuthorizationError(f"not allowed to see {', '.join(hidden)}", hint=DESCRIBE_HINT)


def topic_differences(admin: Admin, settings: Settings, templates: TemplateSet) -> tuple[Difference, ...]:
    """What `processor topics` finds wrong with the topics as they are now. Blocks for two requests.

    Of reference topics only their clean-up: the rest is checked by their reader (tables/).
    Raises UnavailableError when the broker does not respond, AuthorizationError when it refuses.
    """
    stream_events = templates.stream_events()
    names = [
        topic.name for topic in planned_topics(settings, partitions=DEFAULT_PARTITIONS, stream_events=stream_events)
    ]
    with translate_broker_errors(admin, hint=DESCRIBE_HINT):
        existing = describe_topics(admin, names)
    events = existing.get(settings.topic(InputTopic.EVENTS))
    plan = planned_topics(
        settings,
        partitions=events.partitions if events else DEFAULT_PARTITIONS,
        stream_events=stream_events,
        events_bytes=events.max_message_bytes if events else DEFAULT_MAX_MESSAGE_BYTES,
    )
    tables = {settings.topic(table) for table in Table}
    return tuple(
        difference
        for difference in compare_topics(plan, existing)
        if difference.topic not in tables or difference.name == "cleanup.policy"
    )


class TopicWatch:
    """Compares the topics with the plan twice a minute, in a thread: anybody may change or delete one at any time."""

    def __init__(self, compare: Callable[[], tuple[Difference, ...]]) -> None:
        """`compare` blocks, and raises UnavailableError when nothing can be said now. Not thread-safe."""
        self._compare = compare
        self._comparison: PeriodicCall[tuple[Difference, ...]] = PeriodicCall(
            name="topics", interval_s=COMPARISON_INTERVAL_S
        )
        self._differences: frozenset[Difference] = frozenset()

    def poll(self) -> tuple[Difference, ...] | None:
        """All differences, if a comparison has just ended; else None. Never blocks; what is new is logged."""
        comparison = self._comparison.poll(self._compare)
        if comparison is None:
            return None
        try:
            differences = comparison.result()
        except (UnavailableError, AuthorizationError) as unavailable:
            log.warning("topic comparison unavailable", cause=str(unavailable))
            return None
        for difference in differences:
            if difference not in self._differences:
                log.warning("topic differs", topic=difference.topic, what=difference.what, hint=difference.hint)
        self._differences = frozenset(differences)
        return differences
