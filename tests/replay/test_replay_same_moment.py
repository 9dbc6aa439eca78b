"""A replay of a partition at the same moment as another one, a redrive, `positions` or `run`, at moments of many seeds.

No event gets a message of a template twice, and who loses ends with exit code 4, or 5.
"""

import os
import random
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from processor.engine.loop import run
from processor.engine.step import StepHook
from processor.errors import FatalError
from processor.replay import operation_log, past_publisher
from processor.replay.operation import OperationOptions, run_operation
from processor.replay.redrive import RedriveCommand, RedriveRequest
from processor.replay.report import OperationReport
from tests.replay.plain_reader import created, once, progress_states
from tests.replay.test_positions import set_to
from tests.replay.test_replay_claims import make_installation, set_positions
from tests.replay.test_replay_concurrency import (
    EVENTS,
    LATE,
    TIMEOUT_S,
    losses,
    on_host,
    random_waits,
    small_batches,
    start,
)
from tests.support.events import repayment
from tests.support.installation import Installation

pytestmark = pytest.mark.kafka

SEEDS: Final = 20
ALL_SEEDS: Final = [*range(2), *(pytest.param(seed, marks=LATE) for seed in range(2, SEEDS))]
LETTERS: Final = 12  # events that are dead letters, before those that were skipped
SMALL_BYTES: Final = 300  # less than an event has


def for_seeds(
    servers: str, factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch, *, partitions: int = SEEDS
) -> Installation:
    """An installation with a partition for each seed, and batches of a few events; no `run` has been there."""
    folder, prefix = factory.mktemp("seeds"), f"test-{os.urandom(4).hex()}."
    return small_batches(make_installation(servers, prefix, folder, patch, partitions=partitions))


def with_skipped_events(servers: str, factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> Installation:
    """An installation with events in the partition of each seed, behind which the group's position is."""
    installation = for_seeds(servers, factory, patch)
    for partition in range(SEEDS):
        installation.produce_events([repayment(number) for number in range(EVENTS)], partition=partition)
    set_positions(installation, *(SEEDS * [EVENTS]))
    return installation


@pytest.fixture(scope="module")
def shared(bootstrap_servers: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A partition for each seed of each kind."""
    with pytest.MonkeyPatch.context() as patch:
        yield for_seeds(bootstrap_servers, tmp_path_factory, patch, partitions=2 * SEEDS)


@pytest.mark.parametrize("is_same_command", [True, False])
@pytest.mark.parametrize("seed", ALL_SEEDS)
def test_two_replays_at_the_same_moment(
    shared: Installation, seed: int, is_same_command: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is first, and wherever it is when the other one comes: one does it all, and the other one ends with exit
    code 4; or one comes after the other, and the second finds nothing."""
    monkeypatch.setattr(past_publisher, "SUCCESSOR_TIMEOUT_S", 0.5)
    rng, partition = random.Random(f"{seed} {is_same_command}"), seed + SEEDS * is_same_command
    shared.produce_events([repayment(number) for number in range(EVENTS)], partition=partition)
    set_positions(shared, EVENTS, first=partition)
    with ThreadPoolExecutor(2) as pool:
        first = start(pool, on_host(shared, "first"), partition=partition, on_step=random_waits(rng, 0.4))
        time.sleep(rng.choice((0.0, rng.uniform(0, 4.0))))
        second = start(
            pool,
            on_host(shared, "second"),
            partition=partition,
            template=None if is_same_command else "note",
            on_step=random_waits(rng, 0.4),
            take_over=rng.random() < 0.3,
        )
        lost = losses([first, second])

    assert len(lost) < 2
    for error in lost:
        assert error.exit_code == 4
        assert re.search(
            rf"operation replay-\S+ is under way: by ada on host \S+ \(process {os.getpid()}\), last seen at |"
            rf"another process has taken over partition {partition}",
            str(error),
        )
    assert once(range(EVENTS)) == created(shared, partition)
    assert "DONE" == progress_states(shared, partition)[-1][1]


# ---------------------------------------------------------------------------------------------------------------------
# Beside a redrive


@pytest.fixture(scope="module")
def with_letters(bootstrap_servers: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """In each of its partitions, one for a seed, some dead letters, and behind them events that were skipped."""
    with pytest.MonkeyPatch.context() as patch:
        installation = for_seeds(bootstrap_servers, tmp_path_factory, patch)
        for partition in range(SEEDS):
            installation.produce_events([repayment(number) for number in range(LETTERS)], partition=partition)
        small = {"max_event_bytes": SMALL_BYTES, "max_rejected_ratio": 1}
        replace(installation, settings=installation.settings.model_copy(update=small)).run()
        for partition in range(SEEDS):
            events = [repayment(number) for number in range(LETTERS, LETTERS + EVENTS)]
            installation.produce_events(events, partition=partition)
        set_positions(installation, *(SEEDS * [LETTERS + EVENTS]))
        yield installation


def redrive(installation: Installation, partition: int, on_step: StepHook = lambda _step: None) -> OperationReport:
    """Redrive the partition's dead letters."""
    return run_operation(
        on_host(installation, "redrive").settings,
        RedriveCommand(RedriveRequest(command=f"--partition {partition}", partitions=(partition,))),
        OperationOptions(yes=True, by="eve"),
        on_step=on_step,
    )


@pytest.mark.parametrize("seed", ALL_SEEDS)
def test_a_replay_and_a_redrive_at_the_same_moment(
    with_letters: Installation, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each does its own, or is kept out by the other one, whichever is first; later it does the rest."""
    monkeypatch.setattr(past_publisher, "SUCCESSOR_TIMEOUT_S", 0.5)
    rng = random.Random(f"{seed} redrive")
    with ThreadPoolExecutor(2) as pool:
        replaying = start(pool, on_host(with_letters, "replay"), partition=seed, on_step=random_waits(rng, 0.4))
        time.sleep(rng.choice((0.0, rng.uniform(0, 4.0))))
        redriving = pool.submit(redrive, with_letters, seed, random_waits(rng, 0.4))
        lost = losses([replaying, redriving])

    assert len(lost) < 2
    for error in lost:
        assert (4, True) == (error.exit_code, "on host" in str(error) or "has taken over" in str(error)), error
    failed = {future for future in (replaying, redriving) if future.exception() is not None}
    letters, skipped = once(range(LETTERS)), once(range(LETTERS, LETTERS + EVENTS))
    found = created(with_letters, seed)
    assert found <= letters + skipped
    for future, own in ((replaying, skipped), (redriving, letters)):
        assert future in failed or own <= found  # who lost may have published some transactions before
    with ThreadPoolExecutor(1) as pool:
        assert [] == losses([start(pool, on_host(with_letters, "replay"), partition=seed, take_over=True)])
    redrive(with_letters, seed)
    assert letters + skipped == created(with_letters, seed)


# ---------------------------------------------------------------------------------------------------------------------
# Beside `positions`


@pytest.fixture(scope="module")
def set_back(bootstrap_servers: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """In each of its partitions, one for a seed, events that were skipped."""
    with pytest.MonkeyPatch.context() as patch:
        yield with_skipped_events(bootstrap_servers, tmp_path_factory, patch)


@pytest.mark.parametrize("seed", ALL_SEEDS)
def test_a_replay_and_positions_at_the_same_moment(
    set_back: Installation, seed: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`positions` moves back into what the replay makes up for, and `run` goes on there. Either is kept out by the
    other one (4), or `positions` would publish again what the replay has made (5), which ends the replay too where
    `positions` has taken its transactional id by then."""
    monkeypatch.setattr(past_publisher, "SUCCESSOR_TIMEOUT_S", 0.5)
    monkeypatch.chdir(tmp_path)
    rng, back_to = random.Random(f"{seed} positions"), EVENTS // 3
    with ThreadPoolExecutor(2) as pool:
        replaying = start(pool, on_host(set_back, "replay"), partition=seed, on_step=random_waits(rng, 0.4))
        time.sleep(rng.choice((0.0, rng.uniform(0, 3.0))))
        moved = {"partition": [seed], "yes": True, "by": "eve", "because": "a test"}
        moving = pool.submit(set_to, set_back, str(back_to), **moved)
        errors = [future.exception(TIMEOUT_S) for future in (replaying, moving)]

    assert all(error is None or isinstance(error, FatalError) for error in errors), errors
    codes = [error.exit_code if isinstance(error, FatalError) else None for error in errors]
    assert {None, 4, 5} >= set(codes), errors
    assert None in codes or [4, 5] == codes, errors
    (position,) = set_back.committed([seed])
    assert (EVENTS if errors[1] else back_to) == position
    set_back.run()
    monkeypatch.setattr(operation_log, "UNDER_WAY_MS", 0)  # who has lost could not say that it has ended
    with ThreadPoolExecutor(1) as pool:
        assert [] == losses([start(pool, on_host(set_back, "replay"), partition=seed, take_over=True)])
    assert once(range(EVENTS)) == created(set_back, seed)


# ---------------------------------------------------------------------------------------------------------------------
# Beside `run --start-from beginning`


@pytest.fixture(scope="module")
def with_position(bootstrap_servers: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """In each of its partitions, one for a seed, events that were skipped; behind them a test puts others."""
    with pytest.MonkeyPatch.context() as patch:
        yield with_skipped_events(bootstrap_servers, tmp_path_factory, patch)


@pytest.mark.parametrize("seed", ALL_SEEDS)
def test_a_replay_and_run_from_the_beginning_at_the_same_moment(with_position: Installation, seed: int) -> None:
    """The group has a position, so `run` does not begin at the beginning: each does its own, and nobody loses."""
    rng, end = random.Random(f"{seed} run"), EVENTS + LETTERS
    with_position.produce_events([repayment(number) for number in range(EVENTS, end)], partition=seed)
    with ThreadPoolExecutor(2) as pool:
        replaying = start(pool, on_host(with_position, "replay"), partition=seed, on_step=random_waits(rng, 0.4))
        time.sleep(rng.choice((0.0, rng.uniform(0, 3.0))))
        running = pool.submit(
            run,
            with_position.settings,
            until_end=True,
            start_from="beginning",
            on_step=random_waits(rng, 0.4),
        )
        assert [] == losses([replaying])
        running.result(TIMEOUT_S)

    assert [end] == with_position.committed([seed])
    with ThreadPoolExecutor(1) as pool:  # while `run` was at work the end of the range was the position of that moment
        assert [] == losses([start(pool, on_host(with_position, "replay"), partition=seed)])
    assert once(range(end)) == created(with_position, seed)
