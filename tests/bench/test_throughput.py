"""The window of a throughput is made of whole transactions."""

import pytest

from tests.bench.observed import ContenderError
from tests.bench.throughput import Sample, window

SAMPLES = [Sample(float(second), 100 * second, second / 2) for second in range(10)]


def test_the_window_is_from_commit_to_commit() -> None:
    """What is committed before its first commit, or behind its last, does not count."""
    assert (SAMPLES[3], SAMPLES[6]) == window(SAMPLES, begin_s=2.5, seconds=4)


def test_a_load_that_ends_in_the_warm_up_has_no_figure() -> None:
    """Nor has one that ends too soon after it."""
    for begin_s in (8.0, 9.0, 20.0):
        with pytest.raises(ContenderError, match="too short a window"):
            window(SAMPLES, begin_s=begin_s, seconds=4)
