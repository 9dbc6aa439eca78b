"""Records that are dead letters as a whole: undecodable, refused by the broker, or mapped by code that raises."""

from traceback import walk_tb

from processor.domain.event import Event, SourceEvent
from processor.domain.message import DeadLetter, FailedTemplate
from processor.domain.outcome import Deferred, Outcome, Rejected
from processor.domain.reasons import DETAIL_LIMIT_CHARACTERS, Reason
from processor.domain.record import SourceRecord
from processor.domain.text import truncate
from processor.mapping.context import MappingContext
from processor.wire.dead_letter import dead_letter_record


def reject(
    record: SourceRecord,
    reason: Reason,
    detail: str,
    context: MappingContext,
    *,
    event: Event | None = None,
    drop_value: bool = False,
) -> Rejected:
    """The outcome of a record that is a dead letter as a whole. `event`: its event, if it could be decoded.
    `drop_value`: the dead letter goes without the source's bytes."""
    letter = dead_letter(record, reason, detail, context, event=event)
    out = dead_letter_record(letter, topic=context.output_topics.dead_letters, drop_value=drop_value)
    return Rejected(record, reason, letter.detail, (out,))


def refuse_outputs(
    decoded: SourceEvent | Outcome, context: MappingContext, *, detail: str, drop_value: bool
) -> Rejected | Deferred:
    """The outcome of a record whose outputs the broker refuses: OUTPUT_REFUSED; a record that is a dead letter anyway
    keeps its reason, without its bytes, as it was refused with them.

    `detail` has the broker's words. `drop_value`: the broker refused the dead letter OUTPUT_REFUSED too.
    """
    match decoded:
        case Deferred():
            return decoded
        case Rejected(record, reason):
            return reject(record, reason, decoded.detail, context, drop_value=True)
        case SourceEvent(record, event):
            return reject(record, Reason.OUTPUT_REFUSED, detail, context, event=event, drop_value=drop_value)
        case _:
            return reject(decoded.record, Reason.OUTPUT_REFUSED, detail, context, drop_value=drop_value)


def reject_for_error(record: SourceRecord, event: Event | None, context: MappingContext, error: Exception) -> Rejected:
    """The outcome of a record for which decoding or mapping raises `error`: MAPPING_ERROR, with the place in our code.

    Nothing of the error's own text, which may quote the event. `event` is None where decoding raises.
    """
    return reject(record, Reason.MAPPING_ERROR, f"mapping raised {error_place(error)}", context, event=event)


def error_place(error: Exception) -> str:
    """An error's type and where in the code it was raised, without its text, which may quote the event."""
    if error.__traceback__ is None:
        return type(error).__name__
    *_, (frame, line) = walk_tb(error.__traceback__)
    code = frame.f_code
    return f"{type(error).__name__} in {code.co_qualname}, line {line} of {frame.f_globals.get('__name__')}"


def dead_letter(
    record: SourceRecord,
    reason: Reason,
    detail: str,
    context: MappingContext,
    *,
    event: Event | None,
    failed: tuple[FailedTemplate, ...] = (),
) -> DeadLetter:
    """The dead letter of a record, or of the templates that failed for it."""
    return DeadLetter(
        position=record.position,
        timestamp_ms=record.timestamp_ms,
        key=record.key,
        value=record.value,
        headers=record.headers,
        reason=reason,
        detail=truncate(detail, DETAIL_LIMIT_CHARACTERS),
        failed=failed,
        attempts=record.attempt,
        event_id=None if event is None else event.id,
        event=None if event is None else event.name,
        set_version=None if event is None else context.templates.digest,
        occurred_at_ms=event.occurred_at_ms if event is not None and record.time_ms is None else None,
        operation=None if context.operation is None else context.operation.id,
    )
