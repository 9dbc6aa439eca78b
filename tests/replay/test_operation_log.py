"""What the operations topic says about a partition, on a real broker."""

import json
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import Producer

from processor.domain.operation import OperationId
from processor.domain.operation_record import (
    AssignedRecord,
    OperationState,
    PositionsRecord,
    ProgressRecord,
    UnmaskedRecord,
)
from processor.domain.output_topics import OutputTopic
from processor.domain.record import OutRecord, RecordPosition, Topic
from processor.errors import InputError, OperationUnderWayError, UnavailableError
from processor.kafka import read_range
from processor.kafka.clients import create_admin
from processor.replay.operation_log import (
    UNDER_WAY_MS,
    LoggedOperation,
    is_under_way,
    newest_progress,
    operation_records,
    refuse_other,
    refuse_positions,
)
from processor.wire.operations import positions_out_record, progress_out_record, unmasked_out_record
from tests.support.builders import make_progress
from tests.support.clients import logged
from tests.support.installation import Installation, create_installation

OTHER = OperationId("redrive-20261129T075502Z-00000001")
NOW_MS = 1_796_025_400_000


def topic(installation: Installation) -> OutputTopic:
    """The operations topic."""
    return OutputTopic(installation.operations, 2, 999_000)


def put(installation: Installation, *records: OutRecord | bytes | None, producer: Producer | None = None) -> None:
    """Produce records, or any values to partition 0. Blocks until the broker has them."""
    own = producer or Producer(logged({"bootstrap.servers": installation.servers}))
    for record in records:
        if isinstance(record, OutRecord):
            own.produce(record.topic, record.value, record.key, record.partition, headers=list(record.headers))
        else:
            own.produce(installation.operations, record, b"key", 0)
    assert own.flush(10) == 0


def progress(installation: Installation, **changed: Any) -> OutRecord:
    """The record of an operation's progress."""
    return progress_out_record(make_progress(**changed), topic(installation))


@contextmanager
def transaction(installation: Installation, *records: OutRecord) -> Iterator[Producer]:
    """With these records in it; open until it is left, and then aborted."""
    producer = Producer(
        logged({"bootstrap.servers": installation.servers, "transactional.id": f"{installation.prefix}other"})
    )
    producer.init_transactions(10)
    producer.begin_transaction()
    put(installation, *records, producer=producer)
    try:
        yield producer
    finally:
        producer.abort_transaction(10)


def newest(installation: Installation, partition: int = 0, **options: Any) -> LoggedOperation[ProgressRecord] | None:
    """The newest progress, as it is now."""
    return newest_progress(installation.settings, partition, admin=create_admin(installation.settings), **options)


def newest_offset(installation: Installation, **options: Any) -> int | None:
    """The `next_offset` that it says."""
    found = newest(installation, **options)
    return None if found is None else found.record.next_offset


def all_records(installation: Installation, partition: int = 0) -> list[Any]:
    """All records of a partition, without their places."""
    admin = create_admin(installation.settings)
    return [logged.record for logged in operation_records(installation.settings, partition, admin=admin)]


@pytest.mark.kafka
def test_the_newest_progress_of_many_is_found_in_little_memory(bootstrap_servers: str, topic_prefix: str) -> None:
    """A slow replay writes tens of thousands, each with all that was asked for."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    put(installation, *[progress(installation, next_offset=number) for number in range(20_000)])

    tracemalloc.start()
    try:
        offset = newest_offset(installation)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert offset == 19_999
    assert peak_bytes < 10_000_000


@pytest.mark.kafka
def test_the_newest_progress_of_a_partition(bootstrap_servers: str, topic_prefix: str) -> None:
    """With its place and its Kafka timestamp; records of other kinds, of newer ones and without a value are passed
    over, and other partitions have their own."""
    installation = create_installation(bootstrap_servers, topic_prefix, partitions=2)
    assert newest(installation) is None

    began_ms = int(time.time() * 1000)
    put(
        installation,
        progress(installation, next_offset=200),
        progress(installation, next_offset=300, operation=OTHER),
        progress(installation, next_offset=999, partition=1),
        b'{"kind": "COMMAND", "of": "a newer version"}',
        None,
    )

    found = newest(installation)
    assert found is not None
    assert RecordPosition(installation.operations, 0, 1) == found.position
    assert make_progress(next_offset=300, operation=OTHER) == found.record
    assert began_ms - 1_000 <= found.time_ms <= time.time() * 1000 + 1_000
    other = newest(installation, 1)
    assert other is not None and other.record.next_offset == 999


@pytest.mark.kafka
def test_records_of_any_transaction_say_who_is_alive(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is open and one that was aborted are seen, at once. As `read_committed`, which an operation goes on by,
    an aborted one is not, and an open one is waited for."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    put(installation, progress(installation, next_offset=200))
    monkeypatch.setattr(read_range, "OPEN_TRANSACTION_TIMEOUT_S", 1.0)

    with transaction(installation, progress(installation, next_offset=300)):
        assert newest_offset(installation) == 300
        with pytest.raises(UnavailableError, match="a transaction is open there"):
            newest(installation, isolation="read_committed")
        with pytest.raises(UnavailableError, match="a transaction is open there"):
            all_records(installation)

    assert newest_offset(installation) == 300
    assert newest_offset(installation, isolation="read_committed") == 200
    assert [make_progress(next_offset=200)] == all_records(installation)


@pytest.mark.kafka
def test_all_records_in_the_order_of_their_writing(bootstrap_servers: str, topic_prefix: str) -> None:
    """Each kind that this version knows, with what `run` writes; a newer kind and a record without value are not among
    them."""
    installation = create_installation(bootstrap_servers, topic_prefix, partitions=2, instance_id="host-a")
    installation.run()
    moved = PositionsRecord(
        operation=None, partition=0, from_offset=1, to_offset=2, by="ada", because="a test", at_ms=NOW_MS
    )
    shown = UnmaskedRecord(command="explain --at 0:1", by="ada", because=None, host="host-a", at_ms=NOW_MS)
    put(
        installation,
        positions_out_record(moved, topic(installation)),
        b'{"kind": "COMMAND", "of": "a newer version"}',
        progress(installation),
        None,
        unmasked_out_record(shown, topic(installation), partition=0),
    )

    assigned, *others = all_records(installation)

    assert isinstance(assigned, AssignedRecord)
    assert [moved, make_progress(), shown] == others
    (only,) = all_records(installation, 1)
    assert isinstance(only, AssignedRecord) and only.partition == 1


@pytest.mark.kafka
@pytest.mark.parametrize(
    "value", [b"{", b'{"kind": "PROGRESS"}', json.dumps({"kind": "ASSIGNED", "partition": "0"}).encode()]
)
def test_what_cannot_be_read_is_named(bootstrap_servers: str, topic_prefix: str, value: bytes) -> None:
    """It may be what says that an operation is alive, or from when on decisions are off: nothing is guessed."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    put(installation, progress(installation), value)
    named = rf"^{installation.operations}\[0\]@1 cannot be read: .*\nhint: a newer version may have written it"

    with pytest.raises(InputError, match=named):
        newest(installation)
    with pytest.raises(InputError, match=named):
        all_records(installation)


def at_age(age_ms: int, **changed: Any) -> LoggedOperation[ProgressRecord]:
    """A progress record that is so old at NOW_MS. What its writer's clock said does not count."""
    position = RecordPosition(Topic("communications.operations"), 0, 7)
    return LoggedOperation(position, NOW_MS - age_ms, make_progress(at_ms=0, **changed))


@pytest.mark.parametrize("age_ms", [-5_000, 0, UNDER_WAY_MS - 1])
def test_another_operation_that_is_alive_keeps_one_away(age_ms: int) -> None:
    """Named with person, host and process, exit code 4; also where the broker's clock is ahead of ours."""
    with pytest.raises(OperationUnderWayError) as refused:
        refuse_other(at_age(age_ms), own=OTHER, now_ms=NOW_MS, take_over=False)

    text = str(refused.value)
    assert refused.value.exit_code == 4
    assert "operation replay-20261129T075501Z-3f2a91c0 is under way: by ops-ada on host host-a (process 4711)" in text
    assert "and has partition 0" in text and "--take-over" in text
    with pytest.raises(OperationUnderWayError):
        refuse_other(at_age(age_ms), own=None, now_ms=NOW_MS, take_over=False)


@pytest.mark.parametrize(
    "newest",
    [
        None,
        at_age(UNDER_WAY_MS),
        at_age(0, state=OperationState.DONE),
        at_age(0, state=OperationState.STOPPED),
    ],
    ids=["none", "a minute old", "done", "stopped"],
)
def test_an_operation_that_is_over_keeps_nobody_away(newest: LoggedOperation[ProgressRecord] | None) -> None:
    """One that was killed counts as over after a minute."""
    refuse_other(newest, own=OTHER, now_ms=NOW_MS, take_over=False)

    assert newest is None or not is_under_way(newest, now_ms=NOW_MS)


def test_positions_that_are_about_to_be_committed_keep_everyone_away() -> None:
    """Also who has the transactional id, as the commit is not fenced; any other operation is fenced by then."""
    positions = OperationId("positions-20261129T075502Z-00000001")
    with pytest.raises(OperationUnderWayError, match=r"about to set the group's position in partition 0"):
        refuse_positions(at_age(0, operation=positions), now_ms=NOW_MS)

    refuse_positions(at_age(0), now_ms=NOW_MS)
    refuse_positions(at_age(0, operation=OperationId("merge-1")), now_ms=NOW_MS)
    refuse_positions(at_age(UNDER_WAY_MS, operation=positions), now_ms=NOW_MS)
    refuse_positions(at_age(0, operation=positions, state=OperationState.DONE), now_ms=NOW_MS)
    refuse_positions(None, now_ms=NOW_MS)


def test_its_own_record_keeps_no_operation_away_nor_does_any_with_take_over() -> None:
    """The same operation goes on after a kill, within the minute too."""
    refuse_other(at_age(0), own=make_progress().operation, now_ms=NOW_MS, take_over=False)
    refuse_other(at_age(0), own=OTHER, now_ms=NOW_MS, take_over=True)
