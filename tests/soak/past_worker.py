"""`processor ARGUMENTS`, a process that notes each step of its transactions and may kill itself at one.

`python -m tests.soak.past_worker --steps FILE [--step NAME --nth N] -- replay --yes`. It is the command line itself:
what is typed again after a kill goes on with the operation. Only operations on the past have steps.
"""

import argparse
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

from processor.cli.main import main as command_line
from processor.engine.step import Step, StepHook
from processor.replay import operation

SEND_TIME_S = 0.05  # lets librdkafka's threads send what the step has handed to them


def kill_at_step(steps: Path, step: str | None, *, nth: int) -> StepHook:
    """A hook that appends each step to the file `steps`, and kills this process at `step` for the `nth` time."""
    descriptor = os.open(steps, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    left = nth

    def hook(reached: Step) -> None:
        nonlocal left
        os.write(descriptor, f"{reached}\n".encode())
        if reached != step:
            return
        left -= 1
        if left == 0:
            time.sleep(SEND_TIME_S)
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def main() -> None:
    """Run the command; ends as `processor` does."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.past_worker", description=__doc__)
    parser.add_argument("--steps", type=Path, required=True)
    parser.add_argument("--step", choices=list(Step))
    parser.add_argument("--nth", type=int, default=1)
    parser.add_argument("arguments", nargs="+")
    args = parser.parse_args()
    hook = kill_at_step(args.steps, args.step, nth=args.nth)
    setattr(operation, "run_operation", partial(operation.run_operation, on_step=hook))  # noqa: B010  for mypy
    sys.argv = ["processor", *args.arguments]
    command_line()


if __name__ == "__main__":
    main()
