"""Files that people edit: what is no file is refused before it is read, and what an editor adds costs nothing."""

import codecs
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from processor.cli.event_arguments import read_events
from processor.errors import UsageError
from processor.files import FILE_LIMIT_BYTES, UnfitError, file_bytes, file_text
from processor.registry.schema_files import load_schemas, shipped_schemas
from processor.templates.load import SHIPPED, LoadResult, read_templates
from processor.templates.reload import fingerprint
from tests.support.builders import schemas

BODY = "<p>Dear {RECIPIENT_FIRST_NAMES}</p>"
TEMPLATE = f"""\
id = "note"
version = 1
name = "Note"
type = "EMAIL"
event = "LOAN_REPAYMENT"
target = "LOANS"
recipient = "CLIENT"
subscription = "OPT_OUT"
subject = "Payment"
body = "{BODY}"

[[sample]]
name = "first"
event = "samples/e.json"
expected.subject = "Payment"
"""
BOM = codecs.BOM_UTF8

# A test that hangs is one that failed.
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    """A folder of one template with its sample."""
    folder = tmp_path / "templates"
    (folder / "samples").mkdir(parents=True)
    (folder / "note.toml").write_text(TEMPLATE)
    shutil.copy(SHIPPED / "samples" / "loan-repayment.json", folder / "samples" / "e.json")
    return folder


@pytest.fixture
def schema_folder(tmp_path: Path) -> Path:
    """A copy of the schemas."""
    return Path(shutil.copytree(shipped_schemas(), tmp_path / "schemas"))


def load_folder(folder: Path) -> LoadResult:
    return read_templates(folder, tenant="northbank", schemas=schemas())


def pipe(path: Path) -> None:
    os.mkfifo(path)


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def folder(path: Path) -> None:
    path.mkdir()


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(path.parent)  # an address has 107 bytes at most
        server.bind(path.name)


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10_000_000_000)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


NO_FILES: list[Callable[[Path], None]] = [pipe, dangling, loop, folder, listening, huge, device]


@pytest.mark.parametrize("make", NO_FILES)
def test_what_is_no_regular_file_is_not_read(
    tmp_path: Path, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused at once, whatever it is."""
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "it")

    with pytest.raises((UnfitError, OSError)):
        file_bytes(tmp_path / "it")


@pytest.mark.parametrize("make", NO_FILES)
def test_what_is_no_regular_file_among_templates_is_an_error(
    templates: Path, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named, nothing is loaded, and nothing waits for it: as a template, and as a sample."""
    monkeypatch.chdir(templates)
    make(templates / "other.toml")
    (found,) = {diagnostic.location.file for diagnostic in load_folder(templates).diagnostics if diagnostic.is_error}

    assert "other.toml" == found
    (templates / "other.toml").rename(templates / "other.txt")
    (templates / "samples" / "e.json").unlink()
    make(templates / "samples" / "e.json")
    (diagnostic,) = load_folder(templates).diagnostics

    assert diagnostic.message.startswith(("samples/e.json ", "'samples/e.json' "))


@pytest.mark.parametrize("name", ["ids.json", "events/banking.events.ClientEvent.avsc"])
@pytest.mark.parametrize("make", NO_FILES)
def test_what_is_no_regular_file_among_schemas_is_an_error(
    schema_folder: Path, make: Callable[[Path], None], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2 with its name."""
    monkeypatch.chdir(schema_folder)
    (schema_folder / name).unlink()
    make(schema_folder / name)

    with pytest.raises(UsageError, match=name):
        load_schemas(schema_folder)


HIDDEN = [
    "._t.toml",
    ".t.toml",
    ".#t.toml",
    ".t.toml.swp",
    "t.toml~",
    "#t.toml#",
    ".~lock.t.toml#",
    ".DS_Store",
    "t.toml.bak",
]


@pytest.mark.parametrize("name", HIDDEN)
@pytest.mark.parametrize("make", [lambda path: path.write_bytes(b"\x00\x05\x16\x07\x00\xff"), dangling, pipe])
def test_hidden_files_are_skipped(
    templates: Path, schema_folder: Path, name: str, make: Callable[[Path], None]
) -> None:
    """What systems, archives and editors leave beside a file (locks, copies, resource forks) is none of ours."""
    make(templates / name)
    make(templates / "samples" / name)
    for directory in ("events", "messages", "history"):
        (schema_folder / directory).mkdir(exist_ok=True)
        make(schema_folder / directory / name.replace("toml", "avsc"))

    assert () == load_folder(templates).diagnostics
    load_schemas(schema_folder)


def with_mark(path: Path) -> None:
    path.write_bytes(BOM + path.read_bytes())


def test_a_byte_order_mark_is_accepted(templates: Path, schema_folder: Path) -> None:
    """Some editors write one; the same templates, bodies, samples, schemas and ids come of it."""
    (templates / "note.toml").write_text(TEMPLATE.replace(f'body = "{BODY}"', 'body_file = "b.html"'))
    (templates / "b.html").write_text(BODY)
    before = load_folder(templates)
    for path in [*templates.rglob("*.*"), *schema_folder.rglob("*.*")]:
        with_mark(path)
    after = read_templates(templates, tenant="northbank", schemas=load_schemas(schema_folder))

    assert () == before.diagnostics == after.diagnostics
    assert before.templates is not None
    assert after.templates is not None
    assert before.templates.digest == after.templates.digest
    assert all(run.passed for run in after.samples)


def test_an_event_with_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    """One event, and lines of events."""
    event = (SHIPPED / "samples" / "loan-repayment.json").read_bytes()
    line = json.dumps(json.loads(event)).encode()
    (tmp_path / "one.json").write_bytes(BOM + event)
    (tmp_path / "lines.jsonl").write_bytes(BOM + line + b"\n" + line)

    for name, count in (("one.json", 1), ("lines.jsonl", 2)):
        events_read = [*read_events(str(tmp_path / name), schemas(), tenant=None)]
        assert ["LOAN_REPAYMENT"] * count == [getattr(record.event, "name", record.event) for record in events_read]


def test_only_a_leading_byte_order_mark_is_removed(tmp_path: Path) -> None:
    """The same character within a text belongs to it."""
    (tmp_path / "a").write_bytes(BOM + BOM + b"x\r\ny\rz\n")

    assert "\ufeffx\ny\nz\n" == file_text(tmp_path / "a")


def test_an_endless_event_file_is_an_error(tmp_path: Path) -> None:
    """/dev/zero fills no memory; a shell's `<(…)` is read as a file is."""
    (tmp_path / "zero").symlink_to("/dev/zero")
    with pytest.raises(UsageError, match="has more than"):
        [*read_events(str(tmp_path / "zero"), schemas(), tenant=None)]

    with subprocess.Popen(["cat", SHIPPED / "samples" / "loan-repayment.json"], stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        (record,) = read_events(f"/dev/fd/{cat.stdout.fileno()}", schemas(), tenant=None)

    assert "LOAN_REPAYMENT" == getattr(record.event, "name", record.event)


def test_the_limit_of_a_file(tmp_path: Path) -> None:
    """Up to it, no byte more."""
    (tmp_path / "a").write_bytes(b"x" * FILE_LIMIT_BYTES)
    assert FILE_LIMIT_BYTES == len(file_bytes(tmp_path / "a"))

    (tmp_path / "a").write_bytes(b"x" * (FILE_LIMIT_BYTES + 1))
    with pytest.raises(UnfitError, match=f"has {FILE_LIMIT_BYTES + 1} bytes"):
        file_bytes(tmp_path / "a")


def test_deep_folders_are_scanned(templates: Path) -> None:
    """Folders within folders, more than Python may call itself: the running engine sees a change, and goes on."""
    start = os.open(templates, os.O_RDONLY)
    try:
        at = os.dup(start)
        for _ in range(sys.getrecursionlimit() + 200):
            os.mkdir("d", dir_fd=at)
            below = os.open("d", os.O_RDONLY, dir_fd=at)
            os.close(at)
            at = below
        os.close(at)
        before = fingerprint(templates)
        (templates / "d" / "d" / "new").touch()

        assert before != fingerprint(templates)
        assert () == load_folder(templates).diagnostics
    finally:
        os.close(start)
        subprocess.run(["rm", "-rf", templates / "d"], check=True)
