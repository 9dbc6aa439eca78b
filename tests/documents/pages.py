"""The project's pages, and the snippets in them."""

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
GUIDES: Final = DOCS / "guides"
REFERENCE: Final = DOCS / "reference"


def snippets(page: Path, language: str) -> list[str]:
    """The blocks of code in this language, in their order."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def typed_lines(page: Path) -> list[str]:
    """The console lines of a page that a reader types, one that is continued as one."""
    text = "\n".join(snippets(page, "console")).replace("\\\n", " ")
    return [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
