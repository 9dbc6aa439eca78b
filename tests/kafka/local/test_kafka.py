"""The local Kafka is a real broker that obeys, and that never outlives its owner."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from processor.errors import DependencyError, UsageError
from processor.kafka.local import kafka as kafka_module
from processor.kafka.local.kafka import LocalKafka, local_kafka
from processor.kafka.local.ports import free_ports
from tests.support.services import SOON_STARTED_AGAIN

pytestmark = pytest.mark.kafka

#: An owner that says what it owns and then waits; with `fork` a child of its holds all its files open.
OWNER = """
import os, sys, time
from processor.kafka.local.kafka import local_kafka

with local_kafka() as kafka:
    child = os.fork() if sys.argv[1] == "fork" else 0
    if sys.argv[1] != "fork" or child:
        print(kafka.pid, kafka.log.parent, child, flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def kafka() -> Iterator[LocalKafka]:
    """A broker of this module's own, for tests that freeze it."""
    with local_kafka() as kafka:
        yield kafka


def _create(bootstrap_servers: str, topic: str) -> None:
    with AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0}) as admin:
        admin.create_topics([NewTopic(topic, 1, 1)])[topic].result()


def _topics(bootstrap_servers: str) -> set[str]:
    with AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0}) as admin:
        return {topic for topic in admin.list_topics(timeout=10).topics if not topic.startswith("__")}


def _write(bootstrap_servers: str, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap_servers, "log_level": 0, "message.timeout.ms": 30_000})
    producer.produce(topic, value)

    assert 0 == producer.flush(30)


def _read(bootstrap_servers: str, topic: str, *, count: int) -> list[bytes | None]:
    """The first `count` committed values of `topic`, or fewer after 30 s."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "log_level": 0,
            "group.id": f"reader-of-{topic}-{time.monotonic_ns()}",
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
    )
    consumer.subscribe([topic])
    deadline, values = time.monotonic() + 30, list[bytes | None]()
    while len(values) < count and time.monotonic() < deadline:
        if (record := consumer.poll(0.2)) and not record.error():
            values.append(record.value())
    consumer.close()
    return values


def _within(seconds: float, happened: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.05)
    return happened()


def test_a_record_goes_through(kafka: LocalKafka, topic_prefix: str) -> None:
    """What a producer writes, a member of a group reads."""
    topic = f"{topic_prefix}in"
    _create(kafka.bootstrap_servers, topic)
    _write(kafka.bootstrap_servers, topic, b"hello")

    assert [b"hello"] == _read(kafka.bootstrap_servers, topic, count=1)


def test_two_brokers_side_by_side(kafka: LocalKafka, topic_prefix: str) -> None:
    """Two brokers of one machine know nothing of each other."""
    _create(kafka.bootstrap_servers, f"{topic_prefix}first")
    with local_kafka() as other:
        _create(other.bootstrap_servers, f"{topic_prefix}second")

        assert {f"{topic_prefix}second"} == _topics(other.bootstrap_servers)
        assert f"{topic_prefix}second" not in _topics(kafka.bootstrap_servers)


def test_only_this_machine_reaches_the_broker(kafka: LocalKafka) -> None:
    """Every port on which java listens is on loopback."""
    connections = psutil.Process(kafka.pid).net_connections("inet")
    listening = {connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN}

    assert {"127.0.0.1"} == {address.removeprefix("::ffff:") for address in listening}


def test_a_missing_topic_is_not_created(kafka: LocalKafka, topic_prefix: str) -> None:
    """A misspelt topic is missing, as on a well-kept cluster."""
    with AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0}) as admin:
        admin.list_topics(f"{topic_prefix}misspelt", timeout=10)

    assert f"{topic_prefix}misspelt" not in _topics(kafka.bootstrap_servers)


def test_readers_go_on_soon_after_an_open_transaction_timed_out(kafka: LocalKafka, topic_prefix: str) -> None:
    """What a dead producer left open holds up readers for its time-out and little more."""
    topic = f"{topic_prefix}in"
    _create(kafka.bootstrap_servers, topic)
    dead = Producer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "transactional.id": f"{topic_prefix}dead",
            "transaction.timeout.ms": 1000,
            "log_level": 0,
        }
    )
    dead.init_transactions(30)
    dead.begin_transaction()
    dead.produce(topic, b"never committed")
    dead.flush(10)
    begin = time.monotonic()
    _write(kafka.bootstrap_servers, topic, b"after")

    assert [b"after"] == _read(kafka.bootstrap_servers, topic, count=1)
    assert time.monotonic() - begin < 8  # 1 s, the broker's look every second, and the reader's own start


def test_a_frozen_broker_responds_when_resumed(kafka: LocalKafka, topic_prefix: str) -> None:
    """A broker that was frozen for longer than its own session responds again after it is woken."""
    topic = f"{topic_prefix}in"
    _create(kafka.bootstrap_servers, topic)
    kafka.pause()
    time.sleep(4)
    kafka.resume()
    _write(kafka.bootstrap_servers, topic, b"awake")

    assert [b"awake"] == _read(kafka.bootstrap_servers, topic, count=1)


def test_killed_and_started_again(topic_prefix: str) -> None:
    """After SIGKILL and a restart it has the same address and the records that were acknowledged."""
    topic = f"{topic_prefix}in"
    with local_kafka(extra=SOON_STARTED_AGAIN) as kafka:
        address, pid = kafka.bootstrap_servers, kafka.pid
        _create(address, topic)
        _write(address, topic, b"before")
        kafka.kill()

        assert -signal.SIGKILL == kafka.exit_code()
        kafka.restart()

        assert pid != kafka.pid
        assert kafka.exit_code() is None
        assert [b"before"] == _read(address, topic, count=1)


def test_data_is_kept(tmp_path: Path, topic_prefix: str) -> None:
    """A given folder holds the records for the next broker, on other ports too; meanwhile it belongs to one alone."""
    topic = f"{topic_prefix}in"
    with local_kafka(data=tmp_path) as first:
        _create(first.bootstrap_servers, topic)
        _write(first.bootstrap_servers, topic, b"kept")
        with pytest.raises(UsageError, match=f"another Kafka uses {tmp_path}"), local_kafka(data=tmp_path):
            pass
    with local_kafka(data=tmp_path) as second:
        assert first.port != second.port
        assert [b"kept"] == _read(second.bootstrap_servers, topic, count=1)


def test_data_is_private_to_its_owner(tmp_path: Path, topic_prefix: str) -> None:
    """Events and messages hold names and addresses; a folder of an earlier start is tightened."""
    kept = tmp_path / "kept"
    with local_kafka(data=kept) as kafka:
        _create(kafka.bootstrap_servers, f"{topic_prefix}t")
        _write(kafka.bootstrap_servers, f"{topic_prefix}t", b"value")
        others = 0o077
        assert {0} == {path.stat().st_mode & others for path in (kept, *(kept / "data").rglob("*"))}
    (kept / "data").chmod(0o755)
    with local_kafka(data=kept):
        assert 0o700 == (kept / "data").stat().st_mode & 0o777


def test_data_that_cannot_be_a_folder(tmp_path: Path) -> None:
    """A data folder that is a file is the caller's mistake, reported before anything starts."""
    (tmp_path / "file").touch()

    with pytest.raises(UsageError, match="cannot hold Kafka's data"), local_kafka(data=tmp_path / "file"):
        pass


def test_a_given_port_that_is_taken() -> None:
    """A port that somebody has is named, with what to do."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(UsageError, match=rf"port {port} on 127.0.0.1 cannot be used(?s:.*)hint: "):
            local_kafka(port=port).__enter__()


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_a_number_that_is_no_port(port: int) -> None:
    """What cannot be a port is said to be none."""
    with pytest.raises(UsageError, match=f"from 1 to 65535, got: {port}"):
        local_kafka(port=port).__enter__()


@pytest.mark.parametrize("which", ["broker's", "controller's"])
def test_a_free_port_taken_in_the_meantime(kafka: LocalKafka, monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    """When another broker gets a port that was free, others are tried: that other broker is not mistaken for ours."""
    lost, good = kafka.port, free_ports(3)
    ports = iter([(lost, good[0]) if which == "broker's" else (good[0], lost), good[1:]])
    monkeypatch.setattr(kafka_module, "free_ports", lambda _: next(ports))
    with local_kafka() as second:
        assert good[1] == second.port


def test_a_broker_that_does_not_start_says_why() -> None:
    """The error holds the broker's own last words and a hint, and no process is left behind."""
    before = psutil.Process().children()
    with (
        pytest.raises(DependencyError, match=r"(?s)did not start.*num\.network\.threads.*hint: "),
        local_kafka(extra={"num.network.threads": "0"}),
    ):
        pass

    assert before == psutil.Process().children()


@contextlib.contextmanager
def _owner(how: str) -> Iterator[tuple["subprocess.Popen[str]", psutil.Process, Path]]:
    """An owner in its own process, its java, and the temporary folder."""
    with subprocess.Popen([sys.executable, "-c", OWNER, how], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid, folder, child = owner.stdout.readline().split()
        try:
            yield owner, psutil.Process(int(pid)), Path(folder)
        finally:
            owner.kill()
            if how == "fork":
                os.kill(int(child), signal.SIGKILL)


@pytest.mark.parametrize("how", ["plain", "fork"])
def test_java_ends_with_its_owner(how: str) -> None:
    """SIGKILL to the owner ends java and removes the folder within seconds, even if a child holds the owner's pipes."""
    with _owner(how) as (owner, java, folder):
        assert folder.is_dir()
        owner.kill()

        assert _within(5, lambda: not java.is_running())
        assert _within(5, lambda: not folder.exists())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tie a child to a SIGKILLed parent")
def test_java_ends_with_its_guard(number: signal.Signals) -> None:
    """A guard that is ended, by SIGKILL too, takes java along; the owner then gets a clear error."""
    with local_kafka() as kafka:
        java = psutil.Process(kafka.pid)
        guard = java.parent()
        assert guard is not None
        guard.send_signal(number)

        assert _within(5, lambda: not java.is_running())
        with pytest.raises(DependencyError, match="guard of the local Apache Kafka has ended"):
            kafka.kill()


def test_a_frozen_broker_can_be_stopped() -> None:
    """Leaving the block ends a broker that is frozen, at once."""
    with local_kafka() as kafka:
        folder, java = kafka.log.parent, psutil.Process(kafka.pid)
        kafka.pause()
        begin = time.monotonic()

    assert time.monotonic() - begin < 5
    assert not java.is_running()
    assert not folder.exists()
