"""The demo: load generator, oracle, report."""
