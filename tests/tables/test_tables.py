"""The reference tables on a real broker: restored before anything is mapped, used at once, kept over restarts."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog
from confluent_kafka import KafkaError, Producer, TopicPartition
from confluent_kafka.admin import NewPartitions, NewTopic
from prometheus_client import CollectorRegistry

from processor.domain.output_topics import FixedOutput
from processor.domain.reference import Table
from processor.engine.loop import run
from processor.engine.mapping_parts import restore_tables, retry_until_available
from processor.engine.status import EngineStatus
from processor.errors import DependencyError, StalledError, TopicConfigError, UsageError
from processor.observability.http import Readiness
from processor.observability.metrics import REFERENCE_ROWS_INVALID, Metrics
from processor.observability.signals import Shutdown
from processor.settings import ReferenceSettings
from processor.tables.reader import ReferenceTables, store_folder
from processor.tables.store import TableRecord, TableStore
from tests.support.clients import create_topic, logged
from tests.support.events import repayment
from tests.support.installation import Installation, create_installation
from tests.support.reference_rows import BLOCKED, CLIENT, INES
from tests.support.waiting import wait_until

pytestmark = pytest.mark.kafka


def names(tables: ReferenceTables, *keys: str) -> list[str | None]:
    """The names of contacts as the store has them."""
    values = [tables.get(Table.CONTACTS, key) for key in keys]
    return [None if value is None else json.loads(value)["name"] for value in values]


class RestoredTables:
    """Tables that are restored; closed with the block."""

    def __init__(self, installation: Installation, *, name: str = "me", metrics: Metrics | None = None) -> None:
        self._arguments = installation.settings, name, metrics or Metrics(CollectorRegistry())

    def __enter__(self) -> ReferenceTables:
        settings, name, metrics = self._arguments
        shutdown = Shutdown()
        tables = retry_until_available(
            lambda: ReferenceTables(settings, name=name, metrics=metrics), shutdown, server=""
        )
        assert tables is not None
        self._tables = tables
        restore_tables(tables, shutdown, EngineStatus.unobserved().set_starting)
        return tables

    def __exit__(self, *_raised: object) -> None:
        self._tables.close()


@pytest.fixture
def installation(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> Installation:
    """Topics, and a folder of state for this test."""
    return create_installation(bootstrap_servers, topic_prefix, state_dir=tmp_path / "state")


def test_rows_are_restored_before_the_first_event(installation: Installation) -> None:
    """A contact that is blocked is not written to by the very first event; a later row counts as well."""
    installation.produce_row(Table.CONTACTS, CLIENT, BLOCKED)
    installation.produce_events([repayment(0)])
    installation.run()
    installation.produce_row(Table.CONTACTS, CLIENT, None)
    installation.produce_events([repayment(1)])
    installation.run()

    first, *others = installation.read_decisions()
    blocked = [reason for reason in first["reasons"] if reason["reason"] == "CONTACT_BLOCKED"]
    discarded, queued = [
        json.loads(record.value() or b"")
        for record in installation.read(installation.settings.topic(FixedOutput.NOTIFICATIONS))
    ]
    assert ["contact CTT-4410-0093-7715 is blocked"] == [reason["detail"] for reason in blocked]
    assert [] == [
        reason for decision in others for reason in decision["reasons"] if reason["reason"] == "CONTACT_BLOCKED"
    ]
    assert ["Discarded", "Queued"] == [discarded["status"], queued["status"]]
    assert ["CTT-4410-0093-7715"] == [discarded["contact"]["id"]]
    assert [["contact", "account"]] == [
        status["lookupMissing"] for status in installation.read_statuses() if status["type"] == "EMAIL"
    ]


def test_an_update_takes_effect_within_a_second(installation: Installation) -> None:
    with RestoredTables(installation) as tables:
        seconds = []
        for number in range(20):
            installation.produce_row(Table.CONTACTS, "a", {**INES, "name": f"name {number}"})
            began = time.monotonic()
            while names(tables, "a") != [f"name {number}"]:
                assert time.monotonic() - began < 5
                time.sleep(0.01)
            seconds.append(time.monotonic() - began)

    assert max(seconds) < 1


def test_a_restart_resumes_from_the_store(installation: Installation) -> None:
    """What was read is not read again; what came and went meanwhile is."""
    for number in range(3):
        installation.produce_row(Table.CONTACTS, f"c{number}", {**INES, "name": f"old {number}"})
    with RestoredTables(installation) as tables:
        assert ["old 0", "old 1", "old 2"] == names(tables, "c0", "c1", "c2")
    installation.produce_row(Table.CONTACTS, "c1", {**INES, "name": "new"})
    installation.produce_row(Table.CONTACTS, "c2", None)
    with RestoredTables(installation) as tables:
        assert ["old 0", "new", None] == names(tables, "c0", "c1", "c2")
        assert 2 == tables.offsets_read


def test_an_open_transaction_is_waited_for(installation: Installation) -> None:
    """What it holds may be that somebody is not to be written to. A row of one that was aborted is none."""
    status = EngineStatus.unobserved()
    producer = transaction(installation, "b", BLOCKED)
    producer.abort_transaction(30)
    producer = transaction(installation, CLIENT, BLOCKED)
    installation.produce_events([repayment(0)])
    running = threading.Thread(target=run, args=(installation.settings,), kwargs={"until_end": True, "status": status})
    running.start()
    waiting = f"reference tables, records to read: {installation.settings.topic(Table.CONTACTS)} 1"
    wait_until(lambda: status.readiness().reasons == (waiting,))
    time.sleep(1)
    reasons = status.readiness().reasons
    producer.commit_transaction(30)
    running.join(60)

    assert (waiting,) == reasons
    assert not running.is_alive()
    (discarded,) = [
        json.loads(record.value() or b"")
        for record in installation.read(installation.settings.topic(FixedOutput.NOTIFICATIONS))
    ]
    assert "Discarded" == discarded["status"]
    with RestoredTables(installation) as tables:
        assert [None] == names(tables, "b")


def test_until_end_gives_up_on_a_transaction_that_does_not_end(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processor.engine.mapping_parts.STALL_TIMEOUT_S", 1.0)
    producer = transaction(installation, CLIENT, BLOCKED)
    with pytest.raises(StalledError, match=r"no progress for 1 s with the reference tables: \S+reference.contacts 1\n"):
        installation.run()
    producer.abort_transaction(30)


def transaction(installation: Installation, key: str, value: object) -> Producer:
    """A producer with an open transaction that has put a row among the contacts."""
    transactional_id = installation.settings.topic(Table.CONTACTS)
    producer = Producer(logged({"bootstrap.servers": installation.servers, "transactional.id": transactional_id}))
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(installation.settings.topic(Table.CONTACTS), json.dumps(value), key)
    assert producer.flush(30) == 0
    return producer


def add_row_without_record(installation: Installation) -> None:
    """A store that is complete, and holds a row that no topic has."""
    installation.produce_row(Table.CONTACTS, "real", INES)
    with RestoredTables(installation):
        pass
    store = TableStore(store_folder(installation.settings, "me"))
    store.apply([TableRecord(Table.CONTACTS, b"ghost", json.dumps(INES).encode())], {})
    store.close()


def miss_the_delete_retention(installation: Installation) -> None:
    store = TableStore(store_folder(installation.settings, "me"))
    store.mark_current(time.time() - 12.1 * 3600)  # half of the day that deletions are kept is for reading
    store.close()


def recreate_topic(installation: Installation) -> None:
    topic = installation.settings.topic(Table.CONTACTS)
    admin = installation.admin()
    admin.delete_topics([topic])[topic].result(10)
    wait_until(lambda: topic not in admin.list_topics(timeout=10).topics)
    create_topic(admin, NewTopic(topic, 1, 1))
    installation.produce_row(Table.CONTACTS, "real", INES)


def lose_position(installation: Installation) -> None:
    """More came than we read, and of that the log has lost some."""
    topic = installation.settings.topic(Table.CONTACTS)
    installation.configure(topic, "cleanup.policy", "delete")
    for _ in range(3):
        installation.produce_row(Table.CONTACTS, "real", INES)
    admin = installation.admin()
    (deleted,) = admin.delete_records([TopicPartition(topic, 0, 3)]).values()
    deleted.result(10)


def corrupt(installation: Installation) -> None:
    for file in store_folder(installation.settings, "me").glob("MANIFEST-*"):
        file.write_bytes(b"no manifest")


def set_layout_version(installation: Installation) -> None:
    store = TableStore(store_folder(installation.settings, "me"))
    store._rows.put(b"\0form", b"3")
    store.close()


def mark_corrupt(installation: Installation) -> None:
    """As earlier versions did: an empty file of this name."""
    (store_folder(installation.settings, "me") / "BROKEN").touch()


@pytest.mark.parametrize(
    ("event", "cause"),
    [
        (miss_the_delete_retention, "it was away for 12.1 h, and deletions are kept for 24.0 h"),
        (recreate_topic, "was deleted and created again"),
        (lose_position, "its position 1 of {contacts}[0] is gone: 3 to 4"),
        (corrupt, "Corruption"),
        (set_layout_version, "layout b'3', written by another version"),
        (mark_corrupt, "marked as corrupt by an earlier process"),
    ],
)
def test_a_stale_store_is_rebuilt_and_the_log_says_why(
    event: Callable[[Installation], None], cause: str, installation: Installation
) -> None:
    """Else it might keep for ever a row that nobody else has."""
    add_row_without_record(installation)
    with RestoredTables(installation) as tables:  # the store is resumed, where nothing happened
        assert ["Ines Duarte"] * 2 == names(tables, "real", "ghost")
    event(installation)
    with structlog.testing.capture_logs() as logs, RestoredTables(installation) as tables:
        assert ["Ines Duarte", None] == names(tables, "real", "ghost")

    (warning,) = [line["cause"] for line in logs if line["event"] == "reference table store rebuilt"]
    assert cause.format(contacts=installation.settings.topic(Table.CONTACTS)) in warning


def test_invalid_rows_are_named(installation: Installation) -> None:
    """In the log, for their owner, and counted; the messages that need one fail and are in the dead letters."""
    installation.produce_row(Table.CONTACTS, CLIENT, b'{"id": 1}')
    installation.produce_row(Table.CATEGORIES, "NTC-1000-2000", b"{")
    accounts_topic = installation.settings.topic(Table.ACCOUNTS)
    installation.configure(accounts_topic, "cleanup.policy", "delete")  # a compacted topic takes keys only
    producer = Producer(logged({"bootstrap.servers": installation.servers}))

    def is_taken(key: bytes | None) -> bool:
        errors = list[KafkaError | None]()
        producer.produce(accounts_topic, b"{}", key, on_delivery=lambda error, _message: errors.append(error))
        assert producer.flush(30) == 0
        return errors == [None]

    wait_until(lambda: is_taken(None))  # the topic's log has its new policy a moment after it is described so
    assert is_taken(b"\xff")
    installation.produce_events([repayment(0)])
    with structlog.testing.capture_logs() as logs:
        installation.run()

    contacts, accounts, categories = (
        installation.settings.topic(name) for name in (Table.CONTACTS, Table.ACCOUNTS, Table.CATEGORIES)
    )
    assert {
        (f"{contacts}[0]@0", CLIENT, "id: text expected, a number given"),
        (f"{categories}[0]@0", "NTC-1000-2000", "not JSON: Expecting property name enclosed in double quotes"),
        (f"{accounts}[0]@0", "", "it has no key"),
        (f"{accounts}[0]@1", "\ufffd", "its key is not UTF-8"),
    } == {
        (line["position"], line["key"], line["error"].partition(" at character")[0])
        for line in logs
        if line["event"] == "invalid reference row"
    }
    (dead_letter,) = installation.read(installation.settings.topic(FixedOutput.DEAD_LETTERS))
    failed = json.loads(dict(dead_letter.headers() or ())["dl.failed"] or b"")
    assert [
        ("LOOKUP_MISSING", f"the row of contacts for {CLIENT} cannot be read: id: text expected, a number given")
    ] == [(failure["reason"], failure["detail"]) for failure in failed]


def logged_rows(logs: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Key and consequence of each row that was logged as invalid."""
    return [(line["key"], line.get("consequence", "")) for line in logs if line["event"] == "invalid reference row"]


def test_an_invalid_row_degrades_until_it_is_corrected(installation: Installation) -> None:
    """H3: the row of the tenant fails the messages of all who have no nearer one. /ready names it, after a restart
    too, where its record is not read again; a corrected row and a deleted one are forgotten."""
    topic = installation.settings.topic(Table.ACCOUNTS)
    tenants = f"{topic}[0]@1: the row northbank cannot be read: e-mails and SMS of all who have no nearer row fail"
    installation.produce_row(Table.ACCOUNTS, "a", b"{")
    installation.produce_row(Table.ACCOUNTS, "northbank", {"id": 1})
    metrics = Metrics(CollectorRegistry())
    with structlog.testing.capture_logs() as logs, RestoredTables(installation, metrics=metrics) as tables:
        assert (tenants, f"{topic}[0]@0: the row a cannot be read") == tables.degraded
        assert 2 == invalid_rows(metrics, Table.ACCOUNTS)
    with structlog.testing.capture_logs() as logs_again, RestoredTables(installation) as tables:
        assert 0 == tables.offsets_read
        assert (tenants, f"{topic}[0]@0: the row a cannot be read") == tables.degraded
        installation.produce_row(Table.ACCOUNTS, "northbank", {"id": "ACC-7031-2205"})
        wait_until(lambda: tables.degraded == (f"{topic}[0]@0: the row a cannot be read",))
        installation.produce_row(Table.ACCOUNTS, "a", None)
        wait_until(lambda: tables.degraded == ())
        installation.produce_row(Table.ACCOUNTS, "northbank", b"")
        wait_until(lambda: len(tables.degraded) == 1)
    with RestoredTables(installation) as tables:
        assert [tenants.replace("@1", "@4")] == list(tables.degraded)

    named = [("northbank", "e-mails and SMS of all who have no nearer row fail"), ("a", "")]
    assert named == logged_rows(logs)
    assert [*named, named[0]] == logged_rows(logs_again)


def invalid_rows(metrics: Metrics, table: Table) -> float:
    """The gauge of invalid rows."""
    (family,) = metrics[REFERENCE_ROWS_INVALID].collect()
    return next(sample.value for sample in family.samples if sample.labels == {"table": table})


def test_ready_names_invalid_rows(installation: Installation) -> None:
    """The process is ready and degraded, from its first turn on."""
    installation.produce_row(Table.ACCOUNTS, "northbank", {"id": 1})
    installation.produce_events([repayment(0)])
    status = EngineStatus.unobserved()
    seen: list[Readiness] = []
    run(installation.settings, until_end=True, status=status, on_step=lambda _step: seen.append(status.readiness()))

    assert "the row northbank cannot be read" in seen[-1].reasons[-1]
    assert seen[-1].degraded


def test_many_invalid_rows_are_named_in_part(installation: Installation) -> None:
    """Five of each table, and how many more; the log names twenty."""
    topic = installation.settings.topic(Table.CONTACTS)
    for number in range(30):
        installation.produce_row(Table.CONTACTS, f"c{number:02}", b"no JSON")
    installation.produce_row(Table.CATEGORIES, "NTC-1000-2000", b"no JSON")
    with structlog.testing.capture_logs() as logs, RestoredTables(installation) as tables:
        *named, more, category = tables.degraded

    assert [f"{topic}[0]@{number}: the row c{number:02} cannot be read" for number in range(5)] == named
    assert f"{topic}: 25 more rows cannot be read" == more
    assert category.endswith("[0]@0: the row NTC-1000-2000 cannot be read")
    assert [f"c{number:02}" for number in range(20)] + ["NTC-1000-2000"] == [key for key, _ in logged_rows(logs)]
    assert [(topic, 10)] == [
        (line["topic"], line["rows"]) for line in logs if line["event"] == "more invalid reference rows"
    ]


def test_a_corrected_row_is_not_reported_when_the_store_is_rebuilt(installation: Installation) -> None:
    """What counts is what is there when all was read, not each record on the way."""
    installation.produce_row(Table.CONTACTS, "corrected", b"no JSON")
    installation.produce_row(Table.CONTACTS, "corrected", INES)
    installation.produce_row(Table.CONTACTS, "deleted", b"no JSON")
    installation.produce_row(Table.CONTACTS, "deleted", None)
    installation.produce_row(Table.CONTACTS, "wrong", b"no JSON")
    with structlog.testing.capture_logs() as logs, RestoredTables(installation) as tables:
        assert 1 == len(tables.degraded)

    assert [("wrong", "")] == logged_rows(logs)


def test_categories_that_no_row_has(installation: Installation) -> None:
    """T20: a template's category that the table does not have is logged; nothing is while the table is empty."""
    with structlog.testing.capture_logs() as logs:
        installation.run()
        installation.produce_row(Table.CATEGORIES, "NTC-3300-0041", {})
        installation.run()

    (warning,) = [line for line in logs if line["event"] == "template categories without a reference row"]
    assert warning["topic"] == installation.settings.topic(Table.CATEGORIES)
    named = {template.id: template.category for template in installation.templates.templates if template.category}
    assert {name: category for name, category in named.items() if category != "NTC-3300-0041"} == {
        name: warning[name] for name in named if name in warning
    }


def grow_contacts(installation: Installation) -> None:
    """The contacts have a second partition."""
    topic = installation.settings.topic(Table.CONTACTS)
    admin = installation.admin()
    admin.create_partitions([NewPartitions(topic, 2)])[topic].result(10)
    wait_until(lambda: len(admin.list_topics(topic, 10).topics[topic].partitions) == 2)


@pytest.mark.parametrize("keys_are_stable", [False, True])
def test_partitions_that_come_later_are_read(
    keys_are_stable: bool, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that runs takes rows as they come, the newest last; that the next start will not is said."""
    monkeypatch.setattr("processor.tables.reader.TOPIC_POLL_INTERVAL_S", 0.2)
    topic = installation.settings.topic(Table.CONTACTS)
    settings = installation.settings.model_copy(
        update={"reference": ReferenceSettings(keys_are_stable=keys_are_stable)}
    )
    installation.produce_row(Table.CONTACTS, "late", {**INES, "name": "old"})
    with structlog.testing.capture_logs() as logs, RestoredTables(replace(installation, settings=settings)) as tables:
        assert () == tables.degraded
        grow_contacts(installation)
        installation.produce_row(Table.CONTACTS, "late", INES, partition=1)
        wait_until(lambda: names(tables, "late") == ["Ines Duarte"])
        degraded = tables.degraded

    refused = f"{topic} was grown to 2 partitions: the next start will refuse it; `processor topics` says what to do"
    assert degraded == (() if keys_are_stable else (refused,))
    assert [*degraded] == [line["cause"] for line in logs if line["event"] == "reference topic changed"]


def test_a_grown_topic_is_refused(installation: Installation) -> None:
    """Of a key in two partitions the newer row cannot be known: the producers' clocks say Active, and the person has
    been blocked since. An installation with stable keys declares so."""
    topic = installation.settings.topic(Table.CONTACTS)
    grow_contacts(installation)
    now_ms = int(time.time() * 1000)
    installation.produce_row(Table.CONTACTS, CLIENT, INES, partition=0, timestamp_ms=now_ms + 3_600_000)
    installation.produce_row(Table.CONTACTS, CLIENT, BLOCKED, partition=1, timestamp_ms=now_ms)
    installation.produce_events([repayment(0)])
    with pytest.raises(
        TopicConfigError, match=rf"{topic} has 2 partitions: .*\nhint: create it with one partition and"
    ):
        installation.run()
    stable = installation.settings.model_copy(update={"reference": ReferenceSettings(keys_are_stable=True)})
    installation.produce_row(Table.CONTACTS, "other", INES, partition=1)
    with RestoredTables(replace(installation, settings=stable)) as tables:
        assert ["Ines Duarte"] == names(tables, "other")

    assert [] == installation.read(installation.settings.topic(FixedOutput.MESSAGES))
    assert [-1001] == installation.committed()


def test_a_topic_that_was_created_again_ends_the_process(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is of a topic that is gone; the next start rebuilds it."""
    monkeypatch.setattr("processor.tables.reader.TOPIC_POLL_INTERVAL_S", 0.2)
    with RestoredTables(installation) as tables:
        recreate_topic(installation)
        with pytest.raises(DependencyError, match=r"created again|cannot be read on"):
            while True:
                tables.check()
                time.sleep(0.05)


@pytest.mark.parametrize("step_s", [-30.0, 13 * 3600.0])
def test_a_clock_change_while_running(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    """No time has passed: nothing was missed, the store is used further."""
    monkeypatch.setattr("processor.tables.reader.TOPIC_POLL_INTERVAL_S", 0.1)
    with RestoredTables(installation) as tables:
        set_clock(monkeypatch, step_s)
        seen = [tables._store.last_current_at()]
        for number in range(2):  # the topics were polled since, before the clock was set and after
            wait_until(lambda: tables._store.last_current_at() not in seen)
            seen.append(tables._store.last_current_at())
            installation.produce_row(Table.CONTACTS, "a", {**INES, "name": f"name {number}"})
            wait_until(partial(has_name, tables, f"name {number}"))
        tables.check()
    with RestoredTables(installation) as tables:
        assert 0 == tables.offsets_read


def has_name(tables: ReferenceTables, name: str) -> bool:
    """Whether contact a has this name now."""
    return names(tables, "a") == [name]


def set_clock(monkeypatch: pytest.MonkeyPatch, step_s: float) -> None:
    """The wall clock of this process differs by so much from now on."""
    monkeypatch.setattr(time, "time", lambda: time.time_ns() / 1e9 + step_s)


@pytest.mark.parametrize(("step_s", "read"), [(-30.0, 0), (-3_600.0, 1), (13 * 3600.0, 1)])
def test_a_clock_change_between_two_starts(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, step_s: float, read: int
) -> None:
    """A small step back is ignored. After others it is unknown how long the store was away: it is rebuilt."""
    installation.produce_row(Table.CONTACTS, "a", INES)
    with RestoredTables(installation):
        pass
    set_clock(monkeypatch, step_s)
    with RestoredTables(installation) as tables:
        assert ["Ines Duarte"] == names(tables, "a")
        assert read == tables.offsets_read


def test_deletions_missed_while_cut_off(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that could not read for longer than deletions are kept ends, and the next start rebuilds the store."""
    monkeypatch.setattr("processor.tables.reader.TOPIC_POLL_INTERVAL_S", 0.1)
    installation.produce_row(Table.CONTACTS, "a", INES)
    with RestoredTables(installation) as tables:
        tables._current_at -= 24 * 3600
        with pytest.raises(
            DependencyError, match=r"not be read for 24.0 h, and deletions are kept for 24.0 h\nhint: restart"
        ):
            for _ in range(600):
                tables.check()
                time.sleep(0.05)
    with RestoredTables(installation) as tables:
        assert 1 == tables.offsets_read


def test_a_delete_retention_that_is_too_short(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused at start, with topic, property and what is enough: a store could miss some. A running process goes on."""
    monkeypatch.setattr("processor.tables.reader.TOPIC_POLL_INTERVAL_S", 0.2)
    topic = installation.settings.topic(Table.ACCOUNTS)
    with RestoredTables(installation) as tables:
        installation.configure(topic, "delete.retention.ms", "60000")
        wait_until(lambda: tables.degraded != ())
        installation.produce_row(Table.CONTACTS, "later", INES)
        wait_until(lambda: names(tables, "later") == ["Ines Duarte"])
        tables.check()
        (degraded,) = tables.degraded
        assert degraded.startswith(f"{topic} has delete.retention.ms=60000 now: the next start will refuse it; `proc")
    with pytest.raises(
        TopicConfigError,
        match=rf"{topic} has delete.retention.ms=60000: .*\nhint: set delete.retention.ms=600000 or more on",
    ):
        installation.run()
    installation.configure(topic, "delete.retention.ms", "600000")
    installation.run()


def test_a_topic_deleted_while_running(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """/ready names it: no row of it comes any more, and the next start will refuse. What was read stays in use."""
    monkeypatch.setattr("processor.tables.reader.TOPIC_POLL_INTERVAL_S", 0.2)
    topic = installation.settings.topic(Table.SUBSCRIPTIONS)
    installation.produce_row(Table.CONTACTS, "a", INES)
    with RestoredTables(installation) as tables:
        admin = installation.admin()
        admin.delete_topics([topic])[topic].result(10)
        missing = f"reference topic metadata unavailable: topics are missing: {topic}"
        wait_until(lambda: missing in tables.degraded)
        tables.check()
        assert ["Ines Duarte"] == names(tables, "a")


def test_topics_that_are_missing(installation: Installation) -> None:
    topic = installation.settings.topic(Table.SUBSCRIPTIONS)
    admin = installation.admin()
    admin.delete_topics([topic])[topic].result(10)
    wait_until(lambda: topic not in admin.list_topics(timeout=10).topics)
    with pytest.raises(
        TopicConfigError, match=r"topics are missing: test-\S+reference\.subscriptions\nhint: `processor topics"
    ):
        installation.run()


# ------------------------------------------------------------------------------------------------- the store by itself


def test_the_first_row_of_a_table(tmp_path: Path) -> None:
    """It is there at once, and after the store was opened again; the other tables stay without any."""
    store = TableStore(tmp_path)
    before = store.get(Table.CONTACTS, "a"), store.has_rows(Table.CONTACTS)
    store.apply([TableRecord(Table.CONTACTS, b"a", b"{}")], {})
    written = store.get(Table.CONTACTS, "a"), store.has_rows(Table.CONTACTS), store.has_rows(Table.ACCOUNTS)
    store.close()
    again = TableStore(tmp_path)
    read = again.get(Table.CONTACTS, "a"), again.get(Table.ACCOUNTS, "a")
    again.apply([TableRecord(Table.CONTACTS, b"a", None), TableRecord(Table.ACCOUNTS, b"a", b"{}")], {})
    changed = again.get(Table.CONTACTS, "a"), again.get(Table.ACCOUNTS, "a")
    again.close()

    assert (None, False) == before
    assert (b"{}", True, False) == written
    assert (b"{}", None) == read
    assert (None, b"{}") == changed


def test_an_open_store_is_refused_to_another_process(tmp_path: Path) -> None:
    store = TableStore(tmp_path)
    with pytest.raises(UsageError, match=r"is another process's: .*\nhint: set PROCESSOR_STATE_DIR to a folder"):
        TableStore(tmp_path)
    store.close()


def modes(root: Path) -> dict[str, set[str]]:
    """The modes of files and folders from a folder on downwards, itself included."""
    found: dict[str, set[str]] = {"files": set(), "folders": set()}
    for path in (root, *root.rglob("*")):
        found["folders" if path.is_dir() else "files"].add(f"{path.stat().st_mode & 0o777:o}")
    return found


def state_of(installation: Installation) -> Path:
    """The folder of state of this test."""
    assert installation.settings.state_dir is not None
    return installation.settings.state_dir


def environment_with_state(installation: Installation) -> dict[str, str]:
    """The same state folder as the installation's."""
    return {**installation.env(), "PROCESSOR_STATE_DIR": str(state_of(installation))}


NO_ROOM = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
os.execv(sys.executable, [sys.executable, "-m", "processor", "run", "--until-end"])
"""


def run_without_room(installation: Installation, *, file_bytes: int) -> "subprocess.CompletedProcess[str]":
    """The installed command, for which no file can grow over `file_bytes`: a real error, as when a disk is full."""
    command = [sys.executable, "-c", NO_ROOM, str(file_bytes)]
    return subprocess.run(
        command, env=environment_with_state(installation), timeout=60, capture_output=True, text=True, check=False
    )


def test_a_disk_that_fills_up(installation: Installation) -> None:
    """While rows are read and at start: what happened, what to do, exit code 3. Later the store is used further, not
    rebuilt."""
    producer = Producer(logged({"bootstrap.servers": installation.servers, "linger.ms": 50}))
    for number in range(3_000):
        row = {**INES, "name": secrets.token_hex(500)}
        producer.produce(installation.settings.topic(Table.CONTACTS), json.dumps(row), f"c{number}", 0)
    assert producer.flush(30) == 0
    for file_bytes in (2_500_000, 100):  # a batch of 1,000 rows takes 1.1 MB
        ended = run_without_room(installation, file_bytes=file_bytes)
        *_, what, hint = ended.stderr.splitlines()
        assert (3, True) == (ended.returncode, what.startswith("no room on the disk for the local store in /"))
        assert hint.startswith("hint: make room there, or set PROCESSOR_STATE_DIR to a folder on another disk")
        assert "Traceback" not in ended.stderr
        assert "reference table store rebuilt" not in ended.stderr
    ended = run_without_room(installation, file_bytes=10**9)
    logs = [json.loads(line) for line in ended.stderr.splitlines() if line.startswith("{")]
    (complete,) = [line for line in logs if line["event"] == "reference tables restored"]

    assert (0, True) == (ended.returncode, 0 < complete["offsets_read"] < 3_000)


def test_the_state_is_private_to_its_owner(installation: Installation) -> None:
    """Names and addresses lie in it: whatever the umask `run` was started with, while it runs and for what was there
    before."""
    environment = environment_with_state(installation)
    command = [sys.executable, "-m", "processor", "run", "--until-end"]
    installation.produce_row(Table.CONTACTS, CLIENT, INES)
    state = state_of(installation)
    subprocess.run(command, env=environment, check=True, timeout=60, umask=0, capture_output=True)
    assert {"files": {"600"}, "folders": {"700"}} == modes(state)
    for path in (state, *state.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    another = state / "tables" / "another's.txt"
    another.touch(0o644)
    subprocess.run(command, env=environment, check=True, timeout=60, umask=0o022, capture_output=True)

    assert 0o755 == state.stat().st_mode & 0o777  # a folder that was there may hold what others need
    assert 0o644 == another.stat().st_mode & 0o777
    another.unlink()
    assert {"files": {"600"}, "folders": {"700"}} == modes(state / "tables")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"no folder for the local store of the reference tables: .*Not a directory"):
        TableStore(tmp_path / "file" / "copy")


KILLED = """
import sys
from pathlib import Path
from processor.tables.store import TableStore, TableRecord
from processor.domain.reference import Table
store = TableStore(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(10**9):
    rows = [TableRecord(Table.CONTACTS, str(n).encode(), str(number).encode()) for n in range(500)]
    store.apply(rows, {(Table.CONTACTS, 0): number})
"""


def test_rows_and_positions_agree_after_a_kill(tmp_path: Path) -> None:
    """SIGKILL at any moment: every row is of the batch of the position, none of the next."""
    for seconds in (0.05, 0.15, 0.4):
        with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(seconds)
            process.kill()
        store = TableStore(tmp_path)
        position = store.position(Table.CONTACTS, 0)
        assert {str(position).encode()} == {store.get(Table.CONTACTS, str(n)) for n in range(500)}
        store.close()


def test_a_folder_deleted_while_the_store_is_open(tmp_path: Path) -> None:
    """The error is of the disk, and says that a restart rebuilds the store; closing does not hide it."""
    store = TableStore(tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy")
    with pytest.raises(DependencyError, match=r"files of the local store in .* are gone: .*\nhint: restart"):
        for number in range(40):
            row = TableRecord(Table.CONTACTS, str(number).encode(), secrets.token_bytes(1_000_000))
            store.apply([row], {(Table.CONTACTS, 0): number})
    store.close()
    store = TableStore(tmp_path / "copy")
    assert store.position(Table.CONTACTS, 0) is None
    store.close()


def create_store(folder: Path) -> TableStore:
    """A store of some size, all of it in files."""
    store = TableStore(folder)
    for number in range(3_000):
        row = TableRecord(Table.CONTACTS, str(number).encode(), secrets.token_bytes(1_000))
        store.apply([row], {(Table.CONTACTS, 0): number})
    store.mark_current(time.time())
    store.close()
    return TableStore(folder)


def overwrite(folder: Path, *, at: float) -> None:
    """Overwrite a part of the file of rows, which begins at that share of it."""
    for file in folder.glob("*.sst"):
        size = file.stat().st_size
        if size < 100_000:
            continue
        with file.open("r+b") as damaged:
            damaged.seek(int(size * at))
            damaged.write(bytes(max(64, size // 4) if at else 64))


def test_a_store_whose_beginning_is_corrupt_is_rebuilt(tmp_path: Path) -> None:
    """Where its positions lie."""
    create_store(tmp_path).close()
    overwrite(tmp_path, at=0.0)
    store = TableStore(tmp_path)
    assert (None, None, None) == (
        store.get(Table.CONTACTS, "1"),
        store.position(Table.CONTACTS, 0),
        store.last_current_at(),
    )
    store.close()


def test_a_store_that_turns_corrupt_ends_the_process(tmp_path: Path) -> None:
    """And the next start rebuilds the store, where the same one would end it again."""
    create_store(tmp_path).close()
    overwrite(tmp_path, at=0.25)
    store = TableStore(tmp_path)
    with pytest.raises(DependencyError, match=r"the local store in .* cannot be read: Corruption.*\nhint: restart"):
        for number in range(3_000):
            store.get(Table.CONTACTS, str(number))
    store.close()
    store = TableStore(tmp_path)
    assert store.get(Table.CONTACTS, "1") is None
    store.close()


def test_abandoned_stores_are_removed(installation: Installation) -> None:
    """Of containers that were replaced; one that is written to, or was lately, stays."""
    for name in ("gone", "lately"):
        with RestoredTables(installation, name=name):
            pass
    gone, lately = store_folder(installation.settings, "gone"), store_folder(installation.settings, "lately")
    backdate(gone)
    with RestoredTables(installation):
        assert [False, True] == [gone.exists(), lately.exists()]


def backdate(folder: Path) -> None:
    """As if it had not been written to for a week."""
    week_ago = time.time() - 7 * 86_400
    for file in (*folder.iterdir(), folder):
        os.utime(file, (week_ago, week_ago))


def test_folders_of_others_are_not_removed(installation: Installation, tmp_path: Path) -> None:
    """What does not carry our kind of name and our marker stays, however old; so does what is not ours in our folder, a
    store that is open, and what a link leads to."""
    tables = store_folder(installation.settings, "me").parent
    other_name, no_marker, linked = tables / "reports", tables / "reports-0a1b2c3d", tmp_path / "linked"
    link, shared, used = (
        tables / "link-0a1b2c3d",
        store_folder(installation.settings, "shared"),
        store_folder(installation.settings, "used"),
    )
    for folder in (other_name, no_marker, linked):
        folder.mkdir(parents=True)
        (folder / "000001.sst").write_text("a report")
    for folder in (other_name, linked):
        (folder / "processor-reference-tables").touch()
    TableStore(shared).close()
    (shared / "notes.txt").write_text("a note")
    in_use = TableStore(used)
    link.symlink_to(linked, target_is_directory=True)
    for folder in (other_name, no_marker, linked, shared, used):
        backdate(folder)
    with RestoredTables(installation):
        pass

    assert {"a report"} == {(folder / "000001.sst").read_text() for folder in (other_name, no_marker, linked)}
    assert ["notes.txt"] == [file.name for file in shared.iterdir()]
    in_use.apply([TableRecord(Table.CONTACTS, b"k", b"v")], {})
    in_use.close()
    assert b"v" == TableStore(used).get(Table.CONTACTS, "k")


def test_a_rebuilt_store_keeps_the_files_of_others(tmp_path: Path) -> None:
    """A folder with other files in it loses the store and nothing else."""
    create_store(tmp_path).close()
    (tmp_path / "notes.txt").write_text("a note")
    overwrite(tmp_path, at=0.0)
    store = TableStore(tmp_path)
    assert store.position(Table.CONTACTS, 0) is None
    store.close()

    assert "a note" == (tmp_path / "notes.txt").read_text()


def test_a_kill_before_the_deletion_of_another_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the layout was read and before the deletion, the next start finds the other layout again."""
    store = TableStore(tmp_path)
    store.apply([TableRecord(Table.CONTACTS, b"k", b"+of another layout")], {})
    store._rows.put(b"\0form", b"2")
    store.close()
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("processor.tables.store._delete_files", interrupt)
        TableStore(tmp_path)
    store = TableStore(tmp_path)
    assert store.get(Table.CONTACTS, "k") is None
    store.close()


def interrupt(_folder: Path) -> None:
    raise KeyboardInterrupt
