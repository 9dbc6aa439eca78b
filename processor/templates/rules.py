"""The numbered rules of templates: the codes that `processor check` shows, what each says, and what breaks it.

Another rule is a member of RuleCode, a row here, and a check that yields it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


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


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, for authors. `example` is a file `note.toml` that breaks it.

    `found_by_check` is False for what only `run` sees, as it needs a reference table.
    """

    code: RuleCode
    title: str
    explanation: str
    example: str
    found_by_check: bool = True


_SMS: Final[Mapping[str, str]] = {  # field -> its value in TOML, of a template that breaks no rule
    "id": '"note"',
    "version": "1",
    "name": '"Note"',
    "type": '"SMS"',
    "event": '"LOAN_REPAYMENT"',
    "target": '"LOANS"',
    "recipient": '"CLIENT"',
    "subscription": '"OPT_OUT"',
    "body": '"Dear {RECIPIENT_NAME}, we received {TRANSACTION_AMOUNT}."',
}
_EMAIL: Final = {**_SMS, "type": '"EMAIL"', "subject": '"Thank you"'}
_WEBHOOK: Final = {
    **{name: value for name, value in _SMS.items() if name != "recipient"},
    "type": '"WEB_HOOK"',
    "content_type": '"application/json"',
    "body": '\'{"account": "{ACCOUNT_ID}"}\'',
}


def _file(fields: Mapping[str, str], *tables: str, without: str = "", **changes: str) -> str:
    """A file of `fields` with `changes` among them, then its tables."""
    lines = [f"{name} = {value}" for name, value in {**fields, **changes}.items() if name != without]
    return "\n".join((*lines, *tables)) + "\n"


_RULES: Final = (
    Rule(
        RuleCode.NAME,
        "A name of its own",
        "`name` is one line of 1 to 255 characters without placeholders, as it is the same for all messages. No two "
        "files have the same name, whatever its case.",
        _file(_SMS, name='""'),
    ),
    Rule(
        RuleCode.IDENTITY,
        "An id that names the file, a key that stays",
        "`id` is 1 to 63 of a-z, 0-9 and -, and the file is called so. `key` is 32 hexadecimal digits in lower "
        "case; left out it is made of the id. Neither is another file's. A text that has been used under a version "
        "is never changed without raising the version.",
        _file(_SMS, id='"Note"'),
    ),
    Rule(
        RuleCode.EVENT,
        "Events that there are",
        "`event` is the name of an event or a list of names, each once. A template with trigger MANUAL, which a "
        "person sends, has the one event MANUAL. DO_NOTHING never occurs.",
        _file(_SMS, event='"LOAN_REPAID"'),
    ),
    Rule(
        RuleCode.CHANNEL,
        "A channel for each event",
        "Each event of the template may be sent by the channel in `type`. The installation can allow more and "
        "fewer, by PROCESSOR_CHANNELS__OVERRIDES.",
        _file(_SMS, event='"CARDS_AUTHORISATION_HOLD_CREATED"', target='"SAVINGS"', body='"Dear {RECIPIENT_NAME}"'),
    ),
    Rule(
        RuleCode.TARGET,
        "What the events are about",
        "`target` is what each event is about, or a holder that its family has: CLIENT or GROUP. Fees, penalties "
        "and changed interest rates may be about SAVINGS too.",
        _file(_SMS, target='"SAVINGS"'),
    ),
    Rule(
        RuleCode.RECIPIENT,
        "A recipient that fits",
        "EMAIL and SMS need a `recipient`; a TASK is for CREDIT_OFFICER; WEB_HOOK and EVENT_STREAM have none. GROUP "
        "and GROUP_ROLE do not go with target CLIENT, nor CLIENT with target GROUP.",
        _file(_SMS, recipient='"GROUP"', target='"CLIENT"'),
    ),
    Rule(
        RuleCode.RECIPIENT_DETAIL,
        "The role or field of a recipient",
        "Recipient GROUP_ROLE needs `recipient_role`, and CUSTOM_FIELD needs `recipient_field`. No other has them.",
        _file(_SMS, recipient='"GROUP_ROLE"'),
    ),
    Rule(
        RuleCode.SUBJECT,
        "A subject of one line",
        "An EMAIL has a `subject` of one line, in each language; no other type has one.",
        _file(_SMS, type='"EMAIL"'),
    ),
    Rule(
        RuleCode.BODY,
        "A body",
        "Each language has a `body` or names a UTF-8 file by `body_file`, not both, and it is not blank.",
        _file(_SMS, body='" "'),
    ),
    Rule(
        RuleCode.SMS_LENGTH,
        "An SMS that can be sent",
        "The fixed text of an SMS has at most 1,600 characters. Over 160, where several are charged, and with "
        "emoji, which gateways may refuse, it is a warning.",
        _file(_SMS, body=f'"{"Thank you. " * 160}"'),
    ),
    Rule(
        RuleCode.CONTENT_TYPE,
        "What a body is",
        "WEB_HOOK and EVENT_STREAM need a `content_type`. An EMAIL is text/html, or text/plain where it says so; "
        "SMS and TASK have none.",
        _file(_WEBHOOK, '[webhook]\nurl = "https://hooks.example.com/"', without="content_type"),
    ),
    Rule(
        RuleCode.DOCUMENT,
        "A whole document, whatever the values",
        "JSON and XML bodies parse with a sample for each placeholder and when every value is missing; encodings "
        "are UTF-8. No placeholder stands where its value cannot be escaped, nor where an event would choose what a "
        "link leads to.",
        _file(_WEBHOOK, '[webhook]\nurl = "https://hooks.example.com/"', body='\'{"account": "{ACCOUNT_ID}"\''),
    ),
    Rule(
        RuleCode.PLACEHOLDER,
        "Placeholders that there are",
        "Each placeholder is one that every event of the template has. FORMAT and FORMAT_DATE have a pattern that "
        "their value can be written by.",
        _file(_SMS, body='"Dear {RECIPIENT_NAM}"'),
    ),
    Rule(
        RuleCode.WEBHOOK_URL,
        "The address of a webhook",
        "`url` is absolute and https, without a user. Scheme and host are fixed text: no event sends a message "
        "elsewhere. PROCESSOR_WEBHOOK__ALLOW_HTTP allows http, for tests.",
        _file(_WEBHOOK, '[webhook]\nurl = "http://hooks.example.com/"'),
    ),
    Rule(
        RuleCode.WEBHOOK_HEADER,
        "The headers of a webhook",
        "Names are legal and unique, whatever their case, and none that the sender sets itself. Values are one line "
        "of ASCII without placeholders.",
        _file(_WEBHOOK, '[webhook]\nurl = "https://hooks.example.com/"\nheaders = {Host = "example.com"}'),
    ),
    Rule(
        RuleCode.WEBHOOK_AUTHORIZATION,
        "How a webhook's sender is known",
        "BASIC_AUTHORIZATION needs `username` and `password_env`, the environment variable with the password. "
        "Without it there are neither, and with it no header Authorization.",
        _file(_WEBHOOK, '[webhook]\nurl = "https://hooks.example.com/"\nauthorization = "BASIC_AUTHORIZATION"'),
    ),
    Rule(
        RuleCode.TRIGGER_DAYS,
        "The days of a reminder",
        "`trigger_days` goes with event REPAYMENT_REMINDER only: -365 to 365 days until the instalment is due, "
        "negative once it is overdue.",
        _file(_SMS, trigger_days="3"),
    ),
    Rule(
        RuleCode.CONDITION,
        "Conditions that can be true",
        "`field` is a placeholder of each event or a custom field; `operator` is one for its type, with the "
        "operands that it takes, each of which can be compared with a value of that type.",
        _file(_SMS, '[[condition]]\nfield = "TRANSACTION_AMOUNT"\noperator = "MORE_THAN"\nvalue = "much"'),
    ),
    Rule(
        RuleCode.SAMPLE,
        "Samples that give what they expect",
        "Each `[[sample]]` names an event of the template, in JSON, and what its message has. A template without "
        "one is a warning, as is a field of a sample's event that the schema does not have.",
        _file(
            _SMS,
            '[[sample]]\nname = "first"\nevent = "samples/loan-repayment.json"\nexpected.body = "Dear Ada Byron"',
        ),
    ),
    Rule(
        RuleCode.CATEGORY,
        "A category that there is",
        "`category` has a row in the category table, once that table has any. `run` warns of one without.",
        _file(_SMS, category='"NTC-0000-0000"'),
        found_by_check=False,
    ),
    Rule(
        RuleCode.DISGUISED_PLACEHOLDER,
        "Text that looks like a placeholder",
        "What an editor has encoded, split by markup or spelt with other letters would be sent as it stands. Double "
        "braces, which other systems fill in, are a warning.",
        _file(_SMS, body='"Dear %7BRECIPIENT_NAME%7D"'),
    ),
    Rule(
        RuleCode.FORMAT_PATTERN,
        "A pattern that writes what is meant",
        "Patterns of FORMAT and FORMAT_DATE are CLDR's. What is nearly always a mistake, as MM for minutes, is a "
        "warning with the pattern that was probably meant.",
        _file(_SMS, body='"On FORMAT_DATE{OCCURRED_AT,datePattern=DD.MM.YYYY}"'),
    ),
)

RULES: Final[Mapping[RuleCode, Rule]] = {rule.code: rule for rule in _RULES}
"""All rules, in the order of their codes."""
