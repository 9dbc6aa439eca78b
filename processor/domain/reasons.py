"""Why a record or a template made no message. Closed lists."""

from enum import StrEnum
from typing import Final

DETAIL_LIMIT_CHARACTERS: Final = 1000  #: Of the text beside a reason, in decisions and dead letters.


class Reason(StrEnum):
    """Why a record is a dead letter (header `dl.reason`); never the network or the registry."""

    BAD_FRAME = "BAD_FRAME"  #: No frame: wrong magic byte, under 5 bytes, bad schema header.
    UNKNOWN_SCHEMA = "UNKNOWN_SCHEMA"  #: The registry has no such id, or refused it for long.
    INCOMPATIBLE_SCHEMA = "INCOMPATIBLE_SCHEMA"  #: Our schema of the event cannot read what was written by it.
    UNKNOWN_EVENT = "UNKNOWN_EVENT"  #: The event's name is not known; MANUAL and DO_NOTHING on input too.
    INVALID_EVENT = "INVALID_EVENT"  #: Anything else in the content: cut short, bytes left over, a type, a range.
    MISSING_KEY = "MISSING_KEY"  #: The record has no key.
    WRONG_KEY = "WRONG_KEY"  #: The key is not the event's ordering key, and the check is strict.
    EVENT_TOO_LARGE = "EVENT_TOO_LARGE"  #: Over PROCESSOR_MAX_EVENT_BYTES.
    TEMPLATE_FAILED = "TEMPLATE_FAILED"  #: At least one template could not be rendered; which ones is in `dl.failed`.
    MAPPING_ERROR = "MAPPING_ERROR"  #: Mapping raised an error for it, alone and twice: a bug.
    OUTPUT_REFUSED = "OUTPUT_REFUSED"  #: The broker refused its outputs, with an error that concerns this record.
    OTHER = "OTHER"  #: Read back from a newer version's dead letter; its word is in the detail.


class TemplateReason(StrEnum):
    """Why one template failed for one record (entries of `dl.failed`)."""

    MISSING_VALUE = "MISSING_VALUE"  #: A placeholder without a value, under `strict` or in the path of an address.
    LOOKUP_MISSING = "LOOKUP_MISSING"  #: A row of a reference table is invalid, or missing where that fails.
    INVALID_JSON_BODY_SYNTAX = "INVALID_JSON_BODY_SYNTAX"  #: Of older records: no body of a template that loads.
    MAX_MESSAGE_SIZE_LIMIT_EXCEEDED = "MAX_MESSAGE_SIZE_LIMIT_EXCEEDED"  #: An output over its topic's limit.
    TEMPLATE_SUSPENDED = "TEMPLATE_SUSPENDED"  #: The template was suspended; a redrive makes the message.
    OTHER = "OTHER"  #: A value that a link or FORMAT cannot have, say; the detail says which.


class DecisionReason(StrEnum):
    """Why a message was not created, in the order of the checks (`communications.decisions`); the last is no check of
    `run`."""

    EMPTY_RECORD = "EMPTY_RECORD"  #: Tombstone: null or zero bytes. One per record.
    TENANT_DISABLED = "TENANT_DISABLED"  #: Not the tenant of this installation. One per record.
    DUPLICATE_EVENT = "DUPLICATE_EVENT"  #: Sent before, within the deduplication window. One per record.
    NO_TEMPLATE = "NO_TEMPLATE"  #: No template names this event. One per record; all below are per template.
    INACTIVE = "INACTIVE"  #: The template is switched off.
    CHANNEL_DISABLED = "CHANNEL_DISABLED"  #: Its channel is switched off.
    TARGET_MISMATCH = "TARGET_MISMATCH"  #: The holder or the account is of another kind than the template's target.
    CONDITION_FALSE = "CONDITION_FALSE"  #: Its conditions do not hold, or `trigger_days` differs.
    NO_RECIPIENT = "NO_RECIPIENT"  #: The event has no such recipient: no credit officer, no holder.
    NOT_SUBSCRIBED = "NOT_SUBSCRIBED"  #: Opted out, or never opted in.
    CONTACT_BLOCKED = "CONTACT_BLOCKED"  #: The contact is blocked; a Discarded `Message` is written.
    CATEGORY_OPTED_OUT = "CATEGORY_OPTED_OUT"  #: Contact or account left the category; a Discarded one too.
    ALREADY_CREATED = "ALREADY_CREATED"  #: A past operation found that it exists. One per record, or per template.


class FailureReason(StrEnum):
    """Why a message is FAILED. The published list, in its order (tests compare it with `failure-reasons.csv`)."""

    MESSAGING_EXCEPTION = "MESSAGING_EXCEPTION"
    INVALID_SMTP_CREDENTIALS = "INVALID_SMTP_CREDENTIALS"
    UNSUPPORTED_ENCODING_EXCEPTION = "UNSUPPORTED_ENCODING_EXCEPTION"
    EMAIL_SERVICE_NOT_ENABLED = "EMAIL_SERVICE_NOT_ENABLED"
    SMS_TOO_LONG = "SMS_TOO_LONG"
    SMS_SERVICE_NOT_ENABLED = "SMS_SERVICE_NOT_ENABLED"
    SMS_NOT_SENT = "SMS_NOT_SENT"
    SMS_SERVICE_ERROR = "SMS_SERVICE_ERROR"
    SMS_CONNECTION_EXCEPTION = "SMS_CONNECTION_EXCEPTION"
    WEBHOOK_NOTIFICATIONS_DISABLED = "WEBHOOK_NOTIFICATIONS_DISABLED"
    INVALID_HTTP_RESPONSE = "INVALID_HTTP_RESPONSE"
    HTTP_ERROR_WHILE_SENDING = "HTTP_ERROR_WHILE_SENDING"
    INVALID_JSON_BODY_SYNTAX = "INVALID_JSON_BODY_SYNTAX"
    MISSING_TEMPLATE_KEY = "MISSING_TEMPLATE_KEY"
    MAX_MESSAGE_SIZE_LIMIT_EXCEEDED = "MAX_MESSAGE_SIZE_LIMIT_EXCEEDED"
    UNDEFINED_DESTINATION = "UNDEFINED_DESTINATION"
    INVALID_HTTP_PROTOCOL = "INVALID_HTTP_PROTOCOL"
    BLACKLISTED_URL = "BLACKLISTED_URL"
    INVALID_SMS_GATEWAY_CREDENTIALS = "INVALID_SMS_GATEWAY_CREDENTIALS"
    MISSING_SMS_RECIPIENT = "MISSING_SMS_RECIPIENT"
    SMS_GATEWAY_ERROR = "SMS_GATEWAY_ERROR"
    MISSING_EMAIL_RECIPIENT_ADDRESS = "MISSING_EMAIL_RECIPIENT_ADDRESS"
    OTHER = "OTHER"
