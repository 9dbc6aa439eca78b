"""What commands share: how they print, the exit code of findings, and settings whose logs leave their output alone.

Whatever takes long to import is imported inside functions: `--help` and errors of usage are quick.
"""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from processor.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

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


def columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows as lines whose columns stand under each other, none cut."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def table(headings: Iterable[str], *, title: str | None = None, lines: bool = False) -> "Table":
    """An empty table for a terminal. Its cells fold where they do not fit; `lines` separates its rows."""
    from rich.table import Table

    empty = Table(title=title, title_justify="left", show_lines=lines)
    for heading in headings:
        empty.add_column(heading, overflow="fold")
    return empty


def cell(text: str) -> "Text":
    """`text` for a table or a terminal, without markup and without control characters."""
    from rich.text import Text

    return Text(printable(text))


def printable(text: str) -> str:
    """`text` without what a terminal would obey: an event may hold anything. Line breaks and tabs stay."""
    return "".join(character if character.isprintable() or character in "\n\t" else "\ufffd" for character in text)
