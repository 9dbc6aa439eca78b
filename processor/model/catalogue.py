"""Which events there are: family, target, channels, and what a producer keys each one by. Tables, pure.

Another event is a row here and a symbol in its family's schema; another family is a row of FAMILIES and a schema file.
The facts are the domain reference's (`events.csv`, section 5 of the event families); tests compare them both ways.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from processor.model.event import Fields
from processor.model.messages import Channel
from processor.model.records import EventName


class Holder(StrEnum):
    """Who owns what an event is about, and so which of the fields `client` and `group` are set."""

    CLIENT = "CLIENT"  #: `client` is required, the family has no `group`.
    CLIENT_OR_GROUP = "CLIENT_OR_GROUP"  #: Both fields exist, exactly one is set; neither or both: INVALID_EVENT.


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
    target: str
    stream_name: str
    channels: frozenset[Channel]
    ordering_key: str


ORDERING_KEYS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {  # word -> paths; the first non-null one wins
    "client": (("client", "encodedKey"),),
    "loan_account": (("account", "encodedKey"),),
    "deposit_account": (("account", "encodedKey"),),
}

FAMILIES: Final[Mapping[str, Family]] = {
    family.name: family
    for family in (
        Family("client", "banking.events.ClientEvent", Holder.CLIENT),
        Family("loan_transaction", "banking.events.LoanTransactionEvent", Holder.CLIENT_OR_GROUP),
        Family("deposit_transaction", "banking.events.DepositTransactionEvent", Holder.CLIENT_OR_GROUP),
    )
}

_ALL_CHANNELS: Final = frozenset(Channel)


def _event(name: str, family: str, target: str, ordering_key: str) -> EventRow:
    """A row whose channels are all of them, as they are for each event of the three families so far."""
    return EventRow(EventName(name), family, target, name.lower(), _ALL_CHANNELS, ordering_key)


EVENTS: Final[Mapping[EventName, EventRow]] = {  # in the order of each family's enum
    row.event: row
    for row in (
        _event("CLIENT_CREATED", "client", "CLIENT", "client"),
        _event("CLIENT_APPROVED", "client", "CLIENT", "client"),
        _event("CLIENT_REJECTED", "client", "CLIENT", "client"),
        # Fees and penalties of a deposit account are these events too: `account.kind` decides, not the name.
        _event("LOAN_DISBURSEMENT", "loan_transaction", "LOANS", "loan_account"),
        _event("LOAN_DISBURSEMENT_REVERSAL", "loan_transaction", "LOANS", "loan_account"),
        _event("LOAN_REPAYMENT", "loan_transaction", "LOANS", "loan_account"),
        _event("LOAN_REPAYMENT_REVERSAL", "loan_transaction", "LOANS", "loan_account"),
        _event("FEE_APPLIED", "loan_transaction", "LOANS", "loan_account"),
        _event("FEE_CHARGED", "loan_transaction", "LOANS", "loan_account"),
        _event("FEE_ADJUSTED", "loan_transaction", "LOANS", "loan_account"),
        _event("FEES_DUE_REDUCED", "loan_transaction", "LOANS", "loan_account"),
        _event("FEE_REDUCTION_ADJUSTMENT", "loan_transaction", "LOANS", "loan_account"),
        _event("PENALTY_APPLIED", "loan_transaction", "LOANS", "loan_account"),
        _event("PENALTY_ADJUSTMENT", "loan_transaction", "LOANS", "loan_account"),
        _event("LOAN_ACCOUNT_WRITE_OFF", "loan_transaction", "LOANS", "loan_account"),
        _event("LOAN_ACCOUNT_RESCHEDULED", "loan_transaction", "LOANS", "loan_account"),
        _event("LOAN_ACCOUNT_REFINANCED", "loan_transaction", "LOANS", "loan_account"),
        _event("SAVINGS_DEPOSIT", "deposit_transaction", "SAVINGS", "deposit_account"),
        _event("SAVINGS_DEPOSIT_REVERSAL", "deposit_transaction", "SAVINGS", "deposit_account"),
        _event("REAPPLIED_SAVINGS_DEPOSIT", "deposit_transaction", "SAVINGS", "deposit_account"),
        _event("SAVINGS_WITHDRAWAL", "deposit_transaction", "SAVINGS", "deposit_account"),
        _event("SAVINGS_WITHDRAWAL_REVERSAL", "deposit_transaction", "SAVINGS", "deposit_account"),
        _event("REAPPLIED_SAVINGS_WITHDRAWAL", "deposit_transaction", "SAVINGS", "deposit_account"),
        _event("DEPOSIT_INTEREST_APPLIED", "deposit_transaction", "SAVINGS", "deposit_account"),
        _event("DEPOSIT_INTEREST_APPLIED_ADJUSTMENT", "deposit_transaction", "SAVINGS", "deposit_account"),
        _event("SAVINGS_TRANSACTION_EDITED", "deposit_transaction", "SAVINGS", "deposit_account"),
    )
}


def ordering_key(event: EventName, fields: Fields) -> str:
    """What the producer keys this event's record by: events with the same one are in one partition, and in order.

    `fields` is a decoded event or its JSON form. The first of the event's paths that leads to a value wins. KeyError
    for a name that is not in EVENTS, ValueError when no path leads to a value; neither happens for an event that its
    schema accepted.
    """
    for path in ORDERING_KEYS[EVENTS[event].ordering_key]:
        value: object = fields
        for step in path:
            value = value.get(step) if isinstance(value, Mapping) else None
        if value is not None:
            return str(value)
    raise ValueError(f"{event} has no ordering key: {EVENTS[event].ordering_key} leads to no value")
