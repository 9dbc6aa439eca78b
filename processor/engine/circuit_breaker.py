"""CircuitBreakers: a template that fails almost always is suspended, and tried again now and then.

A suspended template still gets its entry in each record's dead letter, so a redrive makes the message.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from processor.domain.outcome import Processed
from processor.domain.reasons import TemplateReason
from processor.domain.record import TemplateId
from processor.mapping.context import Suspended

log = structlog.get_logger()

HISTORY = 200
FEWEST = 100
OPENS_AT = 0.95
TRY_EVERY = 100
CLOSES_AFTER = 10


@dataclass(slots=True)
class _Open:
    reason: TemplateReason
    passed_over: int = 0  # records since the last try
    successes: int = 0  # tries in a row that gave a message


@dataclass(slots=True)
class _Template:
    version: int
    last: deque[TemplateReason | None] = field(default_factory=lambda: deque(maxlen=HISTORY))  # None: a message
    open: _Open | None = None


class CircuitBreakers:
    """One for each (template, reason). Told of every outcome, in order; a batch that is mapped again counts again."""

    def __init__(self) -> None:
        self._templates: dict[TemplateId, _Template] = {}
        self._suspended: Suspended = frozenset()

    def suspended(self) -> Suspended:
        """For the next record: what is open, but for those whose next try is due."""
        return self._suspended

    def open(self) -> Suspended:
        """All that are open, tried just now or not: what an operator should know of."""
        return frozenset((name, one.open.reason) for name, one in self._templates.items() if one.open is not None)

    def reloaded(self, versions: Mapping[TemplateId, int]) -> None:
        """The templates in use are now these: one that is gone, or another version, is no longer suspended."""
        self._templates = {name: one for name, one in self._templates.items() if versions.get(name) == one.version}
        self._renew()

    def saw(self, outcome: Processed) -> None:
        """Learn from one outcome."""
        for birth in outcome.created:
            self._tried(birth.status.templateId, birth.status.templateVersion, None)
        for failed in outcome.failed:
            if failed.reason is TemplateReason.TEMPLATE_SUSPENDED:
                self._passed_over(failed.templateId)
            else:
                self._tried(failed.templateId, failed.templateVersion, failed.reason)

    def _tried(self, template: TemplateId, version: int, failure: TemplateReason | None) -> None:
        state = self._templates.get(template)
        if state is None or state.version != version:
            state = self._templates[template] = _Template(version)
            self._renew()
        if state.open is None:
            state.last.append(failure)
            if failure is not None and self._opens(state, failure):
                state.open = _Open(failure)
                self._renew()
                log.error("template suspended", template=template, version=version, reason=failure)
            return
        state.open.passed_over = 0
        state.open.successes = 0 if failure is not None else state.open.successes + 1
        if state.open.successes >= CLOSES_AFTER:
            state.open = None
            state.last.clear()
            log.warning("template is no longer suspended", template=template, version=version)
        self._renew()

    def _opens(self, state: _Template, failure: TemplateReason) -> bool:
        return len(state.last) >= FEWEST and state.last.count(failure) >= OPENS_AT * len(state.last)

    def _passed_over(self, template: TemplateId) -> None:
        state = self._templates[template]
        if state.open is not None:
            state.open.passed_over += 1
            if state.open.passed_over == TRY_EVERY - 1:
                self._renew()

    def _renew(self) -> None:
        self._suspended = frozenset(
            (template, state.open.reason)
            for template, state in self._templates.items()
            if state.open is not None and state.open.passed_over < TRY_EVERY - 1
        )
