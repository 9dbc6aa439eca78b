"""Records of the operations topic: what was written is what is read, also by another version."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.operation import OperationId
from processor.domain.operation_record import (
    AssignedRecord,
    Operation,
    OperationCounts,
    OperationState,
    OtherOperation,
    PositionsRecord,
    ProgressRecord,
    UnmaskedRecord,
)
from processor.domain.output_topics import OutputTopic
from processor.domain.record import OutRecord, Topic
from processor.wire.operations import (
    assigned_out_record,
    positions_out_record,
    progress_out_record,
    read_operation,
    unmasked_out_record,
)
from tests.support.builders import make_progress

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


OPERATION = OperationId("positions-20261129T075501Z-3f2a91c0")
PROGRESS = make_progress(partition=3)
PROGRESS_VALUE: dict[str, Any] = {
    "kind": "PROGRESS",
    "operation": "replay-20261129T075501Z-3f2a91c0",
    "partition": 3,
    "state": "UNDER_WAY",
    "first": 100,
    "end": 900,
    "next": 250,
    "by": "ops-ada",
    "because": "skipped on Monday",
    "host": "host-a",
    "processId": 4711,
    "setVersion": "beea255df8141d7dae8f2e9d47af7f9c",
    "request": {"offsets": "100:900", "includeNew": ["loan-repaid"], "rate": 500.5, "to": None},
    "counts": {"messages": 140, "decisions": 9, "deadLetters": 1},
    "at": "2026-11-30T07:55:01.000Z",
}
POSITIONS = PositionsRecord(
    operation=OPERATION,
    partition=3,
    from_offset=100,
    to_offset=200,
    by="ops-ada",
    because="a damaged batch",
    at_ms=1_796_025_301_042,
)
POSITIONS_VALUE: dict[str, Any] = {
    "kind": "POSITIONS",
    "operation": "positions-20261129T075501Z-3f2a91c0",
    "partition": 3,
    "from": 100,
    "to": 200,
    "by": "ops-ada",
    "because": "a damaged batch",
    "at": "2026-11-30T07:55:01.042Z",
}
UNMASKED = UnmaskedRecord(
    command="explain --at 3:1700", by="ops-ada", because=None, host="host-a", at_ms=1_796_025_301_042
)
UNMASKED_VALUE: dict[str, Any] = {
    "kind": "UNMASKED",
    "command": "explain --at 3:1700",
    "by": "ops-ada",
    "host": "host-a",
    "at": "2026-11-30T07:55:01.042Z",
}


@pytest.mark.parametrize(
    ("record", "key", "value"),
    [
        (assigned_out_record(ASSIGNED, TOPIC), b"3", VALUE),
        (progress_out_record(PROGRESS, TOPIC), PROGRESS.operation.encode(), PROGRESS_VALUE),
        (positions_out_record(POSITIONS, TOPIC), OPERATION.encode(), POSITIONS_VALUE),
        (
            positions_out_record(replace(POSITIONS, operation=None), TOPIC),
            b"3",
            {name: value for name, value in POSITIONS_VALUE.items() if name != "operation"},
        ),
        (unmasked_out_record(UNMASKED, TOPIC, partition=3), b"3", UNMASKED_VALUE),
    ],
    ids=["assigned", "progress", "positions", "positions of no operation", "unmasked"],
)
def test_a_record_is_written_as_the_contract_has_it(record: OutRecord, key: bytes, value: dict[str, Any]) -> None:
    """JSON with its content type, in the partition that it is about, keyed by its operation, else by that partition's
    number. Times are UTC with three digits; what is null is left out, but for an assignment's policy."""
    assert (TOPIC.name, 3, key) == (record.topic, record.partition, record.key)
    assert (("content-type", b"application/json"),) == record.headers
    assert value == json.loads(record.value or b"")
    assert list(value) == list(json.loads(record.value or b""))


PARTITIONS = st.integers(0, 10_000)
OFFSETS = st.integers(0, 2**63 - 1)
TIMES_MS = st.integers(0, 253_402_300_799_999)
TEXTS = st.text(max_size=40)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
ASSIGNED_RECORDS = st.builds(
    AssignedRecord,
    partition=PARTITIONS,
    offset=OFFSETS,
    start_from=st.none() | TEXTS,
    set_version=TEXTS,
    decisions=TEXTS,
    instance=TEXTS,
    version=TEXTS,
)
PROGRESS_RECORDS = st.builds(
    ProgressRecord,
    operation=TEXTS.map(OperationId),
    partition=PARTITIONS,
    state=st.sampled_from(OperationState),
    first_offset=OFFSETS,
    end_offset=OFFSETS,
    next_offset=OFFSETS,
    by=TEXTS,
    because=st.none() | TEXTS,
    host=TEXTS,
    process_id=OFFSETS,
    set_version=TEXTS,
    request=st.dictionaries(TEXTS, JSON_VALUES, max_size=4),
    counts=st.builds(OperationCounts, messages=OFFSETS, decisions=OFFSETS, dead_letters=OFFSETS),
    at_ms=TIMES_MS,
)
POSITIONS_RECORDS = st.builds(
    PositionsRecord,
    operation=st.none() | TEXTS.map(OperationId),
    partition=PARTITIONS,
    from_offset=OFFSETS,
    to_offset=OFFSETS,
    by=TEXTS,
    because=TEXTS,
    at_ms=TIMES_MS,
)
UNMASKED_RECORDS = st.builds(
    UnmaskedRecord, command=TEXTS, by=TEXTS, because=st.none() | TEXTS, host=TEXTS, at_ms=TIMES_MS
)


def out_record(operation: Operation) -> OutRecord:
    """The record that a writer of this version makes."""
    match operation:
        case AssignedRecord():
            return assigned_out_record(operation, TOPIC)
        case ProgressRecord():
            return progress_out_record(operation, TOPIC)
        case PositionsRecord():
            return positions_out_record(operation, TOPIC)
        case UnmaskedRecord():
            return unmasked_out_record(operation, TOPIC, partition=0)
        case OtherOperation():
            raise AssertionError("nothing writes it")


@given(operation=ASSIGNED_RECORDS | PROGRESS_RECORDS | POSITIONS_RECORDS | UNMASKED_RECORDS)
def test_what_was_written_is_read(operation: Operation) -> None:
    """Also with words that this version does not know: a newer one may have more of `decisions` or of `startFrom`."""
    assert operation == read_operation(out_record(operation).value or b"")


@pytest.mark.parametrize(
    ("record", "value", "optional"),
    [
        (ASSIGNED, VALUE, {"startFrom": "start_from"}),
        (PROGRESS, PROGRESS_VALUE, {"because": "because"}),
        (POSITIONS, POSITIONS_VALUE, {"operation": "operation"}),
        (UNMASKED, UNMASKED_VALUE, {"because": "because"}),
    ],
    ids=["assigned", "progress", "positions", "unmasked"],
)
def test_each_field_is_needed_but_those_that_may_be_null(
    record: Any, value: dict[str, Any], optional: dict[str, str]
) -> None:
    """A field that came later is ignored. One that is missing, or of another type, is an error that names it."""
    assert record == read_operation(json.dumps(value | {"more": [1]}).encode())
    for wire_name, name in optional.items():
        without = {key: inner for key, inner in value.items() if key != wire_name}
        assert replace(record, **{name: None}) == read_operation(json.dumps(without).encode())
        assert replace(record, **{name: None}) == read_operation(json.dumps(without | {wire_name: None}).encode())
    for wire_name in value.keys() - optional.keys() - {"kind"}:
        without = {key: inner for key, inner in value.items() if key != wire_name}
        with pytest.raises(ValueError, match=rf"^{wire_name} is no "):
            read_operation(json.dumps(without).encode())
    for wire_name in value.keys() - {"kind"}:
        with pytest.raises(ValueError, match=rf"^{wire_name} is no "):
            read_operation(json.dumps(value | {wire_name: True}).encode())


def test_other_kinds_are_no_errors() -> None:
    """A reader of one kind passes over those that came later."""
    assert OtherOperation("COMMAND") == read_operation(b'{"kind": "COMMAND", "partition": "of another form"}')


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
        json.dumps(PROGRESS_VALUE | {"next": 2.5}).encode(),
        json.dumps(PROGRESS_VALUE | {"state": "PAUSED"}).encode(),
        json.dumps(PROGRESS_VALUE | {"request": []}).encode(),
        json.dumps(PROGRESS_VALUE | {"counts": {"messages": 1, "decisions": 0}}).encode(),
        json.dumps(PROGRESS_VALUE | {"counts": {"messages": 1, "decisions": 0, "deadLetters": -1}}).encode(),
        json.dumps(POSITIONS_VALUE | {"at": "2026-11-30T07:55:01.042"}).encode(),
        json.dumps(POSITIONS_VALUE | {"at": "yesterday"}).encode(),
        json.dumps(UNMASKED_VALUE | {"at": 1_796_025_301_042}).encode(),
    ],
)
def test_what_is_no_operation_is_an_error(value: bytes) -> None:
    """Of one kind, so that a reader has one case for it: ValueError."""
    with pytest.raises(ValueError):
        read_operation(value)
