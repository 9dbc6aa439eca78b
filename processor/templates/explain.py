"""What each template makes of an event, or why it makes nothing, condition by condition, with values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from processor.domain.event import Event
from processor.domain.masking import mask_detail
from processor.domain.message import FailedTemplate, SkippedTemplate
from processor.domain.placeholders import VALUE_MASK
from processor.domain.reasons import DecisionReason
from processor.domain.template import Template, TemplateSet
from processor.mapping.checks import case_of
from processor.mapping.conditions import describe_value, holds
from processor.mapping.context import DraftRules
from processor.mapping.draft import Draft, draft, draft_template
from processor.settings import Settings
from processor.templates.masking import mask_secrets
from processor.wire.decode import DecodeFailure

MADE: Final = "MADE"
"""The outcome of a template that makes a message."""
_MASKED_VALUE: Final = f"the value is {VALUE_MASK}"


@dataclass(frozen=True, slots=True)
class ConditionResult:
    """One condition of a template, whether it holds, and the value that it was compared with."""

    condition: str
    holds: bool
    seen: str


@dataclass(frozen=True, slots=True)
class TemplateExplanation:
    """What one template makes of the event. `outcome` is MADE, or the reason of a decision or a failed template.

    `detail` says why, or of a message its state, recipient and beginning.
    """

    template: str
    version: int
    type: str
    outcome: str
    failed: bool
    detail: str
    encodedKey: str | None  # noqa: N815  published spelling
    match: str
    conditions: tuple[ConditionResult, ...]

    @property
    def depends_on_tables(self) -> bool:
        """Whether a row of a reference table could change the outcome."""
        return self.outcome in (MADE, DecisionReason.NOT_SUBSCRIBED.value)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What becomes of one event. `reason` and `detail` say why no template is applied at all."""

    where: str
    event: str | None
    eventId: str | None  # noqa: N815
    orderingKey: str | None  # noqa: N815
    reason: str | None
    detail: str | None
    deadLetter: bool  # noqa: N815
    templates: tuple[TemplateExplanation, ...]

    @property
    def needs_attention(self) -> bool:
        """Whether the event would be a dead letter, or a template fails for it."""
        return self.deadLetter or any(result.failed for result in self.templates)


def explain_event(
    where: str, event: Event | DecodeFailure, templates: TemplateSet, settings: Settings, *, masked: bool = False
) -> Explanation:
    """What `run` would do with the event, but for what only a partition knows: its key, and whether it is a duplicate.

    `where` names the event for people. Where no tenant is set the event's own is taken. `masked`: customers' addresses,
    values and texts are `***`.
    """
    if isinstance(event, DecodeFailure):
        why = mask_detail(event.reason, event.detail) if masked else event.detail
        return Explanation(where, None, None, None, event.reason.value, why, deadLetter=True, templates=())
    reason = detail = None
    applied: Sequence[Template] = ()
    if settings.tenant not in (None, event.tenant):
        reason = DecisionReason.TENANT_DISABLED
        detail = f"tenant {event.tenant}; this installation is for {settings.tenant}"
    elif not (applied := templates.for_event(event.name)):
        reason, detail = DecisionReason.NO_TEMPLATE, f"no template names {event.name}"
    return Explanation(
        where,
        event.name,
        event.id,
        event.ordering_key,
        reason and reason.value,
        detail,
        deadLetter=False,
        templates=tuple(_apply(template, event, settings, masked=masked) for template in applied),
    )


def _apply(template: Template, event: Event, settings: Settings, *, masked: bool) -> TemplateExplanation:
    rules = DraftRules(
        time_zone=ZoneInfo(settings.time_zone),
        sms_region=settings.sms.region,
        disabled_channels=frozenset(settings.channels.disabled),
    )
    case = case_of(template, event, rules)
    result = draft(case)
    if isinstance(result, Draft):
        result = draft_template(template, mask_secrets(event), rules)  # what is shown of it
    return TemplateExplanation(
        template=template.id,
        version=template.version,
        type=template.type.value,
        outcome=MADE if isinstance(result, Draft) else result.reason.value,
        failed=isinstance(result, FailedTemplate),
        detail=_summary(result, masked=masked) if isinstance(result, Draft) else _detail(result, masked=masked),
        encodedKey=result.key if isinstance(result, Draft) else None,
        match=template.match.value,
        conditions=tuple(
            ConditionResult(
                str(condition),
                holds(condition, case.scope),
                _MASKED_VALUE if masked else describe_value(condition, case.scope),
            )
            for condition in template.conditions
        ),
    )


def _summary(message: Draft, *, masked: bool) -> str:
    if masked:
        failure = f", {message.failure_reason}" if message.failure_reason else ""
        to = f" to {VALUE_MASK}" if message.destination else ""
        return f"{message.state}{failure}{to}: {VALUE_MASK}"
    to = f" to {message.destination}" if message.destination else ""
    return f"{message.state}{message.failure_text}{to}: {message.rendered.subject or message.rendered.body}"


def _detail(result: SkippedTemplate | FailedTemplate, *, masked: bool) -> str:
    return mask_detail(result.reason, result.detail) if masked else result.detail
