"""What a replay is missing: the templates of an event that never had an outcome, or whose decision is to be reviewed.

Existence is by event and template, never by encodedKey: a template whose recipient was edited would otherwise write to
a second person.
"""

from dataclasses import dataclass
from itertools import chain
from typing import Final

from processor.domain.reasons import DecisionReason
from processor.domain.record import EventName, TemplateId
from processor.domain.template import TemplateSet
from processor.replay.outcome_index import REJECTED, MappedWith, OutcomeIndex
from processor.replay.set_history import SetHistory

REVIEWABLE: frozenset[DecisionReason] = frozenset(
    (
        DecisionReason.INACTIVE,
        DecisionReason.CHANNEL_DISABLED,
        DecisionReason.CONDITION_FALSE,
        DecisionReason.NO_RECIPIENT,
        DecisionReason.NOT_SUBSCRIBED,
    )
)
"""What `--include-decided` takes: settings, templates and rows that may have been wrong, and were corrected since."""

_REJECTED_ALONE: Final = frozenset((REJECTED,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What an operator names to be made up for, beside events without any outcome.

    `templates`: only these, None: all. `include_new`: templates that the set of that time did not have.
    `include_decided`: reasons whose decisions are reviewed.
    """

    templates: frozenset[TemplateId] | None = None
    include_new: frozenset[TemplateId] = frozenset()
    include_decided: frozenset[DecisionReason] = frozenset()


class MissingTemplates:
    """Says for each offset of an index which of today's templates are to be applied to its event."""

    def __init__(self, index: OutcomeIndex, today: TemplateSet, history: SetHistory, scope: Scope) -> None:
        self._index = index
        self._today = today
        self._history = history
        self._scope = scope
        self._new_of_kind: dict[frozenset[MappedWith], frozenset[TemplateId]] = {}

    @property
    def is_limited(self) -> bool:
        """Whether an operator names the templates that are looked at."""
        return self._scope.templates is not None

    def has_any(self, offset: int) -> bool:
        """Whether the event at `offset` has any outcome."""
        return self._index.has_outcome(offset)

    def may_miss(self, offset: int) -> bool:
        """Whether the event at `offset` has to be read: it has no outcome of `run`, or one that leaves room."""
        mapped_with = self._mapped_with(offset)
        return not mapped_with or bool(self._new(mapped_with)) or bool(self.decided(offset))

    def of_event(self, offset: int, event: EventName) -> frozenset[TemplateId]:
        """The templates to be applied to `event`, the event at `offset`."""
        mapped_with = self._mapped_with(offset)
        named = self._in_scope(frozenset(template.id for template in self._today.for_event(event)))
        if mapped_with:
            candidates = self._new(mapped_with)
        elif partly := self._index.partly_mapped_with(offset):
            candidates = self._had(partly, event) | self._scope.include_new
        else:
            candidates = named
        missing = {template for template in candidates & named if not self._index.has_template(offset, template)}
        return frozenset(missing | (self.decided(offset) & named))

    def decided(self, offset: int) -> frozenset[TemplateId]:
        """The templates whose decision on the event at `offset` is reviewed: what is decided once more is no change."""
        if not self._scope.include_decided:
            return frozenset()
        return self._in_scope(self._index.decided(offset))

    def _mapped_with(self, offset: int) -> frozenset[MappedWith]:
        """With what `run` mapped the event at `offset`. A record that it only rejected is one of the operations that
        have mapped it since: a template that came later is a new one for it too."""
        mapped_with = self._index.mapped_with(offset)
        is_redriven = mapped_with == _REJECTED_ALONE and self._index.partly_mapped_with(offset)
        return frozenset() if is_redriven else mapped_with

    def _new(self, mapped_with: frozenset[MappedWith]) -> frozenset[TemplateId]:
        """Those of `--include-new` that none of the sets had for the event that they were mapped with."""
        if mapped_with not in self._new_of_kind:
            self._new_of_kind[mapped_with] = self._find_new(mapped_with)
        return self._new_of_kind[mapped_with]

    def _find_new(self, mapped_with: frozenset[MappedWith]) -> frozenset[TemplateId]:
        found = self._in_scope(self._scope.include_new)
        for mapped in mapped_with:
            if mapped.event is None or mapped.set_version is None:
                return frozenset()
            found &= frozenset(template.id for template in self._today.for_event(mapped.event))
            if not found:  # whether that set is kept or not
                return frozenset()
            found -= self._history.templates(mapped.set_version, mapped.event)
        return found

    def _had(self, partly: frozenset[MappedWith], event: EventName) -> frozenset[TemplateId]:
        """The templates that any of the sets of past operations had for `event`; what they left out is missing, and a
        template that came later is a new one. None of a set that is not kept: nothing is guessed."""
        versions = [mapped.set_version for mapped in partly if mapped.set_version is not None]
        kept = [version for version in versions if version in self._history]
        return frozenset(chain.from_iterable(self._history.templates(version, event) for version in kept))

    def _in_scope(self, templates: frozenset[TemplateId]) -> frozenset[TemplateId]:
        return templates if self._scope.templates is None else templates & self._scope.templates


class ReissuedTemplates:
    """Says for each offset of an index which messages of its event are to be made once more, under new ids."""

    def __init__(self, index: OutcomeIndex, today: TemplateSet, templates: frozenset[TemplateId] | None) -> None:
        """`templates`: only these, None: all."""
        self._index = index
        self._today = today
        self._templates = templates

    @property
    def is_limited(self) -> bool:
        """Whether an operator names the templates that are looked at."""
        return self._templates is not None

    def has_any(self, _offset: int) -> bool:
        """A reissue is for events that have outcomes, and leaves all others."""
        return True

    def may_miss(self, offset: int) -> bool:
        """Whether the event at `offset` has a message that is to be made once more."""
        return bool(self._in_scope(self._index.to_be_reissued(offset)))

    def of_event(self, offset: int, event: EventName) -> frozenset[TemplateId]:
        """The templates whose message of `event`, the event at `offset`, is to be made once more."""
        named = frozenset(template.id for template in self._today.for_event(event))
        return self._in_scope(self._index.to_be_reissued(offset)) & named

    def decided(self, _offset: int) -> frozenset[TemplateId]:
        """None: what is decided now is an outcome of the reissue."""
        return frozenset()

    def _in_scope(self, templates: frozenset[TemplateId]) -> frozenset[TemplateId]:
        return templates if self._templates is None else templates & self._templates
