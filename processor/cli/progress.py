"""Bars on stderr while a command works for long."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from processor.engine.output_scan import OnProgress
    from processor.replay.operation import OnPhase


@contextmanager
def reading_bar(what: str) -> "Iterator[OnProgress]":
    """A bar for `what` is read, as `phase_bar`."""
    with phase_bar() as on_phase:
        yield partial(on_phase, f"reading {what}")


@contextmanager
def phase_bar() -> "Iterator[OnPhase]":
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
    # `redirect_stdout` would write to stderr what a command writes to stdout meanwhile.
    with Progress(
        *columns, console=screen, transient=True, redirect_stdout=False, disable=not screen.is_terminal
    ) as bar:
        tasks: dict[str, tuple[TaskID, float]] = {}

        def on_phase(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total, rate=""), time.monotonic()
            task, began = tasks[what]
            elapsed_s = time.monotonic() - began
            bar.update(task, completed=done, total=total, rate=f"{done / elapsed_s:,.0f}/s" if elapsed_s > 1 else "")
            if done >= total:
                bar.remove_task(task)
                del tasks[what]

        yield on_phase
