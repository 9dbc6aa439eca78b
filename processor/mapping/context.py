"""What an installation maps with, beside the event itself: frozen values, and the rows of the reference tables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Protocol

from processor.domain.channel import Channel
from processor.domain.event import SeenEvent, SourceEvent
from processor.domain.notification import PROCESSOR, Actor, StatusMap, status_map
from processor.domain.operation import OperationId, PastOperation
from processor.domain.outcome import MappingPath, PlannedMessages, PlannedRun
from processor.domain.output_topics import OutputTopics
from processor.domain.reasons import TemplateReason
from processor.domain.record import Headers, SourceRecord, TemplateId
from processor.domain.template import TemplateSet
from processor.mapping.options import KeyCheck, WrittenDecisions
from processor.mapping.plan_observer import PlanDifference, PlanRefusal
from processor.mapping.reference import EMPTY_TABLES, Reference
from processor.mapping.verify_plan import Sample
from processor.wire.encode import OutputEncoder
from processor.wire.reader_schemas import Schemas
from processor.wire.schema import SchemaOf

Suspended = frozenset[tuple[TemplateId, TemplateReason]]
"""Templates whose circuit breaker is open for this event, with the reason that opened it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftRules:
    """What an installation has to say of a message as its templates draft it."""

    time_zone: tzinfo = UTC
    sms_region: str | None = None  #: The country of phone numbers that name none, as in PT.
    disabled_channels: frozenset[Channel] = frozenset()  #: Channels that send nothing now.
    reference: Reference = EMPTY_TABLES


AdmitEvent = Callable[[SeenEvent, PlannedMessages], bool]
"""Called once for each event, in order, after its outputs are written. True: they stay in the run, and the event is
remembered for deduplication. False, for a duplicate, or a template to be probed: they are dropped, and the run ends."""


class Plans(Protocol):
    """What maps ordinary events without making their values (`event_plans.py`)."""

    def scan(self, record: SourceRecord, context: "MappingContext", *, schema_of: SchemaOf) -> SourceEvent | None:
        """The event of `record`; None: refused, the reference has to read it."""

    def write(
        self,
        records: list[SourceRecord],
        context: "MappingContext",
        run: PlannedRun,
        *,
        admit: AdmitEvent,
        limit_bytes: int,
    ) -> int:
        """Map consecutive records of one partition, from the first on, and add their outputs to `run`; how many.

        Stops before a record that has to be scanned, or is not admitted, and after the one with which `run` has
        `limit_bytes` of outputs. Never blocks, and raises nothing: of a record for which something raises, `admit` too,
        nothing is added, and PlanRefusal.ERROR is reported.
        """

    def scan_ahead(self, records: Sequence[SourceRecord], context: "MappingContext") -> Sequence[SourceEvent | None]:
        """The events of those records that can be scanned at once; None: `scan` has to be called. Never blocks, and
        raises nothing."""

    @property
    def path(self) -> MappingPath:
        """How it maps them."""

    @property
    def sample(self) -> Sample | None:
        """The records that are mapped by the reference too; None: none of them."""

    def refuse(self, reason: PlanRefusal) -> None:
        """Report that a record is mapped by the reference, though `scan` may have given its event."""

    def refuse_difference(self, difference: PlanDifference) -> None:
        """The same of a record of the sample of which a plan made something else than the reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingContext:
    """What one installation maps with. Replaced as a whole when templates are reloaded or topics change."""

    tenant: str
    schemas: Schemas
    templates: TemplateSet
    output_topics: OutputTopics
    encode: OutputEncoder
    draft_rules: DraftRules = field(default_factory=DraftRules)
    #: Of a Message, by the state or failureReason of its message.
    statuses: StatusMap = field(default_factory=status_map)
    actor: Actor = PROCESSOR  #: Who does what `audit` says.
    key_check: KeyCheck = KeyCheck.WARN
    decisions: WrittenDecisions = WrittenDecisions.ALL
    max_event_bytes: int = 1_048_576
    operation: PastOperation | None = None  #: None: `run`.
    plans: Plans | None = None  #: None: each event is read and its templates are rendered, as the reference has it.

    @property
    def operation_headers(self) -> Headers:
        """What each output carries of the past operation that writes it; nothing of `run`."""
        return () if self.operation is None else self.operation.headers

    @property
    def reissue(self) -> OperationId | None:
        """The past operation that makes new messages; None: an event's messages are the same whoever maps it."""
        return self.operation.id if self.operation is not None and self.operation.reissue else None

    @property
    def text_limit_characters(self) -> int:
        """How long a text may grow while it is rendered: a character takes a byte at least, so a longer one could not
        be published. What fits is decided by the bytes of the record."""
        return self.output_topics.messages.limit_bytes
