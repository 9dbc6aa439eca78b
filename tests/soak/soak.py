"""The soak: iterations of a continuing workload under a shuffled schedule of faults, each checked at its end.

An iteration's seed draws its plan: which fault comes when, at which worker, at which visit of a step. Threads and
clocks are not seeded, so a seed repeats the plan, not every interleaving.
"""

import contextlib
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from processor.kafka.local.kafka import local_kafka
from tests.soak.checker import Kind, check_outputs
from tests.soak.duplicate_sender import DuplicateSender
from tests.soak.fault_runner import FaultRunner
from tests.soak.faults import (
    BROKER_SETTINGS,
    BrokerFault,
    BrokerFaultKind,
    BrokerFaults,
    broker_fault_schedule,
    fault_schedule,
)
from tests.soak.installation import Timeouts, create_topics, soak_installation
from tests.soak.iteration import Iteration, RunningIteration, registry_label
from tests.soak.registry import Registry
from tests.soak.scenarios import Environment
from tests.soak.workers import EVENTUALLY_S, lag, wait_until_caught_up
from tests.soak.workload import InputProducer, Workload, mixed_records
from tests.support.installation import Installation
from tests.support.waiting import becomes_true

RUNNER_TIMEOUT_S: Final = 400.0  # of one fault, which waits twice for what a busy machine does late
CHECK_TIME_S: Final = 90.0  # reserved at the end of the soak for the last iteration's check
MIN_ITERATION_S: Final = 30.0
SESSION_TIMEOUT_MS: Final = 6_000
#: In the broker's log, where it omits abort markers: see `PAUSED_BROKER`.
SKIPPED_MARKERS: Final = "these partitions are likely deleted already and hence can be skipped"


@dataclass(frozen=True, slots=True)
class SoakOptions:
    """`seed` is the first iteration's, the next one has the next; `rate` is in records a second; `logs` a folder."""

    seconds: float
    seed: int
    protocols: Sequence[str]
    rate: int
    logs: Path


def run_soak(options: SoakOptions, log_progress: Callable[[str], None]) -> Iterator[Iteration]:
    """Iterations until the time is over, each with a broker of its own; the last one is cut short to fit. Blocks."""
    end = time.monotonic() + options.seconds
    number = 0
    while time.monotonic() < end - CHECK_TIME_S - MIN_ITERATION_S or number == 0:
        iteration = plan_iteration(options, number)
        log_progress(
            f"iteration {number}: seed {iteration.seed}, {iteration.protocol}, {iteration.worker_count} workers, "
            f"broker faults: {iteration.broker_faults}"
        )
        broker_settings = {
            **BROKER_SETTINGS[iteration.broker_faults],
            "group.consumer.session.timeout.ms": str(SESSION_TIMEOUT_MS),
        }
        data = options.logs / f"broker-{number}"
        with local_kafka(data=data, extra=broker_settings) as kafka:
            environment = Environment(kafka, iteration.protocol, seed=iteration.seed, logs=options.logs)
            run_iteration(environment, iteration, rate=options.rate, deadline=end - CHECK_TIME_S)
            iteration.skipped_markers = kafka.log.read_text(errors="replace").count(SKIPPED_MARKERS)
        if not iteration.findings:
            shutil.rmtree(data)  # else the broker's log is the evidence
        yield iteration
        number += 1


def plan_iteration(options: SoakOptions, number: int) -> Iteration:
    """Drawn from the iteration's seed."""
    seed = options.seed + number
    rng = random.Random(seed)
    return Iteration(
        number=number,
        protocol=options.protocols[number % len(options.protocols)],
        seed=seed,
        worker_count=rng.randint(2, 4),
        transactional=rng.random() < 0.3,
        broker_faults=rng.choice(sorted(BrokerFaults)),
    )


def run_iteration(environment: Environment, iteration: Iteration, *, rate: int, deadline: float) -> None:
    """Workload and faults, then two workers without faults until the group is at the input's end, then the check.

    Blocks. No fault begins after `deadline` (monotonic). The results are put into `iteration`.
    """
    rng = random.Random(iteration.seed)
    began = time.monotonic()
    with Registry() as registry:
        installation = _create_installation(
            environment, iteration, registry, batch_records=rng.choice((20, 100, 1_000))
        )
        # The workload does not go through proxies: only the broker's own faults reach it.
        producer = InputProducer(installation, transactional=iteration.transactional)
        events = mixed_records(seed=iteration.seed, avro=True)
        workload = Workload(producer, events, rate=rate, transactional=iteration.transactional, seed=iteration.seed)
        running = RunningIteration(environment, installation, iteration, workload=workload, deadline=deadline)
        duplicate_sender = DuplicateSender(running, registry)
        workload.start()
        try:
            duplicate_sender.thread.start()
            _inject_faults(running, rng)
            running.done.set()
            duplicate_sender.finish()
        finally:
            running.done.set()
            running.kill_workers()
            workload.stop()
        producer.merge(duplicate_sender.producer)
        _drain(running)
        check = check_outputs(installation, producer.committed_records())
        iteration.findings += check.findings
        iteration.counts, iteration.aborted = check.counts, check.aborted
        iteration.injected += Counter({registry_label(kind): count for kind, count in registry.odd_kinds.items()})
    iteration.seconds = time.monotonic() - began


def _create_installation(
    environment: Environment, iteration: Iteration, registry: Registry, *, batch_records: int
) -> Installation:
    installation = soak_installation(
        environment.kafka.bootstrap_servers,
        f"i{iteration.number}-{iteration.protocol}.",
        protocol=iteration.protocol,
        timeouts=Timeouts(SESSION_TIMEOUT_MS, iteration.transaction_timeout_ms),
    ).with_env({"PROCESSOR_MAX_BATCH_RECORDS": str(batch_records), **registry.settings})
    create_topics(installation)
    return installation


def _inject_faults(running: RunningIteration, rng: random.Random) -> None:
    """Each instance id has its share of the schedule; the broker's faults come meanwhile. Returns when all are done."""
    iteration, count = running.result, running.result.worker_count
    faults = fault_schedule(rng)
    runners = [FaultRunner(running, f"w{n}", faults[n::count]) for n in range(count)]
    for runner in runners:
        runner.thread.start()
    for broker_fault in broker_fault_schedule(rng, iteration.broker_faults):
        all_ended = becomes_true(lambda: not any(runner.thread.is_alive() for runner in runners), rng.uniform(15, 30))
        if all_ended or running.deadline_passed():
            break
        with running.broker_lock:
            _inject_broker_fault(running, broker_fault)
    for runner in runners:
        if not runner.wait(RUNNER_TIMEOUT_S):
            running.add_finding(Kind.HARNESS, f"{runner.thread.name} does not end its fault")


def _inject_broker_fault(running: RunningIteration, fault: BrokerFault) -> None:
    kafka = running.environment.kafka
    running.broker_away = True
    try:
        running.hold_end_txn(fault.kind is not BrokerFaultKind.PAUSE)
        match fault.kind:
            case BrokerFaultKind.PAUSE:
                kafka.pause()
                time.sleep(fault.seconds)
                kafka.resume()
            case BrokerFaultKind.KILL:
                kafka.kill()
                running.hold_end_txn(False)
                kafka.start()
            case BrokerFaultKind.STOP:
                kafka.stop()
                running.hold_end_txn(False)
                kafka.start()
        running.count(fault.kind)
    finally:
        running.away_at = time.monotonic()
        time.sleep(2)
        running.broker_away = False


def _drain(running: RunningIteration) -> None:
    """Two workers without faults take the group to the input's end and stop cleanly."""
    installation, environment = running.installation, running.environment
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(environment.worker(installation, instance_id=f"w{n}")) for n in range(2)]
        if not wait_until_caught_up(
            installation, EVENTUALLY_S, or_else=lambda: any(worker.exit_code is not None for worker in workers)
        ):
            running.add_finding(
                Kind.STALLED,
                f"after the last fault the group stays behind for {EVENTUALLY_S:.0f} s: {lag(installation)}",
            )
        for worker in workers:
            name = f"{worker.instance_id}, after the last fault"
            if worker.exit_code is not None:
                running.add_finding(Kind.EXIT, f"{name}: ended by itself with {worker.exit_code}", worker)
            elif (exit_code := worker.stop()) != 0:
                running.add_finding(Kind.EXIT, f"{name}: ended with {exit_code} on SIGTERM", worker)
