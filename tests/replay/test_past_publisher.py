"""How an operation on the past commits, and what it does when another one has gone on: with a scripted broker."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from processor.domain.operation import OperationId
from processor.domain.operation_record import OperationState, ProgressRecord
from processor.domain.output_topics import OutputTopics
from processor.domain.record import OutRecord, RecordPosition, Topic
from processor.engine.publisher import NotCommitted, TransactionalPublisher, TransactionResult
from processor.errors import DependencyError, OperationUnderWayError, UnavailableError
from processor.replay import past_publisher
from processor.replay.operation_log import LoggedOperation
from processor.replay.past_publisher import PastPublisher, Written
from processor.wire.operations import read_operation
from tests.support.builders import make_output_topics, make_progress

NOW_MS = 1_796_025_301_000
MESSAGE = OutRecord(Topic("communications.messages"), 0, b"key", b"value", ())
FENCED = NotCommitted("_FENCED", "fenced", is_record_error=False, result=TransactionResult.FENCED)
UNCERTAIN = NotCommitted("_TIMED_OUT", "no response", is_record_error=False, result=TransactionResult.UNCERTAIN)
OURS = make_progress(host="host-a", process_id=1)
THEIRS = make_progress(operation=OperationId("replay-20261129T081501Z-99999999"), host="host-b", process_id=2, by="bo")


class ScriptedBroker:
    """A transactional publisher whose transactions end as scripted, then all are committed.

    `committed` are the values published, of records and of progress; `during` is called within each scripted failure,
    `in_reset` while a producer is made.
    """

    def __init__(
        self,
        *failures: NotCommitted,
        during: Callable[["ScriptedBroker"], None] = lambda _: None,
        in_reset: Callable[["ScriptedBroker"], None] = lambda _: None,
    ) -> None:
        self.failures = list(failures)
        self.during = during
        self.in_reset = in_reset
        self.committed: list[bytes] = []
        self.log: list[ProgressRecord] = []
        self.resets = 0
        self.is_ready = True

    def publish(
        self, outputs: Iterable[OutRecord], _positions: Mapping[Any, int], _metadata: Any, *, is_batch: bool
    ) -> NotCommitted | None:
        """As TransactionalPublisher."""
        assert self.is_ready
        records = list(outputs)
        assert is_batch == (len(records) > 1)
        if self.failures:
            failure = self.failures.pop(0)
            self.during(self)
            return failure
        self.committed += [record.value or b"" for record in records[:-1]]
        progress = read_operation(records[-1].value or b"")
        assert isinstance(progress, ProgressRecord)
        self.log.append(progress)
        return None

    def reset_producer(self, _topics: OutputTopics, *, between_attempts: Callable[[], None]) -> None:
        """As TransactionalPublisher."""
        self.in_reset(self)
        between_attempts()
        self.resets += 1

    def newest(self, _isolation: str) -> LoggedOperation[ProgressRecord] | None:
        """The newest progress record."""
        if not self.log:
            return None
        return LoggedOperation(RecordPosition(Topic("communications.operations"), 0, 0), NOW_MS, self.log[-1])


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past_publisher, "RETRY_BACKOFF_S", 0.0)
    monkeypatch.setattr(past_publisher, "SUCCESSOR_TIMEOUT_S", 0.0)


def begun(broker: ScriptedBroker, *, timeout_s: float = 15.0) -> PastPublisher:
    """A publisher of operation OURS that has said so."""
    failures, broker.failures = broker.failures, []
    past = PastPublisher(
        cast(TransactionalPublisher, broker),
        OURS,
        make_output_topics(),
        newest_progress=broker.newest,
        timeout_s=timeout_s,
        now_ms=lambda: NOW_MS,
    )
    past.begin()
    broker.failures = failures
    return past


def publish(past: PastPublisher) -> None:
    """One message."""
    past.publish(Written([MESSAGE], messages=1), 300)


def taken_over(broker: ScriptedBroker) -> None:
    """Another operation has dealt with all."""
    broker.log.append(replace(THEIRS, state=OperationState.DONE, at_ms=NOW_MS + 1))


@pytest.mark.parametrize(("failure", "timeout_s"), [(FENCED, 0.0), (FENCED, 15.0), (UNCERTAIN, 15.0)])
def test_nothing_is_published_after_another_operation(failure: NotCommitted, timeout_s: float) -> None:
    """However the transaction ended, and also when it had lived for longer than a transaction may: the batch is the
    other's, whose producer is not fenced."""
    broker = ScriptedBroker(failure, during=taken_over)
    past = begun(broker, timeout_s=timeout_s)

    with pytest.raises(OperationUnderWayError, match=r"taken over partition 0: operation replay-2.*-99999999, by bo "):
        publish(past)
    assert ([], 0) == (broker.committed, broker.resets)


def test_a_successor_that_comes_while_a_producer_is_made() -> None:
    """Between two attempts: another attempt would fence it, and both would end."""
    broker = ScriptedBroker(UNCERTAIN, in_reset=taken_over)
    past = begun(broker)

    with pytest.raises(OperationUnderWayError):
        publish(past)
    assert ([], 0) == (broker.committed, broker.resets)


def test_nothing_is_published_after_the_same_operation_elsewhere() -> None:
    """The same command went on with it in another process, which may look like ours: on a host of the same name."""

    def gone_on(broker: ScriptedBroker) -> None:
        broker.log.append(replace(broker.log[-1], next_offset=900))

    broker = ScriptedBroker(UNCERTAIN, during=gone_on)
    past = begun(broker)

    with pytest.raises(OperationUnderWayError):
        publish(past)
    assert [] == broker.committed


@pytest.mark.parametrize("failures", [(UNCERTAIN,), (FENCED,), (UNCERTAIN, FENCED)])
def test_a_transaction_that_was_lost_is_published_again(failures: Sequence[NotCommitted]) -> None:
    """The newest progress is our own: nobody has gone on. A fence after a transaction's time is the broker's."""
    broker = ScriptedBroker(*failures)
    past = begun(broker, timeout_s=0.0)

    publish(past)

    assert ([b"value"], len(failures)) == (broker.committed, broker.resets)


def test_who_fenced_us_is_not_who_was_done_before() -> None:
    """Fenced before the other one has said who it is: an operation that ended long ago is not named."""
    broker = ScriptedBroker(FENCED)
    broker.log.append(replace(THEIRS, state=OperationState.DONE, at_ms=OURS.at_ms - 86_400_000))
    past = PastPublisher(
        cast(TransactionalPublisher, broker),
        OURS,
        make_output_topics(),
        newest_progress=broker.newest,
        timeout_s=15.0,
        now_ms=lambda: NOW_MS,
    )

    with pytest.raises(OperationUnderWayError, match="taken over partition 0\n"):
        past.begin()


def test_a_broker_that_does_not_say_who_has_gone_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for, as for a producer: then the command ends, and can be called again."""
    broker = ScriptedBroker(UNCERTAIN)
    past = begun(broker)

    def unavailable(_isolation: str) -> None:
        monkeypatch.setattr(past_publisher, "MAX_FAILING_S", 0.0)
        raise UnavailableError("no response")

    monkeypatch.setattr(past, "_newest_progress", unavailable)

    with pytest.raises(DependencyError, match="nothing was committed for 0 s: no response\nhint: the same command"):
        publish(past)
    assert [] == broker.committed


def test_a_shutdown_without_a_broker() -> None:
    """The publisher has to stop before it has a producer: an end with a hint, not an error of ours."""

    def stop(broker: ScriptedBroker) -> None:
        broker.is_ready = False

    broker = ScriptedBroker(UNCERTAIN, during=stop)
    past = begun(broker)

    for _ in range(2):
        with pytest.raises(DependencyError, match="stopped while the broker did not respond\nhint: the same command"):
            publish(past)
