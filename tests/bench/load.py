"""The typed load of the bench: events, the one template, and what has to become of each event.

A thousand forms of LOAN_REPAYMENT are encoded once; the event at an offset is one of them with an id of its own. So a
contender may rely on this: every event is a client's (never a group's) repayment on a loan in EUR, and the condition
of the template is true for it. A third of the names are not ASCII; some texts have quotes, backslashes and control
characters; some amounts have no or more than two decimals; balance, method and correlation id may be missing.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from statistics import mean
from typing import Any, Final

from confluent_kafka import Producer

from processor.domain.event import Event
from processor.domain.record import EventName, RecordPosition, SourceRecord, Topic
from processor.domain.template import TemplateSet
from processor.shipped import sample
from processor.templates.load import read_templates, require_usable
from processor.wire.decode import event_from_json
from processor.wire.encode import encode_event
from processor.wire.reader_schemas import Schemas
from processor.wire.wire_format import WireFormat
from tests.support.builders import TENANT, changed
from tests.support.clients import logged

TEMPLATES: Final = Path(__file__).parent / "templates"
EVENT: Final = EventName("LOAN_REPAYMENT")
FORMS: Final = 1_000

PLAIN_NAMES: Final = ("Ines Duarte", "John O'Neill", "Ada Byron", "Mary Ann Smith", "Luca Rossi", "Tom Baker")
OTHER_NAMES: Final = ("José Magalhães", "Zoë Ångström", "Łukasz Żółć", "Νίκος Παπαδόπουλος", "山田 太郎", "Ana 🏦 Díaz")
METHODS: Final = (
    "Bank transfer",
    "Direct debit",
    'Counter "2"\nby hand',
    "C:\\terminals\\17",
    "Cartão de débito",
    "Till\t4\x01\x1f/\x7f\u2028<é&>",
    None,
)
AMOUNTS: Final = ("218.24", "5000", "0.5", "1204.125", "99.90", "0.01", "73250.4")
BALANCES: Final = ("4310.22", "0", "-12.5", "187654.3", "0.0000000001", None)


@dataclass(frozen=True, slots=True)
class Form:
    """An encoded event in two pieces: its id stands between them."""

    key: bytes
    head: bytes
    tail: bytes

    def with_id(self, event_id: str) -> bytes:
        """The value of the event with this id."""
        return b"".join((self.head, event_id.encode(), self.tail))


class Load:
    """The events of a topic with so many partitions, by their number: they go to the partitions in turn."""

    def __init__(self, forms: Sequence[Form], *, partitions: int, begin_ms: int) -> None:
        """The record of the first event has the timestamp `begin_ms`, each further one a millisecond more.

        The forms are a multiple of the partitions, so that the events of an account, which is a form's own, are in one
        of them.
        """
        assert len(forms) % partitions == 0, f"{len(forms)} forms for {partitions} partitions"
        self._forms = forms
        self._begin_ms = begin_ms
        self.partitions: Final = partitions

    def key_and_value(self, number: int) -> tuple[bytes, bytes]:
        """The record of an event."""
        form = self._forms[number % len(self._forms)]
        return form.key, form.with_id(event_id(number))

    def source_record(self, number: int, topic: Topic) -> SourceRecord:
        """The record of an event as it is read."""
        key, value = self.key_and_value(number)
        position = RecordPosition(topic, number % self.partitions, number // self.partitions)
        return SourceRecord(position, self._begin_ms + number, key, value, ())

    def value_bytes(self) -> int:
        """The length of an event, on average."""
        return round(mean(len(form.with_id(event_id(0))) for form in self._forms))

    def plant(self, servers: str, topic: Topic, *, count: int) -> None:
        """Produce the first `count` events to an empty topic, 100,000 a second or so. Blocks for it."""
        producer = event_producer(servers)
        for number in range(count):
            key, value = self.key_and_value(number)
            while True:
                try:
                    producer.produce(topic, value, key, number % self.partitions, timestamp=self._begin_ms + number)
                    break
                except BufferError:
                    producer.poll(0.1)
        assert producer.flush(120) == 0


def simple_load(schemas: Schemas, *, partitions: int, begin_ms: int) -> Load:
    """The load of one template. Takes a fraction of a second."""
    forms = [_form(number, schemas) for number in range(FORMS - FORMS % partitions)]
    return Load(forms, partitions=partitions, begin_ms=begin_ms)


def event_producer(servers: str, *, linger_ms: int = 20) -> Producer:
    """A producer that keeps the order of each partition."""
    return Producer(
        logged(
            {
                "bootstrap.servers": servers,
                "enable.idempotence": True,
                "linger.ms": linger_ms,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 200_000,
                "log_level": 3,  # its first request meets a broker that is still loading
            }
        )
    )


def event_id(number: int) -> str:
    """A UUID, of the length that all have."""
    digits = blake2b(b"%d" % number, digest_size=16).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"


def encode_form(fields: Mapping[str, Any], schemas: Schemas) -> Form:
    """The form of an event in JSON form, which has its id once."""
    event = event_from_json(fields, schemas)
    assert isinstance(event, Event), event
    value, _ = encode_event(event.fields, schemas, format=WireFormat.AVRO)
    head, tail = value.split(event.id.encode())
    return Form(event.ordering_key.encode(), head, tail)


def _form(number: int, schemas: Schemas) -> Form:
    return encode_form(_fields(number), schemas)


def _fields(number: int) -> dict[str, Any]:
    """A form's event in JSON, drawn from its number."""
    rng = random.Random(number)
    names = OTHER_NAMES if number % 3 == 0 else PLAIN_NAMES
    balance, method = rng.choice(BALANCES), rng.choice(METHODS)
    amount = rng.choice(AMOUNTS)
    due = sample(EVENT)["schedule"][0]
    schedule = [{**due, "encodedKey": f"{rng.getrandbits(128):032x}", "number": line} for line in range(4, 8)]
    return changed(
        sample(EVENT),
        {
            "eventId": event_id(number),
            "occurredAt": f"2026-11-{rng.randint(1, 29):02}T{rng.randint(0, 23):02}:26:53.{rng.randrange(10**6):06}Z",
            "correlationId": rng.choice((f"branch-17-{number:06}", None)),
            "account.encodedKey": f"8a8e867d5b1a4c0e{number:016x}",
            "account.id": f"LN-{number:06}",
            "account.totalBalance": balance,
            "transaction.encodedKey": f"{rng.getrandbits(128):032x}",
            "transaction.amount": amount,
            "transaction.creditAmount": amount,
            "transaction.date": f"2026-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}",
            "transaction.method": method,
            "transaction.comment": f"Standing order {rng.getrandbits(64):016x}, received by the branch in the morning",
            "client.encodedKey": f"8a8e867d5b1a4c0f{number:016x}",
            "client.fullName": rng.choice(names),
            "schedule": schedule,
        },
    )


def bench_templates(schemas: Schemas) -> TemplateSet:
    """The set of the one template."""
    return require_usable(read_templates(TEMPLATES, tenant=TENANT, schemas=schemas))
