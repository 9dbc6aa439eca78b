"""Values that the consumers in Java and Go read: each as its type, and its bytes as they are on a topic."""

import subprocess
from collections.abc import Sequence
from typing import Any, Final

from processor.domain.event import Event
from processor.shipped import samples
from processor.wire.decode import event_from_json
from processor.wire.encode import encode_event
from processor.wire.wire_format import WireFormat
from tests.support.wire import SCHEMAS, golden_bytes

_GOLDEN: Final = {  # golden file -> type
    "Communicationmessage.email": "communications.Communicationmessage",
    "Communicationmessage.stream": "communications.Communicationmessage",
    "MessageStatus": "communications.MessageStatus",
    "Decision": "communications.Decision",
    "StreamEvent": "communications.StreamEvent",
    "Message": "notifications.Message",
    "Message.sms": "notifications.Message",
}


def printed(command: Sequence[object], *, timeout_s: float, **options: Any) -> str:
    """What a program prints, which must end with 0; `options` as `subprocess.run` has them. Blocks."""
    ran = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, timeout=timeout_s, check=False, **options
    )
    assert ran.returncode == 0, (ran.stdout + ran.stderr)[-3000:]
    output: str = ran.stdout
    return output


def outputs() -> dict[str, tuple[str, bytes]]:
    """The golden outputs: name -> type and framed value."""
    return {name: (kind, golden_bytes(name)) for name, kind in _GOLDEN.items()}


def events() -> dict[str, tuple[str, bytes]]:
    """The sample of each event: name -> type and framed value."""
    values = {}
    for sample in samples():
        event = event_from_json(sample, SCHEMAS)
        assert isinstance(event, Event)
        value, _ = encode_event(event.fields, SCHEMAS, format=WireFormat.AVRO)
        values[str(event.name)] = SCHEMAS.by_event[event.name].name, value
    return values


def without_nulls(value: Any) -> Any:
    """The JSON form: null fields are absent."""
    match value:
        case dict():
            return {name: without_nulls(part) for name, part in value.items() if part is not None}
        case list():
            return [without_nulls(part) for part in value]
        case _:
            return value
