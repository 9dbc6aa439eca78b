"""The output topics as they really are: partitions and limits, read from the broker."""

from collections.abc import Iterable

from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from processor.engine.clients import Admin, asking, refuse_hidden
from processor.errors import LayoutError
from processor.mapping.template import TemplateSet
from processor.model.layout import Layout, OutputTopic
from processor.model.records import EventName, Topic
from processor.settings import Settings
from processor.topic_plan import TWINS, least_dead_letter_bytes

REQUEST_S = 10.0
MAX_RECORD_BYTES = 999_000  # the default of the public zalando/nakadi broker, whose interface the streaming API follows
BATCH_OVERHEAD_BYTES = 1_024
CREATE_HINT = "`processor topics` shows what differs, `processor topics --create` creates what is missing"


def read_layout(
    admin: Admin, settings: Settings, templates: TemplateSet, *, require_partitions: bool = False
) -> Layout:
    """The output topics with their partitions and limits. Blocks for two requests.

    Raises LayoutError when one is missing, when the dead letters could not hold every event, and, with
    `require_partitions`, when one has fewer partitions than the events; else a partition of the events waits for those
    of the outputs (start.py). UnavailableError when the broker does not answer, NotAllowedError when it refuses.
    """
    events = settings.topic("events")
    streams = {event: settings.stream_topic(event) for event in sorted(templates.stream_events())}
    twins = {name: settings.topic(name) for name in TWINS}
    sets = settings.topic("template_sets")
    wanted = [*twins.values(), sets, *dict.fromkeys(streams.values())]
    with asking(admin, hint="grant DESCRIBE and DESCRIBE_CONFIGS on our topics"):
        present = {
            name: len(topic.partitions)
            for name, topic in admin.list_topics(timeout=REQUEST_S).topics.items()
            if topic.error is None
        }
        missing = [name for name in (events, *wanted) if name not in present]
        if missing:
            refuse_hidden(admin, missing, within_s=REQUEST_S)
            raise LayoutError(f"topics are missing: {', '.join(missing)}", hint=CREATE_HINT)
        few = [f"{name} has {present[name]}" for name in twins.values() if present[name] < present[events]]
        if few and require_partitions:
            raise LayoutError(
                f"{events} has {present[events]} partitions, but {', '.join(few)}",
                hint=f"`processor topics --grow {present[events]} --yes` grows them, as a message stays in its event's "
                "partition",
            )
        told = topic_configs(admin, [Topic(events), *wanted], "max.message.bytes")
        limits = {topic: int(value) for topic, value in told.items()}
    letters = twins["dead_letters"]
    needed = least_dead_letter_bytes(settings, events_bytes=limits[Topic(events)])
    if limits[letters] < needed:
        raise LayoutError(
            f"{letters} takes {limits[letters]} bytes; to hold any event and its headers it needs {needed}",
            hint=f"set max.message.bytes of {letters} to {needed} or more",
        )

    def output(name: Topic) -> OutputTopic:
        most = limits[name] - BATCH_OVERHEAD_BYTES
        return OutputTopic(name, present[name], most if name == letters else min(MAX_RECORD_BYTES, most))

    return Layout(
        messages=output(twins["messages"]),
        status=output(twins["status"]),
        decisions=output(twins["decisions"]),
        dead_letters=output(letters),
        notifications=output(twins["notifications"]),
        template_sets=output(sets),
        streams={EventName(event): output(name) for event, name in streams.items()},
    )


def topic_configs(admin: AdminClient, topics: Iterable[Topic], name: str) -> dict[Topic, str]:
    """One property of each topic. Blocks; raises what the client raises."""
    resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in dict.fromkeys(topics)]
    futures = admin.describe_configs(resources, request_timeout=REQUEST_S)
    return {Topic(resource.name): future.result(REQUEST_S + 2)[name].value for resource, future in futures.items()}
