"""The file that keeps a group's positions as they were before `positions` changed them, and that the command reads."""

import errno
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from processor.domain.record import Topic
from processor.errors import DependencyError, UsageError
from processor.files import UnfitError, create_private, file_text

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPositions:
    """Positions of a group in the partitions of the events, by partition. `saved_at` is RFC 3339, for people."""

    group: str
    topic: Topic
    saved_at: str
    positions: Mapping[int, int]


class _Position(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    partition: Annotated[int, Field(ge=0, lt=2**31)]
    offset: Annotated[int, Field(ge=0, lt=2**63)]


class _File(BaseModel):
    """Other fields are ignored: a newer version may write more."""

    model_config = ConfigDict(frozen=True, strict=True)

    group: str
    topic: str
    savedAt: str  # noqa: N815  the file's own name
    positions: Annotated[list[_Position], Field(min_length=1)]


def read_positions(path: Path) -> SavedPositions:
    """The positions in a file. UsageError for what cannot be read, is no such file, or names a partition twice."""
    try:
        file = _File.model_validate_json(file_text(path))
    except (OSError, UnfitError, UnicodeDecodeError) as error:
        what = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        raise UsageError(f"{path}: {what}", hint="--file takes a file that `processor positions` has saved") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"{path} holds no saved positions: {place + ': ' if place else ''}{first['msg']}",
            hint="--file takes a file that `processor positions` has saved",
        ) from error
    positions = {position.partition: position.offset for position in file.positions}
    if len(positions) != len(file.positions):
        raise UsageError(f"{path} names a partition twice", hint="leave one of the two out")
    return SavedPositions(group=file.group, topic=Topic(file.topic), saved_at=file.savedAt, positions=positions)


def save_positions(path: Path, saved: SavedPositions) -> None:
    """Write a file that only its owner can read, whole and on the disk when this returns. Blocks.

    A file that is there is never overwritten: UsageError, unless it holds these positions already, as after a command
    that was killed and is called again. DependencyError when the disk is full, UsageError for any other reason.
    """
    require_unused(path, saved)
    if path.exists():
        return
    data = json.dumps(
        {
            "group": saved.group,
            "topic": saved.topic,
            "savedAt": saved.saved_at,
            "positions": [
                {"partition": number, "offset": saved.positions[number]} for number in sorted(saved.positions)
            ],
        },
        indent=2,
    )
    try:
        file = create_private(path)
        try:
            with file:
                file.write(f"{data}\n".encode())
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)  # half of it would be taken for all
            raise
    except (OSError, ValueError) as error:
        raise _not_saved(path, error) from error


def require_unused(path: Path, saved: SavedPositions) -> None:
    """Raise UsageError where something is at `path` that is not `saved`, the time apart."""
    if not os.path.lexists(path):
        return
    try:
        found = read_positions(path)
    except UsageError:
        found = None
    if found is None or (found.group, found.topic, found.positions) != (saved.group, saved.topic, saved.positions):
        raise UsageError(f"{path} exists, and is not overwritten", hint="name another file by --save")


def _not_saved(path: Path, error: OSError | ValueError) -> DependencyError | UsageError:
    text = f"the old positions cannot be saved in {path}: {getattr(error, 'strerror', None) or error}"
    if isinstance(error, OSError) and error.errno in _FULL:
        return DependencyError(text, hint="nothing was changed; make room, or name another file by --save")
    return UsageError(text, hint="nothing was changed; name another file by --save")
