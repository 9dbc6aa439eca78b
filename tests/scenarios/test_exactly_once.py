"""Exactly once, whichever process is killed or paused, and whatever connection is cut."""

import tempfile
from pathlib import Path

import pytest

from processor.engine.step import Step
from tests.scenarios.scenario import TIMEOUT_S, scenario
from tests.soak import scenarios
from tests.soak.faults import BrokerFaults
from tests.soak.proxy import EndTxnLoss
from tests.soak.scenarios import BATCH_STEPS, OPEN_TRANSACTION_STEPS, RECOVERY_STEPS, Environment, ScenarioResult

pytestmark = [pytest.mark.kafka, pytest.mark.soak, pytest.mark.timeout(TIMEOUT_S)]


def steps_in_transaction(result: ScenarioResult) -> set[str]:
    """Steps at which a kill left aborted records of an open transaction on the log."""
    return {kill.step for kill in result.kills if kill.in_transaction(result.check.aborted)}


@scenario(scenarios.unknown_commit, loss=EndTxnLoss.REQUEST)
def test_a_lost_commit_request(result: ScenarioResult) -> None:
    """EndTxn does not arrive, alone or with all connections until the transaction has timed out: it is aborted and its
    outputs are published again, nothing is lost or duplicated; the same process goes on."""
    assert str(result.check) == "0 findings"
    assert [True, True] == [
        bool(triggered.written & result.check.aborted) for triggered in result.observations["triggered_faults"]
    ]
    assert "transaction not committed" in result.observations["log_text"]


@scenario(scenarios.unknown_commit, loss=EndTxnLoss.RESPONSE)
def test_a_lost_commit_response(result: ScenarioResult) -> None:
    """The coordinator commits and its response is lost, alone or with all connections until the transaction has timed
    out: what was published is not published again; the same process goes on."""
    assert str(result.check) == "0 findings"
    assert [False, False] == [
        bool(triggered.written & result.check.aborted) for triggered in result.observations["triggered_faults"]
    ]
    assert "transaction not committed" in result.observations["log_text"]


@scenario(scenarios.lost_first_commit, loss=EndTxnLoss.REQUEST)
def test_a_lost_first_commit_request(result: ScenarioResult) -> None:
    """The first transaction of an assignment is aborted: its record ASSIGNED is published again with its outputs."""
    assert str(result.check) == "0 findings"
    assert 1 == len(result.observations["triggered_faults"])


@scenario(scenarios.lost_first_commit, loss=EndTxnLoss.RESPONSE)
def test_a_lost_first_commit_response(result: ScenarioResult) -> None:
    """It is committed and its response is lost: no record ASSIGNED is published again."""
    assert str(result.check) == "0 findings"
    assert 1 == len(result.observations["triggered_faults"])


@scenario(scenarios.kill_at_steps, name="kill_at_batch_steps", steps=BATCH_STEPS)
def test_killed_at_every_step(result: ScenarioResult) -> None:
    """SIGKILL at each named step of a batch: out = in, each account in order, each message once; the kills with an open
    transaction left aborted records on the log."""
    assert str(result.check) == "0 findings"
    assert [*BATCH_STEPS] == [kill.step for kill in result.kills]
    assert set(OPEN_TRANSACTION_STEPS) <= steps_in_transaction(result)
    assert not steps_in_transaction(result) & {Step.POLLED, Step.MAPPED, Step.BEGUN}


@scenario(scenarios.kill_at_steps, name="kill_at_recovery_steps", steps=RECOVERY_STEPS)
def test_killed_at_every_step_of_a_recovery(result: ScenarioResult) -> None:
    """SIGKILL at each named step that follows an aborted transaction: the same."""
    assert str(result.check) == "0 findings"
    assert [*RECOVERY_STEPS] == [kill.step for kill in result.kills]


@scenario(scenarios.kills_at_end_txn)
def test_killed_around_end_txn(result: ScenarioResult) -> None:
    """Killed during EndTxn: the transaction is aborted if the request did not arrive, and committed if it did."""
    assert str(result.check) == "0 findings"
    assert [True, False] * 2 == [kill.in_transaction(result.check.aborted) for kill in result.kills]


@scenario(scenarios.zombie, step=Step.MAPPED)
def test_a_zombie_with_a_mapped_batch(result: ScenarioResult) -> None:
    """Paused with a mapped batch until its session has expired and another has finished; resumed, it publishes nothing
    of that batch and goes on as a member."""
    assert result.observations["took_over"]
    assert str(result.check) == "0 findings"


@scenario(scenarios.zombie, step=Step.COMMITTING)
def test_a_zombie_about_to_commit(result: ScenarioResult) -> None:
    """Paused just before its commit until its transaction has timed out and another has finished; resumed, its commit
    is refused, and what it had written stays aborted."""
    assert result.observations["took_over"]
    assert str(result.check) == "0 findings"
    assert {Step.COMMITTING} == steps_in_transaction(result)


@scenario(scenarios.scaling)
def test_scaling_under_load(result: ScenarioResult) -> None:
    """1 → 6 → 2 workers under load: nothing twice, nothing missing, and with unique instance ids none is fenced."""
    assert str(result.check) == "0 findings"
    assert [0, 0, 0, 0] == result.observations["exit_codes"]
    assert [] == [line for log in result.observations["logs"] for line in log.splitlines() if "FENCED" in line]


def shared_transactional_id(environment: Environment) -> ScenarioResult:
    """The scenario, with temporary folders."""
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        return scenarios.shared_transactional_id(environment, (Path(first), Path(second)))


@scenario(shared_transactional_id, "classic")
def test_a_shared_transactional_id(result: ScenarioResult) -> None:
    """Two processes with one transactional.id: one ends with 4 and names the id, the other loses nothing."""
    assert 4 in result.observations["exit_codes"]
    assert set(result.observations["exit_codes"]) <= {4, None}
    assert any("another process uses transactional.id" in log for log in result.observations["logs"])
    assert str(result.check) == "0 findings"


@scenario(scenarios.paused_broker, broker_faults=BrokerFaults.PAUSE, pause_s=12)
def test_a_paused_broker(result: ScenarioResult) -> None:
    """The broker paused in the middle of a transaction until sessions and transaction have timed out: the same process
    goes on, nothing is lost or duplicated."""
    assert str(result.check) == "0 findings"
    assert all(kill.written for kill in result.kills)


@scenario(scenarios.restarted_broker, broker_faults=BrokerFaults.RESTART)
def test_a_broker_killed_and_started_again(result: ScenarioResult) -> None:
    """The broker killed in the middle of a transaction and started again: the same process goes on."""
    assert str(result.check) == "0 findings"
    assert all(kill.written for kill in result.kills)


@scenario(scenarios.partition_growth)
def test_partitions_grown_live(result: ScenarioResult) -> None:
    """The input grown under load: no exit, no loss; a partition without co-partitioned outputs is paused, the others go
    on, and it goes on when it has them."""
    assert str(result.check) == "0 findings"
    assert result.observations["others_went_on"]
    assert {5} == set(result.observations["paused_lag"])


@scenario(scenarios.transactional_input)
def test_transactional_input(result: ScenarioResult) -> None:
    """Aborted records of the input have no outputs, and the group's position passes the markers: it ends where the
    input does."""
    assert str(result.check) == "0 findings"


def test_readers_go_on_after_a_kill(idle_environment: Environment) -> None:
    """Killed with an open transaction and restarted with the same instance id: `read_committed` readers go on within
    2 s, though the transaction's timeout is 30 s. The fastest of three counts, where a busy machine is slower once."""
    readers_s: list[float] = []
    while not readers_s or (min(readers_s) >= 2 and len(readers_s) < 3):
        result = scenarios.takeover(idle_environment, same_instance_id=True)
        readers_s.append(result.observations["readers_s"])

        assert {Step.OFFSETS_SENT} == steps_in_transaction(result)
        assert str(result.check) == "0 findings"
    assert min(readers_s) < 2
