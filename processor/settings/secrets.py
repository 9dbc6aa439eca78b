"""Which values must not be shown, and the librdkafka properties that may hold some."""

from typing import Final

MASK: Final = "**********"

SECRET_WORDS: Final = (
    "password",
    "passwd",
    "secret",
    "token",
    "credential",
    "authorization_header",
    "authorisation_header",
    "api_key",
    "apikey",
    "jaas",
)
"""What stands, in any case, in the name of a value that must not be shown. `encodedKey` has none of them."""

SECRET_PROPERTY_WORDS: Final = (*SECRET_WORDS, "key", "oauthbearer.config", "kinit.cmd")
"""The same in the name of a librdkafka property, where a key is a private one."""


def is_secret(name: str) -> bool:
    """Whether the value of that name must not be shown. Errs on the side of hiding."""
    return _has_word(name, SECRET_WORDS)


def is_secret_property(name: str) -> bool:
    """Whether the value of a librdkafka property must not be shown. Errs on the side of hiding."""
    return _has_word(name, SECRET_PROPERTY_WORDS)


def _has_word(name: str, words: tuple[str, ...]) -> bool:
    lower = name.lower()
    return any(word in lower for word in words)


class Properties(dict[str, str]):
    """librdkafka properties as text. Printed, logged or dumped with its secrets masked; read by key it is the truth."""

    def masked(self) -> dict[str, str]:
        """The same, each secret replaced by `MASK`."""
        return {name: MASK if is_secret_property(name) else value for name, value in self.items()}

    def __repr__(self) -> str:
        return repr(self.masked())

    __str__ = __repr__
