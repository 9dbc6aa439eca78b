"""An installation of its own for each run of a contender: outputs, group and transactional id, beside shared events."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from processor.domain.output_topics import FixedOutput
from processor.domain.record import Topic
from processor.domain.reference import Table
from processor.domain.template import TemplateSet
from processor.settings import (
    HttpSettings,
    KafkaSettings,
    OutputSettings,
    Settings,
    TopicSettings,
)
from processor.wire.reader_schemas import Schemas
from processor.wire.wire_format import WireFormat
from tests.bench.compare_outputs import Kind
from tests.bench.load import EVENT
from tests.support.builders import TENANT
from tests.support.installation import Installation

SHARED: Final = frozenset(("prefix", "events"))  # settings of topics that no run has for itself


@dataclass(frozen=True, slots=True)
class Workbench:
    """What all runs share: a broker, schemas, the templates and their folder, and a temporary folder."""

    servers: str
    schemas: Schemas
    templates: TemplateSet
    templates_dir: Path
    folder: Path


def create_bench_installation(bench: Workbench, name: str, *, events: Topic, partitions: int) -> Installation:
    """With its topics, all of `partitions`; `events` are created with them unless they are there. Blocks."""
    defaults = TopicSettings()
    names = {
        field: f"bench-{name}.{'streams.{event}' if field == 'stream' else getattr(defaults, field)}"
        for field in TopicSettings.model_fields
        if field not in SHARED
    }
    settings = Settings(
        tenant=TENANT,
        group=f"bench-{name}",
        templates_dir=bench.templates_dir,
        state_dir=bench.folder / name,
        kafka=KafkaSettings(bootstrap_servers=bench.servers),
        topics=TopicSettings(events=events, **names),
        output=OutputSettings(stream_format=WireFormat.AVRO),
        http=HttpSettings(port=0),
    )
    environment = {
        "PROCESSOR_GROUP": settings.group_id,
        "PROCESSOR_TEMPLATES_DIR": str(bench.templates_dir),
        "PROCESSOR_STATE_DIR": str(bench.folder / name),
        "PROCESSOR_OUTPUT__STREAM_FORMAT": WireFormat.AVRO.value,
        "PROCESSOR_LOG__LEVEL": "warning",
        "PROCESSOR_TOPICS__EVENTS": events,
        **{f"PROCESSOR_TOPICS__{field.upper()}": topic for field, topic in names.items()},
    }
    installation = Installation(settings, bench.schemas, bench.templates, partitions, environment)
    for stream in installation.streams.values():
        installation.create_topic(stream, partitions)  # by default a stream has fewer
    installation.create_topics()
    return installation


def output_topics(installation: Installation) -> dict[Kind, Topic]:
    """The topics of the outputs of an event."""
    return {
        Kind.MESSAGE: installation.messages,
        Kind.STATUS: installation.status,
        Kind.STREAM: installation.settings.stream_topic(EVENT),
    }


def remove_outputs(installation: Installation, *others: Topic) -> None:
    """Delete an installation's topics but its events, and others. Blocks until the broker agrees; files go later."""
    topics = map(installation.settings.topic, (*FixedOutput, *Table))
    names: list[str] = [*topics, *installation.streams.values(), *others]
    admin = installation.admin()  # it must outlive its requests
    for deleted in admin.delete_topics(names).values():
        deleted.result(30)
