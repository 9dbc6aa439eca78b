"""From what outputs say of their sources to an index of outcomes. Pure."""

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from processor.domain.operation import OperationId
from processor.domain.outcome import DeadLetterOutcome, DecisionOutcome, SourceOutcome, StatusOutcome
from processor.domain.reasons import DecisionReason, Reason
from processor.domain.record import EventName, TemplateId
from processor.replay.outcome_index import REJECTED, MappedWith, OutcomeIndex

_FOR_ALL_TEMPLATES: Final = MappedWith(None, None)


class OutcomeIndexer:
    """Fills an index with what outputs say. Decisions come first, since a message that was created later outdoes one.

    `include_decided`: the reasons whose decisions are noted. `reissue`: messages are noted, and those of the operation
    that goes on apart. `shortened` counts the outputs that name only some of
    their templates: their records are left out, as records whose outcome stands for all templates.
    """

    def __init__(
        self,
        index: OutcomeIndex,
        include_decided: Collection[DecisionReason],
        *,
        reissue: bool = False,
        operation: OperationId | None = None,
    ) -> None:
        self._index = index
        self._include_decided = frozenset(include_decided)
        self._reissue = reissue
        self._operation = operation
        self.shortened = 0

    def add(self, outcome: SourceOutcome) -> None:
        """Note one output. What lies outside of the index is ignored, and so is a later status of a message."""
        if not self._index.first <= outcome.source.offset < self._index.end:
            return
        match outcome:
            case StatusOutcome():
                self._add_status(outcome)
            case DecisionOutcome():
                self._add_decision(outcome)
            case DeadLetterOutcome():
                self._add_dead_letter(outcome)

    def _add_status(self, status: StatusOutcome) -> None:
        if status.later:
            return
        self._add_templates(status, (status.template_id,))
        self._index.withdraw_decided(status.source.offset, status.template_id)
        if self._reissue:
            self._index.add_created(status.source.offset, status.template_id)
            if self._operation is not None and status.operation == self._operation:
                self._index.add_reissued(status.source.offset, status.template_id)

    def _add_decision(self, decision: DecisionOutcome) -> None:
        offset = decision.source.offset
        if decision.reasons_left_out:
            self._leave_out(offset)
        elif any(_is_for_all(skipped.template_id, skipped.reason) for skipped in decision.reasons):
            self._index.add_mapped(offset, _FOR_ALL_TEMPLATES)
        elif any(skipped.reason is DecisionReason.NO_TEMPLATE for skipped in decision.reasons):
            self._index.add_mapped(offset, _mapped_with(decision))
        else:
            self._add_templates(decision, [skipped.template_id for skipped in decision.reasons if skipped.template_id])
        for skipped in decision.reasons:
            if skipped.template_id is not None and skipped.reason in self._include_decided:
                self._index.add_decided(offset, skipped.template_id)

    def _add_dead_letter(self, letter: DeadLetterOutcome) -> None:
        offset = letter.source.offset
        if letter.reason is not Reason.TEMPLATE_FAILED:
            self._index.add_mapped(offset, REJECTED)
            return
        if not letter.is_complete:
            self._leave_out(offset)
        failed = [template.templateId for template in letter.failed]
        self._add_templates(letter, failed)
        for template in failed:
            self._index.withdraw_decided(offset, template)

    def _add_templates(self, outcome: SourceOutcome, templates: Collection[TemplateId]) -> None:
        """`run` applied all templates of its set, a past operation those that it names."""
        offset, mapped_with = outcome.source.offset, _mapped_with(outcome)
        if outcome.operation is None:
            self._index.add_mapped(offset, mapped_with)
            return
        self._index.add_mapped(offset, replace(mapped_with, is_partial=True))
        for template in templates:
            self._index.add_template(offset, template)

    def _leave_out(self, offset: int) -> None:
        self.shortened += 1
        self._index.add_mapped(offset, _FOR_ALL_TEMPLATES)


def _is_for_all(template: TemplateId | None, reason: DecisionReason | None) -> bool:
    """Whether a reason is the record's own, whatever templates there are; so is one of a newer version."""
    return template is None and reason is not DecisionReason.NO_TEMPLATE


def _mapped_with(outcome: SourceOutcome) -> MappedWith:
    """All templates where an old output does not say with what its record was mapped."""
    if outcome.event is None or outcome.set_version is None:
        return _FOR_ALL_TEMPLATES
    return MappedWith(outcome.set_version, EventName(outcome.event))
