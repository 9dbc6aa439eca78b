"""Sends the demo's inputs, as a burst and by schedule, and measures when their outputs can be read."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaError, Message

from processor.demo.engine_process import EngineProcess
from processor.demo.expected import Expected, TopicNames
from processor.demo.inputs import Input, dead_letter_id
from processor.demo.watcher import OutputWatcher, position_of, topic_of
from processor.errors import DependencyError
from processor.kafka.clients import headers_of
from processor.kafka.event_producer import batch_limit_bytes, enqueue, event_producer, wait_until
from processor.settings import InputTopic, Settings

PACED_PER_SECOND: Final = 1_000

_IDLE_TIMEOUT_S: Final = 20.0  # without an output while some are missing: those are lost, and counted as that

ShowStatus = Callable[[str], None]
"""Says for people what is being done."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Times of a run: of the burst from the first event sent to the last output read, of all from the same moment, and
    for each output of a paced event the milliseconds from when that was due to when the output was read."""

    burst_s: float
    seconds: float
    waits_ms: Sequence[float]


class EventSender:
    """Sends inputs, and remembers where each came to lie."""

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.topic(InputTopic.EVENTS)
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
class Workload:
    """The inputs and what is expected of them, with what sends, reads and maps them."""

    inputs: Sequence[Input]
    expected: Expected
    topics: TopicNames
    sender: EventSender
    watcher: OutputWatcher
    engine: EngineProcess

    def send_all(self, burst: int, show_status: ShowStatus) -> Measured:
        """Send the first `burst` inputs as fast as it goes, then the others by schedule; wait for their outputs."""
        show_status(f"sending a burst of {burst} events")
        started_at = time.monotonic()
        self._send_burst(burst)
        burst_s = self.watcher.last_at - started_at
        waits_ms: Sequence[float] = ()
        if paced := self.inputs[burst:]:
            show_status(f"sending {len(paced)} events at {PACED_PER_SECOND} a second")
            waits_ms = self._send_paced(paced)
        return Measured(burst_s, self.watcher.last_at - started_at, waits_ms)

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
        for at, message in self.watcher.kept_messages():
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
