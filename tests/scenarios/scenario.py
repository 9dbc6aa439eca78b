"""How a test names the scenario whose result it wants."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.soak.faults import BrokerFaults
from tests.soak.installation import PROTOCOLS
from tests.soak.scenarios import Environment, ScenarioResult, kill_at_steps, scaling

TIMEOUT_S = 1_500.0
"""Of a test: it waits for its scenario, which may wait for all others, on a machine that does other work beside."""

LONG = (kill_at_steps, scaling)  # beside those with a broker of their own


@dataclass(frozen=True)
class Scenario:
    """A scenario of `tests.soak`, to be run with one group protocol.

    `broker_faults`: it has a broker of its own, with the settings that these faults need; None: the shared one.
    `long`: it is started before the others, since all wait for the last one.
    """

    name: str
    run: Callable[[Environment], ScenarioResult]
    protocol: str
    broker_faults: BrokerFaults | None = None
    long: bool = False

    def __str__(self) -> str:
        return f"{self.name}-{self.protocol}"


def scenario(
    run: Callable[..., ScenarioResult],
    *protocols: str,
    broker_faults: BrokerFaults | None = None,
    name: str = "",
    **arguments: object,
) -> pytest.MarkDecorator:
    """Give the test, as `result`, that of `run(environment, **arguments)`: with `protocols`, or with each of them."""

    def run_with_arguments(environment: Environment) -> ScenarioResult:
        return run(environment, **arguments)

    title = name or " ".join([run.__name__, *map(str, arguments.values())])
    long = broker_faults is not None or run in LONG
    scenarios = [
        Scenario(title, run_with_arguments, protocol, broker_faults, long) for protocol in protocols or PROTOCOLS
    ]
    return pytest.mark.parametrize("result", scenarios, ids=str, indirect=True)
