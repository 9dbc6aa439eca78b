"""`processor produce` on a real broker: what is sent is what was given, keyed, whole or not at all."""

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from processor.cli import produce
from processor.demo import produce as sending
from processor.demo.generate import events
from processor.demo.produce import RejectedLine, classify, decode_lines
from processor.domain.catalogue import EVENTS
from processor.domain.event import Event
from processor.domain.reasons import Reason
from processor.domain.record import RecordPosition, SourceRecord, Topic
from processor.errors import DependencyError, TopicConfigError, UsageError
from processor.registry.schema_files import load_schemas
from processor.settings import InputTopic, KafkaSettings, Settings, TopicSettings
from processor.shipped import samples
from processor.wire.decode import decode, event_from_json
from processor.wire.json_codec import parse_json
from processor.wire.wire_format import WireFormat
from tests.cli.commands import run_command
from tests.support.clients import create_topic, logged
from tests.support.read_to_end import read_topics

SCHEMAS = load_schemas()
Json = dict[str, Any]


def make_settings(bootstrap_servers: str, prefix: str, **more: Any) -> Settings:
    return Settings(
        tenant="northbank",
        kafka=KafkaSettings(bootstrap_servers=bootstrap_servers),
        topics=TopicSettings(prefix=prefix),
        **more,
    )


def make_topic(settings: Settings, **config: str) -> None:
    admin = AdminClient(logged({"bootstrap.servers": settings.bootstrap_servers}))
    new = NewTopic(settings.topic(InputTopic.EVENTS), num_partitions=2, replication_factor=1, config=config)
    create_topic(admin, new)


@pytest.fixture
def settings(bootstrap_servers: str, topic_prefix: str) -> Settings:
    created = make_settings(bootstrap_servers, topic_prefix)
    make_topic(created)
    return created


def read(settings: Settings) -> list[SourceRecord]:
    """All records of the events topic, partition by partition."""
    records = [
        SourceRecord(
            RecordPosition(Topic(message.topic() or ""), message.partition() or 0, message.offset() or 0),
            message.timestamp()[1],
            message.key(),
            message.value(),
            tuple(message.headers() or ()),  # type: ignore[arg-type]  # read headers are pairs with bytes
        )
        for message in read_topics(settings.bootstrap_servers, [settings.topic(InputTopic.EVENTS)])
    ]
    return sorted(records, key=lambda record: (record.position.partition, record.position.offset))


def event_of(record: SourceRecord) -> Event:
    event = decode(record, schemas=SCHEMAS, schema_of=SCHEMAS.local_schema)
    assert isinstance(event, Event)
    return event


def events_by_id(json_events: list[Json]) -> dict[str, Event]:
    """What records must hold, by event id."""
    found = {}
    for sent in json_events:
        event = event_from_json(sent, SCHEMAS)
        assert isinstance(event, Event)
        found[event.id] = event
    return found


def write(path: Path, lines: Sequence[Json | str]) -> Path:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def changed(sent: Json, **changes: Any) -> Json:
    return {**sent, **changes}


# Without a broker


def test_a_bad_line_is_named_with_number_and_field() -> None:
    """Each line is an event or a rejected line, which has its number, the reason and the path of the field."""
    good, bad = events(2)
    lines = [(1, json.dumps(good).encode()), (7, json.dumps(changed(bad, occurredAt="yesterday")).encode())]
    first, second = classify(decode_lines(lines, SCHEMAS), SCHEMAS, format=WireFormat.AVRO, limit_bytes=1_000_000)

    assert not isinstance(first, RejectedLine)
    assert isinstance(second, RejectedLine)
    assert (second.line, second.reason) == (7, Reason.INVALID_EVENT)
    assert second.detail.startswith("occurredAt")


def test_an_event_that_run_would_refuse_by_size_is_bad() -> None:
    """What would become EVENT_TOO_LARGE is found before it is sent."""
    (event,) = events(1)
    (found,) = classify(
        decode_lines([(1, json.dumps(event).encode())], SCHEMAS), SCHEMAS, format=WireFormat.JSON, limit_bytes=100
    )

    assert isinstance(found, RejectedLine)
    assert found.reason is Reason.EVENT_TOO_LARGE


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"file": Path("nowhere.jsonl")}, "nowhere.jsonl cannot be read"),
        ({"file": Path("/")}, "cannot be read"),
        ({"count": -1}, "--count"),
        ({"samples": True, "rate": 0.0}, "--rate"),
    ],
)
def test_invalid_arguments_are_reported_before_connecting(options: dict[str, Any], what: str) -> None:
    """A missing file, a negative count and no rate at all are reported before anything connects."""
    with pytest.raises(UsageError, match=what):
        run_command(produce.command, make_settings("127.0.0.1:1", "x."), **options)


def test_no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address without a broker is a DependencyError with a hint, not a wait for ever."""
    monkeypatch.setattr("processor.kafka.topic_state.CALL_TIMEOUT_S", 0.5)
    with pytest.raises(DependencyError, match=r"no response from .*\nhint: "):
        run_command(produce.command, make_settings("127.0.0.1:1", "x."), samples=True)


# With a broker


@pytest.mark.kafka
@pytest.mark.parametrize("format", WireFormat)
def test_a_file_is_sent_as_it_is(settings: Settings, tmp_path: Path, format: WireFormat) -> None:  # noqa: A002
    """Each event of the file is on the topic once, equal to that of the file, under its ordering key."""
    sent = list(events(60))
    file = write(tmp_path / "e.jsonl", [*sent[:30], "", *sent[30:]])
    assert run_command(produce.command, settings, file=file, wire_format=format) == 0
    records = read(settings)

    assert events_by_id(sent) == {event.id: event for event in map(event_of, records)}
    assert len(sent) == len(records)
    assert [event_of(record).ordering_key.encode() for record in records] == [record.key for record in records]


@pytest.mark.kafka
def test_each_line_of_a_file_is_parsed_once(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was checked is what is sent, and what was looked at for unknown fields: no line is parsed again for it."""
    parsed: list[bytes] = []

    def count(text: bytes) -> Any:
        parsed.append(text)
        return parse_json(text)

    monkeypatch.setattr("processor.wire.decode.parse_json", count)
    file = write(tmp_path / "e.jsonl", list(events(20)))

    assert run_command(produce.command, settings, file=file) == 0
    assert (20, 20) == (len(parsed), len(read(settings)))


@pytest.mark.kafka
def test_events_of_one_key_stay_in_order(settings: Settings) -> None:
    """Events of one account are in one partition, in the order in which they were sent."""
    run_command(produce.command, settings, count=300, seed=7)
    order = {event["eventId"]: number for number, event in enumerate(events(300, seed=7))}
    places: dict[str, list[tuple[int, int]]] = {}
    for record in read(settings):
        event = event_of(record)
        places.setdefault(event.ordering_key, []).append((record.position.partition, order[event.id]))

    assert len(order) == sum(map(len, places.values()))
    for found in places.values():
        assert sorted(found) == found
        assert len({partition for partition, _ in found}) == 1


@pytest.mark.kafka
def test_nothing_is_sent_when_a_line_is_bad(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a bad line in the middle nothing is sent; number, reason and field are said; the exit code is 1."""
    sent = list(events(9))
    lines: list[Json | str] = [*sent[:4], changed(sent[4], tenant=5), *sent[5:], "{"]
    source = write(tmp_path / "e.jsonl", lines)
    code = run_command(produce.command, settings, file=source)
    printed = capsys.readouterr()

    assert code == 1
    assert read(settings) == []
    assert f"{source}:5: INVALID_EVENT: tenant" in printed.err
    assert f"{source}:10: INVALID_EVENT: " in printed.err
    assert "--skip-bad" in printed.err


@pytest.mark.kafka
def test_skip_bad_sends_the_others(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --skip-bad the bad lines alone stay behind, and are reported."""
    sent = list(events(9))
    lines: list[Json | str] = [*sent[:4], changed(sent[4], event="LOAN_REPAID"), *sent[5:]]
    code = run_command(produce.command, settings, file=write(tmp_path / "e.jsonl", lines), skip_bad=True, as_json=True)
    printed = json.loads(capsys.readouterr().out)

    assert code == 0
    assert events_by_id([*sent[:4], *sent[5:]]) == {event.id: event for event in map(event_of, read(settings))}
    assert (printed["delivered"], printed["rejected"], printed["rejectedLines"][0]["line"]) == (8, 1, 5)
    assert printed["rejectedLines"][0]["reason"] == "UNKNOWN_EVENT"


def renamed_fields(sent: Json, **names: str) -> Json:
    """The event with other names for some of its fields."""
    return {names.get(name, name): value for name, value in sent.items()}


@pytest.mark.kafka
@pytest.mark.parametrize("skip_bad", [False, True])
def test_unknown_fields_are_named(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], skip_bad: bool
) -> None:
    """Each once for a file, with the first line that has it; the events are sent, and stdout stays one object."""
    sent = [*samples()][:4]
    lines = [
        sent[0],
        renamed_fields(sent[1], correlationId="correlationID"),
        renamed_fields(sent[2], branch="bransh"),
    ]
    lines[2]["client"] = {**sent[2]["client"], "amonut": "1"}
    lines += [renamed_fields(sent[3], branch="bransh")]
    source = write(tmp_path / "e.jsonl", lines)
    assert run_command(produce.command, settings, file=source, skip_bad=skip_bad, as_json=True) == 0
    printed = capsys.readouterr()

    assert [
        f"{source}:2: warning: unknown field correlationID; did you mean correlationId?",
        f"{source}:3: warning: unknown field bransh; did you mean branch?",
        f"{source}:3: warning: unknown field client.amonut",
    ] == sorted(printed.err.splitlines())
    report = json.loads(printed.out)
    assert (4, 0) == (report["delivered"], report["rejected"])
    assert {"line": 3, "field": "client.amonut", "nearest": None} in report["unknownFields"]
    assert 4 == len(read(settings))


@pytest.mark.kafka
def test_a_bad_line_names_its_unknown_fields_too(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A required field that is misspelt is missing, and the warning says which one was meant."""
    (sent,) = events(1)
    source = write(tmp_path / "e.jsonl", [renamed_fields(sent, occurredAt="occuredAt")])
    assert run_command(produce.command, settings, file=source) == 1

    printed = capsys.readouterr().err
    assert f"{source}:1: INVALID_EVENT: occurredAt: is missing\n" in printed
    assert f"{source}:1: warning: unknown field occuredAt; did you mean occurredAt?\n" in printed


@pytest.mark.kafka
def test_many_unknown_fields_are_counted(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twenty are shown, of a file of another kind."""
    (sent,) = events(1)
    source = write(tmp_path / "e.jsonl", [{**sent, **{f"x{number}": 1 for number in range(50)}}])
    assert run_command(produce.command, settings, file=source) == 0
    lines = capsys.readouterr().err.splitlines()

    assert (21, f"{source}: 30 more unknown fields") == (len(lines), lines[-1])


@pytest.mark.kafka
def test_samples_get_the_configured_tenant(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """The samples of all events are sent, with the tenant that is set."""
    other = settings.model_copy(update={"tenant": "southbank"})
    run_command(produce.command, other, samples=True, as_json=True)
    expected = events_by_id([{**sample, "tenant": "southbank"} for sample in samples()])

    assert expected == {event.id: event for event in map(event_of, read(settings))}
    assert json.loads(capsys.readouterr().out)["delivered"] == len(EVENTS)


@pytest.mark.kafka
def test_stdin_is_a_file_too(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--file -` reads stdin, which can be read only once, and still nothing is sent before all of it was checked."""
    sent = list(events(3))

    def stdin(lines: list[Json]) -> None:
        piped = b"\xef\xbb\xbf" + b"\n".join(json.dumps(line).encode() for line in lines)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped)))

    stdin([*sent, {}])
    assert run_command(produce.command, settings, file=Path("-")) == 1
    assert read(settings) == []
    stdin(sent)
    assert run_command(produce.command, settings, file=Path("-")) == 0

    assert events_by_id(sent) == {event.id: event for event in map(event_of, read(settings))}


@pytest.mark.kafka
def test_events_are_sent_at_the_requested_rate(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """21 events at 40 a second take half a second: the first is sent at once, the last after 20 / 40 s."""
    run_command(produce.command, settings, count=21, rate=40, as_json=True)

    assert 0.5 <= json.loads(capsys.readouterr().out)["seconds"] < 3


@pytest.mark.kafka
def test_no_topic(bootstrap_servers: str, topic_prefix: str) -> None:
    """A topic that is not there is said with the command that makes it, and no request creates it."""
    settings = make_settings(bootstrap_servers, topic_prefix)
    with pytest.raises(TopicConfigError, match=r"there is no topic .*\nhint: `processor topics --create`"):
        run_command(produce.command, settings, samples=True)

    assert (
        settings.topic(InputTopic.EVENTS)
        not in AdminClient(logged({"bootstrap.servers": bootstrap_servers})).list_topics(timeout=10).topics
    )


@pytest.mark.kafka
def test_events_refused_by_the_broker_are_an_error(
    bootstrap_servers: str, topic_prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Events over the topic's limit are counted as failed, the others are delivered, and the end is an error."""
    settings = make_settings(bootstrap_servers, topic_prefix)
    make_topic(settings, **{"max.message.bytes": "6000"})
    sent = list(events(40))
    lines = [*sent[:20], changed(sent[20], correlationId=os.urandom(8_000).hex()), *sent[21:]]
    with pytest.raises(DependencyError, match="did not take 1 of 40 events: MSG_SIZE_TOO_LARGE"):
        run_command(produce.command, settings, file=write(tmp_path / "e.jsonl", lines), as_json=True)
    printed = json.loads(capsys.readouterr().out)

    assert (printed["delivered"], printed["failed"]) == (39, 1)
    assert events_by_id([*sent[:20], *sent[21:]]) == {event.id: event for event in map(event_of, read(settings))}


@pytest.mark.kafka
def test_a_signal_ends_it_early(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """SIGTERM ends a long run within seconds; what was sent until then is there, and nothing else is said to be."""
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    began = time.monotonic()
    code = run_command(produce.command, settings, count=10_000, rate=50, as_json=True)
    printed = json.loads(capsys.readouterr().out)

    assert code == 0
    assert time.monotonic() - began < 10
    assert printed["stopped"]
    assert 0 < printed["delivered"] == len(read(settings)) < 200


@pytest.fixture
def sigint_is_not_ignored() -> Iterator[None]:
    """As a shell without job control has it for what it starts in the background, and that for all that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.process
@pytest.mark.usefixtures("sigint_is_not_ignored")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_while_stdin_gives_nothing(number: signal.Signals) -> None:
    """A blocked read goes on after a signal that is handled, so none is handled before all of stdin was read."""
    with subprocess.Popen(
        [sys.executable, "-v", "-m", "processor", "produce", "--file", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"},
    ) as process:
        assert process.stderr is not None
        assert any("import 'processor.demo.produce'" in line for line in process.stderr)
        time.sleep(1)  # it reads the schemas, then stdin
        process.send_signal(number)
        process.stderr.read()

    assert process.returncode != 0


def test_a_full_disk_is_not_an_internal_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk of temporary files is an error with a hint, not an internal one."""
    monkeypatch.setattr(sending, "_MEMORY_LIMIT_BYTES", 1_000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "away"))
    file = tmp_path / "events.jsonl"
    file.write_text("".join(json.dumps(sample) + "\n" for sample in samples()), "utf-8")

    with pytest.raises(UsageError, match=r"(?s)cannot be kept in .*away: .*\nhint: set TMPDIR"):
        sending.produce(Settings(), sending.ProduceOptions(sending.File(file)))
