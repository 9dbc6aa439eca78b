"""docs/reference/metrics.md."""

from processor.observability.metrics import metrics_table
from tests.documents.markdown import page, table


def metrics_page() -> str:
    """A row for each metric."""
    rows = ((f"`{row.name}`", row.kind, ", ".join(row.labels) or "–", row.meaning) for row in metrics_table())
    return page(
        "Metrics",
        "On `/metrics`, beside what the Prometheus client exports for every process.",
        table(("Name", "Kind", "Labels", "Meaning"), rows),
    )
