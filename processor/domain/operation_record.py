"""What stands on `communications.operations`: who did what to a partition, and under which values it was mapped.

Times `at_ms` are of the clock of who wrote the record, in milliseconds since 1970 (UTC).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from processor.domain.operation import OperationId


class OperationRecordKind(StrEnum):
    """The `kind` of a record that this version knows."""

    ASSIGNED = "ASSIGNED"  #: `run` maps a partition from an offset on.
    PROGRESS = "PROGRESS"  #: How far an operation on the past has come in a partition.
    POSITIONS = "POSITIONS"  #: A person sets the group's position in a partition.
    UNMASKED = "UNMASKED"  #: A person was shown customers' data.


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignedRecord:
    """Under which values a process of `run` maps a partition, from `offset` on until the next record of the partition.

    `offset` is the first that the assignment maps; of a record that is repeated after a day, the position at which its
    transaction begins. `start_from` is the policy that chose the offset: `beginning`, `end`, `outputs` or a time in
    RFC 3339; None where the group had a position, or no policy was needed. `set_version` is the digest of the templates
    in use in that transaction. `decisions` is the setting, a word of WrittenDecisions or of a newer version. `instance`
    is the instance id, a part of the transactional.id, and `version` that of this program.
    """

    partition: int
    offset: int
    start_from: str | None
    set_version: str
    decisions: str
    instance: str
    version: str


class OperationState(StrEnum):
    """What an operation on the past says of itself in a progress record."""

    UNDER_WAY = "UNDER_WAY"  #: It goes on; after a kill this is what it said last.
    DONE = "DONE"  #: It has dealt with its whole range.
    STOPPED = "STOPPED"  #: Ended before that, by a person or an error. The same command goes on with it.


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationCounts:
    """What an operation has written for a partition so far, in records."""

    messages: int = 0
    decisions: int = 0
    dead_letters: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressRecord:
    """How far an operation on the past has come in a partition.

    Its range is source offsets [first_offset, end_offset), and `next_offset` the first that is not dealt with. `by` is
    a person, `because` what they gave as the reason; `host` and `process_id` say where it runs. `set_version` is the
    digest of the templates it works with, empty where it maps nothing. `request` is what was asked for, as JSON values:
    the same one goes on with the operation.
    """

    operation: OperationId
    partition: int
    state: OperationState
    first_offset: int
    end_offset: int
    next_offset: int
    by: str
    because: str | None = None
    host: str
    process_id: int
    set_version: str
    request: Mapping[str, Any]
    counts: OperationCounts
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionsRecord:
    """A person sets the group's position in a partition of the events.

    Written before the commit, which may have failed. `operation` is None where another program wrote the record.
    Offsets are positions: the next to be mapped.
    """

    operation: OperationId | None = None
    partition: int
    from_offset: int
    to_offset: int
    by: str
    because: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmaskedRecord:
    """A person was shown customers' addresses and texts of a partition. `command` is what they called, as typed."""

    command: str
    by: str
    because: str | None = None
    host: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class OtherOperation:
    """A record of a kind that this version does not read."""

    kind: str


Operation = AssignedRecord | ProgressRecord | PositionsRecord | UnmaskedRecord | OtherOperation
