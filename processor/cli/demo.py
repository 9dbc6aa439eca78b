"""`processor demo`: the main job on sample events, end to end.

The exit code is 1 when an output was doubled, lost or out of order.
"""

import sys
from typing import Annotated, Final

import typer

from processor.cli import output
from processor.cli.output import FINDINGS_EXIT_CODE, JsonOption, print_json
from processor.screen import Screen

EXAMPLE: Final = "processor demo --events 200"


def command(
    events: Annotated[
        int, typer.Option(metavar="N", min=1, help="Good events to map; four more are bad or sent twice.")
    ] = 1_000,
    as_json: JsonOption = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the demo's topics and group on the broker.")] = False,
) -> int:
    """Run the main job on sample events, and count what comes out.

    Outputs are read back as any consumer would. A local Kafka is started if no broker is set. The exit code is 1 when
    an output was duplicated, lost or out of order.
    """
    from rich.console import Console

    from processor.demo.report import print_report
    from processor.demo.run import run_demo

    settings = output.load_quiet_settings()
    with Console(stderr=True).status("demo") as status:  # nothing where stderr is no terminal
        outcome = run_demo(settings, events=events, keep=keep, show_status=status.update)
    if as_json:
        print_json(outcome.result.as_json())
    else:
        print_report(Screen(), outcome.result, outcome.examples, outcome.schemas)
    if outcome.kept:
        sys.stderr.write(f"kept: {outcome.kept}\n")
    return FINDINGS_EXIT_CODE if outcome.result.counts.discrepancies else 0
