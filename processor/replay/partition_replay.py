"""The replay of one partition: what its events are missing, batch by batch. Nothing is published here.

examine the outputs ── ids of events that miss something ── known elsewhere? ── read and map what may be missing
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from processor.domain.operation_record import (
    AssignedRecord,
    Operation,
    OperationState,
    PositionsRecord,
    ProgressRecord,
)
from processor.domain.outcome import Processed, Rejected, StatusOutcome
from processor.domain.output_topics import FixedOutput
from processor.domain.record import SourceRecord
from processor.engine.deduplication import DeduplicationWindow
from processor.engine.start_offsets import READ_HINT
from processor.engine.startup_guard import refuse_bad_deployment
from processor.errors import InputError
from processor.kafka.offsets import partition_extent
from processor.replay.assigned_stretches import assigned_stretches, largest_provable, unprovable_ranges
from processor.replay.event_ids import EventIds, EventMessages
from processor.replay.event_range import EventRange
from processor.replay.event_reader import read_events, spans
from processor.replay.examine import Examination, PartitionParts, examine, first_record
from processor.replay.known_events import MAX_IDS, KnownAt, Messages, find_known, find_messages
from processor.replay.missing import MissingTemplates, ReissuedTemplates
from processor.replay.operation import BATCH_TIME_S, MappedBatch, OnPhase
from processor.replay.operation_log import operation_records
from processor.replay.past_mapper import NothingToPublish, PastMapper, TemplatesToApply
from processor.replay.plan import PlannedPartition, PlannedRecord, planned_record, require_planned
from processor.replay.report import PartitionReport, ReportCounter, age_limits_ms
from processor.replay.request import ReplayRequest
from processor.replay.searched_ids import SearchedIds
from processor.replay.set_history import SetHistory
from processor.settings import InputTopic

_PROGRESS_INTERVAL_RECORDS: Final = 1_000
_SEVERAL: Final = -1  # in place of an offset: the event has several records that get further templates
ASSIGNED_MARGIN_MS: Final = 25 * 3_600_000
"""`run` says once a day under which values it maps, so what was written a little over a day before an event is enough
to know that nobody mapped it unsaid."""


@dataclass(frozen=True, slots=True)
class ReplayJob:
    """What is to be done in any partition.

    `history` has the template sets of the past; `began_ms` is when the operation began; `batch_records` limits a batch.
    `planned`: nothing else is done. `makes_plan`: the report says of each record which outcomes it gets.
    """

    request: ReplayRequest
    history: SetHistory
    began_ms: int
    batch_records: int
    planned: PlannedPartition | None = None
    makes_plan: bool = False


class PartitionReplay:
    """Replays one range of events. For use once: `prepare`, then `batches`."""

    def __init__(self, parts: PartitionParts, job: ReplayJob, events: EventRange, on_phase: OnPhase) -> None:
        self._parts = parts
        self._job = job
        self._request = job.request
        self.events = events
        self._on_phase = on_phase
        self._interned: dict[PlannedRecord, PlannedRecord] = {}  # few are different
        self._place = f"{parts.settings.topic(InputTopic.EVENTS)}[{events.partition}]"
        self.report = PartitionReport(events)
        self._counter = ReportCounter(
            self.report,
            now_ms=job.began_ms,
            limits_ms=age_limits_ms(parts.settings),
            count_recipients=job.request.reissue,
        )
        self._templates: TemplatesToApply | None = None
        self._ids: dict[str, KnownAt] = {}
        self._messages: Messages = {}
        self._further: dict[str, int] = {}  # offsets of events that get further templates; _SEVERAL
        self._searched = SearchedIds(parts.context, schema_of=parts.schema_of)

    def prepare(self, *, require_proof: bool) -> None:
        """Read what became of the events. Blocks.

        `require_proof`: an event whose missing outcome proves nothing is an InputError, which names what is provable,
        and so are events that nearly all are another tenant's or rejected; else such events are counted. Raises as
        `examine`, InputError too for a template set that is not kept.
        """
        began, report, events = time.monotonic(), self.report, self.events
        if events.first >= events.end:
            return
        first = first_record(self._parts, events)
        if first is None:
            return
        if not self._request.reissue:  # it is for messages that exist
            report.unprovable_ranges = self._unprovable_ranges(first)
        if report.unprovable_ranges and require_proof:
            raise self._unprovable_error()
        found = examine(
            self._parts,
            events,
            self._request,
            time_ms=first.timestamp_ms,
            on_progress=self._track("outputs"),
        )
        report.shortened = found.shortened
        report.with_outcome = sum(map(found.index.has_outcome, range(events.first, events.end)))
        self._templates = self._templates_to_apply(found)
        self._search(self._templates)
        if require_proof:  # what is written for a wrong tenant cannot be taken back
            refuse_bad_deployment(self._searched.causes, self._parts.settings.max_rejected_ratio, at_end=True)
        report.examined_s = time.monotonic() - began

    def _templates_to_apply(self, found: Examination) -> TemplatesToApply:
        scope, context = self._request.scope, self._parts.context
        if self._request.reissue:
            return ReissuedTemplates(found.index, context.templates, scope.templates)
        missing = MissingTemplates(found.index, context.templates, self._job.history, scope)
        if scope.include_new:
            for mapped in found.index.kinds():
                if mapped.set_version is not None and mapped.set_version not in self._job.history:
                    raise InputError(
                        f"events of {self._place} were mapped with template set {mapped.set_version}, which is not "
                        "kept: it is unknown whether it had the templates of --include-new",
                        hint="take a later range; `run` keeps each set that it works with",
                    )
        return missing

    def batches(self) -> Iterator[MappedBatch]:
        """What is to be published, in the order of the events; a batch without outcomes says how far it is.

        Blocks. UnavailableError when the registry does not respond.
        """
        if self._templates is None:
            return
        began, settings = time.monotonic(), self._parts.settings
        mapper = self._mapper(self._templates)
        outcomes: list[Processed | Rejected] = []
        output_bytes, until, offset = 0, began + BATCH_TIME_S, self.events.first
        for record in self._records(self._templates):
            offset = record.position.offset
            outcome = self._map(mapper, record)
            if outcome is not None:
                outcomes.append(outcome)
                output_bytes += outcome.output_bytes
            is_full = len(outcomes) >= self._job.batch_records or output_bytes >= settings.max_batch_bytes
            if is_full or time.monotonic() >= until:
                yield MappedBatch(tuple(outcomes), offset + 1)
                self._on_phase("events", offset + 1 - self.events.first, self.events.end - self.events.first)
                outcomes, output_bytes, until = [], 0, time.monotonic() + BATCH_TIME_S
        yield MappedBatch(tuple(outcomes), self.events.end)
        self.report.mapped_s = time.monotonic() - began

    def _map(self, mapper: PastMapper, record: SourceRecord) -> Processed | Rejected | None:
        assert self._templates is not None
        report, offset = self.report, record.position.offset
        has_any = self._templates.has_any(offset)
        report.without += not has_any
        if not has_any and any(low <= offset < high for low, high in report.unprovable_ranges):
            report.unprovable += 1
            return None
        outcome = mapper.map(record)
        if offset in self._searched.unread and isinstance(outcome, Processed):
            outcome = NothingToPublish.DEFERRED  # its message may exist at another offset
        if isinstance(outcome, NothingToPublish):
            report.nothing[outcome] += 1
            return None
        if self._job.planned is not None:
            require_planned(self._job.planned, outcome)
        self._counter.add(outcome)
        if self._job.makes_plan:
            planned = planned_record(outcome)
            report.planned[offset] = self._interned.setdefault(planned, planned)
        return outcome

    def _records(self, templates: TemplatesToApply) -> Iterator[SourceRecord]:
        ranges = spans(self.events, templates.may_miss)
        return read_events(self._parts.settings, self.events.partition, ranges, templates.may_miss)

    def _mapper(self, templates: TemplatesToApply) -> PastMapper:
        parts, settings = self._parts, self._parts.settings
        deduplication, operation = settings.deduplication, parts.context.operation
        event_ids = EventIds(
            self._ids,
            self._searched.offsets,
            DeduplicationWindow(records=deduplication.records, age_ms=deduplication.age_s * 1000),
            tenant=parts.context.tenant,
            place=(settings.topic(InputTopic.EVENTS), self.events.partition),
            operation=None if operation is None else operation.id,
        )
        return PastMapper(
            parts.context,
            schema_of=parts.schema_of,
            selection=self._request.selection,
            templates=templates,
            event_ids=event_ids,
            messages=EventMessages(self._messages, lambda event_id: self._further.get(event_id) == _SEVERAL),
        )

    def _search(self, templates: TemplatesToApply) -> None:
        """Find out which events without an outcome have one all the same, at another offset, and which of those that
        get further templates have their messages there."""
        searched, count = self._searched, self.events.end - self.events.first
        for number, record in enumerate(self._records(templates)):
            if number % _PROGRESS_INTERVAL_RECORDS == 0:
                self._on_phase("events to be searched for", record.position.offset - self.events.first, count)
            if templates.has_any(record.position.offset):
                self._note_further(record, templates)
            else:
                searched.add(record)
            if len(searched.offsets) + len(self._further) > MAX_IDS:
                raise InputError(
                    f"{self._place} has more than {MAX_IDS} events that miss something, too many for one search",
                    hint=f"--offsets {self.events.first}:{record.position.offset}, then the rest",
                )
        self._on_phase("events to be searched for", count, count)
        self._ids = find_known(self._parts.outputs, searched.offsets, on_progress=self._track("event ids"))
        if self._further:
            self._messages = self._messages_elsewhere()

    def _note_further(self, record: SourceRecord, templates: TemplatesToApply) -> None:
        """Note an event that has outcomes, if it gets further ones."""
        source, offset = self._searched.read(record), record.position.offset
        if source is None or not self._request.selection.includes(source):
            return
        if templates.of_event(offset, source.name):
            event_id = source.id
            self._further[event_id] = _SEVERAL if event_id in self._further else offset

    def _messages_elsewhere(self) -> Messages:
        """The messages that other records of these events have made; for a reissue its own alone, those of before it
        went on."""
        operation = self._parts.context.operation
        own = operation.id if operation is not None and operation.reissue else None

        def is_wanted(event_id: str, status: StatusOutcome) -> bool:
            offset = self._further.get(event_id)
            return offset is not None and offset != status.source.offset and own in (None, status.operation)

        statuses = self._parts.settings.topic(FixedOutput.STATUS)
        return find_messages(self._parts.outputs, statuses, is_wanted, on_progress=self._track("statuses"))

    def _unprovable_ranges(self, first: SourceRecord) -> tuple[tuple[int, int], ...]:
        """Where a missing outcome proves nothing, since nobody knows whether decisions were written."""
        parts, events = self._parts, self.events
        records: list[Operation] = []  # few of them: a slow operation writes progress by the ten thousand
        oldest_ms: int | None = None
        for logged in operation_records(parts.settings, events.partition, admin=parts.admin):
            oldest_ms = logged.time_ms if oldest_ms is None else min(oldest_ms, logged.time_ms)
            match logged.record:
                case AssignedRecord() | PositionsRecord() | ProgressRecord(state=OperationState.STOPPED):
                    records.append(logged.record)
        stretches = assigned_stretches(records)
        operations = parts.settings.topic(FixedOutput.OPERATIONS)
        extent = partition_extent(parts.admin, operations, events.partition, hint=READ_HINT)
        reaches_back = extent.first == 0 or (
            oldest_ms is not None and oldest_ms <= first.timestamp_ms - ASSIGNED_MARGIN_MS
        )
        return unprovable_ranges(stretches, events.first, events.end, reaches_back=reaches_back)

    def _unprovable_error(self) -> InputError:
        ranges, events = self.report.unprovable_ranges, self.events
        shown = ", ".join(f"{low} to {high - 1}" for low, high in ranges[:3])
        part = largest_provable(ranges, events.first, events.end)
        hint = "leave these offsets out" if part is None else f"`--offsets {part[0]}:{part[1]}` is what can be proven"
        return InputError(
            f"of {self._place} at offsets {shown} a missing outcome proves nothing: they were mapped while "
            "PROCESSOR_DECISIONS was not `all`, or it is not known any more",
            hint=hint,
        )

    def _track(self, what: str) -> Callable[[int, int], None]:
        return lambda done, total: self._on_phase(what, done, total)
