"""Topics are compared with their plan while `run` works: differences are in the log once, and in /ready as long as
they last."""

from concurrent.futures import Future

import pytest
from structlog.testing import capture_logs

from processor import background
from processor.domain.output_topics import FixedOutput
from processor.domain.record import Topic
from processor.errors import UnavailableError
from processor.kafka import topic_state
from processor.kafka.topic_plan import Difference
from processor.kafka.topic_state import TopicWatch
from tests.support.events import repayment
from tests.support.installation import create_installation
from tests.support.processes import metric, process, ready
from tests.support.waiting import wait_until

COMPACTED = Difference(
    Topic("banking.events"), "has cleanup.policy=compact", "set cleanup.policy=delete", "cleanup.policy"
)
SHORT = Difference(Topic("communications.status"), "keeps records for 1 days", "set retention.ms=1")


OFTEN = "from processor.kafka import topic_state\ntopic_state.COMPARISON_INTERVAL_S = 1.0"
"""For a process whose topics are compared once a second: what it finds is the same."""


def test_topics_are_compared_twice_a_minute() -> None:
    """So that no test waits for a minute."""
    assert topic_state.COMPARISON_INTERVAL_S == 30


def test_each_difference_is_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a warning when it is new, also again after it was gone; while nothing can be said, what was said stays."""
    comparisons: list[tuple[Difference, ...] | UnavailableError] = [
        (COMPACTED,),
        (COMPACTED, SHORT),
        UnavailableError("no broker"),
        (SHORT,),
        (COMPACTED, SHORT),
    ]
    monkeypatch.setattr(topic_state, "COMPARISON_INTERVAL_S", 0.0)
    results = iter(comparisons)

    def call(*_: object, **__: object) -> Future[tuple[Difference, ...]]:
        future: Future[tuple[Difference, ...]] = Future()
        match next(results):
            case UnavailableError() as unavailable:
                future.set_exception(unavailable)
            case found:
                future.set_result(found)
        return future

    monkeypatch.setattr(background, "call_in_thread", call)
    watch = TopicWatch(tuple)
    with capture_logs() as logs:
        found = [watch.poll() for _ in range(2 * len(comparisons))]

    assert [(COMPACTED,), (COMPACTED, SHORT), None, (SHORT,), (COMPACTED, SHORT)] == found[1::2]
    assert [None] * len(comparisons) == found[::2]
    assert [COMPACTED.topic, SHORT.topic, "no broker", COMPACTED.topic] == [
        line.get("topic", line.get("cause")) for line in logs
    ]


@pytest.mark.kafka
@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one process", "two workers"])
def test_topics_that_lose_records_are_degraded(
    bootstrap_servers: str, topic_prefix: str, options: tuple[str, ...]
) -> None:
    """A compacted events topic, and a proof kept for a shorter time than its events: ready, degraded, each with what it
    loses and what to set; counted in a metric."""
    installation = create_installation(bootstrap_servers, topic_prefix, partitions=2)
    status = installation.settings.topic(FixedOutput.STATUS)
    installation.configure(installation.events, "cleanup.policy", "compact,delete")
    installation.configure(status, "retention.ms", "86400000")
    workers = ["worker 1: ", "worker 2: "] if options else [""]
    compacted = (
        f"topic {installation.events} has cleanup.policy=compact,delete, not delete: of an account's events all but "
        f"the last may be gone before they are read; set cleanup.policy=delete on {installation.events}"
    )
    short = (
        f"topic {status} keeps records for 1 days, {installation.events} for 30 days: an event would outlive the proof "
        f"of what became of it; set retention.ms=2592000000 or more on {status}"
    )
    expected = {
        "ready": True,
        "degraded": True,
        "reasons": [worker + reason for worker in workers for reason in (compacted, short)],
    }
    with process(installation, *options) as (_, address):
        wait_until(lambda: ready(address) == expected)
        assert [" 2.0"] * len(workers) == metric(address, "processor_topic_differences")


@pytest.mark.kafka
@pytest.mark.timeout(180)
def test_changes_are_noticed_while_running(bootstrap_servers: str, topic_prefix: str) -> None:
    """The topic of the template sets, to which hardly anything is written, is deleted: degraded at the next look.
    Created again it gets the set in use with the next event, and /ready says nothing more of it."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    sets = installation.settings.topic(FixedOutput.TEMPLATE_SETS)
    installation.produce_events([repayment(1)])
    with process(installation, before=OFTEN) as (_, address):
        wait_until(lambda: installation.committed() == [1])
        assert 1 == len(installation.read(sets))
        installation.delete_topic(sets)
        missing = f"topic {sets} is missing; `processor topics --create`"
        wait_until(lambda: missing in ready(address)["reasons"], timeout_s=60)
        installation.create_topics()
        installation.produce_events([repayment(2)])
        wait_until(lambda: installation.committed() == [2])
        wait_until(lambda: not ready(address)["degraded"], timeout_s=60)

    assert 1 == len(installation.read(sets))


@pytest.mark.kafka
@pytest.mark.timeout(180)
def test_an_events_topic_that_is_deleted_is_named(bootstrap_servers: str, topic_prefix: str) -> None:
    """No transaction fails of it: /ready names it all the same."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    with process(installation, before=OFTEN) as (_, address):
        wait_until(lambda: ready(address)["ready"])
        installation.delete_topic(installation.events)
        missing = f"topic {installation.events} is missing; `processor topics --create`"
        wait_until(lambda: missing in ready(address)["reasons"], timeout_s=60)
