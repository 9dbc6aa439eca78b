"""Operations on the past: their ids, and what one says of all that it writes."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NewType

from processor.domain.record import Headers

OperationId = NewType("OperationId", str)  #: as in replay-20261129T075501Z-3f2a91c0

# Headers of what a past operation writes.
OPERATION_HEADER: Final = "operation"  #: The operation's id, as text.
SEND_LATE_HEADER: Final = "send-late"  #: Of a message that may be sent past its age limit. That it is there counts.
_SEND_LATE: Final = (SEND_LATE_HEADER, b"true")

RANDOM_BYTES: Final = 4  #: Of an id, so that two operations that begin in one second differ.
_ID: Final = re.compile(r"([a-z]+)-([0-9]{8}T[0-9]{6}Z)-([0-9a-f]{8})")


class OperationKind(StrEnum):
    """What a past operation does; the first word of its id."""

    REPLAY = "replay"  #: Events without an outcome, and outcomes that an operator names to be made up for.
    REDRIVE = "redrive"  #: Dead letters and failed templates.
    POSITIONS = "positions"  #: The group's positions, set by a person.


@dataclass(frozen=True, slots=True)
class OperationParts:
    """What an operation's id is made of. `began_at` is aware, UTC, cut to seconds; `random` has 4 bytes."""

    kind: OperationKind
    began_at: datetime
    random: bytes

    @property
    def id(self) -> OperationId:
        """The id: kind, time and random part, joined by hyphens, so that ids of one kind sort by their time."""
        time = self.began_at.replace(tzinfo=None).isoformat(timespec="seconds").replace("-", "").replace(":", "")
        return OperationId(f"{self.kind}-{time}Z-{self.random.hex()}")


def operation_id(kind: OperationKind, began_at: datetime, *, random: bytes) -> OperationId:
    """The id of a new operation. `began_at` is aware, of any zone; `random` has RANDOM_BYTES bytes."""
    return OperationParts(kind, began_at.astimezone(UTC), random).id


def parse_operation_id(text: str) -> OperationParts:
    """What an id is made of; its `id` is `text` again. ValueError for any other text, also for an unknown kind."""
    match = _ID.fullmatch(text)
    if match is None:
        raise ValueError(f"not an operation's id, such as replay-20261129T075501Z-3f2a91c0: {text!r}")
    kind, time, random = match.groups()
    return OperationParts(OperationKind(kind), datetime.fromisoformat(time), bytes.fromhex(random))


@dataclass(frozen=True, slots=True, kw_only=True)
class PastOperation:
    """An operation on the past, as mapping needs to know it. `run` is none.

    `reissue`: its messages are new ones, with ids of their own, beside those that exist. `send_late`: they may be sent
    past their age limit.
    """

    id: OperationId
    reissue: bool = False
    send_late: bool = False

    @property
    def headers(self) -> Headers:
        """What every record of it carries."""
        return ((OPERATION_HEADER, self.id.encode()),)

    @property
    def message_headers(self) -> Headers:
        """What a created message of it carries that is to be sent."""
        return (*self.headers, _SEND_LATE) if self.send_late else self.headers
