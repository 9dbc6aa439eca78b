"""Events onto the input topic, from a file of JSON lines, the shipped samples, or generated.

Every event is read as `run` would read it before it is sent, and keyed by its ordering key.
"""

import json
import pickle
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Protocol

from confluent_kafka import KafkaError, Message

from processor.demo.generate import events
from processor.domain.catalogue import EVENTS
from processor.domain.event import Event
from processor.domain.reasons import Reason
from processor.domain.record import Topic
from processor.errors import InternalError, UsageError
from processor.kafka.event_producer import EventRecord, batch_limit_bytes, enqueue, event_producer, wait_until
from processor.observability.signals import signal_handlers
from processor.registry.schema_files import load_schemas
from processor.settings import InputTopic, Settings
from processor.shipped import samples
from processor.wire.decode import DecodeFailure, event_and_unknown_fields, event_from_json
from processor.wire.encode import encode_event
from processor.wire.reader_schemas import Schemas
from processor.wire.unknown_fields import UnknownField
from processor.wire.wire_format import WireFormat

_SHUTDOWN_TIMEOUT_S: Final = 8.0  # for events under way when a stop is requested; less than 10 s with all else
_KEPT_LIMIT: Final = 1_000  # rejected lines and unknown fields that a report has in full
_MEMORY_LIMIT_BYTES: Final = 64_000_000  # of checked records; more of them are kept on the disk
_BOM: Final = b"\xef\xbb\xbf"

Line = tuple[int, bytes]
"""Number, from 1, and text."""

DecodedLine = tuple[int, Event | DecodeFailure]
"""Number of a line, and its event, or why it has none."""


@dataclass(frozen=True, slots=True)
class File:
    """JSON lines, one event each, in UTF-8; blank lines are skipped. `-` is stdin."""

    path: Path


@dataclass(frozen=True, slots=True)
class Samples:
    """The shipped sample of each event, of the tenant of this installation where one is set."""


@dataclass(frozen=True, slots=True)
class Generated:
    """The first `count` events that `seed` gives, of the tenant of this installation."""

    count: int
    seed: int = 1


EventSource = File | Samples | Generated


@dataclass(frozen=True, slots=True)
class ProduceOptions:
    """What is sent, and how. `rate` is events per second, None is as fast as the broker takes them.

    One rejected line keeps a whole file from being sent; with `skip_bad` only the rejected lines are not. Raises
    UsageError for a rate or a count that is none.
    """

    source: EventSource
    rate: float | None = None
    format: WireFormat = WireFormat.AVRO
    skip_bad: bool = False

    def __post_init__(self) -> None:
        if self.rate is not None and self.rate <= 0:
            raise UsageError(f"--rate is events per second, more than 0, got: {self.rate:g}")
        if isinstance(self.source, Generated) and self.source.count < 0:
            raise UsageError(f"--count is 0 or more, got: {self.source.count}")


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """A line that cannot be sent, and why. The detail begins with the field's path."""

    line: int
    reason: Reason
    detail: str


@dataclass(slots=True)
class ProduceReport:
    """What became of the source. `failed` are events that the broker did not take, `failure` why it refused the first.

    `rejected` has the first 1,000 of the `rejected_count` lines, `unknown_fields` as many fields that no schema has,
    each with the first line that has it. `stopped`: a signal came before the end.
    """

    topic: Topic
    delivered: int = 0
    failed: int = 0
    failure: str = ""
    rejected_count: int = 0
    rejected: list[RejectedLine] = field(default_factory=list)
    unknown_fields: dict[UnknownField, int] = field(default_factory=dict)
    seconds: float = 0.0
    stopped: bool = False

    def add_rejected(self, line: RejectedLine) -> None:
        """Count a rejected line, and keep it while there are few."""
        self.rejected_count += 1
        if len(self.rejected) < _KEPT_LIMIT:
            self.rejected.append(line)

    def add_delivery(self, error: KafkaError | None, _message: Message | None) -> None:
        """Count what the broker said of one event; a delivery callback."""
        if error is None:
            self.delivered += 1
            return
        self.failed += 1
        self.failure = self.failure or f"{error.name()}: {error.str()}"

    def as_json(self) -> dict[str, Any]:
        """One object for machines."""
        return {
            "topic": self.topic,
            "delivered": self.delivered,
            "failed": self.failed,
            "rejected": self.rejected_count,
            "rejectedLines": [
                {"line": line.line, "reason": line.reason, "detail": line.detail} for line in self.rejected
            ],
            "unknownFields": [
                {"line": line, "field": unknown.path, "nearest": unknown.nearest or None}
                for unknown, line in self.unknown_fields.items()
            ],
            "stopped": self.stopped,
            "seconds": round(self.seconds, 3),
        }


class Track(Protocol):
    """Passes items on, and may show the progress; `total` is None where that is not known."""

    def __call__(self, what: str, items: Iterable[Any], total: int | None, /) -> Iterator[Any]: ...


def untracked(_what: str, items: Iterable[Any], _total: int | None, /) -> Iterator[Any]:
    """Show nothing."""
    return iter(items)


def produce(settings: Settings, options: ProduceOptions, *, track: Track = untracked) -> ProduceReport:
    """Send the source to the events topic; the report says what became of it.

    A file is read whole before anything of it is sent, unless bad lines are skipped. The rate is a schedule: what a
    slow moment missed is caught up. Blocks until the broker took or refused each event; SIGINT and SIGTERM end it
    early, after what is under way. Raises UsageError for a source that cannot be read, TopicConfigError when there is
    no such topic, DependencyError when the broker does not respond.
    """
    source, total = options.source, _count(options.source)
    schemas = load_schemas(settings.schemas_dir)
    report = ProduceReport(settings.topic(InputTopic.EVENTS))
    check_first = isinstance(source, File) and not options.skip_bad
    with ExitStack() as stack:
        lines = stack.enter_context(_open_source(settings, source))
        stopped = stack.enter_context(_stop_signals())
        lines = track("checking" if check_first else "sending", lines, total)
        decoded = _decode_file(lines, schemas, report) if isinstance(source, File) else decode_lines(lines, schemas)
        classified = classify(decoded, schemas, format=options.format, limit_bytes=settings.max_event_bytes)
        records = _records_to_send(classified, report, stopped)
        if check_first:
            checked = stack.enter_context(tempfile.SpooledTemporaryFile(max_size=_MEMORY_LIMIT_BYTES))
            count = _spool(records, checked)
            records = track("sending", _read_spool(checked, count), count)
        if options.skip_bad or not (check_first and report.rejected_count):
            _send(settings, records, report, rate=options.rate, stopped=stopped)
    return report


def decode_lines(lines: Iterable[Line], schemas: Schemas) -> Iterator[DecodedLine]:
    """The event of each line, or why it has none; lazily, in order."""
    for number, text in lines:
        yield number, event_from_json(text, schemas)


def _decode_file(lines: Iterable[Line], schemas: Schemas, report: ProduceReport) -> Iterator[DecodedLine]:
    """The same; the fields that no schema has go into the report as each line is decoded."""
    for number, text in lines:
        event, unknown_fields = event_and_unknown_fields(text, schemas)
        for unknown in unknown_fields:
            if len(report.unknown_fields) < _KEPT_LIMIT:
                report.unknown_fields.setdefault(unknown, number)
        yield number, event


def classify(
    lines: Iterable[DecodedLine],
    schemas: Schemas,
    *,
    format: WireFormat,  # noqa: A002  the option's name
    limit_bytes: int,
) -> Iterator[EventRecord | RejectedLine]:
    """Each line as the record of its event, or as what is wrong with it; lazily, in order.

    An event of more than `limit_bytes` is EVENT_TOO_LARGE, as `run` would say.
    """
    for number, event in lines:
        if isinstance(event, DecodeFailure):
            yield RejectedLine(number, event.reason, event.detail)
            continue
        value, headers = encode_event(event.fields, schemas, format=format)
        if len(value) > limit_bytes:
            yield RejectedLine(number, Reason.EVENT_TOO_LARGE, f"{len(value)} bytes, at most {limit_bytes} are read")
        else:
            yield EventRecord(event.ordering_key.encode(), value, headers)


def _records_to_send(
    classified: Iterable[EventRecord | RejectedLine], report: ProduceReport, stopped: Callable[[], bool]
) -> Iterator[EventRecord]:
    """The records; rejected lines go into the report. Ends early once `stopped`."""
    for item in classified:
        if stopped():
            report.stopped = True
            return
        if isinstance(item, RejectedLine):
            report.add_rejected(item)
        else:
            yield item


# Checked records, until all of them may be sent: in memory, or on the disk where they are many.


def _spool(records: Iterable[EventRecord], file: IO[bytes]) -> int:
    """Write the records into `file`; how many there were. Raises UsageError for a full disk."""
    count = 0
    for record in records:
        with _room_on_temporary_disk():
            pickle.dump((record.key, record.value, record.headers), file)
        count += 1
    return count


def _read_spool(file: IO[bytes], count: int) -> Iterator[EventRecord]:
    file.seek(0)
    for _ in range(count):
        yield EventRecord(*pickle.load(file))  # noqa: S301  written by `_spool`, into a file without a name


def _send(
    settings: Settings,
    records: Iterable[EventRecord],
    report: ProduceReport,
    *,
    rate: float | None,
    stopped: Callable[[], bool],
) -> None:
    """Send all, and wait for what became of each."""
    producer = event_producer(settings, batch_bytes=batch_limit_bytes(settings, report.topic))
    sent = 0
    started_at = time.monotonic()
    for record in records:
        if rate is not None:
            wait_until(started_at + sent / rate, while_waiting=producer.poll, stopped=stopped)
        if stopped():
            report.stopped = True
            break
        enqueue(producer, report.topic, record, on_delivery=report.add_delivery)
        sent += 1
    deadline: float | None = None
    while producer.flush(0.2):
        if stopped() and deadline is None:
            report.stopped, deadline = True, time.monotonic() + _SHUTDOWN_TIMEOUT_S
        if deadline is not None and time.monotonic() > deadline:
            producer.purge()  # each purged event is reported as failed
    report.seconds = time.monotonic() - started_at
    if sent != report.delivered + report.failed:
        raise InternalError(f"{sent} events were sent, {report.delivered + report.failed} were reported on")


# The sources


@contextmanager
def _open_source(settings: Settings, source: EventSource) -> Iterator[Iterator[Line]]:
    match source:
        case File(path):
            with _open_file(path) as file:
                yield _lines(file)
        case Samples():
            tenant = {"tenant": settings.tenant} if settings.tenant else {}
            yield _json_lines({**sample, **tenant} for sample in samples())
        case Generated(count, seed):
            yield _json_lines(events(count, seed=seed, tenant=settings.required_tenant))


@contextmanager
def _open_file(path: Path) -> Iterator[IO[bytes]]:
    """The file, or a copy of what can only be read once: stdin, a pipe.

    It is copied before signals are handled: a handler would leave a read that waits for input waiting.
    """
    with ExitStack() as stack:
        try:
            file: IO[bytes] = sys.stdin.buffer if path == Path("-") else stack.enter_context(path.open("rb"))
        except OSError as error:
            hint = "--file takes JSON lines, one event each; - is stdin"
            raise UsageError(f"{path} cannot be read: {error.strerror}", hint=hint) from error
        if not file.seekable():
            copy = stack.enter_context(tempfile.TemporaryFile())
            with _room_on_temporary_disk():
                shutil.copyfileobj(file, copy)
                copy.seek(0)
            file = copy
        yield file


@contextmanager
def _room_on_temporary_disk() -> Iterator[None]:
    """Raise UsageError for an error of the disk that what is read is kept on."""
    try:
        yield
    except OSError as error:
        hint = "set TMPDIR to a folder with more room"
        raise UsageError(
            f"the source cannot be kept in {tempfile.gettempdir()}: {error.strerror}", hint=hint
        ) from error


def _lines(file: IO[bytes]) -> Iterator[Line]:
    for number, line in enumerate(file, 1):
        text = line.removeprefix(_BOM).strip() if number == 1 else line.strip()
        if text:
            yield number, text


def _json_lines(json_events: Iterable[dict[str, Any]]) -> Iterator[Line]:
    for number, event in enumerate(json_events, 1):
        yield number, json.dumps(event, ensure_ascii=False).encode()


def _count(source: EventSource) -> int | None:
    match source:
        case File():
            return None
        case Samples():
            return len(EVENTS)
        case Generated(count):
            return count


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Whether SIGINT or SIGTERM has come. Outside the main thread there are none to catch."""
    requested = threading.Event()
    with signal_handlers(requested.set):
        yield requested.is_set
