"""Template files of loads with more than one template: forty for the mix, or any number for all events."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Final

from processor.domain.catalogue import EVENTS, Target
from processor.domain.channel import CHANNELS, Channel, RecipientKind
from processor.domain.placeholders import PLACEHOLDERS, PlaceholderType
from processor.domain.record import EventName

CATEGORIES: Final = ("NTC-3300-0041", "NTC-3300-0042", "NTC-3300-0045")
SHOWN: Final = 6  # values in each text, at most
SUBJECTS: Final = ("Überblick für {RECIPIENT_NAME}", "About {EVENT}", "News of {OCCURRED_AT}")  # one is not ASCII


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a template file; `operands` as the file has them."""

    placeholder: str
    operator: str
    operands: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MixEvent:
    """An event of the mix: a template for each of `channels`, with values out of `values`.

    All templates have the first condition, every second one the others too.
    """

    name: EventName
    channels: Sequence[Channel]
    values: Sequence[str]
    conditions: Sequence[Condition]


_C = Channel

MIX: Final = (
    MixEvent(
        EventName("CLIENT_CREATED"),
        (_C.EMAIL,),
        ("CLIENT_NAME", "CLIENT_ID", "BRANCH_NAME", "ID_DOCUMENT_NUMBER", "CLIENT_BIRTH_DATE", "CF:CLIENT:Segment"),
        (Condition("CLIENT_STATE", "IN", {"values": ["PENDING_APPROVAL", "ACTIVE"]}),),
    ),
    MixEvent(
        EventName("PORTAL_ACTIVATED"),
        (_C.EMAIL, _C.WEB_HOOK),
        ("CLIENT_NAME", "PASSWORD_URL", "CLIENT_ID", "BRANCH_NAME", "USER_NAME", "CREDIT_OFFICER_NAME"),
        (Condition("BRANCH_ID", "STARTS_WITH", {"value": "K"}),),
    ),
    MixEvent(
        EventName("CREDIT_ARRANGEMENT_APPROVED"),
        (_C.EMAIL, _C.EVENT_STREAM, _C.WEB_HOOK),
        (
            "LINE_OF_CREDIT_ID",
            "LINE_OF_CREDIT_STATE",
            "APPROVED_CREDIT_AMOUNT",
            "CREDIT_CURRENCY",
            "LINE_OF_CREDIT_VALID_UNTIL",
            "CLIENT_NAME",
            "LINE_OF_CREDIT_NOTES",
        ),
        (Condition("APPROVED_CREDIT_AMOUNT", "MORE_THAN", {"value": 0}), Condition("CREDIT_CURRENCY", "NOT_EMPTY")),
    ),
    MixEvent(
        EventName("JOURNAL_ENTRY_ADDED"),
        (_C.WEB_HOOK, _C.EVENT_STREAM, _C.WEB_HOOK),
        (
            "GL_ACCOUNT_CODE",
            "GL_ACCOUNT_NAME",
            "JOURNAL_ENTRY_AMOUNT",
            "JOURNAL_ENTRY_CURRENCY",
            "JOURNAL_ENTRY_DATE",
            "JOURNAL_ENTRY_NOTES",
        ),
        (
            Condition("JOURNAL_ENTRY_AMOUNT", "MORE_THAN", {"value": 0}),
            Condition("GL_ACCOUNT_CODE", "STARTS_WITH", {"value": "5"}),
        ),
    ),
    MixEvent(
        EventName("CARDS_AUTHORISATION_HOLD_CREATED"),
        (_C.WEB_HOOK, _C.EVENT_STREAM, _C.WEB_HOOK, _C.WEB_HOOK),
        (
            "HOLD_ID",
            "HOLD_STATE",
            "HOLD_AMOUNT",
            "HOLD_CURRENCY",
            "MERCHANT_NAME",
            "MERCHANT_CITY",
            "CLIENT_NAME",
            "AVAILABLE_BALANCE",
        ),
        (
            Condition("HOLD_AMOUNT", "MORE_THAN", {"value": 0}),
            Condition("MERCHANT_COUNTRY", "EQUALS", {"value": "deu"}),
        ),
    ),
    MixEvent(
        EventName("CLIENT_ACTIVITY"),
        (_C.SMS, _C.WEB_HOOK, _C.EVENT_STREAM, _C.SMS),
        ("ACTIVITY_TYPE", "CLIENT_NAME", "OCCURRED_AT", "USER_NAME", "BRANCH_NAME", "CREDIT_OFFICER_NAME"),
        (
            Condition("ACTIVITY_TYPE", "EQUALS", {"value": "CLIENT_EDITED"}),
            Condition("TRANSACTION_COMMENT", "NOT_EMPTY"),
        ),
    ),
    MixEvent(
        EventName("SAVINGS_APPROVAL"),
        (_C.EMAIL, _C.SMS, _C.EVENT_STREAM, _C.WEB_HOOK, _C.EMAIL),
        (
            "ACCOUNT_ID",
            "ACCOUNT_NAME",
            "PRODUCT_NAME",
            "CURRENCY_CODE",
            "CLIENT_NAME",
            "BRANCH_NAME",
            "CF:SAVINGS:Purpose",
        ),
        (
            Condition("ACCOUNT_KIND", "EQUALS", {"value": "DEPOSIT"}),
            Condition("CURRENCY_CODE", "IN", {"values": ["EUR", "USD"]}),
        ),
    ),
    MixEvent(
        EventName("LOAN_REPAYMENT"),
        (_C.EVENT_STREAM, _C.EMAIL, _C.SMS, _C.WEB_HOOK, _C.EMAIL, _C.WEB_HOOK),
        (
            "ACCOUNT_ID",
            "CLIENT_NAME",
            "TRANSACTION_AMOUNT",
            "TOTAL_BALANCE",
            "CURRENCY_CODE",
            "TRANSACTION_DATE",
            "TRANSACTION_METHOD",
            "PRINCIPAL_AMOUNT",
            "CF:LOAN:Risk Score",
            "REPAYMENT_SCHEDULE",
        ),
        (
            Condition("TRANSACTION_AMOUNT", "MORE_THAN", {"value": 0}),
            Condition("TRANSACTION_DATE", "AFTER", {"value": "2025-12-31"}),
        ),
    ),
    MixEvent(
        EventName("SAVINGS_DEPOSIT"),
        (_C.EVENT_STREAM, _C.SMS, _C.EMAIL, _C.WEB_HOOK, _C.SMS, _C.WEB_HOOK),
        (
            "ACCOUNT_ID",
            "CLIENT_NAME",
            "TRANSACTION_AMOUNT",
            "AVAILABLE_BALANCE",
            "CURRENCY_CODE",
            "TRANSACTION_DATE",
            "TRANSACTION_METHOD",
            "CF:SAVINGS:Purpose",
        ),
        (
            Condition("TRANSACTION_AMOUNT", "MORE_THAN", {"value": 0}),
            Condition("TRANSACTION_TYPE", "DIFFERENT_THAN", {"value": "WITHDRAWAL"}),
        ),
    ),
    MixEvent(
        EventName("ACCOUNT_IN_ARREARS"),
        (_C.EMAIL, _C.SMS, _C.WEB_HOOK, _C.EVENT_STREAM, _C.EMAIL, _C.WEB_HOOK),
        (
            "ACCOUNT_ID",
            "GROUP_NAME",
            "TOTAL_DUE",
            "CURRENCY_CODE",
            "PRINCIPAL_DUE",
            "PENALTY_DUE",
            "INTEREST_RATE",
            "DISBURSEMENT_DATE",
            "REPAYMENT_SCHEDULE",
        ),
        (
            Condition("TOTAL_DUE", "MORE_THAN", {"value": 0}),
            Condition("TOTAL_DUE", "BETWEEN", {"value": 1, "second_value": 100_000}),
        ),
    ),
)
"""Ten families, forty templates, one to six for an event."""


def write_mix(folder: Path) -> None:
    """Write the templates of the mix."""
    _write(
        folder,
        (
            (event.name, channel, _rotated(event.values, number), event.conditions[: 1 + number % 2])
            for event in MIX
            for number, channel in enumerate(event.channels)
        ),
    )


def write_many(folder: Path, count: int) -> None:
    """Write `count` templates, in turn for each event that there is and each of its channels, without conditions."""
    _write(folder, islice(_turns(), count))


_File = tuple[EventName, Channel, Sequence[str], Sequence[Condition]]


def _turns() -> Iterator[_File]:
    turn = 0
    while True:
        for row in EVENTS.values():
            channels = [channel for channel in Channel if channel in row.channels]
            values = [
                placeholder.name
                for placeholder in PLACEHOLDERS
                if placeholder.belongs_to(row.family)
                and placeholder.type is not PlaceholderType.TABLE
                and not placeholder.name.startswith("RECIPIENT")  # what is for systems has none
                and placeholder.name != "EVENT"  # which each text has
            ]
            yield row.event, channels[turn % len(channels)], _rotated(values, turn), ()
        turn += 1


def _rotated(values: Sequence[str], turn: int) -> list[str]:
    """SHOWN of the values, or all of them, from `turn` on and then from the first one on again."""
    return [*islice(cycle(values), turn, turn + min(SHOWN, len(values)))]


def _write(folder: Path, files: Iterable[_File]) -> None:
    counts: Counter[Channel] = Counter()
    for number, (event, channel, values, conditions) in enumerate(files):
        name = f"{event.lower().replace('_', '-')}-{channel.lower().replace('_', '-')}-{number}"
        text = _template_file(name, event, channel, values, conditions, turn=counts[channel])
        (folder / f"{name}.toml").write_text(text)
        counts[channel] += 1


def _template_file(
    name: str,
    event: EventName,
    channel: Channel,
    values: Sequence[str],
    conditions: Sequence[Condition],
    *,
    turn: int,
) -> str:
    """The text of one file; `turn` is how many of its channel there are before it."""
    is_xml = channel is Channel.WEB_HOOK and turn % 3 == 2
    fields: dict[str, object] = {
        "id": name,
        "version": 1,
        "name": name.replace("-", " "),
        "type": channel.value,
        "event": event,
        "target": EVENTS[event].target.value,
        "subscription": "OPT_OUT",
    }
    if recipients := CHANNELS[channel].recipients:
        fields["recipient"] = _recipient(event, recipients).value
    if CHANNELS[channel].has_notification:
        fields["category"] = CATEGORIES[turn % len(CATEGORIES)]
    if channel is Channel.EMAIL:
        fields["subject"] = SUBJECTS[turn % len(SUBJECTS)]
    if channel in (Channel.WEB_HOOK, Channel.EVENT_STREAM):
        fields["content_type"] = "application/xml" if is_xml else "application/json"
    fields["body"] = _body(channel, values, is_xml=is_xml)
    tables: list[tuple[str, Mapping[str, object]]] = []
    if channel is Channel.EMAIL and turn % 2:
        tables.append(("[locale.pt]", {"subject": "Notícias", "body": _body(channel, values[::-1], is_xml=False)}))
    if channel is Channel.WEB_HOOK:
        tables.append(("[webhook]", {"url": f"https://hooks.example.com/{name}/{{EVENT_ID}}"}))
    tables += [
        ("[[condition]]", {"field": condition.placeholder, "operator": condition.operator, **condition.operands})
        for condition in conditions
    ]
    lines = [*_lines(fields)]
    for head, table in tables:
        lines += ["", head, *_lines(table)]
    return "\n".join(lines) + "\n"


def _recipient(event: EventName, recipients: Sequence[RecipientKind]) -> RecipientKind:
    if RecipientKind.CLIENT not in recipients:
        return recipients[0]
    is_group = EVENTS[event].target is Target.GROUP or event == "ACCOUNT_IN_ARREARS"  # its sample is a group's
    return RecipientKind.GROUP if is_group else RecipientKind.CLIENT


def _body(channel: Channel, values: Sequence[str], *, is_xml: bool) -> str:
    match channel:
        case Channel.EMAIL:
            return "<p>Dear {RECIPIENT_NAME},</p>" + "".join(f"<p>{_word(value)}: {{{value}}}</p>" for value in values)
        case Channel.SMS | Channel.TASK:
            return "{EVENT}: " + ", ".join(f"{{{value}}}" for value in values[:3])
        case _ if is_xml:
            return "<event>" + "".join(f"<{_word(value)}>{{{value}}}</{_word(value)}>" for value in values) + "</event>"
        case _:
            return '{"event": "{EVENT}", ' + ", ".join(f'"{_word(value)}": {{{value}}}' for value in values) + "}"


def _word(value: str) -> str:
    """A placeholder as a name in JSON or XML."""
    return value.rpartition(":")[2].replace(" ", "_").lower()


def _lines(fields: Mapping[str, object]) -> Iterator[str]:
    """Of a TOML table; text, numbers and lists of text are written as JSON has them."""
    return (f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items())
