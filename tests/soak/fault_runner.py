"""Injects the faults of one instance id, one after the other, each into a new worker."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from processor.engine.mapping_parts import SERVER_STARTUP_TIMEOUT_S
from processor.errors import DependencyError
from tests.soak.checker import Kind
from tests.soak.coverage import RANDOM_MOMENT
from tests.soak.environment_scenarios import INPUT_ERROR_CODE
from tests.soak.faults import END_TXN_LOSSES, Fault, FaultKind
from tests.soak.installation import WRONG_TENANT
from tests.soak.iteration import RunningIteration
from tests.soak.proxy import EndTxnFault, EndTxnLoss
from tests.soak.registry import Registry
from tests.soak.scenarios import RECOVERY_STEPS, SEND_DELAY_MS, Kill
from tests.soak.workers import StepSignal, Worker
from tests.support.waiting import becomes_true

# How long a worker may take to its fault: on a busy machine, after it has read a deduplication window of 10,000.
FAULT_TIMEOUT_S: Final = 180.0
POLL_S: Final = 0.5
STARTUP_TIME_S: Final = 10.0  # of a worker, up to its first request to the broker, on a busy machine
DEPENDENCY_ERROR_CODE: Final = DependencyError.exit_code  # of a worker that starts while the broker is away
SLOW_REQUEST_S: Final = 0.05


class FaultRunner:
    """A thread for one instance id and its faults."""

    def __init__(self, running: RunningIteration, instance_id: str, faults: Sequence[Fault]) -> None:
        self._running, self._instance_id, self._faults = running, instance_id, faults
        self.thread = threading.Thread(target=self._run, name=instance_id, daemon=True)
        self.fault_began_at = time.monotonic()

    def wait(self, timeout_s: float) -> bool:
        """Whether it ended; it may take long on a busy machine, but none of its faults longer than `timeout_s`."""
        while self.thread.is_alive() and time.monotonic() - self.fault_began_at < timeout_s:
            self.thread.join(POLL_S)
        return not self.thread.is_alive()

    def _run(self) -> None:
        try:
            for fault in self._faults:
                if self._running.deadline_passed():
                    return
                self.fault_began_at = time.monotonic()
                _INJECTORS[fault.kind](self, fault)
        except BaseException as error:  # the iteration reports it
            self._running.add_finding(Kind.HARNESS, f"{self._instance_id}: {error!r}")

    def _worker(self, **options: Any) -> Worker:
        return self._running.start_worker(instance_id=self._instance_id, **options)

    # One method for each kind of fault.

    def _kill(self, fault: Fault) -> None:
        with self._worker() as worker:
            if self._wait_until_committing(worker, fault):
                time.sleep(fault.seconds)
                self._running.count_kill(Kill(RANDOM_MOMENT, worker.kill()))
                self._running.count(str(fault))

    def _kill_at_step(self, fault: Fault) -> None:
        kill_at = StepSignal(fault.step, nth=fault.nth, delay_ms=SEND_DELAY_MS)
        with self._worker(signal_at=kill_at) as worker:
            if fault.step in RECOVERY_STEPS:
                outage_s = self._running.result.transaction_timeout_ms / 1000 + 1
                worker.proxy.set_fault(EndTxnFault(EndTxnLoss.REQUEST, nth=5, outage_s=outage_s))
            if self._wait_until_killed(worker, fault):
                self._running.count_kill(Kill(fault.step, worker.proxy.written()))

    def _kill_at_end_txn(self, fault: Fault) -> None:
        loss = _loss(fault)
        with self._worker() as worker:
            worker.proxy.set_fault(EndTxnFault(loss, nth=fault.nth, on_trigger=worker.send_kill))
            if self._wait_until_killed(worker, fault):
                written = worker.proxy.triggered_faults[-1].written
                self._running.count_kill(Kill(END_TXN_LOSSES[loss], written, loss))

    def _lose_end_txn(self, fault: Fault) -> None:
        loss, cut = _loss(fault), fault.kind is FaultKind.CUT_AT_END_TXN
        with self._worker() as worker:
            worker.proxy.set_fault(
                EndTxnFault(loss, nth=fault.nth, outage_s=fault.seconds if cut else 0, keep_connections=not cut)
            )
            if self._wait_for(worker, fault, lambda: bool(worker.proxy.triggered_faults)):
                self._running.count_cut(loss)
                self._running.count(str(fault))
                time.sleep(fault.seconds)
                self._expect_recovery(worker, fault)

    def _pause(self, fault: Fault) -> None:
        with self._worker() as worker:
            if self._wait_until_committing(worker, fault):
                worker.pause()
                self._resume_after(worker, fault)

    def _pause_at_step(self, fault: Fault) -> None:
        pause_at = StepSignal(fault.step, nth=fault.nth, delay_ms=SEND_DELAY_MS, signal="STOP")
        with self._worker(signal_at=pause_at) as worker:
            if self._wait_for(worker, fault, lambda: worker.is_paused):
                self._resume_after(worker, fault)

    def _disturb_network(self, fault: Fault) -> None:
        with self._worker() as worker:
            if self._wait_until_committing(worker, fault):
                if fault.kind is FaultKind.OUTAGE:
                    worker.proxy.start_outage(fault.seconds)
                else:
                    worker.proxy.delay_s = SLOW_REQUEST_S
                time.sleep(fault.seconds)
                self._running.count(str(fault))
                self._expect_recovery(worker, fault)

    def _start_wrong_tenant(self, fault: Fault) -> None:
        # A hundred records have five seconds, however long their partitions are paused: so it has all schemas at once.
        with (
            self._running.sped_up(),
            Registry(always_available=True) as registry,
            self._worker(env={**WRONG_TENANT, **registry.settings}) as worker,
        ):
            becomes_true(lambda: worker.exit_code is not None or self._running.cancelled(), FAULT_TIMEOUT_S)
            if worker.exit_code == INPUT_ERROR_CODE:
                self._running.count(str(fault))
            else:
                self._report_missed(worker, fault)

    def _stop(self, fault: Fault) -> None:
        with self._worker() as worker:
            if self._wait_until_committing(worker, fault):
                self._running.count(str(fault))
                self._expect_clean_stop(worker, fault)

    # What they wait for, and what they expect.

    def _wait_for(self, worker: Worker, fault: Fault, condition: Callable[[], bool]) -> bool:
        def over() -> bool:
            return condition() or worker.exit_code is not None or self._running.cancelled()

        if becomes_true(over, FAULT_TIMEOUT_S) and condition():
            return True
        self._report_missed(worker, fault)
        return False

    def _wait_until_committing(self, worker: Worker, fault: Fault) -> bool:
        return self._wait_for(worker, fault, lambda: worker.proxy.commit_count > 0)

    def _wait_until_killed(self, worker: Worker, fault: Fault) -> bool:
        becomes_true(lambda: worker.exit_code is not None or self._running.cancelled(), FAULT_TIMEOUT_S)
        if worker.exit_code != -9:
            self._report_missed(worker, fault)
            return False
        self._running.count(str(fault))
        return True

    def _resume_after(self, worker: Worker, fault: Fault) -> None:
        time.sleep(fault.seconds)
        self._running.count(str(fault))
        worker.resume()
        self._expect_recovery(worker, fault)

    def _expect_recovery(self, worker: Worker, fault: Fault) -> None:
        """The same process commits again; then it stops, or is killed when the iteration is over."""
        before = worker.proxy.commit_count
        if self._wait_for(worker, fault, lambda: worker.proxy.commit_count > before):
            self._expect_clean_stop(worker, fault)

    def _expect_clean_stop(self, worker: Worker, fault: Fault) -> None:
        exit_code = worker.stop()
        if exit_code != 0 and not self._running.broker_away:
            self._running.add_finding(
                Kind.EXIT, f"{self._instance_id}, {fault}: ended with {exit_code} on SIGTERM", worker
            )

    def _report_missed(self, worker: Worker, fault: Fault) -> None:
        if worker.exit_code == DEPENDENCY_ERROR_CODE and self._running.broker_was_away(
            SERVER_STARTUP_TIMEOUT_S + STARTUP_TIME_S
        ):
            self._running.add_missed(f"{fault}, as the worker started while the broker was away")
        elif worker.exit_code is not None:
            self._running.add_finding(
                Kind.EXIT, f"{self._instance_id}, {fault}: ended by itself with {worker.exit_code}", worker
            )
        elif self._running.cancelled():
            self._running.add_missed(str(fault))
        else:
            worker.dump_stacks()
            self._running.add_finding(
                Kind.STUCK, f"{self._instance_id}, {fault}: not reached in {FAULT_TIMEOUT_S:.0f} s", worker
            )


def _loss(fault: Fault) -> EndTxnLoss:
    if fault.loss is None:
        raise AssertionError(f"{fault} says what of the EndTxn is lost")
    return fault.loss


_INJECTORS: Final[Mapping[FaultKind, Callable[[FaultRunner, Fault], None]]] = {
    FaultKind.KILL: FaultRunner._kill,
    FaultKind.KILL_AT_STEP: FaultRunner._kill_at_step,
    FaultKind.KILL_AT_END_TXN: FaultRunner._kill_at_end_txn,
    FaultKind.CUT_AT_END_TXN: FaultRunner._lose_end_txn,
    FaultKind.LOSE_END_TXN: FaultRunner._lose_end_txn,
    FaultKind.PAUSE: FaultRunner._pause,
    FaultKind.PAUSE_AT_STEP: FaultRunner._pause_at_step,
    FaultKind.STOP: FaultRunner._stop,
    FaultKind.OUTAGE: FaultRunner._disturb_network,
    FaultKind.SLOW: FaultRunner._disturb_network,
    FaultKind.WRONG_TENANT: FaultRunner._start_wrong_tenant,
}
