"""Events that a person names on the command line: a file, stdin, or the sample of an event's name."""

import codecs
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from processor.domain.catalogue import EVENTS, nearest_event
from processor.domain.event import Event
from processor.domain.record import EventName
from processor.domain.text import did_you_mean
from processor.errors import UsageError
from processor.shipped import sample
from processor.wire.decode import DecodeFailure, event_and_unknown_fields, event_from_json
from processor.wire.reader_schemas import Schemas
from processor.wire.unknown_fields import UnknownField

EVENTS_LIMIT_BYTES: Final = 100_000_000


@dataclass(frozen=True, slots=True)
class NamedEvent:
    """An event, or why its text is not one. `where` says which it is: a file, a line of it, or a sample."""

    where: str
    event: Event | DecodeFailure


def read_events(argument: str, schemas: Schemas, *, tenant: str | None) -> Iterator[NamedEvent]:
    """The events of `argument`: an event's name gives its sample, as of `tenant`; else a file (`-` is stdin) of JSON.

    A file is one event, which may stand on many lines, or one on each line. Its fields that no schema has are named on
    stderr. Blocks on the disk. Raises UsageError for an argument that is neither.
    """
    if argument in EVENTS:
        text = sample(EventName(argument)) | ({"tenant": tenant} if tenant else {})
        yield NamedEvent(f"the sample of {argument}", event_from_json(text, schemas))
        return
    name = "stdin" if argument == "-" else argument
    raw = _read_bytes(argument)
    lines = [(number, line) for number, line in enumerate(raw.splitlines(), start=1) if line.strip()]
    if not lines:
        raise UsageError(f"{name} has no event", hint="an event is a JSON object, as in processor/shipped/events")
    if len(lines) == 1 or _is_json(raw):
        lines = [(0, raw)]
    warned: set[UnknownField] = set()
    for number, line in lines:
        where = f"{name}:{number}" if number else name
        event, unknown_fields = event_and_unknown_fields(line, schemas)
        sys.stderr.writelines(f"{where}: warning: {field}\n" for field in unknown_fields if field not in warned)
        warned.update(unknown_fields)
        yield NamedEvent(where, event)


def _is_json(raw: bytes) -> bool:
    try:
        json.loads(raw)
    except (ValueError, RecursionError):
        return False
    return True


def _read_bytes(argument: str) -> bytes:
    """All bytes, without a UTF-8 byte order mark. A pipe (a shell's `<(…)`) is read like a file, up to the limit."""
    if argument == "-":
        raw = sys.stdin.buffer.read(EVENTS_LIMIT_BYTES + 1)
    else:
        try:
            with Path(argument).open("rb") as file:
                raw = file.read(EVENTS_LIMIT_BYTES + 1)
        except (OSError, ValueError) as error:
            hint = did_you_mean(
                nearest_event(argument), otherwise="name a file of JSON events, or an event for its sample"
            )
            reason = getattr(error, "strerror", None) or str(error)
            raise UsageError(f"{argument} is neither an event's name nor a file: {reason}", hint=hint) from error
    if len(raw) > EVENTS_LIMIT_BYTES:
        raise UsageError(f"{argument} has more than {EVENTS_LIMIT_BYTES} bytes", hint="name a smaller file")
    return raw.removeprefix(codecs.BOM_UTF8)
