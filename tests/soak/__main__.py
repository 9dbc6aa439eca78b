"""`python -m tests.chaos`: the long run under fire; ends by itself, 1 when anything was found."""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.rounds import Round, Table, rounds
from tests.chaos.site import of_protocols


def tell(text: str) -> None:
    """Progress, for people."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)  # noqa: T201


def main() -> int:
    """Play rounds, print the table, write the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=None, help="of the first round; the next has the next number")
    parser.add_argument("--protocol", choices=("classic", "consumer", "both"), default="both")
    parser.add_argument("--rate", type=int, default=150, help="records a second on the input")
    parser.add_argument("--end-txn", type=int, default=20, help="least EndTxn arrived, and not arrived")
    parser.add_argument("--report", type=Path, help="JSON, written after each round")
    args = parser.parse_args()
    seed = int(time.time()) if args.seed is None else args.seed
    logs = Path(tempfile.mkdtemp(prefix="chaos-logs-"))
    tell(f"seed {seed}, {args.seconds:.0f} s, workers' logs in {logs}")
    done: list[Round] = []
    protocols = of_protocols(args.protocol)
    for round_ in rounds(seconds=args.seconds, seed=seed, protocol=args.protocol, rate=args.rate, logs=logs, tell=tell):
        done.append(round_)
        tell(_line(round_))
        for finding in round_.findings[:10]:
            tell(f"  {finding}")
        if args.report:
            args.report.write_text(_report(done, Table(done, protocols), seed, args.end_txn))
    table = Table(done, protocols)
    empty = table.empty(least_end_txn=args.end_txn)
    faulty = [round_ for round_ in done if round_.held_against_us]
    print(table)  # noqa: T201
    print(  # noqa: T201
        f"{len(done)} rounds, {sum(r.counts.get('input', 0) for r in done)} records in, "
        f"{sum(len(r.kills) for r in done)} kills, {sum(len(r.hidden) for r in done)} aborted records, "
        f"{sum(len(r.held_against_us) for r in done)} findings"
    )
    if spoilt := [r for r in done if r.skipped_markers]:
        print(  # noqa: T201
            f"in {len(spoilt)} of these rounds the broker itself says that it ended transactions without telling all "
            f"of their partitions (see tests/chaos/site.py): {sum(len(r.findings) for r in spoilt)} findings, of which "
            f"{sum(len(r.held_against_us) for r in spoilt)} are counted"
        )
    for text in empty:
        print(f"empty: {text}")  # noqa: T201
    for round_ in faulty:
        print(  # noqa: T201
            f"to repeat round {round_.number}: python -m tests.chaos --seed {round_.seed} "
            f"--protocol {round_.protocol} --rate {args.rate} --seconds 300"
        )
    return 1 if faulty or empty else 0


def _line(round_: Round) -> str:
    kinds = f"{len(round_.findings)} findings" if round_.findings else "0 findings"
    if round_.skipped_markers:
        kinds += f"; the broker left out markers of {round_.skipped_markers} transactions"
    return (
        f"round {round_.number} in {round_.seconds:.0f} s: {round_.counts.get('input', 0)} records, "
        f"{len(round_.kills)} kills, {len(round_.hidden)} aborted records, missed {round_.missed or 'none'}: {kinds}"
    )


def _report(done: list[Round], table: Table, seed: int, least_end_txn: int) -> str:
    return json.dumps(
        {
            "seed": seed,
            "rounds": [round_.as_json() for round_ in done],
            "table": table.as_json(least_end_txn=least_end_txn),
        },
        indent=1,
    )


if __name__ == "__main__":
    sys.exit(main())
