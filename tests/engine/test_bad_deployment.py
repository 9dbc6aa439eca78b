"""A bad deployment on a real broker: the topic of another tenant, or one that holds other things, is not consumed."""

import json
import signal
import threading
import time
from collections import Counter
from typing import Any

import httpx
import pytest
from confluent_kafka import Consumer, Producer

from processor.domain.output_topics import FixedOutput
from processor.errors import InputError
from processor.kafka.topic_admin import create_topics
from processor.registry.schema_files import load_schemas
from processor.settings import SchemaRegistrySettings
from tests.support.builders import TENANT
from tests.support.clients import logged
from tests.support.events import repayment
from tests.support.http_server import NO_SCHEMA, LoopbackServer, json_response
from tests.support.installation import Installation, create_installation
from tests.support.processes import metric, process, ready
from tests.support.waiting import wait_until

pytestmark = pytest.mark.kafka


def with_tenant(installation: Installation, tenant: str) -> Installation:
    """The same topics and group, run for `tenant`, whose streams were created as `run` needs them."""
    changed = installation.settings.model_copy(update={"tenant": tenant})
    create_topics(changed, stream_events=installation.templates.stream_events())
    return Installation(changed, installation.schemas, installation.templates)


def event_of_another_tenant(number: int, tenant: str = "southbank") -> dict[str, Any]:
    """An event of another tenant."""
    return {**repayment(number), "tenant": tenant}


def outputs_of(installation: Installation, partitions: int = 1) -> int:
    """How many records readers see in the topics that every event leaves something in."""
    topics = [
        installation.settings.topic(role)
        for role in (FixedOutput.MESSAGES, FixedOutput.STATUS, FixedOutput.DECISIONS, FixedOutput.DEAD_LETTERS)
    ]
    return sum(len(installation.read(topic, partition)) for topic in topics for partition in range(partitions))


@pytest.mark.parametrize("records", [400, 100, 30, 10])
def test_a_wrong_tenant_commits_nothing(bootstrap_servers: str, topic_prefix: str, records: int) -> None:
    """Exit 5 before anything is committed, at every start; the text names the tenant that is there, and the right one
    maps all of it afterwards."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(n) for n in range(records)])
    wrong = with_tenant(installation, "northbnk")
    checked = rf"{min(records, 200)} of the first {min(records, 200)} records are of another tenant"
    for _ in range(2):
        with pytest.raises(InputError, match=rf"{checked}; most often TENANT_DISABLED: tenant '{TENANT}'"):
            wrong.run()
        assert [0] == installation.committed()
        assert 0 == outputs_of(installation)
    installation.run()

    assert [records] == installation.committed()
    assert {2} == set(Counter(status["eventId"] for status in installation.read_statuses()).values())
    assert records == len({status["eventId"] for status in installation.read_statuses()})
    assert [] == installation.read_decisions()


def test_fewer_than_ten_records_are_no_bad_deployment(bootstrap_servers: str, topic_prefix: str) -> None:
    """Nine records are no proof: each is a decision, and the end is reached."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([event_of_another_tenant(n) for n in range(9)])
    installation.run()

    assert [9] == installation.committed()
    assert ["TENANT_DISABLED"] * 9 == [
        reason["reason"] for decision in installation.read_decisions() for reason in decision["reasons"]
    ]


def test_a_wrong_tenant_over_several_partitions(bootstrap_servers: str, topic_prefix: str) -> None:
    """Five records in each of six partitions, tombstones and garbage among them: checked together, none committed."""
    installation = create_installation(bootstrap_servers, topic_prefix, partitions=6)
    for partition in range(6):
        installation.produce_events([repayment(10 * partition + n) for n in range(5)], partition=partition)
        installation.produce_values([b""] * 3, partition=partition)
    installation.produce_values([b"\x07 no event"], partition=3)
    with pytest.raises(InputError, match="31 of the first 31 records are rejected or of another tenant"):
        with_tenant(installation, "northbnk").run()

    assert [0] * 6 == installation.committed(range(6))
    assert 0 == outputs_of(installation, 6)


def test_a_wrong_tenant_with_workers(bootstrap_servers: str, topic_prefix: str) -> None:
    """Two workers that see 30 records each: the supervisor ends with 5, and neither has committed any."""
    installation = create_installation(bootstrap_servers, topic_prefix, partitions=2)
    for partition in range(2):
        installation.produce_events([repayment(n) for n in range(30)], partition=partition)
    with process(with_tenant(installation, "northbnk"), "--workers", "2", "--until-end", ends_with=5) as (
        supervisor,
        _,
    ):
        supervisor.wait(60)

    assert {0, -1001} >= set(installation.committed(range(2)))
    assert 0 == outputs_of(installation, 2)


def test_a_few_of_another_tenant_at_the_end_are_no_bad_deployment(bootstrap_servers: str, topic_prefix: str) -> None:
    """What counts is the ratio among the first records: one good event of ten lets the others pass."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([*(event_of_another_tenant(n) for n in range(9)), repayment(9)])
    installation.run()

    assert [10] == installation.committed()
    assert 9 == len(installation.read_decisions())


def test_another_tenant_after_good_events_only_degrades(bootstrap_servers: str, topic_prefix: str) -> None:
    """Good events first, then another tenant's without end: degraded, and never stopped."""
    installation = create_installation(bootstrap_servers, topic_prefix, max_batch_records=100)
    installation.produce_events([repayment(n) for n in range(200)])
    installation.produce_events([event_of_another_tenant(n) for n in range(200, 600)])
    installation.run()

    assert [600] == installation.committed()
    assert 200 == len({status["eventId"] for status in installation.read_statuses()})


def test_a_wrong_tenant_is_detected_at_a_delayed_end(bootstrap_servers: str, topic_prefix: str) -> None:
    """An open transaction of the producer holds the end back for longer than a batch waits: what was let through is
    committed, and the end is exit 5 all the same."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([event_of_another_tenant(n) for n in range(30)])
    producer = Producer(logged({"bootstrap.servers": bootstrap_servers, "transactional.id": f"{topic_prefix}core"}))
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce(installation.events, b"never seen", "key", 0)
    assert producer.flush(10) == 0

    def commit_late() -> None:
        wait_until(lambda: installation.committed() == [30])
        producer.abort_transaction(10)

    committing = threading.Thread(target=commit_late)
    committing.start()
    with pytest.raises(InputError, match="30 of the first 30 records are of another tenant") as ended:
        installation.run()
    committing.join(30)

    assert "was not committed" not in str(ended.value)
    assert [32] == installation.committed()


def test_a_stop_while_a_batch_is_held_back(bootstrap_servers: str, topic_prefix: str) -> None:
    """SIGTERM within the five seconds in which a few records of another tenant wait for more: a clean stop, and none of
    them is committed. Left alone, they are skipped after these seconds, as they are too few for a verdict."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(n) for n in range(30)])
    wrong = with_tenant(installation, "northbnk")
    with process(wrong) as (engine, _):
        wait_until(lambda: installation.committed() == [0])
        time.sleep(1)
        engine.send_signal(signal.SIGTERM)
        assert 0 == engine.wait(15)

    assert [0] == installation.committed()
    assert 0 == outputs_of(installation)
    with process(wrong):
        wait_until(lambda: installation.committed() == [30])


def test_a_wrong_tenant_whose_records_have_many_schemas(bootstrap_servers: str, topic_prefix: str) -> None:
    """Each new schema id makes its partition wait for a moment, and not longer than the one before it did: a hundred
    records are there within the five seconds for which they are held back."""
    schema = next(family for family in load_schemas().families.values() if "LoanTransaction" in family.name)
    served = json_response({"schema": schema.text})
    with LoopbackServer(lambda path: served if path.startswith("/schemas/") else NO_SCHEMA) as registry:
        schema_registry = SchemaRegistrySettings(url=registry.url)
        installation = create_installation(bootstrap_servers, topic_prefix, schema_registry=schema_registry)
        for number in range(120):
            value = installation.encode(repayment(number))[0]
            installation.produce_values([b"\x00" + (1 + number // 10).to_bytes(4, "big") + value[5:]])
        with pytest.raises(InputError, match="records are of another tenant"):
            with_tenant(installation, "northbnk").run()

    assert [0] == installation.committed()
    assert 0 == outputs_of(installation)


def test_records_of_a_revoked_partition_do_not_count(bootstrap_servers: str, topic_prefix: str) -> None:
    """A rebalance takes one of two partitions while their records are held back: a hundred are waited for again, and
    none of the other is committed."""
    installation = create_installation(bootstrap_servers, topic_prefix, partitions=2)
    for partition in range(2):
        installation.produce_events([repayment(100 * partition + n) for n in range(45)], partition=partition)
    wrong = with_tenant(installation, "northbnk")
    other = Consumer(
        logged(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": installation.settings.group_id,
                "partition.assignment.strategy": "cooperative-sticky",
                "enable.auto.commit": False,
            }
        )
    )
    quick = {"heartbeat.interval.ms": "100"}
    try:
        with process(wrong, ends_with=5, PROCESSOR_KAFKA__CONSUMER=json.dumps(quick)) as (engine, _):
            wait_until(lambda: installation.committed(range(2)) == [0, 0])
            other.subscribe([installation.events])

            def has_one_partition() -> bool:
                other.poll(0.05)
                return len(other.assignment()) == 1

            wait_until(has_one_partition)
            (assigned,) = other.assignment()
            installation.produce_events([repayment(1_000 + n) for n in range(25)], partition=1 - assigned.partition)
            time.sleep(1)
            assert None is engine.poll()
            installation.produce_events([repayment(2_000 + n) for n in range(40)], partition=1 - assigned.partition)
            engine.wait(30)
    finally:
        other.close()

    assert [0, 0] == installation.committed(range(2))
    assert 0 == outputs_of(installation, 2)


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one process", "two workers"])
def test_a_topic_of_two_tenants_runs_and_is_degraded(
    bootstrap_servers: str, topic_prefix: str, options: tuple[str, ...]
) -> None:
    """Half of the records are another tenant's: ours are mapped, /ready is yes, degraded, and names the other tenant,
    for each worker; the share is a metric."""
    installation = create_installation(bootstrap_servers, topic_prefix, partitions=2)
    workers = ["worker 1: ", "worker 2: "] if options else [""]
    each = f" {2 / len(workers)}"
    reason = (
        "100 of the last 200 records are of another tenant, most often: tenant 'southbank'; this installation is for "
        f"{TENANT}; check PROCESSOR_TENANT and who writes to the events topic"
    )
    expected = {"ready": True, "degraded": True, "reasons": [worker + reason for worker in workers]}
    with process(installation, *options) as (_, address):
        wait_until(lambda: [each] * len(workers) == metric(address, "processor_assigned_partitions"))
        for partition in range(2):
            installation.produce_events(
                (repayment(n) if n % 2 else event_of_another_tenant(n) for n in range(200)), partition=partition
            )
        wait_until(lambda: installation.committed(range(2)) == [200, 200])
        wait_until(lambda: ready(address) == expected)
        assert 200 == httpx.get(f"http://{address}/ready").status_code
        shares = metric(address, "processor_other_tenant_ratio")

    assert [" 0.5"] * len(workers) == shares
    assert 200 == sum(
        len({status["eventId"] for status in installation.read_statuses(partition)}) for partition in range(2)
    )


def test_the_check_can_be_disabled(bootstrap_servers: str, topic_prefix: str) -> None:
    """A ratio of 1 skips all of a former tenant's events, is not degraded by them, and maps what follows; the
    metric shows them."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([event_of_another_tenant(n) for n in range(300)])
    installation.produce_events([repayment(n) for n in range(300, 350)])
    with process(installation, PROCESSOR_MAX_REJECTED_RATIO="1") as (_, address):
        wait_until(lambda: installation.committed() == [350])
        wait_until(lambda: ready(address)["ready"])
        response = ready(address)
        shares = metric(address, "processor_other_tenant_ratio")

    assert {"ready": True, "degraded": False, "reasons": []} == response
    assert [" 0.75"] == shares
    assert 50 == len({status["eventId"] for status in installation.read_statuses()})
