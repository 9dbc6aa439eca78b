"""One template with one event: its text beside the message it makes, and the value of each placeholder."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from processor.domain.channel import CHANNELS
from processor.domain.event import Event
from processor.domain.message import FailedTemplate, SkippedTemplate
from processor.domain.template import CustomFieldPlaceholder, NamedPlaceholder, Segment, Template, Text
from processor.mapping.checks import case_of
from processor.mapping.context import DraftRules
from processor.mapping.draft import TEXT_LIMIT_CHARACTERS, Draft, draft
from processor.mapping.reference import subscriptions_only
from processor.mapping.render import Rendered, plain_text, render
from processor.settings import Settings
from processor.templates.masking import mask_secrets
from processor.wire.template_sets import without_secrets


@dataclass(frozen=True, slots=True)
class Preview:
    """A template applied to an event, which `where` names. `result` is the message, or why there is none.

    `text` is that of the recipient's language, `values` are those of its placeholders. `rendered` is the text with
    them, also where a decision keeps the message back; None when the template fails.
    """

    template: Template
    where: str
    event: Event
    text: Text
    values: dict[str, str | None]
    result: Draft | SkippedTemplate | FailedTemplate
    rendered: Rendered | None

    @property
    def locale(self) -> str:
        """The language of the text."""
        template = self.template
        return next((tag for tag, text in template.texts.items() if text is self.text), template.default_locale)

    @property
    def title(self) -> str | None:
        """What a task is called; None for the other channels."""
        return self.template.name if CHANNELS[self.template.type].has_title else None

    def parts(self) -> Iterator[tuple[str, str, str]]:
        """Name, source and result of each part of the message."""
        for name in ("subject", "url", "body"):
            source: tuple[Segment, ...] | None = getattr(self.text, name)
            if source is not None:
                yield name, "".join(map(str, source)), getattr(self.rendered, name, None) or ""

    def request(self) -> dict[str, Any] | None:
        """How a webhook is called, but for its address; None for the other channels. Values of headers are `***`."""
        webhook = json.loads(without_secrets(self.template.content))["webhook"]
        if webhook is None:
            return None
        return {
            "method": webhook["request_type"],
            "contentType": self.template.content_type.value,
            "authorization": webhook["authorization"],
            "username": webhook["username"],
            "passwordEnv": webhook["password_env"],
            "headers": webhook["headers"],
        }


def preview_template(template: Template, where: str, event: Event, settings: Settings, *, subscribed: bool) -> Preview:
    """`template` with `event`, whose secrets are masked. `subscribed`: whether its holder has opted in."""
    event = mask_secrets(event)
    rules = DraftRules(
        time_zone=ZoneInfo(settings.time_zone),
        sms_region=settings.sms.region,
        reference=subscriptions_only(subscribed),
    )
    case = case_of(template, event, rules)
    text = template.text_for(None if case.recipient is None else case.recipient.language)
    segments = (*(text.subject or ()), *(text.url or ()), *text.body)
    values = {
        str(segment): plain_text(segment, case.scope)
        for segment in segments
        if isinstance(segment, NamedPlaceholder | CustomFieldPlaceholder)
    }
    result = draft(case)
    rendered = result.rendered if isinstance(result, Draft) else None
    if isinstance(result, SkippedTemplate):  # what it would say is worth seeing all the same
        attempt = render(text, case.scope, strict=template.strict, limit_characters=TEXT_LIMIT_CHARACTERS)
        rendered = attempt if isinstance(attempt, Rendered) else None
    return Preview(template, where, event, text, values, result, rendered)
