"""What an operator asks of a replay, also as values that a progress record keeps, so that it can be gone on with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from processor.domain.reasons import DecisionReason
from processor.domain.record import EventName, TemplateId
from processor.replay.missing import Scope
from processor.replay.selection import Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRequest:
    """What is to be replayed. `command` is what was typed, in one order: who types it again goes on with the operation,
    also where it says `2h`. `reissue`: new messages beside those that exist. `send_late`: they may be sent past their
    age limit."""

    command: str = ""
    selection: Selection = field(default_factory=Selection)
    scope: Scope = field(default_factory=Scope)
    reissue: bool = False
    send_late: bool = False


def request_as_json(request: ReplayRequest) -> dict[str, Any]:
    """As JSON values; what is not limited is left out."""
    selection, scope = request.selection, request.scope
    values = {
        "command": request.command,
        "partitions": None if selection.partitions is None else list(selection.partitions),
        "firstOffset": selection.first_offset,
        "endOffset": selection.end_offset,
        "fromMs": selection.from_ms,
        "toMs": selection.to_ms,
        "events": _sorted(selection.events),
        "client": selection.client,
        "account": selection.account,
        "templates": _sorted(scope.templates),
        "includeNew": _sorted(scope.include_new) or None,
        "includeDecided": _sorted(scope.include_decided) or None,
        "reissue": request.reissue or None,
        "sendLate": request.send_late or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def parse_request(values: Mapping[str, Any]) -> ReplayRequest:
    """The request of a progress record. ValueError for what is none, or has a reason of a newer version."""
    partitions, events, templates = (values.get(name) for name in ("partitions", "events", "templates"))
    try:
        return ReplayRequest(
            command=str(values["command"]),
            selection=Selection(
                partitions=None if partitions is None else tuple(map(int, partitions)),
                first_offset=values.get("firstOffset"),
                end_offset=values.get("endOffset"),
                from_ms=values.get("fromMs"),
                to_ms=values.get("toMs"),
                events=None if events is None else frozenset(map(EventName, events)),
                client=values.get("client"),
                account=values.get("account"),
            ),
            scope=Scope(
                templates=None if templates is None else frozenset(map(TemplateId, templates)),
                include_new=frozenset(map(TemplateId, values.get("includeNew", ()))),
                include_decided=frozenset(map(DecisionReason, values.get("includeDecided", ()))),
            ),
            reissue=bool(values.get("reissue", False)),
            send_late=bool(values.get("sendLate", False)),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not the request of a replay: {error}") from error


def _sorted(words: frozenset[Any] | None) -> list[str] | None:
    return None if words is None else sorted(map(str, words))
