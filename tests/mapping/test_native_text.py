"""Texts that C writes over the slots of a scanned record: those of the reference, or none."""

from collections.abc import Iterator
from datetime import UTC, tzinfo
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.domain.catalogue import FAMILIES
from processor.domain.event import Fields
from processor.domain.template import NamedPlaceholder, Text
from processor.mapping.plain_text import TextPlanner
from processor.mapping.plan_values import Path, RecipientValues
from processor.mapping.scanned_values import ScannedValues
from processor.native import NATIVE, NativePart
from processor.wire.encode import encode_event
from processor.wire.framing import FRAME_BYTES
from processor.wire.native_scan import native_scan
from processor.wire.scan_program import scan_program
from processor.wire.slot_values import Slots
from processor.wire.wire_format import WireFormat
from tests.mapping.test_text_plan import LIMIT, ZONES, any_text, rendered_text
from tests.support.executors import NEEDS_NATIVE
from tests.support.laws import examples
from tests.support.wire import SCHEMAS, events_of

pytestmark = NEEDS_NATIVE


def read_paths(text: Text, family: str) -> Iterator[Path]:
    """What a text reads of an event of `family`."""
    for segment in (*(text.subject or ()), *text.body, *(text.url or ())):
        if isinstance(segment, NamedPlaceholder):
            yield from (segment.paths[family].path, *segment.paths[family].currencies)
    yield ("customFields",)


def native() -> NativePart:
    """As it is here."""
    assert NATIVE is not None
    return NATIVE


def scanned(fields: Fields, family: str, paths: set[Path], zone: tzinfo) -> tuple[ScannedValues, Slots]:
    """The values of an event, and its slots."""
    schema = SCHEMAS.families[FAMILIES[family].record]
    value, _ = encode_event(fields, SCHEMAS, format=WireFormat.AVRO)
    names = {field.name for field in schema.type.fields}
    program = scan_program(schema.type, schema.type, [path for path in sorted(paths) if path[0] in names])
    slots = native_scan(program, native())(value, FRAME_BYTES)
    assert slots is not None
    return ScannedValues(program, time_zone=zone, known={}, native=native()), slots


def native_parts(
    text: Text, fields: Fields, family: str, *, zone: tzinfo = UTC, strict: bool = False, limit: int = LIMIT
) -> Any:
    """Subject, body and address of an event without a recipient; None: refused."""
    values, slots = scanned(fields, family, set(read_paths(text, family)), zone)
    planner = TextPlanner(
        family=family, values=RecipientValues(values), time_zone=zone, strict=strict, limit_characters=limit
    )
    return planner.parts(text)(slots)


def parts_of(text: Text, fields: Fields, family: str, **options: Any) -> Any:
    """The same by the reference; None where it fails, or replaces a character."""
    rendered = rendered_text(text, {**fields, "recipient": None}, family, **options)
    return None if rendered is None else (rendered.subject, rendered.body, rendered.url)


@given(data=st.data(), family=st.sampled_from(sorted(FAMILIES)), zone=st.sampled_from(ZONES), strict=st.booleans())
@settings(max_examples=examples(300), suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
def test_any_text_of_any_event(data: st.DataObject, family: str, zone: tzinfo, strict: bool) -> None:
    """In any context, with any limit."""
    text = data.draw(any_text(family))
    fields = data.draw(events_of(SCHEMAS.families[FAMILIES[family].record]))
    options: dict[str, Any] = {"zone": zone, "strict": strict, "limit": data.draw(st.sampled_from([LIMIT, LIMIT, 40]))}
    try:
        found = native_parts(text, fields, family, **options)
    except AssertionError:
        return  # no scan accepts it

    assert found is None or found == parts_of(text, fields, family, **options)
