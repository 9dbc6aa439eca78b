"""The command line: parses it, runs the command, prints errors for people, and gives their exit code (errors.py)."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial, wraps
from io import TextIOWrapper
from itertools import chain
from typing import Annotated, Any, Final

import typer

from processor.cli import (
    check,
    dead_letters,
    demo,
    explain,
    kafka,
    positions,
    preview,
    produce,
    redrive,
    replay,
    run,
    schemas,
    settings,
    templates,
    topics,
)
from processor.cli.help import HelpCommand, HelpGroup
from processor.errors import FatalError, InternalError, UsageError
from processor.memory import use_one_heap
from processor.screen import wrap

COMMANDS: Final = (
    demo,
    run,
    topics,
    produce,
    kafka,
    check,
    preview,
    explain,
    dead_letters,
    redrive,
    replay,
    positions,
    templates,
    schemas,
    settings,
)
"""One module a command, in the order of `--help`. Its name is the command's, `_` for a hyphen; `command` takes the
options and gives the exit code; `EXAMPLE` is a command line that can be typed."""

_INTERRUPTED: Final = 128 + signal.SIGINT
_READER_LEFT: Final = 128 + signal.SIGPIPE  # what a shell shows for `yes | head`

parser = typer.Typer(
    name="processor",
    cls=HelpGroup,
    epilog="Settings are PROCESSOR_… variables: `processor settings` lists them.\nStart here: `processor demo`",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        sys.stdout.write(f"processor {version('processor')}\n")
        raise typer.Exit


@parser.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="The version.")
    ] = False,
) -> None:
    """Maps banking domain events on Kafka to messages, stream events and statuses, exactly once."""


def _bind_only(command: Callable[..., int]) -> Callable[..., Callable[[], int]]:
    """What Typer calls for `command`: it binds the options and runs nothing.

    What is parsed is run outside of Typer, which would handle a broken pipe and Ctrl-C in its own way.
    """

    @wraps(command)
    def bind(**options: Any) -> Callable[[], int]:
        return partial(command, **options)

    return bind


for _module in COMMANDS:
    _name = _module.__name__.rpartition(".")[2].replace("_", "-")
    parser.command(_name, cls=HelpCommand, epilog=f"Example: {_module.EXAMPLE}")(_bind_only(_module.command))


def main() -> None:
    """The console script.

    Ends without Python's own clean-up: a thread that librdkafka still holds, because a broker did not respond when the
    consumer left its group, would be ended inside its callback and take the process down with it.
    """
    use_one_heap()
    _accept_any_output()
    code = exit_code(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)


def _accept_any_output() -> None:
    """Have a character that stdout's encoding does not have replaced, and a stream that was closed swallow its text."""
    # The next file or socket would get the number of a stream that was closed.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    # None, whatever their types say, where they were closed.
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8")
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def exit_code(arguments: Sequence[str]) -> int:
    """Run the command line and give its exit code. Errors are printed on stderr, none is raised."""
    try:
        code = _run(arguments or ["--help"])
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes stdout once more at exit, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _READER_LEFT
    except SystemExit as exit_:
        # Rich, which prints the tables, ends the process with 1 when its reader leaves; 1 means findings here.
        if not isinstance(exit_.__context__, BrokenPipeError):
            raise
        return _READER_LEFT
    return code


def _run(arguments: Sequence[str]) -> int:
    try:
        parsed = parser(list(arguments), prog_name="processor", standalone_mode=False)
        return parsed if isinstance(parsed, int) else int(parsed())
    except typer.TyperException as error:
        hint = f"`{_help_command(arguments)}` shows what there is"
        return _print_error(UsageError(_sentence(error.format_message()), hint=hint))
    except FatalError as error:
        return _print_error(error)
    except (KeyboardInterrupt, typer.Abort):
        return _INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception:
        return _log_internal_error()


def _print_error(error: FatalError) -> int:
    text = str(error)
    if sys.stderr.isatty():
        width = os.get_terminal_size(sys.stderr.fileno()).columns
        lines = (([line] if line.startswith("hint:") else wrap(line, width)) for line in text.split("\n"))
        text = "\n".join(chain.from_iterable(lines))
    sys.stderr.write(f"{text}\n")
    return error.exit_code


def _sentence(message: str) -> str:
    return message[0].lower() + message[1:].rstrip(".")


def _help_command(arguments: Sequence[str]) -> str:
    commands = {command.name for command in parser.registered_commands}
    return f"processor {arguments[0]} --help" if arguments[0] in commands else "processor --help"


def _log_internal_error() -> int:
    import structlog

    from processor.observability.logs import configure
    from processor.settings import LogSettings

    if not structlog.is_configured():
        configure(LogSettings())
    structlog.get_logger().exception("internal error")
    return InternalError.exit_code
