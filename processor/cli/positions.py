"""`processor positions`: where a stopped group goes on. A dry run unless `--yes`.

The exit code is 1 while a dry run would change a position, 0 when there is nothing to change or it was done.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from processor.cli import output
from processor.cli.output import FINDINGS_EXIT_CODE, JsonOption, print_json
from processor.cli.past_options import (
    BecauseOption,
    ByOption,
    PartitionOption,
    TakeOverOption,
    person,
    record_text,
)
from processor.cli.progress import reading_bar
from processor.errors import UsageError
from processor.screen import Column, Listing, Screen

if TYPE_CHECKING:
    from processor.domain.operation import OperationId
    from processor.replay.positions import PositionChange, PositionsPlan, PositionsRequest
    from processor.settings import Settings
    from processor.wire.reader_schemas import Schemas

EXAMPLE: Final = "processor positions --partition 3 --to 1300"

REPUBLISH_ADVICE: Final = (
    "republished: each such event makes its messages once more, with the same keys and sequence 1. Consumers that keep "
    "the highest sequence of a key, and drop a known eid, see nothing new; whoever sends what comes sends twice"
)
SKIP_ADVICE: Final = "skipped events get no outcome; `processor replay` makes up for them"


def command(
    partition: PartitionOption = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="WHERE", help="An offset, beginning, end, a time (2026-03-14T09:26:53Z), or an age (2h)."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Positions that were saved, instead of --to.")
    ] = None,
    republish: Annotated[
        bool, typer.Option("--republish", help="Also where the outputs hold the events already; needs --because.")
    ] = False,
    save: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where the old positions are saved; with --yes they always are."),
    ] = None,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="Set them, in a stopped group; needs --because. Without it nothing is written."),
    ] = False,
    by: ByOption = None,
    because: BecauseOption = None,
    take_over: TakeOverOption = False,
    as_json: JsonOption = False,
) -> int:
    """Set where a stopped group goes on, partition by partition.

    A dry run unless --yes. The exit code is 1 while a dry run would change something.
    """
    from processor.registry.schema_files import load_schemas
    from processor.replay.positions import plan_positions, refuse_republishing
    from processor.replay.positions_file import save_positions
    from processor.replay.set_positions import saved_positions

    request = _request(partition, to, file, republish=republish)
    why = None if because is None else record_text("--because", because)
    if why is None and (yes or republish):
        option = "--yes" if yes else "--republish"
        raise UsageError(f"{option} needs --because TEXT", hint="it is kept, so that others can read why")
    who = person(by) if yes else ""
    settings = output.load_quiet_settings()
    schemas = load_schemas(settings.schemas_dir)
    with reading_bar("the outputs") as on_progress:
        plan = plan_positions(settings, schemas, request, on_progress=on_progress)
    if not yes or not plan.to_do:
        # With --yes the group is there already, maybe by the same command: what that one saved are the old positions.
        saved_to = None if yes else save
        if saved_to is not None:
            save_positions(saved_to, saved_positions(plan))
        _print(plan, None, saved_to, as_json=as_json)
        refuse_republishing(plan)
        return FINDINGS_EXIT_CODE if plan.to_do else 0
    refuse_republishing(plan)
    operation, saved_to = _act(settings, schemas, plan, who, why or "", take_over=take_over, save=save)
    _print(plan, operation, saved_to, as_json=as_json)
    return 0


def _request(partitions: list[int] | None, to: str | None, file: Path | None, *, republish: bool) -> "PositionsRequest":
    from processor.replay.operation_log import now_ms
    from processor.replay.positions import PositionsRequest, parse_target
    from processor.replay.positions_file import read_positions

    if (to is None) == (file is None):
        raise UsageError("positions needs one of --to and --file", hint=f"`{EXAMPLE}`")
    if file is not None:
        target: Any = read_positions(file)
    else:
        target = parse_target(to or "", now_ms=now_ms)
    return PositionsRequest(partitions=tuple(partitions) if partitions else None, target=target, republish=republish)


def _act(
    settings: "Settings",
    schemas: "Schemas",
    plan: "PositionsPlan",
    by: str,
    because: str,
    *,
    take_over: bool,
    save: Path | None,
) -> "tuple[OperationId, Path]":
    """Set the positions: the operation's id, and where the old ones are."""
    import secrets
    from datetime import UTC, datetime

    from processor.domain.operation import RANDOM_BYTES, OperationKind, operation_id
    from processor.replay.set_positions import Authorship, set_positions

    operation = operation_id(OperationKind.POSITIONS, datetime.now(UTC), random=secrets.token_bytes(RANDOM_BYTES))
    saved_to = save or Path(f"{operation}.json")
    authorship = Authorship(operation=operation, by=by, because=because)
    set_positions(settings, schemas, plan, authorship, take_over=take_over, save_to=saved_to)
    return operation, saved_to


def _print(plan: "PositionsPlan", operation: "OperationId | None", saved_to: Path | None, *, as_json: bool) -> None:
    if as_json:
        print_json(_as_json(plan, operation, saved_to))
        return
    screen = Screen()
    screen.line(f"group {plan.group} in {plan.topic}")
    columns = ("partition", "from", "to", "events", "outputs hold")
    listing = Listing([Column(heading, is_number=heading in ("from", "to")) for heading in columns])
    for change in plan.changes:
        offsets = (str(change.from_offset), str(change.to_offset))
        listing.add(str(change.partition), *offsets, _effect(change), _held(change))
    screen.listing(listing)
    for line in _closing_lines(plan, operation, saved_to):
        screen.line(line)


def _closing_lines(plan: "PositionsPlan", operation: "OperationId | None", saved_to: Path | None) -> Iterator[str]:
    """What was done, or would be."""
    from processor.replay.positions import refuses_republishing

    if any(change.skipped for change in plan.to_do):
        yield f"hint: {SKIP_ADVICE}"
    if any(change.republished for change in plan.to_do):
        yield REPUBLISH_ADVICE
    if saved_to is not None:
        yield f"old positions saved in {saved_to}; `processor positions --file` takes them back"
    if operation is not None:
        yield f"set {len(plan.to_do)} of {len(plan.changes)} positions: operation {operation}"
        return
    yield from _obstacles(plan)
    if not plan.to_do:
        yield "nothing to set: the group is there"
    elif refuses_republishing(plan):
        yield "nothing was changed; `--yes` is refused without `--republish`"
    else:
        yield "hint: nothing was changed; `--yes --because TEXT` acts"


def _obstacles(plan: "PositionsPlan") -> Iterator[str]:
    """What would keep `--yes` from acting now."""
    from processor.replay.operation_log import describe_under_way
    from processor.replay.positions import members_text
    from processor.replay.set_positions import STOP_HINT

    if plan.members:
        yield f"the group is active, so its positions move on: {members_text(plan.members)}"
        yield f"hint: {STOP_HINT}"
    for change in plan.under_way:
        assert change.newest is not None, "it is under way"
        yield f"partition {change.partition}: {describe_under_way(change.newest)}"


def _effect(change: "PositionChange") -> str:
    if change.stays:
        return "stays"
    parts = []
    if change.from_offset < change.first_offset:
        parts.append(f"{change.first_offset - change.from_offset} are gone")
    if change.skipped:
        parts.append(f"{change.skipped} skipped")
    if change.repeated:
        parts.append(f"{change.repeated} again")
    if change.republished:
        parts.append(f"{change.republished} republished")
    return ", ".join(parts)


def _held(change: "PositionChange") -> str:
    if change.stays:
        return ""
    return "nothing" if change.published is None else f"up to {change.published}"


def _as_json(plan: "PositionsPlan", operation: "OperationId | None", saved_to: Path | None) -> dict[str, Any]:
    from processor.replay.operation_log import under_way_as_json

    return {
        "group": plan.group,
        "topic": plan.topic,
        "done": operation is not None,
        "operation": operation,
        "saved": None if saved_to is None else str(saved_to),
        "members": [{"client": member.client, "host": member.host} for member in plan.members],
        "underWay": [under_way_as_json(change.newest) for change in plan.under_way if change.newest is not None],
        "partitions": [
            {
                "partition": change.partition,
                "from": change.from_offset,
                "to": change.to_offset,
                "firstOffset": change.first_offset,
                "endOffset": change.end_offset,
                "skipped": change.skipped,
                "repeated": change.repeated,
                "published": change.published,
                "republished": change.republished,
            }
            for change in plan.changes
        ],
    }
