"""Which events there are: family, target, channels, and what a producer keys each one by. Tables, pure.

To add an event: a row of EVENTS here and in `tests/domain/events.csv`, a symbol of the enum in its family's schema
(`schemas/events/`, with a new id in `ids.json`, the former version in `history/`, and the family's number of events in
`schemas/README.md`), a sample `processor/shipped/events/<NAME>.json`, and a template that uses it in
`processor/shipped/`. A placeholder of its own is a row of PLACEHOLDERS and of `tests/domain/placeholders.csv`. Another
family is a row of FAMILIES and a schema file as well. Tests fail for each of these that is missing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from processor.domain.channel import CHANNELS, Channel
from processor.domain.event import Fields
from processor.domain.record import EventName
from processor.domain.text import closest_match


class Target(StrEnum):
    """What an event, and so a template for it, is about. Published."""

    CLIENT = "CLIENT"
    GROUP = "GROUP"
    LOANS = "LOANS"
    SAVINGS = "SAVINGS"
    BACKGROUND_PROCESS = "BACKGROUND_PROCESS"
    DATA_ACCESS = "DATA_ACCESS"
    PAYMENT_ORDER = "PAYMENT_ORDER"
    ACCOUNTING = "ACCOUNTING"


class Holder(StrEnum):
    """Who owns what an event is about, and so which of the fields `client` and `group` are set."""

    CLIENT = "CLIENT"  #: `client` is required, the family has no `group`.
    GROUP = "GROUP"  #: `group` is required, the family has no `client`.
    CLIENT_OR_GROUP = "CLIENT_OR_GROUP"  #: Both fields exist, exactly one is set; neither or both: INVALID_EVENT.
    AT_MOST_ONE = "AT_MOST_ONE"  #: Both fields exist and both may be null; both set: INVALID_EVENT.
    NONE = "NONE"  #: The family has neither field.

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the family that can be the holder."""
        return _HOLDER_FIELDS[self]


_HOLDER_FIELDS: Final[Mapping[Holder, tuple[str, ...]]] = {
    Holder.CLIENT: ("client",),
    Holder.GROUP: ("group",),
    Holder.CLIENT_OR_GROUP: ("client", "group"),
    Holder.AT_MOST_ONE: ("client", "group"),
    Holder.NONE: (),
}


@dataclass(frozen=True, slots=True)
class Family:
    """Events that share one Avro schema. `record` is its full name and its subject in a registry."""

    name: str
    record: str
    holder: Holder


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event. `target` is what its templates are about; `stream_name` ends the name of its stream's topic.

    `channels` are those that a template of this event may use; `ordering_key` is a word of ORDERING_KEYS.
    """

    event: EventName
    family: str
    target: Target
    stream_name: str
    channels: frozenset[Channel]
    ordering_key: str


_ACCOUNT_KEY: Final = (("account", "encodedKey"),)
ORDERING_KEYS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {  # word -> paths; the first non-null one wins
    "client": (("client", "encodedKey"),),
    "group": (("group", "encodedKey"),),
    "loan_account": _ACCOUNT_KEY,
    "deposit_account": _ACCOUNT_KEY,
    "account": _ACCOUNT_KEY,
    "credit_arrangement": (("creditArrangement", "encodedKey"),),
    "order": (*_ACCOUNT_KEY, ("order", "encodedKey")),
    "journal_entry": (("journalEntry", "originalKey"), ("journalEntry", "encodedKey")),
    "tenant": (("tenant",),),
}

FAMILIES: Final[Mapping[str, Family]] = {
    family.name: family
    for family in (
        Family("client", "banking.events.ClientEvent", Holder.CLIENT),
        Family("group", "banking.events.GroupEvent", Holder.GROUP),
        Family("loan_account", "banking.events.LoanAccountEvent", Holder.CLIENT_OR_GROUP),
        Family("loan_transaction", "banking.events.LoanTransactionEvent", Holder.CLIENT_OR_GROUP),
        Family("deposit_account", "banking.events.DepositAccountEvent", Holder.CLIENT_OR_GROUP),
        Family("deposit_transaction", "banking.events.DepositTransactionEvent", Holder.CLIENT_OR_GROUP),
        Family("credit_arrangement", "banking.events.CreditArrangementEvent", Holder.CLIENT_OR_GROUP),
        Family("authorisation_hold", "banking.events.AuthorisationHoldEvent", Holder.CLIENT_OR_GROUP),
        Family("card_transaction", "banking.events.CardTransactionEvent", Holder.CLIENT_OR_GROUP),
        Family("activity", "banking.events.ActivityEvent", Holder.CLIENT_OR_GROUP),
        Family("portal", "banking.events.PortalEvent", Holder.CLIENT),
        Family("order", "banking.events.OrderEvent", Holder.AT_MOST_ONE),
        Family("journal_entry", "banking.events.JournalEntryEvent", Holder.NONE),
        Family("background", "banking.events.BackgroundEvent", Holder.NONE),
    )
}

_ALL: Final = frozenset(Channel)
# For people and systems; no credit officer has to act.
_NO_TASK: Final = frozenset(channel for channel, spec in CHANNELS.items() if not spec.is_for_staff)
_NO_EMAIL: Final = frozenset(channel for channel in _NO_TASK if CHANNELS[channel].for_frequent_events)
_SYSTEMS: Final = frozenset(channel for channel, spec in CHANNELS.items() if not spec.recipients)


_T: Final = Target


def _event(name: str, family: str, target: Target, ordering_key: str, channels: frozenset[Channel] = _ALL) -> EventRow:
    """A row whose stream is named as all of them are, after the event."""
    return EventRow(EventName(name), family, target, name.lower(), channels, ordering_key)


EVENTS: Final[Mapping[EventName, EventRow]] = {  # in the order of each family's enum
    row.event: row
    for row in (
        _event("CLIENT_CREATED", "client", _T.CLIENT, "client"),
        _event("CLIENT_APPROVED", "client", _T.CLIENT, "client"),
        _event("CLIENT_REJECTED", "client", _T.CLIENT, "client"),
        _event("GROUP_CREATED", "group", _T.GROUP, "group"),
        # Rate changes, fees and penalties of a deposit account are these events too: `account.kind` decides.
        _event("LOAN_CREATED", "loan_account", _T.LOANS, "loan_account"),
        _event("LOAN_APPROVAL", "loan_account", _T.LOANS, "loan_account"),
        _event("LOAN_ACCOUNT_REJECTION", "loan_account", _T.LOANS, "loan_account"),
        _event("LOAN_ACCOUNT_CLOSURE", "loan_account", _T.LOANS, "loan_account"),
        _event("LOAN_ANTICIPATED_DISBURSEMENT", "loan_account", _T.LOANS, "loan_account"),
        _event("INTEREST_RATE_CHANGED", "loan_account", _T.LOANS, "loan_account"),
        _event("ACCOUNT_IN_ARREARS", "loan_account", _T.LOANS, "loan_account"),
        _event("REPAYMENT_REMINDER", "loan_account", _T.LOANS, "loan_account"),
        _event("LOAN_DISBURSEMENT", "loan_transaction", _T.LOANS, "loan_account"),
        _event("LOAN_DISBURSEMENT_REVERSAL", "loan_transaction", _T.LOANS, "loan_account"),
        _event("LOAN_REPAYMENT", "loan_transaction", _T.LOANS, "loan_account"),
        _event("LOAN_REPAYMENT_REVERSAL", "loan_transaction", _T.LOANS, "loan_account"),
        _event("FEE_APPLIED", "loan_transaction", _T.LOANS, "loan_account"),
        _event("FEE_CHARGED", "loan_transaction", _T.LOANS, "loan_account"),
        _event("FEE_ADJUSTED", "loan_transaction", _T.LOANS, "loan_account"),
        _event("FEES_DUE_REDUCED", "loan_transaction", _T.LOANS, "loan_account"),
        _event("FEE_REDUCTION_ADJUSTMENT", "loan_transaction", _T.LOANS, "loan_account"),
        _event("PENALTY_APPLIED", "loan_transaction", _T.LOANS, "loan_account"),
        _event("PENALTY_ADJUSTMENT", "loan_transaction", _T.LOANS, "loan_account"),
        _event("LOAN_ACCOUNT_WRITE_OFF", "loan_transaction", _T.LOANS, "loan_account"),
        _event("LOAN_ACCOUNT_RESCHEDULED", "loan_transaction", _T.LOANS, "loan_account"),
        _event("LOAN_ACCOUNT_REFINANCED", "loan_transaction", _T.LOANS, "loan_account"),
        _event("SAVINGS_CREATED", "deposit_account", _T.SAVINGS, "deposit_account"),
        _event("SAVINGS_APPROVAL", "deposit_account", _T.SAVINGS, "deposit_account"),
        _event("SAVINGS_ACCOUNT_REJECTION", "deposit_account", _T.SAVINGS, "deposit_account"),
        _event("SAVINGS_ACCOUNT_ACTIVATED", "deposit_account", _T.SAVINGS, "deposit_account"),
        _event("SAVINGS_ACCOUNT_CLOSURE", "deposit_account", _T.SAVINGS, "deposit_account"),
        _event("SAVINGS_DEPOSIT", "deposit_transaction", _T.SAVINGS, "deposit_account"),
        _event("SAVINGS_DEPOSIT_REVERSAL", "deposit_transaction", _T.SAVINGS, "deposit_account"),
        _event("REAPPLIED_SAVINGS_DEPOSIT", "deposit_transaction", _T.SAVINGS, "deposit_account"),
        _event("SAVINGS_WITHDRAWAL", "deposit_transaction", _T.SAVINGS, "deposit_account"),
        _event("SAVINGS_WITHDRAWAL_REVERSAL", "deposit_transaction", _T.SAVINGS, "deposit_account"),
        _event("REAPPLIED_SAVINGS_WITHDRAWAL", "deposit_transaction", _T.SAVINGS, "deposit_account"),
        _event("DEPOSIT_INTEREST_APPLIED", "deposit_transaction", _T.SAVINGS, "deposit_account"),
        _event("DEPOSIT_INTEREST_APPLIED_ADJUSTMENT", "deposit_transaction", _T.SAVINGS, "deposit_account"),
        _event("SAVINGS_TRANSACTION_EDITED", "deposit_transaction", _T.SAVINGS, "deposit_account"),
        _event("CREDIT_ARRANGEMENT_CREATED", "credit_arrangement", _T.CLIENT, "credit_arrangement", _NO_TASK),
        _event("CREDIT_ARRANGEMENT_APPROVED", "credit_arrangement", _T.CLIENT, "credit_arrangement", _NO_TASK),
        _event("CREDIT_ARRANGEMENT_REJECTED", "credit_arrangement", _T.CLIENT, "credit_arrangement", _NO_TASK),
        _event("CREDIT_ARRANGEMENT_WITHDRAWN", "credit_arrangement", _T.CLIENT, "credit_arrangement", _NO_TASK),
        _event("CREDIT_ARRANGEMENT_EDITED", "credit_arrangement", _T.CLIENT, "credit_arrangement", _NO_TASK),
        _event("CREDIT_ARRANGEMENT_CLOSED", "credit_arrangement", _T.CLIENT, "credit_arrangement", _NO_TASK),
        _event("CREDIT_ARRANGEMENT_DELETED", "credit_arrangement", _T.CLIENT, "credit_arrangement", _NO_TASK),
        _event("CREDIT_ARRANGEMENT_ACCOUNT_ADDED", "credit_arrangement", _T.CLIENT, "credit_arrangement", _NO_TASK),
        _event(
            "CREDIT_ARRANGEMENT_ACCOUNT_REMOVED", "credit_arrangement", Target.CLIENT, "credit_arrangement", _NO_TASK
        ),
        _event("ACCOUNT_AUTHORISATION_HOLD_CREATED", "authorisation_hold", _T.SAVINGS, "account", _SYSTEMS),
        _event("ACCOUNT_AUTHORISATION_HOLD_REVERSED", "authorisation_hold", _T.SAVINGS, "account", _SYSTEMS),
        _event("ACCOUNT_AUTHORISATION_HOLD_SETTLED", "authorisation_hold", _T.SAVINGS, "account", _SYSTEMS),
        _event("CARDS_AUTHORISATION_HOLD_CREATED", "authorisation_hold", _T.SAVINGS, "account", _SYSTEMS),
        _event("CARDS_AUTHORISATION_HOLD_IN_BULK_CREATED", "authorisation_hold", _T.SAVINGS, "account", _SYSTEMS),
        _event("CARDS_AUTHORISATION_HOLD_SETTLED", "authorisation_hold", _T.SAVINGS, "account", _SYSTEMS),
        _event("CARDS_AUTHORISATION_HOLD_AMOUNT_DECREASED", "authorisation_hold", _T.SAVINGS, "account", _SYSTEMS),
        _event("CARDS_AUTHORISATION_HOLD_AMOUNT_INCREASED", "authorisation_hold", _T.SAVINGS, "account", _SYSTEMS),
        _event("CARDS_AUTHORISATION_HOLD_EXPIRED", "authorisation_hold", _T.SAVINGS, "account", _SYSTEMS),
        _event("CARDS_AUTHORISATION_HOLD_REVERSED", "authorisation_hold", _T.SAVINGS, "account", _SYSTEMS),
        _event("CARD_WITHDRAWAL_REVERSAL", "card_transaction", _T.SAVINGS, "account", _SYSTEMS),
        _event("CARD_DEPOSIT_REVERSAL", "card_transaction", _T.SAVINGS, "account", _SYSTEMS),
        _event("CLIENT_ACTIVITY", "activity", _T.CLIENT, "client", _NO_EMAIL),
        _event("GROUP_ACTIVITY", "activity", _T.GROUP, "group", _NO_EMAIL),
        _event("LOAN_ACCOUNT_ACTIVITY", "activity", _T.LOANS, "loan_account", _NO_EMAIL),
        _event("SAVINGS_ACCOUNT_ACTIVITY", "activity", _T.SAVINGS, "deposit_account", _NO_EMAIL),
        _event("PORTAL_ACTIVATED", "portal", _T.CLIENT, "client", _NO_TASK),
        _event("PORTAL_PASSWORD_RESET", "portal", _T.CLIENT, "client", _NO_TASK),
        _event("PAYMENT_ORDER_ACTIVITY", "order", _T.PAYMENT_ORDER, "order", _SYSTEMS),
        _event("COLLECTION_ORDER_ACTIVITY", "order", _T.PAYMENT_ORDER, "order", _SYSTEMS),
        _event("JOURNAL_ENTRY_ADDED", "journal_entry", _T.ACCOUNTING, "journal_entry", _SYSTEMS),
        _event("JOURNAL_ENTRY_ADJUSTED", "journal_entry", _T.ACCOUNTING, "journal_entry", _SYSTEMS),
        _event("END_OF_DAY_PROCESSING_COMPLETED", "background", _T.BACKGROUND_PROCESS, "tenant", _SYSTEMS),
        _event("DATA_ACCESS_STATE_CHANGED", "background", _T.DATA_ACCESS, "tenant", _SYSTEMS),
    )
}


_NAME_LIMIT_CHARACTERS: Final = 100  # of a text that is compared with all names


def ordering_key(event: EventName, fields: Fields) -> str:
    """What the producer keys this event's record by: events with the same one are in one partition, and in order.

    `fields` is a decoded event or its JSON form. The first of the event's paths that leads to a value wins. KeyError
    for a name that is not in EVENTS, ValueError when no path leads to a value; neither happens for an event that
    `decode` accepted.
    """
    for path in ORDERING_KEYS[EVENTS[event].ordering_key]:
        value: object = fields
        for step in path:
            value = value.get(step) if isinstance(value, Mapping) else None
        if value is not None:
            return str(value)
    raise ValueError(f"{event} has no ordering key: {EVENTS[event].ordering_key} leads to no value")


def nearest_event(name: str) -> str:
    """The event that `name` probably means, empty when nothing is near.

    By its words, in any case and with any separators, else by its letters.
    """
    spelt = re.sub("[^A-Z0-9]+", "_", name[:_NAME_LIMIT_CHARACTERS].upper()).strip("_")
    words = set(spelt.split("_"))
    holding = [event for event in EVENTS if words <= set(event.split("_"))]
    return closest_match(spelt, holding, cutoff=0) or closest_match(spelt, EVENTS)
