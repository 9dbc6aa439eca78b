"""Runs of records that plans map at once: readers and counters see no difference to records mapped one by one."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from prometheus_client import CollectorRegistry

from processor.domain.event import SeenEvent
from processor.domain.outcome import MappingPath, PlannedMessages, PlannedRun
from processor.domain.reasons import Reason
from processor.domain.record import OutFields, RecordPosition, TemplateId, Topic
from processor.engine import loop as module
from processor.engine import mapping_parts
from processor.engine.batch import ProcessedRecords
from processor.engine.circuit_breaker import CircuitBreakers
from processor.engine.deduplication import DeduplicationWindow
from processor.engine.loop import Loop, run
from processor.engine.publisher import TransactionalPublisher
from processor.engine.startup_guard import StartupGuard, causes_of
from processor.engine.status import EngineStatus
from processor.engine.step import Step
from processor.kafka.clients import headers_of
from processor.mapping.event_plans import make_at_once
from processor.mapping.options import Plan
from processor.observability.metrics import Metrics
from processor.settings import Switch
from processor.wire.dead_letter import read_dead_letter
from tests.support.clients import logged
from tests.support.events import repayment
from tests.support.executors import NEEDS_NATIVE
from tests.support.installation import Installation, create_installation

pytestmark = [pytest.mark.kafka, NEEDS_NATIVE]

EVENTS: Final = 90


@pytest.fixture
def runs(observed_runs: list[int]) -> Iterator[list[int]]:
    """As `observed_runs`, of which there has to be one."""
    yield observed_runs
    assert observed_runs, "nothing was mapped in a run"


@pytest.fixture
def observed_runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many records each run has had. Plans are there for the second record of a schema."""
    counts: list[int] = []
    map_run = Loop._map_run

    def count(self: Loop, room: Any) -> ProcessedRecords | None:
        found = map_run(self, room)
        if found is not None:
            counts.append(found.outcome.record_count)
        return found

    monkeypatch.setattr(Loop, "_map_run", count)
    monkeypatch.setattr(mapping_parts, "call_in_thread", lambda make, **_name: make_at_once(make))
    return counts


def produce_varied(installation: Installation, rng: random.Random) -> None:
    """Events of two partitions; among them duplicates, another tenant's, empty records, broken ones, and some with a
    trace."""
    producer = Producer(logged({"bootstrap.servers": installation.servers, "linger.ms": 5}))
    for number in range(EVENTS):
        repeated = rng.randrange(max(number, 1)) if rng.random() < 0.1 else number
        fields = repayment(repeated) if rng.random() > 0.05 else {**repayment(number), "tenant": "southbank"}
        value, key = installation.encode(fields)
        kind = rng.random()
        other = rng.choice([None, b"", value[:-1], value + b"\x00", b"{}"])
        trace: dict[str, str | bytes | None] = {
            "traceparent": b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        }
        producer.produce(
            installation.events, other if kind < 0.1 else value, key, repeated % 2, headers=trace if kind > 0.8 else {}
        )
    assert producer.flush(30) == 0


def with_group(installation: Installation, group: str, **changes: Any) -> Installation:
    """The same topics for another group, whose outputs come behind those that are there."""
    settings = installation.settings.model_copy(
        update={"group": f"{installation.settings.group_id}-{group}", **changes}
    )
    return Installation(settings, installation.schemas, installation.templates, installation.partitions)


def run_and_count(installation: Installation, **options: Any) -> Counter[tuple[str, str]]:
    """What the counters say after a run to the end, but for which path mapped the records, and the transactions."""
    registry = CollectorRegistry()
    status = EngineStatus(Metrics(registry), events=installation.events, max_stall_s=60)
    run(installation.settings, until_end=True, status=status, **options)
    return Counter(
        {
            (sample.name, str(sample.labels)): int(sample.value)
            for family in registry.collect()
            for sample in family.samples
            if family.type == "counter" and family.name in COUNTED
        }
    )


COUNTED: Final = (
    *("processor_records", "processor_outputs", "processor_decisions", "processor_dead_letters"),
    "processor_lookups_missing",
)


def contents(installation: Installation) -> dict[tuple[Topic, int], list[tuple[Any, ...]]]:
    """By topic and partition; what a time or a position in another topic stands in is the source's."""
    return {
        (topic, partition): [
            (record.key(), record.value(), record.headers()) for record in installation.read(topic, partition)
        ]
        for topic in installation.outputs
        for partition in range(2)
    }


@pytest.mark.parametrize("seed", range(3))
def test_the_same_outputs_and_counters(bootstrap_servers: str, topic_prefix: str, runs: list[int], seed: int) -> None:
    """As without plans, in the same order, whatever lies between the records of a run."""
    installation = create_installation(bootstrap_servers, topic_prefix, partitions=2, max_batch_wait_ms=500)
    produce_varied(installation, random.Random(seed))
    counters = run_and_count(installation)
    first = contents(installation)
    one_by_one = with_group(installation, "off", plan=Plan.OFF)
    expected = run_and_count(one_by_one, start_from="beginning")
    both = contents(installation)

    assert {at: records + records for at, records in first.items()} == both
    assert expected == counters
    assert max(runs) > 1


def test_a_run_ends_where_a_transaction_is_full(bootstrap_servers: str, topic_prefix: str, runs: list[int]) -> None:
    """By its records, and by the bytes of its outputs."""
    installation = create_installation(bootstrap_servers, topic_prefix, max_batch_records=8, max_batch_wait_ms=500)
    installation.produce_events([repayment(n) for n in range(30)])
    installation.run()

    assert 8 == max(runs)

    small = with_group(installation, "small", max_batch_bytes=5_000)
    runs.clear()
    run(small.settings, until_end=True, start_from="beginning")

    assert 1 <= max(runs) < 8
    assert [30] == small.committed()


def test_a_pass_that_takes_its_time_ends_a_run(
    bootstrap_servers: str, topic_prefix: str, runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the record under way, so that the group hears from us."""
    monkeypatch.setattr(module, "PROCESSING_TIME_S", 0.0)
    monkeypatch.setattr(module, "MAX_AHEAD_RECORDS", 1)
    installation = create_installation(bootstrap_servers, topic_prefix, max_batch_wait_ms=500)
    installation.produce_events([repayment(n) for n in range(5)])
    steps: list[str] = []
    run(installation.settings, until_end=True, on_step=steps.append)

    assert {1} == set(runs)
    assert 5 == steps.count(Step.COMMITTED)


@pytest.fixture
def small_runs(runs: list[int], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """As `runs`, of five records at most."""
    monkeypatch.setattr(module, "MAX_RUN_RECORDS", 5)
    return runs


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many outputs each call got that published some of a batch while the rest was mapped."""
    counts: list[int] = []
    publish_ahead = TransactionalPublisher.publish_ahead

    def count(self: TransactionalPublisher, outputs: Sequence[OutFields]) -> None:
        counts.append(len(outputs))
        publish_ahead(self, outputs)

    monkeypatch.setattr(TransactionalPublisher, "publish_ahead", count)
    return counts


@pytest.mark.usefixtures("small_runs")
def test_outputs_are_sent_while_the_rest_is_mapped(bootstrap_servers: str, topic_prefix: str, ahead: list[int]) -> None:
    """In one transaction, in the same order, with those of records that are mapped one by one between them; not before
    the first records are checked."""
    options = {"partitions": 2, "max_batch_wait_ms": 500}
    installation = create_installation(bootstrap_servers, topic_prefix, max_rejected_ratio=1, **options)
    produce_varied(installation, random.Random(7))
    steps: Counter[str] = Counter()
    run(installation.settings, until_end=True, on_step=lambda step: steps.update([step]))
    first, parts = contents(installation), list(ahead)
    checked = with_group(installation, "checked", max_rejected_ratio=0.95)
    run(checked.settings, until_end=True, start_from="beginning")

    assert {at: records + records for at, records in first.items()} == contents(installation)
    assert len(parts) > 3
    assert parts == ahead
    assert steps[Step.BEGUN] == steps[Step.COMMITTED] == steps[Step.MAPPED]


class KilledError(Exception):
    """The process ends here."""


@pytest.mark.usefixtures("small_runs")
def test_a_process_that_ends_while_outputs_are_sent(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one maps all of the batch; readers see it once."""
    installation = create_installation(bootstrap_servers, topic_prefix, max_rejected_ratio=1, max_batch_wait_ms=500)
    installation.produce_events([repayment(n) for n in range(30)])
    publish_ahead = TransactionalPublisher.publish_ahead
    calls = 0

    def publish_or_end(self: TransactionalPublisher, outputs: Sequence[OutFields]) -> None:
        nonlocal calls
        publish_ahead(self, outputs)
        calls += 1
        if calls == 3:
            raise KilledError

    monkeypatch.setattr(TransactionalPublisher, "publish_ahead", publish_or_end)
    with pytest.raises(KilledError):
        installation.run()
    installation.run()

    assert calls > 3
    assert [30] == installation.committed()
    assert [*range(30)] == [
        status["source"]["offset"] for status in installation.read_statuses() if "email" in status["templateId"]
    ]


@pytest.mark.usefixtures("small_runs")
def test_outputs_that_cannot_be_sent_ahead(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch is not committed, and mapped again."""
    produce_all, failures = TransactionalPublisher._produce_all, list[int]()

    def fail_once(self: TransactionalPublisher, *args: Any) -> None:
        if len(failures) < 1:
            failures.append(1)
            raise KafkaException(KafkaError(KafkaError._MSG_TIMED_OUT))
        produce_all(self, *args)

    monkeypatch.setattr(TransactionalPublisher, "_produce_all", fail_once)
    installation = create_installation(bootstrap_servers, topic_prefix, max_rejected_ratio=1, max_batch_wait_ms=500)
    installation.produce_events([repayment(n) for n in range(30)])
    steps: Counter[str] = Counter()
    run(installation.settings, until_end=True, on_step=lambda step: steps.update([step]))

    assert failures
    assert 1 == steps[Step.RECOVERED]
    assert [*range(30)] == [
        status["source"]["offset"] for status in installation.read_statuses() if "email" in status["templateId"]
    ]


@pytest.mark.parametrize("ratio", [0.95, 1.0])
@pytest.mark.usefixtures("small_runs")
def test_one_record_that_the_broker_refuses(bootstrap_servers: str, topic_prefix: str, ratio: float) -> None:
    """Runs are cut until it is found; its neighbours are published once, whether they were sent ahead or not."""
    installation = create_installation(bootstrap_servers, topic_prefix, max_rejected_ratio=ratio)
    compacted = ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.SET)
    decisions = ConfigResource(ResourceType.TOPIC, installation.decisions, incremental_configs=[compacted])
    admin = installation.admin()  # it has to live until the broker has responded
    (altered,) = admin.incremental_alter_configs([decisions]).values()
    altered.result(10)
    installation.produce_events([repayment(n) for n in range(20)])
    producer = Producer(logged({"bootstrap.servers": bootstrap_servers}))
    producer.produce(installation.events, b"", None, 0)  # its decision has no key either
    assert producer.flush(10) == 0
    installation.produce_events([repayment(n) for n in range(20, 40)])
    installation.run()
    (letter,) = installation.read(installation.dead_letters)
    dead = read_dead_letter(key=letter.key(), value=letter.value(), headers=headers_of(letter))

    assert [41] == installation.committed()
    assert [2] * 40 == list(Counter(status["eventId"] for status in installation.read_statuses()).values())
    assert (20, Reason.OUTPUT_REFUSED) == (dead.position.offset, dead.reason)


def test_a_record_for_which_writing_raises(
    bootstrap_servers: str, topic_prefix: str, runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is mapped by itself, in its place."""
    remember_new = DeduplicationWindow.remember_new

    def remember_or_raise(self: DeduplicationWindow, seen: SeenEvent) -> bool:
        if seen.offset % 7 == 3:
            raise ValueError(seen.offset)
        return remember_new(self, seen)

    monkeypatch.setattr(DeduplicationWindow, "remember_new", remember_or_raise)
    installation = create_installation(bootstrap_servers, topic_prefix, max_batch_wait_ms=500)
    installation.produce_events([repayment(n) for n in range(30)])
    installation.run()

    assert [*range(30)] == [
        status["source"]["offset"] for status in installation.read_statuses() if "email" in status["templateId"]
    ]
    assert [2, 6, 6, 6, 5] == runs


@pytest.mark.usefixtures("runs")
def test_breakers_learn_of_runs(bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each template of each record counts as a message; nothing does where breakers are off."""
    learnt: Counter[str] = Counter()

    def record_messages(_self: Any, template: str, _version: int, count: int = 1) -> None:
        learnt[template] += count

    monkeypatch.setattr(CircuitBreakers, "record_messages", record_messages)
    installation = create_installation(bootstrap_servers, topic_prefix, max_batch_wait_ms=500)
    installation.produce_events([repayment(n) for n in range(20)])
    installation.run()

    assert {"loan-repayment-email": 20, "loan-repayment-stream": 20} == learnt

    off = with_group(installation, "off", circuit_breaker=Switch.OFF)
    learnt.clear()
    run(off.settings, until_end=True, start_from="beginning")

    assert not learnt


@pytest.mark.parametrize(("template", "in_runs"), [("loan-repayment-email", False), ("another", True)])
def test_templates_whose_breaker_is_open(
    bootstrap_servers: str,
    topic_prefix: str,
    observed_runs: list[int],
    monkeypatch: pytest.MonkeyPatch,
    template: str,
    in_runs: bool,
) -> None:
    """Their events are mapped one by one, so that one of them probes it; others' are not."""
    update_suspended = CircuitBreakers._update_suspended

    def update(self: CircuitBreakers) -> None:
        update_suspended(self)
        self.open_templates = frozenset([TemplateId(template)])

    monkeypatch.setattr(CircuitBreakers, "_update_suspended", update)
    installation = create_installation(bootstrap_servers, topic_prefix, max_batch_wait_ms=500)
    installation.produce_events([repayment(n) for n in range(12)])
    installation.run()

    assert in_runs == bool(observed_runs)
    assert [*range(12)] == [
        status["source"]["offset"] for status in installation.read_statuses() if "email" in status["templateId"]
    ]


def of_run(count: int) -> PlannedRun:
    planned = PlannedRun(MappingPath.NATIVE, RecordPosition(Topic("banking.events"), 0, count), count)
    planned.messages = {PlannedMessages((), ()): count}
    return planned


def test_a_run_speaks_for_the_deployment() -> None:
    """As so many good records, of which a sample takes no more than it needs."""
    guard = StartupGuard(0.95)
    guard.record([of_run(3)])
    several: Sequence[PlannedRun] = [of_run(2), of_run(10**9)]

    assert [None] * 5 == [*causes_of([of_run(2), of_run(3)])]
    assert not guard.should_wait(several)
    guard.check(several)
