"""Small experiments, each on an installation of its own: a fault at a chosen place, then the judge.

The tests of `tests/kafka` play each of them as it is, `tests.chaos.mutants` plays them with a mutant in the worker.
A scene that has missed its fault raises `MissedError`: it would prove nothing.
"""

import contextlib
import itertools
import json
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient, NewPartitions

from processor.kafka.local.kafka import LocalKafka
from tests.chaos.crew import Worker, behind, caught_up, until
from tests.chaos.expected import Record, Repeat, expected, good
from tests.chaos.load import Feeder, Load, make_event, mixed
from tests.chaos.proxy import Side, Trap, Written
from tests.chaos.reader import ends, read
from tests.chaos.site import Site
from tests.chaos.verify import Finding, Verdict, verify

CALM_STEPS = ("polled", "mapped", "begun", "produced", "offsets_sent", "committing", "committed")
RECOVERY_STEPS = ("recovering", "recovered", "sought")
OPEN_STEPS = ("produced", "offsets_sent", "committing")
"""Steps at which the transaction has been opened on the broker, and is not over."""

SEND_MS = 600  # how long librdkafka is given, after a step, to send what it was handed; 150 was too little once
SMALL_BATCHES = {"PROCESSOR_MAX_BATCH_RECORDS": "60"}
END_HELD_S = 0.5  # by then the broker has written the markers of what was ended before
SHORT_MS = 2_500  # a transaction's time in scenes that wait until it is over


class MissedError(Exception):
    """The fault was not met: the scene shows nothing."""


@dataclass(frozen=True)
class Ground:
    """Where a scene is played."""

    kafka: LocalKafka
    protocol: str
    seed: int = 1
    mutant: str | None = None
    logs: Path | None = None

    def site(self, name: str, more: Mapping[str, str], *, transaction_timeout_ms: int = 10_000) -> Site:
        """A new installation with its topics."""
        site = replace(self.plain_site(name), more=more, transaction_timeout_ms=transaction_timeout_ms)
        site.create_topics()
        return site

    def plain_site(self, name: str) -> Site:
        """A new installation that has no topics yet."""
        prefix = f"{name}-{self.protocol}-{secrets.token_hex(3)}."
        return Site(servers=self.kafka.bootstrap_servers, prefix=prefix, protocol=self.protocol)

    def worker(self, site: Site, **more: Any) -> Worker:
        """A worker of `site`, with this ground's mutant in it."""
        return Worker(site, mutant=self.mutant, logs=self.logs, **more)


@dataclass(frozen=True)
class Kill:
    """A worker that was killed, and what its open transaction had written: the judge says what of that is hidden."""

    step: str
    written: Written = frozenset()
    side: Side | None = None

    def open(self, hidden: frozenset[tuple[str, int, int]]) -> bool:
        """Whether a transaction was open, as its records, aborted, on the log show."""
        return bool(self.written & hidden)


@dataclass
class Shown:
    """What a scene has shown."""

    verdict: Verdict
    kills: list[Kill] = field(default_factory=list)
    facts: Mapping[str, Any] = field(default_factory=dict)


def records(count: int, *, seed: int, **more: Any) -> list[Record]:
    """The first `count` records of the mixed load."""
    return list(itertools.islice(mixed(seed=seed, **more), count))


@contextlib.contextmanager
def loaded(site: Site, *, seed: int, rate: int, transactional: bool = False, avro: bool = False) -> Iterator[Feeder]:
    """A feeder whose load goes on while the block runs. `avro`: see `mixed`."""
    feeder = Feeder(site.servers, site.events, partitions=site.partitions, transactional=transactional)
    load = Load(feeder, mixed(seed=seed, avro=avro), rate=rate, transactional=transactional, seed=seed)
    load.start()
    try:
        yield feeder
    finally:
        load.stop()


def fed(site: Site, given: Sequence[Record]) -> Feeder:
    """A feeder that has put `given` on the input."""
    feeder = Feeder(site.servers, site.events, partitions=site.partitions)
    feeder.send(given)
    return feeder


def judged(
    site: Site, feeder: Feeder, *workers: Worker, patience_s: float = 60, kills: Sequence[Kill] = (), **facts: Any
) -> Shown:
    """Wait until the group is at the input's end, stop `workers`, and judge. Each way of not getting there is a
    finding: a worker that ended by itself, a stop that was not clean."""
    wrong = []
    if not until(lambda: not behind(site) or any(w.code is not None for w in workers), patience_s, every_s=0.3):
        wrong.append(Finding("STALLED", f"after {patience_s:.0f} s the group is behind: {behind(site)}"))
    for worker in workers:
        if worker.code is not None:
            wrong.append(Finding("EXIT", f"{worker.slot} ended by itself with {worker.code}: {worker.said[-600:]}"))
    for worker in workers:
        if worker.code is None and (code := worker.stop()) != 0:
            wrong.append(Finding("EXIT", f"{worker.slot} ended with {code} on SIGTERM: {worker.said[-600:]}"))
    verdict = verify(site, feeder.committed())
    verdict = replace(verdict, findings=(*wrong, *verdict.findings))
    return Shown(verdict, list(kills), facts)


def calm(ground: Ground) -> Shown:
    """A mixed load with repeats and bad records, mapped by one worker until the end; nothing happens to it."""
    site = ground.site("calm", SMALL_BATCHES)
    feeder = fed(site, records(1_500, seed=ground.seed, repeat_share=0.05))
    with ground.worker(site, until_end=True) as worker:
        code = worker.wait(60)
        shown = judged(site, feeder, patience_s=5)
        if code != 0:
            finding = Finding("EXIT", f"--until-end ended with {code}: {worker.said[-600:]}")
            shown.verdict = replace(shown.verdict, findings=(finding, *shown.verdict.findings))
    return shown


def unknown_commit(ground: Ground, side: Side) -> Shown:
    """Nobody tells the worker how a commit ended: first EndTxn or its answer alone is lost, and the consumer stays a
    member; then the whole link is cut until the transaction's time is over. The same process goes on."""
    site = ground.site("unknown", SMALL_BATCHES, transaction_timeout_ms=SHORT_MS)
    feeder = fed(site, records(600, seed=ground.seed))
    traps = (Trap(side, nth=3, lost=True), Trap(side, nth=3, dark_s=SHORT_MS / 1000 + 1))
    with ground.worker(site) as worker:
        for number, trap in enumerate(traps, 1):
            worker.proxy.set_trap(trap)
            if not _sprung(worker, number):
                break  # it does not commit any more: the judge will say so
            time.sleep(SHORT_MS / 1000 + 1)
            feeder.send(records(600, seed=ground.seed + number, numbers_from=1_000 * number))
        return judged(site, feeder, worker, sprung=list(worker.proxy.sprung), said=worker.said)


def _sprung(worker: Worker, number: int) -> bool:
    return until(lambda: len(worker.proxy.sprung) == number or worker.code is not None, 30)


def unknown_commit_not_arrived(ground: Ground) -> Shown:
    """EndTxn never reaches the coordinator."""
    return unknown_commit(ground, Side.NOT_ARRIVED)


def unknown_commit_arrived(ground: Ground) -> Shown:
    """The coordinator commits, its answer is lost."""
    return unknown_commit(ground, Side.ARRIVED)


def kills(ground: Ground, steps: Sequence[str] = (*CALM_STEPS, *RECOVERY_STEPS)) -> Shown:
    """One worker after the other kills itself at the next of `steps`; the last one is left alone."""
    site = ground.site("kills", SMALL_BATCHES, transaction_timeout_ms=SHORT_MS)
    done: list[Kill] = []
    with loaded(site, seed=ground.seed, rate=100) as feeder:
        for number, step in enumerate(steps):
            visit = 1 if step in RECOVERY_STEPS else 1 + number % 3
            with ground.worker(site, step=step, visit=visit, delay_ms=SEND_MS) as worker:
                if step in RECOVERY_STEPS:
                    worker.proxy.set_trap(Trap(Side.NOT_ARRIVED, nth=2, dark_s=SHORT_MS / 1000 + 1))
                code = worker.wait(40)
                if code != -9:
                    raise MissedError(f"{step} was not met, the worker's code is {code}: {worker.said[-800:]}")
                done.append(Kill(step, worker.proxy.written()))
    with ground.worker(site) as worker:
        return judged(site, feeder, worker, kills=done)


def kills_at_committed(ground: Ground) -> Shown:
    """Killed just after a commit, three times."""
    return kills(ground, ("committed",) * 3)


def kills_at_end_txn(ground: Ground) -> Shown:
    """Killed while EndTxn is under way: before it arrives, after it was answered."""
    site = ground.site("endtxn", SMALL_BATCHES)
    done: list[Kill] = []
    with loaded(site, seed=ground.seed, rate=100) as feeder:
        for number, side in enumerate((Side.NOT_ARRIVED, Side.ARRIVED) * 2):
            with ground.worker(site) as worker:
                worker.proxy.set_trap(Trap(side, nth=1 + number, then=worker.kill_quietly))
                if worker.wait(40) != -9:
                    raise MissedError(f"no EndTxn: {worker.said[-800:]}")
                (sprung,) = worker.proxy.sprung
                done.append(Kill("EndTxn", sprung.written, side))
    with ground.worker(site) as worker:
        return judged(site, feeder, worker, kills=done)


def zombie(ground: Ground, step: str) -> Shown:
    """A worker freezes at `step`, loses its membership, another takes over and finishes; then the frozen one wakes."""
    site = ground.site("zombie", SMALL_BATCHES, transaction_timeout_ms=SHORT_MS)
    feeder = fed(site, records(600, seed=ground.seed))
    with ground.worker(site, slot="a", step=step, visit=3, delay_ms=SEND_MS, step_signal="STOP") as frozen:
        if not until(lambda: frozen.frozen, 30):
            raise MissedError(f"{step} was not met: {frozen.said[-800:]}")
        written = frozen.proxy.written()
        with ground.worker(site, slot="b") as heir:
            took_over = caught_up(site, 60)
            frozen.wake()
            time.sleep(1)
            feeder.send(records(300, seed=ground.seed + 1_000, numbers_from=1_000))
            return judged(site, feeder, frozen, heir, kills=[Kill(step, written)], took_over=took_over)


def scaling(ground: Ground) -> Shown:
    """One worker, then six, then two, under load; each has a name of its own."""
    site = ground.site("scaling", SMALL_BATCHES)
    with contextlib.ExitStack() as crew:
        workers: list[Worker] = []

        def join(slot: str) -> None:
            workers.append(crew.enter_context(ground.worker(site, slot=slot)))

        with loaded(site, seed=ground.seed, rate=250) as feeder:
            join("w0")
            time.sleep(4)
            for number in range(1, 6):
                join(f"w{number}")
                time.sleep(0.7)
            time.sleep(6)
            if not until(lambda: all('"assigned"' in worker.said for worker in workers), 60):
                raise MissedError(f"not all have joined: {[worker.said[-300:] for worker in workers]}")
            leavers = [(worker, worker.stop()) for worker in workers[:4]]
            time.sleep(3)
        said = [worker.said for worker in workers]
        return judged(site, feeder, *workers[4:], left=[code for _, code in leavers], said=said)


def rivals(ground: Ground, folders: Sequence[Path]) -> Shown:
    """Two hosts with one name (the locks of their slots lie in different `folders`), under load."""
    site = ground.site("rivals", SMALL_BATCHES)
    with contextlib.ExitStack() as crew:
        with loaded(site, seed=ground.seed, rate=200) as feeder:
            pair = [
                crew.enter_context(
                    ground.worker(
                        site, slot="same", environment={"TMPDIR": str(folder), "PROCESSOR_STATE_DIR": str(folder)}
                    )
                )
                for folder in folders
            ]
            until(lambda: any(worker.code is not None for worker in pair), 60)
            ended = [worker.code for worker in pair]
            said = [worker.said for worker in pair]
        left = [worker for worker in pair if worker.code is None]
        return judged(site, feeder, *left, codes=ended, said=said)


def paused_broker(ground: Ground, pause_s: float) -> Shown:
    """The broker is frozen in the middle of a transaction, for longer than sessions last."""
    site = ground.site("paused", SMALL_BATCHES)
    feeder = fed(site, records(3_000, seed=ground.seed))
    with ground.worker(site) as worker:
        for _ in range(200):
            if not until(lambda: bool(worker.proxy.written()) or worker.code is not None, 30, every_s=0.001):
                raise MissedError(f"no transaction was seen: {worker.said[-800:]}")
            ground.kafka.pause()
            time.sleep(0.1)
            written = worker.proxy.written()
            if written:
                break
            ground.kafka.resume()
        else:
            raise MissedError("the broker was never frozen within a transaction")
        time.sleep(pause_s)
        ground.kafka.resume()
        return judged(site, feeder, worker, kills=[Kill("paused", written)], patience_s=90)


def transactional_input(ground: Ground) -> Shown:
    """The input's producer commits some of its transactions, aborts others; the group ends behind the last marker."""
    site = ground.site("markers", SMALL_BATCHES)
    feeder = Feeder(site.servers, site.events, partitions=site.partitions, transactional=True)
    for number in range(6):
        feeder.transaction(records(100, seed=ground.seed + number, numbers_from=1_000 * number), commit=number % 2 == 0)
    with ground.worker(site) as worker:
        shown = judged(site, feeder, worker)
    if shown.verdict.counts["input"] != 300:
        raise MissedError(f"{shown.verdict.counts['input']} records are on the input, not 300")
    return shown


def takeover(ground: Ground, *, same_name: bool) -> Shown:
    """Killed with an open transaction and started again; `readers_s`: from the new start until readers go on."""
    site = ground.site("takeover", SMALL_BATCHES, transaction_timeout_ms=30_000)
    feeder = fed(site, records(400, seed=ground.seed))
    with ground.worker(site, slot="a", step="offsets_sent", visit=2, delay_ms=SEND_MS) as worker:
        if worker.wait(40) != -9:
            raise MissedError(f"offsets_sent was not met: {worker.said[-800:]}")
        kill = Kill("offsets_sent", worker.proxy.written())
    at_kill = ends(site.servers, site.outputs)
    if at_kill == ends(site.servers, site.outputs, stable=True):
        raise MissedError("no transaction was open")
    with ground.worker(site, slot="a" if same_name else "b") as heir:
        began = time.monotonic()

        def readers_go_on() -> bool:
            stable = ends(site.servers, site.outputs, stable=True)
            return all(stable[at] >= end for at, end in at_kill.items())

        went_on = until(readers_go_on, 60, every_s=0.02)
        readers_s = time.monotonic() - began if went_on else float("inf")
        return judged(site, feeder, heir, kills=[kill], readers_s=readers_s)


def growth(ground: Ground) -> Shown:
    """The input grows under load, first as it should (outputs before events), then the wrong way round: the partition
    without twins waits, the others go on; with its twins it goes on too. No worker ends."""
    site = replace(ground.plain_site("growth"), partitions=3, more=SMALL_BATCHES)
    site.create_topics()
    with contextlib.ExitStack() as crew:
        workers = [crew.enter_context(ground.worker(site, slot=f"w{n}")) for n in range(2)]
        with loaded(site, seed=ground.seed, rate=100) as feeder:
            time.sleep(4)
            _grow(site, 5)
        late = Feeder(site.servers, site.events, partitions=5, numbers_from=1_000_000)
        late.send(_of_accounts(500, 200), partition=3)
        late.send(_of_accounts(600, 200), partition=4)
        late.take_over(feeder)
        if not caught_up(site, 60):
            raise MissedError(f"the new partitions are not read: {behind(site)}")
        admin = AdminClient({"bootstrap.servers": site.servers})
        for future in admin.create_partitions([NewPartitions(site.events, 6)]).values():
            future.result(30)
        time.sleep(1)  # until the metadata is everywhere
        late.send(_of_accounts(700, 50), partition=5)
        late.send(_of_accounts(500, 50, numbers_from=1_000), partition=3)
        others_went_on = until(lambda: set(behind(site)) == {5}, 30)
        time.sleep(2)
        waited = behind(site)
        _grow(site, 6)
        return judged(site, late, *workers, others_went_on=others_went_on, waited=waited)


def _grow(site: Site, partitions: int) -> None:
    done = site.command("topics", "--grow", str(partitions), "--yes")
    if done.returncode != 0:
        raise MissedError(f"topics --grow ended with {done.returncode}: {done.stdout}{done.stderr}")


def _of_accounts(first: int, count: int, *, numbers_from: int = 0) -> list[Record]:
    return [good(make_event(account=first + n % 5, number=numbers_from + n + 1)) for n in range(count)]


def restarted_broker(ground: Ground) -> Shown:
    """The broker is killed in the middle of a transaction, none being ended just then (see `tests.chaos.site`), and
    started again."""
    site = ground.site("restart", SMALL_BATCHES, transaction_timeout_ms=25_000)
    feeder = fed(site, records(2_500, seed=ground.seed))
    with ground.worker(site) as worker:
        if not until(lambda: worker.proxy.commits_answered > 3, 30):
            raise MissedError(f"no commits: {worker.said[-800:]}")
        worker.proxy.holds_ends = True
        time.sleep(END_HELD_S)
        if not until(lambda: bool(worker.proxy.written()), 10):
            raise MissedError(f"no transaction has written anything: {worker.said[-800:]}")
        written = worker.proxy.written()
        ground.kafka.kill()
        worker.proxy.holds_ends = False
        ground.kafka.start()
        return judged(site, feeder, worker, patience_s=90, kills=[Kill("broker", written)])


def told_twice(ground: Ground) -> Shown:
    """An event again in its batch, in the next, and after a restart by another process."""
    site = ground.site("twice", {})
    event = good(make_event(account=1, number=1))
    others = [good(make_event(account=1, number=number)) for number in range(2, 30)]
    feeder = fed(site, [event, *others[:10], event])
    with ground.worker(site) as first:
        if not caught_up(site, 30):
            raise MissedError(first.said[-800:])
        feeder.send([event, *others[10:]])
        if not caught_up(site, 30) or first.stop() != 0:
            raise MissedError(first.said[-800:])
    feeder.send([event])
    with ground.worker(site, slot="another") as second:
        return judged(site, feeder, second)


def input_twice(ground: Ground) -> Shown:
    """All of the input told once more, to a worker started anew."""
    site = ground.site("again", SMALL_BATCHES)
    told = [record for record in records(400, seed=ground.seed) if not isinstance(record.fate, Repeat)]
    feeder = fed(site, told)
    _to_the_end(ground, site)
    before = verify(site, feeder.committed())
    feeder.send(told)
    _to_the_end(ground, site)
    return judged(site, feeder, messages_before=before.counts["communications.messages"])


def windows_edge(ground: Ground) -> Shown:
    """A window of 50 records: a repeat at its edge, and one just behind it, after a restart."""
    site = ground.site("edge", {"PROCESSOR_DEDUPLICATION__RECORDS": "50"})
    feeder = Feeder(site.servers, site.events, partitions=site.partitions)
    told = [good(make_event(account=1, number=number)) for number in range(1, 52)]  # offsets 0 to 50
    feeder.send(told, partition=0)
    _to_the_end(ground, site)
    feeder.send([told[0], told[2]], partition=0)  # offsets 51 and 52: 51 and 50 after their first tellings
    _to_the_end(ground, site)
    sent = feeder.committed()
    seen = Counter(record.key for record in read(site.servers, (site.messages,)))
    return Shown(
        verify(site, sent),
        facts={
            "births_of_the_first": sorted(expected(sent[:1]).created),
            "births_twice": sorted((key or b"").decode() for key, times in seen.items() if times == 2),
            "births_once": sum(times == 1 for times in seen.values()),
            "declined": [
                json.loads(d.value or b"{}")["source"]["offset"] for d in read(site.servers, (site.decisions,))
            ],
        },
    )


def _to_the_end(ground: Ground, site: Site) -> None:
    with ground.worker(site, until_end=True) as worker:
        if worker.wait(60) != 0:
            raise MissedError(f"--until-end ended with {worker.code}: {worker.said[-800:]}")
