"""CircuitBreakers: a template that fails almost always is suspended, and tried again now and then.

A suspended template still gets its entry in each record's dead letter, so a redrive makes the message.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import repeat

import structlog

from processor.domain.outcome import Processed
from processor.domain.reasons import TemplateReason
from processor.domain.record import TemplateId
from processor.mapping.context import Suspended

log = structlog.get_logger()

MAX_CALLS = 200  # of a template that are looked back at; a call is one record, tried or not
MIN_CALLS = 100  # before a breaker opens
OPEN_FAILURE_RATIO = 0.95
PROBE_EVERY = 100  # records while it is open
CLOSE_SUCCESSES = 10  # probes in a row


@dataclass(slots=True)
class _Open:
    reason: TemplateReason
    skipped: int = 0  # records since the last probe
    successes: int = 0  # probes in a row that gave a message


@dataclass(slots=True)
class _Template:
    version: int
    calls: deque[TemplateReason | None] = field(default_factory=lambda: deque(maxlen=MAX_CALLS))  # None: a message
    messages: int = 0  # calls behind these, each of which gave a message: a run of them is added when it ends
    open: _Open | None = None


class CircuitBreakers:
    """One for each (template, reason). Records every outcome, in order; a batch that is mapped again counts again."""

    def __init__(self) -> None:
        self._templates: dict[TemplateId, _Template] = {}
        self._suspended: Suspended = frozenset()
        self.open_templates: frozenset[TemplateId] = frozenset()  #: Of `open_breakers`, without their reasons.

    def suspended_now(self) -> Suspended:
        """For the next record: what is open, but for those whose next probe is due."""
        return self._suspended

    def open_breakers(self) -> Suspended:
        """All that are open, probed just now or not: what an operator should know of."""
        return frozenset(
            (template, state.open.reason) for template, state in self._templates.items() if state.open is not None
        )

    def reset_changed(self, versions: Mapping[TemplateId, int]) -> None:
        """The templates in use are now these: one that is gone, or another version, is no longer suspended."""
        self._templates = {
            template: state for template, state in self._templates.items() if versions.get(template) == state.version
        }
        self._update_suspended()

    def record(self, outcome: Processed) -> None:
        """Learn from one outcome."""
        for result in outcome.results:
            created, failed = result.message, result.failed
            if created is not None:
                self.record_messages(created.template_id, created.template_version)
            elif failed is not None and failed.reason is TemplateReason.TEMPLATE_SUSPENDED:
                self._record_skip(failed.templateId)
            elif failed is not None:
                self._record_failure(failed.templateId, failed.templateVersion, failed.reason)

    def record_messages(self, template: TemplateId, version: int, count: int = 1) -> None:
        """Learn that a template has made so many messages, one after the other."""
        state = self._state(template, version)
        while count and state.open is not None:
            self._record_probe(template, state, is_message=True)
            count -= 1
        state.messages += count

    def _record_failure(self, template: TemplateId, version: int, failure: TemplateReason) -> None:
        state = self._state(template, version)
        if state.open is not None:
            self._record_probe(template, state, is_message=False)
            return
        state.calls.extend(repeat(None, min(state.messages, MAX_CALLS)))
        state.messages = 0
        state.calls.append(failure)
        if self._should_open(state, failure):
            state.open = _Open(failure)
            self._update_suspended()
            log.error("template suspended", template=template, version=version, reason=failure)

    def _state(self, template: TemplateId, version: int) -> _Template:
        """What is known of a version of a template; another version's is forgotten."""
        state = self._templates.get(template)
        if state is None or state.version != version:
            state = self._templates[template] = _Template(version)
            self._update_suspended()
        return state

    def _record_probe(self, template: TemplateId, state: _Template, *, is_message: bool) -> None:
        """A template that is suspended was tried."""
        assert state.open is not None
        state.open.skipped = 0
        state.open.successes = state.open.successes + 1 if is_message else 0
        if state.open.successes >= CLOSE_SUCCESSES:
            state.open = None
            state.calls.clear()
            log.warning("template resumed", template=template, version=state.version)
        self._update_suspended()

    def _should_open(self, state: _Template, failure: TemplateReason) -> bool:
        return len(state.calls) >= MIN_CALLS and state.calls.count(failure) >= OPEN_FAILURE_RATIO * len(state.calls)

    def _record_skip(self, template: TemplateId) -> None:
        state = self._templates[template]
        if state.open is not None:
            state.open.skipped += 1
            if state.open.skipped == PROBE_EVERY - 1:
                self._update_suspended()

    def _update_suspended(self) -> None:
        self.open_templates = frozenset([template for template, _ in self.open_breakers()])
        self._suspended = frozenset(
            (template, state.open.reason)
            for template, state in self._templates.items()
            if state.open is not None and state.open.skipped < PROBE_EVERY - 1
        )
