"""`processor kafka`: a real Apache Kafka on loopback, in the foreground."""

import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

from rich.console import Console

from processor.errors import DependencyError
from processor.kafka.local.jars import KAFKA_VERSION
from processor.kafka.local.kafka import local_kafka
from processor.observability.signals import SHUTDOWN_SIGNALS, ShutdownRequested, signal_handlers

_EXIT_CHECK_INTERVAL_S: Final = 0.5


def run_kafka(port: int | None, data: Path | None) -> int:
    """Run a broker until SIGINT or SIGTERM; 0, the exit code of a clean stop.

    Prints `bootstrap.servers=127.0.0.1:P` on stdout, flushed and as the only line, once the broker responds; progress
    goes to stderr when that is a terminal. `port`: None or 0 takes a free one. `data`: as in `local_kafka`. Blocks;
    main thread only (it handles signals). Raises UsageError for a port or folder that is taken, DependencyError when
    the broker does not start, or ends by itself.
    """
    console = Console(stderr=True)
    status = console.status("Apache Kafka")  # shows nothing when stderr is no terminal
    running = local_kafka(port=port or None, data=data, progress=status.update)
    with suppress(ShutdownRequested), signal_handlers(_stop), status, running as kafka:
        status.stop()
        console.print(f"Apache Kafka {KAFKA_VERSION}, log: {kafka.log}; Ctrl-C stops it", soft_wrap=True)
        sys.stdout.write(f"bootstrap.servers={kafka.bootstrap_servers}\n")
        sys.stdout.flush()
        while (code := kafka.exit_code()) is None:
            time.sleep(_EXIT_CHECK_INTERVAL_S)
        raise DependencyError(f"Apache Kafka ended by itself with {code}", hint="was it killed, or out of memory?")
    return 0


def _stop() -> NoReturn:
    for number in SHUTDOWN_SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # stopping takes seconds at most; let it finish
    raise ShutdownRequested
