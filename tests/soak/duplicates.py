"""An event, then a restart, then the event again: what came of the first decides whether the second is a duplicate."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from tests.soak.expected import DeadLettered, Record, Skipped, ordering_key, valid_record
from tests.soak.registry import DELETABLE_ID, LATE_ID, LATE_REFUSED_ID, Registry, framed_record, id_of
from tests.soak.workload import event_json


@dataclass(frozen=True, slots=True)
class DuplicateCase:
    """The records `before` the restart, a change of the registry, and the records `after` it; all of one key."""

    key: bytes
    before: Sequence[Record]
    after: Sequence[Record]
    change_registry: Callable[[Registry], None] = lambda _registry: None


def _registered_later(event: Mapping[str, Any], first_id: int, number: int) -> DuplicateCase:
    """The first could not be decoded, so the second creates the messages, and the third is a duplicate."""
    undecodable = framed_record(event, first_id + number, refused=True)
    return _case(
        event,
        [undecodable],
        [valid_record(event), valid_record(event)],
        lambda registry: registry.register(id_of(event, first_id + number)),
    )


def _deleted_later(event: Mapping[str, Any], number: int, *, times: int) -> DuplicateCase:
    """The first has created its messages, and can no longer be decoded."""
    records = [framed_record(event, DELETABLE_ID + number)] * times
    delete_id = id_of(event, DELETABLE_ID + number)
    return _case(event, records, [valid_record(event)], lambda registry: registry.delete(delete_id))


def _case(
    event: Mapping[str, Any],
    before: Sequence[Record],
    after: Sequence[Record],
    change_registry: Callable[[Registry], None] = lambda _registry: None,
) -> DuplicateCase:
    return DuplicateCase(ordering_key(event).encode(), before, after, change_registry)


def _rejected_case(event: Mapping[str, Any], reason: str, changes: Mapping[str, Any]) -> DuplicateCase:
    """The first was rejected, although its event id could be decoded."""
    key = ordering_key(event).encode()
    return _case(
        event, [Record(key, json.dumps({**event, **changes}).encode(), DeadLettered(reason))], [valid_record(event)]
    )


def _without_key(event: Mapping[str, Any]) -> DuplicateCase:
    return _case(
        event,
        [replace(valid_record(event), key=None, expectation=DeadLettered("MISSING_KEY"))],
        [valid_record(event), valid_record(event)],
    )


def _of_other_tenant(event: Mapping[str, Any]) -> DuplicateCase:
    foreign = json.dumps({**event, "tenant": "southbank"}).encode()
    skipped = Record(ordering_key(event).encode(), foreign, Skipped("TENANT_DISABLED", str(event["eventId"])))
    return _case(event, [skipped], [valid_record(event), valid_record(event)])


def _processed_case(event: Mapping[str, Any]) -> DuplicateCase:
    return _case(event, [valid_record(event)], [valid_record(event), valid_record(event)])


CASES: Final[Mapping[str, Callable[[int, int], DuplicateCase]]] = {
    "its schema was registered late": lambda account, n: _registered_later(
        event_json(account=account, number=n), LATE_ID, n
    ),
    "its schema was refused": lambda account, n: _registered_later(
        event_json("SAVINGS_DEPOSIT", account=account, number=n), LATE_REFUSED_ID, n
    ),
    "its schema was deleted": lambda account, n: _deleted_later(event_json(account=account, number=n), n, times=1),
    "twice, and its schema was deleted": lambda account, n: _deleted_later(
        event_json("SAVINGS_DEPOSIT", account=account, number=n), n, times=2
    ),
    "a template failed": lambda account, n: _processed_case(event_json(account=account, number=n, strict=False)),
    "no template": lambda account, n: _processed_case(event_json("CLIENT_CREATED", account=account, number=n)),
    "another tenant": lambda account, n: _of_other_tenant(event_json(account=account, number=n)),
    "no key": lambda account, n: _without_key(event_json(account=account, number=n)),
    "invalid": lambda account, n: _rejected_case(
        event_json(account=account, number=n), "INVALID_EVENT", {"occurredAt": ["today"]}
    ),
    "its name was unknown": lambda account, n: _rejected_case(
        event_json(account=account, number=n), "UNKNOWN_EVENT", {"event": "LOAN_REPAID"}
    ),
}
"""What the first record was -> the case of an account's event, by its number."""


def duplicate_cases(*, first_account: int, number: int) -> dict[str, DuplicateCase]:
    """All cases, each with an account of its own, from `first_account` on, and the account's `number`-th event.

    Another number means other schema ids.
    """
    step = 2 * len(CASES)
    return {
        name: make_case(first_account + n, step * number + 2 * n) for n, (name, make_case) in enumerate(CASES.items())
    }
