"""The command line: parses, joins nothing, prints errors for people, and gives the exit codes of the contract."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Final, Literal, NoReturn

import typer

from processor.errors import FatalError, InternalError, UsageError

Command = Callable[[], int]
"""What a command line asks for, ready to be done; its result is the exit code."""

_INTERRUPTED: Final = 128 + signal.SIGINT
_READER_LEFT: Final = 128 + signal.SIGPIPE  # what a shell shows for `yes | head`

parser = typer.Typer(
    name="processor",
    epilog="Settings are PROCESSOR_… variables: `processor settings`. Start here: `processor demo`.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        sys.stdout.write(f"processor {version('processor')}\n")
        raise typer.Exit


@parser.callback()
def program(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="The version.")] = False,
) -> None:
    """Maps banking domain events on Kafka to messages, stream events and statuses, exactly once."""


Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, for machines.")]


@parser.command(epilog="Example: processor demo --events 200")
def demo(
    events: Annotated[
        int, typer.Option(metavar="N", min=1, help="Good events to map; four more are bad or told twice.")
    ] = 1_000,
    json: Json = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the demo's topics and group on the broker.")] = False,
) -> Command:
    """The main job on sample events, read back and counted; starts a local Kafka when none is set."""
    from processor.cli import app

    return partial(app.demo, events=events, json_output=json, keep=keep)


@parser.command(epilog="Example: PROCESSOR_TENANT=northbank processor run --workers 2")
def run(
    until_end: Annotated[
        bool, typer.Option("--until-end", help="Stop, with 0, once every partition has reached the end it had.")
    ] = False,
    start_from: Annotated[
        str | None,
        typer.Option(
            metavar="beginning|end|outputs|TIME",
            help="Where a new group starts, or one whose position is gone; a position that is there stays, with a "
            "warning. TIME is RFC 3339. Not set: at the beginning if nothing was published yet, else it stops and "
            "asks.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=256, help="Supervise so many processes, restart one that dies."),
    ] = None,
    worker: Annotated[int | None, typer.Option(hidden=True)] = None,
    supervisor: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> Command:
    """Map events to messages until SIGTERM or SIGINT."""
    _stop_before_start()
    from processor.cli import app

    return partial(
        app.run, until_end=until_end, start_from=start_from, workers=workers, worker=worker, supervisor=supervisor
    )


@parser.command(epilog="Example: processor topics --create --partitions 6")
def topics(
    create: Annotated[bool, typer.Option("--create", help="Create what is missing; change nothing else.")] = False,
    partitions: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Partitions of the events and the topics co-partitioned with them; 6 where nothing exists.",
        ),
    ] = None,
    grow: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Grow to so many partitions, outputs first; a dry run without --yes."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do grow. It cannot be undone.")] = False,
    json: Json = False,
) -> Command:
    """What topics exist, are missing or differ; exit 1 when something does."""
    from processor.cli import app

    return partial(app.topics, create=create, partitions=partitions, grow=grow, yes=yes, json_output=json)


@parser.command(epilog="Example: processor produce --count 1000 --rate 100")
def produce(
    file: Annotated[
        Path | None, typer.Option(metavar="EVENTS.JSONL", help="JSON lines, one event each; - is stdin.")
    ] = None,
    samples: Annotated[bool, typer.Option("--samples", help="The shipped sample of each event.")] = False,
    count: Annotated[int | None, typer.Option(metavar="N", min=0, help="So many generated events.")] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="S", help="Seed of the generated events: 1 if not set; the same again makes no message."),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(metavar="R", help="Events a second, by schedule; not set: as fast as it goes.")
    ] = None,
    wire_format: Annotated[Literal["avro", "json"], typer.Option("--format", help="Wire form.")] = "avro",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Send the good lines of a file that has bad ones.")
    ] = False,
    json: Json = False,
) -> Command:
    """Put events on the input topic: a file, the samples, or a generated load."""
    from processor.cli import app

    return partial(
        app.produce,
        file=file,
        samples=samples,
        count=count,
        seed=seed,
        rate=rate,
        wire_format=wire_format,
        skip_bad=skip_bad,
        json_output=json,
    )


@parser.command(epilog="Example: processor kafka --port 9092 --data var/kafka")
def kafka(
    port: Annotated[
        int | None, typer.Option(metavar="P", min=0, max=65_535, help="Port on 127.0.0.1; not set: a free one.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder that keeps the data; not set: gone at the end.")
    ] = None,
) -> Command:
    """A real single-node Apache Kafka in the foreground; prints its bootstrap servers."""
    from processor.cli import app

    return partial(app.kafka, port=port, data=data)


@parser.command(epilog="Example: PROCESSOR_TEMPLATES_DIR=templates processor check")
def check(json: Json = False) -> Command:
    """Check settings, schemas and templates with their samples; connects to nothing."""
    from processor.cli import app

    return partial(app.check, json_output=json)


@parser.command(epilog="Example: processor preview loan-repayment-email --open")
def preview(
    template: Annotated[str, typer.Argument(metavar="TEMPLATE", help="The template's id.")],
    event: Annotated[
        str | None, typer.Option(metavar="EVENT", help="A file of one JSON event, - for stdin, or an event's name.")
    ] = None,
    sample: Annotated[
        str | None, typer.Option(metavar="NAME", help="One of the template's samples; not set: its first.")
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the HTML body to a file.")] = None,
    browser: Annotated[bool, typer.Option("--open", help="Show the HTML body in the browser.")] = False,
    json: Json = False,
) -> Command:
    """A template's text beside the message it makes, and its values; connects to nothing."""
    from processor.cli import app

    return partial(
        app.preview, template=template, event=event, sample=sample, html=html, browser=browser, json_output=json
    )


@parser.command(epilog="Example: processor explain LOAN_REPAYMENT events.jsonl")
def explain(
    events: Annotated[
        list[str], typer.Argument(metavar="EVENT...", help="Files of JSON events, - for stdin, or events' names.")
    ],
    json: Json = False,
) -> Command:
    """Which templates make a message of an event, or why not, condition by condition; connects to nothing."""
    from processor.cli import app

    return partial(app.explain, events=events, json_output=json)


@parser.command(epilog="Example: processor templates --new overdue-text --event ACCOUNT_IN_ARREARS --type SMS")
def templates(
    placeholders: Annotated[
        str | None, typer.Option(metavar="EVENT", help="What a template of this event may name, with sample values.")
    ] = None,
    new: Annotated[
        str | None, typer.Option(metavar="ID", help="Write a template to begin with, and its sample.")
    ] = None,
    event: Annotated[str | None, typer.Option(metavar="EVENT", help="Of the new template.")] = None,
    channel: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Of the new template.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="The JSON Schema of template files, for editors.")] = False,
    json: Json = False,
) -> Command:
    """The templates there are, the placeholders of an event, or a new template; connects to nothing."""
    from processor.cli import app

    return partial(
        app.templates,
        placeholders=placeholders,
        new=new,
        event=event,
        channel=channel,
        schema=schema,
        json_output=json,
    )


@parser.command(epilog="Example: processor schemas register --yes")
def schemas(
    action: Annotated[Literal["check", "register"], typer.Argument(help="check reads only; register needs --yes.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do register.")] = False,
    json: Json = False,
) -> Command:
    """Hold the schemas against every version before, of history/ and the registry; register what is not."""
    from processor.cli import app

    return partial(app.schemas, register=action == "register", yes=yes, json_output=json)


@parser.command(epilog="Example: processor settings --json")
def settings(json: Json = False) -> Command:
    """All settings with value, default, source and meaning; secrets are masked."""
    from processor.cli import app

    return partial(app.settings, json_output=json)


def main() -> None:
    """The console script.

    Ends without Python's own clean-up: a thread that librdkafka still holds, because a broker did not answer when we
    left its group, would be ended inside its callback and take the process down with it.
    """
    _accept_any_output()
    code = exit_code(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)


def _accept_any_output() -> None:
    """Have a character that stdout's encoding does not have replaced, and a stream that was closed swallow its text."""
    while (
        descriptor := os.open(os.devnull, os.O_RDWR)
    ) <= 2:  # the next file or socket would get a closed one's number
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    # None, whatever their types say, where they were closed.
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8")
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def exit_code(arguments: Sequence[str]) -> int:
    """Do what the command line asks for. Never raises; what went wrong is told on stderr."""
    try:
        code = _done(arguments or ["--help"])
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes stdout once more at exit, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _READER_LEFT
    except SystemExit as ended:
        # Rich, which prints the tables, ends the process with 1 when its reader leaves; 1 means findings here.
        if not isinstance(ended.__context__, BrokenPipeError):
            raise
        return _READER_LEFT
    return code


def _done(arguments: Sequence[str]) -> int:
    try:
        # What is parsed is done outside of Typer, which would answer for a broken pipe or Ctrl-C in its own way.
        parsed = parser(list(arguments), prog_name="processor", standalone_mode=False)
        return parsed if isinstance(parsed, int) else int(parsed())
    except typer.TyperException as error:
        return _told(UsageError(_sentence(error.format_message()), hint=f"`{_help_of(arguments)}` shows what there is"))
    except FatalError as error:
        return _told(error)
    except (KeyboardInterrupt, typer.Abort):
        return _INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception:
        return _our_fault()


def _stop_before_start() -> None:
    """SIGTERM and SIGINT while modules are still being loaded are a clean stop too; `run` then takes over.

    Without this a container's first process, for which the kernel has no default action, would not stop at all.
    """

    def leave(_number: int, _frame: object) -> NoReturn:
        raise SystemExit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)


def _told(error: FatalError) -> int:
    sys.stderr.write(f"{error}\n")
    return error.exit_code


def _sentence(message: str) -> str:
    return message[0].lower() + message[1:].rstrip(".")


def _help_of(arguments: Sequence[str]) -> str:
    commands = {command.name or command.callback.__name__ for command in parser.registered_commands if command.callback}
    return f"processor {arguments[0]} --help" if arguments[0] in commands else "processor --help"


def _our_fault() -> int:
    import structlog

    from processor.observability.logs import configure
    from processor.settings import LogSettings

    if not structlog.is_configured():
        configure(LogSettings())
    structlog.get_logger().exception("our fault: an exception that nobody foresaw")
    return InternalError.exit_code
