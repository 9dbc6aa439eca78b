"""From one event to its one outcome: each of its templates by itself, and all records that are to be published.

event ── duplicate? ── templates ──▶ for each: checks ── render ── address ── outputs ──▶ Processed
             │             │                     │         │                    │
         decision       decision             decision    failed               failed
"""

from collections.abc import Callable, Sequence
from functools import partial

from processor.domain.event import SourceEvent
from processor.domain.message import FailedTemplate, SkippedTemplate
from processor.domain.outcome import MappingPath, Processed, TemplateResult, WrongKey
from processor.domain.reasons import DecisionReason, Reason
from processor.domain.record import Headers, OutRecord, RecordPosition, TemplateId
from processor.domain.template import Template
from processor.mapping.checks import case_of
from processor.mapping.context import MappingContext, Plans, Suspended
from processor.mapping.decisions import decision_record
from processor.mapping.draft import Draft, draft
from processor.mapping.outputs import create_message
from processor.mapping.plan_observer import PlanDifference, PlanRefusal
from processor.mapping.propagation import PropagatedHeaders, propagated_headers
from processor.mapping.recipient import Recipient, holder_of
from processor.mapping.rejections import dead_letter
from processor.mapping.scanned_event import ScannedEvent
from processor.mapping.verify_plan import outcome_differences
from processor.wire.dead_letter import dead_letter_record


def map_event(
    source: SourceEvent,
    context: MappingContext,
    *,
    suspended: Suspended,
    duplicate_of: RecordPosition | None,
    only: frozenset[TemplateId] | None = None,
    verify: bool = True,
) -> Processed:
    """What becomes of an event. The same arguments give an equal outcome.

    `suspended`: templates whose circuit breaker is open; a message they would create is a failed template instead.
    `duplicate_of`: where the same event lies before this record, within the deduplication window. `only` names the
    templates to apply, for a caller that knows what became of the others; None: all. Of one that the set lacks, or
    that does not name the event, nothing comes: an outcome without any of them has no results and publishes nothing,
    never NO_TEMPLATE, which says that no template of the whole set names the event. What the reference tables raise
    passes through; anything else that this raises is a bug, and the record's dead letter (`reject_for_error`).
    `verify`: where a plan maps a record of the sample, hold it against the reference.
    """
    headers = propagated_headers(source.record.headers)
    templates = context.templates.for_event(source.name)
    if only is not None:
        templates = tuple(template for template in templates if template.id in only)
    planned = None
    if duplicate_of is not None:
        results = _skip_all(DecisionReason.DUPLICATE_EVENT, f"first seen at {duplicate_of}")
    elif templates or only is not None:
        planned = _map_by_plan(templates, source, context, suspended=suspended, propagated=headers.headers)
        if planned is None:
            results = _map_templates(templates, source, context, suspended=suspended, propagated=headers.headers)
        else:
            results = planned
    else:
        results = _skip_all(DecisionReason.NO_TEMPLATE, f"no template names {source.name}")
    path = MappingPath.REFERENCE if planned is None or context.plans is None else context.plans.path
    outcome = _combine(source, context, results, headers, path=path)
    plans = context.plans
    if plans is None or plans.sample is None or not verify or not isinstance(source, ScannedEvent):
        return outcome
    if not plans.sample.includes(source.record.position.offset):
        return outcome
    map_again = partial(
        map_event, context=context, suspended=suspended, duplicate_of=duplicate_of, only=only, verify=False
    )
    return _verify(outcome, source, plans, map_again)


def _verify(
    outcome: Processed, source: ScannedEvent, plans: Plans, map_again: Callable[[SourceEvent], Processed]
) -> Processed:
    """`outcome`, unless the reference makes another one. A row of the reference tables may have changed between the
    two, so where it does the plan is run once more."""
    reference = map_again(SourceEvent(source.record, source.event))
    if not outcome_differences(outcome, reference)[1]:
        return outcome
    outcome = map_again(source)
    templates, parts = outcome_differences(outcome, reference)
    if not parts:
        return outcome
    plans.refuse_difference(PlanDifference(source.record.position, source.name, templates, parts))
    return reference


def combine_results(source: SourceEvent, context: MappingContext, results: Sequence[TemplateResult]) -> Processed:
    """The outcome of an event of which all this came, in this order. For a past operation that adds results of its own
    to those of `map_event`, as a record has one decision and one dead letter at most."""
    return _combine(source, context, results, propagated_headers(source.record.headers), path=MappingPath.REFERENCE)


def _skip_all(reason: DecisionReason, detail: str) -> list[TemplateResult]:
    """The result of an event for which no template is looked at."""
    return [TemplateResult(skipped=SkippedTemplate(reason=reason, detail=detail))]


def _map_by_plan(
    templates: Sequence[Template],
    source: SourceEvent,
    context: MappingContext,
    *,
    suspended: Suspended,
    propagated: Headers,
) -> list[TemplateResult] | None:
    """What comes of each template by its plan; None: the event was not scanned, or one of them is suspended, or refuses
    it."""
    plans = context.plans
    if not isinstance(source, ScannedEvent) or plans is None:
        return None
    refusal = PlanRefusal.SUSPENDED
    if not suspended or {template.id for template in templates}.isdisjoint(template_id for template_id, _ in suspended):
        results = source.plan.map_templates(source, templates, context, propagated=propagated)
        if results is not None:
            return results
        refusal = PlanRefusal.TEMPLATE
    plans.refuse(refusal)
    return None


def _map_templates(
    templates: Sequence[Template],
    source: SourceEvent,
    context: MappingContext,
    *,
    suspended: Suspended,
    propagated: Headers,
) -> list[TemplateResult]:
    """What comes of each template by the reference."""
    if isinstance(source, ScannedEvent):
        source = SourceEvent(source.record, source.event)
    holder = holder_of(source.event)
    return [
        _map_template(template, source, context, holder=holder, suspended=suspended, propagated=propagated)
        for template in templates
    ]


def _map_template(
    template: Template,
    source: SourceEvent,
    context: MappingContext,
    *,
    holder: Recipient | None,
    suspended: Suspended,
    propagated: Headers,
) -> TemplateResult:
    """What comes of one template: it costs no other one its message when it fails."""
    drafted = draft(
        case_of(template, source.event, context.draft_rules, holder=holder, reissue=context.reissue),
        limit_characters=context.text_limit_characters,
        suspended=[reason for template_id, reason in suspended if template_id == template.id],
    )
    match drafted:
        case Draft():
            return create_message(drafted, source, context, propagated=propagated)
        case SkippedTemplate():
            return TemplateResult(skipped=drafted)
        case FailedTemplate():
            return TemplateResult(failed=drafted)


def _combine(
    source: SourceEvent,
    context: MappingContext,
    results: Sequence[TemplateResult],
    headers: PropagatedHeaders,
    *,
    path: MappingPath,
) -> Processed:
    """The outcome of an event: all that came of its templates, and one record each of its decisions and failures."""
    record = source.record
    skipped = tuple([result.skipped for result in results if result.skipped is not None])
    failed = tuple([result.failed for result in results if result.failed is not None])
    return Processed(
        record,
        tuple(results),
        decision=_decision_of(source, skipped, context, propagated=headers.headers) if skipped else None,
        dead_letter=_dead_letter_of(source, failed, context) if failed else None,
        malformed_headers=headers.malformed,
        wrong_key=WrongKey(source.name, source.id, source.ordering_key) if source.has_wrong_key else None,
        path=path,
    )


def _decision_of(
    source: SourceEvent, skipped: tuple[SkippedTemplate, ...], context: MappingContext, *, propagated: Headers
) -> OutRecord | None:
    """The one decision of all that was skipped: by the event's plan, where there is one that does not refuse it."""
    planned = None
    if isinstance(source, ScannedEvent):
        planned = source.plan.write_decision(source, skipped, context, propagated=propagated)
    return planned or decision_record(source.record, source, skipped, context, propagated=propagated)


def _dead_letter_of(source: SourceEvent, failed: tuple[FailedTemplate, ...], context: MappingContext) -> OutRecord:
    """The one dead letter of the templates that failed for an event."""
    detail = "; ".join(f"{template.templateId}: {template.reason}" for template in failed)
    letter = dead_letter(source.record, Reason.TEMPLATE_FAILED, detail, context, event=source.event, failed=failed)
    return dead_letter_record(letter, topic=context.output_topics.dead_letters)
