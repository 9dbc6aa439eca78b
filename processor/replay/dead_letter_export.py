"""A dead letter as a line of JSON that a person can correct. Pure.

`{position, reason, event?, detail, key, headers, value}`: the source's place, why it is a dead letter, and the record
itself. Bytes that are no UTF-8 text are `{"base64": …}`. `value` is the event as `processor produce --file` takes it;
where the bytes give no JSON object it is base64 text beside `"valueEncoding": "base64"`, and where the dead letter had
no room for them null beside `valueBytes`, their number.
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

from processor.domain.record import Headers
from processor.replay.dead_letters import StoredDeadLetter
from processor.wire.event_json import escape_controls

BASE64: Final = "base64"


def export_line(stored: StoredDeadLetter, event: str | None) -> str:
    """One line, without its end; `event` is the value as JSON, None where its bytes give none."""
    position, name = stored.record.position, stored.entry.event
    fields = {
        "position": {"topic": position.topic, "partition": position.partition, "offset": position.offset},
        "reason": stored.reason or None,
        **({} if name is None else {"event": name}),
        "detail": stored.detail,
    }
    return with_record(fields, stored, event)


def with_record(fields: Mapping[str, Any], stored: StoredDeadLetter, event: str | None) -> str:
    """The JSON object of `fields`, and after them key, headers and value of the record, as `export_line` has them."""
    record, left_out = stored.record, stored.entry.value_bytes
    fields = {**fields, "key": text_or_base64(record.key), "headers": header_pairs(record.headers)}
    if event is not None:
        # As it was written: `json` would read its numbers as floats.
        return f'{_dump(fields)[:-1]}, "value": {event}}}'
    if left_out is not None:
        return _dump({**fields, "value": None, "valueBytes": left_out})
    if record.value is None:
        return _dump({**fields, "value": None})
    return _dump({**fields, "value": b64encode(record.value).decode(), "valueEncoding": BASE64})


def text_or_base64(data: bytes | None) -> str | dict[str, str] | None:
    """Text for what is UTF-8; else an object with the bytes."""
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {BASE64: b64encode(data).decode()}


def header_pairs(headers: Headers) -> list[list[Any]]:
    """`[name, value]` of each, in order: a name may stand twice."""
    return [[name, text_or_base64(value)] for name, value in headers]


def _dump(fields: Mapping[str, Any]) -> str:
    return escape_controls(json.dumps(fields, ensure_ascii=False))
