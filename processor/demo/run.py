"""`processor demo`: the main job end to end on a real Kafka, read back by a reader of its own and counted.

Events go in as a burst and then at a steady pace, among them one that is sent twice and three records that are no
events. The engine is a process of its own, started as anybody starts it. What must come out is said by `expected.py`,
which knows nothing of the mapping; what did come out is read from the topics, from their beginning, by a
`read_committed` consumer.
"""

import secrets
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaError, KafkaException

from processor.demo.engine_process import engine_process
from processor.demo.examples import Examples, ShownInput
from processor.demo.expected import OutputRef, TopicNames, read_summaries, verify
from processor.demo.generate import events as generate_events
from processor.demo.inputs import EXTRA_COUNT, expected_outputs, make_inputs
from processor.demo.report import DemoResult, Latency
from processor.demo.watcher import OutputWatcher, position_of, read_all, topic_of
from processor.demo.workload import EventSender, ShowStatus, Workload
from processor.domain.output_topics import FixedOutput
from processor.domain.record import EventName
from processor.errors import DependencyError, UsageError
from processor.kafka.clients import create_admin
from processor.kafka.errors import error_of
from processor.kafka.local.kafka import local_kafka
from processor.kafka.topic_admin import create_topics
from processor.observability.signals import signal_handlers
from processor.registry.schema_files import load_schemas
from processor.settings import KafkaSettings, Settings, TopicSettings
from processor.templates.load import SHIPPED
from processor.wire.reader_schemas import Schemas

MAX_PACED_EVENTS: Final = 5_000
PARTITIONS: Final = 2  # a commit costs more with each partition it touches; two are enough to show order by account

_TENANT: Final = "northbank"
_CLEAN_UP_TIMEOUT_S: Final = 30.0

Tamper = Callable[[Settings], None]
"""What a test does to the real topics between the engine's end and the reading."""


@dataclass(frozen=True, slots=True)
class DemoOutcome:
    """What a demo found, and a few inputs beside their outputs. `kept` says where its topics and group are, for people;
    empty when they were removed."""

    result: DemoResult
    examples: Sequence[ShownInput]
    schemas: Schemas
    kept: str = ""


def run_demo(
    settings: Settings,
    *,
    events: int = 1_000,
    keep: bool = False,
    show_status: ShowStatus = lambda _status: None,
    tamper: Tamper | None = None,
) -> DemoOutcome:
    """Run the main job on `events` good events and four others.

    Of `settings` the connection and the tenant count; templates, schemas and all else are as shipped. Without
    bootstrap servers a local Kafka is started. Topics, group and transactional ids begin with `demo-<8 hex>.` and are
    removed at the end, unless `keep`; a local Kafka then leaves its folder behind. Blocks; needs about 10 kB of memory
    for each event. Raises UsageError for less than one event, DependencyError without a broker, and for an engine that
    ends too early what its exit code stands for.
    """
    if events < 1:
        raise UsageError(f"--events is 1 or more, got: {events}")
    prefix = f"demo-{secrets.token_hex(4)}."
    with ExitStack() as stack:
        stack.enter_context(signal_handlers(_interrupt, signal.SIGTERM))
        servers, folder = settings.kafka.bootstrap_servers, None
        if servers is None:
            folder = Path(tempfile.mkdtemp(prefix=prefix)) if keep else None
            servers = stack.enter_context(local_kafka(data=folder, progress=show_status)).bootstrap_servers
        demo_settings = _settings(settings, servers=servers, prefix=prefix)
        if settings.kafka.bootstrap_servers is not None and not keep:
            stack.callback(_remove, demo_settings)
        schemas = load_schemas()
        try:
            result, examples = _run(demo_settings, schemas, events=events, show_status=show_status, tamper=tamper)
        except KafkaException as exception:
            error = error_of(exception)
            raise DependencyError(
                f"the broker at {servers}: {error.name()}: {error.str()}",
                hint="without PROCESSOR_KAFKA__BOOTSTRAP_SERVERS the demo starts a broker of its own",
            ) from exception
    where = f"`processor kafka --data {folder}` serves them" if folder else f"on {servers}"
    return DemoOutcome(result, examples, schemas, f"topics and group {prefix}…, {where}" if keep else "")


def _interrupt() -> None:
    """SIGTERM unwinds as Ctrl-C does, so that topics and processes are removed."""
    raise KeyboardInterrupt


def _settings(settings: Settings, *, servers: str, prefix: str) -> Settings:
    kafka = KafkaSettings(
        bootstrap_servers=servers,
        common=settings.kafka.common,
        consumer=settings.kafka.consumer,
        producer=settings.kafka.producer,
    )
    return Settings(tenant=settings.tenant or _TENANT, kafka=kafka, topics=TopicSettings(prefix=prefix))


def _remove(settings: Settings) -> None:
    """Delete the demo's topics and group. What cannot be deleted is said, and hides no error that came before."""
    prefix = settings.topics.prefix
    failures = []
    with create_admin(settings) as client:
        try:
            existing = client.list_topics(timeout=_CLEAN_UP_TIMEOUT_S).topics
            topics = [name for name in existing if name.startswith(prefix)]
            deletions = {**client.delete_topics(topics, operation_timeout=_CLEAN_UP_TIMEOUT_S)} if topics else {}
            deletions |= client.delete_consumer_groups([settings.group_id])
        except KafkaException as exception:
            failures, deletions = [error_of(exception).str()], {}
        for name, deletion in deletions.items():
            try:
                deletion.result()
            except KafkaException as exception:
                error = error_of(exception)
                if error.code() != KafkaError.GROUP_ID_NOT_FOUND:  # no member joined, when the demo ended early
                    failures.append(f"{name}: {error.str()}")
    if failures:
        sys.stderr.write(f"could not remove all that begins with {prefix}: {'; '.join(failures)}\n")


# The run


def _run(
    settings: Settings, schemas: Schemas, *, events: int, show_status: ShowStatus, tamper: Tamper | None
) -> tuple[DemoResult, Sequence[ShownInput]]:
    """All of it, in order."""
    templates = read_summaries(SHIPPED)
    streams = sorted({event for template in templates if template.is_stream for event in template.events})
    topics = _topic_names(settings, streams)
    show_status("creating topics")
    create_topics(settings, stream_events=[EventName(event) for event in streams], partitions=PARTITIONS)
    with engine_process(settings) as engine:
        sender = EventSender(settings)  # before it is needed: an idempotent producer gets its id in half a second
        show_status("making events")
        burst = events - min(events // 2, MAX_PACED_EVENTS)
        good = list(generate_events(events, tenant=settings.required_tenant))
        inputs = make_inputs(good, schemas, burst=burst)
        expected = expected_outputs(inputs, templates=templates, topics=topics)
        show_status("waiting for the engine")
        engine.wait_until_ready()
        with OutputWatcher(settings, topics.all) as watcher:
            workload = Workload(inputs, expected, topics, sender, watcher, engine)
            measured = workload.send_all(burst + EXTRA_COUNT, show_status)
        show_status("stopping the engine")
        engine.stop()
    if tamper is not None:
        tamper(settings)
    show_status("reading everything back")
    examples = Examples(inputs, expected)
    counts = verify(expected, _read_outputs(settings, workload, examples))
    result = DemoResult(
        events=len(inputs),
        counts=counts,
        topics=topics,
        seconds=measured.seconds,
        events_per_second=(burst + EXTRA_COUNT) / measured.burst_s if measured.burst_s > 0 else 0.0,
        latency=Latency.of(measured.waits_ms),
    )
    return result, examples.all()


def _topic_names(settings: Settings, streams: Sequence[str]) -> TopicNames:
    return TopicNames(
        messages=settings.topic(FixedOutput.MESSAGES),
        status=settings.topic(FixedOutput.STATUS),
        decisions=settings.topic(FixedOutput.DECISIONS),
        dead_letters=settings.topic(FixedOutput.DEAD_LETTERS),
        notifications=settings.topic(FixedOutput.NOTIFICATIONS),
        streams={event: settings.stream_topic(EventName(event)) for event in streams},
    )


def _read_outputs(settings: Settings, workload: Workload, examples: Examples) -> Iterator[OutputRef]:
    """Every output, in the order of its partition, from the beginning of the topics to their end."""
    for message in read_all(settings, workload.topics.all):
        output = workload.output_id(message)
        examples.offer(output, message)
        partition, _ = position_of(message)
        yield OutputRef(topic_of(message), partition, output)
