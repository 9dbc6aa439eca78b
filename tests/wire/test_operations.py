"""Records of the operations topic: what `run` writes is what is read, also by another version."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.operation_record import AssignedRecord, OtherOperation
from processor.domain.output_topics import OutputTopic
from processor.domain.record import Topic
from processor.wire.operations import assigned_out_record, read_operation

TOPIC = OutputTopic(Topic("communications.operations"), 6, 999_000)
ASSIGNED = AssignedRecord(
    partition=3,
    offset=120,
    start_from="2026-11-29T07:55:01.000Z",
    set_version="beea255df8141d7dae8f2e9d47af7f9c",
    decisions="all",
    instance="host-a",
    version="0.1.0",
)
VALUE: dict[str, Any] = {
    "kind": "ASSIGNED",
    "partition": 3,
    "offset": 120,
    "startFrom": "2026-11-29T07:55:01.000Z",
    "setVersion": "beea255df8141d7dae8f2e9d47af7f9c",
    "decisions": "all",
    "instance": "host-a",
    "version": "0.1.0",
}


def test_a_record_is_written_as_the_contract_has_it() -> None:
    """JSON with its content type, in the partition that it is about, keyed by that partition's number."""
    record = assigned_out_record(ASSIGNED, TOPIC)

    assert (TOPIC.name, 3, b"3") == (record.topic, record.partition, record.key)
    assert (("content-type", b"application/json"),) == record.headers
    assert VALUE == json.loads(record.value or b"")
    assert list(VALUE) == list(json.loads(record.value or b""))


@given(
    assigned=st.builds(
        AssignedRecord,
        partition=st.integers(0, 10_000),
        offset=st.integers(0, 2**63 - 1),
        start_from=st.none() | st.text(max_size=30),
        set_version=st.text(max_size=32),
        decisions=st.text(max_size=10),
        instance=st.text(max_size=40),
        version=st.text(max_size=10),
    )
)
def test_what_was_written_is_read(assigned: AssignedRecord) -> None:
    """Also with words that this version does not know: a newer one may have more of `decisions` or of `startFrom`."""
    assert assigned == read_operation(assigned_out_record(assigned, TOPIC).value or b"")


def test_other_kinds_and_fields_are_no_errors() -> None:
    """A reader of one kind passes over the others, and over fields that came later; a null may be left out."""
    assert OtherOperation("PROGRESS") == read_operation(b'{"kind": "PROGRESS", "partition": "of another form"}')
    assert ASSIGNED == read_operation(json.dumps(VALUE | {"more": [1]}).encode())
    without = {name: value for name, value in VALUE.items() if name != "startFrom"}
    assert read_operation(json.dumps(without).encode()) == read_operation(
        json.dumps(VALUE | {"startFrom": None}).encode()
    )


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"{}",
        b"null",
        b'{"kind": 1}',
        b'{"kind": "ASSIGNED"}',
        b"[" * 100_000,
        json.dumps(VALUE | {"offset": -1}).encode(),
        json.dumps(VALUE | {"offset": 2**63}).encode(),
        json.dumps(VALUE | {"offset": "1"}).encode(),
        json.dumps(VALUE | {"startFrom": 5}).encode(),
        json.dumps(VALUE | {"decisions": None}).encode(),
    ],
)
def test_what_is_no_operation_is_an_error(value: bytes) -> None:
    """Of one kind, so that a reader has one case for it: ValueError."""
    with pytest.raises(ValueError):
        read_operation(value)
