"""Operate on the past: what became of a record, and why."""
