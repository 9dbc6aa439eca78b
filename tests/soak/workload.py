"""The workload: events, duplicates of them, and bad records among them; what was committed is read back.

Each record has a number in a header, so that the log shows which of them are there, and where: a transactional producer
that got no response does not know.
"""

import contextlib
import itertools
import json
import random
import threading
import time
import uuid
import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from tests.soak.expected import (
    COMMENT_TEMPLATE,
    STRICT_FIELD,
    TENANT,
    DeadLettered,
    Duplicate,
    Headers,
    OutputRefused,
    Position,
    Record,
    Sent,
    Skipped,
    Valid,
    key_of,
    ordering_key,
    valid_record,
)
from tests.soak.history import read
from tests.soak.registry import AVRO_EVENTS, GOOD_ID, ODD_KINDS, REFUSED_ID, framed_record, odd_id
from tests.support.installation import ROOT, Installation

NUMBER_HEADER = "soak-n"
METADATA_TIMEOUT_S = 10.0  # in which a producer that refreshes its metadata every second knows a new partition
UNKNOWN_SCHEMA_ID = 1_999_999_999  # the processor's begin at 2,000,000,000
BLANKS = b" " * 150_000_000  # over `receive.message.max.bytes` of librdkafka (100 MB) once it is decompressed
ACCOUNTS = 60
BAD_RATIO = 0.02
ODD_SCHEMA_INTERVAL, REFUSED_SCHEMA_INTERVAL = 800, 5_000
"""Of so many Avro records of the workload one is the first with a new odd schema id, and one has a refused one."""


def event_json(
    name: str = "LOAN_REPAYMENT",
    *,
    account: int = 0,
    number: int = 0,
    strict: bool = True,
    email: bool = True,
    group: bool = False,
) -> dict[str, Any]:
    """An event in JSON form, of account or client `account`; `number` is its transaction's id.

    `strict`: the custom field of the strict template is there. `email`: the client has an address. `group`: a group
    holds the account, so there is no client.
    """
    client = {"encodedKey": key_of("client", account), "id": f"C-{account}", "fullName": f"Client {account}"}
    if email:
        client |= {"emailAddress": f"c{account}@example.com", "mobilePhone": f"+3519{account:08}"}
    envelope: dict[str, Any] = {
        "eventId": str(uuid.UUID(key_of(name, account, number))),
        "event": name,
        "occurredAt": f"2026-03-14T09:{number // 60 % 60:02}:{number % 60:02}.589793Z",
        "tenant": TENANT,
    }
    if name == "CLIENT_CREATED":
        return {**envelope, "client": client}
    loan = name == "LOAN_REPAYMENT"
    holder: dict[str, Any] = {"client": client}
    if group:
        holder = {"group": {"encodedKey": key_of("group", account), "id": f"G-{account}", "name": f"Group {account}"}}
    return {
        **envelope,
        "account": {
            "encodedKey": key_of(name, "account", account),
            "id": f"{'LN' if loan else 'SV'}-{account}",
            "kind": "LOAN" if loan else "DEPOSIT",
            "name": "Home improvement" if loan else "Everyday savings",
            "currencyCode": "EUR",
        },
        "transaction": {
            "encodedKey": key_of("transaction", name, account, number),
            "id": f"{number:08}",
            "type": "REPAYMENT" if loan else "DEPOSIT",
            "amount": f"{number % 1000}.25",
            "date": "2026-03-14",
        },
        **holder,
        "customFields": {STRICT_FIELD: "yes"} if loan and strict else {},
    }


def valid_records(account: int, numbers: Iterable[int]) -> list[Record]:
    """The records of an account's repayments with these transaction numbers."""
    return [valid_record(event_json(account=account, number=number)) for number in numbers]


def with_comment(event: Mapping[str, Any], comment: str) -> dict[str, Any]:
    """The event with its transaction's comment, which `COMMENT_TEMPLATE` shows."""
    return {**event, "transaction": {**event["transaction"], "comment": comment}}


def bad_records(event: Mapping[str, Any]) -> dict[str, Record]:
    """One record of each kind of bad input that is small, by name, from a valid `event`."""
    valid = valid_record(event)
    value = valid.value or b""
    key = valid.key
    no_headers: Headers = ()
    return {
        "truncated": Record(key, value[: len(value) // 2], DeadLettered("INVALID_EVENT")),
        "left over": Record(key, value + b"}", DeadLettered("INVALID_EVENT")),
        "foreign bytes": Record(key, b"\xff\xd8\xff\xe0JFIF", DeadLettered("BAD_FRAME"), no_headers),
        "wrong magic": Record(key, b"\x01\x00\x00\x00\x01" + value, DeadLettered("BAD_FRAME"), no_headers),
        "under five bytes": Record(key, b"\x00\x00", DeadLettered("BAD_FRAME"), no_headers),
        "json without header": Record(key, value, DeadLettered("BAD_FRAME"), no_headers),
        "unknown schema id": Record(
            key, b"\x00" + UNKNOWN_SCHEMA_ID.to_bytes(4, "big") + value, DeadLettered("UNKNOWN_SCHEMA"), no_headers
        ),
        "unknown event": _json(key, {**event, "event": "LOAN_REPAYED"}, "UNKNOWN_EVENT"),
        "manual": _json(key, {**event, "event": "MANUAL"}, "UNKNOWN_EVENT"),
        "wrong type": _json(key, {**event, "occurredAt": ["today"]}, "INVALID_EVENT"),
        "no holder": _json(
            key, {name: value for name, value in event.items() if name not in ("client", "group")}, "INVALID_EVENT"
        ),
        "missing key": Record(None, value, DeadLettered("MISSING_KEY")),
        "tombstone": Record(key, None, Skipped("EMPTY_RECORD")),
        "zero bytes": Record(key, b"", Skipped("EMPTY_RECORD")),
        "foreign tenant": Record(
            key,
            json.dumps({**event, "tenant": "southbank"}).encode(),
            Skipped("TENANT_DISABLED", str(event["eventId"])),
        ),
    }


def large_records(*, account: int, number: int, value_kept: bool) -> dict[str, Record]:
    """Bad input that is large: an event of 2 MB, and a valid one of which one output is over its topic's limit.

    `value_kept`: the dead letters' topic accepts 2 MB.
    """
    huge = json.dumps(with_comment(event_json(account=account, number=number), "x" * 2_000_000)).encode()
    long = with_comment(event_json("SAVINGS_DEPOSIT", account=account, number=number), "long " * 200_000)
    key = ordering_key(long).encode()
    return {
        "2 MB": Record(key, huge, DeadLettered("EVENT_TOO_LARGE", value_kept)),
        "large output": with_large_comment(long),
    }


def expands_to_150_mb(event: Mapping[str, Any]) -> Record:
    """A record that is small on the wire, if its producer is `compressed`, and large in memory."""
    return Record(ordering_key(event).encode(), BLANKS, DeadLettered("EVENT_TOO_LARGE", value_kept=False))


def with_large_comment(event: Mapping[str, Any]) -> Record:
    """The record of an event with a comment that makes the message of `COMMENT_TEMPLATE` too large for its topic."""
    return replace(valid_record(event), expectation=Valid(event, frozenset({COMMENT_TEMPLATE})))


def with_output_schema(event: Mapping[str, Any]) -> Record:
    """A record framed with the id of a schema that is known but not of events: one of the processor's outputs."""
    valid = valid_record(event)
    schema_id = json.loads((ROOT / "schemas" / "ids.json").read_text())["communications.Decision"]
    value = b"\x00" + schema_id.to_bytes(4, "big") + (valid.value or b"")
    return Record(valid.key, value, DeadLettered("INCOMPATIBLE_SCHEMA"), ())


def _json(key: bytes | None, event: Mapping[str, Any], reason: str) -> Record:
    return Record(key, json.dumps(event).encode(), DeadLettered(reason))


def mixed_records(
    *,
    seed: int,
    duplicate_ratio: float = 0.02,
    numbers_from: int = 0,
    avro: bool = False,
) -> Iterator[Record]:
    """An endless workload: mostly valid events, with duplicates and bad records among them.

    Deterministic for a seed; numbers of an account begin after `numbers_from`. The first record of a duplicated event
    may be in an aborted transaction: `committed_records` decides which one is valid. `avro`: half of the events are
    written by another producer, some of them with schema ids to which `tests.soak.registry` responds oddly.
    """
    rng = random.Random(seed)
    written = _avro_records(random.Random(f"avro {seed}"))
    next(written)
    numbers: dict[tuple[str, int], int] = {}
    recent: list[Record] = []
    for n in itertools.count():
        account = rng.randrange(ACCOUNTS)
        name = rng.choices(("LOAN_REPAYMENT", "SAVINGS_DEPOSIT", "CLIENT_CREATED"), (55, 40, 5))[0]
        numbers[name, account] = number = numbers.get((name, account), numbers_from) + 1
        event_id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        event = event_json(
            name,
            account=account,
            number=number,
            strict=rng.random() > 0.05,
            email=account % 10 != 0,
            group=account % 15 == 7 and name != "CLIENT_CREATED",
        )
        event["eventId"] = event_id
        draw = rng.random()
        if draw < BAD_RATIO:
            kinds = bad_records(event if "account" in event else event_json(account=account, number=n))
            yield kinds[rng.choice(sorted(kinds))]
        elif draw < BAD_RATIO + duplicate_ratio and recent:
            yield rng.choice(recent)
        else:
            record = written.send(event) if avro and name in AVRO_EVENTS and number % 2 else valid_record(event)
            if isinstance(record.expectation, Valid):
                recent = [*recent[-200:], record]
            yield record


def _avro_records(rng: random.Random) -> Generator[Record, Mapping[str, Any], None]:
    """The records of the events that are sent in, with schema ids of all kinds; each odd id is used a few times."""
    event = yield Record(None, None, DeadLettered(""))
    odd = None
    for n in itertools.count(1):
        if n % REFUSED_SCHEMA_INTERVAL == REFUSED_SCHEMA_INTERVAL // 2:
            event = yield framed_record(event, REFUSED_ID + rng.randrange(6), refused=True)
        elif n % ODD_SCHEMA_INTERVAL == ODD_SCHEMA_INTERVAL // 2:
            number = n // ODD_SCHEMA_INTERVAL
            odd = odd_id(ODD_KINDS[number % len(ODD_KINDS)], 2 * number)
            event = yield framed_record(event, odd)
        else:
            number = odd if odd is not None and rng.random() < 0.03 else GOOD_ID + rng.randrange(4)
            event = yield framed_record(event, number, by_guid=rng.random() < 0.2)


def partition_of(key: bytes | None, partitions: int) -> int:
    """The partition of a key, by a hash that is not Kafka's."""
    return zlib.crc32(key or b"") % partitions


class InputProducer:
    """Produces to the input and keeps what it sent, by number. For one thread at a time."""

    def __init__(
        self,
        installation: Installation,
        *,
        topic: str | None = None,
        partitions: int | None = None,
        transactional: bool = False,
        compressed: bool = False,
        numbers_from: int = 0,
    ) -> None:
        """`topic` and `partitions` default to the installation's input. Two producers of one topic need distinct
        numbers, from `numbers_from` on. `compressed`: batches of any size are compressed by zstd."""
        self._servers, self._topic = installation.servers, topic or installation.events
        self._partitions = partitions or installation.partitions
        self._transactional = transactional
        self._packed = compressed
        self._numbers = itertools.count(numbers_from)
        self._acknowledged: set[int] = set()
        self._producer: Producer | None = None
        self.records: dict[int, Record] = {}
        self.last_offsets: dict[int, int] = {}  #: Partition -> the offset of the last record that `send` has produced.

    def send(
        self,
        records: Sequence[Record],
        *,
        partition: int | None = None,
        timestamp_ms: int = 0,
        timeout_s: float = 90,
    ) -> None:
        """Produce `records`, in order, without a transaction; returns when the broker has them all.

        `partition` None: by the key; `timestamp_ms` 0: now.
        """
        producer = self._connected_producer()
        for record in records:
            self._produce(producer, record, partition, timestamp_ms)
        if left := producer.flush(timeout_s):
            raise TimeoutError(f"{left} records of the workload were not acknowledged in {timeout_s} s")

    def transaction(self, records: Sequence[Record], *, commit: bool, timeout_s: float = 60) -> None:
        """Produce `records` in one transaction, and commit or abort it.

        Without a response a new producer ends it either way, and nothing is sent again; `committed_records` finds out.
        """
        try:
            producer = self._connected_producer()
            producer.begin_transaction()
            for record in records:
                self._produce(producer, record, None)
            if commit:
                producer.commit_transaction(timeout_s)
            else:
                producer.flush(timeout_s)  # so that the aborted records are really in the log
                producer.abort_transaction(timeout_s)
        except KafkaException:
            self._producer = None

    def merge(self, other: "InputProducer") -> None:
        """Count what another producer has sent to the same topic as sent by this one."""
        self.records |= other.records
        self._acknowledged |= other._acknowledged

    def committed_records(self) -> list[Sent]:
        """What is on the input for a `read_committed` reader, with its expectation: the first record of an event is the
        valid one, by the log's order. Raises when an acknowledged record is not there."""
        seen: dict[tuple[int, str], Position] = {}
        sent, found = [], set()
        for stored in read(self._servers, (self._topic,), values=False):
            number = int(dict(stored.headers)[NUMBER_HEADER])
            found.add(number)
            record = self.records[number]
            if isinstance(record.expectation, Valid | OutputRefused):
                event_key = (stored.partition, str(record.expectation.event["eventId"]))
                if event_key in seen:
                    record = Record(
                        record.key, record.value, Duplicate(record.expectation.event, seen[event_key]), record.headers
                    )
                seen.setdefault(event_key, (stored.partition, stored.offset))
            headers = (*record.headers, (NUMBER_HEADER, str(number).encode()))
            record = Record(record.key, record.value, record.expectation, headers)
            sent.append(Sent(record, stored.partition, stored.offset, stored.timestamp_ms))
        if missing := self._acknowledged - found:
            raise AssertionError(f"{len(missing)} acknowledged records are not on the input: the harness is wrong")
        return sorted(sent, key=lambda record: record.position)

    def _connected_producer(self) -> Producer:
        if self._producer is None:
            properties: dict[str, Any] = {
                "bootstrap.servers": self._servers,
                "linger.ms": 5,
                "enable.idempotence": True,
                "message.max.bytes": 200_000_000 if self._packed else 5_000_000,
                "compression.type": "zstd" if self._packed else "lz4",
                "topic.metadata.refresh.interval.ms": 1_000,
                "log_level": 2,
            }
            if self._transactional:
                properties |= {"transactional.id": f"{self._topic}-workload", "transaction.timeout.ms": 30_000}
            self._producer = Producer(properties)
            if self._transactional:
                self._producer.init_transactions(60)
        return self._producer

    def _produce(self, producer: Producer, record: Record, partition: int | None, timestamp_ms: int = 0) -> None:
        number = next(self._numbers)
        self.records[number] = record

        def acknowledge(error: object, message: Message) -> None:
            at, offset = message.partition(), message.offset()
            if error is None and not self._transactional and at is not None and offset is not None:
                self._acknowledged.add(number)
                self.last_offsets[at] = offset

        deadline = time.monotonic() + METADATA_TIMEOUT_S
        while True:
            try:
                producer.produce(
                    self._topic,
                    record.value,
                    record.key,
                    partition_of(record.key, self._partitions) if partition is None else partition,
                    headers=[*record.headers, (NUMBER_HEADER, str(number).encode())],
                    on_delivery=acknowledge,
                    timestamp=timestamp_ms,
                )
            except KafkaException as exception:  # a partition that was added just now
                if exception.args[0].code() != KafkaError._UNKNOWN_PARTITION or time.monotonic() > deadline:
                    raise
                producer.poll(0.1)
            else:
                break
        producer.poll(0)


class Workload:
    """A thread that produces records at a bounded rate until it is stopped."""

    def __init__(
        self,
        producer: InputProducer,
        records: Iterator[Record],
        *,
        rate: int,
        transactional: bool,
        seed: int,
        interval_s: float = 0.2,
    ) -> None:
        """`rate` is in records a second, sent at once for each `interval_s`."""
        self._producer, self._records, self._rate = producer, records, rate
        self._interval_s = interval_s
        self._transactional = transactional
        self._rng = random.Random(seed)
        self._rate_factor = 1
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="workload", daemon=True)
        self._error: BaseException | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @contextlib.contextmanager
    def sped_up(self, factor: int) -> Iterator[None]:
        """So many times the rate while the block runs."""
        self._rate_factor = factor
        try:
            yield
        finally:
            self._rate_factor = 1

    def stop(self) -> None:
        """End after the records that are being sent; raises the thread's error, if it had one."""
        self._stop.set()
        self._thread.join(120)
        if self._error is not None:
            raise self._error

    def _slice_records(self) -> int:
        return max(1, round(self._rate_factor * self._rate * self._interval_s))

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                began = time.monotonic()
                slice_ = list(itertools.islice(self._records, self._slice_records()))
                if self._transactional:
                    self._producer.transaction(slice_, commit=self._rng.random() > 0.15)
                else:
                    self._producer.send(slice_)
                self._stop.wait(max(0.0, self._interval_s - (time.monotonic() - began)))
        except BaseException as error:  # handed to `stop`, which raises it
            self._error = error
