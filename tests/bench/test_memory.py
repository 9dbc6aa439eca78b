"""The line that is fitted to samples of memory."""

import pytest

from tests.bench.memory import Growth, MemorySample, growth


def test_growth_is_that_behind_the_first_quarter() -> None:
    """What fills at first does not count; the peak is of all samples."""
    samples = [
        MemorySample(1.0, 100, 300.0),
        MemorySample(2.0, 500, 200.0),
        MemorySample(3.0, 1_000, 200.001),
        MemorySample(4.0, 2_000, 200.003),
    ]

    assert Growth(
        bytes_per_event=2.0, settled_mb=200.0, last_mb=200.003, peak_mb=300.0, events=2_000, seconds=4.0
    ) == growth(samples)


def test_too_few_samples_have_no_line() -> None:
    """One behind the first quarter says nothing."""
    with pytest.raises(ValueError, match="1 samples behind the first quarter"):
        growth([MemorySample(1.0, 100, 300.0), MemorySample(2.0, 500, 200.0)])
