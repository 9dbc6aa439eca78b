"""`processor demo`: the main job end to end on a real Kafka, read back by a reader of its own and counted.

Events go in as a burst and then at a steady pace, among them one that is told twice and three records that are no
events. The engine is a process of its own, started as anybody starts it. What must come out is told by `expected.py`,
which knows nothing of the mapping; what did come out is read from the topics, from their beginning, by a
`read_committed` consumer.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import requests
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition
from rich.console import Console

from processor.demo.expected import Expected, Mark, Names, Read, Rule, expect, rules, verify
from processor.demo.generate import events as generated
from processor.demo.report import Latency, Made, Result, Shown, show
from processor.domain.record import EventName, Headers, Topic
from processor.errors import DependencyError, FatalError, FencedError, InputError, InternalError, UsageError
from processor.kafka.clients import create_admin, headers_of, standalone_consumer
from processor.kafka.errors import error_of
from processor.kafka.event_producer import EventRecord, batch_limit_bytes, enqueue, event_producer, wait_until
from processor.kafka.local.kafka import local_kafka
from processor.kafka.topic_admin import create_topics
from processor.registry.schema_files import load_schemas
from processor.settings import KafkaSettings, Settings, TopicSettings
from processor.supervisor.link import start_worker, worker_command
from processor.templates.load import SHIPPED
from processor.wire.decode import DecodeFailure, event_from_json
from processor.wire.encode import encode_event
from processor.wire.schema import Schemas

PACED_PER_SECOND: Final = 1_000
MOST_PACED: Final = 5_000
PARTITIONS: Final = 2  # a commit costs more with each partition it touches; two are enough to show order by account

_TENANT: Final = "northbank"
_JSON_EVERY: Final = 10  # one event in so many is told as JSON, the others as Avro
_JSON: Final[Headers] = (("content-type", b"application/json"),)
_READY_S: Final = 60.0
_QUIET_S: Final = 20.0  # without an output while some are missing: those are lost, and counted as that
_STOP_S: Final = 12.0
_SEEN_S: Final = 30.0
_LAST_LINES: Final = 12
_LAST_BYTES: Final = 16_384
_PLAIN: Final = 5  # good events that are shown; the repeat and the bad ones come on top

Tamper = Callable[[Settings], None]
"""What a test does to the real topics between the engine's end and the reading."""

Say = Callable[[str], None]


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
        stack.enter_context(_sigterm_as_ctrl_c())
        status = stack.enter_context(Console(stderr=True).status("demo"))  # nothing where stderr is no terminal
        servers, folder = settings.kafka.bootstrap_servers, None
        if servers is None:
            folder = Path(tempfile.mkdtemp(prefix=prefix)) if keep else None
            servers = stack.enter_context(local_kafka(data=folder, progress=status.update)).bootstrap_servers
        ours = _settings(settings, servers=servers, prefix=prefix)
        if settings.kafka.bootstrap_servers is not None and not keep:
            stack.callback(_remove, ours)
        schemas = load_schemas()
        try:
            result, shown = _Run(ours, schemas, say=status.update).run(events, tamper)
        except KafkaException as exception:
            error = error_of(exception)
            raise DependencyError(
                f"the broker at {servers}: {error.name()}: {error.str()}",
                hint="without PROCESSOR_KAFKA__BOOTSTRAP_SERVERS the demo starts a broker of its own",
            ) from exception
    if json_output:
        sys.stdout.write(json.dumps(result.as_json()) + "\n")
    else:
        show(Console(), result, shown, schemas)
    if keep:
        where = f"`processor kafka --data {folder}` serves them" if folder else f"on {servers}"
        sys.stderr.write(f"kept: topics and group {prefix}…, {where}\n")
    return 1 if result.counts.faults else 0


def _settings(settings: Settings, *, servers: str, prefix: str) -> Settings:
    kafka = KafkaSettings(
        bootstrap_servers=servers,
        common=settings.kafka.common,
        consumer=settings.kafka.consumer,
        producer=settings.kafka.producer,
    )
    return Settings(tenant=settings.tenant or _TENANT, kafka=kafka, topics=TopicSettings(prefix=prefix))


# The input


@dataclass(frozen=True, slots=True)
class Input:
    """One record for the events topic, encoded beforehand, so that nothing but sending is timed.

    `number` is its place in the order of sending. `event` is None for a record that is no event, and `reason` is then
    that of its dead letter. `again`: the event was told before.
    """

    number: int
    record: EventRecord
    event: Mapping[str, Any] | None = None
    again: bool = False
    reason: str = ""


def inputs(events: Sequence[Mapping[str, Any]], schemas: Schemas, *, burst: int) -> list[Input]:
    """`events` in their order; spread among the first `burst` of them three records that are no events, and after
    those, before the others, the first event again.
    """
    made = [
        Input(0, _record(event, schemas, as_json=number % _JSON_EVERY == 3), event)
        for number, event in enumerate(events)
    ]
    first, key = made[0], made[0].record.key
    bad = (
        Input(0, EventRecord(key, b"\xca\xfe: not ours", ()), reason="BAD_FRAME"),
        Input(0, EventRecord(key, first.record.value[: len(first.record.value) // 2], ()), reason="INVALID_EVENT"),
        Input(
            0,
            EventRecord(key, json.dumps({**events[0], "event": "LOAN_REPAYED"}).encode(), _JSON),
            reason="UNKNOWN_EVENT",
        ),
    )
    told = [*made[:burst], Input(0, first.record, first.event, again=True), *made[burst:]]
    for quarter, one in enumerate(bad, 1):
        told.insert(quarter * burst // 4 + quarter - 1, one)
    return [Input(number, one.record, one.event, one.again, one.reason) for number, one in enumerate(told)]


def _record(event: Mapping[str, Any], schemas: Schemas, *, as_json: bool) -> EventRecord:
    read = event_from_json(event, schemas)
    if isinstance(read, DecodeFailure):
        raise InternalError(f"a generated event is none: {read.detail}")
    value, headers = encode_event(read.fields, schemas, format="json" if as_json else "avro")
    return EventRecord(read.ordering_key.encode(), value, headers)


def expected_of(told: Sequence[Input], *, by: Sequence[Rule], names: Names) -> Expected:
    """All outputs of `told`. A dead letter's id is its reason and the number of its input."""
    expected = Expected()
    for one in told:
        mark = Mark(one.number, one.record.key.decode())
        if one.event is None:
            expected.add(names.dead_letters, f"{one.reason} {one.number}", mark)
        elif one.again:
            expected.add(names.decisions, one.event["eventId"], mark)
        else:
            expect(expected, one.event, mark, rules=by, names=names)
    return expected


# The run


class _Run:
    """One run: what it works with, and where each input came to lie."""

    def __init__(self, settings: Settings, schemas: Schemas, *, say: Say) -> None:
        self._settings = settings
        self._schemas = schemas
        self._say = say
        self._rules = rules(SHIPPED)
        streams = sorted({event for rule in self._rules if rule.is_stream for event in rule.events})
        self._names = Names(
            messages=settings.topic("messages"),
            status=settings.topic("status"),
            decisions=settings.topic("decisions"),
            dead_letters=settings.topic("dead_letters"),
            notifications=settings.topic("notifications"),
            streams={event: settings.stream_topic(EventName(event)) for event in streams},
        )
        self._places: dict[tuple[int, int], int] = {}  # (partition, offset) of the events -> number
        self._refused = ""

    def run(self, events: int, tamper: Tamper | None) -> tuple[Result, Sequence[Shown]]:
        """All of it, in order."""
        settings, names = self._settings, self._names
        self._say("creating topics")
        create_topics(settings, stream_events=[EventName(event) for event in names.streams], partitions=PARTITIONS)
        with tempfile.TemporaryFile() as log, _engine(settings, log) as engine:  # nameless: never left behind
            # Made before it is needed: an idempotent producer takes half a second to be given its id.
            limit = batch_limit_bytes(settings, self._topic)
            self._producer = event_producer(settings, batch_bytes=limit, **{"linger.ms": 1, "log_level": 3})
            self._say("making events")
            burst = events - min(events // 2, MOST_PACED)
            tenant = settings.required_tenant
            told = inputs(list(generated(events, tenant=tenant)), self._schemas, burst=burst)
            expected = expected_of(told, by=self._rules, names=names)
            self._say("waiting for the engine")
            engine.until_ready()
            with _Watcher(settings, names.all) as watcher:
                head = told[: burst + 4]
                burst_s, burst_began = self._burst(head, expected, watcher, engine)
                waits_ms = self._paced(told[burst + 4 :], expected, watcher, engine)
                seconds = watcher.last_at - burst_began
            self._say("stopping the engine")
            engine.stop()
        if tamper is not None:
            tamper(settings)
        self._say("reading everything back")
        shown = _Shown(told, expected)
        counts = verify(expected, self._read(told, shown))
        result = Result(
            events=len(told),
            counts=counts,
            names=names,
            seconds=seconds,
            events_per_second=len(head) / burst_s if burst_s > 0 else 0.0,
            latency=Latency.of(waits_ms),
        )
        return result, shown.all()

    def _burst(
        self, told: Sequence[Input], expected: Expected, watcher: "_Watcher", engine: "_Engine"
    ) -> tuple[float, float]:
        """Send as fast as it goes; seconds from the first event sent to the last output read, and when it began."""
        self._say(f"sending a burst of {len(told)} events")
        began = time.monotonic()
        for one in told:
            enqueue(self._producer, self._topic, one.record, on_delivery=self._on_delivery(one.number))
        self._producer.flush()
        wanted = sum(mark.number < len(told) for _, _, mark in expected.all())
        self._until_read(wanted, watcher, engine)
        return watcher.last_at - began, began

    def _paced(self, told: Sequence[Input], expected: Expected, watcher: "_Watcher", engine: "_Engine") -> list[float]:
        """Send by schedule; for each output the milliseconds from when its event was due to when it was read."""
        if not told:
            return []
        self._say(f"sending {len(told)} events at {PACED_PER_SECOND} a second")
        first = told[0].number
        numbers = {(topic, made): mark.number for topic, made, mark in expected.all() if mark.number >= first}
        read_before = watcher.count
        watcher.keep()
        began = time.monotonic()
        for place, one in enumerate(told):
            wait_until(began + place / PACED_PER_SECOND, while_waiting=self._producer.poll)
            enqueue(self._producer, self._topic, one.record, on_delivery=self._on_delivery(one.number))
        self._producer.flush()
        self._until_read(read_before + len(numbers), watcher, engine)
        waits = []
        for at, message in watcher.kept():
            number = numbers.get((_topic_of(message), self._id_of(message, ())))
            if number is not None:
                waits.append((at - began - (number - first) / PACED_PER_SECOND) * 1000)
        return waits

    @property
    def _topic(self) -> Topic:
        return self._settings.topic("events")

    def _on_delivery(self, number: int) -> Callable[[KafkaError | None, Message | None], None]:
        def delivered(error: KafkaError | None, message: Message | None) -> None:
            if error is not None:
                self._refused = f"{error.name()}: {error.str()}"
            elif message is not None:
                self._places[_number(message.partition()), _number(message.offset())] = number

        return delivered

    def _until_read(self, wanted: int, watcher: "_Watcher", engine: "_Engine") -> None:
        """Until the watcher has read so many outputs, or none for a while: what is missing then is lost."""
        while watcher.count < wanted:
            if self._refused:
                raise DependencyError(f"the broker did not take an event: {self._refused}")
            engine.check()
            watcher.check()
            if time.monotonic() - max(watcher.last_at, watcher.woken_at) > _QUIET_S:
                return
            time.sleep(0.01)

    def _read(self, told: Sequence[Input], shown: "_Shown") -> Iterator[Read]:
        """Every output, in the order of its partition, from the beginning of the topics to their end."""
        for message in read_all(self._settings, self._names.all):
            made = self._id_of(message, told)
            shown.offer(made, message)
            yield Read(_topic_of(message), _number(message.partition()), made)

    def _id_of(self, message: Message, told: Sequence[Input]) -> str:
        """What `Expected` calls this output; of one that nobody expected, something that it calls nothing."""
        topic, value = _topic_of(message), message.value() or b""
        if topic == self._names.dead_letters:
            headers = {name: (text or b"").decode() for name, text in headers_of(message)}
            number = self._places.get((int(headers["dl.partition"]), int(headers["dl.offset"])), -1)
            untouched = 0 <= number < len(told) and told[number].record.value == value
            return f"{headers['dl.reason']} {number}{'' if untouched else ' changed'}"
        if topic in self._names.streams.values():
            return str(json.loads(value)["metadata"]["eid"])
        return (message.key() or b"").decode()


def _topic_of(message: Message) -> str:
    return str(message.topic())


def _number(given: int | None) -> int:
    if given is None:
        raise InternalError("a record without a place")
    return given


def _all_partitions(settings: Settings, topics: Sequence[str]) -> list[TopicPartition]:
    with create_admin(settings) as asker:
        known = asker.list_topics(timeout=_SEEN_S).topics
    return [
        TopicPartition(topic, partition, OFFSET_BEGINNING) for topic in topics for partition in known[topic].partitions
    ]


def read_all(settings: Settings, topics: Sequence[str]) -> Iterator[Message]:
    """Every committed record of `topics` from the first to the last there is now; each partition in its order.

    Blocks while the broker answers; KafkaException, or DependencyError when nothing comes for 30 s.
    """
    left = _all_partitions(settings, topics)
    consumer = standalone_consumer(settings, more={"enable.partition.eof": True})
    try:
        consumer.assign(left)
        ends = len(left)
        while ends:
            message = consumer.poll(_SEEN_S)
            if message is None:
                raise DependencyError(f"no record for {_SEEN_S:.0f} s while reading {', '.join(topics)}")
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                ends -= 1
            else:
                raise KafkaException(error)
    finally:
        consumer.close()


class _Watcher:
    """Reads the outputs as they become readable, in a thread, and notes when. Read committed, like any consumer."""

    def __init__(self, settings: Settings, topics: Sequence[str]) -> None:
        self.count = 0
        self.last_at = time.monotonic()  #: when the latest output was read
        self.woken_at = self.last_at  #: when something was last sent to it
        self._keeping = False
        self._kept: list[tuple[float, Message]] = []
        self._failure: KafkaError | None = None
        self._stop = threading.Event()
        self._consumer = standalone_consumer(settings)
        self._consumer.assign(_all_partitions(settings, topics))
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)

    def __enter__(self) -> "_Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def keep(self) -> None:
        """From now on keep what is read."""
        self.woken_at = time.monotonic()
        self._keeping = True

    def kept(self) -> Sequence[tuple[float, Message]]:
        """What was kept, each with the monotonic time at which it was read."""
        return self._kept

    def check(self) -> None:
        """Raise what the thread met."""
        if self._failure is not None:
            raise KafkaException(self._failure)

    def _watch(self) -> None:
        while not self._stop.is_set():
            first = self._consumer.poll(0.1)
            if first is None:
                continue
            at = time.monotonic()
            # poll returns at once when there is something; what else is there came with it.
            messages = [first, *self._consumer.consume(1_000, timeout=0)]
            failure = next((error for message in messages if (error := message.error()) is not None), None)
            if failure is not None:
                self._failure = failure
                return
            if self._keeping:
                self._kept += [(at, message) for message in messages]
            self.last_at = at
            self.count += len(messages)


# The engine


class _Engine:
    """`processor run` as a process of its own, which ends with this one."""

    def __init__(self, settings: Settings, log: IO[bytes], *, state: str) -> None:
        self._log = log
        self._process, self._link = start_worker(
            worker_command(until_end=False, start_from=None),
            1,
            environment=_environment(settings, state=state),
            log_file=log,
        )

    def until_ready(self) -> None:
        """Block until /ready says so."""
        deadline = time.monotonic() + _READY_S
        while not self._is_ready():
            self.check()
            if time.monotonic() > deadline:
                raise DependencyError(f"the engine was not ready in {_READY_S:.0f} s{self._last_lines()}")
            time.sleep(0.02)

    def _is_ready(self) -> bool:
        self._link.read_status()
        if self._link.port is None:
            return False
        with suppress(requests.RequestException), requests.Session() as session:
            session.trust_env = False  # a proxy has no business between processes of one host
            answer = session.get(f"http://127.0.0.1:{self._link.port}/ready", timeout=2)
            return bool(answer.ok)
        return False

    def check(self) -> None:
        """Raise what its exit code stands for, when it has ended."""
        if (code := self._process.poll()) is not None:
            kind = _ENDS.get(code, InternalError)
            raise kind(f"the engine ended with {code}{self._last_lines()}")

    def stop(self) -> None:
        """SIGTERM, and what the engine promises then: an end with 0 within 10 s."""
        self.check()
        self._process.terminate()
        try:
            code = self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            raise InternalError(f"the engine did not stop in {_STOP_S:.0f} s{self._last_lines()}") from None
        if code:
            raise _ENDS.get(code, InternalError)(f"the engine stopped with {code}{self._last_lines()}")

    def close(self) -> None:
        """No engine outlives the demo. One that is still there is asked first, so that it leaves its group."""
        if self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_S)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._link.close()

    def _last_lines(self) -> str:
        # The engine writes by the same file description: seek would move where it writes, pread does not.
        descriptor = self._log.fileno()
        size = os.fstat(descriptor).st_size
        start = max(0, size - _LAST_BYTES)
        text = os.pread(descriptor, size - start, start).decode(errors="replace")
        lines = text.splitlines()[-_LAST_LINES:]
        return "".join(f"\n  {line}" for line in lines)


_ENDS: Final[Mapping[int, type[FatalError]]] = {  # exit code -> what it stands for
    UsageError.exit_code: UsageError,
    DependencyError.exit_code: DependencyError,
    FencedError.exit_code: FencedError,
    InputError.exit_code: InputError,
}


@contextmanager
def _engine(settings: Settings, log: IO[bytes]) -> Iterator[_Engine]:
    with tempfile.TemporaryDirectory(prefix="processor-demo-") as state:
        engine = _Engine(settings, log, state=state)
        try:
            yield engine
        finally:
            engine.close()


def _environment(settings: Settings, *, state: str) -> dict[str, str]:
    """What the engine is started with: this process's environment, and of our variables just those of the demo."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("PROCESSOR_")}
    kafka = settings.kafka
    passed = {"COMMON": kafka.common, "CONSUMER": kafka.consumer, "PRODUCER": kafka.producer}
    return {
        **kept,
        "PROCESSOR_TENANT": settings.required_tenant,
        "PROCESSOR_TOPICS__PREFIX": settings.topics.prefix,
        "PROCESSOR_STATE_DIR": state,
        "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        **{f"PROCESSOR_KAFKA__{name}": json.dumps(dict(given)) for name, given in passed.items() if given},
        "PROCESSOR_HTTP__HOST": "127.0.0.1",
        "PROCESSOR_HTTP__PORT": "0",
        "PROCESSOR_LOG__FORMAT": "json",
    }


# The rim


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """SIGTERM unwinds as Ctrl-C does, so that topics and processes go. Outside the main thread there is none."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _remove(settings: Settings) -> None:
    """Delete the demo's topics and group. What cannot be deleted is said, and hides no error that came before."""
    prefix = settings.topics.prefix
    faults = []
    with create_admin(settings) as asker:
        try:
            topics = [name for name in asker.list_topics(timeout=_SEEN_S).topics if name.startswith(prefix)]
            answers = {**asker.delete_topics(topics, operation_timeout=_SEEN_S)} if topics else {}
            answers |= asker.delete_consumer_groups([settings.group_id])
        except KafkaException as exception:
            faults, answers = [error_of(exception).str()], {}
        for name, answer in answers.items():
            try:
                answer.result()
            except KafkaException as exception:
                error = error_of(exception)
                if error.code() != KafkaError.GROUP_ID_NOT_FOUND:  # nobody joined, when the demo ended early
                    faults.append(f"{name}: {error.str()}")
    if faults:
        sys.stderr.write(f"could not remove all that begins with {prefix}: {'; '.join(faults)}\n")


class _Shown:
    """Picks inputs that differ in what becomes of them, a few, and keeps the outputs that were made of those."""

    def __init__(self, told: Sequence[Input], expected: Expected) -> None:
        topics: dict[int, set[str]] = {}
        for topic, _, mark in expected.all():
            topics.setdefault(mark.number, set()).add(topic)
        self._chosen: dict[int, Shown] = {}
        kinds: Counter[bool] = Counter()
        seen = set()
        for one in told:
            kind = (frozenset(topics.get(one.number, ())), one.again, one.reason)
            plain = not one.again and not one.reason
            if kind not in seen and not (plain and kinds[plain] == _PLAIN):
                seen.add(kind)
                kinds[plain] += 1
                self._chosen[one.number] = Shown(one.event, one.again, [])
        self._numbers: dict[tuple[str, str], list[int]] = {}
        for topic, output, mark in expected.all():
            if mark.number in self._chosen:
                self._numbers.setdefault((topic, output), []).append(mark.number)
        self._offered: Counter[tuple[str, str]] = Counter()

    def offer(self, output: str, message: Message) -> None:
        """Keep the message if it was made of a chosen input."""
        made = (_topic_of(message), output)
        if numbers := self._numbers.get(made):
            number = numbers[min(self._offered[made], len(numbers) - 1)]
            self._offered[made] += 1
            self._chosen[number].made.append(Made(made[0], message.value() or b"", headers_of(message)))

    def all(self) -> list[Shown]:
        """The chosen, in the order of sending."""
        return [self._chosen[number] for number in sorted(self._chosen)]
