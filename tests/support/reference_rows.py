"""Rows of the reference tables."""

from collections.abc import Mapping
from typing import Any, Final

from tests.support.events import repayment

CLIENT: Final[str] = repayment(0)["client"]["encodedKey"]
"""The key of the client of `repayment`."""
INES: Final[Mapping[str, Any]] = {"id": "CTT-4410-0093-7715", "name": "Ines Duarte", "status": "Active"}
BLOCKED: Final[Mapping[str, Any]] = {**INES, "status": "Blocked"}
