"""`make bench-smoke` within the tests: the bench runs, and what its contenders write is right."""

import pytest

from tests.bench.lineup import CONTENDERS, find_contenders
from tests.bench.rounds import COMPARED_EVENTS, smoke, workbench


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
