"""Contexts with plans, and what a planned outcome has in common with the reference's."""

from dataclasses import replace
from typing import Any

from processor.domain.event import SourceEvent
from processor.domain.outcome import CreatedMessage, Outcome, PlannedMessage, Processed
from processor.mapping.context import MappingContext
from processor.mapping.event_plans import EventPlans


def with_plans(context: MappingContext) -> MappingContext:
    """The context with plans of its own."""
    return replace(context, plans=EventPlans())


def comparable(outcome: Outcome) -> Any:
    """All of an outcome but the values of its messages, which a planned one does not have."""
    if not isinstance(outcome, Processed):
        return outcome
    results = [
        (result.message and _of_message(result.message), replace(result, created=None, planned=None))
        for result in outcome.results
    ]
    return replace(outcome, results=()), outcome.outputs, outcome.output_bytes, results


def _of_message(created: CreatedMessage | PlannedMessage) -> tuple[Any, ...]:
    return (
        created.template_id,
        created.template_version,
        created.channel,
        created.encoded_key,
        created.event_id,
        created.time_ms,
        created.destination,
        created.replaced,
    )


def is_planned(outcome: Outcome) -> bool:
    """Whether a plan has made a message of it."""
    return isinstance(outcome, Processed) and any(result.planned for result in outcome.results)


def is_scanned(source: SourceEvent | Outcome) -> bool:
    """Whether its record was scanned."""
    return isinstance(source, SourceEvent) and type(source) is not SourceEvent
