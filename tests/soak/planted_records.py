"""Events and the outputs that `run` writes of them, made at the speed of their encoding. Pure.

They are those of the demonstration's events, with other ids, times and places: nothing is mapped again for them, and
each output is what mapping would have made.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final

from processor.demo.generate import events
from processor.domain.event import Event
from processor.domain.ids import encoded_key
from processor.domain.message import Decision, MessageStatus
from processor.domain.outcome import CreatedMessage, Processed
from processor.domain.record import OutRecord, RecordPosition, SourceRecord, Topic
from processor.mapping.context import MappingContext
from processor.wire.decode import event_from_json
from processor.wire.encode import encode_event
from processor.wire.output_fields import read_decision
from processor.wire.wire_format import WireFormat
from tests.support.builders import map_record

FORMS: Final = 1_000
"""Distinct events and what becomes of each."""

UNREADABLE_INTERVAL: Final = 1_000  # of so many events the last one cannot be decoded
EVENTS_PER_S: Final = 1_000  # in the events' own time


@dataclass(frozen=True, slots=True)
class Form:
    """An event in Avro, and what becomes of it: its statuses, each with its recipient's key, and its decision."""

    id: str
    key: bytes
    value: bytes
    statuses: tuple[tuple[MessageStatus, str], ...]
    decision: Decision | None


class PlantedRecords:
    """The records of partition 0 of a topic of events, by their offset. The same arguments give the same records."""

    def __init__(self, context: MappingContext, events_topic: Topic, *, begin_ms: int) -> None:
        """`begin_ms` is the time of the first event, in milliseconds since 1970. Takes a second or two."""
        self._context = context
        self._topic = events_topic
        self._begin_ms = begin_ms
        self._forms = tuple(_forms(context))

    def event(self, offset: int) -> SourceRecord:
        """The event there."""
        form = self._forms[offset % FORMS]
        value = form.value.replace(form.id.encode(), event_id(offset).encode())
        if _is_unreadable(offset):
            value = value[: len(value) // 2]
        at_ms = self._begin_ms + 1_000 * offset // EVENTS_PER_S
        return SourceRecord(RecordPosition(self._topic, 0, offset), at_ms, form.key, value, ())

    def outputs(self, source: SourceRecord) -> Iterator[OutRecord]:
        """What `run` writes of it on the topics of statuses, decisions and dead letters."""
        position, context, topics = source.position, self._context, self._context.output_topics
        if _is_unreadable(position.offset):
            yield from outputs_that_tell(source, context)
            return
        form, new_id = self._forms[position.offset % FORMS], event_id(position.offset)
        for status, recipient in form.statuses:
            key = encoded_key(context.tenant, new_id, status.templateId, recipient=recipient)
            planted = replace(status, encodedKey=key, eventId=new_id, source=position, at=source.timestamp_ms)
            value, headers = context.encode(planted)
            yield OutRecord(topics.status.name, 0, key.encode(), value, headers)
        if form.decision is not None:
            decision = replace(form.decision, eventId=new_id, source=position, at=source.timestamp_ms)
            value, headers = context.encode(decision)
            yield OutRecord(topics.decisions.name, 0, new_id.encode(), value, headers)


def outputs_that_tell(source: SourceRecord, context: MappingContext) -> list[OutRecord]:
    """What mapping makes of a record, of the kinds that say what became of it."""
    outcome, topics = map_record(source, context), context.output_topics
    telling = (topics.status.name, topics.decisions.name, topics.dead_letters.name)
    return [output for output in getattr(outcome, "outputs", ()) if output.topic in telling]


def event_id(offset: int) -> str:
    """Of the event there: a UUID, of the length that all have."""
    digits = blake2b(b"%d" % offset, digest_size=16).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"


def _is_unreadable(offset: int) -> bool:
    return offset % UNREADABLE_INTERVAL == UNREADABLE_INTERVAL - 1


def _recipient(event: Event, created: CreatedMessage) -> str:
    """The key of the recipient that the message's key is made of; empty for one that is for nobody by name."""
    message, status = created.message, created.status
    for recipient in ("", message.clientKey, message.groupKey, message.userKey):
        if recipient is None:
            continue
        if status.encodedKey == encoded_key(event.tenant, event.id, status.templateId, recipient=recipient):
            return recipient
    raise AssertionError(f"the key of {message} is of no recipient of it")


def _forms(context: MappingContext) -> Iterator[Form]:
    """What becomes of the demonstration's events, which are as varied as real ones."""
    for number, fields in enumerate(events(FORMS, seed=1, tenant=context.tenant, accounts=FORMS // 4)):
        event = event_from_json(fields, context.schemas)
        assert isinstance(event, Event), event
        value, _ = encode_event(event.fields, context.schemas, format=WireFormat.AVRO)
        key = event.ordering_key.encode()
        outcome = map_record(SourceRecord(RecordPosition(Topic("events"), 0, number), 0, key, value, ()), context)
        assert isinstance(outcome, Processed), outcome
        assert outcome.dead_letter is None, "a shipped template fails for an event of the demonstration"
        decision = outcome.decision
        yield Form(
            event.id,
            key,
            value,
            tuple((created.status, _recipient(event, created)) for created in outcome.created),
            None if decision is None else read_decision(decision.value or b"", (), schemas=context.schemas),
        )
