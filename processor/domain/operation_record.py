"""What stands on `communications.operations`: who did what to a partition, and under which values it was mapped."""

from dataclasses import dataclass
from enum import StrEnum


class OperationRecordKind(StrEnum):
    """The `kind` of a record that this version knows."""

    ASSIGNED = "ASSIGNED"  #: `run` maps a partition from an offset on.


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


@dataclass(frozen=True, slots=True)
class OtherOperation:
    """A record of a kind that this version does not read."""

    kind: str


Operation = AssignedRecord | OtherOperation
