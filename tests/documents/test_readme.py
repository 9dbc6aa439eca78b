"""The README: its length, its commands, the picture, and what it says of the schemas' page."""

import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from processor.domain.catalogue import EVENTS, FAMILIES
from tests.documents.demo_picture import PICTURE
from tests.documents.pages import ROOT, typed_lines

README = ROOT / "README.md"
MAX_WORDS = 700


def test_the_readme_is_short() -> None:
    """At most 700 words, and one page for what contributors do first."""
    assert len(README.read_text().split()) <= MAX_WORDS
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 120


def test_make_targets_that_pages_name() -> None:
    """Every `make …` that is spoken of is a target with a line of help."""
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = [README, ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    named = {target for page in pages for target in re.findall(r"(?:`|\$ )make ([a-z][a-z-]*)", page.read_text())}

    assert {"demo", "test", "docs"} <= named
    assert set() == named - targets


def test_the_picture_is_of_a_run() -> None:
    """It has the screen of `make demo`: nothing was duplicated, lost or out of order. It fetches nothing."""
    svg = PICTURE.read_text()
    ET.fromstring(svg)  # noqa: S314  our own file
    text = re.sub(r"<[^>]*>", "", svg).replace("&#160;", " ")

    assert "$ make demo" in text
    assert "Exactly once: 0 outputs duplicated, 0 lost, 0 out of order." in text
    assert "url(http" not in svg


@pytest.mark.kafka
@pytest.mark.process
def test_the_tour_of_the_readme(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """Every `processor` line of the README ends with 0, typed one after the other (on the tests' broker)."""
    tour = [line for line in typed_lines(README) if line.startswith(".venv/bin/processor") and " kafka" not in line]
    environment = {
        **os.environ,
        "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers,
        "PROCESSOR_TENANT": "northbank",
        "PROCESSOR_TOPICS__PREFIX": topic_prefix,
        "PROCESSOR_HTTP__PORT": "0",
    }
    assert ["topics", "produce", "run", "explain"] == [shlex.split(line)[1] for line in tour]
    for line in tour:
        words = [sys.executable, "-m", "processor", *shlex.split(line)[1:]]
        done = subprocess.run(
            words, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False
        )
        assert done.returncode == 0, done.stderr


def test_families_of_the_schemas_readme() -> None:
    """The table has each family with its record and the number of its events."""
    rows = re.findall(
        r"^\| `(\w+)` \| `([\w.]+)` \| (\d+) \|", (ROOT / "schemas" / "README.md").read_text(), re.MULTILINE
    )
    counts = Counter(row.family for row in EVENTS.values())

    assert [(family.name, family.record, str(counts[family.name])) for family in FAMILIES.values()] == rows
