"""`processor explain EVENT…`: what each template makes of an event, or why not, condition by condition, with values.

The exit code is 1 when an event would be a dead letter, or a template fails for one; 0 for all else.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Final
from zoneinfo import ZoneInfo

from processor.cli.event_arguments import Told, events_told, masked, printable
from processor.domain.event import Event
from processor.domain.message import FailedTemplate, SkippedTemplate
from processor.domain.reasons import DecisionReason
from processor.domain.template import Template, TemplateSet
from processor.domain.text import truncate_line
from processor.mapping.conditions import describe_value, holds
from processor.mapping.map import Draft, draft, event_type, scope_of
from processor.registry.schema_files import load_schemas
from processor.settings import Settings
from processor.templates.load import BODY_LIMIT_BYTES, load_templates, require_usable
from processor.wire.decode import Fault

FINDINGS: Final = 1
_MADE: Final = "MADE"
_BY_TABLES: Final = (_MADE, DecisionReason.NOT_SUBSCRIBED.value)  # outcomes that a row could change
_DETAIL_LIMIT_CHARACTERS: Final = 200
_NOT_LOOKED_AT: Final = "not looked at: the reference tables, which say who is blocked, has opted out or has opted in"


@dataclass(frozen=True, slots=True)
class Asked:
    """One condition of a template, with the value it was asked of."""

    condition: str
    holds: bool
    seen: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What one template makes of the event. `outcome` is MADE, or the reason of a decision or a failed template.

    `detail` says why, or of what is made its state, addressee and beginning.
    """

    template: str
    version: int
    type: str
    outcome: str
    failed: bool
    detail: str
    encodedKey: str | None  # noqa: N815  published spelling
    match: str
    conditions: tuple[Asked, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that becomes of one event. `reason` and `detail` say why no template is asked at all."""

    where: str
    event: str | None
    eventId: str | None  # noqa: N815
    orderingKey: str | None  # noqa: N815
    reason: str | None
    detail: str | None
    dead: bool
    templates: tuple[Answer, ...]

    @property
    def has_findings(self) -> bool:
        """Whether somebody has to mend something."""
        return self.dead or any(one.failed for one in self.templates)


def explain(settings: Settings, *, arguments: Sequence[str], json_output: bool) -> int:
    """Print what becomes of each event, in the order of `arguments`; give the exit code. Connects to nothing.

    Raises UsageError for templates or schemas that `run` would refuse, and for an argument that is no event.
    """
    schemas = load_schemas(settings.schemas_dir)
    templates = require_usable(load_templates(settings, schemas))
    found = [
        explained(one, templates, settings)
        for argument in arguments
        for one in events_told(argument, schemas, tenant=settings.tenant)
    ]
    if json_output:
        sys.stdout.write(json.dumps({"setVersion": templates.digest, "events": [asdict(one) for one in found]}) + "\n")
    else:
        sys.stdout.writelines(f"{printable(line)}\n" for one in found for line in (*_lines(one), ""))
        if any(answer.outcome in _BY_TABLES for one in found for answer in one.templates):
            sys.stdout.write(f"{_NOT_LOOKED_AT}\n")
    return FINDINGS if any(one.has_findings for one in found) else 0


def explained(told: Told, templates: TemplateSet, settings: Settings) -> Explanation:
    """What `run` would do with the event, but for what only a partition knows: its key, and whether it was told before.

    Where no tenant is set the event's own is taken.
    """
    tenant = settings.tenant
    event = told.event
    if isinstance(event, Fault):
        return Explanation(told.where, None, None, None, event.reason.value, event.detail, dead=True, templates=())
    reason = detail = None
    asked: tuple[Template, ...] = ()
    if tenant not in (None, event.tenant):
        reason, detail = DecisionReason.TENANT_DISABLED, f"tenant {event.tenant}; this installation is for {tenant}"
    elif not (asked := templates.for_event(event.name)):
        reason, detail = DecisionReason.NO_TEMPLATE, f"no template names {event.name}"
    return Explanation(
        told.where,
        event.name,
        event.id,
        event.ordering_key,
        reason and reason.value,
        detail,
        dead=False,
        templates=tuple(_answer(one, event, settings) for one in asked),
    )


def _answer(template: Template, event: Event, settings: Settings) -> Answer:
    time_zone = ZoneInfo(settings.time_zone)

    def made_of(one: Event) -> Draft | SkippedTemplate | FailedTemplate:
        return draft(
            template,
            one,
            time_zone=time_zone,
            stream=event_type(one.tenant, one.name),
            limit_characters=BODY_LIMIT_BYTES,
            sms_region=settings.sms.region,
            switched_off=settings.channels.disabled,
        )

    made = made_of(event)
    if isinstance(made, Draft):
        made = made_of(masked(event))  # what is shown of it
    _, scope = scope_of(template, event, time_zone=time_zone)
    return Answer(
        template=template.id,
        version=template.version,
        type=template.type.value,
        outcome=_MADE if isinstance(made, Draft) else made.reason.value,
        failed=isinstance(made, FailedTemplate),
        detail=_made(made) if isinstance(made, Draft) else made.detail,
        encodedKey=made.key if isinstance(made, Draft) else None,
        match=template.match.value,
        conditions=tuple(Asked(str(one), holds(one, scope), describe_value(one, scope)) for one in template.conditions),
    )


def _made(made: Draft) -> str:
    to = f" to {made.destination}" if made.destination else ""
    return f"{made.state}{made.why_failed}{to}: {made.rendered.subject or made.rendered.body}"


def _lines(one: Explanation) -> Iterator[str]:
    if one.dead:
        yield f"{one.where}: dead letter, {one.reason}: {one.detail}"
        return
    yield f"{one.where}: {one.event} {one.eventId}, keyed by {one.orderingKey}"
    if one.reason is not None:
        yield f"  no message, {one.reason}: {one.detail}"
    for answer in one.templates:
        words = "made" if answer.outcome == _MADE else f"failed, {answer.outcome}" if answer.failed else answer.outcome
        yield f"  {answer.template} v{answer.version} {answer.type}: {words}"
        yield f"    {truncate_line(answer.detail, _DETAIL_LIMIT_CHARACTERS)}"
        if answer.conditions:
            yield f"    conditions, {answer.match} of them:"
        for asked in answer.conditions:
            yield f"      {'yes' if asked.holds else 'no ':<3} {asked.condition}; {asked.seen}"
