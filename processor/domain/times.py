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
