"""What events are mapped with, from files, broker and registry: for `run`, and for what maps past events.

In two steps, as an instance that goes on under a transactional.id first ends what a dead one left open:
`read_server_parts` needs nothing but responses, `build_mapping` reads the topics that such a transaction may hold back.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from zoneinfo import ZoneInfo

import structlog

from processor.background import call_in_thread
from processor.domain.output_topics import OutputTopics
from processor.domain.template import TemplateSet
from processor.engine.completion import PROGRESS_LOG_INTERVAL_S, STALL_HINT, STALL_TIMEOUT_S
from processor.engine.executor import choose_executor
from processor.engine.output_scan import PublishedSets, published_template_sets
from processor.engine.plan_reports import PlanReports
from processor.errors import DependencyError, StalledError, UnavailableError
from processor.kafka.clients import Admin, create_admin
from processor.kafka.errors import BROKER_HINT, NoResponseError
from processor.kafka.topic_state import read_output_topics
from processor.mapping.context import DraftRules, MappingContext
from processor.mapping.event_plans import EventPlans
from processor.mapping.options import Plan
from processor.mapping.reference import Reference
from processor.mapping.verify_plan import Sample
from processor.observability.metrics import Metrics
from processor.observability.signals import Shutdown
from processor.registry.cache import schemas_by_id
from processor.registry.subjects import with_registered_ids
from processor.settings import Settings
from processor.tables.reader import ReferenceTables
from processor.templates.used_texts import refuse_changed_texts
from processor.wire.encode import OutputEncoder
from processor.wire.reader_schemas import Schemas
from processor.wire.schema import SchemaOf

log = structlog.get_logger()

T = TypeVar("T")

SERVER_STARTUP_TIMEOUT_S = 15.0  # for a broker or registry that does not respond
SERVER_RETRY_INTERVAL_S = 0.2
RESTORE_POLL_INTERVAL_S = 0.02


@dataclass(frozen=True, slots=True)
class LocalParts:
    """What is read and checked before anything connects: settings, and the files that they name."""

    settings: Settings
    schemas: Schemas
    time_zone: ZoneInfo
    templates: TemplateSet

    def read_topics(self, client: Admin | None = None, *, require_partitions: bool = False) -> OutputTopics:
        """The output topics as they are now. Raises as `read_output_topics`."""
        return read_output_topics(
            client or create_admin(self.settings), self.settings, self.templates, require_partitions=require_partitions
        )


@dataclass(frozen=True, slots=True)
class ServerParts:
    """What broker and registry say: the output topics, and our schemas with the ids that they have there."""

    topics: OutputTopics
    schemas: Schemas


@dataclass(frozen=True, slots=True)
class TableRestore:
    """How the reference tables are restored.

    `store_name` is the local store's, which one process at a time has; `on_progress` gets how far it is, in words, some
    times a second; `until_end`: an open transaction in the tables' topics is not waited for without end.
    """

    store_name: str
    metrics: Metrics
    on_progress: Callable[[str], None]
    until_end: bool = False


@dataclass(frozen=True, slots=True)
class MappingParts:
    """What events are mapped with. `schema_of` is for one thread; `published` has the sets on the topic of template
    sets when it was read."""

    context: MappingContext
    schema_of: SchemaOf
    tables: ReferenceTables
    published: PublishedSets


def read_server_parts(local: LocalParts, shutdown: Shutdown) -> ServerParts:
    """Wait for broker and registry, and read what mapping needs of them.

    Blocks. Raises ShutdownRequested; TopicConfigError when an output's topic is missing or too small, UsageError when
    the registry lacks a schema of ours, DependencyError when either does not respond.
    """
    settings = local.settings
    topics = retry_until_available(
        lambda: local.read_topics(require_partitions=True), shutdown, server=settings.bootstrap_servers
    )
    schemas = retry_until_available(
        lambda: with_registered_ids(settings, local.schemas),
        shutdown,
        server=str(settings.schema_registry.url),
        hint="check PROCESSOR_SCHEMA_REGISTRY__URL",
    )
    return ServerParts(topics, schemas)


def build_mapping(
    local: LocalParts, server: ServerParts, restore: TableRestore, *, shutdown: Shutdown, stack: ExitStack
) -> MappingParts:
    """Hold the templates to the texts that were used, restore the reference tables, and join all of it; `stack` closes
    the tables, which go on being read until then.

    Blocks. Raises ShutdownRequested; UsageError when a template has another text than was used under its version, and
    what ReferenceTables raises.
    """
    settings, templates, brokers = local.settings, local.templates, local.settings.bootstrap_servers
    published = retry_until_available(
        lambda: published_template_sets(settings, server.topics), shutdown, server=brokers
    )
    refuse_changed_texts(templates, published.texts)
    tables = retry_until_available(
        lambda: ReferenceTables(settings, name=restore.store_name, metrics=restore.metrics), shutdown, server=brokers
    )
    stack.callback(tables.close)
    restore_tables(tables, shutdown, restore.on_progress, until_end=restore.until_end)
    tables.log_unknown_categories(templates)
    return MappingParts(
        context=_mapping_context(local, server, tables, _make_plans(settings, restore.metrics)),
        schema_of=schemas_by_id(settings, server.schemas),
        tables=tables,
        published=published,
    )


def _make_plans(settings: Settings, metrics: Metrics) -> EventPlans | None:
    """The plans, or None where the settings want none; the log says which."""
    executor = choose_executor(settings.plan)
    log.info("executor of plans", executor=executor.plan, because=executor.because, verify=settings.plan_verify)
    if executor.plan is Plan.OFF:
        return None
    sample = Sample(settings.plan_verify) if settings.plan_verify else None
    observer, start = PlanReports(metrics), partial(call_in_thread, name="plan")
    return EventPlans(start, native=executor.native, observer=observer, sample=sample)


def _mapping_context(
    local: LocalParts, server: ServerParts, tables: ReferenceTables, plans: EventPlans | None
) -> MappingContext:
    settings = local.settings
    return MappingContext(
        tenant=settings.required_tenant,
        schemas=server.schemas,
        templates=local.templates,
        output_topics=server.topics,
        encode=OutputEncoder(
            server.schemas, output_format=settings.output.format, stream_format=settings.output.stream_format
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
        plans=plans,
    )


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
    tables: ReferenceTables, shutdown: Shutdown, on_progress: Callable[[str], None], *, until_end: bool = False
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
        on_progress(f"reference tables, records to read: {left}")
        if now >= log_at:
            log_at = now + PROGRESS_LOG_INTERVAL_S
            log.info("reading the reference tables", records_left=left)
        if until_end and now - moved_at > STALL_TIMEOUT_S:
            raise StalledError(
                f"no progress for {STALL_TIMEOUT_S:.0f} s with the reference tables: {left}", hint=STALL_HINT
            )
        time.sleep(RESTORE_POLL_INTERVAL_S)
