"""The `Message` that a recipient's portal shows of an e-mail or SMS: record `notifications.Message`.

Shape and statuses: https://docs.platform.softwareone.com (notifications API). Field names are as on the wire; times
are milliseconds since the epoch.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from processor.domain.message import State
from processor.domain.reasons import FailureReason

CATEGORY_ID: Final = re.compile(r"NTC-\d{4}-\d{4}", re.ASCII)


class StatusSet(StrEnum):
    """Which statuses a Message may have."""

    PUBLISHED = "published"
    EXTENDED = "extended"  #: Failed too, for what could not be sent.


class NotificationStatus(StrEnum):
    """Where a Message is, as its recipient sees it. All but Failed are published; readers may meet others."""

    QUEUED = "Queued"
    SENT = "Sent"
    BOUNCED = "Bounced"
    COMPLAINED = "Complained"
    DISCARDED = "Discarded"
    FAILED = "Failed"  #: In the extended set only.


_N: Final = NotificationStatus

# A status for each StatusSet. Offered to the other side and not taken: Bounced. Never offered: Discarded.
_STATUSES: Final[Mapping[State | FailureReason, tuple[NotificationStatus, NotificationStatus]]] = {
    State.QUEUED: (_N.QUEUED, _N.QUEUED),
    State.QUEUED_FOR_STREAM: (_N.QUEUED, _N.QUEUED),
    State.WAITING: (_N.QUEUED, _N.QUEUED),
    State.SENDING_ASYNC: (_N.QUEUED, _N.QUEUED),
    State.SENT: (_N.SENT, _N.SENT),
    FailureReason.MESSAGING_EXCEPTION: (_N.BOUNCED, _N.FAILED),
    FailureReason.INVALID_SMTP_CREDENTIALS: (_N.DISCARDED, _N.FAILED),
    FailureReason.UNSUPPORTED_ENCODING_EXCEPTION: (_N.DISCARDED, _N.FAILED),
    FailureReason.EMAIL_SERVICE_NOT_ENABLED: (_N.DISCARDED, _N.DISCARDED),
    FailureReason.SMS_TOO_LONG: (_N.DISCARDED, _N.FAILED),
    FailureReason.SMS_SERVICE_NOT_ENABLED: (_N.DISCARDED, _N.DISCARDED),
    FailureReason.SMS_NOT_SENT: (_N.BOUNCED, _N.BOUNCED),
    FailureReason.SMS_SERVICE_ERROR: (_N.BOUNCED, _N.FAILED),
    FailureReason.SMS_CONNECTION_EXCEPTION: (_N.BOUNCED, _N.FAILED),
    FailureReason.WEBHOOK_NOTIFICATIONS_DISABLED: (_N.DISCARDED, _N.DISCARDED),
    FailureReason.INVALID_HTTP_RESPONSE: (_N.BOUNCED, _N.FAILED),
    FailureReason.HTTP_ERROR_WHILE_SENDING: (_N.BOUNCED, _N.FAILED),
    FailureReason.INVALID_JSON_BODY_SYNTAX: (_N.DISCARDED, _N.FAILED),
    FailureReason.MISSING_TEMPLATE_KEY: (_N.DISCARDED, _N.FAILED),
    FailureReason.MAX_MESSAGE_SIZE_LIMIT_EXCEEDED: (_N.DISCARDED, _N.FAILED),
    FailureReason.UNDEFINED_DESTINATION: (_N.DISCARDED, _N.FAILED),
    FailureReason.INVALID_HTTP_PROTOCOL: (_N.DISCARDED, _N.FAILED),
    FailureReason.BLACKLISTED_URL: (_N.DISCARDED, _N.DISCARDED),
    FailureReason.INVALID_SMS_GATEWAY_CREDENTIALS: (_N.DISCARDED, _N.FAILED),
    FailureReason.MISSING_SMS_RECIPIENT: (_N.DISCARDED, _N.FAILED),
    FailureReason.SMS_GATEWAY_ERROR: (_N.BOUNCED, _N.FAILED),
    FailureReason.MISSING_EMAIL_RECIPIENT_ADDRESS: (_N.DISCARDED, _N.FAILED),
    FailureReason.OTHER: (_N.BOUNCED, _N.FAILED),
}

StatusMap = Mapping[str, NotificationStatus]
"""State, or of a FAILED message its failureReason -> the Message's status. Total: 5 states and 23 reasons."""


def status_map(
    status_set: StatusSet = StatusSet.PUBLISHED, changes: Mapping[str, NotificationStatus] | None = None
) -> StatusMap:
    """The table of one of the two sets, with an installation's own `changes` to it."""
    column = list(StatusSet).index(status_set)
    return MappingProxyType({word.value: row[column] for word, row in _STATUSES.items()} | dict(changes or {}))


@dataclass(frozen=True, slots=True)
class NotificationUser:
    """The user of the platform that a contact is."""

    id: str
    href: str
    name: str
    email: str | None = None


@dataclass(frozen=True, slots=True)
class NotificationContact:
    """The addressee. `email` is the address really used, of an SMS the event's, if any."""

    id: str
    href: str
    name: str
    email: str | None = None
    user: NotificationUser | None = None


@dataclass(frozen=True, slots=True)
class NotificationAccount:
    """The customer organisation; not a bank account."""

    id: str
    href: str
    type: str | None = None
    status: str | None = None
    name: str | None = None
    logo: str | None = None


@dataclass(frozen=True, slots=True)
class NotificationCategory:
    """The subject area, which a contact may leave."""

    id: str
    href: str
    name: str | None = None
    shortDescription: str | None = None  # noqa: N815  published spelling, here and below


@dataclass(frozen=True, slots=True)
class Attachment:
    """A reference to a file, never its bytes. `fileSize` in bytes."""

    id: str
    name: str
    contentType: str  # noqa: N815
    fileSize: int  # noqa: N815
    fileName: str  # noqa: N815
    href: str


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something."""

    id: str
    name: str
    icon: str | None = None


PROCESSOR: Final = Actor("UR-0000-0000-0000", "Processor")


@dataclass(frozen=True, slots=True)
class AuditOwner:
    """The account, as `created` names it."""

    id: str
    href: str
    name: str | None = None
    icon: str | None = None


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """The latest time that something happened."""

    at: int
    by: Actor
    of: AuditOwner | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One Message. `audit`: happening -> its latest occurrence. None, here and within, is absent in JSON.

    What links it back is the record's key, the encodedKey; its `id` is a label that another Message may share.
    """

    id: str
    href: str
    batch: str
    contact: NotificationContact
    account: NotificationAccount | None = None
    status: NotificationStatus
    subject: str | None = None
    category: NotificationCategory | None = None
    body: str
    attachments: tuple[Attachment, ...] = ()
    audit: Mapping[str, AuditEvent]
