"""Mutation testing of the engine: what each planted mutation changes, and the scenario that has to detect it."""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from processor.kafka.local.kafka import LocalKafka, local_kafka
from tests.soak import scenarios
from tests.soak.environment_scenarios import duplicates_after_restart
from tests.soak.installation import FAST_TIMEOUTS_BROKER
from tests.soak.scenarios import Environment, FaultMissedError, ScenarioResult

MAX_RUNS = 3  # of a scenario, to detect a mutation
Scenario = Callable[[Environment], ScenarioResult]


@dataclass(frozen=True, slots=True)
class MutationCase:
    """A mutation of `tests.soak.mutations`, by its name there, and the scenario that has to detect it."""

    description: str
    scenario: Scenario
    test: str  #: The test of `tests/scenarios` that runs it.


CASES: Mapping[str, MutationCase] = {
    "first-offset": MutationCase(
        "after an uncertain commit, seek to the batch's first offset",
        scenarios.lost_commit_response,
        "test_a_lost_commit_response",
    ),
    "no-seek": MutationCase(
        "after an abort, stay where the consumer is", scenarios.lost_commit_request, "test_a_lost_commit_request"
    ),
    "offsets-outside": MutationCase(
        "commit the offsets after the transaction, not in it", scenarios.kills_at_committed, "test_killed_at_every_step"
    ),
    "old-producer": MutationCase(
        "keep the producer after an uncertain end", scenarios.lost_commit_request, "test_a_lost_commit_request"
    ),
    "hash-partitioner": MutationCase(
        "let the partitioner choose the output's partition", scenarios.no_fault, "test_no_fault"
    ),
    "todays-decoding": MutationCase(
        "restore the deduplication window by decoding the input with the schemas of today",
        duplicates_after_restart,
        "test_duplicates_after_a_restart",
    ),
    "assigned-lost": MutationCase(
        "take a record ASSIGNED for committed before its transaction is",
        scenarios.lost_first_commit_request,
        "test_a_lost_first_commit_request",
    ),
    "assigned-twice": MutationCase(
        "write a record ASSIGNED again after an uncertain commit, whatever the group's position says",
        scenarios.lost_first_commit_response,
        "test_a_lost_first_commit_response",
    ),
    "deduplication-off": MutationCase("remember no event", scenarios.duplicate_events, "test_the_same_event_twice"),
}


def run_scenario(scenario: Scenario, environment: Environment) -> tuple[str, bool]:
    """The findings by kind, empty for none; and whether the scenario could be run."""
    try:
        result = scenario(environment)
    except FaultMissedError as missed:
        return f"the fault was missed: {missed}", False
    kinds = Counter(finding.kind for finding in result.check.findings)
    return ", ".join(f"{kind} × {count}" for kind, count in kinds.items()), True


def run_until_detected(case: MutationCase, environment: Environment) -> tuple[str, bool]:
    """As `run_scenario`; again while nothing is found, since a mutation shows in some interleavings only."""
    for _ in range(MAX_RUNS):
        findings, ran = run_scenario(case.scenario, environment)
        if findings and ran:
            break
    return findings, ran


def run_cases(cases: Mapping[str, MutationCase], kafka: LocalKafka, protocol: str) -> int:
    """How many mutations were not detected. Each scenario is run without a mutation too, which must find nothing."""
    logs = Path(tempfile.mkdtemp(prefix="mutations-logs-"))
    undetected = 0
    with ThreadPoolExecutor(2) as pool:
        plain = Environment(kafka, protocol, logs=logs)
        controls = {
            scenario: pool.submit(run_scenario, scenario, plain)
            for scenario in {case.scenario for case in cases.values()}
        }
        runs = {
            name: pool.submit(run_until_detected, case, replace(plain, mutation=name)) for name, case in cases.items()
        }
        for name, case in cases.items():
            (findings, ran), (control, _) = runs[name].result(), controls[case.scenario].result()
            detected = ran and bool(findings) and not control
            undetected += not detected
            print(f"{name:<17} {case.description}")  # noqa: T201
            word = "detected" if detected else "NOT DETECTED"
            print(f"{'':<17} {word} by {case.test}: {findings or 'no findings'}")  # noqa: T201
            if control:
                print(f"{'':<17} without the mutation: {control}")  # noqa: T201
    return undetected


def main() -> int:
    """Run each mutation in its scenario, and each scenario without one; 1 when a mutation is not detected."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.mutation_testing", description=__doc__)
    parser.add_argument("--protocol", choices=("classic", "consumer"), default="classic")
    parser.add_argument("--only", choices=tuple(CASES))
    args = parser.parse_args()
    cases = {name: case for name, case in CASES.items() if args.only in (None, name)}
    with local_kafka(extra=FAST_TIMEOUTS_BROKER) as kafka:
        return 1 if run_cases(cases, kafka, args.protocol) else 0


if __name__ == "__main__":
    sys.exit(main())
