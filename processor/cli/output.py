"""What commands share: how they print, the exit code of findings, and settings whose logs leave their output alone.

Whatever takes long to import is imported inside functions: `--help` and errors of usage are quick.
"""

import json
import re
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from processor.errors import UsageError

if TYPE_CHECKING:
    from processor.settings import Settings

FINDINGS_EXIT_CODE: Final = 1
"""The command did its work, and something needs attention."""

_PLACE: Final = re.compile(r"(\d{1,9}):(\d{1,18})", re.ASCII)

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, for machines.")]
"""The option of every command that has results."""


def load_quiet_settings() -> "Settings":
    """The settings, for a command that prints its own results: warnings alone are logged, unless a level is set."""
    from processor.observability.logs import configure
    from processor.settings import LogLevel, LogSettings, load_settings

    settings = load_settings()
    level_is_set = "level" in settings.log.model_fields_set
    configure(settings.log if level_is_set else LogSettings(format=settings.log.format, level=LogLevel.WARNING))
    return settings


def parse_place(option: str, text: str) -> tuple[int, int]:
    """Partition and offset of PARTITION:OFFSET. Raises UsageError."""
    found = _PLACE.fullmatch(text)
    if found is None:
        raise UsageError(f"{option} takes PARTITION:OFFSET, got: {text!r}", hint=f"as in {option} 3:1700")
    return int(found[1]), int(found[2])


def print_line(text: str) -> None:
    """Write `text` and a line end to stdout, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_json(value: Any) -> None:
    """Write `value` to stdout as one line of JSON."""
    print_line(json.dumps(value))
