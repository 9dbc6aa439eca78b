"""`processor kafka`: a local Apache Kafka in the foreground."""

from pathlib import Path
from typing import Annotated, Final

import typer

from processor.cli import output

EXAMPLE: Final = "processor kafka --port 9092 --data var/kafka"


def command(
    port: Annotated[
        int | None, typer.Option(metavar="P", min=0, max=65_535, help="Port on 127.0.0.1; not set: a free one.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder that keeps the data; not set: gone at the end.")
    ] = None,
) -> int:
    """Run a real single-node Apache Kafka, in the foreground.

    Its bootstrap servers are printed when it is ready.
    """
    from processor.kafka.local.command import run_kafka

    output.load_quiet_settings()
    return run_kafka(port, data)
