"""Links and paths in the pages lead somewhere, within the project."""

import re
from pathlib import Path

import pytest

from tests.documents.pages import DOCS, ROOT

PAGES = [*ROOT.glob("*.md"), ROOT / "schemas" / "README.md", *sorted(DOCS.rglob("*.md"))]


def anchors(page: Path) -> set[str]:
    """What a link may name within a page: its headings, as Markdown on the web makes anchors of them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file of the project finds it, and the heading in it that it names."""
    nowhere = []
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or ROOT not in (target, *target.parents) or (anchor and anchor not in anchors(target)):
            nowhere.append(link)

    assert [] == nowhere


def test_pages_that_the_code_names_exist() -> None:
    """Every path under docs/ in code, tests and settings of tools is there."""
    files = [ROOT / name for name in ("pyproject.toml", "Makefile", "Dockerfile", "docker-compose.yml")]
    files += [*(ROOT / "processor").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    named = {path: re.findall(r"\bdocs/[\w./-]+\.md", path.read_text()) for path in files}

    assert sum(map(len, named.values())) > 5
    assert [] == [(path.name, page) for path, pages in named.items() for page in pages if not (ROOT / page).exists()]
