"""Bars on stderr while a command works for long: how far it is, at which rate, and for how long still."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from processor.demo.produce import Track
    from processor.engine.output_scan import OnProgress
    from processor.replay.operation import OnPhase


@contextmanager
def reading_bar(what: str) -> "Iterator[OnProgress]":
    """A bar for reading `what`, as `phase_bar`."""
    with phase_bar() as on_phase:
        yield partial(on_phase, f"reading {what}")


@contextmanager
def phase_bar() -> "Iterator[OnPhase]":
    """A bar on stderr, where that is a terminal, for each phase of a partition."""
    with _progress() as bar:
        tasks: dict[str, TaskID] = {}

        def on_phase(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)
            if done >= total:
                bar.remove_task(tasks.pop(what))

        yield on_phase


@contextmanager
def tracking_bar() -> "Iterator[Track]":
    """A bar on stderr, where that is a terminal, for what is iterated."""
    with _progress() as bar:

        def track(what: str, items: Iterable[Any], total: int | None, /) -> Iterator[Any]:
            return iter(bar.track(items, total=total, description=what))

        yield track


def _progress() -> "Progress":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """Items a second, once there is a measurement."""

        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f}/s" if task.speed else "")

    screen = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    # `redirect_stdout` would write to stderr what a command writes to stdout meanwhile.
    return Progress(*columns, console=screen, transient=True, redirect_stdout=False, disable=not screen.is_terminal)
