"""`processor replay`: gives events of the past the outcomes that they miss. A dry run unless --yes.

The exit code is 1 while something is missing: of a dry run what it would write, else what it could not.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from processor.cli.output import FINDINGS_EXIT_CODE, JsonOption, print_json
from processor.cli.past_options import (
    BecauseOption,
    ByOption,
    EventOption,
    FromOption,
    PartitionOption,
    RateOption,
    ResumeOption,
    SendLateOption,
    TakeOverOption,
    TemplateOption,
    ToOption,
    YesOption,
    command_text,
    event_names,
    load_past_settings,
    operation_options,
    require_text,
    run_past_command,
    times_ms,
)
from processor.errors import UsageError
from processor.screen import Column, Listing, Screen

if TYPE_CHECKING:
    from processor.replay.plan import Plan
    from processor.replay.replay import ReplayCommand
    from processor.replay.report import OperationReport, PartitionReport
    from processor.replay.request import ReplayRequest

EXAMPLE: Final = "processor replay --partition 3 --from 2h"

_LIMITS_SHOWN: Final = 5  # ranges that a line names

_OffsetsOption = Annotated[
    str | None, typer.Option(metavar="A:B", help="Offsets from A up to, not including, B; either may be left out.")
]
_ClientOption = Annotated[str | None, typer.Option(metavar="KEY", help="Only of the client or group, by key or id.")]
_AccountOption = Annotated[str | None, typer.Option(metavar="KEY", help="Only of the account, by key or id.")]
_IncludeNewOption = Annotated[
    list[str] | None,
    typer.Option(metavar="TEMPLATE", help="Also where the set of then did not have this template; repeatable."),
]
_IncludeDecidedOption = Annotated[
    list[str] | None,
    typer.Option(metavar="REASON", help="Also what was skipped for this reason, with today's set; repeatable."),
]
_ReissueOption = Annotated[
    bool,
    typer.Option("--reissue", help="New messages beside those that exist: people get them again; needs --because."),
]
_SavePlanOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write what is missing to a file, for a review.")
]
_PlanOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Do exactly this plan, or nothing if more is missing now.")
]


def command(
    partition: PartitionOption = None,
    offsets: _OffsetsOption = None,
    from_: FromOption = None,
    to: ToOption = None,
    event: EventOption = None,
    client: _ClientOption = None,
    account: _AccountOption = None,
    template: TemplateOption = None,
    include_new: _IncludeNewOption = None,
    include_decided: _IncludeDecidedOption = None,
    reissue: _ReissueOption = False,
    send_late: SendLateOption = False,
    save_plan: _SavePlanOption = None,
    plan: _PlanOption = None,
    yes: YesOption = False,
    rate: RateOption = None,
    by: ByOption = None,
    because: BecauseOption = None,
    resume: ResumeOption = None,
    take_over: TakeOverOption = False,
    as_json: JsonOption = False,
) -> int:
    """Map events of the past again that have no outcome.

    `run` goes on meanwhile, and nobody is written to twice. With --include-new and --include-decided also messages
    that events lack for the templates and reasons that you name. A dry run unless --yes.
    """
    from processor.domain.operation import OperationKind
    from processor.observability.signals import INTERRUPTED_EXIT_CODE
    from processor.replay.request import ReplayRequest

    names = ("partition", "offsets", "from_", "to", "event", "client", "account", "template", "include_new")
    more_names = ("include_decided", "reissue", "send_late", "because", "plan")
    given = locals()
    replay = _replay_command({name: given[name] for name in (*names, *more_names)}, save_plan=save_plan, yes=yes)
    if resume is not None and plan is None and replay.asked != ReplayRequest(command=replay.asked.command):
        raise UsageError(
            "--resume goes on with what was asked for then", hint="leave out the options that select or include"
        )
    options = operation_options(
        OperationKind.REPLAY, by=by, resume=resume, rate=rate, yes=yes, because=because, take_over=take_over
    )
    report = run_past_command(load_past_settings(), replay, options)
    if report is None:
        return INTERRUPTED_EXIT_CODE
    if save_plan is not None:
        _save_plan(save_plan, replay.asked, report)
    if as_json:
        print_json(_as_json(report, rate=rate))
    else:
        _print_report(report, rate=rate)
    return FINDINGS_EXIT_CODE if report.is_missing_something else 0


# ---------------------------------------------------------------------------------------------------------------------
# What was typed


def _replay_command(typed: dict[str, Any], *, save_plan: Path | None, yes: bool) -> "ReplayCommand":
    """What is to be done. Raises UsageError for options that do not go together."""
    from processor.replay.plan import read_plan
    from processor.replay.replay import ReplayCommand

    file: Path | None = typed["plan"]
    if save_plan is not None and (yes or file is not None):
        raise UsageError("--save-plan is of a dry run", hint="leave out --yes and --plan")
    if save_plan is not None and save_plan.exists():
        raise UsageError(f"{save_plan} exists", hint="a plan is not written over; name another file")
    request = _request(typed)
    if file is None:
        return ReplayCommand(request, makes_plan=save_plan is not None)
    plan = read_plan(file)
    return ReplayCommand(_planned_request(plan, request), plan=plan)


def _request(typed: dict[str, Any]) -> "ReplayRequest":
    """The request. Raises UsageError for words that cannot be."""
    from processor.domain.record import TemplateId
    from processor.replay.missing import Scope
    from processor.replay.request import ReplayRequest
    from processor.replay.selection import Selection, parse_offsets

    for name in ("client", "account", "because"):
        require_text(f"--{name}", typed[name] or "")
    first, end = parse_offsets(typed["offsets"]) if typed["offsets"] is not None else (None, None)
    from_ms, to_ms = times_ms(typed["from_"], typed["to"])
    events = event_names(typed["event"])
    if typed["reissue"] and not typed["because"]:
        raise UsageError(
            "--reissue needs --because: people get something again", hint="say why, as in --because 'wrong amount'"
        )
    if typed["reissue"] and (typed["include_new"] or typed["include_decided"]):
        raise UsageError("--reissue is for messages that exist, --include-new and --include-decided for others")
    partitions = typed["partition"]
    return ReplayRequest(
        command=command_text(typed, left_out=frozenset() if typed["reissue"] else frozenset(("because",))),
        selection=Selection(
            partitions=None if not partitions else tuple(sorted(set(partitions))),
            first_offset=first,
            end_offset=end,
            from_ms=from_ms,
            to_ms=to_ms,
            events=events,
            client=typed["client"],
            account=typed["account"],
        ),
        scope=Scope(
            templates=frozenset(map(TemplateId, typed["template"])) if typed["template"] else None,
            include_new=frozenset(map(TemplateId, typed["include_new"] or ())),
            include_decided=frozenset(map(_reason, typed["include_decided"] or ())),
        ),
        reissue=typed["reissue"],
        send_late=typed["send_late"],
    )


def _planned_request(plan: "Plan", typed: "ReplayRequest") -> "ReplayRequest":
    """The request of a plan, under the command that was typed now."""
    from dataclasses import replace

    from processor.replay.request import ReplayRequest

    if typed != ReplayRequest(command=typed.command):
        raise UsageError("--plan says what is replayed", hint="leave out the other options that select or include")
    return replace(plan.request, command=typed.command)


def _reason(text: str) -> Any:
    from processor.domain.text import closest_match, did_you_mean
    from processor.replay.missing import REVIEWABLE

    found = next((reason for reason in REVIEWABLE if reason == text), None)
    if found is None:
        words = sorted(map(str, REVIEWABLE))
        near = did_you_mean(closest_match(text.upper(), words), before="; ")
        raise UsageError(f"--include-decided {text} is not a reason that can change{near}", hint=", ".join(words))
    return found


# ---------------------------------------------------------------------------------------------------------------------
# What is shown


def _save_plan(file: Path, request: "ReplayRequest", report: "OperationReport") -> None:
    from processor.replay.plan import Plan, PlannedPartition, write_plan

    planned = tuple(PlannedPartition(partition.events, partition.planned) for partition in report.partitions)
    write_plan(file, Plan(request, report.set_version, report.began_ms, planned))


def _print_report(report: "OperationReport", *, rate: float | None) -> None:
    screen = Screen()
    for partition in report.partitions:
        for line in _partition_lines(partition, is_dry=report.operation is None):
            screen.line(line)
    columns = (Column("template"), Column("channel"), Column("age"), Column("messages", is_number=True))
    listing = Listing(columns)
    messages = sum((partition.messages for partition in report.partitions), Counter[Any]())
    for (template, channel, age), count in sorted(messages.items(), key=_by_template):
        listing.add(template, channel, age, f"{count:,}")
    screen.listing(listing)
    for line in _closing_lines(report, rate=rate):
        screen.line(line)


def _by_template(item: "tuple[tuple[str, str, Any], int]") -> tuple[str, str, int]:
    from processor.replay.report import Age

    (template, channel, age), _count = item
    return template, channel, list(Age).index(age)


def _partition_lines(partition: "PartitionReport", *, is_dry: bool) -> Iterator[str]:
    from processor.replay.past_mapper import NothingToPublish

    events, nothing = partition.events, partition.nothing
    if events.first >= events.end:
        yield f"partition {events.partition}: no events in the range"
    else:
        yield (
            f"partition {events.partition}, offsets {events.first} to {events.end - 1}: "
            f"{partition.with_outcome:,} with outcome, {partition.without:,} without"
        )
    if partition.goes_on:
        yield "  an operation went on that was not done: later events are for another call"
    if partition.operation_under_way is not None:
        yield f"  {partition.operation_under_way}: what it writes meanwhile may be counted as missing here"
    if partition.unprovable:
        ranges = ", ".join(f"{low} to {high - 1}" for low, high in partition.unprovable_ranges[:_LIMITS_SHOWN])
        yield (
            f"  {partition.unprovable:,} events without outcome prove nothing: offsets {ranges} were mapped while "
            "decisions were not all written, or nobody knows any more"
        )
    words = {
        NothingToPublish.OUTSIDE_TIME: "outside of the range by time",
        NothingToPublish.NOT_SELECTED: "not selected",
        NothingToPublish.SAME_DECISION: "to be skipped once more",
        NothingToPublish.DEFERRED: "left as they are: the registry refuses their schema",
    }
    for reason, text in words.items():
        if nothing[reason]:
            yield f"  {nothing[reason]:,} {'event' if nothing[reason] == 1 else 'events'} {text}"
    if partition.shortened:
        yield f"  {partition.shortened:,} outputs name only some of their templates: their events are left out"
    verb = "would get" if is_dry else "got"
    for what, counts in (("decisions", partition.decisions), ("dead letters", partition.dead_letters)):
        if counts:
            yield f"  {verb} {what}: " + ", ".join(f"{count:,} {reason}" for reason, count in sorted(counts.items()))
    for (template, cause), count in sorted(partition.failed.items()):
        yield f"  {count:,} {'event fails' if count == 1 else 'events fail'} in template {template}: {cause}"


def _closing_lines(report: "OperationReport", *, rate: float | None) -> Iterator[str]:
    records = sum(partition.records for partition in report.partitions)
    messages = sum(partition.message_count for partition in report.partitions)
    late = sum((partition.late for partition in report.partitions), Counter[Any]())
    if late:
        counts = ", ".join(f"{count:,} {channel}" for channel, count in sorted(late.items()))
        yield f"past their channel's age limit: {counts}; they are not sent unless --send-late"
    for channel, recipients in sorted(_recipients(report).items()):
        who = "1 recipient gets" if len(recipients) == 1 else f"{len(recipients):,} recipients get"
        yield f"{who} something again by {channel}"
    if report.operation is not None:
        end = "stopped before the end; the same command goes on" if report.stopped else "done"
        yield f"operation {report.operation} {end}: {messages:,} messages of {records:,} events"
        return
    if not records:
        yield "nothing is missing" if not report.is_missing_something else "nothing can be made up for"
        return
    what = "would make" if _recipients(report) else "missing:"  # nothing of a reissue is missing
    yield f"{what} {messages:,} messages of {records:,} events"
    yield f"hint: nothing was written; --yes writes it, in about {_duration(report.estimated_s(rate))}"


def _duration(seconds: float) -> str:
    """For people: seconds, from two minutes on minutes, from two hours on hours."""
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"


def _recipients(report: "OperationReport") -> dict[str, set[int]]:
    """By channel; who is reached in two partitions counts once."""
    found: dict[str, set[int]] = {}
    for partition in report.partitions:
        for channel, recipients in partition.recipients.items():
            found.setdefault(channel, set()).update(recipients)
    return found


def _as_json(report: "OperationReport", *, rate: float | None) -> dict[str, Any]:
    return {
        "operation": report.operation,
        "setVersion": report.set_version,
        "stopped": report.stopped,
        "estimatedSeconds": round(report.estimated_s(rate), 1) if report.operation is None else None,
        "recipients": {channel: len(recipients) for channel, recipients in sorted(_recipients(report).items())},
        "partitions": [_partition_as_json(partition) for partition in report.partitions],
    }


def _partition_as_json(partition: "PartitionReport") -> dict[str, Any]:
    events = partition.events
    return {
        "partition": events.partition,
        "firstOffset": events.first,
        "endOffset": events.end,
        "goesOn": partition.goes_on,
        "operationUnderWay": partition.operation_under_way,
        "withOutcome": partition.with_outcome,
        "withoutOutcome": partition.without,
        "unprovable": partition.unprovable,
        "unprovableOffsets": [list(limits) for limits in partition.unprovable_ranges],
        "shortened": partition.shortened,
        "nothingToPublish": dict(sorted(partition.nothing.items())),
        "events": partition.records,
        "messages": [
            {"template": template, "channel": channel, "age": age, "count": count}
            for (template, channel, age), count in sorted(partition.messages.items(), key=_by_template)
        ],
        "late": dict(sorted(partition.late.items())),
        "decisions": dict(sorted(partition.decisions.items())),
        "deadLetters": dict(sorted(partition.dead_letters.items())),
        "failed": [
            {"template": template, "reason": reason, "count": count}
            for (template, reason), count in sorted(partition.failed.items())
        ],
        "seconds": {"examined": round(partition.examined_s, 3), "mapped": round(partition.mapped_s, 3)},
    }
