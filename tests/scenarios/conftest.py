"""Scenes are played a few at a time, before the tests that ask for them: most of their time is waiting for sessions.

A test names its scene by the parameter `played`; all that the session's tests name are begun when the first one asks.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import pytest

from processor.kafka.local.kafka import LocalKafka, local_kafka
from tests.chaos.rounds import BROKERS
from tests.chaos.scenes import Ground, Shown
from tests.chaos.site import QUICK_BROKER

AT_ONCE = 4


@dataclass(frozen=True)
class Scene:
    """A scene of `tests.chaos`, to be played with one protocol.

    `broker`: a name of BROKERS for one that nobody else uses, with its settings; empty for the one that all share.
    """

    name: str
    play: Callable[[Ground], Shown]
    protocol: str
    broker: str = ""

    def __str__(self) -> str:
        return f"{self.name}-{self.protocol}"


@pytest.fixture(scope="session")
def kafka() -> Iterator[LocalKafka]:
    """A broker on which a death is known within seconds; it is not frozen or restarted."""
    with local_kafka(extra=QUICK_BROKER) as kafka:
        yield kafka


@pytest.fixture(scope="session")
def stage(
    request: pytest.FixtureRequest, kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[Scene, Future[Shown]]]:
    """All scenes that the session's tests name, begun."""
    logs = tmp_path_factory.mktemp("workers")
    named = (
        item.callspec.params.get("played")
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
    )
    scenes = dict.fromkeys(scene for scene in named if isinstance(scene, Scene))
    pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="scene")
    yield {scene: pool.submit(_play, scene, kafka, logs) for scene in scenes}
    pool.shutdown(cancel_futures=True)


def _play(scene: Scene, kafka: LocalKafka, logs: Path) -> Shown:
    if not scene.broker:
        return scene.play(Ground(kafka, scene.protocol, logs=logs))
    with local_kafka(extra=BROKERS[scene.broker]) as own:
        return scene.play(Ground(own, scene.protocol, logs=logs))


@pytest.fixture
def played(request: pytest.FixtureRequest, stage: Mapping[Scene, Future[Shown]]) -> Shown:
    """What the scene that the test names has shown."""
    return stage[request.param].result()


@pytest.fixture
def quiet(stage: Mapping[Scene, Future[Shown]], kafka: LocalKafka, tmp_path: Path) -> Ground:
    """For claims about time: a ground on which nothing else is played."""
    wait(stage.values())
    return Ground(kafka, "classic", logs=tmp_path)
