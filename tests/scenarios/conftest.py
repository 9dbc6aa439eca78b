"""Scenarios run a few at a time, before the tests that want their results: most of their time is waiting for sessions.

A test names its scenario by the parameter `result`; all that the session's tests name are started with the first.
pytest-xdist hands all of these tests to one process.
"""

import contextlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from processor.kafka.local.kafka import LocalKafka, local_kafka
from tests.scenarios.scenario import Scenario
from tests.soak.faults import BROKER_SETTINGS
from tests.soak.installation import FAST_TIMEOUTS_BROKER
from tests.soak.scenarios import Environment, FaultMissedError, ScenarioResult

CONCURRENT_SCENARIOS = 8
ATTEMPTS = 3


@pytest.fixture(scope="session")
def kafka() -> Iterator[LocalKafka]:
    """A broker that detects a dead client within seconds; no scenario pauses or restarts it."""
    with local_kafka(extra=FAST_TIMEOUTS_BROKER) as kafka:
        yield kafka


@pytest.fixture(scope="session")
def running_scenarios(
    request: pytest.FixtureRequest, kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[Scenario, Future[ScenarioResult]]]:
    """All scenarios that the session's tests name, started."""
    logs = tmp_path_factory.mktemp("workers")
    parameters = (
        item.callspec.params.get("result")
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
    )
    scenarios = dict.fromkeys(parameter for parameter in parameters if isinstance(parameter, Scenario))
    longest_first = sorted(scenarios, key=lambda scenario: not scenario.long)
    pool = ThreadPoolExecutor(CONCURRENT_SCENARIOS, thread_name_prefix="scenario")
    yield {scenario: pool.submit(_run, scenario, kafka, logs) for scenario in longest_first}
    pool.shutdown(cancel_futures=True)


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
def result(
    request: pytest.FixtureRequest, running_scenarios: Mapping[Scenario, Future[ScenarioResult]]
) -> ScenarioResult:
    """Of the scenario that the test names."""
    return running_scenarios[request.param].result()


@pytest.fixture
def environment(kafka: LocalKafka, tmp_path: Path) -> Environment:
    """For a test that runs its scenario itself, beside the others."""
    return Environment(kafka, "classic", logs=tmp_path)


@pytest.fixture
def idle_environment(
    running_scenarios: Mapping[Scenario, Future[ScenarioResult]], environment: Environment
) -> Environment:
    """For claims about time: an environment in which no other scenario runs."""
    wait(running_scenarios.values())
    return environment
