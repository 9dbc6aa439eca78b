"""Events that have an outcome elsewhere: the same event id at another offset of the partition."""

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from processor.domain.outcome import DecisionOutcome, SourceOutcome
from processor.domain.reasons import DecisionReason
from processor.engine.output_scan import OnProgress, OutcomeReader

MAX_IDS: Final = 2_000_000
"""That one search takes; a uuid in a dict is some 200 bytes."""

_IS_ELSEWHERE: Final = frozenset((DecisionReason.DUPLICATE_EVENT, DecisionReason.ALREADY_CREATED))


@dataclass(frozen=True, slots=True)
class KnownAt:
    """Where an event had its outcome: the offset of its source, when that counts as written (milliseconds since 1970),
    and the past operation that gave it, None: `run`."""

    offset: int
    time_ms: int
    operation: str | None


def find_known(
    outputs: OutcomeReader, offset_by_id: Mapping[str, int], *, on_progress: OnProgress | None = None
) -> dict[str, KnownAt]:
    """Which of the event ids have an outcome at another offset than theirs, by event id; the lowest such offset.

    One pass over all outputs that are kept: an event that was sent twice lies anywhere. Blocks; raises as
    `OutcomeReader.outcomes_from`, InputError too: what cannot be read may be an event's outcome.
    """
    if not offset_by_id:
        return {}
    begins = {topic: extent.first for topic, extent in outputs.extents().items()}
    with closing(outputs.outcomes_from(begins, on_progress=on_progress)) as outcomes:
        return known_among(outcomes, offset_by_id)


def known_among(outcomes: Iterable[SourceOutcome], offset_by_id: Mapping[str, int]) -> dict[str, KnownAt]:
    """The same, of these outcomes. A decision that an event is known elsewhere is none of its own."""
    known: dict[str, KnownAt] = {}
    for outcome in outcomes:
        event_id, offset = outcome.seen_event_id, outcome.source.offset
        if event_id is None or offset_by_id.get(event_id, offset) == offset:
            continue
        if event_id in known and known[event_id].offset <= offset:
            continue
        if isinstance(outcome, DecisionOutcome) and any(skipped.reason in _IS_ELSEWHERE for skipped in outcome.reasons):
            continue
        known[event_id] = KnownAt(offset, outcome.time_ms, outcome.operation)
    return known
