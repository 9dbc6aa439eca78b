"""Whom a message is for: the person or group of an event that a template's `recipient` means, and their address."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from enum import StrEnum
from typing import Any

from processor.domain.channel import CHANNELS, RecipientKind
from processor.domain.event import Event
from processor.domain.template import Template
from processor.domain.text import nfc
from processor.mapping.values import custom_text


class KeyField(StrEnum):
    """The message's field that has its recipient's key."""

    CLIENT = "clientKey"
    GROUP = "groupKey"
    USER = "userKey"


@dataclass(frozen=True, slots=True)
class Recipient:
    """A recipient. `key_field` is the message's field that gets `key`.

    `fields` is the record that placeholders with a path `recipient.…` read; `address` where the template's channel
    would send, None when there is none.
    """

    key: str
    key_field: KeyField
    fields: Mapping[str, Any]
    address: str | None = None

    @property
    def language(self) -> str | None:
        """The language the recipient wants; None for a bank's user, and when it is not known."""
        language: str | None = self.fields["language"]
        return language


def holder_of(event: Event) -> Recipient | None:
    """The client or group whose business it was; None for an event without a holder."""
    client = event.fields.get("client")
    if client is not None:
        return _client(client)
    group = event.fields.get("group")
    return None if group is None else _group(group)


def recipient_of(template: Template, event: Event, *, time_zone: tzinfo) -> Recipient | None:
    """The recipient of `template` for `event`; None when the event has none (NO_RECIPIENT).

    A template without `recipient` (streams, webhooks) has the event's holder, if there is one, and no address.
    """
    found = _person(template, event)
    if found is None or template.recipient is None:
        return found
    if template.recipient is RecipientKind.CUSTOM_FIELD:
        if template.recipient_field is None:
            raise AssertionError(f"{template.id}: CUSTOM_FIELD without a field was accepted")
        address = custom_text(template.recipient_field, event.fields, time_zone)
    else:
        field = CHANNELS[template.type].address_field
        address = None if field is None else found.fields[field]
    return Recipient(found.key, found.key_field, found.fields, address)


def _person(template: Template, event: Event) -> Recipient | None:
    fields = event.fields
    match template.recipient:
        case None | RecipientKind.CUSTOM_FIELD:
            return holder_of(event)
        case RecipientKind.CLIENT:
            return None if fields.get("client") is None else _client(fields["client"])
        case RecipientKind.GROUP:
            return None if fields.get("group") is None else _group(fields["group"])
        case RecipientKind.GROUP_ROLE:
            role = _role_key(template.recipient_role)
            members = (fields.get("group") or {}).get("members") or ()
            holders = (member["client"] for member in members if _role_key(member.get("role")) == role)
            return next(map(_client, holders), None)
        case RecipientKind.CREDIT_OFFICER:
            officers = ((fields.get(name) or {}).get("creditOfficer") for name in ("account", "client", "group"))
            return next((_user(officer) for officer in officers if officer is not None), None)


def _role_key(name: str | None) -> str:
    """A group's role as it is compared."""
    return nfc((name or "").strip()).casefold()


def _client(client: Mapping[str, Any]) -> Recipient:
    same = ("encodedKey", "id", "firstName", "middleName", "lastName", "emailAddress", "mobilePhone", "language")
    fields = {name: client.get(name) for name in (*same, "idDocument")}
    return Recipient(client["encodedKey"], KeyField.CLIENT, {**fields, "name": client.get("fullName")})


def _group(group: Mapping[str, Any]) -> Recipient:
    same = ("encodedKey", "id", "name", "emailAddress", "mobilePhone", "language")
    absent = dict.fromkeys(("firstName", "middleName", "lastName", "idDocument"))
    return Recipient(group["encodedKey"], KeyField.GROUP, {**absent, **{name: group.get(name) for name in same}})


def _user(user: Mapping[str, Any]) -> Recipient:
    """A bank's user has no language, no middle name and no identity document; the id that people know is the login."""
    same = ("encodedKey", "firstName", "lastName", "emailAddress", "mobilePhone")
    absent = dict.fromkeys(("middleName", "language", "idDocument"))
    fields = {**absent, **{name: user.get(name) for name in same}}
    return Recipient(
        user["encodedKey"], KeyField.USER, {**fields, "id": user.get("username"), "name": user.get("fullName")}
    )
