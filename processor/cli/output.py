"""Joins the parts for each command: settings, logs, the work itself, and what is printed of it on stdout."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry

from processor.domain.record import EventName
from processor.errors import AuthorizationError, StalledError, UsageError
from processor.observability.http import Server, serve
from processor.observability.logs import configure
from processor.observability.metrics import Metrics, observe_process
from processor.settings import LogSettings, SettingRow, Settings, load_settings, settings_table

log = structlog.get_logger()

FINDINGS: Final = 1


def run(
    *,
    until_end: bool,
    start_from: str | None,
    workers: int | None,
    worker: int | None,
    supervisor: int | None,
) -> int:
    """`processor run`; with `workers` their supervisor, with `worker` and `supervisor` one of its children.

    Blocks. The exit code of a clean end is 0; every other end raises a FatalError, or is the code of a worker.
    """
    settings = load_settings()
    configure(settings.log, worker=worker)
    settings.required_tenant  # noqa: B018  raises; better here once than in every worker
    settings.bootstrap_servers  # noqa: B018
    os.umask(0o077)  # the local copies hold names and addresses, and RocksDB makes its files whenever it likes
    if workers is not None:
        return _supervise(settings, until_end=until_end, start_from=start_from, workers=workers)
    return _run(settings, until_end=until_end, start_from=start_from, supervisor=supervisor)


def _run(settings: Settings, *, until_end: bool, start_from: str | None, supervisor: int | None) -> int:
    from processor.engine.loop import run
    from processor.engine.status import EngineStatus
    from processor.supervisor.workers import Told

    told = Told(supervisor) if supervisor is not None else None
    registry = CollectorRegistry()
    observe_process(registry)
    progress = EngineStatus(Metrics(registry), events=settings.topic("events"), max_stall_s=settings.max_stall_s)
    server = serve(settings.http.host, settings.http.port, registry=registry, ready=progress.readiness)

    def step(_step: str) -> None:
        if told is not None and progress.assigned:
            told.assigned()

    try:
        if told is None:
            announce(settings, server)
        else:
            told.port(server.port)
        run(settings, until_end=until_end, start_from=start_from, on_step=step, status=progress)
    except (AuthorizationError, StalledError):
        if told is not None:
            told.final()
        raise
    finally:
        server.close()
    return 0


def _supervise(settings: Settings, *, until_end: bool, start_from: str | None, workers: int) -> int:
    from processor.engine.start_offsets import parse_start_policy
    from processor.supervisor.workers import supervise, worker_command

    parse_start_policy(start_from)  # an invalid one is refused here, not by each worker
    return supervise(
        settings.http,
        workers=workers,
        command=worker_command(until_end=until_end, start_from=start_from),
        until_end=until_end,
        listening=lambda server: announce(settings, server),
    )


def announce(settings: Settings, server: Server) -> None:
    """Say where health, readiness and metrics are: in the log, and on stdout where the port was left to us."""
    log.info("listening", host=server.host, port=server.port)
    if settings.http.port == 0:
        _print(f"http={server.host}:{server.port}")


def preview(
    *, template: str, event: str | None, sample: str | None, html: Path | None, browser: bool, json_output: bool
) -> int:
    """`processor preview`. Raises UsageError for two events at once."""
    from processor.cli.preview import preview as show

    if event is not None and sample is not None:
        raise UsageError("--event and --sample are two events", hint="keep one of them")
    return show(
        _quiet_settings(),
        template=template,
        event=event,
        sample=sample,
        html=html,
        browser=browser,
        json_output=json_output,
    )


def explain(*, events: Sequence[str], json_output: bool) -> int:
    """`processor explain`."""
    from processor.cli.explain import explain as show

    return show(_quiet_settings(), arguments=events, json_output=json_output)


def templates(
    *,
    placeholders: str | None,
    new: str | None,
    event: str | None,
    channel: str | None,
    schema: bool,
    json_output: bool,
) -> int:
    """`processor templates`. Raises UsageError for options that do not go together."""
    from processor.cli import templates as ops

    if [placeholders is not None, new is not None, schema].count(True) > 1:
        raise UsageError("--placeholders, --new and --schema are three questions", hint="ask one of them")
    if (new is None) != (event is None) or (new is None) != (channel is None):
        raise UsageError("--new, --event and --type go together", hint="--new ID --event EVENT --type TYPE")
    if json_output and (new is not None or schema):
        raise UsageError("--json is for lists", hint="leave it out")
    if schema:
        return ops.print_schema()
    settings = _quiet_settings()
    if placeholders is not None:
        return ops.list_placeholders(settings, event=placeholders, json_output=json_output)
    if new is not None and event is not None and channel is not None:
        return ops.new_template(settings, template_id=new, event=event, channel=channel)
    return ops.list_templates(settings, json_output=json_output)


def schemas(*, register: bool, yes: bool, json_output: bool) -> int:
    """`processor schemas`. Raises UsageError for --yes where nothing is done."""
    from processor.cli import schemas as ops

    if yes and not register:
        raise UsageError("--yes is for register", hint="leave it out: check changes nothing")
    settings = _quiet_settings()
    if register:
        return ops.register(settings, yes=yes, json_output=json_output)
    return ops.check(settings, json_output=json_output)


def demo(*, events: int, json_output: bool, keep: bool) -> int:
    """`processor demo`."""
    from processor.demo.run import demo as show

    return show(_quiet_settings(), events=events, json_output=json_output, keep=keep)


def produce(
    *,
    file: Path | None,
    samples: bool,
    count: int | None,
    seed: int | None,
    rate: float | None,
    wire_format: str,
    skip_bad: bool,
    json_output: bool,
) -> int:
    """`processor produce`. Raises UsageError unless there is exactly one source."""
    from processor.cli.produce import File, Generated, Samples, Source
    from processor.cli.produce import produce as send

    if [file is not None, samples, count is not None].count(True) != 1:
        raise UsageError("produce needs one of --file, --samples and --count", hint="`processor produce --samples`")
    if seed is not None and count is None:
        raise UsageError("--seed makes sense with --count alone", hint="leave it out")
    source: Source
    if file is not None:
        source = File(file)
    elif count is not None:
        source = Generated(count) if seed is None else Generated(count, seed)
    else:
        source = Samples()
    return send(
        _quiet_settings(),
        source=source,
        rate=rate,
        format="avro" if wire_format == "avro" else "json",
        skip_bad=skip_bad,
        json_output=json_output,
    )


def kafka(*, port: int | None, data: Path | None) -> int:
    """`processor kafka`."""
    from processor.kafka.local.command import run_kafka

    _quiet_settings()
    return run_kafka(port, data)


def check(*, json_output: bool) -> int:
    """`processor check`."""
    from processor.cli.check import check as find

    return find(_quiet_settings(), json_output=json_output)


def topics(*, create: bool, partitions: int | None, grow: int | None, yes: bool, json_output: bool) -> int:
    """`processor topics`: 0 when all is well or was made so, 1 when something differs or is still to be grown."""
    from processor.cli import topics as ops

    if grow is not None and (create or partitions is not None):
        raise UsageError("--grow stands alone", hint="create first, grow then")
    if yes and grow is None:
        raise UsageError("--yes goes with --grow", hint="--create creates what is missing and changes nothing else")
    settings = _quiet_settings()
    settings.bootstrap_servers  # noqa: B018  raises
    stream_events = _stream_events(settings)
    if grow is not None:
        growth = ops.grow(settings, partitions=grow, stream_events=stream_events, yes=yes)
        _print(json.dumps(growth.as_json()) if json_output else growth_text(growth))
        return FINDINGS if growth.steps and not growth.done else 0
    asked = ops.create if create else ops.look
    report = asked(settings, stream_events=stream_events, partitions=partitions)
    _print(json.dumps(report.as_json()) if json_output else report_text(report))
    return FINDINGS if report.differences else 0


def settings(*, json_output: bool) -> int:
    """`processor settings`."""
    rows = settings_table()
    _print(json.dumps(settings_json(rows)) if json_output else settings_text(rows))
    return 0


def settings_json(rows: Iterable[SettingRow]) -> dict[str, Any]:
    """One object for machines."""
    names = ("variable", "name", "value", "default", "source", "meaning")
    return {"settings": [{name: getattr(row, name) for name in names} for row in rows]}


def settings_text(rows: Iterable[SettingRow]) -> str:
    """Two lines a setting: what it is and why, then what it means and what it would be."""
    lines = []
    for row in rows:
        default = "" if row.source == "default" or row.default is None else f" Default: {_value(row.default)}"
        lines += [f"{row.variable} = {_value(row.value)}  ({row.source})", f"    {row.meaning}{default}"]
    return "\n".join(lines)


def _value(value: Any) -> str:
    match value:
        case None:
            return "not set"
        case dict():
            return json.dumps(value)
        case "":
            return "''"
        case _:
            return str(value)


def report_text(report: Any) -> str:
    """A table of the topics, then what differs and what to do about it."""
    found = {difference.topic for difference in report.differences}
    rows = [("topic", "partitions", "cleanup.policy", "retention.ms", "max.message.bytes", "")]
    for topic in report.as_json()["topics"]:
        config = topic["config"]
        state = "created" if topic["name"] in report.created else "differs" if topic["name"] in found else "ok"
        rows.append(
            (
                topic["name"],
                str(topic["partitions"]),
                config["cleanup.policy"],
                config["retention.ms"],
                config["max.message.bytes"] or "",
                state if topic["exists"] else "missing",
            )
        )
    lines = columns(rows)
    lines += [f"{d.topic} {d.what}\nhint: {d.hint}" for d in report.differences if d.what != "is missing"]
    if any(d.what == "is missing" for d in report.differences):
        lines.append("hint: `processor topics --create` creates what is missing")
    return "\n".join(lines)


def growth_text(growth: Any) -> str:
    """What was grown, or would be."""
    if not growth.steps:
        return "nothing to grow: every topic has as many partitions"
    verb = "grew" if growth.done else "would grow"
    lines = [f"{verb} {name} from {now} to {then} partitions" for name, now, then in growth.steps]
    lines.append(f"order: {growth.as_json()['order']}")
    if not growth.done:
        lines.append("hint: nothing was changed, and a growth cannot be undone; `--yes` acts")
    return "\n".join(lines)


def columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows as lines whose columns stand under each other, none cut."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _stream_events(settings: Settings) -> frozenset[EventName]:
    from processor.registry.schema_files import load_schemas
    from processor.templates.load import load_templates, require_usable

    schemas = load_schemas(settings.schemas_dir)
    return require_usable(load_templates(settings, schemas)).stream_events()


def _quiet_settings() -> Settings:
    """The settings, for a command that prints its own results: it logs warnings, unless a level was chosen."""
    loaded = load_settings()
    chosen = "level" in loaded.log.model_fields_set
    configure(loaded.log if chosen else LogSettings(format=loaded.log.format, level="warning"))
    return loaded


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
