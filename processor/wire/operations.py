"""Records of `communications.operations`, JSON whatever the format of the outputs is. Pure."""

import json
from collections.abc import Mapping
from typing import Any, Final

from processor.domain.operation import OperationId
from processor.domain.operation_record import (
    AssignedRecord,
    Operation,
    OperationCounts,
    OperationRecordKind,
    OperationState,
    OtherOperation,
    PositionsRecord,
    ProgressRecord,
    UnmaskedRecord,
)
from processor.domain.output_topics import OutputTopic
from processor.domain.record import OutRecord
from processor.domain.times import parse_time_ms
from processor.wire.json_codec import JSON_HEADERS, format_millis

_MAX_INTEGER: Final = 2**63 - 1  # of an offset, and of all else that counts

Fields = Mapping[str, Any]
"""A record's JSON object, as `json.loads` gives it."""

# ---------------------------------------------------------------------------------------------------------------------
# Written: each in the partition that it is about, keyed by its operation, else by that partition's number.
# UnicodeEncodeError for a text with half of a surrogate pair, which no command takes.


def assigned_out_record(assigned: AssignedRecord, topic: OutputTopic) -> OutRecord:
    """The record of an assignment."""
    fields = {
        "kind": OperationRecordKind.ASSIGNED,
        "partition": assigned.partition,
        "offset": assigned.offset,
        "startFrom": assigned.start_from,
        "setVersion": assigned.set_version,
        "decisions": assigned.decisions,
        "instance": assigned.instance,
        "version": assigned.version,
    }
    return _out_record(fields, topic, assigned.partition, operation=None)


def progress_out_record(progress: ProgressRecord, topic: OutputTopic) -> OutRecord:
    """The record of an operation's progress. OverflowError for a time outside of the years 1 to 9999."""
    fields = {
        "kind": OperationRecordKind.PROGRESS,
        "operation": progress.operation,
        "partition": progress.partition,
        "state": progress.state,
        "first": progress.first_offset,
        "end": progress.end_offset,
        "next": progress.next_offset,
        "by": progress.by,
        **_present(because=progress.because),
        "host": progress.host,
        "processId": progress.process_id,
        "setVersion": progress.set_version,
        "request": dict(progress.request),
        "counts": {
            "messages": progress.counts.messages,
            "decisions": progress.counts.decisions,
            "deadLetters": progress.counts.dead_letters,
        },
        "at": format_millis(progress.at_ms),
    }
    return _out_record(fields, topic, progress.partition, operation=progress.operation)


def positions_out_record(positions: PositionsRecord, topic: OutputTopic) -> OutRecord:
    """The record of a position that a person sets. OverflowError as `progress_out_record`."""
    fields = {
        "kind": OperationRecordKind.POSITIONS,
        **_present(operation=positions.operation),
        "partition": positions.partition,
        "from": positions.from_offset,
        "to": positions.to_offset,
        "by": positions.by,
        "because": positions.because,
        "at": format_millis(positions.at_ms),
    }
    return _out_record(fields, topic, positions.partition, operation=positions.operation)


def unmasked_out_record(unmasked: UnmaskedRecord, topic: OutputTopic, *, partition: int) -> OutRecord:
    """The record of data of `partition` that was shown. OverflowError as `progress_out_record`."""
    fields = {
        "kind": OperationRecordKind.UNMASKED,
        "command": unmasked.command,
        "by": unmasked.by,
        **_present(because=unmasked.because),
        "host": unmasked.host,
        "at": format_millis(unmasked.at_ms),
    }
    return _out_record(fields, topic, partition, operation=None)


def _out_record(fields: Fields, topic: OutputTopic, partition: int, *, operation: OperationId | None) -> OutRecord:
    data = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    key = str(partition) if operation is None else operation
    return OutRecord(topic.name, partition, key.encode(), data, JSON_HEADERS)


def _present(**fields: str | None) -> dict[str, str]:
    """Those that are not None: an absent field is null."""
    return {name: value for name, value in fields.items() if value is not None}


# ---------------------------------------------------------------------------------------------------------------------
# Read


def read_operation(value: bytes) -> Operation:
    """A record as it was written, also by another version: fields that it has beside ours are ignored, and a kind that
    is not known is an OtherOperation. ValueError for what is no operation, or lacks a field of its kind."""
    try:
        fields = json.loads(value)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    match fields:
        case {"kind": OperationRecordKind.ASSIGNED}:
            return _assigned_record(fields)
        case {"kind": OperationRecordKind.PROGRESS}:
            return _progress_record(fields)
        case {"kind": OperationRecordKind.POSITIONS}:
            return _positions_record(fields)
        case {"kind": OperationRecordKind.UNMASKED}:
            return _unmasked_record(fields)
        case {"kind": str() as kind}:
            return OtherOperation(kind)
        case _:
            raise ValueError("no operation: it has no kind")


def _assigned_record(fields: Fields) -> AssignedRecord:
    return AssignedRecord(
        partition=_integer(fields, "partition"),
        offset=_integer(fields, "offset"),
        start_from=_optional_text(fields, "startFrom"),
        set_version=_text(fields, "setVersion"),
        decisions=_text(fields, "decisions"),
        instance=_text(fields, "instance"),
        version=_text(fields, "version"),
    )


def _progress_record(fields: Fields) -> ProgressRecord:
    """ValueError for a state of a newer version too: whether the operation goes on is not known."""
    counts = _object(fields, "counts")
    return ProgressRecord(
        operation=OperationId(_text(fields, "operation")),
        partition=_integer(fields, "partition"),
        state=OperationState(_text(fields, "state")),
        first_offset=_integer(fields, "first"),
        end_offset=_integer(fields, "end"),
        next_offset=_integer(fields, "next"),
        by=_text(fields, "by"),
        because=_optional_text(fields, "because"),
        host=_text(fields, "host"),
        process_id=_integer(fields, "processId"),
        set_version=_text(fields, "setVersion"),
        request=_object(fields, "request"),
        counts=OperationCounts(
            messages=_integer(counts, "messages"),
            decisions=_integer(counts, "decisions"),
            dead_letters=_integer(counts, "deadLetters"),
        ),
        at_ms=_time_ms(fields, "at"),
    )


def _positions_record(fields: Fields) -> PositionsRecord:
    operation = _optional_text(fields, "operation")
    return PositionsRecord(
        operation=None if operation is None else OperationId(operation),
        partition=_integer(fields, "partition"),
        from_offset=_integer(fields, "from"),
        to_offset=_integer(fields, "to"),
        by=_text(fields, "by"),
        because=_text(fields, "because"),
        at_ms=_time_ms(fields, "at"),
    )


def _unmasked_record(fields: Fields) -> UnmaskedRecord:
    return UnmaskedRecord(
        command=_text(fields, "command"),
        by=_text(fields, "by"),
        because=_optional_text(fields, "because"),
        host=_text(fields, "host"),
        at_ms=_time_ms(fields, "at"),
    )


def _integer(fields: Fields, name: str) -> int:
    """A field from 0 on, of at most 64 bits. `true` is none."""
    value = fields.get(name)
    if type(value) is not int or not 0 <= value <= _MAX_INTEGER:
        raise ValueError(f"{name} is no whole number from 0 on")
    return value


def _text(fields: Fields, name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is no text")  # noqa: TRY004  a record's fault has one kind of error
    return value


def _optional_text(fields: Fields, name: str) -> str | None:
    """None where the field is absent or null."""
    return None if fields.get(name) is None else _text(fields, name)


def _object(fields: Fields, name: str) -> Fields:
    value = fields.get(name)
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no object")  # noqa: TRY004  as `_text`
    return value


def _time_ms(fields: Fields, name: str) -> int:
    time_ms = parse_time_ms(_text(fields, name))
    if time_ms is None:
        raise ValueError(f"{name} is no time with its offset")
    return time_ms
