"""Rows of the reference tables: recipients, organisations, subject areas and subscriptions, as other systems have
them."""

from dataclasses import dataclass, field
from enum import StrEnum


class Table(StrEnum):
    """The four tables, by the name of their topic's setting."""

    CONTACTS = "contacts"  #: Key: encodedKey of a client, group or user.
    CATEGORIES = "categories"  #: Key: id of a category, NTC-….
    ACCOUNTS = "accounts"  #: Key: encodedKey of a bank account, client or group, or the tenant.
    SUBSCRIPTIONS = "subscriptions"  #: Key: owner:templateId.


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
