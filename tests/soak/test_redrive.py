"""The proof of redrives, small; and that it finds what is wrong."""

from pathlib import Path

import pytest

from tests.soak.redrive import RedriveSoak

pytestmark = [pytest.mark.kafka, pytest.mark.process]


def test_a_small_run_of_the_proof(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """A few letters of each cause, one kill: nothing is found, and the kill hit."""
    soak = RedriveSoak(bootstrap_servers, topic_prefix, tmp_path, letters=16, kills=1, seed=5)
    result = soak.run(lambda _text: None)

    assert [] == result.findings
    assert 4 == len(result.counts)
    assert 1 == result.kills.total()


def test_a_message_too_many_or_too_few_is_found(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """By the pair of offset and template; so is a command that ends as it should not."""
    soak = RedriveSoak(bootstrap_servers, topic_prefix, tmp_path, letters=4, kills=0, seed=5)

    with soak.registry:
        soak._expect_created({(0, "note"): 1}, "in a test")
        soak._command("redrive", "--rate", "0")

    assert "in a test: offset and template (0, 'note') has 0 messages, not 1" == soak.result.findings[0]
    assert "`processor redrive --rate 0` ended with 2" in soak.result.findings[1]
