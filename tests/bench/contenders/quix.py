"""A contender of the bench: the one template in Python, exactly once, as Quix Streams and fastavro do it best.

It runs in a virtual environment of its own (`build.py`), without the processor. `contenders/__init__.py` has the
settings.

Quix Streams' `to_topic` leaves the partition to the key's hash. So outputs go through the producer that `to_topic`
uses: it takes a partition, and what it produces is part of the same transaction.
"""

import io
import json
import os
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import UUID

from fastavro import parse_schema, schemaless_reader, schemaless_writer
from quixstreams import Application, message_context

FRAME_BYTES = 5  # before each value: 0, and the id of its schema
TEMPLATE_ID, TEMPLATE_NAME, TEMPLATE_VERSION = "loan-repayment-stream", "Loan repayments", 1
EVENT_STREAM = "EVENT_STREAM"
EPOCH, MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
CURRENCY_DIGITS = {  # of those whose ISO 4217 minor unit is not 2
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF"), 0),
    **dict.fromkeys(("UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}

encode_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def identity(*parts: str) -> str:
    """The digest that every run gives the same parts."""
    return blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()


def eid(key: str) -> str:
    """A stream event's id: the digits of its message's key, with the bits of a version 8 uuid set."""
    return str(UUID(f"{key[:12]}8{key[13:16]}{int(key[16], 16) & 0x3 | 0x8:x}{key[17:]}"))


def money_text(amount: Decimal, currency: str) -> str:
    """An amount with at least the digits of its currency; further ones stay unless zero."""
    digits = CURRENCY_DIGITS.get(currency, 2)
    whole, _, fraction = f"{amount:f}".partition(".")
    fraction = fraction.rstrip("0").ljust(digits, "0")
    return f"{whole}.{fraction}" if fraction else whole


def read_schema(name: str) -> Any:
    """One of the bench's schemas."""
    return parse_schema(json.loads((Path(os.environ["BENCH_SCHEMAS"]) / f"{name}.avsc").read_text()))


class Output:
    """A topic and how its values are written."""

    def __init__(self, topic: str, schema: str, schema_id: str) -> None:
        """The names of three environment variables, the second that of a schema's file."""
        self.topic = os.environ[topic]
        self.frame = b"\0" + int(os.environ[schema_id]).to_bytes(4, "big")
        self.schema = read_schema(schema)

    def encode(self, fields: dict[str, Any]) -> bytes:
        """The framed bytes of a value."""
        buffer = io.BytesIO()
        buffer.write(self.frame)
        schemaless_writer(buffer, self.schema, fields)
        return buffer.getvalue()


class Mapper:
    """Makes the three outputs of an event by the one template, and hands them to a producer."""

    def __init__(self, producer: Any) -> None:
        """`producer` is Quix Streams' own."""
        self.producer = producer
        self.event_schema = read_schema("event")
        self.messages = Output("BENCH_MESSAGES", "message", "BENCH_MESSAGE_ID")
        self.status = Output("BENCH_STATUS", "status", "BENCH_STATUS_ID")
        self.stream = Output("BENCH_STREAM", "stream", "BENCH_STREAM_ID")
        self.tenant, self.set_version = os.environ["BENCH_TENANT"], os.environ["BENCH_SET_VERSION"]
        self.event_type = f"mrn.event.{self.tenant}.streamingapi.loan_repayment"
        self.template_key = identity("template", self.tenant, TEMPLATE_ID)

    def process(self, value: bytes, key: bytes, timestamp_ms: int, _: object) -> None:
        """Map and produce one record."""
        if value[0] != 0:
            raise ValueError("no frame before the value")
        buffer = io.BytesIO(value)
        buffer.seek(FRAME_BYTES)
        event: Any = schemaless_reader(buffer, self.event_schema, None)
        if event["account"]["kind"] != "LOAN" or event["transaction"]["amount"] <= 0:
            return  # not the template's target, or its condition is false
        body, event_id = render(event), str(event["eventId"])
        message_key = identity(self.tenant, event_id, TEMPLATE_ID, "")
        partition, produced_key = message_context().partition, message_key.encode()
        for output, output_key, fields in (
            (self.messages, produced_key, self.message(event, message_key, body, timestamp_ms)),
            (self.status, produced_key, self.message_status(event, event_id, message_key, timestamp_ms)),
            (self.stream, key, self.stream_event(event, message_key, body)),
        ):
            self.producer.produce(output.topic, output.encode(fields), output_key, partition=partition)

    def message(self, event: dict[str, Any], key: str, body: str, at: int) -> dict[str, Any]:
        """The Communicationmessage; fields that are not named are null."""
        client, group = event["client"], event["group"]
        return {
            "body": body,
            "clientKey": client and client["encodedKey"],
            "creationDate": at,
            "destination": self.stream.topic,
            "encodedKey": key,
            "event": event["event"],
            "groupKey": group["encodedKey"] if group and not client else None,
            "loanAccountKey": event["account"]["encodedKey"],
            "numRetries": 0,
            "repaymentKey": event["transaction"]["encodedKey"],
            "sendDate": at,
            "state": "SENT",
            "templateKey": self.template_key,
            "type": EVENT_STREAM,
        }

    def message_status(self, event: dict[str, Any], event_id: str, key: str, at: int) -> dict[str, Any]:
        """The MessageStatus."""
        context = message_context()
        return {
            "encodedKey": key,
            "tenant": self.tenant,
            "event": event["event"],
            "type": EVENT_STREAM,
            "sequence": 1,
            "from": "QUEUED_FOR_STREAM",
            "to": "SENT",
            "at": at,
            "numRetries": 0,
            "final": True,
            "eventId": event_id,
            "templateId": TEMPLATE_ID,
            "templateVersion": TEMPLATE_VERSION,
            "setVersion": self.set_version,
            "source": {"topic": context.topic, "partition": context.partition, "offset": context.offset},
            "lookupMissing": [],
            "correlationId": event["correlationId"],
        }

    def stream_event(self, event: dict[str, Any], key: str, body: str) -> dict[str, Any]:
        """The StreamEvent."""
        return {
            "metadata": {
                "eid": eid(key),
                "event_type": self.event_type,
                "occurred_at": (event["occurredAt"] - EPOCH) // MILLISECOND,
                "content_type": "application/json",
                "category": "DATA",
            },
            "body": body,
            "template_name": TEMPLATE_NAME,
        }


def render(event: dict[str, Any]) -> str:
    """The template's body: its placeholders all stand within the quotes of JSON."""
    account, transaction, client = event["account"], event["transaction"], event["client"]
    currency, balance = account["currencyCode"], account["totalBalance"]
    return encode_json(
        {
            "account": account["id"],
            "client": client["fullName"] if client else "",
            "amount": money_text(transaction["amount"], transaction["currencyCode"] or currency),
            "balance": "" if balance is None else money_text(balance, currency),
            "currency": currency,
            "date": transaction["date"].isoformat(),
            "method": transaction["method"] or "",
        }
    )


def run() -> None:
    """Map until SIGTERM, which Quix Streams handles."""
    state = tempfile.mkdtemp(prefix="bench-quix-")
    application = Application(
        broker_address=os.environ["BENCH_BOOTSTRAP"],
        consumer_group=os.environ["BENCH_GROUP"],
        processing_guarantee="exactly-once",
        auto_offset_reset="earliest",
        auto_create_topics=False,
        use_changelog_topics=False,
        state_dir=state,
        commit_every=int(os.environ["BENCH_BATCH"]),
        commit_interval=int(os.environ["BENCH_COMMIT_MS"]) / 1000,
        consumer_poll_timeout=0.01,
        consumer_extra_config={
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": int(os.environ["BENCH_FETCH_WAIT_MS"]),
            "fetch.queue.backoff.ms": 5,
            "queued.min.messages": 100_000,
        },
        producer_extra_config={
            "transactional.id": os.environ["BENCH_GROUP"],
            "linger.ms": 1,
            "retry.backoff.ms": 10,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 200_000,
            "batch.size": 1_000_000,
        },
        loglevel="ERROR",
    )
    events = application.dataframe(application.topic(os.environ["BENCH_EVENTS"], value_deserializer="bytes"))
    mapper = Mapper(events.processing_context.producer)
    events.update(mapper.process, metadata=True)
    try:
        application.run()
    finally:
        shutil.rmtree(state, ignore_errors=True)


if __name__ == "__main__":
    run()
