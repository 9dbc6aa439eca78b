"""`processor produce`: events onto the input topic, from a file of JSON lines, the shipped samples, or generated.

Every event is read as `run` would read it before it is sent, and keyed by its ordering key.
"""

import contextlib
import json
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import ConfigResource, ResourceType
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from processor.demo.generate import events
from processor.domain.catalogue import EVENTS
from processor.domain.reasons import Reason
from processor.domain.record import Headers, Topic
from processor.errors import AuthorizationError, DependencyError, InternalError, TopicConfigError, UsageError
from processor.kafka.clients import (
    AUTHORIZATION_ERRORS,
    admin,
    common_properties,
    error_of,
    plain_producer,
    refuse_hidden,
    unreachable,
)
from processor.registry.schema_files import load_schemas
from processor.settings import Settings
from processor.shipped import samples
from processor.wire.decode import Fault, event_of_json, unknown_fields_of_json
from processor.wire.encode import Format, encode_event
from processor.wire.json_codec import UnknownField
from processor.wire.schema import Schemas

_CONNECT_S: Final = 10.0
_STOP_S: Final = 8.0  # for what is under way when a stop is asked for; all in all less than 10 s
_TOLD_FINDINGS: Final = 20
_KEPT_FINDINGS: Final = 1_000
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class File:
    """JSON lines, one event each, in UTF-8; blank lines are passed over. `-` is stdin."""

    path: Path


@dataclass(frozen=True, slots=True)
class Samples:
    """The shipped sample of each event, of the tenant of this installation where one is set."""


@dataclass(frozen=True, slots=True)
class Generated:
    """The first `count` events that `seed` gives, of the tenant of this installation."""

    count: int
    seed: int = 1


Source = File | Samples | Generated


@dataclass(frozen=True, slots=True)
class Keyed:
    """An event as it goes onto its topic."""

    key: bytes
    value: bytes
    headers: Headers


@dataclass(frozen=True, slots=True)
class Finding:
    """A line that cannot be sent, and why. Lines count from 1; the detail begins with the field's path."""

    line: int
    reason: Reason
    detail: str


@dataclass(slots=True)
class Report:
    """What became of the source. `failed` are events that the broker did not take.

    `findings` has the first 1,000 of the `bad` lines, `unknown` as many fields that no schema has, each with the first
    line that has it. `stopped`: a signal came before the end.
    """

    topic: Topic
    delivered: int = 0
    failed: int = 0
    bad: int = 0
    findings: list[Finding] = field(default_factory=list)
    unknown: dict[UnknownField, int] = field(default_factory=dict)
    failure: str = ""  #: of the first event that failed
    seconds: float = 0.0
    stopped: bool = False

    def found(self, finding: Finding) -> None:
        """Count a bad line, and keep it while there are few."""
        self.bad += 1
        if len(self.findings) < _KEPT_FINDINGS:
            self.findings.append(finding)

    def note_unknown_fields(self, lines: Iterable[tuple[int, bytes]], schemas: Schemas) -> Iterator[tuple[int, bytes]]:
        """`lines` as they are; the unknown fields of each are noted when it is taken."""
        for number, line in lines:
            for unknown in unknown_fields_of_json(line, schemas):
                if len(self.unknown) < _KEPT_FINDINGS:
                    self.unknown.setdefault(unknown, number)
            yield number, line

    def as_json(self) -> dict[str, Any]:
        """One object for machines."""
        return {
            "topic": self.topic,
            "delivered": self.delivered,
            "failed": self.failed,
            "bad": self.bad,
            "findings": [{"line": one.line, "reason": one.reason, "detail": one.detail} for one in self.findings],
            "unknownFields": [
                {"line": line, "field": unknown.path, "nearest": unknown.nearest or None}
                for unknown, line in self.unknown.items()
            ],
            "stopped": self.stopped,
            "seconds": round(self.seconds, 3),
        }


def produce(
    settings: Settings,
    *,
    source: Source,
    rate: float | None = None,
    format: Format = "avro",  # noqa: A002  the option's name
    skip_bad: bool = False,
    json_output: bool = False,
) -> int:
    """Send `source` to the events topic and say what became of it: 0, or 1 when a bad line kept all from being sent.

    A file is read whole before anything of it is sent, and one bad line keeps all of it back; with `skip_bad` only the
    bad lines are. `rate` is events per second, by schedule: what a slow moment missed is made up for. Blocks until the
    broker took or refused each event; SIGINT and SIGTERM end it early, after what is under way. Raises UsageError for
    a source that cannot be had, TopicConfigError when there is no such topic, DependencyError when the broker does not
    answer or did not take every event.
    """
    if rate is not None and rate <= 0:
        raise UsageError(f"--rate is events per second, more than 0, got: {rate:g}")
    if isinstance(source, Generated) and source.count < 0:
        raise UsageError(f"--count is 0 or more, got: {source.count}")
    schemas = load_schemas(settings.schemas_dir)
    report = Report(settings.topic("events"))
    with _told(settings, source) as told, _stop_signals() as stopped, _progress() as shown:

        def keyed(what: str, total: int | None) -> Iterator[Keyed]:
            lines = shown(what, told(), total)
            if isinstance(source, File) and (skip_bad or what == "checking"):  # once, where it is read twice
                lines = report.note_unknown_fields(lines, schemas)
            for one in keyed_events(lines, schemas, format=format, limit_bytes=settings.max_event_bytes):
                if stopped():
                    report.stopped = True
                    return
                if isinstance(one, Finding):
                    report.found(one)
                else:
                    yield one

        total = _count(source)
        if isinstance(source, File) and not skip_bad:
            total = sum(1 for _ in keyed("checking", total))
        if skip_bad or not report.bad:
            _send(settings, keyed("sending", total), report=report, rate=rate, stopped=stopped)
    _say(report, source, json_output=json_output)
    if report.failed:
        raise DependencyError(
            f"the broker did not take {report.failed} of {report.failed + report.delivered} events: {report.failure}",
            hint="what it took is on the topic; an event told again within the window makes no second message",
        )
    return 1 if report.bad and not skip_bad else 0


def keyed_events(
    lines: Iterable[tuple[int, bytes]],
    schemas: Schemas,
    *,
    format: Format,  # noqa: A002  the option's name
    limit_bytes: int,
) -> Iterator[Keyed | Finding]:
    """Each (number, JSON text) as the record of its event, or as what is wrong with it; lazily, in order.

    An event that would weigh more than `limit_bytes` is EVENT_TOO_LARGE, as `run` would say.
    """
    for number, line in lines:
        event = event_of_json(line, schemas)
        if isinstance(event, Fault):
            yield Finding(number, event.reason, event.detail)
            continue
        value, headers = encode_event(event.fields, schemas, format=format)
        if len(value) > limit_bytes:
            yield Finding(number, Reason.EVENT_TOO_LARGE, f"{len(value)} bytes, at most {limit_bytes} are read")
        else:
            yield Keyed(event.ordering_key.encode(), value, headers)


def event_producer(settings: Settings, *, batch_bytes: int, **chosen: Any) -> Producer:
    """A producer of events: idempotent, and its partitioner is Java's, so that producers of both kinds agree on keys.

    `batch_bytes` is what the topic takes: librdkafka does not split a batch that is refused, so one event that is too
    large would take others with it. `chosen` are properties that people cannot override.
    """
    return plain_producer(
        {
            "linger.ms": 5,
            "compression.type": "lz4",
            "message.timeout.ms": 60_000,
            "partitioner": "murmur2_random",
            **common_properties(settings),
            **settings.kafka.producer,
            "message.max.bytes": max(1_000_000, settings.max_event_bytes + 65_536),
            "batch.size": min(1_000_000, batch_bytes),
            "enable.idempotence": True,
            **chosen,
        }
    )


def batch_limit_bytes(settings: Settings, topic: Topic) -> int:
    """The largest batch that `topic` takes. Blocks for two requests.

    Raises TopicConfigError when there is no such topic, DependencyError when nobody answers, AuthorizationError when
    we may not ask.
    """
    with admin(settings) as asker:
        try:
            # All topics: to ask for one by name could create it, where the broker's auto.create.topics is on.
            if topic not in asker.list_topics(timeout=_CONNECT_S).topics:
                refuse_hidden(asker, [topic], within_s=_CONNECT_S)
                raise TopicConfigError(f"there is no topic {topic}", hint="`processor topics --create`")
            resource = ConfigResource(ResourceType.TOPIC, topic)
            answers = asker.describe_configs([resource], request_timeout=_CONNECT_S)
            return int(str(answers[resource].result()["max.message.bytes"].value))
        except KafkaException as exception:
            error = error_of(exception)
            if error.code() in AUTHORIZATION_ERRORS:
                raise AuthorizationError(
                    f"not allowed: {error.name()}: {error.str()}",
                    hint=f"grant WRITE, DESCRIBE and DESCRIBE_CONFIGS on {topic}",
                ) from exception
            raise unreachable(settings, asker, error) from exception


def _send(
    settings: Settings,
    keyed: Iterable[Keyed],
    *,
    report: Report,
    rate: float | None,
    stopped: Callable[[], bool],
) -> None:
    """Send all, and wait for what became of each."""
    producer = event_producer(settings, batch_bytes=batch_limit_bytes(settings, report.topic))
    sent = 0

    def on_delivery(error: KafkaError | None, _message: Message) -> None:
        if error is None:
            report.delivered += 1
            return
        report.failed += 1
        report.failure = report.failure or f"{error.name()}: {error.str()}"

    began = time.monotonic()
    for one in keyed:
        if rate is not None:
            wait_until(began + sent / rate, meanwhile=producer.poll, stopped=stopped)
            if stopped():
                report.stopped = True
                break
        put(producer, report.topic, one, on_delivery=on_delivery)
        sent += 1
    give_up_at: float | None = None
    while producer.flush(0.2):
        if stopped() and give_up_at is None:
            report.stopped, give_up_at = True, time.monotonic() + _STOP_S
        if give_up_at is not None and time.monotonic() > give_up_at:
            producer.purge()  # each purged event is reported as failed
    report.seconds = time.monotonic() - began
    if sent != report.delivered + report.failed:
        raise InternalError(f"{sent} events were sent, {report.delivered + report.failed} were reported on")


def put(
    producer: Producer, topic: Topic, one: Keyed, *, on_delivery: Callable[[KafkaError | None, Message], None]
) -> None:
    """Queue one event. Blocks while the producer's queue is full, which ends at the latest when events time out."""
    while True:
        try:
            producer.produce(topic, one.value, one.key, headers=list(one.headers), on_delivery=on_delivery)
        except BufferError:
            producer.poll(0.1)
        except KafkaException as exception:  # refused before it was queued: larger than message.max.bytes
            on_delivery(error_of(exception), None)  # type: ignore[arg-type]  # there is no message
            return
        else:
            producer.poll(0)
            return


def wait_until(
    due: float, *, meanwhile: Callable[[float], object], stopped: Callable[[], bool] = lambda: False
) -> None:
    """Block until the monotonic clock says `due`, or a stop is asked for; `meanwhile` is given seconds to pass."""
    while (left := due - time.monotonic()) > 0 and not stopped():
        if left > 0.002:
            meanwhile(min(left - 0.001, 0.1))
        else:
            time.sleep(left)


# What is sent, as often as it is asked for: a file is read twice, once to check it.

_Told = Callable[[], Iterator[tuple[int, bytes]]]


@contextlib.contextmanager
def _told(settings: Settings, source: Source) -> Iterator[_Told]:
    match source:
        case File(path):
            with _seekable(path) as file:
                yield lambda: _lines(file)
        case Samples():
            tenant = {"tenant": settings.tenant} if settings.tenant else {}
            yield lambda: _json_lines({**sample, **tenant} for sample in samples())
        case Generated(count, seed):
            tenant_of_all = settings.required_tenant
            yield lambda: _json_lines(events(count, seed=seed, tenant=tenant_of_all))


@contextlib.contextmanager
def _seekable(path: Path) -> Iterator[IO[bytes]]:
    """The file, or a copy of what can be read only once: stdin, a pipe."""
    with contextlib.ExitStack() as stack:
        try:
            file: IO[bytes] = sys.stdin.buffer if path == Path("-") else stack.enter_context(path.open("rb"))
        except OSError as error:
            raise UsageError(
                f"{path} cannot be read: {error.strerror}", hint="--file takes JSON lines, one event each; - is stdin"
            ) from error
        if path == Path("-") or not file.seekable():
            copy = stack.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(file, copy)
            file = copy
        yield file


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    file.seek(0)
    for number, line in enumerate(file, 1):
        text = line.removeprefix(_BOM).strip() if number == 1 else line.strip()
        if text:
            yield number, text


def _json_lines(told: Iterable[dict[str, Any]]) -> Iterator[tuple[int, bytes]]:
    for number, event in enumerate(told, 1):
        yield number, json.dumps(event, ensure_ascii=False).encode()


def _count(source: Source) -> int | None:
    match source:
        case File():
            return None
        case Samples():
            return len(EVENTS)
        case Generated(count):
            return count


# Rim: signals, progress, what is said.


@contextlib.contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Whether SIGINT or SIGTERM has come. Outside the main thread there are none to catch."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = {number: signal.signal(number, lambda *_: asked.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, Iterator[tuple[int, bytes]], int | None], Iterator[tuple[int, bytes]]]]:
    """Wraps what is iterated in a bar on stderr, where that is a terminal."""
    screen = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        yield lambda what, lines, total: iter(bar.track(lines, total=total, description=what))


def _say(report: Report, source: Source, *, json_output: bool) -> None:
    """Findings and warnings on stderr, what was sent on stdout."""
    name = str(source.path) if isinstance(source, File) else "event"
    for finding in report.findings[:_TOLD_FINDINGS]:
        sys.stderr.write(f"{name}:{finding.line}: {finding.reason}: {finding.detail}\n")
    if report.bad > _TOLD_FINDINGS:
        sys.stderr.write(f"{name}: {report.bad - _TOLD_FINDINGS} more bad lines\n")
    for unknown, line in list(report.unknown.items())[:_TOLD_FINDINGS]:
        sys.stderr.write(f"{name}:{line}: warning: {unknown}\n")
    if len(report.unknown) > _TOLD_FINDINGS:
        sys.stderr.write(f"{name}: {len(report.unknown) - _TOLD_FINDINGS} more unknown fields\n")
    if report.bad and not report.delivered + report.failed:
        sys.stderr.write("hint: nothing was sent; --skip-bad sends the other lines\n")
    if json_output:
        sys.stdout.write(json.dumps(report.as_json()) + "\n")
    else:
        early = ", stopped early" if report.stopped else ""
        skipped = f", {report.bad} bad" if report.bad else ""
        sys.stdout.write(f"{report.delivered} events on {report.topic} in {report.seconds:.1f} s{skipped}{early}\n")
