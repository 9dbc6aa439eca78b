"""The `Message` of a created message: what the portal of an e-mail's or SMS's recipient shows at first. Pure.

Its parts are functions of their own, of which a planned `Message` is made too (`notification_plan.py`).
"""

from typing import Final

from processor.domain.channel import CHANNELS, AddressKind, Channel
from processor.domain.event import EventHead
from processor.domain.ids import batch_id, contact_id, notification_id
from processor.domain.message import Communicationmessage
from processor.domain.notification import (
    Actor,
    AuditEvent,
    AuditOwner,
    Notification,
    NotificationAccount,
    NotificationCategory,
    NotificationContact,
    NotificationStatus,
    NotificationUser,
    StatusMap,
)
from processor.domain.reference import Account, Category, Contact, ContactUser
from processor.errors import InternalError
from processor.mapping.draft import Draft

_ROOT: Final = "/v1/notifications"


def attachment_href(identity: str) -> str:
    """Where the file of an attachment is, as the published examples of messages have it."""
    return f"{_ROOT}/messages/attachments/{identity}"


def initial_notification(
    message: Communicationmessage,
    draft: Draft,
    event: EventHead,
    *,
    statuses: StatusMap,
    actor: Actor,
) -> Notification | None:
    """The first Message of `message`, made of `draft`; None where its channel has none, or the event no recipient.

    Where a row of the reference tables is missing, the contact is who the event says, without a user, the category its
    id alone, and there is no account. `audit` has `created` and what came of it at once (queued, discarded, or how it
    failed), both at the message's creation; `created` names the account.
    """
    data, recipient = draft.recipient_data, draft.recipient
    if data is None or recipient is None:
        return None
    if message.encodedKey is None or message.creationDate is None:
        raise InternalError("a message was created without key or time")
    status = NotificationStatus.DISCARDED if draft.suppressed else statuses[draft.failure_reason or draft.state]
    identity = notification_id(message.encodedKey)
    account = account_of(data.account)
    return Notification(
        id=identity,
        href=message_href(identity),
        batch=batch_id(event.tenant, event.id, draft.template.id),
        contact=contact_of(
            data.contact,
            tenant=event.tenant,
            key=recipient.key,
            name=recipient.fields["name"],
            email=email_of(
                draft.template.type,
                destination=message.destination,
                row=data.contact,
                email=recipient.fields["emailAddress"],
            ),
        ),
        account=account,
        status=status,
        subject=message.subject,
        category=category_of(data.category_id, data.category),
        body=message.body or "",
        attachments=draft.template.attachments,
        audit={
            "created": AuditEvent(message.creationDate, actor, owner_of(account)),
            status.value.lower(): AuditEvent(message.creationDate, actor),
        },
    )


def message_href(identity: str) -> str:
    """Where the `Message` with this id is."""
    return f"{_ROOT}/messages/{identity}"


def contact_of(row: Contact | None, *, tenant: str, key: str, name: str, email: str | None) -> NotificationContact:
    """The addressee with the e-mail address that is shown. Without a row: who the event says, by `key` and `name`."""
    identity = row.id if row else contact_id(tenant, key)
    return NotificationContact(
        id=identity,
        href=f"{_ROOT}/contacts/{identity}",
        name=row.name if row else name,
        email=email,
        user=None if row is None or row.user is None else _user(row.user),
    )


def email_of(channel: Channel, *, destination: str | None, row: Contact | None, email: str | None) -> str | None:
    """The address that is shown: of an e-mail always the one really used, also when the table says otherwise; else the
    row's, and without that `email`, the event's."""
    if CHANNELS[channel].address is AddressKind.EMAIL:
        return destination
    return row.email if row and row.email else email


def _user(user: ContactUser) -> NotificationUser:
    return NotificationUser(user.id, f"/accounts/users/{user.id}", user.name, user.email)


def category_of(identity: str | None, row: Category | None) -> NotificationCategory | None:
    """The subject area with this id, with what its row says of it."""
    if identity is None:
        return None
    href = f"{_ROOT}/categories/{identity}"
    if row is None:
        return NotificationCategory(identity, href)
    return NotificationCategory(row.id, href, row.name, row.short_description)


def account_of(row: Account | None) -> NotificationAccount | None:
    """The customer organisation of a row."""
    if row is None:
        return None
    return NotificationAccount(row.id, f"/accounts/accounts/{row.id}", row.type, row.status, row.name, row.logo)


def owner_of(account: NotificationAccount | None) -> AuditOwner | None:
    """The same as `created` names it."""
    return None if account is None else AuditOwner(account.id, account.href, account.name, account.logo)
