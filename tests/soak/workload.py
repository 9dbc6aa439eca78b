"""The input: events told once and told again, and bad records among them; what was committed is read back.

Each record carries a number in a header, so that the log says which of them are there, and where: a transactional
producer that heard no answer does not know.
"""

import contextlib
import itertools
import json
import random
import threading
import time
import uuid
import zlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from tests.chaos.expected import (
    NOTED,
    STRICT_FIELD,
    TENANT,
    Dead,
    Good,
    Record,
    RecordPosition,
    Refused,
    Repeat,
    Sent,
    SkippedTemplate,
    good,
    key_of,
    ordering_key,
)
from tests.chaos.reader import read
from tests.chaos.registry import GOOD_ID, ODD_KINDS, REFUSED_ID, WRITTEN, framed, odd_id
from tests.chaos.site import ROOT

NUMBER = "chaos-n"
METADATA_S = 10.0  # in which a producer that refreshes its metadata every second knows a new partition
UNKNOWN_SCHEMA_ID = 1_999_999_999  # ours begin at 2,000,000,000
BLANKS = b" " * 150_000_000  # over `receive.message.max.bytes` of librdkafka (100 MB) once it is unpacked
ODD_EVERY, REFUSED_EVERY = 800, 5_000
"""Of so many Avro records of the load one is the first with a new odd schema id, and one has a refused one."""


def make_event(
    name: str = "LOAN_REPAYMENT",
    *,
    account: int = 0,
    number: int = 0,
    event_id: str | None = None,
    tenant: str = TENANT,
    strict: bool = True,
    email: bool = True,
    group: bool = False,
    comment: str | None = None,
) -> dict[str, Any]:
    """An event in JSON form, of account or client `account`; `number` is its transaction's id.

    `strict`: the custom field of the strict template is there. `email`: the client has an address. `group`: a group
    holds the account, so there is no client. `comment` is the transaction's, which `chaos-deposit-email` prints.
    """
    client = {"encodedKey": key_of("client", account), "id": f"C-{account}", "fullName": f"Client {account}"}
    if email:
        client |= {"emailAddress": f"c{account}@example.com", "mobilePhone": f"+3519{account:08}"}
    envelope: dict[str, Any] = {
        "eventId": event_id or str(uuid.UUID(key_of(name, account, number))),
        "event": name,
        "occurredAt": f"2026-03-14T09:{number // 60 % 60:02}:{number % 60:02}.589793Z",
        "tenant": tenant,
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
            **({} if comment is None else {"comment": comment}),
        },
        **holder,
        "customFields": {STRICT_FIELD: "yes"} if loan and strict else {},
    }


def bad_records(event: Mapping[str, Any]) -> dict[str, Record]:
    """One record of each kind of bad input that is small, by its name, made of a good `event`."""
    whole = good(event)
    value = whole.value or b""
    key = whole.key
    framed = ()
    return {
        "truncated": Record(key, value[: len(value) // 2], Dead("INVALID_EVENT")),
        "left over": Record(key, value + b"}", Dead("INVALID_EVENT")),
        "foreign bytes": Record(key, b"\xff\xd8\xff\xe0JFIF", Dead("BAD_FRAME"), framed),
        "wrong magic": Record(key, b"\x01\x00\x00\x00\x01" + value, Dead("BAD_FRAME"), framed),
        "under five bytes": Record(key, b"\x00\x00", Dead("BAD_FRAME"), framed),
        "json without header": Record(key, value, Dead("BAD_FRAME"), framed),
        "unknown schema id": Record(
            key, b"\x00" + UNKNOWN_SCHEMA_ID.to_bytes(4, "big") + value, Dead("UNKNOWN_SCHEMA"), framed
        ),
        "unknown event": _json(key, {**event, "event": "LOAN_REPAYED"}, "UNKNOWN_EVENT"),
        "manual": _json(key, {**event, "event": "MANUAL"}, "UNKNOWN_EVENT"),
        "wrong type": _json(key, {**event, "occurredAt": ["today"]}, "INVALID_EVENT"),
        "no holder": _json(
            key, {name: value for name, value in event.items() if name not in ("client", "group")}, "INVALID_EVENT"
        ),
        "missing key": Record(None, value, Dead("MISSING_KEY")),
        "tombstone": Record(key, None, SkippedTemplate("EMPTY_RECORD")),
        "zero bytes": Record(key, b"", SkippedTemplate("EMPTY_RECORD")),
        "foreign tenant": Record(
            key,
            json.dumps({**event, "tenant": "southbank"}).encode(),
            SkippedTemplate("TENANT_DISABLED", str(event["eventId"])),
        ),
    }


def large_records(*, account: int, number: int, value_kept: bool) -> dict[str, Record]:
    """Bad input that is large: an event of 2 MB, and a good one of which one output is more than a topic takes.

    `value_kept`: the dead letters' topic takes 2 MB.
    """
    huge = json.dumps(make_event(account=account, number=number, comment="x" * 2_000_000)).encode()
    long = make_event("SAVINGS_DEPOSIT", account=account, number=number, comment="long " * 200_000)
    key = ordering_key(long).encode()
    return {"2 MB": Record(key, huge, Dead("EVENT_TOO_LARGE", value_kept)), "large output": noted(long)}


def unpacks_to_150_mb(event: Mapping[str, Any]) -> Record:
    """A record that is small on the wire, if it is sent `packed`, and large in memory."""
    return Record(ordering_key(event).encode(), BLANKS, Dead("EVENT_TOO_LARGE", value_kept=False))


def noted(event: Mapping[str, Any]) -> Record:
    """The record of an event whose comment is more than the message of the template that prints it may hold."""
    return replace(good(event), fate=Good(event, frozenset({NOTED})))


def of_an_output_schema(event: Mapping[str, Any]) -> Record:
    """A record framed with the id of a schema that is known and is no family's: one of our outputs."""
    whole = good(event)
    schema_id = json.loads((ROOT / "schemas" / "ids.json").read_text())["communications.Decision"]
    framed = b"\x00" + schema_id.to_bytes(4, "big") + (whole.value or b"")
    return Record(whole.key, framed, Dead("INCOMPATIBLE_SCHEMA"), ())


def _json(key: bytes | None, event: Mapping[str, Any], reason: str) -> Record:
    return Record(key, json.dumps(event).encode(), Dead(reason))


def mixed(
    *,
    seed: int,
    accounts: int = 60,
    bad_share: float = 0.02,
    repeat_share: float = 0.02,
    numbers_from: int = 0,
    avro: bool = False,
) -> Iterator[Record]:
    """An endless load: mostly good events of `accounts` accounts, with repeats and bad records among them.

    Deterministic for a seed; numbers of an account begin after `numbers_from`. The first record of a repeated event may
    be in an aborted transaction: `committed` says which record is the good one. `avro`: half of the events are written
    by a foreign producer, and some of them with schemas of which the registry (`tests.chaos.registry`) responds oddly.
    """
    rng = random.Random(seed)
    written = _avro_records(random.Random(f"avro {seed}"))
    next(written)
    numbers: dict[tuple[str, int], int] = {}
    recent: list[Record] = []
    for n in itertools.count():
        account = rng.randrange(accounts)
        name = rng.choices(("LOAN_REPAYMENT", "SAVINGS_DEPOSIT", "CLIENT_CREATED"), (55, 40, 5))[0]
        numbers[name, account] = number = numbers.get((name, account), numbers_from) + 1
        event = make_event(
            name,
            account=account,
            number=number,
            event_id=str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            strict=rng.random() > 0.05,
            email=account % 10 != 0,
            group=account % 15 == 7 and name != "CLIENT_CREATED",
        )
        dice = rng.random()
        if dice < bad_share:
            kinds = bad_records(event if "account" in event else make_event(account=account, number=n))
            yield kinds[rng.choice(sorted(kinds))]
        elif dice < bad_share + repeat_share and recent:
            yield rng.choice(recent)
        else:
            record = written.send(event) if avro and name in WRITTEN and number % 2 else good(event)
            if isinstance(record.fate, Good):
                recent = [*recent[-200:], record]
            yield record


def _avro_records(rng: random.Random) -> Generator[Record, Mapping[str, Any], None]:
    """The records of the events that are sent in, with schema ids of all kinds; each odd id is met a few times."""
    event = yield Record(None, None, Dead(""))
    odd = None
    for n in itertools.count(1):
        if n % REFUSED_EVERY == REFUSED_EVERY // 2:
            event = yield framed(event, REFUSED_ID + rng.randrange(6), refused=True)
        elif n % ODD_EVERY == ODD_EVERY // 2:
            number = n // ODD_EVERY
            odd = odd_id(ODD_KINDS[number % len(ODD_KINDS)], 2 * number)
            event = yield framed(event, odd)
        else:
            number = odd if odd is not None and rng.random() < 0.03 else GOOD_ID + rng.randrange(4)
            event = yield framed(event, number, by_guid=rng.random() < 0.2)


def partition_of(key: bytes | None, partitions: int) -> int:
    """Where a record of `key` goes: always the same partition, by a hash that is not Kafka's."""
    return zlib.crc32(key or b"") % partitions


class Feeder:
    """Puts records on the input and remembers them by number. For one thread at a time."""

    def __init__(
        self,
        servers: str,
        topic: str,
        *,
        partitions: int,
        transactional: bool = False,
        packed: bool = False,
        numbers_from: int = 0,
    ) -> None:
        """Two feeders of one topic take numbers that do not meet, `numbers_from` on. `packed`: batches are compressed
        as well as may be, however large they are before."""
        self._servers, self._topic, self._partitions = servers, topic, partitions
        self._transactional = transactional
        self._packed = packed
        self._numbers = itertools.count(numbers_from)
        self._acknowledged: set[int] = set()
        self._producer: Producer | None = None
        self.records: dict[int, Record] = {}
        self.last: dict[int, int] = {}  #: Partition -> the offset of the last record that `send` has put there.

    def send(
        self,
        records: Sequence[Record],
        *,
        partition: int | None = None,
        timestamp_ms: int = 0,
        timeout_s: float = 90,
    ) -> None:
        """Put `records` on the input, in order, not in a transaction; returns when the broker has them all.

        `partition` None: by the key; `timestamp_ms` 0: now.
        """
        producer = self._made()
        for record in records:
            self._produce(producer, record, partition, timestamp_ms)
        if left := producer.flush(timeout_s):
            raise TimeoutError(f"{left} records of the load were not acknowledged in {timeout_s} s")

    def transaction(self, records: Sequence[Record], *, commit: bool, timeout_s: float = 60) -> None:
        """Put `records` on the input in one transaction, and commit or abort it.

        No answer: a new producer ends it either way, and nothing is told again; `committed` finds out.
        """
        try:
            producer = self._made()
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

    def take_over(self, other: "Feeder") -> None:
        """Answer for what another feeder has put on the same topic too."""
        self.records |= other.records
        self._acknowledged |= other._acknowledged

    def committed(self) -> list[Sent]:
        """What is on the input for a `read_committed` reader, with its fate: the first record of an event is the good
        one, by the log's order. Raises when an acknowledged record is not there."""
        seen: dict[tuple[int, str], RecordPosition] = {}
        sent, found = [], set()
        for on_log in read(self._servers, (self._topic,), values=False):
            number = int(dict(on_log.headers)[NUMBER])
            found.add(number)
            record = self.records[number]
            if isinstance(record.fate, Good | Refused):
                event_key = (on_log.partition, str(record.fate.event["eventId"]))
                if event_key in seen:
                    record = Record(
                        record.key, record.value, Repeat(record.fate.event, seen[event_key]), record.headers
                    )
                seen.setdefault(event_key, (on_log.partition, on_log.offset))
            headers = (*record.headers, (NUMBER, str(number).encode()))
            record = Record(record.key, record.value, record.fate, headers)
            sent.append(Sent(record, on_log.partition, on_log.offset, on_log.timestamp_ms))
        if missing := self._acknowledged - found:
            raise AssertionError(f"{len(missing)} acknowledged records are not on the input: the harness is wrong")
        return sorted(sent, key=lambda one: one.place)

    def _made(self) -> Producer:
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
                properties |= {"transactional.id": f"{self._topic}-load", "transaction.timeout.ms": 30_000}
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
                self.last[at] = offset

        deadline = time.monotonic() + METADATA_S
        while True:
            try:
                producer.produce(
                    self._topic,
                    record.value,
                    record.key,
                    partition_of(record.key, self._partitions) if partition is None else partition,
                    headers=[*record.headers, (NUMBER, str(number).encode())],
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


class Load:
    """A thread that feeds records at a bounded rate until it is stopped."""

    def __init__(self, feeder: Feeder, records: Iterator[Record], *, rate: int, transactional: bool, seed: int) -> None:
        self._feeder, self._records, self._rate = feeder, records, rate
        self._transactional = transactional
        self._rng = random.Random(seed)
        self._times = 1
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._error: BaseException | None = None

    def start(self) -> None:
        """Begin to feed."""
        self._thread.start()

    @contextlib.contextmanager
    def hurried(self, times: int) -> Iterator[None]:
        """So many times the rate while the block runs."""
        self._times = times
        try:
            yield
        finally:
            self._times = 1

    def stop(self) -> None:
        """End after the records that are on their way; raises what has gone wrong in the thread."""
        self._stop.set()
        self._thread.join(120)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                began = time.monotonic()
                slice_ = list(itertools.islice(self._records, max(1, self._times * self._rate // 5)))
                if self._transactional:
                    self._feeder.transaction(slice_, commit=self._rng.random() > 0.15)
                else:
                    self._feeder.send(slice_)
                self._stop.wait(max(0.0, 0.2 - (time.monotonic() - began)))
        except BaseException as error:  # handed to `stop`, which raises it
            self._error = error
