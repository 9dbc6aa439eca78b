"""What became of the record at a place, as the outputs say, and what today's templates would make of it.

Nothing is written, and the group is not touched: the record is read by a consumer that joins no group.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from confluent_kafka import Message

from processor.domain.outcome import SourceOutcome
from processor.domain.reasons import DecisionReason, Reason
from processor.domain.record import RecordPosition, SourceRecord
from processor.domain.template import TemplateSet
from processor.engine.output_scan import OnProgress, OutcomeReader
from processor.engine.start_offsets import READ_HINT, group_positions
from processor.kafka.clients import create_admin, source_record
from processor.kafka.errors import exit_on_broker_errors
from processor.kafka.offsets import Extent, partition_extent
from processor.kafka.read_range import open_reader, read_range
from processor.mapping.decode_record import key_failure
from processor.replay.output_access import (
    blocking_schema_of,
    exit_when_unavailable,
    partition_counts,
    require_partition,
)
from processor.settings import InputTopic, Settings
from processor.templates.explain import Explanation, explain_event
from processor.wire.decode import DecodeFailure, decode
from processor.wire.reader_schemas import Schemas
from processor.wire.schema import SchemaOf


class RecordState(StrEnum):
    """Whether the record can be read now."""

    PRESENT = "PRESENT"
    EXPIRED = "EXPIRED"  #: Before the first offset that the partition still has.
    BEYOND_END = "BEYOND_END"  #: No record has got this offset yet.
    IN_TRANSACTION = "IN_TRANSACTION"  #: Behind the begin of a transaction that is open now.
    NOT_A_RECORD = "NOT_A_RECORD"  #: A transaction's marker, an aborted record, or one that compaction removed.


@dataclass(frozen=True, slots=True)
class PlaceExplanation:
    """A record and what became of it. Offsets are of the events topic.

    `first_offset` and `end_offset` bound what the partition holds; `group_position` is None where the group has none.
    `outcomes` is what the outputs say, those of one topic after those of another; `today` is what the record would make
    now, None when it cannot be read.
    """

    position: RecordPosition
    state: RecordState
    first_offset: int
    end_offset: int
    time_ms: int | None
    group_position: int | None
    outcomes: tuple[SourceOutcome, ...]
    set_version: str
    today: Explanation | None
    wrong_key: bool = False  #: The record is not keyed by its event's ordering key.

    @property
    def was_passed(self) -> bool:
        """Whether the group goes on behind the record, so that `run` will not come to it again."""
        return self.group_position is not None and self.group_position > self.position.offset

    @property
    def needs_attention(self) -> bool:
        """Whether the record was passed without an outcome, cannot be found anywhere, or would now be a dead letter or
        fail a template."""
        if not self.outcomes and (self.was_passed or self.state is not RecordState.PRESENT):
            return True
        return self.today is not None and self.today.needs_attention


def explain_at(
    settings: Settings,
    schemas: Schemas,
    templates: TemplateSet,
    position: RecordPosition,
    *,
    masked: bool,
    on_progress: OnProgress | None = None,
) -> PlaceExplanation:
    """What became of the record at `position`, and what `templates` would make of it. Blocks while it reads.

    `masked`: what customers are called, wrote and are reached by is `***` in `today`. The outputs are read from their
    ends back to before the record, so the older it is, the longer it takes; a pass that was repeated from further back
    may have outcomes before that. Raises UsageError for a partition that there is not, TopicConfigError for outputs
    without it, DependencyError when broker or registry do not respond, AuthorizationError when they refuse.
    """
    admin = create_admin(settings)
    schema_of = blocking_schema_of(settings, schemas)
    with exit_on_broker_errors(settings, admin, hint=READ_HINT), exit_when_unavailable(settings):
        require_partition(settings, partition_counts(admin, settings), position.partition)
        extent = partition_extent(admin, position.topic, position.partition, hint=READ_HINT)
        record = _read_record(settings, position, extent)
        today = None if record is None else _explain_record(record, settings, schemas, templates, schema_of, masked)
        outcomes = OutcomeReader(settings, schemas, position.partition, schema_of=schema_of, admin=admin)
        return PlaceExplanation(
            position=position,
            state=_state(position.offset, extent, record),
            first_offset=extent.first,
            end_offset=extent.end,
            time_ms=None if record is None else record.time_ms,
            group_position=group_positions(settings, [position.partition]).get(position.partition),
            outcomes=tuple(outcomes.outcomes_of(position.offset, on_progress=on_progress)),
            set_version=templates.digest,
            today=today,
            wrong_key=_has_wrong_key(record, today),
        )


def place(settings: Settings, partition: int, offset: int) -> RecordPosition:
    """A place in the events topic."""
    return RecordPosition(settings.topic(InputTopic.EVENTS), partition, offset)


def _state(offset: int, extent: Extent, record: SourceRecord | None) -> RecordState:
    if record is not None:
        return RecordState.PRESENT
    if offset < extent.first:
        return RecordState.EXPIRED
    if offset >= extent.end:
        return RecordState.BEYOND_END
    return RecordState.IN_TRANSACTION if offset >= extent.stable else RecordState.NOT_A_RECORD


def _read_record(settings: Settings, position: RecordPosition, extent: Extent) -> SourceRecord | None:
    """The record at `position`; None when there is none that can be read now."""
    if not extent.first <= position.offset < extent.stable:
        return None
    with open_reader(settings, hint=READ_HINT) as reader:
        records: Iterator[Message] = read_range(
            reader, position.topic, position.partition, position.offset, position.offset + 1
        )
        return next((source_record(message, position.topic) for message in records), None)


def _has_wrong_key(record: SourceRecord | None, today: Explanation | None) -> bool:
    if record is None or record.key is None or today is None:
        return False
    if today.orderingKey is None:  # no event of it was made
        return today.reason == Reason.WRONG_KEY
    return record.key != today.orderingKey.encode()


def _explain_record(
    record: SourceRecord,
    settings: Settings,
    schemas: Schemas,
    templates: TemplateSet,
    schema_of: SchemaOf,
    masked: bool,
) -> Explanation:
    """What `run` would make of the record, with its checks of value and key; not whether the event came before."""
    where = str(record.position)
    if not record.value:
        reason, detail = DecisionReason.EMPTY_RECORD, "the record has no value"
        return Explanation(where, None, None, None, reason.value, detail, deadLetter=False, templates=())
    event = decode(record, schemas=schemas, schema_of=schema_of, max_event_bytes=settings.max_event_bytes)
    if not isinstance(event, DecodeFailure) and settings.tenant in (None, event.tenant):
        event = key_failure(record, event, settings.key_check) or event
    return explain_event(where, event, templates, settings, masked=masked)
