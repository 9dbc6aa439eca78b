"""`processor redrive`: dead letters through the pipeline again, for what they still lack. A dry run unless --yes.

The exit code is 1 while something is to be done: of a dry run what would pass now, or was not tried, else what failed
again or was left.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from processor.cli.dead_letters import check_templates, dead_letter_filter
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
    run_past_command,
    times_ms,
)
from processor.cli.progress import reading_bar
from processor.screen import Screen

if TYPE_CHECKING:
    from processor.replay.redrive import RedriveCommand, RedriveRequest
    from processor.replay.report import OperationReport, PartitionReport
    from processor.settings import Settings

EXAMPLE: Final = "processor redrive --reason UNKNOWN_SCHEMA"

ORDER_ADVICE: Final = (
    "what is redriven comes behind the later events of its account: for it, order per account does not hold"
)

_ReasonOption = Annotated[
    list[str] | None, typer.Option(metavar="CODE", help="Of a record or a failed template; repeatable.")
]
_ParkedOption = Annotated[bool, typer.Option("--parked", help="Also those that have failed five times and more.")]
_StopAtOption = Annotated[
    float, typer.Option(metavar="SHARE", min=0, max=1, help="Stop when more of the last 100 fail again.")
]
_EditedOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Only the lines of this file, exported by dead-letters and corrected."),
]


def command(
    partition: PartitionOption = None,
    reason: _ReasonOption = None,
    template: TemplateOption = None,
    event: EventOption = None,
    from_: FromOption = None,
    to: ToOption = None,
    parked: _ParkedOption = False,
    stop_at: _StopAtOption = 0.2,
    edited: _EditedOption = None,
    send_late: SendLateOption = False,
    yes: YesOption = False,
    rate: RateOption = None,
    by: ByOption = None,
    because: BecauseOption = None,
    resume: ResumeOption = None,
    take_over: TakeOverOption = False,
    as_json: JsonOption = False,
) -> int:
    """Map dead letters again, each from its own bytes.

    `run` goes on meanwhile, and nobody is written to twice. What fails again is a new dead letter. The first 20 are
    tried before the others. A dry run unless --yes.
    """
    from processor.domain.operation import OperationKind
    from processor.observability.signals import INTERRUPTED_EXIT_CODE
    from processor.replay.redrive import RedriveCommand, RedriveRequest

    given = locals()
    names = ("partition", "reason", "template", "event", "from_", "to", "parked", "stop_at", "edited", "send_late")
    request = RedriveRequest(
        command=command_text({name: given[name] for name in names}, left_out=frozenset()),
        partitions=tuple(sorted(set(partition))) if partition else None,
        selected=dead_letter_filter(reason, template, event, times_ms(from_, to), 1),
        parked=parked,
        stop_at=stop_at,
        send_late=send_late,
    )
    event_names(event)
    options = operation_options(
        OperationKind.REDRIVE, by=by, resume=resume, rate=rate, yes=yes, because=because, take_over=take_over
    )
    settings = load_past_settings()
    _check_templates(settings, request)
    redrive = RedriveCommand(request) if edited is None else _edited_command(settings, request, edited)
    report = run_past_command(settings, redrive, options)
    if report is None:
        return INTERRUPTED_EXIT_CODE
    if as_json:
        print_json(_as_json(report))
    else:
        _print_report(report)
    return FINDINGS_EXIT_CODE if _needs_attention(report) else 0


def _check_templates(settings: "Settings", request: "RedriveRequest") -> None:
    """Raise UsageError for a template that neither the installation nor a dead letter has: nothing would be redriven,
    as if nothing were open. One that is gone is named in the report."""
    from processor.registry.schema_files import load_schemas
    from processor.replay.dead_letters import list_dead_letters
    from processor.templates.load import load_templates

    templates, schemas = request.selected.templates, load_schemas(settings.schemas_dir)
    if templates is None or templates <= {each.id for each in load_templates(settings, schemas).renderable}:
        return
    with reading_bar("the dead letters") as on_progress:
        entries = list_dead_letters(settings, schemas, on_progress=on_progress)
    check_templates(settings, entries, templates)


def _edited_command(settings: "Settings", request: "RedriveRequest", file: Path) -> "RedriveCommand":
    """The redrive of corrected letters alone. UsageError and InputError for what is no correction."""
    from dataclasses import replace

    from processor.registry.schema_files import load_schemas
    from processor.replay.dead_letters import event_text_of, fetch_dead_letters, list_dead_letters
    from processor.replay.edited_letters import compare_edited, read_edited
    from processor.replay.redrive import RedriveCommand

    schemas = load_schemas(settings.schemas_dir)
    edited = read_edited(file, schemas)
    for unknown, line in edited.unknown.items():
        sys.stderr.write(f"{file}:{line}: warning: {unknown}\n")
    partitions = sorted({position.partition for position in edited.by_position})
    with reading_bar("the dead letters") as on_progress:
        entries = list_dead_letters(settings, schemas, partitions, on_progress=on_progress)
    event_text = event_text_of(settings, schemas)
    letters = [entry for entry in entries if entry.source in edited.by_position]
    fields = compare_edited(edited, ((each, event_text(each)) for each in fetch_dead_letters(settings, letters)))
    asked = replace(request, partitions=tuple(partitions), edited=edited.digest, edited_fields=fields)
    return RedriveCommand(asked, edited)


def _needs_attention(report: "OperationReport") -> bool:
    if report.operation is None:
        return any(partition.records > partition.failing or partition.stop_reason for partition in report.partitions)
    return report.stopped or any(
        partition.failing or partition.stop_reason or partition.is_incomplete for partition in report.partitions
    )


# ---------------------------------------------------------------------------------------------------------------------
# What is shown


def _print_report(report: "OperationReport") -> None:
    screen = Screen()
    for partition in report.partitions:
        for line in _partition_lines(partition, is_dry=report.operation is None):
            screen.line(line)
    for line in _closing_lines(report):
        screen.line(line)


def _partition_lines(partition: "PartitionReport", *, is_dry: bool) -> Iterator[str]:
    from processor.replay.past_mapper import NothingToPublish

    number, passing = partition.events.partition, partition.records - partition.failing
    if not partition.records and not partition.nothing and not partition.shortened:
        yield f"partition {number}: no open dead letters of the selection"
        return
    verb, again = ("would pass", "would fail again") if is_dry else ("passed", "failed again")
    yield f"partition {number}: {passing:,} {verb}, {partition.failing:,} {again}"
    if partition.operation_under_way is not None:
        yield f"  {partition.operation_under_way}: what it writes meanwhile may be counted as open here"
    if partition.stop_reason:
        yield f"  stopped: {partition.stop_reason}; the others were not tried, --stop-at 1 tries all"
    words = {
        NothingToPublish.TEMPLATE_GONE: "left: the templates that failed are gone",
        NothingToPublish.EXPIRED: "left: their bytes had no room in the dead letter, and the events have expired",
        NothingToPublish.DEFERRED: "left: the registry refuses their schema",
        NothingToPublish.OTHER_TENANT: "left: they are of another tenant than PROCESSOR_TENANT",
        NothingToPublish.OF_RUN: "left: the group's position was set back, so `run` comes to them again",
    }
    for reason, text in words.items():
        if partition.nothing[reason]:
            yield f"  {partition.nothing[reason]:,} {text}"
    if partition.shortened:
        yield f"  {partition.shortened:,} left: they name only some of the templates that failed"
    for (template, cause), count in sorted(partition.failed.items()):
        yield f"  {count:,} {'fails' if count == 1 else 'fail'} in template {template}: {cause}"
    for word, count in sorted(partition.dead_letters.items()):
        yield f"  {count:,} {'fails' if count == 1 else 'fail'} as a whole: {word}"
    for word, count in sorted(partition.decisions.items()):
        yield f"  decisions: {count:,} {word}"


def _closing_lines(report: "OperationReport") -> Iterator[str]:
    records = sum(partition.records for partition in report.partitions)
    messages = sum(partition.message_count for partition in report.partitions)
    if report.operation is not None:
        is_whole = not report.stopped and not any(partition.stop_reason for partition in report.partitions)
        end = "done" if is_whole else "stopped before the end; the same command goes on"
        yield f"operation {report.operation} {end}: {messages:,} messages of {records:,} dead letters"
        if messages:
            yield f"order: {ORDER_ADVICE}"
        return
    if not any(partition.records > partition.failing for partition in report.partitions):
        is_whole = not any(partition.stop_reason for partition in report.partitions)
        what = "nothing" if is_whole else "nothing of what was tried"
        yield f"{what} would pass now; `processor dead-letters` says who acts"
        return
    yield f"would make {messages:,} messages of {records:,} dead letters"
    yield f"order: {ORDER_ADVICE}"
    yield "hint: nothing was written; --yes redrives them"


def _as_json(report: "OperationReport") -> dict[str, Any]:
    return {
        "operation": report.operation,
        "setVersion": report.set_version,
        "stopped": report.stopped,
        "order": ORDER_ADVICE,
        "partitions": [_partition_as_json(partition) for partition in report.partitions],
    }


def _partition_as_json(partition: "PartitionReport") -> dict[str, Any]:
    return {
        "partition": partition.events.partition,
        "operationUnderWay": partition.operation_under_way,
        "passing": partition.records - partition.failing,
        "failing": partition.failing,
        "stopReason": partition.stop_reason or None,
        "messages": partition.message_count,
        "left": {**partition.nothing, **({"SHORTENED": partition.shortened} if partition.shortened else {})},
        "decisions": dict(sorted(partition.decisions.items())),
        "deadLetters": dict(sorted(partition.dead_letters.items())),
        "failed": [
            {"template": template, "reason": reason, "count": count}
            for (template, reason), count in sorted(partition.failed.items())
        ],
    }
