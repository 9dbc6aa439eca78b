"""No environment stops, loses or duplicates a message: odd registries, large batches, wrong settings, restarts."""

import pytest

from tests.scenarios.scenario import TIMEOUT_S, scenario
from tests.soak import environment_scenarios
from tests.soak.registry import ODD_KINDS, REFUSED_KIND
from tests.soak.scenarios import ScenarioResult

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(TIMEOUT_S)]


@scenario(environment_scenarios.odd_registry_responses, "consumer")
def test_odd_responses_of_the_registry(result: ScenarioResult) -> None:
    """A record whose schema id gets an odd response is deferred, and processed in its order after a good one; one that
    is always refused becomes a dead letter, UNKNOWN_SCHEMA; other partitions go on meanwhile."""
    assert str(result.check) == "0 findings"
    assert {*ODD_KINDS, REFUSED_KIND} == result.observations["odd_kinds"]
    assert result.observations["others_went_on"]


@scenario(environment_scenarios.duplicates_after_restart)
def test_duplicates_after_a_restart(result: ScenarioResult) -> None:
    """What came of a record when it was processed counts after a restart too: an event that could not be decoded then
    has no duplicates, one whose schema was deleted since has."""
    assert str(result.check) == "0 findings"


@scenario(environment_scenarios.duplicate_of_refused_output, "consumer")
def test_duplicates_of_an_event_with_refused_outputs(result: ScenarioResult) -> None:
    """An event whose outputs the broker refuses is one dead letter, OUTPUT_REFUSED, and counts as seen: the event again
    is a DUPLICATE_EVENT, after a restart too."""
    assert str(result.check) == "0 findings"


@scenario(environment_scenarios.large_batch, "classic")
def test_a_batch_that_decompresses_to_150_mb(result: ScenarioResult) -> None:
    """Its record is a dead letter, EVENT_TOO_LARGE; the records after and beside it are processed, after a restart
    too."""
    assert str(result.check) == "0 findings"


@scenario(environment_scenarios.wrong_tenant, "classic")
def test_a_worker_of_another_tenant(result: ScenarioResult) -> None:
    """A worker with a wrong tenant ends with 5 and names the tenant of the events; it has committed nothing that keeps
    the others from processing them, and they go on."""
    assert str(result.check) == "0 findings"
    log = result.observations["log_text"]
    assert environment_scenarios.INPUT_ERROR_CODE == result.observations["exit_code"], log[-2_000:]
    assert "northbank" in log
    assert result.observations["went_on"]
