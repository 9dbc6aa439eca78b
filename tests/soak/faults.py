"""The faults of an iteration: a shuffled schedule of all kinds for its workers, and the broker's."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from processor.engine.step import Step
from tests.soak.installation import PAUSED_BROKER, RESTARTED_BROKER
from tests.soak.proxy import EndTxnLoss
from tests.soak.scenarios import BATCH_STEPS, OPEN_TRANSACTION_STEPS, RECOVERY_STEPS

TRANSACTION_TIMEOUT_MS: Final = 10_000
LONG_TRANSACTION_TIMEOUT_MS: Final = 25_000  # where the broker is restarted: none times out in the seconds after

END_TXN_LOSSES: Final[Mapping[EndTxnLoss, str]] = {loss: f"EndTxn {loss} lost" for loss in EndTxnLoss}
"""As the table and the report name them."""


class FaultKind(StrEnum):
    """What happens to a worker."""

    KILL = "kill"  #: After `seconds` of work.
    KILL_AT_STEP = "kill at step"  #: At the nth `step`.
    KILL_AT_END_TXN = "kill at EndTxn"  #: While the nth EndTxn, or its response, is held.
    CUT_AT_END_TXN = "cut at EndTxn"  #: All connections, with the nth EndTxn; they are refused for `seconds`.
    LOSE_END_TXN = "lose EndTxn"  #: The nth EndTxn, or its response, alone.
    PAUSE = "pause"  #: For `seconds`.
    PAUSE_AT_STEP = "pause at step"  #: At the nth `step`, for `seconds`.
    STOP = "stop"  #: By SIGTERM.
    OUTAGE = "outage"  #: All connections are cut, and refused for `seconds`.
    SLOW = "slow network"  #: Each request is delayed, for `seconds` at least.
    WRONG_TENANT = "wrong tenant"  #: It is started with the settings of another tenant.


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one worker; which fields count depends on its kind."""

    kind: FaultKind
    step: str = ""
    nth: int = 1
    seconds: float = 0.0
    loss: EndTxnLoss | None = None

    def __str__(self) -> str:
        return " ".join(filter(None, (self.kind, self.step, self.loss and f"({self.loss})")))


def fault_schedule(rng: random.Random) -> list[Fault]:
    """Every fault at least once, shuffled; numbers drawn by `rng`."""
    faults = [Fault(FaultKind.KILL, seconds=rng.uniform(0.5, 5)) for _ in range(4)]
    faults += [Fault(FaultKind.KILL_AT_STEP, step, nth=rng.randint(1, 25)) for step in BATCH_STEPS]
    faults += [Fault(FaultKind.KILL_AT_STEP, step, nth=rng.randint(1, 25)) for step in OPEN_TRANSACTION_STEPS]
    faults += [Fault(FaultKind.KILL_AT_STEP, step, nth=1) for step in RECOVERY_STEPS]
    for loss in EndTxnLoss:
        faults += [Fault(FaultKind.KILL_AT_END_TXN, nth=rng.randint(1, 25), loss=loss) for _ in range(2)]
        faults += [
            Fault(FaultKind.CUT_AT_END_TXN, nth=rng.randint(1, 25), loss=loss, seconds=seconds)
            for seconds in (0.0, 14.0)
        ]
        faults += [
            Fault(FaultKind.LOSE_END_TXN, nth=rng.randint(1, 12), loss=loss, seconds=TRANSACTION_TIMEOUT_MS / 1000)
        ]
    faults += [Fault(FaultKind.PAUSE, seconds=seconds) for seconds in (1.0, rng.uniform(7, 14))]
    faults += [
        Fault(FaultKind.PAUSE_AT_STEP, step, nth=rng.randint(1, 15), seconds=rng.uniform(8, 14))
        for step in (Step.MAPPED, Step.COMMITTING)
    ]
    faults += [Fault(FaultKind.STOP), Fault(FaultKind.STOP)]
    faults += [Fault(FaultKind.OUTAGE, seconds=rng.uniform(1, 9)), Fault(FaultKind.SLOW, seconds=4)]
    faults += [Fault(FaultKind.WRONG_TENANT)]
    rng.shuffle(faults)
    return faults


class BrokerFaults(StrEnum):
    """What happens to the broker of an iteration."""

    PAUSE = "pause"
    RESTART = "restart"


BROKER_SETTINGS: Final[Mapping[BrokerFaults, Mapping[str, str]]] = {
    BrokerFaults.PAUSE: PAUSED_BROKER,
    BrokerFaults.RESTART: RESTARTED_BROKER,
}


class BrokerFaultKind(StrEnum):
    """One fault of the broker."""

    PAUSE = "broker: pause"
    STOP = "broker: stop and start"
    KILL = "broker: kill and start"


@dataclass(frozen=True, slots=True)
class BrokerFault:
    """`seconds`: of a pause."""

    kind: BrokerFaultKind
    seconds: float = 0.0


def broker_fault_schedule(rng: random.Random, faults: BrokerFaults) -> list[BrokerFault]:
    """A short and a longer pause, or a stop and a kill, each with a start; shuffled."""
    if faults is BrokerFaults.PAUSE:
        schedule = [
            BrokerFault(BrokerFaultKind.PAUSE, rng.uniform(5, 10)),
            BrokerFault(BrokerFaultKind.PAUSE, rng.choice((12.0, 30.0))),
        ]
    else:
        schedule = [BrokerFault(BrokerFaultKind.STOP), BrokerFault(BrokerFaultKind.KILL)]
    rng.shuffle(schedule)
    return schedule
