"""`python -m tests.fuzz`: mutated and extreme events over all templates, in two processes of 1 GiB; 1 for a finding.

From the record's bytes to the bytes of its outputs. `--only extreme:17` repeats one record of a seed, in this process,
and prints it and its outcome.
"""

import argparse
import base64
import json
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.fuzz.checker import EXTREME, KINDS, MUTATED, check, make_case
from tests.fuzz.environment import make_environment
from tests.fuzz.run import RunPlan, Statistics, run
from tests.fuzz.templates import write_templates

EXAMPLES_SHOWN = 20


def main(arguments: list[str] | None = None) -> int:
    """Run, print the counts and a summary line; with `--json` one object on stdout."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--mutated", type=int, default=500_000)
    parser.add_argument("--extreme", type=int, default=20_000)
    parser.add_argument("--templates", type=int, default=300, help="generated ones, beside the shipped ones")
    parser.add_argument("--seed", type=int, default=None, help="default: from the clock; it is printed")
    parser.add_argument("--memory-mib", type=int, default=1024, help="address space of each process")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", help="a record, as in extreme:17")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    seed = int(time.time()) if args.seed is None else args.seed
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        templates = Path(folder, "templates")
        write_templates(templates, count=args.templates, seed=seed)
        if args.only:
            return show(args.only, templates, seed=seed, memory_mib=args.memory_mib)
        plan = RunPlan(templates, seed, {EXTREME: args.extreme, MUTATED: args.mutated}, args.processes, args.memory_mib)
        log_progress(
            f"seed {seed}, Python {platform.python_version()}, {args.memory_mib} MiB for each of {args.processes}"
        )
        statistics = run(plan, Path(folder), log_progress=log_progress)
    not_covered = statistics.not_covered(args.templates)
    if args.json:
        print(json.dumps({"seed": seed, "notCovered": not_covered, **statistics.as_json()}))  # noqa: T201
    else:
        print(table(statistics))  # noqa: T201
        print(line(statistics, seed))  # noqa: T201
    for finding in distinct(statistics.findings)[:EXAMPLES_SHOWN]:
        log_progress(f"{finding['rule']} {finding['case']}: {finding['text']}")
        log_progress(
            f"  to repeat: python -m tests.fuzz --seed {seed} --templates {args.templates} --only {finding['case']}"
        )
    for case in not_covered:
        log_progress(f"not covered: {case}")
    return 1 if statistics.finding_count or not_covered else 0


def distinct(findings: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """The first finding of each rule and last line of text, which is the code where an error was raised."""
    first: dict[tuple[str, str], Mapping[str, str]] = {}
    for finding in findings:
        first.setdefault((finding["rule"], finding["text"].strip().rpartition("\n")[2]), finding)
    return list(first.values())


def log_progress(text: str) -> None:
    """For people, on stderr."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)  # noqa: T201


def table(statistics: Statistics) -> str:
    """All counts but those of single templates."""
    counts = [(label, count) for label, count in sorted(statistics.counts.items()) if ": rendered " not in label]
    return "\n".join(f"{count:>9} {label}" for label, count in counts)


def line(statistics: Statistics, seed: int) -> str:
    """The summary."""
    slowest, counts = statistics.slowest, statistics.counts
    return (
        f"seed {seed}: {counts['mutated records']} mutated and {counts['extreme records']} extreme records in "
        f"{statistics.seconds:.0f} s, {statistics.finding_count} findings; slowest {slowest.get('record')}: "
        f"{slowest.get('cpuMs')} ms of CPU ({slowest.get('ms')} ms, {slowest.get('bytes')} bytes); peak "
        f"{statistics.resident_kib / 1024:.0f} MiB resident, {statistics.address_kib / 1024:.0f} MiB of address space"
    )


def show(name: str, templates: Path, *, seed: int, memory_mib: int) -> int:
    """Map one record under the same limit; prints it, as JSON with all of its bytes, and its outcome."""
    kind, _, number = name.partition(":")
    if kind not in KINDS or not number.isdecimal():
        log_progress(f"--only takes a kind and a number, as in extreme:17, got: {name}")
        return 2
    resource.setrlimit(resource.RLIMIT_AS, (memory_mib << 20, memory_mib << 20))
    environment = make_environment(templates, seed=seed)
    case = make_case(environment, kind, int(number), seed=seed)
    result = check(case, environment)
    record: dict[str, Any] = {
        "case": case.name,
        "configuration": case.configuration.name,
        "outputFormats": case.output_formats,
        "place": str(case.record.position),
        "timestampMs": case.record.timestamp_ms,
        "headersFault": case.record.headers_error,
        "key": encoded(case.record.key),
        "headers": [[header, encoded(value)] for header, value in case.record.headers],
        "value": encoded(case.record.value),
        "ms": round(result.seconds * 1000, 1),
        "outcome": dict(sorted(result.labels.items())),
        "findings": [[finding.rule, finding.text] for finding in result.findings],
    }
    print(json.dumps(record))  # noqa: T201
    for finding in result.findings:
        log_progress(f"{finding.rule} {finding.text}")
    return 1 if result.findings else 0


def encoded(data: bytes | None) -> str | None:
    """Bytes for JSON: base64; null stays null."""
    return None if data is None else base64.b64encode(data).decode()


if __name__ == "__main__":
    sys.exit(main())
