"""ALREADY_CREATED: a past operation finds that what it would make exists. Pure; `run` writes none."""

from processor.domain.event import SourceEvent
from processor.domain.message import SkippedTemplate
from processor.domain.operation import OperationId
from processor.domain.outcome import Processed, TemplateResult
from processor.domain.reasons import DecisionReason
from processor.domain.record import EncodedKey, RecordPosition, TemplateId
from processor.errors import InternalError
from processor.mapping.context import MappingContext
from processor.mapping.map import combine_results


def skip_created_event(source: SourceEvent, context: MappingContext, *, found_at: RecordPosition) -> Processed:
    """The outcome of an event whose id was found elsewhere: its one decision, for the whole record.

    `found_at` is the other record of the event. InternalError without a past operation in `context`.
    """
    detail = f"{_operation(context)} found this event id at {found_at}"
    skipped = SkippedTemplate(reason=DecisionReason.ALREADY_CREATED, detail=detail)
    return combine_results(source, context, [TemplateResult(skipped=skipped)])


def skip_created_template(
    template: TemplateId,
    context: MappingContext,
    *,
    version: int | None,
    key: EncodedKey | None,
    found_at: RecordPosition,
) -> TemplateResult:
    """The result of a template whose message of an event exists, for `combine_results` with those of the others.

    `version` of the template, `key` of the message and `found_at` are those of the record that shows it, such as its
    status. InternalError without a past operation in `context`.
    """
    return TemplateResult(
        skipped=SkippedTemplate(
            reason=DecisionReason.ALREADY_CREATED,
            detail=f"{_operation(context)} found this template's message at {found_at}",
            templateId=template,
            templateVersion=version,
            encodedKey=key,
        )
    )


def _operation(context: MappingContext) -> OperationId:
    if context.operation is None:
        raise InternalError("only a past operation writes ALREADY_CREATED")
    return context.operation.id
