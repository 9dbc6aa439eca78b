"""Claims on a real broker; the scenes are those of `tests.chaos`."""
