"""From one source record to its one outcome: decode, match, render, encode. Pure."""
