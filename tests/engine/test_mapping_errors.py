"""What mapping raises for one record: its dead letter, whatever it is, and never the end of the process."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Producer
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from processor.domain.event import SourceEvent
from processor.domain.outcome import Processed
from processor.domain.output_topics import FixedOutput
from processor.domain.reasons import Reason
from processor.domain.record import RecordPosition, SourceRecord
from processor.engine import loop as module
from processor.engine.loop import run
from processor.engine.status import EngineStatus
from processor.errors import DependencyError, InternalError
from processor.kafka.clients import headers_of
from processor.mapping.context import MappingContext, Suspended
from processor.mapping.decode_record import decode_record
from processor.mapping.map import map_event
from processor.mapping.options import Plan
from processor.observability.metrics import Metrics
from processor.settings import InputTopic
from processor.wire.dead_letter import read_dead_letter
from processor.wire.schema import SchemaOf
from tests.support.clients import logged
from tests.support.events import repayment
from tests.support.installation import create_installation

pytestmark = pytest.mark.kafka

SECRET = "Ada Byron, 12 St James's Square"
AT = 3  # the offset of the record for which mapping raises


def recurse_forever() -> int:
    """As nested input would have it."""
    return 1 + recurse_forever()


def raising(error: Exception) -> Callable[[], object]:
    """What raises `error` when it is called."""

    def raise_error() -> object:
        raise error

    return raise_error


class Mapping:
    """`map_event`, which calls `effect` first for the record at offset `AT`, the first `times` that it is mapped."""

    def __init__(self, effect: Callable[[], object], *, times: int = 1_000) -> None:
        self.effect = effect
        self.times = times
        self.seen: Counter[int] = Counter()

    def __call__(
        self,
        source: SourceEvent,
        context: MappingContext,
        *,
        suspended: Suspended,
        duplicate_of: RecordPosition | None,
    ) -> Processed:
        offset = source.record.position.offset
        self.seen[offset] += 1
        if offset == AT and self.seen[offset] <= self.times:
            self.effect()
        return map_event(source, context, suspended=suspended, duplicate_of=duplicate_of)


def events_of(statuses: list[dict[str, Any]]) -> list[int]:
    """The source offset of each e-mail's status."""
    return [status["source"]["offset"] for status in statuses if "email" in status["templateId"]]


@pytest.mark.parametrize(
    ("effect", "kind"),
    [
        (raising(MemoryError()), "MemoryError"),
        (recurse_forever, "RecursionError"),
        (raising(ValueError(SECRET)), "ValueError"),
        (raising(InternalError(SECRET)), "InternalError"),
    ],
    ids=["memory", "recursion", "value", "internal"],
)
def test_the_record_is_a_dead_letter_and_the_others_are_mapped(
    bootstrap_servers: str,
    topic_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    effect: Callable[[], object],
    kind: str,
) -> None:
    """It is mapped twice, its neighbours once; its bytes are in a dead letter MAPPING_ERROR; log and metric say so,
    without what the error quotes."""
    mapping = Mapping(effect)
    monkeypatch.setattr(module, "map_event", mapping)
    installation = create_installation(bootstrap_servers, topic_prefix, max_batch_wait_ms=2_000, plan=Plan.PLAIN)
    installation.produce_events([repayment(n) for n in range(8)])
    registry = CollectorRegistry()
    with capture_logs() as lines:
        run(
            installation.settings,
            until_end=True,
            status=EngineStatus(
                Metrics(registry), events=installation.settings.topic(InputTopic.EVENTS), max_stall_s=60
            ),
        )
    (letter,) = installation.read(installation.settings.topic(FixedOutput.DEAD_LETTERS))
    dead = read_dead_letter(key=letter.key(), value=letter.value(), headers=headers_of(letter))
    (error,) = [line for line in lines if line["log_level"] == "error"]

    assert [8] == installation.committed()
    assert [0, 1, 2, 4, 5, 6, 7] == events_of(installation.read_statuses())
    assert {offset: 2 if offset == AT else 1 for offset in range(8)} == mapping.seen
    assert (AT, Reason.MAPPING_ERROR, installation.encode(repayment(AT))[0]) == (
        dead.position.offset,
        dead.reason,
        dead.value,
    )
    assert dead.detail.startswith(f"mapping raised {kind} in ")
    assert (repayment(AT)["eventId"], "LOAN_REPAYMENT") == (dead.event_id, dead.event)
    assert str(dead.position) == error["position"]
    assert "test_mapping_errors.py" in error["traceback"]
    assert SECRET not in f"{lines}{letter.headers()}"
    assert 1 == registry.get_sample_value("processor_mapping_errors_total")
    assert 1 == registry.get_sample_value("processor_plan_refusals_total", {"reason": "error"})


def test_an_exception_in_decoding_is_handled_alike(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is decoded once more, alone; then it is a dead letter MAPPING_ERROR, which names no event."""
    seen: Counter[int] = Counter()

    def decode_or_raise(record: SourceRecord, context: MappingContext, *, schema_of: SchemaOf) -> object:
        seen[record.position.offset] += 1
        if record.position.offset == AT:
            raise ValueError(SECRET)
        return decode_record(record, context, schema_of=schema_of)

    monkeypatch.setattr(module, "decode_record", decode_or_raise)
    # Without plans, which scan some records ahead, so that these are not decoded.
    installation = create_installation(bootstrap_servers, topic_prefix, max_batch_wait_ms=2_000, plan=Plan.OFF)
    installation.produce_events([repayment(n) for n in range(8)])
    installation.run()
    (letter,) = installation.read(installation.settings.topic(FixedOutput.DEAD_LETTERS))
    dead = read_dead_letter(key=letter.key(), value=letter.value(), headers=headers_of(letter))

    assert [0, 1, 2, 4, 5, 6, 7] == events_of(installation.read_statuses())
    assert {offset: 2 if offset == AT else 1 for offset in range(8)} == seen
    assert (AT, Reason.MAPPING_ERROR, None) == (dead.position.offset, dead.reason, dead.event_id)
    assert SECRET not in str(letter.headers())


def test_an_exception_that_does_not_repeat_costs_nothing(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is raised once, say for want of memory beside a large batch, costs the record nothing; it is mapped alone,
    in a transaction of its own."""
    monkeypatch.setattr(module, "map_event", Mapping(raising(MemoryError()), times=1))
    installation = create_installation(bootstrap_servers, topic_prefix, max_batch_wait_ms=2_000, plan=Plan.PLAIN)
    installation.produce_events([repayment(n) for n in range(8)])
    steps: list[str] = []
    run(installation.settings, until_end=True, on_step=steps.append)

    assert [*range(8)] == events_of(installation.read_statuses())
    assert [] == installation.read(installation.settings.topic(FixedOutput.DEAD_LETTERS))
    assert 3 == steps.count("committed")


def test_its_event_may_be_sent_again(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead letter for the record itself is not in the deduplication window: the same event, sent again, makes its
    messages."""
    monkeypatch.setattr(module, "map_event", Mapping(raising(MemoryError())))
    installation = create_installation(bootstrap_servers, topic_prefix, plan=Plan.PLAIN)
    installation.produce_events([repayment(n) for n in (0, 1, 2, AT, AT)])
    installation.run()

    assert [0, 1, 2, 4] == events_of(installation.read_statuses())


def test_an_exception_in_a_lookup_stops_the_process(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that does not give a row back, say, is no fault of the record: the process ends, nothing is lost."""
    monkeypatch.setattr(module, "map_event", Mapping(raising(DependencyError("the disk"))))
    installation = create_installation(bootstrap_servers, topic_prefix, plan=Plan.PLAIN)
    installation.produce_events([repayment(n) for n in range(8)])

    with pytest.raises(DependencyError, match="the disk"):
        installation.run()
    assert [] == installation.read(installation.settings.topic(FixedOutput.DEAD_LETTERS))


def test_nearly_all_of_the_first_records_are_a_bad_deployment(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program whose mapping raises for nearly everything does not turn the topic into dead letters."""

    def always(_source: SourceEvent, _context: MappingContext, **_arguments: object) -> Processed:
        raise InternalError(SECRET)

    monkeypatch.setattr(module, "map_event", always)
    installation = create_installation(bootstrap_servers, topic_prefix, plan=Plan.PLAIN)
    producer = Producer(logged({"bootstrap.servers": bootstrap_servers}))
    for n in range(120):
        value, key = installation.encode(repayment(n))
        producer.produce(installation.events, value, key, 0)
    assert producer.flush(10) == 0

    with pytest.raises(Exception, match="MAPPING_ERROR"):
        installation.run()
    assert [] == installation.read(installation.settings.topic(FixedOutput.DEAD_LETTERS))
