"""Records of `communications.operations`, JSON whatever the format of the outputs is. Pure."""

import json
from typing import Any, Final

from processor.domain.operation_record import AssignedRecord, Operation, OperationRecordKind, OtherOperation
from processor.domain.output_topics import OutputTopic
from processor.domain.record import OutRecord
from processor.wire.json_codec import JSON_HEADERS

_MAX_OFFSET: Final = 2**63 - 1


def assigned_out_record(assigned: AssignedRecord, topic: OutputTopic) -> OutRecord:
    """The record, in the partition that it is about; its key is the partition's number."""
    value = {
        "kind": OperationRecordKind.ASSIGNED,
        "partition": assigned.partition,
        "offset": assigned.offset,
        "startFrom": assigned.start_from,
        "setVersion": assigned.set_version,
        "decisions": assigned.decisions,
        "instance": assigned.instance,
        "version": assigned.version,
    }
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return OutRecord(topic.name, assigned.partition, str(assigned.partition).encode(), data, JSON_HEADERS)


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
        case {"kind": str() as kind}:
            return OtherOperation(kind)
        case _:
            raise ValueError("no operation: it has no kind")


def _assigned_record(fields: dict[str, Any]) -> AssignedRecord:
    match fields:
        case {
            "partition": int() as partition,
            "offset": int() as offset,
            "setVersion": str() as set_version,
            "decisions": str() as decisions,
            "instance": str() as instance,
            "version": str() as version,
        } if 0 <= partition <= _MAX_OFFSET and 0 <= offset <= _MAX_OFFSET:
            start_from = fields.get("startFrom")
        case _:
            raise ValueError("a record ASSIGNED without its fields")
    if start_from is not None and not isinstance(start_from, str):
        raise ValueError("startFrom is neither null nor a text")
    return AssignedRecord(
        partition=partition,
        offset=offset,
        start_from=start_from,
        set_version=set_version,
        decisions=decisions,
        instance=instance,
        version=version,
    )
