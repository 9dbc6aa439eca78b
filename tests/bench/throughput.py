"""Events a second of one contender that works through a backlog, what they cost it, and how soon it begins."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench.lineup import PreparedRun
from tests.bench.observed import ContenderError, PositionReader, running

POLL_INTERVAL_S: Final = 0.05
FIRST_COMMIT_TIMEOUT_S: Final = 120.0
MIN_WINDOW_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen at a moment, in seconds from the start: events committed so far, and processor time."""

    at_s: float
    committed: int
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Throughput:
    """Of one run. `events` and `window_s` are what the first two figures are made of."""

    events_per_s: float
    cpu_us_per_event: float
    first_commit_s: float
    peak_mb: float
    events: int
    window_s: float


def measure_throughput(run: PreparedRun, *, planted: int, seconds: float) -> Throughput:
    """Run a contender over `planted` events until `seconds` after its warm-up, or to their end.

    Raises ContenderError where it ends, does not begin, or leaves too short a window.
    """
    warm_s = run.contender.warm_s
    with PositionReader(run.installation) as reader, running(run) as process:
        began = time.monotonic()
        samples = [Sample(0.0, 0, 0.0)]
        first_commit_s: float | None = None
        while samples[-1].committed < planted:
            process.check()
            committed, now_s = reader.committed(), time.monotonic() - began
            if committed > samples[-1].committed:
                samples.append(Sample(now_s, committed, process.observe()))
                if first_commit_s is None:
                    first_commit_s = now_s
            if first_commit_s is None and now_s > FIRST_COMMIT_TIMEOUT_S:
                raise ContenderError(f"no commit in {FIRST_COMMIT_TIMEOUT_S:.0f} s: {process.last_lines()}")
            if first_commit_s is not None and now_s > first_commit_s + warm_s + seconds:
                break
            time.sleep(POLL_INTERVAL_S)
        process.observe()
        assert first_commit_s is not None
        first, last = window(samples, begin_s=first_commit_s + warm_s, seconds=seconds)
        events, window_s = last.committed - first.committed, last.at_s - first.at_s
        return Throughput(
            events_per_s=round(events / window_s, 1),
            cpu_us_per_event=round(1e6 * (last.cpu_s - first.cpu_s) / events, 2),
            first_commit_s=round(first_commit_s, 2),
            peak_mb=round(process.peak_mb, 1),
            events=events,
            window_s=round(window_s, 2),
        )


def window(samples: Sequence[Sample], *, begin_s: float, seconds: float) -> tuple[Sample, Sample]:
    """The first and the last commit within the window: it is as long as whole transactions of it are.

    Raises ContenderError when they are less than two seconds apart: the load has ended in the warm-up.
    """
    inside = [sample for sample in samples if begin_s <= sample.at_s <= begin_s + seconds]
    if len(inside) < 2 or inside[-1].at_s - inside[0].at_s < MIN_WINDOW_S:
        end_s = samples[-1].at_s
        raise ContenderError(
            f"too short a window: the warm-up ends at {begin_s:.1f} s, the last commit was at {end_s:.1f} s"
        )
    return inside[0], inside[-1]
