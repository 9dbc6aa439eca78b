"""Mutants of the engine: what each changes, and the named test that catches it."""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from processor.kafka.local.kafka import local_kafka
from tests.chaos import scenes
from tests.chaos.outside import repeated_after_a_restart
from tests.chaos.scenes import Ground, MissedError, Shown
from tests.chaos.site import QUICK_BROKER


@dataclass(frozen=True, slots=True)
class Mutant:
    """A change of the engine's code (`tests.chaos.changes`), and the scene that has to catch it."""

    what: str
    scene: Callable[[Ground], Shown]
    test: str  #: The test of `tests/kafka` that plays it.


MUTANTS: Mapping[str, Mutant] = {
    "first-offset": Mutant(
        "after an uncertain commit, seek to the batch's first offset",
        scenes.unknown_commit_arrived,
        "test_a_commit_whose_answer_was_lost",
    ),
    "no-seek": Mutant(
        "after an abort, stay where the consumer is",
        scenes.unknown_commit_not_arrived,
        "test_a_commit_that_never_arrived",
    ),
    "offsets-outside": Mutant(
        "commit the offsets after the transaction, not in it", scenes.kills_at_committed, "test_killed_at_every_step"
    ),
    "old-producer": Mutant(
        "keep the producer after an uncertain end",
        scenes.unknown_commit_not_arrived,
        "test_a_commit_that_never_arrived",
    ),
    "hash-partitioner": Mutant("let the partitioner choose the output's partition", scenes.calm, "test_calm"),
    "todays-decoding": Mutant(
        "restore the window by decoding the input with the schemas of today",
        repeated_after_a_restart,
        "test_repeated_after_a_restart",
    ),
    "window-off": Mutant("forget what was told before", scenes.told_twice, "test_the_same_event_twice"),
}


def main() -> int:
    """Play each mutant in its scene, and each scene without a mutant; 1 when a mutant lives or a scene is not clean."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.mutants", description=__doc__)
    parser.add_argument("--protocol", choices=("classic", "consumer"), default="classic")
    parser.add_argument("--only", choices=tuple(MUTANTS))
    args = parser.parse_args()
    chosen = {name: mutant for name, mutant in MUTANTS.items() if args.only in (None, name)}

    def play(scene: Callable[[Ground], Shown], mutant: str | None) -> str:
        try:
            shown = scene(Ground(kafka, args.protocol, mutant=mutant, logs=logs))
        except MissedError as missed:
            return f"the scene could not be played: {missed}"
        kinds = Counter(finding.kind for finding in shown.verdict.findings)
        return ", ".join(f"{kind} × {count}" for kind, count in kinds.items())

    logs = Path(tempfile.mkdtemp(prefix="mutants-logs-"))
    faulty = 0
    with local_kafka(extra=QUICK_BROKER) as kafka, ThreadPoolExecutor(2) as pool:
        controls = {scene: pool.submit(play, scene, None) for scene in {mutant.scene for mutant in chosen.values()}}
        plays = {name: pool.submit(play, mutant.scene, name) for name, mutant in chosen.items()}
        for name, mutant in chosen.items():
            found, control = plays[name].result(), controls[mutant.scene].result()
            caught = bool(found) and not control and not found.startswith("the scene")
            faulty += not caught
            print(f"{name:<17} {mutant.what}")  # noqa: T201
            print(f"{'':<17} {'caught' if caught else 'NOT CAUGHT'} by {mutant.test}: {found or 'nothing found'}")  # noqa: T201
            if control:
                print(f"{'':<17} without the mutant: {control}")  # noqa: T201
    return 1 if faulty else 0


if __name__ == "__main__":
    sys.exit(main())
