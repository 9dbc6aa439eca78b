"""`python -m tests.equality.sanitized`: the native part, built with AddressSanitizer and UndefinedBehaviorSanitizer,
over mutated records; the exit code is 1 where it reads or writes what is not its own.

In a copy of the tree, by gcc or clang. Python allocates by malloc there, so that the bytes of a record end where they
end. Leaks are not looked for, as Python keeps what it likes at its end.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from hatch_build import find_compiler
from tests.equality.planted import build_native, copied_tree

SANITIZERS: Final = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
TESTS: Final = (
    "tests/wire/test_scan.py",
    "tests/mapping/test_native_text.py",
    "tests/mapping/test_scanned_event.py",
    "tests/mapping/test_native_event.py",
)


def main(arguments: list[str] | None = None) -> int:
    """Build, run, print what was found; gives the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.equality.sanitized",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--examples", type=int, default=20_000, help="records of the campaign")
    args = parser.parse_args(arguments)
    with copied_tree(None) as tree:
        build_native(tree, *SANITIZERS)
        examples = ("--examples", str(args.examples), "--round", "2000", "--executors", "native", "--processes", "1")
        codes = [
            _run(tree, "pytest", "-q", "-p", "no:cacheprovider", "-k", "native or not plain", *TESTS),
            _run(tree, "tests.equality", *examples),
        ]
    return int(any(codes))


def _run(tree: Path, module: str, *options: str) -> int:
    """The exit code of a module in the copy, whose native part is the sanitized one."""
    runtime = subprocess.run(
        (*find_compiler(), "-print-file-name=libasan.so"), capture_output=True, text=True, check=True
    ).stdout.strip()
    environment = {
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": str(tree),
    }
    command = (sys.executable, "-m", module, *options)
    return subprocess.run(command, cwd=tree, env={**os.environ, **environment}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
