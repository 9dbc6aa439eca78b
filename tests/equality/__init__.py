"""Plans against the reference, at length: `python -m tests.equality`."""
