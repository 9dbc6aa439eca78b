"""The input of the demo: good events, one of them sent twice, and three records that are no events."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from processor.demo.expected import Expected, InputRef, TemplateSummary, TopicNames, add_expected
from processor.errors import InternalError
from processor.kafka.event_producer import EventRecord
from processor.wire.decode import DecodeFailure, event_from_json
from processor.wire.encode import encode_event
from processor.wire.json_codec import JSON_HEADERS
from processor.wire.reader_schemas import Schemas
from processor.wire.wire_format import WireFormat

EXTRA_COUNT: Final = 4
"""Records beside the good events, all in the burst."""

_JSON_EVERY: Final = 10  # one event in so many is JSON, the others are Avro


@dataclass(frozen=True, slots=True)
class Input:
    """One record for the events topic, encoded beforehand, so that nothing but sending is timed.

    `number` is its place in the order of sending. `event` is None for a record that is no event, and `reason` is then
    that of its dead letter. `is_repeat`: the same event was sent before.
    """

    number: int
    record: EventRecord
    event: Mapping[str, Any] | None = None
    is_repeat: bool = False
    reason: str = ""


def make_inputs(events: Sequence[Mapping[str, Any]], schemas: Schemas, *, burst: int) -> list[Input]:
    """`events` in their order; spread among the first `burst` of them three records that are no events, and after
    those, before the others, the first event again.
    """
    good = [
        Input(0, _encode(event, schemas, as_json=number % _JSON_EVERY == 3), event)
        for number, event in enumerate(events)
    ]
    inputs = [*good[:burst], replace(good[0], is_repeat=True), *good[burst:]]
    for quarter, bad in enumerate(_bad_inputs(good[0]), 1):
        inputs.insert(quarter * burst // 4 + quarter - 1, bad)
    return [replace(item, number=number) for number, item in enumerate(inputs)]


def _bad_inputs(first: Input) -> Iterator[Input]:
    """Three records under the key of the first event: no frame, an event cut short, and an unknown event."""
    key, value = first.record.key, first.record.value
    unknown = json.dumps({**(first.event or {}), "event": "LOAN_REPAYED"}).encode()
    yield Input(0, EventRecord(key, b"\xca\xfe: not ours", ()), reason="BAD_FRAME")
    yield Input(0, EventRecord(key, value[: len(value) // 2], ()), reason="INVALID_EVENT")
    yield Input(0, EventRecord(key, unknown, JSON_HEADERS), reason="UNKNOWN_EVENT")


def _encode(event: Mapping[str, Any], schemas: Schemas, *, as_json: bool) -> EventRecord:
    decoded = event_from_json(event, schemas)
    if isinstance(decoded, DecodeFailure):
        raise InternalError(f"a generated event is invalid: {decoded.detail}")
    value, headers = encode_event(decoded.fields, schemas, format=WireFormat.JSON if as_json else WireFormat.AVRO)
    return EventRecord(decoded.ordering_key.encode(), value, headers)


def expected_outputs(inputs: Sequence[Input], *, templates: Sequence[TemplateSummary], topics: TopicNames) -> Expected:
    """All outputs of `inputs`. A dead letter's id is its reason and the number of its input."""
    expected = Expected()
    for item in inputs:
        source = InputRef(item.number, item.record.key.decode())
        if item.event is None:
            expected.add(topics.dead_letters, dead_letter_id(item.reason, item.number), source)
        elif item.is_repeat:
            expected.add(topics.decisions, item.event["eventId"], source)
        else:
            add_expected(expected, item.event, source, templates=templates, topics=topics)
    return expected


def dead_letter_id(reason: str, number: int) -> str:
    """What `Expected` calls the dead letter of an input."""
    return f"{reason} {number}"
