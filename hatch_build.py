"""Builds the part that is written in C (`processor/_native.pyx`) into the wheel, or beside its source for an editable
install: by this machine's compiler, else by `ziglang` where that is installed. Without either, or where one fails, the
build goes on, and the program runs its plans without that part.
"""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path("processor", "_native.pyx")
ARCHITECTURES = ("x86_64", "aarch64")
GLIBC = "2.17"  # of 2014: what a wheel needs at least
TIMEOUT_S = 600.0  # ziglang builds its own runtime first, which takes two minutes on a busy machine


def put_in_place(library: Path, installed: Path) -> None:
    """Copy a library to where it is imported from. One that is written over would end the processes that run it."""
    beside = installed.with_suffix(f".{os.getpid()}")
    shutil.copy(library, beside)
    beside.replace(installed)


class NativeBuildHook(BuildHookInterface[BuilderConfig]):
    """Called by hatchling. `BUILD_NATIVE`: off builds without it; x86_64 and aarch64 are for Linux there,
    with a C library from 2014 on, by ziglang from any machine, and then a failure ends the build."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """`version` is `editable` or `standard`."""
        root = Path(self.root)
        if self.target_name == "sdist":
            build_data["force_include"][str(write_c(root))] = "processor/_native.c"
            return
        chosen = os.environ.get("BUILD_NATIVE")
        if chosen == "off":
            self.app.display_warning("built without its native part: BUILD_NATIVE is off")
            return
        if chosen is not None:
            self._build_for(root, chosen, build_data)
            return
        try:
            library = compile_c(write_c(root), self.metadata.version)
        except BuildError as error:
            self.app.display_warning(f"built without its native part, and slower for that: {error}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        if version == "editable":
            put_in_place(library, root / "processor" / library.name)
        else:
            build_data["force_include"][str(library)] = f"processor/{library.name}"

    def _build_for(self, root: Path, architecture: str, build_data: dict[str, Any]) -> None:
        """A wheel for an architecture of Linux."""
        if architecture not in ARCHITECTURES:
            raise BuildError(f"BUILD_NATIVE is {architecture!r}: off, {' or '.join(ARCHITECTURES)}")
        python = f"{sys.version_info.major}{sys.version_info.minor}"
        library = root / "build" / f"_native.cpython-{python}-{architecture}-linux-gnu.so"
        compiler = (sys.executable, "-m", "ziglang", "cc", "-target", f"{architecture}-linux-gnu.{GLIBC}")
        run_compiler(compiler, write_c(root), library, version=self.metadata.version)
        platform = f"manylinux_{GLIBC.replace('.', '_')}_{architecture}"
        build_data["pure_python"] = False
        build_data["tag"] = f"cp{python}-cp{python}-{platform}"
        build_data["force_include"][str(library)] = f"processor/{library.name}"


class BuildError(Exception):
    """There is no native part to be built; `str(error)` says why."""


def write_c(root: Path) -> Path:
    """The C source that Cython makes of ours. An sdist has it already."""
    source, shipped, made = root / SOURCE, root / SOURCE.with_suffix(".c"), root / "build" / "_native.c"
    if shipped.exists():
        return shipped
    made.parent.mkdir(exist_ok=True)
    _run([sys.executable, "-m", "cython", "-3", "--output-file", str(made), str(source)])
    return made


def compile_c(source: Path, version: str, *, more_options: Sequence[str] = ("-s",)) -> Path:
    """The library that this machine's compiler makes of it, named for this Python. BuildError: there is none, or it
    fails. `more_options` are the compiler's."""
    library = source.with_name(f"_native{sysconfig.get_config_var('EXT_SUFFIX')}")
    run_compiler(find_compiler(), source, library, version=version, more_options=more_options)
    return library


def run_compiler(
    compiler: Sequence[str], source: Path, library: Path, *, version: str, more_options: Sequence[str] = ("-s",)
) -> None:
    """Make `library`, which refuses to work with a program of another version. BuildError where that fails."""
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.exists():
        raise BuildError(f"this Python has no headers: {header} is missing (on Debian: python3-dev)")
    includes = [f"-I{header.parent}", "-idirafter", str(header.parent.parent)]  # Debian's pyconfig.h lies beside
    options = ["-O3", "-shared", "-fPIC", "-fwrapv", f'-DPROCESSOR_VERSION="{version}"', *includes]
    _run([*compiler, *options, *more_options, "-o", str(library), str(source)])


def find_compiler() -> list[str]:
    """CC, else the compiler that this Python was built with, else any `cc`, else ziglang. BuildError without one."""
    configured = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    for command in (configured, ["cc"]):
        if shutil.which(command[0]):
            return command
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc"]
    raise BuildError(f"no C compiler: neither {configured[0]} nor cc is on the PATH, and ziglang is not installed")


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(  # noqa: S603  a compiler that this machine has been set up with
            command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{command[0]}: {error}") from error
    if done.returncode:
        raise BuildError(f"{shlex.join(command[:3])} failed: {(done.stderr or done.stdout).strip()[-800:]}")
