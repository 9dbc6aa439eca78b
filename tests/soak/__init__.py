"""Exactly once under faults: a workload, workers that are killed, paused and cut off, and a checker of the outputs."""
