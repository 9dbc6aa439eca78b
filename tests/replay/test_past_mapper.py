"""What an operation on the past makes of one event."""

import pytest

from processor.domain.event import Event
from processor.domain.outcome import MappingPath, Processed
from processor.domain.record import EventName, SourceRecord, TemplateId
from processor.engine.deduplication import DeduplicationWindow
from processor.mapping.scanned_event import EventScanner
from processor.replay.event_ids import EventIds, EventMessages
from processor.replay.past_mapper import PastMapper
from processor.replay.searched_ids import SearchedIds
from processor.replay.selection import Selection
from tests.support.builders import TENANT, make_context, make_template, schemas
from tests.support.planned import avro_record, with_plans

NOTE = make_template("note")


class NoOutcomes:
    """TemplatesToApply of events without any outcome."""

    is_limited = False

    def may_miss(self, _offset: int) -> bool:
        """As TemplatesToApply has it, as all of these."""
        return True

    def has_any(self, _offset: int) -> bool:
        return False

    def of_event(self, _offset: int, _event: EventName) -> frozenset[TemplateId]:
        return frozenset((NOTE.id,))

    def decided(self, _offset: int) -> frozenset[TemplateId]:
        return frozenset()


def test_an_event_that_was_scanned_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name and id are those of the scan, its message is the plan's: to read it takes longer than all of that."""

    def read_event(_scanner: EventScanner, record: SourceRecord) -> Event:
        raise AssertionError(f"{record.position} is read")

    monkeypatch.setattr(EventScanner, "read_event", read_event)
    context, record, local = with_plans(make_context(NOTE)), avro_record(), schemas().local_schema
    searched = SearchedIds(context, schema_of=local)
    window, place = DeduplicationWindow(records=10, age_ms=1), (record.position.topic, record.position.partition)
    mapper = PastMapper(
        context,
        schema_of=local,
        selection=Selection(events=frozenset((EventName("LOAN_REPAYMENT"),))),
        templates=NoOutcomes(),
        event_ids=EventIds({}, searched.offsets, window, tenant=TENANT, place=place, operation=None),
        messages=EventMessages({}, lambda _event_id: True),
    )
    searched.add(record)
    outcome = mapper.map(record)

    assert 1 == len(searched.offsets)
    assert isinstance(outcome, Processed)
    assert MappingPath.PLAIN is outcome.path
