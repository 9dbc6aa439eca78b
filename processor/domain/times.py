"""Times as people write them."""

from datetime import datetime, timedelta

from processor.domain.record import EPOCH


def parse_time_ms(text: str) -> int | None:
    """A time of RFC 3339 with its offset, in milliseconds since 1970, cut; None for any other text."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment.tzinfo is None else (moment - EPOCH) // timedelta(milliseconds=1)


def utc_text(time_ms: int) -> str:
    """A time in milliseconds since 1970 for people: RFC 3339 in UTC, cut to seconds. For years 1 to 9999."""
    return (EPOCH + timedelta(milliseconds=time_ms)).strftime("%Y-%m-%dT%H:%M:%SZ")
