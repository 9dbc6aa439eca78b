"""What the rounds of the bench are made of: their order, the rates of latencies, and what a contender does at most."""

from tests.bench.__main__ import most_events_per_s
from tests.bench.arrival import FIXED, HALF
from tests.bench.lineup import CONTENDERS, Contender
from tests.bench.rounds import LatencyPlan, shuffled, stretches_of

PLAN = LatencyPlan(rounds=1, partitions=(2,), rate=1_000, maxima={"quick": 30_000.0, "slow": 1_100.0}, seconds=10)


def rates(name: str) -> dict[str, float]:
    """Of a contender's stretches."""
    return {stretch.load: stretch.rate for stretch in stretches_of(Contender(name, "copied"), PLAN)}


def test_each_round_has_another_order() -> None:
    """Of the same contenders, and the same one each time the bench is run."""
    orders = [[contender.name for contender in shuffled(CONTENDERS, number)] for number in range(5)]

    assert 5 == len({*map(tuple, orders)})
    assert 1 == len({tuple(sorted(order)) for order in orders})
    assert orders[3] == [contender.name for contender in shuffled(CONTENDERS, 3)]


def test_latency_is_measured_at_what_a_contender_can_do() -> None:
    """At half of its most, and at the rate for all unless that is near to its most; without a most at that only."""
    assert {FIXED: 1_000, HALF: 15_000} == rates("quick")
    assert {HALF: 550} == rates("slow")
    assert {FIXED: 1_000} == rates("another")


def test_the_first_stretch_warms_a_contender_up() -> None:
    """As long as its throughput was warmed up; the next one is short."""
    (first, second) = stretches_of(Contender("quick", "copied", warm_s=20.0), PLAN)

    assert 20_000 == first.warm_s * first.rate
    assert second.warm_s < 5
    assert 30_000 == first.count


def test_what_differs_has_no_most() -> None:
    """Not even of its other rounds; what failed once has that of the others."""
    lines: list[dict[str, object]] = [
        {"contender": "go", "events_per_s": 10.0},
        {"contender": "go", "events_per_s": 30.0},
        {"contender": "go", "error": "ended"},
        {"contender": "quix", "events_per_s": 7.0},
        {"contender": "quix", "difference": "body"},
    ]

    assert {"go": 20.0} == most_events_per_s(lines)
