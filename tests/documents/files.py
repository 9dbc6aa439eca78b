"""docs/reference/files.md: all files of the project, each with the first sentence of what it says of itself."""

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Final

from tests.documents.markdown import first_sentence, page, table
from tests.documents.pages import ROOT

FOLDERS: Final[Mapping[str, str]] = {
    "processor/shipped": "The templates that come with the program, `events/` with a sample of each event in JSON, "
    "and `samples/` with those of the templates",
    "schemas/events": "Avro schemas of the events, and `order.txt`, in which order they are read",
    "schemas/messages": "Avro schemas of the outputs",
    "schemas/history": "Each schema that was ever published, by its id",
    "tests/golden": "Outputs that are to stay the same, byte for byte",
    "tests/domain": "The facts of the domain as CSV, with the tests that compare the code with them",
    "tests/bench/contenders": "The programs that the processor is measured beside, each in its language",
    "tests/bench/templates": "The templates of the benchmark's load",
    "tests/generators/go": "A Go program that reads the schemas and what is written by them",
    "tests/soak/templates": "The templates of the soak suite",
    "tests/soak/later_templates": "The same, changed while it runs",
    "docs/decisions": "Why it is built so: [the index](../decisions/README.md)",
    "docs/performance": "Figures and plots of the benchmark: [the page](../performance/README.md)",
}
"""Folder -> what its files are that say nothing of themselves."""

FILES: Final[Mapping[str, str]] = {
    ".ci/run": "What CI runs",
    ".dockerignore": "What the image's build does not need",
    ".gitignore": "What is not committed",
    ".pre-commit-config.yaml": "What is checked before a commit",
    "CHANGELOG.md": "What changed, for users",
    "CONTRIBUTING.md": "How to change it",
    "Dockerfile": "The image",
    "LICENSE": "Apache License 2.0",
    "Makefile": "What is typed in development: `make help`",
    "README.md": "The entry",
    "SECURITY.md": "How to report a weakness",
    "constraints.txt": "The versions of all libraries",
    "docker-compose.yml": "Kafka, the topics and the processor, in containers",
    "docs/design.md": "How it is built",
    "docs/demo.svg": "The screen of `make demo`, as it was",
    "docs/glossary.md": "The words",
    "processor/_native.pyx": "Plans in C: scans, texts and outputs of whole events",
    "processor/py.typed": "Says that the package has types",
    "pyproject.toml": "The package, its tools and the rules of imports",
    "tests/generators/Generate.java": "Generates Java classes of all schemas",
    "tests/generators/Read.java": "Reads records with classes that were generated",
    "schemas/README.md": "The schemas: families, ids, generating code",
    "schemas/ids.json": "The id of each schema, where there is no registry",
}
"""File -> what it is, where the file itself has no place to say so."""


def files_page() -> str:
    """A table for each folder. KeyError for a file that nothing here describes."""
    by_folder: dict[str, list[tuple[str, str]]] = {}
    for path in tracked_files():
        folder, name, text = describe(path)
        by_folder.setdefault(folder, []).append((f"`{name}`", text))
    return page(
        "Files",
        "All files, folder by folder. How they work together is in [the design](../design.md).",
        *(
            f"## `{folder or 'the project'}`\n\n" + table(("File", "What it is"), dict.fromkeys(rows))
            for folder, rows in sorted(by_folder.items())
        ),
    )


def tracked_files() -> Iterator[str]:
    """The path of each file that is committed or added, but for those that are empty."""
    listed = ("git", "ls-files", "--cached")
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    yield from sorted(name for name in set(names) if (ROOT / name).exists() and (ROOT / name).stat().st_size)


def describe(path: str) -> tuple[str, str, str]:
    """Folder, name and description of a file; of many that say nothing of themselves the folder's, once."""
    pure = PurePosixPath(path)
    folder = "" if str(pure.parent) == "." else str(pure.parent)
    if path in FILES:
        return folder, pure.name, FILES[path]
    if pure.suffix in (".py", ".pyi") and not path.startswith("tests/bench/contenders/"):
        return folder, pure.name, first_sentence((ROOT / path).read_text())
    if pure.suffix == ".md" and folder in ("docs/guides", "docs/reference"):
        title = (ROOT / path).read_text().partition("\n")[0].removeprefix("# ")
        return folder, pure.name, f"[{title}]({'' if folder == 'docs/reference' else '../guides/'}{pure.name})"
    for parent in map(str, pure.parents):
        if parent in FOLDERS:
            return parent, "*", FOLDERS[parent]
    raise KeyError(f"{path}: say in tests/documents/files.py what it is")
