"""The long run: rounds of a continuing load under a shuffled deck of faults, each judged at its end.

A round is made by its seed: which fault comes when, in which slot, after how many visits. Threads and clocks are not,
so a seed repeats the plan of a round, not its every interleaving.
"""

import contextlib
import json
import math
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from confluent_kafka import KafkaException

from processor.engine.loop import BROKER_STARTUP_TIMEOUT_S
from processor.errors import DependencyError
from processor.kafka.local.kafka import LocalKafka, local_kafka
from tests.chaos.crew import Worker, behind, until
from tests.chaos.load import Feeder, Load, make_event, mixed, partition_of, unpacks_to_150_mb
from tests.chaos.outside import REJECTED
from tests.chaos.proxy import Side, Trap
from tests.chaos.reader import group_positions
from tests.chaos.registry import ODD_KINDS, REFUSED_KIND, Registry
from tests.chaos.repeats import KINDS, Repetition, repetitions
from tests.chaos.scenes import (
    CALM_STEPS,
    END_HELD_S,
    OPEN_STEPS,
    RECOVERY_STEPS,
    SEND_MS,
    Ground,
    Kill,
)
from tests.chaos.site import PATIENT_BROKER, RESTARTED_BROKER, WRONG_TENANT, Site, of_protocols
from tests.chaos.verify import Finding, Verdict, verify

MEET_S = 180.0  # how long a worker may take to come by its fault: a window of 10,000 is read first, on a busy machine
CATCH_UP_S = 180.0
WORLD = DependencyError.exit_code  # a worker that begins while the broker is away gives up, as the contract has it
PATIENCE_AT_START_S = 10.0  # from its start until it asks the broker, on a busy machine
JUDGE_S = 90.0  # kept free at the end of the whole time, for the last round's end
SKIPPED_MARKERS = "these partitions are likely deleted already and hence can be skipped"  # see site.PATIENT_BROKER
OURS = frozenset({"EXIT", "STUCK", "STALLED", "HARNESS", "BYTES", "CONTENT"})
"""Kinds of findings that a broker which leaves out markers does not explain."""
RANDOM_MOMENT = "random moment"
END_TXN = {Side.NOT_ARRIVED: "EndTxn not arrived", Side.ARRIVED: "EndTxn arrived"}
SESSION_MS = 6_000
TRANSACTION_MS = 10_000

LARGE_BATCH = "batch that unpacks to 150 MB"
WRONG_TENANT_AT_START = "wrong tenant"
SCENARIOS = (
    *(f"registry: {kind}" for kind in (*ODD_KINDS, REFUSED_KIND)),
    *(f"repeated after a restart: {kind}" for kind in KINDS),
    LARGE_BATCH,
    WRONG_TENANT_AT_START,
)
"""What comes from outside in a round, beside the faults of its deck."""
OF_REPETITIONS = 10_000  # the first account of repetitions, and the first number of theirs
HURRY = 4  # a worker judges a hundred records before it commits for a wrong tenant, and has five seconds for them

LONG_TRANSACTION_MS = 25_000  # where the broker is restarted: none times out in the seconds after
BROKERS: Mapping[str, Mapping[str, str]] = {"pause": PATIENT_BROKER, "restart": RESTARTED_BROKER}
"""What befalls the broker in a round, and the settings that go with it."""


@dataclass(frozen=True, slots=True)
class Act:
    """One fault of one slot. What the numbers mean depends on the kind."""

    kind: str
    """kill, kill at, kill at EndTxn, cut at EndTxn, lose EndTxn, freeze, freeze at, leave, dark, slow, wrong tenant"""
    step: str = ""
    nth: int = 1
    seconds: float = 0.0
    side: Side | None = None

    def __str__(self) -> str:
        return " ".join(filter(None, (self.kind, self.step, self.side and self.side.value)))


def deck(rng: random.Random) -> list[Act]:
    """Every fault at least once, shuffled; numbers drawn by `rng`."""
    acts = [Act("kill", seconds=rng.uniform(0.5, 5)) for _ in range(4)]
    acts += [Act("kill at", step, nth=rng.randint(1, 25)) for step in CALM_STEPS]
    acts += [Act("kill at", step, nth=rng.randint(1, 25)) for step in OPEN_STEPS]
    acts += [Act("kill at", step, nth=1) for step in RECOVERY_STEPS]
    for side in Side:
        acts += [Act("kill at EndTxn", nth=rng.randint(1, 25), side=side) for _ in range(2)]
        acts += [Act("cut at EndTxn", nth=rng.randint(1, 25), side=side, seconds=seconds) for seconds in (0.0, 14.0)]
        acts += [Act("lose EndTxn", nth=rng.randint(1, 12), side=side, seconds=TRANSACTION_MS / 1000)]
    acts += [Act("freeze", seconds=seconds) for seconds in (1.0, rng.uniform(7, 14))]
    acts += [
        Act("freeze at", step, nth=rng.randint(1, 15), seconds=rng.uniform(8, 14)) for step in ("mapped", "committing")
    ]
    acts += [Act("leave"), Act("leave"), Act("dark", seconds=rng.uniform(1, 9)), Act("slow", seconds=4)]
    acts += [Act(WRONG_TENANT_AT_START)]
    rng.shuffle(acts)
    return acts


@dataclass
class Round:
    """What one round was and what came of it."""

    number: int
    protocol: str
    seed: int
    slots: int
    transactional: bool
    weather: str  #: A name of BROKERS.
    kills: list[Kill] = field(default_factory=list)
    met: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    counts: Mapping[str, int] = field(default_factory=dict)
    hidden: frozenset[tuple[str, int, int]] = frozenset()
    skipped_markers: int = 0  #: Transactions that the broker ended without telling all of their partitions.
    seconds: float = 0.0

    @property
    def transaction_ms(self) -> int:
        """How long a transaction may take."""
        return TRANSACTION_MS if self.weather == "pause" else LONG_TRANSACTION_MS

    @property
    def held_against_us(self) -> list[Finding]:
        """The findings; without those on contents where the broker has left out markers, as it says itself."""
        return [one for one in self.findings if not self.skipped_markers or one.kind in OURS]

    def as_json(self) -> dict[str, object]:
        """For the report."""
        return {
            "round": self.number,
            "protocol": self.protocol,
            "seed": self.seed,
            "slots": self.slots,
            "transactionalInput": self.transactional,
            "broker": self.weather,
            "seconds": round(self.seconds, 1),
            "kills": len(self.kills),
            "faults": dict(self.met),
            "missed": self.missed,
            "skippedMarkers": self.skipped_markers,
            "heldAgainstUs": len(self.held_against_us),
            "hiddenRecords": len(self.hidden),
            "counts": dict(self.counts),
            "findings": [str(finding) for finding in self.findings],
        }


class _Slot:
    """One name in the crew: plays its acts one after the other, each with a worker started anew where it has to be."""

    def __init__(self, play: "_Play", name: str, acts: Sequence[Act]) -> None:
        self._play, self._name, self._acts = play, name, acts
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _run(self) -> None:
        try:
            for act in self._acts:
                if self._play.over():
                    return
                self._act(act)
        except BaseException as error:  # the round reports it
            self._play.round.findings.append(Finding("HARNESS", f"{self._name}: {error!r}"))

    def _act(self, act: Act) -> None:
        match act:
            case Act("kill at", step):
                with self._worker(step=step, visit=act.nth, delay_ms=SEND_MS) as worker:
                    if step in RECOVERY_STEPS:
                        dark_s = self._play.round.transaction_ms / 1000 + 1
                        worker.proxy.set_trap(Trap(Side.NOT_ARRIVED, nth=5, dark_s=dark_s))
                    self._dies(worker, act, step)
            case Act("kill at EndTxn", side=Side() as side):
                with self._worker() as worker:
                    worker.proxy.set_trap(Trap(side, nth=act.nth, then=worker.kill_quietly))
                    self._dies(worker, act, END_TXN[side], side)
            case Act("freeze at", step):
                with self._worker(step=step, visit=act.nth, delay_ms=SEND_MS, step_signal="STOP") as worker:
                    self._sleeps(worker, act, asleep=lambda: worker.frozen)
            case Act("kill"):
                with self._worker() as worker:
                    if self._works(worker, act):
                        time.sleep(act.seconds)
                        self._play.killed(Kill(RANDOM_MOMENT, worker.kill()), act)
            case Act("cut at EndTxn" | "lose EndTxn" as kind, side=Side() as side):
                with self._worker() as worker:
                    lost = kind == "lose EndTxn"
                    worker.proxy.set_trap(Trap(side, nth=act.nth, dark_s=0 if lost else act.seconds, lost=lost))
                    if self._comes_by(worker, act, lambda: bool(worker.proxy.sprung)):
                        self._play.cut(side, act)
                        time.sleep(act.seconds)
                        self._goes_on(worker, act)
            case Act("freeze"):
                with self._worker() as worker:
                    if self._works(worker, act):
                        worker.freeze()
                        self._sleeps(worker, act, asleep=lambda: True)
            case Act("dark" | "slow" as kind):
                with self._worker() as worker:
                    if self._works(worker, act):
                        if kind == "dark":
                            worker.proxy.go_dark(act.seconds)
                        else:
                            worker.proxy.delay_s = 0.05
                        time.sleep(act.seconds)
                        self._play.met(act)
                        self._goes_on(worker, act)
            case Act("wrong tenant"):
                # A hundred records have five seconds, whatever their partitions wait for: so it has the schemas.
                with (
                    self._play.hurry(),
                    Registry(calm=True) as calm,
                    self._worker(environment={**WRONG_TENANT, **calm.settings}) as worker,
                ):
                    until(lambda: worker.code is not None or self._play.cancelled(), MEET_S)
                    if worker.code == REJECTED:
                        self._play.met(act)
                    else:
                        self._not_met(worker, act)
            case _:
                with self._worker() as worker:
                    if self._works(worker, act):
                        self._play.met(act)
                        self._leaves(worker, act)

    def _worker(self, *, step: str | None = None, **more: object) -> Worker:
        return self._play.joined(self._play.ground.worker(self._play.site, slot=self._name, step=step, **more))

    def _comes_by(self, worker: Worker, act: Act, met: Callable[[], bool]) -> bool:
        if until(lambda: met() or worker.code is not None or self._play.cancelled(), MEET_S) and met():
            return True
        self._not_met(worker, act)
        return False

    def _not_met(self, worker: Worker, act: Act) -> None:
        if worker.code == WORLD and self._play.was_away(BROKER_STARTUP_TIMEOUT_S + PATIENCE_AT_START_S):
            self._play.round.missed.append(f"{act}, as it began while the broker was away")
        elif worker.code is not None:
            self._play.finding("EXIT", f"{self._name}, {act}: ended by itself with {worker.code}", worker)
        elif self._play.cancelled():
            self._play.round.missed.append(str(act))
        else:
            worker.explain()
            self._play.finding("STUCK", f"{self._name}, {act}: not met in {MEET_S:.0f} s", worker)

    def _works(self, worker: Worker, act: Act) -> bool:
        return self._comes_by(worker, act, lambda: worker.proxy.commits_answered > 0)

    def _dies(self, worker: Worker, act: Act, step: str, side: Side | None = None) -> None:
        until(lambda: worker.code is not None or self._play.cancelled(), MEET_S)
        if worker.code != -9:
            self._not_met(worker, act)
            return
        written = worker.proxy.sprung[-1].written if side is not None else worker.proxy.written()
        self._play.killed(Kill(step, written, side), act)

    def _sleeps(self, worker: Worker, act: Act, *, asleep: Callable[[], bool]) -> None:
        if self._comes_by(worker, act, asleep):
            time.sleep(act.seconds)
            self._play.met(act)
            worker.wake()
            self._goes_on(worker, act)

    def _goes_on(self, worker: Worker, act: Act) -> None:
        """The same process commits again; then it leaves, or is killed when the round is over."""
        before = worker.proxy.commits_answered
        if not self._comes_by(worker, act, lambda: worker.proxy.commits_answered > before):
            return
        self._leaves(worker, act)

    def _leaves(self, worker: Worker, act: Act) -> None:
        code = worker.stop()
        if code != 0 and not self._play.broker_away:
            self._play.finding("EXIT", f"{self._name}, {act}: ended with {code} on SIGTERM", worker)


class _Repeater:
    """A thread that sends first records of all kinds of repetitions, beside the load, and repeats each when its
    partition has another owner, or the same one again; and so on, each kind by itself."""

    def __init__(self, play: "_Play", registry: Registry) -> None:
        self._play, self._registry, self._site = play, registry, play.site
        self.feeder = Feeder(
            play.site.servers,
            play.site.events,
            partitions=play.site.partitions,
            packed=True,
            numbers_from=OF_REPETITIONS * 1_000,
        )
        self._sent: dict[str, Repetition] = {}
        self._processed: dict[str, Repetition] = {}  # and the registry has changed since
        self._ends: dict[str, int] = {}  # kind -> behind its first records
        self._numbers: Counter[str] = Counter()
        self._starts: dict[int, int] = {}  # partition -> the latest start in a worker's log
        self._seen: dict[Path, int] = {}  # log -> bytes of it that were looked at
        self.thread = threading.Thread(target=self._run, name="repetitions", daemon=True)

    def _run(self) -> None:
        try:
            self.feeder.send([unpacks_to_150_mb(make_event(account=OF_REPETITIONS - 1))])
            self._play.note(LARGE_BATCH)
            for kind in KINDS:
                self._send_first(kind)
            while not self._play.done.wait(0.5):
                self._look_for_processed()
                self._look_for_starts()
                for kind, repetition in tuple(self._processed.items()):
                    if self._starts.get(self._partition(repetition), -1) >= self._ends[kind]:
                        self._repeat(kind)
                        self._send_first(kind)
        except BaseException as error:  # the round reports it
            self._play.round.findings.append(Finding("HARNESS", f"repetitions: {error!r}"))

    def finish(self) -> None:
        """When no worker is left: what is processed is repeated for those that come."""
        self.thread.join(120)
        self._look_for_processed()
        for kind in tuple(self._processed):
            self._repeat(kind)

    def _partition(self, repetition: Repetition) -> int:
        return partition_of(repetition.key, self._site.partitions)

    def _send_first(self, kind: str) -> None:
        self._numbers[kind] += 1
        number = self._numbers[kind]
        repetition = repetitions(first_account=OF_REPETITIONS * number, number=number)[kind]
        self.feeder.send(repetition.before, partition=self._partition(repetition))
        self._ends[kind] = self.feeder.last[self._partition(repetition)] + 1
        self._sent[kind] = repetition

    def _look_for_processed(self) -> None:
        try:
            positions = group_positions(self._site.servers, self._site.group, self._site.events)
        except KafkaException:  # the broker is away
            return
        for kind, repetition in tuple(self._sent.items()):
            if positions.get(self._partition(repetition), -1) >= self._ends[kind]:
                repetition.meanwhile(self._registry)
                self._processed[kind] = self._sent.pop(kind)

    def _repeat(self, kind: str) -> None:
        repetition = self._processed.pop(kind)
        self.feeder.send(repetition.after, partition=self._partition(repetition))
        self._play.note(f"repeated after a restart: {kind}")

    def _look_for_starts(self) -> None:
        for log in self._play.logs():
            said = log.read_bytes()[self._seen.get(log, 0) :]
            whole = said[: said.rfind(b"\n") + 1]
            self._seen[log] = self._seen.get(log, 0) + len(whole)
            for line in whole.splitlines():
                if b'"partition starts"' in line:
                    start = json.loads(line)
                    partition = start["partition"]
                    self._starts[partition] = max(self._starts.get(partition, -1), start["offset"])


class _Play:
    """A round while it is played. Its methods are called from the slots' threads."""

    def __init__(self, ground: Ground, site: Site, round_: Round, load: Load, deadline: float) -> None:
        self.ground, self.site, self.round = ground, site, round_
        self.done = threading.Event()  #: No slot is left.
        self.broker_stays = threading.Lock()  #: Held while the broker must not be away.
        self._load = load
        self.broker_away = False
        self.away_at = -math.inf  #: When the broker was away at last.
        self._workers: list[Worker] = []
        self._holding = False
        self._deadline = deadline
        self._lock = threading.Lock()

    def was_away(self, within_s: float) -> bool:
        """Whether the broker is away, or was within the last seconds."""
        return self.broker_away or time.monotonic() - self.away_at < within_s

    def over(self) -> bool:
        """Whether no further act is to begin."""
        return time.monotonic() > self._deadline

    def cancelled(self) -> bool:
        """Whether an act under way is to be given up."""
        return time.monotonic() > self._deadline + 20

    def joined(self, worker: Worker) -> Worker:
        """Know of `worker`, so that it can be held."""
        with self._lock:
            worker.proxy.holds_ends = self._holding
            self._workers.append(worker)
        return worker

    def hold_ends(self, holding: bool) -> None:
        """Hold back all requests that end a transaction, and wait until what was ended before is done; or let go."""
        with self._lock:
            self._holding = holding
            for worker in self._workers:
                worker.proxy.holds_ends = holding
        if holding:
            time.sleep(END_HELD_S)

    def logs(self) -> list[Path]:
        """Of all workers so far."""
        with self._lock:
            return [worker.log for worker in self._workers]

    @contextlib.contextmanager
    def hurry(self) -> Iterator[None]:
        """More of the load than else, and no fault of the broker, while the block runs."""
        with self.broker_stays, self._load.hurried(HURRY):
            yield

    def met(self, act: Act) -> None:
        """The fault has been met."""
        self.note(str(act))

    def note(self, what: str) -> None:
        """It has come in this round."""
        with self._lock:
            self.round.met[what] += 1

    def killed(self, kill: Kill, act: Act) -> None:
        """The worker was killed as planned."""
        with self._lock:
            self.round.met[str(act)] += 1
            self.round.kills.append(kill)

    def cut(self, side: Side, act: Act) -> None:
        """The link was cut as planned."""
        with self._lock:
            self.round.met[str(act)] += 1
            self.round.met[f"link: {END_TXN[side]}"] += 1

    def finding(self, kind: str, detail: str, worker: Worker) -> None:
        """Something that must not be."""
        with self._lock:
            self.round.findings.append(Finding(kind, f"{detail}\n{worker.said[-4_000:]}"))


def play(ground: Ground, round_: Round, *, rate: int, deadline: float) -> Round:
    """One round: load and faults, then calm until the group is at the input's end, then the judge. Blocks.

    No act begins after `deadline` (monotonic).
    """
    with Registry() as registry:
        return _play(ground, round_, registry, rate=rate, deadline=deadline)


def _play(ground: Ground, round_: Round, registry: Registry, *, rate: int, deadline: float) -> Round:
    rng = random.Random(round_.seed)
    began = time.monotonic()
    site = Site(
        servers=ground.kafka.bootstrap_servers,
        prefix=f"r{round_.number}-{round_.protocol}.",
        protocol=round_.protocol,
        session_timeout_ms=SESSION_MS,
        transaction_timeout_ms=round_.transaction_ms,
        more={"PROCESSOR_MAX_BATCH_RECORDS": str(rng.choice((20, 100, 1_000))), **registry.settings},
    )
    site.create_topics()
    # The load talks to the broker past all proxies: only the broker's own faults reach it.
    feeder = Feeder(site.servers, site.events, partitions=site.partitions, transactional=round_.transactional)
    events = mixed(seed=round_.seed, avro=True)
    load = Load(feeder, events, rate=rate, transactional=round_.transactional, seed=round_.seed)
    playing = _Play(ground, site, round_, load, deadline)
    repeater = _Repeater(playing, registry)
    acts = deck(rng)
    load.start()
    try:
        repeater.thread.start()
        slots = [_Slot(playing, f"w{n}", acts[n :: round_.slots]) for n in range(round_.slots)]
        for slot in slots:
            slot.thread.start()
        for pause_s, how in _weather(rng, round_.weather):
            if not _sleep_while(lambda: any(slot.thread.is_alive() for slot in slots), rng.uniform(15, 30)):
                break
            if playing.over():
                break
            _strike(playing, how, pause_s)
        for slot in slots:
            slot.thread.join(300)
            if slot.thread.is_alive():
                round_.findings.append(Finding("HARNESS", f"{slot.thread.name} does not end"))
        playing.done.set()
        repeater.finish()
    finally:
        playing.done.set()
        load.stop()
    feeder.take_over(repeater.feeder)
    _finish(playing, feeder, round_)
    round_.met += Counter({f"registry: {kind}": count for kind, count in registry.odd.items()})
    round_.seconds = time.monotonic() - began
    return round_


def _weather(rng: random.Random, kind: str) -> Iterator[tuple[float, str]]:
    """What befalls the broker in a round: a short and a longer freeze, or a stop and a kill, each with a new start."""
    strikes = (
        [(rng.uniform(5, 10), "pause"), (rng.choice((12.0, 30.0)), "pause")]
        if kind == "pause"
        else [(0.0, "stop and start"), (0.0, "kill and start")]
    )
    rng.shuffle(strikes)
    yield from strikes


def _sleep_while(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether `condition` held all the time."""
    return not until(lambda: not condition(), seconds)


def _strike(playing: _Play, how: str, pause_s: float) -> None:
    with playing.broker_stays:
        _strike_now(playing, how, pause_s)


def _strike_now(playing: _Play, how: str, pause_s: float) -> None:
    kafka = playing.ground.kafka
    playing.broker_away = True
    try:
        playing.hold_ends(how != "pause")
        match how:
            case "pause":
                kafka.pause()
                time.sleep(pause_s)
                kafka.resume()
            case "kill and start":
                kafka.kill()
                playing.hold_ends(False)
                kafka.start()
            case _:
                kafka.stop()
                playing.hold_ends(False)
                kafka.start()
        playing.met(Act(f"broker: {how}"))
    finally:
        playing.away_at = time.monotonic()
        time.sleep(2)
        playing.broker_away = False


def _finish(playing: _Play, feeder: Feeder, round_: Round) -> None:
    """Two calm workers take the group to the input's end and stop cleanly; then the judge."""
    site, ground = playing.site, playing.ground
    with contextlib.ExitStack() as crew:
        workers = [crew.enter_context(ground.worker(site, slot=f"w{n}")) for n in range(2)]
        if not until(lambda: not behind(site) or any(w.code is not None for w in workers), CATCH_UP_S, every_s=0.5):
            round_.findings.append(
                Finding("STALLED", f"after {CATCH_UP_S:.0f} s of calm the group is behind: {behind(site)}")
            )
        for worker in workers:
            if worker.code is not None:
                playing.finding("EXIT", f"{worker.slot}, calm: ended by itself with {worker.code}", worker)
            elif (code := worker.stop()) != 0:
                playing.finding("EXIT", f"{worker.slot}, calm: ended with {code} on SIGTERM", worker)
    verdict: Verdict = verify(site, feeder.committed())
    round_.findings += verdict.findings
    round_.counts, round_.hidden = verdict.counts, verdict.hidden


@dataclass
class Table:
    """Step × protocol: kills, how many with an open transaction; EndTxn arrived and not; what is still empty."""

    rounds: Sequence[Round]
    protocols: Sequence[str]

    def cell(self, step: str, protocol: str) -> tuple[int, int]:
        """Kills at `step`, and how many of them left aborted records of an open transaction on the log."""
        kills = [
            (kill, round_.hidden)
            for round_ in self.rounds
            if round_.protocol == protocol
            for kill in round_.kills
            if kill.step == step
        ]
        return len(kills), sum(kill.open(hidden) for kill, hidden in kills)

    def end_txn(self, side: Side) -> int:
        """EndTxn requests around which a worker was killed or its link cut, over all protocols."""
        return sum(
            round_.met[f"link: {END_TXN[side]}"] + sum(kill.side is side for kill in round_.kills)
            for round_ in self.rounds
        )

    def scenario(self, name: str, protocol: str) -> int:
        """How often one of `SCENARIOS` was met."""
        return sum(round_.met[name] for round_ in self.rounds if round_.protocol == protocol)

    @property
    def steps(self) -> tuple[str, ...]:
        """All rows."""
        return (*CALM_STEPS, *RECOVERY_STEPS, *END_TXN.values(), RANDOM_MOMENT)

    def empty(self, *, least_end_txn: int) -> list[str]:
        """Cells that show nothing."""
        missing = []
        for protocol in self.protocols:
            for step in self.steps:
                kills, opened = self.cell(step, protocol)
                if kills == 0:
                    missing.append(f"{step} × {protocol}: no kill")
                elif opened == 0 and step in (*OPEN_STEPS, END_TXN[Side.NOT_ARRIVED]):
                    missing.append(f"{step} × {protocol}: no kill with an open transaction")
            missing += [f"{name} × {protocol}: not met" for name in SCENARIOS if not self.scenario(name, protocol)]
        for side, name in END_TXN.items():
            if (met := self.end_txn(side)) < least_end_txn:
                missing.append(f"{name}: {met} of {least_end_txn}")
        return missing

    def __str__(self) -> str:
        head = f"{'step':<20}" + "".join(f"{protocol + ': kills / open':>26}" for protocol in self.protocols)
        lines = [head]
        for step in self.steps:
            cells = [self.cell(step, protocol) for protocol in self.protocols]
            lines.append(f"{step:<20}" + "".join(f"{f'{kills} / {opened}':>26}" for kills, opened in cells))
        for side, name in END_TXN.items():
            lines.append(f"{name}: {self.end_txn(side)} in all, kills and cut links")
        lines.append(f"{'from outside':<60}" + "".join(f"{protocol + ': met':>16}" for protocol in self.protocols))
        for name in SCENARIOS:
            lines.append(f"{name:<60}" + "".join(f"{self.scenario(name, one):>16}" for one in self.protocols))
        met: Counter[str] = Counter()
        for round_ in self.rounds:
            met += round_.met
        lines.append(
            "faults met: "
            + ", ".join(f"{name} {count}" for name, count in sorted(met.items()) if name not in SCENARIOS)
        )
        return "\n".join(lines)

    def as_json(self, *, least_end_txn: int) -> dict[str, object]:
        """For the report."""
        return {
            "cells": {
                protocol: {
                    step: dict(zip(("kills", "open"), self.cell(step, protocol), strict=True)) for step in self.steps
                }
                for protocol in self.protocols
            },
            "fromOutside": {
                protocol: {name: self.scenario(name, protocol) for name in SCENARIOS} for protocol in self.protocols
            },
            "endTxn": {side.value: self.end_txn(side) for side in Side},
            "empty": self.empty(least_end_txn=least_end_txn),
        }


def rounds(
    *,
    seconds: float,
    seed: int,
    protocol: str,
    rate: int,
    logs: Path,
    mutant: str | None = None,
    tell: Callable[[str], None],
) -> Iterator[Round]:
    """Rounds until `seconds` are over, with a broker of their own each; the last one is cut short to fit."""
    end = time.monotonic() + seconds
    protocols = of_protocols(protocol)
    number = 0
    while time.monotonic() < end - JUDGE_S - 30 or number == 0:
        rng = random.Random(seed + number)
        round_ = Round(
            number=number,
            protocol=protocols[number % len(protocols)],
            seed=seed + number,
            slots=rng.randint(2, 4),
            transactional=rng.random() < 0.3,
            weather=rng.choice(sorted(BROKERS)),
        )
        tell(f"round {number}: seed {round_.seed}, {round_.protocol}, {round_.slots} slots, broker: {round_.weather}")
        session = {"group.consumer.session.timeout.ms": str(SESSION_MS)}
        data = logs / f"broker-{number}"
        with local_kafka(data=data, extra={**BROKERS[round_.weather], **session}) as kafka:
            play(_ground(kafka, round_, mutant, logs), round_, rate=rate, deadline=end - JUDGE_S)
            round_.skipped_markers = kafka.log.read_text(errors="replace").count(SKIPPED_MARKERS)
        if not round_.findings:
            shutil.rmtree(data)  # else the log itself is the evidence
        yield round_
        number += 1


def _ground(kafka: LocalKafka, round_: Round, mutant: str | None, logs: Path) -> Ground:
    return replace(Ground(kafka, round_.protocol), seed=round_.seed, mutant=mutant, logs=logs)
