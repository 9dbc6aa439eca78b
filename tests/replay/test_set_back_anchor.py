"""Where a pass begins after a position was set back, on outputs that are planted."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from processor.domain.outcome import DecisionOutcome, SourceOutcome
from processor.domain.record import RecordPosition, Topic
from processor.engine.output_scan import FirstRecord, OutcomeReader
from processor.kafka.offsets import Extent
from processor.replay.anchor import MARGIN_MS, find_begin

STATUS, DECISIONS, DEAD_LETTERS = Topic("status"), Topic("decisions"), Topic("dead-letters")
HOUR_MS = 3_600_000


@dataclass
class PlantedOutputs:
    """Of each topic, what an OutcomeReader finds there: the time of each record and the offset of its source, in the
    order of the topic's offsets from 0 on."""

    records: Mapping[Topic, list[tuple[int, int]]]

    def extents(self) -> dict[Topic, Extent]:
        """As OutcomeReader, and so the others."""
        return {topic: Extent(0, len(records), len(records)) for topic, records in self.records.items()}

    def first_records(self) -> dict[Topic, FirstRecord | None]:
        return {topic: FirstRecord(0, records[0][0]) if records else None for topic, records in self.records.items()}

    def offsets_at(self, time_ms: int) -> dict[Topic, int]:
        return {
            topic: next((offset for offset, (at, _) in enumerate(records) if at >= time_ms), len(records))
            for topic, records in self.records.items()
        }

    def outcomes_from(self, begins: Mapping[Topic, int], *, strict: bool = True) -> Iterator[SourceOutcome]:
        assert not strict
        for topic, begin in begins.items():
            for time_ms, source in self.records[topic][begin:]:
                yield DecisionOutcome(
                    source=RecordPosition(Topic("banking.events"), 0, source),
                    time_ms=time_ms,
                    event_id=None,
                    event=None,
                    set_version=None,
                    operation=None,
                    reasons=(),
                    reasons_left_out=0,
                )


def test_an_anchor_of_a_later_pass() -> None:
    """Sources 0 to 19 were mapped, without a decision. Days later the position was set back, a template had a condition
    by then, and the first decision of all is of source 1; then the position was set forward again. The outcomes of 10
    to 19 are days older than that decision, and are met."""
    first_pass = [(source * HOUR_MS, source) for source in range(20)]
    outputs = PlantedOutputs({STATUS: first_pass, DECISIONS: [(200 * HOUR_MS, 1)], DEAD_LETTERS: []})

    begin = find_begin(cast(OutcomeReader, outputs), 10, time_ms=10 * HOUR_MS + HOUR_MS)

    assert begin.offsets[STATUS] <= 10
    assert MARGIN_MS == HOUR_MS
