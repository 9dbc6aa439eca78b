"""Events that have an outcome elsewhere: the same event id at another offset of the partition."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from processor.domain.outcome import DeadLetterOutcome, DecisionOutcome, SourceOutcome, StatusOutcome
from processor.domain.reasons import DecisionReason
from processor.domain.record import EncodedKey, TemplateId, Topic
from processor.engine.output_scan import OnProgress, OutcomeReader

MAX_IDS: Final = 2_000_000
"""That one search takes; each is some 140 bytes (`event_offsets.py`)."""

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
    """The same, of these outcomes. A decision that an event is known elsewhere is none of its own, and a dead letter of
    such a record is none any more: else each of two records would be left for the other's sake."""
    known: dict[str, KnownAt] = {}
    dead: dict[str, list[KnownAt]] = {}  # by dead letters, of few events
    left = set[int]()  # offsets of records that were left, as their event is known elsewhere
    for outcome in outcomes:
        event_id, offset = outcome.seen_event_id, outcome.source.offset
        if event_id is None or event_id not in offset_by_id:
            continue
        if isinstance(outcome, DecisionOutcome) and any(skipped.reason in _IS_ELSEWHERE for skipped in outcome.reasons):
            left.update([offset] if any(skipped.template_id is None for skipped in outcome.reasons) else ())
            continue
        if offset_by_id[event_id] == offset:
            continue
        at = KnownAt(offset, outcome.time_ms, outcome.operation)
        if isinstance(outcome, DeadLetterOutcome):
            dead.setdefault(event_id, []).append(at)
        elif event_id not in known or offset < known[event_id].offset:
            known[event_id] = at
    for event_id, places in dead.items():
        for at in places:
            if at.offset not in left and (event_id not in known or at.offset < known[event_id].offset):
                known[event_id] = at
    return known


@dataclass(frozen=True, slots=True)
class MessageAt:
    """A message that exists: the offset of its source, and its key."""

    offset: int
    key: EncodedKey


Messages = dict[tuple[str, TemplateId], MessageAt]
"""By event id and template; where a record of the event made one at several offsets, the first that was written."""


def find_messages(
    outputs: OutcomeReader,
    statuses: Topic,
    is_wanted: Callable[[str, StatusOutcome], bool],
    *,
    on_progress: OnProgress | None = None,
) -> Messages:
    """The messages that exist, of those that are wanted by event id and status, wherever the event's record lies.

    One pass over all of `statuses` that is kept. Blocks; raises as `OutcomeReader.outcomes_from`.
    """
    found: Messages = {}
    begin = outputs.extents()[statuses].first
    with closing(outputs.outcomes_from({statuses: begin}, on_progress=on_progress)) as outcomes:
        for outcome in outcomes:
            event_id = outcome.event_id
            if isinstance(outcome, StatusOutcome) and event_id is not None and is_wanted(event_id, outcome):
                message = MessageAt(outcome.source.offset, outcome.encoded_key)
                found.setdefault((event_id, outcome.template_id), message)
    return found
