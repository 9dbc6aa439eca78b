"""The reference tables as mapping asks them: rows read from JSON, and what a missing or unreadable one means. Pure.

A missing row has a rule for each table (`Reference`). A row that is there and cannot be read is never taken for a
missing one: where it may say that somebody is not to be written to, the template fails.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal, TypeVar

from processor.domain.record import TemplateId
from processor.domain.reference import Account, Category, Contact, ContactUser, Row, Subscription, Table
from processor.domain.text import quote
from processor.wire.errors import ContentError
from processor.wire.json_codec import expect_bool, expect_text, parse_json
from processor.wire.scalars import parse_timestamp

T = TypeVar("T")

ROW_LIMIT_BYTES: Final = 65_536
REMEMBERED_BYTES: Final = 4_096  # larger rows are read each time: 2,048 of the largest were 128 MB and more

# Published examples contradict each other in how many groups an id has: read leniently.
_ID: Final = re.compile(r"[A-Z]{2,4}(-\d{4}){2,4}", re.ASCII)

Rows = Callable[[Table, str], bytes | None]
"""The value of a key; None when the table has no such row."""

MissingRow = Literal["partial", "fail"]


class LookupFailedError(Exception):
    """A row that is needed is missing or cannot be read: LOOKUP_MISSING. `str(error)` is the detail."""


@dataclass(frozen=True, slots=True)
class InvalidRow:
    """A row that cannot be read, and why."""

    fault: str


def no_rows(table: Table, key: str) -> None:
    """Tables without a row."""


@dataclass(frozen=True, slots=True)
class RecipientData:
    """What the tables tell of one message. `category_id` is the template's, or the family's; the row may be missing.

    `missing` has the parts that were looked up and not found, in this order: contact, category, account; each with what
    it was looked up by.
    """

    contact: Contact | None
    category_id: str | None
    category: Category | None
    account: Account | None
    missing: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The tables of an installation, and its rules for rows that are missing.

    Missing contact, category, account: the Message has what the event and the template tell, and the status names the
    part (`partial`), or the template fails (`fail`). Missing subscription: the template's option decides.
    Unreadable contact, account, subscription: the template fails. Unreadable category: as missing, since a category
    takes no consent away; people who left it stay left.
    """

    rows: Rows = no_rows
    missing_row: MissingRow = "partial"
    category_by_family: Mapping[str, str] = field(default_factory=dict)

    def subscribed(self, owner: str, template: TemplateId) -> bool | None:
        """What the holder said; None when nothing. LookupFailedError for a row that cannot be read."""
        row = self._row(Table.SUBSCRIPTIONS, f"{owner}:{template}")
        return row.subscribed if isinstance(row, Subscription) else None

    def lookup(
        self, *, contact_key: str, account_keys: tuple[str, ...], category: str | None, family: str
    ) -> RecipientData:
        """What the tables tell of a message to `contact_key` in `category`, the template's.

        `account_keys` are tried in their order. LookupFailedError for a row that cannot be read.
        """
        contact = self._row(Table.CONTACTS, contact_key)
        category_id = category or self.category_by_family.get(family)
        row = _read(self.rows, Table.CATEGORIES, category_id) if category_id is not None else None
        account = next((one for one in (self._row(Table.ACCOUNTS, key) for key in account_keys) if one), None)
        missing = {}
        if contact is None:
            missing["contact"] = contact_key
        if category_id is not None and not isinstance(row, Category):
            missing["category"] = category_id
        if account is None:
            missing["account"] = " or ".join(account_keys)
        return RecipientData(
            contact if isinstance(contact, Contact) else None,
            category_id,
            row if isinstance(row, Category) else None,
            account if isinstance(account, Account) else None,
            missing,
        )

    def check_complete(self, data: RecipientData) -> None:
        """LookupFailedError when something is missing and nothing may be."""
        if data.missing and self.missing_row == "fail":
            raise LookupFailedError("; ".join(f"no {part} of {key}" for part, key in data.missing.items()))

    def _row(self, table: Table, key: str) -> Row | None:
        row = _read(self.rows, table, key)
        if isinstance(row, InvalidRow):
            raise LookupFailedError(f"the row of {table} for {key} cannot be read: {row.fault}")
        return row


EMPTY_TABLES: Final = Reference()
"""An installation to which nobody has told anything."""


def subscriptions_alone(subscribed: bool) -> Reference:
    """Tables in which every holder is subscribed to every template, or none is, and that have no other rows."""
    row = b'{"subscribed": true}' if subscribed else b'{"subscribed": false}'
    return Reference(rows=lambda table, _key: row if table is Table.SUBSCRIPTIONS else None)


def _read(rows: Rows, table: Table, key: str) -> Row | InvalidRow | None:
    value = rows(table, key)
    return None if value is None else row_of(table, key, value)


def row_of(table: Table, key: str, value: bytes) -> Row | InvalidRow:
    """The row that `value` holds; unknown fields are ignored. Any bytes end in a row or in the words for its owner."""
    return _parsed(table, key, value) if len(value) > REMEMBERED_BYTES else _remembered(table, key, value)


def fault_of(table: Table, key: str, value: bytes) -> str:
    """What is wrong with a row, for its owner; empty when nothing is."""
    row = _parsed(table, key, value)
    return row.fault if isinstance(row, InvalidRow) else ""


def _parsed(table: Table, key: str, value: bytes) -> Row | InvalidRow:
    if len(value) > ROW_LIMIT_BYTES:
        return InvalidRow(f"it has {len(value)} bytes, and a row takes {ROW_LIMIT_BYTES}")
    try:
        told = parse_json(value)
        if not isinstance(told, dict):
            raise ContentError("not an object")
        return _READERS[table](told, key)
    except ContentError as error:
        return InvalidRow(error.detail)


# Categories and organisations are few, and needed each time. A row of nothing but short ids is 18 times as large in
# memory as in JSON, so that 512 rows are 37 MB at most; 2,048 were 149 MB.
_remembered: Final = lru_cache(maxsize=512)(_parsed)


def _contact(told: Mapping[str, Any], _key: str) -> Contact:
    status = _text(told, "status")
    if status not in ("Active", "Blocked", None):
        raise ContentError(f"{quote(status)} is neither Active nor Blocked").at("status")
    user = told.get("user")
    if user is not None and not isinstance(user, dict):
        raise ContentError("not an object").at("user")
    return Contact(
        id=_id(told),
        name=_required(told, "name"),
        email=_text(told, "email"),
        user=None if user is None else _user(user),
        blocked=status == "Blocked",
        blocked_reason=_text(told, "blockedReason"),
        opt_outs=_ids(told, "optOuts"),
    )


def _user(told: Mapping[str, Any]) -> ContactUser:
    try:
        return ContactUser(_id(told), _required(told, "name"), _text(told, "email"))
    except ContentError as error:
        raise error.at("user") from None


def _category(told: Mapping[str, Any], key: str) -> Category:
    if "id" in told and _id(told) != key:
        raise ContentError("is not the record's key").at("id")
    return Category(
        id=key,
        name=_text(told, "name"),
        short_description=_text(told, "shortDescription"),
        opt_out_allowed=_flag(told, "optOutAllowed", missing=True),
    )


def _account(told: Mapping[str, Any], _key: str) -> Account:
    return Account(
        id=_id(told),
        type=_text(told, "type"),
        status=_text(told, "status"),
        name=_text(told, "name"),
        logo=_text(told, "logo"),
        disabled_categories=_ids(told, "disabledCategories"),
    )


def _subscription(told: Mapping[str, Any], _key: str) -> Subscription:
    _taken(told, "at", lambda at: parse_timestamp(expect_text(at)))
    return Subscription(_flag(told, "subscribed", missing=None))


_READERS: Final[Mapping[Table, Callable[[Mapping[str, Any], str], Row]]] = {
    Table.CONTACTS: _contact,
    Table.CATEGORIES: _category,
    Table.ACCOUNTS: _account,
    Table.SUBSCRIPTIONS: _subscription,
}


def _text(told: Mapping[str, Any], name: str) -> str | None:
    return _taken(told, name, expect_text)


def _required(told: Mapping[str, Any], name: str) -> str:
    value = _text(told, name)
    if not value:
        raise ContentError("is missing" if value is None else "is empty").at(name)
    return value


def _id(told: Mapping[str, Any]) -> str:
    value = _required(told, "id")
    if not _ID.fullmatch(value):
        raise ContentError(f"{quote(value)} is no id, as in CTT-4410-0093-7715").at("id")
    return value


def _ids(told: Mapping[str, Any], name: str) -> frozenset[str]:
    return _taken(told, name, _texts) or frozenset()


def _texts(value: Any) -> frozenset[str]:
    if not isinstance(value, list):
        raise ContentError("a list of ids expected")
    return frozenset(map(expect_text, value))


def _flag(told: Mapping[str, Any], name: str, *, missing: bool | None) -> bool:
    value = _taken(told, name, expect_bool)
    if value is None:
        value = missing
    if value is None:
        raise ContentError("is missing").at(name)
    return value


def _taken(told: Mapping[str, Any], name: str, take: Callable[[Any], T]) -> T | None:
    value = told.get(name)
    try:
        return None if value is None else take(value)
    except ContentError as error:
        raise error.at(name) from None
