"""A working process: maps its share of the records under a limit of its address space, and writes JSON lines to stdout.

Its place is in a file before each record is made, so that the parent knows which record it died of or hangs in.
"""

import argparse
import gc
import json
import resource
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.checker import KINDS, Verdict, check, make_case
from tests.fuzz.environment import make_environment

REPORT_S = 1.0
GC_EVERY_OBJECTS = 50_000  # as the engine has it, so that memory is as it is there
FINDINGS_A_RULE = 20  # of one process; the others are counted


@dataclass(slots=True)
class Share:
    """What a process has seen since its last line."""

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[dict[str, str]] = field(default_factory=list)
    slowest: dict[str, Any] = field(default_factory=dict)

    def add(self, kind: str, name: str, verdict: Verdict, size_bytes: int) -> None:
        """Count a record."""
        self.counts.update({f"{kind}: {word}": count for word, count in verdict.seen.items()})
        self.counts[f"{kind} records"] += 1
        if verdict.cpu_seconds * 1000 > self.slowest.get("cpuMs", -1.0):  # other processes take none of it
            self.slowest = {
                "record": name,
                "ms": round(verdict.seconds * 1000, 1),
                "cpuMs": round(verdict.cpu_seconds * 1000, 1),
                "bytes": size_bytes,
            }


def main(arguments: list[str] | None = None) -> int:
    """Map the records of `--kind` from `--start` on, each `--step`-th, up to `--end`."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.worker", description=__doc__)
    parser.add_argument("--templates", type=Path, required=True)
    parser.add_argument("--place", type=Path, required=True)
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--memory-mib", type=int, required=True)
    for name in ("--seed", "--start", "--step", "--end"):
        parser.add_argument(name, type=int, required=True)
    args = parser.parse_args(arguments)
    resource.setrlimit(resource.RLIMIT_AS, (args.memory_mib << 20, args.memory_mib << 20))
    environment = make_environment(args.templates, seed=args.seed)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_EVERY_OBJECTS, 10, 10)
    share, found = Share(), Counter[str]()
    report_at = time.monotonic()
    with args.place.open("wb", buffering=0) as place:
        for index in range(args.start, args.end, args.step):
            place.seek(0)
            place.write(index.to_bytes(8, "big"))
            case = make_case(environment, args.kind, index, seed=args.seed)
            verdict = check(case, environment)
            share.add(args.kind, case.name, verdict, len(case.record.value or b""))
            for finding in verdict.findings:
                found[finding.rule] += 1
                share.counts[f"finding {finding.rule}"] += 1
                if found[finding.rule] <= FINDINGS_A_RULE:
                    share.findings.append(asdict(finding))
            if share.findings or time.monotonic() >= report_at:
                report_at = time.monotonic() + REPORT_S
                say(share)
                share = Share()
    say(share)
    return 0


def say(share: Share) -> None:
    """One line."""
    peaks = {"residentKiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "addressKiB": peak_address_kib()}
    seen = {"counts": share.counts, "findings": share.findings, "slowest": share.slowest, "peaks": peaks}
    print(json.dumps(seen), flush=True)  # noqa: T201


def peak_address_kib() -> int:
    """The most address space that this process has had, as Linux counts it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmPeak:"):
            return int(line.split()[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
