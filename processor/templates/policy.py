"""What an installation allows its templates."""

from collections.abc import Callable
from dataclasses import dataclass

from processor.domain.catalogue import EventRow
from processor.domain.channel import Channel


@dataclass(frozen=True, slots=True)
class TemplatePolicy:
    """Webhooks without TLS, which channels for an event, and the region of phone numbers in samples."""

    allow_http: bool = False
    channels_of: Callable[[EventRow], frozenset[Channel]] = lambda row: row.channels
    sms_region: str | None = None
