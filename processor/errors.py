"""Why the process cannot go on. What is wrong with one record is a dead letter, never one of these.

FatalError                    exit code
├── UsageError                2   the command line, settings, templates or schemas; found before anything is committed
├── TopicConfigError          2   topics are missing or do not fit
├── DependencyError           3   broker or registry, after retries; the disk of the state
│   └── AuthorizationError    3   not retriable; the supervisor does not restart
├── StalledError              3   `--until-end` made no progress for a minute
├── FencedError               4   fenced twice in a minute: two processes use one transactional.id
├── OperationUnderWayError    4   another operation on the past has what this one needs
├── InputError                5   a position that is gone, a group that lost its positions, a bad deployment
└── InternalError            70   a bug: an invariant does not hold; nothing was committed
Any other exception that reaches the top is a bug too: 70. UnavailableError is no end: the call is made again later.
"""

from typing import ClassVar


class FatalError(Exception):
    """A clear end: `str(error)` is the text for people, with a `hint:` line where there is something to do."""

    exit_code: ClassVar[int] = 70

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(f"{what}\nhint: {hint}" if hint else what)
        self.what = what
        self.hint = hint


class UsageError(FatalError):
    """What people wrote is wrong: command line, settings, templates, schemas."""

    exit_code = 2


class TopicConfigError(FatalError):
    """A topic is missing, has too few partitions or too small a limit."""

    exit_code = 2


class DependencyError(FatalError):
    """Broker, registry, authorisation or the disk of the state: not reachable, not allowed, or full."""

    exit_code = 3


class AuthorizationError(DependencyError):
    """The broker or the registry refuses us: a person has to grant something."""


class StalledError(FatalError):
    """`--until-end` saw no progress for a minute; names partitions and cause."""

    exit_code = 3


class FencedError(FatalError):
    """Fenced twice within a minute: another process uses our transactional.id."""

    exit_code = 4


class OperationUnderWayError(FatalError):
    """Another operation on the past has what this one needs; it is named."""

    exit_code = 4


class InputError(FatalError):
    """The input does not match the committed offsets: going on would lose or repeat events, so a person decides."""

    exit_code = 5


class InternalError(FatalError):
    """A bug: an invariant does not hold."""

    exit_code = 70


class UnavailableError(Exception):
    """Something is not available now, and may be later: the record is deferred. `str(error)` is the cause."""


class DeferredSchemaError(UnavailableError):
    """The registry gives other schemas, but not this one: only its records are deferred."""
