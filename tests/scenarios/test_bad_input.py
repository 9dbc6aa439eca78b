"""Bad input: one dead letter or decision with equal bytes, nothing for its neighbours to notice: claims 11 and 12."""

import tempfile
from pathlib import Path

import pytest

from processor.domain.reasons import Reason
from tests.chaos import poison
from tests.chaos.scenes import Ground, Shown
from tests.kafka.stages import scene

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

GOOD = 60  # beside each kind, in a partition of its own: over a thousand in all
ELSEWHERE = {Reason.WRONG_KEY, Reason.MAPPING_ERROR, Reason.OUTPUT_REFUSED, Reason.OTHER}  # these have their own tests
OF_ONE_RECORD = set(Reason) - ELSEWHERE


@scene(poison.poison, "classic", position="alone", good_count=0)
def test_alone(played: Shown) -> None:
    """Claim 11: each kind of bad input alone: one dead letter with equal bytes, or one decision; `run` ends with 0."""
    assert str(played.verdict) == "0 findings"
    assert OF_ONE_RECORD == played.facts["reasons"]


@scene(poison.poison, "classic", position="first", good_count=GOOD)
def test_first(played: Shown) -> None:
    """Claim 11: each kind as a partition's first record."""
    assert str(played.verdict) == "0 findings"
    assert OF_ONE_RECORD == played.facts["reasons"]


@scene(poison.poison, "consumer", position="middle", good_count=GOOD)
def test_in_the_middle(played: Shown) -> None:
    """Claim 11: each kind in the middle of a partition."""
    assert str(played.verdict) == "0 findings"
    assert OF_ONE_RECORD == played.facts["reasons"]


@scene(poison.poison, "consumer", position="last", good_count=GOOD)
def test_last(played: Shown) -> None:
    """Claim 11: each kind as a partition's last record."""
    assert str(played.verdict) == "0 findings"
    assert OF_ONE_RECORD == played.facts["reasons"]


@scene(poison.large_letters, "classic")
def test_two_megabytes_kept(played: Shown) -> None:
    """Where the events' topic takes it, a 2 MB event is in the dead letters byte for byte."""
    assert str(played.verdict) == "0 findings"


@scene(poison.strict_keys, "classic")
def test_strict_keys(played: Shown) -> None:
    """Under `strict` a key that is not the event's ordering key is a dead letter, WRONG_KEY."""
    assert str(played.verdict) == "0 findings"
    assert {Reason.WRONG_KEY} == played.facts["reasons"]


@scene(poison.refused_record)
def test_a_refused_record(played: Shown) -> None:
    """A record whose output the broker refuses is the only dead letter of its batch: OUTPUT_REFUSED."""
    assert str(played.verdict) == "0 findings"
    assert {Reason.OUTPUT_REFUSED} == played.facts["reasons"]


@scene(poison.sunken_limit, "classic")
def test_a_limit_that_sinks(played: Shown) -> None:
    """An output over a limit that sank while the worker ran fails its template; the event's others are published."""
    assert str(played.verdict) == "0 findings"
    assert {Reason.TEMPLATE_FAILED} == played.facts["reasons"]


def broken_template(ground: Ground) -> Shown:
    """Claim 12's two runs, as one thing to be judged."""
    with tempfile.TemporaryDirectory() as folder:
        with_it, without_it, published = poison.without_the_broken_template(ground, Path(folder))
    with_it.facts = {"without": str(without_it.verdict), **published}
    return with_it


@scene(broken_template)
def test_one_broken_template(played: Shown) -> None:
    """Claim 12: one broken template changes no output of another: with it and without it the same input gives the same
    messages and stream events, byte for byte."""
    assert str(played.verdict) == "0 findings"
    assert played.facts["without"] == "0 findings"
    assert len(played.facts["first"]) > 500
    assert played.facts["first"] == played.facts["second"]


def test_neighbours_are_not_delayed(quiet: Ground) -> None:
    """Claim 11: with each kind between two good events, these are published within a second of their arrival."""
    shown = poison.poison_live(quiet)

    assert str(shown.verdict) == "0 findings"
    assert shown.facts["slowest_ms"] < 1_000
