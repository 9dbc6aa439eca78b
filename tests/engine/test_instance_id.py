"""The transactional id of a process: the lowest free index of its instance on this host."""

import os
import socket
import stat
import tempfile
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import pytest

from processor.engine.instance_id import claim_transactional_id
from processor.errors import UsageError
from processor.settings import Settings


def settings(group: str, *, instance_id: str = "host-a") -> Settings:
    return Settings(group=group, instance_id=instance_id)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The host's temporary folder, for this test alone."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_one_process_has_index_0(topic_prefix: str) -> None:
    """Alone, a process is `{group}:{instance}:0`, at every start."""
    for _ in range(2):
        with claim_transactional_id(settings(topic_prefix)) as name:
            assert f"{topic_prefix}:host-a:0" == name


def test_two_at_once_have_different_ids(topic_prefix: str) -> None:
    """Unique is what correctness needs: a second one takes the next index, and a freed index is used again."""
    with claim_transactional_id(settings(topic_prefix)) as first:
        with claim_transactional_id(settings(topic_prefix)) as second:
            assert [f"{topic_prefix}:host-a:0", f"{topic_prefix}:host-a:1"] == [first, second]
        with claim_transactional_id(settings(topic_prefix)) as third:
            assert f"{topic_prefix}:host-a:1" == third


def test_a_long_name_has_a_lock_as_well(topic_prefix: str) -> None:
    """The id may be longer than a file's name."""
    group, instance = topic_prefix + "g" * 180, "s" * 100
    with (
        claim_transactional_id(settings(group, instance_id=instance)) as first,
        claim_transactional_id(settings(group, instance_id=instance)) as second,
    ):
        assert [f"{group}:{instance}:0", f"{group}:{instance}:1"] == [first, second]


def test_groups_do_not_share_indices(topic_prefix: str) -> None:
    """Groups do not share indices."""
    with claim_transactional_id(settings(topic_prefix)), claim_transactional_id(settings(topic_prefix + "b")) as other:
        assert f"{topic_prefix}b:host-a:0" == other


def test_a_folder_that_cannot_be_written_is_a_usage_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a container with a read-only root and no /tmp: it names the folder and TMPDIR."""
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))

    with pytest.raises(UsageError, match=r"(?s)no folder for the lock of instance 'host-a'.*\nhint: set TMPDIR"):
        claim_transactional_id(settings("a")).__enter__()


def test_different_names_give_different_ids() -> None:
    """No two pairs of group and instance give the same id, wherever a hyphen lies."""
    names = ["a", "b", "c", "a-b", "b-c", "a.b", "a-b-c"]
    ids = []
    with ExitStack() as stack:
        for group, instance in product(names, names):
            ids.append(stack.enter_context(claim_transactional_id(settings(group, instance_id=instance))))

    assert len(names) ** 2 == len(set(ids))
    assert {"a-b:c:0", "a:b-c:0"} <= set(ids)


def test_a_group_has_no_colon() -> None:
    """It is what parts group, instance and index."""
    for group in ("a:b", ":", "processor:0"):
        with pytest.raises(ValueError, match=r"must not contain ':'"):
            settings(group)


def test_a_host_with_a_colon_needs_an_instance_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host's name is not chosen here; one that cannot be part of an id needs the setting."""
    monkeypatch.setattr(socket, "gethostname", lambda: "fe80::1")

    with pytest.raises(UsageError, match=r"(?s)'fe80::1'.*\nhint: .*PROCESSOR_INSTANCE_ID"):
        claim_transactional_id(Settings(group="a")).__enter__()


@pytest.mark.parametrize("group", ["../../up", "/etc/x", "..", ".", "a/b", "a b", "ä" * 200, "*", "-rf", "a\\b"])
def test_locks_stay_in_their_folder(temporary: Path, group: str) -> None:
    """Whatever the group is called: one folder, one file in it, nothing beside it or above it."""
    with claim_transactional_id(settings(group)) as name:
        assert f"{group}:host-a:0" == name
        assert 1 == len(list(temporary.iterdir()))
        assert 1 == sum(path.is_file() for path in temporary.parent.rglob("*"))


def test_the_lock_folder_is_private_to_its_owner(temporary: Path) -> None:
    """Nobody else can take, read or remove a lock: 0700 and 0600; one that was open to all is closed."""
    with claim_transactional_id(settings("a")):
        (folder,) = temporary.iterdir()
        (lock,) = folder.iterdir()
        assert (0o700, 0o600) == (stat.S_IMODE(folder.stat().st_mode), stat.S_IMODE(lock.stat().st_mode))
    folder.chmod(0o777)
    with claim_transactional_id(settings("a")):
        assert 0o700 == stat.S_IMODE(folder.stat().st_mode)


def test_a_link_in_the_place_of_the_folder_is_refused(temporary: Path, tmp_path: Path) -> None:
    """In a folder that everybody may write, somebody else could have put it there."""
    with claim_transactional_id(settings("a")):
        (folder,) = temporary.iterdir()
    elsewhere = folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(elsewhere)

    with pytest.raises(UsageError, match=r"(?s)no folder for the lock.*\nhint: set TMPDIR"):
        claim_transactional_id(settings("a")).__enter__()


def test_a_folder_of_another_user_is_refused(temporary: Path) -> None:
    """Its owner could take each lock away."""
    with claim_transactional_id(settings("a")):
        (folder,) = temporary.iterdir()
    try:
        os.chown(folder, 12345, 12345)
    except PermissionError:
        pytest.skip("only root can give a folder away")
    with pytest.raises(UsageError, match=r"(?s)no folder for the lock.*another user.*\nhint: set TMPDIR"):
        claim_transactional_id(settings("a")).__enter__()
