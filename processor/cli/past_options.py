"""The options that commands on the past share, and how they are run."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from processor.cli import output
from processor.cli.progress import phase_bar
from processor.errors import UsageError

if TYPE_CHECKING:
    from processor.domain.operation import OperationId, OperationKind
    from processor.domain.record import EventName
    from processor.replay.operation import OperationOptions, PastCommand
    from processor.replay.report import OperationReport
    from processor.settings import Settings

MAX_TEXT_CHARACTERS: Final = 1_000  # of --by and --because, which are kept with each progress record

PartitionOption = Annotated[
    list[int] | None, typer.Option(metavar="P", min=0, help="Only this partition of the events; repeatable.")
]
FromOption = Annotated[
    str | None, typer.Option("--from", metavar="TIME", help="Events since a time, RFC 3339, or 2h for an age.")
]
ToOption = Annotated[str | None, typer.Option(metavar="TIME", help="Events before a time, as --from.")]
EventOption = Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this event; repeatable.")]
TemplateOption = Annotated[list[str] | None, typer.Option(metavar="ID", help="Only this template; repeatable.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do it; without it nothing is written.")]
RateOption = Annotated[
    float | None, typer.Option(metavar="R", help="At most R events a second; not set: as fast as possible.")
]
ByOption = Annotated[str | None, typer.Option(metavar="NAME", help="Who does it; not set: the user's name.")]
BecauseOption = Annotated[str | None, typer.Option(metavar="TEXT", help="Why; kept with the operation.")]
ResumeOption = Annotated[
    str | None, typer.Option(metavar="OPERATION", help="Go on with an operation that was not done.")
]
TakeOverOption = Annotated[
    bool, typer.Option("--take-over", help="End another operation that is under way there, and go on.")
]
SendLateOption = Annotated[
    bool, typer.Option("--send-late", help="The messages may be sent past their channel's age limit.")
]


def times_ms(from_: str | None, to: str | None) -> tuple[int | None, int | None]:
    """`--from` and `--to`, in milliseconds since 1970. UsageError for what is no time, and for a range without any."""
    from processor.replay.operation_log import now_ms
    from processor.replay.selection import parse_time, require_order

    def time_ms(option: str, text: str | None) -> int | None:
        return None if text is None else parse_time(option, text, now_ms=now_ms)

    from_ms, to_ms = time_ms("--from", from_), time_ms("--to", to)
    require_order(from_ms, to_ms)
    return from_ms, to_ms


def event_names(events: list[str] | None) -> "frozenset[EventName] | None":
    """`--event`; None: any. UsageError for a name that is no event's, with the nearest."""
    from processor.domain.catalogue import EVENTS, nearest_event
    from processor.domain.record import EventName
    from processor.domain.text import did_you_mean

    for name in events or ():
        if name not in EVENTS:
            raise UsageError(f"--event {name} is no event{did_you_mean(nearest_event(name), before='; ')}")
    return frozenset(map(EventName, events)) if events else None


def run_past_command(
    settings: "Settings", command: "PastCommand", options: "OperationOptions"
) -> "OperationReport | None":
    """Run an operation, with its progress on stderr; None where a person ended it before anything was written. Blocks;
    raises as `run_operation`."""
    import sys

    from processor.observability.signals import ShutdownRequested
    from processor.replay.operation import run_operation

    try:
        with phase_bar() as on_phase:
            return run_operation(settings, command, options, on_phase=on_phase)
    except ShutdownRequested:
        sys.stderr.write("interrupted\n")
        return None


def load_past_settings() -> "Settings":
    """The settings of a command that works on the past: it needs a tenant, and brokers."""
    settings = output.load_quiet_settings()
    settings.required_tenant  # noqa: B018  raises
    settings.bootstrap_servers  # noqa: B018
    return settings


def operation_options(
    kind: "OperationKind", *, by: str | None, resume: str | None, rate: float | None, yes: bool, **others: Any
) -> "OperationOptions":
    """How the operation is done, as it was typed. Raises UsageError."""
    from processor.replay.operation import OperationOptions

    if rate is not None and not 0 < rate < float("inf"):
        raise UsageError("--rate takes a number above 0", hint="--rate 100 is a hundred events a second")
    if others.get("because") is not None:
        record_text("--because", others["because"])
    return OperationOptions(by=person(by), resume=_operation_id(resume, kind, yes=yes), rate=rate, yes=yes, **others)


def _operation_id(text: str | None, kind: "OperationKind", *, yes: bool) -> "OperationId | None":
    from processor.domain.operation import parse_operation_id

    if text is None:
        return None
    if not yes:
        raise UsageError("--resume goes with --yes", hint="a dry run begins nothing, and has nothing to go on with")
    try:
        parts = parse_operation_id(text)
    except ValueError as error:
        raise UsageError(f"--resume: {error}") from error
    if parts.kind is not kind:
        raise UsageError(f"--resume: {text} is a {parts.kind}", hint=f"`processor {parts.kind} --yes --resume {text}`")
    return parts.id


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who is shown customers' data, and why, if they said so."""

    by: str
    because: str | None


def viewer_of(by: str | None, because: str | None, *, unmasked: bool) -> Viewer | None:
    """Whom `--unmasked` shows customers' data to; None where it is masked. Raises UsageError."""
    if unmasked:
        return Viewer(person(by), None if because is None else record_text("--because", because))
    if by is not None or because is not None:
        raise UsageError("--by and --because make sense with --unmasked alone", hint="nothing else is recorded")
    return None


def person(by: str | None) -> str:
    """`--by`, else the user's name. Raises UsageError for what is no text for a record."""
    return user_name() if by is None else record_text("--by", by)


def require_text(option: str, text: str) -> None:
    """Raise UsageError for bytes that are no UTF-8: they are kept with the operation, as JSON."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{option} is not UTF-8: {text!r}", hint="check the terminal's locale") from None


def record_text(option: str, text: str) -> str:
    """A text of a person that is kept in records. Raises UsageError for one that is empty, too long or not UTF-8."""
    require_text(option, text)
    if not text.strip():
        raise UsageError(f"{option} is empty", hint="it is kept, so that others can read who did what, and why")
    if len(text) > MAX_TEXT_CHARACTERS:
        raise UsageError(f"{option} has {len(text)} characters; {MAX_TEXT_CHARACTERS} are kept", hint="shorten it")
    return text


def user_name() -> str:
    """The user's name; a number where the system knows none."""
    import getpass
    import os

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def command_text(typed: dict[str, Any], *, left_out: frozenset[str]) -> str:
    """What was typed, in one order, but for the options `left_out` and those that are not set."""
    import shlex

    words: list[str] = []
    for name, value in sorted(typed.items()):
        option = f"--{name.strip('_').replace('_', '-')}"
        if value in (None, False) or name in left_out:
            continue
        if value is True:
            words.append(option)
        else:
            items = sorted(map(str, value)) if isinstance(value, list) else [str(value)]
            words += [part for item in items for part in (option, item)]
    return shlex.join(words)
