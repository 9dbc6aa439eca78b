"""The redrive of one partition's dead letters: what each of them lacks, batch by batch. Nothing is published here.

dead letters with their states ── selected? ── messages that exist? ── event ids elsewhere? ── map, from their own bytes

Non-obvious: which dead letters are open is what `processor dead-letters` says (dead_letters.py): those without a later
outcome. That a message exists is known by event id and template, whenever it was made, and of whichever record of the
event: a template may have failed after it had made its message once, when a position was set back, or its event may
have been sent twice.
"""

import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from processor.domain.event import SourceEvent
from processor.domain.outcome import Processed, Rejected
from processor.domain.output_topics import FixedOutput
from processor.domain.record import RecordPosition, SourceRecord, TemplateId
from processor.engine.deduplication import DeduplicationWindow
from processor.engine.start_offsets import READ_HINT, group_positions
from processor.engine.startup_guard import refuse_bad_deployment
from processor.kafka.offsets import end_offset
from processor.mapping.already_created import skip_created_event
from processor.mapping.context import MappingContext
from processor.mapping.map import combine_results, map_event
from processor.replay.dead_letter_groups import DeadLetterFilter
from processor.replay.dead_letters import (
    DeadLetterEntry,
    DeadLetterState,
    StoredDeadLetter,
    read_dead_letters,
    read_stored,
)
from processor.replay.edited_letters import EditedLetter
from processor.replay.event_ids import EventIds, EventMessages
from processor.replay.event_range import EventRange
from processor.replay.event_reader import read_event_at
from processor.replay.examine import PartitionParts
from processor.replay.known_events import KnownAt, find_known, find_messages
from processor.replay.operation import MappedBatch, OnPhase
from processor.replay.past_mapper import NothingToPublish, decode_now, map_or_reject
from processor.replay.report import PartitionReport, ReportCounter, age_limits_ms, is_failing
from processor.replay.searched_ids import SearchedIds
from processor.settings import InputTopic

CANARY_RECORDS: Final = 20  # of the first batch
BATCH_RECORDS: Final = 100  # of each later one, so that it stops in time
JUDGED_RECORDS: Final = 100  # the last ones, whose share of failures stops it


@dataclass(frozen=True, slots=True)
class RedriveJob:
    """What is to be done in any partition.

    `states`: OPEN, and PARKED where that is asked for. `stop_at`: the share of failures, of the last 100, above which
    it stops. `began_ms` is when the operation began, `batch_records` the most records of a batch. `edited`: only these,
    as a person has corrected them.
    """

    selected: DeadLetterFilter
    states: Collection[DeadLetterState]
    stop_at: float
    began_ms: int
    batch_records: int
    edited: Mapping[RecordPosition, EditedLetter] | None = None


class PartitionRedrive:
    """Redrives the dead letters of one partition. For use once: `prepare`, then `batches`."""

    def __init__(self, parts: PartitionParts, job: RedriveJob, events: EventRange, on_phase: OnPhase) -> None:
        """`events` has the offsets of the partition's events: any of them may have a dead letter."""
        self._parts = parts
        self._job = job
        self.events = events
        self._on_phase = on_phase
        self.report = PartitionReport(events)
        self._counter = ReportCounter(
            self.report, now_ms=job.began_ms, limits_ms=age_limits_ms(parts.settings), count_recipients=False
        )
        self._entries: list[DeadLetterEntry] = []
        self._messages = EventMessages({}, lambda _event_id: True)
        self._ids: EventIds | None = None
        self._searched = SearchedIds(parts.context, schema_of=parts.schema_of)

    def prepare(self, *, require_proof: bool) -> None:
        """Read which dead letters are open, and what exists of their sources. Blocks.

        Raises InputError for an output that cannot be read: it may be a message that exists. A dead letter is proof of
        what is missing; `require_proof`: where nearly all are of another tenant, that is an InputError too.
        """
        began, parts = time.monotonic(), self._parts
        entries = read_dead_letters(
            parts.settings,
            self.events.partition,
            parts.outputs,
            admin=parts.admin,
            on_progress=lambda done, total: self._on_phase("dead letters", done, total),
            strict=True,
        )
        ahead = self._offsets_ahead()
        for entry in entries:
            if not self._is_selected(entry):
                continue
            if entry.source is not None and entry.source.offset in ahead:
                self.report.nothing[NothingToPublish.OF_RUN] += 1
            elif entry.is_complete:
                self._entries.append(entry)
            else:
                self.report.shortened += 1
        if self._entries:
            self._search()
            tenants = [cause if cause is not None and cause.is_tenant else None for cause in self._searched.causes]
            if require_proof:  # what is rejected again is no sign of it
                refuse_bad_deployment(tenants, parts.settings.max_rejected_ratio, at_end=True)
        self.report.examined_s = time.monotonic() - began

    def _offsets_ahead(self) -> range:
        """The records that `run` comes to, again where the group's position was set back: they are its own. None where
        the group has no position. To be asked for once the dead letters are read, as it goes on meanwhile."""
        settings, partition = self._parts.settings, self.events.partition
        position = group_positions(settings, [partition]).get(partition)
        if position is None:
            return range(0)
        topic = settings.topic(InputTopic.EVENTS)
        return range(position, end_offset(self._parts.admin, topic, partition, hint=READ_HINT))

    def _is_selected(self, entry: DeadLetterEntry) -> bool:
        job = self._job
        if not (entry.is_of_events and entry.state in job.states and job.selected.includes(entry)):
            return False
        return job.edited is None or entry.source in job.edited

    def batches(self) -> Iterator[MappedBatch]:
        """What is to be published, in the order in which the dead letters were written: a canary first.

        Ends early, with the report's `stop_reason`, when too many fail. Blocks; UnavailableError when the registry does
        not respond.
        """
        began, last = time.monotonic(), deque[bool](maxlen=JUDGED_RECORDS)
        outcomes: list[Processed | Rejected] = []
        next_offset, size, output_bytes = self.events.first, min(CANARY_RECORDS, self._job.batch_records), 0
        for count, stored in enumerate(read_stored(self._parts.settings, self.events.partition, self._entries), 1):
            outcome = self._map(stored)
            next_offset = max(next_offset, stored.record.position.offset + 1)
            self._on_phase("dead letters redriven", count, len(self._entries))
            if isinstance(outcome, NothingToPublish):
                self.report.nothing[outcome] += 1
                continue
            self._counter.add(outcome)
            outcomes.append(outcome)
            last.append(is_failing(outcome))
            output_bytes += outcome.output_bytes
            if len(outcomes) == size or output_bytes >= self._parts.settings.max_batch_bytes:
                yield MappedBatch(tuple(outcomes), next_offset)
                left_of_canary = CANARY_RECORDS - len(last)
                most = left_of_canary if left_of_canary > 0 else BATCH_RECORDS
                outcomes, size, output_bytes = [], min(most, self._job.batch_records), 0
                if self._must_stop(last):
                    break
        yield MappedBatch(tuple(outcomes), next_offset)
        self.report.mapped_s = time.monotonic() - began

    def _must_stop(self, last: Collection[bool]) -> bool:
        """Whether too many fail; then the report says so."""
        share = sum(last) / len(last)
        if len(last) < CANARY_RECORDS or share <= self._job.stop_at:
            return False
        self.report.stop_reason = f"{sum(last)} of the last {len(last)} failed again"
        return True

    def _map(self, stored: StoredDeadLetter) -> Processed | Rejected | NothingToPublish:
        record = self._record(stored)
        if record is None:
            return NothingToPublish.EXPIRED
        outcome = map_or_reject(record, partial(self._map_record, stored), self._parts.context)
        is_unread = record.position.offset in self._searched.unread
        if not isinstance(outcome, Processed):
            return outcome
        if is_unread:
            return NothingToPublish.DEFERRED  # its message may exist at another offset
        self._messages.add(outcome)
        return outcome

    def _record(self, stored: StoredDeadLetter) -> SourceRecord | None:
        """The source as `run` read it, for another attempt; None where its bytes are nowhere any more."""
        entry, record = stored.entry, stored.record
        if self._job.edited is not None:
            record = self._job.edited[record.position].of(record)
        elif entry.value_bytes is not None:
            found = self._read_source(record, value_bytes=entry.value_bytes)
            if found is None:
                return None
            record = found
        return record._replace(attempt=entry.attempts + 1)

    def _read_source(self, record: SourceRecord, *, value_bytes: int) -> SourceRecord | None:
        """What lies at the place of `record`, whose value has `value_bytes`; None where it has expired, or is another
        one: the topic was created again, or is a mirror."""
        parts, position = self._parts, record.position
        found = read_event_at(parts.settings, parts.admin, position.partition, position.offset)
        if found is None or (found.timestamp_ms, len(found.value or b"")) != (record.timestamp_ms, value_bytes):
            return None
        return found

    def _map_record(
        self, stored: StoredDeadLetter, record: SourceRecord, context: MappingContext
    ) -> Processed | Rejected | NothingToPublish:
        decoded = decode_now(record, context, schema_of=self._parts.schema_of)
        if isinstance(decoded, Processed) and stored.entry.failed:
            return NothingToPublish.OTHER_TENANT  # it was mapped for this tenant once, and its decision would end that
        if not isinstance(decoded, SourceEvent):
            return decoded
        return self._map_failed(decoded, stored) if stored.entry.failed else self._map_rejected(decoded)

    def _map_rejected(self, source: SourceEvent) -> Processed:
        """The outcome of a record that had none but its dead letter; what exists of it is left as it is."""
        assert self._ids is not None
        found_at = self._ids.found_at(source)
        self._ids.remember(source)
        if found_at is not None:
            return skip_created_event(source, self._parts.context, found_at=found_at)
        named = frozenset(template.id for template in self._parts.context.templates.for_event(source.name))
        existing = self._messages.existing(source, named)
        if not existing:
            return map_event(source, self._parts.context, suspended=frozenset(), duplicate_of=None)
        return self._map_templates(source, named.difference(existing), existing)

    def _map_failed(self, source: SourceEvent, stored: StoredDeadLetter) -> Processed | NothingToPublish:
        """The outcome of the selected templates that failed, and have had no outcome since."""
        entry, selected = stored.entry, self._job.selected
        asked = frozenset(failed.template for failed in entry.open_failed if selected.includes_template(entry, failed))
        existing = self._messages.existing(source, asked)
        named = {template.id for template in self._parts.context.templates.for_event(source.name)}
        to_apply = (asked & named).difference(existing)
        if not to_apply and not existing:
            return NothingToPublish.TEMPLATE_GONE
        return self._map_templates(source, to_apply, existing)

    def _map_templates(
        self, source: SourceEvent, to_apply: frozenset[TemplateId], existing: Collection[TemplateId]
    ) -> Processed:
        context = self._parts.context
        outcome = map_event(source, context, suspended=frozenset(), duplicate_of=None, only=to_apply)
        results = [*outcome.results, *(self._messages.skip(source, template, context) for template in existing)]
        return combine_results(source, context, results)

    def _search(self) -> None:
        """Find out which messages of the selected events there are, and which events of rejected records have an
        outcome all the same, at another offset."""
        parts, operation = self._parts, self._parts.context.operation
        ids = set[str]()
        for count, stored in enumerate(read_stored(parts.settings, self.events.partition, self._entries), 1):
            record = self._record(stored)
            if record is not None:
                source = self._searched.read(record) if stored.entry.failed else self._searched.add(record)
                ids.update(() if source is None else (source.id,))
            self._on_phase("events of dead letters", count, len(self._entries))
        messages = find_messages(
            parts.outputs,
            parts.settings.topic(FixedOutput.STATUS),
            lambda event_id, _status: event_id in ids,
            on_progress=lambda done, total: self._on_phase("statuses", done, total),
        )
        self._messages = EventMessages(messages, lambda _event_id: True)
        known: Mapping[str, KnownAt] = find_known(
            parts.outputs,
            self._searched.offsets,
            on_progress=lambda done, total: self._on_phase("event ids", done, total),
        )
        self._ids = EventIds(
            known,
            self._searched.offsets,
            DeduplicationWindow(records=0, age_ms=0),  # another record of an event is found wherever it lies
            tenant=parts.context.tenant,
            place=(parts.settings.topic(InputTopic.EVENTS), self.events.partition),
            operation=None if operation is None else operation.id,
        )
