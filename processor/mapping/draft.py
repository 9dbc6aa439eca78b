"""A message as one template makes it of one event: checked, rendered, addressed; not yet with a place and a time."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from processor.domain.catalogue import EVENTS
from processor.domain.channel import CHANNELS, AddressKind, Channel, ChannelSpec
from processor.domain.event import Event
from processor.domain.message import FailedTemplate, SkippedTemplate, State
from processor.domain.output_topics import MAX_RECORD_BYTES
from processor.domain.reasons import DETAIL_LIMIT_CHARACTERS, FailureReason, TemplateReason
from processor.domain.record import EncodedKey, EventName
from processor.domain.template import Template
from processor.domain.text import truncate
from processor.errors import InternalError
from processor.mapping.address import address_error
from processor.mapping.checks import SUPPRESSIONS, TemplateCase, case_of, first_failed_check
from processor.mapping.context import DraftRules
from processor.mapping.recipient import Recipient
from processor.mapping.reference import LookupFailedError, RecipientData
from processor.mapping.render import Rendered, RenderFailure, render

Failure = tuple[FailureReason, str]
"""Why a message is FAILED: the reason and, for people, its cause."""

TEXT_LIMIT_CHARACTERS: Final = MAX_RECORD_BYTES
"""Of a message where no topic says less: a character takes a byte at least, and no record may have more bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A message before it has a place and a time.

    `destination` of a stream event is its `event_type`; an installation may give its topic another name. `state` is
    QUEUED, FAILED or SENT; `failure_reason` and `failure_cause` are set exactly when it is FAILED. `recipient_data` is
    what the reference tables have, for a channel that has a `Message`. `suppressed` is why it is not created although
    it could be: its recipient's portal shows it as Discarded, and nobody is contacted.
    """

    template: Template
    key: EncodedKey
    recipient: Recipient | None
    rendered: Rendered
    destination: str | None
    state: State
    failure_reason: FailureReason | None = None
    failure_cause: str | None = None
    recipient_data: RecipientData | None = None
    suppressed: SkippedTemplate | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """The parts of its `Message` that no reference row gave."""
        return () if self.recipient_data is None else tuple(self.recipient_data.missing)

    @property
    def failure_text(self) -> str:
        """Reason and cause for people, after a comma; empty for a message that did not fail."""
        return f", {self.failure_reason}: {self.failure_cause}" if self.failure_reason else ""


def draft_template(template: Template, event: Event, rules: DraftRules) -> Draft | SkippedTemplate | FailedTemplate:
    """What `template` makes of `event`, or why it makes nothing. For commands that show or try a template."""
    return draft(case_of(template, event, rules))


def draft(
    case: TemplateCase, *, limit_characters: int = TEXT_LIMIT_CHARACTERS, suspended: Collection[TemplateReason] = ()
) -> Draft | SkippedTemplate | FailedTemplate:
    """The message of a case: its checks in their order, then rendered, then addressed.

    `suspended` has the reasons for which the template's circuit breaker is open. It comes after the checks, so that a
    redrive of the failed templates makes a message of each.
    """
    template = case.template
    skipped = None
    try:
        skipped = first_failed_check(case)
        if skipped is None and not suspended and case.recipient_data is not None:
            case.rules.reference.check_complete(case.recipient_data)
    except LookupFailedError as error:
        if not suspended:
            return failed_template(template, TemplateReason.LOOKUP_MISSING, str(error))
    if skipped is not None and skipped.reason not in SUPPRESSIONS:
        return skipped
    if suspended and skipped is None:
        detail = "suspended, as nearly all of its records failed: " + ", ".join(sorted(suspended))
        return failed_template(template, TemplateReason.TEMPLATE_SUSPENDED, detail)
    text = template.text_for(None if case.recipient is None else case.recipient.language)
    rendered = render(text, case.scope, strict=template.strict, limit_characters=limit_characters)
    if isinstance(rendered, RenderFailure):
        return failed_template(template, rendered.reason, rendered.detail)
    return _address_draft(case, rendered, suppressed=skipped)


def event_type(tenant: str, event: EventName) -> str:
    """What consumers of streams see as `event_type`, whatever the topic is called."""
    return f"mrn.event.{tenant}.streamingapi.{EVENTS[event].stream_name}"


def initial_state(channel: Channel, *, failed: bool) -> State:
    """The state in which a message is created: one of a stream counts as SENT once it is written."""
    if failed:
        return State.FAILED
    return State.SENT if CHANNELS[channel].is_stream else State.QUEUED


def failed_template(template: Template, reason: TemplateReason, detail: str) -> FailedTemplate:
    """The entry of a template in the record's dead letter."""
    return FailedTemplate(
        templateId=template.id,
        templateVersion=template.version,
        reason=reason,
        detail=truncate(detail, DETAIL_LIMIT_CHARACTERS),
    )


def _address_draft(case: TemplateCase, rendered: Rendered, *, suppressed: SkippedTemplate | None) -> Draft:
    """The draft with its destination; one that cannot be sent is FAILED."""
    destination, failure = _destination(case, rendered)
    failure = body_failure(case.template.type, rendered.body) or failure
    return Draft(
        template=case.template,
        key=case.key,
        recipient=case.recipient,
        rendered=rendered,
        destination=destination,
        state=initial_state(case.template.type, failed=failure is not None),
        failure_reason=failure and failure[0],
        failure_cause=failure and failure[1],
        recipient_data=case.recipient_data,
        suppressed=suppressed,
    )


def body_failure(channel: Channel, body: str) -> Failure | None:
    """Why `channel` cannot carry a text so long; None when it can."""
    limit = CHANNELS[channel].text_limit
    if limit is None or len(body) <= limit.limit_characters:
        return None
    return limit.failure, f"{len(body)} characters; an {channel} takes {limit.limit_characters}"


def _destination(case: TemplateCase, rendered: Rendered) -> tuple[str | None, Failure | None]:
    """Where the message goes, or None and why that is nowhere."""
    channel = CHANNELS[case.template.type]
    if channel.is_stream:
        return event_type(case.event.tenant, case.event.name), None
    if channel.address is AddressKind.URL:
        address = rendered.url
    else:
        address = None if case.recipient is None else case.recipient.address
    if address is None and channel.missing_address is None:
        raise InternalError(f"{case.template.id}: a message of channel {case.template.type} without an address")
    return resolve_address(channel, address, sms_region=case.rules.sms_region)


def resolve_address(
    channel: ChannelSpec, address: str | None, *, sms_region: str | None
) -> tuple[str | None, Failure | None]:
    """Where a message to `address` goes, or None and why that is nowhere: an address that is null is missing, one that
    cannot be an address is undefined."""
    if address is None:
        return None, channel.missing_address
    address = address.strip()
    error = address_error(channel.address, address, sms_region=sms_region)
    return (address, None) if error is None else (None, (FailureReason.UNDEFINED_DESTINATION, error))
