"""What a replay found in a partition and wrote, or would write."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from processor.domain.channel import Channel
from processor.domain.operation import OperationId
from processor.domain.outcome import Processed, Rejected
from processor.domain.record import TemplateId
from processor.replay.event_range import EventRange
from processor.replay.past_mapper import NothingToPublish
from processor.replay.plan import PlannedRecord
from processor.settings import Settings

_HOUR_MS: Final = 3_600_000


class Age(StrEnum):
    """How long ago the event of a message was written. The borders are those of the channels' age limits."""

    UNDER_1_H = "under 1 h"
    UNDER_24_H = "1 h to 24 h"
    UNDER_96_H = "24 h to 96 h"
    OVER_96_H = "over 96 h"


_BORDERS: Final = ((1, Age.UNDER_1_H), (24, Age.UNDER_24_H), (96, Age.UNDER_96_H))  # hours, exclusive -> age


def age_of(age_ms: int) -> Age:
    """The age of what was written `age_ms` ago; in the future counts as now."""
    return next((age for hours, age in _BORDERS if age_ms < hours * _HOUR_MS), Age.OVER_96_H)


def age_limits_ms(settings: Settings) -> Mapping[Channel, int]:
    """How old a message may become before it is not sent any more, by channel. TASK and EVENT_STREAM have no limit."""
    hours = {
        Channel.EMAIL: settings.email.max_age_h,
        Channel.SMS: settings.sms.max_age_h,
        Channel.WEB_HOOK: settings.webhook.max_age_h,
    }
    return {channel: limit * _HOUR_MS for channel, limit in hours.items()}


@dataclass(slots=True)
class PartitionReport:
    """What was found in one partition's range, and what is written of it, or would be.

    `with_outcome` counts offsets; `without` events that were read and had none; `unprovable` those of them of which a
    missing outcome proves nothing. `messages` counts by template, channel and age; `late` those past their channel's
    age limit. `examined_s` and `mapped_s` are how long it took.
    """

    events: EventRange
    goes_on: bool = False  #: An operation went on that was not done: its range is that with which it began.
    operation_under_way: str | None = None
    stop_reason: str = ""  #: Why the operation ended here before it was done.
    with_outcome: int = 0
    without: int = 0
    unprovable: int = 0
    unprovable_ranges: tuple[tuple[int, int], ...] = ()
    shortened: int = 0
    nothing: Counter[NothingToPublish] = field(default_factory=Counter)
    messages: Counter[tuple[TemplateId, Channel, Age]] = field(default_factory=Counter)
    late: Counter[Channel] = field(default_factory=Counter)
    recipients: dict[Channel, set[int]] = field(default_factory=dict)  #: Hashes of destinations; of a reissue alone.
    decisions: Counter[str] = field(default_factory=Counter)
    failed: Counter[tuple[TemplateId, str]] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)
    planned: dict[int, PlannedRecord] = field(default_factory=dict)  #: What gets an outcome, where a plan is made.
    records: int = 0  #: That get an outcome, or a further one.
    failing: int = 0  #: Those of them that are dead letters, whole or for a template.
    examined_s: float = 0.0
    mapped_s: float = 0.0

    @property
    def message_count(self) -> int:
        """Messages that are made."""
        return self.messages.total()

    @property
    def is_incomplete(self) -> bool:
        """Whether something stays missing whatever is written: deferred, or not to be proven."""
        return bool(self.nothing[NothingToPublish.DEFERRED] or self.unprovable)

    @property
    def is_missing_something(self) -> bool:
        """Whether there is something to be written, or something that cannot be."""
        return bool(self.records) or self.is_incomplete


def is_failing(outcome: Processed | Rejected) -> bool:
    """Whether a record is a dead letter, whole or for a template."""
    return isinstance(outcome, Rejected) or bool(outcome.failed)


class ReportCounter:
    """Counts outcomes into a report. `now_ms` is when the operation began, so that it counts one way throughout."""

    def __init__(
        self, report: PartitionReport, *, now_ms: int, limits_ms: Mapping[Channel, int], count_recipients: bool
    ) -> None:
        self._report = report
        self._count_recipients = count_recipients
        self._now_ms = now_ms
        self._limits_ms = limits_ms

    def add(self, outcome: Processed | Rejected) -> None:
        """Count what is published of one record."""
        report = self._report
        report.records += 1
        report.failing += is_failing(outcome)
        if isinstance(outcome, Rejected):
            report.dead_letters[outcome.reason] += 1
            return
        for created in outcome.messages:
            age_ms, channel = self._now_ms - created.time_ms, created.channel
            report.messages[created.template_id, channel, age_of(age_ms)] += 1
            if age_ms > self._limits_ms.get(channel, age_ms):
                report.late[channel] += 1
            if self._count_recipients:
                report.recipients.setdefault(channel, set()).add(hash(created.destination))
        report.decisions.update(skipped.reason for skipped in outcome.skipped)
        report.failed.update((failed.templateId, failed.reason) for failed in outcome.failed)


@dataclass(frozen=True, slots=True)
class OperationReport:
    """All partitions. `operation` is None for a dry run; `began_ms` is when it began; `stopped`: a person ended it
    before it was done."""

    partitions: tuple[PartitionReport, ...]
    operation: OperationId | None
    set_version: str
    began_ms: int
    stopped: bool = False

    def estimated_s(self, rate: float | None) -> float:
        """How long it would take to write what a dry run found: to find it once more, and to map and publish it, which
        takes about twice as long as to map it; at `rate` events a second at least as long as that takes."""
        examined_s = sum(report.examined_s for report in self.partitions)
        written_s = 2 * sum(report.mapped_s for report in self.partitions)
        records = sum(report.records for report in self.partitions)
        return examined_s + max(written_s, 0.0 if rate is None else records / rate)

    @property
    def is_missing_something(self) -> bool:
        """Whether there is something to do: of a dry run all that is missing, else what could not be done."""
        if self.operation is None:
            return any(report.is_missing_something for report in self.partitions)
        return self.stopped or any(report.is_incomplete or report.stop_reason for report in self.partitions)
