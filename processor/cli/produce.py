"""`processor produce`: events onto the input topic, from a file of JSON lines, the shipped samples, or generated."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from processor.cli import output
from processor.cli.output import FINDINGS_EXIT_CODE, JsonOption, print_json, print_line
from processor.cli.progress import tracking_bar
from processor.errors import DependencyError, UsageError
from processor.wire.wire_format import WireFormat

if TYPE_CHECKING:
    from processor.demo.produce import EventSource, ProduceReport

EXAMPLE: Final = "processor produce --count 1000 --rate 100"

_PRINTED_LIMIT: Final = 20  # rejected lines, and unknown fields


def command(
    file: Annotated[
        Path | None, typer.Option(metavar="EVENTS.JSONL", help="JSON lines, one event each; - is stdin.")
    ] = None,
    samples: Annotated[bool, typer.Option("--samples", help="The shipped sample of each event.")] = False,
    count: Annotated[int | None, typer.Option(metavar="N", min=0, help="N generated events.")] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="S", help="Seed of the generated events, 1 if not set; sent again they are duplicates."),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(metavar="R", help="Events a second, by schedule; not set: as fast as possible.")
    ] = None,
    wire_format: Annotated[
        WireFormat, typer.Option("--format", metavar="avro|json", help="Encoding of the values.")
    ] = WireFormat.AVRO,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Send the good lines of a file that has bad ones.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Send events: those of a file, the samples, or generated ones.

    Each line of a file is checked before one is sent. The exit code is 1 when lines are rejected.
    """
    from processor.demo.produce import File, Generated, ProduceOptions, Samples, produce

    if [file is not None, samples, count is not None].count(True) != 1:
        raise UsageError("produce needs one of --file, --samples and --count", hint="`processor produce --samples`")
    if seed is not None and count is None:
        raise UsageError("--seed makes sense with --count alone", hint="leave it out")
    source: EventSource = Samples()
    if file is not None:
        source = File(file)
    elif count is not None:
        source = Generated(count) if seed is None else Generated(count, seed)
    options = ProduceOptions(source, rate=rate, format=wire_format, skip_bad=skip_bad)
    settings = output.load_quiet_settings()
    with tracking_bar() as track:
        report = produce(settings, options, track=track)
    _print_diagnostics(report, str(file) if file is not None else "event")
    if as_json:
        print_json(report.as_json())
    else:
        _print_summary(report)
    if report.failed:
        raise DependencyError(
            f"the broker did not take {report.failed} of {report.failed + report.delivered} events: {report.failure}",
            hint="what it took is on the topic; an event sent again within the deduplication window makes no second "
            "message",
        )
    return FINDINGS_EXIT_CODE if report.rejected_count and not skip_bad else 0


def _print_diagnostics(report: "ProduceReport", name: str) -> None:
    """Rejected lines and unknown fields, on stderr."""
    for rejected in report.rejected[:_PRINTED_LIMIT]:
        sys.stderr.write(f"{name}:{rejected.line}: {rejected.reason}: {rejected.detail}\n")
    if report.rejected_count > _PRINTED_LIMIT:
        sys.stderr.write(f"{name}: {report.rejected_count - _PRINTED_LIMIT} more bad lines\n")
    for unknown, line in list(report.unknown_fields.items())[:_PRINTED_LIMIT]:
        sys.stderr.write(f"{name}:{line}: warning: {unknown}\n")
    if len(report.unknown_fields) > _PRINTED_LIMIT:
        sys.stderr.write(f"{name}: {len(report.unknown_fields) - _PRINTED_LIMIT} more unknown fields\n")
    if report.rejected_count and not report.delivered + report.failed:
        sys.stderr.write("hint: nothing was sent; --skip-bad sends the other lines\n")


def _print_summary(report: "ProduceReport") -> None:
    early = ", stopped early" if report.stopped else ""
    skipped = f", {report.rejected_count} bad" if report.rejected_count else ""
    events = "1 event" if report.delivered == 1 else f"{report.delivered} events"
    print_line(f"{events} on {report.topic} in {report.seconds:.1f} s{skipped}{early}")
