"""docs/reference/topics.md."""

from typing import Final

from processor.domain.output_topics import OUTPUTS, OutputSpec, Partitioning
from processor.domain.reference import TABLES
from processor.kafka.topic_plan import DEFAULT_PARTITIONS, STREAM_PARTITIONS, planned_topics
from processor.settings import InputTopic, Settings, settings_table
from tests.documents.markdown import page, table

_PARTITIONS: Final = {
    Partitioning.AS_EVENTS: "as the events topic, or more",
    Partitioning.FIXED: f"at most {STREAM_PARTITIONS}, chosen when it is created",
    Partitioning.SINGLE: "1",
}
_DAY_MS: Final = 86_400_000


def topics_page() -> str:
    """All topics with key, value and configuration, as `processor topics --create` makes them."""
    settings = Settings(tenant="northbank")
    plan = {topic.role: topic for topic in planned_topics(settings, partitions=DEFAULT_PARTITIONS, stream_events=())}
    names = {row.variable: row.default for row in settings_table()}
    outputs = [
        (
            f"`{spec.topic}`",
            f"`PROCESSOR_TOPICS__{name.upper()}`",
            spec.key,
            _value(spec),
            _PARTITIONS[spec.partitioning],
            _retention(spec),
        )
        for name, spec in OUTPUTS.items()
    ]
    tables = [
        (
            f"`{spec.topic}`",
            f"`PROCESSOR_TOPICS__{reference.upper()}`",
            spec.key,
            f"`{plan[reference].cleanup}`",
        )
        for reference, spec in TABLES.items()
    ]
    return page(
        "Topics",
        "`processor topics` compares the topics with these tables, and `processor topics --create` creates those that "
        "are missing. `PROCESSOR_TOPICS__PREFIX` stands before all names.",
        "## Input",
        f"`{names['PROCESSOR_TOPICS__EVENTS']}` (`PROCESSOR_TOPICS__EVENTS`): domain events, keyed as "
        "[producing events](../guides/producing.md) says, in Avro or JSON by the schemas of "
        f"[schemas/](../../schemas/README.md). Created with {plan[InputTopic.EVENTS].partitions} partitions and "
        f"{plan[InputTopic.EVENTS].retention_ms // _DAY_MS} days of retention.",
        "## Outputs",
        "A record is written to the partition that has the number of its event's partition; of the streams, to that "
        "number modulo the partitions of the stream. Retention that shows what became of an event is at least that "
        "of the events.",
        table(("Topic", "Setting", "Key", "Value", "Partitions", "Clean-up"), outputs),
        "## Reference tables",
        "Rows in JSON by key, compacted, one partition each: see [reference tables](../guides/reference-tables.md).",
        table(("Topic", "Setting", "Key", "Clean-up"), tables),
    )


def _value(spec: OutputSpec) -> str:
    description = spec.description.removesuffix(".")
    return description if spec.schema is None else f"`{spec.schema}`: {description[0].lower()}{description[1:]}"


def _retention(spec: OutputSpec) -> str:
    days = f", {spec.retention_days} days" if "delete" in spec.cleanup.policies else ""
    return f"`{spec.cleanup}`{days}"
