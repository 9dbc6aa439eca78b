"""The records ASSIGNED of `run` on a real broker: one for each assignment that commits anything, and one a day."""

import random
import signal
import string
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from typing import Any

import pytest
from confluent_kafka import Producer

from processor.domain.record import OutRecord, Topic
from processor.engine.loop import run
from processor.engine.publisher import NotCommitted, TransactionalPublisher, TransactionResult
from processor.mapping.options import WrittenDecisions
from tests.support.clients import logged
from tests.support.events import repayment
from tests.support.installation import Installation, create_installation
from tests.support.processes import metric, process
from tests.support.read_to_end import read_partition
from tests.support.waiting import wait_until

pytestmark = pytest.mark.kafka
DAY_S = 86_400.0


def offsets(installation: Installation, partition: int = 0) -> list[int]:
    """Those of the records about a partition."""
    return [record["offset"] for record in installation.read_operations(partition)]


def produce(installation: Installation, numbers: Iterable[int], *, partition: int = 0) -> None:
    """Events with these numbers."""
    installation.produce_events([repayment(number) for number in numbers], partition=partition)


def test_a_new_group(bootstrap_servers: str, topic_prefix: str) -> None:
    """Each partition has its record with the commit of its start, before there is any event; the first batch has none.
    It has all the fields, and the partition's number as key."""
    installation = create_installation(bootstrap_servers, topic_prefix, partitions=2, instance_id="host-a")
    installation.run()
    produce(installation, range(3))
    assert [[0], [0]] == [offsets(installation, partition) for partition in (0, 1)]

    (record,) = installation.read(installation.operations, 1)
    assert (b"1", [("content-type", b"application/json")]) == (record.key(), record.headers())
    (value,) = installation.read_operations(1)
    assert value == {
        "kind": "ASSIGNED",
        "partition": 1,
        "offset": 0,
        "startFrom": None,
        "setVersion": installation.templates.digest,
        "decisions": "all",
        "instance": "host-a",
        "version": version("processor"),
    }


def test_each_assignment_that_commits_has_one(bootstrap_servers: str, topic_prefix: str) -> None:
    """A restart writes another with its first transaction, from where it goes on; one that has nothing to do none. It
    is in the partition of its events alone, and names a set that is on the topic of template sets."""
    installation = create_installation(bootstrap_servers, topic_prefix, partitions=2, max_batch_records=2)
    produce(installation, range(5))
    installation.run()
    installation.run()
    produce(installation, range(5, 12))
    installation.run()

    assert [[0, 5], [0]] == [offsets(installation, partition) for partition in (0, 1)]
    assert {record["setVersion"] for record in installation.read_operations()} == set(installation.template_set_keys())


@pytest.mark.parametrize(
    ("start_from", "recorded", "offset"),
    [
        ("beginning", "beginning", 0),
        ("end", "end", 3),
        ("outputs", "outputs", 0),
        ("2026-03-14T10:26:53.5+01:00", "2026-03-14T09:26:53.500Z", 0),
    ],
)
def test_a_chosen_start(bootstrap_servers: str, topic_prefix: str, start_from: str, recorded: str, offset: int) -> None:
    """Says what chose it; the next assignment goes on at a position, and nothing chose that."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    produce(installation, range(3))
    installation.run(start_from=start_from)
    produce(installation, range(3, 5))
    installation.run(start_from=start_from)

    records = installation.read_operations()
    assert [(recorded, offset), (None, 3)] == [(record["startFrom"], record["offset"]) for record in records]


def test_decisions_that_are_not_written(bootstrap_servers: str, topic_prefix: str) -> None:
    """This is what the record is for: under `off` an event without an outcome was not skipped."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    for written in (WrittenDecisions.ALL, WrittenDecisions.OFF, WrittenDecisions.UNEXPECTED):
        produce(installation, range(2))
        run(installation.settings.model_copy(update={"decisions": written}), until_end=True)

    records = installation.read_operations()
    assert [(0, "all"), (2, "off"), (4, "unexpected")] == [(r["offset"], r["decisions"]) for r in records]


def test_a_day_later(bootstrap_servers: str, topic_prefix: str) -> None:
    """24 hours after the last one the next transaction has one, with the position at which it begins; a new assignment
    counts for itself. A commit takes 13 hours here."""
    installation = create_installation(bootstrap_servers, topic_prefix, max_batch_records=1)
    now_s = 0.0

    def pass_time(step: str) -> None:
        nonlocal now_s
        now_s += 13 * 3_600 if step == "committed" else 0

    produce(installation, range(5))
    run(installation.settings, until_end=True, start_from="beginning", on_step=pass_time, clock=lambda: now_s)
    produce(installation, range(5, 6))
    run(installation.settings, until_end=True, clock=lambda: now_s)

    assert [(0, "beginning"), (2, None), (4, None), (5, None)] == [
        (record["offset"], record["startFrom"]) for record in installation.read_operations()
    ]


def test_a_transaction_that_was_aborted_writes_it_again(bootstrap_servers: str, topic_prefix: str) -> None:
    """Readers see one of each run; the log has an aborted one too. The first record is too large, however short its
    batch is. A batch that is still with the client at the abort never gets to the log: then once more."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.run()
    long_name = "".join(random.Random(1).choices(string.ascii_letters, k=9_000))

    def run_and_abort(number: int) -> None:
        lowered: list[str] = []

        def lower_limit(step: str) -> None:
            if step == "mapped" and not lowered:
                lowered.append(step)
                installation.limit(installation.messages, 6_000)

        installation.limit(installation.messages, 1_000_000)
        installation.produce_events(
            [repayment(number, firstName=long_name), *map(repayment, range(number + 1, number + 6))]
        )
        run(installation.settings, until_end=True, on_step=lower_limit)

    def in_the_log() -> int:
        records = read_partition(installation.servers, installation.operations, 0, isolation="read_uncommitted")
        return len(records)

    runs = 1
    while in_the_log() == runs:
        assert runs <= 5, "no aborted transaction got as far as the log"
        run_and_abort(6 * (runs - 1))
        assert [6 * runs] == installation.committed()
        assert [0, *range(0, 6 * runs, 6)] == offsets(installation)
        runs += 1


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_commit_whose_response_was_lost_writes_none_again(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """That of the start, of the first batch or of a later one: the group's position says that it was committed. The
    record comes before the outputs of its transaction."""
    installation = create_installation(bootstrap_servers, topic_prefix, max_batch_records=2)
    publish: Callable[..., NotCommitted | None] = TransactionalPublisher.publish
    written: list[list[Topic]] = []

    def lose_response(
        self: TransactionalPublisher,
        outputs: Iterable[OutRecord],
        positions: Mapping[tuple[Topic, int], int],
        group_metadata: Any,
        **options: Any,
    ) -> NotCommitted | None:
        records = list(outputs)
        written.append([topic for topic, *_ in records])
        failure = publish(self, records, positions, group_metadata, **options)
        assert failure is None
        if len(written) == lost + 1:
            return NotCommitted("_TIMED_OUT", "", is_record_error=False, result=TransactionResult.UNCERTAIN)
        return None

    if lost:
        installation.run()  # the start is committed
    produce(installation, range(6))
    monkeypatch.setattr(TransactionalPublisher, "publish", lose_response)
    installation.run()

    assert [6] == installation.committed()
    assert 12 == len(installation.read_statuses())
    assert ([0, 0] if lost else [0]) == offsets(installation)
    assert installation.operations == written[0][0]
    assert installation.operations not in [topic for topics in written[1:] for topic in topics]


def test_positions_alone(bootstrap_servers: str, topic_prefix: str) -> None:
    """A transaction that only passes the marker of an aborted one in the input is the assignment's first as well."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.run()
    producer = Producer(logged({"bootstrap.servers": bootstrap_servers, "transactional.id": f"{topic_prefix}core"}))
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce(installation.events, b"{}", b"key", 0)
    assert producer.flush(10) == 0
    producer.abort_transaction(10)
    installation.run()

    assert [2] == installation.committed()
    assert [0, 0] == offsets(installation)


def test_a_rebalance(bootstrap_servers: str, topic_prefix: str) -> None:
    """A partition that another process gets has a record of it, from where it goes on; the one that stays has none. It
    comes back when that process is gone, and has one again."""
    installation = create_installation(bootstrap_servers, topic_prefix, partitions=2)

    def produce_more(number: int) -> None:
        before = installation.committed([0, 1])
        for partition in (0, 1):
            produce(installation, [number], partition=partition)
        wait_until(lambda: installation.committed([0, 1]) == [position + 1 for position in before])

    def instances() -> list[str]:
        records = [record for partition in (0, 1) for record in installation.read_operations(partition)]
        return sorted(f"{record['offset']} {record['instance']}" for record in records)

    started = ["0 one", "0 one"]
    with process(installation, PROCESSOR_INSTANCE_ID="one"):
        wait_until(lambda: installation.committed([0, 1]) == [0, 0])
        produce_more(0)
        assert started == instances()
        with process(installation, PROCESSOR_INSTANCE_ID="two") as (other, address):
            wait_until(lambda: assigned_partitions(address) == 1)
            produce_more(1)
            assert [*started, "1 two"] == instances()
            other.send_signal(signal.SIGTERM)
            other.wait(15)
        produce_more(2)
        assert [*started, "1 two", "2 one"] == instances()
        produce_more(3)
        assert [*started, "1 two", "2 one"] == instances()


def assigned_partitions(address: str) -> int:
    """How many a process has."""
    values = metric(address, "processor_assigned_partitions")
    return int(float(values[0])) if values else 0
