"""Exactly once under fire: workers killed, frozen and cut off, and a reader that knows what must come out."""
