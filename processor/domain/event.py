"""A decoded event: what happened in the bank, and when."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from processor.domain.record import EventName

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Fields = Mapping[str, Any]
"""A decoded Avro record: dict, list, str, int, bool, Decimal, date, aware UTC datetime or None, nested as declared."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes two records the same event. The producer repeats `event_id` when it tells a fact twice."""

    tenant: str
    event_id: str


@dataclass(frozen=True, slots=True)
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
        return Identity(self.tenant, self.id)

    @property
    def occurred_at_ms(self) -> int:
        """`occurred_at` in milliseconds since 1970, cut."""
        return (self.occurred_at - _EPOCH) // timedelta(milliseconds=1)
