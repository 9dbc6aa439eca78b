"""What is wrong with content, and where in it."""

import re
from collections.abc import Iterable
from typing import Final

from processor.domain.reasons import Reason
from processor.domain.text import quote

_NAME: Final = re.compile(r"[\w.]{1,200}", re.ASCII)


class ContentError(Exception):
    """Content that cannot be read. The path grows while the error goes up.

    `what` never holds the text of a field that people may keep secret: only names, counts, and values that have a
    required format (ids, times, numbers), truncated.
    """

    def __init__(self, what: str, reason: Reason = Reason.INVALID_EVENT, steps: Iterable[str] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.reason = reason
        self._steps = list(steps)

    def at(self, step: str) -> "ContentError":
        """The same error, one level up: `step` is a field's name, or `[index]`, or `["key"]`."""
        self._steps.append(step)
        return self

    def copy(self) -> "ContentError":
        """An equal error: one that is found once, when a plan is made, is raised for many records."""
        return ContentError(self.what, self.reason, self._steps)

    @property
    def detail(self) -> str:
        """`account.product.id: what is wrong`; without a path when the content as a whole is wrong."""
        path = "".join(step if step.startswith("[") else f".{step}" for step in reversed(self._steps)).lstrip(".")
        return f"{path}: {self.what}" if path else self.what


def quote_name(name: str) -> str:
    """A name from a writer's schema for a detail: unchanged where Avro allows it, else quoted and truncated."""
    return name if _NAME.fullmatch(name) else quote(name)
