"""The loop on a real broker, where no kill is needed to see it: markers, limits, waits, stops."""

import ctypes
import os
import random
import signal
import string
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer, cimpl
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from processor.domain.output_topics import FixedOutput
from processor.domain.reasons import Reason
from processor.engine.loop import run
from processor.engine.status import EngineStatus
from processor.kafka.clients import headers_of
from processor.kafka.local.kafka import local_kafka
from processor.settings import SchemaRegistrySettings
from processor.wire.dead_letter import read_dead_letter
from tests.support.builders import TENANT
from tests.support.clients import logged
from tests.support.events import repayment
from tests.support.http_server import recovering_registry
from tests.support.installation import Installation, create_installation
from tests.support.services import SOON_STARTED_AGAIN
from tests.support.waiting import becomes_true

pytestmark = pytest.mark.kafka


def test_the_position_passes_the_markers_of_a_transactional_input(bootstrap_servers: str, topic_prefix: str) -> None:
    """Events of a transactional producer: aborted ones are not mapped, and the committed offset is the input's end."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    producer = Producer(logged({"bootstrap.servers": bootstrap_servers, "transactional.id": f"{topic_prefix}core"}))
    producer.init_transactions(10)
    for number, commits in enumerate([True, False, True, False]):
        producer.begin_transaction()
        value, key = installation.encode(repayment(number))
        producer.produce(installation.events, value, key, 0)
        assert producer.flush(10) == 0
        if commits:
            producer.commit_transaction(10)
        else:
            producer.abort_transaction(10)
    installation.run()

    assert {"00000000-0000-4000-8000-000000000000", "00000000-0000-4000-8000-000000000002"} == {
        status["eventId"] for status in installation.read_statuses()
    }
    assert [8] == installation.committed()  # four records, four markers


def test_a_limit_that_is_lowered_live_costs_one_template(bootstrap_servers: str, topic_prefix: str) -> None:
    """The broker refuses the whole batch; limits are read again, and only the message that is too large is missing."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    long_name = "".join(random.Random(1).choices(string.ascii_letters, k=9_000))
    installation.produce_events([repayment(n, **({"firstName": long_name} if n == 3 else {})) for n in range(6)])
    messages = installation.settings.topic(FixedOutput.MESSAGES)

    def lower_limit(step: str) -> None:
        if step == "mapped" and not lowered:
            lowered.append(step)
            limit = ConfigEntry("max.message.bytes", "6000", incremental_operation=AlterConfigOpType.SET)
            resource = ConfigResource(ResourceType.TOPIC, messages, incremental_configs=[limit])
            admin = installation.admin()
            (altered,) = admin.incremental_alter_configs([resource]).values()
            altered.result(10)

    lowered: list[str] = []
    run(installation.settings, until_end=True, on_step=lower_limit)

    assert lowered
    assert [6] == installation.committed()
    by_template: dict[str, set[str]] = {}
    for status in installation.read_statuses():
        by_template.setdefault(status["templateId"], set()).add(status["eventId"][-1])
    assert {"loan-repayment-email": set("01245"), "loan-repayment-stream": set("012345")} == by_template
    (letter,) = installation.read(installation.settings.topic(FixedOutput.DEAD_LETTERS))
    dead = read_dead_letter(key=letter.key(), value=letter.value(), headers=headers_of(letter))
    assert [("loan-repayment-email", "MAX_MESSAGE_SIZE_LIMIT_EXCEEDED")] == [
        (failed.templateId, failed.reason) for failed in dead.failed
    ]


def test_a_record_whose_outputs_the_broker_refuses_is_a_dead_letter(bootstrap_servers: str, topic_prefix: str) -> None:
    """A compacted topic takes no record without a key, and refuses the batch it is in: the batch is halved down to that
    record, which is a dead letter with the broker's words; its neighbours are published, once."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    compacted = ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.SET)
    decisions = ConfigResource(
        ResourceType.TOPIC, installation.settings.topic(FixedOutput.DECISIONS), incremental_configs=[compacted]
    )
    admin = installation.admin()
    (altered,) = admin.incremental_alter_configs([decisions]).values()
    altered.result(10)
    installation.produce_events([repayment(n) for n in range(20)])
    producer = Producer(logged({"bootstrap.servers": bootstrap_servers}))
    producer.produce(
        installation.events, b"", None, 0
    )  # EMPTY_RECORD: a decision keyed by the source's key, which it has not
    assert producer.flush(10) == 0
    installation.produce_events([repayment(n) for n in range(20, 40)])
    installation.run()

    assert [41] == installation.committed()
    assert [2] * 40 == list(Counter(status["eventId"] for status in installation.read_statuses()).values())
    (letter,) = installation.read(installation.settings.topic(FixedOutput.DEAD_LETTERS))
    dead = read_dead_letter(key=letter.key(), value=letter.value(), headers=headers_of(letter))
    assert (20, Reason.OUTPUT_REFUSED) == (dead.position.offset, dead.reason)
    assert "INVALID_RECORD" in dead.detail


def test_a_header_whose_name_is_not_utf_8(bootstrap_servers: str, topic_prefix: str) -> None:
    """Its record is a dead letter with key and value, BAD_FRAME; also in the window that a restart reads back it is no
    trouble. A C producer can write such a name, the Python client can neither write nor read it."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.produce_events([repayment(1)])
    produce_with_header(installation, value=b"value", key=b"key", name=b"\xff\xfe")
    installation.produce_events([repayment(2)])
    installation.run()
    installation.produce_events([repayment(3)])
    installation.run()

    assert [4] == installation.committed()
    assert ["1", "1", "2", "2", "3", "3"] == [status["eventId"][-1] for status in installation.read_statuses()]
    (letter,) = installation.read(installation.settings.topic(FixedOutput.DEAD_LETTERS))
    headers = dict(headers_of(letter))
    assert (b"key", b"value", b"BAD_FRAME") == (letter.key(), letter.value(), headers["dl.reason"])
    assert b"headers: the name of a header is not UTF-8" == headers["dl.detail"]


def produce_with_header(installation: Installation, *, value: bytes, key: bytes, name: bytes) -> None:
    """Produce one record through librdkafka itself, which takes any bytes for the name of a header."""
    rdkafka = ctypes.CDLL(cimpl.__file__)
    for function in (rdkafka.rd_kafka_conf_new, rdkafka.rd_kafka_new):
        function.restype = ctypes.c_void_p
    conf = ctypes.c_void_p(rdkafka.rd_kafka_conf_new())
    why = ctypes.create_string_buffer(512)
    rdkafka.rd_kafka_conf_set(conf, b"bootstrap.servers", installation.servers.encode(), why, len(why))
    producer = ctypes.c_void_p(rdkafka.rd_kafka_new(0, conf, why, len(why)))
    size, tag = ctypes.c_size_t, ctypes.c_int
    topic, partition, is_value, is_key, header, end = (tag(number) for number in (1, 3, 4, 5, 9, 0))
    error = rdkafka.rd_kafka_producev(
        *(producer, topic, installation.events.encode(), partition, tag(0)),
        *(is_value, value, size(len(value)), is_key, key, size(len(key))),
        *(header, name, b"x", ctypes.c_ssize_t(1), end),
    )
    assert 0 == error
    assert 0 == rdkafka.rd_kafka_flush(producer, 10_000)
    rdkafka.rd_kafka_destroy(producer)


@pytest.mark.parametrize(
    ("table", "properties"),
    [
        ("CONSUMER", '{"group.protocol": "consumer"}'),
        ("COMMON", '{"group.protocol": "consumer", "statistics.interval.ms": 0}'),
    ],
)
def test_more_workers_than_partitions(bootstrap_servers: str, topic_prefix: str, table: str, properties: str) -> None:
    """With KIP-848 no callback runs for a member without partitions; it is ready all the same, and `--until-end` ends
    with 0 for all."""
    installation = create_installation(bootstrap_servers, topic_prefix, partitions=2)
    for partition in range(2):
        installation.produce_events([repayment(n) for n in range(10)], partition=partition)
    environment = {
        **os.environ,
        "PROCESSOR_TENANT": TENANT,
        "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers,
        f"PROCESSOR_KAFKA__{table}": properties,
        "PROCESSOR_TOPICS__PREFIX": topic_prefix,
        "PROCESSOR_OUTPUT__FORMAT": "json",
        "PROCESSOR_HTTP__PORT": "0",
    }
    command = [sys.executable, "-m", "processor", "run", "--workers", "4"]
    done = subprocess.run([*command, "--until-end"], env=environment, capture_output=True, timeout=90, check=False)

    assert 0 == done.returncode, done.stderr.decode()
    assert [10, 10] == installation.committed([0, 1])

    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
        try:
            assert running.stdout is not None
            url = f"http://{running.stdout.readline().decode().strip().removeprefix('http=')}/ready"
            deadline = time.monotonic() + 40
            while not (ready := httpx.get(url, trust_env=False)).is_success and time.monotonic() < deadline:
                time.sleep(0.5)
        finally:
            running.terminate()

    assert {"ready": True, "degraded": False, "reasons": []} == ready.json()
    assert 0 == running.returncode


def test_a_registry_that_is_down_holds_up_one_partition(bootstrap_servers: str, topic_prefix: str) -> None:
    """A record of an unknown schema id waits, with all behind it; the other partition goes on; then it is mapped."""
    responses: dict[str, Any] = {}
    with recovering_registry(responses) as url:
        installation = create_installation(
            bootstrap_servers, topic_prefix, partitions=2, schema_registry=SchemaRegistrySettings(url=url)
        )
        value, key = installation.encode(repayment(1))
        producer = Producer(logged({"bootstrap.servers": bootstrap_servers}))
        producer.produce(installation.events, value, key, 0)
        producer.produce(
            installation.events, b"\x00" + (7).to_bytes(4, "big") + installation.encode(repayment(2))[0][5:], key, 0
        )
        producer.produce(installation.events, installation.encode(repayment(3))[0], key, 0)
        producer.produce(installation.events, installation.encode(repayment(4))[0], key, 1)
        assert producer.flush(10) == 0
        seen: list[tuple[list[int], list[int]]] = []

        def start_registry(step: str) -> None:
            # Between two batches: inside a transaction the group's position is not stable, and cannot be read.
            if step == "polled" and not responses and installation.committed([0, 1]) == [1, 1]:
                seen.append(([len(installation.read_statuses(0))], [len(installation.read_statuses(1))]))
                families = installation.schemas.families.values()
                schema = next(family for family in families if "LoanTransaction" in family.name)
                responses["/schemas/ids/7"] = {"schema": schema.text}

        run(installation.settings, until_end=True, on_step=start_registry)

    assert [([2], [2])] == seen
    assert [3, 1] == installation.committed([0, 1])
    assert [str(n) for n in (1, 1, 2, 2, 3, 3)] == [status["eventId"][-1] for status in installation.read_statuses(0)]


def test_stopped_while_the_broker_hangs() -> None:
    """SIGTERM ends the process with 0 within 10 s also when the broker does not respond; nothing is lost."""
    with local_kafka() as kafka:
        installation = create_installation(kafka.bootstrap_servers, "hang.")
        environment = {
            **os.environ,
            "PROCESSOR_TENANT": TENANT,
            "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "PROCESSOR_TOPICS__PREFIX": "hang.",
            "PROCESSOR_OUTPUT__FORMAT": "json",
            "PROCESSOR_HTTP__PORT": "0",
        }
        with subprocess.Popen(
            [sys.executable, "-m", "processor", "run"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as engine:
            installation.produce_events([repayment(0)])
            deadline = time.monotonic() + 30
            while installation.committed() != [1]:
                assert time.monotonic() < deadline
                time.sleep(0.2)
            producer = Producer(logged({"bootstrap.servers": kafka.bootstrap_servers, "linger.ms": 0}))
            value, key = installation.encode(repayment(1))
            producer.produce(installation.events, value, key, 0)
            assert producer.flush(10) == 0
            kafka.pause()
            try:
                time.sleep(1)
                began = time.monotonic()
                engine.send_signal(signal.SIGTERM)
                code = engine.wait(30)
                took_s = time.monotonic() - began
            finally:
                kafka.resume()
        assert code == 0
        assert took_s < 10
        installation.run()

        assert ["0", "0", "1", "1"] == [status["eventId"][-1] for status in installation.read_statuses()]


def test_until_end_of_an_empty_input(bootstrap_servers: str, topic_prefix: str) -> None:
    """`--until-end` on empty partitions ends at once."""
    installation = create_installation(bootstrap_servers, topic_prefix, partitions=3)
    installation.run()

    assert [0, 0, 0] == installation.committed([0, 1, 2])


def test_not_ready_while_the_broker_is_away() -> None:
    """When the group is lost with its broker, /ready says so within the session's time; with the broker it is back."""
    with local_kafka(extra=SOON_STARTED_AGAIN) as kafka:
        consumer = {"session.timeout.ms": "6000"}
        installation = create_installation(
            kafka.bootstrap_servers,
            "away.",
            kafka={"bootstrap_servers": kafka.bootstrap_servers, "consumer": consumer},
        )
        status = EngineStatus.unobserved()
        readiness: list[bool] = []
        ends = threading.Event()

        def watch() -> None:
            def becomes_ready(ready: bool, timeout_s: float) -> bool:
                return becomes_true(lambda: status.readiness().ready is ready, timeout_s)

            readiness.append(becomes_ready(True, 30))
            kafka.kill()
            readiness.append(becomes_ready(False, 40))
            kafka.start()
            readiness.append(becomes_ready(True, 60))
            ends.set()
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=watch, daemon=True).start()
        run(installation.settings, status=status)

    assert ends.is_set()
    assert [True, True, True] == readiness
