"""docs/decisions/README.md: the index of the decisions, from their files."""

import re
from typing import Final

from tests.documents.markdown import page
from tests.documents.pages import DOCS

FOLDER: Final = DOCS / "decisions"
AREAS: Final = ("The engine", "Mapping", "Topics and processes", "The project")


def decisions_page() -> str:
    """A link to each decision, by area. ValueError for a file that does not begin as a decision does."""
    by_area: dict[str, list[str]] = {area: [] for area in AREAS}
    for file in sorted(FOLDER.glob("[0-9]*.md")):
        begin = re.match(r"# (.+)\n\n(.+?), (2\d{3}-\d\d-\d\d)[^\n]*\.\n\n", file.read_text())
        if begin is None or begin[2] not in by_area:
            raise ValueError(f"{file.name} does not begin with a title, then its area and its day")
        by_area[begin[2]].append(f"- [{begin[1]}]({file.name}) ({file.name[:4]})")
    return page(
        "Decisions",
        "Each is a file: the choice, why, and where there is more to say what it costs and when to look at it again. "
        "A new one takes the next number, and names one of these areas and its day below the title.",
        *(f"## {area}\n\n" + "\n".join(links) for area, links in by_area.items()),
    )
