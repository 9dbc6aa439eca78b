"""A worker with a fault planted in mapping: `python -m tests.fuzz.faults FAULT …`, then the worker's arguments.

The fuzzer's own tests run it, to show that it detects such faults.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import processor.mapping.decode_record as module
from processor.domain.event import Event
from processor.domain.record import SourceRecord
from processor.wire.decode import DecodeFailure, decode
from tests.fuzz import worker
from tests.fuzz.checker import FIRST_TIMESTAMP_MS

SECRET: Final = "planted"
FAULTY_RECORDS: Final = (5, 6)  # two records, as one of them may have an odd timestamp


def exhaust_memory() -> None:
    """Allocate until there is no more; up to 64 GiB, where nothing limits it."""
    taken = [bytearray(64 << 20) for _ in range(1_024)]
    del taken


def raise_error() -> None:
    """As a bug of the product would."""
    raise KeyError(SECRET)


def exit_process() -> None:
    """As a bug in a library in C would."""
    os._exit(11)


def hang() -> None:
    """As an expression that backtracks without end would."""
    time.sleep(600)


FAULTS: Final[Mapping[str, Callable[[], None]]] = {
    "exhaust_memory": exhaust_memory,
    "raise_error": raise_error,
    "exit_process": exit_process,
    "hang": hang,
}


def decode_with_fault(fault: Callable[[], None]) -> Callable[..., Event | DecodeFailure]:
    """`decode`, which first calls `fault` for the records of `FAULTY_RECORDS`."""

    def decode_or_fail(record: SourceRecord, **options: Any) -> Event | DecodeFailure:
        if record.timestamp_ms - FIRST_TIMESTAMP_MS in FAULTY_RECORDS:
            fault()
        return decode(record, **options)

    return decode_or_fail


if __name__ == "__main__":
    setattr(module, "decode", decode_with_fault(FAULTS[sys.argv[1]]))  # noqa: B010  mapping imports the name, so mypy sees none
    sys.exit(worker.main(sys.argv[2:]))
