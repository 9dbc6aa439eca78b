"""The tables of settings and metrics, generated from the code: `python -m tests.documents` rewrites them."""

from pathlib import Path
from typing import Final

from processor.observability.metrics import metrics_table
from processor.settings import settings_table

DOCS: Final = Path(__file__).parent.parent / "docs"
GENERATED_NOTE: Final = "Generated from the code by `python -m tests.documents`.\n"


EACH: Final = (
    "Each can be an environment variable, or stand in the TOML file that `PROCESSOR_CONFIG` names, in lower case "
    "without the prefix, a `__` being a table. `processor settings` shows what is set and where. "
    "A line end behind a value, as a mounted secret has one, is taken off."
)


def settings_page() -> str:
    """docs/settings.md."""
    rows = [f"| `{row.variable}` | {_code(row.default)} | {row.meaning} |" for row in settings_table()]
    return "\n".join(
        [
            "# Settings",
            "",
            GENERATED_NOTE,
            EACH,
            "",
            "| Variable | Default | Meaning |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def metrics_page() -> str:
    """docs/metrics.md."""
    rows = [
        f"| `{row.name}` | {row.kind} | {', '.join(row.labels) or '–'} | {row.meaning} |" for row in metrics_table()
    ]
    return "\n".join(
        [
            "# Metrics",
            "",
            GENERATED_NOTE,
            "On `/metrics`, beside what the Prometheus client exports for every process.",
            "",
            "| Name | Kind | Labels | Meaning |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _code(value: object) -> str:
    """A default, as one would write it."""
    return "not set" if value in (None, "", {}) else f"`{value}`"


PAGES: Final = {DOCS / "settings.md": settings_page, DOCS / "metrics.md": metrics_page}


def main() -> None:
    """Write both pages."""
    for page, text in PAGES.items():
        page.write_text(text())


if __name__ == "__main__":
    main()
