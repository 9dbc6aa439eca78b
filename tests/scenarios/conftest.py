"""Scenarios run a few at a time, before the tests that want their results: most of their time is waiting for sessions.

A test names its scenario by the parameter `result`; all that the tests of its group name are started with the first.
pytest-xdist hands each group, those of one group protocol, to a process: one alone is bound by its interpreter's lock.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from processor.kafka.local.kafka import LocalKafka, local_kafka
from tests.conftest import scenario_group
from tests.scenarios.scenario import Scenario
from tests.soak.faults import BROKER_SETTINGS
from tests.soak.installation import FAST_TIMEOUTS_BROKER
from tests.soak.scenarios import Environment, FaultMissedError, ScenarioResult

CONCURRENT_SCENARIOS = 5  # in each process
ATTEMPTS = 3


@pytest.fixture(scope="session")
def kafka() -> Iterator[LocalKafka]:
    """A broker that detects a dead client within seconds; no scenario pauses or restarts it."""
    with local_kafka(extra=FAST_TIMEOUTS_BROKER) as kafka:
        yield kafka


class RunningScenarios:
    """The scenarios of a group of tests, all started when the first of them wants its result."""

    def __init__(self, items: Iterable[pytest.Item], kafka: LocalKafka, logs: Path) -> None:
        self._of_group: dict[str, dict[Scenario, None]] = {}
        for item in items:
            callspec = getattr(item, "callspec", None)  # there is none without parameters
            parameter = None if callspec is None else callspec.params.get("result")
            if isinstance(parameter, Scenario):
                self._of_group.setdefault(scenario_group(item.nodeid), {})[parameter] = None
        self._kafka = kafka
        self._logs = logs
        self._pool = ThreadPoolExecutor(CONCURRENT_SCENARIOS, thread_name_prefix="scenario")
        self._started: dict[str, dict[Scenario, Future[ScenarioResult]]] = {}

    def of_group(self, nodeid: str) -> Mapping[Scenario, Future[ScenarioResult]]:
        """The results of the group of this test."""
        group = scenario_group(nodeid)
        if group not in self._started:
            longest_first = sorted(self._of_group.get(group, {}), key=lambda scenario: not scenario.long)
            self._started[group] = {
                scenario: self._pool.submit(_run, scenario, self._kafka, self._logs) for scenario in longest_first
            }
        return self._started[group]

    def close(self) -> None:
        """Wait for those that run."""
        self._pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def running_scenarios(
    request: pytest.FixtureRequest, kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningScenarios]:
    """Those that the session's tests name."""
    running = RunningScenarios(request.session.items, kafka, tmp_path_factory.mktemp("workers"))
    yield running
    running.close()


def _run(scenario: Scenario, kafka: LocalKafka, logs: Path) -> ScenarioResult:
    """Its result. On a busy machine a fault may be missed: then the whole is run again, on an installation of its own.
    One that was missed each time is raised, and says what did not happen."""
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(FaultMissedError):
            return _run_once(scenario, kafka, logs)
    return _run_once(scenario, kafka, logs)


def _run_once(scenario: Scenario, kafka: LocalKafka, logs: Path) -> ScenarioResult:
    if scenario.broker_faults is None:
        return scenario.run(Environment(kafka, scenario.protocol, logs=logs))
    with local_kafka(extra=BROKER_SETTINGS[scenario.broker_faults]) as own:
        return scenario.run(Environment(own, scenario.protocol, logs=logs))


@pytest.fixture
def result(request: pytest.FixtureRequest, running_scenarios: RunningScenarios) -> ScenarioResult:
    """Of the scenario that the test names."""
    return running_scenarios.of_group(request.node.nodeid)[request.param].result()


@pytest.fixture
def environment(kafka: LocalKafka, tmp_path: Path) -> Environment:
    """For a test that runs its scenario itself, beside the others."""
    return Environment(kafka, "classic", logs=tmp_path)


@pytest.fixture
def idle_environment(
    request: pytest.FixtureRequest, running_scenarios: RunningScenarios, environment: Environment
) -> Environment:
    """For claims about time: an environment in which no other scenario of this process runs."""
    wait(running_scenarios.of_group(request.node.nodeid).values())
    return environment
