"""Which dead letters a person means, and how they are counted. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from processor.domain.reasons import Reason, TemplateReason
from processor.domain.record import EventName, TemplateId
from processor.replay.dead_letters import DeadLetterEntry, DeadLetterState, FailedPair
from processor.wire.json_codec import format_millis

NOT_READABLE = "(headers cannot be read)"  #: In place of the reason of such a dead letter.
NO_EVENT = "(not read that far)"
NO_TEMPLATE = "(the record)"  #: In place of a template where the record was rejected as a whole.


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """What a person selects; None: no limit of that kind.

    `reasons` are codes of records or of failed templates, `from_ms` and `to_ms` limit the source's time, [from, to),
    `min_attempts` is the least number of attempts.
    """

    reasons: frozenset[str] | None = None
    templates: frozenset[TemplateId] | None = None
    events: frozenset[EventName] | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    min_attempts: int = 1

    def includes(self, entry: DeadLetterEntry) -> bool:
        """Whether a dead letter is meant, whatever its state."""
        if (self.from_ms is not None and entry.time_ms < self.from_ms) or (
            self.to_ms is not None and entry.time_ms >= self.to_ms
        ):
            return False
        if self.events is not None and entry.event not in self.events:
            return False
        if self.templates is not None and not any(failed.template in self.templates for failed in entry.listed):
            return False
        return entry.attempts >= self.min_attempts and (self.reasons is None or self._has_reason(entry, self.reasons))

    def includes_template(self, entry: DeadLetterEntry, failed: FailedPair) -> bool:
        """Whether one of the templates that a dead letter lists is meant."""
        if self.templates is not None and failed.template not in self.templates:
            return False
        return self.reasons is None or entry.reason in self.reasons or failed.reason in self.reasons

    def _has_reason(self, entry: DeadLetterEntry, reasons: frozenset[str]) -> bool:
        return entry.reason in reasons or any(
            failed.reason in reasons and (self.templates is None or failed.template in self.templates)
            for failed in entry.listed
        )


REASON_CODES: tuple[str, ...] = tuple(dict.fromkeys((*map(str, Reason), *map(str, TemplateReason))))
"""What `reasons` of a filter may name."""


class GroupBy(StrEnum):
    """By what dead letters are counted."""

    REASON = "reason"
    TEMPLATE = "template"
    EVENT = "event"
    PARTITION = "partition"
    STATE = "state"
    ATTEMPTS = "attempts"
    DAY = "day"  #: Of the source's time, in UTC.


@dataclass(slots=True)
class DeadLetterGroup:
    """The dead letters that have something in common, counted by state. Times are of the sources; `example` is the one
    whose source is the newest."""

    key: str
    example: DeadLetterEntry
    oldest_ms: int
    newest_ms: int
    states: Counter[DeadLetterState] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """Of all states."""
        return self.states.total()

    def add(self, entry: DeadLetterEntry) -> None:
        """Count one more."""
        self.states[entry.state] += 1
        self.oldest_ms = min(self.oldest_ms, entry.time_ms)
        if entry.time_ms >= self.newest_ms:
            self.newest_ms, self.example = entry.time_ms, entry


def group(entries: Iterable[DeadLetterEntry], by: GroupBy) -> list[DeadLetterGroup]:
    """Reasons, templates and events by their number, the most first; all else by its value.

    A dead letter counts once for each template that it lists.
    """
    groups: dict[str, DeadLetterGroup] = {}
    order: dict[str, int | str] = {}
    for entry in entries:
        for key, value in _keys(entry, by).items():
            if key not in groups:
                groups[key] = DeadLetterGroup(key, entry, entry.time_ms, entry.time_ms)
                order[key] = value
            groups[key].add(entry)
    if by in (GroupBy.REASON, GroupBy.TEMPLATE, GroupBy.EVENT):
        return sorted(groups.values(), key=lambda group: (-group.count, group.key))
    return sorted(groups.values(), key=lambda group: order[group.key])


def _keys(entry: DeadLetterEntry, by: GroupBy) -> Mapping[str, int | str]:
    """The groups to which a dead letter belongs, and by what they are put in order."""
    match by:
        case GroupBy.REASON:
            keys: list[str] = [NOT_READABLE if entry.reason is None else entry.reason.value]
        case GroupBy.TEMPLATE:
            keys = [failed.template for failed in entry.listed] or [NO_TEMPLATE]
        case GroupBy.EVENT:
            keys = [NO_EVENT if entry.event is None else entry.event]
        case GroupBy.PARTITION:
            return {str(entry.partition): entry.partition}
        case GroupBy.STATE:
            keys = [entry.state.value]
        case GroupBy.ATTEMPTS:
            return {str(entry.attempts): entry.attempts}
        case GroupBy.DAY:
            keys = [format_millis(entry.time_ms)[:10]]
    return {key: key for key in keys}
