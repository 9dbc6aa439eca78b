"""How a test names the scenario whose result it wants."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.soak.faults import BrokerFaults
from tests.soak.installation import PROTOCOLS
from tests.soak.scenarios import Environment, ScenarioResult


@dataclass(frozen=True)
class Scenario:
    """A scenario of `tests.soak`, to be run with one group protocol.

    `broker_faults`: it has a broker of its own, with the settings that these faults need; None: the shared one.
    """

    name: str
    run: Callable[[Environment], ScenarioResult]
    protocol: str
    broker_faults: BrokerFaults | None = None

    def __str__(self) -> str:
        return f"{self.name}-{self.protocol}"


def scenario(
    run: Callable[..., ScenarioResult],
    *protocols: str,
    broker_faults: BrokerFaults | None = None,
    **arguments: object,
) -> pytest.MarkDecorator:
    """Give the test, as `result`, that of `run(environment, **arguments)`: with `protocols`, or with each of them."""

    def run_with_arguments(environment: Environment) -> ScenarioResult:
        return run(environment, **arguments)

    name = " ".join([run.__name__, *map(str, arguments.values())])
    scenarios = [Scenario(name, run_with_arguments, protocol, broker_faults) for protocol in protocols or PROTOCOLS]
    return pytest.mark.parametrize("result", scenarios, ids=str, indirect=True)
