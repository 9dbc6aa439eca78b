"""What people who look at events must not see: codes and links that are for a message's recipient alone."""

from dataclasses import replace

from processor.domain.event import Event
from processor.domain.placeholders import SECRETS, VALUE_MASK
from processor.errors import InternalError


def mask_secrets(event: Event) -> Event:
    """The event with `***` in place of each value that only its recipient may know."""
    fields = dict(event.fields)
    for path in SECRETS:
        if len(path) != 1:
            raise InternalError(f"{path}: a secret that lies deeper than an event's own fields")
        if fields.get(path[0]) is not None:
            fields[path[0]] = VALUE_MASK
    return replace(event, fields=fields)
