"""The file with a group's old positions: what was saved is read, nothing is overwritten, nobody else may read it."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.record import Topic
from processor.errors import DependencyError, UsageError
from processor.replay.positions_file import SavedPositions, read_positions, save_positions

SAVED = SavedPositions(
    group="processor", topic=Topic("banking.events"), saved_at="2026-11-30T07:55:01.000Z", positions={3: 120, 0: 7}
)
FIELDS: dict[str, Any] = {
    "group": "processor",
    "topic": "banking.events",
    "savedAt": "2026-11-30T07:55:01.000Z",
    "positions": [{"partition": 0, "offset": 7}, {"partition": 3, "offset": 120}],
}


def test_a_file_for_people_and_for_its_owner_alone(tmp_path: Path) -> None:
    """JSON in order of the partitions, mode 0600."""
    path = tmp_path / "old.json"
    save_positions(path, SAVED)

    assert FIELDS == json.loads(path.read_text())
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


@given(
    group=st.text(min_size=1, max_size=20),
    positions=st.dictionaries(st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1), min_size=1, max_size=5),
)
def test_what_was_saved_is_read(
    tmp_path_factory: pytest.TempPathFactory, group: str, positions: dict[int, int]
) -> None:
    """All of it, whatever it is; also with fields of a newer version."""
    path = tmp_path_factory.mktemp("positions") / "old.json"
    saved = SavedPositions(group=group, topic=SAVED.topic, saved_at=SAVED.saved_at, positions=positions)
    save_positions(path, saved)

    assert saved == read_positions(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "more": 1}))
    assert saved == read_positions(path)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """Not another group's positions, nor what is no such file, nor a link that leads nowhere. A file with these very
    positions stays as it is: the command was killed, and is called again."""
    path = tmp_path / "old.json"
    save_positions(path, SAVED)
    before = path.read_text()
    later = SavedPositions(group=SAVED.group, topic=SAVED.topic, saved_at="later", positions=dict(SAVED.positions))
    save_positions(path, later)
    assert before == path.read_text()

    other = SavedPositions(group=SAVED.group, topic=SAVED.topic, saved_at="later", positions={3: 121, 0: 7})
    foreign, link = tmp_path / "notes", tmp_path / "link"
    foreign.write_text("mine")
    link.symlink_to(tmp_path / "nowhere")
    for place in (path, foreign, link, tmp_path):
        with pytest.raises(UsageError, match=r"exists, and is not overwritten\nhint: .*--save"):
            save_positions(place, other)
    assert (before, "mine", False) == (path.read_text(), foreign.read_text(), (tmp_path / "nowhere").exists())


def test_a_disk_without_room_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 3, and nothing is there that could be taken for the positions; a folder that is missing is 2."""
    path = tmp_path / "old.json"

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(DependencyError, match=r"No space left.*\nhint: nothing was"):
        patch.setattr(os, "fsync", full)
        save_positions(path, SAVED)
    assert [] == list(tmp_path.iterdir())
    with pytest.raises(UsageError, match=r"No such file or directory\nhint: nothing was changed"):
        save_positions(tmp_path / "missing" / "old.json", SAVED)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "holds no saved positions: Invalid JSON"),
        ("[]", "holds no saved positions"),
        (json.dumps({**FIELDS, "positions": []}), "positions: List should have at least 1 item"),
        (json.dumps({**FIELDS, "positions": [{"partition": -1, "offset": 1}]}), "positions.0.partition"),
        (json.dumps({**FIELDS, "positions": [{"partition": 1, "offset": 2**63}]}), "positions.0.offset"),
        (json.dumps({**FIELDS, "positions": [{"partition": 1, "offset": "7"}]}), "positions.0.offset"),
        (json.dumps({**FIELDS, "positions": [{"partition": 1}]}), "positions.0.offset: Field required"),
        (json.dumps({**FIELDS, "positions": [{"partition": 1, "offset": 7}] * 2}), "names a partition twice"),
        (json.dumps({name: value for name, value in FIELDS.items() if name != "group"}), "group: Field required"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, text: str, what: str) -> None:
    """With its name and what is wrong with it."""
    path = tmp_path / "old.json"
    path.write_text(text)

    with pytest.raises(UsageError) as refused:
        read_positions(path)
    assert str(refused.value).startswith(str(path))
    assert what in str(refused.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """There is none, it is a folder, or it is no text."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("missing", ".", "binary"):
        with pytest.raises(UsageError, match=r"\nhint: --file takes a file that `processor positions` has saved"):
            read_positions(tmp_path / name)
