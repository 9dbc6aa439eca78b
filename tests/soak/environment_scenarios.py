"""Scenarios of the engine's environment: the registry, a large batch, a wrong setting, duplicates after a restart."""

import time
from dataclasses import replace
from typing import Final

from tests.soak.duplicates import duplicate_cases
from tests.soak.expected import OutputRefused, Record, valid_record
from tests.soak.installation import WRONG_TENANT, create_topics
from tests.soak.registry import ODD_KINDS, REFUSED_ID, REFUSED_KIND, Registry, framed_record, odd_id
from tests.soak.scenarios import (
    SMALL_BATCHES,
    Environment,
    FaultMissedError,
    ScenarioResult,
    drain_and_check,
    running_workload,
    workload_records,
)
from tests.soak.workers import EVENTUALLY_S, lag, wait_until_caught_up
from tests.soak.workload import InputProducer, event_json, expands_to_150_mb, partition_of, valid_records
from tests.support.waiting import becomes_true

INPUT_ERROR_CODE: Final = 5  # exit code of a worker whose input does not match it


def odd_registry_responses(environment: Environment) -> ScenarioResult:
    """Each odd response of the registry in a partition of its own, and one partition without any.

    `others_went_on`: that one was done while others were paused. `odd_kinds`: the kinds that were requested.
    """
    kinds = (*ODD_KINDS, REFUSED_KIND)
    with Registry() as registry:
        installation = environment.installation_without_topics("odd", partitions=len(kinds) + 1)
        installation = installation.with_env(registry.settings)
        create_topics(installation)
        producer = InputProducer(installation)
        for partition in range(installation.partitions):
            written = [
                _record_of_kind(
                    event_json(account=partition, number=number + 1), kinds[partition : partition + 1], number
                )
                for number in range(20)
            ]
            producer.send(written, partition=partition)
        free_partition = len(kinds)
        with environment.worker(installation) as worker:
            went_on = (
                becomes_true(lambda: free_partition not in lag(installation), EVENTUALLY_S)
                and len(lag(installation)) > 0
            )
            result = drain_and_check(installation, producer, worker)
        result.observations = {"others_went_on": went_on, "odd_kinds": set(registry.odd_kinds)}
        return result


def _record_of_kind(event: dict[str, object], kind: tuple[str, ...], number: int) -> Record:
    """Half of them in JSON; one of the others has a schema id of `kind`, if that is given."""
    if number == 11 and kind == (REFUSED_KIND,):
        return framed_record(event, REFUSED_ID, refused=True)
    if number == 11 and kind:
        return framed_record(event, odd_id(kind[0], 2))
    return valid_record(event) if number % 2 else framed_record(event, 10, by_guid=number % 4 == 0)


def duplicates_after_restart(environment: Environment) -> ScenarioResult:
    """Events of all kinds, a restart by another process, and the events again: what came of each when it was processed
    decides, not what can be decoded now."""
    cases = duplicate_cases(first_account=1_000, number=1)
    with Registry() as registry:
        installation = environment.installation("after-restart", SMALL_BATCHES | registry.settings)
        producer = InputProducer(installation)
        producer.send(workload_records(200, seed=environment.seed))
        for case in cases.values():
            producer.send(case.before, partition=partition_of(case.key, installation.partitions))
        with environment.worker(installation) as worker:
            if not wait_until_caught_up(installation, EVENTUALLY_S) or worker.stop() != 0:
                raise FaultMissedError(worker.log_text[-800:])
        for case in cases.values():
            case.change_registry(registry)
            producer.send(case.after, partition=partition_of(case.key, installation.partitions))
        with environment.worker(installation, instance_id="another") as worker:
            return drain_and_check(installation, producer, worker)


def duplicate_of_refused_output(environment: Environment) -> ScenarioResult:
    """The broker refuses an output of one event permanently: that event is a dead letter and counts as seen, in the
    same batch, in the same process and after a restart."""
    event = event_json(account=4_711, number=1)
    refused = replace(valid_record(event), expectation=OutputRefused(event))
    overrides = {"PROCESSOR_KAFKA__PRODUCER": '{"compression.type": "none"}'}  # so that the proxy sees what it refuses
    installation = environment.installation("refused", SMALL_BATCHES | overrides)
    producer = InputProducer(installation)
    at = partition_of(refused.key, installation.partitions)
    valid = valid_records(1, range(1, 60))
    producer.send([*valid[:20], refused, *valid[20:40], valid_record(event)], partition=at)
    with environment.worker(installation) as worker:
        worker.proxy.refuse_containing = b"00000001 LN-4711"  # of its bodies
        if not wait_until_caught_up(installation, EVENTUALLY_S):
            raise FaultMissedError(worker.log_text[-800:])
        producer.send([valid_record(event)], partition=at)
        if not wait_until_caught_up(installation, EVENTUALLY_S) or worker.stop() != 0:
            raise FaultMissedError(worker.log_text[-800:])
    producer.send([*valid[40:], valid_record(event)], partition=at)
    with environment.worker(installation, instance_id="another") as worker:
        return drain_and_check(installation, producer, worker)


def large_batch(environment: Environment) -> ScenarioResult:
    """A batch of a few kilobytes that decompresses to 150 MB, among valid events; then a restart after it."""
    installation = environment.installation("batch", {})
    producer = InputProducer(installation, compressed=True)
    for account in range(6):
        producer.send(valid_records(account, range(1, 20)), partition=account)
    producer.send([expands_to_150_mb(event_json(account=9))], partition=0)
    producer.send(valid_records(0, range(20, 40)), partition=0)
    with environment.worker(installation) as worker:
        if not wait_until_caught_up(installation, EVENTUALLY_S) or worker.stop() != 0:
            return drain_and_check(installation, producer, worker, timeout_s=0)
    producer.send(valid_records(0, range(30, 50)), partition=0)
    with environment.worker(installation) as worker:
        return drain_and_check(installation, producer, worker)


def wrong_tenant(environment: Environment) -> ScenarioResult:
    """A worker of another tenant joins the group under load: it ends with `exit_code`, and the others process the
    events of its partitions."""
    installation = environment.installation("tenant", SMALL_BATCHES)
    with environment.worker(installation, instance_id="right") as right:
        with running_workload(installation, seed=environment.seed, rate=400) as producer:
            if not becomes_true(lambda: right.proxy.commit_count > 3, EVENTUALLY_S):
                raise FaultMissedError(f"no commits: {right.log_text[-800:]}")
            with environment.worker(installation, instance_id="wrong", env=WRONG_TENANT) as wrong:
                exit_code, log_text = wrong.wait(EVENTUALLY_S), wrong.log_text
            before = right.proxy.commit_count
            went_on = becomes_true(lambda: right.proxy.commit_count > before, EVENTUALLY_S)
            time.sleep(1)
        return drain_and_check(installation, producer, right, exit_code=exit_code, log_text=log_text, went_on=went_on)
