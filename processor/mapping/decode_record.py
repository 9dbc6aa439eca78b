"""The first step of a record: its event, or the outcome of a record that has none to be mapped.

record ── empty? ── decode ── tenant ── key ──▶ SourceEvent
            │          │         │       │
        decision  dead letter decision dead letter
"""

from typing import Final

from processor.domain.event import Event, SourceEvent
from processor.domain.message import SkippedTemplate
from processor.domain.outcome import Deferred, Processed, Rejected, TemplateResult
from processor.domain.reasons import DecisionReason, Reason
from processor.domain.record import SourceRecord
from processor.domain.text import truncate
from processor.errors import DeferredSchemaError, UnavailableError
from processor.mapping.context import MappingContext
from processor.mapping.decisions import decision_record
from processor.mapping.options import KeyCheck
from processor.mapping.propagation import propagated_headers
from processor.mapping.rejections import reject
from processor.wire.decode import DecodeFailure, decode
from processor.wire.schema import SchemaOf

_QUOTE_LIMIT_CHARACTERS: Final = 64


def decode_record(
    record: SourceRecord, context: MappingContext, *, schema_of: SchemaOf
) -> SourceEvent | Processed | Rejected | Deferred:
    """The event of `record` once it passed the checks in their order: empty, undecodable, tenant, key. Else the outcome
    of the first check that failed. Any bytes end in one of these, and the same arguments give an equal one.

    `schema_of` gives a writer's schema by its id and may block; its UnavailableError is Deferred. Whatever else this
    raises is a bug, or an error of `schema_of`.
    """
    if not record.value:
        return _skip(record, None, DecisionReason.EMPTY_RECORD, "the record has no value", context)
    try:
        if context.plans is not None:
            scanned = context.plans.scan(record, context, schema_of=schema_of)
            if scanned is not None:
                return scanned
        event = decode(record, schemas=context.schemas, schema_of=schema_of, max_event_bytes=context.max_event_bytes)
    except UnavailableError as error:
        return Deferred(record, str(error), schema_refused=isinstance(error, DeferredSchemaError))
    if isinstance(event, DecodeFailure):
        return reject(record, event.reason, event.detail, context)
    if event.tenant != context.tenant:
        detail = f"tenant {_quote(event.tenant)}; this installation is for {context.tenant}"
        return _skip(record, event, DecisionReason.TENANT_DISABLED, detail, context)
    if failure := key_failure(record, event, context.key_check):
        return reject(record, failure.reason, failure.detail, context, event=event)
    return SourceEvent(record, event, record.key != event.ordering_key.encode())


def key_failure(record: SourceRecord, event: Event, key_check: KeyCheck) -> DecodeFailure | None:
    """Why the record of `event` is rejected for its key; None when it is not."""
    if not record.key:
        return DecodeFailure(Reason.MISSING_KEY, f"no key; {event.name} is keyed by {event.ordering_key}")
    if key_check is KeyCheck.STRICT and record.key != event.ordering_key.encode():
        key = _quote(record.key.decode(errors="replace"))
        return DecodeFailure(Reason.WRONG_KEY, f"key {key}; {event.name} is keyed by {event.ordering_key}")
    return None


def _quote(value: str) -> str:
    return repr(truncate(value, _QUOTE_LIMIT_CHARACTERS))


def _skip(
    record: SourceRecord, event: Event | None, reason: DecisionReason, detail: str, context: MappingContext
) -> Processed:
    skipped, headers = SkippedTemplate(reason=reason, detail=detail), propagated_headers(record.headers)
    return Processed(
        record,
        (TemplateResult(skipped=skipped),),
        decision=decision_record(record, event, (skipped,), context, propagated=headers.headers),
        malformed_headers=headers.malformed,
    )
