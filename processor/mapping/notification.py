"""The `Message` of a birth: what the portal of an e-mail's or SMS's recipient shows from its first moment on. Pure."""

from typing import Final

from processor.errors import OurFaultError
from processor.mapping.recipient import Recipient
from processor.mapping.template import Template
from processor.model.event import Event
from processor.model.ids import batch_id, contact_id, notification_id
from processor.model.messages import Channel, Communicationmessage
from processor.model.notifications import (
    Actor,
    AuditEvent,
    Notification,
    NotificationCategory,
    NotificationContact,
    StatusMap,
)

NOTIFIED: Final = frozenset((Channel.EMAIL, Channel.SMS))
"""The channels that have a Message."""

_ROOT: Final = "/v1/notifications"


def born_notification(
    message: Communicationmessage,
    template: Template,
    person: Recipient,
    event: Event,
    *,
    statuses: StatusMap,
    actor: Actor,
) -> Notification:
    """The first Message of `message`, which is an e-mail or SMS to `person`.

    No look-up table is asked: the contact is who the event says, without a user; there is no account. `audit` has
    `created` and what came of it at once (queued, or how it failed), at the message's birth.
    """
    if message.encodedKey is None or message.creationDate is None or message.state is None:
        raise OurFaultError("a message was born without key, time or state")
    status = statuses[message.failureReason or message.state]
    identity = notification_id(message.encodedKey)
    happened = AuditEvent(message.creationDate, actor)
    return Notification(
        id=identity,
        href=f"{_ROOT}/messages/{identity}",
        batch=batch_id(event.tenant, event.id, template.id),
        contact=_contact(message, person, event),
        status=status,
        subject=message.subject,
        category=_category(template),
        body=message.body or "",
        attachments=template.attachments,
        audit={"created": happened, status.value.lower(): happened},
    )


def _contact(message: Communicationmessage, person: Recipient, event: Event) -> NotificationContact:
    identity = contact_id(event.tenant, person.key)
    return NotificationContact(
        id=identity,
        href=f"{_ROOT}/contacts/{identity}",
        name=person.fields["name"],
        email=message.destination if message.type is Channel.EMAIL else person.fields["emailAddress"],
    )


def _category(template: Template) -> NotificationCategory | None:
    if template.category is None:
        return None
    return NotificationCategory(template.category, f"{_ROOT}/categories/{template.category}")
