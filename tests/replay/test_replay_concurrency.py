"""Replays at the same moment as others, and what ends one in the middle: no event gets a message of a template twice,
and who loses says so, and to whom."""

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from processor.cli.past_options import command_text
from processor.cli.replay import _as_json
from processor.engine.loop import run
from processor.engine.step import Step, StepHook
from processor.errors import DependencyError, InputError, OperationUnderWayError, UsageError
from processor.kafka.local.kafka import LocalKafka, local_kafka
from processor.observability.signals import ShutdownRequested
from processor.replay import operation as past
from processor.replay import past_publisher
from processor.replay.operation import OnPhase, OperationOptions, run_operation
from processor.replay.replay import ReplayCommand
from processor.replay.report import OperationReport, PartitionReport
from processor.replay.request import ReplayRequest
from processor.replay.selection import Selection
from tests.replay.plain_reader import created, once, progress_states
from tests.replay.test_replay import run_replay, skip
from tests.replay.test_replay_claims import Killed, make_installation, set_positions
from tests.support.events import repayment
from tests.support.installation import ROOT, Installation
from tests.support.services import SOON_STARTED_AGAIN
from tests.support.waiting import wait_until

pytestmark = pytest.mark.kafka

EVENTS: Final = 24
LATE: Final = pytest.mark.long  # most of the seeds
TIMEOUT_S: Final = 60.0
STEPS: Final = (Step.BEGUN, Step.PRODUCED, Step.OFFSETS_SENT, Step.COMMITTING, Step.COMMITTED)


@pytest.fixture
def installation(
    bootstrap_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Installation:
    """One partition, one template, and batches of a few events."""
    return small_batches(make_installation(bootstrap_servers, topic_prefix, tmp_path, monkeypatch))


def small_batches(installation: Installation) -> Installation:
    """So that a few events take some transactions."""
    return replace(installation, settings=installation.settings.model_copy(update={"max_batch_records": 4}))


def on_host(installation: Installation, name: str) -> Installation:
    """The same installation with a state folder of its own, as another host has it."""
    folder = installation.settings.state_dir
    assert folder is not None
    return replace(installation, settings=installation.settings.model_copy(update={"state_dir": folder / name}))


def start(
    pool: ThreadPoolExecutor,
    installation: Installation,
    *,
    partition: int = 0,
    template: str | None = None,
    on_step: StepHook = lambda _step: None,
    on_phase: OnPhase = lambda _what, _done, _total: None,
    **options: Any,
) -> "Future[OperationReport]":
    """A replay of a partition beside others. `template` makes it another command that asks for the same."""
    how: dict[str, Any] = {"yes": True, "by": "ada", **options}
    command = f"--partition {partition}" + ("" if template is None else f" --template {template}")
    asked = ReplayRequest(command=command, selection=Selection(partitions=(partition,)))
    return pool.submit(
        run_operation,
        installation.settings,
        ReplayCommand(asked),
        OperationOptions(**how),
        on_step=on_step,
        on_phase=on_phase,
    )


def random_waits(rng: random.Random, most_s: float) -> StepHook:
    """Waits at some steps, so that whoever comes meanwhile finds any state of a transaction."""
    waits = {step: rng.uniform(0, most_s) for step in STEPS if rng.random() < 0.5}
    return lambda step: time.sleep(waits.get(step, 0))


def losses(futures: Sequence["Future[OperationReport]"]) -> list[OperationUnderWayError]:
    """The errors of those that another one kept out; all others are done."""
    found = []
    for future in futures:
        error = future.exception(TIMEOUT_S)
        if error is None:
            assert not future.result().stopped
        else:
            assert isinstance(error, OperationUnderWayError), error
            found.append(error)
    return found


class Pause:
    """An `on_phase` that waits when an operation comes to its events for the first time, until `go_on`."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._go_on = threading.Event()

    def __call__(self, what: str, _done: int, _total: int) -> None:
        """As OnPhase."""
        if what == "events" and not self.reached.is_set():
            self.reached.set()
            assert self._go_on.wait(TIMEOUT_S)

    def go_on(self) -> None:
        """Let it go on."""
        self._go_on.set()


@contextmanager
def paused_replay(installation: Installation, **options: Any) -> Iterator[tuple[Pause, "Future[OperationReport]"]]:
    """A replay that has published a batch, and waits between two transactions; it goes on with the end of the block."""
    pause = Pause()
    with ThreadPoolExecutor(1) as pool:
        future = start(pool, on_host(installation, "first"), on_phase=pause, **options)
        try:
            wait_until(lambda: pause.reached.is_set() or future.done())
            assert pause.reached.is_set(), future.exception()
            yield pause, future
        finally:
            pause.go_on()


# ---------------------------------------------------------------------------------------------------------------------
# Two operators


def test_a_second_operator(installation: Installation) -> None:
    """Refused before anything is touched, with who is at work and where; the first one ends as if alone. What the
    second types next finds nothing missing."""
    skip(installation, [repayment(number) for number in range(EVENTS)])
    with paused_replay(installation) as (pause, first):
        before = created(installation)
        with pytest.raises(OperationUnderWayError) as refused:
            run_replay(on_host(installation, "second"), template=["note"], yes=True)
        assert before == created(installation)
        pause.go_on()
        operation = first.result(TIMEOUT_S).operation

    assert refused.value.exit_code == 4
    assert re.fullmatch(
        rf"operation {operation} is under way: by ada on host \S+ \(process {os.getpid()}\), last seen at \S+, and has "
        r"partition 0\nhint: wait until it has ended; `--take-over` ends it, .*",
        str(refused.value),
    )
    assert once(range(EVENTS)) == created(installation)
    assert [(operation, "UNDER_WAY"), (operation, "DONE")] == progress_states(installation)
    assert 0 == run_replay(on_host(installation, "second"), template=["note"], yes=True)


@pytest.mark.parametrize("host", ["first", "second"])
def test_take_over(installation: Installation, host: str) -> None:
    """Also on the host of the other one, whose local store it leaves alone; that one ends with exit code 4, and says to
    whom."""
    skip(installation, [repayment(number) for number in range(EVENTS)])
    with paused_replay(installation) as (pause, first):
        with ThreadPoolExecutor(1) as pool:
            second = start(pool, on_host(installation, host), template="note", take_over=True, by="bo")
            operation = second.result(TIMEOUT_S).operation
        before = installation.read_operations()
        pause.go_on()
        error = first.exception(TIMEOUT_S)

    assert isinstance(error, OperationUnderWayError)
    assert error.exit_code == 4
    assert re.fullmatch(
        rf"another process has taken over partition 0: operation {operation}, by bo on host \S+ \(process \d+\), last "
        r"seen at \S+\nhint: what was written so far stays; when the other one has ended, the same command goes on",
        str(error),
    )
    assert once(range(EVENTS)) == created(installation)
    assert before == installation.read_operations()


def test_a_dry_run_beside_it(installation: Installation) -> None:
    """It says that an operation is under way, and what it counts may be that one's; the other one ends as if alone."""
    skip(installation, [repayment(number) for number in range(EVENTS)])
    with paused_replay(installation) as (pause, first):
        with ThreadPoolExecutor(1) as pool:
            dry = start(pool, on_host(installation, "first"), yes=False).result(TIMEOUT_S)
        pause.go_on()
        report = first.result(TIMEOUT_S)

    (partition,) = _as_json(dry, rate=None)["partitions"]
    assert re.match(rf"operation {report.operation} is under way: by ada ", partition["operationUnderWay"])
    assert (EVENTS - 4, 4, None) == (partition["events"], partition["withOutcome"], dry.operation)
    assert once(range(EVENTS)) == created(installation)
    assert [(report.operation, "UNDER_WAY"), (report.operation, "DONE")] == progress_states(installation)


# ---------------------------------------------------------------------------------------------------------------------
# Beside `run`


@pytest.mark.parametrize("seed", [*range(1), *(pytest.param(seed, marks=LATE) for seed in range(1, 5))])
def test_beside_run(installation: Installation, seed: int) -> None:
    """`run` goes on with later events meanwhile: each event has its message once, of whomever."""
    rng = random.Random(seed)
    skip(installation, [repayment(number) for number in range(EVENTS)])
    installation.produce_events([repayment(number) for number in range(EVENTS, 5 * EVENTS)])
    settings = installation.settings.model_copy(update={"max_batch_records": 3})
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(run, settings, until_end=True, on_step=random_waits(rng, 0.02))
        time.sleep(rng.uniform(0, 3))
        replaying = start(pool, on_host(installation, "past"), on_step=random_waits(rng, 0.1))
        assert [] == losses([replaying])
        running.result(TIMEOUT_S)

    assert once(range(5 * EVENTS)) == created(installation)
    assert [5 * EVENTS] == installation.committed()
    assert 0 == run_replay(installation)


def test_beside_run_from_the_beginning(installation: Installation) -> None:
    """The group has a position: the option is ignored, and both end as if alone."""
    skip(installation, [repayment(number) for number in range(EVENTS)])
    with paused_replay(installation) as (pause, first):
        installation.run(start_from="beginning")
        pause.go_on()
        first.result(TIMEOUT_S)

    assert once(range(EVENTS)) == created(installation)


def test_no_position_no_past(installation: Installation) -> None:
    """Without a position there is nothing to replay, whatever `run --start-from beginning` does at that moment: exit
    code 5, or nothing is missing."""
    installation.produce_events([repayment(number) for number in range(EVENTS)])
    with pytest.raises(InputError, match=r"has no position in .*: what `run` has not reached is not in the past"):
        run_replay(on_host(installation, "past"), yes=True)
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(run, installation.settings, until_end=True, start_from="beginning")
        while not running.done():
            error = start(pool, on_host(installation, "past")).exception(TIMEOUT_S)
            assert error is None or isinstance(error, InputError), error
        running.result(TIMEOUT_S)

    assert once(range(EVENTS)) == created(installation)


# ---------------------------------------------------------------------------------------------------------------------
# A process that ends, or stops, in the middle

PROGRAM: Final = """
import os, signal, sys
from processor.engine.step import Step
from processor.cli.main import main
import processor.replay.operation as operation

step, left, number = sys.argv.pop(1), int(sys.argv.pop(1)), int(sys.argv.pop(1))

def hook(reached):
    global left
    left -= reached == step
    if reached == step and left == 0:
        os.kill(os.getpid(), number)

run_operation = operation.run_operation
operation.run_operation = lambda *given, **named: run_operation(*given, **named, on_step=hook)
main()
"""


@contextmanager
def replay_process(
    installation: Installation, *arguments: str, step: str = "", nth: int = 1, signal_number: int = signal.SIGKILL
) -> Iterator["subprocess.Popen[str]"]:
    """`processor replay --yes ARGUMENTS`, which sends itself a signal when it comes by `step` for the nth time."""
    settings = installation.settings
    running = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, step, str(nth), str(int(signal_number)), "replay", "--yes", *arguments],
        env={
            **installation.env(),
            "PROCESSOR_OUTPUT__FORMAT": "json",
            "PROCESSOR_TEMPLATES_DIR": str(settings.templates_dir),
            "PROCESSOR_STATE_DIR": f"{settings.state_dir}/process",
            "PROCESSOR_MAX_BATCH_RECORDS": "4",
            "PROCESSOR_TRANSACTION_TIMEOUT_MS": "3000",
            "COLUMNS": "200",
        },
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield running
    finally:
        running.kill()
        running.communicate(timeout=15)


@pytest.mark.process
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_each_step(installation: Installation, step: Step) -> None:
    """The same command goes on under the same id, and each event has its message once; again: none."""
    skip(installation, [repayment(number) for number in range(EVENTS)])
    with replay_process(installation, step=step, nth=3) as process:
        assert -signal.SIGKILL == process.wait(TIMEOUT_S)
    (operation, state) = progress_states(installation)[-1]
    assert state == "UNDER_WAY"

    assert 0 == run_replay(installation, yes=True)
    assert once(range(EVENTS)) == created(installation)
    assert {operation} == {name for name, _ in progress_states(installation)}
    last = installation.read_operations()[-1]
    assert ("DONE", EVENTS, EVENTS) == (last["state"], last["next"], last["counts"]["messages"])
    assert 0 == run_replay(installation)


@pytest.mark.process
@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_by_a_person(installation: Installation, signal_number: int) -> None:
    """It says so, on the screen and on operations, and with exit code 1, as something is still missing; --resume goes
    on with it."""
    skip(installation, [repayment(number) for number in range(EVENTS)])
    with replay_process(installation, "--rate", "4") as process:
        wait_until(installation.read_statuses, timeout_s=TIMEOUT_S)
        process.send_signal(signal_number)
        out, err = process.communicate(timeout=TIMEOUT_S)
        code = process.returncode
    (operation, state) = progress_states(installation)[-1]

    assert (1, "STOPPED", "") == (code, state, err.replace("going on", "").strip())
    assert f"operation {operation} stopped before the end; the same command goes on: " in out
    assert 0 < created(installation).total() < EVENTS
    assert 0 == run_replay(installation, resume=operation, yes=True)
    assert once(range(EVENTS)) == created(installation)
    assert (operation, "DONE") == progress_states(installation)[-1]


@pytest.mark.process
@pytest.mark.parametrize("frozen_s", [0.0, 5.0])
@pytest.mark.parametrize("step", [Step.PRODUCED, Step.COMMITTING, Step.COMMITTED])
def test_frozen_and_woken_after_another_took_over(installation: Installation, step: Step, frozen_s: float) -> None:
    """It writes nothing more, and ends with exit code 4, however long it was frozen: also for longer than a transaction
    may live."""
    skip(installation, [repayment(number) for number in range(EVENTS)])
    with replay_process(installation, step=step, nth=2, signal_number=signal.SIGSTOP) as process:
        wait_until(lambda: status_of(process.pid) == "T", timeout_s=TIMEOUT_S)
        frozen_at = time.monotonic()
        assert 0 == run_replay(installation, template=["note"], take_over=True, yes=True)
        before = created(installation), installation.read_operations()
        time.sleep(max(0.0, frozen_at + frozen_s - time.monotonic()))
        process.send_signal(signal.SIGCONT)
        _, err = process.communicate(timeout=TIMEOUT_S)

    assert 4 == process.returncode, err
    assert "another process has taken over partition 0: operation replay-" in err
    assert "Traceback" not in err
    assert (once(range(EVENTS)), before[1]) == (created(installation), installation.read_operations())


def status_of(pid: int) -> str:
    """The letter of a process's state, as Linux has it; T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_dry_run_ends_at_once(installation: Installation) -> None:
    """Ctrl-C is not kept waiting until all outputs are read, which may take minutes."""
    skip(installation, [repayment(number) for number in range(EVENTS)])
    phases: list[str] = []

    def interrupt(what: str, _done: int, _total: int) -> None:
        if not phases:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)  # a thread notes it
        phases.append(what)

    with pytest.raises(ShutdownRequested):
        run_operation(installation.settings, ReplayCommand(ReplayRequest()), OperationOptions(), on_phase=interrupt)
    assert ["outputs"] == phases


@pytest.mark.process
@pytest.mark.timeout(240)
@pytest.mark.parametrize("end", [LocalKafka.kill, LocalKafka.stop])
def test_a_broker_that_ends_in_the_middle(
    end: Callable[[LocalKafka], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes back: the replay goes on, or ends with exit code 3 and the same command does; each message once."""
    with local_kafka(extra=SOON_STARTED_AGAIN) as kafka:
        installation = small_batches(make_installation(kafka.bootstrap_servers, "test.", tmp_path, monkeypatch))
        skip(installation, [repayment(number) for number in range(EVENTS)])
        with ThreadPoolExecutor(1) as pool:
            replaying = start(pool, installation, rate=4.0)
            wait_until(installation.read_statuses, timeout_s=TIMEOUT_S)
            end(kafka)
            kafka.restart()
            error = replaying.exception(120)
        assert error is None or (isinstance(error, DependencyError) and error.exit_code == 3), error
        assert error is None or "\nhint: " in str(error)

        assert 0 == run_replay(installation, partition=[0], yes=True)
        assert once(range(EVENTS)) == created(installation)
        assert 1 == len({name for name, _ in progress_states(installation)}) or error is None


def killed_in(partition: int) -> Callable[..., PartitionReport]:
    """The work in a partition, of a process that is killed when it comes to `partition`."""
    run_partition = past._run_partition

    def run_or_die(session: past.Session, command: past.PastCommand, number: int, on_phase: OnPhase) -> PartitionReport:
        if number == partition:
            raise Killed
        return run_partition(session, command, number, on_phase)

    return run_or_die


@pytest.mark.parametrize("is_reissue", [False, True])
def test_killed_between_two_partitions(
    bootstrap_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_reissue: bool
) -> None:
    """The operation is not done: --resume and the same command go on with it where it had not begun, and leave what it
    has done; of a reissue too, which nobody gets twice of."""
    installation = make_installation(bootstrap_servers, topic_prefix, tmp_path, monkeypatch, partitions=2)
    for partition in range(2):
        installation.produce_events([repayment(number) for number in range(3)], partition=partition)
    set_positions(installation, 3, 3)
    if is_reissue:
        assert 0 == run_replay(installation, yes=True)
    typed: dict[str, Any] = {"reissue": True, "because": "wrong amount"} if is_reissue else {}
    asked = ReplayRequest(command=command_text(typed, left_out=frozenset()), reissue=is_reissue)
    options = OperationOptions(yes=True, by="ada", because=typed.get("because"))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(past, "_run_partition", killed_in(1))
        run_operation(installation.settings, ReplayCommand(asked), options)
    (operation, state) = progress_states(installation)[-1]
    assert state == "DONE"
    assert operation not in {name for name, _ in progress_states(installation, 1)}

    assert 0 == run_replay(installation, yes=True, **typed)
    assert [(operation, "UNDER_WAY"), (operation, "DONE")] == progress_states(installation, 1)[-2:]
    assert (operation, "DONE") == progress_states(installation)[-1]
    for partition in range(2):
        statuses = installation.read_statuses(partition)
        assert Counter(dict.fromkeys(range(3), 1 + is_reissue)) == Counter(
            status["source"]["offset"] for status in statuses
        )
    with pytest.raises(UsageError, match=f"no partition has an unfinished operation {operation}"):
        run_replay(installation, resume=operation, yes=True)


class NoProducer:
    """A publisher to which the broker gives no transactional id."""

    def reset_producer(self, _topics: Any, *, between_attempts: Callable[[], None]) -> None:
        """As TransactionalPublisher."""
        for _ in range(100):
            between_attempts()
            time.sleep(0.05)

    def close(self) -> None:
        """As TransactionalPublisher."""


def test_a_broker_that_gives_no_transactional_id(installation: Installation) -> None:
    """It is not waited for without end: exit code 3, and what to do."""
    skip(installation, [repayment(number) for number in range(3)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(past_publisher, "MAX_FAILING_S", 0.2)
        patch.setattr(past, "create_publisher", lambda *_given, **_named: NoProducer())
        with pytest.raises(DependencyError, match="the broker gives no transactional id\nhint: the same command"):
            run_replay(installation, yes=True)
    assert 0 == run_replay(installation, yes=True)
    assert once(range(3)) == created(installation)
