"""The campaign and its planted bugs: a small share of the one, and that the others can still be planted."""

from collections import Counter
from dataclasses import replace
from functools import cache

import pytest

from processor.domain.outcome import MappingPath, Outcome
from tests.equality.__main__ import RunPlan, run
from tests.equality.campaign import EXECUTORS, KINDS, Example, Round, Tally, is_ordinary
from tests.equality.planted import BUGS, ROOT, with_bug
from tests.equality.sources import Sources, make_sources

SEED = 5
EXAMPLES = 400


@cache
def sources() -> Sources:
    """Of the seed."""
    return make_sources(SEED)


@pytest.mark.parametrize("name", BUGS)
def test_each_bug_can_be_planted(name: str) -> None:
    """What it replaces stands in its file once, and its test is there."""
    bug = BUGS[name]
    text = (ROOT / "processor" / bug.file).read_text("utf-8")
    file, _, test = bug.test.partition("::")

    assert text != with_bug(bug, text)
    assert f"def {test}(" in (ROOT / file).read_text("utf-8")
    with pytest.raises(ValueError, match=bug.file):
        with_bug(bug, "")


@pytest.mark.process
def test_a_small_campaign() -> None:
    """Two rounds, with shipped templates and with generated ones, have no difference; records of each kind are
    planned."""
    tally = run(sources(), RunPlan(SEED, EXAMPLES, EXAMPLES // 2, 2), log_progress=lambda _: None)
    counts = tally.counts

    assert [] == tally.differences
    assert EXAMPLES == sum(counts[kind] for kind in KINDS)
    for executor in EXECUTORS:
        assert counts[f"valid: accepted by {executor}"] > EXAMPLES // 20
        assert counts[f"mutated: accepted by {executor}"]
    assert counts["ordinary, by shipped templates"]


@pytest.mark.process
def test_differences_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another outcome, an error, and an ordinary record that is refused."""

    def planned(self: Round, example: Example, _executor: MappingPath) -> Outcome:
        if not is_ordinary(example.fields):
            raise KeyError("planted")
        outcome = self.reference(example)
        return outcome if numbers[example.case.name] else replace(outcome, record=outcome.record._replace(key=b"x"))

    numbers = Counter(str(number) for number in range(0, 200, 2))
    monkeypatch.setattr(Round, "planned", planned)
    tally, round_ = Tally(), Round(sources(), SEED, 0)
    for number in range(200):
        round_.check(number, tally)

    assert {
        "plain raised KeyError",
        "the outcome of plain is not the reference's",
        "plain refuses an ordinary record of the shipped templates",
    } < {difference.text.partition(":")[0] for difference in tally.differences}


@pytest.mark.process
def test_a_round_without_extreme_events() -> None:
    """Seen once in a hundred rounds: all that were drawn of a family are invalid."""
    round_ = Round(sources(), SEED, 0, ())
    round_._extreme = {family: [] for family in round_._extreme}

    assert {round_.example(number).kind for number in range(40)} <= {*KINDS}


@pytest.mark.process
def test_a_round_of_repeated_events() -> None:
    """Half of its events are repeats, of which nothing is written at once; the others are."""
    number, per_round = 12, 10_000
    tally, round_ = Tally(), Round(sources(), SEED, number)
    for example in range(number * per_round, number * per_round + 150):
        round_.check(example, tally)

    assert round_._configuration.repeats_events
    assert [] == tally.differences
    assert sum(count for label, count in tally.counts.items() if "written at once by native" in label) > 10


@pytest.mark.process
def test_records_are_reproducible() -> None:
    """A number gives the same record in any order, and others with other seeds."""
    numbers = (3, 17, 150)
    first = [Round(sources(), SEED, 0).example(number).case.record for number in numbers]
    again = Round(sources(), SEED, 0)

    assert first == [again.example(number).case.record for number in reversed(numbers)][::-1]
    assert not {*first} & {Round(sources(), SEED + 1, 0).example(number).case.record for number in numbers}
