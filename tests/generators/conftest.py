"""Tests marked `go` run where Go is on the PATH; elsewhere they are left out, and the summary says so."""

import shutil

import pytest

_LEFT_OUT = pytest.StashKey[int]()


@pytest.hookimpl(trylast=True)  # after -m and -k
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Not a skip: a skip is for what should have run. A developer's machine needs nothing but Python."""
    marked = [item for item in items if item.get_closest_marker("go")]
    if not marked or shutil.which("go"):
        return
    items[:] = [item for item in items if item not in marked]
    config.hook.pytest_deselected(items=marked)
    config.stash[_LEFT_OUT] = len(marked)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One line, when something was left out."""
    if _LEFT_OUT in config.stash:
        terminalreporter.write_line(f"{config.stash[_LEFT_OUT]} go test left out: no `go` on the PATH", yellow=True)
