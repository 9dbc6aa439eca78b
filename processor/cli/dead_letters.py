"""`processor dead-letters`: the records that could not be turned, counted, listed, one by itself, or exported to be
corrected.

The exit code is 1 while a dead letter of the selection is open or parked.
"""

import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import nlargest
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from processor.cli import output
from processor.cli.dead_letter_view import (
    entry_as_json,
    minute_text,
    one_as_json,
    place_text,
    print_one,
    reason_text,
    stored_as_json,
)
from processor.cli.output import FINDINGS_EXIT_CODE, JsonOption, parse_place, print_json, print_line
from processor.cli.past_options import (
    BecauseOption,
    ByOption,
    EventOption,
    FromOption,
    PartitionOption,
    TemplateOption,
    ToOption,
    Viewer,
    times_ms,
    viewer_of,
)
from processor.cli.progress import reading_bar
from processor.domain.text import closest_match, did_you_mean
from processor.errors import DependencyError, UsageError
from processor.files import create_private
from processor.screen import Column, Listing, Screen

if TYPE_CHECKING:
    from processor.domain.record import TemplateId
    from processor.replay.dead_letter_groups import DeadLetterFilter, DeadLetterGroup, GroupBy
    from processor.replay.dead_letters import DeadLetterEntry, DeadLetterState
    from processor.settings import Settings

EXAMPLE: Final = "processor dead-letters --from 2d --group-by template"

DEFAULT_LIMIT: Final = 50  # dead letters that --list shows
_ALL: Final = "all"
_WORDS_LIMIT: Final = 20  # that a hint lists


def command(
    group_by: Annotated[
        str, typer.Option(metavar="WHAT", help="Count by reason, template, event, partition, state, attempts or day.")
    ] = "reason",
    as_list: Annotated[bool, typer.Option("--list", help="Each by itself, the newest first.")] = False,
    show: Annotated[
        str | None, typer.Option(metavar="PARTITION:OFFSET", help="All of the one whose record lies there.")
    ] = None,
    export: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="JSON lines with key, headers and value; - is stdout; needs --unmasked."),
    ] = None,
    partition: PartitionOption = None,
    reason: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="Of a record or a failed template; repeatable.")
    ] = None,
    template: TemplateOption = None,
    event: EventOption = None,
    from_: FromOption = None,
    to: ToOption = None,
    attempts: Annotated[int, typer.Option(metavar="N", min=1, help="Tried at least so often.")] = 1,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help="open, parked, done or all; not set: open and parked.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many --list shows.")] = DEFAULT_LIMIT,
    unmasked: Annotated[
        bool, typer.Option("--unmasked", help="Show customers' addresses, values and texts; this is recorded.")
    ] = False,
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> int:
    """Show which records could not be mapped, why, and who acts.

    Nothing is changed. The exit code is 1 while one of the selection is open or parked."""
    _check_views(as_list=as_list, show=show, export=export, unmasked=unmasked, as_json=as_json)
    viewer = viewer_of(by, because, unmasked=unmasked)
    from processor.replay.dead_letter_groups import GroupBy

    counted_by = GroupBy(_closed_word("--group-by", group_by, list(GroupBy)))
    place = None if show is None else parse_place("--show", show)
    states = _states(state or (_ALL if place is not None else None))
    query = _Query(dead_letter_filter(reason, template, event, times_ms(from_, to), attempts), states)
    partitions = frozenset(partition or ()) if place is None else frozenset({place[0]})
    settings = output.load_quiet_settings()
    with _new_file(export) as write:
        found = _find(settings, partitions, query)
        if place is not None:
            found = _at(found, place)
        if viewer is not None:
            _record_view(settings, viewer, found, show=show, export=export)
        if place is not None:
            _print_one(settings, found, masked=not unmasked, as_json=as_json)
        elif write is not None:
            _export(settings, found, write)
        elif as_list:
            _print_list(settings, found, limit=limit, masked=not unmasked, as_json=as_json)
        else:
            _print_groups(found, counted_by, as_json=as_json)
    return found.exit_code


# ---------------------------------------------------------------------------------------------------------------------
# What is asked for


@dataclass(frozen=True, slots=True)
class _Query:
    """What is selected: what the dead letters are about, and their states."""

    filter: "DeadLetterFilter"
    states: "Collection[DeadLetterState]"


@dataclass(frozen=True, slots=True)
class _Found:
    """The selected dead letters, and of those that only their state leaves out the number by state."""

    shown: "tuple[DeadLetterEntry, ...]"
    left_out: "Counter[DeadLetterState]"

    @property
    def exit_code(self) -> int:
        return FINDINGS_EXIT_CODE if any(entry.needs_attention for entry in self.shown) else 0

    @property
    def states(self) -> "Counter[DeadLetterState]":
        return Counter(entry.state for entry in self.shown)


def _check_views(*, as_list: bool, show: str | None, export: str | None, unmasked: bool, as_json: bool) -> None:
    if [as_list, show is not None, export is not None].count(True) > 1:
        raise UsageError("--list, --show and --export exclude each other", hint="keep one of them")
    if unmasked and not as_list and show is None and export is None:
        raise UsageError("--unmasked makes sense with --list, --show or --export", hint="numbers are nobody's data")
    if export is not None and as_json:
        raise UsageError("--export writes JSON lines by itself", hint="leave --json out")
    if export is not None and not unmasked:
        raise UsageError(
            "--export holds customers' data as it is, else nobody could correct it",
            hint="--unmasked says that you mean it",
        )


def _record_view(settings: "Settings", viewer: Viewer, found: _Found, *, show: str | None, export: str | None) -> None:
    """Record who is about to be shown what is in these partitions."""
    from processor.replay.unmasked import record_unmasked

    one_or_all = "--list" if show is None else f"--show {show}"
    view = one_or_all if export is None else "--export"
    partitions = {entry.partition for entry in found.shown}
    record_unmasked(settings, partitions, command=f"dead-letters {view}", by=viewer.by, because=viewer.because)


def dead_letter_filter(
    reasons: list[str] | None,
    templates: list[str] | None,
    events: list[str] | None,
    times: tuple[int | None, int | None],
    attempts: int,
) -> "DeadLetterFilter":
    """What is meant, as it was typed. UsageError for a reason that there is not."""
    from processor.domain.record import EventName, TemplateId
    from processor.replay.dead_letter_groups import REASON_CODES, DeadLetterFilter

    for reason in reasons or ():
        _closed_word("--reason", reason, REASON_CODES)
    return DeadLetterFilter(
        reasons=frozenset(reasons) if reasons else None,
        templates=frozenset(map(TemplateId, templates)) if templates else None,
        events=frozenset(map(EventName, events)) if events else None,
        from_ms=times[0],
        to_ms=times[1],
        min_attempts=attempts,
    )


def _states(state: str | None) -> "Collection[DeadLetterState]":
    from processor.replay.dead_letters import DeadLetterState

    if state is None:
        return (DeadLetterState.OPEN, DeadLetterState.PARKED)
    word = _closed_word("--state", state, [*DeadLetterState, _ALL])
    return tuple(DeadLetterState) if word == _ALL else (DeadLetterState(word),)


def _closed_word(option: str, word: str, words: Collection[str]) -> str:
    """`word`, which has to be one of `words`. UsageError with the nearest."""
    if word in words:
        return word
    near = closest_match(word.upper() if words and min(words).isupper() else word.lower(), words)
    otherwise = f"one of {', '.join(words)}" if len(words) <= _WORDS_LIMIT else ""
    raise UsageError(f"{option} {word!r} is not known", hint=did_you_mean(near, otherwise=otherwise))


def _find(settings: "Settings", partitions: Collection[int], query: _Query) -> _Found:
    """Read the dead letters. UsageError for a template or an event that no dead letter and no installation has."""
    from processor.registry.schema_files import load_schemas
    from processor.replay.dead_letters import list_dead_letters

    schemas = load_schemas(settings.schemas_dir)
    with reading_bar("the dead letters") as on_progress:
        entries = list_dead_letters(settings, schemas, partitions, on_progress=on_progress)
    _check_names(settings, entries, query)
    chosen = [entry for entry in entries if query.filter.includes(entry)]
    shown = tuple(entry for entry in chosen if entry.state in query.states)
    return _Found(shown, Counter(entry.state for entry in chosen if entry.state not in query.states))


def _check_names(settings: "Settings", entries: "Collection[DeadLetterEntry]", query: _Query) -> None:
    from processor.domain.catalogue import EVENTS

    for event in query.filter.events or ():
        if event not in EVENTS:
            _closed_word("--event", event, sorted({*EVENTS, *(entry.event for entry in entries if entry.event)}))
    check_templates(settings, entries, query.filter.templates or ())


def check_templates(
    settings: "Settings", entries: "Collection[DeadLetterEntry]", templates: "Collection[TemplateId]"
) -> None:
    """Raise UsageError, with the nearest, for a template that neither one of the dead letters nor the installation
    has."""
    from processor.registry.schema_files import load_schemas
    from processor.templates.load import load_templates

    known = {failed.template for entry in entries for failed in entry.listed}
    if known.issuperset(templates):
        return
    installed = load_templates(settings, load_schemas(settings.schemas_dir)).renderable
    for template in templates:
        _closed_word("--template", template, sorted({*known, *(each.id for each in installed)}))


# ---------------------------------------------------------------------------------------------------------------------
# Counted


def _print_groups(found: _Found, by: "GroupBy", *, as_json: bool) -> None:
    from processor.replay.dead_letter_groups import GroupBy, group

    groups = group(found.shown, by)
    if as_json:
        print_json({**_totals(found), "by": by, "groups": [_group_as_json(each, by) for each in groups]})
        return
    screen = Screen()
    states = sorted(found.states, key=str, reverse=True)
    counts = [Column(str(state), is_number=True) for state in states]
    listing = Listing([Column(by.value), *counts, Column("oldest"), Column("newest"), Column("example")])
    for each in groups:
        numbers = (str(each.states[state]) for state in states)
        times = (minute_text(each.oldest_ms), minute_text(each.newest_ms))
        listing.add(each.key, *numbers, *times, place_text(each.example))
    screen.listing(listing)
    if by is GroupBy.REASON:
        for each in groups:
            for line in _advice_lines(each):
                screen.line(line)
    screen.line(_summary(found))


def _advice_lines(group: "DeadLetterGroup") -> Iterator[str]:
    from processor.domain.advice import ADVICE

    reason = group.example.reason
    if reason is not None:
        yield f"{reason}: {ADVICE[reason].who}; worth another try {ADVICE[reason].when}"


def _summary(found: _Found) -> str:
    counts = ", ".join(f"{number} {state}" for state, number in sorted(found.states.items(), reverse=True))
    left_out = ", ".join(f"{number} {state}" for state, number in sorted(found.left_out.items(), reverse=True))
    text = f"dead letters: {counts}" if counts else "no dead letters"
    return text + (f"; not shown: {left_out} (`--state all`)" if left_out else "")


def _totals(found: _Found) -> dict[str, Any]:
    from processor.replay.dead_letters import DeadLetterState

    totals = found.states
    return {
        "total": len(found.shown),
        **{state.value: totals[state] for state in DeadLetterState},
        "leftOut": {state.value: found.left_out[state] for state in DeadLetterState},
    }


def _group_as_json(group: "DeadLetterGroup", by: "GroupBy") -> dict[str, Any]:
    from processor.domain.advice import ADVICE
    from processor.replay.dead_letter_groups import GroupBy
    from processor.replay.dead_letters import DeadLetterState
    from processor.wire.json_codec import format_millis

    advice = ADVICE[group.example.reason] if by is GroupBy.REASON and group.example.reason is not None else None
    return {
        "key": group.key,
        "total": group.count,
        **{state.value: group.states[state] for state in DeadLetterState},
        "oldest": format_millis(group.oldest_ms),
        "newest": format_millis(group.newest_ms),
        "example": entry_as_json(group.example),
        **({} if advice is None else {"who": advice.who, "when": advice.when}),
    }


# ---------------------------------------------------------------------------------------------------------------------
# Each by itself


def _print_list(settings: "Settings", found: _Found, *, limit: int, masked: bool, as_json: bool) -> None:
    from processor.replay.dead_letters import fetch_dead_letters

    newest = nlargest(limit, found.shown, key=lambda entry: (entry.time_ms, entry.partition, entry.offset))
    show: Callable[..., Any] = stored_as_json if as_json else reason_text  # of each, as all their bytes may be many
    shown = {each.entry: show(each, masked=masked) for each in fetch_dead_letters(settings, newest)}
    letters = [entry for entry in newest if entry in shown]
    if as_json:
        print_json({**_totals(found), "letters": [shown[entry] for entry in letters]})
        return
    columns = (Column("record"), Column("state"), Column("why", prose=True), Column("event, templates", prose=True))
    listing, screen = Listing(columns, separated=True), Screen()
    for entry in letters:
        state = f"{entry.state}, attempt {entry.attempts}\n{minute_text(entry.time_ms)}"
        failed = [f"{failed.template}: {failed.reason}" for failed in entry.failed]
        failed += [f"{older.failed.template}: {older.failed.reason}, before" for older in entry.older]
        more = [] if entry.is_complete else ["and more, which had no room"]
        about = "\n".join((entry.event or "", *failed, *more)).strip()
        listing.add(place_text(entry), state, shown[entry], about)
    screen.listing(listing)
    if len(newest) < len(found.shown):
        screen.line(f"the newest {len(newest)} of {len(found.shown)}; `--limit N` shows more")
    screen.line(_summary(found))


# ---------------------------------------------------------------------------------------------------------------------
# One


def _at(found: _Found, place: tuple[int, int]) -> _Found:
    """That dead letter alone; of two topics' records at one place the events'. UsageError where there is none."""
    at = [entry for entry in found.shown if entry.source and (entry.source.partition, entry.source.offset) == place]
    if not at:
        raise UsageError(
            f"the record at {place[0]}:{place[1]} is no dead letter of this selection",
            hint=f"`processor explain --at {place[0]}:{place[1]}` says what became of it",
        )
    return _Found((min(at, key=lambda entry: not entry.is_of_events),), Counter())


def _print_one(settings: "Settings", found: _Found, *, masked: bool, as_json: bool) -> None:
    from processor.registry.schema_files import load_schemas
    from processor.replay.dead_letters import event_text_of, fetch_dead_letters

    event_text = event_text_of(settings, load_schemas(settings.schemas_dir))
    for stored in fetch_dead_letters(settings, found.shown):
        event = event_text(stored)
        if as_json:
            print_line(one_as_json(stored, event, masked=masked))
        else:
            print_one(stored, event, masked=masked)


# ---------------------------------------------------------------------------------------------------------------------
# Exported


def _export(settings: "Settings", found: _Found, write: Callable[[str], None]) -> None:
    from processor.registry.schema_files import load_schemas
    from processor.replay.dead_letter_export import export_line
    from processor.replay.dead_letters import event_text_of, fetch_dead_letters

    event_text = event_text_of(settings, load_schemas(settings.schemas_dir))
    total, count = len(found.shown), 0
    with reading_bar("the dead letters' values") as on_progress:
        for stored in fetch_dead_letters(settings, found.shown):
            write(export_line(stored, event_text(stored)))
            count += 1
            on_progress(count, total)
    sys.stderr.write(f"exported {count} of {total} {_summary(found)}\n")


@contextmanager
def _new_file(target: str | None) -> "Iterator[Callable[[str], None] | None]":
    """What writes lines to a new file, which its owner alone can read, or to stdout; None where no target is named.

    The file is removed again when the command fails. UsageError when it exists already or cannot be created,
    DependencyError when it cannot be written, as on a full disk.
    """
    if target is None or target == "-":
        yield None if target is None else print_line
        return
    path = Path(target)
    try:
        file = create_private(path)
    except FileExistsError as error:
        raise UsageError(f"{target} exists, and is left as it is", hint="name another file") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{target} cannot be created: {getattr(error, 'strerror', None) or error}") from error
    try:
        with TextIOWrapper(file, encoding="utf-8") as lines:
            yield lambda line: print(line, file=lines)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise DependencyError(f"{target} cannot be written: {error.strerror or error}") from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
