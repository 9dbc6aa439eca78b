"""Values that must not be shown, and the librdkafka properties that may hold some."""

from typing import Final

MASK: Final = "**********"

_SECRET_WORDS: Final = ("password", "secret", "key", "token", "jaas", "credential", "oauthbearer.config", "kinit.cmd")


def is_secret(name: str) -> bool:
    """Whether the value of a librdkafka property or setting must not be shown. Errs on the side of hiding."""
    return any(word in name.lower() for word in _SECRET_WORDS)


class Properties(dict[str, str]):
    """librdkafka properties as text. Printed, logged or dumped with its secrets masked; read by key it is the truth."""

    def masked(self) -> dict[str, str]:
        """The same, each secret replaced by `MASK`."""
        return {name: MASK if is_secret(name) else value for name, value in self.items()}

    def __repr__(self) -> str:
        return repr(self.masked())

    __str__ = __repr__
