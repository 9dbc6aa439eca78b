"""Exactly once, whatever is killed, frozen, cut off or paused: design section 9, claims 1 to 5 and 15."""

import tempfile
from pathlib import Path

import pytest

from tests.chaos import scenes
from tests.chaos.proxy import Side
from tests.chaos.scenes import CALM_STEPS, OPEN_STEPS, RECOVERY_STEPS, Ground, Shown
from tests.kafka.stages import scene

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(600)]


def opened(shown: Shown) -> set[str]:
    """Steps whose kills left aborted records of an open transaction on the log."""
    return {kill.step for kill in shown.kills if kill.open(shown.verdict.hidden)}


@scene(scenes.unknown_commit, side=Side.NOT_ARRIVED)
def test_a_commit_that_never_arrived(played: Shown) -> None:
    """Claim 1: EndTxn lost on its way, alone or with the whole link until the transaction's time is over: aborted,
    published again, nothing lost or doubled; the same process goes on."""
    assert str(played.verdict) == "0 findings"
    assert [True, True] == [bool(sprung.written & played.verdict.hidden) for sprung in played.facts["sprung"]]
    assert "transaction not committed" in played.facts["said"]


@scene(scenes.unknown_commit, side=Side.ARRIVED)
def test_a_commit_whose_answer_was_lost(played: Shown) -> None:
    """Claim 1: the coordinator commits and its answer is lost, alone or with the whole link until the transaction's
    time is over: what is published stays, and is not published again; the same process goes on."""
    assert str(played.verdict) == "0 findings"
    assert [False, False] == [bool(sprung.written & played.verdict.hidden) for sprung in played.facts["sprung"]]
    assert "transaction not committed" in played.facts["said"]


@scene(scenes.kills)
def test_killed_at_every_step(played: Shown) -> None:
    """Claim 2: SIGKILL at each named step: out = in, each account in order, each message once; the kills with an open
    transaction left aborted records on the log."""
    assert str(played.verdict) == "0 findings"
    assert [*CALM_STEPS, *RECOVERY_STEPS] == [kill.step for kill in played.kills]
    assert set(OPEN_STEPS) <= opened(played)
    assert not opened(played) & {"polled", "mapped", "begun"}


@scene(scenes.kills_at_end_txn)
def test_killed_around_end_txn(played: Shown) -> None:
    """Claim 2: killed while EndTxn is on its way: aborted when it never arrived, kept when it did."""
    assert str(played.verdict) == "0 findings"
    assert [True, False] * 2 == [kill.open(played.verdict.hidden) for kill in played.kills]


@scene(scenes.zombie, step="mapped")
def test_a_zombie_with_a_mapped_batch(played: Shown) -> None:
    """Claim 3: frozen with a mapped batch until its session is over and another has finished; woken, it publishes
    nothing of that batch and goes on as a member."""
    assert played.facts["took_over"]
    assert str(played.verdict) == "0 findings"


@scene(scenes.zombie, step="committing")
def test_a_zombie_about_to_commit(played: Shown) -> None:
    """Claim 3: frozen just before its commit until its transaction is over and another has finished; woken, its commit
    is refused, and what it had written stays hidden."""
    assert played.facts["took_over"]
    assert str(played.verdict) == "0 findings"
    assert {"committing"} == opened(played)


@scene(scenes.scaling)
def test_scaling_under_load(played: Shown) -> None:
    """Claim 4: 1 → 6 → 2 workers under load: nothing twice, nothing missing, and no fence with unique names."""
    assert str(played.verdict) == "0 findings"
    assert [0, 0, 0, 0] == played.facts["left"]
    assert [] == [line for said in played.facts["said"] for line in said.splitlines() if "FENCED" in line]


def rivals_on_two_hosts(ground: Ground) -> Shown:
    """Two hosts: the locks of their slots lie in different folders."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        return scenes.rivals(ground, (Path(one), Path(other)))


@scene(rivals_on_two_hosts, "classic")
def test_equal_names_end_in_the_rivals_code(played: Shown) -> None:
    """Claim 4: two processes with one transactional.id: one ends with 4 and names the id, the other loses nothing."""
    assert 4 in played.facts["codes"]
    assert set(played.facts["codes"]) <= {4, None}
    assert any("another process uses transactional.id" in said for said in played.facts["said"])
    assert str(played.verdict) == "0 findings"


@scene(scenes.paused_broker, broker="pause", pause_s=12)
def test_a_paused_broker(played: Shown) -> None:
    """Claim 5: the broker frozen in the middle of a transaction until sessions and transaction are over: the same
    process goes on, nothing is lost or doubled."""
    assert str(played.verdict) == "0 findings"
    assert all(kill.written for kill in played.kills)


@scene(scenes.restarted_broker, broker="restart")
def test_a_broker_killed_and_started_again(played: Shown) -> None:
    """The broker killed in the middle of a transaction and started again: the same process goes on."""
    assert str(played.verdict) == "0 findings"
    assert all(kill.written for kill in played.kills)


@scene(scenes.growth)
def test_partitions_grown_live(played: Shown) -> None:
    """Claim 15: the input grown under load: no exit, no loss; a partition that has no twins yet waits, the others go
    on, and it goes on when it has them."""
    assert str(played.verdict) == "0 findings"
    assert played.facts["others_went_on"]
    assert {5} == set(played.facts["waited"])


@scene(scenes.transactional_input)
def test_transactional_input(played: Shown) -> None:
    """Aborted records of the input make nothing, and the group's position passes the markers: it ends where the input
    does."""
    assert str(played.verdict) == "0 findings"


def test_readers_go_on_after_a_kill(quiet: Ground) -> None:
    """Killed with an open transaction and restarted under its name: `read_committed` readers go on within 2 s, though
    the transaction's time is 30 s."""
    shown = scenes.takeover(quiet, same_name=True)

    assert shown.facts["readers_s"] < 2
    assert {"offsets_sent"} == opened(shown)
    assert str(shown.verdict) == "0 findings"
