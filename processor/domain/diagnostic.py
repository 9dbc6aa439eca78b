"""What is wrong with what a person wrote: a template, a schema file, a setting. Pure.

A record that cannot be decoded is no diagnostic but a `Rejected` outcome.
"""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """Whether what was written can be used."""

    ERROR = "error"  #: It cannot.
    WARNING = "warning"  #: It can, and may be meant; its author should look at it.


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where something is wrong. What is not known is empty or None.

    `line` counts from 1, None is the whole file. A check that sees only a field's value does not know its line: it
    names the `field`, as in `webhook.url`, and an `excerpt` of the text, by which the reader of the file finds it.
    """

    file: str = ""
    line: int | None = None
    field: str = ""
    excerpt: str = ""

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One thing that is wrong, in words for whoever wrote it.

    `code` is that of the rule that is broken, as `T06`; empty where no numbered rule says it. `hint` says what to do
    and may be empty.
    """

    message: str
    code: str = ""
    severity: Severity = Severity.ERROR
    hint: str = ""
    location: Location = Location()

    @property
    def is_error(self) -> bool:
        """Whether it keeps what was written from being used."""
        return self.severity is Severity.ERROR

    @property
    def is_warning(self) -> bool:
        """Whether it keeps nothing from being used."""
        return self.severity is Severity.WARNING

    def __str__(self) -> str:
        severity = "" if self.is_error else f"{self.severity}: "
        code = f" [{self.code}]" if self.code else ""
        return f"{self.location}: {severity}{self.message}{code}" + (f"\n  hint: {self.hint}" if self.hint else "")
