"""The store of an operation on the past: one operation at a time, whoever holds it and however that one ends."""

import json
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from processor.engine.past_operation import claim_past_store
from processor.errors import OperationUnderWayError, UsageError
from processor.settings import Settings
from processor.tables.reader import store_folder

FIRST = "replay-20261129T075501Z-3f2a91c0"
SECOND = "redrive-20261129T075502Z-00000001"
HOLDER = """
import sys, time
from pathlib import Path
from processor.engine.past_operation import claim_past_store
from processor.settings import Settings
with claim_past_store(Settings(group=sys.argv[2], state_dir=Path(sys.argv[1])), sys.argv[3]) as name:
    print(name, flush=True)
    time.sleep(60)
"""


def settings(state_dir: Path, *, group: str = "bank") -> Settings:
    return Settings(group=group, state_dir=state_dir)


def start_holder(state_dir: Path) -> "subprocess.Popen[str]":
    """Another process that has claimed the store for FIRST."""
    command = (sys.executable, "-c", HOLDER, str(state_dir), "bank", FIRST)
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert "bank:past\n" == holder.stdout.readline()
    return holder


def test_a_second_operation_gets_the_name_of_the_first(tmp_path: Path) -> None:
    """Exit code 4, with operation, process, host, since when and what to do; when the first is killed it is free."""
    holder = start_holder(tmp_path)
    try:
        with pytest.raises(OperationUnderWayError) as refused, claim_past_store(settings(tmp_path), SECOND):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate(timeout=10)

    assert 4 == refused.value.exit_code
    text = (
        rf"operation {FIRST} \(process {holder.pid} on host \S+, since 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\) is under way"
    )
    assert re.match(text, refused.value.what), refused.value.what
    assert "PROCESSOR_STATE_DIR" in refused.value.hint
    with claim_past_store(settings(tmp_path), SECOND) as name:
        assert "bank:past" == name
        with pytest.raises(OperationUnderWayError, match=SECOND), claim_past_store(settings(tmp_path), FIRST):
            pass


def test_the_claim_ends_with_its_block(tmp_path: Path) -> None:
    """Also when the block raises; nothing but the lock's file stays."""
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), claim_past_store(settings(tmp_path), FIRST):
            raise ZeroDivisionError
    assert [".lock"] == [file.suffix for file in (tmp_path / "tables").iterdir()]


def test_a_holder_that_did_not_say_who_it_is_holds_all_the_same(tmp_path: Path) -> None:
    """Between the lock and the file that names its holder, or when somebody has removed that file."""
    with claim_past_store(settings(tmp_path), FIRST):
        (holder_file,) = (tmp_path / "tables").glob("*.holder")
        for content in (None, "", "[]", json.dumps({"operation": FIRST})):
            holder_file.unlink(missing_ok=True)
            if content is not None:
                holder_file.write_text(content)
            with pytest.raises(OperationUnderWayError) as refused, claim_past_store(settings(tmp_path), SECOND):
                pass
            assert refused.value.what.startswith("another operation on the past is under way"), content


def test_other_groups_and_other_folders_have_stores_of_their_own(tmp_path: Path) -> None:
    with (
        claim_past_store(settings(tmp_path), FIRST) as first,
        claim_past_store(settings(tmp_path, group="other"), FIRST) as other_group,
        claim_past_store(settings(tmp_path / "other"), FIRST) as other_folder,
    ):
        assert ("bank:past", "other:past", "bank:past") == (first, other_group, other_folder)


def test_no_process_of_run_has_this_store(tmp_path: Path) -> None:
    """A transactional.id has three parts, so no instance of the group, whatever it is called, has the same folder."""
    with claim_past_store(settings(tmp_path), FIRST) as name:
        folders = {store_folder(settings(tmp_path), run) for run in ("bank:past:0", "bank:host:0")}
        assert store_folder(settings(tmp_path), name) not in folders


def test_its_files_are_private(tmp_path: Path) -> None:
    """An operation's id and host are nobody else's business: 0600, in a folder of 0700."""
    with claim_past_store(settings(tmp_path), FIRST):
        folder = tmp_path / "tables"
        assert 0o700 == stat.S_IMODE(folder.stat().st_mode)
        assert {0o600} == {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


def test_a_state_folder_that_cannot_be_used_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UsageError, match=r"(?s)no folder for the local store.*\nhint: set PROCESSOR_STATE_DIR"),
        claim_past_store(settings(tmp_path / "file"), FIRST),
    ):
        pass
