"""Valid events and records to start from: all events, in JSON, in Avro by today's schemas and by other writers'."""

import json
import random
from dataclasses import dataclass
from typing import Any, Final

from processor.demo.generate import events
from processor.domain.catalogue import FAMILIES, ordering_key
from processor.domain.event import Event
from processor.domain.record import EventName, Headers, SchemaGuid, SchemaId
from processor.shipped import samples
from processor.templates.load import SHIPPED
from processor.wire.decode import event_from_json
from processor.wire.reader_schemas import ReaderSchema, Schemas
from processor.wire.schema import WriterSchema
from processor.wire.schema_parser import parse_writer_schema
from tests.fuzz.avro import avro_bytes, odd_writers, other_writers

Json = dict[str, Any]

JSON_HEADERS: Final[Headers] = (("content-type", b"application/json"),)
WRITERS_PER_FAMILY: Final = 6
ODD_WRITERS_PER_FAMILY: Final = 4
ODD_SHARE: Final = 0.2  # of the events; most records by such a schema are dead letters
GENERATED: Final = 120

FIRST_WRITER_ID: Final = 1_000
FIRST_UNUSABLE_ID: Final = 900  # of schemas by which no event can be read
UNKNOWN_ID, UNAVAILABLE_ID, DEFERRED_ID, REFUSED_ID = SchemaId(1), SchemaId(2), SchemaId(3), SchemaId(4)

_UNUSABLE_SCHEMAS: Final = (
    '"string"',
    "{",
    "[]",
    '{"type": "record", "name": "Other", "fields": []}',
    '{"type": "record", "name": "banking.events.ClientEvent", "fields": []}',
    '{"type": "record", "name": "banking.events.ClientEvent", "fields": [{"name": "eventId", "type": "int"}]}',
    '{"type": "record", "name": "banking.events.GroupEvent", "fields": [{"name": "x", "type": "Nowhere"}]}',
)


@dataclass(frozen=True, slots=True)
class ValidRecord:
    """A record of a valid event. `key` is the event's ordering key."""

    value: bytes
    headers: Headers
    key: bytes


@dataclass(frozen=True, slots=True)
class Corpus:
    """What mutated and extreme records start from. `writers`: family's record -> schemas of other producers."""

    schemas: Schemas
    events: tuple[Json, ...]  #: One of each event, and some more; in JSON form.
    records: tuple[ValidRecord, ...]
    writers: dict[str, tuple[WriterSchema, ...]]
    by_id: dict[SchemaId | SchemaGuid, WriterSchema]  #: Those, and unusable ones.

    def frame_of(self, schema: ReaderSchema | WriterSchema) -> bytes:
        """The five bytes before a value."""
        if isinstance(schema, ReaderSchema):
            return schema.frame
        number = next(number for number, writer in self.by_id.items() if writer is schema and isinstance(number, int))
        return b"\x00" + number.to_bytes(4, "big")

    def key_of(self, event: Json) -> str:
        """The ordering key of an event in JSON form."""
        return ordering_key(EventName(event["event"]), event)


def valid_events() -> tuple[Json, ...]:
    """One of each event, and some more; in JSON form."""
    shipped = [json.loads(path.read_text()) for path in sorted((SHIPPED / "samples").glob("*.json"))]
    return (*samples(), *shipped)


def make_corpus(schemas: Schemas, *, seed: int) -> Corpus:
    """The same arguments give the same corpus."""
    rng = random.Random(f"corpus/{seed}")
    all_samples = valid_events()
    writers: dict[str, tuple[WriterSchema, ...]] = {}
    by_id: dict[SchemaId | SchemaGuid, WriterSchema] = {}
    for family in FAMILIES.values():
        family_writers = other_writers(schemas.families[family.record], rng, count=WRITERS_PER_FAMILY)
        writers[family.record] = tuple(family_writers)
        for writer in family_writers:
            assert writer.type is not None, writer.error
            number = FIRST_WRITER_ID + len(by_id)
            by_id[SchemaId(number)] = writer
    odd = {name: odd_writers(schemas.families[name], rng, count=ODD_WRITERS_PER_FAMILY) for name in writers}
    for writer in (writer for each in odd.values() for writer in each):
        by_id[SchemaId(FIRST_WRITER_ID + len(by_id))] = writer
    for number, writer in enumerate([*by_id.values()], FIRST_WRITER_ID):
        by_id[SchemaGuid(number.to_bytes(16, "big"))] = writer
    for number, text in enumerate(_UNUSABLE_SCHEMAS, FIRST_UNUSABLE_ID):
        by_id[SchemaId(number)] = parse_writer_schema(text)
    corpus = Corpus(schemas, all_samples, (), writers, by_id)
    records: list[ValidRecord] = []
    for event in (*all_samples, *events(GENERATED, seed=seed)):
        read = event_from_json(event, schemas)
        assert isinstance(read, Event), read
        key = read.ordering_key.encode()
        own = schemas.by_event[read.name]
        other = rng.choice(writers[own.name])
        assert other.type is not None
        records += (
            ValidRecord(json.dumps(event, ensure_ascii=rng.random() < 0.5).encode(), JSON_HEADERS, key),
            ValidRecord(own.frame + avro_bytes(own.type, read.fields), (), key),
            ValidRecord(corpus.frame_of(other) + avro_bytes(other.type, read.fields, rng), (), key),
        )
        if rng.random() < ODD_SHARE:
            writer = rng.choice(odd[own.name])
            assert writer.type is not None
            records.append(ValidRecord(corpus.frame_of(writer) + avro_bytes(writer.type, read.fields, rng), (), key))
    return Corpus(schemas, all_samples, tuple(records), writers, corpus.by_id)
