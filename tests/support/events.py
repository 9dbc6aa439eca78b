"""Events that tests of the engine produce."""

import json
from typing import Any

from processor.domain.record import EventName
from processor.shipped import sample


def repayment(number: int = 0, **client: str) -> dict[str, Any]:
    """A LOAN_REPAYMENT with an id of its own, in JSON form; `client` are fields of its client."""
    event: dict[str, Any] = json.loads(json.dumps(sample(EventName("LOAN_REPAYMENT"))))
    event["eventId"] = f"00000000-0000-4000-8000-{number:012}"
    event["client"] |= client
    return event
