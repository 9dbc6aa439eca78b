"""Topics that are missing or do not fit are found by `run` before it consumes anything, and so is a broker that is not
there."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from processor.domain.output_topics import FixedOutput
from processor.domain.record import EventName, Topic
from processor.engine import mapping_parts
from processor.engine.loop import run
from processor.errors import DependencyError, TopicConfigError
from processor.kafka import topic_state
from processor.kafka.local.ports import free_ports
from processor.settings import HttpSettings, KafkaSettings, Settings
from tests.support.builders import TENANT
from tests.support.events import repayment
from tests.support.installation import Installation, create_installation

LETTERS_BYTES = 1_048_588 + 64 * 1024  # what `processor topics --create` gives them: the events' limit and 64 KiB


def stream(installation: Installation) -> Topic:
    return installation.settings.stream_topic(EventName("LOAN_REPAYMENT"))


CREATE = "`processor topics --create` creates what is missing"
CASES: dict[str, tuple[Callable[[Installation], None], str, str]] = {  # preparation, error text, hint
    "no decisions": (
        lambda installation: installation.delete_topic(installation.settings.topic(FixedOutput.DECISIONS)),
        "topics are missing: {prefix}communications.decisions",
        CREATE,
    ),
    "no operations": (  # as in an installation that was created before there were any
        lambda installation: installation.delete_topic(installation.settings.topic(FixedOutput.OPERATIONS)),
        "topics are missing: {prefix}communications.operations",
        CREATE,
    ),
    "no events": (
        lambda installation: installation.delete_topic(installation.events),
        "topics are missing: {prefix}banking.events",
        CREATE,
    ),
    "no stream": (
        lambda installation: installation.delete_topic(stream(installation)),
        "topics are missing: {prefix}mrn.event.northbank.streamingapi.loan_repayment",
        CREATE,
    ),
    "too few partitions": (
        lambda installation: installation.grow_topic(installation.events, 2),
        "{prefix}banking.events has 2 partitions, but {prefix}communications.messages has 1, ",
        "`processor topics --grow 2 --yes`",
    ),
    "small dead letters": (
        lambda installation: installation.limit(
            installation.settings.topic(FixedOutput.DEAD_LETTERS), LETTERS_BYTES - 1
        ),
        f"{{prefix}}communications.dead-letters takes {LETTERS_BYTES - 1} bytes; to hold any event",
        f"set max.message.bytes of {{prefix}}communications.dead-letters to {LETTERS_BYTES} or more",
    ),
}


@pytest.mark.kafka
@pytest.mark.parametrize("case", CASES)
def test_topics_that_do_not_fit(bootstrap_servers: str, topic_prefix: str, case: str) -> None:
    """`run` ends with 2, names the topic and what to do; the group has no position afterwards, nothing is published."""
    prepare, error_text, hint = CASES[case]
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment()])
    prepare(installation)
    text = (
        re.escape(error_text.format(prefix=topic_prefix)) + ".*\nhint: .*" + re.escape(hint.format(prefix=topic_prefix))
    )

    with pytest.raises(TopicConfigError, match=f"(?s){text}") as ended:
        installation.run()
    assert 2 == ended.value.exit_code
    assert [] == installation.read(installation.settings.topic(FixedOutput.MESSAGES))
    if case != "no events":
        assert [-1001] == installation.committed()


@pytest.mark.kafka
def test_the_smallest_sufficient_dead_letter_limit(bootstrap_servers: str, topic_prefix: str) -> None:
    """At exactly the required limit `run` starts."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.limit(installation.settings.topic(FixedOutput.DEAD_LETTERS), LETTERS_BYTES)
    installation.run()

    assert [0] == installation.committed()


@pytest.mark.kafka
def test_run_explains_topics_that_do_not_fit(bootstrap_servers: str, topic_prefix: str) -> None:
    """A person reads on stderr what is missing and what to do, without a traceback; a script reads 2."""
    environment = {
        **os.environ,
        "PROCESSOR_TENANT": TENANT,
        "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers,
        "PROCESSOR_TOPICS__PREFIX": topic_prefix,
        "PROCESSOR_HTTP__PORT": "0",
    }
    ended = subprocess.run(
        [sys.executable, "-m", "processor", "run"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert 2 == ended.returncode
    assert f"topics are missing: {topic_prefix}banking.events, {topic_prefix}communications.messages" in ended.stderr
    assert f"hint: `processor topics` shows what differs, {CREATE}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that does not respond is waited for, and then `run` ends with 3, the address and what to check."""
    monkeypatch.setattr(mapping_parts, "SERVER_STARTUP_TIMEOUT_S", 1.0)
    monkeypatch.setattr(topic_state, "CALL_TIMEOUT_S", 0.4)
    (port,) = free_ports(1)
    servers = f"127.0.0.1:{port}"
    settings = Settings(tenant=TENANT, kafka=KafkaSettings(bootstrap_servers=servers), http=HttpSettings(port=0))
    began = time.monotonic()

    with pytest.raises(
        DependencyError,
        match=rf"(?s)no response from {servers} for 1 s.*\nhint: check PROCESSOR_KAFKA__BOOTSTRAP_SERVERS",
    ) as ended:
        run(settings)
    assert 3 == ended.value.exit_code
    assert 1 < time.monotonic() - began < 10
