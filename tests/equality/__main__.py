"""`python -m tests.equality`: the same records by plans and by the reference; the exit code is 1 for a difference.

They are of all families, by evolved writers, with generated templates and the shipped ones, valid and broken. A quick
look: `python -m tests.equality --examples 20000`. One record again, with both outcomes where they differ:
`python -m tests.equality --seed 7 --only 4711`.
"""

import argparse
import multiprocessing
import pprint
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import product
from typing import Final

from processor.domain.outcome import MappingPath
from tests.equality.campaign import EXECUTORS, KINDS, Round, Tally, run_round
from tests.equality.sources import Sources, make_sources
from tests.support.planned import comparable

PROGRESS_INTERVAL_S: Final = 15.0
DIFFERENCES_SHOWN: Final = 20


def main(arguments: list[str] | None = None) -> int:
    """Run, print the counts, a summary line and the first differences; gives the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.equality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=1_000_000, help="records in all")
    parser.add_argument("--round", type=int, default=10_000, help="records with the same templates and writers")
    parser.add_argument("--seed", type=int, default=None, help="default: from the clock; it is printed")
    parser.add_argument("--processes", type=int, default=2, help="that check rounds at the same time")
    parser.add_argument("--executors", nargs="+", choices=EXECUTORS, default=EXECUTORS, help="default: all there are")
    parser.add_argument("--stop", action="store_true", help="after the round of the first difference")
    parser.add_argument("--only", type=int, help="the number of a record; with the --seed and --round of its run")
    args = parser.parse_args(arguments)
    seed = int(time.time()) if args.seed is None else args.seed
    sources = make_sources(seed)
    if args.only is not None:
        return show(sources, seed, args.only, args.round)
    began = time.monotonic()
    executors = tuple(map(MappingPath, args.executors))
    plan = RunPlan(seed, args.examples, args.round, args.processes, executors, args.stop)
    tally = run(sources, plan, log_progress=log_progress)
    seconds = time.monotonic() - began
    for label, count in sorted(tally.counts.items()):
        print(f"{count:>9} {label}")  # noqa: T201
    print(summary(tally, seed, seconds))  # noqa: T201
    for difference in tally.differences[:DIFFERENCES_SHOWN]:
        log_progress(f"{difference.number}: {difference.text}")
        log_progress(
            f"  to repeat: python -m tests.equality --seed {seed} --round {args.round} --only {difference.number}"
        )
    return 1 if tally.differences else 0


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What to check: `examples` records in rounds of `per_round`. `stops` after the round of the first difference."""

    seed: int
    examples: int
    per_round: int
    processes: int
    executors: Sequence[MappingPath] = EXECUTORS
    stops: bool = False


def run(sources: Sources, plan: RunPlan, *, log_progress: Callable[[str], None]) -> Tally:
    """All records of a run; blocks until they are checked. Processes are forked, as what they draw from is large."""
    tally, progress_at = Tally(), time.monotonic() + PROGRESS_INTERVAL_S
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(plan.processes, fork, initializer=_keep, initargs=(sources,)) as pool:
        rounds = [
            pool.submit(
                _run_round,
                plan.seed,
                number,
                range(first, min(first + plan.per_round, plan.examples)),
                plan.executors,
            )
            for number, first in enumerate(range(0, plan.examples, plan.per_round))
        ]
        for done, finished in enumerate(as_completed(rounds), start=1):
            tally.add(finished.result())
            if plan.stops and tally.differences:
                pool.shutdown(cancel_futures=True)
                break
            if time.monotonic() > progress_at:
                progress_at = time.monotonic() + PROGRESS_INTERVAL_S
                log_progress(f"{done} of {len(rounds)} rounds, {len(tally.differences)} differences")
    return tally


_kept: list[Sources] = []
"""Of a process of the pool."""


def _keep(sources: Sources) -> None:
    _kept.append(sources)


def _run_round(seed: int, number: int, numbers: range, executors: Sequence[MappingPath]) -> Tally:
    return run_round(_kept[0], seed, number, numbers, executors)


def summary(tally: Tally, seed: int, seconds: float) -> str:
    """In a line: how many records there were, the share of each kind that plans accepted, how many differ."""
    counts = tally.counts
    examples = sum(counts[kind] for kind in KINDS)
    shares = []
    for executor, kind in product(EXECUTORS, KINDS):
        accepted = counts[f"{kind}: accepted by {executor}"]
        whole = counts[f"{kind}: messages"] + counts[f"{kind}: no message"]
        if accepted:
            shares.append(f"{executor} {kind} {accepted} of {whole} ({accepted / max(1, whole):.0%})")
    return (
        f"seed {seed}: {examples} records in {seconds:.0f} s ({examples / seconds:.0f}/s); accepted of "
        f"those of which no template failed: {', '.join(shares)}; slowest {tally.slowest}: {tally.slowest_ms:.0f} ms; "
        f"{len(tally.differences)} differences"
    )


def show(sources: Sources, seed: int, number: int, per_round: int) -> int:
    """Map one record by both, and print its bytes, and the outcomes where they differ; gives the exit code."""
    round_, tally = Round(sources, seed, number // per_round), Tally()
    example = round_.example(number)
    record = example.case.record
    print(f"{example.kind}, configuration {example.case.configuration.name}, key {record.key!r}")  # noqa: T201
    print(f"headers {record.headers!r}\nvalue {(record.value or b'').hex()}")  # noqa: T201
    round_.check(number, tally)
    for difference in tally.differences:
        print(difference.text)  # noqa: T201
    if tally.differences:
        pprint.pp({"reference": comparable(round_.reference(example))}, width=200)
        for executor in EXECUTORS:
            pprint.pp({executor.value: comparable(round_.planned(example, executor))}, width=200)
    return 1 if tally.differences else 0


def log_progress(text: str) -> None:
    """For people, on stderr."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
