"""Records on Kafka as plain values: bytes and a position. No Kafka client type gets past the edge."""

import re
from datetime import UTC, datetime
from typing import Final, NamedTuple, NewType

Topic = NewType("Topic", str)
SchemaId = NewType("SchemaId", int)  #: the 4-byte id of Confluent's framing
SchemaGuid = NewType("SchemaGuid", bytes)  #: the 16 bytes after 0x01 in header `__value_schema_id`
TemplateId = NewType("TemplateId", str)
EncodedKey = NewType("EncodedKey", str)  #: 32 hexadecimal digits, lower case
EventName = NewType("EventName", str)  #: of a domain event in the catalogue, as in LOAN_REPAYMENT

TENANT_PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")  #: It becomes part of topic names.
ENCODED_KEY_PATTERN: Final = re.compile(r"[0-9a-f]{32}")

Headers = tuple[tuple[str, bytes | None], ...]

FIRST_ATTEMPT: Final = 1

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
NO_TIME_MS: Final = 0  #: 1970-01-01T00:00:00.000Z: written where no time is known.
LAST_TIME_MS: Final = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z, where RFC 3339 and many languages' times end


class RecordPosition(NamedTuple):
    """Where a record lies. As text: `topic[partition]@offset`."""

    topic: Topic
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


class SourceRecord(NamedTuple):
    """A record as it was read, untouched. `timestamp_ms` is the Kafka timestamp: meant to be UTC, milliseconds.

    `headers_error` says why its headers could not be read; then `headers` is empty. `attempt` is FIRST_ATTEMPT for a
    record of the events, and counted on for one that comes from its dead letter.
    """

    position: RecordPosition
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    headers_error: str = ""
    attempt: int = FIRST_ATTEMPT

    @property
    def time_ms(self) -> int | None:
        """Its time; None where it has none (-1) or one outside of years 1970 to 9999, such as one in microseconds."""
        return self.timestamp_ms if 0 <= self.timestamp_ms <= LAST_TIME_MS else None

    @property
    def size_bytes(self) -> int:
        """Key, value and headers together."""
        return _size_bytes(self.key, self.value, self.headers)


class OutRecord(NamedTuple):
    """A record to be written. Its partition is always explicit: the one of its source."""

    topic: Topic
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def size_bytes(self) -> int:
        """Key, value and headers together, which is held against the topic's limit."""
        return _size_bytes(self.key, self.value, self.headers)


OutFields = tuple[Topic, int, bytes | None, bytes | None, Headers]
"""What an OutRecord is, or a tuple with its fields: plans write many, and making a class of each takes time."""


def _size_bytes(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    size_bytes = len(key or b"") + len(value or b"")
    for name, text in headers:
        size_bytes += len(name.encode()) + len(text or b"")
    return size_bytes
