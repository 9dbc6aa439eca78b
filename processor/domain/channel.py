"""How messages travel: one row of CHANNELS for each channel, with all that differs between them. Pure.

Another channel is a row here, a check in `mapping/address.py` if its addresses are of a new kind, and its symbol in the
published schemas.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from processor.domain.reasons import FailureReason


class Channel(StrEnum):
    """How a message travels: field `type`. Published."""

    EMAIL = "EMAIL"
    SMS = "SMS"
    WEB_HOOK = "WEB_HOOK"
    EVENT_STREAM = "EVENT_STREAM"
    TASK = "TASK"


class ContentType(StrEnum):
    """What a rendered body is, spelt as consumers of streams see it in `metadata.content_type`."""

    TEXT = "text/plain; charset=UTF-8"
    JSON = "application/json"
    XML = "application/xml"
    HTML = "text/html"


class RecipientKind(StrEnum):
    """Whom a template addresses; which person or group of the event that is, says `mapping/recipient.py`."""

    CLIENT = "CLIENT"
    GROUP = "GROUP"
    GROUP_ROLE = "GROUP_ROLE"
    CREDIT_OFFICER = "CREDIT_OFFICER"
    CUSTOM_FIELD = "CUSTOM_FIELD"


class AddressKind(StrEnum):
    """What a message's `destination` is."""

    EMAIL = "EMAIL"  #: One e-mail address.
    PHONE = "PHONE"  #: One phone number.
    USER = "USER"  #: The name by which a user of the bank logs in.
    URL = "URL"  #: Rendered from the template's [webhook].
    TOPIC = "TOPIC"  #: Of the event's stream; the message counts as SENT once it is written there.


@dataclass(frozen=True, slots=True)
class TextLimit:
    """A body longer than `limit_characters` fails for `failure`; one over `advised_characters` is a warning."""

    limit_characters: int
    advised_characters: int
    failure: FailureReason


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSpec:
    """What one channel is.

    `content_types` are the words that a template file may use; `default_content` is None where it has to use one.
    `recipients` are those that a template may address, empty for a channel to systems. `address_field` is the field
    of the recipient that has the address; `missing_address` how a message fails whose recipient has none.
    `starter_body` is the body of a new template.
    """

    address: AddressKind
    content_types: Mapping[str, ContentType]
    default_content: ContentType | None
    recipients: tuple[RecipientKind, ...]
    address_field: str | None = None
    missing_address: tuple[FailureReason, str] | None = None
    text_limit: TextLimit | None = None
    has_subject: bool = False
    has_attachments: bool = False
    has_notification: bool = False  #: Its recipient's portal shows a `Message`, which has a category.
    has_title: bool = False  #: The template's name goes with it.
    can_be_manual: bool = False  #: A person may send it, by a template with trigger MANUAL.
    for_frequent_events: bool = True  #: May announce what happens many times a day.
    starter_body: str

    @property
    def is_stream(self) -> bool:
        """Whether its messages are stream events: SENT once they are written to their topic."""
        return self.address is AddressKind.TOPIC

    @property
    def is_for_staff(self) -> bool:
        """Whether it is for users of the bank alone."""
        return self.recipients == (RecipientKind.CREDIT_OFFICER,)


_DOCUMENTS: Final[Mapping[str, ContentType]] = {  # for machines
    "application/json": ContentType.JSON,
    "APPLICATION_JSON": ContentType.JSON,
    "application/xml": ContentType.XML,
    "APPLICATION_XML": ContentType.XML,
    "text/plain; charset=UTF-8": ContentType.TEXT,
    "PLAIN_TEXT": ContentType.TEXT,
}
_STARTER_DOCUMENT: Final = '{"id": "{EVENT_ID}", "at": "{OCCURRED_AT}"}'

CHANNELS: Final[Mapping[Channel, ChannelSpec]] = {
    Channel.EMAIL: ChannelSpec(
        address=AddressKind.EMAIL,
        content_types={"text/html": ContentType.HTML, "text/plain": ContentType.TEXT},
        default_content=ContentType.HTML,
        recipients=tuple(RecipientKind),
        address_field="emailAddress",
        missing_address=(FailureReason.MISSING_EMAIL_RECIPIENT_ADDRESS, "the recipient has no e-mail address"),
        has_subject=True,
        has_attachments=True,
        has_notification=True,
        can_be_manual=True,
        for_frequent_events=False,
        starter_body="<p>Dear {RECIPIENT_NAME},</p><p>this happened on {OCCURRED_AT}.</p>",
    ),
    Channel.SMS: ChannelSpec(
        address=AddressKind.PHONE,
        content_types={},
        default_content=ContentType.TEXT,
        recipients=tuple(RecipientKind),
        address_field="mobilePhone",
        missing_address=(FailureReason.MISSING_SMS_RECIPIENT, "the recipient has no mobile phone number"),
        text_limit=TextLimit(limit_characters=1600, advised_characters=160, failure=FailureReason.SMS_TOO_LONG),
        has_notification=True,
        can_be_manual=True,
        starter_body="Dear {RECIPIENT_NAME}, this happened on {OCCURRED_AT}.",
    ),
    Channel.WEB_HOOK: ChannelSpec(
        address=AddressKind.URL,
        content_types=_DOCUMENTS,
        default_content=None,
        recipients=(),
        starter_body=_STARTER_DOCUMENT,
    ),
    Channel.EVENT_STREAM: ChannelSpec(
        address=AddressKind.TOPIC,
        content_types=_DOCUMENTS,
        default_content=None,
        recipients=(),
        starter_body=_STARTER_DOCUMENT,
    ),
    Channel.TASK: ChannelSpec(
        address=AddressKind.USER,
        content_types={},
        default_content=ContentType.TEXT,
        recipients=(RecipientKind.CREDIT_OFFICER,),
        address_field="id",  # of a bank's user: the name to log in with
        has_title=True,
        starter_body="Look after {EVENT_ID} of {OCCURRED_AT}.",
    ),
}
