"""What one template makes of the events of one name, as one closure over slots: equal to `draft.py`, made of its parts.

Pure. A plan refuses, with None, what the reference makes a failed template of, and what neither often meets.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final, NamedTuple

from processor.domain.catalogue import EVENTS, FAMILIES, Holder
from processor.domain.channel import CHANNELS, AddressKind, Channel, RecipientKind
from processor.domain.message import SkippedTemplate, State
from processor.domain.operation import OperationId
from processor.domain.reasons import FailureReason
from processor.domain.record import EncodedKey, EventName
from processor.domain.template import Template
from processor.mapping.address import DESTINATION_LIMIT_CHARACTERS
from processor.mapping.check_plan import (
    Checked,
    plan_event_checks,
    plan_nobody,
    plan_recipient,
    plan_recipient_checks,
)
from processor.mapping.context import DraftRules
from processor.mapping.draft import Failure, body_failure, event_type, resolve_address
from processor.mapping.plain_text import Parts, TextPlanner
from processor.mapping.plan_values import (
    RECIPIENT,
    PlanValues,
    ReadText,
    RecipientValues,
    Slots,
    give_none,
    read_custom_field,
)
from processor.mapping.recipient import KeyField
from processor.mapping.reference import RecipientData
from processor.mapping.values import custom_value_text


class PlannedDraft(NamedTuple):
    """A `Draft` as far as its records need it: the template is the plan's, no character was replaced.

    `recipient_key` and `key_field` are None for an event without a recipient; `recipient_name` and `recipient_email`
    are set only for a channel that has a `Message`.
    """

    key: EncodedKey
    recipient_key: str | None
    key_field: KeyField | None
    subject: str | None
    body: str
    destination: str | None
    state: State
    failure_reason: FailureReason | None = None
    failure_cause: str | None = None
    recipient_data: RecipientData | None = None
    suppressed: SkippedTemplate | None = None
    recipient_name: str | None = None
    recipient_email: str | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """As Draft has it."""
        return () if self.recipient_data is None else tuple(self.recipient_data.missing)


PlanDraft = Callable[[Slots], PlannedDraft | SkippedTemplate | None]
"""What `draft` gives of a case that is not suspended. None: refused."""


def plan_draft(
    template: Template,
    event: EventName,
    values: PlanValues,
    rules: DraftRules,
    *,
    limit_characters: int,
    reissue: OperationId | None = None,
) -> PlanDraft:
    """The plan of `template` for events named `event`, of whose family `values` are. The same event gives an equal
    draft, as long as the rows of the reference tables are the same."""
    planner = _DraftPlanner(
        template=template, event=event, rules=rules, limit_characters=limit_characters, reissue=reissue
    )
    checks = plan_event_checks(template, event, values, rules)
    make_for_nobody = planner.plan_for_nobody(RecipientValues(values))
    routes = [
        (route.find, planner.plan(route.values, route.key_field))
        for route in plan_recipient(template, event, values, rules)
    ]

    def make_draft(slots: Slots) -> PlannedDraft | SkippedTemplate | None:
        for check in checks:
            skipped = check(slots)
            if skipped is not None:
                return skipped
        for find, make_for in routes:
            found = find(slots)
            if found is not None:
                key, route_slots = found
                return make_for(route_slots, key)
        return make_for_nobody(slots)

    return make_draft


_PlanFor = Callable[[Slots, str | None], PlannedDraft | SkippedTemplate | None]
"""Slots of a route and the recipient's key -> what comes of the checks of the recipient, and of the text."""

Destination = tuple[str | None, Failure | None]
"""Where a message goes, or why that is nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _DraftPlanner:
    template: Template
    event: EventName
    rules: DraftRules
    limit_characters: int
    reissue: OperationId | None

    def plan(self, values: PlanValues, key_field: KeyField | None) -> _PlanFor:
        """The plan once the recipient is known, to whose fields `values` leads."""
        channel, channel_spec = self.template.type, CHANNELS[self.template.type]
        check = plan_recipient_checks(self.template, self.event, values, self.rules, reissue=self.reissue)
        write = self._write_parts(values)
        find = find_destination(self.template, self.event, values, self.rules)
        may_be_too_long = channel_spec.text_limit is not None
        unsent = State.SENT if channel_spec.is_stream else State.QUEUED
        shown = channel_spec.has_notification
        read_name = values.value((RECIPIENT, "name")) if shown else give_none
        read_email = values.value((RECIPIENT, "emailAddress")) if shown else give_none

        def make_draft(slots: Slots, recipient: str | None) -> PlannedDraft | SkippedTemplate | None:
            checked = check(slots, recipient)
            if not isinstance(checked, Checked):
                return checked
            parts = write(slots)
            if parts is None:
                return None
            subject, body, url = parts
            found = find(slots, url, checked.tenant)
            if found is None:
                return None
            destination, failure = found
            if may_be_too_long:
                failure = body_failure(channel, body) or failure
            reason, cause = (None, None) if failure is None else failure
            return PlannedDraft(
                checked.key,
                recipient,
                key_field,
                subject,
                body,
                destination,
                unsent if failure is None else State.FAILED,
                reason,
                cause,
                checked.data,
                checked.suppressed,
                read_name(slots),
                read_email(slots),
            )

        return make_draft

    def plan_for_nobody(self, values: PlanValues) -> PlanDraft:
        """The plan for an event without a recipient; `values` has no fields of one."""
        if self.template.recipient is not None:
            return plan_nobody(self.template, self.event, values, self.rules)
        if FAMILIES[EVENTS[self.event].family].holder not in (Holder.AT_MOST_ONE, Holder.NONE):
            return give_none  # decoding accepts no such event
        make_draft = self.plan(values, None)
        return lambda slots: make_draft(slots, None)

    def _write_parts(self, values: PlanValues) -> Callable[[Slots], Parts | None]:
        """The text in the recipient's language. None: refused."""
        template = self.template
        planner = text_planner(template, self.event, values, self.rules, limit_characters=self.limit_characters)
        write = planner.parts(template.text)
        if not template.texts:
            return write
        by_tag = {tag: planner.parts(text) for tag, text in template.texts.items()}
        read_language = values.value((RECIPIENT, "language"))

        def write_in_language(slots: Slots) -> Parts | None:
            tag = template.text_tag(read_language(slots))
            return write(slots) if tag is None else by_tag[tag](slots)

        return write_in_language


def text_planner(
    template: Template, event: EventName, values: PlanValues, rules: DraftRules, *, limit_characters: int
) -> TextPlanner:
    """What plans the texts of `template`, for the events of a name."""
    return TextPlanner(
        family=EVENTS[event].family,
        values=values,
        time_zone=rules.time_zone,
        strict=template.strict,
        limit_characters=limit_characters,
    )


def find_destination(
    template: Template, event: EventName, values: PlanValues, rules: DraftRules
) -> Callable[[Slots, str | None, str], Destination | None]:
    """Of the slots, the text's address and the event's tenant: where a message goes, to a recipient whose fields
    `values` has. None, refused: a webhook's text has no address."""
    channel = CHANNELS[template.type]
    if channel.is_stream:
        stream_of = lru_cache(maxsize=8)(lambda tenant: (event_type(tenant, event), None))  # there is hardly another
        return lambda _slots, _url, tenant: stream_of(tenant)
    resolve = _address_resolver(template.type, rules.sms_region)
    if channel.address is AddressKind.URL:
        return lambda _slots, url, _tenant: None if url is None else resolve(url)
    read_address = _read_address(template, values, rules)
    return lambda slots, _url, _tenant: resolve(read_address(slots))


def _read_address(template: Template, values: PlanValues, rules: DraftRules) -> ReadText:
    if template.recipient is RecipientKind.CUSTOM_FIELD:
        if template.recipient_field is None:
            raise AssertionError(f"{template.id}: CUSTOM_FIELD without a field was accepted")
        read, time_zone = read_custom_field(template.recipient_field, values), rules.time_zone
        return lambda slots: None if (value := read(slots)) is None else custom_value_text(value, time_zone)
    field = None if template.recipient is None else CHANNELS[template.type].address_field
    return give_none if field is None else values.value((RECIPIENT, field))


_CACHED_ADDRESSES: Final = 1024


@cache
def _address_resolver(channel: Channel, sms_region: str | None) -> Callable[[str | None], Destination]:
    """`resolve_address` for one channel, which keeps what came of the last short addresses, for all templates."""
    channel_spec = CHANNELS[channel]

    @lru_cache(_CACHED_ADDRESSES)
    def resolve_short(address: str | None) -> Destination:
        return resolve_address(channel_spec, address, sms_region=sms_region)

    def resolve(address: str | None) -> Destination:
        if address is None or len(address) <= DESTINATION_LIMIT_CHARACTERS:
            return resolve_short(address)
        return resolve_address(channel_spec, address, sms_region=sms_region)

    return resolve
