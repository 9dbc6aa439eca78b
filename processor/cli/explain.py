"""`processor explain EVENT…`: what each template makes of an event, or why not, condition by condition, with values.

The exit code is 1 when an event would be a dead letter, or a template fails for one; 0 for all else.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer

from processor.cli import output
from processor.cli.output import FINDINGS_EXIT_CODE, JsonOption, print_json, print_line, printable
from processor.domain.text import truncate_line

if TYPE_CHECKING:
    from processor.templates.explain import Explanation, TemplateExplanation

EXAMPLE: Final = "processor explain LOAN_REPAYMENT events.jsonl"

_DETAIL_LIMIT_CHARACTERS: Final = 200
_TABLES_NOT_READ: Final = "not looked at: the reference tables, which say who is blocked, has opted out or has opted in"


def command(
    events: Annotated[
        list[str], typer.Argument(metavar="EVENT...", help="Files of JSON events, - for stdin, or events' names.")
    ],
    as_json: JsonOption = False,
) -> int:
    """Show which templates make a message of an event, and why the others do not; opens no connection."""
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
        for explanation in explanations:
            print_line("\n".join(map(printable, _lines(explanation))) + "\n")
        if any(result.depends_on_tables for explanation in explanations for result in explanation.templates):
            print_line(_TABLES_NOT_READ)
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
