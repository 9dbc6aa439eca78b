"""What can be seen of a running engine: readiness with its reasons, lag, counts."""

import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from functools import cache
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from processor.domain.channel import ContentType
from processor.domain.outcome import Processed, Rejected
from processor.domain.reasons import TemplateReason
from processor.domain.record import TemplateId, Topic
from processor.engine import partition as partition_module
from processor.engine import status as module
from processor.engine.consumer import RebalanceEvent
from processor.engine.deduplication import DeduplicationWindow
from processor.engine.loop import run
from processor.engine.partition import AssignedPartition
from processor.engine.publisher import NotCommitted, TransactionResult
from processor.engine.start_offsets import StartOffset, StartOffsetResolver
from processor.engine.status import LOST_REASON, SILENT_REASON, UNASSIGNED_REASON, EngineStatus
from processor.errors import UnavailableError
from processor.observability.http import Readiness
from processor.observability.metrics import Metrics
from processor.settings import SchemaRegistrySettings
from tests.support.builders import make_context, make_email, make_event, make_record, make_template, map_record
from tests.support.events import repayment
from tests.support.http_server import recovering_registry
from tests.support.installation import create_installation
from tests.support.planned import avro_record, with_plans

READY = Readiness(ready=True)
MAX_STALL_S = 60
EVENTS = Topic("banking.events")


class Clock:
    """The module's `time`, which a test moves on."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_700_000_000.0 + self.now


class StubEndOffsets(StartOffsetResolver):
    """Last stable offsets, as the broker would give them."""

    def __init__(self, ends: Mapping[int, int]) -> None:
        self.ends = dict(ends)

    def last_stable_offsets(self, partitions: list[int]) -> dict[int, int]:
        if not self.ends:
            raise UnavailableError("the broker did not respond")
        return {partition: self.ends[partition] for partition in partitions}


class ObservedStatus:
    """A status with a clock and with end offsets of its own, updated by a loop with these partitions."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *partitions: AssignedPartition, ends: Mapping[int, int]
    ) -> None:
        self.clock = Clock()
        monkeypatch.setattr(module, "time", self.clock)
        self.registry = CollectorRegistry()
        self.status = EngineStatus(Metrics(self.registry), events=EVENTS, max_stall_s=MAX_STALL_S)
        self.ends = StubEndOffsets(ends)
        self.status.watch_lag(self.ends)
        self.partitions = {partition.number: partition for partition in partitions}
        for partition in partitions:
            partition.progressed_at = self.clock.now

    def after(self, seconds: float) -> Readiness:
        """The response of /ready when so much time has passed in which the loop made passes, and nothing changed."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            self.clock.now = min(until, self.clock.now + 1)
            self.status.update(self.partitions, is_member=True, was_ever_assigned=True)
            for thread in threading.enumerate():
                if thread.name == "lag":
                    thread.join(10)
        return self.status.readiness()

    def metric(self, name: str, **labels: str) -> float | None:
        """As it is scraped."""
        return self.registry.get_sample_value(f"processor_{name}", labels)


def started_partition(number: int = 3, *, committed: int = 10, cause: str = "") -> AssignedPartition:
    """A partition that has started, and has committed up to `committed`."""
    partition = AssignedPartition(number, DeduplicationWindow(records=0, age_ms=0), Future())
    partition.resolve(StartOffset(max(committed, 0), 0, needs_initial_commit=committed < 0))
    if cause:
        partition.pause(committed, cause)
    return partition


@cache
def processed_repayment(key: bytes | None = None) -> Processed:
    """What becomes of a LOAN_REPAYMENT with the right key, or with this one."""
    record = make_record(make_event()) if key is None else make_record(make_event(), key=key)
    outcome = map_record(record, make_context(), frozenset())
    assert isinstance(outcome, Processed)
    return outcome


def with_key(key: str) -> Processed:
    """As `mapped`, quickly."""
    wrong = processed_repayment(b"wrong")
    return replace(wrong, record=wrong.record._replace(key=key.encode()))


def test_a_partition_with_lag_and_no_progress_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """After max_stall_s, not before; the reason has partition, lag, seconds and cause. Progress ends it. A partition
    that waits degrades the process at once."""
    stuck, busy = (
        started_partition(3, committed=10, cause="waiting for the schema registry"),
        started_partition(4, committed=10),
    )
    seen = ObservedStatus(monkeypatch, stuck, busy, ends={3: 10, 4: 10})
    waits = "partition 3 waits at 10: waiting for the schema registry"
    degraded = Readiness(ready=True, reasons=(waits,), degraded=True)
    assert degraded == seen.after(3)
    seen.ends.ends = {3: 15, 4: 15}
    assert degraded == seen.after(3)

    for _ in range(59):  # the lag has been known for a second
        assert degraded == seen.after(1)
        busy.progressed_at = seen.clock.now
    reason = "partition 3: 5 records behind, no progress for 61 s: waiting for the schema registry"

    assert Readiness(ready=False, reasons=(reason,)) == seen.after(1)

    stuck.mark_committed(12)
    stuck.progressed_at = seen.clock.now

    assert READY == seen.after(3)


def test_a_partition_that_was_idle_long_is_not_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an hour without records the first new one has as long as any other; so has the first after it caught up."""
    idle = started_partition(3, committed=10)
    seen = ObservedStatus(monkeypatch, idle, ends={3: 10})
    seen.after(3_600)
    seen.ends.ends = {3: 11}

    assert READY == seen.after(60)

    idle.committed_offset = 11  # it caught up, but not within an update
    seen.after(3)
    seen.ends.ends = {3: 12}

    assert READY == seen.after(60)
    assert not seen.after(4).ready


def test_the_last_known_end_offsets_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the broker gives no end offsets, the last known ones stand."""
    seen = ObservedStatus(monkeypatch, started_partition(3, committed=10), ends={})
    seen.after(3)

    assert 0 == seen.metric("consumer_lag_records", topic=EVENTS, partition="3")

    seen.ends.ends = {3: 15}
    seen.after(6)
    seen.ends.ends = {}
    seen.after(6)

    assert 5 == seen.metric("consumer_lag_records", topic=EVENTS, partition="3")


def test_gauges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lag, time of the last progress since the epoch, assigned partitions; one that went shows nothing any more."""
    three, four = started_partition(3, committed=10), started_partition(4, committed=-1)
    seen = ObservedStatus(monkeypatch, three, four, ends={3: 17, 4: 2})
    progressed_at = seen.clock.time()
    seen.after(6)

    assert (7, 2) == tuple(seen.metric("consumer_lag_records", topic=EVENTS, partition=p) for p in "34")
    assert progressed_at == seen.metric("last_progress_timestamp_seconds", partition="3")
    assert 2 == seen.metric("assigned_partitions")

    three.mark_committed(17)
    three.progressed_at = seen.clock.now
    del seen.partitions[4]
    seen.after(1)

    assert 0 == seen.metric("consumer_lag_records", topic=EVENTS, partition="3")
    assert progressed_at + 6 == seen.metric("last_progress_timestamp_seconds", partition="3")
    assert 1 == seen.metric("assigned_partitions")
    assert None is seen.metric("consumer_lag_records", topic=EVENTS, partition="4")
    assert None is seen.metric("last_progress_timestamp_seconds", partition="4")


def failure(result: str) -> NotCommitted:
    return NotCommitted(error="_FENCED", detail="", is_record_error=False, result=TransactionResult(result))


def test_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transactions by result, rebalances by kind; records and outputs of committed transactions, and of no other."""
    seen = ObservedStatus(monkeypatch, ends={})
    seen.status.count_committed([processed_repayment(), processed_repayment()], seconds=0.1)
    for result in ("aborted", "aborted", "uncertain", "fenced"):
        seen.status.count_failure(failure(result))
    for event in (RebalanceEvent.ASSIGNED, RebalanceEvent.REVOKED, RebalanceEvent.ASSIGNED, RebalanceEvent.LOST):
        seen.status.count_rebalance(event, 6)

    assert {"committed": 1, "aborted": 2, "uncertain": 1, "fenced": 1} == {
        result: seen.metric("transactions_total", result=result)
        for result in ("committed", "aborted", "uncertain", "fenced")
    }
    assert {"assigned": 2, "revoked": 1, "lost": 1} == {
        kind: seen.metric("rebalances_total", event=kind) for kind in ("assigned", "revoked", "lost")
    }
    assert 2 == seen.metric("records_total", topic="banking.events", outcome="processed")
    assert 4 == seen.metric("outputs_total", topic="communications.status")  # an e-mail and a stream event of each
    assert 2 == seen.metric("batch_records_sum")
    assert None is seen.metric("dead_letters_total", reason="TEMPLATE_FAILED")


def test_what_came_of_templates_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decisions and failures of every template, and each part of a Message that no row gave; one dead letter for the
    record."""
    seen = ObservedStatus(monkeypatch, ends={})
    context = make_context(
        make_email("mail"),
        make_email("off", active=False),
        make_email("off-too", active=False),
        make_template("fails", body="{GROUP_ID}", strict=True),
        make_template("fails-too", body="{GROUP_ID}", strict=True),
    )
    outcome = map_record(make_record(), context)
    assert isinstance(outcome, Processed)
    seen.status.count_committed([outcome], seconds=0.1)

    assert 2 == seen.metric("decisions_total", reason="INACTIVE")
    assert [1, 1] == [
        seen.metric("template_failures_total", template=template, reason="MISSING_VALUE")
        for template in ("fails", "fails-too")
    ]
    assert 1 == seen.metric("dead_letters_total", reason="TEMPLATE_FAILED")
    assert 1 == seen.metric("lookups_missing_total", part="account")
    assert [1, 1, 1] == [
        seen.metric("outputs_total", topic=f"communications.{topic}")
        for topic in ("messages", "decisions", "dead-letters")
    ]


def test_the_path_of_each_record_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan, or the reference: of it is each dead letter, and each decision about a whole record."""
    seen = ObservedStatus(monkeypatch, ends={})
    planned, read, failed, empty, broken = (varied_outcomes()[number] for number in (8, 0, 2, 5, 6))
    seen.status.count_committed([planned, read, planned, failed, empty, broken, broken], seconds=0.1)

    assert (2, 5) == tuple(seen.metric("events_total", path=path) for path in ("plain", "reference"))


def counted(outcomes: Iterable[Processed | Rejected], *, batch_records: int) -> dict[tuple[str, str], float]:
    """What the counters say of outcomes that were committed in batches of so many; not how many batches."""
    registry = CollectorRegistry()
    status = EngineStatus(Metrics(registry), events=EVENTS, max_stall_s=MAX_STALL_S)
    left = list(outcomes)
    while left:
        status.count_committed(left[:batch_records], seconds=0.1)
        del left[:batch_records]
    return {
        (sample.name, str(sample.labels)): sample.value
        for family in registry.collect()
        for sample in family.samples
        if family.type == "counter" and sample.name != "processor_transactions_total"
    }


@given(numbers=st.lists(st.integers(0, 8), max_size=20), batch_records=st.integers(1, 20))
def test_a_batch_counts_as_its_records_do_alone(numbers: list[int], batch_records: int) -> None:
    """Whatever is in it, in any order: the counters are those of the same records in transactions of their own."""
    outcomes = [varied_outcomes()[number] for number in numbers]

    assert counted(outcomes, batch_records=1) == counted(outcomes, batch_records=batch_records)


@cache
def varied_outcomes() -> tuple[Processed | Rejected, ...]:
    """Nine that differ in what is counted of them."""
    failing = make_context(
        make_email("mail"), make_email("off", active=False), make_template("fails", body="{GROUP_ID}", strict=True)
    )
    xml = make_context(make_template("xml", body="<a>{ACCOUNT_NAME}</a>", content_type=ContentType.XML))
    outcomes = (
        map_record(make_record(), make_context()),
        map_record(make_record(key=b"wrong"), make_context()),
        map_record(make_record(), failing),
        map_record(make_record(headers=(("traceparent", b"x"),)), failing),
        map_record(make_record(make_event(account__name="a\x0bb")), xml),
        map_record(make_record()._replace(value=None), make_context()),
        map_record(make_record(value=b"broken"), make_context()),
        map_record(make_record(value=b"broken", timestamp_ms=-1), make_context()),
        map_record(avro_record(), with_plans(make_context())),
    )
    return tuple(outcome for outcome in outcomes if isinstance(outcome, Processed | Rejected))


@pytest.mark.parametrize(
    "key",
    [
        lambda: secrets.token_hex(16),
        lambda: secrets.token_hex(16).upper(),
        lambda: str(uuid4()),
        lambda: f"account-{secrets.randbelow(10**9)}",
        lambda: f"C-{secrets.token_hex(16)}",
    ],
    ids=["encoded key", "upper case", "uuid", "number", "prefix"],
)
def test_wrong_keys_of_one_pattern_are_one_log_line(monkeypatch: pytest.MonkeyPatch, key: Callable[[], str]) -> None:
    """A thousand records that are keyed wrongly in one way are all counted, and one line names the first."""
    seen = ObservedStatus(monkeypatch, ends={})
    with capture_logs() as logs:
        for _ in range(10):
            seen.status.count_committed([with_key(key()) for _ in range(100)], seconds=0.1)

    assert 1_000 == seen.metric("key_mismatches_total")
    (line,) = (line for line in logs if "pattern" in line)
    event = make_event()
    place = processed_repayment().record.position
    assert f"{place.topic}[{place.partition}]@{place.offset}" == line["position"]
    assert (event.name, event.id, event.ordering_key) == (line["event_name"], line["event_id"], line["expected_key"])


def test_records_without_a_time_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those whose time no reader could show, dead letters too; others are not."""
    seen = ObservedStatus(monkeypatch, ends={})
    for timestamp_ms in (1_773_480_413_702, 1_773_480_413_702_000, -1):
        for value in (None, b"broken"):
            record = make_record(None if value else make_event(), value=value, timestamp_ms=timestamp_ms)
            outcome = map_record(record, make_context(), frozenset())
            assert isinstance(outcome, Processed | Rejected)
            seen.status.count_committed([outcome], seconds=0.1)

    assert 4 == seen.metric("records_without_time_total")


def test_malformed_headers_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """By their name, once for each record that has outputs without them."""
    seen = ObservedStatus(monkeypatch, ends={})
    for headers in ((), (("traceparent", None),), (("traceparent", b"x"), ("traceparent", b"y"), ("other", None))):
        for value in (None, b"broken"):
            record = make_record(None if value else make_event(), value=value, headers=headers)
            outcome = map_record(record, make_context(), frozenset())
            assert isinstance(outcome, Processed | Rejected)
            seen.status.count_committed([outcome], seconds=0.1)

    assert 2 == seen.metric("malformed_headers_total", header="traceparent")
    assert not seen.metric("malformed_headers_total", header="correlation-id")


def test_replaced_characters_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """By template, once the message that shows them is committed; templates that replace none have no series."""
    seen = ObservedStatus(monkeypatch, ends={})
    context = make_context(
        make_template("xml", body="<a>{ACCOUNT_NAME}</a>", content_type=ContentType.XML), make_email("mail")
    )
    outcome = map_record(make_record(make_event(account__name="a\x0b\ufffeb")), context, frozenset())
    assert isinstance(outcome, Processed)
    assert 2 == len(outcome.created)
    assert seen.metric("characters_replaced_total", template="xml") is None
    for _ in range(2):
        seen.status.count_committed([outcome], seconds=0.1)

    assert 4 == seen.metric("characters_replaced_total", template="xml")
    assert seen.metric("characters_replaced_total", template="mail") is None


def test_the_pattern_of_a_long_key_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key may have 1 MB, and its pattern has 40 characters: the rest of it is not searched."""
    seen = ObservedStatus(monkeypatch, ends={})
    outcome = with_key(f"{'1' * 31}-" * 31_250)
    began = time.process_time()
    with capture_logs() as lines:
        seen.status.count_committed([outcome], seconds=0.1)

    assert ["9-" * 20] == [line["pattern"] for line in lines]
    assert 0.1 > time.process_time() - began


def test_each_pattern_of_wrong_keys_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two producers that key wrongly in two ways are two lines; a right key is none."""
    seen = ObservedStatus(monkeypatch, ends={})
    with capture_logs() as logs:
        seen.status.count_committed(
            [with_key("LN-1"), processed_repayment(), with_key(f"17:{'0f' * 16}"), with_key("LN-2")],
            seconds=0.1,
        )

    assert 3 == seen.metric("key_mismatches_total")
    assert ["a-9", "9:<key>"] == [line["pattern"] for line in logs if "pattern" in line]


def test_a_member_without_partitions_is_ready() -> None:
    """The group counts it in; one without a response of the group, or that lost its partitions, is not ready."""
    status = EngineStatus.unobserved()
    status.update({}, is_member=False, was_ever_assigned=False)
    assert Readiness(ready=False, reasons=(UNASSIGNED_REASON,)) == status.readiness()

    status.update({}, is_member=True, was_ever_assigned=True)

    assert READY == status.readiness()


def test_a_member_that_lost_its_partitions_is_not_ready() -> None:
    """Partitions that are lost make it unready, and the reason is another one than at the start."""
    status = EngineStatus.unobserved()
    status.update({}, is_member=False, was_ever_assigned=True)

    assert Readiness(ready=False, reasons=(LOST_REASON,)) == status.readiness()


def updated_once() -> EngineStatus:
    status = EngineStatus.unobserved()
    status.update({}, is_member=True, was_ever_assigned=True)
    assert status.readiness().ready
    return status


NOT_COMMITTED = Readiness(ready=False, reasons=("the last batch was not committed: _FENCED",))


def test_not_ready_at_once_after_an_abort() -> None:
    """No turn of the loop is needed to be unready, and a turn alone does not make it ready."""
    status = updated_once()
    status.count_failure(failure("aborted"))

    assert NOT_COMMITTED == status.readiness()

    status.update({}, is_member=True, was_ever_assigned=True)

    assert NOT_COMMITTED == status.readiness()


def test_ready_again_when_the_batch_is_committed_or_gone() -> None:
    """Either the batch was committed by another try, or a poll came back empty: others have its partitions."""
    for recover in (lambda p: p.count_committed([], seconds=0.1), EngineStatus.clear_failure):
        status = updated_once()
        status.count_failure(failure("uncertain"))
        recover(status)
        status.update({}, is_member=True, was_ever_assigned=True)

        assert READY == status.readiness()


def test_a_stuck_loop_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Updates have ended, so the last response is worth nothing."""
    seen = ObservedStatus(monkeypatch, ends={})
    assert READY == seen.after(1)
    seen.clock.now += MAX_STALL_S + 1

    reason = f"the loop has not turned for 61 s; {SILENT_REASON}"
    assert Readiness(ready=False, reasons=(reason,)) == seen.status.readiness()


@pytest.mark.kafka
def test_an_engine_with_a_deferred_record_is_not_ready(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a real broker: two records behind, the one that waits and the next; the cause is the registry."""
    monkeypatch.setattr(partition_module, "MAX_RETRY_BACKOFF_S", 0.2)
    responses: dict[str, Any] = {}
    with recovering_registry(responses) as url:
        installation = create_installation(
            bootstrap_servers, topic_prefix, schema_registry=SchemaRegistrySettings(url=url)
        )
        installation.produce_events([repayment(1)])
        value, _ = installation.encode(repayment(2))
        installation.produce_values([b"\x00" + (7).to_bytes(4, "big") + value[5:]])
        installation.produce_events([repayment(3)])
        status = EngineStatus.unobserved(max_stall_s=1)
        reasons: set[str] = set()

        def observe(step: str) -> None:
            if step == "polled" and not responses and status.was_ever_assigned:
                reasons.update(reason for reason in status.readiness().reasons if "behind" in reason)
                if reasons:
                    schema = next(
                        family for family in installation.schemas.families.values() if "LoanTransaction" in family.name
                    )
                    responses["/schemas/ids/7"] = {"schema": schema.text}

        run(installation.settings, until_end=True, on_step=observe, status=status)

    (reason,) = reasons
    assert re.fullmatch(r"partition 0: 2 records behind, no progress for \d s: .*schema registry.*", reason)
    assert [3] == installation.committed()


def test_template_failures_only_degrade(monkeypatch: pytest.MonkeyPatch) -> None:
    """A set that cannot be used and suspended templates are `degraded` in /ready, which stays yes; then forgotten."""
    seen = ObservedStatus(monkeypatch, started_partition(), ends={3: 10})
    suspended = frozenset({(TemplateId("b"), TemplateReason.OTHER), (TemplateId("a"), TemplateReason.MISSING_VALUE)})
    assert 1.0 == seen.metric("template_reload_successful")  # while the engine starts, too
    seen.status.set_templates("0a", refused="x.toml:1: is not TOML", suspended=suspended)

    assert Readiness(
        ready=True,
        reasons=(
            "templates not reloaded: x.toml:1: is not TOML",
            "template a is suspended: MISSING_VALUE; a new version of it is tried at once",
            "template b is suspended: OTHER; a new version of it is tried at once",
        ),
        degraded=True,
    ) == seen.after(3)
    assert (1.0, 0.0) == (seen.metric("template_set_info", version="0a"), seen.metric("template_reload_successful"))
    seen.status.set_templates("0b", refused="", suspended=frozenset())
    assert READY == seen.after(3)
    assert (None, 1.0, 1.0) == (
        seen.metric("template_set_info", version="0a"),
        seen.metric("template_set_info", version="0b"),
        seen.metric("template_reload_successful"),
    )


def test_degraded_is_shown_while_not_ready() -> None:
    """What is degraded is named beside what is missing, and each part speaks for itself."""
    status = EngineStatus.unobserved()
    status.set_degraded("registry", ["schema id 7 is refused"])
    status.set_degraded("tables", ["reference.accounts: a row cannot be read"])
    status.set_degraded("registry", [])
    status.update({}, is_member=False, was_ever_assigned=False)

    assert status.readiness() == Readiness(
        ready=False, reasons=(UNASSIGNED_REASON, "reference.accounts: a row cannot be read"), degraded=True
    )


def test_a_failed_batch_does_not_hide_what_is_degraded() -> None:
    """The loop may not turn for long after it: what was degraded before is still named."""
    status = EngineStatus.unobserved()
    status.set_degraded("topics", ["topic banking.events is compacted"])
    status.count_failure(
        NotCommitted(error="_FENCED", detail="", is_record_error=False, result=TransactionResult.FENCED)
    )

    assert (
        Readiness(ready=False, reasons=(*NOT_COMMITTED.reasons, "topic banking.events is compacted"), degraded=True)
        == status.readiness()
    )


def test_another_tenants_records_are_logged_once() -> None:
    """A share that goes to and fro about half is one warning, until none of the last records is another tenant's."""
    status = EngineStatus.unobserved()
    with capture_logs() as logs:
        for share, reasons in ((0.5, ["half"]), (0.4, []), (0.6, ["more"]), (0.0, []), (1.0, ["all"])):
            status.set_other_tenants(share, reasons)

    assert [("warning", "half"), ("warning", "all")] == [(line["log_level"], line["cause"]) for line in logs]
