"""The plan of a replay: what its dry run found missing, in a file that a second person can review.

JSON lines: first what was asked for and when, then a line for each record that gets an outcome: its templates, and
which of them make a message. It names no customer.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from processor.domain.outcome import Processed, Rejected
from processor.errors import InputError, UsageError
from processor.files import create_private
from processor.replay.event_range import EventRange
from processor.replay.request import ReplayRequest, parse_request, request_as_json
from processor.wire.json_codec import format_millis

PLAN_VERSION: Final = 2
WHOLE_RECORD: Final = ""  # in place of a template: the outcome is the record's own


class PlannedRecord(NamedTuple):
    """The templates that get an outcome, or WHOLE_RECORD; `messages` are those of them that make a message. What the
    others come to, a decision or a dead letter, may change by a table: then it is no message that nobody reviewed."""

    templates: frozenset[str]
    messages: frozenset[str]


@dataclass(frozen=True, slots=True)
class PlannedPartition:
    """What is planned of one range of events, by offset."""

    events: EventRange
    records: Mapping[int, PlannedRecord]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is planned, with which templates. `made_at_ms` is when the dry run began."""

    request: ReplayRequest
    set_version: str
    made_at_ms: int
    partitions: tuple[PlannedPartition, ...]

    def of_partition(self, partition: int) -> PlannedPartition:
        """The plan of one partition; an empty one for a partition that it lacks."""
        for planned in self.partitions:
            if planned.events.partition == partition:
                return planned
        return PlannedPartition(EventRange(partition, 0, 0), {})


def planned_record(outcome: Processed | Rejected) -> PlannedRecord:
    """What a plan says of a record that gets `outcome`."""
    if isinstance(outcome, Rejected):
        return PlannedRecord(frozenset((WHOLE_RECORD,)), frozenset())
    messages = frozenset(str(created.template_id) for created in outcome.messages)
    others = (
        *(failed.templateId for failed in outcome.failed),
        *(skipped.templateId or WHOLE_RECORD for skipped in outcome.skipped),
    )
    return PlannedRecord(messages.union(others), messages)


def require_planned(planned: PlannedPartition, outcome: Processed | Rejected) -> None:
    """Raise InputError for an outcome that is not planned, or a message where none was."""
    position, now = outcome.record.position, planned_record(outcome)
    then = planned.records.get(position.offset, _NOTHING)
    hint = "nothing was written; make a new plan, and have it reviewed"
    if more := now.templates - then.templates:
        names = ", ".join(sorted(name or "the record itself" for name in more))
        raise InputError(f"{position} is missing more now than the plan has: {names}", hint=hint)
    if more := now.messages - then.messages:
        raise InputError(f"{position} makes messages now that the plan has not: {', '.join(sorted(more))}", hint=hint)


_NOTHING: Final = PlannedRecord(frozenset(), frozenset())


def write_plan(file: Path, plan: Plan) -> None:
    """Write the plan to a new file that only its owner can read. UsageError where there is one, or it cannot be."""
    try:
        with create_private(file) as lines:
            for values in _lines(plan):
                lines.write(f"{json.dumps(values, separators=(',', ':'))}\n".encode())
    except FileExistsError as error:
        raise UsageError(f"{file} exists", hint="a plan is not written over; name another file") from error
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}") from error


def _lines(plan: Plan) -> Iterable[dict[str, Any]]:
    yield {
        "plan": PLAN_VERSION,
        "madeAt": format_millis(plan.made_at_ms),
        "madeAtMs": plan.made_at_ms,
        "setVersion": plan.set_version,
        "request": request_as_json(plan.request),
        "partitions": [[part.events.partition, part.events.first, part.events.end] for part in plan.partitions],
    }
    for part in plan.partitions:
        for offset, (templates, messages) in sorted(part.records.items()):
            yield {
                "partition": part.events.partition,
                "offset": offset,
                "templates": sorted(templates),
                "messages": sorted(messages),
            }


def read_plan(file: Path) -> Plan:
    """Read a plan. UsageError for a file that is none, or that was cut or changed into none."""
    if not file.is_file():  # a pipe that nobody writes to would keep us for ever
        raise UsageError(f"{file} is not a file", hint="`processor replay --save-plan FILE` makes a plan")
    try:
        with file.open(encoding="utf-8") as lines:
            head = json.loads(lines.readline())
            if head.get("plan") != PLAN_VERSION:
                raise UsageError(f"{file} is not a plan of this version: plan {head.get('plan')!r}")
            ranges = [EventRange(*map(int, limits)) for limits in head["partitions"]]
            records: dict[int, dict[int, PlannedRecord]] = {events.partition: {} for events in ranges}
            interned: dict[PlannedRecord, PlannedRecord] = {}
            for line in lines:
                values = json.loads(line)
                record = PlannedRecord(*(frozenset(map(str, values[name])) for name in PlannedRecord._fields))
                records[values["partition"]][int(values["offset"])] = interned.setdefault(record, record)
            return Plan(
                parse_request(head["request"]),
                str(head["setVersion"]),
                int(head["madeAtMs"]),
                tuple(PlannedPartition(events, records[events.partition]) for events in ranges),
            )
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{file} is not a plan: {type(error).__name__}: {error}",
            hint="`processor replay --save-plan FILE` makes one",
        ) from error
