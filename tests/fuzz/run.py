"""The working processes from outside: their shares, what they report, and those that die or hang."""

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

from processor.domain.message import Channel
from processor.domain.reasons import DecisionReason, FailureReason, Reason, TemplateReason
from tests.fuzz.checker import EXTREME, MUTATED
from tests.fuzz.templates import template_id

WORKER: Final = (sys.executable, "-m", "tests.fuzz.worker")
ROOT: Final = Path(__file__).parent.parent.parent
HUNG_S: Final = 60.0  # at one record; the slowest seen takes a few
START_S: Final = 600.0  # before the first record
SLOW_MS: Final = 2_000.0  # of CPU: ten times the slowest seen, which took 0.2 s for a table of 8,000 rows
DEATHS: Final = 10  # then the run is given up
SAY_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Run:
    """What is to be mapped: `counts` by kind, one kind after the other."""

    templates: Path
    seed: int
    counts: Mapping[str, int]
    processes: int
    memory_mib: int


@dataclass(slots=True)
class Figures:
    """What all processes have seen."""

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[dict[str, str]] = field(default_factory=list)
    slowest: dict[str, Any] = field(default_factory=dict)
    resident_kib: int = 0
    address_kib: int = 0
    seconds: float = 0.0

    @property
    def finding_count(self) -> int:
        """Findings, also those that are only counted."""
        return sum(count for word, count in self.counts.items() if word.startswith("finding "))

    def add(self, share: Mapping[str, Any]) -> None:
        """A line of a process."""
        self.counts.update(share["counts"])
        self.findings += share["findings"]
        if share["slowest"].get("cpuMs", -1.0) > self.slowest.get("cpuMs", -1.0):
            self.slowest = share["slowest"]
        if share["slowest"].get("cpuMs", 0.0) > SLOW_MS:
            self.find("SLOW", share["slowest"]["record"], f"{share['slowest']['cpuMs']} ms of CPU")
        self.resident_kib = max(self.resident_kib, share["peaks"]["residentKiB"])
        self.address_kib = max(self.address_kib, share["peaks"]["addressKiB"])

    def find(self, rule: str, case: str, text: str) -> None:
        """A finding of the parent's."""
        self.counts[f"finding {rule}"] += 1
        self.findings.append({"rule": rule, "case": case, "text": text})

    def not_reached(self, templates: int) -> list[str]:
        """What a run of this size must have met and has not: else it shows nothing. Empty for a small run."""
        counts = self.counts
        small = counts["mutated records"] < LEAST_MUTATED or counts["extreme records"] < LEAST_EXTREME
        if small:
            return []
        missing = [
            f"{kind}: {word}" for kind, words in MUST_REACH.items() for word in words if not counts[f"{kind}: {word}"]
        ]
        for (kind, word), least in LEAST_SHARES.items():
            share = counts[f"{kind}: {word}"] / counts[f"{kind} records"]
            if share < least:
                missing.append(f"{kind}: {word} in {share:.0%} of the records, at least {least:.0%}")
        ids = [template_id(number) for number in range(templates)]
        used = [name for name in ids if any(counts[f"{kind}: rendered {name}"] for kind in (EXTREME, MUTATED))]
        if len(used) < LEAST_TEMPLATES * templates:
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


LEAST_MUTATED: Final = 100_000
LEAST_EXTREME: Final = 5_000
LEAST_TEMPLATES: Final = 0.9  # conditions of some hold for nobody, and a few are inactive
LEAST_SHARES: Final = {
    (EXTREME, "messages made"): 0.75,
    (MUTATED, "messages made"): 0.15,
}
# Reasons that mapping alone gives. The others are the engine's (MAPPING_ERROR and OUTPUT_REFUSED, made of one in six
# records on the side), or of older records that are read back (OTHER).
_RECORD_REASONS: Final = set(Reason) - {
    Reason.MAPPING_ERROR,
    Reason.OUTPUT_REFUSED,
    Reason.OTHER,
    Reason.TEMPLATE_FAILED,
}
MUST_REACH: Final[Mapping[str, Sequence[str]]] = {
    MUTATED: (
        "wait",
        *(f"dead letter {reason}" for reason in sorted(_RECORD_REASONS - {Reason.EVENT_TOO_LARGE})),
        *(f"decision {reason}" for reason in DecisionReason),
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


class _Process:
    """One working process with its share of a kind; a new one takes its place behind the record that it died of."""

    def __init__(self, run: Run, kind: str, number: int, *, folder: Path, worker: Sequence[str]) -> None:
        self.kind = kind
        self.number = number
        self.lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._run = run
        self._worker = worker
        self._place = folder / f"place-{number}"
        self._errors = folder / f"stderr-{number}"
        self.start(number)

    def start(self, first: int) -> None:
        """Begin at record `first`."""
        run = self._run
        given = {
            "--templates": run.templates,
            "--place": self._place,
            "--kind": self.kind,
            "--memory-mib": run.memory_mib,
            "--seed": run.seed,
            "--start": first,
            "--step": run.processes,
            "--end": run.counts[self.kind],
        }
        self._place.write_bytes(b"")  # it writes there when it is at its first record
        self._at, self._moved_at = -1, time.monotonic()
        command = [*self._worker, *(str(part) for pair in given.items() for part in pair)]
        with self._errors.open("wb") as errors:
            self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT, text=True)
        threading.Thread(target=self._listen, args=(self.child,), daemon=True).start()

    def _listen(self, child: "subprocess.Popen[str]") -> None:
        assert child.stdout is not None
        with child.stdout as lines:
            for text in lines:
                self.lines.put(text)
        self.lines.put(None)

    def hangs(self, patience_s: float) -> bool:
        """Whether it has been at the same record for too long. Reading templates before the first may take its time."""
        at = self._index()
        if at != self._at:
            self._at, self._moved_at = at, time.monotonic()
        return time.monotonic() - self._moved_at > (patience_s if at >= 0 else START_S)

    def end(self) -> str:
        """Wait for the process, which is at its end; empty when it is a good one, else what it ended of."""
        code = self.child.wait()
        return "" if code == 0 else f"exit code {code}: {self._errors.read_text(errors='replace')[-500:]}"

    def go_on(self) -> bool:
        """Start again behind the record that ended it. False when that was the last, or when it did not get to any."""
        following = self._index() + self._run.processes
        left = self._index() >= 0 and following < self._run.counts[self.kind]
        if left:
            self.start(following)
        return left

    @property
    def case(self) -> str:
        """The record that it is at; number -1: before the first."""
        return f"{self.kind}:{self._index()}"

    def _index(self) -> int:
        written = self._place.read_bytes()
        return int.from_bytes(written, "big") if written else -1


def run(
    plan: Run,
    folder: Path,
    *,
    say: Callable[[str], None],
    worker: Sequence[str] = WORKER,
    hung_s: float = HUNG_S,
) -> Figures:
    """Map all records of the plan; blocks until they are done, or too many processes have died."""
    figures, began, deaths = Figures(), time.monotonic(), 0
    say_at = began + SAY_S
    for kind, count in plan.counts.items():
        working = [
            _Process(plan, kind, number, folder=folder, worker=worker) for number in range(min(plan.processes, count))
        ]
        try:
            while working and deaths < DEATHS:
                for process in list(working):
                    for words in _ended(process, figures, hung_s=hung_s):
                        if words:
                            rule = "HUNG" if words == _HUNG else "DIED"
                            figures.find(rule, process.case, words)
                            deaths += 1
                        if not words or not process.go_on():
                            working.remove(process)
                if time.monotonic() >= say_at:
                    say_at = time.monotonic() + SAY_S
                    say(_progress(figures, kind, count))
                time.sleep(0.05)
        finally:
            for process in working:
                process.child.kill()
                process.child.wait()
    figures.seconds = time.monotonic() - began
    return figures


_HUNG: Final = "at the same record for too long"


def _ended(process: _Process, figures: Figures, *, hung_s: float) -> Sequence[str]:
    """Take what a process has written; nothing while it works, else why it ended: empty words for a good end."""
    while not process.lines.empty():
        text = process.lines.get()
        if text is None:
            return [process.end()]
        figures.add(json.loads(text))
    if process.hangs(hung_s):
        process.child.kill()
        while process.lines.get() is not None:
            pass
        process.child.wait()
        return [_HUNG]
    return []


def _progress(figures: Figures, kind: str, count: int) -> str:
    done = figures.counts[f"{kind} records"]
    return (
        f"{kind}: {done} of {count}, {figures.finding_count} findings, slowest {figures.slowest.get('cpuMs')} ms, "
        f"peak {figures.resident_kib / 1024:.0f} MiB"
    )
