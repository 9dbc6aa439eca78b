"""Kafka clients of tests write no lines of their own to stderr, into the middle of pytest's output."""

import logging
from collections.abc import Mapping
from typing import Any, Final

_LOG: Final = logging.getLogger("librdkafka")


def logged(properties: Mapping[str, Any]) -> dict[str, Any]:
    """`properties` of a client whose log lines go to logging while it is polled, and nowhere else."""
    return {**properties, "logger": _LOG}
