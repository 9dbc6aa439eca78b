"""`--until-end` ends with 3 when it gets no further, and says where it stands."""

import re
import time

import pytest
from confluent_kafka import Producer

from processor.engine import completion
from processor.engine.loop import run
from processor.errors import StalledError
from processor.kafka.local.kafka import local_kafka
from tests.support.clients import logged
from tests.support.events import repayment
from tests.support.installation import create_installation

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]

STALL_S = 3.0


def test_an_open_transaction_in_the_input(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A producer that never commits holds up one of two partitions: exit 3 names it, how far it is, and the reason; the
    other one and what lies before it are done."""
    installation = create_installation(bootstrap_servers, topic_prefix, partitions=2)
    installation.produce_events([repayment(1), repayment(2)])
    installation.produce_events([repayment(3)], partition=1)
    producer = Producer(logged({"bootstrap.servers": bootstrap_servers, "transactional.id": f"{topic_prefix}core"}))
    producer.init_transactions(10)
    producer.begin_transaction()
    value, key = installation.encode(repayment(4))
    producer.produce(installation.events, value, key, 1)
    assert producer.flush(10) == 0
    began: list[float] = []

    def hurry(step: str) -> None:
        if step == "begun":  # to join the group may take longer
            monkeypatch.setattr(completion, "STALL_TIMEOUT_S", STALL_S)
            began.append(time.monotonic())

    with pytest.raises(StalledError) as ended:
        run(installation.settings, until_end=True, on_step=hurry)
    assert 3 == ended.value.exit_code
    assert re.fullmatch(
        rf"no progress for 3 s: {re.escape(installation.events)}\[1\] at 1 of 2\n"
        r"hint: an open transaction in the input .*",
        str(ended.value),
    )
    assert STALL_S < time.monotonic() - began[-1] < 30
    assert [2, 1] == installation.committed([0, 1])

    producer.commit_transaction(10)
    installation.run()

    assert [2, 3] == installation.committed([0, 1])  # with the marker of the transaction


def test_a_broker_that_is_gone_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in the middle of a transaction, the broker is not waited for without end: exit 3, naming the partition."""
    with local_kafka() as kafka:
        installation = create_installation(
            kafka.bootstrap_servers, "gone.", transaction_timeout_ms=1_000, max_batch_records=1
        )
        installation.produce_events([repayment(1), repayment(2)])
        began: list[float] = []

        def kill(step: str) -> None:
            if step == "begun":
                monkeypatch.setattr(completion, "STALL_TIMEOUT_S", STALL_S)
                began.append(time.monotonic())
                if len(began) == 2:
                    kafka.kill()

        with pytest.raises(StalledError, match=r"no progress for 3 s: gone\.banking\.events\[0\] at 1 of 2") as ended:
            run(installation.settings, until_end=True, on_step=kill)
        assert 3 == ended.value.exit_code
        assert STALL_S < time.monotonic() - began[1] < 30
