"""`make bench-smoke` within the tests: the bench runs, and what its contenders write is right."""

from typing import Any

import pytest

from tests.bench.arrival import FIXED, Stretch
from tests.bench.lineup import CONTENDERS, find_contenders
from tests.bench.memory import run_load
from tests.bench.mix_rounds import mix_smoke
from tests.bench.rounds import COMPARED_EVENTS, smoke, workbench
from tests.bench.start import many_templates, start_rounds
from tests.bench.steps import STEPS, step_rounds


@pytest.mark.kafka
@pytest.mark.process
@pytest.mark.timeout(900)  # the first time on a machine contenders are built
def test_contenders_write_what_the_reference_path_makes(bootstrap_servers: str, topic_prefix: str) -> None:
    """Each that this machine has or can build, over all events of the smoke; what is not here is printed."""
    commands, not_here = find_contenders([contender.name for contender in CONTENDERS], build=True)
    print(*(f"{name} is not here: {reason}" for name, reason in not_here.items()), sep="\n")  # noqa: T201
    with workbench(bootstrap_servers) as bench:
        lines = list(smoke(bench, commands, name=f"{topic_prefix}bench"))

    assert [{"contender": contender.name, "events": COMPARED_EVENTS} for contender in commands] == lines
    assert {"copied", "ours-reference-1", "ours-reference-2"} <= {contender.name for contender in commands}


@pytest.mark.kafka
@pytest.mark.process
def test_plans_write_what_the_reference_path_makes_of_the_mix(bootstrap_servers: str, topic_prefix: str) -> None:
    """Byte by byte, over all its events; nearly all of them go by plans."""
    line = mix_smoke(bootstrap_servers, name=f"{topic_prefix}mix")

    assert {"compared", "outputs_per_event", "planned_ratio"} == line.keys(), line
    assert line["planned_ratio"] >= 0.95
    assert line["outputs_per_event"] > 9


@pytest.mark.kafka
@pytest.mark.process
def test_start_is_measured(bootstrap_servers: str, topic_prefix: str) -> None:
    """With a few templates."""
    with many_templates(bootstrap_servers, 5) as bench:
        (line,) = start_rounds(bench, name=f"{topic_prefix}start", rounds=1, events=100)

    assert {"round": 0, "templates": 5}.items() <= line.items()
    assert line["check_s"] > 0
    assert line["first_commit_s"] > 0


@pytest.mark.kafka
@pytest.mark.process
def test_memory_is_measured(bootstrap_servers: str, topic_prefix: str) -> None:
    """Over several transactions, of which each has a quarter of the events at most; each sample is passed on."""
    samples: list[dict[str, Any]] = []
    with workbench(bootstrap_servers) as bench:
        line = run_load(bench, "simple", name=f"{topic_prefix}memory", events=40_000, every_s=0.1, keep=samples.append)

    assert line["events"] == samples[-1]["committed"] == 40_000, line
    assert line["peak_mb"] > 50


@pytest.mark.kafka
@pytest.mark.process
def test_latency_is_measured_by_step(bootstrap_servers: str, topic_prefix: str) -> None:
    """Each event's steps are found in the process that maps it."""
    stretch = Stretch(FIXED, rate=200, warm_s=0.5, seconds=1)
    with workbench(bootstrap_servers) as bench:
        (line,) = step_rounds(
            bench, name=f"{topic_prefix}steps", rounds=1, partitions=(2,), variants=("default",), stretch=stretch
        )

    assert [*STEPS, "all"] == [*line["steps"]], line
    assert sum(line["steps"][step]["mean"] for step in STEPS) == pytest.approx(line["steps"]["all"]["mean"], abs=0.1)
