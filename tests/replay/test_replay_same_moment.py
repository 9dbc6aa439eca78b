"""Two replays of one partition at the same moment, at moments of many seeds: one of them does it all, once."""

import os
import random
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest

from processor.replay import past_publisher
from tests.replay.plain_reader import created, once, progress_states
from tests.replay.test_replay_claims import make_installation, set_positions
from tests.replay.test_replay_concurrency import EVENTS, LATE, losses, on_host, random_waits, small_batches, start
from tests.support.events import repayment
from tests.support.installation import Installation

pytestmark = pytest.mark.kafka

SEEDS: Final = 20


@pytest.fixture(scope="module")
def shared(bootstrap_servers: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with a partition for each seed of each test; no `run` has been there."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("shared")
        prefix = f"test-{os.urandom(4).hex()}."
        yield small_batches(make_installation(bootstrap_servers, prefix, folder, patch, partitions=2 * SEEDS))


@pytest.mark.parametrize("is_same_command", [True, False])
@pytest.mark.parametrize("seed", [*range(2), *(pytest.param(seed, marks=LATE) for seed in range(2, SEEDS))])
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
