"""The text of `--help`: whole sentences, wrapped between words, and examples that can be copied.

Typer's own help cuts the summaries of commands, and breaks options at their hyphens.
"""

import inspect
import shutil
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Final

from typer import Context
from typer.core import TyperCommand, TyperGroup

from processor.screen import wrap

_MAX_WIDTH: Final = 100  # longer lines are hard to read
_LEAST_TEXT_WIDTH: Final = 36  # beside names; below it texts stand under them
_INDENT: Final = "  "


class HelpCommand(TyperCommand):
    """A command whose `--help` breaks no name."""

    def get_help(self, ctx: Any) -> str:
        """All of it, as wide as the terminal is, at most 100 characters."""
        return "\n".join(_help_lines(self, ctx, sections=()))


class HelpGroup(TyperGroup):
    """The program: its `--help` has the summary of each command, whole."""

    def get_help(self, ctx: Any) -> str:
        """As that of a command, with the commands."""
        commands = [(name, summary(command.help)) for name, command in self.commands.items() if not command.hidden]
        return "\n".join(_help_lines(self, ctx, sections=[("Commands", commands)]))


def summary(help_text: str | None) -> str:
    """The first paragraph, as one line."""
    return " ".join(inspect.cleandoc(help_text or "").partition("\n\n")[0].split())


def parameter_texts(command: TyperCommand | TyperGroup, ctx: Context) -> list[tuple[str, str]]:
    """The names of each argument and option, and its text, but for hidden ones."""
    records = [record for param in command.get_params(ctx) if (record := param.get_help_record(ctx)) is not None]
    # Typer puts a type behind an argument's name, as in EVENT <list[str]>.
    return [(name if name.startswith("-") else name.partition(" <")[0], text) for name, text in records]


def _help_lines(
    command: TyperCommand | TyperGroup, ctx: Context, *, sections: Iterable[tuple[str, list[tuple[str, str]]]]
) -> Iterator[str]:
    width = min(shutil.get_terminal_size().columns, _MAX_WIDTH)
    usage = " ".join((ctx.command_path, *command.collect_usage_pieces(ctx)))
    yield from wrap(f"Usage: {usage}", width, hang=len(_INDENT))
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        yield ""
        yield from wrap(_INDENT + " ".join(paragraph.split()), width)
    records = parameter_texts(command, ctx)
    arguments = [record for record in records if not record[0].startswith("-")]
    options = [record for record in records if record[0].startswith("-")]
    for title, rows in chain((("Arguments", arguments), ("Options", options)), sections):
        if rows:
            yield ""
            yield f"{title}:"
            yield from _definitions(rows, width)
    if command.epilog:
        yield ""
        for line in inspect.cleandoc(command.epilog).split("\n"):  # an example stays on one line
            yield from [_INDENT + line] if line.startswith("Example: ") else wrap(_INDENT + line, width)


def _definitions(rows: list[tuple[str, str]], width: int) -> Iterator[str]:
    """Names with their texts beside them, or below where the terminal is narrow."""
    beside = max(len(name) for name, _ in rows) + 2 * len(_INDENT)
    for name, text in rows:
        if width - beside < _LEAST_TEXT_WIDTH:
            yield f"{_INDENT}{name}"
            yield from wrap(3 * _INDENT + text, width)
        else:
            first, *more = wrap(" " * beside + text, width)
            yield f"{_INDENT}{name:<{beside - len(_INDENT)}}{first[beside:]}"
            yield from more
