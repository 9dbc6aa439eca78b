"""The catalogue of metrics is what is scraped, and nothing else."""

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from processor.observability.metrics import (
    CATALOGUE,
    CONSUMER_LAG_RECORDS,
    RECORDS,
    TRANSACTION_DURATION_SECONDS,
    Metric,
    Metrics,
    metrics_table,
    observe_process,
)


def scrape_lines(registry: CollectorRegistry) -> list[str]:
    """The lines of the text form."""
    return generate_latest(registry).decode().splitlines()


def test_what_is_counted_is_scraped() -> None:
    """A counter, a gauge and a histogram of the catalogue appear under the namespace with their labels."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)

    metrics[RECORDS].labels(topic="banking.events", outcome="rejected").inc(2)
    metrics[CONSUMER_LAG_RECORDS].labels(topic="banking.events", partition="3").set(17)
    metrics[TRANSACTION_DURATION_SECONDS].observe(0.03)

    lines = scrape_lines(registry)
    assert 'processor_records_total{outcome="rejected",topic="banking.events"} 2.0' in lines
    assert 'processor_consumer_lag_records{partition="3",topic="banking.events"} 17.0' in lines
    assert 'processor_transaction_duration_seconds_bucket{le="0.05"} 1.0' in lines
    assert 'processor_transaction_duration_seconds_bucket{le="0.02"} 0.0' in lines


def test_two_registries_are_independent() -> None:
    """Nothing is global: what one counts, the other does not show."""
    first, second = CollectorRegistry(), CollectorRegistry()
    Metrics(first)[RECORDS].labels(topic="t", outcome="processed").inc()
    Metrics(second)

    assert not [line for line in scrape_lines(second) if line.startswith("processor_records_total{")]


def test_a_metric_outside_the_catalogue_is_not_found() -> None:
    """One cannot count what is not declared."""
    stray = Metric("stray_total", Counter, "Not in the catalogue.")

    with pytest.raises(KeyError, match="stray_total"):
        Metrics(CollectorRegistry())[stray]


def test_names_show_their_kind_and_are_unique() -> None:
    """Counters, and only they, end in _total; no name occurs twice; each has a meaning that ends as a sentence does."""
    names = [metric.name for metric in CATALOGUE]

    assert sorted(set(names)) == sorted(names)
    for metric in CATALOGUE:
        assert (metric.kind is Counter) == metric.name.endswith("_total"), metric.name
        assert metric.meaning.endswith("."), metric.name


def test_the_table_has_what_is_scraped() -> None:
    """Each metric that the registry knows is a line of the documents' table, under the name that is scraped."""
    registry = CollectorRegistry()
    Metrics(registry, CATALOGUE)
    families = {line.split()[2]: line.split()[3] for line in scrape_lines(registry) if line.startswith("# TYPE")}

    assert families == {row.name: row.kind for row in metrics_table()}


def test_times_of_creation_are_left_out() -> None:
    """The series that end in _created would double the number of series."""
    registry = CollectorRegistry()
    Metrics(registry)[RECORDS].labels(topic="t", outcome="processed").inc()

    assert not [line for line in scrape_lines(registry) if "_created" in line]


def test_a_process_shows_its_memory() -> None:
    """Hours of load must be seen to leave memory and descriptors flat."""
    registry = CollectorRegistry()
    observe_process(registry)

    names = {line.split()[0] for line in scrape_lines(registry)}
    assert {"process_resident_memory_bytes", "process_open_fds"} <= names
