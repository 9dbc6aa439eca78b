"""The sample events that are shipped: one of each event, written by hand as one small story of one bank."""

import json
from importlib.resources import files
from typing import Any, Final

from processor.domain.catalogue import EVENTS
from processor.domain.record import EventName

_FOLDER: Final = files("processor") / "shipped" / "events"


def sample(event: EventName) -> dict[str, Any]:
    """The sample of `event` in JSON form, a fresh value each time. KeyError for a name that is not in the catalogue."""
    if event not in EVENTS:
        raise KeyError(event)
    fields: dict[str, Any] = json.loads((_FOLDER / f"{event}.json").read_text(encoding="utf-8"))
    return fields


def samples() -> tuple[dict[str, Any], ...]:
    """The samples of all events, in the order in which they happened."""
    return tuple(sorted((sample(event) for event in EVENTS), key=lambda fields: str(fields["occurredAt"])))
