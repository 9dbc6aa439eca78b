"""The samples of a template, rendered and compared with what they expect: rule T19."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Final

from processor.domain.diagnostic import Diagnostic
from processor.domain.event import Event
from processor.domain.message import FailedTemplate, SkippedTemplate, State
from processor.domain.placeholders import MANUAL
from processor.domain.reasons import DecisionReason
from processor.domain.record import TemplateId
from processor.domain.template import Template
from processor.domain.text import did_you_mean
from processor.mapping.context import DraftRules
from processor.mapping.draft import Draft, draft_template
from processor.mapping.reference import subscriptions_only
from processor.templates.diagnostics import error, short, warning
from processor.templates.file_model import SampleSection
from processor.templates.parse_file import ParsedFile, read_sibling
from processor.templates.rules import RuleCode
from processor.wire.decode import DecodeFailure, event_and_unknown_fields
from processor.wire.reader_schemas import Schemas

_INITIAL_STATES: Final = (State.QUEUED, State.FAILED, State.SENT)


@dataclass(frozen=True, slots=True)
class SampleRun:
    """A sample that was rendered; `passed` is whether it gave what it expects. `event` is None when it is none.

    `subscribed`: whether the event's holder is.
    """

    template: TemplateId
    name: str
    passed: bool
    event: Event | None
    subscribed: bool


@dataclass(frozen=True, slots=True)
class SampleRunner:
    """Renders samples as an installation would. `schemas` read their events."""

    schemas: Schemas
    time_zone: tzinfo
    sms_region: str | None

    def run(self, parsed: ParsedFile, template: Template) -> tuple[list[SampleRun], list[Diagnostic]]:
        """Render each sample of a template, and say what it does not give. Blocks on the disk."""
        samples, diagnostics = parsed.file.sample, []
        if not samples and parsed.file.trigger != MANUAL:
            hint = "a [[sample]] shows what the template makes of an event, and fails when that changes"
            diagnostics.append(warning("no sample", code=RuleCode.SAMPLE, hint=hint))
        runs = []
        for index, sample in enumerate(samples):
            key = f"sample.{index}"
            earlier = [other.name for other in samples[:index]]
            event, found = self._read_event(parsed, template, sample, key)
            if sample.name in earlier:
                found.append(_error(f"sample {sample.name!r} is there twice", f"{key}.name"))
            if event is not None:
                found += self._compare(template, event, sample, key)
            passed = not any(diagnostic.is_error for diagnostic in found)
            runs.append(SampleRun(template.id, sample.name, passed, event, sample.subscribed))
            known = {diagnostic.message for diagnostic in diagnostics}  # samples may share an event, and its warnings
            diagnostics += [wrong for wrong in found if wrong.is_error or wrong.message not in known]
        return runs, diagnostics

    def _read_event(
        self, parsed: ParsedFile, template: Template, sample: SampleSection, key: str
    ) -> tuple[Event | None, list[Diagnostic]]:
        """The event of a sample, None when it is none of the template's; and what is wrong with it."""
        field = f"{key}.event"
        raw = read_sibling(sample.event, parsed.directory, field=field)
        if isinstance(raw, Diagnostic):
            return None, [replace(raw, code=RuleCode.SAMPLE)]
        event, unknown_fields = event_and_unknown_fields(raw, self.schemas)
        diagnostics = [
            warning(
                f"{sample.event} has an unknown field {unknown.path}",
                code=RuleCode.SAMPLE,
                field=field,
                hint=did_you_mean(unknown.nearest),
            )
            for unknown in unknown_fields
        ]
        if isinstance(event, DecodeFailure):
            message = f"sample {sample.name!r}: {sample.event} is no event: {event.reason}: {event.detail}"
            return None, [*diagnostics, _error(message, field)]
        if event.name not in template.events:
            message = f"sample {sample.name!r}: {sample.event} is a {event.name}, which this template is not for"
            return None, [*diagnostics, _error(message, field)]
        return event, diagnostics

    def _compare(self, template: Template, event: Event, sample: SampleSection, key: str) -> Iterator[Diagnostic]:
        """What the message of `event` has otherwise than the sample expects."""
        expected: dict[str, str] = sample.expected.model_dump(exclude_none=True)
        expects_none = not expected and not sample.subscribed
        if not expected and sample.subscribed:
            yield _error(f"sample {sample.name!r} expects nothing", key, "expected.body = …")
        if expected.get("state", State.QUEUED) not in _INITIAL_STATES:
            message = f"unknown state {short(expected['state'])!r}"
            yield _error(message, f"{key}.expected.state", "a message begins QUEUED, FAILED or SENT")
        result = self._draft(template, event, subscribed=sample.subscribed)
        if not isinstance(result, Draft):
            unsubscribed = result.reason is DecisionReason.NOT_SUBSCRIBED
            if not (expects_none and unsubscribed):
                hint = "leave `expected` out where no message is right" if unsubscribed else ""
                text = f"sample {sample.name!r} makes no message: {result.reason}: {result.detail}"
                yield _error(text, f"{key}.event", hint)
            return
        if expects_none:
            text = f"sample {sample.name!r} makes a message, though its holder is not subscribed"
            yield _error(text, f"{key}.subscribed", "an event without a holder needs no subscription")
        actual = _parts(result)
        for name, value in expected.items():
            if actual[name] != value:
                why = result.failure_text if name in ("state", "destination") else ""
                text = f"sample {sample.name!r}: {name} is not as expected\n{_difference(value, actual[name])}{why}"
                yield _error(text, f"{key}.expected.{name}")

    def _draft(self, template: Template, event: Event, *, subscribed: bool) -> Draft | SkippedTemplate | FailedTemplate:
        """What the template makes of `event`; of an inactive one what it would."""
        rules = DraftRules(
            time_zone=self.time_zone, sms_region=self.sms_region, reference=subscriptions_only(subscribed)
        )
        return draft_template(replace(template, active=True), event, rules)


def _error(message: str, field: str, hint: str = "") -> Diagnostic:
    return error(message, code=RuleCode.SAMPLE, field=field, hint=hint)


def _parts(message: Draft) -> dict[str, str | None]:
    """What a sample may expect of a message."""
    return {
        "subject": message.rendered.subject,
        "body": message.rendered.body,
        "destination": message.destination,
        "state": message.state.value,
    }


def _difference(expected: str, actual: str | None) -> str:
    """The two texts from a little before where they part, one below the other."""
    if actual is None:
        return f"    expected {short(expected)!r}\n    got      nothing"
    shorter = min(len(expected), len(actual))
    at = next((i for i in range(shorter) if expected[i] != actual[i]), shorter)
    start = max(at - 20, 0)
    lead = "…" if start else ""
    return f"    expected {lead}{short(expected[start:])!r}\n    got      {lead}{short(actual[start:])!r}"
