"""`processor topics`: what topics exist, are missing or differ; creates the missing and adds partitions."""

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from processor.cli import output
from processor.cli.output import FINDINGS_EXIT_CODE, JsonOption, print_json
from processor.errors import UsageError
from processor.screen import Column, Listing, Screen

if TYPE_CHECKING:
    from processor.domain.record import EventName
    from processor.kafka.topic_admin import TopicGrowth, TopicReport
    from processor.kafka.topic_plan import PlannedTopic
    from processor.settings import Settings

EXAMPLE: Final = "processor topics --create --partitions 6"

ORDER_ADVICE: Final = (
    "an account may change its partition, and order holds within a partition only: stop the producers, let `run` reach "
    "the end of every partition, then grow"
)
_CONFIG_SHOWN: Final = ("cleanup.policy", "retention.ms", "max.message.bytes")


def command(
    create: Annotated[bool, typer.Option("--create", help="Create what is missing; change nothing else.")] = False,
    partitions: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Partitions of the events and the topics co-partitioned with them; 6 where nothing exists.",
        ),
    ] = None,
    grow: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Grow to N partitions, outputs first; a dry run without --yes."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Apply --grow (irreversible).")] = False,
    as_json: JsonOption = False,
) -> int:
    """Show which topics exist, are missing or differ; create or grow them.

    The exit code is 1 when something differs or is missing.
    """
    if grow is not None and (create or partitions is not None):
        raise UsageError("--grow stands alone", hint="create first, grow then")
    if yes and grow is None:
        raise UsageError("--yes goes with --grow", hint="--create creates what is missing and changes nothing else")
    from processor.kafka.topic_admin import create_topics, grow_topics, inspect_topics

    settings = output.load_quiet_settings()
    settings.bootstrap_servers  # noqa: B018  raises
    stream_events = _stream_events(settings)
    if grow is not None:
        growth = grow_topics(settings, partitions=grow, stream_events=stream_events, yes=yes)
        _print_growth(growth, as_json=as_json)
        return FINDINGS_EXIT_CODE if growth.steps and not growth.done else 0
    inspect = create_topics if create else inspect_topics
    report = inspect(settings, stream_events=stream_events, partitions=partitions)
    _print_report(report, as_json=as_json)
    return FINDINGS_EXIT_CODE if report.differences else 0


def _stream_events(settings: "Settings") -> "frozenset[EventName]":
    from processor.registry.schema_files import load_schemas
    from processor.templates.load import load_templates, require_usable

    schemas = load_schemas(settings.schemas_dir)
    return require_usable(load_templates(settings, schemas)).stream_events()


def _print_growth(growth: "TopicGrowth", *, as_json: bool) -> None:
    """What was grown, or would be."""
    if as_json:
        topics = [{"name": name, "from": now, "to": then} for name, now, then in growth.steps]
        print_json({"grown": growth.done, "topics": topics, "order": ORDER_ADVICE})
        return
    screen = Screen()
    if not growth.steps:
        screen.line("nothing to grow: every topic has as many partitions")
        return
    verb = "grew" if growth.done else "would grow"
    for name, now, then in growth.steps:
        screen.line(f"{verb} {name} from {now} to {then} partitions")
    screen.line(f"order: {ORDER_ADVICE}")
    if not growth.done:
        screen.line("hint: nothing was changed, and a growth cannot be undone; `--yes` acts")


def _print_report(report: "TopicReport", *, as_json: bool) -> None:
    """A table of the topics, then what differs and what to do about it."""
    if as_json:
        print_json(
            {
                "topics": [_topic_json(planned, report) for planned in report.plan],
                "created": list(report.created),
                "differences": [{"topic": d.topic, "what": d.what, "hint": d.hint} for d in report.differences],
            }
        )
        return
    columns = [
        Column("topic"),
        Column("partitions", is_number=True),
        *(Column(name, optional=True) for name in _CONFIG_SHOWN),
        Column("state"),
    ]
    listing, screen = Listing(columns), Screen()
    for planned in report.plan:
        topic = _topic_json(planned, report)
        config = (topic["config"][name] or "" for name in _CONFIG_SHOWN)
        listing.add(planned.name, str(topic["partitions"]), *config, _state(planned, report))
    screen.listing(listing)
    for difference in report.differences:
        if not difference.is_missing:
            screen.line(f"{difference.topic} {difference.what}\nhint: {difference.hint}")
    if any(difference.is_missing for difference in report.differences):
        screen.line("hint: `processor topics --create` creates what is missing")


def _topic_json(planned: "PlannedTopic", report: "TopicReport") -> dict[str, Any]:
    """The topic as it exists; as it is planned where it does not."""
    actual = report.existing.get(planned.name)
    config = planned.config if actual is None else actual.config
    return {
        "name": planned.name,
        "role": planned.role,
        "exists": actual is not None,
        "partitions": planned.partitions if actual is None else actual.partitions,
        "config": {name: config.get(name) for name in _CONFIG_SHOWN},
    }


def _state(planned: "PlannedTopic", report: "TopicReport") -> str:
    if planned.name not in report.existing:
        return "missing"
    if planned.name in report.created:
        return "created"
    return "differs" if any(difference.topic == planned.name for difference in report.differences) else "ok"
