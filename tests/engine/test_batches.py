"""What is in one transaction, what may not get into one, and that readers see no difference."""

import random
import string
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.outcome import Rejected
from processor.domain.output_topics import CO_PARTITIONED, FixedOutput
from processor.domain.reasons import Reason
from processor.domain.record import EventName, OutRecord, RecordPosition, SourceRecord, Topic
from processor.engine import consumer
from processor.engine import loop as module
from processor.engine.batch import ProcessedRecords, split_batch
from processor.engine.deduplication import DeduplicationWindow
from processor.engine.loop import run
from processor.engine.partition import AssignedPartition
from processor.errors import InputError
from processor.kafka.clients import headers_of, producer_properties
from processor.mapping.context import MappingContext
from processor.mapping.event_plans import EventPlans
from processor.mapping.options import Plan
from processor.settings import KafkaSettings, SchemaRegistrySettings, Settings, Switch
from processor.wire.dead_letter import read_dead_letter
from tests.bench.backlog import TEMPLATE as STATEMENT
from tests.bench.backlog import Backlog, produce_backlog, run_once
from tests.support.clients import logged
from tests.support.events import repayment
from tests.support.http_server import recovering_registry
from tests.support.installation import Installation, create_installation

PARTITION = AssignedPartition(0, DeduplicationWindow(records=0, age_ms=0), Future())
EVENTS = Topic("banking.events")


def processed_record(offset: int, size: int) -> ProcessedRecords:
    """A record whose outputs weigh `size` bytes."""
    out = OutRecord(Topic("communications.dead-letters"), 0, None, b"x" * size)
    record = SourceRecord(RecordPosition(EVENTS, 0, offset), 0, None, None)
    return ProcessedRecords(PARTITION, Rejected(record, Reason.BAD_FRAME, "", (out,)))


def processed_records(*sizes: int) -> list[ProcessedRecords]:
    return [processed_record(offset, size) for offset, size in enumerate(sizes)]


def sizes_of(*sizes: int, records: int, output_bytes: int) -> list[list[int]]:
    """The sizes of the records of each chunk."""
    chunks = split_batch(processed_records(*sizes), max_records=records, max_output_bytes=output_bytes)
    return [[record.outcome.output_bytes for record in chunk] for chunk in chunks]


def test_split_by_records() -> None:
    """A chunk has at most so many records; the last has the rest."""
    assert [[1, 1], [1, 1], [1]] == sizes_of(1, 1, 1, 1, 1, records=2, output_bytes=100)


def test_split_by_bytes() -> None:
    """A chunk ends with the record that fills it, to the byte."""
    assert [[4, 6], [5, 4, 1], [9, 4], [7]] == sizes_of(4, 6, 5, 4, 1, 9, 4, 7, records=100, output_bytes=10)


def test_an_oversized_record_ends_its_chunk() -> None:
    """What is over the limit by itself is followed by nothing in its transaction."""
    assert [[3, 50], [50], [3, 7]] == sizes_of(3, 50, 50, 3, 7, records=100, output_bytes=10)


def test_an_empty_batch_has_no_chunk() -> None:
    """An empty batch has no transaction."""
    assert [] == sizes_of(records=1, output_bytes=1)


@given(sizes=st.lists(st.integers(0, 40)), records=st.integers(1, 10), output_bytes=st.integers(1, 100))
def test_split_keeps_all_in_order(sizes: list[int], records: int, output_bytes: int) -> None:
    """Joined again, the chunks are the batch: every record once, in order; each but the last is just filled."""
    batch = processed_records(*sizes)
    chunks = list(split_batch(batch, max_records=records, max_output_bytes=output_bytes))
    weights = [sum(record.outcome.output_bytes for record in chunk) for chunk in chunks]

    assert batch == [record for chunk in chunks for record in chunk]
    for chunk, weight in zip(chunks, weights, strict=True):
        assert 1 <= len(chunk) <= records
        assert weight - chunk[-1].outcome.output_bytes < output_bytes
    for chunk, weight in zip(chunks[:-1], weights, strict=False):
        assert len(chunk) == records or weight >= output_bytes


def properties(*, smallest_limit_bytes: int, **producer: str) -> dict[str, Any]:
    settings = Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:9092", producer=producer))
    return producer_properties(
        settings,
        transactional_id="processor:host-a:0",
        largest_record_bytes=3_000_000,
        smallest_limit_bytes=smallest_limit_bytes,
    )


def test_the_producers_sizes_follow_the_topics() -> None:
    """`message.max.bytes` is the largest that a topic takes; `batch.size` at most the smallest limit, and never more
    than librdkafka's default."""
    assert 3_000_000 == properties(smallest_limit_bytes=20_000)["message.max.bytes"]
    assert 20_000 == properties(smallest_limit_bytes=20_000)["batch.size"]
    assert 1_000_000 == properties(smallest_limit_bytes=5_000_000)["batch.size"]


def test_client_properties_do_not_weaken_the_guarantees() -> None:
    """An operator's linger.ms counts; failed deliveries are always reported, and a transaction ends when it has to."""
    producer_config = properties(smallest_limit_bytes=20_000, **{"linger.ms": "50"})
    with pytest.raises(ValueError, match=r"delivery\.report\.only\.error is reserved"):
        properties(smallest_limit_bytes=20_000, **{"delivery.report.only.error": "false"})

    assert ("50", True, 15_000) == tuple(
        producer_config[name] for name in ("linger.ms", "delivery.report.only.error", "transaction.timeout.ms")
    )


# --- on a real broker ---


def with_group(installation: Installation, group: str, **changes: Any) -> Installation:
    """The same topics, another group and other settings: it publishes again what is there."""
    settings = installation.settings.model_copy(
        update={"group": f"{installation.settings.group_id}-{group}", **changes}
    )
    return Installation(settings, installation.schemas, installation.templates)


def count_steps(installation: Installation, *, start_from: str | None = None) -> Counter[str]:
    """Run to the end; how often each step was reached."""
    steps: Counter[str] = Counter()

    def count(step: str) -> None:
        steps[step] += 1

    run(installation.settings, until_end=True, start_from=start_from, on_step=count)
    return steps


def contents(records: list[Message]) -> list[tuple[Any, ...]]:
    return [(record.key(), record.value(), record.headers()) for record in records]


@pytest.mark.kafka
def test_small_transactions_have_the_same_outputs(bootstrap_servers: str, topic_prefix: str) -> None:
    """With a small PROCESSOR_MAX_BATCH_BYTES what one poll gave is mapped and published in chunks; readers see the same
    records, in the same order."""
    installation = create_installation(bootstrap_servers, topic_prefix, max_batch_records=30, max_batch_wait_ms=5_000)
    installation.produce_events([repayment(n) for n in range(30)])
    single = count_steps(installation)
    topics = [installation.settings.topic(FixedOutput.MESSAGES), installation.settings.topic(FixedOutput.STATUS)]
    before = [contents(installation.read(topic)) for topic in topics]
    weight = sum(len(key) + len(value) for published in before for key, value, _ in published)
    small = with_group(installation, "small", max_batch_bytes=weight // 3)
    several = count_steps(small, start_from="beginning")
    after = [contents(installation.read(topic)) for topic in topics]

    assert 1 == single["committed"]
    assert 3 < several["committed"] < 30
    assert several["mapped"] == several["committed"]
    assert [60, 60] == [len(published) for published in before]
    assert [published * 2 for published in before] == after
    assert [30] == small.committed()


@pytest.mark.kafka
def test_the_consumer_polls_between_two_slow_records(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where mapping takes its time, each record is committed and followed by a poll: the group never has to wait for
    all that one poll gave."""
    installation = create_installation(bootstrap_servers, topic_prefix, max_batch_wait_ms=5_000, max_batch_records=30)
    installation.produce_events([repayment(n) for n in range(30)])
    monkeypatch.setattr(module, "PROCESSING_TIME_S", 0.0)
    monkeypatch.setattr(module, "MAX_AHEAD_RECORDS", 1)
    steps: list[str] = []
    run(installation.settings, until_end=True, on_step=steps.append)
    first = steps.index("mapped")

    assert 30 == steps.count("committed")
    assert ["mapped", "begun", "produced", "offsets_sent", "committing", "committed", "polled"] * 29 == [
        step for step in steps[first:] if step not in ("recovering", "recovered", "sought")
    ][: 29 * 7]
    assert [*range(30)] == [
        status["source"]["offset"] for status in installation.read_statuses() if "email" in status["templateId"]
    ]


@pytest.mark.kafka
def test_large_records_are_not_scanned_far_ahead(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may take so long to be mapped that most of what is scanned ahead is scanned again by the next pass."""
    installation = create_installation(bootstrap_servers, topic_prefix, max_batch_wait_ms=5_000, plan=Plan.PLAIN)
    installation.produce_events([repayment(n) for n in range(30)])
    scanned: list[list[int]] = []
    scan_ahead = EventPlans.scan_ahead

    def count(self: EventPlans, records: Sequence[SourceRecord], context: MappingContext) -> Any:
        scanned.append([len(record.value or b"") for record in records])
        return scan_ahead(self, records, context)

    monkeypatch.setattr(EventPlans, "scan_ahead", count)
    monkeypatch.setattr(module, "MAX_SCANNED_AHEAD_BYTES", 5_000)
    installation.run()

    assert max(map(len, scanned)) > 1
    assert max(sum(sizes[:-1]) for sizes in scanned) < 5_000
    assert 30 == sum(map(len, scanned))


@pytest.mark.kafka
def test_the_shortest_accepted_poll_interval(bootstrap_servers: str, topic_prefix: str) -> None:
    """The client wants its session shorter, of each reader too: 30 s were refused, with 70."""
    shortest = KafkaSettings(bootstrap_servers=bootstrap_servers, consumer={"max.poll.interval.ms": "30000"})
    installation = create_installation(bootstrap_servers, topic_prefix, kafka=shortest)
    installation.produce_events([repayment()])
    installation.run()

    assert [1] == installation.committed()


@pytest.mark.kafka
def test_one_poll_is_limited_in_bytes(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records are polled until they are `MAX_POLL_BYTES`, key and headers counted too, whatever a batch may have."""
    installation = create_installation(bootstrap_servers, topic_prefix, max_batch_wait_ms=5_000)
    installation.produce_values([b""] * 12)
    monkeypatch.setattr(consumer, "MAX_POLL_BYTES", 4 * len(b"key"))
    monkeypatch.setattr(consumer, "MAX_CONSUME_RECORDS", 1)
    steps: Counter[str] = Counter()
    run(installation.settings, until_end=True, on_step=lambda step: steps.update([step]))

    assert 3 == steps["committed"]
    assert [*range(12)] == [decision["source"]["offset"] for decision in installation.read_decisions()]


@pytest.mark.kafka
def test_the_memory_of_a_backlog_is_bounded(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """2,000 events under a template of 100 KB, all there at the start: they were 600 MB before the first commit."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    (tmp_path / "statement.toml").write_text(STATEMENT.format(body="x" * 100_000))
    produce_backlog(installation, Backlog(repayment(), 2_000))
    figures = run_once(installation, python=sys.executable, templates=tmp_path)

    assert (0, 2_000) == (figures.exit_code, figures.committed)
    assert 300 > figures.peak_mb


@pytest.mark.kafka
def test_an_abort_drops_what_was_polled_and_not_mapped(bootstrap_servers: str, topic_prefix: str) -> None:
    """A transaction that fails in the middle of a backlog: partitions are sought, and nothing of the backlog is mapped
    beside what is polled again."""
    installation = create_installation(bootstrap_servers, topic_prefix, max_batch_bytes=20_000, max_batch_wait_ms=5_000)
    installation.produce_events([repayment(n) for n in range(60)])
    steps: list[str] = []

    def fail_once(step: str) -> None:
        steps.append(step)
        if step == "produced" and steps.count(step) == 2:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    run(installation.settings, until_end=True, on_step=fail_once)

    assert 1 == steps.count("sought")
    assert [60] == installation.committed()
    assert [*range(60)] == [
        status["source"]["offset"] for status in installation.read_statuses() if "email" in status["templateId"]
    ]


@pytest.mark.kafka
def test_a_deferred_record_in_a_backlog(bootstrap_servers: str, topic_prefix: str) -> None:
    """A record whose schema is still being fetched, in the middle of what one poll gave: what lies behind it is mapped
    after it, once."""
    waiting = 5
    installation = create_installation(bootstrap_servers, topic_prefix, max_batch_bytes=5_000, max_batch_wait_ms=5_000)
    schema = next(family for family in installation.schemas.families.values() if "LoanTransaction" in family.name)
    producer = Producer(logged({"bootstrap.servers": bootstrap_servers}))
    for n in range(20):
        value, key = installation.encode(repayment(n))
        value = b"\x00" + (7).to_bytes(4, "big") + value[5:] if n == waiting else value
        producer.produce(installation.events, value, key, 0)
    assert producer.flush(10) == 0
    steps: list[str] = []
    with recovering_registry({"/schemas/ids/7": {"schema": schema.text}}) as url:
        settings = installation.settings.model_copy(update={"schema_registry": SchemaRegistrySettings(url=url)})
        run(settings, until_end=True, on_step=steps.append)

    assert waiting < steps.count("committed")
    assert [20] == installation.committed()
    assert [*range(20)] == [
        status["source"]["offset"] for status in installation.read_statuses() if "email" in status["templateId"]
    ]


@pytest.mark.kafka
def test_a_batch_is_not_larger_than_a_topic_accepts(bootstrap_servers: str, topic_prefix: str) -> None:
    """Messages that fit singly, and not together: the producer sends no batch that the topic would refuse."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.limit(installation.settings.topic(FixedOutput.MESSAGES), 20_000)
    dice = random.Random(1)
    names = ["".join(dice.choices(string.ascii_letters, k=2_000)) for _ in range(100)]  # nothing to compress
    installation.produce_events([repayment(n, firstName=name) for n, name in enumerate(names)])
    steps = count_steps(installation)

    assert 0 == steps["recovering"]
    assert 200 == len(installation.read(installation.settings.topic(FixedOutput.MESSAGES)))


@pytest.mark.kafka
def test_a_large_dead_letter_is_whole(bootstrap_servers: str, topic_prefix: str) -> None:
    """The largest that the events' topic takes, over any default of a producer, is a dead letter byte for byte: the
    producer's limit follows that of the dead letters."""
    installation = create_installation(bootstrap_servers, topic_prefix, max_rejected_ratio=1.0)
    value = random.Random(1).randbytes(1_048_000)
    installation.produce_values([value])
    installation.run()
    (letter,) = installation.read(installation.settings.topic(FixedOutput.DEAD_LETTERS))

    assert value == letter.value()


@pytest.mark.kafka
def test_a_bad_deployment_commits_nothing(bootstrap_servers: str, topic_prefix: str) -> None:
    """300 rejected records in batches of 10: exit 5 before the first dead letter, at every start; a ratio of 1 makes
    dead letters of them all."""
    installation = create_installation(bootstrap_servers, topic_prefix, max_batch_records=10)
    installation.produce_values([b"\x07 no event"] * 300)
    for _ in range(2):
        with pytest.raises(InputError, match=r"of the first 1\d\d records are rejected.*BAD_FRAME") as ended:
            installation.run()
        assert 5 == ended.value.exit_code
        assert [] == installation.read(installation.settings.topic(FixedOutput.DEAD_LETTERS))
        assert [0] == installation.committed()

    switched_off = Installation(
        installation.settings.model_copy(update={"max_rejected_ratio": 1.0, "max_batch_records": 300}),
        installation.schemas,
        installation.templates,
    )
    switched_off.run()

    assert 300 == len(installation.read(installation.settings.topic(FixedOutput.DEAD_LETTERS)))
    assert [300] == installation.committed()


@pytest.mark.kafka
def test_held_back_bytes_are_bounded(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bad first records wait for more, but not beyond the bytes that may be kept: then they are committed."""
    installation = create_installation(bootstrap_servers, topic_prefix, max_batch_records=10)
    installation.produce_values([b"\x07 no event"] * 30)
    held_back = count_steps(installation)
    monkeypatch.setattr(module, "MAX_HELD_BYTES", 10 * len(b"key\x07 no event"))
    full = count_steps(with_group(installation, "full"), start_from="beginning")

    assert (1, 3) == (held_back["mapped"], full["mapped"])


@pytest.mark.process
def test_a_large_record_does_not_release_a_held_back_batch(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value over what may be kept is released once its record is mapped: a worker of a wrong tenant that meets one
    commits nothing before others have come."""
    installation = create_installation(bootstrap_servers, topic_prefix, max_batch_records=10)
    monkeypatch.setattr(module, "MAX_HELD_BYTES", 2_000_000)
    unpacked = {"compression.type": "zstd", "message.max.bytes": 10_000_000}
    producer = Producer(logged({"bootstrap.servers": installation.servers, **unpacked}))
    producer.produce(installation.events, b" " * 3_000_000, "key", 0)
    assert producer.flush(10) == 0
    installation.produce_values([b"\x07 no event"] * 29)

    assert 1 == count_steps(installation)["mapped"]


TEMPLATE = """
id = "{id}"
version = 1
name = "{id}"
type = "EMAIL"
event = "LOAN_REPAYMENT"
target = "LOANS"
recipient = "CLIENT"
subscription = "OPT_OUT"
content_type = "text/plain"
strict = true
subject = "Payment"
body = "{body}"
"""


@pytest.mark.kafka
def test_a_template_that_always_fails_is_suspended(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """After 100 failures a record costs the broken template an entry TEMPLATE_SUSPENDED, but each 100th try; the other
    template makes all of its messages. With PROCESSOR_CIRCUIT_BREAKER=off every record is tried."""
    for name, body in (("good", "{ACCOUNT_ID}"), ("broken", "{CF:LOAN:Absent}")):
        (tmp_path / f"{name}.toml").write_text(TEMPLATE.format(id=name, body=body))
    installation = create_installation(bootstrap_servers, topic_prefix, templates_dir=tmp_path)
    installation.produce_events([repayment(n) for n in range(400)])
    installation.run()
    with_group(installation, "off", circuit_breaker=Switch.OFF).run(start_from="beginning")
    letters = [
        read_dead_letter(key=record.key(), value=record.value(), headers=headers_of(record))
        for record in installation.read(installation.settings.topic(FixedOutput.DEAD_LETTERS))
    ]
    entries = [
        (letter.position.offset, [(failed.templateId, failed.reason.value) for failed in letter.failed])
        for letter in letters
    ]
    tried = [n for n in range(1, 401) if n <= 100 or n % 100 == 0]

    assert [
        (n - 1, [("broken", "MISSING_VALUE" if n in tried else "TEMPLATE_SUSPENDED")]) for n in range(1, 401)
    ] == entries[:400]
    assert [(n, [("broken", "MISSING_VALUE")]) for n in range(400)] == entries[400:]
    assert Counter({"good": 800}) == Counter(status["templateId"] for status in installation.read_statuses())


@pytest.mark.kafka
def test_outputs_have_the_time_of_producing(bootstrap_servers: str, topic_prefix: str) -> None:
    """Kafka's timestamps of outputs are ours, whatever the event's is: retention counts from there. The status' `at` is
    the event's."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    value, key = installation.encode(repayment())
    producer = Producer(logged({"bootstrap.servers": bootstrap_servers}))
    began_ms = int(time.time() * 1000)
    told_ms = began_ms - 20 * 86_400_000
    producer.produce(installation.events, value, key, 0, timestamp=told_ms)
    producer.produce(installation.events, b"", key, 0, timestamp=told_ms)
    producer.produce(installation.events, b"\x07", key, 0, timestamp=told_ms)
    assert producer.flush(10) == 0
    installation.run()
    topics = [
        *map(installation.settings.topic, CO_PARTITIONED),
        installation.settings.stream_topic(EventName("LOAN_REPAYMENT")),
    ]
    published = {topic: [record.timestamp()[1] for record in installation.read(topic)] for topic in topics}

    assert all(published.values())
    assert [] == [(topic, at) for topic, times in published.items() for at in times if not began_ms <= at]
    assert {told_ms} == {
        datetime.fromisoformat(status["at"]).timestamp() * 1000 for status in installation.read_statuses()
    }
