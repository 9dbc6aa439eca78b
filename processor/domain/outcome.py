"""What becomes of one source record: exactly one of these three; and what its outputs say of it afterwards."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from processor.domain.channel import Channel
from processor.domain.message import (
    Communicationmessage,
    FailedTemplate,
    MessageStatus,
    SkippedTemplate,
    State,
    StreamEvent,
)
from processor.domain.notification import Notification
from processor.domain.reasons import DecisionReason, Reason
from processor.domain.record import (
    EncodedKey,
    EventName,
    OutFields,
    OutRecord,
    RecordPosition,
    SourceRecord,
    TemplateId,
    Topic,
)
from processor.domain.value_class import value_class


@value_class()
class CreatedMessage:
    """A message's first record, its status of sequence 1, for EVENT_STREAM the stream event, for EMAIL and SMS the
    `Message` that its recipient's portal shows. `replaced` characters of the event are U+FFFD in the body."""

    message: Communicationmessage
    status: MessageStatus
    stream_event: StreamEvent | None = None
    notification: Notification | None = None
    replaced: int = 0

    # What engine and operations on the past read of a message; no more, so that one whose values were never made, since
    # its records were written from the event at once, can stand here too.

    @property
    def template_id(self) -> TemplateId:
        """The template that made it."""
        return self.status.templateId

    @property
    def template_version(self) -> int:
        """That template's version."""
        return self.status.templateVersion

    @property
    def encoded_key(self) -> EncodedKey:
        """Its key, equal on every replay."""
        return self.status.encodedKey

    @property
    def event_id(self) -> str:
        """The event that it was made of."""
        return self.status.eventId

    @property
    def channel(self) -> Channel:
        """How it travels."""
        return self.status.type

    @property
    def time_ms(self) -> int:
        """When it counts as created: when its source record counts as written, in milliseconds since 1970."""
        return self.status.at

    @property
    def destination(self) -> str | None:
        """Where it goes; None for one that cannot be sent."""
        return self.message.destination


@value_class()
class PlannedMessage:
    """A message whose records were written from the event at once, so that it has no more than what is read of it.

    As CreatedMessage has them; none of its characters was replaced.
    """

    template_id: TemplateId
    template_version: int
    channel: Channel
    encoded_key: EncodedKey
    event_id: str
    time_ms: int
    destination: str | None

    @property
    def replaced(self) -> int:
        """None."""
        return 0


@dataclass(frozen=True, slots=True, eq=False)  # counted by the thousand, and hashed for that
class PlannedMessages:
    """What plans made of an event at once: a message of each of these templates, by id and version, and one output on
    each of these topics, in order. `missing` as in TemplateResult, of all of them; `skipped`: why others made none.
    Many events share it."""

    templates: tuple[tuple[TemplateId, int], ...]
    topics: tuple[Topic, ...]
    missing: tuple[str, ...] = ()
    skipped: tuple[DecisionReason, ...] = ()


@value_class(kw_only=True)
class TemplateResult:
    """What came of one template for one event: exactly one of `created`, `planned`, `skipped` and `failed`; each of the
    first two is a message.

    `missing` are the parts of its Message that no reference row gave; `outputs` the records to publish of it alone, in
    order: of one that was skipped the Discarded Message, if its recipient's portal says so. A record that is skipped as
    a whole has one result, `skipped` without a `templateId`.
    """

    created: CreatedMessage | None = None
    planned: PlannedMessage | None = None
    skipped: SkippedTemplate | None = None
    failed: FailedTemplate | None = None
    outputs: tuple[OutRecord, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def message(self) -> CreatedMessage | PlannedMessage | None:
        """The message, if the template made one."""
        return self.created or self.planned


@dataclass(frozen=True, slots=True)
class WrongKey:
    """The record's key is not the ordering key of its event, which is `expected`."""

    event: EventName
    event_id: str
    expected: str


class MappingPath(StrEnum):
    """What made a record's outcome. Published, as the labels of a metric."""

    NATIVE = "native"  #: Plans, run in C where it has what they need.
    PLAIN = "plain"  #: Plans, run by regular expressions and closures.
    REFERENCE = "reference"


@value_class()
class Processed:
    """The record was read: each of its templates created a message, was skipped, or failed.

    `results` has what came of each, in the order of the set; none where the caller names templates (`map_event`) and
    the event has none of them. `decision` is the one record of all that were skipped, unless the installation writes
    none of these; `dead_letter` the one of all that failed. `outputs` are all records to publish, in order: those of
    each template, then decision and dead letter; `output_bytes` is their size. The properties are computed at each use.
    """

    record: SourceRecord
    results: tuple[TemplateResult, ...]
    decision: OutRecord | None = None
    dead_letter: OutRecord | None = None
    malformed_headers: tuple[str, ...] = ()  #: Names of those that the outputs do not carry on; counted.
    wrong_key: WrongKey | None = None  #: Counted, and logged once per pattern.
    #: What made all of its results. Counted; two outcomes are equal whatever made them.
    path: MappingPath = field(default=MappingPath.REFERENCE, compare=False)
    outputs: tuple[OutRecord, ...] = field(init=False, repr=False, compare=False)
    output_bytes: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        outputs = [output for result in self.results for output in result.outputs]
        if self.decision is not None:
            outputs.append(self.decision)
        if self.dead_letter is not None:
            outputs.append(self.dead_letter)
        self.outputs = tuple(outputs)  # type: ignore[misc]
        self.output_bytes = sum([output.size_bytes for output in outputs])  # type: ignore[misc]

    @property
    def record_count(self) -> int:
        """One. As PlannedRun has them, these three."""
        return 1

    @property
    def last(self) -> RecordPosition:
        return self.record.position

    @property
    def memory_bytes(self) -> int:
        return self.record.size_bytes + self.output_bytes

    @property
    def messages(self) -> tuple[CreatedMessage | PlannedMessage, ...]:
        """The messages, in order."""
        return tuple([message for result in self.results if (message := result.message) is not None])

    @property
    def created(self) -> tuple[CreatedMessage, ...]:
        """The messages whose values were made, in order: all of them, but where they were planned."""
        return tuple([result.created for result in self.results if result.created is not None])

    @property
    def skipped(self) -> tuple[SkippedTemplate, ...]:
        """Why templates, or the record as a whole, made no message."""
        return tuple([result.skipped for result in self.results if result.skipped is not None])

    @property
    def failed(self) -> tuple[FailedTemplate, ...]:
        """The templates that failed."""
        return tuple([result.failed for result in self.results if result.failed is not None])


@dataclass(slots=True)
class PlannedRun:
    """Consecutive records of one partition that plans mapped at once: no template failed.

    `last` is the position of the last of them, of the first while there is none; `outputs` are those of all, in order,
    until the loop has given them to the client, and clears them; `messages` counts the records of which the same was
    made. Grows while they are mapped.
    """

    path: MappingPath
    last: RecordPosition
    record_count: int = 0
    outputs: list[OutFields] = field(default_factory=list)
    output_bytes: int = 0
    messages: dict[PlannedMessages, int] = field(default_factory=dict)

    @property
    def memory_bytes(self) -> int:
        """What it keeps in memory until it is published."""
        return self.output_bytes


@dataclass(frozen=True, slots=True)
class Rejected:
    """The record as a whole is a dead letter. `outputs` is that one record."""

    record: SourceRecord
    reason: Reason
    detail: str
    outputs: tuple[OutRecord, ...]

    @property
    def output_bytes(self) -> int:
        """The size of its outputs."""
        return sum([output.size_bytes for output in self.outputs])

    @property
    def record_count(self) -> int:
        """One. As PlannedRun has them, these three."""
        return 1

    @property
    def last(self) -> RecordPosition:
        return self.record.position

    @property
    def memory_bytes(self) -> int:
        return self.record.size_bytes + self.output_bytes


@dataclass(frozen=True, slots=True)
class Deferred:
    """A dependency does not respond: what is needed to map the record is not available now. Nothing is published."""

    record: SourceRecord
    cause: str
    schema_refused: bool = False  #: The registry responds, and gives no schema for this record's id.


Outcome = Processed | Rejected | Deferred

BatchOutcome = Processed | Rejected | PlannedRun
"""Of one record, or of many that plans mapped at once: what is published."""


# ---------------------------------------------------------------------------------------------------------------------
# Read back from the outputs: what each says of the source record that it was made of


@value_class()
class _OfSource:
    """What every kind of output says of its source.

    `time_ms` is when the source record counts as written. `event_id`, `event` and `set_version` are there where the
    record was read that far. `operation` is the id of the replay or redrive that wrote the output; None: `run` did.
    """

    source: RecordPosition
    time_ms: int
    event_id: str | None
    event: str | None
    set_version: str | None
    operation: str | None

    @property
    def seen_event_id(self) -> str | None:
        """The event that the source record put into the deduplication window; None for a record that did not pass the
        checks before DUPLICATE_EVENT."""
        return self.event_id


@value_class()
class StatusOutcome(_OfSource):
    """A template created a message. `state` is None for one of a newer version.

    `later`: a status after the message's creation, which lies anywhere behind that one, and whose time is its own.
    """

    encoded_key: EncodedKey
    template_id: TemplateId
    state: State | None
    later: bool = False


@dataclass(frozen=True, slots=True)
class SkippedReason:
    """Why a template, or without `template_id` the whole record, made no message.

    `reason` is None for one of a newer version; its word is then in front of the detail.
    """

    reason: DecisionReason | None
    detail: str
    template_id: TemplateId | None = None


@value_class()
class DecisionOutcome(_OfSource):
    """Templates, or the whole record, made no message. `reasons_left_out` more did not fit into the record."""

    reasons: tuple[SkippedReason, ...]
    reasons_left_out: int = 0

    @property
    def seen_event_id(self) -> str | None:
        """None for another tenant's event too."""
        is_of_tenant = all(skipped.reason is not DecisionReason.TENANT_DISABLED for skipped in self.reasons)
        return self.event_id if is_of_tenant else None


@value_class()
class DeadLetterOutcome(_OfSource):
    """The record as a whole, or the templates in `failed`, could not be turned.

    `is_complete`: `failed` has all of them. `has_value`: the dead letter holds the source's value.
    """

    reason: Reason
    detail: str
    failed: tuple[FailedTemplate, ...]
    is_complete: bool
    attempts: int
    has_value: bool

    @property
    def seen_event_id(self) -> str | None:
        """None too where the record itself was at fault, also where its event could be read."""
        return self.event_id if self.reason in _RECORD_WAS_READ else None


_RECORD_WAS_READ: Final = frozenset((Reason.TEMPLATE_FAILED, Reason.OUTPUT_REFUSED))

SourceOutcome = StatusOutcome | DecisionOutcome | DeadLetterOutcome
"""What one output says of the source record that it was made of."""
