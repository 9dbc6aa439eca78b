"""`python -m tests.soak`: workers under faults; 1 for a finding or an empty cell of the table."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.soak.coverage import CoverageTable
from tests.soak.installation import protocols_of
from tests.soak.iteration import Iteration
from tests.soak.soak import SoakOptions, run_soak

FINDINGS_SHOWN = 10  # of one iteration


def log_progress(text: str) -> None:
    """For people, on stderr."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)  # noqa: T201


def main() -> int:
    """Run iterations, print the table, write the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=None, help="of the first iteration; the next has the next number")
    parser.add_argument("--protocol", choices=("classic", "consumer", "both"), default="both")
    parser.add_argument("--rate", type=int, default=150, help="records a second on the input")
    parser.add_argument("--end-txn", type=int, default=20, help="least EndTxn requests lost, and responses lost")
    parser.add_argument("--report", type=Path, help="JSON, written after each iteration")
    args = parser.parse_args()
    seed = int(time.time()) if args.seed is None else args.seed
    logs = Path(tempfile.mkdtemp(prefix="soak-logs-"))
    log_progress(f"seed {seed}, {args.seconds:.0f} s, logs in {logs}")
    options = SoakOptions(args.seconds, seed, protocols_of(args.protocol), args.rate, logs)
    iterations: list[Iteration] = []
    table = CoverageTable(iterations, options.protocols)
    for iteration in run_soak(options, log_progress):
        iterations.append(iteration)
        log_progress(summary_line(iteration))
        for finding in iteration.findings[:FINDINGS_SHOWN]:
            log_progress(f"  {finding}")
        if args.report:
            args.report.write_text(report(table, seed, min_end_txn=args.end_txn))
    empty_cells = table.empty_cells(min_end_txn=args.end_txn)
    print(table)  # noqa: T201
    print_summary(iterations, empty_cells, rate=args.rate)
    return 1 if empty_cells or any(iteration.counted_findings for iteration in iterations) else 0


def print_summary(iterations: Sequence[Iteration], empty_cells: Sequence[str], *, rate: int) -> None:
    """Totals, cells that are empty, and how to repeat an iteration with findings."""
    totals = (
        f"{sum(iteration.counts.get('input', 0) for iteration in iterations)} records in",
        f"{sum(len(iteration.kills) for iteration in iterations)} kills",
        f"{sum(len(iteration.aborted) for iteration in iterations)} aborted records",
        f"{sum(len(iteration.counted_findings) for iteration in iterations)} findings",
    )
    lines = [f"{len(iterations)} iterations, {', '.join(totals)}"]
    if affected := [iteration for iteration in iterations if iteration.skipped_markers]:
        lines.append(
            f"in {len(affected)} of these iterations the broker's log says that it omitted transaction markers "
            f"(see tests/soak/installation.py): {sum(len(iteration.findings) for iteration in affected)} findings, of "
            f"which {sum(len(iteration.counted_findings) for iteration in affected)} are counted"
        )
    lines += [f"empty: {cell}" for cell in empty_cells]
    lines += [
        f"to repeat iteration {iteration.number}: python -m tests.soak --seed {iteration.seed} "
        f"--protocol {iteration.protocol} --rate {rate} --seconds 300"
        for iteration in iterations
        if iteration.counted_findings
    ]
    print("\n".join(lines))  # noqa: T201


def summary_line(iteration: Iteration) -> str:
    """What came of an iteration."""
    line = (
        f"iteration {iteration.number} in {iteration.seconds:.0f} s: {iteration.counts.get('input', 0)} records, "
        f"{len(iteration.kills)} kills, {len(iteration.aborted)} aborted records, "
        f"missed {iteration.missed or 'none'}: {len(iteration.findings)} findings"
    )
    if iteration.skipped_markers:
        line += f"; the broker omitted markers of {iteration.skipped_markers} transactions"
    return line


def report(table: CoverageTable, seed: int, *, min_end_txn: int) -> str:
    """The JSON of `--report`."""
    iterations = [iteration.as_json() for iteration in table.iterations]
    return json.dumps(
        {"seed": seed, "iterations": iterations, "table": table.as_json(min_end_txn=min_end_txn)}, indent=1
    )


if __name__ == "__main__":
    sys.exit(main())
