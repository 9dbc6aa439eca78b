"""The topics of the reference tables as they are: partitions, offsets, and whether they can be stored faithfully."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import OffsetSpec

from processor.domain.record import Topic
from processor.domain.reference import Table
from processor.errors import TopicConfigError
from processor.kafka.clients import Admin
from processor.kafka.errors import error_of, translate_broker_errors
from processor.kafka.offsets import partition_offsets
from processor.kafka.topic_plan import (
    MIN_DELETE_RETENTION_MS,
    ONE_PARTITION_HINT,
    longer_retention_hint,
    several_partitions_text,
    short_retention_text,
)
from processor.kafka.topic_state import CALL_TIMEOUT_S, CLIENT_GRACE_S, topic_configs
from processor.settings import Settings

READ_HINT: Final = "grant READ, DESCRIBE and DESCRIBE_CONFIGS on the reference topics"

TablePartition = tuple[Table, int]


@dataclass(frozen=True, slots=True)
class TableTopic:
    """The topic of a table as it is. `topic_id` is another one after it was deleted and created again."""

    table: Table
    name: Topic
    topic_id: str
    partitions: int
    delete_retention_ms: int  #: How long it keeps that a row was deleted.


def describe_table_topics(admin: Admin, settings: Settings) -> dict[Table, TableTopic]:
    """The topics of the tables. Blocks for two requests.

    Raises TopicConfigError when one is missing, UnavailableError when the broker does not respond, AuthorizationError
    when it refuses.
    """
    names = {table: settings.topic(table) for table in Table}
    missing: list[str] = []
    descriptions = {}
    with translate_broker_errors(admin, hint=READ_HINT):
        requests = admin.describe_topics(TopicCollection(list(names.values())), request_timeout=CALL_TIMEOUT_S)
        for name, request in requests.items():
            try:
                descriptions[name] = request.result(CALL_TIMEOUT_S + CLIENT_GRACE_S)
            except KafkaException as exception:
                if error_of(exception).code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
                missing.append(name)
        if missing:
            raise TopicConfigError(
                f"topics are missing: {', '.join(missing)}", hint="`processor topics --create` creates what is missing"
            )
        configs = topic_configs(admin, names.values())
    return {
        table: TableTopic(
            table,
            name,
            topic_id=str(descriptions[name].topic_id),
            partitions=len(descriptions[name].partitions),
            delete_retention_ms=int(configs[name]["delete.retention.ms"]),
        )
        for table, name in names.items()
    }


def check_table_topics(topics: Mapping[Table, TableTopic], settings: Settings) -> None:
    """Raise TopicConfigError for a topic that cannot be stored faithfully."""
    for topic in topics.values():
        if topic.partitions > 1 and not settings.reference.keys_are_stable:
            raise TopicConfigError(f"{topic.name} {several_partitions_text(topic.partitions)}", hint=ONE_PARTITION_HINT)
        if topic.delete_retention_ms < MIN_DELETE_RETENTION_MS:
            raise TopicConfigError(
                f"{topic.name} {short_retention_text(topic.delete_retention_ms)}",
                hint=longer_retention_hint(topic.name),
            )


def topic_changes(topics: Mapping[Table, TableTopic], settings: Settings) -> Iterator[str]:
    """What was done to the topics while we ran. Rows are stored in the order in which they come, which is right; a
    store that is built later would not have that order, so the next start refuses."""
    for topic in topics.values():
        if topic.partitions > 1 and not settings.reference.keys_are_stable:
            yield (
                f"{topic.name} was grown to {topic.partitions} partitions: the next start will refuse it; "
                "`processor topics` says what to do"
            )
        if topic.delete_retention_ms < MIN_DELETE_RETENTION_MS:
            yield (
                f"{topic.name} has delete.retention.ms={topic.delete_retention_ms} now: the next start will refuse it; "
                "`processor topics` says what to do"
            )


def partitions_of(topics: Mapping[Table, TableTopic]) -> list[TablePartition]:
    """All partitions of all tables."""
    return [(table, number) for table, topic in topics.items() for number in range(topic.partitions)]


def read_offsets(
    admin: Admin,
    partitions: Mapping[TablePartition, Topic],
    spec: OffsetSpec,
    *,
    isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
) -> dict[TablePartition, int]:
    """The offset of each partition, of the topic given. Blocks; raises as `partition_offsets`."""
    requested = {TopicPartition(topic, number): (table, number) for (table, number), topic in partitions.items()}
    offsets = partition_offsets(admin, dict.fromkeys(requested, spec), isolation=isolation, hint=READ_HINT)
    return {requested[partition]: offset for partition, offset in offsets.items()}


def with_topics(
    partitions: Iterable[TablePartition], topics: Mapping[Table, TableTopic]
) -> dict[TablePartition, Topic]:
    """Each partition with the name of its topic."""
    return {(table, number): topics[table].name for table, number in partitions}
