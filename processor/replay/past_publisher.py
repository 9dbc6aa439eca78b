"""What an operation on the past writes of one partition: in transactions, each with a record of its progress.

Non-obvious: there is no position of a group that would say whether a transaction whose commit got no response was
committed. Its own progress record does: after `init_transactions` it is there for a `read_committed` reader, or never.
What was mapped for a transaction may be published again only while the newest progress is our own: a process that was
frozen, or cut off, for longer than its transactions live may wake up after another one has done all of it.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Final

import structlog

from processor.background import back_off_s
from processor.domain.operation_record import OperationState, ProgressRecord
from processor.domain.output_topics import OutputTopics
from processor.domain.record import OutRecord
from processor.engine.publisher import NotCommitted, TransactionalPublisher, TransactionResult
from processor.errors import DependencyError, OperationUnderWayError, UnavailableError
from processor.replay.operation_log import LoggedOperation, describe_process, is_under_way
from processor.wire.operations import progress_out_record

log = structlog.get_logger()

HEARTBEAT_INTERVAL_S: Final = 10.0
"""Between two progress records while nothing is written: others take an operation for dead after a minute."""

MAX_FAILING_S: Final = 60.0  # without a commit; then the command ends, and can be called again
RETRY_BACKOFF_S, MAX_RETRY_BACKOFF_S = 0.1, 5.0
SUCCESSOR_TIMEOUT_S, SUCCESSOR_POLL_INTERVAL_S = 5.0, 0.2
GOES_ON_HINT: Final = "the same command goes on where it was"
TAKEN_OVER_HINT: Final = "what was written so far stays; when the other one has ended, the same command goes on"


NewestProgress = Callable[[str], LoggedOperation[ProgressRecord] | None]
"""The newest progress record of the partition, as a reader of that isolation level sees it."""


class RefusedRecordsError(Exception):
    """The broker refuses a record of the batch; `failure` has its words. Nothing of the batch was committed."""

    def __init__(self, failure: NotCommitted) -> None:
        super().__init__(failure.detail)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Written:
    """Records of what was mapped, which one transaction publishes, and how many they are by their kind."""

    outputs: Sequence[OutRecord]
    messages: int = 0
    decisions: int = 0
    dead_letters: int = 0


class PastPublisher:
    """Publishes for one operation in one partition, under its transactional id. Not thread-safe."""

    def __init__(
        self,
        publisher: TransactionalPublisher,
        progress: ProgressRecord,
        topics: OutputTopics,
        *,
        newest_progress: NewestProgress,
        timeout_s: float,
        now_ms: Callable[[], int],
    ) -> None:
        """`progress` is what the operation says of itself at its beginning; `newest_progress` takes an isolation level;
        `timeout_s` is the transactions'."""
        self._publisher = publisher
        self._progress = progress
        self._topics = topics
        self._newest_progress = newest_progress
        self._timeout_s = timeout_s
        self._now_ms = now_ms
        self._has_begun = False
        self._committed_at = 0.0

    def begin(self) -> None:
        """Say that the operation is at work. As `publish`."""
        self._commit((), self._progress)

    def publish(self, written: Written, next_offset: int) -> None:
        """Commit records together with the progress up to `next_offset`, the first source that is not dealt with.

        Blocks, and retries with a back-off. Raises RefusedRecordsError where one of the records is the cause,
        OperationUnderWayError when another operation has taken over, DependencyError when nothing can be committed for
        a minute, or the progress alone is refused.
        """
        counts = self._progress.counts
        counts = replace(
            counts,
            messages=counts.messages + written.messages,
            decisions=counts.decisions + written.decisions,
            dead_letters=counts.dead_letters + written.dead_letters,
        )
        self._commit(written.outputs, replace(self._progress, next_offset=next_offset, counts=counts))

    def heartbeat(self) -> None:
        """Say that the operation is at work, if that was not said for a while. As `publish`."""
        if time.monotonic() - self._committed_at >= HEARTBEAT_INTERVAL_S:
            self._commit((), self._progress)

    def finish(self, state: OperationState) -> None:
        """Say how it ended: DONE is the end of the range. As `publish`."""
        next_offset = self._progress.end_offset if state is OperationState.DONE else self._progress.next_offset
        self._commit((), replace(self._progress, state=state, next_offset=next_offset))

    def _commit(self, outputs: Iterable[OutRecord], progress: ProgressRecord) -> None:
        progress = replace(progress, at_ms=self._now_ms())
        out = progress_out_record(progress, self._topics.operations)
        outputs, patience = tuple(outputs), Patience()
        while True:
            self._require_producer()
            began = time.monotonic()
            failure = self._publisher.publish(chain(outputs, (out,)), {}, None, is_batch=bool(outputs))
            if failure is None:
                break
            if failure.result is TransactionResult.FENCED and time.monotonic() - began < self._timeout_s:
                raise self._taken_over()  # else the broker ended the transaction after its time
            log.warning("transaction not committed", error=failure.error, detail=failure.detail)
            patience.wait(f"{failure.error}: {failure.detail}")
            self._refuse_successor(patience)
            self._publisher.reset_producer(self._topics, between_attempts=partial(self._check_in_reset, patience))
            self._require_producer()
            if self._was_committed(progress, patience):
                break
            if failure.is_record_error:
                raise RefusedRecordsError(failure) if outputs else self._refused_progress(failure)
        self._progress, self._has_begun = progress, True
        self._committed_at = time.monotonic()

    def _refused_progress(self, failure: NotCommitted) -> DependencyError:
        """Why nothing can be written: not even a record of our own progress."""
        return DependencyError(
            f"{self._topics.operations.name} does not take the record of an operation's progress: {failure.error}: "
            f"{failure.detail}",
            hint="raise its max.message.bytes, or shorten --because",
        )

    def _require_producer(self) -> None:
        """DependencyError when a shutdown did not leave the time to get a producer."""
        if not self._publisher.is_ready:
            raise DependencyError("stopped while the broker did not respond", hint=GOES_ON_HINT)

    def _check_in_reset(self, patience: "Patience") -> None:
        """Between two attempts to get a producer: another process may have gone on by now."""
        patience.check()
        self._refuse_successor(patience)

    def _refuse_successor(self, patience: "Patience") -> None:
        """Raise OperationUnderWayError when another process has gone on from what we committed: a new producer of ours
        would fence it."""
        newest = self._read_newest("read_uncommitted", patience)
        if self._has_begun and newest is not None and not self._is_ours(newest.record):
            raise self._taken_over_by(newest)

    def _was_committed(self, progress: ProgressRecord, patience: "Patience") -> bool:
        """Whether the transaction with `progress` was; OperationUnderWayError when another one came after it."""
        newest = self._read_newest("read_committed", patience)
        if newest is None or newest.record == progress:
            return newest is not None
        if self._has_begun and newest.record != self._progress:
            raise self._taken_over_by(newest)
        return False

    def _read_newest(self, isolation: str, patience: "Patience") -> LoggedOperation[ProgressRecord] | None:
        while True:
            try:
                return self._newest_progress(isolation)
            except UnavailableError as error:
                patience.wait(str(error))

    def _taken_over(self) -> OperationUnderWayError:
        """Why our transactional id was fenced. Who has it now may not have said so yet, so it is looked for a while."""
        until = time.monotonic() + SUCCESSOR_TIMEOUT_S
        while True:
            newest = self._newest_progress("read_uncommitted")
            if newest is not None and self._is_successor(newest):
                return self._taken_over_by(newest)
            if time.monotonic() > until:
                return self._taken_over_by(None)
            time.sleep(SUCCESSOR_POLL_INTERVAL_S)

    def _taken_over_by(self, newest: LoggedOperation[ProgressRecord] | None) -> OperationUnderWayError:
        what = f"another process has taken over partition {self._progress.partition}"
        return OperationUnderWayError(
            what if newest is None else f"{what}: {describe_process(newest)}", hint=TAKEN_OVER_HINT
        )

    def _is_successor(self, newest: LoggedOperation[ProgressRecord]) -> bool:
        """Whether it is another process, and none that had ended before us."""
        is_later = newest.record.at_ms >= self._progress.at_ms or is_under_way(newest, now_ms=self._now_ms())
        return is_later and not self._is_ours(newest.record)

    def _is_ours(self, progress: ProgressRecord) -> bool:
        ours = self._progress
        identity = (ours.operation, ours.host, ours.process_id)
        return (progress.operation, progress.host, progress.process_id) == identity


class Patience:
    """How long failures in a row are put up with."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._count = 0

    def wait(self, cause: str) -> None:
        """Back off. DependencyError when it has gone on for too long."""
        self._raise_if_over(cause)
        time.sleep(back_off_s(self._count, first_s=RETRY_BACKOFF_S, longest_s=MAX_RETRY_BACKOFF_S))
        self._count += 1

    def check(self) -> None:
        """DependencyError when it has gone on for too long."""
        self._raise_if_over("the broker gives no transactional id")

    def _raise_if_over(self, cause: str) -> None:
        if time.monotonic() - self._began > MAX_FAILING_S:
            raise DependencyError(
                f"nothing was committed for {MAX_FAILING_S:.0f} s: {cause}",
                hint=GOES_ON_HINT,
            )
