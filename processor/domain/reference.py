"""The reference tables, one row of TABLES each, and their rows: recipients, organisations, subject areas and
subscriptions, as other systems have them.

Another table is a member of Table, a row of TABLES and a dataclass here, a line in the settings' TopicSettings, and a
parser in `mapping/reference.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Table(StrEnum):
    """The tables, by the name of their topic's setting."""

    CONTACTS = "contacts"
    CATEGORIES = "categories"
    ACCOUNTS = "accounts"
    SUBSCRIPTIONS = "subscriptions"


@dataclass(frozen=True, slots=True)
class ContactUser:
    """The user of the platform that a contact is."""

    id: str
    name: str
    email: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """An addressee. `opt_outs` are ids of the categories that they have left."""

    id: str
    name: str
    email: str | None = None
    user: ContactUser | None = None
    blocked: bool = False
    blocked_reason: str | None = None
    opt_outs: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """A subject area. Without `opt_out_allowed` an opt-out does not count: password resets, invitations."""

    id: str
    name: str | None = None
    short_description: str | None = None
    opt_out_allowed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A customer organisation. `disabled_categories` are ids of those that its people get no messages of."""

    id: str
    type: str | None = None
    status: str | None = None
    name: str | None = None
    logo: str | None = None
    disabled_categories: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class SubscriptionRow:
    """Whether a holder gets the messages of a template."""

    subscribed: bool


Row = Contact | Category | Account | SubscriptionRow


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSpec:
    """What one reference table is.

    `topic` is its topic's name where no setting says otherwise, `description` the setting's. `key` says what a record
    is keyed by, `row` what its value is read as.
    """

    topic: str
    description: str
    key: str
    row: type[Row]


TABLES: Final[Mapping[Table, TableSpec]] = {
    Table.CONTACTS: TableSpec(
        topic="reference.contacts",
        description="Reference table of contacts.",
        key="encodedKey of the client, group or user",
        row=Contact,
    ),
    Table.CATEGORIES: TableSpec(
        topic="reference.categories",
        description="Reference table of categories.",
        key="id of the category",
        row=Category,
    ),
    Table.ACCOUNTS: TableSpec(
        topic="reference.accounts",
        description="Reference table of accounts.",
        key="encodedKey of the bank account, client or group, or the tenant",
        row=Account,
    ),
    Table.SUBSCRIPTIONS: TableSpec(
        topic="reference.subscriptions",
        description="Reference table of subscriptions.",
        key="`owner:templateId`, the owner being the client or group that holds the account",
        row=SubscriptionRow,
    ),
}
