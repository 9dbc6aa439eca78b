"""The group's positions as a person wants them: where each partition would go on, and what that skips or repeats.

Nothing is written here (set_positions.py does), and the group may be active.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import ConsumerGroupDescription, OffsetSpec

from processor.domain.operation_record import ProgressRecord
from processor.domain.output_topics import OutputTopics
from processor.domain.record import Topic
from processor.domain.template import template_set
from processor.engine.mapping_parts import retry_until_available
from processor.engine.output_scan import UNREADABLE_HINT, OnProgress, OutcomeReader
from processor.engine.start_offsets import READ_HINT, group_positions, join_refusals
from processor.errors import InputError, TopicConfigError, UsageError
from processor.kafka.clients import Admin, create_admin
from processor.kafka.errors import exit_on_broker_errors
from processor.kafka.offsets import REQUEST_TIMEOUT_S, offset_at_time, partition_extent, partition_offset, response_of
from processor.kafka.topic_state import describe_topics, read_output_topics
from processor.observability.signals import Shutdown
from processor.replay.operation_log import LoggedOperation, is_under_way, newest_progress, now_ms
from processor.replay.output_access import blocking_schema_of, exit_when_unavailable
from processor.replay.positions_file import SavedPositions
from processor.replay.selection import parse_time
from processor.settings import InputTopic, Settings
from processor.wire.reader_schemas import Schemas

_OFFSET: Final = re.compile(r"\d{1,19}", re.ASCII)
_LARGEST_OFFSET: Final = 2**63 - 1
_MEMBERS_SHOWN: Final = 5
_NOT_ACTIVE: Final = frozenset({ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD})


class TargetKind(StrEnum):
    """What `--to` takes."""

    BEGINNING = "beginning"
    END = "end"
    OFFSET = "offset"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Target:
    """Where `--to` has partitions go on; `text` as it was typed. `value`: an offset, or milliseconds since 1970."""

    text: str
    kind: TargetKind
    value: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionsRequest:
    """What is asked for. `partitions`: None for all, or for all of a file."""

    partitions: tuple[int, ...] | None
    target: Target | SavedPositions
    republish: bool

    @property
    def as_json(self) -> dict[str, Any]:
        """As a progress record keeps it: the same command has the same."""
        partitions = None if self.partitions is None else sorted(self.partitions)
        if isinstance(self.target, Target):
            to: Any = self.target.text
        else:
            to = {str(number): offset for number, offset in sorted(self.target.positions.items())}
        return {"command": "positions", "partitions": partitions, "to": to, "republish": self.republish}


@dataclass(frozen=True, slots=True)
class Member:
    """A process that is in the group."""

    client: str
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionChange:
    """What becomes of one partition. Offsets are of the events; positions are the next offset to be mapped.

    The partition holds offsets [`first_offset`, `end_offset`). `published` is the highest source offset that an output
    has; None where there is none, and where the position stays, for then nobody looked. `outputs_end` is up to where
    the outputs were read for that, by topic. `newest` is the newest progress of an operation on the past.
    """

    partition: int
    from_offset: int
    to_offset: int
    first_offset: int
    end_offset: int
    published: int | None
    outputs_end: Mapping[Topic, int]
    newest: LoggedOperation[ProgressRecord] | None

    @property
    def stays(self) -> bool:
        """Whether there is nothing to do."""
        return self.from_offset == self.to_offset

    @property
    def skipped(self) -> int:
        """How many offsets that the partition still holds `run` would not come to."""
        return max(0, self.to_offset - max(self.from_offset, self.first_offset))

    @property
    def repeated(self) -> int:
        """How many offsets `run` would come to again."""
        return max(0, self.from_offset - self.to_offset)

    @property
    def republished(self) -> int:
        """How many offsets, from the new position on, are at or below the highest that an output has."""
        return 0 if self.stays or self.published is None else max(0, self.published + 1 - self.to_offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionsPlan:
    """What a request comes to, now. `members`: processes that are in the group; it has to be stopped first.

    `under_way`: the partitions in which another operation on the past is alive.
    """

    group: str
    topic: Topic
    request: PositionsRequest
    changes: tuple[PositionChange, ...]
    members: tuple[Member, ...]
    under_way: tuple[PositionChange, ...]
    topics: OutputTopics

    @property
    def to_do(self) -> tuple[PositionChange, ...]:
        """The partitions whose position is another one."""
        return tuple(change for change in self.changes if not change.stays)


def members_text(members: Sequence[Member]) -> str:
    """Who they are, the first few by name."""
    names = ", ".join(f"{member.client} on {member.host}" for member in members[:_MEMBERS_SHOWN])
    more = len(members) - _MEMBERS_SHOWN
    return f"{names} and {more} more" if more > 0 else names


def current_positions(settings: Settings, partitions: Sequence[int]) -> dict[int, int]:
    """The group's position in each of `partitions` that has one, once its coordinator, which may just be moving, says
    so. Blocks; DependencyError when it does not for 15 s, AuthorizationError."""
    return retry_until_available(
        lambda: group_positions(settings, partitions), Shutdown(), server=settings.bootstrap_servers
    )


def parse_target(text: str, *, now_ms: Callable[[], int]) -> Target:
    """`--to OFFSET|beginning|end|TIME`; TIME is RFC 3339 with its offset, or an age such as 2h. Raises UsageError."""
    if text in (TargetKind.BEGINNING, TargetKind.END):
        return Target(text, TargetKind(text))
    if _OFFSET.fullmatch(text):
        if int(text) > _LARGEST_OFFSET:
            raise UsageError(f"--to {text} is above every offset", hint="`--to end` goes to the end")
        return Target(text, TargetKind.OFFSET, int(text))
    try:
        return Target(text, TargetKind.TIME, parse_time("--to", text, now_ms=now_ms))
    except UsageError as error:
        raise UsageError(
            f"--to takes an offset, beginning, end or a time, got: {text!r}",
            hint="a time looks like 2026-03-14T09:26:53Z, or 90s, 30m, 2h, 3d ago",
        ) from error


def plan_positions(
    settings: Settings, schemas: Schemas, request: PositionsRequest, *, on_progress: OnProgress | None = None
) -> PositionsPlan:
    """What `request` comes to. Blocks: all outputs of each partition whose position changes are read.

    UsageError for a partition that there is not; InputError for all partitions whose position cannot be set, and for a
    group without positions; TopicConfigError for topics that are missing or lack a partition; DependencyError when
    broker or registry do not respond or a transaction does not end, AuthorizationError when they refuse.
    """
    admin = create_admin(settings)
    events = settings.topic(InputTopic.EVENTS)
    schema_of = blocking_schema_of(settings, schemas)
    _require_own_file(settings, request.target)
    with exit_on_broker_errors(settings, admin, hint=READ_HINT), exit_when_unavailable(settings):
        topics = read_output_topics(admin, settings, template_set(()))
        partitions = _selected_partitions(admin, settings, topics, request)
        positions = _positions(settings, partitions)
        members = _members(admin, settings)  # after the positions: their coordinator is there (start_offsets.py)
        targets = _targets(admin, events, partitions, positions, request)
        changes = []
        for partition in partitions:
            outcomes = OutcomeReader(settings, schemas, partition, schema_of=schema_of, admin=admin)
            changes.append(
                _change(targets[partition], outcomes, newest_progress(settings, partition, admin=admin), on_progress)
            )
    return PositionsPlan(
        group=settings.group_id,
        topic=events,
        request=request,
        changes=tuple(changes),
        members=members,
        under_way=tuple(
            change for change in changes if change.newest is not None and is_under_way(change.newest, now_ms=now_ms())
        ),
        topics=topics,
    )


def refuse_republishing(plan: PositionsPlan) -> None:
    """Raise InputError when a position would be at or below what the outputs hold, and nobody asked for that."""
    if refuses_republishing(plan):
        raise join_refusals(
            [
                republishing_error(plan.topic, change, change.published)
                for change in plan.to_do
                if change.republished and change.published is not None
            ]
        )


def refuses_republishing(plan: PositionsPlan) -> bool:
    """Whether a position would be at or below what the outputs hold, and nobody asked for that."""
    return not plan.request.republish and any(change.republished for change in plan.to_do)


def republishing_error(topic: Topic, change: PositionChange, published: int) -> InputError:
    """Why a partition must not go on at an offset at or below `published`."""
    recreated = "; the topic was created again, or its outputs are another one's" * (published >= change.end_offset)
    return InputError(
        f"the outputs hold events of {topic}[{change.partition}] up to offset {published}: going on at "
        f"{change.to_offset} would publish them again{recreated}",
        hint="`processor replay` publishes what has no outcome, and nothing else; `--republish --because TEXT` "
        "publishes each message again, under the same keys",
    )


def _require_own_file(settings: Settings, target: Target | SavedPositions) -> None:
    """Raise UsageError for positions that were saved of another group or of other events."""
    own = (settings.group_id, settings.topic(InputTopic.EVENTS))
    if isinstance(target, SavedPositions) and (target.group, target.topic) != own:
        raise UsageError(
            f"the file has positions of group {target.group!r} in {target.topic}, and this is {own[0]!r} in {own[1]}",
            hint="check PROCESSOR_GROUP and PROCESSOR_TOPICS__PREFIX",
        )


def _selected_partitions(
    admin: Admin, settings: Settings, topics: OutputTopics, request: PositionsRequest
) -> tuple[int, ...]:
    """Those asked for, in order, each once. Raises UsageError, and TopicConfigError for an output without one."""
    events = settings.topic(InputTopic.EVENTS)
    existing = describe_topics(admin, (events,))
    if events not in existing:
        raise TopicConfigError(f"topics are missing: {events}", hint="`processor topics --create`")
    count = existing[events].partitions
    saved = request.target.positions if isinstance(request.target, SavedPositions) else None
    partitions = sorted(request.partitions or (range(count) if saved is None else saved))
    for partition in dict.fromkeys(partitions):
        if not 0 <= partition < count:
            raise UsageError(f"{events} has no partition {partition}", hint=f"it has {count}, from 0 on")
        if saved is not None and partition not in saved:
            raise UsageError(f"the file has no position of partition {partition}", hint="leave --partition out")
        for topic in topics.co_partitioned:
            if partition >= topic.partitions:
                raise TopicConfigError(
                    f"{topic.name} has no partition {partition}", hint="`processor topics` names the command to grow it"
                )
    if isinstance(request.target, Target) and request.target.kind is TargetKind.OFFSET and len(set(partitions)) > 1:
        raise UsageError(
            f"--to {request.target.text} is an offset of one partition, and {len(set(partitions))} are selected",
            hint="name it by --partition",
        )
    return tuple(dict.fromkeys(partitions))


def _positions(settings: Settings, partitions: Iterable[int]) -> dict[int, int]:
    """The group's positions. Raises InputError when it lacks one of them."""
    events, wanted = settings.topic(InputTopic.EVENTS), list(partitions)
    positions = current_positions(settings, wanted)
    missing = [partition for partition in wanted if partition not in positions]
    if not positions:
        raise InputError(
            f"group {settings.group_id!r} has no position in {events}"
            + "".join(f"[{partition}]" for partition in missing if len(missing) == 1),
            hint="`processor run --start-from` decides where a group without positions starts; check PROCESSOR_GROUP",
        )
    if missing:
        raise InputError(
            f"group {settings.group_id!r} has no position in partitions {', '.join(map(str, missing))} of {events}",
            hint="`run` gives a new partition its position; name the others by --partition",
        )
    return positions


@dataclass(frozen=True, slots=True)
class _PartitionTarget:
    """Where a partition is, is to go, and what it holds: offsets [`first_offset`, `end_offset`)."""

    partition: int
    from_offset: int
    to_offset: int
    first_offset: int
    end_offset: int


def _targets(
    admin: Admin, events: Topic, partitions: Iterable[int], positions: Mapping[int, int], request: PositionsRequest
) -> dict[int, _PartitionTarget]:
    """By partition. Raises InputError for all that would be outside of what their partition holds."""
    targets: dict[int, _PartitionTarget] = {}
    refusals: list[InputError] = []
    for partition in partitions:
        extent = partition_extent(admin, events, partition, hint=READ_HINT)
        to_offset = _to_offset(admin, events, partition, request.target)
        if not extent.first <= to_offset <= extent.end:
            holds = (
                f"it holds offsets {extent.first} to {extent.end - 1}" if extent.first < extent.end else "it is empty"
            )
            refusals.append(
                InputError(
                    f"{events}[{partition}] cannot go on at offset {to_offset}: {holds}, and the next record gets "
                    f"{extent.end}",
                    hint="`--to beginning` or `end` takes what there is",
                )
            )
        targets[partition] = _PartitionTarget(partition, positions[partition], to_offset, extent.first, extent.end)
    if refusals:
        raise join_refusals(refusals)
    return targets


def _to_offset(admin: Admin, events: Topic, partition: int, target: Target | SavedPositions) -> int:
    if isinstance(target, SavedPositions):
        return target.positions[partition]
    match target.kind:
        case TargetKind.OFFSET:
            return target.value
        case TargetKind.TIME:
            return offset_at_time(admin, events, partition, target.value, hint=READ_HINT)
        case TargetKind.BEGINNING:
            return partition_offset(admin, events, partition, OffsetSpec.earliest(), hint=READ_HINT)
        case TargetKind.END:
            # Not the high watermark: what an open transaction holds becomes readable later and is not skipped.
            return partition_offset(admin, events, partition, OffsetSpec.latest(), hint=READ_HINT)


def _change(
    target: _PartitionTarget,
    outcomes: OutcomeReader,
    newest: LoggedOperation[ProgressRecord] | None,
    on_progress: OnProgress | None,
) -> PositionChange:
    published: int | None = None
    outputs_end: Mapping[Topic, int] = {}
    if target.from_offset != target.to_offset:
        outputs_end = {topic: extent.end for topic, extent in outcomes.extents().items()}
        try:
            published = outcomes.highest_published_offset(on_progress=on_progress)
        except InputError as error:
            raise InputError(error.what, hint=UNREADABLE_HINT) from error  # its hint is for `run`
    return PositionChange(
        partition=target.partition,
        from_offset=target.from_offset,
        to_offset=target.to_offset,
        first_offset=target.first_offset,
        end_offset=target.end_offset,
        published=published,
        outputs_end=outputs_end,
        newest=newest,
    )


def _members(admin: Admin, settings: Settings) -> tuple[Member, ...]:
    """The processes that are in the group, of either protocol; one without a name where it is active all the same."""
    (future,) = admin.describe_consumer_groups([settings.group_id], request_timeout=REQUEST_TIMEOUT_S).values()
    group: ConsumerGroupDescription = response_of(admin, future, hint=READ_HINT)
    if not group.members and group.state in _NOT_ACTIVE:
        return ()
    members = tuple(Member(str(member.client_id), str(member.host).lstrip("/")) for member in group.members)
    return members or (Member("unknown", "unknown"),)
