"""A working process with a fault planted in mapping: `python -m tests.fuzz.faults FAULT …`, then as the worker.

The harness's own tests run it, to see that what it is there to find is found.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import processor.mapping.map as module
from processor.domain.event import Event
from processor.domain.record import SourceRecord
from processor.wire.decode import Fault, decode
from tests.fuzz import worker
from tests.fuzz.checker import FIRST_TIME_MS

SECRET: Final = "planted"
FAULTY_RECORDS: Final = (5, 6)  # two records, as one of a seed may have another time than its number says


def takes_all_memory() -> None:
    """Takes memory until there is no more; at 64 GiB, where nothing limits it, it stops."""
    taken = [bytearray(64 << 20) for _ in range(1_024)]
    del taken


def raises() -> None:
    """As a bug of this program would."""
    raise KeyError(SECRET)


def dies() -> None:
    """As a bug in a library in C would."""
    os._exit(11)


def hangs() -> None:
    """As an expression that backtracks without end would."""
    time.sleep(600)


FAULTS: Final[Mapping[str, Callable[[], None]]] = {
    "takes_all_memory": takes_all_memory,
    "raises": raises,
    "dies": dies,
    "hangs": hangs,
}


def decode_with(act: Callable[[], None]) -> Callable[..., Event | Fault]:
    """`decode`, which first does `act` for the records of `FAULTY_RECORDS`."""

    def decode_or_fail(record: SourceRecord, **given: Any) -> Event | Fault:
        if record.timestamp_ms - FIRST_TIME_MS in FAULTY_RECORDS:
            act()
        return decode(record, **given)

    return decode_or_fail


if __name__ == "__main__":
    setattr(module, "decode", decode_with(FAULTS[sys.argv[1]]))  # noqa: B010  mapping imports the name, so mypy sees none
    sys.exit(worker.main(sys.argv[2:]))
