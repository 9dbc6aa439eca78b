"""Tests of `processor/replay/`."""
