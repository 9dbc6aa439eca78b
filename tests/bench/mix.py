"""The mix: what an installation meets beside the simple load. Ten families of events, forty templates, reference rows.

Of one event in twenty nothing is due, so a decision says why none of its templates makes a message; one form is cut
short, so about one event in a thousand is rejected. All others have one to six messages. A third of the names and of
the e-mails' subjects are not ASCII.
"""

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Producer

from processor.domain.outcome import MappingPath, Processed
from processor.domain.record import EventName
from processor.domain.reference import Table
from processor.domain.template import TemplateSet
from processor.mapping.context import MappingContext
from processor.mapping.event_plans import EventPlans
from processor.mapping.reference import Reference
from processor.native import NATIVE
from processor.shipped import sample
from processor.templates.load import read_templates, require_usable
from processor.wire.encode import OutputEncoder
from processor.wire.reader_schemas import Schemas
from processor.wire.wire_format import WireFormat
from tests.bench.load import AMOUNTS, METHODS, OTHER_NAMES, PLAIN_NAMES, Load, encode_form, event_id
from tests.bench.template_files import CATEGORIES, MIX, write_mix
from tests.support.builders import EVENTS_TOPIC, TENANT, changed, make_context, map_record
from tests.support.clients import logged
from tests.support.installation import Installation

MAX_FORMS: Final = 1_000
DUE: Final[Mapping[EventName, str]] = {  # event -> what is 0 when nothing is due
    EventName("LOAN_REPAYMENT"): "transaction.amount",
    EventName("SAVINGS_DEPOSIT"): "transaction.amount",
    EventName("ACCOUNT_IN_ARREARS"): "account.loan.totalDue",
}
SKIPPED_EACH: Final = 6  # one in so many of these three families: 5 % of ten
CUT_BYTES: Final = 3


def form_count(partitions: int) -> int:
    """How many forms the mix has: about a thousand, and in each partition as many of each family."""
    return MAX_FORMS - MAX_FORMS % (partitions * len(MIX))


def mix_load(schemas: Schemas, *, partitions: int, begin_ms: int) -> Load:
    """The events of the mix. Takes a second."""
    forms = [encode_form(fields, schemas) for fields in mix_events(partitions)]
    last = forms[-1]
    forms[-1] = replace(last, tail=last.tail[:-CUT_BYTES])
    return Load(forms, partitions=partitions, begin_ms=begin_ms)


def mix_events(partitions: int) -> Iterator[dict[str, Any]]:
    """The events of the forms, as JSON has them; each is drawn from its number."""
    for number in range(form_count(partitions)):
        row, partition = divmod(number, partitions)
        # How many of its family come before it, shifted so that what is rare is in each partition.
        turn = row // len(MIX) + partition
        yield _fields(MIX[row % len(MIX)].name, number, turn)


def _fields(event: EventName, number: int, turn: int) -> dict[str, Any]:
    rng = random.Random(number)
    name = rng.choice(OTHER_NAMES if turn % 3 == 1 else PLAIN_NAMES)
    fields = sample(event)
    if event == "SAVINGS_DEPOSIT":  # the sample is a group's
        fields = {**changed(fields, {"group": None}), "client": sample(EventName("LOAN_REPAYMENT"))["client"]}
    changes: dict[str, Any] = {
        "eventId": event_id(number),
        "occurredAt": f"2026-11-{rng.randint(1, 29):02}T{rng.randint(0, 23):02}:26:53.{rng.randrange(10**6):06}Z",
    }
    if "account" in fields:
        changes |= {"account.encodedKey": _key("account", number), "account.id": f"AC-{number:06}"}
    if "client" in fields:
        first, _, last = name.partition(" ")
        changes |= {
            "client.encodedKey": _key("client", number),
            "client.fullName": name,
            "client.firstName": first,
            "client.lastName": last,
            "client.emailAddress": f"client{number}@example.com",
            "client.mobilePhone": f"+3519100{number:05}",
        }
    if "group" in fields:
        changes |= {"group.encodedKey": _key("group", number), "group.name": name}
    if event == "CLIENT_ACTIVITY":  # it is about the client
        changes["subject.encodedKey"] = changes["client.encodedKey"]
    for part in ("creditArrangement", "journalEntry"):
        if part in fields:
            changes[f"{part}.encodedKey"] = _key(part, number)
    if "transaction" in fields:
        changes |= {"transaction.amount": rng.choice(AMOUNTS), "transaction.method": rng.choice(METHODS)}
    if event in DUE and turn % SKIPPED_EACH == 0:
        changes[DUE[event]] = "0"
    return changed(fields, changes)


def _key(kind: str, number: int) -> str:
    """The encoded key of what belongs to a form."""
    return f"8a8e867d5b1a{sum(kind.encode()) % 65536:04x}{number:016x}"


def mix_templates(folder: Path, schemas: Schemas) -> TemplateSet:
    """Write the forty templates to an empty folder, and read them."""
    write_mix(folder)
    return require_usable(read_templates(folder, tenant=TENANT, schemas=schemas))


# ---------------------------------------------------------------------------------------------------------------------
# Rows of the reference tables


def mix_rows(partitions: int) -> Iterator[tuple[Table, str, bytes]]:
    """A contact for each client and group, the categories of the templates, and the tenant's account."""
    for number, event in enumerate(mix_events(partitions)):
        for holder in ("client", "group"):
            if holder in event:
                name = event[holder].get("fullName") or event[holder]["name"]
                row = {
                    "id": f"CTT-0001-{number // 10_000:04}-{number % 10_000:04}",
                    "name": name,
                    "user": {"id": f"USR-{number // 10_000:04}-{number % 10_000:04}", "name": name},
                    "status": "Active",
                }
                yield Table.CONTACTS, event[holder]["encodedKey"], json.dumps(row).encode()
    for category in CATEGORIES:
        yield Table.CATEGORIES, category, json.dumps({"id": category, "name": f"About {category}"}).encode()
    yield Table.ACCOUNTS, TENANT, json.dumps({"id": "ACC-0000-0001", "name": "Northbank"}).encode()


def produce_rows(installation: Installation) -> None:
    """Put the rows on an installation's topics. Blocks."""
    producer = Producer(logged({"bootstrap.servers": installation.servers, "linger.ms": 20}))
    for table, key, value in mix_rows(installation.partitions):
        producer.produce(installation.settings.topic(table), value, key, 0)
    assert producer.flush(30) == 0


# ---------------------------------------------------------------------------------------------------------------------
# Without a broker


def mix_context(templates: TemplateSet, schemas: Schemas, *, partitions: int) -> MappingContext:
    """What an installation maps the mix with, by the reference."""
    rows = {(table, key): value for table, key, value in mix_rows(partitions)}
    return make_context(
        templates=templates,
        encode=OutputEncoder(schemas, stream_format=WireFormat.AVRO),
        reference=Reference(rows=lambda table, key: rows.get((table, key))),
    )


def planned_ratio(load: Load, context: MappingContext, count: int) -> float:
    """Of the first `count` events, the share that plans map: 0 to 1. Without those that a process maps before its plans
    are made."""
    records = [load.source_record(number, EVENTS_TOPIC) for number in range(count)]
    planned = replace(context, plans=EventPlans(native=NATIVE))
    outcomes = [map_record(record, planned, schema_of=context.schemas.local_schema) for record in records]
    paths = [outcome.path for outcome in outcomes if isinstance(outcome, Processed)]
    return sum(path is not MappingPath.REFERENCE for path in paths) / count
