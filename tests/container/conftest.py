"""Tests marked `container` run where Docker responds; elsewhere they are left out, and the summary says why.

Not a skip: a skip is for what should have run. Docker is the one thing that a developer's machine may lack.
"""

import pytest

from tests.container.broker_image import why_unavailable

_LEFT_OUT = pytest.StashKey[str]()


@pytest.hookimpl(trylast=True)  # after -m and -k, so that Docker is called only when such a test would run
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the marked tests out where no broker can be had from the image."""
    marked = [item for item in items if item.get_closest_marker("container")]
    if not marked or config.option.collectonly:
        return
    reason = why_unavailable()
    if reason is None:
        return
    items[:] = [item for item in items if item not in marked]
    config.hook.pytest_deselected(items=marked)
    config.stash[_LEFT_OUT] = f"{len(marked)} container test left out: {reason}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One line, when something was left out."""
    if _LEFT_OUT in config.stash:
        terminalreporter.write_line(config.stash[_LEFT_OUT], yellow=True)
