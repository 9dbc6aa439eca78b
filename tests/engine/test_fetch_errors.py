"""What one partition's fetch may bring: a batch that unpacks to far more than it weighs, or that nobody can unpack."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog
from confluent_kafka import Producer

from processor.domain.output_topics import FixedOutput
from processor.domain.reference import Table
from processor.engine.loop import run
from processor.engine.status import EngineStatus
from processor.errors import FatalError
from processor.kafka.clients import headers_of
from processor.kafka.local.kafka import local_kafka
from processor.observability.metrics import DEFERRED_RECORDS
from processor.settings import KafkaSettings
from processor.wire.dead_letter import read_dead_letter
from tests.support.clients import logged
from tests.support.events import repayment
from tests.support.installation import Installation, check_delivery, create_installation
from tests.support.reference_rows import BLOCKED, CLIENT
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]

UNPACKED_BYTES = 150_000_000
SMALLER = {"receive.message.max.bytes": "100000000"}  # the default of librdkafka


def produce_150_mb_batch(installation: Installation, topic: str, key: str = "key", *, partition: int = 0) -> None:
    """Put one batch of 4.6 KB that unpacks to 150 MB."""
    producer = Producer(
        logged(
            {"bootstrap.servers": installation.servers, "message.max.bytes": 1_000_000_000, "compression.type": "zstd"}
        )
    )
    producer.produce(topic, b" " * UNPACKED_BYTES, key, partition, on_delivery=check_delivery)
    assert producer.flush(60) == 0


class StopEngineError(Exception):
    """Ends the engine at once, wherever it is."""


class StoppableStatus(EngineStatus):
    """Raises LeftError where the engine waits before its first poll, once `leaving` is set."""

    stopping: threading.Event

    def set_starting(self, reason: str) -> None:
        if self.stopping.is_set():
            raise StopEngineError
        super().set_starting(reason)


class Running:
    """The engine in a thread of this process, until the block ends."""

    def __init__(self) -> None:
        self.status = StoppableStatus.unobserved()
        self.error: FatalError | None = None


@contextmanager
def running(installation: Installation) -> Iterator[Running]:
    """`run` until the block is left, wherever it is then; an end before that is in `error`."""
    engine = Running()
    engine.status.stopping = stopping = threading.Event()

    def observe(step: str) -> None:
        if stopping.is_set() and step == "polled":
            raise StopEngineError

    def work() -> None:
        try:
            run(installation.settings, on_step=observe, status=engine.status)
        except StopEngineError:
            pass
        except FatalError as error:
            engine.error = error

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield engine
    finally:
        stopping.set()
        thread.join(20)
    assert not thread.is_alive(), "it would go on beside the other tests"


def with_consumer(installation: Installation, properties: dict[str, str]) -> Installation:
    """The same topics and group, other properties of the consumer."""
    kafka = KafkaSettings(bootstrap_servers=installation.servers, consumer=properties)
    return Installation(
        installation.settings.model_copy(update={"kafka": kafka}), installation.schemas, installation.templates
    )


def test_a_batch_that_unpacks_to_150_mb_is_a_dead_letter(bootstrap_servers: str, topic_prefix: str) -> None:
    """The record is EVENT_TOO_LARGE as any other, and what lies around it is mapped."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(0)])
    produce_150_mb_batch(installation, installation.events)
    installation.produce_events([repayment(1)])
    installation.run()

    (letter,) = installation.read(installation.settings.topic(FixedOutput.DEAD_LETTERS))
    dead = read_dead_letter(key=letter.key(), value=letter.value(), headers=headers_of(letter))
    assert ("EVENT_TOO_LARGE", 1) == (dead.reason, dead.position.offset)
    assert [3] == installation.committed()
    assert {"0", "1"} == {status["eventId"][-1] for status in installation.read_statuses()}


def test_a_batch_that_cannot_be_unpacked_defers_its_partition(bootstrap_servers: str, topic_prefix: str) -> None:
    """The partition waits at it; the others go on; /ready says where and why. With a higher limit it goes on."""
    installation = create_installation(bootstrap_servers, topic_prefix, partitions=2)
    limited = with_consumer(installation, SMALLER)
    installation.produce_events([repayment(0)])
    produce_150_mb_batch(installation, installation.events)
    installation.produce_events([repayment(1)])
    installation.produce_events([repayment(2)], partition=1)
    with running(limited) as engine:
        wait_until(lambda: installation.committed([0, 1]) == [1, 1] or engine.error is not None)
        wait_until(lambda: engine.status.readiness().degraded or engine.error is not None)
        readiness = engine.status.readiness()
        installation.produce_events([repayment(3)], partition=1)
        wait_until(lambda: installation.committed([1]) == [2] or engine.error is not None)

        assert engine.error is None
        assert readiness.ready
        (reason,) = readiness.reasons
        assert f"{installation.events}[0]@1" in reason
        assert "receive.message.max.bytes" in reason
        assert [1, 2] == installation.committed([0, 1])
        assert engine.status.metrics[DEFERRED_RECORDS].labels(reason="fetch error")._value.get() >= 1

    installation.run()

    assert [3, 2] == installation.committed([0, 1])
    assert ["0", "1"] == sorted({status["eventId"][-1] for status in installation.read_statuses(0)})


class Damage:
    """A byte of a topic's log changed on the broker's disk, behind the broker's back; `repair` undoes it."""

    def __init__(self, data: Path, topic: str, marker: bytes) -> None:
        (self._file,) = (data / "log" if (data / "log").is_dir() else data).glob(f"**/{topic}-0/*.log")
        self._at = self._file.read_bytes().index(marker)
        self._flip()

    def _flip(self) -> None:
        with self._file.open("r+b") as log:
            log.seek(self._at)
            (byte,) = log.read(1)
            log.seek(self._at)
            log.write(bytes([byte ^ 0xFF]))

    repair = _flip


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `servers_with_disk` keeps its data."""
    return tmp_path_factory.mktemp("disk")


@pytest.fixture(scope="module")
def servers_with_disk(disk: Path) -> Iterator[str]:
    """A broker whose files a test may damage."""
    with local_kafka(data=disk) as kafka:
        yield kafka.bootstrap_servers


@pytest.mark.parametrize("check_crcs", ["false", "true"])
def test_a_corrupt_batch_is_never_skipped(
    servers_with_disk: str, disk: Path, topic_prefix: str, check_crcs: str
) -> None:
    """Damaged on the disk and repaired again: what lies behind it is mapped afterwards, all of it, and nothing before.
    With `check.crcs` librdkafka itself goes on behind such a batch."""
    installation = create_installation(servers_with_disk, topic_prefix)
    producer = Producer(logged({"bootstrap.servers": installation.servers, "compression.type": "gzip"}))
    for number in range(5):  # a batch for each
        value, key = installation.encode(repayment(number))
        producer.produce(installation.events, value, key, 0, headers=[("pad", bytes(2_000))])
        assert producer.flush(30) == 0
    damage = Damage(disk, installation.events, b"\x1f\x8b\x08")
    checked = with_consumer(installation, {"check.crcs": check_crcs})
    with running(checked) as engine:
        wait_until(lambda: engine.status.readiness().degraded or engine.error is not None)
        readiness = engine.status.readiness()
        time.sleep(1.5)  # time enough to go on behind it

        assert engine.error is None
        assert f"{installation.events}[0]@0 cannot be read" in readiness.reasons[0]
        assert "damaged" in readiness.reasons[0]
        assert [] == installation.read_statuses()

        damage.repair()
        wait_until(lambda: installation.committed() == [5], timeout_s=60)

    assert set("01234") == {status["eventId"][-1] for status in installation.read_statuses()}


def test_a_row_that_unpacks_to_150_mb_is_invalid(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """The rows before and behind it count, and the copy does not keep its 150 MB."""
    installation = create_installation(bootstrap_servers, topic_prefix, state_dir=tmp_path / "state")
    produce_150_mb_batch(installation, installation.settings.topic(Table.CONTACTS), "somebody")
    installation.produce_row(Table.CONTACTS, CLIENT, BLOCKED)
    installation.produce_events([repayment(0)])
    installation.run()

    assert "contact CTT-4410-0093-7715 is blocked" in json.dumps(installation.read_decisions())
    assert [1] == installation.committed()
    assert 1_000_000 > sum(file.stat().st_size for file in (tmp_path / "state").glob("**/*") if file.is_file())


def test_a_table_that_cannot_be_read_at_the_start(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """Nothing is mapped without the table, /ready says where and why, and the process does not end: its restarts would
    come no further."""
    installation = create_installation(bootstrap_servers, topic_prefix, state_dir=tmp_path / "state")
    produce_150_mb_batch(installation, installation.settings.topic(Table.CONTACTS), "somebody")
    installation.produce_events([repayment(0)])
    with running(with_consumer(installation, SMALLER)) as engine:
        place = f"{installation.settings.topic(Table.CONTACTS)}[0]@0"
        wait_until(lambda: place in str(engine.status.readiness().reasons) or engine.error is not None)
        time.sleep(1)

        assert engine.error is None
        readiness = engine.status.readiness()
        assert not readiness.ready
        assert "receive.message.max.bytes" in readiness.reasons[0]
        assert [-1001] == installation.committed()


def test_a_table_that_cannot_be_read_any_further(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """Events are mapped with the rows that are there, the other tables go on, and /ready is degraded meanwhile."""
    installation = create_installation(bootstrap_servers, topic_prefix, state_dir=tmp_path / "state")
    with structlog.testing.capture_logs() as logs, running(with_consumer(installation, SMALLER)) as engine:
        wait_until(lambda: engine.status.readiness().ready or engine.error is not None)
        produce_150_mb_batch(installation, installation.settings.topic(Table.CONTACTS), "somebody")
        wait_until(lambda: engine.status.readiness().degraded or engine.error is not None)
        installation.produce_row(Table.ACCOUNTS, "somebody", b"not a row")
        installation.produce_events([repayment(0)])
        wait_until(lambda: installation.committed() == [1] or engine.error is not None)

        assert engine.error is None
        readiness = engine.status.readiness()
        assert readiness.ready
        assert f"{installation.settings.topic(Table.CONTACTS)}[0]@0 cannot be read" in readiness.reasons[0]
        assert "receive.message.max.bytes" in readiness.reasons[0]
    errors = [(line["event"], line.get("position")) for line in logs if line["log_level"] == "error"]
    invalid_row = f"{installation.settings.topic(Table.ACCOUNTS)}[0]@0"
    assert [("reference table partition paused", None), ("invalid reference row", invalid_row)] == errors


def test_an_output_that_cannot_be_read(bootstrap_servers: str, topic_prefix: str) -> None:
    """A group without positions looks into its outputs: where one cannot be read, that partition waits for it, and the
    position is in /ready. A template set that cannot be read delays no start."""
    installation = create_installation(bootstrap_servers, topic_prefix, partitions=2)
    produce_150_mb_batch(installation, installation.settings.topic(FixedOutput.STATUS))
    produce_150_mb_batch(installation, installation.settings.topic(FixedOutput.TEMPLATE_SETS))
    installation.produce_events([repayment(0)])
    installation.produce_events([repayment(1)], partition=1)
    with running(with_consumer(installation, SMALLER)) as engine:
        place = f"{installation.settings.topic(FixedOutput.STATUS)}[0]@0 cannot be read: _BAD_COMPRESSION"
        wait_until(lambda: place in str(engine.status.readiness().reasons) or engine.error is not None)
        wait_until(lambda: installation.committed([1]) == [1] or engine.error is not None)

        assert engine.error is None
        assert [-1001, 1] == installation.committed([0, 1])
        assert not engine.status.readiness().ready


@pytest.mark.parametrize("decisions", ["all", "off"])
def test_a_batch_that_was_skipped_does_not_keep_its_partition_from_starting(
    bootstrap_servers: str, topic_prefix: str, decisions: str
) -> None:
    """Nobody could read it, and a person has set the position behind it: what lies in the window and cannot be read
    counts for nothing, and all that can be read does."""
    installation = create_installation(
        bootstrap_servers, topic_prefix, decisions=decisions, channels={"disabled": ["EMAIL"]}
    )
    limited = with_consumer(installation, SMALLER)
    installation.produce_events([repayment(0)])
    limited.run()
    produce_150_mb_batch(installation, installation.events)
    installation.produce_events([repayment(1)])
    installation.set_position(2)
    limited.run()
    installation.produce_events([repayment(0), repayment(1), repayment(2)])
    limited.run()

    assert [6] == installation.committed()
    assert ["0", "1", "2"] == [status["eventId"][-1] for status in installation.read_statuses()]
