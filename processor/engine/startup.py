"""From settings to the parts of the engine: what is read first, what is waited for, and what is closed in the end."""

import gc
import threading
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar
from zoneinfo import ZoneInfo

import structlog
from confluent_kafka import Producer

from processor.domain.output_topics import OutputTopics
from processor.engine.completion import PROGRESS_LOG_INTERVAL_S, STALL_HINT, STALL_TIMEOUT_S
from processor.engine.consumer import EventConsumer
from processor.engine.output_scan import published_template_sets
from processor.engine.publisher import TransactionalPublisher
from processor.engine.start_offsets import StartOffsetResolver, StartPolicy, parse_start_policy
from processor.engine.status import EngineStatus
from processor.engine.step import StepHook
from processor.errors import DependencyError, StalledError, UnavailableError
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
from processor.kafka.errors import BROKER_HINT, NoResponseError
from processor.kafka.topic_state import TopicWatch, read_output_topics, topic_differences
from processor.mapping.context import DraftRules, MappingContext
from processor.mapping.reference import Reference
from processor.observability.signals import Shutdown
from processor.registry.cache import schemas_by_id
from processor.registry.schema_files import load_schemas
from processor.registry.subjects import with_registered_ids
from processor.settings import Settings
from processor.tables.reader import ReferenceTables
from processor.templates.reload import TemplateReloader
from processor.wire.encode import output_encoder
from processor.wire.reader_schemas import Schemas
from processor.wire.schema import SchemaOf

log = structlog.get_logger()

T = TypeVar("T")

SERVER_STARTUP_TIMEOUT_S = 15.0  # for a broker or registry that does not respond
SERVER_RETRY_INTERVAL_S = 0.2
RESTORE_POLL_INTERVAL_S = 0.02
CLOSE_CONSUMER_TIMEOUT_S = 3.0
DEAD_LETTER_HEADROOM_BYTES = 1_024  # of a record over the dead letters' limit, for its key and headers
GC_THRESHOLD_OBJECTS = 50_000  # a batch of some hundred records; the default of 700 took a fifth of the mapping's time


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


@dataclass(frozen=True, slots=True)
class LocalParts:
    """What is read and checked before anything connects."""

    settings: Settings
    schemas: Schemas
    time_zone: ZoneInfo
    reloader: TemplateReloader
    start_policy: StartPolicy | None

    def read_topics(self, client: Admin | None = None, *, require_partitions: bool = False) -> OutputTopics:
        """The output topics as they are now."""
        return read_output_topics(
            client or create_admin(self.settings),
            self.settings,
            self.reloader.templates,
            require_partitions=require_partitions,
        )


@dataclass(frozen=True, slots=True)
class EngineParts:
    """What the loop runs with."""

    settings: Settings
    shutdown: Shutdown
    status: EngineStatus
    on_step: StepHook
    context: MappingContext
    schema_of: SchemaOf
    read_topics: ReadTopics
    topic_watch: TopicWatch
    reloader: TemplateReloader
    tables: ReferenceTables
    published_template_sets: Collection[str]
    start_offsets: StartOffsetResolver
    consumer: EventConsumer
    publisher: TransactionalPublisher


def load_local_parts(settings: Settings, *, start_from: str | None) -> LocalParts:
    """Raises UsageError for schemas, templates or a `--start-from` that cannot be used."""
    schemas = load_schemas(settings.schemas_dir)
    time_zone = ZoneInfo(settings.time_zone)
    reloader = TemplateReloader(
        settings, schemas, lambda templates: read_output_topics(create_admin(settings), settings, templates)
    )
    return LocalParts(settings, schemas, time_zone, reloader, parse_start_policy(start_from))


def connect(local: LocalParts, run: RunContext, stack: ExitStack) -> EngineParts:
    """Connect to broker and registry, restore the reference tables and join the group; `stack` closes it all.

    Blocks. Raises ShutdownRequested, and a FatalError for what keeps the engine from starting.
    """
    settings, reloader, brokers = local.settings, local.reloader, local.settings.bootstrap_servers
    topics = retry_until_available(lambda: local.read_topics(require_partitions=True), run.shutdown, server=brokers)
    schemas = _registered_schemas(local, run)
    ids = {"transactional_id": run.transactional_id, "group": settings.group_id}
    log.info("starting", **ids, template_set=reloader.templates.digest)
    publisher = _create_publisher(settings, run)
    # Before joining: what a dead instance of our name left open is ended, so that no reader waits for it.
    publisher.reset_producer(topics, between_attempts=lambda: None)
    published = retry_until_available(lambda: published_template_sets(settings, topics), run.shutdown, server=brokers)
    reloader.require_same_texts(published.texts)
    tables = retry_until_available(
        lambda: ReferenceTables(settings, name=run.transactional_id, metrics=run.status.metrics),
        run.shutdown,
        server=brokers,
    )
    stack.callback(tables.close)
    restore_tables(tables, run.shutdown, run.status, until_end=run.until_end)
    tables.log_unknown_categories(reloader.templates)
    context = _mapping_context(local, schemas, topics, tables)
    start_offsets = StartOffsetResolver(
        settings,
        read_topics=local.read_topics,
        context=context,
        schemas_of_outputs=schemas_by_id(settings, schemas),
        start_policy=local.start_policy,
    )
    retry_until_available(start_offsets.prepare, run.shutdown, server=brokers)
    event_consumer = _create_consumer(settings, start_offsets, run.status)
    for close in (partial(close_consumer, event_consumer), publisher.close, run.status.stop):
        stack.callback(close)  # the last one first
    run.status.watch_lag(start_offsets)
    _relieve_garbage_collector()
    return EngineParts(
        settings=settings,
        shutdown=run.shutdown,
        status=run.status,
        on_step=run.on_step,
        context=context,
        schema_of=schemas_by_id(settings, schemas),
        read_topics=local.read_topics,
        topic_watch=TopicWatch(lambda: topic_differences(create_admin(settings), settings, reloader.templates)),
        reloader=reloader,
        tables=tables,
        published_template_sets=published.keys,
        start_offsets=start_offsets,
        consumer=event_consumer,
        publisher=publisher,
    )


def _registered_schemas(local: LocalParts, run: RunContext) -> Schemas:
    """Our schemas with the ids that the registry gave them, where there is one."""
    return retry_until_available(
        lambda: with_registered_ids(local.settings, local.schemas),
        run.shutdown,
        server=str(local.settings.schema_registry.url),
        hint="check PROCESSOR_SCHEMA_REGISTRY__URL",
    )


def _create_publisher(settings: Settings, run: RunContext) -> TransactionalPublisher:
    def make_producer(topics: OutputTopics, on_failure: OnFailure) -> Producer:
        properties = producer_properties(
            settings,
            transactional_id=run.transactional_id,
            largest_record_bytes=topics.dead_letters.limit_bytes + DEAD_LETTER_HEADROOM_BYTES,
            smallest_limit_bytes=min(topic.limit_bytes for topic in topics.outputs),
        )
        return create_producer(properties, on_failure=on_failure)

    return TransactionalPublisher(
        make_producer,
        transactional_id=run.transactional_id,
        timeout_s=settings.transaction_timeout_ms / 1000,
        must_stop=run.shutdown.deadline_passed,
        on_step=run.on_step,
    )


def _mapping_context(
    local: LocalParts, schemas: Schemas, topics: OutputTopics, tables: ReferenceTables
) -> MappingContext:
    settings = local.settings
    return MappingContext(
        tenant=settings.required_tenant,
        schemas=schemas,
        templates=local.reloader.templates,
        output_topics=topics,
        encode=output_encoder(
            schemas, output_format=settings.output.format, stream_format=settings.output.stream_format
        ),
        draft_rules=DraftRules(
            time_zone=local.time_zone,
            sms_region=settings.sms.region,
            disabled_channels=frozenset(settings.channels.disabled),
            reference=Reference(
                rows=tables.get,
                missing_row=settings.reference.missing_row,
                category_by_family=settings.message.category_by_family,
            ),
        ),
        statuses=settings.message.statuses,
        actor=settings.message.actor,
        key_check=settings.key_check,
        decisions=settings.decisions,
        max_event_bytes=settings.max_event_bytes,
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


def _relieve_garbage_collector() -> None:
    """What is there by now stays: it need not be looked at again, nor at each few objects of a batch."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD_OBJECTS, 10, 10)


def retry_until_available(call: Callable[[], T], shutdown: Shutdown, *, server: str, hint: str = BROKER_HINT) -> T:
    """What `call` returns, once `server`, a broker or registry that may just be starting, responds.

    Blocks. Raises ShutdownRequested, and DependencyError with `hint` when it does not respond for 15 s.
    """
    deadline = time.monotonic() + SERVER_STARTUP_TIMEOUT_S
    while True:
        shutdown.raise_if_requested()
        try:
            return call()
        except UnavailableError as unavailable:
            if time.monotonic() > deadline:
                raise DependencyError(
                    f"no response from {server} for {SERVER_STARTUP_TIMEOUT_S:.0f} s: {unavailable}",
                    hint=unavailable.hint if isinstance(unavailable, NoResponseError) else hint,
                ) from unavailable
            time.sleep(SERVER_RETRY_INTERVAL_S)


def restore_tables(
    tables: ReferenceTables, shutdown: Shutdown, status: EngineStatus, *, until_end: bool = False
) -> None:
    """Block until the reference tables are as they were at the start: who must not be written to is known before the
    first event is mapped. Logs every 5 s how far it is. Raises ShutdownRequested.

    An open transaction in their topics is waited for; under `until_end` for a minute, then StalledError.
    """
    tables.start()
    left, moved_at = "", time.monotonic()
    log_at = moved_at + PROGRESS_LOG_INTERVAL_S
    while not tables.restored:
        shutdown.raise_if_requested()
        tables.check()
        now = time.monotonic()
        if (left_now := tables.remaining()) != left:
            left, moved_at = left_now, now
        status.set_starting(f"reference tables, records to read: {left}")
        if now >= log_at:
            log_at = now + PROGRESS_LOG_INTERVAL_S
            log.info("reading the reference tables", records_left=left)
        if until_end and now - moved_at > STALL_TIMEOUT_S:
            raise StalledError(
                f"no progress for {STALL_TIMEOUT_S:.0f} s with the reference tables: {left}", hint=STALL_HINT
            )
        time.sleep(RESTORE_POLL_INTERVAL_S)


def close_consumer(event_consumer: EventConsumer) -> None:
    """Leave the group; a broker that does not respond is not waited for."""
    closing = threading.Thread(target=event_consumer.close, name="leave", daemon=True)
    closing.start()
    closing.join(CLOSE_CONSUMER_TIMEOUT_S)
    if closing.is_alive():
        log.warning("consumer did not close in time", timeout_s=CLOSE_CONSUMER_TIMEOUT_S)
