"""The guide for teams that produce events: its commands and clients send events that become messages."""

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message

from processor.cli.main import exit_code
from processor.domain.catalogue import EVENTS, FAMILIES, ORDERING_KEYS, ordering_key
from processor.domain.event import value_at
from processor.domain.reasons import DecisionReason, Reason
from processor.domain.record import EventName
from processor.shipped import sample
from tests.documents.pages import GUIDES, ROOT, snippets, typed_lines
from tests.documents.walkthrough import blocks, type_line, typed
from tests.support.read_to_end import read_topics

PAGE = GUIDES / "producing.md"
TEXT = PAGE.read_text()
(FIRST_EVENT,) = snippets(PAGE, "json")
AVRO_CLIENT, JSON_CLIENT = snippets(PAGE, "python")
LOCAL_BROKER = "127.0.0.1:9092"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of a reader who has written the first event, with the schemas of the checkout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROCESSOR_TENANT", "northbank")
    (tmp_path / "schemas").symlink_to(ROOT / "schemas")
    (tmp_path / "events.jsonl").write_text(FIRST_EVENT)
    return tmp_path


@pytest.mark.kafka
@pytest.mark.usefixtures("reader_of_a_guide")
def test_events_become_messages(
    bootstrap_servers: str,
    topic_prefix: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each command prints what is shown; its event and those of both clients become messages, and no dead letter.

    A client's key is in the partition where `processor produce` puts it.
    """
    monkeypatch.setenv("PROCESSOR_OUTPUT__FORMAT", "json")

    def as_shown(text: str) -> str:
        return re.sub(r"\d+\.\d s", "0.0 s", text.replace(topic_prefix, ""))

    for step in (step for block in blocks(TEXT) for step in typed(block)):
        code, printed = type_line(step.line, monkeypatch, capsys, kept=["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"])
        assert (0, step.shown or as_shown(printed)) == (code, as_shown(printed)), step.line
    names: dict[str, Any] = {}
    for client in (AVRO_CLIENT, JSON_CLIENT):
        code_of_client = client.replace(LOCAL_BROKER, bootstrap_servers)
        code_of_client = code_of_client.replace('"banking.events"', f'"{topic_prefix}banking.events"')
        exec(code_of_client, names)  # noqa: S102  the document's own lines
    names.clear()  # closes the producer, which would report to stderr that the tests' broker is gone
    same_key = sample(EventName("SAVINGS_DEPOSIT"))
    same_key["account"]["encodedKey"] = "8a8e867d5b1a4c0e015b1a60bb220041"
    (folder / "same-key.jsonl").write_text(json.dumps(same_key))
    for words in (["produce", "--file", "same-key.jsonl"], ["run", "--until-end"]):
        assert 0 == exit_code(words)

    def read(topic: str) -> list[Message]:
        return list(read_topics(bootstrap_servers, [topic_prefix + topic]))

    statuses = [json.loads(record.value() or b"") for record in read("communications.status")]
    event_ids = re.findall(r'"eventId"\]?(?::| =) "([0-9a-f-]{36})"', FIRST_EVENT + AVRO_CLIENT + JSON_CLIENT)
    assert 3 == len(event_ids)
    assert {*event_ids, same_key["eventId"]} == {status["eventId"] for status in statuses}
    assert {"QUEUED", "SENT"} == {status["to"] for status in statuses}
    assert [] == read("communications.dead-letters")
    partitions: dict[bytes | None, set[int | None]] = {}
    for record in read("banking.events"):
        partitions.setdefault(record.key(), set()).add(record.partition())
    assert 1 == len(partitions[same_key["account"]["encodedKey"].encode()])
    assert {b"8a8e867d5b1a4c0e015b1a5f3c0a0091", same_key["account"]["encodedKey"].encode()} == set(partitions)


def test_a_wrong_line_is_reported_as_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A time that is none, and a misspelt field, are named with their line; of wrong lines nothing is sent."""
    wrong_line, warning = (text for text in snippets(PAGE, "text") if text.startswith("events.jsonl:"))
    event = json.loads(FIRST_EVENT)
    (folder / "events.jsonl").write_text(json.dumps(event | {"occurredAt": "yesterday"}))
    assert 1 == exit_code(["produce", "--file", "events.jsonl"])
    assert wrong_line == capsys.readouterr().err

    event["client"]["emailAdress"] = event["client"].pop("emailAddress")
    (folder / "events.jsonl").write_text(json.dumps(event))
    exit_code(["explain", "events.jsonl"])
    assert warning == capsys.readouterr().err


def key_rules() -> Iterator[tuple[list[str], tuple[tuple[str, ...], ...]]]:
    """The table of keys: patterns of events' names, none for all others, and the paths of the key."""
    table = TEXT.partition("\n| Event | Key |\n|---|---|\n")[2].partition("\n\n")[0]
    for line in table.splitlines():
        events, key = line.strip("| ").split(" | ")
        yield re.findall("`(.+?)`", events), tuple(tuple(path.split(".")) for path in re.findall("`(.+?)`", key))


@pytest.mark.parametrize("event", EVENTS)
def test_keys(event: EventName) -> None:
    """Each event is in exactly one row, and keyed as that says; so is its sample."""
    *named, (no_patterns, others) = key_rules()
    found = [paths for patterns, paths in named if any(fnmatchcase(event, pattern) for pattern in patterns)]

    assert [] == no_patterns
    assert len(found) <= 1
    paths = found[0] if found else others
    assert ORDERING_KEYS[EVENTS[event].ordering_key] == paths
    (first, *_) = (value for path in paths if (value := value_at(path, sample(event))) is not None)
    assert ordering_key(event, sample(event)) == first


def test_reasons_of_checks() -> None:
    """The table of checks has every reason of a record that is rejected or skipped as a whole, each as what it is."""
    table = TEXT.partition("\n| Check | If it fails |\n|---|---|\n")[2].partition("\n\n")[0]
    found = re.findall(r"\| (dead letter|decision) ([A-Z_]+) \|$", table, re.MULTILINE)
    not_of_input = {Reason.TEMPLATE_FAILED, Reason.MAPPING_ERROR, Reason.OUTPUT_REFUSED, Reason.OTHER}

    assert len(table.splitlines()) == len(found)
    assert set(Reason) - not_of_input == {reason for kind, reason in found if kind == "dead letter"}
    decisions = [*DecisionReason][: [*DecisionReason].index(DecisionReason.INACTIVE)]
    assert decisions == [reason for kind, reason in found if kind == "decision"]


def test_the_family_of_the_client() -> None:
    """The schema in the snippet is that of the event in it, which eight other events have too."""
    family = EVENTS[EventName("SAVINGS_DEPOSIT")].family

    assert FAMILIES[family].record in AVRO_CLIENT
    assert 9 == sum(row.family == family for row in EVENTS.values())
    assert "processor produce --file events.jsonl" in typed_lines(PAGE)


def murmur2(data: bytes) -> int:
    """The hash of Java's default partitioner (org.apache.kafka.common.utils.Utils), without its sign."""
    mask, factor = 0xFFFFFFFF, 0x5BD1E995
    value = (0x9747B28C ^ len(data)) & mask
    whole = len(data) // 4 * 4
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * factor & mask
        value = value * factor & mask ^ (word ^ word >> 24) * factor & mask
    if rest := data[whole:]:
        value = (value ^ int.from_bytes(rest, "little")) * factor & mask
    value = (value ^ value >> 13) * factor & mask
    return (value ^ value >> 15) & 0x7FFFFFFF


def test_partitions_of_the_keys() -> None:
    """Of six partitions each key that the guide names is in the one that it says, by Java's hash."""
    named = re.findall(r"the key `([0-9a-f]{32})` belongs into (\d), and `([0-9a-f]{32})` into (\d)", TEXT)

    ((first, its, second, other),) = named
    assert [int(its), int(other)] == [murmur2(key.encode()) % 6 for key in (first, second)]
