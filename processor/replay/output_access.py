"""What commands that read outputs have in common: the topics have to be there, schemas are waited for, and what cannot
be read now ends the command."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from processor.domain.output_topics import FixedOutput, OutputTopic
from processor.domain.record import SchemaGuid, SchemaId, Topic
from processor.errors import DependencyError, TopicConfigError, UnavailableError, UsageError
from processor.kafka.clients import Admin
from processor.kafka.errors import NoResponseError
from processor.kafka.offsets import partition_extent
from processor.kafka.read_range import StalledReadError, UnpackError, open_reader, read_range
from processor.kafka.topic_state import describe_topics
from processor.registry.cache import schemas_by_id, wait_for_schema
from processor.replay.set_history import SetHistory, set_history
from processor.settings import InputTopic, Settings
from processor.wire.reader_schemas import Schemas
from processor.wire.schema import SchemaOf, WriterSchema

REGISTRY_TIMEOUT_S: Final = 5.0  # for one schema
UNPACK_HINT: Final = "it fails until that batch can be read or has expired; of events, `replay --offsets` leaves it out"
OUTCOME_TOPICS: Final = (FixedOutput.STATUS, FixedOutput.DECISIONS, FixedOutput.DEAD_LETTERS)


def partition_counts(admin: Admin, settings: Settings) -> Mapping[Topic, int]:
    """The number of partitions of the events and of the topics that say what became of them. Blocks for two requests.

    Raises TopicConfigError when one is missing, and what `describe_topics` raises.
    """
    names = (settings.topic(InputTopic.EVENTS), *map(settings.topic, OUTCOME_TOPICS))
    existing = describe_topics(admin, names)
    if missing := [topic for topic in names if topic not in existing]:
        raise TopicConfigError(f"topics are missing: {', '.join(missing)}", hint="`processor topics --create`")
    return {name: topic.partitions for name, topic in existing.items()}


def require_partition(settings: Settings, counts: Mapping[Topic, int], partition: int) -> None:
    """Raise UsageError when the events have no such partition, TopicConfigError when one of their outputs lacks it."""
    events = settings.topic(InputTopic.EVENTS)
    if not 0 <= partition < counts[events]:
        raise UsageError(f"{events} has no partition {partition}", hint=f"it has {counts[events]}, from 0 on")
    for topic in map(settings.topic, OUTCOME_TOPICS):
        if partition >= counts[topic]:
            raise TopicConfigError(
                f"{topic} has no partition {partition}", hint="`processor topics` names the command to grow it"
            )


def blocking_schema_of(settings: Settings, schemas: Schemas) -> SchemaOf:
    """Writer schemas by id. DependencyError, not UnavailableError, when the registry does not give one."""
    known = schemas_by_id(settings, schemas)

    def schema_of(schema_id: SchemaId | SchemaGuid) -> WriterSchema:
        try:
            return wait_for_schema(known, schema_id, timeout_s=REGISTRY_TIMEOUT_S)
        except UnavailableError as error:
            raise DependencyError(
                f"{settings.schema_registry.url}: {error}", hint="check PROCESSOR_SCHEMA_REGISTRY__URL"
            ) from error

    return schema_of


def read_set_history(settings: Settings, admin: Admin, topic: OutputTopic) -> SetHistory:
    """The template sets of the past. Blocks; UnavailableError as `read_range`."""
    hint = f"grant READ on {topic.name}"
    extent = partition_extent(admin, topic.name, 0, hint=hint)
    with open_reader(settings, hint=hint) as reader:
        return set_history(
            (message.key() or b"", message.value())
            for message in read_range(reader, topic.name, 0, extent.first, extent.stable)
        )


@contextmanager
def exit_when_unavailable(settings: Settings) -> Iterator[None]:
    """DependencyError for what cannot be read now, but for a missing response, which names its cause itself."""
    try:
        yield
    except NoResponseError:
        raise
    except UnavailableError as error:
        cause = error.description if isinstance(error, StalledReadError) else str(error)
        hint = UNPACK_HINT if isinstance(error, UnpackError) else "try it again later"
        raise DependencyError(f"{settings.bootstrap_servers}: {cause}", hint=hint) from error
