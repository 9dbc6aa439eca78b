"""What people see of a detail: why, and nothing of a customer."""

import pytest

from processor.domain.masking import mask_detail
from processor.domain.reasons import DecisionReason


@pytest.mark.parametrize(
    ("reason", "detail", "shown"),
    [
        (
            "CONDITION_FALSE",
            "condition 1: TRANSACTION_AMOUNT MORE_THAN 500; the value is 218.24",
            "condition 1: TRANSACTION_AMOUNT MORE_THAN 500; the value is ***",
        ),
        ("CONDITION_FALSE", "1: CF:A EMPTY; the value is 'x'y; the\nvalue' 1", "1: CF:A EMPTY; the value is ***"),
        (
            "CONTACT_BLOCKED",
            "contact CTT-1 is blocked: mail to ines@example.com",
            "contact CTT-1 is blocked: mail to ***",
        ),
        ("INVALID_EVENT", "client.birthDate: not a date: '1981-02-30'", "client.birthDate: not a date: ***"),
        ("INVALID_EVENT", 'a: not a number: "12,5"', "a: not a number: ***"),
        ("OTHER", '{NAME} cannot write "Ann O\'Neill": no number', "{NAME} cannot write ***: no number"),
        ("OTHER", """a 'Ann "X" O\\\\'Neill' b""".replace("\\\\", "\\"), "a *** b"),
        ("OTHER", "{NAME} cannot write 'Ann B…", "{NAME} cannot write ***"),
        ("CONDITION_FALSE", "trigger_days 3; the event's are missing", "trigger_days 3; the event's are missing"),
        ("OTHER", "called +351 912 345 678 twice", "called *** twice"),
        ("OTHER", "card 4111111111111111 on 2026-03-14", "card *** on ***"),
        ("INVALID_EVENT", "cut short: 120 bytes announced, 12 left", "cut short: 120 bytes announced, 12 left"),
        (
            "TENANT_DISABLED",
            "tenant 'southbank'; this installation is for x",
            "tenant 'southbank'; this installation is for x",
        ),
        ("UNKNOWN_SCHEMA", "no schema has id 100432", "no schema has id 100432"),
        ("EVENT_TOO_LARGE", "3000000 bytes, at most 1048576 are read", "3000000 bytes, at most 1048576 are read"),
        ("", "SENT_YESTERDAY: to o'neill@example.com", "SENT_YESTERDAY: to ***"),
        (
            "MISSING_KEY",
            "no key; it is keyed by 8a8e867d5b1a4c0e015b1a60aa330001",
            "no key; it is keyed by 8a8e867d5b1a4c0e015b1a60aa330001",
        ),
    ],
)
def test_values_are_masked(reason: str, detail: str, shown: str) -> None:
    """Values, addresses, phone, account and card numbers and what stands in quotes."""
    assert shown == mask_detail(reason, detail)


@pytest.mark.parametrize(
    "reason", [DecisionReason.DUPLICATE_EVENT, DecisionReason.TARGET_MISMATCH, "ALREADY_CREATED", "TEMPLATE_SUSPENDED"]
)
def test_our_own_words_are_shown(reason: str) -> None:
    """A place keeps its offset, however long it is."""
    detail = "first seen at banking.events[3]@1234567890"

    assert detail == mask_detail(reason, detail)
