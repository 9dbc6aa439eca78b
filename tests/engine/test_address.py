"""Addresses that are none, on a real broker: the message is in the log as FAILED, and no message is sent there."""

import json
from pathlib import Path

import pytest

from processor.domain.output_topics import FixedOutput
from processor.domain.record import EventName
from processor.settings import SmsSettings
from processor.shipped import sample
from tests.support.builders import changed
from tests.support.installation import create_installation

pytestmark = pytest.mark.kafka

TEMPLATE = (
    'version = 1\nevent = "LOAN_REPAYMENT"\ntarget = "LOANS"\nrecipient = "CLIENT"\nsubscription = "OPT_OUT"\n'
    'body = "{ACCOUNT_ID}"\n'
)


@pytest.mark.parametrize(("region", "states"), [("PT", ["QUEUED", "FAILED"]), (None, ["QUEUED", "QUEUED"])])
def test_invalid_addresses(
    bootstrap_servers: str, topic_prefix: str, tmp_path: Path, region: str | None, states: list[str]
) -> None:
    """An e-mail to two addresses; a phone number that is one in Portugal, and another that is one elsewhere only."""
    (tmp_path / "mail.toml").write_text(f'id = "mail"\nname = "mail"\ntype = "EMAIL"\nsubject = "Repaid"\n{TEMPLATE}')
    (tmp_path / "text.toml").write_text(f'id = "text"\nname = "text"\ntype = "SMS"\n{TEMPLATE}')
    installation = create_installation(
        bootstrap_servers, topic_prefix, templates_dir=tmp_path, sms=SmsSettings(region=region)
    )
    addresses = {"client.emailAddress": "ines@example.com,copy@attacker.example"}
    installation.produce_events(
        changed(
            sample(EventName("LOAN_REPAYMENT")),
            addresses | {"client.mobilePhone": number, "eventId": f"00000000-0000-4000-8000-{len(number):012}"},
        )
        for number in ("910000001", "9100000019")
    )
    installation.run()
    messages = [
        json.loads(message.value() or b"")
        for message in installation.read(installation.settings.topic(FixedOutput.MESSAGES))
    ]
    notifications = [
        json.loads(message.value() or b"")
        for message in installation.read(installation.settings.topic(FixedOutput.NOTIFICATIONS))
    ]

    assert states == [message["state"] for message in messages if message["type"] == "SMS"]
    assert [("FAILED", "UNDEFINED_DESTINATION", None)] * 2 == [
        (message["state"], message["failureReason"], message.get("destination"))
        for message in messages
        if message["type"] == "EMAIL"
    ]
    assert [status["to"] for status in installation.read_statuses()] == [message["state"] for message in messages]
    assert [{"QUEUED": "Queued", "FAILED": "Discarded"}[message["state"]] for message in messages] == [
        message["status"] for message in notifications
    ]
