"""`processor demo` on a real broker: what it says is so, what is planted is noticed, and nothing of it stays behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import OFFSET_END, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from processor.demo.generate import events
from processor.demo.report import Latency
from processor.demo.run import Input, demo, inputs, read_all
from processor.domain.event import Event
from processor.domain.output_topics import CO_PARTITIONED
from processor.domain.record import EventName, RecordPosition, SourceRecord, Topic
from processor.errors import DependencyError, FencedError, UsageError
from processor.kafka.clients import headers_of
from processor.registry.schema_files import load_schemas
from processor.settings import KafkaSettings, Settings
from processor.wire.decode import DecodeFailure, decode
from processor.wire.output_fields import read_message
from tests.support.clients import logged

SCHEMAS = load_schemas()
KEYS = (
    *("events", "messages", "streamEvents", "statuses", "notifications", "deadLetters", "decisions"),
    *("duplicates", "lost", "outOfOrder", "seconds", "eventsPerSecond", "latencyMs"),
)
Captured = pytest.CaptureFixture[str]
Left = Callable[[], set[str]]


@pytest.fixture
def settings(bootstrap_servers: str) -> Settings:
    return Settings(kafka=KafkaSettings(bootstrap_servers=bootstrap_servers))


def demos_on(servers: str) -> set[str]:
    """Topics and groups of demos on the broker."""
    asker = AdminClient(logged({"bootstrap.servers": servers}))
    groups = asker.list_consumer_groups().result().valid
    names = {*asker.list_topics(timeout=10).topics, *(group.group_id for group in groups)}
    return {name for name in names if name.startswith("demo-")}


@pytest.fixture
def left_behind(bootstrap_servers: str) -> Left:
    """Topics and groups of demos that were not there when the test began; waits a moment for them to go.

    The broker answers a deletion before it has forgotten the topic.
    """
    before = demos_on(bootstrap_servers)

    def left() -> set[str]:
        deadline = time.monotonic() + 5
        while (found := demos_on(bootstrap_servers) - before) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    return left


def said(capsys: Captured) -> dict[str, Any]:
    """The one line on stdout."""
    (line,) = capsys.readouterr().out.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def outcome(one: Input) -> Event | DecodeFailure:
    record = SourceRecord(
        RecordPosition(Topic("e"), 0, one.number), 0, one.record.key, one.record.value, one.record.headers
    )
    return decode(record, schemas=SCHEMAS, schema_of=SCHEMAS.local_schema)


# Without a broker


@pytest.mark.parametrize(("count", "burst"), [(1, 1), (2, 1), (3, 2), (100, 50)])
def test_what_is_sent(count: int, burst: int) -> None:
    """The events in their order, three records that are none for the reasons they name, and the first event again."""
    told = list(events(count))
    made = inputs(told, SCHEMAS, burst=burst)
    good = [one for one in made if one.event is not None and not one.again]
    bad = [one for one in made if one.event is None]

    assert told == [one.event for one in good]
    assert list(range(count + 4)) == [one.number for one in made]
    assert [told[0]["eventId"]] == [one.event["eventId"] for one in made if one.again and one.event]
    assert {"BAD_FRAME", "INVALID_EVENT", "UNKNOWN_EVENT"} == {one.reason for one in bad}
    assert all(isinstance(found := outcome(one), DecodeFailure) and found.reason == one.reason for one in bad)
    assert all(
        isinstance(found := outcome(one), Event) and one.record.key.decode() == found.ordering_key for one in good
    )
    assert all(one.number >= burst + 4 for one in good[burst:])


def test_percentiles_are_nearest_ranks() -> None:
    """Of 1 to 200 ms the 50th percentile is 100, the 95th 190, the 99th 198; of nothing there is none."""
    waits = [float(wait) for wait in reversed(range(1, 201))]

    assert Latency(200, 100.0, 190.0, 198.0) == Latency.of(waits)
    assert Latency(1, 7.0, 7.0, 7.0) == Latency.of([7.0])
    assert Latency(0, None, None, None) == Latency.of([])


def test_a_demo_of_nothing(settings_of_nowhere: Settings) -> None:
    """There is at least one event; without one nothing is started."""
    with pytest.raises(UsageError, match="--events is 1 or more, got: 0"):
        demo(settings_of_nowhere, events=0)


@pytest.fixture
def settings_of_nowhere() -> Settings:
    return Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"))


def test_no_broker(settings_of_nowhere: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that were given and do not answer are an error with a hint; no other broker is started instead."""
    monkeypatch.setattr("processor.kafka.topic_admin._REQUEST_TIMEOUT_S", 0.5)
    monkeypatch.setattr("processor.demo.run._SEEN_S", 0.5)
    with pytest.raises(DependencyError, match=r"no response from .*\nhint: "):
        demo(settings_of_nowhere)


# With one


@pytest.mark.kafka
def test_the_main_job(settings: Settings, left_behind: Left, capsys: Captured) -> None:
    """All outputs of 61 events and four others are read once and in order, and nothing is left on the broker."""
    code = demo(settings, events=61, json_output=True)
    found = said(capsys)

    assert code == 0
    assert list(KEYS) == list(found)
    assert (65, 3) == (found["events"], found["deadLetters"])
    assert 0 < found["notifications"] < found["messages"] - found["streamEvents"]  # webhooks have none
    assert [0, 0, 0] == [found["duplicates"], found["lost"], found["outOfOrder"]]
    assert found["messages"] == found["statuses"] > found["streamEvents"] > 0
    assert found["decisions"] > 1
    assert 0 < found["latencyMs"]["p50"] <= found["latencyMs"]["p95"] <= found["latencyMs"]["p99"]
    assert found["eventsPerSecond"] > 0 < found["seconds"]
    assert left_behind() == set()


@pytest.mark.kafka
def test_one_event(settings: Settings, capsys: Captured) -> None:
    """The smallest demo has no paced part, and so no latency."""
    code = demo(settings, events=1, json_output=True)
    found = said(capsys)

    assert (0, 5) == (code, found["events"])
    assert {"p50": None, "p95": None, "p99": None} == found["latencyMs"]


def partition_of(settings: Settings, topic: str, partition: int) -> list[Message]:
    """What the partition holds."""
    return [message for message in read_all(settings, [topic]) if message.partition() == partition]


def rewrite(settings: Settings, topic: str, partition: int, records: list[Message]) -> None:
    """Make `records` all that the partition holds, in this order: what was there is deleted, then these are sent."""
    asker = AdminClient(logged({"bootstrap.servers": settings.bootstrap_servers}))
    producer = Producer(logged({"bootstrap.servers": settings.bootstrap_servers}))
    (answer,) = asker.delete_records([TopicPartition(topic, partition, OFFSET_END)]).values()
    answer.result()
    for message in records:
        producer.produce(topic, message.value(), message.key(), partition=partition, headers=message.headers() or [])

    assert producer.flush(10) == 0


def account_and_time(message: Message) -> tuple[str | None, int | None]:
    """The account's key, and when the event was told: another time is another event."""
    told = read_message(message.value() or b"", headers_of(message), schemas=SCHEMAS)
    return told.loanAccountKey or told.depositAccountKey, told.creationDate


def neighbours(records: list[Message]) -> tuple[int, int]:
    """Where two messages of one account and of two events lie, none of that account between them."""
    latest: dict[str, tuple[int, int | None]] = {}
    for place, message in enumerate(records):
        account, at = account_and_time(message)
        if account is None:
            continue
        before, before_at = latest.get(account, (place, at))
        if before_at != at:
            return before, place
        latest[account] = (place, at)
    raise AssertionError("no account has two events")


@pytest.mark.kafka
def test_a_duplicate_and_a_swap_are_noticed(settings: Settings, capsys: Captured) -> None:
    """Planted into the real topic after the engine ended: one message told again, two of one account swapped."""

    def plant(ours: Settings) -> None:
        topic = ours.topic("messages")
        records = partition_of(ours, topic, 0)
        one, other = neighbours(records)
        records[one], records[other] = records[other], records[one]
        rewrite(ours, topic, 0, [*records, records[0]])

    code = demo(settings, events=200, json_output=True, tamper=plant)
    found = said(capsys)

    assert code == 1
    assert (1, 0, 1) == (found["duplicates"], found["lost"], found["outOfOrder"])


@pytest.mark.kafka
def test_lost_records_are_noticed(settings: Settings, capsys: Captured) -> None:
    """One record taken out of each of six topics: six are lost, and the counts say how many are there."""
    before: dict[str, int] = {}

    def plant(ours: Settings) -> None:
        topics = [ours.topic(role) for role in CO_PARTITIONED]
        for topic in [*topics, ours.stream_topic(EventName("SAVINGS_DEPOSIT"))]:
            first = next(iter(read_all(ours, [topic]))).partition()
            assert first is not None
            before[topic] = len(list(read_all(ours, [topic])))
            rewrite(ours, topic, first, partition_of(ours, topic, first)[1:])

    code = demo(settings, events=40, json_output=True, tamper=plant)
    found = said(capsys)

    assert code == 1
    assert (0, 6, 0) == (found["duplicates"], found["lost"], found["outOfOrder"])
    shown = [found[name] + 1 for name in ("messages", "statuses", "decisions", "deadLetters", "notifications")]
    assert shown == [count for topic, count in before.items() if "streamingapi" not in topic]


@pytest.mark.kafka
def test_changed_bytes_of_a_dead_letter_are_noticed(settings: Settings, capsys: Captured) -> None:
    """A dead letter whose value is not the source's, byte by byte, is none that was expected."""

    def plant(ours: Settings) -> None:
        topic = ours.topic("dead_letters")
        first = next(iter(read_all(ours, [topic]))).partition()
        assert first is not None
        records = partition_of(ours, topic, first)
        records[0].set_value((records[0].value() or b"") + b".")
        rewrite(ours, topic, first, records)

    code = demo(settings, events=10, json_output=True, tamper=plant)
    found = said(capsys)

    assert code == 1
    assert (1, 1) == (found["duplicates"], found["lost"])


@pytest.mark.kafka
def test_what_people_see(settings: Settings, capsys: Captured) -> None:
    """Without --json a few events stand beside what became of them, then counts, speed and what to try next."""
    demo(settings, events=60)
    shown = " ".join(capsys.readouterr().out.split())

    for piece in ("told again", "DUPLICATE_EVENT", "BAD_FRAME", "EVENT_STREAM SENT", "SMS QUEUED", "NO_RECIPIENT"):
        assert piece in shown
    for piece in ("duplicates", "out of order", "events/s", "p99", "What to try next", "processor produce --samples"):
        assert piece in shown


@pytest.mark.kafka
def test_keep(settings: Settings, bootstrap_servers: str, left_behind: Left, capsys: Captured) -> None:
    """With --keep topics and group stay, and their prefix is said on stderr; stdout has its one line."""
    demo(settings, events=4, json_output=True, keep=True)
    captured = capsys.readouterr()
    left = left_behind()
    prefix = next(iter(left)).split(".")[0]
    remove(bootstrap_servers, left)

    assert {f"{prefix}.processor", f"{prefix}.banking.events", f"{prefix}.communications.messages"} < left
    assert prefix in captured.err
    assert len(captured.out.splitlines()) == 1


def remove(servers: str, names: set[str]) -> None:
    """Topics and groups of a demo that was kept."""
    asker = AdminClient(logged({"bootstrap.servers": servers}))
    topics = names & asker.list_topics(timeout=10).topics.keys()
    answers = [*asker.delete_topics(list(topics), operation_timeout=30).values()]
    if names - topics:
        answers += asker.delete_consumer_groups(list(names - topics)).values()
    for answer in answers:
        answer.result()


@pytest.mark.kafka
def test_an_engine_that_ends(settings: Settings, left_behind: Left, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of the engine is the end of the demo, by the same exit code, with the engine's last words."""
    script = "import sys; sys.stderr.write('we are two'); sys.exit(4)"
    monkeypatch.setattr(
        "processor.demo.run.worker_command", lambda **_: lambda _number, _descriptor: [sys.executable, "-c", script]
    )
    with pytest.raises(FencedError, match=r"the engine ended with 4\n  we are two"):
        demo(settings, events=4)

    assert left_behind() == set()


def started(*arguments: str, servers: str | None) -> "subprocess.Popen[str]":
    """The command as people start it, in an environment without settings but these."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PROCESSOR_")}
    if servers is not None:
        environment["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"] = servers
    return subprocess.Popen(
        [sys.executable, "-m", "processor", "demo", *arguments],
        env=environment,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.kafka
def test_a_signal_leaves_nothing_behind(bootstrap_servers: str, left_behind: Left) -> None:
    """SIGTERM in the middle ends the engine too, and topics and group are removed."""
    with started("--events", "20000", servers=bootstrap_servers) as process:
        engine = wait_for_child(process.pid)
        time.sleep(2)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=40)

    assert process.returncode != 0
    assert not engine.is_running()
    assert left_behind() == set()


@pytest.mark.kafka
def test_a_killed_demo_takes_its_engine_along(bootstrap_servers: str, left_behind: Left) -> None:
    """SIGKILL leaves topics, which nobody can help, but no engine that runs on for ever."""
    with started("--events", "20000", servers=bootstrap_servers) as process:
        engine = wait_for_child(process.pid)
        time.sleep(2)
        process.kill()
        process.communicate(timeout=10)
    gone, alive = psutil.wait_procs([engine], timeout=15)
    remove(bootstrap_servers, left_behind())

    assert ([engine], []) == (gone, alive)


def wait_for_child(pid: int) -> psutil.Process:
    """The engine of a demo, once it is there."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for child in psutil.Process(pid).children():
            if "--supervisor" in child.cmdline():
                return child
        time.sleep(0.05)
    raise AssertionError("no engine was started")


@pytest.mark.kafka
def test_nothing_but_the_command() -> None:
    """Without any setting the command starts a Kafka of its own; stdout is one line, the exit code 0."""
    with started("--json", "--events", "20", servers=None) as process:
        out, err = process.communicate(timeout=120)

    assert process.returncode == 0, err
    (line,) = out.splitlines()
    assert json.loads(line)["events"] == 24
