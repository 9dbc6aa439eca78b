"""Which headers of a source record its outputs carry on: trace and correlation, where every reader can read them."""

import re
from typing import Final, NamedTuple

from processor.domain.record import Headers
from processor.mapping.escape import holds_control

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
CORRELATION_ID: Final = "correlation-id"
_NAMES: Final = frozenset((TRACEPARENT, TRACESTATE, CORRELATION_ID))

HEADER_LIMIT_BYTES: Final = 512  # of tracestate and correlation-id; the least that W3C requires of a propagator
_MEMBERS_LIMIT: Final = 32

# https://www.w3.org/TR/trace-context-1/ section 3.2. Version 00 has 55 bytes; a later one may go on behind a hyphen.
_TRACEPARENT: Final = re.compile(
    rb"(?!ff)(?!00.{54})[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]{0,456})?"
)
# Section 3.3.1: a member of the list is a key and a value, or empty.
_MEMBER: Final = re.compile(
    rb"(?:(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    rb"=[ -+\--<>-~]{0,255}[!-+\--<>-~])?"
)


class PropagatedHeaders(NamedTuple):
    """`headers` for each output; `malformed` names those that are left out, each once."""

    headers: Headers
    malformed: tuple[str, ...]


_NOTHING: Final = PropagatedHeaders((), ())  # of most records


def propagated_headers(headers: Headers) -> PropagatedHeaders:
    """What outputs carry on of a source's headers: one traceparent, its tracestate, one correlation id; none is null.

    Several traceparents are no trace; several tracestates are one list (RFC 9110 section 5.3), passed on as one; of
    several correlation ids the last counts, as for Kafka's own `lastHeader`. A tracestate needs its traceparent.
    """
    values_by_name: dict[str, list[bytes | None]] = {}
    for name, value in headers:
        if name in _NAMES:
            values_by_name.setdefault(name, []).append(value)
    if not values_by_name:
        return _NOTHING
    found = {
        TRACEPARENT: _traceparent(values_by_name.get(TRACEPARENT, [])),
        TRACESTATE: _tracestate(values_by_name.get(TRACESTATE, [])),
        CORRELATION_ID: _correlation_id(values_by_name.get(CORRELATION_ID, [])),
    }
    if found[TRACEPARENT] is None:
        found[TRACESTATE] = None
    return PropagatedHeaders(
        tuple((name, value) for name, value in found.items() if value is not None),
        tuple(name for name, value in found.items() if value is None and name in values_by_name),
    )


def _traceparent(values: list[bytes | None]) -> bytes | None:
    match values:
        case [bytes(value)] if _TRACEPARENT.fullmatch(value):
            return value
        case _:
            return None


def _tracestate(values: list[bytes | None]) -> bytes | None:
    lists = [value for value in values if value is not None]
    if not lists or len(lists) < len(values):
        return None
    joined = b",".join(lists)
    if len(joined) > HEADER_LIMIT_BYTES or not joined.strip():
        return None
    members = joined.split(b",")
    fit = len(members) <= _MEMBERS_LIMIT and all(_MEMBER.fullmatch(member.strip(b" \t")) for member in members)
    return joined if fit else None


def _correlation_id(values: list[bytes | None]) -> bytes | None:
    value = values[-1] if values else None
    if not value or len(value) > HEADER_LIMIT_BYTES:
        return None
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return None if holds_control(text) or not text.strip() else value
