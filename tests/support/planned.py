"""Records and contexts for plans, and what a planned outcome has in common with the reference's."""

import sys
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Final, NoReturn

from processor.domain.catalogue import ordering_key
from processor.domain.event import Fields, SeenEvent, identity_of
from processor.domain.outcome import CreatedMessage, Outcome, PlannedMessage, PlannedMessages, PlannedRun, Processed
from processor.domain.output_topics import OutputValue
from processor.domain.reasons import DecisionReason
from processor.domain.record import Headers, SchemaId, SourceRecord
from processor.mapping.context import MappingContext
from processor.mapping.event_plans import EventPlans
from processor.mapping.plan_observer import PlanDifference, PlanRefusal
from processor.wire.encode import OutputEncoder, encode_event
from processor.wire.wire_format import WireFormat
from tests.support.builders import TENANT, make_event, make_record, map_record, schemas
from tests.support.executors import native_in_use


def avro_record(
    fields: Fields | None = None, *, key: bytes | None = None, headers: Headers = (), **changes: Any
) -> SourceRecord:
    """The record of an event, a LOAN_REPAYMENT by default, in Avro by our schema.

    `fields` is the decoded event, in which `changes` replace whole fields. `key`: its ordering key by default.
    """
    fields = {**(make_event().fields if fields is None else fields), **changes}
    value, _ = encode_event(fields, schemas(), format=WireFormat.AVRO)
    key = ordering_key(fields["event"], fields).encode() if key is None else key
    return make_record(value=value, key=key, headers=headers)


TRACE: Final[Headers] = (
    ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("correlation-id", b"c-1"),
)
"""Headers that outputs carry on."""


def processed(record: SourceRecord, context: MappingContext, **options: Any) -> Processed:
    """The outcome of a record that is `Processed`; `options` as `map_record` has them."""
    outcome = map_record(record, context, **options)
    assert isinstance(outcome, Processed)
    return outcome


def with_plans(context: MappingContext) -> MappingContext:
    """The context with plans of its own."""
    return replace(context, plans=EventPlans(native=native_in_use()))


class _NoEncoder(OutputEncoder):
    def __call__(self, value: OutputValue) -> NoReturn:
        raise AssertionError(f"no plan has written this {type(value).__name__}")


def with_plans_alone(context: MappingContext) -> MappingContext:
    """The same, where nothing is written of values: mapping an event raises unless plans write all of its outputs."""
    formats = {"output_format": context.encode.output_format, "stream_format": context.encode.stream_format}
    return with_plans(replace(context, encode=_NoEncoder(context.schemas, **formats)))


@dataclass
class RecordedReports:
    """A PlanObserver that keeps what is reported."""

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


def check_written(record: SourceRecord, context: MappingContext, outcome: Outcome) -> bool:
    """Whether plans write a record at once; what they write is that of its outcome. A repeated event is not admitted,
    as by the loop, and leaves nothing behind."""
    assert isinstance(context.plans, EventPlans)
    run, seen = PlannedRun(context.plans.path, record.position), list[SeenEvent]()
    skipped = outcome.skipped if isinstance(outcome, Processed) else ()
    is_repeat = any(each.reason is DecisionReason.DUPLICATE_EVENT for each in skipped)

    def admit(event: SeenEvent, _made: PlannedMessages) -> bool:
        seen.append(event)
        return not is_repeat

    if not context.plans.write([record], context, run, admit=admit, limit_bytes=sys.maxsize):
        assert run == PlannedRun(context.plans.path, record.position)
        return False
    assert _is_what_was_written(outcome, run, seen)
    return True


def _is_what_was_written(outcome: Outcome, run: PlannedRun, seen: list[SeenEvent]) -> bool:
    """Whether one event that was written at once has the outputs and messages of an outcome, and nothing else."""
    if not isinstance(outcome, Processed) or outcome.failed or outcome.malformed_headers:
        return False
    (event,), (made,), messages, record = seen, run.messages, outcome.messages, outcome.record
    return (
        list(outcome.outputs) == run.outputs
        and outcome.output_bytes == run.output_bytes
        and (1, record.position, 1) == (run.record_count, run.last, run.messages[made])
        and made.topics == tuple(output.topic for output in outcome.outputs)
        and made.templates == tuple((message.template_id, message.template_version) for message in messages)
        and (event.offset, event.time_ms) == (record.position.offset, record.time_ms)
        and {event.identity} >= {identity_of(TENANT, message.event_id) for message in messages}
        and made.skipped == tuple(skipped.reason for skipped in outcome.skipped)
        and outcome.wrong_key is None
        and not any(message.replaced for message in messages)
        and made.missing == tuple(chain.from_iterable(result.missing for result in outcome.results))
    )


def is_planned(outcome: Outcome) -> bool:
    """Whether a plan has made a message of it."""
    return isinstance(outcome, Processed) and any(result.planned for result in outcome.results)
