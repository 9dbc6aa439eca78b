"""What is promised is there: commands and features that texts of the code and pages name."""

import ast
import re
from collections.abc import Iterator

from processor.cli.main import parser
from tests.documents.pages import DOCS, ROOT

PROSE = [*ROOT.glob("*.md"), *sorted(DOCS.rglob("*.md"))]
NOT_THERE = re.compile(r"(?i)\b(resends?|outbox|(?:run|and|or|by|with) deliver)\b")


def texts_of_the_code() -> Iterator[tuple[str, str]]:
    """Each text in the code that may reach a person: all strings but docstrings, with those of the command line."""
    for path in sorted((ROOT / "processor").rglob("*.py")):
        tree = ast.parse(path.read_text())
        inner = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if path.parent.name != "cli"  # theirs are shown by `--help`
            and isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value


def texts_of_the_files() -> Iterator[tuple[str, str]]:
    """Documents, schemas, and what runs the program, line by line."""
    files = [*PROSE, *(ROOT / "schemas").rglob("*.avsc"), ROOT / "docker-compose.yml", ROOT / "Makefile"]
    for path in files:
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            yield f"{path.relative_to(ROOT)}:{number}", line


def test_texts_name_existing_commands() -> None:
    """No help, hint, log line or document names a command that `processor --help` does not have."""
    commands = {command.name or getattr(command.callback, "__name__", "") for command in parser.registered_commands}
    named = [
        (place, command)
        for place, text in (*texts_of_the_code(), *texts_of_the_files())
        for command in re.findall(r"(?:`|\$ |bin/|=\S+ |Example: )processor ([a-z][a-z-]*)", text)
    ]

    assert {"run", "topics", "check"} <= {command for _, command in named}
    assert [] == [(place, command) for place, command in named if command not in commands]


def test_texts_promise_no_later_features() -> None:
    """No text refers to a feature that does not exist yet."""
    found = [
        (place, words)
        for place, text in (*texts_of_the_code(), *texts_of_the_files())
        if (words := NOT_THERE.findall(text))
    ]

    assert [] == found
