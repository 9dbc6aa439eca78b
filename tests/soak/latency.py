"""How long `run` takes from the time at which an event was produced until a `read_committed` reader has its message."""

import json
import multiprocessing
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from processor.domain.operation import OPERATION_HEADER
from tests.bench.latency import consumer_at_end
from tests.support.installation import Installation

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
MIN_MESSAGES = 100  # of a percentile
READ_RECORDS, READ_TIMEOUT_S = 1_000, 0.02


@dataclass(frozen=True, slots=True)
class Latency:
    """Of one message of `run`: when its status was read (seconds since 1970), and how long that was after its event was
    produced."""

    at_s: float
    seconds: float


class LatencyReader:
    """Reads the statuses that are written while its block runs, in a process of its own: what it measures has no other
    work beside it. What a past operation writes is not counted."""

    def __init__(self, installation: Installation) -> None:
        self._here, there = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        arguments = (installation.servers, installation.status, there)
        self._process = context.Process(target=_read_latencies, args=arguments, daemon=True)
        self._latencies: list[Latency] | None = None

    def __enter__(self) -> Self:
        self._process.start()
        if not self._here.poll(START_TIMEOUT_S):
            raise TimeoutError(f"the reader of latencies did not start within {START_TIMEOUT_S:.0f} s")
        self._here.recv()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.is_alive():
            self._process.kill()
        self._process.join(STOP_TIMEOUT_S)

    def stop(self) -> Sequence[Latency]:
        """All that were measured. Ends the process."""
        self._here.send(None)
        if not self._here.poll(STOP_TIMEOUT_S):
            raise TimeoutError("the reader of latencies does not respond")
        return [Latency(at_s, seconds) for at_s, seconds in self._here.recv()]


def p99_ms(latencies: Sequence[Latency], times_s: Iterable[tuple[float, float]]) -> float | None:
    """The 99th percentile, in milliseconds, of what was read between the begins and ends of `times_s` (seconds since
    1970); None for less than a hundred messages."""
    times_s = list(times_s)
    selected = [
        1_000 * latency.seconds for latency in latencies if any(begin <= latency.at_s < end for begin, end in times_s)
    ]
    if len(selected) < MIN_MESSAGES:
        return None
    return round(statistics.quantiles(selected, n=100, method="inclusive")[98], 1)


def _read_latencies(servers: str, status: str, parent: Connection) -> None:
    consumer = consumer_at_end(servers, [status])
    parent.send(None)
    latencies: list[tuple[float, float]] = []
    while not parent.poll():
        messages = consumer.consume(READ_RECORDS, READ_TIMEOUT_S)
        now = time.time()
        for message in messages:
            if message.error() is None and not _is_of_operation(message.headers()):
                produced = datetime.fromisoformat(json.loads(message.value() or b"{}")["at"])
                latencies.append((now, now - produced.timestamp()))
    parent.send(latencies)
    consumer.close()


def _is_of_operation(headers: Any) -> bool:
    return any(name == OPERATION_HEADER for name, _ in headers or ())
