"""What `processor demo` shows: a few events beside what became of them, counts, latency, and what to try next."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from processor.demo.examples import ShownInput, ShownOutput
from processor.demo.expected import Counts, TopicNames
from processor.domain.channel import CHANNELS
from processor.domain.text import truncate_line
from processor.screen import Column, Listing, Screen
from processor.wire.output_fields import read_decision, read_message, read_stream_event
from processor.wire.reader_schemas import Schemas

_LINE_LIMIT_CHARACTERS: Final = 100


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from when an event was due to be sent to when one of its outputs was read; over `count` outputs.

    Percentiles are nearest ranks; None when nothing was paced.
    """

    count: int
    p50: float | None
    p95: float | None
    p99: float | None

    @classmethod
    def of(cls, waits_ms: Sequence[float]) -> "Latency":
        """Of all waits, in any order."""
        ordered = sorted(waits_ms)

        def rank(share: float) -> float | None:
            return round(ordered[max(0, -int(-share * len(ordered) // 1) - 1)], 1) if ordered else None

        return cls(len(ordered), rank(0.5), rank(0.95), rank(0.99))


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What a demo found. `events` counts all records sent; `seconds` from the first one sent to the last output read;
    `events_per_second` is that of the burst."""

    events: int
    counts: Counts
    topics: TopicNames
    seconds: float
    events_per_second: float
    latency: Latency

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        read, topics = self.counts.read, self.topics
        return {
            "events": self.events,
            "messages": read.get(topics.messages, 0),
            "streamEvents": self.stream_events,
            "statuses": read.get(topics.status, 0),
            "notifications": read.get(topics.notifications, 0),
            "deadLetters": read.get(topics.dead_letters, 0),
            "decisions": read.get(topics.decisions, 0),
            "duplicates": self.counts.duplicates,
            "lost": self.counts.lost,
            "outOfOrder": self.counts.out_of_order,
            "seconds": round(self.seconds, 3),
            "eventsPerSecond": round(self.events_per_second),
            "latencyMs": {"p50": self.latency.p50, "p95": self.latency.p95, "p99": self.latency.p99},
        }

    @property
    def stream_events(self) -> int:
        """On all streams."""
        return sum(self.counts.read.get(topic, 0) for topic in set(self.topics.streams.values()))


def print_report(screen: Screen, result: DemoResult, examples: Sequence[ShownInput], schemas: Schemas) -> None:
    """Print all of it for people."""
    screen.listing(_examples(result.topics, examples, schemas))
    screen.line(
        f"\nSent: {result.events:,} records, among them an event that is sent twice, and three that are no events.\n"
    )
    screen.listing(_counts(result))
    screen.line("")
    screen.line(_verdict(result.counts))
    for line in _speed_lines(result):
        screen.line(line)
    screen.line("\nWhat to try next, here and in other terminals:")
    for command, what in _NEXT:
        screen.line(f"  {command.replace('processor ', f'{_program()} ', 1)}", whole=True)
        screen.line(f"      {what}")


def _examples(topics: TopicNames, examples: Sequence[ShownInput], schemas: Schemas) -> Listing:
    # No line: status, notification.
    order = (topics.messages, *topics.streams.values(), topics.decisions, topics.dead_letters)
    columns = (Column("event read", prose=True), Column("what was published for it", prose=True))
    listing = Listing(columns, title="A few events, and what became of them", separated=True)
    for example in examples:
        outputs = sorted(
            (output for output in example.outputs if output.topic in order),
            key=lambda output: order.index(output.topic),
        )
        lines = [_output_text(output, topics, schemas) for output in outputs]
        listing.add(_input_text(example), "\n".join(lines))
    return listing


def _input_text(example: ShownInput) -> str:
    event = example.event
    if event is None:
        return "a record that is no event"
    holder = event.get("client") or event.get("group") or {}
    repeat = ", sent again" if example.is_repeat else ""
    lines = [f"{event['event']}{repeat}", holder.get("fullName") or holder.get("name", "")]
    if "transaction" in event:
        account, transaction = event["account"], event["transaction"]
        lines.append(f"{transaction['amount']} {account['currencyCode']}, {account['id']}")
    return "\n".join(lines)


def _output_text(output: ShownOutput, topics: TopicNames, schemas: Schemas) -> str:
    """What people would say of an output; one line, of a decision one for each reason."""
    if output.topic == topics.dead_letters:
        headers = {name: (text or b"").decode() for name, text in output.headers}
        return _line(f"dead letter, {headers['dl.reason']}: {headers['dl.detail']}")
    if output.topic == topics.decisions:
        reasons = read_decision(output.value, output.headers, schemas=schemas).reasons
        return "\n".join(_line(f"no message, {reason.reason}: {reason.detail}") for reason in reasons)
    if output.topic != topics.messages:
        return _line(f"stream event: {read_stream_event(output.value, output.headers, schemas=schemas).body}")
    message = read_message(output.value, output.headers, schemas=schemas)
    if message.type is not None and CHANNELS[message.type].is_stream:
        return f"{message.type} {message.state}"
    to = f" to {message.destination}" if message.destination else ""
    why = f", {message.failureReason}" if message.failureReason else ""
    return _line(f"{message.type} {message.state}{why}{to}: {message.subject or message.body}")


def _line(text: str) -> str:
    return truncate_line(text, _LINE_LIMIT_CHARACTERS)


def _counts(result: DemoResult) -> Listing:
    read, topics = result.counts.read, result.topics
    columns = (Column("what"), Column("records", is_number=True), Column("topic"))
    listing = Listing(columns, title="Read back by a read_committed consumer")
    for what, topic in (
        ("messages", topics.messages),
        ("statuses", topics.status),
        ("notifications", topics.notifications),
        ("decisions", topics.decisions),
        ("dead letters", topics.dead_letters),
    ):
        listing.add(what, f"{read.get(topic, 0):,}", topic)
    listing.add("stream events", f"{result.stream_events:,}", f"on {len(set(topics.streams.values()))} topics")
    return listing


def _verdict(counts: Counts) -> str:
    """What is expected was computed by another program than the one that was run."""
    if not counts.discrepancies:
        return "Exactly once: 0 outputs duplicated, 0 lost, 0 out of order."
    return f"WRONG: {counts.duplicates:,} duplicated, {counts.lost:,} lost, {counts.out_of_order:,} out of order."


def _speed_lines(result: DemoResult) -> Iterator[str]:
    latency = result.latency
    yield (
        f"Throughput: {result.events_per_second:,.0f} events/s, a burst from the first event sent to its last output "
        "read."
    )
    if latency.count:
        yield (
            f"Latency at 1,000 events/s: p50 {latency.p50} ms, p95 {latency.p95} ms, p99 {latency.p99} ms, from when "
            f"an event was due to be sent to when its output was read ({latency.count:,} outputs)."
        )


def _program() -> str:
    """How to call the program from here: by its name where the shell finds it, else as it was called."""
    called = Path(sys.argv[0])
    found = shutil.which("processor")
    if called.name != "processor" or (found is not None and called.resolve() == Path(found).resolve()):
        return "processor"
    return sys.argv[0]


_NEXT: Final = (
    ("processor kafka --port 9092", "a broker to play with"),
    ("export PROCESSOR_KAFKA__BOOTSTRAP_SERVERS=127.0.0.1:9092 PROCESSOR_TENANT=northbank", "in the other terminals"),
    ("processor topics --create", "the topics"),
    ("processor run", "the engine; /ready and /metrics on port 8080"),
    ("processor produce --samples", "one event of each kind"),
    ("processor check", "your templates, named by PROCESSOR_TEMPLATES_DIR"),
)
