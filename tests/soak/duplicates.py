"""An event, then a restart, then the event again: what it was when it was processed decides whether it is a repeat."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from tests.chaos.expected import Dead, Record, SkippedTemplate, good, ordering_key
from tests.chaos.load import make_event
from tests.chaos.registry import KEPT_ID, LATE_ID, LATE_REFUSED_ID, Registry, framed, id_of


@dataclass(frozen=True, slots=True)
class Repetition:
    """The records `before` the restart, what the registry then does, and the records `after` it; all of one key."""

    key: bytes
    before: Sequence[Record]
    after: Sequence[Record]
    meanwhile: Callable[[Registry], None] = lambda _registry: None


def _registered(event: Mapping[str, Any], first_id: int, number: int) -> Repetition:
    """Nobody could read it, so its repetition makes the messages; the one after that is a repeat."""
    unread = framed(event, first_id + number, refused=True)
    return _with(event, [unread], [good(event), good(event)], lambda it: it.register(id_of(event, first_id + number)))


def _deleted(event: Mapping[str, Any], number: int, *, times: int) -> Repetition:
    """It has made its messages, and can no longer be read."""
    read = [framed(event, KEPT_ID + number)] * times
    return _with(event, read, [good(event)], lambda it: it.delete(id_of(event, KEPT_ID + number)))


def _with(
    event: Mapping[str, Any],
    before: Sequence[Record],
    after: Sequence[Record],
    meanwhile: Callable[[Registry], None] = lambda _registry: None,
) -> Repetition:
    return Repetition(ordering_key(event).encode(), before, after, meanwhile)


def _dead(event: Mapping[str, Any], reason: str, changes: Mapping[str, Any]) -> Repetition:
    """Its first record was a dead letter for itself, although its id could be read."""
    key = ordering_key(event).encode()
    return _with(event, [Record(key, json.dumps({**event, **changes}).encode(), Dead(reason))], [good(event)])


def _keyless(event: Mapping[str, Any]) -> Repetition:
    return _with(event, [replace(good(event), key=None, fate=Dead("MISSING_KEY"))], [good(event), good(event)])


def _of_another_tenant(event: Mapping[str, Any]) -> Repetition:
    foreign = json.dumps({**event, "tenant": "southbank"}).encode()
    skipped = Record(ordering_key(event).encode(), foreign, SkippedTemplate("TENANT_DISABLED", str(event["eventId"])))
    return _with(event, [skipped], [good(event), good(event)])


def _again(event: Mapping[str, Any]) -> Repetition:
    return _with(event, [good(event)], [good(event), good(event)])


KINDS: Final[Mapping[str, Callable[[int, int], Repetition]]] = {
    "its schema was registered late": lambda account, n: _registered(make_event(account=account, number=n), LATE_ID, n),
    "its schema was refused": lambda account, n: _registered(
        make_event("SAVINGS_DEPOSIT", account=account, number=n), LATE_REFUSED_ID, n
    ),
    "its schema was deleted": lambda account, n: _deleted(make_event(account=account, number=n), n, times=1),
    "twice, and its schema was deleted": lambda account, n: _deleted(
        make_event("SAVINGS_DEPOSIT", account=account, number=n), n, times=2
    ),
    "a template failed": lambda account, n: _again(make_event(account=account, number=n, strict=False)),
    "no template": lambda account, n: _again(make_event("CLIENT_CREATED", account=account, number=n)),
    "another tenant": lambda account, n: _of_another_tenant(make_event(account=account, number=n)),
    "no key": lambda account, n: _keyless(make_event(account=account, number=n)),
    "invalid": lambda account, n: _dead(
        make_event(account=account, number=n), "INVALID_EVENT", {"occurredAt": ["today"]}
    ),
    "its name was unknown": lambda account, n: _dead(
        make_event(account=account, number=n), "UNKNOWN_EVENT", {"event": "LOAN_REPAID"}
    ),
}
"""What came first -> the repetition of the event of `number` of an account."""


def repetitions(*, first_account: int, number: int) -> dict[str, Repetition]:
    """One of each kind, each of an account of its own, `first_account` on; all of them of their `number`-th event.

    Schema ids are of the number: another number, other schemas.
    """
    step = 2 * len(KINDS)
    return {kind: make(first_account + n, step * number + 2 * n) for n, (kind, make) in enumerate(KINDS.items())}
