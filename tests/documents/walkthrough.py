"""Types what the console blocks of a page show, in this process, and hears what is printed."""

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from processor.cli.main import exit_code

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of code of a page."""

    language: str
    code: str


@dataclass(frozen=True)
class TypedLine:
    """A line that a reader types, and what the page shows below it; empty where it shows nothing."""

    line: str
    shown: str


def blocks(text: str) -> list[Block]:
    """The blocks of code in `text`, in their order."""
    return [Block(language, code) for language, code in _BLOCK.findall(text)]


def section(text: str, title: str) -> str:
    """What stands below the heading `title`, up to the next one of its level."""
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def typed(block: Block) -> Iterator[TypedLine]:
    """What is typed in a block, with what is shown below each line: in a console, and variables that are exported."""
    if block.language != "console" and not block.code.startswith("$ export "):
        return
    for part in re.split(r"^\$ ", block.code, flags=re.MULTILINE)[1:]:
        line, _, shown = part.partition("\n")
        yield TypedLine(line, shown.strip())


def type_line(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, kept: Sequence[str] = ()
) -> tuple[int, str]:
    """The exit code of a typed line and what it prints on stdout; an `export` stays for the lines behind it.

    Variables in `kept` are not exported: they are the test's.
    """
    command, *words = shlex.split(line)
    capsys.readouterr()
    if command == "export":
        for name, _, value in (word.partition("=") for word in words):
            if name not in kept or name not in os.environ:
                monkeypatch.setenv(name, value)
        return 0, ""
    assert command == "processor", line
    code = exit_code(words)
    return code, capsys.readouterr().out.strip()
