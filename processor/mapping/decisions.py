"""The one decision of a source record: why templates, or the record as a whole, made no message."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from processor.domain.event import EventHead, written_at_ms
from processor.domain.message import Decision, SkippedTemplate
from processor.domain.reasons import DETAIL_LIMIT_CHARACTERS, DecisionReason
from processor.domain.record import Headers, OutRecord, SourceRecord
from processor.domain.text import truncate
from processor.errors import InternalError
from processor.mapping.context import MappingContext
from processor.mapping.options import WrittenDecisions

ROUTINE_DECISIONS: Final = frozenset(
    (
        DecisionReason.NO_TEMPLATE,
        DecisionReason.INACTIVE,
        DecisionReason.CHANNEL_DISABLED,
        DecisionReason.TARGET_MISMATCH,
        DecisionReason.CONDITION_FALSE,
        DecisionReason.NOT_SUBSCRIBED,
    )
)
"""What settings, templates and subscriptions are meant to leave out. `PROCESSOR_DECISIONS=unexpected` writes none of
these; what is left is about the record or its data (EMPTY_RECORD, TENANT_DISABLED, DUPLICATE_EVENT, NO_RECIPIENT), or
what a past operation found (ALREADY_CREATED)."""

# How much of each of a decision's texts is kept, tried in this order until the record fits its topic. Only what a
# producer wrote (a correlation id, a foreign tenant's name, a tombstone's key) can make one large.
_TEXT_LIMITS_CHARACTERS: Final = (DETAIL_LIMIT_CHARACTERS, 100, 20)
_KEY_LIMIT_BYTES: Final = 1000


def decision_record(
    record: SourceRecord,
    event: EventHead | None,
    skipped: tuple[SkippedTemplate, ...],
    context: MappingContext,
    *,
    propagated: Headers,
) -> OutRecord | None:
    """The record of the decision, with all of its reasons that the installation writes; None when it writes none.

    Complete if its topic takes it, else with its texts truncated, at last with fewer reasons. `propagated` are the
    source's headers that outputs carry on; a shortened decision goes without them.
    """
    reasons = reasons_to_write(skipped, context)
    if not reasons:
        return None
    topic = context.output_topics.decisions
    decision = decision_of(record, event, reasons, context)
    key = event.id.encode() if event else record.key
    value, headers = context.encode(decision)
    added = context.operation_headers
    complete = OutRecord(topic.name, record.position.partition, key, value, (*propagated, *added, *headers))
    if complete.size_bytes <= topic.limit_bytes:
        return complete
    key = key and key[:_KEY_LIMIT_BYTES]
    for smaller in _smaller(decision):
        value, headers = context.encode(smaller)
        out = OutRecord(topic.name, complete.partition, key, value, (*added, *headers))
        if out.size_bytes <= topic.limit_bytes:
            return out
    raise InternalError(f"a decision does not fit {topic.name}, which takes {topic.limit_bytes} bytes")


def decision_of(
    record: SourceRecord, event: EventHead | None, reasons: tuple[SkippedTemplate, ...], context: MappingContext
) -> Decision:
    """The complete decision of a record for these reasons."""
    return Decision(
        eventId=event.id if event else None,
        event=event.name if event else None,
        tenant=event.tenant if event else None,
        source=record.position,
        setVersion=context.templates.digest,
        correlationId=event.correlation_id if event else None,
        at=written_at_ms(record, event),
        reasons=reasons,
    )


def reasons_to_write(skipped: tuple[SkippedTemplate, ...], context: MappingContext) -> tuple[SkippedTemplate, ...]:
    """Those that the installation writes, in their order."""
    match context.decisions:
        case WrittenDecisions.ALL:
            return skipped
        case WrittenDecisions.UNEXPECTED:
            return tuple(reason for reason in skipped if reason.reason not in ROUTINE_DECISIONS)
        case WrittenDecisions.OFF:
            return ()


def _smaller(decision: Decision) -> Iterator[Decision]:
    """`decision` truncated more and more. `reasonsLeftOut` says how many reasons a shortened list leaves out, and the
    last of them does in words."""
    for limit in _TEXT_LIMITS_CHARACTERS:
        decision = replace(
            decision,
            tenant=decision.tenant and truncate(decision.tenant, limit),
            correlationId=decision.correlationId and truncate(decision.correlationId, limit),
            reasons=tuple(replace(reason, detail=truncate(reason.detail, limit)) for reason in decision.reasons),
        )
        yield decision
    kept = len(decision.reasons)
    while kept > 1:
        kept //= 2
        left_out = len(decision.reasons) - kept
        last = replace(decision.reasons[kept - 1], detail=f"and {left_out} more templates")
        yield replace(decision, reasons=(*decision.reasons[: kept - 1], last), reasonsLeftOut=left_out)
