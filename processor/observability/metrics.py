"""The catalogue of metrics: values that `Metrics` turns into Prometheus metrics of a registry that is passed in."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, cast

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

NAMESPACE: Final = "processor"

M = TypeVar("M", Counter, Gauge, Histogram)


@dataclass(frozen=True, slots=True)
class Metric(Generic[M]):
    """One metric: its name without the namespace, its kind and its labels, each of which takes few values.

    A label is a topic, a partition, an outcome, a reason or a template; never an id of a record.
    """

    name: str
    kind: type[M]
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()  #: Upper bounds of a histogram, in the unit that ends the name.

    @property
    def full_name(self) -> str:
        """As it is scraped."""
        return f"{NAMESPACE}_{self.name}"


RECORDS: Final = Metric(
    "records_total",
    Counter,
    "Records read, by what became of them. Counted after the commit: an aborted batch adds nothing.",
    labels=("topic", "outcome"),
)
OUTPUTS: Final = Metric(
    "outputs_total", Counter, "Records published, by topic. Counted after the commit.", labels=("topic",)
)
DECISIONS: Final = Metric(
    "decisions_total", Counter, "Messages that were not created, by the reason of the decision.", labels=("reason",)
)
EVENTS: Final = Metric(
    "events_total",
    Counter,
    "Records read, by what mapped them: native, a plan that runs in C; plain, a plan that does not; reference, all "
    "else, so each dead letter and decision about a whole record. Counted after the commit.",
    labels=("path",),
)
PLAN_REFUSALS: Final = Metric(
    "plan_refusals_total",
    Counter,
    "Records that the reference maps though there are plans, by reason: form (no frame, JSON, a GUID, too large), "
    "pending (the plan of its schema is being made), schema (it has none: the log says why), schema_limit (no further "
    "schema may have one), record (invalid or rare bytes), check (tenant, key, fields that contradict each other), "
    "suspended (one of its templates), template (one fails, or has a text, an address or a size that is rare), error "
    "(mapping raised one), difference (`PROCESSOR_PLAN_VERIFY`). Counted while mapping, and again when a batch is "
    "mapped again.",
    labels=("reason",),
)
PLAN_DIFFERENCES: Final = Metric(
    "plan_differences_total",
    Counter,
    "Verified records (`PROCESSOR_PLAN_VERIFY`) of which a plan made something else than the reference, a bug of this "
    "program: what the reference made is published, and the log says which parts differ.",
)
OTHER_TENANT_RATIO: Final = Metric(
    "other_tenant_ratio",
    Gauge,
    "Of the last 200 committed records, the share that is another tenant's (0 to 1); from 0.5 on /ready is degraded.",
)
DEAD_LETTERS: Final = Metric("dead_letters_total", Counter, "Dead letters written, by reason.", labels=("reason",))
MAPPING_ERRORS: Final = Metric(
    "mapping_errors_total",
    Counter,
    "Records for which mapping raised an error twice, a bug of this program; each is a dead letter MAPPING_ERROR.",
)
TEMPLATE_FAILURES: Final = Metric(
    "template_failures_total", Counter, "Templates that failed for a record.", labels=("template", "reason")
)
CHARACTERS_REPLACED: Final = Metric(
    "characters_replaced_total",
    Counter,
    "Characters of events that a created message's XML or HTML cannot carry, so that U+FFFD stands in their place.",
    labels=("template",),
)
RECORDS_WITHOUT_TIME: Final = Metric(
    "records_without_time_total",
    Counter,
    "Records whose Kafka time is none, or outside of years 1970 to 9999: their event's occurredAt takes its place.",
)
MALFORMED_HEADERS: Final = Metric(
    "malformed_headers_total",
    Counter,
    "Headers of events (traceparent, tracestate, correlation-id) that their outputs do not carry on: not well formed.",
    labels=("header",),
)
KEY_MISMATCHES: Final = Metric(
    "key_mismatches_total", Counter, "Records whose key is not the ordering key of their event."
)
DEFERRED_RECORDS: Final = Metric(
    "deferred_records_total",
    Counter,
    "Times that a record was deferred, and its partition paused, until an external failure is over; by reason.",
    labels=("reason",),
)
BATCH_RECORDS: Final = Metric(
    "batch_records",
    Histogram,
    "Records of a committed batch.",
    buckets=(1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000),
)
TRANSACTION_DURATION_SECONDS: Final = Metric(
    "transaction_duration_seconds",
    Histogram,
    "Duration of a committed transaction, from its begin to the response to its commit.",
    # A commit took 7 ms over 2 partitions and 154 over 288; the transaction times out at 15 s.
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15),
)
TRANSACTIONS: Final = Metric(
    "transactions_total",
    Counter,
    "Transactions by their end: committed, aborted, uncertain (no response to the commit) or fenced.",
    labels=("result",),
)
REBALANCES: Final = Metric(
    "rebalances_total", Counter, "Changes of the assignment: assigned, revoked or lost.", labels=("event",)
)
ASSIGNED_PARTITIONS: Final = Metric(
    "assigned_partitions", Gauge, "Partitions of the events that are assigned to this process."
)
CONSUMER_LAG_RECORDS: Final = Metric(
    "consumer_lag_records",
    Gauge,
    "Offsets between the committed offset and the last stable offset.",
    labels=("topic", "partition"),
)
LAST_PROGRESS_SECONDS: Final = Metric(
    "last_progress_timestamp_seconds",
    Gauge,
    "When the partition last made progress, in seconds since the epoch.",
    labels=("partition",),
)
TEMPLATE_SET_INFO: Final = Metric(
    "template_set_info", Gauge, "1 for the set of templates in use, by its version.", labels=("version",)
)
TOPIC_DIFFERENCES: Final = Metric(
    "topic_differences",
    Gauge,
    "Differences of the topics from the plan, as `processor topics` lists them; compared twice a minute.",
)
TEMPLATE_RELOAD_SUCCESSFUL: Final = Metric(
    "template_reload_successful",
    Gauge,
    "1 while the templates on the disk are those in use; 0 while they cannot be used, and the set before them is.",
)

REFERENCE_ROWS: Final = Metric(
    "reference_rows_total",
    Counter,
    "Records read from the reference topics: row, deleted, or invalid.",
    labels=("table", "result"),
)
REFERENCE_ROWS_INVALID: Final = Metric(
    "reference_rows_invalid",
    Gauge,
    "Rows of the reference tables that are invalid now. The log names them, /ready the first of each table.",
    labels=("table",),
)
REFERENCE_LAG_RECORDS: Final = Metric(
    "reference_lag_records",
    Gauge,
    "Records of the reference topics that are not in the local store yet; measured twice a minute.",
    labels=("table",),
)
LOOKUPS_MISSING: Final = Metric(
    "lookups_missing_total",
    Counter,
    "Parts of a Message whose row was missing: contact, category, account. Counted after the commit.",
    labels=("part",),
)

ENGINE: Final[tuple[Metric[Any], ...]] = (
    RECORDS,
    OUTPUTS,
    EVENTS,
    PLAN_REFUSALS,
    PLAN_DIFFERENCES,
    DECISIONS,
    OTHER_TENANT_RATIO,
    DEAD_LETTERS,
    MAPPING_ERRORS,
    TEMPLATE_FAILURES,
    CHARACTERS_REPLACED,
    RECORDS_WITHOUT_TIME,
    MALFORMED_HEADERS,
    KEY_MISMATCHES,
    DEFERRED_RECORDS,
    BATCH_RECORDS,
    TRANSACTION_DURATION_SECONDS,
    TRANSACTIONS,
    REBALANCES,
    ASSIGNED_PARTITIONS,
    CONSUMER_LAG_RECORDS,
    LAST_PROGRESS_SECONDS,
    TEMPLATE_SET_INFO,
    TEMPLATE_RELOAD_SUCCESSFUL,
    TOPIC_DIFFERENCES,
    REFERENCE_ROWS,
    REFERENCE_ROWS_INVALID,
    REFERENCE_LAG_RECORDS,
    LOOKUPS_MISSING,
)
"""The metrics of each process of `run`; under `--workers` the supervisor adds the label `worker`."""

WORKER_UP: Final = Metric(
    "worker_up", Gauge, "1 while the worker runs, 0 while it waits to be started again.", labels=("worker",)
)
WORKER_RESTARTS: Final = Metric(
    "worker_restarts_total",
    Counter,
    "Times that a worker ended and was started again, by exit code; a signal is its negative number.",
    labels=("worker", "code"),
)
SUPERVISOR: Final[tuple[Metric[Any], ...]] = (WORKER_UP, WORKER_RESTARTS)
"""The supervisor's own, under `run --workers`."""

CATALOGUE: Final = ENGINE + SUPERVISOR


class Metrics:
    """The catalogue as live metrics: `metrics[RECORDS].labels(topic="banking.events", outcome="processed").inc()`.

    Thread-safe, as Prometheus' own metrics are. A part of the catalogue may be created alone; created twice in one
    registry it raises ValueError.
    """

    def __init__(self, registry: CollectorRegistry, catalogue: Iterable[Metric[Any]] = ENGINE) -> None:
        # The creation time of each series doubles the series and adds nothing to process_start_time.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._live = {metric.name: _live(metric, registry) for metric in catalogue}

    def __getitem__(self, metric: Metric[M]) -> M:
        """The live metric. KeyError for one that is not in the catalogue."""
        return cast(M, self._live[metric.name])


def _live(metric: Metric[Any], registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    more: dict[str, Any] = {"buckets": metric.buckets} if metric.buckets else {}
    live = metric.kind(metric.name, metric.meaning, metric.labels, namespace=NAMESPACE, registry=registry, **more)
    return cast(Counter | Gauge | Histogram, live)


def observe_process(registry: CollectorRegistry) -> None:
    """Add what Prometheus' clients report of a process: memory, CPU, descriptors, version of Python."""
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One line of the table in the documents."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


def metrics_table() -> tuple[MetricRow, ...]:
    """The catalogue for the documents, in its order."""
    return tuple(
        MetricRow(metric.full_name, metric.kind.__name__.lower(), metric.labels, metric.meaning) for metric in CATALOGUE
    )
