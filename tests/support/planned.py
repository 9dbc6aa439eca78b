"""Contexts with plans, and what a planned outcome has in common with the reference's."""

from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from processor.domain.event import Event, SourceEvent
from processor.domain.outcome import CreatedMessage, Outcome, PlannedMessage, Processed
from processor.domain.output_topics import OutputValue
from processor.domain.record import Headers, RecordPosition, SchemaId, SourceRecord
from processor.mapping.context import MappingContext
from processor.mapping.decode_record import decode_record
from processor.mapping.event_plans import EventPlans
from processor.mapping.plan_observer import PlanDifference, PlanRefusal
from processor.wire.encode import OutputEncoder, encode_event
from processor.wire.wire_format import WireFormat
from tests.support.builders import EVENTS_TOPIC, make_context, make_event, make_record, schemas


def avro_record(fields: Any, *, key: bytes | None = None, headers: Headers = ()) -> SourceRecord:
    """The record of a decoded event."""
    value, _ = encode_event(fields, schemas(), format=WireFormat.AVRO)
    position = RecordPosition(EVENTS_TOPIC, 3, 17)
    record = SourceRecord(position, 1_773_480_413_702, key or b"key", value, headers)
    if key is None:
        decoded = decode_record(record, make_context(), schema_of=schemas().local_schema)
        record = replace(record, key=decoded.ordering_key.encode())  # type: ignore[union-attr]
    return record


def with_plans(context: MappingContext) -> MappingContext:
    """The context with plans of its own."""
    return replace(context, plans=EventPlans())


class _NoEncoder(OutputEncoder):
    def __call__(self, value: OutputValue) -> NoReturn:
        raise AssertionError(f"no plan has written this {type(value).__name__}")


def with_plans_alone(context: MappingContext) -> MappingContext:
    """The same, where nothing is written of values: mapping an event raises unless plans write all of its outputs."""
    formats = {"output_format": context.encode.output_format, "stream_format": context.encode.stream_format}
    return with_plans(replace(context, encode=_NoEncoder(context.schemas, **formats)))


def make_avro_record(event: Event | None = None, **changes: Any) -> SourceRecord:
    """The record of `event`, a LOAN_REPAYMENT by default, with these fields changed, in Avro with its ordering key."""
    event = event or make_event()
    value, _ = encode_event({**event.fields, **changes}, schemas(), format=WireFormat.AVRO)
    return replace(make_record(event), value=value, headers=())


@dataclass
class RecordedPlans:
    """A PlanObserver that keeps what it is told."""

    refusals: list[PlanRefusal] = field(default_factory=list)
    ready: list[SchemaId] = field(default_factory=list)
    refused_schemas: list[tuple[SchemaId, str]] = field(default_factory=list)
    differences: list[PlanDifference] = field(default_factory=list)

    def refused(self, reason: PlanRefusal) -> None:
        """As PlanObserver has it, as all of these."""
        self.refusals.append(reason)

    def schema_ready(self, schema_id: SchemaId) -> None:
        self.ready.append(schema_id)

    def schema_refused(self, schema_id: SchemaId, reason: str) -> None:
        self.refused_schemas.append((schema_id, reason))

    def differs(self, difference: PlanDifference) -> None:
        self.differences.append(difference)


def comparable(outcome: Outcome) -> Any:
    """All of an outcome but the values of its messages, which a planned one does not have."""
    if not isinstance(outcome, Processed):
        return outcome
    results = [
        (result.message and _of_message(result.message), replace(result, created=None, planned=None))
        for result in outcome.results
    ]
    return replace(outcome, results=()), outcome.outputs, outcome.output_bytes, results


def _of_message(created: CreatedMessage | PlannedMessage) -> tuple[Any, ...]:
    return (
        created.template_id,
        created.template_version,
        created.channel,
        created.encoded_key,
        created.event_id,
        created.time_ms,
        created.destination,
        created.replaced,
    )


def is_planned(outcome: Outcome) -> bool:
    """Whether a plan has made a message of it."""
    return isinstance(outcome, Processed) and any(result.planned for result in outcome.results)


def is_scanned(source: SourceEvent | Outcome) -> bool:
    """Whether its record was scanned."""
    return isinstance(source, SourceEvent) and type(source) is not SourceEvent
