"""Calls commands as the command line does, with settings that a test has at hand."""

from collections.abc import Callable
from typing import Any

import pytest

from processor.settings import Settings


def run_command(command: Callable[..., int], settings: Settings, **options: Any) -> int:
    """The exit code of a command with these options; others have their defaults. Raises what the command raises."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("processor.cli.output.load_quiet_settings", lambda: settings)
        return command(**options)
