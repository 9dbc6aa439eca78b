"""The numbered rules of templates: the codes that `processor check` shows."""

from enum import StrEnum


class RuleCode(StrEnum):
    """The code of each rule, as `processor check` shows it. Published."""

    NAME = "T01"
    IDENTITY = "T02"
    EVENT = "T03"
    CHANNEL = "T04"
    TARGET = "T05"
    RECIPIENT = "T06"
    RECIPIENT_DETAIL = "T07"
    SUBJECT = "T08"
    BODY = "T09"
    SMS_LENGTH = "T10"
    CONTENT_TYPE = "T11"
    DOCUMENT = "T12"
    PLACEHOLDER = "T13"
    WEBHOOK_URL = "T14"
    WEBHOOK_HEADER = "T15"
    WEBHOOK_AUTHORIZATION = "T16"
    TRIGGER_DAYS = "T17"
    CONDITION = "T18"
    SAMPLE = "T19"
    CATEGORY = "T20"
    DISGUISED_PLACEHOLDER = "T21"
    FORMAT_PATTERN = "T22"
