"""The checks of a template for one event's name, as closures over slots: equal to `checks.py`, made of its parts. Pure.

What the template or the event's name decides is decided when the plan is made. Rows of the reference tables may change
at any time, so they are looked up when it runs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

from processor.domain.catalogue import EVENTS, FAMILIES, Holder, Target
from processor.domain.channel import CHANNELS, RecipientKind
from processor.domain.ids import encoded_key
from processor.domain.message import SkippedTemplate
from processor.domain.operation import OperationId
from processor.domain.reasons import DecisionReason
from processor.domain.record import EncodedKey, EventName
from processor.domain.template import Condition, CustomField, Template
from processor.mapping.checks import (
    account_keys,
    blocked_contact,
    holder_not_subscribed,
    left_category,
    nobody_addressed,
    other_target,
    other_trigger_days,
    skip,
    template_disabled,
    template_inactive,
)
from processor.mapping.condition_plan import ConditionPlanner
from processor.mapping.context import DraftRules
from processor.mapping.plan_values import (
    RECIPIENT,
    FoundRecipientValues,
    Path,
    PlanValues,
    ReadValue,
    RecipientValues,
    Slots,
    first_of,
)
from processor.mapping.recipient import (
    CLIENT,
    GROUP,
    OFFICER_HOLDERS,
    USER,
    KeyField,
    PersonKind,
    member_in_role,
)
from processor.mapping.reference import LookupFailedError, RecipientData

Check = Callable[[Slots], SkippedTemplate | None]
"""The decision where a check fails; None: it passes."""


class Checked(NamedTuple):
    """What an event has passed its checks with, or, in `suppressed`, why its recipient is not contacted.

    `key` is the message's, `tenant` the event's; `data` as in `Draft.recipient_data`.
    """

    key: EncodedKey
    tenant: str
    data: RecipientData | None = None
    suppressed: SkippedTemplate | None = None


# ------------------------------------------------------------------------------------- checks that need no recipient


def plan_event_checks(template: Template, event: EventName, values: PlanValues, rules: DraftRules) -> tuple[Check, ...]:
    """The checks of the event itself, in their order: all but those of its recipient. One that always passes is left
    out, and none follows one that always fails."""
    for reason, detail in (
        (DecisionReason.INACTIVE, template_inactive(template)),
        (DecisionReason.CHANNEL_DISABLED, template_disabled(template, rules)),
    ):
        if detail is not None:
            return (_always(skip(template, reason, detail)),)
    checks = [
        plan_target(template, event, values),
        plan_trigger_days(template, values),
        None if reads_recipient(template, event) else plan_conditions(template, event, values, rules),
    ]
    return tuple([check for check in checks if check is not None])


def _always(skipped: SkippedTemplate) -> Check:
    return lambda _slots: skipped


def plan_target(template: Template, event: EventName, values: PlanValues) -> Check | None:
    """The check that the event is about the template's target. An event has one of few kinds of holder and account."""
    target, holder = template.target, FAMILIES[EVENTS[event].family].holder
    of_holder = target in (Target.CLIENT, Target.GROUP)
    if target not in _TARGETS_OF_EVENTS or (of_holder and holder.value == target.value):
        return None
    read = _read_holder_kind(holder, values) if of_holder else values.value(("account", "kind"))

    @lru_cache(maxsize=8)
    def check_kind(kind: Any) -> SkippedTemplate | None:
        detail = other_target(target, kind if of_holder else None, None if of_holder else kind)
        return None if detail is None else skip(template, DecisionReason.TARGET_MISMATCH, detail)

    return lambda slots: check_kind(read(slots))


_TARGETS_OF_EVENTS: Final = (Target.CLIENT, Target.GROUP, Target.LOANS, Target.SAVINGS)
"""Whether an event is about one of these, its holder or account says; about any other, its name."""


def _read_holder_kind(holder: Holder, values: PlanValues) -> ReadValue:
    """Whether the holder is a client or a group; None for an event without one."""
    readers = [(values.value((name, "encodedKey")), _HOLDERS[name].key_field) for name in holder.fields]

    def read(slots: Slots) -> KeyField | None:
        return next((kind for read_key, kind in readers if read_key(slots) is not None), None)

    return read


_HOLDERS: Final = {"client": CLIENT, "group": GROUP}


def plan_trigger_days(template: Template, values: PlanValues) -> Check | None:
    """The check of how many days before or after its due date the event comes; None where any will do."""
    days = template.trigger_days
    if days is None:
        return None
    read = values.value(("triggerDays",))

    def check(slots: Slots) -> SkippedTemplate | None:
        detail = other_trigger_days(days, read(slots))
        return None if detail is None else skip(template, DecisionReason.CONDITION_FALSE, detail)

    return check


def reads_recipient(template: Template, event: EventName) -> bool:
    """Whether a condition of `template` needs to know who the recipient of `event` is."""
    family = EVENTS[event].family
    return any(_path(condition, family)[0] == RECIPIENT for condition in template.conditions)


def _path(condition: Condition, family: str) -> tuple[str, ...]:
    field = condition.field
    return ("customFields",) if isinstance(field, CustomField) else field[family].path


def plan_conditions(template: Template, event: EventName, values: PlanValues, rules: DraftRules) -> Check | None:
    """The template's conditions; None for a template without any."""
    if not template.conditions:
        return None
    planner = ConditionPlanner(EVENTS[event].family, values, rules.time_zone)
    first_false = planner.first_false(template.conditions, template.match)

    def check(slots: Slots) -> SkippedTemplate | None:
        detail = first_false(slots)
        return None if detail is None else skip(template, DecisionReason.CONDITION_FALSE, detail)

    return check


# ------------------------------------------------------------------------------------------------------- the recipient


@dataclass(frozen=True, slots=True)
class RecipientRoute:
    """One of the persons or groups of an event that may be the recipient of a template.

    `find` gives their key and the slots that `values` reads, which has their fields; None where the event has not this
    one. `key_field` is the message's field for the key.
    """

    key_field: KeyField
    values: PlanValues
    find: Callable[[Slots], tuple[str, Slots] | None]


def plan_recipient(
    template: Template, event: EventName, values: PlanValues, rules: DraftRules
) -> tuple[RecipientRoute, ...]:
    """Who the recipient may be: the first of them that the event has. Of a template that addresses nobody, or by a
    custom field, it is the event's holder."""
    records: tuple[tuple[Path, PersonKind], ...]
    match template.recipient:
        case None | RecipientKind.CUSTOM_FIELD:
            holder = FAMILIES[EVENTS[event].family].holder
            records = tuple(((name,), _HOLDERS[name]) for name in holder.fields)
        case RecipientKind.CLIENT:
            records = ((("client",), CLIENT),)
        case RecipientKind.GROUP:
            records = ((("group",), GROUP),)
        case RecipientKind.CREDIT_OFFICER:
            records = tuple(((name, "creditOfficer"), USER) for name in OFFICER_HOLDERS)
        case RecipientKind.GROUP_ROLE:
            return (_plan_role(template.recipient_role, values, rules),)
    return tuple(
        RecipientRoute(
            kind.key_field,
            RecipientValues(values, record, kind.fields),
            _find_by(values.value((*record, "encodedKey"))),
        )
        for record, kind in records
    )


def _find_by(read_key: ReadValue) -> Callable[[Slots], tuple[str, Slots] | None]:
    def find(slots: Slots) -> tuple[str, Slots] | None:
        key = read_key(slots)
        return None if key is None else (key, slots)

    return find


def _plan_role(role: str | None, values: PlanValues, rules: DraftRules) -> RecipientRoute:
    read_members = values.value(("group", "members"))

    def find(slots: Slots) -> tuple[str, Slots] | None:
        found = member_in_role(read_members(slots), role)
        return None if found is None else (found.key, (slots, found.fields))

    return RecipientRoute(CLIENT.key_field, FoundRecipientValues(values, rules.time_zone), find)


# -------------------------------------------------------------------------------------------- checks of the recipient


CheckRecipient = Callable[[Slots, str | None], Checked | SkippedTemplate | None]
"""Slots of a route and the recipient's key -> what comes of it; None: refused. The key is None where the event has
nobody, and the template addresses nobody."""


def plan_nobody(template: Template, event: EventName, values: PlanValues, rules: DraftRules) -> Check:
    """The check of an event that has nobody whom `template` addresses, which fails: by a condition, else for that."""
    nobody = skip(template, DecisionReason.NO_RECIPIENT, nobody_addressed(template) or "")
    check_conditions = plan_conditions(template, event, values, rules) if reads_recipient(template, event) else None
    return _always(nobody) if check_conditions is None else lambda slots: check_conditions(slots) or nobody


def plan_recipient_checks(
    template: Template, event: EventName, values: PlanValues, rules: DraftRules, *, reissue: OperationId | None
) -> CheckRecipient:
    """The checks that come once the recipient is known, to whose fields `values` leads.

    Refused is an event for which a row of the reference tables is needed that is missing or cannot be read.
    """
    family, is_addressed = EVENTS[event].family, template.recipient is not None
    check_conditions = plan_conditions(template, event, values, rules) if reads_recipient(template, event) else None
    has_notification, reference = CHANNELS[template.type].has_notification, rules.reference
    read_id, read_tenant = values.value(("eventId",)), values.value(("tenant",))
    read_holder, look_up = _holder_reader(family, values), _plan_lookup(template, family, values, rules)

    def check(slots: Slots, recipient: str | None) -> Checked | SkippedTemplate | None:
        if check_conditions is not None and (skipped := check_conditions(slots)) is not None:
            return skipped
        tenant, holder = read_tenant(slots), read_holder(slots)
        key = encoded_key(
            tenant, read_id(slots), template.id, recipient=(recipient or "") if is_addressed else "", reissue=reissue
        )
        try:
            if holder is not None and (detail := holder_not_subscribed(holder, template, reference)) is not None:
                return skip(template, DecisionReason.NOT_SUBSCRIBED, detail, key=key)
            if recipient is None or not has_notification:
                return Checked(key, tenant)
            data = look_up(slots, recipient, holder, tenant)
            suppressed = _suppression(template, data, key)
            if suppressed is None:
                reference.check_complete(data)
        except LookupFailedError:
            return None
        return Checked(key, tenant, data, suppressed)

    return check


def plan_contact(
    template: Template, event: EventName, values: PlanValues, rules: DraftRules
) -> Callable[[Slots, str], RecipientData | None]:
    """What the reference tables have of a recipient, by slots and key. None, refused: they are not to be contacted, or
    a row is needed that is missing or cannot be read."""
    family, reference, read_tenant = EVENTS[event].family, rules.reference, values.value(("tenant",))
    read_holder, look_up = _holder_reader(family, values), _plan_lookup(template, family, values, rules)

    def find_contact(slots: Slots, recipient: str) -> RecipientData | None:
        try:
            data = look_up(slots, recipient, read_holder(slots), read_tenant(slots))
            if blocked_contact(data) is not None or left_category(data) is not None:
                return None
            reference.check_complete(data)
        except LookupFailedError:
            return None
        return data

    return find_contact


def _plan_lookup(
    template: Template, family: str, values: PlanValues, rules: DraftRules
) -> Callable[[Slots, str, str | None, str], RecipientData]:
    """What the reference tables have of a recipient, by slots, their key, the holder's, and the event's tenant. Raises
    LookupFailedError."""
    read_account, reference, category = values.value(("account", "encodedKey")), rules.reference, template.category

    def look_up(slots: Slots, recipient: str, holder: str | None, tenant: str) -> RecipientData:
        keys = account_keys(read_account(slots), holder, tenant)
        return reference.lookup(contact_key=recipient, account_keys=keys, category=category, family=family)

    return look_up


def _holder_reader(family: str, values: PlanValues) -> ReadValue:
    """The key of an event's holder."""
    return first_of([values.value((name, "encodedKey")) for name in FAMILIES[family].holder.fields])


def _suppression(template: Template, data: RecipientData, key: EncodedKey) -> SkippedTemplate | None:
    """Why the recipient is not to be contacted; None when they may be."""
    detail = blocked_contact(data)
    if detail is not None:
        return skip(template, DecisionReason.CONTACT_BLOCKED, detail, key=key)
    detail = left_category(data)
    return None if detail is None else skip(template, DecisionReason.CATEGORY_OPTED_OUT, detail, key=key)
