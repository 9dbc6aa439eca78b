"""What `processor demo` shows: a few events beside what became of them, counts, latency, and what to try next."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from processor.demo.examples import ShownInput, ShownOutput
from processor.demo.expected import Counts, TopicNames
from processor.domain.channel import CHANNELS
from processor.domain.text import truncate_line
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


def print_report(screen: Console, result: DemoResult, examples: Sequence[ShownInput], schemas: Schemas) -> None:
    """Print all of it for people."""
    screen.print(_examples_table(result.topics, examples, schemas))
    screen.print(_counts_table(result))
    screen.print(_speed_text(result))
    screen.print(Text(_NEXT.replace("  processor", f"  {_program()}")), soft_wrap=True)


def _examples_table(topics: TopicNames, examples: Sequence[ShownInput], schemas: Schemas) -> Table:
    # No line: status, notification.
    order = (topics.messages, *topics.streams.values(), topics.decisions, topics.dead_letters)
    table = Table(title="A few records, and what became of them", title_justify="left", show_lines=True)
    table.add_column("input", ratio=2)
    table.add_column("outputs", ratio=3)
    for example in examples:
        outputs = sorted(
            (output for output in example.outputs if output.topic in order),
            key=lambda output: order.index(output.topic),
        )
        lines = [_output_text(output, topics, schemas) for output in outputs]
        table.add_row(Text(_input_text(example)), Text("\n".join(lines)))
    return table


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


def _counts_table(result: DemoResult) -> Table:
    counts, topics = result.counts, result.topics
    table = Table(title="Sent, and read back by a read_committed consumer", title_justify="left")
    table.add_column("what")
    table.add_column("records", justify="right")
    table.add_column("where", overflow="fold")
    table.add_row("sent", f"{result.events:,}", "one sent twice, three that are no events")
    table.add_section()
    table.add_row("messages", f"{counts.read.get(topics.messages, 0):,}", topics.messages)
    table.add_row("statuses", f"{counts.read.get(topics.status, 0):,}", topics.status)
    table.add_row("notifications", f"{counts.read.get(topics.notifications, 0):,}", topics.notifications)
    table.add_row("stream events", f"{result.stream_events:,}", f"{len(set(topics.streams.values()))} streams")
    table.add_row("decisions", f"{counts.read.get(topics.decisions, 0):,}", topics.decisions)
    table.add_row("dead letters", f"{counts.read.get(topics.dead_letters, 0):,}", topics.dead_letters)
    table.add_section()
    for what, count in (
        ("duplicates", counts.duplicates),
        ("lost", counts.lost),
        ("out of order", counts.out_of_order),
    ):
        table.add_row(what, Text(f"{count:,}", style="bold red" if count else "green"), "")
    return table


def _speed_text(result: DemoResult) -> Text:
    latency = result.latency
    lines = [f"A burst: {result.events_per_second:,.0f} events/s, from the first one sent to the last output read."]
    if latency.count:
        lines += [
            f"1,000 events/s: p50 {latency.p50} ms, p95 {latency.p95} ms, p99 {latency.p99} ms",
            f"from when an event was due to when an output of it was read ({latency.count:,} outputs).",
        ]
    return Text("\n".join((*lines, "")))


def _program() -> str:
    """How to call the program from here: by its name where the shell finds it, else as it was called."""
    called = Path(sys.argv[0])
    found = shutil.which("processor")
    if called.name != "processor" or (found is not None and called.resolve() == Path(found).resolve()):
        return "processor"
    return sys.argv[0]


_NEXT: Final = """\
What to try next
  processor kafka --port 9092       a broker to play with; then, in other terminals:
  export PROCESSOR_KAFKA__BOOTSTRAP_SERVERS=127.0.0.1:9092 PROCESSOR_TENANT=northbank
  processor topics --create         the topics
  processor run                     the engine; /ready and /metrics on port 8080
  processor produce --samples       one event of each kind
  processor check                   your templates, named by PROCESSOR_TEMPLATES_DIR\
"""
