"""The build of the part that is written in C: by a compiler, without one, and with one that fails."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from hatch_build import BuildError, compile_c, find_compiler, put_in_place

ROOT = Path(__file__).parent.parent
BUILT_OF = ("hatch_build.py", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "constraints.txt")
HAS_COMPILER = shutil.which("cc") is not None and Path(sysconfig.get_path("include"), "Python.h").exists()
NATIVE_SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")


def test_a_machine_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is said."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    with pytest.raises(BuildError, match=r"no C compiler: .* ziglang is not installed"):
        find_compiler()


def test_a_python_without_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Debian's is: the package that has them is named."""
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: str(tmp_path))

    with pytest.raises(BuildError, match="python3-dev"):
        compile_c(tmp_path / "_native.c", "1.0")


def build(folder: Path, target: str, **environment: str) -> tuple[Path, str]:
    """What hatchling builds of a copy of this tree, and what it says."""
    tree, out = folder / "tree", folder / "out"
    for name in ("processor", "schemas"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in BUILT_OF:
        shutil.copy(ROOT / name, tree)
    ran = subprocess.run(
        (sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(out)),
        cwd=tree,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    (made,) = out.iterdir()
    return made, ran.stdout + ran.stderr


def native_files(wheel: Path) -> list[str]:
    """The native part of a wheel; nothing in one without it."""
    with zipfile.ZipFile(wheel) as archive:
        assert "processor/cli/main.py" in archive.namelist()
        return [name for name in archive.namelist() if name.startswith("processor/_native.") and name.endswith(".so")]


@pytest.mark.process
@pytest.mark.skipif(not HAS_COMPILER, reason="there is no C compiler, or Python has no headers")
def test_a_wheel_with_the_native_part(tmp_path: Path) -> None:
    """Is for this Python and this platform."""
    wheel, _ = build(tmp_path, "wheel")

    assert [f"processor/_native{NATIVE_SUFFIX}"] == native_files(wheel)
    assert f"cp{sys.version_info.major}{sys.version_info.minor}" in wheel.name


@pytest.mark.process
@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"CC": "false"}, "false"),
        ({"BUILD_NATIVE": "off"}, "BUILD_NATIVE is off"),
    ],
    ids=["a compiler that fails", "switched off"],
)
def test_a_wheel_without_it(tmp_path: Path, environment: dict[str, str], said: str) -> None:
    """Works on any machine; why is said."""
    wheel, output = build(tmp_path, "wheel", **environment)

    assert [] == native_files(wheel)
    assert wheel.name.endswith("-py3-none-any.whl")
    assert "built without its native part" in output
    assert said in output


def test_an_older_build_goes_on_in_processes_that_run_it(tmp_path: Path) -> None:
    """The file that they have open stays as it is."""
    library, installed = tmp_path / "new.so", tmp_path / "installed.so"
    library.write_bytes(b"new")
    installed.write_bytes(b"old")
    with installed.open("rb") as running:
        put_in_place(library, installed)
        kept = running.read()

    assert (b"old", b"new") == (kept, installed.read_bytes())
    assert {library, installed} == set(tmp_path.iterdir())


@pytest.mark.process
def test_the_sources_have_the_generated_c(tmp_path: Path) -> None:
    """So that whoever builds of them needs a compiler, and no Cython."""
    sources, _ = build(tmp_path, "sdist")
    with tarfile.open(sources) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert {"processor/_native.c", "processor/_native.pyx", "hatch_build.py"} <= names
