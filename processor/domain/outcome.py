"""What becomes of one source record: exactly one of these three."""

from dataclasses import dataclass

from processor.domain.event import Identity
from processor.domain.message import Communicationmessage, FailedTemplate, MessageStatus, SkippedTemplate, StreamEvent
from processor.domain.notification import Notification
from processor.domain.reasons import Reason
from processor.domain.record import NO_TIME_MS, EventName, OutRecord, RecordPosition, SourceRecord


@dataclass(frozen=True, slots=True)
class CreatedMessage:
    """A message's first record, its status of sequence 1, for EVENT_STREAM the stream event, for EMAIL and SMS the
    `Message` that its recipient's portal shows. `replaced` characters of the event are U+FFFD in the body."""

    message: Communicationmessage
    status: MessageStatus
    stream_event: StreamEvent | None = None
    notification: Notification | None = None
    replaced: int = 0


@dataclass(frozen=True, slots=True)
class WrongKey:
    """The record's key is not the ordering key of its event, which is `expected`."""

    event: EventName
    event_id: str
    expected: str


@dataclass(frozen=True, slots=True)
class Processed:
    """The record was read. Its templates gave births, were declined or failed; none is left out.

    `identity` is what the window remembers; None for a record that did not pass the checks before DUPLICATE_EVENT
    (empty, foreign tenant). `discarded` has the Message of each that was declined and is told so; `missing` the parts
    of births and of these that no reference row told. `outputs` are all records to publish, in order, dead letter and
    decision included. `time_ms` is when the record counts as written: in its outputs, and in the window.
    """

    record: SourceRecord
    identity: Identity | None
    created: tuple[CreatedMessage, ...]
    skipped: tuple[SkippedTemplate, ...]
    failed: tuple[FailedTemplate, ...]
    outputs: tuple[OutRecord, ...]
    discarded: tuple[Notification, ...] = ()
    missing: tuple[str, ...] = ()
    time_ms: int = NO_TIME_MS
    malformed_headers: tuple[str, ...] = ()  #: Names of those that the outputs do not carry on; counted.
    wrong_key: WrongKey | None = None  #: Counted, and logged once per pattern.


@dataclass(frozen=True, slots=True)
class Rejected:
    """A dead letter for itself. `outputs` is that one record.

    `identity` is what the window remembers, with `time_ms`: of a record whose outputs were refused, None of all others.
    """

    record: SourceRecord
    reason: Reason
    detail: str
    outputs: tuple[OutRecord, ...]
    identity: Identity | None = None
    time_ms: int = NO_TIME_MS


@dataclass(frozen=True, slots=True)
class Deferred:
    """The world's fault: what is needed to judge the record cannot be had now. Nothing is published."""

    record: SourceRecord
    cause: str
    schema_refused: bool = False  #: The registry responds, and gives no schema for this record's id.


Outcome = Processed | Rejected | Deferred


@dataclass(frozen=True, slots=True)
class SourceOutcome:
    """What one output says of the source record that it was made of.

    `event_id` is None for a record that did not pass the checks before DUPLICATE_EVENT. `time_ms` is when the
    source record counts as written. `later`: a status of the message's further way, which lies anywhere behind that
    of its birth, and whose time is its own.
    """

    source: RecordPosition
    time_ms: int
    event_id: str | None
    later: bool = False
