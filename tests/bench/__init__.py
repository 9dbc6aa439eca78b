"""Benchmarks: off by default, run by `make bench`; each checks its output before it reports its speed."""
