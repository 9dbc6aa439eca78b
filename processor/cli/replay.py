"""`processor replay`: gives events of the past the outcomes that they miss. A dry run unless --yes.

The exit code is 1 while something is missing: of a dry run what it would write, else what it could not.
"""

import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from processor.cli import output
from processor.cli.output import FINDINGS_EXIT_CODE, JsonOption, cell, print_json, table
from processor.errors import UsageError

if TYPE_CHECKING:
    from processor.replay.operation import OnPhase
    from processor.replay.plan import Plan
    from processor.replay.report import OperationReport, PartitionReport
    from processor.replay.request import ReplayRequest

EXAMPLE: Final = "processor replay --partition 3 --from 2h"

_INTERRUPTED: Final = 128 + signal.SIGINT
_LIMITS_SHOWN: Final = 5  # ranges that a line names


def command(
    partition: Annotated[
        list[int] | None, typer.Option(metavar="P", min=0, help="Only this partition of the events; repeatable.")
    ] = None,
    offsets: Annotated[
        str | None, typer.Option(metavar="A:B", help="Offsets from A up to, not including, B; either may be left out.")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Events since a time, RFC 3339, or 2h for an age.")
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="TIME", help="Events before a time, as --from.")] = None,
    event: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this event; repeatable.")] = None,
    client: Annotated[str | None, typer.Option(metavar="KEY", help="Only of the client or group, key or id.")] = None,
    account: Annotated[str | None, typer.Option(metavar="KEY", help="Only of the account, by key or id.")] = None,
    template: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only this template; repeatable.")] = None,
    include_new: Annotated[
        list[str] | None,
        typer.Option(metavar="TEMPLATE", help="Also where the set of then did not have this template; repeatable."),
    ] = None,
    include_decided: Annotated[
        list[str] | None,
        typer.Option(metavar="REASON", help="Also what was skipped for this reason, with today's set; repeatable."),
    ] = None,
    reissue: Annotated[
        bool, typer.Option("--reissue", help="New messages beside those that exist: people get them again.")
    ] = False,
    send_late: Annotated[
        bool, typer.Option("--send-late", help="The messages may be sent past their channel's age limit.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Write what is missing; without it nothing is written.")] = False,
    rate: Annotated[
        float | None, typer.Option(metavar="R", help="At most R events a second; not set: as fast as possible.")
    ] = None,
    by: Annotated[str | None, typer.Option(metavar="NAME", help="Who does it; not set: the user's name.")] = None,
    because: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; kept with the operation.")] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="OPERATION", help="Go on with an operation that was not done.")
    ] = None,
    save_plan: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what is missing to a file, for a review.")
    ] = None,
    plan: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Do exactly this plan, or nothing if more is missing now.")
    ] = None,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="End another operation that is under way there, and go on.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Give events of the past the outcomes that they miss: `run` goes on meanwhile, and nobody is written to twice.

    Missing are events without any outcome; with --include-new and --include-decided also what you name.
    """
    from processor.observability.signals import ShutdownRequested
    from processor.replay.operation import OperationOptions, run_operation
    from processor.replay.plan import read_plan, write_plan
    from processor.replay.replay import ReplayCommand

    request = _request(
        partition=partition,
        offsets=offsets,
        from_=from_,
        to=to,
        event=event,
        client=client,
        account=account,
        template=template,
        include_new=include_new,
        include_decided=include_decided,
        reissue=reissue,
        send_late=send_late,
        because=because,
        plan=plan,
    )
    if plan is not None:
        request = _planned_request(plan, request)
    if save_plan is not None and (yes or plan is not None):
        raise UsageError("--save-plan is of a dry run", hint="leave out --yes and --plan")
    if save_plan is not None and save_plan.exists():
        raise UsageError(f"{save_plan} exists", hint="a plan is not written over; name another file")
    if rate is not None and not 0 < rate < float("inf"):
        raise UsageError("--rate takes a number above 0", hint="--rate 100 is a hundred events a second")
    options = OperationOptions(
        yes=yes,
        by=by or _user(),
        because=because,
        rate=rate,
        take_over=take_over,
        resume=_operation_id(resume, yes=yes),
    )
    replay = ReplayCommand(request, plan=None if plan is None else read_plan(plan), makes_plan=save_plan is not None)
    settings = output.load_quiet_settings()
    settings.required_tenant  # noqa: B018  raises
    settings.bootstrap_servers  # noqa: B018
    try:
        with _progress_bar() as on_phase:
            report = run_operation(settings, replay, options, on_phase=on_phase)
    except ShutdownRequested:
        sys.stderr.write("interrupted\n")
        return _INTERRUPTED
    if save_plan is not None:
        write_plan(save_plan, _plan(request, report))
    if as_json:
        print_json(_as_json(report))
    else:
        _print_report(report)
    return FINDINGS_EXIT_CODE if report.is_missing_something else 0


# ---------------------------------------------------------------------------------------------------------------------
# What was typed


def _request(**typed: Any) -> "ReplayRequest":
    """The request. Raises UsageError for words that cannot be."""
    from processor.domain.catalogue import EVENTS, nearest_event
    from processor.domain.record import EventName, TemplateId
    from processor.domain.text import did_you_mean
    from processor.replay.missing import Scope
    from processor.replay.operation import now_ms
    from processor.replay.request import ReplayRequest
    from processor.replay.selection import Selection, parse_offsets, parse_time, require_order

    first, end = parse_offsets(typed["offsets"]) if typed["offsets"] is not None else (None, None)
    times = {
        option: None if typed[name] is None else parse_time(option, typed[name], now_ms=now_ms)
        for option, name in (("--from", "from_"), ("--to", "to"))
    }
    require_order(times["--from"], times["--to"])
    for name in typed["event"] or ():
        if name not in EVENTS:
            raise UsageError(f"--event {name} is no event{did_you_mean(nearest_event(name), before='; ')}")
    if typed["reissue"] and not typed["because"]:
        raise UsageError(
            "--reissue needs --because: people get something again", hint="say why, as in --because 'wrong amount'"
        )
    if typed["reissue"] and (typed["include_new"] or typed["include_decided"]):
        raise UsageError("--reissue is for messages that exist, --include-new and --include-decided for others")
    partitions = typed["partition"]
    return ReplayRequest(
        command=_command_line(typed),
        selection=Selection(
            partitions=None if not partitions else tuple(sorted(set(partitions))),
            first_offset=first,
            end_offset=end,
            from_ms=times["--from"],
            to_ms=times["--to"],
            events=frozenset(map(EventName, typed["event"])) if typed["event"] else None,
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


def _planned_request(file: Path, typed: "ReplayRequest") -> "ReplayRequest":
    """The request of a plan, under the command that was typed now."""
    from dataclasses import replace

    from processor.replay.plan import read_plan
    from processor.replay.request import ReplayRequest

    if typed != ReplayRequest(command=typed.command):
        raise UsageError("--plan says what is replayed", hint="leave out the other options that select or include")
    return replace(read_plan(file).request, command=typed.command)


def _plan(request: "ReplayRequest", report: "OperationReport") -> "Plan":
    from processor.replay.plan import Plan, PlannedPartition

    planned = tuple(PlannedPartition(partition.events, partition.planned) for partition in report.partitions)
    return Plan(request, report.set_version, report.began_ms, planned)


def _command_line(typed: dict[str, Any]) -> str:
    """What was typed, in one order; who types it again goes on with an operation that was not done."""
    import shlex

    words: list[str] = []
    for name, value in sorted(typed.items()):
        option = f"--{name.strip('_').replace('_', '-')}"
        if value is True:
            words.append(option)
        elif isinstance(value, list):
            words += [part for item in sorted(map(str, value)) for part in (option, item)]
        elif value not in (None, False) and (name != "because" or typed["reissue"]):
            words += [option, str(value)]
    return shlex.join(words)


def _reason(text: str) -> Any:
    from processor.domain.text import closest_match, did_you_mean
    from processor.replay.missing import REVIEWABLE

    found = next((reason for reason in REVIEWABLE if reason == text), None)
    if found is None:
        words = sorted(map(str, REVIEWABLE))
        near = did_you_mean(closest_match(text.upper(), words), before="; ")
        raise UsageError(f"--include-decided {text} is not a reason that can change{near}", hint=", ".join(words))
    return found


def _operation_id(text: str | None, *, yes: bool) -> Any:
    from processor.domain.operation import OperationKind, parse_operation_id

    if text is None:
        return None
    if not yes:
        raise UsageError("--resume goes with --yes", hint="a dry run begins nothing, and has nothing to go on with")
    try:
        parts = parse_operation_id(text)
    except ValueError as error:
        raise UsageError(f"--resume: {error}") from error
    if parts.kind is not OperationKind.REPLAY:
        raise UsageError(f"--resume: {text} is a {parts.kind}", hint=f"`processor {parts.kind} --resume`")
    return parts.id


def _user() -> str:
    """The user's name; a number where the system knows none."""
    import getpass
    import os

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


# ---------------------------------------------------------------------------------------------------------------------
# What is shown


@contextmanager
def _progress_bar() -> "Iterator[OnPhase]":
    """A bar on stderr, where that is a terminal, with rate and time left, for each phase of a partition."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    screen = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        tasks: dict[str, tuple[TaskID, float]] = {}

        def on_phase(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total, rate=""), time.monotonic()
            task, began = tasks[what]
            elapsed_s = time.monotonic() - began
            bar.update(task, completed=done, total=total, rate=f"{done / elapsed_s:.0f}/s" if elapsed_s > 1 else "")
            if done >= total:
                bar.remove_task(task)
                del tasks[what]

        yield on_phase


def _print_report(report: "OperationReport") -> None:
    from rich.console import Console

    screen = Console()
    for partition in report.partitions:
        for line in _partition_lines(partition, is_dry=report.operation is None):
            screen.print(cell(line), soft_wrap=True)
    rows = table(("template", "channel", "age", "messages"))
    messages = sum((partition.messages for partition in report.partitions), Counter[Any]())
    for (template, channel, age), count in sorted(messages.items(), key=_by_template):
        rows.add_row(cell(template), cell(channel), cell(age), cell(f"{count:,}"))
    if rows.row_count:
        screen.print(rows)
    for line in _closing_lines(report):
        screen.print(cell(line), soft_wrap=True)


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
    if partition.operation_under_way is not None:
        yield f"  {partition.operation_under_way}: what it writes meanwhile may be counted as missing here"
    if partition.unprovable:
        ranges = ", ".join(f"{low} to {high - 1}" for low, high in partition.unprovable_ranges[:_LIMITS_SHOWN])
        yield (
            f"  {partition.unprovable:,} events without outcome prove nothing: offsets {ranges} were mapped while "
            "decisions were not all written, or nobody knows any more"
        )
    words = {
        NothingToPublish.OUTSIDE_TIME: "whose time lies outside of the range",
        NothingToPublish.NOT_SELECTED: "that are not selected",
        NothingToPublish.SAME_DECISION: "that would be skipped once more",
        NothingToPublish.DEFERRED: "left as they are: the registry refuses their schema",
    }
    for reason, text in words.items():
        if nothing[reason]:
            yield f"  {nothing[reason]:,} events {text}"
    if partition.shortened:
        yield f"  {partition.shortened:,} outputs name only some of their templates: their events are left out"
    verb = "would get" if is_dry else "got"
    for what, counts in (("decisions", partition.decisions), ("dead letters", partition.dead_letters)):
        if counts:
            yield f"  {verb} {what}: " + ", ".join(f"{count:,} {reason}" for reason, count in sorted(counts.items()))
    for (template, cause), count in sorted(partition.failed.items()):
        yield f"  {count:,} events fail in template {template}: {cause}"


def _closing_lines(report: "OperationReport") -> Iterator[str]:
    records = sum(partition.records for partition in report.partitions)
    messages = sum(partition.message_count for partition in report.partitions)
    late = sum((partition.late for partition in report.partitions), Counter[Any]())
    if late:
        counts = ", ".join(f"{count:,} {channel}" for channel, count in sorted(late.items()))
        yield f"past their channel's age limit: {counts}; they are not sent unless --send-late"
    for channel, recipients in sorted(_recipients(report).items()):
        yield f"{len(recipients):,} recipients by {channel} get something again"
    if report.operation is not None:
        end = "stopped before the end; the same command goes on" if report.stopped else "done"
        yield f"operation {report.operation} {end}: {messages:,} messages of {records:,} events"
        return
    if not records:
        yield "nothing is missing" if not report.is_missing_something else "nothing can be made up for"
        return
    seconds = sum(partition.examined_s + partition.mapped_s for partition in report.partitions)
    yield f"missing: {messages:,} messages of {records:,} events; it took {seconds:.1f} s to find out"
    yield "hint: nothing was written; --yes writes it, in about twice that time"


def _recipients(report: "OperationReport") -> dict[str, set[int]]:
    """By channel; who is reached in two partitions counts once."""
    found: dict[str, set[int]] = {}
    for partition in report.partitions:
        for channel, recipients in partition.recipients.items():
            found.setdefault(channel, set()).update(recipients)
    return found


def _as_json(report: "OperationReport") -> dict[str, Any]:
    return {
        "operation": report.operation,
        "setVersion": report.set_version,
        "stopped": report.stopped,
        "recipients": {channel: len(recipients) for channel, recipients in sorted(_recipients(report).items())},
        "partitions": [_partition_as_json(partition) for partition in report.partitions],
    }


def _partition_as_json(partition: "PartitionReport") -> dict[str, Any]:
    events = partition.events
    return {
        "partition": events.partition,
        "firstOffset": events.first,
        "endOffset": events.end,
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
