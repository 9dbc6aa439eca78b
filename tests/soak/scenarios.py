"""Scenarios: a workload on an installation of its own, a fault injected at a chosen point, then the checker.

The tests of `tests/scenarios` run each as it is; `tests.soak.mutation_testing` runs them with a mutation of the engine.
A scenario whose fault was not injected raises `FaultMissedError`: it would prove nothing.
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

from processor.engine.step import Step
from processor.kafka.local.kafka import LocalKafka
from tests.soak.checker import CheckResult, Finding, Kind, check_outputs
from tests.soak.expected import Duplicate, Record, expected_outputs, valid_record
from tests.soak.history import end_offsets, read
from tests.soak.installation import (
    LONG_TIMEOUTS,
    PARTITIONS,
    QUICK_TIMEOUTS,
    TEMPLATES_DIR,
    Timeouts,
    create_topics,
    soak_installation,
    timeout_settings,
)
from tests.soak.proxy import EndTxnFault, EndTxnLoss, WrittenRecords
from tests.soak.workers import EVENTUALLY_S, StepSignal, Worker, lag, wait_until_caught_up
from tests.soak.workload import InputProducer, Workload, event_json, mixed_records, valid_records
from tests.support.installation import Installation
from tests.support.waiting import becomes_true

RECOVERY_STEPS = (Step.RECOVERING, Step.RECOVERED, Step.SOUGHT)
BATCH_STEPS = tuple(step for step in Step if step not in RECOVERY_STEPS)
OPEN_TRANSACTION_STEPS = (Step.PRODUCED, Step.OFFSETS_SENT, Step.COMMITTING)
"""Steps at which a transaction is open on the broker."""

SEND_DELAY_MS = 600  # how long librdkafka is given, after a step, to send what it was handed; 150 was too little once
SMALL_BATCHES = {"PROCESSOR_MAX_BATCH_RECORDS": "60"}
MARKERS_WRITTEN_S = 0.5  # in which the broker writes the markers of transactions that have ended
KILL_ATTEMPTS = 3  # until a kill has hit an open transaction
SHORT_TRANSACTION_MS = 2_500  # transaction.timeout.ms of scenarios that wait until it has passed
SHORT_TIMEOUTS = Timeouts(QUICK_TIMEOUTS.session_ms, SHORT_TRANSACTION_MS)


class FaultMissedError(Exception):
    """The fault was not injected, so the scenario proves nothing."""


@dataclass(frozen=True)
class Environment:
    """What a scenario runs in: a broker, a group protocol, a seed for its workload, and a mutation of the engine."""

    kafka: LocalKafka
    protocol: str
    seed: int = 1
    mutation: str | None = None
    logs: Path | None = None

    def installation(
        self, name: str, env_overrides: Mapping[str, str], *, timeouts: Timeouts = LONG_TIMEOUTS
    ) -> Installation:
        """A new installation with its topics."""
        installation = self.installation_without_topics(name, timeouts=timeouts).with_env(env_overrides)
        create_topics(installation)
        return installation

    def installation_without_topics(
        self,
        name: str,
        *,
        partitions: int = PARTITIONS,
        timeouts: Timeouts = LONG_TIMEOUTS,
        templates_dir: Path = TEMPLATES_DIR,
    ) -> Installation:
        """A new installation that has no topics yet."""
        return soak_installation(
            self.kafka.bootstrap_servers,
            f"{name}-{self.protocol}-{secrets.token_hex(3)}.",
            protocol=self.protocol,
            partitions=partitions,
            timeouts=timeouts,
            templates_dir=templates_dir,
        )

    def worker_with_long_timeouts(self, installation: Installation, *, instance_id: str = "w0") -> Worker:
        """A worker to which no fault comes, so that its timeouts need not be short."""
        with_long_timeouts = installation.with_env(timeout_settings(self.protocol, LONG_TIMEOUTS))
        return self.worker(with_long_timeouts, instance_id=instance_id)

    def worker(
        self,
        installation: Installation,
        *,
        instance_id: str = "w0",
        signal_at: StepSignal | None = None,
        until_end: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Worker:
        """A worker of `installation`, with the environment's mutation in it. `env` comes after the installation's."""
        arguments = [] if signal_at is None else signal_at.arguments
        if until_end:
            arguments.append("--until-end")
        if self.mutation is not None:
            arguments += ["--mutation", self.mutation]
        return Worker(installation, arguments, instance_id=instance_id, logs=self.logs, env=env or {})


@dataclass(frozen=True)
class Kill:
    """A worker that was killed, and what its transaction had written by then; the checker says what was aborted."""

    step: str
    written: WrittenRecords = frozenset()
    loss: EndTxnLoss | None = None

    def in_transaction(self, aborted: frozenset[tuple[str, int, int]]) -> bool:
        """Whether a transaction was open: `aborted`, the aborted records on the log, has records of it."""
        return bool(self.written & aborted)


@dataclass
class ScenarioResult:
    """What the checker found, the kills, and what else the scenario has observed, by name."""

    check: CheckResult
    kills: list[Kill] = field(default_factory=list)
    observations: Mapping[str, Any] = field(default_factory=dict)


def workload_records(count: int, *, seed: int, **options: Any) -> list[Record]:
    """The first `count` records of the mixed workload."""
    return list(itertools.islice(mixed_records(seed=seed, **options), count))


@contextlib.contextmanager
def running_workload(
    installation: Installation, *, seed: int, rate: int, transactional: bool = False, avro: bool = False
) -> Iterator[InputProducer]:
    """The producer of a workload that goes on while the block runs. `avro`: see `mixed_records`."""
    producer = InputProducer(installation, transactional=transactional)
    workload = Workload(
        producer, mixed_records(seed=seed, avro=avro), rate=rate, transactional=transactional, seed=seed
    )
    workload.start()
    try:
        yield producer
    finally:
        workload.stop()


def produce_records(installation: Installation, records: Sequence[Record]) -> InputProducer:
    """A producer that has sent `records` to the input."""
    producer = InputProducer(installation)
    producer.send(records)
    return producer


def drain_and_check(
    installation: Installation,
    producer: InputProducer,
    *workers: Worker,
    timeout_s: float = EVENTUALLY_S,
    kills: Sequence[Kill] = (),
    **observations: Any,
) -> ScenarioResult:
    """Wait until the group is at the input's end, stop `workers`, and check the outputs.

    A worker that ended by itself, one that did not stop cleanly, and a group that lags and has not moved for
    `timeout_s` are findings too.
    """
    findings = []
    if not wait_until_caught_up(installation, timeout_s, or_else=lambda: any(w.exit_code is not None for w in workers)):
        findings.append(Finding(Kind.STALLED, f"for {timeout_s:.0f} s the group stays behind: {lag(installation)}"))
    for worker in workers:
        if worker.exit_code is not None:
            findings.append(
                Finding(
                    Kind.EXIT, f"{worker.instance_id} ended by itself with {worker.exit_code}: {worker.log_text[-600:]}"
                )
            )
    for worker in workers:
        if worker.exit_code is None and (exit_code := worker.stop()) != 0:
            findings.append(
                Finding(Kind.EXIT, f"{worker.instance_id} ended with {exit_code} on SIGTERM: {worker.log_text[-600:]}")
            )
    check = check_outputs(installation, producer.committed_records())
    check = replace(check, findings=(*findings, *check.findings))
    return ScenarioResult(check, list(kills), observations)


def no_fault(environment: Environment) -> ScenarioResult:
    """A mixed workload with duplicates and bad records, processed by one worker until the end, without a fault.

    FaultMissedError when a transaction was aborted all the same: on a busy machine a session may time out.
    """
    installation = environment.installation("no-fault", SMALL_BATCHES)
    producer = produce_records(installation, workload_records(1_500, seed=environment.seed, duplicate_ratio=0.05))
    with environment.worker(installation, until_end=True) as worker:
        exit_code = worker.wait(EVENTUALLY_S)
        result = drain_and_check(installation, producer, timeout_s=5)
        if exit_code != 0:
            finding = Finding(Kind.EXIT, f"--until-end ended with {exit_code}: {worker.log_text[-600:]}")
            result.check = replace(result.check, findings=(finding, *result.check.findings))
    if result.check.aborted and not result.check.findings:
        raise FaultMissedError(f"{len(result.check.aborted)} records were aborted in a run without a fault")
    return result


def unknown_commit(environment: Environment, loss: EndTxnLoss) -> ScenarioResult:
    """The worker does not learn how a commit ended: first the EndTxn request or its response alone is lost, and the
    consumer stays a member; then the connection is cut until the transaction has timed out. The process goes on."""
    installation = environment.installation("unknown", SMALL_BATCHES, timeouts=SHORT_TIMEOUTS)
    producer = InputProducer(installation)
    faults = (
        EndTxnFault(loss, nth=3, keep_connections=True),
        EndTxnFault(loss, nth=3, outage_s=SHORT_TRANSACTION_MS / 1000 + 1),
    )
    with environment.worker(installation) as worker:
        for number, fault in enumerate(faults, 1):
            worker.proxy.set_fault(fault)
            producer.send(workload_records(600, seed=environment.seed + number, numbers_from=1_000 * number))
            if not _wait_for_triggered(worker, number):
                break  # it does not commit any more: the checker will say so
            time.sleep(SHORT_TRANSACTION_MS / 1000 + 1)
        producer.send(workload_records(600, seed=environment.seed))
        return drain_and_check(
            installation,
            producer,
            worker,
            triggered_faults=list(worker.proxy.triggered_faults),
            log_text=worker.log_text,
        )


def _wait_for_triggered(worker: Worker, number: int) -> bool:
    return becomes_true(
        lambda: len(worker.proxy.triggered_faults) == number or worker.exit_code is not None, EVENTUALLY_S
    )


def lost_commit_request(environment: Environment) -> ScenarioResult:
    """EndTxn never reaches the coordinator."""
    return unknown_commit(environment, EndTxnLoss.REQUEST)


def lost_commit_response(environment: Environment) -> ScenarioResult:
    """The coordinator commits, its response is lost."""
    return unknown_commit(environment, EndTxnLoss.RESPONSE)


def lost_first_commit(environment: Environment, loss: EndTxnLoss) -> ScenarioResult:
    """A worker is restarted, and the EndTxn that ends its first transaction, or the response to it, is lost."""
    installation = environment.installation("first", SMALL_BATCHES, timeouts=SHORT_TIMEOUTS)
    producer = produce_records(installation, workload_records(300, seed=environment.seed))
    _run_until_end(environment, installation)
    producer.send(workload_records(300, seed=environment.seed + 1, numbers_from=1_000))
    with environment.worker(installation) as worker:
        worker.proxy.set_fault(EndTxnFault(loss, nth=1, keep_connections=True))
        _wait_for_triggered(worker, 1)
        return drain_and_check(installation, producer, worker, triggered_faults=list(worker.proxy.triggered_faults))


def lost_first_commit_request(environment: Environment) -> ScenarioResult:
    """EndTxn of a restarted worker's first transaction never reaches the coordinator."""
    return lost_first_commit(environment, EndTxnLoss.REQUEST)


def lost_first_commit_response(environment: Environment) -> ScenarioResult:
    """The coordinator commits a restarted worker's first transaction, its response is lost."""
    return lost_first_commit(environment, EndTxnLoss.RESPONSE)


def kill_at_steps(environment: Environment, steps: Sequence[str] = (*BATCH_STEPS, *RECOVERY_STEPS)) -> ScenarioResult:
    """One worker after the other kills itself at the next of `steps`; a last one processes what is left.

    A kill that should hit an open transaction and came before its records were sent is not counted, and tried again.
    """
    installation = environment.installation("kills", SMALL_BATCHES, timeouts=SHORT_TIMEOUTS)
    done: list[Kill] = []
    with running_workload(installation, seed=environment.seed, rate=100) as producer:
        for number, step in enumerate(steps):
            nth = 1 if step in RECOVERY_STEPS else 1 + number % 3
            for _ in range(KILL_ATTEMPTS):
                kill = _kill_at_step(environment, installation, step, nth)
                if kill.written or step not in OPEN_TRANSACTION_STEPS:
                    break
            done.append(kill)
    with environment.worker_with_long_timeouts(installation) as worker:
        return drain_and_check(installation, producer, worker, kills=done)


def _kill_at_step(environment: Environment, installation: Installation, step: str, nth: int) -> Kill:
    kill_at = StepSignal(step, nth=nth, delay_ms=SEND_DELAY_MS)
    with environment.worker(installation, signal_at=kill_at) as worker:
        if step in RECOVERY_STEPS:
            worker.proxy.set_fault(EndTxnFault(EndTxnLoss.REQUEST, nth=2, outage_s=SHORT_TRANSACTION_MS / 1000 + 1))
        exit_code = worker.wait(EVENTUALLY_S)
        if exit_code != -9:
            raise FaultMissedError(
                f"{step} was not reached, the worker's exit code is {exit_code}: {worker.log_text[-800:]}"
            )
        return Kill(step, worker.proxy.written())


def kills_at_committed(environment: Environment) -> ScenarioResult:
    """Killed just after a commit, three times."""
    return kill_at_steps(environment, (Step.COMMITTED,) * 3)


def kills_at_end_txn(environment: Environment) -> ScenarioResult:
    """Killed during a commit: before EndTxn arrives, and after the broker has responded to it."""
    installation = environment.installation("end-txn", SMALL_BATCHES, timeouts=QUICK_TIMEOUTS)
    done: list[Kill] = []
    with running_workload(installation, seed=environment.seed, rate=100) as producer:
        for number, loss in enumerate((EndTxnLoss.REQUEST, EndTxnLoss.RESPONSE) * 2):
            with environment.worker(installation) as worker:
                worker.proxy.set_fault(EndTxnFault(loss, nth=1 + number, on_trigger=worker.send_kill))
                if worker.wait(EVENTUALLY_S) != -9:
                    raise FaultMissedError(f"no EndTxn: {worker.log_text[-800:]}")
                (triggered,) = worker.proxy.triggered_faults
                done.append(Kill("EndTxn", triggered.written, loss))
    with environment.worker_with_long_timeouts(installation) as worker:
        return drain_and_check(installation, producer, worker, kills=done)


def zombie(environment: Environment, step: str) -> ScenarioResult:
    """A worker is paused at `step` and loses its membership, another takes over and finishes; then it is resumed."""
    installation = environment.installation("zombie", SMALL_BATCHES, timeouts=SHORT_TIMEOUTS)
    producer = produce_records(installation, workload_records(600, seed=environment.seed))
    pause_at = StepSignal(step, nth=3, delay_ms=SEND_DELAY_MS, signal="STOP")
    with environment.worker(installation, instance_id="a", signal_at=pause_at) as paused:
        if not becomes_true(lambda: paused.is_paused, EVENTUALLY_S):
            raise FaultMissedError(f"{step} was not reached: {paused.log_text[-800:]}")
        written = paused.proxy.written()
        with environment.worker(installation, instance_id="b") as successor:
            took_over = wait_until_caught_up(installation, EVENTUALLY_S)
            paused.resume()
            time.sleep(1)
            producer.send(workload_records(300, seed=environment.seed + 1_000, numbers_from=1_000))
            return drain_and_check(
                installation, producer, paused, successor, kills=[Kill(step, written)], took_over=took_over
            )


def scaling(environment: Environment) -> ScenarioResult:
    """One worker, then six, then two, under load; each has an instance id of its own."""
    installation = environment.installation("scaling", SMALL_BATCHES, timeouts=QUICK_TIMEOUTS)
    with contextlib.ExitStack() as stack:
        workers: list[Worker] = []

        def join(instance_id: str) -> None:
            workers.append(stack.enter_context(environment.worker(installation, instance_id=instance_id)))

        with running_workload(installation, seed=environment.seed, rate=250) as producer:
            join("w0")
            time.sleep(4)
            for number in range(1, 6):
                join(f"w{number}")
                time.sleep(0.7)
            time.sleep(6)
            if not becomes_true(lambda: all('"assigned"' in worker.log_text for worker in workers), EVENTUALLY_S):
                raise FaultMissedError(f"not all have joined: {[worker.log_text[-300:] for worker in workers]}")
            exit_codes = [worker.stop() for worker in workers[:4]]
            time.sleep(3)
        logs = [worker.log_text for worker in workers]
        return drain_and_check(installation, producer, *workers[4:], exit_codes=exit_codes, logs=logs)


def shared_transactional_id(environment: Environment, folders: Sequence[Path]) -> ScenarioResult:
    """Two processes with one instance id, each with its lock in a folder of its own, as on two hosts; under load."""
    installation = environment.installation("shared-id", SMALL_BATCHES, timeouts=QUICK_TIMEOUTS)
    with contextlib.ExitStack() as stack:
        with running_workload(installation, seed=environment.seed, rate=200) as producer:
            pair = [
                stack.enter_context(
                    environment.worker(
                        installation,
                        instance_id="same",
                        env={"TMPDIR": str(folder), "PROCESSOR_STATE_DIR": str(folder)},
                    )
                )
                for folder in folders
            ]
            becomes_true(lambda: any(worker.exit_code is not None for worker in pair), EVENTUALLY_S)
            exit_codes = [worker.exit_code for worker in pair]
            logs = [worker.log_text for worker in pair]
        running = [worker for worker in pair if worker.exit_code is None]
        return drain_and_check(installation, producer, *running, exit_codes=exit_codes, logs=logs)


def paused_broker(environment: Environment, pause_s: float) -> ScenarioResult:
    """The broker is paused in the middle of a transaction, for longer than sessions last."""
    installation = environment.installation("paused", SMALL_BATCHES, timeouts=QUICK_TIMEOUTS)
    producer = produce_records(installation, workload_records(2_500, seed=environment.seed))
    with environment.worker(installation) as worker:
        more = workload_records(500, seed=environment.seed + 1_000, numbers_from=10_000)
        written = hold_in_transaction(worker, producer, more)
        environment.kafka.pause()
        worker.proxy.hold_end_txn = False
        time.sleep(pause_s)
        environment.kafka.resume()
        return drain_and_check(installation, producer, worker, kills=[Kill("paused", written)])


def hold_in_transaction(worker: Worker, producer: InputProducer, records: Sequence[Record]) -> WrittenRecords:
    """Hold the worker in an open transaction, by holding its EndTxn; returns what the transaction has written by then.

    No other transaction of the worker is about to end then. `records` are produced for it meanwhile.
    """
    if not becomes_true(lambda: worker.proxy.commit_count > 3, EVENTUALLY_S):
        raise FaultMissedError(f"no commits: {worker.log_text[-800:]}")
    worker.proxy.hold_end_txn = True
    if not becomes_true(lambda: not worker.proxy.end_txn_pending, EVENTUALLY_S):
        raise FaultMissedError(f"a transaction does not end: {worker.log_text[-800:]}")
    time.sleep(MARKERS_WRITTEN_S)
    producer.send(records)
    if not becomes_true(worker.proxy.written, EVENTUALLY_S):
        raise FaultMissedError(f"no transaction has written anything: {worker.log_text[-800:]}")
    return worker.proxy.written()


def transactional_input(environment: Environment) -> ScenarioResult:
    """The input's producer commits some of its transactions, aborts others; the group ends after the last marker."""
    installation = environment.installation("markers", SMALL_BATCHES)
    producer = InputProducer(installation, transactional=True)
    for number in range(6):
        producer.transaction(
            workload_records(100, seed=environment.seed + number, numbers_from=1_000 * number), commit=number % 2 == 0
        )
    with environment.worker(installation) as worker:
        result = drain_and_check(installation, producer, worker)
    if result.check.counts["input"] != 300:
        raise FaultMissedError(f"{result.check.counts['input']} records are on the input, not 300")
    return result


def takeover(environment: Environment, *, same_instance_id: bool) -> ScenarioResult:
    """Killed with an open transaction and started again; `readers_s`: from the successor's first connection until
    readers go on, so that a slow start of its interpreter does not count."""
    installation = environment.installation(
        "takeover", SMALL_BATCHES, timeouts=Timeouts(QUICK_TIMEOUTS.session_ms, 30_000)
    )
    producer = produce_records(installation, workload_records(400, seed=environment.seed))
    kill_at = StepSignal(Step.OFFSETS_SENT, nth=2, delay_ms=SEND_DELAY_MS)
    with environment.worker(installation, instance_id="a", signal_at=kill_at) as worker:
        if worker.wait(EVENTUALLY_S) != -9:
            raise FaultMissedError(f"offsets_sent was not reached: {worker.log_text[-800:]}")
        kill = Kill(Step.OFFSETS_SENT, worker.proxy.written())
    at_kill = end_offsets(installation.servers, installation.outputs)
    if at_kill == end_offsets(installation.servers, installation.outputs, stable=True):
        raise FaultMissedError("no transaction was open")
    with environment.worker(installation, instance_id="a" if same_instance_id else "b") as successor:
        if not becomes_true(lambda: successor.proxy.connection_count > 0, EVENTUALLY_S, every_s=0.005):
            raise FaultMissedError(f"the successor did not connect: {successor.log_text[-800:]}")
        began = time.monotonic()

        def readers_go_on() -> bool:
            stable = end_offsets(installation.servers, installation.outputs, stable=True)
            return all(stable[at] >= end for at, end in at_kill.items())

        went_on = becomes_true(readers_go_on, EVENTUALLY_S, every_s=0.02)
        readers_s = time.monotonic() - began if went_on else float("inf")
        return drain_and_check(installation, producer, successor, kills=[kill], readers_s=readers_s)


def partition_growth(environment: Environment) -> ScenarioResult:
    """The input grows under load, first as it should (outputs before events), then in the wrong order: the partition
    without co-partitioned outputs is paused, the others go on; once it has them it goes on too. No worker ends."""
    installation = environment.installation_without_topics("growth", partitions=3).with_env(SMALL_BATCHES)
    create_topics(installation)
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(environment.worker(installation, instance_id=f"w{n}")) for n in range(2)]
        with running_workload(installation, seed=environment.seed, rate=100) as producer:
            time.sleep(4)
            _grow_topics(installation, 5)
        late = InputProducer(installation, partitions=5, numbers_from=1_000_000)
        late.send(_records_of_accounts(500, 200), partition=3)
        late.send(_records_of_accounts(600, 200), partition=4)
        late.merge(producer)
        if not wait_until_caught_up(installation, EVENTUALLY_S):
            raise FaultMissedError(f"the new partitions are not read: {lag(installation)}")
        admin = AdminClient({"bootstrap.servers": installation.servers})
        for future in admin.create_partitions([NewPartitions(installation.events, 6)]).values():
            future.result(30)
        time.sleep(1)  # until all clients have the metadata
        late.send(_records_of_accounts(700, 50), partition=5)
        late.send(_records_of_accounts(500, 50, numbers_from=1_000), partition=3)
        others_went_on = becomes_true(lambda: set(lag(installation)) == {5}, EVENTUALLY_S)
        time.sleep(2)
        paused_lag = lag(installation)
        _grow_topics(installation, 6)
        return drain_and_check(installation, late, *workers, others_went_on=others_went_on, paused_lag=paused_lag)


def _grow_topics(installation: Installation, partitions: int) -> None:
    done = installation.command("topics", "--grow", str(partitions), "--yes")
    if done.returncode != 0:
        raise FaultMissedError(f"topics --grow ended with {done.returncode}: {done.stdout}{done.stderr}")


def _records_of_accounts(first: int, count: int, *, numbers_from: int = 0) -> list[Record]:
    return [valid_record(event_json(account=first + n % 5, number=numbers_from + n + 1)) for n in range(count)]


def restarted_broker(environment: Environment) -> ScenarioResult:
    """The broker is killed in the middle of a transaction and started again. No transaction is about to end just then
    (see `tests.soak.installation`)."""
    installation = environment.installation(
        "restart", SMALL_BATCHES, timeouts=Timeouts(QUICK_TIMEOUTS.session_ms, 25_000)
    )
    producer = produce_records(installation, workload_records(2_000, seed=environment.seed))
    with environment.worker(installation) as worker:
        more = workload_records(500, seed=environment.seed + 1_000, numbers_from=10_000)
        written = hold_in_transaction(worker, producer, more)
        environment.kafka.kill()
        worker.proxy.hold_end_txn = False
        environment.kafka.start()
        return drain_and_check(installation, producer, worker, kills=[Kill("broker", written)])


def duplicate_events(environment: Environment) -> ScenarioResult:
    """An event again in its batch, in the next, and after a restart by another process."""
    installation = environment.installation("duplicates", {})
    event = valid_record(event_json(account=1, number=1))
    others = valid_records(1, range(2, 30))
    producer = produce_records(installation, [event, *others[:10], event])
    with environment.worker(installation) as first:
        if not wait_until_caught_up(installation, EVENTUALLY_S):
            raise FaultMissedError(first.log_text[-800:])
        producer.send([event, *others[10:]])
        if not wait_until_caught_up(installation, EVENTUALLY_S) or first.stop() != 0:
            raise FaultMissedError(first.log_text[-800:])
    producer.send([event])
    with environment.worker(installation, instance_id="another") as second:
        return drain_and_check(installation, producer, second)


def duplicate_input(environment: Environment) -> ScenarioResult:
    """All of the input produced once more, for a restarted worker."""
    installation = environment.installation("input-twice", SMALL_BATCHES)
    records = [
        record
        for record in workload_records(400, seed=environment.seed)
        if not isinstance(record.expectation, Duplicate)
    ]
    producer = produce_records(installation, records)
    _run_until_end(environment, installation)
    before = check_outputs(installation, producer.committed_records())
    producer.send(records)
    _run_until_end(environment, installation)
    return drain_and_check(installation, producer, messages_before=before.counts["communications.messages"])


def deduplication_window_edge(environment: Environment) -> ScenarioResult:
    """A deduplication window of 50 records: a duplicate at its edge, and one just beyond it, after a restart."""
    installation = environment.installation("edge", {"PROCESSOR_DEDUPLICATION__RECORDS": "50"})
    producer = InputProducer(installation)
    records = valid_records(1, range(1, 52))  # offsets 0 to 50
    producer.send(records, partition=0)
    _run_until_end(environment, installation)
    producer.send([records[0], records[2]], partition=0)  # offsets 51 and 52: 51 and 50 after their first records
    _run_until_end(environment, installation)
    sent = producer.committed_records()
    key_counts = Counter(record.key for record in read(installation.servers, (installation.messages,)))
    return ScenarioResult(
        check_outputs(installation, sent),
        observations={
            "messages_of_first_event": sorted(expected_outputs(sent[:1]).messages),
            "messages_created_twice": sorted((key or b"").decode() for key, count in key_counts.items() if count == 2),
            "messages_created_once": sum(count == 1 for count in key_counts.values()),
            "duplicate_offsets": [
                json.loads(decision.value or b"{}")["source"]["offset"]
                for decision in read(installation.servers, (installation.decisions,))
            ],
        },
    )


def _run_until_end(environment: Environment, installation: Installation) -> None:
    with environment.worker(installation, until_end=True) as worker:
        if worker.wait(EVENTUALLY_S) != 0:
            raise FaultMissedError(f"--until-end ended with {worker.exit_code}: {worker.log_text[-800:]}")
