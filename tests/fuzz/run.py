"""The worker processes from outside: their shares, their reports, and those that die or hang."""

import json
import queue
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from processor.domain.channel import Channel
from processor.domain.reasons import DecisionReason, FailureReason, Reason, TemplateReason
from tests.fuzz.checker import EXTREME, MUTATED
from tests.fuzz.templates import template_id

WORKER: Final = (sys.executable, "-m", "tests.fuzz.worker")
ROOT: Final = Path(__file__).parent.parent.parent
HANG_TIMEOUT_S: Final = 60.0  # at one record; the slowest takes a few
START_TIMEOUT_S: Final = 600.0  # before the first record
SLOW_CPU_MS: Final = 2_000.0  # of CPU: ten times the slowest, 0.2 s for a table of 8,000 rows
MAX_DEATHS: Final = 10  # then the run is aborted
PROGRESS_INTERVAL_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What to map: `counts` by kind, one kind after the other."""

    templates: Path
    seed: int
    counts: Mapping[str, int]
    processes: int
    memory_mib: int


@dataclass(slots=True)
class Statistics:
    """Of all processes."""

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[dict[str, str]] = field(default_factory=list)
    slowest: dict[str, Any] = field(default_factory=dict)
    resident_kib: int = 0
    address_kib: int = 0
    seconds: float = 0.0

    @property
    def finding_count(self) -> int:
        """Findings, with those that are only counted."""
        return sum(count for label, count in self.counts.items() if label.startswith("finding "))

    def add(self, report: Mapping[str, Any]) -> None:
        """A line of a process."""
        self.counts.update(report["counts"])
        self.findings += report["findings"]
        if report["slowest"].get("cpuMs", -1.0) > self.slowest.get("cpuMs", -1.0):
            self.slowest = report["slowest"]
        if report["slowest"].get("cpuMs", 0.0) > SLOW_CPU_MS:
            self.add_finding("SLOW", report["slowest"]["record"], f"{report['slowest']['cpuMs']} ms of CPU")
        self.resident_kib = max(self.resident_kib, report["peaks"]["residentKiB"])
        self.address_kib = max(self.address_kib, report["peaks"]["addressKiB"])

    def add_finding(self, rule: str, case: str, text: str) -> None:
        """One of the parent's own."""
        self.counts[f"finding {rule}"] += 1
        self.findings.append({"rule": rule, "case": case, "text": text})

    def not_covered(self, templates: int) -> list[str]:
        """What a run of this size must cover and does not, in words; empty for a small run."""
        counts = self.counts
        small = counts["mutated records"] < MIN_MUTATED or counts["extreme records"] < MIN_EXTREME
        if small:
            return []
        required = [f"{kind}: {label}" for kind, labels in MUST_COVER.items() for label in labels]
        missing = [name for name in required if not counts[name]]
        for (kind, label), minimum in MIN_RATIOS.items():
            ratio = counts[f"{kind}: {label}"] / counts[f"{kind} records"]
            if ratio < minimum:
                missing.append(f"{kind}: {label} in {ratio:.0%} of the records, at least {minimum:.0%}")
        ids = [template_id(number) for number in range(templates)]
        used = [name for name in ids if any(counts[f"{kind}: rendered {name}"] for kind in (EXTREME, MUTATED))]
        if len(used) < MIN_TEMPLATE_RATIO * templates:
            unused = sorted(set(ids) - set(used))
            missing.append(f"{len(unused)} generated templates are never rendered: {', '.join(unused)}")
        return missing

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "mutated": self.counts["mutated records"],
            "extreme": self.counts["extreme records"],
            "findings": self.finding_count,
            "examples": self.findings[:100],
            "seconds": round(self.seconds, 1),
            "slowest": self.slowest,
            "peakResidentMiB": round(self.resident_kib / 1024, 1),
            "peakAddressMiB": round(self.address_kib / 1024, 1),
            "counts": dict(sorted(self.counts.items())),
        }


MIN_MUTATED: Final = 100_000
MIN_EXTREME: Final = 5_000
MIN_TEMPLATE_RATIO: Final = 0.9  # conditions of some hold for no event, and a few are inactive
MIN_RATIOS: Final = {
    (EXTREME, "messages created"): 0.75,
    (MUTATED, "messages created"): 0.15,
}
# Reasons that mapping alone gives. The others are the engine's (MAPPING_ERROR and OUTPUT_REFUSED, which the checker
# makes of one in six records), or of older records that are read back (OTHER).
_RECORD_REASONS: Final = set(Reason) - {
    Reason.MAPPING_ERROR,
    Reason.OUTPUT_REFUSED,
    Reason.OTHER,
    Reason.TEMPLATE_FAILED,
}
MUST_COVER: Final[Mapping[str, Sequence[str]]] = {
    MUTATED: (
        "deferred",
        *(f"dead letter {reason}" for reason in sorted(_RECORD_REASONS - {Reason.EVENT_TOO_LARGE})),
        *(f"decision {reason}" for reason in DecisionReason if reason is not DecisionReason.ALREADY_CREATED),
    ),
    EXTREME: (
        f"dead letter {Reason.EVENT_TOO_LARGE}",
        *(f"failed {reason}" for reason in TemplateReason if reason is not TemplateReason.INVALID_JSON_BODY_SYNTAX),
        *(f"{channel} QUEUED" for channel in Channel if channel is not Channel.EVENT_STREAM),
        f"{Channel.EVENT_STREAM} SENT",
        f"{Channel.EMAIL} {FailureReason.MISSING_EMAIL_RECIPIENT_ADDRESS}",
        f"{Channel.EMAIL} {FailureReason.UNDEFINED_DESTINATION}",
        f"{Channel.SMS} {FailureReason.MISSING_SMS_RECIPIENT}",
        f"{Channel.SMS} {FailureReason.SMS_TOO_LONG}",
        f"{Channel.WEB_HOOK} {FailureReason.UNDEFINED_DESTINATION}",
        *("body application/json", "body application/xml", "body text/html", "body text/plain; charset=UTF-8"),
    ),
}


@dataclass(frozen=True, slots=True)
class _End:
    """How a process has ended: well, or with a finding."""

    rule: str = ""
    text: str = ""


class _Process:
    """A worker process with its share of a kind; a new one goes on after the record that it died of."""

    def __init__(self, run: RunPlan, kind: str, number: int, *, folder: Path, worker: Sequence[str]) -> None:
        self.kind = kind
        self.number = number
        self.lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._run = run
        self._worker = worker
        self._index_file = folder / f"index-{number}"
        self._errors = folder / f"stderr-{number}"
        self.start(number)

    def start(self, first: int) -> None:
        """Start at record `first`."""
        run = self._run
        options = {
            "--templates": run.templates,
            "--index-file": self._index_file,
            "--kind": self.kind,
            "--memory-mib": run.memory_mib,
            "--seed": run.seed,
            "--start": first,
            "--step": run.processes,
            "--end": run.counts[self.kind],
        }
        self._index_file.write_bytes(b"")  # the process writes there when it is at its first record
        self._at, self._moved_at = -1, time.monotonic()
        command = [*self._worker, *(str(part) for pair in options.items() for part in pair)]
        with self._errors.open("wb") as errors:
            self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT, text=True)
        threading.Thread(target=self._read_lines, args=(self.child,), daemon=True).start()

    def _read_lines(self, child: "subprocess.Popen[str]") -> None:
        assert child.stdout is not None
        with child.stdout as lines:
            for text in lines:
                self.lines.put(text)
        self.lines.put(None)

    def is_hanging(self, timeout_s: float) -> bool:
        """Whether it has been at the same record for over `timeout_s`; before the first, for `START_TIMEOUT_S`."""
        at = self._index()
        if at != self._at:
            self._at, self._moved_at = at, time.monotonic()
        return time.monotonic() - self._moved_at > (timeout_s if at >= 0 else START_TIMEOUT_S)

    def wait(self) -> "_End":
        """Wait for the process, which has closed its output."""
        code = self.child.wait()
        if code == 0:
            return _End()
        return _End("DIED", f"exit code {code}: {self._errors.read_text(errors='replace')[-500:]}")

    def restart(self) -> bool:
        """Start again after the record that ended it. False when that was the last, or when it did not get to any."""
        following = self._index() + self._run.processes
        more = self._index() >= 0 and following < self._run.counts[self.kind]
        if more:
            self.start(following)
        return more

    @property
    def case(self) -> str:
        """The record that it is at; number -1: before the first."""
        return f"{self.kind}:{self._index()}"

    def _index(self) -> int:
        written = self._index_file.read_bytes()
        return int.from_bytes(written, "big") if written else -1


def run(
    plan: RunPlan,
    folder: Path,
    *,
    log_progress: Callable[[str], None],
    worker: Sequence[str] = WORKER,
    hang_timeout_s: float = HANG_TIMEOUT_S,
) -> Statistics:
    """Map all records of the plan; blocks until they are done, or too many processes have died."""
    statistics, began, deaths = Statistics(), time.monotonic(), 0
    progress_at = began + PROGRESS_INTERVAL_S
    for kind, count in plan.counts.items():
        working = [
            _Process(plan, kind, number, folder=folder, worker=worker) for number in range(min(plan.processes, count))
        ]
        try:
            while working and deaths < MAX_DEATHS:
                for process in list(working):
                    end = _collect(process, statistics, hang_timeout_s=hang_timeout_s)
                    if end is None:
                        continue
                    if end.rule:
                        statistics.add_finding(end.rule, process.case, end.text)
                        deaths += 1
                    if not end.rule or not process.restart():
                        working.remove(process)
                if time.monotonic() >= progress_at:
                    progress_at = time.monotonic() + PROGRESS_INTERVAL_S
                    log_progress(_progress(statistics, kind, count))
                time.sleep(0.05)
        finally:
            for process in working:
                process.child.kill()
                process.child.wait()
    statistics.seconds = time.monotonic() - began
    return statistics


def _collect(process: _Process, statistics: Statistics, *, hang_timeout_s: float) -> _End | None:
    """Add what a process has written to the statistics; None while it works, else how it ended. Kills a hanging one."""
    while not process.lines.empty():
        text = process.lines.get()
        if text is None:
            return process.wait()
        statistics.add(json.loads(text))
    if process.is_hanging(hang_timeout_s):
        process.child.kill()
        while process.lines.get() is not None:
            pass
        process.child.wait()
        return _End("HUNG", "at the same record for too long")
    return None


def _progress(statistics: Statistics, kind: str, count: int) -> str:
    done = statistics.counts[f"{kind} records"]
    return (
        f"{kind}: {done} of {count}, {statistics.finding_count} findings, "
        f"slowest {statistics.slowest.get('cpuMs')} ms, peak {statistics.resident_kib / 1024:.0f} MiB"
    )
