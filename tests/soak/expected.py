"""What must come out, told from the list of what went in: written from the rules of the domain, never from `map`.

The rules here know the templates of `tests/chaos/templates` and nothing else. Keys are computed with a digest of their
own (BLAKE2b-128 of the parts joined by U+001F, RFC 7693).
"""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

TENANT = "northbank"
STREAM_PATTERN = "mrn.event.{tenant}.streamingapi.{event}"
STRICT_FIELD = "LOAN:Chaos"  # `chaos-loan-strict` fails for the events without it

NOTED = "chaos-deposit-email"  # its body ends with the transaction's comment

CATEGORY = "NTC-1000-0001"  # of `chaos-loan-email`
ROWS_UP_TO = 100  # accounts under it have rows in the reference tables, by the last digit of their number

Headers = tuple[tuple[str, bytes], ...]
JSON_HEADERS: Headers = (("content-type", b"application/json"),)
RecordPosition = tuple[int, int]  #: partition and offset of the events topic


@dataclass(frozen=True, slots=True)
class Template:
    """What the rules know of one file of `tests/chaos/templates`."""

    id: str
    version: int
    name: str
    event: str
    channel: str
    strict: bool = False


TEMPLATES: tuple[Template, ...] = (
    Template("chaos-deposit-email", 1, "Chaos deposit email", "SAVINGS_DEPOSIT", "EMAIL"),
    Template("chaos-deposit-stream", 1, "Chaos deposit stream", "SAVINGS_DEPOSIT", "EVENT_STREAM"),
    Template("chaos-loan-email", 3, "Chaos loan email", "LOAN_REPAYMENT", "EMAIL"),
    Template("chaos-loan-sms", 1, "Chaos loan sms", "LOAN_REPAYMENT", "SMS"),
    Template("chaos-loan-stream", 1, "Chaos loan stream", "LOAN_REPAYMENT", "EVENT_STREAM"),
    Template("chaos-loan-strict", 2, "Chaos loan strict", "LOAN_REPAYMENT", "EMAIL", strict=True),
)


# What the reference tables tell, and what comes of that.


def key_of(*parts: object) -> str:
    """32 hex digits that stand for an entity."""
    return uuid.uuid5(uuid.NAMESPACE_OID, "/".join(map(str, parts))).hex


def contact_of(account: int) -> dict[str, Any] | None:
    """The row of the client of an account: 2 is there, 3 is blocked, 4 has left the category of loans."""
    if account >= ROWS_UP_TO or account % 10 not in (2, 3, 4):
        return None
    return {
        "id": f"CTT-1000-{account:04}",
        "name": f"Client {account}",
        "status": "Blocked" if account % 10 == 3 else "Active",
        "optOuts": [CATEGORY] if account % 10 == 4 else [],
    }


def unsubscribed(account: int, template: str) -> bool:
    """6 has opted out of the text message."""
    return account < ROWS_UP_TO and account % 10 == 6 and template == "chaos-loan-sms"


def table_rows() -> list[tuple[str, str, dict[str, Any]]]:
    """All rows: topic without prefix, key, value."""
    rows: list[tuple[str, str, dict[str, Any]]] = [
        ("reference.accounts", TENANT, {"id": "ACC-1000-0001", "name": "Northbank"}),
        ("reference.categories", CATEGORY, {"id": CATEGORY, "name": "Loans"}),
    ]
    for account in range(ROWS_UP_TO):
        if contact := contact_of(account):
            rows.append(("reference.contacts", key_of("client", account), contact))
        if unsubscribed(account, "chaos-loan-sms"):
            row = {"subscribed": False, "at": "2026-03-14T09:26:53Z"}
            rows.append(("reference.subscriptions", f"{key_of('client', account)}:chaos-loan-sms", row))
    return rows


# What a record of the input is meant to become.


@dataclass(frozen=True, slots=True)
class Good:
    """An event told for the first time, in JSON form. `too_large`: templates whose output does not fit its topic."""

    event: Mapping[str, Any]
    too_large: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Repeat:
    """An event of a `Good` or `Refused` before it in its partition, at `first`, sent again within the window."""

    event: Mapping[str, Any]
    first: RecordPosition


@dataclass(frozen=True, slots=True)
class Dead:
    """A record that becomes a dead letter for itself. `value_kept`: it fits the dead letters' topic."""

    reason: str
    value_kept: bool = True


@dataclass(frozen=True, slots=True)
class Refused:
    """An event sent for the first time, whose outputs the broker refuses: a dead letter; repeats of it are dropped."""

    event: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SkippedTemplate:
    """A record that becomes a decision for itself."""

    reason: str
    event_id: str | None = None


Fate = Good | Repeat | Dead | Refused | SkippedTemplate


@dataclass(frozen=True, slots=True)
class Record:
    """A record to be put on the input."""

    key: bytes | None
    value: bytes | None
    fate: Fate
    headers: Headers = JSON_HEADERS


@dataclass(frozen=True, slots=True)
class Sent:
    """A record that is on the input, committed, at its place."""

    record: Record
    partition: int
    offset: int
    timestamp_ms: int

    @property
    def place(self) -> RecordPosition:
        """Partition and offset."""
        return (self.partition, self.offset)


def ordering_key(event: Mapping[str, Any]) -> str:
    """What the producer keys the record by (events.csv): the account, for CLIENT_CREATED the client."""
    holder = event["client"] if event["event"] == "CLIENT_CREATED" else event["account"]
    return str(holder["encodedKey"])


def good(event: Mapping[str, Any]) -> Record:
    """The record of an event, as a producer of JSON writes it."""
    return Record(ordering_key(event).encode(), json.dumps(event).encode(), Good(event))


def digest(*parts: str) -> str:
    """32 hex digits: BLAKE2b-128 of `parts` joined by U+001F."""
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()


def eid_of(encoded_key: str) -> str:
    """A stream event's id: the key's 128 bits with the version-8 and variant bits of RFC 9562 set."""
    octets = bytearray.fromhex(encoded_key)
    octets[6] = 0x80 | octets[6] & 0x0F
    octets[8] = 0x80 | octets[8] & 0x3F
    return str(uuid.UUID(bytes=bytes(octets)))


@dataclass(frozen=True, slots=True)
class CreatedMessage:
    """One message that must be born, once, from the record at `place`; or its Message, once, that is Discarded.

    `contact` is the id of the row that its Message shows, None where there is no row.
    """

    encoded_key: str
    template: Template
    place: RecordPosition
    timestamp_ms: int
    state: str
    account: str  #: account's key: the order that consumers rely on
    number: str  #: transaction.id, which grows per account, and which each body shows
    account_id: str
    ordering_key: str
    contact: str | None = None


@dataclass(slots=True)
class Expected:
    """All outputs of an input, by topic. Dead letters and decisions by the place of their source."""

    created: dict[str, CreatedMessage] = field(default_factory=dict)  # by encodedKey
    discarded: dict[str, CreatedMessage] = field(default_factory=dict)  # the same, of those who must not be written to
    dead: dict[RecordPosition, tuple[Sent, str, frozenset[tuple[str, str]]]] = field(
        default_factory=dict
    )  # reason, failed
    decisions: dict[RecordPosition, tuple[str | None, frozenset[tuple[str | None, str]]]] = field(default_factory=dict)
    firsts: dict[RecordPosition, RecordPosition] = field(
        default_factory=dict
    )  # of repeats: where the event was sent first

    @property
    def streams(self) -> dict[str, CreatedMessage]:
        """The births whose stream event is on a stream's topic, by eid."""
        return {
            eid_of(birth.encoded_key): birth
            for birth in self.created.values()
            if birth.template.channel == "EVENT_STREAM"
        }


def expected(sent: Sequence[Sent], *, templates: Sequence[Template] = TEMPLATES, tenant: str = TENANT) -> Expected:
    """What `sent` must become with `templates` active."""
    out = Expected()
    for one in sent:
        match one.record.fate:
            case Dead(reason):
                out.dead[one.place] = (one, reason, frozenset())
            case Refused():
                out.dead[one.place] = (one, "OUTPUT_REFUSED", frozenset())
            case SkippedTemplate(reason, event_id):
                out.decisions[one.place] = (event_id, frozenset({(None, reason)}))
            case Repeat(event, first):
                out.firsts[one.place] = first
                out.decisions[one.place] = (event["eventId"], frozenset({(None, "DUPLICATE_EVENT")}))
            case Good(event, too_large):
                _expect_event(out, one, event, too_large, templates=templates, tenant=tenant)
    return out


def _expect_event(
    out: Expected,
    sent: Sent,
    event: Mapping[str, Any],
    too_large: frozenset[str],
    *,
    templates: Sequence[Template],
    tenant: str,
) -> None:
    matching = [template for template in templates if template.event == event["event"]]
    client = event.get("client")
    skipped: set[tuple[str | None, str]] = set() if matching else {(None, "NO_TEMPLATE")}
    failed: set[tuple[str, str]] = set()
    for template in matching:
        recipient, state, unwanted, contact = "", "SENT", None, None
        if template.channel != "EVENT_STREAM":
            if client is None:  # a group holds the account: no client to write to
                skipped.add((template.id, "NO_RECIPIENT"))
                continue
            number = int(client["id"].removeprefix("C-"))
            if unsubscribed(number, template.id):
                skipped.add((template.id, "NOT_SUBSCRIBED"))
                continue
            contact = contact_of(number)
            if contact is not None and contact["status"] == "Blocked":
                unwanted = "CONTACT_BLOCKED"
            elif contact is not None and contact["optOuts"] and template.id == "chaos-loan-email":
                unwanted = "CATEGORY_OPTED_OUT"
            if template.strict and STRICT_FIELD not in event.get("customFields", {}):
                failed.add((template.id, "MISSING_VALUE"))
                continue
            if template.id in too_large:
                failed.add((template.id, "MAX_MESSAGE_SIZE_LIMIT_EXCEEDED"))
                continue
            recipient = client["encodedKey"]
            address = client.get("emailAddress" if template.channel == "EMAIL" else "mobilePhone")
            state = "QUEUED" if address else "FAILED"
        key = digest(tenant, event["eventId"], template.id, recipient)
        if unwanted is not None:
            skipped.add((template.id, unwanted))
        made = out.created if unwanted is None else out.discarded
        made[key] = CreatedMessage(
            encoded_key=key,
            template=template,
            place=sent.place,
            timestamp_ms=sent.timestamp_ms,
            state=state,
            account=event["account"]["encodedKey"],
            number=event["transaction"]["id"],
            account_id=event["account"]["id"],
            ordering_key=ordering_key(event),
            contact=None if contact is None else contact["id"],
        )
    if skipped:
        out.decisions[sent.place] = (event["eventId"], frozenset(skipped))
    if failed:
        out.dead[sent.place] = (sent, "TEMPLATE_FAILED", frozenset(failed))
