"""The checks of one template for one event: the first that fails is the decision, why there is no message."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

from processor.domain.catalogue import Target
from processor.domain.channel import CHANNELS
from processor.domain.event import Event, value_at
from processor.domain.ids import encoded_key
from processor.domain.message import SkippedTemplate
from processor.domain.operation import OperationId
from processor.domain.reasons import DETAIL_LIMIT_CHARACTERS, DecisionReason
from processor.domain.record import EncodedKey
from processor.domain.template import Subscription, Template
from processor.domain.text import truncate
from processor.mapping.conditions import first_false
from processor.mapping.context import DraftRules
from processor.mapping.recipient import KeyField, Recipient, holder_of, recipient_of
from processor.mapping.reference import RecipientData, Reference
from processor.mapping.values import Scope


@dataclass(kw_only=True)
class TemplateCase:
    """One template with one event, and what its checks and its text look at, each found when it is first needed.

    `holder` is the client or group whose business the event is. `reissue` is the operation that makes a new message of
    it.
    """

    template: Template
    event: Event
    rules: DraftRules
    holder: Recipient | None
    reissue: OperationId | None = None

    @cached_property
    def recipient(self) -> Recipient | None:
        """Whom the message would go to."""
        return recipient_of(self.template, self.event, time_zone=self.rules.time_zone)

    @cached_property
    def scope(self) -> Scope:
        """What placeholders and conditions read."""
        fields = {**self.event.fields, "recipient": None if self.recipient is None else self.recipient.fields}
        return Scope(self.event.family, fields, self.rules.time_zone)

    @property
    def key(self) -> EncodedKey:
        """The encodedKey of the message, the same however often the event is mapped, unless it is reissued."""
        addressed = self.recipient is not None and self.template.recipient is not None
        key = self.recipient.key if addressed and self.recipient else ""
        return encoded_key(self.event.tenant, self.event.id, self.template.id, recipient=key, reissue=self.reissue)

    @cached_property
    def recipient_data(self) -> RecipientData | None:
        """What the reference tables have of the recipient; None for a channel without a `Message`.

        Raises LookupFailedError for a row that cannot be read.
        """
        if self.recipient is None or not CHANNELS[self.template.type].has_notification:
            return None
        return self.rules.reference.lookup(
            contact_key=self.recipient.key,
            account_keys=account_keys(
                value_at(("account", "encodedKey"), self.event.fields),
                None if self.holder is None else self.holder.key,
                self.event.tenant,
            ),
            category=self.template.category,
            family=self.event.family,
        )


def case_of(
    template: Template,
    event: Event,
    rules: DraftRules,
    *,
    holder: Recipient | None = None,
    reissue: OperationId | None = None,
) -> TemplateCase:
    """The case of `template` with `event`. `holder` is the event's, for a caller that has it already; `reissue` as for
    `TemplateCase`."""
    return TemplateCase(template=template, event=event, rules=rules, holder=holder or holder_of(event), reissue=reissue)


def first_failed_check(case: TemplateCase) -> SkippedTemplate | None:
    """The decision of the first check in CHECKS that fails; None when all pass.

    Raises LookupFailedError for a row of the reference tables that cannot be read.
    """
    for check in CHECKS:
        detail = check.failure(case)
        if detail is not None:
            return skip(case.template, check.reason, detail, key=case.key if check.names_key else None)
    return None


def skip(template: Template, reason: DecisionReason, detail: str, *, key: EncodedKey | None = None) -> SkippedTemplate:
    """The decision that `template` makes no message. `key` is the message's, where its recipient is known."""
    return SkippedTemplate(
        reason=reason, detail=detail, templateId=template.id, templateVersion=template.version, encodedKey=key
    )


# --------------------------------------------------------------------------------- why a check fails; None: it passes


def inactive(case: TemplateCase) -> str | None:
    """The template is switched off."""
    return template_inactive(case.template)


def template_inactive(template: Template) -> str | None:
    """The same of a template."""
    return None if template.active else "the template is switched off"


def channel_disabled(case: TemplateCase) -> str | None:
    """The installation sends nothing by the template's channel."""
    return template_disabled(case.template, case.rules)


def template_disabled(template: Template, rules: DraftRules) -> str | None:
    """The same of a template."""
    return f"channel {template.type} is switched off" if template.type in rules.disabled_channels else None


def target_mismatch(case: TemplateCase) -> str | None:
    """The event is about something else than the template's target."""
    holder = None if case.holder is None else case.holder.key_field
    return other_target(case.template.target, holder, value_at(("account", "kind"), case.event.fields))


def other_target(target: Target, holder: KeyField | None, account_kind: str | None) -> str | None:
    """The same of an event with such a holder and account."""
    match target:
        case Target.CLIENT if holder is not KeyField.CLIENT:
            return "target CLIENT, but the holder is a group" if holder else "target CLIENT, but there is no holder"
        case Target.GROUP if holder is not KeyField.GROUP:
            return "target GROUP, but the holder is a client" if holder else "target GROUP, but there is no holder"
        case Target.LOANS if account_kind != "LOAN":
            return f"target LOANS, but the account is {account_kind or 'missing'}"
        case Target.SAVINGS if account_kind != "DEPOSIT":
            return f"target SAVINGS, but the account is {account_kind or 'missing'}"
        case _:
            return None


def condition_false(case: TemplateCase) -> str | None:
    """The event does not meet the template's `trigger_days` or conditions; names the first that is false."""
    template = case.template
    detail = other_trigger_days(template.trigger_days, case.scope.fields.get("triggerDays"))
    return first_false(template.conditions, template.match, case.scope) if detail is None else detail


def other_trigger_days(trigger_days: int | None, event_days: int | None) -> str | None:
    """The event's days are not the template's, which takes any if `trigger_days` is None."""
    if trigger_days is None or event_days == trigger_days:
        return None
    return f"trigger_days {trigger_days}; the event's are {'missing' if event_days is None else event_days}"


def no_recipient(case: TemplateCase) -> str | None:
    """The event has nobody whom the template addresses."""
    return None if case.recipient is not None else nobody_addressed(case.template)


def nobody_addressed(template: Template) -> str | None:
    """The same of an event without the template's recipient; None for a template that addresses nobody."""
    if template.recipient is None:
        return None
    role = f" {template.recipient_role!r}" if template.recipient_role else ""
    return f"the event has no {template.recipient.value.lower().replace('_', ' ')}{role}"


def not_subscribed(case: TemplateCase) -> str | None:
    """The holder does not get what the template sends; an event without a holder passes.

    Raises LookupFailedError for a row that cannot be read.
    """
    return None if case.holder is None else holder_not_subscribed(case.holder.key, case.template, case.rules.reference)


def holder_not_subscribed(holder: str, template: Template, reference: Reference) -> str | None:
    """The same of a holder's key."""
    subscribed = reference.subscribed(holder, template.id)
    if subscribed is None:
        return "the holder never opted in" if template.subscription is Subscription.OPT_IN else None
    return None if subscribed else "the holder opted out"


def contact_blocked(case: TemplateCase) -> str | None:
    """The recipient's contact is blocked."""
    return None if case.recipient_data is None else blocked_contact(case.recipient_data)


def blocked_contact(data: RecipientData) -> str | None:
    """The same of what the reference tables have of the recipient."""
    if data.contact is None or not data.contact.blocked:
        return None
    why = f": {data.contact.blocked_reason}" if data.contact.blocked_reason else ""
    return truncate(f"contact {data.contact.id} is blocked{why}", DETAIL_LIMIT_CHARACTERS)


def category_opted_out(case: TemplateCase) -> str | None:
    """The recipient's contact or account has left the template's category, and it may be left."""
    return None if case.recipient_data is None else left_category(case.recipient_data)


def left_category(data: RecipientData) -> str | None:
    """The same of what the reference tables have of the recipient."""
    if data.category_id is None or (data.category is not None and not data.category.opt_out_allowed):
        return None
    if data.contact is not None and data.category_id in data.contact.opt_outs:
        return f"contact {data.contact.id} left category {data.category_id}"
    if data.account is not None and data.category_id in data.account.disabled_categories:
        return f"account {data.account.id} disabled category {data.category_id}"
    return None


class Check(NamedTuple):
    """A check and the decision where it fails. `names_key`: the recipient is known, so the decision has the message's
    encodedKey."""

    reason: DecisionReason
    failure: Callable[[TemplateCase], str | None]
    names_key: bool = False


CHECKS: Final = (  # in the order of DecisionReason
    Check(DecisionReason.INACTIVE, inactive),
    Check(DecisionReason.CHANNEL_DISABLED, channel_disabled),
    Check(DecisionReason.TARGET_MISMATCH, target_mismatch),
    Check(DecisionReason.CONDITION_FALSE, condition_false),
    Check(DecisionReason.NO_RECIPIENT, no_recipient),
    Check(DecisionReason.NOT_SUBSCRIBED, not_subscribed, names_key=True),
    Check(DecisionReason.CONTACT_BLOCKED, contact_blocked, names_key=True),
    Check(DecisionReason.CATEGORY_OPTED_OUT, category_opted_out, names_key=True),
)

SUPPRESSIONS: Final = frozenset((DecisionReason.CONTACT_BLOCKED, DecisionReason.CATEGORY_OPTED_OUT))
"""Decisions by which nobody is contacted, and which the recipient's portal shows as a Discarded `Message`."""


def account_keys(account: str | None, holder: str | None, tenant: str) -> tuple[str, ...]:
    """By what the customer's organisation is looked up, the first hit wins: keys of bank account and holder, tenant."""
    return tuple(key for key in (account, holder, tenant) if key is not None)
