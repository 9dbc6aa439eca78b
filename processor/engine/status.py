"""What can be seen of a running engine: metrics, readiness, lag. Written by the loop, read by the HTTP threads."""

import re
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import chain
from typing import Self

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client import Counter as PrometheusCounter

from processor.background import call_in_thread
from processor.domain.outcome import BatchOutcome, MappingPath, PlannedRun, Processed, Rejected, WrongKey
from processor.domain.reasons import Reason
from processor.domain.record import Topic
from processor.engine.consumer import RebalanceEvent
from processor.engine.partition import AssignedPartition
from processor.engine.publisher import NotCommitted, TransactionResult
from processor.engine.start_offsets import StartOffsetResolver
from processor.errors import UnavailableError
from processor.kafka.topic_plan import Difference
from processor.mapping.context import Suspended
from processor.observability.http import Readiness
from processor.observability.metrics import (
    ASSIGNED_PARTITIONS,
    BATCH_RECORDS,
    CHARACTERS_REPLACED,
    CONSUMER_LAG_RECORDS,
    DEAD_LETTERS,
    DECISIONS,
    DEFERRED_RECORDS,
    EVENTS,
    KEY_MISMATCHES,
    LAST_PROGRESS_SECONDS,
    LOOKUPS_MISSING,
    MALFORMED_HEADERS,
    MAPPING_ERRORS,
    OTHER_TENANT_RATIO,
    OUTPUTS,
    REBALANCES,
    RECORDS,
    RECORDS_WITHOUT_TIME,
    TEMPLATE_FAILURES,
    TEMPLATE_RELOAD_SUCCESSFUL,
    TEMPLATE_SET_INFO,
    TOPIC_DIFFERENCES,
    TRANSACTION_DURATION_SECONDS,
    TRANSACTIONS,
    Metric,
    Metrics,
)

log = structlog.get_logger()

UPDATE_INTERVAL_S = 0.25
UNASSIGNED_REASON = "not assigned yet: the group has not responded"
LOST_REASON = (
    "the group has shut us out, its broker is away, or the events topic is gone: partitions are lost until the next "
    "assignment"
)
SILENT_REASON = "a call that does not return: the log says what it did last, and a restart loses nothing"
# With or without dashes.
_KEY_IN_TEXT = re.compile("[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
MAX_KEY_PATTERN_CHARACTERS = 40
MAX_KEY_PATTERN_BYTES = 1_000  # how much of a key its pattern is looked for in; of 1 MB that took 0.6 s
MAX_KEY_PATTERNS = 100
LAG_INTERVAL_S = 2.0
SCHEMA_REFUSED = "schema refused"  # of one id, while the registry gives others: why a record is deferred


Counts = Counter[tuple[Metric[PrometheusCounter], tuple[str, ...]]]
"""By metric and labels."""


class EngineStatus:
    """Updated by the loop; keeps the metrics and the response of /ready. Thread-safe: `readiness` alone."""

    def __init__(self, metrics: Metrics, *, events: Topic, max_stall_s: float) -> None:
        self._metrics = metrics
        self._metrics[TEMPLATE_RELOAD_SUCCESSFUL].set(1)  # nothing was refused yet
        self._events = events
        self._max_stall_s = max_stall_s
        self._start_offsets: StartOffsetResolver | None = None
        self._end_offsets: Mapping[int, int] = {}
        self._end_offsets_request: Future[dict[int, int]] | None = None
        self._end_offsets_requested_at = 0.0
        self._updated_at = time.monotonic()
        self._failure = ""  # of the last batch, which was not committed
        self._template_set = ""
        self._degraded: dict[str, tuple[str, ...]] = {}  # by what is degraded
        self._other_tenant_logged = False
        self._key_patterns: set[str] = set()
        self._totals: Counts = Counter()
        self._exported_partitions: set[int] = set()
        self._behind_since: dict[int, float] = {}
        self._readiness = Readiness(ready=False, reasons=("starting",))
        self.was_ever_assigned = False  #: Whether this process ever had an assignment; for the supervisor.

    @classmethod
    def unobserved(cls, *, max_stall_s: float = 60.0) -> Self:
        """With metrics of its own that are not scraped."""
        return cls(Metrics(CollectorRegistry()), events=Topic("banking.events"), max_stall_s=max_stall_s)

    def watch_lag(self, start_offsets: StartOffsetResolver) -> None:
        """From now on read the ends of our partitions from it, every two seconds, in a thread."""
        self._start_offsets = start_offsets

    def readiness(self) -> Readiness:
        """The response of /ready. Never blocks; any thread may call it."""
        silent_s = time.monotonic() - self._updated_at
        if silent_s > self._max_stall_s:
            return Readiness(ready=False, reasons=(f"the loop has not turned for {silent_s:.0f} s; {SILENT_REASON}",))
        return self._readiness

    @property
    def metrics(self) -> Metrics:
        """For what has metrics of its own."""
        return self._metrics

    def set_starting(self, reason: str) -> None:
        """What is waited for before the group is joined."""
        self._updated_at = time.monotonic()
        self._readiness = Readiness(ready=False, reasons=(reason,))

    def update(self, partitions: Mapping[int, AssignedPartition], *, is_member: bool, was_ever_assigned: bool) -> None:
        """Called in every pass; does something four times a second. `is_member`: of the group, with partitions or
        not."""
        now = time.monotonic()
        if now - self._updated_at < UPDATE_INTERVAL_S and self._readiness.ready:
            return
        self._updated_at = now
        self.was_ever_assigned = was_ever_assigned
        self._measure(partitions, now)
        reasons: tuple[str, ...] = () if is_member else (LOST_REASON if was_ever_assigned else UNASSIGNED_REASON,)
        if self._failure:
            reasons += (self._failure_reason(),)
        late = {p.number: reason for p in partitions.values() if (reason := self._unready_reason(p, now))}
        waiting = (p for p in partitions.values() if p.cause and p.number not in late)
        self.set_degraded("partitions", (f"partition {p.number} waits at {p.next_offset}: {p.cause}" for p in waiting))
        self._set_readiness(*reasons, *late.values())

    def _set_readiness(self, *unready_reasons: str) -> None:
        degraded = tuple(chain.from_iterable(self._degraded.values()))
        self._readiness = Readiness(
            ready=not unready_reasons, reasons=(*unready_reasons, *degraded), degraded=bool(degraded)
        )

    def set_degraded(self, part: str, reasons: Iterable[str]) -> None:
        """Replace the reasons why `part` works less well than it should; none: it works well again.

        A degraded process can be ready all the same. Each reason names what is concerned.
        """
        self._degraded[part] = tuple(reasons)

    def set_templates(self, digest: str, *, refused: str, suspended: Suspended) -> None:
        """Called in every pass: the set in use, why what is on the disk is not used, and which templates make no
        messages as they nearly always fail. Either degrades the process, no more."""
        if digest != self._template_set:
            if self._template_set:
                self._metrics[TEMPLATE_SET_INFO].remove(self._template_set)
            self._template_set = digest
            self._metrics[TEMPLATE_SET_INFO].labels(version=digest).set(1)
        self._metrics[TEMPLATE_RELOAD_SUCCESSFUL].set(not refused)
        self.set_degraded("reload", [f"templates not reloaded: {refused}"] if refused else [])
        again = "a new version of it is tried at once"
        self.set_degraded(
            "breakers", (f"template {template} is suspended: {why}; {again}" for template, why in sorted(suspended))
        )

    def set_other_tenants(self, ratio: float, reasons: Iterable[str]) -> None:
        """How many of the last records are of another tenant, 0 to 1, and why that is degraded, if it is."""
        self._metrics[OTHER_TENANT_RATIO].set(ratio)
        self.set_degraded("tenant", reasons)
        if not ratio:
            self._other_tenant_logged = False
        elif not self._other_tenant_logged and self._degraded["tenant"]:
            self._other_tenant_logged = True  # once until there are none left: a ratio may go to and fro about a half
            log.warning("records are of another tenant", cause="; ".join(self._degraded["tenant"]))

    def set_topic_differences(self, differences: Sequence[Difference]) -> None:
        """What is wrong with the topics now, all of it."""
        self._metrics[TOPIC_DIFFERENCES].set(len(differences))
        self.set_degraded("topics", (f"topic {found.topic} {found.what}; {found.hint}" for found in differences))

    def count_committed(self, outcomes: Sequence[BatchOutcome], *, seconds: float) -> None:
        """A transaction with these outcomes is committed."""
        self._failure = ""
        metrics = self._metrics
        metrics[TRANSACTIONS].labels(result=TransactionResult.COMMITTED).inc()
        metrics[BATCH_RECORDS].observe(sum([outcome.record_count for outcome in outcomes]))
        metrics[TRANSACTION_DURATION_SECONDS].observe(seconds)
        counts = _counts_of(outcomes)
        if (KEY_MISMATCHES, ()) in counts:
            for outcome in outcomes:
                if isinstance(outcome, Processed) and outcome.wrong_key is not None:
                    self._log_wrong_key(outcome, outcome.wrong_key)
        self._totals.update(counts)
        for (metric, labels), count in counts.items():
            counter = metrics[metric]
            (counter.labels(*labels) if labels else counter).inc(count)

    def _log_wrong_key(self, outcome: Processed, wrong: WrongKey) -> None:
        """Log the first record of each pattern: a producer that keys wrongly does so every time."""
        key = (outcome.record.key or b"")[:MAX_KEY_PATTERN_BYTES].decode(errors="replace")
        shapes = (re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", part)) for part in _KEY_IN_TEXT.split(key))
        pattern = "<key>".join(shapes)[:MAX_KEY_PATTERN_CHARACTERS]
        if pattern not in self._key_patterns and len(self._key_patterns) < MAX_KEY_PATTERNS:
            self._key_patterns.add(pattern)
            log.warning(
                "record key mismatch",
                pattern=pattern,
                position=str(outcome.record.position),
                event_name=wrong.event,
                event_id=wrong.event_id,
                expected_key=wrong.expected,
            )

    def count_failure(self, failure: NotCommitted) -> None:
        """A transaction did not clearly commit; the partitions go back to what the group has committed."""
        self._failure = f"{failure.error}: {failure.detail}" if failure.detail else failure.error
        self._metrics[TRANSACTIONS].labels(result=failure.result).inc()
        self._set_readiness(self._failure_reason())  # at once: the loop makes no pass until the broker has responded

    def clear_failure(self) -> None:
        """A poll came back empty: the batch that was not committed has been done again, or is another member's now."""
        self._failure = ""

    def count_rebalance(self, event: RebalanceEvent, partitions: int) -> None:
        """Partitions were assigned, revoked or lost."""
        self._metrics[REBALANCES].labels(event).inc()
        log.info("rebalance", change=event, partitions=partitions)

    def count_deferred(self, reason: str) -> None:
        """A record is deferred. `reason` is one of few."""
        self._metrics[DEFERRED_RECORDS].labels(reason=reason).inc()

    def count_mapping_error(self) -> None:
        """Mapping raised an error for one record twice. Counted at once, and again when it is mapped again."""
        self._metrics[MAPPING_ERRORS].inc()

    def stop(self) -> None:
        """The engine ends; the log says what it has done."""
        totals = dict.fromkeys(("processed", "rejected"), 0)
        by_metric: dict[Metric[PrometheusCounter], dict[str, int]] = {OUTPUTS: {}, DECISIONS: {}, DEAD_LETTERS: {}}
        for (metric, labels), count in self._totals.items():
            if metric is RECORDS:
                totals[labels[1]] += count
            elif metric in by_metric:
                by_metric[metric][str(labels[0])] = count
        outputs, decisions, dead_letters = by_metric.values()
        log.info("stopped", **totals, outputs=outputs, decisions=decisions, dead_letters=dead_letters)
        self._readiness = Readiness(ready=False, reasons=("stopping",))

    def _failure_reason(self) -> str:
        return f"the last batch was not committed: {self._failure}"

    def _unready_reason(self, partition: AssignedPartition, now: float) -> str:
        at = f"partition {partition.number}"
        if not partition.is_started:
            return f"{at}: its start is not known yet" + (f": {partition.cause}" if partition.cause else "")
        lag = self._lag(partition)
        if lag == 0:
            self._behind_since.pop(partition.number, None)
            return ""
        # A partition that was idle for long is not late with the record that has just come.
        stalled_s = now - max(partition.progressed_at, self._behind_since.setdefault(partition.number, now))
        if stalled_s > self._max_stall_s and not partition.schema_refused:
            why = f": {partition.cause}" if partition.cause else ""
            return f"{at}: {lag} records behind, no progress for {stalled_s:.0f} s{why}"
        return ""

    def _lag(self, partition: AssignedPartition) -> int:
        return max(0, self._end_offsets.get(partition.number, 0) - max(partition.committed_offset, 0))

    def _measure(self, partitions: Mapping[int, AssignedPartition], now: float) -> None:
        metrics = self._metrics
        metrics[ASSIGNED_PARTITIONS].set(len(partitions))
        self._refresh_end_offsets(partitions.keys(), now)
        for gone in self._exported_partitions - partitions.keys():
            metrics[CONSUMER_LAG_RECORDS].remove(self._events, str(gone))
            metrics[LAST_PROGRESS_SECONDS].remove(str(gone))
            self._behind_since.pop(gone, None)
        self._exported_partitions = set(partitions)
        for number, partition in partitions.items():
            metrics[CONSUMER_LAG_RECORDS].labels(self._events, str(number)).set(self._lag(partition))
            metrics[LAST_PROGRESS_SECONDS].labels(str(number)).set(time.time() - (now - partition.progressed_at))

    def _refresh_end_offsets(self, partitions: Collection[int], now: float) -> None:
        if self._end_offsets_request is not None and self._end_offsets_request.done():
            try:
                self._end_offsets = self._end_offsets_request.result()
            except UnavailableError as unavailable:
                log.debug("lag unavailable", cause=str(unavailable))
            self._end_offsets_request = None
        is_due = now - self._end_offsets_requested_at > LAG_INTERVAL_S
        if self._end_offsets_request is None and self._start_offsets is not None and is_due:
            self._end_offsets_requested_at = now
            request = partial(self._start_offsets.last_stable_offsets, sorted(partitions))
            self._end_offsets_request = call_in_thread(request, name="lag")


def _counts_of(outcomes: Sequence[BatchOutcome]) -> Counts:
    """What is counted of a batch; nothing is zero. Each value is collected from all of it and counted at once, since
    nearly all records of a batch count for the same labels."""
    processed = [outcome for outcome in outcomes if isinstance(outcome, Processed)]
    rejected = [outcome for outcome in outcomes if isinstance(outcome, Rejected)]
    runs = [outcome for outcome in outcomes if isinstance(outcome, PlannedRun)]
    results = list(chain.from_iterable([outcome.results for outcome in processed]))
    counts: Counts = Counter()

    def add(metric: Metric[PrometheusCounter], labels: Iterable[tuple[str, ...]]) -> None:
        for label, count in Counter(labels).items():
            counts[metric, label] += count

    add(RECORDS, [(outcome.record.position.topic, "processed") for outcome in processed])
    add(RECORDS, [(outcome.record.position.topic, "rejected") for outcome in rejected])
    add(EVENTS, [(outcome.path,) for outcome in processed])
    add(EVENTS, [(MappingPath.REFERENCE,) for _ in rejected])
    of_one = [outcome for outcome in outcomes if not isinstance(outcome, PlannedRun)]
    add(RECORDS_WITHOUT_TIME, [() for outcome in of_one if outcome.record.time_ms is None])
    add(OUTPUTS, [(output.topic,) for outcome in of_one for output in outcome.outputs])
    add(DECISIONS, [(result.skipped.reason,) for result in results if result.skipped is not None])
    failed = [result.failed for result in results if result.failed is not None]
    add(TEMPLATE_FAILURES, [(template.templateId, template.reason) for template in failed])
    add(LOOKUPS_MISSING, [(part,) for result in results for part in result.missing])
    add(MALFORMED_HEADERS, [(name,) for outcome in processed for name in outcome.malformed_headers])
    add(KEY_MISMATCHES, [() for outcome in processed if outcome.wrong_key is not None])
    add(DEAD_LETTERS, [(outcome.reason,) for outcome in rejected])
    add(DEAD_LETTERS, [(Reason.TEMPLATE_FAILED,) for outcome in processed if outcome.dead_letter is not None])
    for run in runs:
        counts[RECORDS, (run.last.topic, "processed")] += run.record_count
        counts[EVENTS, (run.path,)] += run.record_count
        for messages, count in run.messages.items():
            for topic in messages.topics:
                counts[OUTPUTS, (topic,)] += count
            for reason in messages.skipped:
                counts[DECISIONS, (reason,)] += count
            for part in messages.missing:
                counts[LOOKUPS_MISSING, (part,)] += count
    for result in results:
        if result.created is not None and result.created.replaced:
            counts[CHARACTERS_REPLACED, (result.created.template_id,)] += result.created.replaced
    return counts
