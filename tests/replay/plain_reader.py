"""What replays wrote, by a reader of its own: plain consumers, and keys computed by the soak's oracle."""

import io
import json
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

from confluent_kafka import Message
from fastavro import parse_schema, schemaless_reader

from processor.kafka.clients import headers_of
from tests.soak.expected import TENANT, encoded_key_of
from tests.support.installation import ROOT, Installation
from tests.support.reference_rows import CLIENT

_FRAME_BYTES: Final = 5  # of Confluent's framing, before an Avro value

Created = Counter[tuple[int, int, str]]
"""How many messages each offset, number of its event (`repayment`) and template has."""


@cache
def _status_schema() -> Any:
    return parse_schema(json.loads((ROOT / "schemas" / "messages" / "MessageStatus.avsc").read_text()))


def read_status(message: Message) -> dict[str, Any]:
    """A status record, JSON or framed Avro."""
    value = message.value() or b""
    if value.startswith(b"{"):
        fields = json.loads(value)
    else:
        fields = schemaless_reader(io.BytesIO(value[_FRAME_BYTES:]), _status_schema(), None)
    assert isinstance(fields, dict)
    return fields


def created(installation: Installation, partition: int = 0, *, recipient: str = CLIENT) -> Created:
    """The messages that a `read_committed` reader of messages and statuses finds.

    Each has a status and a record with the same key, and that key is the digest of tenant, event, template and
    `recipient`.
    """
    found: Created = Counter()
    keys: Counter[str] = Counter()
    for message in installation.read(installation.status, partition):
        status = read_status(message)
        event_id, template, key = status["eventId"], status["templateId"], status["encodedKey"]
        assert (encoded_key_of(TENANT, event_id, template, recipient), 1) == (key, status["sequence"])
        assert (key, installation.events) == ((message.key() or b"").decode(), status["source"]["topic"])
        found[status["source"]["offset"], int(event_id[-12:]), template] += 1
        keys[key] += 1
    assert keys == Counter(
        (message.key() or b"").decode() for message in installation.read(installation.messages, partition)
    )
    return found


def once(offsets: Iterable[int], template: str = "note") -> Created:
    """One message for each event whose number is its offset."""
    return Counter((offset, offset, template) for offset in offsets)


def decided(installation: Installation, partition: int = 0) -> Counter[tuple[int, str]]:
    """How many decisions each offset has, by reason."""
    return Counter(
        (decision["source"]["offset"], reason["reason"])
        for decision in installation.read_decisions(partition)
        for reason in decision["reasons"]
    )


def dead(installation: Installation, partition: int = 0) -> Counter[tuple[int, str]]:
    """How many dead letters each offset has, by reason."""
    headers = [dict(headers_of(message)) for message in installation.read(installation.dead_letters, partition)]
    return Counter((int(header["dl.offset"] or b""), (header["dl.reason"] or b"").decode()) for header in headers)


def progress_states(installation: Installation, partition: int = 0) -> list[tuple[str, str]]:
    """Operation and state of the progress records, in their order; repeated ones once."""
    found: list[tuple[str, str]] = []
    for record in installation.read_operations(partition):
        if record["kind"] == "PROGRESS" and (pair := (record["operation"], record["state"])) not in found[-1:]:
            found.append(pair)
    return found
