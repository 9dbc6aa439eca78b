"""`processor demo`: the main job on sample events, end to end."""

from typing import Annotated, Final

import typer

from processor.cli import output
from processor.cli.output import Json

EXAMPLE: Final = "processor demo --events 200"


def command(
    events: Annotated[
        int, typer.Option(metavar="N", min=1, help="Good events to map; four more are bad or sent twice.")
    ] = 1_000,
    as_json: Json = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the demo's topics and group on the broker.")] = False,
) -> int:
    """Run the main job on sample events, read its outputs back and count them; starts a local Kafka if none is set."""
    from processor.demo.run import demo

    return demo(output.load_quiet_settings(), events=events, json_output=as_json, keep=keep)
