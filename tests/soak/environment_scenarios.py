"""Scenes of what surrounds the loop: the registry, what is in a batch, a worker's settings, the restart of a window."""

import time
from dataclasses import replace
from typing import Final

from tests.chaos.crew import behind, caught_up, until
from tests.chaos.expected import Record, Refused, good
from tests.chaos.load import Feeder, make_event, partition_of, unpacks_to_150_mb
from tests.chaos.registry import ODD_KINDS, REFUSED_ID, REFUSED_KIND, Registry, framed, odd_id
from tests.chaos.repeats import repetitions
from tests.chaos.scenes import SMALL_BATCHES, Ground, MissedError, Shown, judged, loaded, records
from tests.chaos.site import WRONG_TENANT

PATIENCE_S: Final = 90.0  # a busy machine; alone, no scene waits for ten
REJECTED: Final = 5
"""Exit code of a worker whose input does not match it."""


def odd_responses(ground: Ground) -> Shown:
    """Each odd response of the registry in a partition of its own, and one partition without any.

    `others_went_on`: that one was done while others waited. `odd`: the kinds that were met.
    """
    kinds = (*ODD_KINDS, REFUSED_KIND)
    with Registry() as registry:
        site = replace(ground.plain_site("odd"), partitions=len(kinds) + 1, more=registry.settings)
        site.create_topics()
        feeder = Feeder(site.servers, site.events, partitions=site.partitions)
        for partition in range(site.partitions):
            written = [
                _written(make_event(account=partition, number=number + 1), kinds[partition : partition + 1], number)
                for number in range(20)
            ]
            feeder.send(written, partition=partition)
        free = len(kinds)
        with ground.worker(site) as worker:
            waited: dict[int, int] = {}

            def free_one_is_done() -> bool:
                waited.update(behind(site))
                return free not in behind(site)

            went_on = until(free_one_is_done, 30) and len(behind(site)) > 0
            return judged(site, feeder, worker, others_went_on=went_on, odd=set(registry.odd))


def _written(event: dict[str, object], kind: tuple[str, ...], number: int) -> Record:
    """Half in JSON; one of the others with a schema id of a `kind`, if there is one."""
    if number == 11 and kind == (REFUSED_KIND,):
        return framed(event, REFUSED_ID, refused=True)
    if number == 11 and kind:
        return framed(event, odd_id(kind[0], 2))
    return good(event) if number % 2 else framed(event, 10, by_guid=number % 4 == 0)


def repeated_after_a_restart(ground: Ground) -> Shown:
    """Events of all kinds, a restart by another process, and the events again: what each was when it was processed
    decides, and not what can be decoded now."""
    pairs = repetitions(first_account=1_000, number=1)
    with Registry() as registry:
        site = ground.site("repeats", SMALL_BATCHES | registry.settings)
        feeder = Feeder(site.servers, site.events, partitions=site.partitions)
        feeder.send(records(200, seed=ground.seed))
        for pair in pairs.values():
            feeder.send(pair.before, partition=partition_of(pair.key, site.partitions))
        with ground.worker(site) as worker:
            if not caught_up(site, PATIENCE_S) or worker.stop() != 0:
                raise MissedError(worker.said[-800:])
        for pair in pairs.values():
            pair.meanwhile(registry)
            feeder.send(pair.after, partition=partition_of(pair.key, site.partitions))
        with ground.worker(site, slot="another") as worker:
            return judged(site, feeder, worker)


def refused_and_repeated(ground: Ground) -> Shown:
    """The broker refuses an output of one event for good: that event is a dead letter and counts as seen, in the same
    batch, in the same process and after a restart."""
    event = make_event(account=4_711, number=1)
    refused = replace(good(event), fate=Refused(event))
    plain = {"PROCESSOR_KAFKA__PRODUCER": '{"compression.type": "none"}'}  # so that the proxy sees what it refuses
    site = ground.site("refused", SMALL_BATCHES | plain)
    feeder = Feeder(site.servers, site.events, partitions=site.partitions)
    at = partition_of(refused.key, site.partitions)
    goods = [good(make_event(account=1, number=number)) for number in range(1, 60)]
    feeder.send([*goods[:20], refused, *goods[20:40], good(event)], partition=at)
    with ground.worker(site) as worker:
        worker.proxy.refuses = b"00000001 LN-4711"  # of its bodies
        if not caught_up(site, PATIENCE_S):
            raise MissedError(worker.said[-800:])
        feeder.send([good(event)], partition=at)
        if not caught_up(site, PATIENCE_S) or worker.stop() != 0:
            raise MissedError(worker.said[-800:])
    feeder.send([*goods[40:], good(event)], partition=at)
    with ground.worker(site, slot="another") as worker:
        return judged(site, feeder, worker)


def large_batch(ground: Ground) -> Shown:
    """A batch of a few kilobytes that unpacks to 150 MB, among good events; then a restart, behind it."""
    site = ground.site("batch", {})
    feeder = Feeder(site.servers, site.events, partitions=site.partitions, packed=True)
    for account in range(6):
        feeder.send([good(make_event(account=account, number=number)) for number in range(1, 20)], partition=account)
    feeder.send([unpacks_to_150_mb(make_event(account=9))], partition=0)
    feeder.send([good(make_event(account=0, number=number)) for number in range(20, 40)], partition=0)
    with ground.worker(site) as worker:
        if not caught_up(site, PATIENCE_S) or worker.stop() != 0:
            return judged(site, feeder, worker, patience_s=0)
    feeder.send([good(make_event(account=0, number=number)) for number in range(30, 50)], partition=0)
    with ground.worker(site) as worker:
        return judged(site, feeder, worker)


def wrong_tenant(ground: Ground) -> Shown:
    """A worker that was given another tenant joins the group under load: it ends with `code`, and the events that it
    was given are mapped by the others."""
    site = ground.site("tenant", SMALL_BATCHES)
    with ground.worker(site, slot="right") as right:
        with loaded(site, seed=ground.seed, rate=400) as feeder:
            if not until(lambda: right.proxy.commits_answered > 3, 30):
                raise MissedError(f"no commits: {right.said[-800:]}")
            with ground.worker(site, slot="wrong", environment=WRONG_TENANT) as wrong:
                code, said = wrong.wait(60), wrong.said
            before = right.proxy.commits_answered
            went_on = until(lambda: right.proxy.commits_answered > before, 20)
            time.sleep(1)
        return judged(site, feeder, right, code=code, said=said, went_on=went_on)
