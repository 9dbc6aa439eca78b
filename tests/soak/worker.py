"""A worker that kills or freezes itself at a named step: the engine of `processor run` with a step hook.

Its parameters are arguments, so that the environment holds settings of the processor and nothing else. SIGUSR1 makes it
write its stacks to its log, SIGUSR2 how often it came by each step.
"""

import argparse
import faulthandler
import logging
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence

import structlog

from processor.engine.loop import run
from processor.errors import FatalError
from processor.settings import load_settings
from tests.chaos.changes import CHANGES

STEPS = (
    "polled",
    "mapped",
    "begun",
    "produced",
    "offsets_sent",
    "committing",
    "committed",
    "recovering",
    "recovered",
    "sought",
)
"""All names that the engine gives to its hook; the last three only after a transaction that did not commit."""

OF_A_TRANSACTION = frozenset({"begun", "produced", "offsets_sent", "committing", "committed"})

SIGNALS = {"KILL": signal.SIGKILL, "STOP": signal.SIGSTOP, "TERM": signal.SIGTERM}


def at_step(name: str, *, visit: int, delay_ms: int, signal_number: int) -> Callable[[str], None]:
    """A hook that sends this process a signal at the `visit`-th time that it comes by `name`, `delay_ms` later.

    Steps of transactions that carry positions only (a chosen start, an idle partition) are not counted.
    """
    left = visit
    mapped = False

    def hook(step: str) -> None:
        nonlocal left, mapped
        mapped = step == "mapped" or (mapped and step != "polled")
        if step != name or (step in OF_A_TRANSACTION and not mapped):
            return
        left -= 1
        if left == 0:
            time.sleep(delay_ms / 1000)  # lets librdkafka's threads send what the step has handed to them
            os.kill(os.getpid(), signal_number)

    return hook


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.worker", description=__doc__)
    parser.add_argument("--step", choices=STEPS)
    parser.add_argument("--visit", type=int, default=1)
    parser.add_argument("--delay-ms", type=int, default=0)
    parser.add_argument("--signal", choices=tuple(SIGNALS), default="KILL")
    parser.add_argument("--until-end", action="store_true")
    parser.add_argument("--start-from")
    parser.add_argument("--mutant", choices=tuple(CHANGES))
    return parser.parse_args(given)


def main() -> int:
    """Run until the end, a signal, or the step; the exit code is the contract's."""
    args = arguments()
    structlog.configure(
        processors=[structlog.processors.TimeStamper(fmt="iso"), structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    if args.mutant:
        CHANGES[args.mutant]()
    faulthandler.register(signal.SIGUSR1)
    visits: Counter[str] = Counter()
    signal.signal(signal.SIGUSR2, lambda *_: print(dict(visits), file=sys.stderr))  # noqa: T201
    fault = at_step(args.step or "", visit=args.visit, delay_ms=args.delay_ms, signal_number=SIGNALS[args.signal])

    def hook(step: str) -> None:
        visits[step] += 1
        fault(step)

    try:
        run(load_settings(), until_end=args.until_end, answer=args.start_from, step=hook)
    except FatalError as error:
        print(error, file=sys.stderr)  # noqa: T201  what a person would read
        return error.exit_code
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # as `processor` does: Python's own clean-up ends threads inside librdkafka's callbacks (SIGSEGV)
