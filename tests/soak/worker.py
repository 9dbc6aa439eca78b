"""A worker that kills or pauses itself at a named step: the engine of `processor run` with a step hook.

Its parameters are arguments, so that the environment holds settings of the processor and nothing else. SIGUSR1 makes it
write its stacks to its log, SIGUSR2 how often each step was reached.
"""

import argparse
import faulthandler
import logging
import os
import signal
import sys
import time
from collections import Counter

import structlog

from processor.engine.loop import run
from processor.engine.step import Step, StepHook
from processor.errors import FatalError
from processor.settings import load_settings
from tests.soak.mutations import MUTATIONS

TRANSACTION_STEPS = frozenset({Step.BEGUN, Step.PRODUCED, Step.OFFSETS_SENT, Step.COMMITTING, Step.COMMITTED})

SIGNALS = {"KILL": signal.SIGKILL, "STOP": signal.SIGSTOP, "TERM": signal.SIGTERM}


def signal_at_step(name: str, *, nth: int, delay_ms: int, signal_number: int) -> StepHook:
    """A hook that sends this process a signal `delay_ms` after it has reached step `name` for the `nth` time.

    Steps of transactions that carry offsets only (of an initial commit, of an idle partition) are not counted.
    """
    left = nth
    mapped = False

    def hook(step: Step) -> None:
        nonlocal left, mapped
        mapped = step is Step.MAPPED or (mapped and step is not Step.POLLED)
        if step != name or (step in TRANSACTION_STEPS and not mapped):
            return
        left -= 1
        if left == 0:
            time.sleep(delay_ms / 1000)  # lets librdkafka's threads send what the step has handed to them
            os.kill(os.getpid(), signal_number)

    return hook


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.worker", description=__doc__)
    parser.add_argument("--step", choices=list(Step))
    parser.add_argument("--nth", type=int, default=1)
    parser.add_argument("--delay-ms", type=int, default=0)
    parser.add_argument("--signal", choices=tuple(SIGNALS), default="KILL")
    parser.add_argument("--until-end", action="store_true")
    parser.add_argument("--mutation", choices=tuple(MUTATIONS))
    return parser.parse_args()


def main() -> int:
    """Run until the end, a signal, or the step; the exit code is that of `processor run`."""
    args = parse_arguments()
    structlog.configure(
        processors=[structlog.processors.TimeStamper(fmt="iso"), structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    if args.mutation:
        MUTATIONS[args.mutation]()
    faulthandler.register(signal.SIGUSR1)
    step_counts: Counter[str] = Counter()
    signal.signal(signal.SIGUSR2, lambda *_: print(dict(step_counts), file=sys.stderr))  # noqa: T201
    send_signal = signal_at_step(
        args.step or "", nth=args.nth, delay_ms=args.delay_ms, signal_number=SIGNALS[args.signal]
    )

    def hook(step: Step) -> None:
        step_counts[step] += 1
        send_signal(step)

    try:
        run(load_settings(), until_end=args.until_end, on_step=hook)
    except FatalError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # as `processor` does: Python's own clean-up ends threads inside librdkafka's callbacks (SIGSEGV)
