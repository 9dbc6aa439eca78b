"""What is reported of plans while they are made and used: the core itself neither logs nor counts. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from processor.domain.record import EventName, RecordPosition, SchemaId, TemplateId


class PlanRefusal(StrEnum):
    """Why a record is mapped by the reference though there are plans. Published, as the labels of a metric."""

    FORM = "form"  #: It has no frame, or a header says otherwise how it is read: JSON, a GUID; or it is too large.
    PENDING = "pending"  #: The plan of its schema is being made.
    SCHEMA = "schema"  #: Its schema has no plan, and the log says why; or there is no such schema.
    SCHEMA_LIMIT = "schema_limit"  #: As many schemas have plans as may have one.
    RECORD = "record"  #: Its bytes are invalid, or rare: a long text, say.
    CHECK = "check"  #: Another tenant, another key, or fields that contradict each other.
    SUSPENDED = "suspended"  #: One of its templates is suspended.
    TEMPLATE = "template"  #: One of its templates fails, or has a text, an address or a size that is rare.
    ERROR = "error"  #: An error was raised when it was mapped first.
    DIFFERENCE = "difference"  #: It was verified, and its plan differed from the reference.


@dataclass(frozen=True, slots=True)
class PlanDifference:
    """A record of which a plan made something else than the reference, whose outcome counts.

    `templates`: those of which it did; none where the event itself was read otherwise. `what` says which parts differ,
    never their values.
    """

    position: RecordPosition
    event: EventName
    templates: tuple[TemplateId, ...]
    what: tuple[str, ...]


class PlanObserver(Protocol):
    """Gets what is reported of plans, in the thread that maps."""

    def refused(self, reason: PlanRefusal) -> None:
        """A record is mapped by the reference."""

    def schema_ready(self, schema_id: SchemaId) -> None:
        """From now on the records of this schema are scanned."""

    def schema_refused(self, schema_id: SchemaId, reason: str) -> None:
        """There is no plan for this schema, with the templates in use; called once for each set of templates."""

    def differs(self, difference: PlanDifference) -> None:
        """A plan and the reference differ, a bug of this program."""


class Unobserved:
    """A PlanObserver that does nothing."""

    def refused(self, reason: PlanRefusal) -> None:
        """As PlanObserver has it, as all of these."""

    def schema_ready(self, schema_id: SchemaId) -> None: ...

    def schema_refused(self, schema_id: SchemaId, reason: str) -> None: ...

    def differs(self, difference: PlanDifference) -> None: ...
