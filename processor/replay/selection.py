"""Which events an operation on the past is about: a range of offsets or of time, and what is in the events."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from processor.domain.event import Event, SourceEvent
from processor.domain.record import EventName
from processor.domain.times import parse_time_ms
from processor.errors import UsageError

_OFFSETS: Final = re.compile(r"(\d{1,19})?:(\d{1,19})?", re.ASCII)
_LARGEST_OFFSET: Final = 2**63 - 1
_AGE: Final = re.compile(r"(?P<number>\d{1,6})(?P<unit>[smhd])", re.ASCII)
_UNIT_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_HOLDER_KINDS: Final = ("client", "group")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What an operator selects; None: no limit of that kind.

    Offsets [`first_offset`, `end_offset`) of the events' partitions `partitions`; record times [`from_ms`, `to_ms`), in
    milliseconds since 1970; events named `events`, of the client or group `client` (encodedKey or id), of the account
    `account` (encodedKey or id).
    """

    partitions: tuple[int, ...] | None = None
    first_offset: int | None = None
    end_offset: int | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    events: frozenset[EventName] | None = None
    client: str | None = None
    account: str | None = None

    @property
    def looks_into_events(self) -> bool:
        """Whether an event has to be read to know if it is selected."""
        return not (self.events is None and self.client is None and self.account is None)

    def includes_time(self, time_ms: int) -> bool:
        """Whether a record of that time is selected."""
        return (self.from_ms is None or time_ms >= self.from_ms) and (self.to_ms is None or time_ms < self.to_ms)

    def includes(self, source: SourceEvent) -> bool:
        """Whether an event is selected by its content, of which no more is read than that takes."""
        if self.events is not None and source.name not in self.events:
            return False
        if self.client is not None and self.client not in _keys(source.event, _HOLDER_KINDS):
            return False
        return self.account is None or self.account in _keys(source.event, ("account",))


def parse_offsets(text: str) -> tuple[int | None, int | None]:
    """`A:B` -> offsets from A up to, not including, B; either may be left out. Raises UsageError."""
    match = _OFFSETS.fullmatch(text)
    parts = ("", "") if match is None else match.groups(default="")
    first, end = (int(part) if part else None for part in parts)
    if (first is None and end is None) or max(first or 0, end or 0) > _LARGEST_OFFSET:
        raise UsageError(f"--offsets takes A:B, got: {text!r}", hint="1200:1300 is 1200 to 1299, 1200: all after it")
    if first is not None and end is not None and first >= end:
        raise UsageError(f"--offsets {text} is empty: B is the first offset that is not taken, and above A")
    return first, end


def parse_time(option: str, text: str, *, now_ms: Callable[[], int]) -> int:
    """The time that `--from` or `--to` gives, in milliseconds since 1970: RFC 3339, or how long ago as in 2h. Raises
    UsageError."""
    if age := _AGE.fullmatch(text):
        return now_ms() - int(age["number"]) * _UNIT_MS[age["unit"]]
    time_ms = parse_time_ms(text)
    if time_ms is None:
        raise UsageError(
            f"{option} takes a time with its offset, or an age, got: {text!r}",
            hint="2026-03-14T09:26:53Z, or 90s, 30m, 2h, 3d ago",
        )
    return time_ms


def require_order(from_ms: int | None, to_ms: int | None) -> None:
    """Raise UsageError when `--from` is not before `--to`."""
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        raise UsageError("--from is not before --to: no time lies between", hint="exchange the two")


def _keys(event: Event, kinds: tuple[str, ...]) -> frozenset[str]:
    """encodedKey and id of the event's parts of those kinds."""
    parts = (event.fields.get(kind) or {} for kind in kinds)
    return frozenset(str(part[name]) for part in parts for name in ("encodedKey", "id") if part.get(name))
