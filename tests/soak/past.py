"""`python -m tests.soak.past`: replays are killed while `run` goes on; 1 for a finding or an empty cell of the table.

On a broker of its own: events are produced and mapped by `processor run`, some of one partition are skipped in between,
and a template is added that others would have had. While `run` goes on with new events, `processor replay` makes up for
the skipped ones, then with `--include-new` for the others; each is killed at every step of its transactions and at
random moments, and the same command goes on. What must be on the topics in the end is the oracle's.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from processor.kafka.local.kafka import local_kafka
from tests.soak.installation import PARTITIONS
from tests.soak.past_checker import Author
from tests.soak.past_kills import RANDOM_LABELS
from tests.soak.past_run import CALM, KILLING, REPLAYING, PastOptions, PastResult, run_past

FINDINGS_SHOWN: Final = 20


def log_progress(text: str) -> None:
    """For people, on stderr."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)  # noqa: T201


def lines_of(result: PastResult) -> Iterator[str]:
    """What was seen, as a table, and what is missing in it."""
    authors = (Author.SKIPPED, Author.OTHERS)
    yield f"{'killed at':<32}" + "".join(f"{f'{author}: kills / aborted records':>36}" for author in authors)
    for label in (*result.options.steps, *RANDOM_LABELS):
        cells = [result.kills_at(author, label) for author in authors]
        yield f"{label:<32}" + "".join(f"{f'{kills} / {aborted}':>36}" for kills, aborted in cells)
    reached = Counter(kill.reached or "no transaction" for kill in result.kills if kill.label in RANDOM_LABELS)
    yield f"random moments by the last step before them: {dict(sorted(reached.items()))}"
    for author, figures in result.figures.items():
        yield (
            f"{author}: {figures.events} events, {figures.messages.total()} messages, decisions "
            f"{dict(sorted(figures.decisions.items()))}, dead letters {dict(sorted(figures.dead_letters.items()))}, "
            f"{figures.failed.total()} failed templates"
        )
    for (author_name, topic), count in sorted(result.check.counts.items()):
        yield f"{author_name:<10}{topic:<52}{count:>10} records"
    for name in (CALM, REPLAYING, KILLING):
        yield f"p99 of run, produced to read, {name}: {result.p99_ms(name)} ms"
    yield f"operations that wrote: {dict(result.check.operations)}"
    yield f"{len(result.kills)} kills, {len(result.check.aborted)} aborted records, {len(result.findings)} findings"
    yield from (f"empty: {cell}" for cell in result.empty_cells())
    for kind, count in Counter(finding.kind for finding in result.findings).items():
        yield f"{kind} × {count}"
    yield from map(str, result.findings[:FINDINGS_SHOWN])


def main() -> int:
    """Run it once, print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.past", description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--kills", type=int, default=10, help="at random moments, beside those at each step")
    parser.add_argument("--partitions", type=int, default=PARTITIONS)
    parser.add_argument("--skipped", type=int, default=4_000)
    parser.add_argument("--others", type=int, default=1_000, help="about so many would have had the later template")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--rate", type=int, default=500, help="new events a second while replays run")
    args = parser.parse_args()
    seed = int(time.time()) if args.seed is None else args.seed
    folder = Path(tempfile.mkdtemp(prefix="soak-past-"))
    log_progress(f"seed {seed}, logs in {folder}")
    options = PastOptions(
        events=args.events,
        kills=args.kills,
        partitions=args.partitions,
        skipped=args.skipped,
        others=args.others,
        seed=seed,
        rate=args.rate,
    )
    with local_kafka() as kafka:
        result = run_past(kafka.bootstrap_servers, "past.", options, folder=folder, log=log_progress)
    print("\n".join(lines_of(result)))  # noqa: T201
    return 1 if result.findings or result.empty_cells() else 0


if __name__ == "__main__":
    sys.exit(main())
