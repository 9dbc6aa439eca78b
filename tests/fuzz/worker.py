"""A worker process: maps its share of the records with limited address space, and writes JSON lines to stdout.

A record's index is in a file before the record is made, so that the parent knows which one it died of or hangs in.
"""

import argparse
import json
import resource
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from processor.memory import GarbageCollection
from tests.fuzz.checker import BLOCK_RECORDS, KINDS, CheckResult, check, make_case
from tests.fuzz.environment import make_environment

REPORT_INTERVAL_S = 1.0
FINDINGS_PER_RULE = 20  # of one process; the others are counted


@dataclass(slots=True)
class WorkerReport:
    """The counts and findings since the last line."""

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[dict[str, str]] = field(default_factory=list)
    slowest: dict[str, Any] = field(default_factory=dict)

    def add(self, kind: str, name: str, result: CheckResult, size_bytes: int) -> None:
        """Count a record."""
        self.counts.update({f"{kind}: {label}": count for label, count in result.labels.items()})
        self.counts[f"{kind} records"] += 1
        if result.cpu_seconds * 1000 > self.slowest.get("cpuMs", -1.0):  # wall time depends on other processes
            self.slowest = {
                "record": name,
                "ms": round(result.seconds * 1000, 1),
                "cpuMs": round(result.cpu_seconds * 1000, 1),
                "bytes": size_bytes,
            }


def main(arguments: list[str] | None = None) -> int:
    """Map the records of `--kind` from `--start` on, each `--step`-th, up to `--end`."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.worker", description=__doc__)
    parser.add_argument("--templates", type=Path, required=True)
    parser.add_argument("--index-file", type=Path, required=True)
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--memory-mib", type=int, required=True)
    for name in ("--seed", "--start", "--step", "--end"):
        parser.add_argument(name, type=int, required=True)
    args = parser.parse_args(arguments)
    resource.setrlimit(resource.RLIMIT_AS, (args.memory_mib << 20, args.memory_mib << 20))
    environment = make_environment(args.templates, seed=args.seed)
    garbage = GarbageCollection()  # as the engine has it, so that memory is as it is there
    report, rule_counts = WorkerReport(), Counter[str]()
    report_at = time.monotonic()
    block = args.start // BLOCK_RECORDS
    with args.index_file.open("wb", buffering=0) as index_file:
        for index in range(args.start, args.end, args.step):
            if index // BLOCK_RECORDS != block:
                block = index // BLOCK_RECORDS
                for configuration in environment.configurations[1:]:
                    configuration.forget_plans()
            garbage.collect()
            index_file.seek(0)
            index_file.write(index.to_bytes(8, "big"))
            case = make_case(environment, args.kind, index, seed=args.seed)
            result = check(case, environment)
            report.add(args.kind, case.name, result, len(case.record.value or b""))
            for finding in result.findings:
                rule_counts[finding.rule] += 1
                report.counts[f"finding {finding.rule}"] += 1
                if rule_counts[finding.rule] <= FINDINGS_PER_RULE:
                    report.findings.append(asdict(finding))
            if report.findings or time.monotonic() >= report_at:
                report_at = time.monotonic() + REPORT_INTERVAL_S
                write_line(report)
                report = WorkerReport()
    write_line(report)
    return 0


def write_line(report: WorkerReport) -> None:
    """To stdout."""
    peaks = {"residentKiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "addressKiB": peak_address_kib()}
    line = {"counts": report.counts, "findings": report.findings, "slowest": report.slowest, "peaks": peaks}
    print(json.dumps(line), flush=True)  # noqa: T201


def peak_address_kib() -> int:
    """The peak of this process's address space, as Linux counts it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmPeak:"):
            return int(line.split()[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
