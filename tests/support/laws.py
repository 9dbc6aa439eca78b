"""How much of the laws and of the hostile inputs a run takes: few in `make check`, more in `make test`, many in
`make soak`.

The Hypothesis profile chooses: `check`, `test` (the usual one) or `soak`; `pytest --hypothesis-profile soak`.
"""

import time
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from hypothesis import settings

T = TypeVar("T")


class Profile(NamedTuple):
    """What a run takes. `examples_factor`: of the examples that a law names for `make test`."""

    examples: int
    examples_factor: float
    size_factor: float


PROFILES: Final = {
    "check": Profile(examples=15, examples_factor=0.1, size_factor=0.1),
    "test": Profile(examples=80, examples_factor=1, size_factor=0.35),
    "soak": Profile(examples=2_000, examples_factor=25, size_factor=1),
}


def register_profiles() -> None:
    """Before tests are collected; pytest's option chooses another one later. Without deadlines for an example: a
    machine that does other work beside misses them at random."""
    for name, profile in PROFILES.items():
        settings.register_profile(name, max_examples=profile.examples, deadline=None)
    settings.load_profile("test")


def examples(in_test: int) -> int:
    """The examples of a law in this run; `in_test` is their number in `make test`."""
    return max(1, round(in_test * _profile().examples_factor))


def size(in_soak: int) -> int:
    """The size of a hostile input in this run; `in_soak` is its full one."""
    return max(1, round(in_soak * _profile().size_factor))


def _profile() -> Profile:
    return PROFILES.get(settings.get_current_profile_name(), PROFILES["test"])


def grows_linearly(work: Callable[[T], object], part: T, whole: T, *, factor: float, least_s: float) -> bool:
    """Whether `work` takes less than `factor` times as long, of CPU time, for `whole` as for `part`.

    A part that takes less than `least_s` counts as that. What fails is measured again, up to three times in all: other
    processes empty the caches.
    """
    part_s = min(_cpu_s(work, part) for _ in range(2))
    return any(_cpu_s(work, whole) < factor * max(part_s, least_s) for _ in range(3))


def _cpu_s(work: Callable[[T], object], argument: T) -> float:
    started = time.process_time()
    work(argument)
    return time.process_time() - started
