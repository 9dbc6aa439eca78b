"""Details for people who must not see customers' data: addresses, numbers and what somebody wrote. Pure."""

import re
from typing import Final

from processor.domain.placeholders import VALUE_MASK

_PROGRAMS_OWN_DETAIL: Final = frozenset(
    (
        "EMPTY_RECORD",
        "TENANT_DISABLED",
        "UNKNOWN_SCHEMA",
        "EVENT_TOO_LARGE",
        "DUPLICATE_EVENT",
        "NO_TEMPLATE",
        "INACTIVE",
        "CHANNEL_DISABLED",
        "TARGET_MISMATCH",
        "NOT_SUBSCRIBED",
        "ALREADY_CREATED",
        "MAX_MESSAGE_SIZE_LIMIT_EXCEEDED",
        "TEMPLATE_SUSPENDED",
    )
)
"""Reasons whose detail has places, ids of schemas, names of templates, limits and the tenant: nothing of a customer."""

_VALUES: Final = (  # what may be of a customer -> what is shown
    (re.compile(r"(the value is ).*", re.DOTALL), rf"\1{VALUE_MASK}"),
    # What is quoted, also where the detail was cut before its end; no quote opens within a word, as in event's.
    (re.compile(r"(?<!\w)(?:'(?:[^'\\]|\\.)*(?:'|$)|\"(?:[^\"\\]|\\.)*(?:\"|$))", re.DOTALL), VALUE_MASK),
    (re.compile(r"[^\s<>(),;:\]]+@[^\s<>(),;:]+"), VALUE_MASK),  # an address; not a place, as in topic[3]@17
    (re.compile(r"(?<!\w)\+?\d[\d ./()-]{3,}\d(?!\w)"), VALUE_MASK),  # a phone, account or card number, a date
)


def mask_detail(reason: str, detail: str) -> str:
    """The detail of a decision, a dead letter or a failed template, with `***` in place of values of the event."""
    if reason in _PROGRAMS_OWN_DETAIL:
        return detail
    for pattern, shown in _VALUES:
        detail = pattern.sub(shown, detail)
    return detail
