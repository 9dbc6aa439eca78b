"""The statuses of a Message against the domain's tables, and its ids against the published example."""

import csv
import re

import pytest

from processor.domain.ids import batch_id, contact_id, notification_id
from processor.domain.message import State
from processor.domain.notification import NotificationStatus, StatusSet, status_map
from processor.domain.reasons import FailureReason
from processor.domain.record import EncodedKey, TemplateId
from tests.support.wire import DOMAIN

BEFORE_THE_END = {"QUEUED": "Queued", "QUEUED_FOR_STREAM": "Queued", "WAITING": "Queued", "SENDING_ASYNC": "Queued"}
EXTENDED = {  # of the reasons: what the extended set has instead of Failed
    "EMAIL_SERVICE_NOT_ENABLED": "Discarded",
    "SMS_SERVICE_NOT_ENABLED": "Discarded",
    "SMS_NOT_SENT": "Bounced",
    "WEBHOOK_NOTIFICATIONS_DISABLED": "Discarded",
    "BLACKLISTED_URL": "Discarded",
}


def reasons() -> dict[str, str]:
    """failureReason -> status, as failure-reasons.csv has it."""
    with (DOMAIN / "failure-reasons.csv").open(encoding="utf-8") as lines:
        return {row["reason"]: row["message_status"] for row in csv.DictReader(lines)}


@pytest.mark.parametrize(
    ("status_set", "failed"),
    [(StatusSet.PUBLISHED, reasons()), (StatusSet.EXTENDED, dict.fromkeys(reasons(), "Failed") | EXTENDED)],
)
def test_status_of_each_state_and_reason(status_set: StatusSet, failed: dict[str, str]) -> None:
    """28 rows: five states, 23 reasons; a FAILED message has its reason's status."""
    table = status_map(status_set)

    assert BEFORE_THE_END | {"SENT": "Sent"} | failed == dict(table)
    assert table.keys() == {*State, *FailureReason} - {State.FAILED}
    assert len(table) == 28


def test_the_published_set_has_the_published_statuses() -> None:
    """Nothing but what readers know from the published page."""
    assert NotificationStatus.FAILED not in status_map(StatusSet.PUBLISHED).values()


def test_overridden_statuses() -> None:
    """A change counts, and the rest stays."""
    changed = status_map(StatusSet.PUBLISHED, {"OTHER": NotificationStatus.DISCARDED})

    assert {"OTHER"} == {word for word, status in changed.items() if status != status_map()[word]}


def test_ids_of_the_published_example() -> None:
    """The Message of the reference's e-mail: its id and its batch come from key, event and template."""
    assert "MSG-2451-6431-7421-7501" == notification_id(EncodedKey("f7057037637ada1e806489eb4bfde71d"))
    event_id = "7f1d2c52-6a0e-4d0f-9b57-2f4f0c6a9e11"
    assert "MST-8769-2774-8402" == batch_id("northbank", event_id, TemplateId("loan-repayment-email"))


def test_ids_keep_leading_zeros() -> None:
    """As published, leading zeros kept."""
    assert "MSG-0000-0000-0000-0001" == notification_id(EncodedKey(f"{10**16 + 1:032x}"))
    assert re.fullmatch(r"MST-\d{4}-\d{4}-\d{4}", batch_id("a", "b", TemplateId("c")))
    assert re.fullmatch(r"CTT-\d{4}-\d{4}-\d{4}", contact_id("a", "b"))
    assert contact_id("a", "b") != contact_id("a", "c")
