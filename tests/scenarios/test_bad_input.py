"""Bad input: one dead letter or decision with equal bytes, and no effect on other records or templates."""

import tempfile
from pathlib import Path

import pytest

from processor.domain.reasons import Reason
from tests.scenarios.scenario import TIMEOUT_S, scenario
from tests.soak import bad_input
from tests.soak.scenarios import Environment, ScenarioResult

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(TIMEOUT_S)]

VALID_COUNT = 60  # valid records beside each kind, in a partition of its own: over a thousand in all
TESTED_ELSEWHERE = {
    Reason.WRONG_KEY,
    Reason.MAPPING_ERROR,
    Reason.OUTPUT_REFUSED,
    Reason.OTHER,
}  # these have their own tests
REASONS_OF_ONE_RECORD = set(Reason) - TESTED_ELSEWHERE


@scenario(bad_input.bad_input_at, "classic", placement="alone", valid_count=0)
def test_bad_input_alone(result: ScenarioResult) -> None:
    """Each kind of bad input alone: one dead letter with equal bytes, or one decision; `run` ends with 0."""
    assert str(result.check) == "0 findings"
    assert REASONS_OF_ONE_RECORD == result.observations["reasons"]


@scenario(bad_input.bad_input_at, "classic", placement="first", valid_count=VALID_COUNT)
def test_bad_input_first(result: ScenarioResult) -> None:
    """Each kind as a partition's first record."""
    assert str(result.check) == "0 findings"
    assert REASONS_OF_ONE_RECORD == result.observations["reasons"]


@scenario(bad_input.bad_input_at, "consumer", placement="middle", valid_count=VALID_COUNT)
def test_bad_input_in_the_middle(result: ScenarioResult) -> None:
    """Each kind in the middle of a partition."""
    assert str(result.check) == "0 findings"
    assert REASONS_OF_ONE_RECORD == result.observations["reasons"]


@scenario(bad_input.bad_input_at, "consumer", placement="last", valid_count=VALID_COUNT)
def test_bad_input_last(result: ScenarioResult) -> None:
    """Each kind as a partition's last record."""
    assert str(result.check) == "0 findings"
    assert REASONS_OF_ONE_RECORD == result.observations["reasons"]


@scenario(bad_input.large_dead_letters, "classic")
def test_an_event_of_two_megabytes_is_kept(result: ScenarioResult) -> None:
    """Where the events' topic accepts it, a 2 MB event is in the dead letters byte for byte."""
    assert str(result.check) == "0 findings"


@scenario(bad_input.strict_key_check, "classic")
def test_strict_keys(result: ScenarioResult) -> None:
    """Under `strict` a key that is not the event's ordering key is a dead letter, WRONG_KEY."""
    assert str(result.check) == "0 findings"
    assert {Reason.WRONG_KEY} == result.observations["reasons"]


@scenario(bad_input.refused_output)
def test_a_refused_output(result: ScenarioResult) -> None:
    """A record whose output the broker refuses is the only dead letter of its batch: OUTPUT_REFUSED."""
    assert str(result.check) == "0 findings"
    assert {Reason.OUTPUT_REFUSED} == result.observations["reasons"]


@scenario(bad_input.lowered_limit, "classic")
def test_a_lowered_limit(result: ScenarioResult) -> None:
    """An output over a limit lowered while the worker runs fails its template; the event's others are published."""
    assert str(result.check) == "0 findings"
    assert {Reason.TEMPLATE_FAILED} == result.observations["reasons"]


def broken_template(environment: Environment) -> ScenarioResult:
    """Both runs of the scenario, as one result."""
    with tempfile.TemporaryDirectory() as folder:
        with_it, without_it, published = bad_input.without_the_broken_template(environment, Path(folder))
    with_it.observations = {"without": str(without_it.check), **published}
    return with_it


@scenario(broken_template)
def test_one_broken_template(result: ScenarioResult) -> None:
    """One broken template changes no output of another: with it and without it the same input gives the same
    messages and stream events, byte for byte."""
    assert str(result.check) == "0 findings"
    assert result.observations["without"] == "0 findings"
    assert len(result.observations["first"]) > 500
    assert result.observations["first"] == result.observations["second"]


def test_neighbours_are_not_delayed(idle_environment: Environment) -> None:
    """With each kind between two valid events, these are published within a second of their arrival. The fastest of
    three runs counts, where a busy machine is slower once."""
    slowest_ms: list[int] = []
    while not slowest_ms or (min(slowest_ms) >= 1_000 and len(slowest_ms) < 3):
        result = bad_input.bad_input_live(idle_environment)
        slowest_ms.append(result.observations["slowest_ms"])

        assert str(result.check) == "0 findings"
    assert min(slowest_ms) < 1_000
