"""A bar on stderr while a command reads for long."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from processor.engine.output_scan import OnProgress


@contextmanager
def reading_bar(what: str) -> "Iterator[OnProgress]":
    """A bar for `what` is read, with the offsets and the time left; nothing where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    screen = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task(f"reading {what}", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
