"""The oracle: the outputs that an input must have, from the rules of the domain, never from `processor.mapping`.

The rules cover the templates of `tests/soak/templates` and no others. Keys are computed with a digest of their own
(BLAKE2b-128 of the parts joined by U+001F, RFC 7693).
"""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

TENANT = "northbank"
STREAM_PATTERN = "mrn.event.{tenant}.streamingapi.{event}"
STRICT_FIELD = "LOAN:Soak"  # `soak-loan-strict` fails for the events without it

COMMENT_TEMPLATE = "soak-deposit-email"  # its body ends with the transaction's comment

CATEGORY = "NTC-1000-0001"  # of `soak-loan-email`
ROWS_UP_TO = 100  # accounts under it have rows in the reference tables, by the last digit of their number

Headers = tuple[tuple[str, bytes], ...]
JSON_HEADERS: Headers = (("content-type", b"application/json"),)
Position = tuple[int, int]  #: partition and offset of the events topic


@dataclass(frozen=True, slots=True)
class Template:
    """What the rules know of one file of `tests/soak/templates`."""

    id: str
    version: int
    name: str
    event: str
    channel: str
    strict: bool = False


TEMPLATES: tuple[Template, ...] = (
    Template("soak-deposit-email", 1, "Soak deposit email", "SAVINGS_DEPOSIT", "EMAIL"),
    Template("soak-deposit-stream", 1, "Soak deposit stream", "SAVINGS_DEPOSIT", "EVENT_STREAM"),
    Template("soak-loan-email", 3, "Soak loan email", "LOAN_REPAYMENT", "EMAIL"),
    Template("soak-loan-sms", 1, "Soak loan sms", "LOAN_REPAYMENT", "SMS"),
    Template("soak-loan-stream", 1, "Soak loan stream", "LOAN_REPAYMENT", "EVENT_STREAM"),
    Template("soak-loan-strict", 2, "Soak loan strict", "LOAN_REPAYMENT", "EMAIL", strict=True),
)


# The rows of the reference tables, and what follows from them.


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
    return account < ROWS_UP_TO and account % 10 == 6 and template == "soak-loan-sms"


def table_rows() -> list[tuple[str, str, dict[str, Any]]]:
    """All rows: topic without prefix, key, value."""
    rows: list[tuple[str, str, dict[str, Any]]] = [
        ("reference.accounts", TENANT, {"id": "ACC-1000-0001", "name": "Northbank"}),
        ("reference.categories", CATEGORY, {"id": CATEGORY, "name": "Loans"}),
    ]
    for account in range(ROWS_UP_TO):
        if contact := contact_of(account):
            rows.append(("reference.contacts", key_of("client", account), contact))
        if unsubscribed(account, "soak-loan-sms"):
            row = {"subscribed": False, "at": "2026-03-14T09:26:53Z"}
            rows.append(("reference.subscriptions", f"{key_of('client', account)}:soak-loan-sms", row))
    return rows


# Records of the input, and what each must become.


@dataclass(frozen=True, slots=True)
class Valid:
    """An event sent for the first time, in JSON form. `too_large`: templates whose output does not fit its topic."""

    event: Mapping[str, Any]
    too_large: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Duplicate:
    """An event again, within the deduplication window; `first`: its `Valid` or `OutputRefused` record."""

    event: Mapping[str, Any]
    first: Position


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """A record that becomes a dead letter as a whole. `value_kept`: it fits the dead letters' topic."""

    reason: str
    value_kept: bool = True


@dataclass(frozen=True, slots=True)
class OutputRefused:
    """An event sent for the first time, whose outputs the broker refuses: a dead letter. It has duplicates."""

    event: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record that becomes one decision, for all templates."""

    reason: str
    event_id: str | None = None


Expectation = Valid | Duplicate | DeadLettered | OutputRefused | Skipped


@dataclass(frozen=True, slots=True)
class Record:
    """A record for the input, and what it must become."""

    key: bytes | None
    value: bytes | None
    expectation: Expectation
    headers: Headers = JSON_HEADERS


@dataclass(frozen=True, slots=True)
class Sent:
    """A record that is on the input, committed, at its position."""

    record: Record
    partition: int
    offset: int
    timestamp_ms: int

    @property
    def position(self) -> Position:
        """Partition and offset."""
        return (self.partition, self.offset)


def ordering_key(event: Mapping[str, Any]) -> str:
    """What the producer keys the record by (events.csv): the account, for CLIENT_CREATED the client."""
    holder = event["client"] if event["event"] == "CLIENT_CREATED" else event["account"]
    return str(holder["encodedKey"])


def valid_record(event: Mapping[str, Any]) -> Record:
    """The record of an event, as a producer of JSON writes it."""
    return Record(ordering_key(event).encode(), json.dumps(event).encode(), Valid(event))


def encoded_key_of(*parts: str) -> str:
    """32 hex digits: BLAKE2b-128 of `parts` joined by U+001F."""
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()


def eid_of(encoded_key: str) -> str:
    """A stream event's id: the key's 128 bits with the version-8 and variant bits of RFC 9562 set."""
    octets = bytearray.fromhex(encoded_key)
    octets[6] = 0x80 | octets[6] & 0x0F
    octets[8] = 0x80 | octets[8] & 0x3F
    return str(uuid.UUID(bytes=bytes(octets)))


@dataclass(frozen=True, slots=True)
class ExpectedMessage:
    """One message that must be created, once, from the record at `position`; or its notification, once, if Discarded.

    `contact` is the id of the row that its notification shows, None where there is no row.
    """

    encoded_key: str
    template: Template
    position: Position
    timestamp_ms: int
    state: str
    account: str  #: account's key: the order that consumers rely on
    number: str  #: transaction.id, which grows per account, and which each body shows
    account_id: str
    ordering_key: str
    contact: str | None = None


@dataclass(frozen=True, slots=True)
class ExpectedDeadLetter:
    """`failed`: template and reason, where templates failed. `value_kept`: the source fits the dead letters' topic."""

    sent: Sent
    reason: str
    failed: frozenset[tuple[str, str]] = frozenset()
    value_kept: bool = True


ExpectedDecision = tuple[str | None, frozenset[tuple[str | None, str]]]
"""Event id, where the record has one, and (template, or None for all of them, and reason)."""


@dataclass(slots=True)
class ExpectedOutputs:
    """All outputs of an input, by topic; dead letters and decisions by the position of their source."""

    messages: dict[str, ExpectedMessage] = field(default_factory=dict)  #: By encodedKey.
    discarded: dict[str, ExpectedMessage] = field(default_factory=dict)  #: The same, of suppressed messages.
    dead_letters: dict[Position, ExpectedDeadLetter] = field(default_factory=dict)
    decisions: dict[Position, ExpectedDecision] = field(default_factory=dict)
    first_positions: dict[Position, Position] = field(default_factory=dict)  #: Of a duplicate's first record.

    @property
    def streams(self) -> dict[str, ExpectedMessage]:
        """The messages whose stream event is on a stream's topic, by eid."""
        return {
            eid_of(message.encoded_key): message
            for message in self.messages.values()
            if message.template.channel == "EVENT_STREAM"
        }


def expected_outputs(sent: Sequence[Sent], *, templates: Sequence[Template] = TEMPLATES) -> ExpectedOutputs:
    """What `sent` must become with `templates` active."""
    outputs = ExpectedOutputs()
    for record in sent:
        match record.record.expectation:
            case DeadLettered(reason, value_kept):
                outputs.dead_letters[record.position] = ExpectedDeadLetter(record, reason, value_kept=value_kept)
            case OutputRefused():
                outputs.dead_letters[record.position] = ExpectedDeadLetter(record, "OUTPUT_REFUSED")
            case Skipped(reason, event_id):
                outputs.decisions[record.position] = (event_id, frozenset({(None, reason)}))
            case Duplicate(event, first):
                outputs.first_positions[record.position] = first
                outputs.decisions[record.position] = (event["eventId"], frozenset({(None, "DUPLICATE_EVENT")}))
            case Valid() as valid:
                _add_event(outputs, record, valid, templates)
    return outputs


def _add_event(outputs: ExpectedOutputs, sent: Sent, valid: Valid, templates: Sequence[Template]) -> None:
    event = valid.event
    matching = [template for template in templates if template.event == event["event"]]
    skipped: set[tuple[str | None, str]] = set() if matching else {(None, "NO_TEMPLATE")}
    failed: set[tuple[str, str]] = set()
    for template in matching:
        result = _apply_template(template, valid)
        match result:
            case _Skip(reason):
                skipped.add((template.id, reason))
            case _Failure(reason):
                failed.add((template.id, reason))
            case _Delivery():
                message = _message(template, sent, event, result)
                if result.suppressed:
                    skipped.add((template.id, result.suppressed))
                target = outputs.discarded if result.suppressed else outputs.messages
                target[message.encoded_key] = message
    if skipped:
        outputs.decisions[sent.position] = (event["eventId"], frozenset(skipped))
    if failed:
        outputs.dead_letters[sent.position] = ExpectedDeadLetter(sent, "TEMPLATE_FAILED", frozenset(failed))


@dataclass(frozen=True, slots=True)
class _Skip:
    reason: str


@dataclass(frozen=True, slots=True)
class _Failure:
    reason: str


@dataclass(frozen=True, slots=True)
class _Delivery:
    """To whom a template's message goes, and its first state. `suppressed`: the reason of a Discarded notification."""

    recipient: str = ""
    state: str = "SENT"
    suppressed: str = ""
    contact: str | None = None


def _apply_template(template: Template, valid: Valid) -> _Skip | _Failure | _Delivery:
    """By the rules of the domain, in their order."""
    if template.channel == "EVENT_STREAM":
        return _Delivery()
    client = valid.event.get("client")
    if client is None:  # a group holds the account: no client to write to
        return _Skip("NO_RECIPIENT")
    number = int(client["id"].removeprefix("C-"))
    if unsubscribed(number, template.id):
        return _Skip("NOT_SUBSCRIBED")
    if template.strict and STRICT_FIELD not in valid.event.get("customFields", {}):
        return _Failure("MISSING_VALUE")
    if template.id in valid.too_large:
        return _Failure("MAX_MESSAGE_SIZE_LIMIT_EXCEEDED")
    address = client.get("emailAddress" if template.channel == "EMAIL" else "mobilePhone")
    state = "QUEUED" if address else "FAILED"
    contact = contact_of(number)
    if contact is None:
        return _Delivery(client["encodedKey"], state)
    suppressed = ""
    if contact["status"] == "Blocked":
        suppressed = "CONTACT_BLOCKED"
    elif contact["optOuts"] and template.id == "soak-loan-email":
        suppressed = "CATEGORY_OPTED_OUT"
    return _Delivery(client["encodedKey"], state, suppressed, contact["id"])


def _message(template: Template, sent: Sent, event: Mapping[str, Any], delivery: _Delivery) -> ExpectedMessage:
    return ExpectedMessage(
        encoded_key=encoded_key_of(TENANT, event["eventId"], template.id, delivery.recipient),
        template=template,
        position=sent.position,
        timestamp_ms=sent.timestamp_ms,
        state=delivery.state,
        account=event["account"]["encodedKey"],
        number=event["transaction"]["id"],
        account_id=event["account"]["id"],
        ordering_key=ordering_key(event),
        contact=delivery.contact,
    )
