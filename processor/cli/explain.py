"""`processor explain EVENT…`: what each template makes of an event, or why not, condition by condition, with values.
`processor explain --at PARTITION:OFFSET`: what became of a record, and what today's templates would make of it.

The exit code is 1 when an event would be a dead letter, or a template fails for one; of a record also when the group
has passed it without an outcome, or it is found nowhere; 0 for all else.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from processor.cli import output
from processor.cli.output import FINDINGS_EXIT_CODE, JsonOption, parse_place, print_json
from processor.cli.past_options import BecauseOption, ByOption, Viewer, viewer_of
from processor.cli.progress import reading_bar
from processor.domain.text import truncate_line
from processor.errors import UsageError
from processor.screen import Column, Listing, Screen

if TYPE_CHECKING:
    from processor.domain.outcome import SourceOutcome
    from processor.replay.explain_at import PlaceExplanation
    from processor.settings import Settings
    from processor.templates.explain import Explanation, TemplateExplanation

EXAMPLE: Final = "processor explain LOAN_REPAYMENT events.jsonl"

_DETAIL_LIMIT_CHARACTERS: Final = 200
_TABLES_NOT_READ: Final = "not looked at: the reference tables, which say who is blocked, has opted out or has opted in"
_RECORD: Final = "(the record)"  # in place of a template
_NO_OUTCOME: Final = "no outcome"


def command(
    events: Annotated[
        list[str] | None,
        typer.Argument(metavar="EVENT", help="Files of JSON events, - for stdin, or events' names."),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="PARTITION:OFFSET", help="What became of the record there, and what it would make today."),
    ] = None,
    unmasked: Annotated[
        bool,
        typer.Option("--unmasked", help="With --at: show customers' addresses, values and texts; this is recorded."),
    ] = False,
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> int:
    """Show which templates make a message of an event, or why not.

    With --at, what became of a record: all that `run` and operations on the past wrote of it. Of events no connection
    is opened. The exit code is 1 when something needs attention.
    """
    if (at is None) == (not events):
        raise UsageError(
            "explain needs events or --at", hint=f"`{EXAMPLE}`, or `processor explain --at 3:1700` for a record"
        )
    if at is None and unmasked:
        raise UsageError("--unmasked makes sense with --at alone", hint="leave it out: events are shown as they are")
    viewer = viewer_of(by, because, unmasked=unmasked)
    if at is not None:
        return _explain_record(at, viewer, as_json=as_json)
    return _explain_events(events or [], as_json=as_json)


# ---------------------------------------------------------------------------------------------------------------------
# Events that a person names


def _explain_events(events: list[str], *, as_json: bool) -> int:
    from processor.cli.event_arguments import read_events
    from processor.registry.schema_files import load_schemas
    from processor.templates.explain import explain_event
    from processor.templates.load import load_templates, require_usable

    settings = output.load_quiet_settings()
    schemas = load_schemas(settings.schemas_dir)
    templates = require_usable(load_templates(settings, schemas))
    explanations = [
        explain_event(named.where, named.event, templates, settings)
        for argument in events
        for named in read_events(argument, schemas, tenant=settings.tenant)
    ]
    if as_json:
        print_json({"setVersion": templates.digest, "events": [asdict(explanation) for explanation in explanations]})
    else:
        screen = Screen()
        for explanation in explanations:
            screen.line("\n".join(_lines(explanation)) + "\n")
        if any(result.depends_on_tables for explanation in explanations for result in explanation.templates):
            screen.line(_TABLES_NOT_READ)
    return FINDINGS_EXIT_CODE if any(explanation.needs_attention for explanation in explanations) else 0


def _lines(explanation: "Explanation") -> Iterator[str]:
    where, reason, detail = explanation.where, explanation.reason, explanation.detail
    if explanation.deadLetter:
        yield f"{where}: dead letter, {reason}: {detail}"
        return
    yield f"{where}: {explanation.event} {explanation.eventId}, keyed by {explanation.orderingKey}"
    if reason is not None:
        yield f"  no message, {reason}: {detail}"
    for result in explanation.templates:
        yield f"  {result.template} v{result.version} {result.type}: {_outcome(result)}"
        yield f"    {truncate_line(result.detail, _DETAIL_LIMIT_CHARACTERS)}"
        if result.conditions:
            yield f"    conditions, {result.match} of them:"
        for condition in result.conditions:
            yield f"      {'yes' if condition.holds else 'no ':<3} {condition.condition}; {condition.seen}"


def _outcome(result: "TemplateExplanation") -> str:
    if result.encodedKey is not None:
        return "made"
    return f"failed, {result.outcome}" if result.failed else result.outcome


# ---------------------------------------------------------------------------------------------------------------------
# A record, by its place


def _explain_record(at: str, viewer: Viewer | None, *, as_json: bool) -> int:
    """`viewer`: whom customers' data is shown to; None: it is masked."""
    from processor.registry.schema_files import load_schemas
    from processor.replay.explain_at import explain_at, place
    from processor.replay.unmasked import record_unmasked
    from processor.templates.load import load_templates, require_usable

    partition, offset = parse_place("--at", at)
    masked = viewer is None
    settings = output.load_quiet_settings()
    schemas = load_schemas(settings.schemas_dir)
    templates = require_usable(load_templates(settings, schemas))
    with reading_bar("the outputs") as on_progress:
        explanation = explain_at(
            settings,
            schemas,
            templates,
            place(settings, partition, offset),
            masked=masked,
            on_progress=on_progress,
        )
    if viewer is not None:
        record_unmasked(settings, {partition}, command=f"explain --at {at}", by=viewer.by, because=viewer.because)
    if as_json:
        print_json(_as_json(explanation, masked=masked))
    else:
        _print_place(explanation, settings, masked=masked)
    return FINDINGS_EXIT_CODE if explanation.needs_attention else 0


def _print_place(explanation: "PlaceExplanation", settings: "Settings", *, masked: bool) -> None:
    screen = Screen()
    for line in _record_lines(explanation, settings):
        screen.line(line)
    columns = (Column("template"), Column("then", prose=True), Column("today", prose=True))
    listing = Listing(columns, separated=True)
    then, today = dict(_then(explanation.outcomes, masked=masked)), dict(_today(explanation))
    for name in dict.fromkeys((*then, *today)):
        past = "\n".join(then[name]) if name in then else "" if explanation.outcomes else _NO_OUTCOME
        listing.add(name, past, today.get(name, ""))
    screen.listing(listing)
    if explanation.today is not None and any(result.depends_on_tables for result in explanation.today.templates):
        screen.line(f"\n{_TABLES_NOT_READ}; and whether the event came before")


def _record_lines(explanation: "PlaceExplanation", settings: "Settings") -> Iterator[str]:
    """The record, whether it can be read, and where the group is; each a line."""
    from processor.replay.explain_at import RecordState
    from processor.wire.json_codec import format_millis

    today, first, end = explanation.today, explanation.first_offset, explanation.end_offset
    match explanation.state:
        case RecordState.PRESENT:
            time = "" if explanation.time_ms is None else f", {format_millis(explanation.time_ms)}"
            event = "" if today is None or today.event is None else f": {today.event} {today.eventId}"
            yield f"{explanation.position}{time}{event}"
        case RecordState.EXPIRED:
            yield f"{explanation.position}: the record is gone; the partition begins at offset {first}"
        case RecordState.BEYOND_END:
            yield f"{explanation.position}: there is no such record yet; the next one gets offset {end}"
        case RecordState.IN_TRANSACTION:
            yield f"{explanation.position}: hidden by a transaction that is open"
        case RecordState.NOT_A_RECORD:
            yield f"{explanation.position}: no record; a transaction's marker, or one that was aborted"
    position = explanation.group_position
    place = "has no position" if position is None else f"goes on at offset {position}"
    yield f"group {settings.group_id} {place} in this partition"
    if explanation.wrong_key and today is not None and today.orderingKey is not None:
        yield f"not keyed by its ordering key, {today.orderingKey}: order is not kept"
    if not explanation.outcomes and explanation.state is not RecordState.NOT_A_RECORD:
        yield _why_nothing(explanation)
    sets = dict.fromkeys(outcome.set_version for outcome in explanation.outcomes if outcome.set_version is not None)
    then = f"template set then {', '.join(sets)}; " if sets else "template set "
    yield f"{then}today {'the same' if [*sets] == [explanation.set_version] else explanation.set_version}"


def _why_nothing(explanation: "PlaceExplanation") -> str:
    if explanation.was_passed:
        return "no outcome: the group has passed it, so it was skipped, or its decision was not written"
    return "no outcome: the group has not come to it"


def _then(outcomes: "tuple[SourceOutcome, ...]", *, masked: bool) -> Iterator[tuple[str, list[str]]]:
    """What the outputs say, by template; what is about the whole record under a name of its own."""
    rows: dict[str, list[str]] = {}
    for outcome in outcomes:
        by = "" if outcome.operation is None else f"\nby {outcome.operation}"
        for template, text in _said(outcome, masked=masked):
            rows.setdefault(template or _RECORD, []).append(f"{text}{by}")
    yield from rows.items()


def _said(outcome: "SourceOutcome", *, masked: bool) -> "Iterator[tuple[str | None, str]]":
    """What one output says: template, None for the whole record, and text."""
    from processor.domain.outcome import DeadLetterOutcome, DecisionOutcome, StatusOutcome

    match outcome:
        case StatusOutcome():
            yield outcome.template_id, f"created {outcome.state or 'in an unknown state'}\n{outcome.encoded_key}"
        case DecisionOutcome():
            for skipped in outcome.reasons:
                yield skipped.template_id, f"skipped, {_why(skipped.reason, skipped.detail, masked=masked)}"
            if outcome.reasons_left_out:
                yield None, f"and {outcome.reasons_left_out} more reasons, which had no room"
        case DeadLetterOutcome():
            attempt = f"attempt {outcome.attempts}" + ("" if outcome.has_value else ", without the value")
            yield None, f"dead letter, {attempt}\n{_why(outcome.reason, outcome.detail, masked=masked)}"
            for failed in outcome.failed:
                yield failed.templateId, f"failed, {_why(failed.reason, failed.detail, masked=masked)}"
            if not outcome.is_complete:
                yield None, "more templates failed, which had no room"


def _why(reason: str | None, detail: str, *, masked: bool) -> str:
    """A reason with its detail. None: of a newer version, its word is in the detail."""
    from processor.domain.masking import mask_detail

    shown = mask_detail(reason or "", detail) if masked else detail
    return truncate_line(shown if reason is None else f"{reason}: {shown}", _DETAIL_LIMIT_CHARACTERS)


def _today(explanation: "PlaceExplanation") -> Iterator[tuple[str, str]]:
    today = explanation.today
    if today is None:
        return
    if today.reason is not None:
        kind = "dead letter" if today.deadLetter else "no message"
        yield _RECORD, f"{kind}, {today.reason}: {today.detail}"
    for result in today.templates:
        yield result.template, f"{_outcome(result)}\n{truncate_line(result.detail, _DETAIL_LIMIT_CHARACTERS)}"


def _as_json(explanation: "PlaceExplanation", *, masked: bool) -> dict[str, Any]:
    from processor.wire.json_codec import format_millis

    return {
        "position": explanation.position._asdict(),
        "state": explanation.state,
        "at": None if explanation.time_ms is None else format_millis(explanation.time_ms),
        "firstOffset": explanation.first_offset,
        "endOffset": explanation.end_offset,
        "groupPosition": explanation.group_position,
        "passed": explanation.was_passed,
        "wrongKey": explanation.wrong_key,
        "outcomes": [_outcome_as_json(outcome, masked=masked) for outcome in explanation.outcomes],
        "setVersion": explanation.set_version,
        "today": None if explanation.today is None else asdict(explanation.today),
    }


def _outcome_as_json(outcome: "SourceOutcome", *, masked: bool) -> dict[str, Any]:
    from processor.domain.masking import mask_detail
    from processor.domain.outcome import DeadLetterOutcome, DecisionOutcome, StatusOutcome

    def detail(reason: str | None, text: str) -> dict[str, Any]:
        return {"reason": reason, "detail": mask_detail(reason or "", text) if masked else text}

    common = {
        "eventId": outcome.event_id,
        "event": outcome.event,
        "setVersion": outcome.set_version,
        "operation": outcome.operation,
    }
    match outcome:
        case StatusOutcome():
            said: dict[str, Any] = {
                "templateId": outcome.template_id,
                "encodedKey": outcome.encoded_key,
                "state": outcome.state,
            }
            return {"kind": "STATUS", **common, **said}
        case DecisionOutcome():
            reasons = [
                {"templateId": skipped.template_id, **detail(skipped.reason, skipped.detail)}
                for skipped in outcome.reasons
            ]
            return {"kind": "DECISION", **common, "reasons": reasons, "reasonsLeftOut": outcome.reasons_left_out}
        case DeadLetterOutcome():
            failed = [
                {"templateId": template.templateId, **detail(template.reason, template.detail)}
                for template in outcome.failed
            ]
            said = {
                **detail(outcome.reason, outcome.detail),
                "failed": failed,
                "failedComplete": outcome.is_complete,
                "attempts": outcome.attempts,
                "hasValue": outcome.has_value,
            }
            return {"kind": "DEAD_LETTER", **common, **said}
