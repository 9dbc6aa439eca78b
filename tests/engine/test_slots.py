"""The transactional id of a process: the lowest free index of its slot on this host."""

import tempfile
from pathlib import Path

import pytest

from processor.engine.slots import transactional_id
from processor.errors import UsageError
from processor.settings import Settings


def settings(group: str, *, slot: str = "host-a") -> Settings:
    return Settings(group=group, slot=slot)


def test_one_process_has_index_0(topic_prefix: str) -> None:
    """Alone, a process is `{group}-{slot}-0`, at every start."""
    for _ in range(2):
        with transactional_id(settings(topic_prefix)) as tid:
            assert f"{topic_prefix}-host-a-0" == tid


def test_two_at_once_have_different_ids(topic_prefix: str) -> None:
    """Unique is what correctness needs: a second one takes the next index, and a freed index is used again."""
    with transactional_id(settings(topic_prefix)) as first:
        with transactional_id(settings(topic_prefix)) as second:
            assert [f"{topic_prefix}-host-a-0", f"{topic_prefix}-host-a-1"] == [first, second]
        with transactional_id(settings(topic_prefix)) as third:
            assert f"{topic_prefix}-host-a-1" == third


def test_a_long_name_has_a_lock_as_well(topic_prefix: str) -> None:
    """The id may be longer than a file's name."""
    group, slot = topic_prefix + "g" * 180, "s" * 100
    with (
        transactional_id(settings(group, slot=slot)) as first,
        transactional_id(settings(group, slot=slot)) as second,
    ):
        assert [f"{group}-{slot}-0", f"{group}-{slot}-1"] == [first, second]


def test_another_group_is_apart(topic_prefix: str) -> None:
    """Groups do not share indices."""
    with transactional_id(settings(topic_prefix)), transactional_id(settings(topic_prefix + "b")) as other:
        assert f"{topic_prefix}b-host-a-0" == other


def test_a_folder_that_cannot_be_written_is_an_error_of_usage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a container with a read-only root and no /tmp: it names the folder and TMPDIR."""
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))

    with pytest.raises(UsageError, match=r"(?s)no folder for the lock of slot 'host-a'.*\nhint: TMPDIR"):
        transactional_id(settings("a")).__enter__()
