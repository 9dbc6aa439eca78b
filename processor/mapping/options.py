"""What an installation may choose of how records are mapped."""

from enum import StrEnum


class KeyCheck(StrEnum):
    """What becomes of a record whose key is not its event's ordering key."""

    WARN = "warn"  #: It is mapped, counted and logged.
    STRICT = "strict"  #: It is a dead letter, WRONG_KEY.


class WrittenDecisions(StrEnum):
    """Which decisions are written."""

    ALL = "all"
    UNEXPECTED = "unexpected"  #: Those that neither settings nor templates intend.
    OFF = "off"


class MissingRow(StrEnum):
    """What becomes of a message where a reference table has no row for it."""

    PARTIAL = "partial"  #: Its Message goes without that part.
    FAIL = "fail"  #: The template fails.


class Plan(StrEnum):
    """How ordinary events are mapped."""

    NATIVE = "native"  #: By plans, which run in C.
    PLAIN = "plain"  #: By plans, which regular expressions and closures run.
    OFF = "off"  #: Each by the reference.
