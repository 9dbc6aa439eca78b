"""The `Message` of a created message: what the portal of an e-mail's or SMS's recipient shows at first. Pure."""

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
from processor.domain.reference import ContactUser
from processor.errors import InternalError
from processor.mapping.draft import Draft
from processor.mapping.recipient import Recipient
from processor.mapping.reference import RecipientData

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
    account = _account(data)
    owner = None if account is None else AuditOwner(account.id, account.href, account.name, account.logo)
    return Notification(
        id=identity,
        href=f"{_ROOT}/messages/{identity}",
        batch=batch_id(event.tenant, event.id, draft.template.id),
        contact=_contact(message, recipient, event, data),
        account=account,
        status=status,
        subject=message.subject,
        category=_category(data),
        body=message.body or "",
        attachments=draft.template.attachments,
        audit={
            "created": AuditEvent(message.creationDate, actor, owner),
            status.value.lower(): AuditEvent(message.creationDate, actor),
        },
    )


def _contact(
    message: Communicationmessage, recipient: Recipient, event: EventHead, data: RecipientData
) -> NotificationContact:
    """An e-mail's address is always the one really used, also when the table says otherwise."""
    row = data.contact
    identity = row.id if row else contact_id(event.tenant, recipient.key)
    known_email = row.email if row and row.email else recipient.fields["emailAddress"]
    return NotificationContact(
        id=identity,
        href=f"{_ROOT}/contacts/{identity}",
        name=row.name if row else recipient.fields["name"],
        email=message.destination if _is_email(message.type) else known_email,
        user=None if row is None or row.user is None else _user(row.user),
    )


def _is_email(channel: Channel | None) -> bool:
    return channel is not None and CHANNELS[channel].address is AddressKind.EMAIL


def _user(user: ContactUser) -> NotificationUser:
    return NotificationUser(user.id, f"/accounts/users/{user.id}", user.name, user.email)


def _category(data: RecipientData) -> NotificationCategory | None:
    if data.category_id is None:
        return None
    row, href = data.category, f"{_ROOT}/categories/{data.category_id}"
    if row is None:
        return NotificationCategory(data.category_id, href)
    return NotificationCategory(row.id, href, row.name, row.short_description)


def _account(data: RecipientData) -> NotificationAccount | None:
    row = data.account
    if row is None:
        return None
    return NotificationAccount(row.id, f"/accounts/accounts/{row.id}", row.type, row.status, row.name, row.logo)
