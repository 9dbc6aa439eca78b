"""`processor run`: the engine in this process, or with --workers the supervisor of many such processes."""

import os
import signal
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from processor.cli.output import print_line
from processor.errors import AuthorizationError, StalledError

if TYPE_CHECKING:
    from processor.observability.http import Server
    from processor.settings import Settings

EXAMPLE: Final = "PROCESSOR_TENANT=northbank processor run --workers 2"


def command(
    until_end: Annotated[
        bool,
        typer.Option(
            "--until-end",
            help="Stop, with 0, once every partition has reached the end it had when assigned.",
        ),
    ] = False,
    start_from: Annotated[
        str | None,
        typer.Option(
            metavar="beginning|end|outputs|TIME",
            help="Where a new group starts, or one whose position is gone; a position that is there stays, with a "
            "warning. TIME is RFC 3339. Not set: at the beginning if nothing was published yet, else it stops with "
            "a hint.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=256, help="Run N supervised processes and restart crashed ones."),
    ] = None,
    worker: Annotated[int | None, typer.Option(hidden=True)] = None,
    supervisor: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> int:
    """Map events to messages, until SIGTERM or SIGINT."""
    _exit_on_signals()
    from processor.observability.logs import configure
    from processor.settings import load_settings

    settings = load_settings()
    configure(settings.log, worker=worker)
    settings.required_tenant  # noqa: B018  raises; better here once than in every worker
    settings.bootstrap_servers  # noqa: B018
    os.umask(0o077)  # the local stores hold names and addresses, and RocksDB makes its files whenever it likes
    if workers is not None:
        return supervise_workers(settings, until_end=until_end, start_from=start_from, workers=workers)
    return run_engine(settings, until_end=until_end, start_from=start_from, supervisor=supervisor)


def _exit_on_signals() -> None:
    """SIGTERM and SIGINT while modules are still being loaded are a clean stop too; the engine then takes over.

    Without this a container's first process, for which the kernel has no default action, would not stop at all.
    """

    def exit_cleanly(_number: int, _frame: object) -> NoReturn:
        raise SystemExit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, exit_cleanly)


def run_engine(settings: "Settings", *, until_end: bool, start_from: str | None, supervisor: int | None) -> int:
    """Run the engine until it is stopped; `supervisor` is a worker's end of the socket pair with its supervisor.

    Blocks. The exit code of a clean end is 0; every other end raises a FatalError.
    """
    from prometheus_client import CollectorRegistry

    from processor.engine.loop import run
    from processor.engine.status import EngineStatus
    from processor.observability.http import serve
    from processor.observability.metrics import Metrics, observe_process
    from processor.settings import InputTopic
    from processor.supervisor.link import SupervisorLink

    link = SupervisorLink(supervisor) if supervisor is not None else None
    registry = CollectorRegistry()
    observe_process(registry)
    status = EngineStatus(Metrics(registry), events=settings.topic(InputTopic.EVENTS), max_stall_s=settings.max_stall_s)
    server = serve(settings.http.host, settings.http.port, registry=registry, ready=status.readiness)

    def report_assignment(_step: str) -> None:
        if link is not None and status.was_ever_assigned:
            link.report_assignment()

    try:
        if link is None:
            announce(settings, server)
        else:
            link.report_port(server.port)
        run(settings, until_end=until_end, start_from=start_from, on_step=report_assignment, status=status)
    except (AuthorizationError, StalledError):
        if link is not None:
            link.report_no_restart()
        raise
    finally:
        server.close()
    return 0


def supervise_workers(settings: "Settings", *, until_end: bool, start_from: str | None, workers: int) -> int:
    """Supervise `workers` processes of the engine. Blocks; 0, or the code of the worker that ended all."""
    from processor.engine.start_offsets import parse_start_policy
    from processor.supervisor.link import worker_command
    from processor.supervisor.workers import supervise

    parse_start_policy(start_from)  # an invalid one is refused here, not by each worker
    return supervise(
        settings.http,
        workers=workers,
        command=worker_command(until_end=until_end, start_from=start_from),
        until_end=until_end,
        on_listening=lambda server: announce(settings, server),
    )


def announce(settings: "Settings", server: "Server") -> None:
    """Say where health, readiness and metrics are: in the log, and on stdout where a free port was taken."""
    import structlog

    structlog.get_logger().info("listening", host=server.host, port=server.port)
    if settings.http.port == 0:
        print_line(f"http={server.host}:{server.port}")
