"""docs/reference/commands.md."""

import inspect
from collections.abc import Iterator

from typer import Context
from typer.core import TyperCommand
from typer.main import get_command

from processor.cli.help import parameter_texts, summary
from processor.cli.main import parser
from tests.documents.markdown import page, table


def commands_page() -> str:
    """What `processor --help` and each command's help say."""
    group = get_command(parser)
    commands = getattr(group, "commands", {})
    overview = table(
        ("Command", "What it does"),
        ((f"[`{name}`](#processor-{name})", summary(command.help)) for name, command in commands.items()),
    )
    return page(
        "Commands",
        "`processor COMMAND --help` shows the same in a terminal. Data goes to stdout, logs and hints go to stderr; "
        "`--json` prints one object for machines. What the exit codes mean is in "
        "[operating](../guides/operating.md#exit-codes).",
        overview,
        *(block for name, command in commands.items() for block in _command(name, command)),
    )


def _command(name: str, command: TyperCommand) -> Iterator[str]:
    yield f"## `processor {name}`"
    yield from (" ".join(paragraph.split()) for paragraph in inspect.cleandoc(command.help or "").split("\n\n"))
    texts = parameter_texts(command, Context(command, info_name=name))
    rows = [(f"`{option}`", text) for option, text in texts if option != "-h, --help"]
    if rows:
        yield table(("Option", "Meaning"), rows)
    yield f"```console\n$ {(command.epilog or '').removeprefix('Example: ')}\n```"
