"""`processor demo` on a real broker: its counts are true, discrepancies are noticed, and nothing of it stays behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import OFFSET_END, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from processor.cli.demo import command
from processor.demo.generate import events
from processor.demo.inputs import Input, make_inputs
from processor.demo.report import Latency
from processor.demo.run import Tamper, run_demo
from processor.demo.watcher import read_all
from processor.domain.event import Event
from processor.domain.output_topics import CO_PARTITIONED, FixedOutput
from processor.domain.record import EventName, RecordPosition, SourceRecord, Topic
from processor.errors import DependencyError, FencedError, UsageError
from processor.kafka.clients import headers_of
from processor.registry.schema_files import load_schemas
from processor.settings import KafkaSettings, Settings
from processor.wire.decode import DecodeFailure, decode
from processor.wire.output_fields import read_message
from tests.cli.commands import run_command
from tests.support.clients import logged

SCHEMAS = load_schemas()
KEYS = (
    *("events", "messages", "streamEvents", "statuses", "notifications", "deadLetters", "decisions"),
    *("duplicates", "lost", "outOfOrder", "seconds", "eventsPerSecond", "latencyMs"),
)
Captured = pytest.CaptureFixture[str]
Leftovers = Callable[[], set[str]]


@pytest.fixture
def settings(bootstrap_servers: str) -> Settings:
    return Settings(kafka=KafkaSettings(bootstrap_servers=bootstrap_servers))


def demo_names(servers: str) -> set[str]:
    """Topics and groups of demos on the broker."""
    admin = AdminClient(logged({"bootstrap.servers": servers}))
    groups = admin.list_consumer_groups().result().valid
    names = {*admin.list_topics(timeout=10).topics, *(group.group_id for group in groups)}
    return {name for name in names if name.startswith("demo-")}


@pytest.fixture
def leftovers(bootstrap_servers: str) -> Leftovers:
    """Topics and groups of demos that did not exist when the test began; waits a moment for them to go.

    The broker responds to a deletion before it has forgotten the topic.
    """
    before = demo_names(bootstrap_servers)

    def remaining() -> set[str]:
        deadline = time.monotonic() + 5
        while (found := demo_names(bootstrap_servers) - before) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    return remaining


def printed(capsys: Captured) -> dict[str, Any]:
    """The one line on stdout."""
    (line,) = capsys.readouterr().out.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def decode_input(item: Input) -> Event | DecodeFailure:
    """What `run` reads of it."""
    record = SourceRecord(
        RecordPosition(Topic("e"), 0, item.number), 0, item.record.key, item.record.value, item.record.headers
    )
    return decode(record, schemas=SCHEMAS, schema_of=SCHEMAS.local_schema)


def demo(settings: Settings, *, tamper: Tamper | None = None, **options: Any) -> int:
    """The command with these options; `tamper` changes the real topics before they are read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("processor.demo.run.run_demo", partial(run_demo, tamper=tamper))
        return run_command(command, settings, **options)


# Without a broker


@pytest.mark.parametrize(("count", "burst"), [(1, 1), (2, 1), (3, 2), (100, 50)])
def test_input_of_the_demo(count: int, burst: int) -> None:
    """The events in their order, three records that are none for the reasons they name, and the first event again."""
    sent = list(events(count))
    inputs = make_inputs(sent, SCHEMAS, burst=burst)
    good = [item for item in inputs if item.event is not None and not item.is_repeat]
    bad = [item for item in inputs if item.event is None]

    assert sent == [item.event for item in good]
    assert list(range(count + 4)) == [item.number for item in inputs]
    assert [sent[0]["eventId"]] == [item.event["eventId"] for item in inputs if item.is_repeat and item.event]
    assert {"BAD_FRAME", "INVALID_EVENT", "UNKNOWN_EVENT"} == {item.reason for item in bad}
    assert all(isinstance(found := decode_input(item), DecodeFailure) and found.reason == item.reason for item in bad)
    assert all(
        isinstance(found := decode_input(item), Event) and item.record.key.decode() == found.ordering_key
        for item in good
    )
    assert all(item.number >= burst + 4 for item in good[burst:])


def test_percentiles_are_nearest_ranks() -> None:
    """Of 1 to 200 ms the 50th percentile is 100, the 95th 190, the 99th 198; of nothing there is none."""
    waits = [float(wait) for wait in reversed(range(1, 201))]

    assert Latency(200, 100.0, 190.0, 198.0) == Latency.of(waits)
    assert Latency(1, 7.0, 7.0, 7.0) == Latency.of([7.0])
    assert Latency(0, None, None, None) == Latency.of([])


def test_a_demo_without_events_is_refused(unreachable_settings: Settings) -> None:
    """There is at least one event; without one nothing is started."""
    with pytest.raises(UsageError, match="--events is 1 or more, got: 0"):
        demo(unreachable_settings, events=0)


@pytest.fixture
def unreachable_settings() -> Settings:
    return Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"))


@pytest.mark.process
def test_no_broker(unreachable_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that are set and do not respond are an error with a hint; no other broker is started instead."""
    monkeypatch.setattr("processor.kafka.topic_admin._REQUEST_TIMEOUT_S", 0.5)
    monkeypatch.setattr("processor.demo.run._CLEAN_UP_TIMEOUT_S", 0.5)
    with pytest.raises(DependencyError, match=r"no response from .*\nhint: "):
        demo(unreachable_settings)


# With one


@pytest.mark.kafka
def test_the_main_job(settings: Settings, leftovers: Leftovers, capsys: Captured) -> None:
    """All outputs of 61 events and four others are read once and in order, and nothing is left on the broker."""
    code = demo(settings, events=61, as_json=True)
    found = printed(capsys)

    assert code == 0
    assert list(KEYS) == list(found)
    assert (65, 3) == (found["events"], found["deadLetters"])
    assert 0 < found["notifications"] < found["messages"] - found["streamEvents"]  # webhooks have none
    assert [0, 0, 0] == [found["duplicates"], found["lost"], found["outOfOrder"]]
    assert found["messages"] == found["statuses"] > found["streamEvents"] > 0
    assert found["decisions"] > 1
    assert 0 < found["latencyMs"]["p50"] <= found["latencyMs"]["p95"] <= found["latencyMs"]["p99"]
    assert found["eventsPerSecond"] > 0 < found["seconds"]
    assert leftovers() == set()


@pytest.mark.kafka
def test_a_demo_of_one_event(settings: Settings, capsys: Captured) -> None:
    """The smallest demo has no paced part, and so no latency."""
    code = demo(settings, events=1, as_json=True)
    found = printed(capsys)

    assert (0, 5) == (code, found["events"])
    assert {"p50": None, "p95": None, "p99": None} == found["latencyMs"]


def partition_of(settings: Settings, topic: str, partition: int) -> list[Message]:
    """What the partition holds."""
    return [message for message in read_all(settings, [topic]) if message.partition() == partition]


def rewrite(settings: Settings, topic: str, partition: int, records: list[Message]) -> None:
    """Make `records` all that the partition holds, in this order: what was there is deleted, then these are sent."""
    admin = AdminClient(logged({"bootstrap.servers": settings.bootstrap_servers}))
    producer = Producer(logged({"bootstrap.servers": settings.bootstrap_servers}))
    (deletion,) = admin.delete_records([TopicPartition(topic, partition, OFFSET_END)]).values()
    deletion.result()
    for message in records:
        producer.produce(topic, message.value(), message.key(), partition=partition, headers=message.headers() or [])

    assert producer.flush(10) == 0


def account_and_time(message: Message) -> tuple[str | None, int | None]:
    """The account's key, and when the event occurred: another time is another event."""
    value = read_message(message.value() or b"", headers_of(message), schemas=SCHEMAS)
    return value.loanAccountKey or value.depositAccountKey, value.creationDate


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
    """Planted into the real topic after the engine ended: one message sent again, two of one account swapped."""

    def tamper(demo_settings: Settings) -> None:
        topic = demo_settings.topic(FixedOutput.MESSAGES)
        records = partition_of(demo_settings, topic, 0)
        first, second = neighbours(records)
        records[first], records[second] = records[second], records[first]
        rewrite(demo_settings, topic, 0, [*records, records[0]])

    code = demo(settings, events=200, as_json=True, tamper=tamper)
    found = printed(capsys)

    assert code == 1
    assert (1, 0, 1) == (found["duplicates"], found["lost"], found["outOfOrder"])


@pytest.mark.kafka
def test_lost_records_are_noticed(settings: Settings, capsys: Captured) -> None:
    """One record taken out of each of six topics: six are lost, and the counts say how many are there."""
    before: dict[str, int] = {}

    def tamper(demo_settings: Settings) -> None:
        topics = [demo_settings.topic(role) for role in CO_PARTITIONED if role is not FixedOutput.OPERATIONS]
        for topic in [*topics, demo_settings.stream_topic(EventName("SAVINGS_DEPOSIT"))]:
            first = next(iter(read_all(demo_settings, [topic]))).partition()
            assert first is not None
            before[topic] = len(list(read_all(demo_settings, [topic])))
            rewrite(demo_settings, topic, first, partition_of(demo_settings, topic, first)[1:])

    code = demo(settings, events=40, as_json=True, tamper=tamper)
    found = printed(capsys)

    assert code == 1
    assert (0, 6, 0) == (found["duplicates"], found["lost"], found["outOfOrder"])
    output = [found[name] + 1 for name in ("messages", "statuses", "decisions", "deadLetters", "notifications")]
    assert output == [count for topic, count in before.items() if "streamingapi" not in topic]


@pytest.mark.kafka
def test_changed_bytes_of_a_dead_letter_are_noticed(settings: Settings, capsys: Captured) -> None:
    """A dead letter whose value is not the source's, byte by byte, is none that was expected."""

    def tamper(demo_settings: Settings) -> None:
        topic = demo_settings.topic(FixedOutput.DEAD_LETTERS)
        first = next(iter(read_all(demo_settings, [topic]))).partition()
        assert first is not None
        records = partition_of(demo_settings, topic, first)
        records[0].set_value((records[0].value() or b"") + b".")
        rewrite(demo_settings, topic, first, records)

    code = demo(settings, events=10, as_json=True, tamper=tamper)
    found = printed(capsys)

    assert code == 1
    assert (1, 1) == (found["duplicates"], found["lost"])


@pytest.mark.kafka
def test_output_as_text(settings: Settings, capsys: Captured) -> None:
    """Without --json a few events stand beside what became of them, then counts, speed and what to try next."""
    demo(settings, events=60)
    output = " ".join(capsys.readouterr().out.split())

    for piece in ("sent again", "DUPLICATE_EVENT", "BAD_FRAME", "EVENT_STREAM SENT", "SMS QUEUED", "NO_RECIPIENT"):
        assert piece in output
    for piece in ("Exactly once: 0 outputs duplicated, 0 lost, 0 out of order.", "events/s", "p99"):
        assert piece in output
    for piece in ("64 records", "What to try next", "processor produce --samples"):
        assert piece in output


@pytest.mark.kafka
def test_keep_leaves_topics_and_group(
    settings: Settings, bootstrap_servers: str, leftovers: Leftovers, capsys: Captured
) -> None:
    """With --keep topics and group stay, and stderr names their prefix; stdout has its one line."""
    demo(settings, events=4, as_json=True, keep=True)
    captured = capsys.readouterr()
    remaining = leftovers()
    prefix = next(iter(remaining)).split(".")[0]
    remove(bootstrap_servers, remaining)

    assert {f"{prefix}.processor", f"{prefix}.banking.events", f"{prefix}.communications.messages"} < remaining
    assert prefix in captured.err
    assert len(captured.out.splitlines()) == 1


def remove(servers: str, names: set[str]) -> None:
    """Topics and groups of a demo that was kept."""
    admin = AdminClient(logged({"bootstrap.servers": servers}))
    topics = names & admin.list_topics(timeout=10).topics.keys()
    deletions = [*admin.delete_topics(list(topics), operation_timeout=30).values()]
    if names - topics:
        deletions += admin.delete_consumer_groups(list(names - topics)).values()
    for deletion in deletions:
        deletion.result()


@pytest.mark.kafka
def test_the_demo_ends_with_its_engine(
    settings: Settings, leftovers: Leftovers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the engine is the end of the demo, by the same exit code, with the end of the engine's log."""
    script = "import sys; sys.stderr.write('we are two'); sys.exit(4)"
    monkeypatch.setattr(
        "processor.demo.engine_process.worker_command",
        lambda **_: lambda _number, _descriptor: [sys.executable, "-c", script],
    )
    with pytest.raises(FencedError, match=r"the engine ended with 4\n  we are two"):
        demo(settings, events=4)

    assert leftovers() == set()


def start_demo(*arguments: str, servers: str | None) -> "subprocess.Popen[str]":
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
def test_a_signal_leaves_nothing_behind(bootstrap_servers: str, leftovers: Leftovers) -> None:
    """SIGTERM in the middle ends the engine too, and topics and group are removed."""
    with start_demo("--events", "20000", servers=bootstrap_servers) as process:
        engine = wait_for_engine(process.pid)
        time.sleep(2)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=40)

    assert process.returncode != 0
    assert not engine.is_running()
    assert leftovers() == set()


@pytest.mark.kafka
def test_a_killed_demo_takes_its_engine_along(bootstrap_servers: str, leftovers: Leftovers) -> None:
    """SIGKILL leaves topics, which cannot be helped, but no engine that runs on for ever."""
    with start_demo("--events", "20000", servers=bootstrap_servers) as process:
        engine = wait_for_engine(process.pid)
        time.sleep(2)
        process.kill()
        process.communicate(timeout=10)
    gone, alive = psutil.wait_procs([engine], timeout=15)
    remove(bootstrap_servers, leftovers())

    assert ([engine], []) == (gone, alive)


def wait_for_engine(pid: int) -> psutil.Process:
    """The engine of a demo, once it is there."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for child in psutil.Process(pid).children():
            if "--supervisor" in child.cmdline():
                return child
        time.sleep(0.05)
    raise AssertionError("no engine was started")


@pytest.mark.kafka
def test_the_demo_needs_no_settings() -> None:
    """Without any setting the command starts a Kafka of its own; stdout is one line, the exit code 0."""
    with start_demo("--json", "--events", "20", servers=None) as process:
        out, err = process.communicate(timeout=120)

    assert process.returncode == 0, err
    (line,) = out.splitlines()
    assert json.loads(line)["events"] == 24
