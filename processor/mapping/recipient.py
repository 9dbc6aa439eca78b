"""Whom a message is for: the person or group of an event that a template's `recipient` means, and their address."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from enum import StrEnum
from typing import Any, Final

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


@dataclass(frozen=True, slots=True)
class PersonKind:
    """A kind of recipient: the message's field that gets the key, and of which field of the event's record each of the
    recipient's fields is. What is not in `fields` such a recipient has not."""

    key_field: KeyField
    fields: Mapping[str, str]


def _same(*names: str) -> Mapping[str, str]:
    return dict(zip(names, names, strict=True))


CLIENT: Final = PersonKind(
    KeyField.CLIENT,
    {
        **_same("encodedKey", "id", "firstName", "middleName", "lastName", "emailAddress", "mobilePhone"),
        **_same("language", "idDocument"),
        "name": "fullName",
    },
)
GROUP: Final = PersonKind(KeyField.GROUP, _same("encodedKey", "id", "name", "emailAddress", "mobilePhone", "language"))
# A bank's user has no language, no middle name and no identity document; the id that people know is the login.
USER: Final = PersonKind(
    KeyField.USER,
    {
        **_same("encodedKey", "firstName", "lastName", "emailAddress", "mobilePhone"),
        "id": "username",
        "name": "fullName",
    },
)
_NO_FIELDS: Final = dict.fromkeys(CLIENT.fields)  # which are all that there are

OFFICER_HOLDERS: Final = ("account", "client", "group")
"""The fields of an event whose credit officer is its one; the first that has one counts."""


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
            return member_in_role((fields.get("group") or {}).get("members"), template.recipient_role)
        case RecipientKind.CREDIT_OFFICER:
            officers = ((fields.get(name) or {}).get("creditOfficer") for name in OFFICER_HOLDERS)
            return next((_recipient(officer, USER) for officer in officers if officer is not None), None)


def member_in_role(members: Sequence[Mapping[str, Any]] | None, role: str | None) -> Recipient | None:
    """The first of a group's members who has `role`; None when nobody has it."""
    key = _role_key(role)
    holders = (member["client"] for member in members or () if _role_key(member.get("role")) == key)
    return next(map(_client, holders), None)


def _role_key(name: str | None) -> str:
    """A group's role as it is compared."""
    return nfc((name or "").strip()).casefold()


def _client(client: Mapping[str, Any]) -> Recipient:
    return _recipient(client, CLIENT)


def _group(group: Mapping[str, Any]) -> Recipient:
    return _recipient(group, GROUP)


def _recipient(record: Mapping[str, Any], kind: PersonKind) -> Recipient:
    fields = {name: record.get(source) for name, source in kind.fields.items()}
    return Recipient(record["encodedKey"], kind.key_field, {**_NO_FIELDS, **fields})
