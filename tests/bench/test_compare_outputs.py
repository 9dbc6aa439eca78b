"""The bench's comparison of outputs: what it lets pass, and what voids a contender's figures."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from fastavro import schemaless_reader, schemaless_writer

from processor.domain.record import Topic
from tests.bench.compare_outputs import (
    ANY_STREAM,
    SCHEMAS,
    KeyAndValue,
    Kind,
    Place,
    ReferenceOutputs,
)
from tests.bench.load import bench_templates, simple_load
from tests.support.builders import schemas

EVENTS = 6
POSITIONS = (3, 3)


@pytest.fixture(scope="module")
def reference() -> ReferenceOutputs:
    """Of six events in two partitions."""
    load = simple_load(schemas(), partitions=2, begin_ms=1_796_000_000_000)
    return ReferenceOutputs(
        load, schemas=schemas(), templates=bench_templates(schemas()), events=Topic("events"), count=EVENTS
    )


def good_records(reference: ReferenceOutputs) -> dict[Place, list[KeyAndValue]]:
    """The records of a contender that does all right."""
    return {
        place: [(output.key, output.value) for output in outputs]
        for place, outputs in reference.outputs(reference.counts(POSITIONS)).items()
    }


def difference(reference: ReferenceOutputs, records: dict[Place, list[KeyAndValue]]) -> str | None:
    """What the comparison finds."""
    return reference.difference(records, reference.counts(POSITIONS), stream=ANY_STREAM.name)


def change_fields(kind: Kind, value: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The value with other fields."""
    schema = schemas().outputs[SCHEMAS[kind]]
    fields: Any = schemaless_reader(io.BytesIO(value[5:]), schema.parsed, None)
    change(fields)
    buffer = io.BytesIO(schema.frame)
    buffer.seek(0, io.SEEK_END)
    schemaless_writer(buffer, schema.parsed, fields)
    return buffer.getvalue()


def test_what_the_reference_path_makes_is_right(reference: ReferenceOutputs) -> None:
    """The same bytes, and only of the events that the group has committed."""
    assert difference(reference, good_records(reference)) is None
    assert {1, 3} == {*reference.counts((1, 5)).values()}


def test_the_destination_is_the_streams_topic(reference: ReferenceOutputs) -> None:
    """Each run of a contender has a topic of its own."""
    found = reference.difference(good_records(reference), reference.counts(POSITIONS), stream=Topic("mine"))

    assert f"message of event 0:0: destination is '{ANY_STREAM.name}', expected 'mine'" == found


@pytest.mark.parametrize(
    ("kind", "change", "expected"),
    [
        (
            Kind.MESSAGE,
            lambda fields: fields.update(repaymentKey=None),
            "message of event 1:2: repaymentKey is None, expected '",
        ),
        (
            Kind.STATUS,
            lambda fields: fields["source"].update(offset=7),
            "status of event 1:2: source.offset is 7, expected 2",
        ),
        (
            Kind.STREAM,
            lambda fields: fields.update(body=fields["body"].replace("\\", "")),
            "stream event of event 1:2: body is '",
        ),
    ],
)
def test_one_other_value_is_a_difference(
    reference: ReferenceOutputs, kind: Kind, change: Callable[[dict[str, Any]], None], expected: str
) -> None:
    """It is named, with its record."""
    records = good_records(reference)
    key, value = records[kind, 1][2]
    records[kind, 1][2] = (key, change_fields(kind, value or b"", change))

    assert (difference(reference, records) or "").startswith(expected)


def test_missing_surplus_and_broken_records_are_differences(reference: ReferenceOutputs) -> None:
    """Whatever is wrong with them."""
    good = good_records(reference)
    place = (Kind.STATUS, 0)
    key, value = good[place][0]
    assert value is not None

    assert "2 records of kind status in partition 0, expected 3" == difference(
        reference, {**good, place: good[place][:2]}
    )
    assert "4 records of kind status in partition 0, expected 3" == difference(
        reference, {**good, place: [*good[place], (key, value)]}
    )
    for broken, words in (
        ((b"key", value), "key b'key', expected"),
        ((key, b"\0\0\0\0\1" + value[5:]), "framed by 0000000001"),
        ((key, value + b"\0"), "1 bytes behind its end"),
        ((key, value[:-1]), "not Avro"),
        ((key, None), "framed by"),
    ):
        assert words in (difference(reference, {**good, place: [broken, *good[place][1:]]}) or "")


def test_copies_have_the_lengths_of_outputs(reference: ReferenceOutputs) -> None:
    """And are bytes of their event, repeated where it is shorter."""
    counts, sizes = reference.counts(POSITIONS), (394, 1, 2_500)
    size_of = dict(zip(Kind, sizes, strict=True))
    copies: dict[Place, list[KeyAndValue]] = {
        place: [(b"", (output.event * 3)[: size_of[place[0]]]) for output in outputs]
        for place, outputs in reference.outputs(counts).items()
    }

    assert reference.copy_difference(copies, counts, sizes=sizes) is None
    assert "message of event 0:0: not the first 395 bytes of its event" == reference.copy_difference(
        copies, counts, sizes=(395, 1, 2_500)
    )
