"""Markdown of the pages that are made from the code."""

import ast
import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Final

NOTE: Final = "Made from the code by `make docs`; a change belongs there."


def page(title: str, *blocks: str) -> str:
    """A page: its title, where it comes from, and blocks with an empty line between them."""
    return "\n\n".join((f"# {title}", NOTE, *blocks)) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows under their headings."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def default_text(value: object) -> str:
    """A default, as one would write it."""
    return "not set" if value in (None, "", {}, ()) else f"`{value}`"


def doc_comments(words: type[StrEnum]) -> Iterator[tuple[str, str]]:
    """Each word of a closed list with the comment behind it, `#: …`. ValueError for one that has none."""
    comments = dict(re.findall(r'^    \w+ = "(\w+)"  #: (.+)$', inspect.getsource(words), re.MULTILINE))
    for word in words:
        if word.value not in comments:
            raise ValueError(f"{words.__name__}.{word.value} has no comment `#: …` behind it")
        yield word.value, comments[word.value]


def first_sentence(source: str) -> str:
    """Of a module's docstring, without the full stop. ValueError where there is none."""
    docstring = ast.get_docstring(ast.parse(source))
    if not docstring:
        raise ValueError("no docstring")
    paragraph = " ".join(docstring.partition("\n\n")[0].split())
    return re.split(r"(?<=[a-z`)])\.(?= |$)", paragraph)[0].removesuffix(".")
