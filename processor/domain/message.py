"""The business outputs: Communicationmessage, MessageStatus, StreamEvent, Decision. Field names as on the wire.

Every time is milliseconds since the epoch, UTC, cut and never rounded. None means null in Avro, absent in JSON.
"""

from dataclasses import dataclass
from enum import StrEnum

from processor.domain.channel import Channel
from processor.domain.operation import OperationId
from processor.domain.reasons import DecisionReason, FailureReason, Reason, TemplateReason
from processor.domain.record import EncodedKey, Headers, RecordPosition, TemplateId
from processor.domain.value_class import value_class


class State(StrEnum):
    """Where a message is in its lifecycle. Names are published; the order of states is this program's."""

    QUEUED = "QUEUED"
    QUEUED_FOR_STREAM = "QUEUED_FOR_STREAM"
    WAITING = "WAITING"
    SENDING_ASYNC = "SENDING_ASYNC"
    SENT = "SENT"
    FAILED = "FAILED"


@value_class(kw_only=True)
class Communicationmessage:
    """One message to one recipient over one channel: exactly the 21 published fields, in the published order.

    https://docs.mambu.com/api/api-v2/communications_messages/schemas/communicationmessage/
    """

    body: str | None = None
    clientKey: str | None = None  # noqa: N815  published spelling, here and below
    creationDate: int | None = None  # noqa: N815
    depositAccountKey: str | None = None  # noqa: N815
    destination: str | None = None
    encodedKey: EncodedKey | None = None  # noqa: N815
    event: str | None = None
    failureCause: str | None = None  # noqa: N815
    failureReason: FailureReason | None = None  # noqa: N815
    groupKey: str | None = None  # noqa: N815
    loanAccountKey: str | None = None  # noqa: N815
    numRetries: int | None = None  # noqa: N815
    referenceId: str | None = None  # noqa: N815
    repaymentKey: str | None = None  # noqa: N815
    sendDate: int | None = None  # noqa: N815
    senderKey: str | None = None  # noqa: N815
    state: State | None = None
    subject: str | None = None
    templateKey: str | None = None  # noqa: N815
    type: Channel | None = None
    userKey: str | None = None  # noqa: N815


@value_class(kw_only=True)
class MessageStatus:
    """One transition of one message, and its lineage. `from_`, on the wire `from`, is None for a creation.

    Consumers keep the highest `sequence` per `encodedKey`; sequences start at 1 and have no gaps.
    """

    encodedKey: EncodedKey  # noqa: N815
    tenant: str
    event: str
    type: Channel
    sequence: int
    from_: State | None
    to: State
    at: int
    numRetries: int  # noqa: N815
    waitingReason: str | None = None  # noqa: N815
    failureReason: FailureReason | None = None  # noqa: N815
    failureCause: str | None = None  # noqa: N815
    nextAttemptAt: int | None = None  # noqa: N815
    referenceId: str | None = None  # noqa: N815
    actor: str | None = None
    final: bool
    eventId: str  # noqa: N815
    templateId: TemplateId  # noqa: N815
    templateVersion: int  # noqa: N815
    setVersion: str  # noqa: N815
    source: RecordPosition
    lookupMissing: tuple[str, ...] = ()  # noqa: N815
    correlationId: str | None = None  # noqa: N815


@value_class(kw_only=True)
class StreamEvent:
    """What a stream's topic carries. `eid` is a uuid computed from the message's encodedKey, equal on every replay."""

    eid: str
    event_type: str
    occurred_at: int
    content_type: str
    category: str
    body: str
    template_name: str


@value_class(kw_only=True)
class SkippedTemplate:
    """Why one template (or, without `templateId`, the whole record) made no message."""

    reason: DecisionReason
    detail: str
    templateId: TemplateId | None = None  # noqa: N815
    templateVersion: int | None = None  # noqa: N815
    encodedKey: EncodedKey | None = None  # noqa: N815


@value_class(kw_only=True)
class Decision:
    """Every reason for which one source record made no message; one record on `communications.decisions`.

    `reasonsLeftOut`: how many more there were, for which the record had no room.
    """

    eventId: str | None  # noqa: N815
    event: str | None
    tenant: str | None
    source: RecordPosition
    setVersion: str  # noqa: N815
    correlationId: str | None  # noqa: N815
    at: int
    reasons: tuple[SkippedTemplate, ...]
    reasonsLeftOut: int = 0  # noqa: N815


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedTemplate:
    """One template that failed for one record; the others were published."""

    templateId: TemplateId  # noqa: N815
    templateVersion: int  # noqa: N815
    reason: TemplateReason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A record that could not be turned, or not by every template. On Kafka: the source, and headers `dl.…`.

    `event_id`, `event` and `set_version` are there when the record could be read that far. `timestamp_ms` is the
    source's as it was; where that is no time that can be shown, `occurred_at_ms` of its event counts. `operation` is
    the past operation that wrote it; a header of that name among `headers` is the source's own.
    """

    position: RecordPosition
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    reason: Reason
    detail: str
    failed: tuple[FailedTemplate, ...] = ()
    attempts: int = 1
    event_id: str | None = None
    event: str | None = None
    set_version: str | None = None
    occurred_at_ms: int | None = None
    operation: OperationId | None = None
