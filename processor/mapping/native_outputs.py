"""Outputs of messages that C writes (`_native.pyx`): here the pieces of their plans become its holes. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from processor.mapping.plan_values import Path, PlanValues
from processor.mapping.planned_outputs import SAME_HOLES
from processor.native import NativeOutputs, NativePart
from processor.wire.output_plan import Hole, HoleKind, OutputPlan
from processor.wire.slot_values import TEXT_FORMS
from processor.wire.wire_format import WireFormat

SOURCES: Final = {  # path of a hole -> what fills it; all others are texts of slots
    "body": "body",
    "encodedKey": "key",
    "metadata.eid": "eid",
    "destination": "destination",
    "failureCause": "cause",
    "subject": "subject",
    "lookupMissing": "missing",
    "clientKey": "recipient",
    "at": "at",
    "metadata.occurred_at": "occurred",
    "source.topic": "topic",
    "source.partition": "partition",
    "source.offset": "offset",
}
_ENCODINGS: Final = {
    (WireFormat.AVRO, HoleKind.TEXT): "avro text",
    (WireFormat.AVRO, HoleKind.LONG): "avro long",
    (WireFormat.AVRO, HoleKind.TIME): "avro long",
    (WireFormat.JSON, HoleKind.TEXT): "json text",
    (WireFormat.JSON, HoleKind.LONG): "json long",
    (WireFormat.JSON, HoleKind.TIME): "json time",
}


@dataclass(frozen=True, slots=True)
class NativeHole:
    """A hole, by the codes of the native part, and the constants around it. `null` is None where it is never null."""

    source: int
    encoding: int
    slot: int
    constant: bytes
    before: bytes
    after: bytes
    null: bytes | None


def native_outputs(
    plans: Sequence[OutputPlan], slot_paths: Mapping[str, Path], values: PlanValues, native: NativePart
) -> NativeOutputs | None:
    """What writes all of these outputs; `slot_paths` has the event's path for each hole that is a text of a slot. None:
    one of these is not the text of one slot."""
    programs = []
    for plan in plans:
        holes, constant = [], b""
        for piece in plan.pieces:
            if isinstance(piece, bytes):
                constant = piece
                continue
            hole = _native_hole(piece, plan.wire_format, constant, slot_paths, values, native)
            if hole is None:
                return None
            holes.append(hole)
            constant = b""
        programs.append((holes, constant, plan.drops_first_comma))
    return native.make_outputs(programs)


def _native_hole(
    hole: Hole,
    wire_format: WireFormat,
    constant: bytes,
    slot_paths: Mapping[str, Path],
    values: PlanValues,
    native: NativePart,
) -> NativeHole | None:
    path = SAME_HOLES.get(hole.path, hole.path)
    source, slot = SOURCES.get(path, "slot"), 0
    if source == "slot":
        leaf = values.leaf(slot_paths[path])
        if leaf is None or leaf.slot is None or leaf.form not in TEXT_FORMS:
            return None
        slot = leaf.slot
    encoding = _ENCODINGS.get((wire_format, hole.kind), "bytes")
    return NativeHole(
        native.output_sources[source],
        native.output_encodings[encoding],
        slot,
        constant,
        hole.before,
        hole.after,
        hole.null,
    )
