"""Contenders of the bench: what is here, and what is said of what is not."""

import os
from pathlib import Path

import pytest

from tests.bench.contenders.build import find


def test_contender_without_its_tools_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason names the tools that are missing."""
    monkeypatch.setenv("PATH", str(tmp_path))

    assert "no go on the PATH" == find("go", tmp_path)
    assert "no mvn and no javac on the PATH" == find("kafka-streams", tmp_path)


@pytest.mark.process
def test_failed_build_is_a_reason_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next attempt finds no half of a build that would be taken for one."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho out of luck\nexit 3\n")
    go.chmod(0o755)

    assert "go ended with 3: out of luck" == find("go", tmp_path / "cache")
    assert [] == [path for path in (tmp_path / "cache" / "bench").iterdir() if path.is_dir()]


@pytest.mark.process
def test_build_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found again without its tools. With `build=False` nothing is built."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    go = tmp_path / "go"
    go.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\ntouch "$2"\n')
    go.chmod(0o755)

    assert "not built yet" == find("go", tmp_path / "cache", build=False)
    built = find("go", tmp_path / "cache")
    monkeypatch.setenv("PATH", "")

    assert not isinstance(built, str)
    assert Path(built[0]).is_file()
    assert built == find("go", tmp_path / "cache")
