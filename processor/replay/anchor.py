"""Where a pass over the outputs has to begin, so that it meets every outcome of a range."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Final

from processor.domain.record import Topic
from processor.engine.output_scan import OutcomeReader
from processor.errors import InputError
from processor.kafka.offsets import Extent
from processor.wire.json_codec import format_millis

FIRST_STEP_MS: Final = 3_600_000  # back from the range's first event; then doubled
MARGIN_MS: Final = 3_600_000  # of the other topics before the anchor's time: one transaction writes to all three


@dataclass(frozen=True, slots=True)
class Begin:
    """Where a pass begins: an offset for each topic. `anchor`: the source offset of the outcome of `run` that proves
    that all outcomes of later sources lie behind; None: the topics are read from their very beginning."""

    offsets: Mapping[Topic, int]
    anchor: int | None


def find_begin(outputs: OutcomeReader, first: int, *, time_ms: int) -> Begin:
    """Where the pass for source offsets from `first` on begins; `time_ms` is when the record there was written.

    The anchor is an outcome of `run` for a source before `first`: `run` writes in the order of its sources, so what it
    wrote of later ones lies behind; but where a position was set back the anchor may be of a later pass than the
    range's outcomes, so the pass never begins behind the range's own time. It is looked for back in time, in steps that
    double, since no outcome is older than its event. Blocks. Raises InputError when there is none and the outputs do
    not begin at offset 0, or when one of them has lost what it held at the anchor's time: what is left does not prove
    what became of the range.
    """
    extents = outputs.extents()
    step_ms, found = FIRST_STEP_MS, dict[Topic, int]()
    while True:
        from_ms = max(0, time_ms - step_ms)
        offsets = outputs.offsets_at(from_ms)
        found = {topic: source for topic, offset in offsets.items() for source in _first_of_run(outputs, topic, offset)}
        anchors = {topic: source for topic, source in found.items() if source < first}
        if anchors:
            begin_ms = min(time_ms, _anchor_ms(outputs, extents, anchors, from_ms=from_ms))
            return Begin(outputs.offsets_at(max(0, begin_ms - MARGIN_MS)), min(anchors.values()))
        if from_ms == 0 or all(offsets[topic] <= extent.first for topic, extent in extents.items()):
            break
        step_ms *= 2
    if all(extent.first == 0 for extent in extents.values()):
        return Begin(dict.fromkeys(extents, 0), None)
    raise _unprovable(extents, oldest=min(found.values(), default=None))


def _first_of_run(outputs: OutcomeReader, topic: Topic, offset: int) -> list[int]:
    """The source of the first outcome of `run` in `topic` from `offset` on; nothing where there is none."""
    with closing(outputs.outcomes_from({topic: offset}, strict=False)) as outcomes:
        return list(islice((outcome.source.offset for outcome in outcomes if outcome.operation is None), 1))


def _anchor_ms(
    outputs: OutcomeReader, extents: Mapping[Topic, Extent], anchors: Mapping[Topic, int], *, from_ms: int
) -> int:
    """A time that none of `anchors`, the first outcomes of their topics since `from_ms`, is older than; or, of a topic
    that began since then, when that was. Raises InputError when another topic begins neither at offset 0 nor with a
    record from before it."""
    firsts = outputs.first_records()
    times = {topic: max(from_ms, 0 if (first := firsts[topic]) is None else first.time_ms) for topic in anchors}
    anchor_topic = min(times, key=lambda topic: times[topic])
    anchor_ms = times[anchor_topic]
    for topic, first in firsts.items():
        if topic != anchor_topic and extents[topic].first > 0 and (first is None or first.time_ms > anchor_ms):
            holds = "nothing" if first is None else f"only what was written from {format_millis(first.time_ms)} on"
            raise InputError(
                f"{topic} holds {holds}, and the range's outcomes may be older: it is unknown which events have theirs",
                hint="take a later range, or keep outputs for as long as events (retention.ms)",
            )
    return anchor_ms


def _unprovable(extents: Mapping[Topic, Extent], *, oldest: int | None) -> InputError:
    expired = ", ".join(f"{topic} from offset {extent.first}" for topic, extent in extents.items() if extent.first > 0)
    hint = "none of their records is of `run`" if oldest is None else f"`--offsets {oldest + 1}:` is what they prove"
    return InputError(
        f"the outputs are kept too short to prove which events of the range had their outcome ({expired})", hint=hint
    )
