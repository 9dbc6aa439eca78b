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
    "decisions_total", Counter, "Messages that were not made, by the reason of the decision.", labels=("reason",)
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
    "Records for which mapping raised an error twice, a fault of this program; each is a dead letter MAPPING_ERROR.",
)
FAILED_TEMPLATES: Final = Metric(
    "failed_templates_total", Counter, "Templates that failed for a record.", labels=("template", "reason")
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
WRONG_KEYS: Final = Metric("wrong_keys_total", Counter, "Records whose key is not the ordering key of their event.")
WAITS: Final = Metric(
    "waits_total", Counter, "Times that a partition had to wait for the world, by cause.", labels=("cause",)
)
BATCH_RECORDS: Final = Metric(
    "batch_records",
    Histogram,
    "Records of a committed batch.",
    buckets=(1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000),
)
BATCH_SECONDS: Final = Metric(
    "batch_seconds",
    Histogram,
    "Duration of a committed transaction, from its begin to the answer to its commit.",
    # A commit took 7 ms over 2 partitions and 154 over 288; the transaction times out at 15 s.
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15),
)
TRANSACTIONS: Final = Metric(
    "transactions_total",
    Counter,
    "Transactions by their end: committed, aborted, uncertain (nobody told us) or fenced.",
    labels=("result",),
)
REBALANCES: Final = Metric(
    "rebalances_total", Counter, "Changes of the assignment: assigned, revoked or lost.", labels=("kind",)
)
ASSIGNED_PARTITIONS: Final = Metric("assigned_partitions", Gauge, "Partitions of the events that this process owns.")
LAG_RECORDS: Final = Metric(
    "lag_records", Gauge, "Offsets between what is committed and the last stable offset.", labels=("partition",)
)
LAST_PROGRESS_SECONDS: Final = Metric(
    "last_progress_timestamp_seconds",
    Gauge,
    "When the partition last moved on, in seconds since the epoch.",
    labels=("partition",),
)
TEMPLATE_SET: Final = Metric(
    "template_set", Gauge, "1 for the set of templates in use, by its version.", labels=("set_version",)
)
TOPIC_DIFFERENCES: Final = Metric(
    "topic_differences",
    Gauge,
    "Things that are wrong with the topics, as `processor topics` names them; looked at twice a minute.",
)
TEMPLATES_REFUSED: Final = Metric(
    "templates_refused", Gauge, "1 while templates on the disk cannot be used, and the set from before is."
)

REFERENCE_ROWS: Final = Metric(
    "reference_rows_total",
    Counter,
    "Records read from the reference topics: row, deleted, or unreadable.",
    labels=("table", "result"),
)
REFERENCE_UNREADABLE: Final = Metric(
    "reference_rows_unreadable",
    Gauge,
    "Rows of the reference tables that cannot be read now. The log names them, /ready the first of each table.",
    labels=("table",),
)
REFERENCE_LAG: Final = Metric(
    "reference_lag_records",
    Gauge,
    "Records of the reference topics that are not in the local copy yet; looked at twice a minute.",
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
    DECISIONS,
    OTHER_TENANT_RATIO,
    DEAD_LETTERS,
    MAPPING_ERRORS,
    FAILED_TEMPLATES,
    CHARACTERS_REPLACED,
    RECORDS_WITHOUT_TIME,
    MALFORMED_HEADERS,
    WRONG_KEYS,
    WAITS,
    BATCH_RECORDS,
    BATCH_SECONDS,
    TRANSACTIONS,
    REBALANCES,
    ASSIGNED_PARTITIONS,
    LAG_RECORDS,
    LAST_PROGRESS_SECONDS,
    TEMPLATE_SET,
    TEMPLATES_REFUSED,
    TOPIC_DIFFERENCES,
    REFERENCE_ROWS,
    REFERENCE_UNREADABLE,
    REFERENCE_LAG,
    LOOKUPS_MISSING,
)
"""What each process of `run` tells; under `--workers` the supervisor adds the label `worker`."""

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
"""What the supervisor of `run --workers` tells beside them."""

CATALOGUE: Final = ENGINE + SUPERVISOR


class Metrics:
    """The catalogue as live metrics: `metrics[RECORDS].labels(topic="banking.events", outcome="mapped").inc()`.

    Thread-safe, as Prometheus' own metrics are. A part of the catalogue may be made alone; made twice in one registry
    it raises ValueError.
    """

    def __init__(self, registry: CollectorRegistry, catalogue: Iterable[Metric[Any]] = ENGINE) -> None:
        # The time each series began doubles the series and tells nothing that process_start_time does not.
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
    """Add what Prometheus' clients tell of a process: memory, CPU, descriptors, version of Python."""
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
