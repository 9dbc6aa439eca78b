"""From settings to the parts of the engine: what is read first, what is waited for, and what is closed in the end."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Protocol
from zoneinfo import ZoneInfo

import structlog
from confluent_kafka import Producer

from processor.domain.output_topics import OutputTopics
from processor.engine.assigned_records import AssignedRecords
from processor.engine.consumer import EventConsumer
from processor.engine.mapping_parts import (
    LocalParts,
    MappingParts,
    TableRestore,
    build_mapping,
    read_server_parts,
    retry_until_available,
)
from processor.engine.publisher import TransactionalPublisher
from processor.engine.start_offsets import StartOffsetResolver, StartPolicy, parse_start_policy
from processor.engine.status import EngineStatus
from processor.engine.step import StepHook
from processor.kafka.clients import (
    Admin,
    CoordinatorMonitor,
    OnFailure,
    consumer_properties,
    create_admin,
    create_consumer,
    create_producer,
    producer_properties,
)
from processor.kafka.topic_state import TopicWatch, read_output_topics, topic_differences
from processor.memory import GarbageCollection
from processor.observability.signals import Shutdown
from processor.registry.cache import schemas_by_id
from processor.registry.schema_files import load_schemas
from processor.settings import Settings
from processor.templates.reload import TemplateReloader
from processor.wire.reader_schemas import Schemas

log = structlog.get_logger()

CLOSE_CONSUMER_TIMEOUT_S = 3.0
DEAD_LETTER_HEADROOM_BYTES = 1_024  # of a record over the dead letters' limit, for its key and headers


class ReadTopics(Protocol):
    """`read_output_topics` with the templates in use; raises as that does."""

    def __call__(self, client: Admin | None = None, *, require_partitions: bool = False) -> OutputTopics: ...


@dataclass(frozen=True, slots=True)
class RunContext:
    """One run of the engine."""

    transactional_id: str
    shutdown: Shutdown
    status: EngineStatus
    on_step: StepHook
    until_end: bool
    clock: Callable[[], float]


@dataclass(frozen=True, slots=True)
class LocalRunParts:
    """What a run reads and checks before anything connects. The templates are reloaded while it runs."""

    settings: Settings
    schemas: Schemas
    time_zone: ZoneInfo
    reloader: TemplateReloader
    start_policy: StartPolicy | None

    @property
    def now(self) -> LocalParts:
        """With the templates in use now."""
        return LocalParts(self.settings, self.schemas, self.time_zone, self.reloader.templates)

    def read_topics(self, client: Admin | None = None, *, require_partitions: bool = False) -> OutputTopics:
        """The output topics as they are now, for the templates in use now."""
        return self.now.read_topics(client, require_partitions=require_partitions)


@dataclass(frozen=True, slots=True)
class EngineParts:
    """What the loop runs with."""

    settings: Settings
    shutdown: Shutdown
    status: EngineStatus
    on_step: StepHook
    mapping: MappingParts
    read_topics: ReadTopics
    topic_watch: TopicWatch
    reloader: TemplateReloader
    start_offsets: StartOffsetResolver
    consumer: EventConsumer
    publisher: TransactionalPublisher
    assigned_records: AssignedRecords
    garbage: GarbageCollection


def load_local_parts(settings: Settings, *, start_from: str | None) -> LocalRunParts:
    """Raises UsageError for schemas, templates or a `--start-from` that cannot be used."""
    schemas = load_schemas(settings.schemas_dir)
    time_zone = ZoneInfo(settings.time_zone)
    reloader = TemplateReloader(
        settings, schemas, lambda templates: read_output_topics(create_admin(settings), settings, templates)
    )
    return LocalRunParts(settings, schemas, time_zone, reloader, parse_start_policy(start_from))


def connect(local: LocalRunParts, run: RunContext, stack: ExitStack) -> EngineParts:
    """Connect to broker and registry, restore the reference tables and join the group; `stack` closes it all.

    Blocks. Raises ShutdownRequested, and a FatalError for what keeps the engine from starting.
    """
    settings, reloader = local.settings, local.reloader
    server = read_server_parts(local.now, run.shutdown)
    ids = {"transactional_id": run.transactional_id, "group": settings.group_id}
    log.info("starting", **ids, template_set=reloader.templates.digest)
    publisher = create_publisher(
        settings,
        transactional_id=run.transactional_id,
        must_stop=run.shutdown.deadline_passed,
        on_step=run.on_step,
    )
    # Before joining: what a dead instance of our name left open is ended, so that no reader waits for it.
    publisher.reset_producer(server.topics, between_attempts=lambda: None)
    restore = TableRestore(run.transactional_id, run.status.metrics, run.status.set_starting, until_end=run.until_end)
    mapping = build_mapping(local.now, server, restore, shutdown=run.shutdown, stack=stack)
    reloader.add_used_texts(mapping.published.texts)
    start_offsets = StartOffsetResolver(
        settings,
        read_topics=local.read_topics,
        context=mapping.context,
        schemas_of_outputs=schemas_by_id(settings, server.schemas),
        start_policy=local.start_policy,
    )
    retry_until_available(start_offsets.prepare, run.shutdown, server=settings.bootstrap_servers)
    event_consumer = _create_consumer(settings, start_offsets, run.status)
    for close in (partial(close_consumer, event_consumer), publisher.close, run.status.stop):
        stack.callback(close)  # the last one first
    run.status.watch_lag(start_offsets)
    return EngineParts(
        settings=settings,
        shutdown=run.shutdown,
        status=run.status,
        on_step=run.on_step,
        mapping=mapping,
        read_topics=local.read_topics,
        topic_watch=TopicWatch(lambda: topic_differences(create_admin(settings), settings, reloader.templates)),
        reloader=reloader,
        start_offsets=start_offsets,
        consumer=event_consumer,
        publisher=publisher,
        assigned_records=AssignedRecords(settings, clock=run.clock),
        garbage=GarbageCollection(),
    )


def create_publisher(
    settings: Settings, *, transactional_id: str, must_stop: Callable[[], bool], on_step: StepHook
) -> TransactionalPublisher:
    """A publisher under that id, without a producer yet; `must_stop` and `on_step` as TransactionalPublisher."""

    def make_producer(topics: OutputTopics, on_failure: OnFailure) -> Producer:
        properties = producer_properties(
            settings,
            transactional_id=transactional_id,
            largest_record_bytes=topics.dead_letters.limit_bytes + DEAD_LETTER_HEADROOM_BYTES,
            smallest_limit_bytes=min(topic.limit_bytes for topic in topics.outputs),
        )
        return create_producer(properties, on_failure=on_failure)

    return TransactionalPublisher(
        make_producer,
        transactional_id=transactional_id,
        timeout_s=settings.transaction_timeout_ms / 1000,
        must_stop=must_stop,
        on_step=on_step,
    )


def _create_consumer(settings: Settings, start_offsets: StartOffsetResolver, status: EngineStatus) -> EventConsumer:
    properties = consumer_properties(settings)
    coordinator = CoordinatorMonitor() if properties.get("group.protocol") == "consumer" else None
    return EventConsumer(
        settings,
        create_consumer(properties, coordinator=coordinator),
        start_offsets,
        on_rebalance=status.count_rebalance,
        on_deferred=status.count_deferred,
        coordinator=coordinator,
    )


def close_consumer(event_consumer: EventConsumer) -> None:
    """Leave the group; a broker that does not respond is not waited for."""
    closing = threading.Thread(target=event_consumer.close, name="leave", daemon=True)
    closing.start()
    closing.join(CLOSE_CONSUMER_TIMEOUT_S)
    if closing.is_alive():
        log.warning("consumer did not close in time", timeout_s=CLOSE_CONSUMER_TIMEOUT_S)
