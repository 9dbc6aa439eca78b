"""`redrive`: dead letters through the pipeline again, each from its own bytes, and only for what it still lacks."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from processor.domain.operation import OperationKind
from processor.domain.record import EventName, TemplateId
from processor.domain.template import TemplateSet
from processor.engine.start_offsets import READ_HINT
from processor.kafka.offsets import end_offset
from processor.replay.dead_letter_groups import DeadLetterFilter
from processor.replay.dead_letters import DeadLetterState
from processor.replay.edited_letters import EditedLetters
from processor.replay.event_range import EventRange
from processor.replay.operation import OnPhase, PartitionWork, PastRequest, Session
from processor.replay.partition_redrive import PartitionRedrive, RedriveJob
from processor.settings import InputTopic

DEFAULT_STOP_AT: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class RedriveRequest:
    """What is to be redriven. `command` is what was typed, in one order. `parked`: also what has failed five times.
    `stop_at`: the share of failures among the last 100 above which it stops. `edited`: only the letters of a file of
    corrections with this digest, in which the fields `edited_fields` were changed."""

    command: str = ""
    partitions: tuple[int, ...] | None = None
    selected: DeadLetterFilter = field(default_factory=DeadLetterFilter)
    parked: bool = False
    stop_at: float = DEFAULT_STOP_AT
    send_late: bool = False
    edited: str | None = None
    edited_fields: tuple[str, ...] = ()


def redrive_as_json(request: RedriveRequest) -> dict[str, Any]:
    """As JSON values; what is not limited is left out."""
    selected = request.selected
    values = {
        "command": request.command,
        "partitions": None if request.partitions is None else list(request.partitions),
        "reasons": None if selected.reasons is None else sorted(selected.reasons),
        "templates": None if selected.templates is None else sorted(selected.templates),
        "events": None if selected.events is None else sorted(selected.events),
        "fromMs": selected.from_ms,
        "toMs": selected.to_ms,
        "minAttempts": selected.min_attempts,
        "parked": request.parked,
        "stopAt": request.stop_at,
        "sendLate": request.send_late,
        "edited": None if request.edited is None else {"digest": request.edited, "fields": list(request.edited_fields)},
    }
    return {name: value for name, value in values.items() if value is not None}


def parse_redrive(values: Mapping[str, Any]) -> RedriveRequest:
    """The request of a progress record. ValueError for what is none."""

    def words(name: str) -> frozenset[str] | None:
        return None if values.get(name) is None else frozenset(map(str, values[name]))

    events, templates, partitions = words("events"), words("templates"), values.get("partitions")
    edited = values.get("edited")
    try:
        return RedriveRequest(
            command=str(values["command"]),
            partitions=None if partitions is None else tuple(map(int, partitions)),
            selected=DeadLetterFilter(
                reasons=words("reasons"),
                templates=None if templates is None else frozenset(map(TemplateId, templates)),
                events=None if events is None else frozenset(map(EventName, events)),
                from_ms=values.get("fromMs"),
                to_ms=values.get("toMs"),
                min_attempts=int(values["minAttempts"]),
            ),
            parked=bool(values["parked"]),
            stop_at=float(values["stopAt"]),
            send_late=bool(values["sendLate"]),
            edited=None if edited is None else str(edited["digest"]),
            edited_fields=() if edited is None else tuple(map(str, edited["fields"])),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not the request of a redrive: {error}") from error


@dataclass(frozen=True)
class RedriveCommand:
    """A redrive as an operation. `edited` has the corrected letters, where only they are redriven."""

    asked: RedriveRequest
    edited: EditedLetters | None = None

    @property
    def request(self) -> PastRequest:
        """What is asked for."""
        return PastRequest(
            kind=OperationKind.REDRIVE,
            command=self.asked.command,
            partitions=self.asked.partitions,
            values=redrive_as_json(self.asked),
            send_late=self.asked.send_late,
        )

    @property
    def rehearses(self) -> bool:
        """It writes as it goes: a canary is what it looks at first."""
        return False

    def go_on(self, values: Mapping[str, Any]) -> "RedriveCommand":
        """The same with what an operation asked for. ValueError for what is no redrive's, or had other corrections."""
        asked = parse_redrive(values)
        if asked.edited != (None if self.edited is None else self.edited.digest):
            raise ValueError("the file of corrections is not the one that it began with")
        return replace(self, asked=asked)

    def check(self, templates: TemplateSet) -> None:
        """Nothing: a template that failed may be gone, and is then named in the report."""

    def open(self, session: Session, partition: int, events: EventRange | None, on_phase: OnPhase) -> PartitionWork:
        """The redrive of one partition: any of its events may have a dead letter, also one that it no longer has."""
        topic = session.settings.topic(InputTopic.EVENTS)
        end = end_offset(session.admin, topic, partition, hint=READ_HINT)
        states = {DeadLetterState.OPEN, *([DeadLetterState.PARKED] if self.asked.parked else [])}
        job = RedriveJob(
            selected=self.asked.selected,
            states=states if self.edited is None else {*states, DeadLetterState.PARKED},
            stop_at=self.asked.stop_at,
            began_ms=session.began_ms,
            batch_records=session.batch_records,
            edited=None if self.edited is None else self.edited.by_position,
        )
        return PartitionRedrive(
            session.partition_parts(partition), job, events or EventRange(partition, 0, end), on_phase
        )
