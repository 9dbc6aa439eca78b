"""`processor run` that writes when each step of its batches was: `python -m tests.bench.step_worker FILE`.

The moments are taken in the real process, at the steps that the loop reports (engine/step.py) and where its consumer
gets records from the client. The file, JSON, is written when the process is stopped.
"""

import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from confluent_kafka import Consumer, Message

from processor.engine.loop import run
from processor.engine.step import Step
from processor.errors import FatalError
from processor.kafka import clients
from processor.observability.logs import configure
from processor.settings import load_settings

log = structlog.get_logger()


@dataclass(slots=True)
class StepTimes:
    """The moments of each pass of the loop, in seconds since the epoch. A pass without records, or whose transaction
    failed, is left out.

    `batches` has for each: `poll`, when its first call for records began; the steps' moments by name; and `records`:
    partition, offset, when the broker appended it (milliseconds since the epoch), and since when it was with the batch.
    That is the end of the first call for records or, of a record of a later call, which waits for more, its begin.
    """

    batches: list[dict[str, Any]] = field(default_factory=list)
    _poll_at: float = 0.0
    _called_at: float = 0.0
    _records: list[tuple[int, int, int, float]] = field(default_factory=list)
    _steps: dict[str, float] = field(default_factory=dict)

    def before_consume(self) -> None:
        """The loop asks the client for records."""
        self._called_at = time.time()
        if not self._poll_at:
            self._poll_at = self._called_at

    def after_consume(self, messages: list[Message]) -> None:
        """The client has given these."""
        since = self._called_at if self._records else time.time()
        self._records += [
            (message.partition() or 0, message.offset() or 0, message.timestamp()[1], since)
            for message in messages
            if message.error() is None
        ]

    def on_step(self, step: Step) -> None:
        """The loop has come so far."""
        if step is Step.POLLED:
            self._steps = {}
        self._steps[step] = time.time()
        if step is Step.POLLED and not self._records:
            self._poll_at = 0.0
        if step is Step.COMMITTED and Step.MAPPED in self._steps:
            if self._records:
                self.batches.append({"poll": self._poll_at, "records": self._records, **self._steps})
            self._poll_at, self._records = 0.0, []


def timed_consumer(times: StepTimes) -> type[Consumer]:
    """The client's consumer, whose calls for records are noted."""

    class TimedConsumer(Consumer):
        def consume(self, *args: Any, **kwargs: Any) -> list[Message]:
            times.before_consume()
            messages = super().consume(*args, **kwargs)
            times.after_consume(messages)
            return messages

    return TimedConsumer


def main() -> int:
    """Run until SIGTERM; the exit code is that of `processor run`."""
    times, settings = StepTimes(), load_settings()
    configure(settings.log)
    setattr(clients, "Consumer", timed_consumer(times))  # noqa: B010  for mypy
    try:
        run(settings, on_step=times.on_step)
    except FatalError as error:
        log.error("ended", error=str(error))  # noqa: TRY400  as `processor` prints it
        return error.exit_code
    Path(sys.argv[1]).write_text(json.dumps(times.batches))
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # as `processor` does
