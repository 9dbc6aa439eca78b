"""A few inputs that differ in what becomes of them, beside the outputs that were made of them, for people."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import Message

from processor.demo.expected import Expected
from processor.demo.inputs import Input
from processor.demo.watcher import topic_of
from processor.domain.record import Headers
from processor.kafka.clients import headers_of

_GOOD_LIMIT: Final = 5  # good events that are shown; the repeat and the bad ones come on top


@dataclass(frozen=True, slots=True)
class ShownOutput:
    """An output as it was read."""

    topic: str
    value: bytes
    headers: Headers


@dataclass(frozen=True, slots=True)
class ShownInput:
    """An input, and what was read of it. `event` is None for a record that is no event."""

    event: Mapping[str, Any] | None
    is_repeat: bool
    outputs: list[ShownOutput] = field(default_factory=list)


class Examples:
    """Picks the inputs from what is expected of them, then keeps their outputs as they are read."""

    def __init__(self, inputs: Sequence[Input], expected: Expected) -> None:
        picked = {item.number: ShownInput(item.event, item.is_repeat) for item in _pick(inputs, expected)}
        self._numbers: dict[tuple[str, str], list[int]] = {}
        for topic, output, source in expected.all():
            if source.number in picked:
                self._numbers.setdefault((topic, output), []).append(source.number)
        self._picked = picked
        self._offered: Counter[tuple[str, str]] = Counter()

    def offer(self, output: str, message: Message) -> None:
        """Keep the message if it is an output of a picked input."""
        topic = topic_of(message)
        if numbers := self._numbers.get((topic, output)):
            number = numbers[min(self._offered[topic, output], len(numbers) - 1)]
            self._offered[topic, output] += 1
            shown = ShownOutput(topic, message.value() or b"", headers_of(message))
            self._picked[number].outputs.append(shown)

    def all(self) -> list[ShownInput]:
        """The picked inputs, in the order of sending."""
        return [self._picked[number] for number in sorted(self._picked)]


def _pick(inputs: Sequence[Input], expected: Expected) -> Iterator[Input]:
    """One input for each set of topics that its outputs go to, few of them good; the repeat, and each bad one."""
    topics: dict[int, set[str]] = {}
    for topic, _, source in expected.all():
        topics.setdefault(source.number, set()).add(topic)
    good = 0
    seen = set()
    for item in inputs:
        kind = (frozenset(topics.get(item.number, ())), item.is_repeat, item.reason)
        is_good = not item.is_repeat and not item.reason
        if kind in seen or (is_good and good == _GOOD_LIMIT):
            continue
        seen.add(kind)
        good += is_good
        yield item
