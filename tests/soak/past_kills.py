"""Replays that are killed: at a step of their transactions, or at a random moment."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from processor.engine.step import Step
from tests.soak.past_checker import Author
from tests.support.installation import ROOT, Installation
from tests.support.waiting import becomes_true

TRANSACTION_STEPS: Final = (Step.BEGUN, Step.PRODUCED, Step.OFFSETS_SENT, Step.COMMITTING, Step.COMMITTED)
OPEN_STEPS: Final = (Step.PRODUCED, Step.OFFSETS_SENT, Step.COMMITTING)
"""Where a kill leaves records of an open transaction on the log."""

ATTEMPT_TIMEOUT_S: Final = 180.0  # until a replay has begun a transaction, or comes by its step
BUSY_S: Final = 3.0  # after the first transaction's begin, within which the later random moments lie
MAX_NTH: Final = 2  # of a step's visits


@dataclass(frozen=True, slots=True)
class PlannedKill:
    """At a step, when it comes by for the nth time; or, `step` None, at a random moment: before the first transaction
    if `is_early`, else after its begin."""

    step: Step | None
    nth: int = 1
    is_early: bool = False

    @property
    def name(self) -> str:
        """For people."""
        return self.step or "a random moment"


EARLY, LATE = "random, before a transaction", "random, from the first one on"
RANDOM_LABELS: Final = (EARLY, LATE)
"""Where kills at random moments hit, as it came."""


@dataclass(frozen=True, slots=True)
class DoneKill:
    """A kill that hit. `reached` is the step that came last, None: no transaction had begun. `began_ms` and `ended_ms`
    are of the whole attempt, in milliseconds since 1970."""

    author: Author
    label: str
    reached: str | None
    began_ms: int
    ended_ms: int

    def aborted_count(self, aborted: Sequence[int]) -> int:
        """How many aborted records the attempt left; `aborted` has the times of all."""
        return sum(self.began_ms <= time_ms <= self.ended_ms for time_ms in aborted)


def plan_kills(rng: random.Random, steps: Sequence[Step], random_count: int, *, early_count: int) -> list[PlannedKill]:
    """One at each of `steps`, and so many at random moments, `early_count` of them early; shuffled."""
    kills = [PlannedKill(step, rng.randint(1, MAX_NTH)) for step in steps]
    kills += [PlannedKill(None, is_early=number < early_count) for number in range(random_count)]
    rng.shuffle(kills)
    return kills


class Attempt:
    """`processor ARGUMENTS`, which is killed. Its output goes to `folder`, where it stays."""

    def __init__(
        self, installation: Installation, arguments: Sequence[str], env: Mapping[str, str], *, folder: Path, name: str
    ) -> None:
        self._steps, self._log = folder / f"{name}.steps", folder / f"{name}.log"
        self._own = (sys.executable, "-m", "tests.soak.past_worker", "--steps", str(self._steps))
        self._arguments = arguments
        self._env = {**installation.env(), **env}

    @property
    def reached(self) -> str | None:
        """The step that came last."""
        steps = self._steps.read_text().split() if self._steps.exists() else []
        return steps[-1] if steps else None

    def run(self, kill: PlannedKill, *, author: Author, rng: random.Random, startup_s: float) -> DoneKill | str:
        """What was hit; or in words why nothing was. Blocks. `startup_s` is about how long a replay takes until its
        first transaction."""
        began_ms, began = time.time_ns() // 1_000_000, time.monotonic()
        step = () if kill.step is None else ("--step", kill.step, "--nth", str(kill.nth))
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                (*self._own, *step, "--", *self._arguments),
                env=self._env,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            if kill.step is None:
                self._wait_for_moment(process, kill, rng, began + rng.uniform(0, startup_s))
                os.kill(process.pid, signal.SIGKILL)  # not yet waited for, so the number is still its own
            code = process.wait(ATTEMPT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return f"{kill.name}: not killed within {ATTEMPT_TIMEOUT_S:.0f} s, at {self.reached}: {self._last_words}"
        finally:
            process.kill()
            process.wait()
        if code != -signal.SIGKILL:
            return f"{kill.name}: the replay ended by itself with {code}: {self._last_words}"
        reached = self.reached
        label = kill.step or (EARLY if reached is None else LATE)
        return DoneKill(author, label, reached, began_ms, time.time_ns() // 1_000_000)

    def _wait_for_moment(
        self, process: subprocess.Popen[bytes], kill: PlannedKill, rng: random.Random, early: float
    ) -> None:
        if kill.is_early:
            until = early
        else:
            becomes_true(lambda: self.reached or process.poll() is not None, ATTEMPT_TIMEOUT_S, every_s=0.02)
            until = time.monotonic() + rng.uniform(0, BUSY_S)
        becomes_true(lambda: process.poll() is not None, max(0.0, until - time.monotonic()), every_s=0.005)

    @property
    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-500:]
