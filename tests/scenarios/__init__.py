"""Claims on a real broker; the scenarios are those of `tests.soak`."""
