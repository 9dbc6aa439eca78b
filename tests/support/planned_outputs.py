"""Planned outputs filled with the fields of an output, as a caller that has its values fills them."""

from functools import reduce
from typing import Any

from processor.wire.output_plan import Hole, HoleKind, OutputPlan
from processor.wire.value_encoders import ENCODERS, encode_value
from processor.wire.wire_format import WireFormat


def filled(plan: OutputPlan, fields: Any) -> bytes:
    """What a plan makes of an output's fields."""
    return plan.filler()({hole.path: _value(hole, fields, plan.wire_format) for hole in plan.holes})


def _value(hole: Hole, fields: Any, wire_format: WireFormat) -> bytes | None:
    value = reduce(lambda inner, name: inner[name], hole.path.split("."), fields)
    return None if value is None else _encoded(hole, value, wire_format)


def _encoded(hole: Hole, value: Any, wire_format: WireFormat) -> bytes:
    encoders = ENCODERS[wire_format]
    match hole.kind:
        case HoleKind.TEXT:
            return encoders.text(value.encode())
        case HoleKind.SIZED_TEXT:
            return bytes(value.encode())
        case HoleKind.LONG:
            return encoders.long(value)
        case HoleKind.TIME:
            return encoders.time(value)
        case HoleKind.BOOLEAN:
            return encoders.boolean(value)
        case HoleKind.SYMBOL | HoleKind.WHOLE:
            return encode_value(hole.type, value, wire_format)
