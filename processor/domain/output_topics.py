"""What is written and where: one row of OUTPUTS for each kind of output, and the topics as they really are. Pure.

Another output is a row and a field of OutputTopics here, its fields in `wire/output_fields.py`, its schema, a line in
the settings' TopicSettings, and the place in `mapping/` that makes one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from processor.domain.message import Communicationmessage, DeadLetter, Decision, MessageStatus, StreamEvent
from processor.domain.notification import Notification
from processor.domain.record import EventName, Topic


class FixedOutput(StrEnum):
    """An output with one topic, by the name of its topic's setting."""

    MESSAGES = "messages"
    STATUS = "status"
    NOTIFICATIONS = "notifications"
    DECISIONS = "decisions"
    DEAD_LETTERS = "dead_letters"
    OPERATIONS = "operations"
    TEMPLATE_SETS = "template_sets"


class StreamOutput(StrEnum):
    """The output with a topic for each event, by the name of the setting that has their pattern."""

    STREAM = "stream"


OutputName = FixedOutput | StreamOutput

OutputValue = Communicationmessage | MessageStatus | StreamEvent | Decision | Notification
"""A value that has a schema of its own; dead letters, operations and template sets have forms of their own."""

# Full names of schemas.
MESSAGE: Final = "communications.Communicationmessage"
STATUS: Final = "communications.MessageStatus"
STREAM_EVENT: Final = "communications.StreamEvent"
DECISION: Final = "communications.Decision"
NOTIFICATION: Final = "notifications.Message"


class Cleanup(StrEnum):
    """The `cleanup.policy` of a topic."""

    DELETE = "delete"
    COMPACT = "compact"
    COMPACT_AND_DELETE = "compact,delete"

    @property
    def policies(self) -> frozenset[str]:
        """The policies of which it consists."""
        return frozenset(self.split(","))


class Partitioning(StrEnum):
    """How many partitions an output's topic has."""

    AS_EVENTS = "AS_EVENTS"  #: At least as many as the events: a record is in the partition of its source.
    FIXED = "FIXED"  #: Chosen at creation, fewer than the events': source partition modulo their number.
    SINGLE = "SINGLE"  #: One.


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSpec:
    """What one kind of output is.

    `topic` is its topic's name where no setting says otherwise, `description` the setting's. `key` says what a record
    is keyed by. `value` has the schema named `schema`, None for what has none. `retention_days` counts where `cleanup`
    deletes.
    """

    topic: str
    description: str
    key: str
    value: type[OutputValue | DeadLetter] | None = None
    schema: str | None = None
    partitioning: Partitioning = Partitioning.AS_EVENTS
    cleanup: Cleanup = Cleanup.DELETE
    retention_days: int = 90
    is_proof: bool = False  #: Shows what became of an event, so it lives at least as long as events do.
    holds_events: bool = False  #: Has an event's bytes whole, so its limit follows from the events'.


OUTPUTS: Final[Mapping[OutputName, OutputSpec]] = {
    FixedOutput.MESSAGES: OutputSpec(
        topic="communications.messages",
        description="Messages, as they were created.",
        key="encodedKey",
        value=Communicationmessage,
        schema=MESSAGE,
        cleanup=Cleanup.COMPACT_AND_DELETE,
        is_proof=True,
    ),
    FixedOutput.STATUS: OutputSpec(
        topic="communications.status",
        description="The state in which each message was created.",
        key="encodedKey",
        value=MessageStatus,
        schema=STATUS,
        is_proof=True,
    ),
    StreamOutput.STREAM: OutputSpec(
        topic="mrn.event.{tenant}.streamingapi.{event}",
        description="Pattern of the stream topics; without {event} one topic carries all streams.",
        key="as the event",
        value=StreamEvent,
        schema=STREAM_EVENT,
        partitioning=Partitioning.FIXED,
        retention_days=7,
    ),
    FixedOutput.DECISIONS: OutputSpec(
        topic="communications.decisions",
        description="Why an event made no message.",
        key="event id",
        value=Decision,
        schema=DECISION,
        is_proof=True,
    ),
    FixedOutput.DEAD_LETTERS: OutputSpec(
        topic="communications.dead-letters",
        description="Records that could not be turned, untouched.",
        key="source key",
        value=DeadLetter,
        is_proof=True,
        holds_events=True,
    ),
    FixedOutput.NOTIFICATIONS: OutputSpec(
        topic="notifications.messages",
        description="Message notifications.",
        key="encodedKey",
        value=Notification,
        schema=NOTIFICATION,
        cleanup=Cleanup.COMPACT_AND_DELETE,
    ),
    FixedOutput.OPERATIONS: OutputSpec(
        topic="communications.operations",
        description="Who did what, and from which offset on each partition was mapped.",
        key="operation, else partition number",
        is_proof=True,
    ),
    FixedOutput.TEMPLATE_SETS: OutputSpec(
        topic="communications.template-sets",
        description="Template sets as they were, by digest.",
        key="set version",
        partitioning=Partitioning.SINGLE,
        cleanup=Cleanup.COMPACT,
    ),
}

FIXED_OUTPUTS: Final[tuple[FixedOutput, ...]] = tuple(output for output in OUTPUTS if isinstance(output, FixedOutput))
CO_PARTITIONED: Final[tuple[FixedOutput, ...]] = tuple(
    output for output in FIXED_OUTPUTS if OUTPUTS[output].partitioning is Partitioning.AS_EVENTS
)
"""Outputs whose topics need a partition for each partition of the events."""
SINGLE: Final[tuple[FixedOutput, ...]] = tuple(
    output for output in FIXED_OUTPUTS if OUTPUTS[output].partitioning is Partitioning.SINGLE
)


MAX_RECORD_BYTES: Final = 999_000
"""Of an output but a dead letter, whatever its topic would take: the default of the public zalando/nakadi broker, whose
interface streams follow."""


@dataclass(frozen=True, slots=True)
class OutputTopic:
    """An output's topic: its name, its number of partitions, and the limit of one record's size.

    `limit_bytes` holds for key, value and headers together: the smaller of 999,000 and `max.message.bytes` - 1,024
    (dead letters: `max.message.bytes` - 1,024 alone).
    """

    name: Topic
    partitions: int
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class OutputTopics:
    """The output topics of one installation, a field for each row of OUTPUTS.

    `streams` has each event that an active EVENT_STREAM template uses.
    """

    messages: OutputTopic
    status: OutputTopic
    decisions: OutputTopic
    dead_letters: OutputTopic
    notifications: OutputTopic
    operations: OutputTopic
    template_sets: OutputTopic
    streams: Mapping[EventName, OutputTopic]

    def topic(self, output: FixedOutput) -> OutputTopic:
        """The topic of an output by the output's name."""
        topic: OutputTopic = getattr(self, output)
        return topic

    @property
    def co_partitioned(self) -> tuple[OutputTopic, ...]:
        """The topics that need a partition for each partition of the events; streams have fewer and take the rest."""
        return tuple(map(self.topic, CO_PARTITIONED))

    @property
    def outputs(self) -> tuple[OutputTopic, ...]:
        """All topics that are written."""
        return (*map(self.topic, FIXED_OUTPUTS), *self.streams.values())
