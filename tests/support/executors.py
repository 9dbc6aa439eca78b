"""Which executor runs the plans of a test: by the fixture `executor` each test of a module runs by all of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import pytest

from processor.native import NATIVE, WHY_NOT_NATIVE, NativePart
from processor.wire.native_scan import native_scan
from processor.wire.plain_scan import plain_scan
from processor.wire.scanned_fields import MakeScan

NEEDS_NATIVE: Final = pytest.mark.skipif(NATIVE is None, reason=f"no native part: {WHY_NOT_NATIVE}")
EXECUTORS: Final = (pytest.param(None, id="plain"), pytest.param(NATIVE, id="native", marks=NEEDS_NATIVE))
"""What `EventPlans` takes as `native`."""

SCANS: Final[dict[str, MakeScan]] = {
    "plain": plain_scan,
    **({} if NATIVE is None else {"native": partial(native_scan, native=NATIVE)}),
}
"""What makes a scan of a program, by the executor."""

_in_use: list[NativePart | None] = [None]


def native_in_use() -> NativePart | None:
    """That of the running test; None: plain."""
    return _in_use[-1]


@contextmanager
def use_executor(native: NativePart | None) -> Iterator[None]:
    """For the length of the block."""
    _in_use.append(native)
    try:
        yield
    finally:
        _in_use.pop()
