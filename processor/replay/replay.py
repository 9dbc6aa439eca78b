"""`replay`: give events of the past the outcomes that they miss, and no other."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from processor.domain.operation import OperationKind
from processor.domain.template import TemplateSet
from processor.domain.text import closest_match, did_you_mean
from processor.engine.start_offsets import group_positions
from processor.errors import InputError, UsageError
from processor.replay.event_range import EventRange, remaining_range, resolve_range
from processor.replay.operation import OnPhase, PartitionWork, PastRequest, Session
from processor.replay.partition_replay import PartitionReplay, ReplayJob
from processor.replay.plan import Plan
from processor.replay.request import ReplayRequest, parse_request, request_as_json

_IS_PLANNED: Final = "isPlanned"  # among the values of a request: the operation does a plan


@dataclass(frozen=True)
class ReplayCommand:
    """A replay as an operation. `plan` is done exactly, or not at all. `makes_plan`: the report says of each record
    which outcomes it gets."""

    asked: ReplayRequest
    plan: Plan | None = None
    makes_plan: bool = False

    @property
    def request(self) -> PastRequest:
        """What is asked for."""
        return PastRequest(
            kind=OperationKind.REPLAY,
            command=self.asked.command,
            partitions=self.asked.selection.partitions,
            values=request_as_json(self.asked) | ({} if self.plan is None else {_IS_PLANNED: True}),
            reissue=self.asked.reissue,
            send_late=self.asked.send_late,
        )

    @property
    def rehearses(self) -> bool:
        """A plan is compared with what is missing now before anything is written."""
        return self.plan is not None

    def go_on(self, values: Mapping[str, Any]) -> "ReplayCommand":
        """The same with what an operation asked for. ValueError for what is no replay's, UsageError where it did a plan
        and none is given."""
        if values.get(_IS_PLANNED) and self.plan is None:
            raise UsageError("this operation does a plan, and nothing else", hint="name its file with --plan")
        return replace(self, asked=parse_request(values))

    def check(self, templates: TemplateSet) -> None:
        """Raise UsageError for templates that there are not, InputError for a plan that was made with others."""
        scope, ids = self.asked.scope, {template.id for template in templates.templates}
        for name in sorted((scope.templates or frozenset()) | scope.include_new):
            if name not in ids:
                near = did_you_mean(closest_match(name, ids), before="; ")
                raise UsageError(f"there is no template {name!r}{near}", hint="`processor templates` lists them")
        if self.plan is not None and self.plan.set_version != templates.digest:
            raise InputError(
                f"the plan was made with template set {self.plan.set_version}, and the templates are now "
                f"{templates.digest}",
                hint="make a new plan, and have it reviewed",
            )

    def open(self, session: Session, partition: int, events: EventRange | None, on_phase: OnPhase) -> PartitionWork:
        """The replay of one partition. Raises as `resolve_range`."""
        planned = None if self.plan is None else self.plan.of_partition(partition)
        events = events if planned is None else planned.events
        settings, admin = session.settings, session.admin
        position = group_positions(settings, [partition]).get(partition)
        if events is None:
            events = resolve_range(settings, admin, self.asked.selection, partition, position=position)
        else:
            events = remaining_range(settings, admin, events, position=position)
        job = ReplayJob(
            self.asked, session.set_history(), session.began_ms, session.batch_records, planned, self.makes_plan
        )
        return PartitionReplay(session.partition_parts(partition), job, events, on_phase)
