"""The checks of one template file: each gives what is wrong with a part of it, and none changes anything. Pure."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from processor.domain.catalogue import EVENTS, FAMILIES, Target
from processor.domain.channel import CHANNELS, AddressKind, RecipientKind
from processor.domain.diagnostic import Diagnostic
from processor.domain.notification import CATEGORY_ID
from processor.domain.placeholders import MANUAL
from processor.domain.record import ENCODED_KEY_PATTERN, EventName
from processor.mapping.escape import holds_control
from processor.templates.compile import TemplateParts, check_enum
from processor.templates.diagnostics import error, one_line, short, warning, whole_number
from processor.templates.file_model import (
    CLOSED_LISTS,
    ID_PATTERN,
    VERSION_LIMIT,
    AttachmentSection,
    WebhookSection,
)
from processor.templates.language_tags import check_tag
from processor.templates.rules import RuleCode
from processor.templates.text import first_placeholder
from processor.templates.webhook import (
    Authorization,
    RequestType,
    check_authorization,
    check_headers,
    check_url,
)

NAME_LIMIT_CHARACTERS: Final = 255
TRIGGER_DAYS_LIMIT: Final = 365
ATTACHMENTS_LIMIT: Final = 100
ATTACHMENT_TEXT_LIMIT_CHARACTERS: Final = 1024
ID_HINT: Final = "1 to 63 of a-z, 0-9 and -, not - at first"

Check = Callable[[TemplateParts], Iterable[Diagnostic]]


def is_template_id(text: str) -> bool:
    """Whether a template, and so its file, can be called so."""
    return re.fullmatch(ID_PATTERN, text) is not None


# ------------------------------------------------------------------------------------------------------------ identity

_WORD_CODES: Final[Mapping[str, RuleCode]] = {
    "target": RuleCode.TARGET,
    "recipient": RuleCode.RECIPIENT,
    "trigger": RuleCode.EVENT,
    "match": RuleCode.CONDITION,
}


def check_closed_lists(parts: TemplateParts) -> Iterator[Diagnostic]:
    """Words that are none of their closed list."""
    for field, words in CLOSED_LISTS.items():
        yield from check_enum(field, getattr(parts.file, field), words, code=_WORD_CODES.get(field, ""))


def check_name(parts: TemplateParts) -> Iterator[Diagnostic]:
    """T01: a name of one line, but for names that two files share."""
    if parts.file.name is None:
        return
    name, code = parts.file.name.strip(), RuleCode.NAME
    if not name:
        yield error("name is blank", code=code, field="name")
    elif len(name) > NAME_LIMIT_CHARACTERS:
        yield error(f"name has {len(name)} characters, at most {NAME_LIMIT_CHARACTERS}", code=code, field="name")
    if holds_control(name):
        yield error("name holds a control character or a line break", code=code, field="name")
    if token := first_placeholder(name):
        hint = "a name is the same for all messages"
        yield error(f"name holds {one_line(token)}", code=code, field="name", hint=hint)


def check_identity(parts: TemplateParts) -> Iterator[Diagnostic]:
    """T02: an id that names the file, and a key, but for those that two files share."""
    file, code = parts.file, RuleCode.IDENTITY
    if file.id is not None and not is_template_id(file.id):
        yield error(f"id {short(file.id)!r} is not an id", code=code, field="id", hint=ID_HINT)
    elif file.id is not None and parts.parsed.path.name != f"{file.id}.toml":
        hint = "a file is named by its id"
        yield error(f"id {file.id!r} belongs in {file.id}.toml", code=code, field="id", hint=hint)
    if file.key is not None and not ENCODED_KEY_PATTERN.fullmatch(file.key):
        message = f"key {short(file.key)!r} is not 32 hexadecimal digits, lower case"
        yield error(message, code=code, field="key")


def check_version(parts: TemplateParts) -> Iterator[Diagnostic]:
    """A version that a status can carry."""
    version = parts.file.version
    if version is not None and not 1 <= version <= VERSION_LIMIT:
        message = f"version {whole_number(version)} is not a whole number from 1 to {VERSION_LIMIT}"
        yield error(message, field="version")


def check_default_locale(parts: TemplateParts) -> Iterator[Diagnostic]:
    """The language of the top level's texts."""
    tag = parts.file.default_locale
    if wrong := check_tag(tag):
        make = error if wrong.is_error else warning
        yield make(f"default_locale {short(tag)!r} {wrong.message}", field="default_locale", hint=wrong.hint)


# -------------------------------------------------------------------------------------------------- events, recipients


def check_events(parts: TemplateParts) -> Iterable[Diagnostic]:
    """T03: events that there are."""
    return parts.events.diagnostics


def check_channel(parts: TemplateParts) -> Iterator[Diagnostic]:
    """T04: a channel by which each event may be sent."""
    if parts.channel is None:
        return
    for event in parts.events.value:
        channels = _MANUAL_CHANNELS if event == MANUAL else parts.policy.channels_of(EVENTS[event])
        if parts.channel not in channels:
            hint = f"its channels: {', '.join(sorted(channels)) or 'none'}"
            message = f"{event} is not sent by {parts.channel}"
            yield error(message, code=RuleCode.CHANNEL, field="type", hint=hint)


# What a template may be that a person sends.
_MANUAL_CHANNELS: Final = frozenset(channel for channel, spec in CHANNELS.items() if spec.can_be_manual)


def check_target(parts: TemplateParts) -> Iterator[Diagnostic]:
    """T05: what each event is about, or who can be its holder."""
    if parts.target is None:
        return
    for event in parts.events.value:
        allowed = _targets_of(event)
        if parts.target not in allowed:
            hint = f"one of: {', '.join(allowed)}"
            yield error(f"{event} is not about {parts.target}", code=RuleCode.TARGET, field="target", hint=hint)


_HELD_IN_ORDER: Final = (Target.CLIENT, Target.GROUP, Target.LOANS, Target.SAVINGS)
_HELD: Final = frozenset(_HELD_IN_ORDER)


def _targets_of(event: EventName) -> tuple[Target, ...]:
    """The event's own target, who can be its holder, and SAVINGS for what deposit accounts have as well."""
    if event == MANUAL:
        return _HELD_IN_ORDER
    row = EVENTS[event]
    targets = [row.target, *(Target(field.upper()) for field in FAMILIES[row.family].holder.fields)]
    if event.startswith(("FEE", "PENALTY")) or event == "INTEREST_RATE_CHANGED":
        targets += [Target.SAVINGS]
    return tuple(dict.fromkeys(targets))


@dataclass(frozen=True, slots=True)
class _RecipientSpec:
    """What a template with a recipient may be about, and the field that says more of the recipient."""

    targets: frozenset[Target]
    detail: Literal["recipient_role", "recipient_field", None] = None


_RECIPIENTS: Final[Mapping[RecipientKind, _RecipientSpec]] = {
    RecipientKind.CLIENT: _RecipientSpec(_HELD - {Target.GROUP}),
    RecipientKind.GROUP: _RecipientSpec(_HELD - {Target.CLIENT}),
    RecipientKind.GROUP_ROLE: _RecipientSpec(_HELD - {Target.CLIENT}, detail="recipient_role"),
    RecipientKind.CREDIT_OFFICER: _RecipientSpec(_HELD),
    RecipientKind.CUSTOM_FIELD: _RecipientSpec(_HELD, detail="recipient_field"),
}


def check_recipient(parts: TemplateParts) -> Iterator[Diagnostic]:
    """T06: a recipient that fits the channel and the target."""
    written, recipient, target, code = parts.file.recipient, parts.recipient, parts.target, RuleCode.RECIPIENT
    if parts.channel is not None:
        channel, spec = parts.channel, CHANNELS[parts.channel]
        hint = "CREDIT_OFFICER" if spec.is_for_staff else f"one of: {', '.join(spec.recipients)}"
        if written is not None and not spec.recipients:
            yield error(f"type {channel} has no recipient", code=code, field="recipient", hint="leave it out")
        if recipient is not None and spec.is_for_staff and recipient not in spec.recipients:
            message = f"a {channel} is for a user of the bank, not for recipient {recipient}"
            yield error(message, code=code, field="recipient", hint=hint)
        if written is None and spec.recipients:
            message = f"`recipient` is missing; type {channel} needs one"
            yield error(message, code=code, field="type", hint=hint)
    if recipient is not None and target is not None and target not in _RECIPIENTS[recipient].targets:
        hint = ", ".join(sorted(_RECIPIENTS[recipient].targets))
        message = f"recipient {recipient} does not fit target {target}"
        yield error(message, code=code, field="recipient", hint=hint)


def check_recipient_detail(parts: TemplateParts) -> Iterator[Diagnostic]:
    """T07: the role or field of the recipient, and T21 of `recipient_field`."""
    for recipient, spec in _RECIPIENTS.items():
        if spec.detail is None:
            continue
        written: str | None = getattr(parts.file, spec.detail)
        if parts.recipient is not recipient and written is not None:
            message = f"`{spec.detail}` goes with recipient {recipient} only"
            yield error(message, code=RuleCode.RECIPIENT_DETAIL, field=spec.detail)
    if parts.recipient is RecipientKind.GROUP_ROLE and not (parts.file.recipient_role or "").strip():
        message = "recipient GROUP_ROLE needs `recipient_role`"
        yield error(message, code=RuleCode.RECIPIENT_DETAIL, field="recipient")
    yield from parts.recipient_field.diagnostics


# ------------------------------------------------------------------------------------------------- content, conditions


def check_content_type(parts: TemplateParts) -> Iterator[Diagnostic]:
    """T11: a content type that the channel takes."""
    if parts.channel is None:
        return
    channel, spec = parts.channel, CHANNELS[parts.channel]
    written, code = parts.file.content_type, RuleCode.CONTENT_TYPE
    hint = f"one of: {', '.join(word for word in spec.content_types if '/' in word)}"
    if written is None:
        if spec.default_content is None:
            message = f"`content_type` is missing; type {channel} needs one"
            yield error(message, code=code, field="type", hint=hint)
    elif not spec.content_types:
        yield error(f"type {channel} has no content_type", code=code, field="content_type", hint="leave it out")
    elif written not in spec.content_types:
        message = f"content_type {short(written)!r} is not for type {channel}"
        yield error(message, code=code, field="content_type", hint=hint)


def check_trigger_days(parts: TemplateParts) -> Iterator[Diagnostic]:
    """T17: `trigger_days` of a reminder."""
    days, code = parts.file.trigger_days, RuleCode.TRIGGER_DAYS
    if days is None:
        return
    others = [name for name in parts.file.events if name != "REPAYMENT_REMINDER"]
    if others:
        message = f"trigger_days goes with event REPAYMENT_REMINDER only, not with {short(others[0])}"
        yield error(message, code=code, field="trigger_days", hint="leave it out")
    if not -TRIGGER_DAYS_LIMIT <= days <= TRIGGER_DAYS_LIMIT:
        message = f"trigger_days {whole_number(days)} is not from -365 to 365"
        hint = "days until the instalment is due, negative once overdue"
        yield error(message, code=code, field="trigger_days", hint=hint)


def check_conditions(parts: TemplateParts) -> Iterable[Diagnostic]:
    """T18: conditions that can be evaluated."""
    return parts.conditions.diagnostics


def check_texts(parts: TemplateParts) -> Iterable[Diagnostic]:
    """T08 to T10, T12, T13, T21 and T22: the texts of each language, and the tags of their sections."""
    return parts.texts.diagnostics


# ------------------------------------------------------------------------------------------------------------ webhooks


def check_webhook(parts: TemplateParts) -> Iterator[Diagnostic]:
    """T14 to T16: the address, headers and authorization of a webhook."""
    channel, webhook, invalid = parts.channel, parts.file.webhook, parts.parsed.invalid
    if channel is None:
        return
    needs_webhook = CHANNELS[channel].address is AddressKind.URL
    if needs_webhook and webhook is None and "webhook" not in invalid:
        message = f"[webhook] is missing; type {channel} needs one"
        hint = 'as in [webhook] url = "https://hooks.example.com/{ACCOUNT_ID}"'
        yield error(message, code=RuleCode.WEBHOOK_URL, field="type", hint=hint)
    if not needs_webhook and webhook is not None:
        yield error(f"type {channel} has no [webhook]", field="webhook", hint="leave it out")
    if needs_webhook and webhook is not None:
        yield from check_enum("webhook.request_type", webhook.request_type, RequestType)
        code = RuleCode.WEBHOOK_AUTHORIZATION
        yield from check_enum("webhook.authorization", webhook.authorization, Authorization, code=code)
        if webhook.url is None and "webhook.url" not in invalid:
            yield error("field `webhook.url` is missing", code=RuleCode.WEBHOOK_URL, field="webhook")
        yield from parts.url.diagnostics
        for diagnostic in _check_call(parts, webhook):
            if diagnostic.location.field not in invalid:
                yield diagnostic


def _check_call(parts: TemplateParts, webhook: WebhookSection) -> Iterator[Diagnostic]:
    yield from check_headers(webhook.headers)
    yield from check_authorization(
        webhook.authorization,
        username=webhook.username,
        password_env=webhook.password_env,
        headers=webhook.headers,
    )
    if parts.url.value is not None:
        yield from check_url(parts.url.value, allow_http=parts.policy.allow_http)


# ------------------------------------------------------------------------------------------- categories, attachments


def check_category(parts: TemplateParts) -> Iterator[Diagnostic]:
    """A category is shown with the `Message` of an e-mail or SMS alone."""
    category, channel = parts.file.category, parts.channel
    if category is None:
        return
    if channel is not None and not CHANNELS[channel].has_notification:
        yield error(f"type {channel} has no category", field="category", hint="leave it out")
    elif not CATEGORY_ID.fullmatch(category):
        message = f"category {short(category)!r} is not a category's id"
        yield error(message, field="category", hint="as in NTC-3300-0041")


def check_attachments(parts: TemplateParts) -> Iterator[Diagnostic]:
    """Files that come with an e-mail; those with a field that did not fit have been named already."""
    attachments, channel = parts.file.attachment, parts.channel
    if attachments and channel is not None and not CHANNELS[channel].has_attachments:
        yield error(f"type {channel} has no attachments", field="attachment", hint="leave them out")
    if len(attachments) > ATTACHMENTS_LIMIT:
        message = f"{len(attachments)} attachments; a template has at most {ATTACHMENTS_LIMIT}"
        yield error(message, field="attachment")
    for index, attachment in enumerate(attachments):
        key = f"attachment.{index}"
        if not any(f"{invalid}.".startswith(f"{key}.") for invalid in parts.parsed.invalid):
            yield from _check_attachment(attachment, key, shown=f"attachment[{index + 1}]")


_ATTACHMENT_ID: Final = re.compile(r"ATT-\d{4}-\d{4}-\d{4}", re.ASCII)
_LARGEST_LONG: Final = 2**63 - 1


def _check_attachment(attachment: AttachmentSection, key: str, *, shown: str) -> Iterator[Diagnostic]:
    if not _ATTACHMENT_ID.fullmatch(attachment.id):
        message = f"`{shown}.id` {short(attachment.id)!r} is not an attachment's id"
        yield error(message, field=f"{key}.id", hint="as in ATT-1150-0093-2201")
    if not 0 <= attachment.file_size <= _LARGEST_LONG:
        yield error(f"`{shown}.file_size` is not a number of bytes", field=f"{key}.file_size")
    for name in ("name", "content_type", "file_name", "href"):
        text: str = getattr(attachment, name)
        if not text.strip() or holds_control(text) or len(text) > ATTACHMENT_TEXT_LIMIT_CHARACTERS:
            message = f"`{shown}.{name}` must be one line of 1 to {ATTACHMENT_TEXT_LIMIT_CHARACTERS} characters"
            yield error(message, field=f"{key}.{name}")
        if token := first_placeholder(text):
            hint = "attachments are the same for all messages"
            yield error(f"`{shown}.{name}` holds {one_line(token)}", field=f"{key}.{name}", hint=hint)


CHECKS: Final[tuple[Check, ...]] = (
    check_closed_lists,
    check_name,
    check_identity,
    check_version,
    check_default_locale,
    check_events,
    check_channel,
    check_target,
    check_recipient,
    check_recipient_detail,
    check_content_type,
    check_trigger_days,
    check_conditions,
    check_texts,
    check_webhook,
    check_category,
    check_attachments,
)
