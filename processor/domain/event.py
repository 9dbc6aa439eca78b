"""A decoded event: what happened in the bank, and when; and what one record says of it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple, NewType, Protocol

from processor.domain.record import EPOCH, NO_TIME_MS, EventName, SourceRecord
from processor.domain.value_class import value_class

Fields = Mapping[str, Any]
"""A decoded Avro record: dict, list, str, int, bool, Decimal, date, aware UTC datetime or None, nested as declared."""


def value_at(path: tuple[str, ...], fields: Fields | None) -> Any:
    """The value that `path` leads to, `fields` themselves for an empty one; None when it, or a record on the way, is
    missing."""
    value: Any = fields
    for step in path:
        if value is None:
            return None
        value = value.get(step)
    return value


Identity = NewType("Identity", bytes)
"""What makes two records the same event, by `identity_of`. The producer repeats the id when it sends a fact again."""


def identity_of(tenant: str, event_id: str) -> Identity:
    """The identity of the event with this id, of one tenant: UTF-8, joined by U+001F, which no tenant's name has.

    Bytes, not two values: the deduplication window keeps thousands of them.
    """
    return Identity(f"{tenant}\x1f{event_id}".encode())


@value_class()
class Event:
    """One event of one family. `fields` holds the whole record, envelope included; it is never changed.

    `id` is the lower-case text of the uuid; `occurred_at` is aware, UTC, microseconds; `ordering_key` is the value that
    the producer should have keyed the record by.
    """

    id: str
    name: EventName
    family: str
    occurred_at: datetime
    tenant: str
    correlation_id: str | None
    ordering_key: str
    fields: Fields

    @property
    def identity(self) -> Identity:
        """Tenant and event id."""
        return identity_of(self.tenant, self.id)

    @property
    def occurred_at_ms(self) -> int:
        """`occurred_at` in milliseconds since 1970, cut."""
        return (self.occurred_at - EPOCH) // timedelta(milliseconds=1)


class SeenEvent(NamedTuple):
    """What deduplication remembers of an event of a partition: the offset of its record, when that counts as written
    (milliseconds since 1970), and which it is."""

    offset: int
    time_ms: int
    identity: Identity


class EventHead(Protocol):
    """What outputs say of an event, beside its text: an Event has it, and a SourceEvent."""

    @property
    def id(self) -> str:
        """As Event has it, as all of these."""

    @property
    def name(self) -> EventName: ...

    @property
    def tenant(self) -> str: ...

    @property
    def correlation_id(self) -> str | None: ...

    @property
    def ordering_key(self) -> str: ...

    @property
    def occurred_at_ms(self) -> int: ...


@value_class()
class SourceEvent:
    """An event with the record that it was decoded from: one that passed every check before DUPLICATE_EVENT.

    `has_wrong_key`: the record's key is not the event's ordering key. Of one that was scanned, `event` is read at each
    use, and all else is there (`mapping/scanned_event.py`).
    """

    record: SourceRecord
    event: Event
    has_wrong_key: bool = False

    @property
    def id(self) -> str:
        """The event's, as all of these."""
        return self.event.id

    @property
    def name(self) -> EventName:
        return self.event.name

    @property
    def tenant(self) -> str:
        return self.event.tenant

    @property
    def correlation_id(self) -> str | None:
        return self.event.correlation_id

    @property
    def ordering_key(self) -> str:
        return self.event.ordering_key

    @property
    def occurred_at_ms(self) -> int:
        return self.event.occurred_at_ms

    @property
    def time_ms(self) -> int:
        """When the record counts as written, in milliseconds since 1970."""
        return written_at_ms(self.record, self)

    @property
    def seen(self) -> SeenEvent:
        """What deduplication remembers of it."""
        return SeenEvent(self.record.position.offset, self.time_ms, identity_of(self.tenant, self.id))


def written_at_ms(record: SourceRecord, event: EventHead | None) -> int:
    """When `record` counts as written, in milliseconds since 1970: its own time; where readers cannot represent that,
    `occurredAt` of its event; NO_TIME_MS without an event."""
    time_ms = record.time_ms
    if time_ms is not None:
        return time_ms
    return NO_TIME_MS if event is None else event.occurred_at_ms
