"""`processor demo`: the main job end to end on a real Kafka, read back by a reader of its own and counted.

Events go in as a burst and then at a steady pace, among them one that is sent twice and three records that are no
events. The engine is a process of its own, started as anybody starts it. What must come out is said by `expected.py`,
which knows nothing of the mapping; what did come out is read from the topics, from their beginning, by a
`read_committed` consumer.
"""

import json
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message
from rich.console import Console

from processor.demo.engine_process import EngineProcess, engine_process
from processor.demo.examples import Examples, ShownInput
from processor.demo.expected import Expected, OutputRef, TopicNames, read_summaries, verify
from processor.demo.generate import events as generate_events
from processor.demo.inputs import EXTRA_COUNT, Input, dead_letter_id, expected_outputs, make_inputs
from processor.demo.report import DemoResult, Latency, print_report
from processor.demo.watcher import OutputWatcher, position_of, read_all, topic_of
from processor.domain.record import EventName
from processor.errors import DependencyError, UsageError
from processor.kafka.clients import create_admin, headers_of
from processor.kafka.errors import error_of
from processor.kafka.event_producer import batch_limit_bytes, enqueue, event_producer, wait_until
from processor.kafka.local.kafka import local_kafka
from processor.kafka.topic_admin import create_topics
from processor.observability.signals import signal_handlers
from processor.registry.schema_files import load_schemas
from processor.settings import KafkaSettings, Settings, TopicSettings
from processor.templates.load import SHIPPED
from processor.wire.reader_schemas import Schemas

PACED_PER_SECOND: Final = 1_000
MAX_PACED: Final = 5_000
PARTITIONS: Final = 2  # a commit costs more with each partition it touches; two are enough to show order by account

_TENANT: Final = "northbank"
_IDLE_TIMEOUT_S: Final = 20.0  # without an output while some are missing: those are lost, and counted as that
_CLEAN_UP_TIMEOUT_S: Final = 30.0

Tamper = Callable[[Settings], None]
"""What a test does to the real topics between the engine's end and the reading."""

ShowStatus = Callable[[str], None]


def demo(
    settings: Settings,
    *,
    events: int = 1_000,
    json_output: bool = False,
    keep: bool = False,
    tamper: Tamper | None = None,
) -> int:
    """Run the main job on `events` good events and four others; 0, or 1 when an output was doubled, lost or misplaced.

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
        status = stack.enter_context(Console(stderr=True).status("demo"))  # nothing where stderr is no terminal
        servers, folder = settings.kafka.bootstrap_servers, None
        if servers is None:
            folder = Path(tempfile.mkdtemp(prefix=prefix)) if keep else None
            servers = stack.enter_context(local_kafka(data=folder, progress=status.update)).bootstrap_servers
        demo_settings = _settings(settings, servers=servers, prefix=prefix)
        if settings.kafka.bootstrap_servers is not None and not keep:
            stack.callback(_remove, demo_settings)
        schemas = load_schemas()
        try:
            result, examples = _run(demo_settings, schemas, events=events, show_status=status.update, tamper=tamper)
        except KafkaException as exception:
            error = error_of(exception)
            raise DependencyError(
                f"the broker at {servers}: {error.name()}: {error.str()}",
                hint="without PROCESSOR_KAFKA__BOOTSTRAP_SERVERS the demo starts a broker of its own",
            ) from exception
    if json_output:
        sys.stdout.write(json.dumps(result.as_json()) + "\n")
    else:
        print_report(Console(), result, examples, schemas)
    if keep:
        where = f"`processor kafka --data {folder}` serves them" if folder else f"on {servers}"
        sys.stderr.write(f"kept: topics and group {prefix}…, {where}\n")
    return 1 if result.counts.discrepancies else 0


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


@dataclass(frozen=True, slots=True)
class _Measured:
    """Times of a run: of the burst from the first event sent to the last output read, of all from the same moment, and
    for each output of a paced event the milliseconds from when that was due to when the output was read."""

    burst_s: float
    seconds: float
    waits_ms: Sequence[float]


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
        sender = _EventSender(settings)  # before it is needed: an idempotent producer gets its id in half a second
        show_status("making events")
        burst = events - min(events // 2, MAX_PACED)
        good = list(generate_events(events, tenant=settings.required_tenant))
        inputs = make_inputs(good, schemas, burst=burst)
        expected = expected_outputs(inputs, templates=templates, topics=topics)
        show_status("waiting for the engine")
        engine.wait_until_ready()
        with OutputWatcher(settings, topics.all) as watcher:
            workload = _Workload(inputs, expected, topics, sender, watcher, engine)
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
        messages=settings.topic("messages"),
        status=settings.topic("status"),
        decisions=settings.topic("decisions"),
        dead_letters=settings.topic("dead_letters"),
        notifications=settings.topic("notifications"),
        streams={event: settings.stream_topic(EventName(event)) for event in streams},
    )


def _read_outputs(settings: Settings, workload: "_Workload", examples: Examples) -> Iterator[OutputRef]:
    """Every output, in the order of its partition, from the beginning of the topics to their end."""
    for message in read_all(settings, workload.topics.all):
        output = workload.output_id(message)
        examples.offer(output, message)
        partition, _ = position_of(message)
        yield OutputRef(topic_of(message), partition, output)


class _EventSender:
    """Sends inputs, and remembers where each came to lie."""

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.topic("events")
        limit = batch_limit_bytes(settings, self._topic)
        self._producer = event_producer(settings, batch_bytes=limit, **{"linger.ms": 1, "log_level": 3})
        self._numbers: dict[tuple[int, int], int] = {}  # (partition, offset) -> number of the input
        self._error = ""

    def send(self, item: Input) -> None:
        """Queue an input."""
        enqueue(self._producer, self._topic, item.record, on_delivery=self._on_delivery(item.number))

    def send_at(self, due: float, item: Input) -> None:
        """Queue an input when the monotonic clock says `due`."""
        wait_until(due, while_waiting=self._producer.poll)
        self.send(item)

    def flush(self) -> None:
        """Block until the broker took or refused all."""
        self._producer.flush()

    def check(self) -> None:
        """Raise DependencyError when the broker refused an event."""
        if self._error:
            raise DependencyError(f"the broker did not take an event: {self._error}")

    def number_at(self, partition: int, offset: int) -> int | None:
        """The number of the input at that position of the events topic."""
        return self._numbers.get((partition, offset))

    def _on_delivery(self, number: int) -> Callable[[KafkaError | None, Message | None], None]:
        def record_position(error: KafkaError | None, message: Message | None) -> None:
            if error is not None:
                self._error = f"{error.name()}: {error.str()}"
            elif message is not None:
                self._numbers[position_of(message)] = number

        return record_position


@dataclass(frozen=True, slots=True)
class _Workload:
    """The inputs and what is expected of them, with what sends, reads and maps them."""

    inputs: Sequence[Input]
    expected: Expected
    topics: TopicNames
    sender: _EventSender
    watcher: OutputWatcher
    engine: EngineProcess

    def send_all(self, burst: int, show_status: ShowStatus) -> _Measured:
        """Send the first `burst` inputs as fast as it goes, then the others by schedule; wait for their outputs."""
        show_status(f"sending a burst of {burst} events")
        started_at = time.monotonic()
        self._send_burst(burst)
        burst_s = self.watcher.last_at - started_at
        waits_ms: Sequence[float] = ()
        if paced := self.inputs[burst:]:
            show_status(f"sending {len(paced)} events at {PACED_PER_SECOND} a second")
            waits_ms = self._send_paced(paced)
        return _Measured(burst_s, self.watcher.last_at - started_at, waits_ms)

    def _send_burst(self, burst: int) -> None:
        for item in self.inputs[:burst]:
            self.sender.send(item)
        self.sender.flush()
        self._wait_for_outputs(sum(source.number < burst for _, _, source in self.expected.all()))

    def _send_paced(self, paced: Sequence[Input]) -> list[float]:
        """For each output the milliseconds from when its event was due to when it was read."""
        first = paced[0].number
        numbers = {
            (topic, output): source.number for topic, output, source in self.expected.all() if source.number >= first
        }
        read_before = self.watcher.count
        self.watcher.keep()
        started_at = time.monotonic()
        for place, item in enumerate(paced):
            self.sender.send_at(started_at + place / PACED_PER_SECOND, item)
        self.sender.flush()
        self._wait_for_outputs(read_before + len(numbers))
        waits_ms = []
        for at, message in self.watcher.kept():
            number = numbers.get((topic_of(message), self.output_id(message)))
            if number is not None:
                waits_ms.append((at - started_at - (number - first) / PACED_PER_SECOND) * 1000)
        return waits_ms

    def _wait_for_outputs(self, count: int) -> None:
        """Until the watcher has read so many outputs, or none for a while: what is missing then is lost."""
        while self.watcher.count < count:
            self.sender.check()
            self.engine.check()
            self.watcher.check()
            if time.monotonic() - max(self.watcher.last_at, self.watcher.kept_since) > _IDLE_TIMEOUT_S:
                return
            time.sleep(0.01)

    def output_id(self, message: Message) -> str:
        """What `Expected` calls this output; of an unexpected one, something that it calls nothing."""
        topic, value = topic_of(message), message.value() or b""
        if topic == self.topics.dead_letters:
            headers = {name: (text or b"").decode() for name, text in headers_of(message)}
            number = self.sender.number_at(int(headers["dl.partition"]), int(headers["dl.offset"]))
            if number is None or self.inputs[number].record.value != value:
                return f"{headers['dl.reason']}, not as it was sent"
            return dead_letter_id(headers["dl.reason"], number)
        if topic in self.topics.streams.values():
            return str(json.loads(value)["metadata"]["eid"])
        return (message.key() or b"").decode()
