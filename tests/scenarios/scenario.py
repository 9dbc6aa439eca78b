"""How a test names its scene."""

from collections.abc import Callable

import pytest

from tests.chaos.scenes import Ground, Shown
from tests.chaos.site import PROTOCOLS
from tests.kafka.conftest import Scene


def scene(
    play: Callable[..., Shown], *protocols: str, name: str = "", broker: str = "", **arguments: object
) -> pytest.MarkDecorator:
    """Give the test, as `played`, what `play(ground, **arguments)` has shown: with each protocol, or with `protocols`.

    `broker`: see `Scene`.
    """

    def with_arguments(ground: Ground) -> Shown:
        return play(ground, **arguments)

    title = name or " ".join([play.__name__, *map(str, arguments.values())])
    scenes = [Scene(title, with_arguments, protocol, broker) for protocol in protocols or PROTOCOLS]
    return pytest.mark.parametrize("played", scenes, ids=str, indirect=True)
