"""Nothing from outside stops, loses or doubles a message: odd registries, large batches, wrong settings, restarts."""

import pytest

from tests.chaos import outside
from tests.chaos.registry import ODD_KINDS, REFUSED_KIND
from tests.chaos.scenes import Shown
from tests.kafka.stages import scene

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]


@scene(outside.odd_responses, "consumer")
def test_odd_responses_of_the_registry(played: Shown) -> None:
    """A record whose schema id the registry answers oddly waits, and is mapped in its order when it responds well; one
    that is refused for good becomes a dead letter, UNKNOWN_SCHEMA; other partitions go on meanwhile."""
    assert str(played.verdict) == "0 findings"
    assert {*ODD_KINDS, REFUSED_KIND} == played.facts["odd"]
    assert played.facts["others_went_on"]


@scene(outside.repeated_after_a_restart)
def test_repeated_after_a_restart(played: Shown) -> None:
    """What a record was when it was processed decides after a restart too: an event that nobody could read is no first
    one, one whose schema is gone since is."""
    assert str(played.verdict) == "0 findings"


@scene(outside.refused_and_repeated, "consumer")
def test_refused_by_the_broker_and_repeated(played: Shown) -> None:
    """An event whose outputs the broker refuses is one dead letter, OUTPUT_REFUSED, and counts: its repetitions are
    DUPLICATE_EVENT, after a restart too."""
    assert str(played.verdict) == "0 findings"


@scene(outside.large_batch, "classic")
def test_a_batch_that_unpacks_to_150_mb(played: Shown) -> None:
    """Its record is a dead letter, EVENT_TOO_LARGE; what lies behind and beside it is mapped, after a restart too."""
    assert str(played.verdict) == "0 findings"


@scene(outside.wrong_tenant, "classic")
def test_a_worker_of_another_tenant(played: Shown) -> None:
    """A worker started with a wrong tenant ends with 5 and names the tenant that it saw; it has committed nothing that
    the others could no longer map, and they go on."""
    assert str(played.verdict) == "0 findings"
    assert outside.REJECTED == played.facts["code"], played.facts["said"][-2_000:]
    assert "northbank" in played.facts["said"]
    assert played.facts["went_on"]
