"""Look-ups in the reference tables: rows parsed from JSON, and what a missing or invalid one means. Pure.

A missing row has a rule for each table (`Reference`). A row that is there and invalid is never taken for a missing one:
where it may say that somebody is not to be contacted, the template fails.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, TypeVar

from processor.domain.record import TemplateId
from processor.domain.reference import Account, Category, Contact, ContactUser, Row, SubscriptionRow, Table
from processor.domain.text import quote
from processor.mapping.options import MissingRow
from processor.wire.errors import ContentError
from processor.wire.json_codec import expect_bool, expect_text, parse_json
from processor.wire.scalars import parse_timestamp

T = TypeVar("T")

ROW_LIMIT_BYTES: Final = 65_536
CACHED_ROW_LIMIT_BYTES: Final = 4_096  # larger rows are parsed each time: 2,048 of the largest were 128 MB and more

# Published examples contradict each other in how many groups an id has: read leniently.
_ID: Final = re.compile(r"[A-Z]{2,4}(-\d{4}){2,4}", re.ASCII)

Rows = Callable[[Table, str], bytes | None]
"""The value of a key; None when the table has no such row."""


class LookupFailedError(Exception):
    """A row that is needed is missing or invalid: LOOKUP_MISSING. `str(error)` is the detail."""


@dataclass(frozen=True, slots=True)
class InvalidRow:
    """A row that cannot be parsed, and why."""

    error: str


def no_rows(table: Table, key: str) -> None:
    """Tables without a row."""


@dataclass(frozen=True, slots=True)
class RecipientData:
    """What the tables have for one message. `category_id` is the template's, or the family's; the row may be missing.

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

    Missing contact, category, account: the Message has what the event and the template hold, and the status names the
    part (`partial`), or the template fails (`fail`). Missing subscription: the template's option decides.
    Invalid contact, account, subscription: the template fails. Invalid category: as missing, since a category takes no
    consent away; who has opted out of it stays opted out.
    """

    rows: Rows = no_rows
    missing_row: MissingRow = MissingRow.PARTIAL
    category_by_family: Mapping[str, str] = field(default_factory=dict)

    def subscribed(self, owner: str, template: TemplateId) -> bool | None:
        """Whether the holder opted in or out; None when neither. LookupFailedError for an invalid row."""
        key = f"{owner}:{template}"
        if self.rows(Table.SUBSCRIPTIONS, key) is None:  # of nearly all
            return None
        row = self._row(Table.SUBSCRIPTIONS, key)
        return row.subscribed if isinstance(row, SubscriptionRow) else None

    def lookup(
        self, *, contact_key: str, account_keys: tuple[str, ...], category: str | None, family: str
    ) -> RecipientData:
        """What the tables have for a message to `contact_key` in `category`, the template's.

        `account_keys` are tried in their order. LookupFailedError for an invalid row.
        """
        contact = self._row(Table.CONTACTS, contact_key)
        category_id = category or self.category_by_family.get(family)
        row = _find_row(self.rows, Table.CATEGORIES, category_id) if category_id is not None else None
        accounts = (self._row(Table.ACCOUNTS, key) for key in account_keys)
        account = next((account for account in accounts if account), None)
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
        if data.missing and self.missing_row is MissingRow.FAIL:
            raise LookupFailedError("; ".join(f"no {part} of {key}" for part, key in data.missing.items()))

    def _row(self, table: Table, key: str) -> Row | None:
        row = _find_row(self.rows, table, key)
        if isinstance(row, InvalidRow):
            raise LookupFailedError(f"the row of {table} for {key} cannot be read: {row.error}")
        return row


EMPTY_TABLES: Final = Reference()
"""An installation whose tables have no rows."""


def subscriptions_only(subscribed: bool) -> Reference:
    """Tables in which every holder is subscribed to every template, or none is, and that have no other rows."""
    row = b'{"subscribed": true}' if subscribed else b'{"subscribed": false}'
    return Reference(rows=lambda table, _key: row if table is Table.SUBSCRIPTIONS else None)


def _find_row(rows: Rows, table: Table, key: str) -> Row | InvalidRow | None:
    value = rows(table, key)
    return None if value is None else parse_row(table, key, value)


def parse_row(table: Table, key: str, value: bytes) -> Row | InvalidRow:
    """The row that `value` holds; unknown fields are ignored. Any bytes give a row, or say what is wrong with them."""
    return _parse(table, key, value) if len(value) > CACHED_ROW_LIMIT_BYTES else _parse_cached(table, key, value)


def row_error(table: Table, key: str, value: bytes) -> str:
    """What is wrong with a row, for its owner; empty when nothing is."""
    row = _parse(table, key, value)
    return row.error if isinstance(row, InvalidRow) else ""


def _parse(table: Table, key: str, value: bytes) -> Row | InvalidRow:
    if len(value) > ROW_LIMIT_BYTES:
        return InvalidRow(f"it has {len(value)} bytes, and a row takes {ROW_LIMIT_BYTES}")
    try:
        fields = parse_json(value)
        if not isinstance(fields, dict):
            raise ContentError("not an object")
        return _PARSERS[table](fields, key)
    except ContentError as error:
        return InvalidRow(error.detail)


# Categories and organisations are few, and needed each time. A row of nothing but short ids is 18 times as large in
# memory as in JSON, so that 512 rows are 37 MB at most; 2,048 were 149 MB.
_parse_cached: Final = lru_cache(maxsize=512)(_parse)


def _contact(fields: Mapping[str, Any], _key: str) -> Contact:
    status = _text(fields, "status")
    if status not in ("Active", "Blocked", None):
        raise ContentError(f"{quote(status)} is neither Active nor Blocked").at("status")
    user = fields.get("user")
    if user is not None and not isinstance(user, dict):
        raise ContentError("not an object").at("user")
    return Contact(
        id=_parse_id(fields),
        name=_required_text(fields, "name"),
        email=_text(fields, "email"),
        user=None if user is None else _user(user),
        blocked=status == "Blocked",
        blocked_reason=_text(fields, "blockedReason"),
        opt_outs=_id_set(fields, "optOuts"),
    )


def _user(fields: Mapping[str, Any]) -> ContactUser:
    try:
        return ContactUser(_parse_id(fields), _required_text(fields, "name"), _text(fields, "email"))
    except ContentError as error:
        raise error.at("user") from None


def _category(fields: Mapping[str, Any], key: str) -> Category:
    if "id" in fields and _parse_id(fields) != key:
        raise ContentError("is not the record's key").at("id")
    return Category(
        id=key,
        name=_text(fields, "name"),
        short_description=_text(fields, "shortDescription"),
        opt_out_allowed=_flag(fields, "optOutAllowed", missing=True),
    )


def _account(fields: Mapping[str, Any], _key: str) -> Account:
    return Account(
        id=_parse_id(fields),
        type=_text(fields, "type"),
        status=_text(fields, "status"),
        name=_text(fields, "name"),
        logo=_text(fields, "logo"),
        disabled_categories=_id_set(fields, "disabledCategories"),
    )


def _subscription(fields: Mapping[str, Any], _key: str) -> SubscriptionRow:
    _field(fields, "at", lambda at: parse_timestamp(expect_text(at)))
    return SubscriptionRow(_flag(fields, "subscribed", missing=None))


_PARSERS: Final[Mapping[Table, Callable[[Mapping[str, Any], str], Row]]] = {
    Table.CONTACTS: _contact,
    Table.CATEGORIES: _category,
    Table.ACCOUNTS: _account,
    Table.SUBSCRIPTIONS: _subscription,
}


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    return _field(fields, name, expect_text)


def _required_text(fields: Mapping[str, Any], name: str) -> str:
    value = _text(fields, name)
    if not value:
        raise ContentError("is missing" if value is None else "is empty").at(name)
    return value


def _parse_id(fields: Mapping[str, Any]) -> str:
    value = _required_text(fields, "id")
    if not _ID.fullmatch(value):
        raise ContentError(f"{quote(value)} is no id, as in CTT-4410-0093-7715").at("id")
    return value


def _id_set(fields: Mapping[str, Any], name: str) -> frozenset[str]:
    return _field(fields, name, _text_set) or frozenset()


def _text_set(value: Any) -> frozenset[str]:
    if not isinstance(value, list):
        raise ContentError("a list of ids expected")
    return frozenset(map(expect_text, value))


def _flag(fields: Mapping[str, Any], name: str, *, missing: bool | None) -> bool:
    value = _field(fields, name, expect_bool)
    if value is None:
        value = missing
    if value is None:
        raise ContentError("is missing").at(name)
    return value


def _field(fields: Mapping[str, Any], name: str, expect: Callable[[Any], T]) -> T | None:
    value = fields.get(name)
    try:
        return None if value is None else expect(value)
    except ContentError as error:
        raise error.at(name) from None
