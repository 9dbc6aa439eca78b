"""Replays beside `run`, killed: what is done to one installation, and what was seen. See past.py."""

import contextlib
import json
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from processor.engine.step import Step
from tests.soak.checker import Finding, Kind, offset_findings
from tests.soak.expected import Record, Sent, Valid, valid_record
from tests.soak.history import end_offsets, group_positions
from tests.soak.installation import PARTITIONS, TEMPLATES_DIR, create_topics, soak_installation
from tests.soak.latency import Latency, LatencyReader, p99_ms
from tests.soak.past_checker import Author, PastCheck, check_past, report_findings
from tests.soak.past_expected import (
    LATER_TEMPLATE,
    PastInput,
    PastOutputs,
    ReplayFigures,
    past_outputs,
    replay_figures,
    sent_again,
)
from tests.soak.past_kills import OPEN_STEPS, RANDOM_LABELS, TRANSACTION_STEPS, Attempt, DoneKill, plan_kills
from tests.soak.workers import EVENTUALLY_S, LAG_POLL_S, lag, wait_until_caught_up
from tests.soak.workload import InputProducer, Workload, mixed_records, partition_of
from tests.support.installation import ROOT, Installation
from tests.support.waiting import becomes_true

LATER_TEMPLATES_DIR = Path(__file__).parent / "later_templates"
SENT_TWICE_RATIO: Final = 0.01  # of the skipped ones: mapped before them too, and as many mapped after them
REPAYMENT_RATIO: Final = 0.53  # of the workload: valid repayments, of which some become the later template's events
NUMBERS_OF_SEGMENT: Final = 10_000_000  # so that no two segments give an account the same transaction number
SLICE_RECORDS: Final = 5_000  # below what a producer's queue takes
TRANSACTIONS: Final = 40  # of each replay, if it is not killed
LIVE_SLICE_S: Final = 0.02
COMMAND_TIMEOUT_S: Final = 600.0
STOP_TIMEOUT_S: Final = 30.0
POSITIONS_INTERVAL_S: Final = 2.0

CALM, REPLAYING, KILLING = "before", "during", "while replays are killed"

LogProgress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PastOptions:
    """`kills` is the number of random moments, over both replays; `steps` are those at which each is killed too.

    `others` is about how many mapped events the later template would have had; `rate` is of new events a second while
    replays run; `calm_s` is how long latency is measured before them, and `replay_s` how long a replay would take if it
    was not killed; `processes` is how many of `run` there are.
    """

    events: int = 200_000
    kills: int = 10
    partitions: int = PARTITIONS
    skipped: int = 4_000
    others: int = 1_000
    seed: int = 1
    rate: int = 500
    steps: Sequence[Step] = TRANSACTION_STEPS
    calm_s: float = 30.0
    replay_s: float = 40.0
    processes: int = 2


@dataclass
class PastResult:
    """What was seen. `times_s` are the begins and ends of what latency is measured in, by name."""

    options: PastOptions
    findings: list[Finding] = field(default_factory=list)
    kills: list[DoneKill] = field(default_factory=list)
    check: PastCheck = field(default_factory=PastCheck)
    latencies: Sequence[Latency] = ()
    times_s: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    figures: dict[str, ReplayFigures] = field(default_factory=dict)
    past: PastInput | None = None
    installation: Installation | None = None

    def kills_at(self, author: Author, label: str) -> tuple[int, int]:
        """How many hit there, and how many records they left in transactions that were aborted."""
        kills = [kill for kill in self.kills if (kill.author, kill.label) == (author, label)]
        return len(kills), sum(kill.aborted_count(self.check.aborted) for kill in kills)

    def empty_cells(self) -> list[str]:
        """Proofs that are missing, in words."""
        cells = []
        for author in (Author.SKIPPED, Author.OTHERS):
            for step in self.options.steps:
                kills, aborted = self.kills_at(author, step)
                if not kills:
                    cells.append(f"{step} × {author}: no kill")
                elif step in OPEN_STEPS and not aborted:
                    cells.append(f"{step} × {author}: no kill left records of an open transaction")
        hit = Counter(kill.label for kill in self.kills if kill.label in RANDOM_LABELS)
        if hit.total() < self.options.kills:
            cells.append(f"random moments: {hit.total()} of {self.options.kills}")
        if self.options.kills > 1:
            cells += [f"{label}: no kill" for label in RANDOM_LABELS if not hit[label]]
        return cells

    def p99_ms(self, name: str) -> float | None:
        """Over the stretches of that name."""
        return p99_ms(self.latencies, self.times_s.get(name, ()))


def run_past(servers: str, prefix: str, options: PastOptions, *, folder: Path, log: LogProgress) -> PastResult:
    """All of it, on a broker that is there; `folder` is empty, gets logs and stays. Blocks."""
    return _PastSoak(servers, prefix, options, folder, log).run()


class _PastSoak:
    """One installation, and what is done to it, in the order of `run`."""

    def __init__(self, servers: str, prefix: str, options: PastOptions, folder: Path, log: LogProgress) -> None:
        self._options, self._folder, self._log = options, folder, log
        self._rng = random.Random(options.seed)
        templates = folder / "templates"
        shutil.copytree(TEMPLATES_DIR, templates)
        installation = soak_installation(
            servers, prefix, protocol="classic", partitions=options.partitions, templates_dir=templates
        )
        self._installation = installation.with_env({"PROCESSOR_STATE_DIR": str(folder / "state")})
        self._producer = InputProducer(self._installation)
        self._partition = options.seed % options.partitions
        self._skipped = range(0)
        self._later_from: dict[int, int] = {}
        self._startup_s = 0.0  # about, until a replay has found what is missing in one partition
        self._result = PastResult(options, installation=self._installation)

    def run(self) -> PastResult:
        result = self._result
        create_topics(self._installation)
        self._fill()
        self._add_template()
        expected = past_outputs(self._past())
        self._log("run goes on with new events")
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._running())
            stack.callback(self._wait_until_caught_up)  # once nothing is produced any more
            stack.enter_context(self._producing())
            reader = stack.enter_context(LatencyReader(self._installation))
            stack.enter_context(self._watched_positions())
            self._wait_until_at_work()
            with self._timed(CALM):
                time.sleep(self._options.calm_s)
            self._dry_runs(expected)
            self._replay(Author.SKIPPED, len(self._skipped))
            self._replay(Author.OTHERS, replay_figures(expected.others).events)
            result.latencies = reader.stop()
        self._replay_again()
        self._check()
        return result

    # Events with outcomes, and some without between them

    def _fill(self) -> None:
        options = self._options
        mapped = options.events - options.skipped
        first = list(islice(self._records(0), mapped // 2))
        with self._running():
            self._send(first)
            self._wait_until_caught_up()
        of_partition = [record for record in first if partition_of(record.key, options.partitions) == self._partition]
        skipped_records = (
            record for record in self._records(1) if partition_of(record.key, options.partitions) == self._partition
        )
        twice = max(1, round(SENT_TWICE_RATIO * options.skipped))
        skipped = list(islice(skipped_records, options.skipped - twice))
        again = self._rng.sample(sent_again(skipped), twice)
        self._skip(self._mixed(skipped, self._rng.sample(sent_again(of_partition), twice)))
        second = list(islice(self._records(2), mapped - mapped // 2 - twice))
        with self._running():
            self._send(self._mixed(second, again))
            self._wait_until_caught_up()

    def _records(self, segment: int) -> Iterator[Record]:
        """An endless workload of one segment, in which some repayments are reversals, which no template is for yet."""
        options = self._options
        limit = 2**32 * options.others / (REPAYMENT_RATIO * options.events)
        for record in mixed_records(seed=options.seed * 10 + segment, numbers_from=segment * NUMBERS_OF_SEGMENT):
            match record.expectation:
                case Valid(event) if event["event"] == "LOAN_REPAYMENT" and crc32(event["eventId"].encode()) < limit:
                    yield valid_record({**event, "event": LATER_TEMPLATE.event})
                case _:
                    yield record

    def _mixed(self, records: Sequence[Record], others: Iterable[Record]) -> list[Record]:
        """`others` at random places among `records`."""
        mixed = list(records)
        for record in others:
            mixed.insert(self._rng.randint(0, len(mixed)), record)
        return mixed

    def _send(self, records: Sequence[Record]) -> None:
        for begin in range(0, len(records), SLICE_RECORDS):
            self._producer.send(records[begin : begin + SLICE_RECORDS])
        self._log(f"{len(records)} events sent")

    def _skip(self, records: Sequence[Record]) -> None:
        """Send records, and set the stopped group behind them."""
        begin = self._end_offsets()[self._partition]
        self._producer.send(records)
        self._skipped = range(begin, self._end_offsets()[self._partition])
        where = ("--partition", str(self._partition), "--to", str(self._skipped.stop))
        saved = ("--save", str(self._folder / "positions.json"))
        code, _ = self._command(("positions", "--yes", "--json", *where, *saved, "--because", "the proof skips them"))
        if code != 0:
            self._result.findings.append(Finding(Kind.EXIT, f"`positions` ended with {code}"))
        self._log(f"skipped: partition {self._partition}, offsets {self._skipped.start} to {self._skipped.stop - 1}")

    def _add_template(self) -> None:
        """While no process runs, so that it is known from where on it counts."""
        self._later_from = self._end_offsets()
        templates = self._folder / "templates"
        for file in LATER_TEMPLATES_DIR.glob("*.toml"):
            shutil.copy(file, templates)

    def _past(self) -> PastInput:
        sent: Sequence[Sent] = self._producer.committed_records()
        return PastInput(sent, self._partition, self._skipped, self._later_from)

    def _end_offsets(self) -> dict[int, int]:
        events = self._installation.events
        return {partition: end for (_, partition), end in end_offsets(self._installation.servers, (events,)).items()}

    # `run` beside it

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """`processor run`, some processes of it, which have to end cleanly."""
        with contextlib.ExitStack() as stack:
            for number in range(self._options.processes):
                stack.enter_context(self._running_one(f"run{number}"))
            yield

    @contextlib.contextmanager
    def _running_one(self, instance: str) -> Iterator[None]:
        path = self._folder / f"{instance}.log"
        env = {**self._installation.env(), "PROCESSOR_INSTANCE_ID": instance}
        with path.open("ab") as log:
            process = subprocess.Popen(
                (sys.executable, "-m", "processor", "run"), env=env, cwd=ROOT, stdout=log, stderr=log
            )
        try:
            yield
            process.send_signal(signal.SIGTERM)
            if (code := process.wait(STOP_TIMEOUT_S)) != 0:
                text = path.read_text(errors="replace")[-500:]
                self._result.findings.append(Finding(Kind.EXIT, f"{instance} ended with {code}: {text}"))
        finally:
            process.kill()
            process.wait()

    @contextlib.contextmanager
    def _producing(self) -> Iterator[None]:
        options = self._options
        workload = Workload(
            self._producer,
            self._records(3),
            rate=options.rate,
            transactional=False,
            seed=options.seed,
            interval_s=LIVE_SLICE_S,
        )
        workload.start()
        try:
            yield
        finally:
            workload.stop()

    @contextlib.contextmanager
    def _watched_positions(self) -> Iterator[None]:
        """The group's positions never go back while the block runs."""
        installation, stop = self._installation, threading.Event()

        def watch() -> None:
            last = group_positions(installation.servers, installation.group, installation.events)
            while not stop.wait(POSITIONS_INTERVAL_S):
                positions = group_positions(installation.servers, installation.group, installation.events)
                for partition, position in last.items():
                    if positions.get(partition, -1) < position:
                        detail = f"partition {partition}: from {position} to {positions.get(partition)}"
                        self._result.findings.append(Finding(Kind.POSITION, detail))
                last = positions

        thread = threading.Thread(target=watch, name="positions", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(STOP_TIMEOUT_S)

    def _wait_until_caught_up(self) -> None:
        if not wait_until_caught_up(self._installation, EVENTUALLY_S):
            detail = f"the group stays behind for {EVENTUALLY_S:.0f} s: {lag(self._installation)}"
            self._result.findings.append(Finding(Kind.STALLED, detail))

    def _wait_until_at_work(self) -> None:
        """Until `run` has mapped new events and is less than half a second behind: its start is over."""
        installation, limit = self._installation, self._options.rate // 2
        ends = sum(self._end_offsets().values())

        def keeps_up() -> bool:
            positions = group_positions(installation.servers, installation.group, installation.events)
            return sum(positions.values()) > ends + limit and sum(lag(installation).values()) <= limit

        if not becomes_true(keeps_up, EVENTUALLY_S, every_s=LAG_POLL_S):
            detail = f"`run` does not keep up within {EVENTUALLY_S:.0f} s: {lag(installation)}"
            self._result.findings.append(Finding(Kind.STALLED, detail))

    @contextlib.contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        began = time.time()
        yield
        self._result.times_s.setdefault(name, []).append((began, time.time()))

    # Replays

    def _dry_runs(self, expected: PastOutputs) -> None:
        """Both numbers, before anything is written."""
        skipped, others = replay_figures(expected.skipped), replay_figures(expected.others)
        self._result.figures = {Author.SKIPPED: skipped, Author.OTHERS: others}
        began = time.monotonic()
        self._dry_run((), skipped, without_outcome=len(self._skipped))
        self._startup_s = (time.monotonic() - began) / self._options.partitions
        self._dry_run(_options_of(Author.OTHERS), skipped + others, without_outcome=len(self._skipped))

    def _dry_run(self, options: Sequence[str], expected: ReplayFigures, *, without_outcome: int) -> None:
        what = " ".join(("dry run", *options))
        code, report = self._command(("replay", "--json", *options))
        self._log(f"{what}: {expected.events} events, {expected.messages.total()} messages expected")
        if code != (1 if expected.events else 0):
            self._result.findings.append(Finding(Kind.REPORT, f"{what} ends with {code}"))
        self._result.findings += report_findings(report, expected, without_outcome=without_outcome, what=what)

    def _replay(self, author: Author, count: int) -> None:
        """Killed again and again, by the same command; then to its end."""
        options = self._options
        random_count, early_count = random_kills(options.kills, author)
        batch_records = max(1, count // TRANSACTIONS)
        rate = max(1.0, count / options.replay_s)
        arguments = ("replay", "--yes", "--json", "--by", "soak", "--rate", str(rate), *_options_of(author))
        env = {"PROCESSOR_MAX_BATCH_RECORDS": str(batch_records)}
        for number, kill in enumerate(plan_kills(self._rng, options.steps, random_count, early_count=early_count)):
            attempt = Attempt(self._installation, arguments, env, folder=self._folder, name=f"replay-{author}-{number}")
            with self._timed(KILLING):
                done = attempt.run(kill, author=author, rng=self._rng, startup_s=self._startup_s)
            if isinstance(done, str):
                self._result.findings.append(Finding(Kind.STUCK, f"{author}: {done}"))
                break
            self._result.kills.append(done)
            self._log(f"{author}: killed at {done.label}, last step {done.reached}")
        with self._timed(REPLAYING):
            code, report = self._command(arguments, env)
        self._log(f"{author}: done by operation {report.get('operation')}")
        if code != 0:
            self._result.findings.append(Finding(Kind.EXIT, f"{author}: the replay ended with {code}"))

    def _replay_again(self) -> None:
        """Nothing is missing any more, and nothing is written; the group's positions stay where they are."""
        before = group_positions(self._installation.servers, self._installation.group, self._installation.events)
        self._dry_run(_options_of(Author.OTHERS), ReplayFigures(), without_outcome=0)
        for author in (Author.SKIPPED, Author.OTHERS):
            code, _ = self._command(("replay", "--yes", "--json", "--by", "soak", *_options_of(author)))
            if code != 0:
                self._result.findings.append(Finding(Kind.EXIT, f"again, {author}: it ended with {code}"))
        after = group_positions(self._installation.servers, self._installation.group, self._installation.events)
        if before != after:
            self._result.findings.append(Finding(Kind.POSITION, f"replays moved {dict(before)} to {dict(after)}"))

    def _command(self, arguments: Sequence[str], env: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        """Exit code and JSON; none where it failed, which is a finding."""
        ended = self._installation.with_env(env or {}).command(*arguments, timeout_s=COMMAND_TIMEOUT_S)
        try:
            return ended.returncode, json.loads(ended.stdout.splitlines()[-1])
        except (ValueError, IndexError):
            detail = f"{' '.join(arguments)} ended with {ended.returncode}: {ended.stderr[-500:]}"
            self._result.findings.append(Finding(Kind.EXIT, detail))
            return ended.returncode, {"partitions": []}

    # The end

    def _check(self) -> None:
        self._log("checking all outputs")
        result = self._result
        result.past = self._past()
        result.check = check_past(self._installation, past_outputs(result.past))
        result.findings += [*result.check.findings, *offset_findings(self._installation)]


def random_kills(count: int, author: Author) -> tuple[int, int]:
    """How many of `count` random moments are of this replay, and how many of these are early: half each, as it may."""
    first = (count + 1) // 2
    if author is Author.SKIPPED:
        return first, (first + 1) // 2
    return count - first, (count - first) // 2


def _options_of(author: Author) -> tuple[str, ...]:
    return ("--include-new", LATER_TEMPLATE.id) if author is Author.OTHERS else ()
